/* SPDX-License-Identifier: MIT */
/*
 * Sockets: addresses, names, connecting, listening, datagrams. What reads and writes is a conn
 * (<yoke/conn.h>). Semantics follow trio's high-level interface, happy eyeballs RFC 8305.
 *
 * Places are written as text:
 *
 *   127.0.0.1:80   [::1]:80   [fe80::1%eth0]:80   a numeric address
 *   example.org:80                                a name, to be resolved; "example.org:http" too
 *   *:80                                          listening: any address of this host
 *   /run/x.sock   ./x.sock   unix:x.sock          a Unix socket's path
 *   @name                                         an abstract Unix socket; \xNN for odd bytes
 *
 * Errors are of type "yoke.Address", "yoke.Resolve" and "yoke.Net", and name the place.
 */
#ifndef YOKE_NET_H
#define YOKE_NET_H

#include <sys/socket.h>
#include <sys/types.h>
#include <yoke/common.h>
#include <yoke/conn.h>
#include <yoke/error.h>

YOKE_BEGIN

/* An address of any family, by value; every field is private. Zeroed, it is none. */
struct yoke_address {
    socklen_t size;
    union {
        struct sockaddr_storage storage;
        struct sockaddr sockaddr;
    } as;
};

enum { YOKE_ADDRESS_TEXT = 480 }; /* bytes that any formatted address fits in, NUL included */

/*
 * Parses all forms above but names; resolves nothing. 0; -EINVAL with an error raised that says
 * what is wrong with the text; -ENAMETOOLONG for a path of more than 107 bytes.
 */
YOKE_API YOKE_MUST_CHECK int yoke_address_parse(const char *text, struct yoke_address *ret);

/* From and to what the system uses. from: -EINVAL if `size` is impossible. */
YOKE_API YOKE_MUST_CHECK int yoke_address_from_sockaddr(const struct sockaddr *sockaddr,
                                                        socklen_t size, struct yoke_address *ret);
YOKE_API const struct sockaddr *yoke_address_sockaddr(const struct yoke_address *address,
                                                      socklen_t *ret_size);

YOKE_API int yoke_address_family(const struct yoke_address *address);    /* AF_UNSPEC: none */
YOKE_API unsigned yoke_address_port(const struct yoke_address *address); /* 0 for Unix ones */
YOKE_API bool yoke_address_equal(const struct yoke_address *a, const struct yoke_address *b);

/*
 * Writes it as text that parse reads back; "unnamed" for a Unix socket without a name, "none".
 * Returns `text`, which is cut if it does not fit in `size` (> 0) bytes.
 */
YOKE_API const char *yoke_address_format(const struct yoke_address *address, char *text,
                                         size_t size);

struct yoke_resolve_opts {
    int family;    /* AF_INET or AF_INET6; 0: both */
    bool datagram; /* for datagram sockets */
    bool listen;   /* to listen at: "*" is a host too */
};

/*
 * The addresses of a place, in the system's order of preference. Numeric ones and paths are
 * converted at once; names are looked up in a worker thread, which is left behind when the caller
 * is cancelled; at most 16 lookups of a runtime run at a time. The count, > 0, and an array to be
 * freed by free(). YOKE_CANCELLED; "yoke.Resolve": -ENOENT: no such name; -EAGAIN: no answer for
 * now; "yoke.Address".
 */
YOKE_API YOKE_MUST_CHECK int yoke_resolve(const char *place, const struct yoke_resolve_opts *opts,
                                          struct yoke_address **ret_addresses);

/* Of sockets of all kinds. */
struct yoke_socket_opts {
    bool nagle;           /* TCP: gather small writes; by default they go out at once */
    bool keepalive;       /* probes an idle peer */
    int keepalive_idle_s; /* and how; 0: the system's */
    int keepalive_interval_s;
    int keepalive_count;
    int send_buffer; /* bytes; 0: the system's */
    int receive_buffer;
};

