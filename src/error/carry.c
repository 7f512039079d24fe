/* SPDX-License-Identifier: MIT */
/*
 * What errors carry: contexts, suppressed errors, groups; and how no cycle comes about.
 *
 * A cycle would need an error to be attached to one that it reaches. It can be asked for without
 * ill will: an error that was caught and kept is thrown again over one that was raised because of
 * it; or a Cancelled whose cause is this error is suppressed by this very error. Then a copy is
 * attached, without the part that leads back. The part is not lost, since it is what the copy
 * hangs on.
 *
 * Without memory nothing is lost silently either: what can't be attached is settled and counted
 * in suppressed_left_out, which is printed. Runs on any stack; copying recurses along the path
 * that leads back, at most YK_ERROR_TREE_DEPTH_MAX deep and YK_ERROR_TREE_NODES_MAX errors wide.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "error/error.h"

/* Ends `other`, but not `error`, should `other` lead there. */
static void absorb_beside(struct yoke_error *error, struct yoke_error *other)
{
    unsigned char fate = error->fate;

    yk_error_absorb(other);
    error->fate = fate;
}

static void leave_out(struct yoke_error *error, struct yoke_error *other)
{
    error->suppressed_left_out++;
    absorb_beside(error, other);
}

bool yk_error_list_append(struct yk_error_list *list, struct yoke_error *error, size_t places)
{
    struct yoke_error **items = list->items;
    size_t n = list->n;

    yk_assert(n < places);
    if (items == NULL)
        items = yk_malloc(places * sizeof(*items));
    if (items == NULL)
        return false;
    yk_node_lock();
    if (n == 0)
        list->items = items; /* not again: other threads may be reading it */
    items[n] = error;
    list->n = n + 1; /* last: it tells other threads what they may read */
    yk_node_unlock();
    return true;
}

static bool same_cause(const struct yoke_error *a, const struct yoke_error *b)
{
    return a->cause != NULL && b->cause != NULL && yoke_id_equal(a->cause->id, b->cause->id);
}

/* The suppressed error that makes another mention of `other` needless; NULL if there is none. */
static struct yoke_error *find_suppressed(const struct yoke_error *error,
                                          const struct yoke_error *other)
{
    for (size_t i = 0; i < error->suppressed.n; i++) {
        struct yoke_error *there = error->suppressed.items[i];

        if (there == other || (there->cancelled && other->cancelled && same_cause(there, other)))
            return there;
    }
    return NULL;
}

static bool reaches(const struct yoke_error *from, const struct yoke_error *to)
{
    return from != NULL && yk_node_reaches(&from->node, &to->node, true);
}

/* What is to be attached to `error` for `other`, whose reference it takes over; NULL: no memory. */
static struct yoke_error *without_way_back(struct yoke_error *other, struct yoke_error *error)
{
    struct yoke_error *copy;

    if (!reaches(other, error))
        return other;
    copy = yk_error_copy_without(other, error);
    if (copy != NULL)
        yoke_error_unref(other);
    return copy;
}

/*
 * With the caller's reference alone on it no other error carries it, so nothing leads back to it:
 * an error that was just raised needs no walk over what was in flight before.
 */
static bool is_callers_alone(const struct yoke_error *error)
{
    return atomic_load_explicit(&error->node.refs, memory_order_acquire) == 1;
}

static void append_suppressed(struct yoke_error *error, struct yoke_error *other, bool alone)
{
    struct yoke_error *safe;

    if (error->suppressed.n >= YK_ERROR_SUPPRESSED_MAX) {
        leave_out(error, other);
        return;
    }
    safe = alone ? other : without_way_back(other, error);
    if (safe == NULL || !yk_error_list_append(&error->suppressed, safe, YK_ERROR_SUPPRESSED_MAX))
        leave_out(error, safe == NULL ? other : safe);
}

static void suppress(struct yoke_error *error, struct yoke_error *other, bool alone)
{
    struct yoke_error *there = find_suppressed(error, other);

    /* The static error has nowhere to keep it: if that was the last reference, it is lost. */
    if (error == other || there == other || error->node.immortal)
        yoke_error_unref(other);
    else if (there != NULL)
        absorb_beside(error, other);
    else
        append_suppressed(error, other, alone);
}

