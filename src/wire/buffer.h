/* SPDX-License-Identifier: MIT */
/* A growing byte buffer with a read position; and the framing: u32 little-endian length, body. */
#ifndef YK_WIRE_BUFFER_H
#define YK_WIRE_BUFFER_H

#include <stddef.h>
#include <string.h>
#include <yoke/common.h>

enum { YK_FRAME_HEADER = 4 }; /* bytes of the length in front of each body */

struct yk_buffer {
    unsigned char *data; /* owned; NULL while nothing is allocated */
    size_t start;        /* first unread byte */
    size_t end;          /* end of what was written */
    size_t capacity;
};

void yk_buffer_init(struct yk_buffer *buffer);
void yk_buffer_fini(struct yk_buffer *buffer);

static inline size_t yk_buffer_size(const struct yk_buffer *buffer)
{
    return buffer->end - buffer->start;
}

/*
 * Makes room for n more bytes behind `end`; may move what is there to the front, so pointers into
 * the buffer end here. 0 or -ENOMEM, the content untouched; raises nothing.
 */
YOKE_MUST_CHECK int yk_buffer_reserve(struct yk_buffer *buffer, size_t n);

/* 0 or -ENOMEM, the content untouched; raises nothing. Inline: messages are appended in many bits.
 */
YOKE_MUST_CHECK static inline int yk_buffer_append(struct yk_buffer *buffer, const void *data,
                                                   size_t n)
{
    if (n > buffer->capacity - buffer->end) {
        int rc = yk_buffer_reserve(buffer, n);

        if (rc < 0)
            return rc;
    }
    if (n > 0)
        memcpy(buffer->data + buffer->end, data, n);
    buffer->end += n;
    return 0;
}

/* n bytes at the front were used up; an empty buffer starts over, and gives back memory over 512
 * KiB. */
void yk_buffer_consume(struct yk_buffer *buffer, size_t n);

/*
 * The frame at the front of the buffer. 1: whole, with its body (borrowed until the buffer is next
 * changed); the caller consumes YK_FRAME_HEADER + size. 0: more bytes are needed. -EMSGSIZE with an
 * error raised: the length is over YK_FRAME_MAX or 0, the stream can't be trusted any more.
 */
YOKE_MUST_CHECK int yk_frame_next(const struct yk_buffer *buffer, const unsigned char **ret_body,
                                  size_t *ret_size);

#endif
