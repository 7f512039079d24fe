/* SPDX-License-Identifier: MIT */
/*
 * Masking, tried in every combination: a body inside a scope has nothing, an error or a Cancelled
 * in flight, and cleans up in two steps whose results it ignores at first. The cleanup is held or
 * not, in a scope of its own or not, with a shield or not, with a deadline or not; its steps block
 * in several ways, fail, fail in a child, or catch. The scope around is cancelled never, before,
 * after the error was raised, or while the cleanup blocks. The body gives the code of what it had
 * in flight, the cleanup's, or 0. What comes out is compared with a model that knows the rules of
 * the error in flight and of closing scopes, and nothing of tasks.
 *
 * Errors are compared as text: a letter, "[...]" for what is suppressed, "<" and the context. E is
 * the error of the body, 1 and 2 are those of the cleanup's steps, X is one made from a code; s
 * and c are Cancelleds of the scope around and of the cleanup's own.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/nursery.h>

enum flight { NOTHING, ERROR, CANCELLED, FLIGHTS };
enum when { NEVER, BEFORE, AFTER, DURING, WHENS };
enum own { NONE, OPEN, SHIELD, DEADLINE, SHIELD_AND_DEADLINE, OWNS };
enum step {
    CHECKPOINT,
    SLEEP,
    WAIT_FOR_CHILD,
    CANCEL_CHILD,
    START,
    RAISE,
    FAIL_IN_CHILD,
    CATCH,
    STEPS
};
enum given { ITS_OWN, THE_CLEANUPS, ZERO, GIVENS };
enum { TEXT = 64, OWN_MS = 3, AROUND_MS = 5, LONG_MS = 10 };

struct scenario {
    enum flight flight;
    enum when when;
    bool hold;
    enum own own;
    enum step steps[2];
    enum given given;
};

struct result {
    int rc;
    char error[TEXT];
    char caught[TEXT]; /* by the steps that catch */
    bool around_caught, own_caught;
};

static bool has_shield(const struct scenario *scenario)
{
    return scenario->own == SHIELD || scenario->own == SHIELD_AND_DEADLINE;
}

static bool has_deadline(const struct scenario *scenario)
{
    return scenario->own == DEADLINE || scenario->own == SHIELD_AND_DEADLINE;
}

/* The model */

struct fault { /* an error or, with a small letter, a Cancelled */
    char name;
    int code;
    struct fault *context;
    const struct fault *suppressed[8];
    size_t suppressed_n;
};

struct model {
    const struct scenario *scenario;
    struct result *result;
    struct fault faults[16];
    size_t faults_n;
    struct fault *flight;
    bool around_cancelled, own_cancelled, in_own;
    int now_ms;
};

static bool is_cancelled(const struct fault *fault)
{
    return fault != NULL && fault->code == YOKE_CANCELLED;
}

static struct fault *make(struct model *model, char name, int code)
{
    struct fault *fault = &model->faults[model->faults_n++];

    fault->name = name;
    fault->code = code;
    return fault;
}

/* The rules of the error in flight. What has a context keeps it, and the old one goes below it. */
static struct fault *over(struct fault *old, struct fault *fault)
{
    struct fault *innermost = fault;

    if (old == NULL)
        return fault;
    if (!is_cancelled(fault)) {
        while (innermost->context != NULL)
            innermost = innermost->context;
        innermost->context = old;
        return fault;
    }
    if (is_cancelled(old))
        return old;
    for (size_t i = 0; i < old->suppressed_n; i++)
        if (old->suppressed[i]->name == fault->name)
            return old; /* told once */
    if (!is_cancelled(old->context) || old->context->name != fault->name)
        old->suppressed[old->suppressed_n++] = fault;
    return old;
}

static int raises(struct model *model, char name, int code)
{
    model->flight = over(model->flight, make(model, name, code));
    return code;
}

/* The outermost cancelled scope that is visible: 's', 'c', or 0. */
static char visible(const struct model *model)
{
    if (model->around_cancelled && !(model->in_own && has_shield(model->scenario)))
        return 's';
    return model->in_own && model->own_cancelled ? 'c' : 0;
}

static void pass_time(struct model *model, int until_ms)
{
    model->now_ms = until_ms;
    if (model->scenario->when == DURING && until_ms >= AROUND_MS)
        model->around_cancelled = true;
    if (model->in_own && has_deadline(model->scenario) && until_ms >= OWN_MS)
        model->own_cancelled = true;
}

