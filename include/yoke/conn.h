/* SPDX-License-Identifier: MIT */
/*
 * Conns: one handle for whatever bytes are read from and written to: TCP, UDP and Unix sockets
 * (<yoke/net.h>), pipes and memory (<yoke/pipe.h>), files (<yoke/file.h>), and any descriptor.
 *
 * One task may read while another one writes. Two that read, or two that write, at the same time
 * would tear each other's bytes apart: the second call fails with -EBUSY ("yoke.Busy"). A conn
 * belongs to its runtime. Deadlines are those of scopes. SIGPIPE never comes from here.
 *
 * Types of errors: "yoke.Closed" when this end was closed, "yoke.Busy", "yoke.Io" for what the
 * system says; its message names the call and the peer or path.
 */
#ifndef YOKE_CONN_H
#define YOKE_CONN_H

#include <sys/types.h>
#include <yoke/common.h>

YOKE_BEGIN

struct yoke_conn;

/*
 * Takes over a descriptor: a socket, pipe or terminal, which becomes non-blocking and
 * close-on-exec, or a file. 0 and a conn with one reference; on failure -errno, and the descriptor
 * stays the caller's. Whoever shares the open file description (a terminal!) shares the
 * non-blocking mode.
 */
YOKE_API YOKE_MUST_CHECK int yoke_conn_from_fd(int fd, struct yoke_conn **ret_conn);

/*
 * Reads what there is, at most `size` (> 0) bytes, and waits for at least one. The count; 0 at the
 * end: the peer closed its writing side; YOKE_CANCELLED (nothing was taken); YOKE_ECLOSED if this
 * end is or gets closed; -ECONNRESET and other -errno. On a file it is not cut short by
 * cancellation once it has begun.
 */
YOKE_API YOKE_MUST_CHECK ssize_t yoke_conn_read(struct yoke_conn *conn, void *buffer, size_t size);

/*
 * Reads until `size` bytes are there or the end. 1: all of them; 0: the end came before the first
 * one; negative as yoke_conn_read, or -EBADMSG if it came after it. *ret_n (may be NULL) always
 * says how many were read.
 */
YOKE_API YOKE_MUST_CHECK int yoke_conn_read_exactly(struct yoke_conn *conn, void *buffer,
                                                    size_t size, size_t *ret_n);

/*
 * Writes all `size` bytes, waiting while the peer does not take them. 0; YOKE_CANCELLED,
 * YOKE_ECLOSED, -EPIPE or -ECONNRESET (the peer will not read any more), other -errno. *ret_written
 * (may be NULL) always says how many bytes went out; after a failure with more than none, the peer
 * has a torn message.
 */
YOKE_API YOKE_MUST_CHECK int yoke_conn_write_all(struct yoke_conn *conn, const void *data,
                                                 size_t size, size_t *ret_written);

/* The same, but only what fits at once, at least one byte unless size is 0. The count. */
YOKE_API YOKE_MUST_CHECK ssize_t yoke_conn_write(struct yoke_conn *conn, const void *data,
                                                 size_t size);

/*
 * Half close: the peer reads the end after what was written; this end may still read. Never
 * blocks; repeating it is fine. 0; -EBUSY while a task writes; YOKE_ECLOSED; -errno. The writing
 * end of a pipe has no other half, and is closed. What has no halves (a file) ignores it.
 */
YOKE_API YOKE_MUST_CHECK int yoke_conn_close_write(struct yoke_conn *conn);

/*
 * Closes for good and at once; never blocks, closing twice is fine. Tasks that wait on it wake with
 * YOKE_ECLOSED, as does any later call. The handle stays valid until it is given back by unref.
 */
YOKE_API void yoke_conn_close(struct yoke_conn *conn);

/*
 * References, for tasks that share it. The last unref closes it; tasks that still wait on it wake
 * with YOKE_ECLOSED. unref(NULL) is fine; unref returns NULL.
 */
YOKE_API struct yoke_conn *yoke_conn_ref(struct yoke_conn *conn);
YOKE_API struct yoke_conn *yoke_conn_unref(struct yoke_conn *conn);

/* Its descriptor, for options and ioctls; -1: closed, or memory. Don't close it. */
YOKE_API int yoke_conn_fd(const struct yoke_conn *conn);

YOKE_END
#endif
