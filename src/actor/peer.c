/* SPDX-License-Identifier: MIT */
/*
 * Peers: listening, dialling, and the life of a link to an actor that is neither parent nor child.
 * Both ends are alike once they are connected: greet, hear the other's Aid, then read until the
 * end. Its tasks are the system nursery's, so that a link outlives the task that opened it and ends
 * with the runtime.
 *
 * Whatever a peer does, its link's task never fails: an error of the peer is the reason why its
 * link was lost, told to those who have contexts over it, to the peer itself as far as it listens,
 * and to whom yoke_actor_listen_opts.dropped names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "actor/registry.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/conn.h"

_Static_assert((int)YOKE_ADDRESS_MAX == (int)YK_PLACE_MAX, "one size for addresses");

/* What the peer must say first, within a bound. 0, or raised. */
static int meet(struct yoke_portal *portal, int64_t timeout_ns)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "greeting",
                                         .timeout_ns = timeout_ns,
                                     });

    if (rc == 0)
        rc = yk_portal_greet(portal);
    if (rc == 0)
        rc = yk_portal_meet(portal);
    rc = yoke_scope_close(&scope, rc);
    if (rc == 0 && !portal->up)
        rc = yoke_raise("yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                        "a peer did not say who it is within %lld ms",
                        (long long)(timeout_ns / 1000000));
    return rc;
}

/* How a link ended that read to its end, or that this side has cancelled. */
static const char *how_it_ended(const struct yoke_portal *portal, int rc)
{
    if (portal->beat.silent >= YK_BEATS)
        return "it was silent for too long";
    if (rc == YOKE_CANCELLED)
        return "this side closed it";
    if (rc < 0)
        return "it broke the protocol";
    if (portal->farewell != NULL)
        return "it ended the link";
    return portal->link.error == 0 ? "it closed the connection" : strerror(-portal->link.error);
}

/* Tells all who wait for this peer. `reason` may be NULL; taken over. */
static void lose(struct yoke_portal *portal, int rc, struct yoke_error *reason)
{
    const char *how = how_it_ended(portal, rc);
    struct yoke_error *lost;

    if (reason == NULL) {
        reason = portal->farewell;
        portal->farewell = NULL;
    }
    (void)yoke_raise_because(reason, "yoke.LinkLost", YOKE_ELINK,
                             "the link to actor %s (pid %d)%s%s was lost: %s", portal->id.name,
                             (int)portal->id.pid, portal->address[0] != '\0' ? " at " : "",
                             portal->address, how);
    lost = yk_flight_take(yk_locus());
    yk_error_settle(lost); /* whoever it concerns is cancelled for it, and told */
    yk_portal_lost(portal, lost);
}

/* The heartbeat's word. The reader, which waits, hears of it by being cancelled. */
static void silent(struct yoke_portal *portal)
{
    if (portal->link_scope != NULL)
        yoke_scope_cancel(portal->link_scope, "the peer is silent");
}

/* From its Aid to its end. Returns as yk_portal_read. */
static int live(struct yoke_portal *portal)
{
    int rc;

    if (portal->is_probe)
        return 0; /* it has seen that we are there */
    if (portal->greeting != NULL)
        (*portal->greeting)--;
    portal->greeting = NULL;
    yk_beat_watch(portal, 0, silent);
    rc = yk_portal_read(portal);
    yk_beat_unwatch(portal);
    return rc;
}

/*
 * The tasks of a link, to its end: the reader is the body. `rc` is what was wrong with it from the
 * start. Returns 0, YOKE_CANCELLED, or why the peer was not let in, raised. What it does wrong
 * later is in *ret_reason, owned.
 */
