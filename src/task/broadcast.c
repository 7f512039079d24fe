/* SPDX-License-Identifier: MIT */
/*
 * Broadcast channels. Items have numbers, in the order in which they were sent; item i is in place
 * i % capacity of the ring until item i + capacity overwrites it. A subscription is no more than
 * the number of the item that it gets next. Each place counts the subscribers that have still to
 * receive what is in it; so the oldest item that anybody needs is known without asking them all,
 * and a sender that waits for it costs nothing to the rest.
 *
 * Receivers are woken, not handed to: they find their item in the ring. One that was woken and is
 * slow to run may find it overwritten, and is told like any other that was too slow.
 *
 * Invariant: senders wait only if the channel is one that waits, and the ring is full.
 */
#include <yoke/broadcast.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "task/task.h"

struct yoke_broadcast {
    size_t refs;
    size_t item_size;
    size_t capacity;
    uint64_t sent;   /* the number of the next item */
    uint64_t oldest; /* no subscriber needs an item before this one */
    size_t subscribers;
    struct yk_list senders;   /* yk_wait, data: const void *item */
    struct yk_list receivers; /* yk_wait */
    bool wait;
    bool closed;
    char *items;
    size_t unread[]; /* per place: how many have still to receive it */
};

static size_t place_of(const struct yoke_broadcast *broadcast, uint64_t number)
{
    return (size_t)(number % broadcast->capacity);
}

struct yoke_broadcast *yoke_broadcast_new(size_t item_size, size_t capacity,
                                          const struct yoke_broadcast_opts *opts)
{
    struct yoke_broadcast *broadcast = NULL;
    size_t per_item, bytes;

    if (item_size == 0 || capacity == 0) {
        yoke_raise("yoke.Broadcast", EINVAL, "item_size is %zu, capacity is %zu; neither may be 0",
                   item_size, capacity);
        return NULL;
    }
    if (!__builtin_add_overflow(item_size, sizeof(size_t), &per_item) &&
        !__builtin_mul_overflow(per_item, capacity, &bytes) &&
        !__builtin_add_overflow(bytes, sizeof *broadcast, &bytes))
        broadcast = yk_calloc(1, bytes);
    if (broadcast == NULL) {
        yoke_raise("yoke.Broadcast", ENOMEM,
                   "no memory for a broadcast channel of %zu items of %zu bytes", capacity,
                   item_size);
        return NULL;
    }
    broadcast->refs = 1;
    broadcast->item_size = item_size;
    broadcast->capacity = capacity;
    broadcast->wait = opts != NULL && opts->wait;
    broadcast->items = (char *)&broadcast->unread[capacity];
    yk_list_init(&broadcast->senders);
    yk_list_init(&broadcast->receivers);
    return broadcast;
}

struct yoke_broadcast *yoke_broadcast_ref(struct yoke_broadcast *broadcast)
{
    broadcast->refs++;
    return broadcast;
}

struct yoke_broadcast *yoke_broadcast_unref(struct yoke_broadcast *broadcast)
{
    if (broadcast == NULL || --broadcast->refs > 0)
        return NULL;
    yk_assert(broadcast->subscribers == 0);
    yk_assert(yk_list_empty(&broadcast->senders) && yk_list_empty(&broadcast->receivers));
    free(broadcast);
    return NULL;
}

/* The first number that is still in the ring. */
static uint64_t first_kept(const struct yoke_broadcast *broadcast)
{
    return broadcast->sent > broadcast->capacity ? broadcast->sent - broadcast->capacity : 0;
}

static void put(struct yoke_broadcast *broadcast, const void *item)
{
    size_t place = place_of(broadcast, broadcast->sent);

    memcpy(broadcast->items + place * broadcast->item_size, item, broadcast->item_size);
    broadcast->unread[place] = broadcast->subscribers;
    broadcast->sent++;
    while (yk_wake_first(&broadcast->receivers, 0))
        continue;
}

/* Moves on to the oldest item that somebody needs. true: there is room for one more. */
static bool has_room(struct yoke_broadcast *broadcast)
{
    if (broadcast->oldest < first_kept(broadcast))
        broadcast->oldest = first_kept(broadcast);
    while (broadcast->oldest < broadcast->sent &&
           broadcast->unread[place_of(broadcast, broadcast->oldest)] == 0)
        broadcast->oldest++;
    return !broadcast->wait || broadcast->sent - broadcast->oldest < broadcast->capacity;
}

static void let_senders_in(struct yoke_broadcast *broadcast)
{
    struct yk_list *node;

    while (!yk_list_empty(&broadcast->senders) && has_room(broadcast)) {
        struct yk_wait *wait;

        node = yk_list_pop(&broadcast->senders);
        wait = yk_container_of(node, struct yk_wait, node);
        put(broadcast, wait->data);
        yk_wake_wait(wait, 0);
    }
}

void yoke_broadcast_subscribe(struct yoke_broadcast *broadcast,
                              struct yoke_subscription *subscription)
{
    subscription->broadcast = broadcast;
    subscription->position = broadcast->sent;
    broadcast->subscribers++;
}

