/* SPDX-License-Identifier: MIT */
/* A program as a user of the installed library would write it; `./dev test install` builds it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yoke.h>
#include <yoke/testing.h>

static int fail(void *arg)
{
    return yoke_raise("app.Failed", EIO, "%s", (const char *)arg);
}

static int app(void *arg)
{
    struct yoke_scope s;
    struct yoke_nursery n;
    int rc = yoke_scope_open(&s, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(1)});

    (void)arg;
    if (rc == 0)
        rc = yoke_sleep_forever();
    rc = yoke_scope_close(&s, rc);
    if (rc < 0 || !yoke_scope_cancelled_caught(&s))
        return -EPROTO;
    rc = yoke_nursery_open(&n, NULL);
    if (rc == 0)
        rc = yoke_spawn(&n, fail, (void *)"as it should");
    return yoke_nursery_close(&n, rc);
}

int main(void)
{
    struct yoke_host *world = yoke_host_sim_new(1);
    struct yoke_run_opts opts = {.host = world};
    struct yoke_error *error;
    int rc = world == NULL ? -ENOMEM : yoke_run(app, NULL, &opts);

    yoke_host_free(world);
    error = yoke_catch_type("app.Failed");
    if (rc != -EIO || error == NULL)
        return yoke_report(stderr) + 1;
    printf("%s\n", yoke_error_message(error));
    rc = strcmp(yoke_error_message(error), "as it should");
    yoke_error_unref(error);
    return rc;
}
