/* SPDX-License-Identifier: MIT */
/*
 * The example "tinytree", whose path is the first argument, at work: its services fail, are
 * restarted with those that need them, give up, and end in order; nothing of it is left.
 */
#include "../tests/support/realrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke.h>

static const char *tinytree;

struct session {
    struct yoke_process process;
    char text[8192];
    size_t size;
    size_t seen; /* what was waited for lies before */
};

/* Reads until `text` comes, after what was waited for last; false at the end of the output. */
static bool wait_for(struct session *session, const char *text)
{
    for (;;) {
        const char *found = strstr(session->text + session->seen, text);
        ssize_t n;

        if (found != NULL) {
            session->seen = (size_t)(found - session->text) + strlen(text);
            return true;
        }
        n = yoke_read(yoke_process_output(&session->process), session->text + session->size,
                      sizeof session->text - 1 - session->size);
        if (n <= 0) {
            yk_check_failed(__FILE__, __LINE__, "\"%s\" does not come after:\n%s", text,
                            session->text);
            return false;
        }
        session->size += (size_t)n;
        session->text[session->size] = '\0';
    }
}

/* Says a command, and waits for what it is to bring about. */
static int say(struct session *session, const char *command, const char *expected)
{
    char line[128];
    int rc;

    snprintf(line, sizeof line, "%s\n", command);
    rc = yoke_write_all(yoke_process_input(&session->process), line, strlen(line), NULL);
    if (rc == 0 && expected != NULL && !wait_for(session, expected))
        return yoke_raise("test.Silent", EPROTO, "no answer to %s", command);
    return rc;
}

static int open_session(struct session *session)
{
    const char *argv[] = {tinytree, NULL};

    memset(session, 0, sizeof *session);
    return yoke_process_open(&session->process, argv,
                             &(struct yoke_process_opts){
                                 .input = {.kind = YOKE_STDIO_PIPE},
                                 .output = {.kind = YOKE_STDIO_PIPE},
                                 .errors = {.kind = YOKE_STDIO_OUTPUT},
                                 .unchecked = true,
                             });
}

YK_REAL_TEST(a_worker_that_crashed_is_back_for_the_next_order)
{
    struct session session;
    struct yoke_process_exit end;
    int rc = open_session(&session);

    if (rc == 0)
        rc = say(&session, "sell 1 tea", "tea: 1\n");
    if (rc == 0)
        rc = say(&session, "sell 2 tea", "tea: 2\n");
    if (rc == 0)
        rc = say(&session, "crash 1", "crash 1 failed: yoke.ActorDied\n");
    if (rc == 0)
        rc = say(&session, "sell 1 tea", "tea: 3\n");
    if (rc == 0)
        rc = say(&session, "tree", "store 0, shop 0\n  clerk-1 1\n  clerk-2 0\n");
    yoke_process_close_input(&session.process);
    yk_check_int(yoke_process_close(&session.process, rc, &end), 0);
    yk_check(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0);
    return 0;
}

YK_REAL_TEST(a_service_takes_those_with_it_that_were_started_after_it)
{
    struct session session;
    struct yoke_process_exit end;
    int rc = open_session(&session);

    if (rc == 0)
        rc = say(&session, "sell 1 tea", "tea: 1\n");
    if (rc == 0)
        rc = say(&session, "kill store", "store is restarted: yoke.ActorDied\n");
    if (rc == 0 && wait_for(&session, "shop is restarted\n"))
        rc = say(&session, "sell 1 tea", "tea: 1\n"); /* its counts are gone */
    if (rc == 0)
        rc = say(&session, "kill shop", "shop is restarted: yoke.ActorDied\n");
    if (rc == 0)
        rc = say(&session, "sell 2 tea", "tea: 2\n"); /* the store is as it was */
    if (rc == 0)
        rc = say(&session, "tree", "store 1, shop 2\n");
    yoke_process_close_input(&session.process);
    yk_check_int(yoke_process_close(&session.process, rc, &end), 0);
    yk_check(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0);
    return 0;
}

YK_REAL_TEST(a_supervisor_that_gives_up_is_restarted_by_its_own)
{
    struct session session;
    struct yoke_process_exit end;
    int rc = open_session(&session);

    for (int i = 0; rc == 0 && i < 3; i++)
        rc = say(&session, "crash 2", "crash 2 failed: ");
    if (rc == 0 && wait_for(&session, "shop is restarted: yoke.RestartLimit\n"))
        rc = say(&session, "sell 2 tea", "tea: 1\n");
    if (rc == 0)
        rc = say(&session, "tree", "store 0, shop 1\n  clerk-1 0\n  clerk-2 0\n");
    yoke_process_close_input(&session.process);
    yk_check_int(yoke_process_close(&session.process, rc, &end), 0);
    yk_check(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0);
    return 0;
}

YK_REAL_TEST(nothing_of_the_tree_is_left_however_its_root_ends)
{
    static const int signals[] = {SIGTERM, SIGKILL};

    yk_check_int(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct session session;
        struct yoke_process_exit end;
        int rc = open_session(&session);

        if (rc == 0)
            rc = say(&session, "tree", "clerk-2 0\n");
        if (rc == 0)
            rc = yoke_process_signal(&session.process, signals[i]);
        yk_check_int(yoke_process_close(&session.process, rc, &end), 0);
        while (waitpid(-1, NULL, 0) > 0) /* until there is nobody left: orphans come to us */
            continue;
    }
    yk_check_int(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_crashed_is_back_for_the_next_order),
        cmocka_unit_test(a_service_takes_those_with_it_that_were_started_after_it),
        cmocka_unit_test(a_supervisor_that_gives_up_is_restarted_by_its_own),
        cmocka_unit_test(nothing_of_the_tree_is_left_however_its_root_ends),
    };

    (void)argc;
    tinytree = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
