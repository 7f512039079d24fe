/* SPDX-License-Identifier: MIT */
/*
 * Misuse of the API that can't be an error result aborts, and says what was done and where. Each
 * case runs in a child process, whose standard error comes back through a pipe. The calls are made
 * with sites of the tests' own, so that the whole text can be compared.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke/channel.h>
#include <yoke/condition.h>
#include <yoke/event.h>
#include <yoke/limiter.h>
#include <yoke/local.h>
#include <yoke/mutex.h>
#include <yoke/nursery.h>
#include <yoke/semaphore.h>
#include <yoke/testing.h>

static const struct yoke_site first_site = {"first.c", "first_function", 11};
static const struct yoke_site second_site = {"second.c", "second_function", 22};
static const struct yoke_site third_site = {"third.c", "third_function", 33};

/* The tree of tasks is dump_test's; here it would only stand before what is compared. */
static void drop_tree(void *arg, const char *tree)
{
    (void)arg;
    (void)tree;
}

static void run_child(yoke_task_fn fn, int write_fd)
{
    struct rlimit none = {0, 0};
    struct yoke_host *host = yoke_host_sim_new(1);
    struct yoke_run_opts opts = {.host = host, .on_deadlock = drop_tree};

    setrlimit(RLIMIT_CORE, &none);
    if (dup2(write_fd, 2) != 2 || host == NULL)
        _exit(99);
    /* The name of the main task is given, so that messages which tell it can be compared. */
    _exit(yoke_run_at(&third_site, fn, "program", NULL, &opts) < 0 ? 98 : 0);
}

static void read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    ssize_t n;

    while (used < size - 1 && (n = read(fd, text + used, size - 1 - used)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        assert_true(n > 0);
        used += (size_t)n;
    }
    text[used] = '\0';
}

