/* SPDX-License-Identifier: MIT */
/* Shields: what they stop, what they do not, and that a change of one takes effect at once. */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

static const struct yoke_scope_opts shielded = {.shield = true};

YK_SIM_TEST(a_shield_stops_cancellation_from_outside_until_it_is_left)
{
    struct yoke_scope outer, inner;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yoke_scope_cancel(&outer, NULL);
    yk_check_int(yoke_scope_open(&inner, &shielded), 0);
    yk_check(yoke_why() == NULL);
    yk_check_int(yoke_sleep(YOKE_S(1)), 0);
    yk_check_int(yoke_scope_close(&inner, 0), 0);
    yk_check(yoke_why() != NULL);
    rc = yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    return 0;
}

YK_SIM_TEST(a_shield_does_not_stop_its_own_scope_nor_scopes_inside)
{
    struct yoke_scope outer, shield, inside;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yoke_scope_cancel(&outer, NULL);
    yk_check_int(yoke_scope_open(&shield, &shielded), 0);
    yk_check_int(yoke_scope_open(&inside, NULL), 0);
    yoke_scope_cancel(&inside, NULL);
    yk_check_int(yoke_scope_close(&inside, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&inside));
    yk_check_int(yoke_checkpoint(), 0);
    yoke_scope_cancel(&shield, NULL);
    yk_check_int(yoke_scope_close(&shield, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&shield)); /* not visible outside, so absorbed here */
    yk_check_int(yoke_scope_close(&outer, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&outer));
    return 0;
}

YK_SIM_TEST(raising_and_lowering_a_shield_takes_effect_at_once)
{
    struct yoke_scope outer, inner;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    yoke_scope_cancel(&outer, NULL);
    for (int i = 0; i < 3; i++) {
        yoke_scope_set_shield(&inner, true);
        yk_check_int(yoke_checkpoint(), 0);
        yoke_scope_set_shield(&inner, false);
        yk_check_int(yoke_checkpoint(), YOKE_CANCELLED);
        yoke_clear();
    }
    yk_check_int(yoke_scope_close(&inner, 0), 0);
    yk_check_int(yoke_scope_close(&outer, yoke_checkpoint()), 0);
    return 0;
}

static int note_cancelled(void *arg)
{
    int rc = yoke_sleep_forever();

    *(int *)arg = rc;
    return rc;
}

YK_SIM_TEST(lowering_a_shield_wakes_who_sleeps_behind_it)
{
    struct yoke_scope outer, wait;
    struct yoke_nursery nursery;
    int seen = 0;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.shield = true}), 0);
    yoke_scope_cancel(&outer, NULL);
    yk_check_int(yoke_spawn(&nursery, note_cancelled, &seen), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(seen, 0);
    yoke_scope_set_shield(yoke_nursery_scope(&nursery), false);
    yk_check_int(yoke_scope_open(&wait, &shielded), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(seen, YOKE_CANCELLED); /* before the close could have cancelled it */
    yk_check_int(yoke_scope_close(&wait, 0), 0);
    rc = yoke_nursery_close(&nursery, yoke_checkpoint());
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    return 0;
}

YK_SIM_TEST(a_shield_raised_while_a_cancelled_unwinds_does_not_make_the_inner_scope_absorb_it)
{
    struct yoke_scope outer, inner;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    yoke_scope_cancel(&outer, NULL);
    rc = yoke_checkpoint();
    yoke_scope_set_shield(&inner, true);
    rc = yoke_scope_close(&inner, rc);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(!yoke_scope_cancelled_caught(&inner));
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    yk_check(yoke_scope_cancelled_caught(&outer));
    return 0;
}

YK_SIM_TEST(a_cancelled_that_meets_a_shield_on_its_way_ends_at_the_nursery_but_only_there)
{
    struct yoke_scope outer;
    struct yoke_nursery nursery;
    int seen = 0;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yoke_scope_cancel(&outer, NULL);
    rc = yoke_checkpoint();
    yoke_scope_set_shield(yoke_nursery_scope(&nursery), true);
    yk_check_int(yoke_spawn(&nursery, note_cancelled, &seen), 0);
    /* A body that unwinds cancels the nursery, which then is the outermost one visible. */
    yk_check_int(yoke_nursery_close(&nursery, rc), 0);
    yk_check_int(seen, YOKE_CANCELLED);
    yk_check(yoke_scope_cancelled_caught(yoke_nursery_scope(&nursery)));
    yk_check_int(yoke_scope_close(&outer, yoke_checkpoint()), 0);
    yk_check(yoke_scope_cancelled_caught(&outer));
    return 0;
}

YK_SIM_TEST(a_shield_protects_children_spawned_behind_it)
{
    struct yoke_scope outer;
    struct yoke_nursery nursery;
    int seen = 0;
    int rc;

    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.shield = true}), 0);
    yk_check_int(yoke_spawn(&nursery, note_cancelled, &seen), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(&outer, NULL);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(seen, 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(seen, YOKE_CANCELLED);
    rc = yoke_checkpoint();
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_scope_close(&outer, rc), 0);
    return 0;
}

YK_SIM_TEST(why_stops_at_a_shield)
{
    struct yoke_scope outer, shield, inner;

    yk_check(yoke_why() == NULL);
    yk_check_int(yoke_scope_open(&outer, NULL), 0);
    yk_check_int(yoke_scope_open(&shield, &shielded), 0);
    yk_check_int(yoke_scope_open(&inner, NULL), 0);
    yoke_scope_cancel(&outer, "outer");
    yk_check(yoke_why() == NULL);
    yoke_scope_cancel(&inner, "inner");
    yk_check_text(yoke_cause_reason(yoke_why()), "inner");
    yoke_scope_cancel(&shield, "shield");
    yk_check_text(yoke_cause_reason(yoke_why()), "shield");
    yoke_scope_set_shield(&shield, false);
    yk_check_text(yoke_cause_reason(yoke_why()), "outer");
    yk_check_int(yoke_scope_close(&inner, 0), 0);
    yk_check_int(yoke_scope_close(&shield, 0), 0);
    yk_check_int(yoke_scope_close(&outer, 0), 0);
    yk_check(yoke_why() == NULL);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shield_stops_cancellation_from_outside_until_it_is_left),
        cmocka_unit_test(a_shield_does_not_stop_its_own_scope_nor_scopes_inside),
        cmocka_unit_test(raising_and_lowering_a_shield_takes_effect_at_once),
        cmocka_unit_test(lowering_a_shield_wakes_who_sleeps_behind_it),
        cmocka_unit_test(
            a_shield_raised_while_a_cancelled_unwinds_does_not_make_the_inner_scope_absorb_it),
        cmocka_unit_test(
            a_cancelled_that_meets_a_shield_on_its_way_ends_at_the_nursery_but_only_there),
        cmocka_unit_test(a_shield_protects_children_spawned_behind_it),
        cmocka_unit_test(why_stops_at_a_shield),
    };

    return cmocka_run_group_tests_name("shields", tests, NULL, NULL);
}
