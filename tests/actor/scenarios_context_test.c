/* SPDX-License-Identifier: MIT */
/*
 * Scenarios of tractor's own tests that concern contexts and remote errors, by their names, on real
 * processes; and holes, things that its tests leave out. Where yoke's contract differs on purpose
 * the test says which and why. Topologies are those that can be had without discovery.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <yoke/gather.h>
#include <yoke/task.h>
#include <yoke/testing.h>

#include "../tests/support/actors.h"

static const struct yoke_actor_opts all = {.expose = "*"};

static int sleeper(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("scenarios:sleeper", sleeper);

static int sleep_unstarted(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return yoke_sleep_forever();
}
YOKE_ENDPOINT("scenarios:sleep_unstarted", sleep_unstarted);

static int break_down(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return yoke_raise("app.Broken", EIO, "broken in %s", yoke_actor_self()->name);
}
YOKE_ENDPOINT("scenarios:break_down", break_down);

/* Calls an endpoint of an actor of its own, "<name>+"; args.hops more do so before that. */
static int pass_on(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *next;
    char name[80];
    int64_t hops;
    int rc = yoke_value_int(yoke_value_get(args, "hops"), "hops", &hops);

    (void)ctx;
    if (rc < 0)
        return rc;
    snprintf(name, sizeof name, "%s+", yoke_actor_self()->name);
    rc = yoke_actor_nursery_open(&nursery, NULL);
    if (rc == 0)
        rc = yoke_actor_start(&nursery, name, &all, &next);
    if (rc == 0)
        rc = hops > 1 ? yoke_call(next, "scenarios:pass_on", YOKE_MAP({"hops", yoke_int(hops - 1)}),
                                  NULL)
                      : yoke_call(next, "scenarios:break_down", yoke_nil(), NULL);
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("scenarios:pass_on", pass_on);

/* With a context to a sleeper of its own open: a first value that can't be sent. */
static int errorer(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value no_value = {.type = (enum yoke_value_type)99};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    struct yoke_context there;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "sleeper", &all, &portal);
    if (rc == 0)
        rc = yoke_context_open(&there, portal, "scenarios:sleeper", yoke_nil(), NULL);
    if (rc == 0) {
        rc = yoke_context_started(ctx, no_value);
        yoke_context_cancel(&there, "finally");
        rc = yoke_context_close(&there, rc, NULL);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("scenarios:errorer", errorer);

YK_PEER_TEST(do_not_swallow_error_before_started_by_remote_contextcancelled)
{
    struct yoke_error *error;

    yk_check_int(yoke_call(peer, "scenarios:errorer", yoke_nil(), NULL), YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "yoke.BadValue", YOKE_EREMOTE, NULL);
    yk_check_int(yoke_error_errno(error), -EINVAL);
    yk_check_text(yoke_error_source(error)->name, "peer");
    yoke_error_unref(error);
}

/* Cancels the actor that started this one. */
static int canceller(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    yoke_portal_cancel_actor(yoke_parent(), "by the canceller");
    return yoke_sleep_forever();
}
YOKE_ENDPOINT("scenarios:canceller", canceller);

/* Waits to be told, and then has its actor cancelled by one of its own, "canceller". */
static int be_cancelled(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    struct yoke_value go;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "canceller", &all, &portal);
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_stream_receive(ctx, &go);
    if (rc > 0)
        rc = yoke_call(portal, "scenarios:canceller", yoke_nil(), NULL);
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("scenarios:be_cancelled", be_cancelled);

/*
 * A third actor cancels the peer of two contexts. tractor's ctx.canceller is the relayer, and only
 * the error's is who asked; here both are who asked: there is one cause, and it names its
 * requester.
 */
static void peer_canceller(bool rte_during_ctxerr)
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *peer;
    struct yoke_context driver, bystander;
    struct yoke_outcome *outcome;
    struct yoke_error *error;
    int rc;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    peer = yk_start_actor(&nursery, "peer");
    yk_check_int(yoke_context_open(&driver, peer, "scenarios:be_cancelled", yoke_nil(), NULL), 0);
    yk_check_int(yoke_context_open(&bystander, peer, "scenarios:sleeper", yoke_nil(), NULL), 0);
    yk_check_int(yoke_stream_send(&driver, yoke_nil()), 0);
    rc = yoke_sleep_forever();
    if (rte_during_ctxerr)
        rc = yoke_raise("app.Handler", EIO, "while handling it");
    rc = yoke_context_close(&bystander, rc, &outcome);
    yk_check_text(yoke_outcome_canceller(outcome)->name, "canceller");
    yk_check(yoke_outcome_cancelled(outcome));
    yk_check_chain(yoke_outcome_cause(outcome),
                   "actor, actor cancel by canceller[by the canceller]");
    yoke_outcome_free(outcome);
    rc = yoke_context_close(&driver, rc, NULL);
    yk_check_int(rc, rte_during_ctxerr ? -EIO : YOKE_EPEERCANCELLED);
    rc = yoke_actor_nursery_close(&nursery, rc);
    error = yk_caught();
    if (rte_during_ctxerr)
        yk_check_error(error, "app.Handler", -EIO, "while handling it");
    else
        yk_check_text(yoke_cause_requester(yoke_error_cause(error))->actor.name, "canceller");
    yoke_error_unref(error);
}

YK_ACTORS_TEST(peer_canceller_false)
{
    peer_canceller(false);
    return 0;
}

YK_ACTORS_TEST(peer_canceller_true)
{
    peer_canceller(true);
    return 0;
}

/* A context that a background task has open, and others know of. */
struct background {
    struct yoke_portal *peer;
    struct yoke_context ctx;
    int rc;
};

static int hold_context(void *arg)
{
    struct background *background = arg;
    int rc = yoke_context_open(&background->ctx, background->peer, "scenarios:sleeper", yoke_nil(),
                               NULL);

    if (rc == 0)
        rc = yoke_started(NULL);
    if (rc == 0)
        rc = yoke_sleep_forever();
    background->rc = yoke_context_close(&background->ctx, rc, NULL);
    yoke_clear();
    return 0;
}

YK_PEER_TEST(cancel_ctx_with_parent_side_entered_in_bg_task_true)
{
    struct background background = {.peer = peer};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, hold_context, &background, NULL), 0);
    yoke_context_cancel(&background.ctx, "out of band");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(background.rc, 0);
}

