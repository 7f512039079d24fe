/* SPDX-License-Identifier: MIT */
/*
 * Portals: the message loop of a link, and what concerns the peer as a whole: greeting, requests to
 * cancel this actor, its loss. The loop runs as a task and never waits for a dialog, so that a
 * cancel request always gets through.
 *
 * Everything a peer sends is untrusted. A message that is well-formed but makes no sense here (an
 * unknown dialog, a second Aid) is ignored or answered; one that is not ends the link.
 */
#include "actor/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "error/tree.h"

enum { EXTENSIONS_VERSION = 1 };

struct yoke_portal *yk_portal_new(struct yk_actor *actor)
{
    struct yoke_portal *portal = calloc(1, sizeof *portal);

    if (portal == NULL) {
        yoke_raise("yoke.Actor", ENOMEM, "no memory for a portal");
        return NULL;
    }
    portal->refs = 1;
    portal->actor = actor;
    yk_list_init(&portal->waiters);
    for (size_t i = 0; i < YK_DIALOG_BUCKETS; i++)
        yk_list_init(&portal->dialogs[i]);
    return portal;
}

struct yoke_portal *yk_portal_ref(struct yoke_portal *portal)
{
    portal->refs++;
    return portal;
}

void yk_portal_unref(struct yoke_portal *portal)
{
    if (portal == NULL || --portal->refs > 0)
        return;
    yk_assert(yk_list_empty(&portal->waiters));
    yoke_error_unref(portal->lost);
    free(portal);
}

void yk_portal_changed(struct yoke_portal *portal)
{
    while (yk_wake_first(&portal->waiters, 0))
        continue;
}

int yk_portal_send(struct yoke_portal *portal, const struct yk_message *message)
{
    int rc;

    if (portal->lost != NULL)
        return 0;
    rc = yk_link_send(&portal->link, message);
    return rc == -EPIPE ? 0 : rc;
}

int yk_portal_greet(struct yoke_portal *portal)
{
    const struct yoke_actor_id *self = &portal->actor->runtime->actor;
    struct yk_message message = {
        .type = YK_AID,
        .as.aid =
            {
                .name = self->name,
                .uuid = self->uuid,
                .has_pid = true,
                .pid = self->pid,
                .has_is_registrar = true,
                .yoke = EXTENSIONS_VERSION,
                .host = self->host,
            },
    };

    /* Not known yet whether the peer speaks extensions; plain peers ignore the extra field. */
    portal->link.extensions = true;
    return yk_portal_send(portal, &message);
}

int yk_portal_wait_up(struct yoke_portal *portal)
{
    while (!portal->up && portal->lost == NULL && !portal->link.failed) {
        int rc = yk_wait_in(&portal->waiters, "an actor to come up", NULL);

        if (rc < 0)
            return rc;
    }
    return portal->up ? 0 : -EPIPE;
}

static void handle_aid(struct yoke_portal *portal, const struct yk_aid *aid)
{
    if (portal->up)
        return;
    YK_TEXT_COPY(portal->id.name, aid->name);
    YK_TEXT_COPY(portal->id.uuid, aid->uuid);
    YK_TEXT_COPY(portal->id.host, aid->host);
    portal->id.pid = aid->has_pid ? (int32_t)aid->pid : 0;
    portal->link.extensions = aid->yoke > 0;
    portal->up = true;
    yk_portal_changed(portal);
}

/* The parent says what we may serve: the keys of enable_modules are patterns, or module names. */
static void handle_spawn_spec(struct yoke_portal *portal, const struct yk_spawn_spec *spec)
{
    char patterns[4096] = "";
    size_t used = 0;

    if (portal != portal->actor->parent || spec->enable_modules.type != YOKE_MAP_VALUE)
        return;
    for (size_t i = 0; i < spec->enable_modules.as.map.n; i++) {
        const char *key = spec->enable_modules.as.map.pairs[i].key;
        const char *gap = used == 0 ? "" : " ";
        const char *all = strchr(key, ':') == NULL ? ":*" : "";
        int n = snprintf(patterns + used, sizeof patterns - used, "%s%s%s", gap, key, all);

        if ((size_t)n >= sizeof patterns - used) {
            patterns[used] = '\0';
            break;
        }
        used += (size_t)n;
    }
    if (yoke_actor_expose(patterns) < 0 || yk_plain_keep_spec(portal->actor, spec) < 0)
        yoke_clear();
}

