/* SPDX-License-Identifier: MIT */
/* Resources shared by the tasks of an actor: opened once, closed with the last user. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <yoke/event.h>
#include <yoke/nursery.h>
#include <yoke/resource.h>
#include <yoke/testing.h>

#include "../tests/support/actors.h"

/* What its function does, and what was done to it. */
struct thing {
    struct yoke_event may_open, may_close;
    int opened, closed, cancelled;
    bool fail_to_open, fail_to_close, never_lend;
};

static int serve_thing(void *arg)
{
    struct thing *thing = arg;
    int rc = yoke_event_wait(&thing->may_open);

    thing->cancelled += rc == YOKE_CANCELLED;
    if (rc < 0)
        return rc;
    if (thing->fail_to_open)
        return yoke_raise("app.NoThing", ENOENT, "there is none");
    if (thing->never_lend)
        return 0;
    thing->opened++;
    rc = yoke_resource_lend(thing);
    if (rc == 0)
        rc = yoke_event_wait(&thing->may_close);
    thing->closed++;
    return rc == 0 && thing->fail_to_close ? yoke_raise("app.Stuck", EIO, "it does not close") : rc;
}

static void make(struct thing *thing, bool may_open, bool may_close)
{
    memset(thing, 0, sizeof *thing);
    yoke_event_init(&thing->may_open);
    yoke_event_init(&thing->may_close);
    if (may_open)
        yoke_event_set(&thing->may_open);
    if (may_close)
        yoke_event_set(&thing->may_close);
}

struct user {
    struct thing *thing;
    struct yoke_event done; /* with it */
    struct yoke_scope scope;
    int acquired, released; /* what these gave; 1: not yet */
};

static int use(void *arg)
{
    struct user *user = arg;
    struct yoke_resource resource;
    void *object;
    int rc = yoke_scope_open(&user->scope, NULL);

    user->acquired = user->released = 1;
    if (rc == 0)
        user->acquired = rc =
            yoke_resource_acquire(&resource, serve_thing, "one", user->thing, &object);
    if (rc == 0) {
        yk_check(object == user->thing);
        rc = yoke_event_wait(&user->done);
        user->released = rc = yoke_resource_release(&resource, rc);
    }
    if (rc < 0 && rc != YOKE_CANCELLED)
        yoke_clear();
    return yoke_scope_close(&user->scope, rc == YOKE_CANCELLED ? rc : 0);
}

static void spawn_user(struct yoke_nursery *nursery, struct user *user, struct thing *thing)
{
    user->thing = thing;
    yoke_event_init(&user->done);
    yk_check_int(yoke_spawn(nursery, use, user), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
}

YK_ACTORS_TEST(it_is_opened_once_and_closed_with_the_last_user)
{
    struct yoke_nursery nursery;
    struct thing thing;
    struct user users[3];

    make(&thing, false, true);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 3; i++)
        spawn_user(&nursery, &users[i], &thing);
    yk_check_int(thing.opened, 0);
    yoke_event_set(&thing.may_open);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    for (int i = 0; i < 3; i++) {
        yk_check_int(thing.opened, 1);
        yk_check_int(thing.closed, 0);
        yk_check_int(users[i].acquired, 0);
        yoke_event_set(&users[i].done);
        yk_check_int(yoke_wait_all_tasks_blocked(), 0);
        yk_check_int(users[i].released, 0);
    }
    yk_check_int(thing.closed, 1);
    return yoke_nursery_close(&nursery, 0);
}

YK_ACTORS_TEST(who_asks_while_it_closes_gets_a_new_one)
{
    struct yoke_nursery nursery;
    struct thing thing;
    struct user first, second;

    make(&thing, true, false);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_user(&nursery, &first, &thing);
    yoke_event_set(&first.done);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(first.released, 1); /* the last user waits for the close */
    spawn_user(&nursery, &second, &thing);
    yk_check_int(second.acquired, 1);
    yk_check_int(thing.opened, 1);
    yoke_event_set(&thing.may_close);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(first.released, 0);
    yk_check_int(second.acquired, 0);
    yk_check_int(thing.opened, 2);
    yoke_event_set(&second.done);
    return yoke_nursery_close(&nursery, 0);
}