/* A call that blocks for that long. */
static int blocks(struct model *model, int ms)
{
    int end_ms = model->now_ms + ms;

    while (visible(model) == 0 && model->now_ms < end_ms)
        pass_time(model, model->now_ms + 1);
    return visible(model) == 0 || model->now_ms == end_ms
               ? 0
               : raises(model, visible(model), YOKE_CANCELLED);
}

static void describe(const struct fault *fault, char *text)
{
    char part[TEXT];
    size_t used = 0;

    text[0] = '\0';
    if (fault == NULL)
        return;
    text[used++] = fault->name == 'N' ? 'n' : fault->name;
    for (size_t i = 0; i < fault->suppressed_n; i++) {
        describe(fault->suppressed[i], part);
        used += (size_t)snprintf(text + used, TEXT - used, "[%s]", part);
    }
    text[used] = '\0';
    if (fault->context != NULL) {
        describe(fault->context, part);
        snprintf(text + used, TEXT - used, "<%s", part);
    }
}

/* Two nurseries are two scopes; printed, both are 'n'. */
static char nursery_name(char step)
{
    return step == '1' ? 'n' : 'N';
}

static int steps(struct model *model, enum step step, char name)
{
    switch (step) {
    case CHECKPOINT:
        return visible(model) == 0 ? 0 : raises(model, visible(model), YOKE_CANCELLED);
    case RAISE:
        return raises(model, name, -EIO);
    case FAIL_IN_CHILD:
        raises(model, name, -EIO);
        if (visible(model) != 0)
            raises(model, visible(model), YOKE_CANCELLED);
        return -EIO;
    case CANCEL_CHILD: /* the nursery absorbs its own Cancelled, and only that */
        if (visible(model) != 0)
            return raises(model, visible(model), YOKE_CANCELLED);
        raises(model, nursery_name(name), YOKE_CANCELLED);
        if (is_cancelled(model->flight) && model->flight->name == nursery_name(name))
            model->flight = NULL;
        return 0;
    case CATCH:
        describe(model->flight, model->result->caught);
        model->flight = NULL;
        return 0;
    default:
        if (visible(model) != 0)
            return raises(model, visible(model), YOKE_CANCELLED);
        return blocks(model, LONG_MS);
    }
}

/* Closes a scope: `older` was in flight when it was opened, `outside` is what is visible around. */
static int closes(struct model *model, const struct fault *older, int rc, bool cancelled,
                  char outside, bool *caught)
{
    struct fault *flight = model->flight;

    if (rc < 0 && flight == NULL) /* the scope that is being closed is still visible here */
        raises(model, rc == YOKE_CANCELLED ? (outside != 0 ? outside : 'c') : 'X', rc);
    if (flight != NULL && flight == older) {
        if (rc != YOKE_CANCELLED || !cancelled || outside != 0)
            return rc;
    } else if (model->flight == NULL) {
        return rc;
    } else if (!is_cancelled(model->flight)) {
        return model->flight->code;
    } else if (!cancelled || outside != 0) {
        if (outside != 0)
            model->flight->name = outside;
        return YOKE_CANCELLED;
    } else {
        model->flight = NULL;
    }
    *caught = true;
    return 0;
}

static int cleans_up(struct model *model)
{
    const struct scenario *scenario = model->scenario;
    struct fault *held = model->flight;
    const struct fault *older;
    int rc = 0;

    if (scenario->hold)
        model->flight = NULL;
    older = model->flight;
    model->in_own = scenario->own != NONE;
    for (int i = 0; i < 2; i++) {
        int step_rc = steps(model, scenario->steps[i], (char)('1' + i));

        if (rc == 0)
            rc = step_rc;
    }
    model->in_own = false;
    if (scenario->own != NONE)
        rc = closes(model, older, rc, model->own_cancelled,
                    !has_shield(scenario) && model->around_cancelled ? 's' : 0,
                    &model->result->own_caught);
    if (!scenario->hold)
        return rc;
    if (held != NULL && model->flight != NULL && !is_cancelled(held)) {
        held->suppressed[held->suppressed_n++] = model->flight;
        model->flight = held;
    } else if (held != NULL) {
        model->flight = model->flight == NULL ? held : over(held, model->flight);
    }
    return model->flight == NULL ? 0 : model->flight->code;
}