YK_PEER_TEST(cancel_ctx_with_parent_side_entered_in_bg_task_false)
{
    struct background background = {.peer = peer};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, hold_context, &background, NULL), 0);
    yoke_portal_cancel_actor(peer, "the whole actor");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(background.rc, YOKE_EPEERCANCELLED);
}

/* Fails or sleeps, and passes a checkpoint that is not shielded while it cleans up. */
static int cancellee(struct yoke_context *ctx, struct yoke_value args)
{
    bool fails = yoke_value_get(args, "fails").type != YOKE_NIL;
    struct yoke_value go;
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_stream_receive(ctx, &go);
    if (rc > 0 && fails)
        rc = yoke_raise("app.Broken", EIO, "before the cleanup");
    else if (rc >= 0)
        rc = yoke_sleep_forever();
    while (yoke_why() == NULL && yoke_checkpoint() == 0) /* the request is on its way */
        continue;
    return yoke_checkpoint() < 0 ? YOKE_CANCELLED : rc;
}
YOKE_ENDPOINT("scenarios:cancellee", cancellee);

static int cancel_cancellee(struct yoke_portal *peer, struct yoke_value args)
{
    struct yoke_context ctx;

    yk_check_int(yoke_context_open(&ctx, peer, "scenarios:cancellee", args, NULL), 0);
    yk_check_int(yoke_stream_send(&ctx, yoke_nil()), 0);
    yoke_context_cancel(&ctx, NULL);
    return yoke_context_close(&ctx, 0, NULL);
}

