/* SPDX-License-Identifier: MIT */
/*
 * Nurseries, and the started handshake. A nursery is a scope, a list of children, and the errors
 * collected so far; its result is put together when all children are done, by the one rule of
 * nursery_result(). Child errors are added in the order of failing; a body's error goes first.
 *
 * yoke_start puts the child into a nursery of its own in the caller's frame, and moves it, with
 * the scopes it has open, to the target when it reports (trio does the same): so a cancellation of
 * the starter reaches exactly the children that have not started yet.
 */
#include "base/check.h"
#include "base/memory.h"
#include "task/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { NURSERY_OPEN = 0x4e09e01, NURSERY_CLOSED = 0x4e09e02 };

int yoke_nursery_open_at(const struct yoke_site *site, struct yoke_nursery *nursery,
                         const struct yoke_nursery_opts *opts)
{
    static const struct yoke_nursery_opts defaults;
    struct yk_task *task = yk_task_self("yoke_nursery_open");

    if (opts == NULL)
        opts = &defaults;
    memset((char *)nursery + sizeof nursery->scope, 0, sizeof *nursery - sizeof nursery->scope);
    nursery->magic = NURSERY_OPEN;
    yk_scope_enter(&nursery->scope, task, opts->name, site, opts->shield);
    nursery->scope.late_is_error = opts->late_is_error;
    nursery->scope.nursery = true;
    return yk_scope_deadlines(&nursery->scope, opts->timeout_ns, opts->deadline_ns);
}

struct yoke_scope *yoke_nursery_scope(struct yoke_nursery *nursery)
{
    return &nursery->scope;
}

/* Whether the same object is among them: one death seen by several tasks is one error. */
static bool has_error(const struct yoke_nursery *nursery, const struct yoke_error *error)
{
    if (nursery->first_error == error)
        return true;
    for (size_t i = 0; i < nursery->more_count; i++)
        if (nursery->more_errors[i] == error)
            return true;
    return false;
}

/* Takes over the reference. Without memory the error is kept as a suppressed one of the first. */
static void add_error(struct yoke_nursery *nursery, struct yoke_error *error)
{
    if (has_error(nursery, error)) {
        yoke_error_unref(error);
        return;
    }
    if (nursery->first_error == NULL) {
        nursery->first_error = error;
        return;
    }
    if (nursery->more_count == nursery->more_capacity) {
        size_t capacity = nursery->more_capacity == 0 ? 8 : nursery->more_capacity * 2;
        struct yoke_error **more = yk_realloc(nursery->more_errors, capacity * sizeof(*more));

        if (more == NULL) {
            yk_error_suppress(nursery->first_error, error);
            return;
        }
        nursery->more_errors = more;
        nursery->more_capacity = capacity;
    }
    nursery->more_errors[nursery->more_count++] = error;
}

/* The body failed while children have failed already: its error goes first. */
static void add_body_error(struct yoke_nursery *nursery, struct yoke_error *error)
{
    struct yoke_error *first = nursery->first_error;

    if (first == NULL || has_error(nursery, error)) {
        add_error(nursery, error);
        return;
    }
    nursery->first_error = error;
    add_error(nursery, first);
    if (nursery->more_count > 1) {
        struct yoke_error *moved = nursery->more_errors[nursery->more_count - 1];

        memmove(nursery->more_errors + 1, nursery->more_errors,
                (nursery->more_count - 1) * sizeof(*nursery->more_errors));
        nursery->more_errors[0] = moved;
    }
}

static void cancel_for(struct yoke_nursery *nursery, enum yoke_cause_kind kind,
                       const struct yoke_error *error)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_TASK,
        .kind = kind,
        .site = yoke_error_site(error),
        .because = error->cause,
        .error = error->cancelled ? NULL : error,
    };

    yk_scope_cancel_with(&nursery->scope, &spec);
}

/* A failure of the body or a child. Takes over the reference. */
static void fail(struct yoke_nursery *nursery, struct yoke_error *error, bool body)
{
    enum yoke_cause_kind kind = body ? YOKE_CAUSE_BODY_FAILED : YOKE_CAUSE_CHILD_FAILED;

    if (!error->cancelled) {
        cancel_for(nursery, kind, error);
        if (body)
            add_body_error(nursery, error);
        else
            add_error(nursery, error);
        return;
    }
    nursery->cancelled_seen = true;
    if (!nursery->scope.effective)
        cancel_for(nursery, kind, error); /* a Cancelled that strayed here: trio cancels too */
    /* The closer gets a Cancelled of its own if the cancellation is visible from outside. */
    yk_error_absorb(error);
}

static void wake_closer(struct yoke_nursery *nursery)
{
    struct yk_task *closer = nursery->closer;

    if (closer == NULL || nursery->child_count > 0 || nursery->pending_starts > 0)
        return;
    nursery->closer = NULL;
    yk_wake(closer, 0);
}

