/* SPDX-License-Identifier: MIT */
/*
 * Several local consumers of one stream. The broadcast channel orders values and knows who has read
 * how far; its items are pointers to values that are shared by reference count. The ring below
 * holds the reference of the channel itself: what is overwritten there is dropped here.
 *
 * There is no task that pumps: a consumer that has nothing to read becomes the one that receives
 * from the stream, the others wait for it. If it leaves, for whatever reason, one of them takes
 * over. So credit is given back only while somebody reads, and there is nothing to supervise.
 *
 * Invariant: between a try_receive of the channel and the reference taken on what it gave no other
 * task runs.
 */
#include "actor/actor.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"

struct yk_shared {
    size_t refs;
    struct yk_item *item; /* owned; of the dialog that received it */
};

struct yk_fanout {
    struct yoke_broadcast *channel; /* items: struct yk_shared * */
    struct yk_shared **kept;        /* by the number of the value */
    size_t capacity;
    uint64_t sent;
    size_t subscriptions;
    bool receiving; /* one of them receives from the stream */
    bool ended;
    struct yk_list waiters;
};

static void shared_unref(struct yk_shared *shared)
{
    if (shared == NULL || --shared->refs > 0)
        return;
    yk_lease_end(&shared->item->lease);
    free(shared->item);
    free(shared);
}

static void fanout_free(struct yk_fanout *fanout)
{
    yk_assert(yk_list_empty(&fanout->waiters));
    for (size_t i = 0; i < fanout->capacity; i++)
        shared_unref(fanout->kept[i]);
    free(fanout->kept);
    yoke_broadcast_unref(fanout->channel);
    free(fanout);
}

/* NULL with an error raised. */
static struct yk_fanout *fanout_new(size_t capacity)
{
    struct yk_fanout *fanout = yk_calloc(1, sizeof *fanout);

    if (fanout != NULL)
        fanout->kept = yk_calloc(capacity, sizeof(struct yk_shared *));
    if (fanout == NULL || fanout->kept == NULL) {
        free(fanout);
        yoke_raise("yoke.Context", ENOMEM, "no memory for the subscriptions of a stream");
        return NULL;
    }
    fanout->channel = yoke_broadcast_new(sizeof(struct yk_shared *), capacity, NULL);
    if (fanout->channel == NULL) {
        free(fanout->kept);
        free(fanout);
        return NULL;
    }
    fanout->capacity = capacity;
    yk_list_init(&fanout->waiters);
    return fanout;
}

int yoke_stream_subscribe(struct yoke_context *ctx, struct yoke_stream_subscription *subscription,
                          size_t kept)
{
    struct yk_dialog *dialog = ctx->dialog;

    yk_task_self("yoke_stream_subscribe");
    subscription->ctx = NULL;
    if (dialog->fanout == NULL)
        dialog->fanout = fanout_new(kept != 0 ? kept : YK_STREAM_WINDOW);
    if (dialog->fanout == NULL)
        return -ENOMEM;
    subscription->ctx = ctx;
    subscription->lent = NULL;
    yoke_broadcast_subscribe(dialog->fanout->channel, &subscription->subscription);
    dialog->fanout->subscriptions++;
    return 0;
}

void yoke_stream_unsubscribe(struct yoke_stream_subscription *subscription)
{
    struct yk_dialog *dialog;

    if (subscription->ctx == NULL)
        return;
    dialog = subscription->ctx->dialog;
    yk_assert(dialog != NULL); /* the context is still open */
    yoke_broadcast_unsubscribe(&subscription->subscription);
    shared_unref(subscription->lent);
    subscription->ctx = NULL;
    if (--dialog->fanout->subscriptions > 0)
        return;
    fanout_free(dialog->fanout);
    dialog->fanout = NULL;
}

static void wake_all(struct yk_fanout *fanout)
{
    while (yk_wake_first(&fanout->waiters, 0))
        continue;
}

/* Gives a value to all. Takes over `shared`, which has one reference. */
static void publish(struct yk_fanout *fanout, struct yk_shared *shared)
{
    struct yk_shared **place = &fanout->kept[fanout->sent++ % fanout->capacity];
    int rc = yoke_broadcast_try_send(fanout->channel, &shared);

    yk_assert(rc == 1);
    shared_unref(*place);
    *place = shared;
}

/* Receives from the stream for all. 0, or what that failed with. */
static int receive_for_all(struct yk_dialog *dialog, struct yk_task *task)
{
    struct yk_fanout *fanout = dialog->fanout;
    struct yk_shared *shared = yk_calloc(1, sizeof *shared);
    struct yoke_value value;
    int rc;

    if (shared == NULL)
        return yoke_raise("yoke.Context", ENOMEM, "no memory to receive a value");
    fanout->receiving = true;
    rc = yk_dialog_receive(dialog, task, &value);
    fanout->receiving = false;
    if (rc > 0) {
        shared->refs = 1;
        shared->item = dialog->lent;
        dialog->lent = NULL;
        publish(fanout, shared);
    } else {
        free(shared);
        fanout->ended = fanout->ended || rc == 0;
    }
    wake_all(fanout);
    return rc < 0 ? rc : 0;
}

/* 1, the value lent to the subscription; 0: there is none yet. */
static int take(struct yoke_stream_subscription *subscription, uint64_t *ret_lost)
{
    struct yk_shared *shared;

    if (yoke_broadcast_try_receive(&subscription->subscription, &shared, ret_lost) == 0)
        return 0;
    shared->refs++;
    shared_unref(subscription->lent);
    subscription->lent = shared;
    return 1;
}

int yoke_stream_subscription_receive(struct yoke_stream_subscription *subscription,
                                     struct yoke_value *ret_value, uint64_t *ret_lost)
{
    struct yk_task *task = yk_task_self("yoke_stream_subscription_receive");
    struct yk_dialog *dialog;
    uint64_t lost = 0;
    int rc = yk_check_cancelled(task);

    if (subscription->ctx == NULL)
        return yoke_raise("yoke.Misuse", EINVAL, "receive of what is not subscribed to a stream");
    dialog = subscription->ctx->dialog;
    if (rc == 0)
        yk_completed_at_once(task);
    while (rc == 0 && (rc = take(subscription, &lost)) == 0 && !dialog->fanout->ended)
        rc = dialog->fanout->receiving
                 ? yk_wait_in(&dialog->fanout->waiters, "a value of a stream", NULL)
                 : receive_for_all(dialog, task);
    if (rc <= 0)
        return rc;
    *ret_value = subscription->lent->item->value;
    if (ret_lost != NULL)
        *ret_lost = lost;
    return 1;
}
