/* SPDX-License-Identifier: MIT */
/*
 * Slabs double in size up to 64 MiB of address space, so that a million stacks take a few mappings
 * and a small program takes little. With MADV_GUARD_INSTALL guard pages cost no mapping of their
 * own; before Linux 6.13 each needs an mprotect, which splits the mapping: then about 32,000
 * stacks is the limit of the default vm.max_map_count, and what fails is reported as -ENOMEM. A
 * stack is never handed out unguarded.
 *
 * Stacks are given back to the kernel only with their runtime: an munmap per exit costs more than
 * a spawn. Free ones are in an array beside them, not in a chain through them: their memory is cold
 * when there are many, and is fetched before it is wanted.
 */
#include "task/stack.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>
#ifdef YK_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

#include "base/check.h"
#include "base/faults.h"
#include "base/limits.h"
#include "base/memory.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_FACTOR 4 /* instrumented frames are several times larger */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_FACTOR 4
#endif
#endif
#ifndef STACK_FACTOR
#define STACK_FACTOR 1
#endif

enum { SLAB_FIRST = 16, SLAB_MAX = 1024 }; /* stacks per slab */

struct yk_slab {
    struct yk_slab *next;
    char *memory;
    size_t n;    /* stacks in it */
    size_t used; /* carved so far */
    unsigned *valgrind_ids;
};

/*
 * Stacks begin at different lines of their top page. Else the hot top of each would compete for the
 * same few sets of the caches, whose size they are a multiple apart. One page must still hold an
 * idle task.
 */
enum { COLOURS = 16 };

/* With more free stacks than caches hold, the lines of a task that is made soon are fetched. */
enum { PREFETCH_FROM = 2048, PREFETCH_AHEAD = 3, PREFETCH_LINES = 8 };

void yk_stacks_init(struct yk_stacks *stacks)
{
    memset(stacks, 0, sizeof *stacks);
    stacks->page_size = (size_t)sysconf(_SC_PAGESIZE);
    stacks->stack_size = (size_t)YK_STACK_SIZE * STACK_FACTOR;
    stacks->guard_install = true;
}

void yk_stacks_fini(struct yk_stacks *stacks)
{
    while (stacks->slabs != NULL) {
        struct yk_slab *slab = stacks->slabs;

        stacks->slabs = slab->next;
#ifdef YK_HAVE_VALGRIND
        for (size_t i = 0; i < slab->used; i++)
            VALGRIND_STACK_DEREGISTER(slab->valgrind_ids[i]);
#endif
        munmap(slab->memory, slab->n * stacks->stack_size);
        free(slab->valgrind_ids);
        free(slab);
    }
    free(stacks->free);
    stacks->free = NULL;
}

/* Room for as many free stacks, so that giving one back never fails. 0 or -ENOMEM. */
static int reserve_free(struct yk_stacks *stacks, size_t n)
{
    size_t capacity = stacks->free_capacity * 2 > n ? stacks->free_capacity * 2 : n;
    struct yk_free_stack *free_stacks;

    if (n <= stacks->free_capacity)
        return 0;
    free_stacks = yk_realloc(stacks->free, capacity * sizeof *free_stacks);
    if (free_stacks == NULL)
        return -ENOMEM;
    stacks->free = free_stacks;
    stacks->free_capacity = capacity;
    return 0;
}

static int slab_new(struct yk_stacks *stacks)
{
    size_t n = stacks->slabs == NULL ? SLAB_FIRST : stacks->slabs->n * 2;
    struct yk_slab *slab;

    n = n > SLAB_MAX ? SLAB_MAX : n;
    if (reserve_free(stacks, stacks->stack_n + n) < 0)
        return -ENOMEM;
    slab = yk_calloc(1, sizeof *slab);
    if (slab == NULL)
        return -ENOMEM;
    slab->n = n;
    slab->valgrind_ids = yk_calloc(slab->n, sizeof *slab->valgrind_ids);
    slab->memory = yk_fault(ENOMEM)
                       ? MAP_FAILED
                       : mmap(NULL, slab->n * stacks->stack_size, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (slab->memory == MAP_FAILED || slab->valgrind_ids == NULL) {
        if (slab->memory != MAP_FAILED)
            munmap(slab->memory, slab->n * stacks->stack_size);
        free(slab->valgrind_ids);
        free(slab);
        return -ENOMEM;
    }
    /* A huge page would make every idle task resident with 2 MiB. Old kernels may refuse: fine. */
    (void)madvise(slab->memory, slab->n * stacks->stack_size, MADV_NOHUGEPAGE);
    slab->next = stacks->slabs;
    stacks->slabs = slab;
    stacks->stack_n += n;
    return 0;
}

/*
 * Whether the kernel keeps what it has said: emulators of processes say yes to any advice. A kernel
 * that can't write to the page says so, and does not fault.
 */
static bool is_guarded(char *page)
{
    /* tidy-allow errno: nothing comes between the call and this look */
    return getrandom(page, 1, GRND_NONBLOCK) < 0 && errno == EFAULT;
}

static int guard(struct yk_stacks *stacks, char *page)
{
    if (stacks->guard_install && madvise(page, stacks->page_size, MADV_GUARD_INSTALL) == 0 &&
        (stacks->guard_known || is_guarded(page))) {
        stacks->guard_known = true;
        return 0;
    }
    stacks->guard_install =
        false; /* an older kernel, most likely; what else it was, mprotect says */
    return mprotect(page, stacks->page_size, PROT_NONE) == 0 ? 0 : -ENOMEM;
}

static void prefetch_top(const char *high)
{
    for (int line = 1; line <= PREFETCH_LINES; line++)
        __builtin_prefetch(high - line * YK_CACHE_LINE, 1);
}

int yk_stack_get(struct yk_stacks *stacks, char **ret_low, char **ret_high)
{
    struct yk_slab *slab = stacks->slabs;
    char *low;
    int rc;

    if (stacks->free_n > 0) {
        const struct yk_free_stack *reused = &stacks->free[--stacks->free_n];

        *ret_low = (char *)(uintptr_t)reused->low;
        *ret_high = reused->high;
        if (stacks->free_n > PREFETCH_FROM)
            prefetch_top(reused[-PREFETCH_AHEAD].high);
        return 0;
    }
    if (slab == NULL || slab->used == slab->n) {
        rc = slab_new(stacks);
        if (rc < 0)
            return rc;
        slab = stacks->slabs;
    }
    low = slab->memory + slab->used * stacks->stack_size;
    rc = guard(stacks, low);
    if (rc < 0)
        return rc;
#ifdef YK_HAVE_VALGRIND
    slab->valgrind_ids[slab->used] =
        (unsigned)VALGRIND_STACK_REGISTER(low + stacks->page_size, low + stacks->stack_size);
#endif
    *ret_low = low + stacks->page_size;
    *ret_high = low + stacks->stack_size - slab->used++ % COLOURS * YK_CACHE_LINE;
    return 0;
}

void yk_stack_put(struct yk_stacks *stacks, const char *low, char *high)
{
    yk_assert(stacks->free_n < stacks->free_capacity);
    stacks->free[stacks->free_n++] = (struct yk_free_stack){low, high};
}
