/* SPDX-License-Identifier: MIT */
/*
 * TCP, UDP and Unix sockets on the loopback: connecting, listening, serving, datagrams, and what
 * goes wrong with each. getaddrinfo and accept4 are this file's own, so that names resolve to what
 * a test says, and accepting fails as it says.
 */
#include "io/test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <yoke/event.h>
#include <yoke/net.h>

/* --- the system as the tests want it ---------------------------------------------------------- */

struct names {
    const char *answers[8]; /* numeric hosts that any name has; none: it does not exist */
    int code;               /* EAI_*, if not 0 */
    sem_t *hang;            /* lookups wait for it */
    unsigned asked;
    unsigned now, most; /* lookups at once */
};
static struct names names;
static pthread_mutex_t names_mutex = PTHREAD_MUTEX_INITIALIZER;

static void names_clear(void)
{
    pthread_mutex_lock(&names_mutex);
    memset(&names, 0, sizeof names);
    pthread_mutex_unlock(&names_mutex);
}

static struct addrinfo *made_info(const char *host, const char *service)
{
    char text[128];
    struct {
        struct addrinfo info;
        struct yoke_address address;
    } *made = calloc(1, sizeof *made);

    snprintf(text, sizeof text, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, service);
    yk_check(made != NULL && yoke_address_parse(text, &made->address) == 0);
    made->info.ai_addr = &made->address.as.sockaddr;
    made->info.ai_addrlen = made->address.size;
    return &made->info;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    struct addrinfo **last = ret;
    struct names asked; /* as they were: a lookup that is left behind outlasts its test */

    (void)host;
    (void)hints;
    pthread_mutex_lock(&names_mutex);
    names.asked++;
    if (++names.now > names.most)
        names.most = names.now;
    asked = names;
    pthread_mutex_unlock(&names_mutex);
    if (asked.hang != NULL)
        sem_wait(asked.hang);
    pthread_mutex_lock(&names_mutex);
    names.now -= names.now > 0;
    pthread_mutex_unlock(&names_mutex);
    *ret = NULL;
    for (size_t i = 0; asked.code == 0 && asked.answers[i] != NULL; i++) {
        *last = made_info(asked.answers[i], service);
        last = &(*last)->ai_next;
    }
    return asked.code != 0 ? asked.code : *ret == NULL ? EAI_NONAME : 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;

        free(info);
        info = next;
    }
}

static int accept_errors[4]; /* given one after another; 0: none left */

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    int error = accept_errors[0];

    if (error == 0)
        return (int)syscall(SYS_accept4, fd, address, size, flags);
    memmove(accept_errors, accept_errors + 1, sizeof accept_errors - sizeof accept_errors[0]);
    errno = error;
    return -1;
}

/* --- what tests share --------------------------------------------------------------------------
 */

static const char *text_of(const struct yoke_address *address)
{
    static char text[YOKE_ADDRESS_TEXT];

    return yoke_address_format(address, text, sizeof text);
}

static struct yoke_listener *listen_at(const char *place)
{
    struct yoke_listener *listener = NULL;

    yk_check_int(yoke_listen(place, NULL, &listener), 0);
    return listener;
}

static struct yoke_conn *connect_to(const struct yoke_listener *listener)
{
    struct yoke_conn *conn = NULL;

    yk_check_int(yoke_connect_address(yoke_listener_address(listener), NULL, &conn), 0);
    return conn;
}

/* Two connected ends and nothing else. */
static void pair_at(const char *place, struct yoke_conn **ret_client, struct yoke_conn **ret_server)
{
    struct yoke_listener *listener = listen_at(place);

    *ret_client = connect_to(listener);
    yk_check_int(yoke_accept(listener, ret_server), 0);
    yoke_listener_unref(listener);
}

static void reset(struct yoke_conn *conn)
{
    struct linger now = {.l_onoff = 1};

    yk_check_int(setsockopt(yoke_conn_fd(conn), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    yoke_conn_close(conn);
}

/* A port at which nobody listens. */
static void dead_place(char *text, size_t size)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0");

    yoke_address_format(yoke_listener_address(listener), text, size);
    yoke_listener_unref(listener);
}

/* Cancels after all others are blocked. */
static int cancel_when_blocked(void *arg)
{
    int rc = yoke_wait_all_tasks_blocked();

    if (rc == 0)
        yoke_scope_cancel((struct yoke_scope *)arg, "all are blocked");
    return rc;
}

/* Runs body(arg) in a nursery that is cancelled when it waits. Its result. */
static int cancelled_while(int (*body)(void *arg), void *arg)
{
    struct yoke_nursery nursery;
    int result = 0;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, cancel_when_blocked, yoke_nursery_scope(&nursery));
    if (rc == 0)
        rc = result = body(arg);
    yk_check_int(yoke_nursery_close(&nursery, rc), 0);
    return result;
}

/* --- connecting --------------------------------------------------------------------------------
 */

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

static int connect_within(void *arg)
{
    struct stuck *stuck = arg;
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(20)});

    if (rc == 0)
        rc = connect_more(stuck);
    rc = yoke_scope_close(&scope, rc);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return rc;
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
    yk_check_int(connect_within(&stuck), 0);
    full = stuck.n;
    yk_check(full > 0 && full < 8);
    yk_check_int(yoke_accept(stuck.listener, &server), 0);
    yk_check_int(connect_within(&stuck), 0);
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

/* --- names -------------------------------------------------------------------------------------
 */

