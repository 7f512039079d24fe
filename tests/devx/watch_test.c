/* SPDX-License-Identifier: MIT */
/*
 * A stuck program explains itself: real processes that block, hog, overflow and crash, told to by
 * signals, and what they write on stderr. Each says "ready" when it is where the test wants it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke.h>
#include <yoke/testing.h>

enum { PATIENCE_MS = 20000 };

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* A program in a process of its own; what it writes on stderr so far. */
struct program {
    pid_t pid;
    int err;   /* its stderr */
    int input; /* to its descriptor `told` */
    size_t n;
    char text[1 << 18];
};

static int told; /* in the child: a pipe from the test, blocking */

static void start(struct program *program, int (*fn)(void))
{
    int err[2], input[2];

    program->n = 0;
    program->text[0] = '\0';
    assert_int_equal(pipe(err), 0);
    assert_int_equal(pipe(input), 0);
    program->pid = fork();
    assert_true(program->pid >= 0);
    if (program->pid == 0) {
        /* It ends with a test that fails, and has none of cmocka's handlers. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int number = 1; number < 32; number++)
            signal(number, SIG_DFL);
        dup2(err[1], 2);
        close(err[0]);
        close(err[1]);
        close(input[1]);
        told = input[0];
        _exit(fn());
    }
    close(err[1]);
    close(input[0]);
    program->err = err[0];
    program->input = input[1];
}

/* Reads on until `part` comes after `from`; its place. */
static const char *await(struct program *program, size_t from, const char *part)
{
    for (;;) {
        struct pollfd ready = {.fd = program->err, .events = POLLIN};
        const char *found = strstr(program->text + from, part);
        ssize_t n;

        if (found != NULL)
            return found;
        if (poll(&ready, 1, PATIENCE_MS) != 1)
            fail_msg("no \"%s\" in:\n%s", part, program->text + from);
        n = read(program->err, program->text + program->n, sizeof program->text - 1 - program->n);
        if (n <= 0)
            fail_msg("it ended without \"%s\":\n%s", part, program->text + from);
        program->n += (size_t)n;
        program->text[program->n] = '\0';
    }
}

static void await_ready(struct program *program)
{
    await(program, 0, "ready\n");
}

/* Sends a signal and waits for all of the tree that it brings; the tree. */
static const char *dump_of(struct program *program, const char *last)
{
    size_t from = program->n;

    assert_int_equal(kill(program->pid, SIGUSR1), 0);
    await(program, from, "task tree of ");
    await(program, from, last);
    return program->text + from;
}

/* Reads all that it still writes; its wait status. */
static int finish(struct program *program)
{
    int status;
    ssize_t n;

    while ((n = read(program->err, program->text + program->n,
                     sizeof program->text - 1 - program->n)) > 0)
        program->n += (size_t)n;
    program->text[program->n] = '\0';
    close(program->err);
    close(program->input);
    assert_int_equal(waitpid(program->pid, &status, 0), program->pid);
    return status;
}

static void end(struct program *program)
{
    kill(program->pid, SIGKILL);
    (void)finish(program);
}

static void say_ready(void)
{
    (void)!write(2, "ready\n", 6);
}

#define main_of(fn, watch) run_as_main(fn, #fn, (watch))
static int run_as_main(yoke_task_fn fn, const char *name, const struct yoke_watch_opts *watch)
{
    static char program_name[] = "test";
    char *argv[] = {program_name, NULL};

    if (watch == NULL)
        setenv("YOKE_WATCH", "1", 1);
    return yoke_main_at(YOKE_HERE, fn, name,
                        &(struct yoke_main_opts){.argc = 1, .argv = argv, .watch = watch});
}

static struct program program;

/* --- blocked ------------------------------------------------------------------------------- */

static int wait_for_event(void *arg)
{
    return yoke_event_wait(arg);
}

static int sleep_long(void *arg)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope,
                             &(struct yoke_scope_opts){.name = "hour", .timeout_ns = YOKE_S(3600)});

    (void)arg;
    if (rc == 0)
        rc = yoke_sleep(YOKE_S(1000));
    return yoke_scope_close(&scope, rc);
}

static int block(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "jobs"});

    (void)arg;
    yoke_event_init(&event);
    if (rc == 0)
        rc = yoke_spawn(&nursery, wait_for_event, &event);
    if (rc == 0)
        rc = yoke_spawn(&nursery, sleep_long, NULL);
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    say_ready();
    return yoke_nursery_close(&nursery, rc);
}

static int blocked_program(void)
{
    return main_of(block, NULL);
}

