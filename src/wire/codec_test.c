/* SPDX-License-Identifier: MIT */
/* Values to msgpack bytes and back: each form, the canonical one, bounds, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>

#include "base/limits.h"
#include "wire/pack.h"
#include "wire/unpack.h"
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

static void encode(struct fixture *fixture, struct yoke_value value)
{
    yk_buffer_consume(&fixture->buffer, yk_buffer_size(&fixture->buffer));
    assert_int_equal(yk_value_encode(&fixture->buffer, value), 0);
}

static void decode_bytes(struct fixture *fixture, const void *bytes, size_t n,
                         struct yoke_value *ret)
{
    if (yk_value_decode(&fixture->arena, bytes, n, ret) < 0)
        fail_msg("%s", yoke_error_message(yoke_in_flight()));
}

/* There and back; the encoding starts with these bytes. */
static void assert_form(struct fixture *fixture, struct yoke_value value, const char *head,
                        size_t n)
{
    struct yoke_value back;

    encode(fixture, value);
    assert_true(yk_buffer_size(&fixture->buffer) >= n);
    assert_memory_equal(fixture->buffer.data + fixture->buffer.start, head, n);
    decode_bytes(fixture, fixture->buffer.data + fixture->buffer.start,
                 yk_buffer_size(&fixture->buffer), &back);
    assert_true(yoke_value_equal(value, back));
    assert_int_equal(value.single, back.single);
}
#define FORM(value, head) assert_form(*state, (value), (head), sizeof(head) - 1)

static void assert_bad(struct fixture *fixture, const char *bytes, size_t n, const char *message)
{
    struct yoke_value value = yoke_int(77);

    assert_int_equal(yk_value_decode(&fixture->arena, bytes, n, &value), -EBADMSG);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.BadMessage");
    assert_string_equal(yoke_error_message(yoke_in_flight()), message);
    assert_true(yoke_value_equal(value, yoke_int(77)));
    yoke_clear();
}
#define BAD(bytes, message) assert_bad(*state, (bytes), sizeof(bytes) - 1, (message))

