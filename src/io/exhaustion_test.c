/* SPDX-License-Identifier: MIT */
/*
 * The calls of this layer, each with every single failure there can be: no memory, no descriptors,
 * no threads, a refusing system. What they owe then is in tests/support/sweep.h.
 */
#include "../tests/support/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yoke/file.h>
#include <yoke/guest.h>
#include <yoke/handle.h>
#include <yoke/io.h>
#include <yoke/net.h>
#include <yoke/nursery.h>
#include <yoke/pipe.h>
#include <yoke/subprocess.h>
#include <yoke/testing.h>

static char directory[] = "/tmp/yoke-test-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/it", directory);
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    return rmdir(directory); /* what a failed call left in it makes this fail */
}

/* A byte from one end to the other. */
static int say(struct yoke_conn *from, struct yoke_conn *to)
{
    char byte = 'y';
    int rc = yoke_conn_write_all(from, &byte, 1, NULL);

    return rc < 0 ? rc : yoke_conn_read_exactly(to, &byte, 1, NULL) == 1 ? 0 : -EIO;
}

/* Connects to a listener, accepts, and says something. */
static int talk(struct yoke_listener *listener, const struct yoke_connect_opts *opts)
{
    struct yoke_conn *client = NULL, *server = NULL;
    int rc = yoke_connect_address(yoke_listener_address(listener), opts, &client);

    if (rc == 0)
        rc = yoke_accept(listener, &server);
    if (rc == 0)
        rc = say(client, server);
    yoke_conn_unref(client);
    yoke_conn_unref(server);
    return rc;
}

static int listen_and_talk(const char *place, const struct yoke_listen_opts *listen_opts,
                           const struct yoke_connect_opts *connect_opts)
{
    struct yoke_listener *listener = NULL;
    int rc = yoke_listen(place, listen_opts, &listener);

    if (rc == 0)
        rc = talk(listener, connect_opts);
    yoke_listener_unref(listener);
    return rc;
}

static int tcp(void *arg)
{
    struct yoke_socket_opts socket = {.keepalive = true,
                                      .keepalive_idle_s = 10,
                                      .keepalive_interval_s = 10,
                                      .keepalive_count = 3,
                                      .send_buffer = 1 << 14,
                                      .receive_buffer = 1 << 14};
    struct yoke_address local;
    int rc = yoke_address_parse("127.0.0.1:0", &local);

    (void)arg;
    return rc < 0
               ? rc
               : listen_and_talk("127.0.0.1:0",
                                 &(struct yoke_listen_opts){.socket = socket, .shared_port = true},
                                 &(struct yoke_connect_opts){.socket = socket, .local = &local});
}

static int unix_stream(void *arg)
{
    char place[80];

    (void)arg;
    snprintf(place, sizeof place, "unix:%s", path);
    return listen_and_talk(place, &(struct yoke_listen_opts){.mode = 0600}, NULL);
}

/* In the place of one that a dead listener has left. */
static int leftover(void *arg)
{
    struct yoke_address address;
    char place[80];
    int rc, number;

    snprintf(place, sizeof place, "unix:%s", path);
    rc = yoke_address_parse(place, &address);
    if (rc < 0)
        return rc;
    number = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    yk_check_int(bind(number, &address.as.sockaddr, address.size), 0);
    close(number);
    rc = unix_stream(arg);
    unlink(path);
    return rc;
}

static int by_name(void *arg)
{
    struct yoke_listener *listener = NULL;
    struct yoke_conn *client = NULL, *server = NULL;
    char place[32];
    int rc = yoke_listen("localhost:0", NULL, &listener);

    (void)arg;
    if (rc == 0) {
        snprintf(place, sizeof place, "localhost:%u",
                 yoke_address_port(yoke_listener_address(listener)));
        rc = yoke_connect(place, NULL, &client);
    }
    if (rc == 0)
        rc = yoke_accept(listener, &server);
    yoke_conn_unref(client);
    yoke_conn_unref(server);
    yoke_listener_unref(listener);
    return rc;
}

static int resolve(void *arg)
{
    struct yoke_address *addresses = NULL;
    int n = yoke_resolve("localhost:80", NULL, &addresses);

    (void)arg;
    if (n < 0)
        return n;
    free(addresses);
    return 0;
}

