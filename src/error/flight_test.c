/* SPDX-License-Identifier: MIT */
/* The rules of the error in flight, law by law. */
#include "error/test_support.h"

static void raise_over_nothing_is_in_flight(void **state)
{
    (void)state;
    assert_int_equal(yoke_raise("app.Bad", EIO, "job %d", 3), -EIO);
    assert_in_flight("app.Bad");
    assert_string_equal(yoke_error_message(yoke_in_flight()), "job 3");
    assert_int_equal(yoke_error_code(yoke_in_flight()), -EIO);
    assert_string_equal(yoke_error_site(yoke_in_flight())->function,
                        "raise_over_nothing_is_in_flight");
    yoke_clear();
}

static void code_is_taken_of_either_sign_and_zero_is_einval(void **state)
{
    (void)state;
    assert_int_equal(yoke_raise("a", -EIO, "x"), -EIO);
    yoke_clear();
    assert_int_equal(yoke_raise("a", 0, "x"), -EINVAL);
    yoke_clear();
    assert_int_equal(yoke_raise("a", YOKE_ECLOSED, "x"), YOKE_ECLOSED);
    yoke_clear();
}

static void cancelled_can_not_be_raised_by_hand(void **state)
{
    (void)state;
    assert_int_equal(yoke_raise("a", YOKE_CANCELLED, "x"), -ECANCELED);
    assert_false(yoke_error_is_cancelled(yoke_in_flight()));
    yoke_clear();
}

static void error_over_error_has_the_old_as_context(void **state)
{
    const struct yoke_error *first;

    (void)state;
    yoke_raise("a.First", EIO, "x");
    first = yoke_in_flight();
    assert_int_equal(yoke_raise("a.Second", EINVAL, "y"), -EINVAL);
    assert_in_flight("a.Second");
    assert_ptr_equal(yoke_error_context(yoke_in_flight()), first);
    yoke_clear();
}

