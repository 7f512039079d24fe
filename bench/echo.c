/* SPDX-License-Identifier: MIT */
/*
 * Echo: messages of 64 bytes there and back, both ends in one process, over 1, 64 and 1000
 * connections at once; Unix sockets and TCP on the loopback. The floor is the same by a loop over
 * an edge-triggered epoll, which knows by a short read that a socket is empty, as we do. Both are
 * never idle, so that processor time tells how fast they are.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yoke/conn.h>
#include <yoke/error.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>
#include <yoke/testing.h>

#include "../bench/bench.h"

enum { CONNECTIONS_MAX = 1000, MESSAGE = 64, ROOM = 512, ROUNDS = 100000, BATCH = 64 };

/* One connection's descriptors: what asks, what answers. */
typedef int pair_fn(int *fds);

static int unix_pair(int *fds)
{
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0 ? -errno : 0;
}

/* A listener for each pair: setting up is not what is timed. */
static int tcp_pair(int *fds)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *any = (struct sockaddr *)&address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    socklen_t size = sizeof address;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    fds[1] = -1;
    if (listener >= 0 && fds[0] >= 0 && bind(listener, any, size) == 0 &&
        listen(listener, 1) == 0 && getsockname(listener, any, &size) == 0 &&
        connect(fds[0], any, size) == 0)
        fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fds[1] < 0)
        return -errno;
    close(listener);
    for (int i = 0; i < 2; i++)
        if (setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
            return -errno;
    return 0;
}

static int make_pairs(pair_fn *pair, size_t n, int (*fds)[2])
{
    struct rlimit limit;
    int rc = 0;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = pair(fds[i]);
    return rc;
}

/* --- with yoke -------------------------------------------------------------------------------- */

struct side {
    struct yoke_conn *conn;
    struct echo *echo;
};

struct echo {
    pair_fn *pair;
    size_t connections;
    long rounds;   /* of each connection */
    double us;     /* of one round */
    size_t asking; /* connections that are not done */
    int64_t ended; /* when the last one was */
    struct yoke_event go;
    int fds[CONNECTIONS_MAX][2];
    struct side sides[CONNECTIONS_MAX][2];
};

static int answer(void *arg)
{
    struct side *side = arg;
    char room[ROOM];
    ssize_t n;
    int rc = 0;

    while (rc == 0 && (n = yoke_conn_read(side->conn, room, sizeof room)) != 0)
        rc = n < 0 ? (int)n : yoke_conn_write_all(side->conn, room, (size_t)n, NULL);
    return rc;
}

static int ask(void *arg)
{
    struct side *side = arg;
    struct echo *echo = side->echo;
    char message[MESSAGE] = "the same bytes again and again", room[ROOM];
    int rc = yoke_event_wait(&echo->go);

    for (long i = 0; rc == 0 && i < echo->rounds; i++) {
        ssize_t n;

        rc = yoke_conn_write_all(side->conn, message, sizeof message, NULL);
        if (rc < 0)
            return rc;
        n = yoke_conn_read(side->conn, room, sizeof room);
        if (n != MESSAGE)
            rc = n < 0 ? (int)n : -EBADMSG;
    }
    if (--echo->asking == 0)
        echo->ended = bench_cpu();
    return rc < 0 ? rc : yoke_conn_close_write(side->conn);
}

/* Timed from when all tasks are there, as the floor is, until the last answer. */
static int run_sides(struct echo *echo)
{
    struct yoke_nursery nursery;
    int64_t began;
    int rc = yoke_nursery_open(&nursery, NULL);

    yoke_event_init(&echo->go);
    echo->asking = echo->connections;
    for (size_t i = 0; rc == 0 && i < echo->connections; i++) {
        rc = yoke_spawn(&nursery, ask, &echo->sides[i][0]);
        if (rc == 0)
            rc = yoke_spawn(&nursery, answer, &echo->sides[i][1]);
    }
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    began = bench_cpu();
    yoke_event_set(&echo->go);
    rc = yoke_nursery_close(&nursery, rc);
    echo->us =
        (double)(echo->ended - began) / 1e3 / (double)(echo->rounds * (long)echo->connections);
    return rc;
}

static int echo_main(void *arg)
{
    struct echo *echo = arg;
    int rc = make_pairs(echo->pair, echo->connections, echo->fds);

    for (size_t i = 0; rc == 0 && i < 2 * echo->connections; i++) {
        struct side *side = &echo->sides[i / 2][i % 2];

        side->echo = echo;
        rc = yoke_conn_from_fd(echo->fds[i / 2][i % 2], &side->conn);
    }
    if (rc == 0)
        rc = run_sides(echo);
    for (size_t i = 0; i < 2 * echo->connections; i++)
        yoke_conn_unref(echo->sides[i / 2][i % 2].conn);
    return rc;
}

