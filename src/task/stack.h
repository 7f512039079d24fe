/* SPDX-License-Identifier: MIT */
/*
 * Task stacks, carved from slabs with a guard page under each, handed out last in, first out. The
 * memory of a stack that comes back stays touched up to a bound, so that reuse costs no fault.
 */
#ifndef YK_TASK_STACK_H
#define YK_TASK_STACK_H

#include <stddef.h>
#include <yoke/common.h>

enum { YK_CACHE_LINE = 64 };

struct yk_slab;

struct yk_free_stack {
    const char *low;
    char *high;
};

struct yk_stacks {
    struct yk_slab *slabs;
    struct yk_free_stack *free; /* the last one is handed out first */
    size_t free_n;
    size_t free_capacity; /* at least as many as there are stacks in all slabs */
    size_t stack_n;       /* in all slabs */
    size_t stack_size;    /* with its guard page */
    size_t page_size;
    bool guard_install; /* the kernel has MADV_GUARD_INSTALL (6.13) */
    bool guard_known;   /* and it was seen to work */
};

void yk_stacks_init(struct yk_stacks *stacks);
void yk_stacks_fini(struct yk_stacks *stacks); /* all stacks must have come back */

/* One stack: usable from *ret_low to *ret_high. 0 or -ENOMEM. */
int yk_stack_get(struct yk_stacks *stacks, char **ret_low, char **ret_high);
void yk_stack_put(struct yk_stacks *stacks, const char *low, char *high); /* as they were got */

#endif
