/* SPDX-License-Identifier: MIT */
/* The heap of timers, against a plain array that is searched; every operation in drawn order. */
#include "task/timer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/random.h"

enum { TIMERS = 300, STEPS = 20000, SPAN = 500 };

struct model {
    struct yk_timer timer;
    bool armed;
    bool fired;
};

static struct yk_timers heap;
static struct model models[TIMERS];
static int64_t last_fired_ns;
static size_t fired_n;

static void note_fired(struct yk_timer *timer)
{
    struct model *model = yk_container_of(timer, struct model, timer);

    assert_true(model->armed);
    assert_int_equal(timer->place, 0); /* disarmed before it is told */
    assert_true(timer->deadline_ns >= last_fired_ns);
    last_fired_ns = timer->deadline_ns;
    model->armed = false;
    model->fired = true;
    fired_n++;
}

static int64_t earliest(void)
{
    int64_t deadline = YOKE_NEVER;

    for (size_t i = 0; i < TIMERS; i++)
        if (models[i].armed && models[i].timer.deadline_ns < deadline)
            deadline = models[i].timer.deadline_ns;
    return deadline;
}

static void expire_until(int64_t now_ns)
{
    size_t due = 0;

    for (size_t i = 0; i < TIMERS; i++)
        due += models[i].armed && models[i].timer.deadline_ns <= now_ns;
    fired_n = 0;
    last_fired_ns = 0;
    yk_timers_expire(&heap, now_ns);
    assert_int_equal(fired_n, due);
    assert_true(earliest() > now_ns);
}

static int set_up(void **state)
{
    (void)state;
    heap = (struct yk_timers){.n = 0};
    for (size_t i = 0; i < TIMERS; i++)
        models[i] = (struct model){.timer.expired = note_fired};
    return 0;
}

static void the_heap_always_knows_the_earliest_deadline(void **state)
{
    struct yk_random random;
    int64_t now = 0;

    (void)state;
    yk_random_seed(&random, 42);
    for (int step = 0; step < STEPS; step++) {
        uint64_t drawn = yk_random_next(&random);
        struct model *model = &models[(drawn >> 8) % TIMERS];

        if (drawn % 8 < 5) {
            int64_t deadline = now + 1 + (int64_t)((drawn >> 32) % SPAN);

            assert_int_equal(yk_timer_arm(&heap, &model->timer, deadline), 0); /* or moved */
            model->armed = true;
        } else if (drawn % 8 < 7) {
            yk_timer_disarm(&heap, &model->timer);
            model->armed = false;
        } else {
            now += (int64_t)((drawn >> 32) % 20);
            expire_until(now);
        }
        assert_int_equal(yk_timers_next(&heap), earliest());
    }
    expire_until(now + SPAN);
    assert_int_equal(heap.n, 0);
    yk_timers_fini(&heap);
}

static void disarming_what_is_not_armed_does_nothing(void **state)
{
    (void)state;
    yk_timer_disarm(&heap, &models[0].timer);
    assert_int_equal(yk_timer_arm(&heap, &models[0].timer, 5), 0);
    yk_timer_disarm(&heap, &models[0].timer);
    yk_timer_disarm(&heap, &models[0].timer);
    assert_int_equal(yk_timers_next(&heap), YOKE_NEVER);
    yk_timers_expire(&heap, 10);
    assert_false(models[0].fired);
    yk_timers_fini(&heap);
}

static void arm_the_other(struct yk_timer *timer)
{
    bool first = timer == &models[0].timer;

    models[first ? 0 : 1].fired = true;
    if (first) {
        yk_timer_disarm(&heap, &models[2].timer);
        assert_int_equal(yk_timer_arm(&heap, &models[1].timer, 3), 0);
    }
}

static void a_timer_may_arm_and_disarm_others_when_it_expires(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        models[i].timer.expired = arm_the_other;
    assert_int_equal(yk_timer_arm(&heap, &models[0].timer, 5), 0);
    assert_int_equal(yk_timer_arm(&heap, &models[2].timer, 6), 0);
    yk_timers_expire(&heap, 10);
    assert_true(models[0].fired && models[1].fired); /* what was armed for the past expires too */
    assert_int_equal(heap.n, 0);
    yk_timers_fini(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_heap_always_knows_the_earliest_deadline, set_up),
        cmocka_unit_test_setup(disarming_what_is_not_armed_does_nothing, set_up),
        cmocka_unit_test_setup(a_timer_may_arm_and_disarm_others_when_it_expires, set_up),
    };

    return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
