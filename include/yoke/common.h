/* SPDX-License-Identifier: MIT */
/* What every yoke header needs: result codes, call sites, ids, units of time. */
#ifndef YOKE_COMMON_H
#define YOKE_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define YOKE_BEGIN extern "C" {
#define YOKE_END   }
#else
#define YOKE_BEGIN
#define YOKE_END
#endif

#define YOKE_API          __attribute__((visibility("default")))
#define YOKE_MUST_CHECK   __attribute__((warn_unused_result))
#define YOKE_PRINTF(f, a) __attribute__((format(printf, f, a)))

YOKE_BEGIN

/*
 * Results. Every fallible call returns an int: 0 or a count on success, a negative value on
 * failure: -errno from 1 to 4095, or one of the codes below. The detail of a failure is the error
 * in flight of the calling task (<yoke/error.h>). Our codes lie beyond anything the kernel can
 * return; in particular a cancellation is never -ECANCELED.
 */
enum {
    YOKE_CANCELLED = -4097,      /* a scope around the call was cancelled; only scopes absorb it */
    YOKE_EREMOTE = -4098,        /* raised in another actor; yoke_error_source() says which */
    YOKE_EGROUP = -4099,         /* several errors at once; see yoke_error_member() */
    YOKE_ECLOSED = -4100,        /* the other end, or this end, was closed for good */
    YOKE_EPEERCANCELLED = -4101, /* the peer task of a context was cancelled, not by this side */
    YOKE_EDIED = -4102,          /* a process failed, or an actor's ended unasked */
    YOKE_ELINK = -4103,          /* the link to a peer actor was lost */
    YOKE_EUNRESPONSIVE = -4104,  /* a peer answered nothing within its bound */
    YOKE_ENOTEXPOSED = -4105,    /* no such endpoint, or the peer does not expose it */
    YOKE_EDEADLOCK = -4106,      /* every task was blocked and nothing could wake one */
};

/* Name of a result code ("EINVAL", "YOKE_CANCELLED"), of either sign; never NULL, static. */
YOKE_API const char *yoke_strcode(int code);

/* A place in source. Sites are static and compared by pointer only for speed, never for meaning. */
struct yoke_site {
    const char *file;
    const char *function;
    int line;
};

#define YOKE_HERE                                                                                  \
    (__extension__({                                                                               \
        static const struct yoke_site yoke_here_ = {__FILE__, __func__, __LINE__};                 \
        &yoke_here_;                                                                               \
    }))

/* An id, unique in the tree of actors and over time: 64 random bits of its actor, a count. */
typedef struct yoke_id {
    uint64_t actor;
    uint64_t serial;
} yoke_id;

static inline bool yoke_id_equal(yoke_id a, yoke_id b)
{
    return a.actor == b.actor && a.serial == b.serial;
}

/* Private: how lexical objects are linked to each other. */
struct yk_list {
    struct yk_list *next;
    struct yk_list *prev;
};

/* Time is int64_t nanoseconds on the runtime's monotonic clock. */
#define YOKE_US(n) (INT64_C(1000) * (int64_t)(n))
#define YOKE_MS(n) (INT64_C(1000000) * (int64_t)(n))
#define YOKE_S(n)  (INT64_C(1000000000) * (int64_t)(n))
#define YOKE_NEVER INT64_MAX /* a deadline that does not come */

YOKE_END
#endif
