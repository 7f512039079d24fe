/* SPDX-License-Identifier: MIT */
/* Conns, by the memory pair: reading, writing, ends, closing, cancellation, two at once. */
#include "../tests/support/simrun.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <yoke/nursery.h>
#include <yoke/pipe.h>
#include <yoke/testing.h>

struct pair {
    struct yoke_conn *a, *b;
};

static void pair_open(struct pair *pair, size_t capacity, bool fragment)
{
    struct yoke_memory_opts opts = {.capacity = capacity, .fragment = fragment};

    yk_check_int(yoke_memory_pair(&opts, &pair->a, &pair->b), 0);
}

static void pair_close(struct pair *pair)
{
    yk_check(yoke_conn_unref(pair->a) == NULL);
    yk_check(yoke_conn_unref(pair->b) == NULL);
}

/* A task that does one thing with a conn, and what came of it. */
struct user {
    struct yoke_conn *conn;
    char room[64];
    size_t size;
    size_t done;
    ssize_t rc;
    struct yoke_scope *scope;
};

static int read_once(void *arg)
{
    struct user *user = arg;

    user->rc = yoke_conn_read(user->conn, user->room, sizeof user->room);
    if (user->rc < 0 && user->rc != YOKE_CANCELLED)
        yk_check_caught("yoke.Closed", "read: this end was closed");
    return user->rc == YOKE_CANCELLED ? YOKE_CANCELLED : 0;
}

static int write_once(void *arg)
{
    struct user *user = arg;
    int rc = yoke_conn_write_all(user->conn, user->room, user->size, &user->done);

    user->rc = rc;
    if (rc < 0 && rc != YOKE_CANCELLED)
        yoke_clear();
    return rc == YOKE_CANCELLED ? rc : 0;
}

