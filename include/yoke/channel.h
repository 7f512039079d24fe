/* SPDX-License-Identifier: MIT */
/*
 * Channels carry items of one fixed size between tasks of a runtime, by copy, in order. Several
 * producers and consumers. Capacity 0 is a rendezvous: send waits until a receiver has the item.
 * An item belongs to exactly one side: a cancelled send was not delivered, a cancelled receive
 * took nothing.
 */
#ifndef YOKE_CHANNEL_H
#define YOKE_CHANNEL_H

#include <yoke/common.h>

YOKE_BEGIN

struct yoke_channel;

/* A channel with one reference; NULL with an error raised: no memory, item_size 0 or too big. */
YOKE_API YOKE_MUST_CHECK struct yoke_channel *yoke_channel_new(size_t item_size, size_t capacity);

/* References, for tasks that share it. Freed with the last; nobody may be waiting then. */
YOKE_API struct yoke_channel *yoke_channel_ref(struct yoke_channel *channel);
YOKE_API struct yoke_channel *yoke_channel_unref(struct yoke_channel *channel);

/*
 * Sends a copy of *item; waits while the channel is full. 0; YOKE_CANCELLED; YOKE_ECLOSED with an
 * error raised if either end was closed.
 */
YOKE_API YOKE_MUST_CHECK int yoke_channel_send(struct yoke_channel *channel, const void *item);

/*
 * Receives into *ret_item; waits while the channel is empty. 1; 0 when the sending end was closed
 * and all was received; YOKE_CANCELLED; YOKE_ECLOSED if the receiving end was closed.
 */
YOKE_API YOKE_MUST_CHECK int yoke_channel_receive(struct yoke_channel *channel, void *ret_item);

/* As send and receive but never wait: 1 done; 0 would block (or, received: the end); or closed. */
YOKE_API YOKE_MUST_CHECK int yoke_channel_try_send(struct yoke_channel *channel, const void *item);
YOKE_API YOKE_MUST_CHECK int yoke_channel_try_receive(struct yoke_channel *channel, void *ret_item);

/*
 * Ends. A channel is born with one sending and one receiving end. Who adds producers opens one more
 * for each, before it runs, and each closes its own: only the last one closes the direction. It is
 * the count that matters, not who closes; trio's clone and aclose without the handles.
 *
 *   rc = yoke_channel_open_send(results);              // for each worker
 *   if (rc == 0)
 *       rc = yoke_spawn(&nursery, worker, results);    // ends its own with close_send
 *   ...
 *   yoke_channel_close_send(results);                  // the one that it was born with
 *
 * open: 0; YOKE_ECLOSED with an error raised if that direction is closed already. Never blocks.
 *
 * close: the last one closes that direction for good and wakes whoever waits; after that, closing
 * is fine and does nothing. Never blocks. When the sending direction closes, receivers get what is
 * buffered and then the end, 0. When the receiving direction closes, what is buffered is dropped,
 * and senders fail with YOKE_ECLOSED. So a clean end and a broken one are told apart.
 */
YOKE_API YOKE_MUST_CHECK int yoke_channel_open_send(struct yoke_channel *channel);
YOKE_API YOKE_MUST_CHECK int yoke_channel_open_receive(struct yoke_channel *channel);
YOKE_API void yoke_channel_close_send(struct yoke_channel *channel);
YOKE_API void yoke_channel_close_receive(struct yoke_channel *channel);

/* Items buffered now. Whether a 0 of try_receive is the end: no senders, and nothing buffered. */
YOKE_API size_t yoke_channel_count(const struct yoke_channel *channel);
YOKE_API bool yoke_channel_ended(const struct yoke_channel *channel);

struct yoke_channel_stats {
    size_t count; /* items buffered now */
    size_t capacity;
    size_t senders; /* ends that are open; 0: closed */
    size_t receivers;
    size_t senders_waiting; /* counted by walking the queue */
    size_t receivers_waiting;
};
YOKE_API void yoke_channel_stats(const struct yoke_channel *channel,
                                 struct yoke_channel_stats *ret_stats);

YOKE_END
#endif
