/* SPDX-License-Identifier: MIT */
/* Errors and causes as trees: everything comes back from one, and each has its bounds. */
#include "error/tree.h"

#include "error/test_support.h"

static const struct yoke_site app_site = {"../app.c", "app", 31};

static bool same(struct yoke_value a, struct yoke_value b);

static bool same_items(struct yoke_value a, struct yoke_value b)
{
    for (size_t i = 0; i < a.as.array.n; i++)
        if (!same(a.as.array.items[i], b.as.array.items[i]))
            return false;
    return true;
}

static bool same_pairs(struct yoke_value a, struct yoke_value b)
{
    for (size_t i = 0; i < a.as.map.n; i++)
        if (strcmp(a.as.map.pairs[i].key, b.as.map.pairs[i].key) != 0 ||
            !same(a.as.map.pairs[i].value, b.as.map.pairs[i].value))
            return false;
    return true;
}

/* The value layer's comparison is above this one. */
static bool same(struct yoke_value a, struct yoke_value b)
{
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case YOKE_STR:
        return a.as.str.size == b.as.str.size &&
               memcmp(a.as.str.data, b.as.str.data, a.as.str.size) == 0;
    case YOKE_ARRAY_VALUE:
        return a.as.array.n == b.as.array.n && same_items(a, b);
    case YOKE_MAP_VALUE:
        return a.as.map.n == b.as.map.n && same_pairs(a, b);
    case YOKE_NIL:
        return true;
    default:
        return a.as.unsigned_integer == b.as.unsigned_integer;
    }
}

static struct yoke_value find(struct yoke_value map, const char *key)
{
    for (size_t i = 0; map.type == YOKE_MAP_VALUE && i < map.as.map.n; i++)
        if (strcmp(map.as.map.pairs[i].key, key) == 0)
            return map.as.map.pairs[i].value;
    return yoke_nil();
}

/* --- round trips --------------------------------------------------------------------------------
 */

static struct yoke_cause *rich_cause(struct yoke_error *error)
{
    struct yoke_signal_info signal = {.number = SIGTERM, .pid = 812, .uid = 4000000000};
    struct yoke_scope_info scope = {.id = UINT64_MAX,
                                    .name = "scope",
                                    .actor = {.name = "a", .uuid = "u", .host = "h", .pid = 3},
                                    .task_id = 4,
                                    .task_name = "t",
                                    .file = "f.c",
                                    .line = 5};
    struct yoke_cause *origin = yk_cause_new(&(struct yk_cause_spec){
        .layer = YOKE_LAYER_OS, .kind = YOKE_CAUSE_SIGNAL, .signal = &signal, .error = error});
    struct yoke_cause *cause = yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_ACTOR,
                                                                    .kind = YOKE_CAUSE_ACTOR,
                                                                    .site = &app_site,
                                                                    .reason = "reason",
                                                                    .scope = &scope,
                                                                    .because = origin});

    cause->hops_left_out = 6;
    yoke_cause_unref(origin);
    return cause;
}

/* An error that has everything. Actors have all their fields, so that none is filled in. */
static struct yoke_error *rich_error(void)
{
    struct yoke_error *members[] = {make("a.1"), make("a.2")};
    struct yoke_error *error = yk_error_make_group(&app_site, members, 2, "two");
    struct yoke_error *failed = make("a.Failed");
    struct yoke_cause *cause = rich_cause(failed);
    struct yoke_actor_id middle = {.name = "middle", .uuid = "22", .host = "far", .pid = 9};

    yk_error_absorb(failed); /* told of by the cause only */
    yk_error_set_causes(error, cause, &cause, 1);
    yoke_cause_unref(cause);
    assert_true(yk_error_add_note(error, "note"));
    error->because = make("a.Because");
    yk_error_set_context(error, make("a.Context"));
    yk_error_suppress(error, make("a.Suppressed"));
    error->suppressed_left_out = 3;
    assert_int_equal(yk_error_add_relay(error, &middle), 0);
    error->remote->traceback = strdup("at job.c:1, in job\n");
    return error;
}