static int run_link(struct yoke_portal *portal, int rc, int64_t greeting_ns, bool accepted,
                    struct yoke_error **ret_reason)
{
    struct yoke_nursery nursery;
    struct yoke_error *failure;
    int opened = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "peer link"});

    portal->link_scope = yoke_nursery_scope(&nursery);
    if (opened == 0)
        opened = yoke_spawn(&nursery, yk_link_writer, &portal->link);
    if (rc == 0)
        rc = opened;
    if (rc == 0)
        rc = meet(portal, greeting_ns);
    if (rc == 0 && !accepted)
        rc = yoke_started(portal);
    if (rc == 0)
        rc = live(portal);
    failure = yk_flight_take(yk_locus());
    if (failure != NULL && !failure->cancelled && failure->remote == NULL)
        yk_portal_farewell(portal, failure); /* unless it is the peer's own */
    if (portal->up) {
        if (failure != NULL && !failure->cancelled) {
            *ret_reason = yoke_error_ref(failure);
            lose(portal, rc, failure);
            failure = NULL;
            rc = 0;
        } else {
            lose(portal, rc, NULL);
        }
    }
    yoke_scope_cancel(&nursery.scope, "the link has ended");
    if (failure != NULL)
        rc = yk_flight_raise(yk_locus(), failure);
    rc = yoke_nursery_close(&nursery, rc);
    portal->link_scope = NULL;
    return rc;
}

/* --- listening -------------------------------------------------------------------------------- */

static void drop(const struct yk_listens *listens, const struct yoke_error *error)
{
    if (listens->opts.dropped != NULL)
        listens->opts.dropped(error, listens->opts.arg);
}

/* A connection as a link. 0 and a portal whose link is to be run; or raised, and it is closed. */
static int link_to(struct yk_actor *actor, const struct yk_transport *transport, int fd,
                   struct yoke_portal **ret_portal)
{
    struct yoke_portal *portal = yk_portal_new(actor);
    int rc;

    if (portal == NULL) {
        close(fd);
        return -ENOMEM;
    }
    rc = yk_link_init(&portal->link, transport->link, fd);
    if (rc < 0) {
        yk_portal_unref(portal);
        return rc;
    }
    *ret_portal = portal;
    return 0;
}

/* What is wrong with a peer before it has said anything. */
static int check_newcomer(const struct yk_listens *listens, struct yoke_conn *conn)
{
    if (listens->greeting >= YK_GREETINGS_MAX)
        return yoke_raise("yoke.Refused", EAGAIN,
                          "%u peers have connected to %s and not said who they are",
                          listens->greeting, listens->address);
    return listens->place.transport->admit(conn);
}

/* Handler of a connection; a failure goes to `drop`. */
static int serve_peer(struct yoke_conn *conn, void *arg)
{
    struct yk_listens *listens = arg;
    struct yoke_error *reason = NULL, *newcomer;
    struct yoke_portal *portal;
    int refused = check_newcomer(listens, conn);
    int rc;

    newcomer = yk_flight_take(yk_locus());
    rc = link_to(listens->actor, listens->place.transport, yk_conn_take(conn), &portal);
    if (newcomer != NULL)
        refused = yk_flight_raise(yk_locus(), newcomer);
    if (rc < 0)
        return refused < 0 ? refused : rc;
    portal->greeting = &listens->greeting;
    listens->greeting++;
    rc = run_link(portal, refused, listens->opts.greeting_timeout_ns, true, &reason);
    if (portal->greeting != NULL)
        listens->greeting--;
    yk_link_fini(&portal->link);
    yk_portal_unref(portal);
    if (reason != NULL)
        drop(listens, reason);
    yoke_error_unref(reason);
    return rc;
}

static void dropped(const struct yoke_error *error, void *arg)
{
    drop(arg, error);
}

static int listen_task(void *arg)
{
    struct yk_listens *listens = arg;
    int rc = yoke_serve(listens->listener, serve_peer, listens,
                        &(struct yoke_serve_opts){
                            .name = "peer",
                            .limit = YK_PEERS_MAX,
                            .failed = dropped,
                        });

    yoke_listener_unref(listens->listener);
    yk_list_remove(&listens->in_actor);
    free(listens);
    return rc;
}

