/* SPDX-License-Identifier: MIT */
/*
 * Errors in flight among scopes, nurseries and cancellation: every way in which a Cancelled could
 * come to mask an error is tried here, and each time the error is what comes out. The run itself
 * checks that no error is lost.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

static int bad(void)
{
    return yoke_raise("test.Bad", EBADF, "bad");
}

/* Checks that the error of bad() is in flight and suppresses `n` Cancelleds; drops it. */
static void check_bad_with_suppressed(size_t n)
{
    const struct yoke_error *error = yoke_in_flight();

    yk_check(error != NULL);
    if (error == NULL)
        return;
    yk_check_int(yoke_error_suppressed_count(error), n);
    for (size_t i = 0; i < yoke_error_suppressed_count(error); i++)
        yk_check(yoke_error_is_cancelled(yoke_error_suppressed(error, i)));
    yk_check_caught("test.Bad", "bad");
}

static int sleep_forever(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

static int fail_bad(void *arg)
{
    (void)arg;
    return bad();
}

YK_SIM_TEST(a_cancelled_in_cleanup_does_not_mask_the_error)
{
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    rc = bad();
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_sleep(YOKE_S(1)), YOKE_CANCELLED); /* cleanup that blocks */
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    rc = yoke_scope_close(&scope, rc);
    yk_check_int(rc, -EBADF);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    check_bad_with_suppressed(1); /* one Cancelled of one cause, however often it was delivered */
    return 0;
}

YK_SIM_TEST(nor_if_the_body_returns_the_code_of_the_cancelled)
{
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(bad(), -EBADF);
    rc = yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), -EBADF);
    check_bad_with_suppressed(1);
    return 0;
}

YK_SIM_TEST(nor_between_hold_and_release)
{
    struct yoke_scope scope;
    struct yoke_hold hold;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(bad(), -EBADF);
    yoke_hold(&hold);
    yk_check(yoke_in_flight() == NULL);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_sleep(YOKE_S(1)), YOKE_CANCELLED);
    rc = yoke_release(&hold);
    yk_check_int(rc, -EBADF);
    yk_check_int(yoke_scope_close(&scope, rc), -EBADF);
    check_bad_with_suppressed(1);
    return 0;
}

YK_SIM_TEST(nor_in_nested_holds)
{
    struct yoke_scope scope;
    struct yoke_hold outer, inner;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_raise("test.First", EIO, "first"), -EIO);
    yoke_hold(&outer);
    yk_check_int(bad(), -EBADF);
    yoke_hold(&inner);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yk_check_int(yoke_release(&inner), -EBADF);
    rc = yoke_release(&outer);
    yk_check_int(rc, -EIO);
    rc = yoke_scope_close(&scope, rc);
    yk_check_int(rc, -EIO);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 1);
    yk_check_text(yoke_error_type(yoke_error_suppressed(yoke_in_flight(), 0)), "test.Bad");
    yk_check_caught("test.First", "first");
    return 0;
}

YK_SIM_TEST(an_error_of_cleanup_beats_the_cancelled_that_was_held)
{
    struct yoke_scope scope;
    struct yoke_hold hold;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yoke_hold(&hold);
    yk_check_int(bad(), -EBADF);
    rc = yoke_release(&hold);
    yk_check_int(rc, -EBADF);
    yk_check_int(yoke_scope_close(&scope, rc), -EBADF);
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yk_check_caught("test.Bad", "bad");
    return 0;
}

YK_SIM_TEST(a_shielded_cleanup_in_a_hold_runs_to_its_end_and_the_cancelled_goes_on)
{
    struct yoke_scope scope, cleanup;
    struct yoke_hold hold;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yoke_hold(&hold);
    yk_check_int(yoke_scope_open(&cleanup, &(struct yoke_scope_opts){.shield = true}), 0);
    yk_check_int(yoke_scope_close(&cleanup, yoke_sleep(YOKE_S(1))), 0);
    rc = yoke_release(&hold);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

static int cleanup_with_timeout(bool *ret_caught)
{
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_S(1), .shield = true};
    struct yoke_scope cleanup;
    int rc = yoke_scope_open(&cleanup, &opts);

    if (rc == 0)
        rc = yoke_sleep_forever();
    rc = yoke_scope_close(&cleanup, rc);
    *ret_caught = yoke_scope_cancelled_caught(&cleanup);
    return rc;
}

YK_SIM_TEST(a_timeout_of_cleanup_ends_the_cleanup_and_leaves_the_error_in_flight)
{
    bool caught = false;
    int rc = bad();

    yk_check_int(cleanup_with_timeout(&caught), 0);
    yk_check(caught);
    yk_check_int(rc, -EBADF);
    check_bad_with_suppressed(1);
    return 0;
}

YK_SIM_TEST(a_timeout_of_cleanup_leaves_the_cancelled_in_flight_for_its_own_scope)
{
    struct yoke_scope scope;
    bool caught = false;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, "the scope");
    rc = yoke_checkpoint();
    yk_check_int(cleanup_with_timeout(&caught), 0);
    yk_check(caught);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "the scope");
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

