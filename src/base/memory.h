/* SPDX-License-Identifier: MIT */
/*
 * Allocation that a test can make fail: the n-th call from now on this thread returns NULL, once or
 * for good. Off, it costs one look at a thread-local.
 */
#ifndef YK_BASE_MEMORY_H
#define YK_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* As calloc, malloc, realloc and strdup; what they return is given back by free. */
void *yk_calloc(size_t n, size_t size);
void *yk_malloc(size_t size);
void *yk_realloc(void *old, size_t size);
char *yk_strdup(const char *text);

/* For tests: the n-th allocation from now fails, as base/faults.h says. */
unsigned yk_memory_fail_at(unsigned n, bool all);

#endif
