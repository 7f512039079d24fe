/* SPDX-License-Identifier: MIT */
/*
 * Parking lots, and what a task must give back before it ends. A lot is a queue of yk_wait like
 * that of any other wait; the data of a wait is the lot that it is in, which tells the task that
 * wakes in a broken lot which one it was.
 *
 * What a task holds (a mutex, a token, its duty to a lot) is in its list `held`, in which each
 * element knows what points to it, so that giving back needs no search and no task. An element in
 * the frames of a task that has ended is gone, and is told by its address alone: it lies in the
 * task's own stack, below the task itself.
 */
#include <yoke/parking_lot.h>

#include <errno.h>

#include "base/check.h"
#include "task/task.h"

void yk_hold_add(struct yk_task *task, struct yk_held *held)
{
    held->next = task->held;
    held->place = &task->held;
    if (held->next != NULL)
        held->next->place = &held->next;
    task->held = held;
    task->owes = true;
}

void yk_hold_remove(struct yk_held *held)
{
    yk_assert(held->place != NULL && *held->place == held);
    *held->place = held->next;
    if (held->next != NULL)
        held->next->place = held->place;
    held->place = NULL;
}

int yk_give_back(struct yk_task *task, int rc)
{
    struct yk_held *held;

    while ((held = task->held) != NULL) {
        if ((char *)held >= task->locus.stack_low && (char *)held < (char *)task)
            yk_misuse(task->site, NULL, NULL,
                      "task %s ended without giving back a mutex, a token or a lot's breaker that "
                      "lay in its own frame",
                      yk_task_name(task));
        yk_hold_remove(held);
        held->forgotten(held, task);
    }
    if (rc >= 0 && yk_flight_any(&task->locus))
        rc = yoke_error_code(yk_flight_now(&task->locus));
    return rc;
}

static int broken(const struct yoke_parking_lot *lot)
{
    return yoke_raise("yoke.Broken", EOWNERDEAD, "the parking lot was broken by task %llu",
                      (unsigned long long)lot->broken_by);
}

void yoke_parking_lot_init(struct yoke_parking_lot *lot)
{
    yk_list_init(&lot->waiters);
    lot->broken_by = 0;
    lot->breaks = 0;
}

void yoke_parking_lot_fini(struct yoke_parking_lot *lot)
{
    if (!yk_list_empty(&lot->waiters))
        yk_misuse(NULL, NULL, NULL, "the end of a parking lot in which tasks are parked");
}

int yoke_parking_lot_park(struct yoke_parking_lot *lot)
{
    struct yk_task *task = yk_task_self("yoke_parking_lot_park");
    struct yk_wait wait = {.task = task, .data = lot};
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    if (lot->breaks > 0)
        return broken(lot);
    rc = yk_wait_by(&lot->waiters, "parking lot", &wait);
    return rc == -EOWNERDEAD ? broken(wait.data) : rc;
}

size_t yoke_parking_lot_unpark(struct yoke_parking_lot *lot, size_t n)
{
    size_t woken = 0;

    while (woken < n && yk_wake_first(&lot->waiters, 0))
        woken++;
    return woken;
}

size_t yoke_parking_lot_repark(struct yoke_parking_lot *lot, struct yoke_parking_lot *to, size_t n)
{
    struct yk_list moving;
    struct yk_list *node;
    size_t moved = 0;

    /* By a list of their own, for a lot into itself: what is moved is not moved again. */
    yk_list_init(&moving);
    while (moved < n && (node = yk_list_pop(&lot->waiters)) != NULL) {
        yk_list_append(&moving, node);
        moved++;
    }
    while ((node = yk_list_pop(&moving)) != NULL) {
        struct yk_wait *wait = yk_container_of(node, struct yk_wait, node);

        wait->data = to;
        if (to->breaks > 0)
            yk_wake_wait(wait, -EOWNERDEAD);
        else
            yk_list_append(&to->waiters, node);
    }
    return moved;
}

void yk_parking_lot_break(struct yoke_parking_lot *lot, struct yk_task *task)
{
    if (lot->breaks++ == 0)
        lot->broken_by = task->locus.task_id;
    while (yk_wake_first(&lot->waiters, -EOWNERDEAD))
        continue;
}

void yoke_parking_lot_break(struct yoke_parking_lot *lot)
{
    yk_parking_lot_break(lot, yk_task_self("yoke_parking_lot_break"));
}

static void breaker_ended(struct yk_held *held, struct yk_task *task)
{
    struct yoke_parking_lot_breaker *breaker =
        yk_container_of(held, struct yoke_parking_lot_breaker, held);

    yk_parking_lot_break(breaker->lot, task);
    breaker->lot = NULL;
}

void yoke_parking_lot_add_breaker(struct yoke_parking_lot *lot,
                                  struct yoke_parking_lot_breaker *breaker)
{
    breaker->lot = lot;
    breaker->held.forgotten = breaker_ended;
    yk_hold_add(yk_task_self("yoke_parking_lot_add_breaker"), &breaker->held);
}

void yoke_parking_lot_remove_breaker(struct yoke_parking_lot_breaker *breaker)
{
    if (breaker->lot == NULL)
        yk_misuse(NULL, NULL, NULL, "removal of a breaker that is not added to a parking lot");
    yk_hold_remove(&breaker->held);
    breaker->lot = NULL;
}

void yoke_parking_lot_stats(const struct yoke_parking_lot *lot,
                            struct yoke_parking_lot_stats *ret_stats)
{
    *ret_stats = (struct yoke_parking_lot_stats){
        .waiting = yk_waiting_in(&lot->waiters),
        .broken_by = lot->broken_by,
        .breaks = lot->breaks,
    };
}

int yoke_select_park(struct yoke_select_case *c, struct yoke_parking_lot *lot)
{
    if (lot->breaks > 0)
        return broken(lot);
    c->wait.data = lot;
    yk_list_append(&lot->waiters, &c->wait.node);
    return 0;
}

int yk_select_broken(const struct yoke_select_case *c)
{
    return broken(c->wait.data);
}
