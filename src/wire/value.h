/* SPDX-License-Identifier: MIT */
/* Values to and from msgpack bytes. Canonical: shortest forms, as Python peers write. */
#ifndef YK_WIRE_VALUE_H
#define YK_WIRE_VALUE_H

#include <yoke/value.h>

#include "base/arena.h"
#include "wire/buffer.h"

/*
 * Appends the encoding. 0; -ENOMEM; -EINVAL for a value nested deeper than YK_VALUE_DEPTH_MAX, of
 * no type, or with a str or key that is not UTF-8; -EMSGSIZE for one over YK_FRAME_MAX. On failure
 * the buffer is as it was. Raises nothing.
 */
YOKE_MUST_CHECK int yk_value_encode(struct yk_buffer *buffer, struct yoke_value value);

/*
 * One value that fills `size` exactly; the bytes are copied, all that it borrows is in `arena`.
 * Memory is at most 25 bytes per byte of data. 0; -EBADMSG or -ENOMEM with an error raised.
 */
YOKE_MUST_CHECK int yk_value_decode(struct yk_arena *arena, const void *data, size_t size,
                                    struct yoke_value *ret);

/* What a copy takes beside the root: items and pairs, then bytes; SIZE_MAX: more than there is. */
struct yk_value_size {
    size_t aligned;
    size_t bytes;
    size_t total;
};

struct yk_value_size yk_value_measure(const struct yoke_value *value);

/* The root of a copy whose other parts are in `memory`, aligned as a value, of size->total bytes.
 */
struct yoke_value yk_value_copy_to(void *memory, const struct yk_value_size *size,
                                   const struct yoke_value *value);

/* What a type is called in messages to people: "nil", "bool", "int", "float", "str", ... */
const char *yk_value_type_name(enum yoke_value_type type);

#endif
