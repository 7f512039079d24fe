/* SPDX-License-Identifier: MIT */
/*
 * Reading msgpack in place: a cursor over a body that may be written to. Strings are borrowed from
 * the body, arrays and maps are allocated in the arena. Nothing is raised here except by
 * yk_reader_raise; `fault` says what was wrong at `next`.
 */
#ifndef YK_WIRE_UNPACK_H
#define YK_WIRE_UNPACK_H

#include <yoke/value.h>

#include "base/arena.h"
#include "wire/bulk.h"

struct yk_reader {
    struct yk_arena *arena;
    struct yk_bulk_in *bulk; /* or NULL: all is in the body */
    unsigned char *start;
    unsigned char *next;
    unsigned char *end;
    size_t owed;       /* values that arrays and maps already begun still have to give */
    const char *fault; /* static text; NULL while nothing is wrong */
};

void yk_reader_init(struct yk_reader *reader, struct yk_arena *arena, void *body, size_t size);

/*
 * The next value, of an array or map only its head: type and count, the items NULL. The caller
 * then reads the items (a map's are key, value, key, ...), each after yk_reader_item(). 0 or
 * -EBADMSG. Lengths and counts are checked against what is left of the body.
 */
YOKE_MUST_CHECK int yk_read_head(struct yk_reader *reader, struct yoke_value *ret);

/* One of the owed values is read next. */
static inline void yk_reader_item(struct yk_reader *reader)
{
    reader->owed--;
}

/* The next value whole. 0, -EBADMSG or -ENOMEM. */
YOKE_MUST_CHECK int yk_read_value(struct yk_reader *reader, struct yoke_value *ret);

/* Past the next value, of which only the structure is checked. 0 or -EBADMSG. Changes no byte. */
YOKE_MUST_CHECK int yk_skip_value(struct yk_reader *reader);

/*
 * Makes the bytes of a str that was just read NUL-terminated, by moving them over their own head.
 * The value's own data pointer is of no use afterwards. NULL if a NUL byte is inside.
 */
const char *yk_read_terminate(const struct yoke_value *str);

/* Raises what is wrong, as a fault of `what` or `what.field`; `rc` is what reading returned. */
int yk_reader_raise(const struct yk_reader *reader, int rc, const char *what, const char *field);

#endif
