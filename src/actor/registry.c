/* SPDX-License-Identifier: MIT */
/*
 * The registrar's table, and tractor's calls on it. An entry is an actor's uid (name and uuid) with
 * its addresses, in the order of registration.
 *
 * An entry that came over a link of a yoke actor goes when that link is lost. A plain actor's link
 * is closed as soon as it has registered: it is probed now and then, and goes when nobody listens
 * at its address. Whoever registers may do so for itself only: the uuid must be that of its link.
 */
#include "actor/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"

struct yk_registry {
    struct yk_actor *actor;
    struct yk_list entries;
    struct yk_list waiters; /* calls of wait_for_actor */
    bool looking;           /* after plain actors */
};

struct entry {
    struct yk_list in_registry;
    char name[YK_NAME_SIZE];
    char uuid[YK_UUID_SIZE];
    struct yoke_portal
        *portal; /* NULL: a plain actor's, or this one's; never used but to compare */
    bool own;
    size_t n;
    struct yk_place places[YK_REGISTERED_MAX];
};

int yk_registry_new(struct yk_actor *actor)
{
    struct yk_registry *registry = yk_calloc(1, sizeof *registry);

    if (registry == NULL)
        return yoke_raise("yoke.Registry", ENOMEM, "no memory for a registry");
    registry->actor = actor;
    yk_list_init(&registry->entries);
    yk_list_init(&registry->waiters);
    actor->registry = registry;
    return 0;
}

static void entry_free(struct entry *entry)
{
    yk_list_remove(&entry->in_registry);
    free(entry);
}

void yk_registry_free(struct yk_registry *registry)
{
    if (registry == NULL)
        return;
    yk_list_for_each (node, &registry->entries)
        entry_free(yk_container_of(node, struct entry, in_registry));
    free(registry);
}

static void changed(struct yk_registry *registry)
{
    while (yk_wake_first(&registry->waiters, 0))
        continue;
}

static struct entry *entry_find(struct yk_registry *registry, const char *name, const char *uuid)
{
    yk_list_for_each (node, &registry->entries) {
        struct entry *entry = yk_container_of(node, struct entry, in_registry);

        if (strcmp(entry->name, name) == 0 && strcmp(entry->uuid, uuid) == 0)
            return entry;
    }
    return NULL;
}

/* Takes an address from an entry. An entry without addresses is none. */
static bool take_address(struct entry *entry, const struct yk_place *place)
{
    for (size_t i = 0; i < entry->n; i++)
        if (yk_place_equal(&entry->places[i], place)) {
            entry->n--;
            memmove(&entry->places[i], &entry->places[i + 1],
                    (entry->n - i) * sizeof entry->places[0]);
            if (entry->n == 0)
                entry_free(entry);
            return true;
        }
    return false;
}

/* Another actor that had that address has it no more; one may have it under several names. */
static void evict(struct yk_registry *registry, const struct yk_place *place, const char *uuid)
{
    yk_list_for_each (node, &registry->entries) {
        struct entry *entry = yk_container_of(node, struct entry, in_registry);

        if (strcmp(entry->uuid, uuid) != 0)
            take_address(entry, place);
    }
}

static struct entry *entry_new(struct yk_registry *registry, const char *name, const char *uuid)
{
    struct entry *entry = yk_calloc(1, sizeof *entry);

    if (entry == NULL) {
        (void)yoke_raise("yoke.Registry", ENOMEM, "no memory to register %s", name);
        return NULL;
    }
    YK_TEXT_COPY(entry->name, name);
    YK_TEXT_COPY(entry->uuid, uuid);
    yk_list_append(&registry->entries, &entry->in_registry);
    return entry;
}

static int add(struct yk_registry *registry, struct yoke_portal *portal, const char *name,
               const char *uuid, const struct yk_place *place)
{
    struct entry *entry = entry_find(registry, name, uuid);

    evict(registry, place, uuid);
    if (entry == NULL)
        entry = entry_new(registry, name, uuid);
    if (entry == NULL)
        return -ENOMEM;
    entry->portal = portal != NULL && portal->version > 0 ? portal : NULL;
    entry->own = portal == NULL;
    for (size_t i = 0; i < entry->n; i++)
        if (yk_place_equal(&entry->places[i], place))
            return 0;
    if (entry->n == YK_REGISTERED_MAX)
        return yoke_raise("yoke.Registry", ENOSPC, "%s has %d addresses already", name,
                          YK_REGISTERED_MAX);
    entry->places[entry->n++] = *place;
    changed(registry);
    return 0;
}

