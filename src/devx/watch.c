/* SPDX-License-Identifier: MIT */
/*
 * The watcher: one thread for all watched runtimes of a process, from the first to the last of
 * them. It waits for bytes in a pipe: from the handler of the dump signal, whose only act is to
 * write one, and from whoever begins or ends to be watched. With a threshold for hogs it also wakes
 * a few times per threshold and looks whether the same task still holds the thread.
 *
 * Whatever it needs of a runtime that may be running it reads by way of the kernel (yk_peek), or
 * with the runtime's thread stopped (freeze.h); so nothing in the scheduler is atomic or counted
 * for its sake: `turns` with `switches_left` change with every switch anyway. While a thread is
 * stopped only a census is copied, which allocates and locks nothing. Symbols are looked up and
 * text is made afterwards, and written to descriptor 2 directly: a hog may hold the lock of stderr.
 *
 * If the runtime was stopped in the middle of a change to its lists the census says so, and another
 * try is made a moment later.
 *
 * `mutex` guards the list and keeps what is in it alive: a runtime that ends waits for a dump of it
 * to be done. `life_mutex` is held while the thread is started or joined; the thread never takes
 * it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <yoke/dump.h>
#include <yoke/watch.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/memory.h"
#include "devx/freeze.h"
#include "devx/overflow.h"
#include "task/dump.h"

enum { TRIES = 50, LOOKS_PER_THRESHOLD = 4, OVERFLOW_PATIENCE_MS = 2000 };
enum { WATCHER_STACK_SIZE = 1 << 20 }; /* libdw recurses */

/* What is written into the pipe. */
enum { BYTE_DUMP = 'd', BYTE_LOOK = 'l', BYTE_OVERFLOW = 'o', BYTE_END = 'e' };

/* One hold of the thread by one task. */
struct hold {
    uint64_t turns;
    unsigned switches_left;
    struct yk_task *task; /* NULL: the loop has the thread */
    int64_t since_ns;     /* when it was first seen */
    bool reported;
};

struct watched {
    struct yk_list node;
    struct yoke_runtime *runtime;
    pid_t tid;
    int64_t hog_ns; /* 0: none */
    struct hold hold;
    void *signal_stack;
    bool stack_report;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t life_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct yk_list all = {&all, &all};
static pthread_t thread;
static unsigned users;         /* under life_mutex, as are the next three */
static unsigned stack_reports; /* users that want them */
static int dump_number;        /* 0: no dump signal */
static struct sigaction dump_before;
static int read_fd;
static _Atomic int write_fd; /* read by handlers */

/* A stack overflow, from the thread that has it to the watcher. */
static void *overflow_frames[YK_BACKTRACE_MAX];
static _Atomic size_t overflow_frames_n; /* 0: told */

static int64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* In handlers too. A full pipe has such a byte in it already. */
static void post(char byte)
{
    int error = errno;

    if (write(atomic_load(&write_fd), &byte, 1) < 0) {
    }
    errno = error;
}

static void write_all(const char *text, size_t n)
{
    while (n > 0) {
        ssize_t written = write(2, text, n);

        if (written < 0 && errno != EINTR)
            return; /* nobody can be told */
        if (written > 0) {
            text += written;
            n -= (size_t)written;
        }
    }
}

/* Renders by `print` and writes at once. `intro` may be "". */
static void tell(const char *intro, int (*print)(const struct yk_census *, FILE *),
                 const struct yk_census *census)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);

    if (stream != NULL) {
        fputs(intro, stream);
        if (print != NULL)
            print(census, stream);
        if (fclose(stream) == 0)
            write_all(text, size);
    }
    free(text);
}

static int print_tree(const struct yk_census *census, FILE *stream)
{
    return yk_census_print(census, stream, YOKE_DUMP_STACKS);
}

typedef bool (*take_fn)(struct yk_census *census, const struct yoke_runtime *runtime,
                        const struct yk_whereabouts *here, int64_t now_ns);

/* Stops the runtime's thread for a census. 0; -EAGAIN: always in the middle of a change; -errno. */
static int take_stopped(struct yk_census *census, const struct watched *watched, take_fn take)
{
    int64_t at = watched->runtime->host->ops->now(watched->runtime->host);

    for (int try = 0; try < TRIES; try++) {
        const struct timespec moment = {.tv_nsec = YOKE_MS(1) / 4 * (try + 1)};
        struct yk_whereabouts here;
        int rc = yk_freeze(watched->tid, &here);
        bool taken;

        if (rc < 0)
            return rc;
        taken = take(census, watched->runtime, &here, at);
        yk_thaw();
        if (taken)
            return 0;
        yk_census_clear(census);
        nanosleep(&moment, NULL);
    }
    return -EAGAIN;
}

