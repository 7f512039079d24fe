/* SPDX-License-Identifier: MIT */
/*
 * What errors carry: no cycle ever comes about, nothing is lost, whatever is attached to what; long
 * chains need no stack; and threads may share it all.
 */
#include "error/test_support.h"

#include <limits.h>

#include <sched.h>

#include "base/random.h"

static struct yoke_cause *cause_of(struct yoke_error *error)
{
    return yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_TASK,
                                                .kind = YOKE_CAUSE_CHILD_FAILED,
                                                .error = error});
}

/* A Cancelled that is not in flight; takes over the reference to its cause. */
static struct yoke_error *cancelled(struct yoke_cause *cause)
{
    struct yoke_error *error =
        yk_error_make_cancelled(__builtin_frame_address(0), YOKE_HERE, cause, NULL, 0);

    yoke_cause_unref(cause);
    return error;
}

static bool reaches(const struct yoke_error *from, const struct yoke_error *to)
{
    return yk_node_reaches(&from->node, &to->node, true);
}

/* --- settling -----------------------------------------------------------------------------------
 */

static uint64_t lost(void)
{
    return lost_since_setup();
}

static void what_a_settled_error_carries_is_not_lost_with_it(void **state)
{
    struct yoke_error *members[] = {make("a.1"), make("a.2")};
    struct yoke_error *group = yk_error_make_group(YOKE_HERE, members, 2, NULL);
    struct yoke_error *error = make("a.Error");
    struct yoke_error *context = make("a.Context");

    (void)state;
    assert_string_equal(group->message, "2 errors");
    yk_error_suppress(members[0], make("a.Deep"));
    yk_error_set_context(context, group);
    yk_error_suppress(context, make("a.Suppressed"));
    yk_error_set_context(error, context);
    error->because = make("a.Because");
    yk_error_absorb(error); /* the teardown checks that it and the seven others were settled */
}

static void what_an_unsettled_error_carries_is_lost_with_it(void **state)
{
    struct yoke_error_stats before;
    struct yoke_error_stats after;
    struct yoke_error *error = make("a.Error");

    (void)state;
    yoke_error_stats(&before);
    yk_error_suppress(error, make("a.Suppressed"));
    yk_error_set_context(error, make("a.Context"));
    yoke_error_unref(error);
    yoke_error_stats(&after);
    assert_int_equal(after.lost - before.lost, 3);
    assert_int_equal(after.settled, before.settled);
}

static void settling_stops_at_causes_since_what_they_mention_is_in_flight_elsewhere(void **state)
{
    struct yoke_error *failed = make("a.Failed");
    struct yoke_error *told = cancelled(cause_of(failed));

    (void)state;
    yk_error_absorb(told);
    assert_int_equal(failed->fate, YK_FATE_OPEN);
    yk_error_absorb(failed);
}

static void what_is_attached_to_a_settled_error_is_settled_too(void **state)
{
    struct yoke_error *error = make("a.Error");

    (void)state;
    yk_error_settle(error);
    yk_error_suppress(error, make("a.Suppressed"));
    yk_error_set_context(error, make("a.Context"));
    yoke_error_unref(error);
    assert_int_equal(lost(), 0);
}

static void what_was_taken_from_a_caught_error_is_not_lost_when_it_is_dropped_later(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *context = make("a.Context");

    (void)state;
    yk_error_set_context(error, yoke_error_ref(context));
    yk_error_absorb(error);
    yoke_error_unref(context);
    assert_int_equal(lost(), 0);
}

static void what_was_thrown_again_since_can_still_be_lost(void **state)
{
    struct yoke_error_stats before;
    struct yoke_error_stats after;
    struct yoke_error *error = make("a.Error");
    struct yoke_error *context = make("a.Context");

    (void)state;
    yoke_error_stats(&before);
    yk_error_set_context(error, yoke_error_ref(context));
    yk_error_settle(error);
    yk_node_unsettle(context);
    yoke_error_unref(error);
    yoke_error_unref(context);
    yoke_error_stats(&after);
    assert_int_equal(after.lost - before.lost, 1);
    assert_int_equal(after.settled - before.settled, 1);
}

