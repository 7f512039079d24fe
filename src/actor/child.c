/* SPDX-License-Identifier: MIT */
/*
 * The supervisor of one child actor: spawn, greet, wait, teardown. It runs as a task of the actor
 * nursery, so that cancelling the nursery is what takes the child down; its link has tasks of its
 * own behind a shield, since the teardown needs the link until the process is gone.
 *
 * Whatever happens, the supervisor does not end before the process is reaped: nothing outlives its
 * scope. The ladder: contexts that are being cancelled may end first, then cancel request, SIGTERM,
 * SIGKILL; each rung but the last is bounded. A process in uninterruptible sleep outlasts SIGKILL,
 * and is waited for: the kernel leaves no other choice.
 */
#include "actor/plain.h"
#include "actor/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"

enum { CHILD_FD = 3 }; /* the descriptor that a child finds its link at */

static struct yoke_host *host_of(const struct yk_actor_child *child)
{
    return child->portal->actor->runtime->host;
}

static bool is_name(const char *name)
{
    return name != NULL && name[0] != '\0' &&
           strlen(name) < sizeof((struct yoke_actor_id *)0)->name &&
           strpbrk(name, "'\"\\\n") == NULL;
}

struct yk_actor_child *yk_child_new(struct yoke_actor_nursery *nursery, const char *name,
                                    const struct yoke_actor_opts *opts)
{
    static const struct yoke_actor_opts defaults;
    struct yk_actor *actor = yk_actor_of(yk_runtime_current);
    struct yk_actor_child *child;
    struct yk_place place;

    if (opts == NULL)
        opts = &defaults;
    if (!is_name(name)) {
        yoke_raise("yoke.Misuse", EINVAL,
                   "\"%s\" can't name an actor: 1 to 63 bytes without quotes or backslashes",
                   name != NULL ? name : "(null)");
        return NULL;
    }
    if (actor == NULL || (opts->listen != NULL && yk_place_parse(opts->listen, &place) < 0))
        return NULL;
    child = calloc(1, sizeof *child);
    if (child == NULL) {
        yoke_raise("yoke.Actor", ENOMEM, "no memory for actor %s", name);
        return NULL;
    }
    child->portal = yk_portal_new(actor);
    child->expose = strdup(opts->expose != NULL ? opts->expose : "");
    child->listens = opts->listen != NULL;
    child->executable = opts->executable != NULL ? strdup(opts->executable) : NULL;
    if (child->portal == NULL || child->expose == NULL ||
        (opts->executable != NULL && child->executable == NULL)) {
        if (child->portal != NULL)
            yoke_raise("yoke.Actor", ENOMEM, "no memory for actor %s", name);
        yk_child_free(child);
        return NULL;
    }
    child->portal->child = child;
    child->nursery = nursery;
    if (child->listens)
        child->listen = place;
    child->heartbeat_ns = opts->heartbeat_ns;
    child->start_ns = opts->start_timeout_ns > 0 ? opts->start_timeout_ns : YK_START_NS;
    child->cancel_ns = opts->cancel_timeout_ns > 0 ? opts->cancel_timeout_ns : YK_CANCEL_NS;
    child->term_ns = opts->term_timeout_ns > 0 ? opts->term_timeout_ns : YK_TERM_NS;
    YK_TEXT_COPY(child->id.name, name);
    yk_uuid_new(yk_runtime_current, child->id.uuid);
    child->process.pidfd = -1;
    yoke_event_init(&child->process_ended);
    yoke_event_init(&child->link_ended);
    yoke_event_init(&child->reaped);
    yk_list_init(&child->waiters);
    yk_list_init(&child->in_nursery);
    if (opts->plain && yk_plain_child_init(child, opts) < 0) {
        yk_child_free(child);
        return NULL;
    }
    return child;
}

void yk_child_free(struct yk_actor_child *child)
{
    if (child->portal != NULL)
        child->portal->child = NULL;
    yk_portal_unref(child->portal);
    yk_plain_child_fini(child);
    free(child->expose);
    free(child->executable);
    free(child);
}

static void set_event(struct yk_actor_child *child, struct yoke_event *event)
{
    yoke_event_set(event);
    while (yk_wake_first(&child->waiters, 0))
        continue;
}

