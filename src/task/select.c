/* SPDX-License-Identifier: MIT */
/*
 * Select. Each case is tried, in a random order; if none can happen, each enters the queue of what
 * it waits for with the wait that is part of it, and the task parks once. A waker treats such a
 * wait as any other: it takes it out of the queue, hands over (by the wait's `data`), and wakes.
 * Only, waking tells the wait first that it is claimed: then all other waits of the select leave
 * their queues, in the waker's turn. So whatever is in a queue can be handed to, exactly one hand-
 * over happens, and a plain wait pays one look at a pointer.
 *
 * What may free or deregister is done afterwards in the selecting task (`leave`), since a waker may
 * be walking over just that.
 *
 * Decided against: waking all and trying again, which loses places in queues, and gives no waker a
 * way to hand over what it must not keep.
 */
#include <yoke/select.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/check.h"
#include "task/task.h"

struct yk_select { /* in the frame of the call, while its task is parked */
    struct yoke_select_case *cases;
    size_t n;
    struct yoke_select_case *chosen;
    bool over; /* claimed, or cancelled: the task was woken */
    char waiting_for[YK_WAIT_TEXT_MAX];
};

/* A wait that is in no queue may leave it all the same. */
static void leave_queues(struct yk_select *select)
{
    for (size_t i = 0; i < select->n; i++)
        yk_list_remove(&select->cases[i].wait.node);
    select->over = true;
}

static void case_claimed(struct yk_wait *wait)
{
    struct yoke_select_case *c = yk_container_of(wait, struct yoke_select_case, wait);

    yk_assert(!c->select->over);
    c->select->chosen = c;
    leave_queues(c->select);
}

static bool abort_select(struct yk_task *task, void *arg)
{
    (void)task;
    leave_queues(arg);
    return true;
}

static void prepare(struct yoke_select_case *cases, size_t n, struct yk_task *task, bool biased)
{
    for (size_t i = 0; i < n; i++) {
        struct yoke_select_case *c = &cases[i];

        c->result = 0;
        memset(&c->timer, 0, sizeof c->timer);
        c->wait = (struct yk_wait){.task = task, .claimed = case_claimed};
        yk_list_init(&c->wait.node);
        c->order = i;
    }
    for (size_t i = n - 1; i > 0 && !biased; i--) {
        size_t drawn = yk_random_next(&task->runtime->random) % (i + 1);
        size_t order = cases[i].order;

        cases[i].order = cases[drawn].order;
        cases[drawn].order = order;
    }
}

/* What a case came to: its index, `n` if nothing has happened, or the error that it failed with. */
static int outcome(struct yoke_select_case *cases, size_t n, struct yoke_select_case *c, int rc)
{
    if (rc < 0)
        c->result = rc;
    return rc < 0 ? rc : rc == 0 ? (int)n : (int)(c - cases);
}

static int attempt_all(struct yoke_select_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct yoke_select_case *c = &cases[cases[i].order];
        int rc = c->source->attempt(c);

        if (rc != 0)
            return outcome(cases, n, c, rc);
    }
    return (int)n;
}

static void leave_cases(struct yoke_select_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cases[i].source->leave != NULL)
            cases[i].source->leave(&cases[i]);
}

/* "select of channel receive, event", for whoever asks what the task waits for. */
static void say_what(struct yk_select *select)
{
    static const char begin[] = "select of ";
    static const char cut[] = ", ...";
    size_t used = sizeof begin - 1;

    memcpy(select->waiting_for, begin, sizeof begin);
    for (size_t i = 0; i < select->n; i++) {
        const char *name = select->cases[i].source->name;
        const char *gap = used > sizeof begin - 1 ? ", " : "";
        size_t gap_n = strlen(gap), n;

        name = name != NULL ? name : "a source";
        n = strlen(name);
        if (used + gap_n + n + sizeof cut > sizeof select->waiting_for) {
            memcpy(select->waiting_for + used, cut, sizeof cut);
            return;
        }
        memcpy(select->waiting_for + used, gap, gap_n);
        memcpy(select->waiting_for + used + gap_n, name, n + 1);
        used += gap_n + n;
    }
}

