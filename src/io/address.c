/* SPDX-License-Identifier: MIT */
/*
 * Addresses as text and back. Nothing is looked up here, but the index of an interface behind a
 * scope ("%eth0"), which asks the kernel. Works on any thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <yoke/net.h>

#include "io/address.h"

static const struct sockaddr_un *unix_of(const struct yoke_address *address)
{
    return (const struct sockaddr_un *)(const void *)&address->as.storage;
}

/* Bytes of a Unix address's path or abstract name, with what marks it. */
static size_t unix_length(const struct yoke_address *address)
{
    const size_t before = offsetof(struct sockaddr_un, sun_path);

    return address->size > before ? address->size - before : 0;
}

static void set_unix(struct yoke_address *address, const char *path, size_t n)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};

    memcpy(un.sun_path, path, n);
    memset(address, 0, sizeof *address);
    memcpy(&address->as.storage, &un, sizeof un);
    address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
}

static int bad(const char *text, const char *why)
{
    return yoke_raise("yoke.Address", EINVAL, "\"%s\": %s", text, why);
}

static int parse_path(const char *text, const char *path, struct yoke_address *ret)
{
    size_t n = strlen(path);

    if (n == 0)
        return bad(text, "the path is empty");
    if (n >= sizeof((struct sockaddr_un *)0)->sun_path)
        return yoke_raise("yoke.Address", ENAMETOOLONG,
                          "\"%s\": the path of a Unix socket has at most %zu bytes", text,
                          sizeof((struct sockaddr_un *)0)->sun_path - 1);
    set_unix(ret, path, n + 1);
    return 0;
}

/* One byte of an abstract name, "\xNN" or itself; moves on. -1: a backslash without its digits. */
static int abstract_byte(const char **text)
{
    unsigned byte;
    int used = 0;

    if (**text != '\\')
        return (unsigned char)*(*text)++;
    if (sscanf(*text, "\\x%2x%n", &byte, &used) != 1 || used != 4)
        return -1;
    *text += used;
    return (int)byte;
}

static int parse_abstract(const char *text, struct yoke_address *ret)
{
    char name[sizeof((struct sockaddr_un *)0)->sun_path] = "";
    size_t n = 1;

    for (const char *at = text + 1; *at != '\0';) {
        int byte = abstract_byte(&at);

        if (byte < 0)
            return bad(text, "a backslash in an abstract name begins \\xNN");
        if (n == sizeof name)
            return yoke_raise("yoke.Address", ENAMETOOLONG,
                              "\"%s\": an abstract name has at most %zu bytes", text,
                              sizeof name - 1);
        name[n++] = (char)byte;
    }
    if (n == 1)
        return bad(text, "the abstract name is empty");
    set_unix(ret, name, n);
    return 0;
}

int yk_address_split(const char *text, struct yk_host_port *ret)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t n;

    if (colon == NULL)
        return bad(text, "a port is missing (\"host:port\")");
    n = (size_t)(colon - text);
    ret->bracketed = text[0] == '[';
    if (ret->bracketed) {
        if (n < 2 || text[n - 1] != ']')
            return bad(text, "\"]:port\" is missing after \"[\"");
        host++;
        n -= 2;
    } else if (memchr(text, ':', n) != NULL) {
        return bad(text, "an IPv6 address is written in brackets (\"[::1]:80\")");
    }
    if (n == 0)
        return bad(text, "the host is empty");
    if (n >= sizeof ret->host)
        return bad(text, "the host is too long");
    memcpy(ret->host, host, n);
    ret->host[n] = '\0';
    ret->service = colon + 1;
    if (ret->service[0] == '\0')
        return bad(text, "the port is empty");
    return 0;
}

/* 1 and a port; 0: a name of a service; -EINVAL: digits that are no port. */
static int parse_port(const char *text, const char *service, uint16_t *ret)
{
    unsigned long port = 0;

    for (const char *c = service; *c != '\0'; c++) {
        if (*c < '0' || *c > '9')
            return c == service ? 0 : bad(text, "the port is neither a number nor a name");
        port = port * 10 + (unsigned long)(*c - '0');
        if (port > 65535)
            return bad(text, "the port is above 65535");
    }
    *ret = (uint16_t)port;
    return 1;
}

static bool numeric_v4(const char *host, uint16_t port, struct yoke_address *ret)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};

    if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return false;
    memset(ret, 0, sizeof *ret);
    memcpy(&ret->as.storage, &in, sizeof in);
    ret->size = sizeof in;
    return true;
}

static bool numeric_v6(const char *host, uint16_t port, struct yoke_address *ret)
{
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    const char *scope = strchr(host, '%');
    size_t n = scope == NULL ? strlen(host) : (size_t)(scope - host);
    char digits[INET6_ADDRSTRLEN];

    if (n >= sizeof digits)
        return false;
    memcpy(digits, host, n);
    digits[n] = '\0';
    if (inet_pton(AF_INET6, digits, &in6.sin6_addr) != 1)
        return false;
    if (scope != NULL) {
        in6.sin6_scope_id = if_nametoindex(scope + 1);
        if (in6.sin6_scope_id == 0)
            in6.sin6_scope_id = (uint32_t)strtoul(scope + 1, NULL, 10);
        if (in6.sin6_scope_id == 0)
            return false;
    }
    memset(ret, 0, sizeof *ret);
    memcpy(&ret->as.storage, &in6, sizeof in6);
    ret->size = sizeof in6;
    return true;
}