static void error_over_cancelled_has_it_as_context(void **state)
{
    (void)state;
    raise_a_cancelled("stop");
    yoke_raise("a.Error", EIO, "x");
    assert_in_flight("a.Error");
    assert_true(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yoke_clear();
}

static void cancelled_over_error_keeps_the_error(void **state)
{
    (void)state;
    yoke_raise("a.Error", EIO, "x");
    raise_a_cancelled("stop");
    assert_in_flight("a.Error");
    assert_int_equal(yoke_error_suppressed_count(yoke_in_flight()), 1);
    assert_true(yoke_error_is_cancelled(yoke_error_suppressed(yoke_in_flight(), 0)));
    assert_null(yoke_error_context(yoke_in_flight()));
    yoke_clear();
}

static void cancelled_over_cancelled_keeps_the_first(void **state)
{
    const struct yoke_error *first;

    (void)state;
    raise_a_cancelled("one");
    first = yoke_in_flight();
    raise_a_cancelled("two");
    assert_ptr_equal(yoke_in_flight(), first);
    assert_string_equal(yoke_cause_reason(yoke_error_cause(first)), "one");
    assert_int_equal(yoke_error_suppressed_count(first), 0);
    yoke_clear();
}

static void cancelled_of_one_cause_is_suppressed_once(void **state)
{
    struct yoke_cause *cause = scope_cause("stop");

    (void)state;
    yoke_raise("a.Error", EIO, "x");
    for (int i = 0; i < 3; i++)
        assert_int_equal(yk_raise_cancelled(YOKE_HERE, cause, NULL, 0), YOKE_CANCELLED);
    assert_int_equal(yoke_error_suppressed_count(yoke_in_flight()), 1);
    raise_a_cancelled("another");
    assert_int_equal(yoke_error_suppressed_count(yoke_in_flight()), 2);
    yoke_clear();
    yoke_cause_unref(cause);
}

static void cancelled_that_is_the_context_is_not_suppressed_too(void **state)
{
    struct yoke_cause *cause = scope_cause("stop");

    (void)state;
    yk_raise_cancelled(YOKE_HERE, cause, NULL, 0);
    yoke_raise("a.Error", EIO, "x");
    yk_raise_cancelled(YOKE_HERE, cause, NULL, 0);
    assert_in_flight("a.Error");
    assert_int_equal(yoke_error_suppressed_count(yoke_in_flight()), 0);
    yoke_clear();
    yoke_cause_unref(cause);
}

static void cancelled_that_carries_an_error_is_not_dropped(void **state)
{
    struct yoke_error *carrying;

    (void)state;
    raise_a_cancelled("one");
    carrying = yoke_catch();
    yk_error_suppress(carrying, make("a.Carried"));
    raise_a_cancelled("two");
    yoke_rethrow(carrying);
    assert_string_equal(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "two");
    assert_ptr_equal(yoke_error_suppressed(yoke_in_flight(), 0), carrying);
    yoke_clear();
}

static void catch_takes_the_error_with_what_it_carries(void **state)
{
    struct yoke_error *error;

    (void)state;
    yoke_raise("a.First", EIO, "x");
    yoke_raise("a.Second", EIO, "x");
    raise_a_cancelled("stop");
    error = yoke_catch();
    assert_null(yoke_in_flight());
    assert_string_equal(yoke_error_type(error), "a.Second");
    assert_string_equal(yoke_error_type(yoke_error_context(error)), "a.First");
    assert_int_equal(yoke_error_suppressed_count(error), 1);
    yoke_error_unref(error);
}

static void catch_of_nothing_is_null(void **state)
{
    (void)state;
    assert_null(yoke_catch());
    yoke_clear();
    assert_int_equal(yoke_rethrow(NULL), 0);
    yoke_note("a note about nothing");
}

static void catch_type_takes_only_that_type(void **state)
{
    struct yoke_error *error;

    (void)state;
    assert_null(yoke_catch_type("a.One"));
    yoke_raise("a.One", EIO, "x");
    assert_null(yoke_catch_type("a.Two"));
    assert_in_flight("a.One");
    error = yoke_catch_type("a.One");
    assert_non_null(error);
    assert_null(yoke_in_flight());
    yoke_error_unref(error);
}

static void rethrow_keeps_site_and_backtrace_of_the_first_raise(void **state)
{
    struct yoke_error *error;
    int line;

    (void)state;
    yoke_raise("a.Error", EIO, "x");
    error = yoke_catch();
    line = yoke_error_site(error)->line;
    assert_int_equal(yoke_rethrow(error), -EIO);
    assert_ptr_equal(yoke_in_flight(), error);
    assert_int_equal(yoke_error_site(yoke_in_flight())->line, line);
    yoke_clear();
}

static void rethrow_over_an_error_has_it_as_context(void **state)
{
    struct yoke_error *kept;

    (void)state;
    yoke_raise("a.Kept", EIO, "x");
    kept = yoke_catch();
    yoke_raise("a.New", EINVAL, "x");
    assert_int_equal(yoke_rethrow(kept), -EIO);
    assert_in_flight("a.Kept");
    assert_string_equal(yoke_error_type(yoke_error_context(kept)), "a.New");
    yoke_clear();
}

/* The context goes to the inner end of the chain: what was there already is not replaced. */
static void rethrow_keeps_the_context_it_had(void **state)
{
    struct yoke_error *kept;
    const struct yoke_error *context;

    (void)state;
    yoke_raise("a.Old", EIO, "x");
    yoke_raise("a.Kept", EIO, "x");
    kept = yoke_catch();
    yoke_raise("a.New", EIO, "x");
    yoke_rethrow(kept);
    context = yoke_error_context(yoke_in_flight());
    assert_string_equal(yoke_error_type(context), "a.Old");
    assert_string_equal(yoke_error_type(yoke_error_context(context)), "a.New");
    yoke_clear();
}

static void rethrow_of_a_cancelled_over_an_error_keeps_the_error(void **state)
{
    struct yoke_error *cancelled;

    (void)state;
    raise_a_cancelled("stop");
    cancelled = yoke_catch();
    yoke_raise("a.Error", EIO, "x");
    assert_int_equal(yoke_rethrow(cancelled), -EIO);
    assert_in_flight("a.Error");
    assert_ptr_equal(yoke_error_suppressed(yoke_in_flight(), 0), cancelled);
    yoke_clear();
}

/* E is kept, X raised over it, E thrown again over X: X leads back to E. */
static void rethrow_over_an_error_that_leads_back_makes_no_cycle(void **state)
{
    struct yoke_error *kept;
    const struct yoke_error *context;

    (void)state;
    yoke_raise("a.E", EIO, "x");
    kept = yoke_error_ref(yoke_in_flight());
    yoke_raise("a.X", EIO, "x");
    yoke_note("a note of X");
    assert_ptr_equal(yoke_error_context(yoke_in_flight()), kept);
    yoke_rethrow(kept);
    assert_in_flight("a.E");
    context = yoke_error_context(yoke_in_flight());
    assert_string_equal(yoke_error_type(context), "a.X");
    assert_string_equal(yoke_error_note(context, 0), "a note of X");
    assert_null(yoke_error_context(context));
    yoke_clear();
}

static void because_is_taken_over(void **state)
{
    struct yoke_error *low;

    (void)state;
    yoke_raise("a.Low", EIO, "x");
    low = yoke_catch();
    assert_int_equal(yoke_raise_because(low, "a.High", EINVAL, "y"), -EINVAL);
    assert_ptr_equal(yoke_error_because(yoke_in_flight()), low);
    assert_null(yoke_error_context(yoke_in_flight()));
    yoke_clear();
}

static void group_has_its_members_in_order(void **state)
{
    struct yoke_error *members[] = {make("a.1"), make("a.2"), make("a.3")};

    (void)state;
    assert_int_equal(yoke_raise_group(members, 3, "%d jobs failed", 3), YOKE_EGROUP);
    assert_int_equal(yoke_error_member_count(yoke_in_flight()), 3);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(yoke_error_member(yoke_in_flight(), i), members[i]);
    assert_null(yoke_error_member(yoke_in_flight(), 3));
    assert_string_equal(yoke_error_message(yoke_in_flight()), "3 jobs failed");
    yoke_clear();
}

static void group_of_one_is_that_one(void **state)
{
    struct yoke_error *member = make("a.Only");

    (void)state;
    assert_int_equal(yoke_raise_group(&member, 1, "unused"), -EINVAL);
    assert_ptr_equal(yoke_in_flight(), member);
    yoke_clear();
}

static void notes_are_added_in_order_up_to_a_limit(void **state)
{
    (void)state;
    yoke_raise("a", EIO, "x");
    for (int i = 0; i < YK_ERROR_NOTES_MAX + 5; i++)
        yoke_note("note %d", i);
    assert_int_equal(yoke_error_note_count(yoke_in_flight()), YK_ERROR_NOTES_MAX);
    assert_string_equal(yoke_error_note(yoke_in_flight(), 1), "note 1");
    assert_null(yoke_error_note(yoke_in_flight(), YK_ERROR_NOTES_MAX));
    yoke_clear();
}

static void hold_sets_the_error_aside(void **state)
{
    struct yoke_hold hold;

    (void)state;
    yoke_raise("a.Held", EIO, "x");
    yoke_hold(&hold);
    assert_null(yoke_in_flight());
    yoke_clear();
    assert_null(yoke_catch());
    assert_int_equal(yoke_release(&hold), -EIO);
    assert_in_flight("a.Held");
    yoke_clear();
}

static void release_appends_cleanup_error_to_suppressed(void **state)
{
    struct yoke_hold hold;

    (void)state;
    yoke_raise("a.Held", EIO, "x");
    yoke_hold(&hold);
    yoke_raise("a.Cleanup", EINVAL, "x");
    assert_int_equal(yoke_release(&hold), -EIO);
    assert_in_flight("a.Held");
    assert_int_equal(yoke_error_suppressed_count(yoke_in_flight()), 1);
    assert_string_equal(yoke_error_type(yoke_error_suppressed(yoke_in_flight(), 0)), "a.Cleanup");
    yoke_clear();
}

static void cancelled_during_cleanup_does_not_mask_the_held_error(void **state)
{
    struct yoke_hold hold;

    (void)state;
    yoke_raise("a.Held", EIO, "x");
    yoke_hold(&hold);
    raise_a_cancelled("stop");
    assert_true(yoke_error_is_cancelled(yoke_in_flight()));
    assert_int_equal(yoke_release(&hold), -EIO);
    assert_in_flight("a.Held");
    assert_true(yoke_error_is_cancelled(yoke_error_suppressed(yoke_in_flight(), 0)));
    yoke_clear();
}

static void held_cancelled_gives_way_to_an_error_of_the_cleanup(void **state)
{
    struct yoke_hold hold;

    (void)state;
    raise_a_cancelled("stop");
    yoke_hold(&hold);
    yoke_raise("a.Cleanup", EINVAL, "x");
    assert_int_equal(yoke_release(&hold), -EINVAL);
    assert_in_flight("a.Cleanup");
    assert_true(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yoke_clear();
}

static void held_cancelled_stays_over_a_cancelled_of_the_cleanup(void **state)
{
    struct yoke_hold hold;

    (void)state;
    raise_a_cancelled("one");
    yoke_hold(&hold);
    raise_a_cancelled("two");
    assert_int_equal(yoke_release(&hold), YOKE_CANCELLED);
    assert_string_equal(yoke_cause_reason(yoke_error_cause(yoke_in_flight())), "one");
    yoke_clear();
}

static void release_with_nothing_held_keeps_what_the_cleanup_left(void **state)
{
    struct yoke_hold hold;

    (void)state;
    yoke_hold(&hold);
    assert_int_equal(yoke_release(&hold), 0);
    yoke_hold(&hold);
    yoke_raise("a.Cleanup", EINVAL, "x");
    assert_int_equal(yoke_release(&hold), -EINVAL);
    assert_in_flight("a.Cleanup");
    yoke_clear();
}

static void holds_nest(void **state)
{
    struct yoke_hold outer;
    struct yoke_hold inner;

    (void)state;
    yoke_raise("a.Outer", EIO, "x");
    yoke_hold(&outer);
    yoke_raise("a.Inner", EINVAL, "x");
    yoke_hold(&inner);
    yoke_raise("a.Innermost", ENOENT, "x");
    assert_int_equal(yoke_release(&inner), -EINVAL);
    assert_in_flight("a.Inner");
    assert_int_equal(yoke_release(&outer), -EIO);
    assert_in_flight("a.Outer");
    assert_string_equal(yoke_error_type(yoke_error_suppressed(yoke_in_flight(), 0)), "a.Inner");
    yoke_clear();
}

static void release_in_wrong_order(void)
{
    struct yoke_hold outer;
    struct yoke_hold inner;

    yoke_hold(&outer);
    yoke_hold(&inner);
    yoke_release(&outer);
}

static void release_twice(void)
{
    struct yoke_hold hold;

    yoke_hold(&hold);
    yoke_release(&hold);
    yoke_release(&hold);
}

static void raise_empty_group(void)
{
    yoke_raise_group(NULL, 0, "none");
}

static void release_out_of_order_aborts_and_names_both_sites(void **state)
{
    char text[1024];
    const char *first;

    (void)state;
    assert_aborts(release_in_wrong_order, text, sizeof text);
    assert_non_null(strstr(text, "yoke: misuse: yoke_release out of order"));
    first = strstr(text, "in release_in_wrong_order");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "in release_in_wrong_order"));
    assert_aborts(release_twice, text, sizeof text);
    assert_non_null(strstr(text, "yoke_release without an open yoke_hold"));
    assert_aborts(raise_empty_group, text, sizeof text);
    assert_non_null(strstr(text, "yoke_raise_group without errors"));
}