static void everything_an_error_says_comes_back(void **state)
{
    struct test_locus worker;
    struct yoke_error *error;

    (void)state;
    enter_locus(&worker, "worker", "4f1c2a", 4711, "fetch");
    error = sent(rich_error());
    leave_locus();
    assert_string_equal(yoke_error_type(error), "yoke.Group");
    assert_int_equal(yoke_error_code(error), YOKE_EREMOTE);
    assert_int_equal(yoke_error_errno(error), YOKE_EGROUP);
    assert_string_equal(yoke_error_message(error), "two");
    assert_string_equal(yoke_error_site(error)->file, "../app.c");
    assert_string_equal(yoke_error_site(error)->function, "app");
    assert_int_equal(yoke_error_site(error)->line, 31);
    assert_int_equal(yoke_error_task_id(error), 7);
    assert_string_equal(yoke_error_task_name(error), "fetch");
    assert_string_equal(yoke_error_actor(error)->name, "worker");
    assert_string_equal(yoke_error_actor(error)->host, "here");
    assert_int_equal(yoke_error_actor(error)->pid, 4711);
    assert_string_equal(yoke_error_source(error)->uuid, "4f1c2a");
    assert_int_equal(yoke_error_relay_count(error), 2);
    assert_string_equal(yoke_error_relay(error, 1)->name, "middle");
    assert_string_equal(yoke_error_traceback(error), "at job.c:1, in job\n");
    assert_string_equal(yoke_error_note(error, 0), "note");
    assert_string_equal(yoke_error_because(error)->type, "a.Because");
    assert_string_equal(yoke_error_context(error)->type, "a.Context");
    assert_int_equal(yoke_error_member_count(error), 2);
    assert_string_equal(yoke_error_member(error, 1)->type, "a.2");
    assert_string_equal(yoke_error_suppressed(error, 0)->type, "a.Suppressed");
    assert_int_equal(error->suppressed_left_out, 3);
    assert_int_equal(yoke_error_inner_cause_count(error), 1);
    assert_int_equal(yoke_error_code(yoke_error_member(error, 0)), YOKE_EREMOTE);
    assert_string_equal(yoke_error_source(yoke_error_member(error, 0))->name, "worker");
    yk_error_absorb(error);
}

static void everything_a_cause_says_comes_back(void **state)
{
    struct yoke_error *failed = make("a.Failed");
    struct yoke_cause *cause = rich_cause(failed);
    struct yoke_cause *back;
    const struct yoke_cause *origin;
    struct yk_arena arena;

    (void)state;
    yk_arena_init(&arena);
    back = yk_cause_from_value(yk_cause_to_value(&arena, cause));
    yk_arena_fini(&arena);
    assert_true(yoke_id_equal(yoke_cause_id(back), yoke_cause_id(cause)));
    assert_int_equal(yoke_cause_layer(back), YOKE_LAYER_ACTOR);
    assert_int_equal(yoke_cause_kind(back), YOKE_CAUSE_ACTOR);
    assert_memory_equal(yoke_cause_scope(back), yoke_cause_scope(cause),
                        sizeof(struct yoke_scope_info));
    assert_memory_equal(yoke_cause_requester(back), yoke_cause_requester(cause),
                        sizeof(struct yoke_requester));
    assert_string_equal(yoke_cause_reason(back), "reason");
    assert_int_equal(yoke_cause_time(back), yoke_cause_time(cause));
    assert_int_equal(back->hops_left_out, 6);
    origin = yoke_cause_because(back);
    assert_int_equal(yoke_cause_signal(origin)->number, SIGTERM);
    assert_int_equal(yoke_cause_signal(origin)->pid, 812);
    assert_int_equal(yoke_cause_signal(origin)->uid, 4000000000);
    assert_string_equal(yoke_error_type(yoke_cause_error(origin)), "a.Failed");
    assert_null(yoke_cause_because(origin));
    yoke_cause_unref(cause);
    yoke_cause_unref(back);
    yk_error_absorb(failed);
}

