/* SPDX-License-Identifier: MIT */
/*
 * The endpoints of the recorded scenarios (tests/wire/README.md): what the module "capmod" of the
 * Python actors did, done here.
 */
#ifndef YK_TESTS_TRANSCRIPTS_ENDPOINTS_H
#define YK_TESTS_TRANSCRIPTS_ENDPOINTS_H

#include <errno.h>
#include <yoke.h>

static int capmod_add(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t a, b;
    int rc = yoke_value_int(yoke_value_get(args, "a"), "a", &a);

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "b"), "b", &b);
    if (rc < 0)
        return yoke_raise("TypeError", EINVAL, "add() needs a and b");
    return yoke_context_return(ctx, yoke_int(a + b));
}
YOKE_FUNCTION("capmod:add", capmod_add);

static int capmod_boom(struct yoke_context *ctx, struct yoke_value args)
{
    char text[64];
    int rc = yoke_value_text(yoke_value_get(args, "msg"), "msg", text, sizeof text);

    (void)ctx;
    return rc < 0 ? rc : yoke_raise("ValueError", EINVAL, "%s", text);
}
YOKE_FUNCTION("capmod:boom", capmod_boom);

static int capmod_ctx_started_result(struct yoke_context *ctx, struct yoke_value args)
{
    char text[32];
    int64_t x;
    int rc = yoke_value_int(yoke_value_get(args, "x"), "x", &x);

    if (rc == 0)
        rc = yoke_context_started(ctx, YOKE_MAP({"hello", yoke_int(x)}));
    if (rc < 0)
        return rc;
    snprintf(text, sizeof text, "result %d", (int)x);
    return yoke_context_return(ctx, yoke_str(text));
}
YOKE_ENDPOINT("capmod:ctx_started_result", capmod_ctx_started_result);

static int capmod_ctx_sleep(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_str("sleeping"));

    (void)args;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("capmod:ctx_sleep", capmod_ctx_sleep);

static int capmod_ctx_self_cancel(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_str("will cancel"));

    (void)args;
    yoke_context_cancel(ctx, "of itself");
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("capmod:ctx_self_cancel", capmod_ctx_self_cancel);

static int capmod_ctx_boom_before_started(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return yoke_raise("ValueError", EINVAL, "before started");
}
YOKE_ENDPOINT("capmod:ctx_boom_before_started", capmod_ctx_boom_before_started);

static int capmod_ctx_boom_after_started(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_str("ok"));

    (void)args;
    return rc < 0 ? rc : yoke_raise("ValueError", EINVAL, "after started");
}
YOKE_ENDPOINT("capmod:ctx_boom_after_started", capmod_ctx_boom_after_started);

static int capmod_ctx_boom_in_stream(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_str("ok"));

    (void)args;
    if (rc == 0)
        rc = yoke_stream_send(ctx, yoke_int(1));
    return rc < 0 ? rc : yoke_raise("ValueError", EINVAL, "in stream");
}
YOKE_ENDPOINT("capmod:ctx_boom_in_stream", capmod_ctx_boom_in_stream);

static int capmod_ctx_echo(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_str("ready"));
    int n = 0;

    (void)args;
    while (rc >= 0 && (rc = yoke_stream_receive(ctx, &value)) > 0) {
        rc = yoke_stream_send(ctx, value);
        n++;
    }
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_int(n));
}
YOKE_ENDPOINT("capmod:ctx_echo", capmod_ctx_echo);

static int capmod_ctx_count_up(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    for (int64_t i = 0; rc == 0 && i < n; i++)
        rc = yoke_stream_send(ctx, yoke_int(i));
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_int(n));
}
YOKE_ENDPOINT("capmod:ctx_count_up", capmod_ctx_count_up);

#endif
