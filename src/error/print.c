/* SPDX-License-Identifier: MIT */
/*
 * Errors as text for people: one chain over tasks and processes.
 *
 *   error: app.Order: can't place it (EIO)
 *     at order.c:31, in place, task app in root[9d03b7]@4700
 *     because error: app.BadJob: job 3 is not ok (EINVAL)
 *       at job.c:12, in fetch, task fetch in worker[4f1c2a]@4711
 *     suppressed cancelled: task app in root[9d03b7]@4700
 *       because  OS signal SIGINT from pid 812 (uid 1000)
 *
 * It is rendered in memory and written by one call, so that reports of several processes don't
 * run into each other. An error that is reached twice is printed once and then referred to. Runs on
 * task stacks: recursion is bounded by YK_ERROR_TREE_DEPTH_MAX, frames are small, and symbols are
 * looked up elsewhere.
 */
#include "error/print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

const char *yk_short_path(const char *file)
{
    const char *up;

    while ((up = strstr(file, "/../")) != NULL)
        file = up + 4;
    for (;;) {
        if (strncmp(file, "../", 3) == 0)
            file += 3;
        else if (strncmp(file, "./", 2) == 0)
            file += 2;
        else
            return file;
    }
}

static void print_indent(struct yk_printer *printer, unsigned indent)
{
    fprintf(printer->out, "%*s", (int)indent, "");
}

size_t yk_character_size(const unsigned char *text, size_t n)
{
    size_t size = text[0] < 0x80 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    unsigned second_min = 0x80;
    unsigned second_max = 0xbf;

    if (size == 1)
        return 1;
    if (text[0] < 0xc2 || text[0] > 0xf4 || size > n)
        return 0;
    if (text[0] == 0xe0)
        second_min = 0xa0;
    else if (text[0] == 0xed)
        second_max = 0x9f;
    else if (text[0] == 0xf0)
        second_min = 0x90;
    else if (text[0] == 0xf4)
        second_max = 0x8f;
    if (text[1] < second_min || text[1] > second_max)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

/*
 * C0, DEL, and C1 as UTF-8: what terminals obey. Then what ends a line, or turns its direction, in
 * Unicode: U+2028 to U+202E and U+2066 to U+2069. The text is a whole character.
 */
static bool is_control(const unsigned char *text)
{
    if (text[0] == 0xe2 && text[1] == 0x80)
        return text[2] >= 0xa8 && text[2] <= 0xae;
    if (text[0] == 0xe2 && text[1] == 0x81)
        return text[2] >= 0xa6 && text[2] <= 0xa9;
    return text[0] < 0x20 || text[0] == 0x7f || (text[0] == 0xc2 && text[1] < 0xa0);
}

static void print_text(struct yk_printer *printer, const char *text, size_t size, unsigned indent)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *end = at + size;

    while (at < end) {
        size_t n = yk_character_size(at, (size_t)(end - at));

        if (*at == '\n' && indent != YK_PRINT_ONE_LINE) {
            fputc('\n', printer->out);
            print_indent(printer, indent);
            at++;
        } else if (n == 0 || (is_control(at) && (*at != '\t' || indent == YK_PRINT_ONE_LINE))) {
            for (n = n == 0 ? 1 : n; n > 0; n--)
                fprintf(printer->out, "\\x%02x", *at++);
        } else {
            fwrite(at, 1, n, printer->out);
            at += n;
        }
    }
}

void yk_print_text(struct yk_printer *printer, const char *text, unsigned indent)
{
    print_text(printer, text, strlen(text), indent);
}

bool yk_is_known_actor(const struct yoke_actor_id *actor)
{
    return actor->name[0] != '\0' || actor->uuid[0] != '\0' || actor->pid != 0;
}

