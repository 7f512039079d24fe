/* SPDX-License-Identifier: MIT */
/*
 * From errors and causes to value trees. Runs on task stacks: maps are built in the arena, so a
 * level of recursion costs little, and symbols are looked up elsewhere.
 *
 * The graph of errors may share parts, a tree can't: a shared part is written each time it is
 * met. The bound on nodes keeps that from growing out of hand. Empty things are left out, so that
 * a plain error is a small map. Texts of a program may hold any bytes, those of a tree only UTF-8:
 * the wire refuses others, and the error would not get through.
 */
#include "error/tree.h"

#include <stdlib.h>
#include <string.h>

#include "error/error.h"
#include "error/print.h"

enum {
    PAIRS_MAX = 20, /* keys of the largest map, an error's */
    /* Levels of nested values; messages add some around, and all must stay below
     * YK_VALUE_DEPTH_MAX. */
    LEVEL_MAX = 48,
};

struct encoder {
    struct yk_arena *arena;
    bool symbols;
    bool failed; /* no memory */
    unsigned nodes_left;
};

struct map {
    struct encoder *encoder;
    struct yoke_pair *pairs;
    size_t n;
};

static struct yoke_value encode_error(struct encoder *encoder, const struct yoke_error *error,
                                      unsigned depth, unsigned level);

static void *allocate(struct encoder *encoder, size_t size)
{
    void *memory = yk_arena_alloc(encoder->arena, size);

    if (memory == NULL)
        encoder->failed = true;
    return memory;
}

/* How much longer a text gets when its bytes that are not UTF-8 become U+FFFD; 0: it has none. */
static size_t growth(const unsigned char *text, size_t n)
{
    size_t bad = 0;

    for (size_t i = 0; i < n;) {
        size_t size = yk_character_size(text + i, n - i);

        bad += size == 0;
        i += size == 0 ? 1 : size;
    }
    return bad * 2;
}

const char *yk_tree_text(struct yk_arena *arena, const char *text)
{
    static const char replacement[] = "\xef\xbf\xbd";
    const unsigned char *bytes = (const unsigned char *)text;
    size_t n = strlen(text);
    size_t more = growth(bytes, n);
    size_t used = 0;
    char *mended;

    if (more == 0)
        return text;
    mended = yk_arena_alloc(arena, n + more + 1);
    if (mended == NULL)
        return NULL;
    for (size_t i = 0; i < n;) {
        size_t size = yk_character_size(bytes + i, n - i);

        memcpy(mended + used, size == 0 ? replacement : text + i, size == 0 ? 3 : size);
        used += size == 0 ? 3 : size;
        i += size == 0 ? 1 : size;
    }
    mended[used] = '\0';
    return mended;
}

static struct yoke_value text_value(struct encoder *encoder, const char *text)
{
    const char *mended = yk_tree_text(encoder->arena, text);

    if (mended == NULL) {
        encoder->failed = true;
        mended = "";
    }
    return yoke_str(mended);
}

static struct map map_new(struct encoder *encoder)
{
    return (struct map){encoder, allocate(encoder, PAIRS_MAX * sizeof(struct yoke_pair)), 0};
}

static void put(struct map *map, const char *key, struct yoke_value value)
{
    if (map->pairs == NULL || map->n == PAIRS_MAX)
        return;
    map->pairs[map->n++] = (struct yoke_pair){key, value};
}

static void put_text(struct map *map, const char *key, const char *text)
{
    if (text[0] != '\0')
        put(map, key, text_value(map->encoder, text));
}

static void put_count(struct map *map, const char *key, uint64_t n)
{
    if (n != 0)
        put(map, key, yoke_uint(n));
}

/* Only what is not nil, for parts that an error may not have. */
static void put_part(struct map *map, const char *key, struct yoke_value value)
{
    if (value.type != YOKE_NIL)
        put(map, key, value);
}

static struct yoke_value map_value(const struct map *map)
{
    return map->pairs == NULL || map->n == 0 ? yoke_nil() : yoke_map(map->pairs, map->n);
}

static struct yoke_value encode_actor(struct encoder *encoder, const struct yoke_actor_id *actor)
{
    struct map map = map_new(encoder);

    put_text(&map, "name", actor->name);
    put_text(&map, "uuid", actor->uuid);
    put_text(&map, "host", actor->host);
    if (actor->pid != 0)
        put(&map, "pid", yoke_int(actor->pid));
    return map_value(&map);
}

static void put_place(struct map *map, const char *file, int line)
{
    put_text(map, "file", file);
    if (file[0] != '\0')
        put(map, "line", yoke_int(line));
}

static struct yoke_value encode_site(struct encoder *encoder, const struct yoke_site *site)
{
    struct map map = map_new(encoder);

    put_place(&map, site->file, site->line);
    put_text(&map, "function", site->function);
    return map_value(&map);
}

static struct yoke_value encode_scope(struct encoder *encoder, const struct yoke_scope_info *scope)
{
    struct map map = map_new(encoder);

