/* SPDX-License-Identifier: MIT */
/*
 * Attempts to mask an error by a cancellation, or by another error, between processes. In each the
 * error that was in flight first must reach the opener, with what came later carried by it.
 *
 * The tree is root -> peer, or root -> peer ("mid" in the names of tests) -> leaf.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"

/* Starts, and waits until the opener says go. */
static int start_and_wait_for_go(struct yoke_context *ctx)
{
    struct yoke_value go;
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_stream_receive(ctx, &go);
    return rc < 0 ? rc : 0;
}

/* Cleanup that forgets to set its error aside, and blocks until it is cancelled. */
static int block_in_cleanup(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = start_and_wait_for_go(ctx);

    (void)args;
    if (rc == 0)
        rc = yoke_raise("app.First", EIO, "the error");
    if (yoke_sleep_forever() != YOKE_CANCELLED)
        return 0;
    return rc;
}
YOKE_ENDPOINT("mask:block_in_cleanup", block_in_cleanup);

/* The worst kind: it even returns what the cleanup returned. */
static int return_what_cleanup_returned(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = start_and_wait_for_go(ctx);

    (void)args;
    if (rc == 0)
        rc = yoke_raise("app.First", EIO, "the error");
    rc = yoke_sleep_forever();
    return rc;
}
YOKE_ENDPOINT("mask:return_what_cleanup_returned", return_what_cleanup_returned);

static int block_in_hold(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_hold hold;
    int rc = start_and_wait_for_go(ctx);

    (void)args;
    if (rc == 0)
        rc = yoke_raise("app.First", EIO, "the error");
    yoke_hold(&hold);
    if (yoke_sleep_forever() != YOKE_CANCELLED)
        yoke_clear();
    rc = yoke_release(&hold);
    return rc;
}
YOKE_ENDPOINT("mask:block_in_hold", block_in_hold);

static int fail_in_nursery(void *arg)
{
    int rc = start_and_wait_for_go(arg);

    return rc < 0 ? rc : yoke_raise("app.First", EIO, "the error");
}

static int block_with_cleanup(void *arg)
{
    struct yoke_scope scope;
    int rc = yoke_sleep_forever();
    int cleaned;

    (void)arg;
    cleaned = yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true});
    if (cleaned == 0)
        cleaned = yoke_checkpoint();
    cleaned = yoke_scope_close(&scope, cleaned);
    return cleaned < 0 ? cleaned : rc;
}

