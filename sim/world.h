/* SPDX-License-Identifier: MIT */
/*
 * The simulated world: one clock, a network, and processes whose runtimes take turns on one thread.
 * The runtimes are the real ones; a process here is what the kernel would be for one of them, given
 * to it as its host (host/host.h).
 *
 * Nothing happens but by a choice: whose turn it is, how long a message takes, where a write is
 * cut, what goes wrong. All choices are made by sim_choose, so one seed is one exact run, and a
 * list of choices too. Time moves when nobody wants a turn, or by choice: then somebody was slow.
 */
#ifndef YK_SIM_WORLD_H
#define YK_SIM_WORLD_H

#include <signal.h>

#include "host/host.h"
#include "task/task.h"

struct sim_process;

/* Something that happens at a time; owned by whoever schedules it. */
struct sim_event {
    struct yk_list node;
    int64_t at_ns;
    void (*run)(struct sim_event *event);
};

struct sim_world {
    int64_t now_ns;
    struct yk_random random;
    /* One of n > 1 ways to go on, as an index; NULL: at random. `what` names the choice. */
    unsigned (*choose)(void *arg, unsigned n, const char *what);
    void *choose_arg;
    struct yk_list events; /* by time */
    struct yk_list processes;
    pid_t last_pid;
    uint64_t turns;
    struct sim_limits {
        int64_t delay_ns;  /* of a message, at most */
        unsigned switches; /* of tasks in one turn, at most */
        uint64_t turns;    /* then the run does not end by itself */
    } limits;
};

void sim_world_init(struct sim_world *world, uint64_t seed);

/* Every process has to have ended. */
void sim_world_fini(struct sim_world *world);

/* 0 to n - 1. */
unsigned sim_choose(struct sim_world *world, unsigned n, const char *what);

/* Schedules an event at the earliest at a time; takes it out again. */
void sim_at(struct sim_world *world, struct sim_event *event, int64_t at_ns);
void sim_event_cancel(struct sim_event *event);

/*
 * Runs until no process is left. 0; -EDEADLK: those that are left wait for nothing that will come;
 * -ETIME: too many turns.
 */
int sim_run(struct sim_world *world);

#endif
