/* SPDX-License-Identifier: MIT */
/*
 * Dialogs with plain peers, and being a plain parent's child. tractor's runtime answers a cancel
 * request when the target has ended, so that whoever has the answer has the outcome, too; ours to
 * a yoke peer come at once. Requests wait in the actor, in the order of receipt.
 */
#include "actor/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"

/* A cancel request of a plain peer that is not acknowledged yet. */
struct request {
    struct yk_list node;
    struct yoke_portal *portal; /* owned reference */
    struct yk_dialog *target;   /* NULL: the whole actor */
    char cid[YK_CID_SIZE];
};

/*
 * A string as Python's repr() writes it: in either quotes, quotes and backslashes escaped. Control
 * characters, which it escapes too, are refused. Returns what is behind it; NULL: not one, or too
 * long.
 */
static const char *parse_string(const char *text, char *buffer, size_t size)
{
    char quote = *text++;
    size_t n = 0;

    if (quote != '\'' && quote != '"')
        return NULL;
    for (; *text != quote; text++) {
        if (*text == '\\' && *++text != '\\' && *text != '\'' && *text != '"')
            return NULL;
        if (*text == '\0' || n + 1 >= size)
            return NULL;
        buffer[n++] = *text;
    }
    buffer[n] = '\0';
    return text + 1;
}

static const char *expect(const char *text, const char *literal)
{
    size_t n = strlen(literal);

    return text != NULL && strncmp(text, literal, n) == 0 ? text + n : NULL;
}

bool yk_plain_parse_uid(const char *text, struct yoke_actor_id *ret)
{
    text = expect(text, "(");
    if (text != NULL)
        text = parse_string(text, ret->name, sizeof ret->name);
    text = expect(text, ", ");
    if (text != NULL)
        text = parse_string(text, ret->uuid, sizeof ret->uuid);
    return text != NULL && strcmp(text, ")") == 0 && ret->name[0] != '\0' && ret->uuid[0] != '\0';
}

int yk_plain_parse_place(const char *text, struct yk_place *ret)
{
    char first[YK_PLACE_MAX], second[YK_PLACE_MAX];
    const char *rest = expect(text, "(");
    struct yoke_value pair[2];
    int port = 0, used = 0;

    if (rest != NULL)
        rest = parse_string(rest, first, sizeof first);
    rest = expect(rest, ", ");
    if (rest != NULL && sscanf(rest, "%5d%n", &port, &used) == 1) {
        rest += used;
        pair[1] = yoke_int(port);
    } else if (rest != NULL) {
        rest = parse_string(rest, second, sizeof second);
        pair[1] = yoke_str(second);
    }
    if (rest == NULL || strcmp(rest, ")") != 0)
        return yoke_raise("yoke.Address", EINVAL,
                          "%s: a parent's address is ('host', port) or ('directory', 'file')",
                          text);
    pair[0] = yoke_str(first);
    return yk_place_from_wire(yoke_array(pair, 2), ret);
}

/* tractor's actors all listen, at an address of their own choice unless they are told one. */
static int choose_address(struct yk_arena *arena, struct yk_spawn_spec *spec)
{
    struct yoke_value transports = yoke_value_get(spec->runtime_vars, "_enable_tpts");
    struct yoke_value *pair = yk_arena_alloc(arena, sizeof *pair);
    struct yk_place *place = yk_arena_alloc(arena, sizeof *place); /* the pair borrows from it */
    bool tcp = transports.type == YOKE_ARRAY_VALUE && transports.as.array.n > 0 &&
               yoke_value_equal(transports.as.array.items[0], yoke_str("tcp"));
    int rc;

    if (pair == NULL || place == NULL)
        return yoke_raise("yoke.Actor", ENOMEM, "no memory to listen");
    rc = yk_place_parse(tcp ? "tcp:127.0.0.1:0" : "unix:", place);
    if (rc == 0)
        rc = yk_place_to_wire(arena, place, pair);
    if (rc == 0)
        spec->bind_addrs = yoke_array(pair, 1);
    return rc;
}

int yk_plain_told(struct yk_actor *actor, const struct yk_spawn_spec *told)
{
    struct yk_spawn_spec spec = *told;
    struct yk_arena arena;
    int rc = 0;

    yk_arena_init(&arena);
    yoke_value_free(actor->plain_vars);
    actor->plain_vars = yoke_value_copy(spec.runtime_vars);
    if (actor->plain_vars == NULL)
        rc = yoke_raise("yoke.Actor", ENOMEM, "no memory for the parent's SpawnSpec");
    if (rc == 0 && (spec.bind_addrs.type != YOKE_ARRAY_VALUE || spec.bind_addrs.as.array.n == 0))
        rc = choose_address(&arena, &spec);
    if (rc == 0)
        rc = yk_peer_listen_as_told(actor, &spec);
    yk_arena_fini(&arena);
    return rc;
}

static void send_or_leave(struct yoke_portal *portal, const struct yk_message *message)
{
    if (yk_portal_send(portal, message) < 0)
        yoke_clear(); /* no memory for an answer: the outcome is what counts */
}

static void acknowledge(struct yoke_portal *portal, const char *cid)
{
    struct yk_message ack = {.type = YK_CANCEL_ACK, .as.cancel_ack = {.cid = cid, .pld = true}};

    send_or_leave(portal, &ack);
}

