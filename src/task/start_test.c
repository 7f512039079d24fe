/* SPDX-License-Identifier: MIT */
/*
 * yoke_start: the value that comes back, children that end before they report, cancellation on
 * each side of the report, and the move of a child with all that it has open.
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

static int token; /* its address is the value handed over */

static int start_after_a_second(void *arg)
{
    int rc = yoke_sleep(YOKE_S(1));

    if (rc == 0)
        rc = yoke_started(&token);
    if (rc == 0)
        rc = yoke_sleep(YOKE_S(1));
    if (rc == 0 && arg != NULL)
        ++*(int *)arg;
    return rc;
}

YK_SIM_TEST(start_waits_for_the_report_and_hands_over_its_value)
{
    struct yoke_nursery nursery;
    int64_t start = yoke_now();
    void *value = NULL;
    int done = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, start_after_a_second, &done, &value), 0);
    yk_check(value == &token);
    yk_check_int(yoke_now(), start + YOKE_S(1));
    yk_check_int(done, 0); /* from now on it is a child as any other */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_now(), start + YOKE_S(2));
    yk_check_int(done, 1);
    return 0;
}

static int start_at_once(void *arg)
{
    return yoke_started(arg);
}

YK_SIM_TEST(a_child_may_end_right_after_its_report)
{
    struct yoke_nursery nursery;
    void *value = NULL;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, start_at_once, &value, &value), 0);
    yk_check(value == &value);
    yk_check_int(yoke_start(&nursery, start_at_once, NULL, NULL), 0);
    yk_check_int(yoke_start_with(&nursery, start_at_once, NULL,
                                 &(struct yoke_task_opts){.name = "quick"}, &value),
                 0);
    yk_check(value == NULL);
    return yoke_nursery_close(&nursery, 0);
}

static int report_twice(void *arg)
{
    (void)arg;
    yk_check_int(yoke_started(NULL), 0);
    yk_check_int(yoke_started(NULL), -EINVAL);
    yk_check_caught("yoke.Misuse", NULL);
    return 0;
}

static int report_unasked(void *arg)
{
    (void)arg;
    yk_check_int(yoke_started(NULL), -EINVAL);
    yk_check_caught("yoke.Misuse", NULL);
    return 0;
}

YK_SIM_TEST(a_report_that_nobody_waits_for_is_an_error)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, report_twice, NULL, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, report_unasked, NULL), 0);
    return yoke_nursery_close(&nursery, 0);
}

static int fail_before_the_report(void *arg)
{
    (void)arg;
    return yoke_raise("test.Early", EIO, "early");
}

YK_SIM_TEST(an_error_before_the_report_is_that_of_start_and_leaves_the_nursery_alone)
{
    struct yoke_nursery nursery;
    int untouched;
    void *value = &untouched;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, fail_before_the_report, NULL, &value), -EIO);
    yk_check(value == &untouched); /* outputs are left alone on failure */
    yk_check_caught("test.Early", "early");
    yk_check(!yoke_scope_cancel_called(yoke_nursery_scope(&nursery)));
    return yoke_nursery_close(&nursery, 0);
}

static int end_without_report(void *arg)
{
    (void)arg;
    return yoke_checkpoint();
}

YK_SIM_TEST(a_child_that_ends_without_a_report_is_an_error_of_start)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, end_without_report, NULL, NULL), -ECHILD);
    yk_check_caught("yoke.NotStarted",
                    "task end_without_report ended before it reported yoke_started");
    return yoke_nursery_close(&nursery, 0);
}

/* A start inside `inner`, which its child shields once it is cancelled from outside. */
struct shielded_start {
    struct yoke_scope outer, inner;
};

static int shield_when_cancelled(void *arg)
{
    struct shielded_start *shielded = arg;
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    yoke_scope_set_shield(&shielded->inner, true);
    return rc;
}

static int cancel_outer(void *arg)
{
    struct shielded_start *shielded = arg;

    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&shielded->outer, "from outside");
    return 0;
}

