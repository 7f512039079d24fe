/* SPDX-License-Identifier: MIT */
/*
 * Actors: runtimes as nodes of a tree, by default one process each. An actor nursery starts them,
 * supervises, cancels and reaps them; a portal is a handle on one, through which contexts are
 * opened
 * (<yoke/context.h>). A child exposes only the endpoints that it was told to.
 *
 * An actor serves until its nursery closes, or runs a main endpoint whose return is its end. The
 * ladder of its teardown is: cancel request, acknowledged, its own exit; else SIGTERM; else
 * SIGKILL; always reaped. What becomes of the others, and of itself, when an actor fails is its
 * nursery's strategy; by default it fails the nursery, which cancels the rest. When a parent is
 * gone by any means, SIGKILL included, its children end by themselves.
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
struct yk_supervisor;

/* What main() needs. */
struct yoke_main_opts {
    int argc; /* as given to main; required */
    char **argv;
    void *arg;        /* for the main function */
    const char *name; /* of the root actor; NULL: "root" */
    bool zygote; /* before anything else, fork a process for YOKE_SPAWN_ZYGOTE to fork actors from:
                    the program must not have threads by then */
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
    struct yk_supervisor *supervisor;
};

/* What happens when an actor is to be restarted: to it, and to the others of its nursery. */
enum yoke_strategy {
    YOKE_ONE_CANCELS_ALL = 0, /* nothing is restarted: the nursery fails and cancels the rest */
    YOKE_ONE_FOR_ONE,         /* it alone is restarted */
    YOKE_REST_FOR_ONE,        /* it, and those that were started after it */
    YOKE_ONE_FOR_ALL,         /* all */
};

/*
 * Which ends of an actor call for a restart. It fails if its main endpoint does, if its process
 * dies of a signal or exits with another status than 0, or if it breaks its link. Its end is normal
 * if its main endpoint returned, or its process exited with 0. One that was asked to end, by
 * yoke_portal_cancel_actor or its nursery, is never restarted.
 */
enum yoke_restart_kind {
    YOKE_RESTART_DEFAULT = 0, /* transient if it has a main endpoint, else permanent */
    YOKE_RESTART_PERMANENT,   /* every end */
    YOKE_RESTART_TRANSIENT,   /* a failure */
    YOKE_RESTART_TEMPORARY,   /* none: its failure is told to on_end, and otherwise ignored */
};

/* An end of an actor that did not fail its nursery. Everything is borrowed for the call. */
struct yoke_actor_end {
    struct yoke_portal *portal;
    const struct yoke_error *error; /* why, handled; NULL: it obeyed, for a sibling */
    bool restarts;                  /* it will be up again, unless its nursery ends before */
    unsigned restart_count;         /* of this actor so far, this one included */
    int64_t delay_ns;               /* before it is started again */
};

struct yoke_actor_nursery_opts {
    const char *name; /* borrowed while open; NULL: the function that opened it */
    enum yoke_strategy strategy;
    unsigned max_restarts;  /* more failures than these within period_ns fail the nursery, with
                               "yoke.RestartLimit"; 0: 3; at most 1000 */
    int64_t period_ns;      /* 0: 5 s */
    int64_t backoff_ns;     /* before an actor that failed is started again, doubled with each
                               failure that follows within period_ns; of each delay the second half
                               is random; 0: 10 ms */
    int64_t backoff_max_ns; /* 0: 10 s */
    bool ordered_shutdown;  /* end the actors one after another, the last started first; else all
                               at once */
    void (*on_end)(void *arg, const struct yoke_actor_end *end); /* in a task, must not block */
    void *arg;
};

/*
 * Opens an actor nursery in the calling task; nests with scopes. Close it in any case. -EINVAL for
 * options that make no sense; -ENOMEM.
 */
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