/* A Cancelled that nobody has looked at, and that this nursery's cancellation accounts for. */
static bool absorb_pending(struct yoke_nursery *nursery, struct yk_locus *locus)
{
    if (locus->pending == NULL || !nursery->scope.effective)
        return false;
    nursery->cancelled_seen = true;
    yk_flight_absorb_pending(locus);
    return true;
}

void yk_nursery_child_done(struct yoke_nursery *nursery, struct yk_task *task, int rc)
{
    struct yoke_error *error = NULL;

    if (!absorb_pending(nursery, &task->locus))
        error = yk_body_failure(task, NULL, rc, task->site);
    if (error != NULL)
        fail(nursery, error, false);
    nursery->child_count--;
    wake_closer(nursery);
}

/* The children are in the nursery's scope and get the cancellation themselves. */
static bool refuse_abort(struct yk_task *task, void *arg)
{
    struct yoke_nursery *nursery = arg;

    (void)task;
    nursery->cancelled_seen = true;
    return false;
}

static void wait_for_children(struct yoke_nursery *nursery, struct yk_task *task)
{
    if (nursery->child_count == 0 && nursery->pending_starts == 0)
        yk_completed_at_once(task);
    while (nursery->child_count > 0 || nursery->pending_starts > 0) {
        nursery->closer = task;
        (void)yk_park(task, "nursery close", refuse_abort, nursery);
    }
    nursery->closer = NULL;
}

/* All collected errors as one; NULL if there are none. */
static struct yoke_error *collected_error(struct yoke_nursery *nursery)
{
    struct yoke_error *error = nursery->first_error;

    if (error == NULL)
        return NULL;
    if (nursery->more_count > 0) {
        size_t n = nursery->more_count + 1;
        struct yoke_error **all = yk_malloc(n * sizeof(*all));
        char message[64];

        snprintf(message, sizeof message, "%zu tasks failed", n);
        if (all == NULL) {
            for (size_t i = 0; i < n - 1; i++)
                yk_error_suppress(error, nursery->more_errors[i]);
        } else {
            all[0] = error;
            memcpy(all + 1, nursery->more_errors, (n - 1) * sizeof(*all));
            error = yk_error_make_group(nursery->scope.site, all, n, message);
            free(all);
        }
    }
    free(nursery->more_errors);
    nursery->first_error = NULL;
    nursery->more_errors = NULL;
    nursery->more_count = 0;
    return error;
}

/* Puts the outcome together, still inside the nursery's scope. Returns what close gives. */
static int nursery_result(struct yoke_nursery *nursery, struct yk_task *task, int rc)
{
    struct yoke_scope *scope = &nursery->scope;
    struct yoke_error *error = collected_error(nursery);
    bool visible = !scope->shield && scope->parent->effective;

    if (error != NULL)
        rc = yk_flight_raise(&task->locus, error);
    if (nursery->cancelled_seen && visible) {
        int cancelled_rc = yk_deliver(task); /* over an error it is only suppressed */

        return rc < 0 ? rc : cancelled_rc;
    }
    if (nursery->cancelled_seen && !scope->cancel_called) {
        /* What cancelled a child is behind a shield by now: it goes on to there, as in trio. */
        int cancelled_rc = yk_deliver_beyond(task, scope->parent);

        return rc < 0 ? rc : cancelled_rc;
    }
    if (nursery->cancelled_seen && scope->cancel_called) {
        int late_rc = yk_scope_caught(scope);

        rc = late_rc < 0 ? late_rc : rc;
    }
    return rc;
}

/*
 * A body that fails with the error that was in flight when the nursery was opened: that stays in
 * flight, and is not collected, but the children are cancelled because of it.
 */
static void stop_for_older_error(struct yoke_nursery *nursery, struct yk_task *task, int rc)
{
    if (rc == YOKE_CANCELLED) {
        nursery->cancelled_seen = true;
        if (nursery->scope.effective)
            return;
    }
    cancel_for(nursery, YOKE_CAUSE_BODY_FAILED, yk_flight_now(&task->locus));
}

int yoke_nursery_close_at(const struct yoke_site *site, struct yoke_nursery *nursery, int rc)
{
    struct yk_task *task = yk_task_self("yoke_nursery_close");
    struct yoke_error *failure;

    if (nursery->magic != NURSERY_OPEN)
        yk_misuse(site, nursery->magic == NURSERY_CLOSED ? "opened at" : NULL,
                  nursery->magic == NURSERY_CLOSED ? nursery->scope.site : NULL,
                  "close of a nursery that is not open");
    yk_scope_check_innermost(&nursery->scope, task, site);
    if (absorb_pending(nursery, &task->locus)) {
        rc = 0;
    } else {
        failure = yk_body_failure(task, nursery->scope.flight_at_open, rc, site);
        if (failure != NULL)
            fail(nursery, failure, true);
        else if (rc < 0)
            stop_for_older_error(nursery, task, rc);
        if (failure != NULL || rc > 0 || rc == YOKE_CANCELLED)
            rc = 0; /* a failure is collected; what is left is 0, or an older error's code */
    }
    wait_for_children(nursery, task);
    nursery->magic = NURSERY_CLOSED;
    rc = nursery_result(nursery, task, rc);
    yk_scope_leave(&nursery->scope);
    return rc;
}

