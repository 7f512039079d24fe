/* SPDX-License-Identifier: MIT */
/*
 * Allocation with a failure that tests can order. Runs on any stack. The countdown is per thread,
 * so a test that fails allocations on one thread leaves the others alone.
 *
 * Decided against: interposing malloc at link time, which sanitizers and valgrind do themselves.
 */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static __thread unsigned fail_at; /* calls until the one that fails; 0: off */
static __thread bool fail_all;

static bool refused(void)
{
    if (__builtin_expect(fail_at == 0, 1))
        return false;
    if (fail_at > 1) {
        fail_at--;
        return false;
    }
    if (!fail_all)
        fail_at = 0;
    return true;
}

void *yk_calloc(size_t n, size_t size)
{
    return refused() ? NULL : calloc(n, size);
}

void *yk_malloc(size_t size)
{
    return size > PTRDIFF_MAX || refused() ? NULL : malloc(size);
}

void *yk_realloc(void *old, size_t size)
{
    return refused() ? NULL : realloc(old, size);
}

char *yk_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = yk_malloc(size);

    return copy == NULL ? NULL : memcpy(copy, text, size);
}

unsigned yk_memory_fail_at(unsigned n, bool all)
{
    unsigned left = fail_all && fail_at == 1 ? 0 : fail_at;

    fail_at = n;
    fail_all = all;
    return left;
}
