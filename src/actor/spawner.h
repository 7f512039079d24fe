/* SPDX-License-Identifier: MIT */
/*
 * Spawners: ways to bring an actor into being. Each gives it one end of a connected pair, and us a
 * descriptor that becomes readable when it has ended; all that follows is the same for all.
 */
#ifndef YK_ACTOR_SPAWNER_H
#define YK_ACTOR_SPAWNER_H

#include "actor/process.h"

struct yk_spawner {
    const char *name;
    /*
     * Starts an actor whose end of the link is `fd`, which stays the caller's, and fills in
     * `process` and the pid of the child's id. 0, or negative with an error raised and nothing
     * left.
     */
    int (*start)(struct yk_incarnation *incarnation, int fd);
    /* As of yk_host_ops. kill NULL: it can't be forced to end, only asked. */
    int (*kill)(struct yk_incarnation *incarnation, int signal);
    int (*reap)(struct yk_incarnation *incarnation, struct yk_exit *ret);
};

extern const struct yk_spawner yk_spawner_exec;   /* a new process: an executable */
extern const struct yk_spawner yk_spawner_zygote; /* a new process: a fork of the zygote */
extern const struct yk_spawner yk_spawner_thread; /* a runtime on a thread of this process */

#endif
