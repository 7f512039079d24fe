/* SPDX-License-Identifier: MIT */
/*
 * Writing to a pipe that nobody reads raises SIGPIPE, which a library must neither let loose nor
 * ignore for the whole process. New kernels can be told (RWF_NOSIGNAL, 6.18), and then it is one
 * system call. On others send(2) has such a flag, for sockets alone; for all else the signal is
 * blocked in this thread during the write and taken out if it came. It is sent to the thread that
 * writes, so nobody else's is swallowed but one that was pending before, which is left.
 *
 * Decided against: looking once whether the program ignores SIGPIPE, since it may change its mind,
 * and would then be killed; and leaving it blocked in the runtime's thread, since that is inherited
 * by what the program itself executes.
 */
#include "io/quiet.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/vector.h"

enum { UNKNOWN, KNOWS_FLAG, KNOWS_NO_FLAG };

static _Atomic int kernel; /* whether it knows the flag */

static ssize_t write_blocking_sigpipe(int fd, const void *data, size_t size)
{
    static const struct timespec at_once;
    sigset_t pipe_only, before, pending;
    bool was_pending = false;
    ssize_t n;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    /* One that is pending already can only be where it was blocked. */
    if (sigismember(&before, SIGPIPE) == 1 && sigpending(&pending) == 0)
        was_pending = sigismember(&pending, SIGPIPE) == 1;
    n = write(fd, data, size);
    if (n < 0)
        n = -errno;
    if (n == -EPIPE && !was_pending)
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return n;
}

/* Without the flag. That the last descriptor was no socket is only a hint: both ways are right. */
static ssize_t write_flagless(int fd, const void *data, size_t size)
{
    static _Thread_local int no_socket = -1;

    if (fd != no_socket) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n >= 0 || errno != ENOTSOCK)
            return n >= 0 ? n : -errno;
        no_socket = fd;
    }
    return write_blocking_sigpipe(fd, data, size);
}

static ssize_t write_flagged(int fd, const void *data, size_t size)
{
    struct iovec bytes = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    ssize_t n = yk_pwritev2(fd, &bytes, 1, -1, RWF_NOSIGNAL);

    return n < 0 ? -errno : n;
}

static bool is_refusal(ssize_t n)
{
    return n == -EOPNOTSUPP || n == -EINVAL || n == -ENOSYS;
}

/*
 * A refusal is the kernel's, which does not know the flag, or the descriptor's, which takes none,
 * such as an eventfd. /dev/null takes all that the kernel knows.
 */
static void ask_kernel(void)
{
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return; /* asked again the next time */
    atomic_store(&kernel, is_refusal(write_flagged(fd, "", 1)) ? KNOWS_NO_FLAG : KNOWS_FLAG);
    close(fd);
}

void yk_write_quietly_untold(bool untold)
{
    atomic_store(&kernel, untold ? KNOWS_NO_FLAG : UNKNOWN);
}

ssize_t yk_write_quietly(int fd, const void *data, size_t size)
{
    ssize_t n;

    if (atomic_load_explicit(&kernel, memory_order_relaxed) == KNOWS_NO_FLAG)
        return write_flagless(fd, data, size);
    n = write_flagged(fd, data, size);
    if (!is_refusal(n))
        return n;
    if (atomic_load(&kernel) == UNKNOWN)
        ask_kernel();
    return write_flagless(fd, data, size);
}
