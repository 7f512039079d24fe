/* SPDX-License-Identifier: MIT */
/*
 * Starts a process on Linux: a clone that shares our memory until it executes, as vfork does, on a
 * stack of its own. The calling thread is suspended meanwhile, so what the child writes into
 * `struct birth` is there when clone returns.
 *
 * Decided against posix_spawn: it can't ask for the death signal, so that a process would outlive a
 * parent that was killed; it can't say which step failed; and its pidfd is a second call, which can
 * fail when the process runs already. Here the kernel makes the pidfd with the process, or neither.
 *
 * The child runs on shared memory with the thread-local storage of the suspended thread. So it does
 * only what is async-signal-safe, by system calls that no sanitizer intercepts, with all signals
 * blocked until every handler is gone: a handler of ours must not run in it.
 */
#include "host/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/faults.h"
#include "base/limits.h"

/* Two threads of control use the bookkeeping of one thread: the sanitizers must not see it. */
#if defined(__clang__)
#define UNSEEN __attribute__((disable_sanitizer_instrumentation))
#else
#define UNSEEN __attribute__((no_sanitize_address, no_sanitize_thread, no_sanitize_undefined))
#endif

/* ThreadSanitizer would take it for a fork, after which there are two of its tables. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define YK_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) || defined(YK_TSAN)
int __clone(int (*fn)(void *arg), void *stack, int flags, void *arg, ...);
#define clone __clone
#endif

enum {
    STACK_SIZE = 64 << 10, /* the dynamic linker resolves symbols on it */
    SIGNALS = 64,
    SIGSET_SIZE = SIGNALS / 8 /* bytes of the kernel's sigset_t */
};

extern char **environ;

/* What parent and child share. */
struct birth {
    const struct yk_spawn *spawn;
    const char *path;
    char *const *environment;
    pid_t parent;
    int from[YK_SPAWN_FDS_MAX]; /* where the descriptors are while their places are made free */
    int error;                  /* positive; 0: it has executed */
    enum yk_spawn_step step;
};

UNSEEN static void reset_signals(void)
{
    /* The kernel's struct sigaction: handler, flags, restorer, mask. All zero is the default. */
    static const unsigned long defaults[4 + SIGSET_SIZE / sizeof(unsigned long)];

    for (int number = 1; number <= SIGNALS; number++)
        if (number != SIGKILL && number != SIGSTOP)
            (void)syscall(SYS_rt_sigaction, number, defaults, NULL, SIGSET_SIZE);
}

/* Two passes, so that no descriptor is overwritten before it is where it belongs. */
UNSEEN static int place_descriptors(struct birth *birth)
{
    const struct yk_spawn *spawn = birth->spawn;
    int highest = 2;

    for (size_t i = 0; i < spawn->fds_n; i++)
        if (spawn->fds[i].as > highest)
            highest = spawn->fds[i].as;
    for (size_t i = 0; i < spawn->fds_n; i++) {
        birth->from[i] = spawn->fds[i].fd;
        if (birth->from[i] > highest)
            continue;
        birth->from[i] =
            (int)syscall(SYS_fcntl, spawn->fds[i].fd, F_DUPFD_CLOEXEC, (long)highest + 1);
        if (birth->from[i] < 0)
            return -1;
    }
    for (size_t i = 0; i < spawn->fds_n; i++)
        if (syscall(SYS_dup3, birth->from[i], spawn->fds[i].as, 0) < 0)
            return -1;
    return 0;
}

/* In the child. Returns only on failure; the caller's clone turns that into an exit. */
UNSEEN static int child_main(void *arg)
{
    static const unsigned long no_signals[SIGSET_SIZE / sizeof(unsigned long)];
    struct birth *birth = arg;
    const struct yk_spawn *spawn = birth->spawn;

    reset_signals();
    birth->step = YK_SPAWN_PREPARE;
    if (spawn->own_group && syscall(SYS_setpgid, 0, 0) < 0)
        goto failed;
    if (spawn->death_signal != 0) {
        if (syscall(SYS_prctl, PR_SET_PDEATHSIG, (long)spawn->death_signal, 0L, 0L, 0L) < 0)
            goto failed;
        errno = ESRCH;
        if (syscall(SYS_getppid) != birth->parent)
            goto failed; /* it died before we could ask for the signal; nobody reads this */
    }
    if (place_descriptors(birth) < 0)
        goto failed;
    birth->step = YK_SPAWN_DIRECTORY;
    if (spawn->directory != NULL && syscall(SYS_chdir, spawn->directory) < 0)
        goto failed;
    birth->step = YK_SPAWN_EXECUTE;
    (void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, no_signals, NULL, SIGSET_SIZE);
    (void)syscall(SYS_execve, birth->path, spawn->argv, birth->environment);
failed:
    birth->error = errno;
    return 127;
}

/* 0 or -errno. */
static int give_birth(struct birth *birth, struct yk_process *process)
{
    char *stack = yk_fault(ENOMEM) ? MAP_FAILED
                                   : mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    sigset_t all, before;
    int rc = 0;

    if (stack == MAP_FAILED)
        return -errno;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    process->pid = YK_FALLIBLE(EAGAIN, clone(child_main, stack + STACK_SIZE,
                                             CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, birth,
                                             &process->pidfd));
    if (process->pid < 0)
        rc = -errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    munmap(stack, STACK_SIZE);
    return rc;
}

int yk_linux_spawn(struct yoke_host *host, const struct yk_spawn *spawn, struct yk_process *ret)
{
    struct yk_process process = {.own_group = spawn->own_group};
    struct birth birth = {
        .spawn = spawn,
        .path = spawn->path != NULL ? spawn->path : "/proc/self/exe",
        .environment = spawn->environment != NULL ? spawn->environment : environ,
        .parent = getpid(),
    };
    int rc;

    (void)host;
    rc = spawn->fds_n > YK_SPAWN_FDS_MAX ? -E2BIG : give_birth(&birth, &process);
    if (rc < 0) {
        if (spawn->ret_step != NULL)
            *spawn->ret_step = YK_SPAWN_PREPARE;
        return rc;
    }
    if (birth.error != 0) {
        while (waitpid(process.pid, NULL, 0) < 0 && errno == EINTR)
            continue; /* it is ending */
        close(process.pidfd);
        if (spawn->ret_step != NULL)
            *spawn->ret_step = birth.step;
        return -birth.error;
    }
    *ret = process;
    return 0;
}
