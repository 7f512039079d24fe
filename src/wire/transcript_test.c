/* SPDX-License-Identifier: MIT */
/*
 * The golden frames: whatever real peers sent is decoded, says what the recorder saw in it, and is
 * encoded again to the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <string.h>
#include <yoke/error.h>

#include "wire/message.h"
#include "wire/transcript_support.h"
#include "wire/value.h"

struct fixture {
    struct yk_arena arena;
    struct yk_buffer buffer;
    unsigned types_seen; /* bit n: type n */
};

static int set_up(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof fixture);
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

static bool same(const struct yoke_value *value, struct json_object *json);

static bool same_map(const struct yoke_value *value, struct json_object *json)
{
    if ((size_t)json_object_object_length(json) != value->as.map.n)
        return false;
    for (size_t i = 0; i < value->as.map.n; i++) {
        const struct yoke_pair *pair = &value->as.map.pairs[i];
        struct json_object *member;

        if (!json_object_object_get_ex(json, pair->key, &member) || !same(&pair->value, member))
            return false;
    }
    return true;
}

static bool same_array(const struct yoke_value *value, struct json_object *json)
{
    if (json_object_array_length(json) != value->as.array.n)
        return false;
    for (size_t i = 0; i < value->as.array.n; i++)
        if (!same(&value->as.array.items[i], json_object_array_get_idx(json, i)))
            return false;
    return true;
}

static bool same(const struct yoke_value *value, struct json_object *json)
{
    switch (json_object_get_type(json)) {
    case json_type_null:
        return value->type == YOKE_NIL;
    case json_type_boolean:
        return value->type == YOKE_BOOL && value->as.boolean == json_object_get_boolean(json);
    case json_type_int:
        return value->type == YOKE_INT && value->as.integer == json_object_get_int64(json);
    case json_type_double:
        return value->type == YOKE_FLOAT && value->as.number == json_object_get_double(json);
    case json_type_string:
        return value->type == YOKE_STR &&
               value->as.str.size == (size_t)json_object_get_string_len(json) &&
               memcmp(value->as.str.data, json_object_get_string(json), value->as.str.size) == 0;
    case json_type_array:
        return value->type == YOKE_ARRAY_VALUE && same_array(value, json);
    case json_type_object:
        return value->type == YOKE_MAP_VALUE && same_map(value, json);
    }
    return false;
}

static void assert_decodes(const struct yk_recorded_frame *frame, int rc)
{
    if (rc == 0)
        return;
    fail_msg("%s:%d: %s", frame->file, frame->line, yoke_error_message(yoke_in_flight()));
}

static void decode(struct fixture *fixture, const struct yk_recorded_frame *frame,
                   struct yk_message *ret_message)
{
    const unsigned char *body;
    size_t size;

    yk_buffer_consume(&fixture->buffer, yk_buffer_size(&fixture->buffer));
    assert_int_equal(yk_buffer_append(&fixture->buffer, frame->bytes, frame->size), 0);
    assert_int_equal(yk_frame_next(&fixture->buffer, &body, &size), 1);
    assert_int_equal(size + YK_FRAME_HEADER, frame->size);
    yk_arena_reset(&fixture->arena);
    assert_decodes(frame, yk_message_decode(&fixture->arena, body, size, ret_message));
}

static void check_bytes(const struct yk_recorded_frame *frame, void *arg)
{
    struct fixture *fixture = arg;
    struct yk_message message;

    decode(fixture, frame, &message);
    yk_buffer_consume(&fixture->buffer, yk_buffer_size(&fixture->buffer));
    assert_int_equal(yk_message_encode(&fixture->buffer, &message, false), 0);
    assert_int_equal(yk_buffer_size(&fixture->buffer), frame->size);
    assert_memory_equal(fixture->buffer.data + fixture->buffer.start, frame->bytes, frame->size);
    fixture->types_seen |= 1u << message.type;
}

static void check_file(const char *file, void *arg)
{
    if (yk_transcript_each(file, check_bytes, arg) == 0)
        fail_msg("%s has no frames", file);
}

static void every_frame_encodes_to_the_same_bytes(void **state)
{
    struct fixture *fixture = *state;

    assert_true(yk_transcript_names(check_file, fixture) > 0);
    for (unsigned type = YK_AID; type <= YK_RETURN; type++)
        assert_true(fixture->types_seen & 1u << type);
}

static void check_extended(const struct yk_recorded_frame *frame, void *arg)
{
    struct fixture *fixture = arg;
    struct yk_message message;

    decode(fixture, frame, &message);
    yk_buffer_consume(&fixture->buffer, yk_buffer_size(&fixture->buffer));
    assert_int_equal(yk_message_encode(&fixture->buffer, &message, true), 0);
    assert_int_equal(yk_buffer_size(&fixture->buffer), frame->size);
}

static void plain_messages_get_no_extensions(void **state)
{
    assert_true(yk_transcripts_each(check_extended, *state) > 0);
}

static void assert_text(const char *text, struct json_object *msg, const char *key)
{
    struct json_object *json = json_object_object_get(msg, key);

    if (json == NULL)
        assert_null(text);
    else
        assert_string_equal(text, json_object_get_string(json));
}

static void assert_uid(const struct yk_uid *uid, struct json_object *msg, const char *key)
{
    struct json_object *json = json_object_object_get(msg, key);

    assert_string_equal(uid->name, json_object_get_string(json_object_array_get_idx(json, 0)));
    assert_string_equal(uid->uuid, json_object_get_string(json_object_array_get_idx(json, 1)));
}

static void assert_value(const struct yoke_value *value, struct json_object *msg, const char *key)
{
    assert_true(same(value, json_object_object_get(msg, key)));
}