YK_PEER_TEST(unmasked_remote_exc_cancelled)
{
    yk_check_int(cancel_cancellee(peer, yoke_nil()), 0);
}

/* What was in flight first wins; if the request came first, there was nothing to mask. */
YK_PEER_TEST(unmasked_remote_exc_runtime_error)
{
    int rc = cancel_cancellee(peer, YOKE_MAP({"fails", yoke_bool(true)}));
    struct yoke_error *error;

    if (rc == 0)
        return;
    yk_check_int(rc, YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "app.Broken", YOKE_EREMOTE, "before the cleanup");
    yoke_error_unref(error);
}

/* The reference loses the source from the third hop on. */
YK_PEER_TEST(hole_05_three_hops_keep_source_and_path)
{
    struct yoke_error *error;

    yk_check_int(yoke_call(peer, "scenarios:pass_on", YOKE_MAP({"hops", yoke_int(3)}), NULL),
                 YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "app.Broken", YOKE_EREMOTE, "broken in peer+++");
    yk_check_text(yoke_error_source(error)->name, "peer+++");
    yoke_error_unref(error);
}

/* The reference is not woken when the process of its peer is killed. */
static int kill_peer(void *arg)
{
    int rc = yoke_wait_all_tasks_blocked();

    yk_check_int(kill(yoke_portal_actor(arg)->pid, SIGKILL), 0);
    return rc;
}

enum waiting { IN_OPEN, IN_RESULT, IN_RECEIVE };