static void a_signal_shows_what_every_task_of_a_program_waits_for(void **state)
{
    const char *tree;
    int status;

    (void)state;
    start(&program, blocked_program);
    await_ready(&program);
    tree = dump_of(&program, "scope \"hour\"");
    assert_non_null(strstr(tree, "nursery \"jobs\""));
    assert_non_null(strstr(tree, "task wait_for_event ("));
    assert_non_null(strstr(tree, ") waits for event since "));
    assert_non_null(strstr(tree, "task watch_signals ("));
    assert_non_null(strstr(tree, ") waits for signal since "));
    assert_non_null(strstr(tree, "KiB in memory"));
    /* It goes on as before, and ends in order. */
    dump_of(&program, "scope \"hour\"");
    assert_int_equal(kill(program.pid, SIGTERM), 0);
    status = finish(&program);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
}

static int ignoring_program(void)
{
    signal(SIGUSR1, SIG_IGN);
    return main_of(block, NULL);
}

static void what_a_program_does_with_the_signal_itself_is_left_in_place(void **state)
{
    (void)state;
    start(&program, ignoring_program);
    await_ready(&program);
    assert_int_equal(kill(program.pid, SIGUSR1), 0);
    assert_int_equal(kill(program.pid, SIGTERM), 0);
    assert_int_equal(WEXITSTATUS(finish(&program)), 128 + SIGTERM);
    assert_null(strstr(program.text, "task tree of "));
}

static int declining_program(void)
{
    return main_of(block, &(struct yoke_watch_opts){.no_dump_signal = true});
}

static void without_a_dump_signal_it_has_its_default_effect(void **state)
{
    int status;

    (void)state;
    start(&program, declining_program);
    await_ready(&program);
    assert_int_equal(kill(program.pid, SIGUSR1), 0);
    status = finish(&program);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGUSR1);
}

static int stuck_example(void)
{
    execl(YK_BUILD_DIR "/examples/stuck", "stuck", "hog", (char *)NULL);
    return 127;
}

static void the_example_tells_that_its_producer_waits_and_its_hog_runs(void **state)
{
    const char *tree;

    (void)state;
    if (access(YK_BUILD_DIR "/examples/stuck", X_OK) != 0)
        skip(); /* a build without examples */
    start(&program, stuck_example);
    await(&program, 0, "stuck\n");
    /* The hog begins at the next switch, and the tree may still come before it. */
    do
        tree = dump_of(&program, "task consumer (");
    while (strstr(await(&program, (size_t)(tree - program.text), "task hog ("), ") runs") == NULL);
    assert_non_null(strstr(tree, "nursery \"staff\""));
    assert_non_null(strstr(tree, ") waits for channel send since "));
    assert_non_null(strstr(tree, "scope \"patience\""));
    assert_non_null(strstr(tree, "deadline in 59 min "));
    end(&program);
}

/* --- hogs ---------------------------------------------------------------------------------- */

static __attribute__((noinline)) void spin_for_ever(void)
{
    static volatile unsigned turns;

    say_ready();
    for (;;)
        turns++;
}

static int spin(void *arg)
{
    (void)arg;
    spin_for_ever();
    return 0;
}

static int spin_beside_others(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    int rc = yoke_nursery_open(&nursery, NULL);

    (void)arg;
    yoke_event_init(&event);
    if (rc == 0)
        rc = yoke_spawn(&nursery, wait_for_event, &event);
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    if (rc == 0)
        rc = yoke_spawn(&nursery, spin, NULL);
    return yoke_nursery_close(&nursery, rc);
}

static int spinning_program(void)
{
    return main_of(spin_beside_others, NULL);
}

static void a_signal_shows_the_tree_and_the_place_even_while_a_task_hogs_the_thread(void **state)
{
    const char *tree;

    (void)state;
    start(&program, spinning_program);
    await_ready(&program);
    tree = dump_of(&program, "task spin (");
    await(&program, (size_t)(tree - program.text), "in task_entry");
    assert_non_null(strstr(tree, ") waits for event since "));
    tree = strstr(tree, "task spin (");
    assert_non_null(strstr(tree, ") runs, spawned at "));
#ifdef YK_HAVE_LIBDW
    await(&program, (size_t)(tree - program.text), ", in spin_for_ever");
    await(&program, (size_t)(tree - program.text), ", in spin\n");
#endif
    end(&program);
}

static int read_in_place(void *arg)
{
    char byte = 0;
    ssize_t n;

    say_ready();
    n = read(told, &byte, 1); /* blocks the whole thread, as it should not */
    (void)arg;
    return n == 1 ? byte : 99;
}

static int reading_program(void)
{
    return main_of(read_in_place, &(struct yoke_watch_opts){.hog_ns = YOKE_MS(50)});
}

