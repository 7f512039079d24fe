/* SPDX-License-Identifier: MIT */
/*
 * Runtimes: one scheduler with its tasks, clock and poller. An instance; a thread runs one at a
 * time. The world reaches it only through its host: Linux, or the simulated one for tests.
 */
#ifndef YOKE_RUNTIME_H
#define YOKE_RUNTIME_H

#include <stdio.h>
#include <yoke/cause.h>
#include <yoke/task.h>

YOKE_BEGIN

struct yoke_host;
struct yoke_instrument;

/* The real world. NULL with an error raised: -EMFILE and the like. */
YOKE_API YOKE_MUST_CHECK struct yoke_host *yoke_host_linux_new(void);

/*
 * A simulated world: virtual time that jumps to the next deadline when every task is blocked, and
 * entropy from `seed`. It has no descriptors, processes or signals: those calls fail with -ENOSYS.
 */
YOKE_API YOKE_MUST_CHECK struct yoke_host *yoke_host_sim_new(uint64_t seed);
YOKE_API void yoke_host_free(struct yoke_host *host);

struct yoke_run_opts {
    struct yoke_host *host; /* borrowed; NULL: a Linux host for this run */
    const char *actor_name; /* copied; NULL: "root" */
    bool shuffle;           /* ready tasks run in an order drawn from `seed`, to find races */
    uint64_t seed;
    const struct yoke_instrument *instrument; /* borrowed; <yoke/instrument.h>; NULL: none */
    /*
     * Gets the task tree, as text, when every task is blocked and nothing can wake one; the run is
     * then cancelled, and fails with "yoke.Deadlock". NULL: the tree goes to stderr.
     */
    void (*on_deadlock)(void *arg, const char *tree);
    void *deadlock_arg;
};

/*
 * Runs fn(arg) as the main task of a new runtime on the calling thread, until it and every task
 * are done. Blocks the thread. Returns fn's result; on failure its error is in flight at the
 * caller, who catches or reports it. -EBUSY if the thread runs a runtime already.
 */
#define yoke_run(fn, arg, ...) yoke_run_at(YOKE_HERE, (fn), #fn, (arg), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_run_at(const struct yoke_site *site, yoke_task_fn fn,
                                         const char *fn_name, void *arg,
                                         const struct yoke_run_opts *opts);

/* How many processors this process may run on; at least 1. */
YOKE_API unsigned yoke_cpu_count(void);

/*
 * Reports the error in flight to `stream`, as the root of a program does: the whole chain with
 * backtraces. Returns an exit status: 0 if there was none, 128 + n if a signal n cancelled the
 * program, else 1.
 */
YOKE_API int yoke_report(FILE *stream);

YOKE_END
#endif