static void process_ready(struct yk_watch *watch, unsigned events)
{
    struct yk_actor_child *child = yk_container_of(watch, struct yk_actor_child, process_watch);

    if (events & YK_READABLE) {
        set_event(child, &child->process_ended);
        yk_portal_changed(child->portal);
    }
}

static int spawn_with(struct yk_actor_child *child, int fd)
{
    const struct yoke_runtime *runtime = child->portal->actor->runtime;
    char uid[160], parent_pid[16], fd_text[16];
    char *argv[] = {
        child->id.name, "-m",    "yoke._child",  "--uid",    uid,
        "--parent_fd",  fd_text, "--parent_pid", parent_pid, NULL,
    };
    struct yk_spawn spawn = {
        .path = child->executable,
        .argv = argv,
        .fds = &(struct yk_spawn_fd){.fd = fd, .as = CHILD_FD},
        .fds_n = 1,
        .death_signal = YK_DEATH_SIGNAL, /* until it has asked for it itself */
    };
    int rc;

    snprintf(uid, sizeof uid, "('%s', '%s')", child->id.name, child->id.uuid);
    snprintf(parent_pid, sizeof parent_pid, "%d", (int)runtime->actor.pid);
    snprintf(fd_text, sizeof fd_text, "%d", CHILD_FD);
    rc = runtime->host->ops->spawn(runtime->host, &spawn, &child->process);
    if (rc < 0)
        return yoke_raise("yoke.Spawn", rc, "actor %s: %s can't be executed: %s", child->id.name,
                          child->executable != NULL ? child->executable : "this program",
                          strerror(-rc));
    child->id.pid = (int32_t)child->process.pid;
    return 0;
}

static void end_link(struct yk_actor_child *child)
{
    if (child->linked)
        yk_link_fini(&child->portal->link);
    child->linked = false;
}

/* Without a watch on it a process can't be supervised: then it is killed at once. */
static int watch_process(struct yk_actor_child *child)
{
    struct yoke_host *host = host_of(child);
    int rc;

    child->process_watch.fd = child->process.pidfd;
    child->process_watch.ready = process_ready;
    rc = host->ops->watch_add(host, &child->process_watch);
    if (rc == 0)
        return 0;
    (void)host->ops->kill(host, &child->process, SIGKILL);
    while (host->ops->reap(host, &child->process, &child->exit) == 0)
        continue; /* a killed process ends in microseconds, and there is nothing to wait with */
    close(child->process.pidfd);
    end_link(child);
    return yoke_raise("yoke.Spawn", rc, "actor %s: its process can't be watched: %s",
                      child->id.name, strerror(-rc));
}

/* Process and link. After success the process exists and must be reaped. */
static int spawn_process(struct yk_actor_child *child)
{
    int fds[2];
    int rc;

    if (child->plain != NULL)
        return yk_plain_spawn(child);
    rc = yk_link_unix_pair(fds);
    if (rc < 0)
        return yoke_raise("yoke.Spawn", rc, "actor %s: socketpair: %s", child->id.name,
                          strerror(-rc));
    rc = yk_link_init(&child->portal->link, &yk_link_unix, fds[0]); /* takes fds[0] over */
    if (rc < 0) {
        close(fds[1]);
        return rc;
    }
    child->linked = true;
    rc = spawn_with(child, fds[1]);
    close(fds[1]);
    if (rc < 0)
        end_link(child);
    return rc;
}

/* The reader, and under it the writer; behind a shield until the supervisor cancels them. */
static int link_task(void *arg)
{
    struct yk_actor_child *child = arg;
    struct yoke_portal *portal = child->portal;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){
                                             .name = "link",
                                             .shield = true,
                                         });

    child->link_scope = yoke_nursery_scope(&nursery);
    if (rc == 0 && child->plain != NULL)
        rc = yk_plain_accept(child);
    if (rc == 0)
        rc = yoke_spawn(&nursery, yk_link_writer, &portal->link);
    if (rc == 0)
        rc = yk_portal_read(portal);
    if (rc == -EPIPE && yoke_in_flight() == NULL)
        rc = 0; /* it has never come */
    if (rc < 0 && rc != YOKE_CANCELLED) {
        yoke_note("on the link to actor %s (pid %d)", child->id.name, (int)child->id.pid);
        child->link_error = yk_flight_take(yk_locus());
        rc = 0;
    }
    set_event(child, &child->link_ended);
    if (rc == 0)
        yoke_scope_cancel(&nursery.scope, "the link has ended");
    rc = yoke_nursery_close(&nursery, rc);
    child->link_scope = NULL;
    return rc;
}

