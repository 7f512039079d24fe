/* SPDX-License-Identifier: MIT */
/*
 * 4-ary heap. `place` of a timer is its slot, which stays the same while it is armed; the slot
 * knows the entry. Equal deadlines expire in no particular order. Callbacks may arm and disarm
 * timers. The dead are thrown out when half are dead, or one at the top is in the way of who asks
 * for the next deadline: so disarming all of many timers, earliest first, does not sift at all.
 */
#include "task/timer.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/memory.h"

enum { COMPACT_MIN = 64 }; /* dead entries below which a walk over all is not worth it */

void yk_timers_fini(struct yk_timers *timers)
{
    yk_assert(timers->n == timers->dead);
    free(timers->entries);
    free(timers->slots);
    timers->entries = NULL;
    timers->slots = NULL;
    timers->n = 0;
    timers->dead = 0;
    timers->capacity = 0;
    timers->slot_n = 0;
    timers->free_slot = 0;
}

static void place(struct yk_timers *timers, size_t i, struct yk_timer_entry entry)
{
    timers->entries[i] = entry;
    if (entry.slot != 0)
        timers->slots[entry.slot - 1].i = i;
}

/* There is room for one more. */
static size_t take_slot(struct yk_timers *timers, struct yk_timer *timer)
{
    size_t slot = timers->free_slot;

    if (slot != 0)
        timers->free_slot = timers->slots[slot - 1].i;
    else
        slot = ++timers->slot_n;
    timers->slots[slot - 1].timer = timer;
    return slot;
}

static void free_slot(struct yk_timers *timers, size_t slot)
{
    timers->slots[slot - 1].i = timers->free_slot;
    timers->free_slot = slot;
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
    struct yk_timer_slot *slots;

    if (entries == NULL)
        return -ENOMEM;
    timers->entries = entries; /* longer than `capacity` says if the other fails: no harm */
    slots = yk_realloc(timers->slots, capacity * sizeof *slots);
    if (slots == NULL)
        return -ENOMEM;
    timers->slots = slots;
    timers->capacity = capacity;
    return 0;
}

static void pop_top(struct yk_timers *timers)
{
    struct yk_timer_entry last = timers->entries[--timers->n];

    if (timers->n > 0)
        sift_down(timers, 0, last);
}

/* Takes the dead ones from the top. */
static void bare_top(struct yk_timers *timers)
{
    while (timers->n > 0 && timers->entries[0].slot == 0) {
        timers->dead--;
        pop_top(timers);
    }
}

int64_t yk_timers_next(struct yk_timers *timers)
{
    bare_top(timers);
    return timers->n == 0 ? YOKE_NEVER : timers->entries[0].deadline_ns;
}

/* An armed timer gets another deadline. */
static void move(struct yk_timers *timers, size_t i, struct yk_timer_entry entry)
{
    if (i > 0 && timers->entries[(i - 1) / 4].deadline_ns > entry.deadline_ns)
        sift_up(timers, i, entry);
    else
        sift_down(timers, i, entry);
}

int yk_timer_arm(struct yk_timers *timers, struct yk_timer *timer, int64_t deadline_ns)
{
    struct yk_timer_entry entry = {deadline_ns, timer->place};

    if (timer->place == 0 && timers->n == timers->capacity && grow(timers) < 0)
        return -ENOMEM;
    timer->deadline_ns = deadline_ns;
    if (timer->place != 0) {
        move(timers, timers->slots[timer->place - 1].i, entry);
        return 0;
    }
    entry.slot = take_slot(timers, timer);
    timer->place = entry.slot;
    sift_up(timers, timers->n++, entry);
    return 0;
}

/* Throws all dead ones out, and makes a heap of the others. */
static void compact(struct yk_timers *timers)
{
    size_t n = 0;

    for (size_t i = 0; i < timers->n; i++)
        if (timers->entries[i].slot != 0)
            place(timers, n++, timers->entries[i]);
    timers->n = n;
    timers->dead = 0;
    for (size_t i = n / 4 + 1; i-- > 0;)
        if (i < n)
            sift_down(timers, i, timers->entries[i]);
}

/* Its slot is nobody's from here on; the entry is the caller's to deal with. */
static void leave_slot(struct yk_timers *timers, struct yk_timer *timer)
{
    free_slot(timers, timer->place);
    timer->place = 0;
}

void yk_timer_disarm(struct yk_timers *timers, struct yk_timer *timer)
{
    size_t slot = timer->place;
    size_t i;

    if (slot == 0)
        return;
    i = timers->slots[slot - 1].i;
    yk_assert(timers->entries[i].slot == slot && timers->slots[slot - 1].timer == timer);
    leave_slot(timers, timer);
    if (i == timers->n - 1) {
        timers->n--;
        return;
    }
    timers->entries[i].slot = 0;
    timers->dead++;
    if (timers->dead >= COMPACT_MIN && timers->dead > timers->n / 2)
        compact(timers);
}

void yk_timers_expire(struct yk_timers *timers, int64_t now_ns)
{
    while (yk_timers_next(timers) <= now_ns) {
        struct yk_timer *timer = timers->slots[timers->entries[0].slot - 1].timer;

        leave_slot(timers, timer);
        pop_top(timers);
        timer->expired(timer);
    }
}
