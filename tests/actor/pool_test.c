/* SPDX-License-Identifier: MIT */
/* Worker pools, one-shot actors, and gathered contexts, on real processes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/gather.h>
#include <yoke/pool.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"

static int square(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    if (rc == 0 && n < 0)
        rc = yoke_raise("app.Negative", EDOM, "%lld is negative", (long long)n);
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_int(n * n));
}
YOKE_ENDPOINT("pool:square", square);

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("pool:stay", stay);

static int whoami(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_str(yoke_actor_self()->name));
}
YOKE_ENDPOINT("pool:whoami", whoami);

/* worker.0 keeps what it gets. */
static int stay_in_first(struct yoke_context *ctx, struct yoke_value args)
{
    return strcmp(yoke_actor_self()->name, "worker.0") == 0 ? yoke_sleep_forever()
                                                            : whoami(ctx, args);
}
YOKE_ENDPOINT("pool:stay_in_first", stay_in_first);

static int fail_both(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_sleep_forever();
    (void)args;
    return rc < 0 ? yoke_raise("app.Late", EIO, "%s", yoke_actor_self()->name) : rc;
}
YOKE_ENDPOINT("pool:fail_both", fail_both);

enum { INPUTS = 40 };

/* Inputs 0 to n - 1, and the results that came. */
struct sums {
    struct yoke_pair pairs[INPUTS];
    struct yoke_value inputs[INPUTS];
    int64_t total;
    size_t told, last;
    bool in_order;
};

static void make_inputs(struct sums *sums)
{
    memset(sums, 0, sizeof *sums);
    sums->in_order = true;
    for (int i = 0; i < INPUTS; i++) {
        sums->pairs[i] = (struct yoke_pair){"n", yoke_int(i)};
        sums->inputs[i] = yoke_map(&sums->pairs[i], 1);
    }
}

static int add_up(void *arg, size_t index, struct yoke_value result)
{
    struct sums *sums = arg;

    yk_check_int(result.as.integer, (int64_t)(index * index));
    sums->in_order = sums->in_order && index == sums->told;
    sums->total += result.as.integer;
    sums->told++;
    return yoke_checkpoint();
}

static const struct yoke_actor_opts all = {.expose = "*"};

YK_ACTORS_TEST(a_map_gives_each_result_once_and_in_order_if_asked)
{
    static const struct yoke_map_opts kinds[] = {{.in_order = true},
                                                 {.in_order = true, .per_worker = 5},
                                                 {.per_worker = 3}};
    struct yoke_pool pool;
    struct sums sums;
    size_t n;

    yk_check_int(yoke_pool_open(&pool, 2, &all), 0);
    yk_check(yoke_pool_workers(&pool, &n) != NULL && n == 2);
    for (size_t i = 0; i < 3; i++) {
        make_inputs(&sums);
        yk_check_int(yoke_pool_map(&pool, "pool:square", sums.inputs, INPUTS, &kinds[i], add_up,
                                   &sums),
                     0);
        yk_check_int(sums.told, INPUTS);
        yk_check_int(sums.total, (INPUTS - 1) * INPUTS * (2 * INPUTS - 1) / 6);
        yk_check(sums.in_order || !kinds[i].in_order);
    }
    yk_check_int(yoke_pool_map(&pool, "pool:square", NULL, 0, NULL, NULL, NULL), 0);
    return yoke_pool_close(&pool, 0);
}

static int refuse_fifth(void *arg, size_t index, struct yoke_value result)
{
    (void)arg;
    (void)result;
    return index == 5 ? yoke_raise("app.Refused", EPERM, "not this one") : 0;
}

YK_ACTORS_TEST(the_first_failure_of_a_map_is_its_own)
{
    struct yoke_pool pool;
    struct yoke_error *error;
    struct sums sums;

    make_inputs(&sums);
    sums.pairs[7].value = yoke_int(-7);
    yk_check_int(yoke_pool_open(&pool, 2, &all), 0);
    yk_check_int(yoke_pool_map(&pool, "pool:square", sums.inputs, INPUTS,
                               &(struct yoke_map_opts){.in_order = true, .retries = 3}, NULL, NULL),
                 YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "app.Negative", YOKE_EREMOTE, "-7 is negative");
    yoke_error_unref(error);
    yk_check_int(yoke_pool_map(&pool, "pool:square", sums.inputs, 7, NULL, refuse_fifth, NULL),
                 -EPERM);
    error = yk_caught();
    yk_check_error(error, "app.Refused", -EPERM, NULL);
    yoke_error_unref(error);
    return yoke_pool_close(&pool, 0);
}

/* Cancels worker.0, which has an input and keeps it, when the other has done one. */
struct cancelling {
    struct yoke_pool pool;
    unsigned told;
};

static int cancel_first_worker(void *arg, size_t index, struct yoke_value result)
{
    struct cancelling *cancelling = arg;
    size_t n;

    (void)index;
    yk_check_text(yk_text_of(result), "worker.1");
    if (cancelling->told++ == 0)
        yoke_portal_cancel_actor(yoke_pool_workers(&cancelling->pool, &n)[0], "no longer needed");
    return 0;
}