static void killed_while(enum waiting waiting)
{
    struct yoke_actor_nursery nursery;
    struct yoke_nursery killer;
    struct yoke_portal *peer;
    struct yoke_context ctx;
    struct yoke_value value;
    struct yoke_error *error;
    int rc;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    peer = yk_start_actor(&nursery, "peer");
    yk_check_int(yoke_nursery_open(&killer, NULL), 0);
    if (waiting == IN_OPEN)
        yk_check_int(yoke_spawn(&killer, kill_peer, peer), 0);
    rc = yoke_context_open(&ctx, peer,
                           waiting == IN_OPEN ? "scenarios:sleep_unstarted" : "scenarios:sleeper",
                           yoke_nil(), NULL);
    if (waiting != IN_OPEN) {
        yk_check_int(rc, 0);
        yk_check_int(yoke_spawn(&killer, kill_peer, peer), 0);
        rc = waiting == IN_RECEIVE ? yoke_stream_receive(&ctx, &value) : 0;
        rc = yoke_context_close(&ctx, rc, NULL);
    }
    rc = yoke_nursery_close(&killer, rc);
    yk_check_int(rc, YOKE_EDIED);
    yk_check_int(yoke_actor_nursery_close(&nursery, rc), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yk_check_int(yoke_error_member_count(error), 0); /* one death, seen twice, is one error */
    yoke_error_unref(error);
}

YK_ACTORS_TEST(hole_01_killed_in_open)
{
    killed_while(IN_OPEN);
    return 0;
}

YK_ACTORS_TEST(hole_01_killed_in_result)
{
    killed_while(IN_RESULT);
    return 0;
}

YK_ACTORS_TEST(hole_01_killed_in_receive)
{
    killed_while(IN_RECEIVE);
    return 0;
}

/* One stream for two things at once: an endpoint pushes, and answers what it is asked. */
static int push(void *arg)
{
    int rc = 0;

    while (rc == 0)
        rc = yoke_stream_send(arg, yoke_str("yo"));
    return rc;
}

static int push_and_answer(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_nursery nursery;
    struct yoke_value value;
    int rc = yoke_nursery_open(&nursery, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_spawn(&nursery, push, ctx);
    while (rc == 0 && (rc = yoke_stream_receive(ctx, &value)) > 0)
        rc = yoke_stream_send(ctx, yoke_str("pong"));
    return yoke_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("scenarios:push_and_answer", push_and_answer);

YK_PEER_TEST(reqresp_ontopof_streaming)
{
    struct yoke_context ctx;
    struct yoke_value value;
    int pongs = 0, others = 0, rc = 0;

    yk_check_int(yoke_context_open(&ctx, peer, "scenarios:push_and_answer", yoke_nil(), NULL), 0);
    yk_check_int(yoke_stream_send(&ctx, yoke_str("ping")), 0);
    while (pongs < 5 && (rc = yoke_stream_receive(&ctx, &value)) > 0) {
        const char *text = yk_text_of(value);

        if (strcmp(text, "pong") == 0 && ++pongs < 5)
            yk_check_int(yoke_stream_send(&ctx, yoke_str("ping")), 0);
        others += strcmp(text, "yo") != 0 && strcmp(text, "pong") != 0;
    }
    yk_check_int(rc, 1);
    yk_check_int(others, 0);
    yoke_context_cancel(&ctx, "enough");
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

/* 22 tasks on one stream. None is lost here: there is room for all that is sent. */
static int send_until_closed(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    for (int i = 0; rc == 0 && i < 100; i++)
        rc = yoke_stream_send(ctx, yoke_int(i));
    if (rc == 0)
        rc = yoke_stream_close(ctx);
    if (rc == 0 && yoke_stream_send(ctx, yoke_nil()) == YOKE_ECLOSED) {
        yoke_clear();
        rc = yoke_context_return(ctx, yoke_str("closed"));
    }
    return rc;
}
YOKE_ENDPOINT("scenarios:send_until_closed", send_until_closed);

struct consumer {
    struct yoke_stream_subscription subscription;
    int n;
};

static int consume(void *arg)
{
    struct consumer *consumer = arg;
    struct yoke_value value;
    int rc;

    while ((rc = yoke_stream_subscription_receive(&consumer->subscription, &value, NULL)) > 0)
        consumer->n++;
    yoke_stream_unsubscribe(&consumer->subscription);
    return rc;
}

YK_PEER_TEST(local_task_fanout_from_stream)
{
    static struct consumer consumers[22];
    struct yoke_nursery nursery;
    struct yoke_outcome *outcome;
    struct yoke_context ctx;

    yk_check_int(yoke_context_open(&ctx, peer, "scenarios:send_until_closed", yoke_nil(), NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 22; i++) {
        consumers[i].n = 0;
        yk_check_int(yoke_stream_subscribe(&ctx, &consumers[i].subscription, 100), 0);
        yk_check_int(yoke_spawn(&nursery, consume, &consumers[i]), 0);
    }
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < 22; i++)
        yk_check_int(consumers[i].n, 100);
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_text(yk_text_of(yoke_outcome_result(outcome)), "closed");
    yoke_outcome_free(outcome);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(do_not_swallow_error_before_started_by_remote_contextcancelled),
        cmocka_unit_test(peer_canceller_false),
        cmocka_unit_test(peer_canceller_true),
        cmocka_unit_test(cancel_ctx_with_parent_side_entered_in_bg_task_true),
        cmocka_unit_test(cancel_ctx_with_parent_side_entered_in_bg_task_false),
        cmocka_unit_test(unmasked_remote_exc_cancelled),
        cmocka_unit_test(unmasked_remote_exc_runtime_error),
        cmocka_unit_test(hole_05_three_hops_keep_source_and_path),
        cmocka_unit_test(hole_01_killed_in_open),
        cmocka_unit_test(hole_01_killed_in_result),
        cmocka_unit_test(hole_01_killed_in_receive),
        cmocka_unit_test(reqresp_ontopof_streaming),
        cmocka_unit_test(local_task_fanout_from_stream),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor scenarios of contexts", tests, NULL, NULL);
}
