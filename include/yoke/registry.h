/* SPDX-License-Identifier: MIT */
/*
 * Discovery: actors find each other by name. One actor, the root or any other, is the registrar;
 * those that know it and listen (<yoke/peer.h>) register there by themselves, and their children,
 * which are told where it is when they start, do so too. A name may belong to several actors.
 *
 * An actor that ends, dies or hangs disappears without being asked: the registrar holds the link by
 * which it registered. When the registrar ends, and later one listens at the same address again,
 * its actors come back to it. tractor's registrar and actors speak the same calls: a plain actor,
 * which keeps no link, is looked after every 5 s.
 *
 *   rc = yoke_registrar_serve("unix:", NULL);                   // in the root, once
 *   rc = yoke_actor_start(&actors, "db", &(struct yoke_actor_opts){.listen = "unix:"}, NULL);
 *   ...
 *   rc = yoke_portal_await("db", NULL, &db);                    // anywhere in the tree
 *
 * Calls fail as yoke_portal_open does when the registrar can't be reached, with YOKE_ELINK when it
 * is lost meanwhile, and with -EDESTADDRREQ, of type "yoke.Registry", by an actor that has none.
 */
#ifndef YOKE_REGISTRY_H
#define YOKE_REGISTRY_H

#include <yoke/peer.h>

YOKE_BEGIN

/*
 * Makes the calling actor the registrar of itself and of the children that it starts from now on,
 * until the runtime ends, and listens at `address`; NULL: it does so already. The registrar that it
 * had before, if any, it leaves. `ret_address` (YOKE_ADDRESS_MAX bytes, or NULL) gets where. 0; as
 * yoke_actor_listen; -EINVAL: it listens nowhere.
 */
YOKE_API YOKE_MUST_CHECK int yoke_registrar_serve(const char *address, char *ret_address);

/*
 * The registrar of the calling actor, and of the children that it starts from now on, is the actor
 * at `address`, which need not be there yet. If the calling actor listens it registers there, and
 * tries again until it has; the first try is made before this returns. 0; YOKE_CANCELLED; -EINVAL
 * for the address; -EBUSY: it is a registrar itself.
 */
YOKE_API YOKE_MUST_CHECK int yoke_registrar_use(const char *address);

/* Where the calling actor's registrar is, itself included; "" if it has none. Borrowed. */
YOKE_API const char *yoke_registrar_address(void);

/*
 * Registers the calling actor, which must listen, under a further name, until it ends or
 * unregisters it; and takes a name back, its own too. When register returns others find it; it
 * fails if the registrar can't be reached now. 0; YOKE_CANCELLED; -EINVAL for the name, or if it
 * listens nowhere.
 */
YOKE_API YOKE_MUST_CHECK int yoke_registry_register(const char *name);
YOKE_API YOKE_MUST_CHECK int yoke_registry_unregister(const char *name);

/* One address of one registered actor. */
struct yoke_registration {
    char name[64];
    char uuid[37]; /* "" from find and wait: they tell addresses */
    char address[YOKE_ADDRESS_MAX];
};

/*
 * find: the addresses of the actor that registered that name, or uuid, first; 0: nobody has. wait:
 * those of all that have, at once if somebody has, else as soon as. query: all actors whose name
 * matches a pattern as of fnmatch(3) ("worker.*"); NULL: all. The count, and an array to be freed
 * by free(), NULL if it is 0. YOKE_CANCELLED.
 */
YOKE_API YOKE_MUST_CHECK int yoke_registry_find(const char *name,
                                                struct yoke_registration **ret_registrations);
YOKE_API YOKE_MUST_CHECK int yoke_registry_wait(const char *name,
                                                struct yoke_registration **ret_registrations);
YOKE_API YOKE_MUST_CHECK int yoke_registry_query(const char *pattern,
                                                 struct yoke_registration **ret_registrations);

/*
 * Find and open: a portal to an actor of that name, to be closed. Unix addresses are tried first,
 * of each kind the latest first; one at which nobody listens any more is reported to the registrar,
 * who looks, and forgets it. 1; 0: nobody of that name is there; YOKE_CANCELLED; as
 * yoke_portal_open, when all that are registered can't be talked to.
 */
YOKE_API YOKE_MUST_CHECK int yoke_portal_find(const char *name, const struct yoke_portal_opts *opts,
                                              struct yoke_portal **ret_portal);

/*
 * Wait and open: as find, but waits until somebody of that name is there, also while the registrar
 * itself is not. 0; YOKE_CANCELLED; as yoke_portal_find.
 */
YOKE_API YOKE_MUST_CHECK int yoke_portal_await(const char *name,
                                               const struct yoke_portal_opts *opts,
                                               struct yoke_portal **ret_portal);

YOKE_END
#endif
