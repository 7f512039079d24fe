/* SPDX-License-Identifier: MIT */
/*
 * Subprocesses, with real ones: the shell and what every system has. Each test ends with no
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

/* Runs it with its output captured, and compares that. */
static void expect_output_at(int line, const char *const *argv,
                             const struct yoke_process_opts *opts, const char *expected)
{
    struct yoke_process_opts captured;
    struct yoke_process_result result;
    int rc;

    memset(&captured, 0, sizeof captured);
    if (opts != NULL)
        captured = *opts;
    captured.output.kind = YOKE_STDIO_CAPTURE;
    rc = yoke_process_run(argv, &captured, &result);
    yk_check_int(rc, 0);
    if (rc < 0) {
        yoke_error_print(yoke_in_flight(), stderr, 0);
        yoke_clear();
        return;
    }
    yk_check_text_at(__FILE__, line, "the output", result.output, expected);
    yk_check_int(result.output_size, strlen(expected));
    yk_check(result.errors == NULL);
    yoke_process_result_fini(&result);
}
#define expect_output(argv, opts, expected) expect_output_at(__LINE__, (argv), (opts), (expected))

YK_REAL_TEST(output_of_a_program_is_captured)
{
    expect_output(ARGV("printf", "a\\nb"), NULL, "a\nb");
    expect_output(ARGV("true"), NULL, "");
    return 0;
}

YK_REAL_TEST(a_megabyte_goes_through_a_filter_without_a_deadlock)
{
    enum { SIZE = 1 << 20 };
    char *data = malloc(SIZE);
    struct yoke_process_result result;

    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 256);
    yk_check_int(
        yoke_process_run(ARGV("cat"),
                         OPTS(.input = {.kind = YOKE_STDIO_BYTES, .data = data, .size = SIZE},
                              .output = CAPTURE),
                         &result),
        0);
    yk_check_int(result.output_size, SIZE);
    yk_check(result.output_size == SIZE && memcmp(result.output, data, SIZE) == 0);
    yoke_process_result_fini(&result);
    free(data);
    return 0;
}

YK_REAL_TEST(output_and_errors_come_apart_or_together)
{
    struct yoke_process_result result;

    yk_check_int(yoke_process_run(SH("echo out; echo err >&2"),
                                  OPTS(.output = CAPTURE, .errors = CAPTURE), &result),
                 0);
    yk_check_text(result.output, "out\n");
    yk_check_text(result.errors, "err\n");
    yoke_process_result_fini(&result);
    expect_output(SH("echo out; echo err >&2; echo out"),
                  OPTS(.errors = {.kind = YOKE_STDIO_OUTPUT}), "out\nerr\nout\n");
    expect_output(SH("echo out; echo err >&2"), OPTS(.errors = {.kind = YOKE_STDIO_NULL}), "out\n");
    return 0;
}

YK_REAL_TEST(by_default_there_is_nothing_to_read)
{
    expect_output(SH("cat; readlink /proc/self/fd/0"), NULL, "/dev/null\n");
    return 0;
}

struct collected {
    char text[256];
    size_t size;
};

static int collect(void *arg, const void *data, size_t size)
{
    struct collected *collected = arg;

    if (size > sizeof collected->text - 1 - collected->size)
        return yoke_raise("test.Full", ENOSPC, "full");
    memcpy(collected->text + collected->size, data, size);
    collected->size += size;
    collected->text[collected->size] = '\0';
    return yoke_checkpoint();
}

YK_REAL_TEST(a_sink_gets_the_output_piece_by_piece)
{
    struct collected collected = {.size = 0};
    struct yoke_process_result result;

    yk_check_int(yoke_process_run(SH("echo one; echo two"),
                                  OPTS(.output = {.kind = YOKE_STDIO_SINK,
                                                  .sink = collect,
                                                  .sink_arg = &collected}),
                                  &result),
                 0);
    yk_check_text(collected.text, "one\ntwo\n");
    yk_check(result.output == NULL);
    return 0;
}

YK_REAL_TEST(a_failing_sink_ends_the_process_and_is_the_error)
{
    struct collected collected = {.size = sizeof collected.text - 2};
    int rc = yoke_process_run(
        SH("echo much; cat /dev/zero"),
        OPTS(.output = {.kind = YOKE_STDIO_SINK, .sink = collect, .sink_arg = &collected}), NULL);

    yk_check_int(rc, -ENOSPC);
    yk_check_caught("test.Full", "full");
    return 0;
}