/* Runs `fn` in a child process that must abort; checks what it printed from its first line on. */
static void expect_abort(yoke_task_fn fn, const char *expected)
{
    char text[4096];
    int ends[2];
    int status;
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run_child(fn, ends[1]);
    close(ends[1]);
    read_all(ends[0], text, sizeof text);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    text[strnlen(text, strlen(expected))] = '\0';          /* the state of the task follows */
    assert_memory_equal(text, expected, strlen(expected)); /* an emulator may add a line */
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static int close_outer_first(void *arg)
{
    struct yoke_scope outer, inner;
    struct yoke_scope_opts outer_opts = {.name = "outer"}, inner_opts = {.name = "inner"};

    (void)arg;
    yk_check_int(yoke_scope_open_at(&first_site, &outer, &outer_opts), 0);
    yk_check_int(yoke_scope_open_at(&second_site, &inner, &inner_opts), 0);
    return yoke_scope_close(&outer, 0);
}

static void closing_scopes_out_of_order_names_both(void **state)
{
    (void)state;
    expect_abort(close_outer_first,
                 "yoke: misuse: scope \"outer\" closed before scope \"inner\", which was opened "
                 "inside it\n"
                 "  here: first.c:11, in first_function\n"
                 "  still open, opened at: second.c:22, in second_function\n"
                 "  task: program (");
}

static int close_twice(void *arg)
{
    struct yoke_scope scope;

    (void)arg;
    yk_check_int(yoke_scope_open_at(&first_site, &scope, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    return yoke_scope_close(&scope, 0);
}

static void closing_a_scope_twice_names_it(void **state)
{
    (void)state;
    expect_abort(close_twice, "yoke: misuse: scope \"first_function\" closed twice\n"
                              "  opened at: first.c:11, in first_function\n");
}

static int close_unopened(void *arg)
{
    struct yoke_scope scope;

    (void)arg;
    memset(&scope, 0, sizeof scope);
    return yoke_scope_close(&scope, 0);
}

static void closing_a_scope_that_was_never_opened(void **state)
{
    (void)state;
    expect_abort(close_unopened, "yoke: misuse: close of a scope that was never opened\n");
}

static int close_given_scope(void *arg)
{
    return yoke_scope_close(arg, 0);
}

static int close_foreign(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;

    (void)arg;
    yk_check_int(yoke_nursery_open_at(&second_site, &nursery, NULL), 0);
    yk_check_int(yoke_scope_open_at(&first_site, &scope, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, close_given_scope, &scope), 0);
    return yoke_checkpoint();
}

static void closing_a_scope_of_another_task_names_both_tasks(void **state)
{
    (void)state;
    expect_abort(close_foreign,
                 "yoke: misuse: scope \"first_function\" closed by task close_given_scope, but "
                 "opened by task program\n"
                 "  opened at: first.c:11, in first_function\n");
}

static int leave_a_scope_open(void *arg)
{
    static struct yoke_scope scope;

    (void)arg;
    return yoke_scope_open_at(&first_site, &scope, &(struct yoke_scope_opts){.name = "open"});
}

static int child_leaves_a_scope_open(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn_at(&second_site, &nursery, leave_a_scope_open, "leaver", NULL, NULL),
                 0);
    return yoke_nursery_close(&nursery, 0);
}

static void ending_a_task_with_a_scope_open_names_the_spawn_and_the_scope(void **state)
{
    (void)state;
    expect_abort(child_leaves_a_scope_open, "yoke: misuse: task leaver ended with scope \"open\" "
                                            "open\n"
                                            "  here: second.c:22, in second_function\n"
                                            "  scope opened at: first.c:11, in first_function\n");
}

static void ending_the_main_task_with_a_scope_open_names_the_run_and_the_scope(void **state)
{
    (void)state;
    expect_abort(leave_a_scope_open, "yoke: misuse: scope \"program\" closed before scope "
                                     "\"open\", which was opened inside it\n"
                                     "  here: third.c:33, in third_function\n"
                                     "  still open, opened at: first.c:11, in first_function\n");
}

static int leave_a_nursery_open(void *arg)
{
    static struct yoke_nursery nursery;

    (void)arg;
    return yoke_nursery_open_at(&first_site, &nursery, NULL);
}

static int child_leaves_a_nursery_open(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn_at(&second_site, &nursery, leave_a_nursery_open, "leaver", NULL, NULL),
                 0);
    return yoke_nursery_close(&nursery, 0);
}

static void ending_a_task_with_a_nursery_open_names_both(void **state)
{
    (void)state;
    expect_abort(child_leaves_a_nursery_open,
                 "yoke: misuse: task leaver ended with scope \"first_function\" open\n"
                 "  here: second.c:22, in second_function\n"
                 "  scope opened at: first.c:11, in first_function\n");
}

static int leave_a_hold_open(void *arg)
{
    static struct yoke_hold hold;

    (void)arg;
    yoke_hold_at(&first_site, &hold);
    return 0;
}

static int child_leaves_a_hold_open(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn_at(&second_site, &nursery, leave_a_hold_open, "holder", NULL, NULL), 0);
    return yoke_nursery_close(&nursery, 0);
}

static void ending_a_task_inside_a_hold_names_the_spawn_and_the_hold(void **state)
{
    (void)state;
    expect_abort(child_leaves_a_hold_open, "yoke: misuse: task holder ended inside yoke_hold\n"
                                           "  here: second.c:22, in second_function\n"
                                           "  hold at: first.c:11, in first_function\n");
}

static void ending_the_main_task_inside_a_hold_names_the_run_and_the_hold(void **state)
{
    (void)state;
    expect_abort(leave_a_hold_open, "yoke: misuse: task program ended inside yoke_hold\n"
                                    "  here: third.c:33, in third_function\n"
                                    "  hold at: first.c:11, in first_function\n");
}

static int release_outer_first(void *arg)
{
    struct yoke_hold outer, inner;

    (void)arg;
    yoke_hold_at(&first_site, &outer);
    yoke_hold_at(&second_site, &inner);
    return yoke_release(&outer);
}

