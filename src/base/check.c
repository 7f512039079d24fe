/* SPDX-License-Identifier: MIT */
/*
 * Failed assertions and misuse. Runs on whatever stack found the fault, so it uses little of it
 * and no allocation: formatted output goes straight to descriptor 2.
 */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void (*yk_check_state_hook)(void);

static _Noreturn void print_state_and_abort(void)
{
    /* The hook may itself fail an assertion; the second failure must not run it again. */
    void (*hook)(void) = yk_check_state_hook;

    yk_check_state_hook = NULL;
    if (hook != NULL)
        hook();
    abort();
}

_Noreturn void yk_assert_failed(const char *expression, const char *file, int line,
                                const char *function)
{
    dprintf(2, "yoke: assertion failed: %s\n  at: %s:%d, in %s\n", expression, file, line,
            function);
    print_state_and_abort();
}

_Noreturn void yk_misuse(const struct yoke_site *here, const char *other_label,
                         const struct yoke_site *other, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dprintf(2, "yoke: misuse: %s\n", text);
    if (here != NULL)
        dprintf(2, "  here: %s:%d, in %s\n", here->file, here->line, here->function);
    if (other != NULL)
        dprintf(2, "  %s: %s:%d, in %s\n", other_label, other->file, other->line, other->function);
    print_state_and_abort();
}
