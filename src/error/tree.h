/* SPDX-License-Identifier: MIT */
/*
 * Errors and causes as value trees: the form in which they cross links and are written as JSON.
 * Pure: no I/O. Keys are documented in doc/protocol.md.
 */
#ifndef YK_ERROR_TREE_H
#define YK_ERROR_TREE_H

#include <yoke/value.h>

#include "base/arena.h"
#include "error/error.h"

/*
 * The tree of an error or cause, allocated in `arena`, its texts borrowed from the error or cause;
 * nil on no memory. With `symbols`, backtraces are rendered as text (what a peer can use), else
 * left out. Depth is bounded by YK_ERROR_TREE_DEPTH_MAX, size by YK_ERROR_TREE_NODES_MAX; what is
 * beyond is replaced by its type and message and a note that says so, or counted as left out.
 */
struct yoke_value yk_error_to_value(struct yk_arena *arena, const struct yoke_error *error,
                                    bool symbols);
struct yoke_value yk_cause_to_value(struct yk_arena *arena, const struct yoke_cause *cause);

/*
 * The text itself if it is UTF-8, else a copy in `arena` in which each byte that is not is U+FFFD;
 * NULL: no memory.
 */
const char *yk_tree_text(struct yk_arena *arena, const char *text);

/*
 * Rebuilds from a tree that a peer sent: everything is checked, bounded and defaulted; never
 * trusts. NULL only without memory or if `value` is not a map. The result is remote, as are the
 * errors in it: the source of each is the actor in the tree. Errors that causes mention come
 * settled: they are told of, nobody has to handle them.
 */
struct yoke_error *yk_error_from_value(struct yoke_value value);
struct yoke_cause *yk_cause_from_value(struct yoke_value value);

#endif
