/* SPDX-License-Identifier: MIT */
/* What connecting and listening share about sockets. */
#ifndef YK_IO_SOCKET_H
#define YK_IO_SOCKET_H

#include <yoke/net.h>

#include "io/conn.h"

/* Sets what was asked for. 0 or -errno. */
int yk_socket_options(int number, int family, int type, const struct yoke_socket_opts *opts);

/* Raises "CALL ADDRESS: error". Returns `rc`. */
int yk_net_failed(const char *call, const struct yoke_address *address, int rc);

/* As yk_conn_socket, for one bound to `local`: closing it removes the path that binding made. */
int yk_conn_bound(int number, const struct yoke_address *local, struct yoke_conn **ret);

#endif
