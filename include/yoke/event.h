/* SPDX-License-Identifier: MIT */
/* Events: a flag that tasks wait for. Once set it stays set; trio's Event. One runtime only. */
#ifndef YOKE_EVENT_H
#define YOKE_EVENT_H

#include <yoke/common.h>

YOKE_BEGIN

struct yoke_event { /* in place; every field is private */
    struct yk_list waiters;
    bool set;
};

YOKE_API void yoke_event_init(struct yoke_event *event);

/* Sets it and wakes all waiters; never blocks; setting twice is fine. */
YOKE_API void yoke_event_set(struct yoke_event *event);
YOKE_API bool yoke_event_is_set(const struct yoke_event *event);

/* How many tasks wait for it, counted by walking the queue. */
YOKE_API size_t yoke_event_waiting(const struct yoke_event *event);

/* Waits until it is set; a checkpoint. 0 or YOKE_CANCELLED. */
YOKE_API YOKE_MUST_CHECK int yoke_event_wait(struct yoke_event *event);

YOKE_END
#endif
