/* SPDX-License-Identifier: MIT */
/*
 * The end of an incarnation. The ladder of processes (io/ladder.h) has two more rungs here at its
 * foot: contexts that are being cancelled may end first, then comes the cancel request. Everything
 * runs in the supervising task, behind shields.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/child.h"
#include "actor/spawner.h"
#include "base/check.h"
#include "base/limits.h"
#include "io/ladder.h"

static struct yoke_host *host_of(const struct yk_incarnation *incarnation)
{
    return incarnation->portal->actor->runtime->host;
}

/*
 * A rung's bound. An actor whose parent is gone is killed itself after YK_ORPHAN_NS; its children
 * must be gone before, or each level of the tree would add that much again.
 */
static int64_t bounded(const struct yk_incarnation *incarnation, int64_t rung_ns)
{
    int64_t most = YK_ORPHAN_NS / 4;

    return incarnation->portal->actor->orphaned && rung_ns > most ? most : rung_ns;
}

/* Lets contexts that are being cancelled end by themselves: so each victim sees its own chain. */
static void wait_contexts(struct yk_incarnation *incarnation)
{
    struct yoke_portal *portal = incarnation->portal;
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope,
                             &(struct yoke_scope_opts){
                                 .name = "contexts end first",
                                 .timeout_ns = bounded(incarnation, incarnation->child->cancel_ns),
                                 .shield = true,
                             });

    while (rc == 0 && portal->lost == NULL && yk_portal_contexts_ending(portal))
        rc = yk_wait_in(&portal->waiters, "contexts of an actor to end", NULL);
    rc = yoke_scope_close(&scope, rc);
    yk_assert(rc == 0);
}

static const char *reason_of(const struct yk_incarnation *incarnation)
{
    if (incarnation->main_returned)
        return "its main endpoint has returned";
    if (incarnation->main_error != NULL)
        return "its main endpoint has failed";
    return incarnation->child->supervisor->closing ? "its actor nursery was closed" : NULL;
}

/* A restart is passed on as it is: the request is the supervisor's own. */
static struct yoke_cause *cause_of(const struct yk_incarnation *incarnation,
                                   const struct yoke_error *failure)
{
    const struct yk_supervisor *supervisor = incarnation->child->supervisor;
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_ACTOR,
        .kind = YOKE_CAUSE_ACTOR_NURSERY,
        .site = supervisor->tasks->scope.site,
        .reason = reason_of(incarnation),
        .because = supervisor->closing || failure == NULL ? NULL : failure->cause,
        .error = incarnation->main_error,
    };

    if (failure != NULL && failure->cause != NULL && failure->cause->kind == YOKE_CAUSE_RESTART)
        return yoke_cause_ref(failure->cause);
    return yk_cause_new(&spec);
}

static void ask(struct yk_incarnation *incarnation, const struct yoke_error *failure)
{
    struct yoke_cause *cause = cause_of(incarnation, failure);
    char cid[YK_CID_SIZE];

    incarnation->asked = true;
    incarnation->child->serving = false;
    yk_cid_new(cid);
    yk_portal_send_cancel(incarnation->portal, cid, NULL, cause);
    yoke_cause_unref(cause);
}

static int signal_until_ended(struct yk_incarnation *incarnation)
{
    struct yk_ladder ladder = {
        host_of(incarnation),
        &incarnation->process,
        &incarnation->process_ended,
    };

    return yk_ladder_climb(&ladder, SIGTERM, bounded(incarnation, incarnation->child->term_ns));
}

/* What can't be killed is waited for; a person is to know why nothing goes on. */
static void wait_for_stuck(struct yk_incarnation *incarnation)
{
    const struct yk_actor_child *child = incarnation->child;

    if (!incarnation->asked) {
        shutdown(incarnation->portal->link.fd.watch.fd, SHUT_RDWR); /* as if its parent had died */
        if (yk_ladder_wait(&incarnation->process_ended, child->cancel_ns))
            return;
    }
    dprintf(STDERR_FILENO,
            "yoke: actor %s does not end after its cancellation; it is a thread, which can't be "
            "killed: it is waited for\n",
            child->id.name);
    while (!yk_ladder_wait(&incarnation->process_ended, 0))
        continue;
    incarnation->stuck = true;
}

void yk_teardown(struct yk_incarnation *incarnation, const struct yoke_error *failure)
{
    struct yoke_event *ended = &incarnation->process_ended;

    if (incarnation->portal->up && incarnation->portal->lost == NULL) {
        wait_contexts(incarnation);
        if (!yoke_event_is_set(ended))
            ask(incarnation, failure);
        if (yk_ladder_wait(ended, bounded(incarnation, incarnation->child->cancel_ns)))
            return;
    }
    if (yk_ladder_wait(ended, 1))
        return;
    if (incarnation->child->spawner->kill != NULL)
        incarnation->rung = signal_until_ended(incarnation);
    else
        wait_for_stuck(incarnation);
}

/* While a tracer holds it, an ended process can't be reaped by its parent. */
static void wait_for_tracer(void)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "tracer", .shield = true});

    if (rc == 0)
        rc = yoke_sleep(YOKE_MS(5));
    if (yoke_scope_close(&scope, rc) < 0)
        yoke_clear(); /* no memory for a timer: then it is asked again at once */
}

void yk_teardown_reap(struct yk_incarnation *incarnation)
{
    struct yk_actor_child *child = incarnation->child;
    struct yoke_host *host = host_of(incarnation);
    int rc;

    while ((rc = child->spawner->reap(incarnation, &child->exit)) == 0)
        wait_for_tracer();
    incarnation->taken = rc < 0;
    host->ops->watch_remove(host, &incarnation->process_watch);
    close(incarnation->process.pidfd);
    incarnation->process.pidfd = -1;
}

static const char *describe_exit(const struct yk_incarnation *incarnation, char *text, size_t size)
{
    if (!incarnation->taken)
        return yk_ladder_describe(incarnation->child->exit.status, text, size);
    snprintf(text, size, "ended, but its status was taken by another wait in this process");
    return text;
}

struct yoke_error *yk_teardown_died(const struct yk_incarnation *incarnation)
{
    const struct yk_actor_child *child = incarnation->child;
    const struct rusage *usage = &child->exit.usage;
    const char *when = incarnation->rung == SIGKILL
                           ? " after it ignored its cancellation and SIGTERM"
                       : incarnation->stuck ? " long after its cancellation; it is a thread, which "
                                              "can't be killed, and was waited for"
                       : incarnation->rung == SIGTERM ? " after it ignored its cancellation"
                       : !incarnation->portal->up     ? " before it was up"
                                                      : "";
    char how[96];

    return yk_error_make(
        YOKE_HERE, "yoke.ActorDied", YOKE_EDIED,
        "actor %s (pid %d) %s%s; it used %ld.%03ld s of processor time, %ld KiB of memory",
        child->id.name, (int)child->id.pid, describe_exit(incarnation, how, sizeof how), when,
        (long)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec),
        (long)((usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000 % 1000),
        usage->ru_maxrss);
}
