/* SPDX-License-Identifier: MIT */
/* Finding actors by name, and connecting to who is found. */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "actor/registry.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"

static int begin(const char *call, const char *name, struct yk_actor **ret)
{
    struct yk_task *task = yk_task_self(call);
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    *ret = yk_actor_of(task->runtime);
    if (*ret == NULL)
        return -ENOMEM;
    if (name == NULL || name[0] == '\0' || strlen(name) >= YK_NAME_SIZE)
        return yoke_raise("yoke.Registry", EINVAL, "\"%s\" is no name to look for",
                          name != NULL ? name : "(null)");
    return 0;
}

static struct yoke_value by_name(const struct yoke_pair *pair)
{
    return yoke_map(pair, 1);
}

/* --- answers ---------------------------------------------------------------------------------- */

struct answer {
    struct yoke_registration *items;
    size_t n;
};

/* Adds the addresses of one actor, those of them that this actor could connect to. */
static int take_addresses(struct answer *answer, const char *name, const char *uuid,
                          struct yoke_value pairs)
{
    size_t more = pairs.type == YOKE_ARRAY_VALUE ? pairs.as.array.n : 0;
    struct yoke_registration *items;

    if (more == 0)
        return 0;
    items = yk_realloc(answer->items, (answer->n + more) * sizeof *items);
    if (items == NULL)
        return yoke_raise("yoke.Registry", ENOMEM, "no memory for what was found");
    answer->items = items;
    for (size_t i = 0; i < more; i++) {
        struct yoke_registration *item = &items[answer->n];
        struct yk_place place;

        if (yk_place_from_wire(pairs.as.array.items[i], &place) < 0) {
            yoke_clear(); /* of another host, or a transport unknown here */
            continue;
        }
        yk_text_copy(item->name, sizeof item->name, name);
        yk_text_copy(item->uuid, sizeof item->uuid, uuid);
        yk_place_format(&place, item->address);
        answer->n++;
    }
    return 0;
}

/* Hands it out. Returns the count. */
static int give(struct answer *answer, int rc, struct yoke_registration **ret)
{
    if (rc < 0 || answer->n == 0) {
        free(answer->items);
        answer->items = NULL;
    }
    if (rc < 0)
        return rc;
    *ret = answer->items;
    return (int)answer->n;
}

static int look_up(struct yk_actor *actor, const char *method, const char *name,
                   struct yoke_registration **ret)
{
    struct yoke_pair args = {.key = "name", .value = yoke_str(name)};
    struct answer answer = {.n = 0};
    struct yoke_value *value = NULL;
    int rc = yk_registrar_call(actor, method, by_name(&args), &value);

    if (rc == 0)
        rc = take_addresses(&answer, name, "", *value);
    yoke_value_free(value);
    return give(&answer, rc, ret);
}

int yoke_registry_find(const char *name, struct yoke_registration **ret_registrations)
{
    struct yk_actor *actor;
    int rc = begin("yoke_registry_find", name, &actor);

    return rc < 0 ? rc : look_up(actor, "find_actor", name, ret_registrations);
}

int yoke_registry_wait(const char *name, struct yoke_registration **ret_registrations)
{
    struct yk_actor *actor;
    int rc = begin("yoke_registry_wait", name, &actor);

    return rc < 0 ? rc : look_up(actor, "wait_for_actor", name, ret_registrations);
}

/* "name.uuid"; a name may have dots. */
static void split_key(const char *key, char *name, char *uuid)
{
    const char *dot = strrchr(key, '.');
    size_t n = dot == NULL ? strlen(key) : (size_t)(dot - key);

    yk_text_copy(name, n < YK_NAME_SIZE ? n + 1 : YK_NAME_SIZE, key);
    yk_text_copy(uuid, YK_UUID_SIZE, dot == NULL ? "" : dot + 1);
}

int yoke_registry_query(const char *pattern, struct yoke_registration **ret_registrations)
{
    struct yoke_value *value = NULL;
    struct answer answer = {.n = 0};
    struct yk_actor *actor;
    int rc = begin("yoke_registry_query", "any", &actor);

    if (rc == 0)
        rc = yk_registrar_call(actor, "get_registry", yoke_nil(), &value);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && value->type == YOKE_MAP_VALUE && i < value->as.map.n; i++) {
        const struct yoke_pair *pair = &value->as.map.pairs[i];
        char name[YK_NAME_SIZE], uuid[YK_UUID_SIZE];

        split_key(pair->key, name, uuid);
        if (pattern == NULL || fnmatch(pattern, name, 0) == 0)
            rc = take_addresses(&answer, name, uuid, pair->value);
    }
    yoke_value_free(value);
    return give(&answer, rc, ret_registrations);
}

