/* SPDX-License-Identifier: MIT */
/* Waiting for descriptors, reading and writing: real pipes, sockets and files. */
#include "../tests/support/realrun.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/memory.h"

struct ends { /* a pipe: read from a, write to b; or a pair of sockets */
    int a, b;
};

static struct ends open_pipe(void)
{
    int fds[2] = {-1, -1};

    yk_check_int(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    return (struct ends){fds[0], fds[1]};
}

static struct ends open_sockets(void)
{
    int fds[2] = {-1, -1};

    yk_check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    return (struct ends){fds[0], fds[1]};
}

static void close_ends(struct ends ends)
{
    close(ends.a);
    close(ends.b);
}

static void put(int fd)
{
    yk_check_int(write(fd, "x", 1), 1);
}

/* Writes until no more goes in; how much that was. */
static size_t fill(int fd)
{
    static const char zeros[4096];
    size_t all = 0;
    ssize_t n;

    while ((n = write(fd, zeros, sizeof zeros)) > 0)
        all += (size_t)n;
    return all;
}

/* Reads all that is there. */
static size_t drain(int fd)
{
    char bytes[4096];
    size_t all = 0;
    ssize_t n;

    while ((n = read(fd, bytes, sizeof bytes)) > 0)
        all += (size_t)n;
    return all;
}

static int wait_readable(void *arg)
{
    return yoke_wait_readable(*(int *)arg);
}

static int wait_writable(void *arg)
{
    return yoke_wait_writable(*(int *)arg);
}

YK_REAL_TEST(a_wait_ends_when_the_descriptor_is_ready)
{
    struct ends ends = open_sockets();
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    yk_check(fill(ends.b) > 0);
    yk_check_int(yoke_spawn(&nursery, wait_readable, &ends.b), 0);
    yk_check_int(yoke_spawn(&nursery, wait_writable, &ends.b), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    put(ends.a);
    yk_check(drain(ends.a) > 0);
    rc = yoke_nursery_close(&nursery, rc);
    close_ends(ends);
    return rc;
}

YK_REAL_TEST(all_who_wait_for_one_descriptor_are_told)
{
    struct ends ends = open_pipe();
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_spawn(&nursery, wait_readable, &ends.a), 0);
    yk_check_int(yk_cancelled_when_blocked(wait_readable, &ends.a), YOKE_CANCELLED);
    put(ends.b);
    rc = yoke_nursery_close(&nursery, rc);
    close_ends(ends);
    return rc;
}

YK_REAL_TEST(a_cancelled_wait_leaves_nothing_behind)
{
    struct ends ends = open_pipe();
    struct ends other;

    yk_check_int(yk_cancelled_when_blocked(wait_readable, &ends.a), YOKE_CANCELLED);
    close_ends(ends);
    other = open_pipe();
    yk_check_int(other.a, ends.a); /* the number is another pipe's now */
    yk_check_int(yk_cancelled_when_blocked(wait_readable, &other.a), YOKE_CANCELLED);
    put(other.b);
    yk_check_int(yoke_wait_readable(other.a), 0);
    close_ends(other);
    return 0;
}

static int read_one(void *arg)
{
    char byte;
    ssize_t n = yoke_read(*(int *)arg, &byte, 1);

    return n < 0 ? (int)n : n == 1 ? 0 : -EIO;
}

/* Closing what is waited for is misuse, which must not harm who uses the number next. */
YK_REAL_TEST(a_number_that_is_reused_during_a_wait_is_told_of_its_new_file)
{
    struct ends old = open_pipe(), other = open_pipe();
    struct yoke_nursery stuck, nursery;
    int rc = yoke_nursery_open(&stuck, NULL);

    yk_check_int(yoke_spawn(&stuck, wait_readable, &old.a), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(close(old.a), 0);
    yk_check_int(dup3(other.a, old.a, O_CLOEXEC), old.a);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, read_one, &old.a), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    put(other.b);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_scope_cancel(yoke_nursery_scope(&stuck), "its file is gone");
    rc = yoke_nursery_close(&stuck, rc);
    close_ends(old);
    close_ends(other);
    return rc;
}

YK_REAL_TEST(what_is_ready_already_does_not_block)
{
    struct ends ends = open_pipe();
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    yk_check_int(yoke_wait_writable(ends.b), 0);
    put(ends.b);
    yk_check_int(yoke_wait_readable(ends.a), 0);
    yk_check_int(yoke_wait_readable(file), 0); /* a regular file always is */
    yk_check_int(yoke_wait_writable(file), 0);
    close(ends.b);
    yk_check_int(drain(ends.a), 1);
    yk_check_int(yoke_wait_readable(ends.a), 0); /* the end is to be told */
    close(ends.a);
    close(file);
    return 0;
}

YK_REAL_TEST(what_is_no_descriptor_is_an_error)
{
    struct ends ends = open_pipe();

    close_ends(ends);
    yk_check_int(yoke_wait_readable(ends.a), -EBADF);
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(yoke_wait_writable(-1), -EBADF);
    yk_check_caught("yoke.Io", "yoke_wait_writable on descriptor -1: Bad file descriptor");
    yk_check_int(yoke_wait_readable(INT_MAX), -EBADF); /* and no table of that size */
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(yoke_read(ends.a, &ends, 1), -EBADF);
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(yoke_write_all(ends.a, "x", 1, NULL), -EBADF);
    yk_check_caught("yoke.Io", NULL);
    return 0;
}

YK_REAL_TEST(without_memory_a_wait_fails_and_the_next_one_does_not)
{
    struct ends ends = open_pipe();

    /* The table, its entries, and, since the table is there by then, the entry. */
    for (int i = 0; i < 3; i++) {
        yk_memory_fail_at(i == 0 ? 1 : 2, false);
        yk_check_int(yoke_wait_readable(ends.a), -ENOMEM);
        yk_check_int(yk_memory_fail_at(0, false), 0);
        yk_check_caught("yoke.Io", NULL);
    }
    yk_check_int(yk_cancelled_when_blocked(wait_readable, &ends.a), YOKE_CANCELLED);
    close_ends(ends);
    return 0;
}

YK_REAL_TEST(high_numbers_are_waited_for)
{
    struct ends ends = open_pipe();
    struct rlimit limit;
    int high;

    yk_check_int(getrlimit(RLIMIT_NOFILE, &limit), 0);
    high = fcntl(ends.a, F_DUPFD_CLOEXEC, (int)limit.rlim_cur - 1);
    yk_check(high >= 0);
    yk_check_int(yk_cancelled_when_blocked(wait_readable, &high), YOKE_CANCELLED);
    put(ends.b);
    yk_check_int(yoke_wait_readable(high), 0);
    close(high);
    close_ends(ends);
    return 0;
}

static int count_turns(void *arg)
{
    int rc = 0;

    for (*(int *)arg = 0; rc == 0; ++*(int *)arg)
        rc = yoke_checkpoint();
    return rc;
}

YK_REAL_TEST(a_loop_of_calls_that_are_done_at_once_lets_others_run)
{
    struct ends ends = open_pipe();
    struct yoke_nursery nursery;
    int turns = 0;
    int rc = yoke_nursery_open(&nursery, NULL);

    yk_check_int(yoke_spawn(&nursery, count_turns, &turns), 0);
    put(ends.b);
    for (int i = 0; i < 1000; i++)
        yk_check_int(yoke_wait_readable(ends.a), 0);
    yk_check(turns > 5);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    rc = yoke_nursery_close(&nursery, rc);
    close_ends(ends);
    return rc;
}

YK_REAL_TEST(reading_gives_what_there_is_and_then_the_end)
{
    struct ends ends = open_pipe();
    char bytes[8];

    yk_check_int(write(ends.b, "abc", 3), 3);
    yk_check_int(yoke_read(ends.a, bytes, sizeof bytes), 3);
    yk_check_int(memcmp(bytes, "abc", 3), 0);
    close(ends.b);
    yk_check_int(yoke_read(ends.a, bytes, sizeof bytes), 0);
    yk_check_int(yoke_read(ends.a, bytes, sizeof bytes), 0);
    close(ends.a);
    return 0;
}

YK_REAL_TEST(a_cancelled_read_has_taken_nothing)
{
    struct ends ends = open_pipe();
    struct yoke_scope scope;
    char byte;

    yk_check_int(yk_cancelled_when_blocked(read_one, &ends.a), YOKE_CANCELLED);
    put(ends.b);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_read(ends.a, &byte, 1), YOKE_CANCELLED); /* though it is there */
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check_int(yoke_read(ends.a, &byte, 1), 1);
    close_ends(ends);
    return 0;
}

