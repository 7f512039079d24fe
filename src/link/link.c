/* SPDX-License-Identifier: MIT */
/*
 * Links over a stream transport. A sender writes by itself, which saves a task switch on the common
 * path; what the transport does not take is left to the writer task. Of the values of streams only
 * the first of a turn of the loop is written at once: those behind it, and messages that nobody
 * waits for, go out together at the turn's end, or when they are many. So a program that streams
 * much makes few system calls, and one that streams little does not wait.
 *
 * Control messages are never held back; senders of values wait for room before they send, so that
 * the queue is bounded by YK_LINK_QUEUE_MAX plus a frame per sender.
 */
#include "link/link.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/limits.h"

enum { READ_SIZE = 64 << 10, BATCH_SIZE = 64 << 10 };

static void turn_ended(struct yk_turn_end *end);

int yk_link_init(struct yk_link *link, const struct yk_link_ops *ops, int fd)
{
    int rc;

    memset(link, 0, sizeof *link);
    link->ops = ops;
    yk_list_init(&link->room);
    yk_list_init(&link->flush);
    yk_list_init(&link->turn_end.node);
    link->turn_end.run = turn_ended;
    yk_buffer_init(&link->in);
    yk_buffer_init(&link->out);
    yk_arena_init(&link->arena);
    rc = yk_fd_init(&link->fd, fd);
    if (rc < 0) {
        close(fd);
        return yoke_raise("yoke.Link", rc, "descriptor %d can't be watched: %s", fd, strerror(-rc));
    }
    return 0;
}

void yk_link_fini(struct yk_link *link)
{
    yk_assert(yk_list_empty(&link->room) && yk_list_empty(&link->flush));
    yk_list_remove(&link->turn_end.node);
    yk_fd_fini(&link->fd);
    close(link->fd.watch.fd);
    yk_buffer_fini(&link->in);
    yk_buffer_fini(&link->out);
    yk_arena_fini(&link->arena);
}

static void fail(struct yk_link *link, int error)
{
    if (link->failed)
        return;
    link->failed = true;
    link->error = error;
    yk_buffer_consume(&link->out, yk_buffer_size(&link->out));
    while (yk_wake_first(&link->room, -EPIPE))
        continue;
    while (yk_wake_first(&link->flush, 0))
        continue;
}

/* Writes what the transport takes. */
static void write_some(struct yk_link *link)
{
    while (!link->failed && yk_buffer_size(&link->out) > 0) {
        ssize_t n =
            link->ops->send(link, link->out.data + link->out.start, yk_buffer_size(&link->out));

        if (n == -EAGAIN) {
            link->blocked = true;
            yk_wake_first(&link->flush, 0);
            return;
        }
        if (n < 0) {
            fail(link, (int)n);
            return;
        }
        yk_buffer_consume(&link->out, (size_t)n);
        if (yk_buffer_size(&link->out) < YK_LINK_QUEUE_MAX)
            while (yk_wake_first(&link->room, 0))
                continue;
    }
}

static void turn_ended(struct yk_turn_end *end)
{
    struct yk_link *link = yk_container_of(end, struct yk_link, turn_end);

    link->wrote = false;
    if (!link->blocked)
        write_some(link);
}

/*
 * Whether it may go out with what comes behind it: nobody waits for it by itself, or it is a value
 * of a stream that runs. All else is written at once, so that what a process said before it crashed
 * is told.
 */
static bool can_wait(const struct yk_link *link, const struct yk_message *message)
{
    switch (message->type) {
    case YK_START_ACK:
    case YK_CREDIT:
        return true;
    case YK_YIELD:
        return link->wrote;
    default:
        return false;
    }
}

int yk_link_send(struct yk_link *link, const struct yk_message *message)
{
    int rc;

    if (link->failed)
        return -EPIPE;
    rc = yk_message_encode(&link->out, message, link->extensions);
    if (rc < 0)
        return rc;
    yk_at_turn_end(link->fd.runtime, &link->turn_end);
    if (!link->blocked && (yk_buffer_size(&link->out) >= BATCH_SIZE || !can_wait(link, message))) {
        link->wrote = true;
        write_some(link);
    }
    return link->failed ? -EPIPE : 0;
}

