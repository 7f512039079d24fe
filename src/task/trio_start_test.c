/* SPDX-License-Identifier: MIT */
/*
 * The started handshake under cancellation, in every combination: the starter's side, the target
 * nursery's side, both or neither are cancelled, by request or deadline, before the start, before
 * the report, or after it; the child is shielded until its report or not, and at each Cancelled
 * forwards it, fails, or goes on. What start gives, what the target gives, and what the child was
 * told are compared with a model. Then what trio checks of Nursery.start besides.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/testing.h>

#include "base/text.h"

enum side { NOBODY, STARTER, TARGET, BOTH, SIDES };
enum when { BEFORE, STARTING, STARTED, WHENS }; /* at 0, 1 and 3 ms; the report comes at 2 */
enum reaction { FORWARD, FAIL, GO_ON, REACTIONS };
enum { REPORT_MS = 2, END_MS = 4, STARTER_MS = 6, NEVER_MS = 99 };
static const int when_ms[WHENS] = {0, 1, 3};

struct scenario {
    enum side side;
    enum when when;
    bool by_deadline;
    bool shielded;
    enum reaction reaction[2]; /* before and after the report */
    bool fails_at_end;
};

struct result {
    char start[16];   /* "", "cancelled", or the error's name */
    char target[16];  /* the same of the target's close */
    char told[2][96]; /* why, to the child, before and after its report: scope and kind */
    bool ran;
};

/* The model. Returns what the child ends with. */
static const char *child_ends(const struct scenario *scenario, int starter_ms, int target_ms,
                              bool *moved, struct result *result)
{
    const char *kind = scenario->by_deadline ? "deadline" : "scope cancel";
    bool cancelled = !scenario->shielded && starter_ms < REPORT_MS;
    int report_ms = cancelled ? starter_ms : REPORT_MS;

    if (cancelled) {
        snprintf(result->told[0], sizeof result->told[0], "starter, %s", kind);
        if (scenario->reaction[0] != GO_ON)
            return scenario->reaction[0] == FAIL ? "early" : "cancelled";
    }
    *moved = starter_ms > report_ms;
    if ((*moved ? target_ms : starter_ms) < END_MS) {
        snprintf(result->told[1], sizeof result->told[1], "%s, %s", *moved ? "target" : "starter",
                 kind);
        if (scenario->reaction[1] != GO_ON)
            return scenario->reaction[1] == FAIL ? "late" : "cancelled";
    }
    return scenario->fails_at_end ? "end" : "";
}

static void predict(const struct scenario *scenario, struct result *result)
{
    int at = when_ms[scenario->when];
    int starter_ms = scenario->side == STARTER || scenario->side == BOTH ? at : NEVER_MS;
    int target_ms = scenario->side == TARGET || scenario->side == BOTH ? at : NEVER_MS;
    bool moved = false;
    const char *ended = "cancelled"; /* a cancelled starter starts nothing */
    const char *outcome;

    memset(result, 0, sizeof *result);
    result->ran = starter_ms > 0;
    if (result->ran)
        ended = child_ends(scenario, starter_ms, target_ms, &moved, result);
    /* An error beats the cancellation, which nothing else hides. */
    outcome = moved || ended[0] == '\0' ? "cancelled" : ended;
    YK_TEXT_COPY(result->start, moved ? "" : outcome);
    if (moved && ended[0] != '\0' && strcmp(ended, "cancelled") != 0)
        YK_TEXT_COPY(result->target, ended);
    else
        YK_TEXT_COPY(result->target, target_ms != NEVER_MS ? "cancelled" : "");
}

/* The real thing */

struct run {
    const struct scenario *scenario;
    struct result *result;
    int64_t start;
    struct yoke_scope starter;
    struct yoke_scope around_target;
    struct yoke_nursery target;
    struct yoke_event ready, done;
};

/* The name of the error in flight, which is taken. */
static void take_outcome(int rc, char *text)
{
    struct yoke_error *error = yoke_catch();

    yk_check_int(rc, error == NULL ? 0 : yoke_error_code(error));
    strcpy(text, error == NULL                    ? ""
                 : yoke_error_is_cancelled(error) ? "cancelled"
                                                  : yoke_error_message(error));
    yoke_error_unref(error);
}

