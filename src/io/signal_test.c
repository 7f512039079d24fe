/* SPDX-License-Identifier: MIT */
/* Signal receivers: real signals, from this process, its children and the kernel. */
#include "../tests/support/realrun.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/memory.h"
#include "task/coro.h" /* YK_TSAN */

static const int both[] = {SIGUSR1, SIGUSR2};

/*
 * Leaves a test out under ThreadSanitizer: it keeps a signal that comes from outside for the
 * fiber that ran, until that one calls something again, which a parked task never does.
 */
#ifdef YK_TSAN
#define YK_SKIP_UNDER_TSAN() return 0
#else
#define YK_SKIP_UNDER_TSAN() (void)0
#endif

static void open_both(struct yoke_signals *signals)
{
    yk_check_int(yoke_signals_open(signals, both, 2), 0);
}

static int next_number(struct yoke_signals *signals)
{
    struct yoke_signal_info info = {.number = -1};

    yk_check_int(yoke_signals_wait(signals, &info), 0);
    return info.number;
}

/* How many of a signal are there until the other comes, which ends the count. */
static int count_until(struct yoke_signals *signals, int number, int last)
{
    int n = 0, got;

    while ((got = next_number(signals)) == number)
        n++;
    yk_check_int(got, last);
    return n;
}

YK_REAL_TEST(a_signal_tells_which_process_of_which_user_sent_it)
{
    struct yoke_signal_info info;
    struct yoke_signals signals;
    pid_t child;

    YK_SKIP_UNDER_TSAN();
    open_both(&signals);
    child = fork();
    if (child == 0) {
        kill(getppid(), SIGUSR1);
        _exit(0);
    }
    yk_check_int(yoke_signals_wait(&signals, &info), 0);
    yk_check_int(info.number, SIGUSR1);
    yk_check_int(info.pid, child);
    yk_check_int(info.uid, getuid());
    yk_check_int(waitpid(child, NULL, 0), child);
    raise(SIGUSR2);
    yk_check_int(yoke_signals_wait(&signals, &info), 0);
    yk_check_int(info.pid, getpid());
    yoke_signals_close(&signals);
    return 0;
}

YK_REAL_TEST(a_signal_of_the_kernel_has_no_sender)
{
    static const int alarm_signal[] = {SIGALRM};
    struct itimerval soon = {.it_value = {0, 1000}};
    struct yoke_signal_info info = {.pid = 7};
    struct yoke_signals signals;

    YK_SKIP_UNDER_TSAN();
    yk_check_int(yoke_signals_open(&signals, alarm_signal, 1), 0);
    yk_check_int(setitimer(ITIMER_REAL, &soon, NULL), 0);
    yk_check_int(yoke_signals_wait(&signals, &info), 0);
    yk_check_int(info.number, SIGALRM);
    yk_check_int(info.pid, 0);
    yoke_signals_close(&signals);
    return 0;
}

YK_REAL_TEST(each_receiver_gets_what_it_asked_for)
{
    struct yoke_signals a, b;

    open_both(&a);
    yk_check_int(yoke_signals_open(&b, both, 1), 0);
    raise(SIGUSR2);
    raise(SIGUSR1);
    yk_check_int(next_number(&a), SIGUSR2);
    yk_check_int(next_number(&a), SIGUSR1);
    yk_check_int(next_number(&b), SIGUSR1);
    yoke_signals_close(&a);
    raise(SIGUSR1); /* b still catches it */
    yk_check_int(next_number(&b), SIGUSR1);
    yoke_signals_close(&b);
    return 0;
}

static int wait_one(void *arg)
{
    struct yoke_signal_info info;

    return yoke_signals_wait(arg, &info);
}

YK_REAL_TEST(a_wait_is_cancelled_and_the_signal_kept)
{
    struct yoke_signals signals;
    struct yoke_scope scope;

    open_both(&signals);
    yk_check_int(yk_cancelled_when_blocked(wait_one, &signals), YOKE_CANCELLED);
    raise(SIGUSR1);
    yk_check_int(yoke_scope_open(&scope, NULL), 0);
    yoke_scope_cancel(&scope, NULL);
    yk_check_int(wait_one(&signals), YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&scope, YOKE_CANCELLED), 0);
    yk_check_int(next_number(&signals), SIGUSR1);
    yoke_signals_close(&signals);
    return 0;
}

YK_REAL_TEST(each_of_several_waiters_gets_one)
{
    struct yoke_signals signals;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    open_both(&signals);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_spawn(&nursery, wait_one, &signals), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    rc = yoke_nursery_close(&nursery, rc);
    yoke_signals_close(&signals);
    return rc;
}

YK_REAL_TEST(sixty_four_are_kept_and_none_of_another_kind_is_lost)
{
    struct yoke_signals signals;

    open_both(&signals);
    for (int i = 0; i < 200; i++)
        raise(SIGUSR1);
    raise(SIGUSR2);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(count_until(&signals, SIGUSR1, SIGUSR2), 63);
    raise(SIGUSR1);
    yk_check_int(next_number(&signals), SIGUSR1);
    yoke_signals_close(&signals);
    return 0;
}

/* More than a pipe holds, while the runtime does not look. */
YK_REAL_TEST(a_storm_of_one_signal_does_not_drown_another)
{
    struct yoke_signals signals;

    open_both(&signals);
    for (int i = 0; i < 10000; i++)
        raise(SIGUSR1);
    raise(SIGUSR2);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(count_until(&signals, SIGUSR1, SIGUSR2), 63);
    yoke_signals_close(&signals);
    return 0;
}

