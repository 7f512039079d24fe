/* SPDX-License-Identifier: MIT */
/*
 * Two nurseries, one inside the other, and a scope around both: every combination of what the two
 * bodies and four children do (return, fail, cancel), of shields, of where the inner nursery is, of
 * what is cancelled, by request or deadline, and of what a cancelled task does. Each acts at a time
 * of its own, in an order drawn from the seed. What comes out is compared with a model of the
 * rules, a pure function that knows nothing of tasks: which errors, in which order, over which
 * others; whether a Cancelled went on, who absorbed it; and for each task that was cancelled, which
 * scope, of what kind, by whom, because of which error.
 *
 * Errors are compared as text: the name of who raised it, "<" and what it was raised over, and
 * "{...}" for a group. Cancelleds in contexts and among the suppressed are left out of it.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/nursery.h>

#include "base/random.h"
#include "base/text.h"

enum action { RETURN, FAIL, CANCEL, ACTIONS };
enum target { OWN_NURSERY, OUTER_NURSERY, SCOPE_AROUND, TARGETS };
enum place { AROUND, OUTER, INNER, PLACES, NOWHERE = -1 };
enum actor { B1, X1, Y1, B2, X2, Y2, ACTORS }; /* bodies and children, of the outer one first */
enum { TEXT = 320 };

static const char *const names[ACTORS] = {"B1", "X1", "Y1", "B2", "X2", "Y2"};
static const char *const place_names[PLACES] = {"around", "outer", "inner"};

struct scenario {
    enum action action[ACTORS];
    unsigned slot[ACTORS]; /* a permutation of 1 to 6: when each acts */
    bool shield[PLACES];   /* of the nurseries */
    bool in_child;         /* the inner nursery is in the child X1, not in the body B1 */
    bool fail_when_cancelled;
    bool by_deadline; /* who cancels sets the deadline to now */
    enum target target;
};

struct result {
    char error[TEXT]; /* "": none */
    bool cancelled;   /* the outer nursery's close gave a Cancelled, the scope around absorbed it */
    bool tells;       /* the error tells of the cancellation around it */
    bool called[PLACES];
    char told[ACTORS][TEXT]; /* why, to each that was cancelled */
};

static enum actor host_of(const struct scenario *scenario)
{
    return scenario->in_child ? X1 : B1;
}

static enum place place_of(enum actor who)
{
    return who >= B2 ? INNER : OUTER;
}

static enum place target_of(const struct scenario *scenario, enum actor who)
{
    return scenario->target == OWN_NURSERY     ? place_of(who)
           : scenario->target == OUTER_NURSERY ? OUTER
                                               : AROUND;
}

/* The model */

struct model {
    const struct scenario *scenario;
    struct result *result;
    bool cancelled[PLACES];
    char cause[PLACES][TEXT];
    bool done[ACTORS];
    char failures[PLACES][4][TEXT]; /* by nursery, the body's first */
    size_t failures_n[PLACES];
    bool inner_closed;
    char inner[TEXT]; /* the error that its close gave */
    unsigned now;
};

static enum place visible(const struct model *model, enum place place)
{
    enum place found = NOWHERE;

    for (int p = (int)place; p >= AROUND; p--) {
        if (model->cancelled[p])
            found = (enum place)p;
        if (model->scenario->shield[p])
            break;
    }
    return found;
}

static const char *task_of(const struct model *model, enum actor who)
{
    if (who == B2)
        who = host_of(model->scenario);
    return who == B1 ? "program" : names[who];
}

static void cancel(struct model *model, enum place place, const char *kind, const char *task,
                   const char *what)
{
    if (model->cancelled[place])
        return;
    model->cancelled[place] = true;
    snprintf(model->cause[place], TEXT, "%s, %s by %s: %.100s", place_names[place], kind, task,
             what);
}

static void request(struct model *model, enum actor who)
{
    enum place place = target_of(model->scenario, who);

    /* A deadline is ascribed to the task that opened the scope. */
    if (model->scenario->by_deadline)
        cancel(model, place, "deadline", task_of(model, place == INNER ? B2 : B1), "");
    else
        cancel(model, place, "scope cancel", task_of(model, who), names[who]);
}

static bool over_inner(const struct model *model, enum actor who)
{
    return who == host_of(model->scenario) && model->inner[0] != '\0';
}