int yk_registry_add_self(struct yk_actor *actor, const char *name)
{
    int rc = 0;

    yk_list_for_each (node, &actor->listenings) {
        struct yk_listens *listens = yk_container_of(node, struct yk_listens, in_actor);

        if (rc == 0)
            rc = add(actor->registry, NULL, name, actor->runtime->actor.uuid, &listens->place);
    }
    return rc;
}

void yk_registry_lost(struct yk_registry *registry, const struct yoke_portal *portal)
{
    yk_list_for_each (node, &registry->entries) {
        struct entry *entry = yk_container_of(node, struct entry, in_registry);

        if (entry->portal == portal)
            entry_free(entry);
    }
}

/* --- looking after plain actors --------------------------------------------------------------- */

/* Whether nobody listens there any more. Not if nobody knows: it is full, or does not answer. */
static bool is_gone(struct yk_actor *actor, const struct yk_place *place)
{
    int rc = yk_peer_probe(actor, place, YK_PROBE_NS);

    if (rc < 0 && rc != YOKE_CANCELLED)
        yoke_clear();
    return rc == -ECONNREFUSED || rc == -ENOENT;
}

static struct entry *entry_at(struct yk_registry *registry, const struct yk_place *place)
{
    yk_list_for_each (node, &registry->entries) {
        struct entry *entry = yk_container_of(node, struct entry, in_registry);

        for (size_t i = 0; i < entry->n; i++)
            if (yk_place_equal(&entry->places[i], place))
                return entry;
    }
    return NULL;
}

/* Looks at an address; whoever is registered there meanwhile, under all its names, loses it. */
static int look(struct yk_registry *registry, const struct yk_place *place)
{
    struct entry *entry;

    if (is_gone(registry->actor, place))
        while ((entry = entry_at(registry, place)) != NULL)
            take_address(entry, place);
    return yoke_in_flight() != NULL ? YOKE_CANCELLED : 0;
}

/* The n-th address of a plain actor. */
static bool plain_place(struct yk_registry *registry, size_t n, struct yk_place *ret)
{
    yk_list_for_each (node, &registry->entries) {
        struct entry *entry = yk_container_of(node, struct entry, in_registry);

        if (entry->portal != NULL || entry->own)
            continue;
        if (n < entry->n) {
            *ret = entry->places[n];
            return true;
        }
        n -= entry->n;
    }
    return false;
}

static int look_after_plain(void *arg)
{
    struct yk_registry *registry = arg;
    struct yk_place place;
    size_t n = 0;
    int rc = 0;

    while (rc == 0 && plain_place(registry, 0, &place)) {
        rc = yoke_sleep(YK_LOOK_NS);
        for (n = 0; rc == 0 && plain_place(registry, n, &place); n++)
            rc = look(registry, &place);
    }
    registry->looking = false;
    return rc;
}

static void start_looking(struct yk_registry *registry)
{
    if (registry->looking)
        return;
    registry->looking = true;
    if (yoke_spawn(registry->actor->runtime->system, look_after_plain, registry) < 0) {
        registry->looking = false;
        yoke_clear(); /* no memory: the next plain actor that registers tries again */
    }
}

/* --- the calls -------------------------------------------------------------------------------- */

struct call {
    struct yk_registry *registry;
    struct yoke_portal *portal; /* NULL: this actor's own */
    struct yoke_value args;
    struct yk_arena *arena;
    struct yoke_value result;
};

