/* SPDX-License-Identifier: MIT */
/*
 * Dialogs: one side of a context as the message loop sees it. Handling a message only changes state
 * and wakes or cancels tasks; the context's own tasks draw the conclusions.
 *
 * A terminal message (Return, Error) or the loss of the peer sets `finished`, once. What a peer
 * sends beyond its credit ends the dialog with an error: our memory is bounded by what we granted.
 */
#include "actor/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"

static size_t bucket_of(const char *cid)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    while (*cid != '\0')
        hash = (hash ^ (unsigned char)*cid++) * 16777619u;
    return hash % YK_DIALOG_BUCKETS;
}

struct yk_dialog *yk_dialog_new(struct yoke_portal *portal, const char *cid)
{
    struct yk_dialog *dialog = calloc(1, sizeof *dialog);

    if (dialog == NULL) {
        yoke_raise("yoke.Context", ENOMEM, "no memory for a context");
        return NULL;
    }
    dialog->portal = yk_portal_ref(portal);
    YK_TEXT_COPY(dialog->cid, cid);
    yk_list_init(&dialog->waiters);
    yk_list_init(&dialog->receivers);
    yk_list_init(&dialog->senders);
    yk_list_init(&dialog->items);
    yk_list_append(&portal->dialogs[bucket_of(cid)], &dialog->in_portal);
    return dialog;
}

static void item_free(struct yk_item *item)
{
    if (item == NULL)
        return;
    yoke_value_free(item->value);
    free(item);
}

static void drop_items(struct yk_dialog *dialog)
{
    struct yk_list *node;

    while ((node = yk_list_pop(&dialog->items)) != NULL)
        item_free(yk_container_of(node, struct yk_item, node));
    dialog->items_n = 0;
}

void yk_dialog_free(struct yk_dialog *dialog)
{
    if (dialog == NULL)
        return;
    yk_assert(yk_list_empty(&dialog->waiters) && yk_list_empty(&dialog->receivers) &&
              yk_list_empty(&dialog->senders));
    yk_list_remove(&dialog->in_portal);
    drop_items(dialog);
    item_free(dialog->lent);
    yoke_value_free(dialog->first);
    yoke_value_free(dialog->result);
    yoke_value_free(dialog->args);
    yoke_error_unref(dialog->error);
    yoke_cause_unref(dialog->request);
    yoke_cause_unref(dialog->pending_cancel);
    yk_portal_unref(dialog->portal);
    free(dialog);
}

struct yk_dialog *yk_dialog_find(struct yoke_portal *portal, const char *cid)
{
    yk_list_for_each (node, &portal->dialogs[bucket_of(cid)]) {
        struct yk_dialog *dialog = yk_container_of(node, struct yk_dialog, in_portal);

        if (strcmp(dialog->cid, cid) == 0)
            return dialog;
    }
    return NULL;
}

static void wake_all(struct yk_list *queue)
{
    while (yk_wake_first(queue, 0))
        continue;
}

void yk_dialog_changed(struct yk_dialog *dialog)
{
    wake_all(&dialog->waiters);
    wake_all(&dialog->receivers);
    wake_all(&dialog->senders);
    wake_all(&dialog->portal->waiters);
}

/* Interrupts the body of this side, whatever it waits for. */
static void cancel_body(struct yk_dialog *dialog, enum yoke_cause_kind kind,
                        const struct yoke_error *error)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_CONTEXT,
        .kind = kind,
        .because = error->cause,
        .error = error->code == YOKE_EPEERCANCELLED ? NULL : error,
        .reason = error->message,
    };
    /* The requester is the peer's task, not the reader of the link. */
    struct yk_locus peer = {.actor = &dialog->portal->id, .task_name = dialog->endpoint};
    struct yoke_cause *cause;

    cause = yk_cause_new_as(&peer, &spec);
    if (dialog->ctx != NULL)
        yk_scope_cancel_cause(&dialog->ctx->scope, cause);
    else if (!dialog->opener && dialog->pending_cancel == NULL)
        dialog->pending_cancel = yoke_cause_ref(cause); /* its task has not begun */
    yoke_cause_unref(cause);
}

/* Whether the peer was cancelled by the very request that this side made. */
static bool is_own_request(const struct yk_dialog *dialog, const struct yoke_error *error)
{
    return error->code == YOKE_EPEERCANCELLED && dialog->request != NULL && error->cause != NULL &&
           yoke_id_equal(error->cause->id, dialog->request->id);
}

