/* SPDX-License-Identifier: MIT */
/*
 * The endpoint side: an incoming Start, and the task that serves it in the actor's main nursery.
 * Whatever the endpoint ends with is told to the opener, and only to him: an error of an endpoint
 * does not fail the actor.
 */
#include "actor/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"

enum { CONTEXT_OPEN = 0xc0e7e01 };

/* Its opener will cancel, or be gone: a Start that can't be served is answered with an Error. */
static void refuse(struct yoke_portal *portal, const char *cid)
{
    yk_relay_error(portal, cid, yk_flight_take(yk_locus()));
}

/* What a runtime serves itself: functions, in tractor's terms, and not contexts. */
static bool is_runtimes(const struct yoke_endpoint *endpoint)
{
    return strncmp(endpoint->name, YK_RUNTIME_NS, strlen(YK_RUNTIME_NS)) == 0;
}

static bool is_plain_function(const struct yk_dialog *dialog)
{
    return is_runtimes(dialog->serves) ||
           (dialog->serves->function && !dialog->portal->link.extensions);
}

/* The result, or the failure, goes to the opener. Never blocks: a cancelled task must get it out.
 */
static void tell_outcome(struct yk_dialog *dialog, struct yoke_error *failure)
{
    struct yoke_value nil = yoke_nil();
    struct yk_message message = {
        .type = YK_RETURN,
        .as.payload = {.cid = dialog->cid, .pld = dialog->result != NULL ? *dialog->result : nil},
    };
    struct yk_message started = {
        .type = YK_STARTED,
        .as.payload = {.cid = dialog->cid, .pld = nil},
    };

    if (!dialog->portal->link.extensions && yk_dialog_leave_stream(dialog) < 0)
        yoke_clear(); /* no memory for it: the outcome says as much */
    if (failure != NULL) {
        if (failure->cancelled)
            failure = yk_relay_cancelled(failure, dialog->endpoint);
        yk_relay_error(dialog->portal, dialog->cid, failure);
        return;
    }
    /* tractor's grammar has no Return before Started; yoke's openers need no filler. */
    if (!dialog->started && !dialog->portal->link.extensions && !is_plain_function(dialog) &&
        yk_portal_send(dialog->portal, &started) < 0)
        yoke_clear();
    if (yk_portal_send(dialog->portal, &message) < 0)
        refuse(dialog->portal, dialog->cid);
}

static int acknowledge(struct yk_dialog *dialog)
{
    struct yk_message ack = {
        .type = YK_START_ACK,
        .as.start_ack =
            {
                .cid = dialog->cid,
                .functype = is_plain_function(dialog) ? "asyncfunc" : "context",
                .credit = dialog->window,
            },
    };

    return yk_portal_send(dialog->portal, &ack);
}

/* What the opener sent for an end goes back to it, unless the endpoint failed by itself. */
static struct yoke_error *with_refusal(struct yk_dialog *dialog, struct yoke_error *failure)
{
    struct yoke_error *refusal = dialog->error;

    dialog->error = NULL;
    if (refusal == NULL || failure == NULL)
        return refusal != NULL ? refusal : failure;
    if (failure->cancelled) {
        yk_error_suppress(refusal, failure);
        return refusal;
    }
    yk_error_suppress(failure, refusal);
    return failure;
}

static int serve(void *arg)
{
    struct yk_dialog *dialog = arg;
    struct yk_task *task = yk_task_self("an endpoint");
    static const struct yoke_site site = {"endpoint", "serve", 0};
    struct yoke_value nil = yoke_nil();
    struct yoke_context ctx;
    struct yoke_error *failure;
    int rc;

    memset(&ctx, 0, sizeof ctx);
    ctx.dialog = dialog;
    ctx.magic = CONTEXT_OPEN;
    yk_scope_enter(&ctx.scope, task, dialog->endpoint, &site, false);
    ctx.scope.context = true;
    dialog->ctx = &ctx;
    task->locals[YK_LOCAL_CONTEXT] = &ctx;
    if (dialog->pending_cancel != NULL)
        yk_scope_cancel_cause(&ctx.scope, dialog->pending_cancel);
    yk_budget_apply(dialog);
    rc = acknowledge(dialog);
    if (rc == 0)
        rc = dialog->serves->fn(&ctx, dialog->args != NULL ? *dialog->args : nil);
    yk_scope_check_innermost(&ctx.scope, task, &site);
    if (rc >= 0 && yoke_in_flight() == NULL && dialog->result == NULL)
        rc = yk_specs_check_sent(dialog, YK_SPEC_RESULT, nil);
    failure = with_refusal(dialog, yk_body_failure(task, NULL, rc, &site));
    dialog->ctx = NULL;
    yk_scope_leave(&ctx.scope);
    tell_outcome(dialog, failure);
    dialog->portal->actor->serving--;
    yk_plain_served(dialog);
    yk_dialog_free(dialog);
    return 0;
}

/* The arguments are as the endpoint says, and what its opener expects of it can be read. */
static int accept_specs(struct yk_dialog *dialog, const struct yk_start *start)
{
    const char *theirs = start->pld_spec;

    dialog->specs = dialog->serves->parsed;
    if (dialog->portal->link.extensions && strcmp(theirs, YK_SPEC_TEXT_ANY) != 0 &&
        strcmp(theirs, yk_specs_text(dialog->specs)) != 0) {
        int rc = yk_specs_received(theirs, &dialog->peer_specs);

        if (rc < 0)
            return rc;
    }
    return yk_specs_check_received(dialog->specs, dialog->endpoint, dialog->portal, YK_SPEC_ARGS,
                                   start->kwargs);
}

