/* SPDX-License-Identifier: MIT */
/*
 * The graph of errors and causes: references, walks, settling.
 *
 * Nothing here recurses or allocates: a walk links the nodes that it has yet to look at through
 * the nodes themselves. One lock for all walks makes that safe when threads share errors; it is
 * held for microseconds, and taken only when an error ends or one is attached to another. What is
 * being freed has no references left, so no walk can meet it, and it needs no lock.
 *
 * Runs on any stack.
 */
#include "error/node.h"

#include <pthread.h>

#include "base/check.h"
#include "error/error.h"

static pthread_mutex_t graph_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_walk;

struct walk {
    uint64_t number;
    struct yk_node *first; /* what is yet to be looked at */
};

/* Called for each child; the child may be NULL. */
typedef void (*child_fn)(struct yk_node *child, struct walk *walk);

static struct yk_node *error_node(struct yoke_error *error)
{
    return error == NULL ? NULL : &error->node;
}

static struct yk_node *cause_node(struct yoke_cause *cause)
{
    return cause == NULL ? NULL : &cause->node;
}

static void each_carried(struct yoke_error *error, child_fn child, struct walk *walk)
{
    child(error_node(error->context), walk);
    child(error_node(error->because), walk);
    for (size_t i = 0; i < error->suppressed.n; i++)
        child(error_node(error->suppressed.items[i]), walk);
    for (size_t i = 0; i < error->members.n; i++)
        child(error_node(error->members.items[i]), walk);
}

static void each_child(struct yk_node *node, child_fn child, struct walk *walk)
{
    if (node->is_cause) {
        struct yoke_cause *cause = (struct yoke_cause *)(void *)node;

        child(cause_node(cause->because), walk);
        child(error_node(cause->error), walk);
    } else {
        struct yoke_error *error = (struct yoke_error *)(void *)node;

        each_carried(error, child, walk);
        child(cause_node(error->cause), walk);
        for (size_t i = 0; i < error->inner_causes_n; i++)
            child(cause_node(error->inner_causes[i]), walk);
    }
}

static void push(struct walk *walk, struct yk_node *node)
{
    node->next = walk->first;
    walk->first = node;
}

static struct yk_node *pop(struct walk *walk)
{
    struct yk_node *node = walk->first;

    if (node != NULL)
        walk->first = node->next;
    return node;
}

void yk_node_ref(struct yk_node *node)
{
    if (node != NULL && !node->immortal)
        atomic_fetch_add_explicit(&node->refs, 1, memory_order_relaxed);
}

/* Whether that was the last reference. With only one nobody else can take or drop another, so it
 * needs no locked instruction. */
static bool drop_reference(struct yk_node *node)
{
    unsigned before;

    if (atomic_load_explicit(&node->refs, memory_order_acquire) == 1)
        return true;
    before = atomic_fetch_sub_explicit(&node->refs, 1, memory_order_acq_rel);
    yk_assert(before > 0);
    return before == 1;
}

static void drop(struct yk_node *node, struct walk *walk)
{
    if (node != NULL && !node->immortal && drop_reference(node))
        push(walk, node);
}

void yk_node_unref(struct yk_node *node)
{
    struct walk walk = {.first = NULL};

    drop(node, &walk);
    while ((node = pop(&walk)) != NULL) {
        each_child(node, drop, &walk);
        if (node->is_cause)
            yk_cause_free((struct yoke_cause *)(void *)node);
        else
            yk_error_free((struct yoke_error *)(void *)node);
    }
}

static void visit(struct yk_node *node, struct walk *walk)
{
    if (node == NULL || node->immortal || node->visited == walk->number)
        return;
    node->visited = walk->number;
    push(walk, node);
}

bool yk_node_reaches(const struct yk_node *from, const struct yk_node *to, bool through_causes)
{
    struct walk walk = {.first = NULL};
    struct yk_node *node;
    bool found = false;

    if (from == NULL || to == NULL)
        return false;
    if (from == to)
        return true;
    pthread_mutex_lock(&graph_lock);
    walk.number = ++last_walk;
    visit((struct yk_node *)(uintptr_t)from, &walk);
    while (!found && (node = pop(&walk)) != NULL) {
        found = node == to;
        if (through_causes)
            each_child(node, visit, &walk);
        else if (!node->is_cause)
            each_carried((struct yoke_error *)(void *)node, visit, &walk);
    }
    pthread_mutex_unlock(&graph_lock);
    return found;
}

static void mark(struct yk_node *node, struct walk *walk)
{
    struct yoke_error *error = (struct yoke_error *)(void *)node;

    if (node == NULL || node->immortal || atomic_load(&error->settled))
        return;
    atomic_store(&error->settled, true);
    push(walk, node);
}

static bool carries_anything(const struct yoke_error *error)
{
    return error->context != NULL || error->because != NULL || error->suppressed.n > 0 ||
           error->members.n > 0;
}

/*
 * Most errors carry nothing and need no walk. Another thread may attach something at this moment:
 * it first attaches and then looks whether the error is settled, and here it is the other way
 * round, so one of the two sees what the other did. (All four accesses are sequentially
 * consistent.)
 */
void yk_node_settle(struct yoke_error *error)
{
    struct walk walk = {.first = NULL};
    struct yk_node *node;

    if (error == NULL || error->node.immortal || atomic_load(&error->settled))
        return;
    if (atomic_load_explicit(&error->node.refs, memory_order_acquire) == 1)
        atomic_store_explicit(&error->settled, true, memory_order_relaxed); /* it is ours alone */
    else if (atomic_exchange(&error->settled, true))
        return;
    if (!carries_anything(error))
        return;
    pthread_mutex_lock(&graph_lock);
    each_carried(error, mark, &walk);
    while ((node = pop(&walk)) != NULL)
        each_carried((struct yoke_error *)(void *)node, mark, &walk);
    pthread_mutex_unlock(&graph_lock);
}

void yk_node_unsettle(struct yoke_error *error)
{
    if (!error->node.immortal)
        atomic_store_explicit(&error->settled, false, memory_order_relaxed);
}

void yk_node_lock(void)
{
    pthread_mutex_lock(&graph_lock);
}

void yk_node_unlock(void)
{
    pthread_mutex_unlock(&graph_lock);
}
