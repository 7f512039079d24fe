/* SPDX-License-Identifier: MIT */
/*
 * Cancel scopes. The scopes of a runtime form a tree; a task hangs below its innermost scope, and a
 * nursery's scope is the parent of its children's. `effective` caches, for each scope, whether a
 * checkpoint inside is to raise Cancelled: it was cancelled itself, or it has no shield and its
 * parent is effective. Requests, shields and moves recompute it downwards from where they happen.
 *
 * Who absorbs is decided when a scope closes, not when the Cancelled is raised (as in trio): the
 * scope was cancelled and no cancellation around it is visible. So a Cancelled that began at an
 * inner scope goes on if an outer one was cancelled meanwhile; its causes are then replaced.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/text.h"
#include "task/instrument.h"
#include "task/task.h"

enum { SCOPE_OPEN = YK_SCOPE_OPEN, SCOPE_CLOSED = YK_SCOPE_CLOSED };
enum {
    VISIBLE_MAX = 32
}; /* cancelled scopes told by one Cancelled; deeper inner ones are left out */

/* The cancelled scopes visible from `scope`, innermost first. */
static size_t visible_causes(struct yoke_scope *scope, struct yoke_cause **causes)
{
    size_t n = 0;

    for (; scope != NULL && scope->effective; scope = scope->parent) {
        if (scope->cancel_called) {
            if (n == VISIBLE_MAX)
                n--; /* the outermost must be told; it overwrites the last inner one */
            causes[n++] = scope->cause;
        }
        if (scope->shield)
            break;
    }
    return n;
}

/* The same as a target and the inner ones, outermost first. NULL if nothing is cancelled. */
static struct yoke_cause *target_and_inner(struct yoke_scope *scope, struct yoke_cause **inner,
                                           size_t *ret_inner_n)
{
    struct yoke_cause *causes[VISIBLE_MAX];
    size_t n = visible_causes(scope, causes);

    *ret_inner_n = 0;
    if (n == 0)
        return NULL;
    for (size_t i = n - 1; i > 0; i--)
        inner[(*ret_inner_n)++] = causes[i - 1];
    return causes[n - 1];
}

int yk_deliver(struct yk_task *task)
{
    struct yoke_cause *inner[VISIBLE_MAX];
    size_t inner_n;
    struct yoke_cause *target = target_and_inner(task->scope, inner, &inner_n);

    yk_assert(target != NULL);
    yk_event_cancel_delivered(task, target);
    return yk_raise_cancelled(NULL, target, inner, inner_n);
}

int yk_deliver_beyond(struct yk_task *task, struct yoke_scope *scope)
{
    struct yoke_cause *inner[VISIBLE_MAX];
    struct yoke_cause *target;
    size_t inner_n;

    while (scope != NULL && !scope->effective)
        scope = scope->parent;
    target = target_and_inner(scope, inner, &inner_n);
    if (target == NULL)
        return 0;
    yk_event_cancel_delivered(task, target);
    return yk_raise_cancelled(NULL, target, inner, inner_n);
}

const struct yoke_cause *yk_task_why(const struct yk_task *task)
{
    struct yoke_cause *causes[VISIBLE_MAX];
    size_t n = visible_causes(task->scope, causes);

    return n == 0 ? NULL : causes[n - 1];
}

const struct yoke_cause *yoke_why(void)
{
    const struct yk_task *task = yk_task_self_or_null();

    return task == NULL ? NULL : yk_task_why(task);
}

static void cancel_parked(struct yk_task *task)
{
    struct yk_locus *locus = yk_locus_current;

    if (task->state != YK_TASK_PARKED || task->abort == NULL)
        return;
    if (!task->abort(task, task->abort_arg))
        return;
    yk_locus_current = &task->locus;
    yk_deliver(task);
    yk_locus_current = locus;
    yk_wake(task, YOKE_CANCELLED);
}

/* Recomputes one scope; true if it changed, and its children must follow. */
static bool update_one(struct yoke_scope *scope)
{
    bool effective = scope->cancel_called ||
                     (!scope->shield && scope->parent != NULL && scope->parent->effective);

    if (effective == scope->effective)
        return false;
    scope->effective = effective;
    if (effective)
        yk_list_for_each (node, &scope->tasks) {
            __builtin_prefetch(node_next, 1); /* many tasks, each in a page of its own */
            __builtin_prefetch((char *)node_next + YK_CACHE_LINE, 1);
            cancel_parked(yk_container_of(node, struct yk_task, in_scope));
        }
    return true;
}