static void numbers_take_their_shortest_form(void **state)
{
    FORM(yoke_nil(), "\xc0");
    FORM(yoke_bool(false), "\xc2");
    FORM(yoke_bool(true), "\xc3");
    FORM(yoke_int(0), "\x00");
    FORM(yoke_int(127), "\x7f");
    FORM(yoke_int(128), "\xcc\x80");
    FORM(yoke_int(255), "\xcc\xff");
    FORM(yoke_int(256), "\xcd\x01\x00");
    FORM(yoke_int(65535), "\xcd\xff\xff");
    FORM(yoke_int(65536), "\xce\x00\x01\x00\x00");
    FORM(yoke_int(UINT32_MAX), "\xce\xff\xff\xff\xff");
    FORM(yoke_int(INT64_C(1) << 32), "\xcf\x00\x00\x00\x01\x00\x00\x00\x00");
    FORM(yoke_int(INT64_MAX), "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff");
    FORM(yoke_uint(UINT64_C(1) << 63), "\xcf\x80\x00\x00\x00\x00\x00\x00\x00");
    FORM(yoke_uint(UINT64_MAX), "\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
    FORM(yoke_int(-1), "\xff");
    FORM(yoke_int(-32), "\xe0");
    FORM(yoke_int(-33), "\xd0\xdf");
    FORM(yoke_int(-128), "\xd0\x80");
    FORM(yoke_int(-129), "\xd1\xff\x7f");
    FORM(yoke_int(-32769), "\xd2\xff\xff\x7f\xff");
    FORM(yoke_int(INT32_MIN - INT64_C(1)), "\xd3\xff\xff\xff\xff\x7f\xff\xff\xff");
    FORM(yoke_int(INT64_MIN), "\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
}

static void floats_keep_their_width(void **state)
{
    struct yoke_value single = yoke_float(0.5);

    single.single = true;
    FORM(yoke_float(2.5), "\xcb\x40\x04\x00\x00\x00\x00\x00\x00");
    FORM(yoke_float(1), "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00");
    FORM(yoke_float(INFINITY), "\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00");
    FORM(yoke_float(NAN), "\xcb\x7f\xf8");
    FORM(single, "\xca\x3f\x00\x00\x00");
}

static void long_forms_of_small_numbers_are_read(void **state)
{
    static const char *const forms[] = {
        "\xcc\x05", "\xcd\x00\x05", "\xce\x00\x00\x00\x05", "\xcf\x00\x00\x00\x00\x00\x00\x00\x05",
        "\xd0\x05", "\xd1\x00\x05", "\xd2\x00\x00\x00\x05", "\xd3\x00\x00\x00\x00\x00\x00\x00\x05",
    };
    static const size_t sizes[] = {2, 3, 5, 9, 2, 3, 5, 9};
    struct yoke_value value;

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        decode_bytes(*state, forms[i], sizes[i], &value);
        assert_true(yoke_value_equal(value, yoke_int(5)));
    }
}

static void lengths_take_their_shortest_form(void **state)
{
    char *text = calloc(70000, 1);

    assert_non_null(text);
    memset(text, 'a', 70000);
    FORM(yoke_str(""), "\xa0");
    FORM(yoke_str_n(text, 31), "\xbf"
                               "a");
    FORM(yoke_str_n(text, 32), "\xd9\x20"
                               "a");
    FORM(yoke_str_n(text, 255), "\xd9\xff"
                                "a");
    FORM(yoke_str_n(text, 256), "\xda\x01\x00"
                                "a");
    FORM(yoke_str_n(text, 65536), "\xdb\x00\x01\x00\x00"
                                  "a");
    FORM(yoke_bin(text, 0), "\xc4\x00");
    FORM(yoke_bin(text, 255), "\xc4\xff"
                              "a");
    FORM(yoke_bin(text, 256), "\xc5\x01\x00"
                              "a");
    FORM(yoke_bin(text, 65536), "\xc6\x00\x01\x00\x00"
                                "a");
    free(text);
}

static struct yoke_value ext(int8_t type, const char *data, size_t n)
{
    struct yoke_value value = yoke_bin(data, n);

    value.type = YOKE_EXT;
    value.ext_type = type;
    return value;
}

static void extensions_take_their_shortest_form(void **state)
{
    char *data = calloc(70000, 1);

    assert_non_null(data);
    FORM(ext(5, "a", 1), "\xd4\x05"
                         "a");
    FORM(ext(-1, "ab", 2), "\xd5\xff"
                           "ab");
    FORM(ext(5, "abcd", 4), "\xd6\x05"
                            "abcd");
    FORM(ext(5, data, 8), "\xd7\x05\x00");
    FORM(ext(5, data, 16), "\xd8\x05\x00");
    FORM(ext(5, "abc", 3), "\xc7\x03\x05"
                           "abc");
    FORM(ext(127, data, 0), "\xc7\x00\x7f");
    FORM(ext(-128, data, 256), "\xc8\x01\x00\x80");
    FORM(ext(5, data, 65536), "\xc9\x00\x01\x00\x00\x05");
    free(data);
}

static void containers_take_their_shortest_form(void **state)
{
    struct yoke_value *items = calloc(65536, sizeof *items);
    struct yoke_pair *pairs = calloc(65536, sizeof *pairs);

    assert_non_null(items);
    assert_non_null(pairs);
    for (size_t i = 0; i < 65536; i++)
        pairs[i].key = "k";
    FORM(yoke_array(NULL, 0), "\x90");
    FORM(yoke_array(items, 15), "\x9f\xc0");
    FORM(yoke_array(items, 16), "\xdc\x00\x10\xc0");
    FORM(yoke_array(items, 65536), "\xdd\x00\x01\x00\x00\xc0");
    FORM(yoke_map(NULL, 0), "\x80");
    FORM(yoke_map(pairs, 15), "\x8f\xa1k\xc0");
    FORM(yoke_map(pairs, 16), "\xde\x00\x10\xa1k\xc0");
    FORM(yoke_map(pairs, 65536), "\xdf\x00\x01\x00\x00\xa1k\xc0");
    free(items);
    free(pairs);
}

static void nested_values_come_back(void **state)
{
    struct yoke_value value =
        YOKE_MAP({"empty", yoke_array(NULL, 0)},
                 {"deep", YOKE_ARRAY(YOKE_MAP({"x", yoke_str("a\0b")}), YOKE_ARRAY(yoke_nil()))},
                 {"", yoke_bin("\xff\0", 2)});

    FORM(value, "\x83\xa5"
                "empty\x90\xa4"
                "deep\x92\x81\xa1x");
}

static void received_keys_end_in_nul(void **state)
{
    struct fixture *fixture = *state;
    struct yoke_value value;

    decode_bytes(fixture,
                 "\x82\xa3"
                 "abc\xc0\xd9\x02"
                 "de\x01",
                 11, &value);
    assert_string_equal(value.as.map.pairs[0].key, "abc");
    assert_string_equal(value.as.map.pairs[1].key, "de");
    assert_int_equal(value.as.map.pairs[1].value.as.integer, 1);
}

static void what_is_no_value_is_refused(void **state)
{
    BAD("", "value: ends inside a value, at byte 0");
    BAD("\xc1", "value: byte 0xc1 begins no value, at byte 1");
    BAD("\xc0\xc0", "value: 1 bytes behind it");
    BAD("\xcd\x01", "value: ends inside a value, at byte 1");
    BAD("\xcb\x01\x02\x03", "value: ends inside a value, at byte 1");
    BAD("\xa5"
        "abcd",
        "value: ends inside a value, at byte 1");
    BAD("\x92\xc0", "value: an array or map is longer than what is left, at byte 1");
    BAD("\x81\xa1k", "value: ends inside a value, at byte 2");
    BAD("\xd4\x05", "value: ends inside a value, at byte 2");
    BAD("\xc7\x02\x05"
        "a",
        "value: ends inside a value, at byte 3");
}

static void what_python_could_not_read_is_refused(void **state)
{
    BAD("\xa1\xff", "value: a str is not UTF-8, at byte 1");
    BAD("\x92\xc0\xa2\xc3(", "value: a str is not UTF-8, at byte 3");
    BAD("\x81\x01\x02", "value: a map key is not a str, at byte 2");
    BAD("\x81\xc4\x01k\xc0", "value: a map key is not a str, at byte 4");
    BAD("\x81\xa3"
        "a\0b\xc0",
        "value: a map key has a NUL byte inside, at byte 5");
}

/*
 * The counts claim far more than there is. Without an arena nothing can be allocated, so that a
 * reader that believed them would crash.
 */
static void counts_are_checked_before_memory_is_taken(void **state)
{
    static const char *const heads[] = {"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff",
                                        "\xdb\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff",
                                        "\xc9\xff\xff\xff\xff", "\xdf\x80\x00\x00\x00"};
    struct yk_reader reader;
    struct yoke_value value;

    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        char body[64] = {0};

        memcpy(body, heads[i], 5);
        yk_reader_init(&reader, NULL, body, sizeof body);
        assert_int_equal(yk_read_value(&reader, &value), -EBADMSG);
        assert_non_null(reader.fault);
    }
}