YK_REAL_TEST(more_than_the_bound_is_not_captured)
{
    int rc = yoke_process_run(SH("cat /dev/zero"),
                              OPTS(.output = {.kind = YOKE_STDIO_CAPTURE, .max = 1000}), NULL);

    yk_check_int(rc, -EMSGSIZE);
    yk_check_caught("yoke.Process", "sh wrote more than 1000 bytes to its standard output");
    expect_output(ARGV("printf", "12345"), OPTS(.output.max = 5), "12345");
    return 0;
}

YK_REAL_TEST(a_failing_program_is_an_error_with_the_end_of_its_errors)
{
    struct yoke_error *error;
    const char *note;
    int rc = yoke_process_run(SH("i=0; while [ $i -lt 1000 ]; do echo line $i >&2; i=$((i+1)); "
                                 "done; exit 7"),
                              OPTS(.errors = CAPTURE), NULL);

    yk_check_int(rc, YOKE_EDIED);
    error = yoke_catch();
    yk_check_text(yoke_error_type(error), "yoke.ProcessFailed");
    yk_check(strstr(yoke_error_message(error), "exited with status 7; it used ") != NULL);
    yk_check_int(yoke_error_note_count(error), 1);
    note = yoke_error_note_count(error) == 1 ? yoke_error_note(error, 0) : "";
    yk_check(strncmp(note, "its standard error ended with: ", 31) == 0);
    yk_check(strlen(note) > 800 && strlen(note) < 1000);
    yk_check(strcmp(note + strlen(note) - 9, "\nline 999") == 0);
    yoke_error_unref(error);
    rc = yoke_process_run(ARGV("false"), NULL, NULL);
    expect_error(rc, YOKE_EDIED, "yoke.ProcessFailed", "false (pid ", "exited with status 1;");
    return 0;
}

YK_REAL_TEST(death_by_a_signal_is_an_error_too)
{
    int rc = yoke_process_run(SH("kill -USR1 $$"), NULL, NULL);

    expect_error(rc, YOKE_EDIED, "yoke.ProcessFailed", "sh (pid ",
                 "was killed by signal 10 (User defined signal 1)");
    return 0;
}

YK_REAL_TEST(unchecked_the_status_is_a_plain_result)
{
    struct yoke_process_result result;

    yk_check_int(yoke_process_run(SH("echo out; exit 3"),
                                  OPTS(.output = CAPTURE, .unchecked = true), &result),
                 0);
    yk_check(WIFEXITED(result.exit.status) && WEXITSTATUS(result.exit.status) == 3);
    yk_check_text(result.output, "out\n");
    yk_check(!result.exit.ended_by_us);
    yk_check(result.exit.usage.ru_maxrss > 0);
    yoke_process_result_fini(&result);
    return 0;
}

YK_REAL_TEST(the_first_argument_need_not_be_the_executable)
{
    expect_output(ARGV("another name", "-c", "echo $0"), OPTS(.executable = "sh"),
                  "another name\n");
    expect_output(ARGV("x", "-c", "echo $0"), OPTS(.executable = "/bin/sh"), "x\n");
    return 0;
}

YK_REAL_TEST(the_environment_is_replaced_or_added_to)
{
    const char *path;
    char expected[4200];

    expect_output(ARGV("/usr/bin/env"), OPTS(.environment = ARGV("A=1", "B=2")), "A=1\nB=2\n");
    expect_output(ARGV("/usr/bin/env"),
                  OPTS(.environment = ARGV("A=1", "B=2"), .variables = ARGV("A=3", "AB=4")),
                  "B=2\nA=3\nAB=4\n");
    path = getenv("PATH");
    snprintf(expected, sizeof expected, "%s of a test\n", path);
    expect_output(SH("echo $PATH $YOKE_ADDED"), OPTS(.variables = ARGV("YOKE_ADDED=of a test")),
                  expected);
    return 0;
}

YK_REAL_TEST(a_working_directory_of_its_own)
{
    char here[4096];

    expect_output(ARGV("pwd", "-P"), OPTS(.directory = "/usr"), "/usr\n");
    yk_check(getcwd(here, sizeof here) != NULL && strcmp(here, "/usr") != 0);
    return 0;
}

/* A pipe with both ends close-on-exec. */
static void make_pipe(int fds[2])
{
    yk_check_int(pipe2(fds, O_CLOEXEC), 0);
}

