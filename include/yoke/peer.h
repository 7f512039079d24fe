/* SPDX-License-Identifier: MIT */
/*
 * Peers: links between any two actors of one machine, beside those between parents and children. An
 * actor listens at an address; another one opens a portal to that address, and through it contexts
 * (<yoke/context.h>). What a peer may start is what yoke_actor_expose says, as for a parent.
 *
 * Addresses are text:
 *
 *   unix:/run/user/1000/yoke/root@77.sock   a Unix socket; the kernel says who is at the other end:
 *                                           processes of the same user, or of root, are let in
 *   tcp:127.0.0.1:1616   tcp:[::1]:1616     TCP, plaintext and without authentication: any process
 *                                           of this machine may connect. Loopback only
 *
 * A link is lost when its peer ends or breaks it, breaks the protocol, or is silent for too long
 * (yoke_actor_heartbeat). Contexts over it then end with "yoke.LinkLost" (YOKE_ELINK), endpoints
 * that it started are cancelled with a cause of kind YOKE_CAUSE_LINK_LOST, and nothing else happens
 * to either actor. Addresses that make no sense are "yoke.Address" errors, peers that may not
 * connect "yoke.Refused".
 */
#ifndef YOKE_PEER_H
#define YOKE_PEER_H

#include <yoke/actor.h>

YOKE_BEGIN

enum { YOKE_ADDRESS_MAX = 128 }; /* bytes of an address, NUL included */

struct yoke_actor_listen_opts {
    int64_t
        greeting_timeout_ns; /* a peer that has not said who it is by then is dropped; 0: 10 s */
    /*
     * Gets the error of each peer that was dropped, and what made accepting pause; borrowed. Must
     * not block. NULL: nobody is told.
     */
    void (*dropped)(const struct yoke_error *error, void *arg);
    void *arg; /* must live as long as the runtime */
};

/*
 * Listens at an address from now until the runtime ends; an actor may do so at several. "unix:"
 * alone picks a name in this user's private directory ($XDG_RUNTIME_DIR/yoke, else /tmp/yoke-UID,
 * mode 0700), "tcp:127.0.0.1:0" a free port. A Unix socket's path has mode 0600, missing
 * directories are made, and it is removed at the end. `ret_address` (YOKE_ADDRESS_MAX bytes, or
 * NULL) gets where it is. An actor that has a registrar registers there (<yoke/registry.h>). 0;
 * YOKE_CANCELLED; -EINVAL, -EACCES for the address; -EADDRINUSE; -EPERM if the directory is not
 * safe; -errno.
 */
YOKE_API YOKE_MUST_CHECK int yoke_actor_listen(const char *address,
                                               const struct yoke_actor_listen_opts *opts,
                                               char *ret_address);

/* Where the calling actor listens, the first if at several; "" if nowhere. Borrowed. */
YOKE_API const char *yoke_actor_address(void);

struct yoke_portal_opts {
    int64_t timeout_ns; /* until the peer has said who it is; 0: 10 s */
};

/*
 * Connects to the actor at an address, and waits until it has said who it is. Opening the same
 * address again while a link is there gives the same portal, which is then to be closed as often. 0
 * and a portal; YOKE_CANCELLED (nothing is left); -ECONNREFUSED, -ENOENT: nobody listens there;
 * YOKE_EUNRESPONSIVE: no answer in time; -EPERM: it is another user's; YOKE_EREMOTE: the peer has
 * refused; YOKE_ELINK: it hung up; others as of the system.
 */
YOKE_API YOKE_MUST_CHECK int yoke_portal_open(const char *address,
                                              const struct yoke_portal_opts *opts,
                                              struct yoke_portal **ret_portal);

/*
 * Closes what yoke_portal_open gave. Its contexts must have been closed: else it aborts. Never
 * blocks; what was sent still goes out. NULL is fine.
 */
#define yoke_portal_close(portal) yoke_portal_close_at(YOKE_HERE, (portal))
YOKE_API void yoke_portal_close_at(const struct yoke_site *site, struct yoke_portal *portal);

/*
 * Where the actor behind a portal listens: what it was opened with; of a child that was started
 * with yoke_actor_opts.listen where it listens; else "". Borrowed.
 */
YOKE_API const char *yoke_portal_address(const struct yoke_portal *portal);

/* Whether the link still stands; once false it stays so. */
YOKE_API bool yoke_portal_connected(const struct yoke_portal *portal);

/*
 * A peer that is silent for so long is lost to the calling actor, and its links with it: a process
 * that is stopped or hangs, or a task that never comes to a checkpoint. While nothing else comes it
 * is asked for a sign of life some times in that time, which its runtime gives by itself. 0: the
 * default, 20 s; negative: never. Counts at once for all links but those to parent and children:
 * who is a child's supervisor holds its process, and decides by yoke_actor_opts.heartbeat_ns.
 * Peers that don't speak yoke's extensions are not asked.
 */
YOKE_API void yoke_actor_heartbeat(int64_t silence_ns);

YOKE_END
#endif
