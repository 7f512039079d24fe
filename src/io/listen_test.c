/* SPDX-License-Identifier: MIT */
/* Listening and accepting: addresses in use, paths and what is left of them, closing. */
#include "io/net_support.h"

YK_REAL_TEST(any_address_takes_both_families)
{
    struct yoke_listener *listener = listen_at("*:0");
    static const char *const hosts[] = {"127.0.0.1", "[::1]"};

    for (int i = 0; i < 2; i++) {
        struct yoke_conn *client = NULL, *server = NULL;
        char place[64];

        snprintf(place, sizeof place, "%s:%u", hosts[i],
                 yoke_address_port(yoke_listener_address(listener)));
        yk_check_int(yoke_connect(place, NULL, &client), 0);
        yk_check_int(yoke_accept(listener, &server), 0);
        yoke_conn_unref(client);
        yoke_conn_unref(server);
    }
    yoke_listener_unref(listener);
    return 0;
}

YK_REAL_TEST(an_address_in_use_is_refused_and_usable_again_once_closed)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0"), *second;
    struct yoke_conn *client = connect_to(listener), *server = NULL;
    char place[64];

    yk_check_int(yoke_accept(listener, &server), 0);
    yoke_address_format(yoke_listener_address(listener), place, sizeof place);
    yk_check_int(yoke_listen(place, NULL, &second), -EADDRINUSE);
    yk_check_caught("yoke.Net", NULL);
    yoke_conn_close(server); /* this end first: its address stays in TIME_WAIT */
    yoke_conn_unref(server);
    yoke_conn_unref(client);
    yoke_listener_unref(listener);
    yk_check_int(yoke_listen(place, NULL, &second), 0);
    yoke_listener_unref(second);
    return 0;
}

YK_REAL_TEST(a_shared_port_is_shared_by_those_who_ask)
{
    struct yoke_listen_opts opts = {.shared_port = true};
    struct yoke_listener *first = NULL, *second = NULL;
    char place[64];

    yk_check_int(yoke_listen("127.0.0.1:0", &opts, &first), 0);
    yoke_address_format(yoke_listener_address(first), place, sizeof place);
    yk_check_int(yoke_listen(place, &opts, &second), 0);
    yoke_listener_unref(first);
    yoke_listener_unref(second);
    return 0;
}

/* A path at which a process that is gone has listened. */
static void make_leftover(const char *path)
{
    struct yoke_address address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    yk_check_int(yoke_address_parse(path, &address), 0);
    yk_check_int(bind(fd, &address.as.sockaddr, address.size), 0);
    close(fd);
}

YK_REAL_TEST(a_dead_listeners_path_is_replaced_a_living_ones_and_a_file_are_not)
{
    struct yoke_listener *listener = NULL, *second;
    struct scratch scratch;
    struct stat status;
    FILE *file;

    scratch_make(&scratch);
    make_leftover(scratch.path);
    yk_check_int(yoke_listen(scratch.path, &(struct yoke_listen_opts){.mode = 0600}, &listener), 0);
    yk_check_int(stat(scratch.path, &status), 0);
    yk_check_int(status.st_mode & 0777, 0600);
    yk_check_int(yoke_listen(scratch.path, NULL, &second), -EADDRINUSE);
    yk_check_caught("yoke.Net", NULL);
    yk_check_int(scratch_count(&scratch), 1);
    yoke_listener_unref(listener);
    yk_check_int(scratch_count(&scratch), 0);
    file = fopen(scratch.path, "we");
    fclose(file);
    yk_check_int(yoke_listen(scratch.path, NULL, &second), -EADDRINUSE);
    yk_check_caught("yoke.Net", NULL);
    yk_check_int(scratch_count(&scratch), 1);
    scratch_remove(&scratch);
    return 0;
}

YK_REAL_TEST(closing_leaves_a_path_that_is_somebody_elses_by_now)
{
    struct yoke_listener *listener;
    struct scratch scratch;

    scratch_make(&scratch);
    listener = listen_at(scratch.path);
    yk_check_int(unlink(scratch.path), 0);
    make_leftover(scratch.path);
    yoke_listener_unref(listener);
    yk_check_int(scratch_count(&scratch), 1);
    scratch_remove(&scratch);
    return 0;
}

YK_REAL_TEST(a_leftover_under_another_ones_lock_is_left_alone)
{
    struct yoke_listener *listener;
    struct scratch scratch;
    int lock;

    scratch_make(&scratch);
    make_leftover(scratch.path);
    lock = open(scratch.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    yk_check_int(flock(lock, LOCK_EX), 0);
    yk_check_int(yoke_listen(scratch.path, NULL, &listener), -EADDRINUSE);
    yk_check_caught("yoke.Net", NULL);
    close(lock);
    yk_check_int(yoke_listen(scratch.path, NULL, &listener), 0);
    yoke_listener_unref(listener);
    scratch_remove(&scratch);
    return 0;
}

static int accept_it(void *arg)
{
    struct yoke_conn *conn;
    int rc = yoke_accept(arg, &conn);

    if (rc == 0)
        yoke_conn_unref(conn);
    return rc;
}

static int accept_until_closed(void *arg)
{
    int rc;

    while ((rc = accept_it(arg)) == 0)
        continue;
    yk_check_int(rc, YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", "accept: the listener was closed");
    return 0;
}

YK_REAL_TEST(closing_a_listener_wakes_all_who_accept)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0");
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_spawn(&nursery, accept_until_closed, listener), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_listener_close(listener);
    yk_check_int(yoke_listener_fd(listener), -1);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_listener_unref(listener);
    return 0;
}

YK_REAL_TEST(a_cancelled_accept_takes_nothing)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0");
    struct yoke_conn *client, *server = NULL;

    yk_check_int(cancelled_while(accept_it, listener), YOKE_CANCELLED);
    client = connect_to(listener);
    yk_check_int(yoke_accept(listener, &server), 0);
    yoke_conn_unref(client);
    yoke_conn_unref(server);
    yoke_listener_unref(listener);
    return 0;
}

YK_REAL_TEST(accept_passes_over_connections_that_are_gone_and_tells_of_exhaustion)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0");
    struct yoke_conn *client = connect_to(listener), *server = NULL;

    memcpy(accept_errors, (int[]){ECONNABORTED, EPROTO, EINTR, EMFILE}, sizeof accept_errors);
    yk_check_int(yoke_accept(listener, &server), -EMFILE);
    yk_check_caught("yoke.Net", NULL);
    accept_errors[0] = 0;
    yk_check_int(yoke_accept(listener, &server), 0);
    yoke_conn_unref(client);
    yoke_conn_unref(server);
    yoke_listener_unref(listener);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_address_takes_both_families),
        cmocka_unit_test(an_address_in_use_is_refused_and_usable_again_once_closed),
        cmocka_unit_test(a_shared_port_is_shared_by_those_who_ask),
        cmocka_unit_test(a_dead_listeners_path_is_replaced_a_living_ones_and_a_file_are_not),
        cmocka_unit_test(closing_leaves_a_path_that_is_somebody_elses_by_now),
        cmocka_unit_test(a_leftover_under_another_ones_lock_is_left_alone),
        cmocka_unit_test(closing_a_listener_wakes_all_who_accept),
        cmocka_unit_test(a_cancelled_accept_takes_nothing),
        cmocka_unit_test(accept_passes_over_connections_that_are_gone_and_tells_of_exhaustion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
