/* SPDX-License-Identifier: MIT */
/*
 * Cancel requests that come too early, too late, from both sides, from several at once, on real
 * processes: in each the victim sees the true chain, and the outcome tells who it was.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/gather.h>
#include <yoke/task.h>
#include <yoke/testing.h>

#include "../tests/support/actors.h"
#include "actor/actor.h"

/* Never says that it has started. */
static int hang(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_sleep_forever();

    (void)ctx;
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("cancel:hang", hang);

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    return rc < 0 ? rc : hang(ctx, args);
}
YOKE_ENDPOINT("cancel:stay", stay);

static int answer(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_int(42));
}
YOKE_ENDPOINT("cancel:answer", answer);

/* Cancels itself when it is told to. */
static int cancel_self_when_told(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    if (rc == 0)
        rc = yoke_stream_receive(ctx, &value);
    if (rc < 0)
        return rc;
    yoke_context_cancel(ctx, "by itself");
    return yoke_checkpoint();
}
YOKE_ENDPOINT("cancel:cancel_self_when_told", cancel_self_when_told);

YK_PEER_TEST(a_request_right_behind_the_start_ends_a_task_that_has_not_run_yet)
{
    struct yk_report report;
    struct yoke_context contexts[2];
    struct yoke_error *error;

    yk_report_open(&report);
    {
        struct yoke_gather_item items[] = {
            {.portal = peer, .endpoint = "cancel:hang", .args = yk_report_args(&report)},
            {.portal = peer, .endpoint = "no name"}, /* refused here, before anything is sent */
        };
        yk_check_int(yoke_gather_open(contexts, items, 2), -EINVAL);
    }
    error = yk_caught();
    yk_check_error(error, "yoke.Misuse", -EINVAL, NULL);
    yoke_error_unref(error);
    yk_report_close(&report, "Cancelled: context, opener left by root{yoke.Misuse}\n");
}

/* Opens a context to a peer that does not start. */
struct opening {
    struct yoke_portal *peer;
    struct yoke_context ctx;
    struct yk_report report;
    int rc;
};

static int open_hanging(void *arg)
{
    struct opening *opening = arg;

    opening->rc = yoke_context_open(&opening->ctx, opening->peer, "cancel:hang",
                                    yk_report_args(&opening->report), NULL);
    if (opening->rc < 0)
        yoke_clear();
    return 0;
}

YK_PEER_TEST(a_context_can_be_cancelled_while_it_opens)
{
    struct opening opening = {.peer = peer};
    struct yoke_nursery nursery;

    yk_report_open(&opening.report);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, open_hanging, &opening), 0);
    yk_check_int(yoke_checkpoint(), 0);
    yoke_context_cancel(&opening.ctx, "too slow");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(opening.rc, YOKE_ECLOSED);
    yk_report_close(&opening.report, "Cancelled: context, context cancel by root[too slow]\n");
}

YK_PEER_TEST(a_request_to_what_has_returned_changes_nothing)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome;

    yk_check_int(yoke_context_open(&ctx, peer, "cancel:answer", yoke_nil(), NULL), 0);
    yk_check(((struct yk_dialog *)ctx.dialog)->finished);
    yoke_context_cancel(&ctx, "too late");
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_int(yoke_outcome_result(outcome).as.integer, 42);
    yk_check(!yoke_outcome_cancelled(outcome) && !yoke_outcome_cancel_called(outcome));
    yk_check(!yoke_outcome_cancelled_caught(outcome));
    yk_check(yoke_outcome_canceller(outcome) == NULL && yoke_outcome_error(outcome) == NULL);
    yoke_outcome_free(outcome);
    yoke_context_cancel(&ctx, "after close");
}

YK_PEER_TEST(an_outcome_says_all_about_a_request_of_this_side)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome;

    yk_check_int(yoke_context_open(&ctx, peer, "cancel:stay", yoke_nil(), NULL), 0);
    yoke_context_cancel(&ctx, "enough");
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check(yoke_outcome_cancel_called(outcome) && yoke_outcome_cancel_acked(outcome));
    yk_check(yoke_outcome_cancelled(outcome) && yoke_outcome_cancelled_caught(outcome));
    yk_check_text(yoke_outcome_canceller(outcome)->name, "root");
    yk_check_chain(yoke_outcome_cause(outcome), "context, context cancel by root[enough]");
    yk_check_int(yoke_error_code(yoke_outcome_error(outcome)), YOKE_EPEERCANCELLED);
    yoke_outcome_free(outcome);
}

