/* SPDX-License-Identifier: MIT */
/*
 * What a new process says on stderr before it is up: passed on to our stderr, its end kept for the
 * error of a start that fails.
 */
#ifndef YK_IO_TAIL_H
#define YK_IO_TAIL_H

#include "base/limits.h"
#include "io/fd.h"

struct yk_tail {
    bool open;
    struct yk_fd fd; /* owns the reading end */
    int write_fd;    /* for the child; -1: none */
    size_t size;
    char text[YK_PROCESS_TAIL];
};

/* Without descriptors for it, or without a stderr, nothing is kept. */
void yk_tail_open(struct yk_tail *tail);
void yk_tail_close(struct yk_tail *tail);

/* Passes on what there is; does not wait. */
void yk_tail_drain(struct yk_tail *tail);

/* Task body: passes on what comes, until its end. 0 or YOKE_CANCELLED. */
int yk_tail_pass_on(void *tail);

/* Adds a note with what was kept. */
struct yoke_error;
void yk_tail_note(const struct yk_tail *tail, struct yoke_error *error);

#endif
