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
#include "base/memory.h"
#include "base/text.h"
#include "wire/value.h"

static size_t bucket_of(const char *cid)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    while (*cid != '\0')
        hash = (hash ^ (unsigned char)*cid++) * 16777619u;
    return hash % YK_DIALOG_BUCKETS;
}

struct yk_dialog *yk_dialog_new(struct yoke_portal *portal, const char *cid)
{
    struct yk_dialog *dialog = yk_calloc(1, sizeof *dialog);

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
    yk_list_init(&dialog->in_openers);
    dialog->deadline_ns = YOKE_NEVER;
    dialog->wanted_ns = YOKE_NEVER;
    for (unsigned i = 0; i < YK_ITEM_CLASSES; i++)
        yk_list_init(&dialog->spares[i]);
    yk_list_append(&portal->dialogs[bucket_of(cid)], &dialog->in_portal);
    return dialog;
}

static size_t room_of(unsigned room_class)
{
    return (size_t)YK_ITEM_ROOM << room_class;
}

/* An item with room for so many bytes, used again if there is one; NULL: no memory. */
static struct yk_item *item_with_room(struct yk_dialog *dialog, size_t size)
{
    unsigned room_class = 0;
    struct yk_list *spare = NULL;
    struct yk_item *item;

    while (room_class < YK_ITEM_CLASSES && room_of(room_class) < size)
        room_class++;
    if (room_class < YK_ITEM_CLASSES) {
        size = room_of(room_class);
        spare = yk_list_pop(&dialog->spares[room_class]);
    }
    if (spare != NULL) {
        dialog->spare_bytes -= size;
        return yk_container_of(spare, struct yk_item, node);
    }
    item = size < SIZE_MAX - sizeof *item ? yk_malloc(sizeof *item + size) : NULL;
    if (item != NULL)
        item->room_class = room_class;
    return item;
}

/* An item with a value that was just received: a copy, but for bytes in shared memory. NULL: no
 * memory. */
static struct yk_item *item_new(struct yk_dialog *dialog, const struct yoke_value *value)
{
    static const struct yk_value_size nothing;
    struct yk_view *view = dialog->portal->link.view;
    bool shared = view != NULL && view->current != 0 && value->type == YOKE_BIN;
    struct yk_value_size size = shared ? nothing : yk_value_measure(value);
    struct yk_item *item = item_with_room(dialog, size.total);

    if (item == NULL)
        return NULL;
    item->large = shared || size.total > YK_STREAM_SMALL;
    item->lease = shared ? yk_view_take(view) : (struct yk_lease){NULL, 0};
    item->value = shared ? *value : yk_value_copy_to(item->memory, &size, value);
    return item;
}

/* Some are kept, since fresh memory costs more than all else about a value. */
static void item_free(struct yk_dialog *dialog, struct yk_item *item)
{
    size_t room;

    if (item == NULL)
        return;
    yk_lease_end(&item->lease);
    room = item->room_class < YK_ITEM_CLASSES ? room_of(item->room_class) : YK_STREAM_SPARES;
    if (dialog->spare_bytes < YK_STREAM_SPARES - room) {
        dialog->spare_bytes += room;
        /* first: it is in the cache */
        yk_list_append(dialog->spares[item->room_class].next, &item->node);
    } else {
        free(item);
    }
}

static struct yk_item *take_item(struct yk_dialog *dialog)
{
    struct yk_list *node = yk_list_pop(&dialog->items);
    struct yk_item *item;

    if (node == NULL)
        return NULL;
    item = yk_container_of(node, struct yk_item, node);
    dialog->items_n--;
    dialog->large_n -= item->large;
    return item;
}

static void drop_items(struct yk_dialog *dialog)
{
    struct yk_item *item;
    struct yk_list *node;

    while ((item = take_item(dialog)) != NULL)
        item_free(dialog, item);
    for (unsigned i = 0; i < YK_ITEM_CLASSES; i++)
        while ((node = yk_list_pop(&dialog->spares[i])) != NULL)
            free(yk_container_of(node, struct yk_item, node));
    dialog->spare_bytes = 0;
}

