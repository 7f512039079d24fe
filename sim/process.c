/* SPDX-License-Identifier: MIT */
/* A process: its turns, its signals, its end; and what its runtime sees as its host. */
#include "sim/process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { GHOST_TURNS = 100000 };

static const struct yk_host_ops process_ops;

static struct sim_process *self; /* whose turn it is */

struct sim_process *sim_process_self(void)
{
    return self;
}

/* --- descriptors ------------------------------------------------------------------------------ */

int sim_descriptor_open(struct sim_process *process, struct sim_descriptor *descriptor,
                        const struct sim_descriptor_ops *ops)
{
    for (int i = 0; i < SIM_DESCRIPTORS; i++)
        if (process->descriptors[i] == NULL) {
            process->descriptors[i] = descriptor;
            descriptor->ops = ops;
            descriptor->process = process;
            descriptor->number = SIM_FIRST_DESCRIPTOR + i;
            descriptor->watch = NULL;
            return 0;
        }
    return -EMFILE;
}

static void forget_number(struct sim_descriptor *descriptor)
{
    descriptor->process->descriptors[descriptor->number - SIM_FIRST_DESCRIPTOR] = NULL;
    descriptor->process = NULL;
    descriptor->watch = NULL;
}

int sim_descriptor_move(struct sim_descriptor *descriptor, struct sim_process *to)
{
    struct sim_descriptor moved = *descriptor;
    int rc = sim_descriptor_open(to, &moved, descriptor->ops);

    if (rc < 0)
        return rc;
    to->descriptors[moved.number - SIM_FIRST_DESCRIPTOR] = descriptor;
    forget_number(descriptor);
    *descriptor = moved;
    return 0;
}

void sim_descriptor_close(struct sim_descriptor *descriptor)
{
    forget_number(descriptor);
    descriptor->ops->close(descriptor);
}

struct sim_descriptor *sim_descriptor_of(struct sim_process *process, int number)
{
    int i = number - SIM_FIRST_DESCRIPTOR;

    return i < 0 || i >= SIM_DESCRIPTORS ? NULL : process->descriptors[i];
}

void sim_descriptor_ready(struct sim_descriptor *descriptor, unsigned events)
{
    descriptor->pending |= events;
}

static void tell_events(struct sim_process *process)
{
    for (int i = 0; i < SIM_DESCRIPTORS; i++) {
        struct sim_descriptor *descriptor = process->descriptors[i];
        unsigned events;

        if (descriptor == NULL || descriptor->watch == NULL || descriptor->pending == 0)
            continue;
        events = descriptor->pending;
        descriptor->pending = 0;
        descriptor->watch->ready(descriptor->watch, events);
    }
}

static bool has_events(const struct sim_process *process)
{
    for (int i = 0; i < SIM_DESCRIPTORS; i++)
        if (process->descriptors[i] != NULL && process->descriptors[i]->watch != NULL &&
            process->descriptors[i]->pending != 0)
            return true;
    return false;
}

/* --- the parent's view of an end -------------------------------------------------------------- */

struct exit_descriptor {
    struct sim_descriptor descriptor; /* first */
    struct sim_process *child;        /* NULL: it was reaped */
};

/* A process that has ended is kept until its parent has reaped it, or can't any more. */
static void maybe_free(struct sim_process *process)
{
    if (process->ended && (process->reaped || process->parent == NULL)) {
        yk_list_remove(&process->in_world);
        free(process);
    }
}

static void exit_descriptor_close(struct sim_descriptor *descriptor)
{
    struct exit_descriptor *exit = (struct exit_descriptor *)descriptor;

    if (exit->child != NULL)
        exit->child->exit_descriptor = NULL;
    free(exit);
}

static const struct sim_descriptor_ops exit_descriptor_ops = {.close = exit_descriptor_close};

