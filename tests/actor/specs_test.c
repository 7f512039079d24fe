/* SPDX-License-Identifier: MIT */
/*
 * Payload specs between processes: who sends a bad payload is told at its call, and who receives
 * one refuses it. Since all actors here are one program, a peer of another version is one that
 * forgets what its endpoint is, or believes it to be another.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"
#include "actor/actor.h"

/* In the process that calls: from now on nothing is known of what "specs:shop" takes and gives. */
static struct yk_specs *believe(struct yk_specs *specs)
{
    struct yoke_endpoint *endpoint =
        (struct yoke_endpoint *)(uintptr_t)yk_endpoint_find("specs", "shop");
    struct yk_specs *before = endpoint->parsed;

    endpoint->parsed = specs;
    return before;
}

/*
 * args.do: what it does badly, if anything; args.forget: it does not know better. Otherwise it
 * starts with a number, answers each text with its length, and returns how many there were.
 */
static int shop(struct yoke_context *ctx, struct yoke_value args)
{
    const char *what = yk_text_of(yoke_value_get(args, "do"));
    struct yoke_value value;
    int64_t n = 0;
    int rc;

    if (yoke_value_get(args, "forget").type != YOKE_NIL)
        ((struct yk_dialog *)ctx->dialog)->specs = NULL;
    rc = yoke_context_started(ctx, strcmp(what, "start") == 0 ? yoke_str("x") : yoke_int(7));
    while (rc >= 0 && (rc = yoke_stream_receive(ctx, &value)) > 0) {
        rc =
            yoke_stream_send(ctx, strcmp(what, "send") == 0 ? yoke_nil()
                                                            : yoke_int((int64_t)value.as.str.size));
        n++;
    }
    if (rc == 0 && strcmp(what, "return nothing") != 0)
        rc = yoke_context_return(ctx, strcmp(what, "return") == 0 ? yoke_float(0.5) : yoke_int(n));
    yk_report_cancelled(args);
    return rc;
}
YOKE_ENDPOINT("specs:shop", shop, .args = "{do?: str, forget?: bool, report?: str}",
              .started = "int", .stream_in = "str", .stream_out = "int", .result = "int");

#define SHOP(peer_does, ...) YOKE_MAP({"do", yoke_str(peer_does)}, __VA_ARGS__)

/* Opens it, sends one text, receives the answer, closes; what the last of it gave. */
static int deal(struct yoke_portal *peer, struct yoke_value args, struct yoke_value text)
{
    struct yoke_context ctx;
    struct yoke_value value;
    int64_t length;
    int rc = yoke_context_open(&ctx, peer, "specs:shop", args, NULL);

    if (rc < 0)
        return rc;
    rc = yoke_stream_send(&ctx, text);
    if (rc == 0)
        rc = yoke_stream_receive(&ctx, &value);
    if (rc > 0)
        rc = yoke_value_int(value, "length", &length);
    return yoke_context_close(&ctx, rc, NULL);
}

static void check_deal(int rc, int code, const char *message)
{
    struct yoke_error *error;

    yk_check_int(rc, code);
    error = yk_caught();
    yk_check_error(error, "yoke.MsgTypeError", code, message);
    yk_check_int(yoke_error_errno(error), -EBADMSG);
    yoke_error_unref(error);
}

YK_PEER_TEST(what_fits_passes)
{
    yk_check_int(deal(peer, yoke_nil(), yoke_str("tea")), 0);
    yk_check_int(deal(peer, SHOP("well"), yoke_str("")), 0);
}

YK_PEER_TEST(bad_arguments_are_not_sent)
{
    check_deal(deal(peer, YOKE_MAP({"do", yoke_int(1)}), yoke_nil()), -EBADMSG,
               "args of specs:shop, not sent: args.do: expected str, found int");
    check_deal(deal(peer, YOKE_MAP({"what", yoke_int(1)}), yoke_nil()), -EBADMSG,
               "args of specs:shop, not sent: args.what: expected no such key, found int");
    yk_check_int(deal(peer, yoke_nil(), yoke_str("tea")), 0);
}

