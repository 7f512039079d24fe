/* SPDX-License-Identifier: MIT */
/*
 * A link: one framed, ordered connection to another actor over some transport. Messages go out in
 * the order of yk_link_send; a link that failed once stays failed. Knows nothing of dialogs.
 */
#ifndef YK_LINK_LINK_H
#define YK_LINK_LINK_H

#include "io/fd.h"
#include "link/pool.h"
#include "link/view.h"
#include "wire/buffer.h"
#include "wire/message.h"

struct yk_link;

/* What comes instead of a descriptor: none, or one that this process had no room for. */
enum { YK_NO_FD = -1, YK_LOST_FD = -2 };

/* One transport; src/link/<name>/. The descriptor is non-blocking and close-on-exec. */
struct yk_link_ops {
    const char *name;
    /* As recv(2) and send(2): a count, 0 at the peer's end (receive), or -errno; never a signal. */
    ssize_t (*receive)(struct yk_link *link, void *data, size_t size);
    ssize_t (*send)(struct yk_link *link, const void *data, size_t size);
    void (*close)(struct yk_link *link); /* NULL: close(2) */
    /*
     * Where descriptors can be passed and memory shared, or NULL: the same as above, with one that
     * goes with the first byte (lent), or that has come with some byte (the caller's).
     */
    ssize_t (*send_fd)(struct yk_link *link, const void *data, size_t size, int fd);
    ssize_t (*receive_fd)(struct yk_link *link, void *data, size_t size, int *ret_fd);
    bool (*may_share)(struct yk_link *link); /* whether the peer is one to share memory with */
    void (*end)(struct yk_link *link); /* both directions, seen on both sides; it stays open */
};

/* These three as any stream socket does them. stream_socket.c */
ssize_t yk_link_socket_receive(struct yk_link *link, void *data, size_t size);
ssize_t yk_link_socket_send(struct yk_link *link, const void *data, size_t size);
void yk_link_socket_end(struct yk_link *link);

extern const struct yk_link_ops yk_link_unix;

/* Two connected descriptors for it, non-blocking and close-on-exec. 0 or -errno. */
int yk_link_unix_pair(int *ret_fds);

enum { YK_LINK_FDS = 4 }; /* that have come, for frames that have not been read yet */

struct yk_link {
    const struct yk_link_ops *ops;
    struct yk_fd fd; /* owns the descriptor */
    struct yk_buffer in;
    struct yk_buffer out;
    size_t in_used;        /* bytes of the frame handed out last */
    struct yk_arena arena; /* of the message handed out last */
    struct yk_list room;   /* senders that wait for the queue to shrink */
    struct yk_list flush;  /* the writer, waiting for something to write */
    bool extensions;       /* both sides speak them */
    struct yk_turn_end turn_end;
    bool wrote;   /* in this turn */
    bool blocked; /* the transport takes no more: the writer waits for it */
    bool drained; /* the transport has given all that there was */
    bool failed;  /* no more can be sent */
    int error;    /* why: 0 for the peer's end, or -errno */
    /* shared memory */
    bool shares; /* both sides take it */
    struct yk_pool pool;
    struct yk_view *view;   /* NULL before the peer has offered any */
    struct yk_list lenders; /* senders that wait for a segment of the pool */
    bool reclaiming;        /* the peer was asked to release some */
    bool stuck;             /* and has released none */
    bool owes_answer;       /* it asked us */
    int fd_out;             /* goes with the byte of `out` at fd_at; -1: none */
    size_t fd_at;
    int fds_in[YK_LINK_FDS];
    unsigned fds_in_n;
};

/* Takes over the descriptor, also on failure. 0 or -errno with an error raised. */
int yk_link_init(struct yk_link *link, const struct yk_link_ops *ops, int fd);
void yk_link_fini(struct yk_link *link); /* nobody may be inside any of its calls */

/*
 * Queues a message and writes what the transport takes at once; never blocks. 0; -EPIPE if the
 * link has failed (nothing raised); -ENOMEM, -EMSGSIZE, -EINVAL with an error raised: not queued.
 */
int yk_link_send(struct yk_link *link, const struct yk_message *message);

/*
 * Ends a link over which something that the peer waits for can't be sent: both sides are told of
 * its end instead. The reader here returns 0.
 */
void yk_link_break(struct yk_link *link, int error);

/* Waits until the queue is short enough for another value. 0, YOKE_CANCELLED, or -EPIPE (not
 * raised). */
int yk_link_wait_room(struct yk_link *link);

/* Whether to tell the peer that memory may be shared, and that it has told us the same. */
bool yk_link_may_share(struct yk_link *link);
void yk_link_share(struct yk_link *link);

/*
 * Before a value is sent, where it is a bin of that size: waits while all shared memory that it may
 * be put into is the peer's, but no longer than the peer needs to answer. Then bytes are sent. 0,
 * also when the link has failed; YOKE_CANCELLED.
 */
int yk_link_wait_share(struct yk_link *link, size_t size);

/*
 * The next message, borrowed until the next call. 1; 0 when the peer has ended or the connection
 * broke (link->error says); YOKE_CANCELLED; -EBADMSG, -EMSGSIZE with an error raised: the peer
 * breaks the protocol, and nothing more can be read; it can still be told why.
 */
int yk_link_receive(struct yk_link *link, struct yk_message *ret_message);

/*
 * Task body of the writer: writes the queue out whenever there is one, until it is cancelled; then
 * it tries for YK_LINK_FLUSH_NS to get the rest out. 0 when the link has failed, or YOKE_CANCELLED.
 */
int yk_link_writer(void *link);

#endif
