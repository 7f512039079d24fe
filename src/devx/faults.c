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

#include "base/memory.h"

enum { RUNS_MAX = 1000000, HOST_ERROR = EMFILE };

struct faults {
    int (*run)(struct yoke_host *host, void *arg);
    void *arg;
    const struct yoke_fault_opts *opts;
};

unsigned yoke_fail_allocation(unsigned n, bool all)
{
    return yk_memory_fail_at(n, all);
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

/* One run on a faulty host. 1: the failure came; 0: there are fewer calls; negative: as judged. */
static int run_one(const struct faults *faults, unsigned n, bool allocation)
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
    if (allocation)
        yk_memory_fail_at(n, false);
    else
        yoke_host_faulty_fail(host, n, HOST_ERROR);
    rc = faults->run(host, faults->arg);
    left = allocation ? yk_memory_fail_at(0, false) : yoke_host_faulty_fail(host, 0, HOST_ERROR);
    yoke_host_free(host);
    yoke_host_free(inner);
    rc = judge(rc, &before, allocation ? "allocation" : "host call", n);
    return rc < 0 ? rc : left == 0;
}

/* How many failures there were, or negative. */
static int run_each(const struct faults *faults, bool allocation)
{
    for (int n = 1; n < RUNS_MAX; n++) {
        int rc = run_one(faults, (unsigned)n, allocation);

        if (rc <= 0)
            return rc < 0 ? rc : n - 1;
    }
    return yoke_raise("yoke.Faults", ELOOP, "there is no end of calls that can fail");
}

int yoke_run_with_each_fault(int (*run)(struct yoke_host *host, void *arg), void *arg,
                             const struct yoke_fault_opts *opts)
{
    static const struct yoke_fault_opts defaults;
    struct faults faults = {.run = run, .arg = arg, .opts = opts != NULL ? opts : &defaults};
    int allocations = faults.opts->no_allocations ? 0 : run_each(&faults, true);
    int calls = 0;

    if (allocations >= 0 && !faults.opts->no_host_calls)
        calls = run_each(&faults, false);
    return allocations < 0 ? allocations : calls < 0 ? calls : allocations + calls;
}
