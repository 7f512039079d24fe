/* SPDX-License-Identifier: MIT */
/* The byte buffer and the framing. */
#include "wire/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/error.h>

#include "base/limits.h"

static int set_up(void **state)
{
    static struct yk_buffer buffer;

    yk_buffer_init(&buffer);
    *state = &buffer;
    return 0;
}

static int tear_down(void **state)
{
    yk_buffer_fini(*state);
    return 0;
}

static void append(struct yk_buffer *buffer, const char *text)
{
    assert_int_equal(yk_buffer_append(buffer, text, strlen(text)), 0);
}

static void assert_content(const struct yk_buffer *buffer, const char *text)
{
    assert_int_equal(yk_buffer_size(buffer), strlen(text));
    assert_memory_equal(buffer->data + buffer->start, text, strlen(text));
}

static void bytes_come_out_as_they_went_in(void **state)
{
    struct yk_buffer *buffer = *state;

    append(buffer, "hello ");
    append(buffer, "");
    append(buffer, "world");
    assert_content(buffer, "hello world");
    yk_buffer_consume(buffer, 6);
    assert_content(buffer, "world");
    append(buffer, "!");
    assert_content(buffer, "world!");
}

static void growing_keeps_what_is_unread(void **state)
{
    struct yk_buffer *buffer = *state;
    unsigned char next = 0, expected = 0;

    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 97; i++, next++)
            assert_int_equal(yk_buffer_append(buffer, &next, 1), 0);
        for (int i = 0; i < 61; i++, expected++) {
            assert_int_equal(buffer->data[buffer->start], expected);
            yk_buffer_consume(buffer, 1);
        }
    }
    assert_int_equal(yk_buffer_size(buffer), 200 * (97 - 61));
}

static void consumed_room_is_used_again(void **state)
{
    struct yk_buffer *buffer = *state;
    char block[400];
    size_t capacity;

    memset(block, 'x', sizeof block);
    assert_int_equal(yk_buffer_append(buffer, block, sizeof block), 0);
    capacity = buffer->capacity;
    for (int i = 0; i < 50; i++) {
        yk_buffer_consume(buffer, sizeof block - 1);
        assert_int_equal(yk_buffer_append(buffer, block, sizeof block - 1), 0);
    }
    assert_int_equal(buffer->capacity, capacity);
    assert_int_equal(yk_buffer_size(buffer), sizeof block);
}

static void an_empty_buffer_gives_back_large_memory(void **state)
{
    struct yk_buffer *buffer = *state;

    assert_int_equal(yk_buffer_reserve(buffer, 1 << 20), 0);
    assert_true(buffer->capacity >= 1 << 20);
    append(buffer, "x");
    assert_true(buffer->capacity >= 1 << 20);
    yk_buffer_consume(buffer, 1);
    assert_int_equal(buffer->capacity, 0);
    append(buffer, "y");
    assert_content(buffer, "y");
}

static void an_empty_buffer_keeps_small_memory(void **state)
{
    struct yk_buffer *buffer = *state;
    unsigned char *data;

    append(buffer, "x");
    data = buffer->data;
    yk_buffer_consume(buffer, 1);
    assert_ptr_equal(buffer->data, data);
    assert_int_equal(buffer->end, 0);
}

static void a_size_that_cannot_be_is_no_memory(void **state)
{
    struct yk_buffer *buffer = *state;

    append(buffer, "abc");
    assert_int_equal(yk_buffer_reserve(buffer, SIZE_MAX), -ENOMEM);
    assert_int_equal(yk_buffer_reserve(buffer, SIZE_MAX - 2), -ENOMEM);
    assert_content(buffer, "abc");
}

static void put_frame_head(struct yk_buffer *buffer, uint32_t size)
{
    unsigned char head[4] = {(unsigned char)size, (unsigned char)(size >> 8),
                             (unsigned char)(size >> 16), (unsigned char)(size >> 24)};

    assert_int_equal(yk_buffer_append(buffer, head, sizeof head), 0);
}

static void a_frame_is_found_only_when_it_is_whole(void **state)
{
    struct yk_buffer *buffer = *state;
    static const unsigned char frame[] = {3, 0, 0, 0, 'a', 'b', 'c'};
    const unsigned char *body = NULL;
    size_t size = 0;

    for (size_t i = 0; i < sizeof frame; i++) {
        assert_int_equal(yk_frame_next(buffer, &body, &size), 0);
        assert_null(body);
        assert_int_equal(yk_buffer_append(buffer, frame + i, 1), 0);
    }
    append(buffer, "behind");
    assert_int_equal(yk_frame_next(buffer, &body, &size), 1);
    assert_int_equal(size, 3);
    assert_memory_equal(body, "abc", 3);
}

static void assert_refused(struct yk_buffer *buffer, const char *message)
{
    const unsigned char *body = NULL;
    size_t size = 0;

    assert_int_equal(yk_frame_next(buffer, &body, &size), -EMSGSIZE);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.BadMessage");
    assert_string_equal(yoke_error_message(yoke_in_flight()), message);
    assert_null(body);
    yoke_clear();
}

static void a_frame_over_the_limit_is_refused_by_its_head(void **state)
{
    put_frame_head(*state, YK_FRAME_MAX + 1);
    assert_refused(*state, "frame of 67108865 bytes, not 1 to 67108864");
    yk_buffer_consume(*state, 4);
    put_frame_head(*state, UINT32_MAX);
    assert_refused(*state, "frame of 4294967295 bytes, not 1 to 67108864");
}

static void the_largest_frame_is_waited_for(void **state)
{
    const unsigned char *body;
    size_t size;

    put_frame_head(*state, YK_FRAME_MAX);
    assert_int_equal(yk_frame_next(*state, &body, &size), 0);
}

static void an_empty_frame_is_refused(void **state)
{
    put_frame_head(*state, 0);
    assert_refused(*state, "frame of 0 bytes, not 1 to 67108864");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_come_out_as_they_went_in),
        TEST(growing_keeps_what_is_unread),
        TEST(consumed_room_is_used_again),
        TEST(an_empty_buffer_gives_back_large_memory),
        TEST(an_empty_buffer_keeps_small_memory),
        TEST(a_size_that_cannot_be_is_no_memory),
        TEST(a_frame_is_found_only_when_it_is_whole),
        TEST(a_frame_over_the_limit_is_refused_by_its_head),
        TEST(the_largest_frame_is_waited_for),
        TEST(an_empty_frame_is_refused),
    };

    return cmocka_run_group_tests_name("wire buffer", tests, NULL, NULL);
}