void yk_error_suppress(struct yoke_error *error, struct yoke_error *other)
{
    if (other != NULL)
        suppress(error, other, is_callers_alone(error));
}

void yk_error_set_context(struct yoke_error *error, struct yoke_error *context)
{
    struct yoke_error *end = error;
    struct yoke_error *safe;

    if (context == NULL)
        return;
    yk_assert(!error->node.immortal);
    if (error == context ||
        (yk_error_carries(error) && yk_node_reaches(&error->node, &context->node, false))) {
        yoke_error_unref(context);
        return;
    }
    while (end->context != NULL && !end->context->node.immortal)
        end = end->context;
    /* A chain that ends in the static error of exhausted memory can't be made longer. */
    if (end->context != NULL) {
        suppress(end, context, false);
        return;
    }
    safe = end == error && is_callers_alone(error) ? context : without_way_back(context, end);
    if (safe == NULL) {
        leave_out(error, context);
        return;
    }
    yk_node_lock();
    end->context = safe;
    yk_node_unlock();
}

/* Any of them may be the static error; an ordinary one can carry the others. */
static struct yoke_error *group_without_memory(struct yoke_error *const *members, size_t n)
{
    size_t first = 0;

    while (first < n - 1 && members[first]->node.immortal)
        first++;
    for (size_t i = 0; i < n; i++)
        if (i != first)
            yk_error_suppress(members[first], members[i]);
    return members[first];
}

static struct yoke_error *new_group(const void *frame, const struct yoke_site *site,
                                    const char *format, ...) YOKE_PRINTF(3, 4);
static struct yoke_error *new_group(const void *frame, const struct yoke_site *site,
                                    const char *format, ...)
{
    struct yoke_error *group;
    va_list arguments;

    va_start(arguments, format);
    group = yk_error_make_at(frame, site, "yoke.Group", YOKE_EGROUP, format, arguments);
    va_end(arguments);
    return group;
}

struct yoke_error *yk_error_make_group_at(const void *frame, const struct yoke_site *site,
                                          struct yoke_error *const *members, size_t n,
                                          const char *message)
{
    struct yoke_error **items = yk_malloc(n * sizeof(*items));
    struct yoke_error *group;

    yk_assert(n > 1);
    if (items == NULL)
        return group_without_memory(members, n);
    if (message == NULL || *message == '\0')
        group = new_group(frame, site, "%zu errors", n);
    else
        group = new_group(frame, site, "%s", message);
    if (group->node.immortal) {
        free(items);
        return group_without_memory(members, n);
    }
    memcpy(items, members, n * sizeof(*items));
    group->members.items = items;
    group->members.n = n;
    return group;
}

__attribute__((noinline)) struct yoke_error *yk_error_make_group(const struct yoke_site *site,
                                                                 struct yoke_error *const *members,
                                                                 size_t n, const char *message)
{
    yk_assert(n > 0);
    if (n == 1)
        return members[0];
    return yk_error_make_group_at(__builtin_frame_address(0), site, members, n, message);
}

/* Everything but what it carries. */
static struct yoke_error *copy_alone(const struct yoke_error *error)
{
    struct yoke_error *copy =
        yk_error_new_at(error->frames, error->frames_n, error->type, error->code, error->message);

    if (copy == NULL)
        return NULL;
    copy->cancelled = error->cancelled;
    if (error->site_strings == NULL) {
        copy->site = error->site;
    } else {
        size_t file_n = strlen(error->site.file) + 1;
        size_t function_n = strlen(error->site.function) + 1;

        copy->site_strings = yk_malloc(file_n + function_n);
        if (copy->site_strings == NULL)
            goto fail;
        memcpy(copy->site_strings, error->site.file, file_n);
        memcpy(copy->site_strings + file_n, error->site.function, function_n);
        copy->site =
            (struct yoke_site){copy->site_strings, copy->site_strings + file_n, error->site.line};
    }
    copy->actor = error->actor;
    copy->task_id = error->task_id;
    memcpy(copy->task_name, error->task_name, sizeof copy->task_name);
    copy->suppressed_left_out = error->suppressed_left_out;
    for (size_t i = 0; i < error->notes_n; i++)
        if (!yk_error_add_note(copy, error->notes[i]))
            goto fail;
    if (error->remote != NULL && !yk_error_copy_remote(copy, error->remote))
        goto fail;
    return copy;
fail:
    yk_error_absorb(copy);
    return NULL;
}

