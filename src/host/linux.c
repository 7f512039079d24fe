/* SPDX-License-Identifier: MIT */
/*
 * The Linux host: CLOCK_MONOTONIC, getrandom, epoll (edge-triggered, each descriptor registered
 * once), an eventfd for wake-ups from other threads, posix_spawn and pidfds (kernel 5.4 and later).
 *
 * poll hands out up to 64 events a call. A watch may be removed by the callback of an earlier
 * event of the same batch; `batch` lets remove() blank the later ones, so that no callback runs on
 * a watch that is gone.
 *
 * Decided against io_uring for now: container runtimes often forbid it, so epoll must be first.
 */
#include "host/host.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yoke/error.h>
#include <yoke/runtime.h>

#include "base/check.h"
#include "base/memory.h"

enum { BATCH = 64 };

struct linux_host {
    struct yoke_host host;
    int epoll_fd;
    int wake_fd;
    struct epoll_event batch[BATCH];
    int batch_n; /* events of the batch being handed out */
};

extern char **environ;

static struct linux_host *self_of(struct yoke_host *host)
{
    return (struct linux_host *)host;
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t linux_now(struct yoke_host *host)
{
    (void)host;
    return clock_ns(CLOCK_MONOTONIC);
}

static int64_t linux_wall(struct yoke_host *host)
{
    (void)host;
    return clock_ns(CLOCK_REALTIME);
}

static void linux_entropy(struct yoke_host *host, void *data, size_t size)
{
    char *bytes = data;

    (void)host;
    while (size > 0) {
        ssize_t n = getrandom(bytes, size, 0);

        if (n < 0) {
            yk_assert(errno == EINTR);
            continue;
        }
        bytes += n;
        size -= (size_t)n;
    }
}

static int timeout_ms(struct yoke_host *host, int64_t until_ns)
{
    int64_t left;

    if (until_ns == 0)
        return 0;
    if (until_ns == YOKE_NEVER)
        return -1;
    left = until_ns - linux_now(host);
    if (left <= 0)
        return 0;
    /* Rounded up: waking early would only spin until the deadline. */
    left = (left + 999999) / 1000000;
    return left > 60000 ? 60000 : (int)left;
}

/* epoll_pwait2 has nanosecond timeouts (5.11); without it milliseconds must do. */
static int wait_events(struct linux_host *self, int64_t until_ns)
{
#ifdef SYS_epoll_pwait2
    static _Thread_local bool missing;

    if (!missing && until_ns != 0 && until_ns != YOKE_NEVER) {
        int64_t left = until_ns - linux_now(&self->host);
        struct timespec t = {0, 0};
        long n;

        if (left > 0) {
            t.tv_sec = left / 1000000000;
            t.tv_nsec = left % 1000000000;
        }
        n = syscall(SYS_epoll_pwait2, self->epoll_fd, self->batch, BATCH, &t, NULL, 0);
        if (n >= 0 || errno != ENOSYS)
            return (int)n;
        missing = true;
    }
#endif
    return epoll_wait(self->epoll_fd, self->batch, BATCH, timeout_ms(&self->host, until_ns));
}

static unsigned readiness(uint32_t events)
{
    unsigned ready = 0;

    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        ready |= YK_READABLE;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        ready |= YK_WRITABLE;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        ready |= YK_EXCEPTIONAL;
    return ready;
}

static int linux_poll(struct yoke_host *host, int64_t until_ns, bool external)
{
    struct linux_host *self = self_of(host);
    int n = wait_events(self, until_ns);

    (void)external;
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    self->batch_n = n;
    for (int i = 0; i < n; i++) {
        struct yk_watch *watch = self->batch[i].data.ptr;

        if (watch == NULL)
            continue; /* removed by a callback before it */
        if (watch == (void *)self) {
            uint64_t count;

            if (read(self->wake_fd, &count, sizeof count) < 0)
                yk_assert(errno == EAGAIN);
            continue;
        }
        watch->ready(watch, readiness(self->batch[i].events));
    }
    self->batch_n = 0;
    return 0;
}

static void linux_wake(struct yoke_host *host)
{
    uint64_t one = 1;

    /* EAGAIN means the counter is at its maximum: a wake-up is pending all the more. */
    if (write(self_of(host)->wake_fd, &one, sizeof one) < 0)
        yk_assert(errno == EAGAIN);
}

static int linux_watch_add(struct yoke_host *host, struct yk_watch *watch)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET,
        .data.ptr = watch,
    };

    if (epoll_ctl(self_of(host)->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0)
        return -errno;
    return 0;
}

