/* SPDX-License-Identifier: MIT */
/*
 * The life of one incarnation: spawn, greet, call the main endpoint, wait, teardown. It runs in the
 * supervising task of its child, so that cancelling that is what takes the process down; the link
 * has tasks of its own behind a shield, since the teardown needs it until the process is gone.
 *
 * Whatever happens, it does not end before the process is reaped: nothing outlives its scope.
 */
#include "actor/process.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "actor/child.h"
#include "actor/registry.h"
#include "actor/spawner.h"
#include "base/check.h"
#include "base/text.h"
#include "io/ladder.h"

static struct yoke_host *host_of(const struct yk_incarnation *incarnation)
{
    return incarnation->portal->actor->runtime->host;
}

static void set_event(struct yk_incarnation *incarnation, struct yoke_event *event)
{
    yoke_event_set(event);
    while (yk_wake_first(&incarnation->waiters, 0))
        continue;
    yk_portal_changed(incarnation->portal); /* who waits for it to come up */
}

static void process_ready(struct yk_watch *watch, unsigned events)
{
    struct yk_incarnation *incarnation =
        yk_container_of(watch, struct yk_incarnation, process_watch);

    if (events & YK_READABLE)
        set_event(incarnation, &incarnation->process_ended);
}

/* One that can't be watched ends with its link, and is waited for in place. */
static int watch_thread(struct yk_incarnation *incarnation)
{
    struct yoke_host *host = host_of(incarnation);
    struct yk_exit exit;
    int rc;

    incarnation->process_watch.fd = incarnation->process.pidfd;
    rc = host->ops->watch_add(host, &incarnation->process_watch);
    if (rc == 0)
        return 0;
    shutdown(incarnation->portal->link.fd.watch.fd, SHUT_RDWR);
    (void)incarnation->child->spawner->reap(incarnation, &exit);
    close(incarnation->process.pidfd);
    return rc;
}

static int watch_process(struct yk_incarnation *incarnation)
{
    struct yk_ladder ladder = {
        host_of(incarnation),
        &incarnation->process,
        &incarnation->process_ended,
    };
    int rc;

    incarnation->process_watch.ready = process_ready;
    if (incarnation->child->spawner->kill != NULL)
        rc = yk_ladder_watch(&ladder, &incarnation->process_watch);
    else
        rc = watch_thread(incarnation);
    if (rc == 0)
        return 0;
    return yoke_raise("yoke.Spawn", rc, "actor %s: its process can't be watched: %s",
                      incarnation->child->id.name, strerror(-rc));
}

static void end_link(struct yk_incarnation *incarnation)
{
    if (incarnation->linked)
        yk_link_fini(&incarnation->portal->link);
    incarnation->linked = false;
}

static void stop_accepting(struct yk_incarnation *incarnation)
{
    if (incarnation->child->spawner->stop_accepting != NULL)
        incarnation->child->spawner->stop_accepting(incarnation);
}

static int start_linked(struct yk_incarnation *incarnation)
{
    struct yk_actor_child *child = incarnation->child;
    int fds[2];
    int rc = yk_link_unix_pair(fds);

    if (rc < 0)
        return yoke_raise("yoke.Spawn", rc, "actor %s: socketpair: %s", child->id.name,
                          strerror(-rc));
    rc = yk_link_init(&incarnation->portal->link, &yk_link_unix, fds[0]); /* takes fds[0] over */
    if (rc < 0) {
        close(fds[1]);
        return rc;
    }
    incarnation->linked = true;
    rc = child->spawner->start(incarnation, fds[1]);
    close(fds[1]);
    return rc;
}

