/* SPDX-License-Identifier: MIT */
/*
 * Tasks and their runtime inside the library: the structs, parking and waking, and the few named
 * hooks for the layers above (slots, external completions, the runtime's own nurseries).
 *
 * All of a runtime is touched by its thread alone, but for yk_post and what it names.
 */
#ifndef YK_TASK_TASK_H
#define YK_TASK_TASK_H

#include <yoke/nursery.h>
#include <yoke/parking_lot.h>
#include <yoke/runtime.h>
#include <yoke/select.h> /* struct yk_wait: cases of a select contain some */

#include "base/list.h"
#include "base/random.h"
#include "error/error.h"
#include "host/host.h"
#include "task/coro.h"
#include "task/stack.h"
#include "task/timer.h"

enum yk_task_state { YK_TASK_READY = 1, YK_TASK_RUNNING, YK_TASK_PARKED, YK_TASK_DONE };

struct yk_task;
struct yoke_instrument;

/*
 * Called when a parked task is to be cancelled. true: the wait is undone and had no effect; the
 * task then wakes with YOKE_CANCELLED. false: refused, it sleeps on and will be woken by its waker.
 */
typedef bool (*yk_abort_fn)(struct yk_task *task, void *arg);

/* The handshake of yoke_start, in the frame of the starter. */
struct yk_start_handshake {
    struct yoke_nursery *starting; /* where the child is until it has started */
    struct yoke_nursery *target;
    void *value;
    bool done;
};

enum { YK_TASK_LOCALS = 2 };
enum { YK_LOCAL_CONTEXT = 0 }; /* the context whose endpoint or body runs; actor layer */

/*
 * In the order of use: where tasks are many, each line of each of them comes from memory. The first
 * two lines hold what a wake and a resumption need, the third what an end needs besides; only a
 * backtrace that is kept, and what a spawn writes, lie behind.
 */
struct yk_task { /* at the top of its own stack */
    struct yk_coro coro;
    struct yoke_runtime *runtime;
    struct yoke_scope *scope; /* innermost */
    struct yk_list in_scope;  /* in scope->tasks */
    struct yoke_nursery *nursery;
    enum yk_task_state state : 8;
    bool owes; /* one of held, bindings and kept_cause was set: all are looked at in the end */
    int wake_rc;
    union {
        struct { /* until it is entered */
            yoke_task_fn fn;
            void *arg;
        };
        struct { /* while it is parked */
            yk_abort_fn abort;
            void *abort_arg;
        };
    };
    const char *waiting_for; /* while parked: static, or in its frame, < YK_WAIT_TEXT_MAX */
    int64_t since_ns;        /* when it parked, by the clock of that turn */
    struct yk_locus locus;
    struct yk_held *held;          /* what it must give back before it ends; parking_lot.c */
    struct yk_binding *bindings;   /* of task-locals, innermost first; local.c */
    struct yoke_cause *kept_cause; /* of the last cancelled scope it closed */
    const struct yoke_site *site;  /* where it was spawned */
    struct yk_start_handshake *handshake;
    void *locals[YK_TASK_LOCALS];    /* inherited by tasks spawned from it */
    char own_name[YK_TASK_NAME_MAX]; /* only a name given at run time is here */
} __attribute__((aligned(YK_CACHE_LINE)));

/* Something that completes outside the runtime's thread. */
struct yk_post {
    struct yk_post *next;
    void (*run)(struct yk_post *post); /* on the scheduler's stack of the runtime's thread */
};

/* Something to be done once at the end of the loop's turn, before it waits for the world. */
struct yk_turn_end {
    struct yk_list node;                  /* in the runtime's list while it is to be done */
    void (*run)(struct yk_turn_end *end); /* on the scheduler's stack; may wake tasks */
};

/* Ended in this order. What jobs in threads come back to is behind the threads. */
enum yk_slot {
    YK_SLOT_FDS,
    YK_SLOT_HANDLE,
    YK_SLOT_THREADS,
    YK_SLOT_PRINT,
    YK_SLOT_LOOKUPS,
    YK_SLOT_SIGNALS,
    YK_SLOT_ACTOR,
    YK_SLOT_WATCH,
    YK_SLOTS,
};

/* What a runtime is made to run. */
struct yk_program {
    yoke_task_fn fn;
    void *arg;
    const char *name;
    const struct yoke_site *site;
};

