/* SPDX-License-Identifier: MIT */
/*
 * The opener's side of a context: open, cancel, close, call. Close is where the table of the design
 * (section 5) is decided, in one place, compose(), from three facts: what the body failed with, how
 * the peer ended, and whether a cancellation around the context is visible.
 *
 * A peer's cancellation is absorbed if and only if its cause is the request that this side of this
 * context made, compared by id. Open fails exactly as close would: it is a close without a body.
 */
#include "actor/actor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"

enum { CONTEXT_OPEN = 0xc0e7e01, CONTEXT_CLOSED = 0xc0e7e02 };

struct yoke_outcome {
    struct yoke_value *result;
    struct yoke_error *error;
    bool cancel_called;
    bool cancel_acked;
    bool caught;
};

struct yoke_outcome *yk_outcome_new(struct yk_dialog *dialog)
{
    struct yoke_outcome *outcome = yk_calloc(1, sizeof *outcome);

    if (outcome == NULL)
        return NULL;
    outcome->cancel_called = dialog->request != NULL;
    outcome->cancel_acked = dialog->cancel_acked;
    outcome->error = dialog->error != NULL ? yoke_error_ref(dialog->error) : NULL;
    outcome->result = dialog->result;
    dialog->result = NULL;
    return outcome;
}

/* Asks the peer to end; the first request is the one that counts. */
static void request_cancel(struct yk_dialog *dialog, struct yk_cause_spec *spec)
{
    char request_cid[YK_CID_SIZE + sizeof YK_REQUEST_SUFFIX];

    if (dialog->request != NULL || dialog->finished)
        return;
    spec->layer = YOKE_LAYER_CONTEXT;
    dialog->request = yk_cause_new(spec);
    snprintf(request_cid, sizeof request_cid, "%s%s", dialog->cid, YK_REQUEST_SUFFIX);
    yk_portal_send_cancel_within(dialog->portal, request_cid, dialog->cid, dialog->request,
                                 yk_budget_teardown(dialog));
    yk_dialog_changed(dialog);
}

void yoke_context_cancel_at(const struct yoke_site *site, struct yoke_context *ctx,
                            const char *reason)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_CONTEXT,
        .kind = YOKE_CAUSE_CONTEXT,
        .site = site,
        .reason = reason,
        .because = yoke_why(),
    };

    yk_task_self("yoke_context_cancel");
    if (ctx->magic == CONTEXT_CLOSED)
        return; /* too late to matter */
    if (ctx->dialog->opener)
        request_cancel(ctx->dialog, &spec);
    else
        yk_scope_cancel_with(&ctx->scope, &spec);
}

void yk_context_leave(struct yoke_context *ctx, const struct yoke_error *failure,
                      const struct yoke_site *site)
{
    struct yk_cause_spec spec = {
        .kind = YOKE_CAUSE_OPENER_LEFT,
        .site = site,
        .because = failure->cause,
        .error = failure->cancelled ? NULL : failure,
    };

    request_cancel(ctx->dialog, &spec);
}

static bool ready_to_go(const struct yk_dialog *dialog)
{
    return dialog->started || dialog->finished;
}

static int wait_open(struct yk_dialog *dialog)
{
    int rc = 0;

    while (rc == 0 && !ready_to_go(dialog))
        rc = yk_wait_in(&dialog->waiters, "a context to start", NULL);
    return rc;
}

static int wait_finished(struct yk_dialog *dialog)
{
    int rc = 0;

    while (rc == 0 && !dialog->finished)
        rc = yk_wait_in(&dialog->waiters, "a context to end", NULL);
    return rc;
}

/* As long as it was not asked to end: from then on the teardown bound holds. */
static int wait_result(struct yk_dialog *dialog)
{
    int rc = 0;

    while (rc == 0 && !dialog->finished && dialog->request == NULL)
        rc = yk_wait_in(&dialog->waiters, "the result of a context", NULL);
    return rc;
}