/* The first to reach the endpoint is its cause; the outcome and close agree on who that was. */
YK_PEER_TEST(when_both_sides_cancel_at_once_one_of_them_it_was)
{
    for (int i = 0; i < 30; i++) {
        struct yoke_context ctx;
        struct yoke_outcome *outcome;
        int rc;

        yk_check_int(yoke_context_open(&ctx, peer, "cancel:cancel_self_when_told", yoke_nil(),
                                       NULL),
                     0);
        yk_check_int(yoke_stream_send(&ctx, yoke_nil()), 0);
        for (int step = 0; step < i % 6; step++)
            if (yoke_checkpoint() < 0)
                break;
        yoke_context_cancel(&ctx, "by its opener");
        rc = yoke_context_close(&ctx, 0, &outcome);
        if (rc == 0) {
            yk_check_chain(yoke_outcome_cause(outcome),
                           "context, context cancel by root[by its opener]");
            yk_check_text(yoke_outcome_canceller(outcome)->name, "root");
        } else {
            yk_check_int(rc, YOKE_EPEERCANCELLED);
            yk_check_chain(yoke_outcome_cause(outcome),
                           "context, context cancel by peer[by itself]");
            yk_check_text(yoke_outcome_canceller(outcome)->name, "peer");
        }
        yoke_clear();
        yoke_outcome_free(outcome);
    }
}

YK_PEER_TEST(of_several_requests_the_first_is_the_cause)
{
    struct yk_report report;
    struct yoke_context ctx;
    struct yoke_outcome *outcome;

    yk_report_open(&report);
    yk_check_int(yoke_context_open(&ctx, peer, "cancel:stay", yk_report_args(&report), NULL), 0);
    yoke_context_cancel(&ctx, "first");
    yoke_context_cancel(&ctx, "second");
    yoke_portal_cancel_actor(peer, "third");
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_text(yoke_outcome_canceller(outcome)->name, "root");
    yk_check_chain(yoke_outcome_cause(outcome), "context, context cancel by root[first]");
    yoke_outcome_free(outcome);
    /* It asks why only after the third, and is told the outermost scope that is cancelled. */
    yk_report_close(&report, "Cancelled: context, context cancel by root[first]\n");
}

/* Opens a context back into its opener's actor, and cancels it when its own is cancelled. */
static int call_back(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_context back;
    int rc = yoke_context_open(&back, yoke_parent(), "cancel:stay", args, NULL);

    if (rc < 0)
        return rc;
    rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_sleep_forever();
    yoke_context_cancel(&back, "both ways");
    return yoke_context_close(&back, rc, NULL);
}
YOKE_ENDPOINT("cancel:call_back", call_back);

YK_PEER_TEST(two_contexts_over_one_link_in_opposite_directions_end_each_other)
{
    struct yk_report report;
    struct yoke_context ctx;

    yk_report_open(&report);
    yk_check_int(yoke_actor_expose("cancel:stay"), 0);
    yk_check_int(yoke_context_open(&ctx, peer, "cancel:call_back", yk_report_args(&report), NULL),
                 0);
    yoke_context_cancel(&ctx, "there");
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
    yk_report_close(&report, "Cancelled: context, context cancel by peer[both ways] <- "
                             "context, context cancel by root[there]\n");
}

/* Sends what is no frame. */
static int break_protocol(struct yoke_context *ctx, struct yoke_value args)
{
    struct yk_dialog *dialog = ctx->dialog;
    static const char junk[8] = "\xff\xff\xff\xff";
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    if (rc == 0 && write(dialog->portal->link.fd.watch.fd, junk, sizeof junk) != sizeof junk)
        rc = -EIO;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("cancel:break_protocol", break_protocol);

static void break_it(struct yoke_portal *peer)
{
    struct yoke_context ctx;
    struct yoke_error *error;

    yk_check_int(yoke_context_open(&ctx, peer, "cancel:break_protocol", yoke_nil(), NULL), 0);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), -EMSGSIZE);
    error = yk_caught();
    yk_check(strcmp(yoke_error_type(error), "yoke.ActorDied") != 0);
    yk_check(yk_find_error(error, "yoke.ActorDied") != NULL); /* how it ended, carried by it */
    yoke_error_unref(error);
}

YK_ACTORS_TEST(a_context_of_an_actor_that_broke_the_protocol_says_so)
{
    struct yoke_error *error;
    int rc = yk_with_peer(NULL, break_it);

    yk_check_int(rc, -EMSGSIZE);
    error = yk_caught();
    yk_check_int(yoke_error_member_count(error), 0);
    yoke_error_unref(error);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_right_behind_the_start_ends_a_task_that_has_not_run_yet),
        cmocka_unit_test(a_context_can_be_cancelled_while_it_opens),
        cmocka_unit_test(a_request_to_what_has_returned_changes_nothing),
        cmocka_unit_test(an_outcome_says_all_about_a_request_of_this_side),
        cmocka_unit_test(when_both_sides_cancel_at_once_one_of_them_it_was),
        cmocka_unit_test(of_several_requests_the_first_is_the_cause),
        cmocka_unit_test(two_contexts_over_one_link_in_opposite_directions_end_each_other),
        cmocka_unit_test(a_context_of_an_actor_that_broke_the_protocol_says_so),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor cancel", tests, NULL, NULL);
}
