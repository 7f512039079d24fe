/* SPDX-License-Identifier: MIT */
/* Pipes, terminals and other descriptors that the poller knows and that are no sockets; and pairs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yoke/error.h>
#include <yoke/pipe.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/memory.h"
#include "io/conn.h"
#include "io/quiet.h"

static ssize_t pipe_read(struct yoke_conn *conn, void *buffer, size_t size)
{
    ssize_t n;

    do
        n = read(conn->fd.watch.fd, buffer, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t pipe_write(struct yoke_conn *conn, const void *data, size_t size)
{
    ssize_t n;

    do
        n = yk_write_quietly(conn->fd.watch.fd, data, size);
    while (n == -EINTR);
    return n;
}

/* A pipe has one direction: its writing half is all of it. */
static int pipe_close_write(struct yoke_conn *conn)
{
    int flags = fcntl(conn->fd.watch.fd, F_GETFL);

    if (flags >= 0 && (flags & O_ACCMODE) == O_WRONLY)
        yoke_conn_close(conn);
    return 0;
}

static void pipe_free(struct yoke_conn *conn)
{
    free(conn);
}

static void pipe_name(const struct yoke_conn *conn, char *text, size_t size)
{
    snprintf(text, size, "descriptor %d", conn->fd.watch.fd);
}

static const struct yk_conn_ops pipe_ops = {
    .read = pipe_read,
    .write = pipe_write,
    .wait = yk_conn_fd_wait,
    .close_write = pipe_close_write,
    .close = yk_conn_fd_close,
    .free = pipe_free,
    .name = pipe_name,
};

int yk_conn_pipe(int number, const char *path, struct yoke_conn **ret)
{
    struct yoke_conn *conn = yk_calloc(1, sizeof *conn);
    int rc;

    if (conn == NULL)
        return -ENOMEM;
    yk_conn_init(conn, &pipe_ops);
    rc = yk_conn_watch(conn, number);
    if (rc < 0)
        free(conn);
    if (rc == -EPERM) /* always ready: a device such as /dev/null, or a file */
        return yk_conn_file(number, path, ret);
    if (rc == 0)
        *ret = conn;
    return rc;
}

/* Makes conns of both, or closes both. */
static int pair_of(int *fds, bool sockets, const char *call, struct yoke_conn **ret_a,
                   struct yoke_conn **ret_b)
{
    struct yoke_conn *conns[2] = {NULL, NULL};
    int rc = 0;

    for (size_t i = 0; i < 2; i++) {
        if (rc == 0)
            rc = sockets ? yk_conn_socket(fds[i], NULL, &conns[i])
                         : yk_conn_pipe(fds[i], NULL, &conns[i]);
        if (conns[i] == NULL)
            close(fds[i]);
    }
    if (rc < 0) {
        yoke_conn_unref(conns[0]);
        return yoke_raise("yoke.Io", rc, "%s: %s", call, strerror(-rc));
    }
    *ret_a = conns[0];
    *ret_b = conns[1];
    return 0;
}

int yoke_pipe(struct yoke_conn **ret_reader, struct yoke_conn **ret_writer)
{
    int fds[2];

    yk_task_self("yoke_pipe");
    if (YK_FALLIBLE(EMFILE, pipe2(fds, O_CLOEXEC | O_NONBLOCK)) < 0)
        return yoke_raise("yoke.Io", errno, "pipe: %s", strerror(errno));
    return pair_of(fds, false, "pipe", ret_reader, ret_writer);
}

int yoke_socket_pair(struct yoke_conn **ret_a, struct yoke_conn **ret_b)
{
    int fds[2];

    yk_task_self("yoke_socket_pair");
    if (YK_FALLIBLE(EMFILE,
                    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)) < 0)
        return yoke_raise("yoke.Io", errno, "socketpair: %s", strerror(errno));
    return pair_of(fds, true, "socketpair", ret_a, ret_b);
}
