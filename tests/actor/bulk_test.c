/* SPDX-License-Identifier: MIT */
/*
 * Large values between actors, which go through shared memory once there are several, and many
 * small ones, for which the window grows. And what an actor said before it crashed.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/event.h>

#include "../tests/support/actors.h"

enum { LARGE = 300000, SMALL = 5000, TIMES = 40 };

static char bytes[LARGE];

/* Bytes that differ from those of other values, at their ends and in the middle. */
static struct yoke_value value_number(int64_t i, size_t size)
{
    bytes[0] = (char)i;
    bytes[size / 2] = (char)(i >> 8);
    bytes[size - 1] = (char)~i;
    return yoke_bin(bytes, size);
}

static bool is_number(const struct yoke_value *value, int64_t i, size_t size)
{
    const char *data = value->as.str.data;

    return value->type == YOKE_BIN && value->as.str.size == size && data[0] == (char)i &&
           data[size / 2] == (char)(i >> 8) && data[size - 1] == (char)~i;
}

/* Gives back what it gets, in an array of two. */
static int echo(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value data = yoke_value_get(args, "data");

    return yoke_context_return(ctx, YOKE_ARRAY(data, yoke_int((int64_t)data.as.str.size)));
}
YOKE_ENDPOINT("bulk:echo", echo);

/* Streams back what it gets. */
static int reflect(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    while (rc >= 0 && (rc = yoke_stream_receive(ctx, &value)) > 0)
        rc = yoke_stream_send(ctx, value);
    return rc;
}
YOKE_ENDPOINT("bulk:reflect", reflect);

/* Streams values of sizes that change all the time. */
static size_t size_of(int64_t i)
{
    static const size_t sizes[] = {3, LARGE, 100, 20000, 5000, 200000};

    return i < 2000 ? 3 : sizes[i % 6];
}

static int mix(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n = 0;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    for (int64_t i = 0; rc == 0 && i < n; i++)
        rc = yoke_stream_send(ctx, value_number(i, size_of(i)));
    return rc;
}
YOKE_ENDPOINT("bulk:mix", mix);

static struct yoke_event dying;

/* Starts, and fails when the actor is about to be killed. */
static int last_words(struct yoke_context *ctx, struct yoke_value args)
{
    int rc;

    (void)args;
    yoke_event_init(&dying);
    rc = yoke_context_started(ctx, yoke_str("it began"));
    if (rc == 0)
        rc = yoke_event_wait(&dying);
    return rc < 0 ? rc : yoke_raise("test.LastWords", EIO, "this is the end");
}
YOKE_ENDPOINT("bulk:last_words", last_words);

/* In one turn of the loop: the other endpoint has its say, and the process is gone. */
static int die(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = 0;

    (void)ctx;
    (void)args;
    yoke_event_set(&dying);
    for (int i = 0; rc == 0 && i < 3; i++)
        rc = yoke_checkpoint();
    raise(SIGKILL);
    return rc;
}
YOKE_ENDPOINT("bulk:die", die);

YK_PEER_TEST(large_arguments_and_results_arrive_whole)
{
    for (int i = 0; i < TIMES; i++) {
        struct yoke_value *result = NULL, data = value_number(i, LARGE);
        int rc = yoke_call(peer, "bulk:echo", YOKE_MAP({"data", data}), &result);

        yk_check_int(rc, 0);
        if (rc < 0) {
            yoke_clear();
            return;
        }
        yk_check_int(result->as.array.n, 2);
        yk_check(is_number(&result->as.array.items[0], i, LARGE));
        yk_check_int(result->as.array.items[1].as.integer, LARGE);
        yoke_value_free(result);
    }
}

