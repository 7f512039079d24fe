/* SPDX-License-Identifier: MIT */
/*
 * The task tree as text:
 *
 *   task tree of root[9d03b7]@4700: 4 tasks
 *   task app (1) waits for nursery close since 2.0 s, spawned at stuck.c:80
 *       at stuck.c:71, in app
 *     nursery "jobs" (9), opened at stuck.c:60, deadline in 3.1 s
 *       task producer (10) waits for channel send since 2.0 s, spawned at stuck.c:62
 *           at stuck.c:22, in producer
 *         scope "careful" (14), opened at stuck.c:20, shield
 *
 * A task's open scopes are below it, outermost first, and the children of a nursery below that. It
 * is rendered in memory and written by one call. Runs on a stack with room for symbol lookup.
 */
#include "task/dump.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/dump.h>

#include "error/print.h"

enum { INDENT = 2, INDENT_BACKTRACE = 4 };

struct dump {
    struct yk_printer *printer;
    const struct yk_census *census;
    int flags;
};

void yk_duration_text(int64_t duration_ns, char *text)
{
    const char *sign = duration_ns < 0 ? "-" : "";
    uint64_t ms = (uint64_t)(duration_ns < 0 ? -duration_ns : duration_ns) / 1000000;

    if (ms < 1000)
        snprintf(text, YK_DURATION_SIZE, "%s%" PRIu64 " ms", sign, ms);
    else if (ms < 120000)
        snprintf(text, YK_DURATION_SIZE, "%s%" PRIu64 ".%" PRIu64 " s", sign, ms / 1000,
                 ms / 100 % 10);
    else
        snprintf(text, YK_DURATION_SIZE, "%s%" PRIu64 " min %" PRIu64 " s", sign, ms / 60000,
                 ms / 1000 % 60);
}

static void print_indent(struct dump *dump, unsigned indent)
{
    fprintf(dump->printer->out, "%*s", (int)indent, "");
}

static void print_site(struct dump *dump, const char *what, const struct yoke_site *site)
{
    if (site != NULL)
        fprintf(dump->printer->out, ", %s at %s:%d", what, site->file, site->line);
}

static void print_backtrace(struct dump *dump, const struct yk_census_task *task, unsigned indent)
{
    char *text, *rest;

    if ((dump->flags & YOKE_DUMP_NO_BACKTRACE) != 0 || task->frames_n == 0)
        return;
    text = yk_backtrace_text(task->frames, task->frames_n);
    rest = text;
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '\0')
            continue;
        print_indent(dump, indent);
        yk_print_text(dump->printer, line, YK_PRINT_ONE_LINE);
        fputc('\n', dump->printer->out);
    }
    free(text);
}

/* What it does, from the name on to the end of its first line. */
static void print_state(struct dump *dump, const struct yk_census_task *task)
{
    FILE *out = dump->printer->out;
    char since[YK_DURATION_SIZE];

    if (task->state == YK_TASK_PARKED) {
        yk_duration_text(dump->census->now_ns - task->since_ns, since);
        fprintf(out, " waits for %s since %s", task->waiting_for, since);
    } else if (task->state == YK_TASK_RUNNING) {
        fputs(" runs", out);
    } else {
        fputs(task->frames_n == 0 ? " has not run yet" : " is ready to run", out);
    }
    print_site(dump, "spawned", task->site);
    if (dump->census->with_stacks)
        fprintf(out, ", stack %zu of %zu KiB in memory", task->stack_resident / 1024,
                task->stack_size / 1024);
    fputc('\n', out);
}

static void print_flight(struct dump *dump, const struct yk_census_task *task, unsigned indent)
{
    FILE *out = dump->printer->out;

    if (task->in_flight == NULL && task->pending == NULL)
        return;
    print_indent(dump, indent);
    fputs("in flight: ", out);
    if (task->in_flight != NULL) {
        yk_print_brief(dump->printer, task->in_flight, indent + INDENT);
        print_site(dump, "raised", yoke_error_site(task->in_flight));
        fputc('\n', out);
        yk_print_chain(dump->printer, yoke_error_cause(task->in_flight), indent + INDENT, 0);
    } else {
        fputs("cancelled\n", out);
        yk_print_chain(dump->printer, task->pending, indent + INDENT, 0);
    }
}

static void print_scope(struct dump *dump, const struct yk_census_scope *scope, unsigned indent)
{
    FILE *out = dump->printer->out;
    char left[YK_DURATION_SIZE];

    print_indent(dump, indent);
    fputs(scope->nursery ? "nursery \"" : "scope \"", out);
    yk_print_text(dump->printer, scope->name, YK_PRINT_ONE_LINE);
    fprintf(out, "\" (%" PRIu64 ")", scope->id);
    print_site(dump, "opened", scope->site);
    if (scope->deadline_ns != YOKE_NEVER) {
        yk_duration_text(scope->deadline_ns - dump->census->now_ns, left);
        fprintf(out, ", deadline in %s", left);
    }
    if (scope->shield)
        fputs(", shield", out);
    if (scope->cause != NULL)
        fputs(", cancelled", out);
    else if (scope->effective)
        fputs(", cancelled from around it", out);
    fputc('\n', out);
    if (scope->cause != NULL)
        yk_print_chain(dump->printer, scope->cause, indent + INDENT, 0);
}

