/* SPDX-License-Identifier: MIT */
/*
 * Links between any two actors: opening and closing them, and row 14 of the table of the design:
 * what is lost with a link, whoever ended it and however. Real processes, over Unix sockets and
 * TCP.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/net.h>
#include <yoke/peer.h>
#include <yoke/task.h>
#include <yoke/testing.h>

#include "../tests/support/actors.h"

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("peer:stay", stay);

static int pid(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_int(getpid()));
}
YOKE_ENDPOINT("peer:pid", pid);

/* Opens peer:stay in the actor at args.address, and stays itself. */
static int open_and_stay(struct yoke_context *ctx, struct yoke_value args)
{
    char address[YOKE_ADDRESS_MAX];
    struct yoke_portal *portal = NULL;
    struct yoke_context inner;
    int rc = yoke_value_text(yoke_value_get(args, "address"), "address", address, sizeof address);

    if (rc == 0)
        rc = yoke_portal_open(address, NULL, &portal);
    if (rc == 0)
        rc = yoke_context_open(&inner, portal, "peer:stay", args, NULL);
    if (rc < 0)
        return rc;
    rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_sleep_forever();
    rc = yoke_context_close(&inner, rc, NULL);
    yoke_portal_close(portal);
    return rc;
}
YOKE_ENDPOINT("peer:open_and_stay", open_and_stay);

/* Spins for args.ms without a checkpoint. */
static int hog(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t ms;
    int rc = yoke_value_int(yoke_value_get(args, "ms"), "ms", &ms);
    clock_t until = clock() + (clock_t)ms * (CLOCKS_PER_SEC / 1000);

    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    while (rc == 0 && clock() < until)
        continue;
    return rc;
}
YOKE_ENDPOINT("peer:hog", hog);

static struct yoke_portal *start(struct yoke_actor_nursery *nursery, const char *name)
{
    struct yoke_actor_opts opts = {.expose = "*", .listen = yk_via_address()};
    struct yoke_portal *portal = NULL;

    yk_check_int(yoke_actor_start(nursery, name, &opts, &portal), 0);
    return portal;
}

static void check_pid(struct yoke_portal *portal, int32_t expected)
{
    struct yoke_value *value = NULL;

    yk_check_int(yoke_call(portal, "peer:pid", yoke_nil(), &value), 0);
    yk_check(value != NULL && value->as.integer == expected);
    yoke_value_free(value);
}

/* --- opening and closing ---------------------------------------------------------------------- */

YK_PEER_TEST(the_same_address_is_the_same_portal_until_it_is_closed)
{
    struct yoke_portal *again = NULL, *after = NULL;
    const char *address = yoke_portal_address(peer);
    int32_t expected = yoke_portal_actor(peer)->pid;

    yk_check_int(yoke_portal_open(address, NULL, &again), 0);
    yk_check(again == peer);
    yoke_portal_close(again);
    yk_check(yoke_portal_connected(peer));
    check_pid(peer, expected);
    yk_check_int(yoke_portal_open(address, NULL, &after), 0);
    yoke_portal_close(after);
    check_pid(peer, expected);
    yk_check_text(yoke_portal_actor(peer)->name, "peer");
    yk_check_text(yoke_portal_actor(peer)->uuid, yoke_portal_actor(yk_peer_child())->uuid);
}

YK_PEER_TEST(a_portal_can_be_opened_anew_after_it_was_closed)
{
    char address[YOKE_ADDRESS_MAX];

    snprintf(address, sizeof address, "%s", yoke_portal_address(peer));
    for (int i = 0; i < 20; i++) {
        struct yoke_portal *other = NULL;
        char same[YOKE_ADDRESS_MAX + 2];

        /* Another spelling of it is another link. */
        snprintf(same, sizeof same, "%s", address);
        if (yk_via() == YK_VIA_UNIX)
            snprintf(same, sizeof same, "unix:/.%.100s", address + 5);
        yk_check_int(yoke_portal_open(same, NULL, &other), 0);
        check_pid(other, yoke_portal_actor(peer)->pid);
        yoke_portal_close(other);
    }
}

YK_ACTORS_TEST(an_actor_may_connect_to_itself)
{
    struct yoke_portal *me = NULL;
    char address[YOKE_ADDRESS_MAX];

    yk_check_text(yoke_actor_address(), "");
    yk_check_int(yoke_actor_expose("peer:*"), 0);
    yk_check_int(yoke_actor_listen(yk_via_address(), NULL, address), 0);
    yk_check_text(yoke_actor_address(), address);
    yk_check_int(yoke_portal_open(address, NULL, &me), 0);
    check_pid(me, getpid());
    yoke_portal_close(me);
    return 0;
}