static void acknowledge(struct yoke_portal *portal, const char *cid)
{
    struct yk_message message = {.type = YK_CANCEL_ACK, .as.cancel_ack = {.cid = cid, .pld = true}};

    if (yk_portal_send(portal, &message) < 0)
        yoke_clear(); /* no memory for an answer: the outcome is what counts */
}

/* What a request says, or the little we know ourselves if it says nothing that can be read. */
static struct yoke_cause *received_cause(const struct yoke_portal *portal, struct yoke_value value,
                                         enum yoke_layer layer, enum yoke_cause_kind kind)
{
    struct yoke_cause *cause = value.type == YOKE_MAP_VALUE ? yk_cause_from_value(value) : NULL;
    struct yk_cause_spec spec = {.layer = layer, .kind = kind};
    struct yk_locus peer = {.actor = &portal->id, .task_name = ""};

    if (cause != NULL)
        return cause;
    return yk_cause_new_as(&peer, &spec);
}

static void cancel_this_actor(struct yoke_portal *portal, struct yoke_cause *cause)
{
    struct yoke_nursery *program = portal->actor->runtime->main;

    if (program != NULL)
        yk_scope_cancel_cause(&program->scope, cause);
}

static void cancel_dialog(struct yk_dialog *dialog, struct yoke_cause *cause)
{
    if (dialog->opener)
        return; /* only the endpoint side is a target */
    if (dialog->ctx != NULL)
        yk_scope_cancel_cause(&dialog->ctx->scope, cause);
    else if (dialog->pending_cancel == NULL)
        dialog->pending_cancel = yoke_cause_ref(cause);
}

void yk_portal_cancelled(struct yoke_portal *portal, const struct yk_cancel *cancel)
{
    bool whole = cancel->target_cid == NULL;
    struct yk_dialog *dialog = whole ? NULL : yk_dialog_find(portal, cancel->target_cid);
    struct yoke_cause *cause;

    cause = received_cause(portal, cancel->cause, whole ? YOKE_LAYER_ACTOR : YOKE_LAYER_CONTEXT,
                           whole ? YOKE_CAUSE_ACTOR : YOKE_CAUSE_CONTEXT);
    if (whole)
        cancel_this_actor(portal, cause);
    else if (dialog != NULL)
        cancel_dialog(dialog, cause);
    yoke_cause_unref(cause);
}

/* The dialog a message belongs to; an acknowledgement to that whose cancel request it answers. */
static struct yk_dialog *dialog_of(struct yoke_portal *portal, const struct yk_message *message)
{
    static const size_t suffix_size = sizeof YK_REQUEST_SUFFIX - 1;
    yk_text cid = yk_message_cid(message);
    size_t n = cid == NULL ? 0 : strlen(cid);
    char target[YK_CID_SIZE];

    if (cid == NULL)
        return NULL;
    if (message->type == YK_CANCEL_ACK && n > suffix_size && n - suffix_size < sizeof target &&
        strcmp(cid + n - suffix_size, YK_REQUEST_SUFFIX) == 0) {
        yk_text_copy(target, n - suffix_size + 1, cid);
        return yk_dialog_find(portal, target);
    }
    return yk_dialog_find(portal, cid);
}

