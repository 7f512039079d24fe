/* SPDX-License-Identifier: MIT */
/* An instrument is told of every event of a task's life, in order, and changes nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <yoke/event.h>
#include <yoke/instrument.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>

/* What was told of tasks with this name, one letter an event. */
struct record {
    const char *name;
    char events[128];
    unsigned io_waits, io_waits_over, steps_open;
    int rc;
    char waited_for[64];
    char reason[64];
    char delivered_reason[64];
};

static void add(struct record *record, const struct yoke_task_info *task, char letter)
{
    size_t n = strlen(record->events);

    if (strcmp(task->name, record->name) == 0 && n + 1 < sizeof record->events)
        record->events[n] = letter;
}

static void spawned(void *arg, const struct yoke_task_info *task)
{
    add(arg, task, 's');
}

static void before_step(void *arg, const struct yoke_task_info *task)
{
    struct record *record = arg;

    record->steps_open++;
    add(record, task, '(');
}

static void after_step(void *arg, const struct yoke_task_info *task)
{
    struct record *record = arg;

    record->steps_open--;
    add(record, task, ')');
}

static void parked(void *arg, const struct yoke_task_info *task)
{
    struct record *record = arg;

    add(record, task, 'p');
    if (strcmp(task->name, record->name) == 0)
        snprintf(record->waited_for, sizeof record->waited_for, "%s", task->waiting_for);
}

static void woken(void *arg, const struct yoke_task_info *task, int rc)
{
    add(arg, task, rc == 0 ? 'w' : 'W');
}

static void exited(void *arg, const struct yoke_task_info *task, int rc)
{
    struct record *record = arg;

    add(record, task, 'e');
    if (strcmp(task->name, record->name) == 0)
        record->rc = rc;
}

static void requested(void *arg, const struct yoke_cause *cause)
{
    struct record *record = arg;

    if (yoke_cause_reason(cause)[0] != '\0' && record->reason[0] == '\0')
        snprintf(record->reason, sizeof record->reason, "%s", yoke_cause_reason(cause));
}

static void delivered(void *arg, const struct yoke_task_info *task, const struct yoke_cause *cause)
{
    struct record *record = arg;

    add(record, task, 'd');
    snprintf(record->delivered_reason, sizeof record->delivered_reason, "%s",
             yoke_cause_reason(cause));
}

static void before_io(void *arg, int64_t until_ns)
{
    struct record *record = arg;

    (void)until_ns;
    record->io_waits++;
}

static void after_io(void *arg)
{
    struct record *record = arg;

    record->io_waits_over++;
}

static struct yoke_instrument instrument_of(struct record *record)
{
    return (struct yoke_instrument){
        .arg = record,
        .task_spawned = spawned,
        .before_task_step = before_step,
        .after_task_step = after_step,
        .task_parked = parked,
        .task_woken = woken,
        .task_exited = exited,
        .cancel_requested = requested,
        .cancel_delivered = delivered,
        .before_io_wait = before_io,
        .after_io_wait = after_io,
    };
}

static int watched(void *arg)
{
    int rc = yoke_checkpoint();

    return rc < 0 ? rc : yoke_event_wait(arg);
}

static int set_it(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    int rc = yoke_nursery_open(&nursery, NULL);

    (void)arg;
    yoke_event_init(&event);
    if (rc == 0)
        rc = yoke_spawn(&nursery, watched, &event);
    if (rc == 0)
        rc = yoke_sleep(YOKE_MS(1));
    yoke_event_set(&event);
    return yoke_nursery_close(&nursery, rc);
}

static int cancel_it(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    int rc = yoke_nursery_open(&nursery, NULL);

    (void)arg;
    yoke_event_init(&event);
    if (rc == 0)
        rc = yoke_spawn(&nursery, watched, &event);
    if (rc == 0)
        rc = yoke_sleep(YOKE_MS(1));
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    return yoke_nursery_close(&nursery, rc);
}

static void run_recorded(yoke_task_fn fn, struct record *record)
{
    struct yoke_instrument instrument = instrument_of(record);
    struct yoke_host *host = yoke_host_sim_new(1);
    struct yoke_run_opts opts = {.host = host, .instrument = &instrument};

    assert_non_null(host);
    assert_int_equal(yoke_run(fn, NULL, &opts), 0);
    yoke_host_free(host);
}

static void a_life_is_told_from_spawn_to_exit_in_steps(void **state)
{
    struct record record = {.name = "watched", .rc = -1};

    (void)state;
    run_recorded(set_it, &record);
    /* The checkpoint ends a step without parking; the wait parks, and is woken. */
    assert_string_equal(record.events, "s()(p)w(e)");
    assert_string_equal(record.waited_for, "event");
    assert_int_equal(record.rc, 0);
    assert_int_equal(record.steps_open, 0);
    assert_true(record.io_waits >= 2);
    assert_int_equal(record.io_waits, record.io_waits_over);
}

static void a_cancellation_is_told_when_requested_and_when_delivered(void **state)
{
    struct record record = {.name = "watched"};

    (void)state;
    run_recorded(cancel_it, &record);
    assert_string_equal(record.events, "s()(p)dW(e)");
    assert_string_equal(record.reason, "enough");
    assert_string_equal(record.delivered_reason, "enough");
    assert_int_equal(record.rc, YOKE_CANCELLED);
}

static void an_instrument_without_functions_is_fine(void **state)
{
    struct yoke_instrument none = {.arg = NULL};
    struct yoke_host *host = yoke_host_sim_new(1);
    struct yoke_run_opts opts = {.host = host, .instrument = &none};

    (void)state;
    assert_non_null(host);
    assert_int_equal(yoke_run(cancel_it, NULL, &opts), 0);
    yoke_host_free(host);
}

/* The order in which two tasks run, by their turns. */
struct turns {
    char text[64];
};

static int take_turns(struct turns *turns, char letter)
{
    int rc = 0;

    for (int i = 0; i < 10 && rc == 0; i++) {
        turns->text[strlen(turns->text)] = letter;
        rc = yoke_checkpoint();
    }
    return rc;
}

static int turn_a(void *arg)
{
    return take_turns(arg, 'a');
}

static int turn_b(void *arg)
{
    return take_turns(arg, 'b');
}

static int two_turns(void *arg)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, turn_a, arg);
    if (rc == 0)
        rc = yoke_spawn(&nursery, turn_b, arg);
    return yoke_nursery_close(&nursery, rc);
}

static void tasks_run_in_the_same_order_with_an_instrument_and_without(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct turns plain = {""}, instrumented = {""};
        struct record record = {.name = "turn_a"};
        struct yoke_instrument instrument = instrument_of(&record);
        struct yoke_run_opts opts = {.shuffle = true, .seed = seed};

        opts.host = yoke_host_sim_new(seed);
        assert_int_equal(yoke_run(two_turns, &plain, &opts), 0);
        yoke_host_free(opts.host);
        opts.host = yoke_host_sim_new(seed);
        opts.instrument = &instrument;
        assert_int_equal(yoke_run(two_turns, &instrumented, &opts), 0);
        yoke_host_free(opts.host);
        assert_string_equal(plain.text, instrumented.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_life_is_told_from_spawn_to_exit_in_steps),
        cmocka_unit_test(a_cancellation_is_told_when_requested_and_when_delivered),
        cmocka_unit_test(an_instrument_without_functions_is_fine),
        cmocka_unit_test(tasks_run_in_the_same_order_with_an_instrument_and_without),
    };

    return cmocka_run_group_tests_name("instrument", tests, NULL, NULL);
}
