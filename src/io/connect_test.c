/* SPDX-License-Identifier: MIT */
/* Connecting: every family, several addresses, none that answers, a full backlog. */
#include "io/net_support.h"

static int connect_echo_close(const char *place)
{
    struct yoke_conn *client, *server;
    struct yoke_address name, peer;
    char room[16];

    pair_at(place, &client, &server);
    yk_check_int(yoke_conn_write_all(client, "hello", 5, NULL), 0);
    yk_check_int(yoke_conn_read(server, room, sizeof room), 5);
    yk_check_int(yoke_conn_write_all(server, "back", 4, NULL), 0);
    yk_check_int(yoke_conn_read(client, room, sizeof room), 4);
    yk_check_int(yoke_conn_close_write(client), 0);
    yk_check_int(yoke_conn_read(server, room, sizeof room), 0);
    yk_check_int(yoke_conn_local(server, &name), 0);
    yk_check_int(yoke_conn_peer(client, &peer), 0);
    yk_check(yoke_address_equal(&name, &peer));
    yoke_conn_unref(client);
    yoke_conn_unref(server);
    return 0;
}

YK_REAL_TEST(tcp_over_ipv4_connects_echoes_and_closes)
{
    return connect_echo_close("127.0.0.1:0");
}

YK_REAL_TEST(tcp_over_ipv6_connects_echoes_and_closes)
{
    return connect_echo_close("[::1]:0");
}

YK_REAL_TEST(abstract_unix_sockets_connect_echo_and_close)
{
    char place[64];

    snprintf(place, sizeof place, "@yoke-test-%d", (int)getpid());
    return connect_echo_close(place);
}

YK_REAL_TEST(unix_paths_connect_echo_and_close_and_the_path_goes)
{
    struct scratch scratch;
    int rc;

    scratch_make(&scratch);
    rc = connect_echo_close(scratch.path);
    yk_check_int(scratch_count(&scratch), 0);
    scratch_remove(&scratch);
    return rc;
}

YK_REAL_TEST(a_refused_connection_names_the_address_and_leaves_nothing)
{
    struct yoke_conn *conn;
    char place[64], message[128];

    dead_place(place, sizeof place);
    snprintf(message, sizeof message, "connect %s: Connection refused", place);
    yk_check_int(yoke_connect(place, NULL, &conn), -ECONNREFUSED);
    yk_check_caught("yoke.Net", message);
    yk_check_int(yoke_connect("/no/such/socket", NULL, &conn), -ENOENT);
    yk_check_caught("yoke.Net", "connect /no/such/socket: No such file or directory");
    return 0;
}

YK_REAL_TEST(small_writes_go_out_at_once_unless_nagle_is_asked_for)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0");
    struct yoke_connect_opts opts = {
        .socket = {.nagle = true, .keepalive = true, .keepalive_idle_s = 77, .send_buffer = 8192}};
    struct yoke_conn *plain = connect_to(listener), *other = NULL, *server = NULL;
    int value = 0;
    socklen_t size = sizeof value;

    getsockopt(yoke_conn_fd(plain), IPPROTO_TCP, TCP_NODELAY, &value, &size);
    yk_check_int(value, 1);
    yk_check_int(yoke_accept(listener, &server), 0);
    getsockopt(yoke_conn_fd(server), IPPROTO_TCP, TCP_NODELAY, &value, &size);
    yk_check_int(value, 1);
    yk_check_int(yoke_connect_address(yoke_listener_address(listener), &opts, &other), 0);
    getsockopt(yoke_conn_fd(other), IPPROTO_TCP, TCP_NODELAY, &value, &size);
    yk_check_int(value, 0);
    getsockopt(yoke_conn_fd(other), SOL_SOCKET, SO_KEEPALIVE, &value, &size);
    yk_check_int(value, 1);
    getsockopt(yoke_conn_fd(other), IPPROTO_TCP, TCP_KEEPIDLE, &value, &size);
    yk_check_int(value, 77);
    getsockopt(yoke_conn_fd(other), SOL_SOCKET, SO_SNDBUF, &value, &size);
    yk_check_int(value, 2 * 8192); /* the kernel doubles it */
    yoke_conn_unref(plain);
    yoke_conn_unref(server);
    yoke_conn_unref(other);
    yoke_listener_unref(listener);
    return 0;
}

