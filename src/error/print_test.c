/* SPDX-License-Identifier: MIT */
/* Errors and causes as a person reads them: the whole text of every shape. */
#include "error/test_support.h"

#include "error/print.h"

static const struct yoke_site app_site = {"../app.c", "app", 31};
static const struct yoke_site fetch_site = {"job.c", "fetch", 12};
static const struct yoke_site order_site = {"order.c", "place", 7};
static struct test_locus root;
static struct test_locus worker;

static int set_up(void **state)
{
    enter_locus(&worker, "counter", "4f1c2a33-0000", 4711, "demo:count");
    enter_locus(&root, "root", "9d03b7aa-0000", 4700, "app");
    return conserve_setup(state);
}

static int tear_down(void **state)
{
    int rc = conserve_teardown(state);

    leave_locus();
    return rc;
}

#define PRINTS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

static void enter(struct test_locus *test)
{
    yk_locus_current = &test->locus;
}

/* Makes an error as the task that runs there would. */
static struct yoke_error *made_in(struct test_locus *test, const struct yoke_site *site,
                                  const char *type, int code, const char *message)
{
    struct yk_locus *before = yk_locus_current;
    struct yoke_error *error;

    enter(test);
    error = yk_error_make(site, type, code, "%s", message);
    yk_locus_current = before;
    return error;
}

static struct yoke_cause *cause_in(struct test_locus *test, const struct yk_cause_spec *spec)
{
    struct yk_locus *before = yk_locus_current;
    struct yoke_cause *cause;

    enter(test);
    cause = yk_cause_new(spec);
    yk_locus_current = before;
    return cause;
}

static struct yoke_error *cancelled_in(struct test_locus *test, struct yoke_cause *cause)
{
    struct yk_locus *before = yk_locus_current;
    struct yoke_error *error;

    enter(test);
    error = yk_error_make_cancelled(NULL, NULL, cause, NULL, 0);
    yk_locus_current = before;
    yoke_cause_unref(cause);
    return error;
}

/* The scope of a task of root. */
static struct yoke_scope_info scope_of(const char *name, const char *task, uint64_t task_id)
{
    struct yoke_scope_info scope = {.id = 3, .task_id = task_id, .line = 20};

    YK_TEXT_COPY(scope.name, name);
    YK_TEXT_COPY(scope.task_name, task);
    YK_TEXT_COPY(scope.file, "../app.c");
    scope.actor = root.actor;
    return scope;
}

static void assert_prints(const struct yoke_error *error, int flags, const char *expected)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    assert_non_null(stream);
    assert_int_equal(yoke_error_print(error, stream, flags), 0);
    fclose(stream);
    assert_string_equal(text, expected);
    free(text);
}

static void assert_cause_prints(const struct yoke_cause *cause, int flags, const char *expected)
{
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    assert_non_null(stream);
    assert_int_equal(yoke_cause_print(cause, stream, flags), 0);
    fclose(stream);
    assert_string_equal(text, expected);
    free(text);
}

/* --- errors -------------------------------------------------------------------------------------
 */

static void a_plain_error_says_what_where_and_who(void **state)
{
    struct yoke_error *error = made_in(&root, &app_site, "app.BadJob", EINVAL, "job 3 is not ok");

    (void)state;
    assert_prints(error, 0,
                  "error: app.BadJob: job 3 is not ok (EINVAL)\n"
                  "  at app.c:31, in app, task app in root[9d03b7]@4700\n");
    assert_prints(error, YOKE_PRINT_BRIEF,
                  "app.BadJob: job 3 is not ok (EINVAL), app.c:31, task app in "
                  "root[9d03b7]@4700\n");
    yk_error_absorb(error);
}

static void what_is_not_known_is_not_printed(void **state)
{
    struct yoke_error *error;

    (void)state;
    leave_locus();
    error = yk_error_make(NULL, "app.Bare", EIO, NULL);
    assert_prints(error, 0, "error: app.Bare (EIO)\n");
    assert_prints(error, YOKE_PRINT_BRIEF, "app.Bare (EIO)\n");
    error->actor.pid = 5;
    assert_prints(error, 0, "error: app.Bare (EIO)\n  in ?@5\n");
    error->site.file = "a.c";
    assert_prints(error, 0, "error: app.Bare (EIO)\n  at a.c:0, ?@5\n");
    yk_error_absorb(error);
}

