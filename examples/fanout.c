/* SPDX-License-Identifier: MIT */
/*
 * fanout: many requests at once, but not too many: fetches ITEMS items from a server, at most LIMIT
 * at a time, each within a deadline and with one more try. Some items are slow and some are never
 * answered; those are given up, and the rest are there.
 *
 *   fanout [ITEMS [LIMIT [DEADLINE_MS]]]
 *
 * The server is a task of this program, at a free port; its items are made up.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yoke.h>

enum { TRIES = 2, ITEM_MS = 5, SLOW_MS = 40 };

/* --- the server: a number and a newline in, that many bytes out ---------------------------------
 */

static int deliver(struct yoke_conn *conn, void *arg)
{
    char request[32] = "", bytes[1000];
    size_t used = 0;
    long item;
    int rc;

    (void)arg;
    while (strchr(request, '\n') == NULL && used + 1 < sizeof request) {
        ssize_t n = yoke_conn_read(conn, request + used, sizeof request - 1 - used);

        if (n <= 0)
            return (int)n;
        used += (size_t)n;
    }
    item = strtol(request, NULL, 10);
    if (item % 10 == 7)
        return yoke_sleep_forever(); /* until the client is gone, or the server ends */
    rc = yoke_sleep(YOKE_MS(item % 10 == 3 ? SLOW_MS : ITEM_MS));
    memset(bytes, 'x', sizeof bytes);
    for (long left = item * 100; rc == 0 && left > 0; left -= (long)sizeof bytes)
        rc = yoke_conn_write_all(conn, bytes,
                                 left < (long)sizeof bytes ? (size_t)left : sizeof bytes, NULL);
    return rc;
}

static int run_server(void *arg)
{
    return yoke_serve(arg, deliver, NULL, NULL);
}

/* --- the client --------------------------------------------------------------------------------
 */

struct fetches {
    char place[YOKE_ADDRESS_TEXT];
    int64_t deadline_ns;        /* of one request */
    struct yoke_channel *items; /* still to be fetched: whoever is free takes the next one */
    long done, given_up, tries, bytes, running, most;
};

/* One request and its answer. The bytes; negative. */
static long ask_for(const char *place, long item)
{
    struct yoke_conn *conn;
    char request[32], room[4096];
    long got = 0;
    ssize_t n = -1;
    int rc = yoke_connect(place, NULL, &conn);

    if (rc < 0)
        return rc;
    snprintf(request, sizeof request, "%ld\n", item);
    rc = yoke_conn_write_all(conn, request, strlen(request), NULL);
    while (rc == 0 && (n = yoke_conn_read(conn, room, sizeof room)) > 0)
        got += n;
    yoke_conn_unref(conn);
    return rc < 0 ? rc : n < 0 ? n : got;
}

/* 1 and it is there; 0: not within the deadline; negative. */
static int try_once(struct fetches *fetches, long item)
{
    struct yoke_scope scope;
    long got = 0;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "one request",
                                                               .timeout_ns = fetches->deadline_ns});

    fetches->tries++;
    if (++fetches->running > fetches->most)
        fetches->most = fetches->running;
    if (rc == 0)
        got = ask_for(fetches->place, item);
    fetches->running--;
    rc = yoke_scope_close(&scope, got < 0 ? (int)got : rc);
    if (rc < 0)
        return rc;
    if (yoke_scope_cancelled_caught(&scope))
        return 0;
    if (got != item * 100)
        return yoke_raise("fanout.Torn", EBADMSG, "item %ld has %ld bytes", item, got);
    fetches->bytes += got;
    return 1;
}

static int fetch_items(void *arg)
{
    struct fetches *fetches = arg;
    long item;
    int rc;

    while ((rc = yoke_channel_receive(fetches->items, &item)) > 0) {
        rc = 0;
        for (int i = 0; rc == 0 && i < TRIES; i++)
            rc = try_once(fetches, item);
        if (rc < 0)
            return rc;
        fetches->done += rc;
        fetches->given_up += 1 - rc;
    }
    return rc;
}

static int fetch_all(struct fetches *fetches, long items, long limit)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    for (long i = 0; rc == 0 && i < limit; i++)
        rc = yoke_spawn(&nursery, fetch_items, fetches);
    for (long item = 1; rc == 0 && item <= items; item++)
        rc = yoke_channel_send(fetches->items, &item);
    yoke_channel_close_send(fetches->items);
    return yoke_nursery_close(&nursery, rc);
}

/* The i-th argument of the program, a number; or what it is by default. */
static long argument(char **arguments, int i, long otherwise)
{
    for (int before = 0; before <= i; before++)
        if (arguments[before] == NULL)
            return otherwise;
    return atol(arguments[i]);
}

static int app(void *arg)
{
    long items = argument(arg, 0, 40), limit = argument(arg, 1, 8);
    struct fetches fetches = {
        .items = yoke_channel_new(sizeof(long), 0),
        .deadline_ns = YOKE_MS(argument(arg, 2, 500)),
    };
    struct yoke_listener *listener = NULL;
    struct yoke_nursery nursery;
    int rc = fetches.items == NULL ? -ENOMEM : yoke_listen("127.0.0.1:0", NULL, &listener);

    if (rc == 0) {
        yoke_address_format(yoke_listener_address(listener), fetches.place, sizeof fetches.place);
        rc = yoke_nursery_open(&nursery, NULL);
        if (rc == 0)
            rc = yoke_spawn(&nursery, run_server, listener);
        if (rc == 0)
            rc = fetch_all(&fetches, items, limit);
        yoke_scope_cancel(yoke_nursery_scope(&nursery), "all is fetched"); /* the server's end */
        rc = yoke_nursery_close(&nursery, rc);
    }
    yoke_listener_unref(listener);
    yoke_channel_unref(fetches.items);
    if (rc == 0)
        printf("%ld items, %ld bytes; %ld given up; %ld requests, at most %ld at once\n",
               fetches.done, fetches.bytes, fetches.given_up, fetches.tries, fetches.most);
    return rc;
}

int main(int argc, char **argv)
{
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = argv + 1});
}
