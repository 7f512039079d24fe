/* SPDX-License-Identifier: MIT */
/* The error object: what it says, its bounds, its counts, and what is left of it without memory. */
#include "error/test_support.h"

#define LONG_TEXT (YK_ERROR_MESSAGE_MAX * 2)

static char *long_text(void)
{
    char *text = malloc(LONG_TEXT + 1);

    assert_non_null(text);
    memset(text, 'm', LONG_TEXT);
    text[LONG_TEXT] = '\0';
    return text;
}

static void an_error_says_what_where_and_who(void **state)
{
    struct test_locus test;
    const struct yoke_error *error;
    void *const *frames = NULL;
    int line = __LINE__ + 4;

    (void)state;
    enter_locus(&test, "worker", "0123456789", 4711, "fetch");
    yoke_raise("app.BadJob", EIO, "job %d is not %s", 3, "ok");
    error = yoke_in_flight();
    assert_string_equal(yoke_error_type(error), "app.BadJob");
    assert_int_equal(yoke_error_code(error), -EIO);
    assert_int_equal(yoke_error_errno(error), -EIO);
    assert_string_equal(yoke_error_message(error), "job 3 is not ok");
    assert_string_equal(yoke_error_site(error)->file, __FILE__);
    assert_string_equal(yoke_error_site(error)->function, __func__);
    assert_int_equal(yoke_error_site(error)->line, line);
    assert_string_equal(yoke_error_actor(error)->name, "worker");
    assert_string_equal(yoke_error_actor(error)->uuid, "0123456789");
    assert_string_equal(yoke_error_actor(error)->host, "here");
    assert_int_equal(yoke_error_actor(error)->pid, 4711);
    assert_int_equal(yoke_error_task_id(error), 7);
    assert_string_equal(yoke_error_task_name(error), "fetch");
    assert_true(yoke_error_backtrace(error, &frames) > 0);
    assert_non_null(frames[0]);
    yoke_clear();
    leave_locus();
}

static void an_error_has_nothing_that_was_not_given(void **state)
{
    struct yoke_error *error = make("app.Plain");

    (void)state;
    assert_null(yoke_error_context(error));
    assert_null(yoke_error_because(error));
    assert_int_equal(yoke_error_suppressed_count(error), 0);
    assert_null(yoke_error_suppressed(error, 0));
    assert_int_equal(yoke_error_member_count(error), 0);
    assert_null(yoke_error_member(error, 0));
    assert_int_equal(yoke_error_note_count(error), 0);
    assert_null(yoke_error_note(error, 0));
    assert_false(yoke_error_is_cancelled(error));
    assert_null(yoke_error_cause(error));
    assert_int_equal(yoke_error_inner_cause_count(error), 0);
    assert_null(yoke_error_inner_cause(error, 0));
    assert_null(yoke_error_source(error));
    assert_int_equal(yoke_error_relay_count(error), 0);
    assert_null(yoke_error_relay(error, 0));
    assert_string_equal(yoke_error_traceback(error), "");
    assert_string_equal(yoke_error_task_name(error), ""); /* a thread outside a runtime */
    assert_int_equal(yoke_error_task_id(error), 0);
    assert_string_equal(yoke_error_actor(error)->name, "");
    yk_error_absorb(error);
}

static void type_and_message_are_copied(void **state)
{
    char type[] = "app.Mine";
    char name[] = "a name";

    (void)state;
    yoke_raise(type, EIO, "%s", name);
    memset(type, 'x', sizeof type - 1);
    memset(name, 'x', sizeof name - 1);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "app.Mine");
    assert_string_equal(yoke_error_message(yoke_in_flight()), "a name");
    yoke_clear();
}