YK_SIM_TEST(a_start_that_is_cancelled_and_then_shielded_is_still_a_cancelled_one)
{
    struct yoke_nursery nursery;
    struct shielded_start shielded;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, cancel_outer, &shielded), 0);
    yk_check_int(yoke_scope_open(&shielded.outer, NULL), 0);
    yk_check_int(yoke_scope_open(&shielded.inner, NULL), 0);
    rc = yoke_start(&nursery, shield_when_cancelled, &shielded, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "from outside");
    rc = yoke_scope_close(&shielded.inner, rc);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&shielded.outer, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&shielded.outer));
    return yoke_nursery_close(&nursery, 0);
}

static int fail_after_the_report(void *arg)
{
    (void)arg;
    yk_check_int(yoke_started(&token), 0);
    return yoke_raise("test.Late", EIO, "late");
}

YK_SIM_TEST(an_error_after_the_report_is_that_of_the_nursery)
{
    struct yoke_nursery nursery;
    void *value = NULL;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, fail_after_the_report, NULL, &value), 0);
    yk_check(value == &token);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EIO);
    yk_check_caught("test.Late", "late");
    return 0;
}

static int count_start(void *arg)
{
    ++*(int *)arg;
    return yoke_started(NULL);
}

YK_SIM_TEST(a_cancelled_starter_starts_nothing)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int ran = 0;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    rc = yoke_start(&nursery, count_start, &ran, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(ran, 0);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(cancelling_the_starter_cancels_the_child_that_has_not_reported)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_MS(500)};
    int64_t start = yoke_now();
    int done = 0;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    rc = yoke_start(&nursery, start_after_a_second, &done, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_now(), start + YOKE_MS(500)); /* the child is gone by now */
    yk_check(yoke_error_cause(yoke_in_flight()) == yoke_scope_cause(&scope));
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(done, 0);
    return 0;
}

YK_SIM_TEST(cancelling_the_starter_after_the_report_does_not_touch_the_child)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int done = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_start(&nursery, start_after_a_second, &done, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(done, 1);
    return 0;
}

static int finish_in_spite_of_cancel(void *arg)
{
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    yoke_clear();
    ++*(int *)arg;
    return yoke_started(&token); /* a report now comes too late to move it */
}

YK_SIM_TEST(a_child_that_ignores_the_cancellation_does_not_hide_it_from_the_starter)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int ran = 0;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = 1}), 0);
    rc = yoke_start(&nursery, finish_in_spite_of_cancel, &ran, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(ran, 1);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    return yoke_nursery_close(&nursery, 0);
}

static int fail_in_spite_of_cancel(void *arg)
{
    int rc = yoke_sleep_forever();

    (void)arg;
    yk_check_int(rc, YOKE_CANCELLED);
    yoke_clear();
    yk_check_int(yoke_started(&token), 0);
    return yoke_raise("test.Child", EIO, "after the report");
}

YK_SIM_TEST(an_error_of_a_child_beats_the_cancellation_of_its_starter)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = 1}), 0);
    rc = yoke_start(&nursery, fail_in_spite_of_cancel, NULL, NULL);
    yk_check_int(rc, -EIO);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 1);
    yk_check_int(yoke_scope_close(&scope, rc), -EIO);
    yk_check_caught("test.Child", "after the report");
    return yoke_nursery_close(&nursery, 0);
}

struct open_scopes {
    struct yoke_scope first, second;
    struct yoke_nursery nursery;
    struct yoke_event *go;
    int leaf_rc;
};

static int leaf(void *arg)
{
    struct open_scopes *open = arg;

    open->leaf_rc = yoke_sleep_forever();
    return open->leaf_rc;
}

static int report_with_open_scopes(void *arg)
{
    struct open_scopes *open = arg;
    int rc;

    yk_check_int(yoke_scope_open(&open->first, NULL), 0);
    yk_check_int(yoke_nursery_open(&open->nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&open->second, NULL), 0);
    yk_check_int(yoke_spawn(&open->nursery, leaf, open), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_started(NULL), 0);
    rc = yoke_event_wait(open->go);
    rc = yoke_scope_close(&open->second, rc);
    rc = yoke_nursery_close(&open->nursery, rc);
    return yoke_scope_close(&open->first, rc);
}