/* Depth first over the changed part of the tree, without recursion: task stacks are small. */
void yk_scope_update(struct yoke_scope *top)
{
    struct yoke_scope *scope = top;
    bool changed = update_one(scope);

    for (;;) {
        if (changed && !yk_list_empty(&scope->children)) {
            scope = yk_container_of(scope->children.next, struct yoke_scope, sibling);
        } else {
            while (scope != top && scope->sibling.next == &scope->parent->children)
                scope = scope->parent;
            if (scope == top)
                return;
            scope = yk_container_of(scope->sibling.next, struct yoke_scope, sibling);
        }
        changed = update_one(scope);
    }
}

static void describe(const struct yoke_scope *scope, struct yoke_scope_info *info)
{
    const struct yk_task *task = scope->task;

    memset(info, 0, sizeof *info);
    info->id = scope->id;
    YK_TEXT_COPY(info->name, scope->name);
    if (scope->site != NULL) {
        YK_TEXT_COPY(info->file, scope->site->file);
        info->line = scope->site->line;
    }
    if (task != NULL) {
        info->actor = task->runtime->actor;
        info->task_id = task->locus.task_id;
        YK_TEXT_COPY(info->task_name, yk_task_name(task));
    }
}

/* Takes over the reference. */
static void cancel_scope(struct yoke_scope *scope, struct yoke_cause *cause)
{
    yk_event_cancel_requested(scope, cause);
    if (scope->cancel_called) {
        if (scope->later_n < YK_SCOPE_LATER_CAUSES_MAX)
            scope->later[scope->later_n++] = cause;
        else
            yoke_cause_unref(cause);
        return;
    }
    scope->cause = cause;
    scope->cancel_called = true;
    yk_scope_update(scope);
}

void yk_scope_cancel_with(struct yoke_scope *scope, struct yk_cause_spec *spec)
{
    struct yoke_scope_info info;

    yk_assert(scope->magic == SCOPE_OPEN);
    describe(scope, &info);
    spec->scope = &info;
    cancel_scope(scope, yk_cause_new(spec));
}

void yk_scope_cancel_cause(struct yoke_scope *scope, const struct yoke_cause *cause)
{
    struct yoke_scope_info info;

    yk_assert(scope->magic == SCOPE_OPEN);
    describe(scope, &info);
    cancel_scope(scope, yk_cause_for_scope(cause, &info));
}

void yoke_scope_cancel_at(const struct yoke_site *site, struct yoke_scope *scope,
                          const char *reason)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_TASK,
        .kind = YOKE_CAUSE_SCOPE,
        .site = site,
        .reason = reason,
    };

    if (scope->magic == SCOPE_CLOSED)
        return; /* too late to matter, and a race that callers can't avoid */
    if (scope->magic != SCOPE_OPEN)
        yk_misuse(site, NULL, NULL, "cancel of a scope that was never opened");
    yk_task_self("yoke_scope_cancel");
    yk_scope_cancel_with(scope, &spec);
}

struct yoke_cause *yk_cause_new_as(struct yk_locus *who, const struct yk_cause_spec *spec)
{
    struct yk_locus *locus = yk_locus_current;
    struct yoke_cause *cause;

    yk_locus_current = who;
    cause = yk_cause_new(spec);
    yk_locus_current = locus;
    return cause;
}

/* The request is ascribed to the task that set the deadline, in whatever actor that is. */
struct yoke_cause *yk_scope_deadline_cause(const struct yoke_scope *scope)
{
    const struct yoke_cause *because = scope->deadline_because;
    struct yk_cause_spec spec = {
        .layer = because == NULL ? YOKE_LAYER_TASK : YOKE_LAYER_CONTEXT,
        .kind = YOKE_CAUSE_DEADLINE,
        .site = because == NULL ? scope->site : NULL,
        .reason = because == NULL ? NULL : "deadline of the opener",
        .because = because,
    };
    struct yk_locus opener = {.task_name = ""};
    struct yoke_scope_info info;