static struct yoke_error *unresponsive(const struct yk_dialog *dialog, int64_t waited_ns)
{
    return yk_error_make(YOKE_HERE, "yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                         "%s in %s (pid %d) did not end within %lld ms after it was cancelled%s",
                         dialog->endpoint, dialog->portal->id.name, (int)dialog->portal->id.pid,
                         (long long)(waited_ns / 1000000),
                         dialog->cancel_acked ? ", which it acknowledged" : "");
}

/* Waits for the outcome of a cancelled peer, whatever happens around, but not for ever. */
static void wait_outcome(struct yk_dialog *dialog)
{
    int64_t teardown_ns = yk_budget_teardown(dialog);
    struct yoke_scope scope;
    int rc;

    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                     .name = "context teardown",
                                     .timeout_ns = teardown_ns,
                                     .shield = true,
                                 });
    if (rc == 0)
        rc = wait_finished(dialog);
    rc = yoke_scope_close(&scope, rc);
    if (rc < 0)
        yk_dialog_finish(dialog, yk_flight_take(yk_locus()), YOKE_CAUSE_PEER_RAISED);
    else if (!dialog->finished)
        yk_dialog_finish(dialog, unresponsive(dialog, teardown_ns), YOKE_CAUSE_PEER_RAISED);
}

/* Two errors of two sides; the same object, seen from both, is one. */
static int raise_both(struct yk_locus *locus, struct yoke_error *body, struct yoke_error *peer,
                      const struct yoke_site *site)
{
    struct yoke_error *members[2] = {body, peer};

    if (body == peer) {
        yoke_error_unref(peer);
        return yk_flight_raise(locus, body);
    }
    return yk_flight_raise(locus,
                           yk_error_make_group(site, members, 2, "both sides of a context failed"));
}

/* The table. Takes over both errors; either may be NULL. */
static int compose(struct yk_task *task, struct yoke_error *body, struct yoke_error *peer,
                   bool own_request, bool visible, const struct yoke_site *site)
{
    struct yk_locus *locus = &task->locus;
    bool peer_cancelled = peer != NULL && peer->code == YOKE_EPEERCANCELLED;

    if (peer != NULL && own_request) {
        yk_error_absorb(peer);
        peer = NULL;
    }
    if (body != NULL && !body->cancelled) {
        if (peer != NULL && !peer_cancelled)
            return raise_both(locus, body, peer, site);
        if (peer != NULL)
            yk_error_suppress(body, peer);
        return yk_flight_raise(locus, body);
    }
    if (body == NULL || !visible) {
        if (body != NULL)
            yk_error_absorb(body); /* this context's own scope was cancelled, because of the peer */
        return peer != NULL ? yk_flight_raise(locus, peer) : 0;
    }
    if (body->cause == yoke_why()) {
        yk_flight_raise(locus, body);
    } else {
        yk_error_absorb(body); /* it began at this context's scope; now an outer one is cancelled */
        yk_deliver(task);
    }
    if (peer != NULL && !peer_cancelled)
        return yk_flight_raise(locus, peer);
    if (peer != NULL)
        yk_error_suppress(yk_flight_now(locus),
                          peer); /* Cancelled over Cancelled: the first stays */
    return YOKE_CANCELLED;
}

/* If it can't be told to the peer: that was asked to end, or has, and the wait for it is bounded.
 */
static void drain_at_end(struct yk_dialog *dialog)
{
    struct yoke_hold hold;

    yoke_hold(&hold);
    if (yk_dialog_drain(dialog) < 0)
        yoke_clear();
    (void)yoke_release(&hold);
}

