/* SPDX-License-Identifier: MIT */
/*
 * Worker threads that call back the task that waits for them, ask whether it was cancelled, and are
 * bounded by limiters. Real threads, ordered by semaphores and by the calls themselves. To be run
 * under ThreadSanitizer too.
 */
#include "../tests/support/realrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>
#include <yoke/event.h>
#include <yoke/handle.h>
#include <yoke/io.h>
#include <yoke/limiter.h>
#include <yoke/nursery.h>

static int go_bad(void *arg)
{
    (void)arg;
    return yoke_raise("test.Bad", EBADF, "bad in %s", yoke_task_name());
}

struct job {
    uint64_t task_id;
    int value;
    sem_t go;
    sem_t *gone; /* posted when an abandoned one is done */
    bool ran;
    struct yoke_event begun;
};

static int inside(void *arg)
{
    struct job *job = arg;

    yk_check(yoke_task_id() == job->task_id);
    yk_check(yoke_in_flight() == NULL);
    yk_check(yoke_effective_deadline() < YOKE_NEVER);
    job->ran = true;
    return yoke_sleep(YOKE_MS(1)) < 0 ? YOKE_CANCELLED : 11;
}

static int call_inside(void *arg)
{
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_handle_call(NULL, inside, arg), 11);
    yk_check_int(yoke_handle_call(NULL, go_bad, arg), -EBADF);
    yk_check_caught("test.Bad", NULL);
    return yoke_thread_check_cancelled();
}

YK_REAL_TEST(a_worker_calls_the_very_task_that_waits_for_it)
{
    struct job job = {.task_id = yoke_task_id()};
    struct yoke_scope scope;

    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_S(60)}), 0);
    (void)yoke_raise("test.Kept", EIO, "in flight all the while");
    yk_check_int(yoke_thread_run(call_inside, &job, NULL), 0);
    yk_check(job.ran);
    yk_check_caught("test.Kept", "in flight all the while");
    yk_check_int(yoke_scope_close(&scope, 0), 0);
    return 0;
}

static int begin(void *arg)
{
    yoke_event_set(&((struct job *)arg)->begun);
    return 0;
}

static int may_not_wait(void *arg)
{
    ((struct job *)arg)->ran = true;
    yk_check_text(yoke_cause_reason(yoke_why()), "enough");
    return yoke_checkpoint();
}

/* Goes on until it is cancelled, and then calls back once more. */
static int until_cancelled(void *arg)
{
    struct job *job = arg;
    int rc;

    yk_check_int(yoke_handle_call(NULL, begin, job), 0);
    do
        rc = yoke_thread_check_cancelled();
    while (rc == 0);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "enough");
    yoke_clear();
    rc = yoke_handle_call(NULL, may_not_wait, job);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "enough");
    return rc;
}

static int run_until_cancelled(void *arg)
{
    return yoke_thread_run(until_cancelled, arg, NULL);
}

YK_REAL_TEST(a_worker_learns_that_its_task_was_cancelled_and_why)
{
    struct job job = {.ran = false};
    struct yoke_nursery nursery;

    yoke_event_init(&job.begun);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, run_until_cancelled, &job), 0);
    yk_check_int(yoke_event_wait(&job.begun), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    yk_check_int(yoke_nursery_close(&nursery, 0),
                 0); /* its Cancelled is absorbed where it belongs */
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    yk_check(job.ran);
    return 0;
}

/* Left behind by its task, and then by its runtime. */
static int outlive(void *arg)
{
    struct job *job = arg;
    struct yoke_handle *handle = yoke_runtime_handle();
    int rc;

    yk_check_int(yoke_handle_call(NULL, begin, job), 0);
    do
        rc = yoke_thread_check_cancelled();
    while (rc == 0);
    yoke_clear();
    yk_check_int(yoke_handle_call(NULL, may_not_wait, job), YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "enough");
    yoke_clear();
    while (sem_wait(&job->go) != 0)
        continue;
    /* The runtime has ended. */
    yk_check_int(yoke_handle_call(handle, go_bad, NULL), YOKE_ECLOSED);
    yoke_clear();
    yk_check_int(yoke_handle_call(NULL, may_not_wait, job), YOKE_CANCELLED);
    yoke_clear();
    yoke_handle_unref(handle);
    return yoke_thread_check_cancelled(); /* absorbed: nobody is there to be told */
}

static void gone(void *arg)
{
    sem_post(((struct job *)arg)->gone);
}

static int run_outlive(void *arg)
{
    return yoke_thread_run(outlive, arg,
                           &(struct yoke_thread_opts){.abandon = true, .abandoned = gone});
}

static int leave_it(void *arg)
{
    struct job *job = arg;
    struct yoke_nursery nursery;

    yoke_event_init(&job->begun);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, run_outlive, job), 0);
    yk_check_int(yoke_event_wait(&job->begun), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    return yoke_nursery_close(&nursery, 0);
}

