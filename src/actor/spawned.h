/* SPDX-License-Identifier: MIT */
/* An actor from inside: what it was told at its start, and its way to serve. main.c */
#ifndef YK_ACTOR_SPAWNED_H
#define YK_ACTOR_SPAWNED_H

#include <yoke/error.h>

struct yk_spawned {
    struct yoke_actor_id id;   /* name and uuid */
    int fd;                    /* its end of the link; owned; -1: it dials */
    const char *plain_address; /* where a plain parent waits for it; NULL: it has its link */
    int stderr_fd;             /* to be its stderr once its parent knows it; -1: it is already */
    int32_t parent_pid;
    bool thread; /* of the process of its parent */
};

/* This process is that actor from now on. */
_Noreturn void yk_serve_process(struct yk_spawned *spawned);

/* The calling thread is, until it ends. Returns its exit status. */
int yk_serve_thread(struct yk_spawned *spawned);

/* Its parent knows it. */
void yk_spawned_known(void);

/* As yk_zygote_start, of a zygote of actors. zygote.c */
int yk_actor_zygote_start(void);

#endif
