/* SPDX-License-Identifier: MIT */
/* Happy eyeballs: order, delays, winners and losers; attempts are made of virtual time. */
#include "io/race.h"

#include "../tests/support/simrun.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <yoke/scope.h>
#include <yoke/task.h>

enum { ATTEMPTS_MAX = 8 };

struct plan {
    int64_t ms; /* it takes; 0: none; < 0: for ever */
    int code;   /* 0: connects */
};

struct scenario {
    const struct plan *plans;
    int64_t began;
    int64_t begun_ms[ATTEMPTS_MAX]; /* -1: never */
    int cancelled;
    int dropped;
    struct scenario *prizes[ATTEMPTS_MAX]; /* their addresses are the prizes */
};

static struct scenario *scenario_now;

static int play(size_t i, void *arg, void **ret_prize)
{
    struct scenario *scenario = arg;
    const struct plan *plan = &scenario->plans[i];
    int rc;

    scenario->begun_ms[i] = (yoke_now() - scenario->began) / YOKE_MS(1);
    rc = plan->ms < 0 ? yoke_sleep_forever() : plan->ms > 0 ? yoke_sleep(YOKE_MS(plan->ms)) : 0;
    if (rc == YOKE_CANCELLED)
        scenario->cancelled++;
    if (rc < 0)
        return rc;
    if (plan->code != 0)
        return yoke_raise("test.Refused", plan->code, "attempt %zu", i);
    *ret_prize = &scenario->prizes[i];
    return 0;
}

static void drop(void *prize)
{
    (void)prize;
    scenario_now->dropped++;
}

/* The winner, or what the race returned; and how long it took. */
static int race(struct scenario *scenario, const struct plan *plans, size_t n, int64_t *ret_ms)
{
    struct yk_race of = {.what = "test",
                         .n = n,
                         .delay_ns = YOKE_MS(250),
                         .attempt = play,
                         .drop = drop,
                         .arg = scenario};
    void *prize = NULL;
    int rc;

    *scenario = (struct scenario){.plans = plans, .began = yoke_now()};
    scenario_now = scenario;
    for (size_t i = 0; i < ATTEMPTS_MAX; i++)
        scenario->begun_ms[i] = -1;
    rc = yk_race(&of, &prize);
    *ret_ms = (yoke_now() - scenario->began) / YOKE_MS(1);
    return rc < 0 ? rc : (int)((struct scenario **)prize - scenario->prizes);
}

YK_SIM_TEST(a_single_attempt_wins_or_fails_by_itself)
{
    struct scenario scenario;
    int64_t ms;

    yk_check_int(race(&scenario, (struct plan[]){{123, 0}}, 1, &ms), 0);
    yk_check_int(ms, 123);
    yk_check_int(race(&scenario, (struct plan[]){{123, ECONNREFUSED}}, 1, &ms), -ECONNREFUSED);
    yk_check_int(ms, 123);
    yk_check_caught("test.Refused", "attempt 0");
    return 0;
}

YK_SIM_TEST(attempts_begin_250_ms_apart_and_the_first_to_connect_wins)
{
    struct scenario scenario;
    int64_t ms;

    yk_check_int(race(&scenario, (struct plan[]){{-1, 0}, {-1, 0}, {100, 0}, {-1, 0}}, 4, &ms), 2);
    yk_check_int(ms, 600);
    yk_check_int(scenario.begun_ms[0], 0);
    yk_check_int(scenario.begun_ms[1], 250);
    yk_check_int(scenario.begun_ms[2], 500);
    yk_check_int(scenario.begun_ms[3], -1);
    yk_check_int(scenario.cancelled, 2);
    yk_check_int(scenario.dropped, 0);
    return 0;
}

YK_SIM_TEST(an_earlier_attempt_may_win_after_a_later_one_has_begun)
{
    struct scenario scenario;
    int64_t ms;

    yk_check_int(race(&scenario, (struct plan[]){{300, 0}, {100, 0}}, 2, &ms), 0);
    yk_check_int(ms, 300);
    yk_check_int(scenario.begun_ms[1], 250);
    yk_check_int(scenario.cancelled, 1);
    return 0;
}

YK_SIM_TEST(a_failure_begins_the_next_attempt_at_once)
{
    struct scenario scenario;
    int64_t ms;

    yk_check_int(race(&scenario, (struct plan[]){{20, ECONNREFUSED}, {0, EHOSTUNREACH}, {7, 0}}, 3,
                      &ms),
                 2);
    yk_check_int(ms, 27);
    yk_check_int(scenario.begun_ms[1], 20);
    yk_check_int(scenario.begun_ms[2], 20);
    return 0;
}

