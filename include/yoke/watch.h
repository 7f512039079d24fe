/* SPDX-License-Identifier: MIT */
/*
 * Watching a runtime from outside, by a thread that still works when the runtime's own is stuck.
 */
#ifndef YOKE_WATCH_H
#define YOKE_WATCH_H

#include <yoke/common.h>

YOKE_BEGIN

struct yoke_watch_opts {
    bool no_dump_signal; /* leave the signal alone */
    int dump_signal;     /* whose arrival dumps the task tree on stderr; 0: SIGUSR1 */
    int64_t hog_ns; /* threshold; 0: from YOKE_HOG_MS in the environment, else none; < 0: none */
    bool no_stack_report; /* leave SIGSEGV and SIGBUS alone */
};

/*
 * Watches the calling task's runtime from a thread of its own until the runtime ends. yoke_main
 * does it if it is given options for it, and in all processes of a tree if YOKE_WATCH or
 * YOKE_HOG_MS is in the environment.
 *
 * - The dump signal makes it write the task tree on stderr, even if a task hogs the thread; then
 *   with the backtrace of that task. A handler that the program has set already is left in place,
 *   and there is no dump signal.
 * - A task that holds the thread for longer than hog_ns without a checkpoint is reported on stderr
 *   with its backtrace, once each time.
 * - A task that runs into the guard page below its stack is reported, with stack size and scopes,
 *   before the signal has its default effect.
 *
 * The runtime's thread is stopped by a real-time signal for as long as the tree is copied: the
 * highest whose action is the default one is taken. System calls that a task makes by itself may be
 * interrupted then (EINTR). Never blocks. 0; -EALREADY if it is being watched; -errno if there is
 * no thread or memory for it, with an error raised.
 */
YOKE_API YOKE_MUST_CHECK int yoke_watch(const struct yoke_watch_opts *opts);

YOKE_END
#endif
