/* SPDX-License-Identifier: MIT */
/*
 * Msgpack bytes to values; reads what peers sent and trusts none of it.
 *
 * Invariant: owed <= end - next. Each value takes a byte at least, so a count is believed only if
 * that many bytes are left for it beside those owed already, and a length likewise. Together with
 * an array item's 24 bytes and a map entry's 32 for two, that bounds the arena's share to 24 bytes
 * per byte of body, however arrays are nested. Recursion is bounded by YK_VALUE_DEPTH_MAX (runs on
 * task stacks); skipping does not recurse at all.
 *
 * Strings are left where they are; a text that must be NUL-terminated is moved one byte to the
 * left, over its own head, which nobody reads again.
 *
 * Decided against msgpack-c's unpacker here: it refuses more than 32 levels, fewer than an error
 * tree may have; it allocates count * 16 bytes before it has seen an item, so that a checking pass
 * like this one would be needed in front of it; and each message would cost a zone of 8 KiB and a
 * second copy. The tests compare both readers over all that this one accepts.
 */
#include "wire/unpack.h"

#include <errno.h>
#include <string.h>
#include <yoke/error.h>

#include "base/check.h"
#include "base/limits.h"
#include "wire/utf8.h"
#include "wire/value.h"

_Static_assert(sizeof(struct yoke_value) <= 24 && sizeof(struct yoke_pair) <= 32,
               "the bound on memory in the contract of yk_value_decode");

void yk_reader_init(struct yk_reader *reader, struct yk_arena *arena, void *body, size_t size)
{
    reader->arena = arena;
    reader->bulk = NULL;
    reader->start = body;
    reader->next = body;
    reader->end = (unsigned char *)body + size;
    reader->owed = 0;
    reader->fault = NULL;
}

static int fail(struct yk_reader *reader, const char *fault)
{
    reader->fault = fault;
    return -EBADMSG;
}

/* Bytes that the value being read may take. */
static size_t left(const struct yk_reader *reader)
{
    return (size_t)(reader->end - reader->next) - reader->owed;
}

/* A big-endian number of 1, 2, 4 or 8 bytes. */
static int read_number(struct yk_reader *reader, unsigned width, uint64_t *ret)
{
    uint64_t number = 0;

    if (left(reader) < width)
        return fail(reader, "ends inside a value");
    for (unsigned i = 0; i < width; i++)
        number = number << 8 | *reader->next++;
    *ret = number;
    return 0;
}

/* The bytes of a str, bin or ext of which type and size are known. */
static int read_bytes(struct yk_reader *reader, uint64_t size, struct yoke_value *value)
{
    if (size > left(reader))
        return fail(reader, "ends inside a value");
    value->as.str.data = (const char *)reader->next;
    value->as.str.size = (size_t)size;
    if (value->type == YOKE_STR && !yk_utf8_valid(value->as.str.data, value->as.str.size))
        return fail(reader, "a str is not UTF-8");
    reader->next += size;
    return 0;
}

static int read_ext(struct yk_reader *reader, uint64_t size, struct yoke_value *value)
{
    uint64_t type = 0;
    int rc = read_number(reader, 1, &type);

    if (rc < 0)
        return rc;
    value->type = YOKE_EXT;
    value->ext_type = (int8_t)(uint8_t)type;
    return read_bytes(reader, size, value);
}

/* The count of an array or map was read. */
static int begin_container(struct yk_reader *reader, uint64_t n, struct yoke_value *value)
{
    uint64_t items = value->type == YOKE_MAP_VALUE ? 2 * n : n; /* n has 32 bits */

    if (items > left(reader))
        return fail(reader, "an array or map is longer than what is left");
    reader->owed += (size_t)items;
    if (value->type == YOKE_MAP_VALUE)
        value->as.map.n = (size_t)n;
    else
        value->as.array.n = (size_t)n;
    return 0;
}

static int read_float(struct yk_reader *reader, bool single, struct yoke_value *value)
{
    uint64_t bits = 0;
    int rc = read_number(reader, single ? 4 : 8, &bits);
    uint32_t short_bits = (uint32_t)bits;
    float number;

    if (rc < 0)
        return rc;
    value->type = YOKE_FLOAT;
    value->single = single;
    if (single) {
        memcpy(&number, &short_bits, sizeof number);
        value->as.number = (double)number;
    } else {
        memcpy(&value->as.number, &bits, sizeof bits);
    }
    return 0;
}

