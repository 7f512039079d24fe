/* SPDX-License-Identifier: MIT */
/* What testers of programs get: faults in every place, and a clock in their hands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include <yoke/channel.h>
#include <yoke/error.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/runtime.h>
#include <yoke/testing.h>

static size_t descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    size_t n = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        n++;
    closedir(directory);
    return n;
}

/* A program with channels, worker threads and descriptors. */
struct pipeline {
    struct yoke_channel *channel;
    int fds[2];
};

static int add_one(void *arg)
{
    ++*(int *)arg;
    return 0;
}

static int produce(void *arg)
{
    struct pipeline *pipeline = arg;
    int rc = 0;

    for (int i = 0; i < 5 && rc == 0; i++) {
        int item = i;

        rc = yoke_thread_run(add_one, &item, NULL);
        if (rc == 0)
            rc = yoke_channel_send(pipeline->channel, &item);
    }
    yoke_channel_close_send(pipeline->channel);
    return rc;
}

static int consume(void *arg)
{
    struct pipeline *pipeline = arg;
    int item, rc;

    while ((rc = yoke_channel_receive(pipeline->channel, &item)) > 0) {
        rc = yoke_write_all(pipeline->fds[1], &item, sizeof item, NULL);
        if (rc < 0)
            return rc;
    }
    close(pipeline->fds[1]);
    pipeline->fds[1] = -1;
    return rc;
}

static int sum_up(void *arg)
{
    struct pipeline *pipeline = arg;
    int item, sum = 0;
    ssize_t n;

    while ((n = yoke_read(pipeline->fds[0], &item, sizeof item)) == (ssize_t)sizeof item)
        sum += item;
    return n < 0 ? (int)n : sum == 15 ? 0 : yoke_raise("test.Sum", EBADMSG, "the sum is %d", sum);
}

static int run_pipeline(void *arg)
{
    struct pipeline pipeline = {.channel = yoke_channel_new(sizeof(int), 1), .fds = {-1, -1}};
    struct yoke_nursery nursery;
    int rc = pipeline.channel == NULL ? yoke_error_code(yoke_in_flight()) : 0;

    (void)arg;
    if (rc < 0)
        return rc;
    assert_int_equal(pipe2(pipeline.fds, O_NONBLOCK | O_CLOEXEC), 0);
    rc = yoke_nursery_open(&nursery, NULL);
    if (rc == 0)
        rc = yoke_spawn(&nursery, sum_up, &pipeline);
    if (rc == 0)
        rc = yoke_spawn(&nursery, consume, &pipeline);
    if (rc == 0)
        rc = yoke_spawn(&nursery, produce, &pipeline);
    rc = yoke_nursery_close(&nursery, rc);
    yoke_channel_unref(pipeline.channel);
    close(pipeline.fds[0]);
    if (pipeline.fds[1] >= 0)
        close(pipeline.fds[1]);
    return rc;
}

static unsigned good_runs, failed_runs;

static int run_on(struct yoke_host *host, void *arg)
{
    int rc = yoke_run(run_pipeline, arg, &(struct yoke_run_opts){.host = host});

    if (rc < 0)
        failed_runs++;
    else
        good_runs++;
    return rc;
}

static struct yoke_host *new_linux_host(void *arg)
{
    (void)arg;
    return yoke_host_linux_new();
}

static void every_single_failure_leaves_an_error_and_nothing_else(void **state)
{
    size_t before = descriptors();
    int n;

    (void)state;
    good_runs = failed_runs = 0;
    n = yoke_run_with_each_fault(run_on, NULL,
                                 &(struct yoke_fault_opts){.new_host = new_linux_host});
    if (n < 0)
        fail_msg("%s", yoke_error_message(yoke_in_flight()));
    assert_true(n > 12); /* it does allocate, and watch descriptors */
    assert_int_equal(good_runs + failed_runs, n + 3);
    /* The last of each kind has no failure. Few others can do without what they did not get. */
    assert_true(good_runs >= 3 && good_runs < failed_runs);
    assert_int_equal(descriptors(), before);
}

static int fail_silently(struct yoke_host *host, void *arg)
{
    struct yoke_channel *channel;

    (void)host;
    (void)arg;
    channel = yoke_channel_new(sizeof(int), 1);
    if (channel != NULL) {
        yoke_channel_unref(channel);
        return 0;
    }
    yoke_clear();
    return -ENOMEM;
}

