/* SPDX-License-Identifier: MIT */
/* The Unix stream transport: a connected socket, such as the pair that a child inherits. */
#include <errno.h>
#include <sys/socket.h>

#include "base/faults.h"
#include "link/link.h"

static ssize_t unix_receive(struct yk_link *link, void *data, size_t size)
{
    ssize_t n;

    do
        n = recv(link->fd.watch.fd, data, size, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static ssize_t unix_send(struct yk_link *link, const void *data, size_t size)
{
    ssize_t n;

    do
        n = send(link->fd.watch.fd, data, size, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static void unix_end(struct yk_link *link)
{
    (void)shutdown(link->fd.watch.fd, SHUT_RDWR); /* ENOTCONN: it has ended */
}

int yk_link_unix_pair(int *ret_fds)
{
    int rc = YK_FALLIBLE(EMFILE, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                                            ret_fds));

    return rc < 0 ? -errno : 0;
}

const struct yk_link_ops yk_link_unix = {
    .name = "unix",
    .receive = unix_receive,
    .send = unix_send,
    .end = unix_end,
};
