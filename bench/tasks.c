/* SPDX-License-Identifier: MIT */
/*
 * Tasks: switching, spawning, raising. Each repetition has a runtime of its own, so that nothing is
 * kept from one to the next but what malloc keeps.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yoke/error.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>

#include "../bench/bench.h"

enum { YIELDS = 2000000, SPAWNS = 400000, BATCH = 1000, RAISES = 200000 };

static int spawn_many(struct yoke_nursery *nursery, yoke_task_fn fn, void *arg, long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++)
        rc = yoke_spawn(nursery, fn, arg);
    return rc;
}

static int spawn_and_join(yoke_task_fn fn, void *arg, long n)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = spawn_many(&nursery, fn, arg, n);
    return yoke_nursery_close(&nursery, rc);
}

static int take_turns(void *arg)
{
    const long *turns = arg;
    int rc = 0;

    for (long i = 0; rc == 0 && i < *turns; i++)
        rc = yoke_checkpoint();
    return rc;
}

static int yields(long n)
{
    long turns = n / 2;

    return spawn_and_join(take_turns, &turns, 2);
}

static int yield_value(double *ret)
{
    return bench_in_runtime(yields, YIELDS, ret);
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int spawns_of_1(long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++)
        rc = spawn_and_join(do_nothing, NULL, 1);
    return rc;
}

static int spawn_1_value(double *ret)
{
    return bench_in_runtime(spawns_of_1, SPAWNS, ret);
}

static int spawns_of_1000(long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i += BATCH)
        rc = spawn_and_join(do_nothing, NULL, BATCH);
    return rc;
}

static int spawn_1000_value(double *ret)
{
    return bench_in_runtime(spawns_of_1000, SPAWNS, ret);
}

static int raises(long n)
{
    for (long i = 0; i < n; i++) {
        (void)yoke_raise("bench.Raised", EINVAL, "item %ld is not ok", i);
        yoke_clear();
    }
    return 0;
}

static int raise_value(double *ret)
{
    return bench_in_runtime(raises, RAISES, ret);
}

static int messages(long n)
{
    enum { SIZE = 256 };

    for (long i = 0; i < n; i++) {
        char *message = malloc(SIZE);

        if (message == NULL)
            return -ENOMEM;
        snprintf(message, SIZE, "item %ld is not ok", i);
        bench_keep(message);
        free(message);
    }
    return 0;
}

static int raise_floor(double *ret)
{
    return bench_plain(messages, RAISES, ret);
}

const struct bench_case bench_task_cases[] = {
    {"yield", "ns", yield_value, bench_raw_switch, "a bare coroutine switch", false},
    {"spawn_join_1", "ns", spawn_1_value, bench_raw_spawn_1,
     "a coroutine made, entered and left, on one stack", false},
    {"spawn_join_1000", "ns", spawn_1000_value, bench_raw_spawn_1000,
     "the same on 1000 stacks in turn", false},
    {"raise", "ns", raise_value, raise_floor, "the message formatted into the heap, and freed",
     false},
    {0},
};
