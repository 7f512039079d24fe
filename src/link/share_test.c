/* SPDX-License-Identifier: MIT */
/*
 * Shared memory of links over real sockets: two links that share, and one whose other end is held
 * raw, to send what no link would send. And how many writes messages take.
 */
#include "../tests/support/realrun.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/limits.h"
#include "link/link.h"

enum { LARGE = 100000, SEGMENT = 128 << 10 /* what holds a large one */, ROUNDS = 200 };

static unsigned char bytes[YK_SEGMENT_SIZE_MAX + 1];

static struct yk_message large(unsigned char mark, size_t size)
{
    struct yk_message message = {.type = YK_YIELD};

    bytes[0] = mark;
    bytes[size - 1] = mark;
    message.as.payload.cid = "dialog";
    message.as.payload.pld = yoke_bin(bytes, size);
    return message;
}

static void check_large(const struct yoke_value *value, unsigned char mark, size_t size)
{
    const unsigned char *data = (const unsigned char *)value->as.str.data;

    yk_check_int(value->type, YOKE_BIN);
    yk_check_int(value->as.str.size, size);
    yk_check(data[0] == mark && data[size - 1] == mark);
}

static unsigned in_state(const struct yk_link *link, enum yk_segment_state state)
{
    unsigned n = 0;

    for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++)
        n += link->pool.segments[i].state == state;
    return n;
}

/* --- two links -------------------------------------------------------------------------------- */

struct pair {
    struct yk_link from, to;
    struct yk_lease lease; /* of what was received last */
    bool keep;             /* the first is to be held */
    struct yoke_value value;
    unsigned char mark;
    unsigned shared; /* messages that came through shared memory */
};

static void begin_sharing(struct yk_link *link)
{
    link->extensions = true;
    yk_check(yk_link_may_share(link));
    yk_link_share(link);
    yk_check(link->shares);
}

static void open_pair(struct pair *pair)
{
    int fds[2] = {-1, -1};

    memset(pair, 0, sizeof *pair);
    yk_check_int(yk_link_unix_pair(fds), 0);
    yk_check_int(yk_link_init(&pair->from, &yk_link_unix, fds[0]), 0);
    yk_check_int(yk_link_init(&pair->to, &yk_link_unix, fds[1]), 0);
    begin_sharing(&pair->from);
    begin_sharing(&pair->to);
}

static void close_pair(struct pair *pair)
{
    yk_link_fini(&pair->from);
    yk_link_fini(&pair->to);
    yk_lease_end(&pair->lease); /* what is lent outlives the link */
}

/* The sender's reader: nothing but releases comes. */
static int read_releases(void *arg)
{
    struct pair *pair = arg;
    struct yk_message message;

    return yk_link_receive(&pair->from, &message) < 0 ? YOKE_CANCELLED : 0;
}

static int read_values(void *arg)
{
    struct pair *pair = arg;
    struct yk_message message;
    int rc = 0;

    for (int i = 0; i < ROUNDS && rc >= 0; i++) {
        rc = yk_link_receive(&pair->to, &message);
        if (rc <= 0)
            break;
        check_large(&message.as.payload.pld, (unsigned char)i, LARGE);
        pair->shared += pair->to.view != NULL && pair->to.view->current != 0;
        if (!pair->keep)
            yk_lease_end(&pair->lease);
        if (pair->lease.view == NULL) {
            pair->lease = yk_view_take(pair->to.view);
            pair->value = message.as.payload.pld;
            pair->mark = (unsigned char)i;
        }
    }
    return rc < 0 ? rc : 0;
}

