/* SPDX-License-Identifier: MIT */
/*
 * A runtime from birth to end. The init task, in the root nursery, opens two nurseries: `system`,
 * for what must outlive the program's own tasks, and inside it `main`, whose body is the caller's
 * function. Cancelling the whole program is cancelling the scope of `main`; such a Cancelled is
 * not absorbed silently but handed to the caller of yoke_run, as its result.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"
#include "task/task.h"

static void end_nursery(struct yoke_nursery *nursery, const char *reason)
{
    struct yk_cause_spec spec = {
        .layer = YOKE_LAYER_TASK,
        .kind = YOKE_CAUSE_RUNTIME_ENDED,
        .reason = reason,
    };

    yk_scope_cancel_with(&nursery->scope, &spec);
}

/* Runs the caller's function as the body of `main`. */
static int run_main(struct yk_task *task, const struct yk_program *program)
{
    struct yoke_nursery main_nursery;
    struct yoke_cause *cause = NULL;
    bool failed;
    int rc;

    rc = yoke_nursery_open_at(program->site, &main_nursery,
                              &(struct yoke_nursery_opts){.name = program->name});
    task->runtime->main = &main_nursery;
    if (task->runtime->early_cancel != NULL)
        yk_scope_cancel_cause(&main_nursery.scope, task->runtime->early_cancel);
    if (rc == 0)
        rc = program->fn(program->arg);
    /* Here, where what lay in the frame of that function is still known to be gone. */
    if (task->held != NULL)
        rc = yk_give_back(task, rc);
    if (task->bindings != NULL)
        yk_bindings_end(task);
    yk_scope_check_innermost(&main_nursery.scope, task, program->site);
    if (main_nursery.scope.cancel_called)
        cause = yoke_cause_ref(main_nursery.scope.cause);
    failed = rc < 0 || yk_flight_any(&task->locus);
    if (!failed)
        end_nursery(&main_nursery, "the main task has returned");
    {
        /*
         * Closing may turn a failure into 0 only by absorbing what cancelled the whole program, or
         * a Cancelled whose scope is closed, which cut it short all the same.
         */
        int close_rc = yoke_nursery_close_at(program->site, &main_nursery, rc);

        task->runtime->main = NULL;
        if (close_rc == 0 && failed)
            close_rc =
                yk_raise_cancelled(program->site,
                                   cause != NULL ? cause : yoke_scope_cause(&main_nursery.scope),
                                   NULL, 0);
        else if (close_rc == 0 && rc > 0)
            close_rc = rc;
        rc = close_rc;
    }
    yoke_cause_unref(cause);
    return rc;
}

/* What the program comes to; the root nursery would absorb a Cancelled. */
static void keep_result(struct yk_task *task, int rc)
{
    struct yoke_runtime *runtime = task->runtime;
    struct yoke_error *error = yk_flight_take(&task->locus);

    if (error != NULL && error->cancelled && runtime->deadlock_reported) {
        yk_flight_raise(&task->locus, error);
        yoke_raise("yoke.Deadlock", YOKE_EDEADLOCK, "%s",
                   yoke_cause_reason(runtime->root.scope.cause));
        error = yk_flight_take(&task->locus);
    }
    runtime->result = error;
    runtime->result_rc = rc;
}

/* From here on nothing comes in from outside. */
static void stop_slots(struct yoke_runtime *runtime)
{
    runtime->ending = true;
    for (int i = 0; i < YK_SLOTS; i++)
        if (runtime->slots[i].stop != NULL)
            runtime->slots[i].stop(runtime->slots[i].data);
}

