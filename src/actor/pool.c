/* SPDX-License-Identifier: MIT */
/*
 * Worker pools. A map is a nursery of runners, so many for each worker; each takes an input, calls
 * its worker, hands the result over, and takes the next. So what is going on is bounded, a fast
 * worker gets more, and the first failure cancels the rest by the rules of a nursery. A runner
 * whose worker is gone leaves; its input is taken by another, if that is wanted and there is one.
 */
#include <yoke/pool.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <yoke/mutex.h>

#include "actor/actor.h"

#include "base/memory.h"

/* A worker that is to be started. */
struct starting {
    struct yoke_pool *pool;
    const struct yoke_actor_opts *opts;
    const struct yoke_site *site;
    size_t index;
};

static int start_worker(void *arg)
{
    struct starting *starting = arg;
    char name[32];

    snprintf(name, sizeof name, "worker.%zu", starting->index);
    return yoke_actor_start_at(starting->site, &starting->pool->nursery, name, starting->opts,
                               &starting->pool->workers[starting->index]);
}

static int start_workers(struct yoke_pool *pool, struct starting *starting)
{
    struct yoke_nursery starters;
    int rc = yoke_nursery_open(&starters, NULL);

    for (size_t i = 0; rc == 0 && i < pool->n; i++)
        rc = yoke_spawn(&starters, start_worker, &starting[i]);
    return yoke_nursery_close(&starters, rc);
}

int yoke_pool_open_at(const struct yoke_site *site, struct yoke_pool *pool, size_t n,
                      const struct yoke_actor_opts *opts)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct starting *starting;
    int rc = yoke_actor_nursery_open_at(site, &pool->nursery, NULL);

    pool->n = n != 0 ? n : processors > 0 ? (size_t)processors : 1;
    pool->workers = yk_calloc(pool->n, sizeof *pool->workers);
    starting = yk_calloc(pool->n, sizeof *starting);
    if (rc == 0 && (pool->workers == NULL || starting == NULL))
        rc = yoke_raise_at(site, NULL, "yoke.Pool", ENOMEM, "no memory for a pool of %zu", pool->n);
    for (size_t i = 0; rc == 0 && i < pool->n; i++)
        starting[i] = (struct starting){.pool = pool, .opts = opts, .site = site, .index = i};
    if (rc == 0)
        rc = start_workers(pool, starting);
    free(starting);
    return rc;
}

int yoke_pool_close_at(const struct yoke_site *site, struct yoke_pool *pool, int rc)
{
    rc = yoke_actor_nursery_close_at(site, &pool->nursery, rc);
    free(pool->workers);
    pool->workers = NULL;
    return rc;
}

struct yoke_portal *const *yoke_pool_workers(const struct yoke_pool *pool, size_t *ret_n)
{
    *ret_n = pool->n;
    return pool->workers;
}

/* A map that is going on. */
struct map {
    const char *endpoint;
    const struct yoke_value *inputs;
    size_t n;
    struct yoke_map_opts opts;
    yoke_map_fn on_result;
    void *arg;
    size_t next;   /* the first input that nobody has had */
    size_t *again; /* inputs that came back */
    size_t again_n;
    unsigned *tries; /* of each input; only with retries */
    size_t done;
    size_t told;                 /* with in_order: results before this one were handed over */
    struct yoke_value **results; /* with in_order: those that wait for earlier ones */
    struct yoke_mutex telling;
    size_t runners_n;
    struct yk_list idle; /* runners without an input */
};

struct runner {
    struct map *map;
    struct yoke_portal *worker;
};

static void wake_idle(struct map *map)
{
    while (yk_wake_first(&map->idle, 0))
        continue;
}

/* The next input. 1; 0: all are done; YOKE_CANCELLED. */
static int take_input(struct map *map, size_t *ret_index)
{
    int rc = 0;

    while (rc == 0 && map->again_n == 0 && map->next == map->n && map->done < map->n &&
           map->opts.retries > 0)
        rc = yk_wait_in(&map->idle, "an input of a map", NULL);
    if (rc < 0)
        return rc;
    if (map->again_n > 0)
        *ret_index = map->again[--map->again_n];
    else if (map->next < map->n)
        *ret_index = map->next++;
    else
        return 0;
    return 1;
}

/* Hands results over that are due. Takes over `result`, of input `index`. */
static int tell_due(struct map *map, size_t index, struct yoke_value *result)
{
    int rc = 0;

    if (!map->opts.in_order) {
        if (map->on_result != NULL)
            rc = map->on_result(map->arg, index, *result);
        yoke_value_free(result);
        return rc;
    }
    map->results[index] = result;
    while (rc >= 0 && map->told < map->n && map->results[map->told] != NULL) {
        size_t due = map->told++;

        if (map->on_result != NULL)
            rc = map->on_result(map->arg, due, *map->results[due]);
        yoke_value_free(map->results[due]);
        map->results[due] = NULL;
    }
    return rc;
}

static int tell(struct map *map, size_t index, struct yoke_value *result)
{
    int rc = yoke_mutex_lock(&map->telling);

    if (rc < 0) {
        yoke_value_free(result);
        return rc;
    }
    rc = tell_due(map, index, result);
    yoke_mutex_unlock(&map->telling);
    if (++map->done == map->n)
        wake_idle(map);
    return rc < 0 ? rc : 0;
}

