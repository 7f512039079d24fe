/* SPDX-License-Identifier: MIT */
/* Values: lookup, typed reading, equality, copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <yoke/error.h>
#include <yoke/value.h>

#include "base/limits.h"

static void assert_refused(int rc, const char *message)
{
    assert_int_equal(rc, -EBADMSG);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.BadValue");
    assert_int_equal(yoke_error_code(yoke_in_flight()), -EBADMSG);
    assert_string_equal(yoke_error_message(yoke_in_flight()), message);
    yoke_clear();
}

static void get_finds_a_key(void **state)
{
    struct yoke_value map = YOKE_MAP({"item", yoke_str("tea")}, {"n", yoke_int(2)});

    (void)state;
    assert_true(yoke_value_equal(yoke_value_get(map, "n"), yoke_int(2)));
    assert_true(yoke_value_equal(yoke_value_get(map, "item"), yoke_str("tea")));
}

static void get_gives_nil_for_what_is_not_there(void **state)
{
    struct yoke_value map = YOKE_MAP({"item", yoke_str("tea")});

    (void)state;
    assert_int_equal(yoke_value_get(map, "ite").type, YOKE_NIL);
    assert_int_equal(yoke_value_get(yoke_nil(), "item").type, YOKE_NIL);
    assert_int_equal(yoke_value_get(yoke_str("item"), "item").type, YOKE_NIL);
}

static void an_int_is_read(void **state)
{
    int64_t n = 0;

    (void)state;
    assert_int_equal(yoke_value_int(yoke_int(INT64_MIN), "n", &n), 0);
    assert_true(n == INT64_MIN);
    assert_int_equal(yoke_value_int(yoke_uint(7), "n", &n), 0);
    assert_int_equal(n, 7);
}

static void a_refused_value_leaves_the_output(void **state)
{
    int64_t n = 5;
    bool flag = true;
    double number = 0.5;
    const char *text = "as it was";
    const void *bytes = text;
    size_t size = 9;

    (void)state;
    assert_refused(yoke_value_int(yoke_str("7"), "n", &n),
                   "argument \"n\": expected an int, got a string");
    assert_refused(yoke_value_int(yoke_uint(UINT64_MAX), "n", &n),
                   "argument \"n\": expected an int up to 2^63 - 1, got 18446744073709551615");
    assert_refused(yoke_value_bool(yoke_int(0), "on", &flag),
                   "argument \"on\": expected a bool, got an int");
    assert_refused(yoke_value_float(yoke_bool(false), "x", &number),
                   "argument \"x\": expected a float, got a bool");
    assert_refused(yoke_value_str(yoke_int(3), "path", &text, &size),
                   "argument \"path\": expected a string, got an int");
    assert_refused(yoke_value_bin(yoke_nil(), "blob", &bytes, &size),
                   "argument \"blob\": expected bytes, got nothing");
    assert_int_equal(n, 5);
    assert_true(flag && number == 0.5 && bytes == text && size == 9);
}

static void each_type_has_a_name_for_people(void **state)
{
    static const struct yoke_value one_nil;
    bool flag;

    (void)state;
    assert_refused(yoke_value_bool(yoke_float(1), "x", &flag),
                   "argument \"x\": expected a bool, got a float");
    assert_refused(yoke_value_bool(yoke_bin("", 0), "x", &flag),
                   "argument \"x\": expected a bool, got bytes");
    assert_refused(yoke_value_bool(yoke_array(&one_nil, 1), "x", &flag),
                   "argument \"x\": expected a bool, got an array");
    assert_refused(yoke_value_bool(yoke_map(NULL, 0), "x", &flag),
                   "argument \"x\": expected a bool, got a map");
    assert_refused(yoke_value_bool((struct yoke_value){.type = YOKE_EXT}, "x", &flag),
                   "argument \"x\": expected a bool, got an extension");
    assert_refused(yoke_value_bool((struct yoke_value){.type = (enum yoke_value_type)99}, "x",
                                   &flag),
                   "argument \"x\": expected a bool, got no type");
}

static void a_bool_is_read(void **state)
{
    bool flag = false;

    (void)state;
    assert_int_equal(yoke_value_bool(yoke_bool(true), "on", &flag), 0);
    assert_true(flag);
}

static void a_float_is_read_from_any_number(void **state)
{
    double number = 0;

    (void)state;
    assert_int_equal(yoke_value_float(yoke_float(-2.5), "x", &number), 0);
    assert_true(number == -2.5);
    assert_int_equal(yoke_value_float(yoke_int(-3), "x", &number), 0);
    assert_true(number == -3.0);
    assert_int_equal(yoke_value_float(yoke_uint(UINT64_C(1) << 63), "x", &number), 0);
    assert_true(number == 9223372036854775808.0);
}

static void strings_and_bytes_are_borrowed(void **state)
{
    static const char text[] = "a\0b";
    const char *data = NULL;
    const void *bytes = NULL;
    size_t size = 0;

    (void)state;
    assert_int_equal(yoke_value_str(yoke_str_n(text, 3), "s", &data, &size), 0);
    assert_ptr_equal(data, text);
    assert_int_equal(size, 3);
    assert_int_equal(yoke_value_bin(yoke_bin(text, 2), "b", &bytes, &size), 0);
    assert_ptr_equal(bytes, text);
    assert_int_equal(size, 2);
}

static void text_is_copied_with_a_nul_behind(void **state)
{
    char buffer[4] = "xxx";

    (void)state;
    assert_int_equal(yoke_value_text(yoke_str("abc"), "s", buffer, sizeof buffer), 0);
    assert_string_equal(buffer, "abc");
    assert_int_equal(yoke_value_text(yoke_bin("\xff\n", 2), "b", buffer, sizeof buffer), 0);
    assert_string_equal(buffer, "\xff\n");
    assert_int_equal(yoke_value_text(yoke_bin(NULL, 0), "b", buffer, sizeof buffer), 0);
    assert_string_equal(buffer, "");
}

static void what_is_no_text_of_that_size_is_refused_as_text(void **state)
{
    char buffer[4] = "old";

    (void)state;
    assert_refused(yoke_value_text(yoke_str("abcd"), "s", buffer, sizeof buffer),
                   "argument \"s\": 4 bytes of text, at most 3 are accepted");
    assert_refused(yoke_value_text(yoke_str(""), "s", buffer, 0),
                   "argument \"s\": 0 bytes of text, at most 0 are accepted");
    assert_refused(yoke_value_text(yoke_bin("a\0b", 3), "s", buffer, sizeof buffer),
                   "argument \"s\": text with a NUL in it");
    assert_refused(yoke_value_text(yoke_int(7), "s", buffer, sizeof buffer),
                   "argument \"s\": expected a string or bytes, got an int");
    assert_string_equal(buffer, "old");
}

static void values_of_different_types_differ(void **state)
{
    const struct yoke_value values[] = {
        yoke_nil(),        yoke_bool(false),   yoke_int(0),     yoke_uint(UINT64_MAX),
        yoke_float(0),     yoke_str(""),       yoke_bin("", 0), yoke_array(NULL, 0),
        yoke_map(NULL, 0), {.type = YOKE_EXT},
    };
    size_t n = sizeof values / sizeof *values;

    (void)state;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            assert_int_equal(yoke_value_equal(values[i], values[j]), i == j);
}

static void scalars_are_equal_by_value(void **state)
{
    (void)state;
    assert_false(yoke_value_equal(yoke_bool(true), yoke_bool(false)));
    assert_false(yoke_value_equal(yoke_int(1), yoke_int(2)));
    assert_false(yoke_value_equal(yoke_uint(UINT64_MAX), yoke_uint(UINT64_MAX - 1)));
    assert_true(yoke_value_equal(yoke_float(0.0), yoke_float(-0.0)));
    assert_true(yoke_value_equal(yoke_float(NAN), yoke_float(NAN)));
    assert_false(yoke_value_equal(yoke_float(NAN), yoke_float(1)));
    assert_false(yoke_value_equal(yoke_str("ab"), yoke_str("ac")));
    assert_false(yoke_value_equal(yoke_str("ab"), yoke_str("abc")));
    assert_false(yoke_value_equal((struct yoke_value){.type = YOKE_EXT, .ext_type = 1},
                                  (struct yoke_value){.type = YOKE_EXT, .ext_type = 2}));
}

static void containers_are_equal_by_content_in_order(void **state)
{
    struct yoke_value xs = YOKE_ARRAY(yoke_int(1), yoke_int(2));
    struct yoke_value ab = YOKE_MAP({"a", xs}, {"b", yoke_nil()});

    (void)state;
    assert_true(yoke_value_equal(xs, YOKE_ARRAY(yoke_int(1), yoke_int(2))));
    assert_false(yoke_value_equal(xs, YOKE_ARRAY(yoke_int(2), yoke_int(1))));
    assert_false(yoke_value_equal(xs, YOKE_ARRAY(yoke_int(1))));
    assert_true(yoke_value_equal(ab, YOKE_MAP({"a", xs}, {"b", yoke_nil()})));
    assert_false(yoke_value_equal(ab, YOKE_MAP({"b", yoke_nil()}, {"a", xs})));
    assert_false(yoke_value_equal(ab, YOKE_MAP({"a", xs})));
    assert_false(yoke_value_equal(ab, YOKE_MAP({"a", xs}, {"c", yoke_nil()})));
    assert_false(yoke_value_equal(ab, YOKE_MAP({"a", xs}, {"b", yoke_int(0)})));
}

static void a_copy_is_equal_and_its_own(void **state)
{
    char text[] = "text", key[] = "key", bytes[] = {1, 0, 2};
    struct yoke_value items[] = {yoke_str(text), yoke_int(1), yoke_bin(bytes, 3)};
    struct yoke_pair pairs[] = {{key, yoke_array(items, 3)}, {"", yoke_float(0.5)}};
    struct yoke_value *copy = yoke_value_copy(yoke_map(pairs, 2));
    struct yoke_value expected =
        YOKE_MAP({"key", YOKE_ARRAY(yoke_str("text"), yoke_int(1), yoke_bin("\1\0\2", 3))},
                 {"", yoke_float(0.5)});

    (void)state;
    assert_non_null(copy);
    text[0] = key[0] = bytes[0] = 'X';
    items[1] = yoke_nil();
    pairs[1].value = yoke_nil();
    assert_true(yoke_value_equal(*copy, expected));
    yoke_value_free(copy);
}

static void a_copy_keeps_what_equality_does_not_ask(void **state)
{
    struct yoke_value single = yoke_float(0.5), *copy;

    (void)state;
    single.single = true;
    copy = yoke_value_copy(single);
    assert_non_null(copy);
    assert_true(copy->single);
    yoke_value_free(copy);
}

static void scalars_and_empty_containers_are_copied(void **state)
{
    const struct yoke_value values[] = {
        yoke_nil(),        yoke_bool(true),
        yoke_int(-1),      yoke_uint(UINT64_MAX),
        yoke_float(1.5),   yoke_str(""),
        yoke_bin("", 0),   yoke_array(NULL, 0),
        yoke_map(NULL, 0), {.type = YOKE_EXT, .ext_type = -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct yoke_value *copy = yoke_value_copy(values[i]);

        assert_non_null(copy);
        assert_true(yoke_value_equal(*copy, values[i]));
        yoke_value_free(copy);
    }
}

static void freeing_nothing_is_fine(void **state)
{
    (void)state;
    yoke_value_free(NULL);
}

/* Not measured item by item: the size is refused before anything is read behind the pointer. */
static void a_size_that_cannot_be_is_no_copy(void **state)
{
    static const char text[] = "x";

    (void)state;
    assert_null(yoke_value_copy(
        YOKE_ARRAY(yoke_str_n(text, SIZE_MAX - 8), yoke_str_n(text, SIZE_MAX - 8))));
}

