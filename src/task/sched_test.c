/* SPDX-License-Identifier: MIT */
/* The scheduler: fairness, order, many tasks, waiting until all are blocked, posts from outside. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>
#include <yoke/channel.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "task/task.h"

struct progress {
    bool stop;
    int others;
};

static int count_turns(void *arg)
{
    struct progress *progress = arg;

    while (!progress->stop) {
        int rc = yoke_checkpoint();

        if (rc < 0)
            return rc;
        progress->others++;
    }
    return 0;
}

enum { LOOPS = 20 * YK_CHECKPOINT_BUDGET };

/* Runs one kind of call that completes at once, and sees that the other task got its turns. */
static int hog(int (*call)(void *arg), void *call_arg)
{
    struct progress progress = {.stop = false};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, count_turns, &progress), 0);
    for (int i = 0; i < LOOPS; i++)
        yk_check_int(call(call_arg), 0);
    yk_check(progress.others > 0);
    progress.stop = true;
    return yoke_nursery_close(&nursery, 0);
}

static int wait_for_set_event(void *arg)
{
    return yoke_event_wait(arg);
}

static int send_and_receive(void *arg)
{
    int item = 1;
    int rc = yoke_channel_send(arg, &item);

    if (rc == 0)
        rc = yoke_channel_receive(arg, &item);
    return rc == 1 ? 0 : rc;
}

static int send_only(void *arg)
{
    int item = 1;

    return yoke_channel_send(arg, &item);
}

static int receive_end(void *arg)
{
    int item;

    return yoke_channel_receive(arg, &item);
}

YK_SIM_TEST(a_loop_of_calls_that_complete_at_once_lets_others_run)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 1);
    struct yoke_channel *roomy = yoke_channel_new(sizeof(int), LOOPS);
    struct yoke_event event;

    yoke_event_init(&event);
    yoke_event_set(&event);
    yk_check_int(hog(send_only, roomy), 0);
    yoke_channel_unref(roomy);
    yk_check_int(hog(wait_for_set_event, &event), 0);
    yk_check_int(hog(send_and_receive, channel), 0);
    yoke_channel_close_send(channel);
    yk_check_int(hog(receive_end, channel), 0);
    yoke_channel_unref(channel);
    return 0;
}

struct turns {
    int own;
    const int *other;
};

static int take_turns(void *arg)
{
    struct turns *turns = arg;

    for (int i = 0; i < 100; i++) {
        turns->own++;
        yk_check_int(yoke_checkpoint(), 0);
        yk_check(*turns->other - turns->own <= 1 && turns->own - *turns->other <= 1);
    }
    return 0;
}

YK_SIM_TEST_IN_ORDER(tasks_that_only_pass_checkpoints_take_turns)
{
    struct turns first = {.own = 0}, second = {.own = 0};
    struct yoke_nursery nursery;

    first.other = &second.own;
    second.other = &first.own;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, take_turns, &first), 0);
    yk_check_int(yoke_spawn(&nursery, take_turns, &second), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(first.own, 100);
    yk_check_int(second.own, 100);
    return 0;
}

struct place {
    int *next;
    int place;
};

static int note_place(void *arg)
{
    struct place *place = arg;

    place->place = (*place->next)++;
    return 0;
}

enum { FEW = 10 };

static void run_few(int *places)
{
    struct place few[FEW];
    struct yoke_nursery nursery;
    int next = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < FEW; i++) {
        few[i] = (struct place){.next = &next};
        yk_check_int(yoke_spawn(&nursery, note_place, &few[i]), 0);
    }
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < FEW; i++)
        places[i] = few[i].place;
}

YK_SIM_TEST_IN_ORDER(tasks_first_run_in_the_order_of_their_spawn)
{
    int places[FEW];

    run_few(places);
    for (int i = 0; i < FEW; i++)
        yk_check_int(places[i], i);
    return 0;
}

static int order_of_few(void *arg)
{
    run_few(arg);
    return 0;
}

static void run_seed(uint64_t seed, int *places)
{
    struct yoke_host *host = yoke_host_sim_new(seed);

    assert_non_null(host);
    assert_int_equal(yoke_run(order_of_few, places,
                              &(struct yoke_run_opts){.host = host, .shuffle = true, .seed = seed}),
                     0);
    yoke_host_free(host);
}

static void a_seed_fixes_the_order_and_other_seeds_give_others(void **state)
{
    int first[FEW], again[FEW];
    int differing = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= YK_SIM_SEEDS; seed++) {
        run_seed(seed, first);
        run_seed(seed, again);
        assert_memory_equal(first, again, sizeof first);
        run_seed(seed + 1, again);
        differing += memcmp(first, again, sizeof first) != 0;
    }
    assert_true(differing > YK_SIM_SEEDS / 2);
}

