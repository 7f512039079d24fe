/* SPDX-License-Identifier: MIT */
/*
 * Spawners: ways to bring an actor into being. Each gives it one end of a connected pair, or tells
 * it where to connect to, and us a descriptor that becomes readable when it has ended; all that
 * follows is the same for all.
 */
#ifndef YK_ACTOR_SPAWNER_H
#define YK_ACTOR_SPAWNER_H

#include "actor/process.h"

struct yk_spawner {
    const char *name;
    /*
     * Starts an actor whose end of the link is `fd`, which stays the caller's, and fills in
     * `process` and the pid of the child's id; -1 if it is to connect. 0, or negative with an error
     * raised and nothing left.
     */
    int (*start)(struct yk_incarnation *incarnation, int fd);
    /* As of yk_host_ops. kill NULL: it can't be forced to end, only asked. */
    int (*kill)(struct yk_incarnation *incarnation, int signal);
    int (*reap)(struct yk_incarnation *incarnation, struct yk_exit *ret);
    /*
     * Of those that connect, else NULL. For the link's task: waits for the connection, and makes it
     * the portal's link, which is up then. 0; YOKE_CANCELLED; -EPIPE (not raised): it was stopped;
     * or raised.
     */
    int (*accept)(struct yk_incarnation *incarnation);
    void (*stop_accepting)(struct yk_incarnation *incarnation); /* may be repeated */
    /* Tells it what it is to be; NULL: what a yoke program is told. 0, or raised. */
    int (*send_spec)(struct yk_incarnation *incarnation);
};

extern const struct yk_spawner yk_spawner_exec;   /* a new process: an executable */
extern const struct yk_spawner yk_spawner_zygote; /* a new process: a fork of the zygote */
extern const struct yk_spawner yk_spawner_thread; /* a runtime on a thread of this process */
extern const struct yk_spawner yk_spawner_plain;  /* a new process: a Python program */

#endif