bool yk_print_actor(struct yk_printer *printer, const struct yoke_actor_id *actor)
{
    if (!yk_is_known_actor(actor))
        return false;
    yk_print_text(printer, actor->name[0] == '\0' ? "?" : actor->name, YK_PRINT_ONE_LINE);
    if (actor->uuid[0] != '\0') {
        char start[7];

        YK_TEXT_COPY(start, actor->uuid);
        fputc('[', printer->out);
        yk_print_text(printer, start, YK_PRINT_ONE_LINE);
        fputc(']', printer->out);
    }
    if (actor->pid != 0)
        fprintf(printer->out, "@%" PRIi32, actor->pid);
    if (actor->host[0] != '\0' && strcmp(actor->host, printer->host) != 0) {
        fputs(" on ", printer->out);
        yk_print_text(printer, actor->host, YK_PRINT_ONE_LINE);
    }
    return true;
}

bool yk_print_who(struct yk_printer *printer, uint64_t task_id, const char *task_name,
                  const struct yoke_actor_id *actor)
{
    bool task = task_id != 0 || task_name[0] != '\0';

    if (task) {
        fputs("task ", printer->out);
        yk_print_text(printer, task_name[0] == '\0' ? "?" : task_name, YK_PRINT_ONE_LINE);
        if (yk_is_known_actor(actor))
            fputs(" in ", printer->out);
    }
    return yk_print_actor(printer, actor) || task;
}

void yk_print_brief(struct yk_printer *printer, const struct yoke_error *error, unsigned indent)
{
    yk_print_text(printer, error->type, YK_PRINT_ONE_LINE);
    if (error->message[0] != '\0') {
        fputs(": ", printer->out);
        yk_print_text(printer, error->message, indent);
    }
    fprintf(printer->out, " (%s)", yoke_strcode(error->code));
}

/* The error that a runtime makes of a peer's cancellation: its message names its task and actor. */
static bool is_peer_cancelled(const struct yoke_error *error)
{
    return error->code == YOKE_EPEERCANCELLED && error->task_name[0] != '\0' &&
           strcmp(error->type, "yoke.ContextCancelled") == 0;
}

/* "app.BadJob: job 3 is not ok (EIO)"; a peer's cancellation with the names and ids of the peer. */
static void print_what(struct yk_printer *printer, const struct yoke_error *error, unsigned indent)
{
    if (!is_peer_cancelled(error)) {
        yk_print_brief(printer, error, indent);
        return;
    }
    yk_print_text(printer, error->type, YK_PRINT_ONE_LINE);
    fputs(": ", printer->out);
    yk_print_who(printer, error->task_id, error->task_name, &error->actor);
    fprintf(printer->out, " was cancelled (%s)", yoke_strcode(error->code));
}

/* A Cancelled of ours, or one that a peer sent. */
static bool is_any_cancelled(const struct yoke_error *error)
{
    return error->code == YOKE_CANCELLED;
}

/* "error: ..." or "cancelled: task ...", without newline. */
static void print_headline(struct yk_printer *printer, const struct yoke_error *error,
                           unsigned indent)
{
    if (!is_any_cancelled(error)) {
        fputs("error: ", printer->out);
        print_what(printer, error, indent + 4);
        return;
    }
    fputs("cancelled: ", printer->out);
    if (!yk_print_who(printer, error->task_id, error->task_name, &error->actor))
        fputs("outside a task", printer->out);
}

/* "at job.c:12, in fetch, task fetch in worker[4f1c2a]@4711", as far as known. */
static void print_where(struct yk_printer *printer, const struct yoke_error *error, unsigned indent)
{
    bool site = error->site.file[0] != '\0';
    bool who = !is_peer_cancelled(error) && (error->task_id != 0 || error->task_name[0] != '\0' ||
                                             yk_is_known_actor(&error->actor));

    if (!site && !who)
        return;
    print_indent(printer, indent);
    if (site) {
        yk_print_place(printer, "at ", error->site.file, error->site.line);
        if (error->site.function[0] != '\0') {
            fputs(", in ", printer->out);
            yk_print_text(printer, error->site.function, YK_PRINT_ONE_LINE);
        }
    }
    if (who) {
        fputs(site ? ", " : "in ", printer->out);
        yk_print_who(printer, error->task_id, error->task_name, &error->actor);
    }
    fputc('\n', printer->out);
}