/* args.uid, which must be the caller's own. */
static int read_uid(const struct call *call, char *name, char *uuid)
{
    struct yoke_value uid = yoke_value_get(call->args, "uid");
    const struct yoke_actor_id *caller =
        call->portal != NULL ? &call->portal->id : &call->registry->actor->runtime->actor;
    int rc;

    if (uid.type != YOKE_ARRAY_VALUE || uid.as.array.n != 2)
        return yoke_raise("yoke.BadMessage", EBADMSG, "uid: [name, uuid] is needed");
    rc = yoke_value_text(uid.as.array.items[0], "name", name, YK_NAME_SIZE);
    if (rc == 0)
        rc = yoke_value_text(uid.as.array.items[1], "uuid", uuid, YK_UUID_SIZE);
    if (rc == 0 && strcmp(uuid, caller->uuid) != 0)
        rc = yoke_raise("yoke.Registry", EPERM, "%s can't speak for another actor (%s)",
                        caller->name, name);
    return rc;
}

static int register_actor(struct call *call)
{
    char name[YK_NAME_SIZE], uuid[YK_UUID_SIZE];
    struct yk_place place;
    int rc = read_uid(call, name, uuid);

    if (rc == 0)
        rc = yk_place_from_wire(yoke_value_get(call->args, "addr"), &place);
    if (rc == 0)
        rc = add(call->registry, call->portal, name, uuid, &place);
    if (rc == 0 && call->portal != NULL && call->portal->version == 0)
        start_looking(call->registry);
    return rc;
}

static int unregister_actor(struct call *call)
{
    char name[YK_NAME_SIZE], uuid[YK_UUID_SIZE];
    int rc = read_uid(call, name, uuid);
    struct entry *entry = rc < 0 ? NULL : entry_find(call->registry, name, uuid);

    if (entry != NULL)
        entry_free(entry);
    return rc;
}

static int no_memory(void)
{
    return yoke_raise("yoke.Registry", ENOMEM, "no memory for an answer");
}

/* Appends an entry's addresses to `pairs`. */
static int put_addresses(struct call *call, const struct entry *entry, struct yoke_value *pairs)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < entry->n; i++)
        rc = yk_place_to_wire(call->arena, &entry->places[i], &pairs[i]);
    return rc;
}

/* The addresses of the first entry of that name or uuid, or of all of that name. nil: none. */
static int addresses_of(struct call *call, const char *name, bool all)
{
    struct yoke_value *pairs = NULL;
    size_t n = 0, room = 0;
    int rc = 0;

    yk_list_for_each (node, &call->registry->entries)
        room += yk_container_of(node, struct entry, in_registry)->n;
    pairs = yk_arena_alloc(call->arena, (room + 1) * sizeof *pairs);
    if (pairs == NULL)
        return no_memory();
    yk_list_for_each (node, &call->registry->entries) {
        struct entry *entry = yk_container_of(node, struct entry, in_registry);

        if (rc < 0 || (n > 0 && !all) ||
            (strcmp(entry->name, name) != 0 && (all || strcmp(entry->uuid, name) != 0)))
            continue;
        rc = put_addresses(call, entry, pairs + n);
        n += entry->n;
    }
    if (rc == 0 && n > 0)
        call->result = yoke_array(pairs, n);
    return rc;
}

static int find_actor(struct call *call)
{
    char name[YK_NAME_SIZE];
    int rc = yoke_value_text(yoke_value_get(call->args, "name"), "name", name, sizeof name);

    return rc < 0 ? rc : addresses_of(call, name, false);
}

static int wait_for_actor(struct call *call)
{
    char name[YK_NAME_SIZE];
    int rc = yoke_value_text(yoke_value_get(call->args, "name"), "name", name, sizeof name);

    while (rc == 0) {
        rc = addresses_of(call, name, true);
        if (rc < 0 || call->result.type != YOKE_NIL)
            break;
        yk_arena_reset(call->arena);
        rc = yk_wait_in(&call->registry->waiters, "an actor to register", NULL);
    }
    return rc;
}

static int get_registry(struct call *call)
{
    struct yoke_pair *pairs;
    size_t n = 0;
    int rc = 0;

    yk_list_for_each (node, &call->registry->entries)
        n++;
    pairs = yk_arena_alloc(call->arena, (n + 1) * sizeof *pairs);
    if (pairs == NULL)
        return no_memory();
    n = 0;
    yk_list_for_each (node, &call->registry->entries) {
        struct entry *entry = yk_container_of(node, struct entry, in_registry);
        char *key = yk_arena_alloc(call->arena, sizeof entry->name + sizeof entry->uuid);
        struct yoke_value *addresses = yk_arena_alloc(call->arena, entry->n * sizeof *addresses);

        if (key == NULL || addresses == NULL)
            rc = no_memory();
        if (rc == 0)
            rc = put_addresses(call, entry, addresses);
        if (rc < 0)
            break;
        snprintf(key, sizeof entry->name + sizeof entry->uuid, "%s.%s", entry->name, entry->uuid);
        pairs[n++] = (struct yoke_pair){.key = key, .value = yoke_array(addresses, entry->n)};
    }
    call->result = yoke_map(pairs, n);
    return rc;
}