static void fails(struct model *model, enum actor who, const char *error)
{
    enum place nursery = place_of(who);
    bool body = who == B1 || who == B2;
    size_t n = model->failures_n[nursery]++;

    cancel(model, nursery, body ? "body failed" : "child failed", task_of(model, who), error);
    if (body) {
        memmove(model->failures[nursery][1], model->failures[nursery][0], n * TEXT);
        n = 0;
    }
    snprintf(model->failures[nursery][n], TEXT, "%s", error);
}

static void raises(struct model *model, enum actor who)
{
    char error[TEXT];

    if (over_inner(model, who))
        snprintf(error, TEXT, "%s<%.150s", names[who], model->inner);
    else
        snprintf(error, TEXT, "%s", names[who]);
    fails(model, who, error);
}

/* Ends without an error of its own: the one of the inner nursery is still in flight. */
static void ends(struct model *model, enum actor who)
{
    if (over_inner(model, who)) {
        char error[TEXT];

        YK_TEXT_COPY(error, model->inner);
        fails(model, who, error);
    }
}

static void is_told(struct model *model, enum actor who)
{
    YK_TEXT_COPY(model->result->told[who], model->cause[visible(model, place_of(who))]);
}

static void acts(struct model *model, enum actor who)
{
    model->done[who] = true;
    switch (model->scenario->action[who]) {
    case FAIL:
        raises(model, who);
        return;
    case CANCEL:
        request(model, who);
        if (visible(model, place_of(who)) != NOWHERE)
            is_told(model, who);
        break;
    default:
        break;
    }
    ends(model, who);
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void join(char (*members)[TEXT], size_t n, bool sorted, char *text)
{
    size_t used = 1;

    if (sorted)
        qsort(members, n, TEXT, compare_text);
    if (n <= 1) {
        snprintf(text, TEXT, "%s", n == 0 ? "" : members[0]);
        return;
    }
    text[0] = '{';
    for (size_t i = 0; i < n; i++)
        used +=
            (size_t)snprintf(text + used, TEXT - used, "%s%s", members[i], i == n - 1 ? "}" : " ");
}

static void close_nursery(struct model *model, enum place nursery, char *text)
{
    join(model->failures[nursery], model->failures_n[nursery], model->scenario->fail_when_cancelled,
         text);
}

/* One actor or nursery that has something to do now does it; false: there is none. */
static bool settle_one(struct model *model)
{
    enum actor host = host_of(model->scenario);

    if (!model->inner_closed && model->done[B2] && model->done[X2] && model->done[Y2]) {
        model->inner_closed = true;
        close_nursery(model, INNER, model->inner);
        return true;
    }
    for (enum actor who = B1; who < ACTORS; who++) {
        if (model->done[who] || (who == host && !model->inner_closed))
            continue;
        if (visible(model, place_of(who)) != NOWHERE) {
            model->done[who] = true;
            is_told(model, who);
            (model->scenario->fail_when_cancelled ? raises : ends)(model, who);
            return true;
        }
        if (model->scenario->slot[who] <= model->now) {
            acts(model, who);
            return true;
        }
    }
    return false;
}

static void predict(const struct scenario *scenario, struct result *result)
{
    struct model model = {.scenario = scenario, .result = result};
    bool outside;

    memset(result, 0, sizeof *result);
    for (model.now = 1; model.now <= ACTORS; model.now++)
        while (settle_one(&model))
            continue;
    close_nursery(&model, OUTER, result->error);
    outside = model.cancelled[AROUND] && !scenario->shield[OUTER];
    result->cancelled = outside && result->error[0] == '\0';
    result->tells = outside && result->error[0] != '\0';
    memcpy(result->called, model.cancelled, sizeof result->called);
}

/* The real thing */

struct run {
    const struct scenario *scenario;
    struct result *result;
    struct yoke_scope around;
    struct yoke_nursery outer, inner;
    int64_t start;
};

struct role {
    struct run *run;
    enum actor who;
};

static void describe_error(const struct yoke_error *error, bool sorted, char *text)
{
    char members[ACTORS][TEXT];
    size_t n = yoke_error_member_count(error);
    const struct yoke_error *context = yoke_error_context(error);

    for (size_t i = 0; i < n && i < ACTORS; i++)
        describe_error(yoke_error_member(error, i), sorted, members[i]);
    if (n > 0)
        join(members, n, sorted, text);
    else
        snprintf(text, TEXT, "%s", yoke_error_message(error));
    if (context != NULL && !yoke_error_is_cancelled(context)) {
        size_t used = strlen(text);

        text[used] = '<';
        describe_error(context, sorted, members[0]);
        snprintf(text + used, TEXT - used, "<%s", members[0]);
    }
}

static void note_told(struct run *run, enum actor who)
{
    const struct yoke_cause *cause = yoke_why();
    char what[TEXT];

    if (cause == NULL) {
        yk_check_failed(__FILE__, __LINE__, "%s is cancelled without a cause", names[who]);
        return;
    }
    if (yoke_error_is_cancelled(yoke_in_flight()))
        yk_check(yoke_error_cause(yoke_in_flight()) == cause);
    if (yoke_cause_error(cause) != NULL)
        describe_error(yoke_cause_error(cause), run->scenario->fail_when_cancelled, what);
    else
        snprintf(what, TEXT, "%s", yoke_cause_reason(cause));
    snprintf(run->result->told[who], TEXT, "%s, %s by %s: %.100s", yoke_cause_scope(cause)->name,
             yoke_cause_kind_name(yoke_cause_kind(cause)), yoke_cause_requester(cause)->task_name,
             what);
}

static struct yoke_scope *scope_at(struct run *run, enum place place)
{
    return place == AROUND  ? &run->around
           : place == OUTER ? yoke_nursery_scope(&run->outer)
                            : yoke_nursery_scope(&run->inner);
}

/* `rc` is what the actor has in flight from before. */
static int act(struct run *run, enum actor who, int rc)
{
    const struct scenario *scenario = run->scenario;
    struct yoke_scope *target = scope_at(run, target_of(scenario, who));
    int waited = yoke_sleep_until(run->start + YOKE_MS(scenario->slot[who]));

    if (waited < 0) {
        note_told(run, who);
        return scenario->fail_when_cancelled ? yoke_raise("test.Fail", EIO, "%s", names[who])
                                             : waited;
    }
    switch (scenario->action[who]) {
    case FAIL:
        return yoke_raise("test.Fail", EIO, "%s", names[who]);
    case CANCEL:
        if (scenario->by_deadline)
            yk_check_int(yoke_scope_set_deadline(target, yoke_now()), 0);
        else
            yoke_scope_cancel(target, names[who]);
        rc = yoke_checkpoint(); /* its code, and not that of an error in flight, is the result */
        if (rc < 0)
            note_told(run, who);
        return rc;
    default:
        return rc;
    }
}

static int open_inner_and_act(struct run *run, enum actor who);

static int play(void *arg)
{
    const struct role *role = arg;

    if (role->who == host_of(role->run->scenario))
        return open_inner_and_act(role->run, role->who);
    return act(role->run, role->who, 0);
}

static void spawn_role(struct yoke_nursery *nursery, struct role *role)
{
    yk_check_int(yoke_spawn_with(nursery, play, role,
                                 &(struct yoke_task_opts){.name = names[role->who]}),
                 0);
}

static int open_inner_and_act(struct run *run, enum actor who)
{
    struct yoke_nursery_opts opts = {.name = "inner", .shield = run->scenario->shield[INNER]};
    struct role x = {run, X2}, y = {run, Y2};

    yk_check_int(yoke_nursery_open(&run->inner, &opts), 0);
    spawn_role(&run->inner, &x);
    spawn_role(&run->inner, &y);
    return act(run, who, yoke_nursery_close(&run->inner, act(run, B2, 0)));
}

static bool tells_of(const struct yoke_error *error, const struct yoke_cause *cause)
{
    if (error == NULL)
        return false;
    if (yoke_error_is_cancelled(error))
        return yoke_id_equal(yoke_cause_id(yoke_error_cause(error)), yoke_cause_id(cause));
    for (size_t i = 0; i < yoke_error_suppressed_count(error); i++)
        if (tells_of(yoke_error_suppressed(error, i), cause))
            return true;
    for (size_t i = 0; i < yoke_error_member_count(error); i++)
        if (tells_of(yoke_error_member(error, i), cause))
            return true;
    return tells_of(yoke_error_context(error), cause);
}

static void perform(const struct scenario *scenario, struct result *result)
{
    struct run run = {.scenario = scenario, .result = result, .start = yoke_now()};
    struct yoke_nursery_opts opts = {.name = "outer", .shield = scenario->shield[OUTER]};
    struct role x = {&run, X1}, y = {&run, Y1}, body = {&run, B1};
    int rc;

    memset(result, 0, sizeof *result);
    yk_check_int(yoke_scope_open(&run.around, &(struct yoke_scope_opts){.name = "around"}), 0);
    yk_check_int(yoke_nursery_open(&run.outer, &opts), 0);
    spawn_role(&run.outer, &x);
    spawn_role(&run.outer, &y);
    rc = yoke_nursery_close(&run.outer, play(&body));
    result->cancelled = rc == YOKE_CANCELLED;
    yk_check(!result->cancelled || yoke_error_is_cancelled(yoke_in_flight()));
    if (yoke_scope_cause(&run.around) != NULL)
        result->tells = rc < 0 && rc != YOKE_CANCELLED &&
                        tells_of(yoke_in_flight(), yoke_scope_cause(&run.around));
    rc = yoke_scope_close(&run.around, rc);
    yk_check((rc < 0) == (yoke_in_flight() != NULL));
    yk_check_int(yoke_scope_cancelled_caught(&run.around), result->cancelled);
    if (yoke_in_flight() != NULL) {
        yk_check_int(rc, yoke_error_code(yoke_in_flight()));
        describe_error(yoke_in_flight(), scenario->fail_when_cancelled, result->error);
    }
    for (enum place place = AROUND; place < PLACES; place++)
        result->called[place] = yoke_scope_cancel_called(scope_at(&run, place));
    yoke_clear();
}

static void compare(const struct result *actual, const struct result *expected)
{
    yk_check_text(actual->error, expected->error);
    yk_check_int(actual->cancelled, expected->cancelled);
    yk_check_int(actual->tells, expected->tells);
    for (enum place place = AROUND; place < PLACES; place++)
        yk_check_int(actual->called[place], expected->called[place]);
    for (enum actor who = B1; who < ACTORS; who++)
        yk_check_text(actual->told[who], expected->told[who]);
}

static void explain(const struct scenario *scenario)
{
    static const char *const action_names[ACTIONS] = {"returns", "fails", "cancels"};

    fprintf(stderr,
            "scenario: inner nursery in %s; shields: outer %d, inner %d; cancelled is %s%s; "
            "a cancelled task %s\n",
            names[host_of(scenario)], scenario->shield[OUTER], scenario->shield[INNER],
            scenario->target == OWN_NURSERY ? "its nursery" : place_names[target_of(scenario, B1)],
            scenario->by_deadline ? " by deadline" : "",
            scenario->fail_when_cancelled ? "fails" : "forwards it");
    for (enum actor who = B1; who < ACTORS; who++)
        fprintf(stderr, "  %s at %u %s\n", names[who], scenario->slot[who],
                action_names[scenario->action[who]]);
}

static void draw_order(struct scenario *scenario, struct yk_random *random)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        unsigned j = (unsigned)(yk_random_next(random) % (i + 1));

        scenario->slot[i] = scenario->slot[j];
        scenario->slot[j] = i + 1;
    }
}

