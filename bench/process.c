/* SPDX-License-Identifier: MIT */
/*
 * Floors made of bare processes: what the kernel asks for the same effect, by blocking system calls
 * on plain descriptors. No child outlives a benchmark that is killed: each ends when its socket
 * does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench/bench.h"

extern char **environ;

enum { ROUND_TRIPS = 20000, MESSAGES = 200000, STARTS = 20, KILLED_MAX = 39, MESSAGE = 64 };
enum { BULK_MAX = 1 << 20, RING_PLACES = 4 };

struct peer {
    pid_t pid;
    int fd; /* our end of its socket */
};

/* All `size` bytes. 0; -EPIPE at the end; -errno. */
static int read_all(int fd, char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = read(fd, data, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static int echo(int fd)
{
    char message[MESSAGE];
    int rc;

    do {
        rc = read_all(fd, message, sizeof message);
        if (rc == 0)
            rc = write_all(fd, message, sizeof message);
    } while (rc == 0);
    return rc == -EPIPE ? 0 : rc;
}

static int pour(int fd)
{
    char message[MESSAGE] = {0};
    int rc;

    do
        rc = write_all(fd, message, sizeof message);
    while (rc == 0);
    return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
}

/* A copy of this process that runs body on its end of a socketpair. 0 or -errno. */
static int open_peer(struct peer *peer, int (*body)(int fd))
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    peer->pid = fork();
    if (peer->pid == 0) {
        close(fds[0]);
        _exit(body(fds[1]) == 0 ? 0 : 1);
    }
    close(fds[1]);
    peer->fd = fds[0];
    if (peer->pid < 0) {
        int rc = -errno;

        close(fds[0]);
        return rc;
    }
    return 0;
}

static int reap(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? -ECHILD : 0;
}

static int close_peer(struct peer *peer)
{
    close(peer->fd);
    return reap(peer->pid);
}

static int round_trip_fd;

static int round_trips(long n)
{
    char message[MESSAGE] = {0};
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++) {
        rc = write_all(round_trip_fd, message, sizeof message);
        if (rc == 0)
            rc = read_all(round_trip_fd, message, sizeof message);
    }
    return rc;
}

int bench_raw_round_trip(double *ret_us)
{
    struct peer peer;
    double ns = 0;
    int rc = open_peer(&peer, echo);
    int ended;

    if (rc < 0)
        return rc;
    round_trip_fd = peer.fd;
    rc = bench_plain_wall(round_trips, ROUND_TRIPS, &ns);
    ended = close_peer(&peer);
    *ret_us = ns / 1e3;
    return rc < 0 ? rc : ended;
}

int bench_raw_stream(double *ret_per_second)
{
    char buffer[64 << 10];
    struct peer peer;
    int64_t begin = 0;
    size_t bytes = 0;
    int rc = open_peer(&peer, pour);
    int ended;

    if (rc < 0)
        return rc;
    rc = read_all(peer.fd, buffer, sizeof buffer); /* it is up and pours */
    begin = bench_now();
    while (rc == 0 && bytes < (size_t)MESSAGES * MESSAGE) {
        ssize_t n = read(peer.fd, buffer, sizeof buffer);

        if (n > 0)
            bytes += (size_t)n;
        else if (n == 0 || errno != EINTR)
            rc = n == 0 ? -EPIPE : -errno;
    }
    *ret_per_second = (double)bytes / MESSAGE / ((double)(bench_now() - begin) / 1e9);
    ended = close_peer(&peer);
    return rc < 0 ? rc : ended;
}

/* What a copy of this process pours, as large as `bulk_size` says. */
static char bulk_from[BULK_MAX], bulk_to[BULK_MAX];
static size_t bulk_size;

static int pour_bulk(int fd)
{
    int rc;

    do {
        bulk_from[0]++;
        rc = write_all(fd, bulk_from, bulk_size);
    } while (rc == 0);
    return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
}

static int raw_bulk(size_t size, int n, double *ret_mib)
{
    struct peer peer;
    int64_t begin = 0;
    int rc, ended;

    bulk_size = size;
    rc = open_peer(&peer, pour_bulk);
    if (rc < 0)
        return rc;
    for (int i = -n / 4; rc == 0 && i < n; i++) {
        if (i == 0)
            begin = bench_now();
        rc = read_all(peer.fd, bulk_to, size);
    }
    *ret_mib = (double)size * n / (1 << 20) / ((double)(bench_now() - begin) / 1e9);
    ended = close_peer(&peer);
    return rc < 0 ? rc : ended;
}

int bench_raw_64k(double *ret_mib)
{
    return raw_bulk(64 << 10, 8000, ret_mib);
}

int bench_raw_1m(double *ret_mib)
{
    return raw_bulk(1 << 20, 1000, ret_mib);
}

static char *ring; /* RING_PLACES of BULK_MAX bytes, shared */

/* Fills a place for each byte that says that one is free, and says so. */
static int fill_ring(int fd)
{
    int rc = 0;

    for (size_t i = 0; rc == 0; i++) {
        char byte = 0;

        if (i >= RING_PLACES)
            rc = read_all(fd, &byte, 1);
        if (rc < 0)
            break;
        bulk_from[0]++;
        memcpy(ring + i % RING_PLACES * BULK_MAX, bulk_from, BULK_MAX);
        rc = write_all(fd, &byte, 1);
    }
    return rc == -EPIPE || rc == -ECONNRESET ? 0 : rc;
}

