/* SPDX-License-Identifier: MIT */
/*
 * Waiting for descriptors. The poller is edge-triggered: an event that finds nobody waiting is kept
 * in `ready` and ends the next wait at once, which costs at most one futile try of the operation.
 *
 * yoke_wait_readable and friends take any descriptor number: they share one registration per
 * number in a table, which lasts as long as somebody waits. Between waits nothing is kept, so a
 * number may be closed and reused freely. A number that was closed and reused while a task waits
 * for it, which is misuse, is registered anew for the next one who waits.
 */
#include "io/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yoke/io.h>

#include "base/check.h"
#include "base/memory.h"
#include "io/quiet.h"

static void fd_ready(struct yk_watch *watch, unsigned events)
{
    struct yk_fd *fd = yk_container_of(watch, struct yk_fd, watch);

    if (events & YK_EXCEPTIONAL)
        fd->exceptional = true;
    if (events & YK_READABLE && yk_list_empty(&fd->readers))
        fd->ready |= YK_READABLE;
    if (events & YK_WRITABLE && yk_list_empty(&fd->writers))
        fd->ready |= YK_WRITABLE;
    if (events & YK_READABLE)
        while (yk_wake_first(&fd->readers, 0))
            continue;
    if (events & YK_WRITABLE)
        while (yk_wake_first(&fd->writers, 0))
            continue;
}

int yk_fd_init(struct yk_fd *fd, int number)
{
    memset(fd, 0, sizeof *fd);
    fd->runtime = yk_runtime_current;
    fd->watch.fd = number;
    fd->watch.ready = fd_ready;
    yk_list_init(&fd->readers);
    yk_list_init(&fd->writers);
    return fd->runtime->host->ops->watch_add(fd->runtime->host, &fd->watch);
}

void yk_fd_fini(struct yk_fd *fd)
{
    yk_assert(yk_list_empty(&fd->readers) && yk_list_empty(&fd->writers));
    fd->runtime->host->ops->watch_remove(fd->runtime->host, &fd->watch);
}

int yk_fd_wait(struct yk_fd *fd, unsigned event)
{
    struct yk_task *task = fd->runtime->current;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    if (fd->ready & event) {
        fd->ready &= ~event;
        yk_completed_at_once(task);
        return 0;
    }
    fd->runtime->io_waits++;
    if (event == YK_READABLE)
        rc = yk_wait_in(&fd->readers, "readable descriptor", NULL);
    else
        rc = yk_wait_in(&fd->writers, "writable descriptor", NULL);
    fd->runtime->io_waits--;
    return rc;
}

/* The shared registrations, by number; entries exist while they are waited for. */
struct fd_table {
    struct yk_fd **entries;
    size_t n;
};

static void table_free(void *data)
{
    struct fd_table *table = data;

    free(table->entries);
    free(table);
}

static struct fd_table *table_of(struct yoke_runtime *runtime, int number)
{
    struct fd_table *table = runtime->slots[YK_SLOT_FDS].data;
    size_t n = (size_t)number + 1;

    if (table == NULL) {
        table = yk_calloc(1, sizeof *table);
        if (table == NULL)
            return NULL;
        runtime->slots[YK_SLOT_FDS].data = table;
        runtime->slots[YK_SLOT_FDS].fini = table_free;
    }
    if (n > table->n) {
        struct yk_fd **entries;

        n = n < 64 ? 64 : n * 2;
        entries = yk_realloc(table->entries, n * sizeof(*entries));
        if (entries == NULL)
            return NULL;
        memset(entries + table->n, 0, (n - table->n) * sizeof(*entries));
        table->entries = entries;
        table->n = n;
    }
    return table;
}

static int raise_errno(const char *call, int number, int rc)
{
    return yoke_raise("yoke.Io", rc, "%s on descriptor %d: %s", call, number, strerror(-rc));
}

/* Finds or makes the shared registration of a number, and uses it until put back. 0 or an error. */
static int share(struct fd_table *table, int number, unsigned event, const char *call,
                 struct yk_fd **ret_fd)
{
    struct yk_fd *fd = table->entries[number];
    int rc;

    if (fd == NULL) {
        fd = yk_malloc(sizeof *fd);
        rc = fd == NULL ? -ENOMEM : yk_fd_init(fd, number);
        if (rc < 0) {
            free(fd);
            return raise_errno(call, number, rc);
        }
        table->entries[number] = fd;
    } else {
        /* -EEXIST, unless the number was closed and is another file's by now. */
        (void)fd->runtime->host->ops->watch_add(fd->runtime->host, &fd->watch);
    }
    fd->users++;
    fd->ready &= ~event; /* looked at just before; what comes later is an event of its own */
    *ret_fd = fd;
    return 0;
}

static void release(struct fd_table *table, struct yk_fd *fd)
{
    if (--fd->users > 0)
        return;
    table->entries[fd->watch.fd] = NULL;
    yk_fd_fini(fd);
    free(fd);
}

