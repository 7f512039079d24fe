/* SPDX-License-Identifier: MIT */
/*
 * The task tree as one JSON object: tasks and their scopes in a flat list, a task refers to its
 * nursery by the id of its scope. Written by hand, so that it is there without json-c; only a cause
 * is then its first line of text and not an object.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/dump.h>

#include "task/dump.h"

void yk_json_text(FILE *out, const char *text)
{
    if (text == NULL) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

static void print_site(FILE *out, const char *key, const struct yoke_site *site)
{
    fprintf(out, ",\"%s\":", key);
    if (site == NULL) {
        fputs("null", out);
        return;
    }
    fputs("{\"file\":", out);
    yk_json_text(out, site->file);
    fprintf(out, ",\"line\":%d,\"function\":", site->line);
    yk_json_text(out, site->function);
    fputc('}', out);
}

static void print_cause(FILE *out, const struct yoke_cause *cause)
{
    char *json = cause == NULL ? NULL : yoke_cause_json(cause, 0);

    fputs(",\"cause\":", out);
    if (json != NULL)
        fputs(json, out);
    else
        yk_json_text(out, cause == NULL ? NULL : yoke_cause_kind_name(yoke_cause_kind(cause)));
    free(json);
}

static void print_scope(FILE *out, const struct yk_census *census,
                        const struct yk_census_scope *scope)
{
    fprintf(out, "{\"id\":%" PRIu64 ",\"name\":", scope->id);
    yk_json_text(out, scope->name);
    fprintf(out, ",\"nursery\":%s,\"shield\":%s,\"cancelled\":%s",
            scope->nursery ? "true" : "false", scope->shield ? "true" : "false",
            scope->effective ? "true" : "false");
    print_site(out, "opened_at", scope->site);
    if (scope->deadline_ns == YOKE_NEVER)
        fputs(",\"deadline_in_ns\":null", out);
    else
        fprintf(out, ",\"deadline_in_ns\":%" PRId64, scope->deadline_ns - census->now_ns);
    print_cause(out, scope->cause);
    fputc('}', out);
}

static void print_backtrace(FILE *out, const struct yk_census_task *task)
{
    char *text = yk_backtrace_text(task->frames, task->frames_n);
    char *rest = text;
    const char *comma = "";

    fputs(",\"backtrace\":[", out);
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL;) {
        if (line[0] == '\0')
            continue;
        fputs(comma, out);
        yk_json_text(out, line);
        comma = ",";
    }
    fputc(']', out);
    free(text);
}

static void print_flight(FILE *out, const struct yk_census_task *task)
{
    const struct yoke_error *error = task->in_flight;

    fputs(",\"in_flight\":", out);
    if (error == NULL && task->pending == NULL) {
        fputs("null", out);
        return;
    }
    fputs("{\"type\":", out);
    yk_json_text(out, error != NULL ? yoke_error_type(error) : "yoke.Cancelled");
    fprintf(out,
            ",\"code\":%d,\"message\":", error != NULL ? yoke_error_errno(error) : YOKE_CANCELLED);
    yk_json_text(out, error != NULL ? yoke_error_message(error) : "");
    print_cause(out, error != NULL ? yoke_error_cause(error) : task->pending);
    fputc('}', out);
}

static const char *state_name(enum yk_task_state state)
{
    return state == YK_TASK_PARKED ? "parked" : state == YK_TASK_RUNNING ? "running" : "ready";
}

static void print_task(FILE *out, const struct yk_census *census, const struct yk_census_task *task,
                       int flags)
{
    fprintf(out, "{\"id\":%" PRIu64 ",\"name\":", task->id);
    yk_json_text(out, task->name);
    fprintf(out, ",\"nursery\":%" PRIu64 ",\"state\":\"%s\",\"waiting_for\":", task->nursery_id,
            state_name(task->state));
    yk_json_text(out, task->state == YK_TASK_PARKED ? task->waiting_for : NULL);
    if (task->state != YK_TASK_PARKED)
        fputs(",\"waiting_ns\":null", out);
    else
        fprintf(out, ",\"waiting_ns\":%" PRId64, census->now_ns - task->since_ns);
    print_site(out, "spawned_at", task->site);
    fprintf(out, ",\"stack_size\":%zu,\"stack_resident\":", task->stack_size);
    if (census->with_stacks)
        fprintf(out, "%zu", task->stack_resident);
    else
        fputs("null", out);
    if ((flags & YOKE_DUMP_NO_BACKTRACE) == 0)
        print_backtrace(out, task);
    print_flight(out, task);
    fputs(",\"scopes\":[", out);
    for (size_t i = 0; i < task->scopes_n; i++) {
        if (i > 0)
            fputc(',', out);
        print_scope(out, census, &task->scopes[i]);
    }
    fputs("]}", out);
}

void yk_census_print_json(FILE *out, const struct yk_census *census, int flags)
{
    fputs("{\"actor\":{\"name\":", out);
    yk_json_text(out, census->actor.name);
    fputs(",\"uuid\":", out);
    yk_json_text(out, census->actor.uuid);
    fputs(",\"host\":", out);
    yk_json_text(out, census->actor.host);
    fprintf(out,
            ",\"pid\":%" PRId32 "},\"task_count\":%zu,\"root_nursery\":%" PRIu64 ",\"tasks\":[",
            census->actor.pid, census->task_n, census->root_id);
    for (size_t i = 0; i < census->tasks_n; i++) {
        if (i > 0)
            fputs(",\n", out);
        print_task(out, census, &census->tasks[i], flags);
    }
    fputs("]}\n", out);
}
