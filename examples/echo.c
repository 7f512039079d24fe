/* SPDX-License-Identifier: MIT */
/*
 * echo: a server that sends back what it gets, a client that talks to it, and both in one program.
 *
 *   echo serve PLACE           until interrupted; PLACE as 127.0.0.1:7777, *:7777 or /tmp/echo.sock
 *   echo connect PLACE TEXT... says each TEXT and prints what comes back
 *   echo [TEXT...]             a server at a free port, and a client of it
 */
#include <stdio.h>
#include <string.h>
#include <yoke.h>

static int echo(struct yoke_conn *conn, void *arg)
{
    char room[4096];
    ssize_t n;

    (void)arg;
    while ((n = yoke_conn_read(conn, room, sizeof room)) > 0) {
        int rc = yoke_conn_write_all(conn, room, (size_t)n, NULL);

        if (rc < 0)
            return rc;
    }
    return (int)n; /* 0: the client has said all; the connection is closed when this returns */
}

static int serve(const char *place)
{
    struct yoke_listener *listener;
    char text[YOKE_ADDRESS_TEXT];
    int rc = yoke_listen(place, NULL, &listener);

    if (rc < 0)
        return rc;
    printf("serving at %s\n",
           yoke_address_format(yoke_listener_address(listener), text, sizeof text));
    fflush(stdout);
    rc = yoke_serve(listener, echo, NULL, NULL);
    yoke_listener_unref(listener);
    return rc;
}

/* Says a text and reads until as much has come back. */
static int say(struct yoke_conn *conn, const char *text)
{
    char room[4096];
    size_t n = strlen(text) < sizeof room ? strlen(text) : sizeof room;
    int rc = yoke_conn_write_all(conn, text, n, NULL);

    if (rc == 0)
        rc = yoke_conn_read_exactly(conn, room, n, NULL);
    if (rc > 0)
        printf("%.*s\n", (int)n, room);
    return rc < 0 ? rc : 0;
}

struct talk {
    const char *place;
    char **texts; /* ended by NULL */
};

static int talk(const struct talk *talk)
{
    struct yoke_scope scope;
    struct yoke_conn *conn = NULL;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(10)});

    if (rc == 0)
        rc = yoke_connect(talk->place, NULL, &conn);
    for (char **text = talk->texts; rc == 0 && *text != NULL; text++)
        rc = say(conn, *text);
    yoke_conn_unref(conn);
    rc = yoke_scope_close(&scope, rc);
    if (rc == 0 && yoke_scope_cancelled_caught(&scope))
        rc = yoke_raise("echo.Slow", -110, "no answer from %s within 10 s", talk->place);
    return rc;
}

static int serve_quietly(void *arg)
{
    return yoke_serve(arg, echo, NULL, NULL);
}

/* Both: the server is a child, which ends when the client has closed the listener. */
static int demonstrate(char **texts)
{
    struct yoke_nursery nursery;
    struct yoke_listener *listener;
    char place[YOKE_ADDRESS_TEXT];
    int rc = yoke_listen("127.0.0.1:0", NULL, &listener);

    if (rc < 0)
        return rc;
    yoke_address_format(yoke_listener_address(listener), place, sizeof place);
    rc = yoke_nursery_open(&nursery, NULL);
    if (rc == 0)
        rc = yoke_spawn(&nursery, serve_quietly, listener);
    if (rc == 0)
        rc = talk(&(struct talk){.place = place, .texts = texts});
    yoke_listener_close(listener);
    rc = yoke_nursery_close(&nursery, rc);
    yoke_listener_unref(listener);
    return rc;
}

static int app(void *arg)
{
    static char *greetings[] = {"hello", "and goodbye", NULL};
    char **arguments = arg;

    if (arguments[0] == NULL)
        return demonstrate(greetings);
    if (strcmp(arguments[0], "serve") == 0 && arguments[1] != NULL)
        return serve(arguments[1]);
    if (strcmp(arguments[0], "connect") == 0 && arguments[1] != NULL)
        return talk(&(struct talk){.place = arguments[1], .texts = arguments + 2});
    return demonstrate(arguments);
}

int main(int argc, char **argv)
{
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = argv + 1});
}
