/* SPDX-License-Identifier: MIT */
/*
 * Subprocesses: other programs, run as if they were function calls, or held open beside the caller.
 * A process ends inside the call or the block that started it, whatever happens there; semantics of
 * trio's run_process and open_process. If this program is killed, its processes are killed too.
 *
 *   const char *argv[] = {"sort", NULL};
 *   struct yoke_process_result result;
 *   int rc = yoke_process_run(argv, &(struct yoke_process_opts){
 *       .input = {.kind = YOKE_STDIO_BYTES, .data = text, .size = strlen(text)},
 *       .output = {.kind = YOKE_STDIO_CAPTURE},
 *   }, &result);
 *   if (rc == 0) {
 *       fwrite(result.output, 1, result.output_size, stdout);
 *       yoke_process_result_fini(&result);
 *   }
 */
#ifndef YOKE_SUBPROCESS_H
#define YOKE_SUBPROCESS_H

#include <sys/resource.h>
#include <sys/types.h>
#include <yoke/common.h>
#include <yoke/scope.h>

YOKE_BEGIN

/* What a standard stream of the process is. */
enum yoke_stdio_kind {
    YOKE_STDIO_DEFAULT = 0, /* input: nothing to read; output and errors: inherited */
    YOKE_STDIO_INHERIT,     /* ours */
    YOKE_STDIO_NULL,        /* /dev/null */
    YOKE_STDIO_FD,          /* the descriptor in `fd`, which stays the caller's */
    YOKE_STDIO_OUTPUT,      /* errors only: goes where the output goes */
    YOKE_STDIO_PIPE,        /* only of open: a pipe whose other end is ours */
    YOKE_STDIO_BYTES,       /* only of run, input: `size` bytes at `data` */
    YOKE_STDIO_CAPTURE,     /* only of run, output and errors: handed over as a whole */
    YOKE_STDIO_SINK,        /* only of run, output and errors: handed over piece by piece */
};

struct yoke_stdio {
    enum yoke_stdio_kind kind;
    int fd;
    const void *data; /* borrowed until the process has ended */
    size_t size;
    size_t max; /* bytes captured at most; more is a failure. 0: 16 MiB */
    /*
     * Called in a task, for each piece in order; may block, and may be cancelled then. A negative
     * result is a failure, and ends the process.
     */
    int (*sink)(void *arg, const void *data, size_t size);
    void *sink_arg;
};

/* A descriptor of ours that the process gets under the number `as` (above 2). */
struct yoke_process_fd {
    int fd;
    int as;
};

struct yoke_process_opts {
    const char *executable;         /* NULL: argv[0]. Without a slash it is searched for in PATH */
    const char *const *environment; /* "NAME=value", ..., NULL: all of it; NULL: ours */
    const char *const *variables;   /* the same, added to `environment`, or replacing in it */
    const char *directory;          /* working directory; NULL: ours */
    struct yoke_stdio input;
    struct yoke_stdio output;
    struct yoke_stdio errors;
    const struct yoke_process_fd *fds; /* besides the standard streams */
    size_t fds_n;
    /*
     * The process leads a process group of its own: signals go to the group, and what is left of
     * it when the process has ended is killed. Ctrl-C does not reach it then.
     */
    bool own_group;
    bool unchecked;          /* an exit with another status than 0 is a result, not an error */
    int term_signal;         /* what ends it; 0: SIGTERM */
    int64_t term_timeout_ns; /* from then to SIGKILL; 0: 5 s; negative: SIGKILL at once */
};

/* How a process ended. */
struct yoke_process_exit {
    int status;          /* as waitpid gives it: WIFEXITED(status), ... */
    bool ended_by_us;    /* it was sent term_signal or SIGKILL because its block was left */
    struct rusage usage; /* what it used, with those of its children that it waited for */
};

struct yoke_process_result {
    struct yoke_process_exit exit;
    char *output; /* captured, with a NUL behind it; NULL if not captured */
    size_t output_size;
    char *errors;
    size_t errors_size;
};

/*
 * Runs a program and waits until it has ended and its captured output is read. `argv` ends with
 * NULL. Cancellation ends the process (term_signal, then SIGKILL, then waits for it), and is
 * YOKE_CANCELLED. A process that ends with a status other than 0, or by a signal, is an error,
 * "yoke.ProcessFailed" (YOKE_EDIED), with the end of captured errors in a note, unless `unchecked`.
 * Other errors: "yoke.Process", -ENOENT (the message names where it was searched for), -EACCES,
 * -EMFILE, -EMSGSIZE (more than `max` captured) and the like. Input that the process does not read
 * is no error. *ret_result (may be NULL) is freed with yoke_process_result_fini.
 */
YOKE_API YOKE_MUST_CHECK int yoke_process_run(const char *const *argv,
                                              const struct yoke_process_opts *opts,
                                              struct yoke_process_result *ret_result);
YOKE_API void yoke_process_result_fini(struct yoke_process_result *result);

struct yoke_process { /* lives in the caller's frame; every field is private */
    struct yoke_scope scope;
    struct yk_subprocess *state;
};

/*
 * Starts a program, which runs until the block is left: opened and closed by the same task, nested
 * with scopes and nurseries like a scope. Other tasks of the block may use it. Never blocks longer
 * than the kernel takes to execute it. Errors as for run; after one it need not be closed.
 */
#define yoke_process_open(process, argv, ...)                                                      \
    yoke_process_open_at(YOKE_HERE, (process), (argv), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_process_open_at(const struct yoke_site *site,
                                                  struct yoke_process *process,
                                                  const char *const *argv,
                                                  const struct yoke_process_opts *opts);

YOKE_API pid_t yoke_process_pid(const struct yoke_process *process);

/*
 * Our ends of its pipes, non-blocking, for yoke_read and yoke_write_all; -1: none. They are closed
 * with the process. Writing what it can't read any more is the error -EPIPE.
 */
YOKE_API int yoke_process_input(const struct yoke_process *process);
YOKE_API int yoke_process_output(const struct yoke_process *process);
YOKE_API int yoke_process_errors(const struct yoke_process *process);

/* Ends its input: the process reads end-of-file. Twice is fine. No task may be writing. */
YOKE_API void yoke_process_close_input(struct yoke_process *process);

/* Sends a signal. 0; 1: it has ended already; -EINVAL and the like. */
YOKE_API YOKE_MUST_CHECK int yoke_process_signal(struct yoke_process *process, int number);

/*
 * Waits until the process has ended, however it did. Several tasks may. 0; YOKE_CANCELLED, which
 * has no effect on the process; -ECHILD: somebody else in this program waited for it, or it ignores
 * SIGCHLD, and the status is lost. `ret_exit` may be NULL.
 */
YOKE_API YOKE_MUST_CHECK int yoke_process_wait(struct yoke_process *process,
                                               struct yoke_process_exit *ret_exit);

/*
 * Closes our ends of the pipes, waits for the end of the process, and leaves the block; `rc` is the
 * result of its body. If that is negative, or the wait is cancelled, ends the process first, as run
 * does. Returns `rc`, unless that is no failure and the process is one, as for run; a process that
 * was ended by us is none. `ret_exit` may be NULL, and is set also if the process failed.
 */
YOKE_API YOKE_MUST_CHECK int yoke_process_close(struct yoke_process *process, int rc,
                                                struct yoke_process_exit *ret_exit);

YOKE_END
#endif