void yk_dialog_finish(struct yk_dialog *dialog, struct yoke_error *error, enum yoke_cause_kind kind)
{
    if (dialog->finished) {
        if (error != NULL)
            yk_error_absorb(error); /* a second end, or the loss of a peer that has ended */
        return;
    }
    dialog->finished = true;
    dialog->peer_stopped = true;
    dialog->returned = error == NULL;
    if (error != NULL) {
        if (is_own_request(dialog, error) && dialog->ctx != NULL)
            yk_scope_cancel_cause(&dialog->ctx->scope, dialog->request);
        else
            cancel_body(dialog, kind, error);
        if (dialog->opener)
            dialog->error = error;
        else
            yoke_error_unref(error); /* shared: the portal, or its openers, tell of it */
    }
    yk_dialog_changed(dialog);
}

static void handle_error(struct yk_dialog *dialog, const struct yk_error_message *message)
{
    struct yoke_error *error = yk_relay_received(dialog->portal, message);
    bool cancelled = error->code == YOKE_EPEERCANCELLED;

    yk_plain_set_canceller(dialog, error, message);
    if (cancelled && error->cause != NULL && !is_own_request(dialog, error) &&
        error->cause->layer >= YOKE_LAYER_ACTOR)
        dialog->portal->end_told = true;
    yk_dialog_finish(dialog, error, cancelled ? YOKE_CAUSE_PEER_CANCELLED : YOKE_CAUSE_PEER_RAISED);
}

static void fail_dialog(struct yk_dialog *dialog, int code, const char *text)
{
    yk_dialog_finish(dialog,
                     yk_error_make(YOKE_HERE, "yoke.Context", code, "%s of %s: %s",
                                   dialog->endpoint, dialog->portal->id.name, text),
                     YOKE_CAUSE_PEER_RAISED);
}

static void grant(struct yk_dialog *dialog, unsigned n)
{
    struct yk_message message = {.type = YK_CREDIT, .as.credit = {.cid = dialog->cid, .n = n}};

    if (dialog->portal->link.extensions && yk_portal_send(dialog->portal, &message) < 0)
        yoke_clear(); /* no memory: it stays in `consumed`, unsent credit is asked for again */
    else
        dialog->consumed -= n <= dialog->consumed ? n : dialog->consumed;
}

void yk_dialog_drain(struct yk_dialog *dialog)
{
    if (dialog->draining)
        return;
    dialog->draining = true;
    drop_items(dialog);
    if (!dialog->finished && !dialog->peer_stopped)
        grant(dialog, UINT32_C(1) << 30);
}

static void handle_yield(struct yk_dialog *dialog, struct yoke_value value)
{
    struct yk_item *item;

    if (dialog->draining || dialog->finished)
        return;
    if (dialog->items_n >= dialog->window + YK_STREAM_WINDOW) {
        fail_dialog(dialog, -EOVERFLOW, "the peer sent more values than it was granted");
        return;
    }
    item = calloc(1, sizeof *item);
    if (item != NULL)
        item->value = yoke_value_copy(value);
    if (item == NULL || item->value == NULL) {
        item_free(item);
        fail_dialog(dialog, -ENOMEM, "no memory to receive a value");
        return;
    }
    yk_list_append(&dialog->items, &item->node);
    dialog->items_n++;
    yk_wake_first(&dialog->receivers, 0);
}

static void handle_start_ack(struct yk_dialog *dialog, const struct yk_start_ack *ack)
{
    dialog->credit += ack->credit;
    if (!dialog->opener || dialog->started || strcmp(ack->functype, "context") == 0)
        return;
    /* A function of a plain peer, which has no first value. */
    dialog->started = true;
    dialog->generator = strcmp(ack->functype, "asyncgen") == 0;
    yk_dialog_changed(dialog);
}

static void keep(struct yk_dialog *dialog, struct yoke_value **place, struct yoke_value value)
{
    yoke_value_free(*place);
    *place = yoke_value_copy(value);
    if (*place == NULL)
        fail_dialog(dialog, -ENOMEM, "no memory to receive a value");
}