static int react(struct run *run, int phase, int rc)
{
    static const char *const names[2] = {"early", "late"};
    const struct yoke_cause *cause = yoke_why();

    if (rc == 0)
        return 0;
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check(cause != NULL && cause == yoke_error_cause(yoke_in_flight()));
    snprintf(run->result->told[phase], sizeof run->result->told[phase], "%s, %s",
             yoke_cause_scope(cause)->name, yoke_cause_kind_name(yoke_cause_kind(cause)));
    if (run->scenario->reaction[phase] == FORWARD)
        return rc;
    if (run->scenario->reaction[phase] == FAIL)
        return yoke_raise("test.Fail", EIO, "%s", names[phase]);
    yoke_clear();
    return 0;
}

static int child(void *arg)
{
    struct run *run = arg;
    struct yoke_scope shield;
    struct yoke_scope_opts opts = {.shield = run->scenario->shielded};
    int rc;

    run->result->ran = true;
    yk_check_int(yoke_scope_open(&shield, &opts), 0);
    rc = react(run, 0, yoke_sleep_until(run->start + YOKE_MS(REPORT_MS)));
    if (rc == 0)
        rc = yoke_started(run); /* inside the shield: that moves with the task */
    rc = yoke_scope_close(&shield, rc);
    if (rc == 0)
        rc = react(run, 1, yoke_sleep_until(run->start + YOKE_MS(END_MS)));
    if (rc == 0 && run->scenario->fails_at_end)
        rc = yoke_raise("test.Fail", EIO, "end");
    return rc;
}

static void cancel_sides(struct run *run)
{
    int64_t now = yoke_now();

    for (enum side side = STARTER; side <= TARGET; side++) {
        struct yoke_scope *scope = side == STARTER ? &run->starter : &run->around_target;

        if (run->scenario->side != side && run->scenario->side != BOTH)
            continue;
        if (run->scenario->by_deadline)
            yk_check_int(yoke_scope_set_deadline(scope, now), 0);
        else
            yoke_scope_cancel(scope, NULL);
    }
}

static int own_target(void *arg)
{
    struct run *run = arg;
    int rc;

    yk_check_int(yoke_scope_open(&run->around_target, &(struct yoke_scope_opts){.name = "target"}),
                 0);
    yk_check_int(yoke_nursery_open(&run->target, NULL), 0);
    yoke_event_set(&run->ready);
    rc = yoke_nursery_close(&run->target, yoke_event_wait(&run->done));
    take_outcome(rc, run->result->target);
    return yoke_scope_close(&run->around_target, 0);
}

static int cancel_in_time(void *arg)
{
    struct run *run = arg;

    yk_check_int(yoke_sleep_until(run->start + YOKE_MS(when_ms[run->scenario->when])), 0);
    cancel_sides(run);
    return 0;
}

static void start_child(struct run *run)
{
    void *value = NULL;
    int rc;

    yk_check_int(yoke_scope_open(&run->starter, &(struct yoke_scope_opts){.name = "starter"}), 0);
    if (run->scenario->when == BEFORE)
        cancel_sides(run);
    rc = yoke_start(&run->target, child, run, &value);
    yk_check((rc == 0) == (value == run)); /* outputs are set on success, left alone on failure */
    if (rc < 0)
        yk_check(yoke_now() < run->start + YOKE_MS(END_MS + 1)); /* the child is done by now */
    take_outcome(rc, run->result->start);
    rc = yoke_scope_close(&run->starter, yoke_sleep_until(run->start + YOKE_MS(STARTER_MS)));
    yk_check_int(rc, 0);
    yoke_event_set(&run->done);
}

static void perform(const struct scenario *scenario, struct result *result)
{
    struct run run = {.scenario = scenario, .result = result, .start = yoke_now()};
    struct yoke_nursery nursery;

    memset(result, 0, sizeof *result);
    yoke_event_init(&run.ready);
    yoke_event_init(&run.done);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, own_target, &run), 0);
    yk_check_int(yoke_event_wait(&run.ready), 0);
    if (scenario->when != BEFORE)
        yk_check_int(yoke_spawn(&nursery, cancel_in_time, &run), 0);
    start_child(&run);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
}

