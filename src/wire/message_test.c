/* SPDX-License-Identifier: MIT */
/* Messages: extensions, defaults, order and doubles of fields, and the text of each refusal. */
#include "wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>

#include "base/limits.h"
#include "wire/value.h"

struct fixture {
    struct yk_arena arena;
    struct yk_buffer buffer;
};

static int set_up(void **state)
{
    static struct fixture fixture;

    yk_arena_init(&fixture.arena);
    yk_buffer_init(&fixture.buffer);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    yk_arena_fini(&fixture->arena);
    yk_buffer_fini(&fixture->buffer);
    return 0;
}

static void clear(struct fixture *fixture)
{
    yk_buffer_consume(&fixture->buffer, yk_buffer_size(&fixture->buffer));
}

/* The body of the only frame in the buffer. */
static const unsigned char *body_of(struct fixture *fixture, size_t *ret_size)
{
    const unsigned char *body;

    assert_int_equal(yk_frame_next(&fixture->buffer, &body, ret_size), 1);
    assert_int_equal(*ret_size + YK_FRAME_HEADER, yk_buffer_size(&fixture->buffer));
    return body;
}

static struct yk_message there_and_back(struct fixture *fixture, const struct yk_message *message,
                                        bool extensions)
{
    struct yk_message back;
    const unsigned char *body;
    size_t size;

    clear(fixture);
    assert_int_equal(yk_message_encode(&fixture->buffer, message, extensions), 0);
    body = body_of(fixture, &size);
    if (yk_message_decode(&fixture->arena, body, size, &back) < 0)
        fail_msg("%s", yoke_error_message(yoke_in_flight()));
    assert_int_equal(back.type, message->type);
    return back;
}

/* The message on the wire as a plain map. */
static struct yoke_value as_map(struct fixture *fixture, const struct yk_message *message,
                                bool extensions)
{
    struct yoke_value map;
    const unsigned char *body;
    size_t size;

    clear(fixture);
    assert_int_equal(yk_message_encode(&fixture->buffer, message, extensions), 0);
    body = body_of(fixture, &size);
    assert_int_equal(yk_value_decode(&fixture->arena, body, size, &map), 0);
    return map;
}

static int decode_map(struct fixture *fixture, struct yoke_value map, struct yk_message *ret)
{
    clear(fixture);
    assert_int_equal(yk_value_encode(&fixture->buffer, map), 0);
    return yk_message_decode(&fixture->arena, fixture->buffer.data + fixture->buffer.start,
                             yk_buffer_size(&fixture->buffer), ret);
}

static void assert_refused(struct fixture *fixture, struct yoke_value map, const char *problem)
{
    struct yk_message message = {.type = YK_CREDIT};

    assert_int_equal(decode_map(fixture, map, &message), -EBADMSG);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.BadMessage");
    assert_string_equal(yoke_error_message(yoke_in_flight()), problem);
    assert_int_equal(message.type, YK_CREDIT);
    yoke_clear();
}
#define REFUSED(problem, ...) assert_refused(*state, YOKE_MAP(__VA_ARGS__), (problem))
#define TYPE(name)                                                                                 \
    {                                                                                              \
        "msg_type", yoke_str(name)                                                                 \
    }
#define CID                                                                                        \
    {                                                                                              \
        "cid", yoke_str("c1")                                                                      \
    }

static struct yk_message an_aid(void)
{
    return (struct yk_message){
        .type = YK_AID,
        .as.aid =
            {.name = "root", .uuid = "u-1", .has_pid = true, .pid = 4711, .yoke = 1, .host = "far"},
    };
}

static struct yk_message a_start(void)
{
    return (struct yk_message){
        .type = YK_START,
        .as.start = {.cid = "c1",
                     .ns = "demo",
                     .func = "count",
                     .uid = {"root", "u-1"},
                     .credit = 64,
                     .budget_ns = 5000000000},
    };
}

