/* SPDX-License-Identifier: MIT */
/*
 * What is left when processes are killed, ignore their end, or never come up: nothing. The test
 * process makes itself the reaper of its orphaned descendants, so that it can count them all: a
 * tree is gone when there is no child left to wait for.
 *
 * Trees whose root is killed have it in a process of their own: this executable, run with
 * "--root". It writes a byte to a pipe when its tree is up.
 *
 * A process that is stopped (SIGSTOP) runs no code, and the death signal of its parent stays
 * pending: a stopped orphan stays until it is continued, and ends then. Its parent, if that still
 * lives, ends it with SIGKILL, which does reach the stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/io.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"

enum { GONE_S = 9, STAYS_S = 5, FANOUT = 3, LINK_FD = 3 };

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("kill:stay", stay);

static int stay_shielded(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_scope scope;
    int rc = yoke_context_started(ctx, yoke_nil());
    int opened = yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true});

    (void)args;
    if (rc == 0 && opened == 0)
        rc = yoke_sleep_forever();
    return yoke_scope_close(&scope, rc);
}
YOKE_ENDPOINT("kill:stay_shielded", stay_shielded);

_Noreturn static void loop(void)
{
    for (volatile unsigned n = 0;; n++)
        continue;
}

/* Never comes to a checkpoint again, and with args.mortal dies of SIGTERM as programs do. */
static int stay_in_loop(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc < 0)
        return rc;
    if (yoke_value_get(args, "mortal").type == YOKE_BOOL)
        signal(SIGTERM, SIG_DFL);
    loop();
}
YOKE_ENDPOINT("kill:stay_in_loop", stay_in_loop);

