/* SPDX-License-Identifier: MIT */
/*
 * The switch, and the first entry of a coroutine. The switch saves the six callee-saved registers
 * (aarch64: x19 to x30 and d8 to d15) and leaves by a jump, never by `ret`: a return predictor that
 * was trained on the other stack mispredicts each time. The floating-point control registers are
 * not saved: a task that changes the rounding mode changes it for its runtime.
 *
 * At the base of each stack the frame pointer is zero and the return address undefined, so that
 * backtraces (ours, gdb's, perf's) end there instead of running wild.
 */
#include "task/coro.h"

#include <stdint.h>
#include <string.h>

#include "base/check.h"

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
#ifdef YK_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef YK_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/* Saves into *from, loads *to, continues there. In assembly below. */
void yk_switch_registers(void **from_sp, void **to_sp);
void yk_switch_entry(void);

#if defined(__x86_64__)
__asm__(".text\n"
        ".globl yk_switch_registers\n"
        ".hidden yk_switch_registers\n"
        ".type yk_switch_registers, @function\n"
        ".p2align 4\n"
        "yk_switch_registers:\n"
        "    .cfi_startproc\n"
        "    pushq %rbp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    .cfi_rel_offset rbp, 0\n"
        "    pushq %rbx\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r12\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r13\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r14\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    pushq %r15\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    movq %rsp, (%rdi)\n"
        "    movq (%rsi), %rsp\n" /* the frame is laid out alike: the CFI stays true */
        "    popq %r15\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r14\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r13\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %r12\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    popq %rbp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_restore rbp\n"
        "    popq %rcx\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    .cfi_register rip, rcx\n"
        "    jmpq *%rcx\n"
        "    .cfi_endproc\n"
        ".size yk_switch_registers, .-yk_switch_registers\n"
        ".globl yk_switch_entry\n"
        ".hidden yk_switch_entry\n"
        ".type yk_switch_entry, @function\n"
        "yk_switch_entry:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined rip\n"
        "    movq %r13, %rdi\n"
        "    xorl %ebp, %ebp\n"
        "    callq *%r12\n"
        "    ud2\n"
        "    .cfi_endproc\n"
        ".size yk_switch_entry, .-yk_switch_entry\n");

/* The order in which the switch pops them. */
struct saved_registers {
    void *r15, *r14, *r13, *r12, *rbx, *rbp, *rip;
};

static void prepare(struct yk_coro *coro, char *top, void (*entry)(void *arg), void *arg)
{
    /* At yk_switch_entry the stack pointer must be 16-byte aligned, as its call needs it. */
    uintptr_t base = ((uintptr_t)top & ~(uintptr_t)15) - 16;
    struct saved_registers *saved = (void *)(base - sizeof *saved);

    memset(saved, 0, sizeof *saved + 16);
    saved->r12 = (void *)(uintptr_t)entry;
    saved->r13 = arg;
    saved->rip = (void *)(uintptr_t)yk_switch_entry;
    coro->sp = saved;
}
#elif defined(__aarch64__)
__asm__(".text\n"
        ".globl yk_switch_registers\n"
        ".hidden yk_switch_registers\n"
        ".type yk_switch_registers, %function\n"
        ".p2align 4\n"
        "yk_switch_registers:\n"
        "    .cfi_startproc\n"
        "    sub sp, sp, #160\n"
        "    .cfi_adjust_cfa_offset 160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    .cfi_rel_offset x29, 80\n"
        "    .cfi_rel_offset x30, 88\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    ldr x9, [x1]\n"
        "    mov sp, x9\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    .cfi_adjust_cfa_offset -160\n"
        "    .cfi_restore x29\n"
        "    .cfi_restore x30\n"
        "    mov x16, x30\n" /* x16: an indirect jump that BTI allows */
        "    br x16\n"
        "    .cfi_endproc\n"
        ".size yk_switch_registers, .-yk_switch_registers\n"
        ".globl yk_switch_entry\n"
        ".hidden yk_switch_entry\n"
        ".type yk_switch_entry, %function\n"
        "yk_switch_entry:\n"
        "    .cfi_startproc\n"
        "    .cfi_undefined x30\n"
        "    mov x0, x20\n"
        "    mov x29, xzr\n"
        "    mov x30, xzr\n"
        "    blr x19\n"
        "    brk #1\n"
        "    .cfi_endproc\n"
        ".size yk_switch_entry, .-yk_switch_entry\n");

struct saved_registers {
    void *x19_to_x30[12];
    double d8_to_d15[8];
};

static void prepare(struct yk_coro *coro, char *top, void (*entry)(void *arg), void *arg)
{
    uintptr_t base = (uintptr_t)top & ~(uintptr_t)15;
    struct saved_registers *saved = (void *)(base - sizeof *saved);

    memset(saved, 0, sizeof *saved);
    saved->x19_to_x30[0] = (void *)(uintptr_t)entry;
    saved->x19_to_x30[1] = arg;
    saved->x19_to_x30[11] = (void *)(uintptr_t)yk_switch_entry;
    coro->sp = saved;
}
#else
#error "yoke has no coroutine switch for this processor: see src/task/coro.c"
#endif

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
    coro->stack_low = stack_low;
    coro->stack_high = top;
    coro->asan_fake_stack = NULL;
#ifdef YK_TSAN
    coro->tsan_fiber = __tsan_create_fiber(0);
#else
    coro->tsan_fiber = NULL;
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

static void arrived(struct yk_coro *coro)
{
    __sanitizer_finish_switch_fiber(coro->asan_fake_stack, &previous_low, &previous_size);
    if (previous != NULL && previous->stack_high == NULL) {
        previous->stack_low = (char *)previous_low;
        previous->stack_high = (char *)previous_low + previous_size;
    }
}
#endif

void yk_coro_entered(struct yk_coro *coro)
{
#ifdef YK_ASAN
    arrived(coro);
#endif
    (void)coro;
}

void yk_coro_switch(struct yk_coro *from, struct yk_coro *to, bool last)
{
#ifdef YK_ASAN
    previous = from;
    __sanitizer_start_switch_fiber(last ? NULL : &from->asan_fake_stack, to->stack_low,
                                   (size_t)(to->stack_high - to->stack_low));
#endif
#ifdef YK_TSAN
    __tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
    (void)last;
    yk_switch_registers(&from->sp, &to->sp);
#ifdef YK_ASAN
    arrived(from);
#endif
}