static void compare(const struct scenario *scenario)
{
    unsigned before = yk_checks_failed();
    struct result actual, expected;

    predict(scenario, &expected);
    perform(scenario, &actual);
    yk_check_text(actual.start, expected.start);
    yk_check_text(actual.target, expected.target);
    yk_check_text(actual.told[0], expected.told[0]);
    yk_check_text(actual.told[1], expected.told[1]);
    yk_check_int(actual.ran, expected.ran);
    if (yk_checks_failed() != before)
        fprintf(stderr,
                "scenario: side %d, when %d, deadline %d, shield %d, reactions %d, %d, fails %d\n",
                (int)scenario->side, (int)scenario->when, scenario->by_deadline, scenario->shielded,
                (int)scenario->reaction[0], (int)scenario->reaction[1], scenario->fails_at_end);
}

enum { COMBINATIONS = SIDES * WHENS * REACTIONS * REACTIONS * 2 * 2 * 2 };

YK_SIM_TEST(start_gives_what_the_rules_say_whoever_is_cancelled_whenever)
{
    for (unsigned i = 0; i < COMBINATIONS; i++) {
        unsigned rest = i / 8;
        struct scenario scenario = {.by_deadline = i & 1, .shielded = i & 2, .fails_at_end = i & 4};

        scenario.side = (enum side)(rest % SIDES);
        rest /= SIDES;
        scenario.when = (enum when)(rest % WHENS);
        rest /= WHENS;
        scenario.reaction[0] = (enum reaction)(rest % REACTIONS);
        scenario.reaction[1] = (enum reaction)(rest / REACTIONS);
        compare(&scenario);
    }
    return 0;
}

/* What trio checks besides. */

static int raise_with_history(void *arg)
{
    struct yoke_error *because;
    (void)arg;
    yk_check_int(yoke_raise("test.Because", EPIPE, "because"), -EPIPE);
    because = yoke_catch();
    yk_check_int(yoke_raise("test.Context", EPIPE, "context"), -EPIPE);
    return yoke_raise_because(because, "test.Early", EIO, "early");
}

YK_SIM_TEST(an_error_before_the_report_keeps_its_context_and_what_led_to_it)
{
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    rc = yoke_start(&nursery, raise_with_history, NULL, NULL);
    yk_check_int(rc, -EIO);
    yk_check_int(yoke_nursery_close(&nursery, rc), -EIO);
    yk_check_text(yoke_error_type(yoke_error_because(yoke_in_flight())), "test.Because");
    yk_check_text(yoke_error_type(yoke_error_context(yoke_in_flight())), "test.Context");
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 0); /* no group of one */
    yk_check_caught("test.Early", "early");
    return 0;
}

static int raise_group(void *arg)
{
    struct yoke_error *members[2];

    (void)arg;
    for (int i = 0; i < 2; i++) {
        yk_check_int(yoke_raise("test.Member", EIO, "%d", i), -EIO);
        members[i] = yoke_catch();
    }
    return yoke_raise_group(members, 2, "my group");
}

static int report_then_raise_group(void *arg)
{
    int rc = yoke_started(NULL);

    return rc < 0 ? rc : raise_group(arg);
}

YK_SIM_TEST(a_group_of_the_childs_own_making_comes_out_as_it_is)
{
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    rc = yoke_start(&nursery, raise_group, NULL, NULL);
    yk_check_int(rc, YOKE_EGROUP);
    yk_check_int(yoke_nursery_close(&nursery, rc), YOKE_EGROUP);
    yk_check_text(yoke_error_message(yoke_in_flight()), "my group");
    yoke_clear();

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_start(&nursery, report_then_raise_group, NULL, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), YOKE_EGROUP);
    yk_check_text(yoke_error_message(yoke_in_flight()), "my group");
    yk_check_int(yoke_error_member_count(yoke_in_flight()), 2);
    yoke_clear();
    return 0;
}

struct told_child {
    uint64_t requester;
    enum yoke_cause_kind kind;
    char error[16];
};

static void note_cause(struct told_child *told)
{
    const struct yoke_cause *cause = yoke_why();

    told->requester = yoke_cause_requester(cause)->task_id;
    told->kind = yoke_cause_kind(cause);
    if (yoke_cause_error(cause) != NULL)
        YK_TEXT_COPY(told->error, yoke_error_message(yoke_cause_error(cause)));
}

