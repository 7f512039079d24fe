/* SPDX-License-Identifier: MIT */
/*
 * Channels: a ring of items, a queue of senders, a queue of receivers. Items are handed over
 * directly: a sender that meets a waiting receiver copies into its frame, a receiver that makes
 * room lets the first waiting sender's item in. So an item is in exactly one place at any time, and
 * a wait that is aborted has moved nothing.
 *
 * Invariants: receivers wait only if the ring is empty and no sender waits; senders wait only if
 * the ring is full and no receiver waits.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/channel.h>

#include "base/check.h"
#include "base/memory.h"
#include "task/task.h"

struct yoke_channel {
    size_t refs;
    size_t item_size;
    size_t capacity;
    size_t first;
    size_t count;
    struct yk_list senders;   /* yk_wait, data: const void *item */
    struct yk_list receivers; /* yk_wait, data: void *ret_item */
    size_t send_ends;         /* still open */
    size_t receive_ends;      /* still open */
    bool send_closed;
    bool receive_closed;
    max_align_t items[];
};

static char *item_at(struct yoke_channel *channel, size_t i)
{
    size_t place = channel->first + i;

    if (place >= channel->capacity)
        place -= channel->capacity;
    return (char *)channel->items + place * channel->item_size;
}

struct yoke_channel *yoke_channel_new(size_t item_size, size_t capacity)
{
    struct yoke_channel *channel = NULL;
    size_t bytes;

    if (item_size == 0) {
        yoke_raise("yoke.Channel", EINVAL, "item_size is 0");
        return NULL;
    }
    if (!__builtin_mul_overflow(item_size, capacity, &bytes) &&
        !__builtin_add_overflow(bytes, sizeof *channel, &bytes))
        channel = yk_calloc(1, bytes);
    if (channel == NULL) {
        yoke_raise("yoke.Channel", ENOMEM, "no memory for a channel of %zu items of %zu bytes",
                   capacity, item_size);
        return NULL;
    }
    channel->refs = 1;
    channel->send_ends = 1;
    channel->receive_ends = 1;
    channel->item_size = item_size;
    channel->capacity = capacity;
    yk_list_init(&channel->senders);
    yk_list_init(&channel->receivers);
    return channel;
}

struct yoke_channel *yoke_channel_ref(struct yoke_channel *channel)
{
    channel->refs++;
    return channel;
}

struct yoke_channel *yoke_channel_unref(struct yoke_channel *channel)
{
    if (channel == NULL || --channel->refs > 0)
        return NULL;
    yk_assert(yk_list_empty(&channel->senders) && yk_list_empty(&channel->receivers));
    free(channel);
    return NULL;
}

static int closed(const char *end)
{
    return yoke_raise("yoke.Closed", YOKE_ECLOSED, "the channel's %s end is closed", end);
}

/* 1 done, 0 it would block, YOKE_ECLOSED. */
static int send_now(struct yoke_channel *channel, const void *item)
{
    struct yk_list *node;

    if (channel->send_closed)
        return closed("sending");
    if (channel->receive_closed)
        return closed("receiving");
    node = yk_list_pop(&channel->receivers);
    if (node != NULL) {
        struct yk_wait *wait = yk_container_of(node, struct yk_wait, node);

        memcpy(wait->data, item, channel->item_size);
        yk_wake_wait(wait, 1);
        return 1;
    }
    if (channel->count == channel->capacity)
        return 0;
    memcpy(item_at(channel, channel->count++), item, channel->item_size);
    return 1;
}

/* A waiting sender's item comes in. false: nobody waits. */
static bool take_from_sender(struct yoke_channel *channel, void *ret_item)
{
    struct yk_list *node = yk_list_pop(&channel->senders);
    struct yk_wait *wait;

    if (node == NULL)
        return false;
    wait = yk_container_of(node, struct yk_wait, node);
    memcpy(ret_item, wait->data, channel->item_size);
    yk_wake_wait(wait, 0);
    return true;
}

