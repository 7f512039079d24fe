/* SPDX-License-Identifier: MIT */
/*
 * A census: what all tasks of a runtime do at one moment, copied, so that it can be told at
 * leisure. Taken by the runtime's own thread between two steps of whatever it does, or by another
 * one while the runtime's thread is stopped somewhere; then nothing that is read is trusted.
 */
#ifndef YK_TASK_CENSUS_H
#define YK_TASK_CENSUS_H

#include "task/task.h"

struct yk_census_scope {
    uint64_t id;
    const struct yoke_site *site;
    int64_t deadline_ns;      /* YOKE_NEVER: none */
    struct yoke_cause *cause; /* owned; NULL: nobody asked to cancel it */
    bool nursery;
    bool shield;
    bool effective; /* checkpoints in it raise Cancelled */
    char name[YK_TASK_NAME_MAX];
};

struct yk_census_task {
    uint64_t id;
    uint64_t nursery_id; /* id of the scope of the nursery it is a child of */
    const struct yoke_site *site;
    enum yk_task_state state;
    int64_t since_ns;
    struct yoke_error *in_flight; /* owned; NULL: none, or a Cancelled that nobody looked at, */
    struct yoke_cause *pending;   /* which has this cause; owned */
    const struct yk_census_scope *scopes; /* open ones, outermost first */
    size_t scopes_n;
    size_t stack_size;
    size_t stack_resident; /* bytes of it in memory: what it, or a task before it, has touched */
    size_t frames_n;
    void *frames[YK_BACKTRACE_MAX];
    char name[YK_TASK_NAME_MAX];
    char waiting_for[YK_WAIT_TEXT_MAX]; /* "" unless it is parked */
};

struct yk_census {
    struct yoke_actor_id actor;
    int64_t now_ns;
    bool with_stacks; /* stack_resident is known */
    uint64_t current; /* id of the task that runs; 0: the scheduler does */
    size_t task_n;    /* of the runtime; those that found no room are only counted here */
    struct yk_census_task *tasks;
    size_t tasks_n;
    size_t tasks_max;
    struct yk_census_scope *scopes;
    size_t scopes_n;
    size_t scopes_max;
    uint64_t root_id; /* of the scope around all */
    void *memory;
    size_t memory_size;
    bool outside;
};

/* Where the task that runs is. */
struct yk_whereabouts {
    const void *frame;   /* of the function that runs; NULL: only `frames` are known */
    void *const *frames; /* its own backtrace, if somebody has taken it already */
    size_t frames_n;
};

/* Makes room, for up to tasks_max tasks (0: YK_DUMP_TASKS_MAX). 0 or -ENOMEM. */
int yk_census_init(struct yk_census *census, size_t tasks_max);

/* Takes it on the runtime's own thread. `here` is of the calling task; NULL on the loop's stack. */
void yk_census_take(struct yk_census *census, struct yoke_runtime *runtime,
                    const struct yk_whereabouts *here);

/*
 * Takes it on another thread, while that of the runtime does not run. Calls nothing that allocates
 * or locks, since that thread may be in the middle of either; memory is read by way of the kernel,
 * so that no pointer can be a bad one. false: what it found was in the middle of a change, or can't
 * be read. `now_ns` is the time.
 */
bool yk_census_take_outside(struct yk_census *census, const struct yoke_runtime *runtime,
                            const struct yk_whereabouts *here, int64_t now_ns);

/* The same of the task that runs alone, which is then the only one; false also if none does. */
bool yk_census_take_current_outside(struct yk_census *census, const struct yoke_runtime *runtime,
                                    const struct yk_whereabouts *here, int64_t now_ns);

/* Forgets what was taken, for another try; not while the runtime is stopped. */
void yk_census_clear(struct yk_census *census);
void yk_census_fini(struct yk_census *census);

/* Copies memory of this process that may not be there. false if it is not. */
bool yk_peek(void *to, const void *from, size_t size);

#endif