struct yoke_connect_opts {
    struct yoke_socket_opts socket;
    int family;                       /* AF_INET or AF_INET6; 0: both */
    int64_t delay_ns;                 /* until the next address is tried beside; 0: 250 ms */
    const struct yoke_address *local; /* bind to it first; NULL: the system's choice */
    bool datagram; /* UDP or a Unix datagram socket: connected, reads its peer's only */
};

/*
 * Connects to a place. Of several addresses, families taking turns, the next is tried when one has
 * failed or has not answered within delay_ns; the first that is connected wins and the others are
 * dropped. 0 and a conn; YOKE_CANCELLED (nothing is left open); the error of the only attempt, or a
 * group of all of them (YOKE_EGROUP); as yoke_resolve.
 */
YOKE_API YOKE_MUST_CHECK int yoke_connect(const char *place, const struct yoke_connect_opts *opts,
                                          struct yoke_conn **ret_conn);
YOKE_API YOKE_MUST_CHECK int yoke_connect_address(const struct yoke_address *address,
                                                  const struct yoke_connect_opts *opts,
                                                  struct yoke_conn **ret_conn);

/* The names of a conn's two ends. 0; -errno; YOKE_ECLOSED. A pipe or a file has none: -ENOTSOCK. */
YOKE_API YOKE_MUST_CHECK int yoke_conn_local(struct yoke_conn *conn, struct yoke_address *ret);
YOKE_API YOKE_MUST_CHECK int yoke_conn_peer(struct yoke_conn *conn, struct yoke_address *ret);

/* --- listening -------------------------------------------------------------------------------- */

struct yoke_listener;

struct yoke_listen_opts {
    struct yoke_socket_opts socket; /* for the conns that it accepts */
    int family;                     /* AF_INET or AF_INET6; 0: both */
    int backlog;                    /* 0: 4096, which the system may lower */
    bool shared_port; /* SO_REUSEPORT: several listeners, of other processes too, share the load */
    bool v6_only;     /* "[::]:80" does not take IPv4; "*" always takes both */
    mode_t mode;      /* of a Unix socket's path; 0: by the umask */
};

/*
 * Listens at a place: one socket, at the first of its addresses that can be bound. Port 0 is a free
 * one; yoke_listener_address tells. A TCP port is usable again at once after its listener was
 * closed (SO_REUSEADDR). A Unix path is created, and removed on close if it is still this
 * listener's; one that a dead listener left behind (connecting is refused) is replaced, under the
 * lock of its directory, so that no two do it at once; anything else there is -EADDRINUSE. Checks
 * for cancellation; waits only for names. -EADDRINUSE, -EACCES and others.
 */
YOKE_API YOKE_MUST_CHECK int yoke_listen(const char *place, const struct yoke_listen_opts *opts,
                                         struct yoke_listener **ret_listener);

/*
 * Waits for a connection. 0 and a conn; YOKE_CANCELLED; YOKE_ECLOSED; -EMFILE, -ENFILE, -ENOBUFS,
 * -ENOMEM: there is one that can't be taken now, and waits. Connections that are gone before they
 * are taken are passed over. Several tasks may wait.
 */
YOKE_API YOKE_MUST_CHECK int yoke_accept(struct yoke_listener *listener,
                                         struct yoke_conn **ret_conn);

/* Where it listens, with the port that it got. Borrowed. */
YOKE_API const struct yoke_address *yoke_listener_address(const struct yoke_listener *listener);
YOKE_API int yoke_listener_fd(const struct yoke_listener *listener); /* -1: closed */

/* Stops listening at once; who waits wakes with YOKE_ECLOSED. Never blocks. As for conns. */
YOKE_API void yoke_listener_close(struct yoke_listener *listener);
YOKE_API struct yoke_listener *yoke_listener_ref(struct yoke_listener *listener);
YOKE_API struct yoke_listener *yoke_listener_unref(struct yoke_listener *listener);

