/* SPDX-License-Identifier: MIT */
/*
 * What trio's core tests check of scopes, checkpoints, refused aborts and waiting until all tasks
 * are blocked, and that the other scope tests don't; with the cause wherever trio sees only that a
 * Cancelled came.
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

#include "task/task.h"

/* Checks that a Cancelled of that scope, cancelled for that reason, is in flight. */
static void check_cancelled_by(struct yoke_scope *scope, const char *reason)
{
    const struct yoke_cause *cause = yoke_why();

    yk_check(yoke_in_flight() != NULL && yoke_error_is_cancelled(yoke_in_flight()));
    yk_check(cause != NULL && cause == yoke_scope_cause(scope));
    if (cause == NULL)
        return;
    yk_check(yoke_error_cause(yoke_in_flight()) == cause);
    yk_check_text(yoke_cause_reason(cause), reason);
    yk_check_int(yoke_cause_kind(cause), YOKE_CAUSE_SCOPE);
    yk_check_int(yoke_cause_layer(cause), YOKE_LAYER_TASK);
    yk_check(yoke_cause_because(cause) == NULL && yoke_cause_error(cause) == NULL);
}

YK_SIM_TEST(opening_and_closing_an_empty_nursery_is_no_place_to_be_cancelled)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check(!yoke_scope_cancelled_caught(&scope));

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, yoke_raise("test.Bad", EBADF, "bad")), -EBADF);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 0); /* nothing was cancelled */
    yk_check_int(yoke_scope_close(&scope, -EBADF), -EBADF);
    yk_check_caught("test.Bad", "bad");
    return 0;
}

static int set_flag(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

YK_SIM_TEST(a_loop_that_opens_and_closes_nurseries_lets_others_run)
{
    struct yoke_nursery nursery, empty;
    bool ran = false;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, set_flag, &ran), 0);
    for (int i = 0; i < 20 * YK_CHECKPOINT_BUDGET; i++) {
        yk_check_int(yoke_nursery_open(&empty, NULL), 0);
        yk_check_int(yoke_nursery_close(&empty, 0), 0);
    }
    yk_check(ran);
    return yoke_nursery_close(&nursery, 0);
}

struct stubborn {
    struct yoke_scope scope;
    struct yk_task *task;
    int asked;
    int woken_rc;
    int then_rc;
};

static bool refuse(struct yk_task *task, void *arg)
{
    struct stubborn *stubborn = arg;

    yk_check(task == stubborn->task);
    stubborn->asked++;
    return false;
}

static int wait_stubbornly(void *arg)
{
    struct stubborn *stubborn = arg;

    stubborn->task = yk_task_self("test");
    yk_check_int(yoke_scope_open(&stubborn->scope, NULL), 0);
    stubborn->woken_rc = yk_park(stubborn->task, "test", refuse, stubborn);
    yk_check(yoke_in_flight() == NULL);
    stubborn->then_rc = yoke_checkpoint();
    if (stubborn->then_rc < 0)
        check_cancelled_by(&stubborn->scope, "stop");
    return yoke_scope_close(&stubborn->scope, stubborn->then_rc);
}

YK_SIM_TEST(a_wait_that_refuses_sleeps_on_and_the_next_checkpoint_is_cancelled)
{
    struct stubborn stubborn = {.woken_rc = -1};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, wait_stubbornly, &stubborn), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&stubborn.scope, "stop");
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(stubborn.asked, 1);
    yk_check_int(stubborn.woken_rc, -1);
    yk_wake(stubborn.task, 5);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(stubborn.woken_rc, 5);
    yk_check_int(stubborn.then_rc, YOKE_CANCELLED);
    yk_check(yoke_scope_cancelled_caught(&stubborn.scope));
    return 0;
}

YK_SIM_TEST(a_wait_that_refused_is_not_asked_again_for_further_requests)
{
    struct stubborn stubborn = {.woken_rc = -1};
    struct yoke_scope outer, inner;
    struct yoke_nursery nursery;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, wait_stubbornly, &stubborn), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&outer, "outer");
    yk_check_int(stubborn.asked, 1);
    yoke_scope_cancel(&inner, "inner");
    yoke_scope_cancel(&outer, "outer again");
    yk_check_int(stubborn.asked, 1);
    /* Shielded before it wakes: nothing is left of the cancellation, since it refused. */
    yoke_scope_set_shield(yoke_nursery_scope(&nursery), true);
    yk_wake(stubborn.task, 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(stubborn.woken_rc, 0);
    yk_check_int(stubborn.then_rc, 0);
    yk_check_int(yoke_scope_close(&inner, yoke_checkpoint()), YOKE_CANCELLED);
    check_cancelled_by(&outer, "outer");
    yk_check_int(yoke_scope_close(&outer, YOKE_CANCELLED), 0);
    return 0;
}

