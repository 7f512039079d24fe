/* SPDX-License-Identifier: MIT */
/* Streams of contexts on real processes: select over them, several local consumers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <yoke/event.h>
#include <yoke/task.h>
#include <yoke/testing.h>

#include "../tests/support/actors.h"
#include "actor/actor.h"

/* Sends back what it receives. */
static int echo(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    while (rc >= 0 && (rc = yoke_stream_receive(ctx, &value)) > 0)
        rc = yoke_stream_send(ctx, value);
    return rc;
}
YOKE_ENDPOINT("streams:echo", echo);

static int open_echo(struct yoke_context *ctx, struct yoke_portal *peer)
{
    int rc = yoke_context_open(ctx, peer, "streams:echo", yoke_nil(), NULL);

    yk_check_int(rc, 0);
    return rc;
}

YK_PEER_TEST(a_select_takes_from_the_stream_that_has_a_value)
{
    struct yoke_context a, b;
    struct yoke_event never;
    struct yoke_value of_a = yoke_nil(), of_b = yoke_nil();
    struct yoke_select_case cases[3];

    yoke_event_init(&never);
    if (open_echo(&a, peer) < 0 || open_echo(&b, peer) < 0)
        return;
    cases[0] = yoke_case_stream(&a, &of_a);
    cases[1] = yoke_case_stream(&b, &of_b);
    cases[2] = yoke_case_event(&never);
    yk_check_int(yoke_stream_send(&b, yoke_str("one")), 0);
    yk_check_int(yoke_select(cases, 3, NULL), 1);
    yk_check_int(cases[1].result, 1);
    yk_check_text(yk_text_of(of_b), "one");
    yk_check_int(yoke_stream_send(&a, yoke_str("two")), 0);
    yk_check_int(yoke_select(cases, 3, NULL), 0);
    yk_check_text(yk_text_of(of_a), "two");
    yk_check_int(yoke_stream_close(&a), 0);
    yk_check_int(yoke_select(cases, 3, NULL), 0);
    yk_check_int(cases[0].result, 0); /* the end */
    yoke_event_set(&never);
    yk_check_int(yoke_select(&cases[1], 2, NULL), 1);
    yk_check_int(yoke_context_close(&b, 0, NULL), 0);
    yk_check_int(yoke_context_close(&a, 0, NULL), 0);
}

/* Two takers of one stream: what a select does not take is the other's. */
struct taker {
    struct yoke_context *ctx;
    struct yoke_channel *got;
};

static int take_one(void *arg)
{
    struct taker *taker = arg;
    struct yoke_value value;
    int64_t number;
    int rc = yoke_stream_receive(taker->ctx, &value);

    if (rc > 0)
        rc = yoke_value_int(value, "value", &number);
    if (rc == 0)
        rc = yoke_channel_send(taker->got, &number);
    return rc;
}

YK_PEER_TEST(a_select_and_a_receive_on_one_stream_get_a_value_each)
{
    struct yoke_context ctx;
    struct taker taker = {.ctx = &ctx, .got = yoke_channel_new(sizeof(int64_t), 1)};
    struct yoke_nursery nursery;
    struct yoke_value value;
    struct yoke_select_case cases[2];
    int64_t theirs = 0, ours = 0;

    if (open_echo(&ctx, peer) < 0)
        return;
    cases[0] = yoke_case_stream(&ctx, &value);
    cases[1] = yoke_case_never();
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, take_one, &taker), 0);
    yk_check_int(yoke_stream_send(&ctx, yoke_int(1)), 0);
    yk_check_int(yoke_stream_send(&ctx, yoke_int(2)), 0);
    yk_check_int(yoke_select(cases, 2, NULL), 0);
    yk_check_int(yoke_value_int(value, "value", &ours), 0);
    yk_check_int(yoke_channel_receive(taker.got, &theirs), 1);
    yk_check_int(ours + theirs, 3);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
    yoke_channel_unref(taker.got);
}