/* Runs it twice: the first time, with an eighth of the rounds, warms up. */
static int twice(int (*run)(struct echo *echo), pair_fn *pair, size_t connections, double *ret)
{
    struct echo *echo = calloc(1, sizeof *echo);
    int rc = echo == NULL ? -ENOMEM : 0;

    for (int divisor = 8; rc == 0 && divisor > 0; divisor -= 7) {
        memset(echo, 0, sizeof *echo);
        echo->pair = pair;
        echo->connections = connections;
        echo->rounds = ROUNDS / (long)connections / divisor;
        rc = run(echo);
        *ret = echo->us;
    }
    free(echo);
    return rc;
}

static int with_yoke(struct echo *echo)
{
    return yoke_run(echo_main, echo, NULL);
}

/* --- the floor -------------------------------------------------------------------------------- */

struct end {
    int fd;
    long rounds; /* what asks: still to do; what answers: -1 */
};

static int move(struct end *end, size_t *asking)
{
    char room[ROOM];
    ssize_t n;

    do {
        n = recv(end->fd, room, sizeof room, 0);
        if (n < 0)
            return errno == EAGAIN ? 0 : -errno;
        if (n == 0)
            return 0;
        if (end->rounds >= 0 && --end->rounds == 0) {
            (*asking)--;
            return 0;
        }
        if (send(end->fd, room, (size_t)n, MSG_NOSIGNAL) != n)
            return -EBADMSG;
    } while (n == (ssize_t)sizeof room);
    return 0;
}

static int epoll_loop(int epoll_fd, struct end (*ends)[2], size_t connections, long rounds)
{
    static const char message[MESSAGE];
    struct epoll_event events[BATCH];
    size_t asking = connections;

    for (size_t i = 0; i < connections; i++) {
        ends[i][0].rounds = rounds;
        if (send(ends[i][0].fd, message, sizeof message, MSG_NOSIGNAL) < 0)
            return -errno;
    }
    while (asking > 0) {
        int n = epoll_wait(epoll_fd, events, BATCH, -1);
        int rc = 0;

        for (int i = 0; rc == 0 && i < n; i++)
            rc = move(events[i].data.ptr, &asking);
        if (rc < 0 || (n < 0 && errno != EINTR))
            return rc < 0 ? rc : -errno;
    }
    return 0;
}

static int without_yoke(struct echo *echo)
{
    static struct end ends[CONNECTIONS_MAX][2];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int64_t began;
    int rc = epoll_fd < 0 ? -errno : make_pairs(echo->pair, echo->connections, echo->fds);

    for (size_t i = 0; rc == 0 && i < 2 * echo->connections; i++) {
        struct end *end = &ends[i / 2][i % 2];
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = end};

        end->fd = echo->fds[i / 2][i % 2];
        end->rounds = -1;
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, end->fd, &event) < 0)
            rc = -errno;
    }
    began = bench_cpu();
    if (rc == 0)
        rc = epoll_loop(epoll_fd, ends, echo->connections, echo->rounds);
    echo->us =
        (double)(bench_cpu() - began) / 1e3 / (double)(echo->rounds * (long)echo->connections);
    for (size_t i = 0; i < 2 * echo->connections; i++)
        close(echo->fds[i / 2][i % 2]);
    close(epoll_fd);
    return rc;
}

/* clang-format off */
#define CASE(name, pair, connections)                                                              \
    static int name##_value(double *ret) { return twice(with_yoke, pair, connections, ret); }      \
    static int name##_floor(double *ret) { return twice(without_yoke, pair, connections, ret); }

CASE(echo_1, unix_pair, 1)
CASE(echo_64, unix_pair, 64)
CASE(echo_1000, unix_pair, 1000)
CASE(echo_tcp_1, tcp_pair, 1)
CASE(echo_tcp_64, tcp_pair, 64)
CASE(echo_tcp_1000, tcp_pair, 1000)
/* clang-format on */

#define FLOOR_IS "a loop over epoll, edge-triggered"

const struct bench_case bench_echo_cases[] = {
    {"echo_1", "us", echo_1_value, echo_1_floor, FLOOR_IS, false},
    {"echo_64", "us", echo_64_value, echo_64_floor, FLOOR_IS, false},
    {"echo_1000", "us", echo_1000_value, echo_1000_floor, FLOOR_IS, false},
    {"echo_tcp_1", "us", echo_tcp_1_value, echo_tcp_1_floor, FLOOR_IS, false},
    {"echo_tcp_64", "us", echo_tcp_64_value, echo_tcp_64_floor, FLOOR_IS, false},
    {"echo_tcp_1000", "us", echo_tcp_1000_value, echo_tcp_1000_floor, FLOOR_IS, false},
    {0},
};
