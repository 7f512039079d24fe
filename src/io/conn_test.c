/* SPDX-License-Identifier: MIT */
/* Conns with descriptors: Unix sockets and pipes, what ends and breaks them, what they pass on. */
#include "io/test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <yoke/net.h>
#include <yoke/pipe.h>

struct user {
    struct yoke_conn *conn;
    char *room;
    size_t size;
    size_t done;
    ssize_t rc;
};

static int read_once(void *arg)
{
    struct user *user = arg;

    user->rc = yoke_conn_read(user->conn, user->room, user->size);
    if (user->rc < 0 && user->rc != YOKE_CANCELLED)
        yoke_clear();
    return user->rc == YOKE_CANCELLED ? YOKE_CANCELLED : 0;
}

static int write_once(void *arg)
{
    struct user *user = arg;
    int rc = yoke_conn_write_all(user->conn, user->room, user->size, &user->done);

    user->rc = rc;
    if (rc < 0 && rc != YOKE_CANCELLED)
        yoke_clear();
    return rc == YOKE_CANCELLED ? rc : 0;
}

YK_REAL_TEST(a_socket_pair_carries_bytes_both_ways_and_half_closes)
{
    struct yoke_conn *a, *b;
    char room[64];

    yk_check_int(yoke_socket_pair(&a, &b), 0);
    yk_check_int(yoke_conn_write_all(a, "ping", 4, NULL), 0);
    yk_check_int(yoke_conn_read(b, room, sizeof room), 4);
    yk_check_int(yoke_conn_close_write(a), 0);
    yk_check_int(yoke_conn_close_write(a), 0);
    yk_check_int(yoke_conn_read(b, room, sizeof room), 0);
    yk_check_int(yoke_conn_write_all(b, "pong!", 5, NULL), 0);
    yk_check_int(yoke_conn_read_exactly(a, room, 5, NULL), 1);
    yk_check_int(yoke_conn_write_all(a, "x", 1, NULL), -EPIPE);
    yk_check_caught("yoke.Io", NULL);
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    return 0;
}

/* Reads until the end or `size` bytes, one read after another. */
static int read_on(void *arg)
{
    struct user *user = arg;

    while (user->done < user->size &&
           (user->rc = yoke_conn_read(user->conn, user->room + user->done, user->size)) > 0)
        user->done += (size_t)user->rc;
    return user->rc < 0 ? (int)user->rc : 0;
}

/*
 * The end arrives together with the bytes before it, while a reader waits: one event tells of both,
 * and the short read that follows it must not be taken as all there is.
 */
YK_REAL_TEST(an_end_that_came_with_the_last_bytes_is_read_after_them)
{
    struct yoke_nursery nursery;
    char room[256];
    struct user reader = {.room = room, .size = 64, .rc = 99};
    struct yoke_conn *a;

    yk_check_int(yoke_socket_pair(&a, &reader.conn), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, read_on, &reader), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_conn_write_all(a, "last", 4, NULL), 0);
    yoke_conn_close(a);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(reader.done, 4);
    yk_check_int(reader.rc, 0);
    yoke_conn_unref(a);
    yoke_conn_unref(reader.conn);
    return 0;
}

YK_REAL_TEST(a_short_read_before_passed_descriptors_does_not_hide_what_follows)
{
    struct yoke_nursery nursery;
    char room[256];
    struct user reader = {.room = room, .size = 64, .rc = 99};
    struct yoke_conn *a;
    int zero = 0;

    yk_check_int(yoke_socket_pair(&a, &reader.conn), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, read_on, &reader), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_conn_send_fds(a, "x", 1, &zero, 1, NULL), 0); /* the kernel cuts here */
    yk_check_int(yoke_conn_write_all(a, "yz", 2, NULL), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(reader.done, 3);
    yoke_conn_close(a);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_conn_unref(a);
    yoke_conn_unref(reader.conn);
    return 0;
}

struct closer {
    struct yoke_conn *told;
    struct yoke_conn *victim;
};

