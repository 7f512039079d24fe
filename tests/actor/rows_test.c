/* SPDX-License-Identifier: MIT */
/*
 * What closing a context gives: the table of the design (doc/design.md, section 5), row by row, on
 * real processes. P is the opener's side in the root, C the endpoint's side in the actor "peer".
 * Each test checks what C saw, what P's close gave, and what its outcome tells. All of them run
 * over the link between parent and child, and over links by an address: a Unix socket, and TCP. Row
 * 14 is in peer_test.c.
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
#include <yoke/task.h>

#include "../tests/support/actors.h"

static int add(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t a, b;
    int rc = yoke_value_int(yoke_value_get(args, "a"), "a", &a);

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "b"), "b", &b);
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_int(a + b));
}
YOKE_ENDPOINT("rows:add", add);

/* Starts, and stays until it is cancelled. */
static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("rows:stay", stay);

static int fail_while_unwinding(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = stay(ctx, args);

    return rc < 0 ? yoke_raise("app.Late", EIO, "failed to clean up") : rc;
}
YOKE_ENDPOINT("rows:fail_while_unwinding", fail_while_unwinding);

static int return_anyway(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = stay(ctx, args);

    yoke_clear();
    return rc < 0 ? yoke_context_return(ctx, yoke_int(42)) : rc;
}
YOKE_ENDPOINT("rows:return_anyway", return_anyway);

static int fail_early(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return yoke_raise("app.Early", ENOENT, "there is no such thing");
}
YOKE_ENDPOINT("rows:fail_early", fail_early);

/* Starts, and fails as soon as it is told to, by a value; no checkpoint lies between the two. */
static int fail_when_told(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    if (rc == 0)
        rc = yoke_stream_receive(ctx, &value);
    return rc < 0 ? rc : yoke_raise("app.Told", EIO, "told to fail");
}
YOKE_ENDPOINT("rows:fail_when_told", fail_when_told);

static int cancel_own_context(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0) {
        yoke_context_cancel(ctx, "had enough");
        rc = yoke_checkpoint();
    }
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("rows:cancel_own_context", cancel_own_context);

static int cancel_parent(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    yoke_portal_cancel_actor(yoke_parent(), "the child has decided");
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("rows:cancel_parent", cancel_parent);

/* Starts actor x, which then cancels this one. */
static int keep_a_traitor(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "rows:cancel_parent"};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *traitor;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "x", &opts, &traitor);
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_call(traitor, "rows:cancel_parent", yoke_nil(), NULL);
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("rows:keep_a_traitor", keep_a_traitor);

static int die(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t number;
    int rc = yoke_context_started(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "signal"), "signal", &number);
    if (rc < 0)
        return rc;
    if (number == 0)
        _exit(3);
    raise((int)number);
    return yoke_sleep_forever();
}
YOKE_ENDPOINT("rows:die", die);

/* Runs `steps` steps and then fails. */
static int fail_after_steps(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t steps;
    int rc = yoke_value_int(yoke_value_get(args, "steps"), "steps", &steps);

    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    while (rc == 0 && steps-- > 0)
        rc = yoke_checkpoint();
    return rc < 0 ? rc : yoke_raise("app.Steps", EIO, "out of steps");
}
YOKE_ENDPOINT("rows:fail_after_steps", fail_after_steps);

static int open_context(struct yoke_context *ctx, struct yoke_portal *peer, const char *endpoint,
                        struct yoke_value args)
{
    int rc = yoke_context_open(ctx, peer, endpoint, args, NULL);

    yk_check_int(rc, 0);
    return rc;
}

/* What an outcome says of a peer that this side cancelled, and that ended for it. */
static void check_cancelled_by_us(struct yoke_outcome *outcome, const char *chain)
{
    yk_check(yoke_outcome_cancel_called(outcome));
    yk_check(yoke_outcome_cancel_acked(outcome));
    yk_check(yoke_outcome_cancelled(outcome));
    yk_check_chain(yoke_outcome_cause(outcome), chain);
    yk_check_int(yoke_outcome_result(outcome).type, YOKE_NIL);
    yoke_outcome_free(outcome);
}

/* The error in flight is one of the peer, whose errno was `number`. Owned by the caller. */
static struct yoke_error *caught_from_peer(const char *type, int number, const char *message)
{
    struct yoke_error *error = yk_caught();

