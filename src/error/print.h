/* SPDX-License-Identifier: MIT */
/* Printing errors and causes as text: what print.c and print_cause.c share. */
#ifndef YK_ERROR_PRINT_H
#define YK_ERROR_PRINT_H

#include "error/error.h"

struct yk_printer {
    FILE *out;
    int flags;
    char host[65];                  /* ours; actors of other hosts are printed with theirs */
    const struct yoke_error **seen; /* printed in full already */
    size_t seen_n;
    size_t seen_capacity;
};

enum { YK_PRINT_ONE_LINE = 0 };

/* The length of the well-formed UTF-8 character at the front, 0 if there is none (RFC 3629). */
size_t yk_character_size(const unsigned char *text, size_t n);

/*
 * Text that may come from a peer, so that it can't steer a terminal: control characters, and bytes
 * that are not UTF-8, are shown as \xNN. A newline is followed by `indent` spaces, or shown too if
 * that is YK_PRINT_ONE_LINE.
 */
void yk_print_text(struct yk_printer *printer, const char *text, unsigned indent);

/* "task app in root[9d03b7]@4700 on host", as far as known; false if nothing is. */
bool yk_print_who(struct yk_printer *printer, uint64_t task_id, const char *task_name,
                  const struct yoke_actor_id *actor);
bool yk_print_actor(struct yk_printer *printer, const struct yoke_actor_id *actor);

bool yk_is_known_actor(const struct yoke_actor_id *actor);

/* "app.c:31" after `lead`; nothing if there is no file. */
void yk_print_place(struct yk_printer *printer, const char *lead, const char *file, int line);

/*
 * A source path without the way up from a build directory: "app.c" for what gcc calls "../app.c"
 * and clang "/home/me/app/build/../app.c".
 */
const char *yk_short_path(const char *file);

/* "app.BadJob: job 3 is not ok (EINVAL)" */
void yk_print_brief(struct yk_printer *printer, const struct yoke_error *error, unsigned indent);

/* One "because" line a hop, each ended by a newline, from `cause` itself on. */
void yk_print_chain(struct yk_printer *printer, const struct yoke_cause *cause, unsigned indent,
                    unsigned depth);

/* What a hop says, without newline. */
void yk_print_hop(struct yk_printer *printer, const struct yoke_cause *cause);

/* The cause that a chain goes on with behind an error; NULL if there is none. */
const struct yoke_cause *yk_cause_behind(const struct yoke_error *error);

/* Runs `print` into memory, then writes it to `stream` at once. 0 or -errno. */
int yk_print_whole(FILE *stream, int flags, void (*print)(struct yk_printer *, const void *),
                   const void *what);

#endif