/* Each level claims half of the body; only one of the claims can be true. */
static void nested_counts_share_what_is_left(void **state)
{
    char body[200];

    for (size_t i = 0; i + 5 <= sizeof body; i += 5)
        memcpy(body + i, "\xdd\x00\x00\x00\x64", 5);
    assert_bad(*state, body, sizeof body,
               "value: an array or map is longer than what is left, at byte 10");
}

/* A value in so many arrays, as bytes. */
static size_t put_nested(char *body, size_t depth)
{
    memset(body, '\x91', depth);
    body[depth] = '\x2a';
    return depth + 1;
}

static void nesting_is_bounded_when_reading(void **state)
{
    char body[YK_VALUE_DEPTH_MAX + 2];
    struct yoke_value value;

    decode_bytes(*state, body, put_nested(body, YK_VALUE_DEPTH_MAX), &value);
    for (size_t i = 0; i < YK_VALUE_DEPTH_MAX; i++) {
        assert_int_equal(value.type, YOKE_ARRAY_VALUE);
        value = value.as.array.items[0];
    }
    assert_true(yoke_value_equal(value, yoke_int(42)));
    assert_bad(*state, body, put_nested(body, YK_VALUE_DEPTH_MAX + 1),
               "value: nested too deep, at byte 65");
}

static struct yoke_value nested(struct yoke_value *levels, size_t depth)
{
    levels[0] = yoke_int(42);
    for (size_t i = 1; i <= depth; i++)
        levels[i] = yoke_array(&levels[i - 1], 1);
    return levels[depth];
}

static void nesting_is_bounded_when_writing(void **state)
{
    struct fixture *fixture = *state;
    struct yoke_value levels[YK_VALUE_DEPTH_MAX + 2];
    char expected[YK_VALUE_DEPTH_MAX + 1];
    size_t n = put_nested(expected, YK_VALUE_DEPTH_MAX);

    assert_form(fixture, nested(levels, YK_VALUE_DEPTH_MAX), expected, n);
    encode(fixture, yoke_str("before"));
    assert_int_equal(yk_value_encode(&fixture->buffer, nested(levels, YK_VALUE_DEPTH_MAX + 1)),
                     -EINVAL);
    assert_int_equal(yk_buffer_size(&fixture->buffer), 7);
}

static void what_cannot_be_written_leaves_the_buffer(void **state)
{
    struct fixture *fixture = *state;
    static const char text[] = "x";
    struct yoke_value no_type = {.type = (enum yoke_value_type)42};

    encode(fixture, yoke_str("before"));
    assert_int_equal(yk_value_encode(&fixture->buffer, YOKE_ARRAY(yoke_int(1), no_type)), -EINVAL);
    assert_int_equal(yk_value_encode(&fixture->buffer, YOKE_ARRAY(yoke_int(1), yoke_str("\x80"))),
                     -EINVAL);
    assert_int_equal(yk_value_encode(&fixture->buffer, YOKE_MAP({"\xff", yoke_nil()})), -EINVAL);
    assert_int_equal(yk_value_encode(&fixture->buffer, yoke_bin(text, YK_FRAME_MAX + 1)),
                     -EMSGSIZE);
    assert_int_equal(yk_value_encode(&fixture->buffer, yoke_str_n(text, SIZE_MAX)), -EMSGSIZE);
    assert_int_equal(yk_value_encode(&fixture->buffer, yoke_array(&no_type, SIZE_MAX)), -EMSGSIZE);
    assert_int_equal(yk_buffer_size(&fixture->buffer), 7);
    assert_memory_equal(fixture->buffer.data + fixture->buffer.start,
                        "\xa6"
                        "before",
                        7);
    assert_null(yoke_in_flight());
}

