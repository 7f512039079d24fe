/* SPDX-License-Identifier: MIT */
/*
 * The scheduler: ready ring, switching, parking, the loop.
 *
 * A task that stops running picks its successor and switches to it directly; the loop, on the
 * stack of yoke_run's caller, gets its turn when nothing is ready or after YK_SWITCHES_PER_TURN
 * switches, and then looks at descriptors and timers. The clock is read once per such turn.
 *
 * Invariants: a task is in the ready ring exactly while its state is READY; the ring has room for
 * all tasks; `current` is RUNNING. A dead task's stack is given back by whoever runs next, since
 * nobody can free the stack he stands on.
 */
#include "task/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/dump.h"
#include "task/instrument.h"

enum { PREFETCH_FROM = 64, PREFETCH_AHEAD = 4, PREFETCH_FRAMES = 6, PREFETCH_TASK = 3 };

__thread struct yoke_runtime *yk_runtime_current;

_Noreturn void yk_outside_task(const char *call)
{
    yk_misuse(NULL, NULL, NULL,
              "%s called outside a task: it must run inside yoke_run or yoke_main", call);
}

int64_t yk_now(struct yoke_runtime *runtime)
{
    if (!runtime->now_valid) {
        runtime->now_ns = runtime->host->ops->now(runtime->host);
        runtime->now_valid = true;
    }
    return runtime->now_ns;
}

/* Grows the ring to hold one more task than now. 0 or -ENOMEM. */
static int reserve_ready(struct yoke_runtime *runtime)
{
    size_t capacity = runtime->ready_capacity == 0 ? 64 : runtime->ready_capacity * 2;
    struct yk_task **ready;

    if (runtime->task_n < runtime->ready_capacity)
        return 0;
    ready = yk_malloc(capacity * sizeof(*ready));
    if (ready == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < runtime->ready_n; i++)
        ready[i] = runtime->ready[(runtime->ready_first + i) & (runtime->ready_capacity - 1)];
    free(runtime->ready);
    runtime->ready = ready;
    runtime->ready_first = 0;
    runtime->ready_capacity = capacity;
    return 0;
}

static inline void push_ready(struct yoke_runtime *runtime, struct yk_task *task)
{
    size_t mask = runtime->ready_capacity - 1;

    runtime->ready[(runtime->ready_first + runtime->ready_n++) & mask] = task;
    task->state = YK_TASK_READY;
}

/*
 * With many ready tasks their stacks are cold. Those that run soon are fetched meanwhile: the task,
 * and below it the frames that it is parked in.
 */
static void prefetch_soon(const struct yoke_runtime *runtime)
{
    size_t mask = runtime->ready_capacity - 1;
    const char *soon = (char *)runtime->ready[(runtime->ready_first + PREFETCH_AHEAD) & mask];

    for (int line = -PREFETCH_FRAMES; line < PREFETCH_TASK; line++)
        __builtin_prefetch(soon + line * YK_CACHE_LINE, 1);
}

static inline struct yk_task *pop_ready(struct yoke_runtime *runtime)
{
    size_t mask = runtime->ready_capacity - 1;
    struct yk_task **first = &runtime->ready[runtime->ready_first];
    struct yk_task *task = *first;

    if (__builtin_expect(runtime->ready_n > PREFETCH_FROM, 0))
        prefetch_soon(runtime);

    if (__builtin_expect(runtime->shuffle, 0)) {
        size_t i = yk_random_next(&runtime->random) % runtime->ready_n;
        struct yk_task **drawn = &runtime->ready[(runtime->ready_first + i) & mask];

        task = *drawn;
        *drawn = *first;
    }
    runtime->ready_first = (runtime->ready_first + 1) & mask;
    runtime->ready_n--;
    return task;
}

static void free_dead(struct yoke_runtime *runtime)
{
    struct yk_task *dead = runtime->dead;

    if (__builtin_expect(dead == NULL, 1))
        return;
    runtime->dead = NULL;
    yk_coro_fini(&dead->coro);
    yk_stack_put(&runtime->stacks, dead->locus.stack_low, (char *)dead + sizeof *dead);
}

static inline void become(struct yoke_runtime *runtime, struct yk_task *task)
{
    runtime->current = task;
    task->state = YK_TASK_RUNNING;
    runtime->budget = YK_CHECKPOINT_BUDGET;
    yk_locus_current = &task->locus;
}

/*
 * Switches from the calling task, which is parked, ready or done, to whoever is next. Inlined, so
 * that a task which ends leaves the processor's return predictor as it found it.
 */
