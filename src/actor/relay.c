/* SPDX-License-Identifier: MIT */
/*
 * Errors on their way between actors. Each actor that passes one on adds itself to the relay path.
 * Yoke peers get the whole error as a tree in the extension field; the plain fields are filled as
 * tractor does, so that a Python peer sees what it expects.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"
#include "error/tree.h"

static struct yk_uid uid_of(const struct yoke_actor_id *id)
{
    struct yk_uid uid = {.name = id->name, .uuid = id->uuid};

    return uid;
}

/* Python peers look a type up by its bare name, in their builtins and in tractor's own. */
static const char *plain_type(const struct yoke_error *error)
{
    static const char *const known[][2] = {
        {"yoke.NotExposed", "ModuleNotExposed"}, {"yoke.NoEndpoint", "AttributeError"},
        {"yoke.Group", "ExceptionGroup"},        {"yoke.LinkLost", "TransportClosed"},
        {"yoke.Misuse", "RuntimeError"},         {"yoke.OutOfMemory", "MemoryError"},
        {"yoke.MsgTypeError", "MsgTypeError"},
    };

    if (error->code == YOKE_EPEERCANCELLED)
        return "ContextCancelled";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(error->type, known[i][0]) == 0)
            return known[i][1];
    return error->type;
}

/* What a plain peer shows of an error: as it is printed here, chain and all. */
static const char *traceback(struct yk_arena *arena, const struct yoke_error *error)
{
    char *text = NULL;
    const char *copy = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (stream == NULL)
        return "";
    if (yoke_error_print(error, stream, YOKE_PRINT_BACKTRACE) < 0)
        yoke_clear();
    if (fclose(stream) == 0)
        copy = yk_tree_text(arena, yk_arena_strndup(arena, text, size));
    free(text);
    return copy != NULL ? copy : "";
}

/* Whom tractor would call the canceller: an actor, always. */
static const struct yoke_actor_id *canceller_of(const struct yoke_portal *portal,
                                                const struct yoke_cause *cause)
{
    const struct yoke_actor_id *requester = &cause->requester.actor;

    return requester->uuid[0] != '\0' ? requester : &portal->actor->runtime->actor;
}

static struct yoke_value relay_path(struct yk_arena *arena, const struct yk_remote *remote)
{
    size_t n = remote == NULL ? 0 : remote->relay_n;
    struct yoke_value *path = yk_arena_alloc(arena, n * sizeof(*path));
    struct yoke_value *pairs = yk_arena_alloc(arena, 2 * n * sizeof(*pairs));

    if (path == NULL || pairs == NULL)
        n = 0;
    for (size_t i = 0; i < n; i++) {
        pairs[2 * i] = yoke_str(remote->relay[i].name);
        pairs[2 * i + 1] = yoke_str(remote->relay[i].uuid);
        path[i] = yoke_array(&pairs[2 * i], 2);
    }
    return yoke_array(path, n);
}

static const char no_room[] = "there was no memory, or no room in a message, for all of this error";

/*
 * The peer waits for it. If there is no memory, or no room in a message, for all that an error
 * carries, its type must do; if not even that can be sent, the end of the link tells. 0 or
 * negative.
 */
static int send_error(struct yoke_portal *portal, struct yk_message *message)
{
    struct yk_error_message *fields = &message->as.error;
    int rc = yk_portal_send(portal, message);

    if (rc == 0)
        return 0;
    yoke_clear();
    fields->error = yoke_nil();
    fields->relay_path = yoke_array(NULL, 0);
    fields->message = no_room;
    fields->tb_str = "";
    rc = yk_portal_send(portal, message);
    if (rc < 0)
        yk_link_break(&portal->link, rc);
    return rc;
}

