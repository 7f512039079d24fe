/* SPDX-License-Identifier: MIT */
/*
 * What every transport must do, and the parent's socket pair as well: one suite, a line per
 * transport. Both ends are links with their writers, in one runtime, over real sockets. And
 * addresses, as text and as on the wire.
 */
#include "../tests/support/realrun.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/net.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/limits.h"
#include "io/conn.h"
#include "link/transport.h"

enum { ORDERED = 5000, LARGE = 8 << 20 };

/* --- a pair of links -------------------------------------------------------------------------- */

static const char *scheme; /* of the transport under test; NULL: a socket pair */

struct pair {
    struct yk_link a, b;
    struct yoke_nursery writers;
};

/* The sockets of a listener and of who dials it. */
static void connect_pair(int *fds, const struct yk_link_ops **ret_ops)
{
    struct yoke_listener *listener = NULL;
    struct yoke_conn *accepted = NULL;
    struct yk_place place;
    char text[16];

    snprintf(text, sizeof text, "%s:", scheme);
    yk_check_int(yk_place_parse(text, &place), 0);
    yk_check_int(place.transport->listen("transport test", &place, &listener), 0);
    yk_check_int(yk_dial(&place, &fds[0]), 0);
    yk_check_int(yoke_accept(listener, &accepted), 0);
    yk_check_int(place.transport->admit(accepted), 0);
    fds[1] = yk_conn_take(accepted);
    yoke_conn_unref(accepted);
    yoke_listener_unref(listener);
    *ret_ops = place.transport->link;
}

static int open_pair(struct pair *pair)
{
    const struct yk_link_ops *ops = &yk_link_unix;
    int fds[2] = {-1, -1};
    int rc;

    if (scheme == NULL)
        yk_check_int(yk_link_unix_pair(fds), 0);
    else
        connect_pair(fds, &ops);
    yk_check_int(yk_link_init(&pair->a, ops, fds[0]), 0);
    yk_check_int(yk_link_init(&pair->b, ops, fds[1]), 0);
    rc = yoke_nursery_open(&pair->writers, NULL);
    if (rc == 0)
        rc = yoke_spawn(&pair->writers, yk_link_writer, &pair->a);
    if (rc == 0)
        rc = yoke_spawn(&pair->writers, yk_link_writer, &pair->b);
    return rc;
}

static int close_pair(struct pair *pair, int rc)
{
    yoke_scope_cancel(&pair->writers.scope, "the test has ended");
    rc = yoke_nursery_close(&pair->writers, rc);
    yk_link_fini(&pair->a);
    yk_link_fini(&pair->b);
    return rc;
}

/* A test over a pair; its body is int body(struct pair *pair). */
#define PAIR_TEST(law)                                                                             \
    static int law##_body(struct pair *pair);                                                      \
    static int law##_task(void *arg)                                                               \
    {                                                                                              \
        struct pair pair;                                                                          \
        int rc = open_pair(&pair);                                                                 \
                                                                                                   \
        (void)arg;                                                                                 \
        return close_pair(&pair, rc < 0 ? rc : law##_body(&pair));                                 \
    }                                                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        scheme = *state;                                                                           \
        yk_real_run(law##_task, NULL);                                                             \
    }                                                                                              \
    static int law##_body(struct pair *pair)

static struct yk_message message_of(struct yoke_value value)
{
    struct yk_message message = {.type = YK_YIELD};

    message.as.payload.cid = "dialog";
    message.as.payload.pld = value;
    return message;
}

static int send_value(struct yk_link *link, struct yoke_value value)
{
    struct yk_message message = message_of(value);
    int rc = yk_link_wait_room(link);

    return rc < 0 ? rc : yk_link_send(link, &message);
}

static int send_many(void *arg)
{
    int rc = 0;

    for (int64_t i = 0; rc == 0 && i < ORDERED; i++)
        rc = send_value(arg, yoke_int(i));
    return rc;
}

static int receive_many(struct yk_link *link, int64_t n)
{
    struct yk_message message;

    for (int64_t i = 0; i < n; i++) {
        yk_check_int(yk_link_receive(link, &message), 1);
        if (message.type != YK_YIELD || message.as.payload.pld.as.integer != i)
            return yoke_raise("test.Order", EPROTO, "not number %lld", (long long)i);
    }
    return 0;
}

static int receive_many_task(void *arg)
{
    return receive_many(arg, ORDERED);
}

/* --- what a transport must do ----------------------------------------------------------------- */

PAIR_TEST(messages_arrive_in_order_both_ways_at_once)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, send_many, &pair->a);
    if (rc == 0)
        rc = yoke_spawn(&nursery, send_many, &pair->b);
    if (rc == 0)
        rc = yoke_spawn(&nursery, receive_many_task, &pair->a);
    if (rc == 0)
        rc = receive_many(&pair->b, ORDERED);
    return yoke_nursery_close(&nursery, rc);
}

