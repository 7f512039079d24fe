/* SPDX-License-Identifier: MIT */
/* Parking lots: order, moving, breaking, and what a cancelled wait leaves. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/nursery.h>
#include <yoke/parking_lot.h>
#include <yoke/testing.h>

enum { PARKED = 6 };

struct parked {
    struct yoke_parking_lot *lot;
    struct yoke_scope scope;
    int *next; /* counts those that have woken */
    int place;
    int rc;
};

static int park(void *arg)
{
    struct parked *parked = arg;
    int rc = yoke_scope_open(&parked->scope, NULL);

    if (rc == 0)
        rc = yoke_parking_lot_park(parked->lot);
    parked->rc = rc;
    parked->place = (*parked->next)++;
    if (rc == -EOWNERDEAD) {
        yk_check_caught("yoke.Broken", NULL);
        rc = 0;
    }
    return yoke_scope_close(&parked->scope, rc);
}

/* Spawns them one after the other, so that they park in order. */
static void park_all(struct yoke_nursery *nursery, struct yoke_parking_lot *lot,
                     struct parked *parked, int *next)
{
    *next = 0;
    for (int i = 0; i < PARKED; i++) {
        parked[i] = (struct parked){.lot = lot, .next = next, .place = -1, .rc = 1};
        yk_check_int(yoke_spawn(nursery, park, &parked[i]), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    }
    yk_check_int(*next, 0);
}

static size_t waiting_in(const struct yoke_parking_lot *lot)
{
    struct yoke_parking_lot_stats stats;

    yoke_parking_lot_stats(lot, &stats);
    return stats.waiting;
}

YK_SIM_TEST(tasks_are_unparked_in_the_order_in_which_they_parked)
{
    struct parked parked[PARKED];
    struct yoke_parking_lot lot;
    struct yoke_nursery nursery;
    int next;

    yoke_parking_lot_init(&lot);
    yk_check_int(yoke_parking_lot_unpark(&lot, 1), 0); /* nobody: nothing, and nothing kept */
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    park_all(&nursery, &lot, parked, &next);
    for (int i = 0; i < PARKED; i++) {
        yk_check_int(waiting_in(&lot), PARKED - i);
        yk_check_int(yoke_parking_lot_unpark(&lot, 1), 1);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    }
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < PARKED; i++) {
        yk_check_int(parked[i].place, i);
        yk_check_int(parked[i].rc, 0);
    }
    yoke_parking_lot_fini(&lot);
    return 0;
}

/* All are parked in one lot. */
struct crowd {
    struct parked parked[PARKED];
    struct yoke_parking_lot lot;
    struct yoke_nursery nursery;
    int next;
};

static void crowd_open(struct crowd *crowd)
{
    yoke_parking_lot_init(&crowd->lot);
    yk_check_int(yoke_nursery_open(&crowd->nursery, NULL), 0);
    park_all(&crowd->nursery, &crowd->lot, crowd->parked, &crowd->next);
}

YK_SIM_TEST(unparking_several_wakes_the_first_and_says_how_many)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yk_check_int(yoke_parking_lot_unpark(&crowd.lot, 0), 0);
    yk_check_int(yoke_parking_lot_unpark(&crowd.lot, 2), 2);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.next, 2);
    yk_check(crowd.parked[0].rc == 0 && crowd.parked[1].rc == 0 && crowd.parked[2].rc == 1);
    yk_check_int(yoke_parking_lot_unpark(&crowd.lot, YOKE_ALL), PARKED - 2);
    yk_check_int(yoke_nursery_close(&crowd.nursery, 0), 0);
    yk_check_int(crowd.next, PARKED);
    return 0;
}

YK_SIM_TEST(a_cancelled_wait_leaves_the_queue_as_if_it_had_never_entered)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yoke_scope_cancel(&crowd.parked[0].scope, NULL);
    yoke_scope_cancel(&crowd.parked[3].scope, NULL);
    yk_check_int(waiting_in(&crowd.lot), PARKED - 2); /* at once, not when they run */
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.parked[0].rc, YOKE_CANCELLED);
    yk_check_int(crowd.parked[3].rc, YOKE_CANCELLED);
    yk_check_int(yoke_parking_lot_unpark(&crowd.lot, 1), 1);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.parked[1].place, 2);
    yk_check_int(yoke_parking_lot_unpark(&crowd.lot, YOKE_ALL), PARKED - 3);
    yk_check_int(yoke_nursery_close(&crowd.nursery, 0), 0);
    return 0;
}