int yk_address_numeric(const char *text, struct yk_host_port *ret_parts, struct yoke_address *ret)
{
    uint16_t port = 0;
    int rc;

    if (strncmp(text, "unix:", 5) == 0)
        rc = parse_path(text, text + 5, ret);
    else if (text[0] == '/' || text[0] == '.')
        rc = parse_path(text, text, ret);
    else if (text[0] == '@')
        rc = parse_abstract(text, ret);
    else
        goto host;
    return rc < 0 ? rc : 1;
host:
    rc = yk_address_split(text, ret_parts);
    if (rc == 0)
        rc = parse_port(text, ret_parts->service, &port);
    if (rc <= 0)
        return rc;
    if (!ret_parts->bracketed)
        return numeric_v4(ret_parts->host, port, ret) ? 1 : 0;
    return numeric_v6(ret_parts->host, port, ret) ? 1 : bad(text, "no IPv6 address in brackets");
}

int yoke_address_parse(const char *text, struct yoke_address *ret)
{
    struct yk_host_port parts;
    int rc = yk_address_numeric(text, &parts, ret);

    if (rc == 0)
        return bad(text, "neither a numeric address with a port, nor a path");
    return rc < 0 ? rc : 0;
}

int yoke_address_from_sockaddr(const struct sockaddr *sockaddr, socklen_t size,
                               struct yoke_address *ret)
{
    if (size < sizeof(sa_family_t) || size > sizeof ret->as.storage)
        return yoke_raise("yoke.Address", EINVAL, "%u bytes are no socket address", size);
    memset(ret, 0, sizeof *ret);
    memcpy(&ret->as.storage, sockaddr, size);
    ret->size = size;
    return 0;
}

const struct sockaddr *yoke_address_sockaddr(const struct yoke_address *address,
                                             socklen_t *ret_size)
{
    *ret_size = address->size;
    return &address->as.sockaddr;
}

int yoke_address_family(const struct yoke_address *address)
{
    return address->size == 0 ? AF_UNSPEC : address->as.storage.ss_family;
}

unsigned yoke_address_port(const struct yoke_address *address)
{
    const void *sockaddr = &address->as.storage;

    if (yoke_address_family(address) == AF_INET)
        return ntohs(((const struct sockaddr_in *)sockaddr)->sin_port);
    if (yoke_address_family(address) == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)sockaddr)->sin6_port);
    return 0;
}

const char *yk_address_path(const struct yoke_address *address)
{
    if (yoke_address_family(address) != AF_UNIX || unix_length(address) == 0 ||
        unix_of(address)->sun_path[0] == '\0')
        return NULL;
    return unix_of(address)->sun_path;
}

bool yoke_address_equal(const struct yoke_address *a, const struct yoke_address *b)
{
    const char *path = yk_address_path(a), *other = yk_address_path(b);

    /* The kernel may or may not count the NUL behind a path. */
    if (path != NULL && other != NULL)
        return strcmp(path, other) == 0;
    return a->size == b->size && memcmp(&a->as.storage, &b->as.storage, a->size) == 0;
}

static void format_abstract(const struct yoke_address *address, char *text, size_t size)
{
    size_t used = 1;

    snprintf(text, size, "@");
    for (size_t i = 1; i < unix_length(address) && used + 5 < size; i++) {
        unsigned char byte = (unsigned char)unix_of(address)->sun_path[i];

        if (byte <= ' ' || byte >= 127 || byte == '\\')
            used += (size_t)snprintf(text + used, size - used, "\\x%02x", byte);
        else
            used += (size_t)snprintf(text + used, size - used, "%c", byte);
    }
}

static void format_unix(const struct yoke_address *address, char *text, size_t size)
{
    const char *path = yk_address_path(address);

    if (unix_length(address) == 0)
        snprintf(text, size, "unnamed");
    else if (path == NULL)
        format_abstract(address, text, size);
    else
        snprintf(text, size, "%s%.108s", path[0] == '/' || path[0] == '.' ? "" : "unix:", path);
}

static void format_v6(const struct yoke_address *address, char *text, size_t size)
{
    struct sockaddr_in6 in6;
    char host[INET6_ADDRSTRLEN] = "", scope[IF_NAMESIZE + 1] = "";

    memcpy(&in6, &address->as.storage, sizeof in6);
    inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
    if (in6.sin6_scope_id != 0) {
        scope[0] = '%';
        if (if_indextoname(in6.sin6_scope_id, scope + 1) == NULL)
            snprintf(scope + 1, sizeof scope - 1, "%u", in6.sin6_scope_id);
    }
    snprintf(text, size, "[%s%s]:%u", host, scope, ntohs(in6.sin6_port));
}

const char *yoke_address_format(const struct yoke_address *address, char *text, size_t size)
{
    char host[INET_ADDRSTRLEN] = "";
    struct sockaddr_in in;

    switch (yoke_address_family(address)) {
    case AF_UNSPEC:
        snprintf(text, size, "none");
        break;
    case AF_UNIX:
        format_unix(address, text, size);
        break;
    case AF_INET:
        memcpy(&in, &address->as.storage, sizeof in);
        inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        snprintf(text, size, "%s:%u", host, ntohs(in.sin_port));
        break;
    case AF_INET6:
        format_v6(address, text, size);
        break;
    default:
        snprintf(text, size, "address of family %d", yoke_address_family(address));
    }
    return text;
}
