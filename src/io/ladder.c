/* SPDX-License-Identifier: MIT */
/* The end of processes, for subprocesses and for actors. Runs on the stack of who supervises one.
 */
#include "io/ladder.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke/scope.h>

#include "base/check.h"

int yk_ladder_watch(const struct yk_ladder *ladder, struct yk_watch *watch)
{
    const struct yk_host_ops *ops = ladder->host->ops;
    struct yk_exit exit;
    int rc;

    watch->fd = ladder->process->pidfd;
    rc = ops->watch_add(ladder->host, watch);
    if (rc == 0)
        return 0;
    (void)ops->kill(ladder->host, ladder->process, SIGKILL);
    while (ops->reap(ladder->host, ladder->process, &exit) == 0)
        continue; /* a killed process ends in microseconds, and there is nothing to wait with */
    close(ladder->process->pidfd);
    return rc;
}

bool yk_ladder_wait(struct yoke_event *event, int64_t timeout_ns)
{
    struct yoke_runtime *runtime = yk_runtime_current;
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "teardown rung",
                                         .timeout_ns = timeout_ns,
                                         .shield = true,
                                     });

    runtime->io_waits++; /* what is waited for comes from the poller */
    if (rc == 0)
        rc = yoke_event_wait(event);
    runtime->io_waits--;
    if (yoke_scope_close(&scope, rc) < 0)
        yoke_clear(); /* no memory for a timer: the rung is skipped */
    return yoke_event_is_set(event);
}

int yk_ladder_climb(const struct yk_ladder *ladder, int signal, int64_t signal_ns)
{
    const struct yk_host_ops *ops = ladder->host->ops;

    yk_assert(yoke_in_flight() == NULL);
    if (yoke_event_is_set(ladder->ended))
        return 0;
    if (signal_ns >= 0) {
        (void)ops->kill(ladder->host, ladder->process, signal);
        if (yk_ladder_wait(ladder->ended, signal_ns))
            return signal;
    }
    (void)ops->kill(ladder->host, ladder->process, SIGKILL);
    while (!yk_ladder_wait(ladder->ended, 0))
        continue;
    return SIGKILL;
}

const char *yk_ladder_describe(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "killed by signal %d (%s)%s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), WCOREDUMP(status) ? ", core dumped" : "");
    else
        snprintf(text, size, "exited with status %d", WEXITSTATUS(status));
    return text;
}
