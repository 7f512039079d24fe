/* SPDX-License-Identifier: MIT */
/* Mutexes inside the library: what conditions need of theirs. */
#ifndef YK_TASK_MUTEX_H
#define YK_TASK_MUTEX_H

#include <yoke/mutex.h>

#include "task/task.h"

/* A wait for a condition, in the frame of the call. */
struct yk_condition_wait {
    struct yk_wait wait; /* in the condition's queue, once notified in the mutex's; data: site */
    struct yk_list sleeping; /* in the mutex's sleepers until it is notified */
    bool notified;
};

/* Misuse of `call` unless the task holds it. */
void yk_mutex_check_owner(const struct yoke_mutex *mutex, const struct yk_task *task,
                          const struct yoke_site *site, const char *call);

/* As yoke_mutex_lock, but waits even when cancelled. 0, or -EOWNERDEAD with an error raised. */
int yk_mutex_lock_always(struct yoke_mutex *mutex, struct yk_task *task,
                         const struct yoke_site *site);

/* Raises that it is broken. Returns -EOWNERDEAD. */
int yk_mutex_broken(const struct yoke_mutex *mutex);

#endif
