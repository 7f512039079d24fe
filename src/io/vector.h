/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes with flags, which musl has no functions for: the system calls of that name.
 * Offset -1 is the position of the descriptor. A count, or -1 with errno set.
 */
#ifndef YK_IO_VECTOR_H
#define YK_IO_VECTOR_H

#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* 6.18 */
#endif

static inline ssize_t yk_preadv2(int fd, const struct iovec *iov, int n, int64_t offset, int flags)
{
    return syscall(SYS_preadv2, (long)fd, iov, (long)n, (long)offset, 0L, (long)flags);
}

static inline ssize_t yk_pwritev2(int fd, const struct iovec *iov, int n, int64_t offset, int flags)
{
    return syscall(SYS_pwritev2, (long)fd, iov, (long)n, (long)offset, 0L, (long)flags);
}

#endif