    if (scope->id == 0)
        return yoke_nil();
    put(&map, "id", yoke_uint(scope->id));
    put_text(&map, "name", scope->name);
    put_part(&map, "actor", encode_actor(encoder, &scope->actor));
    put_count(&map, "task_id", scope->task_id);
    put_text(&map, "task_name", scope->task_name);
    put_place(&map, scope->file, scope->line);
    return map_value(&map);
}

static struct yoke_value encode_requester(struct encoder *encoder,
                                          const struct yoke_requester *requester)
{
    struct map map = map_new(encoder);

    put_part(&map, "actor", encode_actor(encoder, &requester->actor));
    put_count(&map, "task_id", requester->task_id);
    put_text(&map, "task_name", requester->task_name);
    put_place(&map, requester->file, requester->line);
    put_text(&map, "function", requester->function);
    return map_value(&map);
}

static struct yoke_value encode_id(struct encoder *encoder, yoke_id id)
{
    struct yoke_value *items = allocate(encoder, 2 * sizeof *items);

    if (items == NULL)
        return yoke_nil();
    items[0] = yoke_uint(id.actor);
    items[1] = yoke_uint(id.serial);
    return yoke_array(items, 2);
}

static struct yoke_value encode_signal(struct encoder *encoder,
                                       const struct yoke_signal_info *signal)
{
    struct map map = map_new(encoder);

    put(&map, "number", yoke_int(signal->number));
    put(&map, "pid", yoke_int(signal->pid));
    put(&map, "uid", yoke_int(signal->uid));
    return map_value(&map);
}

/*
 * What is encoded behind a hop: the next one, or, if only one more finds room, the origin. NULL: no
 * room at all. Adds the hops that this leaves out.
 */
static const struct yoke_cause *next_hop(const struct encoder *encoder,
                                         const struct yoke_cause *cause, unsigned level,
                                         uint64_t *left_out)
{
    bool last = level + 1 >= LEVEL_MAX || encoder->nodes_left <= 1;
    bool none = level >= LEVEL_MAX || encoder->nodes_left == 0;

    *left_out = cause->hops_left_out;
    for (cause = cause->because; cause != NULL; cause = cause->because) {
        if (!none && (!last || cause->because == NULL))
            return cause;
        *left_out += 1 + cause->hops_left_out;
    }
    return NULL;
}

static struct yoke_value encode_cause(struct encoder *encoder, const struct yoke_cause *cause,
                                      unsigned depth, unsigned level)
{
    struct map map = map_new(encoder);
    const struct yoke_cause *behind;
    uint64_t left_out;

    if (encoder->nodes_left > 0)
        encoder->nodes_left--;
    put(&map, "id", encode_id(encoder, cause->id));
    put(&map, "layer", yoke_str(yoke_layer_name(cause->layer)));
    put(&map, "kind", yoke_str(yoke_cause_kind_name(cause->kind)));
    put_part(&map, "scope", encode_scope(encoder, &cause->scope));
    put_part(&map, "requester", encode_requester(encoder, &cause->requester));
    put_text(&map, "reason", yoke_cause_reason(cause));
    put(&map, "time", yoke_int(cause->time));
    if (cause->has_signal)
        put(&map, "signal", encode_signal(encoder, &cause->signal));
    if (cause->error != NULL && level < LEVEL_MAX && encoder->nodes_left > 0)
        put_part(&map, "error", encode_error(encoder, cause->error, depth + 1, level + 1));
    behind = next_hop(encoder, cause, level, &left_out);
    put_count(&map, "left_out", left_out);
    if (behind != NULL)
        put(&map, "because", encode_cause(encoder, behind, depth, level + 1));
    return map_value(&map);
}

static struct yoke_value encode_causes(struct encoder *encoder, const struct yoke_error *error,
                                       unsigned depth, unsigned level)
{
    struct yoke_value *items;
    size_t n = 0;

    if (error->inner_causes_n == 0 || level >= LEVEL_MAX)
        return yoke_nil();
    items = allocate(encoder, error->inner_causes_n * sizeof *items);
    if (items == NULL)
        return yoke_nil();
    while (n < error->inner_causes_n && encoder->nodes_left > 0) {
        items[n] = encode_cause(encoder, error->inner_causes[n], depth, level + 2);
        n++;
    }
    return n == 0 ? yoke_nil() : yoke_array(items, n);
}

static struct yoke_value encode_list(struct encoder *encoder, const struct yk_error_list *list,
                                     unsigned depth, unsigned level, size_t *left_out)
{
    size_t n = list->n < encoder->nodes_left ? list->n : encoder->nodes_left;
    struct yoke_value *items;
    size_t done = 0;

    *left_out += list->n - n;
    if (n == 0)
        return yoke_nil();
    items = allocate(encoder, n * sizeof *items);
    if (items == NULL)
        return yoke_nil();
    for (; done < n && encoder->nodes_left > 0; done++)
        items[done] = encode_error(encoder, list->items[done], depth + 1, level + 2);
    *left_out += n - done;
    return yoke_array(items, done);
}

