/* SPDX-License-Identifier: MIT */
/*
 * Time budgets on real processes: what of an opener's deadline its peers know, and that it ends
 * them when the opener can't. An opener that can't is one that has stopped itself by SIGSTOP; its
 * peer lets it go on once it has seen what there was to see.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"

#define HOUR YOKE_S(3600)

/* For each value received: what is left until the deadline it sees, in ns; nil if there is none. */
static int tell(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    while (rc >= 0 && (rc = yoke_stream_receive(ctx, &value)) > 0) {
        int64_t deadline = yoke_effective_deadline();

        rc = yoke_stream_send(ctx, deadline == YOKE_NEVER ? yoke_nil()
                                                          : yoke_int(deadline - yoke_now()));
    }
    return rc;
}
YOKE_ENDPOINT("budget:tell", tell);

/* Passes values on to "budget:tell" in an actor of its own, and back what that says. */
static int relay(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *leaf;
    struct yoke_context there;
    struct yoke_value value;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "leaf", &opts, &leaf);
    if (rc == 0)
        rc = yoke_context_open(&there, leaf, "budget:tell", yoke_nil(), NULL);
    if (rc == 0) {
        rc = yoke_context_started(ctx, yoke_nil());
        while (rc >= 0 && (rc = yoke_stream_receive(ctx, &value)) > 0) {
            rc = yoke_stream_send(&there, value);
            if (rc == 0)
                rc = yoke_stream_receive(&there, &value);
            if (rc > 0)
                rc = yoke_stream_send(ctx, value);
        }
        rc = yoke_context_close(&there, rc, NULL);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("budget:relay", relay);

/* What the peer says is left; -1: it sees no deadline. */
static int64_t ask(struct yoke_context *ctx)
{
    struct yoke_value value = yoke_nil();
    int64_t left = -1;

    yk_check_int(yoke_stream_send(ctx, yoke_nil()), 0);
    yk_check_int(yoke_stream_receive(ctx, &value), 1);
    if (value.type != YOKE_NIL)
        yk_check_int(yoke_value_int(value, "left", &left), 0);
    return left;
}

/* An hour or more, by as many seconds of grace as there are hops; and not much less. */
static void check_hours(int64_t left, int hours, int hops)
{
    yk_check(left <= hours * HOUR + hops * YOKE_S(1));
    yk_check(left > (hours - 1) * HOUR);
}

YK_PEER_TEST(the_earliest_visible_deadline_bounds_the_peer)
{
    struct yoke_scope outer, inner;
    struct yoke_context ctx;

    yk_check_int(yoke_scope_open(&outer, &(struct yoke_scope_opts){.timeout_ns = HOUR}), 0);
    yk_check_int(yoke_scope_open(&inner, &(struct yoke_scope_opts){.timeout_ns = 9 * HOUR}), 0);
    yk_check_int(yoke_context_open(&ctx, peer, "budget:tell", yoke_nil(), NULL), 0);
    check_hours(ask(&ctx), 1, 1);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
    yk_check_int(yoke_scope_close(&inner, 0), 0);
    yk_check_int(yoke_scope_close(&outer, 0), 0);
}

YK_PEER_TEST(a_peer_without_a_deadline_around_its_opener_has_none)
{
    struct yoke_context ctx;

    yk_check_int(yoke_context_open(&ctx, peer, "budget:tell", yoke_nil(), NULL), 0);
    yk_check_int(ask(&ctx), -1);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(a_deadline_that_is_moved_is_moved_for_the_peer)
{
    struct yoke_scope outer, shield;
    struct yoke_context ctx;

    yk_check_int(yoke_scope_open(&outer, &(struct yoke_scope_opts){.timeout_ns = HOUR}), 0);
    yk_check_int(yoke_scope_open(&shield, NULL), 0);
    yk_check_int(yoke_context_open(&ctx, peer, "budget:tell", yoke_nil(), NULL), 0);
    yk_check_int(yoke_scope_set_deadline(&outer, yoke_now() + 5 * HOUR), 0);
    check_hours(ask(&ctx), 5, 1);
    yoke_scope_set_shield(&shield, true);
    yk_check_int(ask(&ctx), -1);
    yoke_scope_set_shield(&shield, false);
    check_hours(ask(&ctx), 5, 1);
    yk_check_int(yoke_scope_set_deadline(&outer, YOKE_NEVER), 0);
    yk_check_int(ask(&ctx), -1);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
    yk_check_int(yoke_scope_close(&shield, 0), 0);
    yk_check_int(yoke_scope_close(&outer, 0), 0);
}

YK_PEER_TEST(a_budget_crosses_two_hops_and_so_does_its_move)
{
    struct yoke_scope scope;
    struct yoke_context ctx;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = HOUR}), 0);
    yk_check_int(yoke_context_open(&ctx, peer, "budget:relay", yoke_nil(), NULL), 0);
    check_hours(ask(&ctx), 1, 2);
    yk_check_int(yoke_scope_set_deadline(&scope, yoke_now() + 5 * HOUR), 0);
    check_hours(ask(&ctx), 5, 2);
    yk_check_int(yoke_scope_set_deadline(&scope, YOKE_NEVER), 0);
    yk_check_int(ask(&ctx), -1);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
}

