/* SPDX-License-Identifier: MIT */
/* The simulated world without actors: links between runtimes, turns, kills, time; many seeds. */
#include "sim/world.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <yoke/error.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/task.h>

#include "sim/net.h"

enum { SEEDS = 200, MESSAGES = 40 };

/* One side of a connection between two processes. */
struct side {
    struct sim_process *process;
    int number;
    struct yk_link link;
    int received, status;
    bool in_order, ended;
    int64_t ended_ns;
};

static int ended(struct sim_process *process, int rc)
{
    struct side *side = process->program.arg;

    if (yoke_in_flight() != NULL)
        yoke_clear();
    side->ended = true;
    side->ended_ns = process->ghost ? 0 : process->world->now_ns;
    side->status = rc;
    return rc < 0 ? 1 : 0;
}

static int send_all(struct side *side)
{
    struct yk_message message = {.type = YK_YIELD, .as.payload = {.cid = "c"}};
    int rc = 0;

    for (int i = 0; rc == 0 && i < MESSAGES; i++) {
        message.as.payload.pld = yoke_int(i);
        rc = yk_link_wait_room(&side->link);
        if (rc == 0)
            rc = yk_link_send(&side->link, &message);
    }
    return rc;
}

static int with_writer(struct side *side, int (*body)(struct side *side))
{
    struct yoke_nursery nursery;
    int rc = yk_link_init(&side->link, &sim_link, side->number);

    if (rc < 0)
        return rc;
    rc = yoke_nursery_open(&nursery, NULL);
    if (rc == 0)
        rc = yoke_spawn(&nursery, yk_link_writer, &side->link);
    if (rc == 0)
        rc = body(side);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "done");
    rc = yoke_nursery_close(&nursery, rc);
    yk_link_fini(&side->link);
    return rc;
}

static int sender(void *arg)
{
    return with_writer(arg, send_all);
}

static int sender_that_stays(void *arg)
{
    int rc = with_writer(arg, send_all);

    return rc < 0 ? rc : yoke_sleep_forever();
}

static int receive_all(struct side *side)
{
    struct yk_message message;
    int rc;

    side->in_order = true;
    while ((rc = yk_link_receive(&side->link, &message)) > 0)
        if (message.as.payload.pld.as.integer != side->received++)
            side->in_order = false;
    return rc;
}

static int receiver(void *arg)
{
    return with_writer(arg, receive_all);
}

/* A sender and a receiver in two processes, until both have ended. */
static int run_two(struct sim_world *world, yoke_task_fn send, struct side *a, struct side *b)
{
    struct sim_program programs[] = {
        {.name = "a", .fn = send, .arg = a, .ended = ended},
        {.name = "b", .fn = receiver, .arg = b, .ended = ended},
    };

    memset(a, 0, sizeof *a);
    memset(b, 0, sizeof *b);
    a->process = sim_process_new(world, NULL, 0, &programs[0]);
    b->process = sim_process_new(world, NULL, 1, &programs[1]);
    assert_int_equal(sim_connect(a->process, b->process, &a->number, &b->number), 0);
    return sim_run(world);
}

static void everything_arrives_in_order_under_every_seed(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_world world;
        struct side a, b;

        sim_world_init(&world, seed);
        assert_int_equal(run_two(&world, sender, &a, &b), 0);
        assert_int_equal(b.received, MESSAGES);
        assert_true(b.in_order && a.ended && b.ended);
        assert_int_equal(b.status, 0);
        sim_world_fini(&world);
    }
}

static void one_seed_is_one_run(void **state)
{
    uint64_t turns[2];
    int64_t times[2];
    unsigned different = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (int i = 0; i < 2; i++) {
            struct sim_world world;
            struct side a, b;

            sim_world_init(&world, seed);
            assert_int_equal(run_two(&world, sender, &a, &b), 0);
            different += i == 0 && seed > 0 && world.turns != turns[0];
            turns[i] = world.turns;
            times[i] = world.now_ns;
            sim_world_fini(&world);
        }
        assert_int_equal(turns[0], turns[1]);
        assert_int_equal(times[0], times[1]);
    }
    assert_true(different > 10); /* and another seed is another one */
}

struct blow {
    struct sim_event event;
    struct sim_process *victim;
};

