/* SPDX-License-Identifier: MIT */
/*
 * Links over a pair of real sockets. Most tests hold the other end raw, to send what no link would
 * send, or to not read.
 */
#include "../tests/support/realrun.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/limits.h"
#include "link/link.h"

/* A link, and the other end of its connection. */
struct half {
    struct yk_link link;
    int peer;
};

static void open_half(struct half *half)
{
    int fds[2] = {-1, -1};

    yk_check_int(yk_link_unix_pair(fds), 0);
    yk_check_int(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    yk_check(fcntl(fds[1], F_GETFL) & O_NONBLOCK);
    yk_check_int(yk_link_init(&half->link, &yk_link_unix, fds[0]), 0);
    half->peer = fds[1];
}

static void close_half(struct half *half)
{
    yk_link_fini(&half->link);
    if (half->peer >= 0)
        close(half->peer);
}

static void hang_up(struct half *half)
{
    close(half->peer);
    half->peer = -1;
}

static struct yk_message number(int64_t n)
{
    struct yk_message message = {.type = YK_YIELD};

    message.as.payload.cid = "dialog";
    message.as.payload.pld = yoke_int(n);
    return message;
}

static void check_number(const struct yk_message *message, int64_t n)
{
    yk_check_int(message->type, YK_YIELD);
    yk_check_int(message->as.payload.pld.as.integer, n);
}

static void encode(struct yk_buffer *buffer, int64_t n)
{
    struct yk_message message = number(n);

    yk_check_int(yk_message_encode(buffer, &message, false), 0);
}

static void put(struct half *half, const unsigned char *data, size_t size)
{
    yk_check_int(send(half->peer, data, size, MSG_NOSIGNAL), size);
}

struct expected {
    struct half *half;
    int64_t first, n;
};

static int receive_numbers(void *arg)
{
    struct expected *expected = arg;
    struct yk_message message;

    for (int64_t i = 0; i < expected->n; i++) {
        int rc = yk_link_receive(&expected->half->link, &message);

        if (rc != 1)
            return rc < 0 ? rc : -EPIPE;
        check_number(&message, expected->first + i);
    }
    return 0;
}

static int receive_one(void *arg)
{
    struct yk_message message;
    int rc = yk_link_receive(arg, &message);

    return rc == 1 ? 0 : rc < 0 ? rc : -EPIPE;
}

YK_REAL_TEST(frames_may_come_split_at_every_byte)
{
    struct yoke_nursery nursery;
    struct yk_buffer bytes;
    struct half half;
    struct expected expected = {.half = &half, .first = 5, .n = 3};
    int rc = yoke_nursery_open(&nursery, NULL);

    open_half(&half);
    yk_buffer_init(&bytes);
    for (int i = 5; i < 8; i++)
        encode(&bytes, i);
    yk_check_int(yoke_spawn(&nursery, receive_numbers, &expected), 0);
    for (size_t i = bytes.start; i < bytes.end; i++) {
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        put(&half, bytes.data + i, 1);
    }
    rc = yoke_nursery_close(&nursery, rc);
    yk_buffer_fini(&bytes);
    close_half(&half);
    return rc;
}

YK_REAL_TEST(many_frames_may_come_at_once)
{
    struct half half;
    struct expected expected = {.half = &half, .first = 0, .n = 1000};
    struct yk_buffer bytes;
    int rc;

    open_half(&half);
    yk_buffer_init(&bytes);
    for (int i = 0; i < 1000; i++)
        encode(&bytes, i);
    put(&half, bytes.data + bytes.start, yk_buffer_size(&bytes));
    rc = receive_numbers(&expected);
    yk_buffer_fini(&bytes);
    close_half(&half);
    return rc;
}

YK_REAL_TEST(a_cancelled_receive_keeps_what_it_has_of_a_frame)
{
    struct half half;
    struct expected expected = {.half = &half, .first = 9, .n = 1};
    struct yk_buffer bytes;
    int rc;

    open_half(&half);
    yk_buffer_init(&bytes);
    encode(&bytes, 9);
    put(&half, bytes.data + bytes.start, 7);
    yk_check_int(yk_cancelled_when_blocked(receive_one, &half.link), YOKE_CANCELLED);
    put(&half, bytes.data + bytes.start + 7, yk_buffer_size(&bytes) - 7);
    rc = receive_numbers(&expected);
    yk_buffer_fini(&bytes);
    close_half(&half);
    return rc;
}

YK_REAL_TEST(a_flood_does_not_keep_its_reader_from_being_cancelled)
{
    struct yoke_scope scope;
    struct yk_buffer bytes;
    struct half half;
    int rc = 0, n = 0;

    open_half(&half);
    yk_buffer_init(&bytes);
    for (int i = 0; i < 100; i++)
        encode(&bytes, i);
    put(&half, bytes.data + bytes.start, yk_buffer_size(&bytes));
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    for (; rc == 0 && n < 100; n++) {
        if (n == 10)
            yoke_scope_cancel(&scope, NULL);
        rc = receive_one(&half.link);
    }
    yk_check_int(n, 11);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check_int(receive_one(&half.link), 0); /* the rest is there */
    yk_buffer_fini(&bytes);
    close_half(&half);
    return 0;
}

YK_REAL_TEST(the_end_between_frames_is_an_end_and_inside_one_a_break)
{
    struct yk_message message;
    struct yk_buffer bytes;
    struct half half;

    yk_buffer_init(&bytes);
    encode(&bytes, 1);
    for (size_t cut = 0; cut <= yk_buffer_size(&bytes); cut++) {
        bool whole = cut == yk_buffer_size(&bytes);

        open_half(&half);
        put(&half, bytes.data + bytes.start, cut);
        hang_up(&half);
        if (whole)
            yk_check_int(yk_link_receive(&half.link, &message), 1);
        yk_check_int(yk_link_receive(&half.link, &message), 0);
        yk_check_int(half.link.error, whole || cut == 0 ? 0 : -ECONNRESET);
        yk_check(half.link.failed);
        close_half(&half);
    }
    yk_buffer_fini(&bytes);
    return 0;
}

YK_REAL_TEST(what_breaks_the_protocol_is_refused_and_can_be_answered)
{
    static const unsigned char huge[] = {0xff, 0xff, 0xff, 0xff};
    static const unsigned char garbage[] = {3, 0, 0, 0, 0xc1, 0xc1, 0xc1};
    struct yk_message message = number(1);
    struct half half;

    open_half(&half);
    put(&half, huge, sizeof huge);
    yk_check_int(yk_link_receive(&half.link, &message), -EMSGSIZE);
    yoke_clear();
    message = number(1);
    yk_check_int(yk_link_send(&half.link, &message), 0);
    yk_check(recv(half.peer, &message, 1, MSG_DONTWAIT) == 1);
    close_half(&half);
    open_half(&half);
    put(&half, garbage, sizeof garbage);
    yk_check_int(yk_link_receive(&half.link, &message), -EBADMSG);
    yoke_clear();
    close_half(&half);
    return 0;
}

/* Sends until the queue is as long as values may make it. */
static int64_t fill(struct half *half)
{
    int64_t n = 0;

    while (yk_buffer_size(&half->link.out) < YK_LINK_QUEUE_MAX) {
        struct yk_message message = number(n++);

        yk_check_int(yk_link_send(&half->link, &message), 0);
    }
    return n;
}

static int wait_room(void *arg)
{
    return yk_link_wait_room(arg);
}

static int receive_raw(void *arg)
{
    struct half *half = arg;
    struct half other;
    struct expected expected = {.half = &other, .first = 0, .n = fill(half)};
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    yk_check_int(yk_link_init(&other.link, &yk_link_unix, half->peer), 0);
    half->peer = -1;
    yk_check_int(yk_cancelled_when_blocked(wait_room, &half->link), YOKE_CANCELLED);
    yk_check_int(yoke_spawn(&nursery, wait_room, &half->link), 0);
    yk_check_int(yoke_spawn(&nursery, wait_room, &half->link), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_spawn(&nursery, yk_link_writer, &half->link), 0);
    yk_check_int(receive_numbers(&expected), 0);
    yk_check_int(yk_buffer_size(&half->link.out), 0);
    yk_check_int(yk_link_wait_room(&half->link), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "all is through");
    rc = yoke_nursery_close(&nursery, rc);
    yk_link_fini(&other.link);
    return rc;
}

YK_REAL_TEST(senders_wait_for_room_while_the_peer_does_not_read)
{
    struct half half;
    int rc;

    open_half(&half);
    rc = receive_raw(&half);
    close_half(&half);
    return rc;
}

static int check_broken(void *arg)
{
    yk_check_int(yk_link_wait_room(arg), -EPIPE);
    return 0;
}

YK_REAL_TEST(the_end_of_the_peer_frees_whoever_waits)
{
    struct yoke_nursery nursery;
    struct half half;
    int rc = yoke_nursery_open(&nursery, NULL);

    open_half(&half);
    fill(&half);
    yk_check_int(yoke_spawn(&nursery, check_broken, &half.link), 0);
    yk_check_int(yoke_spawn(&nursery, yk_link_writer, &half.link), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    hang_up(&half);
    rc = yoke_nursery_close(&nursery, rc);
    yk_check(half.link.failed && half.link.error < 0);
    close_half(&half);
    return rc;
}

/* A cancelled writer, and what it can still get out. */
static int cancel_writer(struct half *half, bool read_on)
{
    struct yoke_nursery nursery;
    size_t queued, got = 0;
    char bytes[4096];
    ssize_t n;
    int rc = yoke_nursery_open(&nursery, NULL);

    fill(half);
    queued = yk_buffer_size(&half->link.out);
    yk_check_int(yoke_spawn(&nursery, yk_link_writer, &half->link), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    while (read_on && yk_buffer_size(&half->link.out) > 0) {
        struct yoke_scope scope;

        while ((n = read(half->peer, bytes, sizeof bytes)) > 0)
            got += (size_t)n;
        yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true}), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(yoke_scope_close(&scope, 0), 0);
    }
    rc = yoke_nursery_close(&nursery, rc);
    while (read_on && (n = read(half->peer, bytes, sizeof bytes)) > 0)
        got += (size_t)n;
    yk_check(!read_on || got >= queued);
    return rc;
}

YK_REAL_TEST(a_cancelled_writer_gets_the_rest_out_to_a_peer_that_reads)
{
    struct half half;

    open_half(&half);
    yk_check_int(cancel_writer(&half, true), 0);
    yk_check_int(yk_buffer_size(&half.link.out), 0);
    close_half(&half);
    return 0;
}

YK_REAL_TEST(a_cancelled_writer_gives_up_on_a_peer_that_never_reads)
{
    struct half half;
    int64_t before;

    open_half(&half);
    before = yoke_now();
    yk_check_int(cancel_writer(&half, false), 0);
    yk_check(yoke_now() - before >= YK_LINK_FLUSH_NS);
    yk_check(yoke_now() - before < 5 * (int64_t)YK_LINK_FLUSH_NS);
    yk_check(yk_buffer_size(&half.link.out) > 0);
    close_half(&half);
    return 0;
}

YK_REAL_TEST(a_descriptor_that_cannot_be_watched_is_closed_and_told)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct yk_link link;

    yk_check_int(yk_link_init(&link, &yk_link_unix, file), -EPERM);
    yk_check_caught("yoke.Link", NULL);
    yk_check(fcntl(file, F_GETFD) < 0);
    return 0;
}

