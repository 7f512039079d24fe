/* SPDX-License-Identifier: MIT */
/* The task tree tells of every task what it does, where and why; and of every scope. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/channel.h>
#include <yoke/dump.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "task/dump.h"

#include "task/coro.h" /* YK_TSAN */

/* The dump of the calling task's runtime, malloc'ed. */
static char *dumped(int flags)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    yk_check(stream != NULL);
    yk_check_int(yoke_dump(stream, flags), 0);
    yk_check_int(fclose(stream), 0);
    return text;
}

#define check_says(text, part) check_says_at(__LINE__, (text), (part), true)
#define check_not(text, part)  check_says_at(__LINE__, (text), (part), false)
static void check_says_at(int line, const char *text, const char *part, bool says)
{
    if ((strstr(text, part) != NULL) != says)
        yk_check_failed(__FILE__, line, "\"%s\" is %s in:\n%s", part, says ? "not" : "", text);
}

/* That `before` comes ahead of `after`. */
static void check_order(const char *text, const char *before, const char *after)
{
    const char *first = strstr(text, before);

    yk_check(first != NULL && strstr(first, after) != NULL);
}

static int wait_for_event(void *arg)
{
    return yoke_event_wait(arg);
}

static int sleep_behind_a_shield(void *arg)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "careful",
                                                               .shield = true,
                                                               .timeout_ns = YOKE_S(9)});

    if (rc == 0)
        rc = yoke_event_wait(arg);
    return yoke_scope_close(&scope, rc);
}

YK_SIM_TEST(every_task_is_below_its_nursery_with_what_it_waits_for_and_since_when)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    char *text;

    yoke_event_init(&event);
    yk_check_int(yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "jobs"}), 0);
    yk_check_int(yoke_spawn_with(&nursery, wait_for_event, &event,
                                 &(struct yoke_task_opts){.name = "first"}),
                 0);
    yk_check_int(yoke_spawn(&nursery, sleep_behind_a_shield, &event), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(yoke_sleep(YOKE_MS(2500)), 0);
    text = dumped(0);
    check_says(text, "task tree of root[");
    check_says(text, ": 3 tasks\n");
    check_says(text, "\n  nursery \"jobs\" (");
    check_says(text, "\n    task first (");
    check_says(text, ") waits for event since 2.5 s, spawned at ");
    check_says(text, "dump_test.c:");
    check_says(text, "\n    task sleep_behind_a_shield (");
    check_says(text, "\n      scope \"careful\" (");
    check_says(text, ", deadline in 6.5 s, shield\n");
    check_says(text, ") runs, spawned at ");
    check_order(text, "nursery \"system\"", "nursery \"every_task");
    check_order(text, "nursery \"jobs\"", "task first");
    check_order(text, "task sleep_behind_a_shield", "scope \"careful\"");
    free(text);
    yoke_event_set(&event);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(a_backtrace_shows_where_a_parked_task_is_and_where_the_caller_is)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    char *text;

    yoke_event_init(&event);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_behind_a_shield, &event), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    text = dumped(0);
#ifdef YK_HAVE_LIBDW
    check_order(text, "task sleep_behind_a_shield", ", in sleep_behind_a_shield");
    check_order(text, ", in dumped", ", in init_task");
#endif
    free(text);
    text = dumped(YOKE_DUMP_NO_BACKTRACE);
    check_not(text, ", in sleep_behind_a_shield");
    free(text);
    yoke_event_set(&event);
    return yoke_nursery_close(&nursery, 0);
}

YK_SIM_TEST(an_error_in_flight_is_told)
{
    char *text;

    yoke_raise("app.BadJob", EINVAL, "job %d is not ok", 3);
    text = dumped(0);
    check_says(text, "in flight: app.BadJob: job 3 is not ok (EINVAL), raised at ");
    free(text);
    yk_check_caught("app.BadJob", NULL);
    (void)arg;
    return 0;
}

static int linger(void *arg)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true});

    yk_check_int(rc, 0);
    rc = yoke_scope_close(&scope, yoke_event_wait(arg));
    return rc < 0 ? rc : yoke_checkpoint();
}

