/* SPDX-License-Identifier: MIT */
/* Broadcast channels: everybody gets everything, or is told how much it lost. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/broadcast.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/memory.h"

enum { ROOM = 4 };

static const struct yoke_broadcast_opts waiting = {.wait = true};

static void send_at_once(struct yoke_broadcast *broadcast, int first, int n)
{
    for (int i = first; i < first + n; i++)
        yk_check_int(yoke_broadcast_try_send(broadcast, &i), 1);
}

/* Receives `n` items without waiting, from `first` on, before which `lost` were lost. */
static void receive_at_once(struct yoke_subscription *subscription, int first, int n, int lost)
{
    for (int i = 0; i < n; i++) {
        uint64_t lost_now = 99;
        int item = -1;

        yk_check_int(yoke_broadcast_try_receive(subscription, &item, &lost_now), 1);
        yk_check_int(item, first + i);
        yk_check_int(lost_now, i == 0 ? lost : 0);
    }
}

static void check_empty(struct yoke_subscription *subscription)
{
    uint64_t lost = 99;
    int item = -1;

    yk_check_int(yoke_broadcast_try_receive(subscription, &item, &lost), 0);
    yk_check(item == -1 && lost == 99);
}

YK_SIM_TEST(each_subscriber_gets_what_is_sent_while_it_is_subscribed)
{
    struct yoke_broadcast *broadcast = yoke_broadcast_new(sizeof(int), ROOM, NULL);
    struct yoke_subscription first, second;

    send_at_once(broadcast, 0, 1); /* to nobody */
    yoke_broadcast_subscribe(broadcast, &first);
    check_empty(&first);
    send_at_once(broadcast, 1, 1);
    yoke_broadcast_subscribe(broadcast, &second);
    send_at_once(broadcast, 2, 2);
    receive_at_once(&first, 1, 3, 0);
    receive_at_once(&second, 2, 2, 0);
    check_empty(&first);
    yoke_broadcast_unsubscribe(&second);
    yoke_broadcast_unsubscribe(&second);
    send_at_once(broadcast, 4, 1);
    receive_at_once(&first, 4, 1, 0);
    yoke_broadcast_unsubscribe(&first);
    yk_check(yoke_broadcast_unref(broadcast) == NULL);
    return 0;
}

YK_SIM_TEST(a_subscriber_that_is_too_slow_is_told_how_many_it_lost)
{
    struct yoke_broadcast *broadcast = yoke_broadcast_new(sizeof(int), ROOM, NULL);
    struct yoke_subscription slow, quick;
    struct yoke_broadcast_stats stats;

    yoke_broadcast_subscribe(broadcast, &slow);
    yoke_broadcast_subscribe(broadcast, &quick);
    for (int i = 0; i < 10; i++) {
        send_at_once(broadcast, i, 1);
        receive_at_once(&quick, i, 1, 0);
    }
    receive_at_once(&slow, 6, 2, 6);
    send_at_once(broadcast, 10, 3); /* overwrites one more */
    receive_at_once(&slow, 9, 4, 1);
    check_empty(&slow);
    yoke_broadcast_stats(broadcast, &stats);
    yk_check_int(stats.sent, 13);
    yk_check_int(stats.subscribers, 2);
    yk_check_int(stats.unread, 3); /* by the quick one, which has stopped */
    yoke_broadcast_unsubscribe(&quick);
    yoke_broadcast_stats(broadcast, &stats);
    yk_check_int(stats.unread, 0);
    yoke_broadcast_unsubscribe(&slow);
    yoke_broadcast_unref(broadcast);
    return 0;
}

struct end {
    struct yoke_broadcast *broadcast;
    struct yoke_subscription subscription;
    struct yoke_scope scope;
    int first;
    int n; /* to send, or received */
    int rc;
};

static int send_some(void *arg)
{
    struct end *end = arg;

    end->rc = yoke_scope_open(&end->scope, NULL);
    for (int i = 0; i < end->n && end->rc == 0; i++) {
        int item = end->first + i;

        end->rc = yoke_broadcast_send(end->broadcast, &item);
    }
    if (end->rc == YOKE_ECLOSED) {
        yk_check_caught("yoke.Closed", NULL);
        return yoke_scope_close(&end->scope, 0);
    }
    return yoke_scope_close(&end->scope, end->rc);
}

/* Receives numbers that follow each other, until the end. */
static int receive_all(void *arg)
{
    struct end *end = arg;
    uint64_t lost;
    int item;
    int rc = yoke_scope_open(&end->scope, NULL);

    while (rc == 0 && (rc = yoke_broadcast_receive(&end->subscription, &item, &lost)) > 0) {
        yk_check_int(item, end->first + end->n);
        yk_check_int(lost, 0);
        end->n++;
        rc = 0;
        if (item % 3 == 0)
            rc = yoke_checkpoint();
    }
    end->rc = rc;
    return yoke_scope_close(&end->scope, rc);
}

YK_SIM_TEST(a_sender_that_waits_does_so_for_the_slowest_and_nothing_is_lost)
{
    enum { READERS = 3, ITEMS = 40 };
    struct yoke_broadcast *broadcast = yoke_broadcast_new(sizeof(int), ROOM, &waiting);
    struct end sender = {.broadcast = broadcast, .n = ITEMS};
    struct end readers[READERS];
    struct yoke_subscription slow;
    struct yoke_nursery nursery;
    struct yoke_broadcast_stats stats;

    memset(readers, 0, sizeof readers);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yoke_broadcast_subscribe(broadcast, &slow);
    for (int i = 0; i < READERS; i++) {
        yoke_broadcast_subscribe(broadcast, &readers[i].subscription);
        yk_check_int(yoke_spawn(&nursery, receive_all, &readers[i]), 0);
    }
    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    for (int i = 0; i < ITEMS; i++) {
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(readers[0].n, i + ROOM < ITEMS ? i + ROOM : ITEMS);
        yoke_broadcast_stats(broadcast, &stats);
        yk_check_int(stats.senders_waiting, i + ROOM < ITEMS);
        yk_check_int(stats.receivers_waiting, READERS);
        receive_at_once(&slow, i, 1, 0);
    }
    yoke_broadcast_close(broadcast);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < READERS; i++) {
        yk_check_int(readers[i].rc, 0);
        yk_check_int(readers[i].n, ITEMS);
        yoke_broadcast_unsubscribe(&readers[i].subscription);
    }
    yoke_broadcast_unsubscribe(&slow);
    yoke_broadcast_unref(broadcast);
    return 0;
}