static int send_spec(struct yk_actor_child *child)
{
    struct yk_message message = {.type = YK_SPAWN_SPEC};
    struct yk_spawn_spec *spec = &message.as.spawn_spec;
    struct yoke_pair patterns[64];
    struct yoke_value registrars[YK_CHILD_LISTENS_MAX], bind_addr;
    struct yk_arena arena;
    char text[4096];
    size_t n = 0;
    char *rest = NULL;
    int rc = 0;

    YK_TEXT_COPY(text, child->expose);
    for (char *word = strtok_r(text, " ", &rest); word != NULL && n < 64;
         word = strtok_r(NULL, " ", &rest))
        patterns[n++] = (struct yoke_pair){word, yoke_str("")};
    spec->parent_main_data = yoke_map(NULL, 0);
    spec->runtime_vars = YOKE_MAP({"_is_root", yoke_bool(false)});
    spec->enable_modules = yoke_map(patterns, n);
    spec->bind_addrs = yoke_nil();
    yk_arena_init(&arena);
    rc = yk_registrar_addresses(child->portal->actor, &arena, registrars, YK_CHILD_LISTENS_MAX);
    spec->reg_addrs = yoke_array(registrars, rc < 0 ? 0 : (size_t)rc);
    rc = rc < 0 ? rc : 0;
    if (rc == 0 && child->listens) {
        rc = yk_place_to_wire(&arena, &child->listen, &bind_addr);
        spec->bind_addrs = yoke_array(&bind_addr, 1);
    }
    if (rc == 0)
        rc = yk_portal_send(child->portal, &message);
    yk_arena_fini(&arena);
    return rc;
}

static const char *describe_exit(const struct yk_actor_child *child, char *text, size_t size)
{
    int status = child->exit.status;

    if (child->taken)
        snprintf(text, size, "ended, but its status was taken by another wait in this process");
    else if (WIFSIGNALED(status))
        snprintf(text, size, "killed by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(text, size, "exited with status %d", WEXITSTATUS(status));
    return text;
}

static struct yoke_error *died(const struct yk_actor_child *child, const char *when)
{
    const struct rusage *usage = &child->exit.usage;
    char how[96];

    return yk_error_make(
        YOKE_HERE, "yoke.ActorDied", YOKE_EDIED,
        "actor %s (pid %d) %s%s; it used %ld.%03ld s of processor time, %ld KiB of "
        "memory",
        child->id.name, (int)child->id.pid, describe_exit(child, how, sizeof how), when,
        (long)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec),
        (long)((usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000 % 1000),
        usage->ru_maxrss);
}

/* Waits until an event is set, whatever happens around, at most so long. 0; 1: not in time. */
static int wait_event(struct yoke_event *event, int64_t timeout_ns)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "teardown rung",
                                         .timeout_ns = timeout_ns,
                                         .shield = true,
                                     });

    if (rc == 0)
        rc = yoke_event_wait(event);
    rc = yoke_scope_close(&scope, rc);
    if (rc < 0)
        yoke_clear(); /* no memory for a timer: the rung is skipped */
    return yoke_event_is_set(event) ? 0 : 1;
}

static int wait_process(struct yk_actor_child *child, int64_t timeout_ns)
{
    return wait_event(&child->process_ended, timeout_ns);
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

static void reap(struct yk_actor_child *child)
{
    int rc;

    while ((rc = host_of(child)->ops->reap(host_of(child), &child->process, &child->exit)) == 0)
        wait_for_tracer();
    child->taken = rc < 0;
    host_of(child)->ops->watch_remove(host_of(child), &child->process_watch);
    close(child->process.pidfd);
    child->process.pidfd = -1;
    yoke_event_set(&child->reaped);
}

/*
 * A rung's bound. An actor whose parent is gone is killed itself after YK_ORPHAN_NS; its children
 * must be gone before, or each level of the tree would add that much again.
 */
static int64_t bounded(const struct yk_actor_child *child, int64_t rung_ns)
{
    int64_t most = YK_ORPHAN_NS / 4;

    return child->portal->actor->orphaned && rung_ns > most ? most : rung_ns;
}

/* Lets contexts that are being cancelled end by themselves: so each victim sees its own chain. */
static void wait_contexts(struct yk_actor_child *child)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "contexts end first",
                                         .timeout_ns = bounded(child, child->cancel_ns),
                                         .shield = true,
                                     });

    while (rc == 0 && child->portal->lost == NULL && yk_portal_contexts_ending(child->portal))
        rc = yk_wait_in(&child->portal->waiters, "contexts of an actor to end", NULL);
    rc = yoke_scope_close(&scope, rc);
    yk_assert(rc == 0);
}