/* E carries C, both caught; C is thrown again, and F raised because of E: C is its context already,
 * behind E, which was settled long ago. */
static void what_was_thrown_again_and_is_carried_by_two_ends_with_the_last(void **state)
{
    struct yoke_error *again;
    struct yoke_error *error;

    (void)state;
    yoke_raise("a.C", EIO, "x");
    again = yoke_error_ref(yoke_in_flight());
    yoke_raise("a.E", EIO, "x");
    error = yoke_catch();
    yoke_rethrow(again);
    yoke_raise_because(error, "a.F", EIO, "x");
    assert_null(yoke_error_context(yoke_in_flight()));
    yoke_clear();
    assert_int_equal(lost(), 0);
}

static void an_error_that_two_others_carry_is_settled_by_either(void **state)
{
    struct yoke_error *shared = make("a.Shared");
    struct yoke_error *first = make("a.First");
    struct yoke_error *second = make("a.Second");
    struct yoke_error_stats before;
    struct yoke_error_stats after;

    (void)state;
    yoke_error_stats(&before);
    yk_error_suppress(first, yoke_error_ref(shared));
    yk_error_set_context(second, shared);
    yk_error_absorb(first);
    yoke_error_unref(second); /* alone it is lost */
    yoke_error_stats(&after);
    assert_int_equal(after.lost - before.lost, 1);
    assert_int_equal(after.settled - before.settled, 2);
}

/* --- no cycles ----------------------------------------------------------------------------------
 */

static void an_error_is_never_attached_to_itself(void **state)
{
    struct yoke_error *error = make("a.Error");

    (void)state;
    yk_error_suppress(error, yoke_error_ref(error));
    yk_error_set_context(error, yoke_error_ref(error));
    assert_int_equal(yoke_error_suppressed_count(error), 0);
    assert_null(error->context);
    yk_error_absorb(error);
}

static void suppressing_what_leads_back_attaches_a_copy_without_the_way_back(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *other = make("a.Other");

    (void)state;
    yk_error_set_context(other, yoke_error_ref(error));
    yk_error_suppress(other, make("a.Kept"));
    yk_error_suppress(error, yoke_error_ref(other));
    assert_ptr_not_equal(error->suppressed.items[0], other);
    assert_string_equal(error->suppressed.items[0]->type, "a.Other");
    assert_null(error->suppressed.items[0]->context);
    assert_string_equal(error->suppressed.items[0]->suppressed.items[0]->type, "a.Kept");
    assert_ptr_equal(other->context, error); /* the original is as it was */
    yk_error_absorb(other);
    yk_error_absorb(error);
}

/* The failure of a task cancels its nursery, and meets the Cancelled of that on its way out. */
static void a_cancelled_for_an_error_that_suppresses_it_is_copied_without_that_error(void **state)
{
    struct yoke_error *error = make("a.Failed");
    struct yoke_error *told = cancelled(cause_of(error));
    const struct yoke_error *suppressed;

    (void)state;
    yk_error_suppress(error, told);
    suppressed = yoke_error_suppressed(error, 0);
    assert_true(yoke_error_is_cancelled(suppressed));
    assert_int_equal(yoke_cause_kind(yoke_error_cause(suppressed)), YOKE_CAUSE_CHILD_FAILED);
    assert_null(yoke_cause_error(yoke_error_cause(suppressed)));
    assert_false(reaches(suppressed, error));
    yk_error_absorb(error);
}

static void an_inner_cause_that_leads_back_is_left_out_of_the_copy(void **state)
{
    struct yoke_error *error = make("a.Failed");
    struct yoke_cause *outer = scope_cause("outer");
    struct yoke_cause *inner[] = {scope_cause("inner"), cause_of(error)};
    struct yoke_error *told = yk_error_make_cancelled(NULL, YOKE_HERE, outer, inner, 2);
    const struct yoke_error *suppressed;

    (void)state;
    yk_error_suppress(error, told);
    suppressed = yoke_error_suppressed(error, 0);
    assert_ptr_equal(yoke_error_cause(suppressed), outer);
    assert_int_equal(yoke_error_inner_cause_count(suppressed), 1);
    assert_ptr_equal(yoke_error_inner_cause(suppressed, 0), inner[0]);
    yoke_cause_unref(outer);
    yoke_cause_unref(inner[0]);
    yoke_cause_unref(inner[1]);
    yk_error_absorb(error);
}

