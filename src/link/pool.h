/* SPDX-License-Identifier: MIT */
/*
 * The sender's side of shared memory: segments that this process writes large values to and its
 * peer reads. A segment belongs to the one or to the other: to the peer from the moment that it is
 * offered or holds a value, to the pool when the peer has released it.
 */
#ifndef YK_LINK_POOL_H
#define YK_LINK_POOL_H

#include <stdbool.h>

#include "base/limits.h"
#include "wire/bulk.h"

enum yk_segment_state {
    YK_SEGMENT_NONE,
    YK_SEGMENT_OFFERED, /* the peer has not answered yet */
    YK_SEGMENT_FREE,
    YK_SEGMENT_FULL, /* with the peer */
};

struct yk_segment {
    enum yk_segment_state state;
    void *memory;
    size_t size; /* a power of two */
};

struct yk_pool {
    struct yk_bulk_out bulk;
    struct yk_segment segments[YK_SEGMENTS_MAX];
    size_t total;       /* bytes of all */
    uint32_t placed;    /* by the message being written */
    size_t wanted;      /* bytes of a value for which there was no segment; 0: none */
    unsigned asked_for; /* large values until now, or since the last failure to offer */
    unsigned seldom;    /* no offer before that many */
};

void yk_pool_init(struct yk_pool *pool);
void yk_pool_fini(struct yk_pool *pool);

/* The message being written is queued; or it is not, and gives back what was placed for it. */
void yk_pool_keep(struct yk_pool *pool);
void yk_pool_undo(struct yk_pool *pool);

/* Whether every segment that a value of this size may have is there already, and with the peer. */
bool yk_pool_exhausted(const struct yk_pool *pool, size_t size);

/*
 * A new segment for a value that found none: its number, with its sealed descriptor, the caller's;
 * negative: none is due, or there is no memory or descriptor for it.
 */
int yk_pool_offer(struct yk_pool *pool, int *ret_fd);

/* The peer has released, or refused, segments. Whether one is free that was not. */
bool yk_pool_released(struct yk_pool *pool, uint32_t released, uint32_t refused);

#endif
