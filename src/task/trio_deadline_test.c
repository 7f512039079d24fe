/* SPDX-License-Identifier: MIT */
/*
 * Deadlines nested three deep, in every order and with every shield, against a model; and what
 * trio checks of timeouts and clocks and that the other deadline tests don't.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "task/task.h"

enum { DEPTH = 3, LOG = 64 };
static const char *const names[DEPTH] = {"a", "b", "c"}; /* the outermost first */

struct scenario {
    int deadline_s[DEPTH];
    bool shield[DEPTH];
};

static void note(char *log, const char *format, ...) YOKE_PRINTF(2, 3);
static void note(char *log, const char *format, ...)
{
    size_t used = strlen(log);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(log + used, LOG - used, format, arguments);
    va_end(arguments);
}

/* The outermost of the scopes visible from `inside` whose deadline has come; -1: none. */
static int outermost_expired(const struct scenario *scenario, int inside, int now_s)
{
    int found = -1;

    for (int i = inside; i >= 0; i--) {
        if (scenario->deadline_s[i] <= now_s)
            found = i;
        if (scenario->shield[i])
            break;
    }
    return found;
}

/* In each scope, from the innermost out, the task sleeps until it is cancelled, unless it is. */
static void predict(const struct scenario *scenario, char *log)
{
    int now_s = 0;
    int target = -1;

    for (int i = DEPTH - 1; i >= 0; i--) {
        if (target < 0) {
            while (outermost_expired(scenario, i, now_s) < 0)
                now_s++;
            target = outermost_expired(scenario, i, now_s);
            note(log, "%d%s ", now_s, names[target]);
        }
        if (scenario->deadline_s[i] > now_s)
            continue;
        target = scenario->shield[i] ? -1 : outermost_expired(scenario, i - 1, now_s);
        if (target < 0)
            note(log, "caught by %s; ", names[i]);
    }
}

static void perform(const struct scenario *scenario, char *log)
{
    struct yoke_scope scopes[DEPTH];
    int64_t start = yoke_now();
    int rc = 0;

    for (int i = 0; i < DEPTH; i++) {
        struct yoke_scope_opts opts = {.name = names[i], .shield = scenario->shield[i]};

        opts.deadline_ns = start + YOKE_S(scenario->deadline_s[i]);
        yk_check_int(yoke_scope_open(&scopes[i], &opts), 0);
    }
    for (int i = DEPTH - 1; i >= 0; i--) {
        if (rc == 0) {
            const struct yoke_cause *cause;

            rc = yoke_sleep_forever();
            yk_check_int(rc, YOKE_CANCELLED);
            cause = yoke_error_cause(yoke_in_flight());
            yk_check_int(yoke_cause_kind(cause), YOKE_CAUSE_DEADLINE);
            note(log, "%d%s ", (int)((yoke_now() - start) / YOKE_S(1)),
                 yoke_cause_scope(cause)->name);
        }
        rc = yoke_scope_close(&scopes[i], rc);
        if (yoke_scope_cancelled_caught(&scopes[i]))
            note(log, "caught by %s; ", names[i]);
    }
    yk_check_int(rc, 0);
}

YK_SIM_TEST(nested_deadlines_cut_in_as_the_rules_say_in_every_order_and_with_every_shield)
{
    static const int orders[6][DEPTH] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                         {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};

    for (unsigned i = 0; i < 6 * 8; i++) {
        struct scenario scenario;
        char expected[LOG] = "", actual[LOG] = "";

        memcpy(scenario.deadline_s, orders[i / 8], sizeof scenario.deadline_s);
        for (unsigned k = 0; k < DEPTH; k++)
            scenario.shield[k] = i >> k & 1;
        predict(&scenario, expected);
        perform(&scenario, actual);
        yk_check_text(actual, expected);
    }
    return 0;
}

YK_SIM_TEST(a_timeout_cuts_in_behind_its_own_shield_and_the_outer_cancellation_waits)
{
    struct yoke_scope outer, inner;
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_S(1), .shield = true};
    int64_t start = yoke_now();
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, &opts), 0);
    yoke_scope_cancel(&outer, "outer");
    yk_check_int(yoke_checkpoint(), 0);
    rc = yoke_sleep_forever();
    yk_check_int(yoke_now(), start + YOKE_S(1));
    yk_check_int(yoke_cause_kind(yoke_why()), YOKE_CAUSE_DEADLINE);
    yk_check(yoke_error_cause(yoke_in_flight()) == yoke_scope_cause(&inner));
    yk_check_int(yoke_scope_close(&inner, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&inner));
    rc = yoke_checkpoint();
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "outer");
    return yoke_scope_close(&outer, rc);
}

YK_SIM_TEST(lowering_the_shield_of_a_timed_scope_lets_the_outer_cancellation_in)
{
    struct yoke_scope outer, inner;
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_S(1), .shield = true};
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, &opts), 0);
    yoke_scope_cancel(&outer, "outer");
    yk_check_int(yoke_checkpoint(), 0);
    yoke_scope_set_shield(&inner, false);
    rc = yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(yoke_error_cause(yoke_in_flight()) == yoke_scope_cause(&outer));
    rc = yoke_scope_close(&inner, rc);
    yk_check(!yoke_scope_cancel_called(&inner));
    return yoke_scope_close(&outer, rc);
}

