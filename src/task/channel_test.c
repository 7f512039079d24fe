/* SPDX-License-Identifier: MIT */
/* Channels: who has an item when, order, closing from either end, and what cancellation leaves. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/channel.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

enum { PIPES = 5, ITEMS = 50 };

struct end {
    struct yoke_channel *channel;
    int first; /* item sent, or received */
    int n;     /* items to send, or received so far */
    int rc;
    bool done;
};

static int send_some(void *arg)
{
    struct end *end = arg;

    for (int i = 0; i < end->n && end->rc == 0; i++) {
        int item = end->first + i;

        end->rc = yoke_channel_send(end->channel, &item);
    }
    end->done = true;
    return end->rc;
}

static int receive_one(void *arg)
{
    struct end *end = arg;

    end->rc = yoke_channel_receive(end->channel, &end->first);
    end->done = true;
    return end->rc;
}

/* As above, for a test in which an end is closed: the error is expected. */
static int send_until_closed(void *arg)
{
    struct end *end = arg;

    send_some(arg);
    yk_check_int(end->rc, YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    return 0;
}

static int receive_until_closed(void *arg)
{
    struct end *end = arg;

    receive_one(arg);
    yk_check_int(end->rc, YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    return 0;
}

YK_SIM_TEST(a_buffered_channel_takes_as_many_items_as_its_capacity_at_once)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 3);
    int item;

    for (int round = 0; round < 5; round++) { /* the ring goes round */
        for (int i = 0; i < 3; i++)
            yk_check_int(yoke_channel_try_send(channel, &i), 1);
        item = 99;
        yk_check_int(yoke_channel_try_send(channel, &item), 0);
        yk_check_int(yoke_channel_count(channel), 3);
        for (int i = 0; i < 3; i++) {
            yk_check_int(yoke_channel_receive(channel, &item), 1);
            yk_check_int(item, i);
        }
        yk_check_int(yoke_channel_try_receive(channel, &item), 0);
        item = 7;
        yk_check_int(yoke_channel_try_send(channel, &item), 1); /* shifts the next round by one */
        yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    }
    yk_check(yoke_channel_unref(channel) == NULL);
    return 0;
}

YK_SIM_TEST(a_rendezvous_waits_until_the_other_side_is_there)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct end sender = {.channel = channel, .first = 5, .n = 1};
    struct end receiver = {.channel = channel};
    struct yoke_nursery nursery;
    int item = 9;

    yk_check_int(yoke_channel_try_send(channel, &item), 0);
    yk_check_int(yoke_channel_try_receive(channel, &item), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(!sender.done);
    yk_check_int(yoke_channel_count(channel), 0);
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yk_check_int(item, 5);
    yk_check_int(yoke_spawn(&nursery, receive_one, &receiver), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(sender.done && !receiver.done);
    item = 6;
    yk_check_int(yoke_channel_try_send(channel, &item), 1);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(receiver.rc, 1);
    yk_check_int(receiver.first, 6);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(room_in_the_buffer_goes_to_the_sender_that_waits)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 2);
    struct end sender = {.channel = channel, .first = 1, .n = 3};
    struct yoke_nursery nursery;
    int item = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(!sender.done);
    yk_check_int(yoke_channel_receive(channel, &item), 1);
    yk_check_int(item, 1);
    yk_check_int(yoke_channel_count(channel), 2);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0); /* it does not wait for another receive */
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yk_check_int(item, 2);
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yk_check_int(item, 3);
    yoke_channel_unref(channel);
    return 0;
}

static int drain(void *arg)
{
    struct end *end = arg;
    int last = -1;

    for (;;) {
        int item;
        int rc = yoke_channel_receive(end->channel, &item);

        if (rc <= 0)
            return rc;
        yk_check(item > last); /* one producer at a time: in order */
        last = item;
        end->n++;
    }
}

static int produce_and_consume(size_t capacity)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), capacity);
    struct end sender = {.channel = channel, .n = ITEMS};
    struct end receiver = {.channel = channel};
    struct yoke_nursery nursery, senders;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, drain, &receiver), 0);
    yk_check_int(yoke_nursery_open(&senders, NULL), 0);
    yk_check_int(yoke_spawn(&senders, send_some, &sender), 0);
    yk_check_int(yoke_nursery_close(&senders, 0), 0);
    yoke_channel_close_send(channel);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(receiver.n, ITEMS);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(items_arrive_in_the_order_in_which_they_were_sent)
{
    yk_check_int(produce_and_consume(0), 0);
    yk_check_int(produce_and_consume(1), 0);
    return produce_and_consume(7);
}

struct many {
    struct yoke_channel *channel;
    bool seen[PIPES * ITEMS];
    int received;
};

static int drain_many(void *arg)
{
    struct many *many = arg;

    for (;;) {
        int item;
        int rc = yoke_channel_receive(many->channel, &item);

        if (rc <= 0)
            return rc;
        yk_check(item >= 0 && item < PIPES * ITEMS && !many->seen[item]);
        many->seen[item] = true;
        many->received++;
        if (item % 3 == 0)
            yk_check_int(yoke_checkpoint(), 0);
    }
}

