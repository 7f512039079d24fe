/* SPDX-License-Identifier: MIT */
/*
 * The grammar of dialogs, as doc/protocol.md has it, checked against every recorded link: who says
 * what when, and that each dialog has one end. Played transcripts (transcripts_play_test.c) are
 * compared message by message with these, so the grammar holds for our actors too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/message.h"
#include "wire/transcript_support.h"

enum { DIALOGS_MAX = 256, CONNS_MAX = 32, SIDE_MAX = 64 };

/* How far a dialog is. */
enum stage { ASKED = 1, ACKNOWLEDGED, STARTED, ENDED };

struct dialog {
    char cid[64];
    int conn;
    char requester[SIDE_MAX];
    bool is_cancel; /* a cancel request: its end is CancelAck */
    bool context, generator;
    bool stopped_by_requester, stopped_by_callee;
    enum stage stage;
};

struct grammar {
    const struct yk_recorded_frame *frame;
    struct dialog dialogs[DIALOGS_MAX];
    size_t dialogs_n;
    size_t greeted[CONNS_MAX]; /* Aids of a connection */
    size_t ends;
};

static _Noreturn void breach(const struct grammar *grammar, const char *what)
{
    fail_msg("%s:%d: %s", grammar->frame->file, grammar->frame->line, what);
    abort();
}

static void need(const struct grammar *grammar, bool holds, const char *rule)
{
    if (!holds)
        breach(grammar, rule);
}

static struct dialog *dialog_find(struct grammar *grammar, const char *cid)
{
    for (size_t i = 0; i < grammar->dialogs_n; i++)
        if (grammar->dialogs[i].conn == grammar->frame->conn &&
            strcmp(grammar->dialogs[i].cid, cid) == 0)
            return &grammar->dialogs[i];
    return NULL;
}

static void sender_of(const struct yk_recorded_frame *frame, char *name)
{
    snprintf(name, SIDE_MAX, "%.*s", (int)(strstr(frame->dir, "->") - frame->dir), frame->dir);
}

/* The recorder calls the second of two actors of the same name "root2". */
static bool is_name_of(const char *sender, const char *name)
{
    size_t n = strlen(sender);

    return strncmp(sender, name, n) == 0 ||
           (sender[n - 1] == '2' && strncmp(sender, name, n - 1) == 0);
}

static void start(struct grammar *grammar, const struct yk_start *message, const char *sender)
{
    struct dialog *dialog = &grammar->dialogs[grammar->dialogs_n];

    need(grammar, grammar->dialogs_n < DIALOGS_MAX, "too many dialogs");
    need(grammar, dialog_find(grammar, message->cid) == NULL, "a cid is used twice");
    need(grammar, is_name_of(sender, message->uid.name), "Start.uid is not its sender");
    snprintf(dialog->cid, sizeof dialog->cid, "%s", message->cid);
    snprintf(dialog->requester, sizeof dialog->requester, "%s", sender);
    dialog->conn = grammar->frame->conn;
    dialog->is_cancel =
        strcmp(message->ns, "self") == 0 &&
        (strcmp(message->func, "cancel") == 0 || strcmp(message->func, "_cancel_task") == 0);
    dialog->stage = ASKED;
    grammar->dialogs_n++;
}

static void end(struct grammar *grammar, struct dialog *dialog)
{
    need(grammar, dialog->stage != ENDED, "a second end");
    dialog->stage = ENDED;
    grammar->ends++;
}

static void acknowledged(struct grammar *grammar, struct dialog *dialog,
                         const struct yk_start_ack *ack)
{
    need(grammar, dialog->stage == ASKED, "StartAck is not the first answer");
    dialog->context = strcmp(ack->functype, "context") == 0;
    dialog->generator = strcmp(ack->functype, "asyncgen") == 0;
    /* What is no context has no first value: it has started. */
    dialog->stage = dialog->context ? ACKNOWLEDGED : STARTED;
}