static int report_then_wait(void *arg)
{
    int rc = yoke_started(NULL);

    yk_check_int(rc, 0);
    rc = yoke_sleep_forever();
    yk_check_int(rc, YOKE_CANCELLED);
    note_cause(arg);
    return yoke_raise("test.Second", EIO, "second");
}

static int report_then_fail(void *arg)
{
    yk_check_int(yoke_started((void *)(uintptr_t)yoke_task_id()), 0);
    if (arg != NULL)
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    return yoke_raise("test.First", EIO, "first");
}

/* `late`: the failing child fails when the other has reported, else before that is started. */
static void fail_beside_a_start(bool late)
{
    struct told_child told = {.requester = 0};
    struct yoke_nursery nursery;
    void *failing;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    rc = yoke_start(&nursery, report_then_fail, late ? &nursery : NULL, &failing);
    yk_check_int(rc, 0);
    if (!late) {
        struct told_child own = {.requester = 0};

        rc = yoke_wait_all_tasks_blocked();
        yk_check_int(rc, YOKE_CANCELLED);
        note_cause(&own);
        yk_check_int(own.kind, YOKE_CAUSE_CHILD_FAILED);
        yk_check_int(own.requester, (uintptr_t)failing);
        yk_check_int(yoke_nursery_close(&nursery, rc), -EIO);
        yk_check_caught("test.First", "first");
        return;
    }
    yk_check_int(yoke_start(&nursery, report_then_wait, &told, NULL), 0);
    yk_check_int(yoke_nursery_close(&nursery, 0), YOKE_EGROUP);
    yk_check_int(told.kind, YOKE_CAUSE_CHILD_FAILED);
    yk_check_int(told.requester, (uintptr_t)failing);
    yk_check_text(told.error, "first");
    yk_check_text(yoke_error_message(yoke_error_member(yoke_in_flight(), 0)), "first");
    yk_check_text(yoke_error_message(yoke_error_member(yoke_in_flight(), 1)), "second");
    yoke_clear();
}

YK_SIM_TEST(who_is_started_beside_a_failing_task_is_told_of_that_task)
{
    fail_beside_a_start(false);
    fail_beside_a_start(true);
    return 0;
}

static int wait_and_note(void *arg)
{
    int rc = yoke_sleep_forever();

    yk_check_int(rc, YOKE_CANCELLED);
    note_cause(arg);
    return rc;
}

YK_SIM_TEST(siblings_are_told_that_the_body_failed_when_a_start_in_it_failed)
{
    struct told_child told = {.requester = 0};
    struct yoke_nursery nursery;
    int rc;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, wait_and_note, &told), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    rc = yoke_start(&nursery, raise_with_history, NULL, NULL);
    yk_check_int(yoke_nursery_close(&nursery, rc), -EIO);
    yk_check_int(told.kind, YOKE_CAUSE_BODY_FAILED);
    yk_check_int(told.requester, yoke_task_id());
    yk_check_text(told.error, "early");
    yk_check_caught("test.Early", "early");
    return 0;
}

static int report_value(void *arg)
{
    return yoke_started(arg);
}

YK_SIM_TEST(start_works_in_a_cleanup_and_leaves_the_older_error_alone)
{
    struct yoke_nursery nursery;
    void *value = NULL;

    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_raise("test.Older", EPIPE, "older"), -EPIPE);
    yk_check_int(yoke_start(&nursery, report_value, &nursery, &value), 0);
    yk_check(value == &nursery);
    yk_check_int(yoke_start(&nursery, raise_with_history, NULL, NULL), -EIO);
    yk_check_text(yoke_error_message(yoke_in_flight()), "early");
    yk_check_int(yoke_nursery_close(&nursery, -EIO), -EIO);
    yk_check_caught("test.Early", "early");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_gives_what_the_rules_say_whoever_is_cancelled_whenever),
        cmocka_unit_test(an_error_before_the_report_keeps_its_context_and_what_led_to_it),
        cmocka_unit_test(a_group_of_the_childs_own_making_comes_out_as_it_is),
        cmocka_unit_test(who_is_started_beside_a_failing_task_is_told_of_that_task),
        cmocka_unit_test(siblings_are_told_that_the_body_failed_when_a_start_in_it_failed),
        cmocka_unit_test(start_works_in_a_cleanup_and_leaves_the_older_error_alone),
    };

    return cmocka_run_group_tests_name("start, as trio's", tests, NULL, NULL);
}