static void a_way_back_over_members_and_causes_is_cut_where_it_leads_back(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *middle = make("a.Middle");
    struct yoke_error *members[] = {middle, make("a.Innocent")};
    struct yoke_error *group = yk_error_make_group(YOKE_HERE, members, 2, "both");
    const struct yoke_error *copy;

    (void)state;
    yk_error_suppress(middle, cancelled(cause_of(error)));
    yk_error_set_context(error, group);
    copy = yoke_error_context(error);
    assert_false(reaches(copy, error));
    assert_int_equal(yoke_error_member_count(copy), 2);
    assert_string_equal(yoke_error_member(copy, 0)->type, "a.Middle");
    assert_int_equal(yoke_error_suppressed_count(yoke_error_member(copy, 0)), 1);
    assert_ptr_equal(yoke_error_member(copy, 1), members[1]); /* shared, not copied */
    yk_error_absorb(error);
}

static void a_way_back_that_is_too_deep_to_copy_is_left_out_and_counted(void **state)
{
    enum { DEPTH = YK_ERROR_TREE_DEPTH_MAX + 5 };
    struct yoke_error *error = make("a.Error");
    struct yoke_error *chain = yoke_error_ref(error);
    const struct yoke_error *at;
    unsigned depth = 0;

    (void)state;
    for (int i = 0; i < DEPTH; i++) {
        struct yoke_error *outer = make("a.Link");

        outer->because = chain;
        chain = outer;
    }
    yk_error_suppress(error, chain);
    for (at = yoke_error_suppressed(error, 0); at->because != NULL; at = at->because)
        depth++;
    assert_int_equal(depth, YK_ERROR_TREE_DEPTH_MAX);
    assert_int_equal(at->suppressed_left_out, 1);
    assert_false(reaches(at, error));
    yk_error_absorb(error);
}

/* A ladder, each rung of which is reached on two ways: twenty rungs are a million ways back. */
static void ways_back_that_are_too_many_to_copy_are_left_out_and_counted(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *chain = yoke_error_ref(error);
    struct yoke_error_stats before;
    struct yoke_error_stats after;

    (void)state;
    for (int i = 0; i < YK_ERROR_TREE_DEPTH_MAX; i++) {
        struct yoke_error *outer = make("a.Rung");

        outer->because = yoke_error_ref(chain);
        outer->context = chain;
        chain = outer;
    }
    yoke_error_stats(&before);
    yk_error_suppress(error, chain);
    yoke_error_stats(&after);
    assert_true(after.raised - before.raised <= YK_ERROR_TREE_NODES_MAX + 1);
    assert_false(reaches(yoke_error_suppressed(error, 0), error));
    yk_error_absorb(error);
}

static void without_memory_for_a_copy_it_is_left_out_and_the_error_is_still_in_flight(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *other = make("a.Other");

    (void)state;
    yk_error_set_context(other, yoke_error_ref(error));
    yk_memory_fail_at(1, true);
    yk_error_suppress(error, yoke_error_ref(other));
    yk_memory_fail_at(0, false);
    assert_int_equal(error->suppressed_left_out, 1);
    assert_int_equal(other->fate, YK_FATE_SETTLED);
    assert_int_equal(error->fate, YK_FATE_OPEN);
    yk_memory_fail_at(1, true);
    yk_error_set_context(error, other);
    yk_memory_fail_at(0, false);
    assert_int_equal(error->suppressed_left_out, 2);
    assert_int_equal(error->fate,
                     YK_FATE_OPEN); /* although the other one, which ended, led to it */
    yk_error_absorb(error);
}

/* --- the same is not attached twice -------------------------------------------------------------
 */

static void the_same_error_is_suppressed_once(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *other = make("a.Other");

    (void)state;
    yk_error_suppress(error, yoke_error_ref(other));
    yk_error_suppress(error, other);
    assert_int_equal(yoke_error_suppressed_count(error), 1);
    yk_error_suppress(error, NULL);
    assert_int_equal(yoke_error_suppressed_count(error), 1);
    yk_error_absorb(error);
}

