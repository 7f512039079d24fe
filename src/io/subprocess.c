/* SPDX-License-Identifier: MIT */
/*
 * A process from open to close. Its pidfd is watched by the poller: when it says that the process
 * has ended, what is left of its group is killed, and the process is reaped, at once and on the
 * scheduler's stack; so no zombie lasts, and no signal is sent to a number that was given away.
 *
 * The block is a scope, which nobody cancels: it makes a task that leaves without closing abort
 * with both sites named, as for any scope.
 */
#include "io/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/ladder.h"

/* What the child gets, and what of it is to be closed here afterwards. */
struct stdio_plan {
    struct yk_spawn_fd fds[YK_SPAWN_FDS_MAX];
    size_t fds_n;
    int child_ends[YK_STDIO_N]; /* -1: none of ours */
};

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void end_of_process(struct yk_subprocess *self)
{
    struct yoke_host *host = self->runtime->host;
    struct yk_exit exit;
    int rc;

    if (self->process.own_group)
        (void)host->ops->kill(host, &self->process, SIGKILL); /* ESRCH: nobody is left */
    rc = host->ops->reap(host, &self->process, &exit);
    if (rc == 0)
        return; /* it lives after all */
    self->ended = rc;
    if (rc > 0) {
        self->exit.status = exit.status;
        self->exit.usage = exit.usage;
    }
    host->ops->watch_remove(host, &self->watch);
    close_end(&self->process.pidfd);
    yoke_event_set(&self->over);
}

static void pidfd_ready(struct yk_watch *watch, unsigned events)
{
    if (events & YK_READABLE)
        end_of_process(yk_container_of(watch, struct yk_subprocess, watch));
}

static void add_fd(struct stdio_plan *plan, int fd, int as)
{
    yk_assert(plan->fds_n < YK_SPAWN_FDS_MAX);
    plan->fds[plan->fds_n++] = (struct yk_spawn_fd){fd, as};
}

/* Our end is non-blocking; that of the process is as programs expect it. */
static int make_pipe(struct yk_subprocess *self, struct stdio_plan *plan, int as)
{
    int ours = as == YK_STDIN ? 1 : 0;
    int fds[2];

    if (YK_FALLIBLE(EMFILE, pipe2(fds, O_CLOEXEC)) < 0)
        return -errno;
    self->pipes[as] = fds[ours];
    plan->child_ends[as] = fds[1 - ours];
    add_fd(plan, plan->child_ends[as], as);
    return YK_FALLIBLE(EPERM, fcntl(fds[ours], F_SETFL, O_NONBLOCK)) < 0 ? -errno : 0;
}

static int make_null(struct stdio_plan *plan, int as)
{
    int fd =
        YK_FALLIBLE(EMFILE, open("/dev/null", (as == YK_STDIN ? O_RDONLY : O_WRONLY) | O_CLOEXEC));

    if (fd < 0)
        return -errno;
    plan->child_ends[as] = fd;
    add_fd(plan, fd, as);
    return 0;
}

static int make_stream(struct yk_subprocess *self, struct stdio_plan *plan,
                       const struct yoke_stdio *stream, int as)
{
    switch (stream->kind) {
    case YOKE_STDIO_DEFAULT:
        return as == YK_STDIN ? make_null(plan, as) : 0;
    case YOKE_STDIO_INHERIT:
        return 0;
    case YOKE_STDIO_NULL:
        return make_null(plan, as);
    case YOKE_STDIO_FD:
        add_fd(plan, stream->fd, as);
        return 0;
    case YOKE_STDIO_PIPE:
        return make_pipe(self, plan, as);
    case YOKE_STDIO_OUTPUT:
        if (as != YK_STDERR)
            return -EINVAL;
        /* Ours, unless the process gets another. */
        for (size_t i = 0; i < plan->fds_n; i++)
            if (plan->fds[i].as == YK_STDOUT) {
                add_fd(plan, plan->fds[i].fd, as);
                return 0;
            }
        add_fd(plan, YK_STDOUT, as);
        return 0;
    default:
        return -EINVAL;
    }
}

static int make_streams(struct yk_subprocess *self, struct stdio_plan *plan,
                        const struct yoke_process_opts *opts)
{
    const struct yoke_stdio *streams[YK_STDIO_N] = {&opts->input, &opts->output, &opts->errors};
    static const char *const names[YK_STDIO_N] = {"input", "output", "errors"};

    for (int as = 0; as < YK_STDIO_N; as++) {
        int rc = make_stream(self, plan, streams[as], as);

        if (rc == -EINVAL)
            return yoke_raise("yoke.Process", EINVAL, "%s: kind %d can't be its %s here",
                              self->name, (int)streams[as]->kind, names[as]);
        if (rc < 0)
            return yoke_raise("yoke.Process", rc, "%s: its %s can't be made: %s", self->name,
                              names[as], strerror(-rc));
    }
    for (size_t i = 0; i < opts->fds_n; i++) {
        if (opts->fds[i].as < YK_STDIO_N)
            return yoke_raise("yoke.Process", EINVAL,
                              "%s: descriptor %d can't be given as %d: standard streams have "
                              "options of their own",
                              self->name, opts->fds[i].fd, opts->fds[i].as);
        add_fd(plan, opts->fds[i].fd, opts->fds[i].as);
    }
    return 0;
}

