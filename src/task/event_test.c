/* SPDX-License-Identifier: MIT */
/* Events: set once and for all; who waits is woken, and only then. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

struct waiter {
    struct yoke_event *event;
    int *next;
    int place;
    int rc;
};

static int wait_for_it(void *arg)
{
    struct waiter *waiter = arg;

    waiter->rc = yoke_event_wait(waiter->event);
    waiter->place = (*waiter->next)++;
    return waiter->rc;
}

enum { WAITERS = 8 };

/* Spawns the waiters and sees them blocked. */
static void spawn_waiters(struct yoke_nursery *nursery, struct yoke_event *event,
                          struct waiter *waiters, int *next)
{
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiter){.event = event, .next = next, .rc = 1};
        yk_check_int(yoke_spawn(nursery, wait_for_it, &waiters[i]), 0);
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(*next, 0);
}

YK_SIM_TEST(setting_an_event_wakes_all_who_wait_and_never_blocks)
{
    struct yoke_nursery nursery;
    struct waiter waiters[WAITERS];
    struct yoke_event event;
    int next = 0;

    yoke_event_init(&event);
    yk_check(!yoke_event_is_set(&event));
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_waiters(&nursery, &event, waiters, &next);
    yk_check_int(yoke_event_waiting(&event), WAITERS);
    yoke_event_set(&event);
    yk_check(yoke_event_is_set(&event));
    yk_check_int(yoke_event_waiting(&event), 0);
    yk_check_int(next, 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(next, WAITERS);
    for (int i = 0; i < WAITERS; i++)
        yk_check_int(waiters[i].rc, 0);
    return 0;
}

/* All wait for one event. */
struct crowd {
    struct yoke_nursery nursery;
    struct waiter waiters[WAITERS];
    struct yoke_event event;
    int next;
};

static void crowd_open(struct crowd *crowd)
{
    crowd->next = 0;
    yoke_event_init(&crowd->event);
    yk_check_int(yoke_nursery_open(&crowd->nursery, NULL), 0);
    spawn_waiters(&crowd->nursery, &crowd->event, crowd->waiters, &crowd->next);
}

YK_SIM_TEST_IN_ORDER(waiters_wake_in_the_order_in_which_they_came)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yoke_event_set(&crowd.event);
    yk_check_int(yoke_nursery_close(&crowd.nursery, 0), 0);
    for (int i = 0; i < WAITERS; i++)
        yk_check_int(crowd.waiters[i].place, i);
    return 0;
}

YK_SIM_TEST(an_event_stays_set)
{
    struct yoke_event event;

    yoke_event_init(&event);
    yoke_event_set(&event);
    yoke_event_set(&event);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_event_wait(&event), 0);
    yk_check(yoke_event_is_set(&event));
    return 0;
}

YK_SIM_TEST(a_cancelled_waiter_leaves_the_others_waiting)
{
    struct yoke_nursery nursery, cancelled;
    struct waiter waiters[WAITERS], gone[WAITERS];
    struct yoke_event event;
    int next = 0, gone_next = 0;

    yoke_event_init(&event);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_waiters(&nursery, &event, waiters, &next);
    yk_check_int(yoke_nursery_open(&cancelled, NULL), 0);
    spawn_waiters(&cancelled, &event, gone, &gone_next);
    yoke_scope_cancel(yoke_nursery_scope(&cancelled), NULL);
    yk_check_int(yoke_nursery_close(&cancelled, 0), 0);
    yk_check_int(gone_next, WAITERS);
    for (int i = 0; i < WAITERS; i++)
        yk_check_int(gone[i].rc, YOKE_CANCELLED);
    yk_check_int(next, 0);
    yoke_event_set(&event);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(next, WAITERS);
    return 0;
}

YK_SIM_TEST(a_waiter_that_was_woken_is_not_cancelled_any_more)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yoke_event_set(&crowd.event);
    yoke_scope_cancel(yoke_nursery_scope(&crowd.nursery), NULL);
    yk_check_int(yoke_nursery_close(&crowd.nursery, 0), 0);
    for (int i = 0; i < WAITERS; i++)
        yk_check_int(crowd.waiters[i].rc, 0);
    return 0;
}

YK_SIM_TEST(a_waiter_that_was_cancelled_is_not_woken_by_the_event_any_more)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yoke_scope_cancel(yoke_nursery_scope(&crowd.nursery), NULL);
    yoke_event_set(&crowd.event);
    yk_check_int(yoke_nursery_close(&crowd.nursery, 0), 0);
    for (int i = 0; i < WAITERS; i++)
        yk_check_int(crowd.waiters[i].rc, YOKE_CANCELLED);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_an_event_wakes_all_who_wait_and_never_blocks),
        cmocka_unit_test(waiters_wake_in_the_order_in_which_they_came),
        cmocka_unit_test(an_event_stays_set),
        cmocka_unit_test(a_cancelled_waiter_leaves_the_others_waiting),
        cmocka_unit_test(a_waiter_that_was_woken_is_not_cancelled_any_more),
        cmocka_unit_test(a_waiter_that_was_cancelled_is_not_woken_by_the_event_any_more),
    };

    return cmocka_run_group_tests_name("events", tests, NULL, NULL);
}
