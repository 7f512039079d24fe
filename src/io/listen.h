/* SPDX-License-Identifier: MIT */
/* Binding a socket to a place; the path that a Unix socket makes. */
#ifndef YK_IO_LISTEN_H
#define YK_IO_LISTEN_H

#include <sys/stat.h>
#include <yoke/net.h>

/* The file that binding made, to be removed later if it is still the same one. */
struct yk_bound {
    bool made;
    dev_t device;
    ino_t inode;
};
void yk_bound_remember(const struct yoke_address *address, struct yk_bound *ret);
void yk_bound_remove(const struct yoke_address *address, const struct yk_bound *bound);

/* A socket bound to a place, listening if it is a stream socket. Its number; negative: raised. */
int yk_bind(const char *place, int type, const struct yoke_listen_opts *opts,
            struct yoke_address *ret);

#endif
