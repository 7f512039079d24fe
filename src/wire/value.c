/* SPDX-License-Identifier: MIT */
/*
 * Values: typed reading, equality, copying. Pure; runs on task stacks, so the recursion over
 * nested values is bounded by YK_VALUE_DEPTH_MAX. Received values can't be deeper; one built
 * deeper by hand could not be sent, and is taken as misuse.
 *
 * A copy is one block: the root, then all items and pairs, then all bytes. The first two parts
 * need alignment, the last none, so two cursors over one block fill it without gaps.
 */
#include <yoke/value.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "wire/value.h"

static const char *const type_names[] = {
    [YOKE_NIL] = "nil",  [YOKE_BOOL] = "bool",         [YOKE_INT] = "int",
    [YOKE_UINT] = "int", [YOKE_FLOAT] = "float",       [YOKE_STR] = "str",
    [YOKE_BIN] = "bin",  [YOKE_ARRAY_VALUE] = "array", [YOKE_MAP_VALUE] = "map",
    [YOKE_EXT] = "ext",
};

/* The same for people who call us, with an article. */
static const char *const got_names[] = {
    [YOKE_NIL] = "nothing",      [YOKE_BOOL] = "a bool",          [YOKE_INT] = "an int",
    [YOKE_UINT] = "an int",      [YOKE_FLOAT] = "a float",        [YOKE_STR] = "a string",
    [YOKE_BIN] = "bytes",        [YOKE_ARRAY_VALUE] = "an array", [YOKE_MAP_VALUE] = "a map",
    [YOKE_EXT] = "an extension",
};

const char *yk_value_type_name(enum yoke_value_type type)
{
    return (size_t)type < sizeof type_names / sizeof *type_names ? type_names[type] : "no type";
}

static int wrong(struct yoke_value v, const char *what, const char *expected)
{
    size_t types = sizeof got_names / sizeof *got_names;

    return yoke_raise("yoke.BadValue", EBADMSG, "argument \"%s\": expected %s, got %s", what,
                      expected, (size_t)v.type < types ? got_names[v.type] : "no type");
}

struct yoke_value yoke_value_get(struct yoke_value map, const char *key)
{
    if (map.type == YOKE_MAP_VALUE)
        for (size_t i = 0; i < map.as.map.n; i++)
            if (strcmp(map.as.map.pairs[i].key, key) == 0)
                return map.as.map.pairs[i].value;
    return yoke_nil();
}

int yoke_value_int(struct yoke_value v, const char *what, int64_t *ret)
{
    if (v.type == YOKE_UINT)
        return yoke_raise("yoke.BadValue", EBADMSG,
                          "argument \"%s\": expected an int up to 2^63 - 1, got %" PRIu64, what,
                          v.as.unsigned_integer);
    if (v.type != YOKE_INT)
        return wrong(v, what, "an int");
    *ret = v.as.integer;
    return 0;
}

int yoke_value_bool(struct yoke_value v, const char *what, bool *ret)
{
    if (v.type != YOKE_BOOL)
        return wrong(v, what, "a bool");
    *ret = v.as.boolean;
    return 0;
}

int yoke_value_float(struct yoke_value v, const char *what, double *ret)
{
    switch (v.type) {
    case YOKE_FLOAT:
        *ret = v.as.number;
        return 0;
    case YOKE_INT: /* senders in languages with one kind of number write 2.0 as 2 */
        *ret = (double)v.as.integer;
        return 0;
    case YOKE_UINT:
        *ret = (double)v.as.unsigned_integer;
        return 0;
    default:
        return wrong(v, what, "a float");
    }
}

int yoke_value_str(struct yoke_value v, const char *what, const char **ret_data, size_t *ret_size)
{
    if (v.type != YOKE_STR)
        return wrong(v, what, "a string");
    *ret_data = v.as.str.data;
    *ret_size = v.as.str.size;
    return 0;
}

