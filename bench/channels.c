/* SPDX-License-Identifier: MIT */
/* Channels: one producer, one consumer, items of 8 bytes; unbuffered, and with room for 128. */
#include <errno.h>
#include <string.h>
#include <yoke/channel.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>

#include "../bench/bench.h"

enum { ITEMS = 1000000, ROOM = 128 };

struct flow {
    struct yoke_channel *channel;
    long n;
};

static int produce(void *arg)
{
    struct flow *flow = arg;
    int rc = 0;

    for (int64_t i = 0; rc == 0 && i < flow->n; i++)
        rc = yoke_channel_send(flow->channel, &i);
    yoke_channel_close_send(flow->channel);
    return rc;
}

static int consume(void *arg)
{
    struct flow *flow = arg;
    int64_t item;
    long n = 0;
    int rc;

    while ((rc = yoke_channel_receive(flow->channel, &item)) > 0)
        n++;
    return rc == 0 && n != flow->n ? -EBADMSG : rc;
}

static int flow_through(size_t capacity, long n)
{
    struct flow flow = {.channel = yoke_channel_new(sizeof(int64_t), capacity), .n = n};
    struct yoke_nursery nursery;
    int rc;

    if (flow.channel == NULL)
        return -ENOMEM;
    rc = yoke_nursery_open(&nursery, NULL);
    if (rc == 0)
        rc = yoke_spawn(&nursery, produce, &flow);
    if (rc == 0)
        rc = yoke_spawn(&nursery, consume, &flow);
    rc = yoke_nursery_close(&nursery, rc);
    yoke_channel_unref(flow.channel);
    return rc;
}

static int rendezvous(long n)
{
    return flow_through(0, n);
}

static int rendezvous_value(double *ret)
{
    return bench_in_runtime(rendezvous, ITEMS, ret);
}

static int buffered(long n)
{
    return flow_through(ROOM, n);
}

static int buffered_value(double *ret)
{
    return bench_in_runtime(buffered, ITEMS, ret);
}

/* The same copies through a ring, by one thread that never waits. */
static int ring(long n)
{
    int64_t items[ROOM];
    int64_t item = 0;

    for (long i = 0; i < n; i += ROOM) {
        for (int64_t k = 0; k < ROOM; k++) {
            memcpy(&items[k], &k, sizeof k);
            bench_keep(&items[k]);
        }
        for (size_t k = 0; k < ROOM; k++) {
            memcpy(&item, &items[k], sizeof item);
            bench_keep(&item);
        }
    }
    return 0;
}

static int ring_floor(double *ret)
{
    return bench_plain(ring, ITEMS, ret);
}

const struct bench_case bench_channel_cases[] = {
    {"chan_rendezvous", "ns", rendezvous_value, bench_raw_switch, "a bare coroutine switch", false},
    {"chan_buffered", "ns", buffered_value, ring_floor, "an item copied into a ring and out",
     false},
    {0},
};
