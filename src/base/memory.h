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

/* For tests: the n-th allocation of this thread from now fails (1: the next), and if `all`, those
 * after it too. 0: none. Returns how many calls were still to go, 0 if a failure was delivered. */
unsigned yk_memory_fail_at(unsigned n, bool all);

#endif
