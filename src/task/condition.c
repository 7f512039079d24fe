/* SPDX-License-Identifier: MIT */
/*
 * Conditions. Notifying moves a wait from the condition's queue to the end of its mutex's, where it
 * is a wait like any other: its task wakes when it has been made the owner. From then on it refuses
 * to be cancelled, so a notification is never lost: a wait ends notified, or cancelled having never
 * been. The cancelled one has to get in line for the mutex, and can't be cancelled in that.
 *
 * Decided against: waking all who are notified and letting them lock again, which wakes each twice
 * and gives the mutex away by chance.
 */
#include <yoke/condition.h>

#include <errno.h>

#include "base/check.h"
#include "task/mutex.h"

struct waiting {
    struct yk_wait wait; /* data: the site of the call, as in a mutex */
    bool notified;
};

void yoke_condition_init(struct yoke_condition *condition, struct yoke_mutex *mutex)
{
    yk_list_init(&condition->waiters);
    condition->mutex = mutex;
}

void yoke_condition_fini(struct yoke_condition *condition)
{
    if (!yk_list_empty(&condition->waiters))
        yk_misuse(NULL, NULL, NULL, "the end of a condition for which tasks wait");
}

static bool abort_condition(struct yk_task *task, void *arg)
{
    struct waiting *waiting = arg;

    (void)task;
    if (waiting->notified)
        return false;
    yk_list_remove(&waiting->wait.node);
    return true;
}

int yoke_condition_wait_at(const struct yoke_site *site, struct yoke_condition *condition)
{
    struct yk_task *task = yk_task_self("yoke_condition_wait");
    struct yoke_mutex *mutex = condition->mutex;
    struct waiting waiting = {.wait = {.task = task, .data = (void *)(uintptr_t)site}};
    int rc = yk_check_cancelled(task);

    yk_mutex_check_owner(mutex, task, site, "yoke_condition_wait");
    if (rc < 0)
        return rc;
    yk_list_append(&condition->waiters, &waiting.wait.node);
    yoke_mutex_unlock_at(site, mutex);
    rc = yk_park(task, "condition", abort_condition, &waiting);
    if (rc == -EOWNERDEAD)
        return yk_mutex_broken(mutex);
    if (rc < 0) {
        int lock_rc = yk_mutex_lock_always(mutex, task, site);

        return lock_rc < 0 ? lock_rc : rc;
    }
    yk_assert(mutex->owner == task);
    return 0;
}

size_t yoke_condition_notify_at(const struct yoke_site *site, struct yoke_condition *condition,
                                size_t n)
{
    struct yk_task *task = yk_task_self("yoke_condition_notify");
    struct yk_list *node;
    size_t notified = 0;

    yk_mutex_check_owner(condition->mutex, task, site, "yoke_condition_notify");
    while (notified < n && (node = yk_list_pop(&condition->waiters)) != NULL) {
        yk_container_of(node, struct waiting, wait.node)->notified = true;
        yk_list_append(&condition->mutex->lot.waiters, node);
        notified++;
    }
    return notified;
}

size_t yoke_condition_waiting(const struct yoke_condition *condition)
{
    return yk_waiting_in(&condition->waiters);
}