static int send_large(void *arg)
{
    char *bytes = malloc(LARGE);
    int rc = 0;

    yk_check(bytes != NULL);
    for (int i = 0; rc == 0 && i < 3; i++) {
        memset(bytes, 'a' + i, LARGE);
        rc = send_value(arg, yoke_bin(bytes, (size_t)LARGE - (size_t)i));
    }
    free(bytes);
    return rc;
}

PAIR_TEST(large_messages_arrive_whole)
{
    struct yoke_nursery nursery;
    struct yk_message message;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, send_large, &pair->a);
    for (int i = 0; rc == 0 && i < 3; i++) {
        struct yoke_value *value = &message.as.payload.pld;

        yk_check_int(yk_link_receive(&pair->b, &message), 1);
        yk_check_int(value->as.str.size, LARGE - i);
        for (size_t at = 0; at < value->as.str.size; at += 4093)
            yk_check_int(value->as.str.data[at], 'a' + i);
        yk_check_int(value->as.str.data[value->as.str.size - 1], 'a' + i);
    }
    return yoke_nursery_close(&nursery, rc);
}

static int send_until_full(void *arg)
{
    struct yk_link *link = arg;
    int64_t n = 0;

    while (yk_buffer_size(&link->out) < YK_LINK_QUEUE_MAX) {
        struct yk_message message = message_of(yoke_int(n++));

        yk_check_int(yk_link_send(link, &message), 0);
    }
    return (int)n;
}

static int wait_room(void *arg)
{
    return yk_link_wait_room(arg);
}

PAIR_TEST(senders_wait_for_a_peer_that_does_not_read)
{
    int n = send_until_full(&pair->a);

    yk_check_int(yk_cancelled_when_blocked(wait_room, &pair->a), YOKE_CANCELLED);
    yk_check_int(receive_many(&pair->b, n), 0);
    yk_check_int(yk_link_wait_room(&pair->a), 0);
    yk_check_int(yk_buffer_size(&pair->a.out), 0);
    return 0;
}

