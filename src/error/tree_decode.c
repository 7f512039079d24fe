/* SPDX-License-Identifier: MIT */
/*
 * From value trees that peers send to errors and causes.
 *
 * Nothing in a tree is believed: a part of the wrong type is taken as absent, texts are cut, a code
 * that no function could return becomes YOKE_EREMOTE, and the whole is bounded in depth and in
 * nodes, because each node costs more memory here than bytes there. What is beyond the bounds is
 * counted as left out. Runs on task stacks: text buffers live only in functions that
 * don't recurse, and are therefore kept from being inlined.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "error/error.h"
#include "error/tree.h"

#define NOT_INLINED __attribute__((noinline))

struct decoder {
    unsigned nodes_left;
    bool failed; /* no memory: the whole is given up */
};

static struct yoke_error *decode_error(struct decoder *decoder, struct yoke_value map,
                                       unsigned depth);

/* The value under a key; nil if there is none. The value layer's own lookup is above this one. */
static struct yoke_value find(struct yoke_value map, const char *key)
{
    if (map.type == YOKE_MAP_VALUE)
        for (size_t i = 0; i < map.as.map.n; i++)
            if (strcmp(map.as.map.pairs[i].key, key) == 0)
                return map.as.map.pairs[i].value;
    return yoke_nil();
}

static size_t array_size(struct yoke_value value)
{
    return value.type == YOKE_ARRAY_VALUE ? value.as.array.n : 0;
}