__attribute__((always_inline)) static inline void switch_away(struct yk_task *task, bool last)
{
    struct yoke_runtime *runtime = task->runtime;
    struct yk_coro *to = &runtime->loop;

    if (runtime->ready_n > 0 && runtime->switches_left > 0) {
        struct yk_task *next = pop_ready(runtime);

        runtime->switches_left--;
        become(runtime, next);
        if (next == task)
            return;
        to = &next->coro;
    } else {
        runtime->current = NULL;
        yk_locus_current = &runtime->loop_locus;
    }
    yk_coro_switch(&task->coro, to, last);
    free_dead(runtime);
}

void yk_yield(struct yk_task *task)
{
    struct yoke_runtime *runtime = task->runtime;

    push_ready(runtime, task);
    switch_away(task, false);
}

int yk_park(struct yk_task *task, const char *waiting_for, yk_abort_fn abort, void *arg)
{
    yk_assert(task->state == YK_TASK_RUNNING);
    /* Cancelled before it parks: nobody would tell it again. */
    if (abort != NULL && task->scope->effective && abort(task, arg))
        return yk_deliver(task);
    task->state = YK_TASK_PARKED;
    task->waiting_for = waiting_for;
    task->since_ns = task->runtime->now_ns;
    task->abort = abort;
    task->abort_arg = arg;
    yk_event_parked(task);
    switch_away(task, false);
    task->abort = NULL;
    if (task->locus.pending != NULL)
        yk_flight_locate_pending(&task->locus, __builtin_frame_address(0));
    return task->wake_rc;
}

void yk_wake(struct yk_task *task, int rc)
{
    yk_assert(task->state == YK_TASK_PARKED);
    task->wake_rc = rc;
    task->abort = NULL;
    yk_event_woken(task, rc);
    push_ready(task->runtime, task);
}

static bool abort_wait(struct yk_task *task, void *arg)
{
    struct yk_wait *wait = arg;

    (void)task;
    yk_list_remove(&wait->node);
    return true;
}

int yk_wait_by(struct yk_list *queue, const char *waiting_for, struct yk_wait *wait)
{
    yk_list_append(queue, &wait->node);
    return yk_park(wait->task, waiting_for, abort_wait, wait);
}

int yk_wait_in(struct yk_list *queue, const char *waiting_for, void *data)
{
    struct yk_wait wait = {.task = yk_runtime_current->current, .data = data};

    return yk_wait_by(queue, waiting_for, &wait);
}

bool yk_wake_first(struct yk_list *queue, int rc)
{
    struct yk_list *node = yk_list_pop(queue);

    if (node == NULL)
        return false;
    yk_wake_wait(yk_container_of(node, struct yk_wait, node), rc);
    return true;
}

size_t yk_waiting_in(const struct yk_list *queue)
{
    size_t n = 0;

    for (const struct yk_list *node = queue->next; node != queue; node = node->next)
        n++;
    return n;
}

/* Its function has returned `rc`: what it has still is taken from it. */
static int settle(struct yk_task *task, int rc)
{
    if (task->held != NULL)
        rc = yk_give_back(task, rc);
    if (task->bindings != NULL)
        yk_bindings_end(task);
    yoke_cause_unref(task->kept_cause);
    task->kept_cause = NULL;
    return rc;
}

/* The first frame of every task, on its own stack. */
static void task_entry(void *arg)
{
    struct yk_task *task = arg;
    struct yoke_runtime *runtime = task->runtime;
    int rc;

    yk_coro_entered(&task->coro);
    free_dead(runtime);
    rc = task->fn(task->arg);
    if (__builtin_expect(task->owes, 0))
        rc = settle(task, rc);
    if (task->scope != &task->nursery->scope)
        yk_misuse(task->site, "scope opened at", task->scope->site,
                  "task %s ended with scope \"%s\" open", yk_task_name(task), task->scope->name);
    if (task->locus.hold != NULL)
        yk_misuse(task->site, "hold at", task->locus.hold->site, "task %s ended inside yoke_hold",
                  yk_task_name(task));
    yk_event_exited(task, rc);
    yk_list_remove(&task->in_scope);
    yk_nursery_child_done(task->nursery, task, rc);
    runtime->task_n--;
    task->state = YK_TASK_DONE;
    runtime->dead = task;
    switch_away(task, true);
    __builtin_unreachable();
}

static void inherit_bindings(struct yk_task *task, struct yk_task *parent)
{
    task->bindings = yk_bindings_inherit(parent);
    task->owes = true;
}