static int sleep_and_count(void *arg)
{
    int rc = yoke_sleep(YOKE_MS(1) + (int64_t)(yk_sim_seed() % 7));

    if (rc == 0)
        rc = yoke_checkpoint();
    ++*(size_t *)arg;
    return rc;
}

enum { CROWD = 10000 };

static int crowd(void *arg)
{
    struct yoke_nursery nursery;
    size_t done = 0;

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < CROWD; i++)
        yk_check_int(yoke_spawn(&nursery, sleep_and_count, &done), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(done, 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(done, CROWD);
    return 0;
}

static void ten_thousand_tasks_sleep_wake_and_end(void **state)
{
    (void)state;
    yk_sim_run(crowd, NULL, &(struct yk_sim){.seeds = 2});
}

static int count_cancelled(void *arg)
{
    int rc = yoke_sleep_forever();

    *(size_t *)arg += rc == YOKE_CANCELLED;
    return rc;
}

static int cancel_crowd(void *arg)
{
    struct yoke_nursery nursery;
    size_t cancelled = 0;

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < CROWD; i++)
        yk_check_int(yoke_spawn(&nursery, count_cancelled, &cancelled), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "all of you");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(cancelled, CROWD);
    return 0;
}

static void ten_thousand_tasks_are_cancelled_at_once(void **state)
{
    (void)state;
    yk_sim_run(cancel_crowd, NULL, &(struct yk_sim){.seeds = 2});
}

YK_SIM_TEST(stacks_are_used_again)
{
    struct yoke_nursery nursery;
    int next = 0;
    struct place place = {.next = &next};

    for (int i = 0; i < 2000; i++) {
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, note_place, &place), 0);
        yk_check_int(yoke_spawn(&nursery, note_place, &place), 0);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    }
    yk_check_int(next, 4000);
    yk_check(yk_runtime_current->stacks.free_n <= 2); /* there never were more */
    return 0;
}

static int dig(int depth)
{
    volatile char frame[200];

    frame[0] = (char)depth;
    frame[199] = frame[0];
    if (depth == 0)
        return yoke_checkpoint();
    return dig(depth - 1) + frame[199] - frame[0];
}

static int dig_deep(void *arg)
{
    (void)arg;
    return dig(100);
}

YK_SIM_TEST(tasks_on_deep_stacks_do_not_disturb_each_other_nor_those_who_get_the_stacks_next)
{
    struct yoke_nursery nursery;
    int places[FEW];

    for (int round = 0; round < 3; round++) {
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        for (int i = 0; i < FEW; i++)
            yk_check_int(yoke_spawn(&nursery, dig_deep, NULL), 0);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        run_few(places);
    }
    return 0;
}

struct stage {
    struct yoke_event *wait_for;
    struct yoke_event *then_set;
};

static int pass_on(void *arg)
{
    struct stage *stage = arg;
    int rc = yoke_event_wait(stage->wait_for);

    if (rc == 0)
        rc = yoke_checkpoint();
    if (rc == 0)
        yoke_event_set(stage->then_set);
    return rc;
}

YK_SIM_TEST(waiting_until_all_are_blocked_waits_for_chains_but_not_for_timers)
{
    enum { STAGES = 20 };
    struct yoke_event events[STAGES + 1];
    struct stage stages[STAGES];
    struct yoke_nursery nursery;
    int64_t start = yoke_now();
    size_t slept = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i <= STAGES; i++)
        yoke_event_init(&events[i]);
    for (int i = 0; i < STAGES; i++) {
        stages[i] = (struct stage){&events[i], &events[i + 1]};
        yk_check_int(yoke_spawn(&nursery, pass_on, &stages[i]), 0);
    }
    yk_check_int(yoke_spawn(&nursery, sleep_and_count, &slept), 0);
    yoke_event_set(&events[0]);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(yoke_event_is_set(&events[STAGES]));
    yk_check_int(slept, 0);
    yk_check_int(yoke_now(), start);
    return yoke_nursery_close(&nursery, 0);
}

static int pass_checkpoints(void *arg)
{
    bool *done = arg;

    for (int i = 0; i < 10 * YK_SWITCHES_PER_TURN; i++)
        yk_check_int(yoke_checkpoint(), 0);
    *done = true;
    return 0;
}

YK_SIM_TEST(waiting_until_all_are_blocked_outlasts_a_task_that_runs_for_many_turns)
{
    struct yoke_nursery nursery;
    bool done = false;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, pass_checkpoints, &done), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(done);
    return yoke_nursery_close(&nursery, 0);
}