static void without_type_or_message_there_are_defaults(void **state)
{
    (void)state;
    assert_int_equal(yoke_raise_at(NULL, NULL, NULL, -EIO, NULL), -EIO);
    assert_string_equal(yoke_error_type(yoke_in_flight()), "yoke.Error");
    assert_string_equal(yoke_error_message(yoke_in_flight()), "");
    assert_string_equal(yoke_error_site(yoke_in_flight())->file, "");
    assert_string_equal(yoke_error_site(yoke_in_flight())->function, "");
    yoke_clear();
}

static void a_long_message_is_cut_and_ends_in_dots(void **state)
{
    char *text = long_text();
    const char *message;

    (void)state;
    yoke_raise("a", EIO, "%s", text);
    message = yoke_error_message(yoke_in_flight());
    assert_int_equal(strlen(message), YK_ERROR_MESSAGE_MAX - 1);
    assert_string_equal(message + YK_ERROR_MESSAGE_MAX - 5, "m...");
    yoke_clear();
    free(text);
}

static void so_are_notes_and_messages_of_groups(void **state)
{
    char *text = long_text();
    struct yoke_error *members[] = {make("a.1"), make("a.2")};

    (void)state;
    yoke_raise_group(members, 2, "%s", text);
    yoke_note("%s", text);
    assert_int_equal(strlen(yoke_error_message(yoke_in_flight())), YK_ERROR_MESSAGE_MAX - 1);
    assert_string_equal(yoke_error_message(yoke_in_flight()) + YK_ERROR_MESSAGE_MAX - 4, "...");
    assert_int_equal(strlen(yoke_error_note(yoke_in_flight(), 0)), YK_ERROR_MESSAGE_MAX - 1);
    assert_string_equal(yoke_error_note(yoke_in_flight(), 0) + YK_ERROR_MESSAGE_MAX - 4, "...");
    yoke_clear();
    free(text);
}

static void a_long_type_is_cut(void **state)
{
    char *text = long_text();

    (void)state;
    yoke_raise(text, EIO, "x");
    assert_int_equal(strlen(yoke_error_type(yoke_in_flight())), YK_ERROR_TYPE_MAX - 1);
    assert_string_equal(yoke_error_message(yoke_in_flight()), "x");
    yoke_clear();
    free(text);
}

static void a_reference_keeps_an_error_alive(void **state)
{
    struct yoke_error *error;

    (void)state;
    yoke_raise("a.Kept", EIO, "x");
    error = yoke_error_ref(yoke_in_flight());
    yoke_clear();
    assert_string_equal(yoke_error_type(error), "a.Kept");
    assert_null(yoke_error_unref(error));
    assert_null(yoke_error_ref(NULL));
    assert_null(yoke_error_unref(NULL));
}

/* --- relays -------------------------------------------------------------------------------------
 */

static struct yoke_actor_id actor(const char *name, const char *uuid)
{
    struct yoke_actor_id id = {.pid = 1};

    YK_TEXT_COPY(id.name, name);
    YK_TEXT_COPY(id.uuid, uuid);
    return id;
}

static void an_error_that_was_passed_on_is_remote_with_its_path(void **state)
{
    struct yoke_actor_id middle = actor("middle", "2222");
    struct yoke_actor_id root = actor("root", "3333");
    struct test_locus test;
    struct yoke_error *error;

    (void)state;
    enter_locus(&test, "worker", "1111", 1, "fetch");
    error = make("app.Remote");
    leave_locus();
    assert_int_equal(yoke_error_code(error), -EINVAL);
    assert_int_equal(yk_error_add_relay(error, &middle), 0);
    assert_int_equal(yk_error_add_relay(error, &middle), 0); /* the last already: once */
    assert_int_equal(yk_error_add_relay(error, &root), 0);
    assert_int_equal(yoke_error_code(error), YOKE_EREMOTE);
    assert_int_equal(yoke_error_errno(error), -EINVAL);
    assert_string_equal(yoke_error_source(error)->name, "worker");
    assert_int_equal(yoke_error_relay_count(error), 3);
    assert_string_equal(yoke_error_relay(error, 0)->name, "worker");
    assert_string_equal(yoke_error_relay(error, 1)->name, "middle");
    assert_string_equal(yoke_error_relay(error, 2)->name, "root");
    assert_null(yoke_error_relay(error, 3));
    yk_error_absorb(error);
}

