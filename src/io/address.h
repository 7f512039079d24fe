/* SPDX-License-Identifier: MIT */
/* Addresses inside the library: the parts of a place that is not numeric. */
#ifndef YK_IO_ADDRESS_H
#define YK_IO_ADDRESS_H

#include <netdb.h>
#include <yoke/net.h>

struct yk_host_port {
    char host[NI_MAXHOST];
    const char *service; /* in the text */
    bool bracketed;
};

/* Takes "host:port" and "[v6]:port" apart. 0, or -EINVAL raised. */
int yk_address_split(const char *text, struct yk_host_port *ret);

/* 1: numeric or a path, in *ret; 0: a name, in *ret_parts; negative: raised. */
int yk_address_numeric(const char *text, struct yk_host_port *ret_parts, struct yoke_address *ret);

/* The path of a Unix address; NULL: it has none. */
const char *yk_address_path(const struct yoke_address *address);

#endif
