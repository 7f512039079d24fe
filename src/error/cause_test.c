/* SPDX-License-Identifier: MIT */
/* Causes: what they say, their ids, the length of chains, copies, and what is left without memory.
 */
#include "error/test_support.h"

static struct yoke_cause *cause_because(const char *reason, struct yoke_cause *because)
{
    struct yoke_cause *cause = yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_CONTEXT,
                                                                    .kind = YOKE_CAUSE_CONTEXT,
                                                                    .reason = reason,
                                                                    .because = because});

    yoke_cause_unref(because);
    return cause;
}

static void a_cause_says_who_asked_where_why_and_when(void **state)
{
    struct yoke_signal_info signal = {.number = SIGINT, .pid = 812, .uid = 1000};
    struct yoke_scope_info scope = {.id = 5, .name = "download", .line = 20};
    struct test_locus test;
    struct yoke_cause *cause;
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_OS,
                                 .kind = YOKE_CAUSE_SIGNAL,
                                 .site = YOKE_HERE,
                                 .reason = "enough",
                                 .signal = &signal,
                                 .scope = &scope};
    const struct yoke_requester *requester;

    (void)state;
    enter_locus(&test, "root", "9d03b7", 4700, "app");
    cause = yk_cause_new(&spec);
    leave_locus();
    requester = yoke_cause_requester(cause);
    assert_int_equal(yoke_cause_layer(cause), YOKE_LAYER_OS);
    assert_int_equal(yoke_cause_kind(cause), YOKE_CAUSE_SIGNAL);
    assert_string_equal(yoke_cause_reason(cause), "enough");
    assert_string_equal(requester->actor.name, "root");
    assert_int_equal(requester->actor.pid, 4700);
    assert_int_equal(requester->task_id, 7);
    assert_string_equal(requester->task_name, "app");
    assert_string_equal(requester->file, __FILE__);
    assert_string_equal(requester->function, __func__);
    assert_true(requester->line > 0);
    assert_string_equal(yoke_cause_scope(cause)->name, "download");
    assert_int_equal(yoke_cause_signal(cause)->number, SIGINT);
    assert_int_equal(yoke_cause_signal(cause)->pid, 812);
    assert_int_equal(yoke_cause_signal(cause)->uid, 1000);
    assert_true(yoke_cause_time(cause) > INT64_C(1600000000000000000)); /* after 2020 */
    assert_null(yoke_cause_because(cause));
    assert_null(yoke_cause_error(cause));
    assert_ptr_equal(yoke_cause_origin(cause), cause);
    yoke_cause_unref(cause);
}

static void what_was_not_given_is_empty(void **state)
{
    struct yoke_cause *cause = scope_cause(NULL);

    (void)state;
    assert_string_equal(yoke_cause_reason(cause), "");
    assert_null(yoke_cause_signal(cause));
    assert_int_equal(yoke_cause_scope(cause)->id, 0);
    assert_string_equal(yoke_cause_requester(cause)->file, "");
    assert_null(yoke_cause_ref(NULL));
    assert_null(yoke_cause_unref(NULL));
    assert_null(yoke_cause_origin(NULL));
    assert_null(yoke_cause_unref(cause));
}

static int64_t stopped_clock(void)
{
    return 42;
}

static void the_time_is_that_of_the_runtimes_clock(void **state)
{
    struct yoke_cause *cause;

    (void)state;
    yk_wall_clock = stopped_clock;
    cause = scope_cause("x");
    yk_wall_clock = NULL;
    assert_int_equal(yoke_cause_time(cause), 42);
    yoke_cause_unref(cause);
}

static void a_long_reason_is_cut_between_characters_and_ends_in_dots(void **state)
{
    char reason[YK_ERROR_MESSAGE_MAX + 200];
    struct yoke_cause *cause;
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof reason - 2; i += 2)
        memcpy(reason + i, "\xc3\xa9", 2);
    reason[sizeof reason - 2] = '\0';
    cause = scope_cause(reason);
    n = strlen(yoke_cause_reason(cause));
    assert_true(n < YK_ERROR_MESSAGE_MAX && n > YK_ERROR_MESSAGE_MAX - 4);
    assert_string_equal(yoke_cause_reason(cause) + n - 5, "\xc3\xa9...");
    yoke_cause_unref(cause);
}