int yk_link_wait_room(struct yk_link *link)
{
    while (!link->failed && yk_buffer_size(&link->out) >= YK_LINK_QUEUE_MAX) {
        int rc = yk_wait_in(&link->room, "room on a link", NULL);

        if (rc < 0)
            return rc;
    }
    return link->failed ? -EPIPE : 0;
}

/* More bytes into `in`. 1, 0 at the end, or YOKE_CANCELLED, -ENOMEM. */
static int read_some(struct yk_link *link)
{
    int rc = yk_buffer_reserve(&link->in, READ_SIZE);

    if (rc < 0)
        return yoke_raise("yoke.Link", rc, "no memory to receive");
    for (;;) {
        size_t room = link->in.capacity - link->in.end;
        ssize_t n =
            link->drained ? -EAGAIN : link->ops->receive(link, link->in.data + link->in.end, room);

        /*
         * A stream that gave less than there was room for has no more for now, and the poller tells
         * of what comes; but of its end it may have told together with what was just read.
         */
        link->drained = n > 0 && (size_t)n < room && !link->fd.exceptional;
        if (n > 0) {
            link->in.end += (size_t)n;
            return 1;
        }
        if (n != -EAGAIN) {
            if (n == 0 && yk_buffer_size(&link->in) > 0)
                n = -ECONNRESET; /* the end came inside a frame */
            fail(link, (int)n);
            return 0;
        }
        rc = yk_fd_wait(&link->fd, YK_READABLE);
        if (rc < 0)
            return rc;
    }
}

int yk_link_receive(struct yk_link *link, struct yk_message *ret_message)
{
    const unsigned char *body;
    size_t size;
    int rc = yk_check_cancelled(yk_runtime_current->current);

    if (rc < 0)
        return rc; /* also amid frames: a peer that sends on and on can't keep its reader */
    yk_buffer_consume(&link->in, link->in_used);
    link->in_used = 0;
    yk_arena_reset(&link->arena);
    for (;;) {
        rc = yk_frame_next(&link->in, &body, &size);
        if (rc != 0)
            break;
        rc = read_some(link);
        if (rc <= 0)
            return rc;
    }
    if (rc > 0)
        rc = yk_message_decode(&link->arena, body, size, ret_message);
    if (rc < 0)
        return rc; /* the link still sends: the peer is to be told */
    link->in_used = 4 + size;
    yk_completed_at_once(yk_runtime_current->current);
    return 1;
}

/* The rest of the queue, for as long as the surrounding scope allows. */
static int write_all(struct yk_link *link)
{
    int rc = 0;

    while (rc == 0 && !link->failed && yk_buffer_size(&link->out) > 0) {
        link->blocked = false;
        write_some(link);
        if (!link->failed && yk_buffer_size(&link->out) > 0)
            rc = yk_fd_wait(&link->fd, YK_WRITABLE);
    }
    return rc;
}

static int flush_before_end(struct yk_link *link)
{
    struct yoke_scope scope;
    struct yoke_hold hold;
    int rc;

    yoke_hold(&hold);
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                     .name = "last flush",
                                     .timeout_ns = YK_LINK_FLUSH_NS,
                                     .shield = true,
                                 });
    if (rc == 0)
        rc = write_all(link);
    rc = yoke_scope_close(&scope, rc);
    if (rc < 0)
        yoke_clear(); /* the peer does not read: that it got nothing is for it to say */
    return yoke_release(&hold);
}

int yk_link_writer(void *arg)
{
    struct yk_link *link = arg;
    int rc = 0;

    while (rc == 0 && !link->failed) {
        rc = write_all(link);
        if (rc == 0 && !link->failed)
            rc = yk_wait_in(&link->flush, "messages to send", NULL);
        if (rc == 0)
            rc = yk_check_cancelled(yk_runtime_current->current);
    }
    return rc < 0 ? flush_before_end(link) : 0;
}