static void cancelleds_of_one_request_are_suppressed_once(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_cause *cause = scope_cause("stop");

    (void)state;
    for (int i = 0; i < 5; i++)
        yk_error_suppress(error, cancelled(yoke_cause_ref(cause)));
    assert_int_equal(yoke_error_suppressed_count(error), 1);
    yk_error_absorb(error);
    yoke_cause_unref(cause);
}

static void a_context_that_is_carried_already_is_not_attached_again(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *suppressed = make("a.Suppressed");

    (void)state;
    yk_error_suppress(error, yoke_error_ref(suppressed));
    yk_error_set_context(error, suppressed);
    assert_null(yoke_error_context(error));
    yk_error_set_context(error, NULL);
    yk_error_absorb(error);
}

static void a_context_goes_to_the_inner_end_of_the_chain(void **state)
{
    struct yoke_error *error = make("a.Error");

    (void)state;
    yk_error_set_context(error, make("a.First"));
    yk_error_set_context(error, make("a.Second"));
    assert_string_equal(error->context->type, "a.First");
    assert_string_equal(error->context->context->type, "a.Second");
    yk_error_absorb(error);
}

static void a_chain_that_ends_in_the_static_error_takes_more_as_suppressed(void **state)
{
    struct yoke_error *error = make("a.Error");

    (void)state;
    yk_error_set_context(error, yk_error_out_of_memory());
    yk_error_set_context(error, make("a.Second"));
    assert_string_equal(error->context->type, "yoke.OutOfMemory");
    assert_string_equal(error->suppressed.items[0]->type, "a.Second");
    yk_error_absorb(error);
}

/* --- anything at random -------------------------------------------------------------------------
 */

enum { CROWD = 12, STEPS = 60, ROUNDS = 300 };

static struct yoke_error *random_error(struct yk_random *random, struct yoke_error **crowd)
{
    struct yoke_error *other = crowd[yk_random_next(random) % CROWD];

    switch (yk_random_next(random) % 4) {
    case 0:
        return cancelled(cause_of(other));
    case 1:
        return cancelled(scope_cause("random"));
    default:
        return make("a.Random");
    }
}

static void attach_at_random(struct yk_random *random, struct yoke_error **crowd)
{
    struct yoke_error *error = crowd[yk_random_next(random) % CROWD];
    size_t at = yk_random_next(random) % CROWD;
    struct yoke_error *other = crowd[at];

    switch (yk_random_next(random) % 6) {
    case 0:
    case 1:
        yk_error_suppress(error, yoke_error_ref(other));
        break;
    case 2:
    case 3:
        if (!error->node.immortal) /* the rules of flight never give the static one a context */
            yk_error_set_context(error, yoke_error_ref(other));
        break;
    case 4: /* one ends, for good or by being lost with the last that carries it */
        crowd[at] = random_error(random, crowd);
        yk_error_absorb(other);
        break;
    default: /* thrown again */
        yk_node_unsettle(other);
    }
}

static void whatever_is_attached_to_what_there_is_no_cycle_and_no_loss(void **state)
{
    struct yk_random random;

    (void)state;
    yk_random_seed(&random, 42);
    for (int round = 0; round < ROUNDS; round++) {
        struct yoke_error *crowd[CROWD];

        for (size_t i = 0; i < CROWD; i++)
            crowd[i] = make("a.Start");
        for (int step = 0; step < STEPS; step++) {
            if (step % 7 == 3)
                yk_memory_fail_at(1 + (unsigned)(yk_random_next(&random) % 9), step % 2 == 0);
            attach_at_random(&random, crowd);
            yk_memory_fail_at(0, false);
        }
        /* A cycle would keep its errors alive for ever: the teardown counts them. */
        for (size_t i = 0; i < CROWD; i++)
            yk_error_absorb(crowd[i]);
    }
}

/* --- long chains --------------------------------------------------------------------------------
 */

enum { LONG = 100000, SMALL_STACK = 64 << 10 };