YK_REAL_TEST(descriptors_are_handed_over_even_when_they_swap_places)
{
    struct yoke_process_fd fds[2];
    int first[2], second[2];
    char text[8] = "", script[96];

    make_pipe(first);
    make_pipe(second);
    fds[0] = (struct yoke_process_fd){first[1], second[1]};
    fds[1] = (struct yoke_process_fd){second[1], first[1]};
    snprintf(script, sizeof script, "printf one >/proc/self/fd/%d; printf two >/proc/self/fd/%d",
             second[1], first[1]);
    yk_check_int(yoke_process_run(SH(script), OPTS(.fds = fds, .fds_n = 2), NULL), 0);
    yk_check_int(read(first[0], text, sizeof text), 3);
    yk_check(memcmp(text, "one", 3) == 0);
    yk_check_int(read(second[0], text, sizeof text), 3);
    yk_check(memcmp(text, "two", 3) == 0);
    for (int i = 0; i < 2; i++) {
        close(first[i]);
        close(second[i]);
    }
    return 0;
}

YK_REAL_TEST(a_descriptor_of_ours_is_its_standard_stream)
{
    int fds[2];
    char text[8];

    make_pipe(fds);
    yk_check_int(yoke_process_run(SH("echo hi >&2"),
                                  OPTS(.errors = {.kind = YOKE_STDIO_FD, .fd = fds[1]}), NULL),
                 0);
    yk_check_int(read(fds[0], text, sizeof text), 3);
    close(fds[0]);
    close(fds[1]);
    return 0;
}

YK_REAL_TEST(nothing_else_is_inherited)
{
    char script[96];
    int fds[2];

    make_pipe(fds);
    snprintf(script, sizeof script, "cd /proc/self/fd; ls -d 0 1 2 %d %d 2>/dev/null", fds[0],
             fds[1]);
    expect_output(SH(script), OPTS(.unchecked = true), "0\n1\n2\n");
    close(fds[0]);
    close(fds[1]);
    return 0;
}

YK_REAL_TEST(what_can_not_be_executed_is_named_with_where_it_was_searched_for)
{
    int rc = yoke_process_run(ARGV("no-such-program"),
                              OPTS(.environment = ARGV("PATH=/usr/bin:/nowhere")), NULL);

    yk_check_int(rc, -ENOENT);
    yk_check_caught("yoke.Process", "no-such-program can't be executed: No such file or "
                                    "directory; searched in PATH: /usr/bin:/nowhere");
    rc = yoke_process_run(ARGV("/no/such/program"), NULL, NULL);
    yk_check_int(rc, -ENOENT);
    yk_check_caught("yoke.Process", "/no/such/program can't be executed: No such file or "
                                    "directory; if it is a script, its interpreter may be missing");
    rc = yoke_process_run(ARGV("/etc/passwd"), NULL, NULL);
    yk_check_int(rc, -EACCES);
    yk_check_caught("yoke.Process", "/etc/passwd can't be executed: Permission denied");
    rc = yoke_process_run(ARGV("passwd"), OPTS(.environment = ARGV("PATH=/etc:/nowhere")), NULL);
    yk_check_int(rc, -EACCES);
    yk_check_caught("yoke.Process", NULL);
    rc = yoke_process_run(ARGV("true"), OPTS(.directory = "/no/such/folder"), NULL);
    yk_check_int(rc, -ENOENT);
    yk_check_caught("yoke.Process", "true was not started: working directory /no/such/folder: No "
                                    "such file or directory");
    return 0;
}

