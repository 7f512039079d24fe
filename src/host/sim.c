/* SPDX-License-Identifier: MIT */
/*
 * The simulated host: one seed, one world. Virtual time starts at one second and moves only when
 * poll is asked to wait: it jumps to the deadline asked for. Descriptors, processes and signals do
 * not exist here yet.
 *
 * Worker threads are real even under simulation; while one is out, poll waits for it in real time
 * and leaves the clock alone, so that results do not depend on how fast the thread was.
 */
#include "host/host.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/random.h"

struct sim_host {
    struct yoke_host host;
    _Atomic int64_t now_ns; /* written under the mutex */
    struct yk_random random;
    pthread_mutex_t mutex; /* guards `woken`: wake() comes from other threads */
    pthread_cond_t condition;
    bool woken;
    bool no_autojump;
};

static struct sim_host *self_of(struct yoke_host *host)
{
    return (struct sim_host *)host;
}

static int64_t sim_now(struct yoke_host *host)
{
    return atomic_load_explicit(&self_of(host)->now_ns, memory_order_relaxed);
}

static int64_t sim_wall(struct yoke_host *host)
{
    return sim_now(host);
}

static void sim_entropy(struct yoke_host *host, void *data, size_t size)
{
    unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)yk_random_next(&self_of(host)->random);
}

static int sim_poll(struct yoke_host *host, int64_t until_ns, bool external)
{
    struct sim_host *self = self_of(host);

    if (until_ns == 0)
        return 0;
    pthread_mutex_lock(&self->mutex);
    if (external) {
        while (!self->woken)
            pthread_cond_wait(&self->condition, &self->mutex);
    } else if (self->no_autojump) {
        while (!self->woken && self->now_ns < until_ns)
            pthread_cond_wait(&self->condition, &self->mutex);
    } else if (!self->woken && until_ns != YOKE_NEVER && until_ns > self->now_ns) {
        self->now_ns = until_ns;
    }
    self->woken = false;
    pthread_mutex_unlock(&self->mutex);
    return 0;
}

static void sim_wake(struct yoke_host *host)
{
    struct sim_host *self = self_of(host);

    pthread_mutex_lock(&self->mutex);
    self->woken = true;
    pthread_cond_signal(&self->condition);
    pthread_mutex_unlock(&self->mutex);
}

static int sim_watch_add(struct yoke_host *host, struct yk_watch *watch)
{
    (void)host;
    (void)watch;
    return -ENOSYS;
}

static void sim_watch_remove(struct yoke_host *host, struct yk_watch *watch)
{
    (void)host;
    (void)watch;
}

static int sim_spawn(struct yoke_host *host, const struct yk_spawn *spawn, struct yk_process *ret)
{
    (void)host;
    (void)spawn;
    (void)ret;
    return -ENOSYS;
}

static int sim_reap(struct yoke_host *host, const struct yk_process *process, struct yk_exit *ret)
{
    (void)host;
    (void)process;
    (void)ret;
    return -ENOSYS;
}

static int sim_kill(struct yoke_host *host, const struct yk_process *process, int signal)
{
    (void)host;
    (void)process;
    (void)signal;
    return -ENOSYS;
}

static void sim_free(struct yoke_host *host)
{
    struct sim_host *self = self_of(host);

    pthread_cond_destroy(&self->condition);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}

static const struct yk_host_ops sim_ops = {
    .name = "sim",
    .now = sim_now,
    .wall = sim_wall,
    .entropy = sim_entropy,
    .poll = sim_poll,
    .wake = sim_wake,
    .watch_add = sim_watch_add,
    .watch_remove = sim_watch_remove,
    .spawn = sim_spawn,
    .reap = sim_reap,
    .kill = sim_kill,
    .free = sim_free,
};

int yk_host_sim_set_autojump(struct yoke_host *host, bool autojump)
{
    struct sim_host *self = self_of(host);

    if (host->ops != &sim_ops)
        return -EINVAL;
    pthread_mutex_lock(&self->mutex);
    self->no_autojump = !autojump;
    pthread_cond_signal(&self->condition);
    pthread_mutex_unlock(&self->mutex);
    return 0;
}

int yk_host_sim_advance(struct yoke_host *host, int64_t duration_ns)
{
    struct sim_host *self = self_of(host);

    if (host->ops != &sim_ops || duration_ns < 0)
        return -EINVAL;
    pthread_mutex_lock(&self->mutex);
    if (duration_ns > YOKE_NEVER - self->now_ns)
        duration_ns = YOKE_NEVER - self->now_ns;
    self->now_ns += duration_ns;
    pthread_cond_signal(&self->condition);
    pthread_mutex_unlock(&self->mutex);
    return 0;
}

int yk_host_sim_new(uint64_t seed, struct yoke_host **ret_host)
{
    struct sim_host *self = yk_calloc(1, sizeof *self);

    if (self == NULL)
        return -ENOMEM;
    self->host.ops = &sim_ops;
    self->now_ns = YOKE_S(1);
    yk_random_seed(&self->random, seed);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->condition, NULL);
    *ret_host = &self->host;
    return 0;
}
