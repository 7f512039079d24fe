/* SPDX-License-Identifier: MIT */
/*
 * Contexts: a linked pair of tasks in two actors. The opener's side is a scope in its frame; the
 * other side runs an endpoint, a function that its actor exposes by name. Neither outlives the
 * other: an error, a cancellation or an end on one side reaches the other, with its cause.
 *
 *   static int count(struct yoke_context *ctx, struct yoke_value args)     // in the child
 *   {
 *       int rc = yoke_context_started(ctx, yoke_int(0));
 *       for (int i = 0; rc >= 0 && i < 10; i++)
 *           rc = yoke_stream_send(ctx, yoke_int(i));
 *       return rc;
 *   }
 *   YOKE_ENDPOINT("demo:count", count);
 *
 *   rc = yoke_context_open(&ctx, portal, "demo:count", yoke_nil(), NULL);  // in the parent
 *   if (rc < 0)
 *       return rc;
 *   while ((rc = yoke_stream_receive(&ctx, &value)) > 0)
 *       use(value);
 *   rc = yoke_context_close(&ctx, rc, NULL);
 */
#ifndef YOKE_CONTEXT_H
#define YOKE_CONTEXT_H

#include <yoke/actor.h>
#include <yoke/scope.h>
#include <yoke/select.h>
#include <yoke/value.h>

YOKE_BEGIN

struct yoke_context;
struct yoke_outcome;
struct yk_dialog;

/*
 * An endpoint. Runs as a task of the actor; `args` is a map or nil, borrowed until it returns. Its
 * result, by yoke_context_return, is nil otherwise. An error it fails with is the opener's.
 */
typedef int (*yoke_endpoint_fn)(struct yoke_context *ctx, struct yoke_value args);

/*
 * Makes fn known as "namespace:function"; at file level. Whether it is exposed is decided per
 * actor. What its payloads may be can be said behind it, each by a type; what is not said is any:
 *
 *   YOKE_ENDPOINT("shop:order", order, .args = "{item: str, n?: int}", .result = "int or nil");
 *
 * Types are: any, nil, bool, int, float, str, bytes, ext; [T], an array of T; {key: T, other?: T},
 * a map with a key that may be missing, and with "*: T" what any further key must have; T or U.
 * A value that does not fit is refused where it is sent, by the endpoint and by openers whose
 * program has it too, and where it is received: "yoke.MsgTypeError", which names the place in the
 * value, what was expected and what was found. A text that is no type is misuse, and aborts.
 */
#define YOKE_ENDPOINT(endpoint_name, ...) /* fn, specs */                                          \
    YOKE_ENDPOINT_((endpoint_name), false, __VA_ARGS__, )

/*
 * The same for one that only returns a result: tractor's plain async function, which Python peers
 * call with Portal.run() as yoke_call does, where one made by YOKE_ENDPOINT is for their
 * Portal.open_context(). To other yoke actors there is no difference.
 */
#define YOKE_FUNCTION(endpoint_name, ...) /* fn, specs */                                          \
    YOKE_ENDPOINT_((endpoint_name), true, __VA_ARGS__, )

