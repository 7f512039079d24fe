/* SPDX-License-Identifier: MIT */
/* A descriptor that is waited for more than once: registered with the poller from init to fini. */
#ifndef YK_IO_FD_H
#define YK_IO_FD_H

#include "task/task.h"

struct yk_fd {
    struct yk_watch watch;
    struct yoke_runtime *runtime;
    unsigned ready;   /* events that came while nobody waited */
    bool exceptional; /* YK_EXCEPTIONAL was told once */
    struct yk_list readers;
    struct yk_list writers;
    size_t users; /* tasks inside a wait */
};

/* Registers; the descriptor stays the caller's. 0 or -errno; raises nothing. */
int yk_fd_init(struct yk_fd *fd, int number);
void yk_fd_fini(struct yk_fd *fd); /* nobody may be waiting */

/*
 * Waits for YK_READABLE or YK_WRITABLE. To be called after the operation itself said EAGAIN, and
 * followed by another try: it may return early. 0 or YOKE_CANCELLED.
 */
int yk_fd_wait(struct yk_fd *fd, unsigned event);

#endif
