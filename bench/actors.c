/* SPDX-License-Identifier: MIT */
/*
 * Actors: processes that are this program again, executed anew, with the socketpair they inherit.
 * They inherit the processor that the benchmark is bound to as well; so do the processes of the
 * floors.
 */
#include <errno.h>
#include <signal.h>
#include <yoke/actor.h>
#include <yoke/context.h>
#include <yoke/error.h>
#include <yoke/task.h>

#include "../bench/bench.h"

enum {
    CALLS = 5000,
    STARTS = 10,
    CANCELLED = 8,
    WARM = 1000,
    MESSAGES = 200000,
    MESSAGE = 64,
    LARGE = 1 << 20,
};

static char payload[LARGE];
static const struct yoke_actor_opts exposing = {.expose = "bench:*"};

static int echo(struct yoke_context *ctx, struct yoke_value args)
{
    return yoke_context_return(ctx, yoke_value_get(args, "data"));
}
YOKE_ENDPOINT("bench:echo", echo);

/* Streams as many messages as it is told to, of so many bytes. */
static int pour(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n, size;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "size"), "size", &size);
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    for (int64_t i = 0; rc == 0 && i < n; i++) {
        payload[0] = (char)i;
        payload[size - 1] = (char)i;
        rc = yoke_stream_send(ctx, yoke_bin(payload, (size_t)size));
    }
    return rc;
}
YOKE_ENDPOINT("bench:pour", pour);

/* Starts, and is done. */
static int begin_and_end(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_value_get(args, "data"));

    return rc < 0 ? rc : yoke_context_return(ctx, yoke_value_get(args, "data"));
}
YOKE_ENDPOINT("bench:begin_and_end", begin_and_end);

/* Streams back what it gets, until the end. */
static int reflect(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    while (rc >= 0 && (rc = yoke_stream_receive(ctx, &value)) > 0)
        rc = yoke_stream_send(ctx, value);
    return rc;
}
YOKE_ENDPOINT("bench:reflect", reflect);

static int call_echo(struct yoke_portal *portal)
{
    struct yoke_value *result = NULL;
    struct yoke_value data = yoke_bin(payload, MESSAGE);
    int rc = yoke_call(portal, "bench:echo", YOKE_MAP({"data", data}), &result);

    if (rc == 0 && !yoke_value_equal(*result, data))
        rc = yoke_raise("bench.Echo", EBADMSG, "the echo is not what was said");
    yoke_value_free(result);
    return rc;
}

static int calls(struct yoke_portal *portal, long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++)
        rc = call_echo(portal);
    return rc;
}

/* Runs body(portal, ret) with one actor that is up. */
static int with_actor(int (*body)(struct yoke_portal *portal, double *ret), double *ret)
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "peer", &exposing, &portal);
    if (rc == 0)
        rc = body(portal, ret);
    return yoke_actor_nursery_close(&nursery, rc);
}

static int measure_calls(struct yoke_portal *portal, double *ret_us)
{
    int rc = calls(portal, WARM);
    int64_t begin = bench_now();

    if (rc == 0)
        rc = calls(portal, CALLS);
    *ret_us = (double)(bench_now() - begin) / CALLS / 1e3;
    return rc;
}

static int call_main(void *ret)
{
    return with_actor(measure_calls, ret);
}

static int call_value(double *ret)
{
    return yoke_run(call_main, ret, NULL);
}

static int call_once(struct yoke_portal *portal, double *ret)
{
    (void)ret;
    return call_echo(portal);
}

static int starts(long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++)
        rc = with_actor(call_once, NULL);
    return rc;
}

static int start_value(double *ret)
{
    double ns = 0;
    int rc = bench_in_runtime_wall(starts, STARTS, &ns);

    *ret = ns / 1e3;
    return rc;
}

