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
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yoke/io.h>

#include "base/check.h"
#include "base/memory.h"
#include "io/fd.h"

#include "io/signal.h"

enum { SIGNALS_MAX = 64 };

struct registration {
    _Atomic int write_fd; /* -1 or 0: none; the handler reads nothing else */
    struct yoke_runtime *runtime;
    unsigned users;
    struct sigaction before;
};

static struct registration table[SIGNALS_MAX + 1];
static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER; /* all but write_fd */

/* Of one runtime. */
struct signal_source {
    struct yk_watch watch;
    struct yoke_runtime *runtime;
    int write_fd;
    struct yk_list receivers;
};

void (*yk_signal_early)(int number);

static void handler(int number, siginfo_t *info, void *context)
{
    int error = errno;
    int fd = atomic_load(&table[number].write_fd);
    struct yoke_signal_info signal;

    (void)context;
    if (yk_signal_early != NULL)
        yk_signal_early(number);
    memset(&signal, 0, sizeof signal);
    signal.number = number;
    if (info->si_code <= 0) { /* sent by a process */
        signal.pid = info->si_pid;
        signal.uid = info->si_uid;
    }
    /* A full pipe holds thousands of signals nobody took; one more says nothing new. */
    if (fd > 0 && write(fd, &signal, sizeof signal) < 0) {
    }
    errno = error;
}

static void deliver(struct signal_source *source, const struct yoke_signal_info *signal)
{
    yk_list_for_each (node, &source->receivers) {
        struct yoke_signals *receiver = yk_container_of(node, struct yoke_signals, node);
        const unsigned size = sizeof receiver->queue / sizeof receiver->queue[0];

        if ((receiver->mask >> (signal->number - 1) & 1) == 0 || receiver->count == size)
            continue;
        receiver->queue[(receiver->first + receiver->count++) % size] = *signal;
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
}

static void source_free(void *data)
{
    struct signal_source *source = data;

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
        if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
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
        if (sigaction(number, &action, &registration->before) < 0) {
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
    registration->runtime = NULL;
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

int yoke_signals_wait(struct yoke_signals *signals, struct yoke_signal_info *ret_info)
{
    struct yk_task *task = yk_task_self("yoke_signals_wait");
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    while (signals->count == 0) {
        task->runtime->io_waits++;
        rc = yk_wait_in(&signals->waiters, "signal", NULL);
        task->runtime->io_waits--;
        if (rc < 0)
            return rc;
    }
    *ret_info = signals->queue[signals->first];
    signals->first = (signals->first + 1) % (sizeof signals->queue / sizeof signals->queue[0]);
    signals->count--;
    return 0;
}

void yoke_signals_close(struct yoke_signals *signals)
{
    yk_assert(yk_list_empty(&signals->waiters));
    yk_list_remove(&signals->node);
    release_mask(signals->mask);
    signals->mask = 0;
}
