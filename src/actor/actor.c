/* SPDX-License-Identifier: MIT */
/* The actor of a runtime: identity, what it exposes, its parent. Made on first use. */
#include "actor/plain.h"
#include "actor/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

static void actor_free(void *data)
{
    struct yk_actor *actor = data;

    if (actor->parent != NULL) {
        yk_link_fini(&actor->parent->link);
        yk_portal_unref(actor->parent);
    }
    yk_plain_drop_requests(actor);
    yoke_value_free(actor->plain_vars);
    yk_registry_free(actor->registry);
    yk_registrar_free(actor);
    free(actor->expose);
    free(actor);
}

/* The program's own tasks are done, those of links not yet. */
static void actor_stop(void *data)
{
    yk_registrar_stop(data);
}

struct yk_actor *yk_actor_of(struct yoke_runtime *runtime)
{
    struct yk_actor *actor = runtime->slots[YK_SLOT_ACTOR].data;

    if (actor != NULL)
        return actor;
    actor = yk_calloc(1, sizeof *actor);
    if (actor == NULL) {
        yoke_raise("yoke.Actor", ENOMEM, "no memory for an actor");
        return NULL;
    }
    actor->runtime = runtime;
    yk_list_init(&actor->plain_requests);
    yk_list_init(&actor->listenings);
    yk_list_init(&actor->dialled);
    yk_list_init(&actor->links);
    yk_list_init(&actor->beat_wait);
    yk_list_init(&actor->resources);
    yk_list_init(&actor->openers);
    runtime->deadlines_moved = yk_budget_moved;
    runtime->slots[YK_SLOT_ACTOR].data = actor;
    runtime->slots[YK_SLOT_ACTOR].stop = actor_stop;
    runtime->slots[YK_SLOT_ACTOR].fini = actor_free;
    return actor;
}

/* In the form of a random UUID, as peers expect it; unique in the tree since ids are. */
void yk_cid_new(char *cid)
{
    yoke_id id = yk_id_next();

    snprintf(cid, YK_CID_SIZE, "%08x-%04x-4%03x-8%03x-%012llx", (unsigned)(id.actor >> 32),
             (unsigned)(id.actor >> 16 & 0xffff), (unsigned)(id.actor >> 4 & 0xfff),
             (unsigned)(id.serial >> 48 & 0xfff),
             (unsigned long long)(id.serial & UINT64_C(0xffffffffffff)));
}

int yoke_actor_expose(const char *patterns)
{
    struct yk_actor *actor = yk_actor_of(yk_task_self("yoke_actor_expose")->runtime);
    char *copy = NULL;

    if (actor == NULL)
        return -ENOMEM;
    if (patterns != NULL) {
        copy = yk_strdup(patterns);
        if (copy == NULL)
            return yoke_raise("yoke.Actor", ENOMEM, "no memory");
    }
    free(actor->expose);
    actor->expose = copy;
    return 0;
}

struct yoke_portal *yoke_parent(void)
{
    struct yk_actor *actor = yk_task_self("yoke_parent")->runtime->slots[YK_SLOT_ACTOR].data;

    return actor == NULL ? NULL : actor->parent;
}

const struct yoke_actor_id *yoke_actor_self(void)
{
    return &yk_task_self("yoke_actor_self")->runtime->actor;
}

const struct yoke_actor_id *yoke_portal_actor(const struct yoke_portal *portal)
{
    return &portal->id;
}

void yoke_actor_cancel_self_at(const struct yoke_site *site, const char *reason)
{
    struct yoke_runtime *runtime = yk_task_self("yoke_actor_cancel_self")->runtime;
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_ACTOR,
        .kind = YOKE_CAUSE_ACTOR_SELF,
        .site = site,
        .reason = reason,
        .because = yoke_why(),
    };

    if (runtime->main != NULL)
        yk_scope_cancel_with(&runtime->main->scope, &spec);
}
