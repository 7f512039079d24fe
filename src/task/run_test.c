/* SPDX-License-Identifier: MIT */
/* Runtimes: what yoke_run gives its caller, and several of them on one thread and on many. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "task/task.h"

static int return_seven(void *arg)
{
    (void)arg;
    return 7;
}

static void inspect_seven(int rc)
{
    yk_check_int(rc, 7);
}

static void the_result_of_the_function_is_that_of_the_run(void **state)
{
    (void)state;
    yk_sim_run(return_seven, NULL, &(struct yk_sim){.inspect = inspect_seven});
}

static int fail_bad(void *arg)
{
    (void)arg;
    return yoke_raise("test.Bad", EBADF, "bad");
}

static void inspect_bad(int rc)
{
    yk_check_int(rc, -EBADF);
    yk_check_text(yoke_error_task_name(yoke_in_flight()), "fail_bad");
    yk_check_caught("test.Bad", "bad");
}

static void its_error_is_in_flight_at_the_caller(void **state)
{
    (void)state;
    yk_sim_run(fail_bad, NULL, &(struct yk_sim){.inspect = inspect_bad});
}

static int forget(void *arg)
{
    yk_check_int(fail_bad(arg), -EBADF);
    return 0;
}

static void inspect_forgotten(int rc)
{
    yk_check_int(rc, -EBADF);
    yk_check_caught("test.Bad", "bad");
}

static void an_error_it_forgot_is_its_result(void **state)
{
    (void)state;
    yk_sim_run(forget, NULL, &(struct yk_sim){.inspect = inspect_forgotten});
}

static int over_an_older_error(void *arg)
{
    (void)arg;
    yk_check(yoke_in_flight() == NULL); /* a task starts with nothing in flight */
    return fail_bad(NULL);
}

static void the_error_of_a_run_is_raised_over_the_callers_own(void **state)
{
    struct yoke_host *host = yoke_host_sim_new(1);
    struct yoke_run_opts opts = {.host = host};
    int rc;

    (void)state;
    assert_int_equal(yoke_raise("test.Older", EIO, "older"), -EIO);
    rc = yoke_run(over_an_older_error, NULL, &opts);
    assert_int_equal(rc, -EBADF);
    assert_string_equal(yoke_error_type(yoke_error_context(yoke_in_flight())), "test.Older");
    yoke_clear();
    assert_int_equal(yk_checks_failed(), 0);
    yoke_host_free(host);
}

static int run_inside(void *arg)
{
    struct yoke_host *host = yoke_host_sim_new(3);
    struct yoke_run_opts opts = {.host = host};

    (void)arg;
    yk_check_int(yoke_run(return_seven, NULL, NULL), -EBUSY);
    yk_check_caught("yoke.Run", NULL);
    yk_check_int(yoke_run(return_seven, NULL, &opts), -EBUSY);
    yk_check_caught("yoke.Run", NULL);
    yoke_host_free(host);
    return yoke_checkpoint();
}

static void a_run_inside_a_run_is_refused(void **state)
{
    (void)state;
    yk_sim_run(run_inside, NULL, NULL);
}

static int look_around(void *arg)
{
    (void)arg;
    yk_check_text(yoke_task_name(), "look_around");
    yk_check(yoke_task_id() != 0);
    yk_check_int(yoke_now(), YOKE_S(1)); /* when a simulated world begins */
    yk_check_int(yoke_raise("test.Here", EIO, "x"), -EIO);
    yk_check_text(yoke_error_actor(yoke_in_flight())->name, "tester");
    yk_check_int(strlen(yoke_error_actor(yoke_in_flight())->uuid), 36);
    yoke_clear();
    return 0;
}

static void a_runtime_has_the_name_it_was_given_and_a_uuid_from_its_host(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 4; seed++) {
        struct yoke_host *host = yoke_host_sim_new(seed);
        struct yoke_run_opts opts = {.host = host, .actor_name = "tester"};

        assert_int_equal(yoke_run(look_around, NULL, &opts), 0);
        yoke_host_free(host);
    }
    assert_int_equal(yk_checks_failed(), 0);
}

/* A small program that uses most of the layer, and whose result depends on its argument. */
static int worker(void *arg)
{
    int rc = yoke_sleep(YOKE_MS(*(int *)arg));

    if (rc == 0 && *(int *)arg == 5)
        rc = yoke_raise("test.Five", EIO, "five");
    return rc;
}

enum { WORKERS = 20 };

static int program(void *arg)
{
    struct yoke_nursery nursery;
    int delays[WORKERS];
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < WORKERS; i++) {
        delays[i] = i + *(int *)arg;
        yk_check_int(yoke_spawn(&nursery, worker, &delays[i]), 0);
    }
    rc = yoke_nursery_close(&nursery, 0);
    yk_check_int(rc, *(int *)arg <= 5 ? -EIO : 0);
    return rc;
}