/* Process, and link if it is there. After success the process exists and must be reaped. */
static int spawn_process(struct yk_incarnation *incarnation)
{
    struct yk_actor_child *child = incarnation->child;
    int rc = child->spawner->accept == NULL ? start_linked(incarnation)
                                            : child->spawner->start(incarnation, -1);

    if (rc == 0) {
        child->id.pid = (int32_t)incarnation->process.pid;
        rc = watch_process(incarnation);
    }
    if (rc < 0) {
        stop_accepting(incarnation);
        yk_tail_close(&incarnation->tail);
        end_link(incarnation);
    }
    return rc;
}

/* Its link is there: from the start, or once it has connected. As of yk_spawner.accept. */
static int have_link(struct yk_incarnation *incarnation)
{
    const struct yk_spawner *spawner = incarnation->child->spawner;

    return spawner->accept != NULL ? spawner->accept(incarnation) : 0;
}

/* The reader, and under it the writer; behind a shield until the supervisor cancels them. */
static int link_task(void *arg)
{
    struct yk_incarnation *incarnation = arg;
    struct yoke_portal *portal = incarnation->portal;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){
                                             .name = "link",
                                             .shield = true,
                                         });

    incarnation->link_scope = yoke_nursery_scope(&nursery);
    if (rc == 0)
        rc = have_link(incarnation);
    if (rc == 0)
        rc = yoke_spawn(&nursery, yk_link_writer, &portal->link);
    if (rc == 0 && incarnation->tail.open)
        rc = yoke_spawn(&nursery, yk_tail_pass_on, &incarnation->tail);
    if (rc == 0)
        rc = yk_portal_read(portal);
    if (rc == -EPIPE && yoke_in_flight() == NULL)
        rc = 0; /* it has never come */
    if (rc < 0 && rc != YOKE_CANCELLED) {
        yoke_note("on the link to actor %s (pid %d)", incarnation->child->id.name,
                  (int)incarnation->child->id.pid);
        incarnation->link_error = yk_flight_take(yk_locus());
        rc = 0;
    }
    set_event(incarnation, &incarnation->link_ended);
    if (rc == 0)
        yoke_scope_cancel(&nursery.scope, "the link has ended");
    rc = yoke_nursery_close(&nursery, rc);
    incarnation->link_scope = NULL;
    return rc;
}

/* The call of the main endpoint. What it fails with is for the supervising task to judge. */
static int main_task(void *arg)
{
    struct yk_incarnation *incarnation = arg;
    const struct yk_actor_child *child = incarnation->child;
    const struct yoke_site *site = child->supervisor->tasks->scope.site;
    struct yoke_context ctx;
    int rc = yoke_context_open_at(site, &ctx, incarnation->portal, child->run,
                                  child->args != NULL ? *child->args : yoke_nil(), NULL);

    if (rc == 0) {
        incarnation->main_started = true;
        while (yk_wake_first(&incarnation->waiters, 0))
            continue;
        rc = yoke_context_close_at(site, &ctx, 0, NULL);
        incarnation->main_returned = rc == 0 && !yk_task_self("main")->scope->effective;
    }
    if (rc < 0 && rc != YOKE_CANCELLED) {
        incarnation->main_error = yk_flight_take(yk_locus());
        rc = 0;
    }
    set_event(incarnation, &incarnation->main_ended);
    return rc;
}

/* What it may serve: its patterns, and its main endpoint. */
static size_t patterns_of(const struct yk_actor_child *child, char *text, size_t size,
                          struct yoke_pair *patterns, size_t max)
{
    size_t n = 0;
    char *rest = NULL;

    yk_text_copy(text, size, child->expose);
    for (char *word = strtok_r(text, " ", &rest); word != NULL && n + 1 < max;
         word = strtok_r(NULL, " ", &rest))
        patterns[n++] = (struct yoke_pair){word, yoke_str("")};
    if (child->run != NULL)
        patterns[n++] = (struct yoke_pair){child->run, yoke_str("")};
    return n;
}