/* Ends this side. `failure` is what the body left, or NULL. Takes it over. */
static int finish(struct yoke_context *ctx, struct yoke_error *failure,
                  const struct yoke_site *site, struct yoke_outcome **ret_outcome)
{
    struct yk_task *task = ctx->scope.task;
    struct yk_dialog *dialog = ctx->dialog;
    struct yoke_error *peer;
    bool own_request;
    bool visible;

    if (failure != NULL)
        yk_context_leave(ctx, failure, site);
    drain_at_end(dialog);
    if (!dialog->finished)
        wait_outcome(dialog);
    yk_budget_expire(dialog);
    visible = !ctx->scope.shield && ctx->scope.parent->effective;
    if (ret_outcome != NULL)
        *ret_outcome = yk_outcome_new(dialog);
    peer = dialog->error;
    dialog->error = NULL;
    /* tractor absorbs what its peer came to by sending too much, once it was asked to end. */
    if (peer != NULL && dialog->overrun && dialog->request != NULL &&
        strcmp(peer->type, "StreamOverrun") == 0) {
        yk_error_absorb(peer);
        peer = NULL;
    }
    own_request = peer != NULL && peer->code == YOKE_EPEERCANCELLED && dialog->request != NULL &&
                  peer->cause != NULL && yoke_id_equal(peer->cause->id, dialog->request->id);
    if (ret_outcome != NULL && *ret_outcome != NULL)
        (*ret_outcome)->caught = own_request || (failure != NULL && failure->cancelled && !visible);
    yk_scope_leave(&ctx->scope);
    ctx->magic = CONTEXT_CLOSED;
    ctx->dialog = NULL;
    yk_dialog_free(dialog);
    return compose(task, failure, peer, own_request, visible, site);
}

static int begin(struct yk_dialog *dialog, const char *endpoint, struct yoke_value args,
                 const struct yoke_context_opts *opts, struct yk_task *task)
{
    const struct yoke_actor_id *self = &dialog->portal->actor->runtime->actor;
    const char *colon = strchr(endpoint, ':');
    char ns[YK_ENDPOINT_MAX];
    struct yk_message message = {.type = YK_START};
    const struct yoke_endpoint *endpoint_here;
    struct yk_arena arena;
    int rc;

    YK_TEXT_COPY(dialog->endpoint, endpoint);
    dialog->opener = true;
    dialog->window = opts != NULL && opts->window > 0 ? opts->window : YK_STREAM_WINDOW;
    dialog->allow_overruns = opts != NULL && opts->allow_overruns;
    dialog->growing = opts == NULL || opts->window == 0;
    dialog->teardown_ns =
        opts != NULL && opts->teardown_timeout_ns > 0 ? opts->teardown_timeout_ns : YK_TEARDOWN_NS;
    yk_text_copy(ns, (size_t)(colon - endpoint) + 1, endpoint);
    message.as.start = (struct yk_start){
        .cid = dialog->cid,
        .ns = ns,
        .func = colon + 1,
        .kwargs = args.type == YOKE_NIL ? yoke_map(NULL, 0) : args,
        .uid = {self->name, self->uuid},
        .pld_spec = YK_SPEC_TEXT_ANY,
        .credit = dialog->window,
    };
    endpoint_here = yk_endpoint_find(ns, colon + 1);
    dialog->specs = endpoint_here != NULL ? endpoint_here->parsed : NULL;
    if (dialog->portal->link.extensions && yk_specs_text(dialog->specs)[0] != '\0')
        message.as.start.pld_spec = yk_specs_text(dialog->specs);
    if (!dialog->portal->link.extensions)
        dialog->credit = INT32_MAX;
    rc = yk_specs_check_sent(dialog, YK_SPEC_ARGS, message.as.start.kwargs);
    if (rc < 0)
        return rc;
    yk_arena_init(&arena);
    yk_budget_begin(dialog, task->scope, &arena, &message.as.start);
    rc = yk_portal_send(dialog->portal, &message);
    yk_arena_fini(&arena);
    return rc;
}

