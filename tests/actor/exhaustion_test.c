/* SPDX-License-Identifier: MIT */
/*
 * Actors with every single failure there can be: of the parent's calls, as tests/support/sweep.h
 * says, and of the child's. A failure in a child may end it; then its parent gets an error.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yoke/gather.h>
#include <yoke/pool.h>
#include <yoke/resource.h>
#include <yoke/testing.h>

#include "../tests/support/actors.h"
#include "../tests/support/sweep.h"

static int twice(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    return rc < 0 ? rc : yoke_context_return(ctx, yoke_int(2 * n));
}
YOKE_ENDPOINT("exhaustion:twice", twice);

/* Sends back what it gets. */
static int echo(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_str("ready"));

    (void)args;
    while (rc == 0 && (rc = yoke_stream_receive(ctx, &value)) > 0)
        rc = yoke_stream_send(ctx, value);
    return rc;
}
YOKE_ENDPOINT("exhaustion:echo", echo);

static int fail_as_told(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return yoke_raise("test.Told", EBADF, "as it was told");
}
YOKE_ENDPOINT("exhaustion:fail", fail_as_told);

static int wait_for_ever(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("exhaustion:wait_for_ever", wait_for_ever);

/* Orders a failure in this actor; gives how many calls were to go until the one before. */
static int order(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n, memory;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);
    unsigned left;

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "memory"), "memory", &memory);
    if (rc < 0)
        return rc;
    left = memory ? yoke_fail_allocation(0, false) : yoke_fail_system_call(0, 0);
    rc = yoke_context_return(ctx, yoke_int(left));
    if (memory)
        (void)yoke_fail_allocation((unsigned)n, false);
    else
        (void)yoke_fail_system_call((unsigned)n, 0);
    return rc;
}
YOKE_ENDPOINT("exhaustion:order", order);

/* --- what is done with a peer ---------------------------------------------------------------- */

static int call(struct yoke_portal *peer)
{
    struct yoke_value args = YOKE_MAP({"n", yoke_int(21)});
    struct yoke_value *result = NULL;
    int rc = yoke_call(peer, "exhaustion:twice", args, &result);

    if (rc == 0)
        yk_check(result->type == YOKE_INT && result->as.integer == 42);
    yoke_value_free(result);
    return rc;
}

static int stream(struct yoke_portal *peer)
{
    struct yoke_context ctx;
    struct yoke_value value;
    int rc = yoke_context_open(&ctx, peer, "exhaustion:echo", yoke_nil(), NULL);

    if (rc < 0)
        return rc;
    for (int i = 0; i < 3 && rc >= 0; i++) {
        rc = yoke_stream_send(&ctx, yoke_int(i));
        if (rc == 0)
            rc = yoke_stream_receive(&ctx, &value);
        yk_check(rc <= 0 || (value.type == YOKE_INT && value.as.integer == i));
    }
    return yoke_context_close(&ctx, rc < 0 ? rc : 0, NULL);
}

/* An error of the peer comes, or that there is no room for it: but it is an error. */
static int remote_error(struct yoke_portal *peer)
{
    int rc = yoke_call(peer, "exhaustion:fail", yoke_nil(), NULL);

    yk_check(rc < 0);
    if (yoke_in_flight() == NULL || strcmp(yoke_error_type(yoke_in_flight()), "test.Told") != 0)
        return rc;
    yoke_clear();
    return 0;
}

static int count_result(void *arg, size_t index, struct yoke_value result)
{
    (void)index;
    yk_check(result.type == YOKE_INT);
    ++*(int *)arg;
    return 0;
}

static int map_over(struct yoke_portal *peer)
{
    struct yoke_value inputs[] = {YOKE_MAP({"n", yoke_int(1)}), YOKE_MAP({"n", yoke_int(2)})};
    struct yoke_map_opts opts = {.in_order = true, .retries = 1};
    int n = 0;
    int rc = yoke_map_over(&peer, 1, "exhaustion:twice", inputs, 2, &opts, count_result, &n);

    yk_check(rc < 0 || n == 2);
    return rc;
}

static int two_at_once(struct yoke_portal *peer)
{
    struct yoke_gather_item items[] = {
        {.portal = peer, .endpoint = "exhaustion:echo"},
        {.portal = peer, .endpoint = "exhaustion:echo"},
    };
    struct yoke_context contexts[2];
    int rc = yoke_gather_open(contexts, items, 2);

    return rc < 0 ? rc : yoke_gather_close(contexts, 2, 0, NULL);
}

static int lend(void *arg)
{
    return yoke_resource_lend(arg);
}

static int share(struct yoke_portal *peer)
{
    struct yoke_resource use;
    void *object;
    int rc = yoke_resource_acquire(&use, lend, "key", peer, &object);

    if (rc < 0)
        return rc;
    yk_check(object == peer);
    return yoke_resource_release(&use, rc);
}

static int cancelled_context(struct yoke_portal *peer)
{
    struct yoke_context ctx;
    int rc = yoke_context_open(&ctx, peer, "exhaustion:wait_for_ever", yoke_nil(), NULL);

    if (rc < 0)
        return rc;
    yoke_context_cancel(&ctx, "that is enough");
    return yoke_context_close(&ctx, 0, NULL);
}

/* --- the parent fails ------------------------------------------------------------------------ */

static int with_peer(int (*body)(struct yoke_portal *peer))
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *peer;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "peer", &(struct yoke_actor_opts){.expose = "*"}, &peer);
    if (rc == 0 && body != NULL) {
        yk_sweep_begin();
        rc = body(peer);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}

