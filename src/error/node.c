/* SPDX-License-Identifier: MIT */
/*
 * The graph of errors and causes: references, walks, fates.
 *
 * Nothing here recurses or allocates: a walk links the nodes that it has yet to look at through
 * the nodes themselves. One lock for all walks makes that safe when threads share errors; it is
 * held for microseconds, and taken only when one error is attached to another. What is being freed
 * has no references left, so no walk can meet it, and it needs no lock.
 *
 * Settling marks one error and walks over nothing: it spreads when the error is freed, to whatever
 * it carried. Decided against: spreading it at once. It cost a lock and a walk for each error
 * caught, and stopped at errors that were settled before, behind which one that was put in flight
 * again could be missed.
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

/* What is mentioned, but not carried. */
static void each_mentioned(struct yk_node *node, child_fn child, struct walk *walk)
{
    if (node->is_cause) {
        struct yoke_cause *cause = (struct yoke_cause *)(void *)node;

        child(cause_node(cause->because), walk);
        child(error_node(cause->error), walk);
    } else {
        struct yoke_error *error = (struct yoke_error *)(void *)node;

        child(cause_node(error->cause), walk);
        for (size_t i = 0; i < error->inner_causes_n; i++)
            child(cause_node(error->inner_causes[i]), walk);
    }
}

static void each_child(struct yk_node *node, child_fn child, struct walk *walk)
{
    if (!node->is_cause)
        each_carried((struct yoke_error *)(void *)node, child, walk);
    each_mentioned(node, child, walk);
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

/*
 * What a settled error carried ends with it. If somebody else holds it too, then it was reachable
 * from one that was caught all the same; unless it has been put in flight since, and may yet be
 * lost.
 */
static void drop_settled(struct yk_node *node, struct walk *walk)
{
    struct yoke_error *error = (struct yoke_error *)(void *)node;
    unsigned char open = YK_FATE_OPEN;

    if (node == NULL || node->immortal)
        return;
    atomic_compare_exchange_strong(&error->fate, &open, YK_FATE_SETTLED);
    if (drop_reference(node)) {
        yk_node_settle(error);
        push(walk, node);
    }
}

static void free_error(struct yoke_error *error, struct walk *walk)
{
    bool settled = atomic_load_explicit(&error->fate, memory_order_relaxed) == YK_FATE_SETTLED;

    if (yk_error_carries(error))
        each_carried(error, settled ? drop_settled : drop, walk);
    each_mentioned(&error->node, drop, walk);
    yk_error_free(error);
}

void yk_node_unref(struct yk_node *node)
{
    struct walk walk = {.first = NULL};

    drop(node, &walk);
    while ((node = pop(&walk)) != NULL) {
        if (node->is_cause) {
            each_mentioned(node, drop, &walk);
            yk_cause_free((struct yoke_cause *)(void *)node);
        } else {
            free_error((struct yoke_error *)(void *)node, &walk);
        }
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

void yk_node_settle(struct yoke_error *error)
{
    if (error != NULL && !error->node.immortal)
        atomic_store_explicit(&error->fate, YK_FATE_SETTLED, memory_order_relaxed);
}

void yk_node_unsettle(struct yoke_error *error)
{
    if (!error->node.immortal)
        atomic_store_explicit(&error->fate, YK_FATE_REOPENED, memory_order_relaxed);
}

void yk_node_lock(void)
{
    pthread_mutex_lock(&graph_lock);
}

void yk_node_unlock(void)
{
    pthread_mutex_unlock(&graph_lock);
}