/* Ends by its budget, and wakes its opener, which is its parent. */
static int expire(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_report_cancelled(args);
    kill(getppid(), SIGCONT);
    return rc;
}
YOKE_ENDPOINT("budget:expire", expire);

/* As budget:expire, with a peer of its own, that ends with it. */
static int expire_with_a_leaf(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *leaf;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "leaf", &opts, &leaf);
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_call(leaf, "budget:stay", args, NULL);
    rc = yoke_actor_nursery_close(&nursery, rc);
    yk_report_cancelled(args);
    kill(getppid(), SIGCONT);
    return rc;
}
YOKE_ENDPOINT("budget:expire_with_a_leaf", expire_with_a_leaf);

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_sleep_forever();

    (void)ctx;
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("budget:stay", stay);

/* Opens args.endpoint in an actor of its own, and has no time from then on: is stopped. */
static int stop(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_actor_nursery nursery;
    struct yoke_scope scope;
    struct yoke_portal *mid;
    struct yoke_context there;
    struct yoke_outcome *outcome = NULL;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)ctx;
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "mid", &opts, &mid);
    if (rc < 0)
        return yoke_actor_nursery_close(&nursery, rc);
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "job"});
    if (rc == 0)
        rc = yoke_context_open(&there, mid, yk_text_of(yoke_value_get(args, "endpoint")), args,
                               NULL);
    if (rc == 0) {
        rc = yoke_scope_set_deadline(&scope, yoke_now() + YOKE_MS(1));
        raise(SIGSTOP);
        rc = yoke_context_close(&there, rc, &outcome);
        yk_report_line(args, "close: %s, outcome %s", yoke_strcode(rc),
                       outcome != NULL ? yk_chain(yoke_outcome_cause(outcome)) : "");
        yoke_outcome_free(outcome);
    }
    rc = yoke_scope_close(&scope, rc);
    yk_report_line(args, "scope: %d, caught %d", rc, yoke_scope_cancelled_caught(&scope));
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("budget:stop", stop);

#define EXPIRED "context, deadline by peer[deadline of the opener] <- task, deadline by peer"

YK_PEER_TEST(an_opener_that_is_stopped_is_no_reason_to_go_on)
{
    struct yk_report report;
    struct yoke_value args;

    yk_report_open(&report);
    args = YOKE_MAP({"report", yoke_str(report.path)}, {"endpoint", yoke_str("budget:expire")});
    yk_check_int(yoke_call(peer, "budget:stop", args, NULL), 0);
    /* Its own deadline has passed as well when it hears of it, and is what it ends by. */
    yk_report_close(&report, "Cancelled: " EXPIRED "\n"
                             "close: YOKE_CANCELLED, outcome " EXPIRED "\n"
                             "scope: 0, caught 1\n");
}

