/* SPDX-License-Identifier: MIT */
/*
 * Bodies to messages, from the tables in message_shape.c. Reads what peers sent: nothing is
 * asserted on, and each refusal names message, field and what was found. Runs on task stacks.
 *
 * The body is decoded in place: texts are NUL-terminated where they lie and values borrow their
 * bytes, so a small message costs one copy and no allocation while the arena has room. The first
 * look for `msg_type` changes nothing, so that the body can then be read from its start.
 *
 * A field given twice is refused, where a plain peer would take the last one: no writer does it,
 * and readers that disagree on which one counts are a way around checks.
 */
#include "wire/message.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <yoke/error.h>

#include "base/check.h"
#include "base/limits.h"
#include "wire/message_shape.h"
#include "wire/unpack.h"
#include "wire/value.h"

struct decoder {
    struct yk_reader reader;
    const struct yk_shape *shape;
    const struct yk_field *field; /* being read */
    struct yk_message message;
    bool type_seen; /* msg_type was given */
    uint32_t seen;  /* bit i: fields[i] was given */
};

enum { PEER_TEXT_MAX = 64 }; /* bytes of a peer's text quoted in a message of ours */

static int shown(size_t size)
{
    return (int)(size < PEER_TEXT_MAX ? size : PEER_TEXT_MAX);
}

static int bad_body(const char *what, const struct yoke_value *found)
{
    return yoke_raise("yoke.BadMessage", EBADMSG, "message: expected %s, found %s", what,
                      yk_value_type_name(found->type));
}

static int bad_field(const struct decoder *decoder, const char *problem)
{
    return yoke_raise("yoke.BadMessage", EBADMSG, "%s.%s: %s", decoder->shape->name,
                      decoder->field->name, problem);
}

static int wrong_type(const struct decoder *decoder, const char *expected,
                      const struct yoke_value *found)
{
    return yoke_raise("yoke.BadMessage", EBADMSG, "%s.%s: expected %s, found %s",
                      decoder->shape->name, decoder->field->name, expected,
                      yk_value_type_name(found->type));
}

static int malformed(const struct decoder *decoder, int rc)
{
    return yk_reader_raise(&decoder->reader, rc, decoder->shape->name, decoder->field->name);
}

static int read_head(struct decoder *decoder, struct yoke_value *ret)
{
    int rc = yk_read_head(&decoder->reader, ret);

    return rc < 0 ? malformed(decoder, rc) : 0;
}

static int take_text(struct decoder *decoder, const struct yoke_value *value, const char *expected,
                     yk_text *ret)
{
    if (value->type != YOKE_STR)
        return wrong_type(decoder, expected, value);
    *ret = yk_read_terminate(value);
    return *ret != NULL ? 0 : bad_field(decoder, "a NUL byte inside a str");
}

static int check_choice(const struct decoder *decoder, yk_text text)
{
    const char *const *choice = decoder->field->choices;

    if (choice == NULL)
        return 0;
    for (; *choice != NULL; choice++)
        if (strcmp(*choice, text) == 0)
            return 0;
    return yoke_raise("yoke.BadMessage", EBADMSG, "%s.%s: unknown \"%.*s\"", decoder->shape->name,
                      decoder->field->name, shown(strlen(text)), text);
}

static int decode_text(struct decoder *decoder, yk_text *ret)
{
    bool nil_allowed = decoder->field->kind == YK_FIELD_TEXT_OR_NIL;
    struct yoke_value value;
    int rc = read_head(decoder, &value);

    if (rc < 0)
        return rc;
    if (value.type == YOKE_NIL && nil_allowed) {
        *ret = NULL;
        return 0;
    }
    rc = take_text(decoder, &value, nil_allowed ? "str or nil" : "str", ret);
    return rc < 0 ? rc : check_choice(decoder, *ret);
}

static int decode_bool(struct decoder *decoder, bool *ret)
{
    struct yoke_value value;
    int rc = read_head(decoder, &value);

    if (rc < 0)
        return rc;
    if (value.type != YOKE_BOOL)
        return wrong_type(decoder, "bool", &value);
    *ret = value.as.boolean;
    return 0;
}

