/* SPDX-License-Identifier: MIT */
/* Random trees of actors under random blows: what the two halves of the program share. */
#ifndef YK_TESTS_STRESS_H
#define YK_TESTS_STRESS_H

#include <yoke/context.h>

#include "base/random.h"

#define YK_STRESS_ERROR "stress.Failed"

static inline unsigned yk_stress_below(struct yk_random *random, unsigned n)
{
    return (unsigned)(yk_random_next(random) % n);
}

/*
 * Starts actors and follows a node in each until all have ended; `started` (may be NULL) is told
 * when they are there. Returns as closing an actor nursery does. node.c
 */
int yk_stress_grow(struct yoke_context *started, uint64_t seed, int64_t depth);

#endif