YK_PEER_TEST(a_cancelled_select_leaves_the_value_in_the_stream)
{
    struct yoke_context ctx;
    struct yoke_scope scope;
    struct yoke_value value;
    struct yoke_select_case cases[1];

    if (open_echo(&ctx, peer) < 0)
        return;
    cases[0] = yoke_case_stream(&ctx, &value);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_stream_send(&ctx, yoke_int(1)), YOKE_CANCELLED);
    yk_check_int(yoke_select(cases, 1, NULL), YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check_int(yoke_try_select(cases, 1, NULL), 1);
    yk_check_int(yoke_stream_send(&ctx, yoke_str("kept")), 0);
    yk_check_int(yoke_select(cases, 1, NULL), 0);
    yk_check_text(yk_text_of(value), "kept");
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

/* Sends 0 to args.n - 1. */
static int count(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    for (int64_t i = 0; rc == 0 && i < n; i++)
        rc = yoke_stream_send(ctx, yoke_int(i));
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("streams:count", count);

static int open_count(struct yoke_context *ctx, struct yoke_portal *peer, int64_t n,
                      const struct yoke_context_opts *opts)
{
    int rc = yoke_context_open(ctx, peer, "streams:count", YOKE_MAP({"n", yoke_int(n)}), opts);

    yk_check_int(rc, 0);
    return rc;
}

/* One of several consumers of a stream: what it got. */
struct consumer {
    struct yoke_stream_subscription subscription;
    int64_t got, lost, last;
    bool in_order;
    int64_t stop_after; /* 0: never */
};

static void begin_consumer(struct consumer *consumer, struct yoke_context *ctx, size_t kept)
{
    memset(consumer, 0, sizeof *consumer);
    consumer->in_order = true;
    consumer->last = -1;
    yk_check_int(yoke_stream_subscribe(ctx, &consumer->subscription, kept), 0);
}

static int consume(void *arg)
{
    struct consumer *consumer = arg;
    struct yoke_value value;
    uint64_t lost;
    int rc;

    while ((rc = yoke_stream_subscription_receive(&consumer->subscription, &value, &lost)) > 0) {
        int64_t number = value.as.integer;

        consumer->in_order = consumer->in_order && number == consumer->last + 1 + (int64_t)lost;
        consumer->last = number;
        consumer->lost += (int64_t)lost;
        if (++consumer->got == consumer->stop_after)
            break;
    }
    yoke_stream_unsubscribe(&consumer->subscription);
    return rc;
}

YK_PEER_TEST(each_of_several_consumers_gets_every_value_in_order)
{
    enum { CONSUMERS = 10, VALUES = 1000 };
    struct consumer consumers[CONSUMERS];
    struct yoke_nursery nursery;
    struct yoke_context ctx;

    if (open_count(&ctx, peer, VALUES, NULL) < 0)
        return;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < CONSUMERS; i++) {
        begin_consumer(&consumers[i], &ctx, 0);
        yk_check_int(yoke_spawn(&nursery, consume, &consumers[i]), 0);
    }
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    for (int i = 0; i < CONSUMERS; i++) {
        yk_check_int(consumers[i].got + consumers[i].lost, VALUES);
        yk_check_int(consumers[i].last, VALUES - 1);
        yk_check(consumers[i].in_order);
    }
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(a_consumer_that_is_too_slow_holds_up_nobody_and_is_told_what_it_lost)
{
    enum { VALUES = 50, KEPT = 8 };
    struct consumer fast, slow;
    struct yoke_context ctx;
    struct yoke_value value;

    if (open_count(&ctx, peer, VALUES, NULL) < 0)
        return;
    begin_consumer(&fast, &ctx, KEPT);
    begin_consumer(&slow, &ctx, 0);
    yk_check_int(yoke_stream_receive(&ctx, &value), -EINVAL);
    yoke_clear();
    yk_check_int(consume(&fast), 0);
    yk_check_int(fast.got, VALUES);
    yk_check_int(fast.lost, 0);
    yk_check_int(consume(&slow), 0);
    yk_check_int(slow.got, KEPT);
    yk_check_int(slow.lost, VALUES - KEPT);
    yk_check(slow.in_order);
    yk_check_int(yoke_stream_receive(&ctx, &value), 0); /* nobody is subscribed any more */
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(when_the_consumer_that_receives_for_all_is_cancelled_another_goes_on)
{
    struct consumer first, second;
    struct yoke_nursery nursery;
    struct yoke_context ctx;
    struct yoke_scope *scope;

    if (open_echo(&ctx, peer) < 0)
        return;
    begin_consumer(&first, &ctx, 0);
    begin_consumer(&second, &ctx, 0);
    second.stop_after = 1;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    scope = yoke_nursery_scope(&nursery);
    yk_check_int(yoke_spawn(&nursery, consume, &first), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0); /* it receives for all */
    {
        struct yoke_nursery others;

        yk_check_int(yoke_nursery_open(&others, &(struct yoke_nursery_opts){.shield = true}), 0);
        yk_check_int(yoke_spawn(&others, consume, &second), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0); /* it waits for the first */
        yoke_scope_cancel(scope, "one is enough");
        yk_check_int(yoke_stream_send(&ctx, yoke_int(0)), 0);
        yk_check_int(yoke_nursery_close(&others, 0), 0);
    }
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(first.got, 0);
    yk_check_int(second.got, 1);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

/* From here on this side takes its peer for one that knows no credit. */
static void take_for_plain(struct yoke_portal *peer)
{
    struct yoke_portal *reached;

    yk_check_int(yk_portal_reach(peer, &reached), 0);
    reached->link.extensions = false;
    reached->link.shares = false;
}

YK_PEER_TEST(a_peer_without_credit_that_sends_too_much_is_told_so)
{
    struct yoke_context_opts opts = {.window = 4};
    struct yoke_context ctx;
    struct yoke_error *error;
    struct yk_report report;

    yk_report_open(&report);
    take_for_plain(peer);
    yk_check_int(yoke_context_open(&ctx, peer, "streams:count",
                                   YOKE_MAP({"n", yoke_int(1000000)},
                                            {"report", yoke_str(report.path)}),
                                   &opts),
                 0);
    yk_check_int(yoke_context_close(&ctx, yoke_sleep_forever(), NULL), YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "StreamOverrun", YOKE_EREMOTE,
                   "peer sends values of streams:count faster than root receives them");
    yoke_error_unref(error);
    yk_report_close(&report, "Cancelled: context, peer raised by root[peer sends values of "
                             "streams:count faster than root receives them]{StreamOverrun}\n");
}

YK_PEER_TEST(with_overruns_allowed_the_oldest_are_dropped_and_counted)
{
    enum { VALUES = 2000, WINDOW = 4, KEPT = WINDOW + 616 };
    struct yoke_context_opts opts = {.window = WINDOW, .allow_overruns = true};
    struct yoke_context ctx;
    struct yoke_value value = yoke_nil();
    int n = 0;

    take_for_plain(peer);
    if (open_count(&ctx, peer, VALUES, &opts) < 0)
        return;
    while (!((struct yk_dialog *)ctx.dialog)->finished)
        yk_check_int(yoke_checkpoint(), 0);
    yk_check_int((int64_t)yoke_stream_lost(&ctx), VALUES - KEPT);
    while (yoke_stream_receive(&ctx, &value) > 0)
        yk_check_int(value.as.integer, VALUES - KEPT + n++);
    yk_check_int(n, KEPT);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_select_takes_from_the_stream_that_has_a_value),
        cmocka_unit_test(a_select_and_a_receive_on_one_stream_get_a_value_each),
        cmocka_unit_test(a_cancelled_select_leaves_the_value_in_the_stream),
        cmocka_unit_test(each_of_several_consumers_gets_every_value_in_order),
        cmocka_unit_test(a_consumer_that_is_too_slow_holds_up_nobody_and_is_told_what_it_lost),
        cmocka_unit_test(when_the_consumer_that_receives_for_all_is_cancelled_another_goes_on),
        cmocka_unit_test(a_peer_without_credit_that_sends_too_much_is_told_so),
        cmocka_unit_test(with_overruns_allowed_the_oldest_are_dropped_and_counted),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor streams", tests, NULL, NULL);
}
