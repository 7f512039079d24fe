/* SPDX-License-Identifier: MIT */
/*
 * Supervision of real processes: which ends of an actor call for a restart, whom a failure
 * concerns, what happens amid a restart, and what is left afterwards: nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/event.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"

enum { ACTORS = 3 };

/* In an actor: what its main endpoint is to do. */
static struct yoke_event told;
static char deed[32];

/* Ends the way that its name says, if it says one. */
static int end_as(const char *how)
{
    if (strcmp(how, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(how, "exit3") == 0)
        exit(3);
    if (strcmp(how, "exit0") == 0)
        exit(0);
    if (strcmp(how, "raise") == 0)
        return yoke_raise("test.Oops", EIO, "it went wrong");
    return 0;
}

/* Which incarnation this is, counted in the file args.count; 0: not asked for. */
static int64_t incarnation(struct yoke_value args)
{
    const char *path = yk_text_of(yoke_value_get(args, "count"));
    struct stat status = {.st_size = 0};
    int fd = path[0] == '\0' ? -1 : open(path, O_WRONLY | O_APPEND | O_CLOEXEC);

    if (fd >= 0 && write(fd, "i", 1) == 1)
        (void)fstat(fd, &status);
    if (fd >= 0)
        close(fd);
    return status.st_size;
}

static bool asked_for(struct yoke_value args, const char *key, int64_t n)
{
    int64_t at = -1;

    if (yoke_value_int(yoke_value_get(args, key), key, &at) < 0)
        yoke_clear();
    return at == n;
}

/* A service that ends as "sup:end" tells it, or by itself in the incarnations that args names. */
static int serve(struct yoke_context *ctx, struct yoke_value args)
{
    const char *self = yoke_actor_self()->name;
    int64_t n = incarnation(args);
    int rc = 0;

    if (asked_for(args, "silent_in", n))
        return yoke_sleep_forever();
    if (asked_for(args, "bad_start_in", n))
        return yoke_raise("test.BadStart", EIO, "incarnation %d does not start", (int)n);
    yoke_event_init(&told);
    yk_report_line(args, "%s up", self);
    rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0 && asked_for(args, "always_raise", 1))
        return end_as("raise");
    if (rc == 0)
        rc = yoke_event_wait(&told);
    if (rc < 0) {
        yk_report_line(args, "%s down", self);
        if (yoke_value_get(args, "why").type != YOKE_NIL)
            yk_report_cancelled(args);
    }
    return rc < 0 ? rc : end_as(deed);
}
YOKE_ENDPOINT("sup:serve", serve);

static int end(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    strcpy(deed, yk_text_of(yoke_value_get(args, "how")));
    yoke_event_set(&told);
    return 0;
}
YOKE_ENDPOINT("sup:end", end);

static int die(struct yoke_context *ctx, struct yoke_value args)
{
    (void)ctx;
    return end_as(yk_text_of(yoke_value_get(args, "how")));
}
YOKE_ENDPOINT("sup:die", die);

static int stay(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    return rc < 0 ? rc : yoke_sleep_forever();
}
YOKE_ENDPOINT("sup:stay", stay);

static int tell_pid(struct yoke_context *ctx, struct yoke_value args)
{
    (void)args;
    return yoke_context_return(ctx, yoke_int(getpid()));
}
YOKE_ENDPOINT("sup:pid", tell_pid);

/* Waits for as long as it takes the actor to be up. 0 if it will not be. */
static pid_t pid_of(struct yoke_portal *portal)
{
    struct yoke_value *result = NULL;
    pid_t pid = 0;

    if (yoke_call(portal, "sup:pid", yoke_nil(), &result) < 0)
        yoke_clear();
    else
        pid = (pid_t)result->as.integer;
    yoke_value_free(result);
    return pid;
}

