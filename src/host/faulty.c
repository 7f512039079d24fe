/* SPDX-License-Identifier: MIT */
/*
 * A host whose calls fail when told to, and are else those of another host. What can't fail (clock,
 * entropy, poll, wake, taking a watch away) is passed on. Reaping is passed on too: it fails only
 * for a process that somebody else has reaped.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/memory.h"
#include "host/host.h"

struct faulty_host {
    struct yoke_host host;
    struct yoke_host *inner;
    unsigned fail_at; /* calls until the one that fails; 0: none */
    int error;
};

static struct faulty_host *self_of(struct yoke_host *host)
{
    return (struct faulty_host *)host;
}

static const struct yk_host_ops *inner_ops(struct yoke_host *host)
{
    return self_of(host)->inner->ops;
}

static int64_t faulty_now(struct yoke_host *host)
{
    return inner_ops(host)->now(self_of(host)->inner);
}

static int64_t faulty_wall(struct yoke_host *host)
{
    return inner_ops(host)->wall(self_of(host)->inner);
}

static void faulty_entropy(struct yoke_host *host, void *data, size_t size)
{
    inner_ops(host)->entropy(self_of(host)->inner, data, size);
}

static int faulty_poll(struct yoke_host *host, int64_t until_ns, bool external)
{
    return inner_ops(host)->poll(self_of(host)->inner, until_ns, external);
}

static void faulty_wake(struct yoke_host *host)
{
    inner_ops(host)->wake(self_of(host)->inner);
}

/* 0, or what this call is to fail with. */
static int fault(struct yoke_host *host)
{
    struct faulty_host *self = self_of(host);

    return self->fail_at > 0 && --self->fail_at == 0 ? -self->error : 0;
}

static int faulty_descriptor(struct yoke_host *host)
{
    const struct yk_host_ops *ops = inner_ops(host);

    return ops->descriptor == NULL ? -ENOSYS : ops->descriptor(self_of(host)->inner);
}

static int faulty_watch_add(struct yoke_host *host, struct yk_watch *watch)
{
    int rc = fault(host);

    return rc < 0 ? rc : inner_ops(host)->watch_add(self_of(host)->inner, watch);
}

static void faulty_watch_remove(struct yoke_host *host, struct yk_watch *watch)
{
    inner_ops(host)->watch_remove(self_of(host)->inner, watch);
}

static int faulty_spawn(struct yoke_host *host, const struct yk_spawn *spawn,
                        struct yk_process *ret)
{
    int rc = fault(host);

    if (rc < 0 && spawn->ret_step != NULL)
        *spawn->ret_step = YK_SPAWN_PREPARE;
    return rc < 0 ? rc : inner_ops(host)->spawn(self_of(host)->inner, spawn, ret);
}

static int faulty_reap(struct yoke_host *host, const struct yk_process *process,
                       struct yk_exit *ret)
{
    return inner_ops(host)->reap(self_of(host)->inner, process, ret);
}

static int faulty_kill(struct yoke_host *host, const struct yk_process *process, int signal)
{
    int rc = fault(host);

    return rc < 0 ? rc : inner_ops(host)->kill(self_of(host)->inner, process, signal);
}

static void faulty_free(struct yoke_host *host)
{
    free(self_of(host));
}

static const struct yk_host_ops faulty_ops = {
    .name = "faulty",
    .now = faulty_now,
    .wall = faulty_wall,
    .entropy = faulty_entropy,
    .poll = faulty_poll,
    .wake = faulty_wake,
    .watch_add = faulty_watch_add,
    .watch_remove = faulty_watch_remove,
    .descriptor = faulty_descriptor,
    .spawn = faulty_spawn,
    .reap = faulty_reap,
    .kill = faulty_kill,
    .free = faulty_free,
};

int yk_host_faulty_new(struct yoke_host *inner, struct yoke_host **ret_host)
{
    struct faulty_host *self = yk_calloc(1, sizeof *self);

    if (self == NULL)
        return -ENOMEM;
    self->host.ops = &faulty_ops;
    self->inner = inner;
    *ret_host = &self->host;
    return 0;
}

int yk_host_faulty_fail(struct yoke_host *faulty, unsigned n, int error)
{
    struct faulty_host *self = self_of(faulty);
    unsigned left;

    if (faulty->ops != &faulty_ops)
        return -EINVAL;
    left = self->fail_at;
    self->fail_at = n;
    self->error = error;
    return (int)left;
}