static int decode_count(struct decoder *decoder, int64_t *ret)
{
    struct yoke_value value;
    int rc = read_head(decoder, &value);

    if (rc < 0)
        return rc;
    if (value.type == YOKE_INT && value.as.integer < 0)
        return yoke_raise("yoke.BadMessage", EBADMSG, "%s.%s: expected a count, found %" PRIi64,
                          decoder->shape->name, decoder->field->name, value.as.integer);
    if (value.type == YOKE_UINT)
        return bad_field(decoder, "expected a count, found an int over 2^63 - 1");
    if (value.type != YOKE_INT)
        return wrong_type(decoder, "int", &value);
    *ret = value.as.integer;
    return 0;
}

/* The two items of a [name, uuid] whose head was read. */
static int take_uid(struct decoder *decoder, const struct yoke_value *head, const char *expected,
                    struct yk_uid *ret)
{
    yk_text *const parts[] = {&ret->name, &ret->uuid};

    if (head->type != YOKE_ARRAY_VALUE)
        return wrong_type(decoder, expected, head);
    if (head->as.array.n != 2)
        return yoke_raise("yoke.BadMessage", EBADMSG, "%s.%s: expected %s, found array of %zu",
                          decoder->shape->name, decoder->field->name, expected, head->as.array.n);
    for (size_t i = 0; i < 2; i++) {
        struct yoke_value item;
        int rc;

        yk_reader_item(&decoder->reader);
        rc = read_head(decoder, &item);
        if (rc == 0)
            rc = take_text(decoder, &item, "[name, uuid] of str", parts[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int decode_uid(struct decoder *decoder, struct yk_uid *ret)
{
    struct yoke_value head;
    int rc = read_head(decoder, &head);

    return rc < 0 ? rc : take_uid(decoder, &head, "[name, uuid]", ret);
}

/* The kinds that can be nil and have a flag for it at `other`. */
static int decode_flagged(struct decoder *decoder, void *at)
{
    bool *has = yk_field_at(&decoder->message, decoder->field->other);
    struct yoke_value value;
    int rc = read_head(decoder, &value);

    if (rc < 0)
        return rc;
    *has = value.type != YOKE_NIL;
    if (!*has)
        return 0;
    if (decoder->field->kind == YK_FIELD_UID_OR_NIL)
        return take_uid(decoder, &value, "[name, uuid] or nil", at);
    if (decoder->field->kind == YK_FIELD_BOOL_OR_NIL) {
        if (value.type != YOKE_BOOL)
            return wrong_type(decoder, "bool or nil", &value);
        *(bool *)at = value.as.boolean;
        return 0;
    }
    if (value.type == YOKE_UINT)
        return bad_field(decoder, "expected int or nil, found an int over 2^63 - 1");
    if (value.type != YOKE_INT)
        return wrong_type(decoder, "int or nil", &value);
    *(int64_t *)at = value.as.integer;
    return 0;
}

static int decode_value(struct decoder *decoder, struct yoke_value *ret)
{
    int rc = yk_read_value(&decoder->reader, ret);

    return rc < 0 ? malformed(decoder, rc) : 0;
}

static int decode_container(struct decoder *decoder, struct yoke_value *ret)
{
    enum yk_field_kind kind = decoder->field->kind;
    bool is_map = kind == YK_FIELD_MAP || kind == YK_FIELD_MAP_OR_NIL;
    bool nil_allowed = kind == YK_FIELD_MAP_OR_NIL || kind == YK_FIELD_ARRAY_OR_NIL;
    int rc = decode_value(decoder, ret);

    if (rc < 0 || (ret->type == YOKE_NIL && nil_allowed))
        return rc;
    if (is_map && ret->type != YOKE_MAP_VALUE)
        return wrong_type(decoder, nil_allowed ? "map or nil" : "map", ret);
    if (!is_map && ret->type != YOKE_ARRAY_VALUE)
        return wrong_type(decoder, nil_allowed ? "array or nil" : "array", ret);
    return 0;
}

static bool is_text(const struct yoke_value *value)
{
    return value->type == YOKE_STR && memchr(value->as.str.data, '\0', value->as.str.size) == NULL;
}

static int decode_uids(struct decoder *decoder, struct yoke_value *ret)
{
    int rc = decode_container(decoder, ret);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ret->as.array.n; i++) {
        const struct yoke_value *uid = &ret->as.array.items[i];

        if (uid->type != YOKE_ARRAY_VALUE || uid->as.array.n != 2 ||
            !is_text(&uid->as.array.items[0]) || !is_text(&uid->as.array.items[1]))
            return bad_field(decoder, "expected an array of [name, uuid]");
    }
    return 0;
}

/* {"v": version, "host": name, "shm": bool}; what later versions add is ignored. */
static int decode_yoke(struct decoder *decoder, int64_t *ret)
{
    struct yoke_value info, version, host, shm;
    int rc = decode_value(decoder, &info);

    if (rc < 0)
        return rc;
    if (info.type != YOKE_MAP_VALUE)
        return wrong_type(decoder, "map", &info);
    version = yoke_value_get(info, "v");
    if (version.type != YOKE_INT || version.as.integer < 1)
        return bad_field(decoder, "\"v\" is not a version");
    host = yoke_value_get(info, "host");
    shm = yoke_value_get(info, "shm");
    *ret = version.as.integer;
    decoder->message.as.aid.shm = shm.type == YOKE_BOOL && shm.as.boolean;
    if (host.type == YOKE_NIL)
        return 0;
    return take_text(decoder, &host, "str as \"host\"",
                     yk_field_at(&decoder->message, decoder->field->other));
}

static int decode_field(struct decoder *decoder)
{
    void *at = yk_field_at(&decoder->message, decoder->field->offset);

    switch (decoder->field->kind) {
    case YK_FIELD_TEXT:
    case YK_FIELD_TEXT_OR_NIL:
        return decode_text(decoder, at);
    case YK_FIELD_BOOL:
        return decode_bool(decoder, at);
    case YK_FIELD_COUNT:
        return decode_count(decoder, at);
    case YK_FIELD_BOOL_OR_NIL:
    case YK_FIELD_INT_OR_NIL:
    case YK_FIELD_UID_OR_NIL:
        return decode_flagged(decoder, at);
    case YK_FIELD_UID:
        return decode_uid(decoder, at);
    case YK_FIELD_ANY:
        return decode_value(decoder, at);
    case YK_FIELD_MAP:
    case YK_FIELD_MAP_OR_NIL:
    case YK_FIELD_ARRAY:
    case YK_FIELD_ARRAY_OR_NIL:
        return decode_container(decoder, at);
    case YK_FIELD_UIDS:
        return decode_uids(decoder, at);
    case YK_FIELD_YOKE:
        return decode_yoke(decoder, at);
    }
    yk_assert(!"a kind of field without a decoder");
    return -EBADMSG;
}

static bool is_named(const struct yoke_value *str, const char *name, size_t size)
{
    return str->type == YOKE_STR && str->as.str.size == size &&
           memcmp(str->as.str.data, name, size) == 0;
}

/* The body is a map, whose head this reads; its pairs come next. */
static int begin(struct yk_reader *reader, size_t *ret_pairs)
{
    struct yoke_value body;
    int rc = yk_read_head(reader, &body);

    if (rc < 0)
        return yk_reader_raise(reader, rc, "message", NULL);
    if (body.type != YOKE_MAP_VALUE)
        return bad_body("a map", &body);
    *ret_pairs = body.as.map.n;
    return 0;
}

/* The value of `msg_type`, nearly always that of the first pair. The reader is a copy to use up. */
static int find_type(struct yk_reader reader, size_t pairs, struct yoke_value *ret)
{
    struct yoke_value key;
    int rc = 0;

    for (size_t i = 0; i < pairs && rc == 0; i++) {
        yk_reader_item(&reader);
        rc = yk_read_head(&reader, &key);
        if (rc == 0 && key.type != YOKE_STR)
            return bad_body("keys of str", &key);
        if (rc < 0)
            break;
        yk_reader_item(&reader);
        if (is_named(&key, "msg_type", 8)) {
            rc = yk_read_head(&reader, ret);
            if (rc == 0)
                return ret->type == YOKE_STR ? 0 : bad_body("a str as msg_type", ret);
        } else {
            rc = yk_skip_value(&reader);
        }
    }
    if (rc < 0)
        return yk_reader_raise(&reader, rc, "message", NULL);
    return yoke_raise("yoke.BadMessage", EBADMSG, "message: no msg_type");
}

/* The field a key names, tried first where it stands when all fields come in order; or NULL. */
static const struct yk_field *find_field(const struct yk_shape *shape, const struct yoke_value *key,
                                         size_t expected)
{
    for (size_t i = 0; i < shape->n; i++) {
        const struct yk_field *field = &shape->fields[(expected + i) % shape->n];

        if (is_named(key, field->name, field->name_size))
            return field;
    }
    return NULL;
}

/* The value of a key that names no field: one we don't know, or msg_type, which was read before. */
static int skip_pair(struct decoder *decoder, const struct yoke_value *key)
{
    int rc;

    if (is_named(key, "msg_type", 8)) {
        if (decoder->type_seen)
            return yoke_raise("yoke.BadMessage", EBADMSG, "%s: msg_type given twice",
                              decoder->shape->name);
        decoder->type_seen = true;
    }
    rc = yk_skip_value(&decoder->reader);
    return rc < 0 ? yk_reader_raise(&decoder->reader, rc, decoder->shape->name, NULL) : 0;
}

/* One pair: 0, or the failure. `expected` is the index of the field that would come in order. */
static int decode_pair(struct decoder *decoder, size_t *expected)
{
    const struct yk_shape *shape = decoder->shape;
    struct yoke_value key;
    size_t index;
    int rc;

    yk_reader_item(&decoder->reader);
    rc = yk_read_head(&decoder->reader, &key);
    if (rc < 0)
        return yk_reader_raise(&decoder->reader, rc, shape->name, NULL);
    if (key.type != YOKE_STR)
        return yoke_raise("yoke.BadMessage", EBADMSG, "%s: expected keys of str, found %s",
                          shape->name, yk_value_type_name(key.type));
    yk_reader_item(&decoder->reader);
    decoder->field = find_field(shape, &key, *expected);
    if (decoder->field == NULL)
        return skip_pair(decoder, &key);
    index = (size_t)(decoder->field - shape->fields);
    if (decoder->seen & 1u << index)
        return bad_field(decoder, "given twice");
    decoder->seen |= 1u << index;
    *expected = index + 1;
    return decode_field(decoder);
}

/* Fields that were not given: refused, or set to their defaults. */
static int finish(struct decoder *decoder)
{
    const struct yk_reader *reader = &decoder->reader;

    if (reader->next < reader->end)
        return yoke_raise("yoke.BadMessage", EBADMSG, "%s: %zu bytes behind it",
                          decoder->shape->name, (size_t)(reader->end - reader->next));
    for (size_t i = 0; i < decoder->shape->n; i++) {
        decoder->field = &decoder->shape->fields[i];
        if (decoder->seen & 1u << i)
            continue;
        if (decoder->field->required)
            return bad_field(decoder, "missing");
        if (decoder->field->default_text != NULL)
            *(yk_text *)yk_field_at(&decoder->message, decoder->field->offset) =
                decoder->field->default_text;
    }
    return 0;
}

/*
 * A message that begins with its shape's opening, as nearly all do, without a look at its fields. 1
 * when it was decoded; 0, and no byte changed, when it is to be read as any other.
 */
static int decode_short(struct decoder *decoder, enum yk_message_type type,
                        struct yk_message *ret_message)
{
    const struct yk_shape *shape = yk_shape_of(type);
    struct yk_reader *reader = &decoder->reader;
    struct yk_payload payload;
    struct yoke_value cid;
    int rc;

    if ((size_t)(reader->end - reader->next) < shape->opening_size + 2 ||
        memcmp(reader->next, shape->opening, shape->opening_size) != 0)
        return 0;
    reader->next += shape->opening_size;
    reader->owed = 2; /* the value and its key, beside the cid */
    if (yk_read_head(reader, &cid) < 0 || cid.type != YOKE_STR ||
        (size_t)(reader->end - reader->next) < YK_PAYLOAD_KEY_SIZE + 1 ||
        memcmp(reader->next, YK_PAYLOAD_KEY, YK_PAYLOAD_KEY_SIZE) != 0)
        return 0;
    decoder->shape = shape;
    decoder->field = &shape->fields[0];
    rc = take_text(decoder, &cid, "str", &payload.cid);
    if (rc < 0)
        return rc;
    decoder->field = &shape->fields[1];
    reader->next += YK_PAYLOAD_KEY_SIZE;
    reader->owed = 0;
    rc = decode_value(decoder, &payload.pld);
    if (rc == 0 && reader->next < reader->end)
        rc = yoke_raise("yoke.BadMessage", EBADMSG, "%s: %zu bytes behind it", shape->name,
                        (size_t)(reader->end - reader->next));
    if (rc < 0)
        return rc;
    ret_message->type = type;
    ret_message->as.payload = payload;
    return 1;
}

/* Tries it for each type that has an opening. */
static int decode_any_short(struct yk_arena *arena, void *body, size_t size,
                            struct yk_bulk_in *bulk, struct yk_message *ret_message)
{
    static const enum yk_message_type types[] = {YK_YIELD, YK_RETURN, YK_STARTED};
    struct decoder decoder;
    int rc = 0;

    decoder.type_seen = true;
    for (size_t i = 0; i < sizeof types / sizeof *types && rc == 0; i++) {
        yk_reader_init(&decoder.reader, arena, body, size);
        decoder.reader.bulk = bulk;
        rc = decode_short(&decoder, types[i], ret_message);
    }
    return rc;
}

static int decode_by_fields(struct yk_arena *arena, void *body, size_t size,
                            struct yk_bulk_in *bulk, struct yk_message *ret_message)
{
    struct decoder decoder;
    struct yoke_value type;
    size_t pairs = 0, expected = 0;
    int rc;

    memset(&decoder, 0, sizeof decoder);
    yk_reader_init(&decoder.reader, arena, body, size);
    decoder.reader.bulk = bulk;
    rc = begin(&decoder.reader, &pairs);
    if (rc == 0)
        rc = find_type(decoder.reader, pairs, &type);
    if (rc < 0)
        return rc;
    decoder.message.type = yk_shape_find(type.as.str.data, type.as.str.size);
    if (decoder.message.type == 0)
        return yoke_raise("yoke.BadMessage", EBADMSG, "unknown message \"%.*s\"",
                          shown(type.as.str.size), type.as.str.data);
    decoder.shape = yk_shape_of(decoder.message.type);
    for (size_t i = 0; i < pairs && rc == 0; i++)
        rc = decode_pair(&decoder, &expected);
    if (rc == 0)
        rc = finish(&decoder);
    if (rc == 0)
        *ret_message = decoder.message;
    return rc;
}

int yk_message_decode_in_place(struct yk_arena *arena, void *body, size_t size,
                               struct yk_bulk_in *bulk, struct yk_message *ret_message)
{
    int rc = decode_any_short(arena, body, size, bulk, ret_message);

    if (rc == 0)
        return decode_by_fields(arena, body, size, bulk, ret_message);
    return rc < 0 ? rc : 0;
}

int yk_message_decode(struct yk_arena *arena, const void *body, size_t size,
                      struct yk_message *ret_message)
{
    char *copy = yk_arena_strndup(arena, body, size);

    if (copy == NULL)
        return yoke_raise("yoke.OutOfMemory", ENOMEM, "message: no memory for %zu bytes", size);
    return yk_message_decode_in_place(arena, copy, size, NULL, ret_message);
}
