/* SPDX-License-Identifier: MIT */
/* hello: tasks, a deadline, and a failure that ends its siblings and is then handled on purpose. */
#include <errno.h>
#include <stdio.h>
#include <yoke.h>

/* Greets until it is cancelled: every blocking call may say so, and its result is forwarded. */
static int greet(void *arg)
{
    const char *name = arg;
    int rc = 0;

    while (rc == 0) {
        printf("hello from %s\n", name);
        rc = yoke_sleep(YOKE_MS(40));
    }
    return rc;
}

static int stumble(void *arg)
{
    int rc = yoke_sleep(YOKE_MS(60));

    (void)arg;
    return rc < 0 ? rc : yoke_raise("hello.Stumbled", EIO, "a stone on the way");
}

static int app(void *arg)
{
    struct yoke_scope scope;
    struct yoke_nursery nursery;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(100)});

    (void)arg;
    if (rc == 0)
        rc = greet("a scope with a deadline");
    rc = yoke_scope_close(&scope, rc); /* absorbs the cancellation that is its own */
    if (rc < 0)
        return rc;
    printf("the deadline %s\n\n", yoke_scope_cancelled_caught(&scope) ? "ended it" : "never came");

    rc = yoke_nursery_open(&nursery, NULL);
    if (rc == 0)
        rc = yoke_spawn(&nursery, greet, "task one");
    if (rc == 0)
        rc = yoke_spawn(&nursery, greet, "task two");
    if (rc == 0)
        rc = yoke_spawn(&nursery, stumble, NULL);
    rc = yoke_nursery_close(&nursery, rc); /* the failure has cancelled the others; all are done */

    printf("the nursery gave %s:\n", yoke_strcode(rc));
    yoke_error_print(yoke_in_flight(), stdout, 0);
    yoke_clear(); /* on purpose; else yoke_main would report it and exit with status 1 */
    return 0;
}

int main(int argc, char **argv)
{
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv});
}