    yk_check_error(error, type, YOKE_EREMOTE, message);
    yk_check_int(yoke_error_errno(error), -number);
    yk_check(yoke_error_source(error) != NULL);
    if (yoke_error_source(error) != NULL)
        yk_check_text(yoke_error_source(error)->name, "peer");
    return error;
}

YK_PEER_TEST(row_01_child_returned)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    int64_t sum = 0;

    if (open_context(&ctx, peer, "rows:add", YOKE_MAP({"a", yoke_int(2)}, {"b", yoke_int(3)})) < 0)
        return;
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_int(yoke_value_int(yoke_outcome_result(outcome), "sum", &sum), 0);
    yk_check_int(sum, 5);
    yk_check(!yoke_outcome_cancel_called(outcome) && !yoke_outcome_cancel_acked(outcome));
    yk_check(!yoke_outcome_cancelled(outcome));
    yk_check(yoke_outcome_error(outcome) == NULL && yoke_outcome_cause(outcome) == NULL);
    yoke_outcome_free(outcome);
}

YK_PEER_TEST(row_02_opener_cancelled_and_child_unwound)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yk_report report;

    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:stay", yk_report_args(&report)) == 0) {
        yoke_context_cancel(&ctx, "enough");
        yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
        check_cancelled_by_us(outcome, "context, context cancel by root[enough]");
    }
    yk_report_close(&report, "Cancelled: context, context cancel by root[enough]\n");
}

YK_PEER_TEST(row_03_child_raised_while_unwinding)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yk_report report;
    struct yoke_error *error;

    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:fail_while_unwinding", yk_report_args(&report)) == 0) {
        yoke_context_cancel(&ctx, "enough");
        yk_check_int(yoke_context_close(&ctx, 0, &outcome), YOKE_EREMOTE);
        error = caught_from_peer("app.Late", EIO, "failed to clean up");
        yk_check(yoke_error_context(error) != NULL &&
                 strcmp(yoke_error_type(yoke_error_context(error)), "yoke.Cancelled") == 0);
        yk_check_chain(yoke_error_cause(yoke_error_context(error)),
                       "context, context cancel by root[enough]");
        yoke_error_unref(error);
        yk_check(yoke_outcome_cancel_called(outcome) && yoke_outcome_cancel_acked(outcome));
        yk_check(!yoke_outcome_cancelled(outcome));
        yk_check_error(yoke_outcome_error(outcome), "app.Late", YOKE_EREMOTE, NULL);
        yoke_outcome_free(outcome);
    }
    yk_report_close(&report, "Cancelled: context, context cancel by root[enough]\n");
}

YK_PEER_TEST(row_04_child_returned_although_cancelled)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;

    if (open_context(&ctx, peer, "rows:return_anyway", yoke_nil()) < 0)
        return;
    yoke_context_cancel(&ctx, NULL);
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_int(yoke_outcome_result(outcome).as.integer, 42);
    yk_check(yoke_outcome_cancel_called(outcome) && yoke_outcome_cancel_acked(outcome));
    yk_check(!yoke_outcome_cancelled(outcome) && yoke_outcome_error(outcome) == NULL);
    yoke_outcome_free(outcome);
}

YK_PEER_TEST(row_05_body_raised)
{
    static const char chain[] = "context, opener left by root{app.Body}";
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yk_report report;
    struct yoke_error *error;
    int rc;

    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:stay", yk_report_args(&report)) == 0) {
        rc = yoke_raise("app.Body", EDOM, "the body failed");
        yk_check_int(yoke_context_close(&ctx, rc, &outcome), -EDOM);
        error = yk_caught();
        yk_check_error(error, "app.Body", -EDOM, "the body failed");
        yk_check_int(yoke_error_suppressed_count(error), 0);
        yoke_error_unref(error);
        check_cancelled_by_us(outcome, chain);
    }
    yk_report_close(&report, "Cancelled: context, opener left by root{app.Body}\n");
}

