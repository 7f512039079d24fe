/* SPDX-License-Identifier: MIT */
/*
 * Coroutines: one stack each, switched by hand. Knows nothing of tasks. Sanitizers and valgrind
 * are told of every stack and switch.
 */
#ifndef YK_TASK_CORO_H
#define YK_TASK_CORO_H

#include <stdbool.h>
#include <stddef.h>

struct yk_coro {
    void *sp;        /* where the saved registers are, while it does not run */
    char *stack_low; /* usable bytes of its stack; NULL, NULL: a thread's own stack */
    char *stack_high;
    void *asan_fake_stack;
    void *tsan_fiber;
};

/* The coroutine of the calling thread itself, to switch away from and back to. */
void yk_coro_init_thread(struct yk_coro *coro);
void yk_coro_fini_thread(struct yk_coro *coro);

/*
 * A coroutine that will run entry(arg) on the given stack when first switched to. `entry` must not
 * return; it ends by a switch with `last`. Bytes from `top` up are left alone.
 */
void yk_coro_init(struct yk_coro *coro, char *stack_low, char *top, void (*entry)(void *arg),
                  void *arg);
void yk_coro_fini(struct yk_coro *coro); /* after its last switch, from another coroutine */

/*
 * Runs `to`, until somebody switches to `from` again. With `last`, nobody ever will. A coroutine
 * that is entered for the first time calls yk_coro_entered() before anything else.
 */
void yk_coro_switch(struct yk_coro *from, struct yk_coro *to, bool last);
void yk_coro_entered(struct yk_coro *coro);

#endif
