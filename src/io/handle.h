/* SPDX-License-Identifier: MIT */
/* Calls into a runtime from other threads: what handles and worker threads share. */
#ifndef YK_IO_HANDLE_H
#define YK_IO_HANDLE_H

#include <pthread.h>
#include <yoke/handle.h>

#include "task/task.h"

/* A call whose thread blocks until it is finished; in that thread's frame. */
struct yk_call {
    struct yk_post post;
    const struct yoke_site *site;
    yoke_task_fn fn;
    const char *name;
    void *arg;
    void *job; /* of thread.c; NULL: it is made by a handle */
    int rc;
    struct yoke_error *error;
    pthread_mutex_t mutex; /* guards `finished` */
    pthread_cond_t condition;
    bool finished;
};

/* Makes a call of the calling thread; its error is not put in flight. */
void yk_call_init(struct yk_call *call, const struct yoke_site *site, yoke_task_fn fn,
                  const char *name, void *arg);
/* Waits until it is finished; puts its error in flight in the calling thread and returns its rc. */
int yk_call_wait(struct yk_call *call);

/* Runs the function of a call as part of the calling task, and lets its thread go on. */
void yk_call_run(struct yk_call *call, struct yk_task *task);
/* The same without running it. Takes over `error`. */
void yk_call_finish(struct yk_call *call, int rc, struct yoke_error *error);

/* The handle of a runtime, which owns it; by its thread. NULL: no memory. */
struct yoke_handle *yk_handle_of(struct yoke_runtime *runtime);

/* Keeps its memory, without being a user of it who may call. */
struct yoke_handle *yk_handle_hold(struct yoke_handle *handle);
void yk_handle_drop(struct yoke_handle *handle);

/* Of thread.c, for the calling thread. The handle's reference is the caller's. */
struct yoke_handle *yk_thread_handle(void); /* NULL: no worker thread */
int yk_thread_call(struct yk_call *call);   /* -EINVAL: no worker thread; raises nothing then */

#endif
