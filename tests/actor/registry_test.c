/* SPDX-License-Identifier: MIT */
/*
 * Discovery on real processes: who registers, who is found, and who is not any more, whatever ended
 * it; and a registrar that ends and comes back. Each test runs over Unix sockets and over TCP.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/net.h>
#include <yoke/registry.h>
#include <yoke/task.h>
#include <yoke/testing.h>

#include "../tests/support/actors.h"
#include "wire/message.h"

/* --- endpoints -------------------------------------------------------------------------------- */

static int who(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_str(yoke_actor_self()->name));
}
YOKE_ENDPOINT("reg:who", who);

static int text_arg(struct yoke_value args, const char *key, char *text, size_t size)
{
    return yoke_value_text(yoke_value_get(args, key), key, text, size);
}

/* Calls reg:who of the actor of a name, as this actor finds it. nil: there is none. */
static int find_and_ask(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_portal *portal = NULL;
    struct yoke_value *value = NULL;
    char name[64];
    int rc = text_arg(args, "name", name, sizeof name);

    if (rc == 0)
        rc = yoke_portal_find(name, NULL, &portal);
    if (rc > 0) {
        rc = yoke_call(portal, "reg:who", yoke_nil(), &value);
        yoke_portal_close(portal);
    }
    if (rc == 0 && value != NULL)
        rc = yoke_context_return(ctx, *value);
    yoke_value_free(value);
    return rc;
}
YOKE_ENDPOINT("reg:find_and_ask", find_and_ask);

static int await_and_ask(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_portal *portal = NULL;
    struct yoke_value *value = NULL;
    char name[64];
    int rc = text_arg(args, "name", name, sizeof name);

    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_portal_await(name, NULL, &portal);
    if (rc == 0) {
        rc = yoke_call(portal, "reg:who", yoke_nil(), &value);
        yoke_portal_close(portal);
    }
    if (rc == 0)
        rc = yoke_context_return(ctx, *value);
    yoke_value_free(value);
    return rc;
}
YOKE_ENDPOINT("reg:await_and_ask", await_and_ask);

static int register_as(struct yoke_context *ctx, struct yoke_value args)
{
    char name[64];
    int rc = text_arg(args, "name", name, sizeof name);

    (void)ctx;
    return rc < 0 ? rc : yoke_registry_register(name);
}
YOKE_ENDPOINT("reg:register", register_as);

static int unregister(struct yoke_context *ctx, struct yoke_value args)
{
    char name[64];
    int rc = text_arg(args, "name", name, sizeof name);

    (void)ctx;
    return rc < 0 ? rc : yoke_registry_unregister(name);
}
YOKE_ENDPOINT("reg:unregister", unregister);

static int serve_registrar(struct yoke_context *ctx, struct yoke_value args)
{
    char address[YOKE_ADDRESS_MAX];
    int rc = text_arg(args, "address", address, sizeof address);

    if (rc == 0)
        rc = yoke_registrar_serve(address, address);
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_str(address));
}
YOKE_ENDPOINT("reg:serve", serve_registrar);

/* Starts a child that listens, and stays. */
static int keep_child(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_actor_nursery nursery;
    char name[64], address[YOKE_ADDRESS_MAX];
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = text_arg(args, "name", name, sizeof name);
    if (rc == 0)
        rc = text_arg(args, "listen", address, sizeof address);
    opts.listen = address;
    if (rc == 0)
        rc = yoke_actor_start(&nursery, name, &opts, NULL);
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_sleep_forever();
    return yoke_actor_nursery_close(&nursery, rc);
}
YOKE_ENDPOINT("reg:keep_child", keep_child);

/* --- helpers ---------------------------------------------------------------------------------- */

static struct yoke_portal *start(struct yoke_actor_nursery *nursery, const char *name)
{
    struct yoke_actor_opts opts = {.expose = "*", .listen = yk_via_address()};
    struct yoke_portal *portal = NULL;

    yk_check_int(yoke_actor_start(nursery, name, &opts, &portal), 0);
    return portal;
}

