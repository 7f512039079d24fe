/* SPDX-License-Identifier: MIT */
/*
 * Guests: a runtime inside another event loop (libuv's, GLib's, one's own), on its thread and
 * without a thread of its own; semantics of trio's guest mode. The outer loop watches one
 * descriptor, and calls one function when it is readable:
 *
 *   struct yoke_guest *guest;
 *   int rc = yoke_guest_open(app, arg, NULL, &guest);
 *   ... watch yoke_guest_fd(guest) for reading, and each time it is:
 *       if (yoke_guest_step(guest) == 0)
 *           ... stop watching: it is finished
 *   rc = yoke_guest_close(guest);              the result, as of yoke_run
 *
 * Any number of guests may live on one thread. Between its steps a guest's objects belong to its
 * tasks all the same: the outer loop reaches them by yoke_handle_post (<yoke/handle.h>).
 */
#ifndef YOKE_GUEST_H
#define YOKE_GUEST_H

#include <yoke/common.h>
#include <yoke/runtime.h>
#include <yoke/task.h>

YOKE_BEGIN

struct yoke_guest;

/*
 * A runtime of the calling thread whose main task is fn(arg); nothing of it runs before the first
 * step. Options as for yoke_run; a simulated host can't be a guest's. Never blocks. 0, or an error
 * as of yoke_run. *ret_guest is closed with yoke_guest_close, by the same thread.
 */
#define yoke_guest_open(fn, arg, ...) /* opts, ret_guest */                                        \
    yoke_guest_open_at(YOKE_HERE, (fn), #fn, (arg), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_guest_open_at(const struct yoke_site *site, yoke_task_fn fn,
                                                const char *fn_name, void *arg,
                                                const struct yoke_run_opts *opts,
                                                struct yoke_guest **ret_guest);

/*
 * The descriptor to watch: readable (level-triggered) when there is something for a step to do: a
 * task is ready, a deadline has passed, a descriptor or another thread has something. It stays the
 * guest's, and the same from open to close.
 */
YOKE_API int yoke_guest_fd(const struct yoke_guest *guest);

/*
 * Runs what is ready, for a bounded number of task switches, and never waits. 1: goes on; 0: it is
 * finished, to be closed. A step when there is nothing to do is fine. To be called by the thread
 * that opened it, outside any task and any other step; else it aborts.
 */
YOKE_API YOKE_MUST_CHECK int yoke_guest_step(struct yoke_guest *guest);

/*
 * Asks for cancellation of the whole guest; never waits, never fails. It unwinds in the steps that
 * follow; its result is then YOKE_CANCELLED, with this cause. `reason` may be NULL; it is copied.
 */
#define yoke_guest_cancel(guest, reason) yoke_guest_cancel_at(YOKE_HERE, (guest), (reason))
YOKE_API void yoke_guest_cancel_at(const struct yoke_site *site, struct yoke_guest *guest,
                                   const char *reason);

/*
 * Ends it and gives the result of its main task, as yoke_run does. One that is not finished is
 * cancelled first, and the thread blocks until all its tasks are done. NULL is fine: 0.
 */
YOKE_API YOKE_MUST_CHECK int yoke_guest_close(struct yoke_guest *guest);

YOKE_END
#endif
