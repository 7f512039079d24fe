/* SPDX-License-Identifier: MIT */
/* The same from C++17: what of the headers is macros is used here; `./dev test install` builds it. */
#include <cerrno>
#include <cstdio>
#include <yoke.h>
#include <yoke/testing.h>

static const struct yoke_local_key answer_key = YOKE_LOCAL_KEY("answer", int);

static int triple(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    if (rc < 0)
        return rc;
    return yoke_context_return(ctx, YOKE_ARRAY(yoke_int(n), yoke_int(n * 3)));
}
YOKE_ENDPOINT("install:triple", triple);

static int ask(struct yoke_portal *portal, int *ret)
{
    struct yoke_value *result;
    int rc = yoke_call(portal, "install:triple", YOKE_MAP({"n", yoke_int(14)}), &result);

    if (rc < 0)
        return rc;
    *ret = static_cast<int>(result->as.array.items[1].as.integer);
    yoke_value_free(result);
    return 0;
}

static int actors(int *ret)
{
    yoke_actor_nursery nursery;
    yoke_portal *portal = nullptr;
    yoke_actor_opts opts = {};
    int rc = yoke_actor_nursery_open(&nursery, nullptr);

    opts.expose = "install:*";
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "tripler", &opts, &portal);
    if (rc == 0)
        rc = ask(portal, ret);
    return yoke_actor_nursery_close(&nursery, rc);
}

static int tasks(const int *answer)
{
    yoke_nursery nursery;
    yoke_nursery_opts opts = {};
    yoke_mutex mutex;

    opts.timeout_ns = YOKE_S(30);
    yoke_mutex_init(&mutex);
    int rc = yoke_nursery_open(&nursery, &opts);
    if (rc == 0)
        rc = yoke_spawn(
            &nursery, [](void *) { return yoke_sleep_forever(); }, nullptr);
    if (rc == 0) {
        yoke_select_case cases[] = {yoke_case_timeout(YOKE_S(30)), yoke_case_lock(&mutex)};

        rc = yoke_select(cases, 2, nullptr) == 1 && *answer == 42
                 ? yoke_raise("install.Done", EPIPE, "done")
                 : yoke_raise("install.Wrong", EPROTO, "%d", *answer);
        yoke_mutex_unlock(&mutex);
    }
    rc = yoke_nursery_close(&nursery, rc);
    yoke_mutex_fini(&mutex);
    return rc;
}

static int app(void *)
{
    int answer = 0;
    yoke_local local;
    int rc = actors(&answer);

    if (rc < 0)
        return rc;
    rc = yoke_local_set(&local, &answer_key, &answer);
    if (rc == 0)
        rc = tasks(static_cast<const int *>(yoke_local_get(&answer_key)));
    yoke_local_restore(&local);
    yoke_error *error = yoke_catch_type("install.Done");
    if (error == nullptr)
        return rc;
    std::printf("as it should\n");
    yoke_error_unref(error);
    return 0;
}

int main(int argc, char **argv)
{
    yoke_main_opts opts = {};

    opts.argc = argc;
    opts.argv = argv;
    return yoke_main(app, &opts);
}
