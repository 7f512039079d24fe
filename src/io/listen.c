/* SPDX-License-Identifier: MIT */
/*
 * Listeners, accepting, and datagram sockets that are bound.
 *
 * A Unix socket's path: whoever binds one holds a lock (flock) on the directory that it is in, from
 * before it looks for a dead listener's leftover until its own socket listens. Without that two
 * could both find a leftover, and the second would remove the first one's fresh socket. On close
 * the path is removed only if it is still the file that was made here.
 */
#include "io/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yoke/error.h>
#include <yoke/task.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/limits.h"
#include "base/memory.h"
#include "io/address.h"
#include "io/socket.h"

static const struct yoke_listen_opts defaults;

/* --- Unix paths ------------------------------------------------------------------------------- */

/*
 * Waits for the lock on a directory, for as long as somebody else may be about to listen there.
 * 1: locked; 0: it can't be; negative: raised.
 */
static int lock(int number)
{
    int64_t nap = YK_SOCKET_RETRY_NS;

    while (YK_FALLIBLE(ENOLCK, flock(number, LOCK_EX | LOCK_NB)) < 0) {
        int rc;

        if (errno == EINTR)
            continue;
        /* Somebody else's lock, on a directory that we don't own, must not hold us up for ever. */
        if (errno != EWOULDBLOCK || nap >= YK_SOCKET_RETRY_MAX_NS)
            return 0;
        rc = yoke_sleep(nap);
        if (rc < 0)
            return rc;
        nap *= 2;
    }
    return 1;
}

/* Locks the directory of a path: *ret_lock is its descriptor, or -1. 0, or negative: raised. */
static int lock_directory(const char *path, int *ret_lock)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int number, rc;

    *ret_lock = -1;
    snprintf(directory, sizeof directory, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
             slash == NULL ? "." : path);
    number = YK_FALLIBLE(EMFILE, open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (number < 0)
        return 0;
    rc = lock(number);
    if (rc > 0)
        *ret_lock = number;
    else
        close(number);
    return rc < 0 ? rc : 0;
}