YK_REAL_TEST(a_storm_from_another_process_reaches_its_end)
{
    struct yoke_signals signals;
    pid_t child;

    YK_SKIP_UNDER_TSAN();
    open_both(&signals);
    child = fork();
    if (child == 0) {
        for (int i = 0; i < 20000; i++)
            kill(getppid(), SIGUSR1);
        kill(getppid(), SIGUSR2);
        _exit(0);
    }
    yk_check(count_until(&signals, SIGUSR1, SIGUSR2) > 0);
    yk_check_int(waitpid(child, NULL, 0), child);
    yoke_signals_close(&signals);
    return 0;
}

static void own_handler(int number)
{
    (void)number;
}

YK_REAL_TEST(the_handler_from_before_is_back_when_the_last_receiver_closes)
{
    struct sigaction own = {.sa_handler = own_handler}, now, usual;
    struct yoke_signals a, b;

    yk_check_int(sigaction(SIGUSR1, &own, &usual), 0);
    open_both(&a);
    open_both(&b);
    yoke_signals_close(&a);
    yk_check_int(sigaction(SIGUSR1, NULL, &now), 0);
    yk_check(now.sa_handler != own_handler);
    yoke_signals_close(&b);
    yk_check_int(sigaction(SIGUSR1, &usual, &now), 0);
    yk_check(now.sa_handler == own_handler);
    return 0;
}

static int open_in_second_runtime(void *arg)
{
    static const int another[] = {SIGHUP};
    struct yoke_signals signals;

    if (arg == NULL) {
        yk_check_int(yoke_signals_open(&signals, both, 2), -EBUSY);
        yk_check_caught("yoke.Signals", NULL);
        yk_check_int(yoke_signals_open(&signals, another, 1), 0);
    } else {
        open_both(&signals);
    }
    yoke_signals_close(&signals);
    return 0;
}

static void *second_runtime(void *arg)
{
    yk_check_int(yoke_run(open_in_second_runtime, arg, NULL), 0);
    return NULL;
}

static void run_second(void *arg)
{
    pthread_t thread;

    yk_check_int(pthread_create(&thread, NULL, second_runtime, arg), 0);
    pthread_join(thread, NULL);
}

YK_REAL_TEST(a_signal_belongs_to_one_runtime_at_a_time)
{
    struct yoke_signals signals;

    open_both(&signals);
    run_second(NULL);
    raise(SIGUSR1);
    yk_check_int(next_number(&signals), SIGUSR1);
    yoke_signals_close(&signals);
    run_second("may have it");
    return 0;
}

YK_REAL_TEST(what_cannot_be_caught_is_refused_and_nothing_stays_caught)
{
    static const int bad[][2] = {{SIGUSR1, SIGKILL}, {SIGUSR1, 0}, {SIGUSR1, 65}, {SIGUSR1, -3}};
    struct yoke_signals signals;
    struct sigaction now;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        yk_check_int(yoke_signals_open(&signals, bad[i], 2), -EINVAL);
        yk_check_caught("yoke.Signals", "signals can't be received: Invalid argument");
        yk_check_int(sigaction(SIGUSR1, NULL, &now), 0);
        yk_check(now.sa_handler == SIG_DFL);
    }
    return 0;
}

YK_REAL_TEST(without_descriptors_or_memory_it_fails_and_later_does_not)
{
    struct yoke_signals signals;
    struct rlimit before, none;

    yk_check_int(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    yk_check_int(setrlimit(RLIMIT_NOFILE, &none), 0);
    yk_check_int(yoke_signals_open(&signals, both, 2), -EMFILE);
    yk_check_int(setrlimit(RLIMIT_NOFILE, &before), 0);
    yk_check_caught("yoke.Signals", NULL);
    yk_memory_fail_at(1, false);
    yk_check_int(yoke_signals_open(&signals, both, 2), -ENOMEM);
    yk_check_int(yk_memory_fail_at(0, false), 0);
    yk_check_caught("yoke.Signals", NULL);
    open_both(&signals);
    yoke_signals_close(&signals);
    return 0;
}

static int leave_open(void *arg)
{
    static struct yoke_signals signals;

    (void)arg;
    return yoke_signals_open(&signals, both, 2);
}

static void a_receiver_that_outlives_its_runtime_is_misuse(void **state)
{
    pid_t child = fork();
    int status;

    (void)state;
    if (child == 0) {
        close(2);
        (void)!yoke_run(leave_open, NULL, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_tells_which_process_of_which_user_sent_it),
        cmocka_unit_test(a_signal_of_the_kernel_has_no_sender),
        cmocka_unit_test(each_receiver_gets_what_it_asked_for),
        cmocka_unit_test(a_wait_is_cancelled_and_the_signal_kept),
        cmocka_unit_test(each_of_several_waiters_gets_one),
        cmocka_unit_test(sixty_four_are_kept_and_none_of_another_kind_is_lost),
        cmocka_unit_test(a_storm_of_one_signal_does_not_drown_another),
        cmocka_unit_test(a_storm_from_another_process_reaches_its_end),
        cmocka_unit_test(the_handler_from_before_is_back_when_the_last_receiver_closes),
        cmocka_unit_test(a_signal_belongs_to_one_runtime_at_a_time),
        cmocka_unit_test(what_cannot_be_caught_is_refused_and_nothing_stays_caught),
        cmocka_unit_test(without_descriptors_or_memory_it_fails_and_later_does_not),
        cmocka_unit_test(a_receiver_that_outlives_its_runtime_is_misuse),
    };

    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
