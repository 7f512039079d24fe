/* SPDX-License-Identifier: MIT */
/*
 * Handles. A handle is shared by its users and by its runtime, which closes it when the program's
 * own tasks are done. Its mutex is held while something is posted, so that a runtime neither ends
 * nor lets go of its host between the look at `runtime` and the post.
 *
 * What comes in becomes a task: of `main`, so that it is cancelled with the program, or of `system`
 * once the main task has returned. What was accepted before the handle was closed is begun before
 * `system` is ended, so every accepted post is run.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/guest.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "io/handle.h"

struct yoke_handle {
    pthread_mutex_t mutex;        /* guards all that follows */
    struct yoke_runtime *runtime; /* NULL: it has ended */
    size_t users;
    size_t owners;         /* inside the library: its runtime, its worker threads */
    atomic_size_t waiting; /* posts that have not begun */
};

/* Something posted; freed when it begins. */
struct posted {
    struct yk_post post;
    const struct yoke_site *site;
    yoke_task_fn fn;
    const char *name;
    void *arg;
};

/* --- calls ----------------------------------------------------------------------------------- */

void yk_call_init(struct yk_call *call, const struct yoke_site *site, yoke_task_fn fn,
                  const char *name, void *arg)
{
    memset(call, 0, sizeof *call);
    call->site = site;
    call->fn = fn;
    call->name = name;
    call->arg = arg;
    pthread_mutex_init(&call->mutex, NULL);
    pthread_cond_init(&call->condition, NULL);
}

static void call_fini(struct yk_call *call)
{
    pthread_cond_destroy(&call->condition);
    pthread_mutex_destroy(&call->mutex);
}

int yk_call_wait(struct yk_call *call)
{
    int rc;

    pthread_mutex_lock(&call->mutex);
    while (!call->finished)
        pthread_cond_wait(&call->condition, &call->mutex);
    pthread_mutex_unlock(&call->mutex);
    rc = call->rc;
    if (call->error != NULL)
        rc = yk_flight_raise(yk_locus(), call->error);
    call_fini(call);
    return rc;
}

void yk_call_finish(struct yk_call *call, int rc, struct yoke_error *error)
{
    /* Signalled under the mutex: the call is gone as soon as its thread has seen it. */
    pthread_mutex_lock(&call->mutex);
    call->rc = rc;
    call->error = error;
    call->finished = true;
    pthread_cond_signal(&call->condition);
    pthread_mutex_unlock(&call->mutex);
}

void yk_call_run(struct yk_call *call, struct yk_task *task)
{
    struct yoke_hold hold;
    struct yoke_error *error;
    int rc;

    yoke_hold_at(call->site, &hold);
    rc = call->fn(call->arg);
    error = yk_body_failure(task, NULL, rc, call->site);
    (void)yoke_release(&hold);
    yk_call_finish(call, rc, error);
}

static int call_task(void *arg)
{
    yk_call_run(arg, yk_task_self("yoke_handle_call"));
    return 0;
}

/*
 * Where what comes from outside belongs: `main`, unless that only waits for its last tasks, which a
 * flood of new ones would never let end. NULL: the program has not begun.
 */
static struct yoke_nursery *nursery_of(const struct yoke_runtime *runtime)
{
    struct yoke_nursery *main = runtime->main;

    return main != NULL && main->closer == NULL ? main : runtime->system;
}

/*
 * Begins a task for what came, on the runtime's thread. NULL; or the error, if there is no memory.
 * Something posted to a guest before its first step waits for the next turn.
 */
static struct yoke_error *begin(struct yk_post *post, const struct yoke_site *site, yoke_task_fn fn,
                                const char *name, void *arg)
{
    struct yoke_runtime *runtime = yk_runtime_current;
    struct yoke_nursery *nursery = nursery_of(runtime);
    struct yk_locus *locus = yk_locus();
    struct yoke_error *before;
    struct yoke_error *error;
    struct yk_task *task;

    if (nursery == NULL) {
        yk_post(runtime, post);
        return NULL;
    }
    before = yk_flight_take(locus);
    error =
        yk_task_new(nursery, site, fn, name, NULL, arg, &task) < 0 ? yk_flight_take(locus) : NULL;
    if (before != NULL)
        yk_flight_raise(locus, before);
    return error;
}