static void a_relay_path_has_a_bound_since_more_is_a_loop(void **state)
{
    struct yoke_error *error = make("app.Loop");

    (void)state;
    for (int i = 1; i < YK_RELAY_MAX; i++) {
        struct yoke_actor_id id = actor("a", i % 2 == 0 ? "even" : "odd");

        assert_int_equal(yk_error_add_relay(error, &id), 0);
    }
    assert_int_equal(yk_error_add_relay(error, &(struct yoke_actor_id){.name = "one more"}),
                     -ELOOP);
    assert_int_equal(yoke_error_relay_count(error), YK_RELAY_MAX);
    yk_error_absorb(error);
}

static void actors_without_an_id_are_told_apart_by_name_host_and_pid(void **state)
{
    struct yoke_error *error = make("app.Plain");
    struct yoke_actor_id id = {.name = "same", .host = "a", .pid = 1};

    (void)state;
    assert_int_equal(yk_error_add_relay(error, &id), 0);
    assert_int_equal(yk_error_add_relay(error, &id), 0);
    assert_int_equal(yoke_error_relay_count(error), 2);
    id.pid = 2;
    assert_int_equal(yk_error_add_relay(error, &id), 0);
    id.host[0] = 'b';
    assert_int_equal(yk_error_add_relay(error, &id), 0);
    assert_int_equal(yoke_error_relay_count(error), 4);
    yk_error_absorb(error);
}

static void answers_of_a_peers_runtime_keep_their_codes(void **state)
{
    struct yoke_actor_id root = actor("root", "3333");
    static const int codes[] = {YOKE_EPEERCANCELLED, YOKE_ENOTEXPOSED};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct yoke_error *error = yk_error_make(YOKE_HERE, "yoke.Answer", codes[i], "x");

        assert_int_equal(yk_error_add_relay(error, &root), 0);
        assert_int_equal(yoke_error_code(error), codes[i]);
        yk_error_absorb(error);
    }
}

/* --- copies -------------------------------------------------------------------------------------
 */

static void a_copy_says_and_carries_the_same_and_settles_the_original(void **state)
{
    struct yoke_actor_id middle = actor("middle", "2222");
    struct yoke_error *error = make("app.Original");
    struct yoke_error *copy;

    (void)state;
    assert_true(yk_error_add_note(error, "a note"));
    assert_int_equal(yk_error_add_relay(error, &middle), 0);
    yk_error_suppress(error, make("app.Suppressed"));
    yk_error_set_context(error, make("app.Context"));
    copy = yk_error_copy(error);
    assert_non_null(copy);
    assert_string_equal(copy->type, "app.Original");
    assert_string_equal(copy->message, error->message);
    assert_int_equal(copy->code, error->code);
    assert_string_equal(yoke_error_note(copy, 0), "a note");
    assert_string_equal(yoke_error_relay(copy, 1)->name, "middle");
    assert_int_equal(copy->frames_n, error->frames_n);
    assert_memory_equal(copy->frames, error->frames, copy->frames_n * sizeof *copy->frames);
    assert_ptr_equal(copy->context, error->context);
    assert_ptr_equal(copy->suppressed.items[0], error->suppressed.items[0]);
    assert_ptr_equal(copy->site.file, error->site.file);
    yoke_error_unref(error); /* not lost: the copy stands for it */
    yk_error_absorb(copy);
}

/* --- counts -------------------------------------------------------------------------------------
 */

static void *raise_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++) {
        (void)yoke_raise("a", EIO, "x");
        yoke_clear();
    }
    return make("a.FromThread");
}

