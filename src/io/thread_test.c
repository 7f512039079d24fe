/* SPDX-License-Identifier: MIT */
/* Worker threads and what is printed by them: real threads, which tests hold up by semaphores. */
#include "../tests/support/realrun.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/limits.h"
#include "base/memory.h"
#include "task/task.h"

static int give(void *arg)
{
    return *(int *)arg;
}

YK_REAL_TEST(a_call_gives_what_the_function_returns)
{
    int seven = 7, bad = -ENOTTY;

    yk_check_int(yoke_thread_run(give, &seven, NULL), 7);
    yk_check_int(yoke_thread_run(give, &bad, NULL), -ENOTTY);
    yk_check(yoke_in_flight() == NULL);
    return 0;
}

static int look_around(void *arg)
{
    sigset_t mask;

    *(pthread_t *)arg = pthread_self();
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    return sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) && sigismember(&mask, SIGPIPE);
}

YK_REAL_TEST(functions_run_in_other_threads_without_signals)
{
    pthread_t thread = pthread_self();

    yk_check_int(yoke_thread_run(look_around, &thread, NULL), 1);
    yk_check(!pthread_equal(thread, pthread_self()));
    return 0;
}

static int raise_there(void *arg)
{
    int rc = yoke_raise("test.There", ENOTTY, "raised in a thread");

    return arg != NULL ? 5 : rc;
}

YK_REAL_TEST(errors_raised_there_are_in_flight_here)
{
    yk_check_int(yoke_thread_run(raise_there, NULL, NULL), -ENOTTY);
    yk_check_caught("test.There", "raised in a thread");
    yk_check_int(yoke_thread_run(raise_there, "return 5", NULL), -ENOTTY);
    yk_check_caught("test.There", NULL);
    return 0;
}

/* A function that begins, says so, and stays until it is let go. */
struct held {
    sem_t begun, go;
    int result;
    bool raises;
    bool called;
    pthread_t abandoned_in;
    sem_t abandoned;
};

static void held_init(struct held *held)
{
    memset(held, 0, sizeof *held);
    sem_init(&held->begun, 0, 0);
    sem_init(&held->go, 0, 0);
    sem_init(&held->abandoned, 0, 0);
}

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) < 0)
        continue;
}

static int stay(void *arg)
{
    struct held *held = arg;

    held->called = true;
    sem_post(&held->begun);
    wait_for(&held->go);
    return held->raises ? yoke_raise("test.Late", EIO, "nobody waits for this") : held->result;
}

static void left(void *arg)
{
    struct held *held = arg;

    held->abandoned_in = pthread_self();
    sem_post(&held->abandoned);
}

static const struct yoke_thread_opts leave = {.abandon = true, .abandoned = left};

static int run_held(void *arg)
{
    return yoke_thread_run(stay, arg, NULL);
}

static int run_left(void *arg)
{
    return yoke_thread_run(stay, arg, &leave);
}

enum { CROWD = YK_THREADS_MAX + 8 };

YK_REAL_TEST(more_calls_than_threads_wait_and_are_all_done)
{
    static struct held crowd[CROWD];
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);
    int begun = 0;

    for (int i = 0; i < CROWD; i++) {
        held_init(&crowd[i]);
        yk_check_int(yoke_spawn(&nursery, run_held, &crowd[i]), 0);
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < YK_THREADS_MAX; i++)
        wait_for(&crowd[i].begun); /* so many at the same time */
    for (int i = 0; i < CROWD; i++)
        begun += crowd[i].called;
    yk_check_int(begun, YK_THREADS_MAX);
    for (int i = 0; i < CROWD; i++)
        sem_post(&crowd[i].go);
    rc = yoke_nursery_close(&nursery, rc);
    for (int i = 0; i < CROWD; i++)
        yk_check(crowd[i].called);
    return rc;
}

static int occupy_all(struct yoke_nursery *nursery, struct held *crowd)
{
    for (int i = 0; i < YK_THREADS_MAX; i++) {
        held_init(&crowd[i]);
        yk_check_int(yoke_spawn(nursery, run_held, &crowd[i]), 0);
    }
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < YK_THREADS_MAX; i++)
        wait_for(&crowd[i].begun);
    return 0;
}

