/* SPDX-License-Identifier: MIT */
/*
 * Values to msgpack bytes, through msgpack-c's packer, which picks the shortest form of each number
 * and length as Python peers do; it writes into a yk_buffer by our callback.
 *
 * Runs on task stacks: recursion is bounded by YK_VALUE_DEPTH_MAX, one small frame a level. The
 * packer's own return values are ignored on purpose: they are our callback's, which keeps the
 * first failure in the yk_packer.
 */
#include "wire/pack.h"

#include <errno.h>
#include <msgpack/pack.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "wire/utf8.h"
#include "wire/value.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

void yk_packer_init(struct yk_packer *packer, struct yk_buffer *buffer, bool repair)
{
    packer->buffer = buffer;
    packer->bulk = NULL;
    packer->room = YK_FRAME_MAX;
    packer->repair = repair;
    packer->rc = 0;
    packer->fault = NULL;
}

static void fail(struct yk_packer *packer, int rc, const char *fault)
{
    if (packer->rc < 0)
        return;
    packer->rc = rc;
    packer->fault = fault;
}

static void fail_size(struct yk_packer *packer)
{
    fail(packer, -EMSGSIZE, "too large for a frame");
}

static int write_bytes(void *data, const char *bytes, size_t n)
{
    struct yk_packer *packer = data;

    if (packer->rc < 0)
        return packer->rc;
    if (n > packer->room)
        fail_size(packer);
    else if (yk_buffer_append(packer->buffer, bytes, n) < 0)
        fail(packer, -ENOMEM, "no memory");
    else
        packer->room -= n;
    return packer->rc;
}

static msgpack_packer msgpack_of(struct yk_packer *packer)
{
    msgpack_packer out;

    msgpack_packer_init(&out, packer, write_bytes);
    return out;
}

/*
 * Whether `n` more items or bytes can fit at all. It comes before each header, whose length field
 * has 32 bits: a larger n would be written cut off.
 */
static bool fits(struct yk_packer *packer, size_t n)
{
    if (n > packer->room)
        fail_size(packer);
    return packer->rc == 0;
}

void yk_pack_nil(struct yk_packer *packer)
{
    msgpack_packer out = msgpack_of(packer);

    msgpack_pack_nil(&out);
}

void yk_pack_bool(struct yk_packer *packer, bool boolean)
{
    msgpack_packer out = msgpack_of(packer);

    if (boolean)
        msgpack_pack_true(&out);
    else
        msgpack_pack_false(&out);
}

void yk_pack_int(struct yk_packer *packer, int64_t integer)
{
    msgpack_packer out = msgpack_of(packer);

    msgpack_pack_int64(&out, integer);
}

/* A str whose first `valid` bytes are UTF-8 and whose next byte is not, with U+FFFD for each such.
 */
static void pack_repaired(struct yk_packer *packer, const char *text, size_t n, size_t valid)
{
    msgpack_packer out = msgpack_of(packer);
    size_t bad = 0;

    for (size_t i = valid; i < n; i += yk_utf8_prefix(text + i, n - i)) {
        bad++;
        i++;
    }
    if (!fits(packer, n) || !fits(packer, n + bad * (sizeof replacement - 2)))
        return;
    msgpack_pack_str(&out, n + bad * (sizeof replacement - 2));
    write_bytes(packer, text, valid);
    while (valid < n) {
        size_t next = valid + 1;

        valid = next + yk_utf8_prefix(text + next, n - next);
        write_bytes(packer, replacement, sizeof replacement - 1);
        write_bytes(packer, text + next, valid - next);
    }
}

void yk_pack_str(struct yk_packer *packer, const char *text, size_t n)
{
    msgpack_packer out = msgpack_of(packer);
    size_t valid;

    if (!fits(packer, n))
        return;
    valid = yk_utf8_prefix(text, n);
    if (valid < n && packer->repair) {
        pack_repaired(packer, text, n, valid);
    } else if (valid < n) {
        fail(packer, -EINVAL, "a str is not UTF-8");
    } else {
        msgpack_pack_str(&out, n);
        write_bytes(packer, text, n);
    }
}

/* In one write, by our own hand: half the strings of a small message are names that never change.
 */
void yk_pack_name(struct yk_packer *packer, const char *name, size_t n)
{
    char bytes[1 + YK_NAME_MAX];

    yk_assert(n <= YK_NAME_MAX);
    bytes[0] = (char)(0xa0 | n);
    memcpy(bytes + 1, name, n);
    write_bytes(packer, bytes, 1 + n);
}