static void errors_are_counted_over_threads_and_their_ends(void **state)
{
    struct yoke_error_stats before;
    struct yoke_error_stats after;

    (void)state;
    yoke_error_stats(&before);
    for (int i = 0; i < 10; i++) {
        pthread_t thread;
        void *error = NULL;

        assert_int_equal(pthread_create(&thread, NULL, raise_some, NULL), 0);
        assert_int_equal(pthread_join(thread, &error), 0);
        yk_error_absorb(error); /* on another thread than it was raised on */
    }
    yoke_error_stats(&after);
    assert_int_equal(after.raised - before.raised, 1010);
    assert_int_equal(after.settled - before.settled, 1010);
    assert_int_equal(after.live, before.live);
}

static void an_error_counts_as_live_until_its_last_reference_is_gone(void **state)
{
    struct yoke_error_stats stats;
    struct yoke_error *error;
    uint64_t live;

    (void)state;
    yoke_error_stats(&stats);
    live = stats.live;
    yoke_raise("a", EIO, "x");
    error = yoke_catch();
    yoke_error_stats(&stats);
    assert_int_equal(stats.live, live + 1);
    yoke_error_unref(error);
    yoke_error_stats(&stats);
    assert_int_equal(stats.live, live);
}

/* --- without memory -----------------------------------------------------------------------------
 */

static void assert_static_error(void)
{
    assert_in_flight("yoke.OutOfMemory");
    assert_int_equal(yoke_error_code(yoke_in_flight()), -ENOMEM);
    assert_true(strlen(yoke_error_message(yoke_in_flight())) > 0);
}

static void a_raise_without_memory_is_of_the_static_error(void **state)
{
    (void)state;
    yk_memory_fail_at(1, false);
    assert_int_equal(yoke_raise("a.Lost", EIO, "x"), -ENOMEM);
    assert_static_error();
    yoke_clear();
    assert_null(yoke_in_flight());
    yk_memory_fail_at(1, false);
    assert_int_equal(yoke_raise("a.Again", EIO, "x"), -ENOMEM);
    assert_int_equal(yoke_rethrow(yoke_catch()), -ENOMEM);
    yoke_clear();
}

static void the_static_error_never_displaces_an_error(void **state)
{
    (void)state;
    yoke_raise("a.Real", EIO, "x");
    yk_memory_fail_at(1, false);
    assert_int_equal(yoke_raise("a.NoMemory", EINVAL, "x"), -EIO);
    assert_in_flight("a.Real");
    assert_string_equal(yoke_error_type(yoke_error_suppressed(yoke_in_flight(), 0)),
                        "yoke.OutOfMemory");
    yoke_clear();
}

static void a_because_without_memory_goes_on_in_place_of_the_new_error(void **state)
{
    struct yoke_error *low;

    (void)state;
    yoke_raise("a.Low", EIO, "x");
    low = yoke_catch();
    yk_memory_fail_at(1, false);
    assert_int_equal(yoke_raise_because(low, "a.High", EINVAL, "y"), -EIO);
    assert_in_flight("a.Low");
    yoke_clear();
}

static void a_cancelled_without_memory_is_one_all_the_same(void **state)
{
    struct yoke_cause *cause = scope_cause("stop");

    (void)state;
    yk_memory_fail_at(1, false);
    assert_int_equal(yk_raise_cancelled(YOKE_HERE, cause, NULL, 0), YOKE_CANCELLED);
    assert_true(yoke_error_is_cancelled(yoke_in_flight()));
    assert_non_null(yoke_error_cause(yoke_in_flight()));
    assert_int_equal(yoke_raise("a.Error", EIO, "x"), -EIO);
    assert_true(yoke_error_is_cancelled(yoke_error_context(yoke_in_flight())));
    yoke_clear();
    yoke_cause_unref(cause);
}

