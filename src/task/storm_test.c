/* SPDX-License-Identifier: MIT */
/*
 * Programs drawn from a seed: trees of tasks that open scopes and nurseries, sleep, fail, clean up,
 * catch, cancel each other and move deadlines and shields. Whatever they do, each error that was
 * raised and not caught must be reachable from the result, and the result is never a Cancelled,
 * since nobody cancels the program. Every error has a number, its message.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/random.h"

enum { ERRORS_MAX = 1000, DEPTH = 4, NODES_MAX = 200, TARGETS_MAX = 32 };

static struct {
    struct yk_random random;
    unsigned calm; /* the larger, the rarer are errors and cancellations */
    unsigned raised;
    unsigned nodes;
    bool caught[ERRORS_MAX];
    bool reached[ERRORS_MAX];
    struct yoke_scope *targets[TARGETS_MAX]; /* open scopes that anybody may disturb */
} storm;

static unsigned draw(unsigned n)
{
    return (unsigned)(yk_random_next(&storm.random) >> 33) % n;
}

static int fail_numbered(void)
{
    if (storm.raised == ERRORS_MAX)
        return 0;
    return yoke_raise("test.Storm", EIO, "%u", storm.raised++);
}

/* Marks the numbers of all errors that `error` carries. Depth is bounded by how errors are made. */
static void mark(const struct yoke_error *error, bool *marks)
{
    if (error == NULL)
        return;
    if (strcmp(yoke_error_type(error), "test.Storm") == 0)
        marks[strtoul(yoke_error_message(error), NULL, 10)] = true;
    mark(yoke_error_context(error), marks);
    mark(yoke_error_because(error), marks);
    for (size_t i = 0; i < yoke_error_suppressed_count(error); i++)
        mark(yoke_error_suppressed(error, i), marks);
    for (size_t i = 0; i < yoke_error_member_count(error); i++)
        mark(yoke_error_member(error, i), marks);
}

static int catch_on_purpose(int rc)
{
    struct yoke_error *error;

    if (rc >= 0 || yoke_in_flight() == NULL || yoke_error_is_cancelled(yoke_in_flight()))
        return rc;
    error = yoke_catch();
    mark(error, storm.caught);
    yoke_error_unref(error);
    return 0;
}

static void disturb(void)
{
    struct yoke_scope *target = storm.targets[draw(TARGETS_MAX)];

    if (target == NULL)
        return;
    switch (draw(5)) {
    case 0:
    case 1:
        yoke_scope_set_shield(target, draw(2) == 0);
        break;
    case 2:
        yk_check_int(yoke_scope_set_deadline(target, yoke_now() + YOKE_MS(draw(20))), 0);
        break;
    default:
        yoke_scope_cancel(target, "disturbed");
    }
}

/* Makes a scope known while it is open; returns the place to forget it at. */
static unsigned add_target(struct yoke_scope *scope)
{
    unsigned place = draw(TARGETS_MAX);

    if (storm.targets[place] != NULL)
        return TARGETS_MAX;
    storm.targets[place] = scope;
    return place;
}

static void remove_target(unsigned place)
{
    if (place < TARGETS_MAX)
        storm.targets[place] = NULL;
}

static int step(void)
{
    switch (draw(8)) {
    case 0:
    case 1:
        return draw(storm.calm) == 0 ? fail_numbered() : 0;
    case 2:
        if (draw(storm.calm) == 0)
            disturb();
        return 0;
    case 3:
        return yoke_checkpoint();
    default:
        return yoke_sleep(YOKE_MS(draw(10)));
    }
}

/* Cleanup with and without a hold, with and without a scope; gives back what is to go on. */
static int clean_up(int rc)
{
    bool with_hold = draw(2) == 0;
    bool with_scope = draw(2) == 0;
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_MS(5), .shield = draw(2) == 0};
    struct yoke_scope scope;
    struct yoke_hold hold;
    int cleanup_rc = 0;

    if (with_hold)
        yoke_hold(&hold);
    if (with_scope)
        cleanup_rc = yoke_scope_open(&scope, &opts);
    for (unsigned i = 1 + draw(4); i > 0 && cleanup_rc == 0; i--)
        cleanup_rc = step();
    if (with_scope)
        cleanup_rc = yoke_scope_close(&scope, cleanup_rc);
    if (with_hold)
        return yoke_release(&hold);
    return rc < 0 ? rc : cleanup_rc;
}

static int node(void *arg);

static int start_node(void *arg)
{
    int rc = step();

    if (rc == 0 && draw(8) != 0)
        rc = yoke_started(NULL);
    return rc < 0 ? rc : node(arg);
}

static int grow(struct yoke_nursery *nursery, int *depth)
{
    int rc = 0;

    for (unsigned i = 2 + draw(4); i > 0 && rc == 0 && *depth > 0; i--) {
        if (storm.nodes++ >= NODES_MAX)
            break;
        if (draw(3) == 0)
            rc = yoke_start(nursery, start_node, depth, NULL);
        else
            rc = yoke_spawn(nursery, node, depth);
        if (rc < 0 && draw(2) == 0)
            rc = catch_on_purpose(rc);
    }
    return rc;
}

static int node(void *arg)
{
    int depth = *(int *)arg - 1;
    struct yoke_nursery_opts opts = {.shield = draw(6) == 0};
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    unsigned scope_place, nursery_place;
    int rc = yoke_scope_open(&scope, NULL);

    scope_place = add_target(&scope);
    opts.timeout_ns = draw(3) == 0 ? YOKE_MS(draw(30)) : 0;
    if (rc == 0)
        rc = yoke_nursery_open(&nursery, &opts);
    nursery_place = add_target(yoke_nursery_scope(&nursery));
    if (rc == 0)
        rc = grow(&nursery, &depth);
    for (unsigned i = draw(6); i > 0 && rc == 0; i--)
        rc = step();
    if (draw(3) != 0)
        rc = clean_up(rc);
    remove_target(nursery_place);
    rc = yoke_nursery_close(&nursery, rc);
    if (draw(3) == 0)
        rc = clean_up(rc);
    remove_target(scope_place);
    rc = yoke_scope_close(&scope, rc);
    return draw(4) == 0 ? catch_on_purpose(rc) : rc;
}

static int storm_of_tasks(void *arg)
{
    int depth = DEPTH;

    (void)arg;
    memset(&storm, 0, sizeof storm);
    yk_random_seed(&storm.random, yk_sim_seed() * 1000003);
    storm.calm = 1 + draw(8);
    return node(&depth);
}

static void inspect(int rc)
{
    yk_check(rc != YOKE_CANCELLED && rc != YOKE_EDEADLOCK);
    yk_check((rc < 0) == (yoke_in_flight() != NULL));
    mark(yoke_in_flight(), storm.reached);
    for (unsigned i = 0; i < storm.raised; i++)
        if (!storm.reached[i] && !storm.caught[i])
            yk_check_failed(__FILE__, __LINE__, "error %u is not in the result", i);
    if (yoke_in_flight() != NULL)
        yk_check(!yoke_error_is_cancelled(yoke_in_flight()));
    yoke_clear();
}

static void every_error_of_a_drawn_program_is_in_its_result_or_was_caught(void **state)
{
    (void)state;
    yk_sim_run(storm_of_tasks, NULL, &(struct yk_sim){.seeds = 300, .inspect = inspect});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_of_a_drawn_program_is_in_its_result_or_was_caught),
    };

    return cmocka_run_group_tests_name("storm", tests, NULL, NULL);
}
