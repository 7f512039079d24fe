/* SPDX-License-Identifier: MIT */
/* Deadlines of scopes, and virtual time: it moves only when every task is blocked. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

YK_SIM_TEST(a_deadline_cancels_its_scope_at_that_time_with_a_cause_that_says_so)
{
    struct yoke_scope scope;
    int64_t start = yoke_now();
    int line = __LINE__ + 1;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(2)});
    const struct yoke_cause *cause;

    yk_check_int(rc, 0);
    yk_check_int(yoke_scope_deadline(&scope), start + YOKE_S(2));
    yk_check_int(yoke_sleep(YOKE_S(1)), 0);
    yk_check(!yoke_scope_cancel_called(&scope));
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_now(), start + YOKE_S(2));
    cause = yoke_error_cause(yoke_in_flight());
    yk_check(cause == yoke_scope_cause(&scope));
    yk_check_int(yoke_cause_kind(cause), YOKE_CAUSE_DEADLINE);
    yk_check_int(yoke_cause_layer(cause), YOKE_LAYER_TASK);
    yk_check_int(yoke_cause_time(cause), start + YOKE_S(2));
    yk_check_int(yoke_cause_requester(cause)->task_id, yoke_task_id());
    yk_check_int(yoke_cause_requester(cause)->line, line);
    yk_check_int(yoke_cause_scope(cause)->line, line);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancel_called(&scope) && yoke_scope_cancelled_caught(&scope));
    return 0;
}

static int sleep_long(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

YK_SIM_TEST(a_late_body_is_an_error_where_that_is_asked_for)
{
    struct yoke_scope scope;
    struct yoke_scope_opts opts = {.name = "brief", .timeout_ns = YOKE_S(1), .late_is_error = true};
    struct yoke_nursery nursery;

    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    yk_check_int(yoke_scope_close(&scope, yoke_sleep_forever()), -ETIMEDOUT);
    yk_check(yoke_scope_cancelled_caught(&scope));
    yk_check_caught("yoke.TooSlow", "scope \"brief\" was cut short by its deadline");
    yk_check_int(yoke_nursery_open(&nursery,
                                   &(struct yoke_nursery_opts){
                                       .name = "crowd",
                                       .timeout_ns = YOKE_S(1),
                                       .late_is_error = true,
                                   }),
                 0);
    yk_check_int(yoke_spawn(&nursery, sleep_long, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -ETIMEDOUT);
    yk_check_caught("yoke.TooSlow", "scope \"crowd\" was cut short by its deadline");
    return 0;
}

YK_SIM_TEST(only_a_deadline_makes_a_body_late)
{
    struct yoke_scope scope;
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_S(1), .late_is_error = true};
    int rc;

    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    yoke_scope_cancel(&scope, "enough");
    yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    rc = yoke_raise("test.Bad", EBADF, "bad");
    yk_check_int(yoke_scope_close(&scope, rc),
                 -EBADF); /* an error says more than that it is late */
    yk_check_caught("test.Bad", "bad");
    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    yk_check_int(yoke_sleep(YOKE_MS(999)), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    return 0;
}

YK_SIM_TEST(a_deadline_that_comes_after_the_close_does_nothing)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(1)}), 0);
    yk_check_int(yoke_sleep(YOKE_MS(999)), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check_int(yoke_sleep(YOKE_S(5)), 0);
    yk_check(!yoke_scope_cancel_called(&scope));
    yk_check(yoke_scope_cause(&scope) == NULL);
    return 0;
}

YK_SIM_TEST(of_two_deadlines_in_the_options_the_earlier_one_counts)
{
    struct yoke_scope scope;
    int64_t now = yoke_now();
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_S(2), .deadline_ns = now + YOKE_S(1)};

    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    yk_check_int(yoke_scope_deadline(&scope), now + YOKE_S(1));
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    opts.deadline_ns = now + YOKE_S(3);
    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    yk_check_int(yoke_scope_deadline(&scope), now + YOKE_S(2));
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_deadline(&scope), YOKE_NEVER);
    return yoke_scope_close(&scope, 0);
}

YK_SIM_TEST(a_timeout_too_long_for_the_clock_never_comes)
{
    struct yoke_scope scope;
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_NEVER - 1};

    yk_check_int(yoke_scope_open(&scope, &opts), 0);
    yk_check_int(yoke_scope_deadline(&scope), YOKE_NEVER);
    yk_check_int(yoke_sleep(YOKE_S(3600)), 0);
    return yoke_scope_close(&scope, 0);
}

