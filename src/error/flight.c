/* SPDX-License-Identifier: MIT */
/*
 * The rules of the error in flight; <yoke/error.h> states them whole, put_over() below is where
 * they are. One principle decides the corner cases: an error beats a Cancelled, whichever came
 * first and whichever way they meet; so no cancellation can mask an error, and no scope that
 * absorbs a Cancelled can swallow an error with it.
 *
 * Runs on the stack of the task that raises. The functions that programs call to raise are never
 * inlined: their frame address is where the backtrace starts, so that its first line is the caller.
 */
#include <string.h>

#include "base/check.h"
#include "error/error.h"
#include "error/stats.h"

#define RAISES __attribute__((noinline))

/* A Cancelled meets a Cancelled: the first stays. */
static struct yoke_error *cancelled_over_cancelled(struct yoke_error *old, struct yoke_error *error)
{
    if (old->node.immortal)
        return error; /* says more, and the static one carries nothing */
    if (yk_error_carries(error))
        yk_error_suppress(old, error);
    else
        yk_error_absorb(error);
    return old;
}

/* What is in flight after `error` was raised over `old`; both references become that one. */
static struct yoke_error *put_over(struct yoke_error *old, struct yoke_error *error)
{
    if (old == error) {
        yoke_error_unref(error);
        return old;
    }
    if (error->cancelled && old->cancelled)
        return cancelled_over_cancelled(old, error);
    if (error->cancelled) {
        if (old->node.immortal)
            yk_error_absorb(error);
        else
            yk_error_suppress(old, error);
        return old;
    }
    if (error->node.immortal) {
        if (old->cancelled) {
            yk_error_absorb(old);
            return error;
        }
        yk_error_suppress(old, error);
        return old;
    }
    yk_error_set_context(error, old);
    return error;
}

struct yoke_error *yk_flight_now(struct yk_locus *locus)
{
    struct yk_locus *current = yk_locus_current;
    struct yoke_cause *cause = locus->pending;
    struct yoke_error *error;

    if (cause == NULL)
        return locus->in_flight;
    yk_locus_current = locus; /* it was raised there, whoever asks */
    error = yk_error_make_cancelled_at(locus->pending_frames, locus->pending_frames_n, cause);
    yk_locus_current = current;
    locus->pending = NULL;
    locus->in_flight = error;
    yoke_cause_unref(cause);
    return error;
}

void yk_flight_absorb_pending(struct yk_locus *locus)
{
    struct yoke_cause *cause = locus->pending;

    locus->pending = NULL;
    yoke_cause_unref(cause);
    yk_count(YK_COUNT_RAISED);
    yk_count(YK_COUNT_SETTLED);
}

void yk_flight_locate_pending(struct yk_locus *locus, const void *frame)
{
    locus->pending_frames_n =
        (unsigned)yk_backtrace_take(locus, frame, locus->pending_frames, YK_PENDING_FRAMES);
}

int yk_flight_raise(struct yk_locus *locus, struct yoke_error *error)
{
    struct yoke_error *old = yk_flight_now(locus);

    yk_assert(error != NULL);
    locus->in_flight = old == NULL ? error : put_over(old, error);
    return yk_error_rc(locus->in_flight);
}

struct yoke_error *yk_flight_take(struct yk_locus *locus)
{
    struct yoke_error *error = yk_flight_now(locus);

    locus->in_flight = NULL;
    return error;
}

/* Without memory the error that led to the new one goes on in its place. */
static int raise_with_because(struct yoke_error *error, struct yoke_error *because)
{
    if (because != NULL && error->node.immortal && !because->cancelled) {
        yk_node_unsettle(because);
        yk_error_suppress(because, error);
        error = because;
    } else if (because != NULL && error->node.immortal) {
        yk_error_absorb(because);
    } else {
        error->because = because;
    }
    return yk_flight_raise(yk_locus(), error);
}

RAISES int yoke_raise_at(const struct yoke_site *site, struct yoke_error *because, const char *type,
                         int code, const char *format, ...)
{
    struct yoke_error *error;
    va_list arguments;

    va_start(arguments, format);
    error = yk_error_make_at(__builtin_frame_address(0), site, type, code, format, arguments);
    va_end(arguments);
    return raise_with_because(error, because);
}

RAISES int yoke_raise_group_at(const struct yoke_site *site, struct yoke_error *const *members,
                               size_t n, const char *format, ...)
{
    char message[YK_ERROR_MESSAGE_MAX];
    va_list arguments;

    if (n == 0)
        yk_misuse(site, NULL, NULL, "yoke_raise_group without errors");
    va_start(arguments, format);
    (void)yk_format(message, sizeof message, format, arguments);
    va_end(arguments);
    if (n == 1)
        return yoke_rethrow(members[0]);
    return yk_flight_raise(yk_locus(), yk_error_make_group_at(__builtin_frame_address(0), site,
                                                              members, n, message));
}