void yk_dialog_free(struct yk_dialog *dialog)
{
    if (dialog == NULL)
        return;
    if (dialog->fanout != NULL)
        yk_misuse(NULL, NULL, NULL, "the context of %s ends while its stream has subscriptions",
                  dialog->endpoint);
    yk_assert(yk_list_empty(&dialog->waiters) && yk_list_empty(&dialog->receivers) &&
              yk_list_empty(&dialog->senders));
    yk_list_remove(&dialog->in_portal);
    yk_list_remove(&dialog->in_openers);
    if (dialog->portal->recent == dialog)
        dialog->portal->recent = NULL;
    item_free(dialog, dialog->lent);
    drop_items(dialog);
    yoke_value_free(dialog->first);
    yoke_value_free(dialog->result);
    yoke_value_free(dialog->args);
    yk_specs_free(dialog->peer_specs);
    yoke_error_unref(dialog->error);
    yoke_cause_unref(dialog->request);
    yoke_cause_unref(dialog->pending_cancel);
    yoke_cause_unref(dialog->deadline_because);
    yk_portal_unref(dialog->portal);
    free(dialog);
}

struct yk_dialog *yk_dialog_find(struct yoke_portal *portal, const char *cid)
{
    if (portal->recent != NULL && strcmp(portal->recent->cid, cid) == 0)
        return portal->recent;
    yk_list_for_each (node, &portal->dialogs[bucket_of(cid)]) {
        struct yk_dialog *dialog = yk_container_of(node, struct yk_dialog, in_portal);

        if (strcmp(dialog->cid, cid) == 0)
            return portal->recent = dialog;
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
        if (dialog->opener || kind == YOKE_CAUSE_PEER_RAISED)
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
    struct yoke_error *error = yk_error_make(YOKE_HERE, "yoke.Context", code, "%s of %s: %s",
                                             dialog->endpoint, dialog->portal->id.name, text);

    if (!dialog->opener)
        yk_error_settle(error); /* it is told as why the endpoint is cancelled */
    yk_dialog_finish(dialog, error, YOKE_CAUSE_PEER_RAISED);
}

/* 0; or -ENOMEM, raised: then it stays in `consumed`. */
static int grant(struct yk_dialog *dialog, unsigned n)
{
    struct yk_message message = {
        .type = YK_CREDIT,
        .as.credit = {.cid = dialog->cid, .n = n, .window = dialog->window},
    };
    int rc = dialog->portal->link.extensions ? yk_portal_send(dialog->portal, &message) : 0;

    if (rc == 0)
        dialog->consumed -= n <= dialog->consumed ? n : dialog->consumed;
    return rc;
}

static bool grant_is_due(const struct yk_dialog *dialog)
{
    /* A peer that may be far ahead must know what has been consumed before it sends a large one. */
    return dialog->consumed >= (dialog->window + 1) / 2 ||
           (dialog->growing && dialog->consumed >= YK_STREAM_WINDOW / 2 &&
            dialog->consumed >= dialog->items_n);
}

/*
 * What was consumed may be sent anew. Where it was left to us, the window grows while values are
 * consumed as they come: so that the two sides wait for each other once in many small values. Large
 * ones don't use what it has grown by.
 */
static int grant_consumed(struct yk_dialog *dialog)
{
    unsigned more = 0;
    int rc;

    if (!grant_is_due(dialog) || dialog->peer_stopped)
        return 0;
    if (dialog->growing && dialog->items_n < dialog->window && dialog->large_n == 0)
        more = dialog->window <= YK_STREAM_WINDOW_MAX / 2 ? dialog->window : 0;
    dialog->window += more;
    rc = grant(dialog, dialog->consumed + more);
    if (rc < 0)
        dialog->window -= more;
    return rc;
}

int yk_dialog_drain(struct yk_dialog *dialog)
{
    if (dialog->draining)
        return 0;
    dialog->draining = true;
    drop_items(dialog);
    return dialog->finished || dialog->peer_stopped ? 0 : grant(dialog, UINT32_C(1) << 30);
}

/* tractor's rules for a peer that knows no credit. Whether the value that has come is kept. */
static bool make_room(struct yk_dialog *dialog)
{
    if (dialog->items_n < dialog->window)
        return true;
    if (dialog->allow_overruns && dialog->items_n < (size_t)dialog->window + YK_OVERRUN_MAX)
        return true;
    dialog->lost++;
    if (dialog->allow_overruns) {
        item_free(dialog, take_item(dialog)); /* the oldest */
        return true;
    }
    if (!dialog->overrun)
        yk_relay_overrun(dialog);
    return false;
}

static void handle_yield(struct yk_dialog *dialog, struct yoke_value value)
{
    struct yk_item *item;

    if (dialog->draining || dialog->finished)
        return;
    if (!dialog->portal->link.extensions) {
        if (!make_room(dialog))
            return;
    } else if (dialog->items_n >= dialog->window + YK_STREAM_WINDOW) {
        fail_dialog(dialog, -EOVERFLOW, "the peer sent more values than it was granted");
        return;
    }
    item = item_new(dialog, &value);
    if (item == NULL) {
        fail_dialog(dialog, -ENOMEM, "no memory to receive a value");
        return;
    }
    if (item->large && dialog->growing && dialog->large_n >= 2 * YK_STREAM_WINDOW) {
        item_free(dialog, item);
        fail_dialog(dialog, -EOVERFLOW, "the peer sent more large values than it was granted");
        return;
    }
    yk_list_append(&dialog->items, &item->node);
    dialog->items_n++;
    dialog->large_n += item->large;
    yk_wake_first(&dialog->receivers, 0);
}

static void handle_start_ack(struct yk_dialog *dialog, const struct yk_start_ack *ack)
{
    dialog->credit += ack->credit;
    dialog->peer_window = ack->credit;
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

static void handle_return(struct yk_dialog *dialog, struct yoke_value value)
{
    struct yoke_error *error = NULL;

    if (yk_specs_check_received(dialog->specs, dialog->endpoint, dialog->portal, YK_SPEC_RESULT,
                                value) < 0)
        error = yk_flight_take(yk_locus());
    else
        keep(dialog, &dialog->result, value);
    yk_dialog_finish(dialog, error, YOKE_CAUSE_PEER_RAISED);
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
        handle_return(dialog, message->as.payload.pld);
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
        if (message->as.credit.window > 0)
            dialog->peer_window = message->as.credit.window;
        wake_all(&dialog->senders);
        break;
    case YK_BUDGET:
        if (!dialog->opener)
            yk_budget_received(dialog, message->as.budget.budget_ns, message->as.budget.cause);
        break;
    default:
        break;
    }
}

/*
 * Whether the peer has granted another value. A large one does not use what the window has grown by
 * for small ones. Of those that are out, as many as the peer has not consumed may be consumed and
 * not granted anew, so that twice the window out are at least one window ahead.
 */
static bool may_send(const struct yk_dialog *dialog, const struct yoke_value *value)
{
    if (dialog->credit <= 0)
        return false;
    return dialog->peer_window <= YK_STREAM_WINDOW ||
           dialog->peer_window - dialog->credit < 2 * YK_STREAM_WINDOW ||
           yk_value_measure(value).total <= YK_STREAM_SMALL;
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

    if (rc == 0)
        rc = yk_specs_check_sent(dialog, dialog->opener ? YK_SPEC_IN : YK_SPEC_OUT, value);
    while (rc == 0 && !dialog->stopped && !dialog->finished && !may_send(dialog, &value))
        rc = yk_wait_in(&dialog->senders, "credit of a stream", NULL);
    if (rc == 0 && dialog->stopped)
        return yoke_raise("yoke.Closed", YOKE_ECLOSED, "this side has closed its stream");
    if (rc == 0 && !dialog->finished && value.type == YOKE_BIN)
        rc = yk_link_wait_share(&dialog->portal->link, value.as.str.size);
    if (rc == 0 && !dialog->finished)
        rc = yk_link_wait_room(&dialog->portal->link);
    while (rc == -EPIPE && !dialog->finished) {
        /* The link has failed, and why is about to be told, which cancels this. */
        int told = yk_wait_in(&dialog->waiters, "why a link was lost", NULL);

        if (told == 0)
            told = yk_check_cancelled(task);
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

static void end_loan(struct yk_dialog *dialog)
{
    item_free(dialog, dialog->lent);
    dialog->lent = NULL;
}

/* Lends the next value. 1; 0: there is none; or it is refused, and gone. */
static int receive_now(struct yk_dialog *dialog, struct yoke_value *ret_value)
{
    int rc;

    if (yk_list_empty(&dialog->items))
        return 0;
    end_loan(dialog);
    dialog->lent = take_item(dialog);
    rc = yk_specs_check_received(dialog->specs, dialog->endpoint, dialog->portal,
                                 dialog->opener ? YK_SPEC_OUT : YK_SPEC_IN, dialog->lent->value);
    if (rc == 0)
        *ret_value = dialog->lent->value;
    dialog->consumed++;
    if (rc == 0 && grant_consumed(dialog) < 0)
        yoke_clear(); /* this value has come; it is granted again before the next is waited for */
    return rc < 0 ? rc : 1;
}

void yoke_stream_allow_overruns(struct yoke_context *ctx, bool allow)
{
    yk_task_self("yoke_stream_allow_overruns");
    ctx->dialog->allow_overruns = allow;
}

uint64_t yoke_stream_lost(const struct yoke_context *ctx)
{
    return ctx->dialog->lost;
}

int yoke_stream_receive(struct yoke_context *ctx, struct yoke_value *ret_value)
{
    struct yk_task *task = yk_task_self("yoke_stream_receive");

    if (ctx->dialog->fanout != NULL)
        return yoke_raise("yoke.Misuse", EINVAL,
                          "yoke_stream_receive from a stream that has subscriptions");
    return yk_dialog_receive(ctx->dialog, task, ret_value);
}

int yk_dialog_receive(struct yk_dialog *dialog, struct yk_task *task, struct yoke_value *ret_value)
{
    int rc = yk_check_cancelled(task);

    end_loan(dialog); /* a sender may wait for what it occupies */
    dialog->streamed = true;
    if (rc == 0 && yk_list_empty(&dialog->items))
        rc = grant_consumed(dialog); /* what failed before: the peer may be waiting for it */
    /* Others run before the value is taken: one of them might receive, too. */
    if (rc == 0 && (dialog->peer_stopped || !yk_list_empty(&dialog->items)))
        yk_completed_at_once(task);
    while (rc == 0 && yk_list_empty(&dialog->items) && !dialog->peer_stopped)
        rc = yk_wait_in(&dialog->receivers, "a value of a stream", NULL);
    return rc < 0 ? rc : receive_now(dialog, ret_value);
}

static int attempt_receive(struct yoke_select_case *c)
{
    struct yk_dialog *dialog = c->object;

    int rc = receive_now(dialog, c->data);

    if (rc >= 0)
        c->result = rc;
    return rc == 0 && dialog->peer_stopped ? 1 : rc;
}

static int enlist_receive(struct yoke_select_case *c)
{
    struct yk_dialog *dialog = c->object;

    int rc = grant_consumed(dialog); /* what failed before: the peer may be waiting for it */

    if (rc < 0)
        return rc;
    end_loan(dialog); /* a sender may wait for what it occupies */
    dialog->streamed = true;
    yk_list_append(&dialog->receivers, &c->wait.node);
    return 0;
}

struct yoke_select_case yoke_case_stream(struct yoke_context *ctx, struct yoke_value *ret_value)
{
    static const struct yoke_select_source source = {
        .name = "a value of a stream",
        .attempt = attempt_receive,
        .enlist = enlist_receive,
    };

    return yoke_case_source(&source, ctx->dialog, ret_value);
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