int yk_task_new(struct yoke_nursery *nursery, const struct yoke_site *site, yoke_task_fn fn,
                const char *fn_name, const char *name, void *arg, struct yk_task **ret_task)
{
    struct yoke_runtime *runtime = yk_runtime_current;
    struct yk_task *parent = runtime->current;
    struct yk_task *task;
    char *low, *high;

    if (reserve_ready(runtime) < 0 || yk_stack_get(&runtime->stacks, &low, &high) < 0)
        return yoke_raise_at(site, NULL, "yoke.Spawn", ENOMEM,
                             "no memory for the stack of task %s (%zu tasks run)",
                             name != NULL ? name : fn_name, runtime->task_n);
    task = (struct yk_task *)(void *)(high - sizeof *task);
    memset(task, 0, offsetof(struct yk_task, locus.pending_frames_n));
    task->runtime = runtime;
    task->nursery = nursery;
    task->scope = &nursery->scope;
    task->held = NULL;
    task->bindings = NULL;
    task->kept_cause = NULL;
    task->fn = fn;
    task->arg = arg;
    task->site = site;
    task->handshake = NULL;
    task->locus.task_id = ++runtime->next_id;
    task->locus.task_name = fn_name;
    if (name != NULL) {
        YK_TEXT_COPY(task->own_name, name);
        task->locus.task_name = task->own_name;
    }
    task->locus.actor = &runtime->actor;
    task->locus.stack_low = low;
    task->locus.stack_high = high;
    if (parent != NULL) {
        memcpy(task->locals, parent->locals, sizeof task->locals);
        if (__builtin_expect(parent->bindings != NULL, 0))
            inherit_bindings(task, parent);
    } else {
        memset(task->locals, 0, sizeof task->locals);
    }
    yk_coro_init(&task->coro, low, (char *)task, task_entry, task);
    yk_list_append(&nursery->scope.tasks, &task->in_scope);
    nursery->child_count++;
    runtime->task_n++;
    push_ready(runtime, task);
    yk_event_spawned(task);
    *ret_task = task;
    return 0;
}

/* In preorder; NULL after the last. */
static struct yoke_scope *scope_after(struct yoke_scope *scope)
{
    if (!yk_list_empty(&scope->children))
        return yk_container_of(scope->children.next, struct yoke_scope, sibling);
    while (scope->parent != NULL && scope->sibling.next == &scope->parent->children)
        scope = scope->parent;
    return scope->parent == NULL ? NULL
                                 : yk_container_of(scope->sibling.next, struct yoke_scope, sibling);
}

struct yk_task *yk_task_after(struct yoke_runtime *runtime, struct yk_task *task)
{
    struct yoke_scope *scope = task == NULL ? &runtime->root.scope : task->scope;
    struct yk_list *next = task == NULL ? scope->tasks.next : task->in_scope.next;

    while (next == &scope->tasks) {
        scope = scope_after(scope);
        if (scope == NULL)
            return NULL;
        next = scope->tasks.next;
    }
    return yk_container_of(next, struct yk_task, in_scope);
}

void yk_post(struct yoke_runtime *runtime, struct yk_post *post)
{
    struct yoke_host *host = runtime->host;
    struct yk_post *head = atomic_load(&runtime->posts);

    do
        post->next = head;
    while (!atomic_compare_exchange_weak(&runtime->posts, &head, post));
    /* The runtime may run, and end, before this line. Its host is still there to be woken, since
     * whoever posts is joined before a runtime lets go of its host. */
    host->ops->wake(host);
}

void yk_run_posts(struct yoke_runtime *runtime)
{
    struct yk_post *posts = atomic_exchange(&runtime->posts, NULL);
    struct yk_post *oldest = NULL;

    while (posts != NULL) {
        struct yk_post *next = posts->next;

        posts->next = oldest;
        oldest = posts;
        posts = next;
    }
    while (oldest != NULL) {
        struct yk_post *post = oldest;

        oldest = post->next;
        post->run(post);
    }
}

/* A person must see this, whatever becomes of the error: by default it goes to stderr. */
static void report_deadlock(struct yoke_runtime *runtime)
{
    char *tree = yk_dump_text(runtime, YK_DUMP_DEADLOCK_TASKS);

    if (tree == NULL)
        return; /* no memory: the error still says who waits for what */
    if (runtime->on_deadlock != NULL)
        runtime->on_deadlock(runtime->deadlock_arg, tree);
    else
        fprintf(stderr, "yoke: every task is blocked for ever\n%s", tree);
    free(tree);
}