static void begin_call(struct yk_post *post)
{
    struct yk_call *call = yk_container_of(post, struct yk_call, post);
    struct yoke_error *error = begin(post, call->site, call_task, call->name, call);

    if (error != NULL)
        yk_call_finish(call, -ENOMEM, error);
}

/* --- posts ----------------------------------------------------------------------------------- */

/* Frees it, and its place. */
static void posted_begins(struct posted *posted)
{
    struct yoke_handle *handle = yk_runtime_current->slots[YK_SLOT_HANDLE].data;

    atomic_fetch_sub(&handle->waiting, 1);
    free(posted);
}

static int posted_task(void *arg)
{
    struct posted posted = *(struct posted *)arg;

    posted_begins(arg);
    return posted.fn(posted.arg);
}

/* Without memory for its task there is nobody to tell but the program itself. */
static void begin_posted(struct yk_post *post)
{
    struct posted *posted = yk_container_of(post, struct posted, post);
    struct yoke_error *error = begin(post, posted->site, posted_task, posted->name, posted);
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_TASK,
        .kind = YOKE_CAUSE_SCOPE,
        .site = posted->site,
        .reason = "what was posted to the program could not begin",
        .error = error,
    };

    if (error == NULL)
        return;
    yk_scope_cancel_with(&nursery_of(yk_runtime_current)->scope, &spec);
    yk_error_settle(error); /* the cause carries it from here on */
    yoke_error_unref(error);
    posted_begins(posted);
}

/* --- handles --------------------------------------------------------------------------------- */

/* The mutex is held, and released here; frees the handle if nobody has it any more. */
static void unlock(struct yoke_handle *handle)
{
    bool gone = handle->users == 0 && handle->owners == 0;

    pthread_mutex_unlock(&handle->mutex);
    if (!gone)
        return;
    pthread_mutex_destroy(&handle->mutex);
    free(handle);
}

struct yoke_handle *yk_handle_hold(struct yoke_handle *handle)
{
    pthread_mutex_lock(&handle->mutex);
    handle->owners++;
    pthread_mutex_unlock(&handle->mutex);
    return handle;
}

void yk_handle_drop(struct yoke_handle *handle)
{
    pthread_mutex_lock(&handle->mutex);
    handle->owners--;
    unlock(handle);
}

/* The program's tasks are done: nothing more is accepted, and what was accepted begins. */
static void handle_stop(void *data)
{
    struct yoke_handle *handle = data;
    struct yoke_runtime *runtime;

    pthread_mutex_lock(&handle->mutex);
    runtime = handle->runtime;
    handle->runtime = NULL;
    pthread_mutex_unlock(&handle->mutex);
    if (runtime != NULL)
        yk_run_posts(runtime);
}

static void handle_fini(void *data)
{
    struct yoke_handle *handle = data;

    pthread_mutex_lock(&handle->mutex);
    handle->runtime = NULL;
    pthread_mutex_unlock(&handle->mutex);
    yk_handle_drop(handle);
}

struct yoke_handle *yk_handle_of(struct yoke_runtime *runtime)
{
    struct yoke_handle *handle = runtime->slots[YK_SLOT_HANDLE].data;

    if (handle != NULL)
        return handle;
    handle = yk_calloc(1, sizeof *handle);
    if (handle == NULL)
        return NULL;
    pthread_mutex_init(&handle->mutex, NULL);
    handle->runtime = runtime->ending ? NULL : runtime;
    handle->owners = 1;
    runtime->slots[YK_SLOT_HANDLE].data = handle;
    runtime->slots[YK_SLOT_HANDLE].stop = handle_stop;
    runtime->slots[YK_SLOT_HANDLE].fini = handle_fini;
    return handle;
}

/* The mutex is held. Blocked tasks are no deadlock as long as there are callers. */
static void set_users(struct yoke_handle *handle, size_t users)
{
    struct yoke_runtime *runtime = handle->runtime;

    handle->users = users;
    if (runtime == NULL)
        return;
    atomic_store(&runtime->callers, users);
    if (users == 0)
        runtime->host->ops->wake(runtime->host); /* to look again */
}

struct yoke_handle *yoke_handle_ref(struct yoke_handle *handle)
{
    pthread_mutex_lock(&handle->mutex);
    set_users(handle, handle->users + 1);
    pthread_mutex_unlock(&handle->mutex);
    return handle;
}

