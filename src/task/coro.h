/* SPDX-License-Identifier: MIT */
/*
 * Coroutines: one stack each, switched by hand. Knows nothing of tasks. Sanitizers and valgrind
 * are told of every stack and switch.
 *
 * The switch saves stack pointer, frame pointer and the place to go on at, nothing else: the
 * compiler is told that all other registers are lost, and keeps what it still needs where it wants.
 * It writes nothing on the stack, so that a red zone stays as it is, and leaves by a jump, never by
 * `ret`: a return predictor that was trained on the other stack mispredicts each time. The
 * floating-point control registers are not saved: a task that changes the rounding mode changes it
 * for its runtime.
 */
#ifndef YK_TASK_CORO_H
#define YK_TASK_CORO_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define YK_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define YK_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define YK_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define YK_TSAN 1
#endif
#if defined(YK_ASAN) || defined(YK_TSAN)
#define YK_CORO_TOLD 1 /* somebody is to be told of switches */
#endif

#ifdef YK_TSAN
#include <sanitizer/tsan_interface.h>
#endif

struct yk_coro {
    void *sp; /* these three while it does not run; the switch knows their places */
    void *fp;
    void *pc;
#ifdef YK_CORO_TOLD
    char *stack_low; /* usable bytes of its stack; NULL, NULL: a thread's own stack */
    char *stack_high;
    void *asan_fake_stack;
    void *tsan_fiber;
#endif
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

#ifdef YK_ASAN
void yk_coro_leaving(struct yk_coro *from, struct yk_coro *to, bool last);
void yk_coro_arrived(struct yk_coro *coro);
#else
static inline void yk_coro_leaving(struct yk_coro *from, struct yk_coro *to, bool last)
{
    (void)from;
    (void)to;
    (void)last;
}
static inline void yk_coro_arrived(struct yk_coro *coro)
{
    (void)coro;
}
#endif

/* The first thing that a coroutine calls when it is entered. */
static inline void yk_coro_entered(struct yk_coro *coro)
{
    yk_coro_arrived(coro);
}

#if defined(__x86_64__)
#ifdef __AVX512F__
#define YK_MORE_VECTORS                                                                            \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",  \
        "k7"
#else
#define YK_MORE_VECTORS
#endif
static inline void yk_coro_jump(struct yk_coro *from, struct yk_coro *to)
{
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rsp, 0(%%rdi)\n\t"
                     "movq %%rbp, 8(%%rdi)\n\t"
                     "movq %%rax, 16(%%rdi)\n\t"
                     "movq 0(%%rsi), %%rsp\n\t"
                     "movq 8(%%rsi), %%rbp\n\t"
                     "jmpq *16(%%rsi)\n\t"
                     "1:\n\t"
                     "endbr64"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
                       "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc",
                       "memory" YK_MORE_VECTORS);
}
#elif defined(__aarch64__)
static inline void yk_coro_jump(struct yk_coro *from, struct yk_coro *to)
{
    register struct yk_coro *x0 __asm__("x0") = from;
    register struct yk_coro *x1 __asm__("x1") = to;

    /* hint #36 is bti j: where it is enforced, an indirect jump may land there. */
    __asm__ volatile("adr x9, 1f\n\t"
                     "mov x10, sp\n\t"
                     "stp x10, x29, [x0]\n\t"
                     "str x9, [x0, #16]\n\t"
                     "ldp x10, x29, [x1]\n\t"
                     "ldr x16, [x1, #16]\n\t"
                     "mov sp, x10\n\t"
                     "br x16\n"
                     "1:\n\t"
                     "hint #36"
                     : "+r"(x0), "+r"(x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                       "x14", "x15", "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24",
                       "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6",
                       "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17",
                       "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28",
                       "v29", "v30", "v31", "cc", "memory");
}
#else
#error "yoke has no coroutine switch for this processor: see src/task/coro.h"
#endif

/*
 * Runs `to`, until somebody switches to `from` again. With `last`, nobody ever will. A coroutine
 * that is entered for the first time calls yk_coro_entered() before anything else.
 */
__attribute__((always_inline)) static inline void yk_coro_switch(struct yk_coro *from,
                                                                 struct yk_coro *to, bool last)
{
    yk_coro_leaving(from, to, last);
#ifdef YK_TSAN
    /* Inlined, since it takes the caller's own frame for one of the other coroutine from here on.
     */
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    yk_coro_jump(from, to);
    yk_coro_arrived(from);
}

#endif