const struct yoke_error *yoke_in_flight(void)
{
    return yk_flight_now(yk_locus());
}

struct yoke_error *yoke_catch(void)
{
    struct yoke_error *error = yk_flight_take(yk_locus());

    yk_error_settle(error);
    return error;
}

struct yoke_error *yoke_catch_type(const char *type)
{
    const struct yoke_error *error = yk_flight_now(yk_locus());

    if (error == NULL || strcmp(error->type, type) != 0)
        return NULL;
    return yoke_catch();
}

void yoke_clear(void)
{
    struct yk_locus *locus = yk_locus();

    if (locus->pending != NULL)
        yk_flight_absorb_pending(locus);
    else
        yoke_error_unref(yoke_catch());
}

int yoke_rethrow(struct yoke_error *error)
{
    if (error == NULL)
        return 0;
    yk_node_unsettle(error);
    return yk_flight_raise(yk_locus(), error);
}

void yoke_note(const char *format, ...)
{
    struct yoke_error *error = yk_flight_now(yk_locus());
    char text[YK_ERROR_MESSAGE_MAX];
    va_list arguments;

    if (error == NULL)
        return;
    va_start(arguments, format);
    (void)yk_format(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)yk_error_add_note(error, text);
}

void yoke_hold_at(const struct yoke_site *site, struct yoke_hold *hold)
{
    struct yk_locus *locus = yk_locus();

    hold->held = yk_flight_take(locus);
    hold->outer = locus->hold;
    hold->site = site;
    locus->hold = hold;
}

/*
 * An error that cleanup left goes to the suppressed of the held one, which was there first. But a
 * held Cancelled gives way to it: it would be absorbed by its scope, and the error with it.
 */
int yoke_release(struct yoke_hold *hold)
{
    struct yk_locus *locus = yk_locus();
    struct yoke_error *held = hold->held;
    struct yoke_error *left;

    if (locus->hold == NULL)
        yk_misuse(NULL, "held at", hold->site, "yoke_release without an open yoke_hold");
    if (locus->hold != hold)
        yk_misuse(hold->site, "still open, held at", locus->hold->site,
                  "yoke_release out of order: a hold inside this one is open");
    locus->hold = hold->outer;
    hold->held = NULL;
    left = yk_flight_take(locus);
    if (held == NULL || left == NULL) {
        locus->in_flight = held == NULL ? left : held;
    } else if (held->cancelled || held->node.immortal) {
        locus->in_flight = put_over(held, left);
    } else {
        yk_error_suppress(held, left);
        locus->in_flight = held;
    }
    return locus->in_flight == NULL ? 0 : yk_error_rc(locus->in_flight);
}

/* Whether the error says already that it met a Cancelled of this cause. */
static bool tells_of(const struct yoke_error *error, const struct yoke_cause *cause)
{
    for (size_t i = 0; i < error->suppressed.n; i++) {
        const struct yoke_error *other = error->suppressed.items[i];

        if (other->cancelled && other->cause != NULL && yoke_id_equal(other->cause->id, cause->id))
            return true;
    }
    error = error->context;
    return error != NULL && error->cancelled && error->cause != NULL &&
           yoke_id_equal(error->cause->id, cause->id);
}

RAISES int yk_raise_cancelled(const struct yoke_site *site, const struct yoke_cause *cause,
                              struct yoke_cause *const *inner, size_t inner_n)
{
    struct yk_locus *locus = yk_locus();
    struct yoke_error *old = locus->in_flight;

    if (locus->pending != NULL)
        return YOKE_CANCELLED;
    if (old == NULL && inner_n == 0 && cause != NULL && site == NULL) {
        locus->pending = yoke_cause_ref(cause);
        yk_flight_locate_pending(locus, __builtin_frame_address(0));
        return YOKE_CANCELLED;
    }
    if (old != NULL && old->cancelled && !old->node.immortal)
        return YOKE_CANCELLED;
    if (old != NULL && !old->cancelled && cause != NULL && tells_of(old, cause))
        return YOKE_CANCELLED;
    yk_flight_raise(locus, yk_error_make_cancelled(__builtin_frame_address(0), site, cause, inner,
                                                   inner_n));
    return YOKE_CANCELLED;
}

/* Someone else may hold the Cancelled in flight; what they hold must not change under them. */
void yk_retarget_cancelled(struct yk_locus *locus, const struct yoke_cause *cause,
                           struct yoke_cause *const *inner, size_t inner_n)
{
    struct yoke_error *error = yk_flight_now(locus);

    yk_assert(error != NULL && error->cancelled);
    if (error->node.immortal || atomic_load(&error->node.refs) > 1) {
        struct yoke_error *copy = yk_error_copy(error);

        if (copy == NULL)
            return; /* it goes on with the cause of the inner scope, which is still true */
        yoke_error_unref(error);
        locus->in_flight = error = copy;
    }
    yk_error_set_causes(error, cause, inner, inner_n);
}
