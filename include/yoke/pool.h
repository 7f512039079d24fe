/* SPDX-License-Identifier: MIT */
/*
 * Worker pools: actors that all expose the same endpoints, and a map of inputs over them.
 *
 *   struct yoke_pool pool;
 *   int rc = yoke_pool_open(&pool, 4, &(struct yoke_actor_opts){.expose = "sum:*"});
 *   if (rc == 0)
 *       rc = yoke_pool_map(&pool, "sum:file", inputs, n, NULL, add_up, &total);
 *   return yoke_pool_close(&pool, rc);
 */
#ifndef YOKE_POOL_H
#define YOKE_POOL_H

#include <yoke/actor.h>
#include <yoke/context.h>

YOKE_BEGIN

struct yoke_pool { /* lives in the caller's frame; every field is private */
    struct yoke_actor_nursery nursery;
    struct yoke_portal **workers;
    size_t n;
};

/*
 * Opens an actor nursery and starts `n` actors in it (0: one per processor), "worker.0" and so on,
 * at the same time. Close it in any case. As yoke_actor_start.
 */
#define yoke_pool_open(pool, n, ...) /* opts */                                                    \
    yoke_pool_open_at(YOKE_HERE, (pool), (n), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_pool_open_at(const struct yoke_site *site, struct yoke_pool *pool,
                                               size_t n, const struct yoke_actor_opts *opts);
#define yoke_pool_close(pool, rc) yoke_pool_close_at(YOKE_HERE, (pool), (rc))
YOKE_API YOKE_MUST_CHECK int yoke_pool_close_at(const struct yoke_site *site,
                                                struct yoke_pool *pool, int rc);

/* Its actors: `n` portals, borrowed until it is closed. */
YOKE_API struct yoke_portal *const *yoke_pool_workers(const struct yoke_pool *pool, size_t *ret_n);

struct yoke_map_opts {
    size_t per_worker; /* inputs that one worker has at a time; 0: 1 */
    unsigned retries;  /* how often an input whose worker is gone is given to another; 0: never */
    bool in_order;     /* results in the order of the inputs; false: as they come */
};

/*
 * Told of each result, in the calling task's nursery; `result` is borrowed until it returns. One
 * call at a time. Negative: the map fails with that.
 */
typedef int (*yoke_map_fn)(void *arg, size_t index, struct yoke_value result);

/*
 * Calls the endpoint once for each of `n` inputs, which are its arguments, on whichever worker has
 * room, and waits for all. The first failure of one cancels the others, and is the map's: 0, the
 * failure, or a group. A worker that died, was cancelled, or can't be reached is such a failure,
 * unless there are retries, and other workers. `on_result` may be NULL.
 */
YOKE_API YOKE_MUST_CHECK int yoke_pool_map(struct yoke_pool *pool, const char *endpoint,
                                           const struct yoke_value *inputs, size_t n,
                                           const struct yoke_map_opts *opts, yoke_map_fn on_result,
                                           void *arg);

/* The same over any portals. */
YOKE_API YOKE_MUST_CHECK int yoke_map_over(struct yoke_portal *const *workers, size_t workers_n,
                                           const char *endpoint, const struct yoke_value *inputs,
                                           size_t n, const struct yoke_map_opts *opts,
                                           yoke_map_fn on_result, void *arg);

/*
 * One task in a fresh actor: starts it, calls the endpoint, ends and reaps the actor. `opts` as of
 * yoke_actor_start, NULL: it exposes this endpoint only. Results as of yoke_call; on failure, also
 * of the end, there is no result.
 */
#define yoke_call_in_new_actor(name, endpoint, ...) /* args, opts, ret_result */                   \
    yoke_call_in_new_actor_at(YOKE_HERE, (name), (endpoint), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_call_in_new_actor_at(const struct yoke_site *site,
                                                       const char *name, const char *endpoint,
                                                       struct yoke_value args,
                                                       const struct yoke_actor_opts *opts,
                                                       struct yoke_value **ret_result);

YOKE_END
#endif
