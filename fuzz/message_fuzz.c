/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: a frame body from a peer. It is decoded or refused; what was decoded is sent
 * on, read again and sent on again, and both times the bytes are the same. The body is also read as
 * a plain value, in the same way; and as one of a link that shares memory, with references to it.
 *
 * `./dev fuzz` builds and runs it. By hand, with the library's sources of base, error and wire (no
 * libdw and no json-c: nothing here prints) in $sources:
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -fsanitize=fuzzer,address,undefined -Iinclude -Isrc \
 *     fuzz/message_fuzz.c $sources -lmsgpackc -lpthread -o message_fuzz
 *   fuzz/message_seeds.py seeds && ./message_fuzz corpus seeds
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <yoke/error.h>

#include "base/arena.h"
#include "base/check.h"
#include "base/limits.h"
#include "wire/message.h"
#include "wire/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct yk_arena arena;
static struct yk_buffer first, second;

static void empty(struct yk_buffer *buffer)
{
    yk_buffer_consume(buffer, yk_buffer_size(buffer));
}

static void check_same(void)
{
    yk_assert(yk_buffer_size(&first) == yk_buffer_size(&second));
    yk_assert(
        memcmp(first.data + first.start, second.data + second.start, yk_buffer_size(&first)) == 0);
}

static void fuzz_message(const uint8_t *data, size_t size)
{
    struct yk_message message, again;
    const unsigned char *body;
    size_t body_size;

    if (yk_message_decode(&arena, data, size, &message) < 0) {
        yoke_clear();
        return;
    }
    yk_assert(yk_message_encode(&first, &message, true) == 0);
    yk_assert(yk_frame_next(&first, &body, &body_size) == 1);
    yk_assert(yk_message_decode(&arena, body, body_size, &again) == 0);
    yk_assert(again.type == message.type);
    yk_assert(yk_message_encode(&second, &again, true) == 0);
    check_same();
}

/* Segments that the peer of a link may refer to: number n has n * 100 bytes, even ones alone. */
static const char shared[YK_SEGMENTS_MAX * 100];

static const void *find(struct yk_bulk_in *bulk, unsigned number, size_t size)
{
    (void)bulk;
    return number % 2 == 0 && number < YK_SEGMENTS_MAX && size > 0 && size <= number * 100 ? shared
                                                                                           : NULL;
}

/* Only the bytes that were said to be there are read: sent on in the frame, they are the same. */
static void fuzz_shared(const uint8_t *data, size_t size)
{
    struct yk_bulk_in bulk = {.find = find};
    struct yk_message message;
    char *body = yk_arena_strndup(&arena, (const char *)data, size);

    yk_assert(body != NULL);
    if (yk_message_decode_in_place(&arena, body, size, &bulk, &message) < 0)
        yoke_clear();
    else
        yk_assert(yk_message_encode(&first, &message, true) == 0);
}

static void fuzz_value(const uint8_t *data, size_t size)
{
    struct yoke_value value, again, *copy;

    if (yk_value_decode(&arena, data, size, &value) < 0) {
        yoke_clear();
        return;
    }
    yk_assert(yk_value_encode(&first, value) == 0);
    yk_assert(yk_value_decode(&arena, first.data + first.start, yk_buffer_size(&first), &again) ==
              0);
    yk_assert(yoke_value_equal(value, again));
    copy = yoke_value_copy(again);
    yk_assert(copy != NULL && yoke_value_equal(*copy, value));
    yk_assert(yk_value_encode(&second, *copy) == 0);
    yoke_value_free(copy);
    check_same();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_message(data, size);
    empty(&first);
    empty(&second);
    yk_arena_reset(&arena);
    fuzz_shared(data, size);
    empty(&first);
    yk_arena_reset(&arena);
    fuzz_value(data, size);
    empty(&first);
    empty(&second);
    yk_arena_reset(&arena);
    return 0;
}
