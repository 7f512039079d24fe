/* SPDX-License-Identifier: MIT */
/*
 * Plain peers played from the transcripts against real actors, on real sockets and processes: a
 * recorded root whose child is this executable, started as tractor starts one; and a recorded child
 * that a yoke root starts as a plain actor, which is this executable too, run with "--play FILE".
 * The connections on which a child registers are not played: our child does not need them.
 *
 * Not played: scenarios of three actors (nested, peer), of the registrar, of payload types, which
 * our endpoints check themselves, and of overruns.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "../tests/actor/transcripts_endpoints.h"
#include "../tests/actor/transcripts_script.h"
#include "../tests/support/actors.h"

/* --- a yoke root with a recorded child -------------------------------------------------------- */

static int64_t integer(struct yoke_value value)
{
    return value.type == YOKE_INT ? value.as.integer : INT64_MIN;
}

static void expect_failure(int rc, int code, const char *type)
{
    struct yoke_error *error;

    yk_check_int(rc, code);
    error = yk_caught();
    yk_check_error(error, type, code, NULL);
    yoke_error_unref(error);
}

static void drive_run(struct yoke_portal *child)
{
    struct yoke_value *sum = NULL;

    yk_check_int(yoke_call(child, "capmod:add", YOKE_MAP({"a", yoke_int(1)}, {"b", yoke_int(2)}),
                           &sum),
                 0);
    yk_check_int(sum == NULL ? 0 : integer(*sum), 3);
    yoke_value_free(sum);
}

static void drive_err_run(struct yoke_portal *child)
{
    int rc = yoke_call(child, "capmod:boom", YOKE_MAP({"msg", yoke_str("kaboom")}), NULL);

    expect_failure(rc, YOKE_EREMOTE, "ValueError");
}

static void drive_err_bad_kwargs(struct yoke_portal *child)
{
    int rc =
        yoke_call(child, "capmod:add", YOKE_MAP({"a", yoke_int(1)}, {"zzz", yoke_int(2)}), NULL);

    expect_failure(rc, YOKE_EREMOTE, "TypeError");
}

static void drive_err_nofunc(struct yoke_portal *child)
{
    expect_failure(yoke_call(child, "capmod:does_not_exist", yoke_nil(), NULL), YOKE_EREMOTE,
                   "AttributeError");
    expect_failure(yoke_call(child, "os:getpid", yoke_nil(), NULL), YOKE_ENOTEXPOSED,
                   "yoke.NotExposed");
}

static void drive_ctx(struct yoke_portal *child)
{
    struct yoke_outcome *outcome = NULL;
    struct yoke_context ctx;

    yk_check_int(yoke_context_open(&ctx, child, "capmod:ctx_started_result",
                                   YOKE_MAP({"x", yoke_int(7)}), NULL),
                 0);
    yk_check_int(integer(yoke_value_get(yoke_context_first(&ctx), "hello")), 7);
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_text(yk_text_of(yoke_outcome_result(outcome)), "result 7");
    yoke_outcome_free(outcome);
}

static void drive_ctx_cancel(struct yoke_portal *child)
{
    struct yoke_outcome *outcome = NULL;
    struct yoke_context ctx;

    yk_check_int(yoke_context_open(&ctx, child, "capmod:ctx_sleep", yoke_nil(), NULL), 0);
    yoke_context_cancel(&ctx, "as recorded");
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check(yoke_outcome_cancelled(outcome) && yoke_outcome_cancel_acked(outcome));
    yoke_outcome_free(outcome);
}

static void drive_ctx_cancel_by_scope(struct yoke_portal *child)
{
    struct yoke_scope scope;
    struct yoke_context ctx;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_context_open(&ctx, child, "capmod:ctx_sleep", yoke_nil(), NULL), 0);
    yoke_scope_cancel(&scope, "as recorded");
    rc = yoke_sleep_forever();
    rc = yoke_context_close(&ctx, rc, NULL);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
}

