/* SPDX-License-Identifier: MIT */
/*
 * Causes: the immutable record of one cancel request. A cancelled task asks yoke_why(); the answer
 * names the scope that was cancelled, who asked, at which layer, why, and through `because` what
 * led to that, hop by hop over processes and hosts. Reference-counted, freely shared.
 */
#ifndef YOKE_CAUSE_H
#define YOKE_CAUSE_H

#include <stdio.h>
#include <yoke/common.h>
#include <yoke/error.h>

YOKE_BEGIN

enum yoke_layer {
    YOKE_LAYER_TASK = 1, /* inside one actor */
    YOKE_LAYER_CONTEXT,  /* between the two tasks of a context */
    YOKE_LAYER_ACTOR,    /* a whole actor */
    YOKE_LAYER_OS,       /* the operating system */
};

enum yoke_cause_kind {
    /* task */
    YOKE_CAUSE_SCOPE = 1,     /* yoke_scope_cancel, yoke_nursery_cancel */
    YOKE_CAUSE_DEADLINE,      /* a scope's deadline expired */
    YOKE_CAUSE_CHILD_FAILED,  /* a task of the nursery failed */
    YOKE_CAUSE_BODY_FAILED,   /* the body of the nursery failed */
    YOKE_CAUSE_RUNTIME_ENDED, /* the main task ended */
    YOKE_CAUSE_DEADLOCK,      /* nothing could ever wake a task */
    /* context */
    YOKE_CAUSE_CONTEXT,        /* yoke_context_cancel by either side */
    YOKE_CAUSE_OPENER_LEFT,    /* the opening side failed or was cancelled */
    YOKE_CAUSE_PEER_RAISED,    /* the peer task failed */
    YOKE_CAUSE_PEER_CANCELLED, /* the peer task was cancelled */
    YOKE_CAUSE_LINK_LOST,      /* the link to the peer broke */
    /* actor */
    YOKE_CAUSE_ACTOR,         /* yoke_portal_cancel_actor */
    YOKE_CAUSE_ACTOR_NURSERY, /* its actor nursery was cancelled or closed */
    YOKE_CAUSE_ACTOR_SELF,    /* the actor cancelled itself */
    YOKE_CAUSE_ACTOR_DIED,    /* an actor of the nursery died */
    YOKE_CAUSE_RESTART,       /* restarted by its supervisor with a sibling that failed */
    /* os */
    YOKE_CAUSE_SIGNAL,      /* a signal; number and sender in yoke_cause_signal() */
    YOKE_CAUSE_PARENT_LOST, /* the parent process is gone */
};

/* Who asked, and where in its source. Task id 0 and an empty name: not a task. */
struct yoke_requester {
    struct yoke_actor_id actor;
    uint64_t task_id;
    char task_name[64];
    char file[128];
    char function[64];
    int line;
};

/* The scope that a request cancels. */
struct yoke_scope_info {
    uint64_t id; /* 0: no scope, the request was not delivered to one */
    char name[64];
    struct yoke_actor_id actor;
    uint64_t task_id;
    char task_name[64];
    char file[128]; /* where it was opened */
    int line;
};

struct yoke_signal_info {
    int number;
    int32_t pid;  /* sender; 0: the kernel, for example for Ctrl-C on a terminal */
    uint32_t uid; /* sender */
};

/*
 * Why the calling task is being cancelled: the cause of the outermost cancelled scope that is
 * visible through shields, whether or not a Cancelled was delivered already. Borrowed until the
 * task closes that scope. NULL if it is not being cancelled.
 */
YOKE_API const struct yoke_cause *yoke_why(void);

YOKE_API struct yoke_cause *yoke_cause_ref(const struct yoke_cause *cause);
YOKE_API struct yoke_cause *yoke_cause_unref(struct yoke_cause *cause); /* NULL is fine */

/* What a cause says. Everything returned is borrowed from `cause`. */
YOKE_API yoke_id yoke_cause_id(const struct yoke_cause *cause);
YOKE_API enum yoke_layer yoke_cause_layer(const struct yoke_cause *cause);
YOKE_API enum yoke_cause_kind yoke_cause_kind(const struct yoke_cause *cause);
YOKE_API const struct yoke_scope_info *yoke_cause_scope(const struct yoke_cause *cause);
YOKE_API const struct yoke_requester *yoke_cause_requester(const struct yoke_cause *cause);
YOKE_API const char *yoke_cause_reason(const struct yoke_cause *cause); /* "" if none was given */
YOKE_API int64_t yoke_cause_time(const struct yoke_cause *cause); /* wall clock, ns since 1970 */
YOKE_API const struct yoke_cause *yoke_cause_because(const struct yoke_cause *cause); /* or NULL */
YOKE_API const struct yoke_error *yoke_cause_error(const struct yoke_cause *cause);   /* or NULL */
YOKE_API const struct yoke_signal_info *yoke_cause_signal(const struct yoke_cause *cause);

/* The origin: follows `because` to its end. Never NULL for a non-NULL cause. */
YOKE_API const struct yoke_cause *yoke_cause_origin(const struct yoke_cause *cause);

/* Names as printed: "task", "context", "actor", "os"; "deadline", "peer raised", ... Static. */
YOKE_API const char *yoke_layer_name(enum yoke_layer layer);
YOKE_API const char *yoke_cause_kind_name(enum yoke_cause_kind kind);

/* Prints the chain, one "because" line a hop. Returns 0 or -errno of the stream. */
YOKE_API int yoke_cause_print(const struct yoke_cause *cause, FILE *stream, int flags);

/* The same as JSON, malloc'ed; NULL: no memory. */
YOKE_API char *yoke_cause_json(const struct yoke_cause *cause, int flags);

YOKE_END
#endif