void yk_relay_error(struct yoke_portal *portal, const char *cid, struct yoke_error *error)
{
    struct yk_message message = {.type = YK_ERROR};
    struct yk_error_message *fields = &message.as.error;
    struct yoke_hold hold;
    struct yk_arena arena;

    yoke_hold(&hold);
    yk_arena_init(&arena);
    yk_error_add_relay(error, &portal->actor->runtime->actor);
    fields->src_uid = uid_of(error->remote != NULL ? &error->remote->source : &error->actor);
    fields->src_type_str = plain_type(error);
    fields->boxed_type_str =
        error->remote != NULL && error->remote->relay_n > 1 && error->code != YOKE_EPEERCANCELLED
            ? "RemoteActorError"
            : fields->src_type_str;
    fields->relay_path = relay_path(&arena, error->remote);
    fields->message = yk_tree_text(&arena, error->message); /* peers refuse what is not UTF-8 */
    if (fields->message == NULL)
        fields->message = no_room;
    fields->tb_str = portal->link.extensions ? "" : traceback(&arena, error);
    fields->cid = cid;
    if (error->code == YOKE_EPEERCANCELLED && error->cause != NULL) {
        fields->has_canceller = true;
        fields->canceller = uid_of(canceller_of(portal, error->cause));
    }
    if (portal->link.extensions)
        fields->error = yk_error_to_value(&arena, error, true);
    if (!portal->link.extensions)
        portal->plain_told_ns = yoke_now();
    if (send_error(portal, &message) == 0 && portal->lost == NULL) {
        yk_error_settle(error);
        yoke_error_unref(error);
    } else if (error->code == YOKE_EPEERCANCELLED) {
        yk_error_absorb(error); /* who asked is gone, or goes: nobody waits for this answer */
    } else {
        /* The requester is gone. The error must not be: here, at this actor's root, it ends. */
        yk_error_report(error, stderr);
    }
    yk_arena_fini(&arena);
    if (yoke_in_flight() != NULL)
        yk_error_report(yk_flight_take(yk_locus()), stderr);
    (void)yoke_release(&hold);
}

void yk_relay_overrun(struct yk_dialog *dialog)
{
    struct yoke_portal *portal = dialog->portal;
    const struct yoke_actor_id *self = &portal->actor->runtime->actor;
    struct yoke_value uid[2] = {yoke_str(self->name), yoke_str(self->uuid)};
    struct yoke_value path[1] = {yoke_array(uid, 2)};
    char text[YK_ENDPOINT_MAX + 256];
    struct yk_message message = {
        .type = YK_ERROR,
        .as.error =
            {
                .src_uid = uid_of(self),
                .src_type_str = "StreamOverrun",
                .boxed_type_str = "StreamOverrun",
                .relay_path = yoke_array(path, 1),
                .message = text,
                .tb_str = "",
                .has_sender = true,
                .sender = uid_of(&portal->id),
                .cid = dialog->cid,
            },
    };

    snprintf(text, sizeof text, "%s sends values of %s faster than %s receives them",
             portal->id.name, dialog->endpoint, self->name);
    if (yk_portal_send(portal, &message) < 0)
        yoke_clear(); /* no memory for it: the next value too many tries again */
    else
        dialog->overrun = true;
}

/*
 * Python's exceptions come without a message, but with a traceback in which a line says it:
 * "ValueError: the message", or "module.ValueError: the message". The last such line is the one.
 */
static const char *message_in(const char *traceback, const char *type)
{
    const char *message = traceback;
    size_t n = strlen(type);

    for (const char *line = traceback; line != NULL; line = strchr(line, '\n')) {
        const char *colon;

        line += *line == '\n';
        colon = line + strcspn(line, ":\n");
        if (strncmp(colon, ": ", 2) == 0 && (size_t)(colon - line) >= n &&
            strncmp(colon - n, type, n) == 0)
            message = colon + 2;
    }
    return message;
}

/* One line of text: tractor's own messages are drawings. */
static const char *message_of(const struct yk_error_message *message, char *text, size_t size)
{
    const char *from = message->message;
    size_t n;

    if (from == NULL || from[0] == '\0')
        from = message_in(message->tb_str, message->src_type_str);
    n = strcspn(from, "\n");
    yk_text_copy(text, n < size ? n + 1 : size, from);
    return text;
}

static struct yoke_actor_id actor_of(struct yoke_value uid)
{
    struct yoke_actor_id id = {.pid = 0};
    struct yoke_value name = yoke_nil(), uuid = yoke_nil();