static int gives(enum given given, int own, int cleanups)
{
    return given == ITS_OWN ? own : given == THE_CLEANUPS ? cleanups : 0;
}

static void predict(const struct scenario *scenario, struct result *result)
{
    struct model model = {.scenario = scenario, .result = result};
    int own = 0, cleanups;

    memset(result, 0, sizeof *result);
    model.around_cancelled = scenario->when == BEFORE || scenario->when == AFTER;
    if (scenario->flight == ERROR)
        own = raises(&model, 'E', -EPIPE);
    else if (scenario->flight == CANCELLED)
        own = raises(&model, 's', YOKE_CANCELLED);
    cleanups = cleans_up(&model);
    result->rc = closes(&model, NULL, gives(scenario->given, own, cleanups), model.around_cancelled,
                        0, &result->around_caught);
    describe(model.flight, result->error);
}

/* The real thing */

struct run {
    const struct scenario *scenario;
    struct result *result;
    struct yoke_scope around, own;
    struct yoke_nursery target; /* for yoke_start; around all */
};

static int long_child(void *arg)
{
    int rc = yoke_sleep(YOKE_MS(LONG_MS));

    if (rc == 0 && arg != NULL)
        rc = yoke_started(NULL);
    return rc;
}

static int failing_child(void *arg)
{
    return yoke_raise("test.Fail", EIO, "%s", (const char *)arg);
}

static int in_nursery(yoke_task_fn fn, const char *name)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, fn, (void *)(uintptr_t)name);
    return yoke_nursery_close(&nursery, rc);
}

static int cancel_child(void)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "n"});

    if (rc == 0)
        rc = yoke_spawn(&nursery, long_child, NULL);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    return yoke_nursery_close(&nursery, rc == 0 ? yoke_checkpoint() : rc);
}

static void show(const struct yoke_error *error, char *text)
{
    char part[TEXT];
    size_t used;

    text[0] = '\0';
    if (error == NULL)
        return;
    if (yoke_error_is_cancelled(error))
        strcpy(text, yoke_cause_scope(yoke_error_cause(error))->name);
    else if (strcmp(yoke_error_type(error), "test.Fail") == 0)
        strcpy(text, yoke_error_message(error));
    else
        strcpy(text, "X");
    used = strlen(text);
    for (size_t i = 0; i < yoke_error_suppressed_count(error); i++) {
        show(yoke_error_suppressed(error, i), part);
        used += (size_t)snprintf(text + used, TEXT - used, "[%s]", part);
    }
    if (yoke_error_context(error) != NULL) {
        show(yoke_error_context(error), part);
        snprintf(text + used, TEXT - used, "<%s", part);
    }
}

static int take_step(struct run *run, enum step step, const char *name)
{
    struct yoke_error *error;

    switch (step) {
    case CHECKPOINT:
        return yoke_checkpoint();
    case SLEEP:
        return yoke_sleep(YOKE_MS(LONG_MS));
    case WAIT_FOR_CHILD:
        return in_nursery(long_child, NULL);
    case CANCEL_CHILD:
        return cancel_child();
    case START:
        return yoke_start(&run->target, long_child, run, NULL);
    case RAISE:
        return failing_child((void *)(uintptr_t)name);
    case FAIL_IN_CHILD:
        return in_nursery(failing_child, name);
    default:
        error = yoke_catch();
        show(error, run->result->caught);
        yoke_error_unref(error);
        return 0;
    }
}

static int clean_up(struct run *run)
{
    const struct scenario *scenario = run->scenario;
    struct yoke_scope_opts opts = {.name = "c", .shield = has_shield(scenario)};
    struct yoke_hold hold;
    int rc = 0;

    opts.timeout_ns = has_deadline(scenario) ? YOKE_MS(OWN_MS) : 0;
    if (scenario->hold)
        yoke_hold(&hold);
    if (scenario->own != NONE)
        yk_check_int(yoke_scope_open(&run->own, &opts), 0);
    for (int i = 0; i < 2; i++) {
        int step_rc = take_step(run, scenario->steps[i], i == 0 ? "1" : "2");

        if (rc == 0)
            rc = step_rc;
    }
    if (scenario->own != NONE) {
        rc = yoke_scope_close(&run->own, rc);
        run->result->own_caught = yoke_scope_cancelled_caught(&run->own);
    }
    return scenario->hold ? yoke_release(&hold) : rc;
}

