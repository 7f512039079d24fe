/* SPDX-License-Identifier: MIT */
/*
 * Errors inside the library: the object, and what only the task and actor layers do with it.
 *
 * Conservation: each object has a fate. Catching, clearing, absorbing, reporting or sending an
 * error settles it; when a settled error is destroyed, all that it carries (context, because,
 * suppressed, members) is settled by that. An error destroyed unsettled counts as lost.
 */
#ifndef YK_ERROR_ERROR_H
#define YK_ERROR_ERROR_H

#include <yoke/error.h>

#include "base/limits.h"
#include "error/cause.h"
#include "error/locus.h"

/*
 * Grows only, and its places never move: whoever sees `n` may read as many items without a lock,
 * whatever other threads that share the error append meanwhile.
 */
struct yk_error_list {
    struct yoke_error **items; /* owned references; all places are allocated with the first item */
    _Atomic size_t n;
};

enum yk_fate {
    YK_FATE_OPEN,     /* in flight, or on its way to somewhere */
    YK_FATE_SETTLED,  /* ended on purpose */
    YK_FATE_REOPENED, /* in flight again: one that carries it can't settle it while it lives */
};

/* What only an error that came over a link has. */
struct yk_remote {
    struct yoke_actor_id source;
    struct yoke_actor_id *relay; /* owned array, the source first */
    size_t relay_n;
    char *traceback; /* owned; "" if none */
};

/*
 * One block: the struct, then frames, type and message. What is attached later is atomic, because
 * threads that share the error may read it meanwhile. The large fields are last, so that an
 * ordinary raise clears and touches little.
 */
struct yoke_error {
    struct yk_node node;        /* first; immortal for the two static errors used without memory */
    _Atomic unsigned char fate; /* enum yk_fate */
    bool cancelled;             /* a local Cancelled */
    int code;                   /* at its source: -errno or a yoke code */
    const char *type;           /* in the same block, or static, as is the message; never NULL */
    const char *message;
    void *const *frames; /* in the same block */
    size_t frames_n;
    struct yoke_site site; /* strings static, or owned below; never NULL */
    char *site_strings;    /* owned copies for a decoded error, else NULL */
    struct yoke_error *_Atomic context;
    struct yoke_error *because;
    struct yk_error_list suppressed; /* YK_ERROR_SUPPRESSED_MAX places */
    struct yk_error_list members;    /* as many places as there are members */
    _Atomic size_t suppressed_left_out;
    char **notes; /* YK_ERROR_NOTES_MAX places, allocated with the first */
    _Atomic size_t notes_n;
    struct yoke_cause *cause; /* Cancelled, peer cancelled */
    struct yoke_cause **inner_causes;
    size_t inner_causes_n;
    struct yk_remote *remote; /* owned; NULL for a local error */
    uint64_t task_id;
    struct yoke_actor_id actor; /* from here on not cleared at birth, but copied into */
    char task_name[YK_TASK_NAME_MAX];
};

/* An error with one reference, not in flight, counted as raised; NULL: no memory. For decoding. */
struct yoke_error *yk_error_new(const char *type, int code, const char *message);

/* The same with the return addresses of a backtrace. */
struct yoke_error *yk_error_new_at(void *const *frames, size_t frames_n, const char *type, int code,
                                   const char *message);

/* As yoke_raise_at without `because`, but not put in flight; never NULL. */
struct yoke_error *yk_error_make(const struct yoke_site *site, const char *type, int code,
                                 const char *format, ...) YOKE_PRINTF(4, 5);

/* The same, with the backtrace from `frame` on: the frame address of the function that was called.
 */
struct yoke_error *yk_error_make_at(const void *frame, const struct yoke_site *site,
                                    const char *type, int code, const char *format,
                                    va_list arguments) YOKE_PRINTF(5, 0);

/* A Cancelled of the current locus, not in flight; takes references to the causes. Never NULL. */
struct yoke_error *yk_error_make_cancelled(const void *frame, const struct yoke_site *site,
                                           const struct yoke_cause *cause,
                                           struct yoke_cause *const *inner, size_t inner_n);

/* The same of the current locus, raised where `frames` say; for one that was pending till now. */
struct yoke_error *yk_error_make_cancelled_at(void *const *frames, size_t frames_n,
                                              const struct yoke_cause *cause);

/*
 * A group that takes over the members' references (n > 0); one member is returned as itself. Never
 * NULL: without memory the first member is returned, the others suppressed by it. `message` NULL
 * says how many there are.
 */
struct yoke_error *yk_error_make_group(const struct yoke_site *site,
                                       struct yoke_error *const *members, size_t n,
                                       const char *message);

/* The same, with the backtrace from `frame` on. n > 1. */
struct yoke_error *yk_error_make_group_at(const void *frame, const struct yoke_site *site,
                                          struct yoke_error *const *members, size_t n,
                                          const char *message);

/*
 * A copy with one reference that carries the same, for when `error` itself must not be changed;
 * NULL: no memory. The copy stands for the original, which it settles.
 */
struct yoke_error *yk_error_copy(struct yoke_error *error);

/* As yk_error_copy, but without what leads to `target`, which `error` itself is not. */
struct yoke_error *yk_error_copy_without(struct yoke_error *error, struct yoke_error *target);

/* Copies the part of a remote error; false: no memory, nothing is changed. */
bool yk_error_copy_remote(struct yoke_error *error, const struct yk_remote *remote);

