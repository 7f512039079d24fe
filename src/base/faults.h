/* SPDX-License-Identifier: MIT */
/*
 * Failures that a test orders: of the n-th allocation, or the n-th system call that can fail, from
 * now on. An order holds on the thread that made it, and in the jobs that its runtime gives to
 * worker threads meanwhile. Off, a call costs one look at a thread-local.
 *
 * What is not counted: reads and writes of conns and links, whose failures a peer can bring about,
 * and calls that can't fail but by a mistake of ours.
 */
#ifndef YK_BASE_FAULTS_H
#define YK_BASE_FAULTS_H

#include <stdbool.h>

enum yk_fault_kind { YK_FAULT_ALLOCATION, YK_FAULT_SYSTEM, YK_FAULT_KINDS };

struct yk_faults; /* what a thread has ordered */

/* Whether the allocation that the caller is about to make is to fail. */
bool yk_fault_allocation(void);

/*
 * Whether the system call that the caller is about to make is to fail; then errno is set, to
 * `error` unless the order names another. `error` is one that the call may fail with.
 */
bool yk_fault(int error);

/* A system call that returns -1 and errno. */
#define YK_FALLIBLE(error, call) (yk_fault(error) ? -1 : (call))

/*
 * Orders a failure of one kind, instead of what was ordered before: of the n-th call (1: the next),
 * and if `all` of those after it too; 0: none. `error` 0: as each call says. Returns how many calls
 * were still to go, 0 if the failure was delivered.
 */
unsigned yk_faults_order(enum yk_fault_kind kind, unsigned n, bool all, int error);

/* For a job on another thread: the orders of the calling one, a reference; NULL: none. */
struct yk_faults *yk_faults_share(void);
void yk_faults_unref(struct yk_faults *faults);

/* From now on these are the orders of the calling thread; takes the reference over. */
void yk_faults_adopt(struct yk_faults *faults);

#endif