    describe(scope, &info);
    spec.scope = &info;
    if (because == NULL)
        return yk_cause_new_as(&scope->task->locus, &spec);
    opener.actor = &because->requester.actor;
    opener.task_id = because->requester.task_id;
    opener.task_name = because->requester.task_name;
    return yk_cause_new_as(&opener, &spec);
}

/* Timer callback, on the scheduler's stack. */
static void deadline_expired(struct yk_timer *timer)
{
    struct yoke_scope *scope = yk_container_of(timer, struct yoke_scope, timer);

    cancel_scope(scope, yk_scope_deadline_cause(scope));
}

/* What is in a scope may see another deadline now. */
static void deadlines_moved(struct yoke_scope *scope)
{
    struct yoke_runtime *runtime = yk_runtime_current;

    if (runtime->deadlines_moved != NULL && !yk_list_empty(&scope->children))
        runtime->deadlines_moved(runtime);
}

void yk_scope_enter(struct yoke_scope *scope, struct yk_task *task, const char *name,
                    const struct yoke_site *site, bool shield)
{
    memset(scope, 0, offsetof(struct yoke_scope, later)); /* later_n says what of that there is */
    yk_list_init(&scope->children);
    yk_list_init(&scope->tasks);
    scope->magic = SCOPE_OPEN;
    scope->id = ++yk_runtime_current->next_id;
    scope->site = site;
    scope->name = name != NULL ? name : site->function;
    scope->shield = shield;
    scope->timer.deadline_ns = YOKE_NEVER;
    scope->timer.expired = deadline_expired;
    yk_list_init(&scope->sibling);
    if (task == NULL)
        return; /* the root of a runtime */
    scope->task = task;
    scope->parent = task->scope;
    scope->effective = !shield && scope->parent->effective;
    if (yk_flight_any(&task->locus))
        scope->flight_at_open = yoke_error_ref(yk_flight_now(&task->locus));
    yk_list_append(&scope->parent->children, &scope->sibling);
    yk_list_move(&scope->tasks, &task->in_scope);
    task->scope = scope;
}

int yk_scope_set_deadlines(struct yoke_scope *scope, int64_t timeout_ns, int64_t deadline_ns)
{
    int64_t deadline = deadline_ns != 0 ? deadline_ns : YOKE_NEVER;

    if (timeout_ns != 0) {
        int64_t now = yk_now(yk_runtime_current);
        int64_t relative = timeout_ns > YOKE_NEVER - now ? YOKE_NEVER : now + timeout_ns;

        if (relative < deadline)
            deadline = relative;
    }
    return deadline == YOKE_NEVER ? 0 : yoke_scope_set_deadline(scope, deadline);
}

int yoke_scope_set_deadline(struct yoke_scope *scope, int64_t deadline_ns)
{
    struct yoke_runtime *runtime = yk_task_self("yoke_scope_set_deadline")->runtime;

    if (scope->magic != SCOPE_OPEN)
        yk_misuse(scope->site, NULL, NULL, "deadline set on a scope that is not open");
    if (deadline_ns == YOKE_NEVER) {
        yk_timer_disarm(&runtime->timers, &scope->timer);
        scope->timer.deadline_ns = YOKE_NEVER;
    } else if (deadline_ns <= yk_now(runtime)) {
        yk_timer_disarm(&runtime->timers, &scope->timer);
        scope->timer.deadline_ns = deadline_ns;
        if (!scope->cancel_called)
            deadline_expired(&scope->timer);
    } else if (yk_timer_arm(&runtime->timers, &scope->timer, deadline_ns) < 0) {
        return yoke_raise("yoke.Scope", ENOMEM, "no memory for the timer of scope \"%s\"",
                          scope->name);
    }
    deadlines_moved(scope);
    return 0;
}

void yoke_scope_set_shield(struct yoke_scope *scope, bool shield)
{
    yk_task_self("yoke_scope_set_shield");
    if (scope->magic != SCOPE_OPEN)
        yk_misuse(scope->site, NULL, NULL, "shield set on a scope that is not open");
    if (scope->shield == shield)
        return;
    scope->shield = shield;
    yk_scope_update(scope);
    deadlines_moved(scope);
}