YK_SIM_TEST(a_task_that_was_unparked_and_is_then_cancelled_keeps_its_wake_up)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yk_check_int(yoke_parking_lot_unpark(&crowd.lot, 1), 1);
    yoke_scope_cancel(&crowd.parked[0].scope, NULL);
    /* The other order: who was cancelled is no longer there to be unparked. */
    yoke_scope_cancel(&crowd.parked[1].scope, NULL);
    yk_check_int(yoke_parking_lot_unpark(&crowd.lot, 1), 1);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.parked[0].rc, 0);
    yk_check_int(crowd.parked[1].rc, YOKE_CANCELLED);
    yk_check_int(crowd.parked[2].rc, 0);
    yk_check_int(crowd.parked[3].rc, 1);
    yoke_parking_lot_unpark(&crowd.lot, YOKE_ALL);
    return yoke_nursery_close(&crowd.nursery, 0);
}

YK_SIM_TEST(a_cancelled_task_does_not_park)
{
    struct yoke_parking_lot lot;
    struct yoke_scope scope;

    yoke_parking_lot_init(&lot);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_parking_lot_park(&lot), YOKE_CANCELLED);
    yk_check_int(waiting_in(&lot), 0);
    return yoke_scope_close(&scope, YOKE_CANCELLED);
}

YK_SIM_TEST(reparked_tasks_wait_in_the_other_lot_in_the_same_order)
{
    struct parked parked[PARKED];
    struct yoke_parking_lot first, second;
    struct yoke_nursery nursery;
    int next;

    yoke_parking_lot_init(&first);
    yoke_parking_lot_init(&second);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    park_all(&nursery, &first, parked, &next);
    yk_check_int(yoke_parking_lot_repark(&first, &second, 2), 2);
    yk_check_int(waiting_in(&first), PARKED - 2);
    yk_check_int(waiting_in(&second), 2);
    yk_check_int(yoke_parking_lot_repark(&first, &second, YOKE_ALL), PARKED - 2);
    yk_check_int(waiting_in(&first), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(next, 0); /* moving wakes nobody */
    yoke_scope_cancel(&parked[1].scope, NULL);
    yk_check_int(waiting_in(&second), PARKED - 1);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    while (yoke_parking_lot_unpark(&second, 1) == 1)
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(parked[1].rc, YOKE_CANCELLED);
    yk_check_int(parked[0].place, 1);
    for (int i = 2; i < PARKED; i++)
        yk_check_int(parked[i].place, i);
    return 0;
}

YK_SIM_TEST(reparking_into_the_same_lot_sends_tasks_to_its_end)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yk_check_int(yoke_parking_lot_repark(&crowd.lot, &crowd.lot, 2), 2);
    while (yoke_parking_lot_unpark(&crowd.lot, 1) == 1)
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_nursery_close(&crowd.nursery, 0), 0);
    for (int i = 0; i < PARKED; i++)
        yk_check_int(crowd.parked[i].place, (i + PARKED - 2) % PARKED);
    return 0;
}

YK_SIM_TEST(breaking_a_lot_fails_those_in_it_and_those_who_come)
{
    struct parked parked[PARKED];
    struct yoke_parking_lot_stats stats;
    struct yoke_parking_lot lot, other;
    struct yoke_nursery nursery;
    char message[64];
    int next;

    yoke_parking_lot_init(&lot);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    park_all(&nursery, &lot, parked, &next);
    yoke_parking_lot_break(&lot);
    yoke_parking_lot_break(&lot);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < PARKED; i++)
        yk_check_int(parked[i].rc, -EOWNERDEAD);
    yk_check_int(yoke_parking_lot_park(&lot), -EOWNERDEAD);
    snprintf(message, sizeof message, "the parking lot was broken by task %llu",
             (unsigned long long)yoke_task_id());
    yk_check_caught("yoke.Broken", message);
    yoke_parking_lot_stats(&lot, &stats);
    yk_check_int(stats.waiting, 0);
    yk_check_int(stats.breaks, 2);
    yk_check_int(stats.broken_by, yoke_task_id());

    yoke_parking_lot_init(&other);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    park_all(&nursery, &other, parked, &next);
    yk_check_int(yoke_parking_lot_repark(&other, &lot, YOKE_ALL), PARKED);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < PARKED; i++)
        yk_check_int(parked[i].rc, -EOWNERDEAD);
    yoke_parking_lot_stats(&other, &stats);
    yk_check_int(stats.breaks, 0);
    return 0;
}

