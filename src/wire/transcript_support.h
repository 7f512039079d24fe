/* SPDX-License-Identifier: MIT */
/* For tests: the recorded frames of tests/wire/transcripts, one by one. */
#ifndef YK_WIRE_TRANSCRIPT_SUPPORT_H
#define YK_WIRE_TRANSCRIPT_SUPPORT_H

#include <stddef.h>

struct json_object;

struct yk_recorded_frame {
    const char *file; /* name of the transcript */
    int line;
    int conn;                   /* number of the connection within the scenario */
    const char *dir;            /* "sender->receiver" */
    const unsigned char *bytes; /* length and body */
    size_t size;
    struct json_object *msg; /* the body as the recorder decoded it */
};

/* Calls visit for each frame of a transcript; returns how many there were. Exits on a broken file.
 */
size_t yk_transcript_each(const char *file,
                          void (*visit)(const struct yk_recorded_frame *frame, void *arg),
                          void *arg);

/* The same for all transcripts, in the order of their names. */
size_t yk_transcripts_each(void (*visit)(const struct yk_recorded_frame *frame, void *arg),
                           void *arg);

/* Calls visit with the name of each transcript, in order; returns how many there were. */
size_t yk_transcript_names(void (*visit)(const char *file, void *arg), void *arg);

#endif
