/* SPDX-License-Identifier: MIT */
/*
 * For tests with real descriptors, threads and signals: runs a task function on the Linux host and
 * checks what it leaves behind: no error lost or alive, no descriptor, no child process. Tasks use
 * the yk_check macros of simrun.h, since an assertion of cmocka must not jump off a task's stack.
 */
#ifndef YK_TESTS_SUPPORT_REALRUN_H
#define YK_TESTS_SUPPORT_REALRUN_H

#include "../tests/support/simrun.h"

/* Runs fn(arg) as the main task; it must return 0. Fails the cmocka test if a check fails in it. */
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

#endif
