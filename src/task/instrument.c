/* SPDX-License-Identifier: MIT */
/*
 * The calls to an instrument, kept out of the scheduler's functions so that those stay small. Runs
 * on whatever stack the event is on. A stray error that an instrument leaves in flight would become
 * the task's own: that is excluded by contract, and not checked.
 */
#include "task/instrument.h"

static struct yoke_task_info describe(const struct yk_task *task)
{
    return (struct yoke_task_info){
        .id = task->locus.task_id,
        .name = task->locus.task_name,
        .spawned_at = task->site,
        .waiting_for = task->state == YK_TASK_PARKED ? task->waiting_for : NULL,
    };
}

void yk_tell(const struct yk_task *task,
             void (*event)(void *arg, const struct yoke_task_info *task))
{
    struct yoke_task_info info = describe(task);

    if (event != NULL)
        event(task->runtime->instrument->arg, &info);
}

void yk_tell_rc(const struct yk_task *task,
                void (*event)(void *arg, const struct yoke_task_info *task, int rc), int rc)
{
    struct yoke_task_info info = describe(task);

    if (event != NULL)
        event(task->runtime->instrument->arg, &info, rc);
}

void yk_tell_requested(const struct yoke_instrument *instrument, const struct yoke_cause *cause)
{
    if (instrument->cancel_requested != NULL)
        instrument->cancel_requested(instrument->arg, cause);
}

void yk_tell_delivered(const struct yk_task *task, const struct yoke_cause *cause)
{
    const struct yoke_instrument *instrument = task->runtime->instrument;
    struct yoke_task_info info = describe(task);

    if (instrument->cancel_delivered != NULL)
        instrument->cancel_delivered(instrument->arg, &info, cause);
}
