/* SPDX-License-Identifier: MIT */
/* Runs on the Linux host for tests; what actors.c does for trees of processes. */
#include "../tests/support/realrun.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

static int open_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    int n = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n;
}

void yk_real_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name, void *arg)
{
    unsigned failed_before = yk_checks_failed();
    int descriptors = open_descriptors();
    struct yoke_error_stats before, after;
    siginfo_t info;
    int rc;

    yoke_error_stats(&before);
    rc = yoke_run_at(site, fn, fn_name, arg, NULL);
    yk_check_int(rc, 0);
    if (yoke_in_flight() != NULL) {
        yk_check_failed(__FILE__, __LINE__, "the run failed with an error");
        yoke_error_print(yoke_in_flight(), stderr, 0);
    }
    yoke_clear();
    yoke_error_stats(&after);
    yk_check_int(after.lost - before.lost, 0);
    yk_check_int(after.live - before.live, 0);
    yk_check_int(open_descriptors(), descriptors);
    yk_check(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0);
    if (yk_checks_failed() != failed_before)
        fail_msg("checks failed");
}

static int cancel_when_blocked(void *arg)
{
    int rc = yoke_wait_all_tasks_blocked();

    yoke_scope_cancel(arg, "all tasks are blocked");
    return rc;
}

int yk_cancelled_when_blocked(int (*body)(void *arg), void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int rc = yoke_nursery_open(&nursery, NULL);
    int result;

    yk_check_int(rc, 0);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, cancel_when_blocked, &scope), 0);
    result = body(arg);
    rc = yoke_scope_close(&scope, result);
    yk_check_int(rc, result == YOKE_CANCELLED ? 0 : result);
    yk_check_int(yoke_nursery_close(&nursery, rc), rc < 0 ? rc : 0);
    return result;
}
