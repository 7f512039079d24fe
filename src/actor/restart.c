/* SPDX-License-Identifier: MIT */
/*
 * Supervision: what the failure of one child means for the others of its nursery. Semantics of
 * Erlang/OTP's supervisors.
 *
 * There is no coordinating task. A failure marks the children that it affects; from then on each
 * change of a child's phase calls yk_supervisor_advance, which looks at all of them and does the
 * one next thing: tell the last affected one that still runs to go down, or, when none does, let
 * the first one start. So another failure amid a restart needs no case of its own: it marks more
 * children. And a nursery that is cancelled amid a restart only has supervising tasks to cancel.
 *
 * Everything runs in supervising tasks, and nothing here blocks but the ordered shutdown.
 */
#include <errno.h>
#include <stdlib.h>

#include "actor/child.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"

static int check(const struct yoke_actor_nursery_opts *opts)
{
    if ((unsigned)opts->strategy > YOKE_ONE_FOR_ALL)
        return yoke_raise("yoke.Misuse", EINVAL, "%d is no strategy", (int)opts->strategy);
    if (opts->max_restarts > YK_RESTARTS_MAX)
        return yoke_raise("yoke.Misuse", EINVAL, "max_restarts is %u: at most %d are counted",
                          opts->max_restarts, YK_RESTARTS_MAX);
    if (opts->period_ns < 0 || opts->backoff_ns < 0 || opts->backoff_max_ns < 0)
        return yoke_raise("yoke.Misuse", EINVAL, "a negative time of an actor nursery");
    return 0;
}

struct yk_supervisor *yk_supervisor_new(struct yoke_nursery *tasks,
                                        const struct yoke_actor_nursery_opts *opts)
{
    struct yk_supervisor *supervisor;

    if (opts != NULL && check(opts) < 0)
        return NULL;
    supervisor = yk_calloc(1, sizeof *supervisor);
    if (supervisor == NULL) {
        yoke_raise("yoke.Actor", ENOMEM, "no memory for an actor nursery");
        return NULL;
    }
    if (opts != NULL)
        supervisor->opts = *opts;
    opts = &supervisor->opts;
    if (opts->max_restarts == 0)
        supervisor->opts.max_restarts = YK_RESTARTS;
    if (opts->period_ns == 0)
        supervisor->opts.period_ns = YK_RESTART_PERIOD_NS;
    if (opts->backoff_ns == 0)
        supervisor->opts.backoff_ns = YK_BACKOFF_NS;
    if (opts->backoff_max_ns == 0)
        supervisor->opts.backoff_max_ns = YK_BACKOFF_MAX_NS;
    supervisor->tasks = tasks;
    yk_list_init(&supervisor->children);
    if (opts->strategy == YOKE_ONE_CANCELS_ALL)
        return supervisor;
    supervisor->failures = yk_calloc(opts->max_restarts, sizeof *supervisor->failures);
    if (supervisor->failures == NULL) {
        yoke_raise("yoke.Actor", ENOMEM, "no memory for an actor nursery");
        yk_supervisor_free(supervisor);
        return NULL;
    }
    return supervisor;
}

void yk_supervisor_free(struct yk_supervisor *supervisor)
{
    struct yk_list *node;

    if (supervisor == NULL)
        return;
    while ((node = yk_list_pop(&supervisor->children)) != NULL)
        yk_child_free(yk_container_of(node, struct yk_actor_child, in_nursery));
    yoke_error_unref(supervisor->last_failure);
    free(supervisor->failures);
    free(supervisor);
}

/* Counts a failure; false if there were more than may be within the period. */
static bool may_restart(struct yk_supervisor *supervisor, int64_t now_ns)
{
    const struct yoke_actor_nursery_opts *opts = &supervisor->opts;
    size_t last;

    while (supervisor->n > 0 &&
           now_ns - supervisor->failures[supervisor->first] >= opts->period_ns) {
        supervisor->first = (supervisor->first + 1) % opts->max_restarts;
        supervisor->n--;
    }
    if (supervisor->n == opts->max_restarts)
        return false;
    last = (supervisor->first + supervisor->n++) % opts->max_restarts;
    supervisor->failures[last] = now_ns;
    return true;
}