/* Who matches, as "name name ", in the order of registration. */
static const char *registered(const char *pattern)
{
    static char text[1024];
    struct yoke_registration *items = NULL;
    int n = yoke_registry_query(pattern, &items);

    text[0] = '\0';
    yk_check(n >= 0);
    for (int i = 0; i < n; i++) {
        strcat(text, items[i].name);
        strcat(text, " ");
    }
    free(items);
    return text;
}

/* Waits until exactly those are registered: what ends elsewhere is told here in its time. */
static void await_registered(const char *pattern, const char *expected)
{
    unsigned failed = yk_checks_failed();

    while (strcmp(registered(pattern), expected) != 0 && yk_checks_failed() == failed)
        yk_check_int(yoke_checkpoint(), 0);
}

/* What an actor answers when it is asked by that endpoint. "" if nil. */
static const char *ask(struct yoke_portal *portal, const char *endpoint, const char *name)
{
    static char text[512];
    struct yoke_value *value = NULL;

    yk_check_int(yoke_call(portal, endpoint, YOKE_MAP({"name", yoke_str(name)}), &value), 0);
    snprintf(text, sizeof text, "%s", value == NULL ? "" : yk_text_of(*value));
    yoke_value_free(value);
    return text;
}

/* A test with an actor nursery, in an actor that is the registrar. */
#define REGISTRY_TEST(law)                                                                         \
    static void law##_in(struct yoke_actor_nursery *nursery);                                      \
    YK_ACTORS_TEST(law)                                                                            \
    {                                                                                              \
        return with_registrar(law##_in);                                                           \
    }                                                                                              \
    static void law##_in(struct yoke_actor_nursery *nursery)

static int with_registrar(void (*body)(struct yoke_actor_nursery *nursery))
{
    struct yoke_actor_nursery nursery;
    int rc = yoke_registrar_serve(yk_via_address(), NULL);
    int opened = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_expose("*");
    if (rc == 0 && opened == 0)
        body(&nursery);
    return yoke_actor_nursery_close(&nursery, rc < 0 ? rc : opened);
}

/* An address as on the wire, in two values of the caller's. */
static struct yoke_value pair_of(const char *address, struct yoke_value *pair)
{
    const char *slash = strrchr(address, '/');

    if (slash != NULL) {
        pair[0] = yoke_str_n(address + 5, (size_t)(slash - address - 5));
        pair[1] = yoke_str(slash + 1);
    } else {
        pair[0] = yoke_str("127.0.0.1");
        pair[1] = yoke_int(atoi(strrchr(address, ':') + 1));
    }
    return yoke_array(pair, 2);
}

/* Kills a child without its nursery failing for it: it is closed by the test. */
static int end_nursery_of_dead(struct yoke_actor_nursery *nursery, int rc)
{
    rc = yoke_actor_nursery_close(nursery, rc);
    yk_check_int(rc, YOKE_EDIED);
    yoke_clear();
    return 0;
}

/* --- the tests -------------------------------------------------------------------------------- */

REGISTRY_TEST(children_that_listen_are_registered_once_they_are_started)
{
    struct yoke_registration *items = NULL;
    struct yoke_portal *portal = NULL, *worker;

    yk_check_text(registered(NULL), "root ");
    worker = start(nursery, "worker");
    yk_check_text(registered(NULL), "root worker ");
    yk_check_int(yoke_registry_find("worker", &items), 1);
    yk_check_text(items[0].address, yoke_portal_address(worker));
    free(items);
    yk_check_int(yoke_registry_query("work*", &items), 1);
    yk_check_text(items[0].uuid, yoke_portal_actor(worker)->uuid);
    free(items);
    yk_check_int(yoke_portal_find("worker", NULL, &portal), 1);
    yk_check_text(ask(portal, "reg:who", ""), "worker");
    yoke_portal_close(portal);
    yk_check_int(yoke_portal_find("nobody", NULL, &portal), 0);
    yk_check_int(yoke_registry_find("nobody", &items), 0);
}

REGISTRY_TEST(actors_of_one_tree_find_each_other)
{
    struct yoke_portal *one = start(nursery, "one"), *two = start(nursery, "two");

    yk_check_text(ask(one, "reg:find_and_ask", "two"), "two");
    yk_check_text(ask(two, "reg:find_and_ask", "one"), "one");
    yk_check_text(ask(one, "reg:find_and_ask", "root"), "root");
    yk_check_text(ask(one, "reg:find_and_ask", "one"), "one");
    yk_check_text(ask(two, "reg:find_and_ask", "three"), "");
}

REGISTRY_TEST(grandchildren_are_told_who_the_registrar_is)
{
    struct yoke_portal *child = start(nursery, "child");
    struct yoke_context ctx;

    yk_check_int(yoke_context_open(&ctx, child, "reg:keep_child",
                                   YOKE_MAP({"name", yoke_str("grandchild")},
                                            {"listen", yoke_str(yk_via_address())}),
                                   NULL),
                 0);
    yk_check_text(registered(NULL), "root child grandchild ");
    yoke_context_cancel(&ctx, "enough");
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
    await_registered(NULL, "root child ");
}

REGISTRY_TEST(whoever_waits_gets_who_comes)
{
    struct yoke_portal *waiting = start(nursery, "waiting"), *portal = NULL;
    struct yoke_context ctx;
    struct yoke_outcome *outcome = NULL;

    yk_check_int(yoke_context_open(&ctx, waiting, "reg:await_and_ask",
                                   YOKE_MAP({"name", yoke_str("late")}), NULL),
                 0);
    start(nursery, "late");
    yk_check_int(yoke_context_close(&ctx, 0, &outcome), 0);
    yk_check_text(yk_text_of(yoke_outcome_result(outcome)), "late");
    yoke_outcome_free(outcome);
    yk_check_int(yoke_portal_await("late", NULL, &portal), 0);
    yoke_portal_close(portal);
}

static int await_nobody(void *arg)
{
    struct yoke_portal *portal;

    (void)arg;
    return yoke_portal_await("nobody", NULL, &portal);
}

REGISTRY_TEST(waiting_can_be_cancelled)
{
    struct yoke_scope scope;
    int rc;

    (void)nursery;
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(20)}), 0);
    rc = await_nobody(NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
}

