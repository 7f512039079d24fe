/* SPDX-License-Identifier: MIT */
/* Semaphores and limiters: how many at once, in which order, and that no unit is ever lost. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <yoke/event.h>
#include <yoke/limiter.h>
#include <yoke/nursery.h>
#include <yoke/semaphore.h>
#include <yoke/testing.h>

enum { TASKS = 5 };

struct taker {
    struct yoke_semaphore *semaphore; /* one of both */
    struct yoke_limiter *limiter;
    struct yoke_event *give_back;
    struct yoke_scope scope;
    struct yoke_token token;
    const void *borrower;
    int *next;
    int place; /* -1: has not got it */
    int rc;
};

static int take(void *arg)
{
    struct taker *taker = arg;
    int rc = yoke_scope_open(&taker->scope, NULL);

    if (rc == 0 && taker->semaphore != NULL)
        rc = yoke_semaphore_acquire(taker->semaphore);
    else if (rc == 0)
        rc = yoke_limiter_acquire(taker->limiter, &taker->token, taker->borrower);
    taker->rc = rc;
    if (rc == 0)
        taker->place = (*taker->next)++;
    if (rc == 0 && taker->limiter != NULL) {
        rc = yoke_event_wait(taker->give_back);
        yoke_limiter_release(&taker->token);
    }
    return yoke_scope_close(&taker->scope, rc);
}

