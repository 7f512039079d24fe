/* SPDX-License-Identifier: MIT */
/*
 * yoke-bench [--json FILE] [NAME...]: runs the cases, each value beside its floor in turn, and
 * prints a table of medians. All on one processor: what is compared must not differ by where it
 * ran.
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

enum { CASES_MAX = 64 };

struct timed {
    int (*operation)(long n);
    long n;
    double ns;
};

int64_t bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int bench_plain(int (*operation)(long n), long n, double *ret_ns)
{
    int64_t began;
    int rc = operation(n / 8 + 1); /* warms up */

    if (rc < 0)
        return rc;
    began = bench_now();
    rc = operation(n);
    *ret_ns = (double)(bench_now() - began) / (double)n;
    return rc;
}

static int run_timed(void *arg)
{
    struct timed *timed = arg;

    return bench_plain(timed->operation, timed->n, &timed->ns);
}

int bench_in_runtime(int (*operation)(long n), long n, double *ret_ns)
{
    struct timed timed = {.operation = operation, .n = n};
    int rc = yoke_run(run_timed, &timed, NULL);

    if (rc >= 0)
        *ret_ns = timed.ns;
    return rc < 0 ? rc : 0;
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

/* Value and floor in turn, so that both see the machine in the same mood. */
static int run_case(const struct bench_case *of, struct bench_result *result)
{
    double values[BENCH_REPETITIONS], floors[BENCH_REPETITIONS];
    int rc = 0;

    for (size_t i = 0; rc >= 0 && i < BENCH_REPETITIONS; i++) {
        rc = of->floor(&floors[i]);
        if (rc >= 0)
            rc = of->value(&values[i]);
    }
    if (rc < 0)
        return rc;
    result->of = of;
    result->value = bench_median(values, BENCH_REPETITIONS);
    result->floor = bench_median(floors, BENCH_REPETITIONS);
    result->ratio = of->more_is_better ? result->floor.median / result->value.median
                                       : result->value.median / result->floor.median;
    return 0;
}

static void print_row(const struct bench_result *result)
{
    printf("%-16s %12.2f %-10s (%.2f to %.2f)  floor %.2f  ratio %.2f  %s\n", result->of->name,
           result->value.median, result->of->unit, result->value.min, result->value.max,
           result->floor.median, result->ratio, result->of->floor_is);
    fflush(stdout);
}

static int write_json(const char *path, const struct bench_result *results, size_t n)
{
    struct json_object *array = json_object_new_array();
    int rc;

    for (size_t i = 0; i < n; i++) {
        struct json_object *row = json_object_new_object();

        json_object_object_add(row, "name", json_object_new_string(results[i].of->name));
        json_object_object_add(row, "value", json_object_new_double(results[i].value.median));
        json_object_object_add(row, "unit", json_object_new_string(results[i].of->unit));
        json_object_object_add(row, "floor", json_object_new_double(results[i].floor.median));
        json_object_object_add(row, "ratio", json_object_new_double(results[i].ratio));
        json_object_object_add(row, "peers", json_object_new_object());
        json_object_array_add(array, row);
    }
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

int main(int argc, char **argv)
{
    const struct bench_case *const tables[] = {bench_task_cases, bench_channel_cases,
                                               bench_echo_cases, bench_actor_cases};
    static struct bench_result results[CASES_MAX];
    const char *json = NULL;
    size_t n = 0;
    int status = 0;
    cpu_set_t cpu;

    yoke_serve_if_spawned(argc, argv);
    argv++;
    if (*argv != NULL && strcmp(*argv, "--json") == 0 && argv[1] != NULL) {
        json = argv[1];
        argv += 2;
    }
    CPU_ZERO(&cpu);
    CPU_SET(0, &cpu);
    if (sched_setaffinity(0, sizeof cpu, &cpu) < 0)
        fprintf(stderr, "yoke-bench: not pinned: %s\n", strerror(errno));
    printf("medians of %d, pinned to one of %ld processors\n", BENCH_REPETITIONS,
           sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++)
        for (const struct bench_case *of = tables[t]; of->name != NULL && n < CASES_MAX; of++) {
            if (!wanted(of->name, argv))
                continue;
            if (run_case(of, &results[n]) >= 0) {
                print_row(&results[n++]);
                continue;
            }
            fprintf(stderr, "yoke-bench: %s failed\n", of->name);
            yoke_report(stderr);
            status = 1;
        }
    if (json != NULL && write_json(json, results, n) < 0) {
        fprintf(stderr, "yoke-bench: %s: %s\n", json, json_util_get_last_err());
        status = 1;
    }
    return status;
}