static int cancel_main(void *arg)
{
    double *ret_ms = arg;
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    int64_t begin;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    for (int i = 0; rc == 0 && i < CANCELLED; i++) {
        rc = yoke_actor_start(&nursery, "peer", &exposing, &portal);
        if (rc == 0)
            rc = call_echo(portal);
    }
    begin = bench_now();
    rc = yoke_actor_nursery_close(&nursery, rc);
    *ret_ms = (double)(bench_now() - begin) / 1e6;
    return rc;
}

static int cancel_value(double *ret)
{
    return yoke_run(cancel_main, ret, NULL);
}

/* Contexts opened and closed, with a first value and a result. */
static int contexts(struct yoke_portal *portal, long n)
{
    struct yoke_value data = yoke_bin(payload, MESSAGE);
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++) {
        struct yoke_context ctx;
        struct yoke_outcome *outcome;

        rc = yoke_context_open(&ctx, portal, "bench:begin_and_end", YOKE_MAP({"data", data}), NULL);
        if (rc < 0)
            return rc;
        if (!yoke_value_equal(yoke_context_first(&ctx), data))
            rc = yoke_raise("bench.Context", EBADMSG, "it did not start with what was said");
        rc = yoke_context_close(&ctx, rc, &outcome);
        if (rc == 0 && !yoke_value_equal(yoke_outcome_result(outcome), data))
            rc = yoke_raise("bench.Context", EBADMSG, "the result is not what was said");
        yoke_outcome_free(outcome);
    }
    return rc;
}

static int measure_contexts(struct yoke_portal *portal, double *ret_us)
{
    int rc = contexts(portal, WARM);
    int64_t begin = bench_now();

    if (rc == 0)
        rc = contexts(portal, CALLS);
    *ret_us = (double)(bench_now() - begin) / CALLS / 1e3;
    return rc;
}

static int context_main(void *ret)
{
    return with_actor(measure_contexts, ret);
}

static int context_value(double *ret)
{
    return yoke_run(context_main, ret, NULL);
}

static int round_trips(struct yoke_context *ctx, long n)
{
    struct yoke_value value, data = yoke_bin(payload, MESSAGE);
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++) {
        rc = yoke_stream_send(ctx, data);
        if (rc == 0)
            rc = yoke_stream_receive(ctx, &value) - 1;
        if (rc == 0 && !yoke_value_equal(value, data))
            rc = yoke_raise("bench.Stream", EBADMSG, "what came back is not what was said");
    }
    return rc;
}

static int measure_pingpong(struct yoke_portal *portal, double *ret_us)
{
    struct yoke_context ctx;
    int64_t begin;
    int rc = yoke_context_open(&ctx, portal, "bench:reflect", yoke_nil(), NULL);

    if (rc < 0)
        return rc;
    rc = round_trips(&ctx, WARM);
    begin = bench_now();
    if (rc == 0)
        rc = round_trips(&ctx, CALLS);
    *ret_us = (double)(bench_now() - begin) / CALLS / 1e3;
    return yoke_context_close(&ctx, rc, NULL);
}

static int pingpong_main(void *ret)
{
    return with_actor(measure_pingpong, ret);
}

static int pingpong_value(double *ret)
{
    return yoke_run(pingpong_main, ret, NULL);
}

/* Messages of one size, received one way. */
struct flow {
    int64_t size, warm, n;
    double seconds;
};

/* Receives n messages and looks at their ends: 0; the peer's early end is an error. */
static int receive(struct yoke_context *ctx, const struct flow *flow, int64_t first, int64_t n)
{
    struct yoke_value value;
    int rc = 1;

    for (int64_t i = first; rc > 0 && i < first + n; i++) {
        rc = yoke_stream_receive(ctx, &value);
        if (rc > 0 && (value.as.str.size != (size_t)flow->size || value.as.str.data[0] != (char)i ||
                       value.as.str.data[flow->size - 1] != (char)i))
            return yoke_raise("bench.Stream", EBADMSG, "message %lld is another", (long long)i);
    }
    if (rc == 0)
        return yoke_raise("bench.Stream", EBADMSG, "the stream ended early");
    return rc < 0 ? rc : 0;
}

