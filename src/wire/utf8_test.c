/* SPDX-License-Identifier: MIT */
/* UTF-8 validation, against a decoder that is written the plain way. */
#include "wire/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

/* Encodes a code point of up to 21 bits in `size` bytes, whether it belongs there or not. */
static void put(unsigned char *to, uint32_t point, unsigned size)
{
    static const unsigned char leads[] = {0, 0x00, 0xc0, 0xe0, 0xf0};

    for (unsigned i = size; i-- > 1; point >>= 6)
        to[i] = 0x80 | (point & 0x3f);
    to[0] = (unsigned char)(leads[size] | point);
}

static unsigned shortest(uint32_t point)
{
    return point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

static void exactly_the_shortest_forms_of_characters_are_valid(void **state)
{
    unsigned char bytes[4];

    (void)state;
    for (uint32_t point = 0; point < 0x200000; point++) {
        for (unsigned size = shortest(point); size <= 4; size++) {
            bool is_character = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
            bool valid = is_character && size == shortest(point);

            put(bytes, point, size);
            if (yk_utf8_valid((char *)bytes, size) != valid)
                fail_msg("U+%04X in %u bytes", (unsigned)point, size);
        }
    }
}

static void a_sequence_cut_short_is_not_valid(void **state)
{
    static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        for (size_t n = 1; n < strlen(characters[i]); n++) {
            char *exact = malloc(n); /* so that a read behind it is seen */

            assert_non_null(exact);
            memcpy(exact, characters[i], n);
            assert_int_equal(yk_utf8_prefix(exact, n), 0);
            free(exact);
        }
    }
}

static void each_later_byte_must_continue(void **state)
{
    static const char characters[][4] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

    (void)state;
    for (size_t size = 2; size <= 4; size++) {
        for (size_t at = 1; at < size; at++) {
            char changed[4];

            memcpy(changed, characters[size - 2], sizeof changed);
            changed[at] = '(';
            assert_int_equal(yk_utf8_prefix(changed, size), 0);
            changed[at] = '\xc3';
            assert_int_equal(yk_utf8_prefix(changed, size), 0);
        }
    }
}

static void the_prefix_ends_at_the_first_bad_byte(void **state)
{
    char text[40];

    (void)state;
    for (size_t bad = 0; bad < sizeof text; bad++) {
        memset(text, 'a', sizeof text);
        text[bad] = '\x80';
        assert_int_equal(yk_utf8_prefix(text, sizeof text), bad);
        text[bad] = '\xff';
        assert_int_equal(yk_utf8_prefix(text, sizeof text), bad);
    }
}

static void a_character_may_stand_anywhere(void **state)
{
    char text[40];

    (void)state;
    for (size_t at = 0; at + 4 <= sizeof text; at++) {
        memset(text, '\0', sizeof text);
        memcpy(text + at, "\xf0\x9f\x98\x80", 4);
        assert_true(yk_utf8_valid(text, sizeof text));
    }
}

static void nothing_is_valid(void **state)
{
    (void)state;
    assert_true(yk_utf8_valid(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exactly_the_shortest_forms_of_characters_are_valid),
        cmocka_unit_test(a_sequence_cut_short_is_not_valid),
        cmocka_unit_test(each_later_byte_must_continue),
        cmocka_unit_test(the_prefix_ends_at_the_first_bad_byte),
        cmocka_unit_test(a_character_may_stand_anywhere),
        cmocka_unit_test(nothing_is_valid),
    };

    return cmocka_run_group_tests_name("wire UTF-8", tests, NULL, NULL);
}