/* The error comes out of nested nurseries, whose other tasks and bodies are being cancelled. */
static int fail_in_nested_nurseries(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_nursery outer, inner;
    int rc = yoke_nursery_open(&outer, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_spawn(&outer, block_with_cleanup, NULL);
    if (rc == 0) {
        rc = yoke_nursery_open(&inner, NULL);
        if (rc == 0)
            rc = yoke_spawn(&inner, fail_in_nursery, ctx);
        if (rc == 0)
            rc = yoke_spawn(&inner, block_with_cleanup, NULL);
        if (rc == 0)
            rc = yoke_sleep_forever();
        rc = yoke_nursery_close(&inner, rc);
    }
    if (rc != YOKE_CANCELLED && yoke_sleep_forever() != YOKE_CANCELLED)
        yoke_clear(); /* the second time it is the context that is being cancelled */
    return yoke_nursery_close(&outer, rc);
}
YOKE_ENDPOINT("mask:fail_in_nested_nurseries", fail_in_nested_nurseries);

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("mask:stay", stay);

static int fail_while_unwinding(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = stay(ctx, args);

    return rc < 0 ? yoke_raise("app.Leaf", EBUSY, "the leaf could not clean up") : rc;
}
YOKE_ENDPOINT("mask:fail_while_unwinding", fail_while_unwinding);

static int fail_on_go(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = start_and_wait_for_go(ctx);

    (void)args;
    return rc < 0 ? rc : yoke_raise("app.Leaf", EBUSY, "the leaf failed on go");
}
YOKE_ENDPOINT("mask:fail_on_go", fail_on_go);

static int member_one(void *arg)
{
    (void)arg;
    return yoke_raise("app.One", EIO, "member one");
}

static int member_two(void *arg)
{
    (void)arg;
    return yoke_raise("app.Two", EBUSY, "member two");
}

static int fail_with_group(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    (void)ctx;
    (void)args;
    if (rc == 0)
        rc = yoke_spawn(&nursery, member_one, NULL);
    if (rc == 0)
        rc = yoke_spawn(&nursery, member_two, NULL);
    return yoke_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("mask:fail_with_group", fail_with_group);

/* An error with all that one can carry: context, because, suppressed, a note. */
static int fail_with_luggage(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_error *reason;
    struct yoke_hold hold;

    (void)ctx;
    (void)args;
    (void)yoke_raise("app.Reason", ENOSPC, "the reason");
    reason = yoke_catch();
    (void)yoke_raise("app.Context", EPERM, "what was in flight before");
    (void)yoke_raise_because(reason, "app.Main", EIO, "the main one");
    yoke_note("noted at %s", "the source");
    yoke_hold(&hold);
    (void)yoke_raise("app.Suppressed", EBUSY, "raised by the cleanup");
    return yoke_release(&hold);
}
YOKE_ENDPOINT("mask:fail_with_luggage", fail_with_luggage);

/*
 * Starts a leaf, opens args.endpoint there, starts, and passes on a go if one comes. With
 * args.hold the leaf's context is closed inside a hold, in cleanup of an error of its own.
 */
static int hop(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_actor_nursery nursery;
    struct yoke_context below;
    struct yoke_portal *leaf;
    struct yoke_hold hold;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "leaf", &opts, &leaf);
    if (rc == 0)
        rc = yoke_context_open(&below, leaf, yk_text_of(yoke_value_get(args, "endpoint")),
                               yoke_nil(), NULL);
    if (rc < 0)
        return yoke_actor_nursery_close(&nursery, rc);
    rc = start_and_wait_for_go(ctx);
    if (rc == 0)
        rc = yoke_stream_send(&below, yoke_nil());
    if (yoke_value_get(args, "hold").type == YOKE_BOOL) {
        rc = yoke_raise("app.Mid", EPROTO, "mid failed itself");
        yoke_hold(&hold);
        yoke_context_cancel(&below, "mid cleans up");
        if (yoke_context_close(&below, 0, NULL) < 0)
            yoke_note("while mid cleaned up");
        rc = yoke_release(&hold);
    } else {
        rc = yoke_context_close(&below, rc, NULL);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("mask:hop", hop);

static int open_context(struct yoke_context *ctx, struct yoke_portal *peer, const char *endpoint,
                        struct yoke_value args)
{
    int rc = yoke_context_open(ctx, peer, endpoint, args, NULL);

    yk_check_int(rc, 0);
    return rc;
}

/* Opens, says go, waits until the peer has been told, cancels; what close gives is caught. */
static struct yoke_error *go_and_cancel(struct yoke_portal *peer, const char *endpoint)
{
    struct yoke_context ctx;

    if (open_context(&ctx, peer, endpoint, yoke_nil()) < 0)
        return yk_caught();
    yk_check_int(yoke_stream_send(&ctx, yoke_nil()), 0);
    yoke_context_cancel(&ctx, "meanwhile");
    yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EREMOTE);
    return yk_caught();
}

static void check_carries_cancelled(const struct yoke_error *error)
{
    const struct yoke_error *cancelled;

    yk_check_error(error, "app.First", YOKE_EREMOTE, "the error");
    yk_check_int(yoke_error_errno(error), -EIO);
    yk_check_int(yoke_error_suppressed_count(error), 1);
    if (yoke_error_suppressed_count(error) != 1)
        return;
    cancelled = yoke_error_suppressed(error, 0);
    yk_check_text(yoke_error_type(cancelled), "yoke.Cancelled");
    yk_check_chain(yoke_error_cause(cancelled), "context, context cancel by root[meanwhile]");
}

YK_PEER_TEST(cancelled_in_careless_cleanup_keeps_the_error)
{
    struct yoke_error *error = go_and_cancel(peer, "mask:block_in_cleanup");

    check_carries_cancelled(error);
    yoke_error_unref(error);
}

YK_PEER_TEST(returning_the_cancelled_of_cleanup_keeps_the_error)
{
    struct yoke_error *error = go_and_cancel(peer, "mask:return_what_cleanup_returned");

    check_carries_cancelled(error);
    yoke_error_unref(error);
}

YK_PEER_TEST(cancelled_inside_hold_keeps_the_error)
{
    struct yoke_error *error = go_and_cancel(peer, "mask:block_in_hold");

    check_carries_cancelled(error);
    yoke_error_unref(error);
}

YK_PEER_TEST(cancelled_in_nested_nurseries_keeps_the_error)
{
    struct yoke_error *error = go_and_cancel(peer, "mask:fail_in_nested_nurseries");

    yk_check_error(error, "app.First", YOKE_EREMOTE, "the error");
    yk_check_text(yoke_error_task_name(error), "fail_in_nursery");
    yk_check_int(yoke_error_member_count(error), 0);
    yoke_error_unref(error);
}

/* Body raised E; before it closes, a third party has cancelled the peer. */
YK_PEER_TEST(body_error_stays_when_others_cancel_the_peer)
{
    struct yoke_context ctx;
    struct yoke_error *error;
    int rc;

    if (open_context(&ctx, peer, "mask:stay", yoke_nil()) < 0)
        return;
    yk_check_int(kill(yoke_portal_actor(peer)->pid, SIGTERM), 0);
    yk_check_int(yoke_sleep_forever(), YOKE_CANCELLED);
    rc = yoke_raise("app.Body", EDOM, "the body");
    yk_check_int(yoke_context_close(&ctx, rc, NULL), -EDOM);
    error = yk_caught();
    yk_check_error(error, "app.Body", -EDOM, "the body");
    yk_check(yoke_error_is_cancelled(yoke_error_context(error)));
    yk_check_int(yoke_error_suppressed_count(error), 1);
    if (yoke_error_suppressed_count(error) == 1) {
        yk_check_error(yoke_error_suppressed(error, 0), "yoke.ContextCancelled",
                       YOKE_EPEERCANCELLED, NULL);
        yk_check_chain(yoke_error_cause(yoke_error_suppressed(error, 0)), "os, signal by ");
    }
    yoke_error_unref(error);
}

/* Body raised E, and the scope around is cancelled when it closes: E, and nothing absorbs it. */
YK_PEER_TEST(body_error_stays_when_a_scope_around_is_cancelled)
{
    struct yoke_context ctx;
    struct yoke_scope scope;
    struct yoke_error *error;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    rc = open_context(&ctx, peer, "mask:stay", yoke_nil());
    if (rc == 0) {
        rc = yoke_raise("app.Body", EDOM, "the body");
        yoke_scope_cancel(&scope, "meanwhile");
        yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
        rc = yoke_context_close(&ctx, rc, NULL);
    }
    yk_check_int(yoke_scope_close(&scope, rc), -EDOM);
    error = yk_caught();
    yk_check_error(error, "app.Body", -EDOM, "the body");
    yk_check_int(yoke_error_suppressed_count(error), 1);
    yk_check(yoke_error_is_cancelled(yoke_error_suppressed(error, 0)));
    yoke_error_unref(error);
}

/* The scope around is cancelled and the peer fails to clean up: that error goes on, not Cancelled.
 */
YK_PEER_TEST(peer_error_beats_the_cancellation_of_a_scope_around)
{
    struct yoke_context ctx;
    struct yoke_scope scope;
    struct yoke_error *error;
    int rc;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    rc = open_context(&ctx, peer, "mask:fail_while_unwinding", yoke_nil());
    if (rc == 0) {
        yoke_scope_cancel(&scope, "shutdown");
        rc = yoke_context_close(&ctx, yoke_sleep_forever(), NULL);
    }
    yk_check_int(yoke_scope_close(&scope, rc), YOKE_EREMOTE);
    yk_check(!yoke_scope_cancelled_caught(&scope));
    error = yk_caught();
    yk_check_error(error, "app.Leaf", YOKE_EREMOTE, NULL);
    yk_check(yk_find_error(error, "yoke.Cancelled") != NULL);
    yoke_error_unref(error);
}

/* An error that came from the leaf by way of mid, which is the actor "peer". */
static void check_from_leaf(const struct yoke_error *error, const char *message)
{
    yk_check_error(error, "app.Leaf", YOKE_EREMOTE, message);
    yk_check_int(yoke_error_errno(error), -EBUSY);
    yk_check(yoke_error_source(error) != NULL);
    if (yoke_error_source(error) == NULL)
        return;
    yk_check_text(yoke_error_source(error)->name, "leaf");
    yk_check_int(yoke_error_relay_count(error), 2);
    if (yoke_error_relay_count(error) != 2)
        return;
    yk_check_text(yoke_error_relay(error, 0)->name, "leaf");
    yk_check_text(yoke_error_relay(error, 1)->name, "peer");
    yk_check(strstr(yoke_error_traceback(error), "fail_") != NULL);
}

#define HOP_TO(endpoint) YOKE_MAP({"endpoint", yoke_str(endpoint)})

YK_PEER_TEST(an_error_of_the_leaf_passes_mid_unchanged)
{
    struct yoke_context ctx;
    struct yoke_error *error;

    if (open_context(&ctx, peer, "mask:hop", HOP_TO("mask:fail_on_go")) < 0)
        return;
    yk_check_int(yoke_stream_send(&ctx, yoke_nil()), 0);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EREMOTE);
    error = yk_caught();
    check_from_leaf(error, "the leaf failed on go");
    yoke_error_unref(error);
}

YK_PEER_TEST(an_error_of_the_leaf_passes_mid_while_both_unwind)
{
    struct yoke_context ctx;
    struct yoke_error *error;
    const struct yoke_error *cancelled;

    if (open_context(&ctx, peer, "mask:hop", HOP_TO("mask:fail_while_unwinding")) < 0)
        return;
    yoke_context_cancel(&ctx, "meanwhile");
    yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EREMOTE);
    error = yk_caught();
    check_from_leaf(error, "the leaf could not clean up");
    cancelled = yoke_error_context(error); /* the leaf's: it tells of both hops */
    yk_check(cancelled != NULL && strcmp(yoke_error_type(cancelled), "yoke.Cancelled") == 0);
    if (cancelled != NULL)
        yk_check_chain(
            yoke_error_cause(cancelled),
            "context, opener left by peer <- context, context cancel by root[meanwhile]");
    yoke_error_unref(error);
}