static int flow_through(struct yoke_portal *portal, struct flow *flow)
{
    struct yoke_context ctx;
    struct yoke_value args =
        YOKE_MAP({"n", yoke_int(flow->warm + flow->n)}, {"size", yoke_int(flow->size)});
    int64_t begin;
    int rc = yoke_context_open(&ctx, portal, "bench:pour", args, NULL);

    if (rc < 0)
        return rc;
    rc = receive(&ctx, flow, 0, flow->warm);
    begin = bench_now();
    if (rc == 0)
        rc = receive(&ctx, flow, flow->warm, flow->n);
    flow->seconds = (double)(bench_now() - begin) / 1e9;
    return yoke_context_close(&ctx, rc, NULL);
}

static int flow_main(void *arg)
{
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "peer", &exposing, &portal);
    if (rc == 0)
        rc = flow_through(portal, arg);
    return yoke_actor_nursery_close(&nursery, rc);
}

static int stream_value(double *ret)
{
    struct flow flow = {.size = MESSAGE, .warm = 10000, .n = MESSAGES};
    int rc = yoke_run(flow_main, &flow, NULL);

    *ret = (double)flow.n / flow.seconds;
    return rc;
}

static int bulk_value(int64_t size, int64_t n, double *ret_mib)
{
    struct flow flow = {.size = size, .warm = n / 4, .n = n};
    int rc = yoke_run(flow_main, &flow, NULL);

    *ret_mib = (double)flow.n * (double)size / (1 << 20) / flow.seconds;
    return rc;
}

static int stream_64k_value(double *ret)
{
    return bulk_value(64 << 10, 8000, ret);
}

static int stream_1m_value(double *ret)
{
    return bulk_value(1 << 20, 1000, ret);
}

/* From the start of an actor until its first call has returned. */
static int zygote_main(void *arg)
{
    static const struct yoke_actor_opts forked = {
        .expose = "bench:*",
        .spawner = YOKE_SPAWN_ZYGOTE,
    };
    double *ret_us = arg;
    int64_t total = 0;
    int rc = 0;

    for (int i = 0; rc == 0 && i < STARTS; i++) {
        struct yoke_actor_nursery nursery;
        struct yoke_portal *portal;
        int64_t begin;

        rc = yoke_actor_nursery_open(&nursery, NULL);
        begin = bench_now();
        if (rc == 0)
            rc = yoke_actor_start(&nursery, "peer", &forked, &portal);
        if (rc == 0)
            rc = call_echo(portal);
        total += bench_now() - begin;
        rc = yoke_actor_nursery_close(&nursery, rc);
    }
    *ret_us = (double)total / STARTS / 1e3;
    return rc;
}

static int zygote_value(double *ret)
{
    char *argv[] = {(char *)"yoke-bench", NULL};
    int status = yoke_main(zygote_main, &(struct yoke_main_opts){
                                            .argc = 1,
                                            .argv = argv,
                                            .arg = ret,
                                            .zygote = true,
                                        });

    return status == 0 ? 0 : -EIO; /* told on stderr */
}

/* Three actors below this one, `depth` levels deep; then they stay. */
static int grow(struct yoke_actor_nursery *nursery, int64_t depth)
{
    struct yoke_actor_opts opts = {
        .expose = "bench:*",
        .run = "bench:grow",
        .args = YOKE_MAP({"depth", yoke_int(depth - 1)}),
    };
    int rc = 0;

    for (int i = 0; rc == 0 && depth > 0 && i < 3; i++)
        rc = yoke_actor_start(nursery, "branch", &opts, NULL);
    return rc;
}

static int grow_branch(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_nursery nursery;
    int64_t depth = 0;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "depth"), "depth", &depth);
    if (rc == 0)
        rc = grow(&nursery, depth);
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_sleep_forever();
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("bench:grow", grow_branch);

