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
    int rc = yoke_nursery_open_at(site, &nursery->tasks, &task_opts);

    nursery->supervisor = NULL;
    if (rc < 0)
        return rc;
    nursery->supervisor = yk_supervisor_new(&nursery->tasks, opts);
    if (nursery->supervisor == NULL)
        return yoke_error_code(yoke_in_flight());
    if (opts != NULL && opts->ordered_shutdown)
        rc = yoke_spawn(&nursery->tasks, yk_supervisor_shutdown, nursery->supervisor);
    return rc;
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

    yk_scope_check_innermost(scope, task, site);
    if (rc >= 0 && yk_flight_now(&task->locus) == scope->flight_at_open && !scope->effective) {
        nursery->supervisor->closing = true;
        yk_scope_cancel_with(scope, &spec);
    }
    rc = yoke_nursery_close_at(site, &nursery->tasks, rc);
    yk_supervisor_free(nursery->supervisor);
    nursery->supervisor = NULL;
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
    child = yk_child_new(nursery->supervisor, name, opts);
    if (child == NULL)
        return yoke_error_code(yoke_in_flight());
    yk_list_append(&nursery->supervisor->children, &child->in_nursery);
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

unsigned yoke_portal_restarts(const struct yoke_portal *portal)
{
    return portal->child != NULL ? portal->child->restarts : 0;
}

const struct yoke_error *yoke_portal_last_error(const struct yoke_portal *portal)
{
    return portal->child != NULL ? portal->child->last_error : NULL;
}

int yoke_portal_wait(struct yoke_portal *portal, int *ret_status, struct rusage *ret_usage)
{
    int rc;

    yk_task_self("yoke_portal_wait");
    if (portal->child == NULL)
        return yoke_raise("yoke.Misuse", ECHILD, "actor %s is not a child of this one",
                          portal->id.name);
    rc = yoke_event_wait(&portal->child->done);
    if (rc < 0)
        return rc;
    if (ret_status != NULL)
        *ret_status = portal->child->exit.status;
    if (ret_usage != NULL)
        *ret_usage = portal->child->exit.usage;
    return 0;
}
