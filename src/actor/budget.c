/* SPDX-License-Identifier: MIT */
/*
 * Time budgets. The earliest deadline that is visible where a context is opened travels with its
 * Start as the time that is left, so that clocks need not agree, and bounds the endpoint's scope.
 * When a deadline around an open context is moved, or a shield is, its peer is told. Since the
 * endpoint's scope has a deadline then, contexts that it opens carry it on: over any number of
 * hops.
 *
 * No false expiry: the endpoint's deadline is YK_BUDGET_GRACE_NS behind the opener's. So the
 * opener's own request is the cause wherever it arrives; the endpoint's deadline strikes where the
 * opener can't reach it: it is stopped, does not give up its thread, or the link stands still. When
 * such an outcome arrives, the opener's deadline has passed, and is noticed before the result of
 * the context is put together.
 *
 * A cancel request says how long its sender will wait for the outcome. Whoever waits for a peer of
 * its own inside such a context waits for less, so that the one that does not answer is named by
 * its neighbour and not taken for all actors on the way.
 */
#include "actor/actor.h"
#include "base/limits.h"
#include "error/tree.h"

int64_t yk_budget_end(const struct yoke_portal *portal, int64_t budget_ns)
{
    int64_t now = yk_now(portal->actor->runtime);

    return budget_ns > YOKE_NEVER - now ? YOKE_NEVER : now + budget_ns;
}

/*
 * What is left until the deadline visible in `scope`, at least 1; 0: there is none. The value
 * borrows its texts from the cause, which the dialog keeps.
 */
static int64_t budget_in(struct yk_dialog *dialog, struct yoke_scope *scope, struct yk_arena *arena,
                         struct yoke_value *ret_cause)
{
    struct yoke_scope *nearest = yk_scope_nearest_deadline(scope);
    struct yoke_cause *cause;
    int64_t left;

    dialog->deadline_ns = nearest != NULL ? nearest->timer.deadline_ns : YOKE_NEVER;
    if (nearest == NULL)
        return 0;
    cause = yk_scope_deadline_cause(nearest);
    *ret_cause = yk_cause_to_value(arena, cause);
    yoke_cause_unref(dialog->deadline_because);
    dialog->deadline_because = cause;
    left = dialog->deadline_ns - yk_now(dialog->portal->actor->runtime);
    return left > 0 ? left : 1;
}

void yk_budget_begin(struct yk_dialog *dialog, struct yoke_scope *scope, struct yk_arena *arena,
                     struct yk_start *start)
{
    yk_list_append(&dialog->portal->actor->openers, &dialog->in_openers);
    if (dialog->portal->link.extensions)
        start->budget_ns = budget_in(dialog, scope, arena, &start->budget_cause);
}

static void tell_peer(struct yk_dialog *dialog)
{
    struct yk_message message = {.type = YK_BUDGET, .as.budget.cid = dialog->cid};
    struct yk_budget *budget = &message.as.budget;
    struct yoke_hold hold;
    struct yk_arena arena;

    yoke_hold(&hold);
    yk_arena_init(&arena);
    budget->budget_ns = budget_in(dialog, &dialog->ctx->scope, &arena, &budget->cause);
    if (yk_portal_send(dialog->portal, &message) < 0)
        yoke_clear(); /* no memory: the deadline here still ends the context */
    yk_arena_fini(&arena);
    (void)yoke_release(&hold);
}

void yk_budget_moved(struct yoke_runtime *runtime)
{
    struct yk_actor *actor = runtime->slots[YK_SLOT_ACTOR].data;

    yk_list_for_each (node, &actor->openers) {
        struct yk_dialog *dialog = yk_container_of(node, struct yk_dialog, in_openers);
        struct yoke_scope *nearest;
        int64_t deadline_ns;

        if (dialog->ctx == NULL || dialog->finished || !dialog->portal->link.extensions)
            continue;
        nearest = yk_scope_nearest_deadline(&dialog->ctx->scope);
        deadline_ns = nearest != NULL ? nearest->timer.deadline_ns : YOKE_NEVER;
        if (deadline_ns != dialog->deadline_ns)
            tell_peer(dialog);
    }
}

void yk_budget_received(struct yk_dialog *dialog, int64_t budget_ns, struct yoke_value cause)
{
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_TASK, .kind = YOKE_CAUSE_DEADLINE};
    struct yk_locus peer = {.actor = &dialog->portal->id, .task_name = ""};

    dialog->deadline_because = yoke_cause_unref(dialog->deadline_because);
    dialog->deadline_ns = YOKE_NEVER;
    if (budget_ns > 0 && budget_ns < YOKE_NEVER - YK_BUDGET_GRACE_NS)
        dialog->deadline_ns = yk_budget_end(dialog->portal, budget_ns + YK_BUDGET_GRACE_NS);
    if (dialog->deadline_ns != YOKE_NEVER && cause.type == YOKE_MAP_VALUE)
        dialog->deadline_because = yk_cause_from_value(cause);
    if (dialog->deadline_ns != YOKE_NEVER && dialog->deadline_because == NULL)
        dialog->deadline_because = yk_cause_new_as(&peer, &spec);
    if (dialog->ctx != NULL)
        yk_budget_apply(dialog);
}

void yk_budget_apply(struct yk_dialog *dialog)
{
    struct yoke_scope *scope = &dialog->ctx->scope;

    yoke_cause_unref(scope->deadline_because);
    scope->deadline_because = dialog->deadline_because;
    dialog->deadline_because = NULL;
    if (dialog->deadline_ns == scope->timer.deadline_ns)
        return;
    if (yoke_scope_set_deadline(scope, dialog->deadline_ns) < 0)
        yoke_clear(); /* no memory for a timer: the opener's own request will do */
}

void yk_budget_expire(const struct yk_dialog *dialog)
{
    const struct yoke_error *error = dialog->error;
    const struct yoke_scope *scope = &dialog->ctx->scope;

    if (error == NULL || error->cause == NULL || error->cause->kind != YOKE_CAUSE_DEADLINE ||
        error->cause->layer != YOKE_LAYER_CONTEXT)
        return;
    for (; !scope->shield && scope->parent != NULL; scope = scope->parent)
        (void)yoke_scope_cancel_called(scope->parent);
}

int64_t yk_budget_teardown(const struct yk_dialog *dialog)
{
    int64_t now = yk_now(dialog->portal->actor->runtime);
    int64_t teardown_ns = dialog->teardown_ns;

    for (const struct yoke_scope *scope = dialog->ctx->scope.parent; scope != NULL;
         scope = scope->parent) {
        const struct yoke_context *around;
        int64_t left;

        if (!scope->context)
            continue;
        around = yk_container_of(scope, struct yoke_context, scope);
        if (around->dialog == NULL || around->dialog->wanted_ns == YOKE_NEVER)
            continue;
        left = (around->dialog->wanted_ns - now) / 4 * 3;
        left = left > 1 ? left : 1;
        teardown_ns = left < teardown_ns ? left : teardown_ns;
    }
    return teardown_ns;
}
