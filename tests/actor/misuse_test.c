/* SPDX-License-Identifier: MIT */
/* What actors answer to who asks for what is not there, or in the wrong way: an error that says so.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../tests/support/actors.h"

static int greet(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_str("hello"));
}
YOKE_ENDPOINT("misuse:greet", greet);

static int secret(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_str("never told"));
}
YOKE_ENDPOINT("misuse:secret", secret);

/* Reports twice that it has started; gives back what the second one said. */
static int start_twice(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_context_started(ctx, yoke_nil());
}
YOKE_ENDPOINT("misuse:start_twice", start_twice);

/* Needs an integer under "n". */
static int need_number(struct yoke_context *ctx, struct yoke_value args)
{
    int64_t n;
    int rc = yoke_value_int(yoke_value_get(args, "n"), "n", &n);

    return rc < 0 ? rc : yoke_context_return(ctx, yoke_int(n + 1));
}
YOKE_ENDPOINT("misuse:need_number", need_number);

/* Waits for the end of its parent, which is none of its children. */
static int wait_for_parent(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    (void)args;
    return yoke_portal_wait(yoke_parent(), NULL, NULL);
}
YOKE_ENDPOINT("misuse:wait_for_parent", wait_for_parent);

static void fails(struct yoke_portal *peer, const char *endpoint, struct yoke_value args,
                  const char *type, int code, const char *message)
{
    struct yoke_error *error;

    yk_check_int(yoke_call(peer, endpoint, args, NULL), code);
    error = yk_caught();
    yk_check_error(error, type, code, message);
    yoke_error_unref(error);
}

static void ask_for_secrets(struct yoke_portal *peer)
{
    struct yoke_value *result = NULL;

    fails(peer, "misuse:secret", yoke_nil(), "yoke.NotExposed", YOKE_ENOTEXPOSED,
          "actor peer does not expose misuse:secret (it exposes: misuse:greet)");
    yk_check_int(yoke_call(peer, "misuse:greet", yoke_nil(), &result), 0); /* it goes on serving */
    yk_check_text(yk_text_of(*result), "hello");
    yoke_value_free(result);
}

YK_ACTORS_TEST(an_endpoint_that_is_not_exposed_is_refused_by_name)
{
    return yk_with_peer(&(struct yoke_actor_opts){.expose = "misuse:greet"}, ask_for_secrets);
}

YK_PEER_TEST(an_endpoint_that_is_not_there_is_refused_by_name)
{
    fails(peer, "misuse:nothing", yoke_nil(), "yoke.NotExposed", YOKE_ENOTEXPOSED,
          "actor peer has no endpoint misuse:nothing");
}

YK_PEER_TEST(bad_arguments_are_errors_before_anything_is_sent)
{
    static const char *const names[] = {"misuse", ":greet", "misuse:"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        yk_check_int(yoke_call(peer, names[i], yoke_nil(), NULL), -EINVAL);
        yk_check_caught("yoke.Misuse", NULL);
    }
    yk_check_int(yoke_call(NULL, "misuse:greet", yoke_nil(), NULL), -EINVAL);
    yk_check_caught("yoke.Misuse", "the portal is NULL");
    yk_check_int(yoke_call(peer, "misuse:greet", yoke_int(1), NULL), -EINVAL);
    yk_check_caught("yoke.Misuse", "arguments of misuse:greet: a map or nil is needed");
}

YK_PEER_TEST(an_argument_of_the_wrong_type_is_the_endpoints_error)
{
    fails(peer, "misuse:need_number", YOKE_MAP({"n", yoke_str("four")}), "yoke.BadValue",
          YOKE_EREMOTE, NULL);
}

YK_PEER_TEST(starting_twice_is_the_endpoints_error)
{
    fails(peer, "misuse:start_twice", yoke_nil(), "yoke.Misuse", YOKE_EREMOTE,
          "yoke_context_started called twice by misuse:start_twice");
}

YK_PEER_TEST(only_an_endpoint_reports_that_it_has_started_or_what_it_returns)
{
    struct yoke_context ctx;

    yk_check_int(yoke_context_open(&ctx, peer, "misuse:greet", yoke_nil(), NULL), 0);
    yk_check_int(yoke_context_started(&ctx, yoke_nil()), -EINVAL);
    yk_check_caught("yoke.Misuse", "yoke_context_started by the opener of misuse:greet");
    yk_check_int(yoke_context_return(&ctx, yoke_nil()), -EINVAL);
    yk_check_caught("yoke.Misuse", "yoke_context_return by the opener of misuse:greet");
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(only_a_child_can_be_waited_for)
{
    fails(peer, "misuse:wait_for_parent", yoke_nil(), "yoke.Misuse", YOKE_EREMOTE,
          "actor root is not a child of this one");
}

YK_ACTORS_TEST(an_actor_needs_a_name_that_can_be_told)
{
    static const char *const names[] = {"", "it's", "a\"b", "back\\slash", NULL};
    struct yoke_actor_nursery nursery;

    yk_check_int(yoke_actor_nursery_open(&nursery, NULL), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        yk_check_int(yoke_actor_start(&nursery, names[i], NULL, NULL), -EINVAL);
        yk_check_caught("yoke.Misuse", NULL);
    }
    return yoke_actor_nursery_close(&nursery, 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_that_is_not_exposed_is_refused_by_name),
        cmocka_unit_test(an_endpoint_that_is_not_there_is_refused_by_name),
        cmocka_unit_test(bad_arguments_are_errors_before_anything_is_sent),
        cmocka_unit_test(an_argument_of_the_wrong_type_is_the_endpoints_error),
        cmocka_unit_test(starting_twice_is_the_endpoints_error),
        cmocka_unit_test(only_an_endpoint_reports_that_it_has_started_or_what_it_returns),
        cmocka_unit_test(only_a_child_can_be_waited_for),
        cmocka_unit_test(an_actor_needs_a_name_that_can_be_told),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("misuse of actors", tests, NULL, NULL);
}