/* The combination of that number, of COMBINATIONS. */
enum { COMBINATIONS = 3 * 3 * 3 * 3 * 3 * 3 * 2 * 2 * 2 * 2 * 2 * TARGETS };

static void combine(unsigned number, struct scenario *scenario)
{
    for (enum actor who = B1; who < ACTORS; who++, number /= ACTIONS)
        scenario->action[who] = (enum action)(number % ACTIONS);
    scenario->target = (enum target)(number % TARGETS);
    number /= TARGETS;
    scenario->shield[AROUND] = false;
    scenario->shield[OUTER] = number & 1;
    scenario->shield[INNER] = number & 2;
    scenario->in_child = number & 4;
    scenario->fail_when_cancelled = number & 8;
    scenario->by_deadline = number & 16;
}

/* Each world does a part of the combinations; the default list of seeds does them all. */
static int play_all(void *arg)
{
    unsigned before = yk_checks_failed();
    struct yk_random random;

    (void)arg;
    yk_random_seed(&random, yk_sim_seed());
    for (unsigned i = yk_sim_seed() % YK_SIM_SEEDS; i < COMBINATIONS; i += YK_SIM_SEEDS) {
        struct scenario scenario;
        struct result actual, expected;

        combine(i, &scenario);
        draw_order(&scenario, &random);
        predict(&scenario, &expected);
        perform(&scenario, &actual);
        compare(&actual, &expected);
        if (yk_checks_failed() != before) {
            explain(&scenario);
            break;
        }
    }
    return 0;
}

static void every_combination_in_two_nurseries_gives_what_the_rules_say(void **state)
{
    (void)state;
    yk_sim_run_at(YOKE_HERE, play_all, "program", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_in_two_nurseries_gives_what_the_rules_say),
    };

    return cmocka_run_group_tests_name("nesting", tests, NULL, NULL);
}