REGISTRY_TEST(an_actor_has_as_many_names_as_it_wants)
{
    struct yoke_portal *worker = start(nursery, "worker"), *portal = NULL;

    ask(worker, "reg:register", "service.a");
    ask(worker, "reg:register", "service.b");
    ask(worker, "reg:register", "service.a");
    yk_check_text(registered("service.*"), "service.a service.b ");
    yk_check_int(yoke_portal_find("service.b", NULL, &portal), 1);
    yk_check_text(yoke_portal_actor(portal)->name, "worker");
    yoke_portal_close(portal);
    ask(worker, "reg:unregister", "service.a");
    yk_check_text(registered("service.*"), "service.b ");
    ask(worker, "reg:unregister", "worker");
    yk_check_text(registered(NULL), "root service.b ");
    yk_check_int(yoke_registry_register("boss"), 0);
    yk_check_text(registered(NULL), "root service.b boss ");
    yk_check_int(yoke_registry_unregister("boss"), 0);
    yk_check_text(registered(NULL), "root service.b ");
    yk_check_int(yoke_registry_register(""), -EINVAL);
    yk_check_caught("yoke.Registry", NULL);
}

REGISTRY_TEST(several_actors_may_have_one_name)
{
    struct yoke_registration *items = NULL;

    start(nursery, "twin");
    start(nursery, "twin");
    yk_check_int(yoke_registry_find("twin", &items), 1);
    free(items);
    yk_check_int(yoke_registry_wait("twin", &items), 2);
    yk_check(strcmp(items[0].address, items[1].address) != 0);
    free(items);
}

