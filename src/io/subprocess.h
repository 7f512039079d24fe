/* SPDX-License-Identifier: MIT */
/* Subprocesses inside the library: what open and run share. */
#ifndef YK_IO_SUBPROCESS_H
#define YK_IO_SUBPROCESS_H

#include <yoke/event.h>
#include <yoke/subprocess.h>

#include "task/task.h"

enum { YK_STDIN, YK_STDOUT, YK_STDERR, YK_STDIO_N };

struct yk_subprocess {
    struct yk_process process;
    struct yk_watch watch; /* of its pidfd, until it has ended */
    struct yoke_runtime *runtime;
    struct yoke_event over; /* set with `ended` */
    int ended; /* 0: it runs; 1: reaped, `exit` is set; negative: ended, but somebody else reaped */
    struct yoke_process_exit exit;
    int pipes[YK_STDIO_N]; /* our ends; -1: none */
    bool unchecked;
    int term_signal;
    int64_t term_ns; /* negative: SIGKILL at once */
    char name[YK_TASK_NAME_MAX];
};

/* Ends a process that runs, by the ladder. The error in flight stays in flight. */
void yk_subprocess_end(struct yk_subprocess *process);

/*
 * As yoke_process_close, with the last bytes of its standard error for the error of a failure.
 * `tail` "" if they are not known.
 */
int yk_subprocess_close(struct yoke_process *process, int rc, const char *tail,
                        struct yoke_process_exit *ret_exit);

/* Executes what argv and opts say with these descriptors. 0 or -errno with an error raised. */
int yk_program_spawn(const char *const *argv, const struct yoke_process_opts *opts,
                     const struct yk_spawn_fd *fds, size_t fds_n, struct yk_process *ret);

#endif