YK_SIM_TEST(if_all_fail_the_group_has_every_error_in_order)
{
    struct scenario scenario;
    struct yoke_error *error;
    int64_t ms;

    yk_check_int(race(&scenario, (struct plan[]){{300, ETIMEDOUT}, {20, ECONNREFUSED}, {0, EPERM}},
                      3, &ms),
                 YOKE_EGROUP);
    yk_check_int(ms, 300);
    error = yoke_catch();
    yk_check(error != NULL);
    yk_check_int(yoke_error_member_count(error), 3);
    yk_check_int(yoke_error_code(yoke_error_member(error, 0)), -ETIMEDOUT);
    yk_check_int(yoke_error_code(yoke_error_member(error, 1)), -ECONNREFUSED);
    yk_check_int(yoke_error_code(yoke_error_member(error, 2)), -EPERM);
    yk_check_text(yoke_error_message(error), "test: no address could be connected to");
    yoke_error_unref(error);
    return 0;
}

YK_SIM_TEST(two_that_connect_at_the_same_moment_are_one_winner_and_one_dropped)
{
    struct scenario scenario;
    int64_t ms;
    int winner = race(&scenario, (struct plan[]){{350, 0}, {100, 0}}, 2, &ms);

    yk_check(winner == 0 || winner == 1);
    yk_check_int(ms, 350);
    yk_check_int(scenario.dropped + scenario.cancelled, 1);
    return 0;
}

YK_SIM_TEST(a_race_that_is_cancelled_ends_all_attempts_and_keeps_nothing)
{
    struct scenario scenario;
    struct yoke_scope scope;
    int64_t ms = 0;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(600)});

    if (rc == 0)
        rc = race(&scenario, (struct plan[]){{-1, 0}, {10, EPERM}, {-1, 0}, {-1, 0}}, 4, &ms);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check_int(ms, 600);
    yk_check_int(scenario.begun_ms[2], 260);
    yk_check_int(scenario.begun_ms[3], 510);
    yk_check_int(scenario.cancelled, 3);
    return 0;
}

/* "4a 6b" and so on: family and what tells them apart. */
static void order_of(const char *const *texts, size_t n, char *ret)
{
    struct yoke_address addresses[ATTEMPTS_MAX];

    for (size_t i = 0; i < n; i++)
        assert_int_equal(yoke_address_parse(texts[i], &addresses[i]), 0);
    yk_race_order(addresses, n);
    for (size_t i = 0; i < n; i++)
        ret += sprintf(ret, "%u ", yoke_address_port(&addresses[i]));
}

static void families_take_turns_and_keep_their_own_order(void **state)
{
    static const char *const mixed[] = {"[::1]:61", "[::1]:62", "[::1]:63", "1.1.1.1:41",
                                        "1.1.1.1:42"};
    static const char *const v4_first[] = {"1.1.1.1:41", "1.1.1.1:42", "1.1.1.1:43", "[::1]:61"};
    static const char *const turns[] = {"[::1]:61", "1.1.1.1:41", "[::1]:62"};
    static const char *const same[] = {"1.1.1.1:41", "1.1.1.1:42", "1.1.1.1:43"};
    char order[64];

    (void)state;
    order_of(mixed, 5, order);
    assert_string_equal(order, "61 41 62 42 63 ");
    order_of(v4_first, 4, order);
    assert_string_equal(order, "41 61 42 43 ");
    order_of(turns, 3, order);
    assert_string_equal(order, "61 41 62 ");
    order_of(same, 3, order);
    assert_string_equal(order, "41 42 43 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_attempt_wins_or_fails_by_itself),
        cmocka_unit_test(attempts_begin_250_ms_apart_and_the_first_to_connect_wins),
        cmocka_unit_test(an_earlier_attempt_may_win_after_a_later_one_has_begun),
        cmocka_unit_test(a_failure_begins_the_next_attempt_at_once),
        cmocka_unit_test(if_all_fail_the_group_has_every_error_in_order),
        cmocka_unit_test(two_that_connect_at_the_same_moment_are_one_winner_and_one_dropped),
        cmocka_unit_test(a_race_that_is_cancelled_ends_all_attempts_and_keeps_nothing),
        cmocka_unit_test(families_take_turns_and_keep_their_own_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
