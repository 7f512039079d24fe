/* SPDX-License-Identifier: MIT */
/*
 * Messages of errors and notes: printf formats into bounded text.
 *
 * Formatting is what a raise costs most. A printf of our own for plain directives made it a third
 * faster, and was decided against: it is the C library's to write, and a raise is fast enough.
 *
 * Runs on any stack.
 */
#include <stdio.h>
#include <string.h>

#include "error/error.h"

#define CUT "..."

size_t yk_format_cut(char *text, size_t size)
{
    size_t n = size - sizeof CUT;

    for (int i = 0; i < 3 && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80; i++)
        n--;
    memcpy(text + n, CUT, sizeof CUT);
    return n + sizeof CUT - 1;
}

size_t yk_format(char *text, size_t size, const char *format, va_list arguments)
{
    int n = format == NULL ? -1 : vsnprintf(text, size, format, arguments);

    if (n < 0)
        *text = '\0';
    return n < 0 ? 0 : (size_t)n >= size ? yk_format_cut(text, size) : (size_t)n;
}