/* Sends them all, with a task each that reads both ends. */
static int run_pair(struct pair *pair)
{
    struct yoke_nursery nursery, readers;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_nursery_open(&readers, NULL);
    if (rc < 0)
        return rc;
    yk_check_int(yoke_spawn(&readers, read_releases, pair), 0);
    yk_check_int(yoke_spawn(&readers, yk_link_writer, &pair->from), 0);
    yk_check_int(yoke_spawn(&readers, yk_link_writer, &pair->to), 0);
    (void)nursery;
    for (int i = 0; rc == 0 && i < ROUNDS; i++) {
        struct yk_message message = large((unsigned char)i, LARGE);

        if (i == 0)
            yk_check_int(yoke_spawn(&readers, read_values, pair), 0);
        rc = yk_link_wait_share(&pair->from, LARGE);
        if (rc == 0)
            rc = yk_link_wait_room(&pair->from);
        if (rc == 0)
            rc = yk_link_send(&pair->from, &message);
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&readers), "all is through");
    rc = yoke_nursery_close(&readers, rc);
    return yoke_nursery_close(&nursery, rc);
}

YK_REAL_TEST(large_values_come_to_go_through_shared_memory_and_segments_are_used_again)
{
    struct pair pair;
    int rc;

    open_pair(&pair);
    rc = run_pair(&pair);
    yk_check(pair.shared > ROUNDS / 2);
    yk_check(in_state(&pair.from, YK_SEGMENT_FREE) + in_state(&pair.from, YK_SEGMENT_FULL) > 0);
    yk_check(pair.from.pool.total < (size_t)ROUNDS * LARGE);
    yk_check_int(pair.from.fd_out, -1);
    close_pair(&pair);
    return rc;
}

YK_REAL_TEST(what_is_lent_is_not_written_over_and_outlives_its_link)
{
    struct pair pair;
    int rc;

    open_pair(&pair);
    pair.keep = true;
    rc = run_pair(&pair);
    yk_check(pair.lease.view != NULL);
    yk_link_fini(&pair.from);
    yk_link_fini(&pair.to);
    check_large(&pair.value, pair.mark, LARGE);
    yk_lease_end(&pair.lease);
    return rc;
}

/* A value that fails behind a large one: what was placed is given back. */
YK_REAL_TEST(a_message_that_cannot_be_sent_gives_its_segment_back)
{
    struct yoke_value items[2];
    struct yk_message message = {.type = YK_YIELD};
    struct pair pair;
    int rc;

    open_pair(&pair);
    rc = run_pair(&pair);
    yk_check(in_state(&pair.from, YK_SEGMENT_FREE) > 0);
    items[0] = yoke_bin(bytes, LARGE);
    items[1] = yoke_str("\xff");
    message.as.payload.cid = "dialog";
    message.as.payload.pld = yoke_array(items, 2);
    yk_lease_end(&pair.lease);
    rc = yk_link_send(&pair.from, &message);
    yk_check_int(rc, -EINVAL);
    yoke_clear();
    yk_check(in_state(&pair.from, YK_SEGMENT_FULL) <= 1); /* the last one of the run */
    yk_check_int(yk_buffer_size(&pair.from.out), 0);
    close_pair(&pair);
    return 0;
}

YK_REAL_TEST(without_descriptors_values_go_as_bytes)
{
    struct pair pair;
    int rc;

    open_pair(&pair);
    yk_real_limit_descriptors(0);
    rc = run_pair(&pair);
    yk_real_limit_descriptors(-1);
    yk_check_int(pair.shared, 0);
    yk_check_int(pair.from.pool.total, 0);
    close_pair(&pair);
    return rc;
}

YK_REAL_TEST(what_is_too_large_for_a_segment_goes_as_bytes)
{
    struct yk_message message;
    struct pair pair;

    open_pair(&pair);
    for (int i = 0; i < 3; i++) {
        message = large(1, sizeof bytes);
        yk_check_int(yk_link_send(&pair.from, &message), 0);
    }
    yk_check_int(pair.from.pool.total, 0);
    close_pair(&pair);
    return 0;
}

/* --- a raw peer ------------------------------------------------------------------------------- */

struct raw {
    struct yk_link link;
    int peer;
};

static void open_raw(struct raw *raw, bool share)
{
    int fds[2] = {-1, -1};

    yk_check_int(yk_link_unix_pair(fds), 0);
    yk_check_int(yk_link_init(&raw->link, &yk_link_unix, fds[0]), 0);
    raw->link.extensions = true;
    if (share)
        begin_sharing(&raw->link);
    raw->peer = fds[1];
}