static int life(void *arg)
{
    (void)arg;
    return with_peer(NULL);
}

static void a_parent_that_starts_an_actor(void **state)
{
    struct yk_sweep sweep;

    (void)state;
    yk_sweep(life, NULL, &sweep);
    assert_true(sweep.allocations.failures > sweep.allocations.unharmed);
    assert_true(sweep.system_calls.failures > sweep.system_calls.unharmed);
}

/* With a peer that came up as it should, until that has ended. */
#define PARENT_FAILS(law, body)                                                                    \
    static int law##_operation(void *arg)                                                          \
    {                                                                                              \
        (void)arg;                                                                                 \
        return with_peer(body);                                                                    \
    }                                                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        struct yk_sweep sweep;                                                                     \
                                                                                                   \
        (void)state;                                                                               \
        yk_sweep_from(law##_operation, NULL, &sweep);                                              \
        assert_true(sweep.allocations.failures > sweep.allocations.unharmed);                      \
    }

PARENT_FAILS(a_parent_that_calls, call)
PARENT_FAILS(a_parent_with_a_stream, stream)
PARENT_FAILS(a_parent_that_gets_an_error, remote_error)
PARENT_FAILS(a_parent_that_cancels_a_context, cancelled_context)
PARENT_FAILS(a_parent_that_maps, map_over)
PARENT_FAILS(a_parent_with_two_contexts_at_once, two_at_once)
PARENT_FAILS(a_parent_that_shares_a_resource, share)

/* --- the child fails ------------------------------------------------------------------------- */

struct child_fails {
    int (*body)(struct yoke_portal *peer);
    bool memory;
    unsigned n;
    bool delivered;
    bool failed;
};

static int order_there(struct yoke_portal *peer, const struct child_fails *run, unsigned n,
                       int64_t *ret_left)
{
    struct yoke_value args = YOKE_MAP({"n", yoke_int(n)}, {"memory", yoke_int(run->memory)});
    struct yoke_value *result = NULL;
    int rc = yoke_call(peer, "exhaustion:order", args, &result);

    if (rc == 0)
        *ret_left = result->as.integer;
    yoke_value_free(result);
    return rc;
}

/* A child may end, with a status; it does not crash, nor lose an error, which aborts it. */
static void check_error(const struct child_fails *run, int rc)
{
    struct yoke_error *error = yoke_catch();
    const struct yoke_error *died = yk_find_error(error, "yoke.ActorDied");

    yk_check((rc < 0) == (error != NULL));
    yk_check(error == NULL || strlen(yoke_error_message(error)) > 8);
    yk_check(error == NULL || !yoke_error_is_cancelled(error));
    yk_check(died == NULL || strstr(yoke_error_message(died), "killed by signal") == NULL);
    if (getenv("YOKE_TEST_SHOW") != NULL)
        print_message("child's %s %u: %s\n", run->memory ? "allocation" : "system call", run->n,
                      error == NULL ? "went well" : yoke_error_message(error));
    yoke_error_unref(error);
}

static int child_fails_once(void *arg)
{
    struct child_fails *run = arg;
    struct yoke_actor_nursery nursery;
    struct yoke_portal *peer;
    int64_t left = 0;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "peer", &(struct yoke_actor_opts){.expose = "*"}, &peer);
    if (rc == 0)
        rc = order_there(peer, run, run->n, &left);
    yk_check_int(rc, 0);
    if (rc == 0)
        rc = run->body(peer);
    if (rc == 0)
        rc = order_there(peer, run, 0, &left);
    rc = yoke_actor_nursery_close(&nursery, rc);
    run->delivered = left == 0;
    run->failed = rc < 0;
    check_error(run, rc);
    return life(NULL); /* the parent is as well as ever */
}

static void child_fails(int (*body)(struct yoke_portal *peer), bool memory)
{
    struct child_fails run = {.body = body, .memory = memory, .n = 1};
    unsigned failed = 0;

    for (;; run.n++) {
        yk_actors_run(child_fails_once, &run);
        if (!run.delivered)
            break;
        failed += run.failed;
    }
    assert_true(!memory || (run.n > 3 && failed > 0));
}

#define CHILD_FAILS(law, body)                                                                     \
    static void law(void **state)                                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        child_fails(body, true);                                                                   \
        child_fails(body, false);                                                                  \
    }

CHILD_FAILS(a_child_that_is_called, call)
CHILD_FAILS(a_child_with_a_stream, stream)
CHILD_FAILS(a_child_that_fails, remote_error)
CHILD_FAILS(a_child_that_is_cancelled, cancelled_context)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parent_that_starts_an_actor),
        cmocka_unit_test(a_parent_that_calls),
        cmocka_unit_test(a_parent_with_a_stream),
        cmocka_unit_test(a_parent_that_gets_an_error),
        cmocka_unit_test(a_parent_that_cancels_a_context),
        cmocka_unit_test(a_parent_that_maps),
        cmocka_unit_test(a_parent_with_two_contexts_at_once),
        cmocka_unit_test(a_parent_that_shares_a_resource),
        cmocka_unit_test(a_child_that_is_called),
        cmocka_unit_test(a_child_with_a_stream),
        cmocka_unit_test(a_child_that_fails),
        cmocka_unit_test(a_child_that_is_cancelled),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("exhaustion", tests, NULL, NULL);
}
