/* SPDX-License-Identifier: MIT */
/*
 * A model of cancel scopes for model_test.c: scopes as places in a tree, and who is blocked where.
 * It asks for each question anew what is visible from a place, and keeps no state that follows
 * from other state; a cause is text. Of the real thing it only asks the time.
 */
#ifndef YK_TASK_MODEL_TEST_H
#define YK_TASK_MODEL_TEST_H

#include <stdio.h>
#include <yoke/scope.h>
#include <yoke/task.h>

#include "base/text.h"

enum { TEXT = 96, PLACES_MAX = 400 };

struct place { /* a scope, as the model sees it */
    struct place *parent;
    struct yoke_scope *scope; /* the real one */
    char name[16];
    bool open, shield, cancelled;
    int64_t deadline_ns;
    char cause[TEXT];
};

struct sleeper { /* who is blocked, in a place */
    struct sleeper *next;
    const struct place *place;
    bool doomed;
    char told[TEXT];
};

static struct {
    struct place places[PLACES_MAX];
    unsigned places_n;
    struct sleeper *sleepers;
} model;

/* The outermost cancelled scope that is visible from `place`; NULL: none. */
static const struct place *visible(const struct place *place)
{
    const struct place *found = NULL;

    for (; place != NULL; place = place->parent) {
        if (place->cancelled)
            found = place;
        if (place->shield)
            break;
    }
    return found;
}

static const struct place *visible_outside(const struct place *place)
{
    return place->shield ? NULL : visible(place->parent);
}

static void doom_sleepers(void)
{
    for (struct sleeper *sleeper = model.sleepers; sleeper != NULL; sleeper = sleeper->next) {
        const struct place *by = visible(sleeper->place);

        if (sleeper->doomed || by == NULL)
            continue;
        sleeper->doomed = true;
        YK_TEXT_COPY(sleeper->told, by->cause);
    }
}

static void model_cancel(struct place *place, const char *kind, const char *what)
{
    char text[TEXT];

    if (place->cancelled)
        return;
    place->cancelled = true;
    snprintf(text, TEXT, "%s, %s: %.40s", place->name, kind, what);
    YK_TEXT_COPY(place->cause, text);
    doom_sleepers();
}

/* Deadlines that have come by now, in their order. */
static void catch_up(void)
{
    for (;;) {
        struct place *next = NULL;

        for (unsigned i = 0; i < model.places_n; i++) {
            struct place *place = &model.places[i];

            if (place->open && !place->cancelled && place->deadline_ns <= yoke_now() &&
                (next == NULL || place->deadline_ns < next->deadline_ns))
                next = place;
        }
        if (next == NULL)
            return;
        model_cancel(next, "deadline", "");
    }
}

static void begin_sleep(struct sleeper *sleeper, const struct place *place)
{
    *sleeper = (struct sleeper){.next = model.sleepers, .place = place};
    model.sleepers = sleeper;
}

static void end_sleep(const struct sleeper *sleeper)
{
    struct sleeper **link = &model.sleepers;

    while (*link != sleeper)
        link = &(*link)->next;
    *link = sleeper->next;
}

static int64_t model_deadline(const struct place *place)
{
    int64_t earliest = YOKE_NEVER;

    for (; place != NULL; place = place->parent) {
        if (place->deadline_ns < earliest)
            earliest = place->deadline_ns;
        if (place->shield)
            break;
    }
    return earliest;
}

#endif
