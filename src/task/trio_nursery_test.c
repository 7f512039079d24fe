/* SPDX-License-Identifier: MIT */
/*
 * What trio's core tests check of nurseries and system tasks and that the other nursery tests
 * don't: which failures come out when several kinds of Cancelled meet errors, and what failing
 * system tasks do to the program; with the causes that trio doesn't have.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/text.h"
#include "task/task.h"

struct told {
    enum yoke_cause_kind kind;
    uint64_t requester;
    char scope[32];
    char reason[32];
    char error[32];
    char because[32]; /* the reason of the cause that led to it */
};

static void note_told(struct told *told)
{
    const struct yoke_cause *cause = yoke_error_cause(yoke_in_flight());

    yk_check(cause != NULL && yoke_error_is_cancelled(yoke_in_flight()));
    if (cause == NULL)
        return;
    told->kind = yoke_cause_kind(cause);
    told->requester = yoke_cause_requester(cause)->task_id;
    YK_TEXT_COPY(told->scope, yoke_cause_scope(cause)->name);
    YK_TEXT_COPY(told->reason, yoke_cause_reason(cause));
    if (yoke_cause_error(cause) != NULL)
        YK_TEXT_COPY(told->error, yoke_error_message(yoke_cause_error(cause)));
    if (yoke_cause_because(cause) != NULL)
        YK_TEXT_COPY(told->because, yoke_cause_reason(yoke_cause_because(cause)));
}

static int wait_until_told(void *arg)
{
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    note_told(arg);
    return rc;
}

static int fail_named(void *arg)
{
    return yoke_raise("test.Fail", EIO, "%s", (const char *)arg);
}

static void wait_behind_a_shield(void)
{
    struct yoke_scope shield;

    yk_check_int(yoke_scope_open(&shield, &(struct yoke_scope_opts){.shield = true}), 0);
    yk_check_int(yoke_scope_close(&shield, yoke_wait_all_tasks_blocked()), 0);
}

YK_SIM_TEST(cancelleds_of_two_scopes_are_filtered_and_leave_the_one_error)
{
    struct told told[3] = {{.kind = 0}};
    struct yoke_nursery nursery;
    struct yoke_scope outer;
    int rc;

    yk_check_int(yoke_scope_open(&outer, &(struct yoke_scope_opts){.name = "outer"}), 0);
    yk_check_int(yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "nursery"}), 0);
    yk_check_int(yoke_spawn(&nursery, wait_until_told, &told[0]), 0);
    yk_check_int(yoke_spawn(&nursery, wait_until_told, &told[1]), 0);
    wait_behind_a_shield();
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "by the nursery");
    wait_behind_a_shield();
    yk_check_int(yoke_spawn(&nursery, wait_until_told, &told[2]), 0);
    yoke_scope_cancel(&outer, "by the outer scope");
    yk_check_int(yoke_spawn(&nursery, fail_named, "crash"), 0);
    rc = yoke_nursery_close(&nursery, 0);
    yk_check_int(rc, -EIO);
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 0);
    yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 1);
    yk_check(yoke_error_cause(yoke_error_suppressed(yoke_in_flight(), 0)) ==
             yoke_scope_cause(&outer));
    yk_check_int(yoke_scope_close(&outer, rc), -EIO);
    yk_check_caught("test.Fail", "crash");
    yk_check_text(told[0].reason, "by the nursery");
    yk_check_text(told[1].reason, "by the nursery");
    yk_check_text(told[2].reason, "by the outer scope");
    yk_check_text(told[0].scope, "nursery");
    yk_check_text(told[2].scope, "outer");
    return 0;
}

struct level {
    struct told told;
    struct yoke_nursery *outer;
};

static int fail_inside(struct level *level)
{
    struct yoke_nursery inner;

    yk_check_int(yoke_nursery_open(&inner, NULL), 0);
    yk_check_int(yoke_spawn(&inner, wait_until_told, &level->told), 0);
    wait_behind_a_shield();
    yk_check_int(yoke_spawn(&inner, fail_named, "inner"), 0);
    yoke_scope_cancel(yoke_nursery_scope(level->outer), "the outer one");
    return yoke_nursery_close(&inner, 0);
}

