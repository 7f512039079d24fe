/* SPDX-License-Identifier: MIT */
/*
 * A child actor as its parent sees it: what was asked for, and its life over incarnations, led by
 * one supervising task. What concerns the children of a nursery together is in restart.c.
 */
#ifndef YK_ACTOR_CHILD_H
#define YK_ACTOR_CHILD_H

#include "actor/process.h"

enum yk_phase {
    YK_CHILD_NEW,      /* starts for the first time: no strategy concerns it yet */
    YK_CHILD_UP,       /* it runs, or goes down */
    YK_CHILD_DOWN,     /* waits for its turn to be started again */
    YK_CHILD_STARTING, /* again, the delay before included */
    YK_CHILD_DONE,
};

struct yk_spawner;

struct yk_actor_child {
    struct yk_list in_nursery; /* in the order of starting */
    struct yk_supervisor *supervisor;
    struct yoke_portal *front; /* owned reference; what programs hold */
    struct yoke_actor_id id;   /* given by us; the uuid is the incarnation's */
    const struct yk_spawner *spawner;
    char *expose;
    char *executable;
    char **arguments; /* of a plain one; NULL: it is none */
    char *run;
    struct yoke_value *args;
    enum yoke_restart_kind restart;
    bool listens; /* it is to listen, at `listen` */
    struct yk_place listen;
    int64_t heartbeat_ns; /* 0: it is not asked for signs of life */
    int64_t start_ns, cancel_ns, term_ns;
    enum yk_phase phase;
    bool serving;            /* contexts may be opened into `now` */
    bool affected;           /* by a failure: it goes down, if it is not, and is started again */
    bool told;               /* to go down for that */
    bool released;           /* it is its turn to start */
    struct yoke_scope *life; /* of the supervising task, all incarnations; NULL before and after */
    struct yoke_scope *attempt; /* around one incarnation and the delay before; NULL in between */
    struct yk_list turn;        /* the supervising task, waiting for its turn */
    int64_t not_before_ns;      /* start again; 0: at once */
    int64_t failed_ns;          /* the last time; 0: never */
    unsigned failures_in_row;
    unsigned restarts;
    struct yoke_error *last_error; /* handled; owned */
    struct yoke_error *last_end;   /* what the last incarnation ended with; owned */
    struct yoke_event done;
    struct yk_exit exit; /* of the last incarnation */
    struct yk_incarnation now;
};

/* What an actor nursery owns beside its tasks. */
struct yk_supervisor {
    struct yoke_actor_nursery_opts opts; /* defaults filled in */
    struct yoke_nursery *tasks;
    struct yk_list children;
    bool closing;
    struct yoke_error *last_failure; /* that led to a restart; owned */
    char reason[128];                /* of those that go down with it */
    int64_t *failures;               /* ring of opts.max_restarts times */
    size_t first, n;
};

/* NULL with an error raised: no memory, bad options. */
struct yk_actor_child *yk_child_new(struct yk_supervisor *supervisor, const char *name,
                                    const struct yoke_actor_opts *opts);
void yk_child_free(struct yk_actor_child *child);

/* Task function of the supervisor: begun by yoke_start; hands over the portal once it is up. */
int yk_child_supervise(void *child);

/* Whether a portal is the front of a child. */
static inline bool yk_is_front(const struct yoke_portal *portal)
{
    return portal->child != NULL && portal->child->front == portal;
}

/* It is up: tells its starter, or those who wait for it. 0 or negative. */
int yk_child_up(struct yk_actor_child *child);

/*
 * It is to end for good. Returns the portal through which its process is to be asked, NULL if there
 * is none that could be.
 */
struct yoke_portal *yk_child_end(struct yk_actor_child *child, const struct yoke_cause *cause);

/* The supervisor of a nursery. restart.c. NULL with an error raised. */
struct yk_supervisor *yk_supervisor_new(struct yoke_nursery *tasks,
                                        const struct yoke_actor_nursery_opts *opts);
void yk_supervisor_free(struct yk_supervisor *supervisor); /* NULL is fine */

/*
 * A child has failed, or ended and is permanent, and is down. Takes over the error. 0: it, and
 * those that the strategy names, will be started again; negative: that is the nursery's failure,
 * raised.
 */
int yk_supervisor_failed(struct yk_actor_child *child, struct yoke_error *error);

/* An end that is handled: settles the error, which is taken over, and tells of it. */
void yk_supervisor_handled(struct yk_actor_child *child, struct yoke_error *error, bool restarts);

/* Some child's phase has changed: tells the next one to go down, or lets the next one start. */
void yk_supervisor_advance(struct yk_supervisor *supervisor);

/* Task function: when the nursery is cancelled, ends its children, the last one first. */
int yk_supervisor_shutdown(void *supervisor);

#endif
