/* SPDX-License-Identifier: MIT */
/*
 * One side of a recorded link, played on a socket: its frames are sent as they were, and what comes
 * from the other side, which is a real actor, must say the same as what was recorded, message by
 * message. Identities and dialogs have other names in each run: a recorded one that the real actor
 * has another name for is replaced by that, in what is sent and in what is expected.
 *
 * Blocking and without a runtime: the player is no actor. What does not fit ends the process with a
 * message (PLAY_FAILED).
 */
#ifndef YK_TESTS_TRANSCRIPTS_SCRIPT_H
#define YK_TESTS_TRANSCRIPTS_SCRIPT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/message.h"
#include "wire/transcript_support.h"

enum { PLAY_FAILED = 3, LINES_MAX = 2048, NAMES_MAX = 64, UUID_TEXT = 36 };

struct script_line {
    int line;
    bool from_root;
    unsigned char *bytes; /* a whole frame, owned */
    size_t size;
};

struct script {
    const char *file;
    char child[64]; /* the name of the child of the first link */
    char child_uuid[64];
    struct script_line lines[LINES_MAX];
    size_t n;
    struct {
        char recorded[UUID_TEXT + 1];
        char actual[64];
    } names[NAMES_MAX];
    size_t names_n;
};

_Noreturn static inline void play_failed(const struct script *script, int line, const char *what)
{
    fprintf(stderr, "%s:%d: %s\n", script->file, line, what);
    exit(PLAY_FAILED);
}

static inline void script_name(struct script *script, const char *recorded, const char *actual)
{
    for (size_t i = 0; i < script->names_n; i++)
        if (strcmp(script->names[i].recorded, recorded) == 0)
            return;
    if (script->names_n == NAMES_MAX || strlen(recorded) != UUID_TEXT)
        play_failed(script, 0, "too many names, or one that is no uuid");
    snprintf(script->names[script->names_n].recorded, UUID_TEXT + 1, "%s", recorded);
    snprintf(script->names[script->names_n].actual, 64, "%s", actual);
    script->names_n++;
}

/* The link of the root with its first child. */
static inline void script_visit(const struct yk_recorded_frame *frame, void *arg)
{
    struct script *script = arg;
    struct script_line *line = &script->lines[script->n];

    if (frame->conn != 0)
        return;
    if (script->n == LINES_MAX)
        play_failed(script, frame->line, "too long");
    line->line = frame->line;
    line->from_root = strncmp(frame->dir, "root->", 6) == 0;
    line->bytes = malloc(frame->size);
    memcpy(line->bytes, frame->bytes, frame->size);
    line->size = frame->size;
    script->n++;
    if (!line->from_root)
        snprintf(script->child, sizeof script->child, "%.*s",
                 (int)(strchr(frame->dir, '-') - frame->dir), frame->dir);
}

static inline void script_decode(const struct script *script, const struct script_line *line,
                                 struct yk_arena *arena, struct yk_message *ret)
{
    if (yk_message_decode(arena, line->bytes + 4, line->size - 4, ret) < 0)
        play_failed(script, line->line, "does not decode");
}

/* Requests to cancel what has ended are tractor's habit, not ours: left out, with their answers. */
static inline void script_drop_late_requests(struct script *script)
{
    char ended[NAMES_MAX][64], dropped[NAMES_MAX][64];
    size_t ended_n = 0, dropped_n = 0, kept = 0;

    for (size_t i = 0; i < script->n; i++) {
        struct yk_message message;
        struct yk_arena arena;
        char target[64] = "";
        bool drop = false;
        yk_text cid;

        yk_arena_init(&arena);
        script_decode(script, &script->lines[i], &arena, &message);
        cid = yk_message_cid(&message);
        if (message.type == YK_START && strcmp(message.as.start.func, "_cancel_task") == 0 &&
            yoke_value_text(yoke_value_get(message.as.start.kwargs, "cid"), "cid", target, 64) == 0)
            for (size_t e = 0; e < ended_n; e++)
                if (strcmp(ended[e], target) == 0)
                    snprintf(dropped[dropped_n++], 64, "%s", cid);
        for (size_t d = 0; cid != NULL && d < dropped_n; d++)
            drop = drop || strcmp(dropped[d], cid) == 0;
        if ((message.type == YK_RETURN || message.type == YK_ERROR) && cid != NULL)
            snprintf(ended[ended_n++ % NAMES_MAX], 64, "%s", cid);
        if (drop)
            free(script->lines[i].bytes);
        else
            script->lines[kept++] = script->lines[i];
        yk_arena_fini(&arena);
    }
    script->n = kept;
}