struct duty {
    struct yoke_parking_lot lot;
    struct yoke_parking_lot_breaker breaker;
    struct yoke_scope scope;
    uint64_t id;
    bool kept; /* does its duty to the end */
};

static int serve(void *arg)
{
    struct duty *duty = arg;
    int rc = yoke_scope_open(&duty->scope, NULL);

    duty->id = yoke_task_id();
    yoke_parking_lot_add_breaker(&duty->lot, &duty->breaker);
    if (rc == 0)
        rc = yoke_sleep_forever();
    if (duty->kept)
        yoke_parking_lot_remove_breaker(&duty->breaker);
    return yoke_scope_close(&duty->scope, rc);
}

YK_SIM_TEST(the_end_of_a_breaker_breaks_the_lot_unless_it_was_removed)
{
    for (int kept = 0; kept <= 1; kept++) {
        struct duty duty = {.kept = kept};
        struct parked parked[PARKED];
        struct yoke_parking_lot_stats stats;
        struct yoke_nursery nursery;
        int next;

        yoke_parking_lot_init(&duty.lot);
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, serve, &duty), 0);
        park_all(&nursery, &duty.lot, parked, &next);
        yoke_scope_cancel(&duty.scope, NULL);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yoke_parking_lot_stats(&duty.lot, &stats);
        yk_check_int(stats.broken_by, kept ? 0 : duty.id);
        yk_check_int(next, kept ? 0 : PARKED);
        yk_check_int(yoke_parking_lot_unpark(&duty.lot, YOKE_ALL), kept ? PARKED : 0);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        for (int i = 0; i < PARKED; i++)
            yk_check_int(parked[i].rc, kept ? 0 : -EOWNERDEAD);
    }
    return 0;
}

static int break_at_end(void *arg)
{
    struct yoke_parking_lot_breaker *breaker = arg;

    yoke_parking_lot_add_breaker(breaker->lot, breaker);
    return yoke_checkpoint();
}

YK_SIM_TEST(several_breakers_are_counted_and_may_be_removed_in_any_order)
{
    struct yoke_parking_lot_breaker breakers[3], own[3];
    struct yoke_parking_lot_stats stats;
    struct yoke_parking_lot lot;
    struct yoke_nursery nursery;

    yoke_parking_lot_init(&lot);
    for (int i = 0; i < 3; i++)
        yoke_parking_lot_add_breaker(&lot, &own[i]); /* more than once by one task */
    yoke_parking_lot_remove_breaker(&own[1]);
    yoke_parking_lot_remove_breaker(&own[0]);
    yoke_parking_lot_remove_breaker(&own[2]);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++) {
        breakers[i].lot = &lot;
        yk_check_int(yoke_spawn(&nursery, break_at_end, &breakers[i]), 0);
    }
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_parking_lot_stats(&lot, &stats);
    yk_check_int(stats.breaks, 3);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tasks_are_unparked_in_the_order_in_which_they_parked),
        cmocka_unit_test(unparking_several_wakes_the_first_and_says_how_many),
        cmocka_unit_test(a_cancelled_wait_leaves_the_queue_as_if_it_had_never_entered),
        cmocka_unit_test(a_task_that_was_unparked_and_is_then_cancelled_keeps_its_wake_up),
        cmocka_unit_test(a_cancelled_task_does_not_park),
        cmocka_unit_test(reparked_tasks_wait_in_the_other_lot_in_the_same_order),
        cmocka_unit_test(reparking_into_the_same_lot_sends_tasks_to_its_end),
        cmocka_unit_test(breaking_a_lot_fails_those_in_it_and_those_who_come),
        cmocka_unit_test(the_end_of_a_breaker_breaks_the_lot_unless_it_was_removed),
        cmocka_unit_test(several_breakers_are_counted_and_may_be_removed_in_any_order),
    };

    return cmocka_run_group_tests_name("parking_lot", tests, NULL, NULL);
}