/* The heartbeat's word. */
static void silent(struct yoke_portal *portal)
{
    struct yk_incarnation *incarnation = portal->incarnation;
    const struct yk_actor_child *child = incarnation->child;

    if (incarnation->link_error == NULL)
        incarnation->link_error =
            yk_error_make(YOKE_HERE, "yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                          "actor %s (pid %d) gave no sign of life for %lld ms", child->id.name,
                          (int)child->id.pid, (long long)(child->heartbeat_ns / 1000000));
    if (incarnation->link_scope != NULL)
        yoke_scope_cancel(incarnation->link_scope, "the actor is silent");
}

/* Until it listens as it was told, if it can say so. */
static int wait_listening(struct yk_incarnation *incarnation)
{
    struct yoke_portal *portal = incarnation->portal;
    int rc = 0;

    while (rc == 0 && incarnation->child->listens && portal->version >= 2 &&
           portal->address[0] == '\0' && portal->farewell == NULL && !portal->ended)
        rc = yk_wait_in(&portal->waiters, "an actor to listen", NULL);
    if (rc == 0 && portal->farewell != NULL) {
        struct yoke_error *farewell = portal->farewell;

        portal->farewell = NULL;
        rc = yk_flight_raise(yk_locus(), farewell);
    }
    return rc;
}

static int send_spec(struct yk_incarnation *incarnation)
{
    const struct yk_actor_child *child = incarnation->child;
    struct yoke_value registrars[YK_CHILD_LISTENS_MAX], bind_addr;
    struct yk_arena arena;
    int rc = 0;

    struct yk_message message = {.type = YK_SPAWN_SPEC};
    struct yk_spawn_spec *spec = &message.as.spawn_spec;
    struct yoke_pair patterns[64];
    char text[4096];
    size_t n = patterns_of(child, text, sizeof text, patterns, 64);

    spec->parent_main_data = yoke_map(NULL, 0);
    spec->runtime_vars = YOKE_MAP({"_is_root", yoke_bool(false)});
    spec->enable_modules = yoke_map(patterns, n);
    spec->bind_addrs = yoke_nil();
    yk_arena_init(&arena);
    rc = yk_registrar_addresses(incarnation->portal->actor, &arena, registrars,
                                YK_CHILD_LISTENS_MAX);
    spec->reg_addrs = yoke_array(registrars, rc < 0 ? 0 : (size_t)rc);
    rc = rc < 0 ? rc : 0;
    if (rc == 0 && child->listens) {
        rc = yk_place_to_wire(&arena, &child->listen, &bind_addr);
        spec->bind_addrs = yoke_array(&bind_addr, 1);
    }
    if (rc == 0)
        rc = yk_portal_send(incarnation->portal, &message);
    yk_arena_fini(&arena);
    return rc;
}

static bool has_ended(const struct yk_incarnation *incarnation)
{
    return yoke_event_is_set(&incarnation->process_ended) ||
           yoke_event_is_set(&incarnation->link_ended) ||
           yoke_event_is_set(&incarnation->main_ended);
}

/* Waits for the end of the process, of its link or of its main endpoint, whichever comes first. */
static int wait_end(struct yk_incarnation *incarnation)
{
    int rc = 0;

    while (rc == 0 && !has_ended(incarnation))
        rc = yk_wait_in(&incarnation->waiters, "an actor to end", NULL);
    return rc;
}

static int wait_main_started(struct yk_incarnation *incarnation)
{
    int rc = yoke_spawn(incarnation->tasks, main_task, incarnation);

    incarnation->main_called = rc == 0;
    while (rc == 0 && !incarnation->main_started && !has_ended(incarnation))
        rc = yk_wait_in(&incarnation->waiters, "a main endpoint to start", NULL);
    return rc;
}

/* One that connects may end before. 0; YOKE_CANCELLED; -EPIPE (not raised). */
static int wait_connected(struct yk_incarnation *incarnation)
{
    struct yoke_portal *portal = incarnation->portal;
    int rc = 0;

    while (rc == 0 && !portal->up && !has_ended(incarnation))
        rc = yk_wait_in(&portal->waiters, "an actor to connect", NULL);
    return rc == 0 && !portal->up ? -EPIPE : rc;
}

