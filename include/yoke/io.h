/* SPDX-License-Identifier: MIT */
/*
 * File descriptors, worker threads, signals. Each waiting call is a checkpoint and fails with
 * YOKE_CANCELLED having had no effect, except where it says how much was done.
 */
#ifndef YOKE_IO_H
#define YOKE_IO_H

#include <sys/types.h>
#include <yoke/cause.h>
#include <yoke/common.h>
#include <yoke/limiter.h>
#include <yoke/select.h>

YOKE_BEGIN

/*
 * Waits until reading (writing) `fd` would not block, or it has an error or end-of-file to report.
 * 0, also at once for a descriptor that is always ready (a regular file); YOKE_CANCELLED; -EBADF;
 * -ENOMEM; -ENOSPC if the user may watch no more. The descriptor stays the caller's, and must not
 * be closed while a task waits for it.
 */
YOKE_API YOKE_MUST_CHECK int yoke_wait_readable(int fd);
YOKE_API YOKE_MUST_CHECK int yoke_wait_writable(int fd);

/* The same as cases of a select, whose result is 0. */
YOKE_API struct yoke_select_case yoke_case_readable(int fd);
YOKE_API struct yoke_select_case yoke_case_writable(int fd);

/*
 * Reads up to `size` bytes from a non-blocking descriptor, waiting for at least one. The count;
 * 0 at end-of-file; YOKE_CANCELLED; -errno with an error raised.
 */
YOKE_API YOKE_MUST_CHECK ssize_t yoke_read(int fd, void *buffer, size_t size);

/*
 * Writes all `size` bytes to a non-blocking descriptor. 0; YOKE_CANCELLED or -errno, also -EPIPE,
 * which comes without SIGPIPE. *ret_written (may be NULL) says in each case how many bytes went
 * out.
 */
YOKE_API YOKE_MUST_CHECK int yoke_write_all(int fd, const void *data, size_t size,
                                            size_t *ret_written);

/*
 * Runs fn(arg) in a worker thread and waits for it; for calls that block. Returns what fn returns;
 * errors that fn raises (yoke_raise works there) are in flight here afterwards. Each call holds a
 * token of a limiter while fn runs; by default of the runtime's own, which has 32. Calls that find
 * none wait, and are YOKE_CANCELLED with fn never called. Once fn has begun, the wait can't be
 * cancelled by default, since fn uses the caller's memory, though fn may ask
 * (yoke_thread_check_cancelled in <yoke/handle.h>, with which it can also call back); with
 * `abandon` a cancelled caller leaves fn to finish alone with whatever `arg` points to. An error
 * that fn raises after that is reported on stderr, and not even the end of the runtime waits for
 * it. -EAGAIN: no thread could be made.
 */
struct yoke_thread_opts {
    bool abandon; /* may be left behind on cancellation */
    /*
     * Gets `arg` whenever the call is YOKE_CANCELLED: on the runtime's thread when fn is done or
     * will not be called; on the worker's, if the runtime has ended before fn. NULL: nothing to do.
     */
    void (*abandoned)(void *arg);
    /*
     * Whose tokens count instead; of this runtime. It must outlive the calls, also those left
     * behind, until the runtime ends. NULL: the runtime's own.
     */
    struct yoke_limiter *limiter;
};
YOKE_API YOKE_MUST_CHECK int yoke_thread_run(int (*fn)(void *arg), void *arg,
                                             const struct yoke_thread_opts *opts);

/*
 * Prints to a descriptor that may block, such as 1 or 2: a worker thread writes, so that a reader
 * that has stopped stops nothing but the calling task. Texts of one runtime for one descriptor
 * don't mix and keep the order of the calls. 0 when all is written; YOKE_CANCELLED: nothing is
 * written if others were still printing, else the text may or may not be; -errno of write(2), also
 * -EPIPE, without a signal.
 */
YOKE_API YOKE_MUST_CHECK int yoke_print(int fd, const char *format, ...) YOKE_PRINTF(2, 3);

/*
 * A signal receiver: from open to close the given signals are caught for this runtime instead of
 * having their default effect. Several receivers of one signal each get it, at least once: up to 64
 * signals are kept until taken, and beyond that repetitions of one are dropped. Signals are a
 * process's: only one runtime of a process may receive a given signal at a time (-EBUSY).
 *
 * open: 0; -EBUSY; -EINVAL for a number that can't be caught; -EMFILE and the like. Never blocks.
 * wait: 0 and the signal; YOKE_CANCELLED. close: in any case, and before the runtime ends.
 */
struct yoke_signals { /* lives in the caller's frame; every field is private */
    struct yk_list node;
    struct yk_list waiters;
    struct yoke_signal_info queue[64];
    unsigned first;
    unsigned count;
    uint64_t mask;
};
YOKE_API YOKE_MUST_CHECK int yoke_signals_open(struct yoke_signals *signals, const int *numbers,
                                               size_t n);
YOKE_API YOKE_MUST_CHECK int yoke_signals_wait(struct yoke_signals *signals,
                                               struct yoke_signal_info *ret_info);
/* The same wait as a case of a select, whose result is 0. */
YOKE_API struct yoke_select_case yoke_case_signal(struct yoke_signals *signals,
                                                  struct yoke_signal_info *ret_info);
YOKE_API void yoke_signals_close(struct yoke_signals *signals);

YOKE_END
#endif
