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

struct yk_locus {
    struct yoke_error *in_flight;      /* owned; NULL if none */
    struct yoke_hold *hold;            /* innermost open hold */
    const struct yoke_actor_id *actor; /* of the runtime; lives as long as the locus */
    uint64_t task_id;                  /* 0: a thread outside a runtime */
    const char *task_name;             /* never NULL */
    const char *stack_low;  /* bounds of the stack, for walking frame pointers; the thread's */
    const char *stack_high; /* own locus has NULL, NULL, and looks them up when needed */
};

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