static int open_exit_descriptor(struct sim_process *parent, struct sim_process *child)
{
    struct exit_descriptor *exit = calloc(1, sizeof *exit);
    int rc;

    if (exit == NULL)
        return -ENOMEM;
    rc = sim_descriptor_open(parent, &exit->descriptor, &exit_descriptor_ops);
    if (rc < 0) {
        free(exit);
        return rc;
    }
    exit->child = child;
    child->exit_descriptor = &exit->descriptor;
    return exit->descriptor.number;
}

/* --- life ------------------------------------------------------------------------------------- */

struct sim_process *sim_process_new(struct sim_world *world, struct sim_process *parent,
                                    unsigned machine, const struct sim_program *program)
{
    struct sim_process *process = calloc(1, sizeof *process);

    if (process == NULL)
        return NULL;
    process->host.ops = &process_ops;
    process->world = world;
    process->parent = parent;
    process->program = *program;
    process->machine = machine;
    process->pid = ++world->last_pid;
    yk_list_append(&world->processes, &process->in_world);
    return process;
}

/* Nobody sees anything of it any more: its connections end, its children lose their parent. */
static void vanish(struct sim_process *process, int status)
{
    process->status = status;
    for (int i = 0; i < SIM_DESCRIPTORS; i++)
        if (process->descriptors[i] != NULL)
            sim_descriptor_close(process->descriptors[i]);
    yk_list_for_each (node, &process->world->processes) {
        struct sim_process *child = yk_container_of(node, struct sim_process, in_world);

        if (child->parent != process)
            continue;
        child->parent = NULL;
        if (!child->ended && child->death_signal != 0)
            sim_process_signal(child, child->death_signal, NULL);
        maybe_free(child);
    }
    if (process->exit_descriptor != NULL)
        sim_descriptor_ready(process->exit_descriptor, YK_READABLE);
}

static void end_runtime(struct sim_process *process)
{
    struct yk_outside outside;
    struct yoke_runtime *runtime = process->runtime;
    int rc;

    yk_runtime_enter(runtime, &outside);
    rc = yk_runtime_free(runtime, outside.locus);
    yk_runtime_leave(&outside);
    process->runtime = NULL;
    rc = process->program.ended(process, rc);
    yk_assert(yoke_in_flight() == NULL);
    if (!process->ghost)
        vanish(process, rc << 8);
    process->ended = true;
    maybe_free(process);
}

static void begin(struct sim_process *process)
{
    struct yoke_run_opts opts = {
        .host = &process->host,
        .actor_name = process->program.name,
        .shuffle = true,
        .seed = yk_random_next(&process->world->random),
    };
    struct yk_outside outside = {yk_locus(), yk_wall_clock};

    process->task_program = (struct yk_program){
        .fn = process->program.fn,
        .arg = process->program.arg,
        .name = process->program.name,
        .site = YOKE_HERE,
    };
    process->runtime = yk_runtime_new(&process->task_program, &opts);
    yk_assert(process->runtime != NULL);
    process->runtime->guest = true; /* its polls do not wait, and the world knows of deadlocks */
    process->runtime->actor.pid = process->pid;
    if (process->program.begun != NULL)
        process->program.begun(process, process->program.arg);
    yk_runtime_leave(&outside);
}

static void turn(struct sim_process *process)
{
    struct sim_process *before = self;
    struct yk_outside outside;

    self = process;
    yk_runtime_enter(process->runtime, &outside);
    yk_sched_turn(process->runtime);
    yk_runtime_leave(&outside);
    self = before;
}

/* All that it waits for comes: connections end, children are gone. And it is cancelled. */
static void wake_ghost(struct sim_process *process, struct yk_watch **watches)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_OS,
        .kind = YOKE_CAUSE_SIGNAL,
        .reason = "its process was killed",
    };
    struct yk_outside outside;
    struct yoke_cause *cause;

    yk_runtime_enter(process->runtime, &outside);
    for (int i = 0; i < SIM_DESCRIPTORS; i++)
        if (watches[i] != NULL)
            watches[i]->ready(watches[i], YK_READABLE | YK_WRITABLE | YK_EXCEPTIONAL);
    cause = yk_cause_new(&spec);
    yk_runtime_cancel(process->runtime, cause);
    yoke_cause_unref(cause);
    yk_runtime_leave(&outside);
}