    if (uid.type == YOKE_ARRAY_VALUE && uid.as.array.n == 2) {
        name = uid.as.array.items[0];
        uuid = uid.as.array.items[1];
    }
    if (name.type == YOKE_STR && uuid.type == YOKE_STR) {
        snprintf(id.name, sizeof id.name, "%.*s", (int)name.as.str.size, name.as.str.data);
        snprintf(id.uuid, sizeof id.uuid, "%.*s", (int)uuid.as.str.size, uuid.as.str.data);
    }
    return id;
}

/* The source of an error is the first of its path. False: no memory, or too long a path. */
static bool add_path(struct yoke_error *error, const struct yk_error_message *message)
{
    struct yoke_value path = message->relay_path;
    bool added = yk_error_add_relay(error, &error->actor) == 0;

    for (size_t i = 0; added && i < path.as.array.n; i++) {
        struct yoke_actor_id hop = actor_of(path.as.array.items[i]);

        added = hop.uuid[0] == '\0' || yk_error_add_relay(error, &hop) == 0;
    }
    return added;
}

/* From a plain peer: what the fields of tractor's Error say. */
static struct yoke_error *from_fields(const struct yoke_portal *portal,
                                      const struct yk_error_message *message)
{
    bool cancelled = strcmp(message->boxed_type_str, "ContextCancelled") == 0;
    bool hidden = strcmp(message->boxed_type_str, "ModuleNotExposed") == 0;
    struct yoke_actor_id source = portal->id;
    struct yoke_error *error;
    char text[YK_ERROR_MESSAGE_MAX];

    error = yk_error_new(cancelled ? "yoke.ContextCancelled"
                         : hidden  ? "yoke.NotExposed"
                                   : message->src_type_str,
                         cancelled ? YOKE_EPEERCANCELLED
                         : hidden  ? YOKE_ENOTEXPOSED
                                   : -EREMOTEIO,
                         message_of(message, text, sizeof text));
    if (error == NULL)
        return NULL;
    if (strcmp(message->src_uid.uuid, source.uuid) != 0) {
        memset(&source, 0, sizeof source);
        YK_TEXT_COPY(source.name, message->src_uid.name);
        YK_TEXT_COPY(source.uuid, message->src_uid.uuid);
    }
    error->actor = source;
    if (add_path(error, message) && message->tb_str[0] != '\0') {
        char *tb = yk_strdup(message->tb_str);

        if (tb != NULL) {
            free(error->remote->traceback);
            error->remote->traceback = tb;
        }
    }
    return error;
}

struct yoke_error *yk_relay_received(const struct yoke_portal *portal,
                                     const struct yk_error_message *message)
{
    struct yoke_error *error = NULL;

    if (message->error.type == YOKE_MAP_VALUE)
        error = yk_error_from_value(message->error);
    if (error == NULL)
        error = from_fields(portal, message);
    if (error == NULL)
        error = yk_error_make(YOKE_HERE, "yoke.OutOfMemory", ENOMEM,
                              "no memory to receive an error of %s", portal->id.name);
    return error;
}

struct yoke_error *yk_relay_cancelled(struct yoke_error *cancelled, const char *endpoint)
{
    struct yoke_error *error;
    struct yk_locus *locus = yk_locus();
    char message[YK_ENDPOINT_MAX + 128];

    snprintf(message, sizeof message, "%s in %s was cancelled", endpoint,
             locus->actor != NULL ? locus->actor->name : "?");
    error = yk_error_new("yoke.ContextCancelled", YOKE_EPEERCANCELLED, message);
    if (error == NULL) { /* a Cancelled means nothing to another actor: it is told of an error */
        yk_error_absorb(cancelled);
        return yk_error_make(YOKE_HERE, "yoke.OutOfMemory", ENOMEM, "%s; no memory to tell why",
                             message);
    }
    if (locus->actor != NULL)
        error->actor = *locus->actor;
    error->task_id = locus->task_id;
    YK_TEXT_COPY(error->task_name, locus->task_name);
    yk_error_set_causes(error, cancelled->cause, cancelled->inner_causes,
                        cancelled->inner_causes_n);
    if (yk_error_carries(cancelled) || cancelled->notes_n > 0)
        yk_error_suppress(error, cancelled); /* what it carries goes with it */
    else
        yk_error_absorb(cancelled);
    return error;
}