static void kill_victim(struct sim_event *event)
{
    struct blow *blow = yk_container_of(event, struct blow, event);

    sim_process_signal(blow->victim, SIGKILL, NULL);
}

/* Whatever of it was under way arrives; then the end. And nothing of it is left in memory. */
static void a_killed_process_ends_its_connections_and_leaves_nothing(void **state)
{
    struct yoke_error_stats before, after;

    (void)state;
    yoke_error_stats(&before);
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_world world;
        struct side a, b;
        struct blow blow = {.event.run = kill_victim};
        struct sim_program programs[] = {
            {.name = "a", .fn = sender_that_stays, .arg = &a, .ended = ended},
            {.name = "b", .fn = receiver, .arg = &b, .ended = ended},
        };

        memset(&a, 0, sizeof a);
        memset(&b, 0, sizeof b);
        sim_world_init(&world, seed);
        a.process = sim_process_new(&world, NULL, 0, &programs[0]);
        b.process = sim_process_new(&world, NULL, 1, &programs[1]);
        assert_int_equal(sim_connect(a.process, b.process, &a.number, &b.number), 0);
        blow.victim = a.process;
        yk_list_init(&blow.event.node);
        sim_at(&world, &blow.event, world.now_ns + (int64_t)(seed % 4) * YOKE_MS(1));
        assert_int_equal(sim_run(&world), 0);
        assert_true(b.ended && b.in_order);
        assert_true(b.received <= MESSAGES);
        sim_world_fini(&world);
    }
    yoke_error_stats(&after);
    assert_int_equal(after.live, before.live);
    assert_int_equal(after.lost, before.lost);
}

/* --- a parent and its child ------------------------------------------------------------------- */

static int sleep_forever(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

struct parent {
    struct side child;
    struct yk_watch watch;
    struct yoke_event gone;
    struct yk_process process;
    struct yk_exit exit;
};

static void child_gone(struct yk_watch *watch, unsigned events)
{
    (void)events;
    yoke_event_set(&yk_container_of(watch, struct parent, watch)->gone);
}

static int kill_and_reap(void *arg)
{
    struct parent *parent = arg;
    struct sim_process *self = sim_process_self();
    struct sim_program program = {.name = "child",
                                  .fn = sleep_forever,
                                  .arg = &parent->child,
                                  .ended = ended};
    struct sim_process *child = sim_process_new(self->world, self, 0, &program);
    const struct yk_host_ops *ops = self->host.ops;
    int rc = sim_process_adopt(self, child, &parent->process);

    yoke_event_init(&parent->gone);
    parent->watch = (struct yk_watch){.fd = parent->process.pidfd, .ready = child_gone};
    assert_int_equal(ops->watch_add(&self->host, &parent->watch), 0);
    if (rc == 0)
        rc = yoke_sleep(YOKE_MS(5));
    assert_int_equal(ops->reap(&self->host, &parent->process, &parent->exit), 0);
    assert_int_equal(ops->kill(&self->host, &parent->process, SIGKILL), 0);
    while (rc == 0 && ops->reap(&self->host, &parent->process, &parent->exit) == 0)
        rc = yoke_event_wait(&parent->gone);
    ops->watch_remove(&self->host, &parent->watch);
    sim_descriptor_close(sim_descriptor_of(self, parent->process.pidfd));
    return rc;
}

static int parent_ended(struct sim_process *process, int rc)
{
    (void)process;
    return rc;
}

static void a_parent_sees_how_its_child_ended_and_reaps_it(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct sim_world world;
        struct parent parent;
        struct sim_program program = {.name = "parent",
                                      .fn = kill_and_reap,
                                      .arg = &parent,
                                      .ended = parent_ended};

        memset(&parent, 0, sizeof parent);
        sim_world_init(&world, seed);
        sim_process_new(&world, NULL, 0, &program);
        assert_int_equal(sim_run(&world), 0);
        assert_true(WIFSIGNALED(parent.exit.status));
        assert_int_equal(WTERMSIG(parent.exit.status), SIGKILL);
        sim_world_fini(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_arrives_in_order_under_every_seed),
        cmocka_unit_test(one_seed_is_one_run),
        cmocka_unit_test(a_killed_process_ends_its_connections_and_leaves_nothing),
        cmocka_unit_test(a_parent_sees_how_its_child_ended_and_reaps_it),
    };

    return cmocka_run_group_tests_name("world", tests, NULL, NULL);
}