/* Every task is parked and nothing outside can wake one: says who waits for what, and cancels. */
static void deadlock(struct yoke_runtime *runtime)
{
    char reason[512] = "every task is blocked for ever:";
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_TASK,
        .kind = YOKE_CAUSE_DEADLOCK,
        .reason = reason,
    };

    for (struct yk_task *task = NULL; (task = yk_task_after(runtime, task)) != NULL;) {
        size_t used = strlen(reason);

        snprintf(reason + used, sizeof reason - used, " %s (%s)", yk_task_name(task),
                 task->waiting_for);
    }
    report_deadlock(runtime);
    if (runtime->deadlock_reported)
        yk_misuse(NULL, NULL, NULL, "deadlock, and cancelling did not end it: %s", reason);
    runtime->deadlock_reported = true;
    yk_scope_cancel_with(&runtime->root.scope, &spec);
}

static void end_turn(struct yoke_runtime *runtime)
{
    struct yk_list *node;

    while ((node = yk_list_pop(&runtime->turn_ends)) != NULL) {
        struct yk_turn_end *end = yk_container_of(node, struct yk_turn_end, node);

        end->run(end);
    }
}

/*
 * Whether something outside will, or with no deadline to wait for may, wake the poller. In this
 * order: who posts and then lets go of the last handle is seen by the one or the other.
 */
static bool awaits_outside(struct yoke_runtime *runtime, int64_t until)
{
    return runtime->external > 0 || (until == YOKE_NEVER && (atomic_load(&runtime->callers) > 0 ||
                                                             atomic_load(&runtime->posts) != NULL));
}

static void poll_world(struct yoke_runtime *runtime)
{
    int64_t until = 0;
    int rc;

    if (runtime->ready_n == 0 && yk_list_empty(&runtime->blocked_waiters)) {
        until = yk_timers_next(&runtime->timers);
        if (runtime->guest) {
            until = 0;
        } else if (until == YOKE_NEVER && runtime->io_waits == 0 &&
                   !awaits_outside(runtime, until)) {
            deadlock(runtime);
            until = 0;
        }
    }
    yk_event_before_io_wait(runtime, until);
    rc = runtime->host->ops->poll(runtime->host, until, awaits_outside(runtime, until));
    yk_event_after_io_wait(runtime);
    yk_assert(rc == 0);
    runtime->now_valid = false;
    yk_timers_expire(&runtime->timers, yk_now(runtime)); /* now_ns also dates what parks */
    if (atomic_load_explicit(&runtime->posts, memory_order_relaxed) != NULL)
        yk_run_posts(runtime);
    if (runtime->ready_n == 0) {
        struct yk_list *waiter = yk_list_pop(&runtime->blocked_waiters);

        if (waiter != NULL)
            yk_wake(yk_container_of(waiter, struct yk_wait, node)->task, 0);
    }
}

/* Runs a task and its successors, and what they want run on this stack, until the loop's turn. */
static void run_tasks(struct yoke_runtime *runtime)
{
    struct yk_task *first = pop_ready(runtime);

    become(runtime, first);
    yk_event_before_step(first);
    while (runtime->current != NULL) {
        void (*fn)(void *arg);

        yk_coro_switch(&runtime->loop, &runtime->current->coro, false);
        if (runtime->current == NULL)
            yk_event_after_step(first);
        free_dead(runtime);
        fn = runtime->big_stack_fn;
        if (fn != NULL) {
            fn(runtime->big_stack_arg);
            runtime->big_stack_fn = NULL;
        }
    }
}

void yk_sched_on_big_stack(void (*fn)(void *arg), void *arg)
{
    struct yoke_runtime *runtime = yk_runtime_current;

    if (runtime == NULL || runtime->current == NULL || runtime->big_stack_fn != NULL) {
        fn(arg); /* on a thread's own stack already */
        return;
    }
    runtime->big_stack_fn = fn;
    runtime->big_stack_arg = arg;
    yk_coro_switch(&runtime->current->coro, &runtime->loop, false);
}

void yk_sched_turn(struct yoke_runtime *runtime)
{
    /* With an instrument each step begins and ends here, where it can be told of. */
    unsigned steps = yk_instrumented(runtime) ? YK_SWITCHES_PER_TURN : 1;

    poll_world(runtime);
    for (; steps > 0 && runtime->ready_n > 0; steps--) {
        runtime->turns++;
        runtime->switches_left = yk_instrumented(runtime) ? 0 : YK_SWITCHES_PER_TURN;
        run_tasks(runtime);
    }
    end_turn(runtime);
}

void yk_sched_loop(struct yoke_runtime *runtime)
{
    while (runtime->root.child_count > 0)
        yk_sched_turn(runtime);
}
