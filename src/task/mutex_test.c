/* SPDX-License-Identifier: MIT */
/* Mutexes and conditions: who holds it, in which order, cancelled waits, and being forgotten. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/condition.h>
#include <yoke/mutex.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

enum { TASKS = 5, ROUNDS = 10 };

struct locker {
    struct yoke_mutex *mutex;
    struct yoke_condition *condition; /* waits for it while it has the mutex, unless NULL */
    struct yoke_scope scope;
    int *next; /* counts those who got the mutex in the end */
    int place;
    int rc;
};

static int lock_once(void *arg)
{
    struct locker *locker = arg;
    int rc = yoke_scope_open(&locker->scope, NULL);

    if (rc == 0)
        rc = yoke_mutex_lock(locker->mutex);
    locker->rc = rc;
    if (rc == 0) {
        yk_check_int(yoke_mutex_owner(locker->mutex), yoke_task_id());
        if (locker->condition != NULL)
            locker->rc = rc = yoke_condition_wait(locker->condition);
        locker->place = (*locker->next)++;
        yoke_mutex_unlock(locker->mutex);
    }
    if (rc == -EOWNERDEAD) {
        yk_check_caught("yoke.Broken", NULL);
        rc = 0;
    }
    return yoke_scope_close(&locker->scope, rc);
}