YK_REAL_TEST(what_cannot_be_read_is_an_error)
{
    int directory = open("/", O_RDONLY | O_CLOEXEC);
    char byte;

    yk_check_int(yoke_read(directory, &byte, 1), -EISDIR);
    yk_check_caught("yoke.Io", NULL);
    close(directory);
    return 0;
}

struct writing {
    struct ends ends;
    size_t size, written;
};

static int write_much(void *arg)
{
    static char much[4 << 20];
    struct writing *writing = arg;

    return yoke_write_all(writing->ends.b, much, writing->size, &writing->written);
}

static void check_cancelled_write(struct ends ends)
{
    struct writing writing = {.ends = ends, .size = 4 << 20, .written = 99};

    yk_check_int(yk_cancelled_when_blocked(write_much, &writing), YOKE_CANCELLED);
    yk_check(writing.written > 0 && writing.written < writing.size);
    yk_check_int(drain(ends.a), writing.written);
    close_ends(ends);
}

YK_REAL_TEST(a_cancelled_write_says_how_much_went_out)
{
    check_cancelled_write(open_pipe());
    check_cancelled_write(open_sockets());
    return 0;
}

static int read_much(void *arg)
{
    struct writing *writing = arg;
    static char bytes[10000];
    size_t all = 0;

    while (all < writing->size) {
        ssize_t n = yoke_read(writing->ends.a, bytes, sizeof bytes);

        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        all += (size_t)n;
    }
    return 0;
}

