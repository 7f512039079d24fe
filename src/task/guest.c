/* SPDX-License-Identifier: MIT */
/*
 * Guest mode: the scheduler's loop turned inside out. A step is one turn of it, with a poll that
 * does not wait. The host's poller is itself pollable, and everything that can make a task ready
 * is made visible there: descriptors and wake-ups from other threads are anyway; the next deadline
 * by a timer descriptor that is watched like any other; and tasks that are still ready after a
 * step by a wake-up of our own.
 *
 * A step makes the guest the current runtime of its thread, and afterwards what was before. So
 * several guests may share a thread. A step inside a task would run one scheduler on the small
 * stack of another one's task, and is misuse.
 *
 * There is no deadlock for a guest: the outer loop may always have something for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <yoke/guest.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/memory.h"
#include "task/task.h"

struct yoke_guest {
    struct yoke_runtime *runtime;
    struct yk_program program;
    struct yoke_host *own_host; /* NULL: the caller's is used */
    struct yk_watch timer;      /* a timer descriptor */
    int64_t armed_ns;           /* what it is set to; YOKE_NEVER: nothing */
    int fd;
    bool finished;
};

static void check_caller(const struct yoke_guest *guest, const char *call)
{
    if (guest->runtime->thread != yk_thread_mark())
        yk_misuse(NULL, "guest opened at", guest->program.site,
                  "%s by another thread than the one that opened the guest", call);
    if (yk_runtime_current != NULL)
        yk_misuse(NULL, "guest opened at", guest->program.site,
                  "%s inside a task or another step: it belongs to the outer loop", call);
}

void yk_runtime_enter(struct yoke_runtime *runtime, struct yk_outside *outside)
{
    outside->locus = yk_locus();
    outside->wall_clock = yk_wall_clock;
    yk_runtime_current = runtime;
    yk_locus_current = &runtime->loop_locus;
    yk_wall_clock = yk_runtime_wall_clock;
}

void yk_runtime_leave(const struct yk_outside *outside)
{
    yk_runtime_current = NULL;
    yk_locus_current = outside->locus;
    yk_wall_clock = outside->wall_clock;
}

static void timer_ready(struct yk_watch *watch, unsigned events)
{
    struct yoke_guest *guest = yk_container_of(watch, struct yoke_guest, timer);

    if (events & YK_READABLE)
        guest->armed_ns = YOKE_NEVER; /* it has fired; setting it again clears it */
}