static void what_an_error_carries_is_indented_below_it(void **state)
{
    struct yoke_error *error = made_in(&root, &order_site, "app.Order", EIO, "can't place it");
    struct yoke_error *because = made_in(&worker, &fetch_site, "app.BadJob", EINVAL, "job 3");
    struct yoke_error *context = made_in(&root, &app_site, "app.Older", ENOENT, "no file");

    (void)state;
    assert_true(yk_error_add_note(error, "while at work"));
    assert_true(yk_error_add_note(error, "order 17"));
    error->because = because;
    yk_error_set_context(error, context);
    yk_error_suppress(error, made_in(&root, &app_site, "app.Cleanup", EBADF, "close failed"));
    yk_error_suppress(because, made_in(&worker, &fetch_site, "app.Deep", EPIPE, "deeper"));
    error->suppressed_left_out = 2;
    assert_prints(error, 0,
                  "error: app.Order: can't place it (EIO)\n"
                  "  at order.c:7, in place, task app in root[9d03b7]@4700\n"
                  "  note: while at work\n"
                  "  note: order 17\n"
                  "  because error: app.BadJob: job 3 (EINVAL)\n"
                  "    at job.c:12, in fetch, task demo:count in counter[4f1c2a]@4711\n"
                  "    suppressed error: app.Deep: deeper (EPIPE)\n"
                  "      at job.c:12, in fetch, task demo:count in counter[4f1c2a]@4711\n"
                  "  while handling error: app.Older: no file (ENOENT)\n"
                  "    at app.c:31, in app, task app in root[9d03b7]@4700\n"
                  "  suppressed error: app.Cleanup: close failed (EBADF)\n"
                  "    at app.c:31, in app, task app in root[9d03b7]@4700\n"
                  "  suppressed 2 more that were not kept\n");
    yk_error_absorb(error);
}

static void members_of_a_group_are_numbered(void **state)
{
    struct yoke_error *members[] = {made_in(&root, &app_site, "app.One", EIO, "first"),
                                    made_in(&worker, &fetch_site, "app.Two", EBADF, "second")};
    struct yoke_error *group = yk_error_make_group(&order_site, members, 2, NULL);

    (void)state;
    assert_prints(group, 0,
                  "error: yoke.Group: 2 errors (YOKE_EGROUP)\n"
                  "  at order.c:7, in place, task app in root[9d03b7]@4700\n"
                  "  1 of 2: error: app.One: first (EIO)\n"
                  "    at app.c:31, in app, task app in root[9d03b7]@4700\n"
                  "  2 of 2: error: app.Two: second (EBADF)\n"
                  "    at job.c:12, in fetch, task demo:count in counter[4f1c2a]@4711\n");
    assert_prints(group, YOKE_PRINT_BRIEF,
                  "yoke.Group: 2 errors (YOKE_EGROUP), order.c:7, task app in "
                  "root[9d03b7]@4700\n");
    yk_error_absorb(group);
}

static void a_remote_error_says_over_which_actors_it_came(void **state)
{
    struct yoke_error *error = made_in(&worker, &fetch_site, "app.Remote", EIO, "far away");
    struct yoke_actor_id middle = {.name = "middle", .uuid = "77778888", .host = "here", .pid = 9};
    struct yoke_actor_id other = {.name = "edge",
                                  .uuid = "abcdef01",
                                  .host = "elsewhere",
                                  .pid = 2};

    (void)state;
    assert_int_equal(yk_error_add_relay(error, &middle), 0);
    assert_int_equal(yk_error_add_relay(error, &other), 0);
    error->remote->traceback = strdup("at job.c:12, in fetch\nat main.c:5, in main\n\n");
    assert_prints(error, 0,
                  "error: app.Remote: far away (EIO)\n"
                  "  at job.c:12, in fetch, task demo:count in counter[4f1c2a]@4711\n"
                  "  by way of middle[777788]@9, edge[abcdef]@2 on elsewhere\n");
    assert_prints(error, YOKE_PRINT_BACKTRACE,
                  "error: app.Remote: far away (EIO)\n"
                  "  at job.c:12, in fetch, task demo:count in counter[4f1c2a]@4711\n"
                  "  by way of middle[777788]@9, edge[abcdef]@2 on elsewhere\n"
                  "  backtrace:\n"
                  "    at job.c:12, in fetch\n"
                  "    at main.c:5, in main\n");
    yk_error_absorb(error);
}

