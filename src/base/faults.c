/* SPDX-License-Identifier: MIT */
/*
 * The orders of failures. They are in the heap and counted, since an abandoned job of a worker
 * thread may outlast the thread that ordered; what threads share of one is the count of calls.
 */
#include "base/faults.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"

struct order {
    _Atomic long to_go; /* calls until the one that fails; 0 or less: it was delivered */
    bool all;
    int error;
};

struct yk_faults {
    _Atomic unsigned refs;
    struct order orders[YK_FAULT_KINDS];
};

static __thread struct yk_faults *ordered; /* NULL: none */

/* Counts a call; whether it is to fail. */
static bool count(struct order *order)
{
    long to_go = atomic_load(&order->to_go);

    if (to_go > 0)
        to_go = atomic_fetch_sub(&order->to_go, 1);
    else if (!order->all)
        return false;
    return to_go == 1 || (to_go < 1 && order->all);
}

bool yk_fault_allocation(void)
{
    return __builtin_expect(ordered != NULL, 0) && count(&ordered->orders[YK_FAULT_ALLOCATION]);
}

bool yk_fault(int error)
{
    struct order *order;

    if (__builtin_expect(ordered == NULL, 1))
        return false;
    order = &ordered->orders[YK_FAULT_SYSTEM];
    if (!count(order))
        return false;
    /* tidy-allow errno: it is set for the caller, in the place of a system call. */
    errno = order->error != 0 ? order->error : error;
    return true;
}

unsigned yk_faults_order(enum yk_fault_kind kind, unsigned n, bool all, int error)
{
    struct yk_faults *before = ordered;
    struct yk_faults *faults = NULL;
    struct order *other = before != NULL ? &before->orders[!kind] : NULL;
    long left = before != NULL ? atomic_load(&before->orders[kind].to_go) : 0;

    if (n > 0 || (other != NULL && (other->all || atomic_load(&other->to_go) > 0))) {
        faults = calloc(1, sizeof *faults);
        yk_assert(faults != NULL);
        faults->refs = 1;
        if (other != NULL) {
            faults->orders[!kind].all = other->all;
            faults->orders[!kind].error = other->error;
            faults->orders[!kind].to_go = atomic_load(&other->to_go);
        }
        faults->orders[kind].to_go = n;
        faults->orders[kind].all = all && n > 0;
        faults->orders[kind].error = error;
    }
    ordered = faults;
    yk_faults_unref(before);
    return left > 0 ? (unsigned)left : 0;
}

struct yk_faults *yk_faults_share(void)
{
    if (ordered != NULL)
        ordered->refs++;
    return ordered;
}

void yk_faults_unref(struct yk_faults *faults)
{
    if (faults != NULL && --faults->refs == 0)
        free(faults);
}

void yk_faults_adopt(struct yk_faults *faults)
{
    yk_faults_unref(ordered);
    ordered = faults;
}