/* A part that is reached on several ways is copied for each: their number has to be bounded. */
struct copying {
    struct yoke_error *target; /* what the copy must not lead to; NULL: nothing */
    unsigned nodes_left;
};

/* The child as the copy is to have it: itself, a copy, or nothing if it is the target. */
static struct yoke_error *copy_child(struct yoke_error *copy, struct yoke_error *child,
                                     struct copying *copying, unsigned depth);

static bool copy_list(struct yoke_error *copy, struct yk_error_list *to,
                      const struct yk_error_list *from, size_t places, struct copying *copying,
                      unsigned depth)
{
    for (size_t i = 0; i < from->n; i++) {
        struct yoke_error *child = copy_child(copy, from->items[i], copying, depth);

        if (child != NULL && !yk_error_list_append(to, child, places)) {
            yk_error_absorb(child);
            return false;
        }
    }
    return true;
}

static bool copy_causes(struct yoke_error *copy, const struct yoke_error *error,
                        struct yoke_error *target)
{
    struct yoke_cause *safe;

    yk_error_set_causes(copy, error->cause, error->inner_causes, error->inner_causes_n);
    if (target == NULL || copy->cause == NULL || !yk_cause_reaches(copy->cause, target)) {
        safe = yoke_cause_ref(copy->cause);
    } else {
        safe = yk_cause_copy_without(copy->cause, target);
        if (safe == NULL)
            return false;
    }
    /* An inner cause that leads back is left out; the target is what must be told. */
    size_t n = 0;
    for (size_t i = 0; i < copy->inner_causes_n; i++) {
        struct yoke_cause *inner = copy->inner_causes[i];

        if (target != NULL && yk_cause_reaches(inner, target))
            yoke_cause_unref(inner);
        else
            copy->inner_causes[n++] = inner;
    }
    copy->inner_causes_n = n;
    yoke_cause_unref(copy->cause);
    copy->cause = safe;
    return true;
}

static struct yoke_error *copy_tree(struct yoke_error *error, struct copying *copying,
                                    unsigned depth)
{
    struct yoke_error *copy = copy_alone(error);

    if (copy == NULL)
        return NULL;
    copy->context = copy_child(copy, error->context, copying, depth);
    copy->because = copy_child(copy, error->because, copying, depth);
    if (!copy_list(copy, &copy->suppressed, &error->suppressed, YK_ERROR_SUPPRESSED_MAX, copying,
                   depth) ||
        !copy_list(copy, &copy->members, &error->members, error->members.n, copying, depth) ||
        !copy_causes(copy, error, copying->target)) {
        yk_error_absorb(copy);
        return NULL;
    }
    copy->fate = error->fate;
    return copy;
}

static struct yoke_error *copy_child(struct yoke_error *copy, struct yoke_error *child,
                                     struct copying *copying, unsigned depth)
{
    struct yoke_error *child_copy;

    if (child == NULL || child == copying->target)
        return NULL;
    if (copying->target == NULL || !reaches(child, copying->target))
        return yoke_error_ref(child);
    if (depth == 0 || copying->nodes_left == 0) {
        child_copy = NULL;
    } else {
        copying->nodes_left--;
        child_copy = copy_tree(child, copying, depth - 1);
    }
    if (child_copy == NULL)
        leave_out(copy, yoke_error_ref(child));
    return child_copy;
}

/* The original has ended: the copy stands for it from here on. What lies between it and the target
 * ends with it. */
static struct yoke_error *copy_for(struct yoke_error *error, struct yoke_error *target)
{
    struct copying copying = {target, YK_ERROR_TREE_NODES_MAX};
    struct yoke_error *copy = copy_tree(error, &copying, YK_ERROR_TREE_DEPTH_MAX);

    if (copy != NULL)
        yk_error_settle(error);
    return copy;
}

struct yoke_error *yk_error_copy(struct yoke_error *error)
{
    return copy_for(error, NULL);
}

struct yoke_error *yk_error_copy_without(struct yoke_error *error, struct yoke_error *target)
{
    yk_assert(error != target);
    return copy_for(error, target);
}
