/* SPDX-License-Identifier: MIT */
/*
 * Capacity limiters: at most so many at once, first come, first served; trio's CapacityLimiter.
 * Each borrower holds at most one token. By default the borrower is the calling task; it may be
 * anything with an address, so that one task borrows for several things, or another gives back.
 * In place; one runtime only.
 *
 *   struct yoke_token token;
 *   rc = yoke_limiter_acquire(&connections, &token, NULL);
 *   if (rc < 0)
 *       return rc;
 *   rc = fetch(url);
 *   yoke_limiter_release(&token);
 */
#ifndef YOKE_LIMITER_H
#define YOKE_LIMITER_H

#include <yoke/parking_lot.h>

YOKE_BEGIN

struct yoke_limiter { /* in place; every field is private */
    struct yk_list waiters;
    struct yk_list tokens;
    size_t total;
    size_t borrowed;
};

struct yoke_token { /* in place, usually in the borrower's frame; every field is private */
    struct yk_list node;
    struct yoke_limiter *limiter; /* NULL: not held */
    const void *borrower;
    const struct yoke_site *site;
    struct yk_held held;
    bool by_task;
};

/* `total` tokens; YOKE_ALL: no limit; 0: nobody gets one until the total is changed. */
YOKE_API void yoke_limiter_init(struct yoke_limiter *limiter, size_t total);

/* The end of a limiter. Tokens not given back, or tasks that wait for one, are misuse: it aborts.
 */
YOKE_API void yoke_limiter_fini(struct yoke_limiter *limiter);

/*
 * Borrows a token for `borrower`, NULL: the calling task; waits behind those who wait already.
 * `token` receives it, and stays in its place until released. 0; YOKE_CANCELLED, nothing borrowed;
 * -EDEADLK with an error raised if this borrower has a token of this limiter, or waits for one:
 * it would wait for itself. A check that walks the tokens.
 */
#define yoke_limiter_acquire(limiter, token, borrower)                                             \
    yoke_limiter_acquire_at(YOKE_HERE, (limiter), (token), (borrower))
YOKE_API YOKE_MUST_CHECK int yoke_limiter_acquire_at(const struct yoke_site *site,
                                                     struct yoke_limiter *limiter,
                                                     struct yoke_token *token,
                                                     const void *borrower);

/* As acquire but never waits: 1 borrowed; 0 there is none; the same error. */
#define yoke_limiter_try_acquire(limiter, token, borrower)                                         \
    yoke_limiter_try_acquire_at(YOKE_HERE, (limiter), (token), (borrower))
YOKE_API YOKE_MUST_CHECK int yoke_limiter_try_acquire_at(const struct yoke_site *site,
                                                         struct yoke_limiter *limiter,
                                                         struct yoke_token *token,
                                                         const void *borrower);

/*
 * Gives it back; never blocks. A token that is not borrowed aborts, and so does a task that gives
 * back what another one borrowed for itself. A task that ends with a token of its own in its frame
 * aborts; with one that lies elsewhere it fails with "yoke.Forgotten", and the token is given back.
 */
#define yoke_limiter_release(token) yoke_limiter_release_at(YOKE_HERE, (token))
YOKE_API void yoke_limiter_release_at(const struct yoke_site *site, struct yoke_token *token);

/*
 * Changes the total. More: who waits is served. Less: borrowed tokens stay borrowed, and none is
 * lent before enough came back.
 */
YOKE_API void yoke_limiter_set_total(struct yoke_limiter *limiter, size_t total);

/* Whether it has a token; NULL: the calling task. */
YOKE_API bool yoke_limiter_is_borrower(const struct yoke_limiter *limiter, const void *borrower);

struct yoke_limiter_stats {
    size_t total;
    size_t borrowed;
    size_t available; /* 0 also while more are borrowed than there are to be */
    size_t waiting;   /* counted by walking the queue */
};
YOKE_API void yoke_limiter_stats(const struct yoke_limiter *limiter,
                                 struct yoke_limiter_stats *ret_stats);

YOKE_END
#endif
