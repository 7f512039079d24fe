/* SPDX-License-Identifier: MIT */
/*
 * A child actor over its incarnations. One supervising task per child, in the actor nursery, runs
 * them one after another; so there is nothing to coordinate as long as each fails for itself, and
 * cancelling the nursery ends each, whatever it does just then. What a failure means for the others
 * is decided in restart.c.
 *
 * Programs hold the front: a portal without a link, valid over restarts. Each incarnation has a
 * portal of its own, so that nothing that belongs to a dead process can meet the next one.
 */
#include "actor/plain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actor/spawner.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"

static bool is_name(const char *name)
{
    return name != NULL && name[0] != '\0' &&
           strlen(name) < sizeof((struct yoke_actor_id *)0)->name &&
           strpbrk(name, "'\"\\\n") == NULL;
}

static bool is_endpoint(const char *name)
{
    const char *colon = strchr(name, ':');

    return colon != NULL && colon != name && colon[1] != '\0' && strlen(name) < YK_ENDPOINT_MAX &&
           strpbrk(name, " *?[\\") == NULL;
}

static int check(const char *name, const struct yoke_actor_opts *opts, struct yk_place *ret_listen)
{
    if (!is_name(name))
        return yoke_raise("yoke.Misuse", EINVAL,
                          "\"%s\" can't name an actor: 1 to 63 bytes without quotes or backslashes",
                          name != NULL ? name : "(null)");
    if (opts->listen != NULL && yk_place_parse(opts->listen, ret_listen) < 0)
        return yoke_error_code(yoke_in_flight());
    if (opts->run != NULL && !is_endpoint(opts->run))
        return yoke_raise(
            "yoke.Misuse", EINVAL,
            "actor %s: its main endpoint \"%s\" is not of the form namespace:function", name,
            opts->run);
    if (opts->args.type != YOKE_NIL && opts->args.type != YOKE_MAP_VALUE)
        return yoke_raise("yoke.Misuse", EINVAL, "arguments of actor %s: a map or nil is needed",
                          name);
    if (opts->args.type != YOKE_NIL && opts->run == NULL)
        return yoke_raise("yoke.Misuse", EINVAL, "actor %s has arguments, but no main endpoint",
                          name);
    if ((unsigned)opts->restart > YOKE_RESTART_TEMPORARY)
        return yoke_raise("yoke.Misuse", EINVAL, "actor %s: %d is no kind of restart", name,
                          (int)opts->restart);
    if ((unsigned)opts->spawner > YOKE_SPAWN_THREAD)
        return yoke_raise("yoke.Misuse", EINVAL, "actor %s: %d is no spawner", name,
                          (int)opts->spawner);
    if (opts->executable != NULL && opts->spawner != YOKE_SPAWN_EXEC)
        return yoke_raise("yoke.Misuse", EINVAL,
                          "actor %s: an executable is named, but it is not to be executed", name);
    return yk_plain_check(name, opts);
}

static const struct yk_spawner *const spawners[] = {
    [YOKE_SPAWN_EXEC] = &yk_spawner_exec,
    [YOKE_SPAWN_ZYGOTE] = &yk_spawner_zygote,
    [YOKE_SPAWN_THREAD] = &yk_spawner_thread,
};

static const struct yk_spawner *spawner_of(const struct yoke_actor_opts *opts)
{
    return opts->plain ? &yk_spawner_plain : spawners[opts->spawner];
}

static bool copy_opts(struct yk_actor_child *child, const struct yoke_actor_opts *opts)
{
    child->expose = yk_strdup(opts->expose != NULL ? opts->expose : "");
    child->executable = opts->executable != NULL ? yk_strdup(opts->executable) : NULL;
    child->run = opts->run != NULL ? yk_strdup(opts->run) : NULL;
    child->args = opts->args.type != YOKE_NIL ? yoke_value_copy(opts->args) : NULL;
    child->restart = opts->restart != YOKE_RESTART_DEFAULT ? opts->restart
                     : opts->run != NULL                   ? YOKE_RESTART_TRANSIENT
                                                           : YOKE_RESTART_PERMANENT;
    child->start_ns = opts->start_timeout_ns > 0 ? opts->start_timeout_ns : YK_START_NS;
    child->cancel_ns = opts->cancel_timeout_ns > 0 ? opts->cancel_timeout_ns : YK_CANCEL_NS;
    child->term_ns = opts->term_timeout_ns > 0 ? opts->term_timeout_ns : YK_TERM_NS;
    return child->expose != NULL && (opts->executable == NULL || child->executable != NULL) &&
           (opts->run == NULL || child->run != NULL) &&
           (opts->args.type == YOKE_NIL || child->args != NULL) &&
           yk_plain_copy_arguments(child, opts);
}

