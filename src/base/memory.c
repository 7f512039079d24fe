/* SPDX-License-Identifier: MIT */
/*
 * Allocation with a failure that tests can order. Runs on any stack.
 *
 * Decided against: interposing malloc at link time, which sanitizers and valgrind do themselves.
 */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/faults.h"

void *yk_calloc(size_t n, size_t size)
{
    return yk_fault_allocation() ? NULL : calloc(n, size);
}

void *yk_malloc(size_t size)
{
    return size > PTRDIFF_MAX || yk_fault_allocation() ? NULL : malloc(size);
}

void *yk_realloc(void *old, size_t size)
{
    return yk_fault_allocation() ? NULL : realloc(old, size);
}

char *yk_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = yk_malloc(size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}

unsigned yk_memory_fail_at(unsigned n, bool all)
{
    return yk_faults_order(YK_FAULT_ALLOCATION, n, all, 0);
}