/* What on_end was told. */
struct seen {
    struct yoke_event first; /* set by the first end that leads to a restart, or to nothing */
    struct yoke_portal *portal;
    char error[64];
    bool restarts;
    unsigned ends;
};

static void see(void *arg, const struct yoke_actor_end *end)
{
    struct seen *seen = arg;

    if (seen->ends++ == 0) {
        seen->portal = end->portal;
        seen->restarts = end->restarts;
        snprintf(seen->error, sizeof seen->error, "%s",
                 end->error != NULL ? yoke_error_type(end->error) : "none");
    }
    yoke_event_set(&seen->first);
}

struct group {
    struct yoke_actor_nursery nursery;
    struct yoke_portal *actors[ACTORS];
    pid_t pids[ACTORS];
    struct seen seen;
};

static int open_group(struct group *group, const struct yoke_actor_nursery_opts *given)
{
    struct yoke_actor_nursery_opts opts = *given;

    memset(&group->seen, 0, sizeof group->seen);
    yoke_event_init(&group->seen.first);
    opts.on_end = see;
    opts.arg = &group->seen;
    return yoke_actor_nursery_open(&group->nursery, &opts);
}

static int start(struct group *group, int i, enum yoke_restart_kind kind, struct yoke_value args)
{
    static const char *const names[ACTORS] = {"a", "b", "c"};
    int rc = yoke_actor_start(&group->nursery, names[i],
                              &(struct yoke_actor_opts){
                                  .expose = "sup:*",
                                  .run = "sup:serve",
                                  .args = args,
                                  .restart = kind,
                              },
                              &group->actors[i]);

    if (rc == 0)
        group->pids[i] = yoke_portal_actor(group->actors[i])->pid;
    return rc;
}

/* Three services; the one in the middle is of the given kind. */
static int open_three(struct group *group, const struct yoke_actor_nursery_opts *opts,
                      enum yoke_restart_kind middle, struct yoke_value args)
{
    int rc = open_group(group, opts);

    for (int i = 0; rc == 0 && i < ACTORS; i++)
        rc = start(group, i, i == 1 ? middle : YOKE_RESTART_PERMANENT, args);
    return rc;
}

static void tell_to_end(struct yoke_portal *portal, const char *how)
{
    if (yoke_call(portal, "sup:end", YOKE_MAP({"how", yoke_str(how)}), NULL) < 0)
        yoke_clear(); /* it may die amid the call */
}

static const char *const ways[] = {"kill", "exit3", "raise", "exit0", "return"};

static bool is_failure(const char *how)
{
    return strcmp(how, "exit0") != 0 && strcmp(how, "return") != 0;
}

static bool is_restarted(enum yoke_restart_kind kind, const char *how)
{
    return kind == YOKE_RESTART_PERMANENT || (kind == YOKE_RESTART_TRANSIENT && is_failure(how));
}

static bool is_concerned(enum yoke_strategy strategy, int i)
{
    return i == 1 || strategy == YOKE_ONE_FOR_ALL || (strategy == YOKE_REST_FOR_ONE && i == 2);
}

static int end_one(enum yoke_strategy strategy, enum yoke_restart_kind kind, const char *how)
{
    struct yoke_actor_nursery_opts opts = {.strategy = strategy};
    bool restarted = is_restarted(kind, how);
    struct group group;
    int rc = open_three(&group, &opts, kind, yoke_nil());

    if (rc == 0) {
        tell_to_end(group.actors[1], how);
        yk_check_int(yoke_event_wait(&group.seen.first), 0);
        yk_check(group.seen.portal == group.actors[1]);
        yk_check_int(group.seen.restarts, restarted);
        yk_check_text(group.seen.error, strcmp(how, "raise") == 0 ? "test.Oops" : "yoke.ActorDied");
        for (int i = 0; i < ACTORS; i++) {
            pid_t pid = pid_of(group.actors[i]);
            bool again = restarted && is_concerned(strategy, i);

            yk_check_int(pid != group.pids[i], again || (i == 1 && !restarted));
            yk_check_int(pid == 0, i == 1 && !restarted);
            yk_check_int(yoke_portal_restarts(group.actors[i]), again);
        }
        yk_check(yoke_portal_last_error(group.actors[1]) != NULL);
    }
    return yoke_actor_nursery_close(&group.nursery, rc);
}