YK_REAL_TEST(a_call_that_waits_for_a_thread_is_cancelled_without_effect)
{
    static struct held crowd[YK_THREADS_MAX], plain, abandoned;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    held_init(&plain);
    held_init(&abandoned);
    occupy_all(&nursery, crowd);
    yk_check_int(yk_cancelled_when_blocked(run_held, &plain), YOKE_CANCELLED);
    yk_check_int(yk_cancelled_when_blocked(run_left, &abandoned), YOKE_CANCELLED);
    yk_check_int(sem_trywait(&abandoned.abandoned), 0); /* by then: its argument is given back */
    for (int i = 0; i < YK_THREADS_MAX; i++)
        sem_post(&crowd[i].go);
    rc = yoke_nursery_close(&nursery, rc);
    yk_check(!plain.called && !abandoned.called);
    return rc;
}

/* Cancels a scope once a call in a thread has begun, and may let the call end after that. */
struct canceller {
    struct yoke_scope scope;
    struct held *held;
    bool let_go;
};

static int cancel_when_begun(void *arg)
{
    struct canceller *canceller = arg;

    wait_for(&canceller->held->begun);
    yoke_scope_cancel(&canceller->scope, "amid the call");
    if (canceller->let_go)
        sem_post(&canceller->held->go);
    return 0;
}

/* Makes a call and cancels it once it has begun. Returns what it gave. */
static int cancelled_amid(struct held *held, bool let_go, const struct yoke_thread_opts *opts)
{
    struct canceller canceller = {.held = held, .let_go = let_go};
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);
    int result;

    yk_check_int(yoke_scope_open(&canceller.scope, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, cancel_when_begun, &canceller), 0);
    result = yoke_thread_run(stay, held, opts);
    rc = result < 0 ? result : yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&canceller.scope, rc), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    return result;
}

YK_REAL_TEST(by_default_a_call_that_has_begun_is_not_cut_short)
{
    struct held held;

    held_init(&held);
    held.result = 3;
    yk_check_int(cancelled_amid(&held, true, NULL), 3);
    return 0;
}

YK_REAL_TEST(an_abandoned_call_goes_on_alone_and_gives_its_argument_back)
{
    struct held held;

    held_init(&held);
    yk_check_int(cancelled_amid(&held, false, &leave), YOKE_CANCELLED);
    yk_check(sem_trywait(&held.abandoned) < 0); /* it runs on */
    sem_post(&held.go);
    while (sem_trywait(&held.abandoned) < 0)
        yk_check_int(yoke_checkpoint(), 0);
    yk_check(pthread_equal(held.abandoned_in, pthread_self()));
    return 0;
}

YK_REAL_TEST(a_call_that_is_cancelled_before_it_is_made_gives_its_argument_back)
{
    struct yoke_scope scope;
    struct held held;

    held_init(&held);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(yoke_thread_run(stay, &held, &leave), YOKE_CANCELLED);
    yk_check_int(sem_trywait(&held.abandoned), 0);
    yk_check(!held.called);
    return yoke_scope_close(&scope, YOKE_CANCELLED);
}

/* Cancels when the thread is done but the runtime has not looked yet. */
static int cancel_late(void *arg)
{
    struct yoke_runtime *runtime = yk_runtime_current;

    while (atomic_load(&runtime->posts) == NULL)
        sched_yield();
    yoke_scope_cancel(arg, "too late");
    return 0;
}

YK_REAL_TEST(a_call_that_is_done_keeps_its_result_when_cancelled)
{
    struct yoke_nursery nursery;
    struct yoke_scope scope;
    struct held held;
    int rc = yoke_nursery_open(&nursery, NULL);

    held_init(&held);
    held.result = 4;
    sem_post(&held.go);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, cancel_late, &scope), 0);
    rc = yoke_thread_run(stay, &held, &leave);
    yk_check_int(rc, 4);
    yk_check_int(yoke_scope_close(&scope, rc), 4);
    yk_check(sem_trywait(&held.abandoned) < 0);
    return yoke_nursery_close(&nursery, 0);
}