static void ask(struct yk_actor_child *child, const struct yoke_error *failure)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_ACTOR,
        .kind = YOKE_CAUSE_ACTOR_NURSERY,
        .site = child->nursery->tasks.scope.site,
        .reason = child->nursery->closing ? "its actor nursery was closed" : NULL,
        .because = child->nursery->closing || failure == NULL ? NULL : failure->cause,
    };
    struct yoke_cause *cause = yk_cause_new(&spec);
    char cid[YK_CID_SIZE];

    child->asked = true;
    yk_cid_new(cid);
    yk_portal_send_cancel(child->portal, cid, NULL, cause);
    yoke_cause_unref(cause);
}

/* The ladder; on return the process has ended. Returns how high it was climbed: 0, SIGTERM,
 * SIGKILL. */
static int climb(struct yk_actor_child *child, const struct yoke_error *failure)
{
    struct yoke_host *host = host_of(child);
    int rung = 0;

    if (child->portal->up && child->portal->lost == NULL) {
        wait_contexts(child);
        if (!yoke_event_is_set(&child->process_ended))
            ask(child, failure);
        if (wait_process(child, bounded(child, child->cancel_ns)) == 0)
            return 0;
    }
    if (wait_process(child, 1) == 0)
        return 0;
    rung = SIGTERM;
    (void)host->ops->kill(host, &child->process, SIGTERM);
    if (wait_process(child, bounded(child, child->term_ns)) == 0)
        return rung;
    rung = SIGKILL;
    (void)host->ops->kill(host, &child->process, SIGKILL);
    while (wait_process(child, YOKE_S(60)) != 0)
        continue;
    return rung;
}

/* Until it listens as it was told, if it can say so. */
static int wait_listening(struct yk_actor_child *child)
{
    struct yoke_portal *portal = child->portal;
    int rc = 0;

    while (rc == 0 && child->listens && portal->version >= 2 && portal->address[0] == '\0' &&
           portal->farewell == NULL && !portal->ended)
        rc = yk_wait_in(&portal->waiters, "an actor to listen", NULL);
    if (rc == 0 && portal->farewell != NULL) {
        struct yoke_error *farewell = portal->farewell;

        portal->farewell = NULL;
        rc = yk_flight_raise(yk_locus(), farewell);
    }
    return rc;
}

/* The heartbeat's word. */
static void silent(struct yoke_portal *portal)
{
    struct yk_actor_child *child = portal->child;

    if (child->link_error == NULL)
        child->link_error =
            yk_error_make(YOKE_HERE, "yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                          "actor %s (pid %d) gave no sign of life for %lld ms", child->id.name,
                          (int)child->id.pid, (long long)(child->heartbeat_ns / 1000000));
    if (child->link_scope != NULL)
        yoke_scope_cancel(child->link_scope, "the actor is silent");
}

/* Until the child is up, as the body of the link's nursery. */
static int come_up(struct yk_actor_child *child)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "actor start",
                                         .timeout_ns = child->start_ns,
                                     });

    if (rc == 0 && child->plain == NULL)
        rc = yk_portal_greet(child->portal);
    if (rc == 0)
        rc = child->plain != NULL ? yk_plain_wait_up(child) : yk_portal_wait_up(child->portal);
    if (rc == -EPIPE)
        rc = 0; /* its end is told below, with its status */
    if (rc == 0 && child->portal->up)
        rc = child->plain != NULL ? yk_plain_send_spec(child) : send_spec(child);
    if (rc == 0)
        rc = wait_listening(child);
    rc = yoke_scope_close(&scope, rc);
    if (rc == 0 && yoke_scope_cancelled_caught(&scope))
        return yoke_raise("yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                          "actor %s (pid %d) was not up within %lld ms; is it a program that calls "
                          "yoke_main?",
                          child->id.name, (int)child->id.pid,
                          (long long)(child->start_ns / 1000000));
    if (rc == 0 && child->heartbeat_ns > 0)
        yk_beat_watch(child->portal, child->heartbeat_ns, silent);
    return rc;
}