static void drive_ctx_child_self_cancel(struct yoke_portal *child)
{
    struct yoke_context ctx;
    struct yoke_error *error;

    yk_check_int(yoke_context_open(&ctx, child, "capmod:ctx_self_cancel", yoke_nil(), NULL), 0);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EPEERCANCELLED);
    error = yk_caught();
    yk_check_chain(yoke_error_cause(error), "context, context cancel by child");
    yoke_error_unref(error);
}

static void drive_failing_context(struct yoke_portal *child, const char *endpoint, bool opens)
{
    struct yoke_context ctx;
    struct yoke_value value;
    int rc = yoke_context_open(&ctx, child, endpoint, yoke_nil(), NULL);

    yk_check_int(rc, opens ? 0 : YOKE_EREMOTE);
    while (opens && rc >= 0 && (rc = yoke_stream_receive(&ctx, &value)) > 0)
        yk_check_int(integer(value), 1);
    if (opens)
        rc = yoke_context_close(&ctx, rc, NULL);
    expect_failure(rc, YOKE_EREMOTE, "ValueError");
}

static void drive_err_ctx_before_started(struct yoke_portal *child)
{
    drive_failing_context(child, "capmod:ctx_boom_before_started", false);
}

static void drive_err_ctx_after_started(struct yoke_portal *child)
{
    drive_failing_context(child, "capmod:ctx_boom_after_started", true);
}

static void drive_err_ctx_in_stream(struct yoke_portal *child)
{
    drive_failing_context(child, "capmod:ctx_boom_in_stream", true);
}

static void drive_stream_bidir(struct yoke_portal *child)
{
    static const int64_t sent[] = {0, 1, 127, 128, 65536, -1};
    struct yoke_outcome *outcome = NULL;
    struct yoke_context ctx;
    struct yoke_value value;

    yk_check_int(yoke_context_open(&ctx, child, "capmod:ctx_echo", yoke_nil(), NULL), 0);
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        yk_check_int(yoke_stream_send(&ctx, yoke_int(sent[i])), 0);
        yk_check_int(yoke_stream_receive(&ctx, &value), 1);
        yk_check_int(integer(value), sent[i]);
    }
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_int(integer(yoke_outcome_result(outcome)), 6);
    yoke_outcome_free(outcome);
}

static void drive_stream_child_ends(struct yoke_portal *child)
{
    struct yoke_outcome *outcome = NULL;
    struct yoke_context ctx;
    struct yoke_value value;

    yk_check_int(yoke_context_open(&ctx, child, "capmod:ctx_count_up", YOKE_MAP({"n", yoke_int(4)}),
                                   NULL),
                 0);
    for (int i = 0; i < 4; i++) {
        yk_check_int(yoke_stream_receive(&ctx, &value), 1);
        yk_check_int(integer(value), i);
    }
    yk_check_int(yoke_stream_receive(&ctx, &value), 0);
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_int(integer(yoke_outcome_result(outcome)), 4);
    yoke_outcome_free(outcome);
}

static void drive_cancel_actor(struct yoke_portal *child)
{
    yoke_portal_cancel_actor(child, "as recorded");
    yk_check_int(yoke_portal_wait(child, NULL, NULL), 0);
}

/* A tractor root hangs here. Its death is told to the nursery as well. */
static void drive_killed(struct yoke_portal *child, const char *endpoint)
{
    struct yoke_context ctx;
    struct yoke_scope scope;
    int rc;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true}), 0);
    yk_check_int(yoke_context_open(&ctx, child, endpoint, yoke_nil(), NULL), 0);
    rc = yoke_context_close(&ctx, 0, NULL);
    expect_failure(rc, YOKE_EDIED, "yoke.ActorDied");
    yk_check_int(yoke_scope_close(&scope, 0), 0);
}

static void drive_sigkill_ctx(struct yoke_portal *child)
{
    drive_killed(child, "capmod:ctx_sleep");
}

