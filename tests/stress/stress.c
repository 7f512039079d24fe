/* SPDX-License-Identifier: MIT */
/*
 * stress: random trees of actors under random blows (SIGKILL, SIGSTOP, SIGTERM, SIGINT, deadlines,
 * cancels, errors) for a while; `./dev stress`. After each round nothing may be left: no process,
 * no descriptor, no error alive or lost, in no actor; and the round's error must be one that blows
 * explain. Prints the seed of a round that failed; `--seed N --rounds 1` runs it again, as far as
 * the kernel's timing lets it be the same.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <yoke.h>

#include "../tests/stress/stress.h"
#include "../tests/support/actors.h"

enum { GONE_S = 15, PIDS_MAX = 512 };

/* What a round may end with, besides 0, and how often it did. */
static struct {
    const char *type;
    unsigned n;
} explained[] = {
    {YK_STRESS_ERROR, 0},     {"yoke.ActorDied", 0},    {"yoke.ContextCancelled", 0},
    {"yoke.LinkLost", 0},     {"yoke.Unresponsive", 0}, {"yoke.Cancelled", 0},
    {"yoke.Group", 0},        {"yoke.NotStarted", 0},   {"yoke.Closed", 0},
    {"yoke.RestartLimit", 0},
};

static unsigned rounds, rounds_clean, blows;
static bool failed;

static void complain(const char *what, long n)
{
    printf("stress: FAILED: %s (%ld)\n", what, n);
    failed = true;
}

/* --- the tree as the kernel shows it -------------------------------------------------------- */

static bool stat_of(pid_t pid, pid_t *ret_parent, char *ret_state)
{
    char path[64], text[512];
    const char *after;
    FILE *file;
    size_t n;
    int parent;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (file == NULL)
        return false;
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    after = strrchr(text, ')');
    if (after == NULL || sscanf(after, ") %c %d", ret_state, &parent) != 2)
        return false;
    *ret_parent = parent;
    return true;
}

static bool contains(const pid_t *pids, unsigned n, pid_t pid)
{
    for (unsigned i = 0; i < n; i++)
        if (pids[i] == pid)
            return true;
    return false;
}

/* All descendants that have not ended. A parent has a smaller place in /proc's order, or not: hence
 * again until nothing is new. */
static unsigned descendants(pid_t *pids)
{
    unsigned n = 0, before;

    do {
        DIR *directory = opendir("/proc");
        struct dirent *entry;

        before = n;
        while (directory != NULL && n < PIDS_MAX && (entry = readdir(directory)) != NULL) {
            pid_t pid = (pid_t)atoi(entry->d_name), parent;
            char state;

            if (pid > 0 && !contains(pids, n, pid) && stat_of(pid, &parent, &state) &&
                state != 'Z' && (parent == getpid() || contains(pids, n, parent)))
                pids[n++] = pid;
        }
        if (directory != NULL)
            closedir(directory);
    } while (n > before);
    return n;
}

/* --- blows ------------------------------------------------------------------------------------ */

struct round {
    struct yk_random random;
    struct yoke_scope *scope;
};

static void strike(struct round *round)
{
    static const int signals[] = {SIGKILL, SIGKILL, SIGTERM, SIGINT, SIGSTOP, SIGSTOP};
    pid_t pids[PIDS_MAX];
    unsigned n = descendants(pids);
    unsigned what = yk_stress_below(&round->random, 8);

    if (n == 0)
        return;
    blows++;
    if (what < sizeof signals / sizeof *signals) {
        pid_t victim = pids[yk_stress_below(&round->random, n)];

        kill(victim, signals[what]);
        if (what == 5)
            kill(victim, SIGCONT);
    } else if (what == 6) {
        yoke_scope_cancel(round->scope, "a blow");
    } else {
        if (yoke_scope_set_deadline(round->scope, yoke_now() + YOKE_MS(5)) < 0)
            yoke_clear(); /* no memory: then this blow fell flat */
    }
}

static int strike_now_and_then(void *arg)
{
    struct round *round = arg;
    int rc = 0;

    while (rc == 0) {
        rc = yoke_sleep((int64_t)yk_stress_below(&round->random, 120) * YOKE_MS(1));
        if (rc == 0)
            strike(round);
    }
    return rc;
}

/* --- a round ---------------------------------------------------------------------------------- */