/* Waits for the end of the process or of its link, whichever comes first. */
static int wait_end(struct yk_actor_child *child)
{
    int rc = 0;

    while (rc == 0 && !yoke_event_is_set(&child->process_ended) &&
           !yoke_event_is_set(&child->link_ended))
        rc = yk_wait_in(&child->waiters, "an actor to end", NULL);
    return rc;
}

/* The life of a child whose process exists. Returns its failure; the process has ended then. */
static int live(struct yk_actor_child *child, int rc, int *ret_rung)
{
    if (rc == 0)
        rc = come_up(child);
    if (rc == 0 && child->portal->up) {
        child->started = true;
        rc = yoke_started(child->portal);
        if (rc == 0)
            rc = wait_end(child);
    }
    if (rc == 0 && child->link_error == NULL && wait_process(child, YOKE_S(1)) == 1)
        rc = yoke_raise("yoke.LinkLost", YOKE_ELINK,
                        "actor %s (pid %d) closed its link but lives; it is ended", child->id.name,
                        (int)child->id.pid);
    if (!yoke_event_is_set(&child->process_ended)) {
        struct yoke_error *failure = yk_flight_take(yk_locus());

        *ret_rung = climb(child, failure);
        if (failure != NULL)
            rc = yk_flight_raise(yk_locus(), failure);
    }
    /* What it sent before its end comes first. No descendant holds the link: it is close-on-exec.
     */
    if (child->plain != NULL)
        yk_plain_stop_waiting(child);
    if (child->link_scope != NULL)
        (void)wait_event(&child->link_ended, YOKE_S(1));
    return rc;
}

/* The process is reaped: ends what waits for the peer, and says whether the end was a failure. */
static int conclude(struct yk_actor_child *child, int rc, int rung)
{
    bool up = child->portal->up;
    bool exited = WIFEXITED(child->exit.status);
    /* One whose start was cancelled is not asked, it has nobody yet to hear it: it is signalled. */
    bool start_cancelled = !child->started && rc == YOKE_CANCELLED;
    bool expected = child->asked || child->portal->end_expected;
    bool told = child->portal->end_told && exited;
    struct yoke_error *error;

    error = died(child, rung == SIGKILL   ? " after it ignored its cancellation and SIGTERM"
                        : rung == SIGTERM ? " after it ignored its cancellation"
                        : !up             ? " before it was up"
                                          : "");
    if (!error->node.immortal) { /* without memory it says less */
        error->because = child->portal->farewell;
        child->portal->farewell = NULL;
    }
    yk_portal_lost(child->portal, yoke_error_ref(error));
    if (child->link_error != NULL) {
        rc = yk_flight_raise(yk_locus(), child->link_error);
        child->link_error = NULL;
    }
    if (rc < 0 && rc != YOKE_CANCELLED) {
        yk_error_suppress(yk_flight_now(yk_locus()), error); /* the failure in flight tells more */
        return rc;
    }
    if (start_cancelled ||
        (rung == 0 && (told || (expected && exited && WEXITSTATUS(child->exit.status) == 0)))) {
        yk_error_absorb(error);
        return rc;
    }
    return yk_flight_raise(yk_locus(), error);
}

int yk_child_supervise(void *arg)
{
    struct yk_actor_child *child = arg;
    struct yoke_nursery nursery;
    int rung = 0;
    int rc = spawn_process(child);

    if (rc < 0)
        return rc;
    rc = watch_process(child);
    if (rc < 0)
        return rc;
    rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = child->id.name});
    if (rc == 0)
        rc = yoke_spawn(&nursery, link_task, child);
    rc = live(child, rc, &rung);
    reap(child);
    rc = conclude(child, rc, rung);
    {
        struct yoke_error *failure = yk_flight_take(yk_locus());

        if (child->link_scope != NULL)
            yoke_scope_cancel(child->link_scope, "the process has ended");
        if (failure != NULL)
            rc = yk_flight_raise(yk_locus(), failure);
    }
    rc = yoke_nursery_close(&nursery, rc);
    yk_beat_unwatch(child->portal);
    end_link(child);
    return rc;
}
