/* SPDX-License-Identifier: MIT */
/*
 * Causes: making them, and reading them. Immutable once another thread or an error can see them.
 * Runs on any stack.
 *
 * Making one never fails, because a cancel request never does: without memory a static cause of
 * the same kind stands in. A chain is cut in its middle, by copying the hops before the cut: the
 * newest say what happens here, the oldest say what started it all, and both have to survive.
 *
 * Ids are the pair of a random number of the process and a count, so that they can be compared
 * over the whole tree of actors. A forked child must not go on counting under its parent's number;
 * a fork handler makes it draw its own.
 */
#include "error/cause.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"
#include "error/error.h"

__thread int64_t (*yk_wall_clock)(void);

static _Atomic uint64_t process_actor;
static _Atomic uint64_t last_serial;
static __thread uint64_t thread_actor;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

#define OUT_OF_MEMORY(layer_, kind_)                                                               \
    [kind_] = {.node = {.refs = 1, .immortal = true, .is_cause = true},                            \
               .layer = (layer_),                                                                  \
               .kind = (kind_),                                                                    \
               .reason = "no memory to say more"}

static struct yoke_cause out_of_memory[] = {
    OUT_OF_MEMORY(YOKE_LAYER_TASK, YOKE_CAUSE_SCOPE),
    OUT_OF_MEMORY(YOKE_LAYER_TASK, YOKE_CAUSE_DEADLINE),
    OUT_OF_MEMORY(YOKE_LAYER_TASK, YOKE_CAUSE_CHILD_FAILED),
    OUT_OF_MEMORY(YOKE_LAYER_TASK, YOKE_CAUSE_BODY_FAILED),
    OUT_OF_MEMORY(YOKE_LAYER_TASK, YOKE_CAUSE_RUNTIME_ENDED),
    OUT_OF_MEMORY(YOKE_LAYER_TASK, YOKE_CAUSE_DEADLOCK),
    OUT_OF_MEMORY(YOKE_LAYER_CONTEXT, YOKE_CAUSE_CONTEXT),
    OUT_OF_MEMORY(YOKE_LAYER_CONTEXT, YOKE_CAUSE_OPENER_LEFT),
    OUT_OF_MEMORY(YOKE_LAYER_CONTEXT, YOKE_CAUSE_PEER_RAISED),
    OUT_OF_MEMORY(YOKE_LAYER_CONTEXT, YOKE_CAUSE_PEER_CANCELLED),
    OUT_OF_MEMORY(YOKE_LAYER_CONTEXT, YOKE_CAUSE_LINK_LOST),
    OUT_OF_MEMORY(YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR),
    OUT_OF_MEMORY(YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR_NURSERY),
    OUT_OF_MEMORY(YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR_SELF),
    OUT_OF_MEMORY(YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR_DIED),
    OUT_OF_MEMORY(YOKE_LAYER_ACTOR, YOKE_CAUSE_RESTART),
    OUT_OF_MEMORY(YOKE_LAYER_OS, YOKE_CAUSE_SIGNAL),
    OUT_OF_MEMORY(YOKE_LAYER_OS, YOKE_CAUSE_PARENT_LOST),
};

#define KINDS (sizeof out_of_memory / sizeof *out_of_memory)

static const char *const layer_names[] = {
    [YOKE_LAYER_TASK] = "task",
    [YOKE_LAYER_CONTEXT] = "context",
    [YOKE_LAYER_ACTOR] = "actor",
    [YOKE_LAYER_OS] = "os",
};

static const char *const kind_names[] = {
    [YOKE_CAUSE_SCOPE] = "scope cancel",
    [YOKE_CAUSE_DEADLINE] = "deadline",
    [YOKE_CAUSE_CHILD_FAILED] = "child failed",
    [YOKE_CAUSE_BODY_FAILED] = "body failed",
    [YOKE_CAUSE_RUNTIME_ENDED] = "runtime ended",
    [YOKE_CAUSE_DEADLOCK] = "deadlock",
    [YOKE_CAUSE_CONTEXT] = "context cancel",
    [YOKE_CAUSE_OPENER_LEFT] = "opener left",
    [YOKE_CAUSE_PEER_RAISED] = "peer raised",
    [YOKE_CAUSE_PEER_CANCELLED] = "peer cancelled",
    [YOKE_CAUSE_LINK_LOST] = "link lost",
    [YOKE_CAUSE_ACTOR] = "actor cancel",
    [YOKE_CAUSE_ACTOR_NURSERY] = "actor nursery",
    [YOKE_CAUSE_ACTOR_SELF] = "actor self",
    [YOKE_CAUSE_ACTOR_DIED] = "actor died",
    [YOKE_CAUSE_RESTART] = "supervisor restart",
    [YOKE_CAUSE_SIGNAL] = "signal",
    [YOKE_CAUSE_PARENT_LOST] = "parent lost",
};

_Static_assert(sizeof kind_names / sizeof *kind_names == KINDS, "a kind is missing in one table");

