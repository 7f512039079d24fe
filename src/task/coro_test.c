/* SPDX-License-Identifier: MIT */
/* Coroutines and their stacks: what a switch keeps, and what a stack is. */
#include "task/coro.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "task/stack.h"

struct pair {
    struct yk_coro thread;
    struct yk_coro coro;
    int turns;
    bool wrong;
};

/* Keeps more values alive over the switch than there are registers to save. */
static uint64_t mix(struct pair *pair, struct yk_coro *from, struct yk_coro *to, uint64_t seed)
{
    uint64_t a = seed * 3, b = seed * 5, c = seed * 7, d = seed * 11, e = seed * 13, f = seed * 17;
    double x = (double)seed / 3, y = (double)seed / 7;

    yk_coro_switch(from, to, false);
    pair->wrong |= x != (double)seed / 3 || y != (double)seed / 7;
    return a + b + c + d + e + f;
}

enum { TURNS = 1000 };

static void turn(void *arg)
{
    struct pair *pair = arg;

    yk_coro_entered(&pair->coro);
    for (uint64_t i = 0; i < TURNS; i++) {
        pair->turns++;
        pair->wrong |= mix(pair, &pair->coro, &pair->thread, i) != i * 56;
    }
    yk_coro_switch(&pair->coro, &pair->thread, true);
    abort();
}

static void a_switch_keeps_what_a_function_has_in_registers(void **state)
{
    struct yk_stacks stacks;
    struct pair pair = {.turns = 0};
    char *low, *high;

    (void)state;
    yk_stacks_init(&stacks);
    assert_int_equal(yk_stack_get(&stacks, &low, &high), 0);
    yk_coro_init_thread(&pair.thread);
    yk_coro_init(&pair.coro, low, high - 64, turn, &pair);
    for (uint64_t i = 0; i < TURNS; i++) {
        assert_true(mix(&pair, &pair.thread, &pair.coro, i + 100) == (i + 100) * 56);
        assert_int_equal(pair.turns, i + 1);
    }
    yk_coro_switch(&pair.thread, &pair.coro, false); /* its last turn */
    assert_false(pair.wrong);
    yk_coro_fini(&pair.coro);
    yk_stack_put(&stacks, low, high);
    yk_coro_fini_thread(&pair.thread);
    yk_stacks_fini(&stacks);
}

struct probe {
    struct yk_coro thread;
    struct yk_coro coro;
    uintptr_t misaligned;
};

static void probe_alignment(void *arg)
{
    struct probe *probe = arg;
    char at_16[16] __attribute__((aligned(16)));
    char *volatile place = at_16; /* so that the compiler can't know the answer */

    yk_coro_entered(&probe->coro);
    probe->misaligned = (uintptr_t)place % 16;
    yk_coro_switch(&probe->coro, &probe->thread, true);
    abort();
}

static void a_stack_is_aligned_wherever_its_top_is(void **state)
{
    struct yk_stacks stacks;
    struct probe probe;
    char *low, *high;

    (void)state;
    yk_stacks_init(&stacks);
    for (size_t top = 64; top < 128; top += 8) {
        probe = (struct probe){.misaligned = 1};
        assert_int_equal(yk_stack_get(&stacks, &low, &high), 0);
        yk_coro_init_thread(&probe.thread);
        yk_coro_init(&probe.coro, low, high - top, probe_alignment, &probe);
        yk_coro_switch(&probe.thread, &probe.coro, false);
        assert_int_equal(probe.misaligned, 0);
        yk_coro_fini(&probe.coro);
        yk_stack_put(&stacks, low, high);
        yk_coro_fini_thread(&probe.thread);
    }
    yk_stacks_fini(&stacks);
}

enum { MANY = 200 };

static void stacks_do_not_overlap_and_the_last_to_come_back_is_the_first_to_go_out(void **state)
{
    struct yk_stacks stacks;
    char *lows[MANY], *highs[MANY];
    char *low, *high;

    (void)state;
    yk_stacks_init(&stacks);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(yk_stack_get(&stacks, &lows[i], &highs[i]), 0);
        /* The top page also holds what keeps stacks apart in the caches. */
        assert_in_range((size_t)(highs[i] - lows[i]), stacks.stack_size - 2 * stacks.page_size,
                        stacks.stack_size - stacks.page_size);
        assert_int_equal((uintptr_t)highs[i] % 64, 0);
        lows[i][0] = 1; /* both ends can be written */
        highs[i][-1] = 1;
        for (size_t j = 0; j < i; j++)
            assert_true(highs[i] <= lows[j] || highs[j] <= lows[i]);
    }
    yk_stack_put(&stacks, lows[3], highs[3]);
    yk_stack_put(&stacks, lows[7], highs[7]);
    assert_int_equal(yk_stack_get(&stacks, &low, &high), 0);
    assert_ptr_equal(low, lows[7]);
    assert_ptr_equal(high, highs[7]);
    assert_int_equal(yk_stack_get(&stacks, &low, &high), 0);
    assert_ptr_equal(low, lows[3]);
    for (size_t i = 0; i < MANY; i++)
        yk_stack_put(&stacks, lows[i], highs[i]);
    yk_stacks_fini(&stacks);
}

enum { THOUSANDS = 3000 };

static void thousands_of_stacks_go_out_again_before_a_new_one_is_made(void **state)
{
    static char *lows[THOUSANDS], *highs[THOUSANDS];
    struct yk_stacks stacks;
    char *low, *high;

    (void)state;
    yk_stacks_init(&stacks);
    for (size_t i = 0; i < THOUSANDS; i++)
        assert_int_equal(yk_stack_get(&stacks, &lows[i], &highs[i]), 0);
    for (size_t i = 0; i < THOUSANDS; i++)
        yk_stack_put(&stacks, lows[i], highs[i]);
    for (size_t i = THOUSANDS; i > 0; i--) {
        assert_int_equal(yk_stack_get(&stacks, &low, &high), 0);
        assert_ptr_equal(low, lows[i - 1]);
        assert_ptr_equal(high, highs[i - 1]);
    }
    assert_int_equal(stacks.free_n, 0);
    for (size_t i = 0; i < THOUSANDS; i++)
        yk_stack_put(&stacks, lows[i], highs[i]);
    yk_stacks_fini(&stacks);
}

/* The page under a stack, in a child process that must not live to say so. */
static void a_stack_that_overflows_hits_its_guard_page(void **state)
{
    struct yk_stacks stacks;
    char *low, *high;
    int status;
    pid_t pid;

    (void)state;
    yk_stacks_init(&stacks);
    assert_int_equal(yk_stack_get(&stacks, &low, &high), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};

        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        ((volatile char *)low)[-1] = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    yk_stack_put(&stacks, low, high);
    yk_stacks_fini(&stacks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_switch_keeps_what_a_function_has_in_registers),
        cmocka_unit_test(a_stack_is_aligned_wherever_its_top_is),
        cmocka_unit_test(stacks_do_not_overlap_and_the_last_to_come_back_is_the_first_to_go_out),
        cmocka_unit_test(thousands_of_stacks_go_out_again_before_a_new_one_is_made),
        cmocka_unit_test(a_stack_that_overflows_hits_its_guard_page),
    };

    return cmocka_run_group_tests_name("coroutines", tests, NULL, NULL);
}
