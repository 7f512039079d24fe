/* SPDX-License-Identifier: MIT */
/*
 * Worlds for tests. A run goes over a fixed list of seeds, or over the one in YOKE_TEST_SEED, so
 * that a failing world can be run alone. Conservation is checked by the difference of the
 * process-wide counts before and after each run, since other tests of the process have counted
 * too.
 *
 * Runs on the stack of the test; the checks run on any stack and in any thread.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PRINTED_MAX = 20 }; /* failed checks shown: a loop must not flood the log */

static atomic_uint failed;
static char *deadlock_tree; /* of the last one; kept for the life of the process */
static _Atomic uint64_t seed_now;

static void keep_tree(void *arg, const char *tree)
{
    (void)arg;
    free(deadlock_tree);
    deadlock_tree = strdup(tree);
}

const char *yk_sim_deadlock_tree(void)
{
    return deadlock_tree == NULL ? "" : deadlock_tree;
}

uint64_t yk_sim_seed(void)
{
    return atomic_load(&seed_now);
}

unsigned yk_checks_failed(void)
{
    return atomic_load(&failed);
}

void yk_check_failed(const char *file, int line, const char *format, ...)
{
    char text[512];
    va_list arguments;

    if (atomic_fetch_add(&failed, 1) >= PRINTED_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s:%d: check failed: %s\n  task %s, YOKE_TEST_SEED=%llu\n", file, line, text,
            yoke_task_name(), (unsigned long long)yk_sim_seed());
}

void yk_check_int_at(const char *file, int line, const char *what, long long actual,
                     long long expected)
{
    if (actual != expected)
        yk_check_failed(file, line, "%s is %lld, not %lld", what, actual, expected);
}

void yk_check_text_at(const char *file, int line, const char *what, const char *actual,
                      const char *expected)
{
    if (actual == NULL || strcmp(actual, expected) != 0)
        yk_check_failed(file, line, "%s is \"%s\", not \"%s\"", what,
                        actual == NULL ? "(null)" : actual, expected);
}

void yk_check_caught_at(const char *file, int line, const char *type, const char *message)
{
    struct yoke_error *error = yoke_catch();

    if (error == NULL) {
        yk_check_failed(file, line, "nothing is in flight, not %s", type);
        return;
    }
    yk_check_text_at(file, line, "the type caught", yoke_error_type(error), type);
    if (message != NULL)
        yk_check_text_at(file, line, "the message caught", yoke_error_message(error), message);
    yoke_error_unref(error);
}

static void nothing_went_wrong(int rc)
{
    const struct yoke_error *error = yoke_in_flight();

    yk_check_int(rc, 0);
    if (error != NULL)
        yk_check_failed(__FILE__, __LINE__, "the run failed with %s: %s", yoke_error_type(error),
                        yoke_error_message(error));
    yoke_clear();
}

struct program {
    const struct yoke_site *site;
    yoke_task_fn fn;
    const char *name;
    void *arg;
};

static void run_world(const struct program *program, const struct yk_sim *sim, uint64_t seed)
{
    struct yoke_run_opts opts = {
        .shuffle = !sim->in_order,
        .seed = seed,
        .on_deadlock = keep_tree,
    };
    struct yoke_error_stats before, after;
    int rc;

    atomic_store(&seed_now, seed);
    yoke_error_stats(&before);
    opts.host = yoke_host_sim_new(seed);
    assert_non_null(opts.host);
    rc = yoke_run_at(program->site, program->fn, program->name, program->arg, &opts);
    yoke_host_free(opts.host);
    (sim->inspect != NULL ? sim->inspect : nothing_went_wrong)(rc);
    yk_check(yoke_in_flight() == NULL);
    yoke_error_stats(&after);
    yk_check_int(after.lost - before.lost, 0);
    yk_check_int(after.live - before.live, 0);
}

void yk_sim_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name, void *arg,
                   const struct yk_sim *sim)
{
    static const struct yk_sim defaults;
    struct program program = {.site = site, .fn = fn, .name = fn_name, .arg = arg};
    const char *given = getenv("YOKE_TEST_SEED");
    uint64_t first = given != NULL ? strtoull(given, NULL, 0) : 1;
    unsigned before = yk_checks_failed();
    unsigned seeds;

    if (sim == NULL)
        sim = &defaults;
    seeds = sim->in_order || given != NULL ? 1 : sim->seeds != 0 ? sim->seeds : YK_SIM_SEEDS;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        run_world(&program, sim, seed);
        if (yk_checks_failed() != before)
            fail_msg("checks failed; to repeat: YOKE_TEST_SEED=%llu", (unsigned long long)seed);
    }
}