static void an_error_that_is_reached_twice_is_printed_once(void **state)
{
    struct yoke_error *shared = made_in(&root, &app_site, "app.Shared", EIO, "once");
    struct yoke_error *error = made_in(&root, &order_site, "app.Outer", EBADF, "outer");

    (void)state;
    error->because = yoke_error_ref(shared);
    yk_error_suppress(error, shared);
    assert_prints(error, 0,
                  "error: app.Outer: outer (EBADF)\n"
                  "  at order.c:7, in place, task app in root[9d03b7]@4700\n"
                  "  because error: app.Shared: once (EIO)\n"
                  "    at app.c:31, in app, task app in root[9d03b7]@4700\n"
                  "  suppressed error: app.Shared: once (EIO), see above\n");
    yk_error_absorb(error);
}

static void beyond_the_depth_bound_it_says_that_more_is_left_out(void **state)
{
    struct yoke_error *error = made_in(&root, NULL, "app.End", EIO, "end");
    char *text = NULL;
    size_t size;
    FILE *stream;

    (void)state;
    for (int i = 0; i < YK_ERROR_TREE_DEPTH_MAX + 5; i++) {
        struct yoke_error *outer = made_in(&root, NULL, "app.Level", EIO, "level");

        outer->because = error;
        error = outer;
    }
    stream = open_memstream(&text, &size);
    assert_int_equal(yoke_error_print(error, stream, 0), 0);
    fclose(stream);
    assert_non_null(strstr(text, "app.Level: level (EIO), more of it is left out\n"));
    assert_null(strstr(text, "app.End"));
    free(text);
    yk_error_absorb(error);
}

/* --- hostile text -------------------------------------------------------------------------------
 */

static void text_can_not_steer_a_terminal_or_fake_a_line(void **state)
{
    struct yoke_error *error = made_in(&root, &app_site, "app.\nFake", EIO,
                                       "one\ntwo\ttab \x1b[31mred\x7f \xc2\x9b"
                                       "5m \r over");

    (void)state;
    assert_true(yk_error_add_note(error, "first\nsecond"));
    YK_TEXT_COPY(error->task_name, "t\nask");
    YK_TEXT_COPY(error->actor.name, "ro\x1bot");
    assert_prints(error, 0,
                  "error: app.\\x0aFake: one\n"
                  "    two\ttab \\x1b[31mred\\x7f \\xc2\\x9b5m \\x0d over (EIO)\n"
                  "  at app.c:31, in app, task t\\x0aask in ro\\x1bot[9d03b7]@4700\n"
                  "  note: first\n"
                  "      second\n");
    assert_prints(error, YOKE_PRINT_BRIEF,
                  "app.\\x0aFake: one\\x0atwo\\x09tab \\x1b[31mred\\x7f \\xc2\\x9b5m \\x0d over "
                  "(EIO), app.c:31, task t\\x0aask in ro\\x1bot[9d03b7]@4700\n");
    yk_error_absorb(error);
}

static void characters_that_turn_text_round_or_end_a_line_are_shown_as_numbers(void **state)
{
    struct yoke_error *error = made_in(&root, NULL, "app.Turned", EIO,
                                       "\xe2\x80\xae x \xe2\x81\xa6 y \xe2\x80\xa8 \xe2\x80\x93");

    (void)state;
    assert_prints(error, YOKE_PRINT_BRIEF,
                  "app.Turned: \\xe2\\x80\\xae x \\xe2\\x81\\xa6 y \\xe2\\x80\\xa8 \xe2\x80\x93 "
                  "(EIO), task app in root[9d03b7]@4700\n");
    yk_error_absorb(error);
}

static void bytes_that_are_not_utf8_are_shown_as_numbers(void **state)
{
    struct yoke_error *error =
        made_in(&root, NULL, "app.Bytes", EIO,
                "\xc3\xa9 \xff \xc3( \xed\xa0\x80 \xf0\x9f\x98\x80 \xe2\x82");

    (void)state;
    assert_prints(error, YOKE_PRINT_BRIEF,
                  "app.Bytes: \xc3\xa9 \\xff \\xc3( \\xed\\xa0\\x80 \xf0\x9f\x98\x80 \\xe2\\x82 "
                  "(EIO), task app in root[9d03b7]@4700\n");
    yk_error_absorb(error);
}

/* --- cancellations ------------------------------------------------------------------------------
 */