static void check_open(const struct yoke_site *site, const struct yoke_nursery *nursery,
                       const char *call)
{
    if (nursery->magic == NURSERY_CLOSED)
        yk_misuse(site, "nursery opened at", nursery->scope.site, "%s into a closed nursery", call);
    if (nursery->magic != NURSERY_OPEN)
        yk_misuse(site, NULL, NULL, "%s into a nursery that was never opened", call);
}

static const char *given_name(const struct yoke_task_opts *opts)
{
    return opts != NULL ? opts->name : NULL;
}

int yoke_spawn_at(const struct yoke_site *site, struct yoke_nursery *nursery, yoke_task_fn fn,
                  const char *fn_name, void *arg, const struct yoke_task_opts *opts)
{
    struct yk_task *child;

    yk_task_self("yoke_spawn");
    check_open(site, nursery, "spawn");
    return yk_task_new(nursery, site, fn, fn_name, given_name(opts), arg, &child);
}

/* The child ended, or was moved; what yoke_start gives. */
static int start_result(const struct yoke_site *site, const struct yk_start_handshake *handshake,
                        struct yk_task *task, const char *name, int rc, void **ret_value)
{
    if (rc < 0)
        return rc;
    if (!handshake->done) {
        rc = yk_check_cancelled(task);
        if (rc == 0 && handshake->starting->cancelled_seen)
            rc = yk_deliver_beyond(task, task->scope); /* it was shielded while the child ended */
        if (rc < 0)
            return rc;
        return yoke_raise_at(site, NULL, "yoke.NotStarted", ECHILD,
                             "task %s ended before it reported yoke_started", name);
    }
    if (ret_value != NULL)
        *ret_value = handshake->value;
    return 0;
}

int yoke_start_at(const struct yoke_site *site, struct yoke_nursery *nursery, yoke_task_fn fn,
                  const char *fn_name, void *arg, const struct yoke_task_opts *opts,
                  void **ret_value)
{
    struct yk_task *task = yk_task_self("yoke_start");
    struct yoke_nursery starting;
    struct yk_start_handshake handshake = {.starting = &starting, .target = nursery};
    const char *name = given_name(opts);
    struct yk_task *child;
    int rc;

    check_open(site, nursery, "start");
    rc = yk_check_cancelled(task);
    if (rc < 0)
        return rc;
    nursery->pending_starts++;
    rc = yoke_nursery_open_at(site, &starting,
                              &(struct yoke_nursery_opts){.name = name != NULL ? name : fn_name});
    if (rc == 0)
        rc = yk_task_new(&starting, site, fn, fn_name, name, arg, &child);
    if (rc == 0)
        child->handshake = &handshake;
    rc = yoke_nursery_close_at(site, &starting, rc);
    rc = start_result(site, &handshake, task, name != NULL ? name : fn_name, rc, ret_value);
    nursery->pending_starts--;
    wake_closer(nursery);
    return rc;
}

/* Moves a task and the scopes it has open from one nursery to another. */
static void move_child(struct yk_task *child, struct yoke_nursery *from, struct yoke_nursery *to)
{
    from->child_count--;
    to->child_count++;
    child->nursery = to;
    if (child->scope == &from->scope) {
        yk_list_remove(&child->in_scope);
        yk_list_append(&to->scope.tasks, &child->in_scope);
        child->scope = &to->scope;
        return;
    }
    yk_list_for_each (node, &from->scope.children) {
        struct yoke_scope *scope = yk_container_of(node, struct yoke_scope, sibling);

        if (scope->task != child)
            continue;
        yk_list_remove(&scope->sibling);
        yk_list_append(&to->scope.children, &scope->sibling);
        scope->parent = &to->scope;
        yk_scope_update(scope);
    }
    if (child->runtime->deadlines_moved != NULL)
        child->runtime->deadlines_moved(child->runtime);
}

int yoke_started(void *value)
{
    struct yk_task *task = yk_task_self("yoke_started");
    struct yk_start_handshake *handshake = task->handshake;

    if (handshake == NULL)
        return yoke_raise("yoke.Misuse", EINVAL,
                          "task %s reported yoke_started, but was not begun by yoke_start, "
                          "or reported before",
                          yk_task_name(task));
    task->handshake = NULL;
    handshake->value = value;
    handshake->done = true;
    /* A starter that is being cancelled: the child ends where the Cancelled it may carry belongs.
     */
    if (handshake->starting->scope.effective)
        return 0;
    move_child(task, handshake->starting, handshake->target);
    wake_closer(handshake->starting);
    return 0;
}
