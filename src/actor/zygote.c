/* SPDX-License-Identifier: MIT */
/* The spawner that forks actors from the zygote (io/zygote.h), and its start in yoke_main. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "actor/child.h"
#include "actor/spawned.h"
#include "actor/spawner.h"
#include "base/text.h"
#include "io/zygote.h"

struct request {
    char name[sizeof((struct yoke_actor_id *)0)->name];
    char uuid[sizeof((struct yoke_actor_id *)0)->uuid];
    int32_t parent_pid;
};

/* In the new process. */
static void become_actor(const void *data, int fd)
{
    const struct request *request = data;
    struct yk_spawned spawned = {.fd = fd, .stderr_fd = -1, .parent_pid = request->parent_pid};

    YK_TEXT_COPY(spawned.id.name, request->name);
    YK_TEXT_COPY(spawned.id.uuid, request->uuid);
    yk_serve_process(&spawned);
}

int yk_actor_zygote_start(void)
{
    static struct request request;
    static const struct yk_zygote_birth birth = {&request, sizeof request, become_actor};

    return yk_zygote_start(&birth);
}

static int raise_failure(const char *name, int rc)
{
    char what[128];

    if (rc == -ENOENT)
        return yoke_raise("yoke.Spawn", ESRCH,
                          "actor %s: this process has no zygote: it is asked for in "
                          "yoke_main_opts, and only the root has one",
                          name);
    if (rc == -EPIPE || rc == -ETIMEDOUT)
        return yoke_raise("yoke.Spawn", ESRCH, "actor %s: the zygote can't fork any more: %s", name,
                          yk_zygote_describe(what, sizeof what));
    return yoke_raise("yoke.Spawn", rc, "actor %s: the zygote can't fork: %s", name, strerror(-rc));
}

static int zygote_start(struct yk_incarnation *incarnation, int fd)
{
    const struct yk_actor_child *child = incarnation->child;
    struct request request = {.parent_pid = (int32_t)getpid()};
    int rc;

    YK_TEXT_COPY(request.name, child->id.name);
    YK_TEXT_COPY(request.uuid, child->id.uuid);
    rc = yk_zygote_spawn(&request, sizeof request, fd, &incarnation->process);
    return rc < 0 ? raise_failure(child->id.name, rc) : 0;
}

static int zygote_kill(struct yk_incarnation *incarnation, int signal)
{
    return yk_spawner_exec.kill(incarnation, signal);
}

static int zygote_reap(struct yk_incarnation *incarnation, struct yk_exit *ret)
{
    return yk_spawner_exec.reap(incarnation, ret);
}

const struct yk_spawner yk_spawner_zygote = {
    .name = "zygote",
    .start = zygote_start,
    .kill = zygote_kill,
    .reap = zygote_reap,
};
