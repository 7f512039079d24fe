/* SPDX-License-Identifier: MIT */
/*
 * Backtraces at a raise: return addresses from the chain of frame pointers, nothing else, so that
 * a raise stays well below a microsecond.
 *
 * The library is built with frame pointers, a program may not be, and code without them leaves
 * anything at all in the register. The walk therefore believes nothing: each frame must be
 * aligned, within the bounds of the stack, and above the one before. What lies between the
 * frame of a running function and the end of its stack is mapped, so the walk never faults; at
 * worst it ends early or skips a function. Unwinding by DWARF was decided against: it costs two
 * orders of magnitude more and takes locks.
 *
 * x86-64 and aarch64 both keep {caller's frame, return address} at the frame pointer.
 */
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "error/error.h"

#if defined(__SANITIZE_ADDRESS__)
#define UNSANITIZED __attribute__((no_sanitize_address))
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNSANITIZED __attribute__((no_sanitize("address")))
#endif
#endif
#ifndef UNSANITIZED
#define UNSANITIZED
#endif

#if defined(__x86_64__) || defined(__aarch64__)
enum { KNOWN_FRAMES = 1 };
#else
enum { KNOWN_FRAMES = 0 };
#endif

struct bounds {
    uintptr_t low;
    uintptr_t high; /* 0: not known */
};

static __thread struct bounds thread_bounds;
static __thread bool thread_bounds_asked;

/* Asked once: for a main thread the answer is read from /proc. */
static struct bounds bounds_of_thread(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;

    if (thread_bounds_asked)
        return thread_bounds;
    thread_bounds_asked = true;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0)
        return thread_bounds;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0)
        thread_bounds = (struct bounds){(uintptr_t)low, (uintptr_t)low + size};
    pthread_attr_destroy(&attributes);
    return thread_bounds;
}

/* On aarch64 a return address may be signed; symbols need the plain one. */
static void *plain_address(uintptr_t address)
{
#if defined(__aarch64__)
    register uintptr_t link __asm__("x30") = address;

    __asm__("hint #7" : "+r"(link)); /* xpaclri: does nothing on processors without signing */
    address = link;
#endif
    return (void *)address;
}

UNSANITIZED size_t yk_backtrace_take(const struct yk_locus *locus, const void *frame, void **frames,
                                     size_t max)
{
    struct bounds bounds = {(uintptr_t)locus->stack_low, (uintptr_t)locus->stack_high};
    uintptr_t at = (uintptr_t)frame;
    size_t n = 0;

    if (!KNOWN_FRAMES)
        return 0;
    if (bounds.high == 0)
        bounds = bounds_of_thread();
    while (n < max && at >= bounds.low && at % sizeof(uintptr_t) == 0 && at < bounds.high &&
           bounds.high - at >= 2 * sizeof(uintptr_t)) {
        const uintptr_t *record = (const uintptr_t *)at;

        if (record[1] == 0)
            break;
        frames[n++] = plain_address(record[1]);
        if (record[0] <= at)
            break;
        at = record[0];
    }
    return n;
}
