/* SPDX-License-Identifier: MIT */
/*
 * UTF-8 validation as Unicode's table 3-7 has it: no overlong forms, no surrogates, nothing above
 * U+10FFFF. Pure; runs on any stack. Nearly all text on the wire is ASCII, so eight bytes at a time
 * are tried first; anything cleverer would not show up beside the copying of the frame.
 */
#include "wire/utf8.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the well-formed sequence at the front, which starts with a non-ASCII byte; 0 if none. */
static size_t sequence(const unsigned char *s, size_t n)
{
    unsigned char low = 0x80, high = 0xbf; /* of the second byte; the later ones take any */
    size_t size;

    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        size = 2;
    else if (s[0] >= 0xe0 && s[0] <= 0xef)
        size = 3;
    else if (s[0] >= 0xf0 && s[0] <= 0xf4)
        size = 4;
    else
        return 0;
    if (n < size)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return size;
}

size_t yk_utf8_prefix(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;

    while (i < n) {
        uint64_t word;
        size_t size;

        if (n - i >= sizeof word) {
            memcpy(&word, s + i, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof word;
                continue;
            }
        }
        size = s[i] < 0x80 ? 1 : sequence(s + i, n - i);
        if (size == 0)
            return i;
        i += size;
    }
    return n;
}
