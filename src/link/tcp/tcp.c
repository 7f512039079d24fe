/* SPDX-License-Identifier: MIT */
/*
 * The TCP transport: plaintext, and without a word of the kernel on who is at the other end, hence
 * an explicit choice, and on this machine's loopback addresses only. Reading and writing are as on
 * any stream socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/text.h"
#include "link/transport.h"

static const struct yk_link_ops link_tcp = {
    .name = "tcp",
    .receive = yk_link_socket_receive,
    .send = yk_link_socket_send,
    .end = yk_link_socket_end,
};

static bool is_loopback(const struct yoke_address *address)
{
    socklen_t size;
    const struct sockaddr *any = yoke_address_sockaddr(address, &size);
    struct sockaddr_in6 v6;
    struct sockaddr_in v4;

    if (any->sa_family == AF_INET) {
        memcpy(&v4, any, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (any->sa_family != AF_INET6)
        return false;
    memcpy(&v6, any, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

static int tcp_check(struct yk_place *address)
{
    struct yoke_address parsed;
    char text[YOKE_ADDRESS_TEXT];

    if (address->where[0] == '\0')
        YK_TEXT_COPY(address->where, "127.0.0.1:0");
    if (yoke_address_parse(address->where, &parsed) < 0 ||
        yoke_address_family(&parsed) == AF_UNIX) {
        yoke_clear(); /* what it says is of sockets, and here only one form will do */
        return yoke_raise("yoke.Address", EINVAL,
                          "\"tcp:%s\": a numeric address and a port are needed, such as "
                          "\"tcp:127.0.0.1:1616\"",
                          address->where);
    }
    if (!is_loopback(&parsed))
        return yoke_raise("yoke.Address", EACCES,
                          "\"tcp:%s\" is not a loopback address: TCP is plaintext, without "
                          "authentication, and stays on this machine",
                          address->where);
    YK_TEXT_COPY(address->where, yoke_address_format(&parsed, text, sizeof text));
    return 0;
}

static int tcp_to_wire(struct yk_arena *arena, const struct yk_place *address,
                       struct yoke_value *ret_pair)
{
    struct yoke_value *pair = yk_arena_alloc(arena, 2 * sizeof *pair);
    const char *colon = strrchr(address->where, ':');
    bool bracketed = address->where[0] == '[';
    unsigned port = 0;

    if (pair == NULL)
        return yoke_raise("yoke.Address", ENOMEM, "no memory for an address");
    (void)sscanf(colon + 1, "%u", &port);
    pair[0] = yoke_str_n(address->where + bracketed,
                         (size_t)(colon - address->where) - 2 * (size_t)bracketed);
    pair[1] = yoke_int(port);
    *ret_pair = yoke_array(pair, 2);
    return 0;
}

static int tcp_from_wire(struct yoke_value first, struct yoke_value second, struct yk_place *ret)
{
    int n = first.type == YOKE_STR && first.as.str.size < 64 ? (int)first.as.str.size : 0;
    bool v6 = n > 0 && memchr(first.as.str.data, ':', (size_t)n) != NULL;

    if (second.type != YOKE_INT)
        return 0;
    if (n == 0 || second.as.integer < 0 || second.as.integer > 65535)
        return yoke_raise("yoke.BadMessage", EBADMSG, "a TCP address has no host or no port");
    snprintf(ret->where, sizeof ret->where, "%s%.*s%s:%d", v6 ? "[" : "", n, first.as.str.data,
             v6 ? "]" : "", (int)second.as.integer);
    return 1;
}

static int tcp_listen(const char *name, struct yk_place *address, struct yoke_listener **ret)
{
    char text[YOKE_ADDRESS_TEXT];
    int rc = yoke_listen(address->where, NULL, ret);

    (void)name;
    if (rc == 0) /* with the port that it got */
        YK_TEXT_COPY(address->where,
                     yoke_address_format(yoke_listener_address(*ret), text, sizeof text));
    return rc;
}

/*
 * Whoever connects to a free port of this machine that the kernel hands out may be given that very
 * port, and is then connected to itself (TCP's simultaneous open): nobody listens there.
 */
static int tcp_admit(struct yoke_conn *conn)
{
    struct yoke_address local, peer;
    int rc = yoke_conn_local(conn, &local);

    if (rc == 0)
        rc = yoke_conn_peer(conn, &peer);
    if (rc < 0)
        return rc;
    if (yoke_address_equal(&local, &peer))
        return yoke_raise("yoke.Net", ECONNREFUSED, "connect: nobody listens there");
    if (!is_loopback(&peer))
        return yoke_raise("yoke.Refused", EPERM, "a TCP peer is not of this machine");
    return 0;
}

const struct yk_transport yk_transport_tcp = {
    .scheme = "tcp",
    .link = &link_tcp,
    .check = tcp_check,
    .to_wire = tcp_to_wire,
    .from_wire = tcp_from_wire,
    .listen = tcp_listen,
    .admit = tcp_admit,
};