static int close_when_told(void *arg)
{
    struct closer *closer = arg;
    char room[8];
    ssize_t n = yoke_conn_read(closer->told, room, sizeof room);

    yoke_conn_close(closer->victim);
    return n < 0 ? (int)n : 0;
}

/* As trio's issue 661: both are woken by one look at the poller, and the closer may run first. */
YK_REAL_TEST(a_reader_that_was_woken_before_the_close_is_told_closed_or_has_read)
{
    unsigned closed = 0;

    for (int i = 0; i < 32; i++) {
        struct yoke_nursery nursery;
        char room[8];
        struct user reader = {.room = room, .size = sizeof room, .rc = 99};
        struct closer closer;
        struct yoke_conn *b, *d;

        yk_check_int(yoke_socket_pair(&reader.conn, &b), 0);
        yk_check_int(yoke_socket_pair(&closer.told, &d), 0);
        closer.victim = reader.conn;
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, read_once, &reader), 0);
        yk_check_int(yoke_spawn(&nursery, close_when_told, &closer), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(yoke_conn_write_all(b, "x", 1, NULL), 0);
        yk_check_int(yoke_conn_write_all(d, "x", 1, NULL), 0);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check(reader.rc == 1 || reader.rc == YOKE_ECLOSED);
        closed += reader.rc == YOKE_ECLOSED;
        yoke_conn_unref(reader.conn);
        yoke_conn_unref(closer.told);
        yoke_conn_unref(b);
        yoke_conn_unref(d);
    }
    yk_check(closed > 0);
    return 0;
}

YK_REAL_TEST(a_peer_that_never_reads_holds_the_writer_until_it_is_cancelled)
{
    enum { SIZE = 4 << 20 };
    struct user writer = {.size = SIZE, .room = calloc(1, SIZE)};
    struct yoke_nursery nursery;
    struct yoke_conn *b;

    yk_check_int(yoke_socket_pair(&writer.conn, &b), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, write_once, &writer), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "it never reads");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(writer.rc, YOKE_CANCELLED);
    yk_check(writer.done > 0 && writer.done < SIZE);
    yoke_conn_unref(writer.conn);
    yoke_conn_unref(b);
    free(writer.room);
    return 0;
}

YK_REAL_TEST(a_peer_that_goes_away_breaks_the_write_and_it_says_how_much_went_out)
{
    enum { SIZE = 4 << 20 };
    struct user writer = {.size = SIZE, .room = calloc(1, SIZE)};
    struct yoke_nursery nursery;
    struct yoke_conn *b;
    char room[1000];

    yk_check_int(yoke_socket_pair(&writer.conn, &b), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, write_once, &writer), 0);
    yk_check_int(yoke_conn_read_exactly(b, room, sizeof room, NULL), 1);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_conn_close(b);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(writer.rc == -EPIPE || writer.rc == -ECONNRESET);
    yk_check(writer.done >= sizeof room && writer.done < SIZE);
    yoke_conn_unref(writer.conn);
    yoke_conn_unref(b);
    free(writer.room);
    return 0;
}

YK_REAL_TEST(closing_under_waiting_tasks_wakes_them_with_closed)
{
    enum { SIZE = 4 << 20 };
    char room[8];
    struct user writer = {.size = SIZE, .room = calloc(1, SIZE)};
    struct user reader = {.size = sizeof room, .room = room};
    struct yoke_nursery nursery;
    struct yoke_conn *a, *b;

    for (int also_ready = 0; also_ready < 2; also_ready++) {
        yk_check_int(yoke_socket_pair(&a, &b), 0);
        reader.conn = writer.conn = a;
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, read_once, &reader), 0);
        yk_check_int(yoke_spawn(&nursery, write_once, &writer), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        if (also_ready)
            yk_check_int(yoke_conn_write_all(b, "x", 1, NULL), 0);
        yoke_conn_close(a);
        yk_check_int(yoke_conn_fd(a), -1);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check_int(reader.rc, YOKE_ECLOSED);
        yk_check_int(writer.rc, YOKE_ECLOSED);
        yoke_conn_unref(a);
        yoke_conn_unref(b);
    }
    free(writer.room);
    return 0;
}

