/* SPDX-License-Identifier: MIT */
/* Mutexes inside the library: what conditions need of theirs. */
#ifndef YK_TASK_MUTEX_H
#define YK_TASK_MUTEX_H

#include <yoke/mutex.h>

#include "task/task.h"

/* Misuse of `call` unless the task holds it. */
void yk_mutex_check_owner(const struct yoke_mutex *mutex, const struct yk_task *task,
                          const struct yoke_site *site, const char *call);

/* As yoke_mutex_lock, but waits even when cancelled. 0, or -EOWNERDEAD with an error raised. */
int yk_mutex_lock_always(struct yoke_mutex *mutex, struct yk_task *task,
                         const struct yoke_site *site);

/* Raises that it is broken. Returns -EOWNERDEAD. */
int yk_mutex_broken(const struct yoke_mutex *mutex);

#endif