static void assert_error(const struct yk_error_message *error, struct json_object *msg)
{
    assert_uid(&error->src_uid, msg, "src_uid");
    assert_text(error->src_type_str, msg, "src_type_str");
    assert_text(error->boxed_type_str, msg, "boxed_type_str");
    assert_value(&error->relay_path, msg, "relay_path");
    assert_text(error->message, msg, "message");
    assert_text(error->tb_str, msg, "tb_str");
    assert_int_equal(error->has_canceller, json_object_object_get(msg, "canceller") != NULL);
    if (error->has_canceller)
        assert_uid(&error->canceller, msg, "canceller");
    assert_int_equal(error->has_sender, json_object_object_get(msg, "sender") != NULL);
    if (error->has_sender)
        assert_uid(&error->sender, msg, "sender");
    assert_value(&error->bad_msg, msg, "_bad_msg");
    assert_value(&error->bad_msg_as_dict, msg, "_bad_msg_as_dict");
}

static void assert_start(const struct yk_start *start, struct json_object *msg)
{
    assert_text(start->ns, msg, "ns");
    assert_text(start->func, msg, "func");
    assert_value(&start->kwargs, msg, "kwargs");
    assert_uid(&start->uid, msg, "uid");
    assert_text(start->pld_spec, msg, "pld_spec");
}

static void assert_aid(const struct yk_aid *aid, struct json_object *msg)
{
    assert_text(aid->name, msg, "name");
    assert_text(aid->uuid, msg, "uuid");
    assert_true(aid->has_pid);
    assert_int_equal(aid->pid, json_object_get_int64(json_object_object_get(msg, "pid")));
    assert_int_equal(aid->has_is_registrar, json_object_object_get(msg, "is_registrar") != NULL);
    assert_int_equal(aid->is_registrar,
                     json_object_get_boolean(json_object_object_get(msg, "is_registrar")));
    assert_int_equal(aid->is_probe,
                     json_object_get_boolean(json_object_object_get(msg, "is_probe")));
    assert_int_equal(aid->yoke, 0);
}

static void assert_spawn_spec(const struct yk_spawn_spec *spec, struct json_object *msg)
{
    assert_value(&spec->parent_main_data, msg, "_parent_main_data");
    assert_value(&spec->runtime_vars, msg, "_runtime_vars");
    assert_value(&spec->enable_modules, msg, "enable_modules");
    assert_value(&spec->reg_addrs, msg, "reg_addrs");
    assert_value(&spec->bind_addrs, msg, "bind_addrs");
}

static void check_fields(const struct yk_recorded_frame *frame, void *arg)
{
    struct json_object *msg = frame->msg;
    struct yk_message message;

    decode(arg, frame, &message);
    assert_text(yk_message_type_name(message.type), msg, "msg_type");
    assert_text(yk_message_cid(&message), msg, "cid");
    if (message.type == YK_AID)
        assert_aid(&message.as.aid, msg);
    else if (message.type == YK_SPAWN_SPEC)
        assert_spawn_spec(&message.as.spawn_spec, msg);
    else if (message.type == YK_START)
        assert_start(&message.as.start, msg);
    else if (message.type == YK_START_ACK)
        assert_text(message.as.start_ack.functype, msg, "functype");
    else if (message.type == YK_CANCEL_ACK)
        assert_int_equal(message.as.cancel_ack.pld,
                         json_object_get_boolean(json_object_object_get(msg, "pld")));
    else if (message.type == YK_ERROR)
        assert_error(&message.as.error, msg);
    else if (message.type != YK_STOP)
        assert_value(&message.as.payload.pld, msg, "pld");
}

static void every_field_says_what_was_recorded(void **state)
{
    assert_true(yk_transcripts_each(check_fields, *state) > 0);
}

static void check_value(const struct yk_recorded_frame *frame, void *arg)
{
    struct fixture *fixture = arg;
    struct yoke_value value;
    const unsigned char *body = frame->bytes + YK_FRAME_HEADER;

    yk_arena_reset(&fixture->arena);
    assert_decodes(frame,
                   yk_value_decode(&fixture->arena, body, frame->size - YK_FRAME_HEADER, &value));
    assert_true(same(&value, frame->msg));
}

static void every_body_is_the_recorded_value(void **state)
{
    assert_true(yk_transcripts_each(check_value, *state) > 0);
}

static void collect(const struct yk_recorded_frame *frame, void *arg)
{
    struct fixture *fixture = arg;

    assert_int_equal(yk_buffer_append(&fixture->buffer, frame->bytes, frame->size), 0);
}

/* All frames one behind the other, as from a stream that hands over many at once. */
static void frames_are_found_in_a_stream(void **state)
{
    struct fixture *fixture = *state;
    size_t n = yk_transcripts_each(collect, fixture), found = 0, size;
    const unsigned char *body;
    struct yk_message message;

    while (yk_frame_next(&fixture->buffer, &body, &size) == 1) {
        yk_arena_reset(&fixture->arena);
        assert_int_equal(yk_message_decode(&fixture->arena, body, size, &message), 0);
        yk_buffer_consume(&fixture->buffer, YK_FRAME_HEADER + size);
        found++;
    }
    assert_int_equal(found, n);
    assert_int_equal(yk_buffer_size(&fixture->buffer), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_frame_encodes_to_the_same_bytes), TEST(plain_messages_get_no_extensions),
        TEST(every_field_says_what_was_recorded),    TEST(every_body_is_the_recorded_value),
        TEST(frames_are_found_in_a_stream),
    };

    return cmocka_run_group_tests_name("wire transcripts", tests, NULL, NULL);
}