struct yk_actor_child *yk_child_new(struct yk_supervisor *supervisor, const char *name,
                                    const struct yoke_actor_opts *opts)
{
    static const struct yoke_actor_opts defaults;
    struct yk_actor *actor = yk_actor_of(yk_runtime_current);
    struct yk_actor_child *child;
    struct yk_place place;

    if (opts == NULL)
        opts = &defaults;
    if (actor == NULL || check(name, opts, &place) < 0)
        return NULL;
    child = yk_calloc(1, sizeof *child);
    if (child != NULL) {
        yk_list_init(&child->turn);
        yk_list_init(&child->in_nursery);
        yoke_event_init(&child->done);
        child->supervisor = supervisor;
        child->listens = opts->listen != NULL;
        if (child->listens)
            child->listen = place;
        child->heartbeat_ns = opts->heartbeat_ns;
        child->spawner = spawner_of(opts);
        YK_TEXT_COPY(child->id.name, name);
        child->front = yk_portal_new(actor);
        if (child->front == NULL) {
            yk_child_free(child);
            return NULL;
        }
        child->front->child = child;
    }
    if (child == NULL || !copy_opts(child, opts)) {
        yoke_raise("yoke.Actor", ENOMEM, "no memory for actor %s", name);
        yk_child_free(child);
        return NULL;
    }
    return child;
}

void yk_child_free(struct yk_actor_child *child)
{
    if (child == NULL)
        return;
    if (child->front != NULL)
        child->front->child = NULL;
    yk_portal_unref(child->front);
    yoke_error_unref(child->last_error);
    yoke_error_unref(child->last_end);
    yoke_value_free(child->args);
    yk_plain_free_arguments(child);
    free(child->expose);
    free(child->executable);
    free(child->run);
    free(child);
}

/*
 * In an ordered shutdown it is told when it is its turn. Not shielded: one whose starter is being
 * cancelled, and one that comes too late to be told.
 */
static int started(struct yk_actor_child *child)
{
    struct yoke_nursery *tasks = child->supervisor->tasks;
    int rc = yoke_started(child->front);

    if (rc == 0 && child->supervisor->opts.ordered_shutdown && !tasks->scope.effective &&
        yk_task_self("a supervisor")->nursery == tasks)
        yoke_scope_set_shield(child->life, true);
    return rc;
}

int yk_child_up(struct yk_actor_child *child)
{
    struct yoke_portal *front = child->front;
    bool first = child->phase == YK_CHILD_NEW;

    child->phase = YK_CHILD_UP;
    child->serving = true;
    front->id = child->now.portal->id;
    front->place = child->now.portal->place;
    YK_TEXT_COPY(front->address, child->now.portal->address);
    front->up = true;
    yk_portal_changed(front);
    yk_supervisor_advance(child->supervisor);
    if (!first)
        return 0;
    return started(child);
}

/* One that is about to be restarted takes no more contexts: they would see its end for no fault. */
static bool takes_contexts(const struct yk_actor_child *child)
{
    return child->serving && !child->affected && !child->told;
}

int yk_portal_reach(struct yoke_portal *portal, struct yoke_portal **ret_peer)
{
    struct yk_actor_child *child = yk_is_front(portal) ? portal->child : NULL;
    int rc = 0;

    while (child != NULL && rc == 0 && portal->lost == NULL && !takes_contexts(child))
        rc = yk_wait_in(&portal->waiters, "an actor to be up again", NULL);
    if (rc == 0 && portal->lost != NULL)
        return yk_flight_raise(yk_locus(), yoke_error_ref(portal->lost));
    if (rc == 0)
        *ret_peer = child != NULL ? child->now.portal : portal;
    return rc;
}

struct yoke_portal *yk_child_end(struct yk_actor_child *child, const struct yoke_cause *cause)
{
    if (child->phase == YK_CHILD_UP)
        return child->now.portal;
    if (child->life != NULL && child->phase != YK_CHILD_NEW)
        yk_scope_cancel_cause(child->life, cause);
    return NULL;
}