int yoke_value_bin(struct yoke_value v, const char *what, const void **ret_data, size_t *ret_size)
{
    if (v.type != YOKE_BIN)
        return wrong(v, what, "bytes");
    *ret_data = v.as.str.data;
    *ret_size = v.as.str.size;
    return 0;
}

int yoke_value_text(struct yoke_value v, const char *what, char *buffer, size_t size)
{
    if (v.type != YOKE_STR && v.type != YOKE_BIN)
        return wrong(v, what, "a string or bytes");
    if (v.as.str.size >= size)
        return yoke_raise("yoke.BadValue", EBADMSG,
                          "argument \"%s\": %zu bytes of text, at most %zu are accepted", what,
                          v.as.str.size, size > 0 ? size - 1 : 0);
    if (v.as.str.size > 0 && memchr(v.as.str.data, '\0', v.as.str.size) != NULL)
        return yoke_raise("yoke.BadValue", EBADMSG, "argument \"%s\": text with a NUL in it", what);
    if (v.as.str.size > 0)
        memcpy(buffer, v.as.str.data, v.as.str.size);
    buffer[v.as.str.size] = '\0';
    return 0;
}

static void check_depth(const char *function, unsigned depth)
{
    if (depth > YK_VALUE_DEPTH_MAX)
        yk_misuse(NULL, NULL, NULL, "%s: a value nested deeper than %d", function,
                  YK_VALUE_DEPTH_MAX);
}

static bool equal_bytes(const struct yoke_value *a, const struct yoke_value *b)
{
    return a->as.str.size == b->as.str.size && a->ext_type == b->ext_type &&
           (a->as.str.size == 0 || memcmp(a->as.str.data, b->as.str.data, a->as.str.size) == 0);
}

static bool equal_at(const struct yoke_value *a, const struct yoke_value *b, unsigned depth);

static bool equal_items(const struct yoke_value *a, const struct yoke_value *b, unsigned depth)
{
    check_depth("yoke_value_equal", depth);
    if (a->as.array.n != b->as.array.n)
        return false;
    for (size_t i = 0; i < a->as.array.n; i++)
        if (!equal_at(&a->as.array.items[i], &b->as.array.items[i], depth))
            return false;
    return true;
}

static bool equal_pairs(const struct yoke_value *a, const struct yoke_value *b, unsigned depth)
{
    check_depth("yoke_value_equal", depth);
    if (a->as.map.n != b->as.map.n)
        return false;
    for (size_t i = 0; i < a->as.map.n; i++) {
        const struct yoke_pair *p = &a->as.map.pairs[i], *q = &b->as.map.pairs[i];

        if (strcmp(p->key, q->key) != 0 || !equal_at(&p->value, &q->value, depth))
            return false;
    }
    return true;
}

static bool equal_at(const struct yoke_value *a, const struct yoke_value *b, unsigned depth)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case YOKE_NIL:
        return true;
    case YOKE_BOOL:
        return a->as.boolean == b->as.boolean;
    case YOKE_INT:
    case YOKE_UINT:
        return a->as.unsigned_integer == b->as.unsigned_integer;
    case YOKE_FLOAT: /* a NaN is equal to a NaN here: the question is whether both say the same */
        return a->as.number == b->as.number || (isnan(a->as.number) && isnan(b->as.number));
    case YOKE_STR:
    case YOKE_BIN:
    case YOKE_EXT:
        return equal_bytes(a, b);
    case YOKE_ARRAY_VALUE:
        return equal_items(a, b, depth + 1);
    case YOKE_MAP_VALUE:
        return equal_pairs(a, b, depth + 1);
    }
    return false;
}

bool yoke_value_equal(struct yoke_value a, struct yoke_value b)
{
    return equal_at(&a, &b, 0);
}

/* Sums that would overflow stay at SIZE_MAX, which is refused. */
static void add(size_t *sum, size_t n, size_t size)
{
    size_t product;

    if (__builtin_mul_overflow(n, size, &product) || __builtin_add_overflow(*sum, product, sum))
        *sum = SIZE_MAX;
}