YK_REAL_TEST(without_descriptors_there_is_no_pair)
{
    struct rlimit before, none;
    int fds[2] = {7, 8};

    yk_check_int(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    yk_check_int(setrlimit(RLIMIT_NOFILE, &none), 0);
    yk_check_int(yk_link_unix_pair(fds), -EMFILE);
    yk_check_int(setrlimit(RLIMIT_NOFILE, &before), 0);
    yk_check(fds[0] == 7 && fds[1] == 8);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_may_come_split_at_every_byte),
        cmocka_unit_test(many_frames_may_come_at_once),
        cmocka_unit_test(a_cancelled_receive_keeps_what_it_has_of_a_frame),
        cmocka_unit_test(a_flood_does_not_keep_its_reader_from_being_cancelled),
        cmocka_unit_test(the_end_between_frames_is_an_end_and_inside_one_a_break),
        cmocka_unit_test(what_breaks_the_protocol_is_refused_and_can_be_answered),
        cmocka_unit_test(senders_wait_for_room_while_the_peer_does_not_read),
        cmocka_unit_test(the_end_of_the_peer_frees_whoever_waits),
        cmocka_unit_test(a_cancelled_writer_gets_the_rest_out_to_a_peer_that_reads),
        cmocka_unit_test(a_cancelled_writer_gives_up_on_a_peer_that_never_reads),
        cmocka_unit_test(a_descriptor_that_cannot_be_watched_is_closed_and_told),
        cmocka_unit_test(without_descriptors_there_is_no_pair),
    };

    return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
