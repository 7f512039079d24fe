/* SPDX-License-Identifier: MIT */
/*
 * Assertions of our own, on in release builds too, and the abort for misuse of the public API.
 * Data from outside (peers, the kernel) is never asserted on. What is printed beside the message
 * (task, scopes, error in flight, seed) comes from a hook that upper layers install.
 */
#ifndef YK_BASE_CHECK_H
#define YK_BASE_CHECK_H

#include <yoke/common.h>

#define yk_assert(expression)                                                                      \
    (__builtin_expect(!!(expression), 1)                                                           \
         ? (void)0                                                                                 \
         : yk_assert_failed(#expression, __FILE__, __LINE__, __func__))

_Noreturn void yk_assert_failed(const char *expression, const char *file, int line,
                                const char *function);

/*
 * Misuse of the API that can't be an error result: prints "yoke: misuse: <text>", then
 * "  here: file:line, in function" and, if `other` is given, "  <other_label>: file:line, in
 * function", then the hook's state, and aborts.
 */
_Noreturn void yk_misuse(const struct yoke_site *here, const char *other_label,
                         const struct yoke_site *other, const char *format, ...) YOKE_PRINTF(4, 5);

/* Prints the state of the calling thread's task to stderr; installed by task/, NULL before. */
extern void (*yk_check_state_hook)(void);

#endif