YK_SIM_TEST(a_child_takes_the_scopes_and_nurseries_it_has_open_along)
{
    struct yoke_nursery target;
    struct yoke_event go;
    struct open_scopes open = {.go = &go};

    yoke_event_init(&go);
    yk_check_int(yoke_nursery_open(&target, NULL), 0);
    yk_check_int(yoke_start(&target, report_with_open_scopes, &open, NULL), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(open.leaf_rc, 0);
    yoke_scope_cancel(yoke_nursery_scope(&target), "the target"); /* reaches all of them */
    yk_check_int(yoke_nursery_close(&target, 0), 0);
    yk_check_int(open.leaf_rc, YOKE_CANCELLED);
    yk_check(!yoke_scope_cancelled_caught(&open.first));
    yk_check(!yoke_scope_cancelled_caught(&open.second));
    return 0;
}

YK_SIM_TEST(a_child_moved_out_of_a_scope_is_no_longer_under_its_deadline)
{
    struct yoke_nursery target;
    struct yoke_scope scope;
    struct yoke_event go;
    struct open_scopes open = {.go = &go};

    yoke_event_init(&go);
    yk_check_int(yoke_nursery_open(&target, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(1)}), 0);
    yk_check_int(yoke_start(&target, report_with_open_scopes, &open, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, yoke_sleep(YOKE_S(2))), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    yk_check_int(open.leaf_rc, 0);
    yoke_scope_cancel(&open.nursery.scope, NULL);
    yoke_event_set(&go);
    yk_check_int(yoke_nursery_close(&target, 0), 0);
    yk_check_int(open.leaf_rc, YOKE_CANCELLED);
    return 0;
}

struct foreign {
    struct yoke_nursery nursery;
    bool cancel_before_report;
    bool cancel_after_report;
    int started_rc;
    int leaf_rc;
};

static int own_a_nursery(void *arg)
{
    struct foreign *foreign = arg;
    int rc;

    yk_check_int(yoke_nursery_open(&foreign->nursery, NULL), 0);
    rc = yoke_started(NULL);
    if (rc == 0)
        rc = yoke_sleep_forever();
    return yoke_nursery_close(&foreign->nursery, rc);
}

static int foreign_leaf(void *arg)
{
    struct foreign *foreign = arg;

    foreign->leaf_rc = yoke_sleep_forever();
    return foreign->leaf_rc;
}

static int move_sleeping_children(void *arg)
{
    struct foreign *foreign = arg;
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, foreign_leaf, foreign), 0);
    yk_check_int(yoke_spawn(&nursery, foreign_leaf, foreign), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    if (foreign->cancel_before_report)
        yoke_scope_cancel(yoke_nursery_scope(&foreign->nursery), "before");
    foreign->started_rc = yoke_started(NULL);
    if (foreign->cancel_after_report)
        yoke_scope_cancel(yoke_nursery_scope(&foreign->nursery), "after");
    return yoke_nursery_close(&nursery, 0);
}

static int start_into_foreign(struct foreign *foreign)
{
    struct yoke_nursery nursery;

    foreign->started_rc = 1;
    foreign->leaf_rc = 0;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, own_a_nursery, foreign, NULL), 0);
    yk_check_int(yoke_start(&foreign->nursery, move_sleeping_children, foreign, NULL), 0);
    if (!foreign->cancel_before_report && !foreign->cancel_after_report)
        yoke_scope_cancel(yoke_nursery_scope(&foreign->nursery), "by the starter");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(foreign->started_rc, 0);
    yk_check_int(foreign->leaf_rc, YOKE_CANCELLED);
    return 0;
}

YK_SIM_TEST(sleeping_tasks_moved_into_a_cancelled_nursery_wake_cancelled)
{
    struct foreign foreign = {.cancel_before_report = true};

    return start_into_foreign(&foreign);
}

YK_SIM_TEST(sleeping_tasks_moved_into_a_nursery_are_cancelled_with_it)
{
    struct foreign by_child = {.cancel_after_report = true};
    struct foreign by_starter = {.cancel_after_report = false};

    yk_check_int(start_into_foreign(&by_child), 0);
    return start_into_foreign(&by_starter);
}

struct background {
    struct yoke_nursery *target;
    yoke_task_fn fn;
    int expected;
};

static int start_in_background(void *arg)
{
    struct background *background = arg;
    int rc = yoke_start_at(YOKE_HERE, background->target, background->fn, "background", NULL, NULL,
                           NULL);

    yk_check_int(rc, background->expected);
    yoke_clear();
    return 0;
}

