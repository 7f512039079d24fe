/* SPDX-License-Identifier: MIT */
/* Writing to what nobody may read any more: an error, and never a signal. */
#ifndef YK_IO_QUIET_H
#define YK_IO_QUIET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* As write(2), with -EPIPE instead of a SIGPIPE. A count or -errno. From any thread. */
ssize_t yk_write_quietly(int fd, const void *data, size_t size);

/* For tests: from now on as on a kernel that can't be told, or as on this one again. */
void yk_write_quietly_untold(bool untold);

#endif