YK_ACTORS_TEST(each_strategy_restarts_whom_it_concerns_and_each_kind_what_calls_for_it)
{
    for (int strategy = YOKE_ONE_FOR_ONE; strategy <= YOKE_ONE_FOR_ALL; strategy++)
        for (int kind = YOKE_RESTART_PERMANENT; kind <= YOKE_RESTART_TEMPORARY; kind++)
            for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
                yk_check_int(end_one(strategy, kind, ways[i]), 0);
    return 0;
}

static void cancel_all(enum yoke_restart_kind kind, const char *how)
{
    struct yoke_actor_nursery_opts opts = {.strategy = YOKE_ONE_CANCELS_ALL};
    struct group group;
    int rc = open_three(&group, &opts, kind, yoke_nil());
    bool fails = is_restarted(kind, how);

    if (rc == 0) {
        tell_to_end(group.actors[1], how);
        rc = fails ? yoke_sleep_forever() : yoke_portal_wait(group.actors[1], NULL, NULL);
    }
    rc = yoke_actor_nursery_close(&group.nursery, rc);
    if (fails) {
        struct yoke_error *error = yk_caught();

        yk_check_text(yoke_error_type(error),
                      strcmp(how, "raise") == 0 ? "test.Oops" : "yoke.ActorDied");
        yoke_error_unref(error);
    } else {
        yk_check_int(rc, 0);
    }
}