static int listen_at(struct yk_actor *actor, struct yk_listens *listens)
{
    int rc = listens->place.transport->listen(actor->runtime->actor.name, &listens->place,
                                              &listens->listener);

    if (rc < 0)
        return rc;
    yk_place_format(&listens->place, listens->address);
    rc = yoke_spawn(actor->runtime->system, listen_task, listens);
    if (rc < 0) {
        yoke_listener_unref(listens->listener);
        return rc;
    }
    yk_list_append(&actor->listenings, &listens->in_actor);
    return 0;
}

static int listen_place(struct yk_actor *actor, const struct yk_place *place,
                        const struct yoke_actor_listen_opts *opts, struct yk_listens **ret)
{
    struct yk_listens *listens = yk_calloc(1, sizeof *listens);
    int rc;

    if (listens == NULL)
        return yoke_raise("yoke.Actor", ENOMEM, "no memory to listen");
    listens->actor = actor;
    listens->place = *place;
    if (opts != NULL)
        listens->opts = *opts;
    if (listens->opts.greeting_timeout_ns <= 0)
        listens->opts.greeting_timeout_ns = YK_GREETING_NS;
    rc = listen_at(actor, listens);
    if (rc < 0)
        free(listens);
    else
        *ret = listens;
    return rc;
}

int yoke_actor_listen(const char *address, const struct yoke_actor_listen_opts *opts,
                      char *ret_address)
{
    struct yk_task *task = yk_task_self("yoke_actor_listen");
    struct yk_actor *actor = yk_actor_of(task->runtime);
    struct yk_listens *listens = NULL;
    struct yk_place place;
    int rc = actor == NULL ? -ENOMEM : yk_check_cancelled(task);

    if (rc == 0)
        rc = yk_place_parse(address, &place);
    if (rc == 0)
        rc = listen_place(actor, &place, opts, &listens);
    if (rc == 0 && ret_address != NULL)
        yk_text_copy(ret_address, YOKE_ADDRESS_MAX, listens->address);
    return rc < 0 ? rc : yk_registrar_update(actor);
}

const char *yoke_actor_address(void)
{
    struct yk_actor *actor = yk_task_self("yoke_actor_address")->runtime->slots[YK_SLOT_ACTOR].data;

    if (actor == NULL || yk_list_empty(&actor->listenings))
        return "";
    return yk_container_of(actor->listenings.next, struct yk_listens, in_actor)->address;
}

/* --- listening as a child --------------------------------------------------------------------- */

struct told {
    struct yk_actor *actor;
    size_t n;
    struct yk_place places[]; /* n */
};

static int tell_addresses(struct yk_actor *actor)
{
    struct yoke_value pairs[YK_CHILD_LISTENS_MAX];
    struct yk_message message = {.type = YK_LISTENING};
    struct yk_arena arena;
    size_t n = 0;
    int rc = 0;

    yk_arena_init(&arena);
    yk_list_for_each (node, &actor->listenings) {
        struct yk_listens *listens = yk_container_of(node, struct yk_listens, in_actor);

        if (rc == 0 && n < YK_CHILD_LISTENS_MAX)
            rc = yk_place_to_wire(&arena, &listens->place, &pairs[n++]);
    }
    message.as.listening.addrs = yoke_array(pairs, n);
    if (rc == 0)
        rc = yk_portal_send(actor->parent, &message);
    yk_arena_fini(&arena);
    return rc;
}

/* A child that can't listen as it was told tells its parent why, who then ends it. */
static int listen_as_told(void *arg)
{
    struct told *told = arg;
    struct yk_actor *actor = told->actor;
    struct yk_listens *listens;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < told->n; i++)
        rc = listen_place(actor, &told->places[i], NULL, &listens);
    if (rc == 0)
        rc = yk_registrar_update(actor);
    if (rc == 0 && actor->parent->version >= 2)
        rc = tell_addresses(actor);
    free(told);
    if (rc < 0 && rc != YOKE_CANCELLED) {
        yk_relay_error(actor->parent, NULL, yk_flight_take(yk_locus()));
        rc = 0;
    }
    return rc;
}

