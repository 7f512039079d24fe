/* SPDX-License-Identifier: MIT */
/* The Linux host by itself: real descriptors, threads, processes. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/list.h"
#include "base/memory.h"
#include "host/host.h"

static struct yoke_host *host;

static int set_up(void **state)
{
    (void)state;
    return yk_host_linux_new(&host);
}

static int tear_down(void **state)
{
    (void)state;
    host->ops->free(host);
    return 0;
}

/* A pipe whose reading end is watched, and what was told of it. */
struct watched {
    struct yk_watch watch;
    int write_fd;
    int calls;
    unsigned events;
    struct watched *remove; /* what its callback removes */
    struct watched *add;    /* what its callback adds */
};

static void ready(struct yk_watch *watch, unsigned events)
{
    struct watched *self = yk_container_of(watch, struct watched, watch);

    self->calls++;
    self->events |= events;
    if (self->remove != NULL)
        host->ops->watch_remove(host, &self->remove->watch);
    if (self->add != NULL)
        assert_int_equal(host->ops->watch_add(host, &self->add->watch), 0);
    self->add = NULL;
}

static void open_pipe(struct watched *self)
{
    int fds[2];

    memset(self, 0, sizeof *self);
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    self->watch.fd = fds[0];
    self->watch.ready = ready;
    self->write_fd = fds[1];
}

static void open_watched(struct watched *self)
{
    open_pipe(self);
    assert_int_equal(host->ops->watch_add(host, &self->watch), 0);
}

static void close_watched(struct watched *self)
{
    host->ops->watch_remove(host, &self->watch);
    close(self->watch.fd);
    if (self->write_fd >= 0)
        close(self->write_fd);
}

static void put(struct watched *self)
{
    assert_int_equal(write(self->write_fd, "x", 1), 1);
}

static void look(void)
{
    assert_int_equal(host->ops->poll(host, 0, false), 0);
}

static void an_event_is_told_once_until_there_is_another(void **state)
{
    struct watched a;

    (void)state;
    open_watched(&a);
    look();
    assert_int_equal(a.calls, 0);
    put(&a);
    look();
    look();
    assert_int_equal(a.calls, 1);
    assert_int_equal(a.events, YK_READABLE);
    put(&a);
    look();
    assert_int_equal(a.calls, 2);
    close_watched(&a);
}

static void a_hang_up_is_told_as_readable_and_writable(void **state)
{
    struct watched a;

    (void)state;
    open_watched(&a);
    close(a.write_fd);
    a.write_fd = -1;
    look();
    assert_int_equal(a.events, YK_READABLE | YK_WRITABLE | YK_EXCEPTIONAL);
    close_watched(&a);
}

static void a_watch_removed_by_an_earlier_callback_is_not_called(void **state)
{
    struct watched a, b;

    (void)state;
    open_watched(&a);
    open_watched(&b);
    a.remove = &b;
    b.remove = &a;
    put(&a);
    put(&b);
    look();
    look();
    assert_int_equal(a.calls + b.calls, 1);
    close_watched(&a);
    close_watched(&b);
}

static void a_callback_may_remove_its_own_watch(void **state)
{
    struct watched a;

    (void)state;
    open_watched(&a);
    a.remove = &a;
    put(&a);
    look();
    put(&a);
    look();
    assert_int_equal(a.calls, 1);
    close_watched(&a);
}

static void a_watch_added_by_a_callback_is_told_what_is_ready_already(void **state)
{
    struct watched a, b;

    (void)state;
    open_watched(&a);
    open_pipe(&b);
    a.add = &b;
    put(&a);
    put(&b);
    look();
    look();
    assert_int_equal(a.calls, 1);
    assert_int_equal(b.calls, 1);
    close_watched(&a);
    close_watched(&b);
}

