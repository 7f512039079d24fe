/* SPDX-License-Identifier: MIT */
/*
 * Shared resources. Each is served by a task of the actor's main nursery, so that what it opens
 * lives in a frame that outlasts any user, and belongs to no user's cancellation. It goes through
 * opening, open, closing, ended in this order, and leaves the table when it begins to close for
 * good: at its end. Who asks while it closes waits for that, and begins anew.
 *
 * A use is counted from the moment somebody waits for it. The last one gone during the opening
 * cancels it; the last one gone after it lets it close, and waits for that.
 */
#include <yoke/resource.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "base/check.h"
#include "base/memory.h"

enum state { OPENING, OPEN, CLOSING, ENDED };

struct yk_resource {
    struct yk_list in_actor;
    size_t refs; /* its task, its uses, and who waits */
    size_t uses; /* and those who wait for it to open */
    enum state state;
    yoke_task_fn fn;
    char *key;
    void *arg;
    void *object;
    struct yk_task *task;
    struct yoke_scope *scope; /* while fn runs */
    struct yoke_error *error; /* what fn failed with; owned */
    bool told;                /* somebody has got it */
    bool unwanted;            /* its opening was cancelled since nobody waited any more */
    struct yk_list waiters;
};

static void resource_unref(struct yk_resource *resource)
{
    if (--resource->refs > 0)
        return;
    yk_assert(yk_list_empty(&resource->waiters));
    if (resource->error != NULL && resource->told)
        yoke_error_unref(resource->error);
    else if (resource->error != NULL && resource->error->cancelled)
        yk_error_absorb(resource->error);
    else if (resource->error != NULL)
        yk_error_report(resource->error, stderr); /* all whom it concerned are gone */
    yk_list_remove(&resource->in_actor);
    free(resource->key);
    free(resource);
}

static void changed(struct yk_resource *resource, enum state state)
{
    resource->state = state;
    while (yk_wake_first(&resource->waiters, 0))
        continue;
}

static void cancel_opening(struct yk_resource *resource)
{
    resource->unwanted = true;
    yoke_scope_cancel(resource->scope, "nobody waits for it any more");
}

/* The task that serves it. Never fails: what fn failed with is for those who use it. */
static int serve(void *arg)
{
    struct yk_resource *resource = arg;
    struct yk_task *task = yk_task_self("a resource");
    static const struct yoke_site site = {"resource", "serve", 0};
    struct yoke_scope scope;
    struct yoke_error *failure;
    int rc;

    yk_scope_enter(&scope, task, resource->key, &site, false);
    resource->task = task;
    resource->scope = &scope;
    if (resource->uses == 0)
        cancel_opening(resource);
    rc = resource->fn(resource->arg);
    yk_scope_check_innermost(&scope, task, &site);
    failure = yk_body_failure(task, NULL, rc, &site);
    resource->scope = NULL;
    yk_scope_leave(&scope);
    if (failure == NULL && resource->state == OPENING)
        failure = yk_error_make(&site, "yoke.NotLent", -ECHILD,
                                "resource \"%s\" ended without being lent", resource->key);
    resource->error = failure;
    yk_list_remove(&resource->in_actor);
    changed(resource, ENDED);
    resource_unref(resource);
    return 0;
}

static struct yk_resource *find(struct yk_actor *actor, yoke_task_fn fn, const char *key)
{
    yk_list_for_each (node, &actor->resources) {
        struct yk_resource *resource = yk_container_of(node, struct yk_resource, in_actor);

        if (resource->fn == fn && strcmp(resource->key, key) == 0)
            return resource;
    }
    return NULL;
}

/* One that is being opened; NULL with an error raised. */
static struct yk_resource *begin(struct yk_actor *actor, const struct yoke_site *site,
                                 yoke_task_fn fn, const char *fn_name, const char *key, void *arg)
{
    struct yoke_nursery *program = actor->runtime->main;
    struct yk_resource *resource;
    struct yk_task *task;

    if (program == NULL) {
        yoke_raise_at(site, NULL, "yoke.Closed", YOKE_ECLOSED, "the actor is ending");
        return NULL;
    }
    resource = yk_calloc(1, sizeof *resource);
    if (resource != NULL)
        resource->key = yk_strdup(key);
    if (resource == NULL || resource->key == NULL) {
        free(resource);
        yoke_raise_at(site, NULL, "yoke.Resource", ENOMEM, "no memory for resource \"%s\"", key);
        return NULL;
    }
    resource->refs = 1;
    resource->fn = fn;
    resource->arg = arg;
    yk_list_init(&resource->waiters);
    yk_list_init(&resource->in_actor);
    if (yk_task_new(program, site, serve, fn_name, NULL, resource, &task) < 0) {
        resource_unref(resource);
        return NULL;
    }
    yk_list_append(&actor->resources, &resource->in_actor);
    return resource;
}

static int wait_while(struct yk_resource *resource, enum state state)
{
    int rc = 0;

    while (rc == 0 && resource->state == state)
        rc = yk_wait_in(&resource->waiters, "a resource", NULL);
    return rc;
}

