/* SPDX-License-Identifier: MIT */
/* The clock, the choices, and who has a turn. */
#include "sim/world.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "sim/process.h"

void sim_world_init(struct sim_world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->now_ns = YOKE_S(1);
    world->last_pid = 100;
    world->limits = (struct sim_limits){
        .delay_ns = YOKE_MS(1),
        .switches = 4,
        .turns = 200000,
    };
    yk_random_seed(&world->random, seed);
    yk_list_init(&world->events);
    yk_list_init(&world->processes);
}

void sim_world_fini(struct sim_world *world)
{
    yk_assert(yk_list_empty(&world->processes));
    yk_assert(yk_list_empty(&world->events));
}

unsigned sim_choose(struct sim_world *world, unsigned n, const char *what)
{
    unsigned choice;

    if (n < 2)
        return 0;
    choice = world->choose != NULL ? world->choose(world->choose_arg, n, what)
                                   : (unsigned)(yk_random_next(&world->random) % n);
    yk_assert(choice < n);
    return choice;
}

void sim_at(struct sim_world *world, struct sim_event *event, int64_t at_ns)
{
    struct yk_list *before = &world->events;

    event->at_ns = at_ns > world->now_ns ? at_ns : world->now_ns;
    /* From behind: most events are later than all others. Equal times stay in order. */
    yk_list_for_each (node, &world->events) {
        if (yk_container_of(node, struct sim_event, node)->at_ns > event->at_ns) {
            before = node;
            break;
        }
    }
    yk_list_append(before, &event->node);
}

void sim_event_cancel(struct sim_event *event)
{
    yk_list_remove(&event->node);
}

static int64_t next_time(struct sim_world *world)
{
    int64_t next = YOKE_NEVER;

    if (!yk_list_empty(&world->events))
        next = yk_container_of(world->events.next, struct sim_event, node)->at_ns;
    yk_list_for_each (node, &world->processes) {
        int64_t at = sim_process_next(yk_container_of(node, struct sim_process, in_world));

        if (at < next)
            next = at;
    }
    return next;
}

/* Moves the clock to the next thing that happens, and lets all events of that time happen. */
static bool advance(struct sim_world *world)
{
    int64_t next = next_time(world);

    if (next == YOKE_NEVER)
        return false;
    if (next > world->now_ns)
        world->now_ns = next;
    while (!yk_list_empty(&world->events)) {
        struct sim_event *event = yk_container_of(world->events.next, struct sim_event, node);

        if (event->at_ns > world->now_ns)
            break;
        yk_list_remove(&event->node);
        event->run(event);
    }
    return true;
}

static unsigned runnable(struct sim_world *world, struct sim_process **ret, unsigned max)
{
    unsigned n = 0;

    yk_list_for_each (node, &world->processes) {
        struct sim_process *process = yk_container_of(node, struct sim_process, in_world);

        if (n < max && sim_process_runnable(process))
            ret[n++] = process;
    }
    return n;
}

int sim_run(struct sim_world *world)
{
    struct sim_process *ready[64];

    while (!yk_list_empty(&world->processes)) {
        unsigned n = runnable(world, ready, sizeof ready / sizeof *ready);
        /* Time may also pass while somebody has work to do: that one is slow. */
        bool slow = n > 0 && next_time(world) != YOKE_NEVER &&
                    sim_choose(world, 8, "does time pass first") == 7;

        if (world->turns++ >= world->limits.turns)
            return -ETIME;
        if (n > 0 && !slow)
            sim_process_turn(ready[sim_choose(world, n, "whose turn")]);
        else if (!advance(world))
            return -EDEADLK;
    }
    return 0;
}