static void retarget_changes_the_cancelled_in_place(void **state)
{
    struct yoke_cause *inner = scope_cause("inner");
    struct yoke_cause *outer = scope_cause("outer");
    const struct yoke_error *before;

    (void)state;
    yk_raise_cancelled(YOKE_HERE, inner, NULL, 0);
    before = yoke_in_flight();
    yk_retarget_cancelled(yk_locus(), outer, &inner, 1);
    assert_ptr_equal(yoke_in_flight(), before);
    assert_ptr_equal(yoke_error_cause(yoke_in_flight()), outer);
    assert_int_equal(yoke_error_inner_cause_count(yoke_in_flight()), 1);
    assert_ptr_equal(yoke_error_inner_cause(yoke_in_flight(), 0), inner);
    assert_null(yoke_error_inner_cause(yoke_in_flight(), 1));
    yoke_clear();
    yoke_cause_unref(inner);
    yoke_cause_unref(outer);
}

static void retarget_leaves_a_cancelled_that_others_hold_as_it_is(void **state)
{
    struct yoke_cause *inner = scope_cause("inner");
    struct yoke_cause *outer = scope_cause("outer");
    struct yoke_error *held;

    (void)state;
    yk_raise_cancelled(YOKE_HERE, inner, NULL, 0);
    held = yoke_error_ref(yoke_in_flight());
    yk_retarget_cancelled(yk_locus(), outer, &inner, 1);
    assert_ptr_not_equal(yoke_in_flight(), held);
    assert_true(yoke_error_is_cancelled(yoke_in_flight()));
    assert_ptr_equal(yoke_error_cause(held), inner);
    assert_ptr_equal(yoke_error_cause(yoke_in_flight()), outer);
    yoke_error_unref(held);
    yoke_clear();
    yoke_cause_unref(inner);
    yoke_cause_unref(outer);
}

