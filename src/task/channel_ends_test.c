/* SPDX-License-Identifier: MIT */
/* Ends of channels: with several producers and consumers, the last one closes. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <yoke/channel.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

enum { PRODUCERS = 4, CONSUMERS = 3, ITEMS = 20 };

struct producer {
    struct yoke_channel *channel;
    int first;
};

static int produce(void *arg)
{
    struct producer *producer = arg;
    int rc = 0;

    for (int i = 0; rc == 0 && i < ITEMS; i++)
        rc = yoke_channel_send(producer->channel, &(int){producer->first + i});
    yoke_channel_close_send(producer->channel);
    return rc;
}

struct consumer {
    struct yoke_channel *channel;
    int *seen; /* per item */
    int most;  /* items to take; then it closes its end */
};

static int consume(void *arg)
{
    struct consumer *consumer = arg;
    int item;
    int rc = 1;

    for (int i = 0; rc > 0 && i < consumer->most; i++) {
        rc = yoke_channel_receive(consumer->channel, &item);
        if (rc > 0)
            consumer->seen[item]++;
    }
    yoke_channel_close_receive(consumer->channel);
    return rc < 0 ? rc : 0;
}

static void spawn_producers(struct yoke_nursery *nursery, struct yoke_channel *channel,
                            struct producer *producers)
{
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){channel, i * ITEMS};
        yk_check_int(yoke_channel_open_send(channel), 0);
        yk_check_int(yoke_spawn(nursery, produce, &producers[i]), 0);
    }
    yoke_channel_close_send(channel); /* that which it was born with */
}

YK_SIM_TEST(receivers_get_all_items_and_the_end_when_the_last_sender_has_closed)
{
    for (size_t capacity = 0; capacity <= 3; capacity += 3) {
        struct yoke_channel *channel = yoke_channel_new(sizeof(int), capacity);
        struct producer producers[PRODUCERS];
        struct consumer consumers[CONSUMERS];
        struct yoke_nursery nursery;
        int seen[PRODUCERS * ITEMS] = {0};

        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        for (int i = 0; i < CONSUMERS; i++) {
            consumers[i] = (struct consumer){channel, seen, PRODUCERS * ITEMS};
            if (i > 0)
                yk_check_int(yoke_channel_open_receive(channel), 0);
            yk_check_int(yoke_spawn(&nursery, consume, &consumers[i]), 0);
        }
        spawn_producers(&nursery, channel, producers);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        for (int i = 0; i < PRODUCERS * ITEMS; i++)
            yk_check_int(seen[i], 1);
        yk_check(yoke_channel_ended(channel));
        yoke_channel_unref(channel);
    }
    return 0;
}

static int produce_until_closed(void *arg)
{
    int rc = produce(arg);

    yk_check_int(rc, YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", "the channel's receiving end is closed");
    return 0;
}

YK_SIM_TEST(senders_fail_when_the_last_receiver_has_gone_and_not_before)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 0);
    struct consumer consumers[2];
    struct producer producer = {channel, 0};
    struct yoke_channel_stats stats;
    struct yoke_nursery nursery;
    int seen[ITEMS] = {0};

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_channel_open_receive(channel), 0);
    for (int i = 0; i < 2; i++)
        consumers[i] = (struct consumer){channel, seen, 5};
    yk_check_int(yoke_spawn(&nursery, consume, &consumers[0]), 0);
    yk_check_int(yoke_spawn(&nursery, produce_until_closed, &producer), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_channel_stats(channel,
                       &stats); /* one has taken its share and left; the other is to come */
    yk_check_int(stats.receivers, 1);
    yk_check_int(stats.senders, 1);
    yk_check_int(stats.senders_waiting, 1);
    yk_check_int(yoke_spawn(&nursery, consume, &consumers[1]), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < ITEMS; i++)
        yk_check_int(seen[i], i < 10);
    yk_check_int(yoke_channel_open_receive(channel), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_channel_open_send(channel), YOKE_ECLOSED); /* the producer closed it */
    yk_check_caught("yoke.Closed", NULL);
    yoke_channel_unref(channel);
    return 0;
}

YK_SIM_TEST(a_zero_of_try_receive_is_the_end_only_if_the_channel_has_ended)
{
    struct yoke_channel *channel = yoke_channel_new(sizeof(int), 2);
    struct yoke_channel_stats stats;
    int item = 4;

    yk_check_int(yoke_channel_try_receive(channel, &item), 0);
    yk_check(!yoke_channel_ended(channel));
    yk_check_int(yoke_channel_open_send(channel), 0);
    yk_check_int(yoke_channel_try_send(channel, &item), 1);
    yoke_channel_close_send(channel);
    yk_check_int(yoke_channel_try_send(channel, &item), 1); /* the other end is open */
    yoke_channel_close_send(channel);
    yoke_channel_close_send(channel); /* once more than were open: nothing */
    yoke_channel_stats(channel, &stats);
    yk_check(stats.count == 2 && stats.capacity == 2 && stats.senders == 0 && stats.receivers == 1);
    yk_check(!yoke_channel_ended(channel));
    yk_check_int(yoke_channel_try_receive(channel, &item), 1);
    yk_check_int(yoke_channel_receive(channel, &item), 1);
    yk_check(yoke_channel_ended(channel));
    yk_check_int(yoke_channel_try_receive(channel, &item), 0);
    yoke_channel_unref(channel);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(receivers_get_all_items_and_the_end_when_the_last_sender_has_closed),
        cmocka_unit_test(senders_fail_when_the_last_receiver_has_gone_and_not_before),
        cmocka_unit_test(a_zero_of_try_receive_is_the_end_only_if_the_channel_has_ended),
    };

    return cmocka_run_group_tests_name("channel_ends", tests, NULL, NULL);
}