static void dump(const struct watched *watched)
{
    struct yk_census census;
    int rc = yk_census_init(&census, 0);

    census.with_stacks = true;
    if (rc == 0)
        rc = take_stopped(&census, watched, yk_census_take_outside);
    if (rc == 0)
        tell("", print_tree, &census);
    else if (rc == -EAGAIN && take_stopped(&census, watched, yk_census_take_current_outside) == 0)
        tell("yoke: no task tree: a task keeps changing it\n", yk_census_print_first, &census);
    else if (rc == -ETIMEDOUT)
        tell("yoke: no task tree: the runtime's thread has signals blocked\n", NULL, NULL);
    else
        tell("yoke: no task tree: it could not be read\n", NULL, NULL);
    yk_census_fini(&census);
}

static void report_hog(const struct watched *watched, int64_t held_ns)
{
    struct yk_census census;
    char held[YK_DURATION_SIZE];
    char intro[128];

    if (yk_census_init(&census, 1) < 0)
        return;
    if (take_stopped(&census, watched, yk_census_take_current_outside) == 0) {
        yk_duration_text(held_ns, held);
        snprintf(intro, sizeof intro,
                 "yoke: a task has held the thread for %s without a checkpoint\n", held);
        tell(intro, yk_census_print_first, &census);
    }
    yk_census_fini(&census);
}

/* Looks who holds the thread. What is read may be torn; a switch then shows at the next look. */
static void look(struct watched *watched)
{
    struct hold *hold = &watched->hold;
    struct yoke_runtime copy;
    int64_t held;

    if (!yk_peek(&copy, watched->runtime, sizeof copy))
        return;
    if (copy.current == NULL || copy.current != hold->task || copy.turns != hold->turns ||
        copy.switches_left != hold->switches_left) {
        *hold = (struct hold){
            .turns = copy.turns,
            .switches_left = copy.switches_left,
            .task = copy.current,
            .since_ns = now(),
        };
        return;
    }
    held = now() - hold->since_ns;
    if (!hold->reported && held >= watched->hog_ns) {
        hold->reported = true;
        report_hog(watched, held);
    }
}

static void tell_overflow(void)
{
    char *text = yk_backtrace_text(overflow_frames, atomic_load(&overflow_frames_n));

    if (text != NULL)
        write_all(text, strlen(text));
    free(text);
    atomic_store(&overflow_frames_n, 0);
}

/* In the handler of the fault. A wait without a lock: the watcher may be stuck behind one. */
static void ask_for_overflow(void *const *frames, size_t n)
{
    const struct timespec moment = {.tv_nsec = YOKE_MS(1)};
    size_t none = 0;

    if (n == 0 || !atomic_compare_exchange_strong(&overflow_frames_n, &none, n))
        return;
    memcpy(overflow_frames, frames, n * sizeof *frames);
    post(BYTE_OVERFLOW);
    for (int ms = 0; ms < OVERFLOW_PATIENCE_MS && atomic_load(&overflow_frames_n) > 0; ms++)
        nanosleep(&moment, NULL);
}

/* Under the mutex: until the next look at a hog, in ms; -1: nobody is looked at. */
static int look_interval(void)
{
    int64_t shortest = INT64_MAX;

    yk_list_for_each (node, &all) {
        const struct watched *watched = yk_container_of(node, struct watched, node);

        if (watched->hog_ns > 0 && watched->hog_ns < shortest)
            shortest = watched->hog_ns;
    }
    if (shortest == INT64_MAX)
        return -1;
    shortest /= YOKE_MS(LOOKS_PER_THRESHOLD);
    return shortest < 1 ? 1 : shortest > 60000 ? 60000 : (int)shortest;
}

/* One look at everything; returns the time until the next, as of poll(2). */
static int watch_all(bool dump_wanted)
{
    int interval;

    pthread_mutex_lock(&mutex);
    yk_list_for_each (node, &all) {
        struct watched *watched = yk_container_of(node, struct watched, node);

        if (dump_wanted)
            dump(watched);
        if (watched->hog_ns > 0)
            look(watched);
    }
    interval = look_interval();
    pthread_mutex_unlock(&mutex);
    return interval;
}

static void *watcher(void *arg)
{
    struct pollfd pipe_end = {.fd = read_fd, .events = POLLIN};
    int interval = -1;

    (void)arg;
    for (;;) {
        char bytes[64];
        ssize_t n = 0;
        bool dump_wanted = false;

        if (poll(&pipe_end, 1, interval) > 0)
            n = read(read_fd, bytes, sizeof bytes);
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == BYTE_END)
                return NULL;
            if (bytes[i] == BYTE_OVERFLOW)
                tell_overflow();
            dump_wanted = dump_wanted || bytes[i] == BYTE_DUMP;
        }
        interval = watch_all(dump_wanted);
    }
}

static void dump_handler(int number)
{
    (void)number;
    post(BYTE_DUMP);
}

