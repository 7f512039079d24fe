/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: the tree of an error or of a cause, as a peer sends it. What it becomes is
 * bounded; it is printed, written as JSON, put in flight over others, and sent on: the tree of what
 * was received is encoded, read again and is the same from then on. No error is lost.
 *
 * `./dev fuzz tree_fuzz` builds and runs it; fuzz/tree_seeds.py writes its seeds.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <yoke/error.h>

#include "base/arena.h"
#include "base/check.h"
#include "error/tree.h"
#include "wire/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct yk_arena arena;
static FILE *null;

/* Over the wire and back; takes over the reference. */
static struct yoke_error *send_on(struct yoke_error *error, struct yoke_value *ret_sent)
{
    struct yk_buffer buffer;
    struct yoke_value read;
    struct yoke_error *received;

    *ret_sent = yk_error_to_value(&arena, error, false);
    yk_buffer_init(&buffer);
    yk_assert(yk_value_encode(&buffer, *ret_sent) == 0);
    yk_assert(yk_value_decode(&arena, buffer.data + buffer.start, yk_buffer_size(&buffer), &read) ==
              0);
    yk_buffer_fini(&buffer);
    received = yk_error_from_value(read);
    yk_assert(received != NULL);
    /* Texts of a tree are borrowed from the error; so it is dropped after it was sent. */
    *ret_sent = read;
    yk_error_absorb(error);
    return received;
}

static void show(const struct yoke_error *error)
{
    char *json = yoke_error_json(error, YOKE_PRINT_BACKTRACE);

    yk_assert(yoke_error_print(error, null, YOKE_PRINT_BACKTRACE) == 0);
    yk_assert(yoke_error_print(error, null, YOKE_PRINT_BRIEF) == 0);
    free(json);
}

static void fuzz_error(struct yoke_value value)
{
    struct yoke_error *error = yk_error_from_value(value);
    struct yoke_value first;
    struct yoke_value second;

    if (error == NULL)
        return;
    show(error);
    (void)yoke_raise("fuzz.Before", 1, "before");
    (void)yoke_rethrow(error);
    (void)yoke_raise("fuzz.After", 1, "after");
    (void)yoke_rethrow(yoke_error_ref(error)); /* over one that leads back to it */
    error = yoke_catch();
    show(error);
    error = send_on(error, &first);
    error = send_on(error, &first);
    error = send_on(error, &second);
    yk_assert(yoke_value_equal(first, second));
    yk_error_absorb(error);
}

static void fuzz_cause(struct yoke_value value)
{
    struct yoke_cause *cause = yk_cause_from_value(value);
    unsigned hops = 0;

    if (cause == NULL)
        return;
    for (const struct yoke_cause *hop = cause; hop != NULL; hop = yoke_cause_because(hop))
        hops++;
    yk_assert(hops <= YK_CAUSE_HOPS_MAX);
    yk_assert(yoke_cause_print(cause, null, 0) == 0);
    yk_assert(yk_cause_to_value(&arena, cause).type == YOKE_MAP_VALUE);
    free(yoke_cause_json(cause, 0));
    yoke_cause_unref(cause);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yoke_error_stats stats;
    struct yoke_value value;

    if (null == NULL)
        null = fopen("/dev/null", "w");
    yk_assert(null != NULL);
    if (yk_value_decode(&arena, data, size, &value) < 0) {
        yoke_clear();
    } else {
        fuzz_error(value);
        fuzz_cause(value);
    }
    yk_arena_reset(&arena);
    yoke_error_stats(&stats);
    yk_assert(stats.lost == 0 && stats.live == 0);
    return 0;
}
