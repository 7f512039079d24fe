/* SPDX-License-Identifier: MIT */
/*
 * Every allocation of the layer fails once: the caller is told so, and what it held is as before.
 * Each test runs its operation until it comes through without a failure.
 */
#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>

#include "wire/message.h"
#include "wire/value.h"

enum { TEXT_SIZE = 300000 }; /* larger than what buffers and arenas take at first, several times */

static struct yoke_pair pairs[2];
static struct yoke_value items[600];

static int set_up(void **state)
{
    char *text = malloc(TEXT_SIZE);

    if (text == NULL)
        return -1;
    memset(text, 'a', TEXT_SIZE);
    for (size_t i = 0; i < sizeof items / sizeof *items; i++)
        items[i] = yoke_int((int64_t)i);
    pairs[0] = (struct yoke_pair){"text", yoke_str_n(text, TEXT_SIZE)};
    pairs[1] = (struct yoke_pair){"items", yoke_array(items, sizeof items / sizeof *items)};
    *state = text;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void assert_no_memory(int rc)
{
    assert_int_equal(rc, -ENOMEM);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.OutOfMemory");
    yoke_clear();
}

static void a_failed_encoding_leaves_the_buffer(void **state)
{
    struct yk_message message = {.type = YK_YIELD, .as.payload = {"c1", yoke_map(pairs, 2)}};
    unsigned failures = 0;
    int rc = -1;

    (void)state;
    for (unsigned n = 1; rc < 0; n++) {
        struct yk_buffer buffer;

        yk_buffer_init(&buffer);
        assert_int_equal(yk_buffer_append(&buffer, "before", 6), 0);
        yk_memory_fail_at(n, false);
        rc = yk_message_encode(&buffer, &message, true);
        yk_memory_fail_at(0, false);
        if (rc < 0) {
            failures++;
            assert_no_memory(rc);
            assert_int_equal(yk_buffer_size(&buffer), 6);
        }
        assert_memory_equal(buffer.data + buffer.start, "before", 6);
        yk_buffer_fini(&buffer);
    }
    assert_true(failures >= 1);
}

static void an_empty_buffer_may_get_no_memory(void **state)
{
    struct yk_message message = {.type = YK_STOP, .as.stop.cid = "c1"};
    struct yk_buffer buffer;
    int rc;

    (void)state;
    yk_buffer_init(&buffer);
    yk_memory_fail_at(1, false);
    rc = yk_message_encode(&buffer, &message, true);
    assert_no_memory(rc);
    assert_int_equal(yk_buffer_size(&buffer), 0);
    assert_int_equal(yk_message_encode(&buffer, &message, true), 0);
    yk_buffer_fini(&buffer);
}

static void a_failed_decoding_leaves_the_message(void **state)
{
    struct yk_message message = {.type = YK_YIELD, .as.payload = {"c1", yoke_map(pairs, 2)}};
    struct yk_buffer buffer;
    const unsigned char *body;
    size_t size;
    unsigned failures = 0;
    int rc = -1;

    (void)state;
    yk_buffer_init(&buffer);
    assert_int_equal(yk_message_encode(&buffer, &message, true), 0);
    assert_int_equal(yk_frame_next(&buffer, &body, &size), 1);
    for (unsigned n = 1; rc < 0; n++) {
        struct yk_message back = {.type = YK_CREDIT};
        struct yk_arena arena;

        yk_arena_init(&arena);
        yk_memory_fail_at(n, false);
        rc = yk_message_decode(&arena, body, size, &back);
        yk_memory_fail_at(0, false);
        if (rc < 0) {
            failures++;
            assert_no_memory(rc);
            assert_int_equal(back.type, YK_CREDIT);
        } else {
            assert_true(yoke_value_equal(back.as.payload.pld, message.as.payload.pld));
        }
        yk_arena_fini(&arena);
    }
    assert_true(failures >= 2);
    yk_buffer_fini(&buffer);
}

static void a_failed_value_leaves_the_output(void **state)
{
    struct yk_buffer buffer;
    unsigned failures = 0;
    int rc = -1;

    (void)state;
    yk_buffer_init(&buffer);
    assert_int_equal(yk_value_encode(&buffer, yoke_map(pairs, 2)), 0);
    for (unsigned n = 1; rc < 0; n++) {
        struct yoke_value back = yoke_int(77);
        struct yk_arena arena;

        yk_arena_init(&arena);
        yk_memory_fail_at(n, false);
        rc = yk_value_decode(&arena, buffer.data + buffer.start, yk_buffer_size(&buffer), &back);
        yk_memory_fail_at(0, false);
        if (rc < 0) {
            failures++;
            assert_no_memory(rc);
            assert_true(yoke_value_equal(back, yoke_int(77)));
        }
        yk_arena_fini(&arena);
    }
    assert_true(failures >= 2);
    yk_buffer_fini(&buffer);
}

static void a_failed_copy_is_null_and_raises_nothing(void **state)
{
    (void)state;
    yk_memory_fail_at(1, false);
    assert_null(yoke_value_copy(yoke_map(pairs, 2)));
    assert_null(yoke_in_flight());
}

static void a_failed_reservation_keeps_the_bytes(void **state)
{
    struct yk_buffer buffer;

    (void)state;
    yk_buffer_init(&buffer);
    assert_int_equal(yk_buffer_append(&buffer, "before", 6), 0);
    yk_memory_fail_at(1, false);
    assert_int_equal(yk_buffer_reserve(&buffer, 1 << 20), -ENOMEM);
    assert_null(yoke_in_flight());
    assert_int_equal(yk_buffer_size(&buffer), 6);
    assert_memory_equal(buffer.data + buffer.start, "before", 6);
    yk_buffer_fini(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_encoding_leaves_the_buffer),
        cmocka_unit_test(an_empty_buffer_may_get_no_memory),
        cmocka_unit_test(a_failed_decoding_leaves_the_message),
        cmocka_unit_test(a_failed_value_leaves_the_output),
        cmocka_unit_test(a_failed_copy_is_null_and_raises_nothing),
        cmocka_unit_test(a_failed_reservation_keeps_the_bytes),
    };

    return cmocka_run_group_tests_name("wire memory", tests, set_up, tear_down);
}
