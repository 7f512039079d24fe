/* SPDX-License-Identifier: MIT */
/*
 * Bytes beside the frame: where a link shares memory with its peer, a large bin is written as a
 * reference to a segment of it, which is never part of plain msgpack: the byte 0xc1, the segment's
 * number in one byte, and the size in four, the highest first. The bytes begin where the segment
 * does. How memory is shared is the link's business (link/pool.h, link/view.h).
 */
#ifndef YK_WIRE_BULK_H
#define YK_WIRE_BULK_H

#include <stddef.h>
#include <stdint.h>

enum { YK_BULK_HEAD = 0xc1, YK_BULK_SIZE = 6 };

/* The writer's side. */
struct yk_bulk_out {
    size_t least; /* smaller ones stay in the frame */
    /* Copies the bytes into a segment: its number, or negative: they stay in the frame. */
    int (*place)(struct yk_bulk_out *bulk, const void *data, size_t size);
};

/* The reader's side. */
struct yk_bulk_in {
    /* The bytes of a reference, or NULL: it is not one that the peer may make. */
    const void *(*find)(struct yk_bulk_in *bulk, unsigned number, size_t size);
};

#endif