static void a_tree_that_was_received_is_sent_on_as_it_is(void **state)
{
    struct test_locus worker;
    struct yk_arena arena;
    struct yoke_error *once;
    struct yoke_error *twice;

    (void)state;
    enter_locus(&worker, "worker", "4f1c2a", 4711, "fetch");
    once = sent(rich_error());
    yk_arena_init(&arena);
    twice = yk_error_from_value(yk_error_to_value(&arena, once, false));
    assert_true(
        same(yk_error_to_value(&arena, once, false), yk_error_to_value(&arena, twice, false)));
    yk_arena_fini(&arena);
    leave_locus();
    yk_error_absorb(once);
    yk_error_absorb(twice);
}

static void a_cancelled_of_a_peer_is_not_one_of_ours(void **state)
{
    struct yoke_error *error;

    (void)state;
    raise_a_cancelled("stop");
    error = sent(yoke_catch());
    assert_false(yoke_error_is_cancelled(error)); /* no scope here may absorb it */
    assert_int_equal(yoke_error_errno(error), YOKE_CANCELLED);
    assert_int_equal(yoke_error_code(error), YOKE_EREMOTE);
    assert_string_equal(yoke_cause_reason(yoke_error_cause(error)), "stop");
    yk_error_absorb(error);
}

static void errors_without_an_actor_come_from_the_one_that_sends_them(void **state)
{
    struct test_locus root;
    struct yoke_error *error = make("a.FromThread");

    (void)state;
    enter_locus(&root, "root", "9d03b7", 4700, "app");
    error = sent(error);
    leave_locus();
    assert_string_equal(yoke_error_source(error)->name, "root");
    assert_string_equal(yoke_error_actor(error)->name, "");
    assert_int_equal(yoke_error_relay_count(error), 1);
    yk_error_absorb(error);
}

static void symbols_are_sent_if_asked_for(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct yk_arena arena;
    struct yoke_error *back;

    (void)state;
    yk_arena_init(&arena);
    back = yk_error_from_value(yk_error_to_value(&arena, error, true));
    yk_arena_fini(&arena);
    assert_memory_equal(yoke_error_traceback(back), "at ", 3);
    yk_error_absorb(back);
    yk_error_absorb(error);
}