int yoke_scope_open_at(const struct yoke_site *site, struct yoke_scope *scope,
                       const struct yoke_scope_opts *opts)
{
    static const struct yoke_scope_opts defaults;
    struct yk_task *task = yk_task_self("yoke_scope_open");

    if (opts == NULL)
        opts = &defaults;
    yk_scope_enter(scope, task, opts->name, site, opts->shield);
    scope->late_is_error = opts->late_is_error;
    return yk_scope_deadlines(scope, opts->timeout_ns, opts->deadline_ns);
}

void yk_scope_check_innermost(const struct yoke_scope *scope, struct yk_task *task,
                              const struct yoke_site *here)
{
    if (scope->magic == SCOPE_CLOSED)
        yk_misuse(here, "opened at", scope->site, "scope \"%s\" closed twice", scope->name);
    if (scope->magic != SCOPE_OPEN)
        yk_misuse(here, NULL, NULL, "close of a scope that was never opened");
    if (scope->task != task)
        yk_misuse(here, "opened at", scope->site,
                  "scope \"%s\" closed by task %s, but opened by task %s", scope->name,
                  yk_task_name(task), yk_task_name(scope->task));
    if (task->scope != scope)
        yk_misuse(here != NULL ? here : scope->site, "still open, opened at", task->scope->site,
                  "scope \"%s\" closed before scope \"%s\", which was opened inside it",
                  scope->name, task->scope->name);
}

void yk_scope_leave(struct yoke_scope *scope)
{
    struct yk_task *task = scope->task;
    struct yoke_runtime *runtime = yk_runtime_current;

    yk_assert(yk_list_empty(&scope->children));
    if (scope->timer.place != 0)
        yk_timer_disarm(&runtime->timers, &scope->timer);
    yk_list_remove(&scope->sibling);
    scope->magic = SCOPE_CLOSED;
    for (unsigned i = 0; i < scope->later_n; i++)
        yoke_cause_unref(scope->later[i]);
    if (task != NULL) {
        yk_list_move(&scope->parent->tasks, &task->in_scope);
        task->scope = scope->parent;
    }
    if (scope->cause != NULL && task != NULL) {
        yoke_cause_unref(task->kept_cause);
        task->owes = true;
        task->kept_cause = scope->cause; /* yoke_scope_cause() can be asked after close */
    } else if (scope->cause != NULL) {
        yoke_cause_unref(scope->cause);
    }
    if (scope->flight_at_open != NULL)
        scope->flight_at_open = yoke_error_unref(scope->flight_at_open);
    if (scope->deadline_because != NULL)
        scope->deadline_because = yoke_cause_unref(scope->deadline_because);
}

/* The error of a negative result that raised nothing. */
static struct yoke_error *error_of_code(struct yk_task *task, int rc, const struct yoke_site *site)
{
    if (rc == YOKE_CANCELLED && task->scope->effective) {
        yk_deliver(task);
        return yk_flight_take(&task->locus);
    }
    return yk_error_make(site, "yoke.Error", rc, "returned %s (%d) without raising an error",
                         yoke_strcode(rc), rc);
}

struct yoke_error *yk_take_body_failure(struct yk_task *task, const struct yoke_error *at_open,
                                        int rc, const struct yoke_site *site)
{
    struct yoke_error *in_flight;

    in_flight = yk_flight_now(&task->locus);
    if (in_flight != NULL && in_flight != at_open)
        return yk_flight_take(&task->locus);
    if (rc < 0 && in_flight == NULL)
        return error_of_code(task, rc, site);
    return NULL;
}

int yk_scope_caught(struct yoke_scope *scope)
{
    scope->caught = true;
    if (!scope->late_is_error || scope->cause->kind != YOKE_CAUSE_DEADLINE)
        return 0;
    return yoke_raise_at(scope->site, NULL, "yoke.TooSlow", ETIMEDOUT,
                         "scope \"%s\" was cut short by its deadline", scope->name);
}

/*
 * Closing with a Cancelled that nobody has looked at, where it is clear without looking what
 * becomes of it: absorbed here, or passed on as it is. false: it is not clear.
 */
static bool close_pending(struct yoke_scope *scope, struct yk_task *task, bool visible, int *ret_rc)
{
    struct yoke_cause *causes[VISIBLE_MAX];
    size_t n;

    if (scope->cancel_called && !visible) {
        yk_scope_leave(scope);
        yk_flight_absorb_pending(&task->locus);
        *ret_rc = yk_scope_caught(scope);
        return true;
    }
    if (scope->cancel_called || !visible)
        return false;
    n = visible_causes(scope->parent, causes);
    if (n != 1 || causes[0] != task->locus.pending)
        return false;
    yk_scope_leave(scope);
    *ret_rc = YOKE_CANCELLED;
    return true;
}

