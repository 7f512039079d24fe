/* SPDX-License-Identifier: MIT */
/*
 * Errors and causes as JSON: their value trees, written by json-c. Texts in a tree are UTF-8, so
 * the result is always valid. Runs on task stacks; the recursion is as deep as the tree, whose
 * depth is bounded.
 *
 * Built without json-c both functions return NULL: callers have to expect that in any case.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "error/tree.h"

#ifdef YK_HAVE_JSON_C
#include <json-c/json.h>

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
    case YOKE_INT:
        *ret = json_object_new_int64(value.as.integer);
        break;
    case YOKE_UINT:
        *ret = json_object_new_uint64(value.as.unsigned_integer);
        break;
    case YOKE_STR:
        *ret = json_object_new_string_len(value.as.str.data, (int)value.as.str.size);
        break;
    case YOKE_ARRAY_VALUE:
    case YOKE_MAP_VALUE:
        return to_nested(value, ret);
    default:
        return true; /* a tree of errors has no others, but nil */
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