/* Opens a nursery with one user, who has got as far as it can. */
static void begin(struct yoke_nursery *nursery, yoke_task_fn fn, struct user *user)
{
    yk_check_int(yoke_nursery_open(nursery, NULL), 0);
    yk_check_int(yoke_spawn(nursery, fn, user), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
}

YK_SIM_TEST(what_one_end_writes_the_other_reads)
{
    struct pair pair;
    char room[16];

    pair_open(&pair, 0, false);
    yk_check_int(yoke_conn_write_all(pair.a, "hello ", 6, NULL), 0);
    yk_check_int(yoke_conn_write_all(pair.a, "you", 3, NULL), 0);
    yk_check_int(yoke_conn_read(pair.b, room, 4), 4);
    yk_check(memcmp(room, "hell", 4) == 0);
    yk_check_int(yoke_conn_read(pair.b, room, sizeof room), 5);
    yk_check(memcmp(room, "o you", 5) == 0);
    yk_check_int(yoke_conn_write(pair.b, "back", 4), 4);
    yk_check_int(yoke_conn_read(pair.a, room, sizeof room), 4);
    yk_check_int(yoke_conn_fd(pair.a), -1);
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(the_end_is_read_after_what_was_written_and_the_other_way_still_works)
{
    struct pair pair;
    char room[16];

    pair_open(&pair, 0, false);
    yk_check_int(yoke_conn_write_all(pair.a, "last", 4, NULL), 0);
    yk_check_int(yoke_conn_close_write(pair.a), 0);
    yk_check_int(yoke_conn_close_write(pair.a), 0);
    yk_check_int(yoke_conn_read(pair.b, room, sizeof room), 4);
    yk_check_int(yoke_conn_read(pair.b, room, sizeof room), 0);
    yk_check_int(yoke_conn_read(pair.b, room, sizeof room), 0);
    yk_check_int(yoke_conn_write_all(pair.b, "x", 1, NULL), 0);
    yk_check_int(yoke_conn_read(pair.a, room, sizeof room), 1);
    yk_check_int(yoke_conn_write_all(pair.a, "x", 1, NULL), -EPIPE);
    yk_check_caught("yoke.Io", "write memory: Broken pipe");
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(a_reader_waits_for_the_first_byte_and_for_no_more)
{
    struct yoke_nursery nursery;
    struct user reader = {.rc = 99};
    struct pair pair;

    pair_open(&pair, 0, false);
    reader.conn = pair.b;
    begin(&nursery, read_once, &reader);
    yk_check_int(reader.rc, 99);
    yk_check_int(yoke_conn_write_all(pair.a, "x", 1, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(reader.rc, 1);
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(a_writer_waits_for_room_and_a_cancelled_one_says_how_much_went_out)
{
    struct yoke_nursery nursery;
    struct user writer = {.size = 40};
    struct pair pair;
    char room[64];

    pair_open(&pair, 16, false);
    writer.conn = pair.a;
    begin(&nursery, write_once, &writer);
    yk_check_int(yoke_conn_read(pair.b, room, 10), 10);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(writer.rc, YOKE_CANCELLED);
    yk_check_int(writer.done, 26);
    yk_check_int(yoke_conn_read(pair.b, room, sizeof room), 16);
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(a_cancelled_reader_took_nothing)
{
    struct yoke_scope scope;
    struct pair pair;
    char room[8];
    int rc;

    pair_open(&pair, 0, false);
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(5)});
    if (rc == 0)
        rc = (int)yoke_conn_read(pair.b, room, sizeof room);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_conn_write_all(pair.a, "kept", 4, NULL), YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&scope));
    yk_check_int(yoke_conn_write_all(pair.a, "kept", 4, NULL), 0);
    yk_check_int(yoke_conn_read(pair.b, room, sizeof room), 4);
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(closing_wakes_who_waits_at_this_end_with_closed)
{
    struct yoke_nursery nursery;
    struct user reader = {.rc = 99}, writer = {.rc = 99, .size = 40};
    struct pair pair;
    char room[4];

    pair_open(&pair, 16, false);
    reader.conn = writer.conn = pair.a;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, read_once, &reader), 0);
    yk_check_int(yoke_spawn(&nursery, write_once, &writer), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_conn_close(pair.a);
    yoke_conn_close(pair.a);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(reader.rc, YOKE_ECLOSED);
    yk_check_int(writer.rc, YOKE_ECLOSED);
    yk_check_int(writer.done, 16);
    yk_check_int(yoke_conn_read(pair.a, room, sizeof room), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_conn_write_all(pair.a, "x", 1, NULL), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_conn_close_write(pair.a), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(closing_the_other_end_ends_readers_and_breaks_writers)
{
    struct yoke_nursery nursery;
    struct user reader = {.rc = 99}, writer = {.rc = 99, .size = 40};
    struct pair pair;

    pair_open(&pair, 16, false);
    reader.conn = writer.conn = pair.a;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, read_once, &reader), 0);
    yk_check_int(yoke_spawn(&nursery, write_once, &writer), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_conn_close(pair.b);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(reader.rc, 0);
    yk_check_int(writer.rc, -EPIPE);
    pair_close(&pair);
    return 0;
}

/* The memory of a conn lasts until the last waiter has left it, even if its owner is gone. */
YK_SIM_TEST(the_last_unref_under_a_waiter_wakes_it_with_closed)
{
    struct yoke_nursery nursery;
    struct user reader = {.rc = 99};
    struct pair pair;

    pair_open(&pair, 16, false);
    reader.conn = pair.a;
    begin(&nursery, read_once, &reader);
    pair_close(&pair);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(reader.rc, YOKE_ECLOSED);
    return 0;
}

YK_SIM_TEST(a_second_reader_or_writer_is_refused_and_harms_nobody)
{
    struct yoke_nursery nursery;
    struct user reader = {.rc = 99}, writer = {.rc = 99, .size = 40};
    struct pair pair;
    char room[64];
    size_t written = 7;

    pair_open(&pair, 16, false);
    reader.conn = writer.conn = pair.a;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, read_once, &reader), 0);
    yk_check_int(yoke_spawn(&nursery, write_once, &writer), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_conn_read(pair.a, room, sizeof room), -EBUSY);
    yk_check_caught("yoke.Busy", NULL);
    yk_check_int(yoke_conn_write_all(pair.a, "x", 1, &written), -EBUSY);
    yk_check_caught("yoke.Busy", NULL);
    yk_check_int(written, 0);
    yk_check_int(yoke_conn_close_write(pair.a), -EBUSY);
    yk_check_caught("yoke.Busy", NULL);
    yk_check_int(yoke_conn_read_exactly(pair.b, room, 40, NULL), 1);
    yk_check_int(yoke_conn_write_all(pair.b, "y", 1, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(reader.rc, 1);
    yk_check_int(writer.rc, 0);
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(reading_exactly_tells_all_from_none_from_torn)
{
    struct pair pair;
    char room[8];
    size_t n = 99;

    pair_open(&pair, 0, true);
    yk_check_int(yoke_conn_write_all(pair.a, "12345678abc", 11, NULL), 0);
    yk_check_int(yoke_conn_read_exactly(pair.b, room, 8, &n), 1);
    yk_check_int(n, 8);
    yk_check(memcmp(room, "12345678", 8) == 0);
    yoke_conn_close(pair.a);
    yk_check_int(yoke_conn_read_exactly(pair.b, room, 8, &n), -EBADMSG);
    yk_check_caught("yoke.Io", "the end came after 3 of 8 bytes");
    yk_check_int(n, 3);
    yk_check_int(yoke_conn_read_exactly(pair.b, room, 8, &n), 0);
    yk_check_int(n, 0);
    yk_check_int(yoke_conn_read_exactly(pair.b, room, 0, &n), 1);
    pair_close(&pair);
    return 0;
}

YK_SIM_TEST(reading_into_no_room_is_refused)
{
    struct pair pair;
    char room[1];

    pair_open(&pair, 0, false);
    yk_check_int(yoke_conn_read(pair.a, room, 0), -EINVAL);
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(yoke_conn_write_all(pair.a, room, 0, NULL), 0);
    pair_close(&pair);
    return 0;
}

enum { FLOW = 20000 };

static int produce(void *arg)
{
    struct yoke_conn *conn = arg;
    unsigned char bytes[97];
    size_t sent = 0;
    int rc = 0;

    while (rc == 0 && sent < FLOW) {
        size_t n = FLOW - sent < sizeof bytes ? FLOW - sent : sizeof bytes;

        for (size_t i = 0; i < n; i++)
            bytes[i] = (unsigned char)((sent + i) * 7);
        rc = yoke_conn_write_all(conn, bytes, n, NULL);
        sent += n;
    }
    return rc < 0 ? rc : yoke_conn_close_write(conn);
}

/* Through rings of odd sizes, in pieces of any length, in any order of tasks. */
YK_SIM_TEST(every_byte_arrives_once_and_in_order_in_whatever_pieces)
{
    struct yoke_nursery nursery;
    struct pair pair;
    size_t got = 0, pieces = 0;
    unsigned char room[113];
    ssize_t n;

    pair_open(&pair, 1 + (size_t)(yk_sim_seed() * 13 % 200), true);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, produce, pair.a), 0);
    while ((n = yoke_conn_read(pair.b, room, sizeof room)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (room[i] != (unsigned char)((got + (size_t)i) * 7))
                yk_check_failed(__FILE__, __LINE__, "byte %zu is wrong", got + (size_t)i);
        got += (size_t)n;
        pieces++;
    }
    yk_check_int(n, 0);
    yk_check_int(got, FLOW);
    yk_check(pieces > FLOW / sizeof room);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    pair_close(&pair);
    return 0;
}

static void deadlock_is_told(int rc)
{
    yk_check_int(rc, YOKE_EDEADLOCK);
    yk_check(yoke_in_flight() != NULL);
    yoke_clear();
}

/* Waits for memory are not waits for the world: a mistake in a protocol is found, not waited out.
 */
YK_SIM_TEST_WITH(two_ends_that_wait_for_each_other_are_a_deadlock,
                 &(struct yk_sim){.inspect = deadlock_is_told})
{
    struct pair pair;
    char room[4];
    int rc;

    pair_open(&pair, 0, false);
    rc = (int)yoke_conn_read(pair.a, room, sizeof room);
    pair_close(&pair);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_end_writes_the_other_reads),
        cmocka_unit_test(the_end_is_read_after_what_was_written_and_the_other_way_still_works),
        cmocka_unit_test(a_reader_waits_for_the_first_byte_and_for_no_more),
        cmocka_unit_test(a_writer_waits_for_room_and_a_cancelled_one_says_how_much_went_out),
        cmocka_unit_test(a_cancelled_reader_took_nothing),
        cmocka_unit_test(closing_wakes_who_waits_at_this_end_with_closed),
        cmocka_unit_test(closing_the_other_end_ends_readers_and_breaks_writers),
        cmocka_unit_test(the_last_unref_under_a_waiter_wakes_it_with_closed),
        cmocka_unit_test(a_second_reader_or_writer_is_refused_and_harms_nobody),
        cmocka_unit_test(reading_exactly_tells_all_from_none_from_torn),
        cmocka_unit_test(reading_into_no_room_is_refused),
        cmocka_unit_test(every_byte_arrives_once_and_in_order_in_whatever_pieces),
        cmocka_unit_test(two_ends_that_wait_for_each_other_are_a_deadlock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
