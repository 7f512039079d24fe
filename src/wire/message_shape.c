/* SPDX-License-Identifier: MIT */
/*
 * The tables of message shapes. Constant data; the order of the lines is the order on the wire.
 * doc/protocol.md says what each field means.
 */
#include "wire/message_shape.h"

#include <string.h>

#include "base/check.h"

#define AT(member)  offsetof(struct yk_message, as.member)
#define NAMED(text) .name = (text), .name_size = sizeof(text) - 1
#define FIELD(text, what, member, ...)                                                             \
    {                                                                                              \
        NAMED(text), .kind = YK_FIELD_##what, .offset = AT(member), __VA_ARGS__                    \
    }

/* A field that must be there, and one that may be missing. */
#define NEEDED(text, what, member)   FIELD(text, what, member, .required = true)
#define OPTIONAL(text, what, member) FIELD(text, what, member, .required = false)

static const char *const functypes[] = {"asyncfunc", "asyncgen", "context", NULL};

static const struct yk_field aid_fields[] = {
    NEEDED("name", TEXT, aid.name),
    NEEDED("uuid", TEXT, aid.uuid),
    FIELD("pid", INT_OR_NIL, aid.pid, .other = AT(aid.has_pid)),
    FIELD("is_registrar", BOOL_OR_NIL, aid.is_registrar, .other = AT(aid.has_is_registrar)),
    OPTIONAL("is_probe", BOOL, aid.is_probe),
    FIELD("yoke", YOKE, aid.yoke, .other = AT(aid.host), .extension = true),
};

static const struct yk_field spawn_spec_fields[] = {
    NEEDED("_parent_main_data", MAP, spawn_spec.parent_main_data),
    NEEDED("_runtime_vars", MAP, spawn_spec.runtime_vars),
    NEEDED("enable_modules", MAP, spawn_spec.enable_modules),
    NEEDED("reg_addrs", ARRAY, spawn_spec.reg_addrs),
    NEEDED("bind_addrs", ARRAY_OR_NIL, spawn_spec.bind_addrs),
};

static const struct yk_field start_fields[] = {
    NEEDED("cid", TEXT, start.cid),
    NEEDED("ns", TEXT, start.ns),
    NEEDED("func", TEXT, start.func),
    NEEDED("kwargs", MAP, start.kwargs),
    NEEDED("uid", UID, start.uid),
    FIELD("pld_spec", TEXT, start.pld_spec, .default_text = "typing.Any"),
    FIELD("credit", COUNT, start.credit, .extension = true),
    FIELD("budget_ns", COUNT, start.budget_ns, .extension = true),
};

static const struct yk_field start_ack_fields[] = {
    NEEDED("cid", TEXT, start_ack.cid),
    FIELD("functype", TEXT, start_ack.functype, .required = true, .choices = functypes),
    FIELD("credit", COUNT, start_ack.credit, .extension = true),
};

static const struct yk_field stop_fields[] = {
    NEEDED("cid", TEXT, stop.cid),
};

static const struct yk_field cancel_ack_fields[] = {
    NEEDED("cid", TEXT, cancel_ack.cid),
    NEEDED("pld", BOOL, cancel_ack.pld),
};

static const struct yk_field error_fields[] = {
    NEEDED("src_uid", UID, error.src_uid),
    NEEDED("src_type_str", TEXT, error.src_type_str),
    NEEDED("boxed_type_str", TEXT, error.boxed_type_str),
    NEEDED("relay_path", UIDS, error.relay_path),
    OPTIONAL("message", TEXT_OR_NIL, error.message),
    FIELD("tb_str", TEXT, error.tb_str, .default_text = ""),
    FIELD("canceller", UID_OR_NIL, error.canceller, .other = AT(error.has_canceller)),
    FIELD("sender", UID_OR_NIL, error.sender, .other = AT(error.has_sender)),
    OPTIONAL("cid", TEXT_OR_NIL, error.cid),
    OPTIONAL("_bad_msg", ANY, error.bad_msg),
    OPTIONAL("_bad_msg_as_dict", MAP_OR_NIL, error.bad_msg_as_dict),
    FIELD("error", ANY, error.error, .extension = true),
};

