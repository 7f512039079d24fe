/* SPDX-License-Identifier: MIT */
/* Sweeps of single failures. With YOKE_TEST_SHOW in the environment, prints what each run gave. */
#include "../tests/support/sweep.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <yoke/testing.h>

enum kind { ALLOCATION, SYSTEM_CALL, HOST_CALL, KINDS };

static const char *const kind_names[KINDS] = {"allocation", "system call", "host call"};

/* One run. */
struct run {
    const char *name;
    yoke_task_fn operation;
    void *arg;
    enum kind kind;
    unsigned n;
    struct yoke_host *faulty;
    bool begins_itself;
    bool delivered;
    int rc;
};

static const struct run *to_begin; /* the run that yk_sweep_begin is for, once; or NULL */

static unsigned order(const struct run *run, unsigned n)
{
    switch (run->kind) {
    case ALLOCATION:
        return yoke_fail_allocation(n, false);
    case SYSTEM_CALL:
        return yoke_fail_system_call(n, 0);
    default:
        return yoke_host_faulty_fail(run->faulty, n, EMFILE);
    }
}

void yk_sweep_begin(void)
{
    if (to_begin != NULL)
        (void)order(to_begin, to_begin->n);
    to_begin = NULL;
}

/* An error that nobody could do anything with is a defect, too. */
static void check_error(const struct run *run)
{
    struct yoke_error *error = yoke_catch();

    if (error == NULL) {
        yk_check_failed(__FILE__, __LINE__, "%s, %s %u: %d without an error", run->name,
                        kind_names[run->kind], run->n, run->rc);
        return;
    }
    if (getenv("YOKE_TEST_SHOW") != NULL)
        print_message("%s, %s %u: %s: %s\n", run->name, kind_names[run->kind], run->n,
                      yoke_error_type(error), yoke_error_message(error));
    yk_check_int(yoke_error_code(error), run->rc);
    yk_check(!yoke_error_is_cancelled(error));
    yk_check(yoke_error_type(error)[0] != '\0');
    yk_check(strlen(yoke_error_message(error)) > 8);
    yoke_error_unref(error);
}

static int run_once(void *arg)
{
    struct run *run = arg;

    to_begin = run;
    if (!run->begins_itself)
        yk_sweep_begin();
    run->rc = run->operation(run->arg);
    run->delivered = order(run, 0) == 0;
    if (run->rc < 0)
        check_error(run);
    else if (getenv("YOKE_TEST_SHOW") != NULL && run->delivered)
        print_message("%s, %s %u: went well\n", run->name, kind_names[run->kind], run->n);
    yk_check(run->delivered || run->rc == 0);
    return run->operation(run->arg);
}

/* Whether there was a call to fail. */
static bool run_in_new_runtime(const struct yoke_site *site, struct run *run)
{
    struct yoke_run_opts opts = {0};
    struct yoke_host *inner = yoke_host_linux_new();
    struct yk_left_behind before;
    int rc;

    yk_left_behind_note(&before);
    run->faulty = opts.host = yoke_host_faulty_new(inner);
    rc = yoke_run_at(site, run_once, run->name, run, &opts);
    if (rc != 0) {
        yk_check_failed(__FILE__, __LINE__, "%s: not even without a failure, after %s %u",
                        run->name, kind_names[run->kind], run->n);
        yoke_error_print(yoke_in_flight(), stderr, 0);
        yoke_clear();
    }
    yoke_host_free(run->faulty);
    yk_left_behind_check(&before);
    yoke_host_free(inner);
    return run->delivered;
}

void yk_sweep_at(const struct yoke_site *site, yoke_task_fn operation, const char *name, void *arg,
                 bool begins_itself, struct yk_sweep *ret)
{
    struct yk_sweep result = {0};
    struct yk_sweep_count *counts[KINDS] = {
        &result.allocations,
        &result.system_calls,
        &result.host_calls,
    };

    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct run run = {.name = name,
                          .operation = operation,
                          .arg = arg,
                          .begins_itself = begins_itself,
                          .kind = kind,
                          .n = 1};

        for (; run_in_new_runtime(site, &run); run.n++) {
            counts[kind]->failures++;
            counts[kind]->unharmed += run.rc == 0;
        }
    }
    if (ret != NULL)
        *ret = result;
}
