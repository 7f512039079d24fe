/* SPDX-License-Identifier: MIT */
/*
 * Nurseries: what close waits for and what it gives; failures of children and of the body; what
 * is absorbed. The laws are trio's, with groups made only of two errors or more.
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

static int sleep_forever(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

static int sleep_a_second(void *arg)
{
    int rc = yoke_sleep(YOKE_S(1));

    if (rc == 0)
        ++*(int *)arg;
    return rc;
}

static int fail_at_once(void *arg)
{
    return yoke_raise("test.Child", EIO, "%s", (const char *)arg);
}

YK_SIM_TEST(close_waits_for_all_children)
{
    struct yoke_nursery nursery;
    int64_t start = yoke_now();
    int done = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 10; i++)
        yk_check_int(yoke_spawn(&nursery, sleep_a_second, &done), 0);
    yk_check_int(done, 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(done, 10);
    yk_check_int(yoke_now(), start + YOKE_S(1)); /* side by side, not one after another */
    yk_check(!yoke_scope_cancel_called(yoke_nursery_scope(&nursery)));
    return 0;
}

YK_SIM_TEST(an_empty_nursery_closes_at_once_with_the_result_zero)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 12), 0); /* as its contract says: no failure, 0 */
    return 0;
}

static int note_ran(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

YK_SIM_TEST(a_child_runs_only_after_the_next_checkpoint_of_its_parent)
{
    struct yoke_nursery nursery;
    bool ran = false;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, note_ran, &ran), 0);
    yk_check(!ran);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(ran);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(one_failing_child_is_the_result_itself_and_cancels_its_siblings)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_at_once, "one"), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EIO);
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 0);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 0);
    yk_check_text(yoke_error_task_name(yoke_in_flight()), "fail_at_once");
    yk_check_caught("test.Child", "one");
    yk_check(yoke_scope_cancel_called(yoke_nursery_scope(&nursery)));
    return 0;
}

YK_SIM_TEST(a_failing_child_wakes_the_body)
{
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_at_once, "wake up"), 0);
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_nursery_close(&nursery, rc), -EIO);
    yk_check_caught("test.Child", "wake up");
    return 0;
}

YK_SIM_TEST(a_failing_body_cancels_the_children_and_is_the_result)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, yoke_raise("test.Body", EPERM, "body")), -EPERM);
    yk_check_caught("test.Body", "body");
    return 0;
}

static int fail_after(void *arg)
{
    int seconds = *(int *)arg;
    int rc = yoke_sleep(YOKE_S(seconds));

    yk_check_int(rc == 0 || rc == YOKE_CANCELLED, 1);
    return yoke_raise("test.Child", EIO, "%d", seconds);
}

YK_SIM_TEST(several_failures_are_a_group_in_the_order_of_failing_the_bodys_first)
{
    struct yoke_nursery nursery;
    struct yoke_event never;
    int three = 3, one = 1;
    const struct yoke_error *group;
    int rc;

    yoke_event_init(&never);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_after, &three), 0);
    yk_check_int(yoke_spawn(&nursery, fail_after, &one), 0);
    rc = yoke_event_wait(&never); /* until the first failure, after one second, cancels it */
    yk_check_int(rc, YOKE_CANCELLED);
    rc = yoke_nursery_close(&nursery, yoke_raise("test.Body", EPERM, "body"));
    yk_check_int(rc, YOKE_EGROUP);
    group = yoke_in_flight();
    yk_check_int(yoke_error_member_count(group), 3);
    yk_check_text(yoke_error_type(yoke_error_member(group, 0)), "test.Body");
    yk_check_text(yoke_error_message(yoke_error_member(group, 1)), "1");
    yk_check_text(yoke_error_message(yoke_error_member(group, 2)), "3");
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_error_member(group, 2))));
    yoke_clear();
    return 0;
}