static int stop(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    raise(SIGSTOP);
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("kill:stop", stop);

static int end_link(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    if (rc < 0)
        return rc;
    shutdown(LINK_FD, SHUT_RDWR);
    loop();
}
YOKE_ENDPOINT("kill:end_link", end_link);

static int send_garbage(struct yoke_context *ctx, struct yoke_value args)
{
    static const unsigned char garbage[] = {0xff, 0xff, 0xff, 0xff, 0xff};
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    if (rc == 0 && write(LINK_FD, garbage, sizeof garbage) < 0)
        rc = yoke_raise("test.Write", errno, "garbage can't be sent");
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("kill:send_garbage", send_garbage);

/* Starts actors and in each an endpoint: `first` in the first one, `endpoint` in the others. */
static int start_actors(struct yoke_actor_nursery *nursery, struct yoke_context *contexts,
                        const char *endpoint, const char *first, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "kill:*"};
    int rc = 0;

    for (int i = 0; rc == 0 && i < FANOUT; i++) {
        struct yoke_portal *portal;

        rc = yoke_actor_start(nursery, "actor", &opts, &portal);
        if (rc == 0)
            rc = yoke_context_open(&contexts[i], portal, i == 0 ? first : endpoint,
                                   i == 0 ? args : yoke_nil(), NULL);
    }
    return rc;
}

/* Three leaves; the first runs args.first. */
static int grow(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value wish = yoke_value_get(args, "first");
    const char *first = wish.type == YOKE_STR ? yk_text_of(wish) : "kill:stay";
    struct yoke_actor_nursery nursery;
    struct yoke_context contexts[FANOUT];
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = start_actors(&nursery, contexts, "kill:stay", first, yoke_nil());
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_sleep_forever();
    for (int i = FANOUT - 1; i >= 0; i--)
        rc = yoke_context_close(&contexts[i], rc, NULL);
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("kill:grow", grow);

/* The root of a tree of 1 + 3 + 9 processes; never ends by itself. */
struct tree {
    const char *first; /* what the first leaf of the first actor does */
    bool threads;      /* the root has some */
    bool top;          /* the first actor does it itself, in place of growing leaves */
    int fd;            /* told when the tree is up */
};

static int do_nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int root_of_tree(void *arg)
{
    const struct tree *tree = arg;
    struct yoke_actor_nursery nursery;
    struct yoke_context contexts[FANOUT];
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0 && tree->threads)
        rc = yoke_thread_run(do_nothing, NULL, NULL);
    if (rc == 0)
        rc = start_actors(&nursery, contexts, "kill:grow", tree->top ? tree->first : "kill:grow",
                          YOKE_MAP({"first", yoke_str(tree->first)}));
    if (rc == 0 && write(tree->fd, "u", 1) != 1)
        rc = yoke_raise("test.Write", errno, "nobody waits for this tree");
    if (rc == 0)
        rc = yoke_sleep_forever();
    for (int i = FANOUT - 1; i >= 0; i--)
        rc = yoke_context_close(&contexts[i], rc, NULL);
    return yoke_actor_nursery_close(&nursery, rc);
}

/* Runs this executable as the root of a tree; returns its pid once the whole tree is up. */
static pid_t start_tree_with(const char *mode, const char *first)
{
    char fd_text[16];
    char byte = 0;
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int null = open("/dev/null", O_WRONLY);

        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        fcntl(fds[1], F_SETFD, 0);
        snprintf(fd_text, sizeof fd_text, "%d", fds[1]);
        execl("/proc/self/exe", "root", mode, first, fd_text, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 1);
    close(fds[0]);
    return pid;
}

static pid_t start_tree(const char *first)
{
    return start_tree_with("--root", first);
}

static void ring(int number)
{
    (void)number; /* only interrupts waitpid */
}

struct remains {
    int reaped;
    int in_order; /* exited with 0 */
    int killed;   /* by SIGKILL */
    bool all;     /* nothing is left */
};

/* Reaps all that ends within so many seconds. */
static struct remains reap_all(unsigned seconds)
{
    struct sigaction action = {.sa_handler = ring}; /* no SA_RESTART */
    struct remains remains = {.all = false};
    int status;

    sigaction(SIGALRM, &action, NULL);
    alarm(seconds);
    while (waitpid(-1, &status, 0) > 0) {
        remains.reaped++;
        remains.in_order += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        remains.killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }
    remains.all = errno == ECHILD;
    alarm(0);
    return remains;
}

static int become_reaper(void **state)
{
    (void)state;
    return prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static void killing_the_root_ends_the_tree_in_order(void **state)
{
    pid_t root = start_tree("kill:stay");
    struct remains remains;

    (void)state;
    assert_int_equal(kill(root, SIGKILL), 0);
    remains = reap_all(GONE_S);
    assert_true(remains.all);
    assert_int_equal(remains.killed, 1);
    assert_int_equal(remains.reaped, remains.in_order + 1);
}

static void killing_the_root_ends_a_leaf_that_is_stuck(void **state)
{
    pid_t root = start_tree("kill:stay_in_loop");

    (void)state;
    assert_int_equal(kill(root, SIGKILL), 0);
    assert_true(reap_all(GONE_S).all);
}

static void killing_the_root_ends_a_leaf_that_is_shielded(void **state)
{
    pid_t root = start_tree("kill:stay_shielded");

    (void)state;
    assert_int_equal(kill(root, SIGKILL), 0);
    assert_true(reap_all(GONE_S).all);
}

/* Its death signal comes with the first thread that ends, when the process is still there. */
static void killing_a_root_with_threads_ends_a_leaf_that_is_stuck(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(kill(start_tree_with("--root-with-threads", "kill:stay_in_loop"), SIGKILL),
                         0);
        assert_true(reap_all(GONE_S).all);
    }
}

/* The one that is stuck is the root's own child, which nobody but itself and the kernel can end. */
static void killing_a_root_with_threads_ends_its_child_that_is_stuck(void **state)
{
    (void)state;
    assert_int_equal(kill(start_tree_with("--root-with-threads-over-one", "kill:stay_in_loop"),
                          SIGKILL),
                     0);
    assert_true(reap_all(GONE_S).all);
}

/* The actor above it is an orphan itself, but ends its own children before its time is up. */
static void killing_the_root_ends_a_leaf_that_is_stopped(void **state)
{
    pid_t root = start_tree("kill:stop");

    (void)state;
    assert_int_equal(kill(root, SIGKILL), 0);
    assert_true(reap_all(GONE_S).all);
}

/* See the prologue. */
static void a_stopped_orphan_ends_when_it_continues(void **state)
{
    pid_t root = start_tree_with("--root-of-one-that-stops", "kill:stop");
    siginfo_t info;

    (void)state;
    assert_int_equal(kill(root, SIGKILL), 0);
    assert_false(reap_all(STAYS_S).all);
    info.si_pid = 0;
    assert_int_equal(waitid(P_ALL, 0, &info, WSTOPPED | WNOWAIT | WNOHANG), 0);
    assert_true(info.si_pid > 0);
    assert_int_equal(kill(info.si_pid, SIGCONT), 0);
    assert_true(reap_all(GONE_S).all);
}

static void a_signal_to_the_root_ends_the_tree_and_all_are_reaped_by_it(void **state)
{
    pid_t root = start_tree("kill:stay");
    int status;

    (void)state;
    assert_int_equal(kill(root, SIGTERM), 0);
    assert_int_equal(waitpid(-1, &status, 0), root);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
    assert_false(yk_has_children());
}

/* Root is this process, which lives on: the actor's death is its failure. */
YK_ACTORS_TEST(killing_an_actor_takes_its_subtree)
{
    struct yoke_actor_nursery nursery;
    struct yoke_context ctx;
    struct yoke_portal *middle;
    struct yoke_error *error;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    middle = yk_start_actor(&nursery, "middle");
    if (middle != NULL && yoke_context_open(&ctx, middle, "kill:grow", yoke_nil(), NULL) == 0) {
        yk_check_int(kill(yoke_portal_actor(middle)->pid, SIGKILL), 0);
        rc = yoke_context_close(&ctx, yoke_sleep_forever(), NULL);
    }
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yk_check_int(yoke_error_member_count(error), 0);
    yoke_error_unref(error);
    yk_check(reap_all(GONE_S).all);
    return 0;
}

/* The ladder with rungs of 60 ms each, for an actor that runs `endpoint`. Its error, caught. */
static struct yoke_error *climb(const char *endpoint, struct yoke_value args)
{
    struct yoke_actor_opts opts = {
        .expose = "kill:*",
        .cancel_timeout_ns = YOKE_MS(60),
        .term_timeout_ns = YOKE_MS(60),
    };
    struct yoke_context_opts teardown = {.teardown_timeout_ns = YOKE_MS(20)};
    struct yoke_actor_nursery nursery;
    struct yoke_context ctx;
    struct yoke_portal *portal;
    int64_t since;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "stubborn", &opts, &portal);
    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, endpoint, args, &teardown);
    if (rc == 0) {
        yoke_context_cancel(&ctx, "end");
        yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EUNRESPONSIVE);
        yoke_clear();
    }
    since = yoke_now();
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), YOKE_EDIED);
    yk_check(yoke_now() - since >= YOKE_MS(60));
    yk_check(yoke_now() - since < YOKE_S(3)); /* 120 ms, and a machine under load */
    return yk_caught();
}