static bool count_and_accept(struct yk_task *task, void *arg)
{
    (void)task;
    ++*(int *)arg;
    return true;
}

YK_SIM_TEST(a_wait_begun_in_a_cancelled_scope_is_asked_at_once)
{
    struct yoke_scope scope;
    int asked = 0;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, "before");
    rc = yk_park(yk_task_self("test"), "test", count_and_accept, &asked);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(asked, 1);
    check_cancelled_by(&scope, "before");
    return yoke_scope_close(&scope, rc);
}

struct waiter {
    struct yoke_scope scope;
    struct yoke_event event;
    int rc;
    int next_rc;
};

static int wait_for_event(void *arg)
{
    struct waiter *waiter = arg;

    yk_check_int(yoke_scope_open(&waiter->scope, NULL), 0);
    waiter->rc = yoke_event_wait(&waiter->event);
    waiter->next_rc = yoke_event_wait(&waiter->event);
    if (waiter->next_rc < 0)
        check_cancelled_by(&waiter->scope, "too late");
    return yoke_scope_close(&waiter->scope, waiter->next_rc);
}

static void waiter_begin(struct waiter *waiter, struct yoke_nursery *nursery)
{
    yoke_event_init(&waiter->event);
    yk_check_int(yoke_nursery_open(nursery, NULL), 0);
    yk_check_int(yoke_spawn(nursery, wait_for_event, waiter), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
}

YK_SIM_TEST(a_wait_that_was_fulfilled_first_completes_and_the_next_one_is_cancelled)
{
    struct waiter waiter = {.rc = -1};
    struct yoke_nursery nursery;

    waiter_begin(&waiter, &nursery);
    yoke_event_set(&waiter.event);
    yoke_scope_cancel(&waiter.scope, "too late");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(waiter.rc, 0);
    yk_check_int(waiter.next_rc, YOKE_CANCELLED);
    yk_check(yoke_scope_cancelled_caught(&waiter.scope));
    return 0;
}

YK_SIM_TEST(a_wait_that_was_cancelled_first_is_cancelled_though_it_is_fulfilled_before_it_runs)
{
    struct waiter waiter = {.rc = -1};
    struct yoke_nursery nursery;

    waiter_begin(&waiter, &nursery);
    yoke_scope_cancel(&waiter.scope, "too late");
    yoke_event_set(&waiter.event);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(waiter.rc, YOKE_CANCELLED);
    return 0;
}

YK_SIM_TEST(a_shield_raised_after_a_wait_was_cancelled_does_not_take_that_back)
{
    struct waiter waiter = {.rc = -1};
    struct yoke_nursery nursery;

    waiter_begin(&waiter, &nursery);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "around");
    yoke_scope_set_shield(&waiter.scope, true);
    yoke_event_set(&waiter.event);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(waiter.rc, YOKE_CANCELLED);
    yk_check_int(waiter.next_rc, 0); /* shielded by now */
    yk_check(!yoke_scope_cancelled_caught(&waiter.scope));
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    return 0;
}

static int buzz(void *arg)
{
    for (int i = 0; i < 10; i++)
        yk_check_int(yoke_checkpoint(), 0);
    *(bool *)arg = true;
    return 0;
}

struct quiet {
    const bool *exhausted;
    bool quiet;
};

static int wait_for_quiet(void *arg)
{
    struct quiet *quiet = arg;

    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(*quiet->exhausted);
    quiet->quiet = true;
    return 0;
}

YK_SIM_TEST(all_who_wait_for_quiet_wait_for_the_busy_one)
{
    bool exhausted = false;
    struct quiet first = {.exhausted = &exhausted}, second = {.exhausted = &exhausted};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, buzz, &exhausted), 0);
    yk_check_int(yoke_spawn(&nursery, wait_for_quiet, &first), 0);
    yk_check_int(yoke_spawn(&nursery, wait_for_quiet, &second), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(first.quiet && second.quiet);
    return 0;
}

