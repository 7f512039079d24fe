/* SPDX-License-Identifier: MIT */
/*
 * The receiver's side of shared memory: the peer's segments, mapped to be read. What a message
 * refers to is leased: by the message itself until the next one, unless its receiver takes the
 * lease over. A view lasts as long as any lease of it, even if its link has ended before.
 */
#ifndef YK_LINK_VIEW_H
#define YK_LINK_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <yoke/common.h>

#include "base/limits.h"
#include "wire/bulk.h"

struct yk_view;

/* Segments that somebody reads from; all zero: none. */
struct yk_lease {
    struct yk_view *view;
    uint32_t mask;
};

struct yk_view {
    struct yk_bulk_in bulk;
    size_t refs;
    const void *memory[YK_SEGMENTS_MAX];
    size_t size[YK_SEGMENTS_MAX];
    uint32_t current;  /* referred to by the message being read */
    uint32_t leased;   /* by others */
    uint32_t released; /* the peer is to be told, as of refused */
    uint32_t refused;
    void (*changed)(void *arg); /* there is something to tell; NULL: nobody to tell it */
    void *arg;
};

struct yk_view *yk_view_new(void (*changed)(void *arg), void *arg); /* NULL: no memory */

/* The link has ended: nothing is told any more. */
void yk_view_abandon(struct yk_view *view);

/*
 * The peer offers a segment. `fd` is taken over; negative: none came. 0, also when it is refused
 * for want of memory or of descriptors; -EBADMSG with an error raised: it is not as it must be.
 */
YOKE_MUST_CHECK int yk_view_accept(struct yk_view *view, int64_t number, int64_t size, int fd);

/* What the message being read refers to, and no more is released with it. */
struct yk_lease yk_view_take(struct yk_view *view);

void yk_view_message_done(struct yk_view *view);

void yk_lease_end(struct yk_lease *lease);

#endif
