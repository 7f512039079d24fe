/* SPDX-License-Identifier: MIT */
/* Waiting for others: mutexes, select, calls in worker threads. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <yoke/channel.h>
#include <yoke/io.h>
#include <yoke/mutex.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>
#include <yoke/select.h>

#include "../bench/bench.h"

enum { LOCKS = 4000000, HANDED = 1000000, ITEMS = 500000, CALLS = 20000, LANES = 2 };

static int locks(long n)
{
    struct yoke_mutex mutex;
    int rc = 0;

    yoke_mutex_init(&mutex);
    for (long i = 0; rc == 0 && i < n; i++) {
        rc = yoke_mutex_lock(&mutex);
        if (rc == 0)
            yoke_mutex_unlock(&mutex);
    }
    yoke_mutex_fini(&mutex);
    return rc;
}

static int mutex_value(double *ret)
{
    return bench_in_runtime(locks, LOCKS, ret);
}

static int plain_locks(long n)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    for (long i = 0; i < n; i++) {
        pthread_mutex_lock(&mutex);
        pthread_mutex_unlock(&mutex);
    }
    pthread_mutex_destroy(&mutex);
    return 0;
}

static int mutex_floor(double *ret)
{
    return bench_plain(plain_locks, LOCKS, ret);
}

struct contest {
    struct yoke_mutex mutex;
    long n; /* for each of two tasks */
};

static int contend(void *arg)
{
    struct contest *contest = arg;
    int rc = 0;

    for (long i = 0; rc == 0 && i < contest->n; i++) {
        rc = yoke_mutex_lock(&contest->mutex);
        if (rc < 0)
            return rc;
        rc = yoke_checkpoint();
        yoke_mutex_unlock(&contest->mutex);
    }
    return rc;
}

/* Held over a checkpoint by two tasks, so that each lock is handed over. */
static int handed_locks(long n)
{
    struct contest contest = {.n = n / 2};
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    yoke_mutex_init(&contest.mutex);
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = yoke_spawn(&nursery, contend, &contest);
    rc = yoke_nursery_close(&nursery, rc);
    yoke_mutex_fini(&contest.mutex);
    return rc;
}

static int handed_value(double *ret)
{
    return bench_in_runtime(handed_locks, HANDED, ret);
}

struct lanes {
    struct yoke_channel *channels[LANES];
    long n;
};

static int feed(void *arg)
{
    struct lanes *lanes = arg;
    int rc = 0;

    for (int64_t i = 0; rc == 0 && i < lanes->n; i++)
        rc = yoke_channel_send(lanes->channels[i % LANES], &i);
    return rc;
}

static int take(void *arg)
{
    struct lanes *lanes = arg;
    int64_t items[LANES];
    struct yoke_select_case cases[LANES];
    int rc = 0;

    for (int i = 0; i < LANES; i++)
        cases[i] = yoke_case_receive(lanes->channels[i], &items[i]);
    for (long i = 0; rc >= 0 && i < lanes->n; i++)
        rc = yoke_select(cases, LANES, NULL);
    return rc < 0 ? rc : 0;
}

static int selects(long n)
{
    struct lanes lanes = {.n = n};
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    for (int i = 0; rc == 0 && i < LANES; i++) {
        lanes.channels[i] = yoke_channel_new(sizeof(int64_t), 0);
        if (lanes.channels[i] == NULL)
            rc = -ENOMEM;
    }
    if (rc == 0)
        rc = yoke_spawn(&nursery, feed, &lanes);
    if (rc == 0)
        rc = yoke_spawn(&nursery, take, &lanes);
    rc = yoke_nursery_close(&nursery, rc);
    for (int i = 0; i < LANES; i++)
        yoke_channel_unref(lanes.channels[i]);
    return rc;
}

static int select_value(double *ret)
{
    return bench_in_runtime(selects, ITEMS, ret);
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

static int thread_calls(long n)
{
    int rc = 0;

    for (long i = 0; rc == 0 && i < n; i++)
        rc = yoke_thread_run(nothing, NULL, NULL);
    return rc;
}

static int thread_value(double *ret)
{
    double ns = 0;
    int rc = bench_in_runtime(thread_calls, CALLS, &ns);

    *ret = ns / 1e3;
    return rc;
}

/* Whose turn it is: 0 the caller's, 1 the thread's, 2 the end. */
static atomic_int turn;

static void give_turn(int to)
{
    atomic_store(&turn, to);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void await_turn(int not_while)
{
    while (atomic_load(&turn) == not_while)
        syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, not_while, NULL, NULL, 0);
}

static void *answer(void *arg)
{
    for (;;) {
        await_turn(0);
        if (atomic_load(&turn) == 2)
            return arg;
        give_turn(0);
    }
}

static int futex_calls(long n)
{
    for (long i = 0; i < n; i++) {
        give_turn(1);
        await_turn(1);
    }
    return 0;
}

static int thread_floor(double *ret)
{
    double ns = 0;
    pthread_t thread;
    int rc;

    atomic_store(&turn, 0);
    rc = -pthread_create(&thread, NULL, answer, NULL);
    if (rc < 0)
        return rc;
    rc = bench_plain(futex_calls, CALLS, &ns);
    give_turn(2);
    pthread_join(thread, NULL);
    *ret = ns / 1e3;
    return rc;
}

const struct bench_case bench_wait_cases[] = {
    {"mutex", "ns", mutex_value, mutex_floor, "a free pthread mutex locked and unlocked", false},
    {"mutex_handed", "ns", handed_value, bench_raw_switch, "a bare coroutine switch", false},
    {"select_2", "ns", select_value, bench_raw_switch, "a bare coroutine switch", false},
    {"thread_run", "us", thread_value, thread_floor, "a futex there and back between two threads",
     false},
    {0},
};
