/* SPDX-License-Identifier: MIT */
/*
 * Every spawner does the same for who uses it: the tests of the first part run for each. The others
 * show what is particular to one: how a zygote ends, what can't be done to a thread, what a process
 * says that never comes up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/event.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"
#include "actor/spawned.h"
#include "io/zygote.h"

enum { GONE_S = 20 };

static pid_t test_pid;

static int who(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_str(yoke_actor_self()->uuid));
}
YOKE_ENDPOINT("spawn:who", who);

static int pid(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_int(getpid()));
}
YOKE_ENDPOINT("spawn:pid", pid);

static int hidden(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return 0;
}
YOKE_ENDPOINT("hidden:spawn", hidden);

static int go_wrong(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return yoke_raise("test.Oops", EIO, "it went wrong");
}
YOKE_ENDPOINT("spawn:fail", go_wrong);

static int count(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    for (int i = 0; rc == 0 && i < 500; i++)
        rc = yoke_stream_send(ctx, yoke_int(i));
    return rc;
}
YOKE_ENDPOINT("spawn:count", count);

static int start_and_fail(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_raise("test.Oops", EIO, "it went wrong");
}
YOKE_ENDPOINT("spawn:start_and_fail", start_and_fail);

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("spawn:stay", stay);

/* Holds its runtime until the file args.until is there, or for ever. */
static int hog(struct yoke_context *ctx, struct yoke_value args)
{
    char until[128];
    int rc = yoke_context_started(ctx, yoke_nil());

    snprintf(until, sizeof until, "%s", yk_text_of(yoke_value_get(args, "until")));
    signal(SIGTERM, SIG_DFL);
    while (rc == 0 && access(until, F_OK) < 0)
        continue;
    return rc;
}
YOKE_ENDPOINT("spawn:hog", hog);

static int say(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    dprintf(STDERR_FILENO, "late\n");
    return 0;
}
YOKE_ENDPOINT("spawn:say", say);

/* Runs fn(&spawner) in a runtime of a process that has a zygote if one is needed. */
static void run(yoke_task_fn fn, enum yoke_spawner spawner)
{
    unsigned failed_before = yk_checks_failed();
    unsigned descriptors = yk_descriptors();
    struct yoke_error_stats before, after;

    yoke_error_stats(&before);
    if (spawner == YOKE_SPAWN_ZYGOTE)
        assert_int_equal(yk_actor_zygote_start(), 0);
    yk_check_int(yoke_run(fn, &spawner, NULL), 0);
    yoke_clear();
    yk_zygote_stop();
    yoke_error_stats(&after);
    yk_check_int(after.lost - before.lost, 0);
    yk_check_int(after.live - before.live, 0);
    yk_check_int(yk_descriptors(), descriptors);
    yk_check(!yk_has_children());
    if (yk_checks_failed() != failed_before)
        fail_msg("checks failed with spawner %d", (int)spawner);
}

#define EACH_SPAWNER_TEST(law)                                                                     \
    static int law##_task(void *arg);                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        for (int spawner = YOKE_SPAWN_EXEC; spawner <= YOKE_SPAWN_THREAD; spawner++)               \
            run(law##_task, spawner);                                                              \
    }                                                                                              \
    static int law##_task(void *arg)

static struct yoke_actor_opts opts_of(const void *arg)
{
    const enum yoke_spawner *spawner = arg;

    return (struct yoke_actor_opts){.expose = "spawn:*", .spawner = *spawner};
}

EACH_SPAWNER_TEST(actors_serve_what_they_expose_and_are_who_their_portals_say)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portals[3];
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    for (int i = 0; rc == 0 && i < 3; i++)
        rc = yoke_actor_start(&nursery, "actor", &opts, &portals[i]);
    for (int i = 0; rc == 0 && i < 3; i++) {
        struct yoke_value *result = NULL;

        rc = yoke_call(portals[i], "spawn:who", yoke_nil(), &result);
        if (rc == 0) {
            yk_check_text(yk_text_of(*result), yoke_portal_actor(portals[i])->uuid);
            yk_check(strcmp(yk_text_of(*result), yoke_actor_self()->uuid) != 0);
        }
        yoke_value_free(result);
    }
    if (rc == 0) {
        yk_check_int(yoke_call(portals[0], "hidden:spawn", yoke_nil(), NULL), YOKE_ENOTEXPOSED);
        yk_check_caught("yoke.NotExposed", NULL);
        yk_check_int(yoke_call(portals[1], "spawn:fail", yoke_nil(), NULL), YOKE_EREMOTE);
        yk_check_caught("test.Oops", "it went wrong");
    }
    return yoke_actor_nursery_close(&nursery, rc);
}