/* What the side says that runs the endpoint. */
static void from_callee(struct grammar *grammar, struct dialog *dialog,
                        const struct yk_message *message)
{
    need(grammar, dialog->stage != ENDED, "something after the end");
    switch (message->type) {
    case YK_START_ACK:
        acknowledged(grammar, dialog, &message->as.start_ack);
        break;
    case YK_STARTED:
        need(grammar, dialog->context && dialog->stage == ACKNOWLEDGED, "Started out of place");
        dialog->stage = STARTED;
        break;
    case YK_YIELD:
    case YK_STOP:
        need(grammar, dialog->stage == STARTED && (dialog->context || dialog->generator),
             "a stream before it started, or where there is none");
        need(grammar, !dialog->stopped_by_callee, "something behind Stop");
        dialog->stopped_by_callee = message->type == YK_STOP;
        if (message->type == YK_STOP && dialog->generator)
            end(grammar, dialog);
        break;
    case YK_RETURN:
        need(grammar, dialog->stage == STARTED && !dialog->is_cancel, "Return before Started");
        end(grammar, dialog);
        break;
    case YK_CANCEL_ACK:
        need(grammar, dialog->stage == STARTED && dialog->is_cancel, "CancelAck for no request");
        end(grammar, dialog);
        break;
    case YK_ERROR:
        if (strcmp(message->as.error.boxed_type_str, "StreamOverrun") != 0)
            end(grammar, dialog);
        break;
    default:
        breach(grammar, "no message of a dialog");
    }
}

/* What the side may say that has asked; its words may cross the end. */
static void from_requester(struct grammar *grammar, struct dialog *dialog,
                           const struct yk_message *message)
{
    switch (message->type) {
    case YK_YIELD:
    case YK_STOP:
        need(grammar, dialog->context && dialog->stage >= STARTED, "a stream that is not open");
        need(grammar, !dialog->stopped_by_requester, "something behind Stop");
        dialog->stopped_by_requester = message->type == YK_STOP;
        break;
    case YK_ERROR:
        need(grammar, strcmp(message->as.error.src_type_str, "StreamOverrun") == 0,
             "an Error of the requester that tells of no overrun");
        break;
    default:
        breach(grammar, "not for the requester to say");
    }
}

static void in_dialog(struct grammar *grammar, const struct yk_message *message, const char *sender)
{
    yk_text cid = yk_message_cid(message);
    struct dialog *dialog = cid == NULL ? NULL : dialog_find(grammar, cid);

    if (message->type == YK_ERROR && cid == NULL)
        return; /* last words of a link */
    need(grammar, dialog != NULL, "a dialog that nobody has started");
    if (strcmp(sender, dialog->requester) == 0)
        from_requester(grammar, dialog, message);
    else
        from_callee(grammar, dialog, message);
}

static void visit(const struct yk_recorded_frame *frame, void *arg)
{
    struct grammar *grammar = arg;
    struct yk_message message;
    char sender[SIDE_MAX];
    struct yk_arena arena;

    yk_arena_init(&arena);
    grammar->frame = frame;
    need(grammar, frame->conn >= 0 && frame->conn < CONNS_MAX, "too many connections");
    sender_of(frame, sender);
    assert_int_equal(yk_message_decode(&arena, frame->bytes + 4, frame->size - 4, &message), 0);
    if (message.type == YK_AID) {
        need(grammar, ++grammar->greeted[frame->conn] <= 2, "a third Aid");
        need(grammar, message.as.aid.is_probe || is_name_of(sender, message.as.aid.name),
             "an Aid of somebody else");
    } else {
        need(grammar, grammar->greeted[frame->conn] == 2, "something before both Aids");
        if (message.type == YK_START)
            start(grammar, &message.as.start, sender);
        else if (message.type != YK_SPAWN_SPEC)
            in_dialog(grammar, &message, sender);
    }
    yk_arena_fini(&arena);
}

/* Where processes were killed, crash, or repeat requests that nobody answers, ends are missing. */
static bool leaves_open(const char *file)
{
    static const char *const names[] = {"sigkill",  "self_nofunc", "nested",        "overrun",
                                        "registry", "peer",        "cancel_nursery"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(file, names[i]) != NULL)
            return true;
    return false;
}

static void a_recorded_link_follows_the_grammar(void **state)
{
    const char *file = *state;
    struct grammar *grammar = calloc(1, sizeof *grammar);

    assert_non_null(grammar);
    yk_transcript_each(file, visit, grammar);
    assert_true(grammar->dialogs_n > 0);
    if (!leaves_open(file))
        assert_int_equal(grammar->ends, grammar->dialogs_n);
    free(grammar);
}

static struct CMUnitTest tests[DIALOGS_MAX];
static size_t tests_n;

static void add(const char *file, void *arg)
{
    char *copy = strdup(file);

    (void)arg;
    if (copy == NULL || tests_n == DIALOGS_MAX)
        exit(EXIT_FAILURE);
    tests[tests_n++] =
        (struct CMUnitTest){copy, a_recorded_link_follows_the_grammar, NULL, NULL, copy};
}

int main(void)
{
    int failed;

    yk_transcript_names(add, NULL);
    failed = _cmocka_run_group_tests("grammar of recorded links", tests, tests_n, NULL, NULL);
    for (size_t i = 0; i < tests_n; i++)
        free(tests[i].initial_state);
    return failed;
}
