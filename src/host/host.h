/* SPDX-License-Identifier: MIT */
/*
 * A host is the world as a runtime sees it: clock, entropy, poller, spawner. Everything above asks
 * it and nobody else, so that a simulated world can take its place. Implementations: linux.c,
 * sim.c.
 */
#ifndef YK_HOST_HOST_H
#define YK_HOST_HOST_H

#include <sys/resource.h>
#include <sys/types.h>
#include <yoke/common.h>

/*
 * EXCEPTIONAL comes with the other two when the peer has closed, an error is pending or urgent data
 * came: reading is not over when it has taken what was there, and no later event will tell.
 */
enum { YK_READABLE = 1, YK_WRITABLE = 2, YK_EXCEPTIONAL = 4 };

/*
 * A descriptor that is watched, edge-triggered: after `ready` was called for an event it is called
 * again only when the descriptor became ready anew. Owned by whoever added it.
 */
struct yk_watch {
    int fd;
    /* Runs on the scheduler's stack inside poll; may wake tasks, and add or remove watches. */
    void (*ready)(struct yk_watch *watch, unsigned events);
};

/* A descriptor that a new process gets: our `fd` becomes its number `as`. */
struct yk_spawn_fd {
    int fd;
    int as;
};

/* What failed, of a spawn that did. */
enum yk_spawn_step {
    YK_SPAWN_PREPARE = 1, /* a process, its descriptors, its group */
    YK_SPAWN_DIRECTORY,   /* its working directory */
    YK_SPAWN_EXECUTE,     /* its program */
};

/*
 * What to execute. Everything is borrowed for the call. Signals have their default effect in the
 * new process, and none is blocked. Descriptors that are not named are closed, unless they lack
 * close-on-exec.
 */
struct yk_spawn {
    const char *path; /* executable; NULL: the running one */
    char *const *argv;
    char *const *environment; /* "NAME=value", and NULL at the end; NULL: ours */
    const char *directory;    /* NULL: ours */
    const struct yk_spawn_fd *fds;
    size_t fds_n;                 /* at most YK_SPAWN_FDS_MAX */
    int death_signal;             /* sent to it when the calling thread ends; 0: none */
    bool own_group;               /* a process group of its own, which signals then go to */
    enum yk_spawn_step *ret_step; /* set on failure; may be NULL */
};

struct yk_process {
    pid_t pid;
    int pidfd;      /* readable when the process has ended; owned by the caller */
    bool own_group; /* it leads a process group of its own */
};

struct yk_exit {
    int status; /* as waitpid gives it */
    struct rusage usage;
};

struct yoke_host {
    const struct yk_host_ops *ops;
};

struct yk_host_ops {
    const char *name;
    int64_t (*now)(struct yoke_host *host);  /* monotonic, ns */
    int64_t (*wall)(struct yoke_host *host); /* since 1970, ns */
    void (*entropy)(struct yoke_host *host, void *data, size_t size);

    /*
     * Waits until a watch is ready, wake() was called, or the clock reaches until_ns (0: only
     * looks), and calls what is ready. With `external`, something outside of the runtime's view
     * (a worker thread) will call wake(). 0, or -errno.
     */
    int (*poll)(struct yoke_host *host, int64_t until_ns, bool external);
    void (*wake)(struct yoke_host *host); /* from any thread */
    /* Is readable when poll would find something. NULL: this host has no such descriptor. */
    int (*descriptor)(struct yoke_host *host);

    /* 0; -EPERM: always ready; -EEXIST: its number is watched already; or another -errno. */
    int (*watch_add)(struct yoke_host *host, struct yk_watch *watch);
    void (*watch_remove)(struct yoke_host *host, struct yk_watch *watch);

    int (*spawn)(struct yoke_host *host, const struct yk_spawn *spawn, struct yk_process *ret);
    /* 1: reaped into *ret; 0: still running; -errno (-ECHILD: somebody else did). Never blocks. */
    int (*reap)(struct yoke_host *host, const struct yk_process *process, struct yk_exit *ret);
    /* To its process group, if it has one of its own. Not after it was reaped. */
    int (*kill)(struct yoke_host *host, const struct yk_process *process, int signal);

    void (*free)(struct yoke_host *host);
};

/* The hosts there are, to be freed by their `free`. 0 or -errno. */
int yk_host_linux_new(struct yoke_host **ret_host);
int yk_host_sim_new(uint64_t seed, struct yoke_host **ret_host);

/* Whether a simulated clock jumps by itself; moves it on. 0; -EINVAL: not a simulated host. */
int yk_host_sim_set_autojump(struct yoke_host *host, bool autojump);
int yk_host_sim_advance(struct yoke_host *host, int64_t duration_ns);

/* A host that passes calls on to `inner`, and fails them when told to. 0 or -ENOMEM. */
int yk_host_faulty_new(struct yoke_host *inner, struct yoke_host **ret_host);

/* Lets its n-th fallible call from now fail; 0: none. How many were to go before; -EINVAL. */
int yk_host_faulty_fail(struct yoke_host *faulty, unsigned n, int error);

/* Processors that this process may run on; at least 1. */
unsigned yk_cpu_count(void);

#endif
