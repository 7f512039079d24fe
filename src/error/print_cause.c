/* SPDX-License-Identifier: MIT */
/*
 * Causes as text: one "because" line a hop, from the latest request back to its origin. A hop of
 * the os layer that names the scope it cancelled is two lines, the scope's and the signal's: what
 * was hit, and by what. Stacks and bounds as in print.c.
 */
#include "error/print.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#define NAME(number) [number] = #number

static const char *const signal_names[] = {
    NAME(SIGHUP),    NAME(SIGINT),  NAME(SIGQUIT),  NAME(SIGILL),  NAME(SIGTRAP), NAME(SIGABRT),
    NAME(SIGBUS),    NAME(SIGFPE),  NAME(SIGKILL),  NAME(SIGUSR1), NAME(SIGSEGV), NAME(SIGUSR2),
    NAME(SIGPIPE),   NAME(SIGALRM), NAME(SIGTERM),  NAME(SIGCHLD), NAME(SIGCONT), NAME(SIGSTOP),
    NAME(SIGTSTP),   NAME(SIGTTIN), NAME(SIGTTOU),  NAME(SIGURG),  NAME(SIGXCPU), NAME(SIGXFSZ),
    NAME(SIGVTALRM), NAME(SIGPROF), NAME(SIGWINCH), NAME(SIGIO),   NAME(SIGPWR),  NAME(SIGSYS),
};

enum { NESTED_CHAINS_MAX = 8 }; /* errors that led to causes that led to errors */

void yk_print_place(struct yk_printer *printer, const char *lead, const char *file, int line)
{
    if (file[0] == '\0')
        return;
    fputs(lead, printer->out);
    yk_print_text(printer, yk_short_path(file), YK_PRINT_ONE_LINE);
    fprintf(printer->out, ":%d", line);
}

/* "by task app in root[9d03b7]@4700, app.c:31" */
static void print_requester(struct yk_printer *printer, const char *lead,
                            const struct yoke_requester *requester)
{
    fputs(lead, printer->out);
    if (!yk_print_who(printer, requester->task_id, requester->task_name, &requester->actor))
        fputs("a thread outside", printer->out);
    yk_print_place(printer, ", ", requester->file, requester->line);
}

/* 'scope "fetch" (app.c:20)' */
static void print_scope(struct yk_printer *printer, const char *word,
                        const struct yoke_scope_info *scope)
{
    fputs(word, printer->out);
    if (scope->name[0] != '\0') {
        fputs(" \"", printer->out);
        yk_print_text(printer, scope->name, YK_PRINT_ONE_LINE);
        fputc('"', printer->out);
    }
    if (scope->file[0] != '\0') {
        yk_print_place(printer, " (", scope->file, scope->line);
        fputc(')', printer->out);
    }
}

static void print_scope_owner(struct yk_printer *printer, const struct yoke_cause *cause)
{
    const struct yoke_scope_info *scope = &cause->scope;

    if (scope->id != 0 && yk_print_who(printer, scope->task_id, scope->task_name, &scope->actor))
        return;
    if (!yk_print_actor(printer, &cause->requester.actor))
        fputs("a thread outside", printer->out);
}

static void print_signal(struct yk_printer *printer, const struct yoke_cause *cause)
{
    const struct yoke_signal_info *signal = &cause->signal;
    size_t n = sizeof signal_names / sizeof *signal_names;

    fputs("OS signal ", printer->out);
    if (!cause->has_signal) {
        fputs("of unknown number", printer->out);
        return;
    }
    if (signal->number > 0 && (size_t)signal->number < n && signal_names[signal->number] != NULL)
        fputs(signal_names[signal->number], printer->out);
    else
        fprintf(printer->out, "%d", signal->number);
    if (signal->pid == 0)
        fputs(" from the kernel (terminal)", printer->out);
    else
        fprintf(printer->out, " from pid %" PRIi32 " (uid %" PRIu32 ")", signal->pid, signal->uid);
}

static bool is_own_scope(const struct yoke_cause *cause)
{
    return cause->scope.id == 0 ||
           (cause->scope.task_id == cause->requester.task_id && cause->requester.task_id != 0);
}

