/* SPDX-License-Identifier: MIT */
/*
 * Programs drawn from a seed, followed step by step by a model of who must see what: trees of
 * scopes, shields, deadlines and nurseries, whose tasks sleep, pass checkpoints, fail, clean up,
 * swallow cancellations, and cancel, shield and time each other's scopes. Each call that can be
 * cancelled is predicted: whether it is, by which scope, of what kind, for what reason or because
 * of which error; and each close: what it gives, what is in flight then, who absorbed.
 *
 * Each time at which something happens is used once, so that the order
 * of events is fixed but for the order of ready tasks, which changes with the seed.
 */
#include "../tests/support/simrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <yoke/nursery.h>

#include "base/random.h"
#include "base/text.h"
#include "task/model_test.h"

enum { TASKS_MAX = 150, DEPTH = 5 };

struct ward { /* a nursery; the one in which yoke_start keeps its child has no `nursery` */
    struct place *place;
    struct yoke_nursery nursery;
    unsigned children; /* and starts into it */
    unsigned errors_n;
    char error[TEXT]; /* the first one */
    bool cancelled_seen;
    struct sleeper *closer;
};

struct player { /* a task, and what it must have in flight */
    struct place *place;
    struct ward *ward;     /* the nursery whose body or child it is in; NULL: that of a start */
    struct child *started; /* is to report, and hasn't yet */
    bool cancelled;
    char flight[TEXT];
};

struct child {
    struct ward *ward;
    struct ward *target; /* where it goes when it reports */
    bool reported;
    int depth;
};

static struct {
    struct yk_random random;
    unsigned tasks_n, requests_n, errors_n;
    int64_t times_n;
    struct child children[TASKS_MAX];
} world;

static unsigned draw(unsigned n)
{
    return (unsigned)(yk_random_next(&world.random) >> 33) % n;
}

/* A time to come that is used by nobody else: what it has beyond whole milliseconds is its own. */
static int64_t draw_time(unsigned within_ms)
{
    return yoke_now() / YOKE_MS(1) * YOKE_MS(1) + YOKE_MS(draw(within_ms)) + ++world.times_n;
}

/* What is really there */

static void describe_cause(const struct yoke_cause *cause, char *text)
{
    const struct yoke_error *error = yoke_cause_error(cause);

    snprintf(text, TEXT, "%.15s, %s: %.40s", yoke_cause_scope(cause)->name,
             yoke_cause_kind_name(yoke_cause_kind(cause)),
             error == NULL                        ? yoke_cause_reason(cause)
             : yoke_error_member_count(error) > 0 ? "group"
                                                  : yoke_error_message(error));
}

static void check_flight(const struct player *player)
{
    const struct yoke_error *error = yoke_in_flight();
    char text[TEXT] = "";

    if (error != NULL && yoke_error_is_cancelled(error))
        describe_cause(yoke_error_cause(error), text);
    else if (error != NULL)
        YK_TEXT_COPY(text,
                     yoke_error_member_count(error) > 0 ? "group" : yoke_error_message(error));
    yk_check_text(text, player->flight);
    yk_check_int(error != NULL && yoke_error_is_cancelled(error), player->cancelled);
}

static void check_why(const struct player *player)
{
    const struct place *by = visible(player->place);
    char text[TEXT] = "";

    if (yoke_why() != NULL)
        describe_cause(yoke_why(), text);
    yk_check_text(text, by == NULL ? "" : by->cause);
    yk_check_int(yoke_effective_deadline(), model_deadline(player->place));
}

/* A call gave `rc`, and must have been cancelled by `told` ("": not). */
static void check_call(struct player *player, int rc, const char *told)
{
    yk_check_int(rc, told[0] != '\0' ? YOKE_CANCELLED : 0);
    if (told[0] != '\0' && player->flight[0] == '\0') {
        player->cancelled = true;
        YK_TEXT_COPY(player->flight, told);
    }
    check_flight(player);
}

static const char *cause_now(const struct player *player)
{
    catch_up();
    return visible(player->place) == NULL ? "" : visible(player->place)->cause;
}

/* What tasks do */

static int pass_checkpoint(struct player *player)
{
    int rc;

    catch_up();
    rc = yoke_checkpoint();
    check_call(player, rc, cause_now(player));
    return rc;
}

