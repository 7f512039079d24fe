/* SPDX-License-Identifier: MIT */
/* What all transports over connected stream sockets share: bytes in, bytes out, the end. */
#include <errno.h>
#include <sys/socket.h>

#include "link/link.h"

ssize_t yk_link_socket_receive(struct yk_link *link, void *data, size_t size)
{
    ssize_t n;

    do
        n = recv(link->fd.watch.fd, data, size, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t yk_link_socket_send(struct yk_link *link, const void *data, size_t size)
{
    ssize_t n;

    do
        n = send(link->fd.watch.fd, data, size, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void yk_link_socket_end(struct yk_link *link)
{
    (void)shutdown(link->fd.watch.fd, SHUT_RDWR); /* ENOTCONN: it has ended */
}
