/* SPDX-License-Identifier: MIT */
/* Descriptors as cases of a select: with real ones, beside other cases and plain waits. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

/* Runs a task function in the real world; its checks must hold, and nothing may be left. */
static void run_real(const struct yoke_site *site, yoke_task_fn fn, const char *name)
{
    unsigned failed = yk_checks_failed();
    int rc = yoke_run_at(site, fn, name, NULL, NULL);

    if (yoke_in_flight() != NULL)
        yoke_error_print(yoke_in_flight(), stderr, 0);
    yoke_clear();
    assert_int_equal(rc, 0);
    assert_int_equal(yk_checks_failed(), failed);
}

#define REAL_TEST(law)                                                                             \
    static int law##_task(void *arg);                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        run_real(YOKE_HERE, law##_task, #law);                                                     \
    }                                                                                              \
    static int law##_task(void *arg __attribute__((unused)))

static void open_pair(int ends[2])
{
    yk_check_int(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
}

static void close_pair(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

static void fill(int fd)
{
    char block[4096] = {0};

    while (write(fd, block, sizeof block) > 0)
        continue;
}

static void drain(int fd)
{
    char block[4096];

    while (read(fd, block, sizeof block) > 0)
        continue;
}

struct selector {
    struct yoke_select_case cases[3];
    size_t n;
    struct yoke_scope scope;
    int chosen;
};

static int select_once(void *arg)
{
    struct selector *selector = arg;
    int rc = yoke_scope_open(&selector->scope, NULL);

    if (rc == 0)
        rc = yoke_select(selector->cases, selector->n, NULL);
    selector->chosen = rc;
    return yoke_scope_close(&selector->scope, rc < 0 ? rc : 0);
}

static int wait_readable(void *arg)
{
    return yoke_wait_readable(*(int *)arg);
}

REAL_TEST(data_that_arrives_ends_every_wait_for_it)
{
    struct selector first = {.n = 2}, second = {.n = 1};
    struct yoke_nursery nursery;
    struct yoke_event never;
    int ends[2];

    open_pair(ends);
    yoke_event_init(&never);
    first.cases[0] = yoke_case_event(&never);
    first.cases[1] = yoke_case_readable(ends[0]);
    second.cases[0] = yoke_case_readable(ends[0]);
    yk_check_int(yoke_try_select(first.cases, 2, NULL), 2);
    for (int round = 0; round < 3; round++) {
        first.chosen = second.chosen = -1;
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, select_once, &first), 0);
        yk_check_int(yoke_spawn(&nursery, select_once, &second), 0);
        yk_check_int(yoke_spawn(&nursery, wait_readable, &ends[0]), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(write(ends[1], "x", 1), 1);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check_int(first.chosen, 1);
        yk_check_int(second.chosen, 0);
        yk_check_int(yoke_try_select(first.cases, 2, NULL), 1); /* it took nothing */
        drain(ends[0]);
    }
    close_pair(ends);
    return 0;
}

REAL_TEST(one_descriptor_may_be_waited_for_both_ways_in_one_select)
{
    struct selector selector = {.n = 2};
    struct yoke_nursery nursery;
    int ends[2];

    open_pair(ends);
    selector.cases[0] = yoke_case_readable(ends[0]);
    selector.cases[1] = yoke_case_writable(ends[0]);
    for (int way = 0; way <= 1; way++) {
        fill(ends[0]);
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, select_once, &selector), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        if (way == 0)
            yk_check_int(write(ends[1], "x", 1), 1);
        else
            drain(ends[1]);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check_int(selector.chosen, way);
        drain(ends[0]);
    }
    /* Both at once: the peer is gone. Either case may happen; exactly one does. */
    fill(ends[0]);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, select_once, &selector), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    close(ends[1]);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(selector.chosen == 0 || selector.chosen == 1);
    close(ends[0]);
    return 0;
}