/* What is written to stderr during call(arg). */
static void catch_stderr(void (*call)(void *arg), void *arg, char *text, size_t size)
{
    int fds[2], before = dup(2);
    ssize_t n;

    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(fds[1], 2);
    call(arg);
    dup2(before, 2);
    close(before);
    n = read(fds[0], text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    close(fds[0]);
    close(fds[1]);
}

static int leave_it(void *arg)
{
    yk_check_int(cancelled_amid(arg, false, &leave), YOKE_CANCELLED);
    return 0;
}

static void run_and_let_go(void *arg)
{
    struct held *held = arg;

    assert_int_equal(yoke_run(leave_it, held, NULL), 0); /* does not wait for the call */
    assert_true(sem_trywait(&held->abandoned) < 0);
    sem_post(&held->go);
    wait_for(&held->abandoned);
}

static void the_end_of_the_runtime_leaves_abandoned_calls_to_themselves(void **state)
{
    struct yoke_error_stats before, after;
    static struct held held;
    char text[4096];

    (void)state;
    held_init(&held);
    held.raises = true;
    yoke_error_stats(&before);
    catch_stderr(run_and_let_go, &held, text, sizeof text);
    yoke_error_stats(&after);
    assert_false(pthread_equal(held.abandoned_in, pthread_self()));
    assert_non_null(strstr(text, "test.Late: nobody waits for this"));
    assert_int_equal(after.lost, before.lost);
    assert_int_equal(after.live, before.live);
    assert_int_equal(yk_checks_failed(), 0);
}

YK_REAL_TEST(without_memory_a_call_fails_and_the_next_one_does_not)
{
    int seven = 7;

    for (unsigned n = 1; n <= 2; n++) {
        yk_memory_fail_at(n, false);
        yk_check_int(yoke_thread_run(give, &seven, NULL), -ENOMEM);
        yk_check_int(yk_memory_fail_at(0, false), 0);
        yk_check_caught("yoke.Thread", NULL);
    }
    yk_check_int(yoke_thread_run(give, &seven, NULL), 7);
    return 0;
}

/* No thread can be made whose stack does not fit into the address space. */
static void limit_threads(bool limited)
{
    static pthread_attr_t usual;
    pthread_attr_t huge;

    if (!limited) {
        yk_check_int(pthread_setattr_default_np(&usual), 0);
        return;
    }
    pthread_getattr_default_np(&usual);
    pthread_attr_init(&huge);
    yk_check_int(pthread_attr_setstacksize(&huge, (size_t)1 << 60), 0);
    yk_check_int(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
}

YK_REAL_TEST(without_any_thread_a_call_fails_and_the_next_one_does_not)
{
    int seven = 7;
    int rc;

    limit_threads(true);
    rc = yoke_thread_run(give, &seven, NULL);
    limit_threads(false);
#ifdef __GLIBC__ /* others bound the default size of stacks, and no thread is refused */
    yk_check(rc == -EAGAIN || rc == -ENOMEM);
    yk_check_caught("yoke.Thread", NULL);
#else
    yk_check_int(rc, 7);
#endif
    yk_check_int(yoke_thread_run(give, &seven, NULL), 7);
    return 0;
}

YK_REAL_TEST(with_one_thread_and_no_more_calls_take_turns)
{
    static struct held crowd[5];
    struct yoke_nursery nursery;
    int seven = 7;
    int rc = yoke_nursery_open(&nursery, NULL);

    yk_check_int(yoke_thread_run(give, &seven, NULL), 7);
    limit_threads(true);
    for (int i = 0; i < 5; i++) {
        held_init(&crowd[i]);
        sem_post(&crowd[i].go);
        yk_check_int(yoke_spawn(&nursery, run_held, &crowd[i]), 0);
    }
    rc = yoke_nursery_close(&nursery, rc);
    limit_threads(false);
    return rc;
}

/* --- printing ------------------------------------------------------------------------------- */

static int print_many(void *arg)
{
    int *fd = arg;
    int rc = 0;

    for (int i = 0; i < 50 && rc == 0; i++)
        rc = yoke_print(*fd, "<%d,%099d>", i, i);
    return rc;
}

struct reading {
    int fds[2];
    char text[32 << 10];
};

static void *read_all(void *arg)
{
    struct reading *reading = arg;
    size_t n = 0;
    ssize_t got;

    while ((got = read(reading->fds[0], reading->text + n, sizeof reading->text - 1 - n)) > 0)
        n += (size_t)got;
    reading->text[n] = '\0';
    return NULL;
}

/* How many whole texts of print_many are there, each behind the other. */
static int count_texts(const char *text)
{
    int n = 0;

    for (const char *c = text; *c != '\0'; n++) {
        int a = -1, b = -2, used = 0;

        if (sscanf(c, "<%d,%d>%n", &a, &b, &used) != 2 || a != b || used == 0)
            return -1;
        c += used;
    }
    return n;
}

static void open_narrow_pipe(int *fds)
{
    yk_check_int(pipe2(fds, O_CLOEXEC), 0);
    yk_check(fcntl(fds[1], F_SETPIPE_SZ, 4096) >= 4096);
}

YK_REAL_TEST(texts_of_several_tasks_do_not_mix)
{
    static struct reading reading;
    struct yoke_nursery writers;
    pthread_t thread;
    int rc = yoke_nursery_open(&writers, NULL);

    open_narrow_pipe(reading.fds);
    for (int i = 0; i < 4; i++)
        yk_check_int(yoke_spawn(&writers, print_many, &reading.fds[1]), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0); /* the pipe may be full by now */
    yk_check_int(pthread_create(&thread, NULL, read_all, &reading), 0);
    rc = yoke_nursery_close(&writers, rc);
    close(reading.fds[1]);
    pthread_join(thread, NULL);
    yk_check_int(count_texts(reading.text), 200);
    close(reading.fds[0]);
    return rc;
}

static int print_word(void *arg)
{
    return yoke_print(*(int *)arg, "word");
}

struct stuck {
    struct yoke_scope scope;
    int fds[2];
};

static int cancel_when_written(void *arg)
{
    struct stuck *stuck = arg;

    yk_check_int(poll(&(struct pollfd){.fd = stuck->fds[0], .events = POLLIN}, 1, -1), 1);
    yoke_scope_cancel(&stuck->scope, "nobody reads");
    return 0;
}

static void print_more_than_fits(struct stuck *stuck)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    yk_check_int(yoke_scope_open(&stuck->scope, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, cancel_when_written, stuck), 0);
    rc = yoke_print(stuck->fds[1], "%05000d", 7);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&stuck->scope, rc), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
}

