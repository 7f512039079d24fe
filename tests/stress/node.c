/* SPDX-License-Identifier: MIT */
/*
 * A node of a random tree: the endpoint "stress:node". An inner node starts actors and opens the
 * same endpoint in each; a leaf does something at random that ends well, badly, or never. What a
 * node does follows from the seed in its arguments alone.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yoke.h>

#include "../tests/stress/stress.h"

enum { CHILDREN_MAX = 3 };

static int a_while(struct yk_random *random)
{
    return yoke_sleep(YOKE_MS(1) + (int64_t)yk_stress_below(random, 30) * YOKE_MS(1));
}

static int fail(struct yk_random *random)
{
    return yoke_raise(YK_STRESS_ERROR, EIO, "leaf %u failed", yk_stress_below(random, 1000));
}

static int stream_for_ever(struct yoke_context *ctx)
{
    int rc = 0;

    for (int64_t i = 0; rc == 0; i++)
        rc = yoke_stream_send(ctx, yoke_int(i));
    return rc;
}

/* Cleans up behind a shield for a moment, and then may fail in it. */
static int unwind_slowly(struct yk_random *random)
{
    struct yoke_scope scope;
    struct yoke_hold hold;
    int rc = yoke_sleep_forever();

    yoke_hold(&hold);
    if (yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true}) == 0) {
        int slept = a_while(random);

        if (slept == 0 && yk_stress_below(random, 2) == 0)
            slept = fail(random);
        slept = yoke_scope_close(&scope, slept);
        (void)slept; /* release keeps it with the error held */
    }
    (void)rc;
    return yoke_release(&hold);
}

static int leaf(struct yoke_context *ctx, struct yk_random *random)
{
    unsigned what = yk_stress_below(random, 10);
    int rc = yoke_context_started(ctx, yoke_int(getpid()));

    if (rc == 0 && what > 3)
        rc = a_while(random);
    if (rc < 0)
        return rc;
    switch (what) {
    case 0:
    case 1:
        return stream_for_ever(ctx);
    case 2:
        return yoke_sleep_forever();
    case 3:
        return unwind_slowly(random);
    case 4:
        return fail(random);
    case 5:
        _exit(7); /* as a crash: what it holds just then is not given back */
    case 6:
        yoke_actor_cancel_self("a leaf ends its actor");
        return yoke_sleep_forever();
    case 7:
        yoke_context_cancel(ctx, "a leaf ends its context");
        return yoke_sleep_forever();
    case 8:
        return yoke_context_return(ctx, yoke_str("done"));
    default:
        raise(SIGTERM);
        return yoke_sleep_forever();
    }
}

/* Opens a context to one child and takes what it streams, to the end. */
struct branch {
    struct yoke_portal *portal;
    uint64_t seed;
    int64_t depth;
};

static int follow(void *arg)
{
    struct branch *branch = arg;
    struct yoke_value value;
    struct yoke_context ctx;
    int rc = yoke_context_open(&ctx, branch->portal, "stress:node",
                               YOKE_MAP({"seed", yoke_int((int64_t)branch->seed)},
                                        {"depth", yoke_int(branch->depth)}),
                               NULL);

    if (rc < 0)
        return rc;
    while ((rc = yoke_stream_receive(&ctx, &value)) > 0)
        continue;
    return yoke_context_close(&ctx, rc, NULL);
}

int yk_stress_grow(struct yoke_context *started, uint64_t seed, int64_t depth)
{
    struct yoke_actor_opts opts = {.expose = "stress:*"};
    struct yk_random random = {seed};
    struct branch branches[CHILDREN_MAX];
    struct yoke_actor_nursery actors;
    struct yoke_nursery tasks;
    unsigned n = 1 + yk_stress_below(&random, CHILDREN_MAX);
    struct yoke_actor_nursery_opts strategy = {
        .strategy = (enum yoke_strategy)yk_stress_below(&random, 4),
        .ordered_shutdown = yk_stress_below(&random, 2) == 0,
    };
    int rc = yoke_actor_nursery_open(&actors, &strategy);
    int tasks_rc = yoke_nursery_open(&tasks, NULL);

    for (unsigned i = 0; rc == 0 && tasks_rc == 0 && i < n; i++) {
        struct branch *branch = &branches[i];

        branch->seed = yk_random_next(&random) >> 1;
        branch->depth = depth - 1 - yk_stress_below(&random, 2);
        tasks_rc = yoke_actor_start(&actors, "node", &opts, &branch->portal);
        if (tasks_rc == 0)
            tasks_rc = yoke_spawn(&tasks, follow, branch);
    }
    if (tasks_rc == 0 && started != NULL)
        tasks_rc = yoke_context_started(started, yoke_int(getpid()));
    tasks_rc = yoke_nursery_close(&tasks, tasks_rc);
    return yoke_actor_nursery_close(&actors, rc < 0 ? rc : tasks_rc);
}

static int node(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t seed, depth;
    int rc = yoke_value_int(yoke_value_get(args, "seed"), "seed", &seed);

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "depth"), "depth", &depth);
    if (rc < 0)
        return rc;
    if (depth <= 0) {
        struct yk_random random = {(uint64_t)seed};

        return leaf(ctx, &random);
    }
    return yk_stress_grow(ctx, (uint64_t)seed, depth);
}
YOKE_ENDPOINT("stress:node", node);