static void run_program(int arg, uint64_t seed)
{
    struct yoke_host *host = yoke_host_sim_new(seed);
    struct yoke_run_opts opts = {.host = host, .shuffle = true, .seed = seed};

    yk_check(host != NULL);
    if (host == NULL)
        return;
    yk_check_int(yoke_run(program, &arg, &opts), arg <= 5 ? -EIO : 0);
    if (arg <= 5)
        yk_check_caught("test.Five", "five");
    yk_check(yoke_in_flight() == NULL);
    yoke_host_free(host);
}

static void runs_follow_each_other_on_one_thread(void **state)
{
    struct yoke_error_stats before, after;

    (void)state;
    yoke_error_stats(&before);
    for (int i = 0; i < 50; i++)
        run_program(i % 10, (uint64_t)i);
    yoke_error_stats(&after);
    assert_int_equal(after.lost, before.lost);
    assert_int_equal(after.live, before.live);
    assert_int_equal(yk_checks_failed(), 0);
}

static void *run_programs(void *arg)
{
    for (int i = 0; i < 30; i++)
        run_program(i % 10, (uint64_t)(i + *(int *)arg * 100));
    return NULL;
}

enum { THREADS = 6 };

static void runs_on_several_threads_do_not_know_of_each_other(void **state)
{
    struct yoke_error_stats before, after;
    pthread_t threads[THREADS];
    int numbers[THREADS];

    (void)state;
    yoke_error_stats(&before);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run_programs, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    yoke_error_stats(&after);
    assert_int_equal(after.lost, before.lost);
    assert_int_equal(after.live, before.live);
    assert_int_equal(yk_checks_failed(), 0);
}

static int cancel_the_program(void *arg)
{
    (void)arg;
    yoke_scope_cancel(yoke_nursery_scope(yk_runtime_current->main), "stop");
    return yoke_sleep_forever();
}

static void inspect_stopped(int rc)
{
    const struct yoke_cause *cause = yoke_error_cause(yoke_in_flight());

    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(yoke_error_is_cancelled(yoke_in_flight()));
    yk_check(cause != NULL);
    if (cause != NULL)
        yk_check_text(yoke_cause_reason(cause), "stop");
    yoke_clear();
}

static void a_program_cancelled_as_a_whole_tells_its_caller_why(void **state)
{
    (void)state;
    yk_sim_run(cancel_the_program, NULL, &(struct yk_sim){.inspect = inspect_stopped});
}

static int fail_when_stopped(void *arg)
{
    yk_check_int(cancel_the_program(arg), YOKE_CANCELLED);
    return fail_bad(arg);
}

static void inspect_bad_when_stopped(int rc)
{
    yk_check_int(rc, -EBADF);
    yk_check(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yk_check_caught("test.Bad", "bad");
}

static void an_error_beats_the_cancellation_of_the_program(void **state)
{
    (void)state;
    yk_sim_run(fail_when_stopped, NULL, &(struct yk_sim){.inspect = inspect_bad_when_stopped});
}

static int finish_when_stopped(void *arg)
{
    yk_check_int(cancel_the_program(arg), YOKE_CANCELLED);
    yoke_clear();
    return 5;
}

static void inspect_five(int rc)
{
    yk_check_int(rc, 5);
}

static void a_program_that_finishes_in_spite_of_it_has_its_result(void **state)
{
    (void)state;
    yk_sim_run(finish_when_stopped, NULL, &(struct yk_sim){.inspect = inspect_five});
}

struct service {
    int ended; /* the place among those that ended */
    enum yoke_cause_kind kind;
};

static int ends;

static int serve(void *arg)
{
    struct service *service = arg;
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    service->kind = yoke_cause_kind(yoke_why());
    service->ended = ++ends;
    return rc;
}

static struct service main_service, system_service;

static int with_services(void *arg)
{
    (void)arg;
    ends = 0;
    yk_check_int(yoke_spawn(yk_runtime_current->system, serve, &system_service), 0);
    yk_check_int(yoke_spawn(yk_runtime_current->main, serve, &main_service), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    return 9;
}

static void inspect_services(int rc)
{
    yk_check_int(rc, 9);
    yk_check_int(main_service.ended, 1); /* what the program started before what serves it */
    yk_check_int(system_service.ended, 2);
    yk_check_int(main_service.kind, YOKE_CAUSE_RUNTIME_ENDED);
    yk_check_int(system_service.kind, YOKE_CAUSE_RUNTIME_ENDED);
}

static void services_end_after_the_program_and_in_order(void **state)
{
    (void)state;
    yk_sim_run(with_services, NULL, &(struct yk_sim){.inspect = inspect_services});
}

static int fail_to_serve(void *arg)
{
    (void)arg;
    return yoke_raise("test.Service", EIO, "service");
}

static int with_failing_service(void *arg)
{
    (void)arg;
    yk_check_int(yoke_spawn(yk_runtime_current->system, fail_to_serve, NULL), 0);
    return yoke_sleep_forever();
}

static void inspect_service_error(int rc)
{
    yk_check_int(rc, -EIO);
    yk_check_caught("test.Service", "service");
}

static void a_failing_service_ends_the_program_with_its_error(void **state)
{
    (void)state;
    yk_sim_run(with_failing_service, NULL, &(struct yk_sim){.inspect = inspect_service_error});
}

static int fail_with_failing_service(void *arg)
{
    yk_check_int(with_failing_service(arg), YOKE_CANCELLED);
    return fail_bad(arg);
}

static void inspect_both_errors(int rc)
{
    const struct yoke_error *error = yoke_in_flight();

    yk_check_int(rc, -EBADF);
    yk_check_int(yoke_error_suppressed_count(error), 1);
    if (yoke_error_suppressed_count(error) == 1)
        yk_check_text(yoke_error_type(yoke_error_suppressed(error, 0)), "test.Service");
    yk_check_caught("test.Bad", "bad");
}

static void the_error_of_the_program_carries_that_of_a_service(void **state)
{
    (void)state;
    yk_sim_run(fail_with_failing_service, NULL, &(struct yk_sim){.inspect = inspect_both_errors});
}

static int sleep_a_little(void *arg)
{
    int64_t start = yoke_now();
    int rc = yoke_sleep(YOKE_US(50));

    (void)arg;
    if (rc == 0)
        yk_check(yoke_now() >= start + YOKE_US(50));
    return rc;
}

static int on_a_real_host(void *arg)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < WORKERS; i++)
        yk_check_int(yoke_spawn(&nursery, sleep_a_little, arg), 0);
    return yoke_nursery_close(&nursery, 0);
}