/* A NUL-terminated copy of what fits, cut between characters, with '?' for NULs inside. */
static void copy_text(char *to, size_t size, struct yoke_value value)
{
    size_t n = value.type == YOKE_STR ? value.as.str.size : 0;

    if (n >= size) {
        n = size - 1;
        while (n > 0 && ((unsigned char)value.as.str.data[n] & 0xc0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = value.as.str.data[i] == '\0' ? '?' : value.as.str.data[i];
    to[n] = '\0';
}

static int64_t get_int(struct yoke_value map, const char *key, int64_t min, int64_t max)
{
    struct yoke_value value = find(map, key);

    if (value.type != YOKE_INT || value.as.integer < min || value.as.integer > max)
        return 0;
    return value.as.integer;
}

static uint64_t as_count(struct yoke_value value)
{
    if (value.type == YOKE_UINT)
        return value.as.unsigned_integer;
    return value.type == YOKE_INT && value.as.integer > 0 ? (uint64_t)value.as.integer : 0;
}

static void decode_actor(struct yoke_value map, struct yoke_actor_id *actor)
{
    copy_text(actor->name, sizeof actor->name, find(map, "name"));
    copy_text(actor->uuid, sizeof actor->uuid, find(map, "uuid"));
    copy_text(actor->host, sizeof actor->host, find(map, "host"));
    actor->pid = (int32_t)get_int(map, "pid", 0, INT32_MAX);
}

static void decode_scope(struct yoke_value map, struct yoke_scope_info *scope)
{
    scope->id = as_count(find(map, "id"));
    copy_text(scope->name, sizeof scope->name, find(map, "name"));
    decode_actor(find(map, "actor"), &scope->actor);
    scope->task_id = as_count(find(map, "task_id"));
    copy_text(scope->task_name, sizeof scope->task_name, find(map, "task_name"));
    copy_text(scope->file, sizeof scope->file, find(map, "file"));
    scope->line = (int)get_int(map, "line", 0, INT32_MAX);
}

static void decode_requester(struct yoke_value map, struct yoke_requester *requester)
{
    decode_actor(find(map, "actor"), &requester->actor);
    requester->task_id = as_count(find(map, "task_id"));
    copy_text(requester->task_name, sizeof requester->task_name, find(map, "task_name"));
    copy_text(requester->file, sizeof requester->file, find(map, "file"));
    copy_text(requester->function, sizeof requester->function, find(map, "function"));
    requester->line = (int)get_int(map, "line", 0, INT32_MAX);
}

static bool text_is(struct yoke_value value, const char *text)
{
    return value.type == YOKE_STR && value.as.str.size == strlen(text) &&
           memcmp(value.as.str.data, text, value.as.str.size) == 0;
}

/* A kind that we don't know, from a newer peer, becomes the plain request of its layer. */
static void decode_kind(struct yoke_value map, struct yoke_cause *cause)
{
    static const enum yoke_cause_kind plain[] = {
        [YOKE_LAYER_TASK] = YOKE_CAUSE_SCOPE,
        [YOKE_LAYER_CONTEXT] = YOKE_CAUSE_CONTEXT,
        [YOKE_LAYER_ACTOR] = YOKE_CAUSE_ACTOR,
        [YOKE_LAYER_OS] = YOKE_CAUSE_SIGNAL,
    };
    struct yoke_value layer = find(map, "layer");
    struct yoke_value kind = find(map, "kind");

    cause->layer = YOKE_LAYER_TASK;
    for (int i = YOKE_LAYER_TASK; i <= YOKE_LAYER_OS; i++)
        if (text_is(layer, yoke_layer_name(i)))
            cause->layer = i;
    cause->kind = plain[cause->layer];
    for (int i = YOKE_CAUSE_SCOPE; i <= YOKE_CAUSE_PARENT_LOST; i++)
        if (text_is(kind, yoke_cause_kind_name(i)))
            cause->kind = i;
}

NOT_INLINED static bool decode_reason(struct yoke_value map, struct yoke_cause *cause)
{
    char reason[YK_ERROR_MESSAGE_MAX];

    copy_text(reason, sizeof reason, find(map, "reason"));
    return yk_cause_set_reason(cause, reason);
}

static void decode_signal(struct yoke_value map, struct yoke_cause *cause)
{
    if (map.type != YOKE_MAP_VALUE)
        return;
    cause->has_signal = true;
    cause->signal.number = (int)get_int(map, "number", 1, 1024);
    cause->signal.pid = (int32_t)get_int(map, "pid", 0, INT32_MAX);
    cause->signal.uid = (uint32_t)get_int(map, "uid", 0, UINT32_MAX);
}

static unsigned get_left_out(struct yoke_value map)
{
    uint64_t n = as_count(find(map, "left_out"));

    return n > INT16_MAX ? INT16_MAX : (unsigned)n; /* some of them can be added up */
}

/* One hop without what is behind it; NULL: no memory, or not a map. */
static struct yoke_cause *decode_hop(struct decoder *decoder, struct yoke_value map, unsigned depth)
{
    struct yoke_cause *cause;
    struct yoke_value id = find(map, "id");
    struct yoke_value error = find(map, "error");

    if (map.type != YOKE_MAP_VALUE)
        return NULL;
    cause = yk_cause_new_blank();
    if (cause == NULL || !decode_reason(map, cause)) {
        decoder->failed = true;
        return yoke_cause_unref(cause);
    }
    if (array_size(id) == 2) {
        cause->id.actor = as_count(id.as.array.items[0]);
        cause->id.serial = as_count(id.as.array.items[1]);
    }
    decode_kind(map, cause);
    decode_scope(find(map, "scope"), &cause->scope);
    decode_requester(find(map, "requester"), &cause->requester);
    cause->time = get_int(map, "time", 0, INT64_MAX);
    decode_signal(find(map, "signal"), cause);
    cause->hops_left_out = get_left_out(map);
    if (error.type == YOKE_MAP_VALUE && depth < YK_ERROR_TREE_DEPTH_MAX)
        cause->error = decode_error(decoder, error, depth + 1);
    yk_error_settle(cause->error);
    return cause;
}

/* The last hop of a chain, its origin; adds those before it to what `last` has left out. */
static struct yoke_value skip_to_origin(struct yoke_value map, struct yoke_cause *last)
{
    struct yoke_value behind;

    while ((behind = find(map, "because")).type == YOKE_MAP_VALUE) {
        if (last != NULL)
            last->hops_left_out += 1 + get_left_out(map);
        map = behind;
    }
    return map;
}

/* If only one more hop finds room, it is the origin: a chain may be cut, but not lose that. */
static struct yoke_cause *decode_cause(struct decoder *decoder, struct yoke_value map,
                                       unsigned depth)
{
    struct yoke_cause *first = NULL;
    struct yoke_cause *last = NULL;

    for (int hops = 0; map.type == YOKE_MAP_VALUE && !decoder->failed; hops++) {
        struct yoke_cause *cause;

        if (decoder->nodes_left == 0) {
            if (last != NULL)
                last->hops_left_out++;
            break;
        }
        if (hops == YK_CAUSE_HOPS_MAX - 1 || (decoder->nodes_left == 1 && last != NULL))
            map = skip_to_origin(map, last);
        decoder->nodes_left--;
        cause = decode_hop(decoder, map, depth);
        if (last == NULL)
            first = cause;
        else
            last->because = cause;
        last = cause;
        map = find(map, "because");
    }
    return first;
}

/* -errno or one of our codes, of either sign; 0 if it is neither. */
static int valid_code(int64_t code)
{
    if (code > 0)
        code = -code;
    if (code < 0 && code >= -4095)
        return (int)code;
    return code <= YOKE_CANCELLED && code >= YOKE_EDEADLOCK ? (int)code : 0;
}

NOT_INLINED static struct yoke_error *new_error(struct yoke_value map)
{
    char type[YK_ERROR_TYPE_MAX];
    char message[YK_ERROR_MESSAGE_MAX];
    int code = valid_code(get_int(map, "errno", -INT32_MAX, INT32_MAX));

    copy_text(type, sizeof type, find(map, "type"));
    copy_text(message, sizeof message, find(map, "message"));
    return yk_error_new(type[0] == '\0' ? "yoke.Error" : type, code == 0 ? YOKE_EREMOTE : code,
                        message);
}

NOT_INLINED static bool decode_site(struct yoke_value map, struct yoke_error *error)
{
    char file[128];
    char function[64];
    size_t file_n;
    size_t function_n;

    if (map.type != YOKE_MAP_VALUE)
        return true;
    copy_text(file, sizeof file, find(map, "file"));
    copy_text(function, sizeof function, find(map, "function"));
    file_n = strlen(file) + 1;
    function_n = strlen(function) + 1;
    error->site_strings = yk_malloc(file_n + function_n);
    if (error->site_strings == NULL)
        return false;
    memcpy(error->site_strings, file, file_n);
    memcpy(error->site_strings + file_n, function, function_n);
    error->site.file = error->site_strings;
    error->site.function = error->site_strings + file_n;
    error->site.line = (int)get_int(map, "line", 0, INT32_MAX);
    return true;
}

NOT_INLINED static void decode_notes(struct yoke_value notes, struct yoke_error *error)
{
    char text[YK_ERROR_MESSAGE_MAX];

    for (size_t i = 0; i < array_size(notes) && i < YK_ERROR_NOTES_MAX; i++) {
        copy_text(text, sizeof text, notes.as.array.items[i]);
        (void)yk_error_add_note(error, text); /* without memory a note is left out */
    }
}

/* A source that is not told is the actor that raised it; the path begins with the source. */
static bool decode_remote(struct yoke_value map, struct yoke_error *error)
{
    struct yk_remote *remote = yk_calloc(1, sizeof *remote);
    struct yoke_value source = find(map, "source");
    struct yoke_value relay = find(map, "relay");
    struct yoke_value traceback = find(map, "traceback");
    size_t n = array_size(relay) < YK_RELAY_MAX ? array_size(relay) : YK_RELAY_MAX;

    error->remote = remote;
    if (remote == NULL)
        return false;
    decode_actor(source.type == YOKE_MAP_VALUE ? source : find(map, "actor"), &remote->source);
    remote->relay = yk_calloc(n + 1, sizeof *remote->relay);
    if (remote->relay == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        decode_actor(relay.as.array.items[i], &remote->relay[i]);
    remote->relay_n = n;
    if (n == 0)
        remote->relay[remote->relay_n++] = remote->source;
    n = traceback.type == YOKE_STR ? traceback.as.str.size : 0;
    if (n == 0)
        return true;
    n = n < YK_TRACEBACK_MAX ? n + 1 : YK_TRACEBACK_MAX;
    remote->traceback = yk_malloc(n);
    if (remote->traceback == NULL)
        return false;
    copy_text(remote->traceback, n, traceback);
    return true;
}

/* Of at most `max` items, for which the list gets places. Returns how many were left out. */
static size_t decode_list(struct decoder *decoder, struct yoke_value list, unsigned depth,
                          struct yk_error_list *to, size_t max)
{
    size_t n = array_size(list);
    size_t i;

    for (i = 0; i < n && i < max && decoder->nodes_left > 0 && !decoder->failed; i++) {
        struct yoke_value item = list.as.array.items[i];
        struct yoke_error *error;

        if (item.type != YOKE_MAP_VALUE)
            continue;
        error = decode_error(decoder, item, depth + 1);
        if (error != NULL && !yk_error_list_append(to, error, max)) {
            yk_error_absorb(error);
            decoder->failed = true;
        }
    }
    return n - i;
}

static void decode_inner_causes(struct decoder *decoder, struct yoke_value list,
                                struct yoke_error *error, unsigned depth)
{
    size_t n = array_size(list);

    if (n > YK_INNER_CAUSES_MAX)
        n = YK_INNER_CAUSES_MAX;
    if (n == 0)
        return;
    error->inner_causes = yk_calloc(n, sizeof(*error->inner_causes));
    if (error->inner_causes == NULL) {
        decoder->failed = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct yoke_cause *cause = decode_cause(decoder, list.as.array.items[i], depth);

        if (cause != NULL)
            error->inner_causes[error->inner_causes_n++] = cause;
    }
}

static struct yoke_error *decode_child(struct decoder *decoder, struct yoke_value map,
                                       struct yoke_error *parent, unsigned depth)
{
    if (map.type != YOKE_MAP_VALUE || decoder->failed)
        return NULL;
    if (depth > YK_ERROR_TREE_DEPTH_MAX || decoder->nodes_left == 0) {
        parent->suppressed_left_out++;
        return NULL;
    }
    return decode_error(decoder, map, depth);
}

static size_t member_places(struct yoke_value members)
{
    size_t n = array_size(members);

    return n < YK_ERROR_TREE_NODES_MAX ? n : YK_ERROR_TREE_NODES_MAX;
}

static void decode_carried(struct decoder *decoder, struct yoke_value map, struct yoke_error *error,
                           unsigned depth)
{
    struct yoke_value members = find(map, "members");
    bool deeper = depth < YK_ERROR_TREE_DEPTH_MAX;

    error->suppressed_left_out = get_left_out(map);
    error->cause = decode_cause(decoder, find(map, "cause"), depth);
    decode_inner_causes(decoder, find(map, "inner_causes"), error, depth);
    error->because = decode_child(decoder, find(map, "because"), error, depth + 1);
    error->context = decode_child(decoder, find(map, "context"), error, depth + 1);
    error->suppressed_left_out +=
        decode_list(decoder, members, depth, &error->members, deeper ? member_places(members) : 0);
    error->suppressed_left_out +=
        decode_list(decoder, find(map, "suppressed"), depth, &error->suppressed,
                    deeper ? YK_ERROR_SUPPRESSED_MAX : 0);
}

static struct yoke_error *decode_error(struct decoder *decoder, struct yoke_value map,
                                       unsigned depth)
{
    struct yoke_error *error = new_error(map);

    if (decoder->nodes_left > 0)
        decoder->nodes_left--;
    if (error == NULL || !decode_site(find(map, "site"), error) || !decode_remote(map, error)) {
        decoder->failed = true;
        yk_error_absorb(error);
        return NULL;
    }
    decode_actor(find(map, "actor"), &error->actor);
    error->task_id = as_count(find(map, "task_id"));
    copy_text(error->task_name, sizeof error->task_name, find(map, "task_name"));
    decode_notes(find(map, "notes"), error);
    decode_carried(decoder, map, error, depth);
    return error;
}

struct yoke_error *yk_error_from_value(struct yoke_value value)
{
    struct decoder decoder = {YK_ERROR_TREE_NODES_MAX, false};
    struct yoke_error *error;

    if (value.type != YOKE_MAP_VALUE)
        return NULL;
    error = decode_error(&decoder, value, 0);
    if (!decoder.failed)
        return error;
    yk_error_absorb(error);
    return NULL;
}

struct yoke_cause *yk_cause_from_value(struct yoke_value value)
{
    struct decoder decoder = {YK_ERROR_TREE_NODES_MAX, false};
    struct yoke_cause *cause;

    if (value.type != YOKE_MAP_VALUE)
        return NULL;
    cause = decode_cause(&decoder, value, 0);
    return decoder.failed ? yoke_cause_unref(cause) : cause;
}