YK_SIM_TEST(a_scope_opened_over_an_error_gives_back_what_its_body_returns)
{
    struct yoke_scope scope;
    int rc = bad();

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, rc), -EBADF);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_raise("test.Second", EIO, "second"), -EIO);
    yk_check_int(yoke_scope_close(&scope, 0), -EIO);
    yk_check_text(yoke_error_type(yoke_error_context(yoke_in_flight())), "test.Bad");
    yk_check_caught("test.Second", "second");
    return 0;
}

YK_SIM_TEST(a_body_that_clears_an_older_error_and_fails_without_one_gets_its_own)
{
    struct yoke_scope scope;

    yk_check_int(bad(), -EBADF);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_clear();
    yk_check_int(yoke_scope_close(&scope, -EPIPE), -EPIPE);
    yk_check(yoke_in_flight() != NULL);
    yk_check_int(yoke_error_code(yoke_in_flight()), -EPIPE);
    yoke_clear();
    return 0;
}

YK_SIM_TEST(a_nursery_closed_with_an_older_error_cancels_its_children_and_keeps_it)
{
    struct yoke_nursery nursery;
    int rc = bad();

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, rc), -EBADF);
    check_bad_with_suppressed(0);
    return 0;
}

YK_SIM_TEST(a_nursery_in_cleanup_works_as_any_other_while_the_error_waits)
{
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(bad(), -EBADF);
    yk_check_int(yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.timeout_ns = 5}), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    rc = yoke_nursery_close(&nursery, yoke_sleep_forever());
    yk_check_int(rc, 0);
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    check_bad_with_suppressed(1);
    return 0;
}

static int fail_other(void *arg)
{
    (void)arg;
    return yoke_raise("test.Other", EIO, "other");
}

YK_SIM_TEST(a_failure_in_a_nursery_of_cleanup_carries_the_older_error)
{
    struct yoke_nursery nursery;

    yk_check_int(bad(), -EBADF);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_other, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EIO);
    yk_check_text(yoke_error_type(yoke_error_context(yoke_in_flight())), "test.Bad");
    yk_check_caught("test.Other", "other");
    return 0;
}

static int fail_in_nested_nurseries(void *arg)
{
    int depth = *(int *)arg - 1;
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    if (depth == 0)
        yk_check_int(yoke_spawn(&nursery, fail_bad, NULL), 0);
    else
        yk_check_int(yoke_spawn(&nursery, fail_in_nested_nurseries, &depth), 0);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(an_error_comes_out_of_nested_nurseries_as_itself)
{
    int depth = 6;

    yk_check_int(fail_in_nested_nurseries(&depth), -EBADF);
    check_bad_with_suppressed(0);
    return 0;
}

static int fail_in_cleanup_of_nested_nurseries(void *arg)
{
    int depth = *(int *)arg - 1;
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    if (depth > 0)
        yk_check_int(yoke_spawn(&nursery, fail_in_cleanup_of_nested_nurseries, &depth), 0);
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    if (depth == 0)
        rc = bad();
    return yoke_nursery_close(&nursery, rc);
}

YK_SIM_TEST(a_cancellation_of_nested_nurseries_does_not_mask_an_error_at_the_bottom)
{
    int depth = 6;
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = 5}), 0);
    rc = fail_in_cleanup_of_nested_nurseries(&depth);
    yk_check_int(rc, -EBADF);
    yk_check_int(yoke_scope_close(&scope, rc), -EBADF);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yk_check_caught("test.Bad", "bad");
    return 0;
}

static int slow_to_end(void *arg)
{
    struct yoke_scope shield;
    int rc = yoke_sleep_forever();

    (void)arg;
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_open(&shield, &(struct yoke_scope_opts){.shield = true}), 0);
    yk_check_int(yoke_scope_close(&shield, yoke_sleep(YOKE_S(10))), 0);
    return rc;
}

YK_SIM_TEST(a_cancellation_during_the_close_of_a_failed_nursery_does_not_mask_the_failure)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int64_t start = yoke_now();
    int rc;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(1)}), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, slow_to_end, NULL), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    rc = yoke_nursery_close(&nursery, bad());
    yk_check_int(yoke_now(), start + YOKE_S(10)); /* the deadline came and went meanwhile */
    yk_check_int(rc, -EBADF);
    yk_check_int(yoke_scope_close(&scope, rc), -EBADF);
    yk_check(yoke_scope_cancel_called(&scope) && !yoke_scope_cancelled_caught(&scope));
    check_bad_with_suppressed(1);
    return 0;
}

YK_SIM_TEST(a_group_is_not_masked_either)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_bad, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_other, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    rc = yoke_nursery_close(&nursery, 0);
    yk_check_int(rc, YOKE_EGROUP);
    rc = yoke_scope_close(&scope, rc);
    yk_check_int(rc, YOKE_EGROUP);
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 2);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 1);
    yk_check(yoke_error_is_cancelled(yoke_error_suppressed(yoke_in_flight(), 0)));
    yoke_clear();
    return 0;
}

