/* SPDX-License-Identifier: MIT */
/*
 * Discovery with plain actors, by hand and without extensions as tractor's speak: they use our
 * registrar, and our actors theirs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/net.h>

#include "../tests/support/discovery.h"
#include "../tests/support/rawpeer.h"

static const char plain_uuid[] = "00000000-0000-4000-8000-00000000aaaa";

static void plain_greet(struct yk_raw *raw, bool registrar)
{
    struct yk_message message = {.type = YK_AID}, theirs;

    message.as.aid = (struct yk_aid){.name = "plain",
                                     .uuid = plain_uuid,
                                     .has_is_registrar = true,
                                     .is_registrar = registrar};
    yk_check_int(yk_raw_send_as(raw, &message, false), 0);
    yk_check_int(yk_raw_receive(raw, &theirs), 1);
    yk_check_int(theirs.type, YK_AID);
}

/* A call of a function of the runtime, as Portal.run_from_ns makes it, over a link of its own. */
static void plain_call(const char *func, struct yoke_value kwargs, struct yk_raw *raw,
                       struct yoke_value *ret)
{
    struct yk_message message = {.type = YK_START};

    yk_raw_open(raw, yoke_registrar_address());
    plain_greet(raw, false);
    message.as.start = (struct yk_start){
        .cid = "c1", .ns = "self", .func = func, .kwargs = kwargs, .uid = {"plain", plain_uuid}};
    yk_check_int(yk_raw_send_as(raw, &message, false), 0);
    yk_check_int(yk_raw_receive(raw, &message), 1);
    yk_check(message.type == YK_START_ACK &&
             strcmp(message.as.start_ack.functype, "asyncfunc") == 0);
    yk_check_int(yk_raw_receive(raw, &message), 1);
    yk_check_int(message.type, YK_RETURN);
    *ret = message.type == YK_RETURN ? message.as.payload.pld : yoke_nil();
}

static struct yoke_listener *plain_listen(char *address)
{
    struct yoke_listener *listener = NULL;
    char place[YOKE_ADDRESS_TEXT];

    snprintf(place, sizeof place, "unix:/tmp/yoke-plain-%d.sock", (int)getpid());
    yk_check_int(yoke_listen(yk_via() == YK_VIA_UNIX ? place : "127.0.0.1:0", NULL, &listener), 0);
    if (yk_via() == YK_VIA_TCP)
        yoke_address_format(yoke_listener_address(listener), place, sizeof place);
    snprintf(address, YOKE_ADDRESS_MAX, "%s%.100s", yk_via() == YK_VIA_TCP ? "tcp:" : "", place);
    return listener;
}

static struct yoke_listener *plain_register(void)
{
    struct yoke_value pair[2], uid = YOKE_ARRAY(yoke_str("plain"), yoke_str(plain_uuid)), result;
    char address[YOKE_ADDRESS_MAX];
    struct yoke_listener *listener = plain_listen(address);
    struct yk_raw raw;

    plain_call("register_actor", YOKE_MAP({"uid", uid}, {"addr", yk_pair_of(address, pair)}), &raw,
               &result);
    yk_check_int(result.type, YOKE_NIL);
    yk_raw_close(&raw);
    plain_call("find_actor", YOKE_MAP({"name", yoke_str("plain")}), &raw, &result);
    yk_check(result.type == YOKE_ARRAY_VALUE && result.as.array.n == 1 &&
             yoke_value_equal(result.as.array.items[0], yk_pair_of(address, pair)));
    yk_raw_close(&raw);
    yk_check_text(yk_registered(NULL), "root plain ");
    return listener;
}

YK_REGISTRY_TEST(a_plain_actor_registers_finds_and_unregisters)
{
    struct yoke_listener *listener = plain_register();
    struct yoke_value uid = YOKE_ARRAY(yoke_str("plain"), yoke_str(plain_uuid)), result;
    struct yk_raw raw;

    (void)nursery;
    plain_call("get_registry", yoke_map(NULL, 0), &raw, &result);
    yk_check(result.type == YOKE_MAP_VALUE && result.as.map.n == 2 &&
             strcmp(result.as.map.pairs[1].key, "plain.00000000-0000-4000-8000-00000000aaaa") == 0);
    yk_raw_close(&raw);
    plain_call("wait_for_actor", YOKE_MAP({"name", yoke_str("root")}), &raw, &result);
    yk_check(result.type == YOKE_ARRAY_VALUE && result.as.array.n == 1);
    yk_raw_close(&raw);
    plain_call("unregister_actor", YOKE_MAP({"uid", uid}), &raw, &result);
    yk_raw_close(&raw);
    yk_check_text(yk_registered(NULL), "root ");
    yoke_listener_unref(listener);
}