/* Whoever asks could not connect to it. That may have been bad luck, or ill will: it is looked. */
static int delete_addr(struct call *call)
{
    struct yoke_value *uid = yk_arena_alloc(call->arena, 2 * sizeof *uid);
    char *text = yk_arena_alloc(call->arena, YK_NAME_SIZE + YK_UUID_SIZE);
    struct yk_place place;
    struct entry *entry;
    int rc = yk_place_from_wire(yoke_value_get(call->args, "addr"), &place);

    if (rc == 0 && (uid == NULL || text == NULL))
        rc = no_memory();
    entry = rc < 0 ? NULL : entry_at(call->registry, &place);
    if (entry == NULL)
        return rc;
    yk_text_copy(text, YK_NAME_SIZE, entry->name);
    yk_text_copy(text + YK_NAME_SIZE, YK_UUID_SIZE, entry->uuid);
    rc = look(call->registry, &place);
    if (rc < 0 || entry_at(call->registry, &place) != NULL)
        return rc;
    uid[0] = yoke_str(text);
    uid[1] = yoke_str(text + YK_NAME_SIZE);
    call->result = yoke_array(uid, 2);
    return 0;
}

static const struct method {
    const char *name;
    int (*run)(struct call *call);
} methods[] = {
    {"register_actor", register_actor}, {"unregister_actor", unregister_actor},
    {"find_actor", find_actor},         {"wait_for_actor", wait_for_actor},
    {"get_registry", get_registry},     {"delete_addr", delete_addr},
};

int yk_registry_call(struct yk_actor *actor, struct yoke_portal *portal, const char *method,
                     struct yoke_value args, struct yk_arena *arena, struct yoke_value *ret)
{
    struct call call = {.registry = actor->registry,
                        .portal = portal,
                        .args = args,
                        .arena = arena};
    const struct method *found = NULL;
    int rc;

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(methods[i].name, method) == 0)
            found = &methods[i];
    yk_assert(found != NULL);
    rc = found->run(&call);
    if (rc == 0)
        *ret = call.result;
    return rc;
}

/* What all of them are as endpoints. */
static int serve_call(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_portal *portal = ctx->dialog->portal;
    struct yoke_value result = yoke_nil();
    struct yk_arena arena;
    int rc;

    yk_arena_init(&arena);
    rc = yk_registry_call(portal->actor, portal, ctx->dialog->endpoint + strlen(YK_RUNTIME_NS),
                          args, &arena, &result);
    if (rc == 0)
        rc = yoke_context_return(ctx, result);
    yk_arena_fini(&arena);
    return rc;
}

static int serve_register(struct yoke_context *ctx, struct yoke_value args)
{
    return serve_call(ctx, args);
}
YOKE_ENDPOINT("self:register_actor", serve_register);

static int serve_unregister(struct yoke_context *ctx, struct yoke_value args)
{
    return serve_call(ctx, args);
}
YOKE_ENDPOINT("self:unregister_actor", serve_unregister);

static int serve_find(struct yoke_context *ctx, struct yoke_value args)
{
    return serve_call(ctx, args);
}
YOKE_ENDPOINT("self:find_actor", serve_find);

static int serve_wait(struct yoke_context *ctx, struct yoke_value args)
{
    return serve_call(ctx, args);
}
YOKE_ENDPOINT("self:wait_for_actor", serve_wait);

static int serve_get(struct yoke_context *ctx, struct yoke_value args)
{
    return serve_call(ctx, args);
}
YOKE_ENDPOINT("self:get_registry", serve_get);

static int serve_delete(struct yoke_context *ctx, struct yoke_value args)
{
    return serve_call(ctx, args);
}
YOKE_ENDPOINT("self:delete_addr", serve_delete);
