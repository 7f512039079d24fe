/* SPDX-License-Identifier: MIT */
/* A census as text for people, and as JSON. */
#ifndef YK_TASK_DUMP_H
#define YK_TASK_DUMP_H

#include <stdio.h>

#include "task/census.h"

/* `flags` as of yoke_dump. 0 or -errno of the stream; -ENOMEM. Needs more stack than a task has. */
int yk_census_print(const struct yk_census *census, FILE *stream, int flags);

/* The first task alone, with where it is and its scopes. As yk_census_print. */
int yk_census_print_first(const struct yk_census *census, FILE *stream);

/* The tree of up to tasks_max tasks with backtraces, malloc'ed; NULL: no memory. */
char *yk_dump_text(struct yoke_runtime *runtime, size_t tasks_max);

/* "350 ms", "2.1 s", "3 min 20 s"; negative ones with a minus. */
enum { YK_DURATION_SIZE = 32 };
void yk_duration_text(int64_t duration_ns, char *text);

/* Text as a JSON string, with its quotes; NULL is null. */
void yk_json_text(FILE *out, const char *text);

/* The JSON of a census; for yk_census_print. */
void yk_census_print_json(FILE *out, const struct yk_census *census, int flags);

#endif
