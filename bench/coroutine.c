/* SPDX-License-Identifier: MIT */
/*
 * Floors made of bare coroutines: the library's own switch and stacks, and nothing on top. What a
 * figure of tasks costs above them is the price of the scheduler, scopes and nurseries.
 *
 * The coroutines run on stacks of yk_stacks, the driver on the thread's own stack, outside any
 * runtime. A coroutine that ends leaves its stack by a last switch; the driver gives it back.
 */
#include <errno.h>
#include <stdlib.h>

#include "../bench/bench.h"
#include "task/coro.h"
#include "task/stack.h"

enum { SWITCHES = 4000000, SPAWNS = 1000000, MANY = 1000, ROUNDS = 20 };
enum { ROUND_FIBERS = 10000 };

struct fiber {
    struct yk_coro coro;
    char *low;
    char *high;
    bool parks; /* once, before it ends */
};

static struct yk_coro driver;
static struct yk_stacks stacks;
static struct fiber *fibers;
static size_t fiber_n;

static void switch_back_for_ever(void *arg)
{
    struct fiber *fiber = arg;

    yk_coro_entered(&fiber->coro);
    for (;;)
        yk_coro_switch(&fiber->coro, &driver, false);
}

static void run_once(void *arg)
{
    struct fiber *fiber = arg;

    yk_coro_entered(&fiber->coro);
    if (fiber->parks)
        yk_coro_switch(&fiber->coro, &driver, false);
    yk_coro_switch(&fiber->coro, &driver, true);
    __builtin_unreachable();
}

static void close_fibers(void)
{
    for (size_t i = 0; i < fiber_n; i++)
        yk_stack_put(&stacks, fibers[i].low, fibers[i].high);
    yk_stacks_fini(&stacks);
    free(fibers);
    fibers = NULL;
    fiber_n = 0;
    yk_coro_fini_thread(&driver);
}

/* Stacks for n fibers, none of them entered. 0 or -ENOMEM; then nothing is left open. */
static int open_fibers(size_t n)
{
    int rc = 0;

    yk_coro_init_thread(&driver);
    yk_stacks_init(&stacks);
    fibers = calloc(n, sizeof *fibers);
    if (fibers == NULL)
        rc = -ENOMEM;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = yk_stack_get(&stacks, &fibers[i].low, &fibers[i].high);
        if (rc == 0)
            fiber_n++;
    }
    if (rc < 0)
        close_fibers();
    return rc;
}

static void start(struct fiber *fiber, void (*entry)(void *arg))
{
    yk_coro_init(&fiber->coro, fiber->low, fiber->high, entry, fiber);
    yk_coro_switch(&driver, &fiber->coro, false);
}

static int switches(long n)
{
    for (long i = 0; i < n; i += 2) /* there and back */
        yk_coro_switch(&driver, &fibers[0].coro, false);
    return 0;
}

int bench_raw_switch(double *ret_ns)
{
    int rc = open_fibers(1);

    if (rc < 0)
        return rc;
    start(&fibers[0], switch_back_for_ever);
    rc = bench_plain(switches, SWITCHES, ret_ns);
    yk_coro_fini(&fibers[0].coro);
    close_fibers();
    return rc;
}

static int spawns(long n)
{
    size_t next = 0;

    for (long i = 0; i < n; i++) {
        start(&fibers[next], run_once);
        yk_coro_fini(&fibers[next].coro);
        next = next + 1 < fiber_n ? next + 1 : 0;
    }
    return 0;
}

static int raw_spawn(size_t stack_n, double *ret_ns)
{
    int rc = open_fibers(stack_n);

    if (rc < 0)
        return rc;
    rc = bench_plain(spawns, SPAWNS, ret_ns);
    close_fibers();
    return rc;
}

int bench_raw_spawn_1(double *ret_ns)
{
    return raw_spawn(1, ret_ns);
}

int bench_raw_spawn_1000(double *ret_ns)
{
    return raw_spawn(MANY, ret_ns);
}

/* n coroutines that have been entered and are parked. */
static int open_parked(long n, void (*entry)(void *arg))
{
    int rc = open_fibers((size_t)n);

    for (size_t i = 0; i < fiber_n; i++) {
        fibers[i].parks = true;
        start(&fibers[i], entry);
    }
    return rc;
}

static int raw_resume(long n, double *ret_ms)
{
    int rc = open_parked(n, run_once);
    int64_t begin = bench_cpu();

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < fiber_n; i++) {
        yk_coro_switch(&driver, &fibers[i].coro, false);
        yk_coro_fini(&fibers[i].coro);
    }
    *ret_ms = (double)(bench_cpu() - begin) / 1e6;
    close_fibers();
    return 0;
}

int bench_raw_resume_20k(double *ret_ms)
{
    return raw_resume(20000, ret_ms);
}

int bench_raw_resume_100k(double *ret_ms)
{
    return raw_resume(100000, ret_ms);
}

static int rounds(long n)
{
    for (long i = 0; i < n; i += ROUND_FIBERS)
        for (size_t k = 0; k < fiber_n; k++)
            yk_coro_switch(&driver, &fibers[k].coro, false);
    return 0;
}

int bench_raw_rounds_10k(double *ret_ns)
{
    int rc = open_parked(ROUND_FIBERS, switch_back_for_ever);

    if (rc < 0)
        return rc;
    rc = bench_plain(rounds, (long)ROUNDS * ROUND_FIBERS, ret_ns);
    for (size_t i = 0; i < fiber_n; i++)
        yk_coro_fini(&fibers[i].coro);
    close_fibers();
    return rc;
}
