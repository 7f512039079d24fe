/* SPDX-License-Identifier: MIT */
/* Task-locals: nesting, inheritance by copy of what is set then, memory. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/local.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/memory.h"

struct point {
    int x, y;
};

static const struct yoke_local_key number = YOKE_LOCAL_KEY("number", int);
static const struct yoke_local_key place = YOKE_LOCAL_KEY("place", struct point);

static void check_number_at(int line, int expected) /* 0: not set */
{
    const int *value = yoke_local_get(&number);

    yk_check_int_at(__FILE__, line, "the number", value == NULL ? 0 : *value, expected);
}
#define check_number(expected) check_number_at(__LINE__, (expected))

YK_SIM_TEST(a_value_is_seen_in_its_block_and_the_outer_one_after_it)
{
    struct point at = {1, 2};
    struct yoke_local outer, middle, inner;
    int value = 7;

    check_number(0);
    yk_check(yoke_local_get(&place) == NULL);
    yk_check_int(yoke_local_set(&outer, &number, &value), 0);
    value = 8; /* it was copied */
    check_number(7);
    yk_check_int(yoke_local_set(&middle, &place, &at), 0);
    yk_check_int(yoke_local_set(&inner, &number, &value), 0);
    check_number(8);
    yk_check(memcmp(yoke_local_get(&place), &at, sizeof at) == 0);
    yoke_local_restore(&inner);
    check_number(7);
    yoke_local_restore(&middle);
    yk_check(yoke_local_get(&place) == NULL);
    check_number(7);
    yoke_local_restore(&outer);
    check_number(0);
    return 0;
}

struct heir {
    int sees;
    int sets;                      /* for itself; 0: nothing */
    struct yoke_nursery *children; /* spawns one heir in there, unless NULL */
    struct heir *child;
};

static int inherit(void *arg)
{
    struct heir *heir = arg;
    struct yoke_local local;
    int rc = 0;

    check_number(heir->sees);
    if (heir->sets != 0) {
        yk_check_int(yoke_local_set(&local, &number, &heir->sets), 0);
        check_number(heir->sets);
    }
    if (heir->children != NULL)
        rc = yoke_spawn(heir->children, inherit, heir->child);
    if (rc == 0)
        rc = yoke_sleep(YOKE_MS(1));
    if (heir->sets != 0)
        yoke_local_restore(&local);
    check_number(heir->sees);
    return rc;
}

YK_SIM_TEST(a_spawned_task_has_what_its_spawner_has_set_at_that_moment)
{
    struct heir unset = {.sees = 0, .sets = 3}, first = {.sees = 1}, second = {.sees = 2};
    struct yoke_nursery nursery;
    struct yoke_local one, two;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, inherit, &unset), 0);
    yk_check_int(yoke_local_set(&one, &number, &(int){1}), 0);
    yk_check_int(yoke_spawn(&nursery, inherit, &first), 0);
    yk_check_int(yoke_local_set(&two, &number, &(int){2}), 0);
    yk_check_int(yoke_spawn(&nursery, inherit, &second), 0);
    yoke_local_restore(&two);
    yoke_local_restore(&one);
    check_number(0);
    return yoke_nursery_close(&nursery, 0); /* they outlive the blocks, and keep their values */
}

YK_SIM_TEST(what_counts_is_who_spawns_not_in_which_nursery)
{
    struct yoke_nursery outer;
    struct heir grandchild = {.sees = 5};
    struct heir child = {.sees = 1, .sets = 5, .children = &outer, .child = &grandchild};
    struct yoke_local local;

    yk_check_int(yoke_nursery_open(&outer, NULL), 0);
    yk_check_int(yoke_local_set(&local, &number, &(int){1}), 0);
    yk_check_int(yoke_spawn(&outer, inherit, &child), 0);
    yoke_local_restore(&local);
    return yoke_nursery_close(&outer, 0);
}

YK_SIM_TEST(without_memory_a_value_is_not_set_and_restoring_is_fine)
{
    struct yoke_local outer, local;

    yk_check_int(yoke_local_set(&outer, &number, &(int){1}), 0);
    yk_memory_fail_at(1, false);
    yk_check_int(yoke_local_set(&local, &number, &(int){2}), -ENOMEM);
    yk_memory_fail_at(0, false);
    yk_check_caught("yoke.Local", NULL);
    check_number(1);
    yoke_local_restore(&local);
    check_number(1);
    yoke_local_restore(&outer);
    return 0;
}

YK_SIM_TEST(a_long_list_of_values_is_freed_without_deep_stacks)
{
    enum { N = 2000 };
    static struct yoke_local locals[N];
    struct heir heir = {.sees = N - 1};
    struct yoke_nursery nursery;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < N; i++)
        yk_check_int(yoke_local_set(&locals[i], &number, &i), 0);
    yk_check_int(yoke_spawn(&nursery, inherit, &heir), 0);
    for (int i = N - 1; i >= 0; i--)
        yoke_local_restore(&locals[i]);
    return yoke_nursery_close(&nursery, 0); /* the heir holds the last reference to all of them */
}

static void outside_a_task_nothing_is_set(void **state)
{
    (void)state;
    assert_null(yoke_local_get(&number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_seen_in_its_block_and_the_outer_one_after_it),
        cmocka_unit_test(a_spawned_task_has_what_its_spawner_has_set_at_that_moment),
        cmocka_unit_test(what_counts_is_who_spawns_not_in_which_nursery),
        cmocka_unit_test(without_memory_a_value_is_not_set_and_restoring_is_fine),
        cmocka_unit_test(a_long_list_of_values_is_freed_without_deep_stacks),
        cmocka_unit_test(outside_a_task_nothing_is_set),
    };

    return cmocka_run_group_tests_name("local", tests, NULL, NULL);
}