/* Nobody tells that it has ended; whoever looks for it finds out. */
YK_REGISTRY_TEST(a_plain_actor_that_is_gone_is_forgotten_by_who_looks_for_it)
{
    struct yoke_portal *portal = NULL;

    (void)nursery;
    yoke_listener_unref(plain_register());
    yk_check_int(yoke_portal_find("plain", NULL, &portal), 0);
    yk_check_text(yk_registered(NULL), "root ");
}

/* Or nobody does. */
YK_REGISTRY_TEST(a_plain_actor_that_is_gone_is_forgotten_in_time)
{
    (void)nursery;
    yoke_listener_unref(plain_register());
    yk_await_registered(NULL, "root ");
}

/* A plain registrar: what it is asked, as "FUNC NAME ", in order. */
struct plain_registrar {
    struct yoke_listener *listener;
    char asked[512];
};

/* Answers each call with nil, until the other hangs up. */
static int serve_plainly(struct yoke_conn *conn, void *arg)
{
    struct plain_registrar *registrar = arg;
    struct yk_message message;
    struct yk_raw raw;

    yk_raw_take(&raw, yoke_conn_ref(conn));
    plain_greet(&raw, true);
    while (yk_raw_receive(&raw, &message) == 1) {
        struct yk_message ack = {.type = YK_START_ACK}, end = {.type = YK_RETURN};
        struct yoke_value uid = yoke_value_get(message.as.start.kwargs, "uid");

        yk_check_int(message.type, YK_START);
        snprintf(registrar->asked + strlen(registrar->asked),
                 sizeof registrar->asked - strlen(registrar->asked), "%s:%s %s, ",
                 message.as.start.ns, message.as.start.func,
                 uid.type == YOKE_ARRAY_VALUE ? yk_text_of(uid.as.array.items[0]) : "?");
        ack.as.start_ack = (struct yk_start_ack){message.as.start.cid, "asyncfunc", 0};
        end.as.payload.cid = message.as.start.cid;
        if (yk_raw_send_as(&raw, &ack, false) < 0 || yk_raw_send_as(&raw, &end, false) < 0)
            break;
    }
    yoke_clear();
    yk_raw_close(&raw);
    return 0;
}

static int run_plain_registrar(void *arg)
{
    struct plain_registrar *registrar = arg;

    return yoke_serve(registrar->listener, serve_plainly, registrar, NULL);
}

YK_ACTORS_TEST(an_actor_registers_with_a_plain_registrar_and_takes_its_leave)
{
    struct plain_registrar registrar = {.listener = NULL};
    struct yoke_actor_nursery actors;
    struct yoke_nursery nursery;
    char address[YOKE_ADDRESS_MAX];
    int rc = yoke_nursery_open(&nursery, NULL);

    registrar.listener = plain_listen(address);
    if (rc == 0)
        rc = yoke_spawn(&nursery, run_plain_registrar, &registrar);
    if (rc == 0)
        rc = yoke_registrar_use(address); /* for the child: this actor does not listen */
    yk_check_int(yoke_actor_nursery_open(&actors, NULL), 0);
    if (rc == 0)
        yk_start_listening(&actors, "worker");
    rc = yoke_actor_nursery_close(&actors, rc);
    yk_check_text(registrar.asked, "self:register_actor worker, self:unregister_actor worker, ");
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    rc = yoke_nursery_close(&nursery, rc);
    yoke_listener_unref(registrar.listener);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        YK_OVER_PEERS(a_plain_actor_registers_finds_and_unregisters),
        YK_OVER_PEERS(a_plain_actor_that_is_gone_is_forgotten_by_who_looks_for_it),
        YK_OVER(a_plain_actor_that_is_gone_is_forgotten_in_time, "unix", &yk_via_unix),
        YK_OVER_PEERS(an_actor_registers_with_a_plain_registrar_and_takes_its_leave),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("discovery with plain actors", tests, NULL, NULL);
}
