/* SPDX-License-Identifier: MIT */
/* A child actor as its parent sees it: process, portal, and the task that supervises both. */
#ifndef YK_ACTOR_CHILD_H
#define YK_ACTOR_CHILD_H

#include <signal.h>

#include "actor/actor.h"

/*
 * What the kernel sends an actor when its parent is gone: one of its own, since it comes for each
 * thread of the parent that ends before the last, which is no reason to end.
 */
#define YK_DEATH_SIGNAL (SIGRTMAX - 3)

struct yk_actor_child {
    struct yk_list in_nursery;
    struct yoke_actor_nursery *nursery;
    struct yoke_portal *portal; /* owned reference */
    struct yoke_actor_id id;    /* given by us */
    char *expose;
    char *executable;
    bool listens; /* it is to listen, at `listen` */
    struct yk_place listen;
    int64_t heartbeat_ns; /* 0: it is not asked for signs of life */
    int64_t start_ns, cancel_ns, term_ns;
    struct yk_process process;
    struct yk_watch process_watch;
    struct yoke_event process_ended; /* the pidfd says so */
    struct yoke_event link_ended;    /* the reader has left */
    struct yk_list waiters;          /* for either of the two */
    struct yoke_error *link_error;   /* what the reader ended with, for the supervisor; owned */
    struct yoke_scope *link_scope;   /* of the link's tasks, while they run */
    struct yoke_event reaped;
    struct yk_exit exit;
    bool linked;                  /* its portal has a link */
    struct yk_plain_child *plain; /* owned; NULL: a yoke program */
    bool taken;   /* `exit` is empty: somebody else in this process has waited for it */
    bool started; /* its starter was told that it is up */
    bool asked;   /* to end, by its nursery or a portal */
};

/* NULL with an error raised: no memory, a bad name. */
struct yk_actor_child *yk_child_new(struct yoke_actor_nursery *nursery, const char *name,
                                    const struct yoke_actor_opts *opts);
void yk_child_free(struct yk_actor_child *child);

/* Task function of the supervisor: begun by yoke_start; hands over the portal once it is up. */
int yk_child_supervise(void *child);

#endif