YK_ACTORS_TEST(without_restarts_what_calls_for_one_fails_the_nursery)
{
    for (int kind = YOKE_RESTART_PERMANENT; kind <= YOKE_RESTART_TEMPORARY; kind++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            cancel_all(kind, ways[i]);
    return 0;
}

YK_ACTORS_TEST(a_main_endpoint_that_returns_ends_its_actor_in_order)
{
    struct group group;
    int status = -1;
    int rc =
        open_three(&group, &(struct yoke_actor_nursery_opts){0}, YOKE_RESTART_DEFAULT, yoke_nil());

    if (rc == 0) {
        tell_to_end(group.actors[1], "return");
        rc = yoke_portal_wait(group.actors[1], &status, NULL);
    }
    yk_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return yoke_actor_nursery_close(&group.nursery, rc);
}

YK_ACTORS_TEST(a_main_endpoint_that_fails_before_it_started_is_the_error_of_start)
{
    struct group group;
    struct yoke_error *error;
    struct yk_report count;
    int rc = open_group(&group, &(struct yoke_actor_nursery_opts){.strategy = YOKE_ONE_FOR_ALL});

    yk_report_open(&count);
    if (rc == 0)
        rc = start(&group, 0, YOKE_RESTART_PERMANENT,
                   YOKE_MAP({"count", yoke_str(count.path)}, {"bad_start_in", yoke_int(1)}));
    yk_check_int(rc, YOKE_EREMOTE);
    error = yk_caught();
    yk_check_error(error, "test.BadStart", YOKE_EREMOTE, "incarnation 1 does not start");
    yk_check_int(yoke_error_note_count(error), 1);
    yk_check_int(group.seen.ends, 0);
    yoke_error_unref(error);
    yk_report_close(&count, "i");
    return yoke_actor_nursery_close(&group.nursery, 0);
}

YK_ACTORS_TEST(a_main_endpoint_that_never_reports_is_ended_after_the_start_timeout)
{
    struct yoke_actor_nursery nursery;
    struct yoke_actor_opts opts = {.run = "sup:serve", .start_timeout_ns = YOKE_MS(300)};
    struct yoke_error *error;
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    opts.args = YOKE_MAP({"silent_in", yoke_int(0)});
    if (rc == 0)
        rc = yoke_actor_start(&nursery, "mute", &opts, NULL);
    yk_check_int(rc, YOKE_EUNRESPONSIVE);
    error = yk_caught();
    yk_check(strstr(yoke_error_message(error), "sup:serve did not call yoke_context_started") !=
             NULL);
    yoke_error_unref(error);
    return yoke_actor_nursery_close(&nursery, 0);
}

YK_ACTORS_TEST(more_failures_than_allowed_fail_the_nursery_because_of_the_last)
{
    struct yoke_actor_nursery_opts opts = {
        .strategy = YOKE_ONE_FOR_ONE,
        .max_restarts = 2,
        .period_ns = YOKE_S(3600),
        .backoff_ns = YOKE_MS(1),
    };
    struct group group;
    struct yoke_error *error;
    int rc = open_group(&group, &opts);

    if (rc == 0)
        rc = start(&group, 0, YOKE_RESTART_DEFAULT, yoke_nil());
    if (rc == 0)
        rc = start(&group, 1, YOKE_RESTART_DEFAULT, YOKE_MAP({"always_raise", yoke_int(1)}));
    if (rc == 0)
        rc = yoke_sleep_forever();
    yk_check_int(yoke_actor_nursery_close(&group.nursery, rc), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.RestartLimit", YOKE_EDIED,
                   "actor b failed once more: more than 2 restarts within 3600000 ms is more than "
                   "its nursery allows");
    yk_check_error(yoke_error_because(error), "test.Oops", YOKE_EREMOTE, "it went wrong");
    yk_check_int(group.seen.ends, 2);
    yoke_error_unref(error);
    return 0;
}

YK_ACTORS_TEST(a_restart_that_fails_to_start_is_another_failure)
{
    struct yoke_actor_nursery_opts opts = {.strategy = YOKE_ONE_FOR_ALL, .max_restarts = 5};
    struct group group;
    struct yk_report count;
    struct yoke_value args;
    int rc = open_group(&group, &opts);

    yk_report_open(&count);
    args = YOKE_MAP({"count", yoke_str(count.path)}, {"bad_start_in", yoke_int(2)});
    if (rc == 0)
        rc = start(&group, 0, YOKE_RESTART_DEFAULT, yoke_nil());
    if (rc == 0)
        rc = start(&group, 1, YOKE_RESTART_DEFAULT, args);
    if (rc == 0) {
        tell_to_end(group.actors[1], "kill");
        yk_check_int(yoke_event_wait(&group.seen.first), 0);
        yk_check(pid_of(group.actors[1]) > 0);
        yk_check_int(yoke_portal_restarts(group.actors[1]), 2);
        yk_check_int(yoke_portal_restarts(group.actors[0]), 2);
        yk_check_error(yoke_portal_last_error(group.actors[1]), "test.BadStart", YOKE_EREMOTE,
                       NULL);
    }
    yk_report_close(&count, "iii");
    return yoke_actor_nursery_close(&group.nursery, rc);
}

YK_ACTORS_TEST(a_group_goes_down_in_reverse_order_and_comes_up_in_order)
{
    struct yoke_actor_nursery_opts opts = {.strategy = YOKE_ONE_FOR_ALL, .ordered_shutdown = true};
    struct yk_report report;
    struct group group;
    int rc;

    yk_report_open(&report);
    rc = open_three(&group, &opts, YOKE_RESTART_PERMANENT, yk_report_args(&report));
    if (rc == 0) {
        tell_to_end(group.actors[1], "exit3");
        yk_check_int(yoke_event_wait(&group.seen.first), 0);
        yk_check(pid_of(group.actors[2]) > 0);
    }
    rc = yoke_actor_nursery_close(&group.nursery, rc);
    yk_report_close(&report, "a up\nb up\nc up\n"
                             "c down\na down\n"
                             "a up\nb up\nc up\n"
                             "c down\nb down\na down\n");
    return rc;
}

YK_ACTORS_TEST(a_failed_actor_in_an_ordered_nursery_takes_the_others_down_in_reverse_order)
{
    struct yk_report report;
    struct group group;
    struct yoke_error *error;
    int rc;

    yk_report_open(&report);
    rc = open_three(&group, &(struct yoke_actor_nursery_opts){.ordered_shutdown = true},
                    YOKE_RESTART_PERMANENT, yk_report_args(&report));
    if (rc == 0) {
        tell_to_end(group.actors[1], "exit3");
        rc = yoke_sleep_forever();
    }
    yk_check_int(yoke_actor_nursery_close(&group.nursery, rc), YOKE_EDIED);
    error = yk_caught();
    yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
    yoke_error_unref(error);
    yk_report_close(&report, "a up\nb up\nc up\nc down\na down\n");
    return 0;
}

YK_ACTORS_TEST(a_sibling_that_is_restarted_is_told_why)
{
    struct yoke_actor_nursery_opts opts = {.strategy = YOKE_REST_FOR_ONE};
    struct yk_report report;
    struct group group;
    int rc = open_group(&group, &opts);

    yk_report_open(&report);
    if (rc == 0)
        rc = start(&group, 0, YOKE_RESTART_PERMANENT, yoke_nil());
    if (rc == 0)
        rc = start(&group, 1, YOKE_RESTART_PERMANENT,
                   YOKE_MAP({"report", yoke_str(report.path)}, {"why", yoke_bool(true)}));
    if (rc == 0) {
        tell_to_end(group.actors[0], "kill");
        yk_check_int(yoke_event_wait(&group.seen.first), 0);
        yk_check(pid_of(group.actors[1]) > 0);
    }
    rc = yoke_actor_nursery_close(&group.nursery, rc);
    yk_report_close(&report,
                    "b up\nb down\n"
                    "Cancelled: context, opener left by root <- actor, supervisor restart by root"
                    "[actor a failed, and is restarted with its siblings]{yoke.ActorDied}\n"
                    "b up\nb down\n"
                    "Cancelled: context, opener left by root <- actor, actor nursery by root"
                    "[its actor nursery was closed]\n");
    return rc;
}

YK_ACTORS_TEST(a_context_of_the_dead_incarnation_ends_with_its_death)
{
    struct yoke_actor_nursery_opts opts = {.strategy = YOKE_ONE_FOR_ONE};
    struct yoke_context ctx;
    struct group group;
    struct yoke_error *error;
    int rc = open_three(&group, &opts, YOKE_RESTART_PERMANENT, yoke_nil());

    if (rc == 0)
        rc = yoke_context_open(&ctx, group.actors[1], "sup:stay", yoke_nil(), NULL);
    if (rc == 0) {
        kill(group.pids[1], SIGKILL);
        yk_check_int(yoke_context_close(&ctx, 0, NULL), YOKE_EDIED);
        error = yk_caught();
        yk_check_error(error, "yoke.ActorDied", YOKE_EDIED, NULL);
        yoke_error_unref(error);
        yk_check_int(yoke_event_wait(&group.seen.first), 0);
        yk_check(pid_of(group.actors[1]) > 0);
    }
    return yoke_actor_nursery_close(&group.nursery, rc);
}

/* One that waits for an hour before it is started again. */
static int open_waiting(struct group *group)
{
    struct yoke_actor_nursery_opts opts = {
        .strategy = YOKE_ONE_FOR_ONE,
        .backoff_ns = YOKE_S(3600),
        .backoff_max_ns = YOKE_S(7200),
    };
    int rc = open_three(group, &opts, YOKE_RESTART_PERMANENT, yoke_nil());

    if (rc == 0) {
        tell_to_end(group->actors[1], "kill");
        rc = yoke_event_wait(&group->seen.first);
    }
    return rc;
}

YK_ACTORS_TEST(closing_amid_a_delay_leaves_nothing_and_does_not_wait)
{
    struct group group;
    int rc = open_waiting(&group);

    return yoke_actor_nursery_close(&group.nursery, rc);
}

YK_ACTORS_TEST(opening_a_context_amid_a_delay_waits_within_the_scopes_of_the_caller)
{
    struct yoke_scope scope;
    struct yoke_context ctx;
    struct group group;
    int rc = open_waiting(&group);

    if (rc == 0)
        rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(20)});
    if (rc == 0)
        rc = yoke_context_open(&ctx, group.actors[1], "sup:pid", yoke_nil(), NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    rc = yoke_scope_close(&scope, rc);
    yk_check(yoke_scope_cancelled_caught(&scope));
    return yoke_actor_nursery_close(&group.nursery, rc);
}