/* What was received stays as it is while others are sent and come. */
YK_PEER_TEST(large_values_go_there_and_back_and_stay_until_the_next_receive)
{
    enum { AHEAD = 8 };
    struct yoke_context ctx;
    struct yoke_value value;
    int rc = yoke_context_open(&ctx, peer, "bulk:reflect", yoke_nil(), NULL);

    yk_check_int(rc, 0);
    if (rc < 0)
        return;
    for (int i = 0; rc >= 0 && i < AHEAD; i++)
        rc = yoke_stream_send(&ctx, value_number(i, LARGE));
    for (int i = 0; rc >= 0 && i < 3 * TIMES; i++) {
        rc = yoke_stream_receive(&ctx, &value);
        yk_check_int(rc, 1);
        yk_check_int(yoke_stream_send(&ctx, value_number(i + AHEAD, LARGE)), 0);
        yk_check_int(yoke_checkpoint(), 0);
        yk_check(rc == 1 && is_number(&value, i, LARGE));
    }
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(small_and_large_values_keep_their_order)
{
    enum { N = 2600 };
    struct yoke_context ctx;
    struct yoke_value value;
    int rc = yoke_context_open(&ctx, peer, "bulk:mix", YOKE_MAP({"n", yoke_int(N)}), NULL);
    int64_t i = 0;

    yk_check_int(rc, 0);
    if (rc < 0)
        return;
    while ((rc = yoke_stream_receive(&ctx, &value)) > 0) {
        if (!is_number(&value, i, size_of(i)))
            break;
        i++;
    }
    yk_check_int(rc, 0);
    yk_check_int(i, N);
    yk_check_int(yoke_context_close(&ctx, rc, NULL), 0);
}

/* Many small ones ahead, then large ones that nobody receives: each side goes on. */
YK_PEER_TEST(a_sender_of_large_values_is_not_held_up_by_small_ones_that_were_consumed)
{
    struct yoke_context ctx;
    struct yoke_value value;
    int rc = yoke_context_open(&ctx, peer, "bulk:reflect", yoke_nil(), NULL);

    yk_check_int(rc, 0);
    if (rc < 0)
        return;
    for (int i = 0; rc >= 0 && i < SMALL; i++) {
        rc = yoke_stream_send(&ctx, yoke_int(i));
        if (rc == 0)
            rc = yoke_stream_receive(&ctx, &value);
    }
    for (int i = 0; rc >= 0 && i < 32; i++)
        rc = yoke_stream_send(&ctx, value_number(i, 20000));
    for (int i = 0; rc >= 0 && i < 32; i++) {
        rc = yoke_stream_receive(&ctx, &value);
        yk_check(rc == 1 && is_number(&value, i, 20000));
    }
    yk_check(rc > 0);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

static void hear_last_words(struct yoke_portal *peer)
{
    struct yoke_context ctx;
    struct yoke_error *error;
    int rc = yoke_context_open(&ctx, peer, "bulk:last_words", yoke_nil(), NULL);

    yk_check_int(rc, 0);
    if (rc < 0)
        return;
    yk_check_text(yk_text_of(yoke_context_first(&ctx)), "it began");
    rc = yoke_call(peer, "bulk:die", yoke_nil(), NULL);
    yk_check(rc < 0);
    yoke_clear();
    yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EREMOTE);
    error = yk_caught();
    yk_check(yk_find_error(error, "test.LastWords") != NULL);
    yoke_error_unref(error);
}

YK_ACTORS_TEST(what_an_actor_said_before_it_was_killed_is_told)
{
    yk_check(yk_with_peer(NULL, hear_last_words) < 0);
    yoke_clear();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_arguments_and_results_arrive_whole),
        cmocka_unit_test(large_values_go_there_and_back_and_stay_until_the_next_receive),
        cmocka_unit_test(small_and_large_values_keep_their_order),
        cmocka_unit_test(a_sender_of_large_values_is_not_held_up_by_small_ones_that_were_consumed),
        cmocka_unit_test(what_an_actor_said_before_it_was_killed_is_told),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("large values", tests, NULL, NULL);
}
