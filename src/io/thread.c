/* SPDX-License-Identifier: MIT */
/*
 * Worker threads for calls that block. Threads are started as needed up to YK_THREADS_MAX and kept
 * until the runtime ends; jobs beyond that wait in a queue, and may be cancelled there as if they
 * had never been asked for. A job is touched by the runtime's thread before it is queued and after
 * its post ran, by the worker in between; where it stands is told under the pool's mutex.
 *
 * The end of the runtime joins the threads, except those in an abandoned call: nobody waits for
 * such a call, and one that never returns must not hold up the end of the program. Its thread
 * keeps the pool alive, drops the result itself and goes away.
 *
 * Workers have all signals blocked: signals are for the runtime's thread.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/io.h>

#include "base/check.h"
#include "base/memory.h"
#include "task/task.h"

struct job {
    struct yk_post post;
    struct yk_list node; /* in the queue; in no list once it was begun */
    bool done;           /* posted: its caller gets it even if cancelled now */
    struct pool *pool;
    struct yk_task *task; /* NULL: abandoned */
    int (*fn)(void *arg);
    void *arg;
    bool abandon;
    void (*abandoned)(void *arg);
    int rc;
    struct yoke_error *error;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    bool busy;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct yk_list queue;
    bool ending;
    size_t queued;
    size_t idle;
    size_t users;                 /* the runtime, and threads that it left behind */
    struct yoke_runtime *runtime; /* gone when ending */
    size_t workers_n; /* of the runtime's thread alone, as is all of a worker but `busy` */
    struct worker workers[YK_THREADS_MAX];
};

static void pool_unref(struct pool *pool)
{
    bool last;

    pthread_mutex_lock(&pool->mutex);
    last = --pool->users == 0;
    pthread_mutex_unlock(&pool->mutex);
    if (!last)
        return;
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

/* An abandoned call has returned: nobody is there to get what it gave. */
static void drop(struct job *job)
{
    if (job->error != NULL)
        yk_error_report(job->error, stderr);
    if (job->abandoned != NULL)
        job->abandoned(job->arg);
    free(job);
}

/* The next job, or NULL when the runtime ends. */
static struct job *next_job(struct worker *worker)
{
    struct pool *pool = worker->pool;
    struct yk_list *node = NULL;

    pthread_mutex_lock(&pool->mutex);
    pool->idle++;
    while ((node = yk_list_pop(&pool->queue)) == NULL && !pool->ending)
        pthread_cond_wait(&pool->work, &pool->mutex);
    pool->idle--;
    if (node != NULL)
        pool->queued--;
    worker->busy = node != NULL;
    pthread_mutex_unlock(&pool->mutex);
    return node == NULL ? NULL : yk_container_of(node, struct job, node);
}

/* Gives a job back to the runtime; false if there is none any more. */
static bool hand_back(struct worker *worker, struct job *job)
{
    struct pool *pool = worker->pool;
    bool taken;

    pthread_mutex_lock(&pool->mutex);
    worker->busy = false;
    taken = !pool->ending;
    if (taken) {
        job->done = true;
        yk_post(pool->runtime, &job->post); /* under the mutex, so that the runtime can't end */
    }
    pthread_mutex_unlock(&pool->mutex);
    return taken;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct job *job;

    while ((job = next_job(worker)) != NULL) {
        job->rc = job->fn(job->arg);
        job->error = yk_flight_take(yk_locus());
        if (!hand_back(worker, job)) {
            drop(job);
            pool_unref(worker->pool);
            break;
        }
    }
    return NULL;
}

/* All tasks have ended, so every job that is left was abandoned, and none is in the queue. */
static void pool_free(void *data)
{
    struct pool *pool = data;
    bool left[YK_THREADS_MAX];

    pthread_mutex_lock(&pool->mutex);
    yk_assert(yk_list_empty(&pool->queue));
    pool->ending = true;
    for (size_t i = 0; i < pool->workers_n; i++) {
        left[i] = pool->workers[i].busy;
        pool->users += left[i];
        if (left[i])
            pthread_detach(pool->workers[i].thread);
    }
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->workers_n; i++)
        if (!left[i])
            pthread_join(pool->workers[i].thread, NULL);
    yk_run_posts(pool->runtime); /* abandoned calls that have just returned */
    pool_unref(pool);
}

