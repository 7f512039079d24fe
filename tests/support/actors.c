/* SPDX-License-Identifier: MIT */
/*
 * Trees of real processes for tests. The checks of simrun.h count failures here as well: they never
 * leave a task's stack by a jump, and the run as a whole fails on the stack of the test.
 *
 * An actor checks itself in an exit handler, when its runtime is gone: abort() rather than an exit
 * status, since its supervisor takes some statuses for an end that was already told.
 */
#include "../tests/support/actors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static bool is_actor;

static void check_actor_at_exit(void)
{
    struct yoke_error_stats stats;

    if (!is_actor)
        return;
    yoke_error_stats(&stats);
    if (stats.lost == 0 && stats.live == 0)
        return;
    fprintf(stderr, "actor %d ends with %" PRIu64 " errors lost, %" PRIu64 " alive\n",
            (int)getpid(), stats.lost, stats.live);
    abort();
}

void yk_actors_begin(int argc, char **argv)
{
    is_actor = true;
    atexit(check_actor_at_exit);
    yoke_serve_if_spawned(argc, argv);
    is_actor = false;
}

/* The program's own file stays open once a backtrace was made into text, to tell of others. */
static bool is_program(int directory, const char *number)
{
    char program[512], file[512];
    ssize_t n = readlinkat(directory, number, file, sizeof file);

    return n > 0 && readlink("/proc/self/exe", program, sizeof program) == n &&
           memcmp(program, file, (size_t)n) == 0;
}

unsigned yk_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    unsigned n = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL)
        n += !is_program(dirfd(directory), entry->d_name);
    closedir(directory);
    return n;
}

bool yk_has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

void yk_actors_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name, void *arg)
{
    unsigned failed_before = yk_checks_failed();
    unsigned descriptors = yk_descriptors();
    struct yoke_error_stats before, after;
    int rc;

    yoke_error_stats(&before);
    rc = yoke_run_at(site, fn, fn_name, arg, NULL);
    yk_check_int(rc, 0);
    if (yoke_in_flight() != NULL) {
        yk_check_failed(__FILE__, __LINE__, "the run failed with an error");
        yoke_error_print(yoke_in_flight(), stderr, 0);
    }
    yoke_clear();
    yoke_error_stats(&after);
    yk_check_int(after.lost - before.lost, 0);
    yk_check_int(after.live - before.live, 0);
    yk_check_int(yk_descriptors(), descriptors);
    yk_check(!yk_has_children());
    if (yk_checks_failed() != failed_before)
        fail_msg("checks failed");
}

struct yoke_portal *yk_start_actor(struct yoke_actor_nursery *nursery, const char *name)
{
    struct yoke_actor_opts opts = {.expose = "*"};
    struct yoke_portal *portal = NULL;

    yk_check_int(yoke_actor_start(nursery, name, &opts, &portal), 0);
    return portal;
}

/* --- the links of peers ----------------------------------------------------------------------- */

const enum yk_via yk_via_parent = YK_VIA_PARENT, yk_via_unix = YK_VIA_UNIX, yk_via_tcp = YK_VIA_TCP;

static enum yk_via via;
static struct yoke_portal *child;
static bool peer_ends;

enum yk_via yk_via(void)
{
    return via;
}

void yk_via_set(void **state)
{
    via = *state == NULL ? YK_VIA_PARENT : *(const enum yk_via *)*state;
    child = NULL;
    peer_ends = false;
}

const char *yk_via_address(void)
{
    return via == YK_VIA_UNIX ? "unix:" : via == YK_VIA_TCP ? "tcp:127.0.0.1:0" : NULL;
}

struct yoke_portal *yk_peer_child(void)
{
    return child;
}

void yk_peer_ends(void)
{
    peer_ends = true;
}

/* By the address that the child listens at. */
static int run_as_peer(void (*body)(struct yoke_portal *peer))
{
    struct yoke_scope scope;
    struct yoke_portal *peer = NULL;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true});

    if (rc == 0)
        rc = yoke_portal_open(yoke_portal_address(child), NULL, &peer);
    if (rc == 0)
        body(peer);
    yoke_portal_close(peer);
    if (rc == 0 && peer_ends)
        rc = yoke_portal_wait(child, NULL, NULL);
    return yoke_scope_close(&scope, rc);
}

/* Of a peer that ended, though its nursery was not told. */
static int settle_end(int rc)
{
    struct yoke_error *error;

    if (via == YK_VIA_PARENT || !peer_ends)
        return rc;
    yk_check_int(rc, YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yoke_error_unref(error);
    return 0;
}

int yk_with_peer(const struct yoke_actor_opts *opts, void (*body)(struct yoke_portal *peer))
{
    struct yoke_actor_opts own = {.expose = "*"};
    struct yoke_actor_nursery nursery;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (opts != NULL)
        own = *opts;
    own.listen = yk_via_address();
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "peer", &own, &child);
    if (rc == 0 && via != YK_VIA_PARENT) {
        rc = run_as_peer(body);
    } else if (rc == 0) {
        body(child);
        yk_check(yoke_in_flight() == NULL);
    }
    return settle_end(yoke_actor_nursery_close(&nursery, rc));
}