static void without_a_host_a_run_has_the_real_clock(void **state)
{
    (void)state;
    assert_int_equal(yoke_run(on_a_real_host, NULL, NULL), 0);
    assert_int_equal(yk_checks_failed(), 0);
}

static int deadlocked(void *arg)
{
    (void)arg;
    return yoke_sleep_forever();
}

static void a_deadlock_is_seen_on_the_real_host_too(void **state)
{
    (void)state;
    assert_int_equal(yoke_run(deadlocked, NULL, NULL), YOKE_EDEADLOCK);
    yoke_clear();
}

/* What yoke_report prints, into memory; returns its status. */
static int report(char **ret_text)
{
    size_t n;
    FILE *stream = open_memstream(ret_text, &n);
    int status;

    assert_non_null(stream);
    status = yoke_report(stream);
    assert_int_equal(fclose(stream), 0);
    return status;
}

static void a_report_settles_the_error_and_gives_an_exit_status(void **state)
{
    struct yoke_error_stats before, after;
    char *text;

    (void)state;
    yoke_error_stats(&before);
    assert_int_equal(report(&text), 0);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(yoke_raise("test.Bad", EBADF, "very bad"), -EBADF);
    assert_int_equal(report(&text), 1);
    assert_non_null(strstr(text, "test.Bad"));
    assert_non_null(strstr(text, "very bad"));
    free(text);
    assert_null(yoke_in_flight());
    yoke_error_stats(&after);
    assert_int_equal(after.lost, before.lost);
    assert_int_equal(after.live, before.live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_result_of_the_function_is_that_of_the_run),
        cmocka_unit_test(its_error_is_in_flight_at_the_caller),
        cmocka_unit_test(an_error_it_forgot_is_its_result),
        cmocka_unit_test(the_error_of_a_run_is_raised_over_the_callers_own),
        cmocka_unit_test(a_run_inside_a_run_is_refused),
        cmocka_unit_test(a_runtime_has_the_name_it_was_given_and_a_uuid_from_its_host),
        cmocka_unit_test(runs_follow_each_other_on_one_thread),
        cmocka_unit_test(runs_on_several_threads_do_not_know_of_each_other),
        cmocka_unit_test(a_program_cancelled_as_a_whole_tells_its_caller_why),
        cmocka_unit_test(an_error_beats_the_cancellation_of_the_program),
        cmocka_unit_test(a_program_that_finishes_in_spite_of_it_has_its_result),
        cmocka_unit_test(services_end_after_the_program_and_in_order),
        cmocka_unit_test(a_failing_service_ends_the_program_with_its_error),
        cmocka_unit_test(the_error_of_the_program_carries_that_of_a_service),
        cmocka_unit_test(without_a_host_a_run_has_the_real_clock),
        cmocka_unit_test(a_deadlock_is_seen_on_the_real_host_too),
        cmocka_unit_test(a_report_settles_the_error_and_gives_an_exit_status),
    };

    return cmocka_run_group_tests_name("runtimes", tests, NULL, NULL);
}
