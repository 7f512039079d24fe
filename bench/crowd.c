/* SPDX-License-Identifier: MIT */
/*
 * Many tasks at once, all of them asleep: what one costs to make and to keep, what it costs to wake
 * and to cancel them. Memory is what the process has resident, with its page tables, since a guard
 * page and a stack that is hardly touched cost there.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <yoke/error.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>
#include <yoke/testing.h>

#include "../bench/bench.h"

enum { MANY = 20000, MORE = 100000, MILLION = 1000000 };
enum { SLEEPERS = 10000, ROUNDS = 20, NAP_MS = 10, STACK = 64 << 10 };

/* One repetition: `n` sleeping tasks, and what was seen of them. */
struct crowd {
    long n;
    double spawn_ns; /* each */
    double bytes;    /* each */
    double mappings; /* all */
    double cancel_ms;
};

struct footprint {
    double bytes;
    double mappings;
};

/* A line "KEY: N kB" of a file in /proc. Bytes; negative: not found. */
static double kib_of(const char *path, const char *key)
{
    char line[256], format[64];
    long kib = -1;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return -1;
    snprintf(format, sizeof format, "%s: %%ld kB", key);
    while (kib < 0 && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, format, &kib) != 1)
            kib = -1;
    fclose(file);
    return (double)kib * 1024;
}

/* smaps_rollup is exact: status may lag behind by what each processor has not yet added up. */
static int look(struct footprint *ret)
{
    double resident = kib_of("/proc/self/smaps_rollup", "Rss");
    double tables = kib_of("/proc/self/status", "VmPTE");
    FILE *file = fopen("/proc/self/maps", "re");

    if (file == NULL || resident < 0 || tables < 0) {
        if (file != NULL)
            fclose(file);
        return -ENODATA;
    }
    ret->bytes = resident + tables;
    ret->mappings = 0;
    for (int c; (c = getc(file)) != EOF;)
        ret->mappings += c == '\n';
    fclose(file);
    return 0;
}

static int look_or_raise(struct footprint *ret)
{
    if (look(ret) == 0)
        return 0;
    return yoke_raise("bench.Footprint", ENODATA, "/proc/self does not tell what is resident");
}

static int sleep_long(void *arg)
{
    (void)arg;
    return yoke_sleep(YOKE_S(3600));
}

static int spawn_sleepers(struct yoke_nursery *nursery, long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++)
        rc = yoke_spawn(nursery, sleep_long, NULL);
    return rc < 0 ? rc : yoke_wait_all_tasks_blocked();
}

/* Spawns them, looks if that is wanted, and cancels them. */
static int gather(struct crowd *crowd, bool looks)
{
    struct footprint before = {0}, after = {0};
    struct yoke_nursery nursery;
    int64_t began, spawned;
    int rc = yoke_nursery_open(&nursery, NULL);

    malloc_trim(0); /* or tasks would find room in what malloc has kept resident */
    if (rc == 0 && looks)
        rc = look_or_raise(&before);
    began = bench_cpu();
    if (rc == 0)
        rc = spawn_sleepers(&nursery, crowd->n);
    spawned = bench_cpu();
    if (rc == 0 && looks)
        rc = look_or_raise(&after);
    crowd->spawn_ns = (double)(spawned - began) / (double)crowd->n;
    crowd->bytes = (after.bytes - before.bytes) / (double)crowd->n;
    crowd->mappings = after.mappings - before.mappings;
    began = bench_cpu();
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "measured");
    rc = yoke_nursery_close(&nursery, rc);
    crowd->cancel_ms = (double)(bench_cpu() - began) / 1e6;
    return rc;
}

/* A runtime's first sleepers, on stacks that were never touched. */
static int fresh_main(void *arg)
{
    return gather(arg, true);
}

static int fresh(long n, struct crowd *ret)
{
    *ret = (struct crowd){.n = n};
    return yoke_run(fresh_main, ret, NULL);
}

static int idle_20k(double *ret)
{
    struct crowd crowd;
    int rc = fresh(MANY, &crowd);

    *ret = crowd.bytes;
    return rc;
}

static int idle_1m(double *ret)
{
    struct crowd crowd;
    int rc = fresh(MILLION, &crowd);

    *ret = crowd.bytes;
    return rc;
}

static int mappings_1m(double *ret)
{
    struct crowd crowd;
    int rc = fresh(MILLION, &crowd);

    *ret = crowd.mappings;
    return rc;
}

