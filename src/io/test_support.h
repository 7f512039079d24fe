/* SPDX-License-Identifier: MIT */
/*
 * For tests with real descriptors: runs a task function on the Linux host, with ready tasks
 * shuffled under a few seeds, and checks what every run leaves behind: no error lost or alive, no
 * descriptor.
 */
#ifndef YK_IO_TEST_SUPPORT_H
#define YK_IO_TEST_SUPPORT_H

#include "../tests/support/simrun.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/nursery.h>
#include <yoke/scope.h>
#include <yoke/testing.h>

enum { REAL_SEEDS = 4 };

static unsigned open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned n = 0;

    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n - 3; /* ".", ".." and the one that reads them */
}

static void real_run(yoke_task_fn fn, const char *name, uint64_t seed)
{
    struct yoke_run_opts opts = {.shuffle = true, .seed = seed};
    struct yoke_error_stats before, after;
    unsigned failed = yk_checks_failed();
    unsigned descriptors = open_descriptors();
    int rc;

    yoke_error_stats(&before);
    rc = yoke_run_at(YOKE_HERE, fn, name, NULL, &opts);
    if (yoke_in_flight() != NULL)
        yoke_error_print(yoke_in_flight(), stderr, 0);
    yk_check_int(rc, 0);
    yoke_clear();
    yoke_error_stats(&after);
    yk_check_int(after.lost - before.lost, 0);
    yk_check_int(after.live - before.live, 0);
    yk_check_int(open_descriptors(), descriptors);
    if (yk_checks_failed() != failed)
        fail_msg("checks failed under seed %llu", (unsigned long long)seed);
}

/* A cmocka test on the real host. Its body is a task function: int body(void *arg). */
#define YK_REAL_TEST(law)                                                                          \
    static int law##_task(void *arg);                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        for (uint64_t seed = 1; seed <= REAL_SEEDS; seed++)                                        \
            real_run(law##_task, #law, seed);                                                      \
    }                                                                                              \
    static int law##_task(void *arg __attribute__((unused)))

/* A directory of the test's own, and a path in it; removed by scratch_remove with what is there. */
struct scratch {
    char directory[64];
    char path[128];
};

static inline void scratch_make(struct scratch *scratch)
{
    snprintf(scratch->directory, sizeof scratch->directory, "/tmp/yoke-test-XXXXXX");
    yk_check(mkdtemp(scratch->directory) != NULL);
    snprintf(scratch->path, sizeof scratch->path, "%s/it", scratch->directory);
}

/* How many entries the directory has. */
static inline unsigned scratch_count(const struct scratch *scratch)
{
    DIR *directory = opendir(scratch->directory);
    unsigned n = 0;
    struct dirent *entry;

    if (directory == NULL)
        return 0;
    while ((entry = readdir(directory)) != NULL)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(directory);
    return n;
}

static inline void scratch_remove(const struct scratch *scratch)
{
    (void)unlink(scratch->path);
    yk_check_int(rmdir(scratch->directory), 0);
}

#endif
