/* SPDX-License-Identifier: MIT */
/*
 * libFuzzer target: a payload spec, as a peer's Start brings it, up to the first newline, and
 * behind it a value to check. Whatever the text is, it is parsed or refused with words that fit;
 * whatever the value is, it fits or a fault is told.
 *
 * `./dev fuzz spec_fuzz` builds and runs it.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <yoke/error.h>

#include "base/arena.h"
#include "base/check.h"
#include "wire/spec.h"
#include "wire/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *newline = size == 0 ? NULL : memchr(data, '\n', size);
    size_t n = newline != NULL ? (size_t)(newline - data) : size;
    char fault[YK_SPEC_FAULT_SIZE] = "";
    const struct yk_spec *spec;
    struct yoke_value value;
    struct yk_arena arena;

    yk_arena_init(&arena);
    spec = yk_spec_parse(&arena, (const char *)data, n, fault);
    yk_assert((spec != NULL) == (fault[0] == '\0'));
    if (spec != NULL && newline != NULL) {
        if (yk_value_decode(&arena, newline + 1, size - n - 1, &value) < 0)
            yoke_clear();
        else if (!yk_spec_check(spec, value, "value", fault))
            yk_assert(fault[0] != '\0');
    }
    yk_arena_fini(&arena);
    return 0;
}