static int sleep_a_while(struct player *player)
{
    int64_t until_ns = draw_time(12);
    struct sleeper sleeper;
    int rc;

    if (cause_now(player)[0] != '\0') {
        rc = yoke_sleep_until(until_ns);
        check_call(player, rc, cause_now(player));
        return rc;
    }
    begin_sleep(&sleeper, player->place);
    rc = yoke_sleep_until(until_ns);
    catch_up();
    end_sleep(&sleeper);
    check_call(player, rc, sleeper.told);
    if (!sleeper.doomed)
        yk_check_int(yoke_now(), until_ns);
    return rc;
}

static int block_somehow(struct player *player)
{
    return draw(3) == 0 ? pass_checkpoint(player) : sleep_a_while(player);
}

static void disturb(void)
{
    struct place *place = &model.places[draw(model.places_n)];
    char reason[16];

    catch_up();
    if (!place->open)
        return; /* nor has the scope of a start, which nobody can get at */
    switch (draw(6)) {
    case 0:
    case 1:
        place->shield = !place->shield;
        yoke_scope_set_shield(place->scope, place->shield);
        doom_sleepers();
        break;
    case 2:
    case 3:
        place->deadline_ns = draw(8) == 0   ? YOKE_NEVER
                             : draw(8) == 0 ? yoke_now() - YOKE_MS(1)
                                            : draw_time(20);
        yk_check_int(yoke_scope_set_deadline(place->scope, place->deadline_ns), 0);
        catch_up();
        break;
    default:
        snprintf(reason, sizeof reason, "request %u", ++world.requests_n);
        yoke_scope_cancel(place->scope, reason);
        model_cancel(place, "scope cancel", reason);
    }
}

static int raise_numbered(struct player *player)
{
    player->cancelled = false;
    snprintf(player->flight, TEXT, "error %u", ++world.errors_n);
    return yoke_raise("test.Model", EIO, "%s", player->flight);
}

/* A new place inside that of the player; NULL: there are enough. */
static struct place *new_place(const struct player *player, struct yoke_scope *scope)
{
    struct place *place;

    if (model.places_n == PLACES_MAX)
        return NULL;
    place = &model.places[model.places_n];
    *place = (struct place){.parent = player->place, .scope = scope, .shield = draw(4) == 0};
    snprintf(place->name, sizeof place->name, "p%u", model.places_n++);
    place->deadline_ns = draw(3) == 0 ? draw_time(25) : YOKE_NEVER;
    return place;
}

/* 0 is no deadline in the options. */
static int64_t deadline_option(const struct place *place)
{
    return place->deadline_ns == YOKE_NEVER ? 0 : place->deadline_ns;
}

static void forget_flight(struct player *player)
{
    player->cancelled = false;
    player->flight[0] = '\0';
}

static void check_close(struct player *player, int rc)
{
    yk_check((rc < 0) == (player->flight[0] != '\0'));
    yk_check_int(rc == YOKE_CANCELLED, player->cancelled);
    check_flight(player);
}

static int block(struct player *player, int depth);

static int in_scope(struct player *player, int depth)
{
    struct yoke_scope scope;
    struct place *place = new_place(player, &scope);
    const struct place *outside;
    bool caught;
    int rc;

    if (place == NULL)
        return 0;
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = place->name,
                                                           .shield = place->shield,
                                                           .deadline_ns = deadline_option(place)});
    yk_check_int(rc, 0);
    place->open = true;
    player->place = place;
    rc = yoke_scope_close(&scope, block(player, depth));
    catch_up();
    place->open = false;
    player->place = place->parent;
    outside = visible_outside(place);
    caught = player->cancelled && place->cancelled && outside == NULL;
    if (caught)
        forget_flight(player);
    else if (player->cancelled && outside != NULL)
        YK_TEXT_COPY(player->flight, outside->cause);
    yk_check_int(yoke_scope_cancelled_caught(&scope), caught);
    yk_check_int(yoke_scope_cancel_called(&scope), place->cancelled);
    check_close(player, rc);
    return rc;
}

/* The body or a child of a nursery ends with what it has in flight. */
static void ends(struct ward *ward, const struct player *player, const char *kind, bool body)
{
    if (player->flight[0] == '\0')
        return;
    if (player->cancelled) {
        ward->cancelled_seen = true;
        if (visible(ward->place) == NULL)
            model_cancel(ward->place, kind, "");
        return;
    }
    model_cancel(ward->place, kind, player->flight);
    if (ward->errors_n++ == 0 || body)
        YK_TEXT_COPY(ward->error, player->flight);
}