static void check_death(struct yoke_error *error, const char *how)
{
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    if (strstr(yoke_error_message(error), how) == NULL)
        yk_check_failed(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", yoke_error_message(error),
                        how);
    yoke_error_unref(error);
}

YK_ACTORS_TEST(an_actor_that_is_shielded_for_ever_is_killed)
{
    check_death(climb("kill:stay_shielded", yoke_nil()),
                "killed by signal 9 (Killed) after it ignored its cancellation and SIGTERM");
    return 0;
}

YK_ACTORS_TEST(an_actor_that_loops_for_ever_is_killed)
{
    check_death(climb("kill:stay_in_loop", yoke_nil()),
                "killed by signal 9 (Killed) after it ignored its cancellation and SIGTERM");
    return 0;
}

YK_ACTORS_TEST(an_actor_that_is_stopped_is_killed)
{
    check_death(climb("kill:stop", yoke_nil()),
                "killed by signal 9 (Killed) after it ignored its cancellation and SIGTERM");
    return 0;
}

YK_ACTORS_TEST(sigterm_is_tried_before_sigkill)
{
    check_death(climb("kill:stay_in_loop", YOKE_MAP({"mortal", yoke_bool(true)})),
                "killed by signal 15 (Terminated) after it ignored its cancellation");
    return 0;
}

