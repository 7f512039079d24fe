/* SPDX-License-Identifier: MIT */
/* A peer made by hand at a raw connection: says what the test wants it to say, good or bad. */
#ifndef YK_TESTS_SUPPORT_RAWPEER_H
#define YK_TESTS_SUPPORT_RAWPEER_H

#include <yoke/net.h>

#include "../tests/support/simrun.h"
#include "wire/buffer.h"
#include "wire/message.h"

struct yk_raw {
    struct yoke_conn *conn; /* owned */
    struct yk_buffer in;
    struct yk_arena arena; /* of the messages received */
};

/* Connects to an actor's address; or takes over a connection that it has accepted. */
void yk_raw_open(struct yk_raw *raw, const char *address);
void yk_raw_take(struct yk_raw *raw, struct yoke_conn *conn);
void yk_raw_close(struct yk_raw *raw);

/* Sends bytes, which must go out; or a message, with extensions or without: 0 or what failed. */
void yk_raw_put(struct yk_raw *raw, const void *data, size_t size);
int yk_raw_send_as(struct yk_raw *raw, const struct yk_message *message, bool extensions);
#define yk_raw_send(raw, message) yk_raw_send_as((raw), (message), true)

/* The next message. 1; 0: the end, in order or by a reset. */
int yk_raw_receive(struct yk_raw *raw, struct yk_message *ret);

#endif