/* Waits for a case to be woken, and finishes it. As outcome; `n`: all are to be attempted again. */
static int wait_once(struct yoke_select_case *cases, size_t n, struct yk_task *task)
{
    struct yk_select select;
    struct yoke_select_case *c;
    int rc;

    select.cases = cases;
    select.n = n;
    select.chosen = NULL;
    select.over = false;
    for (size_t i = 0; i < n; i++) {
        cases[i].select = &select;
        rc = cases[i].source->enlist(&cases[i]);
        if (rc < 0) {
            leave_queues(&select);
            leave_cases(cases, i);
            return outcome(cases, n, &cases[i], rc);
        }
    }
    say_what(&select);
    rc = yk_park(task, select.waiting_for, abort_select, &select);
    leave_cases(cases, n);
    c = select.chosen;
    if (c == NULL)
        return rc;
    if (c->source->finish != NULL)
        return outcome(cases, n, c, c->source->finish(c, rc));
    return outcome(cases, n, c, rc < 0 ? yk_select_broken(c) : c->source->attempt(c));
}

static int check_count(size_t n)
{
    if (n > 0 && n < INT_MAX)
        return 0;
    return yoke_raise("yoke.Select", EINVAL, "a select of %zu cases", n);
}

int yoke_select(struct yoke_select_case *cases, size_t n, const struct yoke_select_opts *opts)
{
    struct yk_task *task = yk_task_self("yoke_select");
    int rc = yk_check_cancelled(task);

    if (rc == 0)
        rc = check_count(n);
    if (rc < 0)
        return rc;
    prepare(cases, n, task, opts != NULL && opts->biased);
    rc = attempt_all(cases, n);
    if (rc >= 0 && rc < (int)n)
        yk_completed_at_once(task);
    while (rc == (int)n) {
        rc = wait_once(cases, n, task);
        if (rc == (int)n)
            rc = attempt_all(cases, n);
    }
    return rc;
}

int yoke_try_select(struct yoke_select_case *cases, size_t n, const struct yoke_select_opts *opts)
{
    struct yk_task *task = yk_task_self("yoke_try_select");
    int rc = check_count(n);

    if (rc < 0)
        return rc;
    prepare(cases, n, task, opts != NULL && opts->biased);
    return attempt_all(cases, n);
}

struct yoke_select_case yoke_case_source(const struct yoke_select_source *source, void *object,
                                         void *data)
{
    return (struct yoke_select_case){.source = source, .object = object, .data = data};
}

static int nothing(struct yoke_select_case *c)
{
    (void)c;
    return 0;
}

struct yoke_select_case yoke_case_never(void)
{
    static const struct yoke_select_source source = {
        .name = "nothing",
        .attempt = nothing,
        .enlist = nothing,
    };

    return yoke_case_source(&source, NULL, NULL);
}

static int attempt_send(struct yoke_select_case *c)
{
    return yoke_channel_try_send(c->object, c->data);
}

static int enlist_send(struct yoke_select_case *c)
{
    c->wait.data = c->data;
    yk_list_append(yk_channel_senders(c->object), &c->wait.node);
    return 0;
}

/* Woken with an error: the channel is closed, and says so again. */
static int finish_send(struct yoke_select_case *c, int rc)
{
    return rc < 0 ? yoke_channel_try_send(c->object, c->data) : 1;
}

struct yoke_select_case yoke_case_send(struct yoke_channel *channel, const void *item)
{
    static const struct yoke_select_source source = {
        .name = "channel send",
        .attempt = attempt_send,
        .enlist = enlist_send,
        .finish = finish_send,
    };

    return yoke_case_source(&source, channel, (void *)(uintptr_t)item);
}

