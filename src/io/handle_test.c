/* SPDX-License-Identifier: MIT */
/*
 * Calls into a runtime from foreign threads and from the outer loop of a guest. Real threads; they
 * are ordered by semaphores and by the calls themselves, and joined when the runtime has ended. To
 * be run under ThreadSanitizer too.
 */
#include "../tests/support/realrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/event.h>
#include <yoke/guest.h>
#include <yoke/handle.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/memory.h"

/* A foreign thread with a handle on the runtime that is to be called. */
struct caller {
    struct yoke_handle *handle;
    struct yoke_event begun; /* in the runtime: something the thread had run there */
    struct yoke_event done;
    pthread_t thread;
    int rc;
    int value;
    uint64_t task_id;
};

static void start(struct caller *caller, void *(*fn)(void *arg))
{
    caller->handle = yoke_runtime_handle();
    yk_check(caller->handle != NULL);
    yoke_event_init(&caller->begun);
    yoke_event_init(&caller->done);
    yk_check_int(pthread_create(&caller->thread, NULL, fn, caller), 0);
}

static int set_done(void *arg)
{
    struct caller *caller = arg;

    yoke_event_set(&caller->done);
    return 0;
}

/* The end of a thread: lets the main task go on, and lets go of the handle. */
static void *finish(struct caller *caller)
{
    yk_check_int(yoke_handle_post(caller->handle, set_done, caller), 0);
    yoke_handle_unref(caller->handle);
    return NULL;
}

static void join(const struct caller *caller)
{
    assert_int_equal(pthread_join(caller->thread, NULL), 0);
}

/* A run with one foreign thread; ends when the thread has finished. */
struct with_thread {
    void *(*fn)(void *arg);
    struct caller caller;
};

static int run_with_thread(void *arg)
{
    struct with_thread *with = arg;

    start(&with->caller, with->fn);
    return yoke_event_wait(&with->caller.done);
}