static void *long_chain_of_contexts(void *arg)
{
    (void)arg;
    for (int i = 0; i < LONG; i++)
        (void)yoke_raise("a.Again", EIO, "%d", i);
    raise_a_cancelled("stop");
    return yoke_catch(); /* settles all of it */
}

static void *long_chain_of_becauses(void *arg)
{
    struct yoke_error *error = make("a.First");

    (void)arg;
    for (int i = 0; i < LONG; i++) {
        struct yoke_error *outer = make("a.Outer");

        outer->because = error;
        error = outer;
    }
    yk_error_settle(error);
    return error;
}

static void *long_chain_over_causes(void *arg)
{
    struct yoke_error *error = make("a.First");

    (void)arg;
    yk_error_settle(error);
    for (int i = 0; i < LONG; i++) {
        struct yoke_error *outer = cancelled(cause_of(error));

        yoke_error_unref(error);
        error = outer;
        yk_error_settle(error);
    }
    return error;
}

/* On a stack as small as a task's: built, searched, shown and freed. */
static void *use_long_chain(void *arg)
{
    void *(*build)(void *) = *(void *(**)(void *))arg;
    struct yoke_error *error = build(NULL);
    struct yoke_error *other = make("a.Other");
    struct yoke_error *outer = make("a.Outer");
    FILE *null = fopen("/dev/null", "w");
    char *json;

    assert_non_null(null);
    assert_false(reaches(error, other));
    assert_int_equal(yoke_error_print(error, null, 0), 0);
    json = yoke_error_json(error, 0);
    free(json);
    fclose(null);
    yk_error_set_context(outer, yoke_error_ref(error));
    yk_error_suppress(error, yoke_error_ref(outer)); /* leads back */
    yk_error_absorb(outer);
    yk_error_absorb(other);
    return yoke_error_unref(error);
}