static const struct yk_field payload_fields[] = {
    NEEDED("cid", TEXT, payload.cid),
    NEEDED("pld", ANY, payload.pld),
};

/* The cause may be nil: a peer that had no memory for it still cancels. */
static const struct yk_field cancel_fields[] = {
    NEEDED("cid", TEXT, cancel.cid),
    OPTIONAL("target_cid", TEXT_OR_NIL, cancel.target_cid),
    OPTIONAL("cause", MAP_OR_NIL, cancel.cause),
    OPTIONAL("budget_ns", COUNT, cancel.budget_ns),
};

static const struct yk_field credit_fields[] = {
    NEEDED("cid", TEXT, credit.cid),
    NEEDED("n", COUNT, credit.n),
};

static const struct yk_field beat_fields[] = {
    NEEDED("n", COUNT, beat.n),
};

static const struct yk_field listening_fields[] = {
    NEEDED("addrs", ARRAY, listening.addrs),
};

#define SHAPE(text, table, ...)                                                                    \
    {                                                                                              \
        NAMED(text), .fields = (table), .n = sizeof(table) / sizeof *(table), __VA_ARGS__          \
    }

static const struct yk_shape shapes[] = {
    [YK_AID] = SHAPE("Aid", aid_fields, .extension = false),
    [YK_SPAWN_SPEC] = SHAPE("SpawnSpec", spawn_spec_fields, .extension = false),
    [YK_START] = SHAPE("Start", start_fields, .extension = false),
    [YK_START_ACK] = SHAPE("StartAck", start_ack_fields, .extension = false),
    [YK_STOP] = SHAPE("Stop", stop_fields, .extension = false),
    [YK_CANCEL_ACK] = SHAPE("CancelAck", cancel_ack_fields, .extension = false),
    [YK_ERROR] = SHAPE("Error", error_fields, .repair = true),
    [YK_STARTED] = SHAPE("Started", payload_fields, .extension = false),
    [YK_YIELD] = SHAPE("Yield", payload_fields, .extension = false),
    [YK_RETURN] = SHAPE("Return", payload_fields, .extension = false),
    [YK_CANCEL] = SHAPE("Cancel", cancel_fields, .extension = true, .repair = true),
    [YK_CREDIT] = SHAPE("Credit", credit_fields, .extension = true),
    [YK_PING] = SHAPE("Ping", beat_fields, .extension = true),
    [YK_PONG] = SHAPE("Pong", beat_fields, .extension = true),
    [YK_LISTENING] = SHAPE("Listening", listening_fields, .extension = true),
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

const struct yk_shape *yk_shape_of(enum yk_message_type type)
{
    if ((size_t)type >= SHAPES || shapes[type].name == NULL)
        return NULL;
    return &shapes[type];
}

enum yk_message_type yk_shape_find(const char *name, size_t size)
{
    for (size_t i = 1; i < SHAPES; i++)
        if (shapes[i].name_size == size && memcmp(shapes[i].name, name, size) == 0)
            return (enum yk_message_type)i;
    return 0;
}

const char *yk_message_type_name(enum yk_message_type type)
{
    const struct yk_shape *shape = yk_shape_of(type);

    return shape != NULL ? shape->name : "?";
}

yk_text yk_message_cid(const struct yk_message *message)
{
    const struct yk_shape *shape = yk_shape_of(message->type);

    yk_assert(shape != NULL);
    for (size_t i = 0; i < shape->n; i++)
        if (strcmp(shape->fields[i].name, "cid") == 0)
            return *(const yk_text *)yk_field_in(message, shape->fields[i].offset);
    return NULL;
}