static void *raise_and_end(void *arg)
{
    (void)arg;
    assert_null(yoke_in_flight());
    yoke_raise("a.Forgotten", EIO, "x");
    return NULL;
}

static void thread_has_an_error_in_flight_of_its_own_and_may_lose_it(void **state)
{
    struct yoke_error_stats before;
    struct yoke_error_stats after;
    pthread_t thread;

    (void)state;
    yoke_error_stats(&before);
    yoke_raise("a.Mine", EIO, "x");
    assert_int_equal(pthread_create(&thread, NULL, raise_and_end, NULL), 0);
    pthread_join(thread, NULL);
    assert_in_flight("a.Mine");
    yoke_clear();
    yoke_error_stats(&after);
    assert_int_equal(after.lost - before.lost, 1);
    assert_int_equal(after.live, before.live);
}

static void rethrown_error_that_ends_unhandled_is_lost(void **state)
{
    struct yoke_error_stats before;
    struct yoke_error_stats after;

    (void)state;
    yoke_error_stats(&before);
    yoke_raise("a.Error", EIO, "x");
    yoke_rethrow(yoke_catch());
    yoke_error_unref(yk_flight_take(yk_locus()));
    yoke_error_stats(&after);
    assert_int_equal(after.lost - before.lost, 1);
    assert_int_equal(after.settled, before.settled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(raise_over_nothing_is_in_flight),
        CONSERVING(code_is_taken_of_either_sign_and_zero_is_einval),
        CONSERVING(cancelled_can_not_be_raised_by_hand),
        CONSERVING(error_over_error_has_the_old_as_context),
        CONSERVING(error_over_cancelled_has_it_as_context),
        CONSERVING(cancelled_over_error_keeps_the_error),
        CONSERVING(cancelled_over_cancelled_keeps_the_first),
        CONSERVING(cancelled_of_one_cause_is_suppressed_once),
        CONSERVING(cancelled_that_is_the_context_is_not_suppressed_too),
        CONSERVING(cancelled_that_carries_an_error_is_not_dropped),
        CONSERVING(catch_takes_the_error_with_what_it_carries),
        CONSERVING(catch_of_nothing_is_null),
        CONSERVING(catch_type_takes_only_that_type),
        CONSERVING(rethrow_keeps_site_and_backtrace_of_the_first_raise),
        CONSERVING(rethrow_over_an_error_has_it_as_context),
        CONSERVING(rethrow_keeps_the_context_it_had),
        CONSERVING(rethrow_of_a_cancelled_over_an_error_keeps_the_error),
        CONSERVING(rethrow_over_an_error_that_leads_back_makes_no_cycle),
        CONSERVING(because_is_taken_over),
        CONSERVING(group_has_its_members_in_order),
        CONSERVING(group_of_one_is_that_one),
        CONSERVING(notes_are_added_in_order_up_to_a_limit),
        CONSERVING(hold_sets_the_error_aside),
        CONSERVING(release_appends_cleanup_error_to_suppressed),
        CONSERVING(cancelled_during_cleanup_does_not_mask_the_held_error),
        CONSERVING(held_cancelled_gives_way_to_an_error_of_the_cleanup),
        CONSERVING(held_cancelled_stays_over_a_cancelled_of_the_cleanup),
        CONSERVING(release_with_nothing_held_keeps_what_the_cleanup_left),
        CONSERVING(holds_nest),
        CONSERVING(release_out_of_order_aborts_and_names_both_sites),
        CONSERVING(retarget_changes_the_cancelled_in_place),
        CONSERVING(retarget_leaves_a_cancelled_that_others_hold_as_it_is),
        cmocka_unit_test(thread_has_an_error_in_flight_of_its_own_and_may_lose_it),
        cmocka_unit_test(rethrown_error_that_ends_unhandled_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
