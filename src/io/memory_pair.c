/* SPDX-License-Identifier: MIT */
/*
 * Conns in memory. Each end owns the ring of bytes that it is to read; the other end writes into
 * it. Each end waits in its own lists, and who changes a ring wakes the end that may go on. An end
 * that is closed lets go of the other one, so that neither outlives its users for the other's sake.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>
#include <yoke/pipe.h>

#include "base/check.h"
#include "base/memory.h"
#include "io/conn.h"

enum { CAPACITY = 64 << 10 };

struct memory_end {
    struct yoke_conn conn;
    struct memory_end *other; /* NULL: closed */
    size_t capacity;
    size_t first; /* the ring of bytes to read */
    size_t count;
    bool ended;        /* the other end writes no more */
    bool write_closed; /* this end writes no more */
    bool fragment;
    char *ring;
};

static struct memory_end *self_of(struct yoke_conn *conn)
{
    return yk_container_of(conn, struct memory_end, conn);
}

/* At most `n` > 0: all of it, or a random part. */
static size_t cut(struct memory_end *end, size_t n)
{
    if (!end->fragment)
        return n;
    return 1 + (size_t)(yk_random_next(&end->conn.fd.runtime->random) % n);
}

static void wake_all(struct yk_list *waiting)
{
    while (yk_wake_first(waiting, 0))
        continue;
}

/* Copies between the ring at `place` and `data`; the ring may wrap once. */
static void ring_copy(struct memory_end *end, size_t place, char *data, size_t n, bool in)
{
    while (n > 0) {
        size_t part = end->capacity - place < n ? end->capacity - place : n;

        if (in)
            memcpy(end->ring + place, data, part);
        else
            memcpy(data, end->ring + place, part);
        data += part;
        n -= part;
        place = 0;
    }
}

static ssize_t memory_read(struct yoke_conn *conn, void *buffer, size_t size)
{
    struct memory_end *end = self_of(conn);
    size_t n = end->count < size ? end->count : size;

    if (n == 0)
        return end->ended ? 0 : -EAGAIN;
    n = cut(end, n);
    ring_copy(end, end->first, buffer, n, false);
    end->first = (end->first + n) % end->capacity;
    end->count -= n;
    if (end->other != NULL)
        wake_all(&end->other->conn.fd.writers);
    return (ssize_t)n;
}

static ssize_t memory_write(struct yoke_conn *conn, const void *data, size_t size)
{
    struct memory_end *end = self_of(conn);
    struct memory_end *other = end->other;
    size_t n;

    if (other == NULL || end->write_closed)
        return -EPIPE;
    n = other->capacity - other->count;
    if (n == 0)
        return -EAGAIN;
    n = cut(end, n < size ? n : size);
    ring_copy(other, (other->first + other->count) % other->capacity, (char *)(uintptr_t)data, n,
              true);
    other->count += n;
    wake_all(&other->conn.fd.readers);
    return (ssize_t)n;
}

static int memory_wait(struct yoke_conn *conn, unsigned event)
{
    int rc = yk_check_cancelled(conn->fd.runtime->current);

    if (rc < 0)
        return rc;
    if (event == YK_READABLE)
        return yk_wait_in(&conn->fd.readers, "read from memory", NULL);
    return yk_wait_in(&conn->fd.writers, "write to memory", NULL);
}

static int memory_close_write(struct yoke_conn *conn)
{
    struct memory_end *end = self_of(conn);

    end->write_closed = true;
    if (end->other != NULL) {
        end->other->ended = true;
        wake_all(&end->other->conn.fd.readers);
    }
    return 0;
}

static void memory_close(struct yoke_conn *conn)
{
    struct memory_end *end = self_of(conn);
    struct memory_end *other = end->other;

    if (other == NULL)
        return;
    (void)memory_close_write(conn);
    wake_all(&other->conn.fd.writers);
    other->other = NULL;
    end->other = NULL;
}

static void memory_free(struct yoke_conn *conn)
{
    free(self_of(conn)->ring);
    free(self_of(conn));
}

static void memory_name(const struct yoke_conn *conn, char *text, size_t size)
{
    (void)conn;
    snprintf(text, size, "memory");
}

static const struct yk_conn_ops memory_ops = {
    .read = memory_read,
    .write = memory_write,
    .wait = memory_wait,
    .close_write = memory_close_write,
    .close = memory_close,
    .free = memory_free,
    .name = memory_name,
};

static struct memory_end *end_new(size_t capacity, bool fragment)
{
    struct memory_end *end = yk_calloc(1, sizeof *end);

    if (end == NULL)
        return NULL;
    end->ring = yk_malloc(capacity);
    if (end->ring == NULL) {
        free(end);
        return NULL;
    }
    yk_conn_init(&end->conn, &memory_ops);
    end->capacity = capacity;
    end->fragment = fragment;
    return end;
}

int yoke_memory_pair(const struct yoke_memory_opts *opts, struct yoke_conn **ret_a,
                     struct yoke_conn **ret_b)
{
    size_t capacity = opts != NULL && opts->capacity != 0 ? opts->capacity : CAPACITY;
    bool fragment = opts != NULL && opts->fragment;
    struct memory_end *a, *b;

    yk_task_self("yoke_memory_pair");
    a = end_new(capacity, fragment);
    b = end_new(capacity, fragment);
    if (a == NULL || b == NULL) {
        if (a != NULL)
            memory_free(&a->conn);
        if (b != NULL)
            memory_free(&b->conn);
        return yoke_raise("yoke.Io", ENOMEM, "no memory for a pair of conns with %zu bytes each",
                          capacity);
    }
    a->other = b;
    b->other = a;
    *ret_a = &a->conn;
    *ret_b = &b->conn;
    return 0;
}
