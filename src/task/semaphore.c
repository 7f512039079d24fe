/* SPDX-License-Identifier: MIT */
/*
 * Semaphores. A unit that is released while tasks wait never enters the count: it is the first
 * waiter's from then on. Invariant: tasks wait only while the value is 0.
 */
#include <yoke/semaphore.h>

#include "base/check.h"
#include "task/task.h"

void yoke_semaphore_init(struct yoke_semaphore *semaphore, size_t value, size_t maximum)
{
    if (maximum != 0 && value > maximum)
        yk_misuse(NULL, NULL, NULL, "a semaphore that starts with %zu units, but may have %zu",
                  value, maximum);
    yk_list_init(&semaphore->waiters);
    semaphore->value = value;
    semaphore->maximum = maximum;
}

void yoke_semaphore_fini(struct yoke_semaphore *semaphore)
{
    if (!yk_list_empty(&semaphore->waiters))
        yk_misuse(NULL, NULL, NULL, "the end of a semaphore for which tasks wait");
}

/* 1 taken, 0 there is none. */
static int acquire_now(struct yoke_semaphore *semaphore)
{
    if (semaphore->value == 0)
        return 0;
    semaphore->value--;
    return 1;
}

int yoke_semaphore_acquire(struct yoke_semaphore *semaphore)
{
    struct yk_task *task = yk_task_self("yoke_semaphore_acquire");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    if (acquire_now(semaphore) == 0)
        return yk_wait_in(&semaphore->waiters, "semaphore", NULL);
    yk_completed_at_once(task);
    return 0;
}

int yoke_semaphore_try_acquire(struct yoke_semaphore *semaphore)
{
    yk_task_self("yoke_semaphore_try_acquire");
    return acquire_now(semaphore);
}

void yoke_semaphore_release_at(const struct yoke_site *site, struct yoke_semaphore *semaphore)
{
    size_t maximum = semaphore->maximum == 0 ? SIZE_MAX : semaphore->maximum;

    if (yk_wake_first(&semaphore->waiters, 0))
        return;
    if (semaphore->value == maximum)
        yk_misuse(site, NULL, NULL, "a semaphore of at most %zu units is released once too often",
                  maximum);
    semaphore->value++;
}

size_t yoke_semaphore_value(const struct yoke_semaphore *semaphore)
{
    return semaphore->value;
}

size_t yoke_semaphore_waiting(const struct yoke_semaphore *semaphore)
{
    return yk_waiting_in(&semaphore->waiters);
}

static int attempt_acquire(struct yoke_select_case *c)
{
    return acquire_now(c->object);
}

static int enlist_acquire(struct yoke_select_case *c)
{
    struct yoke_semaphore *semaphore = c->object;

    yk_list_append(&semaphore->waiters, &c->wait.node);
    return 0;
}

/* The unit was handed over. */
static int finish_acquire(struct yoke_select_case *c, int rc)
{
    (void)c;
    yk_assert(rc == 0);
    return 1;
}

struct yoke_select_case yoke_case_acquire(struct yoke_semaphore *semaphore)
{
    static const struct yoke_select_source source = {
        .name = "semaphore",
        .attempt = attempt_acquire,
        .enlist = enlist_acquire,
        .finish = finish_acquire,
    };

    return yoke_case_source(&source, semaphore, NULL);
}