YK_PEER_TEST(row_06_both_raised)
{
    struct yoke_context ctx;
    struct yk_report report;
    struct yoke_error *error;
    int rc;

    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:fail_while_unwinding", yk_report_args(&report)) == 0) {
        rc = yoke_raise("app.Body", EDOM, "the body failed");
        yk_check_int(yoke_context_close(&ctx, rc, NULL), YOKE_EGROUP);
        error = yk_caught();
        yk_check_int(yoke_error_member_count(error), 2);
        yk_check_error(yoke_error_member(error, 0), "app.Body", -EDOM, NULL);
        yk_check_error(yoke_error_member(error, 1), "app.Late", YOKE_EREMOTE, NULL);
        yoke_error_unref(error);
    }
    yk_report_close(&report, "Cancelled: context, opener left by root{app.Body}\n");
}

YK_PEER_TEST(row_07_child_raised_before_it_started)
{
    struct yoke_context ctx;
    struct yoke_error *error;

    yk_check_int(yoke_context_open(&ctx, peer, "rows:fail_early", yoke_nil(), NULL), YOKE_EREMOTE);
    error = caught_from_peer("app.Early", ENOENT, "there is no such thing");
    yk_check_int(yoke_error_relay_count(error), 1);
    yk_check_text(yoke_error_task_name(error), "rows:fail_early");
    yk_check_text(yoke_error_site(error)->function, "fail_early");
    yoke_error_unref(error);
}

/* The body of rows 8 and 9: tells C to fail, and waits until that cancels it. */
static int tell_and_wait(struct yoke_context *ctx)
{
    int rc = yoke_stream_send(ctx, yoke_nil());

    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_chain(yoke_why(), "context, peer raised by peer[told to fail]{app.Told}");
    return rc;
}

YK_PEER_TEST(row_08_child_raised_after_it_started)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yoke_error *error;

    if (open_context(&ctx, peer, "rows:fail_when_told", yoke_nil()) < 0)
        return;
    yk_check_int(yoke_context_close(&ctx, tell_and_wait(&ctx), &outcome), YOKE_EREMOTE);
    error = caught_from_peer("app.Told", EIO, "told to fail");
    yoke_error_unref(error);
    yk_check(!yoke_outcome_cancel_called(outcome) && !yoke_outcome_cancelled(outcome));
    yk_check_error(yoke_outcome_error(outcome), "app.Told", YOKE_EREMOTE, NULL);
    yoke_outcome_free(outcome);
}

YK_PEER_TEST(row_09_body_raised_while_it_unwound_for_the_child)
{
    struct yoke_context ctx;
    struct yoke_error *error;
    int rc;

    if (open_context(&ctx, peer, "rows:fail_when_told", yoke_nil()) < 0)
        return;
    rc = tell_and_wait(&ctx);
    if (rc < 0)
        rc = yoke_raise("app.Body", EDOM, "the body failed too");
    yk_check_int(yoke_context_close(&ctx, rc, NULL), YOKE_EGROUP);
    error = yk_caught();
    yk_check_int(yoke_error_member_count(error), 2);
    yk_check_error(yoke_error_member(error, 0), "app.Body", -EDOM, "the body failed too");
    yk_check_error(yoke_error_member(error, 1), "app.Told", YOKE_EREMOTE, "told to fail");
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_error_member(error, 0))));
    yoke_error_unref(error);
}

/* Rows 10 to 12: P's body waits; the whole of B is cancelled; close tells by whom. */
static void check_cancelled_by_another(struct yoke_context *ctx, int rc, const char *chain)
{
    struct yoke_outcome *outcome = NULL;
    struct yoke_error *error;

    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_cause_kind(yoke_why()), YOKE_CAUSE_PEER_CANCELLED);
    yk_check_int(yoke_context_close(ctx, rc, &outcome), YOKE_EPEERCANCELLED);
    error = yk_caught();
    yk_check_error(error, "yoke.ContextCancelled", YOKE_EPEERCANCELLED,
                   "rows:stay in peer was cancelled");
    yk_check_chain(yoke_error_cause(error), chain);
    yk_check(!yoke_error_is_cancelled(error));
    yk_check_text(yoke_error_source(error)->name, "peer");
    yoke_error_unref(error);
    yk_check(!yoke_outcome_cancel_called(outcome) && yoke_outcome_cancelled(outcome));
    yk_check_chain(yoke_outcome_cause(outcome), chain);
    yoke_outcome_free(outcome);
}