/* The sample at the end of the design. */
static void a_cancelled_tells_its_chain_over_processes(void **state)
{
    struct yoke_signal_info signal = {.number = SIGINT, .pid = 812, .uid = 1000};
    struct yoke_scope_info scope = scope_of("app", "app", 7);
    struct yk_cause_spec os_spec = {.layer = YOKE_LAYER_OS,
                                    .kind = YOKE_CAUSE_SIGNAL,
                                    .signal = &signal,
                                    .scope = &scope};
    struct yoke_cause *os = cause_in(&root, &os_spec);
    struct yk_cause_spec context_spec = {.layer = YOKE_LAYER_CONTEXT,
                                         .kind = YOKE_CAUSE_CONTEXT,
                                         .site = &app_site,
                                         .because = os};
    struct yoke_error *error = cancelled_in(&worker, cause_in(&root, &context_spec));

    (void)state;
    assert_prints(error, 0,
                  "cancelled: task demo:count in counter[4f1c2a]@4711\n"
                  "  because  context cancel by task app in root[9d03b7]@4700, app.c:31\n"
                  "  because  scope of app cancelled in root[9d03b7]@4700\n"
                  "  because  OS signal SIGINT from pid 812 (uid 1000)\n");
    assert_prints(error, YOKE_PRINT_BRIEF,
                  "cancelled: task demo:count in counter[4f1c2a]@4711, because context cancel by "
                  "task app in root[9d03b7]@4700, app.c:31\n");
    yoke_cause_unref(os);
    yk_error_absorb(error);
}

/* Deadline in the root, context cancel to the middle, which cancels its actor: all but the OS. */
static void a_chain_goes_through_every_layer(void **state)
{
    struct yoke_scope_info scope = scope_of("patience", "app", 7);
    struct yk_cause_spec deadline_spec = {.layer = YOKE_LAYER_TASK,
                                          .kind = YOKE_CAUSE_DEADLINE,
                                          .scope = &scope};
    struct yoke_cause *deadline = cause_in(&root, &deadline_spec);
    struct yk_cause_spec context_spec = {.layer = YOKE_LAYER_CONTEXT,
                                         .kind = YOKE_CAUSE_OPENER_LEFT,
                                         .site = &app_site,
                                         .because = deadline};
    struct yoke_cause *context = cause_in(&root, &context_spec);
    struct yk_cause_spec actor_spec = {.layer = YOKE_LAYER_ACTOR,
                                       .kind = YOKE_CAUSE_ACTOR,
                                       .site = &fetch_site,
                                       .reason = "no longer needed",
                                       .because = context};
    struct yoke_cause *actor = cause_in(&worker, &actor_spec);

    (void)state;
    assert_cause_prints(
        actor, 0,
        "because  actor cancel by task demo:count in counter[4f1c2a]@4711, job.c:12: \"no longer "
        "needed\"\n"
        "because  context cancel by its opener, task app in root[9d03b7]@4700, app.c:31\n"
        "because  deadline of scope \"patience\" (app.c:20) expired in task app in "
        "root[9d03b7]@4700\n");
    assert_cause_prints(actor, YOKE_PRINT_BRIEF,
                        "actor cancel by task demo:count in counter[4f1c2a]@4711, job.c:12: \"no "
                        "longer needed\"\n");
    yoke_cause_unref(deadline);
    yoke_cause_unref(context);
    yoke_cause_unref(actor);
}

static void an_error_and_a_cancelled_that_met_are_both_told(void **state)
{
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_TASK,
                                 .kind = YOKE_CAUSE_SCOPE,
                                 .site = &app_site,
                                 .reason = "stop"};
    struct yoke_error *masked = made_in(&root, &order_site, "app.Bad", EBADF, "bad");
    struct yoke_error *raised = made_in(&root, &order_site, "app.Worse", EIO, "worse");

    (void)state;
    yk_error_suppress(masked, cancelled_in(&root, cause_in(&root, &spec)));
    yk_error_set_context(raised, cancelled_in(&root, cause_in(&root, &spec)));
    assert_prints(masked, 0,
                  "error: app.Bad: bad (EBADF)\n"
                  "  at order.c:7, in place, task app in root[9d03b7]@4700\n"
                  "  suppressed cancelled: task app in root[9d03b7]@4700\n"
                  "    because  cancel of scope by task app in root[9d03b7]@4700, app.c:31: "
                  "\"stop\"\n");
    assert_prints(raised, 0,
                  "error: app.Worse: worse (EIO)\n"
                  "  at order.c:7, in place, task app in root[9d03b7]@4700\n"
                  "  while cancelled: task app in root[9d03b7]@4700\n"
                  "    because  cancel of scope by task app in root[9d03b7]@4700, app.c:31: "
                  "\"stop\"\n");
    yk_error_absorb(masked);
    yk_error_absorb(raised);
}

