/* SPDX-License-Identifier: MIT */
/*
 * How a process is brought to its end: a signal that asks, then SIGKILL, each but the last bounded.
 * A process in uninterruptible sleep outlasts SIGKILL, and is waited for: the kernel leaves no
 * other choice.
 */
#ifndef YK_IO_LADDER_H
#define YK_IO_LADDER_H

#include <yoke/event.h>

#include "task/task.h"

/*
 * A process that has a pidfd, and the event that its watch sets once the process has ended. Both
 * stay the owner's, who reaps it.
 */
struct yk_ladder {
    struct yoke_host *host;
    const struct yk_process *process;
    struct yoke_event *ended;
};

/*
 * Watches a new process: `watch` is filled in but for `ready`. Without a watch it can't be waited
 * for: then it is killed and reaped at once, its pidfd closed. 0, or -errno with nothing raised.
 */
int yk_ladder_watch(const struct yk_ladder *ladder, struct yk_watch *watch);

/*
 * One rung: waits until an event is set, whatever is cancelled around, at most so long; 0: without
 * bound. Whether it is set. Without memory for a timer it does not wait.
 */
bool yk_ladder_wait(struct yoke_event *event, int64_t timeout_ns);

/*
 * The climb, with `signal` and `signal_ns` for it to be obeyed; negative: it is not sent. The
 * process has ended on return; returns the last signal that it took, 0 if none. Nothing may be in
 * flight.
 */
int yk_ladder_climb(const struct yk_ladder *ladder, int signal, int64_t signal_ns);

/* "exited with status 1", "killed by signal 9 (Killed), core dumped". */
const char *yk_ladder_describe(int status, char *text, size_t size);

#endif