YK_PEER_TEST(row_10_another_actor_cancelled_the_peer)
{
    static const char chain[] = "actor, actor cancel by x[the child has decided]";
    struct yoke_context ctx, traitor;
    struct yk_report report;
    struct yoke_error *error;
    int rc;

    yk_peer_ends();
    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:stay", yk_report_args(&report)) == 0) {
        if (open_context(&traitor, peer, "rows:keep_a_traitor", yoke_nil()) == 0) {
            rc = yoke_context_close(&traitor, yoke_sleep_forever(), NULL);
            yk_check(rc == YOKE_EPEERCANCELLED || rc == YOKE_CANCELLED);
            error = yk_caught();
            /* The outer context may have been told first; then its Cancelled goes on. */
            if (rc == YOKE_EPEERCANCELLED)
                yk_check_chain(yoke_error_cause(error), chain);
            yoke_error_unref(error);
        }
        check_cancelled_by_another(&ctx, yoke_sleep_forever(), chain);
    }
    yk_report_close(&report, "Cancelled: actor, actor cancel by x[the child has decided]\n");
}

YK_PEER_TEST(row_11_opener_cancelled_the_whole_peer)
{
    struct yoke_context ctx;
    struct yk_report report;

    yk_peer_ends();
    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:stay", yk_report_args(&report)) == 0) {
        yoke_portal_cancel_actor(peer, "all of it");
        check_cancelled_by_another(&ctx, yoke_sleep_forever(),
                                   "actor, actor cancel by root[all of it]");
    }
    yk_report_close(&report, "Cancelled: actor, actor cancel by root[all of it]\n");
}

static void row_12(struct yoke_portal *peer, int number)
{
    struct yoke_context ctx;
    struct yk_report report;
    const struct yoke_signal_info *info;
    struct yoke_error *error;
    int status;

    yk_peer_ends();
    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:stay", yk_report_args(&report)) == 0) {
        yk_check_int(kill(yoke_portal_actor(peer)->pid, number), 0);
        yk_check_int(yoke_sleep_forever(), YOKE_CANCELLED);
        yk_check_int(yoke_context_close(&ctx, YOKE_CANCELLED, NULL), YOKE_EPEERCANCELLED);
        error = yk_caught();
        yk_check_chain(yoke_error_cause(error), "os, signal by ");
        info = yoke_cause_signal(yoke_error_cause(error));
        yk_check(info != NULL && info->number == number && info->pid == getpid() &&
                 info->uid == getuid());
        yoke_error_unref(error);
        yk_check_int(yoke_portal_wait(yk_peer_child(), &status, NULL), 0);
        yk_check(WIFEXITED(status) && WEXITSTATUS(status) == 128 + number);
    }
    yk_report_close(&report, "Cancelled: os, signal by \n");
}

YK_PEER_TEST(row_12_peer_received_sigterm)
{
    row_12(peer, SIGTERM);
}

YK_PEER_TEST(row_12_peer_received_sigint_from_a_process)
{
    row_12(peer, SIGINT);
}

static const char *death; /* of row 13: how the message describes it */
static int64_t death_signal;

/* The nursery around is being cancelled for the death, hence the shield. */
static void check_end(void)
{
    struct yoke_scope scope;
    struct rusage usage;
    int status = -1;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true}), 0);
    yk_check_int(yoke_portal_wait(yk_peer_child(), &status, &usage), 0);
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    if (death_signal == 0)
        yk_check(WIFEXITED(status) && WEXITSTATUS(status) == 3);
    else
        yk_check(WIFSIGNALED(status) && WTERMSIG(status) == death_signal);
    yk_check(usage.ru_maxrss > 0);
}

/* How a death is seen over another link than that to its parent. */
static void check_link_lost(const struct yoke_error *error)
{
    yk_check_error(error, "yoke.LinkLost", YOKE_ELINK, NULL);
    yk_check(strstr(yoke_error_message(error), "the link to actor peer (pid ") != NULL);
}

static void check_death(const struct yoke_error *error)
{
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yk_check(strstr(yoke_error_message(error), death) != NULL);
    yk_check(strstr(yoke_error_message(error), "processor time") != NULL);
}

