/* SPDX-License-Identifier: MIT */
/*
 * Cancel scopes: which one absorbs, what passes through, level triggering. The laws are those of
 * trio's CancelScope, with results in place of exceptions. Shields and deadlines have their own
 * files.
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

YK_SIM_TEST(a_cancelled_scope_ends_its_body_and_absorbs_the_cancelled)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_checkpoint(), 0);
    yk_check(!yoke_scope_cancel_called(&scope));
    yoke_scope_cancel(&scope, NULL);
    yk_check(yoke_scope_cancel_called(&scope));
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yk_check(yoke_error_is_cancelled(yoke_in_flight()));
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check(yoke_in_flight() == NULL);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return yoke_checkpoint();
}

YK_SIM_TEST(every_blocking_call_in_a_cancelled_scope_is_cancelled_again_and_again)
{
    struct yoke_scope scope;
    struct yoke_event event;

    yoke_event_init(&event);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    for (int i = 0; i < 3; i++) {
        yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
        yk_check_int(yoke_sleep(YOKE_MS(1)), YOKE_CANCELLED);
        yk_check_int(yoke_sleep(-1), YOKE_CANCELLED);
        yk_check_int(yoke_sleep_until(0), YOKE_CANCELLED);
        yk_check_int(yoke_sleep_forever(), YOKE_CANCELLED);
        yk_check_int(yoke_event_wait(&event), YOKE_CANCELLED);
        yk_check_int(yoke_wait_all_tasks_blocked(), YOKE_CANCELLED);
        yoke_clear();
    }
    yoke_event_set(&event);
    yk_check_int(yoke_event_wait(&event), YOKE_CANCELLED); /* even if it could complete at once */
    return yoke_scope_close(&scope, YOKE_CANCELLED);
}

YK_SIM_TEST(a_scope_catches_nothing_if_no_cancelled_arrived)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check(yoke_scope_cancel_called(&scope));
    yk_check(!yoke_scope_cancelled_caught(&scope));
    return yoke_checkpoint(); /* what was pending went with the scope */
}

YK_SIM_TEST(a_cancelled_dropped_by_the_body_is_not_caught_by_the_scope)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yoke_clear();
    yk_check_int(yoke_scope_close(&scope, 7), 7);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    return 0;
}

YK_SIM_TEST(a_body_that_returns_cancelled_after_clearing_it_is_unwinding_all_the_same)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yoke_clear();
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

YK_SIM_TEST(a_cancelled_forgotten_in_flight_is_absorbed_whatever_the_body_returns)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, 3), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    yk_check(yoke_in_flight() == NULL);
    return 0;
}

YK_SIM_TEST(results_pass_through_a_scope)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, 42), 42);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, yoke_raise("test.Bad", EBADF, "bad")), -EBADF);
    yk_check_caught("test.Bad", "bad");
    yk_check(!yoke_scope_cancel_called(&scope));
    return 0;
}

YK_SIM_TEST(an_error_that_the_body_did_not_handle_is_its_result)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_raise("test.Bad", EBADF, "bad"), -EBADF);
    yk_check_int(yoke_scope_close(&scope, 0), -EBADF);
    yk_check_caught("test.Bad", "bad");
    return 0;
}

YK_SIM_TEST(a_negative_result_without_an_error_gets_one_at_the_close)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, -EDOM), -EDOM);
    yk_check(yoke_in_flight() != NULL);
    yk_check_int(yoke_error_code(yoke_in_flight()), -EDOM);
    yoke_clear();
    return 0;
}

YK_SIM_TEST(an_error_passes_through_a_cancelled_scope)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yk_check_int(yoke_raise("test.Bad", EBADF, "while unwinding"), -EBADF);
    yk_check_int(yoke_scope_close(&scope, -EBADF), -EBADF);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yk_check_caught("test.Bad", "while unwinding");
    return 0;
}

YK_SIM_TEST(the_outermost_cancelled_scope_absorbs)
{
    struct yoke_scope outer, middle, inner;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&middle, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    yoke_scope_cancel(&inner, NULL);
    yoke_scope_cancel(&middle, NULL);
    rc = yoke_scope_close(&inner, yoke_sleep_forever());
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(!yoke_scope_cancelled_caught(&inner));
    yk_check_int(yoke_scope_close(&middle, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&middle));
    yk_check_int(yoke_checkpoint(), 0);
    yk_check_int(yoke_scope_close(&outer, 0), 0);
    yk_check(!yoke_scope_cancel_called(&outer) && !yoke_scope_cancelled_caught(&outer));
    return 0;
}