static void measure(const struct yoke_value *value, struct yk_value_size *size, unsigned depth)
{
    check_depth("yoke_value_copy", depth);
    switch (value->type) {
    case YOKE_STR:
    case YOKE_BIN:
    case YOKE_EXT:
        add(&size->bytes, value->as.str.size, 1);
        return;
    case YOKE_ARRAY_VALUE:
        add(&size->aligned, value->as.array.n, sizeof(struct yoke_value));
        for (size_t i = 0; i < value->as.array.n; i++)
            measure(&value->as.array.items[i], size, depth + 1);
        return;
    case YOKE_MAP_VALUE:
        add(&size->aligned, value->as.map.n, sizeof(struct yoke_pair));
        for (size_t i = 0; i < value->as.map.n; i++) {
            add(&size->bytes, strlen(value->as.map.pairs[i].key) + 1, 1);
            measure(&value->as.map.pairs[i].value, size, depth + 1);
        }
        return;
    default:
        return;
    }
}

/* Where the next items or pairs, and the next bytes, go. */
struct copy_cursor {
    char *aligned;
    char *bytes;
};

static const char *put_bytes(struct copy_cursor *cursor, const char *data, size_t n)
{
    char *to = cursor->bytes;

    if (n > 0)
        memcpy(to, data, n);
    cursor->bytes += n;
    return to;
}

static void *put_aligned(struct copy_cursor *cursor, size_t size)
{
    void *to = cursor->aligned;

    cursor->aligned += size;
    return to;
}

static struct yoke_value put(struct copy_cursor *cursor, const struct yoke_value *value)
{
    struct yoke_value copy = *value;
    struct yoke_value *items;
    struct yoke_pair *pairs;

    switch (value->type) {
    case YOKE_STR:
    case YOKE_BIN:
    case YOKE_EXT:
        copy.as.str.data = put_bytes(cursor, value->as.str.data, value->as.str.size);
        return copy;
    case YOKE_ARRAY_VALUE:
        items = put_aligned(cursor, value->as.array.n * sizeof *items);
        for (size_t i = 0; i < value->as.array.n; i++)
            items[i] = put(cursor, &value->as.array.items[i]);
        copy.as.array.items = items;
        return copy;
    case YOKE_MAP_VALUE:
        pairs = put_aligned(cursor, value->as.map.n * sizeof *pairs);
        for (size_t i = 0; i < value->as.map.n; i++) {
            const struct yoke_pair *from = &value->as.map.pairs[i];

            pairs[i].key = put_bytes(cursor, from->key, strlen(from->key) + 1);
            pairs[i].value = put(cursor, &from->value);
        }
        copy.as.map.pairs = pairs;
        return copy;
    default:
        return copy;
    }
}

struct yk_value_size yk_value_measure(const struct yoke_value *value)
{
    struct yk_value_size size = {0, 0, 0};

    measure(value, &size, 0);
    size.total = size.aligned;
    add(&size.total, size.bytes, 1);
    return size;
}

struct yoke_value yk_value_copy_to(void *memory, const struct yk_value_size *size,
                                   const struct yoke_value *value)
{
    struct copy_cursor cursor = {memory, (char *)memory + size->aligned};
    struct yoke_value copy = put(&cursor, value);

    yk_assert(cursor.aligned == (char *)memory + size->aligned);
    yk_assert(cursor.bytes == (char *)memory + size->total);
    return copy;
}

struct yoke_value *yoke_value_copy(struct yoke_value v)
{
    struct yk_value_size size = yk_value_measure(&v);
    struct yoke_value *copy;

    copy = size.total < SIZE_MAX - sizeof *copy ? yk_malloc(sizeof *copy + size.total) : NULL;
    if (copy != NULL)
        *copy = yk_value_copy_to(copy + 1, &size, &v);
    return copy;
}

void yoke_value_free(struct yoke_value *v)
{
    free(v);
}