static void close_raw(struct raw *raw)
{
    yk_link_fini(&raw->link);
    close(raw->peer);
}

/* Sends bytes, with a descriptor, which is closed, if it is one. */
static void put(struct raw *raw, const void *data, size_t size, int fd)
{
    char control[CMSG_SPACE(sizeof fd)] __attribute__((aligned(8))) = {0};
    struct iovec io = {(void *)data, size};
    struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1};
    struct cmsghdr *head = (struct cmsghdr *)control;

    if (fd >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(head), &fd, sizeof fd);
    }
    yk_check_int(sendmsg(raw->peer, &message, MSG_NOSIGNAL), size);
    if (fd >= 0)
        close(fd);
}

static void put_message(struct raw *raw, const struct yk_message *message, int fd)
{
    struct yk_buffer buffer;

    yk_buffer_init(&buffer);
    yk_check_int(yk_message_encode(&buffer, message, true), 0);
    put(raw, buffer.data + buffer.start, yk_buffer_size(&buffer), fd);
    yk_buffer_fini(&buffer);
}

static struct yk_message offer(int64_t number, int64_t size)
{
    struct yk_message message = {.type = YK_SEGMENT};

    message.as.segment.number = number;
    message.as.segment.size = size;
    return message;
}

static struct yk_message stop(void)
{
    struct yk_message message = {.type = YK_STOP};

    message.as.stop.cid = "dialog";
    return message;
}