YK_ACTORS_TEST(an_actor_that_is_cancelled_amid_a_delay_is_done)
{
    struct group group;
    int rc = open_waiting(&group);
    int status = -1;

    if (rc == 0) {
        yoke_portal_cancel_actor(group.actors[1], "no longer needed");
        rc = yoke_portal_wait(group.actors[1], &status, NULL);
        yk_check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        yk_check_int(pid_of(group.actors[1]), 0);
        yk_check(pid_of(group.actors[0]) == group.pids[0]);
    }
    return yoke_actor_nursery_close(&group.nursery, rc);
}

YK_ACTORS_TEST(an_actor_that_was_asked_to_end_is_not_restarted)
{
    struct group group;
    int rc = open_three(&group, &(struct yoke_actor_nursery_opts){.strategy = YOKE_ONE_FOR_ALL},
                        YOKE_RESTART_PERMANENT, yoke_nil());

    if (rc == 0) {
        yoke_portal_cancel_actor(group.actors[1], NULL);
        rc = yoke_portal_wait(group.actors[1], NULL, NULL);
        yk_check_int(group.seen.ends, 0);
        yk_check(pid_of(group.actors[0]) == group.pids[0]);
    }
    return yoke_actor_nursery_close(&group.nursery, rc);
}

YK_ACTORS_TEST(closing_amid_a_start_that_takes_for_ever_leaves_nothing)
{
    struct yoke_actor_nursery_opts opts = {.strategy = YOKE_REST_FOR_ONE};
    struct group group;
    struct yk_report count;
    struct stat status;
    int rc = open_group(&group, &opts);

    yk_report_open(&count);
    if (rc == 0)
        rc = start(&group, 0, YOKE_RESTART_DEFAULT,
                   YOKE_MAP({"count", yoke_str(count.path)}, {"silent_in", yoke_int(2)}));
    if (rc == 0)
        rc = start(&group, 1, YOKE_RESTART_DEFAULT, yoke_nil());
    if (rc == 0)
        tell_to_end(group.actors[0], "kill");
    while (rc == 0 && stat(count.path, &status) == 0 && status.st_size < 2)
        rc = yoke_checkpoint(); /* until the second incarnation runs */
    rc = yoke_actor_nursery_close(&group.nursery, rc);
    yk_report_close(&count, "ii");
    return rc;
}