/*
 * Runs `endpoint`, which ends the link by itself. The error of the nursery, caught. `rung_ns` is
 * how long it may take to end when asked; 0: the default.
 */
static struct yoke_error *lose_link(const char *endpoint, int64_t rung_ns, int code)
{
    struct yoke_actor_opts opts = {
        .expose = "kill:*",
        .cancel_timeout_ns = rung_ns,
        .term_timeout_ns = rung_ns,
    };
    struct yoke_actor_nursery nursery;
    struct yoke_context ctx;
    struct yoke_portal *portal;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "loose", &opts, &portal);
    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, endpoint, yoke_nil(), NULL);
    yk_check_int(rc, 0);
    if (rc == 0) {
        rc = yoke_context_close(&ctx, yoke_sleep_forever(), NULL);
        yk_check(rc == YOKE_EDIED || rc == YOKE_ELINK || rc == YOKE_CANCELLED || rc == code);
        if (rc != YOKE_CANCELLED)
            yoke_clear();
    }
    yk_check_int(yoke_actor_nursery_close(&nursery, rc == YOKE_CANCELLED ? rc : 0), code);
    return yk_caught();
}

YK_ACTORS_TEST(an_actor_that_ends_its_link_but_lives_is_ended)
{
    struct yoke_error *error = lose_link("kill:end_link", YOKE_MS(60), YOKE_ELINK);

    yk_check_error(error, "yoke.LinkLost", YOKE_ELINK, NULL);
    yk_check(yk_find_error(error, "yoke.ActorDied") != NULL); /* how it ended */
    yoke_error_unref(error);
    return 0;
}

YK_ACTORS_TEST(an_actor_that_breaks_the_protocol_is_ended)
{
    struct yoke_error *error = lose_link("kill:send_garbage", 0, -EMSGSIZE);

    yk_check_int(yoke_error_code(error), -EMSGSIZE);
    yk_check(yoke_error_note_count(error) > 0 &&
             strstr(yoke_error_note(error, 0), "on the link to actor loose") != NULL);
    yoke_error_unref(error);
    return 0;
}

YK_ACTORS_TEST(fifty_lives_leave_nothing)
{
    unsigned descriptors = yk_descriptors();

    for (int i = 0; i < 50 && yk_checks_failed() == 0; i++) {
        struct yoke_actor_nursery nursery;
        struct yoke_portal *portal;

        yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
        portal = yk_start_actor(&nursery, "brief");
        if (portal != NULL && i % 2 == 0)
            yoke_portal_cancel_actor(portal, "brief");
        yk_check_int(yoke_actor_nursery_close(&nursery, 0), 0);
        yk_check_int(yk_descriptors(), descriptors);
        yk_check(!yk_has_children());
    }
    return 0;
}

/* The deadline falls before the process exists, while it comes up, or after. */
static void start_with_deadline(int64_t timeout_ns)
{
    struct yoke_actor_nursery nursery;
    struct yoke_scope scope;
    struct yoke_portal *portal = NULL;
    unsigned descriptors = yk_descriptors();
    int rc;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = timeout_ns}), 0);
    rc = yoke_actor_start(&nursery, "hurried", NULL, &portal);
    yk_check(rc == 0 || rc == YOKE_CANCELLED);
    if (rc < 0) {
        yk_check(!yk_has_children());
        yk_check_int(yk_descriptors(), descriptors);
    }
    rc = yoke_scope_close(&scope, rc);
    yk_check_int(rc, 0);
    yk_check(portal != NULL || yoke_scope_cancelled_caught(&scope));
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), 0);
    yk_check(!yk_has_children());
    yk_check_int(yk_descriptors(), descriptors);
}

YK_ACTORS_TEST(a_cancelled_start_leaves_nothing)
{
    for (int i = 0; i < 40; i++)
        start_with_deadline(i == 0 ? 1 : YOKE_US(50) * i * i);
    return 0;
}

