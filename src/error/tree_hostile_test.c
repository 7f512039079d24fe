/* SPDX-License-Identifier: MIT */
/* Whatever a peer sends for the tree of an error or a cause becomes one that is bounded, or is
 * refused. */
#include "base/random.h"
#include "error/test_support.h"

static struct yoke_error *decoded(struct yoke_pair *pairs, size_t n)
{
    struct yoke_error *error = yk_error_from_value(yoke_map(pairs, n));

    assert_non_null(error);
    return error;
}

#define decoded_of(...)                                                                            \
    decoded((struct yoke_pair[]){__VA_ARGS__},                                                     \
            sizeof((struct yoke_pair[]){__VA_ARGS__}) / sizeof(struct yoke_pair))

/* --- hostile trees ------------------------------------------------------------------------------
 */

static void what_is_not_a_map_is_refused(void **state)
{
    struct yoke_value values[] = {yoke_nil(), yoke_int(1), yoke_str("x"), yoke_array(NULL, 0)};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_null(yk_error_from_value(values[i]));
        assert_null(yk_cause_from_value(values[i]));
    }
}

static void an_empty_map_is_an_error_with_defaults(void **state)
{
    struct yoke_error *error = yk_error_from_value(yoke_map(NULL, 0));
    struct yoke_cause *cause = yk_cause_from_value(yoke_map(NULL, 0));

    (void)state;
    assert_string_equal(yoke_error_type(error), "yoke.Error");
    assert_int_equal(yoke_error_errno(error), YOKE_EREMOTE);
    assert_string_equal(yoke_error_message(error), "");
    assert_string_equal(yoke_error_site(error)->file, "");
    assert_non_null(yoke_error_source(error));
    assert_int_equal(yoke_cause_layer(cause), YOKE_LAYER_TASK);
    assert_int_equal(yoke_cause_kind(cause), YOKE_CAUSE_SCOPE);
    assert_int_equal(yoke_cause_id(cause).serial, 0);
    yk_error_absorb(error);
    yoke_cause_unref(cause);
}

static void a_part_of_the_wrong_type_is_taken_as_absent(void **state)
{
    static const char *const keys[] = {"type",     "errno",     "message",   "site",
                                       "task_id",  "task_name", "actor",     "source",
                                       "relay",    "notes",     "cause",     "inner_causes",
                                       "because",  "context",   "members",   "suppressed",
                                       "left_out", "traceback", "id",        "layer",
                                       "kind",     "scope",     "requester", "reason",
                                       "time",     "signal",    "error"};
    struct yoke_pair nested[] = {{"because", yoke_int(1)}, {"id", yoke_str("x")}};
    struct yoke_value items[] = {yoke_nil(), yoke_int(1), yoke_str("x"), yoke_map(nested, 2)};
    struct yoke_value values[] = {yoke_nil(),       yoke_int(-7),         yoke_uint(UINT64_MAX),
                                  yoke_str("x"),    yoke_bool(true),      yoke_float(0.5),
                                  yoke_bin("x", 1), yoke_array(items, 4), yoke_map(nested, 2)};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
            struct yoke_pair pair = {keys[i], values[j]};
            struct yoke_error *error = decoded(&pair, 1);
            struct yoke_cause *cause = yk_cause_from_value(yoke_map(&pair, 1));
            FILE *null = fopen("/dev/null", "w");

            assert_int_equal(yoke_error_print(error, null, YOKE_PRINT_BACKTRACE), 0);
            assert_int_equal(yoke_cause_print(cause, null, 0), 0);
            fclose(null);
            yoke_cause_unref(cause);
            yk_error_absorb(error);
        }
}

static void a_code_that_no_function_returns_becomes_that_of_a_remote_error(void **state)
{
    static const struct {
        int64_t sent;
        int code;
    } codes[] = {{-5, -5},
                 {5, -5},
                 {-4095, -4095},
                 {-4096, YOKE_EREMOTE},
                 {0, YOKE_EREMOTE},
                 {-4097, YOKE_CANCELLED},
                 {4097, YOKE_CANCELLED},
                 {YOKE_EDEADLOCK, YOKE_EDEADLOCK},
                 {YOKE_EDEADLOCK - 1, YOKE_EREMOTE},
                 {INT64_MIN, YOKE_EREMOTE},
                 {INT64_MAX, YOKE_EREMOTE}};

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct yoke_error *error = decoded_of({"errno", yoke_int(codes[i].sent)});

        assert_int_equal(yoke_error_errno(error), codes[i].code);
        assert_false(yoke_error_is_cancelled(error));
        yk_error_absorb(error);
    }
}

