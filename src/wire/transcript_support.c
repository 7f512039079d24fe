/* SPDX-License-Identifier: MIT */
/*
 * Reads the transcripts: a JSON object a line, of which those with `ev` = "msg" hold a frame in
 * hex. Test code: anything unexpected in a file that is part of the repository ends the test.
 */
#include "wire/transcript_support.h"

#include <dirent.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Noreturn void broken(const char *file, int line, const char *problem)
{
    fprintf(stderr, "%s/%s:%d: %s\n", YK_TRANSCRIPT_DIR, file, line, problem);
    exit(EXIT_FAILURE);
}

static unsigned char *bytes_of(const char *hex, size_t *ret_size)
{
    size_t size = strlen(hex) / 2;
    unsigned char *bytes = malloc(size > 0 ? size : 1);

    for (size_t i = 0; bytes != NULL && i < size; i++) {
        unsigned byte;

        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) {
            free(bytes);
            return NULL;
        }
        bytes[i] = (unsigned char)byte;
    }
    *ret_size = size;
    return bytes;
}

static size_t visit_line(const char *file, int line, const char *text,
                         void (*visit)(const struct yk_recorded_frame *frame, void *arg), void *arg)
{
    struct yk_recorded_frame frame = {.file = file, .line = line};
    struct json_object *event = json_tokener_parse(text);
    struct json_object *hex = json_object_object_get(event, "frame");
    unsigned char *bytes;

    if (event == NULL)
        broken(file, line, "not JSON");
    if (strcmp(json_object_get_string(json_object_object_get(event, "ev")), "msg") != 0) {
        json_object_put(event);
        return 0;
    }
    bytes = bytes_of(json_object_get_string(hex), &frame.size);
    frame.bytes = bytes;
    frame.conn = json_object_get_int(json_object_object_get(event, "conn"));
    frame.dir = json_object_get_string(json_object_object_get(event, "dir"));
    frame.msg = json_object_object_get(event, "msg");
    if (bytes == NULL || frame.msg == NULL)
        broken(file, line, "no frame");
    visit(&frame, arg);
    free(bytes);
    json_object_put(event);
    return 1;
}

size_t yk_transcript_each(const char *file,
                          void (*visit)(const struct yk_recorded_frame *frame, void *arg),
                          void *arg)
{
    char path[4096];
    char *text = NULL;
    size_t capacity = 0, n = 0;
    int line = 0;
    FILE *in;

    snprintf(path, sizeof path, "%s/%s", YK_TRANSCRIPT_DIR, file);
    in = fopen(path, "r");
    if (in == NULL)
        broken(file, 0, "can't be opened");
    while (getline(&text, &capacity, in) > 0)
        n += visit_line(file, ++line, text, visit, arg);
    free(text);
    fclose(in);
    return n;
}

static int is_transcript(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot != NULL && strcmp(dot, ".jsonl") == 0;
}

size_t yk_transcript_names(void (*visit)(const char *file, void *arg), void *arg)
{
    struct dirent **entries;
    int n = scandir(YK_TRANSCRIPT_DIR, &entries, is_transcript, alphasort);

    if (n < 0)
        broken("", 0, "can't be listed");
    for (int i = 0; i < n; i++) {
        visit(entries[i]->d_name, arg);
        free(entries[i]);
    }
    free(entries);
    return (size_t)n;
}

struct visitor {
    void (*visit)(const struct yk_recorded_frame *frame, void *arg);
    void *arg;
    size_t n;
};

static void visit_file(const char *file, void *arg)
{
    struct visitor *visitor = arg;

    visitor->n += yk_transcript_each(file, visitor->visit, visitor->arg);
}

size_t yk_transcripts_each(void (*visit)(const struct yk_recorded_frame *frame, void *arg),
                           void *arg)
{
    struct visitor visitor = {visit, arg, 0};

    yk_transcript_names(visit_file, &visitor);
    return visitor.n;
}