YK_SIM_TEST(a_deadline_in_the_past_cancels_at_the_first_checkpoint)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.deadline_ns = 1}), 0);
    yk_check(yoke_scope_cancel_called(&scope));
    yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = -5}), 0);
    yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

YK_SIM_TEST(a_deadline_can_be_moved_in_both_directions_while_the_scope_is_open)
{
    struct yoke_scope scope;
    int64_t start = yoke_now();
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_scope_set_deadline(&scope, start + YOKE_S(1)), 0);
    yk_check_int(yoke_scope_set_deadline(&scope, start + YOKE_S(10)), 0);
    yk_check_int(yoke_sleep(YOKE_S(5)), 0);
    yk_check_int(yoke_scope_set_deadline(&scope, YOKE_NEVER), 0);
    yk_check_int(yoke_sleep(YOKE_S(20)), 0);
    yk_check_int(yoke_scope_set_deadline(&scope, start + YOKE_S(26)), 0);
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_now(), start + YOKE_S(26));
    /* It is cancelled for good: a later deadline does not take that back. */
    yk_check_int(yoke_scope_set_deadline(&scope, YOKE_NEVER), 0);
    yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    return 0;
}

YK_SIM_TEST(a_deadline_moved_into_the_past_cancels_at_once)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(9)}), 0);
    yk_check_int(yoke_sleep(YOKE_S(2)), 0);
    yk_check_int(yoke_scope_set_deadline(&scope, yoke_now() - YOKE_S(1)), 0);
    yk_check(yoke_scope_cancel_called(&scope));
    yk_check_int(yoke_scope_close(&scope, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return 0;
}

struct other {
    struct yoke_scope scope;
    int64_t ended_ns;
};

static int sleep_with_deadline(void *arg)
{
    struct other *other = arg;
    struct yoke_scope_opts opts = {.timeout_ns = YOKE_S(60)};
    int rc;

    yk_check_int(yoke_scope_open(&other->scope, &opts), 0);
    rc = yoke_scope_close(&other->scope, yoke_sleep_forever());
    other->ended_ns = yoke_now();
    return rc;
}

YK_SIM_TEST(another_task_can_move_a_deadline_and_the_sleeper_notices)
{
    struct other other;
    struct yoke_nursery nursery;
    int64_t start = yoke_now();

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_with_deadline, &other), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_scope_set_deadline(&other.scope, start + YOKE_S(3)), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(other.ended_ns, start + YOKE_S(3));
    yk_check(yoke_scope_cancelled_caught(&other.scope));
    return 0;
}

YK_SIM_TEST(the_effective_deadline_is_the_earliest_one_visible)
{
    struct yoke_scope outer, middle, inner;
    int64_t now = yoke_now();

    yk_check_int(yoke_effective_deadline(), YOKE_NEVER);
    yk_check_int(yoke_scope_open(&outer, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(5)}), 0);
    yk_check_int(yoke_effective_deadline(), now + YOKE_S(5));
    yk_check_int(yoke_scope_open(&middle, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(9)}), 0);
    yk_check_int(yoke_effective_deadline(), now + YOKE_S(5));
    yoke_scope_set_shield(&middle, true);
    yk_check_int(yoke_effective_deadline(), now + YOKE_S(9));
    yk_check_int(yoke_scope_set_deadline(&middle, now + YOKE_S(7)), 0);
    yk_check_int(yoke_effective_deadline(), now + YOKE_S(7));
    yoke_scope_set_shield(&inner, true);
    yk_check_int(yoke_effective_deadline(), now + YOKE_S(9));
    yk_check_int(yoke_scope_close(&inner, 0), 0);
    yk_check_int(yoke_scope_close(&middle, 0), 0);
    return yoke_scope_close(&outer, 0);
}

static int ask_deadline(void *arg)
{
    *(int64_t *)arg = yoke_effective_deadline();
    return 0;
}

YK_SIM_TEST(a_child_is_under_the_deadlines_around_its_nursery)
{
    struct yoke_scope scope;
    struct yoke_nursery nursery;
    int64_t seen = 0;
    int64_t now = yoke_now();

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(4)}), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, ask_deadline, &seen), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(seen, now + YOKE_S(4));
    return yoke_scope_close(&scope, 0);
}