/* The source is said above; what is left of the path is who passed it on. */
static void print_relay(struct yk_printer *printer, const struct yoke_error *error, unsigned indent)
{
    size_t n = yoke_error_relay_count(error);

    if (n < 2)
        return;
    print_indent(printer, indent);
    fputs("by way of ", printer->out);
    for (size_t i = 1; i < n; i++) {
        if (i > 1)
            fputs(", ", printer->out);
        if (!yk_print_actor(printer, yoke_error_relay(error, i)))
            fputc('?', printer->out);
    }
    fputc('\n', printer->out);
}

static void print_notes(struct yk_printer *printer, const struct yoke_error *error, unsigned indent)
{
    for (size_t i = 0; i < error->notes_n; i++) {
        print_indent(printer, indent);
        fputs("note: ", printer->out);
        yk_print_text(printer, error->notes[i], indent + 4);
        fputc('\n', printer->out);
    }
}

static void print_backtrace(struct yk_printer *printer, const struct yoke_error *error,
                            unsigned indent)
{
    const char *text = yoke_error_traceback(error);
    char *own = NULL;
    size_t n;

    /* A Cancelled that an error carries tells why; where the task was then, the error tells. */
    if ((printer->flags & YOKE_PRINT_BACKTRACE) == 0 || (indent > 2 && is_any_cancelled(error)))
        return;
    if (text[0] == '\0' && error->frames_n > 0)
        text = own = yk_backtrace_text(error->frames, error->frames_n);
    n = text == NULL ? 0 : strlen(text);
    /* Each newline inside is followed by the indent; one at the end must not be. */
    while (n > 0 && text[n - 1] == '\n')
        n--;
    if (n > 0) {
        print_indent(printer, indent);
        fputs("backtrace:\n", printer->out);
        print_indent(printer, indent + 2);
        print_text(printer, text, n, indent + 2);
        fputc('\n', printer->out);
    }
    free(own);
}

static bool was_seen(const struct yk_printer *printer, const struct yoke_error *error)
{
    for (size_t i = 0; i < printer->seen_n; i++)
        if (printer->seen[i] == error)
            return true;
    return false;
}

/* False without memory: then nothing more is printed in full, or a shared part could grow without
 * bound. */
static bool remember(struct yk_printer *printer, const struct yoke_error *error)
{
    if (printer->seen_n == printer->seen_capacity) {
        size_t capacity = printer->seen_capacity == 0 ? 16 : printer->seen_capacity * 2;
        const struct yoke_error **seen = yk_realloc(printer->seen, capacity * sizeof(*seen));

        if (seen == NULL)
            return false;
        printer->seen = seen;
        printer->seen_capacity = capacity;
    }
    printer->seen[printer->seen_n++] = error;
    return true;
}

static void print_error(struct yk_printer *printer, const struct yoke_error *error,
                        const char *lead, unsigned depth);

static void print_carried(struct yk_printer *printer, const struct yoke_error *error,
                          unsigned depth)
{
    unsigned indent = depth * 2;

    if (error->because != NULL)
        print_error(printer, error->because, "because ", depth);
    if (error->context != NULL)
        print_error(printer, error->context,
                    is_any_cancelled(error->context) ? "while " : "while handling ", depth);
    for (size_t i = 0; i < error->suppressed.n; i++)
        print_error(printer, error->suppressed.items[i], "suppressed ", depth);
    if (error->suppressed_left_out > 0) {
        print_indent(printer, indent);
        fprintf(printer->out, "suppressed %zu more that were not kept\n",
                error->suppressed_left_out);
    }
    for (size_t i = 0; i < error->members.n; i++) {
        char lead[64];

        snprintf(lead, sizeof lead, "%zu of %zu: ", i + 1, error->members.n);
        print_error(printer, error->members.items[i], lead, depth);
    }
}

static void print_causes(struct yk_printer *printer, const struct yoke_error *error,
                         unsigned indent)
{
    const struct yoke_cause *cause = yoke_error_cause(error);

    if (cause != NULL)
        yk_print_chain(printer, cause, indent, 0);
    for (size_t i = 0; i < error->inner_causes_n; i++) {
        print_indent(printer, indent);
        fputs("and inside it  ", printer->out);
        yk_print_hop(printer, error->inner_causes[i]);
        fputc('\n', printer->out);
        yk_print_chain(printer, error->inner_causes[i]->because, indent + 2, 0);
    }
}

