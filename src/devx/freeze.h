/* SPDX-License-Identifier: MIT */
/*
 * Stopping another thread for a moment, wherever it is, and learning where that is. One thread at a
 * time can be stopped, and one thread does it: the watcher (watch.c).
 */
#ifndef YK_DEVX_FREEZE_H
#define YK_DEVX_FREEZE_H

#include "task/census.h"

/* Takes a real-time signal for it. 0, or -errno: none is free. Undone by fini. */
int yk_freeze_init(void);
void yk_freeze_fini(void);

/*
 * Stops a thread of this process. Until yk_thaw the caller must call nothing that allocates or
 * takes a lock: the other may hold it. 0 and where it is; -ESRCH; -ETIMEDOUT if it does not answer,
 * since it has the signal blocked.
 */
int yk_freeze(pid_t tid, struct yk_whereabouts *ret_here);
void yk_thaw(void);

/* In a signal handler: the backtrace of what was interrupted, from there on. */
size_t yk_backtrace_interrupted(void *context, void **frames, size_t max);

#endif
