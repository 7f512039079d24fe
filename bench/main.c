/* SPDX-License-Identifier: MIT */
/*
 * yoke-bench [--json FILE] [--peers DIRECTORY] [NAME...]: runs the cases, each value beside its
 * floor and the peers in turn, and prints a table of medians. All on one processor: what is
 * compared must not differ by where it ran.
 */
#include <errno.h>
#include <json-c/json.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <yoke.h>

#include "../bench/bench.h"

enum { CASES_MAX = 64, MILLION_REPETITIONS = 3 };

static const struct {
    const struct bench_case *cases;
    size_t repetitions;
} tables[] = {
    {bench_task_cases, BENCH_REPETITIONS},
    {bench_channel_cases, BENCH_REPETITIONS},
    {bench_echo_cases, BENCH_REPETITIONS},
    {bench_wait_cases, BENCH_REPETITIONS},
    {bench_crowd_cases, BENCH_REPETITIONS},
    {bench_million_cases, MILLION_REPETITIONS},
    {bench_footprint_cases, 1},
    {bench_actor_cases, BENCH_REPETITIONS},
};

struct options {
    const char *json;
    const char *peers; /* the folder of their programs; NULL: without them */
    char **names;      /* of the cases that are wanted; empty: all */
};

struct timed {
    int (*operation)(long n);
    int (*plain)(int (*operation)(long n), long n, double *ret_ns);
    long n;
    double ns;
};

