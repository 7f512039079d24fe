/* SPDX-License-Identifier: MIT */
/* Actor nurseries: a nursery of supervising tasks, and the children they supervise. */
#include <errno.h>
#include <string.h>

#include "actor/child.h"
#include "base/check.h"

int yoke_actor_nursery_open_at(const struct yoke_site *site, struct yoke_actor_nursery *nursery,
                               const struct yoke_actor_nursery_opts *opts)
{
    struct yoke_nursery_opts task_opts = {.name = opts != NULL ? opts->name : NULL};

    nursery->closing = false;
    yk_list_init(&nursery->children);
    return yoke_nursery_open_at(site, &nursery->tasks, &task_opts);
}

struct yoke_scope *yoke_actor_nursery_scope(struct yoke_actor_nursery *nursery)
{
    return &nursery->tasks.scope;
}

int yoke_actor_nursery_close_at(const struct yoke_site *site, struct yoke_actor_nursery *nursery,
                                int rc)
{
    struct yk_task *task = yk_task_self("yoke_actor_nursery_close");
    struct yoke_scope *scope = &nursery->tasks.scope;
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_ACTOR,
        .kind = YOKE_CAUSE_ACTOR_NURSERY,
        .site = site,
        .reason = "its actor nursery was closed",
    };
    struct yk_list *node;

    yk_scope_check_innermost(scope, task, site);
    if (rc >= 0 && yk_flight_now(&task->locus) == scope->flight_at_open && !scope->effective) {
        nursery->closing = true;
        yk_scope_cancel_with(scope, &spec);
    }
    rc = yoke_nursery_close_at(site, &nursery->tasks, rc);
    while ((node = yk_list_pop(&nursery->children)) != NULL)
        yk_child_free(yk_container_of(node, struct yk_actor_child, in_nursery));
    return rc;
}

int yoke_actor_start_at(const struct yoke_site *site, struct yoke_actor_nursery *nursery,
                        const char *name, const struct yoke_actor_opts *opts,
                        struct yoke_portal **ret_portal)
{
    struct yoke_task_opts task_opts = {.name = name};
    struct yk_actor_child *child;
    void *portal;
    int rc;

    yk_task_self("yoke_actor_start");
    child = yk_child_new(nursery, name, opts);
    if (child == NULL)
        return yoke_error_code(yoke_in_flight());
    yk_list_append(&nursery->children, &child->in_nursery);
    rc = yoke_start_at(site, &nursery->tasks, yk_child_supervise, name, child, &task_opts, &portal);
    if (rc < 0) {
        yk_list_remove(&child->in_nursery);
        yk_child_free(child);
        return rc;
    }
    if (ret_portal != NULL)
        *ret_portal = portal;
    return 0;
}

int yoke_portal_wait(struct yoke_portal *portal, int *ret_status, struct rusage *ret_usage)
{
    int rc;

    yk_task_self("yoke_portal_wait");
    if (portal->child == NULL)
        return yoke_raise("yoke.Misuse", ECHILD, "actor %s is not a child of this one",
                          portal->id.name);
    rc = yoke_event_wait(&portal->child->reaped);
    if (rc < 0)
        return rc;
    if (ret_status != NULL)
        *ret_status = portal->child->exit.status;
    if (ret_usage != NULL)
        *ret_usage = portal->child->exit.usage;
    return 0;
}
