/* SPDX-License-Identifier: MIT */
/* Bounded copies of text into fixed fields. */
#ifndef YK_BASE_TEXT_H
#define YK_BASE_TEXT_H

#include <string.h>

/* Copies what fits and ends it with NUL; source NULL is "". */
static inline void yk_text_copy(char *destination, size_t size, const char *source)
{
    size_t n = source == NULL ? 0 : strlen(source);

    if (n >= size)
        n = size - 1;
    if (n > 0)
        memcpy(destination, source, n);
    destination[n] = '\0';
}

#define YK_TEXT_COPY(field, source) yk_text_copy((field), sizeof(field), (source))

#endif