YK_REAL_TEST(numeric_places_and_paths_need_no_lookup)
{
    static const char *const places[] = {"127.0.0.1:80", "[::1]:80", "/run/x", "@x"};
    struct yoke_address *addresses;

    names_clear();
    for (size_t i = 0; i < 4; i++) {
        yk_check_int(yoke_resolve(places[i], NULL, &addresses), 1);
        yk_check_text(text_of(&addresses[0]), places[i]);
        free(addresses);
    }
    yk_check_int(names.asked, 0);
    yk_check_int(yoke_resolve("127.0.0.1:80", &(struct yoke_resolve_opts){.family = AF_INET6},
                              &addresses),
                 -EAFNOSUPPORT);
    yk_check_caught("yoke.Resolve", NULL);
    yk_check_int(yoke_resolve("[bad", NULL, &addresses), -EINVAL);
    yk_check_caught("yoke.Address", NULL);
    return 0;
}

YK_REAL_TEST(a_name_that_does_not_resolve_says_which_and_why)
{
    static const struct {
        int code, rc;
    } cases[] = {{EAI_NONAME, -ENOENT},       {EAI_AGAIN, -EAGAIN},  {EAI_FAIL, -EIO},
                 {EAI_FAMILY, -EAFNOSUPPORT}, {EAI_MEMORY, -ENOMEM}, {EAI_SERVICE, -EINVAL}};
    struct yoke_address *addresses;
    struct yoke_conn *conn;

    names_clear();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        names.code = cases[i].code;
        yk_check_int(yoke_resolve("no.such.test:80", NULL, &addresses), cases[i].rc);
        yk_check(yoke_in_flight() != NULL &&
                 strncmp(yoke_error_message(yoke_in_flight()), "no.such.test:80: ", 17) == 0);
        yk_check_caught("yoke.Resolve", NULL);
    }
    names.code = EAI_NONAME;
    yk_check_int(yoke_connect("no.such.test:80", NULL, &conn), -ENOENT);
    yk_check_caught("yoke.Resolve", NULL);
    return 0;
}

static int resolve_it(void *arg)
{
    struct yoke_address *addresses;
    int n = yoke_resolve("some.host.test:80", NULL, &addresses);

    (void)arg;
    if (n < 0)
        return n;
    free(addresses);
    return 0;
}

YK_REAL_TEST(a_cancelled_lookup_is_left_behind)
{
    static sem_t hang; /* waited for, perhaps, when this has returned */

    sem_init(&hang, 0, 0);
    names_clear();
    names.answers[0] = "127.0.0.1";
    names.hang = &hang;
    yk_check_int(cancelled_while(resolve_it, NULL), YOKE_CANCELLED);
    sem_post(&hang);
    return 0;
}

static int resolve_and_wake(void *arg)
{
    int rc = resolve_it(NULL);

    if (rc == 0)
        sem_post((sem_t *)arg);
    return rc;
}

YK_REAL_TEST(at_most_16_lookups_run_at_a_time)
{
    struct yoke_nursery nursery;
    sem_t hang;

    sem_init(&hang, 0, 0);
    names_clear();
    names.answers[0] = "127.0.0.1";
    names.hang = &hang;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 40; i++)
        yk_check_int(yoke_spawn(&nursery, resolve_and_wake, &hang), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < 16; i++)
        sem_post(&hang); /* each that ends lets one more go */
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(names.asked, 40);
    yk_check(names.most <= 16);
    return 0;
}

/* --- listening ---------------------------------------------------------------------------------
 */

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

/* --- serving -----------------------------------------------------------------------------------
 */

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
    yoke_listener_close(service.listener);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
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
    yoke_listener_close(service.listener);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
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
    yoke_listener_close(service.listener);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yoke_listener_unref(service.listener);
    return 0;
}

/* --- what breaks -------------------------------------------------------------------------------
 */

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
        cmocka_unit_test(numeric_places_and_paths_need_no_lookup),
        cmocka_unit_test(a_name_that_does_not_resolve_says_which_and_why),
        cmocka_unit_test(a_cancelled_lookup_is_left_behind),
        cmocka_unit_test(at_most_16_lookups_run_at_a_time),
        cmocka_unit_test(any_address_takes_both_families),
        cmocka_unit_test(an_address_in_use_is_refused_and_usable_again_once_closed),
        cmocka_unit_test(a_shared_port_is_shared_by_those_who_ask),
        cmocka_unit_test(a_dead_listeners_path_is_replaced_a_living_ones_and_a_file_are_not),
        cmocka_unit_test(closing_leaves_a_path_that_is_somebody_elses_by_now),
        cmocka_unit_test(a_leftover_under_another_ones_lock_is_left_alone),
        cmocka_unit_test(closing_a_listener_wakes_all_who_accept),
        cmocka_unit_test(a_cancelled_accept_takes_nothing),
        cmocka_unit_test(accept_passes_over_connections_that_are_gone_and_tells_of_exhaustion),
        cmocka_unit_test(a_handler_that_fails_ends_neither_the_others_nor_the_server),
        cmocka_unit_test(a_handler_that_fails_ends_the_server_if_asked),
        cmocka_unit_test(closing_the_listener_lets_running_handlers_finish),
        cmocka_unit_test(cancelling_the_server_cancels_its_handlers),
        cmocka_unit_test(at_most_so_many_connections_are_served_at_once),
        cmocka_unit_test(a_server_out_of_descriptors_pauses_says_so_once_and_goes_on),
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