YK_PEER_TEST(an_error_of_the_leaf_in_the_cleanup_of_mid_is_carried_by_its_own)
{
    struct yoke_context ctx;
    struct yoke_error *error;

    if (open_context(&ctx, peer, "mask:hop",
                     YOKE_MAP({"endpoint", yoke_str("mask:fail_while_unwinding")},
                              {"hold", yoke_bool(true)})) < 0)
        return;
    yk_check_int(yoke_stream_send(&ctx, yoke_nil()), 0);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "app.Mid", YOKE_EREMOTE, "mid failed itself");
    yk_check_text(yoke_error_source(error)->name, "peer");
    yk_check_int(yoke_error_suppressed_count(error), 1);
    if (yoke_error_suppressed_count(error) == 1) {
        const struct yoke_error *below = yoke_error_suppressed(error, 0);

        yk_check_error(below, "app.Leaf", YOKE_EREMOTE, "the leaf could not clean up");
        yk_check_text(yoke_error_source(below)->name, "leaf");
        yk_check_int(yoke_error_note_count(below), 1);
    }
    yoke_error_unref(error);
}

/* The go and the cancel request race down the tree: the leaf's error arrives, or all unwound. */
YK_PEER_TEST(an_error_of_the_leaf_races_the_cancel_request_of_root)
{
    for (int i = 0; i < 10; i++) {
        struct yoke_context ctx;
        struct yoke_error *error;
        int rc;

        if (open_context(&ctx, peer, "mask:hop", HOP_TO("mask:fail_on_go")) < 0)
            return;
        yk_check_int(yoke_stream_send(&ctx, yoke_nil()), 0);
        for (int step = 0; step < i * 20; step++)
            yk_check_int(yoke_checkpoint(), 0);
        yoke_context_cancel(&ctx, "race");
        rc = yoke_context_close(&ctx, 0, NULL);
        if (rc == 0)
            continue;
        error = yk_caught();
        check_from_leaf(error, "the leaf failed on go");
        yoke_error_unref(error);
    }
}

