/* SPDX-License-Identifier: MIT */
/*
 * Without memory: one program that uses all of the layer runs again and again, and each time
 * another allocation fails, once or from there on. It may fail, but it ends, gives everything
 * back and loses no error.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <yoke/channel.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/memory.h"

enum { LATER = 1000 };
enum { CROWD = 70 }; /* more than the ready ring and the timer heap have room for at first */

static int sleep_shortly(void *arg)
{
    (void)arg;
    return yoke_sleep(YOKE_MS(5));
}

static int fail_late(void *arg)
{
    int rc = yoke_sleep(YOKE_MS(10));

    (void)arg;
    return rc == 0 ? yoke_raise("test.Bad", EBADF, "bad") : rc;
}

static int report_then_sleep(void *arg)
{
    int rc = yoke_started(arg);

    return rc < 0 ? rc : yoke_sleep(YOKE_MS(1));
}

static int with_timeout(void)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(1)});

    if (rc == 0)
        rc = yoke_sleep_forever();
    return yoke_scope_close(&scope, rc);
}

static int with_channel(void)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 1);
    int item = 3;
    int rc;

    if (channel == NULL)
        return yoke_error_code(yoke_in_flight());
    rc = yoke_channel_send(channel, &item);
    if (rc == 0)
        rc = yoke_channel_receive(channel, &item);
    yoke_channel_unref(channel);
    return rc < 0 ? rc : 0;
}

static int with_cancellation(void)
{
    struct yoke_scope outer, inner;
    int rc = yoke_scope_open(&outer, NULL);

    if (rc == 0) {
        rc = yoke_scope_open(&inner, NULL);
        yoke_scope_cancel(&inner, "inner");
        if (rc == 0)
            rc = yoke_checkpoint();
        yoke_scope_cancel(&outer, "outer");
        rc = yoke_scope_close(&inner, rc);
    }
    return yoke_scope_close(&outer, rc);
}

static int use_all(void *arg)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.timeout_ns = YOKE_S(1)});

    if (rc == 0)
        rc = with_timeout();
    if (rc == 0)
        rc = with_channel();
    if (rc == 0)
        rc = with_cancellation();
    if (rc == 0)
        rc = yoke_start(&nursery, report_then_sleep, arg, NULL);
    for (int i = 0; i < CROWD && rc == 0; i++)
        rc = yoke_spawn(&nursery, sleep_shortly, NULL);
    for (int i = 0; i < 12 && rc == 0; i++) /* more than a nursery has room for at first */
        rc = yoke_spawn(&nursery, fail_late, NULL);
    rc = yoke_nursery_close(&nursery, rc);
    yk_check(rc < 0);
    return rc;
}

static int run_once(void)
{
    struct yoke_host *host = yoke_host_sim_new(1);
    struct yoke_run_opts opts = {.host = host};
    int rc;

    if (host == NULL)
        return yoke_error_code(yoke_in_flight());
    rc = yoke_run(use_all, NULL, &opts);
    yoke_host_free(host);
    return rc;
}

/* Runs with the n-th allocation failing; false if there are fewer. */
static bool run_failing_at(unsigned n, bool all)
{
    struct yoke_error_stats before, after;
    unsigned left;

    yoke_error_stats(&before);
    yk_memory_fail_at(n, all);
    assert_true(run_once() < 0);
    left = yk_memory_fail_at(0, false);
    assert_non_null(yoke_in_flight());
    yoke_clear();
    yoke_error_stats(&after);
    assert_int_equal(after.lost - before.lost, 0);
    assert_int_equal(after.live - before.live, 0);
    assert_int_equal(yk_checks_failed(), 0);
    return left == 0;
}

static void run_failing_everywhere(bool all)
{
    unsigned n = 1;

    while (run_failing_at(n, all))
        n++;
    assert_true(n > 40); /* the program does allocate: what is tested is not nothing */
    assert_int_equal(run_once(), YOKE_EGROUP);
    assert_int_equal(yoke_error_member_count(yoke_in_flight()), 12);
    yoke_clear();
}

static void a_program_ends_in_order_if_any_one_allocation_fails(void **state)
{
    (void)state;
    run_failing_everywhere(false);
}

static void a_program_ends_in_order_if_memory_runs_out_for_good(void **state)
{
    (void)state;
    run_failing_everywhere(true);
}

static int sleep_in_scopes(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_scope_open(&scope, NULL);
    rc = yoke_scope_close(&scope, rc < 0 ? rc : sleep_shortly(arg));
    yk_check_int(rc, YOKE_CANCELLED);
    return yoke_nursery_close(&nursery, rc);
}

/* From the request to the end of all tasks. The request itself has to remember who asked. */
YK_SIM_TEST(cancelling_allocates_nothing)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    for (int i = 0; i < CROWD && rc == 0; i++)
        rc = yoke_spawn(&nursery, sleep_in_scopes, NULL);
    yk_check_int(rc, 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    yk_memory_fail_at(LATER, false);
    rc = yoke_nursery_close(&nursery, yoke_checkpoint());
    yk_check_int(yk_memory_fail_at(0, false), LATER); /* none was asked for */
    yk_check_int(rc, 0);
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    yk_check_text(yoke_cause_reason(yoke_scope_cause(yoke_nursery_scope(&nursery))), "enough");
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_ends_in_order_if_any_one_allocation_fails),
        cmocka_unit_test(a_program_ends_in_order_if_memory_runs_out_for_good),
        cmocka_unit_test(cancelling_allocates_nothing),
    };

    return cmocka_run_group_tests_name("tasks without memory", tests, NULL, NULL);
}
