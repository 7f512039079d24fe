/* SPDX-License-Identifier: MIT */
/*
 * Actors: runtimes as nodes of a tree, by default one process each. An actor nursery starts them,
 * supervises, cancels and reaps them; a portal is a handle on one, through which contexts are
 * opened
 * (<yoke/context.h>). A child exposes only the endpoints that it was told to.
 *
 * An actor serves until its nursery closes: closing is its orderly end. The ladder of its teardown
 * is: cancel request, acknowledged, its own exit; else SIGTERM; else SIGKILL; always reaped. An
 * actor that ends without being asked fails its nursery (one-cancels-all) with "yoke.ActorDied".
 * When a parent is gone by any means, SIGKILL included, its children end by themselves.
 */
#ifndef YOKE_ACTOR_H
#define YOKE_ACTOR_H

#include <sys/resource.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>
#include <yoke/value.h>
#include <yoke/watch.h>

YOKE_BEGIN

struct yoke_portal;
struct yk_actor_child;

/* What main() needs. */
struct yoke_main_opts {
    int argc; /* as given to main; required */
    char **argv;
    void *arg;                           /* for the main function */
    const char *name;                    /* of the root actor; NULL: "root" */
    const struct yoke_watch_opts *watch; /* to yoke_watch with; NULL: only if YOKE_WATCH or
                                            YOKE_HOG_MS is in the environment */
};

/*
 * The main() of a program: runs fn(opts->arg) as the main task of the root actor, with SIGINT and
 * SIGTERM cancelling it with an os cause, and SIGUSR1, unless the program has a handler or receiver
 * for it, printing the task tree on stderr. Errors that reach it are reported on stderr with the
 * whole chain. Returns the exit status: what fn returned, if 0 to 125; 1 for an error; 128 + n if
 * signal n cancelled it. In a process that was started as an actor it serves instead, and never
 * calls fn. Call it first thing in main.
 */
#define yoke_main(fn, ...) yoke_main_at(YOKE_HERE, (fn), #fn, __VA_ARGS__)
YOKE_API int yoke_main_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name,
                          const struct yoke_main_opts *opts);

/*
 * For programs with a main of their own: if this process was started as an actor, serves as that
 * and exits, never returning; else does nothing. Call it before anything else in main.
 */
YOKE_API void yoke_serve_if_spawned(int argc, char **argv);

struct yoke_actor_nursery {    /* lives in the caller's frame; every field is private */
    struct yoke_nursery tasks; /* one supervising task per child */
    struct yk_list children;
    bool closing;
};

struct yoke_actor_nursery_opts {
    const char *name; /* borrowed while open; NULL: the function that opened it */
};