static struct yk_message an_error(void)
{
    return (struct yk_message){
        .type = YK_ERROR,
        .as.error = {.src_uid = {"child", "u-2"},
                     .src_type_str = "app.Bad",
                     .boxed_type_str = "app.Bad",
                     .cid = "c1"},
    };
}

static void an_aid_carries_version_and_host(void **state)
{
    struct yk_message message = an_aid(), back = there_and_back(*state, &message, true);

    assert_string_equal(back.as.aid.name, "root");
    assert_string_equal(back.as.aid.uuid, "u-1");
    assert_true(back.as.aid.has_pid);
    assert_int_equal(back.as.aid.pid, 4711);
    assert_false(back.as.aid.has_is_registrar);
    assert_false(back.as.aid.is_probe);
    assert_int_equal(back.as.aid.yoke, 1);
    assert_string_equal(back.as.aid.host, "far");
    message.as.aid.host = NULL;
    back = there_and_back(*state, &message, true);
    assert_int_equal(back.as.aid.yoke, 1);
    assert_null(back.as.aid.host);
}

static void extensions_are_not_sent_to_plain_peers(void **state)
{
    struct yk_message aid = an_aid(), start = a_start(), error = an_error();
    struct yk_message ack = {.type = YK_START_ACK, .as.start_ack = {"c1", "context", 64}};

    error.as.error.error = YOKE_MAP({"type", yoke_str("app.Bad")});
    assert_int_equal(yoke_value_get(as_map(*state, &aid, true), "yoke").type, YOKE_MAP_VALUE);
    assert_int_equal(yoke_value_get(as_map(*state, &aid, false), "yoke").type, YOKE_NIL);
    assert_int_equal(as_map(*state, &start, true).as.map.n, 9);
    assert_int_equal(as_map(*state, &start, false).as.map.n, 7);
    assert_int_equal(as_map(*state, &ack, true).as.map.n, 4);
    assert_int_equal(as_map(*state, &ack, false).as.map.n, 3);
    assert_int_equal(as_map(*state, &error, true).as.map.n, 13);
    assert_int_equal(as_map(*state, &error, false).as.map.n, 12);
}

static void extensions_that_are_not_set_are_not_sent(void **state)
{
    struct yk_message aid = an_aid(), start = a_start(), error = an_error();

    aid.as.aid.yoke = 0;
    start.as.start.credit = 0;
    assert_int_equal(as_map(*state, &aid, true).as.map.n, 6);
    assert_int_equal(as_map(*state, &start, true).as.map.n, 8);
    assert_int_equal(as_map(*state, &error, true).as.map.n, 12);
}

static void a_start_carries_credit_and_budget(void **state)
{
    struct yk_message message = a_start(), back = there_and_back(*state, &message, true);

    assert_int_equal(back.as.start.credit, 64);
    assert_int_equal(back.as.start.budget_ns, 5000000000);
    back = there_and_back(*state, &message, false);
    assert_int_equal(back.as.start.credit, 0);
    assert_int_equal(back.as.start.budget_ns, 0);
}

static void nil_is_written_as_what_plain_peers_need(void **state)
{
    struct yk_message start = a_start(), error = an_error();
    struct yk_message spec = {.type = YK_SPAWN_SPEC};
    struct yoke_value map = as_map(*state, &start, false);

    assert_true(yoke_value_equal(yoke_value_get(map, "kwargs"), yoke_map(NULL, 0)));
    assert_true(yoke_value_equal(yoke_value_get(map, "pld_spec"), yoke_str("typing.Any")));
    map = as_map(*state, &error, false);
    assert_true(yoke_value_equal(yoke_value_get(map, "relay_path"), yoke_array(NULL, 0)));
    assert_true(yoke_value_equal(yoke_value_get(map, "tb_str"), yoke_str("")));
    assert_int_equal(yoke_value_get(map, "message").type, YOKE_NIL);
    map = as_map(*state, &spec, false);
    assert_true(yoke_value_equal(yoke_value_get(map, "reg_addrs"), yoke_array(NULL, 0)));
    assert_true(yoke_value_equal(yoke_value_get(map, "_runtime_vars"), yoke_map(NULL, 0)));
    assert_int_equal(yoke_value_get(map, "bind_addrs").type, YOKE_NIL);
    assert_int_equal(map.as.map.n, 6);
}