static void text_that_is_not_utf8_is_mended_since_no_link_would_take_it(void **state)
{
    struct yoke_error *error = yk_error_make(YOKE_HERE, "a.\xff", EIO, "x\xc3(\xe2\x82");
    struct yk_arena arena;

    (void)state;
    assert_true(yk_error_add_note(error, "\x80 note"));
    error = sent(error);
    assert_string_equal(error->type, "a.\xef\xbf\xbd");
    assert_string_equal(error->message, "x\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(error->notes[0], "\xef\xbf\xbd note");
    yk_error_absorb(error);
    yk_arena_init(&arena);
    assert_string_equal(yk_tree_text(&arena, "plain \xc3\xa9"), "plain \xc3\xa9");
    yk_memory_fail_at(1, false);
    assert_null(yk_tree_text(&arena, "\xff"));
    yk_memory_fail_at(0, false);
    yk_arena_fini(&arena);
}

/* --- bounds of what is sent ---------------------------------------------------------------------
 */

static size_t nodes(struct yoke_value value)
{
    size_t n = value.type == YOKE_MAP_VALUE &&
               (find(value, "message").type == YOKE_STR || find(value, "layer").type == YOKE_STR);

    if (value.type == YOKE_MAP_VALUE)
        for (size_t i = 0; i < value.as.map.n; i++)
            n += nodes(value.as.map.pairs[i].value);
    if (value.type == YOKE_ARRAY_VALUE)
        for (size_t i = 0; i < value.as.array.n; i++)
            n += nodes(value.as.array.items[i]);
    return n;
}

static unsigned levels(struct yoke_value value)
{
    unsigned deepest = 0;

    if (value.type == YOKE_MAP_VALUE)
        for (size_t i = 0; i < value.as.map.n; i++) {
            unsigned n = 1 + levels(value.as.map.pairs[i].value);

            deepest = n > deepest ? n : deepest;
        }
    if (value.type == YOKE_ARRAY_VALUE)
        for (size_t i = 0; i < value.as.array.n; i++) {
            unsigned n = 1 + levels(value.as.array.items[i]);

            deepest = n > deepest ? n : deepest;
        }
    return deepest;
}

static void a_deep_error_is_cut_and_a_note_says_so(void **state)
{
    struct yoke_error *error = make("a.End");
    struct yk_arena arena;
    struct yoke_value value;

    (void)state;
    for (int i = 0; i < 100; i++) {
        struct yoke_error *outer = make("a.Level");

        outer->because = error;
        error = outer;
    }
    yk_arena_init(&arena);
    value = yk_error_to_value(&arena, error, false);
    assert_true(levels(value) < YK_VALUE_DEPTH_MAX - 8); /* messages add some around */
    for (int i = 0; i < YK_ERROR_TREE_DEPTH_MAX; i++)
        value = find(value, "because");
    assert_int_equal(find(value, "because").type, YOKE_NIL);
    assert_non_null(strstr(find(value, "notes").as.array.items[0].as.str.data, "left out"));
    yk_arena_fini(&arena);
    yk_error_absorb(error);
}

/* A ladder of shared parts, whose tree would double with every rung. */
static void a_tree_has_a_bound_however_much_is_shared(void **state)
{
    struct yoke_error *error = make("a.End");
    struct yk_arena arena;
    struct yoke_value value;

    (void)state;
    for (int i = 0; i < YK_ERROR_TREE_DEPTH_MAX; i++) {
        struct yoke_error *outer = make("a.Rung");

        outer->because = yoke_error_ref(error);
        yk_error_suppress(outer, yoke_error_ref(error));
        yk_error_suppress(outer, make("a.Step"));
        outer->context = error;
        error = outer;
    }
    yk_arena_init(&arena);
    value = yk_error_to_value(&arena, error, false);
    assert_true(nodes(value) >= YK_ERROR_TREE_NODES_MAX);
    assert_true(nodes(value) <= YK_ERROR_TREE_NODES_MAX + 2 * YK_ERROR_TREE_DEPTH_MAX);
    yk_arena_fini(&arena);
    yk_error_absorb(error);
}

static void a_wide_group_is_cut_and_what_is_left_out_is_counted(void **state)
{
    enum { MANY = YK_ERROR_TREE_NODES_MAX * 2 };
    struct yoke_error *members[MANY];
    struct yoke_error *error;

    (void)state;
    for (int i = 0; i < MANY; i++)
        members[i] = make("a.Member");
    error = sent(yk_error_make_group(YOKE_HERE, members, MANY, NULL));
    assert_int_equal(yoke_error_member_count(error), YK_ERROR_TREE_NODES_MAX - 1);
    assert_int_equal(error->suppressed_left_out, MANY - yoke_error_member_count(error));
    yk_error_absorb(error);
}

/* Each Cancelled of a group has a chain, and the nodes run out in the middle of one. */
static void chains_that_find_no_room_in_a_tree_keep_their_origins(void **state)
{
    enum { MANY = 40, HOPS = 12 };
    struct yoke_error *members[MANY];
    struct yoke_cause *cause = scope_cause("the origin");
    struct yoke_error *error;

    (void)state;
    for (int i = 1; i < HOPS; i++) {
        struct yoke_cause *next = yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_CONTEXT,
                                                                       .kind = YOKE_CAUSE_CONTEXT,
                                                                       .because = cause});

        yoke_cause_unref(cause);
        cause = next;
    }
    for (int i = 0; i < MANY; i++)
        members[i] = yk_error_make_cancelled(NULL, NULL, cause, NULL, 0);
    yoke_cause_unref(cause);
    error = sent(yk_error_make_group(YOKE_HERE, members, MANY, NULL));
    for (size_t i = 0; i < yoke_error_member_count(error); i++) {
        const struct yoke_cause *told = yoke_error_cause(yoke_error_member(error, i));
        unsigned hops = 0;

        if (told == NULL)
            continue; /* not even room for one hop: the note says so */
        for (const struct yoke_cause *at = told; at != NULL; at = yoke_cause_because(at))
            hops += 1 + at->hops_left_out;
        assert_int_equal(hops, HOPS);
        if (yoke_cause_because(told) != NULL)
            assert_string_equal(yoke_cause_reason(yoke_cause_origin(told)), "the origin");
    }
    assert_int_equal(yoke_error_member_count(error) + error->suppressed_left_out, MANY);
    assert_true(yoke_error_member_count(error) >= YK_ERROR_TREE_NODES_MAX / (HOPS + 1));
    yk_error_absorb(error);
}

