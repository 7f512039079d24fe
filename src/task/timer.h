/* SPDX-License-Identifier: MIT */
/*
 * The timers of a runtime: a 4-ary heap with inline keys, so that sifting touches one array and
 * beside it the places of the entries, never a timer: those lie in the cold stacks of tasks. A
 * timer that is disarmed leaves its entry behind, dead, until it comes to the top or half are dead,
 * since most deadlines never come.
 */
#ifndef YK_TASK_TIMER_H
#define YK_TASK_TIMER_H

#include <yoke/scope.h> /* struct yk_timer */

struct yk_timer_entry {
    int64_t deadline_ns;
    size_t slot; /* of its timer, from 1; 0: it is dead */
};

struct yk_timer_slot {
    struct yk_timer *timer;
    size_t i; /* of its entry; in a free slot the next free one, from 1 */
};

struct yk_timers {
    struct yk_timer_entry *entries; /* the root at 0 */
    struct yk_timer_slot *slots;    /* one for each live entry; slot s is at s - 1 */
    size_t n;                       /* entries */
    size_t dead;
    size_t slot_n; /* used so far, free ones among them */
    size_t free_slot;
    size_t capacity; /* of both arrays */
};

void yk_timers_fini(struct yk_timers *timers);

/* Arms it, or moves it if it is armed. 0; -ENOMEM: it is as it was. */
int yk_timer_arm(struct yk_timers *timers, struct yk_timer *timer, int64_t deadline_ns);
void yk_timer_disarm(struct yk_timers *timers, struct yk_timer *timer); /* fine if not armed */

int64_t yk_timers_next(struct yk_timers *timers); /* the earliest deadline; YOKE_NEVER: none */

/* Disarms and calls every timer with deadline <= now, earliest first. */
void yk_timers_expire(struct yk_timers *timers, int64_t now_ns);

#endif
