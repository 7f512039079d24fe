/* SPDX-License-Identifier: MIT */
/*
 * 4-ary heap. `place` of a timer is its index plus one; zero means not armed. Equal deadlines
 * expire in no particular order. Callbacks may arm and disarm timers.
 */
#include "task/timer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/memory.h"

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

int yk_timer_arm(struct yk_timers *timers, struct yk_timer *timer, int64_t deadline_ns)
{
    struct yk_timer_entry entry = {deadline_ns, timer};

    if (timer->place == 0 && timers->n == timers->capacity && grow(timers) < 0)
        return -ENOMEM;
    yk_timer_disarm(timers, timer);
    timer->deadline_ns = deadline_ns;
    sift_up(timers, timers->n++, entry);
    return 0;
}

void yk_timer_disarm(struct yk_timers *timers, struct yk_timer *timer)
{
    size_t i = timer->place - 1;
    struct yk_timer_entry last;

    if (timer->place == 0)
        return;
    yk_assert(timers->entries[i].timer == timer);
    timer->place = 0;
    last = timers->entries[--timers->n];
    if (i == timers->n)
        return;
    if (i > 0 && timers->entries[(i - 1) / 4].deadline_ns > last.deadline_ns)
        sift_up(timers, i, last);
    else
        sift_down(timers, i, last);
}

void yk_timers_expire(struct yk_timers *timers, int64_t now_ns)
{
    while (timers->n > 0 && timers->entries[0].deadline_ns <= now_ns) {
        struct yk_timer *timer = timers->entries[0].timer;

        yk_timer_disarm(timers, timer);
        timer->expired(timer);
    }
}
