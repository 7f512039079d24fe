/* SPDX-License-Identifier: MIT */
/*
 * Programs drawn from a seed: tasks that lock, wait, take, borrow, send, receive and select, under
 * scopes that are cancelled at random, by deadlines and by each other. Whatever they do:
 *
 * - a mutex is held by one task at a time, also when a wait for a condition was cancelled;
 * - units and tokens are neither made nor lost;
 * - each item sent is received exactly once, or still in the channel; those not sent are not;
 * - each subscriber of a broadcast channel gets every item or is told that it lost it;
 * - when all is over, nobody waits anywhere.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/broadcast.h>
#include <yoke/channel.h>
#include <yoke/condition.h>
#include <yoke/limiter.h>
#include <yoke/nursery.h>
#include <yoke/select.h>
#include <yoke/semaphore.h>
#include <yoke/testing.h>

#include "base/random.h"

enum { TASKS = 12, STEPS = 40, UNITS = 3, TOKENS = 3, ITEMS_MAX = 2 * TASKS * STEPS, CHANNELS = 3 };

static struct {
    struct yk_random random;
    struct yoke_mutex mutex;
    struct yoke_condition condition;
    bool inside;
    struct yoke_semaphore semaphore;
    size_t units_out;
    struct yoke_limiter limiter;
    size_t tokens_out;
    struct yoke_channel *channels[CHANNELS];
    int next_item;
    bool sent[ITEMS_MAX];
    unsigned char received[ITEMS_MAX];
    struct yoke_broadcast *news[2]; /* one that waits, and one that does not */
    struct yoke_scope *targets[TASKS];
    unsigned done[8]; /* how often each kind of step completed */
} storm;

static unsigned draw(unsigned n)
{
    return (unsigned)(yk_random_next(&storm.random) >> 33) % n;
}

static int dawdle(void)
{
    return draw(2) == 0 ? yoke_checkpoint() : yoke_sleep(YOKE_US(draw(50)));
}

/* With the mutex held: nobody else is inside. */
static int stay_inside(void)
{
    int rc;

    yk_check(!storm.inside);
    yk_check_int(yoke_mutex_owner(&storm.mutex), yoke_task_id());
    storm.inside = true;
    rc = dawdle();
    storm.inside = false;
    return rc;
}

static int step_mutex(void)
{
    int rc = 0;

    if (draw(4) == 0) {
        if (yoke_mutex_try_lock(&storm.mutex) == 0)
            return 0;
    } else {
        rc = yoke_mutex_lock(&storm.mutex);
    }
    if (rc < 0)
        return rc;
    rc = stay_inside();
    if (rc == 0 && draw(3) == 0) {
        rc = yoke_condition_wait(&storm.condition);
        yk_check(rc == 0 || rc == YOKE_CANCELLED);
        yk_check_int(yoke_mutex_owner(&storm.mutex), yoke_task_id());
        yk_check(!storm.inside);
    }
    yoke_condition_notify(&storm.condition, draw(3));
    yoke_mutex_unlock(&storm.mutex);
    return rc;
}

static int use_unit(void)
{
    int rc;

    storm.units_out++;
    yk_check(storm.units_out <= UNITS);
    rc = dawdle();
    storm.units_out--;
    yoke_semaphore_release(&storm.semaphore);
    return rc;
}

static int step_semaphore(void)
{
    int rc = yoke_semaphore_acquire(&storm.semaphore);

    return rc < 0 ? rc : use_unit();
}

static int step_limiter(void)
{
    struct yoke_token token;
    int rc = yoke_limiter_acquire(&storm.limiter, &token, draw(2) == 0 ? NULL : &token);

    if (rc < 0)
        return rc;
    storm.tokens_out++;
    yk_check(storm.tokens_out <= TOKENS);
    rc = dawdle();
    storm.tokens_out--;
    yoke_limiter_release(&token);
    if (draw(4) == 0) /* never more than TOKENS, and in the end TOKENS */
        yoke_limiter_set_total(&storm.limiter, 1 + draw(TOKENS));
    if (draw(2) == 0)
        yoke_limiter_set_total(&storm.limiter, TOKENS);
    return rc;
}

static struct yoke_channel *any_channel(void)
{
    return storm.channels[draw(CHANNELS)];
}

static int step_send(void)
{
    int item = storm.next_item++;
    int rc = yoke_channel_send(any_channel(), &item);

    storm.sent[item] = rc == 0;
    return rc;
}

static int step_receive(void)
{
    int item;
    int rc = yoke_channel_receive(any_channel(), &item);

    if (rc > 0)
        storm.received[item]++;
    return rc < 0 ? rc : 0;
}

static int step_select(void)
{
    int got[2] = {-1, -1};
    int item = storm.next_item++;
    struct yoke_select_case cases[6] = {
        yoke_case_receive(any_channel(), &got[0]),
        yoke_case_send(any_channel(), &item),
        yoke_case_acquire(&storm.semaphore),
        yoke_case_receive(any_channel(), &got[1]),
        yoke_case_lock(&storm.mutex),
        yoke_case_timeout(YOKE_US(draw(100))),
    };
    size_t n = 2 + draw(5);
    int i = yoke_select(cases, n, NULL);

    for (int k = 0; k < 2; k++) {
        yk_check((got[k] >= 0) == (i == 3 * k));
        if (got[k] >= 0)
            storm.received[got[k]]++;
    }
    storm.sent[item] = i == 1;
    if (i == 2)
        return use_unit();
    if (i == 4) {
        int rc = stay_inside();

        yoke_mutex_unlock(&storm.mutex);
        return rc;
    }
    return i < 0 ? i : 0;
}