static void missing_fields_take_their_defaults(void **state)
{
    struct yk_message message;

    assert_int_equal(
        decode_map(*state,
                   YOKE_MAP(TYPE("Error"), {"src_uid", YOKE_ARRAY(yoke_str("a"), yoke_str("b"))},
                            {"src_type_str", yoke_str("T")}, {"boxed_type_str", yoke_str("T")},
                            {"relay_path", yoke_array(NULL, 0)}),
                   &message),
        0);
    assert_null(message.as.error.message);
    assert_string_equal(message.as.error.tb_str, "");
    assert_false(message.as.error.has_canceller);
    assert_false(message.as.error.has_sender);
    assert_null(message.as.error.cid);
    assert_int_equal(message.as.error.bad_msg.type, YOKE_NIL);
    assert_int_equal(
        decode_map(*state, YOKE_MAP(TYPE("Aid"), {"name", yoke_str("n")}, {"uuid", yoke_str("u")}),
                   &message),
        0);
    assert_false(message.as.aid.has_pid);
    assert_false(message.as.aid.has_is_registrar);
    assert_int_equal(message.as.aid.yoke, 0);
}

static void a_start_without_a_spec_takes_any(void **state)
{
    struct yk_message message;

    assert_int_equal(decode_map(*state,
                                YOKE_MAP(TYPE("Start"), CID, {"ns", yoke_str("n")},
                                         {"func", yoke_str("f")}, {"kwargs", yoke_map(NULL, 0)},
                                         {"uid", YOKE_ARRAY(yoke_str("a"), yoke_str("b"))}),
                                &message),
                     0);
    assert_string_equal(message.as.start.pld_spec, "typing.Any");
}

static void fields_may_come_in_any_order(void **state)
{
    struct yk_message message;

    assert_int_equal(decode_map(*state,
                                YOKE_MAP({"pld", YOKE_MAP({"msg_type", yoke_str("Stop")})}, CID,
                                         {"other", YOKE_ARRAY(yoke_int(1))}, TYPE("Yield")),
                                &message),
                     0);
    assert_int_equal(message.type, YK_YIELD);
    assert_string_equal(message.as.payload.cid, "c1");
    assert_true(yoke_value_equal(message.as.payload.pld, YOKE_MAP({"msg_type", yoke_str("Stop")})));
}

static void unknown_fields_are_ignored(void **state)
{
    struct yk_message message;

    assert_int_equal(decode_map(*state,
                                YOKE_MAP(TYPE("Stop"), {"x", YOKE_MAP({"y", yoke_nil()})}, CID,
                                         {"pld", yoke_int(1)}),
                                &message),
                     0);
    assert_string_equal(message.as.stop.cid, "c1");
}