/* The first registrar that can be connected to from here; a parent of another kind may name more.
 */
static int use_registrar(struct yk_actor *actor, struct yoke_value addresses)
{
    size_t n = addresses.type == YOKE_ARRAY_VALUE ? addresses.as.array.n : 0;
    struct yk_place place;

    for (size_t i = 0; i < n; i++) {
        if (yk_place_from_wire(addresses.as.array.items[i], &place) == 0)
            return yk_registrar_set(actor, &place);
        yoke_clear();
    }
    return 0;
}

int yk_peer_listen_as_told(struct yk_actor *actor, const struct yk_spawn_spec *spec)
{
    size_t n = spec->bind_addrs.type == YOKE_ARRAY_VALUE ? spec->bind_addrs.as.array.n : 0;
    struct told *told;
    int rc = use_registrar(actor, spec->reg_addrs);

    if (n == 0 || rc < 0)
        return rc;
    if (n > YK_CHILD_LISTENS_MAX)
        return yoke_raise("yoke.BadMessage", EINVAL, "a SpawnSpec with %zu addresses", n);
    told = yk_calloc(1, sizeof *told + n * sizeof told->places[0]);
    if (told == NULL)
        return yoke_raise("yoke.Actor", ENOMEM, "no memory to listen");
    told->actor = actor;
    told->n = n;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = yk_place_from_wire(spec->bind_addrs.as.array.items[i], &told->places[i]);
    if (rc == 0)
        rc = yoke_spawn(actor->runtime->system, listen_as_told, told);
    if (rc < 0)
        free(told);
    return rc;
}

/* --- dialling --------------------------------------------------------------------------------- */

/* A link to that address that stands. */
static struct yoke_portal *opened_already(struct yk_actor *actor, const struct yk_place *place)
{
    yk_list_for_each (node, &actor->dialled) {
        struct yoke_portal *portal = yk_container_of(node, struct yoke_portal, in_dialled);

        if (portal->lost == NULL && !portal->ended && yk_place_equal(&portal->place, place))
            return portal;
    }
    return NULL;
}

static int dialled_link(void *arg)
{
    struct yoke_portal *portal = yk_portal_ref(arg);
    struct yoke_error *reason = NULL;
    int rc;

    portal->ran = true;
    rc = run_link(portal, 0, portal->greeting_ns, false, &reason);
    yk_list_remove(&portal->in_dialled);
    yk_link_fini(&portal->link);
    yk_portal_unref(portal);
    yoke_error_unref(reason);
    return rc;
}

/* Connects and greets. 0 and a portal, with one reference for the caller. */
static int dial(struct yk_actor *actor, const struct yk_place *place, int64_t timeout_ns,
                struct yoke_portal **ret_portal)
{
    struct yoke_portal *portal = NULL;
    int fd;
    int rc = yk_dial(place, &fd);

    if (rc == 0)
        rc = link_to(actor, place->transport, fd, &portal);
    if (rc < 0)
        return rc;
    portal->place = *place;
    portal->greeting_ns = timeout_ns;
    yk_place_format(place, portal->address);
    rc = yoke_start_at(YOKE_HERE, actor->runtime->system, dialled_link, "peer link", portal, NULL,
                       NULL);
    if (rc < 0) {
        if (!portal->ran)
            yk_link_fini(&portal->link);
        yk_portal_unref(portal);
        return rc;
    }
    if (portal->lost == NULL)
        yk_list_append(&actor->dialled, &portal->in_dialled);
    *ret_portal = portal;
    return 0;
}