static void row_13_body(struct yoke_portal *peer)
{
    void (*check)(const struct yoke_error *error) =
        yk_via() == YK_VIA_PARENT ? check_death : check_link_lost;
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yoke_error *error;

    if (open_context(&ctx, peer, "rows:die", YOKE_MAP({"signal", yoke_int(death_signal)})) < 0)
        return;
    /* The end of a child also cancels the nursery around: either Cancelled may come first. */
    yk_check_int(yoke_sleep_forever(), YOKE_CANCELLED);
    yk_check_int(yoke_context_close(&ctx, YOKE_CANCELLED, &outcome),
                 yk_via() == YK_VIA_PARENT ? YOKE_EDIED : YOKE_ELINK);
    error = yk_caught();
    check(error);
    yoke_error_unref(error);
    check(yoke_outcome_error(outcome));
    yk_check(!yoke_outcome_cancelled(outcome));
    yoke_outcome_free(outcome);
    check_end();
}

/* Its death is one error: the context's and, since nobody asked it to end, the nursery's. */
static void row_13(int number, const char *how)
{
    struct yoke_error *error;

    death = how;
    death_signal = number;
    yk_check_int(yk_with_peer(NULL, row_13_body), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yk_check(strstr(yoke_error_message(error), how) != NULL);
    yk_check_int(yoke_error_member_count(error), 0);
    yoke_error_unref(error);
}

YK_ACTORS_TEST(row_13_peer_was_killed)
{
    row_13(SIGKILL, "killed by signal 9 (Killed)");
    return 0;
}

YK_ACTORS_TEST(row_13_peer_crashed)
{
    row_13(SIGXCPU, "killed by signal 24 (CPU time limit exceeded)");
    return 0;
}

YK_ACTORS_TEST(row_13_peer_exited)
{
    row_13(0, "exited with status 3");
    return 0;
}

YK_PEER_TEST(row_15_child_cancelled_its_own_context)
{
    static const char chain[] = "context, context cancel by peer[had enough]";
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yk_report report;
    struct yoke_error *error;

    yk_report_open(&report);
    if (open_context(&ctx, peer, "rows:cancel_own_context", yk_report_args(&report)) == 0) {
        yk_check_int(yoke_context_close(&ctx, 0, &outcome), YOKE_EPEERCANCELLED);
        error = yk_caught();
        yk_check_chain(yoke_error_cause(error), chain);
        yoke_error_unref(error);
        yk_check(!yoke_outcome_cancel_called(outcome) && yoke_outcome_cancelled(outcome));
        yoke_outcome_free(outcome);
    }
    yk_report_close(&report, "Cancelled: context, context cancel by peer[had enough]\n");
}

/* Rows 16: `scope`, around the context, is cancelled while the body runs. */
static void row_16(struct yoke_portal *peer, struct yoke_scope *scope, bool by_deadline,
                   const char *report_text)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yk_report report;
    int rc;

    yk_report_open(&report);
    rc = open_context(&ctx, peer, "rows:stay", yk_report_args(&report));
    if (rc == 0) {
        if (by_deadline)
            yk_check_int(yoke_scope_set_deadline(scope, yoke_now() + YOKE_MS(1)), 0);
        else
            yoke_scope_cancel(scope, "shutdown");
        rc = yoke_context_close(&ctx, by_deadline ? yoke_sleep_forever() : 0, &outcome);
        yk_check_int(rc, YOKE_CANCELLED);
        yk_check(yoke_error_is_cancelled(yoke_in_flight()));
        yk_check_int(yoke_error_suppressed_count(yoke_in_flight()), 0);
        yk_check(yoke_error_cause(yoke_in_flight()) == yoke_scope_cause(scope));
        yk_check(yoke_outcome_cancel_called(outcome) && yoke_outcome_cancelled(outcome));
        yoke_outcome_free(outcome);
    }
    yk_check_int(yoke_scope_close(scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(scope));
    yk_report_close(&report, report_text);
}

YK_PEER_TEST(row_16_scope_around_was_cancelled)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    row_16(peer, &scope, false,
           "Cancelled: context, opener left by root <- task, scope cancel by root[shutdown]\n");
}

YK_PEER_TEST(row_16_deadline_around_expired)
{
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    row_16(peer, &scope, true,
           "Cancelled: context, opener left by root <- task, deadline by root\n");
}