YK_PEER_TEST(over_two_hops_the_chain_leads_to_the_scope_of_the_first_opener)
{
    struct yk_report report;
    struct yoke_value args;

    yk_report_open(&report);
    args = YOKE_MAP({"report", yoke_str(report.path)},
                    {"endpoint", yoke_str("budget:expire_with_a_leaf")});
    yk_check_int(yoke_call(peer, "budget:stop", args, NULL), 0);
    yk_report_close(&report, "Cancelled: context, opener left by mid <- " EXPIRED "\n"
                             "Cancelled: " EXPIRED "\n"
                             "close: YOKE_CANCELLED, outcome " EXPIRED "\n"
                             "scope: 0, caught 1\n");
}

/* An opener that can say so by itself does: its request is the cause, not the budget. */
YK_PEER_TEST(an_opener_that_runs_cancels_before_the_budget_is_used_up)
{
    struct yk_report report;
    struct yoke_scope scope;
    int rc;

    yk_report_open(&report);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(300)}), 0);
    rc = yoke_call(peer, "budget:stay", yk_report_args(&report), NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_report_close(&report, "Cancelled: context, opener left by root <- task, deadline by root\n");
}

/* Ignores that it is cancelled. */
static int ignore(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true});

    (void)args;
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_sleep_forever();
    return yoke_scope_close(&scope, rc);
}
YOKE_ENDPOINT("budget:ignore", ignore);

static int keep_an_ignorant_leaf(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "*", .cancel_timeout_ns = YOKE_S(60)};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *leaf;
    struct yoke_context there;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "leaf", &opts, &leaf);
    if (rc == 0)
        rc = yoke_context_open(&there, leaf, "budget:ignore", yoke_nil(), NULL);
    if (rc == 0) {
        rc = yoke_context_started(ctx, yoke_nil());
        rc = rc < 0 ? rc : yoke_sleep_forever();
        rc = yoke_context_close(&there, rc, NULL);
        kill(yoke_portal_actor(leaf)->pid, SIGKILL);
    }
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("budget:keep_an_ignorant_leaf", keep_an_ignorant_leaf);

YK_PEER_TEST(of_two_hops_the_one_that_does_not_answer_is_named)
{
    struct yoke_context_opts opts = {.teardown_timeout_ns = YOKE_S(4)};
    struct yoke_context ctx;
    struct yoke_error *error;
    const struct yoke_error *unresponsive;

    yk_check_int(yoke_context_open(&ctx, peer, "budget:keep_an_ignorant_leaf", yoke_nil(), &opts),
                 0);
    yoke_context_cancel(&ctx, NULL);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EREMOTE);
    error = yk_caught();
    unresponsive = yk_find_error(error, "yoke.Unresponsive");
    yk_check(unresponsive != NULL);
    if (unresponsive != NULL)
        yk_check(strstr(yoke_error_message(unresponsive), "budget:ignore in leaf (pid ") != NULL);
    yoke_error_unref(error);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_earliest_visible_deadline_bounds_the_peer),
        cmocka_unit_test(a_peer_without_a_deadline_around_its_opener_has_none),
        cmocka_unit_test(a_deadline_that_is_moved_is_moved_for_the_peer),
        cmocka_unit_test(a_budget_crosses_two_hops_and_so_does_its_move),
        cmocka_unit_test(an_opener_that_is_stopped_is_no_reason_to_go_on),
        cmocka_unit_test(over_two_hops_the_chain_leads_to_the_scope_of_the_first_opener),
        cmocka_unit_test(an_opener_that_runs_cancels_before_the_budget_is_used_up),
        cmocka_unit_test(of_two_hops_the_one_that_does_not_answer_is_named),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor budget", tests, NULL, NULL);
}
