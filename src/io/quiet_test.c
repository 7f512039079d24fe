/* SPDX-License-Identifier: MIT */
/* Writes that must not raise SIGPIPE, on this kernel and as on one that can't be told so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/quiet.h"

/* Two ends of a pipe, or of a socket pair: [1] is the one to write to. */
static void make(int *fds, bool sockets)
{
    if (sockets)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    else
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
}

static void writes_arrive(void)
{
    for (int sockets = 0; sockets < 2; sockets++)
        for (int i = 0; i < 3; i++) {
            char text[8];
            int fds[2];

            make(fds, sockets);
            assert_int_equal(yk_write_quietly(fds[1], "hello", 5), 5);
            assert_int_equal(read(fds[0], text, sizeof text), 5);
            close(fds[0]);
            close(fds[1]);
        }
}

/* SIGPIPE has its default effect here: it would end the test. */
static void a_reader_that_left_is_an_error(void)
{
    for (int sockets = 0; sockets < 2; sockets++) {
        sigset_t pending;
        int fds[2];

        make(fds, sockets);
        close(fds[0]);
        assert_int_equal(yk_write_quietly(fds[1], "hello", 5), -EPIPE);
        sigpending(&pending);
        assert_int_equal(sigismember(&pending, SIGPIPE), 0);
        close(fds[1]);
    }
}

static void a_signal_that_was_pending_stays_so(void)
{
    const struct timespec at_once = {0, 0};
    sigset_t pipe_only, before;
    int fds[2];

    make(fds, false);
    close(fds[0]);
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    raise(SIGPIPE);
    assert_int_equal(yk_write_quietly(fds[1], "hello", 5), -EPIPE);
    assert_int_equal(sigtimedwait(&pipe_only, NULL, &at_once), SIGPIPE);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    close(fds[1]);
}

/* Nor is it an error of the ones behind it: an eventfd takes no flags, whatever the kernel knows.
 */
static void what_takes_no_flags_is_written_to(void)
{
    uint64_t one = 1, read_back = 0;
    int fd = eventfd(0, EFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(yk_write_quietly(fd, &one, sizeof one), sizeof one);
    assert_int_equal(read(fd, &read_back, sizeof read_back), sizeof read_back);
    assert_int_equal(read_back, 1);
    close(fd);
    assert_int_equal(yk_write_quietly(fd, &one, sizeof one), -EBADF);
}

#define BOTH_WAYS(law, check)                                                                      \
    static void law(void **state)                                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        yk_write_quietly_untold(false);                                                            \
        check();                                                                                   \
        yk_write_quietly_untold(true);                                                             \
        check();                                                                                   \
        yk_write_quietly_untold(false);                                                            \
    }

BOTH_WAYS(what_is_written_arrives, writes_arrive)
BOTH_WAYS(who_left_is_an_error_and_no_signal, a_reader_that_left_is_an_error)
BOTH_WAYS(a_pending_signal_is_left_alone, a_signal_that_was_pending_stays_so)
BOTH_WAYS(a_descriptor_may_take_no_flags, what_takes_no_flags_is_written_to)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_arrives),
        cmocka_unit_test(who_left_is_an_error_and_no_signal),
        cmocka_unit_test(a_pending_signal_is_left_alone),
        cmocka_unit_test(a_descriptor_may_take_no_flags),
    };

    return cmocka_run_group_tests_name("quiet writes", tests, NULL, NULL);
}