EACH_SPAWNER_TEST(streams_arrive_whole_and_in_order)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    struct yoke_context ctx;
    struct yoke_value value;
    int64_t n = 0;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "actor", &opts, &portal);
    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, "spawn:count", yoke_nil(), NULL);
    if (rc == 0) {
        while ((rc = yoke_stream_receive(&ctx, &value)) > 0)
            yk_check_int(value.as.integer, n++);
        rc = yoke_context_close(&ctx, rc, NULL);
    }
    yk_check_int(n, 500);
    return yoke_actor_nursery_close(&nursery, rc);
}

EACH_SPAWNER_TEST(a_failing_main_endpoint_is_restarted_until_it_is_too_much)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    struct yoke_error *error;
    int rc = yoke_actor_nursery_open(&nursery, &(struct yoke_actor_nursery_opts){
                                                   .strategy = YOKE_ONE_FOR_ONE,
                                                   .backoff_ns = YOKE_MS(1),
                                                   .period_ns = YOKE_S(3600),
                                               });

    opts.run = "spawn:start_and_fail";
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "actor", &opts, &portal);
    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.RestartLimit", YOKE_EDIED, NULL);
    yk_check_error(yoke_error_because(error), "test.Oops", YOKE_EREMOTE, NULL);
    yoke_error_unref(error);
    return 0;
}

EACH_SPAWNER_TEST(a_cancelled_start_leaves_nothing)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_scope scope;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    for (int i = 0; rc == 0 && i < 8; i++) {
        rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_US(40) << i});
        if (rc == 0)
            rc = yoke_actor_start(&nursery, "actor", &opts, NULL);
        rc = yoke_scope_close(&scope, rc);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}

EACH_SPAWNER_TEST(an_actor_that_cancels_itself_is_seen_to_have_exited_with_0)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    int status = -1;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    opts.run = "spawn:stay";
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "actor", &opts, &portal);
    if (rc == 0) {
        yoke_portal_cancel_actor(portal, "enough");
        rc = yoke_portal_wait(portal, &status, NULL);
        yk_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}

/* Kills an actor, or lets it hold its runtime, so that the ladder does. */
static int end_process(const void *arg, bool stuck)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    struct yoke_error *error;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    opts.cancel_timeout_ns = YOKE_MS(20);
    opts.run = stuck ? "spawn:hog" : "spawn:stay";
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "actor", &opts, &portal);
    if (rc == 0 && !stuck) {
        kill(yoke_portal_actor(portal)->pid, SIGKILL);
        rc = yoke_sleep_forever();
    }
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yk_check(strstr(yoke_error_message(error), stuck ? "signal 15" : "signal 9") != NULL);
    yoke_error_unref(error);
    return 0;
}

static int kill_it(void *arg)
{
    return end_process(arg, false);
}

static int let_it_hog(void *arg)
{
    return end_process(arg, true);
}

static void processes_that_are_killed_or_stuck_are_reaped_and_told(void **state)
{
    (void)state;
    for (int spawner = YOKE_SPAWN_EXEC; spawner <= YOKE_SPAWN_ZYGOTE; spawner++) {
        run(kill_it, spawner);
        run(let_it_hog, spawner);
    }
}

static void *create_later(void *path)
{
    (void)poll(NULL, 0, 200); /* far longer than the ladder's first rung */
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    return NULL;
}

static int wait_for_thread(void *arg)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_error *error;
    char path[64];
    pthread_t creator;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    snprintf(path, sizeof path, "/tmp/yoke-hog-%d", (int)getpid());
    opts.cancel_timeout_ns = YOKE_MS(5);
    opts.run = "spawn:hog";
    opts.args = YOKE_MAP({"until", yoke_str(path)});
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "stuck", &opts, NULL);
    yk_check_int(pthread_create(&creator, NULL, create_later, path), 0);
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), YOKE_EDIED);
    error = yk_caught();
    yk_check(strstr(yoke_error_message(error), "can't be killed, and was waited for") != NULL);
    yoke_error_unref(error);
    pthread_join(creator, NULL);
    unlink(path);
    return 0;
}

static void a_thread_that_does_not_obey_is_waited_for(void **state)
{
    (void)state;
    run(wait_for_thread, YOKE_SPAWN_THREAD);
}

static int start_one(void *arg)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "actor", &opts, NULL);
    return yoke_actor_nursery_close(&nursery, rc);
}

