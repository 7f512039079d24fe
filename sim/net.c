/* SPDX-License-Identifier: MIT */
/* Stream connections: pieces under way, each an event; bytes that have arrived; two ends. */
#include "sim/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { CAPACITY = 32 << 10 };

/* What is under way in one direction: bytes, or (size 0) the end of them. */
struct piece {
    struct sim_event event;
    struct yk_list node;
    struct end *to;
    size_t size;
    unsigned char bytes[];
};

struct end {
    struct sim_descriptor descriptor; /* first */
    struct sim_connection *connection;
    struct end *other;
    struct yk_buffer arrived;
    struct yk_list under_way; /* to this end, in order */
    int64_t last_ns;          /* when the last piece to this end arrives */
    size_t under_way_size;
    bool ended;  /* the other end is closed, and all it sent has arrived */
    bool closed; /* this one is */
};

struct sim_connection {
    struct sim_world *world;
    struct end ends[2];
    bool broken;
    bool held;
};

static struct end *end_of(struct sim_descriptor *descriptor)
{
    return (struct end *)descriptor;
}

static void piece_free(struct piece *piece)
{
    sim_event_cancel(&piece->event);
    yk_list_remove(&piece->node);
    piece->to->under_way_size -= piece->size;
    free(piece);
}

static void arrive(struct sim_event *event)
{
    struct piece *piece = yk_container_of(event, struct piece, event);
    struct end *to = piece->to;

    if (piece->size == 0)
        to->ended = true;
    else if (!to->closed && yk_buffer_reserve(&to->arrived, piece->size) == 0) {
        memcpy(to->arrived.data + to->arrived.end, piece->bytes, piece->size);
        to->arrived.end += piece->size;
    }
    piece_free(piece);
    if (!to->closed)
        sim_descriptor_ready(&to->descriptor,
                             to->ended ? YK_READABLE | YK_EXCEPTIONAL : YK_READABLE);
}

static int64_t arrival_time(struct sim_connection *connection, struct end *to)
{
    struct sim_world *world = connection->world;
    /* Steps rather than any time: what matters is the order of events, not the distance. */
    int64_t step = world->limits.delay_ns / 8;
    int64_t at = world->now_ns + (int64_t)sim_choose(world, 8, "delay") * step;

    if (at < to->last_ns)
        at = to->last_ns;
    to->last_ns = at;
    return at;
}

static bool dispatch(struct end *to, const unsigned char *bytes, size_t size)
{
    struct piece *piece = malloc(sizeof *piece + size);

    if (piece == NULL)
        return false;
    piece->to = to;
    piece->size = size;
    piece->event.run = arrive;
    yk_list_init(&piece->event.node);
    memcpy(piece->bytes, bytes, size);
    yk_list_append(&to->under_way, &piece->node);
    to->under_way_size += size;
    if (!to->connection->held)
        sim_at(to->connection->world, &piece->event, arrival_time(to->connection, to));
    return true;
}

static ssize_t end_send(struct end *end, const unsigned char *bytes, size_t size)
{
    struct end *to = end->other;
    size_t room, n;

    if (end->connection->broken || to->closed)
        return -EPIPE;
    room = CAPACITY - to->under_way_size - yk_buffer_size(&to->arrived);
    n = size < room ? size : room;
    if (n == 0)
        return -EAGAIN;
    /* Cut somewhere, or not. */
    if (n > 1 && sim_choose(end->connection->world, 4, "is a write cut") == 3) {
        size_t head = 1 + sim_choose(end->connection->world, (unsigned)n - 1, "where");

        if (!dispatch(to, bytes, head))
            return -ENOMEM;
        bytes += head;
        if (!dispatch(to, bytes, n - head))
            return (ssize_t)head;
    } else if (!dispatch(to, bytes, n)) {
        return -ENOMEM;
    }
    return (ssize_t)n;
}

static ssize_t end_receive(struct end *end, unsigned char *bytes, size_t size)
{
    size_t there = yk_buffer_size(&end->arrived), n = size < there ? size : there;

    if (end->connection->broken)
        return -ECONNRESET;
    if (n == 0)
        return end->ended ? 0 : -EAGAIN;
    memcpy(bytes, end->arrived.data + end->arrived.start, n);
    yk_buffer_consume(&end->arrived, n);
    if (!end->other->closed)
        sim_descriptor_ready(&end->other->descriptor, YK_WRITABLE);
    return (ssize_t)n;
}