static struct yoke_error *leaked;

static int leak(struct yoke_host *host, void *arg)
{
    (void)host;
    (void)arg;
    if (leaked == NULL) {
        yoke_raise("test.Leaked", EIO, "nobody lets go of it");
        leaked = yoke_catch();
    }
    return 0;
}

static void what_breaks_a_rule_is_named(void **state)
{
    (void)state;
    assert_int_equal(yoke_run_with_each_fault(fail_silently, NULL, NULL), -ENOTRECOVERABLE);
    assert_string_equal(yoke_error_message(yoke_in_flight()),
                        "allocation number 1 failed, and it failed without an error "
                        "(result ENOMEM)");
    yoke_clear();
    assert_int_equal(yoke_run_with_each_fault(leak, NULL,
                                              &(struct yoke_fault_opts){.no_allocations = true}),
                     -ENOTRECOVERABLE);
    assert_non_null(
        strstr(yoke_error_message(yoke_in_flight()), "an error object was left behind"));
    yoke_clear();
    leaked = yoke_error_unref(leaked);
}

/* --- the clock ------------------------------------------------------------------------------ */

static int nap(void *arg)
{
    int64_t before = yoke_now();
    int rc = yoke_sleep(YOKE_S(10));

    *(int64_t *)arg = yoke_now() - before;
    return rc;
}

struct mover {
    struct yoke_host *host;
    atomic_bool done;
};

static void *move_clock(void *arg)
{
    struct mover *mover = arg;
    int rc = 0;

    while (rc == 0 && !atomic_load(&mover->done))
        rc = yoke_sim_advance(mover->host, YOKE_S(1));
    return rc == 0 ? NULL : arg;
}

static void without_autojump_another_thread_may_move_the_clock(void **state)
{
    struct mover mover = {.host = yoke_host_sim_new(1)};
    struct yoke_run_opts opts = {.host = mover.host};
    int64_t slept = 0;
    pthread_t thread;
    void *failed;

    (void)state;
    assert_int_equal(yoke_sim_set_autojump(mover.host, false), 0);
    assert_int_equal(pthread_create(&thread, NULL, move_clock, &mover), 0);
    assert_int_equal(yoke_run(nap, &slept, &opts), 0);
    atomic_store(&mover.done, true);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_true(slept >= YOKE_S(10));
    yoke_host_free(mover.host);
}

struct clock_test {
    struct yoke_host *host;
    int64_t slept;
};

static int nap_then_tell(void *arg)
{
    return nap(&((struct clock_test *)arg)->slept);
}

/* The clock is moved by a task, in steps; the sleeper wakes at the first that is far enough. */
static int move_in_steps(void *arg)
{
    struct clock_test *test = arg;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, nap_then_tell, test);
    for (int i = 0; i < 4 && rc == 0; i++) {
        rc = yoke_wait_all_tasks_blocked();
        if (rc == 0 && test->slept != 0)
            rc = yoke_raise("test.Early", EINVAL, "it slept for less than it should");
        if (rc == 0)
            rc = yoke_sim_advance(test->host, YOKE_S(3));
    }
    return yoke_nursery_close(&nursery, rc);
}

static void a_task_may_move_the_clock_and_wakes_what_is_due(void **state)
{
    struct clock_test test = {.host = yoke_host_sim_new(1)};

    (void)state;
    assert_int_equal(yoke_sim_set_autojump(test.host, false), 0);
    assert_int_equal(yoke_run(move_in_steps, &test, &(struct yoke_run_opts){.host = test.host}), 0);
    assert_int_equal(test.slept, YOKE_S(12));
    yoke_host_free(test.host);
}

static void the_clock_of_another_host_can_not_be_moved(void **state)
{
    struct yoke_host *host = yoke_host_linux_new();

    (void)state;
    assert_int_equal(yoke_sim_advance(host, 1), -EINVAL);
    yoke_clear();
    assert_int_equal(yoke_sim_set_autojump(host, false), -EINVAL);
    yoke_clear();
    yoke_host_free(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_single_failure_leaves_an_error_and_nothing_else),
        cmocka_unit_test(what_breaks_a_rule_is_named),
        cmocka_unit_test(without_autojump_another_thread_may_move_the_clock),
        cmocka_unit_test(a_task_may_move_the_clock_and_wakes_what_is_due),
        cmocka_unit_test(the_clock_of_another_host_can_not_be_moved),
    };

    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
