/* SPDX-License-Identifier: MIT */
/* The examples about the network are run, and what they print and how they end is looked at. */
#include "io/test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <yoke/net.h>

/* Runs a command, which must end with status 0, and gives its output, static text. */
static const char *output_of(const char *command)
{
    static char output[1024];
    FILE *stream = popen(command, "re");
    size_t n;

    assert_non_null(stream);
    n = fread(output, 1, sizeof output - 1, stream);
    output[n] = '\0';
    assert_int_equal(pclose(stream), 0);
    return output;
}

static void prints(const char *command, const char *expected)
{
    assert_string_equal(output_of(command), expected);
}

static void echo_talks_to_itself(void **state)
{
    (void)state;
    prints(YK_EXAMPLES_DIR "/echo", "hello\nand goodbye\n");
    prints(YK_EXAMPLES_DIR "/echo one 'two words'", "one\ntwo words\n");
}

struct fanout {
    long items, bytes, given_up, requests, most;
};

static struct fanout fanout(const char *arguments)
{
    struct fanout got;
    char command[256];

    snprintf(command, sizeof command, YK_EXAMPLES_DIR "/fanout %s", arguments);
    assert_int_equal(sscanf(output_of(command),
                            "%ld items, %ld bytes; %ld given up; %ld requests, at most %ld at once",
                            &got.items, &got.bytes, &got.given_up, &got.requests, &got.most),
                     5);
    return got;
}

/* The deadline is one that no machine misses. */
static void fanout_fetches_what_is_answered(void **state)
{
    struct fanout got = fanout("6 3 3600000");

    (void)state;
    assert_int_equal(got.items, 6);
    assert_int_equal(got.bytes, 2100);
    assert_int_equal(got.given_up, 0);
    assert_int_equal(got.requests, 6);
    assert_true(got.most >= 1 && got.most <= 3);
}

/* Item 7 is never answered. What else is late depends on the machine. */
static void fanout_gives_up_what_is_not_answered_in_time(void **state)
{
    struct fanout got = fanout("8 4 100");

    (void)state;
    assert_int_equal(got.items + got.given_up, 8);
    assert_true(got.given_up >= 1);
    assert_true(got.requests >= 8 + got.given_up && got.requests <= 16);
    assert_true(got.most <= 4);
}

/* An example that serves; the place that it says is copied. */
struct server {
    pid_t pid;
    char place[128];
};

static void server_start(struct server *server, const char *path, char *const *argv)
{
    char line[256] = "";
    size_t used = 0;
    char *at;
    int fds[2];

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    server->pid = fork();
    if (server->pid == 0) {
        dup2(fds[1], 1);
        execv(path, argv);
        _exit(127);
    }
    close(fds[1]);
    while (strchr(line, '\n') == NULL && used + 1 < sizeof line) {
        ssize_t n = read(fds[0], line + used, sizeof line - 1 - used);

        assert_true(n > 0);
        used += (size_t)n;
    }
    close(fds[0]);
    at = strstr(line, " at ");
    assert_non_null(at);
    snprintf(server->place, sizeof server->place, "%.*s", (int)strcspn(at + 4, "\n"), at + 4);
}

/* As a user stops it; it reports its interruption, and says so by its status. */
static void server_stop(const struct server *server)
{
    int status = 0;

    assert_int_equal(kill(server->pid, SIGINT), 0);
    assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 128 + SIGINT);
}

static void echo_serves_at_a_path_until_interrupted(void **state)
{
    char command[512], directory[] = "/tmp/yoke-test-XXXXXX", place[128];
    struct server server;

    (void)state;
    assert_non_null(mkdtemp(directory));
    snprintf(place, sizeof place, "%s/echo.sock", directory);
    server_start(&server, YK_EXAMPLES_DIR "/echo", (char *[]){"echo", "serve", place, NULL});
    assert_string_equal(server.place, place);
    snprintf(command, sizeof command, YK_EXAMPLES_DIR "/echo connect %s over there", place);
    prints(command, "over\nthere\n");
    server_stop(&server);
    assert_int_equal(rmdir(directory), 0); /* the socket is gone */
}

static const char *chat_place;

static void hears(struct yoke_conn *guest, const char *expected)
{
    char room[256];
    size_t n = strlen(expected);

    yk_check_int(yoke_conn_read_exactly(guest, room, n, NULL), 1);
    room[n] = '\0';
    yk_check_text(room, expected);
}

static struct yoke_conn *enters(const char *name)
{
    struct yoke_conn *guest = NULL;

    yk_check_int(yoke_connect(chat_place, NULL, &guest), 0);
    hears(guest, "* who are you?\n");
    yk_check_int(yoke_conn_write_all(guest, name, strlen(name), NULL), 0);
    return guest;
}

static int three_guests(void *arg)
{
    struct yoke_conn *ann, *bob, *cem;

    (void)arg;
    ann = enters("ann\n");
    bob = enters("bob\nhi ");
    hears(ann, "* bob is here\n");
    yk_check_int(yoke_conn_write_all(bob, "ann\nmore\n", 9, NULL), 0);
    hears(ann, "bob: hi ann\nbob: more\n");
    cem = enters("cem\n");
    hears(ann, "* cem is here\n");
    hears(bob, "* cem is here\n");
    yk_check_int(yoke_conn_write_all(ann, "to all\n", 7, NULL), 0);
    hears(bob, "ann: to all\n");
    hears(cem, "ann: to all\n");
    yoke_conn_unref(bob);
    hears(ann, "* bob has left\n");
    hears(cem, "* bob has left\n");
    yoke_conn_unref(ann);
    yoke_conn_unref(cem);
    return 0;
}

static void at_the_chat_everybody_hears_the_others(void **state)
{
    struct server server;

    (void)state;
    server_start(&server, YK_EXAMPLES_DIR "/chat", (char *[]){"chat", NULL});
    chat_place = server.place;
    real_run(three_guests, "three guests", 1);
    server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(echo_talks_to_itself),
        cmocka_unit_test(fanout_fetches_what_is_answered),
        cmocka_unit_test(fanout_gives_up_what_is_not_answered_in_time),
        cmocka_unit_test(echo_serves_at_a_path_until_interrupted),
        cmocka_unit_test(at_the_chat_everybody_hears_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