static int wait_registered(struct fd_table *table, int number, unsigned event, const char *call)
{
    struct yk_fd *fd = NULL;
    int rc = share(table, number, event, call, &fd);

    if (rc < 0)
        return rc;
    rc = yk_fd_wait(fd, event);
    release(table, fd);
    return rc;
}

/* 1 it is ready; 0 it is not, and the table has a place for it; or an error. */
static int ready_now(struct yoke_runtime *runtime, int number, unsigned event, const char *call,
                     struct fd_table **ret_table)
{
    struct pollfd now = {.fd = number, .events = event == YK_READABLE ? POLLIN : POLLOUT};

    if (number < 0)
        return raise_errno(call, number, -EBADF);
    if (poll(&now, 1, 0) > 0)
        return now.revents & POLLNVAL ? raise_errno(call, number, -EBADF) : 1;
    /* The number is that of an open descriptor, which bounds the table. */
    *ret_table = table_of(runtime, number);
    return *ret_table == NULL ? raise_errno(call, number, -ENOMEM) : 0;
}

static int wait_for(int number, unsigned event, const char *call)
{
    struct yk_task *task = yk_task_self(call);
    struct fd_table *table;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    rc = ready_now(task->runtime, number, event, call, &table);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return wait_registered(table, number, event, call);
    yk_completed_at_once(task);
    return 0;
}

int yoke_wait_readable(int fd)
{
    return wait_for(fd, YK_READABLE, "yoke_wait_readable");
}

int yoke_wait_writable(int fd)
{
    return wait_for(fd, YK_WRITABLE, "yoke_wait_writable");
}

/* Cases of a select. `object` is the registration while it is enlisted. */

static int attempt_event(struct yoke_select_case *c, unsigned event)
{
    struct fd_table *table;

    return ready_now(yk_runtime_current, (int)c->number, event, "yoke_select", &table);
}

static int enlist_event(struct yoke_select_case *c, unsigned event)
{
    struct fd_table *table = yk_runtime_current->slots[YK_SLOT_FDS].data;
    struct yk_fd *fd = NULL;
    int rc = share(table, (int)c->number, event, "yoke_select", &fd);

    if (rc < 0)
        return rc;
    c->object = fd;
    yk_list_append(event == YK_READABLE ? &fd->readers : &fd->writers, &c->wait.node);
    yk_runtime_current->io_waits++;
    return 0;
}

static int attempt_readable(struct yoke_select_case *c)
{
    return attempt_event(c, YK_READABLE);
}

static int enlist_readable(struct yoke_select_case *c)
{
    return enlist_event(c, YK_READABLE);
}

static int attempt_writable(struct yoke_select_case *c)
{
    return attempt_event(c, YK_WRITABLE);
}

static int enlist_writable(struct yoke_select_case *c)
{
    return enlist_event(c, YK_WRITABLE);
}

static int finish_event(struct yoke_select_case *c, int rc)
{
    (void)c;
    yk_assert(rc == 0);
    return 1;
}

static void leave_event(struct yoke_select_case *c)
{
    yk_runtime_current->io_waits--;
    release(yk_runtime_current->slots[YK_SLOT_FDS].data, c->object);
    c->object = NULL;
}

struct yoke_select_case yoke_case_readable(int fd)
{
    static const struct yoke_select_source source = {
        .name = "readable",
        .attempt = attempt_readable,
        .enlist = enlist_readable,
        .finish = finish_event,
        .leave = leave_event,
    };

    return (struct yoke_select_case){.source = &source, .number = fd};
}

struct yoke_select_case yoke_case_writable(int fd)
{
    static const struct yoke_select_source source = {
        .name = "writable",
        .attempt = attempt_writable,
        .enlist = enlist_writable,
        .finish = finish_event,
        .leave = leave_event,
    };

    return (struct yoke_select_case){.source = &source, .number = fd};
}

ssize_t yoke_read(int fd, void *buffer, size_t size)
{
    struct yk_task *task = yk_task_self("yoke_read");
    int rc = yk_check_cancelled(task);

    while (rc == 0) {
        ssize_t n = read(fd, buffer, size);

        if (n >= 0) {
            yk_completed_at_once(task);
            return n;
        }
        if (errno == EAGAIN)
            rc = yoke_wait_readable(fd);
        else if (errno != EINTR)
            rc = raise_errno("read", fd, -errno);
    }
    return rc;
}

int yoke_write_all(int fd, const void *data, size_t size, size_t *ret_written)
{
    struct yk_task *task = yk_task_self("yoke_write_all");
    size_t written = 0;
    int rc = yk_check_cancelled(task);

    while (rc == 0 && written < size) {
        ssize_t n = yk_write_quietly(fd, (const char *)data + written, size - written);

        if (n > 0)
            written += (size_t)n;
        else if (n == -EAGAIN)
            rc = yoke_wait_writable(fd);
        else if (n != -EINTR)
            rc = raise_errno("write", fd, n < 0 ? (int)n : -EIO); /* 0 would go on for ever */
    }
    if (ret_written != NULL)
        *ret_written = written;
    if (rc == 0)
        yk_completed_at_once(task);
    return rc;
}
