/* SPDX-License-Identifier: MIT */
/* Why: what causes made by the task layer say, which of them are kept, and what Cancelleds tell. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

YK_SIM_TEST(a_cause_names_scope_requester_reason_and_time)
{
    struct yoke_scope scope;
    char reason[] = "no longer wanted";
    int opened = __LINE__ + 1;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "download"});
    int asked = __LINE__ + 1;
    yoke_scope_cancel(&scope, reason);
    const struct yoke_cause *cause = yoke_scope_cause(&scope);

    memset(reason, 'x', sizeof reason - 1); /* it was copied */
    yk_check_int(rc, 0);
    yk_check(yoke_cause_id(cause).serial != 0);
    yk_check_int(yoke_cause_layer(cause), YOKE_LAYER_TASK);
    yk_check_int(yoke_cause_kind(cause), YOKE_CAUSE_SCOPE);
    yk_check_text(yoke_cause_reason(cause), "no longer wanted");
    yk_check_int(yoke_cause_time(cause), yoke_now());
    yk_check(yoke_cause_because(cause) == NULL && yoke_cause_error(cause) == NULL);
    yk_check(yoke_cause_signal(cause) == NULL && yoke_cause_origin(cause) == cause);
    yk_check_text(yoke_cause_scope(cause)->name, "download");
    yk_check_text(yoke_cause_scope(cause)->file, __FILE__);
    yk_check_int(yoke_cause_scope(cause)->line, opened);
    yk_check_int(yoke_cause_scope(cause)->task_id, yoke_task_id());
    yk_check_text(yoke_cause_scope(cause)->task_name, yoke_task_name());
    yk_check_text(yoke_cause_scope(cause)->actor.name, "root");
    yk_check_text(yoke_cause_requester(cause)->file, __FILE__);
    yk_check_text(yoke_cause_requester(cause)->function, __func__);
    yk_check_int(yoke_cause_requester(cause)->line, asked);
    yk_check_int(yoke_cause_requester(cause)->task_id, yoke_task_id());
    return yoke_scope_close(&scope, 0);
}

YK_SIM_TEST(a_scope_without_a_name_has_its_functions)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_text(yoke_cause_scope(yoke_scope_cause(&scope))->name, __func__);
    yk_check_text(yoke_cause_reason(yoke_scope_cause(&scope)), "");
    return yoke_scope_close(&scope, 0);
}

static int cancel_from_here(void *arg)
{
    yoke_scope_cancel(arg, "from a child");
    return 0;
}

YK_SIM_TEST(the_requester_is_the_task_that_asked_and_the_scope_that_of_the_task_that_opened_it)
{
    struct yoke_nursery nursery;
    const struct yoke_cause *cause;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn_with(&nursery, cancel_from_here, yoke_nursery_scope(&nursery),
                                 &(struct yoke_task_opts){.name = "quitter"}),
                 0);
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    cause = yoke_error_cause(yoke_in_flight());
    yk_check(cause == yoke_why());
    yk_check_text(yoke_cause_requester(cause)->task_name, "quitter");
    yk_check(yoke_cause_requester(cause)->task_id != yoke_task_id());
    yk_check_text(yoke_cause_requester(cause)->function, "cancel_from_here");
    yk_check_int(yoke_cause_scope(cause)->task_id, yoke_task_id());
    return yoke_nursery_close(&nursery, rc);
}

YK_SIM_TEST(the_first_request_is_the_cause_and_later_ones_are_kept_up_to_a_bound)
{
    static const char *const reasons[] = {"0", "1", "2", "3", "4", "5", "6"};
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    for (size_t i = 0; i < 7; i++)
        yoke_scope_cancel(&scope, reasons[i]);
    yk_check_text(yoke_cause_reason(yoke_scope_cause(&scope)), "0");
    yk_check_int(yoke_scope_later_cause_count(&scope), 4);
    for (size_t i = 0; i < 4; i++)
        yk_check_text(yoke_cause_reason(yoke_scope_later_cause(&scope, i)), reasons[i + 1]);
    yk_check(yoke_scope_later_cause(&scope, 4) == NULL);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "0");
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check_int(yoke_scope_later_cause_count(&scope), 0);
    return 0;
}

