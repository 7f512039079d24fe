/* SPDX-License-Identifier: MIT */
/* Select: exactly one case happens, whoever makes it happen, and the others leave no trace. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/nursery.h>
#include <yoke/parking_lot.h>
#include <yoke/select.h>
#include <yoke/testing.h>

#include "base/memory.h"

enum { CASES_MAX = 8 };

struct selector {
    struct yoke_select_case cases[CASES_MAX];
    size_t n;
    struct yoke_scope scope;
    int chosen; /* -1: none yet */
    int rc;
};

static int select_once(void *arg)
{
    struct selector *selector = arg;
    int rc = yoke_scope_open(&selector->scope, NULL);

    if (rc == 0)
        rc = yoke_select(selector->cases, selector->n, NULL);
    selector->rc = rc;
    if (rc >= 0)
        selector->chosen = rc;
    return yoke_scope_close(&selector->scope, rc < 0 ? rc : 0);
}

static void start(struct yoke_nursery *nursery, struct selector *selector)
{
    selector->chosen = -1;
    yk_check_int(yoke_spawn(nursery, select_once, selector), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(selector->chosen, -1);
}

/* Everything that can be waited for, and nothing of it there yet. */
struct world {
    struct yoke_channel *in, *out;
    struct yoke_broadcast *news;
    struct yoke_subscription subscription;
    struct yoke_event event;
    struct yoke_semaphore semaphore;
    struct yoke_mutex mutex;
    struct yoke_limiter limiter;
    struct yoke_token theirs, token;
    int received, heard, sent;
    uint64_t lost;
    struct yoke_nursery nursery;
    struct selector selector;
};
enum { RECEIVE, SEND, HEAR, EVENT, ACQUIRE, BORROW, LOCK, TIMEOUT, KINDS };

static void world_open(struct world *world)
{
    memset(world, 0, sizeof *world);
    world->in = yoke_channel_new(sizeof(int), 0);
    world->out = yoke_channel_new(sizeof(int), 0);
    world->news = yoke_broadcast_new(sizeof(int), 2, NULL);
    yoke_broadcast_subscribe(world->news, &world->subscription);
    yoke_event_init(&world->event);
    yoke_semaphore_init(&world->semaphore, 0, 0);
    yoke_mutex_init(&world->mutex);
    yk_check_int(yoke_mutex_lock(&world->mutex), 0);
    yoke_limiter_init(&world->limiter, 1);
    yk_check_int(yoke_limiter_acquire(&world->limiter, &world->theirs, world), 0);
    world->sent = 7;
    world->selector.n = KINDS;
    world->selector.cases[RECEIVE] = yoke_case_receive(world->in, &world->received);
    world->selector.cases[SEND] = yoke_case_send(world->out, &world->sent);
    world->selector.cases[HEAR] =
        yoke_case_broadcast(&world->subscription, &world->heard, &world->lost);
    world->selector.cases[EVENT] = yoke_case_event(&world->event);
    world->selector.cases[ACQUIRE] = yoke_case_acquire(&world->semaphore);
    world->selector.cases[BORROW] = yoke_case_borrow(&world->limiter, &world->token, &world->token);
    world->selector.cases[LOCK] = yoke_case_lock(&world->mutex);
    world->selector.cases[TIMEOUT] = yoke_case_timeout(YOKE_MS(5));
    yk_check_int(yoke_nursery_open(&world->nursery, NULL), 0);
}

/* Makes one of them happen. The result says whether it met somebody, where that can be told. */
static void make_happen(struct world *world, int kind)
{
    int item = 40 + kind;

    switch (kind) {
    case RECEIVE:
        yk_check_int(yoke_channel_try_send(world->in, &item), 1);
        break;
    case SEND:
        yk_check_int(yoke_channel_try_receive(world->out, &item), 1);
        yk_check_int(item, 7);
        break;
    case HEAR:
        yk_check_int(yoke_broadcast_try_send(world->news, &item), 1);
        break;
    case EVENT:
        yoke_event_set(&world->event);
        break;
    case ACQUIRE:
        yoke_semaphore_release(&world->semaphore);
        break;
    case BORROW:
        yoke_limiter_release(&world->theirs);
        break;
    case LOCK:
        yoke_mutex_unlock(&world->mutex);
        break;
    default:
        yk_check_int(yoke_sleep(YOKE_MS(6)), 0);
    }
}

static void check_nobody_waits(struct world *world)
{
    struct yoke_channel_stats in, out;
    struct yoke_broadcast_stats news;
    struct yoke_limiter_stats limiter;

    yoke_channel_stats(world->in, &in);
    yoke_channel_stats(world->out, &out);
    yoke_broadcast_stats(world->news, &news);
    yk_check_int(in.receivers_waiting + out.senders_waiting + news.receivers_waiting, 0);
    yk_check_int(yoke_semaphore_waiting(&world->semaphore), 0);
    yk_check_int(yoke_mutex_waiting(&world->mutex), 0);
    yoke_limiter_stats(&world->limiter, &limiter);
    yk_check_int(limiter.waiting, 0);
}

static void world_close(struct world *world)
{
    yk_check_int(yoke_nursery_close(&world->nursery, 0), 0);
    check_nobody_waits(world);
    if (yoke_mutex_owner(&world->mutex) == yoke_task_id())
        yoke_mutex_unlock(&world->mutex);
    yoke_mutex_fini(&world->mutex);
    for (const void *borrower = world; borrower != NULL;
         borrower = borrower == world ? &world->token : NULL)
        if (yoke_limiter_is_borrower(&world->limiter, borrower))
            yoke_limiter_release(borrower == world ? &world->theirs : &world->token);
    yoke_limiter_fini(&world->limiter);
    yoke_broadcast_unsubscribe(&world->subscription);
    yoke_broadcast_unref(world->news);
    yoke_channel_unref(world->in);
    yoke_channel_unref(world->out);
}

static int hold_a_lock(void *arg)
{
    struct world *world = arg;

    world->selector.chosen = -1;
    select_once(&world->selector);
    if (world->selector.chosen == LOCK) {
        yk_check_int(yoke_mutex_owner(&world->mutex), yoke_task_id());
        yoke_mutex_unlock(&world->mutex);
    }
    return 0;
}

YK_SIM_TEST(each_kind_of_case_ends_a_select_and_the_others_leave_no_trace)
{
    for (int kind = 0; kind < KINDS; kind++) {
        struct world world;

        world_open(&world);
        yk_check_int(yoke_spawn(&world.nursery, hold_a_lock, &world), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        make_happen(&world, kind);
        check_nobody_waits(&world); /* at once, in the waker's turn */
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(world.selector.chosen, kind);
        yk_check_int(world.received, kind == RECEIVE ? 40 + RECEIVE : 0);
        yk_check_int(world.heard, kind == HEAR ? 40 + HEAR : 0);
        yk_check_int(yoke_limiter_is_borrower(&world.limiter, &world.token), kind == BORROW);
        for (int i = 0; i < KINDS; i++)
            yk_check_int(world.selector.cases[i].result,
                         i == kind && (i == RECEIVE || i == HEAR) ? 1 : 0);
        world_close(&world);
    }
    return 0;
}

YK_SIM_TEST(of_two_things_in_one_turn_the_first_happens_and_the_second_is_left)
{
    for (int kind = 0; kind < LOCK; kind++)
        for (int other = 0; other < LOCK; other++) {
            struct world world;
            int item = 0;

            if (kind == other)
                continue;
            world_open(&world);
            start(&world.nursery, &world.selector);
            make_happen(&world, kind);
            if (other == RECEIVE)
                yk_check_int(yoke_channel_try_send(world.in, &item), 0); /* nobody is there */
            else if (other == SEND)
                yk_check_int(yoke_channel_try_receive(world.out, &item), 0);
            else
                make_happen(&world, other);
            yk_check_int(yoke_wait_all_tasks_blocked(), 0);
            yk_check_int(world.selector.chosen, kind);
            if (other == ACQUIRE)
                yk_check_int(yoke_semaphore_value(&world.semaphore), 1);
            if (other == HEAR)
                yk_check_int(yoke_broadcast_try_receive(&world.subscription, &item, &world.lost),
                             1);
            world_close(&world);
        }
    return 0;
}

YK_SIM_TEST(a_cancelled_select_has_no_effect_and_a_decided_one_is_kept)
{
    for (int kind = 0; kind < LOCK; kind++) {
        struct world world;

        world_open(&world);
        start(&world.nursery, &world.selector);
        yoke_scope_cancel(&world.selector.scope, NULL);
        check_nobody_waits(&world);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(world.selector.rc, YOKE_CANCELLED);
        yk_check_int(world.selector.chosen, -1);
        start(&world.nursery, &world.selector);
        make_happen(&world, kind);
        yoke_scope_cancel(&world.selector.scope, NULL);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(world.selector.rc, kind);
        world_close(&world);
    }
    return 0;
}

YK_SIM_TEST(what_can_happen_at_once_does_and_nothing_waits)
{
    for (int kind = 0; kind < LOCK; kind++) {
        struct world world;

        world_open(&world);
        yk_check_int(yoke_try_select(world.selector.cases, LOCK, NULL), LOCK); /* nothing */
        if (kind == RECEIVE || kind == SEND) /* a rendezvous needs somebody on the other side */
            world.selector.cases[kind] = yoke_case_timeout(0);
        else
            make_happen(&world, kind);
        yk_check_int(yoke_try_select(world.selector.cases, LOCK, NULL), kind);
        world_close(&world);
    }
    return 0;
}

YK_SIM_TEST(of_what_is_ready_each_is_chosen_equally_often_or_the_first_if_biased)
{
    enum { ROUNDS = 3000 };
    struct yoke_semaphore semaphore[3];
    struct yoke_event never, now;
    int chosen[5] = {0};

    yoke_event_init(&never);
    yoke_event_init(&now);
    yoke_event_set(&now);
    for (int i = 0; i < 3; i++)
        yoke_semaphore_init(&semaphore[i], 10 * ROUNDS, 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct yoke_select_case cases[] = {
            yoke_case_acquire(&semaphore[0]),
            yoke_case_event(&never),
            yoke_case_acquire(&semaphore[1]),
            yoke_case_acquire(&semaphore[2]),
            yoke_case_event(&now),
        };
        int i = yoke_select(cases, 5, NULL);

        yk_check(i >= 0 && i < 5);
        chosen[i]++;
        i = yoke_select(cases + 1, 4, &(struct yoke_select_opts){.biased = true});
        yk_check_int(i, 1); /* the first that is ready */
    }
    for (int i = 0; i < 5; i++)
        yk_check(i == 1 ? chosen[i] == 0
                        : chosen[i] > ROUNDS / 4 - 150 && chosen[i] < ROUNDS / 4 + 150);
    yk_check_int(10 * ROUNDS - yoke_semaphore_value(&semaphore[0]), chosen[0]);
    yk_check_int(10 * ROUNDS - yoke_semaphore_value(&semaphore[1]), chosen[2] + ROUNDS);
    return 0;
}

YK_SIM_TEST(the_end_of_a_channel_is_a_result_and_a_closed_one_an_error_that_tells_its_case)
{
    struct yoke_channel *ended = yoke_channel_new(sizeof(int), 1);
    struct yoke_channel *closed = yoke_channel_new(sizeof(int), 0);
    struct selector selector = {.n = 2};
    struct yoke_nursery nursery;
    int item;

    for (int late = 0; late <= 1; late++) { /* closed while it waits, and before */
        selector.cases[0] = yoke_case_send(closed, &item);
        selector.cases[1] = yoke_case_receive(ended, &item);
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        if (late == 0)
            start(&nursery, &selector);
        else
            yk_check_int(yoke_spawn(&nursery, select_once, &selector), 0);
        yoke_channel_close_send(ended);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check_int(selector.chosen, 1);
        yk_check_int(selector.cases[1].result, 0);
    }
    yoke_channel_unref(ended);
    ended = yoke_channel_new(sizeof(int), 1);
    for (int late = 0; late <= 1; late++) {
        selector.cases[0] = yoke_case_receive(ended, &item);
        selector.cases[1] = yoke_case_send(closed, &item);
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        if (late == 0)
            start(&nursery, &selector);
        else
            yk_check_int(yoke_spawn(&nursery, select_once, &selector), 0);
        yoke_channel_close_receive(closed);
        yk_check_int(yoke_nursery_close(&nursery, 0), YOKE_ECLOSED);
        yk_check_caught("yoke.Closed", "the channel's receiving end is closed");
        yk_check_int(selector.cases[0].result, 0);
        yk_check_int(selector.cases[1].result, YOKE_ECLOSED);
    }
    yoke_channel_unref(ended);
    yoke_channel_unref(closed);
    return 0;
}

YK_SIM_TEST(two_selects_meet_on_one_channel_and_none_meets_itself)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct selector first = {.n = 2}, second = {.n = 2};
    struct yoke_channel_stats stats;
    struct yoke_nursery nursery;
    int sent[2] = {1, 2}, received[2] = {0, 0};

    first.cases[0] = yoke_case_send(channel, &sent[0]);
    first.cases[1] = yoke_case_receive(channel, &received[0]);
    second.cases[0] = yoke_case_send(channel, &sent[1]);
    second.cases[1] = yoke_case_receive(channel, &received[1]);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    start(&nursery, &first);
    yk_check_int(yoke_spawn(&nursery, select_once, &second), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(first.chosen + second.chosen, 1); /* one sent, one received */
    yk_check_int(received[0], first.chosen == 1 ? 2 : 0);
    yk_check_int(received[1], second.chosen == 1 ? 1 : 0);
    yoke_channel_stats(channel, &stats);
    yk_check_int(stats.senders_waiting + stats.receivers_waiting, 0);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(a_select_keeps_its_place_among_plain_waits)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct selector selectors[3];
    struct yoke_nursery nursery;
    int items[3] = {0};

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++) {
        selectors[i] = (struct selector){.n = 1};
        selectors[i].cases[0] = yoke_case_receive(channel, &items[i]);
        start(&nursery, &selectors[i]);
    }
    for (int i = 1; i <= 3; i++)
        yk_check_int(yoke_channel_try_send(channel, &i), 1);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(items[0] == 1 && items[1] == 2 && items[2] == 3);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(a_timeout_counts_from_the_call_and_a_deadline_is_absolute)
{
    struct yoke_select_case timeout[] = {yoke_case_timeout(YOKE_MS(3))};
    struct yoke_select_case both[] = {yoke_case_timeout(YOKE_NEVER),
                                      yoke_case_deadline(yoke_now() + YOKE_MS(10))};
    int64_t began = yoke_now();

    for (int i = 1; i <= 2; i++) { /* used again: it counts anew */
        yk_check_int(yoke_select(timeout, 1, NULL), 0);
        yk_check_int(yoke_now() - began, i * YOKE_MS(3));
    }
    yk_check_int(yoke_select(both, 2, NULL), 1);
    yk_check_int(yoke_now() - began, YOKE_MS(10));
    yk_check_int(yoke_select(both, 2, NULL), 1); /* passed: at once */
    yk_check_int(yoke_now() - began, YOKE_MS(10));
    return 0;
}

YK_SIM_TEST(a_timer_that_expires_after_the_decision_does_nothing)
{
    struct yoke_event event;
    struct selector selector = {.n = 2};
    struct yoke_nursery nursery;

    for (int cancel = 0; cancel <= 1; cancel++) {
        yoke_event_init(&event);
        selector.cases[0] = yoke_case_event(&event);
        selector.cases[1] = yoke_case_timeout(YOKE_MS(2));
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        start(&nursery, &selector);
        yk_check_int(yoke_sleep(YOKE_MS(2)), 0); /* wakes in the same turn as the timer */
        if (cancel)
            yoke_scope_cancel(&selector.scope, NULL);
        else
            yoke_event_set(&event);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check(selector.chosen == 1 || selector.chosen == (cancel ? -1 : 0));
    }
    return 0;
}

/* A source of one's own: a gate. Being unparked means to look again. */
struct gate {
    struct yoke_parking_lot lot;
    bool open;
};

static int attempt_gate(struct yoke_select_case *c)
{
    struct gate *gate = c->object;

    return gate->open ? 1 : 0;
}

static int enlist_gate(struct yoke_select_case *c)
{
    struct gate *gate = c->object;

    return yoke_select_park(c, &gate->lot);
}

static const struct yoke_select_source gate_source = {
    .attempt = attempt_gate,
    .enlist = enlist_gate,
};

YK_SIM_TEST(a_source_of_ones_own_is_attempted_again_whenever_it_is_unparked)
{
    struct selector selector = {.n = 2};
    struct gate gate = {.open = false};
    struct yoke_parking_lot_stats stats;
    struct yoke_nursery nursery;
    struct yoke_event event;
    int64_t began = yoke_now();

    yoke_parking_lot_init(&gate.lot);
    yoke_event_init(&event);
    selector.cases[0] = yoke_case_source(&gate_source, &gate, NULL);
    selector.cases[1] = yoke_case_timeout(YOKE_MS(4));
    for (int late = 0; late <= 1; late++) {
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        start(&nursery, &selector);
        yk_check_int(yoke_sleep(YOKE_MS(2)), 0);
        yk_check_int(yoke_parking_lot_unpark(&gate.lot, 1), 1); /* still shut: it waits on */
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(selector.chosen, -1);
        gate.open = late;
        yk_check_int(yoke_parking_lot_unpark(&gate.lot, 1), 1);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check_int(selector.chosen, late ? 0 : 1);
        if (!late) /* looking again did not start the time anew */
            yk_check_int(yoke_now() - began, YOKE_MS(4));
        yoke_parking_lot_stats(&gate.lot, &stats);
        yk_check_int(stats.waiting, 0);
    }
    gate.open = false;
    for (int late = 0; late <= 1; late++) { /* broken while it waits, and before */
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        if (late == 0)
            start(&nursery, &selector);
        else
            yk_check_int(yoke_spawn(&nursery, select_once, &selector), 0);
        yoke_parking_lot_break(&gate.lot);
        yk_check_int(yoke_nursery_close(&nursery, 0), -EOWNERDEAD);
        yk_check_caught("yoke.Broken", NULL);
        yk_check_int(selector.cases[0].result, -EOWNERDEAD);
    }
    return 0;
}

YK_SIM_TEST(without_memory_for_a_timer_a_select_fails_and_nobody_waits)
{
    struct world world;

    world_open(&world);
    yoke_mutex_unlock(&world.mutex);
    yk_memory_fail_at(1, false);
    world.selector.cases[LOCK] = yoke_case_timeout(YOKE_MS(5));
    yk_check_int(yoke_select(world.selector.cases, KINDS, NULL), -ENOMEM);
    yk_memory_fail_at(0, false);
    yk_check_caught("yoke.Select", "no memory for a timer");
    check_nobody_waits(&world);
    yk_check_int(yoke_select(world.selector.cases, KINDS, NULL), LOCK); /* both timers expire */
    world_close(&world);
    return 0;
}

YK_SIM_TEST(a_case_that_is_switched_off_never_happens)
{
    struct selector selector = {.n = 2};
    struct yoke_nursery nursery;

    selector.cases[0] = yoke_case_never();
    selector.cases[1] = yoke_case_timeout(YOKE_S(1));
    yk_check_int(yoke_select(selector.cases, 2, NULL), 1);
    selector.n = 1;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    start(&nursery, &selector);
    yoke_scope_cancel(&selector.scope, NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(selector.rc, YOKE_CANCELLED);
    return 0;
}

YK_SIM_TEST(a_select_of_nothing_is_refused)
{
    struct yoke_select_case c = yoke_case_timeout(1);

    yk_check_int(yoke_select(&c, 0, NULL), -EINVAL);
    yk_check_caught("yoke.Select", "a select of 0 cases");
    yk_check_int(yoke_try_select(&c, SIZE_MAX, NULL), -EINVAL);
    yk_check_caught("yoke.Select", NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_case_ends_a_select_and_the_others_leave_no_trace),
        cmocka_unit_test(of_two_things_in_one_turn_the_first_happens_and_the_second_is_left),
        cmocka_unit_test(a_cancelled_select_has_no_effect_and_a_decided_one_is_kept),
        cmocka_unit_test(what_can_happen_at_once_does_and_nothing_waits),
        cmocka_unit_test(of_what_is_ready_each_is_chosen_equally_often_or_the_first_if_biased),
        cmocka_unit_test(
            the_end_of_a_channel_is_a_result_and_a_closed_one_an_error_that_tells_its_case),
        cmocka_unit_test(two_selects_meet_on_one_channel_and_none_meets_itself),
        cmocka_unit_test(a_select_keeps_its_place_among_plain_waits),
        cmocka_unit_test(a_timeout_counts_from_the_call_and_a_deadline_is_absolute),
        cmocka_unit_test(a_timer_that_expires_after_the_decision_does_nothing),
        cmocka_unit_test(a_source_of_ones_own_is_attempted_again_whenever_it_is_unparked),
        cmocka_unit_test(without_memory_for_a_timer_a_select_fails_and_nobody_waits),
        cmocka_unit_test(a_case_that_is_switched_off_never_happens),
        cmocka_unit_test(a_select_of_nothing_is_refused),
    };

    return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