/* It did not open. What that is for one who waited for it: 1: try another one. */
static int tell_end(struct yk_resource *resource, struct yk_task *task)
{
    if (resource->unwanted)
        return 1;
    if (resource->error == NULL || resource->error->cancelled)
        return yoke_raise("yoke.Closed", YOKE_ECLOSED, "resource \"%s\" ended with its actor",
                          resource->key);
    resource->told = true;
    return yk_flight_raise(&task->locus, yoke_error_ref(resource->error));
}

/* Waits until it is open. 0; or it is not used: a failure, or 1: try another one. */
static int use(struct yk_resource *resource, struct yk_task *task)
{
    int rc;

    resource->refs++;
    resource->uses++;
    rc = wait_while(resource, OPENING);
    if (rc == 0 && resource->state == OPEN)
        return 0;
    resource->uses--;
    if (rc == 0)
        rc = tell_end(resource, task);
    else if (resource->uses == 0 && resource->state == OPENING && resource->scope != NULL)
        cancel_opening(resource);
    else if (resource->uses == 0 && resource->state == OPEN)
        changed(resource, CLOSING); /* it was opened for this one, which is cancelled */
    resource_unref(resource);
    return rc;
}

/* The one in the table, when it is not just being closed. 0 and it, or NULL; YOKE_CANCELLED. */
static int find_usable(struct yk_actor *actor, yoke_task_fn fn, const char *key,
                       struct yk_resource **ret_found)
{
    struct yk_resource *found;
    int rc = 0;

    while (rc == 0 && (found = find(actor, fn, key)) != NULL &&
           (found->state == CLOSING || found->unwanted)) {
        found->refs++;
        rc = wait_while(found, found->state);
        resource_unref(found);
    }
    if (rc == 0)
        *ret_found = found;
    return rc;
}

int yoke_resource_acquire_at(const struct yoke_site *site, struct yoke_resource *resource,
                             yoke_task_fn fn, const char *fn_name, const char *key, void *arg,
                             void **ret_object)
{
    struct yk_task *task = yk_task_self("yoke_resource_acquire");
    struct yk_actor *actor = yk_actor_of(task->runtime);
    struct yk_resource *found = NULL;
    int rc = actor == NULL ? -ENOMEM : yk_check_cancelled(task);

    resource->shared = NULL;
    do {
        if (rc >= 0)
            rc = find_usable(actor, fn, key, &found);
        if (rc == 0 && found == NULL)
            found = begin(actor, site, fn, fn_name, key, arg);
        if (rc == 0)
            rc = found == NULL ? yoke_error_code(yoke_in_flight()) : use(found, task);
    } while (rc > 0);
    if (rc < 0)
        return rc;
    resource->shared = found;
    *ret_object = found->object;
    yk_completed_at_once(task);
    return 0;
}

/* The end of its last use: what closing it came to. */
static int close_it(struct yk_resource *resource)
{
    struct yoke_scope shield;
    int rc = yoke_scope_open(&shield, &(struct yoke_scope_opts){.shield = true});

    changed(resource, CLOSING);
    if (rc == 0)
        rc = wait_while(resource, CLOSING);
    rc = yoke_scope_close(&shield, rc);
    if (rc == 0 && resource->error != NULL && !resource->error->cancelled) {
        rc = yk_flight_raise(yk_locus(), resource->error);
        resource->error = NULL;
    }
    return rc;
}

int yoke_resource_release(struct yoke_resource *resource, int rc)
{
    struct yk_resource *shared = resource->shared;
    struct yoke_hold hold;
    int close_rc;

    yk_task_self("yoke_resource_release");
    if (shared == NULL)
        yk_misuse(NULL, NULL, NULL, "release of a resource that was not acquired");
    resource->shared = NULL;
    if (--shared->uses > 0) {
        resource_unref(shared);
        return rc;
    }
    if (yoke_in_flight() == NULL) {
        close_rc = close_it(shared);
        rc = close_rc < 0 ? close_rc : rc;
    } else {
        yoke_hold(&hold);
        (void)close_it(shared);
        (void)yoke_release(&hold);
    }
    resource_unref(shared);
    return rc;
}

/* The resource that the calling task serves; NULL: none. */
static struct yk_resource *served_by(struct yk_task *task)
{
    struct yk_actor *actor = yk_actor_of(task->runtime);

    if (actor == NULL)
        return NULL;
    yk_list_for_each (node, &actor->resources) {
        struct yk_resource *resource = yk_container_of(node, struct yk_resource, in_actor);

        if (resource->task == task)
            return resource;
    }
    return NULL;
}

int yoke_resource_lend(void *object)
{
    struct yk_task *task = yk_task_self("yoke_resource_lend");
    struct yk_resource *resource = served_by(task);
    struct yoke_scope shield;
    int rc;

    if (resource == NULL || resource->state != OPENING)
        return yoke_raise("yoke.Misuse", EINVAL,
                          "yoke_resource_lend is for the function of a resource, once");
    if (resource->uses == 0) {
        resource->state = CLOSING; /* whoever asked has been cancelled meanwhile */
        return 0;
    }
    resource->object = object;
    changed(resource, OPEN);
    rc = yoke_scope_open(&shield, &(struct yoke_scope_opts){.name = "lent", .shield = true});
    if (rc == 0)
        rc = wait_while(resource, OPEN);
    return yoke_scope_close(&shield, rc);
}
