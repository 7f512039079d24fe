/* SPDX-License-Identifier: MIT */
/*
 * Errors. Each task has at most one error in flight. The rules, whole:
 *
 *   raise over nothing            the error is in flight
 *   raise an error over an error  the new one is in flight, the old one is its context
 *   raise an error over Cancelled the error is in flight, the Cancelled is its context
 *   Cancelled over an error       the error stays; the Cancelled is appended to its suppressed
 *   Cancelled over a Cancelled    the first stays
 *
 * An error ends in code that caught or cleared it on purpose, or at the root, which reports it. An
 * error object is reference-counted and, once raised, changed by nobody but the runtime, which may
 * append to what it carries and to its notes. References may be passed between threads, which may
 * read it meanwhile.
 */
#ifndef YOKE_ERROR_H
#define YOKE_ERROR_H

#include <stdarg.h>
#include <stdio.h>
#include <yoke/common.h>

YOKE_BEGIN

struct yoke_error;
struct yoke_cause;

/*
 * Raises an error in the calling task (or thread, outside a runtime) and returns its code, to be
 * returned in turn. `type` is a dotted name the application owns ("app.BadJob"); it is copied.
 * `code` is an errno of either sign or a yoke code, 0 is taken as EINVAL. Never blocks, never
 * fails: without memory a static error of type "yoke.OutOfMemory" takes its place.
 */
#define yoke_raise(type, code, ...)                                                                \
    yoke_not_last_(yoke_raise_at(YOKE_HERE, NULL, (type), (code), __VA_ARGS__))

/* As yoke_raise, and says which error led to this one. Takes over the caller's reference. */
#define yoke_raise_because(because, type, code, ...)                                               \
    yoke_not_last_(yoke_raise_at(YOKE_HERE, (because), (type), (code), __VA_ARGS__))

YOKE_API int yoke_raise_at(const struct yoke_site *site, struct yoke_error *because,
                           const char *type, int code, const char *format, ...) YOKE_PRINTF(5, 6);

/*
 * Private: keeps "return yoke_raise(...)" from being compiled to a jump, which would take the
 * function that raises out of the backtrace.
 */
static inline int yoke_not_last_(int rc)
{
    __asm__ volatile("" : "+r"(rc));
    return rc;
}

/*
 * Raises a group of `n` errors (n > 0), which become its members in this order; their references
 * are taken over. One member is raised as itself. Returns YOKE_EGROUP, or that one's code.
 */
#define yoke_raise_group(members, n, ...)                                                          \
    yoke_raise_group_at(YOKE_HERE, (members), (n), __VA_ARGS__)
YOKE_API int yoke_raise_group_at(const struct yoke_site *site, struct yoke_error *const *members,
                                 size_t n, const char *format, ...) YOKE_PRINTF(4, 5);

/* The error in flight, borrowed until the caller raises, catches, clears or blocks; or NULL. */
YOKE_API const struct yoke_error *yoke_in_flight(void);

/*
 * Takes the error in flight, with all it carries; the caller owns the reference. NULL if there is
 * none. A Cancelled may be caught like any error, but its scope stays cancelled: the next
 * checkpoint raises it again.
 */
YOKE_API YOKE_MUST_CHECK struct yoke_error *yoke_catch(void);

/* As yoke_catch, but only an error of this type; else leaves all as it is and returns NULL. */
YOKE_API YOKE_MUST_CHECK struct yoke_error *yoke_catch_type(const char *type);

/* Drops the error in flight on purpose; a no-op when there is none. */
YOKE_API void yoke_clear(void);

/*
 * Puts a caught error back in flight, by the rules above, and returns its code. Takes over the
 * reference. Its site and backtrace stay those of the first raise.
 */
YOKE_API int yoke_rethrow(struct yoke_error *error);

/* Adds a line of text to the error in flight; a no-op when there is none. */
YOKE_API void yoke_note(const char *format, ...) YOKE_PRINTF(1, 2);

/*
 * Cleanup that can itself fail or block runs between hold and release. Hold sets the error in
 * flight aside, so that raising, catching and clearing concern only what the cleanup does. Release
 * puts it back, appends what the cleanup left in flight to its suppressed, and returns its code;
 * if nothing was held, what the cleanup left in flight stays, and its code, or 0, is returned.
 * Holds nest strictly; releasing out of order, or ending a task with an open hold, aborts.
 */
struct yoke_hold { /* lives in the caller's frame; every field is private */
    struct yoke_error *held;
    struct yoke_hold *outer;
    const struct yoke_site *site;
};
#define yoke_hold(hold) yoke_hold_at(YOKE_HERE, (hold))
YOKE_API void yoke_hold_at(const struct yoke_site *site, struct yoke_hold *hold);
YOKE_API int yoke_release(struct yoke_hold *hold);