static void spawn_lockers(struct yoke_nursery *nursery, struct yoke_mutex *mutex,
                          struct yoke_condition *condition, struct locker *lockers, int *next)
{
    *next = 0;
    for (int i = 0; i < TASKS; i++) {
        lockers[i] = (struct locker){
            .mutex = mutex, .condition = condition, .next = next, .place = -1, .rc = 1};
        yk_check_int(yoke_spawn(nursery, lock_once, &lockers[i]), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    }
    yk_check_int(*next, 0);
}

YK_SIM_TEST(a_mutex_is_locked_once_and_knows_its_owner)
{
    struct yoke_mutex mutex;

    yoke_mutex_init(&mutex);
    yk_check_int(yoke_mutex_owner(&mutex), 0);
    yk_check_int(yoke_mutex_lock(&mutex), 0);
    yk_check_int(yoke_mutex_owner(&mutex), yoke_task_id());
    yk_check_int(yoke_mutex_lock(&mutex), -EDEADLK);
    yk_check_caught("yoke.Mutex", NULL);
    yk_check_int(yoke_mutex_try_lock(&mutex), -EDEADLK);
    yk_check_caught("yoke.Mutex", NULL);
    yoke_mutex_unlock(&mutex);
    yk_check_int(yoke_mutex_owner(&mutex), 0);
    yk_check_int(yoke_mutex_try_lock(&mutex), 1);
    yoke_mutex_unlock(&mutex);
    yoke_mutex_fini(&mutex);
    return 0;
}

YK_SIM_TEST(a_mutex_is_handed_over_in_order_and_nobody_comes_between)
{
    struct locker lockers[TASKS];
    struct yoke_nursery nursery;
    struct yoke_mutex mutex;
    int next;

    yoke_mutex_init(&mutex);
    yk_check_int(yoke_mutex_lock(&mutex), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_lockers(&nursery, &mutex, NULL, lockers, &next);
    yk_check_int(yoke_mutex_waiting(&mutex), TASKS);
    yoke_mutex_unlock(&mutex);
    yk_check_int(yoke_mutex_waiting(&mutex), TASKS - 1);
    yk_check(yoke_mutex_owner(&mutex) != 0); /* the first has it already, though it did not run */
    yk_check_int(yoke_mutex_try_lock(&mutex), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < TASKS; i++)
        yk_check_int(lockers[i].place, i);
    yk_check_int(yoke_mutex_owner(&mutex), 0);
    return 0;
}

YK_SIM_TEST(a_cancelled_lock_leaves_the_queue_and_a_handed_over_one_is_kept)
{
    struct locker lockers[TASKS];
    struct yoke_nursery nursery;
    struct yoke_mutex mutex;
    int next;

    yoke_mutex_init(&mutex);
    yk_check_int(yoke_mutex_lock(&mutex), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_lockers(&nursery, &mutex, NULL, lockers, &next);
    yoke_scope_cancel(&lockers[0].scope, NULL);
    yk_check_int(yoke_mutex_waiting(&mutex), TASKS - 1);
    yoke_mutex_unlock(&mutex);                  /* so the second one has it */
    yoke_scope_cancel(&lockers[1].scope, NULL); /* too late */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(lockers[0].rc, YOKE_CANCELLED);
    for (int i = 1; i < TASKS; i++) {
        yk_check_int(lockers[i].rc, 0);
        yk_check_int(lockers[i].place, i - 1);
    }
    yk_check_int(yoke_mutex_owner(&mutex), 0);
    return 0;
}

struct turns {
    struct yoke_mutex mutex;
    int record[TASKS * ROUNDS];
    int n;
    bool inside;
};

struct turn_taker {
    struct turns *turns;
    int number;
};

static int take_turns(void *arg)
{
    struct turn_taker *taker = arg;
    struct turns *turns = taker->turns;
    int rc = 0;

    for (int round = 0; rc == 0 && round < ROUNDS; round++) {
        rc = yoke_mutex_lock(&turns->mutex);
        if (rc < 0)
            break;
        yk_check(!turns->inside);
        turns->inside = true;
        turns->record[turns->n++] = taker->number;
        rc = yoke_checkpoint();
        yk_check(turns->inside);
        turns->inside = false;
        yoke_mutex_unlock(&turns->mutex);
    }
    return rc;
}

YK_SIM_TEST(tasks_that_want_it_again_and_again_take_turns)
{
    struct turns turns = {.n = 0};
    struct turn_taker takers[TASKS];
    struct yoke_nursery nursery;

    yoke_mutex_init(&turns.mutex);
    yk_check_int(yoke_mutex_lock(&turns.mutex), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < TASKS; i++) {
        takers[i] = (struct turn_taker){&turns, i};
        yk_check_int(yoke_spawn(&nursery, take_turns, &takers[i]), 0);
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_mutex_unlock(&turns.mutex);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(turns.n, TASKS * ROUNDS);
    for (int i = TASKS; i < turns.n; i++) /* in every round as in the first */
        yk_check_int(turns.record[i], turns.record[i - TASKS]);
    return 0;
}

static int forget(void *arg)
{
    int rc = yoke_mutex_lock((struct yoke_mutex *)arg);

    return rc < 0 ? rc : yoke_sleep(YOKE_MS(1));
}

static int forget_and_fail(void *arg)
{
    int rc = yoke_mutex_lock((struct yoke_mutex *)arg);

    return rc < 0 ? rc : yoke_raise("test.Failed", EIO, "before unlocking");
}

YK_SIM_TEST(a_task_that_ends_holding_a_mutex_fails_and_breaks_it)
{
    struct locker lockers[TASKS];
    struct yoke_nursery nursery, inner;
    const struct yoke_error *context;
    struct yoke_error *error;
    struct yoke_mutex mutex;
    int next;

    yoke_mutex_init(&mutex);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_nursery_open(&inner, NULL), 0);
    yk_check_int(yoke_spawn(&inner, forget, &mutex), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < TASKS; i++) {
        lockers[i] = (struct locker){.mutex = &mutex, .next = &next};
        yk_check_int(yoke_spawn(&nursery, lock_once, &lockers[i]), 0);
    }
    yk_check_int(yoke_nursery_close(&inner, 0), -EOWNERDEAD);
    yk_check_caught("yoke.Forgotten", NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < TASKS; i++)
        yk_check_int(lockers[i].rc, -EOWNERDEAD);
    yk_check_int(yoke_mutex_owner(&mutex), 0);
    yk_check_int(yoke_mutex_try_lock(&mutex), -EOWNERDEAD);
    yk_check_caught("yoke.Broken", NULL);
    yoke_mutex_unlock(&mutex); /* nobody's: nothing */
    yoke_mutex_fini(&mutex);

    yoke_mutex_init(&mutex); /* as good as new */
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, forget_and_fail, &mutex), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EOWNERDEAD);
    error = yoke_catch();
    context = yoke_error_context(error);
    yk_check_text(yoke_error_type(error), "yoke.Forgotten");
    yk_check(context != NULL && strcmp(yoke_error_type(context), "test.Failed") == 0);
    yoke_error_unref(error);
    return 0;
}

YK_SIM_TEST(the_mutex_of_a_failing_handover_names_the_last_owner)
{
    struct yoke_mutex mutex;
    struct yoke_nursery nursery;
    char message[64];

    yoke_mutex_init(&mutex);
    yk_check_int(yoke_mutex_lock(&mutex), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn_with(&nursery, forget, &mutex, &(struct yoke_task_opts){"heir"}), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_mutex_unlock(&mutex); /* handed over, and then forgotten by the heir */
    yk_check_int(yoke_nursery_close(&nursery, 0), -EOWNERDEAD);
    snprintf(message, sizeof message, "task heir ended without unlocking");
    yk_check(yoke_in_flight() != NULL &&
             strncmp(yoke_error_message(yoke_in_flight()), message, strlen(message)) == 0);
    yoke_clear();
    return 0;
}

/* All wait for one condition. */
struct crowd {
    struct locker lockers[TASKS];
    struct yoke_condition condition;
    struct yoke_nursery nursery;
    struct yoke_mutex mutex;
    int next;
};

static void crowd_open(struct crowd *crowd)
{
    yoke_mutex_init(&crowd->mutex);
    yoke_condition_init(&crowd->condition, &crowd->mutex);
    yk_check_int(yoke_nursery_open(&crowd->nursery, NULL), 0);
    spawn_lockers(&crowd->nursery, &crowd->mutex, &crowd->condition, crowd->lockers, &crowd->next);
}

YK_SIM_TEST(notified_tasks_come_in_order_and_each_holds_the_mutex)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yk_check_int(yoke_condition_waiting(&crowd.condition), TASKS);
    yk_check_int(yoke_mutex_owner(&crowd.mutex), 0);
    yk_check_int(yoke_mutex_lock(&crowd.mutex), 0);
    yk_check_int(yoke_condition_notify(&crowd.condition, 1), 1);
    yk_check_int(yoke_condition_notify(&crowd.condition, 2), 2);
    yk_check_int(yoke_condition_waiting(&crowd.condition), TASKS - 3);
    yk_check_int(yoke_mutex_waiting(&crowd.mutex), 3);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.next, 0); /* the crowd.mutex is held: nobody has come yet */
    yoke_mutex_unlock(&crowd.mutex);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.next, 3);
    yk_check_int(yoke_mutex_lock(&crowd.mutex), 0);
    yk_check_int(yoke_condition_notify(&crowd.condition, YOKE_ALL), TASKS - 3);
    yk_check_int(yoke_condition_notify(&crowd.condition, YOKE_ALL), 0);
    yoke_mutex_unlock(&crowd.mutex);
    yk_check_int(yoke_nursery_close(&crowd.nursery, 0), 0);
    for (int i = 0; i < TASKS; i++) {
        yk_check_int(crowd.lockers[i].rc, 0);
        yk_check_int(crowd.lockers[i].place, i);
    }
    yoke_condition_fini(&crowd.condition);
    return 0;
}

