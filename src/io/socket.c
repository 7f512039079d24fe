/* SPDX-License-Identifier: MIT */
/*
 * Sockets as conns, datagrams, options, names, what Unix sockets pass along.
 *
 * Unix stream sockets are read by recvmsg and not by recv: a read that is short because a
 * descriptor or another sender's credentials came with the bytes says so by MSG_CTRUNC, and only
 * then; such a read does not mean that the socket is empty (see `drained` in conn.c).
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yoke/net.h>
#include <yoke/task.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/limits.h"
#include "base/memory.h"
#include "io/listen.h"
#include "io/socket.h"

struct socket_conn {
    struct yoke_conn conn;
    int family;
    int type;
    struct yoke_address peer; /* for messages; none: unknown */
    struct yk_bound bound;    /* then `local` is where */
    struct yoke_address local;
};

static struct socket_conn *self_of(struct yoke_conn *conn)
{
    return yk_container_of(conn, struct socket_conn, conn);
}

static ssize_t tcp_read(struct yoke_conn *conn, void *buffer, size_t size)
{
    ssize_t n;

    do
        n = recv(conn->fd.watch.fd, buffer, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    conn->drained = n > 0 && (size_t)n < size && !conn->fd.exceptional && conn->short_tells;
    return n;
}

static ssize_t unix_read(struct yoke_conn *conn, void *buffer, size_t size)
{
    struct iovec bytes = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    ssize_t n;

    do
        n = recvmsg(conn->fd.watch.fd, &message, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    conn->drained =
        n > 0 && (size_t)n < size && !conn->fd.exceptional && (message.msg_flags & MSG_CTRUNC) == 0;
    return n;
}

static ssize_t socket_write(struct yoke_conn *conn, const void *data, size_t size)
{
    ssize_t n;

    do
        n = send(conn->fd.watch.fd, data, size, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int socket_close_write(struct yoke_conn *conn)
{
    int rc = shutdown(conn->fd.watch.fd, SHUT_WR) < 0 ? -errno : 0;

    return rc == -ENOTCONN ? 0 : rc; /* the peer has reset it: there is no half left to close */
}

static void socket_close(struct yoke_conn *conn)
{
    yk_bound_remove(&self_of(conn)->local, &self_of(conn)->bound);
    yk_conn_fd_close(conn);
}

static void socket_free(struct yoke_conn *conn)
{
    free(self_of(conn));
}

static void socket_name(const struct yoke_conn *conn, char *text, size_t size)
{
    const struct socket_conn *self = yk_container_of(conn, const struct socket_conn, conn);

    if (self->peer.size > 0)
        yoke_address_format(&self->peer, text, size);
    else
        snprintf(text, size, "descriptor %d", conn->fd.watch.fd);
}

static const struct yk_conn_ops tcp_ops = {
    .read = tcp_read,
    .write = socket_write,
    .wait = yk_conn_fd_wait,
    .close_write = socket_close_write,
    .close = socket_close,
    .free = socket_free,
    .name = socket_name,
};

static const struct yk_conn_ops unix_ops = {
    .read = unix_read,
    .write = socket_write,
    .wait = yk_conn_fd_wait,
    .close_write = socket_close_write,
    .close = socket_close,
    .free = socket_free,
    .name = socket_name,
};

static bool is_socket(const struct yoke_conn *conn)
{
    return conn->ops == &tcp_ops || conn->ops == &unix_ops;
}

static int option(int number, int name)
{
    int value = 0;
    socklen_t size = sizeof value;

    return YK_FALLIBLE(ENOBUFS, getsockopt(number, SOL_SOCKET, name, &value, &size)) < 0 ? -errno
                                                                                         : value;
}

int yk_conn_socket(int number, const struct yoke_address *peer, struct yoke_conn **ret)
{
    struct socket_conn *self = yk_calloc(1, sizeof *self);
    int rc = self == NULL ? -ENOMEM : 0;

    if (rc == 0) {
        self->family = option(number, SO_DOMAIN);
        self->type = option(number, SO_TYPE);
        rc = self->family < 0 ? self->family : self->type < 0 ? self->type : 0;
    }
    if (rc == 0) {
        bool unix_stream = self->family == AF_UNIX && self->type == SOCK_STREAM;

        yk_conn_init(&self->conn, unix_stream ? &unix_ops : &tcp_ops);
        self->conn.short_tells =
            self->type == SOCK_STREAM && option(number, SO_PROTOCOL) == IPPROTO_TCP;
        if (peer != NULL)
            self->peer = *peer;
        rc = yk_conn_watch(&self->conn, number);
    }
    if (rc < 0) {
        free(self);
        return rc;
    }
    *ret = &self->conn;
    return 0;
}

int yk_conn_bound(int number, const struct yoke_address *local, struct yoke_conn **ret)
{
    int rc = yk_conn_socket(number, NULL, ret);

    if (rc == 0) {
        self_of(*ret)->local = *local;
        yk_bound_remember(local, &self_of(*ret)->bound);
    }
    return rc;
}

static int set(int number, int level, int name, int value)
{
    return YK_FALLIBLE(ENOMEM, setsockopt(number, level, name, &value, sizeof value)) < 0 ? -errno
                                                                                          : 0;
}

int yk_socket_options(int number, int family, int type, const struct yoke_socket_opts *opts)
{
    bool tcp = type == SOCK_STREAM && family != AF_UNIX;
    int rc = 0;

    if (tcp && !opts->nagle)
        rc = set(number, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rc == 0 && opts->keepalive)
        rc = set(number, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (rc == 0 && tcp && opts->keepalive_idle_s != 0)
        rc = set(number, IPPROTO_TCP, TCP_KEEPIDLE, opts->keepalive_idle_s);
    if (rc == 0 && tcp && opts->keepalive_interval_s != 0)
        rc = set(number, IPPROTO_TCP, TCP_KEEPINTVL, opts->keepalive_interval_s);
    if (rc == 0 && tcp && opts->keepalive_count != 0)
        rc = set(number, IPPROTO_TCP, TCP_KEEPCNT, opts->keepalive_count);
    if (rc == 0 && opts->send_buffer != 0)
        rc = set(number, SOL_SOCKET, SO_SNDBUF, opts->send_buffer);
    if (rc == 0 && opts->receive_buffer != 0)
        rc = set(number, SOL_SOCKET, SO_RCVBUF, opts->receive_buffer);
    return rc;
}

int yk_net_failed(const char *call, const struct yoke_address *address, int rc)
{
    char text[YOKE_ADDRESS_TEXT];

    return yoke_raise("yoke.Net", rc, "%s %s: %s", call,
                      yoke_address_format(address, text, sizeof text), strerror(-rc));
}

/* -ENOTSOCK or YOKE_ECLOSED raised, or 0. */
static int check_socket(const struct yoke_conn *conn, const char *call)
{
    if (conn->closed)
        return yk_conn_failed(conn, call, YOKE_ECLOSED);
    return is_socket(conn) ? 0 : yk_conn_failed(conn, call, -ENOTSOCK);
}

static int name_of(struct yoke_conn *conn, const char *call,
                   int (*get)(int fd, struct sockaddr *address, socklen_t *size),
                   struct yoke_address *ret)
{
    struct yoke_address address = {.size = sizeof address.as.storage};
    int rc = check_socket(conn, call);

    if (rc < 0)
        return rc;
    if (get(conn->fd.watch.fd, &address.as.sockaddr, &address.size) < 0)
        return yk_conn_failed(conn, call, -errno);
    *ret = address;
    return 0;
}

int yoke_conn_local(struct yoke_conn *conn, struct yoke_address *ret)
{
    return name_of(conn, "getsockname", getsockname, ret);
}

int yoke_conn_peer(struct yoke_conn *conn, struct yoke_address *ret)
{
    /* Who it was is still known when the connection is gone. */
    if (is_socket(conn) && !conn->closed && self_of(conn)->peer.size > 0) {
        *ret = self_of(conn)->peer;
        return 0;
    }
    return name_of(conn, "getpeername", getpeername, ret);
}

int yoke_conn_credentials(struct yoke_conn *conn, struct yoke_credentials *ret)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    int rc = check_socket(conn, "credentials");

    if (rc < 0)
        return rc;
    if (self_of(conn)->family != AF_UNIX)
        return yk_conn_failed(conn, "credentials", -EOPNOTSUPP);
    if (YK_FALLIBLE(ENOBUFS, getsockopt(conn->fd.watch.fd, SOL_SOCKET, SO_PEERCRED, &credentials,
                                        &size)) < 0)
        return yk_conn_failed(conn, "credentials", -errno);
    ret->pid = credentials.pid;
    ret->uid = credentials.uid;
    ret->gid = credentials.gid;
    return 0;
}

/*
 * Waits to send again. An unconnected Unix datagram socket is always writable, even if the
 * receiver's queue is full (unix_dgram_poll looks only at a connected peer): only time helps.
 */
static int wait_to_send(struct yoke_conn *conn, const struct yoke_address *to, int64_t *nap)
{
    int rc;

    if (self_of(conn)->family != AF_UNIX || to == NULL)
        return yk_conn_wait(conn, YK_WRITABLE, "send_to");
    *nap = *nap == 0 ? YK_SOCKET_RETRY_NS : *nap * 2;
    if (*nap > YK_SOCKET_RETRY_MAX_NS)
        *nap = YK_SOCKET_RETRY_MAX_NS;
    rc = yoke_sleep(*nap);
    return rc == 0 && conn->closed ? yk_conn_failed(conn, "send_to", YOKE_ECLOSED) : rc;
}

static int send_datagram(struct yoke_conn *conn, const struct yoke_address *to, const void *data,
                         size_t size)
{
    const struct sockaddr *sockaddr = to == NULL ? NULL : &to->as.sockaddr;
    socklen_t sockaddr_size = to == NULL ? 0 : to->size;
    int64_t nap = 0;
    int rc = 0;

    while (rc == 0) {
        ssize_t n = sendto(conn->fd.watch.fd, data, size, MSG_NOSIGNAL, sockaddr, sockaddr_size);

        if (n >= 0)
            return 0;
        if (errno == EAGAIN)
            rc = wait_to_send(conn, to, &nap);
        else if (errno != EINTR)
            rc = to == NULL ? yk_conn_failed(conn, "send", -errno)
                            : yk_net_failed("send to", to, -errno);
    }
    return rc;
}

int yoke_send_to(struct yoke_conn *conn, const struct yoke_address *to, const void *data,
                 size_t size)
{
    struct yk_task *task = yk_task_self("yoke_send_to");
    int rc = yk_check_cancelled(task);

    if (rc == 0)
        rc = check_socket(conn, "send_to");
    if (rc == 0)
        rc = yk_conn_begin(conn, task, &conn->writer, "send_to");
    if (rc < 0)
        return rc;
    rc = send_datagram(conn, to, data, size);
    yk_conn_end(conn, &conn->writer);
    if (rc == 0)
        yk_completed_at_once(task);
    return rc;
}

/* Receives a message when there is one. Bytes, or negative with an error raised. */
static ssize_t receive_message(struct yoke_conn *conn, struct msghdr *message, int flags,
                               const char *call)
{
    struct msghdr blank = *message;

    for (;;) {
        ssize_t n;
        int rc;

        *message = blank;
        n = YK_FALLIBLE(ENOMEM, recvmsg(conn->fd.watch.fd, message, flags));
        if (n >= 0)
            return n;
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return yk_conn_failed(conn, call, -errno);
        rc = yk_conn_wait(conn, YK_READABLE, call);
        if (rc < 0)
            return rc;
    }
}

static ssize_t receive_begun(struct yoke_conn *conn, struct msghdr *message, int flags,
                             const char *call)
{
    struct yk_task *task = yk_task_self(call);
    ssize_t n = yk_check_cancelled(task);

    if (n == 0)
        n = check_socket(conn, call);
    if (n == 0)
        n = yk_conn_begin(conn, task, &conn->reader, call);
    if (n < 0)
        return n;
    n = receive_message(conn, message, flags, call);
    conn->drained = false;
    yk_conn_end(conn, &conn->reader);
    if (n >= 0)
        yk_completed_at_once(task);
    return n;
}

ssize_t yoke_receive_from(struct yoke_conn *conn, void *buffer, size_t size,
                          struct yoke_address *ret_from)
{
    struct yoke_address from = {.size = 0};
    struct iovec bytes = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {
        .msg_name = &from.as.storage,
        .msg_namelen = sizeof from.as.storage,
        .msg_iov = &bytes,
        .msg_iovlen = 1,
    };
    ssize_t n = receive_begun(conn, &message, MSG_TRUNC, "receive_from");

    if (n >= 0 && ret_from != NULL) {
        from.size = message.msg_namelen;
        *ret_from = from;
    }
    return n;
}

enum { FDS_MAX = 253 }; /* the kernel's SCM_MAX_FD */

union fds_control {
    struct cmsghdr header;
    char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
};

static ssize_t send_first(struct yoke_conn *conn, const void *data, size_t size, const int *fds,
                          size_t n)
{
    union fds_control control;
    struct iovec bytes = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    ssize_t sent;

    if (n > 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(n * sizeof *fds);
        memset(&control, 0, message.msg_controllen);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(n * sizeof *fds);
        memcpy(CMSG_DATA(&control.header), fds, n * sizeof *fds);
    }
    do
        sent = YK_FALLIBLE(ENOBUFS, sendmsg(conn->fd.watch.fd, &message, MSG_NOSIGNAL));
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

int yoke_conn_send_fds(struct yoke_conn *conn, const void *data, size_t size, const int *fds,
                       size_t n, size_t *ret_written)
{
    struct yk_task *task = yk_task_self("yoke_conn_send_fds");
    ssize_t sent = -EAGAIN;
    size_t rest = 0;
    int rc = yk_check_cancelled(task);

    if (ret_written != NULL)
        *ret_written = 0;
    if (rc == 0)
        rc = check_socket(conn, "send_fds");
    if (rc == 0 && (size == 0 || n > FDS_MAX))
        rc = yk_conn_failed(conn, "send_fds", -EINVAL);
    if (rc == 0)
        rc = yk_conn_begin(conn, task, &conn->writer, "send_fds");
    if (rc < 0)
        return rc;
    while (rc == 0 && (sent = send_first(conn, data, size, fds, n)) == -EAGAIN)
        rc = yk_conn_wait(conn, YK_WRITABLE, "send_fds");
    if (rc == 0 && sent < 0)
        rc = yk_conn_failed(conn, "send_fds", (int)sent);
    yk_conn_end(conn, &conn->writer);
    if (rc < 0)
        return rc;
    if ((size_t)sent < size)
        rc = yoke_conn_write_all(conn, (const char *)data + sent, size - (size_t)sent, &rest);
    if (ret_written != NULL)
        *ret_written = (size_t)sent + rest;
    return rc;
}

/* Hands out the first ones, closes the rest. How many came. */
static size_t take_fds(struct msghdr *message, int *fds, size_t room)
{
    size_t n = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        const unsigned char *data = CMSG_DATA(header);
        size_t here;

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        here = (header->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
        for (size_t i = 0; i < here; i++, n++) {
            int fd;

            memcpy(&fd, data + i * sizeof fd, sizeof fd);
            if (n < room)
                fds[n] = fd;
            else
                close(fd);
        }
    }
    return n;
}

ssize_t yoke_conn_receive_fds(struct yoke_conn *conn, void *buffer, size_t size, int *fds,
                              size_t *n)
{
    union fds_control control;
    struct iovec bytes = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &bytes,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t got = receive_begun(conn, &message, MSG_CMSG_CLOEXEC, "receive_fds");
    size_t came;

    if (got < 0)
        return got;
    if (message.msg_flags &
        MSG_CTRUNC) { /* there is room for all: the kernel could not make them */
        take_fds(&message, fds, 0);
        return yoke_raise("yoke.Io", EMFILE,
                          "receive_fds: descriptors that the peer passed are lost: this process "
                          "has no numbers left for them");
    }
    came = take_fds(&message, fds, *n);
    *n = came;
    return got;
}