static void an_error_comes_back_whole(void **state)
{
    struct yk_message message = an_error(), back;
    struct yk_error_message *error = &message.as.error;
    struct yoke_value path = YOKE_ARRAY(YOKE_ARRAY(yoke_str("child"), yoke_str("u-2")),
                                        YOKE_ARRAY(yoke_str("root"), yoke_str("u-1")));
    struct yoke_value tree = YOKE_MAP({"type", yoke_str("app.Bad")}, {"code", yoke_int(-22)});

    error->relay_path = path;
    error->message = "it broke";
    error->tb_str = "at app.c:1";
    error->has_canceller = error->has_sender = true;
    error->canceller = (struct yk_uid){"boss", "u-3"};
    error->sender = (struct yk_uid){"", "u-4"};
    error->bad_msg = YOKE_MAP({"pld", yoke_float(2.5)});
    error->bad_msg_as_dict = YOKE_MAP({"a", yoke_int(1)});
    error->error = tree;
    back = there_and_back(*state, &message, true);
    assert_string_equal(back.as.error.src_uid.name, "child");
    assert_string_equal(back.as.error.src_uid.uuid, "u-2");
    assert_true(yoke_value_equal(back.as.error.relay_path, path));
    assert_string_equal(back.as.error.message, "it broke");
    assert_string_equal(back.as.error.tb_str, "at app.c:1");
    assert_true(back.as.error.has_canceller && back.as.error.has_sender);
    assert_string_equal(back.as.error.canceller.name, "boss");
    assert_string_equal(back.as.error.sender.uuid, "u-4");
    assert_string_equal(yk_message_cid(&back), "c1");
    assert_true(yoke_value_equal(back.as.error.bad_msg, error->bad_msg));
    assert_true(yoke_value_equal(back.as.error.bad_msg_as_dict, error->bad_msg_as_dict));
    assert_true(yoke_value_equal(back.as.error.error, tree));
}

static void a_cancel_request_comes_back_whole(void **state)
{
    struct yk_message message = {
        .type = YK_CANCEL,
        .as.cancel = {"c9", "c1", YOKE_MAP({"layer", yoke_str("task")}), 500},
    };
    struct yk_message back = there_and_back(*state, &message, true);

    assert_string_equal(back.as.cancel.cid, "c9");
    assert_string_equal(back.as.cancel.target_cid, "c1");
    assert_true(yoke_value_equal(back.as.cancel.cause, message.as.cancel.cause));
    assert_int_equal(back.as.cancel.budget_ns, 500);
    message.as.cancel.target_cid = NULL;
    message.as.cancel.cause = yoke_nil();
    back = there_and_back(*state, &message, true);
    assert_null(back.as.cancel.target_cid);
    assert_int_equal(back.as.cancel.cause.type, YOKE_NIL);
}

static void credit_comes_back_whole(void **state)
{
    struct yk_message message = {.type = YK_CREDIT, .as.credit = {"c1", INT64_MAX}};
    struct yk_message back = there_and_back(*state, &message, true);

    assert_string_equal(back.as.credit.cid, "c1");
    assert_true(back.as.credit.n == INT64_MAX);
}

static void signs_of_life_come_back_whole(void **state)
{
    struct yk_message message = {.type = YK_PING, .as.beat.n = 7};
    struct yk_message back = there_and_back(*state, &message, true);

    assert_int_equal(back.type, YK_PING);
    assert_int_equal(back.as.beat.n, 7);
    message.type = YK_PONG;
    back = there_and_back(*state, &message, true);
    assert_int_equal(back.type, YK_PONG);
    assert_int_equal(back.as.beat.n, 7);
}

static void listening_comes_back_whole(void **state)
{
    struct yoke_value addrs = YOKE_ARRAY(YOKE_ARRAY(yoke_str("127.0.0.1"), yoke_int(1616)),
                                         YOKE_ARRAY(yoke_str("/run/x"), yoke_str("a@1.sock")));
    struct yk_message message = {.type = YK_LISTENING, .as.listening.addrs = addrs};
    struct yk_message back = there_and_back(*state, &message, true);

    assert_true(yoke_value_equal(back.as.listening.addrs, addrs));
}

static void each_message_knows_its_cid(void **state)
{
    struct yk_message aid = an_aid(), spec = {.type = YK_SPAWN_SPEC};
    struct yk_message stop = {.type = YK_STOP, .as.stop.cid = "c1"}, error = an_error();

    (void)state;
    error.as.error.cid = NULL;
    assert_null(yk_message_cid(&aid));
    assert_null(yk_message_cid(&spec));
    assert_null(yk_message_cid(&error));
    assert_string_equal(yk_message_cid(&stop), "c1");
}

