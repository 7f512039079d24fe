/* SPDX-License-Identifier: MIT */
/*
 * A cancellation from each layer, explained at its victim. For each case the parent starts an
 * actor, opens a context to an endpoint that sleeps for ever, and has it cancelled: by a signal,
 * with its whole actor, by its context, by a deadline around the context, by a failing sibling, and
 * over two hops. The victim prints why; the parent prints what closing the context gave.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <yoke.h>

/* Prints the error in flight, and leaves it in flight. */
static int tell(const char *who, int rc)
{
    fprintf(stderr, "%s: %s\n", who, yoke_strcode(rc));
    if (yoke_in_flight() != NULL)
        yoke_error_print(yoke_in_flight(), stderr, 0);
    return rc;
}

static int victim(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    if (rc == 0)
        rc = yoke_sleep_forever();
    return tell("the victim sees", rc);
}
YOKE_ENDPOINT("layers:victim", victim);

/* Opens a context to the victim in an actor of its own, and stays in it. */
static int hold_victim(struct yoke_actor_nursery *actors, struct yoke_event *ready)
{
    struct yoke_portal *portal;
    struct yoke_context ctx;
    int rc = yoke_actor_start(actors, "victim",
                              &(struct yoke_actor_opts){.expose = "layers:victim"}, &portal);

    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, "layers:victim", yoke_nil(), NULL);
    if (rc < 0)
        return rc;
    if (ready != NULL)
        yoke_event_set(ready);
    return yoke_context_close(&ctx, yoke_sleep_forever(), NULL);
}

/* The actor in the middle of two hops: a parent of its own victim. */
static int middle(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_nursery actors;
    struct yoke_event ready;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    (void)args;
    yoke_event_init(&ready);
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = hold_victim(&actors, &ready);
    return yoke_actor_nursery_close(&actors, rc);
}
YOKE_ENDPOINT("layers:middle", middle);

enum layer { OS, ACTOR, CONTEXT };

/* The three that are asked for while the body of the context waits. */
static int ask(struct yoke_portal *portal, struct yoke_context *ctx, enum layer layer)
{
    if (layer == OS)
        return kill(yoke_portal_actor(portal)->pid, SIGINT) < 0
                   ? yoke_raise("layers.Kill", errno, "kill")
                   : 0;
    if (layer == ACTOR)
        yoke_portal_cancel_actor(portal, "this actor is not needed any more");
    else
        yoke_context_cancel(ctx, "the answer came from elsewhere");
    return 0;
}

static int one_layer(void *arg)
{
    enum layer layer = *(enum layer *)arg;
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    struct yoke_context ctx;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&actors, "victim",
                              &(struct yoke_actor_opts){.expose = "layers:victim"}, &portal);
    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, "layers:victim", yoke_nil(), NULL);
    if (rc == 0) {
        rc = ask(portal, &ctx, layer);
        if (rc == 0)
            rc = yoke_sleep_forever(); /* interrupted when the victim has ended */
        rc = yoke_context_close(&ctx, rc, NULL);
        tell("closing the context gives", rc);
        yoke_clear();
        rc = 0;
    }
    return yoke_actor_nursery_close(&actors, rc);
}

static int with_deadline(void *arg)
{
    const char *endpoint = arg;
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    struct yoke_context ctx;
    struct yoke_scope scope;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&actors, "worker", &(struct yoke_actor_opts){.expose = "layers:*"},
                              &portal);
    if (rc == 0) {
        rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "at most 200 ms",
                                                               .timeout_ns = YOKE_MS(200)});
        if (rc == 0)
            rc = yoke_context_open(&ctx, portal, endpoint, yoke_nil(), NULL);
        if (rc == 0) {
            rc = yoke_context_close(&ctx, yoke_sleep_forever(), NULL);
            tell("closing the context gives", rc);
        }
        rc = yoke_scope_close(&scope, rc);
        tell("closing the scope gives", rc);
    }
    return yoke_actor_nursery_close(&actors, rc);
}

static int sibling(void *arg)
{
    int rc = yoke_event_wait(arg);

    return rc < 0 ? rc : yoke_raise("app.SiblingFailed", EIO, "the disk beside is broken");
}

static int with_sibling(void *arg)
{
    struct yoke_actor_nursery actors;
    struct yoke_nursery tasks;
    struct yoke_event ready;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    (void)arg;
    yoke_event_init(&ready);
    if (rc == 0) {
        rc = yoke_nursery_open(&tasks, &(struct yoke_nursery_opts){.name = "siblings"});
        if (rc == 0)
            rc = yoke_spawn(&tasks, sibling, &ready);
        if (rc == 0)
            rc = hold_victim(&actors, &ready);
        rc = yoke_nursery_close(&tasks, rc);
        tell("closing the nursery gives", rc);
        yoke_clear();
        rc = 0;
    }
    return yoke_actor_nursery_close(&actors, rc);
}

static int app(void *arg)
{
    static enum layer layers[] = {OS, ACTOR, CONTEXT};
    static char victim_name[] = "layers:victim", middle_name[] = "layers:middle";
    static const struct {
        const char *title;
        yoke_task_fn run;
        void *arg;
    } cases[] = {
        {"OS: a SIGINT to the victim's process", one_layer, &layers[0]},
        {"actor: its whole actor is cancelled", one_layer, &layers[1]},
        {"context: the opener cancels it", one_layer, &layers[2]},
        {"task: a deadline around the context", with_deadline, victim_name},
        {"task: a sibling fails", with_sibling, NULL},
        {"two hops: a deadline, an actor between", with_deadline, middle_name},
    };
    int rc = 0;

    (void)arg;
    for (size_t i = 0; rc >= 0 && i < sizeof cases / sizeof cases[0]; i++) {
        fprintf(stderr, "\n== %s\n", cases[i].title);
        rc = cases[i].run(cases[i].arg);
    }
    return rc;
}

int main(int argc, char **argv)
{
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv});
}