YK_PEER_TEST(a_peer_serves_what_it_exposes_and_nothing_else)
{
    yk_check_int(yoke_call(peer, "peer:nothing", yoke_nil(), NULL), YOKE_ENOTEXPOSED);
    yk_check_caught("yoke.NotExposed", NULL);
}

/* Where a listener has been, and is not any more. */
static void address_of_ended(char *address)
{
    struct yoke_actor_nursery nursery;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    snprintf(address, YOKE_ADDRESS_MAX, "%s", yoke_portal_address(start(&nursery, "ended")));
    yk_check_int(yoke_actor_nursery_close(&nursery, 0), 0);
}

YK_ACTORS_TEST(where_nobody_listens_nothing_is_opened)
{
    struct yoke_portal *portal = NULL;
    char address[YOKE_ADDRESS_MAX];

    address_of_ended(address);
    yk_check_int(yoke_portal_open(address, NULL, &portal),
                 yk_via() == YK_VIA_UNIX ? -ENOENT : -ECONNREFUSED);
    yk_check_caught("yoke.Net", NULL);
    if (yk_via() == YK_VIA_UNIX)
        yk_check(access(address + 5, F_OK) < 0); /* the socket was removed */
    yk_check(portal == NULL);
    return 0;
}

/* A listener that takes connections and says nothing. */
static int hold_silent(void *arg)
{
    struct yoke_conn *conn;
    int rc = yoke_accept(arg, &conn);

    if (rc < 0)
        return rc;
    rc = yoke_sleep_forever();
    yoke_conn_unref(conn);
    return rc;
}

YK_ACTORS_TEST(who_never_greets_is_given_up_in_time)
{
    struct yoke_portal_opts opts = {.timeout_ns = YOKE_MS(30)};
    struct yoke_listener *listener;
    struct yoke_nursery nursery;
    struct yoke_portal *portal;
    char address[YOKE_ADDRESS_MAX], place[YOKE_ADDRESS_TEXT];
    int rc = yoke_nursery_open(&nursery, NULL);

    snprintf(place, sizeof place, "unix:/tmp/yoke-silent-%d.sock", (int)getpid());
    yk_check_int(yoke_listen(yk_via() == YK_VIA_UNIX ? place : "127.0.0.1:0", NULL, &listener), 0);
    if (yk_via() == YK_VIA_TCP)
        yoke_address_format(yoke_listener_address(listener), place, sizeof place);
    snprintf(address, sizeof address, "%s%.100s", yk_via() == YK_VIA_TCP ? "tcp:" : "", place);
    yk_check_int(yoke_spawn(&nursery, hold_silent, listener), 0);
    yk_check_int(yoke_portal_open(address, &opts, &portal), YOKE_EUNRESPONSIVE);
    yk_check_caught("yoke.Unresponsive", "the actor did not say who it is within 30 ms");
    yoke_listener_unref(listener);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    return yoke_nursery_close(&nursery, rc);
}

YK_ACTORS_TEST(addresses_that_make_no_sense_are_refused)
{
    static const struct {
        const char *address;
        int code;
    } bad[] = {
        {"", -EINVAL},
        {"/run/x.sock", -EINVAL},
        {"udp:127.0.0.1:1", -EINVAL},
        {"unix:x.sock", -EINVAL},
        {"unix:/run/", -EINVAL},
        {"tcp:localhost:1616", -EINVAL},
        {"tcp:127.0.0.1", -EINVAL},
        {"tcp:0.0.0.0:1616", -EACCES},
        {"tcp:192.0.2.1:1616", -EACCES},
        {"tcp:[2001:db8::1]:1616", -EACCES},
    };
    struct yoke_portal *portal;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        yk_check_int(yoke_portal_open(bad[i].address, NULL, &portal), bad[i].code);
        yk_check_caught("yoke.Address", NULL);
        yk_check_int(yoke_actor_listen(bad[i].address, NULL, NULL), bad[i].code);
        yk_check_caught("yoke.Address", NULL);
    }
    yk_check_int(yoke_portal_open("unix:", NULL, &portal), -EINVAL);
    yk_check_caught("yoke.Address", NULL);
    return 0;
}

