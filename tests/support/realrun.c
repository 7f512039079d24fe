/* SPDX-License-Identifier: MIT */
/* Runs on the real world. Runs on the stack of the test, except for the task function itself. */
#include "../tests/support/realrun.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

unsigned yk_real_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    unsigned n = 0;

    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n;
}

bool yk_real_has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void yk_real_limit_descriptors(int room)
{
    static struct rlimit before;
    static bool limited;
    struct rlimit limit;
    int lowest;

    if (limited)
        yk_check_int(setrlimit(RLIMIT_NOFILE, &before), 0);
    limited = room >= 0;
    if (!limited)
        return;
    yk_check_int(getrlimit(RLIMIT_NOFILE, &before), 0);
    lowest = dup(0); /* the limit is one of numbers, which are given out from below */
    close(lowest);
    limit = before;
    limit.rlim_cur = (rlim_t)(lowest + room);
    yk_check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

void yk_left_behind_note(struct yk_left_behind *before)
{
    before->failed = yk_checks_failed();
    before->descriptors = yk_real_descriptors();
    yoke_error_stats(&before->stats);
}

void yk_left_behind_check(const struct yk_left_behind *before)
{
    struct yoke_error_stats after;

    yoke_error_stats(&after);
    yk_check_int(after.lost - before->stats.lost, 0);
    yk_check_int(after.live - before->stats.live, 0);
    yk_check_int(yk_real_descriptors(), before->descriptors);
    yk_check(!yk_real_has_children());
    if (yk_checks_failed() != before->failed)
        fail_msg("checks failed");
}

void yk_real_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name, void *arg)
{
    struct yk_left_behind before;
    int rc;

    yk_left_behind_note(&before);
    rc = yoke_run_at(site, fn, fn_name, arg, NULL);
    yk_check_int(rc, 0);
    if (yoke_in_flight() != NULL) {
        yk_check_failed(__FILE__, __LINE__, "the run failed with an error");
        yoke_error_print(yoke_in_flight(), stderr, 0);
    }
    yoke_clear();
    yk_left_behind_check(&before);
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