/* Handles one connection, as a task of its own; the conn is closed after it. */
typedef int (*yoke_serve_fn)(struct yoke_conn *conn, void *arg);

struct yoke_serve_opts {
    const char *name;   /* of the tasks; NULL: the function's */
    unsigned limit;     /* connections at once; more wait in the backlog. 0: no limit */
    bool fail_together; /* a handler that fails ends the server with its error */
    /*
     * Gets each handler's failure, and the error that made accepting pause; borrowed. NULL: they
     * are printed on stderr.
     */
    void (*failed)(const struct yoke_error *error, void *arg);
};

/*
 * Accepts connections and runs handler(conn, arg) for each as a child task, until it is cancelled
 * (the handlers are, too) or the listener is closed: then it waits for the running handlers and
 * returns 0. When descriptors or memory run out it pauses for 100 ms and goes on. `arg` must live
 * until it returns. The listener stays the caller's.
 */
#define yoke_serve(listener, handler, arg, ...)                                                    \
    yoke_serve_at(YOKE_HERE, (listener), (handler), #handler, (arg), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_serve_at(const struct yoke_site *site,
                                           struct yoke_listener *listener, yoke_serve_fn handler,
                                           const char *handler_name, void *arg,
                                           const struct yoke_serve_opts *opts);

/* --- datagrams -------------------------------------------------------------------------------- */

/*
 * A datagram socket (UDP or Unix) bound to a place, as yoke_listen binds: to receive from anyone,
 * and to send to anyone. Only opts->socket, family, v6_only and mode count.
 */
YOKE_API YOKE_MUST_CHECK int yoke_bind_datagram(const char *place,
                                                const struct yoke_listen_opts *opts,
                                                struct yoke_conn **ret_conn);

/*
 * Sends one datagram, whole or not at all; waits while there is no room. `to` NULL: the peer that
 * it is connected to. 0; YOKE_CANCELLED (not sent); -EMSGSIZE; -ECONNREFUSED, which tells of an
 * earlier one.
 */
YOKE_API YOKE_MUST_CHECK int yoke_send_to(struct yoke_conn *conn, const struct yoke_address *to,
                                          const void *data, size_t size);

/*
 * Receives one datagram. Its length, which is more than `size` if the rest was cut off, and 0 for
 * an empty one; YOKE_CANCELLED; -errno. ret_from may be NULL. (yoke_conn_read also reads one
 * datagram, cut to size.)
 */
YOKE_API YOKE_MUST_CHECK ssize_t yoke_receive_from(struct yoke_conn *conn, void *buffer,
                                                   size_t size, struct yoke_address *ret_from);

/* --- Unix sockets ----------------------------------------------------------------------------- */

/* Who was at the other end when it connected or listened, as the kernel knows it. */
struct yoke_credentials {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};
YOKE_API YOKE_MUST_CHECK int yoke_conn_credentials(struct yoke_conn *conn,
                                                   struct yoke_credentials *ret);

/*
 * Writes all `size` (> 0) bytes, and passes copies of `n` (at most 253) descriptors with the first
 * of them. As yoke_conn_write_all; the descriptors stay the caller's, and went if any byte did.
 */
YOKE_API YOKE_MUST_CHECK int yoke_conn_send_fds(struct yoke_conn *conn, const void *data,
                                                size_t size, const int *fds, size_t n,
                                                size_t *ret_written);

/*
 * As yoke_conn_read, and takes the descriptors that came with what was read: into `fds`, which has
 * room for *n, and *n becomes how many came; those beyond the room are closed. They are
 * close-on-exec and the caller's. -EMFILE: they were lost, for want of descriptors here.
 */
YOKE_API YOKE_MUST_CHECK ssize_t yoke_conn_receive_fds(struct yoke_conn *conn, void *buffer,
                                                       size_t size, int *fds, size_t *n);

YOKE_END
#endif
