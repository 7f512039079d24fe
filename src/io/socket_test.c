/* SPDX-License-Identifier: MIT */
/* Connected sockets that are reset, and datagrams. */
#include "io/net_support.h"

YK_REAL_TEST(a_reset_is_told_to_reader_and_writer_with_the_peers_name)
{
    enum { SIZE = 16 << 20 };
    struct yoke_conn *client, *server;
    char *big = calloc(1, SIZE);
    struct yoke_address peer;
    char room[8], message[128];
    size_t written = 0;
    int rc;

    pair_at("127.0.0.1:0", &client, &server);
    yk_check_int(yoke_conn_peer(client, &peer), 0);
    reset(server);
    yoke_conn_unref(server);
    snprintf(message, sizeof message, "read %s: Connection reset by peer", text_of(&peer));
    yk_check_int(yoke_conn_read(client, room, sizeof room), -ECONNRESET);
    yk_check_caught("yoke.Io", message);
    rc = yoke_conn_write_all(client, big, SIZE, &written);
    yk_check(rc == -EPIPE || rc == -ECONNRESET);
    yk_check_int(written, 0);
    yoke_clear();
    yk_check_int(yoke_conn_close_write(client), 0);
    yoke_conn_unref(client);
    free(big);
    return 0;
}

static int reset_when_blocked(void *arg)
{
    int rc = yoke_wait_all_tasks_blocked();

    if (rc == 0)
        reset(arg);
    return rc;
}

YK_REAL_TEST(a_reset_in_the_middle_of_a_write_says_how_much_went_out)
{
    enum { SIZE = 64 << 20 };
    struct yoke_conn *client, *server;
    struct yoke_nursery nursery;
    char *big = calloc(1, SIZE);
    size_t written = 0;
    int rc;

    pair_at("127.0.0.1:0", &client, &server);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, reset_when_blocked, server), 0);
    rc = yoke_conn_write_all(client, big, SIZE, &written);
    yk_check(rc == -ECONNRESET || rc == -EPIPE);
    yk_check(written > 0 && written < SIZE);
    yoke_clear();
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_conn_unref(client);
    yoke_conn_unref(server);
    free(big);
    return 0;
}

struct got {
    struct yoke_conn *conn;
    size_t n;
};

static int count_bytes(void *arg)
{
    struct got *got = arg;
    char room[64];
    ssize_t n;

    while ((n = yoke_conn_read(got->conn, room, sizeof room)) > 0)
        got->n += (size_t)n;
    return (int)n;
}

/* recv stops at urgent data; what is behind it came with no event of its own. */
YK_REAL_TEST(urgent_data_does_not_hide_what_follows_it)
{
    struct got got = {.n = 0};
    struct yoke_nursery nursery;
    struct yoke_conn *client;

    pair_at("127.0.0.1:0", &client, &got.conn);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, count_bytes, &got), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(send(yoke_conn_fd(client), "ab", 2, 0), 2);
    yk_check_int(send(yoke_conn_fd(client), "!", 1, MSG_OOB), 1);
    yk_check_int(send(yoke_conn_fd(client), "cd", 2, 0), 2);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(got.n, 4);
    yoke_conn_close(client);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_conn_unref(client);
    yoke_conn_unref(got.conn);
    return 0;
}

/* --- datagrams ---------------------------------------------------------------------------------
 */

YK_REAL_TEST(datagrams_keep_their_bounds_and_say_who_sent_them)
{
    struct yoke_conn *a = NULL, *b = NULL;
    struct yoke_address at_a, at_b, from;
    char room[8];

    yk_check_int(yoke_bind_datagram("127.0.0.1:0", NULL, &a), 0);
    yk_check_int(yoke_bind_datagram("127.0.0.1:0", NULL, &b), 0);
    yk_check_int(yoke_conn_local(a, &at_a), 0);
    yk_check_int(yoke_conn_local(b, &at_b), 0);
    yk_check_int(yoke_send_to(a, &at_b, "one", 3), 0);
    yk_check_int(yoke_send_to(a, &at_b, "", 0), 0);
    yk_check_int(yoke_send_to(a, &at_b, "0123456789", 10), 0);
    yk_check_int(yoke_receive_from(b, room, sizeof room, &from), 3);
    yk_check(yoke_address_equal(&from, &at_a));
    yk_check_int(yoke_receive_from(b, room, sizeof room, NULL), 0);
    yk_check_int(yoke_receive_from(b, room, sizeof room, NULL), 10);
    yk_check(memcmp(room, "01234567", 8) == 0);
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    return 0;
}