/* Items of a broadcast channel are its counts, so each subscriber knows what must come next. */
static int step_listen(void)
{
    unsigned which = draw(2);
    struct yoke_broadcast_stats stats;
    struct yoke_subscription subscription;
    uint64_t item, lost, next;
    int rc = 0;

    yoke_broadcast_stats(storm.news[which], &stats);
    next = stats.sent;
    yoke_broadcast_subscribe(storm.news[which], &subscription);
    for (unsigned i = draw(6); i > 0 && rc == 0; i--) {
        rc = yoke_broadcast_receive(&subscription, &item, &lost);
        if (rc <= 0)
            break;
        yk_check(lost == 0 || which == 1);
        yk_check_int(item, next + lost);
        next = item + 1;
        rc = draw(3) == 0 ? dawdle() : 0;
    }
    yoke_broadcast_unsubscribe(&subscription);
    return rc < 0 ? rc : 0;
}

static int step_tell(void)
{
    struct yoke_broadcast *news = storm.news[draw(2)];
    struct yoke_broadcast_stats stats;

    yoke_broadcast_stats(news, &stats);
    if (stats.senders_waiting > 0)
        return 0; /* the count would be wrong by the time that it goes in */
    return yoke_broadcast_send(news, &stats.sent);
}

static int step(void)
{
    static int (*const steps[8])(void) = {step_mutex,   step_semaphore, step_limiter, step_send,
                                          step_receive, step_select,    step_listen,  step_tell};
    unsigned kind = draw(8);
    int rc = steps[kind]();

    storm.done[kind] += rc == 0;
    return rc;
}

static int wander(void *arg)
{
    struct yoke_scope **own = arg;
    int rc = 0;

    for (int i = 0; i < STEPS && rc == 0; i++) {
        struct yoke_scope_opts opts = {.timeout_ns = YOKE_US(1 + draw(200))};
        struct yoke_scope scope, *victim = storm.targets[draw(TASKS)];

        rc = yoke_scope_open(&scope, &opts);
        *own = &scope;
        if (rc == 0 && victim != NULL && draw(3) == 0)
            yoke_scope_cancel(victim, "at random");
        if (rc == 0)
            rc = step();
        *own = NULL;
        rc = yoke_scope_close(&scope, rc);
    }
    return rc;
}

static void begin(void)
{
    memset(&storm, 0, sizeof storm);
    yk_random_seed(&storm.random, yk_sim_seed());
    yoke_mutex_init(&storm.mutex);
    yoke_condition_init(&storm.condition, &storm.mutex);
    yoke_semaphore_init(&storm.semaphore, UNITS, UNITS);
    yoke_limiter_init(&storm.limiter, TOKENS);
    for (size_t i = 0; i < CHANNELS; i++)
        storm.channels[i] = yoke_channel_new(sizeof(int), i);
    storm.news[0] = yoke_broadcast_new(sizeof(uint64_t), 2, &(struct yoke_broadcast_opts){true});
    storm.news[1] = yoke_broadcast_new(sizeof(uint64_t), 2, NULL);
}

static void check_end(void)
{
    struct yoke_limiter_stats limiter;
    int item;

    for (size_t i = 0; i < CHANNELS; i++) {
        struct yoke_channel_stats stats;

        while (yoke_channel_try_receive(storm.channels[i], &item) > 0)
            storm.received[item]++;
        yoke_channel_stats(storm.channels[i], &stats);
        yk_check_int(stats.senders_waiting + stats.receivers_waiting, 0);
        yoke_channel_unref(storm.channels[i]);
    }
    yk_check(storm.next_item <= ITEMS_MAX);
    for (int i = 0; i < storm.next_item; i++)
        yk_check_int(storm.received[i], storm.sent[i]);
    yk_check_int(yoke_mutex_owner(&storm.mutex), 0);
    yk_check_int(yoke_semaphore_value(&storm.semaphore), UNITS);
    yoke_limiter_stats(&storm.limiter, &limiter);
    yk_check_int(limiter.borrowed + limiter.waiting, 0);
    for (int i = 0; i < 8; i++)
        yk_check(storm.done[i] > 0); /* else the storm shows nothing about that */
    yoke_limiter_fini(&storm.limiter);
    yoke_semaphore_fini(&storm.semaphore);
    yoke_condition_fini(&storm.condition);
    yoke_mutex_fini(&storm.mutex);
    yoke_broadcast_unref(storm.news[0]);
    yoke_broadcast_unref(storm.news[1]);
}

YK_SIM_TEST_WITH(nothing_is_lost_made_or_held_twice_whatever_is_cancelled,
                 &(struct yk_sim){.seeds = 200})
{
    struct yoke_nursery nursery;
    int rc = 0;

    begin();
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (size_t i = 0; i < TASKS && rc == 0; i++)
        rc = yoke_spawn(&nursery, wander, &storm.targets[i]);
    yk_check_int(yoke_nursery_close(&nursery, rc), 0);
    check_end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_made_or_held_twice_whatever_is_cancelled),
    };

    return cmocka_run_group_tests_name("sync_storm", tests, NULL, NULL);
}