#define THREAD_TEST(law)                                                                           \
    static void *law##_thread(void *arg);                                                          \
    static void law(void **state)                                                                  \
    {                                                                                              \
        struct with_thread with = {.fn = law##_thread};                                            \
                                                                                                   \
        (void)state;                                                                               \
        yk_real_run(run_with_thread, &with);                                                       \
        join(&with.caller);                                                                        \
    }                                                                                              \
    static void *law##_thread(void *arg)

static int add_five(void *arg)
{
    struct caller *caller = arg;
    int rc = yoke_sleep(YOKE_MS(1)); /* it is a task, and may wait */

    caller->value += 5;
    caller->task_id = yoke_task_id();
    yk_check_text(yoke_task_name(), "add_five");
    return rc < 0 ? rc : caller->value;
}

static int go_bad(void *arg)
{
    (void)arg;
    return yoke_raise("test.Bad", EBADF, "bad in %s", yoke_task_name());
}

static int forget_to_handle(void *arg)
{
    (void)go_bad(arg);
    return 0;
}

static int bare_code(void *arg)
{
    (void)arg;
    return -EIO;
}

THREAD_TEST(a_thread_has_a_task_run_and_gets_its_result)
{
    struct caller *caller = arg;

    yk_check_int(yoke_handle_call(caller->handle, add_five, caller), 5);
    yk_check_int(yoke_handle_call(caller->handle, add_five, caller), 10);
    yk_check(caller->task_id != 0 && yoke_task_id() == 0);
    yk_check(yoke_in_flight() == NULL);
    return finish(caller);
}

THREAD_TEST(an_error_of_the_task_is_in_flight_in_the_thread)
{
    struct caller *caller = arg;

    yk_check_int(yoke_handle_call(caller->handle, go_bad, NULL), -EBADF);
    yk_check(yoke_error_task_id(yoke_in_flight()) != 0);
    yk_check_caught("test.Bad", "bad in go_bad");
    yk_check_int(yoke_handle_call(caller->handle, forget_to_handle, NULL), -EBADF);
    yk_check_caught("test.Bad", "bad in forget_to_handle");
    yk_check_int(yoke_handle_call(caller->handle, bare_code, NULL), -EIO);
    yk_check_caught("yoke.Error", NULL);
    return finish(caller); /* and the program goes on */
}

static int append(void *arg)
{
    struct caller *caller = arg;

    caller->value = caller->value * 10 + caller->rc++;
    return 0;
}

THREAD_TEST(a_post_is_run_soon_and_in_order)
{
    struct caller *caller = arg;

    caller->rc = 1;
    for (int i = 0; i < 5; i++)
        yk_check_int(yoke_handle_post(caller->handle, append, caller), 0);
    yk_check_int(yoke_handle_call(caller->handle, append, caller), 0);
    yk_check_int(caller->value, 123456);
    return finish(caller);
}

/* --- ends ------------------------------------------------------------------------------------ */

static int begin_and_wait(void *arg)
{
    struct caller *caller = arg;

    yoke_event_set(&caller->begun);
    return yoke_sleep_forever();
}

static void *call_for_ever(void *arg)
{
    struct caller *caller = arg;

    caller->rc = yoke_handle_call(caller->handle, begin_and_wait, caller);
    return NULL;
}

static void *expect_program_over(void *arg)
{
    struct caller *caller = arg;
    struct yoke_error *error;

    (void)call_for_ever(caller);
    yk_check_int(caller->rc, YOKE_CANCELLED);
    error = yoke_catch();
    yk_check(error != NULL && yoke_error_is_cancelled(error));
    yk_check_int(yoke_cause_kind(yoke_error_cause(error)), YOKE_CAUSE_RUNTIME_ENDED);
    yoke_error_unref(error);
    return NULL;
}

static int return_while_called(void *arg)
{
    start(arg, expect_program_over);
    return yoke_event_wait(&((struct caller *)arg)->begun);
}

static void a_call_is_cancelled_with_the_program_and_says_why(void **state)
{
    struct caller caller = {.rc = 0};
    struct yk_left_behind before;

    (void)state;
    yk_left_behind_note(&before);
    yk_check_int(yoke_run(return_while_called, &caller, NULL), 0);
    join(&caller);
    /* The handle is still there, and the runtime is not. */
    yk_check_int(yoke_handle_call(caller.handle, go_bad, NULL), YOKE_ECLOSED);
    yk_check_caught("yoke.Handle", "go_bad was not run: its runtime has ended");
    yk_check_int(yoke_handle_post(caller.handle, go_bad, NULL), YOKE_ECLOSED);
    yk_check_caught("yoke.Handle", "go_bad was not run: its runtime has ended");
    yk_check(yoke_handle_ref(caller.handle) == caller.handle);
    yk_check(yoke_handle_unref(caller.handle) == NULL);
    yoke_handle_unref(caller.handle);
    yk_left_behind_check(&before);
}

struct flood {
    struct yoke_handle *handle;
    pthread_t thread;
    sem_t flowing;
    unsigned accepted;
    atomic_uint run;
};

static int count_in_flood(void *arg)
{
    atomic_fetch_add((atomic_uint *)arg, 1);
    return 0;
}

static int count(void *arg)
{
    ++*(unsigned *)arg;
    return 0;
}

static void *post_until_closed(void *arg)
{
    struct flood *flood = arg;
    int rc;

    while ((rc = yoke_handle_post(flood->handle, count_in_flood, &flood->run)) == 0) {
        if (++flood->accepted == 10)
            sem_post(&flood->flowing);
        while (flood->accepted - atomic_load(&flood->run) > 64) /* as fast as they are run */
            sched_yield();
    }
    yk_check_int(rc, YOKE_ECLOSED);
    yoke_clear();
    yoke_handle_unref(flood->handle);
    return NULL;
}

static int return_in_a_flood(void *arg)
{
    struct flood *flood = arg;

    flood->handle = yoke_runtime_handle();
    yk_check_int(pthread_create(&flood->thread, NULL, post_until_closed, flood), 0);
    while (sem_trywait(&flood->flowing) != 0)
        yk_check_int(yoke_checkpoint(), 0);
    return 0;
}

static void every_post_that_was_accepted_is_run(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct flood flood = {.accepted = 0};

        assert_int_equal(sem_init(&flood.flowing, 0, 0), 0);
        yk_real_run(return_in_a_flood, &flood);
        assert_int_equal(pthread_join(flood.thread, NULL), 0);
        assert_true(flood.accepted >= 10);
        assert_int_equal(atomic_load(&flood.run), flood.accepted);
        sem_destroy(&flood.flowing);
    }
}

static void *post_go_bad(void *arg)
{
    struct caller *caller = arg;

    yk_check_int(yoke_handle_post(caller->handle, go_bad, NULL), 0);
    yoke_handle_unref(caller->handle);
    return NULL;
}