static void linux_watch_remove(struct yoke_host *host, struct yk_watch *watch)
{
    struct linux_host *self = self_of(host);

    /* The descriptor may have been closed already, which removed it: EBADF and ENOENT are fine. */
    (void)epoll_ctl(self->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = 0; i < self->batch_n; i++)
        if (self->batch[i].data.ptr == watch)
            self->batch[i].data.ptr = NULL;
}

static int spawn_process(const struct yk_spawn *spawn, pid_t *ret_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, defaults;
    const char *path = spawn->path != NULL ? spawn->path : "/proc/self/exe";
    int rc;

    sigemptyset(&none);
    sigemptyset(&defaults);
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP)
            sigaddset(&defaults, number);
    rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return -rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return -rc;
    }
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    /* dup2 onto itself clears close-on-exec too (POSIX.1-2024; glibc and musl do it). */
    rc = posix_spawn_file_actions_adddup2(&actions, spawn->inherit_fd, spawn->inherit_as);
    if (rc == 0)
        rc = posix_spawn(ret_pid, path, &actions, &attributes, spawn->argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return -rc;
}

static int linux_spawn(struct yoke_host *host, const struct yk_spawn *spawn, struct yk_process *ret)
{
    struct yk_process process;
    int rc = spawn_process(spawn, &process.pid);

    (void)host;
    if (rc < 0)
        return rc;
    /* The child can't be reaped by anyone but us yet, so its pid names no other process. */
    process.pidfd = (int)syscall(SYS_pidfd_open, process.pid, 0);
    if (process.pidfd < 0) {
        rc = -errno;
        kill(process.pid, SIGKILL);
        while (waitpid(process.pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        return rc;
    }
    *ret = process;
    return 0;
}

static int linux_reap(struct yoke_host *host, const struct yk_process *process, struct yk_exit *ret)
{
    struct yk_exit result;
    pid_t pid;

    (void)host;
    memset(&result, 0, sizeof result);
    do
        pid = wait4(process->pid, &result.status, WNOHANG, &result.usage);
    while (pid < 0 && errno == EINTR);
    if (pid < 0)
        return -errno;
    if (pid == 0)
        return 0;
    *ret = result;
    return 1;
}

static int linux_kill(struct yoke_host *host, const struct yk_process *process, int signal)
{
    (void)host;
    /* By pidfd: can't hit another process, even if somebody else has reaped it. */
    return syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

static void linux_free(struct yoke_host *host)
{
    struct linux_host *self = self_of(host);

    if (self->wake_fd >= 0)
        close(self->wake_fd);
    if (self->epoll_fd >= 0)
        close(self->epoll_fd);
    free(self);
}

static const struct yk_host_ops linux_ops = {
    .name = "linux",
    .now = linux_now,
    .wall = linux_wall,
    .entropy = linux_entropy,
    .poll = linux_poll,
    .wake = linux_wake,
    .watch_add = linux_watch_add,
    .watch_remove = linux_watch_remove,
    .spawn = linux_spawn,
    .reap = linux_reap,
    .kill = linux_kill,
    .free = linux_free,
};

struct yoke_host *yoke_host_linux_new(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    struct linux_host *self = yk_calloc(1, sizeof *self);
    const char *what = "epoll_create1";

    if (self == NULL) {
        yoke_raise("yoke.Host", ENOMEM, "no memory for a host");
        return NULL;
    }
    self->host.ops = &linux_ops;
    self->wake_fd = -1;
    self->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->epoll_fd >= 0) {
        what = "eventfd";
        self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        event.data.ptr = self;
        if (self->wake_fd >= 0) {
            what = "epoll_ctl";
            if (epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, self->wake_fd, &event) == 0)
                return &self->host;
        }
    }
    yoke_raise("yoke.Host", errno, "%s: %s", what, strerror(errno));
    linux_free(&self->host);
    return NULL;
}

void yoke_host_free(struct yoke_host *host)
{
    if (host != NULL)
        host->ops->free(host);
}
