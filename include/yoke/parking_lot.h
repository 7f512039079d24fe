/* SPDX-License-Identifier: MIT */
/*
 * Parking lots: a fair queue of waiting tasks, to build synchronisation from; trio's ParkingLot.
 * Mutexes, conditions, semaphores and limiters are made of the same queue. In place; one runtime
 * only. A gate that lets tasks through while it is open:
 *
 *   int gate_pass(struct gate *gate)
 *   {
 *       int rc = 0;
 *       while (rc == 0 && !gate->open)
 *           rc = yoke_parking_lot_park(&gate->lot);
 *       return rc;
 *   }
 *   void gate_open(struct gate *gate)
 *   {
 *       gate->open = true;
 *       yoke_parking_lot_unpark(&gate->lot, YOKE_ALL);
 *   }
 */
#ifndef YOKE_PARKING_LOT_H
#define YOKE_PARKING_LOT_H

#include <yoke/common.h>

YOKE_BEGIN

struct yk_task;

/* Private: what a task must give back before it ends, in the list of that task. */
struct yk_held {
    struct yk_held *next;
    struct yk_held **place; /* what points here; NULL: nobody holds it */
    void (*forgotten)(struct yk_held *held, struct yk_task *task);
};

struct yoke_parking_lot { /* in place; every field is private */
    struct yk_list waiters;
    uint64_t broken_by; /* the id of the task that broke it first; 0: whole */
    size_t breaks;
};

#define YOKE_ALL SIZE_MAX /* as many as there are */

YOKE_API void yoke_parking_lot_init(struct yoke_parking_lot *lot);

/* The end of a lot. Tasks that are still parked in it are misuse, and abort. */
YOKE_API void yoke_parking_lot_fini(struct yoke_parking_lot *lot);

/*
 * Waits, behind those who wait already, until it is unparked. 0; YOKE_CANCELLED, and it has left
 * the queue; -EOWNERDEAD with an error raised if the lot is broken, or breaks meanwhile. A task
 * that was unparked and is cancelled before it runs again still gets 0: no wake-up is lost.
 */
YOKE_API YOKE_MUST_CHECK int yoke_parking_lot_park(struct yoke_parking_lot *lot);

/* Wakes up to `n` tasks, those that have waited longest. Returns how many; never blocks. */
YOKE_API size_t yoke_parking_lot_unpark(struct yoke_parking_lot *lot, size_t n);

/*
 * Moves up to `n` tasks, those that have waited longest, behind those in `to`; they keep waiting,
 * in the same order. Returns how many. If `to` is broken their waits fail as in a broken lot.
 */
YOKE_API size_t yoke_parking_lot_repark(struct yoke_parking_lot *lot, struct yoke_parking_lot *to,
                                        size_t n);

/*
 * Breaks the lot for good, in the name of the calling task: all waits in it fail, now and later.
 * Breaking it again is fine, and is counted; errors name the task that broke it first.
 */
YOKE_API void yoke_parking_lot_break(struct yoke_parking_lot *lot);

/*
 * From add to remove, the end of the calling task breaks the lot: for those who wait for something
 * that only this task can do. A breaker lives beside its lot, not in the task's own frame, which
 * is gone by then. Removing is done by the same task; one that is not added is misuse, and aborts.
 */
struct yoke_parking_lot_breaker { /* in place; every field is private */
    struct yk_held held;
    struct yoke_parking_lot *lot;
};
YOKE_API void yoke_parking_lot_add_breaker(struct yoke_parking_lot *lot,
                                           struct yoke_parking_lot_breaker *breaker);
YOKE_API void yoke_parking_lot_remove_breaker(struct yoke_parking_lot_breaker *breaker);

/* Tasks that wait now are counted by walking the queue. */
struct yoke_parking_lot_stats {
    size_t waiting;
    uint64_t broken_by; /* the id of the task that broke it first; 0: it is whole */
    size_t breaks;      /* how often it was broken */
};
YOKE_API void yoke_parking_lot_stats(const struct yoke_parking_lot *lot,
                                     struct yoke_parking_lot_stats *ret_stats);

YOKE_END
#endif