YK_SIM_TEST(a_subscriber_that_leaves_is_no_longer_waited_for)
{
    struct yoke_broadcast *broadcast = yoke_broadcast_new(sizeof(int), ROOM, &waiting);
    struct end sender = {.broadcast = broadcast, .n = 2 * ROOM};
    struct yoke_subscription stays, leaves;
    struct yoke_nursery nursery;

    yoke_broadcast_subscribe(broadcast, &stays);
    yoke_broadcast_subscribe(broadcast, &leaves);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    receive_at_once(&stays, 0, ROOM, 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    check_empty(&stays);
    yoke_broadcast_unsubscribe(&leaves);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    receive_at_once(&stays, ROOM, ROOM, 0);
    yoke_broadcast_unsubscribe(&stays);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    send_at_once(broadcast, 0, 3 * ROOM); /* nobody to wait for */
    yoke_broadcast_unref(broadcast);
    return 0;
}

YK_SIM_TEST(a_cancelled_receive_loses_nothing_and_a_cancelled_send_is_not_sent)
{
    struct yoke_broadcast *broadcast = yoke_broadcast_new(sizeof(int), ROOM, &waiting);
    struct end reader = {.broadcast = broadcast};
    struct end sender = {.broadcast = broadcast, .first = 1, .n = ROOM + 1};
    struct yoke_nursery nursery;

    yoke_broadcast_subscribe(broadcast, &reader.subscription);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, receive_all, &reader), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&reader.scope, NULL);
    send_at_once(broadcast, 0, 1);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(reader.rc, YOKE_CANCELLED);
    receive_at_once(&reader.subscription, 0, 1, 0); /* it is still there to be received */

    /* Woken for an item, and then cancelled: it gets the item. */
    reader.first = 0;
    yk_check_int(yoke_spawn(&nursery, receive_all, &reader), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    send_at_once(broadcast, 0, 1);
    yoke_scope_cancel(&reader.scope, NULL);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(reader.n, 1);
    yk_check_int(reader.rc, YOKE_CANCELLED);

    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&sender.scope, NULL); /* in the last one */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(sender.rc, YOKE_CANCELLED);
    receive_at_once(&reader.subscription, 1, ROOM, 0);
    check_empty(&reader.subscription);
    yoke_broadcast_unsubscribe(&reader.subscription);
    yoke_broadcast_unref(broadcast);
    return 0;
}

YK_SIM_TEST(closing_lets_subscribers_take_what_is_left_and_fails_senders)
{
    struct yoke_broadcast *broadcast = yoke_broadcast_new(sizeof(int), ROOM, &waiting);
    struct end sender = {.broadcast = broadcast, .first = 0, .n = ROOM + 1};
    struct yoke_subscription subscription;
    struct yoke_nursery nursery;
    uint64_t lost;
    int item = 0;

    yoke_broadcast_subscribe(broadcast, &subscription);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_broadcast_close(broadcast);
    yoke_broadcast_close(broadcast);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(sender.rc, YOKE_ECLOSED);
    yk_check_int(yoke_broadcast_send(broadcast, &item), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    receive_at_once(&subscription, 0, ROOM, 0);
    yk_check_int(yoke_broadcast_receive(&subscription, &item, &lost), 0);
    check_empty(&subscription);
    yoke_broadcast_unsubscribe(&subscription);
    yoke_broadcast_unref(broadcast);
    return 0;
}

YK_SIM_TEST(bad_sizes_and_missing_memory_are_errors)
{
    yk_check(yoke_broadcast_new(0, 1, NULL) == NULL);
    yk_check_caught("yoke.Broadcast", "item_size is 0, capacity is 1; neither may be 0");
    yk_check(yoke_broadcast_new(1, 0, NULL) == NULL);
    yk_check_caught("yoke.Broadcast", NULL);
    yk_check(yoke_broadcast_new(SIZE_MAX / 2, 3, NULL) == NULL);
    yk_check_caught("yoke.Broadcast", NULL);
    yk_memory_fail_at(1, false);
    yk_check(yoke_broadcast_new(1, 1, NULL) == NULL);
    yk_memory_fail_at(0, false);
    yk_check_caught("yoke.Broadcast", NULL);
    yk_check(yoke_broadcast_unref(NULL) == NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_subscriber_gets_what_is_sent_while_it_is_subscribed),
        cmocka_unit_test(a_subscriber_that_is_too_slow_is_told_how_many_it_lost),
        cmocka_unit_test(a_sender_that_waits_does_so_for_the_slowest_and_nothing_is_lost),
        cmocka_unit_test(a_subscriber_that_leaves_is_no_longer_waited_for),
        cmocka_unit_test(a_cancelled_receive_loses_nothing_and_a_cancelled_send_is_not_sent),
        cmocka_unit_test(closing_lets_subscribers_take_what_is_left_and_fails_senders),
        cmocka_unit_test(bad_sizes_and_missing_memory_are_errors),
    };

    return cmocka_run_group_tests_name("broadcast", tests, NULL, NULL);
}
