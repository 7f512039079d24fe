/* SPDX-License-Identifier: MIT */
/* A bump allocator: many small allocations with one lifetime. Not thread-safe. */
#ifndef YK_BASE_ARENA_H
#define YK_BASE_ARENA_H

#include <stddef.h>
#include <yoke/common.h>

struct yk_arena_chunk;

struct yk_arena {
    struct yk_arena_chunk *chunks; /* newest first */
    char *free;                    /* rest of the newest chunk */
    size_t left;
};

void yk_arena_init(struct yk_arena *arena);

/* Memory aligned for any object, zeroed; NULL: no memory. Lives until reset or fini. */
void *yk_arena_alloc(struct yk_arena *arena, size_t size);

/* A NUL-terminated copy of n bytes; NULL: no memory. */
char *yk_arena_strndup(struct yk_arena *arena, const char *data, size_t n);
char *yk_arena_printf(struct yk_arena *arena, const char *format, ...) YOKE_PRINTF(2, 3);

/* Frees everything but one chunk of up to 1 MiB, which is kept for the next use. */
void yk_arena_reset(struct yk_arena *arena);
void yk_arena_fini(struct yk_arena *arena);

#endif