static void more_events_than_a_batch_are_all_told(void **state)
{
    enum { CROWD = 200 };
    static struct watched crowd[CROWD];

    (void)state;
    for (int i = 0; i < CROWD; i++) {
        open_watched(&crowd[i]);
        put(&crowd[i]);
    }
    for (int i = 0; i < CROWD / 64 + 1; i++)
        look();
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(crowd[i].calls, 1);
        close_watched(&crowd[i]);
    }
}

static void what_cannot_be_watched_is_refused(void **state)
{
    struct yk_watch watch = {.fd = -1, .ready = ready};
    struct watched a;

    (void)state;
    assert_int_equal(host->ops->watch_add(host, &watch), -EBADF);
    watch.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(host->ops->watch_add(host, &watch), -EPERM);
    close(watch.fd);
    open_watched(&a);
    assert_int_equal(host->ops->watch_add(host, &a.watch), -EEXIST);
    close_watched(&a);
}

static void a_watch_whose_descriptor_was_closed_may_be_removed(void **state)
{
    struct watched a, b;

    (void)state;
    open_watched(&a);
    close(a.watch.fd);
    host->ops->watch_remove(host, &a.watch);
    close(a.write_fd);
    open_watched(&b);
    put(&b);
    look();
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 1);
    close_watched(&b);
}

static void a_wait_ends_at_its_time_and_not_before(void **state)
{
    int64_t before = host->ops->now(host);

    (void)state;
    assert_int_equal(host->ops->poll(host, before + YOKE_MS(5), false), 0);
    assert_true(host->ops->now(host) >= before + YOKE_MS(5));
    before = host->ops->now(host);
    assert_int_equal(host->ops->poll(host, 1, false), 0); /* long past */
    assert_true(host->ops->now(host) < before + YOKE_S(5));
    assert_true(host->ops->wall(host) > YOKE_S(1500000000));
}

static void *wake(void *arg)
{
    (void)arg;
    host->ops->wake(host);
    return NULL;
}