int yoke_scope_close(struct yoke_scope *scope, int rc)
{
    struct yk_task *task = yk_task_self("yoke_scope_close");
    struct yk_locus *locus = &task->locus;
    struct yoke_error *failure;
    bool visible;

    yk_scope_check_innermost(scope, task, NULL);
    visible = !scope->shield && scope->parent->effective;
    if (locus->pending != NULL && close_pending(scope, task, visible, &rc))
        return rc;
    failure = yk_body_failure(task, scope->flight_at_open, rc, scope->site);
    yk_scope_leave(scope);
    if (failure == NULL && rc == YOKE_CANCELLED && scope->cancel_called && !visible) {
        /* The error in flight since before the scope only suppresses the Cancelled, or is one. */
        return yk_scope_caught(scope);
    }
    if (failure == NULL)
        return rc;
    if (failure->cancelled && scope->cancel_called && !visible) {
        yk_error_absorb(failure);
        return yk_scope_caught(scope);
    }
    rc = yk_flight_raise(locus, failure);
    if (locus->in_flight->cancelled && visible) {
        struct yoke_cause *inner[VISIBLE_MAX + 1];
        size_t inner_n;
        struct yoke_cause *target = target_and_inner(task->scope, inner, &inner_n);

        if (scope->cancel_called && inner_n < VISIBLE_MAX)
            inner[inner_n++] = task->kept_cause;
        if (target != yoke_error_cause(locus->in_flight))
            yk_retarget_cancelled(locus, target, inner, inner_n);
    }
    return rc;
}

int64_t yoke_scope_deadline(const struct yoke_scope *scope)
{
    return scope->timer.deadline_ns;
}

bool yoke_scope_cancel_called(const struct yoke_scope *scope)
{
    struct yk_task *task = yk_task_self_or_null();

    /* A deadline that has passed counts even before the loop had its turn to notice it. */
    if (!scope->cancel_called && scope->magic == SCOPE_OPEN && scope->timer.place != 0 &&
        task != NULL) {
        struct yoke_scope *open = (struct yoke_scope *)(uintptr_t)scope;
        int64_t now = task->runtime->host->ops->now(task->runtime->host);

        if (scope->timer.deadline_ns <= now) {
            yk_timer_disarm(&task->runtime->timers, &open->timer);
            deadline_expired(&open->timer);
        }
    }
    return scope->cancel_called;
}

bool yoke_scope_cancelled_caught(const struct yoke_scope *scope)
{
    return scope->caught;
}

const struct yoke_cause *yoke_scope_cause(const struct yoke_scope *scope)
{
    struct yk_task *task = yk_task_self_or_null();

    if (scope->magic == SCOPE_OPEN)
        return scope->cause;
    if (task == NULL || scope->cause == NULL || task->kept_cause != scope->cause)
        return NULL;
    return scope->cause;
}

size_t yoke_scope_later_cause_count(const struct yoke_scope *scope)
{
    return scope->magic == SCOPE_OPEN ? scope->later_n : 0;
}

const struct yoke_cause *yoke_scope_later_cause(const struct yoke_scope *scope, size_t i)
{
    return i < yoke_scope_later_cause_count(scope) ? scope->later[i] : NULL;
}

struct yoke_scope *yk_scope_nearest_deadline(struct yoke_scope *scope)
{
    struct yoke_scope *nearest = NULL;
    int64_t earliest = YOKE_NEVER;

    for (; scope != NULL; scope = scope->parent) {
        if (scope->timer.deadline_ns < earliest) {
            earliest = scope->timer.deadline_ns;
            nearest = scope;
        }
        if (scope->shield)
            break;
    }
    return nearest;
}

int64_t yoke_effective_deadline(void)
{
    struct yk_task *task = yk_task_self("yoke_effective_deadline");
    struct yoke_scope *nearest = yk_scope_nearest_deadline(task->scope);

    return nearest != NULL ? nearest->timer.deadline_ns : YOKE_NEVER;
}