int bench_raw_ring(double *ret_mib)
{
    enum { N = 1000 };
    struct peer peer;
    int64_t begin = 0;
    int rc, ended;

    ring = mmap(NULL, (size_t)RING_PLACES * BULK_MAX, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        return -errno;
    rc = open_peer(&peer, fill_ring);
    if (rc < 0) {
        munmap(ring, (size_t)RING_PLACES * BULK_MAX);
        return rc;
    }
    for (int i = -N / 4; rc == 0 && i < N; i++) {
        char byte;

        if (i == 0)
            begin = bench_now();
        rc = read_all(peer.fd, &byte, 1);
        bench_keep(ring);
        if (rc == 0)
            rc = write_all(peer.fd, &byte, 1);
    }
    *ret_mib = (double)N * BULK_MAX / (1 << 20) / ((double)(bench_now() - begin) / 1e9);
    ended = close_peer(&peer);
    munmap(ring, (size_t)RING_PLACES * BULK_MAX);
    return rc < 0 ? rc : ended;
}

/* Spawns the empty program with a socket as its input and output. 0 or -errno. */
static int spawn_empty(struct peer *peer, bool idle)
{
    char *argv[] = {(char *)YK_BENCH_EMPTY, idle ? (char *)"idle" : NULL, NULL};
    posix_spawn_file_actions_t actions;
    int fds[2];
    int rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    rc = -posix_spawn_file_actions_init(&actions);
    if (rc == 0) {
        rc = -posix_spawn_file_actions_adddup2(&actions, fds[1], STDIN_FILENO);
        if (rc == 0)
            rc = -posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
        if (rc == 0)
            rc = -posix_spawn(&peer->pid, YK_BENCH_EMPTY, &actions, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(fds[1]);
    if (rc < 0)
        close(fds[0]);
    else
        peer->fd = fds[0];
    return rc;
}

static int starts(long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++) {
        struct peer peer;
        char byte;
        int ended;

        rc = spawn_empty(&peer, false);
        if (rc < 0)
            break;
        rc = read_all(peer.fd, &byte, 1);
        ended = close_peer(&peer);
        rc = rc < 0 ? rc : ended;
    }
    return rc;
}

int bench_raw_start(double *ret_us)
{
    double ns = 0;
    int rc = bench_plain_wall(starts, STARTS, &ns);

    *ret_us = ns / 1e3;
    return rc;
}

/* Spawns idle processes, and waits until each runs. Their number, or -errno; *ret_n in any case. */
static int spawn_idle(struct peer *peers, int n, int *ret_n)
{
    int rc = 0;

    for (*ret_n = 0; rc == 0 && *ret_n < n;) {
        char byte;

        rc = spawn_empty(&peers[*ret_n], true);
        if (rc == 0)
            rc = read_all(peers[(*ret_n)++].fd, &byte, 1);
    }
    return rc;
}

static int raw_kill(int count, double *ret_ms)
{
    struct peer peers[KILLED_MAX];
    int64_t begin;
    int n;
    int rc = spawn_idle(peers, count, &n);

    begin = bench_now();
    for (int i = 0; i < n; i++)
        if (kill(peers[i].pid, SIGKILL) < 0)
            rc = -errno;
    for (int i = 0; i < n; i++) {
        int ended = reap(peers[i].pid);

        rc = rc < 0 ? rc : ended;
    }
    *ret_ms = (double)(bench_now() - begin) / 1e6;
    for (int i = 0; i < n; i++)
        close(peers[i].fd);
    return rc;
}

int bench_raw_kill_8(double *ret_ms)
{
    return raw_kill(8, ret_ms);
}

int bench_raw_kill_39(double *ret_ms)
{
    return raw_kill(39, ret_ms);
}

/* Says that it runs, and stays until its socket ends. */
static int show_and_stay(int fd)
{
    char byte = 'x';
    int rc = write_all(fd, &byte, 1);

    return rc == 0 && read_all(fd, &byte, 1) == -EPIPE ? 0 : -EIO;
}

int bench_raw_fork(double *ret_us)
{
    int64_t total = 0;
    int rc = 0;

    for (int i = 0; rc == 0 && i < STARTS; i++) {
        int64_t begin = bench_now();
        struct peer peer;
        char byte;
        int ended;

        rc = open_peer(&peer, show_and_stay);
        if (rc < 0)
            return rc;
        rc = read_all(peer.fd, &byte, 1);
        total += bench_now() - begin;
        ended = close_peer(&peer);
        rc = rc < 0 ? rc : ended;
    }
    *ret_us = (double)total / STARTS / 1e3;
    return rc;
}

int bench_raw_death(double *ret_us)
{
    struct pollfd wait = {.events = POLLIN};
    struct peer peer;
    int64_t begin = 0;
    int n;
    int rc = spawn_idle(&peer, 1, &n);

    if (n == 0)
        return rc;
    wait.fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    if (wait.fd < 0)
        rc = -errno;
    begin = bench_now();
    if (kill(peer.pid, SIGKILL) < 0 || (rc == 0 && poll(&wait, 1, -1) < 0))
        rc = -errno;
    *ret_us = (double)(bench_now() - begin) / 1e3;
    (void)reap(peer.pid);
    if (wait.fd >= 0)
        close(wait.fd);
    close(peer.fd);
    return rc;
}

int bench_private_memory(int pid, double *ret_kib)
{
    char path[64], line[256];
    FILE *file;
    long kib;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    file = fopen(path, "re");
    if (file == NULL)
        return -errno;
    *ret_kib = 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Private_Clean: %ld", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            *ret_kib += (double)kib;
    fclose(file);
    return 0;
}

int bench_raw_memory(double *ret_kib)
{
    struct peer peer;
    int n;
    int rc = spawn_idle(&peer, 1, &n);

    if (n == 0)
        return rc;
    if (rc == 0)
        rc = bench_private_memory(peer.pid, ret_kib);
    (void)close_peer(&peer);
    return rc;
}
