/* SPDX-License-Identifier: MIT */
/* Formatting of messages: what is too long is cut between characters, and says so. */
#include "error/test_support.h"

YOKE_PRINTF(3, 4) static size_t format_in(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    size_t n;

    va_start(arguments, format);
    n = yk_format(text, size, format, arguments);
    va_end(arguments);
    return n;
}

static void no_format_is_no_text(void **state)
{
    const char *none = NULL;
    char text[8] = "before";

    (void)state;
    assert_int_equal(format_in(text, sizeof text, none, 0), 0);
    assert_string_equal(text, "");
}

static void text_that_fits_to_the_last_byte_is_whole(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(format_in(text, sizeof text, "1234567"), 7);
    assert_string_equal(text, "1234567");
    assert_int_equal(format_in(text, sizeof text, "%s", "1234567"), 7);
    assert_string_equal(text, "1234567");
    assert_int_equal(format_in(text, sizeof text, "%07d", 1234567), 7);
    assert_string_equal(text, "1234567");
}

static void longer_text_is_cut_and_ends_in_dots(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(format_in(text, sizeof text, "12345678"), 7);
    assert_string_equal(text, "1234...");
    assert_int_equal(format_in(text, sizeof text, "%s%s", "123456", "78"), 7);
    assert_string_equal(text, "1234...");
    assert_int_equal(format_in(text, sizeof text, "123456%d", 78), 7);
    assert_string_equal(text, "1234...");
    assert_int_equal(format_in(text, sizeof text, "%08d", 12345678), 7);
    assert_string_equal(text, "1234...");
    assert_int_equal(format_in(text, sizeof text, "%s%08d", "12", 34567), 7);
    assert_string_equal(text, "1200...");
}

/* e with acute is c3 a9, the euro sign e2 82 ac, an emoji f0 9f 98 80. */
static void text_is_cut_between_characters(void **state)
{
    char text[8];

    (void)state;
    assert_int_equal(format_in(text, sizeof text,
                               "123\xc3\xa9"
                               "5678"),
                     6);
    assert_string_equal(text, "123...");
    assert_int_equal(format_in(text, sizeof text,
                               "12\xc3\xa9"
                               "5678"),
                     7);
    assert_string_equal(text, "12\xc3\xa9...");
    assert_int_equal(format_in(text, sizeof text, "%s",
                               "12\xe2\x82\xac"
                               "5678"),
                     5);
    assert_string_equal(text, "12...");
    assert_int_equal(format_in(text, sizeof text,
                               "1\xf0\x9f\x98\x80"
                               "5678"),
                     4);
    assert_string_equal(text, "1...");
}

static void bytes_that_are_no_characters_are_cut_anywhere(void **state)
{
    char text[8];

    (void)state;
    assert_true(format_in(text, sizeof text, "%s", "\x80\x80\x80\x80\x80\x80\x80\x80\x80") <= 7);
    assert_string_equal(text + strlen(text) - 3, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_format_is_no_text),
        cmocka_unit_test(text_that_fits_to_the_last_byte_is_whole),
        cmocka_unit_test(longer_text_is_cut_and_ends_in_dots),
        cmocka_unit_test(text_is_cut_between_characters),
        cmocka_unit_test(bytes_that_are_no_characters_are_cut_anywhere),
    };

    return cmocka_run_group_tests_name("formatting of messages", tests, NULL, NULL);
}