/* Heads 0xcc to 0xd3: unsigned, then signed, each of 1, 2, 4 and 8 bytes. */
static int read_int(struct yk_reader *reader, unsigned head, struct yoke_value *value)
{
    unsigned width = 1u << (head & 3);
    uint64_t bits = 0;
    int rc = read_number(reader, width, &bits);
    unsigned unused = 64 - 8 * width;

    if (rc < 0)
        return rc;
    if (head <= 0xcf)
        *value = yoke_uint(bits);
    else
        *value = yoke_int((int64_t)(bits << unused) >> unused);
    return 0;
}

/* Heads with a length field of 1, 2 or 4 bytes behind them. */
static int read_sized(struct yk_reader *reader, unsigned head, struct yoke_value *value)
{
    unsigned width;
    uint64_t n = 0;
    int rc;

    if (head <= 0xc9) /* bin 0xc4 to 0xc6, ext 0xc7 to 0xc9 */
        width = 1u << ((head - 0xc4) % 3);
    else if (head <= 0xdb) /* str 0xd9 to 0xdb */
        width = 1u << (head - 0xd9);
    else /* array 0xdc, 0xdd; map 0xde, 0xdf: 2 or 4 */
        width = 2u << (head & 1);
    rc = read_number(reader, width, &n);
    if (rc < 0)
        return rc;
    if (head >= 0xdc) {
        value->type = head <= 0xdd ? YOKE_ARRAY_VALUE : YOKE_MAP_VALUE;
        return begin_container(reader, n, value);
    }
    if (head >= 0xc7 && head <= 0xc9)
        return read_ext(reader, n, value);
    value->type = head >= 0xd9 ? YOKE_STR : YOKE_BIN;
    return read_bytes(reader, n, value);
}

/* A reference to shared memory, whose head was read. */
static int read_shared(struct yk_reader *reader, struct yoke_value *value)
{
    uint64_t number = 0, size = 0;
    int rc = read_number(reader, 1, &number);

    if (rc == 0)
        rc = read_number(reader, 4, &size);
    if (rc < 0)
        return rc;
    value->type = YOKE_BIN;
    value->as.str.size = (size_t)size;
    value->as.str.data = reader->bulk->find(reader->bulk, (unsigned)number, (size_t)size);
    return value->as.str.data != NULL ? 0 : fail(reader, "no such bytes in shared memory");
}

/* Heads 0xc0 to 0xdf. */
static int read_tagged(struct yk_reader *reader, unsigned head, struct yoke_value *value)
{
    if (head == 0xc0)
        return 0;
    if (head == YK_BULK_HEAD && reader->bulk != NULL)
        return read_shared(reader, value);
    if (head == YK_BULK_HEAD)
        return fail(reader, "byte 0xc1 begins no value");
    if (head <= 0xc3) {
        *value = yoke_bool(head == 0xc3);
        return 0;
    }
    if (head == 0xca || head == 0xcb)
        return read_float(reader, head == 0xca, value);
    if (head >= 0xcc && head <= 0xd3)
        return read_int(reader, head, value);
    if (head >= 0xd4 && head <= 0xd8)
        return read_ext(reader, UINT64_C(1) << (head - 0xd4), value);
    return read_sized(reader, head, value);
}

int yk_read_head(struct yk_reader *reader, struct yoke_value *ret)
{
    unsigned head;

    *ret = yoke_nil();
    if (left(reader) == 0)
        return fail(reader, "ends inside a value");
    head = *reader->next++;
    if (head <= 0x7f || head >= 0xe0) {
        *ret = yoke_int((int8_t)head);
        return 0;
    }
    if (head >= 0xc0)
        return read_tagged(reader, head, ret);
    if (head >= 0xa0) {
        ret->type = YOKE_STR;
        return read_bytes(reader, head & 0x1f, ret);
    }
    ret->type = head >= 0x90 ? YOKE_ARRAY_VALUE : YOKE_MAP_VALUE;
    return begin_container(reader, head & 0x0f, ret);
}

