/* SPDX-License-Identifier: MIT */
/* The plain waits: checkpoint, sleep, event, all tasks blocked; and what a task can ask of itself.
 */
#include <errno.h>
#include <string.h>
#include <yoke/event.h>
#include <yoke/testing.h>

#include "base/check.h"
#include "task/task.h"

int yoke_checkpoint(void)
{
    struct yk_task *task = yk_task_self("yoke_checkpoint");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    yk_yield(task);
    return yk_check_cancelled(task);
}

struct sleeper {
    struct yk_timer timer;
    struct yk_task *task;
};

static void sleep_over(struct yk_timer *timer)
{
    yk_wake(yk_container_of(timer, struct sleeper, timer)->task, 0);
}

static bool abort_sleep(struct yk_task *task, void *arg)
{
    struct sleeper *sleeper = arg;

    yk_timer_disarm(&task->runtime->timers, &sleeper->timer);
    return true;
}

int yoke_sleep_until(int64_t time_ns)
{
    struct yk_task *task = yk_task_self("yoke_sleep");
    struct sleeper sleeper = {.timer.expired = sleep_over, .task = task};
    int rc;

    if (time_ns <= yk_now(task->runtime))
        return yoke_checkpoint();
    rc = yk_check_cancelled(task);
    if (rc < 0)
        return rc;
    if (yk_timer_arm(&task->runtime->timers, &sleeper.timer, time_ns) < 0)
        return yoke_raise("yoke.Sleep", ENOMEM, "no memory for a timer");
    return yk_park(task, "sleep", abort_sleep, &sleeper);
}

int yoke_sleep(int64_t duration_ns)
{
    int64_t now = yk_now(yk_task_self("yoke_sleep")->runtime);

    if (duration_ns <= 0)
        return yoke_checkpoint();
    return yoke_sleep_until(duration_ns > YOKE_NEVER - now ? YOKE_NEVER : now + duration_ns);
}

static bool abort_nothing(struct yk_task *task, void *arg)
{
    (void)task;
    (void)arg;
    return true;
}

int yoke_sleep_forever(void)
{
    struct yk_task *task = yk_task_self("yoke_sleep_forever");
    int rc = yk_check_cancelled(task);

    return rc < 0 ? rc : yk_park(task, "sleep forever", abort_nothing, NULL);
}

int64_t yoke_now(void)
{
    return yk_now(yk_task_self("yoke_now")->runtime);
}

uint64_t yoke_task_id(void)
{
    return yk_locus()->task_id;
}

const char *yoke_task_name(void)
{
    return yk_locus()->task_name;
}

void yoke_event_init(struct yoke_event *event)
{
    yk_list_init(&event->waiters);
    event->set = false;
}

void yoke_event_set(struct yoke_event *event)
{
    event->set = true;
    while (yk_wake_first(&event->waiters, 0))
        continue;
}

bool yoke_event_is_set(const struct yoke_event *event)
{
    return event->set;
}

size_t yoke_event_waiting(const struct yoke_event *event)
{
    return yk_waiting_in(&event->waiters);
}

int yoke_event_wait(struct yoke_event *event)
{
    struct yk_task *task = yk_task_self("yoke_event_wait");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    if (!event->set)
        return yk_wait_in(&event->waiters, "event", NULL);
    yk_completed_at_once(task);
    return 0;
}

int yoke_wait_all_tasks_blocked(void)
{
    struct yk_task *task = yk_task_self("yoke_wait_all_tasks_blocked");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    return yk_wait_in(&task->runtime->blocked_waiters, "all tasks blocked", NULL);
}