YK_PEER_TEST(a_group_arrives_with_its_members)
{
    struct yoke_error *error;

    yk_check_int(yoke_call(peer, "mask:fail_with_group", yoke_nil(), NULL), YOKE_EREMOTE);
    error = yk_caught();
    yk_check_int(yoke_error_errno(error), YOKE_EGROUP);
    yk_check_int(yoke_error_member_count(error), 2);
    yk_check_error(yoke_error_member(error, 0), "app.One", YOKE_EREMOTE, "member one");
    yk_check_error(yoke_error_member(error, 1), "app.Two", YOKE_EREMOTE, "member two");
    yk_check_text(yoke_error_source(yoke_error_member(error, 1))->name, "peer");
    yoke_error_unref(error);
}

YK_PEER_TEST(a_group_arrives_over_two_hops)
{
    struct yoke_error *error;

    yk_check_int(yoke_call(peer, "mask:hop", HOP_TO("mask:fail_with_group"), NULL), YOKE_EREMOTE);
    error = yk_caught();
    yk_check_int(yoke_error_member_count(error), 2);
    yk_check_error(yoke_error_member(error, 1), "app.Two", YOKE_EREMOTE, "member two");
    yk_check_text(yoke_error_source(error)->name, "leaf");
    yk_check_int(yoke_error_relay_count(error), 2);
    yoke_error_unref(error);
}