YK_REAL_TEST(a_local_address_is_bound_before_connecting)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0");
    struct yoke_address local, got;
    struct yoke_connect_opts opts = {.local = &local};
    struct yoke_conn *conn = NULL, *server = NULL;

    yk_check_int(yoke_address_parse("127.0.0.7:0", &local), 0);
    yk_check_int(yoke_connect_address(yoke_listener_address(listener), &opts, &conn), 0);
    yk_check_int(yoke_accept(listener, &server), 0);
    yk_check_int(yoke_conn_peer(server, &got), 0);
    yk_check(strncmp(text_of(&got), "127.0.0.7:", 10) == 0);
    yoke_conn_unref(conn);
    yoke_conn_unref(server);
    yoke_listener_unref(listener);
    return 0;
}

static void name_of(const struct yoke_listener *listener, char *place, size_t size)
{
    snprintf(place, size, "some.host.test:%u", yoke_address_port(yoke_listener_address(listener)));
}

YK_REAL_TEST(a_name_with_several_addresses_connects_to_the_one_that_answers)
{
    struct yoke_listener *listener = listen_at("127.0.0.3:0");
    struct yoke_conn *conn = NULL, *server = NULL;
    struct yoke_address peer;
    char place[64];

    names_clear();
    names.answers[0] = "127.0.0.1";
    names.answers[1] = "127.0.0.2";
    names.answers[2] = "::1";
    names.answers[3] = "127.0.0.3";
    name_of(listener, place, sizeof place);
    yk_check_int(yoke_connect(place, NULL, &conn), 0);
    yk_check_int(yoke_accept(listener, &server), 0);
    yk_check_int(yoke_conn_peer(conn, &peer), 0);
    yk_check(yoke_address_equal(&peer, yoke_listener_address(listener)));
    yk_check_int(names.asked, 1);
    yoke_conn_unref(conn);
    yoke_conn_unref(server);
    yoke_listener_unref(listener);
    return 0;
}

YK_REAL_TEST(when_no_address_answers_the_group_has_all_errors)
{
    struct yoke_error *error;
    struct yoke_conn *conn;
    char place[64], dead[64];

    names_clear();
    names.answers[0] = "127.0.0.1";
    names.answers[1] = "::1";
    names.answers[2] = "127.0.0.2";
    dead_place(dead, sizeof dead);
    snprintf(place, sizeof place, "some.host.test%s", strchr(dead, ':'));
    yk_check_int(yoke_connect(place, NULL, &conn), YOKE_EGROUP);
    error = yoke_catch();
    yk_check_int(yoke_error_member_count(error), 3);
    for (size_t i = 0; i < yoke_error_member_count(error); i++)
        yk_check_int(yoke_error_code(yoke_error_member(error, i)), -ECONNREFUSED);
    yk_check(strstr(yoke_error_message(yoke_error_member(error, 1)), "[::1]:") != NULL);
    yoke_error_unref(error);
    return 0;
}

/* A backlog that is full: connecting to it takes for ever. */
struct stuck {
    struct yoke_listener *listener;
    struct yoke_conn *filling[8];
    size_t n;
};

static int connect_more(void *arg)
{
    struct stuck *stuck = arg;
    struct yoke_conn *conn;
    int rc = 0;

    while (rc == 0 && stuck->n < 8) {
        rc = yoke_connect_address(yoke_listener_address(stuck->listener), NULL, &conn);
        if (rc == 0)
            stuck->filling[stuck->n++] = conn;
    }
    return rc;
}