static struct yk_ladder ladder_of(struct yk_subprocess *self)
{
    return (struct yk_ladder){self->runtime->host, &self->process, &self->over};
}

static int watch_process(struct yk_subprocess *self)
{
    struct yk_ladder ladder = ladder_of(self);
    int rc;

    self->watch.ready = pidfd_ready;
    rc = yk_ladder_watch(&ladder, &self->watch);
    return rc == 0 ? 0
                   : yoke_raise("yoke.Process", rc, "%s can't be watched: %s", self->name,
                                strerror(-rc));
}

static struct yk_subprocess *subprocess_new(const char *name, const struct yoke_process_opts *opts)
{
    struct yk_subprocess *self = yk_calloc(1, sizeof *self);

    if (self == NULL)
        return NULL;
    self->runtime = yk_runtime_current;
    self->process.pidfd = -1;
    yoke_event_init(&self->over);
    for (int i = 0; i < YK_STDIO_N; i++)
        self->pipes[i] = -1;
    self->unchecked = opts->unchecked;
    self->term_signal = opts->term_signal != 0 ? opts->term_signal : SIGTERM;
    self->term_ns = opts->term_timeout_ns != 0 ? opts->term_timeout_ns : YK_PROCESS_TERM_NS;
    YK_TEXT_COPY(self->name, name);
    return self;
}

static void subprocess_free(struct yk_subprocess *self)
{
    yk_assert(yoke_event_waiting(&self->over) == 0);
    for (int i = 0; i < YK_STDIO_N; i++)
        close_end(&self->pipes[i]);
    free(self);
}

static int start(struct yk_subprocess *self, const char *const *argv,
                 const struct yoke_process_opts *opts)
{
    struct stdio_plan plan = {.fds_n = 0, .child_ends = {-1, -1, -1}};
    int rc = make_streams(self, &plan, opts);

    if (rc == 0)
        rc = yk_program_spawn(argv, opts, plan.fds, plan.fds_n, &self->process);
    for (int i = 0; i < YK_STDIO_N; i++)
        close_end(&plan.child_ends[i]);
    return rc < 0 ? rc : watch_process(self);
}

int yoke_process_open_at(const struct yoke_site *site, struct yoke_process *process,
                         const char *const *argv, const struct yoke_process_opts *opts)
{
    static const struct yoke_process_opts defaults;
    struct yk_task *task = yk_task_self("yoke_process_open");
    struct yk_subprocess *self;
    int rc;

    if (opts == NULL)
        opts = &defaults;
    process->state = NULL;
    rc = yk_check_cancelled(task);
    if (rc < 0)
        return rc;
    if (argv == NULL || argv[0] == NULL || opts->fds_n > YK_SPAWN_FDS_MAX - YK_STDIO_N)
        return yoke_raise_at(site, NULL, "yoke.Process", EINVAL,
                             "a process needs argv[0], and at most %d descriptors",
                             YK_SPAWN_FDS_MAX - YK_STDIO_N);
    self = subprocess_new(argv[0], opts);
    if (self == NULL)
        return yoke_raise_at(site, NULL, "yoke.Process", ENOMEM, "no memory for process %s",
                             argv[0]);
    rc = start(self, argv, opts);
    if (rc < 0) {
        subprocess_free(self);
        return rc;
    }
    yk_scope_enter(&process->scope, task, self->name, site, false);
    process->state = self;
    return 0;
}

static const struct yk_subprocess *state_of(const struct yoke_process *process, const char *call)
{
    if (process->state == NULL)
        yk_misuse(NULL, NULL, NULL, "%s on a process that is not open", call);
    return process->state;
}

pid_t yoke_process_pid(const struct yoke_process *process)
{
    return state_of(process, "yoke_process_pid")->process.pid;
}

int yoke_process_input(const struct yoke_process *process)
{
    return state_of(process, "yoke_process_input")->pipes[YK_STDIN];
}

int yoke_process_output(const struct yoke_process *process)
{
    return state_of(process, "yoke_process_output")->pipes[YK_STDOUT];
}

int yoke_process_errors(const struct yoke_process *process)
{
    return state_of(process, "yoke_process_errors")->pipes[YK_STDERR];
}

void yoke_process_close_input(struct yoke_process *process)
{
    (void)state_of(process, "yoke_process_close_input");
    close_end(&process->state->pipes[YK_STDIN]);
}