YK_SIM_TEST(a_cancelled_scope_says_why_and_what_is_in_it_says_so)
{
    struct yoke_nursery nursery;
    struct yoke_scope inner;
    struct yoke_event event;
    char *text;
    int rc;

    yoke_event_init(&event);
    yk_check_int(yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "jobs"}), 0);
    yk_check_int(yoke_scope_open(&inner, &(struct yoke_scope_opts){.name = "inner"}), 0);
    yk_check_int(yoke_spawn(&nursery, linger, &event), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough of this");
    rc = yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    text = dumped(0);
    check_order(text, "nursery \"jobs\"", ", cancelled\n");
    check_order(text, ", cancelled\n", "enough of this");
    check_order(text, "scope \"inner\"", ", cancelled from around it\n");
    check_says(text, "in flight: cancelled\n");
    free(text);
    yoke_event_set(&event);
    rc = yoke_scope_close(&inner, rc);
    return yoke_nursery_close(&nursery, rc);
}

static int never_called(void *arg)
{
    (void)arg;
    return 0;
}

YK_SIM_TEST(a_new_task_has_not_run_yet)
{
    struct yoke_nursery nursery;
    char *text;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, never_called, arg), 0);
    text = dumped(YOKE_DUMP_STACKS);
    check_says(text, "task never_called (");
    check_says(text, ") has not run yet, spawned at ");
    check_says(text, ", stack ");
    free(text);
    return yoke_nursery_close(&nursery, 0);
}

/* Touches more of the stack than anything before it. */
static __attribute__((noinline)) void touch_32_kib(void)
{
    volatile char room[32 * 1024];

    for (size_t i = 0; i < sizeof room; i += 1024)
        room[i] = 1;
}

static int touch_then_wait(void *arg)
{
    touch_32_kib();
    return yoke_event_wait(arg);
}

/* "stack N of": of the task with this name. */
static unsigned long resident_kib(const char *text, const char *task)
{
    const char *line = strstr(text, task);
    const char *stack = line == NULL ? NULL : strstr(line, ", stack ");

    yk_check(stack != NULL);
    return stack == NULL ? 0 : strtoul(stack + strlen(", stack "), NULL, 10);
}

YK_SIM_TEST(the_census_of_stacks_tells_how_much_a_task_has_touched)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    char *text;

    yoke_event_init(&event);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, touch_then_wait, &event), 0);
    yk_check_int(yoke_spawn(&nursery, wait_for_event, &event), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    text = dumped(YOKE_DUMP_STACKS);
#ifndef YK_TSAN /* which moves what a function has on its stack elsewhere */
    yk_check(resident_kib(text, "task touch_then_wait (") >= 32);
#endif
    yk_check(resident_kib(text, "task wait_for_event (") < 32);
    free(text);
    yoke_event_set(&event);
    (void)arg;
    return yoke_nursery_close(&nursery, 0);
}

static int nest(void *arg)
{
    int *left = arg;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0 && --*left > 0)
        rc = yoke_spawn(&nursery, nest, left);
    else if (rc == 0) {
        char *text = dumped(YOKE_DUMP_NO_BACKTRACE);

        check_says(text, "(what is nested deeper is left out)");
        free(text);
    }
    return yoke_nursery_close(&nursery, rc);
}

YK_SIM_TEST(a_tree_that_is_deeper_than_can_be_shown_is_cut)
{
    int left = 2 * YK_DUMP_DEPTH_MAX;

    (void)arg;
    return nest(&left);
}

YK_SIM_TEST(json_has_every_task_and_scope_and_is_whole)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    char *text;

    yoke_event_init(&event);
    yk_check_int(yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "a \"b\"\n"}), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_behind_a_shield, &event), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    text = dumped(YOKE_DUMP_JSON | YOKE_DUMP_STACKS);
    check_says(text, "{\"actor\":{\"name\":\"root\",");
    check_says(text, "\"task_count\":2,");
    check_says(text, "\"name\":\"a \\\"b\\\"\\u000a\",\"nursery\":true");
    check_says(text, "\"state\":\"parked\",\"waiting_for\":\"event\",\"waiting_ns\":0,");
    check_says(text, "\"deadline_in_ns\":9000000000,");
    check_says(text, "\"in_flight\":null");
    yk_check(strcmp(text + strlen(text) - strlen("]}]}\n"), "]}]}\n") == 0);
    free(text);
    yoke_event_set(&event);
    (void)arg;
    return yoke_nursery_close(&nursery, 0);
}