static int check_open_arguments(const struct yoke_site *site, const struct yoke_portal *portal,
                                const char *endpoint, struct yoke_value args)
{
    const char *colon = endpoint == NULL ? NULL : strchr(endpoint, ':');

    if (portal == NULL)
        return yoke_raise_at(site, NULL, "yoke.Misuse", EINVAL, "the portal is NULL");
    if (colon == NULL || colon == endpoint || colon[1] == '\0' ||
        strlen(endpoint) >= YK_ENDPOINT_MAX)
        return yoke_raise_at(site, NULL, "yoke.Misuse", EINVAL,
                             "endpoint \"%s\" is not of the form namespace:function",
                             endpoint != NULL ? endpoint : "(null)");
    if (args.type != YOKE_NIL && args.type != YOKE_MAP_VALUE)
        return yoke_raise_at(site, NULL, "yoke.Misuse", EINVAL,
                             "arguments of %s: a map or nil is needed", endpoint);
    return 0;
}

int yk_context_begin(const struct yoke_site *site, struct yoke_context *ctx,
                     struct yoke_portal *portal, const char *endpoint, struct yoke_value args,
                     const struct yoke_context_opts *opts)
{
    struct yk_task *task = yk_task_self("yoke_context_open");
    struct yk_dialog *dialog;
    char cid[YK_CID_SIZE];
    int rc = yk_check_cancelled(task);

    memset(ctx, 0, sizeof *ctx);
    ctx->magic = CONTEXT_CLOSED;
    if (rc == 0)
        rc = check_open_arguments(site, portal, endpoint, args);
    if (rc == 0)
        rc = yk_portal_reach(portal, &portal);
    if (rc < 0)
        return rc;
    if (portal->lost != NULL)
        return yk_flight_raise(&task->locus, yoke_error_ref(portal->lost));
    yk_cid_new(cid);
    dialog = yk_dialog_new(portal, cid);
    if (dialog == NULL)
        return -ENOMEM;
    rc = begin(dialog, endpoint, args, opts, task);
    if (rc < 0) {
        yk_dialog_free(dialog);
        return rc;
    }
    ctx->dialog = dialog;
    ctx->magic = CONTEXT_OPEN;
    yk_scope_enter(&ctx->scope, task, dialog->endpoint, site, false);
    ctx->scope.context = true;
    dialog->ctx = ctx;
    return 0;
}

int yk_context_wait(struct yoke_context *ctx)
{
    struct yk_dialog *dialog = ctx->dialog;
    int rc = wait_open(dialog);

    if (rc == 0 && dialog->first != NULL)
        rc = yk_specs_check_received(dialog->specs, dialog->endpoint, dialog->portal,
                                     YK_SPEC_STARTED, *dialog->first);
    return rc;
}

int yoke_context_open_at(const struct yoke_site *site, struct yoke_context *ctx,
                         struct yoke_portal *portal, const char *endpoint, struct yoke_value args,
                         const struct yoke_context_opts *opts)
{
    struct yk_task *task = yk_task_self("yoke_context_open");
    int rc = yk_context_begin(site, ctx, portal, endpoint, args, opts);
    struct yk_dialog *dialog;

    if (rc < 0)
        return rc;
    dialog = ctx->dialog;
    rc = yk_context_wait(ctx);
    /* Once started it is open, even if the end came right behind: the body, or close, tells. */
    if (rc == 0 && (dialog->started || dialog->error == NULL))
        return 0;
    rc = finish(ctx, yk_body_failure(task, ctx->scope.flight_at_open, rc, site), site, NULL);
    /* Only a request of our own could end in 0 here, and none was made before open returned but by
     * another task that was handed ctx early: for it the context simply never opened. */
    return rc == 0 ? yoke_raise_at(site, NULL, "yoke.Context", YOKE_ECLOSED,
                                   "the context was cancelled while it was opened")
                   : rc;
}