static int wait_for_quiet_in_vain(void *arg)
{
    int rc = yoke_wait_all_tasks_blocked();

    if (rc < 0)
        check_cancelled_by(arg, "no quiet today");
    yk_check_int(rc, YOKE_CANCELLED);
    return rc;
}

YK_SIM_TEST(a_wait_for_quiet_can_be_cancelled_and_leaves_nothing_behind)
{
    struct yoke_scope *scope;
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    scope = yoke_nursery_scope(&nursery);
    yk_check_int(yoke_spawn(&nursery, wait_for_quiet_in_vain, scope), 0);
    for (int i = 0; i < 5; i++) /* some orders let it park first */
        yk_check_int(yoke_checkpoint(), 0);
    yoke_scope_cancel(scope, "no quiet today");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(yk_list_empty(&yk_runtime_current->blocked_waiters));
    return yoke_wait_all_tasks_blocked();
}

enum { DEEP = 5000 };

YK_SIM_TEST_IN_ORDER(cancelling_the_outermost_of_thousands_of_scopes_needs_no_deep_stack)
{
    static struct yoke_scope scopes[DEEP];
    int rc;

    for (int i = 0; i < DEEP; i++)
        yk_check_int(yoke_scope_open(&scopes[i], NULL), 0);
    yoke_scope_cancel(&scopes[0], "outermost");
    rc = yoke_checkpoint();
    check_cancelled_by(&scopes[0], "outermost");
    yk_check_int(yoke_error_inner_cause_count(yoke_in_flight()), 0);
    for (int i = DEEP - 1; i >= 0; i--)
        rc = yoke_scope_close(&scopes[i], rc);
    return rc;
}

YK_SIM_TEST(a_group_raised_in_a_cancelled_scope_passes_and_nothing_was_caught)
{
    struct yoke_error *members[2];
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    for (int i = 0; i < 2; i++) {
        yk_check_int(yoke_raise("test.Member", EIO, "%d", i), -EIO);
        members[i] = yoke_catch();
    }
    rc = yoke_scope_close(&scope, yoke_raise_group(members, 2, "test"));
    yk_check_int(rc, YOKE_EGROUP);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 2);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 0);
    yoke_clear();
    return 0;
}

static int sleep_twice(void *arg)
{
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_raise("test.Mine", EIO, "mine"), -EIO);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    *(struct yoke_scope **)arg = &scope;
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(yoke_error_message(yoke_in_flight()), "mine");
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    return -EIO; /* as with a bare raise: what was in flight before is still */
}

YK_SIM_TEST(an_inner_wait_that_is_cancelled_and_absorbed_leaves_the_outer_error_in_flight)
{
    struct yoke_nursery nursery;
    struct yoke_scope *scope = NULL;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_twice, &scope), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(scope, NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EIO);
    yk_check(yoke_error_context(yoke_in_flight()) == NULL);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 1);
    yk_check_caught("test.Mine", "mine");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_and_closing_an_empty_nursery_is_no_place_to_be_cancelled),
        cmocka_unit_test(a_loop_that_opens_and_closes_nurseries_lets_others_run),
        cmocka_unit_test(a_wait_that_refuses_sleeps_on_and_the_next_checkpoint_is_cancelled),
        cmocka_unit_test(a_wait_that_refused_is_not_asked_again_for_further_requests),
        cmocka_unit_test(a_wait_begun_in_a_cancelled_scope_is_asked_at_once),
        cmocka_unit_test(a_wait_that_was_fulfilled_first_completes_and_the_next_one_is_cancelled),
        cmocka_unit_test(
            a_wait_that_was_cancelled_first_is_cancelled_though_it_is_fulfilled_before_it_runs),
        cmocka_unit_test(a_shield_raised_after_a_wait_was_cancelled_does_not_take_that_back),
        cmocka_unit_test(all_who_wait_for_quiet_wait_for_the_busy_one),
        cmocka_unit_test(a_wait_for_quiet_can_be_cancelled_and_leaves_nothing_behind),
        cmocka_unit_test(cancelling_the_outermost_of_thousands_of_scopes_needs_no_deep_stack),
        cmocka_unit_test(a_group_raised_in_a_cancelled_scope_passes_and_nothing_was_caught),
        cmocka_unit_test(
            an_inner_wait_that_is_cancelled_and_absorbed_leaves_the_outer_error_in_flight),
    };

    return cmocka_run_group_tests_name("scopes, as trio's", tests, NULL, NULL);
}