/* 'cancel of scope "fetch" (app.c:20) of task main by task other in root[9d03b7]@4700, app.c:31' */
static void print_scope_cancel(struct yk_printer *printer, const struct yoke_cause *cause)
{
    print_scope(printer, "cancel of scope", &cause->scope);
    if (!is_own_scope(cause) && cause->scope.task_name[0] != '\0') {
        fputs(" of task ", printer->out);
        yk_print_text(printer, cause->scope.task_name, YK_PRINT_ONE_LINE);
    }
    print_requester(printer, " by ", &cause->requester);
}

static void print_body_failure(struct yk_printer *printer, const struct yoke_cause *cause)
{
    print_scope(printer, "body of nursery", &cause->scope);
    fputs(" failed in ", printer->out);
    print_scope_owner(printer, cause);
}

static void print_child_failure(struct yk_printer *printer, const struct yoke_cause *cause)
{
    const struct yoke_requester *child = &cause->requester;

    if (!yk_print_who(printer, child->task_id, child->task_name, &child->actor))
        fputs("a task", printer->out);
    print_scope(printer, " failed in nursery", &cause->scope);
}

/* What a context's peer did; it is the requester, without a place of its own. */
static void print_peer(struct yk_printer *printer, const struct yoke_requester *peer,
                       const char *what)
{
    fputs("context's peer", printer->out);
    if (peer->task_name[0] != '\0' || peer->actor.name[0] != '\0') {
        fputs(", ", printer->out);
        yk_print_who(printer, peer->task_id, peer->task_name, &peer->actor);
        fputc(',', printer->out);
    }
    fputs(what, printer->out);
}

/* The requester is the supervisor of the actor that is cancelled: what it works for is said. */
static void print_actor_nursery(struct yk_printer *printer, const struct yoke_requester *requester)
{
    fputs("actor cancel by the actor nursery of ", printer->out);
    if (!yk_print_actor(printer, &requester->actor))
        fputs("its parent", printer->out);
    yk_print_place(printer, ", ", requester->file, requester->line);
}

static void print_request(struct yk_printer *printer, const struct yoke_cause *cause)
{
    const struct yoke_requester *requester = &cause->requester;

    switch (cause->kind) {
    case YOKE_CAUSE_SCOPE:
        print_scope_cancel(printer, cause);
        break;
    case YOKE_CAUSE_DEADLINE:
        print_scope(printer, "deadline of scope", &cause->scope);
        fputs(" expired in ", printer->out);
        print_scope_owner(printer, cause);
        break;
    case YOKE_CAUSE_CHILD_FAILED:
        print_child_failure(printer, cause);
        break;
    case YOKE_CAUSE_BODY_FAILED:
        print_body_failure(printer, cause);
        break;
    case YOKE_CAUSE_RUNTIME_ENDED:
        fputs("the main task ended in ", printer->out);
        print_scope_owner(printer, cause);
        break;
    case YOKE_CAUSE_DEADLOCK:
        fputs("deadlock in ", printer->out);
        print_scope_owner(printer, cause);
        break;
    case YOKE_CAUSE_CONTEXT:
        print_requester(printer, "context cancel by ", requester);
        break;
    case YOKE_CAUSE_OPENER_LEFT:
        print_requester(printer, "context cancel by its opener, ", requester);
        break;
    case YOKE_CAUSE_PEER_RAISED:
        print_peer(printer, requester, " failed");
        break;
    case YOKE_CAUSE_PEER_CANCELLED:
        print_peer(printer, requester, " was cancelled");
        break;
    case YOKE_CAUSE_LINK_LOST:
        print_requester(printer, "link lost to ", requester);
        break;
    case YOKE_CAUSE_ACTOR:
        print_requester(printer, "actor cancel by ", requester);
        break;
    case YOKE_CAUSE_ACTOR_NURSERY:
        print_actor_nursery(printer, requester);
        break;
    case YOKE_CAUSE_ACTOR_SELF:
        print_requester(printer, "actor cancel by its own ", requester);
        break;
    case YOKE_CAUSE_ACTOR_DIED:
        print_requester(printer, "an actor died, noticed by ", requester);
        break;
    case YOKE_CAUSE_RESTART:
        print_requester(printer, "restarted by its supervisor, ", requester);
        break;
    case YOKE_CAUSE_SIGNAL:
        print_signal(printer, cause);
        break;
    case YOKE_CAUSE_PARENT_LOST:
        fputs("parent process lost", printer->out);
        break;
    default:
        print_requester(printer, "cancel by ", requester);
    }
}