/* Starts one actor that can't come up; its error, which is that of start, caught. */
static struct yoke_error *fail_to_start(const struct yoke_actor_opts *opts, int code)
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal = NULL;
    struct yoke_error *error;
    int rc;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    rc = yoke_actor_start(&nursery, "stillborn", opts, &portal);
    yk_check_int(rc, code);
    yk_check(portal == NULL);
    error = yk_caught();
    yk_check(!yk_has_children());
    yk_check_int(yoke_actor_nursery_close(&nursery, 0), 0); /* told once, and it was handled */
    return error;
}

YK_ACTORS_TEST(a_program_that_ends_at_once_is_told_with_its_status)
{
    struct yoke_actor_opts opts = {.executable = "/bin/false"};

    check_death(fail_to_start(&opts, YOKE_EDIED), "exited with status 1 before it was up");
    return 0;
}

YK_ACTORS_TEST(a_program_that_does_not_exist_is_told)
{
    struct yoke_actor_opts opts = {.executable = "/nonexistent/program"};
    struct yoke_error *error = fail_to_start(&opts, -ENOENT);

    yk_check_error(error, "yoke.Spawn", -ENOENT, NULL);
    yk_check(strstr(yoke_error_message(error), "/nonexistent/program") != NULL);
    yoke_error_unref(error);
    return 0;
}

static const char hang[] = "YOKE_TEST_HANG"; /* in the environment: what was started just waits */

YK_ACTORS_TEST(a_program_that_never_comes_up_is_ended)
{
    struct yoke_actor_opts opts = {.start_timeout_ns = YOKE_MS(50)};
    struct yoke_error *error;

    setenv(hang, "1", 1);
    error = fail_to_start(&opts, YOKE_EUNRESPONSIVE);
    unsetenv(hang);
    yk_check_error(error, "yoke.Unresponsive", YOKE_EUNRESPONSIVE, NULL);
    yk_check(strstr(yoke_error_message(error), "not up within 50 ms") != NULL);
    yk_check(yk_find_error(error, "yoke.ActorDied") != NULL);
    yoke_error_unref(error);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(killing_the_root_ends_the_tree_in_order),
        cmocka_unit_test(killing_the_root_ends_a_leaf_that_is_stuck),
        cmocka_unit_test(killing_the_root_ends_a_leaf_that_is_shielded),
        cmocka_unit_test(killing_a_root_with_threads_ends_a_leaf_that_is_stuck),
        cmocka_unit_test(killing_a_root_with_threads_ends_its_child_that_is_stuck),
        cmocka_unit_test(killing_the_root_ends_a_leaf_that_is_stopped),
        cmocka_unit_test(a_stopped_orphan_ends_when_it_continues),
        cmocka_unit_test(a_signal_to_the_root_ends_the_tree_and_all_are_reaped_by_it),
        cmocka_unit_test(killing_an_actor_takes_its_subtree),
        cmocka_unit_test(an_actor_that_is_shielded_for_ever_is_killed),
        cmocka_unit_test(an_actor_that_loops_for_ever_is_killed),
        cmocka_unit_test(an_actor_that_is_stopped_is_killed),
        cmocka_unit_test(sigterm_is_tried_before_sigkill),
        cmocka_unit_test(an_actor_that_ends_its_link_but_lives_is_ended),
        cmocka_unit_test(an_actor_that_breaks_the_protocol_is_ended),
        cmocka_unit_test(fifty_lives_leave_nothing),
        cmocka_unit_test(a_cancelled_start_leaves_nothing),
        cmocka_unit_test(a_program_that_ends_at_once_is_told_with_its_status),
        cmocka_unit_test(a_program_that_does_not_exist_is_told),
        cmocka_unit_test(a_program_that_never_comes_up_is_ended),
    };
    struct tree tree;

    if (getenv(hang) != NULL)
        pause();
    yk_actors_begin(argc, argv);
    if (argc == 4 && strncmp(argv[1], "--root", strlen("--root")) == 0) {
        tree = (struct tree){
            .first = argv[2],
            .threads = strstr(argv[1], "with-threads") != NULL,
            .top = strstr(argv[1], "one") != NULL,
            .fd = atoi(argv[3]),
        };
        return yoke_main(root_of_tree,
                         &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = &tree});
    }
    return cmocka_run_group_tests_name("actor kill", tests, become_reaper, NULL);
}
