/* SPDX-License-Identifier: MIT */
/*
 * The Linux host: CLOCK_MONOTONIC, getrandom, epoll (edge-triggered, each descriptor registered
 * once), an eventfd for wake-ups from other threads, pidfds (kernel 5.4 and later); spawn.c.
 *
 * poll hands out up to 64 events a call. A watch may be removed by the callback of an earlier
 * event of the same batch; `batch` lets remove() blank the later ones, so that no callback runs on
 * a watch that is gone.
 *
 * Decided against io_uring for now: container runtimes often forbid it, so epoll must be first.
 */
#include "base/faults.h"
#include "host/host.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "host/spawn.h"

enum { BATCH = 64 };

struct linux_host {
    struct yoke_host host;
    int epoll_fd;
    int wake_fd;
    struct epoll_event batch[BATCH];
    int batch_n; /* events of the batch being handed out */
};

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

/*
 * epoll_pwait2 has nanosecond timeouts (5.11); without it milliseconds must do. EPERM is what
 * sandboxes say that are older than the call.
 */
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
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
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

static int linux_descriptor(struct yoke_host *host)
{
    return self_of(host)->epoll_fd;
}

static int linux_watch_add(struct yoke_host *host, struct yk_watch *watch)
{
    struct epoll_event event = {
        .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET,
        .data.ptr = watch,
    };

    if (YK_FALLIBLE(ENOSPC, epoll_ctl(self_of(host)->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event)) <
        0)
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
    int own = process->own_group ? 0 : signal; /* 0: only asks whether it is still there */

    (void)host;
    /* By pidfd: can't hit another process, even if somebody else has reaped it. */
    if (syscall(SYS_pidfd_send_signal, process->pidfd, own, NULL, 0) < 0)
        return -errno;
    /* The number of a group is not given away as long as its leader is not reaped. */
    return process->own_group && kill(-process->pid, signal) < 0 ? -errno : 0;
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
    .descriptor = linux_descriptor,
    .watch_add = linux_watch_add,
    .watch_remove = linux_watch_remove,
    .spawn = yk_linux_spawn,
    .reap = linux_reap,
    .kill = linux_kill,
    .free = linux_free,
};

int yk_host_linux_new(struct yoke_host **ret_host)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    struct linux_host *self = yk_calloc(1, sizeof *self);
    int rc;

    if (self == NULL)
        return -ENOMEM;
    self->host.ops = &linux_ops;
    event.data.ptr = self;
    self->wake_fd = -1;
    self->epoll_fd = YK_FALLIBLE(EMFILE, epoll_create1(EPOLL_CLOEXEC));
    if (self->epoll_fd >= 0)
        self->wake_fd = YK_FALLIBLE(EMFILE, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (self->wake_fd >= 0 &&
        YK_FALLIBLE(ENOSPC, epoll_ctl(self->epoll_fd, EPOLL_CTL_ADD, self->wake_fd, &event)) == 0) {
        *ret_host = &self->host;
        return 0;
    }
    rc = -errno;
    linux_free(&self->host);
    return rc;
}

unsigned yk_cpu_count(void)
{
    cpu_set_t cpus;
    long n;

    /* EINVAL on a machine with more of them than fit into a cpu_set_t. */
    if (sched_getaffinity(0, sizeof cpus, &cpus) == 0)
        return (unsigned)CPU_COUNT(&cpus);
    n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (unsigned)n : 1;
}