static int memory(size_t size, int seals)
{
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    yk_check(fd >= 0);
    yk_check_int(ftruncate(fd, (off_t)size), 0);
    if (seals != 0)
        yk_check_int(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

static int fixed(size_t size)
{
    return memory(size, F_SEAL_SHRINK | F_SEAL_GROW);
}

/* The link refuses what comes, with an error; no descriptor is left. */
static void refuses(struct raw *raw, const char *text)
{
    struct yk_message message;
    struct yoke_error *error;

    yk_check_int(yk_link_receive(&raw->link, &message), -EBADMSG);
    error = yoke_catch();
    yk_check(error != NULL && strstr(yoke_error_message(error), text) != NULL);
    yoke_error_unref(error);
    close_raw(raw);
}

static void refuses_offer(int64_t number, int64_t size, int fd, const char *text)
{
    struct yk_message message = offer(number, size);
    struct raw raw;

    open_raw(&raw, true);
    put_message(&raw, &message, fd);
    refuses(&raw, text);
}

YK_REAL_TEST(memory_that_the_peer_could_cut_is_refused)
{
    int pipe_fds[2];

    refuses_offer(0, SEGMENT, memory(SEGMENT, 0), "not sealed");
    refuses_offer(0, SEGMENT, memory(SEGMENT, F_SEAL_GROW), "not sealed");
    refuses_offer(0, SEGMENT, fixed(SEGMENT - 4096), "not of the size");
    refuses_offer(0, SEGMENT, fixed(0), "not of the size");
    refuses_offer(0, 0, fixed(0), "no size");
    refuses_offer(0, (int64_t)YK_SEGMENT_SIZE_MAX * 2, fixed(4096), "no size");
    refuses_offer(YK_SEGMENTS_MAX, SEGMENT, fixed(SEGMENT), "no such number");
    yk_check_int(pipe2(pipe_fds, O_CLOEXEC), 0);
    close(pipe_fds[1]);
    refuses_offer(0, SEGMENT, pipe_fds[0], "not of memory");
    return 0;
}

YK_REAL_TEST(a_link_that_does_not_share_refuses_memory)
{
    struct yk_message message = offer(0, SEGMENT);
    struct raw raw;

    open_raw(&raw, false);
    put_message(&raw, &message, fixed(SEGMENT));
    refuses(&raw, "without shared memory");
    return 0;
}

/* A Yield of one reference. */
static void put_reference(struct raw *raw, unsigned number, uint32_t size)
{
    struct yk_message nil = {.type = YK_YIELD};
    struct yk_buffer buffer;
    unsigned char reference[YK_BULK_SIZE] = {YK_BULK_HEAD, (unsigned char)number};

    nil.as.payload.cid = "dialog";
    nil.as.payload.pld = yoke_nil();
    for (unsigned i = 0; i < 4; i++)
        reference[2 + i] = (unsigned char)(size >> (24 - 8 * i));
    yk_buffer_init(&buffer);
    yk_check_int(yk_message_encode(&buffer, &nil, true), 0);
    buffer.end--; /* the nil */
    yk_check_int(yk_buffer_append(&buffer, reference, sizeof reference), 0);
    buffer.data[buffer.start] = (unsigned char)(yk_buffer_size(&buffer) - YK_FRAME_HEADER);
    put(raw, buffer.data + buffer.start, yk_buffer_size(&buffer), -1);
    yk_buffer_fini(&buffer);
}

/* A raw peer whose offer of segment 3 was taken, and that knows of it. */
static void open_with_segment(struct raw *raw)
{
    struct yk_message message = offer(3, SEGMENT), other = stop();

    open_raw(raw, true);
    put_message(raw, &message, fixed(SEGMENT));
    put_message(raw, &other, -1);
    yk_check_int(yk_link_receive(&raw->link, &message), 1);
    yk_check_int(message.type, YK_STOP);
    yk_check_int(yoke_checkpoint(), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0); /* the turn has ended */
    yk_check_int(raw->link.view->released, 0);
}

YK_REAL_TEST(references_to_what_is_not_there_are_refused)
{
    struct yk_message message;
    struct raw raw;

    open_with_segment(&raw);
    put_reference(&raw, 3, SEGMENT);
    yk_check_int(yk_link_receive(&raw.link, &message), 1);
    yk_check_int(message.as.payload.pld.as.str.size, SEGMENT);
    close_raw(&raw);
    open_with_segment(&raw);
    put_reference(&raw, 3, SEGMENT + 1);
    refuses(&raw, "no such bytes");
    open_with_segment(&raw);
    put_reference(&raw, 3, 0);
    refuses(&raw, "no such bytes");
    open_with_segment(&raw);
    put_reference(&raw, 2, 1);
    refuses(&raw, "no such bytes");
    open_with_segment(&raw);
    put_reference(&raw, 200, 1);
    refuses(&raw, "no such bytes");
    open_raw(&raw, true);
    put_reference(&raw, 0, 1);
    refuses(&raw, "0xc1");
    return 0;
}

YK_REAL_TEST(a_segment_in_use_can_be_neither_replaced_nor_written_again)
{
    struct yk_message message, again = offer(3, SEGMENT);
    struct yk_lease lease;
    struct raw raw;

    open_with_segment(&raw);
    put_reference(&raw, 3, 10);
    yk_check_int(yk_link_receive(&raw.link, &message), 1);
    lease = yk_view_take(raw.link.view);
    put_reference(&raw, 3, 10);
    refuses(&raw, "no such bytes");
    yk_lease_end(&lease);
    open_with_segment(&raw);
    put_reference(&raw, 3, 10);
    yk_check_int(yk_link_receive(&raw.link, &message), 1);
    lease = yk_view_take(raw.link.view);
    put_message(&raw, &again, fixed(SEGMENT));
    refuses(&raw, "in use");
    yk_lease_end(&lease);
    return 0;
}

YK_REAL_TEST(descriptors_that_no_frame_tells_of_are_closed)
{
    struct yk_message message, other = stop();
    unsigned before;
    struct raw raw;

    open_raw(&raw, true);
    before = yk_real_descriptors();
    for (int i = 0; i < 20; i++) {
        put_message(&raw, &other, fixed(4096));
        yk_check_int(yk_link_receive(&raw.link, &message), 1);
    }
    yk_check(yk_real_descriptors() <= before + 1);
    close_raw(&raw);
    return 0;
}

/* An offer whose descriptor did not come through is answered, and is no fault of the peer. */
YK_REAL_TEST(an_offer_without_its_descriptor_is_declined)
{
    struct yk_message message = offer(5, SEGMENT), other = stop();
    struct raw raw;

    open_raw(&raw, true);
    put_message(&raw, &message, -1);
    put_message(&raw, &other, -1);
    yk_check_int(yk_link_receive(&raw.link, &message), 1);
    yk_check_int(raw.link.view->refused, 1 << 5);
    yk_check_int(raw.link.view->released, 0);
    close_raw(&raw);
    return 0;
}

/* --- writes ----------------------------------------------------------------------------------- */

static unsigned writes;

static ssize_t counted_send(struct yk_link *link, const void *data, size_t size)
{
    writes++;
    return yk_link_unix.send(link, data, size);
}

static struct yk_message number(int64_t n)
{
    struct yk_message message = {.type = YK_YIELD};

    message.as.payload.cid = "dialog";
    message.as.payload.pld = yoke_int(n);
    return message;
}

YK_REAL_TEST(values_of_a_turn_are_written_together_and_all_else_at_once)
{
    struct yk_link_ops ops = yk_link_unix;
    struct yk_message other = stop();
    struct raw raw;

    open_raw(&raw, false);
    ops.send = counted_send;
    raw.link.ops = &ops;
    writes = 0;
    for (int i = 0; i < 100; i++) {
        struct yk_message message = number(i);

        yk_check_int(yk_link_send(&raw.link, &message), 0);
        yk_check_int(writes, 1); /* the first at once */
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(writes, 2); /* the others at the turn's end */
    yk_check_int(yk_buffer_size(&raw.link.out), 0);
    for (unsigned i = 0; i < 3; i++) {
        yk_check_int(yk_link_send(&raw.link, &other), 0);
        yk_check_int(writes, 3 + i);
        yk_check_int(yk_buffer_size(&raw.link.out), 0);
    }
    close_raw(&raw);
    return 0;
}

/* --- bounds ----------------------------------------------------------------------------------- */

enum { SENDERS = 8, BLOCK = 60000 };

static int send_for_ever(void *arg)
{
    struct yk_message message = {.type = YK_YIELD};
    struct yk_link *link = arg;
    int rc = 0;

    message.as.payload.cid = "dialog";
    message.as.payload.pld = yoke_bin(bytes, BLOCK);
    while (rc == 0) {
        rc = yk_link_wait_room(link);
        if (rc == 0)
            rc = yk_link_send(link, &message);
    }
    return rc;
}

YK_REAL_TEST(the_queue_to_a_peer_that_does_not_read_is_bounded)
{
    struct yoke_nursery nursery;
    struct raw raw;
    int rc = yoke_nursery_open(&nursery, NULL);

    open_raw(&raw, false);
    for (int i = 0; i < SENDERS; i++)
        yk_check_int(yoke_spawn(&nursery, send_for_ever, &raw.link), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check(yk_buffer_size(&raw.link.out) >= YK_LINK_QUEUE_MAX);
    yk_check(yk_buffer_size(&raw.link.out) < YK_LINK_QUEUE_MAX + SENDERS * (BLOCK + 200));
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "seen enough");
    rc = yoke_nursery_close(&nursery, rc);
    close_raw(&raw);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_values_come_to_go_through_shared_memory_and_segments_are_used_again),
        cmocka_unit_test(what_is_lent_is_not_written_over_and_outlives_its_link),
        cmocka_unit_test(a_message_that_cannot_be_sent_gives_its_segment_back),
        cmocka_unit_test(without_descriptors_values_go_as_bytes),
        cmocka_unit_test(what_is_too_large_for_a_segment_goes_as_bytes),
        cmocka_unit_test(memory_that_the_peer_could_cut_is_refused),
        cmocka_unit_test(a_link_that_does_not_share_refuses_memory),
        cmocka_unit_test(references_to_what_is_not_there_are_refused),
        cmocka_unit_test(a_segment_in_use_can_be_neither_replaced_nor_written_again),
        cmocka_unit_test(descriptors_that_no_frame_tells_of_are_closed),
        cmocka_unit_test(an_offer_without_its_descriptor_is_declined),
        cmocka_unit_test(values_of_a_turn_are_written_together_and_all_else_at_once),
        cmocka_unit_test(the_queue_to_a_peer_that_does_not_read_is_bounded),
    };

    return cmocka_run_group_tests_name("shared memory of links", tests, NULL, NULL);
}
