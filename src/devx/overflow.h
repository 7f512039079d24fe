/* SPDX-License-Identifier: MIT */
/* Telling a stack overflow of a task from other faults, and saying so before the program ends. */
#ifndef YK_DEVX_OVERFLOW_H
#define YK_DEVX_OVERFLOW_H

#include <stddef.h>

/* Installs handlers of SIGSEGV and SIGBUS for the process. */
void yk_overflow_init(void);
void yk_overflow_fini(void);

/* A signal stack for the calling thread, unless it has one. 0 or -errno; NULL: it had one. */
int yk_signal_stack_init(void **ret_stack);
void yk_signal_stack_fini(void *stack);

/* Called by the handler with what was interrupted; returns when it was told, or can't be. */
extern void (*yk_overflow_backtrace)(void *const *frames, size_t n);

#endif
