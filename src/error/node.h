/* SPDX-License-Identifier: MIT */
/*
 * What errors and causes have in common. Together they are the nodes of one directed graph: an
 * error carries errors (context, because, suppressed, members) and mentions causes; a cause
 * mentions causes and errors. The graph never has a cycle, so counting references frees all of it.
 */
#ifndef YK_ERROR_NODE_H
#define YK_ERROR_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct yoke_error;

struct yk_node {
    atomic_uint refs;
    bool immortal; /* static: not counted, not freed, carries nothing, never changed */
    bool is_cause;
    uint64_t visited;     /* number of the last walk that saw it; under the graph's lock */
    struct yk_node *next; /* in the list of a walk, under the lock; or of what is being freed */
};

/* One more reference; NULL is fine. */
void yk_node_ref(struct yk_node *node);

/*
 * One reference less; NULL is fine. Frees the node with the last, and then whatever only it held,
 * by a loop: chains may be long and stacks are small.
 */
void yk_node_unref(struct yk_node *node);

/*
 * Whether `to` is `from` or can be reached from it. Without `through_causes` only what an error
 * carries counts, not what its causes mention.
 */
bool yk_node_reaches(const struct yk_node *from, const struct yk_node *to, bool through_causes);

/* It ended on purpose, and what it carries ends with it. NULL is fine. */
void yk_node_settle(struct yoke_error *error);

/* The reverse: it is in flight again, and may be lost even if a settled error carries it too. */
void yk_node_unsettle(struct yoke_error *error);

/*
 * Around any change of what an error carries: another thread may be walking over it. Neither
 * allocation nor any function above belongs in between.
 */
void yk_node_lock(void);
void yk_node_unlock(void);

#endif