static void a_cancelled_without_memory_for_inner_causes_tells_its_own(void **state)
{
    struct yoke_cause *outer = scope_cause("outer");
    struct yoke_cause *inner = scope_cause("inner");

    (void)state;
    yk_memory_fail_at(2, false);
    assert_int_equal(yk_raise_cancelled(YOKE_HERE, outer, &inner, 1), YOKE_CANCELLED);
    yk_memory_fail_at(0, false);
    assert_ptr_equal(yoke_error_cause(yoke_in_flight()), outer);
    assert_int_equal(yoke_error_inner_cause_count(yoke_in_flight()), 0);
    yoke_clear();
    yoke_cause_unref(outer);
    yoke_cause_unref(inner);
}

static void a_group_without_memory_is_the_first_which_suppresses_the_others(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 2; n++) {
        struct yoke_error *members[] = {make("a.1"), make("a.2"), make("a.3")};

        yk_memory_fail_at(n, false);
        assert_int_equal(yoke_raise_group(members, 3, "three"), -EINVAL);
        assert_int_equal(yk_memory_fail_at(0, false), 0);
        assert_in_flight("a.1");
        assert_int_equal(yoke_error_suppressed_count(yoke_in_flight()), 2);
        yoke_clear();
    }
}

static void a_group_of_static_errors_is_carried_by_the_one_that_is_not(void **state)
{
    struct yoke_error *members[] = {yk_error_out_of_memory(), make("a.Real"),
                                    yk_error_out_of_memory()};

    (void)state;
    yk_memory_fail_at(1, false);
    assert_int_equal(yoke_raise_group(members, 3, "three"), -EINVAL);
    assert_in_flight("a.Real");
    assert_int_equal(yoke_error_suppressed_count(yoke_in_flight()), 1);
    yoke_clear();
}

static void what_can_not_be_attached_is_settled_and_counted(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yoke_error *other = make("a.Other");

    (void)state;
    yk_memory_fail_at(1, false);
    yk_error_suppress(error, other);
    assert_int_equal(yk_memory_fail_at(0, false), 0);
    assert_int_equal(yoke_error_suppressed_count(error), 0);
    assert_int_equal(error->suppressed_left_out, 1);
    yk_error_suppress(error, make("a.Third"));
    assert_int_equal(yoke_error_suppressed_count(error), 1);
    yk_error_absorb(error);
}

static void beyond_a_bound_suppressed_errors_are_settled_and_counted(void **state)
{
    struct yoke_error *error = make("a.Error");

    (void)state;
    for (int i = 0; i < YK_ERROR_SUPPRESSED_MAX + 3; i++)
        yk_error_suppress(error, make("a.Other"));
    assert_int_equal(yoke_error_suppressed_count(error), YK_ERROR_SUPPRESSED_MAX);
    assert_int_equal(error->suppressed_left_out, 3);
    yk_error_absorb(error);
}

static void a_note_without_memory_is_left_out(void **state)
{
    (void)state;
    yoke_raise("a", EIO, "x");
    for (unsigned n = 1; n <= 2; n++) {
        yk_memory_fail_at(n, false);
        yoke_note("first");
        assert_int_equal(yk_memory_fail_at(0, false), 0);
        assert_int_equal(yoke_error_note_count(yoke_in_flight()), 0);
    }
    yoke_note("second");
    assert_string_equal(yoke_error_note(yoke_in_flight(), 0), "second");
    yoke_clear();
    yk_memory_fail_at(1, false);
    (void)yoke_raise("a", EIO, "x");
    yoke_note("the static error takes no notes");
    assert_int_equal(yoke_error_note_count(yoke_in_flight()), 0);
    yoke_clear();
}