YK_SIM_TEST(a_wait_that_is_cancelled_holds_the_mutex_again)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yk_check_int(yoke_mutex_lock(&crowd.mutex), 0);
    yoke_scope_cancel(&crowd.lockers[0].scope, NULL);
    yk_check_int(yoke_condition_waiting(&crowd.condition), TASKS - 1);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.next, 0); /* it waits for the crowd.mutex, cancelled as it is */
    yk_check_int(yoke_mutex_waiting(&crowd.mutex), 1);
    yoke_mutex_unlock(&crowd.mutex);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.lockers[0].place, 0); /* and unlocked it, which it could not have without */
    yk_check_int(crowd.lockers[0].rc, YOKE_CANCELLED);
    yk_check_int(yoke_mutex_lock(&crowd.mutex), 0);
    yk_check_int(yoke_condition_notify(&crowd.condition, YOKE_ALL), TASKS - 1);
    yoke_mutex_unlock(&crowd.mutex);
    return yoke_nursery_close(&crowd.nursery, 0);
}

YK_SIM_TEST(no_notification_is_lost_to_a_task_that_is_cancelled)
{
    struct crowd crowd;

    crowd_open(&crowd);
    yk_check_int(yoke_mutex_lock(&crowd.mutex), 0);
    yoke_scope_cancel(&crowd.lockers[0].scope, NULL); /* before: the crowd.next one is notified */
    yk_check_int(yoke_condition_notify(&crowd.condition, 1), 1);
    yoke_scope_cancel(&crowd.lockers[1].scope, NULL); /* after: it is notified all the same */
    yoke_mutex_unlock(&crowd.mutex);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(crowd.lockers[0].rc, YOKE_CANCELLED);
    yk_check_int(crowd.lockers[1].rc, 0);
    yk_check_int(crowd.next, 2);
    yk_check_int(yoke_mutex_lock(&crowd.mutex), 0);
    yk_check_int(yoke_condition_notify(&crowd.condition, YOKE_ALL), TASKS - 2);
    yoke_mutex_unlock(&crowd.mutex);
    return yoke_nursery_close(&crowd.nursery, 0);
}