REGISTRY_TEST(an_actor_that_is_ended_in_order_disappears)
{
    struct yoke_actor_nursery inner;
    struct yoke_portal *portal = NULL;

    (void)nursery;
    yk_check_int(yoke_actor_nursery_open(&inner, NULL), 0);
    start(&inner, "worker");
    yk_check_text(registered(NULL), "root worker ");
    yk_check_int(yoke_actor_nursery_close(&inner, 0), 0);
    await_registered(NULL, "root ");
    yk_check_int(yoke_portal_find("worker", NULL, &portal), 0);
}

static int with_killed(int number)
{
    struct yoke_actor_nursery inner;
    struct yoke_scope scope;
    struct yoke_portal *worker;

    yk_check_int(yoke_actor_nursery_open(&inner, NULL), 0);
    worker = start(&inner, "worker");
    start(&inner, "other");
    yk_check_text(registered(NULL), "root worker other ");
    yk_check_int(kill(yoke_portal_actor(worker)->pid, number), 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true}), 0);
    await_registered("work*", "");
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    return end_nursery_of_dead(&inner, 0);
}

REGISTRY_TEST(an_actor_that_is_killed_disappears)
{
    (void)nursery;
    with_killed(SIGKILL);
    await_registered(NULL, "root ");
}

/* The heartbeat of the registrar finds it silent. Continued, it comes back. */
REGISTRY_TEST(an_actor_that_is_stopped_disappears_until_it_is_continued)
{
    struct yoke_portal *worker = start(nursery, "worker");
    int32_t pid = yoke_portal_actor(worker)->pid;

    yoke_actor_heartbeat(YOKE_MS(500));
    yk_check_text(registered(NULL), "root worker ");
    yk_check_int(kill(pid, SIGSTOP), 0);
    await_registered(NULL, "root ");
    yoke_actor_heartbeat(0);
    yk_check_int(kill(pid, SIGCONT), 0);
    await_registered(NULL, "root worker ");
}

/* tests/scenarios: a stale entry. The address is taken back by whoever finds nobody there. */
REGISTRY_TEST(a_stale_address_is_forgotten_by_who_meets_it)
{
    struct yoke_portal *worker = start(nursery, "worker"), *portal = NULL;
    struct yoke_actor_nursery inner;
    char address[YOKE_ADDRESS_MAX];

    /* The address of somebody who has ended, registered by one who lives. */
    yk_check_int(yoke_actor_nursery_open(&inner, NULL), 0);
    snprintf(address, sizeof address, "%s", yoke_portal_address(start(&inner, "gone")));
    yk_check_int(yoke_actor_nursery_close(&inner, 0), 0);
    await_registered("gone", "");
    yk_check_int(yoke_call(worker, "reg:register_stale", YOKE_MAP({"address", yoke_str(address)}),
                           NULL),
                 0);
    yk_check_text(registered("stale"), "stale ");
    yk_check_int(yoke_portal_find("stale", NULL, &portal), 0);
    yk_check_text(registered("stale"), "");
    yk_check_text(registered("worker"), "worker ");
}

/* Registers an address that is not its own, over a link of its own. */
static int register_stale(struct yoke_context *ctx, struct yoke_value args)
{
    char address[YOKE_ADDRESS_MAX];
    struct yoke_portal *registrar;
    struct yoke_value pair[2];
    int rc = text_arg(args, "address", address, sizeof address);

    (void)ctx;
    if (rc == 0)
        rc = yoke_portal_open(yoke_registrar_address(), NULL, &registrar);
    if (rc < 0)
        return rc;
    rc = yoke_call(registrar, "self:register_actor",
                   YOKE_MAP({"uid",
                             YOKE_ARRAY(yoke_str("stale"), yoke_str(yoke_actor_self()->uuid))},
                            {"addr", pair_of(address, pair)}),
                   NULL);
    yoke_portal_close(registrar);
    return rc;
}
YOKE_ENDPOINT("reg:register_stale", register_stale);

