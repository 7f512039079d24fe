/* SPDX-License-Identifier: MIT */
/*
 * Capacity limiters. Tokens lie with their borrowers and are in a list of the limiter while they
 * are borrowed; the data of a wait is the token that waits to be. A token that comes back goes to
 * the first waiter before that one wakes. Invariant: tasks wait only while `borrowed` >= `total`.
 *
 * That one borrower has one token is checked without a table, which would have to be allocated. A
 * task looks through what it holds, which is little; it can't be waiting, since it runs. Any other
 * borrower is looked for among all tokens and waiters.
 */
#include <yoke/limiter.h>
#include <yoke/select.h>

#include <errno.h>

#include "base/check.h"
#include "task/task.h"

void yoke_limiter_init(struct yoke_limiter *limiter, size_t total)
{
    yk_list_init(&limiter->waiters);
    yk_list_init(&limiter->tokens);
    limiter->total = total;
    limiter->borrowed = 0;
}

void yoke_limiter_fini(struct yoke_limiter *limiter)
{
    if (limiter->borrowed > 0)
        yk_misuse(NULL, "borrowed at",
                  yk_container_of(limiter->tokens.next, struct yoke_token, node)->site,
                  "the end of a limiter of which %zu tokens are borrowed", limiter->borrowed);
    if (!yk_list_empty(&limiter->waiters))
        yk_misuse(NULL, NULL, NULL, "the end of a limiter for which tasks wait");
}

static void lend(struct yoke_limiter *limiter, struct yoke_token *token, struct yk_task *task)
{
    token->limiter = limiter;
    yk_list_append(&limiter->tokens, &token->node);
    limiter->borrowed++;
    if (token->by_task)
        yk_hold_add(task, &token->held);
}

static void serve_waiters(struct yoke_limiter *limiter)
{
    struct yk_list *node;

    while (limiter->borrowed < limiter->total && (node = yk_list_pop(&limiter->waiters)) != NULL) {
        struct yk_wait *wait = yk_container_of(node, struct yk_wait, node);

        lend(limiter, wait->data, wait->task);
        yk_wake_wait(wait, 0);
    }
}

void yk_limiter_take_back(struct yoke_token *token)
{
    struct yoke_limiter *limiter = token->limiter;

    yk_list_remove(&token->node);
    token->limiter = NULL;
    limiter->borrowed--;
    serve_waiters(limiter);
}

static void forgotten(struct yk_held *held, struct yk_task *task)
{
    struct yoke_token *token = yk_container_of(held, struct yoke_token, held);

    yk_limiter_take_back(token);
    yoke_raise_at(token->site, NULL, "yoke.Forgotten", EOWNERDEAD,
                  "task %s ended without giving back the token that it had borrowed at %s:%d",
                  yk_task_name(task), token->site->file, token->site->line);
}

/* The site at which the task borrowed a token for itself; NULL: it did not. */
static const struct yoke_site *find_own(const struct yoke_limiter *limiter,
                                        const struct yk_task *task)
{
    for (struct yk_held *held = task->held; held != NULL; held = held->next) {
        const struct yoke_token *token = yk_container_of(held, struct yoke_token, held);

        if (held->forgotten == forgotten && token->limiter == limiter)
            return token->site;
    }
    return NULL;
}

/* The site at which a borrower that is not a task got its token; NULL: it did not. */
static const struct yoke_site *find(const struct yoke_limiter *limiter, const void *borrower)
{
    yk_list_for_each (node, &limiter->tokens) {
        const struct yoke_token *token = yk_container_of(node, struct yoke_token, node);

        if (token->borrower == borrower)
            return token->site;
    }
    return NULL;
}

/* The same of one that waits for a token. */
static const struct yoke_site *find_waiting(const struct yoke_limiter *limiter,
                                            const void *borrower)
{
    yk_list_for_each (node, &limiter->waiters) {
        const struct yoke_token *token = yk_container_of(node, struct yk_wait, node)->data;

        if (token->borrower == borrower)
            return token->site;
    }
    return NULL;
}