/* --- connecting ------------------------------------------------------------------------------- */

static bool is_unix(const struct yoke_registration *item)
{
    return strncmp(item->address, "unix:", 5) == 0;
}

/* Nobody is there any more, rather than somebody who can't be talked to. */
static bool is_gone(int rc)
{
    return rc == -ECONNREFUSED || rc == -ENOENT || rc == YOKE_ELINK;
}

/* Tells the registrar. That this fails is no reason not to go on. */
static int report_gone(struct yk_actor *actor, const char *address)
{
    struct yk_arena arena;
    struct yk_place place;
    struct yoke_value addr;
    int rc;

    yk_arena_init(&arena);
    rc = yk_place_parse(address, &place);
    if (rc == 0)
        rc = yk_place_to_wire(&arena, &place, &addr);
    if (rc == 0)
        rc = yk_registrar_call(actor, "delete_addr", YOKE_MAP({"addr", addr}), NULL);
    yk_arena_fini(&arena);
    if (rc < 0 && rc != YOKE_CANCELLED) {
        yoke_clear();
        rc = 0;
    }
    return rc;
}

/* One address. 1; 0: nobody is there; YOKE_CANCELLED; another failure is kept in *error. */
static int try_one(struct yk_actor *actor, const char *address, const struct yoke_portal_opts *opts,
                   struct yoke_error **error, struct yoke_portal **ret_portal)
{
    int rc = yoke_portal_open(address, opts, ret_portal);

    if (rc == 0)
        return 1;
    if (rc == YOKE_CANCELLED)
        return rc;
    if (is_gone(rc)) {
        yoke_clear();
        return report_gone(actor, address);
    }
    yoke_error_unref(*error);
    *error = yoke_catch();
    return 0;
}

/* The best of them that can be talked to: Unix ones first, of each kind the latest first. */
static int open_one(struct yk_actor *actor, const struct yoke_registration *items, size_t n,
                    const struct yoke_portal_opts *opts, struct yoke_portal **ret_portal)
{
    struct yoke_error *error = NULL;
    int rc = 0;

    for (int want_unix = 1; want_unix >= 0; want_unix--)
        for (size_t i = n; rc == 0 && i-- > 0;)
            if (is_unix(&items[i]) == (want_unix == 1))
                rc = try_one(actor, items[i].address, opts, &error, ret_portal);
    if (rc == 0 && error != NULL)
        return yoke_rethrow(error);
    yoke_error_unref(error);
    return rc;
}

int yoke_portal_find(const char *name, const struct yoke_portal_opts *opts,
                     struct yoke_portal **ret_portal)
{
    struct yoke_registration *items = NULL;
    int n = yoke_registry_find(name, &items);
    int rc;

    if (n <= 0)
        return n;
    rc = open_one(yk_actor_of(yk_runtime_current), items, (size_t)n, opts, ret_portal);
    free(items);
    return rc;
}

/* Whether the registrar itself could not be reached, or was lost: it may come back. */
static bool may_come_back(int rc)
{
    return is_gone(rc) || rc == YOKE_EUNRESPONSIVE || rc == -ECONNRESET || rc == -EPIPE;
}

int yoke_portal_await(const char *name, const struct yoke_portal_opts *opts,
                      struct yoke_portal **ret_portal)
{
    int64_t pause = YK_REGISTRAR_RETRY_NS;
    int rc = 0;

    for (;;) {
        struct yoke_registration *items = NULL;
        int n = yoke_registry_wait(name, &items);

        if (n < 0 && !may_come_back(n))
            return n;
        if (n < 0)
            yoke_clear();
        else
            rc = open_one(yk_actor_of(yk_runtime_current), items, (size_t)n, opts, ret_portal);
        free(items);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = yoke_sleep(pause); /* those that were registered are gone, or the registrar is */
        if (rc < 0)
            return rc;
        pause = pause * 2 > YK_REGISTRAR_RETRY_MAX_NS ? YK_REGISTRAR_RETRY_MAX_NS : pause * 2;
    }
}