static int meet(struct yk_incarnation *incarnation)
{
    struct yoke_portal *portal = incarnation->portal;
    int rc;

    if (incarnation->child->spawner->accept != NULL)
        return wait_connected(incarnation);
    rc = yk_portal_greet(portal);
    return rc == 0 ? yk_portal_wait_up(portal) : rc;
}

static int greet(struct yk_incarnation *incarnation)
{
    const struct yk_spawner *spawner = incarnation->child->spawner;
    int rc = meet(incarnation);

    if (rc == -EPIPE)
        return 0; /* its end is told below, with its status */
    yk_tail_drain(&incarnation->tail);
    if (rc == 0)
        rc = (spawner->send_spec != NULL ? spawner->send_spec : send_spec)(
            incarnation); /* it goes over to our stderr now */
    if (rc == 0)
        rc = wait_listening(incarnation);
    if (rc == 0 && incarnation->child->run != NULL)
        rc = wait_main_started(incarnation);
    return rc;
}

static int not_up_in_time(const struct yk_incarnation *incarnation)
{
    const struct yk_actor_child *child = incarnation->child;
    long long ms = (long long)(child->start_ns / 1000000);

    if (incarnation->portal->up)
        return yoke_raise("yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                          "actor %s (pid %d): its main endpoint %s did not call "
                          "yoke_context_started within %lld ms",
                          child->id.name, (int)child->id.pid, child->run, ms);
    return yoke_raise("yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                      "actor %s (pid %d) was not up within %lld ms; is it a program that %s?",
                      child->id.name, (int)child->id.pid, ms,
                      child->spawner->accept != NULL ? "speaks tractor's protocol"
                                                     : "calls yoke_main");
}

static bool is_up(const struct yk_incarnation *incarnation)
{
    return incarnation->portal->up &&
           (incarnation->child->run == NULL || incarnation->main_started);
}

/* Until the child is up: greeted, and its main endpoint started. */
static int come_up(struct yk_incarnation *incarnation)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "actor start",
                                         .timeout_ns = incarnation->child->start_ns,
                                     });

    if (rc == 0)
        rc = greet(incarnation);
    rc = yoke_scope_close(&scope, rc);
    if (rc == 0 && yoke_scope_cancelled_caught(&scope))
        rc = not_up_in_time(incarnation);
    if (rc == 0 && incarnation->child->heartbeat_ns > 0)
        yk_beat_watch(incarnation->portal, incarnation->child->heartbeat_ns, silent);
    return rc;
}

/* A link that ends takes the process with it, which gets a moment to have ended by itself. */
static int check_link(struct yk_incarnation *incarnation)
{
    if (!yoke_event_is_set(&incarnation->link_ended) || incarnation->link_error != NULL ||
        yk_ladder_wait(&incarnation->process_ended, YOKE_S(1)))
        return 0;
    return yoke_raise("yoke.LinkLost", YOKE_ELINK,
                      "actor %s (pid %d) closed its link but lives; it is ended",
                      incarnation->child->id.name, (int)incarnation->child->id.pid);
}

/* The life of a process that exists; it has ended on return. Its failure is in flight then. */
static int live(struct yk_incarnation *incarnation, int rc)
{
    if (rc == 0)
        rc = come_up(incarnation);
    if (rc == 0 && is_up(incarnation)) {
        rc = yk_child_up(incarnation->child);
        if (rc == 0)
            rc = wait_end(incarnation);
    }
    if (rc == 0)
        rc = check_link(incarnation);
    if (!yoke_event_is_set(&incarnation->process_ended)) {
        struct yoke_error *failure = yk_flight_take(yk_locus());

        yk_teardown(incarnation, failure);
        if (failure != NULL)
            rc = yk_flight_raise(yk_locus(), failure);
    }
    incarnation->child->serving = false;
    stop_accepting(incarnation);
    /* What it sent before its end comes first. No descendant holds the link: it is close-on-exec.
     */
    if (incarnation->link_scope != NULL)
        (void)yk_ladder_wait(&incarnation->link_ended, YOKE_S(1));
    return rc;
}

