/* SPDX-License-Identifier: MIT */
/*
 * The handler of a directed real-time signal says where it interrupted the thread, and waits on a
 * futex until it is let go. All that runs in it is safe in any context: system calls, atomics, and
 * the unwinder, which since glibc 2.35 finds its tables without a lock. With an older one only the
 * chain of frame pointers is known.
 *
 * `word` is a count of freezes and a phase. Asking, answering and giving up are one compare and
 * swap each, so that a handler that comes late does nothing, and one that waits can't mistake a
 * later freeze for its own. A handler waits no longer than FROZEN_MAX_S, in case nobody lets it go.
 *
 * Decided against ptrace, which needs a process of its own and permission, and against walking a
 * runtime that runs: references to causes and errors could not be taken.
 */
#include "devx/freeze.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#if __has_include(<linux/futex.h>)
#include <linux/futex.h>
#else
#define FUTEX_WAIT_PRIVATE 128
#define FUTEX_WAKE_PRIVATE 129
#endif

#ifdef __GLIBC__
#include <execinfo.h>
enum { UNWINDER_IS_SAFE = __GLIBC_PREREQ(2, 35) };
#else
#define backtrace(frames, n) ((void)(frames), 0) /* frame pointers have to do */
enum { UNWINDER_IS_SAFE = 0 };
#endif

enum { IDLE, ASKED, FROZEN, PHASES = 4 };
enum { ANSWER_MS = 500, FROZEN_MAX_S = 10, HANDLER_FRAMES = 8 };

static _Atomic uint32_t word;
static _Atomic pid_t target;
static int signal_number; /* 0: none taken */
static void *frames[YK_BACKTRACE_MAX];
static size_t frames_n;
static const void *frame;

static void futex_wait(uint32_t value, const struct timespec *timeout)
{
    syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static void futex_wake(void)
{
    syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void registers_of(const ucontext_t *context, void **ret_pc, void **ret_frame)
{
#if defined(__x86_64__)
    *ret_pc = (void *)(uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    *ret_frame = (void *)(uintptr_t)context->uc_mcontext.gregs[REG_RBP];
#else
    *ret_pc = (void *)(uintptr_t)context->uc_mcontext.pc;
    *ret_frame = (void *)(uintptr_t)context->uc_mcontext.regs[29];
#endif
}

size_t yk_backtrace_interrupted(void *context, void **found, size_t max)
{
    void *all[YK_BACKTRACE_MAX + HANDLER_FRAMES];
    void *pc, *at;
    int n, first = 0;

    if (!UNWINDER_IS_SAFE)
        return 0;
    registers_of(context, &pc, &at);
    n = backtrace(all, YK_BACKTRACE_MAX + HANDLER_FRAMES);
    while (first < n && all[first] != pc)
        first++;
    if (first == n)
        return 0;
    n -= first;
    if ((size_t)n > max)
        n = (int)max;
    memcpy(found, all + first, (size_t)n * sizeof *found);
    /* Whoever looks it up takes an address for one after a call; this one is exact. */
    found[0] = (char *)pc + 1;
    return (size_t)n;
}

static void handler(int number, siginfo_t *info, void *context)
{
    const struct timespec longest = {.tv_sec = FROZEN_MAX_S};
    uint32_t asked = atomic_load(&word);
    int error = errno;
    void *pc, *at;

    (void)number;
    (void)info;
    if (asked % PHASES != ASKED || atomic_load(&target) != (pid_t)syscall(SYS_gettid))
        return; /* too late, or not from us */
    registers_of(context, &pc, &at);
    frame = at;
    frames_n = yk_backtrace_interrupted(context, frames, YK_BACKTRACE_MAX);
    if (atomic_compare_exchange_strong(&word, &asked, asked - ASKED + FROZEN)) {
        futex_wake();
        if (atomic_load(&word) == asked - ASKED + FROZEN)
            futex_wait(asked - ASKED + FROZEN, &longest);
    }
    errno = error;
}

int yk_freeze_init(void)
{
    struct sigaction action, before;

    /* Loads the unwinder, which allocates; a handler must not be the first to call it. */
    if (UNWINDER_IS_SAFE)
        (void)backtrace(frames, 1);
    for (int number = SIGRTMAX; number >= SIGRTMIN; number--) {
        if (sigaction(number, NULL, &before) < 0 || before.sa_handler != SIG_DFL)
            continue;
        memset(&action, 0, sizeof action);
        action.sa_sigaction = handler;
        action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
        sigfillset(&action.sa_mask);
        if (sigaction(number, &action, NULL) < 0)
            continue;
        signal_number = number;
        return 0;
    }
    return -EBUSY;
}

void yk_freeze_fini(void)
{
    if (signal_number == 0)
        return;
    /* Ignoring drops one that is still pending; the default action would end the program. */
    signal(signal_number, SIG_IGN);
    signal(signal_number, SIG_DFL);
    signal_number = 0;
}

int yk_freeze(pid_t tid, struct yk_whereabouts *ret_here)
{
    const struct timespec patience = {.tv_nsec = YOKE_MS(ANSWER_MS)};
    uint32_t idle = atomic_load(&word);
    uint32_t asked = idle - idle % PHASES + PHASES + ASKED; /* of a count one higher */
    struct timespec now, until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += patience.tv_nsec;
    atomic_store(&target, tid);
    atomic_store(&word, asked);
    if (syscall(SYS_tgkill, getpid(), tid, signal_number) < 0) {
        atomic_store(&word, asked - ASKED);
        return -ESRCH;
    }
    while (atomic_load(&word) == asked) {
        futex_wait(asked, &patience);
        clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - until.tv_sec) * 1000000000 + now.tv_nsec - until.tv_nsec >= 0 &&
            atomic_compare_exchange_strong(&word, &asked, asked - ASKED))
            return -ETIMEDOUT;
    }
    *ret_here = (struct yk_whereabouts){.frame = frame, .frames = frames, .frames_n = frames_n};
    return 0;
}

void yk_thaw(void)
{
    uint32_t frozen = atomic_load(&word);

    atomic_store(&word, frozen - frozen % PHASES + IDLE);
    futex_wake();
}
