/* SPDX-License-Identifier: MIT */
/* The spawner of new processes: the running executable again, or another one. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "actor/child.h"
#include "actor/spawner.h"

enum { CHILD_FD = 3, STDERR_FD = 4 }; /* where a child finds its link, and its stderr to be */

static struct yoke_host *host_of(const struct yk_incarnation *incarnation)
{
    return incarnation->portal->actor->runtime->host;
}

static int exec_start(struct yk_incarnation *incarnation, int fd)
{
    struct yk_actor_child *child = incarnation->child;
    const struct yoke_runtime *runtime = incarnation->portal->actor->runtime;
    struct yk_tail *tail = &incarnation->tail;
    char uid[160], parent_pid[16], fd_text[16], stderr_text[16];
    char *argv[] = {
        child->id.name, "-m",           "yoke._child", "--uid",       uid,         "--parent_fd",
        fd_text,        "--parent_pid", parent_pid,    "--stderr_fd", stderr_text, NULL,
    };
    struct yk_spawn_fd fds[] = {{fd, CHILD_FD}, {0, STDERR_FILENO}, {STDERR_FILENO, STDERR_FD}};
    struct yk_spawn spawn = {
        .path = child->executable,
        .argv = argv,
        .fds = fds,
        .fds_n = 1,
        .death_signal = YK_DEATH_SIGNAL, /* until it has asked for it itself */
    };
    int rc;

    snprintf(uid, sizeof uid, "('%s', '%s')", child->id.name, child->id.uuid);
    snprintf(parent_pid, sizeof parent_pid, "%d", (int)runtime->actor.pid);
    snprintf(fd_text, sizeof fd_text, "%d", CHILD_FD);
    snprintf(stderr_text, sizeof stderr_text, "%d", STDERR_FD);
    yk_tail_open(tail);
    fds[1].fd = tail->write_fd;
    if (tail->open)
        spawn.fds_n = 3;
    else
        argv[9] = NULL;
    rc = runtime->host->ops->spawn(runtime->host, &spawn, &incarnation->process);
    if (tail->write_fd >= 0)
        close(tail->write_fd);
    tail->write_fd = -1;
    if (rc < 0)
        return yoke_raise("yoke.Spawn", rc, "actor %s: %s can't be executed: %s", child->id.name,
                          child->executable != NULL ? child->executable : "this program",
                          strerror(-rc));
    return 0;
}

static int exec_kill(struct yk_incarnation *incarnation, int signal)
{
    struct yoke_host *host = host_of(incarnation);

    return host->ops->kill(host, &incarnation->process, signal);
}

static int exec_reap(struct yk_incarnation *incarnation, struct yk_exit *ret)
{
    struct yoke_host *host = host_of(incarnation);

    return host->ops->reap(host, &incarnation->process, ret);
}

const struct yk_spawner yk_spawner_exec = {
    .name = "exec",
    .start = exec_start,
    .kill = exec_kill,
    .reap = exec_reap,
};
