/* SPDX-License-Identifier: MIT */
/*
 * layers: cancels a remote task from each layer: the operating system, its actor, its context, a
 * task that waits for it; and over two hops. Each victim says in its own process why, the whole
 * chain; then the parent says what it saw. Both write to stdout, in turn: a context is closed only
 * when its victim has ended, so the order is fixed without anybody waiting for a while.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <yoke.h>

/* Ends only by cancellation, and says why. The error in flight is the Cancelled, printed as it is.
 */
static int victim(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    if (rc == 0)
        rc = yoke_sleep_forever();
    yoke_error_print(yoke_in_flight(), stdout, 0);
    fflush(stdout);
    return rc;
}
YOKE_ENDPOINT("layers:victim", victim);

/* The parent's side: what a call gave, with the error in flight in one line. */
static void say(const char *call, int rc)
{
    printf("-> %s: %s\n", call, rc < 0 ? yoke_strcode(rc) : "0");
    if (yoke_in_flight() != NULL && rc != YOKE_CANCELLED) {
        printf("   ");
        yoke_error_print(yoke_in_flight(), stdout, YOKE_PRINT_BRIEF);
    }
    fflush(stdout);
}

static void heading(const char *text)
{
    printf("\n== %s\n", text);
    fflush(stdout);
}

/* --- one actor, one context; `strike` cancels it -----------------------------------------------
 */

struct attack {
    const char *title;
    void (*strike)(struct yoke_context *ctx, struct yoke_portal *portal);
};

static void by_signal(struct yoke_context *ctx, struct yoke_portal *portal)
{
    (void)portal;
    kill(yoke_context_peer(ctx)->pid, SIGINT);
}

static void by_actor(struct yoke_context *ctx, struct yoke_portal *portal)
{
    (void)ctx;
    yoke_portal_cancel_actor(portal, "the shop closes");
}

static void by_context(struct yoke_context *ctx, struct yoke_portal *portal)
{
    (void)portal;
    yoke_context_cancel(ctx, "its answer is no longer needed");
}

/* The peer was cancelled, and not by us through this context: an error, which is expected here. */
static int forgive(int rc)
{
    if (rc == YOKE_EPEERCANCELLED) {
        yoke_clear();
        rc = 0;
    }
    return rc;
}

static int strike(const struct attack *attack)
{
    struct yoke_actor_opts opts = {.expose = "layers:*"};
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    struct yoke_context ctx;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    heading(attack->title);
    if (rc == 0)
        rc = yoke_actor_start(&actors, "victim", &opts, &portal);
    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, "layers:victim", yoke_nil(), NULL);
    if (rc == 0) {
        attack->strike(&ctx, portal);
        rc = yoke_context_close(&ctx, rc, NULL); /* waits for the end of the victim */
        say("yoke_context_close", rc);
        rc = forgive(rc);
    }
    return yoke_actor_nursery_close(&actors, rc);
}

/* --- a deadline around a context, and around one behind another ----------------------------------
 */

/* Between the parent and the victim: starts it, in a process of its own, and waits for it. */
static int middle(struct yoke_context *parent, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "layers:victim"};
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    struct yoke_context ctx;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    (void)args;
    if (rc == 0)
        rc = yoke_actor_start(&actors, "grandchild", &opts, &portal);
    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, "layers:victim", yoke_nil(), NULL);
    if (rc == 0) {
        rc = yoke_context_started(parent, yoke_nil());
        rc = yoke_context_close(&ctx, rc, NULL);
        say("in the middle, yoke_context_close", rc);
    }
    return yoke_actor_nursery_close(&actors, rc);
}
YOKE_ENDPOINT("layers:middle", middle);

static int wait_until_deadline(struct yoke_portal *portal, const char *endpoint)
{
    struct yoke_scope scope;
    struct yoke_context ctx;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "patience"});

    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, endpoint, yoke_nil(), NULL);
    if (rc == 0) {
        /* Only now, so that on a slow machine, too, it is the victim that it interrupts. */
        rc = yoke_scope_set_deadline(&scope, yoke_now() + YOKE_MS(20));
        rc = yoke_context_close(&ctx, rc, NULL);
        say("yoke_context_close", rc);
    }
    rc = yoke_scope_close(&scope, rc);
    say("yoke_scope_close", rc);
    return rc;
}

static int deadline(const char *title, const char *name, const char *endpoint)
{
    struct yoke_actor_opts opts = {.expose = "layers:*"};
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    heading(title);
    if (rc == 0)
        rc = yoke_actor_start(&actors, name, &opts, &portal);
    if (rc == 0)
        rc = wait_until_deadline(portal, endpoint);
    return yoke_actor_nursery_close(&actors, rc);
}

/* --- a sibling that fails ------------------------------------------------------------------------
 */

struct family {
    struct yoke_portal *portal;
    struct yoke_event opened;
};

static int client(void *arg)
{
    struct family *family = arg;
    struct yoke_context ctx;
    int rc = yoke_context_open(&ctx, family->portal, "layers:victim", yoke_nil(), NULL);

    if (rc < 0)
        return rc;
    yoke_event_set(&family->opened);
    rc = yoke_context_close(&ctx, rc, NULL);
    say("yoke_context_close", rc);
    return rc;
}

static int sibling(void *arg)
{
    struct family *family = arg;
    int rc = yoke_event_wait(&family->opened);

    return rc < 0 ? rc : yoke_raise("app.SiblingFailed", EIO, "the sibling lost its file");
}

static int siblings(struct yoke_portal *portal)
{
    struct family family = {.portal = portal};
    struct yoke_nursery nursery;
    struct yoke_error *error;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "siblings"});

    yoke_event_init(&family.opened);
    if (rc == 0)
        rc = yoke_spawn(&nursery, client, &family);
    if (rc == 0)
        rc = yoke_spawn(&nursery, sibling, &family);
    rc = yoke_nursery_close(&nursery, rc);
    say("yoke_nursery_close", rc);
    error = rc < 0 ? yoke_catch_type("app.SiblingFailed") : NULL;
    if (error == NULL)
        return rc;
    yoke_error_unref(error); /* what this case is about: caught on purpose */
    return 0;
}

static int failing_sibling(void)
{
    struct yoke_actor_opts opts = {.expose = "layers:*"};
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    heading("task: a sibling fails in the parent's nursery");
    if (rc == 0)
        rc = yoke_actor_start(&actors, "victim", &opts, &portal);
    if (rc == 0)
        rc = siblings(portal);
    return yoke_actor_nursery_close(&actors, rc);
}

static int app(void *arg)
{
    static const struct attack attacks[] = {
        {"os: SIGINT from kill(2)", by_signal},
        {"actor: yoke_portal_cancel_actor", by_actor},
        {"context: yoke_context_cancel", by_context},
    };
    int rc = 0;

    (void)arg;
    for (size_t i = 0; rc == 0 && i < sizeof attacks / sizeof attacks[0]; i++)
        rc = strike(&attacks[i]);
    if (rc == 0)
        rc = deadline("task: a deadline in the parent", "victim", "layers:victim");
    if (rc == 0)
        rc = failing_sibling();
    if (rc == 0)
        rc = deadline("two hops: a deadline in the parent, over an actor in the middle", "middle",
                      "layers:middle");
    return rc;
}

int main(int argc, char **argv)
{
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv});
}
