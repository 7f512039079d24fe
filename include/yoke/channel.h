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
 * Closes an end for good and wakes whoever waits; never blocks, closing twice is fine. Closing the
 * sending end lets receivers take what is buffered. Closing the receiving end drops it.
 */
YOKE_API void yoke_channel_close_send(struct yoke_channel *channel);
YOKE_API void yoke_channel_close_receive(struct yoke_channel *channel);

/* Items buffered now. */
YOKE_API size_t yoke_channel_count(const struct yoke_channel *channel);

YOKE_END
#endif