/* A child that is not reaped yet; 0: none. */
static pid_t any_child(void)
{
    char text[64] = "";
    char path[64];
    int fd;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) < 0)
        text[0] = '\0';
    if (fd >= 0)
        close(fd);
    return atoi(text);
}

static int start_without_zygote(void *arg)
{
    struct yoke_error *error;
    pid_t zygote = any_child();
    siginfo_t info;

    yk_check(zygote > 0);
    kill(zygote, SIGKILL);
    yk_check_int(waitid(P_PID, (id_t)zygote, &info, WEXITED | WNOWAIT), 0);
    yk_check_int(start_one(arg), -ESRCH);
    error = yk_caught();
    yk_check(strstr(yoke_error_message(error), "killed by signal 9") != NULL);
    yoke_error_unref(error);
    return 0;
}

static void a_dead_zygote_is_an_error_that_says_what_killed_it(void **state)
{
    (void)state;
    run(start_without_zygote, YOKE_SPAWN_ZYGOTE);
}

static int start_unprepared(void *arg)
{
    enum yoke_spawner spawner = YOKE_SPAWN_ZYGOTE;

    (void)arg;
    yk_check_int(start_one(&spawner), -ESRCH);
    yk_check_caught("yoke.Spawn", NULL);
    return 0;
}

static void without_a_zygote_there_is_none_to_fork_from(void **state)
{
    (void)state;
    run(start_unprepared, YOKE_SPAWN_EXEC);
}

/* The root of a tree that is killed: as a process of its own, see main. */
static int tree_with_zygote(void *arg)
{
    enum yoke_spawner spawner = YOKE_SPAWN_ZYGOTE;
    struct yoke_actor_opts opts = opts_of(&spawner);
    struct yoke_actor_nursery nursery;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)arg;
    opts.run = "spawn:stay";
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = yoke_actor_start(&nursery, "actor", &opts, NULL);
    if (rc == 0 && write(STDOUT_FILENO, "u", 1) == 1)
        rc = yoke_sleep_forever();
    return yoke_actor_nursery_close(&nursery, rc);
}

static pid_t start_tree(void)
{
    int fds[2];
    char byte;
    pid_t root;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    root = fork();
    assert_true(root >= 0);
    if (root == 0) {
        dup2(fds[1], STDOUT_FILENO);
        execl("/proc/self/exe", "spawner_test", "--zygote-tree", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    return root;
}

static void nothing_of_a_tree_with_a_zygote_is_left(void **state)
{
    static const int signals[] = {SIGKILL, SIGTERM};

    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        pid_t root = start_tree();
        unsigned reaped = 0;

        kill(root, signals[i]);
        while (waitpid(-1, NULL, 0) > 0) /* returns when there is nobody left */
            reaped++;
        assert_int_equal(reaped, signals[i] == SIGKILL ? 5 : 1);
    }
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

/* Runs fn with a file as stderr, and gives what was written there. */
static void capture(yoke_task_fn fn, enum yoke_spawner spawner, char *text, size_t size)
{
    char path[] = "/tmp/yoke-stderr-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC | O_APPEND);
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    ssize_t n;

    assert_true(fd >= 0 && saved >= 0);
    dup2(fd, STDERR_FILENO);
    run(fn, spawner);
    dup2(saved, STDERR_FILENO);
    close(saved);
    n = pread(fd, text, size - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    close(fd);
    unlink(path);
}

static int start_program(void *path)
{
    struct yoke_actor_opts opts = {.executable = path};
    struct yoke_actor_nursery nursery;
    struct yoke_error *error;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "broken", &opts, NULL);
    yk_check_int(rc, YOKE_EDIED);
    error = yk_caught();
    yk_check(strstr(yoke_error_message(error), "exited with status 3 before it was up") != NULL);
    yk_check_int(yoke_error_note_count(error), 1);
    yk_check_text(yoke_error_note(error, 0),
                  "the last that it said on stderr: no config file\nbye");
    yoke_error_unref(error);
    return yoke_actor_nursery_close(&nursery, 0);
}

static const char *script;

static int start_script(void *arg)
{
    char path[128];

    (void)arg;
    snprintf(path, sizeof path, "%s", script);
    return start_program(path);
}

static void what_a_program_said_that_did_not_come_up_is_in_the_error(void **state)
{
    static const char program[] = "#!/bin/sh\necho 'no config file' >&2\necho bye >&2\nexit 3\n";
    char path[] = "/tmp/yoke-script-XXXXXX";
    char text[256];
    int fd = mkostemp(path, O_CLOEXEC);

    (void)state;
    assert_int_equal(write(fd, program, sizeof program - 1), sizeof program - 1);
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);
    script = path;
    capture(start_script, YOKE_SPAWN_EXEC, text, sizeof text);
    unlink(path);
    assert_string_equal(text, "no config file\nbye\n");
}

static int start_talker(void *arg)
{
    struct yoke_actor_opts opts = opts_of(arg);
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "talker", &opts, &portal);
    if (rc == 0)
        rc = yoke_call(portal, "spawn:say", yoke_nil(), NULL);
    return yoke_actor_nursery_close(&nursery, rc);
}

