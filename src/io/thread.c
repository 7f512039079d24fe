/* SPDX-License-Identifier: MIT */
/*
 * Worker threads for calls that block. A job first borrows a token of a limiter, as a task that
 * waits for one and may be cancelled there; then it is queued, and a thread is started unless one
 * is idle. Threads are kept until the runtime ends. A job is touched by the runtime's thread before
 * it is queued and after its post ran, by the worker in between; where it stands, and that its task
 * was cancelled, is told under the pool's mutex.
 *
 * A worker that calls back without a handle has its call run by the task that waits for it, which
 * is parked for this job anyway: so it runs inside the scopes that the job belongs to.
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
#include <yoke/limiter.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/memory.h"
#include "io/handle.h"

struct job {
    struct yk_post post;
    struct yk_list node; /* in the queue; in no list once it was begun */
    bool done;           /* posted: its caller gets it even if cancelled now */
    struct pool *pool;
    struct yk_task *task; /* NULL: abandoned */
    struct yoke_token token;
    struct yoke_cause *cause; /* why the task was cancelled while it waited; owned; or NULL */
    struct yk_call *call;     /* that the task is to run; of the runtime's thread */
    int (*fn)(void *arg);
    void *arg;
    bool abandon;
    void (*abandoned)(void *arg);
    struct yk_faults *faults; /* of the thread that called; owned until it is begun */
    int rc;
    struct yoke_error *error;
};

struct worker {
    struct worker *next;
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
    struct yoke_handle *handle;   /* of the runtime; held */
    struct yoke_limiter limiter;  /* of calls without one; the runtime's thread's */
    struct worker *workers;       /* of the runtime's thread, as is all of a worker but `busy` */
};

static __thread struct job *job_of_thread; /* that the calling worker runs; NULL: no worker */

static void pool_unref(struct pool *pool)
{
    bool last;

    pthread_mutex_lock(&pool->mutex);
    last = --pool->users == 0;
    pthread_mutex_unlock(&pool->mutex);
    if (!last)
        return;
    yk_handle_drop(pool->handle);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

static void job_free(struct job *job)
{
    yoke_cause_unref(job->cause);
    yk_faults_unref(job->faults);
    free(job);
}

/* An abandoned call has returned: nobody is there to get what it gave. */
static void drop(struct job *job)
{
    if (job->error != NULL && job->error->cancelled)
        yk_error_absorb(job->error); /* it ended because it was asked to */
    else if (job->error != NULL)
        yk_error_report(job->error, stderr);
    if (job->abandoned != NULL)
        job->abandoned(job->arg);
    job_free(job);
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
        job_of_thread = job;
        yk_faults_adopt(job->faults);
        job->faults = NULL;
        job->rc = job->fn(job->arg);
        yk_faults_adopt(NULL);
        job_of_thread = NULL;
        job->error = yk_flight_take(yk_locus());
        if (!hand_back(worker, job)) {
            drop(job);
            pool_unref(worker->pool);
            free(worker);
            break;
        }
    }
    return NULL;
}

/* Under the mutex: lets those in an abandoned call go on alone. */
static void leave_busy(struct pool *pool)
{
    struct worker **link = &pool->workers;

    while (*link != NULL) {
        struct worker *worker = *link;

        if (worker->busy) {
            *link = worker->next; /* it frees itself */
            pool->users++;
            pthread_detach(worker->thread);
        } else {
            link = &worker->next;
        }
    }
}

/* All tasks have ended, so every job that is left was abandoned, and none is in the queue. */
static void pool_free(void *data)
{
    struct pool *pool = data;
    struct worker *worker;

    pthread_mutex_lock(&pool->mutex);
    yk_assert(yk_list_empty(&pool->queue));
    pool->ending = true;
    leave_busy(pool);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    while ((worker = pool->workers) != NULL) {
        pool->workers = worker->next;
        pthread_join(worker->thread, NULL);
        free(worker);
    }
    yk_run_posts(pool->runtime); /* abandoned calls that have just returned */
    pool_unref(pool);
}

static struct pool *pool_of(struct yoke_runtime *runtime)
{
    struct pool *pool = runtime->slots[YK_SLOT_THREADS].data;
    struct yoke_handle *handle;

    if (pool != NULL)
        return pool;
    handle = yk_handle_of(runtime);
    pool = handle != NULL ? yk_calloc(1, sizeof *pool) : NULL;
    if (pool == NULL)
        return NULL;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    yk_list_init(&pool->queue);
    yoke_limiter_init(&pool->limiter, YK_THREADS_MAX);
    pool->runtime = runtime;
    pool->handle = yk_handle_hold(handle);
    pool->users = 1;
    runtime->slots[YK_SLOT_THREADS].data = pool;
    runtime->slots[YK_SLOT_THREADS].fini = pool_free;
    return pool;
}