YK_SIM_TEST(many_failures_are_all_in_the_group)
{
    enum { CHILDREN = 40 };
    struct yoke_nursery nursery;
    static const char *const names[] = {"a", "b", "c", "d"};

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < CHILDREN; i++)
        yk_check_int(yoke_spawn(&nursery, fail_at_once, (void *)(uintptr_t)names[i % 4]), 0);
    yk_check_int(yoke_nursery_close(&nursery, yoke_raise("test.Body", EPERM, "body")), YOKE_EGROUP);
    yk_check_int(yoke_error_member_count(yoke_in_flight()), CHILDREN + 1);
    yk_check_text(yoke_error_type(yoke_error_member(yoke_in_flight(), 0)), "test.Body");
    for (int i = 1; i <= CHILDREN; i++)
        yk_check_text(yoke_error_type(yoke_error_member(yoke_in_flight(), (size_t)i)),
                      "test.Child");
    yoke_clear();
    return 0;
}

static int nursery_that_fails_twice(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_at_once, "x"), 0);
    yk_check_int(yoke_spawn(&nursery, fail_at_once, "y"), 0);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(groups_nest_as_nurseries_do)
{
    struct yoke_nursery nursery;
    const struct yoke_error *group;
    const struct yoke_error *inner;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, nursery_that_fails_twice, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, yoke_raise("test.Body", EPERM, "body")), YOKE_EGROUP);
    group = yoke_in_flight();
    yk_check_int(yoke_error_member_count(group), 2);
    inner = yoke_error_member(group, 1);
    yk_check_int(yoke_error_member_count(inner), 2);
    yoke_clear();
    return 0;
}

YK_SIM_TEST(what_its_own_cancellation_produced_is_absorbed)
{
    struct yoke_nursery nursery;
    struct yoke_scope *scope = yoke_nursery_scope(&nursery);

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yoke_scope_cancel(scope, "enough");
    yk_check_int(yoke_nursery_close(&nursery, yoke_checkpoint()), 0);
    yk_check(yoke_in_flight() == NULL);
    yk_check(yoke_scope_cancelled_caught(scope));
    yk_check_text(yoke_cause_reason(yoke_scope_cause(scope)), "enough");
    return yoke_checkpoint();
}

YK_SIM_TEST(a_task_spawned_into_a_cancelled_nursery_runs_to_its_first_checkpoint)
{
    struct yoke_nursery nursery;
    bool ran = false;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_spawn(&nursery, note_ran, &ran), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(ran);
    return 0;
}

YK_SIM_TEST(a_task_cancelled_before_it_ever_ran_runs_to_its_first_checkpoint)
{
    struct yoke_nursery nursery;
    bool ran = false;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, note_ran, &ran), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(ran);
    return 0;
}

YK_SIM_TEST(cancelled_from_outside_the_cancelled_goes_on_to_its_scope)
{
    struct yoke_scope scope;
    struct yoke_nursery nursery;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(1)}), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), YOKE_CANCELLED);
    yk_check(!yoke_scope_cancel_called(yoke_nursery_scope(&nursery)));
    yk_check(!yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

YK_SIM_TEST(cancelled_inside_and_outside_the_outer_scope_absorbs)
{
    struct yoke_scope scope;
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yoke_scope_cancel(&scope, NULL);
    rc = yoke_nursery_close(&nursery, yoke_checkpoint());
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

static int fail_when_cancelled(void *arg)
{
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    return yoke_raise("test.Cleanup", EIO, "%s", (const char *)arg);
}

YK_SIM_TEST(an_error_beats_a_cancellation_from_outside_which_it_carries)
{
    struct yoke_scope scope;
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_when_cancelled, "late"), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&scope, "outside");
    rc = yoke_nursery_close(&nursery, yoke_checkpoint());
    yk_check_int(rc, -EIO);
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    rc = yoke_scope_close(&scope, rc);
    yk_check_int(rc, -EIO);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    yk_check_caught("test.Cleanup", "late");
    return 0;
}

struct spawner {
    struct yoke_nursery *nursery;
    int left;
    int *ran;
};

static int spawn_the_next(void *arg)
{
    struct spawner *spawner = arg;

    ++*spawner->ran;
    if (spawner->left-- > 0)
        yk_check_int(yoke_spawn(spawner->nursery, spawn_the_next, spawner), 0);
    return 0;
}

