/* SPDX-License-Identifier: MIT */
/*
 * A stuck program explains itself: the tree of tasks and scopes, who waits for what since when, and
 * where. <yoke/watch.h> makes it do so on a signal.
 */
#ifndef YOKE_DUMP_H
#define YOKE_DUMP_H

#include <stdio.h>
#include <yoke/common.h>

YOKE_BEGIN

enum {
    YOKE_DUMP_JSON = 1,         /* one JSON object, ended by a newline */
    YOKE_DUMP_NO_BACKTRACE = 2, /* leaves out where each task is */
    YOKE_DUMP_STACKS = 4,       /* with the memory that each task's stack has in use */
};

/*
 * Writes the task tree of the calling thread's runtime: every task below the scope or nursery that
 * it runs in, with id, state, what it waits for and since when, where it was spawned, its
 * backtrace, its error in flight, and its open scopes with their deadlines, shields and causes.
 * Never blocks but for `stream`. The first 10,000 tasks are told, others counted. 0; -EINVAL
 * outside a runtime; -ENOMEM; -errno of the stream. Raises nothing.
 */
YOKE_API int yoke_dump(FILE *stream, int flags);

YOKE_END
#endif
