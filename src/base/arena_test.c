/* SPDX-License-Identifier: MIT */
/* The bump allocator. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "base/memory.h"

static void memory_is_aligned_zeroed_and_disjoint(void **state)
{
    struct yk_arena arena;
    char *last = NULL;

    (void)state;
    yk_arena_init(&arena);
    for (size_t size = 0; size < 300; size++) {
        char *memory = yk_arena_alloc(&arena, size);

        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xaa, size);
        assert_ptr_not_equal(memory, last);
        last = memory;
    }
    yk_arena_fini(&arena);
}

static void memory_is_zeroed_again_after_a_reset(void **state)
{
    struct yk_arena arena;
    char *first;
    char *second;

    (void)state;
    yk_arena_init(&arena);
    first = yk_arena_alloc(&arena, 100);
    memset(first, 0xaa, 100);
    yk_arena_reset(&arena);
    second = yk_arena_alloc(&arena, 100);
    assert_ptr_equal(first, second);
    for (int i = 0; i < 100; i++)
        assert_int_equal(second[i], 0);
    yk_arena_fini(&arena);
}

static void reset_keeps_one_chunk_and_needs_no_memory_for_the_next_use(void **state)
{
    struct yk_arena arena;

    (void)state;
    yk_arena_init(&arena);
    for (int i = 0; i < 1000; i++)
        assert_non_null(yk_arena_alloc(&arena, 500));
    yk_arena_reset(&arena);
    yk_memory_fail_at(1, true);
    for (int i = 0; i < 400; i++)
        assert_non_null(yk_arena_alloc(&arena, 500));
    assert_int_equal(yk_memory_fail_at(0, false), 1); /* it was not delivered */
    yk_arena_fini(&arena);
}

static void outsized_chunk_is_not_kept(void **state)
{
    struct yk_arena arena;

    (void)state;
    yk_arena_init(&arena);
    assert_non_null(yk_arena_alloc(&arena, 8 << 20));
    yk_arena_reset(&arena);
    assert_int_equal(arena.left, 0);
    yk_arena_fini(&arena);
}

static void strings_are_terminated(void **state)
{
    struct yk_arena arena;

    (void)state;
    yk_arena_init(&arena);
    assert_string_equal(yk_arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(yk_arena_strndup(&arena, NULL, 0), "");
    assert_string_equal(yk_arena_printf(&arena, "%d-%s", 42, "x"), "42-x");
    yk_arena_fini(&arena);
}

static void failed_allocation_is_null_and_leaves_the_arena_usable(void **state)
{
    struct yk_arena arena;

    (void)state;
    yk_arena_init(&arena);
    assert_null(yk_arena_alloc(&arena, SIZE_MAX));
    assert_null(yk_arena_alloc(&arena, SIZE_MAX - 64));
    assert_null(yk_arena_strndup(&arena, "", SIZE_MAX));
    yk_memory_fail_at(1, false);
    assert_null(yk_arena_printf(&arena, "%s", "x"));
    assert_string_equal(yk_arena_printf(&arena, "%s", "x"), "x");
    yk_memory_fail_at(2, false);
    assert_null(yk_arena_alloc(&arena, 1 << 20) == NULL ? NULL : yk_arena_alloc(&arena, 1 << 20));
    yk_memory_fail_at(0, false);
    yk_arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_zeroed_and_disjoint),
        cmocka_unit_test(memory_is_zeroed_again_after_a_reset),
        cmocka_unit_test(reset_keeps_one_chunk_and_needs_no_memory_for_the_next_use),
        cmocka_unit_test(outsized_chunk_is_not_kept),
        cmocka_unit_test(strings_are_terminated),
        cmocka_unit_test(failed_allocation_is_null_and_leaves_the_arena_usable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