const char *yk_read_terminate(const struct yoke_value *str)
{
    /* The reader's body may be written to; the pointer is const for those who get the value. */
    char *text = (char *)str->as.str.data - 1;
    size_t n = str->as.str.size;

    yk_assert(str->type == YOKE_STR);
    if (memchr(text + 1, '\0', n) != NULL)
        return NULL;
    memmove(text, text + 1, n);
    text[n] = '\0';
    return text;
}

static int read_at(struct yk_reader *reader, struct yoke_value *ret, unsigned depth);

static int read_items(struct yk_reader *reader, struct yoke_value *array, unsigned depth)
{
    size_t n = array->as.array.n;
    struct yoke_value *items = yk_arena_alloc(reader->arena, n * sizeof *items);

    if (items == NULL)
        return -ENOMEM;
    array->as.array.items = items;
    for (size_t i = 0; i < n; i++) {
        int rc;

        yk_reader_item(reader);
        rc = read_at(reader, &items[i], depth);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_key(struct yk_reader *reader, const char **ret)
{
    struct yoke_value key;
    int rc;

    yk_reader_item(reader);
    rc = yk_read_head(reader, &key);
    if (rc < 0)
        return rc;
    if (key.type != YOKE_STR)
        return fail(reader, "a map key is not a str");
    *ret = yk_read_terminate(&key);
    return *ret != NULL ? 0 : fail(reader, "a map key has a NUL byte inside");
}

static int read_pairs(struct yk_reader *reader, struct yoke_value *map, unsigned depth)
{
    size_t n = map->as.map.n;
    struct yoke_pair *pairs = yk_arena_alloc(reader->arena, n * sizeof *pairs);

    if (pairs == NULL)
        return -ENOMEM;
    map->as.map.pairs = pairs;
    for (size_t i = 0; i < n; i++) {
        int rc = read_key(reader, &pairs[i].key);

        if (rc < 0)
            return rc;
        yk_reader_item(reader);
        rc = read_at(reader, &pairs[i].value, depth);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* `depth` containers are around the value. */
static int read_at(struct yk_reader *reader, struct yoke_value *ret, unsigned depth)
{
    int rc = yk_read_head(reader, ret);

    if (rc < 0 || (ret->type != YOKE_ARRAY_VALUE && ret->type != YOKE_MAP_VALUE))
        return rc;
    if (depth == YK_VALUE_DEPTH_MAX)
        return fail(reader, "nested too deep");
    if (ret->type == YOKE_MAP_VALUE)
        return ret->as.map.n > 0 ? read_pairs(reader, ret, depth + 1) : 0;
    return ret->as.array.n > 0 ? read_items(reader, ret, depth + 1) : 0;
}

int yk_read_value(struct yk_reader *reader, struct yoke_value *ret)
{
    return read_at(reader, ret, 0);
}

int yk_skip_value(struct yk_reader *reader)
{
    size_t owed = reader->owed;

    for (;;) {
        struct yoke_value head;
        int rc = yk_read_head(reader, &head);

        if (rc < 0)
            return rc;
        if (reader->owed == owed)
            return 0;
        yk_reader_item(reader);
    }
}

int yk_reader_raise(const struct yk_reader *reader, int rc, const char *what, const char *field)
{
    const char *dot = field != NULL ? "." : "";

    if (field == NULL)
        field = "";
    if (rc == -ENOMEM)
        return yoke_raise("yoke.OutOfMemory", ENOMEM, "%s%s%s: no memory to decode it", what, dot,
                          field);
    yk_assert(reader->fault != NULL);
    return yoke_raise("yoke.BadMessage", EBADMSG, "%s%s%s: %s, at byte %zu", what, dot, field,
                      reader->fault, (size_t)(reader->next - reader->start));
}

int yk_value_decode(struct yk_arena *arena, const void *data, size_t size, struct yoke_value *ret)
{
    struct yk_reader reader;
    struct yoke_value value;
    char *body = yk_arena_strndup(arena, data, size);
    int rc;

    if (body == NULL)
        return yoke_raise("yoke.OutOfMemory", ENOMEM, "value: no memory to decode it");
    yk_reader_init(&reader, arena, body, size);
    rc = yk_read_value(&reader, &value);
    if (rc < 0)
        return yk_reader_raise(&reader, rc, "value", NULL);
    if (reader.next < reader.end)
        return yoke_raise("yoke.BadMessage", EBADMSG, "value: %zu bytes behind it",
                          (size_t)(reader.end - reader.next));
    *ret = value;
    return 0;
}