YK_SIM_TEST(an_inner_scope_absorbs_if_only_it_was_cancelled)
{
    struct yoke_scope outer, inner;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    yoke_scope_cancel(&inner, NULL);
    yk_check_int(yoke_scope_close(&inner, yoke_sleep_forever()), 0);
    yk_check(yoke_scope_cancelled_caught(&inner));
    yk_check_int(yoke_checkpoint(), 0);
    return yoke_scope_close(&outer, 0);
}

YK_SIM_TEST(a_cancelled_on_its_way_goes_on_if_an_outer_scope_is_cancelled_meanwhile)
{
    struct yoke_scope outer, inner;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    yoke_scope_cancel(&inner, "inner");
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yoke_scope_cancel(&outer, "outer");
    rc = yoke_scope_close(&inner, YOKE_CANCELLED);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(!yoke_scope_cancelled_caught(&inner));
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "outer");
    yk_check_int(yoke_error_inner_cause_count(yoke_in_flight()), 1);
    yk_check_text(yoke_cause_reason(yoke_error_inner_cause(yoke_in_flight(), 0)), "inner");
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&outer));
    return 0;
}

YK_SIM_TEST(a_scope_opened_in_a_cancelled_one_is_cancelled_from_the_start_but_absorbs_nothing)
{
    struct yoke_scope outer, inner;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yoke_scope_cancel(&outer, NULL);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    rc = yoke_scope_close(&inner, yoke_checkpoint());
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(!yoke_scope_cancel_called(&inner) && !yoke_scope_cancelled_caught(&inner));
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    return 0;
}

YK_SIM_TEST(cancelling_a_closed_scope_does_nothing)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yoke_scope_cancel(&scope, "too late");
    yk_check(!yoke_scope_cancel_called(&scope));
    return yoke_checkpoint();
}

YK_SIM_TEST(a_scope_can_be_opened_again_after_it_was_cancelled_and_closed)
{
    struct yoke_scope scope;

    for (int i = 0; i < 3; i++) {
        yk_check_int(yoke_scope_open(&scope, NULL), 0);
        yk_check_int(yoke_checkpoint(), 0);
        yoke_scope_cancel(&scope, NULL);
        yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
        yk_check(yoke_scope_cancelled_caught(&scope));
    }
    return 0;
}

struct sleeper {
    struct yoke_scope scope;
    bool unblocked;
    int rc;
};

static int sleep_in_scope(void *arg)
{
    struct sleeper *sleeper = arg;

    yk_check_int(yoke_scope_open(&sleeper->scope, NULL), 0);
    sleeper->rc = yoke_sleep_forever();
    sleeper->unblocked = true;
    return yoke_scope_close(&sleeper->scope, sleeper->rc);
}

YK_SIM_TEST(a_task_cancels_the_scope_of_another_and_only_that)
{
    struct sleeper first = {.unblocked = false}, second = {.unblocked = false};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_in_scope, &first), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_in_scope, &second), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&first.scope, NULL);
    yk_check(!first.unblocked); /* a request never waits */
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(first.unblocked && !second.unblocked);
    yk_check_int(first.rc, YOKE_CANCELLED);
    yk_check(yoke_scope_cancelled_caught(&first.scope));
    yoke_scope_cancel(&second.scope, NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(!yoke_scope_cancel_called(yoke_nursery_scope(&nursery)));
    yk_check_int(second.rc, YOKE_CANCELLED);
    return 0;
}

YK_SIM_TEST(one_wait_is_cancelled_once_even_if_scopes_are_cancelled_twice_before_it_runs)
{
    struct sleeper sleeper = {.unblocked = false};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_in_scope, &sleeper), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&sleeper.scope, "first");
    yoke_scope_cancel(&sleeper.scope, "again");
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "around it");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(!yoke_scope_cancelled_caught(&sleeper.scope)); /* it belonged to the nursery by then */
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    return 0;
}

static int leaf(void *arg)
{
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    ++*(int *)arg;
    return rc;
}

static int worker(void *arg)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, leaf, arg), 0);
    yk_check_int(yoke_spawn(&nursery, leaf, arg), 0);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(cancellation_reaches_tasks_at_any_depth)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int leaves = 0;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_spawn(&nursery, worker, &leaves), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), YOKE_CANCELLED);
    yk_check_int(leaves, 6);
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    return 0;
}

enum { DEEP = 1000 };