/* What scope->magic says; checked also by who looks at scopes from outside. */
enum { YK_SCOPE_OPEN = 0x53c09e01, YK_SCOPE_CLOSED = 0x53c09e02 };

struct yoke_runtime {
    struct yoke_host *host;
    struct yk_coro loop; /* the scheduler itself: the stack of yoke_run's caller */
    struct yk_locus loop_locus;
    struct yk_task *current; /* NULL: the loop runs */
    struct yk_task *
        *ready;            /* ring; as many places as there are tasks, so that waking never fails */
    size_t ready_capacity; /* a power of two */
    size_t ready_first;
    size_t ready_n;
    unsigned switches_left;
    unsigned budget; /* calls of `current` that may still complete at once before others run */
    uint64_t turns;  /* with switches_left: changes whenever another task gets the thread */
    bool now_valid;
    int64_t now_ns;
    struct yk_timers timers;
    struct yk_stacks stacks;
    size_t task_n;
    uint64_t next_id;
    bool shuffle;
    struct yk_random random;
    uint64_t seed;
    struct yk_list turn_ends;
    struct yk_list blocked_waiters;  /* yoke_wait_all_tasks_blocked; links in their frames */
    size_t io_waits;                 /* waits that the poller may end */
    _Atomic(struct yk_post *) posts; /* newest first; pushed by any thread */
    size_t external;                 /* posts that will still come */
    _Atomic size_t callers;          /* handles by which posts may come; set by any thread */
    bool ending;                     /* the program's own tasks are done */
    const void *thread;              /* yk_thread_mark() of its thread */
    bool deadlock_reported;
    bool guest; /* its polls do not wait, and there is no deadlock: see guest.c */
    struct yoke_cause *early_cancel;                  /* asked for before `main` was there; owned */
    void (*on_deadlock)(void *arg, const char *tree); /* NULL: it goes to stderr */
    void *deadlock_arg;
    const struct yoke_instrument *instrument; /* or NULL */
    /* Told when scopes inside others may see another deadline; or NULL. Of the actor layer. */
    void (*deadlines_moved)(struct yoke_runtime *runtime);
    struct yoke_error *result; /* of the init task */
    int result_rc;
    struct yk_task *dead;        /* ended, its stack not yet given back */
    struct yoke_nursery root;    /* of the init task, which owns the two below */
    struct yoke_nursery *system; /* outlives the main task: signal watching and the like */
    struct yoke_nursery *main;   /* around the main task: services end with it */
    struct yoke_actor_id actor;
    struct {
        void *data;
        void (*stop)(void *data); /* in the init task, before `system` is ended; or NULL */
        void (*fini)(void *data);
    } slots[YK_SLOTS];
    /* a call that is to run on the loop's stack, for the task `current` */
    void (*big_stack_fn)(void *arg);
    void *big_stack_arg;
};

extern __thread struct yoke_runtime *yk_runtime_current; /* NULL: none on this thread */

/* Tells the calling thread from all others that live. */
static inline const void *yk_thread_mark(void)
{
    return &yk_runtime_current;
}

/* The calling task, or NULL. */
static inline struct yk_task *yk_task_self_or_null(void)
{
    struct yoke_runtime *runtime = yk_runtime_current;

    return runtime != NULL ? runtime->current : NULL;
}

/* The calling task. Outside a runtime this is misuse of `call`, and aborts. */
_Noreturn void yk_outside_task(const char *call);
static inline struct yk_task *yk_task_self(const char *call)
{
    struct yk_task *task = yk_task_self_or_null();

    if (__builtin_expect(task == NULL, 0))
        yk_outside_task(call);
    return task;
}

/* Raises Cancelled in a task that is being cancelled. Returns YOKE_CANCELLED. */
int yk_deliver(struct yk_task *task);

/*
 * Raises the Cancelled that is visible in `scope`, or in the first scope around it in which one is,
 * whatever shields are between: for work that it has ended before they were put up. 0: there is
 * none.
 */
int yk_deliver_beyond(struct yk_task *task, struct yoke_scope *scope);

/*
 * The start of each blocking call: 0, or YOKE_CANCELLED with a Cancelled raised if the task is
 * being cancelled. What the call does after that must not fail for cancellation unless it parks.
 */
static inline int yk_check_cancelled(struct yk_task *task)
{
    return __builtin_expect(task->scope->effective, 0) ? yk_deliver(task) : 0;
}

/*
 * Blocks the calling task until yk_wake. Returns the rc given there, or YOKE_CANCELLED with the
 * Cancelled in flight after `abort` said true. abort NULL: can't be cancelled.
 */