YK_REAL_TEST(a_datagram_that_is_too_long_is_refused_and_the_socket_stays_usable)
{
    struct yoke_conn *a = NULL;
    struct yoke_address at_a;
    char *big = calloc(1, 70000), room[8];

    yk_check_int(yoke_bind_datagram("127.0.0.1:0", NULL, &a), 0);
    yk_check_int(yoke_conn_local(a, &at_a), 0);
    yk_check_int(yoke_send_to(a, &at_a, big, 70000), -EMSGSIZE);
    yk_check_caught("yoke.Net", NULL);
    yk_check_int(yoke_send_to(a, &at_a, "x", 1), 0);
    yk_check_int(yoke_receive_from(a, room, sizeof room, NULL), 1);
    yoke_conn_unref(a);
    free(big);
    return 0;
}

YK_REAL_TEST(a_connected_datagram_socket_is_told_that_nobody_is_there)
{
    struct yoke_conn *conn = NULL;
    char place[64], room[8];

    dead_place(place, sizeof place);
    yk_check_int(yoke_connect(place, &(struct yoke_connect_opts){.datagram = true}, &conn), 0);
    yk_check_int(yoke_send_to(conn, NULL, "x", 1), 0);
    yk_check_int(yoke_receive_from(conn, room, sizeof room, NULL), -ECONNREFUSED);
    yk_check_caught("yoke.Io", NULL);
    yoke_conn_unref(conn);
    return 0;
}

static int receive_it(void *arg)
{
    char room[8];
    ssize_t n = yoke_receive_from(arg, room, sizeof room, NULL);

    return n < 0 ? (int)n : 0;
}

YK_REAL_TEST(a_cancelled_receive_took_no_datagram)
{
    struct yoke_conn *a = NULL;
    struct yoke_address at_a;

    yk_check_int(yoke_bind_datagram("[::1]:0", NULL, &a), 0);
    yk_check_int(yoke_conn_local(a, &at_a), 0);
    yk_check_int(cancelled_while(receive_it, a), YOKE_CANCELLED);
    yk_check_int(yoke_send_to(a, &at_a, "x", 1), 0);
    yk_check_int(receive_it(a), 0);
    yoke_conn_unref(a);
    return 0;
}

struct flood {
    struct yoke_conn *conn;
    struct yoke_address to;
    int sent;
};

static int flood(void *arg)
{
    struct flood *flood = arg;
    int rc = 0;

    for (; rc == 0 && flood->sent < 1000; flood->sent += rc == 0)
        rc = yoke_send_to(flood->conn, &flood->to, "x", 1);
    return rc;
}

/* Unix datagrams are not dropped: a full receiver holds the sender, and the kernel tells nobody. */
YK_REAL_TEST(a_full_unix_receiver_holds_the_sender_until_it_reads)
{
    struct yoke_nursery nursery;
    struct flood sender = {.sent = 0};
    struct yoke_conn *receiver = NULL;
    struct scratch scratch;
    char room[8];

    scratch_make(&scratch);
    yk_check_int(yoke_address_parse(scratch.path, &sender.to), 0);
    yk_check_int(yoke_bind_datagram(scratch.path, NULL, &receiver), 0);
    yk_check_int(yoke_bind_datagram("@", NULL, &sender.conn), -EINVAL);
    yk_check_caught("yoke.Address", NULL);
    yk_check_int(yoke_connect(scratch.path, &(struct yoke_connect_opts){.datagram = true},
                              &sender.conn),
                 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, flood, &sender), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(sender.sent < 1000);
    for (int i = 0; i < 1000; i++)
        yk_check_int(yoke_receive_from(receiver, room, sizeof room, NULL), 1);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(sender.sent, 1000);
    yoke_conn_unref(sender.conn);
    yoke_conn_unref(receiver);
    yk_check_int(scratch_count(&scratch), 0);
    scratch_remove(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reset_is_told_to_reader_and_writer_with_the_peers_name),
        cmocka_unit_test(a_reset_in_the_middle_of_a_write_says_how_much_went_out),
        cmocka_unit_test(urgent_data_does_not_hide_what_follows_it),
        cmocka_unit_test(datagrams_keep_their_bounds_and_say_who_sent_them),
        cmocka_unit_test(a_datagram_that_is_too_long_is_refused_and_the_socket_stays_usable),
        cmocka_unit_test(a_connected_datagram_socket_is_told_that_nobody_is_there),
        cmocka_unit_test(a_cancelled_receive_took_no_datagram),
        cmocka_unit_test(a_full_unix_receiver_holds_the_sender_until_it_reads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