static struct yoke_value encode_notes(struct encoder *encoder, const struct yoke_error *error,
                                      bool left_out)
{
    size_t n = error->notes_n + left_out;
    struct yoke_value *items;

    if (n == 0)
        return yoke_nil();
    items = allocate(encoder, n * sizeof *items);
    if (items == NULL)
        return yoke_nil();
    for (size_t i = 0; i < error->notes_n; i++)
        items[i] = text_value(encoder, error->notes[i]);
    if (left_out)
        items[n - 1] = yoke_str("what it carries is left out here: too deep or too much");
    return yoke_array(items, n);
}

static struct yoke_value encode_traceback(struct encoder *encoder, const struct yoke_error *error)
{
    const char *text = yoke_error_traceback(error);
    char *rendered;
    char *copy;

    if (text[0] != '\0')
        return text_value(encoder, text);
    if (!encoder->symbols || error->frames_n == 0)
        return yoke_nil();
    rendered = yk_backtrace_text(error->frames, error->frames_n);
    if (rendered == NULL)
        return yoke_nil(); /* an error without its backtrace is better than none */
    copy = yk_arena_strndup(encoder->arena, rendered, strlen(rendered));
    free(rendered);
    if (copy == NULL) {
        encoder->failed = true;
        return yoke_nil();
    }
    return text_value(encoder, copy);
}

/* The path is there only for an error that is remote here; the source is always. */
static void put_origin(struct encoder *encoder, struct map *map, const struct yoke_error *error)
{
    const struct yk_remote *remote = error->remote;
    const struct yoke_actor_id *source = &error->actor;
    struct yoke_value *items;

    put_part(map, "actor", encode_actor(encoder, &error->actor));
    if (remote != NULL)
        source = &remote->source;
    else if (source->name[0] == '\0' && source->uuid[0] == '\0')
        source = yk_locus()->actor; /* raised outside a task, sent by this actor */
    put_part(map, "source", encode_actor(encoder, source));
    if (remote == NULL || remote->relay_n == 0)
        return;
    items = allocate(encoder, remote->relay_n * sizeof *items);
    if (items == NULL)
        return;
    for (size_t i = 0; i < remote->relay_n; i++)
        items[i] = encode_actor(encoder, &remote->relay[i]);
    put(map, "relay", yoke_array(items, remote->relay_n));
}

static bool carries_anything(const struct yoke_error *error)
{
    return yk_error_carries(error) || error->cause != NULL;
}

static void put_carried(struct encoder *encoder, struct map *map, const struct yoke_error *error,
                        unsigned depth, unsigned level)
{
    const struct yoke_cause *cause = yoke_error_cause(error);
    size_t left_out = error->suppressed_left_out;

    if (cause != NULL)
        put(map, "cause", encode_cause(encoder, cause, depth, level + 1));
    put_part(map, "inner_causes", encode_causes(encoder, error, depth, level));
    if (error->because != NULL)
        put(map, "because", encode_error(encoder, error->because, depth + 1, level + 1));
    if (error->context != NULL)
        put(map, "context", encode_error(encoder, error->context, depth + 1, level + 1));
    put_part(map, "members", encode_list(encoder, &error->members, depth, level, &left_out));
    put_part(map, "suppressed", encode_list(encoder, &error->suppressed, depth, level, &left_out));
    put_count(map, "left_out", left_out);
}

static struct yoke_value encode_error(struct encoder *encoder, const struct yoke_error *error,
                                      unsigned depth, unsigned level)
{
    bool whole = depth < YK_ERROR_TREE_DEPTH_MAX && level < LEVEL_MAX && encoder->nodes_left > 0;
    struct map map = map_new(encoder);

    if (encoder->nodes_left > 0)
        encoder->nodes_left--;
    put(&map, "type", text_value(encoder, error->type));
    put(&map, "code", yoke_int(yk_error_rc(error)));
    put(&map, "errno", yoke_int(error->code));
    put(&map, "code_name", yoke_str(yoke_strcode(error->code)));
    put(&map, "message", text_value(encoder, error->message));
    put_part(&map, "site", encode_site(encoder, &error->site));
    put_count(&map, "task_id", error->task_id);
    put_text(&map, "task_name", error->task_name);
    put_origin(encoder, &map, error);
    put_part(&map, "notes", encode_notes(encoder, error, !whole && carries_anything(error)));
    if (whole) {
        put_part(&map, "traceback", encode_traceback(encoder, error));
        put_carried(encoder, &map, error, depth, level);
    }
    return map_value(&map);
}

struct yoke_value yk_error_to_value(struct yk_arena *arena, const struct yoke_error *error,
                                    bool symbols)
{
    struct encoder encoder = {arena, symbols, false, YK_ERROR_TREE_NODES_MAX};
    struct yoke_value value = encode_error(&encoder, error, 0, 0);

    return encoder.failed ? yoke_nil() : value;
}

struct yoke_value yk_cause_to_value(struct yk_arena *arena, const struct yoke_cause *cause)
{
    struct encoder encoder = {arena, false, false, YK_ERROR_TREE_NODES_MAX};
    struct yoke_value value = encode_cause(&encoder, cause, 0, 0);

    return encoder.failed ? yoke_nil() : value;
}