static void releasing_out_of_order_names_both_holds(void **state)
{
    (void)state;
    expect_abort(release_outer_first, "yoke: misuse: yoke_release out of order: a hold inside this "
                                      "one is open\n"
                                      "  here: first.c:11, in first_function\n"
                                      "  still open, held at: second.c:22, in second_function\n");
}

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int spawn_into_closed(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open_at(&first_site, &nursery, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    return yoke_spawn_at(&second_site, &nursery, do_nothing, "late", NULL, NULL);
}

static void spawning_into_a_closed_nursery_names_both_places(void **state)
{
    (void)state;
    expect_abort(spawn_into_closed, "yoke: misuse: spawn into a closed nursery\n"
                                    "  here: second.c:22, in second_function\n"
                                    "  nursery opened at: first.c:11, in first_function\n");
}

static int start_into_closed(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open_at(&first_site, &nursery, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    return yoke_start_at(&second_site, &nursery, do_nothing, "late", NULL, NULL, NULL);
}

static void starting_into_a_closed_nursery_names_both_places(void **state)
{
    (void)state;
    expect_abort(start_into_closed, "yoke: misuse: start into a closed nursery\n"
                                    "  here: second.c:22, in second_function\n"
                                    "  nursery opened at: first.c:11, in first_function\n");
}

static int close_nursery_twice(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yk_check_int(yoke_nursery_open_at(&first_site, &nursery, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    return yoke_nursery_close_at(&second_site, &nursery, 0);
}

static void closing_a_nursery_twice_names_both_places(void **state)
{
    (void)state;
    expect_abort(close_nursery_twice, "yoke: misuse: close of a nursery that is not open\n"
                                      "  here: second.c:22, in second_function\n"
                                      "  opened at: first.c:11, in first_function\n");
}

static int close_nursery_before_scope(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;

    (void)arg;
    yk_check_int(yoke_nursery_open_at(&first_site, &nursery, NULL), 0);
    yk_check_int(yoke_scope_open_at(&second_site, &scope, NULL), 0);
    return yoke_nursery_close_at(&third_site, &nursery, 0);
}

static void closing_a_nursery_before_a_scope_inside_names_both(void **state)
{
    (void)state;
    expect_abort(close_nursery_before_scope,
                 "yoke: misuse: scope \"first_function\" closed before scope \"second_function\", "
                 "which was opened inside it\n"
                 "  here: third.c:33, in third_function\n"
                 "  still open, opened at: second.c:22, in second_function\n");
}

/* The calls below are made by the child process itself, without a runtime. */

static void call_alone(int (*call)(void), const char *name)
{
    char expected[200];
    char text[4096];
    int ends[2];
    int status;
    pid_t pid;

    snprintf(expected, sizeof expected,
             "yoke: misuse: %s called outside a task: it must run inside yoke_run or yoke_main\n",
             name);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};

        setrlimit(RLIMIT_CORE, &none);
        if (dup2(ends[1], 2) != 2)
            _exit(99);
        _exit(call() < 0 ? 98 : 0);
    }
    close(ends[1]);
    read_all(ends[0], text, sizeof text);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_memory_equal(text, expected, strlen(expected)); /* an emulator may add a line */
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static int sleep_alone(void)
{
    return yoke_sleep(1);
}

static int wait_alone(void)
{
    struct yoke_event event;

    yoke_event_init(&event);
    return yoke_event_wait(&event);
}

static int open_alone(void)
{
    struct yoke_scope scope;

    return yoke_scope_open(&scope, NULL);
}

static int send_alone(void)
{
    struct yoke_channel *channel = yoke_channel_new(1, 1);

    return yoke_channel_send(channel, "x");
}

static int spawn_alone(void)
{
    static struct yoke_nursery nursery;

    return yoke_spawn(&nursery, do_nothing, NULL);
}

static int report_alone(void)
{
    return yoke_started(NULL);
}

static void calls_of_tasks_outside_a_runtime_name_the_call(void **state)
{
    (void)state;
    call_alone(yoke_checkpoint, "yoke_checkpoint");
    call_alone(yoke_sleep_forever, "yoke_sleep_forever");
    call_alone(yoke_wait_all_tasks_blocked, "yoke_wait_all_tasks_blocked");
    call_alone(sleep_alone, "yoke_sleep");
    call_alone(wait_alone, "yoke_event_wait");
    call_alone(open_alone, "yoke_scope_open");
    call_alone(send_alone, "yoke_channel_send");
    call_alone(spawn_alone, "yoke_spawn");
    call_alone(report_alone, "yoke_started");
}

static int wait_under_a_shield(void *arg)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true});

    (void)arg;
    if (rc == 0)
        rc = yoke_sleep_forever();
    return yoke_scope_close(&scope, rc);
}

