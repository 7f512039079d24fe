/* SPDX-License-Identifier: MIT */
/*
 * Bytes that no honest peer sends: recorded frames cut short at every byte and changed at every
 * byte. Whatever comes is decoded or refused by name; what is decoded can be sent on, and what was
 * sent on says the same. Each body is a block of its own, so that the sanitizers and valgrind see
 * the first byte that is read behind it. msgpack-c's reader serves as a second opinion.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <msgpack/unpack.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>

#include "base/arena.h"
#include "wire/message.h"
#include "wire/transcript_support.h"
#include "wire/value.h"

enum {
    TYPES = YK_LISTENING + 1,
    ORACLE_DEPTH = 31, /* msgpack-c reads no deeper */
};

struct body {
    unsigned char *bytes; /* owned; NULL: no frame of this type yet */
    size_t size;
};

struct fixture {
    struct yk_arena arena;
    struct yk_buffer first, second;
    struct body bodies[TYPES]; /* one for each type, the extensions' included */
    size_t decoded, refused;
};

static struct fixture fixture;

static void keep(enum yk_message_type type, const unsigned char *bytes, size_t size)
{
    struct body *body = &fixture.bodies[type];

    if (body->bytes != NULL && body->size >= size)
        return;
    free(body->bytes);
    body->bytes = malloc(size);
    assert_non_null(body->bytes);
    memcpy(body->bytes, bytes, size);
    body->size = size;
}

/* The longest of each type under a size that keeps the number of mutations small. */
static void keep_recorded(const struct yk_recorded_frame *frame, void *arg)
{
    const unsigned char *body = frame->bytes + YK_FRAME_HEADER;
    size_t size = frame->size - YK_FRAME_HEADER;
    struct yk_message message;

    (void)arg;
    yk_arena_reset(&fixture.arena);
    assert_int_equal(yk_message_decode(&fixture.arena, body, size, &message), 0);
    if (size <= 600)
        keep(message.type, body, size);
}

static void keep_made(const struct yk_message *message)
{
    yk_buffer_consume(&fixture.first, yk_buffer_size(&fixture.first));
    assert_int_equal(yk_message_encode(&fixture.first, message, true), 0);
    keep(message->type, fixture.first.data + fixture.first.start + YK_FRAME_HEADER,
         yk_buffer_size(&fixture.first) - YK_FRAME_HEADER);
}

static void keep_extensions(void)
{
    struct yk_message cancel = {
        .type = YK_CANCEL,
        .as.cancel = {"c9", "c1", YOKE_MAP({"because", YOKE_MAP({"kind", yoke_str("x")})}), 500},
    };
    struct yk_message credit = {.type = YK_CREDIT, .as.credit = {"c1", 64}};
    struct yk_message aid = {
        .type = YK_AID,
        .as.aid = {.name = "a name that makes this one the longest of its type, to be kept",
                   .uuid = "u-1",
                   .has_pid = true,
                   .pid = 70000,
                   .yoke = 1,
                   .host = "far"},
    };

    struct yk_message ping = {.type = YK_PING, .as.beat.n = 3}, pong = ping;
    struct yk_message listening = {
        .type = YK_LISTENING,
        .as.listening.addrs = YOKE_ARRAY(YOKE_ARRAY(yoke_str("127.0.0.1"), yoke_int(1616))),
    };

    pong.type = YK_PONG;
    keep_made(&cancel);
    keep_made(&credit);
    keep_made(&ping);
    keep_made(&pong);
    keep_made(&listening);
    keep_made(&aid);
}

static int set_up(void **state)
{
    (void)state;
    yk_arena_init(&fixture.arena);
    yk_buffer_init(&fixture.first);
    yk_buffer_init(&fixture.second);
    if (yk_transcripts_each(keep_recorded, NULL) == 0)
        return -1;
    keep_extensions();
    for (int type = YK_AID; type < TYPES; type++)
        if (fixture.bodies[type].bytes == NULL)
            return -1;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int type = YK_AID; type < TYPES; type++)
        free(fixture.bodies[type].bytes);
    yk_buffer_fini(&fixture.first);
    yk_buffer_fini(&fixture.second);
    yk_arena_fini(&fixture.arena);
    return 0;
}

static void encode(struct yk_buffer *buffer, const struct yk_message *message)
{
    yk_buffer_consume(buffer, yk_buffer_size(buffer));
    assert_int_equal(yk_message_encode(buffer, message, true), 0);
}

/* What was understood is sent on, and understood the same there. */
static void check_sent_on(const struct yk_message *message)
{
    struct yk_message again;
    const unsigned char *body;
    size_t size;

    encode(&fixture.first, message);
    assert_int_equal(yk_frame_next(&fixture.first, &body, &size), 1);
    if (yk_message_decode(&fixture.arena, body, size, &again) < 0)
        fail_msg("%s", yoke_error_message(yoke_in_flight()));
    assert_int_equal(again.type, message->type);
    encode(&fixture.second, &again);
    assert_int_equal(yk_buffer_size(&fixture.second), yk_buffer_size(&fixture.first));
    assert_memory_equal(fixture.second.data + fixture.second.start,
                        fixture.first.data + fixture.first.start, yk_buffer_size(&fixture.first));
}