static void each_type_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(yk_message_type_name(YK_SPAWN_SPEC), "SpawnSpec");
    assert_string_equal(yk_message_type_name(YK_CREDIT), "Credit");
    assert_string_equal(yk_message_type_name(0), "?");
    assert_string_equal(yk_message_type_name((enum yk_message_type)99), "?");
}

static void texts_must_be_str(void **state)
{
    REFUSED("Start.cid: expected str, found int", TYPE("Start"), {"cid", yoke_int(7)});
    REFUSED("Stop.cid: expected str, found nil", TYPE("Stop"), {"cid", yoke_nil()});
    REFUSED("Error.cid: expected str or nil, found bin", TYPE("Error"), {"cid", yoke_bin("x", 1)});
    REFUSED("Stop.cid: a NUL byte inside a str", TYPE("Stop"), {"cid", yoke_str_n("a\0b", 3)});
    REFUSED("StartAck.functype: unknown \"thread\"", TYPE("StartAck"), CID,
            {"functype", yoke_str("thread")});
}

static void flags_and_numbers_are_checked(void **state)
{
    REFUSED("CancelAck.pld: expected bool, found nil", TYPE("CancelAck"), CID, {"pld", yoke_nil()});
    REFUSED("Aid.is_registrar: expected bool or nil, found int", TYPE("Aid"),
            {"is_registrar", yoke_int(1)});
    REFUSED("Aid.pid: expected int or nil, found float", TYPE("Aid"), {"pid", yoke_float(1)});
    REFUSED("Aid.pid: expected int or nil, found an int over 2^63 - 1", TYPE("Aid"),
            {"pid", yoke_uint(UINT64_MAX)});
    REFUSED("Credit.n: expected a count, found -1", TYPE("Credit"), CID, {"n", yoke_int(-1)});
    REFUSED("Credit.n: expected a count, found an int over 2^63 - 1", TYPE("Credit"), CID,
            {"n", yoke_uint(UINT64_MAX)});
    REFUSED("Start.credit: expected int, found str", TYPE("Start"), {"credit", yoke_str("9")});
}

static void uids_are_pairs_of_str(void **state)
{
    struct yoke_value one = YOKE_ARRAY(yoke_str("a")), bad = YOKE_ARRAY(yoke_str("a"), yoke_int(1));

    REFUSED("Start.uid: expected [name, uuid], found str", TYPE("Start"), {"uid", yoke_str("a")});
    REFUSED("Start.uid: expected [name, uuid], found array of 1", TYPE("Start"), {"uid", one});
    REFUSED("Start.uid: expected [name, uuid] of str, found int", TYPE("Start"), {"uid", bad});
    REFUSED("Error.sender: expected [name, uuid] or nil, found int", TYPE("Error"),
            {"sender", yoke_int(0)});
    REFUSED("Error.relay_path: expected array, found nil", TYPE("Error"),
            {"relay_path", yoke_nil()});
    REFUSED("Error.relay_path: expected an array of [name, uuid]", TYPE("Error"),
            {"relay_path", YOKE_ARRAY(bad)});
    REFUSED("Error.relay_path: expected an array of [name, uuid]", TYPE("Error"),
            {"relay_path", YOKE_ARRAY(one)});
    REFUSED("Error.relay_path: expected an array of [name, uuid]", TYPE("Error"),
            {"relay_path", YOKE_ARRAY(YOKE_ARRAY(yoke_str_n("\0", 1), yoke_str("")))});
}

static void containers_are_checked(void **state)
{
    REFUSED("Start.kwargs: expected map, found array", TYPE("Start"),
            {"kwargs", yoke_array(NULL, 0)});
    REFUSED("Start.kwargs: expected map, found nil", TYPE("Start"), {"kwargs", yoke_nil()});
    REFUSED("Error._bad_msg_as_dict: expected map or nil, found int", TYPE("Error"),
            {"_bad_msg_as_dict", yoke_int(1)});
    REFUSED("SpawnSpec.reg_addrs: expected array, found map", TYPE("SpawnSpec"),
            {"reg_addrs", yoke_map(NULL, 0)});
    REFUSED("SpawnSpec.bind_addrs: expected array or nil, found str", TYPE("SpawnSpec"),
            {"bind_addrs", yoke_str("")});
}