static bool is_alive(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

YK_ACTORS_TEST(deaths_amid_the_restart_of_others_are_made_good)
{
    for (int strategy = YOKE_ONE_FOR_ONE; strategy <= YOKE_ONE_FOR_ALL; strategy++) {
        struct yoke_actor_nursery_opts opts = {
            .strategy = strategy,
            .max_restarts = 100,
            .backoff_ns = YOKE_MS(1),
            .backoff_max_ns = YOKE_MS(4),
        };
        struct group group;
        int rc = open_three(&group, &opts, YOKE_RESTART_PERMANENT, yoke_nil());

        for (int round = 0; rc == 0 && round < 8; round++) {
            for (int i = 0; i < ACTORS; i++) {
                pid_t pid = yoke_portal_actor(group.actors[(i + round) % ACTORS])->pid;

                /* Of one that is being restarted this is the pid of its last incarnation. */
                if (is_alive(pid))
                    kill(pid, SIGKILL);
                for (int j = 0; j < round; j++)
                    yk_check_int(yoke_checkpoint(), 0);
            }
        }
        for (int i = 0; rc == 0 && i < ACTORS; i++) {
            pid_t pid;

            while ((pid = pid_of(group.actors[i])) == 0) /* it died amid the call */
                continue;
            yk_check(pid != group.pids[i]);
        }
        yk_check_int(yoke_actor_nursery_close(&group.nursery, rc), 0);
    }
    return 0;
}

YK_ACTORS_TEST(options_that_make_no_sense_are_refused)
{
    struct yoke_actor_nursery nursery;
    struct yoke_actor_nursery_opts bad[] = {
        {.strategy = (enum yoke_strategy)9},
        {.strategy = YOKE_ONE_FOR_ONE, .max_restarts = 1001},
        {.strategy = YOKE_ONE_FOR_ONE, .period_ns = -1},
    };
    struct yoke_actor_opts bad_actors[] = {
        {.run = "nothing"},
        {.run = "a:*"},
        {.args = YOKE_MAP({"x", yoke_int(1)})},
        {.run = "sup:serve", .args = yoke_int(1)},
        {.restart = (enum yoke_restart_kind)7},
    };
    int rc;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rc = yoke_actor_nursery_open(&nursery, &bad[i]);
        yk_check_int(rc, -EINVAL);
        yk_check_int(yoke_actor_nursery_close(&nursery, rc), -EINVAL);
        yoke_clear();
    }
    rc = yoke_actor_nursery_open(&nursery, NULL);
    for (size_t i = 0; rc == 0 && i < sizeof bad_actors / sizeof *bad_actors; i++) {
        yk_check_int(yoke_actor_start(&nursery, "x", &bad_actors[i], NULL), -EINVAL);
        yoke_clear();
    }
    return yoke_actor_nursery_close(&nursery, rc);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_strategy_restarts_whom_it_concerns_and_each_kind_what_calls_for_it),
        cmocka_unit_test(without_restarts_what_calls_for_one_fails_the_nursery),
        cmocka_unit_test(a_main_endpoint_that_returns_ends_its_actor_in_order),
        cmocka_unit_test(a_main_endpoint_that_fails_before_it_started_is_the_error_of_start),
        cmocka_unit_test(a_main_endpoint_that_never_reports_is_ended_after_the_start_timeout),
        cmocka_unit_test(more_failures_than_allowed_fail_the_nursery_because_of_the_last),
        cmocka_unit_test(a_restart_that_fails_to_start_is_another_failure),
        cmocka_unit_test(a_group_goes_down_in_reverse_order_and_comes_up_in_order),
        cmocka_unit_test(
            a_failed_actor_in_an_ordered_nursery_takes_the_others_down_in_reverse_order),
        cmocka_unit_test(a_sibling_that_is_restarted_is_told_why),
        cmocka_unit_test(a_context_of_the_dead_incarnation_ends_with_its_death),
        cmocka_unit_test(closing_amid_a_delay_leaves_nothing_and_does_not_wait),
        cmocka_unit_test(opening_a_context_amid_a_delay_waits_within_the_scopes_of_the_caller),
        cmocka_unit_test(an_actor_that_is_cancelled_amid_a_delay_is_done),
        cmocka_unit_test(an_actor_that_was_asked_to_end_is_not_restarted),
        cmocka_unit_test(closing_amid_a_start_that_takes_for_ever_leaves_nothing),
        cmocka_unit_test(deaths_amid_the_restart_of_others_are_made_good),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