/* One more worker. 0, or -errno if there is none at all to take the job. */
static int add_worker(struct pool *pool)
{
    struct worker *worker = yk_calloc(1, sizeof *worker);
    sigset_t all, before;
    int rc = ENOMEM;

    if (worker != NULL) {
        worker->pool = pool;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        rc = yk_fault(EAGAIN) ? errno : pthread_create(&worker->thread, NULL, work, worker);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (rc == 0) {
        worker->next = pool->workers;
        pool->workers = worker;
    } else {
        free(worker);
    }
    return pool->workers != NULL ? 0 : -rc;
}

/* On the runtime's thread when fn is done. */
static void job_done(struct yk_post *post)
{
    struct job *job = yk_container_of(post, struct job, post);

    job->pool->runtime->external--;
    yk_limiter_take_back(&job->token);
    if (job->task != NULL)
        yk_wake(job->task, 0);
    else
        drop(job);
}

/* A Cancelled of the calling thread, not in flight, for the reason that the job's task had. */
static struct yoke_error *cancelled_for(const struct job *job)
{
    return yk_error_make_cancelled(__builtin_frame_address(0), NULL, job->cause, NULL, 0);
}

/* On the runtime's thread when the worker calls back. */
static void call_came(struct yk_post *post)
{
    struct yk_call *call = yk_container_of(post, struct yk_call, post);
    struct job *job = call->job;

    if (job->task == NULL) {
        yk_call_finish(call, YOKE_CANCELLED, cancelled_for(job));
        return;
    }
    job->call = call;
    yk_wake(job->task, 0);
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

    pthread_mutex_lock(&pool->mutex);
    if (job->cause == NULL)
        job->cause = yoke_cause_ref(yk_task_why(task)); /* for the worker that asks */
    call->never_begun = !yk_list_empty(&job->node);
    done = job->done;
    if (call->never_begun) {
        yk_list_remove(&job->node);
        pool->queued--;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (call->never_begun) {
        pool->runtime->external--;
        yk_limiter_take_back(&job->token);
    } else if (done || !job->abandon) {
        return false;
    }
    job->task = NULL;
    return true;
}

static int submit(struct pool *pool, struct job *job)
{
    bool need_worker;
    int rc = 0;

    pthread_mutex_lock(&pool->mutex);
    yk_list_append(&pool->queue, &job->node);
    need_worker = ++pool->queued > pool->idle;
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
    job->faults = yk_faults_share();
    job->abandon = opts != NULL && opts->abandon;
    job->abandoned = job->abandon ? opts->abandoned : NULL;
    return job;
}

static int raise_none(int rc)
{
    return yoke_raise("yoke.Thread", rc, "no worker thread could be made: %s", strerror(-rc));
}

/* Waits for the job, and runs what its worker calls back for. 0, or YOKE_CANCELLED. */
static int wait_job(struct job *job, struct call *call)
{
    struct yk_task *task = job->task;
    int rc;

    while ((rc = yk_park(task, "worker thread", abort_job, call)) == 0 && job->call != NULL) {
        struct yk_call *back = job->call;

        job->call = NULL;
        yk_call_run(back, task);
    }
    return rc;
}

int yoke_thread_run(int (*fn)(void *arg), void *arg, const struct yoke_thread_opts *opts)
{
    struct yk_task *task = yk_task_self("yoke_thread_run");
    struct yoke_limiter *limiter = opts != NULL ? opts->limiter : NULL;
    struct call call = {.never_begun = true};
    struct job *job = call.job = job_new(task, fn, arg, opts);
    int rc;

    if (job == NULL)
        return yoke_raise("yoke.Thread", ENOMEM, "no memory for a call in a worker thread");
    rc = yoke_limiter_acquire(limiter != NULL ? limiter : &job->pool->limiter, &job->token, job);
    if (rc < 0) {
        drop(job);
        return rc;
    }
    rc = submit(job->pool, job);
    if (rc < 0) {
        yk_limiter_take_back(&job->token);
        job_free(job);
        return raise_none(rc);
    }
    rc = wait_job(job, &call);
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
    job_free(job);
    return rc;
}

struct yoke_handle *yk_thread_handle(void)
{
    return job_of_thread != NULL ? yoke_handle_ref(job_of_thread->pool->handle) : NULL;
}

int yk_thread_call(struct yk_call *call)
{
    struct job *job = job_of_thread;
    struct pool *pool;
    bool ending;

    if (job == NULL)
        return -EINVAL;
    pool = job->pool;
    call->job = job;
    call->post.run = call_came;
    pthread_mutex_lock(&pool->mutex);
    ending = pool->ending;
    if (!ending)
        yk_post(pool->runtime, &call->post); /* under the mutex, so that the runtime can't end */
    pthread_mutex_unlock(&pool->mutex);
    if (ending) /* only an abandoned job's worker is still there */
        yk_call_finish(call, YOKE_CANCELLED, cancelled_for(job));
    return 0;
}

int yoke_thread_check_cancelled(void)
{
    struct job *job = job_of_thread;
    struct yoke_cause *cause = NULL;

    if (job == NULL || yk_runtime_current != NULL)
        return yoke_raise("yoke.Thread", EINVAL,
                          "yoke_thread_check_cancelled is for worker threads of a runtime");
    pthread_mutex_lock(&job->pool->mutex);
    if (job->cause != NULL)
        cause = yoke_cause_ref(job->cause);
    pthread_mutex_unlock(&job->pool->mutex);
    if (cause == NULL)
        return 0;
    (void)yk_raise_cancelled(NULL, cause, NULL, 0);
    yoke_cause_unref(cause);
    return YOKE_CANCELLED;
}
