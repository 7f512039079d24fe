/* SPDX-License-Identifier: MIT */
/*
 * Handles: a way into a runtime from outside its thread: from threads that know nothing of it, from
 * worker threads of its own (yoke_thread_run), from the outer loop of a guest; semantics of trio's
 * from_thread.run and run_sync_soon. Everything here may be called by any thread.
 */
#ifndef YOKE_HANDLE_H
#define YOKE_HANDLE_H

#include <yoke/common.h>
#include <yoke/task.h>

YOKE_BEGIN

struct yoke_guest;
struct yoke_handle;

/*
 * A handle on the runtime of the calling task, or on the one that the calling worker thread works
 * for, with one reference. It outlasts the runtime. While somebody has one, blocked tasks are no
 * deadlock: a call may still come. NULL with an error raised: -ENOMEM; -EINVAL, neither of both.
 */
YOKE_API YOKE_MUST_CHECK struct yoke_handle *yoke_runtime_handle(void);

/* A handle on a guest, for its outer loop. By the guest's thread. */
YOKE_API YOKE_MUST_CHECK struct yoke_handle *yoke_guest_handle(struct yoke_guest *guest);

YOKE_API struct yoke_handle *yoke_handle_ref(struct yoke_handle *handle);
YOKE_API struct yoke_handle *yoke_handle_unref(struct yoke_handle *handle); /* NULL is fine */

/*
 * Runs fn(arg) as a task of the runtime and blocks the calling thread until it is done. Returns its
 * result, with its error in flight in the calling thread. The task belongs to the program: if that
 * is cancelled or has returned, fn is cancelled, and the result is YOKE_CANCELLED with the cause.
 *
 * With NULL for the handle a worker thread calls the very task that waits for it, inside its scopes
 * and with its task-locals: if these are cancelled so is fn, at its first checkpoint; if the task
 * has left its worker behind, the result is YOKE_CANCELLED, and fn is not run.
 *
 * YOKE_ECLOSED: the runtime has ended. -EDEADLK: the thread is itself the one of a runtime, which
 * the call would block. -EINVAL: NULL, and this is no worker thread.
 */
#define yoke_handle_call(handle, fn, arg) yoke_handle_call_at(YOKE_HERE, (handle), (fn), #fn, (arg))
YOKE_API YOKE_MUST_CHECK int yoke_handle_call_at(const struct yoke_site *site,
                                                 struct yoke_handle *handle, yoke_task_fn fn,
                                                 const char *fn_name, void *arg);

/*
 * Has fn(arg) run as a task of the runtime soon, and does not wait; by any thread, also the one of
 * the runtime. Tasks begin in the order in which one thread posted them. If it was accepted it is
 * run, though perhaps cancelled from its start; its failure is one of the program. 0; YOKE_ECLOSED:
 * the runtime has ended or is about to; -ENOMEM; -EAGAIN: 16384 have not begun yet. If memory for
 * the task itself is missing later, the program is cancelled with a cause that carries the error.
 */
#define yoke_handle_post(handle, fn, arg) yoke_handle_post_at(YOKE_HERE, (handle), (fn), #fn, (arg))
YOKE_API YOKE_MUST_CHECK int yoke_handle_post_at(const struct yoke_site *site,
                                                 struct yoke_handle *handle, yoke_task_fn fn,
                                                 const char *fn_name, void *arg);

/*
 * In a worker thread: whether the task that waits for it, or has left it behind, was cancelled.
 * Never blocks. 0; YOKE_CANCELLED with a Cancelled in flight that has the cause, to be returned by
 * the thread's function; -EINVAL, this is no worker thread.
 */
YOKE_API YOKE_MUST_CHECK int yoke_thread_check_cancelled(void);

YOKE_END
#endif
