/* SPDX-License-Identifier: MIT */
/*
 * Every waiting call of synchronisation is a checkpoint, also when it need not wait: it notices a
 * cancellation and then has no effect, and a loop of such calls lets others run.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <yoke/broadcast.h>
#include <yoke/channel.h>
#include <yoke/condition.h>
#include <yoke/limiter.h>
#include <yoke/nursery.h>
#include <yoke/select.h>
#include <yoke/semaphore.h>
#include <yoke/testing.h>

static struct {
    struct yoke_mutex mutex;
    struct yoke_semaphore semaphore;
    struct yoke_limiter limiter;
    struct yoke_channel *channel;
    struct yoke_broadcast *broadcast;
    struct yoke_subscription subscription;
    struct yoke_token token;
} all;

static int lock(void)
{
    return yoke_mutex_lock(&all.mutex);
}

static void unlock(void)
{
    yoke_mutex_unlock(&all.mutex);
}

static int acquire(void)
{
    return yoke_semaphore_acquire(&all.semaphore);
}

static void release(void)
{
    yoke_semaphore_release(&all.semaphore);
}

static int borrow(void)
{
    return yoke_limiter_acquire(&all.limiter, &all.token, NULL);
}

static void give_back(void)
{
    yoke_limiter_release(&all.token);
}

static int send(void)
{
    return yoke_channel_send(all.channel, "x");
}

static void take(void)
{
    char byte;

    yk_check_int(yoke_channel_try_receive(all.channel, &byte), 1);
}

static int tell(void)
{
    return yoke_broadcast_send(all.broadcast, "x");
}

static void hear(void)
{
    uint64_t lost;
    char byte;

    yk_check_int(yoke_broadcast_try_receive(&all.subscription, &byte, &lost), 1);
    yk_check_int(lost, 0);
}

static int choose(void)
{
    struct yoke_select_case cases[] = {yoke_case_acquire(&all.semaphore)};

    return yoke_select(cases, 1, NULL);
}

static const struct {
    int (*enter)(void);
    void (*leave)(void);
} calls[] = {
    {lock, unlock}, {acquire, release}, {borrow, give_back},
    {send, take},   {tell, hear},       {choose, release},
};
enum { CALLS = sizeof calls / sizeof calls[0] };

static void begin(void)
{
    yoke_mutex_init(&all.mutex);
    yoke_semaphore_init(&all.semaphore, 1, 1);
    yoke_limiter_init(&all.limiter, 1);
    all.channel = yoke_channel_new(1, 1);
    all.broadcast = yoke_broadcast_new(1, 1, NULL);
    yoke_broadcast_subscribe(all.broadcast, &all.subscription);
}

static void end(void)
{
    yoke_mutex_fini(&all.mutex);
    yoke_semaphore_fini(&all.semaphore);
    yoke_limiter_fini(&all.limiter);
    yoke_channel_unref(all.channel);
    yoke_broadcast_unsubscribe(&all.subscription);
    yoke_broadcast_unref(all.broadcast);
}

YK_SIM_TEST(a_cancelled_call_that_need_not_wait_fails_and_has_no_effect)
{
    begin();
    for (int i = 0; i < CALLS; i++) {
        struct yoke_scope scope;
        int rc;

        yk_check_int(yoke_scope_open(&scope, NULL), 0);
        yoke_scope_cancel(&scope, NULL);
        rc = calls[i].enter();
        yk_check_int(rc, YOKE_CANCELLED);
        yk_check_int(yoke_scope_close(&scope, rc), 0);
        yk_check_int(calls[i].enter(), 0); /* what it would have taken is still there */
        calls[i].leave();
    }
    end();
    return 0;
}

static int run_once(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

YK_SIM_TEST(a_loop_of_calls_that_need_not_wait_lets_others_run)
{
    begin();
    for (int i = 0; i < CALLS; i++) {
        struct yoke_nursery nursery;
        bool ran = false;

        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, run_once, &ran), 0);
        for (int n = 0; n < 10000 && !ran; n++) {
            yk_check_int(calls[i].enter(), 0);
            calls[i].leave();
        }
        yk_check(ran);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    }
    end();
    return 0;
}

YK_SIM_TEST(a_cancelled_wait_for_a_condition_does_not_let_go_of_the_mutex)
{
    struct yoke_condition condition;
    struct yoke_scope scope;

    begin();
    yoke_condition_init(&condition, &all.mutex);
    yk_check_int(yoke_mutex_lock(&all.mutex), 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_condition_wait(&condition), YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check_int(yoke_mutex_owner(&all.mutex), yoke_task_id());
    yk_check_int(yoke_condition_waiting(&condition), 0);
    yoke_mutex_unlock(&all.mutex);
    yoke_condition_fini(&condition);
    end();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_call_that_need_not_wait_fails_and_has_no_effect),
        cmocka_unit_test(a_loop_of_calls_that_need_not_wait_lets_others_run),
        cmocka_unit_test(a_cancelled_wait_for_a_condition_does_not_let_go_of_the_mutex),
    };

    return cmocka_run_group_tests_name("sync_checkpoint", tests, NULL, NULL);
}