static void run_on_small_stack(void *(*fn)(void *), void *arg)
{
    pthread_attr_t attributes;
    pthread_t thread;
    size_t size;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    enum { STACK = 4 * SMALL_STACK };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    enum { STACK = 4 * SMALL_STACK };
#else
    enum { STACK = SMALL_STACK };
#endif
#else
    enum { STACK = SMALL_STACK };
#endif
    assert_int_equal(pthread_attr_init(&attributes), 0);
    /* Some systems want more. */
    size = STACK < PTHREAD_STACK_MIN ? (size_t)PTHREAD_STACK_MIN : (size_t)STACK;
    assert_int_equal(pthread_attr_setstacksize(&attributes, size), 0);
    assert_int_equal(pthread_create(&thread, &attributes, fn, arg), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

static void chains_of_100000_need_no_stack(void **state)
{
    static void *(*const builds[])(void *) = {long_chain_of_contexts, long_chain_of_becauses,
                                              long_chain_over_causes};

    (void)state;
    for (size_t i = 0; i < sizeof builds / sizeof *builds; i++) {
        void *(*build)(void *) = builds[i];

        run_on_small_stack(use_long_chain, &build);
    }
}

/* --- threads ------------------------------------------------------------------------------------
 */

enum { THREADS = 4, TURNS = 500 };

static struct yoke_error *shared_error;
static struct yoke_cause *shared_cause;
static atomic_int readers_done;

/* Holds, reads, carries and drops an error that another thread has in flight and adds to. */
static void *share(void *arg)
{
    size_t seen = 0;

    (void)arg;
    for (int i = 0; i < TURNS; i++) {
        struct yoke_error *mine = make("a.Mine");
        size_t n;

        yk_error_suppress(mine, yoke_error_ref(shared_error));
        yk_error_suppress(mine, cancelled(yoke_cause_ref(shared_cause)));
        n = yoke_error_suppressed_count(shared_error);
        if (n < seen)
            return "suppressed errors went away";
        for (; seen < n; seen++)
            if (strcmp(yoke_error_type(yoke_error_suppressed(shared_error, seen)), "a.Added") != 0)
                return "not what was added";
        n = yoke_error_note_count(shared_error);
        if (n > 0 && strncmp(yoke_error_note(shared_error, n - 1), "note ", 5) != 0)
            return "not the note that was added";
        if (yoke_error_context(shared_error) != NULL &&
            strcmp(yoke_error_type(yoke_error_context(shared_error)), "a.Context") != 0)
            return "not the context that was set";
        yk_error_absorb(mine);
    }
    return NULL;
}

static void *read_until_done(void *arg)
{
    const char *wrong = share(arg);

    atomic_fetch_add(&readers_done, 1);
    return (void *)(uintptr_t)wrong;
}

static void threads_share_an_error_that_one_of_them_has_in_flight(void **state)
{
    pthread_t threads[THREADS];

    (void)state;
    shared_error = make("a.Shared");
    shared_cause = cause_of(shared_error);
    atomic_store(&readers_done, 0);
    yoke_rethrow(yoke_error_ref(shared_error));
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_until_done, NULL), 0);
    for (int i = 0; atomic_load(&readers_done) < THREADS; i++) {
        if (i == 10)
            yk_error_set_context(shared_error, make("a.Context"));
        if (i % 8 == 0)
            yoke_note("note %d", i);
        if (i < YK_ERROR_SUPPRESSED_MAX)
            yk_error_suppress(shared_error, make("a.Added"));
        sched_yield();
    }
    for (int i = 0; i < THREADS; i++) {
        void *wrong = NULL;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    yoke_clear();
    yoke_cause_unref(shared_cause);
    assert_null(yoke_error_unref(shared_error));
}

/* One thread catches it while another attaches: in no order may what was attached be lost. */
static void *settle_it(void *arg)
{
    yk_error_absorb(arg);
    return NULL;
}

static void an_error_settled_by_one_thread_while_another_attaches_loses_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct yoke_error *error = make("a.Error");
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, settle_it, yoke_error_ref(error)), 0);
        for (int j = 0; j < 4; j++)
            yk_error_suppress(error, make("a.Other"));
        yk_error_set_context(error, make("a.Context"));
        pthread_join(thread, NULL);
        yoke_error_unref(error);
        assert_int_equal(lost(), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(what_a_settled_error_carries_is_not_lost_with_it),
        cmocka_unit_test(what_an_unsettled_error_carries_is_lost_with_it),
        CONSERVING(settling_stops_at_causes_since_what_they_mention_is_in_flight_elsewhere),
        CONSERVING(what_is_attached_to_a_settled_error_is_settled_too),
        CONSERVING(what_was_taken_from_a_caught_error_is_not_lost_when_it_is_dropped_later),
        cmocka_unit_test(what_was_thrown_again_since_can_still_be_lost),
        CONSERVING(what_was_thrown_again_and_is_carried_by_two_ends_with_the_last),
        cmocka_unit_test(an_error_that_two_others_carry_is_settled_by_either),
        CONSERVING(an_error_is_never_attached_to_itself),
        CONSERVING(suppressing_what_leads_back_attaches_a_copy_without_the_way_back),
        CONSERVING(a_cancelled_for_an_error_that_suppresses_it_is_copied_without_that_error),
        CONSERVING(an_inner_cause_that_leads_back_is_left_out_of_the_copy),
        CONSERVING(a_way_back_over_members_and_causes_is_cut_where_it_leads_back),
        CONSERVING(a_way_back_that_is_too_deep_to_copy_is_left_out_and_counted),
        CONSERVING(ways_back_that_are_too_many_to_copy_are_left_out_and_counted),
        CONSERVING(without_memory_for_a_copy_it_is_left_out_and_the_error_is_still_in_flight),
        CONSERVING(the_same_error_is_suppressed_once),
        CONSERVING(cancelleds_of_one_request_are_suppressed_once),
        CONSERVING(a_context_that_is_carried_already_is_not_attached_again),
        CONSERVING(a_context_goes_to_the_inner_end_of_the_chain),
        CONSERVING(a_chain_that_ends_in_the_static_error_takes_more_as_suppressed),
        CONSERVING(whatever_is_attached_to_what_there_is_no_cycle_and_no_loss),
        CONSERVING(chains_of_100000_need_no_stack),
        CONSERVING(threads_share_an_error_that_one_of_them_has_in_flight),
        CONSERVING(an_error_settled_by_one_thread_while_another_attaches_loses_nothing),
    };

    return cmocka_run_group_tests_name("what errors carry", tests, NULL, NULL);
}
