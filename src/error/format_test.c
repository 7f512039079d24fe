/* SPDX-License-Identifier: MIT */
/* Formatting of messages: to the letter as vsnprintf, and what is too long is cut and says so. */
#include "error/test_support.h"

#include <inttypes.h>
#include <limits.h>

#include "base/random.h"

YOKE_PRINTF(3, 4) static size_t format_in(char *text, size_t size, const char *format, ...)
{
    va_list arguments;
    size_t n;

    va_start(arguments, format);
    n = yk_format(text, size, format, arguments);
    va_end(arguments);
    return n;
}

/* Formats by both and compares; the buffer is large enough for all that is tried here. */
#define assert_formats(...)                                                                        \
    do {                                                                                           \
        char mine[512];                                                                            \
        char theirs[512];                                                                          \
        size_t n = format_in(mine, sizeof mine, __VA_ARGS__);                                      \
                                                                                                   \
        assert_int_equal(snprintf(theirs, sizeof theirs, __VA_ARGS__), n);                         \
        assert_string_equal(mine, theirs);                                                         \
    } while (0)

static void plain_directives_are_written_as_by_printf(void **state)
{
    (void)state;
    assert_formats("no directive at all");
    assert_formats("%s", "");
    assert_formats("%s and %s", "one", "two");
    assert_formats("%d %i %u", -1, 0, 1u);
    assert_formats("%d %d %u", INT_MAX, INT_MIN, UINT_MAX);
    assert_formats("%ld %ld %lu", LONG_MAX, LONG_MIN, ULONG_MAX);
    assert_formats("%lld %lld %llu", LLONG_MAX, LLONG_MIN, ULLONG_MAX);
    assert_formats("%zu %zd", SIZE_MAX, (ssize_t)-7);
    assert_formats("%d%d%s%d", 10, 100, "x", 99);
}

static void other_directives_are_too(void **state)
{
    const char *nothing = NULL;

    (void)state;
    assert_formats("100%%");
    assert_formats("%d of 100%% in %s", 5, "five");
    assert_formats("%5d|%-5d|%05d|%+d", 1, 2, 3, 4);
    assert_formats("%.3s|%10s|%-10s|", "abcdef", "right", "left");
    assert_formats("%*d %.*s", 6, 42, 2, "abc");
    assert_formats("%x %#X %o", 255u, 255u, 8u);
    assert_formats("%c%c", 'a', 'b');
    assert_formats("%.3f %g %e", 1.0 / 3, 1e9, 12.5);
    assert_formats("%p", (void *)&nothing);
    assert_formats("%hd %hhu", (short)-3, (unsigned char)200);
    assert_formats("%" PRId64 " %" PRIu64 " %jd", INT64_MIN, UINT64_MAX, (intmax_t)-5);
    assert_formats("%s", nothing);
    assert_formats("%s first, then %5.1f, then %s", "plain", 2.5, "plain");
    assert_formats("%ls", L"wide");
}

static void numbers_are_written_as_by_printf(void **state)
{
    struct yk_random random;

    (void)state;
    yk_random_seed(&random, 1);
    for (int i = 0; i < 2000; i++) {
        uint64_t number = yk_random_next(&random) >> (yk_random_next(&random) % 64);

        assert_formats("%d %u %ld %lu %lld %zu", (int)number, (unsigned)number, (long)number,
                       (unsigned long)number, -(long long)(number >> 1), (size_t)number);
    }
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
        cmocka_unit_test(plain_directives_are_written_as_by_printf),
        cmocka_unit_test(other_directives_are_too),
        cmocka_unit_test(numbers_are_written_as_by_printf),
        cmocka_unit_test(no_format_is_no_text),
        cmocka_unit_test(text_that_fits_to_the_last_byte_is_whole),
        cmocka_unit_test(longer_text_is_cut_and_ends_in_dots),
        cmocka_unit_test(text_is_cut_between_characters),
        cmocka_unit_test(bytes_that_are_no_characters_are_cut_anywhere),
    };

    return cmocka_run_group_tests_name("formatting of messages", tests, NULL, NULL);
}