static void drive_sigkill_run(struct yoke_portal *child)
{
    drive_killed(child, "capmod:sleep_long");
}

/* What can be played, and as which side. */
static const struct scenario {
    const char *name;
    void (*drive)(struct yoke_portal *child); /* NULL: not with a yoke root */
    bool yoke_child;
} scenarios[] = {
    {"cancel_actor", drive_cancel_actor, true},
    {"cancel_nursery", drive_cancel_actor, true},
    {"ctx", drive_ctx, true},
    {"ctx_cancel", drive_ctx_cancel, true},
    {"ctx_cancel_by_scope", drive_ctx_cancel_by_scope, true},
    {"ctx_child_self_cancel", drive_ctx_child_self_cancel, true},
    {"err_bad_kwargs", drive_err_bad_kwargs, true},
    {"err_ctx_after_started", drive_err_ctx_after_started, true},
    {"err_ctx_before_started", drive_err_ctx_before_started, true},
    {"err_ctx_in_stream", drive_err_ctx_in_stream, true},
    {"err_nofunc", drive_err_nofunc, true},
    {"err_run", drive_err_run, true},
    {"run", drive_run, true},
    {"run_in_actor", drive_run, true},
    {"sigkill_ctx", drive_sigkill_ctx, false},
    {"sigkill_run", drive_sigkill_run, false},
    {"stream_bidir", drive_stream_bidir, true},
    {"stream_child_ends", drive_stream_child_ends, true},
};

static const struct scenario *scenario_find(const char *file)
{
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (strcmp(scenarios[i].name, scenario_of(file)) == 0)
            return &scenarios[i];
    return NULL;
}

static bool over_tcp(const char *file)
{
    return strncmp(file, "tcp_", 4) == 0;
}

static int yoke_root(void *arg)
{
    const char *file = arg;
    const struct scenario *scenario = scenario_find(file);
    struct script *script = script_load(file);
    const char *const arguments[] = {"--play", file, NULL};
    struct yoke_actor_opts opts = {
        .executable = "/proc/self/exe",
        .plain = true,
        .arguments = arguments,
        .expose = "capmod",
        .listen = over_tcp(file) ? "tcp:127.0.0.1:0" : NULL,
    };
    bool dies = strstr(file, "sigkill") != NULL;
    struct yoke_actor_nursery actors;
    struct yoke_portal *child;
    int rc;

    yk_check_int(yoke_actor_nursery_open(&actors, NULL), 0);
    rc = yoke_actor_start(&actors, script->child, &opts, &child);
    script_free(script);
    yk_check_int(rc, 0);
    if (rc == 0)
        scenario->drive(child);
    rc = yoke_actor_nursery_close(&actors, rc);
    if (!dies)
        return rc;
    expect_failure(rc, YOKE_EDIED, "yoke.ActorDied");
    return 0;
}

static void a_recorded_child_of_a_yoke_root(void **state)
{
    yk_actors_run(yoke_root, *state);
}

/* --- a yoke child of a recorded root ---------------------------------------------------------- */

struct place {
    int fd;
    char text[160]; /* as on the command line */
    char path[108]; /* of a Unix socket; "" */
};

static void listen_tcp(struct place *place)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    place->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(place->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(place->fd, 1), 0);
    assert_int_equal(getsockname(place->fd, (struct sockaddr *)&address, &size), 0);
    snprintf(place->text, sizeof place->text, "('127.0.0.1', %d)", ntohs(address.sin_port));
}

static void listen_unix(struct place *place)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/yoke-play-%d.sock", (int)getpid());
    snprintf(place->path, sizeof place->path, "%s", address.sun_path);
    unlink(place->path);
    place->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(place->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(place->fd, 1), 0);
    snprintf(place->text, sizeof place->text, "('/tmp', 'yoke-play-%d.sock')", (int)getpid());
}