/* A child or a start is done with the nursery. */
static void leave(struct ward *ward)
{
    if (--ward->children > 0 || ward->closer == NULL)
        return;
    ward->cancelled_seen |= ward->closer->doomed;
    end_sleep(ward->closer);
    ward->closer = NULL;
}

static int play_child(void *arg)
{
    struct child *child = arg;
    struct player player = {.place = child->ward->place};
    int rc;

    player.ward = child->target == NULL ? child->ward : NULL;
    player.started = child->target == NULL ? NULL : child;
    rc = block(&player, child->depth);
    catch_up();
    ends(child->ward, &player, "child failed", false);
    leave(child->ward);
    return rc;
}

/* Reports; unless its start is being cancelled, the child moves with all it has open. */
static void report(struct player *player)
{
    struct child *child = player->started;
    struct ward *start = child->ward;

    catch_up();
    yk_check_int(yoke_started(child), 0);
    player->started = NULL;
    child->reported = true;
    if (visible(start->place) != NULL)
        return;
    for (unsigned i = 0; i < model.places_n; i++)
        if (model.places[i].parent == start->place)
            model.places[i].parent = child->target->place;
    if (player->place == start->place) {
        player->place = child->target->place;
        player->ward = child->target;
    }
    child->ward = child->target;
    child->target->children++;
    leave(start);
    doom_sleepers();
}

static void spawn_children(struct ward *ward, int depth)
{
    for (unsigned i = draw(4); i > 0 && world.tasks_n < TASKS_MAX; i--) {
        struct child *child = &world.children[world.tasks_n++];

        *child = (struct child){.ward = ward, .depth = depth};
        ward->children++;
        yk_check_int(yoke_spawn(&ward->nursery, play_child, child), 0);
    }
}

/* What cancels a place, or the first one around it that is being cancelled, shields or not. */
static const struct place *visible_beyond(const struct place *place)
{
    while (place != NULL && visible(place) == NULL)
        place = place->parent;
    return place != NULL ? visible(place) : NULL;
}

/* What the close of the nursery leaves in flight. */
static void expect_result(const struct ward *ward, struct player *player)
{
    const struct place *outside = visible_outside(ward->place);

    if (outside == NULL && !ward->place->cancelled)
        outside = visible_beyond(ward->place->parent);
    player->place = ward->place->parent;
    forget_flight(player);
    if (ward->errors_n > 0) {
        YK_TEXT_COPY(player->flight, ward->errors_n > 1 ? "group" : ward->error);
    } else if (ward->cancelled_seen && outside != NULL) {
        player->cancelled = true;
        YK_TEXT_COPY(player->flight, outside->cause);
    }
}

static int close_ward(struct ward *ward, struct player *player, int rc)
{
    struct sleeper closer;

    catch_up();
    ends(ward, player, "body failed", true);
    if (ward->children > 0) {
        ward->closer = &closer;
        begin_sleep(&closer, ward->place);
        doom_sleepers();
    }
    rc = yoke_nursery_close(&ward->nursery, rc);
    catch_up();
    yk_check(ward->closer == NULL);
    ward->place->open = false;
    expect_result(ward, player);
    yk_check_int(yoke_scope_cancel_called(ward->place->scope), ward->place->cancelled);
    yk_check_int(yoke_scope_cancelled_caught(ward->place->scope),
                 ward->cancelled_seen && ward->place->cancelled &&
                     visible_outside(ward->place) == NULL);
    check_close(player, rc);
    return rc;
}

static int in_nursery(struct player *player, int depth)
{
    struct ward ward = {.children = 0};
    struct ward *outer = player->ward;
    struct yoke_nursery_opts opts = {.name = NULL};
    int rc;

    ward.place = new_place(player, yoke_nursery_scope(&ward.nursery));
    if (ward.place == NULL)
        return 0;
    opts.name = ward.place->name;
    opts.shield = ward.place->shield;
    opts.deadline_ns = deadline_option(ward.place);
    yk_check_int(yoke_nursery_open(&ward.nursery, &opts), 0);
    ward.place->open = true;
    player->place = ward.place;
    player->ward = &ward;
    spawn_children(&ward, depth);
    rc = block(player, depth);
    player->ward = outer;
    return close_ward(&ward, player, rc);
}