const char *yoke_layer_name(enum yoke_layer layer)
{
    return layer >= YOKE_LAYER_TASK && layer <= YOKE_LAYER_OS ? layer_names[layer] : "unknown";
}

const char *yoke_cause_kind_name(enum yoke_cause_kind kind)
{
    return kind >= YOKE_CAUSE_SCOPE && (size_t)kind < KINDS ? kind_names[kind] : "unknown";
}

struct yoke_cause *yk_cause_out_of_memory(enum yoke_cause_kind kind)
{
    return &out_of_memory[kind >= YOKE_CAUSE_SCOPE && (size_t)kind < KINDS ? kind
                                                                           : YOKE_CAUSE_SCOPE];
}

static void forked(void)
{
    atomic_store(&process_actor, 0);
}

static void watch_forks(void)
{
    (void)pthread_atfork(NULL, NULL, forked);
}

static uint64_t draw_actor(void)
{
    struct yk_random fallback;
    uint64_t expected = 0;
    uint64_t drawn;

    pthread_once(&fork_once, watch_forks);
    if (getrandom(&drawn, sizeof drawn, 0) != (ssize_t)sizeof drawn) {
        yk_random_seed(&fallback, (uint64_t)time(NULL) << 32 ^ (uint64_t)getpid());
        drawn = yk_random_next(&fallback);
    }
    drawn |= 1; /* 0 means that none was drawn */
    return atomic_compare_exchange_strong(&process_actor, &expected, drawn) ? drawn : expected;
}

yoke_id yk_id_next(void)
{
    uint64_t actor = thread_actor != 0 ? thread_actor : atomic_load(&process_actor);

    return (yoke_id){actor != 0 ? actor : draw_actor(), atomic_fetch_add(&last_serial, 1) + 1};
}

void yk_id_set_actor(uint64_t actor)
{
    thread_actor = actor;
}

static int64_t now(void)
{
    struct timespec time;

    if (yk_wall_clock != NULL)
        return yk_wall_clock();
    clock_gettime(CLOCK_REALTIME, &time);
    return YOKE_S(time.tv_sec) + time.tv_nsec;
}

struct yoke_cause *yk_cause_new_blank(void)
{
    struct yoke_cause *cause = yk_calloc(1, sizeof *cause);

    if (cause == NULL)
        return NULL;
    atomic_init(&cause->node.refs, 1);
    cause->node.is_cause = true;
    return cause;
}

bool yk_cause_set_reason(struct yoke_cause *cause, const char *reason)
{
    size_t n = reason == NULL ? 0 : strnlen(reason, YK_ERROR_MESSAGE_MAX);
    char *copy;

    if (n == 0)
        return true;
    copy = yk_malloc(n + 1);
    if (copy == NULL)
        return false;
    memcpy(copy, reason, n);
    copy[n] = '\0';
    if (n == YK_ERROR_MESSAGE_MAX)
        yk_format_cut(copy, YK_ERROR_MESSAGE_MAX);
    free((char *)(uintptr_t)cause->reason);
    cause->reason = copy;
    return true;
}

void yk_cause_free(struct yoke_cause *cause)
{
    free((char *)(uintptr_t)cause->reason);
    free(cause);
}

/* A copy with the same because and error; NULL: no memory. */
static struct yoke_cause *copy_cause(const struct yoke_cause *cause)
{
    struct yoke_cause *copy = yk_cause_new_blank();

    if (copy == NULL)
        return NULL;
    copy->id = cause->id;
    copy->layer = cause->layer;
    copy->kind = cause->kind;
    copy->scope = cause->scope;
    copy->requester = cause->requester;
    copy->time = cause->time;
    copy->has_signal = cause->has_signal;
    copy->signal = cause->signal;
    copy->hops_left_out = cause->hops_left_out;
    copy->because = yoke_cause_ref(cause->because);
    copy->error = yoke_error_ref(cause->error);
    if (yk_cause_set_reason(copy, cause->reason))
        return copy;
    yoke_cause_unref(copy);
    return NULL;
}

static void replace_because(struct yoke_cause *cause, struct yoke_cause *because)
{
    yoke_cause_unref(cause->because);
    cause->because = because;
}

static size_t count_hops(const struct yoke_cause *cause)
{
    size_t n = 0;

    for (; cause != NULL; cause = cause->because)
        n++;
    return n;
}

/*
 * The chain as it can be hung behind one more hop: a reference to it, or, if it is too long by
 * one, its first half copied, with the hop behind that left out. Without memory it stays long,
 * since no origin may be dropped.
 */
static struct yoke_cause *chain_behind(const struct yoke_cause *cause)
{
    enum { COPIED = YK_CAUSE_HOPS_MAX / 2 - 1 };
    struct yoke_cause *first = NULL;
    struct yoke_cause *last = NULL;
    const struct yoke_cause *from = cause;