/* One incarnation, and the delay before it. 0 or YOKE_CANCELLED; else it is in child->now. */
static int attempt(struct yk_actor_child *child)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "incarnation"});

    child->attempt = &scope;
    child->told = false;
    child->now.failure = NULL;
    child->now.end = YK_END_ASKED;
    if (rc == 0 && child->not_before_ns > 0)
        rc = yoke_sleep_until(child->not_before_ns);
    child->not_before_ns = 0;
    if (rc == 0)
        rc = yk_incarnation_run(child);
    child->attempt = NULL;
    rc = yoke_scope_close(&scope, rc);
    if (rc == 0 || rc == YOKE_CANCELLED)
        return rc;
    yk_assert(child->now.failure == NULL); /* no memory for a timer, before it was started */
    child->now.failure = yk_flight_take(yk_locus());
    child->now.end = YK_END_FAILED;
    return 0;
}

/* What its life ends with. The failure is taken over, and may be NULL. */
static int end_with(struct yk_actor_child *child, struct yoke_error *failure, int rc)
{
    bool handled = child->phase != YK_CHILD_NEW &&
                   (child->restart == YOKE_RESTART_TEMPORARY ||
                    (child->now.end == YK_END_NORMAL && child->restart == YOKE_RESTART_TRANSIENT));

    if (failure == NULL)
        return rc;
    if (!handled && !child->now.told)
        return yk_flight_raise(yk_locus(), failure);
    yk_supervisor_handled(child, failure, false);
    return rc;
}

/* Whether such an end of a child of this kind calls for a restart. */
static bool calls_for_restart(const struct yk_actor_child *child)
{
    if (child->now.end == YK_END_FAILED)
        return child->restart != YOKE_RESTART_TEMPORARY;
    return child->now.end == YK_END_NORMAL && child->restart == YOKE_RESTART_PERMANENT;
}

/*
 * After an incarnation. 1: it is to be started again, once it is its turn; 0 or negative: its life
 * is over, with that result.
 */
static int judge(struct yk_actor_child *child, int rc)
{
    struct yoke_error *failure = child->now.failure;

    child->now.failure = NULL;
    if (child->phase == YK_CHILD_NEW || child->life->effective || child->front->end_expected)
        return end_with(child, failure, rc);
    if (child->told) {
        bool restarts = child->restart != YOKE_RESTART_TEMPORARY;

        yk_supervisor_handled(child, failure, restarts);
        return restarts;
    }
    if (!calls_for_restart(child)) {
        yk_supervisor_handled(child, failure, false);
        return 0;
    }
    if (child->now.told && child->supervisor->opts.strategy == YOKE_ONE_CANCELS_ALL)
        return end_with(child, failure, 0);
    rc = yk_supervisor_failed(child, failure);
    return rc < 0 ? rc : 1;
}

static int wait_turn(struct yk_actor_child *child)
{
    int rc = 0;

    child->phase = YK_CHILD_DOWN;
    yk_supervisor_advance(child->supervisor);
    while (rc == 0 && !child->released)
        rc = yk_wait_in(&child->turn, "its turn to be restarted", NULL);
    child->released = false;
    return rc;
}

static int run_incarnations(struct yk_actor_child *child)
{
    int rc;

    while ((rc = judge(child, attempt(child))) > 0) {
        rc = wait_turn(child);
        if (rc < 0)
            break;
    }
    return rc;
}

/* Nobody will reach it any more. */
static void finish(struct yk_actor_child *child)
{
    struct yoke_portal *front = child->front;
    const struct yoke_error *now = yoke_in_flight();
    const struct yoke_error *others = child->supervisor->tasks->first_error;

    if (now == NULL || yoke_error_is_cancelled(now))
        now = child->phase != YK_CHILD_UP && others != NULL ? others : child->last_end;
    front->lost = now != NULL ? yoke_error_ref(now) : NULL;
    child->phase = YK_CHILD_DONE;
    child->affected = false;
    yk_portal_changed(front);
    yoke_event_set(&child->done);
    yk_supervisor_advance(child->supervisor);
}

int yk_child_supervise(void *arg)
{
    struct yk_actor_child *child = arg;
    struct yoke_scope life;
    int rc = yoke_scope_open(&life, &(struct yoke_scope_opts){.name = child->id.name});

    child->life = &life;
    if (rc == 0)
        rc = run_incarnations(child);
    finish(child);
    child->life = NULL;
    return yoke_scope_close(&life, rc);
}
