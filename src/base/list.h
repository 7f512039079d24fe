/* SPDX-License-Identifier: MIT */
/* Intrusive circular doubly linked lists. A node that is in no list points to itself. */
#ifndef YK_BASE_LIST_H
#define YK_BASE_LIST_H

#include <yoke/common.h> /* struct yk_list: lexical public objects contain some */

#define yk_container_of(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Walks a list; the current node may be removed by the body, other nodes may not. */
#define yk_list_for_each(node, list)                                                               \
    for (struct yk_list *node = (list)->next, *node##_next = node->next; node != (list);           \
         node = node##_next, node##_next = node->next)

static inline void yk_list_init(struct yk_list *list)
{
    list->next = list;
    list->prev = list;
}

static inline bool yk_list_empty(const struct yk_list *list)
{
    return list->next == list;
}

static inline void yk_list_append(struct yk_list *list, struct yk_list *node)
{
    node->next = list;
    node->prev = list->prev;
    list->prev->next = node;
    list->prev = node;
}

static inline void yk_list_remove(struct yk_list *node)
{
    node->next->prev = node->prev;
    node->prev->next = node->next;
    yk_list_init(node);
}

/* From the list that it is in to the end of another. */
static inline void yk_list_move(struct yk_list *list, struct yk_list *node)
{
    node->next->prev = node->prev;
    node->prev->next = node->next;
    yk_list_append(list, node);
}

/* The first node, taken out; NULL if the list is empty. */
static inline struct yk_list *yk_list_pop(struct yk_list *list)
{
    struct yk_list *node = list->next;

    if (node == list)
        return NULL;
    yk_list_remove(node);
    return node;
}

#endif