static inline struct script *script_load(const char *file)
{
    struct script *script = calloc(1, sizeof *script);
    struct yk_message message;
    struct yk_arena arena;

    script->file = file;
    yk_transcript_each(file, script_visit, script);
    for (size_t i = 0; i < 2; i++) {
        yk_arena_init(&arena);
        script_decode(script, &script->lines[i], &arena, &message);
        if (!script->lines[i].from_root)
            snprintf(script->child_uuid, sizeof script->child_uuid, "%s", message.as.aid.uuid);
        yk_arena_fini(&arena);
    }
    return script;
}

static inline void script_free(struct script *script)
{
    for (size_t i = 0; i < script->n; i++)
        free(script->lines[i].bytes);
    free(script);
}

/* The frame with the names of this run; each is a string of its own in it. */
static inline unsigned char *script_renamed(const struct script *script,
                                            const struct script_line *line, size_t *ret_size)
{
    unsigned char *out = malloc(line->size * 2 + 64);
    size_t n = 0, body;

    for (size_t i = 0; i < line->size;) {
        const char *actual = NULL;

        for (size_t k = 0; k < script->names_n && i + 2 + UUID_TEXT <= line->size; k++)
            if (line->bytes[i] == 0xd9 && line->bytes[i + 1] == UUID_TEXT &&
                memcmp(&line->bytes[i + 2], script->names[k].recorded, UUID_TEXT) == 0)
                actual = script->names[k].actual;
        if (actual == NULL) {
            out[n++] = line->bytes[i++];
            continue;
        }
        out[n++] = 0xd9;
        out[n++] = (unsigned char)strlen(actual);
        memcpy(out + n, actual, strlen(actual));
        n += strlen(actual);
        i += 2 + UUID_TEXT;
    }
    body = n - 4;
    for (int i = 0; i < 4; i++)
        out[i] = (unsigned char)(body >> (8 * i));
    *ret_size = n;
    return out;
}

static inline void script_send(const struct script *script, const struct script_line *line, int fd)
{
    size_t size, sent = 0;
    unsigned char *bytes = script_renamed(script, line, &size);

    while (sent < size) {
        ssize_t n = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);

        if (n < 0)
            play_failed(script, line->line, "the actor takes no more");
        sent += (size_t)n;
    }
    free(bytes);
}

static inline bool read_whole(int fd, void *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = recv(fd, (char *)data + done, size - done, 0);

        if (n <= 0)
            return false;
        done += (size_t)n;
    }
    return true;
}