/* What a start gives that ran its child. */
static void expect_start(const struct ward *start, const struct child *child, struct player *player)
{
    const char *cause = cause_now(player);
    const struct place *beyond;

    expect_result(start, player);
    if (player->flight[0] != '\0' || child->reported)
        return;
    beyond = start->cancelled_seen ? visible_beyond(player->place) : NULL;
    if (beyond != NULL) /* the start was cancelled from outside, and is shielded by now */
        cause = beyond->cause;
    player->cancelled = cause[0] != '\0';
    if (player->cancelled)
        YK_TEXT_COPY(player->flight, cause);
    else
        snprintf(player->flight, TEXT, "task %s ended before it reported yoke_started",
                 start->place->name);
}

static int in_start(struct player *player, int depth)
{
    struct ward *target = player->ward;
    struct ward start = {.children = 1};
    struct sleeper closer;
    struct child *child;
    void *value = NULL;
    int rc;

    start.place = target == NULL || world.tasks_n == TASKS_MAX ? NULL : new_place(player, NULL);
    if (start.place == NULL)
        return 0;
    child = &world.children[world.tasks_n++];
    *child = (struct child){.ward = &start, .target = target, .depth = depth};
    start.place->shield = false;
    start.place->deadline_ns = YOKE_NEVER;
    if (cause_now(player)[0] == '\0') {
        target->children++;
        start.closer = &closer;
        begin_sleep(&closer, start.place);
    }
    rc = yoke_start_with(&target->nursery, play_child, child,
                         &(struct yoke_task_opts){.name = start.place->name}, &value);
    if (start.closer != NULL || start.children > 0) {
        yk_check(start.children == 1 && start.closer == NULL); /* it never ran */
        check_call(player, rc, cause_now(player));
        return rc;
    }
    expect_start(&start, child, player);
    leave(target);
    check_close(player, rc);
    yk_check((value == child) == (rc == 0));
    return rc;
}

/* Something is in flight: cleans up with calls that may be cancelled, or swallows a Cancelled. */
static int unwind(struct player *player, int rc)
{
    for (unsigned i = draw(3); i > 0; i--) {
        int cleanup_rc = block_somehow(player);

        if (draw(3) == 0)
            rc = cleanup_rc; /* the wrong code; what is in flight counts */
    }
    if (!player->cancelled || draw(4) != 0)
        return rc;
    yoke_clear();
    forget_flight(player);
    return 0;
}

static int block(struct player *player, int depth)
{
    int rc = 0;

    for (unsigned i = 1 + draw(5); i > 0 && player->flight[0] == '\0'; i--) {
        catch_up();
        check_why(player);
        if (player->started != NULL && draw(3) == 0)
            report(player);
        switch (draw(11)) {
        case 0:
        case 1:
            disturb();
            break;
        case 2:
            rc = draw(4) == 0 ? raise_numbered(player) : 0;
            break;
        case 3:
        case 4:
            rc = depth > 0 ? in_scope(player, depth - 1) : 0;
            break;
        case 5:
        case 6:
            rc = depth > 0 ? in_nursery(player, depth - 1) : 0;
            break;
        case 7:
            rc = depth > 0 ? in_start(player, depth - 1) : 0;
            break;
        default:
            rc = block_somehow(player);
        }
        if (player->flight[0] != '\0')
            rc = unwind(player, rc);
    }
    return rc;
}

static int play_world(void *arg)
{
    struct player player = {.place = NULL};

    (void)arg;
    memset(&world, 0, sizeof world);
    memset(&model, 0, sizeof model);
    yk_random_seed(&world.random, yk_sim_seed() * 7919);
    for (int i = 0; i < 3; i++) {
        (void)in_nursery(&player, DEPTH);
        yk_check(!player.cancelled); /* nobody cancels the program */
        yoke_clear();
        player = (struct player){.place = NULL};
    }
    yk_check(model.sleepers == NULL);
    return 0;
}

static void drawn_programs_do_what_the_model_says(void **state)
{
    (void)state;
    yk_sim_run(play_world, NULL, &(struct yk_sim){.seeds = 400});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawn_programs_do_what_the_model_says),
    };

    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
