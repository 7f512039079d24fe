/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: a frame body from a peer. It is decoded or refused; what was decoded is sent
 * on, read again and sent on again, and both times the bytes are the same. The body is also read as
 * a plain value, in the same way.
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
    fuzz_value(data, size);
    empty(&first);
    empty(&second);
    yk_arena_reset(&arena);
    return 0;
}
