/* SPDX-License-Identifier: MIT */
/* Addresses of actors as text and on the wire, and connecting to one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "io/conn.h"
#include "link/transport.h"

static const struct yk_transport *const transports[] = {&yk_transport_unix, &yk_transport_tcp};

enum { TRANSPORTS = sizeof transports / sizeof *transports };

int yk_place_parse(const char *text, struct yk_place *ret)
{
    struct yk_place address = {.transport = NULL};
    size_t n = text == NULL ? 0 : strcspn(text, ":");
    int rc;

    for (size_t i = 0; n > 0 && text[n] == ':' && i < TRANSPORTS; i++)
        if (strlen(transports[i]->scheme) == n && strncmp(transports[i]->scheme, text, n) == 0)
            address.transport = transports[i];
    if (address.transport == NULL)
        return yoke_raise("yoke.Address", EINVAL,
                          "\"%s\" is no actor's address: \"unix:/path\" or \"tcp:127.0.0.1:port\"",
                          text != NULL ? text : "(null)");
    if (strlen(text + n + 1) >= sizeof address.where)
        return yoke_raise("yoke.Address", ENAMETOOLONG,
                          "\"%s\": what follows the first colon has at most %d "
                          "bytes",
                          text, (int)sizeof address.where - 1);
    YK_TEXT_COPY(address.where, text + n + 1);
    rc = address.transport->check(&address);
    if (rc == 0)
        *ret = address;
    return rc;
}

const char *yk_place_format(const struct yk_place *address, char *text)
{
    if (address->transport == NULL)
        text[0] = '\0';
    else
        snprintf(text, YK_PLACE_MAX, "%s:%s", address->transport->scheme, address->where);
    return text;
}

bool yk_place_equal(const struct yk_place *a, const struct yk_place *b)
{
    return a->transport == b->transport && strcmp(a->where, b->where) == 0;
}

int yk_place_from_wire(struct yoke_value pair, struct yk_place *ret)
{
    for (size_t i = 0; pair.type == YOKE_ARRAY_VALUE && pair.as.array.n == 2 && i < TRANSPORTS;
         i++) {
        struct yk_place address = {.transport = transports[i]};
        int rc = transports[i]->from_wire(pair.as.array.items[0], pair.as.array.items[1], &address);

        if (rc > 0)
            rc = transports[i]->check(&address);
        else if (rc == 0)
            continue;
        if (rc == 0)
            *ret = address;
        return rc;
    }
    return yoke_raise("yoke.BadMessage", EBADMSG,
                      "an address is needed: [host, port] or [directory, file]");
}

int yk_place_to_wire(struct yk_arena *arena, const struct yk_place *address,
                     struct yoke_value *ret_pair)
{
    return address->transport->to_wire(arena, address, ret_pair);
}

int yk_dial(const struct yk_place *address, int *ret_fd)
{
    char text[YK_PLACE_MAX];
    struct yoke_conn *conn;
    int rc;

    yk_place_format(address, text);
    if (address->where[0] == '\0')
        return yoke_raise("yoke.Address", EINVAL, "\"%s\" names no actor to connect to", text);
    rc =
        yoke_connect(address->transport == &yk_transport_unix ? text : address->where, NULL, &conn);
    if (rc < 0)
        return rc;
    rc = address->transport->admit(conn);
    if (rc == 0)
        rc = *ret_fd = yk_conn_take(conn);
    yoke_conn_unref(conn);
    return rc < 0 ? rc : 0;
}
