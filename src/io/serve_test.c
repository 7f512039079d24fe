/* SPDX-License-Identifier: MIT */
/* Serving: handlers that fail, end, are cancelled or are many. */
#include "io/net_support.h"

struct service {
    struct yoke_listener *listener;
    struct yoke_serve_opts opts;
    int rc;
    unsigned running, most, served, failures;
    struct yoke_event go; /* handlers wait for it */
};

static int serve_it(void *arg)
{
    struct service *service = arg;
    extern int handle(struct yoke_conn * conn, void *arg);

    service->rc = yoke_serve(service->listener, handle, service, &service->opts);
    return service->rc;
}

/* Echoes; what begins with "!" fails it, "w" makes it wait for the event. */
int handle(struct yoke_conn *conn, void *arg);
int handle(struct yoke_conn *conn, void *arg)
{
    struct service *service = arg;
    char room[256];
    ssize_t n;
    int rc = 0;

    if (++service->running > service->most)
        service->most = service->running;
    while (rc == 0 && (n = yoke_conn_read(conn, room, sizeof room)) != 0) {
        if (n < 0)
            rc = (int)n;
        else if (room[0] == '!')
            rc = yoke_raise("test.Handler", EIO, "it said so");
        else if (room[0] == 'w')
            rc = yoke_event_wait(&service->go);
        if (rc == 0)
            rc = yoke_conn_write_all(conn, room, (size_t)n, NULL);
    }
    service->running--;
    service->served++;
    return rc;
}

static void count_failure(const struct yoke_error *error, void *arg)
{
    struct service *service = arg;

    yk_check(error != NULL);
    service->failures++;
}

static void service_begin(struct service *service, struct yoke_nursery *nursery)
{
    service->listener = listen_at("127.0.0.1:0");
    service->opts.failed = count_failure;
    yoke_event_init(&service->go);
    yk_check_int(yoke_nursery_open(nursery, NULL), 0);
    yk_check_int(yoke_spawn(nursery, serve_it, service), 0);
}

/* No more connections; those that there are come to their end. */
static void service_end(struct service *service, struct yoke_nursery *nursery)
{
    yoke_listener_close(service->listener);
    yk_check_int(yoke_nursery_close(nursery, 0), 0);
}

static void say(struct yoke_conn *conn, const char *text, ssize_t expected)
{
    char room[256];

    yk_check_int(yoke_conn_write_all(conn, text, strlen(text), NULL), 0);
    yk_check_int(yoke_conn_read(conn, room, sizeof room), expected);
    if (expected < 0)
        yoke_clear();
}

YK_REAL_TEST(a_handler_that_fails_ends_neither_the_others_nor_the_server)
{
    struct service service = {.served = 0};
    struct yoke_nursery nursery;
    struct yoke_conn *one, *two, *three;

    service_begin(&service, &nursery);
    one = connect_to(service.listener);
    two = connect_to(service.listener);
    say(one, "hello", 5);
    say(two, "!", 0); /* closed by the server */
    say(one, "still", 5);
    three = connect_to(service.listener);
    say(three, "new", 3);
    yk_check_int(service.failures, 1);
    yoke_conn_unref(one);
    yoke_conn_unref(two);
    yoke_conn_unref(three);
    service_end(&service, &nursery);
    yk_check_int(service.rc, 0);
    yk_check_int(service.served, 3);
    yoke_listener_unref(service.listener);
    return 0;
}

YK_REAL_TEST(a_handler_that_fails_ends_the_server_if_asked)
{
    struct service service = {.opts = {.fail_together = true}};
    struct yoke_nursery nursery;
    struct yoke_conn *one, *two;

    service_begin(&service, &nursery);
    one = connect_to(service.listener);
    two = connect_to(service.listener);
    say(one, "hello", 5);
    yk_check_int(yoke_conn_write_all(two, "!", 1, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), -EIO);
    yk_check_caught("test.Handler", "it said so");
    yk_check_int(service.failures, 0);
    yoke_conn_unref(one);
    yoke_conn_unref(two);
    yoke_listener_unref(service.listener);
    return 0;
}

YK_REAL_TEST(closing_the_listener_lets_running_handlers_finish)
{
    struct service service = {.served = 0};
    struct yoke_nursery nursery;
    struct yoke_conn *one;
    char room[8];

    service_begin(&service, &nursery);
    one = connect_to(service.listener);
    yk_check_int(yoke_conn_write_all(one, "w", 1, NULL), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_listener_close(service.listener);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(service.running, 1);
    yoke_event_set(&service.go);
    yk_check_int(yoke_conn_read(one, room, sizeof room), 1);
    yoke_conn_unref(one);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(service.rc, 0);
    yoke_listener_unref(service.listener);
    return 0;
}

YK_REAL_TEST(cancelling_the_server_cancels_its_handlers)
{
    struct service service = {.served = 0};
    struct yoke_nursery nursery;
    struct yoke_conn *one;
    char room[8];

    service_begin(&service, &nursery);
    one = connect_to(service.listener);
    say(one, "hello", 5);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(service.rc, YOKE_CANCELLED);
    yk_check_int(service.running, 0);
    yk_check_int(service.failures, 0);
    yk_check_int(yoke_conn_read(one, room, sizeof room), 0);
    yoke_conn_unref(one);
    yoke_listener_unref(service.listener);
    return 0;
}

YK_REAL_TEST(at_most_so_many_connections_are_served_at_once)
{
    struct service service = {.opts = {.limit = 2}};
    struct yoke_nursery nursery;
    struct yoke_conn *conns[6];

    service_begin(&service, &nursery);
    for (int i = 0; i < 6; i++) {
        conns[i] = connect_to(service.listener);
        yk_check_int(yoke_conn_write_all(conns[i], "hello", 5, NULL), 0);
        yk_check_int(yoke_conn_close_write(conns[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        char room[8];

        yk_check_int(yoke_conn_read(conns[i], room, sizeof room), 5);
        yoke_conn_unref(conns[i]);
    }
    service_end(&service, &nursery);
    yk_check_int(service.most, 2);
    yk_check_int(service.served, 6);
    yoke_listener_unref(service.listener);
    return 0;
}

YK_REAL_TEST(a_server_out_of_descriptors_pauses_says_so_once_and_goes_on)
{
    struct service service = {.served = 0};
    struct yoke_nursery nursery;
    struct yoke_conn *one;

    memcpy(accept_errors, (int[]){EMFILE, ENFILE, 0, 0}, sizeof accept_errors);
    service_begin(&service, &nursery);
    one = connect_to(service.listener);
    say(one, "hello", 5);
    yk_check_int(service.failures, 1);
    yoke_conn_unref(one);
    service_end(&service, &nursery);
    yoke_listener_unref(service.listener);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_that_fails_ends_neither_the_others_nor_the_server),
        cmocka_unit_test(a_handler_that_fails_ends_the_server_if_asked),
        cmocka_unit_test(closing_the_listener_lets_running_handlers_finish),
        cmocka_unit_test(cancelling_the_server_cancels_its_handlers),
        cmocka_unit_test(at_most_so_many_connections_are_served_at_once),
        cmocka_unit_test(a_server_out_of_descriptors_pauses_says_so_once_and_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