static int run_round(void *arg)
{
    struct round *round = arg;
    struct yoke_scope scope;
    struct yoke_nursery nursery;
    uint64_t seed = yk_random_next(&round->random);
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(1500)});

    round->scope = &scope;
    if (rc == 0) {
        rc = yoke_nursery_open(&nursery, NULL);
        if (rc == 0)
            rc = yoke_spawn(&nursery, strike_now_and_then, round);
        if (rc == 0)
            rc = yk_stress_grow(NULL, seed, 1 + yk_stress_below(&round->random, 3));
        yoke_scope_cancel(yoke_nursery_scope(&nursery), "the tree has ended");
        rc = yoke_nursery_close(&nursery, rc);
    }
    return yoke_scope_close(&scope, rc);
}

/* Counts an error and all that it carries; what no blow explains is a failure. */
static void explain(const struct yoke_error *error)
{
    const char *type, *message;
    bool known = false;

    if (error == NULL)
        return;
    type = yoke_error_type(error);
    message = yoke_error_message(error);
    for (size_t i = 0; i < sizeof explained / sizeof *explained; i++)
        if (strcmp(type, explained[i].type) == 0) {
            explained[i].n++;
            known = true;
        }
    /* Actors abort if they have lost an error, or assert. */
    if (!known || strstr(message, "signal 6 ") != NULL || strstr(message, "signal 11 ") != NULL) {
        complain(type, yoke_error_code(error));
        yoke_error_print(error, stdout, 0);
    }
    explain(yoke_error_context(error));
    for (size_t i = 0; i < yoke_error_suppressed_count(error); i++)
        explain(yoke_error_suppressed(error, i));
    for (size_t i = 0; i < yoke_error_member_count(error); i++)
        explain(yoke_error_member(error, i));
}

static void on_alarm(int number)
{
    (void)number; /* it interrupts waitpid */
}

/*
 * Orphans of killed actors have a bound of their own; then all are gone. This process is who reaps
 * them. Stopped ones go on, since a stopped process can't hear that its parent died.
 */
static void await_nobody(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    pid_t pids[PIDS_MAX];
    unsigned n = descendants(pids);

    for (unsigned i = 0; i < n; i++)
        kill(pids[i], SIGCONT);
    sigaction(SIGALRM, &action, NULL);
    alarm(GONE_S);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    alarm(0);
    n = descendants(pids);
    if (n == 0)
        return;
    complain("processes are left", n);
    for (unsigned i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
}

static void one_round(uint64_t seed)
{
    struct yoke_error_stats before, after;
    struct round round = {.random = {seed}};
    unsigned descriptors = yk_descriptors();
    struct yoke_error *error;
    bool failed_before = failed;

    failed = false;
    yoke_error_stats(&before);
    if (yoke_run(run_round, &round, NULL) == 0)
        rounds_clean++;
    error = yoke_in_flight() != NULL ? yoke_catch() : NULL;
    explain(error);
    yoke_error_unref(error);
    await_nobody();
    yoke_error_stats(&after);
    if (after.lost != before.lost)
        complain("errors were lost", (long)(after.lost - before.lost));
    if (after.live != before.live)
        complain("errors are alive", (long)(after.live - before.live));
    if (yk_descriptors() != descriptors)
        complain("descriptors are open", (long)yk_descriptors() - (long)descriptors);
    if (failed)
        printf("stress: the round of seed %" PRIu64 "\n", seed);
    fflush(stdout);
    failed = failed || failed_before;
    rounds++;
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);

    if (*text == '\0' || *end != '\0') {
        fprintf(stderr, "stress: \"%s\" is not a number\n", text);
        exit(2);
    }
    return n;
}

int main(int argc, char **argv)
{
    uint64_t seed = (uint64_t)time(NULL), seconds = 60, rounds_max = UINT64_MAX;
    time_t until;

    yk_actors_begin(argc, argv);
    for (int i = 1; i < argc; i += 2) {
        uint64_t n = i + 1 < argc ? number(argv[i + 1]) : 0;

        if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            seed = n;
        else if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            seconds = n;
        else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
            rounds_max = n;
        else
            return fprintf(stderr, "Usage: stress [--seed N] [--seconds N] [--rounds N]\n"), 2;
    }
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    printf("stress: from seed %" PRIu64 "\n", seed);
    fflush(stdout);
    for (until = time(NULL) + (time_t)seconds; rounds < rounds_max && time(NULL) < until;)
        one_round(seed + rounds);
    printf("stress: %u rounds, %u without an error, %u blows; errors:", rounds, rounds_clean,
           blows);
    for (size_t i = 0; i < sizeof explained / sizeof *explained; i++)
        if (explained[i].n > 0)
            printf(" %s %u", explained[i].type, explained[i].n);
    printf("\nstress: %s\n", failed ? "FAILED" : "nothing left behind, no error unaccounted for");
    return failed ? 1 : 0;
}