/* 1 borrowed, 0 there is none, or an error. */
static int acquire_now(struct yoke_limiter *limiter, struct yoke_token *token, const void *borrower,
                       const struct yoke_site *site, struct yk_task *task)
{
    const struct yoke_site *other =
        borrower == NULL ? find_own(limiter, task) : find(limiter, borrower);

    if (other == NULL && borrower != NULL)
        other = find_waiting(limiter, borrower);
    token->limiter = NULL;
    if (other != NULL)
        return yoke_raise_at(site, NULL, "yoke.Limiter", EDEADLK,
                             "the borrower has, or waits for, a token of this limiter already: "
                             "see %s:%d",
                             other->file, other->line);
    token->borrower = borrower != NULL ? borrower : task;
    token->by_task = borrower == NULL;
    token->site = site;
    token->held.place = NULL;
    token->held.forgotten = forgotten;
    if (limiter->borrowed >= limiter->total)
        return 0;
    lend(limiter, token, task);
    return 1;
}

int yoke_limiter_acquire_at(const struct yoke_site *site, struct yoke_limiter *limiter,
                            struct yoke_token *token, const void *borrower)
{
    struct yk_task *task = yk_task_self("yoke_limiter_acquire");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    rc = acquire_now(limiter, token, borrower, site, task);
    if (rc == 0)
        return yk_wait_in(&limiter->waiters, "limiter", token);
    if (rc < 0)
        return rc;
    yk_completed_at_once(task);
    return 0;
}

int yoke_limiter_try_acquire_at(const struct yoke_site *site, struct yoke_limiter *limiter,
                                struct yoke_token *token, const void *borrower)
{
    return acquire_now(limiter, token, borrower, site, yk_task_self("yoke_limiter_try_acquire"));
}

void yoke_limiter_release_at(const struct yoke_site *site, struct yoke_token *token)
{
    struct yk_task *task = yk_task_self("yoke_limiter_release");

    if (token->limiter == NULL)
        yk_misuse(site, NULL, NULL, "yoke_limiter_release of a token that is not borrowed");
    if (token->by_task && token->borrower != task)
        yk_misuse(site, "borrowed at", token->site,
                  "task %s gives back a token that another task borrowed for itself",
                  yk_task_name(task));
    if (token->by_task)
        yk_hold_remove(&token->held);
    yk_limiter_take_back(token);
}

void yoke_limiter_set_total(struct yoke_limiter *limiter, size_t total)
{
    limiter->total = total;
    serve_waiters(limiter);
}

bool yoke_limiter_is_borrower(const struct yoke_limiter *limiter, const void *borrower)
{
    if (borrower == NULL)
        return find_own(limiter, yk_task_self("yoke_limiter_is_borrower")) != NULL;
    return find(limiter, borrower) != NULL;
}

void yoke_limiter_stats(const struct yoke_limiter *limiter, struct yoke_limiter_stats *ret_stats)
{
    *ret_stats = (struct yoke_limiter_stats){
        .total = limiter->total,
        .borrowed = limiter->borrowed,
        .available = limiter->borrowed < limiter->total ? limiter->total - limiter->borrowed : 0,
        .waiting = yk_waiting_in(&limiter->waiters),
    };
}

static int attempt_borrow(struct yoke_select_case *c)
{
    const struct yoke_token *token = c->data;

    return acquire_now(c->object, c->data, c->extra, token->site, yk_task_self("yoke_select"));
}

static int enlist_borrow(struct yoke_select_case *c)
{
    struct yoke_limiter *limiter = c->object;

    c->wait.data = c->data;
    yk_list_append(&limiter->waiters, &c->wait.node);
    return 0;
}

/* The token was lent before it was woken. */
static int finish_borrow(struct yoke_select_case *c, int rc)
{
    (void)c;
    yk_assert(rc == 0);
    return 1;
}

struct yoke_select_case yoke_case_borrow_at(const struct yoke_site *site,
                                            struct yoke_limiter *limiter, struct yoke_token *token,
                                            const void *borrower)
{
    static const struct yoke_select_source source = {
        .name = "limiter",
        .attempt = attempt_borrow,
        .enlist = enlist_borrow,
        .finish = finish_borrow,
    };
    struct yoke_select_case c = yoke_case_source(&source, limiter, token);

    token->site = site;
    c.extra = (void *)(uintptr_t)borrower;
    return c;
}
