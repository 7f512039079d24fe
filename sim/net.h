/* SPDX-License-Identifier: MIT */
/*
 * The network of the simulated world: stream connections between processes, as a link transport.
 * Bytes of one direction arrive in order, each piece after a delay of its own; a write may be cut
 * into pieces, and pieces may be read together. A connection can break, and a pair of machines can
 * lose sight of each other for a while: what was under way then waits, as it does for a sender
 * that tries again.
 */
#ifndef YK_SIM_NET_H
#define YK_SIM_NET_H

#include "link/link.h"
#include "sim/process.h"

struct sim_connection;

/* Two connected descriptors, one in each process. 0; -EMFILE, -ENOMEM. */
int sim_connect(struct sim_process *a, struct sim_process *b, int *ret_a, int *ret_b);

/* The connection that a descriptor is an end of; NULL: it is none. */
struct sim_connection *sim_connection_of(struct sim_process *process, int number);

/* Both ends see it reset; what was under way is lost. */
void sim_connection_break(struct sim_connection *connection);

/* Nothing arrives from now on, and everything that was held up does. */
void sim_connection_hold(struct sim_connection *connection);
void sim_connection_release(struct sim_connection *connection);

/* A link over it. */
extern const struct yk_link_ops sim_link;

#endif
