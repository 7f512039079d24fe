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
static void fail(struct yk_link *link, int error);

static void close_descriptor(struct yk_link *link)
{
    if (link->ops->close != NULL)
        link->ops->close(link);
    else
        close(link->fd.watch.fd);
}

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
    yk_pool_init(&link->pool);
    yk_list_init(&link->lenders);
    link->fd_out = -1;
    rc = yk_fd_init(&link->fd, fd);
    if (rc < 0) {
        close_descriptor(link);
        return yoke_raise("yoke.Link", rc, "descriptor %d can't be watched: %s", fd, strerror(-rc));
    }
    return 0;
}

static void close_fd_out(struct yk_link *link)
{
    if (link->fd_out >= 0)
        close(link->fd_out);
    link->fd_out = -1;
}

/* Those that came, and that no frame has told of. */
static void close_fds_in(struct yk_link *link)
{
    while (link->fds_in_n > 0)
        close(link->fds_in[--link->fds_in_n]);
}

void yk_link_fini(struct yk_link *link)
{
    yk_assert(yk_list_empty(&link->room) && yk_list_empty(&link->flush) &&
              yk_list_empty(&link->lenders));
    yk_list_remove(&link->turn_end.node);
    yk_fd_fini(&link->fd);
    close_descriptor(link);
    yk_buffer_fini(&link->in);
    yk_buffer_fini(&link->out);
    yk_arena_fini(&link->arena);
    yk_pool_fini(&link->pool);
    yk_view_abandon(link->view);
    close_fd_out(link);
    close_fds_in(link);
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
    while (yk_wake_first(&link->lenders, 0))
        continue;
    close_fd_out(link);
}

/* Writes once, with the descriptor that goes with the first byte, or up to the byte it goes with.
 */
static ssize_t write_once(struct yk_link *link)
{
    const unsigned char *data = link->out.data + link->out.start;
    size_t size = yk_buffer_size(&link->out);
    ssize_t n;

    if (link->fd_out < 0)
        return link->ops->send(link, data, size);
    if (link->fd_at > 0) {
        n = link->ops->send(link, data, link->fd_at);
        link->fd_at -= n > 0 ? (size_t)n : 0;
        return n;
    }
    n = link->ops->send_fd(link, data, size, link->fd_out);
    if (n > 0)
        close_fd_out(link);
    return n;
}

void yk_link_break(struct yk_link *link, int error)
{
    fail(link, error);
    link->ops->end(link);
}

