/* SPDX-License-Identifier: MIT */
/*
 * Cancel scopes. A scope is a block of a task that can be cancelled: by request, or because its
 * deadline expired. Cancellation is level-triggered: every checkpoint inside raises Cancelled until
 * the block is left. The Cancelled unwinds to the outermost cancelled scope that is visible
 * through shields, and is absorbed there and nowhere else; semantics of trio's CancelScope.
 *
 *   struct yoke_scope s;
 *   int rc = yoke_scope_open(&s, &(struct yoke_scope_opts){ .timeout_ns = YOKE_S(2) });
 *   if (rc == 0)
 *       rc = work();
 *   rc = yoke_scope_close(&s, rc);     // 0 if the deadline cut work() short
 *   if (yoke_scope_cancelled_caught(&s))
 *       ...
 */
#ifndef YOKE_SCOPE_H
#define YOKE_SCOPE_H

#include <yoke/cause.h>
#include <yoke/common.h>

YOKE_BEGIN

struct yk_task;

/* Private part of a scope and a sleep: its place among the runtime's timers. */
struct yk_timer {
    int64_t deadline_ns;
    size_t place; /* its slot beside the heap, from 1; 0: not armed */
    void (*expired)(struct yk_timer *timer);
};

struct yoke_scope { /* lives in the caller's frame; every field is private */
    struct yoke_scope *parent;
    struct yk_list sibling;
    struct yk_list children;
    struct yk_list tasks;
    struct yk_task *task;
    struct yk_timer timer;
    uint64_t id;
    const char *name;
    const struct yoke_site *site;
    struct yoke_cause *cause;
    struct yoke_cause *deadline_because; /* its deadline is another's: that one's; or NULL */
    struct yoke_error *flight_at_open;
    unsigned later_n;
    unsigned magic;
    bool shield;
    bool cancel_called;
    bool effective;
    bool caught;
    bool late_is_error;
    bool nursery;
    bool context; /* it is that of a yoke_context */
    struct yoke_cause *later[4];
};

struct yoke_scope_opts {
    const char *name;    /* borrowed while open; NULL: the function that opened it */
    int64_t timeout_ns;  /* relative deadline; 0: none */
    int64_t deadline_ns; /* absolute deadline; 0: none. With both, the earlier one counts */
    bool shield;         /* outer cancellation is not visible inside */
    bool late_is_error;  /* if its deadline cuts the body short, close fails with -ETIMEDOUT
                            ("yoke.TooSlow") in place of 0; trio's fail_after */
};

/*
 * Opens a scope in the calling task. Strictly nested: scopes are closed in reverse order by the
 * task that opened them; anything else aborts with both sites named. Never blocks. -ENOMEM (only
 * with a deadline) leaves it open all the same: close it in any case.
 */
#define yoke_scope_open(scope, ...) yoke_scope_open_at(YOKE_HERE, (scope), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_scope_open_at(const struct yoke_site *site,
                                                struct yoke_scope *scope,
                                                const struct yoke_scope_opts *opts);

/*
 * Closes it; `rc` is the result of its body. If the scope was cancelled and the body is unwinding
 * with a Cancelled that goes no further, absorbs it and returns 0 (or fails, if it is late and that
 * is an error). Else returns `rc`, or the code of the error in flight if the body returned >= 0
 * without having handled one. Never blocks.
 */
YOKE_API YOKE_MUST_CHECK int yoke_scope_close(struct yoke_scope *scope, int rc);

/*
 * Asks for cancellation of everything in the scope; never waits, never fails. The first request is
 * the scope's cause, later ones are kept in a short list. `reason` may be NULL; it is copied. May
 * be called from any task of the runtime, also before anything in the scope runs.
 */
#define yoke_scope_cancel(scope, reason) yoke_scope_cancel_at(YOKE_HERE, (scope), (reason))
YOKE_API void yoke_scope_cancel_at(const struct yoke_site *site, struct yoke_scope *scope,
                                   const char *reason);

/* Changes while open; they take effect at once. An absolute deadline; YOKE_NEVER removes it. */
YOKE_API YOKE_MUST_CHECK int yoke_scope_set_deadline(struct yoke_scope *scope, int64_t deadline_ns);
YOKE_API void yoke_scope_set_shield(struct yoke_scope *scope, bool shield);

YOKE_API int64_t yoke_scope_deadline(const struct yoke_scope *scope); /* YOKE_NEVER: none */

/* Whether cancellation was asked for (an expired deadline counts); open or closed. */
YOKE_API bool yoke_scope_cancel_called(const struct yoke_scope *scope);

/* After close: whether a Cancelled arrived and was absorbed here. */
YOKE_API bool yoke_scope_cancelled_caught(const struct yoke_scope *scope);

/*
 * The cause of the scope's cancellation, NULL if there is none. Borrowed; valid while the scope is
 * open, and after close until the same task next closes a cancelled scope.
 */
YOKE_API const struct yoke_cause *yoke_scope_cause(const struct yoke_scope *scope);
YOKE_API size_t yoke_scope_later_cause_count(const struct yoke_scope *scope); /* while open */
YOKE_API const struct yoke_cause *yoke_scope_later_cause(const struct yoke_scope *scope, size_t i);

/* The earliest deadline visible to the calling task through shields; YOKE_NEVER if none. */
YOKE_API int64_t yoke_effective_deadline(void);

YOKE_END
#endif
