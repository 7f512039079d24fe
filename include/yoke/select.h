/* SPDX-License-Identifier: MIT */
/*
 * Select: waits for the first of several things. Exactly one of them happens, the others have no
 * effect at all: no item is taken, no unit, no place in a queue.
 *
 *   struct yoke_select_case cases[] = {
 *       yoke_case_receive(jobs, &job),
 *       yoke_case_event(&stop),
 *       yoke_case_timeout(YOKE_S(30)),
 *   };
 *   switch (rc = yoke_select(cases, 3, NULL)) {
 *   case 0:
 *       if (cases[0].result == 0)
 *           return 0;                          // the channel has ended
 *       rc = run(&job);
 *       break;
 *   case 1:
 *       return 0;
 *   case 2:
 *       rc = report_idle();
 *   }
 *   return rc;                                 // negative: YOKE_CANCELLED, or what failed
 *
 * Cases for readiness of descriptors are in <yoke/io.h>, for streams in <yoke/context.h>. Nothing
 * is allocated, but for a timer's or a descriptor's registration: the waits are part of the cases.
 */
#ifndef YOKE_SELECT_H
#define YOKE_SELECT_H

#include <yoke/broadcast.h>
#include <yoke/channel.h>
#include <yoke/event.h>
#include <yoke/limiter.h>
#include <yoke/mutex.h>
#include <yoke/scope.h>
#include <yoke/semaphore.h>

YOKE_BEGIN

struct yk_select;
struct yk_task;
struct yoke_select_case;

/* Private: a place in a queue of waiters. */
struct yk_wait {
    struct yk_list node;
    struct yk_task *task;
    void *data;
    void (*claimed)(struct yk_wait *wait); /* told before it is woken; NULL: a wait by itself */
};

/*
 * What can be waited for. A source of your own has these functions; they run in the selecting task,
 * do not block, and get at what they need by the case's `object` and `data`.
 */
struct yoke_select_source {
    const char *name; /* what it waits for, as dumps and deadlock reports say it: "event" */
    /*
     * Does it if it can be done at once. 1: done, with c->result set; 0: not now, and without
     * effect; negative, with an error raised: the select fails with it. Called again, of all
     * cases, when one that was woken came to nothing.
     */
    int (*attempt)(struct yoke_select_case *c);
    /* Enters the queue in which the case waits, by yoke_select_park. 0, or negative: as above. */
    int (*enlist)(struct yoke_select_case *c);
    /*
     * After this case was woken, with what its waker gave: as attempt. NULL: it is attempted.
     */
    int (*finish)(struct yoke_select_case *c, int rc);
    /* Undoes what enlist did besides; for each enlisted case, when the waiting is over; or NULL. */
    void (*leave)(struct yoke_select_case *c);
};

struct yoke_select_case {
    const struct yoke_select_source *source;
    void *object;
    void *data;
    void *extra;
    int64_t number; /* a time in ns, or a descriptor */
    /*
     * Set in all cases: in the one that happened to what the call by itself would have returned,
     * in the others to 0. So a select that failed can tell which case did: its result is negative.
     */
    int result;
    /* private from here on */
    struct yk_select *select;
    struct yk_wait wait;
    struct yk_timer timer;
    size_t order;
};

struct yoke_select_opts {
    bool biased; /* of several that can happen at once, the first; false: any, equally often */
};

/*
 * Waits until one of `n` cases happens, and returns its index. YOKE_CANCELLED: none did. Other
 * negative results: the case failed as the call by itself would have (YOKE_ECLOSED and so on), with
 * an error raised; -EINVAL with an error raised if n is 0 or more than INT_MAX - 1.
 */
YOKE_API YOKE_MUST_CHECK int yoke_select(struct yoke_select_case *cases, size_t n,
                                         const struct yoke_select_opts *opts);

/* As select but never waits: returns `n` if nothing can happen at once. */
YOKE_API YOKE_MUST_CHECK int yoke_try_select(struct yoke_select_case *cases, size_t n,
                                             const struct yoke_select_opts *opts);

/*
 * Cases. Results: receive and broadcast 1, or 0 at the end; the others 0. What a case points to is
 * read or written until select returns. An array of cases may be used again as it is. A time is
 * relative to the call of select, or absolute. `never` does not happen: for what is switched off
 * at present, so that the others keep their indices.
 */
YOKE_API struct yoke_select_case yoke_case_never(void);
YOKE_API struct yoke_select_case yoke_case_send(struct yoke_channel *channel, const void *item);
YOKE_API struct yoke_select_case yoke_case_receive(struct yoke_channel *channel, void *ret_item);
YOKE_API struct yoke_select_case yoke_case_broadcast(struct yoke_subscription *subscription,
                                                     void *ret_item, uint64_t *ret_lost);
YOKE_API struct yoke_select_case yoke_case_event(struct yoke_event *event);
YOKE_API struct yoke_select_case yoke_case_acquire(struct yoke_semaphore *semaphore);
#define yoke_case_lock(mutex) yoke_case_lock_at(YOKE_HERE, (mutex))
YOKE_API struct yoke_select_case yoke_case_lock_at(const struct yoke_site *site,
                                                   struct yoke_mutex *mutex);
#define yoke_case_borrow(limiter, token, borrower) /* as yoke_limiter_acquire */                   \
    yoke_case_borrow_at(YOKE_HERE, (limiter), (token), (borrower))
YOKE_API struct yoke_select_case yoke_case_borrow_at(const struct yoke_site *site,
                                                     struct yoke_limiter *limiter,
                                                     struct yoke_token *token,
                                                     const void *borrower);
YOKE_API struct yoke_select_case yoke_case_timeout(int64_t timeout_ns);
YOKE_API struct yoke_select_case yoke_case_deadline(int64_t deadline_ns);

/* A case of a source of your own; `source` must last as long as the select. */
YOKE_API struct yoke_select_case yoke_case_source(const struct yoke_select_source *source,
                                                  void *object, void *data);

/*
 * For `enlist`: the case waits in this lot, and whoever unparks it ends the select, or makes it
 * attempt the case again. 0; -EOWNERDEAD with an error raised if the lot is broken; if it breaks
 * later, `finish` gets -EOWNERDEAD, and without a `finish` the select fails with it.
 */
YOKE_API YOKE_MUST_CHECK int yoke_select_park(struct yoke_select_case *c,
                                              struct yoke_parking_lot *lot);

YOKE_END
#endif