/* A report of a dead address is not believed without a look. */
REGISTRY_TEST(a_live_address_is_not_forgotten_on_hearsay)
{
    struct yoke_portal *worker = start(nursery, "worker"), *me = NULL;
    struct yoke_value pair[2], *result = NULL;

    yk_check_int(yoke_portal_open(yoke_registrar_address(), NULL, &me), 0);
    yk_check_int(yoke_call(me, "self:delete_addr",
                           YOKE_MAP({"addr", pair_of(yoke_portal_address(worker), pair)}), &result),
                 0);
    yk_check_int(result->type, YOKE_NIL);
    yoke_value_free(result);
    yoke_portal_close(me);
    yk_check_text(registered(NULL), "root worker ");
}

REGISTRY_TEST(nobody_speaks_for_another_actor)
{
    struct yoke_value uid = YOKE_ARRAY(yoke_str("root"), yoke_str("0-0-0-0"));
    struct yoke_value addr = YOKE_ARRAY(yoke_str("127.0.0.1"), yoke_int(1));
    struct yoke_portal *me = NULL;

    (void)nursery;
    yk_check_int(yoke_portal_open(yoke_registrar_address(), NULL, &me), 0);
    yk_check_int(yoke_call(me, "self:register_actor", YOKE_MAP({"uid", uid}, {"addr", addr}), NULL),
                 YOKE_EREMOTE);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_int(yoke_call(me, "self:unregister_actor", YOKE_MAP({"uid", uid}), NULL),
                 YOKE_EREMOTE);
    yk_check_caught("yoke.Registry", NULL);
    yoke_portal_close(me);
    yk_check_text(registered(NULL), "root ");
}

/* --- another registrar than the root ---------------------------------------------------------- */

static int register_elsewhere(struct yoke_actor_nursery *nursery)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_portal *registrar, *portal = NULL;
    struct yoke_value *address = NULL;
    int rc = yoke_actor_start(nursery, "registrar", &opts, &registrar);

    if (rc == 0)
        rc = yoke_call(registrar, "reg:serve", YOKE_MAP({"address", yoke_str(yk_via_address())}),
                       &address);
    if (rc < 0)
        return rc;
    rc = yoke_registrar_use(yk_text_of(*address));
    yoke_value_free(address);
    yk_check_text(registered(NULL), "registrar ");
    yk_check_int(yoke_actor_listen(yk_via_address(), NULL, NULL), 0);
    start(nursery, "worker");
    yk_check_text(registered(NULL), "registrar root worker ");
    yk_check_text(ask(registrar, "reg:find_and_ask", "worker"), "worker");
    yk_check_int(yoke_portal_find("registrar", NULL, &portal), 1);
    yoke_portal_close(portal);
    return rc;
}

YK_ACTORS_TEST(the_registrar_may_be_any_actor)
{
    struct yoke_actor_nursery nursery;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = register_elsewhere(&nursery);
    return yoke_actor_nursery_close(&nursery, rc);
}

/* Starts a registrar at an address in a nursery; "" picks one, which is put there. */
static int start_registrar(struct yoke_actor_nursery *nursery, char *address, int32_t *ret_pid)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_portal *registrar;
    struct yoke_value *value = NULL;
    int rc = yoke_actor_start(nursery, "registrar", &opts, &registrar);

    if (rc == 0)
        rc = yoke_call(registrar, "reg:serve",
                       YOKE_MAP(
                           {"address", yoke_str(address[0] != '\0' ? address : yk_via_address())}),
                       &value);
    if (rc == 0) {
        snprintf(address, YOKE_ADDRESS_MAX, "%s", yk_text_of(*value));
        *ret_pid = yoke_portal_actor(registrar)->pid;
    }
    yoke_value_free(value);
    return rc;
}

static int await_late(void *arg)
{
    struct yoke_portal *portal;
    int rc = yoke_portal_await("late", NULL, &portal);

    if (rc < 0)
        return rc;
    strcpy(arg, ask(portal, "reg:who", ""));
    yoke_portal_close(portal);
    return 0;
}

/* Killed, and another one started in its place: all its actors come back, and who waited goes on.
 */