/* Whether a socket is there that nobody listens at. */
static bool is_leftover(const struct yoke_address *address, int type)
{
    struct stat status;
    int number;
    bool refused;

    if (lstat(yk_address_path(address), &status) < 0 || !S_ISSOCK(status.st_mode))
        return false;
    number = YK_FALLIBLE(EMFILE, socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (number < 0)
        return false;
    refused = YK_FALLIBLE(EAGAIN, connect(number, &address->as.sockaddr, address->size)) < 0 &&
              errno == ECONNREFUSED;
    close(number);
    return refused;
}

static int bind_to(int number, const struct yoke_address *address)
{
    return YK_FALLIBLE(EADDRINUSE, bind(number, &address->as.sockaddr, address->size)) < 0 ? -errno
                                                                                           : 0;
}

static int bind_path(int number, const struct yoke_address *address, int type,
                     const struct yoke_listen_opts *opts, bool locked)
{
    const char *path = yk_address_path(address);
    int rc;

    /* The mode that the path gets when it is made: no moment at which it is open to more. */
    if (opts->mode != 0 && YK_FALLIBLE(EPERM, fchmod(number, opts->mode)) < 0)
        return -errno;
    rc = bind_to(number, address);
    if (rc == -EADDRINUSE && locked && is_leftover(address, type) && unlink(path) == 0)
        rc = bind_to(number, address);
    if (rc == 0 && opts->mode != 0 && YK_FALLIBLE(EPERM, chmod(path, opts->mode)) < 0)
        rc = -errno;
    return rc;
}

void yk_bound_remember(const struct yoke_address *address, struct yk_bound *ret)
{
    struct stat status;
    const char *path = yk_address_path(address);

    ret->made = path != NULL && lstat(path, &status) == 0;
    if (ret->made) {
        ret->device = status.st_dev;
        ret->inode = status.st_ino;
    }
}

void yk_bound_remove(const struct yoke_address *address, const struct yk_bound *bound)
{
    struct stat status;
    const char *path = yk_address_path(address);

    if (bound->made && lstat(path, &status) == 0 && status.st_dev == bound->device &&
        status.st_ino == bound->inode)
        (void)unlink(path);
}

/* --- binding ---------------------------------------------------------------------------------- */

static int set(int number, int level, int name, int value)
{
    return YK_FALLIBLE(ENOMEM, setsockopt(number, level, name, &value, sizeof value)) < 0 ? -errno
                                                                                          : 0;
}

static int bind_options(int number, const struct yoke_address *address, int type, bool v6_only,
                        const struct yoke_listen_opts *opts)
{
    int family = yoke_address_family(address);
    int rc = 0;

    if (family != AF_UNIX && type == SOCK_STREAM)
        rc = set(number, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && family != AF_UNIX && opts->shared_port)
        rc = set(number, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0 && family == AF_INET6)
        rc = set(number, IPPROTO_IPV6, IPV6_V6ONLY, v6_only);
    if (rc == 0) /* buffers must be set before listening: accepted sockets inherit them */
        rc = yk_socket_options(number, family, type, &opts->socket);
    return rc;
}

/* Binds to a path, under the lock of its directory. 0; -errno; *ret_raised if it is in flight. */
static int lock_and_bind(int number, const struct yoke_address *address, int type,
                         const struct yoke_listen_opts *opts, int *ret_lock, bool *ret_raised)
{
    int rc = lock_directory(yk_address_path(address), ret_lock);

    *ret_raised = rc < 0;
    return rc < 0 ? rc : bind_path(number, address, type, opts, *ret_lock >= 0);
}

/* A bound socket that listens, if it is a stream socket. The descriptor; negative: raised. */
static int bind_one(const struct yoke_address *address, int type, bool v6_only,
                    const struct yoke_listen_opts *opts)
{
    const char *call = type == SOCK_STREAM ? "listen at" : "bind";
    int backlog = opts->backlog == 0 ? YK_LISTEN_BACKLOG : opts->backlog;
    bool raised = false;
    int lock = -1;
    int number, rc;

    number = YK_FALLIBLE(EMFILE, socket(yoke_address_family(address),
                                        type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (number < 0)
        return yk_net_failed("socket for", address, -errno);
    rc = bind_options(number, address, type, v6_only, opts);
    if (rc == 0 && yk_address_path(address) != NULL)
        rc = lock_and_bind(number, address, type, opts, &lock, &raised);
    else if (rc == 0)
        rc = bind_to(number, address);
    if (rc == 0 && type == SOCK_STREAM && YK_FALLIBLE(EADDRINUSE, listen(number, backlog)) < 0)
        rc = -errno;
    if (lock >= 0)
        close(lock);
    if (rc < 0) {
        close(number);
        return raised ? rc : yk_net_failed(call, address, rc);
    }
    return number;
}

int yk_bind(const char *place, int type, const struct yoke_listen_opts *opts,
            struct yoke_address *ret)
{
    struct yoke_address *addresses;
    bool any = strncmp(place, "*:", 2) == 0;
    int number = -1;
    int n = yoke_resolve(place,
                         &(struct yoke_resolve_opts){.family = opts->family,
                                                     .datagram = type == SOCK_DGRAM,
                                                     .listen = true},
                         &addresses);

    if (n < 0)
        return n;
    for (int i = 0; i < n && number < 0; i++) {
        bool v6_only = any ? opts->family == AF_INET6 : opts->v6_only;

        number = bind_one(&addresses[i], type, v6_only, opts);
        if (number == YOKE_CANCELLED)
            break;
        if (number < 0 && i + 1 < n)
            yoke_clear(); /* the next address may do; if none does, the last one's error tells */
        if (number >= 0)
            *ret = addresses[i];
    }
    free(addresses);
    return number;
}

int yoke_bind_datagram(const char *place, const struct yoke_listen_opts *opts,
                       struct yoke_conn **ret_conn)
{
    struct yoke_address address;
    int rc = yk_check_cancelled(yk_task_self("yoke_bind_datagram"));
    int number;

    if (rc < 0)
        return rc;
    number = yk_bind(place, SOCK_DGRAM, opts == NULL ? &defaults : opts, &address);
    if (number < 0)
        return number;
    rc = yk_conn_bound(number, &address, ret_conn);
    if (rc < 0) {
        close(number);
        return yk_net_failed("bind", &address, rc);
    }
    return 0;
}

/* --- listeners -------------------------------------------------------------------------------- */

struct yoke_listener {
    struct yk_fd fd;
    unsigned refs;
    unsigned users;
    bool closed;
    struct yoke_address address;
    struct yk_bound bound;
    struct yoke_socket_opts socket;
};

/* The address with the port that it got. 0 or -errno. */
static int name_listener(struct yoke_listener *listener, int number)
{
    struct yoke_address named = {.size = sizeof named.as.storage};

    if (YK_FALLIBLE(ENOBUFS, getsockname(number, &named.as.sockaddr, &named.size)) < 0)
        return -errno;
    if (yk_address_path(&named) == NULL)
        listener->address = named;
    return 0;
}

int yoke_listen(const char *place, const struct yoke_listen_opts *opts,
                struct yoke_listener **ret_listener)
{
    struct yoke_listener *listener;
    int number;
    int rc = yk_check_cancelled(yk_task_self("yoke_listen"));

    if (rc < 0)
        return rc;
    if (opts == NULL)
        opts = &defaults;
    listener = yk_calloc(1, sizeof *listener);
    if (listener == NULL)
        return yoke_raise("yoke.Net", ENOMEM, "listen at %s: no memory", place);
    number = yk_bind(place, SOCK_STREAM, opts, &listener->address);
    if (number < 0) {
        free(listener);
        return number;
    }
    yk_bound_remember(&listener->address, &listener->bound);
    listener->refs = 1;
    listener->socket = opts->socket;
    rc = name_listener(listener, number);
    if (rc == 0)
        rc = yk_fd_init(&listener->fd, number);
    if (rc < 0) {
        rc = yk_net_failed("listen at", &listener->address, rc);
        yk_bound_remove(&listener->address, &listener->bound);
        close(number);
        free(listener);
        return rc;
    }
    *ret_listener = listener;
    return 0;
}

const struct yoke_address *yoke_listener_address(const struct yoke_listener *listener)
{
    return &listener->address;
}

int yoke_listener_fd(const struct yoke_listener *listener)
{
    return listener->closed ? -1 : listener->fd.watch.fd;
}

void yoke_listener_close(struct yoke_listener *listener)
{
    if (listener->closed)
        return;
    listener->closed = true;
    while (yk_wake_first(&listener->fd.readers, YOKE_ECLOSED))
        continue;
    yk_bound_remove(&listener->address, &listener->bound);
    yk_fd_fini(&listener->fd);
    close(listener->fd.watch.fd);
    listener->fd.watch.fd = -1;
}

struct yoke_listener *yoke_listener_ref(struct yoke_listener *listener)
{
    listener->refs++;
    return listener;
}

struct yoke_listener *yoke_listener_unref(struct yoke_listener *listener)
{
    if (listener == NULL || --listener->refs > 0)
        return NULL;
    yoke_listener_close(listener);
    if (listener->users == 0)
        free(listener);
    return NULL;
}

/* What accept(2) says of a connection and not of the listener: the next one may be fine. */
static bool only_this_one(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

/* Waits for a connection. Its descriptor; negative: raised. */
static int accept_one(struct yoke_listener *listener, struct yoke_address *peer, bool *waited)
{
    int rc = 0;

    while (rc == 0) {
        int number;

        if (listener->closed)
            return yoke_raise("yoke.Closed", YOKE_ECLOSED, "accept: the listener was closed");
        peer->size = sizeof peer->as.storage;
        number = YK_FALLIBLE(EMFILE, accept4(listener->fd.watch.fd, &peer->as.sockaddr, &peer->size,
                                             SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (number >= 0)
            return number;
        if (errno == EAGAIN) {
            rc = yk_fd_wait(&listener->fd, YK_READABLE);
            rc = rc == YOKE_ECLOSED ? 0 : rc; /* told above */
            *waited = true;
        } else if (!only_this_one(errno)) {
            rc = yk_net_failed("accept at", &listener->address, -errno);
        }
    }
    return rc;
}

static int make_conn(struct yoke_listener *listener, int number, const struct yoke_address *peer,
                     struct yoke_conn **ret_conn)
{
    int rc = yk_socket_options(number, yoke_address_family(&listener->address), SOCK_STREAM,
                               &listener->socket);

    if (rc == 0)
        rc = yk_conn_socket(number, peer, ret_conn);
    if (rc < 0)
        close(number);
    return rc < 0 ? yk_net_failed("accept at", &listener->address, rc) : 0;
}

int yoke_accept(struct yoke_listener *listener, struct yoke_conn **ret_conn)
{
    struct yk_task *task = yk_task_self("yoke_accept");
    struct yoke_address peer;
    bool waited = false;
    int number;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    listener->users++;
    rc = number = accept_one(listener, &peer, &waited);
    if (number >= 0) {
        if (yk_address_path(&listener->address) != NULL || peer.size <= sizeof(sa_family_t))
            peer = listener->address; /* whoever connects to a Unix socket has no name */
        rc = make_conn(listener, number, &peer, ret_conn);
    }
    if (--listener->users == 0 && listener->refs == 0)
        free(listener);
    if (rc == 0 && !waited)
        yk_completed_at_once(task);
    return rc;
}