/* The next frame; NULL at the end. */
static inline unsigned char *read_frame(int fd, size_t *ret_size)
{
    unsigned char head[4];
    unsigned char *frame;

    if (!read_whole(fd, head, 4))
        return NULL;
    *ret_size = 4 + ((size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16);
    frame = malloc(*ret_size);
    memcpy(frame, head, 4);
    if (!read_whole(fd, frame + 4, *ret_size - 4)) {
        free(frame);
        return NULL;
    }
    return frame;
}

static inline bool same_text(yk_text a, yk_text b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static inline bool same_uid(struct yk_uid a, struct yk_uid b)
{
    return same_text(a.name, b.name) && same_text(a.uuid, b.uuid);
}

static inline bool same_start(const struct yk_start *a, const struct yk_start *b)
{
    return same_text(a->ns, b->ns) && same_text(a->func, b->func) && same_uid(a->uid, b->uid) &&
           same_text(a->pld_spec, b->pld_spec) && yoke_value_equal(a->kwargs, b->kwargs);
}

/* Texts are for persons; where it came from, and why, is not. */
static inline bool same_error(const struct yk_error_message *a, const struct yk_error_message *b)
{
    return same_text(a->src_type_str, b->src_type_str) &&
           same_text(a->boxed_type_str, b->boxed_type_str) && same_uid(a->src_uid, b->src_uid) &&
           yoke_value_equal(a->relay_path, b->relay_path) && a->has_canceller == b->has_canceller &&
           (!a->has_canceller || same_uid(a->canceller, b->canceller)) && b->tb_str[0] != '\0';
}

static inline bool same_message(const struct yk_message *recorded, const struct yk_message *actual)
{
    if (recorded->type != actual->type ||
        !same_text(yk_message_cid(recorded), yk_message_cid(actual)))
        return false;
    switch (recorded->type) {
    case YK_AID:
        return same_text(recorded->as.aid.name, actual->as.aid.name) && actual->as.aid.has_pid;
    case YK_SPAWN_SPEC:
        return yoke_value_get(actual->as.spawn_spec.enable_modules, "capmod").type == YOKE_STR;
    case YK_START:
        return same_start(&recorded->as.start, &actual->as.start);
    case YK_START_ACK:
        return same_text(recorded->as.start_ack.functype, actual->as.start_ack.functype);
    case YK_CANCEL_ACK:
        return recorded->as.cancel_ack.pld == actual->as.cancel_ack.pld;
    case YK_ERROR:
        return same_error(&recorded->as.error, &actual->as.error);
    case YK_STARTED:
    case YK_YIELD:
    case YK_RETURN:
        return yoke_value_equal(recorded->as.payload.pld, actual->as.payload.pld);
    default:
        return true;
    }
}

/* Nothing but what tractor's types have: encoding what was understood gives the same bytes. */
static inline bool is_plain(const struct yk_message *message, const unsigned char *frame,
                            size_t size)
{
    struct yk_buffer buffer;
    bool same;

    if (message->type == YK_AID)
        return true; /* it offers the extensions */
    yk_buffer_init(&buffer);
    same = yk_message_encode(&buffer, message, false) == 0 && yk_buffer_size(&buffer) == size &&
           memcmp(buffer.data + buffer.start, frame, size) == 0;
    yk_buffer_fini(&buffer);
    return same;
}

/* A new identity or dialog of the real actor. */
static inline void learn_name(struct script *script, const struct script_line *line,
                              const struct yk_message *actual)
{
    struct yk_message recorded;
    struct yk_arena arena;

    yk_arena_init(&arena);
    script_decode(script, line, &arena, &recorded);
    if (recorded.type == YK_AID && actual->type == YK_AID)
        script_name(script, recorded.as.aid.uuid, actual->as.aid.uuid);
    if (recorded.type == YK_START && actual->type == YK_START)
        script_name(script, recorded.as.start.cid, actual->as.start.cid);
    yk_arena_fini(&arena);
}

static inline const char *shown(const struct yk_message *message)
{
    static char text[2][256];
    static int turn;
    const struct yk_error_message *error = &message->as.error;

    turn = !turn;
    snprintf(text[turn], sizeof text[turn], "%s %s %s", yk_message_type_name(message->type),
             yk_message_cid(message) != NULL ? yk_message_cid(message) : "",
             message->type == YK_START   ? message->as.start.func
             : message->type == YK_ERROR ? error->src_type_str
                                         : "");
    return text[turn];
}

/* Receives what the real actor says and compares. A StartAck too many may be skipped. */
static inline void script_expect(struct script *script, const struct script_line *line, int fd,
                                 bool skip_ack)
{
    struct yk_message recorded, actual;
    struct yk_arena arena;
    struct script_line renamed = *line;
    unsigned char *frame;
    size_t size;

    yk_arena_init(&arena);
    frame = read_frame(fd, &size);
    if (frame == NULL)
        play_failed(script, line->line, "the actor has ended");
    if (yk_message_decode(&arena, frame + 4, size - 4, &actual) < 0)
        play_failed(script, line->line, "the actor sent what does not decode");
    learn_name(script, line, &actual);
    renamed.bytes = script_renamed(script, line, &renamed.size);
    script_decode(script, &renamed, &arena, &recorded);
    if (skip_ack && recorded.type == YK_ERROR && actual.type == YK_START_ACK) {
        script_expect(script, line, fd, false);
    } else if (!same_message(&recorded, &actual)) {
        fprintf(stderr, "recorded %s, the actor says %s\n", shown(&recorded), shown(&actual));
        play_failed(script, line->line, "not what was recorded");
    } else if (!is_plain(&actual, frame, size)) {
        play_failed(script, line->line, "it has more than a plain peer knows");
    }
    free(renamed.bytes);
    free(frame);
    yk_arena_fini(&arena);
}

/* Plays one side to its end, or through its StartAck or Started if it is to be killed then. */
static inline void script_play(struct script *script, int fd, bool as_root)
{
    bool killed = strstr(script->file, "sigkill") != NULL;
    bool skip_ack = strstr(script->file, "err_bad_kwargs") != NULL;
    bool greeted = false;
    size_t last = script->n;

    for (size_t i = 0; killed && i < script->n; i++)
        last = script->lines[i].from_root ? last : i + 1;
    for (size_t i = 0; i < last; i++) /* greetings cross: ours does not wait for the other's */
        if (script->lines[i].from_root == as_root && !greeted) {
            script_send(script, &script->lines[i], fd);
            greeted = true;
        }
    greeted = false;
    for (size_t i = 0; i < last; i++) {
        bool own = script->lines[i].from_root == as_root;

        if (own && greeted)
            script_send(script, &script->lines[i], fd);
        else if (!own)
            script_expect(script, &script->lines[i], fd, skip_ack);
        greeted = greeted || own;
    }
    if (killed && !as_root)
        raise(SIGKILL);
}

/* The name without transport: "ctx_cancel" of "tcp_ctx_cancel.jsonl". */
static inline const char *scenario_of(const char *file)
{
    static char name[64];

    snprintf(name, sizeof name, "%s", strchr(file, '_') + 1);
    name[strcspn(name, ".")] = '\0';
    return name;
}

#endif