/* Spawns them one after the other, so that they come in order. */
static void spawn_takers(struct yoke_nursery *nursery, const struct taker *like,
                         struct taker *takers)
{
    for (int i = 0; i < TASKS; i++) {
        takers[i] = *like;
        takers[i].place = -1;
        takers[i].rc = 1;
        yk_check_int(yoke_spawn(nursery, take, &takers[i]), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    }
}

YK_SIM_TEST(a_semaphore_gives_as_many_units_as_it_has)
{
    struct yoke_semaphore semaphore;

    yoke_semaphore_init(&semaphore, 1, 0);
    yk_check_int(yoke_semaphore_value(&semaphore), 1);
    yoke_semaphore_release(&semaphore); /* more than it had: it has no maximum */
    yk_check_int(yoke_semaphore_value(&semaphore), 2);
    yk_check_int(yoke_semaphore_try_acquire(&semaphore), 1);
    yk_check_int(yoke_semaphore_acquire(&semaphore), 0);
    yk_check_int(yoke_semaphore_value(&semaphore), 0);
    yk_check_int(yoke_semaphore_try_acquire(&semaphore), 0);
    yoke_semaphore_release(&semaphore);
    yk_check_int(yoke_semaphore_value(&semaphore), 1);
    yoke_semaphore_fini(&semaphore);
    return 0;
}

YK_SIM_TEST(released_units_go_to_those_who_wait_in_order)
{
    struct yoke_semaphore semaphore;
    struct taker takers[TASKS];
    struct yoke_nursery nursery;
    int next = 0;

    yoke_semaphore_init(&semaphore, 0, 1);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_takers(&nursery, &(struct taker){.semaphore = &semaphore, .next = &next}, takers);
    yk_check_int(yoke_semaphore_waiting(&semaphore), TASKS);
    for (int i = 0; i < TASKS; i++) {
        yoke_semaphore_release(&semaphore);
        yk_check_int(yoke_semaphore_value(&semaphore), 0); /* it never was anybody's to take */
        yk_check_int(yoke_semaphore_try_acquire(&semaphore), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(takers[i].place, i);
    }
    yoke_semaphore_release(&semaphore); /* one may wait in the semaphore itself */
    yk_check_int(yoke_semaphore_value(&semaphore), 1);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(a_cancelled_wait_for_a_unit_takes_none_and_a_given_one_is_kept)
{
    struct yoke_semaphore semaphore;
    struct taker takers[TASKS];
    struct yoke_nursery nursery;
    int next = 0;

    yoke_semaphore_init(&semaphore, 0, 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_takers(&nursery, &(struct taker){.semaphore = &semaphore, .next = &next}, takers);
    yoke_scope_cancel(&takers[0].scope, NULL);
    yoke_semaphore_release(&semaphore);
    yoke_scope_cancel(&takers[1].scope, NULL); /* it has the unit already */
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(takers[0].rc, YOKE_CANCELLED);
    yk_check_int(takers[1].rc, 0);
    yk_check_int(yoke_semaphore_waiting(&semaphore), TASKS - 2);
    for (int i = 2; i < TASKS; i++)
        yoke_scope_cancel(&takers[i].scope, NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_semaphore_release(&semaphore);
    yk_check_int(yoke_semaphore_value(&semaphore), 1);
    yoke_semaphore_fini(&semaphore);
    return 0;
}

static void check_stats(const struct yoke_limiter *limiter, size_t total, size_t borrowed,
                        size_t waiting)
{
    struct yoke_limiter_stats stats;

    yoke_limiter_stats(limiter, &stats);
    yk_check_int(stats.total, total);
    yk_check_int(stats.borrowed, borrowed);
    yk_check_int(stats.available, total > borrowed ? total - borrowed : 0);
    yk_check_int(stats.waiting, waiting);
}

YK_SIM_TEST(a_borrower_has_one_token_and_may_be_anything_with_an_address)
{
    struct yoke_token own, other, again;
    struct yoke_limiter limiter;
    int somebody, somebody_else;

    yoke_limiter_init(&limiter, 2);
    check_stats(&limiter, 2, 0, 0);
    yk_check_int(yoke_limiter_acquire(&limiter, &own, NULL), 0);
    yk_check(yoke_limiter_is_borrower(&limiter, NULL));
    yk_check_int(yoke_limiter_acquire(&limiter, &again, NULL), -EDEADLK);
    yk_check_caught("yoke.Limiter", NULL);
    check_stats(&limiter, 2, 1, 0);
    yk_check_int(yoke_limiter_try_acquire(&limiter, &other, &somebody), 1);
    yk_check_int(yoke_limiter_try_acquire(&limiter, &again, &somebody), -EDEADLK);
    yk_check_caught("yoke.Limiter", NULL);
    check_stats(&limiter, 2, 2, 0);
    yk_check_int(yoke_limiter_try_acquire(&limiter, &again, &somebody_else), 0);
    yk_check(yoke_limiter_is_borrower(&limiter, &somebody));
    yk_check(!yoke_limiter_is_borrower(&limiter, &somebody_else));
    yoke_limiter_release(&other);
    yk_check(!yoke_limiter_is_borrower(&limiter, &somebody));
    yoke_limiter_release(&own);
    yk_check(!yoke_limiter_is_borrower(&limiter, NULL));
    check_stats(&limiter, 2, 0, 0);
    yoke_limiter_fini(&limiter);
    return 0;
}

static int give_back(void *arg)
{
    yoke_limiter_release((struct yoke_token *)arg);
    return 0;
}

YK_SIM_TEST(a_token_borrowed_for_something_else_may_be_given_back_by_any_task)
{
    struct yoke_limiter limiter;
    struct yoke_nursery nursery;
    struct yoke_token token;
    int connection;

    yoke_limiter_init(&limiter, YOKE_ALL);
    yk_check_int(yoke_limiter_acquire(&limiter, &token, &connection), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, give_back, &token), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    check_stats(&limiter, YOKE_ALL, 0, 0);
    return 0;
}

YK_SIM_TEST(tokens_are_lent_in_order_and_the_total_may_change_meanwhile)
{
    struct taker takers[TASKS];
    struct yoke_limiter limiter;
    struct yoke_nursery nursery;
    struct yoke_event give_back_now;
    struct yoke_token token;
    int next = 0;

    yoke_limiter_init(&limiter, 0); /* nobody gets any */
    yoke_event_init(&give_back_now);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_takers(&nursery,
                 &(struct taker){.limiter = &limiter, .give_back = &give_back_now, .next = &next},
                 takers);
    check_stats(&limiter, 0, 0, TASKS);
    yoke_limiter_set_total(&limiter, 2);
    check_stats(&limiter, 2, 2, TASKS - 2); /* before they run */
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(takers[0].place >= 0 && takers[1].place >= 0 && takers[2].place < 0);
    yoke_limiter_set_total(&limiter, 1); /* fewer than are borrowed */
    check_stats(&limiter, 1, 2, TASKS - 2);
    yk_check_int(yoke_limiter_try_acquire(&limiter, &token, NULL), 0);
    yoke_scope_cancel(&takers[0].scope, NULL); /* gives it back: still none for the others */
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    check_stats(&limiter, 1, 1, TASKS - 2);
    yk_check_int(takers[2].place, -1);
    yoke_scope_cancel(&takers[2].scope, NULL); /* waits no longer */
    check_stats(&limiter, 1, 1, TASKS - 3);
    yoke_scope_cancel(&takers[1].scope, NULL);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(takers[2].rc, YOKE_CANCELLED);
    yk_check_int(takers[3].place, 2);
    check_stats(&limiter, 1, 1, TASKS - 4);
    yoke_event_set(&give_back_now);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(takers[4].place, 3);
    check_stats(&limiter, 1, 0, 0);
    return 0;
}

YK_SIM_TEST(a_borrower_that_waits_already_does_not_wait_twice)
{
    struct yoke_event give_back_now;
    struct yoke_limiter limiter;
    struct yoke_nursery nursery;
    struct yoke_token token;
    struct taker taker = {.limiter = &limiter, .give_back = &give_back_now};
    int connection, next = 0;

    taker.borrower = &connection;
    taker.next = &next;
    yoke_limiter_init(&limiter, 0);
    yoke_event_init(&give_back_now);
    yoke_event_set(&give_back_now);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, take, &taker), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_limiter_acquire(&limiter, &token, &connection), -EDEADLK);
    yk_check_caught("yoke.Limiter", NULL);
    yoke_limiter_set_total(&limiter, 1);
    return yoke_nursery_close(&nursery, 0);
}

struct forgetful {
    struct yoke_limiter limiter;
    struct yoke_token token;
};

static int forget(void *arg)
{
    struct forgetful *forgetful = arg;

    return yoke_limiter_acquire(&forgetful->limiter, &forgetful->token, NULL);
}

YK_SIM_TEST(a_task_that_forgets_its_token_fails_and_the_token_comes_back)
{
    struct forgetful forgetful;
    struct yoke_nursery nursery;

    yoke_limiter_init(&forgetful.limiter, 1);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, forget, &forgetful), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EOWNERDEAD);
    yk_check_caught("yoke.Forgotten", NULL);
    check_stats(&forgetful.limiter, 1, 0, 0);
    yoke_limiter_fini(&forgetful.limiter);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_semaphore_gives_as_many_units_as_it_has),
        cmocka_unit_test(released_units_go_to_those_who_wait_in_order),
        cmocka_unit_test(a_cancelled_wait_for_a_unit_takes_none_and_a_given_one_is_kept),
        cmocka_unit_test(a_borrower_has_one_token_and_may_be_anything_with_an_address),
        cmocka_unit_test(a_token_borrowed_for_something_else_may_be_given_back_by_any_task),
        cmocka_unit_test(tokens_are_lent_in_order_and_the_total_may_change_meanwhile),
        cmocka_unit_test(a_borrower_that_waits_already_does_not_wait_twice),
        cmocka_unit_test(a_task_that_forgets_its_token_fails_and_the_token_comes_back),
    };

    return cmocka_run_group_tests_name("limiter", tests, NULL, NULL);
}