REAL_TEST(a_case_that_does_not_happen_leaves_the_descriptor_free)
{
    struct selector selector = {.n = 2};
    struct yoke_nursery nursery;
    struct yoke_event event;
    int ends[2], number;

    for (int how = 0; how < 3; how++) {
        open_pair(ends);
        number = ends[0];
        yoke_event_init(&event);
        selector.cases[0] = yoke_case_readable(ends[0]);
        selector.cases[1] = how == 0 ? yoke_case_timeout(YOKE_MS(1)) : yoke_case_event(&event);
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, select_once, &selector), 0);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        if (how == 1)
            yoke_event_set(&event);
        if (how == 2)
            yoke_scope_cancel(&selector.scope, NULL);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        yk_check_int(selector.chosen, how == 2 ? YOKE_CANCELLED : 1);
        close_pair(ends);

        open_pair(ends); /* the same number again, another descriptor */
        yk_check_int(ends[0], number);
        yk_check_int(write(ends[1], "x", 1), 1);
        yk_check_int(yoke_wait_readable(ends[0]), 0);
        close_pair(ends);
    }
    return 0;
}

struct meeting {
    struct yoke_event event;
    int ends[2];
};

static int write_and_set(void *arg)
{
    struct meeting *meeting = arg;

    yk_check_int(write(meeting->ends[1], "x", 1), 1);
    yoke_event_set(&meeting->event);
    return 0;
}

REAL_TEST(of_data_and_an_event_one_is_chosen_and_the_other_is_still_there)
{
    struct meeting meeting;
    struct yoke_nursery nursery;
    char byte;

    open_pair(meeting.ends);
    for (int round = 0; round < 50; round++) {
        struct yoke_select_case cases[] = {yoke_case_readable(meeting.ends[0]),
                                           yoke_case_event(&meeting.event)};
        int i;

        yoke_event_init(&meeting.event);
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        yk_check_int(yoke_spawn(&nursery, write_and_set, &meeting), 0);
        i = yoke_select(cases, 2, NULL);
        yk_check(i == 0 || i == 1);
        yk_check(yoke_event_is_set(&meeting.event));
        yk_check_int(yoke_read(meeting.ends[0], &byte, 1), 1);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    }
    close_pair(meeting.ends);
    return 0;
}

REAL_TEST(a_bad_descriptor_is_an_error_and_a_file_is_always_ready)
{
    struct yoke_event never;
    int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct yoke_select_case cases[2];

    yoke_event_init(&never);
    cases[0] = yoke_case_event(&never);
    cases[1] = yoke_case_readable(-1);
    yk_check_int(yoke_select(cases, 2, NULL), -EBADF);
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(cases[1].result, -EBADF);
    cases[1] = yoke_case_writable(987);
    yk_check_int(yoke_select(cases, 2, NULL), -EBADF);
    yk_check_caught("yoke.Io", NULL);
    cases[1] = yoke_case_readable(file);
    yk_check_int(yoke_select(cases, 2, NULL), 1);
    close(file);
    return 0;
}

REAL_TEST(a_signal_ends_a_select_and_each_is_taken_once)
{
    struct yoke_signal_info info = {.number = 0};
    struct selector selector = {.n = 2};
    struct yoke_nursery nursery;
    struct yoke_signals signals;
    struct yoke_event never;
    const int number = SIGUSR1;

    yoke_event_init(&never);
    yk_check_int(yoke_signals_open(&signals, &number, 1), 0);
    selector.cases[0] = yoke_case_event(&never);
    selector.cases[1] = yoke_case_signal(&signals, &info);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, select_once, &selector), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(kill(getpid(), SIGUSR1), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0); /* not taken for a deadlock meanwhile */
    yk_check_int(selector.chosen, 1);
    yk_check_int(info.number, SIGUSR1);
    yk_check_int(info.pid, getpid());
    selector.cases[0] = yoke_case_timeout(YOKE_MS(1));
    yk_check_int(yoke_select(selector.cases, 2, NULL), 0);
    yoke_signals_close(&signals);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_that_arrives_ends_every_wait_for_it),
        cmocka_unit_test(one_descriptor_may_be_waited_for_both_ways_in_one_select),
        cmocka_unit_test(a_case_that_does_not_happen_leaves_the_descriptor_free),
        cmocka_unit_test(of_data_and_an_event_one_is_chosen_and_the_other_is_still_there),
        cmocka_unit_test(a_signal_ends_a_select_and_each_is_taken_once),
        cmocka_unit_test(a_bad_descriptor_is_an_error_and_a_file_is_always_ready),
    };

    return cmocka_run_group_tests_name("select with descriptors", tests, NULL, NULL);
}