static int cancel_given_scope(void *arg)
{
    yoke_scope_cancel(arg, NULL);
    return 0;
}

YK_SIM_TEST(a_checkpoint_notices_a_cancellation_that_came_while_others_ran)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int turns = 0;
    int rc = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, cancel_given_scope, &scope), 0);
    while (rc == 0) {
        yk_check(!yoke_scope_cancel_called(&scope)); /* else the checkpoint just passed missed it */
        yk_check(turns++ < 1000);
        rc = yoke_checkpoint();
    }
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return yoke_nursery_close(&nursery, 0);
}

static int check_local(void *arg)
{
    struct yk_task *task = yk_task_self("test");

    yk_check(task->locals[YK_LOCAL_CONTEXT] == arg);
    task->locals[YK_LOCAL_CONTEXT] = NULL; /* its own copy */
    return 0;
}

YK_SIM_TEST(a_task_inherits_the_locals_of_the_one_that_spawns_it)
{
    struct yk_task *task = yk_task_self("test");
    struct yoke_nursery nursery;

    task->locals[YK_LOCAL_CONTEXT] = &nursery;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, check_local, &nursery), 0);
    yk_check_int(yoke_spawn(&nursery, check_local, &nursery), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(task->locals[YK_LOCAL_CONTEXT] == &nursery);
    task->locals[YK_LOCAL_CONTEXT] = NULL;
    return 0;
}

static int wait_blocked(void *arg)
{
    int rc = yoke_wait_all_tasks_blocked();

    ++*(int *)arg;
    return rc;
}

YK_SIM_TEST(several_may_wait_until_all_are_blocked)
{
    struct yoke_nursery nursery;
    int woken = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 5; i++)
        yk_check_int(yoke_spawn(&nursery, wait_blocked, &woken), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(woken, 5);
    return 0;
}

struct letter {
    struct yk_post post;
    struct yoke_runtime *runtime;
    struct yk_task *task;
    int n;
};

static void deliver(struct yk_post *post)
{
    struct letter *letter = yk_container_of(post, struct letter, post);

    letter->runtime->external--;
    yk_wake(letter->task, letter->n);
}

static void *post_from_thread(void *arg)
{
    struct letter *letter = arg;

    yk_post(letter->runtime, &letter->post);
    return NULL;
}

static int wait_for_letter(void *arg)
{
    struct yk_task *task = yk_task_self("test");
    struct letter letter = {.post.run = deliver, .runtime = task->runtime, .task = task};
    pthread_t thread;

    letter.n = *(int *)arg;
    letter.runtime->external++;
    yk_check_int(pthread_create(&thread, NULL, post_from_thread, &letter), 0);
    yk_check_int(yk_park(task, "letter", NULL, NULL), letter.n);
    yk_check_int(pthread_join(thread, NULL), 0);
    return 0;
}

YK_SIM_TEST(a_post_from_another_thread_wakes_the_runtime)
{
    struct yoke_nursery nursery;
    int numbers[8];

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 8; i++) {
        numbers[i] = i + 1;
        yk_check_int(yoke_spawn(&nursery, wait_for_letter, &numbers[i]), 0);
    }
    return yoke_nursery_close(&nursery, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_of_calls_that_complete_at_once_lets_others_run),
        cmocka_unit_test(tasks_that_only_pass_checkpoints_take_turns),
        cmocka_unit_test(tasks_first_run_in_the_order_of_their_spawn),
        cmocka_unit_test(a_seed_fixes_the_order_and_other_seeds_give_others),
        cmocka_unit_test(ten_thousand_tasks_sleep_wake_and_end),
        cmocka_unit_test(ten_thousand_tasks_are_cancelled_at_once),
        cmocka_unit_test(stacks_are_used_again),
        cmocka_unit_test(
            tasks_on_deep_stacks_do_not_disturb_each_other_nor_those_who_get_the_stacks_next),
        cmocka_unit_test(waiting_until_all_are_blocked_waits_for_chains_but_not_for_timers),
        cmocka_unit_test(waiting_until_all_are_blocked_outlasts_a_task_that_runs_for_many_turns),
        cmocka_unit_test(a_checkpoint_notices_a_cancellation_that_came_while_others_ran),
        cmocka_unit_test(a_task_inherits_the_locals_of_the_one_that_spawns_it),
        cmocka_unit_test(several_may_wait_until_all_are_blocked),
        cmocka_unit_test(a_post_from_another_thread_wakes_the_runtime),
    };

    return cmocka_run_group_tests_name("scheduler", tests, NULL, NULL);
}