static void a_cancelled_tells_the_causes_inside_too(void **state)
{
    struct yoke_scope_info scope = scope_of("outer", "app", 7);
    struct yoke_scope_info inner_scope = scope_of("inner", "app", 7);
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_TASK,
                                 .kind = YOKE_CAUSE_SCOPE,
                                 .site = &app_site,
                                 .scope = &scope};
    struct yoke_cause *outer = cause_in(&root, &spec);
    struct yk_cause_spec inner_spec = {.layer = YOKE_LAYER_TASK,
                                       .kind = YOKE_CAUSE_DEADLINE,
                                       .because = outer,
                                       .scope = &inner_scope};
    struct yoke_cause *inner = cause_in(&root, &inner_spec);
    struct yoke_error *error = yk_error_make_cancelled(NULL, NULL, outer, &inner, 1);

    (void)state;
    assert_prints(error, 0,
                  "cancelled: task app in root[9d03b7]@4700\n"
                  "  because  cancel of scope \"outer\" (app.c:20) by task app in "
                  "root[9d03b7]@4700, app.c:31\n"
                  "  and inside it  deadline of scope \"inner\" (app.c:20) expired in task app in "
                  "root[9d03b7]@4700\n"
                  "    because  cancel of scope \"outer\" (app.c:20) by task app in "
                  "root[9d03b7]@4700, app.c:31\n");
    yoke_cause_unref(outer);
    yoke_cause_unref(inner);
    yk_error_absorb(error);
}

static void a_peers_cancellation_names_the_peer_once_and_says_why(void **state)
{
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_ACTOR,
                                 .kind = YOKE_CAUSE_ACTOR,
                                 .site = &app_site,
                                 .reason = "the shop closes"};
    struct yoke_error *error = made_in(&worker, NULL, "yoke.ContextCancelled", YOKE_EPEERCANCELLED,
                                       "demo:count in counter was cancelled");

    (void)state;
    error->cause = cause_in(&root, &spec);
    assert_prints(error, 0,
                  "error: yoke.ContextCancelled: task demo:count in counter[4f1c2a]@4711 was "
                  "cancelled (YOKE_EPEERCANCELLED)\n"
                  "  because  actor cancel by task app in root[9d03b7]@4700, app.c:31: \"the shop "
                  "closes\"\n");
    assert_prints(error, YOKE_PRINT_BRIEF,
                  "yoke.ContextCancelled: task demo:count in counter[4f1c2a]@4711 was cancelled "
                  "(YOKE_EPEERCANCELLED), because actor cancel by task app in root[9d03b7]@4700, "
                  "app.c:31: \"the shop closes\"\n");
    yk_error_absorb(error);
}

/* A plain tractor peer has words of its own. */
static void a_message_of_another_runtime_is_printed_as_it_is(void **state)
{
    struct yoke_error *error =
        made_in(&worker, NULL, "ContextCancelled", YOKE_EPEERCANCELLED, "Task got cancelled");

    (void)state;
    assert_prints(error, 0,
                  "error: ContextCancelled: Task got cancelled (YOKE_EPEERCANCELLED)\n"
                  "  in task demo:count in counter[4f1c2a]@4711\n");
    yk_error_absorb(error);
}

/* --- every kind of request ----------------------------------------------------------------------
 */

struct hop {
    enum yoke_layer layer;
    enum yoke_cause_kind kind;
    const char *text;
};