static void stuck_open(struct stuck *stuck, const char *place)
{
    struct yoke_listen_opts opts = {.backlog = 1};

    stuck->n = 0;
    yk_check_int(yoke_listen(place, &opts, &stuck->listener), 0);
    yk_check_int(cancelled_while(connect_more, stuck), YOKE_CANCELLED);
}

static void stuck_close(struct stuck *stuck)
{
    for (size_t i = 0; i < stuck->n; i++)
        yoke_conn_unref(stuck->filling[i]);
    yoke_listener_unref(stuck->listener);
}

YK_REAL_TEST(a_cancelled_connect_leaves_no_descriptor)
{
    struct stuck stuck;
    unsigned before;

    stuck_open(&stuck, "127.0.0.1:0");
    before = open_descriptors();
    yk_check_int(cancelled_while(connect_more, &stuck), YOKE_CANCELLED);
    yk_check_int(open_descriptors(), before);
    stuck_close(&stuck);
    return 0;
}

/* The kernel tells of no room in its backlog; a connection that is taken makes some. */
YK_REAL_TEST(connecting_to_a_full_unix_backlog_waits_until_there_is_room)
{
    struct stuck stuck = {.n = 0};
    struct yoke_listen_opts opts = {.backlog = 1};
    struct yoke_conn *server = NULL;
    char place[64];
    size_t full;

    snprintf(place, sizeof place, "@yoke-full-%d", (int)getpid());
    yk_check_int(yoke_listen(place, &opts, &stuck.listener), 0);
    yk_check_int(cancelled_while(connect_more, &stuck), YOKE_CANCELLED);
    full = stuck.n;
    yk_check(full > 0 && full < 8);
    yk_check_int(yoke_accept(stuck.listener, &server), 0);
    yk_check_int(cancelled_while(connect_more, &stuck), YOKE_CANCELLED);
    yk_check_int(stuck.n, full + 1);
    yoke_conn_unref(server);
    stuck_close(&stuck);
    return 0;
}

YK_REAL_TEST(happy_eyeballs_goes_on_past_an_address_that_never_answers)
{
    struct yoke_connect_opts opts = {.delay_ns = YOKE_MS(5)};
    struct yoke_listener *listener = NULL;
    struct yoke_conn *conn = NULL, *server = NULL;
    struct stuck stuck;
    char place[64];
    unsigned before;

    stuck_open(&stuck, "127.0.0.1:0");
    snprintf(place, sizeof place, "127.0.0.2:%u",
             yoke_address_port(yoke_listener_address(stuck.listener)));
    listener = listen_at(place);
    names_clear();
    names.answers[0] = "127.0.0.1";
    names.answers[1] = "127.0.0.2";
    name_of(listener, place, sizeof place);
    before = open_descriptors();
    yk_check_int(yoke_connect(place, &opts, &conn), 0);
    yk_check_int(open_descriptors(), before + 1);
    yk_check_int(yoke_accept(listener, &server), 0);
    yoke_conn_unref(conn);
    yoke_conn_unref(server);
    yoke_listener_unref(listener);
    stuck_close(&stuck);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_over_ipv4_connects_echoes_and_closes),
        cmocka_unit_test(tcp_over_ipv6_connects_echoes_and_closes),
        cmocka_unit_test(abstract_unix_sockets_connect_echo_and_close),
        cmocka_unit_test(unix_paths_connect_echo_and_close_and_the_path_goes),
        cmocka_unit_test(a_refused_connection_names_the_address_and_leaves_nothing),
        cmocka_unit_test(small_writes_go_out_at_once_unless_nagle_is_asked_for),
        cmocka_unit_test(a_local_address_is_bound_before_connecting),
        cmocka_unit_test(a_name_with_several_addresses_connects_to_the_one_that_answers),
        cmocka_unit_test(when_no_address_answers_the_group_has_all_errors),
        cmocka_unit_test(a_cancelled_connect_leaves_no_descriptor),
        cmocka_unit_test(connecting_to_a_full_unix_backlog_waits_until_there_is_room),
        cmocka_unit_test(happy_eyeballs_goes_on_past_an_address_that_never_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