static int many_to_many(size_t capacity)
{
    struct many many = {.channel = yoke_channel_new(sizeof(int), capacity)};
    struct end senders[PIPES];
    struct yoke_nursery consumers, producers;

    yk_check_int(yoke_nursery_open(&consumers, NULL), 0);
    yk_check_int(yoke_nursery_open(&producers, NULL), 0);
    for (int i = 0; i < PIPES; i++) {
        senders[i] = (struct end){.channel = many.channel, .first = i * ITEMS, .n = ITEMS};
        yk_check_int(yoke_spawn(&consumers, drain_many, &many), 0);
        yk_check_int(yoke_spawn(&producers, send_some, &senders[i]), 0);
    }
    yk_check_int(yoke_nursery_close(&producers, 0), 0);
    yoke_channel_close_send(many.channel);
    yk_check_int(yoke_nursery_close(&consumers, 0), 0);
    yk_check_int(many.received, PIPES * ITEMS);
    yoke_channel_unref(many.channel);
    return 0;
}

YK_SIM_TEST(with_several_producers_and_consumers_each_item_arrives_exactly_once)
{
    yk_check_int(many_to_many(0), 0);
    yk_check_int(many_to_many(1), 0);
    return many_to_many(16);
}

YK_SIM_TEST(closing_the_sending_end_lets_receivers_take_what_is_buffered)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 2);
    int item = 1;

    yk_check_int(yoke_channel_send(channel, &item), 0);
    item = 2;
    yk_check_int(yoke_channel_send(channel, &item), 0);
    yoke_channel_close_send(channel);
    yoke_channel_close_send(channel);
    yk_check_int(yoke_channel_send(channel, &item), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_channel_try_send(channel, &item), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_channel_receive(channel, &item), 1);
    yk_check_int(item, 1);
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yk_check_int(item, 2);
    for (int i = 0; i < 3; i++) {
        yk_check_int(yoke_channel_receive(channel, &item), 0); /* the end, an ordinary result */
        yk_check_int(yoke_channel_try_receive(channel, &item), 0);
    }
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(closing_the_receiving_end_drops_what_is_buffered_and_refuses_both_sides)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 2);
    int item = 1;

    yk_check_int(yoke_channel_send(channel, &item), 0);
    yoke_channel_close_receive(channel);
    yoke_channel_close_receive(channel);
    yk_check_int(yoke_channel_count(channel), 0);
    yk_check_int(yoke_channel_send(channel, &item), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_channel_receive(channel, &item), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_channel_try_receive(channel, &item), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yoke_channel_close_send(channel);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(closing_an_end_wakes_the_senders_that_wait)
{
    for (int receiving = 0; receiving < 2; receiving++) {
        struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
        struct end senders[2] = {{.channel = channel, .n = 1}, {.channel = channel, .n = 1}};
        struct yoke_nursery nursery;

        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        for (int i = 0; i < 2; i++)
            yk_check_int(yoke_spawn(&nursery, send_until_closed, &senders[i]), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check(!senders[0].done && !senders[1].done);
        if (receiving)
            yoke_channel_close_receive(channel);
        else
            yoke_channel_close_send(channel);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check(senders[0].done && senders[1].done);
        yoke_channel_unref(channel);
    }
    return 0;
}

YK_SIM_TEST(closing_the_sending_end_wakes_receivers_with_the_end_of_stream)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 4);
    struct end receivers[2] = {{.channel = channel}, {.channel = channel}};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 2; i++)
        yk_check_int(yoke_spawn(&nursery, receive_one, &receivers[i]), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_channel_close_send(channel);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(receivers[0].done && receivers[1].done);
    yk_check_int(receivers[0].rc, 0);
    yk_check_int(receivers[1].rc, 0);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(closing_the_receiving_end_wakes_receivers_with_an_error)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 4);
    struct end receiver = {.channel = channel};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, receive_until_closed, &receiver), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_channel_close_receive(channel);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(receiver.done);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(a_cancelled_send_was_not_delivered)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct end sender = {.channel = channel, .first = 5, .n = 1};
    struct yoke_nursery nursery;
    int item = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_channel_try_receive(channel, &item), 0); /* gone before it even woke */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(sender.rc, YOKE_CANCELLED);
    yk_check_int(item, 0);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(a_cancelled_receive_took_nothing)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 1);
    struct end receiver = {.channel = channel, .first = -1};
    struct yoke_nursery nursery;
    int item = 8;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, receive_one, &receiver), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_channel_try_send(channel, &item), 1);
    yk_check_int(yoke_channel_count(channel), 1); /* into the buffer, not to the cancelled one */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(receiver.rc, YOKE_CANCELLED);
    yk_check_int(receiver.first, -1);
    item = 0;
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yk_check_int(item, 8);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(a_hand_over_that_came_before_the_cancellation_stands)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct end sender = {.channel = channel, .first = 5, .n = 1};
    struct end receiver = {.channel = channel};
    struct yoke_nursery nursery;
    int item = 0;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, send_some, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(item, 5);
    yk_check_int(sender.rc, 0); /* it would be sent twice, were it told otherwise */

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, receive_one, &receiver), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    item = 6;
    yk_check_int(yoke_channel_try_send(channel, &item), 1);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(receiver.rc, 1); /* it would be lost, were it told otherwise */
    yk_check_int(receiver.first, 6);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(a_call_in_a_cancelled_scope_moves_nothing_but_try_calls_do)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 2);
    struct yoke_scope scope;
    int item = 3;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_channel_send(channel, &item), YOKE_CANCELLED);
    yk_check_int(yoke_channel_count(channel), 0);
    yk_check_int(yoke_channel_try_send(channel, &item), 1);
    yk_check_int(yoke_channel_receive(channel, &item), YOKE_CANCELLED);
    yk_check_int(yoke_channel_count(channel), 1);
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yoke_channel_unref(channel);
    return 0;
}