enum { EARLY_LINES = 20000 };

/* More than a pipe holds: it comes up only if somebody passes it on meanwhile. */
static void stderr_of_an_actor_is_neither_lost_nor_reordered(void **state)
{
    static char text[EARLY_LINES * 8 + 64], expected[EARLY_LINES * 8 + 64];
    size_t n = 0;

    (void)state;
    for (int i = 0; i < EARLY_LINES; i++)
        n += (size_t)snprintf(expected + n, sizeof expected - n, "%d\n", i);
    snprintf(expected + n, sizeof expected - n, "late\n");
    setenv("YOKE_TEST_EARLY", "1", 1);
    capture(start_talker, YOKE_SPAWN_EXEC, text, sizeof text);
    unsetenv("YOKE_TEST_EARLY");
    assert_string_equal(text, expected);
}

static int start_badly(void *arg)
{
    struct yoke_actor_opts bad[] = {
        {.spawner = (enum yoke_spawner)5},
        {.spawner = YOKE_SPAWN_THREAD, .executable = "/bin/true"},
    };
    struct yoke_actor_nursery nursery;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)arg;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        yk_check_int(yoke_actor_start(&nursery, "x", &bad[i], NULL), -EINVAL);
        yoke_clear();
    }
    return yoke_actor_nursery_close(&nursery, rc);
}

static void spawners_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    run(start_badly, YOKE_SPAWN_EXEC);
}

/* Actors that are forked have this of the test; those that are executed have their own. */
static void check_forked_at_exit(void)
{
    struct yoke_error_stats stats;

    if (getpid() == test_pid)
        return;
    yoke_error_stats(&stats);
    if (stats.lost != 0 || stats.live != 0)
        abort();
}

/* Looking up symbols opens this executable for good: not to be taken for a leak of a test. */
static void look_up_symbols(void)
{
    FILE *null = fopen("/dev/null", "we");

    (void)yoke_raise("test.Symbols", EIO, "nothing");
    yoke_error_print(yoke_in_flight(), null, YOKE_PRINT_BACKTRACE);
    yoke_clear();
    fclose(null);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(actors_serve_what_they_expose_and_are_who_their_portals_say),
        cmocka_unit_test(streams_arrive_whole_and_in_order),
        cmocka_unit_test(a_failing_main_endpoint_is_restarted_until_it_is_too_much),
        cmocka_unit_test(a_cancelled_start_leaves_nothing),
        cmocka_unit_test(an_actor_that_cancels_itself_is_seen_to_have_exited_with_0),
        cmocka_unit_test(processes_that_are_killed_or_stuck_are_reaped_and_told),
        cmocka_unit_test(a_thread_that_does_not_obey_is_waited_for),
        cmocka_unit_test(a_dead_zygote_is_an_error_that_says_what_killed_it),
        cmocka_unit_test(without_a_zygote_there_is_none_to_fork_from),
        cmocka_unit_test(nothing_of_a_tree_with_a_zygote_is_left),
        cmocka_unit_test(what_a_program_said_that_did_not_come_up_is_in_the_error),
        cmocka_unit_test(stderr_of_an_actor_is_neither_lost_nor_reordered),
        cmocka_unit_test(spawners_that_make_no_sense_are_refused),
    };

    if (getenv("YOKE_TEST_EARLY") != NULL)
        for (int i = 0; i < EARLY_LINES; i++)
            dprintf(STDERR_FILENO, "%d\n", i);
    yk_actors_begin(argc, argv);
    if (argc > 1 && strcmp(argv[1], "--zygote-tree") == 0)
        return yoke_main(tree_with_zygote, &(struct yoke_main_opts){
                                               .argc = argc,
                                               .argv = argv,
                                               .zygote = true,
                                           });
    test_pid = getpid();
    look_up_symbols();
    atexit(check_forked_at_exit);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