YK_REAL_TEST(bad_arguments_are_errors)
{
    static const struct yoke_process_fd low = {0, 2};
    struct yoke_process process;

    yk_check_int(yoke_process_run((const char *[]){NULL}, NULL, NULL), -EINVAL);
    yk_check_caught("yoke.Process", "a process needs argv[0], and at most 61 descriptors");
    yk_check_int(yoke_process_run(ARGV("true"), OPTS(.output = {.kind = YOKE_STDIO_PIPE}), NULL),
                 -EINVAL);
    yk_check_caught("yoke.Process",
                    "true: standard stream 1 can't be of kind 5 in yoke_process_run");
    yk_check_int(yoke_process_run(ARGV("true"), OPTS(.input = CAPTURE), NULL), -EINVAL);
    yk_check_caught("yoke.Process", NULL);
    yk_check_int(yoke_process_run(ARGV("true"), OPTS(.errors = {.kind = YOKE_STDIO_SINK}), NULL),
                 -EINVAL);
    yk_check_caught("yoke.Process", NULL);
    yk_check_int(yoke_process_open(&process, ARGV("true"), OPTS(.output = CAPTURE)), -EINVAL);
    yk_check_caught("yoke.Process", "true: kind 7 can't be its output here");
    yk_check_int(yoke_process_open(&process, ARGV("true"), OPTS(.fds = &low, .fds_n = 1)), -EINVAL);
    yk_check_caught("yoke.Process", "true: descriptor 0 can't be given as 2: standard streams have "
                                    "options of their own");
    yk_check_int(yoke_process_close(&process, 0, NULL), 0); /* was never open */
    return 0;
}

/* --- open ------------------------------------------------------------------------------------ */

static const struct yoke_process_opts piped = {
    .input = {.kind = YOKE_STDIO_PIPE},
    .output = {.kind = YOKE_STDIO_PIPE},
    .errors = {.kind = YOKE_STDIO_PIPE},
};

static void expect_line(int fd, const char *expected)
{
    char text[64];
    size_t size = 0;

    while (size < strlen(expected)) {
        ssize_t n = yoke_read(fd, text + size, sizeof text - 1 - size);

        yk_check(n > 0);
        if (n <= 0)
            return;
        size += (size_t)n;
    }
    text[size] = '\0';
    yk_check_text(text, expected);
}

YK_REAL_TEST(a_dialog_over_pipes)
{
    struct yoke_process process;

    yk_check_int(yoke_process_open(&process,
                                   SH("while read x; do echo out $x; echo err $x >&2; done; "
                                      "echo end"),
                                   &piped),
                 0);
    for (int i = 0; i < 3; i++) {
        char line[16], out[24], err[24];

        snprintf(line, sizeof line, "%d\n", i);
        snprintf(out, sizeof out, "out %d\n", i);
        snprintf(err, sizeof err, "err %d\n", i);
        yk_check_int(yoke_write_all(yoke_process_input(&process), line, strlen(line), NULL), 0);
        expect_line(yoke_process_output(&process), out);
        expect_line(yoke_process_errors(&process), err);
    }
    yoke_process_close_input(&process);
    yk_check_int(yoke_process_input(&process), -1);
    expect_line(yoke_process_output(&process), "end\n");
    yk_check_int(yoke_process_close(&process, 0, NULL), 0);
    return 0;
}

static int wait_for(void *arg)
{
    struct yoke_process_exit exit;
    int rc = yoke_process_wait(arg, &exit);

    if (rc == 0)
        yk_check(WIFEXITED(exit.status) && WEXITSTATUS(exit.status) == 4);
    return rc;
}

YK_REAL_TEST(several_tasks_wait_and_a_cancelled_wait_has_no_effect)
{
    struct yoke_process process;
    struct yoke_process_exit exit;
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_process_open(&process, SH("read x; exit 4"), &piped), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = 1}), 0);
    rc = yoke_process_wait(&process, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check_int(yoke_process_signal(&process, 0), 0); /* it lives */
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_spawn(&nursery, wait_for, &process), 0);
    yk_check_int(yoke_checkpoint(), 0);
    yk_check_int(yoke_write_all(yoke_process_input(&process), "\n", 1, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_process_signal(&process, SIGTERM), 1); /* it has ended already */
    yk_check_int(wait_for(&process), 0);
    rc = yoke_process_close(&process, 0, &exit);
    yk_check(WIFEXITED(exit.status) && WEXITSTATUS(exit.status) == 4);
    expect_error(rc, YOKE_EDIED, "yoke.ProcessFailed", "sh (pid ", "exited with status 4");
    return 0;
}

YK_REAL_TEST(close_waits_for_the_end)
{
    struct yoke_process_opts opts = piped;
    struct yoke_process process;
    struct yoke_process_exit exit;

    opts.unchecked = true;
    yk_check_int(yoke_process_open(&process, SH("read x; exit 5"), &opts), 0);
    yk_check_int(yoke_process_close(&process, 7, &exit), 7); /* the input ends with the pipe */
    yk_check(WIFEXITED(exit.status) && WEXITSTATUS(exit.status) == 5 && !exit.ended_by_us);
    return 0;
}