int yk_park(struct yk_task *task, const char *waiting_for, yk_abort_fn abort, void *arg);

/* Makes a parked task ready; it must be parked. Never fails, never switches. */
void yk_wake(struct yk_task *task, int rc);

/* Puts the calling task behind the other ready ones. */
void yk_yield(struct yk_task *task);

/* The end of a blocking call that completed at once: lets others run when the budget is used up. */
static inline void yk_completed_at_once(struct yk_task *task)
{
    if (__builtin_expect(--task->runtime->budget == 0, 0))
        yk_yield(task);
}

int64_t yk_now(struct yoke_runtime *runtime);

/*
 * Waits in a queue of yk_wait; cancellable. The waker pops the node and calls yk_wake_wait. `data`
 * is for the waker.
 */
int yk_wait_in(struct yk_list *queue, const char *waiting_for, void *data);

/* The same by a wait of the caller's, whose `data` a waker may have changed when this returns. */
int yk_wait_by(struct yk_list *queue, const char *waiting_for, struct yk_wait *wait);

/* Wakes the task of a wait that was popped. If the wait is a case of a select, it has won it. */
static inline void yk_wake_wait(struct yk_wait *wait, int rc)
{
    if (__builtin_expect(wait->claimed != NULL, 0))
        wait->claimed(wait);
    yk_wake(wait->task, rc);
}

/* Wakes the first in such a queue with `rc`; false if there is none. */
bool yk_wake_first(struct yk_list *queue, int rc);

/* How many wait in such a queue. */
size_t yk_waiting_in(const struct yk_list *queue);

/* The queues of a channel, for select; `data` of a wait is its item. */
struct yk_list *yk_channel_senders(struct yoke_channel *channel);
struct yk_list *yk_channel_receivers(struct yoke_channel *channel);

/* Breaks a lot in the name of a task. */
void yk_parking_lot_break(struct yoke_parking_lot *lot, struct yk_task *task);

/* Raises that the lot in which a case of a select waited is broken. Returns -EOWNERDEAD. */
int yk_select_broken(const struct yoke_select_case *c);

/* As yoke_limiter_release, of a token that was not borrowed by a task; also outside of one. */
struct yoke_token;
void yk_limiter_take_back(struct yoke_token *token);

/* What a task must give back before it ends. Adding it twice, or removing it unheld, is a bug. */
void yk_hold_add(struct yk_task *task, struct yk_held *held);
void yk_hold_remove(struct yk_held *held);

/*
 * The function of a task has returned `rc`: what it holds still is taken from it. Returns rc, or
 * the code of an error raised about that.
 */
int yk_give_back(struct yk_task *task, int rc);

/* Task-locals: what a task spawned by `task` starts with; the end of a task's own. */
struct yk_binding *yk_bindings_inherit(struct yk_task *task);
void yk_bindings_end(struct yk_task *task);

/* The scheduler's loop until the root nursery is empty; on the stack of yoke_run's caller. */
void yk_sched_loop(struct yoke_runtime *runtime);
void yk_sched_turn(struct yoke_runtime *runtime); /* once: a poll, and what is ready */
void yk_sched_on_big_stack(void (*fn)(void *arg), void *arg);

/* Runs end->run at the end of this turn, once however often it is asked for. */
static inline void yk_at_turn_end(struct yoke_runtime *runtime, struct yk_turn_end *end)
{
    if (yk_list_empty(&end->node))
        yk_list_append(&runtime->turn_ends, &end->node);
}

/*
 * A runtime whose init task is ready, current on the calling thread; its host is in `opts`. NULL
 * with an error raised. `program` is borrowed until it is freed.
 */
struct yoke_runtime *yk_runtime_new(const struct yk_program *program,
                                    const struct yoke_run_opts *opts);

/* All its tasks are done: puts its result in flight at the caller, and returns it. */
int yk_runtime_free(struct yoke_runtime *runtime, struct yk_locus *caller);

/* Cancels the program, or has it cancelled when it begins. On the loop's stack or in a task. */
void yk_runtime_cancel(struct yoke_runtime *runtime, struct yoke_cause *cause);
int64_t yk_runtime_wall_clock(void); /* of the current one's host */

/*
 * For a loop that gives several runtimes turns on one thread: makes this one current, and then what
 * was before. guest.c
 */