static int datagrams(void *arg)
{
    struct yoke_conn *a = NULL, *b = NULL;
    struct yoke_address from;
    char text[8];
    int rc = yoke_bind_datagram("127.0.0.1:0", NULL, &a);

    (void)arg;
    if (rc == 0)
        rc = yoke_conn_local(a, &from);
    if (rc == 0)
        rc = yoke_bind_datagram("127.0.0.1:0", NULL, &b);
    if (rc == 0)
        rc = yoke_send_to(b, &from, "hello", 5);
    if (rc == 0) {
        ssize_t n = yoke_receive_from(a, text, sizeof text, &from);

        rc = n < 0 ? (int)n : 0;
    }
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    return rc;
}

static int pair_of_pipe(void *arg)
{
    struct yoke_conn *reader = NULL, *writer = NULL;
    int rc = yoke_pipe(&reader, &writer);

    (void)arg;
    if (rc == 0)
        rc = say(writer, reader);
    yoke_conn_unref(reader);
    yoke_conn_unref(writer);
    return rc;
}

/* A descriptor that is passed must not be lost on its way, nor an end of the pair. */
static int passed_descriptors(void *arg)
{
    struct yoke_conn *a = NULL, *b = NULL;
    struct yoke_credentials who;
    int fds[1];
    size_t n = 1;
    char byte = 'y';
    int rc = yoke_socket_pair(&a, &b);

    (void)arg;
    if (rc == 0)
        rc = yoke_conn_credentials(a, &who);
    if (rc == 0)
        rc = yoke_conn_send_fds(a, &byte, 1, &(int){0}, 1, NULL);
    if (rc == 0) {
        ssize_t got = yoke_conn_receive_fds(b, &byte, 1, fds, &n);

        rc = got < 0 ? (int)got : 0;
        if (rc == 0)
            close(fds[0]);
    }
    yoke_conn_unref(a);
    yoke_conn_unref(b);
    return rc;
}

/* What a conn was not made of stays the caller's. */
static int taken_over(void *arg)
{
    struct yoke_conn *conns[2] = {NULL, NULL};
    int fds[2];
    int rc = 0;

    (void)arg;
    yk_check_int(pipe(fds), 0);
    for (int i = 0; i < 2; i++) {
        if (rc == 0)
            rc = yoke_conn_from_fd(fds[i], &conns[i]);
        if (conns[i] == NULL)
            close(fds[i]);
    }
    if (rc == 0)
        rc = say(conns[1], conns[0]);
    yoke_conn_unref(conns[0]);
    yoke_conn_unref(conns[1]);
    return rc;
}

static int read_one(void *arg)
{
    char byte;
    ssize_t n = yoke_read(*(int *)arg, &byte, 1);

    return n < 0 ? (int)n : 0;
}