YK_SIM_TEST(a_deadline_that_came_while_shielded_is_seen_after_it_with_its_own_time)
{
    struct yoke_scope outer, shield;
    int64_t start = yoke_now();
    int rc;

    yk_check_int(yoke_scope_open(&outer, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(1)}), 0);
    yk_check_int(yoke_scope_open(&shield, &(struct yoke_scope_opts){.shield = true}), 0);
    yk_check_int(yoke_scope_close(&shield, yoke_sleep(YOKE_S(5))), 0);
    yk_check(yoke_scope_cancel_called(&outer));
    rc = yoke_checkpoint();
    yk_check_int(yoke_now(), start + YOKE_S(5));
    yk_check_int(yoke_cause_kind(yoke_error_cause(yoke_in_flight())), YOKE_CAUSE_DEADLINE);
    yk_check_int(yoke_cause_time(yoke_error_cause(yoke_in_flight())), start + YOKE_S(1));
    return yoke_scope_close(&outer, rc);
}

YK_SIM_TEST(moving_a_deadline_thousands_of_times_leaves_one_timer)
{
    struct yoke_scope scope;
    int64_t now = yoke_now();
    size_t before = yk_runtime_current->timers.n;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    for (int i = 0; i < 5000; i++) {
        yk_check_int(yoke_scope_set_deadline(&scope, now + YOKE_S(9998)), 0);
        yk_check_int(yoke_scope_set_deadline(&scope, now + YOKE_S(9999)), 0);
    }
    yk_check_int(yk_runtime_current->timers.n, before + 1);
    yk_check_int(yoke_sleep(YOKE_S(9998)), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check_int(yk_runtime_current->timers.n, before);
    return 0;
}

struct record {
    char log[LOG];
};

static int yawn(void *arg)
{
    struct record *record = arg;

    yk_check_int(yoke_sleep(YOKE_S(100)), 0);
    note(record->log, "yawn ");
    return 0;
}

static int wait_then_sleep(void *arg)
{
    struct record *record = arg;

    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    note(record->log, "woke ");
    yk_check_int(yoke_sleep(YOKE_S(1000)), 0);
    note(record->log, "done ");
    return 0;
}

YK_SIM_TEST(who_waits_for_quiet_wakes_before_time_jumps)
{
    struct record record = {.log = ""};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, yawn, &record), 0);
    yk_check_int(yoke_spawn(&nursery, wait_then_sleep, &record), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_text(record.log, "woke yawn done ");
    return 0;
}

/* On the real clock. */

static int pass_checkpoints_until_cancelled(void *arg)
{
    struct yoke_scope scope;
    int64_t start = yoke_now();
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(2)});

    (void)arg;
    while (rc == 0)
        rc = yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_cause_kind(yoke_why()), YOKE_CAUSE_DEADLINE);
    yk_check(yoke_now() >= start + YOKE_MS(2));
    return yoke_scope_close(&scope, rc);
}

static void a_deadline_reaches_a_task_that_never_blocks(void **state)
{
    (void)state;
    assert_int_equal(yoke_run(pass_checkpoints_until_cancelled, NULL, NULL), 0);
    assert_int_equal(yk_checks_failed(), 0);
}

static int ask_until_called(void *arg)
{
    struct yoke_scope scope;
    int rc;

    (void)arg;
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(2)}), 0);
    while (!yoke_scope_cancel_called(&scope))
        continue;
    rc = yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_cause_kind(yoke_error_cause(yoke_in_flight())), YOKE_CAUSE_DEADLINE);
    yk_check_int(yoke_scope_later_cause_count(&scope), 0);
    return yoke_scope_close(&scope, rc);
}

static void a_task_that_asks_sees_a_deadline_that_the_loop_has_not_noticed(void **state)
{
    (void)state;
    assert_int_equal(yoke_run(ask_until_called, NULL, NULL), 0);
    assert_int_equal(yk_checks_failed(), 0);
}

static int sleep_past_a_deadline(void *arg)
{
    struct yoke_scope scope;
    int64_t start = yoke_now();

    (void)arg;
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(3)}), 0);
    yk_check_int(yoke_scope_close(&scope, yoke_sleep(YOKE_S(100))), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    yk_check(yoke_now() >= start + YOKE_MS(3)); /* never early; how late is the machine's affair */
    yk_check(yoke_now() < start + YOKE_S(100));
    return 0;
}

static void a_deadline_is_never_early_on_the_real_clock(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(yoke_run(sleep_past_a_deadline, NULL, NULL), 0);
    assert_int_equal(yk_checks_failed(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            nested_deadlines_cut_in_as_the_rules_say_in_every_order_and_with_every_shield),
        cmocka_unit_test(a_timeout_cuts_in_behind_its_own_shield_and_the_outer_cancellation_waits),
        cmocka_unit_test(lowering_the_shield_of_a_timed_scope_lets_the_outer_cancellation_in),
        cmocka_unit_test(a_deadline_that_came_while_shielded_is_seen_after_it_with_its_own_time),
        cmocka_unit_test(moving_a_deadline_thousands_of_times_leaves_one_timer),
        cmocka_unit_test(who_waits_for_quiet_wakes_before_time_jumps),
        cmocka_unit_test(a_deadline_reaches_a_task_that_never_blocks),
        cmocka_unit_test(a_task_that_asks_sees_a_deadline_that_the_loop_has_not_noticed),
        cmocka_unit_test(a_deadline_is_never_early_on_the_real_clock),
    };

    return cmocka_run_group_tests_name("deadlines, as trio's", tests, NULL, NULL);
}
