/* SPDX-License-Identifier: MIT */
/*
 * Where the runtime tells of itself: one inline function an event, called at its place in the
 * scheduler and the scopes. Each is a probe, which is a no-op instruction until a tracer arms it,
 * and a call to the run's instrument, if there is one.
 *
 * Tasks that switch to each other directly don't pass here: with an instrument the scheduler's loop
 * gets the thread back after each step (yk_sched_loop), so that the switch itself has no branch for
 * it.
 */
#ifndef YK_TASK_INSTRUMENT_H
#define YK_TASK_INSTRUMENT_H

#include <yoke/instrument.h>

#include "task/task.h"

#ifdef YK_HAVE_SDT
#include <sys/sdt.h>
#define YK_PROBE1(name, a)       STAP_PROBE1(yoke, name, a)
#define YK_PROBE2(name, a, b)    STAP_PROBE2(yoke, name, a, b)
#define YK_PROBE3(name, a, b, c) STAP_PROBE3(yoke, name, a, b, c)
#else
#define YK_PROBE1(name, a)       ((void)(a))
#define YK_PROBE2(name, a, b)    ((void)(a), (void)(b))
#define YK_PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

/* Calls one function of the task's instrument, which may be NULL. */
void yk_tell(const struct yk_task *task,
             void (*event)(void *arg, const struct yoke_task_info *task));
void yk_tell_rc(const struct yk_task *task,
                void (*event)(void *arg, const struct yoke_task_info *task, int rc), int rc);
void yk_tell_requested(const struct yoke_instrument *instrument, const struct yoke_cause *cause);
void yk_tell_delivered(const struct yk_task *task, const struct yoke_cause *cause);

static inline bool yk_instrumented(const struct yoke_runtime *runtime)
{
    return __builtin_expect(runtime->instrument != NULL, 0);
}

static inline void yk_event_spawned(const struct yk_task *task)
{
    YK_PROBE3(task_spawned, task->locus.task_id, task->locus.task_name, task->nursery->scope.id);
    if (yk_instrumented(task->runtime))
        yk_tell(task, task->runtime->instrument->task_spawned);
}

static inline void yk_event_before_step(const struct yk_task *task)
{
    if (yk_instrumented(task->runtime))
        yk_tell(task, task->runtime->instrument->before_task_step);
}

/* Also called for a task that is done; its memory must still be there. */
static inline void yk_event_after_step(const struct yk_task *task)
{
    if (yk_instrumented(task->runtime))
        yk_tell(task, task->runtime->instrument->after_task_step);
}

static inline void yk_event_parked(const struct yk_task *task)
{
    YK_PROBE2(task_parked, task->locus.task_id, task->waiting_for);
    if (yk_instrumented(task->runtime))
        yk_tell(task, task->runtime->instrument->task_parked);
}

static inline void yk_event_woken(const struct yk_task *task, int rc)
{
    YK_PROBE2(task_woken, task->locus.task_id, rc);
    if (yk_instrumented(task->runtime))
        yk_tell_rc(task, task->runtime->instrument->task_woken, rc);
}

static inline void yk_event_exited(const struct yk_task *task, int rc)
{
    YK_PROBE2(task_exited, task->locus.task_id, rc);
    if (yk_instrumented(task->runtime))
        yk_tell_rc(task, task->runtime->instrument->task_exited, rc);
}

static inline void yk_event_cancel_requested(const struct yoke_scope *scope,
                                             const struct yoke_cause *cause)
{
    const struct yoke_runtime *runtime = yk_runtime_current;

    YK_PROBE2(cancel_requested, scope->id, scope->name);
    if (runtime != NULL && yk_instrumented(runtime))
        yk_tell_requested(runtime->instrument, cause);
}

static inline void yk_event_cancel_delivered(const struct yk_task *task,
                                             const struct yoke_cause *cause)
{
    YK_PROBE1(cancel_delivered, task->locus.task_id);
    if (yk_instrumented(task->runtime))
        yk_tell_delivered(task, cause);
}

static inline void yk_event_before_io_wait(const struct yoke_runtime *runtime, int64_t until_ns)
{
    YK_PROBE1(before_io_wait, until_ns);
    if (yk_instrumented(runtime) && runtime->instrument->before_io_wait != NULL)
        runtime->instrument->before_io_wait(runtime->instrument->arg, until_ns);
}

static inline void yk_event_after_io_wait(const struct yoke_runtime *runtime)
{
    YK_PROBE1(after_io_wait, runtime->ready_n);
    if (yk_instrumented(runtime) && runtime->instrument->after_io_wait != NULL)
        runtime->instrument->after_io_wait(runtime->instrument->arg);
}

#endif
