/* SPDX-License-Identifier: MIT */
/*
 * Plain children and plain parents when things go wrong, and a yoke program that is started as a
 * plain one. What goes right between them is in transcripts_play_test.c. The executables are this
 * one: run with "--idle" it never connects, with "--leave" it ends at once.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../tests/actor/transcripts_endpoints.h"
#include "../tests/support/actors.h"

#define SELF "/proc/self/exe"

static int start_plain(const struct yoke_actor_opts *opts, int code, const char *type)
{
    struct yoke_actor_nursery actors;
    struct yoke_error *error;
    int rc;

    yk_check_int(yoke_actor_nursery_open(&actors, NULL), 0);
    rc = yoke_actor_start(&actors, "plain", opts, NULL);
    yk_check_int(yoke_actor_nursery_close(&actors, rc), code);
    error = yk_caught();
    yk_check_error(error, type, code, NULL);
    yoke_error_unref(error);
    return 0;
}

YK_ACTORS_TEST(a_plain_actor_needs_an_executable)
{
    return start_plain(&(struct yoke_actor_opts){.plain = true}, -EINVAL, "yoke.Misuse");
}

YK_ACTORS_TEST(an_executable_that_is_not_there_is_an_error)
{
    return start_plain(&(struct yoke_actor_opts){.plain = true, .executable = "/nowhere/python3"},
                       -ENOENT, "yoke.Spawn");
}

YK_ACTORS_TEST(one_that_ends_before_it_connects_has_died)
{
    const char *const arguments[] = {"--leave", NULL};

    return start_plain(&(struct yoke_actor_opts){.plain = true,
                                                 .executable = SELF,
                                                 .arguments = arguments},
                       YOKE_EDIED, "yoke.ActorDied");
}

YK_ACTORS_TEST(one_that_never_connects_is_unresponsive_and_ended)
{
    const char *const arguments[] = {"--idle", NULL};

    return start_plain(&(struct yoke_actor_opts){.plain = true,
                                                 .executable = SELF,
                                                 .arguments = arguments,
                                                 .start_timeout_ns = YOKE_MS(100)},
                       YOKE_EUNRESPONSIVE, "yoke.Unresponsive");
}

/* Both find out that the other speaks the extensions. */
static int call_over(const char *listen)
{
    struct yoke_actor_opts opts = {
        .plain = true,
        .executable = SELF,
        .expose = "capmod",
        .listen = listen,
    };
    struct yoke_actor_nursery actors;
    struct yoke_value *sum = NULL;
    struct yoke_portal *child;
    int rc;

    yk_check_int(yoke_actor_nursery_open(&actors, NULL), 0);
    rc = yoke_actor_start(&actors, "plain", &opts, &child);
    if (rc == 0)
        rc = yoke_call(child, "capmod:add", YOKE_MAP({"a", yoke_int(1)}, {"b", yoke_int(2)}), &sum);
    yk_check_int(sum == NULL ? 0 : sum->as.integer, 3);
    yoke_value_free(sum);
    return yoke_actor_nursery_close(&actors, rc);
}

YK_ACTORS_TEST(a_yoke_program_can_be_started_as_a_plain_one)
{
    int rc = call_over(NULL);

    return rc < 0 ? rc : call_over("tcp:127.0.0.1:0");
}

/* Exit status of this executable, started with that command line as tractor starts a child. */
static int status_of(const char *uid, const char *address)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) != NULL)
            execl(SELF, "python", "-m", "tractor._child", "--uid", uid, "--parent_addr", address,
                  (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void an_identity_that_is_none_is_refused(void **state)
{
    static const char *const uids[] = {
        "",
        "('a', 'b'",
        "('a')",
        "('', 'b')",
        "('a', '')",
        "('a\\n', 'b')",
        "(\"a', 'b')",
        "a, b",
        "('a', 'b')x",
        "('0123456789012345678901234567890123456789012345678901234567890123', 'b')",
    };

    (void)state;
    for (size_t i = 0; i < sizeof uids / sizeof *uids; i++)
        assert_int_equal(status_of(uids[i], "('/nowhere', 'x.sock')"), 2);
}

static void an_address_where_nobody_is_ends_the_child(void **state)
{
    static const char *const addresses[] = {
        "('/nowhere', 'x.sock')", "('127.0.0.1', 1)", "('127.0.0.1', 99999)", "('127.0.0.1')",
        "('8.8.8.8', 1616)",      "nonsense",         "('/a/../..', '')",     "(1, 2)",
    };

    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        assert_int_equal(status_of("(\"it's\", 'b')", addresses[i]), 1);
}

static bool has(int argc, char **argv, const char *argument)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], argument) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_actor_needs_an_executable),
        cmocka_unit_test(an_executable_that_is_not_there_is_an_error),
        cmocka_unit_test(one_that_ends_before_it_connects_has_died),
        cmocka_unit_test(one_that_never_connects_is_unresponsive_and_ended),
        cmocka_unit_test(a_yoke_program_can_be_started_as_a_plain_one),
        cmocka_unit_test(an_identity_that_is_none_is_refused),
        cmocka_unit_test(an_address_where_nobody_is_ends_the_child),
    };

    if (has(argc, argv, "--leave"))
        return 7;
    if (has(argc, argv, "--idle"))
        return pause();
    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("plain actors", tests, NULL, NULL);
}
