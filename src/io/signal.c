/* SPDX-License-Identifier: MIT */
/*
 * Signal receivers. The handler writes what siginfo says into a pipe of the runtime that receives
 * the signal: a write of that size is atomic, and async-signal-safe. The runtime reads the pipe
 * when the poller says so, and hands each signal to every receiver that wants it.
 *
 * Signals are the one thing here that belongs to the process and not to a runtime, hence the one
 * static table: for each number, the pipe that its handler writes to. Decided against signalfd: it
 * needs the signals blocked in every thread, and a blocked mask is inherited over exec.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yoke/io.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/memory.h"
#include "io/fd.h"

#include "io/signal.h"

enum { SIGNALS_MAX = 64 };

struct registration {
    _Atomic int write_fd;    /* 0: none */
    _Atomic bool overflowed; /* came when the pipe was full. The handler touches these two only */
    struct yoke_runtime *runtime;
    unsigned users;
    struct sigaction before;
};

static struct registration table[SIGNALS_MAX + 1];
static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER; /* all but what is atomic */
static _Atomic int handling; /* handlers that run now, in any thread */

/* Of one runtime. */
struct signal_source {
    struct yk_watch watch;
    struct yoke_runtime *runtime;
    int write_fd;
    struct yk_list receivers;
};

void (*yk_signal_early)(int number, const siginfo_t *info);

unsigned yk_signal_receivers(int number)
{
    unsigned users;

    pthread_mutex_lock(&table_mutex);
    users = table[number].users;
    pthread_mutex_unlock(&table_mutex);
    return users;
}

static void handler(int number, siginfo_t *info, void *context)
{
    int error = errno;
    struct yoke_signal_info signal;
    int fd;

    (void)context;
    atomic_fetch_add(&handling, 1);
    fd = atomic_load(&table[number].write_fd);
    if (yk_signal_early != NULL)
        yk_signal_early(number, info);
    memset(&signal, 0, sizeof signal);
    signal.number = number;
    /* Sent by a process; other codes have something else in the place of its pid. */
    if (info->si_code == SI_USER || info->si_code == SI_QUEUE || info->si_code == SI_TKILL) {
        signal.pid = info->si_pid;
        signal.uid = info->si_uid;
    }
    /* A full pipe holds thousands of signals nobody took: then it is enough to know of this one. */
    if (fd > 0 && write(fd, &signal, sizeof signal) < 0)
        atomic_store(&table[number].overflowed, true);
    atomic_fetch_sub(&handling, 1);
    errno = error;
}

static const unsigned queue_size =
    sizeof((struct yoke_signals *)0)->queue / sizeof((struct yoke_signals *)0)->queue[0];

static struct yoke_signal_info *at(struct yoke_signals *receiver, unsigned i)
{
    return &receiver->queue[(receiver->first + i) % queue_size];
}

static unsigned count_of(struct yoke_signals *receiver, int number)
{
    unsigned n = 0;

    for (unsigned i = 0; i < receiver->count; i++)
        n += at(receiver, i)->number == number;
    return n;
}

/*
 * Makes room for a signal in a full queue; false if it is there already. Else something is there
 * more than once, since the queue has a place for each signal that there is.
 */
static bool make_room(struct yoke_signals *receiver, int number)
{
    unsigned last = receiver->count - 1;

    if (count_of(receiver, number) > 0)
        return false;
    while (count_of(receiver, at(receiver, last)->number) == 1)
        last--;
    for (unsigned i = last; i + 1 < receiver->count; i++)
        *at(receiver, i) = *at(receiver, i + 1);
    receiver->count--;
    return true;
}

static void deliver(struct signal_source *source, const struct yoke_signal_info *signal)
{
    yk_list_for_each (node, &source->receivers) {
        struct yoke_signals *receiver = yk_container_of(node, struct yoke_signals, node);

        if ((receiver->mask >> (signal->number - 1) & 1) == 0)
            continue;
        if (receiver->count == queue_size && !make_room(receiver, signal->number))
            continue;
        *at(receiver, receiver->count++) = *signal;
        yk_wake_first(&receiver->waiters, 0);
    }
}

static void pipe_ready(struct yk_watch *watch, unsigned events)
{
    struct signal_source *source = yk_container_of(watch, struct signal_source, watch);
    struct yoke_signal_info signal;

    (void)events;
    while (read(watch->fd, &signal, sizeof signal) == (ssize_t)sizeof signal)
        deliver(source, &signal);
    memset(&signal, 0, sizeof signal);
    for (int number = 1; number <= SIGNALS_MAX; number++) {
        if (atomic_load(&table[number].write_fd) != source->write_fd ||
            !atomic_exchange(&table[number].overflowed, false))
            continue;
        signal.number = number;
        deliver(source, &signal);
    }
}

static void source_free(void *data)
{
    struct signal_source *source = data;

    if (!yk_list_empty(&source->receivers))
        yk_misuse(NULL, NULL, NULL,
                  "a signal receiver is open when its runtime has ended: call "
                  "yoke_signals_close in any case");
    source->runtime->host->ops->watch_remove(source->runtime->host, &source->watch);
    close(source->watch.fd);
    close(source->write_fd);
    free(source);
}