/* --- where Unix sockets lie ------------------------------------------------------------------- */

static void with_runtime_dir(const char *path, int expected)
{
    char address[YOKE_ADDRESS_MAX], name[64];
    struct stat status;

    setenv("XDG_RUNTIME_DIR", path, 1);
    yk_check_int(yoke_actor_listen("unix:", NULL, address), expected);
    unsetenv("XDG_RUNTIME_DIR");
    if (expected < 0) {
        yk_check_caught("yoke.Address", NULL);
        return;
    }
    snprintf(name, sizeof name, "/yoke/root@%d.sock", (int)getpid());
    yk_check(strstr(address, name) != NULL);
    yk_check_int(stat(address + 5, &status), 0);
    yk_check_int(status.st_mode & 0777, 0600);
    *strrchr(address, '/') = '\0';
    yk_check_int(stat(address + 5, &status), 0);
    yk_check_int(status.st_mode & 0777, 0700);
}

static int make_directories(void *arg)
{
    const char *base = arg;
    char path[128], target[128];

    snprintf(path, sizeof path, "%s/yoke", base);
    snprintf(target, sizeof target, "%s/elsewhere", base);
    yk_check_int(mkdir(target, 0700), 0);
    yk_check_int(symlink(target, path), 0);
    with_runtime_dir(base, -EPERM); /* a link */
    yk_check_int(unlink(path), 0);
    yk_check_int(mkdir(path, 0755), 0);
    if (geteuid() == 0) {
        yk_check_int(chown(path, 65534, 65534), 0);
        with_runtime_dir(base, -EPERM); /* another user's */
        yk_check_int(chown(path, 0, 0), 0);
    }
    with_runtime_dir(base, 0); /* open to all: closed */
    yk_check_int(rmdir(target), 0);
    return 0;
}

/* Nothing is left in it when the runtime ends: else it could not be removed. */
static void the_private_directory_is_made_and_must_be_safe(void **state)
{
    char base[64] = "/tmp/yoke-test-XXXXXX", path[128];
    const char *given = getenv("XDG_RUNTIME_DIR");
    char *before = given != NULL ? strdup(given) : NULL;

    (void)state;
    assert_non_null(mkdtemp(base));
    yk_actors_run(make_directories, base);
    snprintf(path, sizeof path, "%s/yoke", base);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(base), 0);
    if (before != NULL)
        setenv("XDG_RUNTIME_DIR", before, 1);
    free(before);
}

/* An actor's name may be no file's, or leave no room in a path. */
YK_ACTORS_TEST(any_actors_name_gives_a_socket)
{
    static const char *const names[] = {
        "a/b", "..", "a name of sixty-three bytes, which is as long as one may be 123456"};
    struct yoke_actor_nursery nursery;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    for (size_t i = 0; rc == 0 && i < 3; i++) {
        struct yoke_actor_opts opts = {.expose = "*", .listen = "unix:"};
        struct yoke_portal *child, *portal;
        char name[64];

        snprintf(name, sizeof name, "%s", names[i]);
        rc = yoke_actor_start(&nursery, name, &opts, &child);
        if (rc == 0)
            rc = yoke_portal_open(yoke_portal_address(child), NULL, &portal);
        if (rc < 0)
            break;
        check_pid(portal, yoke_portal_actor(child)->pid);
        yoke_portal_close(portal);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}

/* A child that can't listen where it is told to does not come up. */
YK_ACTORS_TEST(a_child_that_cannot_listen_says_why)
{
    struct yoke_actor_opts opts = {.listen = "unix:/proc/nowhere/x.sock"};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    struct yoke_error *error;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "deaf", &opts, &portal);
    yk_check_int(rc, YOKE_EREMOTE);
    rc = yoke_actor_nursery_close(&nursery, rc);
    yk_check_int(rc, YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "yoke.Address", YOKE_EREMOTE, NULL);
    yk_check(strstr(yoke_error_message(error), "/proc/nowhere can't be made") != NULL);
    yoke_error_unref(error);
    return 0;
}

/* --- row 14: the link is lost ----------------------------------------------------------------- */

