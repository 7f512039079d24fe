/* SPDX-License-Identifier: MIT */
/*
 * 4-ary heap. `place` of a timer is its index plus one; zero means not armed. Equal deadlines
 * expire in no particular order. Callbacks may arm and disarm timers. The entry at the top is never
 * dead, so that an empty heap has no entries and the next deadline is that of a timer.
 */
#include "task/timer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/memory.h"

enum { COMPACT_MIN = 64 }; /* dead entries below which a walk over all is not worth it */

void yk_timers_fini(struct yk_timers *timers)
{
    yk_assert(timers->n == 0);
    free(timers->entries);
    timers->entries = NULL;
    timers->capacity = 0;
}

static void place(struct yk_timers *timers, size_t i, struct yk_timer_entry entry)
{
    timers->entries[i] = entry;
    if (entry.timer != NULL)
        entry.timer->place = i + 1;
}

static void sift_up(struct yk_timers *timers, size_t i, struct yk_timer_entry entry)
{
    while (i > 0) {
        size_t parent = (i - 1) / 4;

        if (timers->entries[parent].deadline_ns <= entry.deadline_ns)
            break;
        place(timers, i, timers->entries[parent]);
        i = parent;
    }
    place(timers, i, entry);
}

static void sift_down(struct yk_timers *timers, size_t i, struct yk_timer_entry entry)
{
    for (;;) {
        size_t first = 4 * i + 1;
        size_t least = first;

        if (first >= timers->n)
            break;
        for (size_t child = first + 1; child < first + 4 && child < timers->n; child++)
            if (timers->entries[child].deadline_ns < timers->entries[least].deadline_ns)
                least = child;
        if (timers->entries[least].deadline_ns >= entry.deadline_ns)
            break;
        place(timers, i, timers->entries[least]);
        i = least;
    }
    place(timers, i, entry);
}

static int grow(struct yk_timers *timers)
{
    size_t capacity = timers->capacity == 0 ? 64 : timers->capacity * 2;
    struct yk_timer_entry *entries = yk_realloc(timers->entries, capacity * sizeof *entries);

    if (entries == NULL)
        return -ENOMEM;
    timers->entries = entries;
    timers->capacity = capacity;
    return 0;
}

/* Takes the dead ones from the top. */
static void bare_top(struct yk_timers *timers)
{
    while (timers->n > 0 && timers->entries[0].timer == NULL) {
        struct yk_timer_entry last = timers->entries[--timers->n];

        timers->dead--;
        if (timers->n > 0)
            sift_down(timers, 0, last);
    }
}

/* An armed timer gets another deadline. */
static void move(struct yk_timers *timers, size_t i, struct yk_timer_entry entry)
{
    entry.timer->deadline_ns = entry.deadline_ns;
    if (i > 0 && timers->entries[(i - 1) / 4].deadline_ns > entry.deadline_ns)
        sift_up(timers, i, entry);
    else
        sift_down(timers, i, entry);
    bare_top(timers);
}

int yk_timer_arm(struct yk_timers *timers, struct yk_timer *timer, int64_t deadline_ns)
{
    struct yk_timer_entry entry = {deadline_ns, timer};

    if (timer->place != 0) {
        move(timers, timer->place - 1, entry);
        return 0;
    }
    if (timers->n == timers->capacity && grow(timers) < 0)
        return -ENOMEM;
    timer->deadline_ns = deadline_ns;
    sift_up(timers, timers->n++, entry);
    return 0;
}

/* Throws all dead ones out, and makes a heap of the others. */
static void compact(struct yk_timers *timers)
{
    size_t n = 0;

    for (size_t i = 0; i < timers->n; i++)
        if (timers->entries[i].timer != NULL)
            place(timers, n++, timers->entries[i]);
    timers->n = n;
    timers->dead = 0;
    for (size_t i = n / 4 + 1; i-- > 0;)
        if (i < n)
            sift_down(timers, i, timers->entries[i]);
}

void yk_timer_disarm(struct yk_timers *timers, struct yk_timer *timer)
{
    size_t i = timer->place - 1;

    if (timer->place == 0)
        return;
    yk_assert(timers->entries[i].timer == timer);
    timer->place = 0;
    if (i == timers->n - 1) {
        timers->n--;
        return;
    }
    timers->entries[i].timer = NULL;
    timers->dead++;
    if (timers->dead >= COMPACT_MIN && timers->dead > timers->n / 2)
        compact(timers);
    bare_top(timers);
}

void yk_timers_expire(struct yk_timers *timers, int64_t now_ns)
{
    while (timers->n > 0 && timers->entries[0].deadline_ns <= now_ns) {
        struct yk_timer *timer = timers->entries[0].timer;

        yk_timer_disarm(timers, timer);
        timer->expired(timer);
    }
}
