/* SPDX-License-Identifier: MIT */
/* The Unix stream transport: a connected socket, such as the pair that a child inherits. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/faults.h"
#include "link/link.h"

static ssize_t unix_send_fd(struct yk_link *link, const void *data, size_t size, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof fd)];
    } control;
    struct iovec bytes = {(void *)data, size};
    struct msghdr message = {
        .msg_iov = &bytes,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof control,
    };
    ssize_t n;

    memset(&control, 0, sizeof control);
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    do
        n = sendmsg(link->fd.watch.fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == ETOOMANYREFS)
        return yk_link_socket_send(link, data, size); /* the peer does not get it, and says so */
    return n < 0 ? -errno : n;
}

/* Room for one descriptor: the kernel closes what comes beyond it. */
static ssize_t unix_receive_fd(struct yk_link *link, void *data, size_t size, int *ret_fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof *ret_fd)];
    } control;
    struct iovec bytes = {data, size};
    struct msghdr message = {
        .msg_iov = &bytes,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = CMSG_LEN(sizeof *ret_fd),
    };
    const struct cmsghdr *head;
    ssize_t n;

    do
        n = recvmsg(link->fd.watch.fd, &message, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    *ret_fd = message.msg_flags & MSG_CTRUNC ? YK_LOST_FD : YK_NO_FD;
    head = CMSG_FIRSTHDR(&message);
    if (head != NULL && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
        head->cmsg_len == CMSG_LEN(sizeof *ret_fd))
        memcpy(ret_fd, CMSG_DATA(head), sizeof *ret_fd);
    return n;
}

/* With processes of the same user: they can get at this one's memory in other ways too. */
static bool unix_may_share(struct yk_link *link)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    return getsockopt(link->fd.watch.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           peer.uid == geteuid();
}

int yk_link_unix_pair(int *ret_fds)
{
    int rc = YK_FALLIBLE(EMFILE, socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                                            ret_fds));

    return rc < 0 ? -errno : 0;
}

const struct yk_link_ops yk_link_unix = {
    .name = "unix",
    .receive = yk_link_socket_receive,
    .send = yk_link_socket_send,
    .send_fd = unix_send_fd,
    .receive_fd = unix_receive_fd,
    .may_share = unix_may_share,
    .end = yk_link_socket_end,
};
