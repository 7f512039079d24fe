/* SPDX-License-Identifier: MIT */
/*
 * For tests: runs a task function in simulated worlds, one after another, each with another order
 * of ready tasks, and checks what every run leaves behind: no error lost, no error object alive.
 *
 * Assertions of cmocka leave the function by longjmp, which must not happen on a task's stack. So
 * tasks use the yk_check macros: what fails is printed with its seed and counted, the task goes
 * on, and the run as a whole fails on the caller's stack.
 */
#ifndef YK_TESTS_SUPPORT_SIMRUN_H
#define YK_TESTS_SUPPORT_SIMRUN_H

#include <yoke/error.h>
#include <yoke/runtime.h>

enum { YK_SIM_SEEDS = 24 }; /* worlds per test unless YOKE_TEST_SEED names a single one */

struct yk_sim {
    unsigned seeds; /* 0: YK_SIM_SEEDS */
    bool in_order;  /* ready tasks run in the order in which they became ready; one world */
    /*
     * Looks at the result of yoke_run and takes its error out of flight. NULL: the result must be
     * 0 with nothing in flight.
     */
    void (*inspect)(int rc);
};

/* Runs fn(arg) as the main task of each world. Fails the cmocka test if a check fails in one. */
#define yk_sim_run(fn, arg, ...) yk_sim_run_at(YOKE_HERE, (fn), #fn, (arg), __VA_ARGS__)
void yk_sim_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name, void *arg,
                   const struct yk_sim *sim);

/* The seed of the world that runs; for tests that draw numbers of their own. */
uint64_t yk_sim_seed(void);

/* A cmocka test named for the law it shows. Its body is a task function: int body(void *arg). */
#define YK_SIM_TEST(law)          YK_SIM_TEST_WITH(law, NULL)
#define YK_SIM_TEST_IN_ORDER(law) YK_SIM_TEST_WITH(law, &(struct yk_sim){.in_order = true})
#define YK_SIM_TEST_WITH(law, sim)                                                                 \
    static int law##_task(void *arg);                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        (void)state;                                                                               \
        yk_sim_run(law##_task, NULL, sim);                                                         \
    }                                                                                              \
    static int law##_task(void *arg __attribute__((unused)))

#define yk_check(expression)                                                                       \
    ((expression) ? (void)0 : yk_check_failed(__FILE__, __LINE__, "%s", #expression))
#define yk_check_int(actual, expected)                                                             \
    yk_check_int_at(__FILE__, __LINE__, #actual, (long long)(actual), (long long)(expected))
#define yk_check_text(actual, expected)                                                            \
    yk_check_text_at(__FILE__, __LINE__, #actual, (actual), (expected))

void yk_check_failed(const char *file, int line, const char *format, ...) YOKE_PRINTF(3, 4);
void yk_check_int_at(const char *file, int line, const char *what, long long actual,
                     long long expected);
void yk_check_text_at(const char *file, int line, const char *what, const char *actual,
                      const char *expected);

/* The task tree of the last deadlock of a run; "" before. Valid until the next one. */
const char *yk_sim_deadlock_tree(void);

/* How many checks have failed so far; threads of one test share the count. */
unsigned yk_checks_failed(void);

/* Catches what is in flight and checks its type and message; a message of NULL may be any. */
#define yk_check_caught(type, message) yk_check_caught_at(__FILE__, __LINE__, (type), (message))
void yk_check_caught_at(const char *file, int line, const char *type, const char *message);

#endif
