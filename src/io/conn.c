/* SPDX-License-Identifier: MIT */
/*
 * Conns: reading, writing and closing, for every kind alike. The operation is tried first, and
 * waited for only if it says EAGAIN. Nothing is allocated, and no clock is read.
 *
 * Lifetime: `refs` are the users' references, `users` the calls that are inside. Closing wakes
 * those that wait; each looks at `closed` after every wait, before it touches the descriptor, whose
 * number may be somebody else's by then. The memory goes when both counts are 0. A conn whose
 * descriptor a worker thread may be using is closed only by the last call to leave.
 *
 * `drained`: with edge-triggered readiness a short read from a stream socket says that the socket
 * is empty and that the next byte will be told (epoll(7)), so that the futile read that would say
 * EAGAIN can be left out. It does not hold when the end, an error or urgent data has been told
 * already, since those are told once: the watch keeps them in `exceptional`.
 */
#include "io/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yoke/error.h>

#include "base/check.h"

void yk_conn_init(struct yoke_conn *conn, const struct yk_conn_ops *ops)
{
    conn->ops = ops;
    conn->refs = 1;
    conn->fd.runtime = yk_runtime_current;
    conn->fd.watch.fd = -1;
    yk_list_init(&conn->fd.readers);
    yk_list_init(&conn->fd.writers);
}

int yk_conn_watch(struct yoke_conn *conn, int number)
{
    int rc = yk_fd_init(&conn->fd, number);

    if (rc < 0)
        conn->fd.watch.fd = -1;
    return rc;
}

int yk_conn_fd_wait(struct yoke_conn *conn, unsigned event)
{
    return yk_fd_wait(&conn->fd, event);
}

void yk_conn_fd_close(struct yoke_conn *conn)
{
    yk_fd_fini(&conn->fd);
    close(conn->fd.watch.fd);
    conn->fd.watch.fd = -1;
}

int yk_conn_failed(const struct yoke_conn *conn, const char *call, int rc)
{
    char name[256] = "";

    if (rc == YOKE_ECLOSED)
        return yoke_raise("yoke.Closed", rc, "%s: this end was closed", call);
    conn->ops->name(conn, name, sizeof name);
    return yoke_raise("yoke.Io", rc, "%s %s: %s", call, name, strerror(-rc));
}

static int refused(const struct yoke_conn *conn, const struct yk_task *holder, const char *call)
{
    if (conn->closed)
        return yk_conn_failed(conn, call, YOKE_ECLOSED);
    return yoke_raise("yoke.Busy", EBUSY, "%s: task %s (%llu) is doing the same on this conn", call,
                      yk_task_name(holder), (unsigned long long)holder->locus.task_id);
}

int yk_conn_begin(struct yoke_conn *conn, struct yk_task *task, struct yk_task **role,
                  const char *call)
{
    if (__builtin_expect(conn->closed || *role != NULL, 0))
        return refused(conn, *role, call);
    *role = task;
    conn->users++;
    return 0;
}

/* Nobody is inside any more. */
static void last_left(struct yoke_conn *conn)
{
    if (conn->closed && conn->close_when_unused) {
        conn->close_when_unused = false;
        conn->ops->close(conn);
    }
    if (conn->refs == 0)
        conn->ops->free(conn);
}

void yk_conn_end(struct yoke_conn *conn, struct yk_task **role)
{
    *role = NULL;
    if (--conn->users == 0 && __builtin_expect(conn->closed, 0))
        last_left(conn);
}

int yk_conn_wait(struct yoke_conn *conn, unsigned event, const char *call)
{
    int rc = conn->ops->wait(conn, event);

    /* Cancelled first: it is in flight already. */
    if (rc != YOKE_CANCELLED && conn->closed)
        return yk_conn_failed(conn, call, YOKE_ECLOSED);
    return rc;
}

/* A failed operation, or wait: makes sure that it was raised. Returns `n`. */
static ssize_t raised(const struct yoke_conn *conn, const char *call, ssize_t n)
{
    if (conn->ops->waits_itself || n < -4095)
        return n;
    return yk_conn_failed(conn, call, (int)n);
}

/* The part of a read that waits. */
static ssize_t read_later(struct yoke_conn *conn, void *buffer, size_t size)
{
    ssize_t n;

    do {
        int rc = yk_conn_wait(conn, YK_READABLE, "read");

        if (rc < 0)
            return rc;
        conn->drained = false;
        n = conn->ops->read(conn, buffer, size);
    } while (n == -EAGAIN);
    return n;
}

ssize_t yoke_conn_read(struct yoke_conn *conn, void *buffer, size_t size)
{
    struct yk_task *task = yk_task_self("yoke_conn_read");
    bool at_once = true;
    ssize_t n = yk_check_cancelled(task);

    if (n == 0 && size == 0)
        n = yk_conn_failed(conn, "read", -EINVAL); /* its 0 could not be told from the end */
    if (n == 0)
        n = yk_conn_begin(conn, task, &conn->reader, "read");
    if (n < 0)
        return n;
    n = conn->drained ? -EAGAIN : conn->ops->read(conn, buffer, size);
    if (n == -EAGAIN && !conn->ops->waits_itself) {
        at_once = false;
        n = read_later(conn, buffer, size);
    }
    if (__builtin_expect(n < 0, 0))
        n = raised(conn, "read", n);
    yk_conn_end(conn, &conn->reader);
    if (at_once && n >= 0)
        yk_completed_at_once(task);
    return n;
}

