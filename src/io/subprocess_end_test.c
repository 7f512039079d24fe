/* SPDX-License-Identifier: MIT */
/*
 * How subprocesses end: cancelled, ignoring it, with descendants, with their parent. Victims that
 * must live until they are ended spin, or read a pipe that nobody writes. Each test ends with no
 * process, descriptor or error left (realrun.h).
 */
#include "io/subprocess_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke/event.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/subprocess.h>

#include "base/memory.h"

struct collected {
    char text[256];
    size_t size;
    struct yoke_event *seen; /* set at each piece; may be NULL */
};

static int collect(void *arg, const void *data, size_t size)
{
    struct collected *collected = arg;

    if (size > sizeof collected->text - 1 - collected->size)
        return yoke_raise("test.Full", ENOSPC, "full");
    memcpy(collected->text + collected->size, data, size);
    collected->size += size;
    collected->text[collected->size] = '\0';
    if (collected->seen != NULL)
        yoke_event_set(collected->seen);
    return yoke_checkpoint();
}

/* A pipe with both ends close-on-exec. */
static void make_pipe(int fds[2])
{
    yk_check_int(pipe2(fds, O_CLOEXEC), 0);
}

/* A victim that says "up" when it is ready to be ended. */
struct victim {
    const char *script;
    struct yoke_process_opts opts;
    struct collected output;
    struct yoke_event up;
    int rc;
};

static int run_victim(void *arg)
{
    struct victim *victim = arg;

    victim->opts.output =
        (struct yoke_stdio){.kind = YOKE_STDIO_SINK, .sink = collect, .sink_arg = &victim->output};
    victim->output.seen = &victim->up;
    victim->rc = yoke_process_run(SH(victim->script), &victim->opts, NULL);
    return victim->rc;
}

/* Runs it, cancels it when it is up, and gives how long it took from then, in ns. */
static int64_t cancel_victim(struct victim *victim)
{
    struct yoke_nursery nursery;
    int64_t began;

    yoke_event_init(&victim->up);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, run_victim, victim), 0);
    yk_check_int(yoke_event_wait(&victim->up), 0);
    began = yoke_now();
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    yk_check_int(victim->rc, YOKE_CANCELLED);
    return yoke_now() - began;
}

YK_REAL_TEST(cancellation_ends_the_process_in_order)
{
    /* "wait" returns when the trap has run; the shell's own child ends with the pipe it reads. */
    struct victim victim = {.script = "trap 'echo bye; exit 0' TERM; echo up; while :; do read x; "
                                      "done <&9 & wait",
                            .opts = {.term_timeout_ns = YOKE_S(60), .own_group = true}};
    int fds[2];
    struct yoke_process_fd ninth = {-1, 9};

    make_pipe(fds);
    ninth.fd = fds[0];
    victim.opts.fds = &ninth;
    victim.opts.fds_n = 1;
    yk_check(cancel_victim(&victim) < YOKE_S(30));
    yk_check_text(victim.output.text, "up\nbye\n"); /* what it says at its end is read */
    close(fds[0]);
    close(fds[1]);
    return 0;
}

YK_REAL_TEST(a_process_that_ignores_sigterm_is_killed)
{
    struct victim victim = {.script = "trap '' TERM; echo up; exec cat <&9",
                            .opts = {.term_timeout_ns = YOKE_MS(50)}};
    struct yoke_process_fd ninth = {-1, 9};
    int64_t took;
    int fds[2];

    make_pipe(fds);
    ninth.fd = fds[0];
    victim.opts.fds = &ninth;
    victim.opts.fds_n = 1;
    took = cancel_victim(&victim);
    yk_check(took >= YOKE_MS(50) && took < YOKE_S(30));
    victim.opts.term_timeout_ns = -1; /* at once */
    memset(&victim.output, 0, sizeof victim.output);
    yk_check(cancel_victim(&victim) < YOKE_S(30));
    close(fds[0]);
    close(fds[1]);
    return 0;
}

YK_REAL_TEST(another_signal_may_end_it)
{
    struct victim victim = {.script = "trap 'echo bye; exit 0' USR1; trap '' TERM; echo up; "
                                      "while :; do :; done",
                            .opts = {.term_signal = SIGUSR1}};

    (void)cancel_victim(&victim);
    yk_check_text(victim.output.text, "up\nbye\n");
    return 0;
}

YK_REAL_TEST(that_it_had_to_be_killed_is_noted_in_the_cancelled)
{
    struct yoke_process process;
    struct yoke_process_exit exit;
    struct yoke_scope scope;
    const char *note;
    char byte;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_process_open(&process, SH("trap '' TERM; echo; while :; do :; done"),
                                   OPTS(.output = {.kind = YOKE_STDIO_PIPE},
                                        .term_timeout_ns = YOKE_MS(1))),
                 0);
    yk_check_int(yoke_read(yoke_process_output(&process), &byte, 1), 1);
    yoke_scope_cancel(&scope, "enough");
    yk_check_int(yoke_process_close(&process, 0, &exit), YOKE_CANCELLED);
    yk_check(exit.ended_by_us && WIFSIGNALED(exit.status) && WTERMSIG(exit.status) == SIGKILL);
    yk_check_int(yoke_error_note_count(yoke_in_flight()), 1);
    note = yoke_error_note_count(yoke_in_flight()) > 0 ? yoke_error_note(yoke_in_flight(), 0) : "";
    yk_check(strstr(note, "did not end within 1 ms of signal 15, and was killed") != NULL);
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    return 0;
}