YK_SIM_TEST(a_thousand_nested_scopes_unwind_to_the_outermost)
{
    static struct yoke_scope scopes[DEEP];
    int rc;

    for (int i = 0; i < DEEP; i++) {
        yk_check_int(yoke_scope_open(&scopes[i], NULL), 0);
        yoke_scope_cancel(&scopes[i], NULL);
    }
    rc = yoke_checkpoint();
    yk_check(yoke_error_cause(yoke_in_flight()) == yoke_scope_cause(&scopes[0]));
    for (int i = DEEP - 1; i > 0; i--) {
        rc = yoke_scope_close(&scopes[i], rc);
        yk_check_int(rc, YOKE_CANCELLED);
        yk_check(!yoke_scope_cancelled_caught(&scopes[i]));
    }
    yk_check_int(yoke_scope_close(&scopes[0], rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scopes[0]));
    return 0;
}

YK_SIM_TEST(a_cancelled_caught_and_put_back_is_still_absorbed)
{
    struct yoke_scope scope;
    struct yoke_error *error;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    error = yoke_catch();
    yk_check(yoke_in_flight() == NULL);
    yk_check_int(yoke_rethrow(error), YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

YK_SIM_TEST(a_cancelled_carried_out_of_its_scope_is_not_absorbed_by_a_scope_nobody_cancelled)
{
    struct yoke_scope cancelled, other;
    struct yoke_nursery nursery;
    struct yoke_error *error;

    yk_check_int(yoke_scope_open(&cancelled, NULL), 0);
    yoke_scope_cancel(&cancelled, NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    error = yoke_catch();
    yk_check_int(yoke_scope_close(&cancelled, 0), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&other, NULL), 0);
    yk_check_int(yoke_scope_close(&other, yoke_rethrow(error)), YOKE_CANCELLED);
    yk_check(!yoke_scope_cancelled_caught(&other));
    /* A nursery must end its children when its body unwinds, so it is cancelled and absorbs. */
    yk_check_int(yoke_nursery_close(&nursery, YOKE_CANCELLED), 0);
    yk_check(yoke_scope_cancel_called(yoke_nursery_scope(&nursery)));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_scope_ends_its_body_and_absorbs_the_cancelled),
        cmocka_unit_test(every_blocking_call_in_a_cancelled_scope_is_cancelled_again_and_again),
        cmocka_unit_test(a_scope_catches_nothing_if_no_cancelled_arrived),
        cmocka_unit_test(a_cancelled_dropped_by_the_body_is_not_caught_by_the_scope),
        cmocka_unit_test(a_body_that_returns_cancelled_after_clearing_it_is_unwinding_all_the_same),
        cmocka_unit_test(a_cancelled_forgotten_in_flight_is_absorbed_whatever_the_body_returns),
        cmocka_unit_test(results_pass_through_a_scope),
        cmocka_unit_test(an_error_that_the_body_did_not_handle_is_its_result),
        cmocka_unit_test(a_negative_result_without_an_error_gets_one_at_the_close),
        cmocka_unit_test(an_error_passes_through_a_cancelled_scope),
        cmocka_unit_test(the_outermost_cancelled_scope_absorbs),
        cmocka_unit_test(an_inner_scope_absorbs_if_only_it_was_cancelled),
        cmocka_unit_test(a_cancelled_on_its_way_goes_on_if_an_outer_scope_is_cancelled_meanwhile),
        cmocka_unit_test(
            a_scope_opened_in_a_cancelled_one_is_cancelled_from_the_start_but_absorbs_nothing),
        cmocka_unit_test(cancelling_a_closed_scope_does_nothing),
        cmocka_unit_test(a_scope_can_be_opened_again_after_it_was_cancelled_and_closed),
        cmocka_unit_test(a_task_cancels_the_scope_of_another_and_only_that),
        cmocka_unit_test(
            one_wait_is_cancelled_once_even_if_scopes_are_cancelled_twice_before_it_runs),
        cmocka_unit_test(cancellation_reaches_tasks_at_any_depth),
        cmocka_unit_test(a_thousand_nested_scopes_unwind_to_the_outermost),
        cmocka_unit_test(a_cancelled_caught_and_put_back_is_still_absorbed),
        cmocka_unit_test(
            a_cancelled_carried_out_of_its_scope_is_not_absorbed_by_a_scope_nobody_cancelled),
    };

    return cmocka_run_group_tests_name("scopes", tests, NULL, NULL);
}