/* What was sent before the end arrives before it; then both know. */
static int check_end(struct yk_link *closing, struct yk_link *other)
{
    struct yk_message message;

    for (int64_t i = 0; i < 10; i++)
        yk_check_int(send_value(closing, yoke_int(i)), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(shutdown(closing->fd.watch.fd, SHUT_RDWR), 0);
    yk_check_int(receive_many(other, 10), 0);
    yk_check_int(yk_link_receive(other, &message), 0);
    yk_check_int(other->error, 0);
    yk_check_int(yk_link_send(other, &message), -EPIPE);
    yk_check_int(yk_link_receive(closing, &message), 0);
    return 0;
}

PAIR_TEST(who_dialled_may_end_it)
{
    return check_end(&pair->a, &pair->b);
}

PAIR_TEST(who_accepted_may_end_it)
{
    return check_end(&pair->b, &pair->a);
}

/* The half that sends is closed: the end comes, and with it this side ends the link as well. */
PAIR_TEST(half_a_link_is_none)
{
    struct yk_message message = message_of(yoke_int(0));

    yk_check_int(send_value(&pair->a, yoke_int(0)), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(shutdown(pair->a.fd.watch.fd, SHUT_WR), 0);
    yk_check_int(receive_many(&pair->b, 1), 0);
    yk_check_int(yk_link_receive(&pair->b, &message), 0);
    yk_check_int(yk_link_send(&pair->b, &message), -EPIPE);
    return 0;
}

static int receive_one(void *arg)
{
    struct yk_message message;
    int rc = yk_link_receive(arg, &message);

    return rc == 1 ? 0 : rc < 0 ? rc : -EPIPE;
}

PAIR_TEST(waiting_for_a_message_can_be_cancelled_and_gone_on_with)
{
    yk_check_int(yk_cancelled_when_blocked(receive_one, &pair->b), YOKE_CANCELLED);
    yk_check_int(send_value(&pair->a, yoke_int(0)), 0);
    return receive_many(&pair->b, 1);
}

/* A process that has the other end, sends half a frame, and is killed with some of ours unread. */
static pid_t fork_peer(const int *fds)
{
    static const unsigned char half[] = {80, 0, 0, 0, 0x82};
    pid_t peer = fork();

    if (peer != 0)
        return peer;
    close(fds[0]);
    if (send(fds[1], half, sizeof half, MSG_NOSIGNAL) != sizeof half)
        _exit(1);
    for (;;)
        pause();
}

static int lose_killed_peer(void *arg)
{
    const struct yk_link_ops *ops = &yk_link_unix;
    struct yk_message message;
    struct yk_link link;
    int fds[2] = {-1, -1};
    pid_t peer;

    (void)arg;
    if (scheme == NULL)
        yk_check_int(yk_link_unix_pair(fds), 0);
    else
        connect_pair(fds, &ops);
    peer = fork_peer(fds);
    yk_check(peer > 0);
    close(fds[1]);
    yk_check_int(yk_link_init(&link, ops, fds[0]), 0);
    yk_check_int(send_value(&link, yoke_int(1)), 0);
    yk_check_int(yk_cancelled_when_blocked(receive_one, &link), YOKE_CANCELLED);
    yk_check_int(kill(peer, SIGKILL), 0);
    yk_check_int(yk_link_receive(&link, &message), 0);
    yk_check_int(link.error, -ECONNRESET);
    yk_check_int(waitpid(peer, NULL, 0), peer);
    yk_link_fini(&link);
    return 0;
}

static void a_killed_peer_is_noticed_at_once(void **state)
{
    scheme = *state;
    yk_real_run(lose_killed_peer, NULL);
}

/* --- addresses -------------------------------------------------------------------------------- */

static void check_place(const char *text, const char *canonical)
{
    char again[YK_PLACE_MAX];
    struct yk_place place, back;
    struct yk_arena arena;
    struct yoke_value pair;

    yk_arena_init(&arena);
    assert_int_equal(yk_place_parse(text, &place), 0);
    assert_string_equal(yk_place_format(&place, again), canonical);
    assert_int_equal(yk_place_to_wire(&arena, &place, &pair), 0);
    memset(&back, 0, sizeof back);
    assert_int_equal(yk_place_from_wire(pair, &back), 0);
    assert_true(yk_place_equal(&place, &back));
    yk_arena_fini(&arena);
}

static void addresses_come_back_from_text_and_wire(void **state)
{
    (void)state;
    check_place("unix:/run/user/1000/yoke/root@77.sock", "unix:/run/user/1000/yoke/root@77.sock");
    check_place("unix:/x", "unix:/x");
    check_place("unix:", "unix:");
    check_place("tcp:127.0.0.1:1616", "tcp:127.0.0.1:1616");
    check_place("tcp:127.0.0.1:0", "tcp:127.0.0.1:0");
    check_place("tcp:", "tcp:127.0.0.1:0");
    check_place("tcp:127.255.3.1:65535", "tcp:127.255.3.1:65535");
    check_place("tcp:[::1]:1616", "tcp:[::1]:1616");
    check_place("tcp:[0:0:0::1]:1616", "tcp:[::1]:1616");
}

/* The forms of tractor: (host, port) and (directory, file). */
static void addresses_on_the_wire_are_tractors(void **state)
{
    struct yoke_value unix_pair = YOKE_ARRAY(yoke_str("/run/x/tractor"), yoke_str("a@1.sock"));
    struct yoke_value tcp_pair = YOKE_ARRAY(yoke_str("127.0.0.1"), yoke_int(1616));
    struct yk_place place;
    char text[YK_PLACE_MAX];

    (void)state;
    assert_int_equal(yk_place_from_wire(unix_pair, &place), 0);
    assert_string_equal(yk_place_format(&place, text), "unix:/run/x/tractor/a@1.sock");
    assert_int_equal(yk_place_from_wire(tcp_pair, &place), 0);
    assert_string_equal(yk_place_format(&place, text), "tcp:127.0.0.1:1616");
}

static void check_no_place(struct yoke_value value, int code)
{
    struct yk_place place;

    assert_int_equal(yk_place_from_wire(value, &place), code);
    yoke_clear();
}

static void what_is_no_address_on_the_wire_is_refused(void **state)
{
    static char endless[300];

    (void)state;
    memset(endless, 'x', sizeof endless - 1);
    check_no_place(yoke_nil(), -EBADMSG);
    check_no_place(yoke_str("127.0.0.1:1616"), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("127.0.0.1")), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("127.0.0.1"), yoke_float(1)), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("127.0.0.1"), yoke_int(65536)), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("127.0.0.1"), yoke_int(-1)), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str(""), yoke_int(1)), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("127.0.0.1\n"), yoke_int(1)), -EINVAL);
    check_no_place(YOKE_ARRAY(yoke_str(endless), yoke_int(1)), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("8.8.8.8"), yoke_int(1)), -EACCES);
    check_no_place(YOKE_ARRAY(yoke_int(1), yoke_int(1)), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("relative"), yoke_str("x.sock")), -EINVAL);
    check_no_place(YOKE_ARRAY(yoke_str("/run"), yoke_str("../x.sock")), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("/run"), yoke_str("")), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str_n("/r\0n", 4), yoke_str("x")), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("/run"), yoke_str_n("x\0", 2)), -EBADMSG);
    check_no_place(YOKE_ARRAY(yoke_str("/run"), yoke_str(endless)), -EBADMSG);
}

#define OVER(law, name, which)                                                                     \
    {                                                                                              \
#law " over " name, law, NULL, NULL, (void *)(uintptr_t)(which)                            \
    }
#define OVER_ALL(law)                                                                              \
    OVER(law, "a socket pair", NULL), OVER(law, "unix", "unix"), OVER(law, "tcp", "tcp")

int main(void)
{
    static const struct CMUnitTest tests[] = {
        OVER_ALL(messages_arrive_in_order_both_ways_at_once),
        OVER_ALL(large_messages_arrive_whole),
        OVER_ALL(senders_wait_for_a_peer_that_does_not_read),
        OVER_ALL(who_dialled_may_end_it),
        OVER_ALL(who_accepted_may_end_it),
        OVER_ALL(half_a_link_is_none),
        OVER_ALL(waiting_for_a_message_can_be_cancelled_and_gone_on_with),
        OVER_ALL(a_killed_peer_is_noticed_at_once),
        cmocka_unit_test(addresses_come_back_from_text_and_wire),
        cmocka_unit_test(addresses_on_the_wire_are_tractors),
        cmocka_unit_test(what_is_no_address_on_the_wire_is_refused),
    };

    return cmocka_run_group_tests_name("transports", tests, NULL, NULL);
}
