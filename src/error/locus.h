/* SPDX-License-Identifier: MIT */
/*
 * A locus is where errors happen: one task, or a thread outside a runtime. It holds the error in
 * flight. The task layer embeds one in each task and points yk_locus_current at it on every
 * switch; a thread without a runtime gets a static one of its own. This is the thread's only
 * pointer to what runs on it.
 */
#ifndef YK_ERROR_LOCUS_H
#define YK_ERROR_LOCUS_H

#include <yoke/error.h>

#include "base/limits.h"

/*
 * Most Cancelleds are raised, forwarded and absorbed without anybody looking at them. Such a one is
 * `pending`: nothing but the cause of the scope that it unwinds to. It is made an object (by
 * yk_flight_now) as soon as somebody looks, or it meets another error. So cancelling allocates
 * nothing.
 */
struct yk_locus {
    struct yoke_error *in_flight; /* owned; NULL if none, or if it is pending */
    struct yoke_cause *pending;   /* owned; NULL if none. Never both */
    struct yoke_hold *hold;       /* innermost open hold */
    const char *stack_low;  /* bounds of the stack, for walking frame pointers; the thread's */
    const char *stack_high; /* own locus has NULL, NULL, and looks them up when needed */
    uint64_t task_id;       /* 0: a thread outside a runtime */
    const char *task_name;  /* never NULL */
    const struct yoke_actor_id *actor; /* of the runtime; lives as long as the locus */
    unsigned pending_frames_n;         /* of what is pending; from here on not cleared for a task */
    void *pending_frames[YK_PENDING_FRAMES];
};

/* Whether anything is in flight. */
static inline bool yk_flight_any(const struct yk_locus *locus)
{
    return locus->in_flight != NULL || locus->pending != NULL;
}

/* NULL only before the thread's first use; read it through yk_locus(). */
extern __thread struct yk_locus *yk_locus_current;

/* The calling thread's locus outside any runtime; created on first use, never NULL. */
struct yk_locus *yk_locus_of_thread(void);

static inline struct yk_locus *yk_locus(void)
{
    struct yk_locus *locus = yk_locus_current;

    return __builtin_expect(locus != NULL, 1) ? locus : yk_locus_of_thread();
}

#endif