YK_SIM_TEST(a_deadline_does_not_replace_a_request_nor_a_request_a_deadline)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, "asked");
    yk_check_int(yoke_scope_set_deadline(&scope, 1), 0);
    yk_check_int(yoke_cause_kind(yoke_scope_cause(&scope)), YOKE_CAUSE_SCOPE);
    yk_check_int(yoke_scope_close(&scope, 0), 0);

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.deadline_ns = 1}), 0);
    yoke_scope_cancel(&scope, "asked");
    yk_check_int(yoke_cause_kind(yoke_scope_cause(&scope)), YOKE_CAUSE_DEADLINE);
    yk_check_text(yoke_cause_reason(yoke_scope_later_cause(&scope, 0)), "asked");
    return yoke_scope_close(&scope, 0);
}

YK_SIM_TEST(a_cause_can_be_asked_for_after_the_close_until_the_next_cancelled_scope_closes)
{
    struct yoke_scope first, quiet, second;

    yk_check_int(yoke_scope_open(&first, NULL), 0);
    yoke_scope_cancel(&first, "first");
    yk_check_int(yoke_scope_close(&first, yoke_checkpoint()), 0);
    yk_check_text(yoke_cause_reason(yoke_scope_cause(&first)), "first");
    yk_check_int(yoke_scope_open(&quiet, NULL), 0);
    yk_check_int(yoke_scope_close(&quiet, 0), 0);
    yk_check(yoke_scope_cause(&quiet) == NULL);
    yk_check_text(yoke_cause_reason(yoke_scope_cause(&first)), "first");
    yk_check_int(yoke_scope_open(&second, NULL), 0);
    yoke_scope_cancel(&second, "second");
    yk_check_int(yoke_scope_close(&second, 0), 0);
    yk_check_text(yoke_cause_reason(yoke_scope_cause(&second)), "second");
    yk_check(yoke_scope_cause(&first) == NULL);
    return 0;
}

YK_SIM_TEST(a_cause_outlives_its_scope_with_a_reference)
{
    struct yoke_scope scope;
    struct yoke_cause *cause;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, "kept");
    cause = yoke_cause_ref(yoke_scope_cause(&scope));
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, "other");
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check_text(yoke_cause_reason(cause), "kept");
    yk_check(yoke_cause_unref(cause) == NULL);
    return 0;
}

YK_SIM_TEST(a_cancelled_tells_the_causes_of_the_cancelled_scopes_inside_outermost_first)
{
    struct yoke_scope a, b, c, d;
    const struct yoke_error *error;
    int rc;

    yk_check_int(yoke_scope_open(&a, NULL), 0);
    yk_check_int(yoke_scope_open(&b, NULL), 0);
    yk_check_int(yoke_scope_open(&c, NULL), 0);
    yk_check_int(yoke_scope_open(&d, NULL), 0);
    yoke_scope_cancel(&d, "d");
    yoke_scope_cancel(&b, "b");
    yoke_scope_cancel(&a, "a");
    rc = yoke_checkpoint();
    error = yoke_in_flight();
    yk_check_text(yoke_cause_reason(yoke_error_cause(error)), "a");
    yk_check_int(yoke_error_inner_cause_count(error), 2);
    yk_check_text(yoke_cause_reason(yoke_error_inner_cause(error, 0)), "b");
    yk_check_text(yoke_cause_reason(yoke_error_inner_cause(error, 1)), "d");
    yk_check_text(yoke_cause_reason(yoke_why()), "a");
    rc = yoke_scope_close(&d, rc);
    rc = yoke_scope_close(&c, rc);
    rc = yoke_scope_close(&b, rc);
    return yoke_scope_close(&a, rc);
}

struct why {
    char reason[32];
    enum yoke_cause_kind kind;
    bool has_error;
    char error_type[32];
    uint64_t requester;
};

static int note_why(void *arg)
{
    struct why *why = arg;
    int rc = yoke_sleep_forever();
    const struct yoke_cause *cause = yoke_why();

    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(cause != NULL && cause == yoke_error_cause(yoke_in_flight()));
    snprintf(why->reason, sizeof why->reason, "%s", yoke_cause_reason(cause));
    why->kind = yoke_cause_kind(cause);
    why->requester = yoke_cause_requester(cause)->task_id;
    why->has_error = yoke_cause_error(cause) != NULL;
    if (why->has_error)
        snprintf(why->error_type, sizeof why->error_type, "%s",
                 yoke_error_type(yoke_cause_error(cause)));
    return rc;
}