/* Doubled with each failure that follows soon; the second half is random, so that many that failed
 * together do not come back together. */
static int64_t backoff(struct yk_actor_child *child, int64_t now_ns)
{
    const struct yk_supervisor *supervisor = child->supervisor;
    struct yoke_host *host = child->front->actor->runtime->host;
    int64_t delay = supervisor->opts.backoff_ns;
    uint64_t random;

    if (child->failed_ns == 0 || now_ns - child->failed_ns >= supervisor->opts.period_ns)
        child->failures_in_row = 0;
    child->failed_ns = now_ns;
    for (unsigned i = 0; i < child->failures_in_row && delay < supervisor->opts.backoff_max_ns; i++)
        delay = delay > INT64_MAX / 2 ? INT64_MAX : delay * 2;
    child->failures_in_row++;
    if (delay > supervisor->opts.backoff_max_ns)
        delay = supervisor->opts.backoff_max_ns;
    host->ops->entropy(host, &random, sizeof random);
    return delay - delay / 2 + (int64_t)(random % (uint64_t)(delay / 2 + 1));
}

/* Whether a failure of `failed` concerns `other`, which lies behind it in the list, or before. */
static bool concerns(enum yoke_strategy strategy, bool behind)
{
    return strategy == YOKE_ONE_FOR_ALL || (strategy == YOKE_REST_FOR_ONE && behind);
}

static void mark(struct yk_actor_child *failed, int64_t not_before_ns)
{
    struct yk_supervisor *supervisor = failed->supervisor;
    bool behind = false;

    yk_list_for_each (node, &supervisor->children) {
        struct yk_actor_child *child = yk_container_of(node, struct yk_actor_child, in_nursery);

        if (child != failed && !concerns(supervisor->opts.strategy, behind))
            continue;
        behind = behind || child == failed;
        if (child->phase == YK_CHILD_NEW || child->phase == YK_CHILD_DONE)
            continue;
        child->affected = true;
        child->not_before_ns = not_before_ns;
    }
}

static int too_many(const struct yk_actor_child *child, struct yoke_error *error)
{
    const struct yoke_actor_nursery_opts *opts = &child->supervisor->opts;
    struct yk_task *task = yk_task_self("a supervisor");

    return yoke_raise_at(task->site, error, "yoke.RestartLimit", YOKE_EDIED,
                         "actor %s failed once more: more than %u restart%s within %lld ms is "
                         "more than its nursery allows",
                         child->id.name, opts->max_restarts, opts->max_restarts == 1 ? "" : "s",
                         (long long)(opts->period_ns / 1000000));
}

int yk_supervisor_failed(struct yk_actor_child *child, struct yoke_error *error)
{
    struct yk_supervisor *supervisor = child->supervisor;
    int64_t now_ns = yk_now(yk_runtime_current);

    if (supervisor->opts.strategy == YOKE_ONE_CANCELS_ALL)
        return yk_flight_raise(yk_locus(), error);
    if (!may_restart(supervisor, now_ns))
        return too_many(child, error);
    child->phase = YK_CHILD_DOWN;
    mark(child, now_ns + backoff(child, now_ns));
    yoke_error_unref(supervisor->last_failure);
    supervisor->last_failure = yoke_error_ref(error);
    snprintf(supervisor->reason, sizeof supervisor->reason,
             "actor %s failed, and is restarted with its siblings", child->id.name);
    yk_supervisor_handled(child, error, true);
    return 0;
}