YK_ACTORS_TEST(an_opening_that_fails_reaches_all_who_wait)
{
    struct yoke_nursery nursery;
    struct thing thing;
    struct user users[3];

    for (int never_lend = 0; never_lend < 2; never_lend++) {
        make(&thing, false, true);
        thing.fail_to_open = !never_lend;
        thing.never_lend = never_lend;
        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        for (int i = 0; i < 3; i++)
            spawn_user(&nursery, &users[i], &thing);
        yoke_event_set(&thing.may_open);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
        for (int i = 0; i < 3; i++)
            yk_check_int(users[i].acquired, never_lend ? -ECHILD : -ENOENT);
    }
    thing.never_lend = false;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_user(&nursery, &users[0], &thing);
    yk_check_int(users[0].acquired, 0); /* it is tried anew */
    yoke_event_set(&users[0].done);
    return yoke_nursery_close(&nursery, 0);
}

YK_ACTORS_TEST(whoever_asked_first_and_is_cancelled_leaves_the_opening_to_the_others)
{
    struct yoke_nursery nursery;
    struct thing thing;
    struct user first, second;

    make(&thing, false, true);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_user(&nursery, &first, &thing);
    spawn_user(&nursery, &second, &thing);
    yoke_scope_cancel(&first.scope, NULL);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(first.acquired, YOKE_CANCELLED);
    yk_check_int(thing.cancelled, 0);
    yoke_event_set(&thing.may_open);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(second.acquired, 0);
    yoke_event_set(&second.done);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(thing.closed, 1);
    return 0;
}

YK_ACTORS_TEST(an_opening_that_nobody_waits_for_is_cancelled)
{
    struct yoke_nursery nursery;
    struct thing thing;
    struct user first, second;

    make(&thing, false, true);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    spawn_user(&nursery, &first, &thing);
    yoke_scope_cancel(&first.scope, NULL);
    spawn_user(&nursery, &second, &thing); /* asks while it is being cancelled */
    yk_check_int(thing.cancelled, 1);
    yoke_event_set(&thing.may_open);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yk_check_int(second.acquired, 0);
    yoke_event_set(&second.done);
    return yoke_nursery_close(&nursery, 0);
}

YK_ACTORS_TEST(the_last_user_gets_what_closing_failed_with)
{
    struct yoke_resource resource;
    struct yoke_error *error;
    struct thing thing;
    void *object;

    make(&thing, true, true);
    thing.fail_to_close = true;
    yk_check_int(yoke_resource_acquire(&resource, serve_thing, "one", &thing, &object), 0);
    yk_check_int(yoke_resource_release(&resource, 0), -EIO);
    error = yk_caught();
    yk_check_error(error, "app.Stuck", -EIO, "it does not close");
    yoke_error_unref(error);

    yk_check_int(yoke_resource_acquire(&resource, serve_thing, "one", &thing, &object), 0);
    yk_check_int(yoke_resource_release(&resource, yoke_raise("app.Mine", EBADF, "mine")), -EBADF);
    error = yk_caught();
    yk_check_error(error, "app.Mine", -EBADF, NULL);
    yk_check(yk_find_error(error, "app.Stuck") != NULL);
    yoke_error_unref(error);
    yk_check_int(yoke_resource_lend(&thing), -EINVAL);
    yoke_clear();
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_opened_once_and_closed_with_the_last_user),
        cmocka_unit_test(who_asks_while_it_closes_gets_a_new_one),
        cmocka_unit_test(an_opening_that_fails_reaches_all_who_wait),
        cmocka_unit_test(whoever_asked_first_and_is_cancelled_leaves_the_opening_to_the_others),
        cmocka_unit_test(an_opening_that_nobody_waits_for_is_cancelled),
        cmocka_unit_test(the_last_user_gets_what_closing_failed_with),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor resource", tests, NULL, NULL);
}
