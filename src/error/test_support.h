/* SPDX-License-Identifier: MIT */
/* For the tests of this layer: a locus that looks like a task, and the check that nothing is lost.
 */
#ifndef YK_ERROR_TEST_SUPPORT_H
#define YK_ERROR_TEST_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"
#include "error/error.h"
#include "error/tree.h"

static struct yoke_error_stats stats_before;

/* Around each test: nothing is in flight, every object is gone, and no error was lost. */
static inline int conserve_setup(void **state)
{
    (void)state;
    yoke_error_stats(&stats_before);
    return 0;
}

static inline int conserve_teardown(void **state)
{
    struct yoke_error_stats stats;

    (void)state;
    yoke_error_stats(&stats);
    assert_null(yoke_in_flight());
    assert_int_equal(stats.lost, stats_before.lost);
    assert_int_equal(stats.live, stats_before.live);
    assert_int_equal(stats.raised - stats_before.raised, stats.settled - stats_before.settled);
    return 0;
}

#define CONSERVING(test) cmocka_unit_test_setup_teardown(test, conserve_setup, conserve_teardown)

static inline uint64_t lost_since_setup(void)
{
    struct yoke_error_stats stats;

    yoke_error_stats(&stats);
    return stats.lost - stats_before.lost;
}

/* A task of an actor, to run a test as. */
struct test_locus {
    struct yk_locus locus;
    struct yoke_actor_id actor;
};

static inline void enter_locus(struct test_locus *test, const char *actor, const char *uuid,
                               int32_t pid, const char *task)
{
    memset(test, 0, sizeof *test);
    YK_TEXT_COPY(test->actor.name, actor);
    YK_TEXT_COPY(test->actor.uuid, uuid);
    YK_TEXT_COPY(test->actor.host, "here");
    test->actor.pid = pid;
    test->locus.actor = &test->actor;
    test->locus.task_id = 7;
    test->locus.task_name = task;
    yk_locus_current = &test->locus;
}

static inline void leave_locus(void)
{
    yk_locus_current = NULL;
}

static inline struct yoke_cause *scope_cause(const char *reason)
{
    return yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_TASK,
                                                .kind = YOKE_CAUSE_SCOPE,
                                                .reason = reason});
}

/* Raises a Cancelled of a new cause. */
static inline void raise_a_cancelled(const char *reason)
{
    struct yoke_cause *cause = scope_cause(reason);

    assert_int_equal(yk_raise_cancelled(NULL, cause, NULL, 0), YOKE_CANCELLED);
    yoke_cause_unref(cause);
}

/* An error of this type that is not in flight. */
static inline struct yoke_error *make(const char *type)
{
    return yk_error_make(YOKE_HERE, type, EINVAL, "%s happened", type);
}

/* Sends the error over a link, as it were: to a tree and back. Takes over the reference. */
static inline struct yoke_error *sent(struct yoke_error *error)
{
    struct yk_arena arena;
    struct yoke_error *received;

    yk_arena_init(&arena);
    received = yk_error_from_value(yk_error_to_value(&arena, error, false));
    yk_arena_fini(&arena);
    yk_error_absorb(error);
    assert_non_null(received);
    return received;
}

static inline void assert_in_flight(const char *type)
{
    assert_non_null(yoke_in_flight());
    assert_string_equal(yoke_error_type(yoke_in_flight()), type);
}

/* Runs fn in a child that must abort; what it wrote to stderr goes to `text`. */
static inline void assert_aborts(void (*fn)(void), char *text, size_t size)
{
    int ends[2];
    size_t used = 0;
    ssize_t n;
    int status;
    pid_t child;

    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        signal(SIGABRT, SIG_DFL);
        fn();
        _exit(0);
    }
    close(ends[1]);
    while ((n = read(ends[0], text + used, size - 1 - used)) > 0)
        used += (size_t)n;
    text[used] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

#endif
