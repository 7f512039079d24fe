/* SPDX-License-Identifier: MIT */
/* A program in which nothing can ever run again ends with an error that says who waits for what. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/channel.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/select.h>

static void expect_deadlock(int rc, const char *message)
{
    const struct yoke_error *error = yoke_in_flight();
    const struct yoke_cause *cause;

    yk_check_int(rc, YOKE_EDEADLOCK);
    yk_check(error != NULL && yoke_error_context(error) != NULL);
    if (error == NULL || yoke_error_context(error) == NULL)
        return;
    cause = yoke_error_cause(yoke_error_context(error));
    yk_check(yoke_error_is_cancelled(yoke_error_context(error)));
    yk_check(cause != NULL && yoke_cause_kind(cause) == YOKE_CAUSE_DEADLOCK);
    yk_check_caught("yoke.Deadlock", message);
}

static int wait_for_event(void *arg)
{
    return yoke_event_wait(arg);
}

static int receive(void *arg)
{
    int item;

    return yoke_channel_receive(arg, &item);
}

static int alone(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

static void inspect_alone(int rc)
{
    expect_deadlock(rc, "every task is blocked for ever: alone (sleep forever)");
}

static void a_task_that_sleeps_for_ever_alone_is_a_deadlock(void **state)
{
    (void)state;
    yk_sim_run(alone, NULL, &(struct yk_sim){.inspect = inspect_alone});
}

static int three_wait(void *arg)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct yoke_nursery nursery;
    struct yoke_event event;
    int rc;

    (void)arg;
    yoke_event_init(&event);
    yk_check(channel != NULL);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, wait_for_event, &event), 0);
    yk_check_int(yoke_spawn(&nursery, receive, channel), 0);
    yk_check_int(yoke_sleep(YOKE_S(60)), 0); /* as long as a timer can fire there is no deadlock */
    rc = yoke_nursery_close(&nursery, 0);
    yk_check_int(rc, YOKE_CANCELLED);
    yoke_channel_unref(channel);
    return rc;
}

static void inspect_three(int rc)
{
    expect_deadlock(rc, "every task is blocked for ever: three_wait (nursery close) "
                        "wait_for_event (event) receive (channel receive)");
}

static void the_report_names_every_task_and_what_it_waits_for(void **state)
{
    (void)state;
    yk_sim_run(three_wait, NULL, &(struct yk_sim){.inspect = inspect_three});
}

static int select_for_ever(void *arg)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct yoke_event event;
    int item, rc;

    (void)arg;
    yk_check(channel != NULL);
    yoke_event_init(&event);
    rc = yoke_select((struct yoke_select_case[]){yoke_case_receive(channel, &item),
                                                 yoke_case_event(&event), yoke_case_never()},
                     3, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yoke_channel_unref(channel);
    return rc;
}

static void inspect_select(int rc)
{
    expect_deadlock(rc, "every task is blocked for ever: "
                        "select_for_ever (select of channel receive, event, nothing)");
}

static void the_report_says_what_a_select_waits_for(void **state)
{
    (void)state;
    yk_sim_run(select_for_ever, NULL, &(struct yk_sim){.inspect = inspect_select});
}

static int select_of_many(void *arg)
{
    struct yoke_select_case cases[40];
    struct yoke_event event;

    (void)arg;
    yoke_event_init(&event);
    for (int i = 0; i < 40; i++)
        cases[i] = yoke_case_event(&event);
    return yoke_select(cases, 40, NULL);
}

static void inspect_many(int rc)
{
    expect_deadlock(rc, "every task is blocked for ever: select_of_many (select of event, event, "
                        "event, event, event, event, event, event, event, event, event, ...)");
}

static void of_a_select_of_many_the_report_says_the_first(void **state)
{
    (void)state;
    yk_sim_run(select_of_many, NULL, &(struct yk_sim){.inspect = inspect_many});
}

static int fail_when_cancelled(void *arg)
{
    int rc = yoke_event_wait(arg);

    yk_check_int(rc, YOKE_CANCELLED);
    return yoke_raise("test.Bad", EBADF, "bad");
}

static int error_while_unwinding(void *arg)
{
    struct yoke_event event;

    (void)arg;
    yoke_event_init(&event);
    return fail_when_cancelled(&event);
}

static void inspect_error(int rc)
{
    const struct yoke_error *context = yoke_error_context(yoke_in_flight());

    yk_check_int(rc, -EBADF);
    yk_check(context != NULL && yoke_error_is_cancelled(context));
    yk_check_int(yoke_cause_kind(yoke_error_cause(context)), YOKE_CAUSE_DEADLOCK);
    yk_check_caught("test.Bad", "bad");
}

static void an_error_while_a_deadlock_unwinds_is_the_result_and_carries_it(void **state)
{
    (void)state;
    yk_sim_run(error_while_unwinding, NULL, &(struct yk_sim){.inspect = inspect_error});
}

static int never_ending_sleep(void *arg)
{
    (void)arg;
    return yoke_sleep_until(YOKE_NEVER);
}

static void inspect_never(int rc)
{
    expect_deadlock(rc, "every task is blocked for ever: never_ending_sleep (sleep)");
}

static void a_sleep_until_never_is_a_deadlock_too(void **state)
{
    (void)state;
    yk_sim_run(never_ending_sleep, NULL, &(struct yk_sim){.inspect = inspect_never});
}

enum { CROWD = 200 };

static int crowd(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_event event;

    (void)arg;
    yoke_event_init(&event);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < CROWD; i++)
        yk_check_int(yoke_spawn(&nursery, wait_for_event, &event), 0);
    return yoke_nursery_close(&nursery, 0);
}

static void inspect_crowd(int rc)
{
    static const char start[] = "every task is blocked for ever: crowd (nursery close) ";

    yk_check_int(rc, YOKE_EDEADLOCK);
    yk_check(strncmp(yoke_error_message(yoke_in_flight()), start, sizeof start - 1) == 0);
    yk_check_caught("yoke.Deadlock", NULL);
}

static void a_report_about_many_tasks_is_cut_but_made(void **state)
{
    (void)state;
    yk_sim_run(crowd, NULL, &(struct yk_sim){.inspect = inspect_crowd});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_that_sleeps_for_ever_alone_is_a_deadlock),
        cmocka_unit_test(the_report_names_every_task_and_what_it_waits_for),
        cmocka_unit_test(the_report_says_what_a_select_waits_for),
        cmocka_unit_test(of_a_select_of_many_the_report_says_the_first),
        cmocka_unit_test(an_error_while_a_deadlock_unwinds_is_the_result_and_carries_it),
        cmocka_unit_test(a_sleep_until_never_is_a_deadlock_too),
        cmocka_unit_test(a_report_about_many_tasks_is_cut_but_made),
    };

    return cmocka_run_group_tests_name("deadlock", tests, NULL, NULL);
}
