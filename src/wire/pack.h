/* SPDX-License-Identifier: MIT */
/*
 * Writing msgpack into a buffer. Failures stick: after the first one every call is a no-op and `rc`
 * and `fault` say what it was, so that a run of calls is checked once, at its end.
 */
#ifndef YK_WIRE_PACK_H
#define YK_WIRE_PACK_H

#include <yoke/value.h>

#include "wire/buffer.h"
#include "wire/bulk.h"

enum { YK_NAME_MAX = 31 }; /* longest str whose head is one byte */

struct yk_packer {
    struct yk_buffer *buffer;
    struct yk_bulk_out *bulk; /* or NULL: all is in the frame */
    size_t room;              /* bytes that may still be written */
    bool repair;              /* write something near to what can't be written as it is (below) */
    int rc;                   /* 0, -ENOMEM, -EINVAL or -EMSGSIZE */
    const char *fault;        /* static text; NULL while rc is 0 */
};

/*
 * With `repair`, bytes that are not UTF-8 become U+FFFD and what is nested too deep or of no type
 * becomes nil: for errors and causes, which must arrive even if some byte of their text does not.
 */
void yk_packer_init(struct yk_packer *packer, struct yk_buffer *buffer, bool repair);

void yk_pack_nil(struct yk_packer *packer);
void yk_pack_bool(struct yk_packer *packer, bool boolean);
void yk_pack_int(struct yk_packer *packer, int64_t integer);
void yk_pack_str(struct yk_packer *packer, const char *text, size_t n);
/* A str of ours, known to be UTF-8, of at most YK_NAME_MAX bytes: keys and names of messages. */
void yk_pack_name(struct yk_packer *packer, const char *name, size_t n);
void yk_pack_array(struct yk_packer *packer, size_t n); /* n values follow */
void yk_pack_map(struct yk_packer *packer, size_t n);   /* n keys, each with its value, follow */
void yk_pack_value(struct yk_packer *packer, const struct yoke_value *value);

#endif