/* 1 done, 0 it would block, YOKE_ECLOSED. */
static int receive_now(struct yoke_channel *channel, void *ret_item)
{
    if (channel->receive_closed)
        return closed("receiving");
    if (channel->count > 0) {
        memcpy(ret_item, item_at(channel, 0), channel->item_size);
        channel->first = channel->first + 1 == channel->capacity ? 0 : channel->first + 1;
        channel->count--;
        if (take_from_sender(channel, item_at(channel, channel->count)))
            channel->count++;
        return 1;
    }
    return take_from_sender(channel, ret_item) ? 1 : 0;
}

int yoke_channel_send(struct yoke_channel *channel, const void *item)
{
    struct yk_task *task = yk_task_self("yoke_channel_send");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    rc = send_now(channel, item);
    if (rc < 0)
        return rc;
    if (rc > 0) {
        yk_completed_at_once(task);
        return 0;
    }
    rc = yk_wait_in(&channel->senders, "channel send", (void *)(uintptr_t)item);
    if (rc == YOKE_ECLOSED)
        return closed(channel->send_closed ? "sending" : "receiving");
    return rc;
}

int yoke_channel_receive(struct yoke_channel *channel, void *ret_item)
{
    struct yk_task *task = yk_task_self("yoke_channel_receive");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    rc = receive_now(channel, ret_item);
    if (rc == 0 && !channel->send_closed) {
        rc = yk_wait_in(&channel->receivers, "channel receive", ret_item);
        return rc == YOKE_ECLOSED ? closed("receiving") : rc;
    }
    if (rc >= 0)
        yk_completed_at_once(task);
    return rc;
}

int yoke_channel_try_send(struct yoke_channel *channel, const void *item)
{
    yk_task_self("yoke_channel_try_send");
    return send_now(channel, item);
}

int yoke_channel_try_receive(struct yoke_channel *channel, void *ret_item)
{
    yk_task_self("yoke_channel_try_receive");
    return receive_now(channel, ret_item);
}

int yoke_channel_open_send(struct yoke_channel *channel)
{
    if (channel->send_closed)
        return closed("sending");
    channel->send_ends++;
    return 0;
}

int yoke_channel_open_receive(struct yoke_channel *channel)
{
    if (channel->receive_closed)
        return closed("receiving");
    channel->receive_ends++;
    return 0;
}

void yoke_channel_close_send(struct yoke_channel *channel)
{
    if (channel->send_closed || --channel->send_ends > 0)
        return;
    channel->send_closed = true;
    while (yk_wake_first(&channel->receivers, 0))
        continue;
    while (yk_wake_first(&channel->senders, YOKE_ECLOSED))
        continue;
}

void yoke_channel_close_receive(struct yoke_channel *channel)
{
    if (channel->receive_closed || --channel->receive_ends > 0)
        return;
    channel->receive_closed = true;
    channel->count = 0;
    while (yk_wake_first(&channel->receivers, YOKE_ECLOSED))
        continue;
    while (yk_wake_first(&channel->senders, YOKE_ECLOSED))
        continue;
}

size_t yoke_channel_count(const struct yoke_channel *channel)
{
    return channel->count;
}

bool yoke_channel_ended(const struct yoke_channel *channel)
{
    return channel->send_closed && channel->count == 0;
}

void yoke_channel_stats(const struct yoke_channel *channel, struct yoke_channel_stats *ret_stats)
{
    *ret_stats = (struct yoke_channel_stats){
        .count = channel->count,
        .capacity = channel->capacity,
        .senders = channel->send_ends,
        .receivers = channel->receive_ends,
        .senders_waiting = yk_waiting_in(&channel->senders),
        .receivers_waiting = yk_waiting_in(&channel->receivers),
    };
}

struct yk_list *yk_channel_senders(struct yoke_channel *channel)
{
    return &channel->senders;
}

struct yk_list *yk_channel_receivers(struct yoke_channel *channel)
{
    return &channel->receivers;
}