static void the_version_is_checked(void **state)
{
    REFUSED("Aid.yoke: expected map, found int", TYPE("Aid"), {"yoke", yoke_int(1)});
    REFUSED("Aid.yoke: \"v\" is not a version", TYPE("Aid"), {"yoke", yoke_map(NULL, 0)});
    REFUSED("Aid.yoke: \"v\" is not a version", TYPE("Aid"),
            {"yoke", YOKE_MAP({"v", yoke_int(0)})});
    REFUSED("Aid.yoke: expected str as \"host\", found int", TYPE("Aid"),
            {"yoke", YOKE_MAP({"v", yoke_int(1)}, {"host", yoke_int(1)})});
}

static void a_later_version_is_understood(void **state)
{
    struct yk_message message;

    assert_int_equal(
        decode_map(*state,
                   YOKE_MAP(TYPE("Aid"), {"name", yoke_str("n")}, {"uuid", yoke_str("u")},
                            {"yoke", YOKE_MAP({"more", yoke_bool(true)}, {"host", yoke_str("h")},
                                              {"v", yoke_int(7)})}),
                   &message),
        0);
    assert_int_equal(message.as.aid.yoke, 7);
    assert_string_equal(message.as.aid.host, "h");
}

static void a_needed_field_may_not_be_missing(void **state)
{
    REFUSED("Stop.cid: missing", TYPE("Stop"));
    REFUSED("Yield.pld: missing", TYPE("Yield"), CID);
    REFUSED("Aid.uuid: missing", TYPE("Aid"), {"name", yoke_str("n")});
    REFUSED("SpawnSpec.bind_addrs: missing", TYPE("SpawnSpec"),
            {"_parent_main_data", yoke_map(NULL, 0)}, {"_runtime_vars", yoke_map(NULL, 0)},
            {"enable_modules", yoke_map(NULL, 0)}, {"reg_addrs", yoke_array(NULL, 0)});
}

static void a_field_may_not_come_twice(void **state)
{
    REFUSED("Stop.cid: given twice", TYPE("Stop"), CID, CID);
    REFUSED("Stop: msg_type given twice", TYPE("Stop"), CID, TYPE("Yield"));
}

static void the_type_must_be_known(void **state)
{
    REFUSED("unknown message \"Hello\"", TYPE("Hello"));
    REFUSED("unknown message \"stop\"", TYPE("stop"), CID);
    REFUSED("unknown message \"\"", TYPE(""));
    REFUSED("message: no msg_type", CID);
    REFUSED("message: expected a str as msg_type, found int", {"msg_type", yoke_int(9)});
}

static void only_the_start_of_a_long_name_is_quoted(void **state)
{
    char name[5000], problem[128];

    memset(name, 'N', sizeof name);
    snprintf(problem, sizeof problem, "unknown message \"%.64s\"", name);
    REFUSED(problem, {"msg_type", yoke_str_n(name, sizeof name)});
}

static void a_body_must_be_a_map_with_str_keys(void **state)
{
    struct fixture *fixture = *state;
    struct yk_message message;
    static const unsigned char int_key[] = {0x82, 0xa8, 'm', 's', 'g', '_', 't', 'y', 'p',
                                            'e',  0xa4, 'S', 't', 'o', 'p', 1,   2};

    assert_refused(fixture, yoke_array(NULL, 0), "message: expected a map, found array");
    assert_refused(fixture, yoke_map(NULL, 0), "message: no msg_type");
    assert_int_equal(yk_message_decode(&fixture->arena, int_key, sizeof int_key, &message),
                     -EBADMSG);
    assert_string_equal(yoke_error_message(yoke_in_flight()),
                        "Stop: expected keys of str, found int");
    yoke_clear();
}

