/* SPDX-License-Identifier: MIT */
/*
 * Messages of errors and notes: printf formats into bounded text.
 *
 * Formatting is what a raise costs most, and vsnprintf spends its time on setting up a stream that
 * it then writes to by single characters. So formats of plain text and the directives that messages
 * are made of (%s and integers in decimal, without flags, width or precision) are written here, to
 * the letter as vsnprintf would; whatever else a format contains sends the whole of it there.
 *
 * Runs on any stack.
 */
#include <stdio.h>
#include <string.h>

#include "error/error.h"

#define CUT "..."

struct output {
    char *at;
    char *end; /* one place is kept behind it for the NUL */
    bool cut;
};

static void put(struct output *output, const char *text, size_t n)
{
    size_t room = (size_t)(output->end - output->at);

    if (n > room) {
        n = room;
        output->cut = true;
    }
    memcpy(output->at, text, n);
    output->at += n;
}

static void put_unsigned(struct output *output, unsigned long long number, bool negative)
{
    char digits[24];
    char *first = digits + sizeof digits;

    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    if (negative)
        *--first = '-';
    put(output, first, (size_t)(digits + sizeof digits - first));
}

static void put_signed(struct output *output, long long number)
{
    /* Negated as unsigned, since the least number has no positive counterpart. */
    put_unsigned(output, number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number,
                 number < 0);
}

enum size { INT, LONG, LONG_LONG, SIZE };

/* Reads a length modifier, if there is one. */
static enum size read_size(const char **format)
{
    if (**format == 'z') {
        ++*format;
        return SIZE;
    }
    if (**format != 'l')
        return INT;
    ++*format;
    if (**format != 'l')
        return LONG;
    ++*format;
    return LONG_LONG;
}

static long long next_signed(va_list *arguments, enum size size)
{
    switch (size) {
    case INT:
        return va_arg(*arguments, int);
    case LONG:
        return va_arg(*arguments, long);
    case LONG_LONG:
        return va_arg(*arguments, long long);
    default:
        return va_arg(*arguments, ssize_t);
    }
}

static unsigned long long next_unsigned(va_list *arguments, enum size size)
{
    switch (size) {
    case INT:
        return va_arg(*arguments, unsigned);
    case LONG:
        return va_arg(*arguments, unsigned long);
    case LONG_LONG:
        return va_arg(*arguments, unsigned long long);
    default:
        return va_arg(*arguments, size_t);
    }
}

/* One directive, from behind its '%'; NULL if it is not one of the plain ones. */
static const char *put_directive(struct output *output, const char *format, va_list *arguments)
{
    enum size size = read_size(&format);
    const char *text;

    switch (*format) {
    case 'd':
    case 'i':
        put_signed(output, next_signed(arguments, size));
        return format + 1;
    case 'u':
        put_unsigned(output, next_unsigned(arguments, size), false);
        return format + 1;
    case 's':
        text = size == INT ? va_arg(*arguments, const char *) : NULL;
        if (text == NULL)
            return NULL; /* wide text, or what libc prints for NULL */
        put(output, text, strlen(text));
        return format + 1;
    default:
        return NULL;
    }
}

/* False if the format has more than plain directives; then the output means nothing. */
static bool format_plain(struct output *output, const char *format, va_list *arguments)
{
    while (format != NULL && !output->cut) {
        while (*format != '\0' && *format != '%' && output->at < output->end)
            *output->at++ = *format++;
        if (*format == '\0')
            return true;
        if (*format == '%')
            format = put_directive(output, format + 1, arguments);
        else
            output->cut = true;
    }
    return format != NULL;
}

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
    struct output output = {text, text + size - 1, false};
    va_list copy;
    bool plain;
    int n;

    *text = '\0';
    if (format == NULL)
        return 0;
    va_copy(copy, arguments);
    plain = format_plain(&output, format, &copy);
    va_end(copy);
    if (plain) {
        *output.at = '\0';
        return output.cut ? yk_format_cut(text, size) : (size_t)(output.at - text);
    }
    n = vsnprintf(text, size, format, arguments);
    if (n < 0) {
        *text = '\0';
        return 0;
    }
    return (size_t)n >= size ? yk_format_cut(text, size) : (size_t)n;
}