static void the_deepest_value_is_copied_and_compared(void **state)
{
    struct yoke_value levels[YK_VALUE_DEPTH_MAX + 1], *copy;

    (void)state;
    levels[0] = yoke_str("core");
    for (int i = 1; i <= YK_VALUE_DEPTH_MAX; i++)
        levels[i] = yoke_array(&levels[i - 1], 1);
    copy = yoke_value_copy(levels[YK_VALUE_DEPTH_MAX]);
    assert_non_null(copy);
    assert_true(yoke_value_equal(*copy, levels[YK_VALUE_DEPTH_MAX]));
    yoke_value_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(get_finds_a_key),
        cmocka_unit_test(get_gives_nil_for_what_is_not_there),
        cmocka_unit_test(an_int_is_read),
        cmocka_unit_test(a_refused_value_leaves_the_output),
        cmocka_unit_test(each_type_has_a_name_for_people),
        cmocka_unit_test(a_bool_is_read),
        cmocka_unit_test(a_float_is_read_from_any_number),
        cmocka_unit_test(strings_and_bytes_are_borrowed),
        cmocka_unit_test(text_is_copied_with_a_nul_behind),
        cmocka_unit_test(what_is_no_text_of_that_size_is_refused_as_text),
        cmocka_unit_test(values_of_different_types_differ),
        cmocka_unit_test(scalars_are_equal_by_value),
        cmocka_unit_test(containers_are_equal_by_content_in_order),
        cmocka_unit_test(a_copy_is_equal_and_its_own),
        cmocka_unit_test(a_copy_keeps_what_equality_does_not_ask),
        cmocka_unit_test(scalars_and_empty_containers_are_copied),
        cmocka_unit_test(freeing_nothing_is_fine),
        cmocka_unit_test(a_size_that_cannot_be_is_no_copy),
        cmocka_unit_test(the_deepest_value_is_copied_and_compared),
    };

    return cmocka_run_group_tests_name("wire values", tests, NULL, NULL);
}