static int64_t read_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t bench_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t bench_cpu(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

static int plain(int (*operation)(long n), long n, clockid_t clock, double *ret_ns)
{
    int64_t began;
    int rc = operation(n / 8 + 1); /* warms up */

    if (rc < 0)
        return rc;
    began = read_clock(clock);
    rc = operation(n);
    *ret_ns = (double)(read_clock(clock) - began) / (double)n;
    return rc;
}

int bench_plain(int (*operation)(long n), long n, double *ret_ns)
{
    return plain(operation, n, CLOCK_PROCESS_CPUTIME_ID, ret_ns);
}

int bench_plain_wall(int (*operation)(long n), long n, double *ret_ns)
{
    return plain(operation, n, CLOCK_MONOTONIC, ret_ns);
}

static int run_timed(void *arg)
{
    struct timed *timed = arg;

    return timed->plain(timed->operation, timed->n, &timed->ns);
}

static int in_runtime(struct timed *timed, double *ret_ns)
{
    int rc = yoke_run(run_timed, timed, NULL);

    if (rc >= 0)
        *ret_ns = timed->ns;
    return rc < 0 ? rc : 0;
}

int bench_in_runtime(int (*operation)(long n), long n, double *ret_ns)
{
    return in_runtime(&(struct timed){operation, bench_plain, n, 0}, ret_ns);
}

int bench_in_runtime_wall(int (*operation)(long n), long n, double *ret_ns)
{
    return in_runtime(&(struct timed){operation, bench_plain_wall, n, 0}, ret_ns);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

struct bench_samples bench_median(double *samples, size_t n)
{
    struct bench_samples result;

    qsort(samples, n, sizeof *samples, compare);
    result.median = n % 2 == 1 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2;
    result.min = samples[0];
    result.max = samples[n - 1];
    return result;
}

/* Floor, value and peers in turn, so that all see the machine in the same mood. 0 or negative. */
static int run_case(const struct bench_case *of, const struct options *options, size_t repetitions,
                    struct bench_result *result)
{
    double values[BENCH_REPETITIONS], floors[BENCH_REPETITIONS];
    double peers[BENCH_PEERS][BENCH_REPETITIONS];
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < repetitions; i++) {
        rc = of->floor(&floors[i]);
        if (rc >= 0)
            rc = of->value(&values[i]);
        for (size_t p = 0; rc >= 0 && options->peers != NULL && p < BENCH_PEERS; p++) {
            if (i > 0 && !result->peer_has[p])
                continue;
            rc = bench_peer(options->peers, bench_peer_names[p], of->name, &peers[p][i]);
            result->peer_has[p] = rc > 0;
        }
    }
    if (rc < 0)
        return rc;
    result->of = of;
    result->value = bench_median(values, repetitions);
    result->floor = bench_median(floors, repetitions);
    for (size_t p = 0; p < BENCH_PEERS; p++)
        if (result->peer_has[p])
            result->peers[p] = bench_median(peers[p], repetitions);
    result->ratio = of->more_is_better ? result->floor.median / result->value.median
                                       : result->value.median / result->floor.median;
    return 0;
}

static void print_row(const struct bench_result *result)
{
    printf("%-16s %12.2f %-10s (%.2f to %.2f)  floor %.2f (from %.2f)  ratio %.2f  %s\n",
           result->of->name, result->value.median, result->of->unit, result->value.min,
           result->value.max, result->floor.median, result->floor.min, result->ratio,
           result->of->floor_is);
    for (size_t p = 0; p < BENCH_PEERS; p++)
        if (result->peer_has[p])
            printf("  %-14s %12.2f %-10s (%.2f to %.2f)\n", bench_peer_names[p],
                   result->peers[p].median, result->of->unit, result->peers[p].min,
                   result->peers[p].max);
    fflush(stdout);
}

static void add_number(struct json_object *object, const char *key, double number)
{
    json_object_object_add(object, key, json_object_new_double(number));
}

static struct json_object *row_of(const struct bench_result *result)
{
    struct json_object *row = json_object_new_object();
    struct json_object *peers = json_object_new_object();

    json_object_object_add(row, "name", json_object_new_string(result->of->name));
    add_number(row, "value", result->value.median);
    json_object_object_add(row, "unit", json_object_new_string(result->of->unit));
    add_number(row, "floor", result->floor.median);
    add_number(row, "ratio", result->ratio);
    for (size_t p = 0; p < BENCH_PEERS; p++)
        if (result->peer_has[p])
            add_number(peers, bench_peer_names[p], result->peers[p].median);
    json_object_object_add(row, "peers", peers);
    add_number(row, "value_min", result->value.min);
    add_number(row, "value_max", result->value.max);
    add_number(row, "floor_min", result->floor.min);
    return row;
}

static int write_json(const char *path, const struct bench_result *results, size_t n)
{
    struct json_object *array = json_object_new_array();
    int rc;

    for (size_t i = 0; i < n; i++)
        json_object_array_add(array, row_of(&results[i]));
    rc = json_object_to_file_ext(path, array, JSON_C_TO_STRING_PRETTY);
    json_object_put(array);
    return rc;
}

static bool wanted(const char *name, char **names)
{
    if (*names == NULL)
        return true;
    for (; *names != NULL; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* -EINVAL: told what is meant. */
static int parse(char **argv, struct options *ret_options)
{
    struct options options = {0};

    for (argv++; *argv != NULL && (*argv)[0] == '-'; argv += 2) {
        if (argv[1] != NULL && strcmp(*argv, "--json") == 0) {
            options.json = argv[1];
        } else if (argv[1] != NULL && strcmp(*argv, "--peers") == 0) {
            options.peers = argv[1];
        } else {
            fprintf(stderr, "Usage: yoke-bench [--json FILE] [--peers DIRECTORY] [NAME...]\n");
            return -EINVAL;
        }
    }
    options.names = argv;
    *ret_options = options;
    return 0;
}

static void pin(void)
{
    cpu_set_t cpu;

    CPU_ZERO(&cpu);
    CPU_SET(0, &cpu);
    if (sched_setaffinity(0, sizeof cpu, &cpu) < 0)
        fprintf(stderr, "yoke-bench: not pinned: %s\n", strerror(errno));
}

int main(int argc, char **argv)
{
    static struct bench_result results[CASES_MAX];
    struct options options;
    size_t n = 0;
    int status = 0;

    yoke_serve_if_spawned(argc, argv);
    if (parse(argv, &options) < 0)
        return 2;
    pin();
    printf("medians of %d, of what takes a million tasks %d; pinned to one of %ld processors\n",
           BENCH_REPETITIONS, MILLION_REPETITIONS, sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct bench_case *of = tables[t].cases; of->name != NULL && n < CASES_MAX;
             of++) {
            if (!wanted(of->name, options.names))
                continue;
            if (run_case(of, &options, tables[t].repetitions, &results[n]) >= 0) {
                print_row(&results[n++]);
                continue;
            }
            fprintf(stderr, "yoke-bench: %s failed\n", of->name);
            yoke_report(stderr);
            status = 1;
        }
    if (options.json != NULL && write_json(options.json, results, n) < 0) {
        fprintf(stderr, "yoke-bench: %s: %s\n", options.json, json_util_get_last_err());
        status = 1;
    }
    return status;
}