static void bytes_behind_a_message_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct yk_message message = {.type = YK_STOP, .as.stop.cid = "c1"}, back;
    const unsigned char *body;
    size_t size;

    assert_int_equal(yk_message_encode(&fixture->buffer, &message, false), 0);
    assert_int_equal(yk_buffer_append(&fixture->buffer, "\xc0\xc0", 2), 0);
    assert_int_equal(yk_frame_next(&fixture->buffer, &body, &size), 1);
    assert_int_equal(yk_message_decode(&fixture->arena, body, size + 2, &back), -EBADMSG);
    assert_string_equal(yoke_error_message(yoke_in_flight()), "Stop: 2 bytes behind it");
    yoke_clear();
}

static void a_malformed_field_is_named(void **state)
{
    struct fixture *fixture = *state;
    struct yk_message message = {.type = YK_YIELD, .as.payload = {"c1", yoke_str("xyz")}}, back;
    const unsigned char *body;
    size_t size;

    assert_int_equal(yk_message_encode(&fixture->buffer, &message, false), 0);
    body = body_of(fixture, &size);
    assert_int_equal(yk_message_decode(&fixture->arena, body, size - 1, &back), -EBADMSG);
    assert_string_equal(yoke_error_message(yoke_in_flight()),
                        "Yield.pld: ends inside a value, at byte 28");
    yoke_clear();
}

static void assert_not_encoded(struct fixture *fixture, const struct yk_message *message, int rc,
                               const char *problem)
{
    size_t before;

    clear(fixture);
    assert_int_equal(yk_buffer_append(&fixture->buffer, "before", 6), 0);
    before = yk_buffer_size(&fixture->buffer);
    assert_int_equal(yk_message_encode(&fixture->buffer, message, true), rc);
    assert_int_equal(yk_buffer_size(&fixture->buffer), before);
    assert_memory_equal(fixture->buffer.data + fixture->buffer.start, "before", 6);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.BadValue");
    assert_string_equal(yoke_error_message(yoke_in_flight()), problem);
    yoke_clear();
}

static void what_cannot_be_sent_is_the_senders_error(void **state)
{
    struct yk_message message = {.type = YK_RETURN, .as.payload = {"c1", yoke_str("\xff")}};
    struct yk_message start = a_start();

    assert_not_encoded(*state, &message, -EINVAL, "Return.pld: a str is not UTF-8");
    message.as.payload.pld = (struct yoke_value){.type = (enum yoke_value_type)50};
    assert_not_encoded(*state, &message, -EINVAL, "Return.pld: a value of no type");
    message.as.payload.pld = yoke_bin("", YK_FRAME_MAX);
    assert_not_encoded(*state, &message, -EMSGSIZE, "Return.pld: too large for a frame");
    start.as.start.kwargs = YOKE_MAP({"\xff", yoke_nil()});
    assert_not_encoded(*state, &start, -EINVAL, "Start.kwargs: a str is not UTF-8");
}

static void the_largest_body_passes(void **state)
{
    struct fixture *fixture = *state;
    struct yk_message message = {.type = YK_YIELD, .as.payload.cid = "c1"};
    size_t around; /* of the body, beside the bytes of a large payload */
    char *data = calloc(YK_FRAME_MAX, 1);

    assert_non_null(data);
    message.as.payload.pld = yoke_bin(data, 1 << 16);
    assert_int_equal(yk_message_encode(&fixture->buffer, &message, false), 0);
    around = yk_buffer_size(&fixture->buffer) - YK_FRAME_HEADER - (1 << 16);
    clear(fixture);
    message.as.payload.pld = yoke_bin(data, YK_FRAME_MAX - around);
    assert_int_equal(yk_message_encode(&fixture->buffer, &message, false), 0);
    assert_int_equal(yk_buffer_size(&fixture->buffer), YK_FRAME_HEADER + YK_FRAME_MAX);
    message.as.payload.pld = yoke_bin(data, YK_FRAME_MAX - around + 1);
    assert_not_encoded(fixture, &message, -EMSGSIZE, "Yield.pld: too large for a frame");
    free(data);
}