YK_REAL_TEST(a_large_write_goes_out_whole_to_a_slow_reader)
{
    struct writing writing = {.ends = open_pipe(), .size = 4 << 20};
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    yk_check_int(yoke_spawn(&nursery, read_much, &writing), 0);
    yk_check_int(write_much(&writing), 0);
    yk_check_int(writing.written, writing.size);
    rc = yoke_nursery_close(&nursery, rc);
    close_ends(writing.ends);
    return rc;
}

static void check_broken(struct ends ends)
{
    size_t written = 99;

    close(ends.a);
    yk_check_int(yoke_write_all(ends.b, "x", 1, &written), -EPIPE);
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(written, 0);
    close(ends.b);
}

/* SIGPIPE has its default effect here: it would end the test. */
YK_REAL_TEST(a_reader_that_has_left_is_an_error_and_no_signal)
{
    sigset_t pending;

    check_broken(open_pipe());
    check_broken(open_sockets());
    yk_check_int(sigpending(&pending), 0);
    yk_check_int(sigismember(&pending, SIGPIPE), 0);
    return 0;
}

YK_REAL_TEST(a_sigpipe_that_was_pending_before_stays_so)
{
    static const struct timespec at_once;
    sigset_t pipe_signal, before, pending;

    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    raise(SIGPIPE);
    check_broken(open_pipe());
    yk_check_int(sigpending(&pending), 0);
    yk_check_int(sigismember(&pending, SIGPIPE), 1);
    yk_check_int(sigtimedwait(&pipe_signal, NULL, &at_once), SIGPIPE);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return 0;
}

YK_REAL_TEST(writing_nothing_is_done_at_once)
{
    size_t written = 99;

    yk_check_int(yoke_write_all(-1, "", 0, &written), 0);
    yk_check_int(written, 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wait_ends_when_the_descriptor_is_ready),
        cmocka_unit_test(all_who_wait_for_one_descriptor_are_told),
        cmocka_unit_test(a_cancelled_wait_leaves_nothing_behind),
        cmocka_unit_test(a_number_that_is_reused_during_a_wait_is_told_of_its_new_file),
        cmocka_unit_test(what_is_ready_already_does_not_block),
        cmocka_unit_test(what_is_no_descriptor_is_an_error),
        cmocka_unit_test(without_memory_a_wait_fails_and_the_next_one_does_not),
        cmocka_unit_test(high_numbers_are_waited_for),
        cmocka_unit_test(a_loop_of_calls_that_are_done_at_once_lets_others_run),
        cmocka_unit_test(reading_gives_what_there_is_and_then_the_end),
        cmocka_unit_test(a_cancelled_read_has_taken_nothing),
        cmocka_unit_test(what_cannot_be_read_is_an_error),
        cmocka_unit_test(a_cancelled_write_says_how_much_went_out),
        cmocka_unit_test(a_large_write_goes_out_whole_to_a_slow_reader),
        cmocka_unit_test(a_reader_that_has_left_is_an_error_and_no_signal),
        cmocka_unit_test(a_sigpipe_that_was_pending_before_stays_so),
        cmocka_unit_test(writing_nothing_is_done_at_once),
    };

    return cmocka_run_group_tests_name("descriptors", tests, NULL, NULL);
}