static int fail_with_id(void *arg)
{
    *(uint64_t *)arg = yoke_task_id();
    return yoke_raise("test.Bad", EBADF, "bad");
}

YK_SIM_TEST(siblings_of_a_failed_task_are_told_which_task_and_which_error)
{
    struct yoke_nursery nursery;
    struct why why = {.reason = ""};
    uint64_t failed = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, note_why, &why), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_spawn(&nursery, fail_with_id, &failed), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EBADF);
    yk_check_caught("test.Bad", "bad");
    yk_check_int(why.kind, YOKE_CAUSE_CHILD_FAILED);
    yk_check(failed != 0);
    yk_check_int(why.requester, failed);
    yk_check(why.has_error);
    yk_check_text(why.error_type, "test.Bad");
    return 0;
}

YK_SIM_TEST(children_of_a_failed_body_are_told_its_error)
{
    struct yoke_nursery nursery;
    struct why why = {.reason = ""};

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, note_why, &why), 0);
    yk_check_int(yoke_nursery_close(&nursery, yoke_raise("test.Body", EPERM, "body")), -EPERM);
    yk_check_caught("test.Body", "body");
    yk_check_int(why.kind, YOKE_CAUSE_BODY_FAILED);
    yk_check_int(why.requester, yoke_task_id());
    yk_check_text(why.error_type, "test.Body");
    return 0;
}

YK_SIM_TEST(a_cause_given_to_an_inner_scope_does_not_hide_that_of_an_outer_one)
{
    struct yoke_scope scope;
    struct yoke_nursery nursery;
    struct why why = {.reason = ""};
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, note_why, &why), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&scope, "the outer one");
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "the nursery");
    rc = yoke_nursery_close(&nursery, 0);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(why.reason, "the outer one");
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "the outer one");
    yk_check(yoke_error_cause(yoke_in_flight()) == yoke_scope_cause(&scope));
    return yoke_scope_close(&scope, rc);
}

YK_SIM_TEST(outside_a_cancelled_scope_there_is_no_why)
{
    struct yoke_scope scope;

    yk_check(yoke_why() == NULL);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check(yoke_why() == NULL);
    yoke_scope_cancel(&scope, "why"); /* told before any Cancelled was delivered */
    yk_check_text(yoke_cause_reason(yoke_why()), "why");
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check(yoke_why() == NULL);
    return 0;
}

static void no_task_no_why(void **state)
{
    (void)state;
    assert_null(yoke_why());
    assert_int_equal(yoke_task_id(), 0);
    assert_string_equal(yoke_task_name(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cause_names_scope_requester_reason_and_time),
        cmocka_unit_test(a_scope_without_a_name_has_its_functions),
        cmocka_unit_test(
            the_requester_is_the_task_that_asked_and_the_scope_that_of_the_task_that_opened_it),
        cmocka_unit_test(the_first_request_is_the_cause_and_later_ones_are_kept_up_to_a_bound),
        cmocka_unit_test(a_deadline_does_not_replace_a_request_nor_a_request_a_deadline),
        cmocka_unit_test(
            a_cause_can_be_asked_for_after_the_close_until_the_next_cancelled_scope_closes),
        cmocka_unit_test(a_cause_outlives_its_scope_with_a_reference),
        cmocka_unit_test(
            a_cancelled_tells_the_causes_of_the_cancelled_scopes_inside_outermost_first),
        cmocka_unit_test(siblings_of_a_failed_task_are_told_which_task_and_which_error),
        cmocka_unit_test(children_of_a_failed_body_are_told_its_error),
        cmocka_unit_test(a_cause_given_to_an_inner_scope_does_not_hide_that_of_an_outer_one),
        cmocka_unit_test(outside_a_cancelled_scope_there_is_no_why),
        cmocka_unit_test(no_task_no_why),
    };

    return cmocka_run_group_tests_name("causes of tasks", tests, NULL, NULL);
}