    if (count_hops(cause) < YK_CAUSE_HOPS_MAX)
        return yoke_cause_ref(cause);
    for (int i = 0; i < COPIED; i++, from = from->because) {
        struct yoke_cause *copy = copy_cause(from);

        if (copy == NULL) {
            yoke_cause_unref(first);
            return yoke_cause_ref(cause);
        }
        if (first == NULL)
            first = copy;
        else
            replace_because(last, copy);
        last = copy;
    }
    for (size_t n = count_hops(from); n > YK_CAUSE_HOPS_MAX - 1 - COPIED; n--) {
        last->hops_left_out += 1 + from->hops_left_out;
        from = from->because;
    }
    replace_because(last, yoke_cause_ref(from));
    return first;
}

struct yoke_cause *yk_cause_new(const struct yk_cause_spec *spec)
{
    const struct yk_locus *locus = yk_locus();
    struct yoke_cause *cause = yk_cause_new_blank();

    if (cause == NULL)
        return yk_cause_out_of_memory(spec->kind);
    cause->id = yk_id_next();
    cause->layer = spec->layer;
    cause->kind = spec->kind;
    cause->requester.actor = *locus->actor;
    cause->requester.task_id = locus->task_id;
    YK_TEXT_COPY(cause->requester.task_name, locus->task_name);
    if (spec->site != NULL) {
        YK_TEXT_COPY(cause->requester.file, spec->site->file);
        YK_TEXT_COPY(cause->requester.function, spec->site->function);
        cause->requester.line = spec->site->line;
    }
    if (spec->scope != NULL)
        cause->scope = *spec->scope;
    if (spec->signal != NULL) {
        cause->has_signal = true;
        cause->signal = *spec->signal;
    }
    cause->time = now();
    /* Without memory for its text the reason is left out: the rest still says who asked. */
    (void)yk_cause_set_reason(cause, spec->reason);
    cause->because = chain_behind(spec->because);
    cause->error = yoke_error_ref(spec->error);
    return cause;
}

struct yoke_cause *yk_cause_for_scope(const struct yoke_cause *cause,
                                      const struct yoke_scope_info *scope)
{
    struct yoke_cause *copy = copy_cause(cause);

    if (copy == NULL)
        return yoke_cause_ref(cause);
    copy->scope = *scope;
    return copy;
}

bool yk_cause_reaches(const struct yoke_cause *cause, const struct yoke_error *error)
{
    return cause != NULL && error != NULL && yk_node_reaches(&cause->node, &error->node, true);
}

struct yoke_cause *yk_cause_copy_without(const struct yoke_cause *cause,
                                         const struct yoke_error *error)
{
    struct yoke_cause *first = NULL;
    struct yoke_cause *last = NULL;

    for (; cause != NULL; cause = cause->because) {
        struct yoke_cause *copy;
        bool leads_back = yk_cause_reaches(cause, error);

        copy = leads_back ? copy_cause(cause) : yoke_cause_ref(cause);
        if (copy == NULL) {
            yoke_cause_unref(first);
            return NULL;
        }
        if (first == NULL)
            first = copy;
        else
            replace_because(last, copy);
        last = copy;
        if (!leads_back)
            break; /* nor does what is behind it */
        if (copy->error != NULL && yk_node_reaches(&copy->error->node, &error->node, true))
            copy->error = yoke_error_unref(copy->error);
    }
    return first;
}

struct yoke_cause *yoke_cause_ref(const struct yoke_cause *cause)
{
    /* As with errors: counting a reference changes nothing that the cause says. */
    struct yoke_cause *mine = (struct yoke_cause *)(uintptr_t)cause;

    if (mine != NULL)
        yk_node_ref(&mine->node);
    return mine;
}

struct yoke_cause *yoke_cause_unref(struct yoke_cause *cause)
{
    if (cause != NULL)
        yk_node_unref(&cause->node);
    return NULL;
}

yoke_id yoke_cause_id(const struct yoke_cause *cause)
{
    return cause->id;
}

enum yoke_layer yoke_cause_layer(const struct yoke_cause *cause)
{
    return cause->layer;
}

enum yoke_cause_kind yoke_cause_kind(const struct yoke_cause *cause)
{
    return cause->kind;
}

const struct yoke_scope_info *yoke_cause_scope(const struct yoke_cause *cause)
{
    return &cause->scope;
}

const struct yoke_requester *yoke_cause_requester(const struct yoke_cause *cause)
{
    return &cause->requester;
}

const char *yoke_cause_reason(const struct yoke_cause *cause)
{
    return cause->reason == NULL ? "" : cause->reason;
}

int64_t yoke_cause_time(const struct yoke_cause *cause)
{
    return cause->time;
}

const struct yoke_cause *yoke_cause_because(const struct yoke_cause *cause)
{
    return cause->because;
}

const struct yoke_error *yoke_cause_error(const struct yoke_cause *cause)
{
    return cause->error;
}

const struct yoke_signal_info *yoke_cause_signal(const struct yoke_cause *cause)
{
    return cause->has_signal ? &cause->signal : NULL;
}

const struct yoke_cause *yoke_cause_origin(const struct yoke_cause *cause)
{
    while (cause != NULL && cause->because != NULL)
        cause = cause->because;
    return cause;
}
