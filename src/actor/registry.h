/* SPDX-License-Identifier: MIT */
/*
 * Discovery inside the library: the table of a registrar (registry.c), an actor's side of it
 * (registrar.c), and finding (discovery.c).
 */
#ifndef YK_ACTOR_REGISTRY_H
#define YK_ACTOR_REGISTRY_H

#include <yoke/registry.h>

#include "actor/actor.h"

enum { YK_NAME_SIZE = sizeof((struct yoke_actor_id *)0)->name };

/* Where an actor's own registrar is. */
struct yk_registrar {
    struct yk_place place;
    char address[YOKE_ADDRESS_MAX];
    struct yoke_portal *portal; /* the keeper's, while it is registered over it */
    struct yk_list names;       /* under which it is registered, struct yk_own_name */
    struct yk_list waiters;     /* for a try of the keeper */
    unsigned wanted;            /* counts what the keeper was told to do, ... */
    unsigned tried;             /* ... and which of it it has tried */
    bool keeping;               /* its task runs */
};

struct yk_own_name {
    struct yk_list in_registrar;
    char name[YK_NAME_SIZE];
};

/* Makes an actor a registrar. 0, or -ENOMEM raised. */
int yk_registry_new(struct yk_actor *actor);
void yk_registry_free(struct yk_registry *registry);

/* The actor listens at one more address: its own entries. 0, or -ENOMEM raised. */
int yk_registry_add_self(struct yk_actor *actor, const char *name);

/*
 * One of tractor's calls, by its name, on this actor's own table. `portal` is that of the caller;
 * NULL: this actor. May wait. The result lives in the arena. 0, or raised.
 */
int yk_registry_call(struct yk_actor *actor, struct yoke_portal *portal, const char *method,
                     struct yoke_value args, struct yk_arena *arena, struct yoke_value *ret);

/* The same wherever the registrar is. The result is owned by the caller; ret may be NULL. */
int yk_registrar_call(struct yk_actor *actor, const char *method, struct yoke_value args,
                      struct yoke_value **ret);

/* Something is to be registered: sees to it, and waits for the first try. 0 or YOKE_CANCELLED. */
int yk_registrar_update(struct yk_actor *actor);

/* Sets the registrar. 0, or raised. */
int yk_registrar_set(struct yk_actor *actor, const struct yk_place *place);

/* Addresses for a child's SpawnSpec; at most `max`. How many, or -ENOMEM raised. */
int yk_registrar_addresses(struct yk_actor *actor, struct yk_arena *arena,
                           struct yoke_value *ret_pairs, size_t max);

void yk_registrar_stop(struct yk_actor *actor); /* the program's own tasks are done; may block */
void yk_registrar_free(struct yk_actor *actor);

#endif