static int spawn_server(struct yoke_portal *portal, const struct yk_start *start,
                        const struct yoke_endpoint *endpoint)
{
    struct yoke_nursery *program = portal->actor->runtime->main;
    struct yk_dialog *dialog;
    struct yk_task *task;
    int rc = 0;

    if (program == NULL)
        return yoke_raise("yoke.Closed", YOKE_ECLOSED, "actor %s is ending",
                          portal->actor->runtime->actor.name);
    dialog = yk_dialog_new(portal, start->cid);
    if (dialog == NULL)
        return -ENOMEM;
    YK_TEXT_COPY(dialog->endpoint, endpoint->name);
    dialog->serves = endpoint;
    dialog->started = is_runtimes(endpoint);
    dialog->window = YK_STREAM_WINDOW;
    yk_budget_received(dialog, start->budget_ns, start->budget_cause);
    dialog->growing = true;
    dialog->peer_window = start->credit;
    dialog->credit = start->credit > 0 ? start->credit : INT32_MAX; /* plain peers grant nothing */
    if (start->kwargs.type == YOKE_MAP_VALUE) {
        dialog->args = yoke_value_copy(start->kwargs);
        if (dialog->args == NULL)
            rc = yoke_raise("yoke.Context", ENOMEM, "no memory for the arguments");
    }
    if (rc == 0)
        rc = accept_specs(dialog, start);
    if (rc == 0)
        rc = yk_task_new(program, YOKE_HERE, serve, endpoint->name, NULL, dialog, &task);
    if (rc < 0)
        yk_dialog_free(dialog);
    else
        portal->actor->serving++;
    return rc;
}

/* Plain peers tell a function that is not there, in a module that is exposed, from the rest. */
static const char *missing_type(const struct yoke_portal *portal, const struct yk_start *start)
{
    char name[YK_ENDPOINT_MAX];

    snprintf(name, sizeof name, "%s:%s", start->ns, start->func);
    return !portal->link.extensions && yk_endpoint_exposed(portal->actor->expose, name)
               ? "yoke.NoEndpoint"
               : "yoke.NotExposed";
}

void yk_serve_start(struct yoke_portal *portal, const struct yk_start *start)
{
    const struct yoke_endpoint *endpoint = yk_endpoint_find(start->ns, start->func);
    const char *self = portal->actor->runtime->actor.name;
    int rc;

    if (!portal->up || strcmp(start->uid.uuid, portal->id.uuid) != 0)
        rc = yoke_raise("yoke.BadMessage", EPERM, "Start.uid is not the actor of this link");
    else if (yk_dialog_find(portal, start->cid) != NULL)
        rc = yoke_raise("yoke.BadMessage", EEXIST, "Start.cid is in use");
    else if (endpoint == NULL)
        rc = yoke_raise(missing_type(portal, start), YOKE_ENOTEXPOSED,
                        "actor %s has no endpoint %s:%s", self, start->ns, start->func);
    else if (is_runtimes(endpoint) && portal->actor->registry == NULL)
        rc = yoke_raise("yoke.NotExposed", YOKE_ENOTEXPOSED, "actor %s is not a registrar", self);
    else if (!is_runtimes(endpoint) && !yk_endpoint_exposed(portal->actor->expose, endpoint->name))
        rc = yoke_raise("yoke.NotExposed", YOKE_ENOTEXPOSED,
                        "actor %s does not expose %s (it exposes: %s)", self, endpoint->name,
                        portal->actor->expose != NULL ? portal->actor->expose : "nothing");
    else
        rc = spawn_server(portal, start, endpoint);
    if (rc < 0) {
        refuse(portal, start->cid);
        /* An error told costs much: who asks for many must not keep this thread to itself. */
        yk_runtime_current->current->runtime->budget = 1;
    }
}

int yoke_context_started(struct yoke_context *ctx, struct yoke_value first)
{
    struct yk_task *task = yk_task_self("yoke_context_started");
    struct yk_dialog *dialog = ctx->dialog;
    struct yk_message message = {
        .type = YK_STARTED,
        .as.payload = {.cid = dialog->cid, .pld = first},
    };
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    if (dialog->opener)
        return yoke_raise("yoke.Misuse", EINVAL, "yoke_context_started by the opener of %s",
                          dialog->endpoint);
    if (dialog->started)
        return yoke_raise("yoke.Misuse", EINVAL, "yoke_context_started called twice by %s",
                          dialog->endpoint);
    rc = yk_specs_check_sent(dialog, YK_SPEC_STARTED, first);
    if (rc == 0)
        rc = yk_portal_send(dialog->portal, &message);
    if (rc == 0)
        dialog->started = true;
    return rc;
}

int yoke_context_return(struct yoke_context *ctx, struct yoke_value result)
{
    struct yk_dialog *dialog = ctx->dialog;
    struct yoke_value *copy;
    int rc;

    yk_task_self("yoke_context_return");
    if (dialog->opener)
        return yoke_raise("yoke.Misuse", EINVAL, "yoke_context_return by the opener of %s",
                          dialog->endpoint);
    rc = yk_specs_check_sent(dialog, YK_SPEC_RESULT, result);
    if (rc < 0)
        return rc;
    copy = yoke_value_copy(result);
    if (copy == NULL)
        return yoke_raise("yoke.Context", ENOMEM, "no memory for the result of %s",
                          dialog->endpoint);
    yoke_value_free(dialog->result);
    dialog->result = copy;
    return 0;
}