/* Takes over `other`, which may be NULL, or the same object. */
static void suppress(struct yoke_error *error, struct yoke_error *other)
{
    if (other == error)
        yoke_error_unref(other);
    else if (other != NULL)
        yk_error_suppress(error, other);
}

/* The main endpoint's failure. That it was cancelled is none if the actor has ended in order. */
static struct yoke_error *take_main_error(struct yk_incarnation *incarnation, bool in_order)
{
    const struct yk_actor_child *child = incarnation->child;
    struct yoke_error *error = incarnation->main_error;
    char note[256];

    incarnation->main_error = NULL;
    if (error == NULL)
        return NULL;
    if (in_order && error->code == YOKE_EPEERCANCELLED) {
        yk_error_absorb(error);
        return NULL;
    }
    snprintf(note, sizeof note, "in %s, the main endpoint of actor %s (pid %d)", child->run,
             child->id.name, (int)child->id.pid);
    if (error->code != YOKE_EDIED)
        (void)yk_error_add_note(error, note);
    return error;
}

/*
 * Why it ended, as one error: what is in flight in the supervising task, what the reader of its
 * link and the call of its main endpoint ended with, and its death, which is told last.
 */
static struct yoke_error *gather(struct yk_incarnation *incarnation, struct yoke_error *died,
                                 bool in_order)
{
    struct yk_locus *locus = yk_locus();
    struct yoke_error *main_error = take_main_error(incarnation, in_order);
    struct yoke_error *error = incarnation->link_error;
    struct yoke_error *now;

    incarnation->link_error = NULL;
    if (error == NULL) {
        now = yk_flight_now(locus);
        if (now == NULL || now->cancelled) {
            error = main_error;
            main_error = NULL;
        }
    }
    if (error != NULL && error != died)
        yk_flight_raise(locus, error);
    else if (error == died)
        yoke_error_unref(error);
    now = yk_flight_now(locus);
    if (now == NULL || now->cancelled)
        return NULL;
    error = yk_flight_take(locus);
    suppress(error, main_error);
    return error;
}

static void keep_end(struct yk_actor_child *child, const struct yoke_error *error)
{
    yoke_error_unref(child->last_end);
    child->last_end = yoke_error_ref(error);
}

/* Its last words are why it died. Without memory it says less. */
static void take_farewell(struct yk_incarnation *incarnation, struct yoke_error *died)
{
    struct yoke_portal *portal = incarnation->portal;

    if (died->node.immortal)
        return;
    died->because = portal->farewell;
    portal->farewell = NULL;
}

