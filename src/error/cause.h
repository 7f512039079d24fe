/* SPDX-License-Identifier: MIT */
/*
 * Causes inside the library. Immutable once made; made with everything known at the time, and
 * copied (yk_cause_for_scope) when a request that came from elsewhere meets the scope it cancels.
 */
#ifndef YK_ERROR_CAUSE_H
#define YK_ERROR_CAUSE_H

#include <yoke/cause.h>

#include "error/node.h"

struct yoke_cause {
    struct yk_node node; /* first; immortal for the static causes used when there is no memory */
    yoke_id id;
    enum yoke_layer layer;
    enum yoke_cause_kind kind;
    struct yoke_scope_info scope;
    struct yoke_requester requester;
    const char *reason;         /* owned, or static for a static cause; NULL if none */
    int64_t time;               /* wall clock, ns */
    struct yoke_cause *because; /* owned reference or NULL */
    struct yoke_error *error;   /* owned reference or NULL */
    bool has_signal;
    struct yoke_signal_info signal;
    unsigned hops_left_out; /* hops cut out of the middle behind this one when it was truncated */
};

/* What a new cause is made of. Pointers are borrowed; references are taken by the call. */
struct yk_cause_spec {
    enum yoke_layer layer;
    enum yoke_cause_kind kind;
    const struct yoke_site *site;          /* of the request, or NULL */
    const char *reason;                    /* or NULL */
    const struct yoke_cause *because;      /* or NULL */
    const struct yoke_error *error;        /* or NULL */
    const struct yoke_signal_info *signal; /* or NULL */
    const struct yoke_scope_info *scope;   /* or NULL: not known yet */
};

/*
 * A new cause; the requester is the current locus. Never fails: without memory it is a static
 * cause of the same layer and kind whose reason says so. Chains longer than YK_CAUSE_HOPS_MAX are
 * truncated in the middle, the first and the last hops kept.
 */
struct yoke_cause *yk_cause_new(const struct yk_cause_spec *spec);

/* An empty cause with one reference and no id, for decoding; NULL: no memory. */
struct yoke_cause *yk_cause_new_blank(void);

/* Sets the reason of a blank cause; false: no memory. `reason` NULL or "" is none. */
bool yk_cause_set_reason(struct yoke_cause *cause, const char *reason);

/*
 * The same request with its scope filled in: same id, a copy. Never fails: without memory it is a
 * reference to `cause` itself.
 */
struct yoke_cause *yk_cause_for_scope(const struct yoke_cause *cause,
                                      const struct yoke_scope_info *scope);

/* Whether `error` can be reached from `cause` (its error, its because, and what those carry). */
bool yk_cause_reaches(const struct yoke_cause *cause, const struct yoke_error *error);

/* A copy of the chain without the errors that lead to `error`; NULL: no memory. */
struct yoke_cause *yk_cause_copy_without(const struct yoke_cause *cause,
                                         const struct yoke_error *error);

/* The memory of a cause whose references are all gone; only node.c calls it. */
void yk_cause_free(struct yoke_cause *cause);

/* The static cause of this kind, used when there is no memory. */
struct yoke_cause *yk_cause_out_of_memory(enum yoke_cause_kind kind);

/*
 * The next id. The actor part is yk_id_actor(), by default a random number of this process, which
 * a runtime replaces for its thread so that simulated actors differ.
 */
yoke_id yk_id_next(void);
void yk_id_set_actor(uint64_t actor); /* for the calling thread; 0: back to the process's */

/* Wall clock used for stamps, ns since 1970; NULL: the system's. A runtime sets its own. */
extern __thread int64_t (*yk_wall_clock)(void);

#endif