YK_SIM_TEST(a_nursery_stays_open_while_a_start_into_it_is_under_way)
{
    struct yoke_nursery outer, target;
    struct background background = {.target = &target, .fn = start_after_a_second};
    int64_t start = yoke_now();

    yk_check_int(yoke_nursery_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&target, NULL), 0);
    yk_check_int(yoke_spawn(&outer, start_in_background, &background), 0);
    yk_check_int(yoke_sleep(YOKE_MS(500)), 0);
    yk_check_int(yoke_spawn(&outer, start_in_background, &background), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_nursery_close(&target, 0), 0);
    yk_check_int(yoke_now(), start + YOKE_MS(2500));
    return yoke_nursery_close(&outer, 0);
}

static int fail_after_a_second(void *arg)
{
    int rc = yoke_sleep(YOKE_S(1));

    (void)arg;
    return rc < 0 ? rc : yoke_raise("test.Never", EIO, "never reported");
}

YK_SIM_TEST(a_nursery_closes_after_a_start_into_it_failed)
{
    struct yoke_nursery outer, target;
    struct background background = {&target, fail_after_a_second, -EIO};
    int64_t start = yoke_now();

    yk_check_int(yoke_nursery_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&target, NULL), 0);
    yk_check_int(yoke_spawn(&outer, start_in_background, &background), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_nursery_close(&target, 0), 0);
    yk_check_int(yoke_now(), start + YOKE_S(1));
    return yoke_nursery_close(&outer, 0);
}

YK_SIM_TEST(a_nursery_that_failed_meanwhile_takes_a_child_that_reports_and_cancels_it)
{
    struct yoke_nursery outer, target;
    struct background background = {.target = &target, .fn = start_after_a_second};
    int64_t start = yoke_now();

    yk_check_int(yoke_nursery_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&target, NULL), 0);
    yk_check_int(yoke_spawn(&outer, start_in_background, &background), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_nursery_close(&target, yoke_raise("test.Body", EPERM, "body")), -EPERM);
    yk_check_int(yoke_now(), start + YOKE_S(1)); /* not two: its second sleep was cancelled */
    yk_check_caught("test.Body", "body");
    return yoke_nursery_close(&outer, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_waits_for_the_report_and_hands_over_its_value),
        cmocka_unit_test(a_child_may_end_right_after_its_report),
        cmocka_unit_test(a_report_that_nobody_waits_for_is_an_error),
        cmocka_unit_test(an_error_before_the_report_is_that_of_start_and_leaves_the_nursery_alone),
        cmocka_unit_test(a_child_that_ends_without_a_report_is_an_error_of_start),
        cmocka_unit_test(a_start_that_is_cancelled_and_then_shielded_is_still_a_cancelled_one),
        cmocka_unit_test(an_error_after_the_report_is_that_of_the_nursery),
        cmocka_unit_test(a_cancelled_starter_starts_nothing),
        cmocka_unit_test(cancelling_the_starter_cancels_the_child_that_has_not_reported),
        cmocka_unit_test(cancelling_the_starter_after_the_report_does_not_touch_the_child),
        cmocka_unit_test(a_child_that_ignores_the_cancellation_does_not_hide_it_from_the_starter),
        cmocka_unit_test(an_error_of_a_child_beats_the_cancellation_of_its_starter),
        cmocka_unit_test(a_child_takes_the_scopes_and_nurseries_it_has_open_along),
        cmocka_unit_test(a_child_moved_out_of_a_scope_is_no_longer_under_its_deadline),
        cmocka_unit_test(sleeping_tasks_moved_into_a_cancelled_nursery_wake_cancelled),
        cmocka_unit_test(sleeping_tasks_moved_into_a_nursery_are_cancelled_with_it),
        cmocka_unit_test(a_nursery_stays_open_while_a_start_into_it_is_under_way),
        cmocka_unit_test(a_nursery_closes_after_a_start_into_it_failed),
        cmocka_unit_test(a_nursery_that_failed_meanwhile_takes_a_child_that_reports_and_cancels_it),
    };

    return cmocka_run_group_tests_name("start", tests, NULL, NULL);
}
