/* SPDX-License-Identifier: MIT */
/*
 * The heartbeat: one task per actor, while it has links to watch, that looks at each of them now
 * and then. A link on which something came since the last look is alive, at the cost of comparing
 * two numbers; on one where nothing came the peer is asked (Ping), and its reader answers (Pong).
 * After YK_BEATS looks in a row without a sign of life the peer is lost. A link is looked at
 * YK_BEATS + 1 times in the bound, so that it is lost within the bound, and not before 4/5 of it.
 *
 * Looks are counted, and not the time since the last sign: when this process itself was stopped or
 * busy for long, its first look after that must not find everybody else silent.
 */
#include "actor/actor.h"

#include "base/limits.h"

static int64_t silence_of(const struct yoke_portal *portal)
{
    int64_t silence = portal->beat.silence_ns;

    if (silence == 0)
        silence = portal->actor->silence_ns;
    return silence == 0 ? YK_SILENCE_NS : silence;
}

static void ask(struct yoke_portal *portal)
{
    struct yk_message ping = {.type = YK_PING, .as.beat.n = portal->beat.silent};

    if (yk_portal_send(portal, &ping) < 0)
        yoke_clear(); /* no memory: then the next one asks */
}

/* Whether the peer is lost. */
static bool look(struct yoke_portal *portal)
{
    struct yk_beat_state *beat = &portal->beat;
    size_t partial = yk_buffer_size(&portal->link.in); /* a large message that is on its way */

    if (beat->heard != portal->heard || beat->partial != partial) {
        beat->heard = portal->heard;
        beat->partial = partial;
        beat->silent = 0;
    } else if (++beat->silent >= YK_BEATS) {
        return true;
    } else {
        ask(portal);
    }
    return false;
}

/* Looks at the links whose time it is; when the next one is due, 0: never. */
static int64_t look_at_all(struct yk_actor *actor)
{
    int64_t now = yoke_now(), next = 0;
    struct yk_list *node = actor->links.next;

    while (node != &actor->links) {
        struct yoke_portal *portal = yk_container_of(node, struct yoke_portal, in_links);
        int64_t silence = silence_of(portal);

        node = node->next;
        if (silence < 0)
            continue;
        if (portal->beat.next_ns <= now) {
            portal->beat.next_ns = now + silence / (YK_BEATS + 1);
            if (look(portal)) {
                yk_beat_unwatch(portal);
                portal->beat.lost(portal);
                continue;
            }
        }
        if (next == 0 || portal->beat.next_ns < next)
            next = portal->beat.next_ns;
    }
    return next;
}

/* Until then, or until the links or bounds change. */
static int wait_until(struct yk_actor *actor, int64_t next)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "until the next look",
                                         .deadline_ns = next,
                                     });

    if (rc == 0)
        rc = yk_wait_in(&actor->beat_wait, "the next look at silent peers", NULL);
    return yoke_scope_close(&scope, rc);
}

static int beat(void *arg)
{
    struct yk_actor *actor = arg;
    int rc = 0;

    while (rc == 0 && !yk_list_empty(&actor->links)) {
        int64_t next = look_at_all(actor);

        if (!yk_list_empty(&actor->links))
            rc = wait_until(actor, next);
    }
    actor->beating = false;
    return rc;
}

void yk_beat_watch(struct yoke_portal *portal, int64_t silence_ns,
                   void (*lost)(struct yoke_portal *portal))
{
    struct yk_actor *actor = portal->actor;

    if (portal->version < 2)
        return;
    portal->beat.silence_ns = silence_ns;
    portal->beat.lost = lost;
    portal->beat.next_ns = yoke_now() + silence_of(portal) / (YK_BEATS + 1);
    yk_list_append(&actor->links, &portal->in_links);
    if (actor->beating) {
        yk_wake_first(&actor->beat_wait, 0);
        return;
    }
    actor->beating = true;
    if (yoke_spawn(actor->runtime->system, beat, actor) < 0) {
        actor->beating = false;
        yoke_clear(); /* no memory: the next link tries again; what is lost is noticed by sending */
    }
}

void yk_beat_unwatch(struct yoke_portal *portal)
{
    yk_list_remove(&portal->in_links);
    if (yk_list_empty(&portal->actor->links))
        yk_wake_first(&portal->actor->beat_wait, 0);
}

void yoke_actor_heartbeat(int64_t silence_ns)
{
    struct yk_actor *actor = yk_actor_of(yk_task_self("yoke_actor_heartbeat")->runtime);

    if (actor == NULL) {
        yoke_clear();
        return;
    }
    actor->silence_ns = silence_ns;
    yk_list_for_each (node, &actor->links) {
        struct yoke_portal *portal = yk_container_of(node, struct yoke_portal, in_links);

        portal->beat.next_ns = yoke_now() + silence_of(portal) / (YK_BEATS + 1);
    }
    yk_wake_first(&actor->beat_wait, 0);
}
