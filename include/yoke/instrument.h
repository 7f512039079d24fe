/* SPDX-License-Identifier: MIT */
/*
 * Instruments: what a runtime tells of itself while it runs, for tracers, profilers and tests.
 * Given to yoke_run as an option; a runtime without one pays a predictable branch an event, and
 * nothing where tasks switch. The names and places are those of trio's Instrument, and of the
 * probes (provider "yoke") that perf, bpftrace and SystemTap see if the library was built with
 * them.
 */
#ifndef YOKE_INSTRUMENT_H
#define YOKE_INSTRUMENT_H

#include <yoke/cause.h>
#include <yoke/common.h>

YOKE_BEGIN

/* Borrowed for the call. */
struct yoke_task_info {
    uint64_t id;
    const char *name;
    const struct yoke_site *spawned_at;
    const char *waiting_for; /* good while it is parked; NULL unless it is */
};

/*
 * Any of the functions may be NULL. They are called on the runtime's thread, on the stack of a task
 * or of the scheduler. They must be quick, must neither block, raise nor leave an error in flight,
 * and must call nothing of yoke that acts on tasks or scopes; yoke_now, and the accessors and
 * printers of causes and errors are fine.
 */
struct yoke_instrument {
    void *arg; /* handed to each */
    void (*task_spawned)(void *arg, const struct yoke_task_info *task);
    /* A task gets the thread, and has given it up: by parking, yielding or ending. */
    void (*before_task_step)(void *arg, const struct yoke_task_info *task);
    void (*after_task_step)(void *arg, const struct yoke_task_info *task);
    void (*task_parked)(void *arg, const struct yoke_task_info *task);
    void (*task_woken)(void *arg, const struct yoke_task_info *task, int rc); /* made ready */
    void (*task_exited)(void *arg, const struct yoke_task_info *task, int rc);
    /* A scope was asked to cancel; the cause names it. Also for requests after the first. */
    void (*cancel_requested)(void *arg, const struct yoke_cause *cause);
    /* A Cancelled is raised in a task, by the outermost cancelled scope that it can see. */
    void (*cancel_delivered)(void *arg, const struct yoke_task_info *task,
                             const struct yoke_cause *cause);
    /* The poller is asked, until a time on the monotonic clock; 0: it only looks. */
    void (*before_io_wait)(void *arg, int64_t until_ns);
    void (*after_io_wait)(void *arg);
};

YOKE_END
#endif