static int cancel_tree_main(void *arg)
{
    double *ret_ms = arg;
    struct yoke_actor_nursery nursery;
    int64_t begin;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = grow(&nursery, 3);
    begin = bench_now();
    rc = yoke_actor_nursery_close(&nursery, rc);
    *ret_ms = (double)(bench_now() - begin) / 1e6;
    return rc;
}

static int cancel_tree_value(double *ret)
{
    return yoke_run(cancel_tree_main, ret, NULL);
}

static int measure_memory(struct yoke_portal *portal, double *ret_kib)
{
    int rc = call_echo(portal);

    if (rc == 0)
        rc = bench_private_memory(yoke_portal_actor(portal)->pid, ret_kib);
    return rc;
}

static int memory_main(void *ret)
{
    return with_actor(measure_memory, ret);
}

static int memory_value(double *ret)
{
    return yoke_run(memory_main, ret, NULL);
}

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("bench:stay", stay);

static int measure_death(struct yoke_portal *portal, double *ret_us)
{
    struct yoke_context ctx;
    struct yoke_error *error;
    int64_t begin;
    int rc = yoke_context_open(&ctx, portal, "bench:stay", yoke_nil(), NULL);

    if (rc < 0)
        return rc;
    begin = bench_now();
    kill(yoke_portal_actor(portal)->pid, SIGKILL);
    rc = yoke_context_close(&ctx, 0, NULL);
    *ret_us = (double)(bench_now() - begin) / 1e3;
    if (rc != YOKE_EDIED)
        return rc < 0 ? rc : yoke_raise("bench.Death", EBADMSG, "it was killed, and has not died");
    error = yoke_catch();
    yoke_error_unref(error);
    return 0;
}

/* Its death is handled by the context; that it is told to the nursery as well is on purpose. */
static int death_main(void *arg)
{
    struct yoke_actor_opts opts = {.expose = "bench:*", .restart = YOKE_RESTART_TEMPORARY};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *portal;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "peer", &opts, &portal);
    if (rc == 0)
        rc = measure_death(portal, arg);
    return yoke_actor_nursery_close(&nursery, rc);
}

static int death_value(double *ret)
{
    return yoke_run(death_main, ret, NULL);
}

const struct bench_case bench_actor_cases[] = {
    {"call", "us", call_value, bench_raw_round_trip,
     "64 bytes there and back on a socketpair, between two processes", false},
    {"context", "us", context_value, bench_raw_round_trip,
     "64 bytes there and back on a socketpair, between two processes", false},
    {"stream_pingpong", "us", pingpong_value, bench_raw_round_trip,
     "64 bytes there and back on a socketpair, between two processes", false},
    {"actor_start_exec", "us", start_value, bench_raw_start,
     "an empty program spawned, its first byte read, reaped", false},
    {"cancel_8", "ms", cancel_value, bench_raw_kill_8, "8 idle processes killed and reaped", false},
    {"cancel_39", "ms", cancel_tree_value, bench_raw_kill_39, "39 idle processes killed and reaped",
     false},
    {"actor_start_zygote", "us", zygote_value, bench_raw_fork, "a fork, its first byte read",
     false},
    {"death_wake", "us", death_value, bench_raw_death,
     "an empty process killed, its pidfd waited for", false},
    {"actor_memory", "KiB", memory_value, bench_raw_memory,
     "private memory of an idle empty program", false},
    {"stream_64b", "messages/s", stream_value, bench_raw_stream,
     "64 bytes a write on a socketpair, one way, between two processes", true},
    {"stream_64k", "MiB/s", stream_64k_value, bench_raw_64k,
     "64 KiB a write on a socketpair, each read whole into memory of its own", true},
    {"stream_1m", "MiB/s", stream_1m_value, bench_raw_1m,
     "1 MiB a write on a socketpair, each read whole into memory of its own", true},
    {"stream_1m_ring", "MiB/s", stream_1m_value, bench_raw_ring,
     "1 MiB copied into one of 4 places of shared memory, told by pipes both ways", true},
    {0},
};