YK_REAL_TEST(the_last_unref_under_a_waiting_task_is_safe)
{
    char room[8];
    struct user reader = {.size = sizeof room, .room = room};
    struct yoke_nursery nursery;
    struct yoke_conn *b;

    yk_check_int(yoke_socket_pair(&reader.conn, &b), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, read_once, &reader), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_conn_unref(reader.conn);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(reader.rc, YOKE_ECLOSED);
    yoke_conn_unref(b);
    return 0;
}

YK_REAL_TEST(a_pipe_ends_and_breaks_without_any_signal)
{
    struct yoke_conn *reader, *writer;
    struct sigaction now;
    char room[64];

    yk_check_int(sigaction(SIGPIPE, NULL, &now), 0);
    yk_check(now.sa_handler == SIG_DFL); /* would end this process */
    yk_check_int(yoke_pipe(&reader, &writer), 0);
    yk_check_int(yoke_conn_write_all(writer, "through", 7, NULL), 0);
    yk_check_int(yoke_conn_read(reader, room, sizeof room), 7);
    yoke_conn_close(reader);
    yk_check_int(yoke_conn_write_all(writer, "x", 1, NULL), -EPIPE);
    yk_check_caught("yoke.Io", NULL);
    yoke_conn_unref(reader);
    yoke_conn_unref(writer);
    yk_check_int(yoke_pipe(&reader, &writer), 0);
    yk_check_int(yoke_conn_close_write(writer), 0);
    yk_check_int(yoke_conn_read(reader, room, sizeof room), 0);
    yoke_conn_unref(reader);
    yoke_conn_unref(writer);
    return 0;
}

YK_REAL_TEST(a_pipe_waits_for_readers_and_writers)
{
    enum { SIZE = 1 << 20 };
    struct user writer = {.size = SIZE, .room = calloc(1, SIZE)};
    struct yoke_nursery nursery;
    struct yoke_conn *reader;
    size_t got = 0;
    char room[5000];
    ssize_t n;

    yk_check_int(yoke_pipe(&reader, &writer.conn), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, write_once, &writer), 0);
    while (got < SIZE && (n = yoke_conn_read(reader, room, sizeof room)) > 0)
        got += (size_t)n;
    yk_check_int(got, SIZE);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(writer.rc, 0);
    yoke_conn_unref(writer.conn);
    yoke_conn_unref(reader);
    free(writer.room);
    return 0;
}

