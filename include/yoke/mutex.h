/* SPDX-License-Identifier: MIT */
/*
 * Mutexes: one task at a time, first come, first served; trio's StrictFIFOLock. Needed only for
 * what must stay untouched over a checkpoint, since tasks of a runtime never run at once. In place;
 * one runtime only; not recursive.
 *
 *   rc = yoke_mutex_lock(&account->mutex);
 *   if (rc < 0)
 *       return rc;
 *   rc = transfer(account);                    // may block, may fail
 *   yoke_mutex_unlock(&account->mutex);
 *
 * A mutex does not survive being forgotten. If the task that holds it ends, what the mutex guards
 * may be half changed: that task fails with "yoke.Forgotten", the mutex is broken for good, and
 * those who wait for it, or lock it later, fail with "yoke.Broken". A forgotten mutex that lay in
 * the ended task's own frame aborts.
 */
#ifndef YOKE_MUTEX_H
#define YOKE_MUTEX_H

#include <yoke/parking_lot.h>

YOKE_BEGIN

struct yoke_mutex { /* in place; every field is private */
    struct yoke_parking_lot lot;
    struct yk_task *owner;
    const struct yoke_site *site; /* where it was locked */
    struct yk_held held;
};

YOKE_API void yoke_mutex_init(struct yoke_mutex *mutex);

/* The end of a mutex. One that is locked, or waited for, is misuse, and aborts. */
YOKE_API void yoke_mutex_fini(struct yoke_mutex *mutex);

/*
 * Locks it; waits behind those who wait already. The mutex is handed over: who unlocks gives it to
 * the first who waits, and nobody comes between. 0; YOKE_CANCELLED, not locked; -EDEADLK with an
 * error raised if the calling task holds it; -EOWNERDEAD with an error raised if it is broken.
 */
#define yoke_mutex_lock(mutex) yoke_mutex_lock_at(YOKE_HERE, (mutex))
YOKE_API YOKE_MUST_CHECK int yoke_mutex_lock_at(const struct yoke_site *site,
                                                struct yoke_mutex *mutex);

/* As lock but never waits: 1 locked; 0 another task holds it; the same errors. */
#define yoke_mutex_try_lock(mutex) yoke_mutex_try_lock_at(YOKE_HERE, (mutex))
YOKE_API YOKE_MUST_CHECK int yoke_mutex_try_lock_at(const struct yoke_site *site,
                                                    struct yoke_mutex *mutex);

/*
 * Unlocks it; never blocks. A task that does not hold it aborts, with both sites named; but where
 * the mutex is broken, nobody holds it, and this does nothing, so that cleanup needs no cases.
 */
#define yoke_mutex_unlock(mutex) yoke_mutex_unlock_at(YOKE_HERE, (mutex))
YOKE_API void yoke_mutex_unlock_at(const struct yoke_site *site, struct yoke_mutex *mutex);

/* Who holds it: the id of the task, 0 if it is free. How many wait for it, counted by walking. */
YOKE_API uint64_t yoke_mutex_owner(const struct yoke_mutex *mutex);
YOKE_API size_t yoke_mutex_waiting(const struct yoke_mutex *mutex);

YOKE_END
#endif
