/* SPDX-License-Identifier: MIT */
/*
 * Transports: how actors reach each other, and the addresses that say where. An address is text,
 * "unix:/run/user/1000/yoke/root@77.sock" or "tcp:127.0.0.1:1616"; on the wire it is tractor's pair
 * (directory, file) or (host, port). Connections are conns of the io layer until they are admitted.
 */
#ifndef YK_LINK_TRANSPORT_H
#define YK_LINK_TRANSPORT_H

#include <yoke/net.h>

#include "base/arena.h"
#include "link/link.h"

enum { YK_PLACE_MAX = 128 }; /* bytes of an address as text, NUL included; YOKE_ADDRESS_MAX */

struct yk_transport;

/* Where an actor listens. Zeroed it is nowhere. */
struct yk_place {
    const struct yk_transport *transport;
    char where[YK_PLACE_MAX - 8]; /* what follows "unix:" or "tcp:"; "": a Unix one to be chosen */
};

struct yk_transport {
    const char *scheme;
    const struct yk_link_ops *link; /* of its connected sockets */
    /* Checks the place, which is as written, and brings it to one form. 0, or raised. */
    int (*check)(struct yk_place *address);
    /* The two halves of a pair; text is borrowed from the address or allocated in the arena. */
    int (*to_wire)(struct yk_arena *arena, const struct yk_place *address,
                   struct yoke_value *ret_pair);
    /* Whether a pair is one of its addresses: 1; 0; or raised. */
    int (*from_wire)(struct yoke_value first, struct yoke_value second, struct yk_place *ret);
    /* Binds; `name` is that of the actor, for an address that is to be chosen. 0, or raised. */
    int (*listen)(const char *name, struct yk_place *address, struct yoke_listener **ret);
    /* A fresh connection, of either side: whether its peer may be one of ours. 0, or raised. */
    int (*admit)(struct yoke_conn *conn);
};

extern const struct yk_transport yk_transport_unix;
extern const struct yk_transport yk_transport_tcp;

/* From and to text. parse: 0, or -EINVAL, -ENAMETOOLONG raised. format returns `text`. */
int yk_place_parse(const char *text, struct yk_place *ret);
const char *yk_place_format(const struct yk_place *address, char *text);

/* From and to the wire. 0, or raised: -EBADMSG for what is no address, -ENOMEM. */
int yk_place_from_wire(struct yoke_value pair, struct yk_place *ret);
int yk_place_to_wire(struct yk_arena *arena, const struct yk_place *address,
                     struct yoke_value *ret_pair);

bool yk_place_equal(const struct yk_place *a, const struct yk_place *b);

/*
 * Connects. 0 and the descriptor of an admitted connection, non-blocking and close-on-exec, the
 * caller's; YOKE_CANCELLED; what yoke_connect and the transport's admit raise.
 */
int yk_dial(const struct yk_place *address, int *ret_fd);

/*
 * The private directory for Unix sockets, made if it is missing: $XDG_RUNTIME_DIR/yoke, or
 * /tmp/yoke-UID. 0, or raised: -EPERM if it is not a directory of this user's alone.
 */
int yk_unix_directory(char *ret_path, size_t size);

#endif