YK_ACTORS_TEST(the_input_of_a_worker_that_is_gone_is_tried_again_if_asked)
{
    struct yoke_value inputs[6];
    struct cancelling cancelling = {.told = 0};
    struct yoke_error *error;

    memset(inputs, 0, sizeof inputs); /* nil */
    yk_check_int(yoke_pool_open(&cancelling.pool, 2, &all), 0);
    yk_check_int(yoke_pool_map(&cancelling.pool, "pool:stay_in_first", inputs, 6,
                               &(struct yoke_map_opts){.retries = 1}, cancel_first_worker,
                               &cancelling),
                 0);
    yk_check_int(cancelling.told, 6);
    yk_check_int(yoke_pool_close(&cancelling.pool, 0), 0);

    cancelling.told = 0;
    yk_check_int(yoke_pool_open(&cancelling.pool, 2, &all), 0);
    yk_check_int(yoke_pool_map(&cancelling.pool, "pool:stay_in_first", inputs, 6, NULL,
                               cancel_first_worker, &cancelling),
                 YOKE_EPEERCANCELLED);
    error = yk_caught();
    yk_check_chain(yoke_error_cause(error), "actor, actor cancel by root[no longer needed]");
    yoke_error_unref(error);
    return yoke_pool_close(&cancelling.pool, 0);
}

YK_ACTORS_TEST(one_call_in_a_fresh_actor_leaves_nothing_behind)
{
    struct yoke_value *result = NULL;
    struct yoke_error *error;

    yk_check_int(yoke_call_in_new_actor("once", "pool:whoami", yoke_nil(), NULL, &result), 0);
    yk_check_text(yk_text_of(*result), "once");
    yoke_value_free(result);
    yk_check(!yk_has_children());
    yk_check_int(yoke_call_in_new_actor("once", "pool:square", YOKE_MAP({"n", yoke_int(-1)}), NULL,
                                        NULL),
                 YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "app.Negative", YOKE_EREMOTE, NULL);
    yoke_error_unref(error);
    yk_check(!yk_has_children());
    return 0;
}

#define GATHERED(endpoint_name, ...)                                                               \
    {                                                                                              \
        .portal = peer, .endpoint = (endpoint_name), __VA_ARGS__                                   \
    }

YK_PEER_TEST(gathered_contexts_are_open_all_and_close_all)
{
    struct yoke_gather_item items[] = {
        GATHERED("pool:square", .args = YOKE_MAP({"n", yoke_int(2)})),
        GATHERED("pool:square", .args = YOKE_MAP({"n", yoke_int(3)})),
    };
    struct yoke_context contexts[2];
    struct yoke_outcome *outcomes[2];

    yk_check_int(yoke_gather_open(contexts, items, 2), 0);
    yk_check_int(yoke_gather_close(contexts, 2, 0, outcomes), 0);
    yk_check_int(yoke_outcome_result(outcomes[0]).as.integer, 4);
    yk_check_int(yoke_outcome_result(outcomes[1]).as.integer, 9);
    yoke_outcome_free(outcomes[0]);
    yoke_outcome_free(outcomes[1]);
    yk_check_int(yoke_gather_open(contexts, items, 0), -EINVAL);
    yoke_clear();
}

YK_PEER_TEST(of_gathered_contexts_all_are_open_or_none)
{
    struct yk_report report;
    struct yoke_context contexts[3];
    struct yoke_error *error;

    yk_report_open(&report);
    {
        struct yoke_gather_item items[] = {
            GATHERED("pool:stay", .args = yk_report_args(&report)),
            GATHERED("pool:square", .args = YOKE_MAP({"n", yoke_int(-1)})),
            GATHERED("pool:stay", .args = yk_report_args(&report)),
        };
        yk_check_int(yoke_gather_open(contexts, items, 3), YOKE_EREMOTE);
    }
    error = yk_caught();
    yk_check_error(error, "app.Negative", YOKE_EREMOTE, "-1 is negative");
    yoke_error_unref(error);
    yk_report_close(&report, "Cancelled: context, opener left by root <- context, peer raised by "
                             "peer[-1 is negative]{app.Negative}\n"
                             "Cancelled: context, opener left by root <- context, peer raised by "
                             "peer[-1 is negative]{app.Negative}\n");
}

YK_ACTORS_TEST(failures_of_gathered_contexts_are_a_group)
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *a, *b;
    struct yoke_context contexts[2];
    struct yoke_error *error;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    a = yk_start_actor(&nursery, "a");
    b = yk_start_actor(&nursery, "b");
    {
        struct yoke_gather_item items[] = {
            {.portal = a, .endpoint = "pool:fail_both"},
            {.portal = b, .endpoint = "pool:fail_both"},
        };
        yk_check_int(yoke_gather_open(contexts, items, 2), 0);
    }
    yk_check_int(yoke_gather_close(contexts, 2, yoke_raise("app.Body", EBADF, "the body"), NULL),
                 YOKE_EGROUP);
    error = yk_caught();
    yk_check(yk_find_error(error, "app.Body") != NULL);
    yk_check(yk_find_error(error, "app.Late") != NULL);
    yoke_error_unref(error);
    return yoke_actor_nursery_close(&nursery, 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_gives_each_result_once_and_in_order_if_asked),
        cmocka_unit_test(the_first_failure_of_a_map_is_its_own),
        cmocka_unit_test(the_input_of_a_worker_that_is_gone_is_tried_again_if_asked),
        cmocka_unit_test(one_call_in_a_fresh_actor_leaves_nothing_behind),
        cmocka_unit_test(gathered_contexts_are_open_all_and_close_all),
        cmocka_unit_test(of_gathered_contexts_all_are_open_or_none),
        cmocka_unit_test(failures_of_gathered_contexts_are_a_group),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor pool", tests, NULL, NULL);
}
