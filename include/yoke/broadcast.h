/* SPDX-License-Identifier: MIT */
/*
 * Broadcast channels: every subscriber gets every item, by copy, in order, from one ring. A sender
 * that is faster than a subscriber overwrites what that one has not seen; it is told how many items
 * it lost (as with tokio's broadcast). Or, by option, the sender waits for the slowest.
 *
 *   struct yoke_subscription prices;
 *   uint64_t lost;
 *   yoke_broadcast_subscribe(market, &prices);
 *   while ((rc = yoke_broadcast_receive(&prices, &price, &lost)) > 0)
 *       show(&price, lost);
 *   yoke_broadcast_unsubscribe(&prices);
 */
#ifndef YOKE_BROADCAST_H
#define YOKE_BROADCAST_H

#include <yoke/common.h>

YOKE_BEGIN

struct yoke_broadcast;

struct yoke_subscription {            /* in place; every field is private */
    struct yoke_broadcast *broadcast; /* NULL: not subscribed */
    uint64_t position;                /* number of the next item to receive */
};

struct yoke_broadcast_opts {
    bool wait; /* a sender waits while the slowest subscriber is `capacity` items behind */
};

/*
 * A broadcast channel with one reference; NULL with an error raised: no memory, item_size or
 * capacity 0 or too big. `opts` may be NULL.
 */
YOKE_API YOKE_MUST_CHECK struct yoke_broadcast *yoke_broadcast_new(
    size_t item_size, size_t capacity, const struct yoke_broadcast_opts *opts);

/* References. Freed with the last; nobody may be subscribed, or wait to send, by then. */
YOKE_API struct yoke_broadcast *yoke_broadcast_ref(struct yoke_broadcast *broadcast);
YOKE_API struct yoke_broadcast *yoke_broadcast_unref(struct yoke_broadcast *broadcast);

/* From now on this subscription gets what is sent. For one task at a time. Never blocks. */
YOKE_API void yoke_broadcast_subscribe(struct yoke_broadcast *broadcast,
                                       struct yoke_subscription *subscription);

/* Ends it; nobody may be receiving by it. Senders no longer wait for it. Repeating is fine. */
YOKE_API void yoke_broadcast_unsubscribe(struct yoke_subscription *subscription);

/*
 * Sends a copy of *item to all who are subscribed when it goes into the ring. Without `wait` it
 * never waits, but is a checkpoint all the same. 0, also if nobody is subscribed; YOKE_CANCELLED,
 * not sent; YOKE_ECLOSED with an error raised if the channel is closed.
 */
YOKE_API YOKE_MUST_CHECK int yoke_broadcast_send(struct yoke_broadcast *broadcast,
                                                 const void *item);

/* As send but never waits: 1 sent; 0 it would wait; YOKE_ECLOSED. */
YOKE_API YOKE_MUST_CHECK int yoke_broadcast_try_send(struct yoke_broadcast *broadcast,
                                                     const void *item);

/*
 * Receives the next item into *ret_item; waits while there is none. *ret_lost is how many items
 * before it were overwritten unseen: 0, unless this subscriber was too slow. 1; 0 when the channel
 * was closed and all was received; YOKE_CANCELLED, nothing taken and nothing lost.
 */
YOKE_API YOKE_MUST_CHECK int yoke_broadcast_receive(struct yoke_subscription *subscription,
                                                    void *ret_item, uint64_t *ret_lost);

/* As receive but never waits: 1 received; 0 there is none (or, if closed: the end). */
YOKE_API YOKE_MUST_CHECK int yoke_broadcast_try_receive(struct yoke_subscription *subscription,
                                                        void *ret_item, uint64_t *ret_lost);

/*
 * Closes it for good: subscribers get what is left and then the end, senders YOKE_ECLOSED. Never
 * blocks; closing twice is fine.
 */
YOKE_API void yoke_broadcast_close(struct yoke_broadcast *broadcast);

struct yoke_broadcast_stats {
    uint64_t sent; /* items so far */
    size_t subscribers;
    size_t unread; /* items in the ring that somebody has still to receive */
    size_t senders_waiting;
    size_t receivers_waiting;
    bool closed;
};
YOKE_API void yoke_broadcast_stats(const struct yoke_broadcast *broadcast,
                                   struct yoke_broadcast_stats *ret_stats);

YOKE_END
#endif