static void handle(struct yoke_portal *portal, const struct yk_message *message)
{
    struct yk_dialog *dialog;

    switch (message->type) {
    case YK_AID:
        handle_aid(portal, &message->as.aid);
        break;
    case YK_SPAWN_SPEC:
        handle_spawn_spec(portal, &message->as.spawn_spec);
        break;
    case YK_START:
        if (!yk_plain_cancel(portal, &message->as.start))
            yk_serve_start(portal, &message->as.start);
        break;
    case YK_CANCEL:
        acknowledge(portal, message->as.cancel.cid);
        yk_portal_cancelled(portal, &message->as.cancel);
        break;
    default:
        /* Late messages of a dialog that has ended here are expected, and nobody's fault. */
        dialog = dialog_of(portal, message);
        if (dialog != NULL)
            yk_dialog_handle(dialog, message);
        break;
    }
}

int yk_portal_read(struct yoke_portal *portal)
{
    struct yk_message message;
    int rc;

    while ((rc = yk_link_receive(&portal->link, &message)) > 0) {
        handle(portal, &message);
        yk_assert(yoke_in_flight() == NULL);
    }
    yk_portal_changed(portal);
    return rc;
}

void yk_portal_lost(struct yoke_portal *portal, struct yoke_error *error)
{
    yk_assert(portal->lost == NULL);
    portal->lost = error;
    for (size_t i = 0; i < YK_DIALOG_BUCKETS; i++)
        yk_list_for_each (node, &portal->dialogs[i]) {
            struct yk_dialog *dialog = yk_container_of(node, struct yk_dialog, in_portal);

            yk_dialog_finish(dialog, yoke_error_ref(error), YOKE_CAUSE_LINK_LOST);
        }
    yk_portal_changed(portal);
}

void yk_portal_send_cancel(struct yoke_portal *portal, const char *cid, const char *target_cid,
                           const struct yoke_cause *cause)
{
    struct yk_message message = {
        .type = YK_CANCEL,
        .as.cancel = {.cid = cid, .target_cid = target_cid},
    };
    struct yoke_pair kwargs = {.key = "cid", .value = yoke_str(target_cid)};
    struct yoke_hold hold;
    struct yk_arena arena;

    yoke_hold(&hold);
    yk_arena_init(&arena);
    if (portal->link.extensions) {
        message.as.cancel.cause = yk_cause_to_value(&arena, cause);
    } else {
        message.type = YK_START;
        message.as.start = (struct yk_start){
            .cid = cid,
            .ns = "self",
            .func = target_cid != NULL ? "_cancel_task" : "cancel",
            .kwargs = yoke_map(&kwargs, target_cid != NULL ? 1 : 0),
            .uid = {portal->actor->runtime->actor.name, portal->actor->runtime->actor.uuid},
            .pld_spec = "typing.Any",
        };
    }
    if (yk_portal_send(portal, &message) < 0)
        yoke_clear(); /* no memory to ask: the ladder's next rung needs none */
    yk_arena_fini(&arena);
    (void)yoke_release(&hold);
}

bool yk_portal_contexts_ending(const struct yoke_portal *portal)
{
    for (size_t i = 0; i < YK_DIALOG_BUCKETS; i++)
        yk_list_for_each (node, &portal->dialogs[i]) {
            struct yk_dialog *dialog = yk_container_of(node, struct yk_dialog, in_portal);

            if (dialog->opener && !dialog->finished && dialog->ctx != NULL &&
                dialog->ctx->scope.effective)
                return true;
        }
    return false;
}

void yoke_portal_cancel_actor_at(const struct yoke_site *site, struct yoke_portal *portal,
                                 const char *reason)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_ACTOR,
        .kind = YOKE_CAUSE_ACTOR,
        .site = site,
        .reason = reason,
        .because = yoke_why(),
    };
    struct yoke_cause *cause;
    char cid[YK_CID_SIZE];

    yk_task_self("yoke_portal_cancel_actor");
    portal->end_expected = true;
    cause = yk_cause_new(&spec);
    yk_cid_new(cid);
    yk_portal_send_cancel(portal, cid, NULL, cause);
    yoke_cause_unref(cause);
}