static void run_ghost(struct sim_process *process)
{
    struct yk_watch *watches[SIM_DESCRIPTORS] = {NULL};

    process->ghost = true;
    process->ghost_ns = process->world->now_ns;
    for (int i = 0; i < SIM_DESCRIPTORS; i++)
        if (process->descriptors[i] != NULL)
            watches[i] = process->descriptors[i]->watch;
    vanish(process, process->status);
    if (process->runtime == NULL) {
        process->ended = true;
        maybe_free(process);
        return;
    }
    wake_ghost(process, watches);
    for (int i = 0; process->runtime->root.child_count > 0; i++) {
        yk_assert(i < GHOST_TURNS);
        turn(process);
    }
    end_runtime(process);
}

bool sim_process_runnable(struct sim_process *process)
{
    struct yoke_runtime *runtime = process->runtime;

    if (process->ended || process->stopped)
        return false;
    return runtime == NULL || process->woken || process->signals_n > 0 || runtime->ready_n > 0 ||
           !yk_list_empty(&runtime->blocked_waiters) ||
           yk_timers_next(&runtime->timers) <= process->world->now_ns || has_events(process);
}

int64_t sim_process_next(struct sim_process *process)
{
    if (process->ended || process->stopped || process->runtime == NULL)
        return YOKE_NEVER;
    return yk_timers_next(&process->runtime->timers);
}

/* Those killed in a turn vanish when it has ended: a ghost can't run inside somebody's task. */
static void bury(struct sim_world *world)
{
    bool again;

    do {
        again = false;
        yk_list_for_each (node, &world->processes) {
            struct sim_process *process = yk_container_of(node, struct sim_process, in_world);

            if (WIFSIGNALED(process->status) && !process->ghost) {
                run_ghost(process);
                again = true;
                break; /* others may be gone with it */
            }
        }
    } while (again);
}

void sim_process_turn(struct sim_process *process)
{
    struct sim_world *world = process->world;

    if (process->runtime == NULL)
        begin(process);
    turn(process);
    if (!WIFSIGNALED(process->status) && process->runtime->root.child_count == 0)
        end_runtime(process);
    bury(world);
}

/* --- signals ---------------------------------------------------------------------------------- */

static void kill_now(struct sim_process *process, int number)
{
    process->status = number;
    process->stopped = false;
    if (self == NULL)
        run_ghost(process);
}

void sim_process_signal(struct sim_process *process, int number, const struct sim_process *sender)
{
    struct yoke_signal_info info = {.number = number};

    if (process->ended || process->ghost)
        return;
    if (sender != NULL)
        info.pid = sender->pid;
    if (number == SIGKILL || (process->runtime == NULL && number == SIGTERM))
        kill_now(process, number);
    else if (number == SIGSTOP)
        process->stopped = true;
    else if (number == SIGCONT)
        process->stopped = false;
    else if (process->signals_n < sizeof process->signals / sizeof *process->signals)
        process->signals[process->signals_n++] = info;
}

static void tell_signals(struct sim_process *process)
{
    struct yoke_signal_info signals[sizeof process->signals / sizeof *process->signals];
    unsigned n = process->signals_n;

    memcpy(signals, process->signals, n * sizeof *signals);
    process->signals_n = 0;
    for (unsigned i = 0; i < n; i++)
        if (process->program.signalled != NULL)
            process->program.signalled(process, &signals[i]);
}

/* --- its host --------------------------------------------------------------------------------- */

static int64_t process_now(struct yoke_host *host)
{
    const struct sim_process *process = sim_process_of(host);

    return process->ghost ? process->ghost_ns : process->world->now_ns;
}