void yk_supervisor_handled(struct yk_actor_child *child, struct yoke_error *error, bool restarts)
{
    const struct yoke_actor_nursery_opts *opts = &child->supervisor->opts;
    int64_t delay_ns = child->not_before_ns - yk_now(yk_runtime_current);
    struct yoke_actor_end end = {
        .portal = child->front,
        .error = error,
        .restarts = restarts,
        .restart_count = child->restarts + restarts,
        .delay_ns = restarts && delay_ns > 0 ? delay_ns : 0,
    };

    child->restarts += restarts;
    yk_error_settle(error);
    if (error != NULL) {
        yoke_error_unref(child->last_error);
        child->last_error = error;
    }
    if (opts->on_end != NULL)
        opts->on_end(opts->arg, &end);
}

/* A child goes down because of another one's failure. */
static void tell(struct yk_actor_child *child)
{
    struct yk_supervisor *supervisor = child->supervisor;
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_ACTOR,
        .kind = YOKE_CAUSE_RESTART,
        .site = supervisor->tasks->scope.site,
        .reason = supervisor->reason,
        .error = supervisor->last_failure,
        .because = supervisor->last_failure != NULL ? supervisor->last_failure->cause : NULL,
    };

    child->told = true;
    yk_scope_cancel_with(child->attempt, &spec);
}

/* The last affected one that has not gone down yet; NULL if all have. */
static struct yk_actor_child *next_down(struct yk_supervisor *supervisor)
{
    for (struct yk_list *node = supervisor->children.prev; node != &supervisor->children;
         node = node->prev) {
        struct yk_actor_child *child = yk_container_of(node, struct yk_actor_child, in_nursery);

        if (child->affected && (child->phase == YK_CHILD_UP || child->phase == YK_CHILD_STARTING))
            return child;
    }
    return NULL;
}

static void release(struct yk_actor_child *child)
{
    child->affected = false;
    child->released = true;
    child->phase = YK_CHILD_STARTING;
    while (yk_wake_first(&child->turn, 0))
        continue;
}

void yk_supervisor_advance(struct yk_supervisor *supervisor)
{
    bool one_by_one = supervisor->opts.strategy != YOKE_ONE_FOR_ONE;
    struct yk_actor_child *down = next_down(supervisor);

    if (down != NULL && !down->told)
        tell(down);
    if (down != NULL)
        return;
    yk_list_for_each (node, &supervisor->children) {
        struct yk_actor_child *child = yk_container_of(node, struct yk_actor_child, in_nursery);

        if (one_by_one && child->phase == YK_CHILD_STARTING)
            return;
        if (!child->affected || child->phase != YK_CHILD_DOWN)
            continue;
        release(child);
        if (one_by_one)
            return;
    }
}

/* The last child that has not ended; one that starts for the first time ends by itself. */
static struct yk_actor_child *last_running(struct yk_supervisor *supervisor)
{
    for (struct yk_list *node = supervisor->children.prev; node != &supervisor->children;
         node = node->prev) {
        struct yk_actor_child *child = yk_container_of(node, struct yk_actor_child, in_nursery);

        if (child->phase != YK_CHILD_NEW && child->phase != YK_CHILD_DONE)
            return child;
    }
    return NULL;
}

int yk_supervisor_shutdown(void *arg)
{
    struct yk_supervisor *supervisor = arg;
    struct yk_actor_child *child;
    struct yoke_cause *cause;
    struct yoke_hold hold;
    struct yoke_scope scope;
    int rc = yoke_sleep_forever();

    yk_assert(rc == YOKE_CANCELLED);
    cause = yoke_cause_ref(yoke_why());
    yoke_hold(&hold);
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "shutdown", .shield = true});
    while (rc == 0 && (child = last_running(supervisor)) != NULL) {
        yk_scope_cancel_cause(child->life, cause);
        rc = yoke_event_wait(&child->done);
    }
    rc = yoke_scope_close(&scope, rc);
    yk_assert(rc == 0);
    yoke_cause_unref(cause);
    return yoke_release(&hold);
}
