/* SPDX-License-Identifier: MIT */
/*
 * An incarnation of a child actor: one process (or thread) from its start until it is reaped, with
 * its link and portal. A child that is restarted has one after another.
 */
#ifndef YK_ACTOR_PROCESS_H
#define YK_ACTOR_PROCESS_H

#include <signal.h>

#include "actor/actor.h"
#include "io/tail.h"

/*
 * What the kernel sends an actor when its parent is gone: one of its own, since it comes for each
 * thread of the parent that ends before the last, which is no reason to end.
 */
#define YK_DEATH_SIGNAL (SIGRTMAX - 3)

enum yk_end {
    YK_END_ASKED,  /* by us, and it obeyed */
    YK_END_NORMAL, /* by itself: its main endpoint returned, or it exited with 0 */
    YK_END_FAILED,
};

struct yk_incarnation {
    struct yk_actor_child *child;
    struct yoke_portal *portal; /* owned reference */
    struct yk_process process;
    struct yk_tail tail;            /* what it says before it is up */
    void *spawned;                  /* its spawner's */
    bool linked;                    /* its portal has a link */
    struct yk_place dials;          /* a plain one: where it is to connect to */
    struct yoke_listener *listener; /* there; NULL: it is there, or will not come */
    struct yk_watch process_watch;
    struct yoke_event process_ended; /* the pidfd says so */
    struct yoke_event link_ended;    /* the reader has left */
    struct yoke_event main_ended;    /* the call of the main endpoint */
    struct yk_list waiters;          /* for any of the three, and for main_started */
    struct yoke_nursery *tasks;      /* of the link and the main endpoint, while they run */
    struct yoke_scope *link_scope;   /* of the link's tasks, while they run */
    struct yoke_error *link_error;   /* what the reader ended with; owned */
    struct yoke_error *main_error;   /* what the main endpoint failed with; owned */
    bool main_called;
    bool main_started;
    bool main_returned;
    bool taken; /* the exit is empty: somebody else in this process has waited for it */
    bool asked; /* to end, by its supervisor */
    int rung;   /* how high the ladder was climbed: 0, SIGTERM, SIGKILL */
    bool stuck; /* it could only be waited for */
    enum yk_end end;
    bool told;                  /* a context has told of its failure already */
    struct yoke_error *failure; /* why it ended, unless it was asked; owned, not in flight */
};

/*
 * The whole life of one incarnation. 0 or YOKE_CANCELLED; how it ended, and with what, is in
 * `end` and `failure`, which the caller takes. Nothing is left running.
 */
int yk_incarnation_run(struct yk_actor_child *child);

/* Its end. teardown.c */
void yk_teardown(struct yk_incarnation *incarnation, const struct yoke_error *failure);
void yk_teardown_reap(struct yk_incarnation *incarnation);
struct yoke_error *yk_teardown_died(const struct yk_incarnation *incarnation); /* never NULL */

#endif
