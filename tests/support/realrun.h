/* SPDX-License-Identifier: MIT */
/*
 * For tests that need real descriptors, processes, signals or threads: runs a task function on the
 * Linux host and checks what every run leaves behind: no error lost or alive, no descriptor, no
 * child process. The checks of simrun.h count failures here as well.
 */
#ifndef YK_TESTS_SUPPORT_REALRUN_H
#define YK_TESTS_SUPPORT_REALRUN_H

#include "../tests/support/simrun.h"

/* What was there before a run. */
struct yk_left_behind {
    struct yoke_error_stats stats;
    unsigned descriptors;
    unsigned failed;
};
void yk_left_behind_note(struct yk_left_behind *before);

/* Fails the cmocka test if a check failed since, or something was left behind. Not in a task. */
void yk_left_behind_check(const struct yk_left_behind *before);

/* Runs fn(arg) as the main task of a runtime; it must give 0. Fails the cmocka test otherwise. */
#define yk_real_run(fn, arg) yk_real_run_at(YOKE_HERE, (fn), #fn, (arg))
void yk_real_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name, void *arg);

/* A cmocka test named for what it shows; its body is a task function: int body(void *arg). */
#define YK_REAL_TEST(law)                                                                          \
    static int law##_task(void *arg);                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        yk_real_run(law##_task, NULL);                                                             \
    }                                                                                              \
    static int law##_task(void *arg __attribute__((unused)))

/*
 * Runs body() in a scope that another task cancels as soon as all tasks are blocked. Returns what
 * body returned, and leaves nothing in flight if that was YOKE_CANCELLED.
 */
int yk_cancelled_when_blocked(int (*body)(void *arg), void *arg);

/* How many descriptors this process has open, and whether it has a child, a zombie included. */
unsigned yk_real_descriptors(void);
bool yk_real_has_children(void);

/* From now on only `room` more descriptors can be opened, until room is negative. */
void yk_real_limit_descriptors(int room);

#endif