/* The process is reaped: ends what waits for the peer, and judges its end. */
static void conclude(struct yk_incarnation *incarnation, int rc)
{
    struct yk_actor_child *child = incarnation->child;
    struct yoke_error *died = yk_teardown_died(incarnation);
    int status = child->exit.status;
    bool in_order = incarnation->rung == 0 && !incarnation->stuck && WIFEXITED(status) &&
                    WEXITSTATUS(status) == 0;
    bool wanted = (incarnation->asked && !incarnation->main_returned) || child->front->end_expected;
    /* One whose start was cancelled is not asked, it has nobody yet to hear it: it is signalled. */
    bool start_cancelled = child->phase != YK_CHILD_UP && rc == YOKE_CANCELLED;

    /* Who broke the protocol is told as that, by its contexts, too: one error, seen by all. */
    yk_portal_lost(incarnation->portal,
                   yoke_error_ref(incarnation->link_error != NULL ? incarnation->link_error
                                                                  : died));
    if (incarnation->main_called)
        (void)yk_ladder_wait(&incarnation->main_ended, 0);
    take_farewell(incarnation, died);
    incarnation->told = incarnation->portal->end_told && incarnation->rung == 0 &&
                        WIFEXITED(status) && !incarnation->main_called;
    incarnation->failure = gather(incarnation, died, in_order);
    yk_tail_drain(&incarnation->tail);
    if (!incarnation->portal->up)
        yk_tail_note(&incarnation->tail,
                     incarnation->failure != NULL ? incarnation->failure : died);
    keep_end(child, incarnation->failure != NULL ? incarnation->failure : died);
    if (incarnation->failure != NULL) {
        incarnation->end = YK_END_FAILED;
        yk_error_suppress(incarnation->failure, died); /* the failure tells more */
    } else if (start_cancelled || (in_order && wanted)) {
        incarnation->end = YK_END_ASKED;
        yk_error_absorb(died);
    } else {
        incarnation->end = in_order ? YK_END_NORMAL : YK_END_FAILED;
        incarnation->failure = died;
    }
}

/* From the process on. Returns 0 or YOKE_CANCELLED. */
static int run_process(struct yk_incarnation *incarnation)
{
    struct yoke_nursery nursery;
    struct yoke_error *cancelled;
    int rc = yoke_nursery_open(&nursery,
                               &(struct yoke_nursery_opts){.name = incarnation->child->id.name});

    incarnation->tasks = &nursery;
    if (rc == 0)
        rc = yoke_spawn(&nursery, link_task, incarnation);
    if (rc < 0)
        yoke_event_set(&incarnation->link_ended);
    rc = live(incarnation, rc);
    yk_teardown_reap(incarnation);
    conclude(incarnation, rc);
    cancelled = yk_flight_take(yk_locus());
    if (incarnation->link_scope != NULL)
        yoke_scope_cancel(incarnation->link_scope, "the process has ended");
    rc = cancelled != NULL ? yk_flight_raise(yk_locus(), cancelled) : 0;
    rc = yoke_nursery_close(&nursery, rc);
    incarnation->tasks = NULL;
    yk_beat_unwatch(incarnation->portal);
    yk_tail_close(&incarnation->tail);
    end_link(incarnation);
    return rc;
}

static int prepare(struct yk_incarnation *incarnation, struct yk_actor_child *child)
{
    memset(incarnation, 0, sizeof *incarnation);
    incarnation->child = child;
    incarnation->process.pidfd = -1;
    incarnation->tail.write_fd = -1;
    yoke_event_init(&incarnation->process_ended);
    yoke_event_init(&incarnation->link_ended);
    yoke_event_init(&incarnation->main_ended);
    yk_list_init(&incarnation->waiters);
    yk_uuid_new(yk_runtime_current, child->id.uuid);
    incarnation->portal = yk_portal_new(child->front->actor);
    if (incarnation->portal == NULL)
        return -ENOMEM;
    incarnation->portal->incarnation = incarnation;
    incarnation->portal->child = child;
    return 0;
}

int yk_incarnation_run(struct yk_actor_child *child)
{
    struct yk_incarnation *incarnation = &child->now;
    int rc = prepare(incarnation, child);

    if (rc == 0)
        rc = spawn_process(incarnation);
    if (rc == 0)
        rc = run_process(incarnation);
    if (rc < 0 && rc != YOKE_CANCELLED) {
        struct yoke_error *error = yk_flight_take(yk_locus());

        suppress(error, incarnation->failure);
        keep_end(child, error);
        incarnation->end = YK_END_FAILED;
        incarnation->failure = error;
        rc = 0;
    }
    if (incarnation->portal != NULL) {
        incarnation->portal->incarnation = NULL;
        incarnation->portal->child = NULL;
    }
    yk_portal_unref(incarnation->portal);
    incarnation->portal = NULL;
    return rc;
}
