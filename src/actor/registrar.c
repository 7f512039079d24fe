/* SPDX-License-Identifier: MIT */
/*
 * An actor and its registrar. A task, the keeper, holds a link to it and registers this actor over
 * it: again whenever there is something new, and on a new link when the registrar was lost, with a
 * pause that doubles. It never fails: a registrar that can't be reached is what it is there for. It
 * ends when the actor becomes a registrar itself.
 *
 * Calls go over the same link while it stands (yoke_portal_open shares it), else over one of their
 * own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actor/registry.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"

static const struct yoke_actor_id *self_of(const struct yk_actor *actor)
{
    return &actor->runtime->actor;
}

static void own_name_free(struct yk_own_name *own)
{
    yk_list_remove(&own->in_registrar);
    free(own);
}

void yk_registrar_free(struct yk_actor *actor)
{
    if (actor->registrar == NULL)
        return;
    yk_list_for_each (node, &actor->registrar->names)
        own_name_free(yk_container_of(node, struct yk_own_name, in_registrar));
    free(actor->registrar);
}

static int add_own_name(struct yk_registrar *registrar, const char *name)
{
    struct yk_own_name *own;

    yk_list_for_each (node, &registrar->names)
        if (strcmp(yk_container_of(node, struct yk_own_name, in_registrar)->name, name) == 0)
            return 0;
    own = yk_calloc(1, sizeof *own);
    if (own == NULL)
        return yoke_raise("yoke.Registry", ENOMEM, "no memory to register %s", name);
    YK_TEXT_COPY(own->name, name);
    yk_list_append(&registrar->names, &own->in_registrar);
    return 0;
}

int yk_registrar_set(struct yk_actor *actor, const struct yk_place *place)
{
    struct yk_registrar *registrar = actor->registrar;
    int rc = 0;

    if (registrar == NULL) {
        registrar = yk_calloc(1, sizeof *registrar);
        if (registrar == NULL)
            return yoke_raise("yoke.Registry", ENOMEM, "no memory for a registrar");
        yk_list_init(&registrar->names);
        yk_list_init(&registrar->waiters);
        actor->registrar = registrar;
        rc = add_own_name(registrar, self_of(actor)->name);
    }
    registrar->place = *place;
    yk_place_format(place, registrar->address);
    return rc;
}

/* --- the keeper ------------------------------------------------------------------------------- */

static int register_over(struct yk_actor *actor, struct yoke_portal *portal, const char *name,
                         const struct yk_listens *listens)
{
    struct yoke_value uid[2] = {yoke_str(name), yoke_str(self_of(actor)->uuid)}, addr;
    struct yk_arena arena;
    int rc;

    yk_arena_init(&arena);
    rc = yk_place_to_wire(&arena, &listens->place, &addr);
    if (rc == 0)
        rc = yoke_call(portal, YK_RUNTIME_NS "register_actor",
                       YOKE_MAP({"uid", yoke_array(uid, 2)}, {"addr", addr}), NULL);
    yk_arena_fini(&arena);
    return rc;
}

/* Every name at every address. What is added meanwhile is told to the keeper anew. */
static int register_all(struct yk_actor *actor, struct yoke_portal *portal)
{
    struct yk_registrar *registrar = actor->registrar;
    int rc = 0;

    for (struct yk_list *node = registrar->names.next; rc == 0 && node != &registrar->names;
         node = node->next) {
        struct yk_own_name *own = yk_container_of(node, struct yk_own_name, in_registrar);
        unsigned wanted = registrar->wanted;

        yk_list_for_each (place, &actor->listenings)
            if (rc == 0 && registrar->wanted == wanted)
                rc = register_over(actor, portal, own->name,
                                   yk_container_of(place, struct yk_listens, in_actor));
        if (registrar->wanted != wanted)
            break; /* names may have gone */
    }
    return rc;
}

static void tried(struct yk_registrar *registrar, unsigned wanted)
{
    registrar->tried = wanted;
    while (yk_wake_first(&registrar->waiters, 0))
        continue;
}

