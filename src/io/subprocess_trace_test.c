/* SPDX-License-Identifier: MIT */
/*
 * Subprocesses that somebody else traces, such as a debugger. When a traced process has ended, its
 * parent is told so, but can't reap it before the tracer has, or has let it go. Skipped where
 * tracing is forbidden.
 */
#include "io/subprocess_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/subprocess.h>
#include <yoke/testing.h>

static const char attached = 'a', forbidden = 'f', ended = 'e';

/* A process that traces another one. It says how far it is; what is said to it lets it go on. */
struct tracer {
    pid_t pid;
    int from, to;
};

static void say(int fd, char what)
{
    if (write(fd, &what, 1) != 1)
        _exit(1);
}

/* The tracer itself. At the end of `in` it goes without a word to what it traces. */
static void trace(pid_t victim, int in, int out)
{
    siginfo_t info;
    char go;

    if (ptrace(PTRACE_SEIZE, victim, NULL, NULL) < 0) {
        say(out, forbidden);
        _exit(0);
    }
    say(out, attached);
    if (waitid(P_PID, (id_t)victim, &info, WEXITED | WNOWAIT) < 0)
        _exit(1);
    say(out, ended);
    if (read(in, &go, 1) == 1 && waitpid(victim, NULL, 0) != victim)
        _exit(1);
    _exit(0);
}

static void tracer_open(struct tracer *tracer, pid_t victim)
{
    int in[2], out[2];

    yk_check_int(pipe2(in, O_CLOEXEC), 0);
    yk_check_int(pipe2(out, O_CLOEXEC), 0);
    tracer->pid = fork();
    if (tracer->pid == 0) {
        close(in[1]);
        trace(victim, in[0], out[1]);
    }
    close(in[0]);
    close(out[1]);
    yk_check_int(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
    tracer->from = out[0];
    tracer->to = in[1];
}

static void tracer_close(struct tracer *tracer)
{
    int status = -1;

    if (tracer->to >= 0)
        close(tracer->to);
    close(tracer->from);
    yk_check_int(waitpid(tracer->pid, &status, 0), tracer->pid);
    yk_check_int(status, 0);
}

static char hear(const struct tracer *tracer)
{
    char what = 0;

    yk_check_int(yoke_read(tracer->from, &what, 1), 1);
    return what;
}

struct waiter {
    struct yoke_process process;
    struct yoke_process_exit exit;
    bool returned;
};

static int wait_for_it(void *arg)
{
    struct waiter *waiter = arg;
    int rc = yoke_process_wait(&waiter->process, &waiter->exit);

    waiter->returned = true;
    return rc;
}

/* Kills the victim, sees that it is not reaped as long as it is held, and has it let go. */
static int kill_while_traced(struct waiter *waiter, struct tracer *tracer, bool tracer_reaps)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, wait_for_it, waiter);
    if (rc == 0)
        rc = yoke_process_signal(&waiter->process, SIGKILL);
    yk_check_int(hear(tracer), ended);
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    yk_check(!waiter->returned);
    if (tracer_reaps)
        say(tracer->to, 'g');
    close(tracer->to); /* else it ends now, and what it traces is given back */
    tracer->to = -1;
    rc = yoke_nursery_close(&nursery, rc);
    yk_check(waiter->returned);
    yk_check(WIFSIGNALED(waiter->exit.status) && WTERMSIG(waiter->exit.status) == SIGKILL);
    return rc;
}

static bool skipped;

static int traced(bool tracer_reaps)
{
    struct waiter waiter = {.returned = false};
    struct yoke_process_opts opts = {.input = {.kind = YOKE_STDIO_PIPE}, .unchecked = true};
    struct tracer tracer;
    int rc = yoke_process_open(&waiter.process, ARGV("cat"), &opts);

    if (rc < 0)
        return rc;
    tracer_open(&tracer, yoke_process_pid(&waiter.process));
    skipped = hear(&tracer) == forbidden;
    if (!skipped)
        rc = kill_while_traced(&waiter, &tracer, tracer_reaps);
    tracer_close(&tracer);
    return yoke_process_close(&waiter.process, rc, NULL);
}

static int reaped_by_its_tracer(void *arg)
{
    (void)arg;
    return traced(true);
}

static int left_by_its_tracer(void *arg)
{
    (void)arg;
    return traced(false);
}

static void run(yoke_task_fn fn)
{
    yk_real_run(fn, NULL);
    if (skipped)
        skip();
}

static void it_is_reaped_when_its_tracer_has_seen_its_end(void **state)
{
    (void)state;
    run(reaped_by_its_tracer);
}

static void it_is_reaped_when_its_tracer_is_gone(void **state)
{
    (void)state;
    run(left_by_its_tracer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_reaped_when_its_tracer_has_seen_its_end),
        cmocka_unit_test(it_is_reaped_when_its_tracer_is_gone),
    };

    return cmocka_run_group_tests_name("traced subprocesses", tests, NULL, NULL);
}
