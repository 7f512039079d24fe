/* SPDX-License-Identifier: MIT */
/*
 * The spawner of threads: an actor is a runtime of its own on a thread of this process, linked by a
 * socketpair like any other. An event descriptor stands for a process descriptor; it is set when
 * the runtime is gone, so that joining the thread does not block for long.
 *
 * There is no kill: a thread can't be ended from outside without taking its locks with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "actor/child.h"
#include "actor/spawned.h"
#include "actor/spawner.h"
#include "base/check.h"
#include "base/memory.h"

/* Shared by the thread and its supervisor, who frees it after joining. */
struct actor_thread {
    pthread_t thread;
    struct yk_spawned spawned;
    int ended_fd; /* the supervisor's */
    int status;
    struct rusage usage;
};

static void *thread_main(void *arg)
{
    struct actor_thread *actor = arg;
    uint64_t one = 1;

    actor->status = yk_serve_thread(&actor->spawned);
    (void)getrusage(RUSAGE_THREAD, &actor->usage);
    if (write(actor->ended_fd, &one, sizeof one) < 0)
        /* tidy-allow errno: this thread has no runtime any more */
        yk_assert(errno == EAGAIN); /* it is set already */
    return NULL;
}

/* Signals are for the threads that have asked for them. */
static int create(struct actor_thread *actor)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    rc = pthread_create(&actor->thread, NULL, thread_main, actor);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -rc;
}

static int thread_start(struct yk_incarnation *incarnation, int fd)
{
    const struct yk_actor_child *child = incarnation->child;
    struct actor_thread *actor = yk_calloc(1, sizeof *actor);
    int rc = -ENOMEM;

    if (actor == NULL)
        return yoke_raise("yoke.Spawn", rc, "no memory for actor %s", child->id.name);
    actor->spawned.id = child->id;
    actor->spawned.stderr_fd = -1;
    actor->spawned.parent_pid = (int32_t)getpid();
    actor->spawned.thread = true;
    actor->spawned.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    actor->ended_fd = actor->spawned.fd < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    /* tidy-allow errno: nothing above switches */
    rc = actor->ended_fd < 0 ? -errno : create(actor);
    if (rc == 0) {
        incarnation->process.pid = getpid();
        incarnation->process.pidfd = actor->ended_fd;
        incarnation->spawned = actor;
        return 0;
    }
    if (actor->ended_fd >= 0)
        close(actor->ended_fd);
    if (actor->spawned.fd >= 0)
        close(actor->spawned.fd);
    free(actor);
    return yoke_raise("yoke.Spawn", rc, "actor %s: no thread can be made: %s", child->id.name,
                      strerror(-rc));
}

static int thread_reap(struct yk_incarnation *incarnation, struct yk_exit *ret)
{
    struct actor_thread *actor = incarnation->spawned;

    pthread_join(actor->thread, NULL);
    ret->status = actor->status << 8; /* as of waitpid: it exited */
    ret->usage = actor->usage;
    incarnation->spawned = NULL;
    free(actor);
    return 1;
}

const struct yk_spawner yk_spawner_thread = {
    .name = "thread",
    .start = thread_start,
    .kill = NULL,
    .reap = thread_reap,
};
