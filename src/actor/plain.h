/* SPDX-License-Identifier: MIT */
/*
 * What is different with plain peers: actors that speak tractor's protocol and none of our
 * extensions, such as Python programs. A plain parent has started this process; a plain child is
 * started by this one.
 */
#ifndef YK_ACTOR_PLAIN_H
#define YK_ACTOR_PLAIN_H

#include "actor/child.h"

/*
 * The command line that a plain parent starts its child with. plain.c
 *
 * "('name', 'uuid')" as Python writes it; false: not that, or too long.
 */
bool yk_plain_parse_uid(const char *text, struct yoke_actor_id *ret);

/* The place of a plain parent: "('host', port)" or "('directory', 'file')". 0, or raised. */
int yk_plain_parse_place(const char *text, struct yk_place *ret);

/*
 * A plain parent's SpawnSpec has come: keeps what it says for the children of this actor, and
 * listens as told, or at an address of its own choice. 0, or raised.
 */
int yk_plain_told(struct yk_actor *actor, const struct yk_spawn_spec *spec);

/*
 * tractor's way to cancel is a Start of a function of the runtime itself. It is answered by
 * StartAck at once, and by CancelAck when its target has ended and told its outcome. False: it is
 * another Start.
 */
bool yk_plain_cancel(struct yoke_portal *portal, const struct yk_start *start);

/* An endpoint has told its outcome: acknowledges the requests that this fulfils. */
void yk_plain_served(struct yk_dialog *dialog);

/* An actor ends: gives a plain parent the time to see what was told last. */
void yk_plain_linger(const struct yoke_portal *parent);

/* Requests that were not acknowledged; for the end of an actor. */
void yk_plain_drop_requests(struct yk_actor *actor);

/*
 * Whom a plain peer says to have cancelled it becomes the cause of its ContextCancelled: this
 * dialog's own request, if there is one and this actor is named, which is tractor's rule.
 */
void yk_plain_set_canceller(struct yk_dialog *dialog, struct yoke_error *error,
                            const struct yk_error_message *message);

/*
 * A plain child as its supervisor sees it. plain_child.c
 *
 * Whether the options of an actor that is plain, or is not, make sense. 0, or raised.
 */
int yk_plain_check(const char *name, const struct yoke_actor_opts *opts);

/* False: no memory. */
bool yk_plain_copy_arguments(struct yk_actor_child *child, const struct yoke_actor_opts *opts);
void yk_plain_free_arguments(struct yk_actor_child *child);

#endif