/* Opens an actor nursery in the calling task; nests with scopes. Close it in any case. */
#define yoke_actor_nursery_open(nursery, ...)                                                      \
    yoke_actor_nursery_open_at(YOKE_HERE, (nursery), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_actor_nursery_open_at(const struct yoke_site *site,
                                                        struct yoke_actor_nursery *nursery,
                                                        const struct yoke_actor_nursery_opts *opts);

/*
 * Ends all its actors in parallel and waits until they are reaped. Returns as yoke_nursery_close:
 * 0, the failure, or a group. Portals of its actors are invalid afterwards.
 */
#define yoke_actor_nursery_close(nursery, rc)                                                      \
    yoke_actor_nursery_close_at(YOKE_HERE, (nursery), (rc))
YOKE_API YOKE_MUST_CHECK int yoke_actor_nursery_close_at(const struct yoke_site *site,
                                                         struct yoke_actor_nursery *nursery,
                                                         int rc);

/* Its scope: cancelling it cancels the actors and whatever runs in the body. */
YOKE_API struct yoke_scope *yoke_actor_nursery_scope(struct yoke_actor_nursery *nursery);

struct yoke_actor_opts {
    const char *expose; /* endpoints it may serve: patterns as of fnmatch(3), separated by spaces,
                           such as "sum:* admin:ping"; NULL: none */
    const char *listen; /* where it listens (<yoke/peer.h>) before it is up; NULL: nowhere */
    const char *executable; /* NULL: the running one */
    /*
     * It is no yoke program, but speaks tractor's protocol: `executable` is a Python interpreter,
     * which runs tractor's actor runtime. `expose` then lists the modules that it imports, and
     * whose functions are its endpoints, as "module" or "module=/path/of/module.py", and
     * `arguments`, ended by NULL, are put before what it is told (`-m tractor._child ...`). It is
     * up when it has connected; it imports after that, and what it can't import ends it.
     */
    bool plain;
    const char *const *arguments; /* NULL: none */
    int64_t start_timeout_ns;     /* until it is up; 0: 10 s */
    int64_t cancel_timeout_ns;    /* from the cancel request to SIGTERM; 0: 3 s */
    int64_t term_timeout_ns;      /* from SIGTERM to SIGKILL; 0: 1 s */
    int64_t heartbeat_ns;         /* silent for so long it is taken for hung, and ended with
                                     "yoke.Unresponsive"; 0: never, it may be stopped, or compute */
};

/*
 * Starts an actor and waits until it is up. 0 and a portal that is valid until the nursery closes;
 * YOKE_CANCELLED (then nothing is left running); YOKE_EDIED if the process ended before it was up,
 * with its status; YOKE_EUNRESPONSIVE; -errno if no process could be made.
 */
#define yoke_actor_start(nursery, name, ...) /* opts, ret_portal */                                \
    yoke_actor_start_at(YOKE_HERE, (nursery), (name), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_actor_start_at(const struct yoke_site *site,
                                                 struct yoke_actor_nursery *nursery,
                                                 const char *name,
                                                 const struct yoke_actor_opts *opts,
                                                 struct yoke_portal **ret_portal);

/*
 * What the calling actor itself serves to its peers, as in yoke_actor_opts.expose; replaces what
 * was said before. A started actor begins with what its parent told it, a root with nothing. 0 or
 * -ENOMEM.
 */
YOKE_API YOKE_MUST_CHECK int yoke_actor_expose(const char *patterns);

/* The portal to the actor that started this one; NULL at the root. Valid while the runtime runs. */
YOKE_API struct yoke_portal *yoke_parent(void);

/* Who an actor is: this one, and the one behind a portal. Borrowed. */
YOKE_API const struct yoke_actor_id *yoke_actor_self(void);
YOKE_API const struct yoke_actor_id *yoke_portal_actor(const struct yoke_portal *portal);

/*
 * Asks the whole actor behind the portal to end, with an actor-layer cause; never waits, never
 * fails, repeating it is fine. `reason` may be NULL. Contexts into it end with
 * YOKE_EPEERCANCELLED. For a child of one of the caller's nurseries this is its expected end.
 */
#define yoke_portal_cancel_actor(portal, reason)                                                   \
    yoke_portal_cancel_actor_at(YOKE_HERE, (portal), (reason))
YOKE_API void yoke_portal_cancel_actor_at(const struct yoke_site *site, struct yoke_portal *portal,
                                          const char *reason);

/* The same for the calling actor itself: its main scope is cancelled. */
#define yoke_actor_cancel_self(reason) yoke_actor_cancel_self_at(YOKE_HERE, (reason))
YOKE_API void yoke_actor_cancel_self_at(const struct yoke_site *site, const char *reason);

/*
 * Waits until a child actor's process has ended and was reaped. 0, and how it ended: `ret_status`
 * as of waitpid(2), and what it used; either may be NULL. -ECHILD if it is not a child of the
 * caller.
 */
YOKE_API YOKE_MUST_CHECK int yoke_portal_wait(struct yoke_portal *portal, int *ret_status,
                                              struct rusage *ret_usage);

YOKE_END
#endif