/* Writes what the transport takes. */
static void write_some(struct yk_link *link)
{
    while (!link->failed && yk_buffer_size(&link->out) > 0) {
        ssize_t n = write_once(link);

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

/* Tells the peer which of its segments it may write to again. */
static void release_segments(struct yk_link *link)
{
    struct yk_message message = {.type = YK_RELEASE};
    struct yk_view *view = link->view;

    if (link->failed || view == NULL ||
        (view->released == 0 && view->refused == 0 && !link->owes_answer))
        return;
    message.as.release.free = view->released;
    message.as.release.refused = view->refused;
    message.as.release.answer = link->owes_answer;
    if (yk_message_encode(&link->out, &message, true) < 0) {
        yoke_clear(); /* no memory: with the next one */
        return;
    }
    view->released = 0;
    view->refused = 0;
    link->owes_answer = false;
}

static void view_changed(void *arg)
{
    struct yk_link *link = arg;

    yk_at_turn_end(link->fd.runtime, &link->turn_end);
}

static void turn_ended(struct yk_turn_end *end)
{
    struct yk_link *link = yk_container_of(end, struct yk_link, turn_end);

    link->wrote = false;
    release_segments(link);
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

/* A new segment, when the last value found none: only one is on its way at a time. */
static void offer_segment(struct yk_link *link)
{
    struct yk_message message = {.type = YK_SEGMENT};
    size_t before = yk_buffer_size(&link->out);
    int number, fd = -1;

    if (link->pool.wanted == 0 || link->fd_out >= 0)
        return;
    number = yk_pool_offer(&link->pool, &fd);
    if (number < 0)
        return;
    message.as.segment.number = number;
    message.as.segment.size = (int64_t)link->pool.segments[number].size;
    if (yk_message_encode(&link->out, &message, true) < 0) {
        yoke_clear();
        close(fd);
        yk_pool_released(&link->pool, 0, UINT32_C(1) << number);
        return;
    }
    link->fd_out = fd;
    link->fd_at = before;
}

static int encode(struct yk_link *link, const struct yk_message *message)
{
    int rc;

    if (!link->shares)
        return yk_message_encode(&link->out, message, link->extensions);
    rc = yk_message_encode_with(&link->out, message, true, &link->pool.bulk);
    if (rc < 0) {
        yk_pool_undo(&link->pool);
    } else {
        yk_pool_keep(&link->pool);
        offer_segment(link);
    }
    return rc;
}

int yk_link_send(struct yk_link *link, const struct yk_message *message)
{
    int rc;

    if (link->failed)
        return -EPIPE;
    rc = encode(link, message);
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

bool yk_link_may_share(struct yk_link *link)
{
    return link->ops->send_fd != NULL && link->ops->may_share(link);
}

void yk_link_share(struct yk_link *link)
{
    link->shares = link->extensions && yk_link_may_share(link);
}

int yk_link_wait_share(struct yk_link *link, size_t size)
{
    static const struct yk_message reclaim = {.type = YK_RECLAIM};
    int rc = 0;

    while (rc == 0 && link->shares && !link->failed && !link->stuck &&
           yk_pool_exhausted(&link->pool, size)) {
        if (!link->reclaiming) {
            rc = yk_link_send(link, &reclaim);
            if (rc < 0)
                return rc == -EPIPE ? 0 : rc;
            link->reclaiming = true;
        }
        rc = yk_wait_in(&link->lenders, "shared memory of a link", NULL);
    }
    return rc;
}

/* The peer has released segments, or has none to release. */
static void handle_release(struct yk_link *link, const struct yk_release *release)
{
    bool any = yk_pool_released(&link->pool, (uint32_t)release->free, (uint32_t)release->refused);

    if (any)
        link->stuck = false;
    if (release->answer && link->reclaiming) {
        link->reclaiming = false;
        link->stuck = !any;
    }
    if (any || release->answer)
        while (yk_wake_first(&link->lenders, 0))
            continue;
}

static int handle_segment(struct yk_link *link, const struct yk_segment_message *segment)
{
    int fd = -1;

    if (link->fds_in_n > 0) {
        fd = link->fds_in[0];
        memmove(link->fds_in, link->fds_in + 1, --link->fds_in_n * sizeof *link->fds_in);
    }
    return yk_view_accept(link->view, segment->number, segment->size, fd);
}

/* What concerns the link alone. 1: it was that; 0; or the failure. */
static int handle_own(struct yk_link *link, const struct yk_message *message)
{
    int rc = 0;

    if (message->type < YK_SEGMENT)
        return 0;
    if (!link->shares)
        return yoke_raise("yoke.BadMessage", EBADMSG, "%s on a link without shared memory",
                          yk_message_type_name(message->type));
    if (link->view == NULL)
        link->view = yk_view_new(view_changed, link);
    if (link->view == NULL)
        return yoke_raise("yoke.OutOfMemory", ENOMEM, "no memory to share memory");
    if (message->type == YK_SEGMENT) {
        rc = handle_segment(link, &message->as.segment);
    } else if (message->type == YK_RELEASE) {
        handle_release(link, &message->as.release);
    } else {
        link->owes_answer = true;
        view_changed(link);
    }
    return rc < 0 ? rc : 1;
}

/*
 * Once; descriptors that come are kept for the frame that tells of them, as far as may be. A read
 * ends at a byte that one came with, whatever is behind it: that is told.
 */
static ssize_t receive_once(struct yk_link *link, void *data, size_t size, bool *ret_cut)
{
    ssize_t n;
    int fd = YK_NO_FD;

    if (link->ops->receive_fd == NULL)
        return link->ops->receive(link, data, size);
    if (yk_buffer_size(&link->in) == 0)
        close_fds_in(link); /* all frames up to here were read, and none told of them */
    n = link->ops->receive_fd(link, data, size, &fd);
    *ret_cut = fd != YK_NO_FD;
    if (fd >= 0 && link->fds_in_n < YK_LINK_FDS)
        link->fds_in[link->fds_in_n++] = fd;
    else if (fd >= 0)
        close(fd);
    return n;
}

/* More bytes into `in`. 1, 0 at the end, or YOKE_CANCELLED, -ENOMEM. */
static int read_some(struct yk_link *link)
{
    int rc = yk_buffer_reserve(&link->in, READ_SIZE);

    if (rc < 0)
        return yoke_raise("yoke.Link", rc, "no memory to receive");
    for (;;) {
        size_t room = link->in.capacity - link->in.end;
        unsigned char *to = link->in.data + link->in.end;
        bool cut = false;
        ssize_t n = link->drained ? -EAGAIN : receive_once(link, to, room, &cut);

        /*
         * A stream that gave less than there was room for has no more for now, and the poller tells
         * of what comes; but of its end it may have told together with what was just read.
         */
        link->drained = n > 0 && (size_t)n < room && !cut && !link->fd.exceptional;
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

/* The next whole frame, decoded; as yk_link_receive. */
static int receive_frame(struct yk_link *link, struct yk_message *ret_message)
{
    struct yk_bulk_in *bulk = NULL;
    const unsigned char *body;
    size_t size;
    int rc;

    yk_buffer_consume(&link->in, link->in_used);
    link->in_used = 0;
    yk_arena_reset(&link->arena);
    yk_view_message_done(link->view);
    while ((rc = yk_frame_next(&link->in, &body, &size)) == 0) {
        rc = read_some(link);
        if (rc <= 0)
            return rc;
    }
    if (link->view != NULL)
        bulk = &link->view->bulk;
    if (rc > 0)
        rc = yk_message_decode_in_place(&link->arena, (void *)body, size, bulk, ret_message);
    if (rc < 0)
        return rc; /* the link still sends: the peer is to be told */
    link->in_used = YK_FRAME_HEADER + size;
    return 1;
}

int yk_link_receive(struct yk_link *link, struct yk_message *ret_message)
{
    int own = 1;

    while (own > 0) {
        int rc = yk_check_cancelled(yk_runtime_current->current);

        if (rc == 0) /* also amid frames: a peer that sends on and on can't keep its reader */
            rc = receive_frame(link, ret_message);
        if (rc <= 0)
            return rc;
        own = handle_own(link, ret_message);
        if (own < 0)
            fail(link, own);
        yk_completed_at_once(yk_runtime_current->current);
    }
    return own < 0 ? own : 1;
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
