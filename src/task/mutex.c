/* SPDX-License-Identifier: MIT */
/*
 * Mutexes. The waiters are in the mutex's parking lot; the data of a wait is the site of its lock
 * call, so that who unlocks can make the first waiter the owner, with its site, before it wakes.
 * Hence a waiter that was woken owns the mutex, whatever happens to it before it runs.
 *
 * Invariants: tasks wait only while there is an owner; a broken mutex has neither.
 */
#include "task/mutex.h"

#include <errno.h>

#include "base/check.h"

static void own(struct yoke_mutex *mutex, struct yk_task *task, const struct yoke_site *site)
{
    mutex->owner = task;
    mutex->site = site;
    yk_hold_add(task, &mutex->held);
}

/* Nobody can notify them any more: that takes the mutex. */
static void wake_sleepers(struct yoke_mutex *mutex)
{
    struct yk_list *node;

    while ((node = yk_list_pop(&mutex->sleepers)) != NULL) {
        struct yk_condition_wait *waiting =
            yk_container_of(node, struct yk_condition_wait, sleeping);

        yk_list_remove(&waiting->wait.node);
        yk_wake_wait(&waiting->wait, -EOWNERDEAD);
    }
}

/* Its owner ended: `site` stays, to be told to all who come. */
static void forgotten(struct yk_held *held, struct yk_task *task)
{
    struct yoke_mutex *mutex = yk_container_of(held, struct yoke_mutex, held);

    mutex->owner = NULL;
    yk_parking_lot_break(&mutex->lot, task);
    wake_sleepers(mutex);
    yoke_raise_at(mutex->site, NULL, "yoke.Forgotten", EOWNERDEAD,
                  "task %s ended without unlocking the mutex that it had locked at %s:%d",
                  yk_task_name(task), mutex->site->file, mutex->site->line);
}

int yk_mutex_broken(const struct yoke_mutex *mutex)
{
    return yoke_raise("yoke.Broken", EOWNERDEAD,
                      "task %llu, which had locked the mutex at %s:%d, ended without unlocking it",
                      (unsigned long long)mutex->lot.broken_by, mutex->site->file,
                      mutex->site->line);
}

void yoke_mutex_init(struct yoke_mutex *mutex)
{
    yoke_parking_lot_init(&mutex->lot);
    yk_list_init(&mutex->sleepers);
    mutex->owner = NULL;
    mutex->site = NULL;
    mutex->held.place = NULL;
    mutex->held.forgotten = forgotten;
}

void yoke_mutex_fini(struct yoke_mutex *mutex)
{
    if (mutex->owner != NULL)
        yk_misuse(NULL, "locked at", mutex->site, "the end of a mutex that task %s holds",
                  yk_task_name(mutex->owner));
    yoke_parking_lot_fini(&mutex->lot);
}

/* 1 locked, 0 another task holds it, or an error. */
static int lock_now(struct yoke_mutex *mutex, struct yk_task *task, const struct yoke_site *site)
{
    if (mutex->lot.breaks > 0)
        return yk_mutex_broken(mutex);
    if (mutex->owner == task)
        return yoke_raise_at(site, NULL, "yoke.Mutex", EDEADLK,
                             "task %s holds the mutex already: it locked it at %s:%d",
                             yk_task_name(task), mutex->site->file, mutex->site->line);
    if (mutex->owner != NULL)
        return 0;
    own(mutex, task, site);
    return 1;
}

int yoke_mutex_lock_at(const struct yoke_site *site, struct yoke_mutex *mutex)
{
    struct yk_task *task = yk_task_self("yoke_mutex_lock");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    rc = lock_now(mutex, task, site);
    if (rc < 0)
        return rc;
    if (rc > 0) {
        yk_completed_at_once(task);
        return 0;
    }
    rc = yk_wait_in(&mutex->lot.waiters, "mutex", (void *)(uintptr_t)site);
    return rc == -EOWNERDEAD ? yk_mutex_broken(mutex) : rc;
}

int yk_mutex_lock_always(struct yoke_mutex *mutex, struct yk_task *task,
                         const struct yoke_site *site)
{
    struct yk_wait wait = {.task = task, .data = (void *)(uintptr_t)site};
    int rc = lock_now(mutex, task, site);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    yk_list_append(&mutex->lot.waiters, &wait.node);
    rc = yk_park(task, "mutex of a condition", NULL, NULL);
    return rc == -EOWNERDEAD ? yk_mutex_broken(mutex) : rc;
}

int yoke_mutex_try_lock_at(const struct yoke_site *site, struct yoke_mutex *mutex)
{
    return lock_now(mutex, yk_task_self("yoke_mutex_try_lock"), site);
}

void yk_mutex_check_owner(const struct yoke_mutex *mutex, const struct yk_task *task,
                          const struct yoke_site *site, const char *call)
{
    if (mutex->owner == task)
        return;
    if (mutex->owner == NULL)
        yk_misuse(site, mutex->site != NULL ? "last locked at" : NULL, mutex->site,
                  "%s by task %s, but the mutex is not locked", call, yk_task_name(task));
    yk_misuse(site, "locked at", mutex->site, "%s by task %s, but task %s holds the mutex", call,
              yk_task_name(task), yk_task_name(mutex->owner));
}

void yoke_mutex_unlock_at(const struct yoke_site *site, struct yoke_mutex *mutex)
{
    struct yk_task *task = yk_task_self("yoke_mutex_unlock");
    struct yk_list *node;

    if (mutex->lot.breaks > 0)
        return;
    yk_mutex_check_owner(mutex, task, site, "yoke_mutex_unlock");
    yk_hold_remove(&mutex->held);
    mutex->owner = NULL;
    node = yk_list_pop(&mutex->lot.waiters);
    if (node != NULL) {
        struct yk_wait *wait = yk_container_of(node, struct yk_wait, node);

        own(mutex, wait->task, wait->data);
        yk_wake_wait(wait, 0);
    }
}

uint64_t yoke_mutex_owner(const struct yoke_mutex *mutex)
{
    return mutex->owner == NULL ? 0 : mutex->owner->locus.task_id;
}

size_t yoke_mutex_waiting(const struct yoke_mutex *mutex)
{
    return yk_waiting_in(&mutex->lot.waiters);
}

static int attempt_lock(struct yoke_select_case *c)
{
    return lock_now(c->object, yk_task_self("yoke_select"), c->data);
}

static int enlist_lock(struct yoke_select_case *c)
{
    struct yoke_mutex *mutex = c->object;

    c->wait.data = c->data;
    yk_list_append(&mutex->lot.waiters, &c->wait.node);
    return 0;
}

static int finish_lock(struct yoke_select_case *c, int rc)
{
    return rc == -EOWNERDEAD ? yk_mutex_broken(c->object) : 1;
}

struct yoke_select_case yoke_case_lock_at(const struct yoke_site *site, struct yoke_mutex *mutex)
{
    static const struct yoke_select_source source = {
        .name = "mutex",
        .attempt = attempt_lock,
        .enlist = enlist_lock,
        .finish = finish_lock,
    };

    return yoke_case_source(&source, mutex, (void *)(uintptr_t)site);
}