static int open_timer(struct yoke_guest *guest, struct yoke_host *host)
{
    int rc;

    guest->armed_ns = YOKE_NEVER;
    guest->timer.ready = timer_ready;
    guest->timer.fd =
        YK_FALLIBLE(EMFILE, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    /* tidy-allow errno: of the call before it; no task runs. */
    rc = guest->timer.fd < 0 ? -errno : host->ops->watch_add(host, &guest->timer);
    if (rc == 0)
        return 0;
    if (guest->timer.fd >= 0)
        close(guest->timer.fd);
    return yoke_raise("yoke.Guest", rc, "a guest needs a timer: %s", strerror(-rc));
}

static void close_timer(struct yoke_guest *guest, struct yoke_host *host)
{
    host->ops->watch_remove(host, &guest->timer);
    close(guest->timer.fd);
}

static void arm_timer(struct yoke_guest *guest)
{
    int64_t next = yk_timers_next(&guest->runtime->timers);
    struct itimerspec at;
    int rc;

    if (next == guest->armed_ns)
        return;
    memset(&at, 0, sizeof at);
    if (next != YOKE_NEVER) {
        at.it_value.tv_sec = next / 1000000000;
        at.it_value.tv_nsec = next % 1000000000;
    }
    rc = timerfd_settime(guest->timer.fd, TFD_TIMER_ABSTIME, &at, NULL);
    yk_assert(rc == 0);
    guest->armed_ns = next;
}

/* Makes the descriptor tell what is left to do. */
static void announce(struct yoke_guest *guest)
{
    struct yoke_runtime *runtime = guest->runtime;

    arm_timer(guest);
    if (runtime->ready_n > 0 || !yk_list_empty(&runtime->blocked_waiters))
        runtime->host->ops->wake(runtime->host);
}

static int begin(struct yoke_guest *guest, const struct yoke_run_opts *opts)
{
    struct yoke_host *host = opts->host;
    struct yk_outside outside = {.locus = yk_locus(), .wall_clock = yk_wall_clock};
    int rc;

    if (host->ops->descriptor == NULL)
        return yoke_raise("yoke.Guest", ENOSYS,
                          "a guest needs a host that an outer loop can watch, not the %s one",
                          host->ops->name);
    guest->fd = host->ops->descriptor(host);
    rc = open_timer(guest, host);
    if (rc < 0)
        return rc;
    guest->runtime = yk_runtime_new(&guest->program, opts);
    if (guest->runtime == NULL) {
        close_timer(guest, host);
        return yoke_error_code(yoke_in_flight());
    }
    guest->runtime->guest = true;
    yk_runtime_leave(&outside);
    announce(guest);
    return 0;
}

int yoke_guest_open_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name,
                       void *arg, const struct yoke_run_opts *opts, struct yoke_guest **ret_guest)
{
    struct yoke_run_opts own;
    struct yoke_guest *guest;
    int rc;

    memset(&own, 0, sizeof own);
    if (opts != NULL)
        own = *opts;
    if (yk_runtime_current != NULL)
        return yoke_raise_at(site, NULL, "yoke.Guest", EBUSY,
                             "a guest belongs to an outer loop, not inside a task");
    guest = yk_calloc(1, sizeof *guest);
    if (guest == NULL)
        return yoke_raise_at(site, NULL, "yoke.Guest", ENOMEM, "no memory for a guest");
    if (own.host == NULL)
        own.host = guest->own_host = yoke_host_linux_new();
    guest->program = (struct yk_program){.fn = fn, .arg = arg, .name = fn_name, .site = site};
    rc = own.host == NULL ? yoke_error_code(yoke_in_flight()) : begin(guest, &own);
    if (rc == 0) {
        *ret_guest = guest;
        return 0;
    }
    yoke_host_free(guest->own_host);
    free(guest);
    return rc;
}

int yoke_guest_fd(const struct yoke_guest *guest)
{
    return guest->fd;
}

struct yoke_runtime *yk_guest_runtime(struct yoke_guest *guest)
{
    return guest->runtime;
}

int yoke_guest_step(struct yoke_guest *guest)
{
    struct yk_outside outside;

    check_caller(guest, "yoke_guest_step");
    if (guest->finished)
        return 0;
    yk_runtime_enter(guest->runtime, &outside);
    yk_sched_turn(guest->runtime);
    guest->finished = guest->runtime->root.child_count == 0;
    yk_runtime_leave(&outside);
    if (guest->finished)
        return 0;
    announce(guest);
    return 1;
}

void yoke_guest_cancel_at(const struct yoke_site *site, struct yoke_guest *guest,
                          const char *reason)
{
    struct yoke_runtime *runtime = guest->runtime;
    struct yk_locus outer_loop = {.actor = &runtime->actor, .task_name = "outer loop"};
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_TASK,
        .kind = YOKE_CAUSE_SCOPE,
        .site = site,
        .reason = reason,
    };
    struct yk_outside outside;
    struct yoke_cause *cause;

    check_caller(guest, "yoke_guest_cancel");
    yk_runtime_enter(guest->runtime, &outside);
    cause = yk_cause_new_as(&outer_loop, &spec);
    yk_runtime_cancel(runtime, cause);
    yoke_cause_unref(cause);
    yk_runtime_leave(&outside);
    announce(guest);
}

int yoke_guest_close(struct yoke_guest *guest)
{
    struct yoke_host *own_host;
    struct yk_outside outside;
    int rc;

    if (guest == NULL)
        return 0;
    check_caller(guest, "yoke_guest_close");
    if (!guest->finished) {
        yoke_guest_cancel_at(guest->program.site, guest, "the guest was closed");
        yk_runtime_enter(guest->runtime, &outside);
        guest->runtime->guest = false; /* now its polls wait */
        yk_sched_loop(guest->runtime);
        yk_runtime_leave(&outside);
    }
    yk_runtime_enter(guest->runtime, &outside);
    close_timer(guest, guest->runtime->host);
    rc = yk_runtime_free(guest->runtime, outside.locus);
    yk_runtime_leave(&outside);
    own_host = guest->own_host;
    free(guest);
    yoke_host_free(own_host);
    return rc;
}