/* Acknowledged at once if there is nothing to wait for. */
static void remember(struct yoke_portal *portal, const char *cid, struct yk_dialog *target,
                     bool pending)
{
    struct request *request = pending ? yk_calloc(1, sizeof *request) : NULL;

    if (request == NULL) {
        acknowledge(portal, cid);
        return;
    }
    request->portal = yk_portal_ref(portal);
    request->target = target;
    YK_TEXT_COPY(request->cid, cid);
    yk_list_append(&portal->actor->plain_requests, &request->node);
}

/* The cid of the dialog to be cancelled; false: none is named. */
static bool target_of(const struct yk_start *start, char *cid)
{
    struct yoke_value target = yoke_value_get(start->kwargs, "cid");

    if (target.type != YOKE_STR || target.as.str.size >= YK_CID_SIZE)
        return false;
    memcpy(cid, target.as.str.data, target.as.str.size);
    cid[target.as.str.size] = '\0';
    return true;
}

bool yk_plain_cancel(struct yoke_portal *portal, const struct yk_start *start)
{
    struct yk_message ack = {
        .type = YK_START_ACK,
        .as.start_ack = {.cid = start->cid, .functype = "asyncfunc"},
    };
    struct yk_cancel cancel = {.cid = start->cid};
    struct yk_dialog *target = NULL;
    char cid[YK_CID_SIZE];

    if (strcmp(start->ns, "self") != 0 || strlen(start->cid) >= YK_CID_SIZE)
        return false;
    if (strcmp(start->func, "_cancel_task") == 0 && target_of(start, cid)) {
        cancel.target_cid = cid;
        target = yk_dialog_find(portal, cid);
    } else if (strcmp(start->func, "cancel") != 0) {
        return false;
    }
    send_or_leave(portal, &ack);
    if (target != NULL && target->opener)
        target = NULL; /* only endpoints can be cancelled so */
    remember(portal, start->cid, target,
             cancel.target_cid != NULL ? target != NULL : portal->actor->serving > 0);
    yk_portal_cancelled(portal, &cancel);
    return true;
}

static void request_free(struct request *request)
{
    yk_list_remove(&request->node);
    yk_portal_unref(request->portal);
    free(request);
}

void yk_plain_served(struct yk_dialog *dialog)
{
    struct yk_actor *actor = dialog->portal->actor;
    struct yk_list waiting;
    struct yk_list *node;

    yk_list_init(&waiting);
    while ((node = yk_list_pop(&actor->plain_requests)) != NULL) {
        struct request *request = yk_container_of(node, struct request, node);

        if (request->target == dialog || (request->target == NULL && actor->serving == 0)) {
            acknowledge(request->portal, request->cid);
            request_free(request);
        } else {
            yk_list_append(&waiting, node);
        }
    }
    while ((node = yk_list_pop(&waiting)) != NULL)
        yk_list_append(&actor->plain_requests, node);
}

void yk_plain_linger(const struct yoke_portal *parent)
{
    int64_t left = parent->plain_told_ns + YK_PLAIN_LINGER_NS - yoke_now();
    struct yoke_scope scope;
    struct yoke_hold hold;
    int rc;

    if (parent->plain_told_ns == 0 || left <= 0 || parent->link.failed)
        return;
    yoke_hold(&hold);
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "linger", .shield = true});
    if (rc == 0)
        rc = yoke_sleep(left);
    if (yoke_scope_close(&scope, rc) < 0)
        yoke_clear(); /* no memory for a timer */
    (void)yoke_release(&hold);
}

void yk_plain_drop_requests(struct yk_actor *actor)
{
    struct yk_list *node;

    while ((node = yk_list_pop(&actor->plain_requests)) != NULL)
        request_free(yk_container_of(node, struct request, node));
}

void yk_plain_set_canceller(struct yk_dialog *dialog, struct yoke_error *error,
                            const struct yk_error_message *message)
{
    const struct yoke_actor_id *self = &dialog->portal->actor->runtime->actor;
    const struct yk_uid *uid = &message->canceller;
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_ACTOR, .kind = YOKE_CAUSE_ACTOR};
    struct yoke_actor_id canceller = {.pid = 0};
    struct yk_locus locus = {.actor = &canceller, .task_name = ""};
    struct yoke_cause *cause;

    if (error->code != YOKE_EPEERCANCELLED || error->cause != NULL || !message->has_canceller)
        return;
    if (dialog->request != NULL && strcmp(uid->uuid, self->uuid) == 0) {
        yk_error_set_causes(error, dialog->request, NULL, 0);
        dialog->cancel_acked = true; /* CancelAck comes behind the outcome */
        return;
    }
    if (strcmp(uid->uuid, dialog->portal->id.uuid) == 0) {
        canceller = dialog->portal->id;
        spec.layer = YOKE_LAYER_CONTEXT; /* its endpoint ended this context */
        spec.kind = YOKE_CAUSE_CONTEXT;
    } else {
        YK_TEXT_COPY(canceller.name, uid->name);
        YK_TEXT_COPY(canceller.uuid, uid->uuid);
    }
    cause = yk_cause_new_as(&locus, &spec);
    yk_error_set_causes(error, cause, NULL, 0);
    yoke_cause_unref(cause);
}
