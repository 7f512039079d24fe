/* SPDX-License-Identifier: MIT */
/*
 * Portals: the message loop of a link, and what concerns the peer as a whole: greeting, requests to
 * cancel this actor, its loss. The loop runs as a task and never waits for a dialog, so that a
 * cancel request always gets through.
 *
 * Everything a peer sends is untrusted. A message that may come late, or that somebody else could
 * have meant well (an unknown dialog, a Start that can't be served) is ignored or answered; one
 * that no honest peer sends (no Aid first, or a second one, another's identity, a SpawnSpec from
 * who is not the parent, what can't be decoded) ends the link with an error that tells both sides.
 */
#include "actor/plain.h"
#include "actor/spawned.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/limits.h"
#include "base/text.h"
#include "error/tree.h"

enum { EXTENSIONS_VERSION = 2 }; /* 2: heartbeat, Listening */

struct yoke_portal *yk_portal_new(struct yk_actor *actor)
{
    struct yoke_portal *portal = yk_calloc(1, sizeof *portal);

    if (portal == NULL) {
        yoke_raise("yoke.Actor", ENOMEM, "no memory for a portal");
        return NULL;
    }
    portal->refs = 1;
    portal->actor = actor;
    yk_list_init(&portal->waiters);
    yk_list_init(&portal->in_links);
    yk_list_init(&portal->in_dialled);
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
    if (portal->farewell != NULL)
        yk_error_absorb(portal->farewell);
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
                .is_registrar = portal->actor->registry != NULL,
                .is_probe = portal->probing,
                .yoke = EXTENSIONS_VERSION,
                .host = self->host,
                .shm = yk_link_may_share(&portal->link),
            },
    };

    /* Not known yet whether the peer speaks extensions; plain peers ignore the extra field. */
    portal->link.extensions = true;
    return yk_portal_send(portal, &message);
}

int yk_portal_wait_up(struct yoke_portal *portal)
{
    while (!portal->up && portal->lost == NULL && !portal->ended) {
        int rc = yk_wait_in(&portal->waiters, "an actor to come up", NULL);

        if (rc < 0)
            return rc;
    }
    return portal->up ? 0 : -EPIPE;
}

static int refuse_message(const struct yoke_portal *portal, const char *what)
{
    return yoke_raise("yoke.BadMessage", EPROTO, "%s sent %s",
                      portal->up ? portal->id.name : "a peer", what);
}

static int handle_aid(struct yoke_portal *portal, const struct yk_aid *aid)
{
    if (portal->up)
        return refuse_message(portal, "a second Aid");
    if (aid->uuid[0] == '\0' || strlen(aid->uuid) >= sizeof portal->id.uuid)
        return refuse_message(portal, "an Aid whose uuid is empty or too long");
    if (portal->incarnation != NULL && strcmp(aid->uuid, portal->incarnation->child->id.uuid) != 0)
        return refuse_message(portal, "an Aid with another uuid than it was given");
    YK_TEXT_COPY(portal->id.name, aid->name);
    YK_TEXT_COPY(portal->id.uuid, aid->uuid);
    YK_TEXT_COPY(portal->id.host, aid->host);
    portal->id.pid = aid->has_pid ? (int32_t)aid->pid : 0;
    portal->link.extensions = aid->yoke > 0;
    portal->version = aid->yoke;
    portal->is_probe = aid->is_probe;
    portal->is_registrar = aid->has_is_registrar && aid->is_registrar;
    if (aid->shm)
        yk_link_share(&portal->link);
    portal->up = true;
    yk_portal_changed(portal);
    return 0;
}