static void check_lost(struct yoke_context *ctx, const char *how)
{
    struct yoke_error *error;

    yk_check_int(yoke_sleep_forever(), YOKE_CANCELLED);
    yk_check_int(yoke_cause_kind(yoke_why()), YOKE_CAUSE_LINK_LOST);
    yk_check_int(yoke_cause_layer(yoke_why()), YOKE_LAYER_CONTEXT);
    yk_check_int(yoke_context_close(ctx, YOKE_CANCELLED, NULL), YOKE_ELINK);
    error = yk_caught();
    yk_check_error(error, "yoke.LinkLost", YOKE_ELINK, NULL);
    if (strstr(yoke_error_message(error), how) == NULL)
        yk_check_failed(__FILE__, __LINE__, "lost for \"%s\", not \"%s\"",
                        yoke_error_message(error), how);
    yoke_error_unref(error);
}

/* The peer's process is stopped: nothing tells but its silence. */
YK_PEER_TEST(row_14_a_silent_peer_is_lost_within_the_bound)
{
    struct yoke_context ctx;
    int64_t since;

    yk_check_int(yoke_context_open(&ctx, peer, "peer:stay", yoke_nil(), NULL), 0);
    yoke_actor_heartbeat(YOKE_MS(500));
    yk_check_int(kill(yoke_portal_actor(peer)->pid, SIGSTOP), 0);
    since = yoke_now();
    check_lost(&ctx, "was lost: it was silent for too long");
    yk_check(yoke_now() - since >= YOKE_MS(300));
    yk_check(!yoke_portal_connected(peer));
    yk_check_int(yoke_call(peer, "peer:pid", yoke_nil(), NULL), YOKE_ELINK);
    yk_check_caught("yoke.LinkLost", NULL);
    yoke_actor_heartbeat(0);
    yk_check_int(kill(yoke_portal_actor(peer)->pid, SIGCONT), 0);
}

/* It may be silent for as long as the bound is not over, and says when it is asked that it lives.
 */
YK_PEER_TEST(row_14_a_peer_that_has_nothing_to_say_is_not_lost)
{
    struct yoke_context ctx;
    struct yoke_scope scope;
    int rc;

    yoke_actor_heartbeat(YOKE_MS(500));
    yk_check_int(yoke_context_open(&ctx, peer, "peer:stay", yoke_nil(), NULL), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(1500)}),
                 0);
    rc = yoke_sleep_forever();
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    yk_check(yoke_portal_connected(peer));
    yoke_context_cancel(&ctx, NULL);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(row_14_without_a_heartbeat_a_stopped_peer_is_waited_for)
{
    struct yoke_scope scope;
    int rc;

    yoke_actor_heartbeat(-1);
    yk_check_int(kill(yoke_portal_actor(peer)->pid, SIGSTOP), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(300)}), 0);
    rc = yoke_sleep_forever();
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_portal_connected(peer));
    yk_check_int(kill(yoke_portal_actor(peer)->pid, SIGCONT), 0);
    check_pid(peer, yoke_portal_actor(peer)->pid);
}

/* What C sees when P is killed: two actors, neither of which is the other's parent. */
YK_ACTORS_TEST(row_14_endpoints_of_a_killed_opener_are_cancelled)
{
    struct yoke_actor_nursery outer, inner;
    struct yoke_portal *server, *client;
    struct yoke_context ctx;
    struct yk_report report;
    char expected[256];
    int rc;

    yk_report_open(&report);
    yk_check_int(yoke_actor_nursery_open(&outer, NULL), 0);
    server = start(&outer, "server");
    yk_check_int(yoke_actor_nursery_open(&inner, NULL), 0);
    client = start(&inner, "client");
    yk_check_int(yoke_context_open(&ctx, client, "peer:open_and_stay",
                                   YOKE_MAP({"address", yoke_str(yoke_portal_address(server))},
                                            {"report", yoke_str(report.path)}),
                                   NULL),
                 0);
    snprintf(expected, sizeof expected,
             "Cancelled: context, link lost by client[the link to actor client (pid %d) was lost: "
             "it closed the connection]{yoke.LinkLost}\n",
             (int)yoke_portal_actor(client)->pid);
    yk_check_int(kill(yoke_portal_actor(client)->pid, SIGKILL), 0);
    rc = yoke_context_close(&ctx, yoke_sleep_forever(), NULL);
    yk_check_int(yoke_actor_nursery_close(&inner, rc), YOKE_EDIED);
    yoke_clear();
    check_pid(server, yoke_portal_actor(server)->pid); /* it lives, and serves on */
    rc = yoke_actor_nursery_close(&outer, 0);
    yk_report_close(&report, expected);
    return rc;
}

