/* SPDX-License-Identifier: MIT */
/*
 * Nurseries. A nursery is a scope that owns child tasks and does not close before they are done. A
 * failing child, or a failing body, cancels the rest with a cause whose error is that failure.
 */
#ifndef YOKE_NURSERY_H
#define YOKE_NURSERY_H

#include <yoke/scope.h>
#include <yoke/task.h>

YOKE_BEGIN

struct yoke_nursery { /* lives in the caller's frame; every field is private */
    struct yoke_scope scope;
    size_t child_count;
    size_t pending_starts;
    struct yoke_error *first_error;
    struct yoke_error **more_errors;
    size_t more_count;
    size_t more_capacity;
    struct yk_task *closer;
    bool cancelled_seen;
    unsigned magic;
};

struct yoke_nursery_opts {
    const char *name;   /* borrowed while open; NULL: the function that opened it */
    int64_t timeout_ns; /* as of its scope */
    int64_t deadline_ns;
    bool shield;
    bool late_is_error;
};

/* Opens a nursery in the calling task; nests with scopes. Never blocks; close it in any case. */
#define yoke_nursery_open(nursery, ...) yoke_nursery_open_at(YOKE_HERE, (nursery), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_nursery_open_at(const struct yoke_site *site,
                                                  struct yoke_nursery *nursery,
                                                  const struct yoke_nursery_opts *opts);

/*
 * Waits for all children (a negative `rc` cancels them first), then closes. Returns: no failure: 0;
 * one, of the body or a child: that error itself; several: a group (YOKE_EGROUP), the body's error
 * first, then in the order of failing. Cancelleds that only the nursery's own cancellation produced
 * are absorbed; when cancelled from outside, YOKE_CANCELLED goes on, unless an error beats it.
 * Cancellation does not cut the waiting short: it reaches the children, and ends them.
 */
#define yoke_nursery_close(nursery, rc) yoke_nursery_close_at(YOKE_HERE, (nursery), (rc))
YOKE_API YOKE_MUST_CHECK int yoke_nursery_close_at(const struct yoke_site *site,
                                                   struct yoke_nursery *nursery, int rc);

/* The nursery's scope: to cancel it, give it a deadline, ask for its cause. */
YOKE_API struct yoke_scope *yoke_nursery_scope(struct yoke_nursery *nursery);

/*
 * Starts fn(arg) as a child task; it first runs after the caller's next checkpoint. `arg` must live
 * as long as the nursery. May be called by any task inside the nursery. Never blocks. -ENOMEM: no
 * memory for its stack. Spawning into a closed nursery aborts with both sites named.
 */
#define yoke_spawn(nursery, fn, arg) yoke_spawn_at(YOKE_HERE, (nursery), (fn), #fn, (arg), NULL)
#define yoke_spawn_with(nursery, fn, arg, ...)                                                     \
    yoke_spawn_at(YOKE_HERE, (nursery), (fn), #fn, (arg), __VA_ARGS__)

struct yoke_task_opts {
    const char *name; /* copied; NULL: the function's name */
};
YOKE_API YOKE_MUST_CHECK int yoke_spawn_at(const struct yoke_site *site,
                                           struct yoke_nursery *nursery, yoke_task_fn fn,
                                           const char *fn_name, void *arg, /* fn_name: static */
                                           const struct yoke_task_opts *opts);

/*
 * Starts fn(arg) and waits until it calls yoke_started(value), whose value it hands over; from then
 * on it is a child of `nursery`. A child that ends before is an error here: its own, or
 * "yoke.NotStarted" if it returned 0. Cancelling the caller meanwhile cancels the child, and is
 * YOKE_CANCELLED. `ret_value` may be NULL.
 */
#define yoke_start(nursery, fn, arg, ret_value)                                                    \
    yoke_start_at(YOKE_HERE, (nursery), (fn), #fn, (arg), NULL, (ret_value))
#define yoke_start_with(nursery, fn, arg, ...) /* opts, ret_value */                               \
    yoke_start_at(YOKE_HERE, (nursery), (fn), #fn, (arg), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_start_at(const struct yoke_site *site,
                                           struct yoke_nursery *nursery, yoke_task_fn fn,
                                           const char *fn_name, void *arg,
                                           const struct yoke_task_opts *opts, void **ret_value);

/*
 * Reports the calling task as started. Never blocks. Returns 0; -EINVAL with an error raised if
 * the task was not begun by yoke_start, or has reported before.
 */
YOKE_API YOKE_MUST_CHECK int yoke_started(void *value);

YOKE_END
#endif
