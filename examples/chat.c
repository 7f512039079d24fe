/* SPDX-License-Identifier: MIT */
/*
 * chat: a server at which everybody hears what anybody says.
 *
 *   chat [PLACE]   PLACE as 127.0.0.1:7777 (the default: a free port) or /tmp/chat.sock
 *
 * Try it with two of: nc 127.0.0.1 PORT. The first line is one's name. Two tasks per guest: one
 * reads what he says, one writes what the others say, from a bounded channel of his own. Whoever
 * does not read misses lines, and is told how many: a slow guest never holds up the others.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yoke.h>

enum { LINE = 512, NAME = 32, AHEAD = 64 };

struct line {
    char text[LINE + NAME + 4];
};

struct guest {
    struct guest *next;
    struct yoke_conn *conn;
    struct yoke_channel *lines; /* to be written to him */
    char name[NAME];
    unsigned missed;
};

struct room {
    struct guest *guests;
};

static void tell_all(struct room *room, const struct guest *but, const char *format,
                     const char *name, const char *text)
{
    struct line line;

    snprintf(line.text, sizeof line.text, format, name, text);
    for (struct guest *guest = room->guests; guest != NULL; guest = guest->next) {
        if (guest == but)
            continue;
        if (yoke_channel_try_send(guest->lines, &line) <= 0) {
            guest->missed++;
            yoke_clear(); /* a channel that is closed: he is about to leave */
        }
    }
}

/* Reads up to a newline, without it and what is not printable. 1; 0: the end; negative. */
struct reader {
    char bytes[LINE];
    size_t first, n;
};

static int read_line(struct yoke_conn *conn, struct reader *reader, char *line, size_t size)
{
    size_t used = 0;

    for (;;) {
        while (reader->n > 0) {
            char c = reader->bytes[reader->first++];

            reader->n--;
            if (c == '\n') {
                line[used] = '\0';
                return 1;
            }
            if ((unsigned char)c >= ' ' && used + 1 < size)
                line[used++] = c;
        }
        reader->first = 0;
        ssize_t n = yoke_conn_read(conn, reader->bytes, sizeof reader->bytes);
        if (n <= 0)
            return (int)n; /* a last line that nobody ended is dropped */
        reader->n = (size_t)n;
    }
}

/* A task: writes to a guest what the others say. */
static int write_lines(void *arg)
{
    struct guest *guest = arg;
    struct line line;
    int rc;

    while ((rc = yoke_channel_receive(guest->lines, &line)) > 0) {
        rc = yoke_conn_write_all(guest->conn, line.text, strlen(line.text), NULL);
        if (rc == 0 && guest->missed > 0) {
            snprintf(line.text, sizeof line.text, "* you missed %u lines\n", guest->missed);
            guest->missed = 0;
            rc = yoke_conn_write_all(guest->conn, line.text, strlen(line.text), NULL);
        }
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int read_lines(struct room *room, struct guest *guest, struct reader *reader)
{
    char line[LINE];
    int rc;

    while ((rc = read_line(guest->conn, reader, line, sizeof line)) > 0)
        tell_all(room, guest, "%s: %s\n", guest->name, line);
    return rc;
}

static int attend(struct room *room, struct guest *guest, struct reader *reader)
{
    struct yoke_nursery nursery;
    struct guest **at = &room->guests;
    int rc = yoke_nursery_open(&nursery, NULL);

    guest->next = room->guests;
    room->guests = guest;
    tell_all(room, guest, "* %s is here%s\n", guest->name, "");
    if (rc == 0)
        rc = yoke_spawn(&nursery, write_lines, guest);
    if (rc == 0)
        rc = read_lines(room, guest, reader);
    while (*at != guest)
        at = &(*at)->next;
    *at = guest->next;
    tell_all(room, guest, "* %s has left%s\n", guest->name, "");
    yoke_channel_close_send(guest->lines); /* the writer ends when it has written the rest */
    return yoke_nursery_close(&nursery, rc);
}

static int host_guest(struct yoke_conn *conn, void *arg)
{
    struct guest guest = {.conn = conn};
    struct reader reader = {.n = 0};
    int rc = yoke_conn_write_all(conn, "* who are you?\n", 15, NULL);

    if (rc == 0)
        rc = read_line(conn, &reader, guest.name, sizeof guest.name);
    if (rc <= 0)
        return rc;
    guest.lines = yoke_channel_new(sizeof(struct line), AHEAD);
    if (guest.lines == NULL)
        return -ENOMEM;
    rc = attend(arg, &guest, &reader);
    yoke_channel_unref(guest.lines);
    return rc;
}

/* Guests come and go as networks do: a line on stderr, without a backtrace, is enough. */
static void guest_failed(const struct yoke_error *error, void *arg)
{
    (void)arg;
    fprintf(stderr, "chat: %s\n", yoke_error_message(error));
}

static int app(void *arg)
{
    struct room room = {.guests = NULL};
    struct yoke_listener *listener;
    char text[YOKE_ADDRESS_TEXT];
    int rc = yoke_listen(arg == NULL ? "127.0.0.1:0" : arg, NULL, &listener);

    if (rc < 0)
        return rc;
    printf("chat at %s\n", yoke_address_format(yoke_listener_address(listener), text, sizeof text));
    fflush(stdout);
    rc = yoke_serve(listener, host_guest, &room,
                    &(struct yoke_serve_opts){.name = "guest", .failed = guest_failed});
    yoke_listener_unref(listener);
    return rc;
}

int main(int argc, char **argv)
{
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = argv[1]});
}