YK_SIM_TEST(a_child_may_spawn_into_its_nursery_while_that_is_closing)
{
    struct yoke_nursery nursery;
    int ran = 0;
    struct spawner spawner = {.nursery = &nursery, .left = 50, .ran = &ran};

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, spawn_the_next, &spawner), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(ran, 51);
    return 0;
}

static int spawn_during_cleanup(void *arg)
{
    struct spawner *spawner = arg;
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_spawn(spawner->nursery, spawn_the_next, spawner), 0);
    yk_check_int(yoke_spawn(spawner->nursery, sleep_forever, NULL), 0);
    return rc;
}

YK_SIM_TEST(a_child_may_spawn_into_its_nursery_while_it_is_cancelled)
{
    struct yoke_nursery nursery;
    int ran = 0;
    struct spawner spawner = {.nursery = &nursery, .left = 5, .ran = &ran};

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, spawn_during_cleanup, &spawner), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(ran, 6);
    return 0;
}

static int spawn_from_outside(void *arg)
{
    struct spawner *spawner = arg;
    int rc = yoke_sleep(YOKE_S(1));

    yk_check_int(rc, 0);
    yk_check_int(yoke_spawn(spawner->nursery, sleep_a_second, spawner->ran), 0);
    return rc;
}

YK_SIM_TEST(a_grandchild_may_spawn_into_a_nursery_further_out_while_it_is_closing)
{
    struct yoke_nursery outer, inner;
    int64_t start = yoke_now();
    int done = 0;
    struct spawner spawner = {.nursery = &outer, .ran = &done};

    yk_check_int(yoke_nursery_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&inner, NULL), 0);
    yk_check_int(yoke_spawn(&inner, spawn_from_outside, &spawner), 0);
    yk_check_int(yoke_nursery_close(&inner, 0), 0);
    yk_check_int(yoke_nursery_close(&outer, 0), 0);
    yk_check_int(done, 1);
    yk_check_int(yoke_now(), start + YOKE_S(2));
    return 0;
}

static int return_code(void *arg)
{
    return *(int *)arg;
}

YK_SIM_TEST(a_child_that_returns_a_code_without_an_error_fails_with_one_made_from_it)
{
    struct yoke_nursery nursery;
    int rc = -ENOTDIR, fine = 99;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, return_code, &fine), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, return_code, &rc), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -ENOTDIR);
    yk_check(yoke_in_flight() != NULL);
    yoke_clear();
    return 0;
}

static int forget_error(void *arg)
{
    (void)arg;
    yk_check_int(yoke_raise("test.Forgotten", EIO, "oops"), -EIO);
    return 0;
}

YK_SIM_TEST(a_child_that_forgets_its_error_fails_with_it)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, forget_error, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EIO);
    yk_check_caught("test.Forgotten", "oops");
    return 0;
}

static int fail_with_shared(void *arg)
{
    return yoke_rethrow(yoke_error_ref(arg));
}

YK_SIM_TEST(one_error_seen_by_several_tasks_is_one_error)
{
    struct yoke_nursery nursery;
    struct yoke_error *error;

    yk_check_int(yoke_raise("test.Shared", EIO, "one death"), -EIO);
    error = yoke_catch();
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_spawn(&nursery, fail_with_shared, error), 0);
    yk_check_int(yoke_nursery_close(&nursery, yoke_rethrow(yoke_error_ref(error))), -EIO);
    yk_check(yoke_in_flight() == error);
    yoke_error_unref(error);
    yk_check_caught("test.Shared", "one death");
    return 0;
}

YK_SIM_TEST(names_and_ids_of_tasks_are_their_own)
{
    struct yoke_nursery nursery;
    uint64_t own = yoke_task_id();

    yk_check(own != 0);
    yk_check_text(yoke_task_name(), "names_and_ids_of_tasks_are_their_own_task");
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn_with(&nursery, fail_at_once, "x",
                                 &(struct yoke_task_opts){.name = "named"}),
                 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EIO);
    yk_check_text(yoke_error_task_name(yoke_in_flight()), "named");
    yk_check(yoke_error_task_id(yoke_in_flight()) != own);
    yoke_clear();
    return 0;
}