/* References. unref(NULL) is fine; unref returns NULL. */
YOKE_API struct yoke_error *yoke_error_ref(const struct yoke_error *error);
YOKE_API struct yoke_error *yoke_error_unref(struct yoke_error *error);

/* What an error says. Strings and errors returned are borrowed from `error`. */
YOKE_API const char *yoke_error_type(const struct yoke_error *error);    /* "app.BadJob" */
YOKE_API int yoke_error_code(const struct yoke_error *error);            /* the result code, < 0 */
YOKE_API int yoke_error_errno(const struct yoke_error *error);           /* at its source, < 0 */
YOKE_API const char *yoke_error_message(const struct yoke_error *error); /* "" if none */
YOKE_API const struct yoke_site *yoke_error_site(const struct yoke_error *error);
YOKE_API const struct yoke_error *yoke_error_context(const struct yoke_error *error);
YOKE_API const struct yoke_error *yoke_error_because(const struct yoke_error *error);
YOKE_API size_t yoke_error_suppressed_count(const struct yoke_error *error);
YOKE_API const struct yoke_error *yoke_error_suppressed(const struct yoke_error *error, size_t i);
YOKE_API size_t yoke_error_member_count(const struct yoke_error *error); /* 0: not a group */
YOKE_API const struct yoke_error *yoke_error_member(const struct yoke_error *error, size_t i);
YOKE_API size_t yoke_error_note_count(const struct yoke_error *error);
YOKE_API const char *yoke_error_note(const struct yoke_error *error, size_t i);
YOKE_API size_t yoke_error_backtrace(const struct yoke_error *error, void *const **ret_addresses);

/* Whether it is a Cancelled (the local unwinding of a cancelled scope, not a peer's). */
YOKE_API bool yoke_error_is_cancelled(const struct yoke_error *error);

/*
 * Why: for a Cancelled, the cause of the scope that it unwinds to; for YOKE_EPEERCANCELLED, what
 * cancelled the peer. NULL for other errors.
 */
YOKE_API const struct yoke_cause *yoke_error_cause(const struct yoke_error *error);

/* Causes of the cancelled scopes inside that one, outermost first. */
YOKE_API size_t yoke_error_inner_cause_count(const struct yoke_error *error);
YOKE_API const struct yoke_cause *yoke_error_inner_cause(const struct yoke_error *error, size_t i);

/* Where it was raised. An actor is named by name, uuid, host and pid. */
struct yoke_actor_id {
    char name[64];
    char uuid[37];
    char host[65];
    int32_t pid;
};
YOKE_API const struct yoke_actor_id *yoke_error_actor(const struct yoke_error *error);
YOKE_API uint64_t yoke_error_task_id(const struct yoke_error *error);
YOKE_API const char *yoke_error_task_name(const struct yoke_error *error);

/*
 * For an error that came over a link: the actor that raised it, the actors it passed on its way
 * (the source first), and its backtrace as text made at the source. Not remote: NULL, 0, "".
 */
YOKE_API const struct yoke_actor_id *yoke_error_source(const struct yoke_error *error);
YOKE_API size_t yoke_error_relay_count(const struct yoke_error *error);
YOKE_API const struct yoke_actor_id *yoke_error_relay(const struct yoke_error *error, size_t i);
YOKE_API const char *yoke_error_traceback(const struct yoke_error *error);

/*
 * Prints an error with all that it carries, one chain over tasks and processes; symbols are looked
 * up now. `flags` is 0 or YOKE_PRINT_*. Returns 0 or -errno of the stream; raises nothing.
 */
enum {
    YOKE_PRINT_BACKTRACE = 1, /* with backtraces, symbolised; not of Cancelleds that are carried */
    YOKE_PRINT_BRIEF = 2, /* one line: type, message, where, and the latest cause if it has one */
};
YOKE_API int yoke_error_print(const struct yoke_error *error, FILE *stream, int flags);

/* The same as JSON (one object, keys as the accessors are called). malloc'ed; NULL: no memory. */
YOKE_API char *yoke_error_json(const struct yoke_error *error, int flags);

/*
 * Conservation of errors, for tests: what became of every error raised by this process so far.
 * `lost` counts errors destroyed without having been caught, cleared, absorbed by their scope,
 * reported at the root, sent to a peer, or being reachable from one that was. It must be 0.
 */
struct yoke_error_stats {
    uint64_t raised;  /* errors and Cancelleds raised, those received over links included */
    uint64_t settled; /* that ended on purpose, by themselves or with one that carried them */
    uint64_t lost;    /* that did not */
    uint64_t live;    /* objects not yet destroyed */
};
YOKE_API void yoke_error_stats(struct yoke_error_stats *ret_stats);

YOKE_END
#endif