YK_PEER_TEST(what_an_error_carries_arrives_with_it)
{
    struct yoke_error *error;

    yk_check_int(yoke_call(peer, "mask:hop", HOP_TO("mask:fail_with_luggage"), NULL), YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "app.Main", YOKE_EREMOTE, "the main one");
    yk_check_int(yoke_error_errno(error), -EIO);
    yk_check_error(yoke_error_context(error), "app.Context", YOKE_EREMOTE,
                   "what was in flight before");
    yk_check_error(yoke_error_because(error), "app.Reason", YOKE_EREMOTE, "the reason");
    yk_check_int(yoke_error_suppressed_count(error), 1);
    yk_check_error(yoke_error_suppressed(error, 0), "app.Suppressed", YOKE_EREMOTE,
                   "raised by the cleanup");
    yk_check_int(yoke_error_note_count(error), 1);
    yk_check_text(yoke_error_note(error, 0), "noted at the source");
    yoke_error_unref(error);
}

/* Closing the nursery of actors after an error of its body: that error, though all is cancelled. */
YK_ACTORS_TEST(body_error_of_an_actor_nursery_is_all_it_gives)
{
    struct yoke_actor_nursery nursery;
    struct yoke_error *error;
    int rc;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++)
        yk_start_actor(&nursery, "peer");
    rc = yoke_raise("app.Body", EDOM, "the body");
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), -EDOM);
    error = yk_caught();
    yk_check_error(error, "app.Body", -EDOM, NULL);
    yk_check_int(yoke_error_suppressed_count(error), 0);
    yoke_error_unref(error);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(cancelled_in_careless_cleanup_keeps_the_error),
        cmocka_unit_test(returning_the_cancelled_of_cleanup_keeps_the_error),
        cmocka_unit_test(cancelled_inside_hold_keeps_the_error),
        cmocka_unit_test(cancelled_in_nested_nurseries_keeps_the_error),
        cmocka_unit_test(body_error_stays_when_others_cancel_the_peer),
        cmocka_unit_test(body_error_stays_when_a_scope_around_is_cancelled),
        cmocka_unit_test(peer_error_beats_the_cancellation_of_a_scope_around),
        cmocka_unit_test(an_error_of_the_leaf_passes_mid_unchanged),
        cmocka_unit_test(an_error_of_the_leaf_passes_mid_while_both_unwind),
        cmocka_unit_test(an_error_of_the_leaf_in_the_cleanup_of_mid_is_carried_by_its_own),
        cmocka_unit_test(an_error_of_the_leaf_races_the_cancel_request_of_root),
        cmocka_unit_test(a_group_arrives_with_its_members),
        cmocka_unit_test(a_group_arrives_over_two_hops),
        cmocka_unit_test(what_an_error_carries_arrives_with_it),
        cmocka_unit_test(body_error_of_an_actor_nursery_is_all_it_gives),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor masking", tests, NULL, NULL);
}