/* How an actor comes into being. Supervision is the same for all. */
enum yoke_spawner {
    YOKE_SPAWN_EXEC = 0, /* a new process of this executable, or of another one. What it says on
                            stderr before it is up passes through its parent, and is in the error of
                            a start that fails */
    YOKE_SPAWN_ZYGOTE,   /* a process forked from the zygote (yoke_main_opts), of the root only:
                            faster, with the memory that the program had before it had a runtime */
    YOKE_SPAWN_THREAD,   /* a thread of this process, with a runtime of its own. Shares its memory,
                            signals and exit(3), and can't be killed: closing its nursery waits for
                            one that does not obey, and says so on stderr */
};

struct yoke_actor_opts {
    const char *expose; /* endpoints it may serve: patterns as of fnmatch(3), separated by spaces,
                           such as "sum:* admin:ping"; NULL: none */
    const char *listen; /* where it listens (<yoke/peer.h>) before it is up; NULL: nowhere */
    const char *run; /* its main endpoint, which it may serve in any case: called after each start,
                        and up once that has called yoke_context_started; NULL: it only serves */
    struct yoke_value args; /* for `run`, copied */
    enum yoke_restart_kind restart;
    enum yoke_spawner spawner;
    const char *executable; /* NULL: the running one; only of YOKE_SPAWN_EXEC */
    /*
     * It is no yoke program, but speaks tractor's protocol: `executable` is a Python interpreter,
     * which runs tractor's actor runtime. `expose` then lists the modules that it imports, and
     * whose functions are its endpoints, as "module" or "module=/path/of/module.py", and
     * `arguments`, ended by NULL, are put before what it is told (`-m tractor._child ...`). It is
     * up when it has connected; it imports after that, and what it can't import ends it. Only of
     * YOKE_SPAWN_EXEC; the module of `run` must be among those of `expose`.
     */
    bool plain;
    const char *const *arguments; /* only of a plain one; NULL: none */
    int64_t start_timeout_ns;     /* until it is up; 0: 10 s */
    int64_t cancel_timeout_ns;    /* from the cancel request to SIGTERM; 0: 3 s */
    int64_t term_timeout_ns;      /* from SIGTERM to SIGKILL; 0: 1 s */
    int64_t heartbeat_ns;         /* silent for so long it is taken for hung, and ended with
                                     "yoke.Unresponsive"; 0: never, it may be stopped, or compute */
};

/*
 * Starts an actor and waits until it is up. 0 and a portal that is valid until the nursery closes,
 * over restarts: a context that is opened while the actor is being restarted waits until it is up.
 * YOKE_CANCELLED (then nothing is left running); YOKE_EDIED if the process ended before it was up,
 * with its status; YOKE_EUNRESPONSIVE; what its main endpoint failed with before it had started;
 * -errno if no process could be made. A first start that fails is not repeated.
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
 * YOKE_EPEERCANCELLED. For a child of one of the caller's nurseries this is its expected end, after
 * which it is not restarted.
 */
#define yoke_portal_cancel_actor(portal, reason)                                                   \
    yoke_portal_cancel_actor_at(YOKE_HERE, (portal), (reason))
YOKE_API void yoke_portal_cancel_actor_at(const struct yoke_site *site, struct yoke_portal *portal,
                                          const char *reason);

/* The same for the calling actor itself: its main scope is cancelled. */
#define yoke_actor_cancel_self(reason) yoke_actor_cancel_self_at(YOKE_HERE, (reason))
YOKE_API void yoke_actor_cancel_self_at(const struct yoke_site *site, const char *reason);

/* How often a child actor was restarted; 0 for actors that are not children of this one. */
YOKE_API unsigned yoke_portal_restarts(const struct yoke_portal *portal);

/*
 * What a child actor failed with last, handled by its nursery's strategy; NULL if nothing. Borrowed
 * until it fails again or its nursery closes.
 */
YOKE_API const struct yoke_error *yoke_portal_last_error(const struct yoke_portal *portal);

/*
 * Waits until a child actor's process has ended for good and was reaped: it will not be restarted.
 * 0, and how it ended: `ret_status`
 * as of waitpid(2), and what it used; either may be NULL. -ECHILD if it is not a child of the
 * caller.
 */
YOKE_API YOKE_MUST_CHECK int yoke_portal_wait(struct yoke_portal *portal, int *ret_status,
                                              struct rusage *ret_usage);

YOKE_END
#endif
