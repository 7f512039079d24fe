/* SPDX-License-Identifier: MIT */
/*
 * The counts behind yoke_error_stats. Each thread counts in a block of its own, so that a raise
 * costs no locked instruction and threads don't fight for a cache line; a reader sums them up.
 *
 * Blocks are never freed: an error that one thread raised may end on another, long after the first
 * is gone. The block of a thread that has ended is taken over, with its counts, by the next new
 * one. They hang in a list that only grows, without a lock, so a fork at any moment leaves it
 * whole.
 */
#include "error/stats.h"

#include <pthread.h>
#include <stdlib.h>
#include <yoke/error.h>

struct block {
    _Atomic uint64_t counts[YK_COUNTS];
    struct block *next;
    atomic_bool in_use;
} __attribute__((aligned(64))); /* a cache line each */

/* For threads that found no memory for one; several may write to it. */
static struct block shared = {.in_use = true};

static struct block *_Atomic blocks = &shared;
static __thread struct block *mine;
static pthread_key_t end_key;
static bool have_end_key;
static pthread_once_t end_once = PTHREAD_ONCE_INIT;

static void thread_ended(void *arg)
{
    struct block *block = arg;

    mine = NULL;
    atomic_store_explicit(&block->in_use, false, memory_order_release);
}

static void make_end_key(void)
{
    have_end_key = pthread_key_create(&end_key, thread_ended) == 0;
}

static struct block *take_over(void)
{
    for (struct block *block = blocks; block != NULL; block = block->next) {
        bool in_use = false;

        if (atomic_compare_exchange_strong(&block->in_use, &in_use, true))
            return block;
    }
    return NULL;
}

/* Not by yk_malloc: when a thread counts for the first time depends on the order of tests. */
static struct block *add_block(void)
{
    struct block *block = aligned_alloc(_Alignof(struct block), sizeof *block);

    if (block == NULL)
        return NULL;
    *block = (struct block){.in_use = true, .next = blocks};
    while (!atomic_compare_exchange_weak(&blocks, &block->next, block))
        ;
    return block;
}

static __attribute__((noinline)) struct block *find_block(void)
{
    struct block *block = take_over();

    if (block == NULL)
        block = add_block();
    if (block == NULL)
        return &shared;
    mine = block;
    pthread_once(&end_once, make_end_key);
    /* Without the key the block is not used again after the thread's end, and nothing worse. */
    if (have_end_key)
        (void)pthread_setspecific(end_key, block);
    return block;
}

void yk_count(enum yk_count what)
{
    struct block *block = mine != NULL ? mine : find_block();
    _Atomic uint64_t *count = &block->counts[what];

    if (__builtin_expect(block == &shared, 0)) {
        atomic_fetch_add_explicit(count, 1, memory_order_release);
        return;
    }
    /* Nobody else writes it. Released, so that who sees that an error ended sees that it began. */
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_release);
}

static uint64_t sum(enum yk_count what)
{
    uint64_t n = 0;

    for (struct block *block = blocks; block != NULL; block = block->next)
        n += atomic_load_explicit(&block->counts[what], memory_order_acquire);
    return n;
}

void yoke_error_stats(struct yoke_error_stats *ret_stats)
{
    /* Ends before beginnings: an error that ends in between must not make `live` negative. */
    ret_stats->settled = sum(YK_COUNT_SETTLED);
    ret_stats->lost = sum(YK_COUNT_LOST);
    ret_stats->raised = sum(YK_COUNT_RAISED);
    ret_stats->live = ret_stats->raised - ret_stats->settled - ret_stats->lost;
}
