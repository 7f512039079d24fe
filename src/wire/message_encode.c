/* SPDX-License-Identifier: MIT */
/*
 * Messages to frames, from the tables in message_shape.c. Runs on task stacks; allocates nothing
 * but the buffer's growth. The length in front is filled in last, and on any failure the buffer is
 * cut back to what it held.
 */
#include "wire/message.h"

#include <errno.h>
#include <string.h>
#include <yoke/error.h>

#include "base/check.h"
#include "base/limits.h"
#include "wire/message_shape.h"
#include "wire/pack.h"
#include "wire/utf8.h"

static void pack_text(struct yk_packer *packer, yk_text text)
{
    yk_assert(text != NULL); /* by the caller: a text that may not be nil */
    yk_pack_str(packer, text, strlen(text));
}

static void pack_uid(struct yk_packer *packer, const struct yk_uid *uid)
{
    yk_pack_array(packer, 2);
    pack_text(packer, uid->name);
    pack_text(packer, uid->uuid);
}

static void pack_yoke(struct yk_packer *packer, const struct yk_aid *aid)
{
    yk_pack_map(packer, 1 + (aid->host != NULL ? 1 : 0) + (aid->shm ? 1 : 0));
    yk_pack_name(packer, "v", 1);
    yk_pack_int(packer, aid->yoke);
    if (aid->host != NULL) {
        yk_pack_name(packer, "host", 4);
        pack_text(packer, aid->host);
    }
    if (aid->shm) {
        yk_pack_name(packer, "shm", 3);
        yk_pack_bool(packer, true);
    }
}

/* A map or array, nil where that is allowed. What the caller gives is its own business to get
 * right. */
static void pack_container(struct yk_packer *packer, enum yk_field_kind kind,
                           const struct yoke_value *value)
{
    bool is_map = kind == YK_FIELD_MAP || kind == YK_FIELD_MAP_OR_NIL;

    if (value->type != YOKE_NIL) {
        yk_assert(value->type == (is_map ? YOKE_MAP_VALUE : YOKE_ARRAY_VALUE));
        yk_pack_value(packer, value);
    } else if (kind == YK_FIELD_MAP) {
        yk_pack_map(packer, 0);
    } else if (kind == YK_FIELD_MAP_OR_NIL || kind == YK_FIELD_ARRAY_OR_NIL) {
        yk_pack_nil(packer);
    } else {
        yk_pack_array(packer, 0);
    }
}

/* The kinds that can be nil and have a flag for it at `other`. */
static void pack_flagged(struct yk_packer *packer, const struct yk_field *field,
                         const struct yk_message *message)
{
    const void *at = yk_field_in(message, field->offset);

    if (!*(const bool *)yk_field_in(message, field->other))
        yk_pack_nil(packer);
    else if (field->kind == YK_FIELD_BOOL_OR_NIL)
        yk_pack_bool(packer, *(const bool *)at);
    else if (field->kind == YK_FIELD_INT_OR_NIL)
        yk_pack_int(packer, *(const int64_t *)at);
    else
        pack_uid(packer, at);
}

static void pack_text_field(struct yk_packer *packer, const struct yk_field *field, yk_text text)
{
    if (text == NULL)
        text = field->default_text;
    if (text == NULL && field->kind == YK_FIELD_TEXT_OR_NIL)
        yk_pack_nil(packer);
    else
        pack_text(packer, text);
}

static void pack_field(struct yk_packer *packer, const struct yk_field *field,
                       const struct yk_message *message)
{
    const void *at = yk_field_in(message, field->offset);

    switch (field->kind) {
    case YK_FIELD_TEXT:
    case YK_FIELD_TEXT_OR_NIL:
        pack_text_field(packer, field, *(const yk_text *)at);
        return;
    case YK_FIELD_BOOL:
        yk_pack_bool(packer, *(const bool *)at);
        return;
    case YK_FIELD_COUNT:
        yk_pack_int(packer, *(const int64_t *)at);
        return;
    case YK_FIELD_BOOL_OR_NIL:
    case YK_FIELD_INT_OR_NIL:
    case YK_FIELD_UID_OR_NIL:
        pack_flagged(packer, field, message);
        return;
    case YK_FIELD_UID:
        pack_uid(packer, at);
        return;
    case YK_FIELD_ANY:
        yk_pack_value(packer, at);
        return;
    case YK_FIELD_UIDS:
    case YK_FIELD_MAP:
    case YK_FIELD_MAP_OR_NIL:
    case YK_FIELD_ARRAY:
    case YK_FIELD_ARRAY_OR_NIL:
        pack_container(packer, field->kind, at);
        return;
    case YK_FIELD_YOKE:
        pack_yoke(packer, &message->as.aid);
        return;
    }
}