static bool has_name(const char *text)
{
    for (int type = YK_AID; type < TYPES; type++)
        if (strncmp(text, yk_message_type_name(type), strlen(yk_message_type_name(type))) == 0)
            return true;
    return strncmp(text, "message: ", 9) == 0 || strncmp(text, "unknown message ", 16) == 0;
}

static void check_refused(int rc)
{
    assert_int_equal(rc, -EBADMSG);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.BadMessage");
    if (!has_name(yoke_error_message(yoke_in_flight())))
        fail_msg("does not say what was wrong where: %s", yoke_error_message(yoke_in_flight()));
    yoke_clear();
    fixture.refused++;
}

static int decode_exact(const unsigned char *bytes, size_t size, struct yk_message *message,
                        unsigned char **ret_block)
{
    unsigned char *block = malloc(size > 0 ? size : 1);

    assert_non_null(block);
    if (size > 0)
        memcpy(block, bytes, size);
    *ret_block = block;
    yk_arena_reset(&fixture.arena);
    return yk_message_decode_in_place(&fixture.arena, block, size, message);
}

static void check(const unsigned char *bytes, size_t size)
{
    struct yk_message message;
    unsigned char *block;
    int rc = decode_exact(bytes, size, &message, &block);

    if (rc == 0) {
        fixture.decoded++;
        check_sent_on(&message);
    } else {
        check_refused(rc);
    }
    free(block);
}

static void a_body_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    for (int type = YK_AID; type < TYPES; type++) {
        for (size_t size = 0; size < fixture.bodies[type].size; size++) {
            struct yk_message message;
            unsigned char *block;

            check_refused(decode_exact(fixture.bodies[type].bytes, size, &message, &block));
            free(block);
        }
    }
}

/* One byte of each body becomes each of these in turn. */
static void mutate_all(const unsigned char *values, size_t n)
{
    fixture.decoded = fixture.refused = 0;
    for (int type = YK_AID; type < TYPES; type++) {
        const struct body *body = &fixture.bodies[type];

        for (size_t at = 0; at < body->size; at++) {
            unsigned char was = body->bytes[at];

            for (size_t i = 0; i < n; i++) {
                body->bytes[at] = values[i];
                check(body->bytes, body->size);
            }
            body->bytes[at] = was;
        }
    }
    assert_true(fixture.decoded > 0);
    assert_true(fixture.refused > 0);
}

static void any_byte_may_become_another_kind_of_head(void **state)
{
    static const unsigned char heads[] = {0x00, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1,
                                          0xc2, 0xc4, 0xc7, 0xca, 0xcb, 0xcc, 0xcf, 0xd3, 0xd4,
                                          0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff};

    (void)state;
    mutate_all(heads, sizeof heads);
}

static void any_bit_may_flip(void **state)
{
    (void)state;
    fixture.decoded = fixture.refused = 0;
    for (int type = YK_AID; type < TYPES; type++) {
        const struct body *body = &fixture.bodies[type];

        for (size_t bit = 0; bit < body->size * 8; bit++) {
            body->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
            check(body->bytes, body->size);
            body->bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
    }
    assert_true(fixture.decoded > 0);
    assert_true(fixture.refused > 0);
}

static void a_small_body_survives_every_change_of_one_byte(void **state)
{
    struct body *body = &fixture.bodies[YK_CANCEL];

    (void)state;
    for (size_t at = 0; at < body->size; at++) {
        unsigned char was = body->bytes[at];

        for (unsigned value = 0; value < 256; value++) {
            body->bytes[at] = (unsigned char)value;
            check(body->bytes, body->size);
        }
        body->bytes[at] = was;
    }
}

static void a_byte_may_be_missing_or_doubled(void **state)
{
    unsigned char changed[1024];

    (void)state;
    for (int type = YK_AID; type < TYPES; type++) {
        const struct body *body = &fixture.bodies[type];

        for (size_t at = 0; at < body->size; at++) {
            memcpy(changed, body->bytes, at);
            memcpy(changed + at, body->bytes + at + 1, body->size - at - 1);
            check(changed, body->size - 1);
            memcpy(changed + at + 1, body->bytes + at, body->size - at);
            changed[at] = body->bytes[at];
            check(changed, body->size + 1);
        }
    }
}

static bool agree(const struct yoke_value *value, const msgpack_object *object);

static bool agree_items(const struct yoke_value *value, const msgpack_object_array *array)
{
    if (value->as.array.n != array->size)
        return false;
    for (size_t i = 0; i < array->size; i++)
        if (!agree(&value->as.array.items[i], &array->ptr[i]))
            return false;
    return true;
}

static bool agree_pairs(const struct yoke_value *value, const msgpack_object_map *map)
{
    if (value->as.map.n != map->size)
        return false;
    for (size_t i = 0; i < map->size; i++) {
        const struct yoke_pair *pair = &value->as.map.pairs[i];
        const msgpack_object *key = &map->ptr[i].key;

        if (key->type != MSGPACK_OBJECT_STR || key->via.str.size != strlen(pair->key) ||
            memcmp(key->via.str.ptr, pair->key, key->via.str.size) != 0 ||
            !agree(&pair->value, &map->ptr[i].val))
            return false;
    }
    return true;
}

static bool agree_bytes(const struct yoke_value *value, const char *bytes, size_t size)
{
    return value->as.str.size == size &&
           (size == 0 || memcmp(value->as.str.data, bytes, size) == 0);
}

static bool agree(const struct yoke_value *value, const msgpack_object *object)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return value->type == YOKE_NIL;
    case MSGPACK_OBJECT_BOOLEAN:
        return value->type == YOKE_BOOL && value->as.boolean == object->via.boolean;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return value->type == (object->via.u64 > INT64_MAX ? YOKE_UINT : YOKE_INT) &&
               value->as.unsigned_integer == object->via.u64;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return value->type == YOKE_INT && value->as.integer == object->via.i64;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return value->single == (object->type == MSGPACK_OBJECT_FLOAT32) &&
               yoke_value_equal(*value, yoke_float(object->via.f64));
    case MSGPACK_OBJECT_STR:
        return value->type == YOKE_STR &&
               agree_bytes(value, object->via.str.ptr, object->via.str.size);
    case MSGPACK_OBJECT_BIN:
        return value->type == YOKE_BIN &&
               agree_bytes(value, object->via.bin.ptr, object->via.bin.size);
    case MSGPACK_OBJECT_EXT:
        return value->type == YOKE_EXT && value->ext_type == object->via.ext.type &&
               agree_bytes(value, object->via.ext.ptr, object->via.ext.size);
    case MSGPACK_OBJECT_ARRAY:
        return value->type == YOKE_ARRAY_VALUE && agree_items(value, &object->via.array);
    case MSGPACK_OBJECT_MAP:
        return value->type == YOKE_MAP_VALUE && agree_pairs(value, &object->via.map);
    }
    return false;
}