static int body(struct run *run)
{
    const struct scenario *scenario = run->scenario;
    int own = 0;

    if (scenario->when == BEFORE)
        yoke_scope_cancel(&run->around, NULL);
    if (scenario->flight == ERROR)
        own = yoke_raise("test.Fail", EPIPE, "E");
    else if (scenario->flight == CANCELLED)
        own = yoke_checkpoint();
    if (scenario->when == AFTER)
        yoke_scope_cancel(&run->around, NULL);
    return gives(scenario->given, own, clean_up(run));
}

static void perform(const struct scenario *scenario, struct result *result)
{
    struct run run = {.scenario = scenario, .result = result};
    struct yoke_scope_opts opts = {.name = "s"};

    memset(result, 0, sizeof *result);
    opts.timeout_ns = scenario->when == DURING ? YOKE_MS(AROUND_MS) : 0;
    yk_check_int(yoke_nursery_open(&run.target, NULL), 0);
    yk_check_int(yoke_scope_open(&run.around, &opts), 0);
    result->rc = yoke_scope_close(&run.around, body(&run));
    result->around_caught = yoke_scope_cancelled_caught(&run.around);
    show(yoke_in_flight(), result->error);
    yk_check((result->rc < 0) == (yoke_in_flight() != NULL));
    yoke_clear();
    yk_check_int(yoke_nursery_close(&run.target, 0), 0);
}

static void compare(const struct result *actual, const struct result *expected)
{
    yk_check_int(actual->rc, expected->rc);
    yk_check_text(actual->error, expected->error);
    yk_check_text(actual->caught, expected->caught);
    yk_check_int(actual->around_caught, expected->around_caught);
    yk_check_int(actual->own_caught, expected->own_caught);
}

static void explain(const struct scenario *scenario)
{
    static const char *const flights[] = {"nothing", "an error", "a Cancelled"};
    static const char *const whens[] = {"never", "before", "after the raise", "during"};
    static const char *const owns[] = {"none", "open", "shield", "deadline", "shield and deadline"};
    static const char *const steps_taken[] = {"checkpoint",      "sleep", "wait for a child",
                                              "cancel a child",  "start", "raise",
                                              "fail in a child", "catch"};
    static const char *const givens[] = {"its own code", "the cleanup's code", "0"};

    fprintf(stderr,
            "scenario: %s in flight; cancelled %s; hold %d; scope of the cleanup: %s; "
            "steps: %s, %s; the body gives %s\n",
            flights[scenario->flight], whens[scenario->when], scenario->hold, owns[scenario->own],
            steps_taken[scenario->steps[0]], steps_taken[scenario->steps[1]],
            givens[scenario->given]);
}

enum { COMBINATIONS = FLIGHTS * WHENS * 2 * OWNS * STEPS * STEPS * GIVENS };

/* The combination of that number; false if there is no such case. */
static bool combine(unsigned number, struct scenario *scenario)
{
    scenario->flight = (enum flight)(number % FLIGHTS);
    number /= FLIGHTS;
    scenario->when = (enum when)(number % WHENS);
    number /= WHENS;
    scenario->hold = number % 2;
    number /= 2;
    scenario->own = (enum own)(number % OWNS);
    number /= OWNS;
    scenario->steps[0] = (enum step)(number % STEPS);
    number /= STEPS;
    scenario->steps[1] = (enum step)(number % STEPS);
    scenario->given = (enum given)(number / STEPS);
    return scenario->flight != CANCELLED || scenario->when == BEFORE;
}

static int clean_up_in_all_ways(void *arg)
{
    unsigned before = yk_checks_failed();

    (void)arg;
    for (unsigned i = yk_sim_seed() % YK_SIM_SEEDS; i < COMBINATIONS; i += YK_SIM_SEEDS) {
        struct scenario scenario;
        struct result actual, expected;

        if (!combine(i, &scenario))
            continue;
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

static void no_cleanup_masks_an_error_in_any_combination(void **state)
{
    (void)state;
    yk_sim_run(clean_up_in_all_ways, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_cleanup_masks_an_error_in_any_combination),
    };

    return cmocka_run_group_tests_name("cleanup", tests, NULL, NULL);
}
