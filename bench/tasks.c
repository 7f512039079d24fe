/* SPDX-License-Identifier: MIT */
/*
 * Tasks: switching, spawning, sleeping, cancelling, raising. Each repetition has a runtime of its
 * own, so that nothing is kept from one to the next but what malloc keeps.
 */
#include <time.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <yoke/error.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>
#include <yoke/testing.h>

#include "../bench/bench.h"

enum { YIELDS = 2000000, SPAWNS = 400000, BATCH = 1000, SLEEPERS = 10000, MANY = 20000 };
enum { RAISES = 200000, NAP_MS = 10 };

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

/* In bytes, exact: statm may lag behind by what each processor has not yet added up. 0 or -errno.
 */
static int resident(double *ret)
{
    char line[256];
    long kib = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");

    if (file == NULL)
        return -errno;
    while (kib < 0 && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Rss: %ld kB", &kib) != 1)
            kib = -1;
    fclose(file);
    *ret = (double)kib * 1024;
    return kib < 0 ? -ENODATA : 0;
}

static int sleep_long(void *arg)
{
    (void)arg;
    return yoke_sleep(YOKE_S(3600));
}

/* MANY sleeping tasks; then measure(&nursery, ret) is called, which ends them by cancelling. */
static int with_sleepers(int (*measure)(struct yoke_nursery *nursery, double *ret), double *ret)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = spawn_many(&nursery, sleep_long, NULL, MANY);
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    if (rc < 0)
        return yoke_nursery_close(&nursery, rc);
    return measure(&nursery, ret);
}

static int measure_resident(struct yoke_nursery *nursery, double *ret)
{
    double before = *ret;
    int rc = resident(ret);

    *ret = (*ret - before) / MANY;
    if (rc < 0)
        rc = yoke_raise("bench.Resident", rc, "/proc/self/smaps_rollup can't be read");
    yoke_scope_cancel(yoke_nursery_scope(nursery), "measured");
    return yoke_nursery_close(nursery, rc);
}

static int idle_main(void *arg)
{
    double *ret = arg;
    int rc;

    malloc_trim(0); /* or tasks would find room in what malloc has kept resident */
    rc = resident(ret);
    if (rc < 0)
        return yoke_raise("bench.Resident", rc, "/proc/self/smaps_rollup can't be read");
    return with_sleepers(measure_resident, ret);
}

static int idle_value(double *ret)
{
    return yoke_run(idle_main, ret, NULL);
}

static int idle_floor(double *ret)
{
    *ret = (double)sysconf(_SC_PAGESIZE);
    return 0;
}

static int measure_cancel(struct yoke_nursery *nursery, double *ret)
{
    int64_t begin = bench_now();
    int rc;

    yoke_scope_cancel(yoke_nursery_scope(nursery), "measured");
    rc = yoke_nursery_close(nursery, 0);
    *ret = (double)(bench_now() - begin) / 1e6;
    return rc;
}

static int cancel_main(void *arg)
{
    int rc = with_sleepers(measure_cancel, arg); /* the first time warms up */

    return rc < 0 ? rc : with_sleepers(measure_cancel, arg);
}

static int cancel_value(double *ret)
{
    return yoke_run(cancel_main, ret, NULL);
}

static int nap(void *arg)
{
    (void)arg;
    return yoke_sleep(YOKE_MS(NAP_MS));
}

static int naps(long n)
{
    return spawn_and_join(nap, NULL, n);
}

static int sleep_value(double *ret)
{
    double ns = 0;
    int rc = bench_in_runtime(naps, SLEEPERS, &ns);

    *ret = ns * SLEEPERS / 1e6;
    return rc;
}

static int sleep_floor(double *ret)
{
    struct timespec time = {.tv_nsec = NAP_MS * 1000000};
    int64_t begin = bench_now();
    int rc = -clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);

    *ret = (double)(bench_now() - begin) / 1e6;
    return rc;
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
    {"idle_20k", "bytes", idle_value, idle_floor, "one page", false},
    {"sleep_10k", "ms", sleep_value, sleep_floor, "one clock_nanosleep of 10 ms", false},
    {"cancel_20k", "ms", cancel_value, bench_raw_resume_20k,
     "20,000 parked coroutines run to their end", false},
    {"raise", "ns", raise_value, raise_floor, "the message formatted into the heap, and freed",
     false},
    {0},
};