static void a_hog_is_reported_once_with_the_call_it_is_in_and_goes_on(void **state)
{
    const char *report, *tree;
    char seven = 7;

    (void)state;
    start(&program, reading_program);
    report = await(&program, 0, "has held the thread for ");
    await(&program, (size_t)(report - program.text), "nursery \"");
    assert_non_null(strstr(report, "without a checkpoint\ntask read_in_place ("));
#ifdef YK_HAVE_LIBDW
    assert_non_null(strstr(report, ", in read_in_place\n"));
#endif
    /* Held on: the same hold is not reported again, however long it takes. */
    for (int i = 0; i < 3; i++)
        tree = dump_of(&program, "nursery \"read_in_place\"");
    assert_non_null(strstr(tree, "task read_in_place ("));
    assert_null(strstr(report + 1, "has held the thread for "));
    assert_int_equal(write(program.input, &seven, 1), 1);
    assert_int_equal(WEXITSTATUS(finish(&program)), 7);
}

/* Always in the middle of some change to scopes, and never at a checkpoint. */
static int change_scopes_for_ever(void *arg)
{
    (void)arg;
    say_ready();
    for (;;) {
        struct yoke_nursery nursery;
        struct yoke_scope scope;
        int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "outer"});

        if (rc == 0)
            rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "inner"});
        yoke_scope_cancel(&scope, "again and again");
        rc = yoke_scope_close(&scope, yoke_raise("test.Bad", EINVAL, "bad"));
        yoke_clear();
        rc = yoke_nursery_close(&nursery, 0);
        if (rc != 0)
            return rc;
    }
}

static int changing_program(void)
{
    return main_of(change_scopes_for_ever, NULL);
}

static void a_tree_in_the_middle_of_changes_is_read_without_harm(void **state)
{
    (void)state;
    start(&program, changing_program);
    await_ready(&program);
    for (int i = 0; i < 40; i++) {
        size_t from = program.n;

        assert_int_equal(kill(program.pid, SIGUSR1), 0);
        await(&program, from, "task change_scopes_for_ever (");
        await(&program, from, "nursery \"change_scopes_for_ever\"");
        if (program.n > sizeof program.text / 2)
            program.n = 0;
        program.text[program.n] = '\0';
    }
    assert_int_equal(waitpid(program.pid, NULL, WNOHANG), 0); /* still there */
    end(&program);
}

static int spin_with_signals_blocked(void *arg)
{
    sigset_t every;

    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, NULL);
    return spin(arg);
}

static void *wait_for_signals(void *arg)
{
    pause();
    return arg;
}

/* Another thread takes the signal; that of the runtime can't be stopped. */
static int deaf_program(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, wait_for_signals, NULL) != 0)
        return 1;
    return main_of(spin_with_signals_blocked, NULL);
}

static void a_thread_that_blocks_signals_is_said_to_do_so(void **state)
{
    (void)state;
    start(&program, deaf_program);
    await_ready(&program);
    assert_int_equal(kill(program.pid, SIGUSR1), 0);
    await(&program, 0, "no task tree: the runtime's thread has signals blocked\n");
    end(&program);
}

/* --- faults -------------------------------------------------------------------------------- */

static volatile bool never_ending = true;

static __attribute__((noinline)) int recurse(volatile char *outer)
{
    volatile char room[512];

    room[0] = outer == NULL ? 0 : outer[0];
    return never_ending ? recurse(room) + room[0] : 0;
}

static int overflow(void *arg)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "deep"});

    (void)arg;
    if (rc == 0)
        rc = recurse(NULL);
    return yoke_scope_close(&scope, rc);
}

static int overflowing_program(void)
{
    return main_of(overflow, NULL);
}

static void a_stack_overflow_names_the_task_its_stack_and_scopes_before_it_ends_it(void **state)
{
    int status;

    (void)state;
    start(&program, overflowing_program);
    status = finish(&program);
    assert_true(WIFSIGNALED(status));
    if (!SANITIZED)
        assert_int_equal(WTERMSIG(status), SIGSEGV);
    assert_non_null(strstr(program.text, "yoke: stack overflow in task overflow ("));
    assert_non_null(strstr(program.text, " KiB, spawned at "));
    assert_non_null(strstr(program.text, "  scope \"deep\", opened at "));
#ifdef YK_HAVE_LIBDW
    assert_non_null(strstr(program.text, ", in recurse\n"));
#endif
}

static int overflow_unreported(void)
{
    return main_of(overflow, &(struct yoke_watch_opts){.no_stack_report = true});
}

static void reports_of_stack_overflows_can_be_declined(void **state)
{
    (void)state;
    start(&program, overflow_unreported);
    assert_true(WIFSIGNALED(finish(&program)));
    assert_null(strstr(program.text, "yoke: stack overflow"));
}

static int crash(void *arg)
{
    static volatile uintptr_t nowhere = 16;

    (void)arg;
    return *(volatile int *)nowhere;
}

