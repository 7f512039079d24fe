/* SPDX-License-Identifier: MIT */
/*
 * Fault injection for programs: one failure a run, every one there is. The world of each run is
 * new, so that the n-th call is the same one each time as far as the world is deterministic; hosts
 * are made before the failure is ordered, since making them is not what is tested.
 */
#include <errno.h>
#include <yoke/error.h>
#include <yoke/runtime.h>
#include <yoke/testing.h>

#include "base/faults.h"

enum { RUNS_MAX = 1000000, HOST_ERROR = EMFILE };

/* What fails. */
enum kind { ALLOCATION, HOST_CALL, SYSTEM_CALL, KINDS };

static const char *const kind_names[KINDS] = {"allocation", "host call", "system call"};

struct faults {
    int (*run)(struct yoke_host *host, void *arg);
    void *arg;
    const struct yoke_fault_opts *opts;
};

unsigned yoke_fail_allocation(unsigned n, bool all)
{
    return yk_faults_order(YK_FAULT_ALLOCATION, n, all, 0);
}

unsigned yoke_fail_system_call(unsigned n, int error)
{
    return yk_faults_order(YK_FAULT_SYSTEM, n, false, error);
}

static struct yoke_host *world_of(const struct faults *faults)
{
    return faults->opts->new_host != NULL ? faults->opts->new_host(faults->arg)
                                          : yoke_host_sim_new(1);
}

/* Whether a run kept the rules. What it left in flight ends here. */
static int judge(int rc, const struct yoke_error_stats *before, const char *what, unsigned n)
{
    const char *broken = rc < 0 && yoke_in_flight() == NULL ? "it failed without an error" : NULL;
    struct yoke_error_stats after;

    yoke_clear();
    yoke_error_stats(&after);
    if (after.lost != before->lost)
        broken = "an error was lost";
    else if (after.live != before->live)
        broken = "an error object was left behind";
    return broken == NULL ? 0
                          : yoke_raise("yoke.Faults", ENOTRECOVERABLE,
                                       "%s number %u failed, and %s (result %s)", what, n, broken,
                                       rc < 0 ? yoke_strcode(rc) : ">= 0");
}

static unsigned order(enum kind kind, struct yoke_host *faulty, unsigned n)
{
    switch (kind) {
    case ALLOCATION:
        return yoke_fail_allocation(n, false);
    case HOST_CALL:
        return yoke_host_faulty_fail(faulty, n, HOST_ERROR);
    default:
        return yoke_fail_system_call(n, 0);
    }
}

/* One run on a faulty host. 1: the failure came; 0: there are fewer calls; negative: as judged. */
static int run_one(const struct faults *faults, unsigned n, enum kind kind)
{
    struct yoke_error_stats before;
    struct yoke_host *inner = world_of(faults);
    struct yoke_host *host = inner == NULL ? NULL : yoke_host_faulty_new(inner);
    unsigned left;
    int rc;

    if (host == NULL) {
        yoke_host_free(inner);
        return yoke_error_code(yoke_in_flight());
    }
    yoke_error_stats(&before);
    (void)order(kind, host, n);
    rc = faults->run(host, faults->arg);
    left = order(kind, host, 0);
    yoke_host_free(host);
    yoke_host_free(inner);
    rc = judge(rc, &before, kind_names[kind], n);
    return rc < 0 ? rc : left == 0;
}

/* How many failures there were, or negative. */
static int run_each(const struct faults *faults, enum kind kind)
{
    for (int n = 1; n < RUNS_MAX; n++) {
        int rc = run_one(faults, (unsigned)n, kind);

        if (rc <= 0)
            return rc < 0 ? rc : n - 1;
    }
    return yoke_raise("yoke.Faults", ELOOP, "there is no end of %ss that can fail",
                      kind_names[kind]);
}

int yoke_run_with_each_fault(int (*run)(struct yoke_host *host, void *arg), void *arg,
                             const struct yoke_fault_opts *opts)
{
    static const struct yoke_fault_opts defaults;
    struct faults faults = {.run = run, .arg = arg, .opts = opts != NULL ? opts : &defaults};
    bool left_out[KINDS] = {
        faults.opts->no_allocations,
        faults.opts->no_host_calls,
        faults.opts->no_system_calls,
    };
    int failures = 0;

    for (enum kind kind = 0; kind < KINDS; kind++) {
        int n = left_out[kind] ? 0 : run_each(&faults, kind);

        if (n < 0)
            return n;
        failures += n;
    }
    return failures;
}
