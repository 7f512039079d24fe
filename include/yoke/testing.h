/* SPDX-License-Identifier: MIT */
/*
 * For tests of programs that use yoke. Worlds: a simulated host (yoke_host_sim_new in
 * <yoke/runtime.h>) has virtual time, which jumps to the next deadline when every task is blocked;
 * yoke_run's `shuffle` and `seed` draw the order of ready tasks. Faults: every allocation of the
 * library, its system calls and every call of a host can be made to fail, one after another.
 */
#ifndef YOKE_TESTING_H
#define YOKE_TESTING_H

#include <yoke/common.h>

YOKE_BEGIN

struct yoke_host;

/*
 * Waits until every other task of the runtime is blocked and nothing is ready: then what was
 * started has got as far as it can. A checkpoint. 0 or YOKE_CANCELLED.
 */
YOKE_API YOKE_MUST_CHECK int yoke_wait_all_tasks_blocked(void);

/*
 * Whether the clock of a simulated host jumps to the next deadline by itself; it does at first.
 * Without, time moves only by yoke_sim_advance, and a runtime whose tasks all wait for time blocks
 * until another thread calls it. -EINVAL for another kind of host. From any thread.
 */
YOKE_API YOKE_MUST_CHECK int yoke_sim_set_autojump(struct yoke_host *host, bool autojump);

/*
 * Moves the clock of a simulated host on; what is due then runs at the loop's next turn. -EINVAL
 * for another kind of host, or back in time. From any thread, or from a task of the runtime.
 */
YOKE_API YOKE_MUST_CHECK int yoke_sim_advance(struct yoke_host *host, int64_t duration_ns);

/*
 * Lets the n-th allocation of the library on the calling thread fail, counted from now (1: the
 * next), and if `all`, those after it too; 0: none. What the thread's runtime gives to worker
 * threads from now on counts as its own. Returns how many were still to go until the failure
 * ordered before; 0 if that was delivered.
 */
YOKE_API unsigned yoke_fail_allocation(unsigned n, bool all);

/*
 * The same for system calls that the library makes and that can fail: those that open, bind,
 * connect, accept, set up and close something, start a thread or a process, look names up, and
 * read or write a file in a worker thread; not reads and writes of conns, which a peer can make
 * fail. `error` is a positive errno; 0: one that is usual for the call.
 */
YOKE_API unsigned yoke_fail_system_call(unsigned n, int error);

/*
 * A host that passes every call on to `inner`, which stays the caller's and must outlive it. Its
 * fallible calls (watching a descriptor, starting and signalling a process) can be made to fail.
 * NULL with an error raised: no memory.
 */
YOKE_API YOKE_MUST_CHECK struct yoke_host *yoke_host_faulty_new(struct yoke_host *inner);

/*
 * Lets the n-th fallible call of a faulty host from now fail with `error` (a positive errno); 0:
 * none. Returns as yoke_fail_allocation. The host must be a faulty one, else the program aborts.
 */
YOKE_API unsigned yoke_host_faulty_fail(struct yoke_host *faulty, unsigned n, int error);

/*
 * Runs a program again and again, each time with another single failure: of the n-th allocation,
 * then of the n-th host call, then of the n-th system call with its usual error, until there are no
 * more to fail. `run` makes a run on the given host and returns its result; `new_host` makes the
 * world of each (NULL: a simulated one). A run in which something failed may go well all the same,
 * but none may return a negative result without an error in flight, lose an error, or leave an
 * error object behind. Returns how many failures there were, or -ENOTRECOVERABLE with an error
 * raised that names the first that broke a rule. Call it outside a runtime.
 */
struct yoke_fault_opts {
    struct yoke_host *(*new_host)(void *arg); /* NULL: yoke_host_sim_new(1) */
    bool no_allocations;                      /* these do not fail */
    bool no_host_calls;
    bool no_system_calls;
};
YOKE_API YOKE_MUST_CHECK int yoke_run_with_each_fault(int (*run)(struct yoke_host *host, void *arg),
                                                      void *arg,
                                                      const struct yoke_fault_opts *opts);

YOKE_END
#endif
