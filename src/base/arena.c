/* SPDX-License-Identifier: MIT */
/*
 * The bump allocator. Pure memory, runs on any stack.
 *
 * Chunks double from 4 KiB to 1 MiB, so that a large message costs few of them; a request that is
 * larger than that gets a chunk of its own size. Everything handed out is zeroed when it is handed
 * out and not when a chunk is made, because a chunk is used again after a reset.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"

enum { ALIGNMENT = _Alignof(max_align_t), CHUNK_MIN = 4 << 10, CHUNK_MAX = 1 << 20 };

struct yk_arena_chunk {
    struct yk_arena_chunk *older;
    size_t size; /* of data */
    _Alignas(max_align_t) char data[];
};

void yk_arena_init(struct yk_arena *arena)
{
    memset(arena, 0, sizeof *arena);
}

static bool add_chunk(struct yk_arena *arena, size_t needed)
{
    size_t size = CHUNK_MIN;
    struct yk_arena_chunk *chunk;

    if (arena->chunks != NULL)
        size = arena->chunks->size < CHUNK_MAX / 2 ? arena->chunks->size * 2 : CHUNK_MAX;
    if (size < needed)
        size = needed;
    if (size > SIZE_MAX - sizeof *chunk)
        return false;
    chunk = yk_malloc(sizeof *chunk + size);
    if (chunk == NULL)
        return false;
    chunk->older = arena->chunks;
    chunk->size = size;
    arena->chunks = chunk;
    arena->free = chunk->data;
    arena->left = size;
    return true;
}

void *yk_arena_alloc(struct yk_arena *arena, size_t size)
{
    char *memory;

    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    /* Two results are never the same address, also not two of size 0. */
    size = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size > arena->left && !add_chunk(arena, size))
        return NULL;
    yk_assert(size <= arena->left);
    memory = arena->free;
    arena->free += size;
    arena->left -= size;
    return memset(memory, 0, size);
}

char *yk_arena_strndup(struct yk_arena *arena, const char *data, size_t n)
{
    char *copy = n == SIZE_MAX ? NULL : yk_arena_alloc(arena, n + 1);

    if (copy != NULL && n > 0)
        memcpy(copy, data, n);
    return copy;
}

char *yk_arena_printf(struct yk_arena *arena, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;
    int n;

    va_start(arguments, format);
    n = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (n >= 0)
        text = yk_arena_alloc(arena, (size_t)n + 1);
    if (text == NULL)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)n + 1, format, arguments);
    va_end(arguments);
    return text;
}

/* The largest chunk is worth keeping, unless it was made for one outsized request. */
void yk_arena_reset(struct yk_arena *arena)
{
    struct yk_arena_chunk *kept = arena->chunks;

    if (kept == NULL || (kept->older == NULL && arena->free == kept->data))
        return; /* nothing was handed out since the last time */
    kept = NULL;
    for (struct yk_arena_chunk *chunk = arena->chunks, *older; chunk != NULL; chunk = older) {
        struct yk_arena_chunk *dropped = chunk;

        older = chunk->older;
        if (chunk->size <= CHUNK_MAX && (kept == NULL || chunk->size > kept->size)) {
            dropped = kept;
            kept = chunk;
        }
        free(dropped);
    }
    yk_arena_init(arena);
    if (kept == NULL)
        return;
    kept->older = NULL;
    arena->chunks = kept;
    arena->free = kept->data;
    arena->left = kept->size;
}

void yk_arena_fini(struct yk_arena *arena)
{
    yk_arena_reset(arena);
    free(arena->chunks);
    yk_arena_init(arena);
}
