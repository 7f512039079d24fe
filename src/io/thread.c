/* SPDX-License-Identifier: MIT */
/*
 * Worker threads for calls that block. Threads are started as needed up to YK_THREADS_MAX, kept
 * until the runtime ends, and joined there; jobs beyond that wait in a queue. A job is touched by
 * the runtime's thread before it is queued and after its post ran, by the worker in between.
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
    struct yk_list node; /* in the queue, under its mutex */
    struct yoke_runtime *runtime;
    struct yk_task *task; /* NULL: abandoned */
    int (*fn)(void *arg);
    void *arg;
    void (*abandoned)(void *arg);
    int rc;
    struct yoke_error *error;
};

struct pool {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct yk_list queue;
    bool ending;
    size_t queued;
    size_t idle;
    size_t threads_n;
    pthread_t threads[YK_THREADS_MAX];
    struct yoke_runtime *runtime;
};

static struct job *next_job(struct pool *pool)
{
    struct yk_list *node = NULL;

    pthread_mutex_lock(&pool->mutex);
    pool->idle++;
    while ((node = yk_list_pop(&pool->queue)) == NULL && !pool->ending)
        pthread_cond_wait(&pool->work, &pool->mutex);
    pool->idle--;
    if (node != NULL)
        pool->queued--;
    pthread_mutex_unlock(&pool->mutex);
    return node == NULL ? NULL : yk_container_of(node, struct job, node);
}

static void *worker(void *arg)
{
    struct pool *pool = arg;
    struct job *job;

    while ((job = next_job(pool)) != NULL) {
        job->rc = job->fn(job->arg);
        job->error = yk_flight_take(yk_locus());
        yk_post(job->runtime, &job->post);
    }
    return NULL;
}

static void pool_free(void *data)
{
    struct pool *pool = data;

    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->threads_n; i++)
        pthread_join(pool->threads[i], NULL);
    yk_run_posts(pool->runtime); /* abandoned jobs that have just ended */
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
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
    runtime->slots[YK_SLOT_THREADS].data = pool;
    runtime->slots[YK_SLOT_THREADS].fini = pool_free;
    return pool;
}

/* One more worker. 0, or -errno if there is none at all to take the job. */
static int add_worker(struct pool *pool)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rc = pthread_create(&pool->threads[pool->threads_n], NULL, worker, pool);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        pool->threads_n++;
    return rc == 0 || pool->threads_n > 0 ? 0 : -rc;
}

/* On the runtime's thread when fn is done. */
static void job_done(struct yk_post *post)
{
    struct job *job = yk_container_of(post, struct job, post);

    job->runtime->external--;
    if (job->task != NULL) {
        yk_wake(job->task, 0);
        return;
    }
    if (job->error != NULL)
        yk_error_report(job->error, stderr);
    if (job->abandoned != NULL)
        job->abandoned(job->arg);
    free(job);
}

static bool abort_job(struct yk_task *task, void *arg)
{
    struct job *job = arg;

    (void)task;
    job->task = NULL;
    return true;
}

static bool refuse_abort(struct yk_task *task, void *arg)
{
    (void)task;
    (void)arg;
    return false;
}

static int submit(struct pool *pool, struct job *job)
{
    bool need_worker;
    int rc = 0;

    pthread_mutex_lock(&pool->mutex);
    yk_list_append(&pool->queue, &job->node);
    need_worker = ++pool->queued > pool->idle && pool->threads_n < YK_THREADS_MAX;
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

int yoke_thread_run(int (*fn)(void *arg), void *arg, const struct yoke_thread_opts *opts)
{
    struct yk_task *task = yk_task_self("yoke_thread_run");
    bool abandon = opts != NULL && opts->abandon;
    struct pool *pool = pool_of(task->runtime);
    struct job *job = yk_calloc(1, sizeof *job);
    int rc = yk_check_cancelled(task);

    if (rc < 0) {
        free(job);
        return rc;
    }
    rc = -ENOMEM;
    if (pool != NULL && job != NULL) {
        job->post.run = job_done;
        yk_list_init(&job->node);
        job->runtime = task->runtime;
        job->task = task;
        job->fn = fn;
        job->arg = arg;
        job->abandoned = abandon ? opts->abandoned : NULL;
        rc = submit(pool, job);
    }
    if (rc < 0) {
        free(job);
        return yoke_raise("yoke.Thread", rc, "no worker thread could be made: %s", strerror(-rc));
    }
    rc = yk_park(task, "worker thread", abandon ? abort_job : refuse_abort, job);
    if (rc < 0)
        return rc; /* abandoned: the job frees itself */
    rc = job->rc;
    if (job->error != NULL) {
        int raised = yk_flight_raise(&task->locus, job->error);

        rc = rc < 0 ? rc : raised;
    }
    free(job);
    return rc;
}