YK_REAL_TEST(a_failing_body_ends_the_process_and_keeps_its_error)
{
    struct yoke_process process;
    struct yoke_process_exit exit;
    int rc;

    yk_check_int(yoke_process_open(&process, ARGV("cat"), &piped), 0);
    rc = yoke_process_close(&process, yoke_raise("test.Bad", EBADF, "bad"), &exit);
    yk_check_int(rc, -EBADF);
    yk_check_caught("test.Bad", "bad");
    yk_check(exit.ended_by_us && WIFSIGNALED(exit.status) && WTERMSIG(exit.status) == SIGTERM);
    /* An error in flight is a failure whatever the body returned. */
    yk_check_int(yoke_process_open(&process, ARGV("cat"), &piped), 0);
    (void)yoke_raise("test.Bad", EBADF, "bad");
    yk_check_int(yoke_process_close(&process, 0, NULL), -EBADF);
    yk_check_caught("test.Bad", "bad");
    return 0;
}

YK_REAL_TEST(signals_reach_it)
{
    struct yoke_process process;
    struct yoke_process_exit exit;

    yk_check_int(yoke_process_open(&process, ARGV("cat"), &piped), 0);
    yk_check(yoke_process_pid(&process) > 0);
    yk_check_int(yoke_process_signal(&process, 12345), -EINVAL);
    yoke_clear();
    yk_check_int(yoke_process_signal(&process, SIGUSR1), 0);
    yk_check_int(yoke_process_wait(&process, &exit), 0);
    yk_check(WIFSIGNALED(exit.status) && WTERMSIG(exit.status) == SIGUSR1);
    yk_check_int(yoke_process_close(&process, 0, NULL), YOKE_EDIED);
    yoke_clear();
    return 0;
}

YK_REAL_TEST(input_that_nobody_reads_is_an_error_of_write_and_none_of_run)
{
    static const char much[1 << 17];
    struct yoke_process_opts opts = piped;
    struct yoke_process process;
    size_t written;

    opts.unchecked = true;
    yk_check_int(yoke_process_open(&process, ARGV("true"), &opts), 0);
    yk_check_int(yoke_process_wait(&process, NULL), 0);
    /* A SIGPIPE would end the test itself here. */
    yk_check_int(yoke_write_all(yoke_process_input(&process), "x", 1, &written), -EPIPE);
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(written, 0);
    yoke_process_close_input(&process);
    yk_check_int(yoke_process_close(&process, 0, NULL), 0);
    yk_check_int(yoke_process_run(
                     ARGV("true"),
                     OPTS(.input = {.kind = YOKE_STDIO_BYTES, .data = much, .size = sizeof much}),
                     NULL),
                 0);
    return 0;
}

static int leave_open(void *arg)
{
    static const struct yoke_site site = {"first.c", "first_function", 11};
    static struct yoke_process process;

    (void)arg;
    return yoke_process_open_at(&site, &process, ARGV("cat"), NULL);
}

static void leaving_a_process_open_aborts_and_names_it(void **state)
{
    char text[1024];
    ssize_t n;
    int status;
    int fds[2];
    pid_t pid;

    (void)state;
    make_pipe(fds);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(fds[1], 2);
        _exit(yoke_run(leave_open, NULL, NULL) < 0);
    }
    close(fds[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    n = read(fds[0], text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, "closed before scope \"cat\", which was opened inside it"));
    assert_non_null(strstr(text, "first.c:11"));
    close(fds[0]);
}

/* --- many, and too many ---------------------------------------------------------------------- */

static int run_one(void *arg)
{
    (void)arg;
    expect_output(ARGV("echo", "hello"), NULL, "hello\n");
    return 0;
}