static size_t depth_of(const struct yoke_value *value)
{
    size_t deepest = 0;

    if (value->type == YOKE_ARRAY_VALUE) {
        for (size_t i = 0; i < value->as.array.n; i++) {
            size_t depth = 1 + depth_of(&value->as.array.items[i]);

            deepest = depth > deepest ? depth : deepest;
        }
    } else if (value->type == YOKE_MAP_VALUE) {
        for (size_t i = 0; i < value->as.map.n; i++) {
            size_t depth = 1 + depth_of(&value->as.map.pairs[i].value);

            deepest = depth > deepest ? depth : deepest;
        }
    }
    return deepest;
}

/* Only what we accept: msgpack-c would allocate for counts that we refuse. */
static bool compare_readers(const unsigned char *bytes, size_t size)
{
    msgpack_unpacked unpacked;
    struct yoke_value value;
    size_t offset = 0;

    yk_arena_reset(&fixture.arena);
    if (yk_value_decode(&fixture.arena, bytes, size, &value) < 0) {
        yoke_clear();
        return false;
    }
    if (depth_of(&value) >= ORACLE_DEPTH)
        return false;
    msgpack_unpacked_init(&unpacked);
    assert_int_equal(msgpack_unpack_next(&unpacked, (const char *)bytes, size, &offset),
                     MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(offset, size);
    assert_true(agree(&value, &unpacked.data));
    msgpack_unpacked_destroy(&unpacked);
    return true;
}

static void both_readers_agree_on_what_is_accepted(void **state)
{
    size_t compared = 0;

    (void)state;
    for (int type = YK_AID; type < TYPES; type++) {
        const struct body *body = &fixture.bodies[type];

        for (size_t at = 0; at < body->size; at++) {
            unsigned char was = body->bytes[at];

            for (unsigned step = 0; step < 256; step += 5) {
                body->bytes[at] = (unsigned char)(was + step);
                compared += compare_readers(body->bytes, body->size);
            }
            body->bytes[at] = was;
        }
    }
    assert_true(compared > 0);
}

/* Pseudo-random bytes from a fixed seed, made to look like values by their first bytes. */
static void both_readers_agree_on_noise(void **state)
{
    uint64_t x = 88172645463325252u;
    size_t compared = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        unsigned char bytes[24];
        size_t size;

        for (size_t i = 0; i < sizeof bytes; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            bytes[i] = (unsigned char)(x % 5 == 0 ? 0x80 + (x >> 8) % 0x60 : (x >> 16) % 0x80);
        }
        for (size = 1; size <= sizeof bytes; size++)
            compared += compare_readers(bytes, size);
    }
    assert_true(compared > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_cut_short_anywhere_is_refused),
        cmocka_unit_test(any_byte_may_become_another_kind_of_head),
        cmocka_unit_test(any_bit_may_flip),
        cmocka_unit_test(a_small_body_survives_every_change_of_one_byte),
        cmocka_unit_test(a_byte_may_be_missing_or_doubled),
        cmocka_unit_test(both_readers_agree_on_what_is_accepted),
        cmocka_unit_test(both_readers_agree_on_noise),
    };

    return cmocka_run_group_tests_name("wire hostile input", tests, set_up, tear_down);
}