/* While the link stands: registers whenever there is something new. */
static int keep_registered(struct yk_actor *actor, struct yoke_portal *portal, bool *ret_registered)
{
    struct yk_registrar *registrar = actor->registrar;
    int rc = 0;

    while (rc == 0 && actor->registry == NULL && yoke_portal_connected(portal) &&
           yk_place_equal(&portal->place, &registrar->place)) {
        unsigned wanted = registrar->wanted;

        if (registrar->tried != wanted || registrar->portal != portal) {
            rc = register_all(actor, portal);
            if (rc == 0)
                registrar->portal = portal;
            *ret_registered |= rc == 0;
            tried(registrar, wanted);
        } else {
            rc = yk_wait_in(&portal->waiters, "the registrar to be lost", NULL);
        }
    }
    registrar->portal = NULL;
    return rc;
}

/* Connects, and keeps registered until the link is lost. */
static int keep_once(struct yk_actor *actor, bool *ret_registered)
{
    struct yk_registrar *registrar = actor->registrar;
    unsigned wanted = registrar->wanted;
    struct yoke_portal *portal;
    int rc = yoke_portal_open(registrar->address,
                              &(struct yoke_portal_opts){.timeout_ns = YK_REGISTRAR_NS}, &portal);

    if (rc == 0) {
        rc = keep_registered(actor, portal, ret_registered);
        yoke_portal_close(portal);
    }
    tried(registrar, wanted);
    return rc;
}

static int keep(void *arg)
{
    struct yk_actor *actor = arg;
    int64_t pause = YK_REGISTRAR_RETRY_NS;
    int rc = 0;

    while (rc == 0 && actor->registry == NULL) {
        bool registered = false;

        rc = keep_once(actor, &registered);
        if (rc < 0 && rc != YOKE_CANCELLED) {
            yoke_clear(); /* it is tried again */
            rc = 0;
        }
        pause = registered ? YK_REGISTRAR_RETRY_NS : pause * 2;
        if (pause > YK_REGISTRAR_RETRY_MAX_NS)
            pause = YK_REGISTRAR_RETRY_MAX_NS;
        if (rc == 0)
            rc = yoke_sleep(pause);
    }
    actor->registrar->keeping = false;
    return rc;
}

int yk_registrar_update(struct yk_actor *actor)
{
    struct yk_registrar *registrar = actor->registrar;
    unsigned wanted;
    int rc = 0;

    if (actor->registry != NULL)
        return yk_registry_add_self(actor, self_of(actor)->name);
    if (registrar == NULL || yk_list_empty(&actor->listenings))
        return 0;
    wanted = ++registrar->wanted;
    if (!registrar->keeping) {
        rc = yoke_spawn(actor->runtime->system, keep, actor);
        registrar->keeping = rc == 0;
    } else if (registrar->portal != NULL) {
        yk_portal_changed(registrar->portal);
    }
    while (rc == 0 && registrar->keeping && (int)(registrar->tried - wanted) < 0)
        rc = yk_wait_in(&registrar->waiters, "a try to register", NULL);
    return rc;
}

/* A plain registrar is not told by the link's end. */
void yk_registrar_stop(struct yk_actor *actor)
{
    struct yk_registrar *registrar = actor->registrar;
    struct yoke_scope scope;
    struct yoke_hold hold;
    int rc;

    if (registrar == NULL || registrar->portal == NULL || registrar->portal->version > 0)
        return;
    yoke_hold(&hold);
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                     .name = "unregister",
                                     .timeout_ns = YK_UNREGISTER_NS,
                                     .shield = true,
                                 });
    yk_list_for_each (node, &registrar->names) {
        struct yk_own_name *own = yk_container_of(node, struct yk_own_name, in_registrar);
        struct yoke_value uid[2] = {yoke_str(own->name), yoke_str(self_of(actor)->uuid)};

        if (rc == 0)
            rc = yk_registrar_call(actor, "unregister_actor", YOKE_MAP({"uid", yoke_array(uid, 2)}),
                                   NULL);
    }
    rc = yoke_scope_close(&scope, rc);
    if (rc < 0)
        yoke_clear(); /* it finds out by itself */
    (void)yoke_release(&hold);
}