static void registrar_comes_back(struct yoke_actor_nursery *nursery)
{
    struct yoke_actor_nursery first;
    struct yoke_nursery tasks;
    char said[512] = "", address[YOKE_ADDRESS_MAX] = "";
    int32_t pid = 0;

    yk_check_int(yoke_nursery_open(&tasks, NULL), 0);
    yk_check_int(yoke_actor_nursery_open(&first, NULL), 0);
    yk_check_int(start_registrar(&first, address, &pid), 0);
    yk_check_int(yoke_registrar_use(address), 0);
    start(nursery, "worker");
    start(nursery, "other");
    yk_check_text(registered(NULL), "registrar worker other ");
    yk_check_int(yoke_spawn(&tasks, await_late, said), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    kill(pid, SIGKILL);
    end_nursery_of_dead(&first, yoke_sleep_forever());
    yk_check_int(start_registrar(nursery, address, &pid), 0);
    await_registered("worker", "worker ");
    await_registered("other", "other ");
    start(nursery, "late");
    yk_check_int(yoke_nursery_close(&tasks, 0), 0);
    yk_check_text(said, "late");
}

YK_ACTORS_TEST(a_registrar_that_comes_back_gets_its_actors_back)
{
    struct yoke_actor_nursery nursery;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        registrar_comes_back(&nursery);
    return yoke_actor_nursery_close(&nursery, rc);
}

YK_ACTORS_TEST(without_a_registrar_each_call_says_so)
{
    struct yoke_registration *items;
    struct yoke_portal *portal;

    yk_check_int(yoke_registry_find("x", &items), -EDESTADDRREQ);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_int(yoke_registry_wait("x", &items), -EDESTADDRREQ);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_int(yoke_registry_query("x", &items), -EDESTADDRREQ);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_int(yoke_portal_find("x", NULL, &portal), -EDESTADDRREQ);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_int(yoke_portal_await("x", NULL, &portal), -EDESTADDRREQ);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_int(yoke_registry_register("x"), -EDESTADDRREQ);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_int(yoke_registry_unregister("x"), -EDESTADDRREQ);
    yk_check_caught("yoke.Registry", NULL);
    yk_check_text(yoke_registrar_address(), "");
    yk_check_int(yoke_registrar_serve(NULL, NULL), -EINVAL);
    yk_check_caught("yoke.Registry", NULL);
    return 0;
}

/* Who is no registrar does not answer as one, whatever it exposes. */
YK_PEER_TEST(only_a_registrar_serves_as_one)
{
    yk_check_int(yoke_call(peer, "self:get_registry", yoke_nil(), NULL), YOKE_ENOTEXPOSED);
    yk_check_caught("yoke.NotExposed", "actor peer is not a registrar");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        YK_OVER_PEERS(children_that_listen_are_registered_once_they_are_started),
        YK_OVER_PEERS(actors_of_one_tree_find_each_other),
        YK_OVER_PEERS(grandchildren_are_told_who_the_registrar_is),
        YK_OVER_PEERS(whoever_waits_gets_who_comes),
        YK_OVER_PEERS(waiting_can_be_cancelled),
        YK_OVER_PEERS(an_actor_has_as_many_names_as_it_wants),
        YK_OVER_PEERS(several_actors_may_have_one_name),
        YK_OVER_PEERS(an_actor_that_is_ended_in_order_disappears),
        YK_OVER_PEERS(an_actor_that_is_killed_disappears),
        YK_OVER_PEERS(an_actor_that_is_stopped_disappears_until_it_is_continued),
        YK_OVER_PEERS(a_stale_address_is_forgotten_by_who_meets_it),
        YK_OVER_PEERS(a_live_address_is_not_forgotten_on_hearsay),
        YK_OVER_PEERS(nobody_speaks_for_another_actor),
        YK_OVER_PEERS(the_registrar_may_be_any_actor),
        YK_OVER_PEERS(a_registrar_that_comes_back_gets_its_actors_back),
        YK_OVER_PEERS(without_a_registrar_each_call_says_so),
        YK_OVER_PEERS(only_a_registrar_serves_as_one),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("discovery", tests, NULL, NULL);
}