static void outside_a_runtime_there_is_nothing_to_dump(void **state)
{
    (void)state;
    assert_int_equal(yoke_dump(stderr, 0), -EINVAL);
}

static void durations_are_told_in_units_that_fit(void **state)
{
    char text[YK_DURATION_SIZE];

    (void)state;
    yk_duration_text(YOKE_MS(350), text);
    assert_string_equal(text, "350 ms");
    yk_duration_text(-YOKE_MS(2170), text);
    assert_string_equal(text, "-2.1 s");
    yk_duration_text(YOKE_S(200), text);
    assert_string_equal(text, "3 min 20 s");
}

/* Each kind of wait of this layer, none of which can end. */
struct waits {
    struct yoke_channel *full, *empty;
    struct yoke_event event;
};

static int send(void *arg)
{
    int item = 1;

    return yoke_channel_send(arg, &item);
}

static int receive(void *arg)
{
    int item;

    return yoke_channel_receive(arg, &item);
}

static int sleep_for_ever(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

static int sleep_until_never(void *arg)
{
    (void)arg;
    return yoke_sleep_until(YOKE_NEVER);
}

static int report_late(void *arg)
{
    return yoke_event_wait(arg);
}

static int start(void *arg)
{
    struct waits *waits = arg;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_start(&nursery, report_late, &waits->event, NULL);
    return yoke_nursery_close(&nursery, rc);
}

static int wait_in_every_way(void *arg)
{
    struct waits waits = {.full = yoke_channel_new(sizeof(int), 1),
                          .empty = yoke_channel_new(sizeof(int), 1)};
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);
    int item = 0;

    (void)arg;
    yoke_event_init(&waits.event);
    yk_check_int(yoke_channel_send(waits.full, &item), 0);
    yk_check_int(yoke_spawn(&nursery, send, waits.full), 0);
    yk_check_int(yoke_spawn(&nursery, receive, waits.empty), 0);
    yk_check_int(yoke_spawn(&nursery, wait_for_event, &waits.event), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_for_ever, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, sleep_until_never, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, start, &waits), 0);
    yk_check_int(rc, 0);
    rc = yoke_nursery_close(&nursery, 0);
    yoke_channel_unref(waits.full);
    yoke_channel_unref(waits.empty);
    return rc;
}

static void inspect_every_way(int rc)
{
    const char *text = yk_sim_deadlock_tree();

    yk_check_int(rc, YOKE_EDEADLOCK);
    check_order(text, "task send (", "waits for channel send since ");
    check_order(text, "task receive (", "waits for channel receive since ");
    check_order(text, "task wait_for_event (", "waits for event since ");
    check_order(text, "task sleep_for_ever (", "waits for sleep forever since ");
    check_order(text, "task sleep_until_never (", "waits for sleep since ");
    check_order(text, "task start (", "waits for nursery close since ");
    check_order(text, "task start (", "\n        task report_late (");
    check_says(text, "task wait_in_every_way (");
    yk_check_caught("yoke.Deadlock", NULL);
}

static void a_deadlock_comes_with_the_tree_of_tasks_whatever_they_wait_for(void **state)
{
    (void)state;
    yk_sim_run(wait_in_every_way, NULL, &(struct yk_sim){.seeds = 8, .inspect = inspect_every_way});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_is_below_its_nursery_with_what_it_waits_for_and_since_when),
        cmocka_unit_test(a_backtrace_shows_where_a_parked_task_is_and_where_the_caller_is),
        cmocka_unit_test(an_error_in_flight_is_told),
        cmocka_unit_test(a_cancelled_scope_says_why_and_what_is_in_it_says_so),
        cmocka_unit_test(a_new_task_has_not_run_yet),
        cmocka_unit_test(the_census_of_stacks_tells_how_much_a_task_has_touched),
        cmocka_unit_test(a_tree_that_is_deeper_than_can_be_shown_is_cut),
        cmocka_unit_test(json_has_every_task_and_scope_and_is_whole),
        cmocka_unit_test(outside_a_runtime_there_is_nothing_to_dump),
        cmocka_unit_test(durations_are_told_in_units_that_fit),
        cmocka_unit_test(a_deadlock_comes_with_the_tree_of_tasks_whatever_they_wait_for),
    };

    return cmocka_run_group_tests_name("dump", tests, NULL, NULL);
}
