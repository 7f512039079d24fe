/* SPDX-License-Identifier: MIT */
/* For tests of subprocesses: command lines and options in place, and what their errors say. */
#ifndef YK_IO_SUBPROCESS_SUPPORT_H
#define YK_IO_SUBPROCESS_SUPPORT_H

#include "../tests/support/realrun.h"

#include <string.h>
#include <yoke/subprocess.h>

#define ARGV(...) ((const char *[]){__VA_ARGS__, NULL})
#define SH(text)  ARGV("sh", "-c", text)
#define CAPTURE                                                                                    \
    {                                                                                              \
        .kind = YOKE_STDIO_CAPTURE                                                                 \
    }
#define OPTS(...) (&(struct yoke_process_opts){__VA_ARGS__})

/* Catches what is in flight and compares the start of its message up to "(pid", and its end. */
static inline void expect_error(int rc, int code, const char *type, const char *start,
                                const char *end)
{
    struct yoke_error *error = yoke_catch();
    const char *message;

    yk_check_int(rc, code);
    yk_check(error != NULL);
    if (error == NULL)
        return;
    message = yoke_error_message(error);
    yk_check_text(yoke_error_type(error), type);
    if (strncmp(message, start, strlen(start)) != 0 || strstr(message, end) == NULL)
        yk_check_failed(__FILE__, __LINE__, "the message is \"%s\", not \"%s...%s\"", message,
                        start, end);
    yoke_error_unref(error);
}

#endif