/* False for a reason that the runtime made up from what the hop, or the one behind it, says. */
static bool reason_says_more(const struct yoke_cause *cause)
{
    if (cause->reason == NULL)
        return false;
    if (cause->kind == YOKE_CAUSE_PEER_CANCELLED && cause->because != NULL)
        return false;
    return cause->error == NULL || strcmp(cause->reason, cause->error->message) != 0;
}

/* The error that led to a request, and who raised it unless that is who has asked. */
static void print_led(struct yk_printer *printer, const struct yoke_cause *cause)
{
    const struct yoke_requester *requester = &cause->requester;
    const struct yoke_error *error = cause->error;

    fputs(": ", printer->out);
    yk_print_brief(printer, error, YK_PRINT_ONE_LINE);
    yk_print_place(printer, ", ", error->site.file, error->site.line);
    if (strcmp(error->task_name, requester->task_name) == 0 &&
        strcmp(error->actor.uuid, requester->actor.uuid) == 0 &&
        error->actor.pid == requester->actor.pid)
        return;
    if (error->task_name[0] == '\0' && !yk_is_known_actor(&error->actor))
        return;
    fputs(", ", printer->out);
    yk_print_who(printer, error->task_id, error->task_name, &error->actor);
}

void yk_print_hop(struct yk_printer *printer, const struct yoke_cause *cause)
{
    print_request(printer, cause);
    if (reason_says_more(cause)) {
        fputs(": \"", printer->out);
        yk_print_text(printer, cause->reason, YK_PRINT_ONE_LINE);
        fputc('"', printer->out);
    }
    if (cause->error != NULL)
        print_led(printer, cause);
}

static void print_because(struct yk_printer *printer, unsigned indent)
{
    fprintf(printer->out, "%*sbecause  ", (int)indent, "");
}

static void print_hit_scope(struct yk_printer *printer, const struct yoke_cause *cause,
                            unsigned indent)
{
    const struct yoke_scope_info *scope = &cause->scope;

    print_because(printer, indent);
    fputs("scope of ", printer->out);
    yk_print_text(printer, scope->task_name[0] == '\0' ? scope->name : scope->task_name,
                  YK_PRINT_ONE_LINE);
    fputs(" cancelled", printer->out);
    if (scope->actor.name[0] != '\0') {
        fputs(" in ", printer->out);
        yk_print_actor(printer, &scope->actor);
    }
    fputc('\n', printer->out);
}

const struct yoke_cause *yk_cause_behind(const struct yoke_error *error)
{
    const struct yoke_error *around[] = {error->because, error->context};

    if (error->cause != NULL)
        return error->cause;
    for (size_t i = 0; i < sizeof around / sizeof *around; i++)
        if (around[i] != NULL && around[i]->cause != NULL)
            return around[i]->cause;
    return NULL;
}

void yk_print_chain(struct yk_printer *printer, const struct yoke_cause *cause, unsigned indent,
                    unsigned depth)
{
    for (; cause != NULL; cause = cause->because) {
        const struct yoke_cause *behind =
            cause->error == NULL ? NULL : yk_cause_behind(cause->error);

        if (cause->layer == YOKE_LAYER_OS && cause->scope.id != 0)
            print_hit_scope(printer, cause, indent);
        print_because(printer, indent);
        yk_print_hop(printer, cause);
        fputc('\n', printer->out);
        /* The way on through the error, unless the chain itself goes that way. */
        if (behind != NULL && behind != cause->because && depth < NESTED_CHAINS_MAX)
            yk_print_chain(printer, behind, indent + 2, depth + 1);
        if (cause->hops_left_out > 0) {
            print_because(printer, indent);
            fprintf(printer->out, "... (%u left out) ...\n", cause->hops_left_out);
        }
    }
}

static void print_from_top(struct yk_printer *printer, const void *what)
{
    if ((printer->flags & YOKE_PRINT_BRIEF) == 0) {
        yk_print_chain(printer, what, 0, 0);
        return;
    }
    yk_print_hop(printer, what);
    fputc('\n', printer->out);
}

int yoke_cause_print(const struct yoke_cause *cause, FILE *stream, int flags)
{
    return yk_print_whole(stream, flags, print_from_top, cause);
}