static int attempt_receive(struct yoke_select_case *c)
{
    int rc = yoke_channel_try_receive(c->object, c->data);

    if (rc > 0)
        c->result = rc;
    return rc == 0 && yoke_channel_ended(c->object) ? 1 : rc;
}

static int enlist_receive(struct yoke_select_case *c)
{
    c->wait.data = c->data;
    yk_list_append(yk_channel_receivers(c->object), &c->wait.node);
    return 0;
}

static int finish_receive(struct yoke_select_case *c, int rc)
{
    if (rc < 0)
        return yoke_channel_try_receive(c->object, c->data);
    c->result = rc;
    return 1;
}

struct yoke_select_case yoke_case_receive(struct yoke_channel *channel, void *ret_item)
{
    static const struct yoke_select_source source = {
        .name = "channel receive",
        .attempt = attempt_receive,
        .enlist = enlist_receive,
        .finish = finish_receive,
    };

    return yoke_case_source(&source, channel, ret_item);
}

static int attempt_event(struct yoke_select_case *c)
{
    return yoke_event_is_set(c->object) ? 1 : 0;
}

static int enlist_event(struct yoke_select_case *c)
{
    struct yoke_event *event = c->object;

    yk_list_append(&event->waiters, &c->wait.node);
    return 0;
}

static int finish_event(struct yoke_select_case *c, int rc)
{
    (void)c;
    yk_assert(rc == 0);
    return 1;
}

struct yoke_select_case yoke_case_event(struct yoke_event *event)
{
    static const struct yoke_select_source source = {
        .name = "event",
        .attempt = attempt_event,
        .enlist = enlist_event,
        .finish = finish_event,
    };

    return yoke_case_source(&source, event, NULL);
}

/* The timer is disarmed after the task has woken; until then it may expire too late. */
static void case_expired(struct yk_timer *timer)
{
    struct yoke_select_case *c = yk_container_of(timer, struct yoke_select_case, timer);

    if (!c->select->over)
        yk_wake_wait(&c->wait, 0);
}

static int attempt_deadline(struct yoke_select_case *c)
{
    c->timer.deadline_ns = c->number;
    return c->number <= yk_now(yk_runtime_current) ? 1 : 0;
}

static int attempt_timeout(struct yoke_select_case *c)
{
    int64_t now = yk_now(yk_runtime_current);

    if (c->number <= 0)
        return 1;
    if (c->timer.deadline_ns == 0) /* the first attempt: later ones don't begin again */
        c->timer.deadline_ns = c->number > YOKE_NEVER - now ? YOKE_NEVER : now + c->number;
    return c->timer.deadline_ns <= now ? 1 : 0;
}

static int enlist_timer(struct yoke_select_case *c)
{
    c->timer.expired = case_expired;
    if (c->timer.deadline_ns == YOKE_NEVER ||
        yk_timer_arm(&yk_runtime_current->timers, &c->timer, c->timer.deadline_ns) == 0)
        return 0;
    return yoke_raise("yoke.Select", ENOMEM, "no memory for a timer");
}

static int finish_timer(struct yoke_select_case *c, int rc)
{
    (void)c;
    yk_assert(rc == 0);
    return 1;
}

static void leave_timer(struct yoke_select_case *c)
{
    yk_timer_disarm(&yk_runtime_current->timers, &c->timer);
}

struct yoke_select_case yoke_case_timeout(int64_t timeout_ns)
{
    static const struct yoke_select_source source = {
        .name = "timeout",
        .attempt = attempt_timeout,
        .enlist = enlist_timer,
        .finish = finish_timer,
        .leave = leave_timer,
    };

    return (struct yoke_select_case){.source = &source, .number = timeout_ns};
}

struct yoke_select_case yoke_case_deadline(int64_t deadline_ns)
{
    static const struct yoke_select_source source = {
        .name = "deadline",
        .attempt = attempt_deadline,
        .enlist = enlist_timer,
        .finish = finish_timer,
        .leave = leave_timer,
    };

    return (struct yoke_select_case){.source = &source, .number = deadline_ns};
}