static struct pool *pool_of(struct yoke_runtime *runtime)
{
    struct pool *pool = runtime->slots[YK_SLOT_THREADS].data;

    if (pool != NULL)
        return pool;
    pool = yk_calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    yk_list_init(&pool->queue);
    pool->runtime = runtime;
    pool->users = 1;
    runtime->slots[YK_SLOT_THREADS].data = pool;
    runtime->slots[YK_SLOT_THREADS].fini = pool_free;
    return pool;
}

/* One more worker. 0, or -errno if there is none at all to take the job. */
static int add_worker(struct pool *pool)
{
    struct worker *worker = &pool->workers[pool->workers_n];
    sigset_t all, before;
    int rc;

    worker->pool = pool;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&worker->thread, NULL, work, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pool->workers_n++;
    return rc == 0 || pool->workers_n > 0 ? 0 : -rc;
}

/* On the runtime's thread when fn is done. */
static void job_done(struct yk_post *post)
{
    struct job *job = yk_container_of(post, struct job, post);

    job->pool->runtime->external--;
    if (job->task != NULL)
        yk_wake(job->task, 0);
    else
        drop(job);
}

/* A job and, if its wait was aborted, whether it was still in the queue. */
struct call {
    struct job *job;
    bool never_begun;
};

static bool abort_job(struct yk_task *task, void *arg)
{
    struct call *call = arg;
    struct job *job = call->job;
    struct pool *pool = job->pool;
    bool done;

    (void)task;
    pthread_mutex_lock(&pool->mutex);
    call->never_begun = !yk_list_empty(&job->node);
    done = job->done;
    if (call->never_begun) {
        yk_list_remove(&job->node);
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (call->never_begun)
        pool->runtime->external--;
    else if (done || !job->abandon)
        return false;
    job->task = NULL;
    return true;
}

static int submit(struct pool *pool, struct job *job)
{
    bool need_worker;
    int rc = 0;

    pthread_mutex_lock(&pool->mutex);
    yk_list_append(&pool->queue, &job->node);
    need_worker = ++pool->queued > pool->idle && pool->workers_n < YK_THREADS_MAX;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    if (need_worker)
        rc = add_worker(pool);
    if (rc < 0) {
        yk_list_remove(&job->node); /* no worker exists: nobody else touches the queue */
        pool->queued--;
    } else {
        pool->runtime->external++;
    }
    return rc;
}

static struct job *job_new(struct yk_task *task, int (*fn)(void *arg), void *arg,
                           const struct yoke_thread_opts *opts)
{
    struct pool *pool = pool_of(task->runtime);
    struct job *job = pool != NULL ? yk_calloc(1, sizeof *job) : NULL;

    if (job == NULL)
        return NULL;
    job->post.run = job_done;
    yk_list_init(&job->node);
    job->pool = pool;
    job->task = task;
    job->fn = fn;
    job->arg = arg;
    job->abandon = opts != NULL && opts->abandon;
    job->abandoned = job->abandon ? opts->abandoned : NULL;
    return job;
}

static int raise_none(int rc)
{
    return yoke_raise("yoke.Thread", rc, "no worker thread could be made: %s", strerror(-rc));
}

int yoke_thread_run(int (*fn)(void *arg), void *arg, const struct yoke_thread_opts *opts)
{
    struct yk_task *task = yk_task_self("yoke_thread_run");
    struct call call = {.job = NULL};
    struct job *job;
    int rc = yk_check_cancelled(task);

    if (rc < 0 && opts != NULL && opts->abandon && opts->abandoned != NULL)
        opts->abandoned(arg);
    if (rc < 0)
        return rc;
    job = call.job = job_new(task, fn, arg, opts);
    if (job == NULL)
        return raise_none(-ENOMEM);
    rc = submit(job->pool, job);
    if (rc < 0) {
        free(job);
        return raise_none(rc);
    }
    rc = yk_park(task, "worker thread", abort_job, &call);
    if (rc < 0) {
        if (call.never_begun)
            drop(job);
        return rc; /* else the job is abandoned, and frees itself */
    }
    rc = job->rc;
    if (job->error != NULL) {
        int raised = yk_flight_raise(&task->locus, job->error);

        rc = rc < 0 ? rc : raised;
    }
    free(job);
    return rc;
}