static int source_of(struct yoke_runtime *runtime, struct signal_source **ret_source)
{
    struct signal_source *source = runtime->slots[YK_SLOT_SIGNALS].data;
    int fds[2];
    int rc;

    if (source == NULL) {
        if (YK_FALLIBLE(EMFILE, pipe2(fds, O_CLOEXEC | O_NONBLOCK)) < 0)
            return -errno;
        source = yk_calloc(1, sizeof *source);
        rc = source == NULL ? -ENOMEM : 0;
        if (rc == 0) {
            source->runtime = runtime;
            source->watch.fd = fds[0];
            source->watch.ready = pipe_ready;
            source->write_fd = fds[1];
            yk_list_init(&source->receivers);
            rc = runtime->host->ops->watch_add(runtime->host, &source->watch);
        }
        if (rc < 0) {
            close(fds[0]);
            close(fds[1]);
            free(source);
            return rc;
        }
        runtime->slots[YK_SLOT_SIGNALS].data = source;
        runtime->slots[YK_SLOT_SIGNALS].fini = source_free;
    }
    *ret_source = source;
    return 0;
}

/* Under the mutex. */
static int claim(struct signal_source *source, int number)
{
    struct registration *registration = &table[number];
    struct sigaction action;

    if (registration->users > 0 && registration->runtime != source->runtime)
        return -EBUSY;
    if (registration->users == 0) {
        memset(&action, 0, sizeof action);
        action.sa_sigaction = handler;
        action.sa_flags = SA_SIGINFO | SA_RESTART;
        sigemptyset(&action.sa_mask);
        atomic_store(&registration->write_fd, source->write_fd);
        if (YK_FALLIBLE(EINVAL, sigaction(number, &action, &registration->before)) < 0) {
            atomic_store(&registration->write_fd, 0);
            return -errno;
        }
        registration->runtime = source->runtime;
    }
    registration->users++;
    return 0;
}

/* Under the mutex. */
static void release(int number)
{
    struct registration *registration = &table[number];

    if (--registration->users > 0)
        return;
    sigaction(number, &registration->before, NULL);
    atomic_store(&registration->write_fd, 0);
    atomic_store(&registration->overflowed, false);
    registration->runtime = NULL;
    /* A handler in another thread may still be about to write, and the pipe may be closed next. */
    while (atomic_load(&handling) > 0)
        sched_yield();
}

static void release_mask(uint64_t mask)
{
    pthread_mutex_lock(&table_mutex);
    for (int number = 1; number <= SIGNALS_MAX; number++)
        if (mask >> (number - 1) & 1)
            release(number);
    pthread_mutex_unlock(&table_mutex);
}

static int claim_all(struct signal_source *source, struct yoke_signals *signals, const int *numbers,
                     size_t n)
{
    int rc = 0;

    pthread_mutex_lock(&table_mutex);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = numbers[i] < 1 || numbers[i] > SIGNALS_MAX ? -EINVAL : 0;
        if (rc == 0 && (signals->mask >> (numbers[i] - 1) & 1) == 0) {
            rc = claim(source, numbers[i]);
            if (rc == 0)
                signals->mask |= UINT64_C(1) << (numbers[i] - 1);
        }
    }
    pthread_mutex_unlock(&table_mutex);
    if (rc < 0)
        release_mask(signals->mask);
    return rc;
}

int yoke_signals_open(struct yoke_signals *signals, const int *numbers, size_t n)
{
    struct yk_task *task = yk_task_self("yoke_signals_open");
    struct signal_source *source = NULL;
    int rc = source_of(task->runtime, &source);

    memset(signals, 0, sizeof *signals);
    yk_list_init(&signals->waiters);
    yk_list_init(&signals->node);
    if (rc == 0)
        rc = claim_all(source, signals, numbers, n);
    if (rc < 0) {
        signals->mask = 0;
        return yoke_raise("yoke.Signals", rc, "signals can't be received: %s%s", strerror(-rc),
                          rc == -EBUSY ? " (another runtime of this process receives one)" : "");
    }
    yk_list_append(&source->receivers, &signals->node);
    return 0;
}

/* 1 taken, 0 there is none. */
static int take_now(struct yoke_signals *signals, struct yoke_signal_info *ret_info)
{
    if (signals->count == 0)
        return 0;
    *ret_info = *at(signals, 0);
    signals->first = (signals->first + 1) % queue_size;
    signals->count--;
    return 1;
}

int yoke_signals_wait(struct yoke_signals *signals, struct yoke_signal_info *ret_info)
{
    struct yk_task *task = yk_task_self("yoke_signals_wait");
    bool waited = false;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    while (take_now(signals, ret_info) == 0) {
        waited = true;
        task->runtime->io_waits++;
        rc = yk_wait_in(&signals->waiters, "signal", NULL);
        task->runtime->io_waits--;
        if (rc < 0)
            return rc;
    }
    if (!waited)
        yk_completed_at_once(task);
    return 0;
}

static int attempt_signal(struct yoke_select_case *c)
{
    return take_now(c->object, c->data);
}

static int enlist_signal(struct yoke_select_case *c)
{
    struct yoke_signals *signals = c->object;

    yk_list_append(&signals->waiters, &c->wait.node);
    yk_runtime_current->io_waits++;
    return 0;
}

static void leave_signal(struct yoke_select_case *c)
{
    (void)c;
    yk_runtime_current->io_waits--;
}

struct yoke_select_case yoke_case_signal(struct yoke_signals *signals,
                                         struct yoke_signal_info *ret_info)
{
    static const struct yoke_select_source source = {
        .name = "signal",
        .attempt = attempt_signal,
        .enlist = enlist_signal,
        .leave = leave_signal,
    };

    return yoke_case_source(&source, signals, ret_info);
}

void yoke_signals_close(struct yoke_signals *signals)
{
    yk_assert(yk_list_empty(&signals->waiters));
    yk_list_remove(&signals->node);
    release_mask(signals->mask);
    signals->mask = 0;
}