/* --- calls ------------------------------------------------------------------------------------ */

static int call_own(struct yk_actor *actor, const char *method, struct yoke_value args,
                    struct yoke_value **ret)
{
    struct yoke_value result = yoke_nil();
    struct yk_arena arena;
    int rc;

    yk_arena_init(&arena);
    rc = yk_registry_call(actor, NULL, method, args, &arena, &result);
    if (rc == 0 && ret != NULL) {
        *ret = yoke_value_copy(result);
        if (*ret == NULL)
            rc = yoke_raise("yoke.Registry", ENOMEM, "no memory for an answer");
    }
    yk_arena_fini(&arena);
    return rc;
}

int yk_registrar_call(struct yk_actor *actor, const char *method, struct yoke_value args,
                      struct yoke_value **ret)
{
    struct yoke_portal *portal;
    char endpoint[YK_ENDPOINT_MAX];
    int rc;

    if (actor->registry != NULL)
        return call_own(actor, method, args, ret);
    if (actor->registrar == NULL)
        return yoke_raise("yoke.Registry", EDESTADDRREQ,
                          "actor %s has no registrar: yoke_registrar_serve and yoke_registrar_use "
                          "give it one",
                          self_of(actor)->name);
    rc = yoke_portal_open(actor->registrar->address, NULL, &portal);
    if (rc < 0)
        return rc;
    snprintf(endpoint, sizeof endpoint, "%s%s", YK_RUNTIME_NS, method);
    rc = yoke_call(portal, endpoint, args, ret);
    yoke_portal_close(portal);
    return rc;
}

int yk_registrar_addresses(struct yk_actor *actor, struct yk_arena *arena,
                           struct yoke_value *ret_pairs, size_t max)
{
    size_t n = 0;
    int rc = 0;

    if (actor->registry == NULL && actor->registrar != NULL) {
        rc = yk_place_to_wire(arena, &actor->registrar->place, &ret_pairs[n++]);
        return rc < 0 ? rc : (int)n;
    }
    if (actor->registry != NULL)
        yk_list_for_each (node, &actor->listenings) {
            struct yk_listens *listens = yk_container_of(node, struct yk_listens, in_actor);

            if (rc == 0 && n < max)
                rc = yk_place_to_wire(arena, &listens->place, &ret_pairs[n++]);
        }
    return rc < 0 ? rc : (int)n;
}

/* --- public ----------------------------------------------------------------------------------- */

static int no_listener(const struct yk_actor *actor)
{
    return yoke_raise("yoke.Registry", EINVAL,
                      "actor %s listens nowhere: nobody could connect to it", self_of(actor)->name);
}

int yoke_registrar_serve(const char *address, char *ret_address)
{
    struct yk_task *task = yk_task_self("yoke_registrar_serve");
    struct yk_actor *actor = yk_actor_of(task->runtime);
    int rc = actor == NULL ? -ENOMEM : yk_check_cancelled(task);

    if (rc == 0 && actor->registry == NULL)
        rc = yk_registry_new(actor);
    if (rc == 0 && actor->registrar != NULL && actor->registrar->portal != NULL)
        yk_portal_changed(actor->registrar->portal); /* its keeper leaves it */
    if (rc == 0 && address != NULL)
        rc = yoke_actor_listen(address, NULL, ret_address);
    else if (rc == 0 && yk_list_empty(&actor->listenings))
        rc = no_listener(actor);
    else if (rc == 0)
        rc = yk_registry_add_self(actor, self_of(actor)->name);
    if (rc == 0 && address == NULL && ret_address != NULL)
        yk_text_copy(ret_address, YOKE_ADDRESS_MAX, yoke_actor_address());
    if (rc < 0 && actor != NULL && actor->registry != NULL && yk_list_empty(&actor->listenings)) {
        yk_registry_free(actor->registry);
        actor->registry = NULL;
    }
    return rc;
}