static void check_open(const struct yoke_context *ctx, const struct yoke_site *site)
{
    if (ctx->magic == CONTEXT_CLOSED)
        yk_misuse(site, "opened at", ctx->scope.site, "close of a context that is not open");
    if (ctx->magic != CONTEXT_OPEN)
        yk_misuse(site, NULL, NULL, "close of a context that was never opened");
}

int yoke_context_close_at(const struct yoke_site *site, struct yoke_context *ctx, int rc,
                          struct yoke_outcome **ret_outcome)
{
    struct yk_task *task = yk_task_self("yoke_context_close");
    struct yoke_error *failure;

    check_open(ctx, site);
    yk_scope_check_innermost(&ctx->scope, task, site);
    if (!ctx->dialog->opener)
        yk_misuse(site, NULL, NULL, "an endpoint does not close its context, it returns");
    failure = yk_body_failure(task, ctx->scope.flight_at_open, rc, site);
    if (failure == NULL && !ctx->dialog->finished) {
        rc = yk_dialog_leave_stream(ctx->dialog);
        if (rc == 0)
            rc = yk_dialog_drain(ctx->dialog);
        if (rc == 0)
            rc = wait_result(ctx->dialog);
        failure = yk_body_failure(task, ctx->scope.flight_at_open, rc, site);
    }
    return finish(ctx, failure, site, ret_outcome);
}

struct yoke_value yoke_context_first(const struct yoke_context *ctx)
{
    const struct yk_dialog *dialog = ctx->dialog;

    return dialog != NULL && dialog->first != NULL ? *dialog->first : yoke_nil();
}

const struct yoke_actor_id *yoke_context_peer(const struct yoke_context *ctx)
{
    return &ctx->dialog->portal->id;
}

int yoke_call_at(const struct yoke_site *site, struct yoke_portal *portal, const char *endpoint,
                 struct yoke_value args, struct yoke_value **ret_result)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome;
    int rc = yoke_context_open_at(site, &ctx, portal, endpoint, args, NULL);

    if (rc < 0)
        return rc;
    rc = yoke_context_close_at(site, &ctx, 0, ret_result != NULL ? &outcome : NULL);
    if (ret_result == NULL)
        return rc;
    if (rc == 0 && outcome == NULL)
        rc = yoke_raise_at(site, NULL, "yoke.Context", ENOMEM, "no memory for the result");
    if (rc == 0) {
        *ret_result = outcome->result;
        outcome->result = NULL;
    }
    yoke_outcome_free(outcome);
    return rc;
}

struct yoke_value yoke_outcome_result(const struct yoke_outcome *outcome)
{
    return outcome->result != NULL ? *outcome->result : yoke_nil();
}

bool yoke_outcome_cancel_called(const struct yoke_outcome *outcome)
{
    return outcome->cancel_called;
}

bool yoke_outcome_cancel_acked(const struct yoke_outcome *outcome)
{
    return outcome->cancel_acked;
}

bool yoke_outcome_cancelled(const struct yoke_outcome *outcome)
{
    return outcome->error != NULL && outcome->error->code == YOKE_EPEERCANCELLED;
}

bool yoke_outcome_cancelled_caught(const struct yoke_outcome *outcome)
{
    return outcome->caught;
}

const struct yoke_actor_id *yoke_outcome_canceller(const struct yoke_outcome *outcome)
{
    return yoke_outcome_cancelled(outcome) && outcome->error->cause != NULL
               ? &outcome->error->cause->requester.actor
               : NULL;
}

const struct yoke_cause *yoke_outcome_cause(const struct yoke_outcome *outcome)
{
    return outcome->error != NULL ? outcome->error->cause : NULL;
}

const struct yoke_error *yoke_outcome_error(const struct yoke_outcome *outcome)
{
    return outcome->error;
}

void yoke_outcome_free(struct yoke_outcome *outcome)
{
    if (outcome == NULL)
        return;
    yoke_error_unref(outcome->error);
    yoke_value_free(outcome->result);
    free(outcome);
}