void yoke_broadcast_unsubscribe(struct yoke_subscription *subscription)
{
    struct yoke_broadcast *broadcast = subscription->broadcast;
    uint64_t number = subscription->position;

    if (broadcast == NULL)
        return;
    subscription->broadcast = NULL;
    if (number < first_kept(broadcast))
        number = first_kept(broadcast);
    for (; number < broadcast->sent; number++)
        broadcast->unread[place_of(broadcast, number)]--;
    broadcast->subscribers--;
    let_senders_in(broadcast);
}

static int closed(void)
{
    return yoke_raise("yoke.Closed", YOKE_ECLOSED, "the broadcast channel is closed");
}

/* 1 sent, 0 it would wait, YOKE_ECLOSED. */
static int send_now(struct yoke_broadcast *broadcast, const void *item)
{
    if (broadcast->closed)
        return closed();
    if (!has_room(broadcast))
        return 0;
    put(broadcast, item);
    return 1;
}

int yoke_broadcast_send(struct yoke_broadcast *broadcast, const void *item)
{
    struct yk_task *task = yk_task_self("yoke_broadcast_send");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    rc = send_now(broadcast, item);
    if (rc < 0)
        return rc;
    if (rc > 0) {
        yk_completed_at_once(task);
        return 0;
    }
    rc = yk_wait_in(&broadcast->senders, "broadcast send", (void *)(uintptr_t)item);
    return rc == YOKE_ECLOSED ? closed() : rc;
}

int yoke_broadcast_try_send(struct yoke_broadcast *broadcast, const void *item)
{
    yk_task_self("yoke_broadcast_try_send");
    return send_now(broadcast, item);
}

/* 1 received, 0 there is none. */
static int receive_now(struct yoke_subscription *subscription, void *ret_item, uint64_t *ret_lost)
{
    struct yoke_broadcast *broadcast = subscription->broadcast;
    uint64_t number = subscription->position;
    size_t place;

    yk_assert(broadcast != NULL);
    if (number < first_kept(broadcast))
        number = first_kept(broadcast);
    if (number == broadcast->sent)
        return 0;
    yk_assert(number == subscription->position || !broadcast->wait);
    *ret_lost = number - subscription->position;
    place = place_of(broadcast, number);
    memcpy(ret_item, broadcast->items + place * broadcast->item_size, broadcast->item_size);
    subscription->position = number + 1;
    if (--broadcast->unread[place] == 0)
        let_senders_in(broadcast);
    return 1;
}

int yoke_broadcast_receive(struct yoke_subscription *subscription, void *ret_item,
                           uint64_t *ret_lost)
{
    struct yk_task *task = yk_task_self("yoke_broadcast_receive");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    rc = receive_now(subscription, ret_item, ret_lost);
    if (rc > 0 || subscription->broadcast->closed) {
        yk_completed_at_once(task);
        return rc;
    }
    while (rc == 0 && !subscription->broadcast->closed) {
        rc = yk_wait_in(&subscription->broadcast->receivers, "broadcast receive", NULL);
        if (rc == 0)
            rc = receive_now(subscription, ret_item, ret_lost);
    }
    return rc;
}

int yoke_broadcast_try_receive(struct yoke_subscription *subscription, void *ret_item,
                               uint64_t *ret_lost)
{
    yk_task_self("yoke_broadcast_try_receive");
    return receive_now(subscription, ret_item, ret_lost);
}

void yoke_broadcast_close(struct yoke_broadcast *broadcast)
{
    broadcast->closed = true;
    while (yk_wake_first(&broadcast->receivers, 0))
        continue;
    while (yk_wake_first(&broadcast->senders, YOKE_ECLOSED))
        continue;
}

void yoke_broadcast_stats(const struct yoke_broadcast *broadcast,
                          struct yoke_broadcast_stats *ret_stats)
{
    size_t unread = 0;

    for (size_t place = 0; place < broadcast->capacity; place++)
        unread += broadcast->unread[place] > 0;
    *ret_stats = (struct yoke_broadcast_stats){
        .sent = broadcast->sent,
        .subscribers = broadcast->subscribers,
        .unread = unread,
        .senders_waiting = yk_waiting_in(&broadcast->senders),
        .receivers_waiting = yk_waiting_in(&broadcast->receivers),
        .closed = broadcast->closed,
    };
}

/* Woken, it is attempted again: the item is in the ring, or the end is there. */
static int attempt_receive(struct yoke_select_case *c)
{
    struct yoke_subscription *subscription = c->object;
    int rc = receive_now(subscription, c->data, c->extra);

    c->result = rc;
    return rc == 0 && subscription->broadcast->closed ? 1 : rc;
}

static int enlist_receive(struct yoke_select_case *c)
{
    struct yoke_subscription *subscription = c->object;

    yk_list_append(&subscription->broadcast->receivers, &c->wait.node);
    return 0;
}

struct yoke_select_case yoke_case_broadcast(struct yoke_subscription *subscription, void *ret_item,
                                            uint64_t *ret_lost)
{
    static const struct yoke_select_source source = {
        .name = "broadcast receive",
        .attempt = attempt_receive,
        .enlist = enlist_receive,
    };
    struct yoke_select_case c = yoke_case_source(&source, subscription, ret_item);

    c.extra = ret_lost;
    return c;
}