YK_REAL_TEST(fifty_at_once)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 50; i++)
        yk_check_int(yoke_spawn(&nursery, run_one, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    return 0;
}

/* Counts the lines of the file, so that it is known how often a program was run. */
static unsigned runs_counted(const char *path)
{
    char byte;
    unsigned n = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    while (fd >= 0 && read(fd, &byte, 1) == 1)
        n++;
    if (fd >= 0)
        close(fd);
    return n;
}

YK_REAL_TEST(without_descriptors_nothing_is_started_and_nothing_leaks)
{
    char path[64], script[128];
    unsigned failed = 0, done = 0;

    snprintf(path, sizeof path, "/tmp/yoke-subprocess-test-%d", (int)getpid());
    snprintf(script, sizeof script, "printf x >>%s", path);
    for (int room = 0; done < 2 && room < 32; room++) {
        struct yoke_process_result result;
        unsigned open_before = yk_real_descriptors();
        int rc;

        yk_real_limit_descriptors(room);
        rc = yoke_process_run(SH(script),
                              OPTS(.input = {.kind = YOKE_STDIO_BYTES, .data = "x", .size = 1},
                                   .output = CAPTURE, .errors = CAPTURE),
                              &result);
        yk_real_limit_descriptors(-1);
        yk_check_int(yk_real_descriptors(), open_before);
        yk_check(!yk_real_has_children());
        if (rc == 0) {
            yoke_process_result_fini(&result);
            done++;
        } else {
            yk_check_int(rc, -EMFILE);
            yk_check_caught("yoke.Process", NULL);
            failed++;
        }
    }
    yk_check_int(done, 2);
    yk_check(failed >= 7);
    yk_check_int(runs_counted(path), done);
    unlink(path);
    return 0;
}

YK_REAL_TEST(without_memory_it_is_an_error_and_nothing_leaks)
{
    unsigned n;
    bool done = false;

    for (n = 1; !done && n < 100; n++) {
        struct yoke_process_result result;
        bool delivered;
        int rc;

        (void)yk_memory_fail_at(n, false);
        rc = yoke_process_run(ARGV("echo", "hello"), OPTS(.output = CAPTURE), &result);
        delivered = yk_memory_fail_at(0, false) == 0;
        if (rc == 0) {
            yk_check_text(result.output, "hello\n");
            yoke_process_result_fini(&result);
            done = !delivered;
        } else {
            yk_check(delivered);
            yk_check_int(rc, -ENOMEM);
            yoke_clear();
        }
        yk_check(!yk_real_has_children());
    }
    yk_check(done && n > 4);
    return 0;
}

YK_SIM_TEST_IN_ORDER(the_simulated_world_has_no_processes)
{
    yk_check_int(yoke_process_run(ARGV("true"), NULL, NULL), -ENOSYS);
    yk_check_caught("yoke.Process", NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_of_a_program_is_captured),
        cmocka_unit_test(a_megabyte_goes_through_a_filter_without_a_deadlock),
        cmocka_unit_test(output_and_errors_come_apart_or_together),
        cmocka_unit_test(by_default_there_is_nothing_to_read),
        cmocka_unit_test(a_sink_gets_the_output_piece_by_piece),
        cmocka_unit_test(a_failing_sink_ends_the_process_and_is_the_error),
        cmocka_unit_test(more_than_the_bound_is_not_captured),
        cmocka_unit_test(a_failing_program_is_an_error_with_the_end_of_its_errors),
        cmocka_unit_test(death_by_a_signal_is_an_error_too),
        cmocka_unit_test(unchecked_the_status_is_a_plain_result),
        cmocka_unit_test(the_first_argument_need_not_be_the_executable),
        cmocka_unit_test(the_environment_is_replaced_or_added_to),
        cmocka_unit_test(a_working_directory_of_its_own),
        cmocka_unit_test(descriptors_are_handed_over_even_when_they_swap_places),
        cmocka_unit_test(a_descriptor_of_ours_is_its_standard_stream),
        cmocka_unit_test(nothing_else_is_inherited),
        cmocka_unit_test(what_can_not_be_executed_is_named_with_where_it_was_searched_for),
        cmocka_unit_test(bad_arguments_are_errors),
        cmocka_unit_test(a_dialog_over_pipes),
        cmocka_unit_test(several_tasks_wait_and_a_cancelled_wait_has_no_effect),
        cmocka_unit_test(close_waits_for_the_end),
        cmocka_unit_test(a_failing_body_ends_the_process_and_keeps_its_error),
        cmocka_unit_test(signals_reach_it),
        cmocka_unit_test(input_that_nobody_reads_is_an_error_of_write_and_none_of_run),
        cmocka_unit_test(leaving_a_process_open_aborts_and_names_it),
        cmocka_unit_test(fifty_at_once),
        cmocka_unit_test(without_descriptors_nothing_is_started_and_nothing_leaks),
        cmocka_unit_test(without_memory_it_is_an_error_and_nothing_leaks),
        cmocka_unit_test(the_simulated_world_has_no_processes),
    };

    return cmocka_run_group_tests_name("subprocess", tests, NULL, NULL);
}
