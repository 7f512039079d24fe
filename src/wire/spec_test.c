/* SPDX-License-Identifier: MIT */
/* Payload specs: what a text says, what it refuses, and what it says of a value that it refuses. */
#include "wire/spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/memory.h"

/* What is wrong with the value; "" if nothing is. With a text that can't be parsed: its fault. */
static const char *fault_of(const char *text, struct yoke_value value)
{
    static char fault[YK_SPEC_FAULT_SIZE];
    const struct yk_spec *spec;
    struct yk_arena arena;

    yk_arena_init(&arena);
    fault[0] = '\0';
    spec = yk_spec_parse(&arena, text, strlen(text), fault);
    if (spec != NULL)
        (void)yk_spec_check(spec, value, "value", fault);
    yk_arena_fini(&arena);
    return fault;
}

#define FITS(text, value)            assert_string_equal(fault_of((text), (value)), "")
#define FAULT(text, value, expected) assert_string_equal(fault_of((text), (value)), (expected))
#define BAD(text, expected)          FAULT((text), yoke_nil(), (expected))

static void each_type_takes_its_own_values_and_no_others(void **state)
{
    static const char *const names[] = {"nil", "bool", "int", "str", "bytes", "[any]", "{*: any}"};
    struct yoke_value values[] = {
        yoke_nil(),       yoke_bool(true),     yoke_int(1),       yoke_str("x"),
        yoke_bin("x", 1), yoke_array(NULL, 0), yoke_map(NULL, 0),
    };

    (void)state;
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 7; j++)
            if (i == j)
                FITS(names[i], values[j]);
            else
                assert_string_not_equal(fault_of(names[i], values[j]), "");
    for (size_t j = 0; j < 7; j++)
        FITS("any", values[j]);
    FITS("int", yoke_uint(UINT64_MAX));
    FITS("float", yoke_float(1.5));
    FITS("float", yoke_int(2));
    FAULT("int", yoke_float(1.5), "value: expected int, found float");
    FITS("ext", ((struct yoke_value){.type = YOKE_EXT, .ext_type = 3}));
}

static void or_takes_either_and_says_both(void **state)
{
    (void)state;
    FITS("int or nil", yoke_nil());
    FITS(" int  or nil ", yoke_int(1));
    FITS("[int] or {a: str} or nil", YOKE_ARRAY(yoke_int(1)));
    FITS("[int] or {a: str} or nil", YOKE_MAP({"a", yoke_str("x")}));
    FAULT("int or nil", yoke_str("x"), "value: expected int or nil, found str");
}

static void a_fault_says_where_in_the_value_it_is(void **state)
{
    (void)state;
    FAULT("{files: [{name: str, size?: int}]}",
          YOKE_MAP(
              {"files", YOKE_ARRAY(YOKE_MAP({"name", yoke_str("a")}),
                                   YOKE_MAP({"name", yoke_str("b")}, {"size", yoke_str("big")}))}),
          "value.files[1].size: expected int, found str");
    FAULT("[[int]]", YOKE_ARRAY(YOKE_ARRAY(yoke_int(1)), YOKE_ARRAY(yoke_int(1), yoke_nil())),
          "value[1][1]: expected int, found nil");
}

static void keys_are_there_may_be_missing_or_are_not_known(void **state)
{
    (void)state;
    FITS("{a: int, b?: int}", YOKE_MAP({"a", yoke_int(1)}));
    FITS("{a: int, b?: int}", YOKE_MAP({"b", yoke_int(2)}, {"a", yoke_int(1)}));
    FAULT("{a: int, b?: int}", YOKE_MAP({"b", yoke_int(1)}),
          "value.a: expected int, found nothing");
    FAULT("{a: int}", YOKE_MAP({"a", yoke_int(1)}, {"c", yoke_str("x")}),
          "value.c: expected no such key, found str");
    FAULT("{}", YOKE_MAP({"c", yoke_nil()}), "value.c: expected no such key, found nil");
    FITS("{}", yoke_map(NULL, 0));
    FITS("{a: int, *: str}", YOKE_MAP({"a", yoke_int(1)}, {"c", yoke_str("x")}));
    FAULT("{a: int, *: str}", YOKE_MAP({"a", yoke_int(1)}, {"c", yoke_int(1)}),
          "value.c: expected str, found int");
    FITS("{'a key': int, x-y.z: nil}", YOKE_MAP({"a key", yoke_int(1)}, {"x-y.z", yoke_nil()}));
}

static void a_long_path_or_type_is_cut(void **state)
{
    char text[400], fault[YK_SPEC_FAULT_SIZE];

    (void)state;
    memset(text, 'k', sizeof text);
    text[sizeof text - 1] = '\0';
    snprintf(fault, sizeof fault, "%s", fault_of("{*: int}", YOKE_MAP({text, yoke_nil()})));
    assert_non_null(strstr(fault, ": expected int, found nil"));
    memcpy(text, "{", 1);
    memcpy(text + sizeof text - 7, ": int}", 7);
    assert_non_null(strstr(fault_of(text, yoke_nil()), "..., found nil"));
}

static void a_text_that_is_none_is_refused_and_says_where(void **state)
{
    (void)state;
    BAD("", "at 1: expected a type, found the end");
    BAD("strr", "at 1: expected a type, found \"strr\"");
    BAD("int or", "at 7: expected a type, found the end");
    BAD("int nil", "at 5: expected \"or\" or the end, found \"nil\"");
    BAD("[int", "at 5: expected \"]\", found the end");
    BAD("{a int}", "at 4: expected \":\", found \"int\"");
    BAD("{a: int b: int}", "at 9: expected \",\" or \"}\", found \"b\"");
    BAD("{a: int, a: int}", "at 11: the key \"a\" is there twice");
    BAD("{: int}", "at 2: expected a key or *, found \":\"");
    BAD("{'a: int}", "at 3: expected a key or *, found \"a\"");
    BAD("[int] or [str]", "at 11: expected one array at most, found \"str\"");
    BAD("{} or {}", "at 8: expected one map at most, found \"}\"");
}

static void nesting_is_bounded(void **state)
{
    char text[200] = "";

    (void)state;
    for (int i = 0; i < 90; i++)
        strcat(text, "[");
    BAD(text, "nested deeper than 32");
}

static void without_memory_a_text_is_not_parsed(void **state)
{
    char text[30000] = "{", *at = text + 1;

    (void)state;
    for (int i = 0; i < 1000; i++)
        at += sprintf(at, "k%d: int, '%d'?: [str],", i, i);
    strcpy(at, "*: nil}");
    for (unsigned n = 1;; n++) {
        char fault[YK_SPEC_FAULT_SIZE];
        const struct yk_spec *spec;
        struct yk_arena arena;

        yk_arena_init(&arena);
        yk_memory_fail_at(n, false);
        spec = yk_spec_parse(&arena, text, strlen(text), fault);
        if (yk_memory_fail_at(0, false) > 0) {
            assert_non_null(spec);
            assert_true(n > 3);
            yk_arena_fini(&arena);
            return;
        }
        assert_null(spec);
        yk_arena_fini(&arena);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_type_takes_its_own_values_and_no_others),
        cmocka_unit_test(or_takes_either_and_says_both),
        cmocka_unit_test(a_fault_says_where_in_the_value_it_is),
        cmocka_unit_test(keys_are_there_may_be_missing_or_are_not_known),
        cmocka_unit_test(a_long_path_or_type_is_cut),
        cmocka_unit_test(a_text_that_is_none_is_refused_and_says_where),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(without_memory_a_text_is_not_parsed),
    };

    return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}