static void long_texts_are_cut_between_characters_and_nuls_are_shown(void **state)
{
    static char text[YK_TRACEBACK_MAX + 100];
    struct yoke_value notes[YK_ERROR_NOTES_MAX + 10];
    struct yoke_error *error;

    (void)state;
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa9", 2);
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++)
        notes[i] = yoke_str_n(text, sizeof text - 1);
    error = decoded_of({"type", yoke_str_n(text, sizeof text - 1)},
                       {"message", yoke_str_n(text, sizeof text - 1)},
                       {"task_name", yoke_str_n("a\0b", 3)},
                       {"traceback", yoke_str_n(text, sizeof text - 1)},
                       {"notes", yoke_array(notes, sizeof notes / sizeof *notes)});
    assert_int_equal(strlen(error->type), YK_ERROR_TYPE_MAX - 2);
    assert_int_equal(strlen(error->message), YK_ERROR_MESSAGE_MAX - 2);
    assert_int_equal(strlen(yoke_error_traceback(error)), YK_TRACEBACK_MAX - 2);
    assert_string_equal(error->task_name, "a?b");
    assert_int_equal(yoke_error_note_count(error), YK_ERROR_NOTES_MAX);
    yk_error_absorb(error);
}

static void lists_are_cut_at_their_bounds(void **state)
{
    enum { MANY = 400 };
    struct yoke_value items[MANY];
    struct yoke_error *error;

    (void)state;
    for (int i = 0; i < MANY; i++)
        items[i] = yoke_map(NULL, 0);
    error = decoded_of({"suppressed", yoke_array(items, MANY)});
    assert_int_equal(yoke_error_suppressed_count(error), YK_ERROR_SUPPRESSED_MAX);
    assert_int_equal(error->suppressed_left_out, MANY - YK_ERROR_SUPPRESSED_MAX);
    yk_error_absorb(error);
    error = decoded_of({"members", yoke_array(items, MANY)}, {"relay", yoke_array(items, MANY)},
                       {"inner_causes", yoke_array(items, MANY)});
    assert_int_equal(yoke_error_relay_count(error), YK_RELAY_MAX);
    assert_int_equal(yoke_error_inner_cause_count(error), YK_INNER_CAUSES_MAX);
    assert_int_equal(yoke_error_member_count(error),
                     YK_ERROR_TREE_NODES_MAX - 1 - YK_INNER_CAUSES_MAX);
    assert_int_equal(error->suppressed_left_out, MANY - yoke_error_member_count(error));
    /* One more can be attached to the list that is full, and is counted. */
    yk_error_absorb(error);
}

/* On a stack like a task's, as the reader of a link decodes. */
static void *decode_deep(void *arg)
{
    enum { DEEP = 5000 };
    const char *key = arg;
    struct yoke_pair *pairs = calloc(DEEP, sizeof *pairs);
    struct yoke_value value = yoke_map(NULL, 0);
    struct yoke_error *error;
    struct yoke_cause *cause;
    FILE *null = fopen("/dev/null", "w");
    unsigned hops = 0;

    assert_non_null(pairs);
    for (int i = 0; i < DEEP; i++) {
        pairs[i] = (struct yoke_pair){key == NULL ? i % 2 == 0 ? "cause" : "error" : key, value};
        value = yoke_map(&pairs[i], 1);
    }
    error = yk_error_from_value(value);
    cause = yk_cause_from_value(value);
    assert_non_null(error);
    assert_non_null(cause);
    for (const struct yoke_cause *at = cause; at != NULL; at = yoke_cause_because(at))
        hops++;
    assert_true(hops <= YK_CAUSE_HOPS_MAX);
    assert_int_equal(yoke_error_print(error, null, 0), 0);
    assert_int_equal(yoke_cause_print(cause, null, 0), 0);
    free(yoke_error_json(error, 0));
    yoke_cause_unref(cause);
    yk_error_absorb(error);
    fclose(null);
    free(pairs);
    return NULL;
}

static void a_deep_tree_is_cut_and_needs_no_more_stack_than_a_task_has(void **state)
{
    static const char *const keys[] = {"because", "context", NULL};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        pthread_attr_t attributes;
        pthread_t thread;

        pthread_attr_init(&attributes);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
        pthread_attr_setstacksize(&attributes, YK_STACK_SIZE);
#endif
        assert_int_equal(pthread_create(&thread, &attributes, decode_deep,
                                        (void *)(uintptr_t)keys[i]),
                         0);
        pthread_join(thread, NULL);
        pthread_attr_destroy(&attributes);
    }
}

/* Longer than any that we make. Its origin is what matters most. */
static void a_long_chain_of_causes_keeps_its_origin(void **state)
{
    enum { HOPS = 40 };
    struct yoke_pair pairs[HOPS][2];
    struct yoke_value value = yoke_nil();
    struct yoke_cause *cause;
    unsigned hops = 0;
    unsigned left_out = 0;

    (void)state;
    for (int i = 0; i < HOPS; i++) {
        pairs[i][0] = (struct yoke_pair){"reason", yoke_str(i == 0 ? "the origin" : "a hop")};
        pairs[i][1] = (struct yoke_pair){"because", value};
        value = yoke_map(pairs[i], 2);
    }
    cause = yk_cause_from_value(value);
    for (const struct yoke_cause *at = cause; at != NULL; at = yoke_cause_because(at)) {
        hops++;
        left_out += at->hops_left_out;
    }
    assert_int_equal(hops, YK_CAUSE_HOPS_MAX);
    assert_int_equal(hops + left_out, HOPS);
    assert_string_equal(yoke_cause_reason(yoke_cause_origin(cause)), "the origin");
    yoke_cause_unref(cause);
}

