/* SPDX-License-Identifier: MIT */
/*
 * The stderr of a new process is a pipe until it is up; then it goes over to ours, which it was
 * given as another descriptor. It does so when its parent says that it knows it, which that says
 * after it has read the pipe empty: so nothing is lost, and nothing overtakes.
 */
#include "io/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "error/error.h"

void yk_tail_open(struct yk_tail *tail)
{
    int fds[2];

    memset(tail, 0, sizeof *tail);
    tail->write_fd = -1;
    if (fcntl(STDERR_FILENO, F_GETFD) < 0 || pipe2(fds, O_CLOEXEC) < 0)
        return;
    if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 || yk_fd_init(&tail->fd, fds[0]) < 0) {
        close(fds[0]);
        close(fds[1]);
        return;
    }
    tail->open = true;
    tail->write_fd = fds[1];
}

void yk_tail_close(struct yk_tail *tail)
{
    if (tail->write_fd >= 0)
        close(tail->write_fd);
    tail->write_fd = -1;
    if (!tail->open)
        return;
    tail->open = false;
    yk_fd_fini(&tail->fd);
    close(tail->fd.watch.fd);
}

/* A stderr that is gone is no reason to fail; one that is full is waited for, as by any writer. */
static void write_all(const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(STDERR_FILENO, data, size);

        if (n < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = STDERR_FILENO, .events = POLLOUT}, 1, -1);
        else if (n < 0 && errno != EINTR)
            return;
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

static void keep(struct yk_tail *tail, const char *data, size_t size)
{
    size_t room = sizeof tail->text;
    size_t old;

    if (size > room) {
        data += size - room;
        size = room;
    }
    old = tail->size > room - size ? room - size : tail->size;
    memmove(tail->text, tail->text + tail->size - old, old);
    memcpy(tail->text + old, data, size);
    tail->size = old + size;
}

/* 1: there may be more; 0: the end; -EAGAIN: nothing now. */
static int pass_on_some(struct yk_tail *tail)
{
    char data[4096];
    ssize_t n = read(tail->fd.watch.fd, data, sizeof data);

    if (n < 0)
        return errno == EINTR ? 1 : errno == EAGAIN ? -EAGAIN : 0;
    write_all(data, (size_t)n);
    keep(tail, data, (size_t)n);
    return n > 0;
}

void yk_tail_drain(struct yk_tail *tail)
{
    while (tail->open && pass_on_some(tail) > 0)
        continue;
}

int yk_tail_pass_on(void *arg)
{
    struct yk_tail *tail = arg;
    int rc = 1;

    while (rc > 0) {
        rc = pass_on_some(tail);
        if (rc != -EAGAIN)
            continue;
        rc = yk_fd_wait(&tail->fd, YK_READABLE);
        if (rc < 0)
            return rc;
        rc = 1;
    }
    yk_tail_close(tail);
    return 0;
}

void yk_tail_note(const struct yk_tail *tail, struct yoke_error *error)
{
    char note[sizeof tail->text + 64];
    size_t size = tail->size;

    while (size > 0 && tail->text[size - 1] == '\n')
        size--;
    if (size == 0)
        return;
    snprintf(note, sizeof note, "the last that it said on stderr: %.*s", (int)size, tail->text);
    (void)yk_error_add_note(error, note);
}