/* The player of a root is a process of its own, since it exits on failure. */
_Noreturn static void play_root(const char *file)
{
    struct script *script = script_load(file);
    struct place place = {.fd = -1};
    char uid[160], rest;
    int fd, status;
    pid_t pid;

    (over_tcp(file) ? listen_tcp : listen_unix)(&place);
    snprintf(uid, sizeof uid, "('%s', '%s')", script->child, script->child_uuid);
    pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "python", "-m", "tractor._child", "--uid", uid, "--parent_addr",
              place.text, "--loglevel", "ERROR", (char *)NULL);
        _exit(127);
    }
    fd = accept4(place.fd, NULL, NULL, SOCK_CLOEXEC);
    script_play(script, fd, true);
    if (recv(fd, &rest, 1, 0) != 0)
        play_failed(script, 0, "it goes on after the end");
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        play_failed(script, 0, "it did not exit with 0");
    if (place.path[0] != '\0')
        unlink(place.path);
    _exit(0);
}

static void a_yoke_child_of_a_recorded_root(void **state)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        play_root(*state);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* --- playing a child -------------------------------------------------------------------------- */

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

static int connect_to(const char *address)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char first[100], second[100];
    int port, fd;

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (sscanf(address, "('127.0.0.1', %d)", &port) == 1) {
        in.sin_port = htons((uint16_t)port);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        return connect(fd, (struct sockaddr *)&in, sizeof in) == 0 ? fd : -1;
    }
    if (sscanf(address, "('%99[^']', '%99[^']')", first, second) != 2 ||
        snprintf(un.sun_path, sizeof un.sun_path, "%s/%s", first, second) >=
            (int)sizeof un.sun_path)
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&un, sizeof un) == 0 ? fd : -1;
}

_Noreturn static void play_child(const char *file, int argc, char **argv)
{
    struct script *script = script_load(file);
    const char *uid = option(argc, argv, "--uid");
    const char *address = option(argc, argv, "--parent_addr");
    char name[64], uuid[64];
    int fd = -1;

    if (uid != NULL && address != NULL && strcmp(option(argc, argv, "-m"), "tractor._child") == 0 &&
        sscanf(uid, "('%63[^']', '%63[^']')", name, uuid) == 2)
        fd = connect_to(address);
    if (fd < 0 || strcmp(name, script->child) != 0)
        play_failed(script, 0, "not the command line of a child, or nobody listens");
    script_name(script, script->child_uuid, uuid);
    script_drop_late_requests(script);
    script_play(script, fd, false);
    exit(0);
}

/* --- all of them ------------------------------------------------------------------------------ */

static struct CMUnitTest tests[2 * sizeof scenarios / sizeof *scenarios * 2];
static size_t tests_n;

static void add(const char *side, const char *file, CMUnitTestFunction fn)
{
    char *name = NULL, *copy = strdup(file);

    if (asprintf(&name, "%s: %s", side, file) < 0 || copy == NULL)
        exit(EXIT_FAILURE);
    tests[tests_n++] = (struct CMUnitTest){name, fn, NULL, NULL, copy};
}

static void add_file(const char *file, void *arg)
{
    const struct scenario *scenario = scenario_find(file);

    (void)arg;
    if (scenario != NULL && scenario->drive != NULL)
        add("recorded child", file, a_recorded_child_of_a_yoke_root);
    if (scenario != NULL && scenario->yoke_child)
        add("recorded root", file, a_yoke_child_of_a_recorded_root);
}

int main(int argc, char **argv)
{
    const char *file = option(argc, argv, "--play");
    int failed;

    if (file != NULL)
        play_child(file, argc, argv);
    yk_actors_begin(argc, argv);
    yk_transcript_names(add_file, NULL);
    failed =
        _cmocka_run_group_tests("plain peers played from transcripts", tests, tests_n, NULL, NULL);
    for (size_t i = 0; i < tests_n; i++) {
        free((void *)(uintptr_t)tests[i].name);
        free(tests[i].initial_state);
    }
    return failed;
}