static void layers_and_kinds_have_their_names(void **state)
{
    (void)state;
    assert_string_equal(yoke_layer_name(YOKE_LAYER_TASK), "task");
    assert_string_equal(yoke_layer_name(YOKE_LAYER_CONTEXT), "context");
    assert_string_equal(yoke_layer_name(YOKE_LAYER_ACTOR), "actor");
    assert_string_equal(yoke_layer_name(YOKE_LAYER_OS), "os");
    assert_string_equal(yoke_layer_name((enum yoke_layer)0), "unknown");
    assert_string_equal(yoke_layer_name((enum yoke_layer)99), "unknown");
    assert_string_equal(yoke_cause_kind_name(YOKE_CAUSE_DEADLINE), "deadline");
    assert_string_equal(yoke_cause_kind_name((enum yoke_cause_kind)0), "unknown");
    assert_string_equal(yoke_cause_kind_name(YOKE_CAUSE_PARENT_LOST + 1), "unknown");
    for (int a = YOKE_CAUSE_SCOPE; a <= YOKE_CAUSE_PARENT_LOST; a++)
        for (int b = YOKE_CAUSE_SCOPE; b < a; b++)
            assert_string_not_equal(yoke_cause_kind_name(a), yoke_cause_kind_name(b));
}

/* --- ids ----------------------------------------------------------------------------------------
 */

static void *take_ids(void *arg)
{
    yoke_id *ids = arg;

    for (int i = 0; i < 1000; i++)
        ids[i] = yk_id_next();
    return NULL;
}

static int compare_serials(const void *a, const void *b)
{
    const yoke_id *first = a;
    const yoke_id *second = b;

    return (first->serial > second->serial) - (first->serial < second->serial);
}

static void ids_of_a_process_differ_and_share_its_number(void **state)
{
    static yoke_id ids[4000];
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_ids, ids + 1000 * i), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    qsort(ids, 4000, sizeof(yoke_id), compare_serials);
    for (int i = 1; i < 4000; i++) {
        assert_false(yoke_id_equal(ids[i], ids[i - 1]));
        assert_int_equal(ids[i].actor, ids[0].actor);
    }
    assert_true(ids[0].actor != 0 && ids[0].serial != 0);
}

static void a_runtime_may_have_a_number_of_its_own(void **state)
{
    yoke_id before = yk_id_next();

    (void)state;
    yk_id_set_actor(17);
    assert_int_equal(yk_id_next().actor, 17);
    yk_id_set_actor(0);
    assert_int_equal(yk_id_next().actor, before.actor);
}

static void a_forked_child_draws_a_number_of_its_own(void **state)
{
    yoke_id mine = yk_id_next();
    uint64_t theirs = 0;
    int ends[2];
    pid_t child;
    int status;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        yoke_id id = yk_id_next();

        _exit(write(ends[1], &id.actor, sizeof id.actor) == (ssize_t)sizeof id.actor ? 0 : 1);
    }
    assert_int_equal(read(ends[0], &theirs, sizeof theirs), sizeof theirs);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(ends[0]);
    close(ends[1]);
    assert_true(theirs != 0);
    assert_true(theirs != mine.actor);
    assert_int_equal(yk_id_next().actor, mine.actor);
}

/* --- chains -------------------------------------------------------------------------------------
 */

/* A chain of n hops whose reasons are the numbers from n, the newest, to 1, the origin. */
static struct yoke_cause *chain(unsigned n)
{
    struct yoke_cause *cause = NULL;

    for (unsigned i = 1; i <= n; i++) {
        char reason[16];

        snprintf(reason, sizeof reason, "%u", i);
        cause = cause_because(reason, cause);
    }
    return cause;
}

static unsigned hops(const struct yoke_cause *cause)
{
    unsigned n = 0;

    for (; cause != NULL; cause = yoke_cause_because(cause))
        n++;
    return n;
}

static unsigned left_out(const struct yoke_cause *cause)
{
    unsigned n = 0;

    for (; cause != NULL; cause = yoke_cause_because(cause))
        n += cause->hops_left_out;
    return n;
}

static void a_chain_up_to_the_bound_is_whole(void **state)
{
    struct yoke_cause *cause = chain(YK_CAUSE_HOPS_MAX);

    (void)state;
    assert_int_equal(hops(cause), YK_CAUSE_HOPS_MAX);
    assert_int_equal(left_out(cause), 0);
    assert_string_equal(yoke_cause_reason(yoke_cause_origin(cause)), "1");
    yoke_cause_unref(cause);
}