YK_SIM_TEST(the_outer_of_two_expired_deadlines_absorbs)
{
    struct yoke_scope outer, inner;
    int64_t now = yoke_now();
    struct yoke_scope_opts opts = {.deadline_ns = now + YOKE_S(1)};
    int rc;

    yk_check_int(yoke_scope_open(&outer, &opts), 0);
    yk_check_int(yoke_scope_open(&inner, &opts), 0);
    rc = yoke_scope_close(&inner, yoke_sleep_forever());
    /* Both expire in the same turn, in either order; what unwinds belongs to the outer one. */
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(yoke_error_cause(yoke_in_flight()) == yoke_scope_cause(&outer));
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&outer) && !yoke_scope_cancelled_caught(&inner));
    return 0;
}

static int sleep_forever(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

YK_SIM_TEST(a_nursery_has_a_deadline_of_its_own)
{
    struct yoke_nursery nursery;
    int64_t start = yoke_now();
    struct yoke_nursery_opts opts = {.timeout_ns = YOKE_S(3)};

    yk_check_int(yoke_nursery_open(&nursery, &opts), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_forever, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_now(), start + YOKE_S(3));
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    return 0;
}

YK_SIM_TEST(time_stands_still_while_a_task_can_run)
{
    int64_t start = yoke_now();

    for (int i = 0; i < 1000; i++)
        yk_check_int(yoke_checkpoint(), 0);
    yk_check_int(yoke_now(), start);
    yk_check_int(yoke_sleep(0), 0);
    yk_check_int(yoke_sleep_until(start - 1), 0);
    yk_check_int(yoke_now(), start);
    yk_check_int(yoke_sleep(1), 0);
    yk_check_int(yoke_now(), start + 1);
    return 0;
}

struct order {
    int64_t delay_ns;
    int *next;
    int place;
};

static int sleep_then_note(void *arg)
{
    struct order *order = arg;

    yk_check_int(yoke_sleep(order->delay_ns), 0);
    order->place = (*order->next)++;
    return 0;
}

enum { SLEEPERS = 200 };

YK_SIM_TEST(sleepers_wake_in_the_order_of_their_times)
{
    struct order orders[SLEEPERS];
    struct yoke_nursery nursery;
    int next = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < SLEEPERS; i++) {
        /* 77 and 200 have no common factor: each time occurs once. */
        orders[i] = (struct order){.delay_ns = 1 + (i * 77) % SLEEPERS, .next = &next};
        yk_check_int(yoke_spawn(&nursery, sleep_then_note, &orders[i]), 0);
    }
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < SLEEPERS; i++)
        yk_check_int(orders[i].place, orders[i].delay_ns - 1);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deadline_cancels_its_scope_at_that_time_with_a_cause_that_says_so),
        cmocka_unit_test(a_late_body_is_an_error_where_that_is_asked_for),
        cmocka_unit_test(only_a_deadline_makes_a_body_late),
        cmocka_unit_test(a_deadline_that_comes_after_the_close_does_nothing),
        cmocka_unit_test(of_two_deadlines_in_the_options_the_earlier_one_counts),
        cmocka_unit_test(a_timeout_too_long_for_the_clock_never_comes),
        cmocka_unit_test(a_deadline_in_the_past_cancels_at_the_first_checkpoint),
        cmocka_unit_test(a_deadline_can_be_moved_in_both_directions_while_the_scope_is_open),
        cmocka_unit_test(a_deadline_moved_into_the_past_cancels_at_once),
        cmocka_unit_test(another_task_can_move_a_deadline_and_the_sleeper_notices),
        cmocka_unit_test(the_effective_deadline_is_the_earliest_one_visible),
        cmocka_unit_test(a_child_is_under_the_deadlines_around_its_nursery),
        cmocka_unit_test(the_outer_of_two_expired_deadlines_absorbs),
        cmocka_unit_test(a_nursery_has_a_deadline_of_its_own),
        cmocka_unit_test(time_stands_still_while_a_task_can_run),
        cmocka_unit_test(sleepers_wake_in_the_order_of_their_times),
    };

    return cmocka_run_group_tests_name("deadlines", tests, NULL, NULL);
}
