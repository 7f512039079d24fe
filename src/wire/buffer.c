/* SPDX-License-Identifier: MIT */
/*
 * The byte buffer and the framing.
 *
 * Invariant: start <= end <= capacity, and data is NULL exactly when capacity is 0. Runs on any
 * stack; knows nothing of what the bytes mean. Memory doubles, so appending is amortised constant;
 * what was consumed is moved over only when room is needed, so that a reader that keeps up never
 * moves a byte. A ring was decided against: decoding wants each frame in one piece.
 */
#include "wire/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"

enum {
    CAPACITY_MIN = 512,        /* a few small frames */
    CAPACITY_KEEP = 512 << 10, /* kept while empty: one large frame must not pin its memory */
};

void yk_buffer_init(struct yk_buffer *buffer)
{
    memset(buffer, 0, sizeof *buffer);
}

void yk_buffer_fini(struct yk_buffer *buffer)
{
    free(buffer->data);
    yk_buffer_init(buffer);
}

static int grow(struct yk_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity > CAPACITY_MIN ? buffer->capacity : CAPACITY_MIN;
    unsigned char *data;

    while (capacity < needed)
        capacity = capacity <= SIZE_MAX / 2 ? capacity * 2 : needed;
    data = yk_malloc(capacity);
    if (data == NULL)
        return -ENOMEM;
    if (buffer->end > buffer->start)
        memcpy(data, buffer->data + buffer->start, buffer->end - buffer->start);
    free(buffer->data);
    buffer->data = data;
    buffer->capacity = capacity;
    buffer->end -= buffer->start;
    buffer->start = 0;
    return 0;
}

int yk_buffer_reserve(struct yk_buffer *buffer, size_t n)
{
    size_t size = yk_buffer_size(buffer);

    yk_assert(buffer->start <= buffer->end && buffer->end <= buffer->capacity);
    if (n <= buffer->capacity - buffer->end)
        return 0;
    if (n > SIZE_MAX - size)
        return -ENOMEM;
    if (size + n > buffer->capacity)
        return grow(buffer, size + n);
    memmove(buffer->data, buffer->data + buffer->start, size);
    buffer->start = 0;
    buffer->end = size;
    return 0;
}

void yk_buffer_consume(struct yk_buffer *buffer, size_t n)
{
    yk_assert(n <= yk_buffer_size(buffer));
    buffer->start += n;
    if (buffer->start < buffer->end)
        return;
    if (buffer->capacity > CAPACITY_KEEP)
        yk_buffer_fini(buffer);
    buffer->start = 0;
    buffer->end = 0;
}

int yk_frame_next(const struct yk_buffer *buffer, const unsigned char **ret_body, size_t *ret_size)
{
    const unsigned char *head;
    uint32_t size;

    if (yk_buffer_size(buffer) < YK_FRAME_HEADER)
        return 0;
    head = buffer->data + buffer->start;
    size = (uint32_t)head[0] | (uint32_t)head[1] << 8 | (uint32_t)head[2] << 16 |
           (uint32_t)head[3] << 24;
    if (size == 0 || size > YK_FRAME_MAX)
        return yoke_raise("yoke.BadMessage", EMSGSIZE, "frame of %lu bytes, not 1 to %u",
                          (unsigned long)size, YK_FRAME_MAX);
    if (yk_buffer_size(buffer) - YK_FRAME_HEADER < size)
        return 0;
    *ret_body = head + YK_FRAME_HEADER;
    *ret_size = size;
    return 1;
}