static void process_entropy(struct yoke_host *host, void *data, size_t size)
{
    unsigned char *bytes = data;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)yk_random_next(&sim_process_of(host)->world->random);
}

static int process_poll(struct yoke_host *host, int64_t until_ns, bool external)
{
    struct sim_process *process = sim_process_of(host);
    int64_t next;

    (void)until_ns;
    yk_assert(!external); /* threads would make an order of their own */
    process->woken = false;
    if (process->ghost) {
        next = yk_timers_next(&process->runtime->timers);
        if (process->runtime->ready_n == 0 && next != YOKE_NEVER && next > process->ghost_ns)
            process->ghost_ns = next;
        return 0;
    }
    tell_signals(process);
    tell_events(process);
    return 0;
}

static void process_wake(struct yoke_host *host)
{
    sim_process_of(host)->woken = true;
}

static int process_watch_add(struct yoke_host *host, struct yk_watch *watch)
{
    struct sim_descriptor *descriptor = sim_descriptor_of(sim_process_of(host), watch->fd);

    if (descriptor == NULL)
        return -EBADF;
    if (descriptor->watch != NULL)
        return -EEXIST;
    descriptor->watch = watch;
    descriptor->pending |= YK_READABLE | YK_WRITABLE; /* whoever tries first finds out */
    return 0;
}

static void process_watch_remove(struct yoke_host *host, struct yk_watch *watch)
{
    struct sim_descriptor *descriptor = sim_descriptor_of(sim_process_of(host), watch->fd);

    if (descriptor != NULL && descriptor->watch == watch)
        descriptor->watch = NULL;
}

static int process_spawn(struct yoke_host *host, const struct yk_spawn *spawn,
                         struct yk_process *ret)
{
    (void)host;
    (void)spawn;
    (void)ret;
    return -ENOSYS; /* what would be executed? Programs of this world are functions: spawn.c */
}

static struct sim_process *child_of(struct sim_process *process, pid_t pid)
{
    yk_list_for_each (node, &process->world->processes) {
        struct sim_process *child = yk_container_of(node, struct sim_process, in_world);

        if (child->parent == process && child->pid == pid)
            return child;
    }
    return NULL;
}

static int process_reap(struct yoke_host *host, const struct yk_process *process,
                        struct yk_exit *ret)
{
    struct sim_process *child = child_of(sim_process_of(host), process->pid);

    if (sim_process_of(host)->ghost)
        return -ECHILD;
    if (child == NULL)
        return -ECHILD;
    if (!child->ended)
        return 0;
    memset(ret, 0, sizeof *ret);
    ret->status = child->status;
    child->reaped = true;
    if (child->exit_descriptor != NULL)
        ((struct exit_descriptor *)child->exit_descriptor)->child = NULL;
    maybe_free(child);
    return 1;
}

static int process_kill(struct yoke_host *host, const struct yk_process *process, int signal)
{
    struct sim_process *child = child_of(sim_process_of(host), process->pid);

    if (sim_process_of(host)->ghost || child == NULL)
        return -ESRCH;
    sim_process_signal(child, signal, sim_process_of(host));
    return 0;
}

static void process_free(struct yoke_host *host)
{
    (void)host; /* it is the process, which ends by itself */
}

static const struct yk_host_ops process_ops = {
    .name = "simulated",
    .now = process_now,
    .wall = process_now,
    .entropy = process_entropy,
    .poll = process_poll,
    .wake = process_wake,
    .watch_add = process_watch_add,
    .watch_remove = process_watch_remove,
    .spawn = process_spawn,
    .reap = process_reap,
    .kill = process_kill,
    .free = process_free,
};

int sim_process_adopt(struct sim_process *parent, struct sim_process *child, struct yk_process *ret)
{
    int rc = open_exit_descriptor(parent, child);

    if (rc < 0)
        return rc;
    *ret = (struct yk_process){.pid = child->pid, .pidfd = rc};
    return 0;
}