static void every_kind_of_request_says_who_and_where(void **state)
{
    static const struct hop hops[] = {
        {YOKE_LAYER_TASK, YOKE_CAUSE_SCOPE,
         "cancel of scope \"work\" (app.c:20) of task main by task app in root[9d03b7]@4700, "
         "app.c:31"},
        {YOKE_LAYER_TASK, YOKE_CAUSE_DEADLINE,
         "deadline of scope \"work\" (app.c:20) expired in task main in root[9d03b7]@4700"},
        {YOKE_LAYER_TASK, YOKE_CAUSE_CHILD_FAILED,
         "task app in root[9d03b7]@4700 failed in nursery \"work\" (app.c:20)"},
        {YOKE_LAYER_TASK, YOKE_CAUSE_BODY_FAILED,
         "body of nursery \"work\" (app.c:20) failed in task main in root[9d03b7]@4700"},
        {YOKE_LAYER_TASK, YOKE_CAUSE_RUNTIME_ENDED,
         "the main task ended in task main in root[9d03b7]@4700"},
        {YOKE_LAYER_TASK, YOKE_CAUSE_DEADLOCK, "deadlock in task main in root[9d03b7]@4700"},
        {YOKE_LAYER_CONTEXT, YOKE_CAUSE_CONTEXT,
         "context cancel by task app in root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_CONTEXT, YOKE_CAUSE_OPENER_LEFT,
         "context cancel by its opener, task app in root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_CONTEXT, YOKE_CAUSE_PEER_RAISED,
         "context's peer, task app in root[9d03b7]@4700, failed"},
        {YOKE_LAYER_CONTEXT, YOKE_CAUSE_PEER_CANCELLED,
         "context's peer, task app in root[9d03b7]@4700, was cancelled"},
        {YOKE_LAYER_CONTEXT, YOKE_CAUSE_LINK_LOST,
         "link lost to task app in root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR,
         "actor cancel by task app in root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR_NURSERY,
         "actor cancel by the actor nursery of root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR_SELF,
         "actor cancel by its own task app in root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_ACTOR, YOKE_CAUSE_ACTOR_DIED,
         "an actor died, noticed by task app in root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_ACTOR, YOKE_CAUSE_RESTART,
         "restarted by its supervisor, task app in root[9d03b7]@4700, app.c:31"},
        {YOKE_LAYER_OS, YOKE_CAUSE_SIGNAL, "OS signal of unknown number"},
        {YOKE_LAYER_OS, YOKE_CAUSE_PARENT_LOST, "parent process lost"},
    };
    struct yoke_scope_info scope = scope_of("work", "main", 1);

    (void)state;
    assert_int_equal(sizeof hops / sizeof *hops, YOKE_CAUSE_PARENT_LOST);
    for (size_t i = 0; i < sizeof hops / sizeof *hops; i++) {
        struct yk_cause_spec spec = {.layer = hops[i].layer,
                                     .kind = hops[i].kind,
                                     .site = &app_site,
                                     .scope = &scope};
        struct yoke_cause *cause = cause_in(&root, &spec);
        char expected[256];

        snprintf(expected, sizeof expected, "%s\n", hops[i].text);
        assert_cause_prints(cause, YOKE_PRINT_BRIEF, expected);
        yoke_cause_unref(cause);
    }
}

static void a_request_from_outside_the_tree_says_so(void **state)
{
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_TASK, .kind = YOKE_CAUSE_SCOPE};
    struct yk_cause_spec peer_spec = {.layer = YOKE_LAYER_CONTEXT, .kind = YOKE_CAUSE_PEER_RAISED};
    struct yk_cause_spec nursery_spec = {.layer = YOKE_LAYER_ACTOR,
                                         .kind = YOKE_CAUSE_ACTOR_NURSERY};
    struct yoke_cause *cause;

    (void)state;
    leave_locus();
    cause = yk_cause_new(&spec);
    assert_cause_prints(cause, 0, "because  cancel of scope by a thread outside\n");
    yoke_cause_unref(cause);
    cause = yk_cause_new(&peer_spec);
    assert_cause_prints(cause, 0, "because  context's peer failed\n");
    yoke_cause_unref(cause);
    cause = yk_cause_new(&nursery_spec);
    assert_cause_prints(cause, 0, "because  actor cancel by the actor nursery of its parent\n");
    yoke_cause_unref(cause);
}

static void signals_have_their_names_and_senders(void **state)
{
    static const struct {
        struct yoke_signal_info signal;
        const char *text;
    } signals[] = {
        {{.number = SIGTERM, .pid = 1, .uid = 0},
         "because  OS signal SIGTERM from pid 1 (uid 0)\n"},
        {{.number = SIGINT}, "because  OS signal SIGINT from the kernel (terminal)\n"},
        {{.number = 40, .pid = 7, .uid = 8}, "because  OS signal 40 from pid 7 (uid 8)\n"},
        {{.number = -3, .pid = 7, .uid = 8}, "because  OS signal -3 from pid 7 (uid 8)\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct yk_cause_spec spec = {.layer = YOKE_LAYER_OS,
                                     .kind = YOKE_CAUSE_SIGNAL,
                                     .signal = &signals[i].signal};
        struct yoke_cause *cause = cause_in(&root, &spec);

        assert_cause_prints(cause, 0, signals[i].text);
        yoke_cause_unref(cause);
    }
}