static void a_relay_without_memory_leaves_the_path_as_it_was(void **state)
{
    struct yoke_actor_id middle = actor("middle", "2222");
    struct yoke_error *error = make("a.Error");

    (void)state;
    for (unsigned n = 1; n <= 3; n++) {
        yk_memory_fail_at(n, false);
        assert_int_equal(yk_error_add_relay(error, &middle), -ENOMEM);
        assert_int_equal(yk_memory_fail_at(0, false), 0);
    }
    assert_int_equal(yoke_error_relay_count(error), 1); /* the source, by the third attempt */
    assert_int_equal(yk_error_add_relay(error, &middle), 0);
    assert_int_equal(yk_error_add_relay(yk_error_out_of_memory(), &middle), -ENOMEM);
    yk_error_absorb(error);
}

/* What is copied is as complicated as errors get; every allocation fails once. */
static void a_copy_without_memory_is_none_and_the_original_is_whole(void **state)
{
    struct yoke_actor_id middle = actor("middle", "2222");
    struct yoke_cause *cause = scope_cause("stop");
    struct yoke_error *copy = NULL;
    unsigned n;

    (void)state;
    raise_a_cancelled("a Cancelled");
    struct yoke_error *error = yoke_catch();
    yk_error_set_causes(error, cause, &cause, 1);
    assert_true(yk_error_add_note(error, "a note"));
    assert_int_equal(yk_error_add_relay(error, &middle), 0);
    yk_error_suppress(error, make("a.Suppressed"));
    for (n = 1; copy == NULL; n++) {
        yk_memory_fail_at(n, false);
        copy = yk_error_copy(error);
        if (yk_memory_fail_at(0, false) == 0 && copy != NULL) {
            /* Only the inner causes may be missing without failing the whole. */
            assert_int_equal(copy->inner_causes_n, 0);
            yk_error_absorb(copy);
            copy = NULL;
        }
        assert_int_equal(yoke_error_suppressed_count(error), 1);
        assert_int_equal(yoke_error_note_count(error), 1);
    }
    assert_true(n > 7);
    assert_int_equal(copy->inner_causes_n, 1);
    yk_error_absorb(copy);
    yk_error_absorb(error);
    yoke_cause_unref(cause);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(an_error_says_what_where_and_who),
        CONSERVING(an_error_has_nothing_that_was_not_given),
        CONSERVING(type_and_message_are_copied),
        CONSERVING(without_type_or_message_there_are_defaults),
        CONSERVING(a_long_message_is_cut_and_ends_in_dots),
        CONSERVING(so_are_notes_and_messages_of_groups),
        CONSERVING(a_long_type_is_cut),
        CONSERVING(a_reference_keeps_an_error_alive),
        CONSERVING(an_error_that_was_passed_on_is_remote_with_its_path),
        CONSERVING(a_relay_path_has_a_bound_since_more_is_a_loop),
        CONSERVING(actors_without_an_id_are_told_apart_by_name_host_and_pid),
        CONSERVING(answers_of_a_peers_runtime_keep_their_codes),
        CONSERVING(a_copy_says_and_carries_the_same_and_settles_the_original),
        CONSERVING(errors_are_counted_over_threads_and_their_ends),
        CONSERVING(an_error_counts_as_live_until_its_last_reference_is_gone),
        CONSERVING(a_raise_without_memory_is_of_the_static_error),
        CONSERVING(the_static_error_never_displaces_an_error),
        CONSERVING(a_because_without_memory_goes_on_in_place_of_the_new_error),
        CONSERVING(a_cancelled_without_memory_is_one_all_the_same),
        CONSERVING(a_cancelled_without_memory_for_inner_causes_tells_its_own),
        CONSERVING(a_group_without_memory_is_the_first_which_suppresses_the_others),
        CONSERVING(a_group_of_static_errors_is_carried_by_the_one_that_is_not),
        CONSERVING(what_can_not_be_attached_is_settled_and_counted),
        CONSERVING(beyond_a_bound_suppressed_errors_are_settled_and_counted),
        CONSERVING(a_note_without_memory_is_left_out),
        CONSERVING(a_relay_without_memory_leaves_the_path_as_it_was),
        CONSERVING(a_copy_without_memory_is_none_and_the_original_is_whole),
    };

    return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