/* --- children, whom their supervisor decides about -------------------------------------------- */

static int with_child(int64_t heartbeat_ns, void (*body)(struct yoke_portal *child))
{
    struct yoke_actor_opts opts = {
        .expose = "*",
        .heartbeat_ns = heartbeat_ns,
    };

    if (heartbeat_ns > 0)
        opts.cancel_timeout_ns = opts.term_timeout_ns = YOKE_MS(50); /* it stays stopped */
    return yk_with_peer(&opts, body);
}

static void stop_for_ever(struct yoke_portal *child)
{
    struct yoke_context ctx;
    struct yoke_error *error;

    yk_check_int(yoke_context_open(&ctx, child, "peer:stay", yoke_nil(), NULL), 0);
    yk_check_int(kill(yoke_portal_actor(child)->pid, SIGSTOP), 0);
    yk_check_int(yoke_sleep_forever(), YOKE_CANCELLED);
    yk_check_int(yoke_context_close(&ctx, YOKE_CANCELLED, NULL), YOKE_EUNRESPONSIVE);
    error = yk_caught();
    yk_check_error(error, "yoke.Unresponsive", YOKE_EUNRESPONSIVE, NULL);
    yoke_error_unref(error);
}

YK_ACTORS_TEST(a_hung_child_is_ended_if_its_supervisor_wants_that)
{
    struct yoke_error *error;

    yk_check_int(with_child(YOKE_MS(500), stop_for_ever), YOKE_EUNRESPONSIVE);
    error = yk_caught();
    yk_check_error(error, "yoke.Unresponsive", YOKE_EUNRESPONSIVE, NULL);
    yk_check(strstr(yoke_error_message(error), "gave no sign of life for 500 ms") != NULL);
    yoke_error_unref(error);
    return 0;
}

static void stop_and_continue(struct yoke_portal *child)
{
    int32_t number = yoke_portal_actor(child)->pid;
    struct yoke_scope scope;
    int rc;

    yoke_actor_heartbeat(YOKE_MS(100)); /* which concerns others than children */
    yk_check_int(kill(number, SIGSTOP), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(300)}), 0);
    rc = yoke_sleep_forever();
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check_int(kill(number, SIGCONT), 0);
    check_pid(child, number);
}

YK_ACTORS_TEST(a_child_that_is_stopped_is_left_alone_by_default)
{
    return with_child(0, stop_and_continue);
}

/* A parent that does not answer is no reason for its child to leave. */
YK_PEER_TEST(who_hogs_his_thread_for_less_than_the_bound_is_not_lost)
{
    struct yoke_context ctx;

    yoke_actor_heartbeat(YOKE_S(5));
    yk_check_int(yoke_context_open(&ctx, peer, "peer:hog", YOKE_MAP({"ms", yoke_int(500)}), NULL),
                 0);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
    yk_check(yoke_portal_connected(peer));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        YK_OVER_PEERS(the_same_address_is_the_same_portal_until_it_is_closed),
        YK_OVER_PEERS(a_portal_can_be_opened_anew_after_it_was_closed),
        YK_OVER_PEERS(an_actor_may_connect_to_itself),
        YK_OVER_PEERS(a_peer_serves_what_it_exposes_and_nothing_else),
        YK_OVER_PEERS(where_nobody_listens_nothing_is_opened),
        YK_OVER_PEERS(who_never_greets_is_given_up_in_time),
        cmocka_unit_test(addresses_that_make_no_sense_are_refused),
        cmocka_unit_test(the_private_directory_is_made_and_must_be_safe),
        cmocka_unit_test(any_actors_name_gives_a_socket),
        cmocka_unit_test(a_child_that_cannot_listen_says_why),
        YK_OVER_PEERS(row_14_a_silent_peer_is_lost_within_the_bound),
        YK_OVER_PEERS(row_14_a_peer_that_has_nothing_to_say_is_not_lost),
        YK_OVER_PEERS(row_14_without_a_heartbeat_a_stopped_peer_is_waited_for),
        YK_OVER_PEERS(row_14_endpoints_of_a_killed_opener_are_cancelled),
        cmocka_unit_test(a_hung_child_is_ended_if_its_supervisor_wants_that),
        cmocka_unit_test(a_child_that_is_stopped_is_left_alone_by_default),
        YK_OVER_PEERS(who_hogs_his_thread_for_less_than_the_bound_is_not_lost),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("peers", tests, NULL, NULL);
}
