/* SPDX-License-Identifier: MIT */
/* The simulated host by itself: its time, its entropy, and wakes from real threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "host/host.h"

static struct yoke_host *new_host(uint64_t seed)
{
    struct yoke_host *host = NULL;

    assert_int_equal(yk_host_sim_new(seed, &host), 0);
    return host;
}

static void time_jumps_to_what_is_asked_for_and_stands_otherwise(void **state)
{
    struct yoke_host *host = new_host(1);

    (void)state;
    assert_int_equal(host->ops->now(host), YOKE_S(1));
    assert_int_equal(host->ops->poll(host, 0, false), 0);
    assert_int_equal(host->ops->poll(host, YOKE_MS(3), false), 0); /* past */
    assert_int_equal(host->ops->now(host), YOKE_S(1));
    assert_int_equal(host->ops->poll(host, YOKE_S(4000), false), 0);
    assert_int_equal(host->ops->now(host), YOKE_S(4000));
    assert_int_equal(host->ops->wall(host), YOKE_S(4000));
    assert_int_equal(host->ops->poll(host, YOKE_NEVER, false), 0);
    assert_int_equal(host->ops->now(host), YOKE_S(4000));
    host->ops->free(host);
}

static void entropy_is_the_seeds(void **state)
{
    struct yoke_host *a = new_host(7), *b = new_host(7), *c = new_host(8);
    unsigned char from_a[32], from_b[32], from_c[32];

    (void)state;
    a->ops->entropy(a, from_a, sizeof from_a);
    b->ops->entropy(b, from_b, sizeof from_b);
    c->ops->entropy(c, from_c, sizeof from_c);
    assert_memory_equal(from_a, from_b, sizeof from_a);
    assert_memory_not_equal(from_a, from_c, sizeof from_a);
    a->ops->free(a);
    b->ops->free(b);
    c->ops->free(c);
}

static void a_wake_keeps_the_clock_from_jumping_once(void **state)
{
    struct yoke_host *host = new_host(1);

    (void)state;
    host->ops->wake(host);
    host->ops->wake(host);
    assert_int_equal(host->ops->poll(host, YOKE_S(9), false), 0);
    assert_int_equal(host->ops->now(host), YOKE_S(1));
    assert_int_equal(host->ops->poll(host, YOKE_S(9), false), 0);
    assert_int_equal(host->ops->now(host), YOKE_S(9));
    host->ops->free(host);
}

static void *wake(void *arg)
{
    struct yoke_host *host = arg;

    host->ops->wake(host);
    return NULL;
}

static void while_a_thread_is_out_the_clock_waits_for_it(void **state)
{
    struct yoke_host *host = new_host(1);
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, wake, host), 0);
    assert_int_equal(host->ops->poll(host, YOKE_S(9), true), 0);
    assert_int_equal(host->ops->now(host), YOKE_S(1));
    assert_int_equal(pthread_join(thread, NULL), 0);
    host->ops->free(host);
}

static void what_it_does_not_have_is_refused(void **state)
{
    struct yoke_host *host = new_host(1);
    struct yk_watch watch = {.fd = 0};
    struct yk_process process = {.pid = 1, .pidfd = -1};
    struct yk_spawn spawn = {.path = "/bin/true"};
    struct yk_exit end;

    (void)state;
    assert_int_equal(host->ops->watch_add(host, &watch), -ENOSYS);
    host->ops->watch_remove(host, &watch);
    assert_int_equal(host->ops->spawn(host, &spawn, &process), -ENOSYS);
    assert_int_equal(host->ops->reap(host, &process, &end), -ENOSYS);
    assert_int_equal(host->ops->kill(host, &process, 9), -ENOSYS);
    host->ops->free(host);
}

static void without_memory_there_is_no_host(void **state)
{
    struct yoke_host *host = NULL;

    (void)state;
    yk_memory_fail_at(1, false);
    assert_int_equal(yk_host_sim_new(1, &host), -ENOMEM);
    assert_int_equal(yk_memory_fail_at(0, false), 0);
    assert_null(host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(time_jumps_to_what_is_asked_for_and_stands_otherwise),
        cmocka_unit_test(entropy_is_the_seeds),
        cmocka_unit_test(a_wake_keeps_the_clock_from_jumping_once),
        cmocka_unit_test(while_a_thread_is_out_the_clock_waits_for_it),
        cmocka_unit_test(what_it_does_not_have_is_refused),
        cmocka_unit_test(without_memory_there_is_no_host),
    };

    return cmocka_run_group_tests_name("the simulated host", tests, NULL, NULL);
}