/*
 * Appends a reference, which is taken over unless there is no memory (false). A list's first append
 * gives it `places`; no more fit.
 */
bool yk_error_list_append(struct yk_error_list *list, struct yoke_error *error, size_t places);

/* Replaces the causes of a Cancelled that nobody else holds. Takes references. */
void yk_error_set_causes(struct yoke_error *error, const struct yoke_cause *cause,
                         struct yoke_cause *const *inner, size_t inner_n);

/*
 * Formats into `text` as vsnprintf does; what is too long is cut between characters and ends in
 * "...". Returns the length; a format that vsnprintf refuses, or NULL, gives "".
 */
size_t yk_format(char *text, size_t size, const char *format, va_list arguments) YOKE_PRINTF(3, 0);

/* Ends text that is too long for `size` bytes with "...", between two characters if it is UTF-8.
 * Returns the length. */
size_t yk_format_cut(char *text, size_t size);

/* Adds a note; false if it was left out: no memory, or too many. */
bool yk_error_add_note(struct yoke_error *error, const char *text);

/*
 * One more actor passed an error on its way here. Makes it remote if it is not, with the actor that
 * raised it as source and first of the path; the actor that is the last already is not added again.
 * 0; -ENOMEM; -ELOOP if the path is full.
 */
int yk_error_add_relay(struct yoke_error *error, const struct yoke_actor_id *actor);

/* The code a function returns for it: YOKE_EREMOTE for a remote one, else its own. */
int yk_error_rc(const struct yoke_error *error);

/*
 * Raises a Cancelled at the current locus by the rules of flight. References to the causes are
 * taken. Returns YOKE_CANCELLED always. A Cancelled of a cause that the error in flight already
 * suppresses, or has as its context, is not appended twice. `site` may be NULL.
 */
int yk_raise_cancelled(const struct yoke_site *site, const struct yoke_cause *cause,
                       struct yoke_cause *const *inner, size_t inner_n);

/* A Cancelled now unwinds to another scope: replaces its causes (in place, or by a copy in flight).
 */
void yk_retarget_cancelled(struct yk_locus *locus, const struct yoke_cause *cause,
                           struct yoke_cause *const *inner, size_t inner_n);

/*
 * Puts an error in flight at a locus by the rules of flight; takes over the reference. Returns the
 * code of what is in flight then. Two cases that the rules don't name: a Cancelled that carries
 * errors is suppressed by a Cancelled in flight, not dropped; and the static error of exhausted
 * memory, which can carry nothing, never displaces an error but is suppressed by it.
 */
int yk_flight_raise(struct yk_locus *locus, struct yoke_error *error);

/* The error in flight of a locus as an object, borrowed; NULL if there is none. */
struct yoke_error *yk_flight_now(struct yk_locus *locus);

/* Drops a pending Cancelled, which its scope absorbs. */
void yk_flight_absorb_pending(struct yk_locus *locus);

/* Now that it runs: where the task is that a pending Cancelled was raised in while it was parked.
 */
void yk_flight_locate_pending(struct yk_locus *locus, const void *frame);

/* Takes the error in flight of a locus without settling it: it is on its way to somewhere. */
struct yoke_error *yk_flight_take(struct yk_locus *locus);

/*
 * Appends to `suppressed`; takes over the reference of `other`. Never makes a cycle: what would
 * close one is attached as a copy without the part that leads back. The same object twice, or a
 * Cancelled of a cause already there, is appended once. What finds no place, for want of memory or
 * beyond YK_ERROR_SUPPRESSED_MAX, is settled and counted in suppressed_left_out.
 */
void yk_error_suppress(struct yoke_error *error, struct yoke_error *other);

/*
 * Sets `context` at the innermost end of `error`'s context chain; takes over the reference. What
 * `error` carries already is not attached again. Cycles as in yk_error_suppress.
 */
void yk_error_set_context(struct yoke_error *error, struct yoke_error *context);

/* Whether it carries errors: a context, a because, suppressed ones, members. */
static inline bool yk_error_carries(const struct yoke_error *error)
{
    return error->context != NULL || error->because != NULL || error->suppressed.n > 0 ||
           error->members.n > 0;
}

/* Ended on purpose, with all it carries. NULL is fine. */
void yk_error_settle(struct yoke_error *error);

/* Settles and drops the reference: for a Cancelled that its scope absorbs. */
void yk_error_absorb(struct yoke_error *error);

/* The root's report: prints with backtraces to `stream`, settles, drops the reference. */
void yk_error_report(struct yoke_error *error, FILE *stream);

/* The memory of an error whose references are all gone, counted; only node.c calls it. */
void yk_error_free(struct yoke_error *error);

/*
 * Runs fn(arg) where there is enough stack for symbol lookup. Installed by task/ (the scheduler's
 * stack); by default calls it in place.
 */
extern void (*yk_on_big_stack)(void (*fn)(void *arg), void *arg);

/*
 * Return addresses of the callers of the function whose frame address `frame` is, innermost first,
 * without symbols; returns how many. Only reads the locus's own stack, so it never faults; none if
 * `frame` is not on it, or the processor is not one we know.
 */
size_t yk_backtrace_take(const struct yk_locus *locus, const void *frame, void **frames,
                         size_t max);

/* Rendering of one symbolised backtrace, malloc'ed text, one frame a line; NULL: no memory. */
char *yk_backtrace_text(void *const *frames, size_t n);

/* The static errors used when there is no memory. */
struct yoke_error *yk_error_out_of_memory(void);

#endif