static void assert_repaired(struct fixture *fixture, struct yoke_value value,
                            struct yoke_value expected)
{
    struct yk_packer packer;
    struct yoke_value back;

    yk_buffer_consume(&fixture->buffer, yk_buffer_size(&fixture->buffer));
    yk_packer_init(&packer, &fixture->buffer, true);
    yk_pack_value(&packer, &value);
    assert_int_equal(packer.rc, 0);
    decode_bytes(fixture, fixture->buffer.data + fixture->buffer.start,
                 yk_buffer_size(&fixture->buffer), &back);
    assert_true(yoke_value_equal(back, expected));
}

static void repair_mends_text(void **state)
{
    assert_repaired(*state, yoke_str("caf\xc3\xa9"), yoke_str("caf\xc3\xa9"));
    assert_repaired(*state, yoke_str("\xff"), yoke_str("\xef\xbf\xbd"));
    assert_repaired(*state,
                    yoke_str("a\xff"
                             "b\x80\x80 \xc3"),
                    yoke_str("a\xef\xbf\xbd"
                             "b\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd"));
    assert_repaired(*state, YOKE_MAP({"\xc3", yoke_int(1)}),
                    YOKE_MAP({"\xef\xbf\xbd", yoke_int(1)}));
}

static void repair_leaves_out_what_has_no_form(void **state)
{
    struct yoke_value levels[YK_VALUE_DEPTH_MAX + 2], expected[YK_VALUE_DEPTH_MAX + 1];
    struct yoke_value no_type = {.type = (enum yoke_value_type)42};

    assert_repaired(*state, YOKE_ARRAY(no_type, yoke_int(1)), YOKE_ARRAY(yoke_nil(), yoke_int(1)));
    nested(expected, YK_VALUE_DEPTH_MAX);
    expected[0] = yoke_nil();
    assert_repaired(*state, nested(levels, YK_VALUE_DEPTH_MAX + 1), expected[YK_VALUE_DEPTH_MAX]);
}

static void skipping_passes_one_value_and_changes_nothing(void **state)
{
    char body[] = "\x82\xa1k\x92\x01\xa1z\xa1m\xdc\x00\x01\x80\x07";
    char before[sizeof body];
    struct yk_reader reader;
    struct yoke_value value;

    (void)state;
    memcpy(before, body, sizeof body);
    yk_reader_init(&reader, NULL, body, sizeof body - 1);
    assert_int_equal(yk_skip_value(&reader), 0);
    assert_int_equal(reader.owed, 0);
    assert_memory_equal(body, before, sizeof body);
    assert_int_equal(yk_read_value(&reader, &value), 0);
    assert_true(yoke_value_equal(value, yoke_int(7)));
    assert_ptr_equal(reader.next, reader.end);
}

static void skipping_is_not_bounded_in_depth(void **state)
{
    size_t depth = 1 << 20;
    char *body = malloc(depth + 1);
    struct yk_reader reader;

    (void)state;
    assert_non_null(body);
    yk_reader_init(&reader, NULL, body, put_nested(body, depth));
    assert_int_equal(yk_skip_value(&reader), 0);
    assert_ptr_equal(reader.next, reader.end);
    free(body);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(numbers_take_their_shortest_form),
        TEST(floats_keep_their_width),
        TEST(long_forms_of_small_numbers_are_read),
        TEST(lengths_take_their_shortest_form),
        TEST(extensions_take_their_shortest_form),
        TEST(containers_take_their_shortest_form),
        TEST(nested_values_come_back),
        TEST(received_keys_end_in_nul),
        TEST(what_is_no_value_is_refused),
        TEST(what_python_could_not_read_is_refused),
        TEST(counts_are_checked_before_memory_is_taken),
        TEST(nested_counts_share_what_is_left),
        TEST(nesting_is_bounded_when_reading),
        TEST(nesting_is_bounded_when_writing),
        TEST(what_cannot_be_written_leaves_the_buffer),
        TEST(repair_mends_text),
        TEST(repair_leaves_out_what_has_no_form),
        TEST(skipping_passes_one_value_and_changes_nothing),
        TEST(skipping_is_not_bounded_in_depth),
    };

    return cmocka_run_group_tests_name("wire codec", tests, NULL, NULL);
}