#define YOKE_ENDPOINT_(endpoint_name, function, fn, ...)                                           \
    static struct yoke_endpoint yoke_endpoint_##fn = {                                             \
        endpoint_name, (fn), NULL, NULL, (function), YOKE_ENDPOINT_SPECS_(__VA_ARGS__)};           \
    __attribute__((constructor)) static void yoke_endpoint_register_##fn(void)                     \
    {                                                                                              \
        yoke_endpoint_register(&yoke_endpoint_##fn);                                               \
    }                                                                                              \
    struct yoke_endpoint
#ifdef __cplusplus
#define YOKE_ENDPOINT_SPECS_(...)                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#else
#define YOKE_ENDPOINT_SPECS_(...)                                                                  \
    {                                                                                              \
        0, __VA_ARGS__                                                                             \
    }
#endif

/* What the payloads of an endpoint may be; NULL: any. */
struct yoke_endpoint_specs {
    int none_;              /* private */
    const char *args;       /* of the call; must be a map */
    const char *started;    /* what it gives to yoke_context_started */
    const char *stream_in;  /* what it receives, each */
    const char *stream_out; /* what it sends, each */
    const char *result;
};

struct yk_specs;

struct yoke_endpoint {
    const char *name;
    yoke_endpoint_fn fn;
    struct yoke_endpoint *next; /* private */
    struct yk_specs *parsed;    /* private */
    bool function;              /* made by YOKE_FUNCTION */
    struct yoke_endpoint_specs specs;
};
/* What the macro calls, before main; `endpoint` must stay as it is for ever. */
YOKE_API void yoke_endpoint_register(struct yoke_endpoint *endpoint);

struct yoke_context { /* the opener's lives in its frame; every field is private */
    struct yoke_scope scope;
    struct yk_dialog *dialog;
    unsigned magic;
};

struct yoke_context_opts {
    unsigned window;             /* values the peer may send ahead; 0: 64, more of small ones */
    int64_t teardown_timeout_ns; /* how long close waits for a cancelled peer; 0: 5 s */
    bool allow_overruns;         /* as yoke_stream_allow_overruns */
};

/*
 * Opens a context: starts "namespace:function" in the actor behind the portal and waits until it
 * has called yoke_context_started or returned. On failure nothing is left open: YOKE_EREMOTE with
 * the peer's error; YOKE_EPEERCANCELLED; YOKE_ENOTEXPOSED; YOKE_EDIED, YOKE_ELINK; YOKE_CANCELLED.
 * `args` is a map or nil. The earliest deadline around the call bounds the peer too, with a second
 * added so that the opener's own request comes first: it ends even if the opener can't ask.
 */
#define yoke_context_open(ctx, portal, endpoint, ...) /* args, opts */                             \
    yoke_context_open_at(YOKE_HERE, (ctx), (portal), (endpoint), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_context_open_at(const struct yoke_site *site,
                                                  struct yoke_context *ctx,
                                                  struct yoke_portal *portal, const char *endpoint,
                                                  struct yoke_value args,
                                                  const struct yoke_context_opts *opts);

/* Opener: what the peer gave to yoke_context_started; nil if it returned at once. Borrowed till
 * close. */
YOKE_API struct yoke_value yoke_context_first(const struct yoke_context *ctx);

/*
 * Closes the opener's side; `rc` is the result of its body. rc >= 0: waits for the peer's result,
 * dropping what it still streams. rc < 0: cancels the peer first, and waits for its outcome. The
 * peer has ended when this returns, unless it did not answer within the teardown bound. Returns:
 *
 *   the peer returned                          0
 *   it was cancelled, by this side's request   0
 *   it was cancelled by anything else          YOKE_EPEERCANCELLED; the error's cause says by what
 *   it raised E                                E, YOKE_EREMOTE
 *   the body raised E                          E; a group if the peer raised an error too
 *   a scope around was cancelled               YOKE_CANCELLED, unless the peer raised E
 *   the peer's process died, the link broke    YOKE_EDIED, YOKE_ELINK
 *
 * `ret_outcome` (may be NULL) always gets how the peer ended, to be freed; NULL only without
 * memory.
 */
#define yoke_context_close(ctx, rc, ret_outcome)                                                   \
    yoke_context_close_at(YOKE_HERE, (ctx), (rc), (ret_outcome))
YOKE_API YOKE_MUST_CHECK int yoke_context_close_at(const struct yoke_site *site,
                                                   struct yoke_context *ctx, int rc,
                                                   struct yoke_outcome **ret_outcome);

/*
 * Either side: asks for the end of this context's remote task (opener) or of itself (endpoint),
 * with a context-layer cause. Never waits, never fails. Any task of the actor may call it.
 */
#define yoke_context_cancel(ctx, reason) yoke_context_cancel_at(YOKE_HERE, (ctx), (reason))
YOKE_API void yoke_context_cancel_at(const struct yoke_site *site, struct yoke_context *ctx,
                                     const char *reason);

/*
 * Endpoint: reports that it has started, with a first value for the opener. Once; a second call, or
 * one by the opener, is -EINVAL. 0; -EINVAL for a value that can't be encoded; YOKE_CANCELLED.
 */
YOKE_API YOKE_MUST_CHECK int yoke_context_started(struct yoke_context *ctx,
                                                  struct yoke_value first);

/* Endpoint: sets the result that the opener gets if the endpoint then returns >= 0. 0 or an error.
 */
YOKE_API YOKE_MUST_CHECK int yoke_context_return(struct yoke_context *ctx,
                                                 struct yoke_value result);

/* The actor on the other side. */
YOKE_API const struct yoke_actor_id *yoke_context_peer(const struct yoke_context *ctx);

/*
 * The stream of a context: values both ways, ordered, flow-controlled by credit. One-shot: each
 * side may end its direction once. Both calls are checkpoints.
 *
 * send: encodes and sends; waits while the peer has not granted credit or the link is full. 0;
 * YOKE_CANCELLED (not sent); YOKE_ECLOSED if this side has ended its direction, or the peer ended
 * its task; -EINVAL, -EMSGSIZE for the value.
 *
 * receive: 1 and a value, borrowed until the next receive or close; 0 at the end: the peer closed
 * its direction, or its task returned; YOKE_CANCELLED, also when the peer failed (close tells).
 */
YOKE_API YOKE_MUST_CHECK int yoke_stream_send(struct yoke_context *ctx, struct yoke_value value);
YOKE_API YOKE_MUST_CHECK int yoke_stream_receive(struct yoke_context *ctx,
                                                 struct yoke_value *ret_value);

/*
 * A case of yoke_select: receives from the stream. Its result is 1, or 0 at the end; as with
 * receive the value is borrowed until the next one, by either way.
 */
YOKE_API struct yoke_select_case yoke_case_stream(struct yoke_context *ctx,
                                                  struct yoke_value *ret_value);

/* Ends this side's direction: the peer's receive gets 0 after what was sent. Repeating is fine. */
YOKE_API YOKE_MUST_CHECK int yoke_stream_close(struct yoke_context *ctx);

/*
 * A peer that knows no credit (a plain tractor actor) may send more than was received. From then on
 * its values are dropped, and it is told so by an error, "StreamOverrun", as tractor does. With
 * overruns allowed 616 more are kept, and then the oldest are dropped; how many were, can be asked.
 */
YOKE_API void yoke_stream_allow_overruns(struct yoke_context *ctx, bool allow);
YOKE_API uint64_t yoke_stream_lost(const struct yoke_context *ctx);

/*
 * Several local consumers of one stream: each subscription gets every value that is received from
 * when it began. Whoever has nothing to read receives from the stream for all; so a consumer that
 * is too slow holds up nobody, and is told how many values it lost. While there are subscriptions,
 * yoke_stream_receive is -EINVAL.
 */
struct yk_fanout;
struct yk_shared;
struct yoke_stream_subscription { /* in place; every field is private */
    struct yoke_context *ctx;     /* NULL: not subscribed */
    struct yoke_subscription subscription;
    struct yk_shared *lent;
};

/*
 * Subscribes; for one task at a time, and until before the context is closed. `kept`: how many
 * values one may be behind before it loses some, as the first subscription says; 0: 64. 0 or
 * -ENOMEM.
 */
YOKE_API YOKE_MUST_CHECK int yoke_stream_subscribe(struct yoke_context *ctx,
                                                   struct yoke_stream_subscription *subscription,
                                                   size_t kept);
/* No effect if it is not subscribed. */
YOKE_API void yoke_stream_unsubscribe(struct yoke_stream_subscription *subscription);

/*
 * As yoke_stream_receive, with `*ret_lost` (may be NULL): how many values were lost before this
 * one. The value is borrowed until the next one, or the end, of this subscription. If the one that
 * receives for all is cancelled another goes on, and no value is lost.
 */
YOKE_API YOKE_MUST_CHECK int yoke_stream_subscription_receive(
    struct yoke_stream_subscription *subscription, struct yoke_value *ret_value,
    uint64_t *ret_lost);

/*
 * One request, one result: opens a context, waits for the peer's result, closes. 0 and the result
 * (*ret_result, to be freed by yoke_value_free; may be NULL); failures as open and close give them.
 */
#define yoke_call(portal, endpoint, ...) /* args, ret_result */                                    \
    yoke_call_at(YOKE_HERE, (portal), (endpoint), __VA_ARGS__)
YOKE_API YOKE_MUST_CHECK int yoke_call_at(const struct yoke_site *site, struct yoke_portal *portal,
                                          const char *endpoint, struct yoke_value args,
                                          struct yoke_value **ret_result);

/* How the peer of a context ended. Everything returned is borrowed from `outcome`. */
YOKE_API struct yoke_value yoke_outcome_result(const struct yoke_outcome *outcome); /* or nil */
YOKE_API bool yoke_outcome_cancel_called(const struct yoke_outcome *outcome); /* by this side */
YOKE_API bool yoke_outcome_cancel_acked(const struct yoke_outcome *outcome); /* the peer answered */
YOKE_API bool yoke_outcome_cancelled(
    const struct yoke_outcome *outcome); /* the peer was, by anyone */
/* Close absorbed a cancellation: of its own request, or of this side by the end of the peer. */
YOKE_API bool yoke_outcome_cancelled_caught(const struct yoke_outcome *outcome);
/* Who asked for the peer's cancellation; NULL if it was not cancelled, or it is not known. */
YOKE_API const struct yoke_actor_id *yoke_outcome_canceller(const struct yoke_outcome *outcome);
YOKE_API const struct yoke_cause *yoke_outcome_cause(const struct yoke_outcome *outcome);
YOKE_API const struct yoke_error *yoke_outcome_error(const struct yoke_outcome *outcome);
YOKE_API void yoke_outcome_free(struct yoke_outcome *outcome);

YOKE_END
#endif
