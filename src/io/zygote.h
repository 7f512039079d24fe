/* SPDX-License-Identifier: MIT */
/*
 * The zygote: a process that is forked before the program has any thread, and from which others are
 * forked without executing anything. They are children of who has the zygote. One per process.
 */
#ifndef YK_IO_ZYGOTE_H
#define YK_IO_ZYGOTE_H

#include "host/host.h"

/* What a new process does: run(request, fd), with `size` bytes as given to spawn; never returns. */
struct yk_zygote_birth {
    void *request; /* room for them */
    size_t size;
    void (*run)(const void *request, int fd);
};

/* 0 or -errno; -EBUSY if there are threads, or a zygote already. */
int yk_zygote_start(const struct yk_zygote_birth *birth);

/* Waits until it has ended. Without one it does nothing. */
void yk_zygote_stop(void);

/*
 * A new process, which gets a copy of `fd`. From any thread; blocks for as long as a fork takes. 0,
 * with a process as of yk_host_ops; -ENOENT: there is no zygote; -EPIPE: not any more; -ETIMEDOUT:
 * it has not answered within YK_ZYGOTE_MS, and is not asked again; another -errno of the fork.
 */
int yk_zygote_spawn(const void *request, size_t size, int fd, struct yk_process *ret);

/* What has become of it, for an error: "pid 7 killed by signal 9 (Killed)". */
const char *yk_zygote_describe(char *text, size_t size);

#endif