static int init_task(void *arg)
{
    struct yk_task *task = yk_task_self("init");
    struct yoke_nursery system_nursery;
    struct yoke_hold hold;
    int close_rc, release_rc;
    int rc;

    rc = yoke_nursery_open_at(YOKE_HERE, &system_nursery,
                              &(struct yoke_nursery_opts){.name = "system"});
    task->runtime->system = &system_nursery;
    if (rc == 0)
        rc = run_main(task, arg);
    stop_slots(task->runtime);
    /* A service's error is kept beside the program's own, and beats a Cancelled: as in cleanup. */
    yoke_hold(&hold);
    end_nursery(&system_nursery, "the program has ended");
    close_rc = yoke_nursery_close_at(YOKE_HERE, &system_nursery, 0);
    task->runtime->system = NULL;
    release_rc = yoke_release(&hold);
    yk_assert((release_rc < 0) == (rc < 0 || close_rc < 0));
    if (release_rc < 0)
        rc = release_rc;
    keep_result(task, rc);
    return 0;
}

void yk_uuid_new(struct yoke_runtime *runtime, char *text)
{
    unsigned char b[16];

    runtime->host->ops->entropy(runtime->host, b, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(text, YK_UUID_SIZE,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
}

static void make_identity(struct yoke_runtime *runtime, const char *name)
{
    struct yoke_actor_id *actor = &runtime->actor;

    yk_uuid_new(runtime, actor->uuid);
    YK_TEXT_COPY(actor->name, name != NULL ? name : "root");
    if (gethostname(actor->host, sizeof actor->host - 1) != 0)
        strcpy(actor->host, "localhost");
    actor->pid = (int32_t)getpid();
}

int64_t yk_runtime_wall_clock(void)
{
    struct yoke_runtime *runtime = yk_runtime_current;

    return runtime->host->ops->wall(runtime->host);
}

static void print_state(void)
{
    struct yk_task *task = yk_task_self_or_null();

    if (task == NULL)
        return;
    dprintf(2, "  task: %s (%llu)\n", yk_task_name(task), (unsigned long long)task->locus.task_id);
    for (struct yoke_scope *scope = task->scope; scope != NULL; scope = scope->parent)
        if (scope->site != NULL)
            dprintf(2, "  scope: \"%s\", opened at %s:%d%s%s\n", scope->name, scope->site->file,
                    scope->site->line, scope->shield ? ", shield" : "",
                    scope->cancel_called ? ", cancelled" : "");
    if (task->locus.in_flight != NULL)
        dprintf(2, "  error in flight: %s: %s\n", yoke_error_type(task->locus.in_flight),
                yoke_error_message(task->locus.in_flight));
    if (task->locus.pending != NULL)
        dprintf(2, "  error in flight: yoke.Cancelled\n");
    if (task->runtime->shuffle)
        dprintf(2, "  seed: %llu\n", (unsigned long long)task->runtime->seed);
}

/* Once per process: other threads' runtimes may be reading them. */
static void install_hooks(void)
{
    yk_check_state_hook = print_state;
    yk_on_big_stack = yk_sched_on_big_stack;
}

static void runtime_init(struct yoke_runtime *runtime, const struct yoke_run_opts *opts)
{
    static pthread_once_t hooks_installed = PTHREAD_ONCE_INIT;

    pthread_once(&hooks_installed, install_hooks);
    memset(runtime, 0, sizeof *runtime);
    runtime->host = opts->host;
    runtime->shuffle = opts->shuffle;
    runtime->seed = opts->seed;
    runtime->thread = yk_thread_mark();
    runtime->instrument = opts->instrument;
    runtime->on_deadlock = opts->on_deadlock;
    runtime->deadlock_arg = opts->deadlock_arg;
    yk_random_seed(&runtime->random, opts->seed);
    yk_list_init(&runtime->turn_ends);
    yk_list_init(&runtime->blocked_waiters);
    yk_stacks_init(&runtime->stacks);
    yk_coro_init_thread(&runtime->loop);
    make_identity(runtime, opts->actor_name);
    runtime->loop_locus.task_name = "scheduler";
    runtime->loop_locus.actor = &runtime->actor;
    yk_scope_enter(&runtime->root.scope, NULL, "root", YOKE_HERE, false);
}

static void runtime_fini(struct yoke_runtime *runtime)
{
    for (int i = 0; i < YK_SLOTS; i++)
        if (runtime->slots[i].fini != NULL)
            runtime->slots[i].fini(runtime->slots[i].data);
    yk_scope_leave(&runtime->root.scope);
    yk_timers_fini(&runtime->timers);
    free(runtime->ready);
    yk_stacks_fini(&runtime->stacks);
    yk_coro_fini_thread(&runtime->loop);
    yoke_cause_unref(runtime->early_cancel);
    free(runtime);
}

struct yoke_runtime *yk_runtime_new(const struct yk_program *program,
                                    const struct yoke_run_opts *opts)
{
    struct yoke_runtime *runtime = yk_malloc(sizeof *runtime);
    struct yk_task *init;
    int rc;

    if (runtime == NULL) {
        yoke_raise("yoke.Run", ENOMEM, "no memory for a runtime");
        return NULL;
    }
    yk_runtime_current = runtime;
    runtime_init(runtime, opts);
    yk_wall_clock = yk_runtime_wall_clock;
    rc = yk_task_new(&runtime->root, program->site, init_task, program->name, NULL,
                     (void *)(uintptr_t)program, &init);
    if (rc == 0)
        return runtime;
    runtime_fini(runtime);
    yk_runtime_current = NULL;
    yk_wall_clock = NULL;
    return NULL;
}

int yk_runtime_free(struct yoke_runtime *runtime, struct yk_locus *caller)
{
    int rc;

    yk_locus_current = caller;
    rc = runtime->result == NULL ? runtime->result_rc : yk_flight_raise(caller, runtime->result);
    runtime_fini(runtime);
    yk_runtime_current = NULL;
    yk_wall_clock = NULL;
    return rc;
}

void yk_runtime_cancel(struct yoke_runtime *runtime, struct yoke_cause *cause)
{
    if (runtime->main != NULL)
        yk_scope_cancel_cause(&runtime->main->scope, cause);
    else if (runtime->early_cancel == NULL)
        runtime->early_cancel = yoke_cause_ref(cause);
}

static int run_with_host(const struct yk_program *program, const struct yoke_run_opts *opts)
{
    struct yk_locus *caller = yk_locus();
    struct yoke_runtime *runtime = yk_runtime_new(program, opts);

    if (runtime == NULL)
        return yoke_error_code(yoke_in_flight());
    yk_sched_loop(runtime);
    return yk_runtime_free(runtime, caller);
}

int yoke_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name, void *arg,
                const struct yoke_run_opts *opts)
{
    struct yk_program program = {.fn = fn, .arg = arg, .name = fn_name, .site = site};
    struct yoke_run_opts own;
    int rc;

    memset(&own, 0, sizeof own);
    if (opts != NULL)
        own = *opts;
    if (yk_runtime_current != NULL)
        return yoke_raise_at(site, NULL, "yoke.Run", EBUSY,
                             "this thread already runs a runtime; use yoke_spawn inside it");
    if (own.host != NULL)
        return run_with_host(&program, &own);
    own.host = yoke_host_linux_new();
    if (own.host == NULL)
        return yoke_error_code(yoke_in_flight());
    rc = run_with_host(&program, &own);
    yoke_host_free(own.host);
    return rc;
}

int yoke_report(FILE *stream)
{
    struct yoke_error *error = yk_flight_take(yk_locus());
    const struct yoke_cause *cause;
    int status = 1;

    if (error == NULL)
        return 0;
    cause = yoke_error_cause(error);
    if (error->cancelled && cause != NULL) {
        const struct yoke_signal_info *signal = yoke_cause_signal(yoke_cause_origin(cause));

        if (signal != NULL)
            status = 128 + signal->number;
    }
    yk_error_report(error, stream);
    return status;
}