void yk_report_open(struct yk_report *report)
{
    int fd;

    strcpy(report->path, "/tmp/yoke-report-XXXXXX");
    fd = mkostemp(report->path, O_CLOEXEC);
    yk_check(fd >= 0);
    if (fd >= 0)
        close(fd);
}

void yk_report_close_at(const char *file, int line, struct yk_report *report, const char *expected)
{
    char text[8192];
    int fd = open(report->path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (fd >= 0)
        close(fd);
    unlink(report->path);
    text[n < 0 ? 0 : n] = '\0';
    yk_check_text_at(file, line, "the report", text, expected);
}

void yk_report_line(struct yoke_value args, const char *format, ...)
{
    const char *path = yk_text_of(yoke_value_get(args, "report"));
    char text[2048];
    va_list arguments;
    int fd;

    if (path[0] == '\0')
        return;
    fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return; /* the test has ended; it has missed the line by now */
    va_start(arguments, format);
    vsnprintf(text, sizeof text - 1, format, arguments);
    va_end(arguments);
    strcat(text, "\n");
    if (write(fd, text, strlen(text)) < 0)
        perror(path);
    close(fd);
}

void yk_report_cancelled(struct yoke_value args)
{
    const struct yoke_error *error = yoke_in_flight();

    if (error == NULL)
        yk_report_line(args, "nothing in flight");
    else if (!yoke_error_is_cancelled(error))
        yk_report_line(args, "%s: %s", yoke_error_type(error), yoke_error_message(error));
    else
        yk_report_line(args, "Cancelled: %s", yk_chain(yoke_error_cause(error)));
}

const char *yk_chain(const struct yoke_cause *cause)
{
    static char text[2048];
    size_t used = 0;

    text[0] = '\0';
    for (; cause != NULL && used < sizeof text; cause = yoke_cause_because(cause)) {
        const struct yoke_error *error = yoke_cause_error(cause);
        const struct yoke_requester *who = yoke_cause_requester(cause);
        const char *reason = yoke_cause_reason(cause);

        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s, %s by %s%s%s%s%s%s%s",
                             used > 0 ? " <- " : "", yoke_layer_name(yoke_cause_layer(cause)),
                             yoke_cause_kind_name(yoke_cause_kind(cause)), who->actor.name,
                             reason[0] != '\0' ? "[" : "", reason, reason[0] != '\0' ? "]" : "",
                             error != NULL ? "{" : "", error != NULL ? yoke_error_type(error) : "",
                             error != NULL ? "}" : "");
    }
    return text;
}

struct yoke_error *yk_caught_at(const char *file, int line)
{
    struct yoke_error *error = yoke_catch();

    if (error != NULL)
        return error;
    yk_check_failed(file, line, "nothing is in flight");
    (void)yoke_raise("test.Missing", EINVAL, "there was no error to catch");
    return yoke_catch();
}

void yk_check_error_at(const char *file, int line, const struct yoke_error *error, const char *type,
                       int code, const char *message)
{
    if (error == NULL) {
        yk_check_failed(file, line, "there is no error, not even %s", type);
        return;
    }
    yk_check_text_at(file, line, "the type", yoke_error_type(error), type);
    yk_check_int_at(file, line, "the code", yoke_error_code(error), code);
    if (message != NULL)
        yk_check_text_at(file, line, "the message", yoke_error_message(error), message);
}

const struct yoke_error *yk_find_error(const struct yoke_error *error, const char *type)
{
    const struct yoke_error *found = NULL;

    if (error == NULL || strcmp(yoke_error_type(error), type) == 0)
        return error;
    for (size_t i = 0; found == NULL && i < yoke_error_member_count(error); i++)
        found = yk_find_error(yoke_error_member(error, i), type);
    for (size_t i = 0; found == NULL && i < yoke_error_suppressed_count(error); i++)
        found = yk_find_error(yoke_error_suppressed(error, i), type);
    if (found == NULL)
        found = yk_find_error(yoke_error_context(error), type);
    return found != NULL ? found : yk_find_error(yoke_error_because(error), type);
}

const char *yk_text_of(struct yoke_value value)
{
    static char text[512];

    text[0] = '\0';
    if (value.type == YOKE_STR && value.as.str.size < sizeof text) {
        memcpy(text, value.as.str.data, value.as.str.size);
        text[value.as.str.size] = '\0';
    }
    return text;
}