static int tree(void *arg)
{
    int depth = *(int *)arg;
    struct yoke_nursery nursery;
    int below = depth - 1;

    if (depth == 0)
        return yoke_checkpoint();
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_spawn(&nursery, tree, &below), 0);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(a_tree_of_nurseries_closes_from_the_leaves_up)
{
    int depth = 5;

    return tree(&depth);
}

/* A nursery that one child shields when another has been cancelled already. */
struct late_shield {
    struct yoke_nursery nursery;
    struct yoke_event ended; /* the child that is cancelled */
};

static int end_cancelled(void *arg)
{
    struct late_shield *late = arg;
    int rc = yoke_sleep_forever();

    yoke_event_set(&late->ended);
    return rc;
}

static int shield_after_it(void *arg)
{
    struct late_shield *late = arg;
    struct yoke_scope own;
    int rc = yoke_scope_open(&own, &(struct yoke_scope_opts){.shield = true});

    if (rc == 0)
        rc = yoke_event_wait(&late->ended);
    if (rc == 0)
        rc = yoke_checkpoint(); /* now it is gone */
    yoke_scope_set_shield(yoke_nursery_scope(&late->nursery), true);
    return yoke_scope_close(&own, rc);
}

YK_SIM_TEST(a_nursery_shielded_after_a_child_was_cancelled_passes_the_cancelled_on)
{
    struct late_shield late;
    struct yoke_scope outer;
    int rc;

    yoke_event_init(&late.ended);
    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&late.nursery, NULL), 0);
    yk_check_int(yoke_spawn(&late.nursery, end_cancelled, &late), 0);
    yk_check_int(yoke_spawn(&late.nursery, shield_after_it, &late), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&outer, "from outside");
    rc = yoke_nursery_close(&late.nursery, 0);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(!yoke_scope_cancelled_caught(&late.nursery.scope));
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&outer));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_waits_for_all_children),
        cmocka_unit_test(a_nursery_shielded_after_a_child_was_cancelled_passes_the_cancelled_on),
        cmocka_unit_test(an_empty_nursery_closes_at_once_with_the_result_zero),
        cmocka_unit_test(a_child_runs_only_after_the_next_checkpoint_of_its_parent),
        cmocka_unit_test(one_failing_child_is_the_result_itself_and_cancels_its_siblings),
        cmocka_unit_test(a_failing_child_wakes_the_body),
        cmocka_unit_test(a_failing_body_cancels_the_children_and_is_the_result),
        cmocka_unit_test(several_failures_are_a_group_in_the_order_of_failing_the_bodys_first),
        cmocka_unit_test(many_failures_are_all_in_the_group),
        cmocka_unit_test(groups_nest_as_nurseries_do),
        cmocka_unit_test(what_its_own_cancellation_produced_is_absorbed),
        cmocka_unit_test(a_task_spawned_into_a_cancelled_nursery_runs_to_its_first_checkpoint),
        cmocka_unit_test(a_task_cancelled_before_it_ever_ran_runs_to_its_first_checkpoint),
        cmocka_unit_test(cancelled_from_outside_the_cancelled_goes_on_to_its_scope),
        cmocka_unit_test(cancelled_inside_and_outside_the_outer_scope_absorbs),
        cmocka_unit_test(an_error_beats_a_cancellation_from_outside_which_it_carries),
        cmocka_unit_test(a_child_may_spawn_into_its_nursery_while_that_is_closing),
        cmocka_unit_test(a_child_may_spawn_into_its_nursery_while_it_is_cancelled),
        cmocka_unit_test(a_grandchild_may_spawn_into_a_nursery_further_out_while_it_is_closing),
        cmocka_unit_test(a_child_that_returns_a_code_without_an_error_fails_with_one_made_from_it),
        cmocka_unit_test(a_child_that_forgets_its_error_fails_with_it),
        cmocka_unit_test(one_error_seen_by_several_tasks_is_one_error),
        cmocka_unit_test(names_and_ids_of_tasks_are_their_own),
        cmocka_unit_test(a_tree_of_nurseries_closes_from_the_leaves_up),
    };

    return cmocka_run_group_tests_name("nurseries", tests, NULL, NULL);
}