static int crashing_program(void)
{
    return main_of(crash, NULL);
}

static void another_fault_is_none_of_ours(void **state)
{
    int status;

    (void)state;
    start(&program, crashing_program);
    status = finish(&program);
    assert_true(WIFSIGNALED(status));
    assert_null(strstr(program.text, "yoke: "));
}

static int wait_to_be_killed(void *arg)
{
    (void)arg;
    say_ready();
    return yoke_sleep(YOKE_S(1000));
}

static int sleeping_program(void)
{
    return main_of(wait_to_be_killed, NULL);
}

static void a_fault_signal_that_somebody_sends_ends_the_program(void **state)
{
    int status;

    (void)state;
    start(&program, sleeping_program);
    await_ready(&program);
    assert_int_equal(kill(program.pid, SIGBUS), 0);
    status = finish(&program);
    assert_true(WIFSIGNALED(status));
    if (!SANITIZED)
        assert_int_equal(WTERMSIG(status), SIGBUS);
}

/* --- in process ---------------------------------------------------------------------------- */

static size_t entries_of(const char *path)
{
    DIR *directory = opendir(path);
    size_t n = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n;
}

static int watch_myself(void *arg)
{
    int rc = yoke_watch(arg);

    if (rc == 0 && yoke_watch(NULL) != -EALREADY)
        return 99;
    yoke_clear();
    return rc;
}

static void watching_leaves_no_thread_descriptor_or_handler_behind(void **state)
{
    struct sigaction action;
    size_t descriptors;

    (void)state;
    assert_int_equal(yoke_run(watch_myself, NULL, NULL), 0);
    descriptors = entries_of("/proc/self/fd");
    for (int i = 0; i < 50; i++)
        assert_int_equal(yoke_run(watch_myself, NULL, NULL), 0);
    assert_int_equal(entries_of("/proc/self/fd"), descriptors);
    assert_int_equal(entries_of("/proc/self/task"), 3); /* ".", ".." and this thread */
    assert_int_equal(sigaction(SIGUSR1, NULL, &action), 0);
    assert_true(action.sa_handler == SIG_DFL);
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        assert_int_equal(sigaction(number, NULL, &action), 0);
        assert_true(action.sa_handler == SIG_DFL);
    }
}

static int watch_and_block(void *arg)
{
    int rc = yoke_watch(NULL);

    (void)arg;
    say_ready();
    return rc < 0 ? rc : yoke_sleep(YOKE_S(1000));
}

static void *second_runtime(void *arg)
{
    (void)arg;
    if (yoke_run(watch_and_block, NULL, &(struct yoke_run_opts){.actor_name = "second"}) < 0)
        yoke_clear();
    return NULL;
}

static int two_runtimes(void)
{
    pthread_t other;

    if (pthread_create(&other, NULL, second_runtime, NULL) != 0)
        return 1;
    return yoke_run(watch_and_block, NULL, &(struct yoke_run_opts){.actor_name = "first"}) < 0;
}

static void a_signal_shows_every_watched_runtime_of_the_process(void **state)
{
    const char *ready;

    (void)state;
    start(&program, two_runtimes);
    ready = await(&program, 0, "ready\n");
    await(&program, (size_t)(ready + 1 - program.text), "ready\n");
    assert_int_equal(kill(program.pid, SIGUSR1), 0);
    await(&program, 0, "task tree of first[");
    await(&program, 0, "task tree of second[");
    end(&program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_shows_what_every_task_of_a_program_waits_for),
        cmocka_unit_test(what_a_program_does_with_the_signal_itself_is_left_in_place),
        cmocka_unit_test(without_a_dump_signal_it_has_its_default_effect),
        cmocka_unit_test(the_example_tells_that_its_producer_waits_and_its_hog_runs),
        cmocka_unit_test(a_signal_shows_the_tree_and_the_place_even_while_a_task_hogs_the_thread),
        cmocka_unit_test(a_hog_is_reported_once_with_the_call_it_is_in_and_goes_on),
        cmocka_unit_test(a_tree_in_the_middle_of_changes_is_read_without_harm),
        cmocka_unit_test(a_thread_that_blocks_signals_is_said_to_do_so),
        cmocka_unit_test(a_stack_overflow_names_the_task_its_stack_and_scopes_before_it_ends_it),
        cmocka_unit_test(reports_of_stack_overflows_can_be_declined),
        cmocka_unit_test(another_fault_is_none_of_ours),
        cmocka_unit_test(a_fault_signal_that_somebody_sends_ends_the_program),
        cmocka_unit_test(watching_leaves_no_thread_descriptor_or_handler_behind),
        cmocka_unit_test(a_signal_shows_every_watched_runtime_of_the_process),
    };

    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