static void connection_free(struct sim_connection *connection)
{
    for (int i = 0; i < 2; i++) {
        struct end *end = &connection->ends[i];

        while (!yk_list_empty(&end->under_way))
            piece_free(yk_container_of(end->under_way.next, struct piece, node));
        yk_buffer_fini(&end->arrived);
    }
    free(connection);
}

static void end_close(struct sim_descriptor *descriptor)
{
    struct end *end = end_of(descriptor);

    end->closed = true;
    if (end->other->closed)
        connection_free(end->connection);
    else if (!dispatch(end->other, (const unsigned char *)"", 0))
        sim_connection_break(end->connection); /* no memory to tell the end: then it is a reset */
}

static const struct sim_descriptor_ops end_ops = {.close = end_close};

int sim_connect(struct sim_process *a, struct sim_process *b, int *ret_a, int *ret_b)
{
    struct sim_connection *connection = calloc(1, sizeof *connection);
    int rc = 0;

    if (connection == NULL)
        return -ENOMEM;
    connection->world = a->world;
    for (int i = 0; i < 2; i++) {
        struct end *end = &connection->ends[i];

        end->connection = connection;
        end->other = &connection->ends[1 - i];
        yk_buffer_init(&end->arrived);
        yk_list_init(&end->under_way);
    }
    rc = sim_descriptor_open(a, &connection->ends[0].descriptor, &end_ops);
    if (rc == 0)
        rc = sim_descriptor_open(b, &connection->ends[1].descriptor, &end_ops);
    if (rc < 0) {
        connection->ends[1].closed = true;
        if (connection->ends[0].descriptor.process != NULL)
            sim_descriptor_close(&connection->ends[0].descriptor);
        else
            connection_free(connection);
        return rc;
    }
    *ret_a = connection->ends[0].descriptor.number;
    *ret_b = connection->ends[1].descriptor.number;
    return 0;
}

struct sim_connection *sim_connection_of(struct sim_process *process, int number)
{
    struct sim_descriptor *descriptor = sim_descriptor_of(process, number);

    return descriptor == NULL || descriptor->ops != &end_ops ? NULL
                                                             : end_of(descriptor)->connection;
}

void sim_connection_break(struct sim_connection *connection)
{
    connection->broken = true;
    for (int i = 0; i < 2; i++) {
        struct end *end = &connection->ends[i];

        while (!yk_list_empty(&end->under_way))
            piece_free(yk_container_of(end->under_way.next, struct piece, node));
        if (!end->closed)
            sim_descriptor_ready(&end->descriptor, YK_READABLE | YK_WRITABLE | YK_EXCEPTIONAL);
    }
}

void sim_connection_hold(struct sim_connection *connection)
{
    connection->held = true;
    for (int i = 0; i < 2; i++)
        yk_list_for_each (node, &connection->ends[i].under_way)
            sim_event_cancel(&yk_container_of(node, struct piece, node)->event);
}

void sim_connection_release(struct sim_connection *connection)
{
    if (!connection->held)
        return;
    connection->held = false;
    for (int i = 0; i < 2; i++)
        yk_list_for_each (node, &connection->ends[i].under_way) {
            struct piece *piece = yk_container_of(node, struct piece, node);

            sim_at(connection->world, &piece->event, arrival_time(connection, piece->to));
        }
}

/* --- as a transport --------------------------------------------------------------------------- */

static struct end *end_of_link(struct yk_link *link)
{
    struct sim_process *process = sim_process_of(link->fd.runtime->host);
    struct sim_descriptor *descriptor = sim_descriptor_of(process, link->fd.watch.fd);

    return descriptor == NULL ? NULL : end_of(descriptor);
}

static ssize_t link_receive(struct yk_link *link, void *data, size_t size)
{
    struct end *end = end_of_link(link);

    return end == NULL ? 0 : end_receive(end, data, size); /* a ghost's have ended */
}

static void link_close(struct yk_link *link)
{
    struct end *end = end_of_link(link);

    if (end != NULL)
        sim_descriptor_close(&end->descriptor);
}

static void link_end(struct yk_link *link)
{
    struct end *end = end_of_link(link);

    if (end != NULL)
        sim_connection_break(end->connection);
}

static ssize_t link_send(struct yk_link *link, const void *data, size_t size)
{
    struct end *end = end_of_link(link);

    return end == NULL ? -EPIPE : end_send(end, data, size);
}

const struct yk_link_ops sim_link = {
    .name = "simulated",
    .receive = link_receive,
    .send = link_send,
    .end = link_end,
    .close = link_close,
};