enum { WAITERS = 4 };

YK_SIM_TEST_IN_ORDER(who_waits_longest_is_served_first)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct end ends[WAITERS];
    struct yoke_nursery nursery;
    int item;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < WAITERS; i++) {
        ends[i] = (struct end){.channel = channel, .first = i, .n = 1};
        yk_check_int(yoke_spawn(&nursery, send_some, &ends[i]), 0);
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < WAITERS; i++) {
        yk_check_int(yoke_channel_receive(channel, &item), 1);
        yk_check_int(item, i);
    }
    for (int i = 0; i < WAITERS; i++) {
        ends[i] = (struct end){.channel = channel};
        yk_check_int(yoke_spawn(&nursery, receive_one, &ends[i]), 0);
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < WAITERS; i++)
        yk_check_int(yoke_channel_send(channel, &i), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < WAITERS; i++)
        yk_check_int(ends[i].first, i);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(items_are_copied_whole_whatever_their_size)
{
    struct big {
        char bytes[1000];
    } sent, received;
    struct yoke_channel *channel = yoke_channel_new(sizeof sent, 1);
    struct yoke_channel *same = yoke_channel_ref(channel);

    memset(&sent, 'a', sizeof sent);
    memset(&received, 0, sizeof received);
    yk_check_int(yoke_channel_send(channel, &sent), 0);
    yk_check(yoke_channel_unref(channel) == NULL); /* the other reference keeps it */
    memset(&sent, 'b', sizeof sent);
    yk_check_int(yoke_channel_receive(same, &received), 1);
    yk_check(received.bytes[0] == 'a' && received.bytes[sizeof received - 1] == 'a');
    yoke_channel_unref(same);
    return 0;
}

YK_SIM_TEST(impossible_sizes_are_refused)
{
    yk_check(yoke_channel_new(0, 5) == NULL);
    yk_check_int(yoke_error_code(yoke_in_flight()), -EINVAL);
    yk_check_caught("yoke.Channel", NULL);
    yk_check(yoke_channel_new(SIZE_MAX, 2) == NULL);
    yk_check_int(yoke_error_code(yoke_in_flight()), -ENOMEM);
    yk_check_caught("yoke.Channel", NULL);
    yk_check(yoke_channel_unref(NULL) == NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffered_channel_takes_as_many_items_as_its_capacity_at_once),
        cmocka_unit_test(a_rendezvous_waits_until_the_other_side_is_there),
        cmocka_unit_test(room_in_the_buffer_goes_to_the_sender_that_waits),
        cmocka_unit_test(items_arrive_in_the_order_in_which_they_were_sent),
        cmocka_unit_test(with_several_producers_and_consumers_each_item_arrives_exactly_once),
        cmocka_unit_test(closing_the_sending_end_lets_receivers_take_what_is_buffered),
        cmocka_unit_test(closing_the_receiving_end_drops_what_is_buffered_and_refuses_both_sides),
        cmocka_unit_test(closing_an_end_wakes_the_senders_that_wait),
        cmocka_unit_test(closing_the_sending_end_wakes_receivers_with_the_end_of_stream),
        cmocka_unit_test(closing_the_receiving_end_wakes_receivers_with_an_error),
        cmocka_unit_test(a_cancelled_send_was_not_delivered),
        cmocka_unit_test(a_cancelled_receive_took_nothing),
        cmocka_unit_test(a_hand_over_that_came_before_the_cancellation_stands),
        cmocka_unit_test(a_call_in_a_cancelled_scope_moves_nothing_but_try_calls_do),
        cmocka_unit_test(who_waits_longest_is_served_first),
        cmocka_unit_test(items_are_copied_whole_whatever_their_size),
        cmocka_unit_test(impossible_sizes_are_refused),
    };

    return cmocka_run_group_tests_name("channels", tests, NULL, NULL);
}