static void a_longer_chain_keeps_the_first_and_the_last_hops_and_says_how_many_it_lost(void **state)
{
    (void)state;
    for (unsigned n = YK_CAUSE_HOPS_MAX + 1; n < 60; n++) {
        struct yoke_cause *cause = chain(n);
        const struct yoke_cause *hop = cause;
        unsigned at = 0;
        unsigned number = n;

        assert_int_equal(hops(cause), YK_CAUSE_HOPS_MAX);
        assert_int_equal(left_out(cause), n - YK_CAUSE_HOPS_MAX);
        /* The newer half without a gap, then the gap, then the older half down to the origin. */
        for (; hop != NULL; hop = yoke_cause_because(hop)) {
            char reason[16];

            snprintf(reason, sizeof reason, "%u", number);
            assert_string_equal(yoke_cause_reason(hop), reason);
            at++;
            assert_true(hop->hops_left_out == 0 || at == YK_CAUSE_HOPS_MAX / 2);
            number -= 1 + hop->hops_left_out;
        }
        assert_int_equal(number, 0);
        assert_string_equal(yoke_cause_reason(yoke_cause_origin(cause)), "1");
        yoke_cause_unref(cause);
    }
}

static void a_cut_chain_leaves_the_one_it_was_made_of_as_it_was(void **state)
{
    struct yoke_cause *whole = chain(YK_CAUSE_HOPS_MAX);
    struct yoke_cause *longer = cause_because("longer", yoke_cause_ref(whole));

    (void)state;
    assert_int_equal(hops(longer), YK_CAUSE_HOPS_MAX);
    assert_int_equal(hops(whole), YK_CAUSE_HOPS_MAX);
    assert_int_equal(left_out(whole), 0);
    yoke_cause_unref(whole);
    yoke_cause_unref(longer);
}

static void a_chain_that_can_not_be_cut_stays_long_since_no_origin_may_be_dropped(void **state)
{
    (void)state;
    for (unsigned n = 2; n < 2 * YK_CAUSE_HOPS_MAX; n++) {
        struct yoke_cause *cause = chain(YK_CAUSE_HOPS_MAX);

        yk_memory_fail_at(n, false);
        cause = cause_because("newest", cause);
        yk_memory_fail_at(0, false);
        assert_string_equal(yoke_cause_reason(yoke_cause_origin(cause)), "1");
        assert_int_equal(hops(cause) + left_out(cause), YK_CAUSE_HOPS_MAX + 1);
        yoke_cause_unref(cause);
    }
}

/* --- copies -------------------------------------------------------------------------------------
 */

static void a_request_that_meets_its_scope_keeps_its_id(void **state)
{
    struct yoke_scope_info scope = {.id = 9, .name = "target"};
    struct yoke_cause *cause = chain(3);
    struct yoke_cause *met = yk_cause_for_scope(cause, &scope);

    (void)state;
    assert_ptr_not_equal(met, cause);
    assert_true(yoke_id_equal(yoke_cause_id(met), yoke_cause_id(cause)));
    assert_string_equal(yoke_cause_scope(met)->name, "target");
    assert_int_equal(yoke_cause_scope(cause)->id, 0);
    assert_string_equal(yoke_cause_reason(met), "3");
    assert_ptr_equal(yoke_cause_because(met), yoke_cause_because(cause));
    assert_int_equal(yoke_cause_time(met), yoke_cause_time(cause));
    yoke_cause_unref(met);
    for (unsigned n = 1; n <= 2; n++) {
        yk_memory_fail_at(n, false);
        met = yk_cause_for_scope(cause, &scope);
        assert_int_equal(yk_memory_fail_at(0, false), 0);
        assert_ptr_equal(met, cause); /* the same request, without its scope */
        yoke_cause_unref(met);
    }
    yoke_cause_unref(cause);
}