static int spawn_1m(double *ret)
{
    struct crowd crowd;
    int rc = fresh(MILLION, &crowd);

    *ret = crowd.spawn_ns;
    return rc;
}

/* Pages as far apart as stacks are, the only one of each that is touched. 0 or -errno. */
static int touch(struct crowd *crowd)
{
    size_t size = (size_t)crowd->n * STACK;
    struct footprint before, after;
    int64_t began = bench_cpu();
    int rc;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

    if (memory == MAP_FAILED)
        return -ENOMEM;
    rc = look(&before);
    (void)madvise(memory, size, MADV_NOHUGEPAGE);
    began = bench_cpu();
    for (long i = 0; rc == 0 && i < crowd->n; i++)
        memory[(size_t)(i + 1) * STACK - 1] = 1;
    crowd->spawn_ns = (double)(bench_cpu() - began) / (double)crowd->n;
    if (rc == 0)
        rc = look(&after);
    if (rc == 0)
        crowd->bytes = (after.bytes - before.bytes) / (double)crowd->n;
    munmap(memory, size);
    return rc;
}

static int touch_20k_bytes(double *ret)
{
    struct crowd crowd = {.n = MANY};
    int rc = touch(&crowd);

    *ret = crowd.bytes;
    return rc;
}

static int touch_1m_bytes(double *ret)
{
    struct crowd crowd = {.n = MILLION};
    int rc = touch(&crowd);

    *ret = crowd.bytes;
    return rc;
}

static int touch_1m_ns(double *ret)
{
    struct crowd crowd = {.n = MILLION};
    int rc = touch(&crowd);

    *ret = crowd.spawn_ns;
    return rc;
}

static int one_mapping(double *ret)
{
    *ret = 1;
    return 0;
}

static int cancel_main(void *arg)
{
    int rc = gather(arg, false); /* the first time warms up */

    return rc < 0 ? rc : gather(arg, false);
}

static int cancel(long n, double *ret)
{
    struct crowd crowd = {.n = n};
    int rc = yoke_run(cancel_main, &crowd, NULL);

    *ret = crowd.cancel_ms;
    return rc;
}

static int cancel_20k(double *ret)
{
    return cancel(MANY, ret);
}

static int cancel_100k(double *ret)
{
    return cancel(MORE, ret);
}

static int naps(void *arg)
{
    int rc = 0;

    (void)arg;
    for (int i = 0; rc == 0 && i < ROUNDS; i++)
        rc = yoke_sleep(YOKE_MS(NAP_MS));
    return rc;
}

static int sleep_all(void)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    for (long i = 0; rc == 0 && i < SLEEPERS; i++)
        rc = yoke_spawn(&nursery, naps, NULL);
    return yoke_nursery_close(&nursery, rc);
}

/* The processor is idle while all sleep, so that what is spent is the cost beyond the sleep. */
static int sleep_main(void *arg)
{
    double *ret_ns = arg;
    int64_t began;
    int rc = sleep_all(); /* warms up */

    began = bench_cpu();
    if (rc == 0)
        rc = sleep_all();
    *ret_ns = (double)(bench_cpu() - began) / ((double)SLEEPERS * ROUNDS);
    return rc;
}

static int sleep_10k(double *ret)
{
    return yoke_run(sleep_main, ret, NULL);
}

const struct bench_case bench_crowd_cases[] = {
    {"idle_20k", "bytes", idle_20k, touch_20k_bytes,
     "20,000 pages touched, 64 KiB apart, with their page tables", false},
    {"cancel_20k", "ms", cancel_20k, bench_raw_resume_20k,
     "20,000 parked coroutines run to their end", false},
    {"cancel_100k", "ms", cancel_100k, bench_raw_resume_100k,
     "100,000 parked coroutines run to their end", false},
    {"sleep_10k", "ns", sleep_10k, bench_raw_rounds_10k,
     "one of 10,000 parked coroutines resumed, and parked again", false},
    {0},
};

const struct bench_case bench_million_cases[] = {
    {"spawn_1m", "ns", spawn_1m, touch_1m_ns, "a page touched, one of a million, 64 KiB apart",
     false},
    {0},
};

const struct bench_case bench_footprint_cases[] = {
    {"idle_1m", "bytes", idle_1m, touch_1m_bytes,
     "a million pages touched, 64 KiB apart, with their page tables", false},
    {"mappings_1m", "mappings", mappings_1m, one_mapping, "one mapping for all", false},
    {0},
};