YK_SIM_TEST(a_cancelled_wait_for_a_condition_whose_mutex_is_broken_fails)
{
    struct locker locker = {.rc = 1};
    struct yoke_condition condition;
    struct yoke_nursery nursery, inner;
    struct yoke_mutex mutex;
    int next = 0;

    yoke_mutex_init(&mutex);
    yoke_condition_init(&condition, &mutex);
    locker = (struct locker){.mutex = &mutex, .condition = &condition, .next = &next};
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, lock_once, &locker), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_nursery_open(&inner, NULL), 0);
    yk_check_int(yoke_spawn(&inner, forget, &mutex), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&locker.scope, NULL); /* now it waits for the mutex, which will break */
    yk_check_int(yoke_nursery_close(&inner, 0), -EOWNERDEAD);
    yk_check_caught("yoke.Forgotten", NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(locker.rc, -EOWNERDEAD);
    return 0;
}

YK_SIM_TEST(waits_for_a_condition_whose_mutex_breaks_fail)
{
    struct locker lockers[TASKS];
    struct yoke_condition condition;
    struct yoke_nursery nursery, inner;
    struct yoke_mutex mutex;
    int next;

    yoke_mutex_init(&mutex);
    yoke_condition_init(&condition, &mutex);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_lockers(&nursery, &mutex, &condition, lockers, &next);
    yk_check_int(yoke_nursery_open(&inner, NULL), 0);
    yk_check_int(yoke_mutex_lock(&mutex), 0);
    yk_check_int(yoke_spawn(&inner, forget, &mutex), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_condition_notify(&condition, 1), 1); /* behind the one that forgets it */
    yoke_mutex_unlock(&mutex);
    yk_check_int(yoke_nursery_close(&inner, 0), -EOWNERDEAD);
    yk_check_caught("yoke.Forgotten", NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0); /* those never notified are told as well */
    for (int i = 0; i < TASKS; i++)
        yk_check_int(lockers[i].rc, -EOWNERDEAD);
    yk_check_int(yoke_condition_waiting(&condition), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mutex_is_locked_once_and_knows_its_owner),
        cmocka_unit_test(a_mutex_is_handed_over_in_order_and_nobody_comes_between),
        cmocka_unit_test(a_cancelled_lock_leaves_the_queue_and_a_handed_over_one_is_kept),
        cmocka_unit_test(tasks_that_want_it_again_and_again_take_turns),
        cmocka_unit_test(a_task_that_ends_holding_a_mutex_fails_and_breaks_it),
        cmocka_unit_test(the_mutex_of_a_failing_handover_names_the_last_owner),
        cmocka_unit_test(notified_tasks_come_in_order_and_each_holds_the_mutex),
        cmocka_unit_test(a_wait_that_is_cancelled_holds_the_mutex_again),
        cmocka_unit_test(no_notification_is_lost_to_a_task_that_is_cancelled),
        cmocka_unit_test(a_cancelled_wait_for_a_condition_whose_mutex_is_broken_fails),
        cmocka_unit_test(waits_for_a_condition_whose_mutex_breaks_fail),
    };

    return cmocka_run_group_tests_name("mutex", tests, NULL, NULL);
}