static void a_wake_from_another_thread_ends_the_wait(void **state)
{
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pthread_create(&thread, NULL, wake, NULL), 0);
        assert_int_equal(host->ops->poll(host, YOKE_NEVER, true), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

static void wakes_before_a_wait_end_it_once(void **state)
{
    int64_t before = host->ops->now(host);

    (void)state;
    host->ops->wake(host);
    host->ops->wake(host);
    assert_int_equal(host->ops->poll(host, YOKE_NEVER, true), 0);
    assert_int_equal(host->ops->poll(host, before + YOKE_MS(2), true), 0);
    assert_true(host->ops->now(host) >= before + YOKE_MS(2));
}

static void nothing(int number)
{
    (void)number;
}

static void a_signal_ends_a_wait_without_an_error(void **state)
{
    struct sigaction action = {.sa_handler = nothing}, before;
    struct itimerval often = {{0, 5000}, {0, 5000}}, never = {{0, 0}, {0, 0}};

    (void)state;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    setitimer(ITIMER_REAL, &often, NULL);
    assert_int_equal(host->ops->poll(host, YOKE_NEVER, true), 0);
    setitimer(ITIMER_REAL, &never, NULL);
    sigaction(SIGALRM, &before, NULL);
}

static void entropy_differs(void **state)
{
    unsigned char a[300] = {0}, b[300] = {0};

    (void)state;
    host->ops->entropy(host, a, sizeof a);
    host->ops->entropy(host, b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    assert_memory_not_equal(a + 280, b + 280, 20);
}

static bool has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* Runs a shell command with `fd` as its descriptor 3. */
static int spawn_shell(const char *command, int fd, struct yk_process *process)
{
    char *argv[] = {"sh", "-c", (char *)(uintptr_t)command, NULL};
    struct yk_spawn_fd third = {.fd = fd, .as = 3};
    struct yk_spawn spawn = {.path = "/bin/sh", .argv = argv, .fds = &third, .fds_n = 1};

    return host->ops->spawn(host, &spawn, process);
}

/* Waits for its end by the pidfd, as the runtime does. */
static struct yk_exit reap(struct yk_process *process)
{
    struct watched end = {.watch = {.fd = process->pidfd, .ready = ready}};
    struct yk_exit result;
    int rc;

    assert_int_equal(host->ops->watch_add(host, &end.watch), 0);
    while (end.calls == 0)
        assert_int_equal(host->ops->poll(host, YOKE_NEVER, false), 0);
    host->ops->watch_remove(host, &end.watch);
    rc = host->ops->reap(host, process, &result);
    assert_int_equal(rc, 1);
    assert_int_equal(host->ops->reap(host, process, &result), -ECHILD);
    assert_int_equal(host->ops->kill(host, process, SIGKILL), -ESRCH);
    close(process->pidfd);
    return result;
}

static void a_process_gets_one_descriptor_and_is_reaped_with_its_status(void **state)
{
    struct yk_process process;
    struct watched a;
    struct yk_exit result;
    char text[8] = "";

    (void)state;
    open_pipe(&a);
    assert_int_equal(spawn_shell("echo hello >&3; exit 7", a.write_fd, &process), 0);
    result = reap(&process);
    assert_true(WIFEXITED(result.status) && WEXITSTATUS(result.status) == 7);
    assert_true(result.usage.ru_maxrss > 0);
    assert_int_equal(read(a.watch.fd, text, sizeof text), 6);
    assert_string_equal(text, "hello\n");
    close_watched(&a);
}

static void a_descriptor_that_has_its_number_already_is_inherited(void **state)
{
    struct yk_process process;
    struct watched a;
    char command[32];
    char *argv[] = {"sh", "-c", command, NULL};
    struct yk_spawn_fd same;
    struct yk_spawn spawn = {.path = "/bin/sh", .argv = argv, .fds = &same, .fds_n = 1};
    char byte;

    (void)state;
    open_pipe(&a);
    snprintf(command, sizeof command, "echo x >&%d", a.write_fd);
    same = (struct yk_spawn_fd){.fd = a.write_fd, .as = a.write_fd};
    assert_in_range(a.write_fd, 3, 9); /* a shell takes no more digits */
    assert_int_equal(host->ops->spawn(host, &spawn, &process), 0);
    assert_int_equal(reap(&process).status, 0);
    assert_int_equal(read(a.watch.fd, &byte, 1), 1);
    assert_int_equal(fcntl(a.write_fd, F_GETFD), FD_CLOEXEC);
    close_watched(&a);
}

static void a_running_process_is_not_reaped_and_can_be_killed(void **state)
{
    struct yk_process process;
    struct yk_exit result;
    struct watched a;
    int rc;

    (void)state;
    open_pipe(&a);
    assert_int_equal(spawn_shell("exec sleep 600", a.watch.fd, &process), 0);
    rc = host->ops->reap(host, &process, &result);
    assert_int_equal(rc, 0);
    assert_int_equal(host->ops->kill(host, &process, SIGKILL), 0);
    result = reap(&process);
    assert_true(WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGKILL);
    close_watched(&a);
}

static void a_process_starts_with_no_signal_blocked_or_ignored(void **state)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before_action;
    struct yk_process process;
    sigset_t all, before;
    struct watched a;
    struct yk_exit result;

    (void)state;
    open_pipe(&a);
    sigfillset(&all);
    sigaction(SIGTERM, &ignore, &before_action);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    assert_int_equal(spawn_shell("kill -TERM $$; exit 1", a.write_fd, &process), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(SIGTERM, &before_action, NULL);
    result = reap(&process);
    assert_true(WIFSIGNALED(result.status) && WTERMSIG(result.status) == SIGTERM);
    close_watched(&a);
}

static void a_missing_executable_is_an_error_and_no_process(void **state)
{
    char *argv[] = {"nothing", NULL};
    struct yk_spawn_fd third = {.fd = 0, .as = 3};
    enum yk_spawn_step step = YK_SPAWN_PREPARE;
    struct yk_spawn spawn = {
        .path = "/nowhere/nothing", .argv = argv, .fds = &third, .fds_n = 1, .ret_step = &step};
    struct yk_process process = {.pid = 5, .pidfd = 6};

    (void)state;
    assert_int_equal(host->ops->spawn(host, &spawn, &process), -ENOENT);
    spawn.path = "/etc/passwd";
    assert_int_equal(host->ops->spawn(host, &spawn, &process), -EACCES);
    assert_int_equal(step, YK_SPAWN_EXECUTE);
    spawn.directory = "/nowhere";
    assert_int_equal(host->ops->spawn(host, &spawn, &process), -ENOENT);
    assert_int_equal(step, YK_SPAWN_DIRECTORY);
    assert_true(process.pid == 5 && process.pidfd == 6);
    assert_false(has_children());
}

/* Fewer descriptors from now on: those that are open stay. */
static struct rlimit limit_descriptors(void)
{
    struct rlimit before, none;

    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 4; /* the numbers up to 3 are taken, by the poller at the latest */
    setrlimit(RLIMIT_NOFILE, &none);
    return before;
}

static void without_descriptors_there_is_an_error_and_nothing_is_left(void **state)
{
    struct yoke_host *other = NULL;
    struct yk_process process;
    struct rlimit before;
    int fd, rc_host, rc_spawn;

    (void)state;
    before = limit_descriptors();
    rc_host = yk_host_linux_new(&other);
    rc_spawn = spawn_shell("exit 0", 0, &process);
    setrlimit(RLIMIT_NOFILE, &before);
    assert_int_equal(rc_host, -EMFILE);
    assert_null(other);
    assert_int_equal(rc_spawn, -EMFILE);
    assert_false(has_children());
    fd = dup(0);
    assert_int_equal(spawn_shell("exit 0", fd, &process), 0);
    assert_int_equal(reap(&process).status, 0);
    close(fd);
}

static void without_memory_there_is_no_host(void **state)
{
    struct yoke_host *other = NULL;

    (void)state;
    yk_memory_fail_at(1, false);
    assert_int_equal(yk_host_linux_new(&other), -ENOMEM);
    assert_int_equal(yk_memory_fail_at(0, false), 0);
    assert_null(other);
}

static void the_processors_are_those_that_this_process_may_use(void **state)
{
    cpu_set_t before, one;
    int first = 0;

    (void)state;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(yk_cpu_count(), CPU_COUNT(&before));
    while (!CPU_ISSET(first, &before))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(yk_cpu_count(), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(an_event_is_told_once_until_there_is_another),
        TEST(a_hang_up_is_told_as_readable_and_writable),
        TEST(a_watch_removed_by_an_earlier_callback_is_not_called),
        TEST(a_callback_may_remove_its_own_watch),
        TEST(a_watch_added_by_a_callback_is_told_what_is_ready_already),
        TEST(more_events_than_a_batch_are_all_told),
        TEST(what_cannot_be_watched_is_refused),
        TEST(a_watch_whose_descriptor_was_closed_may_be_removed),
        TEST(a_wait_ends_at_its_time_and_not_before),
        TEST(a_wake_from_another_thread_ends_the_wait),
        TEST(wakes_before_a_wait_end_it_once),
        TEST(a_signal_ends_a_wait_without_an_error),
        TEST(entropy_differs),
        TEST(a_process_gets_one_descriptor_and_is_reaped_with_its_status),
        TEST(a_descriptor_that_has_its_number_already_is_inherited),
        TEST(a_running_process_is_not_reaped_and_can_be_killed),
        TEST(a_process_starts_with_no_signal_blocked_or_ignored),
        TEST(a_missing_executable_is_an_error_and_no_process),
        TEST(without_descriptors_there_is_an_error_and_nothing_is_left),
        TEST(without_memory_there_is_no_host),
        TEST(the_processors_are_those_that_this_process_may_use),
    };

    return cmocka_run_group_tests_name("the Linux host", tests, NULL, NULL);
}