YK_SIM_TEST(cancelleds_of_different_scopes_are_told_by_the_error_one_each)
{
    struct yoke_scope outer, inner;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    rc = bad();
    yoke_scope_cancel(&inner, "inner");
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yoke_scope_cancel(&outer, "outer");
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    rc = yoke_scope_close(&inner, rc);
    rc = yoke_scope_close(&outer, rc);
    yk_check_int(rc, -EBADF);
    check_bad_with_suppressed(2);
    return 0;
}

YK_SIM_TEST(an_error_caught_inside_a_scope_can_be_put_back_outside)
{
    struct yoke_scope scope;
    struct yoke_error *error;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(bad(), -EBADF);
    error = yoke_catch();
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&scope)); /* nothing was in flight to beat it */
    yk_check_int(yoke_rethrow(error), -EBADF);
    check_bad_with_suppressed(0);
    return 0;
}

static int keep_own_error(void *arg)
{
    const char *type = arg;
    struct yoke_hold hold;

    yk_check_int(yoke_raise(type, EIO, "mine"), -EIO);
    for (int i = 0; i < 5; i++)
        yk_check_int(yoke_checkpoint(), 0);
    yk_check_text(yoke_error_type(yoke_in_flight()), type);
    yoke_hold(&hold);
    yk_check_int(yoke_sleep(YOKE_MS(1)), 0);
    yk_check_int(yoke_release(&hold), -EIO);
    yk_check_text(yoke_error_type(yoke_in_flight()), type);
    yk_check_text(yoke_error_task_name(yoke_in_flight()), yoke_task_name());
    yk_check_int(yoke_error_task_id(yoke_in_flight()), yoke_task_id());
    yoke_clear();
    return 0;
}

YK_SIM_TEST(each_task_has_an_error_in_flight_of_its_own)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, keep_own_error, "test.A"), 0);
    yk_check_int(yoke_spawn(&nursery, keep_own_error, "test.B"), 0);
    yk_check_int(yoke_spawn(&nursery, keep_own_error, "test.C"), 0);
    yk_check_int(yoke_checkpoint(), 0);
    yk_check(yoke_in_flight() == NULL);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(a_task_that_wakes_cancelled_has_the_cancelled_in_flight_and_its_canceller_has_not)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(bad(), -EBADF);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 0);
    yk_check_caught("test.Bad", "bad");
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(an_error_has_a_backtrace_from_the_stack_of_its_task)
{
    void *const *frames = NULL;

    yk_check_int(bad(), -EBADF);
    yk_check(yoke_error_backtrace(yoke_in_flight(), &frames) >= 1);
    yk_check(frames != NULL && frames[0] != NULL);
    yoke_clear();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_in_cleanup_does_not_mask_the_error),
        cmocka_unit_test(nor_if_the_body_returns_the_code_of_the_cancelled),
        cmocka_unit_test(nor_between_hold_and_release),
        cmocka_unit_test(nor_in_nested_holds),
        cmocka_unit_test(an_error_of_cleanup_beats_the_cancelled_that_was_held),
        cmocka_unit_test(a_shielded_cleanup_in_a_hold_runs_to_its_end_and_the_cancelled_goes_on),
        cmocka_unit_test(a_timeout_of_cleanup_ends_the_cleanup_and_leaves_the_error_in_flight),
        cmocka_unit_test(a_timeout_of_cleanup_leaves_the_cancelled_in_flight_for_its_own_scope),
        cmocka_unit_test(a_scope_opened_over_an_error_gives_back_what_its_body_returns),
        cmocka_unit_test(a_body_that_clears_an_older_error_and_fails_without_one_gets_its_own),
        cmocka_unit_test(a_nursery_closed_with_an_older_error_cancels_its_children_and_keeps_it),
        cmocka_unit_test(a_nursery_in_cleanup_works_as_any_other_while_the_error_waits),
        cmocka_unit_test(a_failure_in_a_nursery_of_cleanup_carries_the_older_error),
        cmocka_unit_test(an_error_comes_out_of_nested_nurseries_as_itself),
        cmocka_unit_test(a_cancellation_of_nested_nurseries_does_not_mask_an_error_at_the_bottom),
        cmocka_unit_test(
            a_cancellation_during_the_close_of_a_failed_nursery_does_not_mask_the_failure),
        cmocka_unit_test(a_group_is_not_masked_either),
        cmocka_unit_test(cancelleds_of_different_scopes_are_told_by_the_error_one_each),
        cmocka_unit_test(an_error_caught_inside_a_scope_can_be_put_back_outside),
        cmocka_unit_test(each_task_has_an_error_in_flight_of_its_own),
        cmocka_unit_test(
            a_task_that_wakes_cancelled_has_the_cancelled_in_flight_and_its_canceller_has_not),
        cmocka_unit_test(an_error_has_a_backtrace_from_the_stack_of_its_task),
    };

    return cmocka_run_group_tests_name("errors in tasks", tests, NULL, NULL);
}