static int wait_for_failure(void *arg)
{
    start(arg, post_go_bad);
    return yoke_sleep_forever();
}

static void a_failure_of_what_was_posted_is_the_program_s(void **state)
{
    struct caller caller = {.rc = 0};
    struct yk_left_behind before;

    (void)state;
    yk_left_behind_note(&before);
    yk_check_int(yoke_run(wait_for_failure, &caller, NULL), -EBADF);
    yk_check_caught("test.Bad", "bad in go_bad");
    join(&caller);
    yk_left_behind_check(&before);
}

static int call_itself(void *arg)
{
    struct yoke_handle *handle = yoke_runtime_handle();
    unsigned n = 0;

    (void)arg;
    yk_check_int(yoke_handle_call(handle, go_bad, NULL), -EDEADLK);
    yk_check_caught("yoke.Handle", "calling go_bad would block the thread of a runtime: post it, "
                                   "or call it from another thread");
    yk_check_int(yoke_handle_post(handle, count, &n), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(n, 1);
    yoke_handle_unref(handle);
    return 0;
}

static void the_thread_of_a_runtime_may_post_but_not_call(void **state)
{
    (void)state;
    yk_real_run(call_itself, NULL);
    yk_sim_run(call_itself, NULL, NULL);
    yk_check(yoke_runtime_handle() == NULL);
    yk_check_caught("yoke.Handle",
                    "a handle is made in a task, or in a worker thread of a runtime");
    yk_check_int(yoke_handle_call(NULL, go_bad, NULL), -EINVAL);
    yk_check_caught("yoke.Handle", "a call without a handle is for worker threads of a runtime");
    yk_check_int(yoke_thread_check_cancelled(), -EINVAL);
    yk_check_caught("yoke.Thread",
                    "yoke_thread_check_cancelled is for worker threads of a runtime");
}

/* --- deadlock -------------------------------------------------------------------------------- */

static void *wait_and_let_go(void *arg)
{
    struct caller *caller = arg;

    /* Once with the main task blocked, which is no deadlock; then for good. */
    yk_check_int(yoke_handle_call(caller->handle, add_five, caller), 5);
    yoke_handle_unref(caller->handle);
    return NULL;
}

static int block(void *arg)
{
    start(arg, wait_and_let_go);
    return yoke_sleep_forever();
}

static void count_deadlocks(void *arg, const char *tree)
{
    yk_check(strstr(tree, "block") != NULL);
    ++*(int *)arg;
}

static void it_is_a_deadlock_only_when_the_last_handle_is_gone(void **state)
{
    struct caller caller = {.rc = 0};
    struct yk_left_behind before;
    int deadlocks = 0;
    struct yoke_run_opts opts = {.on_deadlock = count_deadlocks, .deadlock_arg = &deadlocks};

    (void)state;
    for (int round = 1; round <= 2; round++) { /* in the first, symbol lookup opens its files */
        caller = (struct caller){.rc = 0};
        yk_left_behind_note(&before);
        yk_check_int(yoke_run(block, &caller, &opts), YOKE_EDEADLOCK);
        yk_check_int(deadlocks, round);
        yk_check_int(caller.value, 5);
        yk_check_caught("yoke.Deadlock", NULL);
        join(&caller);
    }
    yk_left_behind_check(&before);
}

/* --- many ------------------------------------------------------------------------------------ */

enum { CROWD = 8, ROUNDS = 100 };

struct shared {
    struct yoke_handle *handle;
    struct yoke_event done;
    unsigned counter; /* of the runtime's thread: no lock is needed */
    unsigned threads;
};

static int count_shared(void *arg)
{
    struct shared *shared = arg;
    unsigned before = shared->counter;

    shared->counter = before + 1;
    return before % 3 == 0 ? yoke_checkpoint() : 0;
}

static int thread_ends(void *arg)
{
    struct shared *shared = arg;

    if (--shared->threads == 0)
        yoke_event_set(&shared->done);
    return 0;
}

static void *call_often(void *arg)
{
    struct shared *shared = arg;

    for (int i = 0; i < ROUNDS; i++) {
        struct yoke_handle *own = yoke_handle_ref(shared->handle);

        if (i % 2 == 0)
            yk_check_int(yoke_handle_call(own, count_shared, shared), 0);
        else
            yk_check_int(yoke_handle_post(own, count_shared, shared), 0);
        yoke_handle_unref(own);
    }
    yk_check_int(yoke_handle_call(shared->handle, thread_ends, shared), 0);
    return NULL;
}

struct stress {
    struct shared shared;
    pthread_t threads[CROWD];
};

static int be_called(void *arg)
{
    struct stress *stress = arg;

    stress->shared.handle = yoke_runtime_handle();
    stress->shared.threads = CROWD;
    yoke_event_init(&stress->shared.done);
    for (int i = 0; i < CROWD; i++)
        yk_check_int(pthread_create(&stress->threads[i], NULL, call_often, &stress->shared), 0);
    return yoke_event_wait(&stress->shared.done);
}

static void stress_run(yoke_task_fn fn, struct stress *stress, struct yk_sim *sim)
{
    memset(stress, 0, sizeof *stress);
    if (sim != NULL)
        yk_sim_run_at(YOKE_HERE, fn, "be_called", stress, sim);
    else
        yk_real_run_at(YOKE_HERE, fn, "be_called", stress);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(pthread_join(stress->threads[i], NULL), 0);
    assert_int_equal(stress->shared.counter, CROWD * ROUNDS);
    yoke_handle_unref(stress->shared.handle);
}

static void many_threads_call_and_post(void **state)
{
    struct stress stress;

    (void)state;
    stress_run(be_called, &stress, NULL);
    stress_run(be_called, &stress, &(struct yk_sim){.in_order = true});
}

/* --- guests ---------------------------------------------------------------------------------- */

static void *call_guest(void *arg)
{
    struct caller *caller = arg;

    yk_check_int(yoke_handle_call(caller->handle, add_five, caller), 5);
    yk_check_int(yoke_handle_call(caller->handle, go_bad, NULL), -EBADF);
    yoke_clear();
    return finish(caller);
}

static int wait_done(void *arg)
{
    return yoke_event_wait(&((struct caller *)arg)->done);
}

static void a_guest_is_called_by_its_loop_and_by_threads(void **state)
{
    struct caller caller = {.value = 0};
    struct yk_left_behind before;
    struct yoke_guest *guest;
    unsigned posted = 0;

    (void)state;
    yk_left_behind_note(&before);
    yoke_event_init(&caller.done);
    assert_int_equal(yoke_guest_open(wait_done, &caller, NULL, &guest), 0);
    caller.handle = yoke_guest_handle(guest);
    assert_non_null(caller.handle);
    assert_int_equal(yoke_handle_post(caller.handle, count, &posted),
                     0); /* before the first step */
    assert_int_equal(yoke_handle_call(caller.handle, count, &posted), -EDEADLK);
    yoke_clear();
    assert_int_equal(pthread_create(&caller.thread, NULL, call_guest, &caller), 0);
    for (int steps = 0;; steps++) {
        struct pollfd fd = {.fd = yoke_guest_fd(guest), .events = POLLIN};

        assert_int_equal(poll(&fd, 1, -1), 1);
        if (steps == 3)
            assert_int_equal(yoke_handle_post(caller.handle, count, &posted), 0);
        if (yoke_guest_step(guest) == 0)
            break;
    }
    join(&caller);
    assert_int_equal(yoke_guest_close(guest), 0);
    assert_int_equal(caller.value, 5);
    assert_true(posted >= 1);
    yk_left_behind_check(&before);
}

static void *expect_enough(void *arg)
{
    struct caller *caller = arg;

    yk_check_int(yoke_handle_call(caller->handle, begin_and_wait, caller), YOKE_CANCELLED);
    yk_check_text(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "enough");
    yoke_clear();
    yoke_handle_unref(caller->handle);
    return NULL;
}

static void a_call_from_outside_is_cancelled_with_its_program_and_by_its_cause(void **state)
{
    struct caller caller = {.value = 0};
    struct yk_left_behind before;
    struct yoke_guest *guest;

    (void)state;
    yk_left_behind_note(&before);
    yoke_event_init(&caller.begun);
    yoke_event_init(&caller.done);
    assert_int_equal(yoke_guest_open(wait_done, &caller, NULL, &guest), 0);
    caller.handle = yoke_guest_handle(guest);
    assert_int_equal(pthread_create(&caller.thread, NULL, expect_enough, &caller), 0);
    for (bool asked = false;;) {
        struct pollfd fd = {.fd = yoke_guest_fd(guest), .events = POLLIN};

        assert_int_equal(poll(&fd, 1, -1), 1);
        if (yoke_guest_step(guest) == 0)
            break;
        if (yoke_event_is_set(&caller.begun) && !asked)
            yoke_guest_cancel(guest, "enough");
        asked = yoke_event_is_set(&caller.begun);
    }
    join(&caller);
    assert_int_equal(yoke_guest_close(guest), YOKE_CANCELLED);
    yoke_clear();
    yk_left_behind_check(&before);
}

/* --- want ------------------------------------------------------------------------------------ */

YK_REAL_TEST(without_memory_a_handle_or_a_post_is_an_error)
{
    struct yoke_handle *handle;
    unsigned n = 0;

    (void)yk_memory_fail_at(1, false);
    handle = yoke_runtime_handle();
    yk_check(handle == NULL);
    yk_check_caught("yoke.Handle", "no memory for a handle");
    handle = yoke_runtime_handle();
    yk_check(handle != NULL);
    (void)yk_memory_fail_at(1, false);
    yk_check_int(yoke_handle_post(handle, count, &n), -ENOMEM);
    yk_check_caught("yoke.Handle", "no memory to post count");
    yk_check_int(yk_memory_fail_at(0, false), 0);
    yoke_handle_unref(handle);
    return 0;
}

YK_REAL_TEST(too_many_posts_are_refused_until_some_have_begun)
{
    struct yoke_handle *handle = yoke_runtime_handle();
    unsigned n = 0, accepted = 0;
    int rc;

    while ((rc = yoke_handle_post(handle, count, &n)) == 0)
        accepted++;
    yk_check_int(rc, -EAGAIN);
    yk_check_caught("yoke.Handle", "count was not posted: 16384 that were have not begun yet");
    yk_check_int(accepted, 16384);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(n, accepted);
    yk_check_int(yoke_handle_post(handle, count, &n), 0);
    yoke_handle_unref(handle);
    return 0;
}

/* Posts until the next task would need memory that is not there. */
static int post_without_memory(void *arg)
{
    struct yoke_handle *handle = yoke_runtime_handle();
    unsigned *n = arg;
    int rc = 0;

    for (int i = 0; i < 70 && rc == 0; i++) /* the ready ring must grow for the last of them */
        rc = yoke_handle_post(handle, count, n);
    yk_check_int(rc, 0);
    (void)yk_memory_fail_at(1, false);
    rc = yoke_sleep_forever();
    yk_check_int(yk_memory_fail_at(0, false), 0);
    yoke_handle_unref(handle);
    return rc;
}

static void a_post_that_can_not_begin_for_want_of_memory_cancels_the_program(void **state)
{
    struct yk_left_behind before;
    struct yoke_error *error;
    const struct yoke_error *reason;
    unsigned n = 0;

    (void)state;
    yk_left_behind_note(&before);
    yk_check_int(yoke_run(post_without_memory, &n, NULL), YOKE_CANCELLED);
    error = yoke_catch();
    yk_check(error != NULL);
    reason = error != NULL ? yoke_cause_error(yoke_error_cause(error)) : NULL;
    yk_check(reason != NULL && yoke_error_code(reason) == -ENOMEM);
    yoke_error_unref(error);
    yk_left_behind_check(&before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_has_a_task_run_and_gets_its_result),
        cmocka_unit_test(an_error_of_the_task_is_in_flight_in_the_thread),
        cmocka_unit_test(a_post_is_run_soon_and_in_order),
        cmocka_unit_test(a_call_is_cancelled_with_the_program_and_says_why),
        cmocka_unit_test(every_post_that_was_accepted_is_run),
        cmocka_unit_test(a_failure_of_what_was_posted_is_the_program_s),
        cmocka_unit_test(the_thread_of_a_runtime_may_post_but_not_call),
        cmocka_unit_test(it_is_a_deadlock_only_when_the_last_handle_is_gone),
        cmocka_unit_test(many_threads_call_and_post),
        cmocka_unit_test(a_guest_is_called_by_its_loop_and_by_threads),
        cmocka_unit_test(a_call_from_outside_is_cancelled_with_its_program_and_by_its_cause),
        cmocka_unit_test(without_memory_a_handle_or_a_post_is_an_error),
        cmocka_unit_test(too_many_posts_are_refused_until_some_have_begun),
        cmocka_unit_test(a_post_that_can_not_begin_for_want_of_memory_cancels_the_program),
    };

    return cmocka_run_group_tests_name("handle", tests, NULL, NULL);
}