int yoke_conn_read_exactly(struct yoke_conn *conn, void *buffer, size_t size, size_t *ret_n)
{
    size_t got = 0;
    ssize_t n = 1;

    while (got < size && (n = yoke_conn_read(conn, (char *)buffer + got, size - got)) > 0)
        got += (size_t)n;
    if (ret_n != NULL)
        *ret_n = got;
    if (n == 0 && got > 0)
        return yoke_raise("yoke.Io", EBADMSG, "the end came after %zu of %zu bytes", got, size);
    return n < 0 ? (int)n : n > 0;
}

/* Writes until all is out, or `some` bytes are. 0 or negative. */
static int write_on(struct yoke_conn *conn, const char *data, size_t size, bool some,
                    size_t *written, bool *waited)
{
    while (*written < size && !(some && *written > 0)) {
        ssize_t n = conn->ops->write(conn, data + *written, size - *written);

        if (n >= 0) {
            *written += (size_t)n;
        } else if (n == -EAGAIN && !conn->ops->waits_itself) {
            int rc = yk_conn_wait(conn, YK_WRITABLE, "write");

            *waited = true;
            if (rc < 0)
                return rc;
        } else {
            return (int)raised(conn, "write", n);
        }
    }
    return 0;
}

static int write_common(struct yoke_conn *conn, const void *data, size_t size, bool some,
                        size_t *ret_written)
{
    struct yk_task *task = yk_task_self("yoke_conn_write");
    bool waited = false;
    int rc = yk_check_cancelled(task);

    *ret_written = 0;
    if (rc == 0)
        rc = yk_conn_begin(conn, task, &conn->writer, "write");
    if (rc < 0)
        return rc;
    rc = write_on(conn, data, size, some, ret_written, &waited);
    yk_conn_end(conn, &conn->writer);
    if (!waited && rc == 0)
        yk_completed_at_once(task);
    return rc;
}

int yoke_conn_write_all(struct yoke_conn *conn, const void *data, size_t size, size_t *ret_written)
{
    size_t written;
    int rc = write_common(conn, data, size, false, &written);

    if (ret_written != NULL)
        *ret_written = written;
    return rc;
}

ssize_t yoke_conn_write(struct yoke_conn *conn, const void *data, size_t size)
{
    size_t written;
    int rc = write_common(conn, data, size, true, &written);

    return rc < 0 ? rc : (ssize_t)written;
}

int yoke_conn_close_write(struct yoke_conn *conn)
{
    int rc;

    if (conn->closed || conn->writer != NULL)
        return refused(conn, conn->writer, "close_write");
    rc = conn->ops->close_write(conn);
    return rc < 0 ? yk_conn_failed(conn, "close_write", rc) : 0;
}

void yoke_conn_close(struct yoke_conn *conn)
{
    if (conn->closed)
        return;
    conn->closed = true;
    while (yk_wake_first(&conn->fd.readers, YOKE_ECLOSED))
        continue;
    while (yk_wake_first(&conn->fd.writers, YOKE_ECLOSED))
        continue;
    if (conn->users == 0)
        conn->close_when_unused = false;
    if (!conn->close_when_unused)
        conn->ops->close(conn);
}

int yk_conn_take(struct yoke_conn *conn)
{
    int number = conn->fd.watch.fd;

    yk_assert(!conn->closed && conn->users == 0 && number >= 0);
    yk_fd_fini(&conn->fd);
    conn->fd.watch.fd = -1;
    conn->closed = true;
    return number;
}

struct yoke_conn *yoke_conn_ref(struct yoke_conn *conn)
{
    conn->refs++;
    return conn;
}

struct yoke_conn *yoke_conn_unref(struct yoke_conn *conn)
{
    if (conn == NULL || --conn->refs > 0)
        return NULL;
    yoke_conn_close(conn);
    if (conn->users == 0)
        conn->ops->free(conn);
    return NULL;
}

int yoke_conn_fd(const struct yoke_conn *conn)
{
    return conn->closed ? -1 : conn->fd.watch.fd;
}

int yk_conn_prepare(int number)
{
    int flags = fcntl(number, F_GETFL);

    if (flags < 0 || fcntl(number, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    if ((flags & O_NONBLOCK) == 0 && fcntl(number, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

int yoke_conn_from_fd(int fd, struct yoke_conn **ret_conn)
{
    struct stat status;
    int rc;

    yk_task_self("yoke_conn_from_fd");
    rc = fstat(fd, &status) < 0 ? -errno : 0;
    if (rc == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
        rc = yk_conn_file(fd, NULL, ret_conn);
    } else if (rc == 0) {
        rc = yk_conn_prepare(fd);
        if (rc == 0 && S_ISSOCK(status.st_mode))
            rc = yk_conn_socket(fd, NULL, ret_conn);
        else if (rc == 0)
            rc = yk_conn_pipe(fd, NULL, ret_conn);
    }
    return rc < 0 ? yoke_raise("yoke.Io", rc, "from_fd %d: %s", fd, strerror(-rc)) : 0;
}