void yk_pack_array(struct yk_packer *packer, size_t n)
{
    msgpack_packer out = msgpack_of(packer);

    if (fits(packer, n))
        msgpack_pack_array(&out, n);
}

void yk_pack_map(struct yk_packer *packer, size_t n)
{
    msgpack_packer out = msgpack_of(packer);

    if (fits(packer, n))
        msgpack_pack_map(&out, n);
}

static void pack_float(struct yk_packer *packer, const struct yoke_value *value)
{
    msgpack_packer out = msgpack_of(packer);

    if (value->single)
        msgpack_pack_float(&out, (float)value->as.number);
    else
        msgpack_pack_double(&out, value->as.number);
}

/* As a reference to shared memory, if there is any. */
static bool pack_shared(struct yk_packer *packer, const struct yoke_value *value)
{
    size_t n = value->as.str.size;
    unsigned char reference[YK_BULK_SIZE] = {YK_BULK_HEAD};
    int number;

    if (packer->bulk == NULL || packer->rc < 0 || n < packer->bulk->least)
        return false;
    number = packer->bulk->place(packer->bulk, value->as.str.data, n);
    if (number < 0)
        return false;
    reference[1] = (unsigned char)number;
    for (unsigned i = 0; i < 4; i++)
        reference[2 + i] = (unsigned char)(n >> (24 - 8 * i));
    write_bytes(packer, (const char *)reference, sizeof reference);
    return true;
}

static void pack_bytes(struct yk_packer *packer, const struct yoke_value *value)
{
    msgpack_packer out = msgpack_of(packer);
    size_t n = value->as.str.size;

    if (!fits(packer, n) || (value->type == YOKE_BIN && pack_shared(packer, value)))
        return;
    if (value->type == YOKE_EXT)
        msgpack_pack_ext(&out, n, value->ext_type);
    else
        msgpack_pack_bin(&out, n);
    write_bytes(packer, value->as.str.data, n);
}

static void pack_at(struct yk_packer *packer, const struct yoke_value *value, unsigned depth);

static void pack_container(struct yk_packer *packer, const struct yoke_value *value, unsigned depth)
{
    if (depth == YK_VALUE_DEPTH_MAX && packer->repair) {
        yk_pack_nil(packer);
    } else if (depth == YK_VALUE_DEPTH_MAX) {
        fail(packer, -EINVAL, "nested too deep");
    } else if (value->type == YOKE_ARRAY_VALUE) {
        yk_pack_array(packer, value->as.array.n);
        for (size_t i = 0; i < value->as.array.n && packer->rc == 0; i++)
            pack_at(packer, &value->as.array.items[i], depth + 1);
    } else {
        yk_pack_map(packer, value->as.map.n);
        for (size_t i = 0; i < value->as.map.n && packer->rc == 0; i++) {
            const struct yoke_pair *pair = &value->as.map.pairs[i];

            yk_pack_str(packer, pair->key, strlen(pair->key));
            pack_at(packer, &pair->value, depth + 1);
        }
    }
}

/* `depth` containers are around the value. */
static void pack_at(struct yk_packer *packer, const struct yoke_value *value, unsigned depth)
{
    msgpack_packer out = msgpack_of(packer);

    switch (value->type) {
    case YOKE_NIL:
        yk_pack_nil(packer);
        return;
    case YOKE_BOOL:
        yk_pack_bool(packer, value->as.boolean);
        return;
    case YOKE_INT:
        yk_pack_int(packer, value->as.integer);
        return;
    case YOKE_UINT:
        msgpack_pack_uint64(&out, value->as.unsigned_integer);
        return;
    case YOKE_FLOAT:
        pack_float(packer, value);
        return;
    case YOKE_STR:
        yk_pack_str(packer, value->as.str.data, value->as.str.size);
        return;
    case YOKE_BIN:
    case YOKE_EXT:
        pack_bytes(packer, value);
        return;
    case YOKE_ARRAY_VALUE:
    case YOKE_MAP_VALUE:
        pack_container(packer, value, depth);
        return;
    }
    if (packer->repair)
        yk_pack_nil(packer);
    else
        fail(packer, -EINVAL, "a value of no type");
}

void yk_pack_value(struct yk_packer *packer, const struct yoke_value *value)
{
    pack_at(packer, value, 0);
}

int yk_value_encode(struct yk_buffer *buffer, struct yoke_value value)
{
    struct yk_packer packer;
    size_t size = yk_buffer_size(buffer);

    yk_packer_init(&packer, buffer, false);
    yk_pack_value(&packer, &value);
    if (packer.rc < 0)
        buffer->end = buffer->start + size; /* what was there may have moved to the front */
    return packer.rc;
}
