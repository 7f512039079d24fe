/* SPDX-License-Identifier: MIT */
/*
 * Conditions: tasks that hold a mutex wait for what it guards to change; trio's Condition. In
 * place; one runtime only. Where a flag that never falls back will do, take an event.
 *
 *   rc = yoke_mutex_lock(&queue->mutex);
 *   if (rc < 0)
 *       return rc;
 *   while (rc == 0 && queue->n == 0)
 *       rc = yoke_condition_wait(&queue->filled);
 *   if (rc == 0)
 *       take(queue);
 *   yoke_mutex_unlock(&queue->mutex);          // held again, whatever the wait gave
 */
#ifndef YOKE_CONDITION_H
#define YOKE_CONDITION_H

#include <yoke/mutex.h>

YOKE_BEGIN

struct yoke_condition { /* in place; every field is private */
    struct yk_list waiters;
    struct yoke_mutex *mutex;
};

/* `mutex` is borrowed, and may have several conditions. */
YOKE_API void yoke_condition_init(struct yoke_condition *condition, struct yoke_mutex *mutex);

/* The end of a condition. Tasks that still wait for it are misuse, and abort. */
YOKE_API void yoke_condition_fini(struct yoke_condition *condition);

/*
 * Unlocks the mutex, waits to be notified, locks it again. 0; YOKE_CANCELLED, when it was not
 * notified. In both cases the mutex is held again: for that it waits even when cancelled. A task
 * that was notified and is then cancelled gets 0, so that no notification is lost (in trio it is).
 * -EOWNERDEAD with an error raised if the mutex broke meanwhile, and nobody holds it. A caller who
 * does not hold the mutex aborts, with both sites named.
 */
#define yoke_condition_wait(condition) yoke_condition_wait_at(YOKE_HERE, (condition))
YOKE_API YOKE_MUST_CHECK int yoke_condition_wait_at(const struct yoke_site *site,
                                                    struct yoke_condition *condition);

/*
 * Notifies up to `n` tasks (YOKE_ALL), those that have waited longest: they are now the last in
 * the queue for the mutex. Returns how many; never blocks. A caller who does not hold the mutex
 * aborts, with both sites named.
 */
#define yoke_condition_notify(condition, n) yoke_condition_notify_at(YOKE_HERE, (condition), (n))
YOKE_API size_t yoke_condition_notify_at(const struct yoke_site *site,
                                         struct yoke_condition *condition, size_t n);

/* Tasks that wait and were not notified yet, counted by walking the queue. */
YOKE_API size_t yoke_condition_waiting(const struct yoke_condition *condition);

YOKE_END
#endif
