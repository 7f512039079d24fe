/* SPDX-License-Identifier: MIT */
/*
 * Pairs of conns (<yoke/conn.h>) within a process: a pipe, two connected sockets, or memory. The
 * memory pair needs no descriptors and works on the simulated host, so that protocol code can be
 * tested under virtual time and any order of tasks.
 */
#ifndef YOKE_PIPE_H
#define YOKE_PIPE_H

#include <yoke/common.h>
#include <yoke/conn.h>

YOKE_BEGIN

/* A pipe of the system's: what is written to *ret_writer is read from *ret_reader. 0 or -errno. */
YOKE_API YOKE_MUST_CHECK int yoke_pipe(struct yoke_conn **ret_reader,
                                       struct yoke_conn **ret_writer);

/* Two connected Unix stream sockets. 0 or -errno. */
YOKE_API YOKE_MUST_CHECK int yoke_socket_pair(struct yoke_conn **ret_a, struct yoke_conn **ret_b);

struct yoke_memory_opts {
    size_t capacity; /* bytes on the way in each direction before writers wait; 0: 64 KiB */
    /*
     * Reads and writes take a number of bytes drawn from the runtime's seed, at least one: as a
     * network may, but a loopback never does.
     */
    bool fragment;
};

/*
 * Two connected conns in memory; what one writes the other reads. They behave as stream sockets do:
 * half close, backpressure, -EPIPE when the other end is closed; yoke_conn_fd gives -1. 0; -ENOMEM.
 */
YOKE_API YOKE_MUST_CHECK int yoke_memory_pair(const struct yoke_memory_opts *opts,
                                              struct yoke_conn **ret_a, struct yoke_conn **ret_b);

YOKE_END
#endif