YK_REAL_TEST(descriptors_pass_with_the_bytes_and_surplus_ones_are_closed)
{
    struct yoke_conn *a, *b, *reader, *writer, *passed;
    int fds[2] = {-1, -1};
    unsigned before;
    size_t n = 1;
    char room[64];

    yk_check_int(yoke_socket_pair(&a, &b), 0);
    yk_check_int(yoke_pipe(&reader, &writer), 0);
    before = open_descriptors();
    fds[0] = fds[1] = yoke_conn_fd(writer);
    yk_check_int(yoke_conn_send_fds(a, "two", 3, fds, 2, NULL), 0);
    yk_check_int(yoke_conn_receive_fds(b, room, sizeof room, fds, &n), 3);
    yk_check_int(n, 2); /* there was room for one */
    yk_check_int(open_descriptors(), before + 1);
    yk_check_int(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    yk_check_int(yoke_conn_from_fd(fds[0], &passed), 0);
    yk_check_int(yoke_conn_write_all(passed, "via", 3, NULL), 0);
    yk_check_int(yoke_conn_read(reader, room, sizeof room), 3);
    n = 1;
    yk_check_int(yoke_conn_write_all(a, "none", 4, NULL), 0);
    yk_check_int(yoke_conn_receive_fds(b, room, sizeof room, fds, &n), 4);
    yk_check_int(n, 0);
    yk_check_int(yoke_conn_send_fds(a, "", 0, fds, 1, NULL), -EINVAL);
    yk_check_caught("yoke.Io", NULL);
    yoke_conn_unref(passed);
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    yoke_conn_unref(reader);
    yoke_conn_unref(writer);
    return 0;
}

YK_REAL_TEST(descriptors_that_find_no_number_here_are_told_as_lost)
{
    struct yoke_conn *a, *b;
    struct rlimit limit, none;
    char room[8];
    int fds[1] = {0};
    size_t n = 1;

    yk_check_int(yoke_socket_pair(&a, &b), 0);
    yk_check_int(yoke_conn_send_fds(a, "x", 1, fds, 1, NULL), 0);
    yk_check_int(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = 3;
    yk_check_int(setrlimit(RLIMIT_NOFILE, &none), 0);
    yk_check_int(yoke_conn_receive_fds(b, room, sizeof room, fds, &n), -EMFILE);
    yk_check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
    yk_check_caught("yoke.Io", NULL);
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    return 0;
}

YK_REAL_TEST(a_unix_peer_is_known_by_its_credentials)
{
    struct yoke_credentials peer = {.pid = -1};
    struct yoke_conn *a, *b;

    yk_check_int(yoke_socket_pair(&a, &b), 0);
    yk_check_int(yoke_conn_credentials(a, &peer), 0);
    yk_check_int(peer.pid, getpid());
    yk_check_int(peer.uid, getuid());
    yk_check_int(peer.gid, getgid());
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    yk_check_int(yoke_pipe(&a, &b), 0);
    yk_check_int(yoke_conn_credentials(a, &peer), -ENOTSOCK);
    yk_check_caught("yoke.Io", NULL);
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    return 0;
}

YK_REAL_TEST(running_out_of_descriptors_is_an_error_and_leaves_none)
{
    struct yoke_conn *a, *b;
    struct rlimit limit, few;
    unsigned before = open_descriptors();
    int lowest = dup(0);

    close(lowest);
    yk_check_int(getrlimit(RLIMIT_NOFILE, &limit), 0);
    few = limit;
    for (rlim_t n = 3; n <= (rlim_t)lowest + 1; n++) {
        int socket_rc, pipe_rc;

        few.rlim_cur = n;
        yk_check_int(setrlimit(RLIMIT_NOFILE, &few), 0);
        socket_rc = yoke_socket_pair(&a, &b);
        yoke_clear();
        pipe_rc = yoke_pipe(&a, &b);
        yoke_clear();
        yk_check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
        yk_check_int(socket_rc, -EMFILE);
        yk_check_int(pipe_rc, -EMFILE);
        yk_check_int(open_descriptors(), before);
    }
    return 0;
}

YK_REAL_TEST(what_is_no_descriptor_is_refused)
{
    struct yoke_conn *conn;

    yk_check_int(yoke_conn_from_fd(-1, &conn), -EBADF);
    yk_check_caught("yoke.Io", "from_fd -1: Bad file descriptor");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_pair_carries_bytes_both_ways_and_half_closes),
        cmocka_unit_test(an_end_that_came_with_the_last_bytes_is_read_after_them),
        cmocka_unit_test(a_short_read_before_passed_descriptors_does_not_hide_what_follows),
        cmocka_unit_test(a_reader_that_was_woken_before_the_close_is_told_closed_or_has_read),
        cmocka_unit_test(a_peer_that_never_reads_holds_the_writer_until_it_is_cancelled),
        cmocka_unit_test(a_peer_that_goes_away_breaks_the_write_and_it_says_how_much_went_out),
        cmocka_unit_test(closing_under_waiting_tasks_wakes_them_with_closed),
        cmocka_unit_test(the_last_unref_under_a_waiting_task_is_safe),
        cmocka_unit_test(a_pipe_ends_and_breaks_without_any_signal),
        cmocka_unit_test(a_pipe_waits_for_readers_and_writers),
        cmocka_unit_test(descriptors_pass_with_the_bytes_and_surplus_ones_are_closed),
        cmocka_unit_test(descriptors_that_find_no_number_here_are_told_as_lost),
        cmocka_unit_test(a_unix_peer_is_known_by_its_credentials),
        cmocka_unit_test(running_out_of_descriptors_is_an_error_and_leaves_none),
        cmocka_unit_test(what_is_no_descriptor_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
