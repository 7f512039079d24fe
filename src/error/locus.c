/* SPDX-License-Identifier: MIT */
/*
 * The locus of a thread outside any runtime: it has no task and belongs to no actor, and its error
 * in flight ends with the thread at the latest.
 *
 * A thread that ends with an error in flight has lost it; a thread-specific key drops the
 * reference, so that the error is counted as lost and its memory is not. The key's value is the
 * locus itself, set once per thread.
 */
#include "error/locus.h"

#include <pthread.h>

#include "error/error.h"

__thread struct yk_locus *yk_locus_current;

static __thread struct yk_locus thread_locus;
static const struct yoke_actor_id no_actor;
static pthread_key_t end_key;
static bool have_end_key;
static pthread_once_t end_once = PTHREAD_ONCE_INIT;

static void thread_ended(void *arg)
{
    struct yk_locus *locus = arg;

    yoke_error_unref(yk_flight_take(locus));
}

static void make_end_key(void)
{
    have_end_key = pthread_key_create(&end_key, thread_ended) == 0;
}

struct yk_locus *yk_locus_of_thread(void)
{
    if (thread_locus.task_name == NULL) {
        thread_locus.task_name = "";
        thread_locus.actor = &no_actor;
        pthread_once(&end_once, make_end_key);
        /* Without the key a leak is possible at the thread's end, and nothing worse. */
        if (have_end_key)
            (void)pthread_setspecific(end_key, &thread_locus);
    }
    if (yk_locus_current == NULL)
        yk_locus_current = &thread_locus;
    return &thread_locus;
}