/* What the runtime says for a reason of the same error is not said twice. */
static void the_error_that_led_to_a_request_is_told_once_with_its_place(void **state)
{
    struct yoke_scope_info scope = scope_of("jobs", "app", 7);
    struct yoke_error *failed = made_in(&worker, &fetch_site, "app.Lost", EIO, "the disk is gone");
    struct yk_cause_spec peer_spec = {.layer = YOKE_LAYER_CONTEXT,
                                      .kind = YOKE_CAUSE_PEER_RAISED,
                                      .reason = "the disk is gone",
                                      .error = failed};
    struct yk_cause_spec child_spec = {.layer = YOKE_LAYER_TASK,
                                       .kind = YOKE_CAUSE_CHILD_FAILED,
                                       .site = &fetch_site,
                                       .scope = &scope,
                                       .error = failed};
    struct yoke_cause *peer = cause_in(&worker, &peer_spec);
    struct yoke_cause *child = cause_in(&root, &child_spec);

    (void)state;
    assert_cause_prints(peer, 0,
                        "because  context's peer, task demo:count in counter[4f1c2a]@4711, failed: "
                        "app.Lost: the disk is gone (EIO), job.c:12\n");
    assert_cause_prints(child, 0,
                        "because  task app in root[9d03b7]@4700 failed in nursery \"jobs\" "
                        "(app.c:20): app.Lost: the disk is gone (EIO), job.c:12, task demo:count "
                        "in counter[4f1c2a]@4711\n");
    yoke_cause_unref(peer);
    yoke_cause_unref(child);
    yk_error_absorb(failed);
}

/* The error that failed had itself been raised over a Cancelled: the way on is through it. */
static void a_chain_goes_on_through_the_error_that_led_to_a_request(void **state)
{
    struct yk_cause_spec first_spec = {.layer = YOKE_LAYER_TASK,
                                       .kind = YOKE_CAUSE_SCOPE,
                                       .reason = "origin"};
    struct yoke_error *failed = made_in(&root, &order_site, "app.Failed", EIO, "in cleanup");
    struct yoke_cause *cause;

    (void)state;
    yk_error_set_context(failed, cancelled_in(&root, cause_in(&root, &first_spec)));
    cause = cause_in(&root, &(struct yk_cause_spec){.layer = YOKE_LAYER_TASK,
                                                    .kind = YOKE_CAUSE_CHILD_FAILED,
                                                    .error = failed});
    assert_cause_prints(cause, 0,
                        "because  task app in root[9d03b7]@4700 failed in nursery: app.Failed: in "
                        "cleanup (EIO), order.c:7\n"
                        "  because  cancel of scope by task app in root[9d03b7]@4700: "
                        "\"origin\"\n");
    yoke_cause_unref(cause);
    yk_error_absorb(failed);
}

static void a_cut_chain_says_how_many_hops_are_left_out(void **state)
{
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_OS, .kind = YOKE_CAUSE_PARENT_LOST};
    struct yoke_cause *origin = cause_in(&root, &spec);
    struct yoke_cause *cause;

    (void)state;
    spec = (struct yk_cause_spec){.layer = YOKE_LAYER_TASK,
                                  .kind = YOKE_CAUSE_SCOPE,
                                  .because = origin};
    cause = cause_in(&root, &spec);
    cause->hops_left_out = 5;
    assert_cause_prints(cause, 0,
                        "because  cancel of scope by task app in root[9d03b7]@4700\n"
                        "because  ... (5 left out) ...\n"
                        "because  parent process lost\n");
    yoke_cause_unref(cause);
    yoke_cause_unref(origin);
}

static void reasons_and_names_of_a_hop_stay_on_their_line(void **state)
{
    struct yoke_scope_info scope = scope_of("sc\nope", "t\nask", 1);
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_TASK,
                                 .kind = YOKE_CAUSE_SCOPE,
                                 .reason = "fine\nbecause  OS signal SIGKILL\x1b[2J",
                                 .scope = &scope};
    struct yoke_cause *cause = cause_in(&root, &spec);

    (void)state;
    assert_cause_prints(cause, 0,
                        "because  cancel of scope \"sc\\x0aope\" (app.c:20) of task t\\x0aask by "
                        "task app in root[9d03b7]@4700: \"fine\\x0abecause  OS signal "
                        "SIGKILL\\x1b[2J\"\n");
    yoke_cause_unref(cause);
}

