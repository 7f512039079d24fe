/* SPDX-License-Identifier: MIT */
/*
 * Errors and causes as JSON: their value trees, written by json-c. Byte strings become hexadecimal
 * text, and what is not UTF-8 in a text becomes U+FFFD, so that the result is always valid. Runs
 * on task stacks; the recursion is as deep as the tree, whose depth is bounded.
 *
 * Built without json-c both functions return NULL: callers have to expect that in any case.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "error/print.h"
#include "error/tree.h"

#ifdef YK_HAVE_JSON_C
#include <json-c/json.h>

static struct json_object *text_object(const char *data, size_t n)
{
    const unsigned char *text = (const unsigned char *)data;
    char *mended = yk_malloc(n * 3 + 1);
    struct json_object *object;
    size_t used = 0;

    if (mended == NULL)
        return NULL;
    for (size_t i = 0; i < n;) {
        size_t size = yk_character_size(text + i, n - i);

        memcpy(mended + used, size == 0 ? "\xef\xbf\xbd" : data + i, size == 0 ? 3 : size);
        used += size == 0 ? 3 : size;
        i += size == 0 ? 1 : size;
    }
    object = json_object_new_string_len(mended, (int)used);
    free(mended);
    return object;
}

static struct json_object *hex_object(const char *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    char *hex = yk_malloc(n * 2 + 1);
    struct json_object *object;

    if (hex == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        hex[i * 2] = digits[(unsigned char)data[i] >> 4];
        hex[i * 2 + 1] = digits[(unsigned char)data[i] & 0xf];
    }
    object = json_object_new_string_len(hex, (int)(n * 2));
    free(hex);
    return object;
}

static bool to_object(struct yoke_value value, struct json_object **ret);

static bool to_array(struct yoke_value value, struct json_object *array)
{
    for (size_t i = 0; i < value.as.array.n; i++) {
        struct json_object *item;

        if (!to_object(value.as.array.items[i], &item))
            return false;
        if (json_object_array_add(array, item) != 0) {
            json_object_put(item);
            return false;
        }
    }
    return true;
}

static bool to_map(struct yoke_value value, struct json_object *map)
{
    for (size_t i = 0; i < value.as.map.n; i++) {
        struct json_object *item;

        if (!to_object(value.as.map.pairs[i].value, &item))
            return false;
        if (json_object_object_add(map, value.as.map.pairs[i].key, item) != 0) {
            json_object_put(item);
            return false;
        }
    }
    return true;
}

static bool to_nested(struct yoke_value value, struct json_object **ret)
{
    bool is_map = value.type == YOKE_MAP_VALUE;
    struct json_object *object = is_map ? json_object_new_object() : json_object_new_array();

    if (object == NULL)
        return false;
    if (!(is_map ? to_map(value, object) : to_array(value, object))) {
        json_object_put(object);
        return false;
    }
    *ret = object;
    return true;
}

/* False: no memory. NULL is json-c's null, so it can't say that. */
static bool to_object(struct yoke_value value, struct json_object **ret)
{
    *ret = NULL;
    switch (value.type) {
    case YOKE_BOOL:
        *ret = json_object_new_boolean(value.as.boolean);
        break;
    case YOKE_INT:
        *ret = json_object_new_int64(value.as.integer);
        break;
    case YOKE_UINT:
        *ret = json_object_new_uint64(value.as.unsigned_integer);
        break;
    case YOKE_FLOAT:
        if (!isfinite(value.as.number))
            return true; /* JSON has no word for it */
        *ret = json_object_new_double(value.as.number);
        break;
    case YOKE_STR:
        *ret = text_object(value.as.str.data, value.as.str.size);
        break;
    case YOKE_BIN:
    case YOKE_EXT:
        *ret = hex_object(value.as.str.data, value.as.str.size);
        break;
    case YOKE_ARRAY_VALUE:
    case YOKE_MAP_VALUE:
        return to_nested(value, ret);
    default:
        return true;
    }
    return *ret != NULL;
}

static char *to_text(struct yoke_value value)
{
    struct json_object *object;
    const char *text;
    char *copy = NULL;

    if (value.type == YOKE_NIL || !to_object(value, &object))
        return NULL;
    text = json_object_to_json_string_ext(object,
                                          JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    if (text != NULL)
        copy = yk_malloc(strlen(text) + 1);
    if (copy != NULL)
        memcpy(copy, text, strlen(text) + 1);
    json_object_put(object);
    return copy;
}

#else

static char *to_text(struct yoke_value value)
{
    (void)value;
    return NULL;
}

#endif

char *yoke_error_json(const struct yoke_error *error, int flags)
{
    struct yk_arena arena;
    char *text;

    yk_arena_init(&arena);
    text = to_text(yk_error_to_value(&arena, error, (flags & YOKE_PRINT_BACKTRACE) != 0));
    yk_arena_fini(&arena);
    return text;
}

char *yoke_cause_json(const struct yoke_cause *cause, int flags)
{
    struct yk_arena arena;
    char *text;

    (void)flags; /* causes have no backtraces */
    yk_arena_init(&arena);
    text = to_text(yk_cause_to_value(&arena, cause));
    yk_arena_fini(&arena);
    return text;
}