/* The same within a bound. */
static int dial_in_time(struct yk_actor *actor, const struct yk_place *place, int64_t timeout_ns,
                        struct yoke_portal **ret_portal)
{
    struct yoke_scope scope;
    struct yoke_portal *portal = NULL;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "dialling",
                                         .timeout_ns = timeout_ns,
                                     });

    if (rc == 0)
        rc = dial(actor, place, timeout_ns, &portal);
    rc = yoke_scope_close(&scope, rc);
    if (rc == 0 && portal == NULL)
        rc = yoke_raise("yoke.Unresponsive", YOKE_EUNRESPONSIVE,
                        "the actor did not say who it is within %lld ms",
                        (long long)(timeout_ns / 1000000));
    if (rc == 0)
        *ret_portal = portal;
    else
        yk_portal_unref(portal);
    return rc;
}

static int probe(struct yk_actor *actor, const struct yk_place *place, bool *ret_there)
{
    struct yoke_portal *portal = NULL;
    int fd;
    int rc = yk_dial(place, &fd);

    if (rc == 0)
        rc = link_to(actor, place->transport, fd, &portal);
    if (rc < 0)
        return rc;
    portal->probing = true;
    rc = yk_portal_greet(portal);
    if (rc == 0)
        rc = yk_portal_meet(portal);
    *ret_there = rc == 0;
    yk_link_fini(&portal->link);
    yk_portal_unref(portal);
    return rc;
}

int yk_peer_probe(struct yk_actor *actor, const struct yk_place *place, int64_t timeout_ns)
{
    struct yoke_scope scope;
    bool there = false;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "probe",
                                         .timeout_ns = timeout_ns,
                                     });

    if (rc == 0)
        rc = probe(actor, place, &there);
    rc = yoke_scope_close(&scope, rc);
    if (rc == 0 && !there)
        rc = yoke_raise("yoke.Unresponsive", YOKE_EUNRESPONSIVE, "no answer to a probe");
    return rc;
}

int yoke_portal_open(const char *address, const struct yoke_portal_opts *opts,
                     struct yoke_portal **ret_portal)
{
    struct yk_task *task = yk_task_self("yoke_portal_open");
    struct yk_actor *actor = yk_actor_of(task->runtime);
    int64_t timeout_ns = opts != NULL && opts->timeout_ns > 0 ? opts->timeout_ns : YK_GREETING_NS;
    struct yoke_portal *portal;
    struct yk_place place;
    int rc = actor == NULL ? -ENOMEM : yk_check_cancelled(task);

    if (rc == 0)
        rc = yk_place_parse(address, &place);
    if (rc < 0)
        return rc;
    portal = opened_already(actor, &place);
    if (portal != NULL) {
        yk_portal_ref(portal);
        yk_completed_at_once(task);
    } else {
        rc = dial_in_time(actor, &place, timeout_ns, &portal);
        if (rc < 0) {
            yoke_note("opening a portal to %s", address);
            return rc;
        }
    }
    portal->opens++;
    *ret_portal = portal;
    return 0;
}

void yoke_portal_close_at(const struct yoke_site *site, struct yoke_portal *portal)
{
    yk_task_self("yoke_portal_close");
    if (portal == NULL)
        return;
    if (portal->opens == 0)
        yk_misuse(site, NULL, NULL, "close of a portal that yoke_portal_open did not give");
    if (portal->opens == 1 && yk_portal_in_use(portal))
        yk_misuse(site, NULL, NULL, "close of a portal over which a context is open");
    portal->opens--;
    if (portal->opens == 0) {
        yk_list_remove(&portal->in_dialled);
        if (portal->link_scope != NULL)
            yoke_scope_cancel(portal->link_scope, "its portal was closed");
    }
    yk_portal_unref(portal);
}

const char *yoke_portal_address(const struct yoke_portal *portal)
{
    return portal->address;
}

bool yoke_portal_connected(const struct yoke_portal *portal)
{
    return portal->up && portal->lost == NULL && !portal->ended;
}