struct yoke_handle *yoke_handle_unref(struct yoke_handle *handle)
{
    if (handle == NULL)
        return NULL;
    pthread_mutex_lock(&handle->mutex);
    yk_assert(handle->users > 0);
    set_users(handle, handle->users - 1);
    unlock(handle);
    return NULL;
}

static struct yoke_handle *handle_on(struct yoke_runtime *runtime)
{
    struct yoke_handle *handle = yk_handle_of(runtime);

    if (handle != NULL)
        return yoke_handle_ref(handle);
    yoke_raise("yoke.Handle", ENOMEM, "no memory for a handle");
    return NULL;
}

struct yoke_handle *yoke_runtime_handle(void)
{
    struct yk_task *task = yk_task_self_or_null();
    struct yoke_handle *handle;

    if (task != NULL)
        return handle_on(task->runtime);
    handle = yk_thread_handle();
    if (handle == NULL)
        yoke_raise("yoke.Handle", EINVAL,
                   "a handle is made in a task, or in a worker thread of a runtime");
    return handle;
}

struct yoke_handle *yoke_guest_handle(struct yoke_guest *guest)
{
    return handle_on(yk_guest_runtime(guest));
}

/* Posts it unless the runtime has ended. 0 or YOKE_ECLOSED. */
static int hand_in(struct yoke_handle *handle, struct yk_post *post)
{
    int rc = YOKE_ECLOSED;

    pthread_mutex_lock(&handle->mutex);
    if (handle->runtime != NULL) {
        yk_post(handle->runtime, post);
        rc = 0;
    }
    pthread_mutex_unlock(&handle->mutex);
    return rc;
}

static int raise_closed(const struct yoke_site *site, const char *name)
{
    return yoke_raise_at(site, NULL, "yoke.Handle", YOKE_ECLOSED,
                         "%s was not run: its runtime has ended", name);
}

/* -EDEADLK if the calling thread must not block, which an outer loop between steps must not too. */
static int check_may_block(const struct yoke_site *site, struct yoke_handle *handle,
                           const char *name)
{
    bool own = yk_runtime_current != NULL;

    if (handle != NULL && !own) {
        pthread_mutex_lock(&handle->mutex);
        own = handle->runtime != NULL && handle->runtime->thread == yk_thread_mark();
        pthread_mutex_unlock(&handle->mutex);
    }
    if (!own)
        return 0;
    return yoke_raise_at(site, NULL, "yoke.Handle", EDEADLK,
                         "calling %s would block the thread of a runtime: post it, or call it from "
                         "another thread",
                         name);
}

int yoke_handle_call_at(const struct yoke_site *site, struct yoke_handle *handle, yoke_task_fn fn,
                        const char *fn_name, void *arg)
{
    struct yk_call call;
    int rc = check_may_block(site, handle, fn_name);

    if (rc < 0)
        return rc;
    yk_call_init(&call, site, fn, fn_name, arg);
    if (handle == NULL) {
        rc = yk_thread_call(&call);
        if (rc < 0)
            rc = yoke_raise_at(site, NULL, "yoke.Handle", rc,
                               "a call without a handle is for worker threads of a runtime");
    } else {
        call.post.run = begin_call;
        rc = hand_in(handle, &call.post);
        if (rc < 0)
            rc = raise_closed(site, fn_name);
    }
    if (rc == 0)
        return yk_call_wait(&call);
    call_fini(&call);
    return rc;
}

int yoke_handle_post_at(const struct yoke_site *site, struct yoke_handle *handle, yoke_task_fn fn,
                        const char *fn_name, void *arg)
{
    struct posted *posted;
    int rc;

    posted = yk_malloc(sizeof *posted);
    if (posted == NULL)
        return yoke_raise_at(site, NULL, "yoke.Handle", ENOMEM, "no memory to post %s", fn_name);
    *posted = (struct posted){
        .post.run = begin_posted, .site = site, .fn = fn, .name = fn_name, .arg = arg};
    rc = atomic_fetch_add(&handle->waiting, 1) >= YK_POSTS_MAX ? -EAGAIN : 0;
    if (rc == 0)
        rc = hand_in(handle, &posted->post);
    if (rc == 0)
        return 0;
    atomic_fetch_sub(&handle->waiting, 1);
    free(posted);
    if (rc == -EAGAIN)
        return yoke_raise_at(site, NULL, "yoke.Handle", rc,
                             "%s was not posted: %u that were have not begun yet", fn_name,
                             YK_POSTS_MAX);
    return raise_closed(site, fn_name);
}
