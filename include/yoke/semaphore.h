/* SPDX-License-Identifier: MIT */
/*
 * Semaphores: a count of units that tasks take and give back, first come, first served; trio's
 * Semaphore. In place; one runtime only. Whoever wants at most n tasks at something, each giving
 * back what it took, is better served by a limiter (<yoke/limiter.h>), which knows its borrowers.
 *
 *   rc = yoke_semaphore_acquire(&jobs->waiting);     // a unit for each job in the queue
 *   if (rc == 0)
 *       job = pop(jobs);
 */
#ifndef YOKE_SEMAPHORE_H
#define YOKE_SEMAPHORE_H

#include <yoke/common.h>

YOKE_BEGIN

struct yoke_semaphore { /* in place; every field is private */
    struct yk_list waiters;
    size_t value;
    size_t maximum;
};

/*
 * Starts with `value` units; `maximum` is how many there may be, 0: any number. More units than
 * the maximum are misuse, and abort: here, and when released.
 */
YOKE_API void yoke_semaphore_init(struct yoke_semaphore *semaphore, size_t value, size_t maximum);

/* The end of a semaphore. Tasks that still wait for it are misuse, and abort. */
YOKE_API void yoke_semaphore_fini(struct yoke_semaphore *semaphore);

/*
 * Takes a unit; waits behind those who wait already. A released unit is handed to the first who
 * waits, and nobody comes between. 0; YOKE_CANCELLED, nothing taken.
 */
YOKE_API YOKE_MUST_CHECK int yoke_semaphore_acquire(struct yoke_semaphore *semaphore);

/* As acquire but never waits: 1 taken; 0 there is none. */
YOKE_API YOKE_MUST_CHECK int yoke_semaphore_try_acquire(struct yoke_semaphore *semaphore);

/* Gives a unit; any task may, whether or not it took one. Never blocks. */
#define yoke_semaphore_release(semaphore) yoke_semaphore_release_at(YOKE_HERE, (semaphore))
YOKE_API void yoke_semaphore_release_at(const struct yoke_site *site,
                                        struct yoke_semaphore *semaphore);

/* Units that can be taken now. How many tasks wait for one, counted by walking the queue. */
YOKE_API size_t yoke_semaphore_value(const struct yoke_semaphore *semaphore);
YOKE_API size_t yoke_semaphore_waiting(const struct yoke_semaphore *semaphore);

YOKE_END
#endif