/* Whether the error in flight says that the worker is no more, or ends. */
static bool worker_gone(void)
{
    const struct yoke_error *error = yoke_in_flight();
    int code = error != NULL ? yoke_error_code(error) : 0;

    if (code == YOKE_EPEERCANCELLED)
        return error->cause != NULL && error->cause->layer >= YOKE_LAYER_ACTOR;
    return code == YOKE_EDIED || code == YOKE_ELINK || code == YOKE_EUNRESPONSIVE;
}

/* The call of an input has failed. 0: another runner is to take it, and this one leaves. */
static int give_back(struct map *map, size_t index, int rc)
{
    if (!worker_gone() || map->opts.retries == 0 || map->tries[index]++ == map->opts.retries ||
        map->runners_n == 1)
        return rc;
    yoke_clear(); /* on purpose: the input is tried again */
    map->runners_n--;
    map->again[map->again_n++] = index;
    wake_idle(map);
    return 0;
}

static int run(void *arg)
{
    struct runner *runner = arg;
    struct map *map = runner->map;
    struct yoke_value *result;
    size_t index;
    int rc;

    while ((rc = take_input(map, &index)) > 0) {
        rc = yoke_call(runner->worker, map->endpoint, map->inputs[index], &result);
        if (rc < 0)
            return give_back(map, index, rc);
        if (result == NULL)
            return yoke_raise("yoke.Pool", ENOMEM, "no memory for a result");
        rc = tell(map, index, result);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int run_all(struct map *map, struct runner *runners)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "map"});

    for (size_t i = 0; rc == 0 && i < map->runners_n; i++)
        rc = yoke_spawn_with(&nursery, run, &runners[i],
                             &(struct yoke_task_opts){.name = map->endpoint});
    return yoke_nursery_close(&nursery, rc);
}

static void map_free(struct map *map)
{
    for (size_t i = 0; map->results != NULL && i < map->n; i++)
        yoke_value_free(map->results[i]);
    free(map->results);
    free(map->again);
    free(map->tries);
}

/* What it needs besides; false: no memory. */
static bool map_init(struct map *map)
{
    yk_list_init(&map->idle);
    yoke_mutex_init(&map->telling);
    if (map->opts.per_worker == 0)
        map->opts.per_worker = 1;
    if (map->opts.in_order)
        map->results = yk_calloc(map->n, sizeof *map->results);
    if (map->opts.retries > 0) {
        map->again = yk_calloc(map->n, sizeof *map->again);
        map->tries = yk_calloc(map->n, sizeof *map->tries);
    }
    return (map->results != NULL || !map->opts.in_order) &&
           ((map->again != NULL && map->tries != NULL) || map->opts.retries == 0);
}

int yoke_map_over(struct yoke_portal *const *workers, size_t workers_n, const char *endpoint,
                  const struct yoke_value *inputs, size_t n, const struct yoke_map_opts *opts,
                  yoke_map_fn on_result, void *arg)
{
    static const struct yoke_map_opts defaults;
    struct map map = {.endpoint = endpoint,
                      .inputs = inputs,
                      .n = n,
                      .opts = opts != NULL ? *opts : defaults,
                      .on_result = on_result,
                      .arg = arg};
    struct runner *runners = NULL;
    int rc = yoke_checkpoint();

    if (rc < 0 || n == 0)
        return rc;
    if (workers_n == 0)
        return yoke_raise("yoke.Misuse", EINVAL, "a map over no workers");
    if (map_init(&map)) {
        map.runners_n = workers_n * map.opts.per_worker;
        runners = yk_calloc(map.runners_n, sizeof *runners);
    }
    if (runners == NULL) {
        rc = yoke_raise("yoke.Pool", ENOMEM, "no memory for a map of %zu inputs", n);
    } else {
        for (size_t i = 0; i < map.runners_n; i++)
            runners[i] = (struct runner){.map = &map, .worker = workers[i % workers_n]};
        rc = run_all(&map, runners);
    }
    free(runners);
    map_free(&map);
    yoke_mutex_fini(&map.telling);
    return rc;
}

int yoke_pool_map(struct yoke_pool *pool, const char *endpoint, const struct yoke_value *inputs,
                  size_t n, const struct yoke_map_opts *opts, yoke_map_fn on_result, void *arg)
{
    return yoke_map_over(pool->workers, pool->n, endpoint, inputs, n, opts, on_result, arg);
}

int yoke_call_in_new_actor_at(const struct yoke_site *site, const char *name, const char *endpoint,
                              struct yoke_value args, const struct yoke_actor_opts *opts,
                              struct yoke_value **ret_result)
{
    struct yoke_actor_opts just_this = {.expose = endpoint};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    struct yoke_value *result = NULL;
    int rc = yoke_actor_nursery_open_at(site, &nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start_at(site, &nursery, name, opts != NULL ? opts : &just_this, &portal);
    if (rc == 0)
        rc = yoke_call_at(site, portal, endpoint, args, &result);
    rc = yoke_actor_nursery_close_at(site, &nursery, rc);
    if (rc == 0 && ret_result != NULL)
        *ret_result = result;
    else
        yoke_value_free(result);
    return rc;
}
