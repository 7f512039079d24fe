/* SPDX-License-Identifier: MIT */
/*
 * The first entry of a coroutine, and what sanitizers are told. The switch itself is in coro.h, to
 * be compiled into the scheduler.
 *
 * At the base of each stack the frame pointer is zero and the return address undefined, so that
 * backtraces (ours, gdb's, perf's) end there instead of running wild. The entry function is jumped
 * to with a return address that was never called from: a task does not return, and a call would
 * leave an entry in the return predictor, by which each `ret` of the next task is mispredicted.
 */
#include "task/coro.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"

#ifdef YK_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

void yk_switch_entry(void);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl yk_switch_entry\n"
        ".hidden yk_switch_entry\n"
        ".type yk_switch_entry, @function\n"
        "yk_switch_entry:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined rip\n"
        "    popq %rax\n"
        "    popq %rdi\n"
        "    xorl %ebp, %ebp\n"
        "    leaq 1f(%rip), %rcx\n"
        "    pushq %rcx\n"
        "    jmpq *%rax\n"
        "1:\n"
        "    ud2\n"
        "    .cfi_endproc\n"
        ".size yk_switch_entry, .-yk_switch_entry\n");
#else
__asm__(".text\n"
        ".globl yk_switch_entry\n"
        ".hidden yk_switch_entry\n"
        ".type yk_switch_entry, %function\n"
        "yk_switch_entry:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined x30\n"
        "    hint #36\n" /* bti j: where it is enforced, an indirect jump may land here */
        "    ldp x9, x0, [sp], #16\n"
        "    mov x29, xzr\n"
        "    adr x30, 1f\n"
        "    mov x16, x9\n" /* by x16, since that may land on bti c */
        "    br x16\n"
        "1:\n"
        "    brk #1\n"
        "    .cfi_endproc\n"
        ".size yk_switch_entry, .-yk_switch_entry\n");
#endif

/* What yk_switch_entry pops; its call then finds the stack aligned to 16 bytes. */
struct first_frame {
    void (*entry)(void *arg);
    void *arg;
};

static void prepare(struct yk_coro *coro, char *top, void (*entry)(void *arg), void *arg)
{
    uintptr_t base = ((uintptr_t)top & ~(uintptr_t)15) - 16;
    struct first_frame *first = (void *)(base - sizeof *first);

    memset((void *)base, 0, 16); /* where an unwinder that knows no better looks for a caller */
    first->entry = entry;
    first->arg = arg;
    coro->sp = first;
    coro->fp = NULL;
    coro->pc = (void *)(uintptr_t)yk_switch_entry;
}

void yk_coro_init_thread(struct yk_coro *coro)
{
    memset(coro, 0, sizeof *coro);
#ifdef YK_TSAN
    coro->tsan_fiber = __tsan_get_current_fiber();
#endif
}

void yk_coro_fini_thread(struct yk_coro *coro)
{
    (void)coro;
}

void yk_coro_init(struct yk_coro *coro, char *stack_low, char *top, void (*entry)(void *arg),
                  void *arg)
{
    (void)stack_low;
#ifdef YK_CORO_TOLD
    coro->stack_low = stack_low;
    coro->stack_high = top;
    coro->asan_fake_stack = NULL;
    coro->tsan_fiber = NULL;
#endif
#ifdef YK_TSAN
    coro->tsan_fiber = __tsan_create_fiber(0);
#endif
    prepare(coro, top, entry, arg);
}

void yk_coro_fini(struct yk_coro *coro)
{
#ifdef YK_TSAN
    __tsan_destroy_fiber(coro->tsan_fiber);
#endif
    coro->sp = NULL;
}

#ifdef YK_ASAN
/* The thread's own stack is learnt from the sanitizer when the first coroutine is entered. */
static _Thread_local const void *previous_low;
static _Thread_local size_t previous_size;
static _Thread_local struct yk_coro *previous;

void yk_coro_leaving(struct yk_coro *from, struct yk_coro *to, bool last)
{
    previous = from;
    __sanitizer_start_switch_fiber(last ? NULL : &from->asan_fake_stack, to->stack_low,
                                   (size_t)(to->stack_high - to->stack_low));
}

void yk_coro_arrived(struct yk_coro *coro)
{
    __sanitizer_finish_switch_fiber(coro->asan_fake_stack, &previous_low, &previous_size);
    if (previous != NULL && previous->stack_high == NULL) {
        previous->stack_low = (char *)previous_low;
        previous->stack_high = (char *)previous_low + previous_size;
    }
}
#endif