/* Descriptors that are no conns, one of which has to be waited for. */
static int bare_descriptors(void *arg)
{
    struct yoke_nursery nursery;
    char byte = 'y';
    int fds[2];
    int rc;

    (void)arg;
    yk_check_int(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    rc = yoke_nursery_open(&nursery, NULL);
    if (rc == 0)
        rc = yoke_spawn(&nursery, read_one, &fds[0]);
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    if (rc == 0)
        rc = yoke_write_all(fds[1], &byte, 1, NULL);
    rc = yoke_nursery_close(&nursery, rc);
    close(fds[0]);
    close(fds[1]);
    return rc;
}

/* --- processes ------------------------------------------------------------------------------- */

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static int open_process(void *arg)
{
    struct yoke_process process;
    struct yoke_process_opts opts = {.output = {.kind = YOKE_STDIO_PIPE}};
    char text[8];
    int rc = yoke_process_open(&process, ARGV("echo", "hello"), &opts);

    (void)arg;
    if (rc < 0)
        return rc;
    {
        ssize_t n = yoke_read(yoke_process_output(&process), text, sizeof text);

        rc = n < 0 ? (int)n : 0;
    }
    return yoke_process_close(&process, rc, NULL);
}

static int run_process(void *arg)
{
    struct yoke_process_opts opts = {
        .input = {.kind = YOKE_STDIO_BYTES, .data = "hello", .size = 5},
        .output = {.kind = YOKE_STDIO_CAPTURE},
        .errors = {.kind = YOKE_STDIO_CAPTURE},
        .variables = ARGV("YOKE_TEST=1"),
        .own_group = true,
    };
    struct yoke_process_result result;
    int rc = yoke_process_run(ARGV("cat"), &opts, &result);

    (void)arg;
    if (rc < 0)
        return rc;
    yk_check_text(result.output, "hello");
    yoke_process_result_fini(&result);
    return 0;
}

/* Left with an error while it runs, so that it has to be ended. */
static int ended_process(void *arg)
{
    struct yoke_process process;
    int rc = yoke_process_open(&process, ARGV("sleep", "1000"), NULL);

    (void)arg;
    if (rc < 0)
        return rc;
    rc = yoke_process_close(&process, yoke_raise("test.Enough", EPIPE, "that is enough"), NULL);
    if (rc != -EPIPE)
        return rc;
    yk_check_text(yoke_error_type(yoke_in_flight()), "test.Enough");
    yoke_clear();
    return 0;
}

/* --- threads --------------------------------------------------------------------------------- */

static int count_up(void *arg)
{
    ++*(int *)arg;
    return 0;
}

static int call_back(void *arg)
{
    return yoke_handle_call(NULL, count_up, arg);
}

static int worker_call(void *arg)
{
    int n = 0;
    int rc = yoke_thread_run(call_back, &n, NULL);

    (void)arg;
    yk_check(rc < 0 || n == 1);
    return rc;
}

/* In a worker thread: the other side of a handle. */
struct outside {
    struct yoke_handle *handle;
    int n;
};

static int call_and_post(void *arg)
{
    struct outside *outside = arg;
    int rc = yoke_handle_call(outside->handle, count_up, &outside->n);

    return rc < 0 ? rc : yoke_handle_post(outside->handle, count_up, &outside->n);
}

static int handle_of_a_runtime(void *arg)
{
    struct outside outside = {.handle = yoke_runtime_handle()};
    int rc;

    (void)arg;
    if (outside.handle == NULL)
        return yoke_error_code(yoke_in_flight());
    rc = yoke_thread_run(call_and_post, &outside, NULL);
    yoke_handle_unref(outside.handle);
    while (rc == 0 && outside.n < 2)
        rc = yoke_wait_all_tasks_blocked();
    return rc;
}

static int signals(void *arg)
{
    struct yoke_signals signals;
    struct yoke_signal_info info;
    int rc = yoke_signals_open(&signals, (const int[]){SIGUSR1, SIGUSR2}, 2);

    (void)arg;
    if (rc < 0)
        return rc;
    raise(SIGUSR2);
    rc = yoke_signals_wait(&signals, &info);
    yk_check(rc < 0 || info.number == SIGUSR2);
    yoke_signals_close(&signals);
    return rc;
}

/* --- files ----------------------------------------------------------------------------------- */

static int write_and_read(struct yoke_conn *file)
{
    char text[8];
    int rc = yoke_file_pwrite(file, "hello", 5, 0, NULL);

    if (rc == 0)
        rc = yoke_conn_write_all(file, "HE", 2, NULL);
    if (rc == 0)
        rc = yoke_file_sync(file);
    if (rc == 0) {
        ssize_t n = yoke_file_pread(file, text, sizeof text, 0);

        rc = n < 0 ? (int)n : 0;
        yk_check(n < 0 || (n == 5 && memcmp(text, "HEllo", 5) == 0));
    }
    return rc;
}

static int open_file(void *arg)
{
    struct yoke_conn *file = NULL;
    int rc = yoke_file_open(path, O_RDWR | O_CREAT, 0600, &file);

    (void)arg;
    if (rc == 0)
        rc = write_and_read(file);
    if (file != NULL) {
        int closed = rc < 0 ? 0 : yoke_file_close(file);

        rc = rc < 0 ? rc : closed;
        yoke_conn_unref(file);
    }
    (void)unlink(path);
    return rc;
}

static int paths(void *arg)
{
    struct stat status;
    char *data = NULL;
    char other[80];
    int rc = yoke_file_replace(path, "hello", 5, 0);

    (void)arg;
    snprintf(other, sizeof other, "%s-2", path);
    if (rc == 0)
        rc = yoke_file_replace(path, "again", 5, 0); /* one that is there */
    if (rc == 0)
        rc = yoke_file_load(path, 0, &data, NULL);
    yk_check(rc < 0 || strcmp(data, "again") == 0);
    free(data);
    if (rc == 0)
        rc = yoke_file_stat(path, &status);
    if (rc == 0)
        rc = yoke_file_rename(path, other);
    if (rc == 0)
        rc = yoke_file_unlink(other);
    (void)unlink(path);
    (void)unlink(other);
    return rc;
}

static int print(void *arg)
{
    int fds[2];
    int rc;

    (void)arg;
    yk_check_int(pipe(fds), 0);
    rc = yoke_print(fds[1], "hello %d\n", 1);
    close(fds[0]);
    close(fds[1]);
    return rc;
}

#define SWEEP(law, operation)                                                                      \
    static void law(void **state)                                                                  \
    {                                                                                              \
        struct yk_sweep sweep;                                                                     \
                                                                                                   \
        (void)state;                                                                               \
        yk_sweep(operation, NULL, &sweep);                                                         \
        /* There is something to fail, and not all of it could be done without. */                 \
        assert_true(sweep.system_calls.failures > sweep.system_calls.unharmed);                    \
    }

SWEEP(tcp_connections, tcp)
SWEEP(unix_connections, unix_stream)
SWEEP(what_a_dead_listener_left, leftover)
SWEEP(connections_by_name, by_name)
SWEEP(lookups, resolve)
SWEEP(datagram_sockets, datagrams)
SWEEP(pipes, pair_of_pipe)
SWEEP(passing_descriptors, passed_descriptors)
SWEEP(taking_descriptors_over, taken_over)
SWEEP(waiting_for_descriptors, bare_descriptors)
SWEEP(processes_that_are_open, open_process)
SWEEP(processes_that_are_run, run_process)
SWEEP(processes_that_are_ended, ended_process)
SWEEP(calls_in_worker_threads, worker_call)
SWEEP(calls_and_posts_by_handle, handle_of_a_runtime)
SWEEP(signal_receivers, signals)
SWEEP(files_that_are_open, open_file)
SWEEP(files_by_path, paths)
SWEEP(printing, print)

/* --- whole runtimes -------------------------------------------------------------------------- */

static int nothing(void *arg)
{
    return yoke_thread_run(count_up, arg, NULL);
}

static int as_guest(void *arg)
{
    struct yoke_guest *guest;
    int rc = yoke_guest_open(nothing, arg, NULL, &guest);
    struct pollfd fd = {.events = POLLIN};

    if (rc < 0)
        return rc;
    fd.fd = yoke_guest_fd(guest);
    do
        assert_true(poll(&fd, 1, -1) > 0);
    while (yoke_guest_step(guest) > 0);
    return yoke_guest_close(guest);
}

static int as_program(void *arg)
{
    return yoke_run(nothing, arg, NULL);
}

/* One kind of failure, until there is none to deliver. How many there were. */
static unsigned fail_each(int (*run)(void *arg), bool allocations)
{
    for (unsigned n = 1;; n++) {
        struct yk_left_behind before;
        unsigned left;
        int rc, ran = 0;

        yk_left_behind_note(&before);
        (void)(allocations ? yoke_fail_allocation(n, false) : yoke_fail_system_call(n, 0));
        rc = run(&ran);
        left = allocations ? yoke_fail_allocation(0, false) : yoke_fail_system_call(0, 0);
        assert_true(rc < 0 || ran == 1);
        assert_true((rc < 0) == (yoke_in_flight() != NULL));
        if (rc < 0)
            assert_true(strlen(yoke_error_message(yoke_in_flight())) > 8);
        yoke_clear();
        yk_left_behind_check(&before);
        if (left > 0)
            return n - 1;
    }
}

static void runtimes_of_their_own(void **state)
{
    (void)state;
    assert_true(fail_each(as_program, true) > 5);
    assert_true(fail_each(as_program, false) >=
                5); /* epoll, eventfd, its watch, a stack, a thread */
}

static void guests(void **state)
{
    (void)state;
    assert_true(fail_each(as_guest, true) > 5);
    assert_true(fail_each(as_guest, false) >= 6); /* and a timer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tcp_connections),
        cmocka_unit_test(unix_connections),
        cmocka_unit_test(what_a_dead_listener_left),
        cmocka_unit_test(connections_by_name),
        cmocka_unit_test(lookups),
        cmocka_unit_test(datagram_sockets),
        cmocka_unit_test(pipes),
        cmocka_unit_test(passing_descriptors),
        cmocka_unit_test(taking_descriptors_over),
        cmocka_unit_test(waiting_for_descriptors),
        cmocka_unit_test(processes_that_are_open),
        cmocka_unit_test(processes_that_are_run),
        cmocka_unit_test(processes_that_are_ended),
        cmocka_unit_test(calls_in_worker_threads),
        cmocka_unit_test(calls_and_posts_by_handle),
        cmocka_unit_test(signal_receivers),
        cmocka_unit_test(files_that_are_open),
        cmocka_unit_test(files_by_path),
        cmocka_unit_test(printing),
        cmocka_unit_test(runtimes_of_their_own),
        cmocka_unit_test(guests),
    };

    return cmocka_run_group_tests_name("exhaustion", tests, make_directory, remove_directory);
}
