/* SPDX-License-Identifier: MIT */
/*
 * A process of the simulated world: a host for one runtime, descriptors, signals, an end that its
 * parent can wait for.
 *
 * One that is killed vanishes for all others at once: its connections end, its parent can reap it.
 * Its memory has to be given back all the same, and that only its own tasks can do. So they are
 * cancelled and run to their end as a ghost: with a clock of their own, and without any effect on
 * the world, since all its descriptors are dead.
 */
#ifndef YK_SIM_PROCESS_H
#define YK_SIM_PROCESS_H

#include "sim/world.h"

enum { SIM_DESCRIPTORS = 64, SIM_FIRST_DESCRIPTOR = 1000 };

struct sim_descriptor;

/* What a kind of descriptor does when it is closed, also by the end of its process. */
struct sim_descriptor_ops {
    void (*close)(struct sim_descriptor *descriptor);
};

/* Base of all that has a number in a process. */
struct sim_descriptor {
    const struct sim_descriptor_ops *ops;
    struct sim_process *process; /* NULL: closed */
    int number;
    struct yk_watch *watch; /* the runtime's, or NULL */
    unsigned pending;       /* events not told yet */
};

/* What a process runs. */
struct sim_program {
    const char *name;
    yoke_task_fn fn;
    void *arg;
    /* Its runtime is there, and no task has run. */
    void (*begun)(struct sim_process *process, void *arg);
    /* A signal has come that does not end a process by itself; on the loop's stack. */
    void (*signalled)(struct sim_process *process, const struct yoke_signal_info *info);
    /* The status that it exits with; what it failed with is in flight, and taken here. */
    int (*ended)(struct sim_process *process, int rc);
};

struct sim_process {
    struct yoke_host host; /* of its runtime; first */
    struct sim_world *world;
    struct yk_list in_world;
    struct sim_process *parent; /* NULL: a root, or its parent has ended */
    struct sim_program program;
    struct yk_program task_program; /* the same, for its runtime */
    unsigned machine;
    pid_t pid;
    int death_signal;
    struct yoke_runtime *runtime; /* NULL: not begun, or has ended */
    struct sim_descriptor *descriptors[SIM_DESCRIPTORS];
    struct sim_descriptor *exit_descriptor; /* the parent's, or NULL */
    struct yoke_signal_info signals[16];
    unsigned signals_n;
    int64_t ghost_ns; /* the clock of a ghost */
    bool woken, stopped, ended, ghost, reaped;
    int status; /* as of waitpid */
};

/*
 * Makes a process that will run a program, beginning with its first turn. `parent` may be NULL.
 * NULL: no memory.
 */
struct sim_process *sim_process_new(struct sim_world *world, struct sim_process *parent,
                                    unsigned machine, const struct sim_program *program);

/*
 * Lets a process wait for the end of its child: like a pidfd. 0 and the process as a supervisor
 * knows it; -EMFILE, -ENOMEM.
 */
int sim_process_adopt(struct sim_process *parent, struct sim_process *child,
                      struct yk_process *ret);

/* The process whose runtime runs a task now, or is stepped. */
struct sim_process *sim_process_self(void);
static inline struct sim_process *sim_process_of(struct yoke_host *host)
{
    return (struct sim_process *)host;
}

/* Whether it wants a turn now; gives it one. */
bool sim_process_runnable(struct sim_process *process);
void sim_process_turn(struct sim_process *process);
/* When it wants one at the latest; YOKE_NEVER. */
int64_t sim_process_next(struct sim_process *process);

/* As kill(2), from `sender` (NULL: the kernel). Of a process that has ended: nothing. */
void sim_process_signal(struct sim_process *process, int number, const struct sim_process *sender);

/* Gives a descriptor the next number in a process. -EMFILE. */
int sim_descriptor_open(struct sim_process *process, struct sim_descriptor *descriptor,
                        const struct sim_descriptor_ops *ops);
/* Hands a descriptor over to another process, under a number of its own. -EMFILE. */
int sim_descriptor_move(struct sim_descriptor *descriptor, struct sim_process *to);
void sim_descriptor_close(struct sim_descriptor *descriptor);
/* NULL: no such number. */
struct sim_descriptor *sim_descriptor_of(struct sim_process *process, int number);
/* Events have come: they are told in the process's next turn. */
void sim_descriptor_ready(struct sim_descriptor *descriptor, unsigned events);

#endif