YK_REAL_TEST(a_stuck_reader_stops_only_who_prints_until_that_is_cancelled)
{
    struct yoke_nursery waiting;
    struct stuck stuck;
    char bytes[8192];
    int *fds = stuck.fds, other[2];
    ssize_t n;
    int rc;

    open_narrow_pipe(fds);
    open_narrow_pipe(other);
    print_more_than_fits(&stuck);
    yk_check_int(yk_cancelled_when_blocked(print_word, &fds[1]), YOKE_CANCELLED);
    yk_check_int(yoke_print(other[1], "%s", "another descriptor"), 0);
    yk_check_int(yoke_nursery_open(&waiting, NULL), 0);
    yk_check_int(yoke_spawn(&waiting, print_word, &fds[1]), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    n = read(fds[0], bytes, 4096); /* lets the rest of the abandoned text in, then the word */
    rc = yoke_nursery_close(&waiting, 0);
    n += read(fds[0], bytes, sizeof bytes);
    yk_check_int(n, 5004);
    yk_check_int(memcmp(bytes + (n - 4096 - 4), "word", 4), 0);
    close(fds[0]);
    close(fds[1]);
    close(other[0]);
    close(other[1]);
    return rc;
}

YK_REAL_TEST(what_cannot_be_printed_is_an_error)
{
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    int fds[2];

    open_narrow_pipe(fds);
    close(fds[0]);
    yk_check_int(yoke_print(fds[1], "x"), -EPIPE); /* and no signal */
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(yoke_print(full, "x"), -ENOSPC);
    yk_check_caught("yoke.Io", NULL);
    yk_check_int(yoke_print(full, "%s", ""), 0);
    yk_check_int(yoke_print(-1, "x"), -EBADF);
    yk_check_caught("yoke.Io", NULL);
    yk_memory_fail_at(1, false);
    yk_check_int(yoke_print(full, "x"), -ENOMEM);
    yk_check_int(yk_memory_fail_at(0, false), 0);
    yk_check_caught("yoke.Io", NULL);
    close(fds[1]);
    close(full);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_gives_what_the_function_returns),
        cmocka_unit_test(functions_run_in_other_threads_without_signals),
        cmocka_unit_test(errors_raised_there_are_in_flight_here),
        cmocka_unit_test(more_calls_than_threads_wait_and_are_all_done),
        cmocka_unit_test(a_call_that_waits_for_a_thread_is_cancelled_without_effect),
        cmocka_unit_test(by_default_a_call_that_has_begun_is_not_cut_short),
        cmocka_unit_test(an_abandoned_call_goes_on_alone_and_gives_its_argument_back),
        cmocka_unit_test(a_call_that_is_cancelled_before_it_is_made_gives_its_argument_back),
        cmocka_unit_test(a_call_that_is_done_keeps_its_result_when_cancelled),
        cmocka_unit_test(the_end_of_the_runtime_leaves_abandoned_calls_to_themselves),
        cmocka_unit_test(without_memory_a_call_fails_and_the_next_one_does_not),
        cmocka_unit_test(without_any_thread_a_call_fails_and_the_next_one_does_not),
        cmocka_unit_test(with_one_thread_and_no_more_calls_take_turns),
        cmocka_unit_test(texts_of_several_tasks_do_not_mix),
        cmocka_unit_test(a_stuck_reader_stops_only_who_prints_until_that_is_cancelled),
        cmocka_unit_test(what_cannot_be_printed_is_an_error),
    };

    return cmocka_run_group_tests_name("worker threads", tests, NULL, NULL);
}