YK_SIM_TEST(an_error_of_a_nested_nursery_that_is_being_cancelled_comes_out_beside_the_others)
{
    struct yoke_nursery outer;
    struct level level = {.outer = &outer};
    const struct yoke_error *group;

    yk_check_int(yoke_nursery_open(&outer, NULL), 0);
    yk_check_int(yoke_spawn(&outer, fail_named, "outer"), 0);
    yk_check_int(yoke_nursery_close(&outer, fail_inside(&level)), YOKE_EGROUP);
    group = yoke_in_flight();
    yk_check_int(yoke_error_member_count(group), 2);
    yk_check_text(yoke_error_message(yoke_error_member(group, 0)), "inner");
    yk_check_text(yoke_error_message(yoke_error_member(group, 1)), "outer");
    yk_check(level.told.kind != 0);
    yoke_clear();
    return 0;
}

YK_SIM_TEST(the_members_of_a_group_have_no_context_that_they_did_not_have)
{
    struct yoke_nursery nursery;
    const struct yoke_error *group;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_named, "child"), 0);
    yk_check_int(yoke_nursery_close(&nursery, fail_named("body")), YOKE_EGROUP);
    group = yoke_in_flight();
    yk_check(yoke_error_context(group) == NULL && yoke_error_because(group) == NULL);
    for (size_t i = 0; i < yoke_error_member_count(group); i++) {
        const struct yoke_error *member = yoke_error_member(group, i);

        yk_check(yoke_error_context(member) == NULL && yoke_error_because(member) == NULL);
        yk_check_int(yoke_error_suppressed_count(member), 0);
    }
    yoke_clear();
    return 0;
}

static int end_with_a_stray_cancelled(void *arg)
{
    struct yoke_scope scope;
    struct yoke_error *error;

    (void)arg;
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, "stray");
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    error = yoke_catch();
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    return yoke_rethrow(error);
}

YK_SIM_TEST(a_child_that_ends_with_a_stray_cancelled_ends_its_siblings_who_are_told_the_origin)
{
    struct told told = {.kind = 0};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, wait_until_told, &told), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_spawn(&nursery, end_with_a_stray_cancelled, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(told.kind, YOKE_CAUSE_CHILD_FAILED);
    yk_check_text(told.error, "");
    yk_check_text(told.because, "stray");
    return 0;
}

static int return_cancelled(void *arg)
{
    (void)arg;
    return YOKE_CANCELLED;
}

YK_SIM_TEST(the_code_of_a_cancelled_that_nobody_asked_for_is_an_error_that_no_scope_absorbs)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, return_cancelled, NULL), 0);
    rc = yoke_nursery_close(&nursery, 0);
    yk_check_int(rc, -ECANCELED);
    yk_check(!yoke_error_is_cancelled(yoke_in_flight()));
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_scope_close(&scope, rc), -ECANCELED);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    yk_check_caught("yoke.Error", NULL);
    return 0;
}

/* System tasks */

static int two_that_fail(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_named, "first"), 0);
    yk_check_int(yoke_spawn(&nursery, fail_named, "second"), 0);
    return yoke_nursery_close(&nursery, 0);
}

static struct told main_told;

static int with_two_failing(void *arg)
{
    int rc;

    (void)arg;
    main_told = (struct told){.kind = 0};
    yk_check_int(yoke_spawn(yk_runtime_current->system, two_that_fail, NULL), 0);
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    note_told(&main_told);
    return rc;
}

static void inspect_two(int rc)
{
    yk_check_int(rc, YOKE_EGROUP);
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 2);
    yk_check_int(main_told.kind, YOKE_CAUSE_CHILD_FAILED);
    yk_check_text(main_told.scope, "system");
    yk_check_text(main_told.error, "2 tasks failed");
    yoke_clear();
}

static void a_system_task_that_fails_with_a_group_ends_the_program_with_it(void **state)
{
    (void)state;
    yk_sim_run(with_two_failing, NULL, &(struct yk_sim){.inspect = inspect_two});
}

static int fail_when_cancelled(void *arg)
{
    struct told told = {.kind = 0};
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    note_told(&told);
    yk_check_int(told.kind, YOKE_CAUSE_RUNTIME_ENDED);
    yk_check_text(told.scope, "system");
    return fail_named(arg);
}

static int forward_cancelled(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

static int one_fails_when_cancelled(void *arg)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, fail_when_cancelled, arg), 0);
    yk_check_int(yoke_spawn(&nursery, forward_cancelled, NULL), 0);
    return yoke_nursery_close(&nursery, 0);
}