YK_PEER_TEST(row_17_error_crosses_the_cancel_request)
{
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yoke_error *error;

    if (open_context(&ctx, peer, "rows:fail_when_told", yoke_nil()) < 0)
        return;
    yk_check_int(yoke_stream_send(&ctx, yoke_nil()), 0);
    yoke_context_cancel(&ctx, "too late");
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), YOKE_EREMOTE);
    error = caught_from_peer("app.Told", EIO, "told to fail");
    yoke_error_unref(error);
    yk_check(yoke_outcome_cancel_called(outcome) && !yoke_outcome_cancelled(outcome));
    yoke_outcome_free(outcome);
}

/* Either the request came first, and is absorbed, or the error did; never both, never neither. */
YK_PEER_TEST(row_17_in_whatever_order_they_race)
{
    for (int i = 0; i < 50; i++) {
        struct yoke_context ctx;
        struct yoke_error *error;
        int rc;

        if (open_context(&ctx, peer, "rows:fail_after_steps",
                         YOKE_MAP({"steps", yoke_int(i * 37 % 50)})) < 0)
            return;
        for (int step = 0; step < i; step++)
            if (yoke_checkpoint() < 0)
                break;
        yoke_context_cancel(&ctx, "race");
        rc = yoke_context_close(&ctx, 0, NULL);
        if (rc == 0)
            continue;
        yk_check_int(rc, YOKE_EREMOTE);
        error = caught_from_peer("app.Steps", EIO, "out of steps");
        yoke_error_unref(error);
    }
}

static void row_18_body(struct yoke_portal *peer)
{
    struct yoke_context_opts opts = {.teardown_timeout_ns = YOKE_MS(50)};
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;
    struct yoke_error *error;

    yk_check_int(yoke_context_open(&ctx, peer, "rows:stay", yoke_nil(), &opts), 0);
    yk_check_int(kill(yoke_portal_actor(peer)->pid, SIGSTOP), 0);
    yoke_context_cancel(&ctx, "no answer will come");
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), YOKE_EUNRESPONSIVE);
    error = yk_caught();
    yk_check_error(error, "yoke.Unresponsive", YOKE_EUNRESPONSIVE, NULL);
    yk_check(strstr(yoke_error_message(error), "rows:stay in peer (pid ") != NULL);
    yoke_error_unref(error);
    yk_check(yoke_outcome_cancel_called(outcome) && !yoke_outcome_cancel_acked(outcome));
    yoke_outcome_free(outcome);
}

YK_ACTORS_TEST(row_18_peer_does_not_answer)
{
    struct yoke_actor_opts opts = {
        .expose = "*",
        .cancel_timeout_ns = YOKE_MS(50),
        .term_timeout_ns = YOKE_MS(50),
    };
    struct yoke_error *error;

    yk_check_int(yk_with_peer(&opts, row_18_body), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yk_check(strstr(yoke_error_message(error), "ignored its cancellation and SIGTERM") != NULL);
    yoke_error_unref(error);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        YK_OVER_ALL(row_01_child_returned),
        YK_OVER_ALL(row_02_opener_cancelled_and_child_unwound),
        YK_OVER_ALL(row_03_child_raised_while_unwinding),
        YK_OVER_ALL(row_04_child_returned_although_cancelled),
        YK_OVER_ALL(row_05_body_raised),
        YK_OVER_ALL(row_06_both_raised),
        YK_OVER_ALL(row_07_child_raised_before_it_started),
        YK_OVER_ALL(row_08_child_raised_after_it_started),
        YK_OVER_ALL(row_09_body_raised_while_it_unwound_for_the_child),
        YK_OVER_ALL(row_10_another_actor_cancelled_the_peer),
        YK_OVER_ALL(row_11_opener_cancelled_the_whole_peer),
        YK_OVER_ALL(row_12_peer_received_sigterm),
        YK_OVER_ALL(row_12_peer_received_sigint_from_a_process),
        YK_OVER_ALL(row_13_peer_was_killed),
        YK_OVER_ALL(row_13_peer_crashed),
        YK_OVER_ALL(row_13_peer_exited),
        YK_OVER_ALL(row_15_child_cancelled_its_own_context),
        YK_OVER_ALL(row_16_scope_around_was_cancelled),
        YK_OVER_ALL(row_16_deadline_around_expired),
        YK_OVER_ALL(row_17_error_crosses_the_cancel_request),
        YK_OVER_ALL(row_17_in_whatever_order_they_race),
        YK_OVER_ALL(row_18_peer_does_not_answer),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor rows", tests, NULL, NULL);
}