int yoke_process_signal(struct yoke_process *process, int number)
{
    const struct yk_subprocess *self = state_of(process, "yoke_process_signal");
    int rc;

    if (self->ended != 0)
        return 1;
    rc = self->runtime->host->ops->kill(self->runtime->host, &self->process, number);
    if (rc == -ESRCH)
        return 1;
    if (rc < 0)
        return yoke_raise("yoke.Process", rc, "signal %d to %s (pid %d): %s", number, self->name,
                          (int)self->process.pid, strerror(-rc));
    return 0;
}

/* Waits for the end. 0 or YOKE_CANCELLED. */
static int wait_end(struct yk_subprocess *self)
{
    int rc;

    if (yoke_event_is_set(&self->over))
        return yoke_event_wait(&self->over);
    rc = yk_check_cancelled(yk_runtime_current->current);
    if (rc < 0)
        return rc;
    self->runtime->io_waits++;
    rc = yk_wait_in(&self->over.waiters, "end of a process", NULL);
    self->runtime->io_waits--;
    return rc;
}

static int raise_lost(const struct yk_subprocess *self)
{
    return yoke_raise("yoke.Process", self->ended,
                      "%s (pid %d) has ended, but its status is lost: this program ignores "
                      "SIGCHLD, or waited for it elsewhere",
                      self->name, (int)self->process.pid);
}

int yoke_process_wait(struct yoke_process *process, struct yoke_process_exit *ret_exit)
{
    struct yk_subprocess *self = process->state;
    int rc;

    yk_task_self("yoke_process_wait");
    (void)state_of(process, "yoke_process_wait");
    rc = wait_end(self);
    if (rc < 0)
        return rc;
    if (self->ended < 0)
        return raise_lost(self);
    if (ret_exit != NULL)
        *ret_exit = self->exit;
    return 0;
}

void yk_subprocess_end(struct yk_subprocess *self)
{
    struct yk_ladder ladder = ladder_of(self);
    struct yoke_hold hold;
    int last;

    if (self->ended != 0)
        return;
    yoke_hold(&hold);
    self->exit.ended_by_us = true;
    last = yk_ladder_climb(&ladder, self->term_signal, self->term_ns);
    yk_assert(self->ended != 0);
    (void)yoke_release(&hold);
    if (last == SIGKILL && self->term_ns > 0)
        yoke_note("%s (pid %d) did not end within %lld ms of signal %d, and was killed", self->name,
                  (int)self->process.pid, (long long)(self->term_ns / 1000000), self->term_signal);
}

static int raise_failed(const struct yk_subprocess *self, const char *tail)
{
    const struct rusage *usage = &self->exit.usage;
    int status = self->exit.status;
    char how[96];
    int rc;

    rc = yoke_raise("yoke.ProcessFailed", YOKE_EDIED,
                    "%s (pid %d) %s%s; it used %ld.%03ld s of processor time, %ld KiB of memory",
                    self->name, (int)self->process.pid, WIFSIGNALED(status) ? "was " : "",
                    yk_ladder_describe(status, how, sizeof how),
                    (long)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec),
                    (long)((usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1000 % 1000),
                    usage->ru_maxrss);
    if (tail[0] != '\0')
        yoke_note("its standard error ended with: %s", tail);
    return rc;
}

static bool failed(const struct yk_subprocess *self)
{
    return !self->unchecked && !self->exit.ended_by_us &&
           !(WIFEXITED(self->exit.status) && WEXITSTATUS(self->exit.status) == 0);
}

int yk_subprocess_close(struct yoke_process *process, int rc, const char *tail,
                        struct yoke_process_exit *ret_exit)
{
    struct yk_task *task = yk_task_self("yoke_process_close");
    struct yk_subprocess *self = process->state;
    struct yoke_error *failure;

    if (self == NULL)
        return rc; /* it was not opened */
    yk_scope_check_innermost(&process->scope, task, NULL);
    failure = yk_body_failure(task, process->scope.flight_at_open, rc, process->scope.site);
    if (failure != NULL)
        rc = yk_flight_raise(&task->locus, failure);
    if (rc < 0)
        yk_subprocess_end(self);
    for (int i = 0; i < YK_STDIO_N; i++)
        close_end(&self->pipes[i]);
    if (self->ended == 0) {
        int wait_rc = wait_end(self);

        if (wait_rc < 0)
            rc = wait_rc;
        yk_subprocess_end(self);
    }
    /* The scope only keeps the order: nothing is absorbed, so leaving it is all there is to do. */
    yk_scope_leave(&process->scope);
    process->state = NULL;
    if (rc >= 0 && self->ended < 0)
        rc = raise_lost(self);
    else if (rc >= 0 && failed(self))
        rc = raise_failed(self, tail);
    if (ret_exit != NULL)
        *ret_exit = self->exit;
    subprocess_free(self);
    return rc;
}

int yoke_process_close(struct yoke_process *process, int rc, struct yoke_process_exit *ret_exit)
{
    return yk_subprocess_close(process, rc, "", ret_exit);
}