void yk_dialog_handle(struct yk_dialog *dialog, const struct yk_message *message)
{
    switch (message->type) {
    case YK_START_ACK:
        handle_start_ack(dialog, &message->as.start_ack);
        break;
    case YK_STARTED:
        if (!dialog->opener || dialog->started)
            break;
        dialog->started = true;
        keep(dialog, &dialog->first, message->as.payload.pld);
        yk_dialog_changed(dialog);
        break;
    case YK_YIELD:
        handle_yield(dialog, message->as.payload.pld);
        break;
    case YK_STOP:
        dialog->peer_stopped = true;
        wake_all(&dialog->receivers);
        if (dialog->generator)
            yk_dialog_finish(dialog, NULL, 0);
        break;
    case YK_RETURN:
        if (!dialog->opener || dialog->finished)
            break;
        keep(dialog, &dialog->result, message->as.payload.pld);
        yk_dialog_finish(dialog, NULL, 0);
        break;
    case YK_ERROR:
        handle_error(dialog, &message->as.error);
        break;
    case YK_CANCEL_ACK:
        dialog->cancel_acked = true;
        break;
    case YK_CREDIT:
        if (message->as.credit.n > 0 && message->as.credit.n <= INT32_MAX)
            dialog->credit += message->as.credit.n;
        wake_all(&dialog->senders);
        break;
    default:
        break;
    }
}

int yoke_stream_send(struct yoke_context *ctx, struct yoke_value value)
{
    struct yk_task *task = yk_task_self("yoke_stream_send");
    struct yk_dialog *dialog = ctx->dialog;
    struct yk_message message = {
        .type = YK_YIELD,
        .as.payload = {.cid = dialog->cid, .pld = value},
    };
    int rc = yk_check_cancelled(task);

    while (rc == 0 && !dialog->stopped && !dialog->finished && dialog->credit == 0)
        rc = yk_wait_in(&dialog->senders, "credit of a stream", NULL);
    if (rc == 0 && dialog->stopped)
        return yoke_raise("yoke.Closed", YOKE_ECLOSED, "this side has closed its stream");
    if (rc == 0 && !dialog->finished)
        rc = yk_link_wait_room(&dialog->portal->link);
    while (rc == -EPIPE && !dialog->finished) {
        /* The link has failed, and why is about to be told, which cancels this. */
        int told = yk_wait_in(&dialog->waiters, "why a link was lost", NULL);

        rc = told < 0 ? told : rc;
    }
    if (rc == -EPIPE || (rc == 0 && dialog->finished))
        return yoke_raise("yoke.Closed", YOKE_ECLOSED, "the peer of %s has ended",
                          dialog->endpoint);
    if (rc < 0)
        return rc;
    rc = yk_portal_send(dialog->portal, &message);
    if (rc < 0)
        return rc;
    dialog->credit--;
    dialog->streamed = true;
    yk_completed_at_once(task);
    return 0;
}

int yoke_stream_receive(struct yoke_context *ctx, struct yoke_value *ret_value)
{
    struct yk_task *task = yk_task_self("yoke_stream_receive");
    struct yk_dialog *dialog = ctx->dialog;
    struct yk_list *node;
    int rc = yk_check_cancelled(task);

    item_free(dialog->lent);
    dialog->lent = NULL;
    dialog->streamed = true;
    while (rc == 0 && yk_list_empty(&dialog->items) && !dialog->peer_stopped)
        rc = yk_wait_in(&dialog->receivers, "a value of a stream", NULL);
    if (rc < 0)
        return rc;
    yk_completed_at_once(task);
    node = yk_list_pop(&dialog->items);
    if (node == NULL)
        return 0;
    dialog->items_n--;
    dialog->lent = yk_container_of(node, struct yk_item, node);
    *ret_value = *dialog->lent->value;
    if (++dialog->consumed >= (dialog->window + 1) / 2 && !dialog->peer_stopped)
        grant(dialog, dialog->consumed);
    return 1;
}

static int stop(struct yk_dialog *dialog)
{
    struct yk_message message = {.type = YK_STOP, .as.stop = {.cid = dialog->cid}};

    if (dialog->stopped || dialog->finished)
        return 0;
    dialog->stopped = true;
    wake_all(&dialog->senders);
    return yk_portal_send(dialog->portal, &message);
}

int yoke_stream_close(struct yoke_context *ctx)
{
    yk_task_self("yoke_stream_close");
    return stop(ctx->dialog);
}

int yk_dialog_leave_stream(struct yk_dialog *dialog)
{
    bool plain = !dialog->portal->link.extensions;

    return plain && (!dialog->streamed || dialog->peer_stopped) ? 0 : stop(dialog);
}