/* The parent says what we may serve: the keys of enable_modules are patterns, or module names. */
static int handle_spawn_spec(struct yoke_portal *portal, const struct yk_spawn_spec *spec)
{
    char patterns[4096] = "";
    size_t used = 0;

    if (portal != portal->actor->parent)
        return refuse_message(portal, "a SpawnSpec, and is not the parent");
    yk_spawned_known();
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
    if (yoke_actor_expose(patterns) < 0)
        yoke_clear();
    return portal->link.extensions ? yk_peer_listen_as_told(portal->actor, spec)
                                   : yk_plain_told(portal->actor, spec);
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

static void cancel_dialog(struct yk_dialog *dialog, struct yoke_cause *cause, int64_t budget_ns)
{
    if (dialog->opener)
        return; /* only the endpoint side is a target */
    if (budget_ns > 0 && dialog->wanted_ns == YOKE_NEVER)
        dialog->wanted_ns = yk_budget_end(dialog->portal, budget_ns);
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
        cancel_dialog(dialog, cause, cancel->budget_ns);
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

/* An Error of no dialog: why the peer is about to end the link, or did not come up. */
static void handle_farewell(struct yoke_portal *portal, const struct yk_error_message *message)
{
    if (portal->farewell != NULL)
        return;
    portal->farewell = yk_relay_received(portal, message);
    yk_portal_changed(portal);
}

static int handle_ping(struct yoke_portal *portal, const struct yk_beat *ping)
{
    struct yk_message pong = {.type = YK_PONG, .as.beat = *ping};

    if (yk_portal_send(portal, &pong) < 0)
        yoke_clear(); /* no memory for it: then the next one is answered */
    return 0;
}

/* A child tells where it listens. */
static int handle_listening(struct yoke_portal *portal, const struct yk_listening *listening)
{
    int rc;

    if (portal->incarnation == NULL || listening->addrs.as.array.n == 0)
        return 0;
    rc = yk_place_from_wire(listening->addrs.as.array.items[0], &portal->place);
    if (rc == 0) {
        yk_place_format(&portal->place, portal->address);
        yk_portal_changed(portal);
    }
    return rc;
}

static void handle_of_dialog(struct yoke_portal *portal, const struct yk_message *message)
{
    /* Late messages of a dialog that has ended here are expected, and nobody's fault. */
    struct yk_dialog *dialog = dialog_of(portal, message);

    if (dialog != NULL)
        yk_dialog_handle(dialog, message);
    else if (message->type == YK_ERROR && message->as.error.cid == NULL)
        handle_farewell(portal, &message->as.error);
}

static int handle(struct yoke_portal *portal, const struct yk_message *message)
{
    if (!portal->up && message->type != YK_AID && message->type != YK_ERROR)
        return refuse_message(portal, "something else before its Aid");
    switch (message->type) {
    case YK_AID:
        return handle_aid(portal, &message->as.aid);
    case YK_SPAWN_SPEC:
        return handle_spawn_spec(portal, &message->as.spawn_spec);
    case YK_START:
        if (!yk_plain_cancel(portal, &message->as.start))
            yk_serve_start(portal, &message->as.start);
        return 0;
    case YK_CANCEL:
        acknowledge(portal, message->as.cancel.cid);
        yk_portal_cancelled(portal, &message->as.cancel);
        return 0;
    case YK_PING:
        return handle_ping(portal, &message->as.beat);
    case YK_LISTENING:
        return handle_listening(portal, &message->as.listening);
    default:
        handle_of_dialog(portal, message);
        return 0;
    }
}

/*
 * What this side answers at once is queued while the peer does not read. It may be some, but not
 * without end: a peer that goes on asking must read.
 */
static int check_answers(struct yoke_portal *portal, size_t before)
{
    size_t now = yk_buffer_size(&portal->link.out);

    if (now < YK_LINK_QUEUE_MAX)
        portal->answers = 0;
    else if (now > before)
        portal->answers += now - before;
    if (portal->answers <= YK_ANSWERS_MAX)
        return 0;
    return yoke_raise("yoke.BadMessage", EOVERFLOW, "%s asks on and on, and reads no answer",
                      portal->id.name);
}

/* Handles one message. 1; 0 at the end of the link; negative as yk_portal_read. */
static int read_one(struct yoke_portal *portal)
{
    size_t before = yk_buffer_size(&portal->link.out);
    struct yk_message message;
    int rc = yk_link_receive(&portal->link, &message);

    if (rc <= 0)
        return rc;
    portal->heard++;
    rc = handle(portal, &message);
    if (rc == 0)
        rc = check_answers(portal, before);
    yk_assert((rc < 0) == (yoke_in_flight() != NULL));
    return rc < 0 ? rc : 1;
}

int yk_portal_read(struct yoke_portal *portal)
{
    int rc;

    do
        rc = read_one(portal);
    while (rc > 0);
    portal->ended = true;
    yk_portal_changed(portal);
    return rc;
}

int yk_portal_meet(struct yoke_portal *portal)
{
    int rc = read_one(portal);

    if (rc < 0 || portal->up)
        return rc < 0 ? rc : 0;
    if (portal->farewell != NULL) {
        struct yoke_error *farewell = portal->farewell;

        portal->farewell = NULL;
        return yk_flight_raise(yk_locus(), farewell);
    }
    return yoke_raise("yoke.LinkLost", YOKE_ELINK, "the peer hung up before it said who it is");
}

void yk_portal_farewell(struct yoke_portal *portal, const struct yoke_error *error)
{
    /* Another one like it: what is sent is marked as seen by this actor, and as the peer's. */
    yk_relay_error(portal, NULL,
                   yk_error_make(yoke_error_site(error), error->type, error->code, "%s",
                                 error->message));
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
    if (portal->actor->registry != NULL)
        yk_registry_lost(portal->actor->registry, portal);
    yk_portal_changed(portal);
}

void yk_portal_send_cancel(struct yoke_portal *portal, const char *cid, const char *target_cid,
                           const struct yoke_cause *cause)
{
    yk_portal_send_cancel_within(portal, cid, target_cid, cause, 0);
}

void yk_portal_send_cancel_within(struct yoke_portal *portal, const char *cid,
                                  const char *target_cid, const struct yoke_cause *cause,
                                  int64_t budget_ns)
{
    struct yk_message message = {
        .type = YK_CANCEL,
        .as.cancel = {.cid = cid, .target_cid = target_cid, .budget_ns = budget_ns},
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

bool yk_portal_in_use(const struct yoke_portal *portal)
{
    for (size_t i = 0; i < YK_DIALOG_BUCKETS; i++)
        yk_list_for_each (node, &portal->dialogs[i])
            if (yk_container_of(node, struct yk_dialog, in_portal)->opener)
                return true;
    return false;
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
    if (yk_is_front(portal))
        portal = yk_child_end(portal->child, cause);
    if (portal == NULL) {
        yoke_cause_unref(cause);
        return;
    }
    yk_cid_new(cid);
    yk_portal_send_cancel(portal, cid, NULL, cause);
    yoke_cause_unref(cause);
}