/* --- without memory -----------------------------------------------------------------------------
 */

static void without_memory_there_is_no_tree(void **state)
{
    struct yoke_error *error = rich_error();
    unsigned n = 1;

    (void)state;
    for (bool failed = true; failed; n++) {
        struct yk_arena arena;
        struct yoke_value value;

        yk_arena_init(&arena);
        yk_memory_fail_at(n, false);
        value = yk_error_to_value(&arena, error, false);
        failed = yk_memory_fail_at(0, false) == 0;
        assert_int_equal(value.type, failed ? YOKE_NIL : YOKE_MAP_VALUE);
        yk_arena_fini(&arena);
    }
    assert_true(n > 2);
    yk_error_absorb(error);
}

static void without_memory_a_tree_gives_no_error_or_one_without_notes(void **state)
{
    struct yoke_error *error = rich_error();
    struct yk_arena arena;
    struct yoke_value value;
    unsigned n = 1;

    (void)state;
    yk_arena_init(&arena);
    value = yk_error_to_value(&arena, error, false);
    for (bool failed = true; failed; n++) {
        struct yoke_error *back;

        yk_memory_fail_at(n, false);
        back = yk_error_from_value(value);
        failed = yk_memory_fail_at(0, false) == 0;
        if (back != NULL && failed)
            assert_int_equal(yoke_error_note_count(back), 0);
        else if (!failed)
            assert_int_equal(yoke_error_note_count(back), 1);
        yk_error_absorb(back);
    }
    assert_true(n > 20);
    yk_arena_fini(&arena);
    yk_error_absorb(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(everything_an_error_says_comes_back),
        CONSERVING(everything_a_cause_says_comes_back),
        CONSERVING(a_tree_that_was_received_is_sent_on_as_it_is),
        CONSERVING(a_cancelled_of_a_peer_is_not_one_of_ours),
        CONSERVING(errors_without_an_actor_come_from_the_one_that_sends_them),
        CONSERVING(symbols_are_sent_if_asked_for),
        CONSERVING(text_that_is_not_utf8_is_mended_since_no_link_would_take_it),
        CONSERVING(a_deep_error_is_cut_and_a_note_says_so),
        CONSERVING(a_tree_has_a_bound_however_much_is_shared),
        CONSERVING(a_wide_group_is_cut_and_what_is_left_out_is_counted),
        CONSERVING(chains_that_find_no_room_in_a_tree_keep_their_origins),
        CONSERVING(without_memory_there_is_no_tree),
        CONSERVING(without_memory_a_tree_gives_no_error_or_one_without_notes),
    };

    return cmocka_run_group_tests_name("errors as trees", tests, NULL, NULL);
}