static void print_error(struct yk_printer *printer, const struct yoke_error *error,
                        const char *lead, unsigned depth)
{
    unsigned indent = depth * 2 + 2;

    print_indent(printer, depth * 2);
    fputs(lead, printer->out);
    print_headline(printer, error, depth * 2);
    if (was_seen(printer, error)) {
        fputs(", see above\n", printer->out);
        return;
    }
    if (depth >= YK_ERROR_TREE_DEPTH_MAX || !remember(printer, error)) {
        fputs(", more of it is left out\n", printer->out);
        return;
    }
    fputc('\n', printer->out);
    if (!is_any_cancelled(error))
        print_where(printer, error, indent);
    print_relay(printer, error, indent);
    print_notes(printer, error, indent);
    print_causes(printer, error, indent);
    print_backtrace(printer, error, indent);
    print_carried(printer, error, depth + 1);
}

static void print_one_line(struct yk_printer *printer, const struct yoke_error *error)
{
    const struct yoke_cause *cause = yoke_error_cause(error);

    if (is_any_cancelled(error)) {
        print_headline(printer, error, 0);
    } else {
        print_what(printer, error, YK_PRINT_ONE_LINE);
        yk_print_place(printer, ", ", error->site.file, error->site.line);
        if (!is_peer_cancelled(error) && (error->task_id != 0 || error->task_name[0] != '\0' ||
                                          yk_is_known_actor(&error->actor))) {
            fputs(", ", printer->out);
            yk_print_who(printer, error->task_id, error->task_name, &error->actor);
        }
    }
    if (cause != NULL) {
        fputs(", because ", printer->out);
        yk_print_hop(printer, cause);
    }
    fputc('\n', printer->out);
}

static void print_from_top(struct yk_printer *printer, const void *what)
{
    if ((printer->flags & YOKE_PRINT_BRIEF) != 0)
        print_one_line(printer, what);
    else
        print_error(printer, what, "", 0);
}

static void printer_init(struct yk_printer *printer, int flags)
{
    const struct yoke_actor_id *here = yk_locus()->actor;

    memset(printer, 0, sizeof *printer);
    printer->flags = flags;
    if (here->host[0] != '\0')
        YK_TEXT_COPY(printer->host, here->host);
    else if (gethostname(printer->host, sizeof printer->host - 1) != 0)
        printer->host[0] = '\0';
}

int yk_print_whole(FILE *stream, int flags, void (*print)(struct yk_printer *, const void *),
                   const void *what)
{
    struct yk_printer printer;
    char *text = NULL;
    size_t size = 0;
    int rc = 0;

    printer_init(&printer, flags);
    printer.out = open_memstream(&text, &size);
    if (printer.out == NULL)
        return -ENOMEM;
    print(&printer, what);
    free(printer.seen);
    if (fclose(printer.out) != 0)
        rc = -ENOMEM;
    /* tidy-allow errno: read right after the call that set it; no task switch can be in between */
    errno = 0; /* musl does not set it for a stream that can't be written to */
    if (rc == 0 && (fwrite(text, 1, size, stream) != size || fflush(stream) != 0))
        rc = errno > 0 ? -errno : -EIO; /* tidy-allow errno: as above */
    free(text);
    return rc;
}

int yoke_error_print(const struct yoke_error *error, FILE *stream, int flags)
{
    return yk_print_whole(stream, flags, print_from_top, error);
}

void yk_error_report(struct yoke_error *error, FILE *stream)
{
    /* Without memory to render it the least is said that a person needs. */
    if (yoke_error_print(error, stream, YOKE_PRINT_BACKTRACE) == -ENOMEM)
        fprintf(stream, "error: %s: %s (%s)\n", error->type, error->message,
                yoke_strcode(error->code));
    yk_error_absorb(error);
}
