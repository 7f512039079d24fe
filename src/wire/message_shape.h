/* SPDX-License-Identifier: MIT */
/*
 * The shape of each message: its fields in their order on the wire, each with its kind, its place
 * in struct yk_message, and what it is when absent. Encoder and decoder both work from these tables
 * alone, so that they can't disagree; a new field is one line in message_shape.c.
 */
#ifndef YK_WIRE_MESSAGE_SHAPE_H
#define YK_WIRE_MESSAGE_SHAPE_H

#include "wire/message.h"

/* What is in a field, and the C type that holds it. */
enum yk_field_kind {
    YK_FIELD_TEXT,         /* yk_text, never NULL */
    YK_FIELD_TEXT_OR_NIL,  /* yk_text, NULL: nil */
    YK_FIELD_BOOL,         /* bool */
    YK_FIELD_BOOL_OR_NIL,  /* bool, and a bool at `other` that tells whether there is one */
    YK_FIELD_INT_OR_NIL,   /* int64_t, and a bool at `other` */
    YK_FIELD_COUNT,        /* int64_t, not negative */
    YK_FIELD_UID,          /* struct yk_uid, written as [name, uuid] */
    YK_FIELD_UID_OR_NIL,   /* struct yk_uid, and a bool at `other` */
    YK_FIELD_UIDS,         /* struct yoke_value, an array of [name, uuid] */
    YK_FIELD_ANY,          /* struct yoke_value */
    YK_FIELD_MAP,          /* struct yoke_value; nil is written as an empty map */
    YK_FIELD_MAP_OR_NIL,   /* struct yoke_value */
    YK_FIELD_ARRAY,        /* struct yoke_value; nil is written as an empty array */
    YK_FIELD_ARRAY_OR_NIL, /* struct yoke_value */
    YK_FIELD_YOKE,         /* int64_t version, and the host, a yk_text, at `other`: {"v", "host"} */
                           /* and `shm` of an Aid: "shm" */
};

struct yk_field {
    const char *name;
    size_t name_size;
    enum yk_field_kind kind;
    bool required;  /* may not be missing; else missing is as `default_text`, or all zero */
    bool extension; /* written only to peers that speak them, and when it is set */
    bool repair;    /* as of a shape, for this field alone */
    size_t offset;  /* in struct yk_message */
    size_t other;   /* offset of the second member, for the kinds that have one */
    const char *default_text;   /* or NULL */
    const char *const *choices; /* the texts that are allowed, NULL at the end; or NULL: any */
};

struct yk_shape {
    const char *name; /* as on the wire; NULL: no such message */
    size_t name_size;
    const struct yk_field *fields;
    size_t n;
    bool extension; /* never sent to plain peers */
    bool repair;    /* must arrive: text that can't be sent as it is is mended (wire/pack.h) */
    /* of those with a cid and a value only: the bytes up to the head of the cid, and up to that of
     * the value, by which nearly all traffic is written and read without a look at the fields */
    const char *opening;
    size_t opening_size;
};

#define YK_PAYLOAD_KEY "\xa3pld" /* between the cid and the value of those with an opening */
enum { YK_PAYLOAD_KEY_SIZE = sizeof YK_PAYLOAD_KEY - 1 };

/* A field's place in a message. */
static inline void *yk_field_at(struct yk_message *message, size_t offset)
{
    return (char *)message + offset;
}
static inline const void *yk_field_in(const struct yk_message *message, size_t offset)
{
    return (const char *)message + offset;
}

/* The shape of a type; NULL if there is no such type. */
const struct yk_shape *yk_shape_of(enum yk_message_type type);

/* The type of a name on the wire; 0 if there is none. */
enum yk_message_type yk_shape_find(const char *name, size_t size);

#endif