static void a_worker_left_behind_is_told_so_even_after_its_runtime(void **state)
{
    struct yoke_error_stats before, after;
    sem_t ended;
    struct job job = {.gone = &ended};
    int ends[2], saved = dup(2);
    char byte;

    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(dup2(ends[1], 2), 2);
    yoke_error_stats(&before);
    assert_int_equal(sem_init(&job.go, 0, 0), 0);
    assert_int_equal(sem_init(&ended, 0, 0), 0);
    assert_int_equal(yoke_run(leave_it, &job, NULL), 0);
    sem_post(&job.go);
    while (sem_wait(&ended) != 0)
        continue;
    assert_int_equal(dup2(saved, 2), 2);
    assert_true(read(ends[0], &byte, 1) < 0 && errno == EAGAIN); /* nothing was reported */
    close(ends[0]);
    close(ends[1]);
    close(saved);
    assert_false(job.ran);
    assert_int_equal(yk_checks_failed(), 0);
    yoke_error_stats(&after);
    assert_int_equal(after.lost, before.lost);
    assert_int_equal(after.live, before.live);
}

struct depth {
    int left;
    int reached;
};

static int down(void *arg);

static int down_by_thread(void *arg)
{
    return yoke_handle_call(NULL, down, arg);
}

static int down(void *arg)
{
    struct depth *depth = arg;

    depth->reached++;
    return depth->left-- == 0 ? 42 : yoke_thread_run(down_by_thread, depth, NULL);
}

YK_REAL_TEST(calls_nest_from_task_to_thread_to_task)
{
    struct depth depth = {.left = 10};

    yk_check_int(down(&depth), 42);
    yk_check_int(depth.reached, 11);
    return 0;
}

/* --- limiters -------------------------------------------------------------------------------- */

struct crowd {
    struct yoke_limiter limiter;
    struct yoke_thread_opts opts;
    atomic_uint now;
    atomic_uint most;
    atomic_uint ran;
    unsigned wanted; /* each waits until so many run at once */
};

static int crowded(void *arg)
{
    struct crowd *crowd = arg;
    unsigned now = atomic_fetch_add(&crowd->now, 1) + 1;
    unsigned most = atomic_load(&crowd->most);

    while (now > most && !atomic_compare_exchange_weak(&crowd->most, &most, now))
        continue;
    while (atomic_load(&crowd->most) < crowd->wanted)
        sched_yield();
    atomic_fetch_add(&crowd->ran, 1);
    atomic_fetch_sub(&crowd->now, 1);
    return 0;
}

static int run_crowded(void *arg)
{
    struct crowd *crowd = arg;

    return yoke_thread_run(crowded, crowd, crowd->opts.limiter != NULL ? &crowd->opts : NULL);
}

static void run_crowd(struct crowd *crowd, unsigned n)
{
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (unsigned i = 0; i < n; i++)
        yk_check_int(yoke_spawn(&nursery, run_crowded, crowd), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(atomic_load(&crowd->ran), n);
    yk_check_int(atomic_load(&crowd->most), crowd->wanted);
}

YK_REAL_TEST(a_limiter_of_one_s_own_bounds_its_calls_and_no_others)
{
    struct crowd few = {.wanted = 3}, many = {.wanted = 40}, usual = {.wanted = 32};

    yoke_limiter_init(&few.limiter, 3);
    few.opts.limiter = &few.limiter;
    run_crowd(&few, 30);
    yoke_limiter_fini(&few.limiter);
    yoke_limiter_init(&many.limiter, 40);
    many.opts.limiter = &many.limiter;
    run_crowd(&many, 60);
    yoke_limiter_fini(&many.limiter);
    run_crowd(&usual, 50); /* the default */
    return 0;
}

static int never(void *arg)
{
    *(bool *)arg = true;
    return 0;
}

YK_REAL_TEST(a_call_that_waits_for_a_token_is_cancelled_without_effect)
{
    struct yoke_limiter limiter;
    struct yoke_scope scope;
    bool ran = false;
    int rc;

    yoke_limiter_init(&limiter, 0);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(1)}), 0);
    rc = yoke_thread_run(never, &ran, &(struct yoke_thread_opts){.limiter = &limiter});
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yk_check(!ran);
    yoke_limiter_fini(&limiter);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_calls_the_very_task_that_waits_for_it),
        cmocka_unit_test(a_worker_learns_that_its_task_was_cancelled_and_why),
        cmocka_unit_test(a_worker_left_behind_is_told_so_even_after_its_runtime),
        cmocka_unit_test(calls_nest_from_task_to_thread_to_task),
        cmocka_unit_test(a_limiter_of_one_s_own_bounds_its_calls_and_no_others),
        cmocka_unit_test(a_call_that_waits_for_a_token_is_cancelled_without_effect),
    };

    return cmocka_run_group_tests_name("worker calls", tests, NULL, NULL);
}