YK_PEER_TEST(bad_arguments_are_refused)
{
    struct yk_specs *specs = believe(NULL);

    check_deal(deal(peer, YOKE_MAP({"do", yoke_int(1)}), yoke_nil()), YOKE_EREMOTE,
               "args of specs:shop, sent by root: args.do: expected str, found int");
    yk_check_int(deal(peer, yoke_nil(), yoke_str("tea")), 0);
    believe(specs);
}

YK_PEER_TEST(a_bad_first_value_is_not_sent)
{
    check_deal(deal(peer, SHOP("start"), yoke_nil()), YOKE_EREMOTE,
               "started of specs:shop, not sent: started: expected int, found str");
}

YK_PEER_TEST(a_bad_first_value_is_refused_and_its_sender_told)
{
    struct yk_report report;

    yk_report_open(&report);
    check_deal(deal(peer,
                    SHOP("start", {"forget", yoke_bool(true)}, {"report", yoke_str(report.path)}),
                    yoke_nil()),
               -EBADMSG, "started of specs:shop, sent by peer: started: expected int, found str");
    yk_report_close(&report, "Cancelled: context, opener left by root{yoke.MsgTypeError}\n");
}

YK_PEER_TEST(a_bad_value_is_not_sent_and_the_stream_goes_on)
{
    struct yoke_context ctx;
    struct yoke_value value;

    yk_check_int(yoke_context_open(&ctx, peer, "specs:shop", yoke_nil(), NULL), 0);
    check_deal(yoke_stream_send(&ctx, yoke_int(3)), -EBADMSG,
               "stream_in of specs:shop, not sent: value: expected str, found int");
    yk_check_int(yoke_stream_send(&ctx, yoke_str("tea")), 0);
    yk_check_int(yoke_stream_receive(&ctx, &value), 1);
    yk_check_int(value.as.integer, 3);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(a_bad_value_is_refused_by_the_endpoint)
{
    struct yk_specs *specs = believe(NULL);

    check_deal(deal(peer, yoke_nil(), yoke_int(3)), YOKE_EREMOTE,
               "stream_in of specs:shop, sent by root: value: expected str, found int");
    believe(specs);
}

YK_PEER_TEST(a_bad_value_of_the_endpoint_is_not_sent)
{
    check_deal(deal(peer, SHOP("send"), yoke_str("tea")), YOKE_EREMOTE,
               "stream_out of specs:shop, not sent: value: expected int, found nil");
}

YK_PEER_TEST(a_bad_value_is_refused_by_the_opener_and_its_sender_told)
{
    struct yk_report report;

    yk_report_open(&report);
    check_deal(deal(peer,
                    SHOP("send", {"forget", yoke_bool(true)}, {"report", yoke_str(report.path)}),
                    yoke_str("tea")),
               -EBADMSG, "stream_out of specs:shop, sent by peer: value: expected int, found nil");
    yk_report_close(&report, "Cancelled: context, opener left by root{yoke.MsgTypeError}\n");
}

YK_PEER_TEST(an_opener_may_catch_a_bad_value_and_go_on)
{
    struct yoke_context ctx;
    struct yoke_value value;
    struct yoke_select_case cases[1];

    yk_check_int(yoke_context_open(&ctx, peer, "specs:shop",
                                   SHOP("send", {"forget", yoke_bool(true)}), NULL),
                 0);
    cases[0] = yoke_case_stream(&ctx, &value);
    yk_check_int(yoke_stream_send(&ctx, yoke_str("tea")), 0);
    check_deal(yoke_select(cases, 1, NULL), -EBADMSG, NULL);
    yk_check_int(cases[0].result, -EBADMSG);
    yk_check_int(yoke_context_close(&ctx, 0, NULL), 0);
}

YK_PEER_TEST(a_bad_result_is_not_sent_nor_is_none_where_one_is_needed)
{
    check_deal(deal(peer, SHOP("return"), yoke_str("tea")), YOKE_EREMOTE,
               "result of specs:shop, not sent: result: expected int, found float");
    check_deal(deal(peer, SHOP("return nothing"), yoke_str("tea")), YOKE_EREMOTE,
               "result of specs:shop, not sent: result: expected int, found nil");
}

YK_PEER_TEST(a_bad_result_is_refused)
{
    check_deal(deal(peer, SHOP("return", {"forget", yoke_bool(true)}), yoke_str("tea")), -EBADMSG,
               "result of specs:shop, sent by peer: result: expected int, found float");
}

YK_PEER_TEST(what_an_opener_of_another_version_expects_is_known_to_the_endpoint)
{
    struct yoke_endpoint other = {.name = "specs:other",
                                  .specs = {.stream_out = "str or nil", .result = "[int]"}};
    struct yk_specs *theirs = yk_specs_of_endpoint(&other);
    struct yk_specs *specs = believe(theirs);

    check_deal(deal(peer, yoke_nil(), yoke_str("tea")), YOKE_EREMOTE,
               "stream_out of specs:shop, not sent since the peer would refuse it: "
               "value: expected str or nil, found int");
    believe(specs);
    yk_specs_free(theirs);
}

/* Registers an endpoint in another process, and reads how that ends. */
static void check_misuse(struct yoke_endpoint_specs specs, const char *expected)
{
    static struct yoke_endpoint endpoint = {.name = "specs:bad", .fn = shop};
    char said[1024] = "";
    int pipe_fds[2], status;
    pid_t pid;

    assert_int_equal(pipe(pipe_fds), 0);
    pid = fork();
    if (pid == 0) {
        dup2(pipe_fds[1], STDERR_FILENO);
        endpoint.specs = specs;
        yoke_endpoint_register(&endpoint);
        _exit(0);
    }
    close(pipe_fds[1]);
    for (size_t used = 0; used < sizeof said - 1;) {
        ssize_t n = read(pipe_fds[0], said + used, sizeof said - 1 - used);

        if (n <= 0)
            break;
        used += (size_t)n;
    }
    close(pipe_fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(said, expected));
}

static void a_text_that_is_no_type_is_misuse(void **state)
{
    (void)state;
    check_misuse((struct yoke_endpoint_specs){.result = "itn"},
                 "endpoint \"specs:bad\", .result: at 1: expected a type, found \"itn\"");
    check_misuse((struct yoke_endpoint_specs){.args = "int"},
                 "endpoint \"specs:bad\", .args: arguments are a map");
    check_misuse((struct yoke_endpoint_specs){.stream_in = "{'a;b': int}"},
                 "endpoint \"specs:bad\", .stream_in: at 3: expected a key");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_passes),
        cmocka_unit_test(bad_arguments_are_not_sent),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(a_bad_first_value_is_not_sent),
        cmocka_unit_test(a_bad_first_value_is_refused_and_its_sender_told),
        cmocka_unit_test(a_bad_value_is_not_sent_and_the_stream_goes_on),
        cmocka_unit_test(a_bad_value_is_refused_by_the_endpoint),
        cmocka_unit_test(a_bad_value_of_the_endpoint_is_not_sent),
        cmocka_unit_test(a_bad_value_is_refused_by_the_opener_and_its_sender_told),
        cmocka_unit_test(an_opener_may_catch_a_bad_value_and_go_on),
        cmocka_unit_test(a_bad_result_is_not_sent_nor_is_none_where_one_is_needed),
        cmocka_unit_test(a_bad_result_is_refused),
        cmocka_unit_test(what_an_opener_of_another_version_expects_is_known_to_the_endpoint),
        cmocka_unit_test(a_text_that_is_no_type_is_misuse),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("actor specs", tests, NULL, NULL);
}