static void errors_and_cancels_are_always_sent(void **state)
{
    struct yk_message error = an_error(), back;
    struct yk_message cancel = {.type = YK_CANCEL, .as.cancel.cid = "c9"};

    error.as.error.message = "bad \xff text";
    error.as.error.error = YOKE_MAP({"note", yoke_str("\x80")});
    back = there_and_back(*state, &error, true);
    assert_string_equal(back.as.error.message, "bad \xef\xbf\xbd text");
    assert_true(
        yoke_value_equal(yoke_value_get(back.as.error.error, "note"), yoke_str("\xef\xbf\xbd")));
    cancel.as.cancel.cause = YOKE_MAP({"reason", yoke_str("\xc3")});
    back = there_and_back(*state, &cancel, true);
    assert_true(
        yoke_value_equal(yoke_value_get(back.as.cancel.cause, "reason"), yoke_str("\xef\xbf\xbd")));
}

static void frames_are_appended_behind_each_other(void **state)
{
    struct fixture *fixture = *state;
    struct yk_message stop = {.type = YK_STOP, .as.stop.cid = "c1"}, back;
    const unsigned char *body;
    size_t size;

    for (int i = 0; i < 300; i++) /* enough for the buffer to grow and move */
        assert_int_equal(yk_message_encode(&fixture->buffer, &stop, false), 0);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(yk_frame_next(&fixture->buffer, &body, &size), 1);
        assert_int_equal(yk_message_decode(&fixture->arena, body, size, &back), 0);
        assert_int_equal(back.type, YK_STOP);
        yk_buffer_consume(&fixture->buffer, YK_FRAME_HEADER + size);
        assert_int_equal(yk_message_encode(&fixture->buffer, &stop, false), 0);
    }
    assert_int_equal(yk_buffer_size(&fixture->buffer), 300 * (YK_FRAME_HEADER + size));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_aid_carries_version_and_host),
        TEST(extensions_are_not_sent_to_plain_peers),
        TEST(extensions_that_are_not_set_are_not_sent),
        TEST(a_start_carries_credit_and_budget),
        TEST(nil_is_written_as_what_plain_peers_need),
        TEST(missing_fields_take_their_defaults),
        TEST(a_start_without_a_spec_takes_any),
        TEST(fields_may_come_in_any_order),
        TEST(unknown_fields_are_ignored),
        TEST(an_error_comes_back_whole),
        TEST(a_cancel_request_comes_back_whole),
        TEST(credit_comes_back_whole),
        TEST(signs_of_life_come_back_whole),
        TEST(listening_comes_back_whole),
        TEST(each_message_knows_its_cid),
        TEST(each_type_has_a_name),
        TEST(texts_must_be_str),
        TEST(flags_and_numbers_are_checked),
        TEST(uids_are_pairs_of_str),
        TEST(containers_are_checked),
        TEST(the_version_is_checked),
        TEST(a_later_version_is_understood),
        TEST(a_needed_field_may_not_be_missing),
        TEST(a_field_may_not_come_twice),
        TEST(the_type_must_be_known),
        TEST(only_the_start_of_a_long_name_is_quoted),
        TEST(a_body_must_be_a_map_with_str_keys),
        TEST(bytes_behind_a_message_are_refused),
        TEST(a_malformed_field_is_named),
        TEST(what_cannot_be_sent_is_the_senders_error),
        TEST(the_largest_body_passes),
        TEST(errors_and_cancels_are_always_sent),
        TEST(frames_are_appended_behind_each_other),
    };

    return cmocka_run_group_tests_name("wire messages", tests, NULL, NULL);
}