static void print_children(struct dump *dump, uint64_t nursery_id, unsigned depth);

static void print_task(struct dump *dump, const struct yk_census_task *task, unsigned depth)
{
    unsigned indent = depth * 2 * INDENT;

    print_indent(dump, indent);
    fputs("task ", dump->printer->out);
    yk_print_text(dump->printer, task->name, YK_PRINT_ONE_LINE);
    fprintf(dump->printer->out, " (%" PRIu64 ")", task->id);
    print_state(dump, task);
    print_backtrace(dump, task, indent + INDENT_BACKTRACE);
    print_flight(dump, task, indent + INDENT);
    for (size_t i = 0; i < task->scopes_n; i++) {
        print_scope(dump, &task->scopes[i], indent + INDENT);
        if (task->scopes[i].nursery && dump->census->tasks_n > 1)
            print_children(dump, task->scopes[i].id, depth + 1);
    }
}

static void print_children(struct dump *dump, uint64_t nursery_id, unsigned depth)
{
    const struct yk_census *census = dump->census;

    for (size_t i = 0; i < census->tasks_n; i++) {
        if (census->tasks[i].nursery_id != nursery_id)
            continue;
        if (depth > YK_DUMP_DEPTH_MAX) {
            print_indent(dump, depth * 2 * INDENT);
            fputs("(what is nested deeper is left out)\n", dump->printer->out);
            return;
        }
        print_task(dump, &census->tasks[i], depth);
    }
}

static void print_tree(struct yk_printer *printer, const void *what)
{
    struct dump *dump = (struct dump *)(uintptr_t)what;
    const struct yk_census *census = dump->census;

    dump->printer = printer;
    if ((dump->flags & YOKE_DUMP_JSON) != 0) {
        yk_census_print_json(printer->out, census, dump->flags);
        return;
    }
    fputs("task tree of ", printer->out);
    if (!yk_print_actor(printer, &census->actor))
        fputs("a runtime", printer->out);
    fprintf(printer->out, ": %zu task%s\n", census->task_n, census->task_n == 1 ? "" : "s");
    print_children(dump, census->root_id, 0);
    if (census->tasks_n < census->task_n)
        fprintf(printer->out, "and %zu more tasks\n", census->task_n - census->tasks_n);
}

int yk_census_print(const struct yk_census *census, FILE *stream, int flags)
{
    struct dump dump = {.census = census, .flags = flags};

    return yk_print_whole(stream, 0, print_tree, &dump);
}

static void print_first(struct yk_printer *printer, const void *what)
{
    struct dump *dump = (struct dump *)(uintptr_t)what;

    dump->printer = printer;
    print_task(dump, &dump->census->tasks[0], 0);
}

int yk_census_print_first(const struct yk_census *census, FILE *stream)
{
    struct dump dump = {.census = census};

    return yk_print_whole(stream, 0, print_first, &dump);
}

/* A print that is to happen on a stack with room for it. */
struct printing {
    const struct yk_census *census;
    FILE *stream;
    int flags;
    int rc;
};

static void print_there(void *arg)
{
    struct printing *printing = arg;

    printing->rc = yk_census_print(printing->census, printing->stream, printing->flags);
}

char *yk_dump_text(struct yoke_runtime *runtime, size_t tasks_max)
{
    struct yk_census census;
    char *text = NULL;
    size_t size;
    FILE *stream = open_memstream(&text, &size);
    int rc = stream == NULL ? -ENOMEM : yk_census_init(&census, tasks_max);

    if (rc == 0) {
        yk_census_take(&census, runtime, NULL);
        rc = yk_census_print(&census, stream, 0);
        yk_census_fini(&census);
    }
    if (stream != NULL && fclose(stream) != 0)
        rc = -ENOMEM;
    if (rc < 0) {
        free(text);
        return NULL;
    }
    return text;
}

int yoke_dump(FILE *stream, int flags)
{
    struct yoke_runtime *runtime = yk_runtime_current;
    struct yk_whereabouts here = {.frame = __builtin_frame_address(0)};
    struct yk_census census;
    struct printing printing = {.census = &census, .stream = stream, .flags = flags};
    int rc;

    if (runtime == NULL)
        return -EINVAL;
    rc = yk_census_init(&census, 0);
    if (rc < 0)
        return rc;
    census.with_stacks = (flags & YOKE_DUMP_STACKS) != 0;
    yk_census_take(&census, runtime, &here);
    yk_on_big_stack(print_there, &printing);
    yk_census_fini(&census);
    return printing.rc;
}
