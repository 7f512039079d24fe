/* SPDX-License-Identifier: MIT */
/*
 * For tests of exhaustion: runs an operation on the Linux host again and again, each time with
 * another single failure (of the n-th allocation, system call, host call), until there are no more
 * to fail. Each run is a new runtime, in which the operation is then run once more, without a
 * failure: the runtime is alive, and has kept nothing of what failed.
 */
#ifndef YK_TESTS_SUPPORT_SWEEP_H
#define YK_TESTS_SUPPORT_SWEEP_H

#include "../tests/support/realrun.h"

/* How many failures of a kind there were, and how many of these the operation went well with. */
struct yk_sweep_count {
    unsigned failures;
    unsigned unharmed;
};

struct yk_sweep {
    struct yk_sweep_count allocations;
    struct yk_sweep_count system_calls;
    struct yk_sweep_count host_calls;
};

/*
 * The operation gives 0, or negative with an error in flight that has a type and says what it is
 * about. Fails the cmocka test if one does not, or if a run leaves an error, a descriptor or a
 * child behind. `ret` may be NULL.
 */
#define yk_sweep(operation, arg, ret)                                                              \
    yk_sweep_at(YOKE_HERE, (operation), #operation, (arg), false, (ret))

/* The same, but what the operation does before it calls yk_sweep_begin does not fail. */
#define yk_sweep_from(operation, arg, ret)                                                         \
    yk_sweep_at(YOKE_HERE, (operation), #operation, (arg), true, (ret))
void yk_sweep_begin(void);

void yk_sweep_at(const struct yoke_site *site, yoke_task_fn operation, const char *name, void *arg,
                 bool begins_itself, struct yk_sweep *ret);

#endif