struct yk_outside {
    struct yk_locus *locus;
    int64_t (*wall_clock)(void);
};
void yk_runtime_enter(struct yoke_runtime *runtime, struct yk_outside *outside);
void yk_runtime_leave(const struct yk_outside *outside);

/* The runtime of a guest. */
struct yoke_guest;
struct yoke_runtime *yk_guest_runtime(struct yoke_guest *guest);

/* A random UUID as text, from the runtime's entropy. */
enum { YK_UUID_SIZE = 37 };
void yk_uuid_new(struct yoke_runtime *runtime, char *text);

/* From any thread: runs post->run on the runtime's thread soon. */
void yk_post(struct yoke_runtime *runtime, struct yk_post *post);
void yk_run_posts(struct yoke_runtime *runtime); /* those that have come */

/*
 * Creates a task in a nursery. `name` is copied, or with NULL it is `fn_name`, which is static. 0
 * or -ENOMEM with an error raised.
 */
int yk_task_new(struct yoke_nursery *nursery, const struct yoke_site *site, yoke_task_fn fn,
                const char *fn_name, const char *name, void *arg, struct yk_task **ret_task);

/*
 * All tasks of a runtime, one after another: those of a scope, then those of the scopes in it. NULL
 * begins, NULL ends; tasks must neither begin nor end meanwhile.
 */
struct yk_task *yk_task_after(struct yoke_runtime *runtime, struct yk_task *task);

static inline const char *yk_task_name(const struct yk_task *task)
{
    return task->locus.task_name;
}

/* As yoke_why, for any task. */
const struct yoke_cause *yk_task_why(const struct yk_task *task);

/* Recomputes what of a scope is being cancelled, and cancels tasks that have become so. */
void yk_scope_update(struct yoke_scope *scope);

/* Opens and closes a scope for the given task; what nurseries and scopes share. */
void yk_scope_enter(struct yoke_scope *scope, struct yk_task *task, const char *name,
                    const struct yoke_site *site, bool shield);
void yk_scope_leave(struct yoke_scope *scope);

/* The scope with the earliest deadline that is visible from `scope`; NULL: there is none. */
struct yoke_scope *yk_scope_nearest_deadline(struct yoke_scope *scope);
/* A new cause, as it would be if its deadline expired now. */
struct yoke_cause *yk_scope_deadline_cause(const struct yoke_scope *scope);

/* It has caught a Cancelled. Returns what close then gives: 0, or an error for being late. */
int yk_scope_caught(struct yoke_scope *scope);

/* Deadlines given at its opening; 0: none. */
int yk_scope_set_deadlines(struct yoke_scope *scope, int64_t timeout_ns, int64_t deadline_ns);
static inline int yk_scope_deadlines(struct yoke_scope *scope, int64_t timeout_ns,
                                     int64_t deadline_ns)
{
    if (__builtin_expect(timeout_ns == 0 && deadline_ns == 0, 1))
        return 0;
    return yk_scope_set_deadlines(scope, timeout_ns, deadline_ns);
}

/* Misuse unless `scope` is open and the calling task's innermost one. */
void yk_scope_check_innermost(const struct yoke_scope *scope, struct yk_task *task,
                              const struct yoke_site *here);

/* Cancels with a ready cause made from `spec`, whose scope is filled in here. */
void yk_scope_cancel_with(struct yoke_scope *scope, struct yk_cause_spec *spec);
/* Cancels with a request that came from elsewhere; same id. */
void yk_scope_cancel_cause(struct yoke_scope *scope, const struct yoke_cause *cause);

/* A cause whose requester is not what runs now, but `who`. */
struct yoke_cause *yk_cause_new_as(struct yk_locus *who, const struct yk_cause_spec *spec);

/* What leaves a body: takes its unhandled failure out of flight, NULL if it has none. */
struct yoke_error *yk_take_body_failure(struct yk_task *task, const struct yoke_error *at_open,
                                        int rc, const struct yoke_site *site);
static inline struct yoke_error *yk_body_failure(struct yk_task *task,
                                                 const struct yoke_error *at_open, int rc,
                                                 const struct yoke_site *site)
{
    if (__builtin_expect(rc >= 0 && !yk_flight_any(&task->locus), 1))
        return NULL;
    return yk_take_body_failure(task, at_open, rc, site);
}

/* A child task has ended with `rc`, and what it has in flight. */
void yk_nursery_child_done(struct yoke_nursery *nursery, struct yk_task *task, int rc);

#endif