static void a_deadlock_that_a_shield_keeps_from_ending_aborts_with_the_report(void **state)
{
    (void)state;
    expect_abort(wait_under_a_shield,
                 "yoke: misuse: deadlock, and cancelling did not end it: every task is blocked for "
                 "ever: program (sleep forever)\n");
}

static int misuse_in_trouble(void *arg)
{
    struct yoke_scope scope, inner;
    struct yoke_scope_opts opts = {.name = "troubled", .shield = true};

    (void)arg;
    yk_check_int(yoke_scope_open_at(&first_site, &scope, &opts), 0);
    yk_check_int(yoke_scope_open_at(&second_site, &inner, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_raise("test.Bad", EBADF, "in flight"), -EBADF);
    return yoke_scope_close(&scope, 0);
}

static void the_message_is_followed_by_the_state_of_the_task(void **state)
{
    (void)state;
    expect_abort(misuse_in_trouble,
                 "yoke: misuse: scope \"troubled\" closed before scope \"second_function\", which "
                 "was opened inside it\n"
                 "  here: first.c:11, in first_function\n"
                 "  still open, opened at: second.c:22, in second_function\n"
                 "  task: program (2)\n"
                 "  scope: \"second_function\", opened at second.c:22\n"
                 "  scope: \"troubled\", opened at first.c:11, shield, cancelled\n"
                 "  scope: \"program\", opened at third.c:33\n");
}

static struct yoke_mutex shared_mutex;

static int unlock_foreign(void *arg)
{
    (void)arg;
    yoke_mutex_unlock_at(&second_site, &shared_mutex);
    return 0;
}

static int unlock_by_another_task(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yoke_mutex_init(&shared_mutex);
    yk_check_int(yoke_mutex_lock_at(&first_site, &shared_mutex), 0);
    yk_check_int(yoke_nursery_open_at(&third_site, &nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, unlock_foreign, NULL), 0);
    return yoke_nursery_close(&nursery, 0);
}

static void unlocking_a_mutex_of_another_task_names_both_tasks_and_sites(void **state)
{
    (void)state;
    expect_abort(unlock_by_another_task,
                 "yoke: misuse: yoke_mutex_unlock by task unlock_foreign, but task program holds "
                 "the mutex\n"
                 "  here: second.c:22, in second_function\n"
                 "  locked at: first.c:11, in first_function\n");
}

static int unlock_twice(void *arg)
{
    (void)arg;
    yoke_mutex_init(&shared_mutex);
    yk_check_int(yoke_mutex_lock_at(&first_site, &shared_mutex), 0);
    yoke_mutex_unlock(&shared_mutex);
    yoke_mutex_unlock_at(&second_site, &shared_mutex);
    return 0;
}

static void unlocking_a_free_mutex_names_where_it_was_locked_last(void **state)
{
    (void)state;
    expect_abort(unlock_twice,
                 "yoke: misuse: yoke_mutex_unlock by task program, but the mutex is not locked\n"
                 "  here: second.c:22, in second_function\n"
                 "  last locked at: first.c:11, in first_function\n");
}

static int forget_a_local_mutex(void *arg)
{
    struct yoke_mutex mutex;

    (void)arg;
    yoke_mutex_init(&mutex);
    return yoke_mutex_lock(&mutex);
}

static void ending_a_task_that_holds_a_mutex_in_its_own_frame_names_the_task(void **state)
{
    (void)state;
    expect_abort(forget_a_local_mutex,
                 "yoke: misuse: task program ended without giving back a mutex, a token or a lot's "
                 "breaker that lay in its own frame\n"
                 "  here: third.c:33, in third_function\n");
}

static int end_a_locked_mutex(void *arg)
{
    (void)arg;
    yoke_mutex_init(&shared_mutex);
    yk_check_int(yoke_mutex_lock_at(&first_site, &shared_mutex), 0);
    yoke_mutex_fini(&shared_mutex);
    return 0;
}

static void the_end_of_a_locked_mutex_names_where_it_was_locked(void **state)
{
    (void)state;
    expect_abort(end_a_locked_mutex, "yoke: misuse: the end of a mutex that task program holds\n"
                                     "  locked at: first.c:11, in first_function\n");
}

static int notify_without_the_mutex(void *arg)
{
    struct yoke_condition condition;

    (void)arg;
    yoke_mutex_init(&shared_mutex);
    yoke_condition_init(&condition, &shared_mutex);
    yoke_condition_notify_at(&first_site, &condition, 1);
    return 0;
}

static int wait_without_the_mutex(void *arg)
{
    struct yoke_condition condition;

    (void)arg;
    yoke_mutex_init(&shared_mutex);
    yoke_condition_init(&condition, &shared_mutex);
    return yoke_condition_wait_at(&first_site, &condition);
}

static void using_a_condition_without_its_mutex_names_the_call(void **state)
{
    (void)state;
    expect_abort(notify_without_the_mutex,
                 "yoke: misuse: yoke_condition_notify by task program, but the mutex is not "
                 "locked\n"
                 "  here: first.c:11, in first_function\n");
    expect_abort(wait_without_the_mutex,
                 "yoke: misuse: yoke_condition_wait by task program, but the mutex is not locked\n"
                 "  here: first.c:11, in first_function\n");
}

static int release_too_often(void *arg)
{
    struct yoke_semaphore semaphore;

    (void)arg;
    yoke_semaphore_init(&semaphore, 2, 2);
    yoke_semaphore_release_at(&first_site, &semaphore);
    return 0;
}

static void releasing_a_semaphore_over_its_maximum_names_the_place(void **state)
{
    (void)state;
    expect_abort(release_too_often,
                 "yoke: misuse: a semaphore of at most 2 units is released once too often\n"
                 "  here: first.c:11, in first_function\n");
}

static struct yoke_limiter shared_limiter;
static struct yoke_token shared_token;

static int release_foreign(void *arg)
{
    (void)arg;
    yoke_limiter_release_at(&second_site, &shared_token);
    return 0;
}

static int release_by_another_task(void *arg)
{
    struct yoke_nursery nursery;

    (void)arg;
    yoke_limiter_init(&shared_limiter, 1);
    yk_check_int(yoke_limiter_acquire_at(&first_site, &shared_limiter, &shared_token, NULL), 0);
    yk_check_int(yoke_nursery_open_at(&third_site, &nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, release_foreign, NULL), 0);
    return yoke_nursery_close(&nursery, 0);
}

static int release_twice(void *arg)
{
    (void)arg;
    yoke_limiter_init(&shared_limiter, 1);
    yk_check_int(yoke_limiter_acquire_at(&first_site, &shared_limiter, &shared_token, NULL), 0);
    yoke_limiter_release(&shared_token);
    yoke_limiter_release_at(&second_site, &shared_token);
    return 0;
}

static int end_a_limiter_in_use(void *arg)
{
    (void)arg;
    yoke_limiter_init(&shared_limiter, 1);
    yk_check_int(yoke_limiter_acquire_at(&first_site, &shared_limiter, &shared_token, NULL), 0);
    yoke_limiter_fini(&shared_limiter);
    return 0;
}

static void misuse_of_a_token_names_where_it_was_borrowed(void **state)
{
    (void)state;
    expect_abort(release_by_another_task,
                 "yoke: misuse: task release_foreign gives back a token that another task borrowed "
                 "for itself\n"
                 "  here: second.c:22, in second_function\n"
                 "  borrowed at: first.c:11, in first_function\n");
    expect_abort(release_twice,
                 "yoke: misuse: yoke_limiter_release of a token that is not borrowed\n"
                 "  here: second.c:22, in second_function\n");
    expect_abort(end_a_limiter_in_use,
                 "yoke: misuse: the end of a limiter of which 1 tokens are borrowed\n"
                 "  borrowed at: first.c:11, in first_function\n");
}

static const struct yoke_local_key outer_key = YOKE_LOCAL_KEY("outer", int);
static const struct yoke_local_key inner_key = YOKE_LOCAL_KEY("inner", int);

static int restore_outer_first(void *arg)
{
    struct yoke_local outer, inner;

    (void)arg;
    yk_check_int(yoke_local_set_at(&first_site, &outer, &outer_key, &(int){1}), 0);
    yk_check_int(yoke_local_set_at(&second_site, &inner, &inner_key, &(int){2}), 0);
    yoke_local_restore_at(&third_site, &outer);
    return 0;
}

static int leave_a_local_set(void *arg)
{
    struct yoke_local local;

    (void)arg;
    return yoke_local_set_at(&first_site, &local, &outer_key, &(int){1});
}

static int restore_twice(void *arg)
{
    struct yoke_local local;

    (void)arg;
    yk_check_int(yoke_local_set_at(&first_site, &local, &outer_key, &(int){1}), 0);
    yoke_local_restore(&local);
    yoke_local_restore_at(&second_site, &local);
    return 0;
}

static void misuse_of_a_task_local_names_where_it_was_set(void **state)
{
    (void)state;
    expect_abort(restore_outer_first,
                 "yoke: misuse: task-local \"outer\" restored before \"inner\", which was set "
                 "inside it\n"
                 "  here: third.c:33, in third_function\n"
                 "  still set, at: second.c:22, in second_function\n");
    expect_abort(leave_a_local_set,
                 "yoke: misuse: task program ended with task-local \"outer\" still set\n"
                 "  here: third.c:33, in third_function\n"
                 "  set at: first.c:11, in first_function\n");
    expect_abort(restore_twice,
                 "yoke: misuse: task-local restored by task program, but not set by it, or "
                 "restored twice\n"
                 "  here: second.c:22, in second_function\n"
                 "  set at: first.c:11, in first_function\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_scopes_out_of_order_names_both),
        cmocka_unit_test(closing_a_scope_twice_names_it),
        cmocka_unit_test(closing_a_scope_that_was_never_opened),
        cmocka_unit_test(closing_a_scope_of_another_task_names_both_tasks),
        cmocka_unit_test(ending_a_task_with_a_scope_open_names_the_spawn_and_the_scope),
        cmocka_unit_test(ending_the_main_task_with_a_scope_open_names_the_run_and_the_scope),
        cmocka_unit_test(ending_a_task_with_a_nursery_open_names_both),
        cmocka_unit_test(ending_a_task_inside_a_hold_names_the_spawn_and_the_hold),
        cmocka_unit_test(ending_the_main_task_inside_a_hold_names_the_run_and_the_hold),
        cmocka_unit_test(releasing_out_of_order_names_both_holds),
        cmocka_unit_test(spawning_into_a_closed_nursery_names_both_places),
        cmocka_unit_test(starting_into_a_closed_nursery_names_both_places),
        cmocka_unit_test(closing_a_nursery_twice_names_both_places),
        cmocka_unit_test(closing_a_nursery_before_a_scope_inside_names_both),
        cmocka_unit_test(calls_of_tasks_outside_a_runtime_name_the_call),
        cmocka_unit_test(a_deadlock_that_a_shield_keeps_from_ending_aborts_with_the_report),
        cmocka_unit_test(unlocking_a_mutex_of_another_task_names_both_tasks_and_sites),
        cmocka_unit_test(unlocking_a_free_mutex_names_where_it_was_locked_last),
        cmocka_unit_test(ending_a_task_that_holds_a_mutex_in_its_own_frame_names_the_task),
        cmocka_unit_test(the_end_of_a_locked_mutex_names_where_it_was_locked),
        cmocka_unit_test(using_a_condition_without_its_mutex_names_the_call),
        cmocka_unit_test(releasing_a_semaphore_over_its_maximum_names_the_place),
        cmocka_unit_test(misuse_of_a_token_names_where_it_was_borrowed),
        cmocka_unit_test(misuse_of_a_task_local_names_where_it_was_set),
        cmocka_unit_test(the_message_is_followed_by_the_state_of_the_task),
    };

    return cmocka_run_group_tests_name("misuse", tests, NULL, NULL);
}