static void what_was_beyond_the_depth_is_counted(void **state)
{
    struct yoke_pair pairs[40];
    struct yoke_value value = yoke_map(NULL, 0);
    struct yoke_error *error;
    const struct yoke_error *at;
    unsigned depth = 0;

    (void)state;
    for (int i = 0; i < 40; i++) {
        pairs[i] = (struct yoke_pair){"context", value};
        value = yoke_map(&pairs[i], 1);
    }
    error = yk_error_from_value(value);
    for (at = error; at->context != NULL; at = at->context)
        depth++;
    assert_int_equal(depth, YK_ERROR_TREE_DEPTH_MAX);
    assert_int_equal(at->suppressed_left_out, 1);
    yk_error_absorb(error);
}

static void an_unknown_kind_becomes_the_plain_request_of_its_layer(void **state)
{
    struct yoke_pair pairs[] = {{"layer", yoke_str("actor")},
                                {"kind", yoke_str("from the future")}};
    struct yoke_cause *cause = yk_cause_from_value(yoke_map(pairs, 2));

    (void)state;
    assert_int_equal(yoke_cause_layer(cause), YOKE_LAYER_ACTOR);
    assert_int_equal(yoke_cause_kind(cause), YOKE_CAUSE_ACTOR);
    yoke_cause_unref(cause);
}

static void errors_that_a_received_cause_mentions_need_nobody_to_handle_them(void **state)
{
    struct yoke_pair failed[] = {{"type", yoke_str("a.Failed")}, {"context", yoke_map(NULL, 0)}};
    struct yoke_pair pairs[] = {{"error", yoke_map(failed, 2)}};
    struct yoke_cause *cause = yk_cause_from_value(yoke_map(pairs, 1));

    (void)state;
    assert_string_equal(yoke_error_type(yoke_cause_error(cause)), "a.Failed");
    yoke_cause_unref(cause); /* the teardown checks that neither of the two is lost */
}

/* --- anything at random -------------------------------------------------------------------------
 */

enum { POOL = 400 };
static struct yoke_pair pair_pool[POOL];
static struct yoke_value item_pool[POOL];
static size_t pairs_used, items_used;

static struct yoke_value random_value(struct yk_random *random, unsigned depth)
{
    static const char *const keys[] = {"because", "context",    "cause",        "error",
                                       "members", "suppressed", "inner_causes", "notes",
                                       "relay",   "site",       "actor",        "id",
                                       "errno",   "message",    "left_out",     "signal"};
    size_t n = yk_random_next(random) % 6;
    size_t first;

    switch (depth == 0 ? yk_random_next(random) % 3 : yk_random_next(random) % 8) {
    case 0:
        return yoke_int((int64_t)yk_random_next(random));
    case 1:
        return yoke_uint(yk_random_next(random));
    case 2:
        return yoke_str("text");
    case 3:
        if (items_used + n > POOL)
            return yoke_nil();
        first = items_used;
        items_used += n;
        for (size_t i = 0; i < n; i++)
            item_pool[first + i] = random_value(random, depth - 1);
        return yoke_array(&item_pool[first], n);
    default:
        if (pairs_used + n > POOL)
            return yoke_nil();
        first = pairs_used;
        pairs_used += n;
        for (size_t i = 0; i < n; i++)
            pair_pool[first + i] = (struct yoke_pair){keys[yk_random_next(random) % 16],
                                                      random_value(random, depth - 1)};
        return yoke_map(&pair_pool[first], n);
    }
}

static void any_tree_is_refused_or_becomes_an_error_that_can_be_sent_on(void **state)
{
    struct yk_random random;

    (void)state;
    yk_random_seed(&random, 7);
    for (int i = 0; i < 3000; i++) {
        struct yoke_error *error;

        pairs_used = items_used = 0;
        error = yk_error_from_value(random_value(&random, 8));
        if (error != NULL)
            yk_error_absorb(sent(error));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(what_is_not_a_map_is_refused),
        CONSERVING(an_empty_map_is_an_error_with_defaults),
        CONSERVING(a_part_of_the_wrong_type_is_taken_as_absent),
        CONSERVING(a_code_that_no_function_returns_becomes_that_of_a_remote_error),
        CONSERVING(long_texts_are_cut_between_characters_and_nuls_are_shown),
        CONSERVING(lists_are_cut_at_their_bounds),
        CONSERVING(a_deep_tree_is_cut_and_needs_no_more_stack_than_a_task_has),
        CONSERVING(a_long_chain_of_causes_keeps_its_origin),
        CONSERVING(what_was_beyond_the_depth_is_counted),
        CONSERVING(an_unknown_kind_becomes_the_plain_request_of_its_layer),
        CONSERVING(errors_that_a_received_cause_mentions_need_nobody_to_handle_them),
        CONSERVING(any_tree_is_refused_or_becomes_an_error_that_can_be_sent_on),
    };

    return cmocka_run_group_tests_name("errors as hostile trees", tests, NULL, NULL);
}