/* A chain of four whose third hop has an error that must not be reached from the copy. */
static void a_copy_without_an_error_has_every_hop_and_shares_what_does_not_lead_there(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_cause *first = chain(1);
    struct yoke_cause *second =
        yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_TASK,
                                             .kind = YOKE_CAUSE_CHILD_FAILED,
                                             .reason = "failed",
                                             .because = first,
                                             .error = error});
    struct yoke_cause *third = cause_because("third", yoke_cause_ref(second));
    struct yoke_cause *copy;

    (void)state;
    assert_true(yk_cause_reaches(third, error));
    assert_false(yk_cause_reaches(first, error));
    assert_false(yk_cause_reaches(NULL, error));
    for (unsigned n = 1; n <= 4; n++) {
        yk_memory_fail_at(n, false);
        assert_null(yk_cause_copy_without(third, error));
        assert_int_equal(yk_memory_fail_at(0, false), 0);
    }
    copy = yk_cause_copy_without(third, error);
    assert_false(yk_cause_reaches(copy, error));
    assert_int_equal(hops(copy), 3);
    assert_true(yoke_id_equal(yoke_cause_id(copy), yoke_cause_id(third)));
    assert_string_equal(yoke_cause_reason(yoke_cause_because(copy)), "failed");
    assert_null(yoke_cause_error(yoke_cause_because(copy)));
    assert_ptr_equal(yoke_cause_origin(copy), first);
    assert_ptr_equal(yoke_cause_error(second), error); /* the original keeps it */
    yoke_cause_unref(copy);
    yoke_cause_unref(first);
    yoke_cause_unref(second);
    yoke_cause_unref(third);
    yk_error_absorb(error);
}

/* --- without memory -----------------------------------------------------------------------------
 */

static void a_request_never_fails_without_memory_it_is_a_static_one_of_its_kind(void **state)
{
    (void)state;
    for (int kind = YOKE_CAUSE_SCOPE; kind <= YOKE_CAUSE_PARENT_LOST; kind++) {
        enum yoke_layer layer = yk_cause_out_of_memory(kind)->layer;
        struct yk_cause_spec spec = {.layer = layer, .kind = kind, .reason = "x"};
        struct yoke_cause *cause;

        yk_memory_fail_at(1, false);
        cause = yk_cause_new(&spec);
        assert_int_equal(yoke_cause_kind(cause), kind);
        assert_int_equal(yoke_cause_layer(cause), layer);
        assert_non_null(strstr(yoke_cause_reason(cause), "no memory"));
        assert_true(layer >= YOKE_LAYER_TASK && layer <= YOKE_LAYER_OS);
        yoke_cause_unref(cause);
        yoke_cause_unref(cause); /* static: references to it are not counted */
    }
    assert_int_equal(yoke_cause_kind(yk_cause_out_of_memory(99)), YOKE_CAUSE_SCOPE);
}

static void a_reason_without_memory_is_left_out_and_the_rest_says_who_asked(void **state)
{
    struct yoke_cause *cause;

    (void)state;
    yk_memory_fail_at(2, false);
    cause = scope_cause("why");
    assert_int_equal(yk_memory_fail_at(0, false), 0);
    assert_string_equal(yoke_cause_reason(cause), "");
    assert_true(yoke_cause_id(cause).serial != 0);
    yoke_cause_unref(cause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(a_cause_says_who_asked_where_why_and_when),
        CONSERVING(what_was_not_given_is_empty),
        CONSERVING(the_time_is_that_of_the_runtimes_clock),
        CONSERVING(a_long_reason_is_cut_between_characters_and_ends_in_dots),
        CONSERVING(layers_and_kinds_have_their_names),
        CONSERVING(ids_of_a_process_differ_and_share_its_number),
        CONSERVING(a_runtime_may_have_a_number_of_its_own),
        CONSERVING(a_forked_child_draws_a_number_of_its_own),
        CONSERVING(a_chain_up_to_the_bound_is_whole),
        CONSERVING(a_longer_chain_keeps_the_first_and_the_last_hops_and_says_how_many_it_lost),
        CONSERVING(a_cut_chain_leaves_the_one_it_was_made_of_as_it_was),
        CONSERVING(a_chain_that_can_not_be_cut_stays_long_since_no_origin_may_be_dropped),
        CONSERVING(a_request_that_meets_its_scope_keeps_its_id),
        CONSERVING(a_copy_without_an_error_has_every_hop_and_shares_what_does_not_lead_there),
        CONSERVING(a_request_never_fails_without_memory_it_is_a_static_one_of_its_kind),
        CONSERVING(a_reason_without_memory_is_left_out_and_the_rest_says_who_asked),
    };

    return cmocka_run_group_tests_name("causes", tests, NULL, NULL);
}
