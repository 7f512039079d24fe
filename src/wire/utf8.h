/* SPDX-License-Identifier: MIT */
/* UTF-8: what a str on the wire must be. Python peers refuse a frame with a str that is not. */
#ifndef YK_WIRE_UTF8_H
#define YK_WIRE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes at the front are well-formed UTF-8: n if all of them are. */
size_t yk_utf8_prefix(const char *text, size_t n);

static inline bool yk_utf8_valid(const char *text, size_t n)
{
    return yk_utf8_prefix(text, n) == n;
}

#endif
