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

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_select_takes_from_the_stream_that_has_a_value),
        cmocka_unit_test(a_select_and_a_receive_on_one_stream_get_a_value_each),
        cmocka_unit_test(a_cancelled_select_leaves_the_value_in_the_stream),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor streams", tests, NULL, NULL);
}