static void claim_dump_signal(int number)
{
    struct sigaction action;

    if (dump_number != 0 || sigaction(number, NULL, &dump_before) < 0 ||
        dump_before.sa_handler != SIG_DFL)
        return;
    memset(&action, 0, sizeof action);
    action.sa_handler = dump_handler;
    action.sa_flags = SA_RESTART | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    if (sigaction(number, &action, NULL) == 0)
        dump_number = number;
}

static void release_dump_signal(void)
{
    struct sigaction current;

    if (dump_number != 0 && sigaction(dump_number, NULL, &current) == 0 &&
        current.sa_handler == dump_handler)
        sigaction(dump_number, &dump_before, NULL);
    dump_number = 0;
}

/* Under life_mutex. 0 or -errno. */
static int start_watcher(void)
{
    pthread_attr_t attributes;
    sigset_t every, before;
    int fds[2];
    int rc;

    rc = yk_freeze_init();
    if (rc < 0)
        return rc;
    if (YK_FALLIBLE(EMFILE, pipe2(fds, O_CLOEXEC | O_NONBLOCK)) < 0) {
        rc = -errno;
        yk_freeze_fini();
        return rc;
    }
    read_fd = fds[0];
    atomic_store(&write_fd, fds[1]);
    yk_overflow_backtrace = ask_for_overflow;
    sigfillset(&every);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, WATCHER_STACK_SIZE);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    rc = yk_fault(EAGAIN) ? errno : pthread_create(&thread, &attributes, watcher, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (rc != 0) {
        close(fds[0]);
        close(fds[1]);
        yk_freeze_fini();
    }
    return -rc;
}

static void stop_watcher(void)
{
    release_dump_signal();
    post(BYTE_END);
    pthread_join(thread, NULL);
    close(read_fd);
    close(atomic_load(&write_fd));
    yk_freeze_fini();
}

/* As the last act of a runtime, on its thread. */
static void unwatch(void *data)
{
    struct watched *watched = data;

    pthread_mutex_lock(&mutex);
    yk_list_remove(&watched->node);
    pthread_mutex_unlock(&mutex);
    pthread_mutex_lock(&life_mutex);
    if (watched->stack_report && --stack_reports == 0)
        yk_overflow_fini();
    if (--users == 0)
        stop_watcher();
    pthread_mutex_unlock(&life_mutex);
    yk_signal_stack_fini(watched->signal_stack);
    free(watched);
}

/* YOKE_HOG_MS; 0 if it is not set, or no number of milliseconds. */
static int64_t hog_from_environment(void)
{
    const char *text = getenv("YOKE_HOG_MS");
    char *end;
    long ms = text == NULL ? 0 : strtol(text, &end, 10);

    return text == NULL || *end != '\0' || ms < 0 || ms > 1000000000 ? 0 : YOKE_MS(ms);
}

static int begin(struct watched *watched, const struct yoke_watch_opts *opts)
{
    int rc = 0;

    pthread_mutex_lock(&life_mutex);
    if (users == 0)
        rc = start_watcher();
    if (rc == 0) {
        users++;
        if (!opts->no_dump_signal)
            claim_dump_signal(opts->dump_signal != 0 ? opts->dump_signal : SIGUSR1);
        if (watched->stack_report && stack_reports++ == 0)
            yk_overflow_init();
    }
    pthread_mutex_unlock(&life_mutex);
    return rc;
}

int yoke_watch(const struct yoke_watch_opts *opts)
{
    static const struct yoke_watch_opts defaults;
    struct yoke_runtime *runtime = yk_task_self("yoke_watch")->runtime;
    struct watched *watched;
    int rc;

    if (opts == NULL)
        opts = &defaults;
    if (runtime->slots[YK_SLOT_WATCH].data != NULL)
        return yoke_raise("yoke.Watch", EALREADY, "this runtime is being watched already");
    watched = yk_calloc(1, sizeof *watched);
    rc = watched == NULL ? -ENOMEM : yk_signal_stack_init(&watched->signal_stack);
    if (rc == 0) {
        watched->runtime = runtime;
        watched->tid = (pid_t)syscall(SYS_gettid);
        watched->hog_ns = opts->hog_ns != 0 ? opts->hog_ns : hog_from_environment();
        watched->stack_report = !opts->no_stack_report;
        rc = begin(watched, opts);
        if (rc < 0)
            yk_signal_stack_fini(watched->signal_stack);
    }
    if (rc < 0) {
        free(watched);
        return yoke_raise("yoke.Watch", rc, "the runtime can't be watched: %s", strerror(-rc));
    }
    runtime->slots[YK_SLOT_WATCH].data = watched;
    runtime->slots[YK_SLOT_WATCH].fini = unwatch;
    pthread_mutex_lock(&mutex);
    yk_list_append(&all, &watched->node);
    pthread_mutex_unlock(&mutex);
    post(BYTE_LOOK);
    return 0;
}
