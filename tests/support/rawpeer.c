/* SPDX-License-Identifier: MIT */
/* Peers made by hand. A failed step is a failed check; no step ends the test by a jump. */
#include "../tests/support/rawpeer.h"

#include <string.h>
#include <yoke/error.h>

void yk_raw_take(struct yk_raw *raw, struct yoke_conn *conn)
{
    raw->conn = conn;
    yk_buffer_init(&raw->in);
    yk_arena_init(&raw->arena);
}

void yk_raw_open(struct yk_raw *raw, const char *address)
{
    const char *place = strncmp(address, "tcp:", 4) == 0 ? address + 4 : address;
    struct yoke_conn *conn = NULL;

    yk_check_int(yoke_connect(place, NULL, &conn), 0);
    yk_raw_take(raw, conn);
}

void yk_raw_close(struct yk_raw *raw)
{
    yoke_conn_unref(raw->conn);
    yk_buffer_fini(&raw->in);
    yk_arena_fini(&raw->arena);
}

void yk_raw_put(struct yk_raw *raw, const void *data, size_t size)
{
    yk_check_int(yoke_conn_write_all(raw->conn, data, size, NULL), 0);
}

int yk_raw_send_as(struct yk_raw *raw, const struct yk_message *message, bool extensions)
{
    struct yk_buffer frame;
    int rc;

    yk_buffer_init(&frame);
    yk_check_int(yk_message_encode(&frame, message, extensions), 0);
    rc = yoke_conn_write_all(raw->conn, frame.data + frame.start, yk_buffer_size(&frame), NULL);
    yk_buffer_fini(&frame);
    return rc;
}

int yk_raw_receive(struct yk_raw *raw, struct yk_message *ret)
{
    const unsigned char *body;
    size_t size;

    while (yk_frame_next(&raw->in, &body, &size) == 0) {
        ssize_t n;

        yk_check_int(yk_buffer_reserve(&raw->in, 4096), 0);
        n = yoke_conn_read(raw->conn, raw->in.data + raw->in.end, 4096);
        if (n <= 0) {
            yoke_clear();
            return 0;
        }
        raw->in.end += (size_t)n;
    }
    yk_check_int(yk_message_decode(&raw->arena, body, size, ret), 0);
    yk_buffer_consume(&raw->in, YK_FRAME_HEADER + size);
    return 1;
}