static bool is_written(const struct yk_field *field, const struct yk_message *message,
                       bool extensions)
{
    const void *at = yk_field_in(message, field->offset);

    if (!field->extension)
        return true;
    if (!extensions)
        return false;
    if (field->kind == YK_FIELD_ANY)
        return ((const struct yoke_value *)at)->type != YOKE_NIL;
    yk_assert(field->kind == YK_FIELD_COUNT || field->kind == YK_FIELD_YOKE);
    return *(const int64_t *)at != 0;
}

/* The body; returns the field at which it failed, NULL if it did not. */
static const struct yk_field *pack_body(struct yk_packer *packer, const struct yk_shape *shape,
                                        const struct yk_message *message, bool extensions)
{
    size_t n = 1;

    for (size_t i = 0; i < shape->n; i++)
        n += is_written(&shape->fields[i], message, extensions);
    yk_pack_map(packer, n);
    yk_pack_name(packer, "msg_type", 8);
    yk_pack_name(packer, shape->name, shape->name_size);
    for (size_t i = 0; i < shape->n; i++) {
        const struct yk_field *field = &shape->fields[i];

        if (!is_written(field, message, extensions))
            continue;
        yk_pack_name(packer, field->name, field->name_size);
        packer->repair = shape->repair || field->repair;
        pack_field(packer, field, message);
        if (packer->rc < 0)
            return field;
    }
    return NULL;
}

/* The same for a message with an opening and a cid that goes with it; false: it is not one. */
static bool pack_short(struct yk_packer *packer, const struct yk_shape *shape,
                       const struct yk_payload *payload)
{
    enum { SHORT_CID = 64 };
    struct yk_buffer *buffer = packer->buffer;
    size_t n = strnlen(payload->cid, SHORT_CID);
    size_t head = n < 32 ? 1 : 2; /* of a str of that many bytes */
    size_t size = shape->opening_size + head + n + YK_PAYLOAD_KEY_SIZE;
    unsigned char *to;

    if (n == SHORT_CID || !yk_utf8_valid(payload->cid, n) || yk_buffer_reserve(buffer, size) < 0)
        return false;
    to = buffer->data + buffer->end;
    to = (unsigned char *)memcpy(to, shape->opening, shape->opening_size) + shape->opening_size;
    to[0] = head == 1 ? (unsigned char)(0xa0 | n) : 0xd9;
    to[head - 1] = head == 1 ? to[0] : (unsigned char)n;
    memcpy(to + head, payload->cid, n);
    memcpy(to + head + n, YK_PAYLOAD_KEY, YK_PAYLOAD_KEY_SIZE);
    buffer->end += size;
    packer->room -= size;
    yk_pack_value(packer, &payload->pld);
    return true;
}

static int raise_failure(const struct yk_packer *packer, const struct yk_shape *shape,
                         const struct yk_field *field)
{
    const char *type = packer->rc == -ENOMEM ? "yoke.OutOfMemory" : "yoke.BadValue";

    return yoke_raise(type, packer->rc, "%s.%s: %s", shape->name,
                      field != NULL ? field->name : "msg_type", packer->fault);
}

static void put_length(unsigned char *head, size_t size)
{
    for (unsigned i = 0; i < YK_FRAME_HEADER; i++)
        head[i] = (unsigned char)(size >> 8 * i);
}

int yk_message_encode_with(struct yk_buffer *buffer, const struct yk_message *message,
                           bool extensions, struct yk_bulk_out *bulk)
{
    static const unsigned char no_length[YK_FRAME_HEADER];
    const struct yk_shape *shape = yk_shape_of(message->type);
    const struct yk_field *failed = NULL;
    size_t before = yk_buffer_size(buffer); /* positions move when the buffer grows, sizes do not */
    size_t size;
    struct yk_packer packer;

    yk_assert(shape != NULL && (extensions || !shape->extension));
    if (yk_buffer_append(buffer, no_length, sizeof no_length) < 0)
        return yoke_raise("yoke.OutOfMemory", ENOMEM, "%s: no memory for its frame", shape->name);
    yk_packer_init(&packer, buffer, shape->repair);
    packer.bulk = shape->repair ? NULL : bulk; /* an error may outlive the link */
    if (shape->opening == NULL || !pack_short(&packer, shape, &message->as.payload))
        failed = pack_body(&packer, shape, message, extensions);
    else if (packer.rc < 0)
        failed = &shape->fields[shape->n - 1];
    if (packer.rc < 0) {
        buffer->end = buffer->start + before;
        return raise_failure(&packer, shape, failed);
    }
    size = yk_buffer_size(buffer) - before - YK_FRAME_HEADER;
    yk_assert(size > 0 && size <= YK_FRAME_MAX);
    put_length(buffer->data + buffer->start + before, size);
    return 0;
}

int yk_message_encode(struct yk_buffer *buffer, const struct yk_message *message, bool extensions)
{
    return yk_message_encode_with(buffer, message, extensions, NULL);
}