static int return_while_served(void *arg)
{
    (void)arg;
    yk_check_int(yoke_spawn(yk_runtime_current->system, one_fails_when_cancelled, "at the end"), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    return 7;
}

static void inspect_end(int rc)
{
    yk_check_int(rc, -EIO);
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 0);
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yk_check_caught("test.Fail", "at the end");
}

static void a_system_task_that_fails_when_the_program_has_ended_makes_it_fail(void **state)
{
    (void)state;
    yk_sim_run(return_while_served, NULL, &(struct yk_sim){.inspect = inspect_end});
}

static int fail_while_served(void *arg)
{
    yk_check_int(return_while_served(arg), 7);
    return fail_named("the program");
}

static void inspect_both(int rc)
{
    const struct yoke_error *error = yoke_in_flight();

    yk_check_int(rc, -EIO);
    yk_check_int(yoke_error_suppressed_count(error), 1);
    yk_check_text(yoke_error_message(yoke_error_suppressed(error, 0)), "at the end");
    yk_check_caught("test.Fail", "the program");
}

static void nor_does_it_mask_the_error_of_the_program(void **state)
{
    (void)state;
    yk_sim_run(fail_while_served, NULL, &(struct yk_sim){.inspect = inspect_both});
}

static int see_no_cancel(void *arg)
{
    bool *ran = arg;

    yk_check(yoke_why() == NULL);
    yk_check_int(yoke_checkpoint(), 0);
    *ran = true;
    return 0;
}

static bool system_ran;

static int cancel_main_then_serve(void *arg)
{
    (void)arg;
    system_ran = false;
    yoke_scope_cancel(yoke_nursery_scope(yk_runtime_current->main), "the program");
    yk_check_int(yoke_spawn(yk_runtime_current->system, see_no_cancel, &system_ran), 0);
    wait_behind_a_shield();
    return yoke_checkpoint();
}

static void inspect_served(int rc)
{
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "the program");
    yk_check(system_ran);
    yoke_clear();
}

static void cancelling_the_program_does_not_reach_system_tasks(void **state)
{
    (void)state;
    yk_sim_run(cancel_main_then_serve, NULL, &(struct yk_sim){.inspect = inspect_served});
}

static void inspect_stray(int rc)
{
    const struct yoke_cause *cause = yoke_error_cause(yoke_in_flight());

    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_cause_origin(cause)), "stray");
    yk_check_int(yoke_cause_kind(cause), YOKE_CAUSE_BODY_FAILED);
    yoke_clear();
}

static void a_program_that_ends_with_a_stray_cancelled_does_not_end_well(void **state)
{
    (void)state;
    yk_sim_run(end_with_a_stray_cancelled, NULL, &(struct yk_sim){.inspect = inspect_stray});
}

static int forget_that_it_was_cancelled(void *arg)
{
    (void)arg;
    yoke_scope_cancel(yoke_nursery_scope(yk_runtime_current->main), "the program");
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    return 5;
}

static void inspect_forgotten(int rc)
{
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "the program");
    yoke_clear();
}

static void nor_does_one_that_forgets_its_cancelled_in_flight(void **state)
{
    (void)state;
    yk_sim_run(forget_that_it_was_cancelled, NULL, &(struct yk_sim){.inspect = inspect_forgotten});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelleds_of_two_scopes_are_filtered_and_leave_the_one_error),
        cmocka_unit_test(
            an_error_of_a_nested_nursery_that_is_being_cancelled_comes_out_beside_the_others),
        cmocka_unit_test(the_members_of_a_group_have_no_context_that_they_did_not_have),
        cmocka_unit_test(
            a_child_that_ends_with_a_stray_cancelled_ends_its_siblings_who_are_told_the_origin),
        cmocka_unit_test(
            the_code_of_a_cancelled_that_nobody_asked_for_is_an_error_that_no_scope_absorbs),
        cmocka_unit_test(a_system_task_that_fails_with_a_group_ends_the_program_with_it),
        cmocka_unit_test(a_system_task_that_fails_when_the_program_has_ended_makes_it_fail),
        cmocka_unit_test(nor_does_it_mask_the_error_of_the_program),
        cmocka_unit_test(cancelling_the_program_does_not_reach_system_tasks),
        cmocka_unit_test(a_program_that_ends_with_a_stray_cancelled_does_not_end_well),
        cmocka_unit_test(nor_does_one_that_forgets_its_cancelled_in_flight),
    };

    return cmocka_run_group_tests_name("nurseries, as trio's", tests, NULL, NULL);
}
