/* SPDX-License-Identifier: MIT */
/*
 * The messages: tractor's ten, field for field, and yoke's extensions. Pure: bytes in, structs out.
 * What a decoded message borrows (strings, values) lives in the arena given to the decoder.
 *
 * Extensions are extra keys behind the plain ones, which plain peers ignore, and two messages that
 * they are never sent. They are used on a link only when both Aids carry `yoke`.
 */
#ifndef YK_WIRE_MESSAGE_H
#define YK_WIRE_MESSAGE_H

#include <yoke/value.h>

#include "base/arena.h"
#include "wire/buffer.h"

enum yk_message_type {
    YK_AID = 1,
    YK_SPAWN_SPEC,
    YK_START,
    YK_START_ACK,
    YK_STOP,
    YK_CANCEL_ACK,
    YK_ERROR,
    YK_STARTED,
    YK_YIELD,
    YK_RETURN,
    /* extensions */
    YK_CANCEL,
    YK_CREDIT,
    YK_PING,
    YK_PONG,
    YK_LISTENING,
};

/* A string that may be absent (NULL: nil). NUL-terminated; one with a NUL inside is refused. */
typedef const char *yk_text;

struct yk_uid {
    yk_text name;
    yk_text uuid;
};

struct yk_aid {
    yk_text name, uuid;
    bool has_pid;
    int64_t pid;
    bool has_is_registrar, is_registrar; /* nil or bool */
    bool is_probe;
    /* extension: version of our extensions, 0: a plain peer; key `yoke`, {"v": n, "host": str} */
    int64_t yoke;
    yk_text host; /* in `yoke`; or NULL */
};

struct yk_spawn_spec {
    struct yoke_value parent_main_data, runtime_vars, enable_modules; /* maps */
    struct yoke_value reg_addrs;                                      /* array */
    struct yoke_value bind_addrs;                                     /* array or nil */
};

struct yk_start {
    yk_text cid, ns, func;
    struct yoke_value kwargs; /* map */
    struct yk_uid uid;
    yk_text pld_spec; /* default "typing.Any" */
    /* extension: messages the callee may send before more is granted; 0: no credit */
    int64_t credit;
    /* extension: remaining time of the opener's deadline; 0: none */
    int64_t budget_ns;
};

struct yk_start_ack {
    yk_text cid;
    yk_text functype; /* "asyncfunc", "asyncgen" or "context"; others are refused */
    int64_t credit;   /* extension: for the opener */
};

struct yk_stop {
    yk_text cid;
};

struct yk_cancel_ack {
    yk_text cid;
    bool pld;
};

struct yk_error_message {
    struct yk_uid src_uid;
    yk_text src_type_str, boxed_type_str;
    struct yoke_value relay_path; /* array of [name, uuid] */
    yk_text message;              /* or NULL */
    yk_text tb_str;               /* default "" */
    bool has_canceller;
    struct yk_uid canceller;
    bool has_sender;
    struct yk_uid sender;
    yk_text cid;                       /* or NULL */
    struct yoke_value bad_msg;         /* any or nil: `_bad_msg`, kept as a value */
    struct yoke_value bad_msg_as_dict; /* map or nil */
    /* extension: the whole error as a tree (error/tree.h); nil from plain peers */
    struct yoke_value error;
};

/* Started, Yield, Return */
struct yk_payload {
    yk_text cid;
    struct yoke_value pld;
};

/* Extension: a cancel request, answered by CancelAck with the same cid. */
struct yk_cancel {
    yk_text cid;             /* of this request */
    yk_text target_cid;      /* the context to cancel, or NULL: the whole actor */
    struct yoke_value cause; /* map (error/tree.h); nil if the sender had no memory for it */
    int64_t budget_ns;       /* how long the requester waits before its next rung; 0: not said */
};

/* Extension: n more values may be sent in this dialog. */
struct yk_credit {
    yk_text cid;
    int64_t n;
};

/* Extension, Ping and Pong: a sign of life is asked for, and given with the same number. */
struct yk_beat {
    int64_t n;
};

/* Extension: a child, told where to listen by its SpawnSpec, listens there. */
struct yk_listening {
    struct yoke_value addrs; /* array of pairs, as `bind_addrs` */
};

struct yk_message {
    enum yk_message_type type;
    union {
        struct yk_aid aid;
        struct yk_spawn_spec spawn_spec;
        struct yk_start start;
        struct yk_start_ack start_ack;
        struct yk_stop stop;
        struct yk_cancel_ack cancel_ack;
        struct yk_error_message error;
        struct yk_payload payload; /* YK_STARTED, YK_YIELD, YK_RETURN */
        struct yk_cancel cancel;
        struct yk_credit credit;
        struct yk_beat beat; /* YK_PING, YK_PONG */
        struct yk_listening listening;
    } as;
};

/* The type's name as on the wire ("StartAck"). */
const char *yk_message_type_name(enum yk_message_type type);

/* The cid a message belongs to, or NULL. */
yk_text yk_message_cid(const struct yk_message *message);

/*
 * Appends one frame: length and body, fields in the documented order, defaults included. Texts that
 * may not be nil must be set, but for those with a default; a nil value is written as the empty map
 * or array where those are needed. Extension fields are written only when set (non-zero, non-nil)
 * and `extensions` is true; an extension message needs it to be true. Returns 0; or, the buffer as
 * it was and an error raised: -ENOMEM, -EMSGSIZE for a body over YK_FRAME_MAX, -EINVAL for a value
 * that can't be encoded (wire/value.h). Error and Cancel never fail with -EINVAL: what can't be
 * encoded in them is mended (wire/pack.h).
 */
YOKE_MUST_CHECK int yk_message_encode(struct yk_buffer *buffer, const struct yk_message *message,
                                      bool extensions);

/*
 * Decodes the body of one frame, which is copied. Unknown keys are ignored; a missing key is
 * allowed only where the field has a default; a wrong type or an unknown message is an error that
 * names message, field and what was found. Returns 0, or -EBADMSG / -ENOMEM with an error raised;
 * never reads outside `size`, never recurses deeper than YK_VALUE_DEPTH_MAX, never allocates more
 * than 25 bytes per byte.
 */
YOKE_MUST_CHECK int yk_message_decode(struct yk_arena *arena, const void *body, size_t size,
                                      struct yk_message *ret_message);

/* As yk_message_decode without the copy: the message borrows from `body`, which is written to. */
YOKE_MUST_CHECK int yk_message_decode_in_place(struct yk_arena *arena, void *body, size_t size,
                                               struct yk_message *ret_message);

#endif
