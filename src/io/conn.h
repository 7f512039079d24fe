/* SPDX-License-Identifier: MIT */
/* A conn inside the library: what all kinds share, and what each kind does its own way. */
#ifndef YK_IO_CONN_H
#define YK_IO_CONN_H

#include <yoke/conn.h>

#include "io/fd.h"

struct yk_conn_ops {
    /* Never wait, unless the kind can't be waited for: bytes, or -errno; -EAGAIN: wait first. */
    ssize_t (*read)(struct yoke_conn *conn, void *buffer, size_t size);
    ssize_t (*write)(struct yoke_conn *conn, const void *data, size_t size);
    int (*wait)(struct yoke_conn *conn, unsigned event); /* as yk_fd_wait */
    int (*close_write)(struct yoke_conn *conn);          /* 0 or -errno */
    void (*close)(struct yoke_conn *conn);               /* no call uses it any more, but waits */
    void (*free)(struct yoke_conn *conn);                /* its memory; closed before */
    /* read and write may wait, are never waited for, and raise what they return. */
    bool waits_itself;
    /* For messages: "127.0.0.1:80", "/etc/motd". */
    void (*name)(const struct yoke_conn *conn, char *text, size_t size);
};

struct yoke_conn {
    const struct yk_conn_ops *ops;
    struct yk_task *reader; /* inside a call; NULL: none */
    struct yk_task *writer;
    bool closed;
    bool drained;           /* the last read was short: nothing there before the next event */
    bool short_tells;       /* a short read means that */
    bool close_when_unused; /* a thread uses the descriptor: closed by the last call */
    unsigned refs;
    unsigned users; /* calls inside; freed after the last */
    struct yk_fd fd;
};

/* What every kind does first. `number` may be -1. */
void yk_conn_init(struct yoke_conn *conn, const struct yk_conn_ops *ops);

/* The kinds with a descriptor that the poller knows: registers it. 0 or -errno; raises nothing. */
int yk_conn_watch(struct yoke_conn *conn, int number);

/* Shared operations of those kinds. */
int yk_conn_fd_wait(struct yoke_conn *conn, unsigned event);
void yk_conn_fd_close(struct yoke_conn *conn);

/*
 * A call that reads (writes) begins: claims the conn, or raises why not. Each successful begin is
 * followed by an end; the conn may be gone after that.
 */
int yk_conn_begin(struct yoke_conn *conn, struct yk_task *task, struct yk_task **role,
                  const char *call);
void yk_conn_end(struct yoke_conn *conn, struct yk_task **role);

/* Raises what a call on a conn met. Returns `rc`. */
int yk_conn_failed(const struct yoke_conn *conn, const char *call, int rc);

/*
 * Between begin and end: waits until trying again may succeed. 0; YOKE_CANCELLED; YOKE_ECLOSED
 * raised if the conn was closed.
 */
int yk_conn_wait(struct yoke_conn *conn, unsigned event, const char *call);

/* Close-on-exec and non-blocking. 0 or -errno. */
int yk_conn_prepare(int number);

/* Takes the descriptor out of a socket's conn that nobody uses; the conn is closed after that. */
int yk_conn_take(struct yoke_conn *conn);

/* New conns for a descriptor, which they take over on success. 0 or -errno; they raise nothing. */
struct yoke_address;
int yk_conn_socket(int number, const struct yoke_address *peer, struct yoke_conn **ret);
int yk_conn_pipe(int number, const char *path, struct yoke_conn **ret);
/* `path` is for messages; NULL: unknown. */
int yk_conn_file(int number, const char *path, struct yoke_conn **ret);

#endif