YK_REAL_TEST(a_cancelled_caller_starts_nothing)
{
    struct yoke_scope scope;
    struct stat status;
    char path[64];
    int rc;

    snprintf(path, sizeof path, "/tmp/yoke-subprocess-test-%d", (int)getpid());
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    rc = yoke_process_run(ARGV("touch", path), NULL, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(stat(path, &status) < 0 && errno == ENOENT);
    return 0;
}

/* Waits for the end of a pipe that no process of ours holds any more. */
static void expect_end_of_pipe(int fd)
{
    char byte;

    yk_check_int(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    yk_check_int(yoke_read(fd, &byte, 1), 0);
}

YK_REAL_TEST(what_is_left_of_its_own_group_ends_with_it)
{
    struct yoke_process_fd ninth = {-1, 9};
    int fds[2];

    make_pipe(fds);
    ninth.fd = fds[1];
    yk_check_int(yoke_process_run(SH("cat /dev/zero >/dev/null & exit 0"),
                                  OPTS(.own_group = true, .fds = &ninth, .fds_n = 1), NULL),
                 0);
    close(fds[1]);
    expect_end_of_pipe(fds[0]);
    close(fds[0]);
    return 0;
}

static int run_with_descendant(void *arg)
{
    /* The descendant holds the captured output, and reads descriptor 9. */
    return yoke_process_run(SH("cat <&9 & echo up"), arg, NULL);
}

YK_REAL_TEST(a_descendant_with_its_output_holds_up_only_a_call_that_is_not_cancelled)
{
    struct yoke_process_fd ninth = {-1, 9};
    struct yoke_process_opts opts = {.output = CAPTURE, .fds = &ninth, .fds_n = 1};
    struct yoke_nursery nursery;
    int fds[2];

    make_pipe(fds);
    ninth.fd = fds[0];
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, run_with_descendant, &opts), 0);
    close(fds[1]); /* not inherited: the descendant ends, and so does the call */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    close(fds[0]);

    make_pipe(fds);
    ninth.fd = fds[0];
    yk_check_int(yoke_nursery_open(&nursery,
                                   &(struct yoke_nursery_opts){.timeout_ns = YOKE_MS(300)}),
                 0);
    yk_check_int(yoke_spawn(&nursery, run_with_descendant, &opts), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0); /* though the descendant lives */
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    close(fds[0]);
    close(fds[1]);
    return 0;
}

/* In a process of its own: opens a victim that holds the pipe, says so, and is killed. */
static int open_and_hang(void *arg)
{
    struct yoke_process_fd ninth = {*(int *)arg, 9};
    struct yoke_process process;
    int rc = yoke_process_open(&process,
                               SH("trap '' TERM HUP INT; printf x >&9; "
                                  "while :; do :; done"),
                               OPTS(.fds = &ninth, .fds_n = 1));

    return yoke_process_close(&process, rc, NULL);
}

static void a_process_does_not_outlive_a_parent_that_is_killed(void **state)
{
    char byte;
    int fds[2];
    pid_t pid;

    (void)state;
    make_pipe(fds);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(yoke_run(open_and_hang, &fds[1], NULL) == 0 ? 0 : 1);
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1); /* the victim is up */
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(read(fds[0], &byte, 1), 0); /* nobody holds the pipe: the victim is gone */
    close(fds[0]);
}

YK_REAL_TEST(it_starts_with_the_default_effect_of_every_signal)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    struct yoke_process_result result;
    sigset_t blocked, mask_before;

    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigaction(SIGUSR1, &ignore, &before);
    pthread_sigmask(SIG_BLOCK, &blocked, &mask_before);
    yk_check_int(yoke_process_run(SH("kill -USR1 $$"), OPTS(.unchecked = true), &result), 0);
    yk_check(WIFSIGNALED(result.exit.status) && WTERMSIG(result.exit.status) == SIGUSR1);
    yk_check_int(yoke_process_run(SH("kill -USR2 $$"), OPTS(.unchecked = true), &result), 0);
    yk_check(WIFSIGNALED(result.exit.status) && WTERMSIG(result.exit.status) == SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask_before, NULL);
    sigaction(SIGUSR1, &before, NULL);
    return 0;
}

YK_REAL_TEST(a_lost_status_is_an_error_not_a_crash)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    int rc;

    sigaction(SIGCHLD, &ignore, &before);
    rc = yoke_process_run(ARGV("true"), OPTS(.own_group = true), NULL);
    expect_error(rc, -ECHILD, "yoke.Process", "true (pid ", "but its status is lost");
    sigaction(SIGCHLD, &before, NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancellation_ends_the_process_in_order),
        cmocka_unit_test(a_process_that_ignores_sigterm_is_killed),
        cmocka_unit_test(another_signal_may_end_it),
        cmocka_unit_test(that_it_had_to_be_killed_is_noted_in_the_cancelled),
        cmocka_unit_test(a_cancelled_caller_starts_nothing),
        cmocka_unit_test(what_is_left_of_its_own_group_ends_with_it),
        cmocka_unit_test(a_descendant_with_its_output_holds_up_only_a_call_that_is_not_cancelled),
        cmocka_unit_test(a_process_does_not_outlive_a_parent_that_is_killed),
        cmocka_unit_test(it_starts_with_the_default_effect_of_every_signal),
        cmocka_unit_test(a_lost_status_is_an_error_not_a_crash),
    };

    return cmocka_run_group_tests_name("subprocess end", tests, NULL, NULL);
}