/* --- streams ------------------------------------------------------------------------------------
 */

static void a_broken_stream_gives_its_errno_and_raises_nothing(void **state)
{
    struct yoke_error *error = made_in(&root, &app_site, "app.Bad", EIO, "bad");
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_TASK, .kind = YOKE_CAUSE_SCOPE};
    struct yoke_cause *cause = cause_in(&root, &spec);
    FILE *full = fopen("/dev/full", "w");
    FILE *read_only = fopen("/dev/null", "r");

    (void)state;
    assert_non_null(full);
    assert_non_null(read_only);
    assert_int_equal(yoke_error_print(error, full, 0), -ENOSPC);
    assert_int_equal(yoke_cause_print(cause, full, 0), -ENOSPC);
#ifdef __GLIBC__
    assert_int_equal(yoke_error_print(error, read_only, YOKE_PRINT_BRIEF), -EBADF);
#else
    assert_int_equal(yoke_error_print(error, read_only, YOKE_PRINT_BRIEF), -EIO);
#endif
    assert_null(yoke_in_flight());
    fclose(full);
    fclose(read_only);
    yoke_cause_unref(cause);
    yk_error_absorb(error);
}

static void a_report_prints_settles_and_drops(void **state)
{
    struct yoke_error *error = made_in(&root, &app_site, "app.Bad", EIO, "bad");
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);

    (void)state;
    yk_error_report(error, stream);
    fclose(stream);
    assert_memory_equal(text, "error: app.Bad: bad (EIO)\n", 26);
    assert_non_null(strstr(text, "\n  backtrace:\n    at "));
    free(text);
}

static void without_memory_to_remember_more_it_says_that_more_is_left_out(void **state)
{
    struct yoke_error *error = made_in(&root, &app_site, "app.Bad", EIO, "bad");

    (void)state;
    yk_memory_fail_at(1, true);
    assert_prints(error, 0, "error: app.Bad: bad (EIO), more of it is left out\n");
    yk_memory_fail_at(0, false);
    yk_error_absorb(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PRINTS(a_plain_error_says_what_where_and_who),
        PRINTS(what_is_not_known_is_not_printed),
        PRINTS(what_an_error_carries_is_indented_below_it),
        PRINTS(members_of_a_group_are_numbered),
        PRINTS(a_remote_error_says_over_which_actors_it_came),
        PRINTS(an_error_that_is_reached_twice_is_printed_once),
        PRINTS(beyond_the_depth_bound_it_says_that_more_is_left_out),
        PRINTS(text_can_not_steer_a_terminal_or_fake_a_line),
        PRINTS(characters_that_turn_text_round_or_end_a_line_are_shown_as_numbers),
        PRINTS(bytes_that_are_not_utf8_are_shown_as_numbers),
        PRINTS(a_cancelled_tells_its_chain_over_processes),
        PRINTS(a_chain_goes_through_every_layer),
        PRINTS(an_error_and_a_cancelled_that_met_are_both_told),
        PRINTS(a_cancelled_tells_the_causes_inside_too),
        PRINTS(a_peers_cancellation_names_the_peer_once_and_says_why),
        PRINTS(a_message_of_another_runtime_is_printed_as_it_is),
        PRINTS(every_kind_of_request_says_who_and_where),
        PRINTS(a_request_from_outside_the_tree_says_so),
        PRINTS(signals_have_their_names_and_senders),
        PRINTS(the_error_that_led_to_a_request_is_told_once_with_its_place),
        PRINTS(a_chain_goes_on_through_the_error_that_led_to_a_request),
        PRINTS(a_cut_chain_says_how_many_hops_are_left_out),
        PRINTS(reasons_and_names_of_a_hop_stay_on_their_line),
        PRINTS(a_broken_stream_gives_its_errno_and_raises_nothing),
        PRINTS(a_report_prints_settles_and_drops),
        PRINTS(without_memory_to_remember_more_it_says_that_more_is_left_out),
    };

    return cmocka_run_group_tests_name("errors as text", tests, NULL, NULL);
}