int yoke_registrar_use(const char *address)
{
    struct yk_task *task = yk_task_self("yoke_registrar_use");
    struct yk_actor *actor = yk_actor_of(task->runtime);
    struct yk_place place;
    int rc = actor == NULL ? -ENOMEM : yk_check_cancelled(task);

    if (rc == 0)
        rc = yk_place_parse(address, &place);
    if (rc == 0 && actor->registry != NULL)
        rc = yoke_raise("yoke.Registry", EBUSY, "actor %s is a registrar itself",
                        self_of(actor)->name);
    if (rc == 0)
        rc = yk_registrar_set(actor, &place);
    return rc < 0 ? rc : yk_registrar_update(actor);
}

const char *yoke_registrar_address(void)
{
    struct yk_task *task = yk_task_self("yoke_registrar_address");
    struct yk_actor *actor = task->runtime->slots[YK_SLOT_ACTOR].data;

    if (actor == NULL)
        return "";
    if (actor->registry != NULL)
        return yoke_actor_address();
    return actor->registrar != NULL ? actor->registrar->address : "";
}

static int check_name(const char *name)
{
    if (name != NULL && name[0] != '\0' && strlen(name) < YK_NAME_SIZE)
        return 0;
    return yoke_raise("yoke.Registry", EINVAL, "\"%s\" can't name an actor: 1 to %d bytes",
                      name != NULL ? name : "(null)", YK_NAME_SIZE - 1);
}

static int register_name(struct yk_actor *actor, const char *name)
{
    struct yk_registrar *registrar = actor->registrar;
    int rc;

    if (actor->registry != NULL)
        return yk_registry_add_self(actor, name);
    rc = add_own_name(registrar, name);
    if (rc == 0)
        rc = yk_registrar_update(actor);
    if (rc == 0 && registrar->portal == NULL)
        rc = yoke_raise("yoke.Registry", EHOSTUNREACH,
                        "the registrar at %s can't be reached now; %s is registered as soon as it "
                        "can",
                        registrar->address, name);
    return rc;
}

int yoke_registry_register(const char *name)
{
    struct yk_task *task = yk_task_self("yoke_registry_register");
    struct yk_actor *actor = yk_actor_of(task->runtime);
    int rc = actor == NULL ? -ENOMEM : yk_check_cancelled(task);

    if (rc == 0)
        rc = check_name(name);
    if (rc == 0 && actor->registry == NULL && actor->registrar == NULL)
        return yk_registrar_call(actor, "register_actor", yoke_nil(), NULL); /* says why not */
    if (rc == 0 && yk_list_empty(&actor->listenings))
        rc = no_listener(actor);
    return rc < 0 ? rc : register_name(actor, name);
}

int yoke_registry_unregister(const char *name)
{
    struct yk_task *task = yk_task_self("yoke_registry_unregister");
    struct yk_actor *actor = yk_actor_of(task->runtime);
    struct yoke_value uid[2];
    int rc = actor == NULL ? -ENOMEM : yk_check_cancelled(task);

    if (rc == 0)
        rc = check_name(name);
    if (rc < 0)
        return rc;
    if (actor->registrar != NULL) {
        yk_list_for_each (node, &actor->registrar->names) {
            struct yk_own_name *own = yk_container_of(node, struct yk_own_name, in_registrar);

            if (strcmp(own->name, name) == 0)
                own_name_free(own);
        }
        actor->registrar->wanted++; /* a registration that is on its way begins anew */
    }
    uid[0] = yoke_str(name);
    uid[1] = yoke_str(self_of(actor)->uuid);
    return yk_registrar_call(actor, "unregister_actor", YOKE_MAP({"uid", yoke_array(uid, 2)}),
                             NULL);
}
