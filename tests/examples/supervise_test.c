/* SPDX-License-Identifier: MIT */
/*
 * The example "supervise", whose path is the first argument: restarts, gives up, stops in order.
 * What it says and what its commands write is read in the order in which it happens.
 */
#include "../tests/support/realrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke.h>

static const char *supervise;

/* All output so far. */
struct transcript {
    int fd;
    char text[4096];
    size_t size;
};

/* Reads until `text` occurs `times` times; false at the end of the output. */
static bool read_until(struct transcript *transcript, const char *text, int times)
{
    for (;;) {
        const char *at = transcript->text;
        int found = 0;
        ssize_t n;

        while ((at = strstr(at, text)) != NULL) {
            found++;
            at += strlen(text);
        }
        if (found >= times)
            return true;
        n = yoke_read(transcript->fd, transcript->text + transcript->size,
                      sizeof transcript->text - 1 - transcript->size);
        if (n <= 0)
            return false;
        transcript->size += (size_t)n;
        transcript->text[transcript->size] = '\0';
    }
}

static size_t place(const struct transcript *transcript, const char *text)
{
    const char *found = strstr(transcript->text, text);

    if (found == NULL)
        yk_check_failed(__FILE__, __LINE__, "\"%s\" is not in:\n%s", text, transcript->text);
    return found == NULL ? 0 : (size_t)(found - transcript->text);
}

static int open_supervise(struct yoke_process *process, const char *const *argv,
                          struct transcript *transcript)
{
    struct yoke_process_opts opts = {
        .output = {.kind = YOKE_STDIO_PIPE},
        .errors = {.kind = YOKE_STDIO_OUTPUT},
        .unchecked = true,
    };
    int rc = yoke_process_open(process, argv, &opts);

    yk_check_int(rc, 0);
    memset(transcript, 0, sizeof *transcript);
    if (rc == 0)
        transcript->fd = yoke_process_output(process);
    return rc;
}

YK_REAL_TEST(commands_are_restarted_and_stopped_in_reverse_order)
{
    const char *argv[] = {supervise,
                          "-b",
                          "1",
                          "-r",
                          "1000",
                          "trap 'echo one ends; exit 0' TERM; echo one is up; while :; do :; done",
                          "echo two; exit 3",
                          "trap 'echo three ends; exit 0' TERM; echo three is up; "
                          "while :; do :; done",
                          NULL};
    struct yoke_process process;
    struct yoke_process_exit end;
    struct transcript transcript;
    int rc = open_supervise(&process, argv, &transcript);

    if (rc == 0) {
        yk_check(read_until(&transcript, "one is up\n", 1));
        yk_check(read_until(&transcript, "three is up\n", 1));
        yk_check(read_until(&transcript, "2: exited with status 3\n", 4));
        yk_check_int(yoke_process_signal(&process, SIGINT), 0);
        (void)read_until(&transcript, "never", 1);
        yk_check(place(&transcript, "three ends\n") < place(&transcript, "3: stopped\n"));
        yk_check(place(&transcript, "3: stopped\n") < place(&transcript, "one ends\n"));
        yk_check(place(&transcript, "one ends\n") < place(&transcript, "1: stopped\n"));
        (void)place(&transcript, "signal SIGINT from pid"); /* the report says why */
    }
    yk_check_int(yoke_process_close(&process, rc, &end), 0);
    yk_check(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 128 + SIGINT);
    return 0;
}

YK_REAL_TEST(a_command_that_keeps_ending_gives_up_after_the_others_were_stopped)
{
    const char *argv[] = {
        supervise,    "-b",
        "1",          "-r",
        "2",          "trap 'echo one ends; exit 0' TERM; echo one is up; while :; do :; done",
        "kill -9 $$", NULL};
    struct yoke_process process;
    struct yoke_process_exit end;
    struct transcript transcript;
    int rc = open_supervise(&process, argv, &transcript);

    if (rc == 0) {
        (void)read_until(&transcript, "never", 1);
        (void)place(&transcript, "2: killed by signal 9\n");
        yk_check(place(&transcript, "1: stopped\n") <
                 place(&transcript, "supervise.GaveUp: \"kill -9 $$\" has ended 3 times in a row"));
    }
    yk_check_int(yoke_process_close(&process, rc, &end), 0);
    yk_check(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 1);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_restarted_and_stopped_in_reverse_order),
        cmocka_unit_test(a_command_that_keeps_ending_gives_up_after_the_others_were_stopped),
    };

    supervise = argc > 1 ? argv[1] : "supervise";
    return cmocka_run_group_tests_name("supervise", tests, NULL, NULL);
}
