/* SPDX-License-Identifier: MIT */
/*
 * Guest mode, with an outer loop of the test's own: poll() over the descriptors of its guests,
 * which also counts, so that a guest that spins is noticed. Real time, threads and descriptors.
 */
#include "../tests/support/realrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke/event.h>
#include <yoke/guest.h>
#include <yoke/io.h>
#include <yoke/nursery.h>
#include <yoke/subprocess.h>
#include <yoke/testing.h>

#include "base/memory.h"

enum { GUESTS_MAX = 3 };

/* Steps each guest whenever its descriptor says so, until all are finished. Returns the steps. */
static unsigned run_loop(struct yoke_guest **guests, size_t n)
{
    struct pollfd fds[GUESTS_MAX];
    unsigned steps = 0;
    size_t alive = n;

    for (size_t i = 0; i < n; i++)
        fds[i] = (struct pollfd){.fd = yoke_guest_fd(guests[i]), .events = POLLIN};
    while (alive > 0) {
        assert_true(poll(fds, n, -1) > 0);
        for (size_t i = 0; i < n; i++) {
            if (fds[i].revents == 0)
                continue;
            steps++;
            if (yoke_guest_step(guests[i]) == 0) {
                fds[i].fd = -1;
                alive--;
            }
        }
    }
    return steps;
}

static bool readable(struct yoke_guest *guest)
{
    struct pollfd fd = {.fd = yoke_guest_fd(guest), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

/* Steps as long as there is something to do at once. */
static void settle(struct yoke_guest *guest)
{
    while (readable(guest))
        if (yoke_guest_step(guest) == 0)
            return;
}

static struct yoke_guest *guest_of(yoke_task_fn fn, void *arg)
{
    struct yoke_guest *guest = NULL;

    assert_int_equal(yoke_guest_open_at(YOKE_HERE, fn, "guest", arg, NULL, &guest), 0);
    assert_non_null(guest);
    return guest;
}

#define GUEST_TEST(law)                                                                            \
    static void law##_body(void);                                                                  \
    static void law(void **state)                                                                  \
    {                                                                                              \
        struct yk_left_behind before;                                                              \
                                                                                                   \
        (void)state;                                                                               \
        yk_left_behind_note(&before);                                                              \
        law##_body();                                                                              \
        yk_check(yoke_in_flight() == NULL);                                                        \
        yoke_clear();                                                                              \
        yk_left_behind_check(&before);                                                             \
    }                                                                                              \
    static void law##_body(void)

static int give_seven(void *arg)
{
    *(bool *)arg = true;
    return 7;
}

GUEST_TEST(a_guest_runs_only_in_its_steps_and_gives_its_result)
{
    bool ran = false;
    struct yoke_guest *guest = guest_of(give_seven, &ran);

    yk_check(readable(guest));
    yk_check(!ran);
    run_loop(&guest, 1);
    yk_check(ran);
    yk_check_int(yoke_guest_step(guest), 0); /* still finished */
    yk_check_int(yoke_guest_close(guest), 7);
    yk_check_int(yoke_guest_close(NULL), 0);
}

static int go_bad(void *arg)
{
    (void)arg;
    return yoke_raise("test.Bad", EBADF, "bad");
}

GUEST_TEST(the_error_of_a_guest_is_in_flight_when_it_is_closed)
{
    struct yoke_guest *guest = guest_of(go_bad, NULL);

    run_loop(&guest, 1);
    yk_check(yoke_in_flight() == NULL);
    yk_check_int(yoke_guest_close(guest), -EBADF);
    yk_check_caught("test.Bad", "bad");
}

static int nap(void *arg)
{
    int64_t until = yoke_now() + *(int64_t *)arg;
    int rc = yoke_sleep(*(int64_t *)arg);

    yk_check(rc < 0 || yoke_now() >= until);
    return rc;
}

GUEST_TEST(a_sleeping_guest_wakes_its_loop_in_time_and_not_before)
{
    int64_t short_ns = YOKE_MS(30);
    struct yoke_guest *guest = guest_of(nap, &short_ns);
    unsigned steps;

    settle(guest);
    yk_check(!readable(guest));
    yk_check_text(yoke_task_name(), ""); /* what runs here is nobody's task */
    steps = run_loop(&guest, 1);
    yk_check(steps <= 3);
    yk_check_int(yoke_guest_close(guest), 0);
}

GUEST_TEST(a_step_without_anything_to_do_does_not_wait)
{
    int64_t long_ns = YOKE_S(3600);
    struct yoke_guest *guest = guest_of(nap, &long_ns);

    settle(guest);
    for (int i = 0; i < 3; i++)
        yk_check_int(yoke_guest_step(guest), 1);
    yk_check(!readable(guest));
    yoke_guest_cancel(guest, NULL);
    run_loop(&guest, 1);
    yk_check_int(yoke_guest_close(guest), YOKE_CANCELLED);
    yoke_clear();
}

static int naps(void *arg)
{
    struct yoke_nursery nursery;
    static int64_t lengths[4] = {YOKE_MS(40), YOKE_MS(10), YOKE_MS(20), YOKE_MS(30)};

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    for (int i = 0; i < 4; i++)
        yk_check_int(yoke_spawn(&nursery, nap, &lengths[i]), 0);
    return yoke_nursery_close(&nursery, 0);
}

GUEST_TEST(each_of_several_deadlines_wakes_the_loop)
{
    struct yoke_guest *guest = guest_of(naps, NULL);

    yk_check(run_loop(&guest, 1) <= 16);
    yk_check_int(yoke_guest_close(guest), 0);
}

static int spin(void *arg)
{
    unsigned *turns = arg;
    int rc = 0;

    while (rc == 0 && *turns < 100000) {
        (*turns)++;
        rc = yoke_checkpoint();
    }
    return rc;
}

GUEST_TEST(a_busy_guest_gives_the_loop_its_turns)
{
    unsigned turns = 0;
    struct yoke_guest *guest = guest_of(spin, &turns);

    yk_check_int(yoke_guest_step(guest), 1);
    yk_check(turns > 0 && turns < 1000);
    yk_check(readable(guest));
    yk_check(run_loop(&guest, 1) > 100);
    yk_check_int(turns, 100000);
    yk_check_int(yoke_guest_close(guest), 0);
}

/* --- several guests -------------------------------------------------------------------------- */

struct player {
    int read_fd;
    int write_fd;
    bool serves;
    const char *actor;
    unsigned rounds;
};

/* Plays ping-pong with the other guest, with an error of its own in flight. */
static int play(void *arg)
{
    struct player *player = arg;
    char ball = 0;
    int rc = 0;

    (void)yoke_raise("test.Kept", EBADF, "%s", player->actor);
    for (player->rounds = 0; player->rounds < 50 && rc == 0; player->rounds++) {
        if (player->serves || player->rounds > 0)
            rc = yoke_write_all(player->write_fd, &ball, 1, NULL);
        if (rc == 0 && yoke_read(player->read_fd, &ball, 1) != 1)
            rc = yoke_raise("test.Lost", EPIPE, "the other is gone");
        yk_check_text(yoke_task_name(), "guest");
        yk_check_text(yoke_error_message(yoke_in_flight()), player->actor);
        yk_check_text(yoke_error_actor(yoke_in_flight())->name, player->actor);
    }
    if (rc == 0 && !player->serves)
        rc = yoke_write_all(player->write_fd, &ball, 1, NULL);
    yk_check_caught("test.Kept", player->actor);
    return rc;
}

GUEST_TEST(two_guests_of_one_thread_play_with_each_other)
{
    struct yoke_guest *guests[2];
    struct player players[2];
    int there[2], back[2];

    assert_int_equal(pipe2(there, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(pipe2(back, O_NONBLOCK | O_CLOEXEC), 0);
    players[0] = (struct player){back[0], there[1], true, "left", 0};
    players[1] = (struct player){there[0], back[1], false, "right", 0};
    for (int i = 0; i < 2; i++)
        assert_int_equal(yoke_guest_open_at(YOKE_HERE, play, "guest", &players[i],
                                            &(struct yoke_run_opts){.actor_name = players[i].actor},
                                            &guests[i]),
                         0);
    run_loop(guests, 2);
    for (int i = 0; i < 2; i++) {
        yk_check_int(players[i].rounds, 50);
        yk_check_int(yoke_guest_close(guests[i]), 0);
        close(there[i]);
        close(back[i]);
    }
}

static int nothing(void *arg)
{
    (void)arg;
    return yoke_checkpoint();
}

GUEST_TEST(between_its_steps_the_thread_is_free)
{
    int64_t short_ns = YOKE_MS(1);
    struct yoke_guest *guest = guest_of(nap, &short_ns);

    yk_check_int(yoke_guest_step(guest), 1);
    yk_check_int(yoke_run(nothing, NULL, NULL), 0); /* a whole runtime in between */
    (void)yoke_raise("test.Outer", EIO, "the loop's own");
    run_loop(&guest, 1);
    yk_check_text(yoke_error_type(yoke_in_flight()), "test.Outer");
    yk_check_caught("test.Outer", "the loop's own");
    yk_check_int(yoke_guest_close(guest), 0);
}

static int in_thread(void *arg)
{
    *(int *)arg = 5;
    return 0;
}

/* Threads and processes come back through the one descriptor. */
static int use_the_world(void *arg)
{
    static const char *const argv[] = {"echo", "hello", NULL};
    struct yoke_process_result result;
    int value = 0;

    (void)arg;
    for (int i = 0; i < 10; i++) {
        value = 0;
        yk_check_int(yoke_thread_run(in_thread, &value, NULL), 0);
        yk_check_int(value, 5);
        yk_check_int(yoke_sleep(YOKE_MS(1)), 0);
    }
    yk_check_int(
        yoke_process_run(argv, &(struct yoke_process_opts){.output = {.kind = YOKE_STDIO_CAPTURE}},
                         &result),
        0);
    yk_check_text(result.output, "hello\n");
    yoke_process_result_fini(&result);
    return 0;
}

GUEST_TEST(threads_timers_and_processes_come_back_through_the_one_descriptor)
{
    struct yoke_guest *guests[2] = {guest_of(use_the_world, NULL), guest_of(use_the_world, NULL)};

    yk_check(run_loop(guests, 2) < 400);
    yk_check_int(yoke_guest_close(guests[0]), 0);
    yk_check_int(yoke_guest_close(guests[1]), 0);
}

static int all_blocked(void *arg)
{
    struct yoke_nursery nursery;
    static int64_t length = YOKE_S(60);

    (void)arg;
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, nap, &length), 0);
    yk_check_int(yoke_wait_all_tasks_blocked(), 0);
    yoke_scope_cancel(yoke_nursery_scope(&nursery), NULL);
    return yoke_nursery_close(&nursery, 0);
}

GUEST_TEST(a_guest_may_wait_until_all_its_tasks_are_blocked)
{
    struct yoke_guest *guest = guest_of(all_blocked, NULL);

    run_loop(&guest, 1);
    yk_check_int(yoke_guest_close(guest), 0);
}

/* --- ends ------------------------------------------------------------------------------------ */

static int wait_for_ever(void *arg)
{
    struct yoke_event event;

    *(bool *)arg = true;
    yoke_event_init(&event);
    return yoke_event_wait(&event);
}

static void expect_cancelled(struct yoke_guest *guest, const char *reason)
{
    struct yoke_error *error;
    const struct yoke_cause *cause;

    yk_check_int(yoke_guest_close(guest), YOKE_CANCELLED);
    error = yoke_catch();
    yk_check(error != NULL && yoke_error_is_cancelled(error));
    cause = yoke_error_cause(error);
    yk_check_text(yoke_cause_reason(cause), reason);
    yk_check_text(yoke_cause_requester(cause)->task_name, "outer loop");
    yk_check(yoke_cause_requester(cause)->line > 0);
    yk_check_text(yoke_cause_scope(cause)->name, "guest");
    yoke_error_unref(error);
}

GUEST_TEST(the_outer_loop_cancels_with_a_cause)
{
    bool began = false;
    struct yoke_guest *guest = guest_of(wait_for_ever, &began);

    settle(guest);
    yk_check_int(yoke_guest_step(guest), 1);
    yk_check(began && !readable(guest)); /* that nothing inside can wake it is no deadlock */
    yoke_guest_cancel(guest, "enough");
    yoke_guest_cancel(guest, "more than enough");
    yk_check(readable(guest));
    run_loop(&guest, 1);
    yoke_guest_cancel(guest, "too late"); /* of a finished one: nothing */
    expect_cancelled(guest, "enough");
}

GUEST_TEST(a_guest_cancelled_before_its_first_step_begins_cancelled)
{
    bool began = false;
    struct yoke_guest *guest = guest_of(wait_for_ever, &began);

    yoke_guest_cancel(guest, "never mind");
    run_loop(&guest, 1);
    yk_check(began);
    expect_cancelled(guest, "never mind");
}

static int clean_up_slowly(void *arg)
{
    int rc = yoke_sleep_forever();
    struct yoke_hold hold;
    struct yoke_scope scope;

    yoke_hold(&hold);
    yk_check_int(yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = true}), 0);
    yk_check_int(yoke_scope_close(&scope, yoke_sleep(YOKE_MS(5))), 0);
    *(bool *)arg = true;
    (void)yoke_release(&hold);
    return rc;
}

GUEST_TEST(closing_an_unfinished_guest_cancels_it_and_waits)
{
    bool cleaned = false, began = false;
    struct yoke_guest *guest = guest_of(clean_up_slowly, &cleaned);

    settle(guest);
    expect_cancelled(guest, "the guest was closed");
    yk_check(cleaned);
    expect_cancelled(guest_of(wait_for_ever, &began), "the guest was closed"); /* never stepped */
}

/* --- misuse and want ------------------------------------------------------------------------- */

static int open_inside(void *arg)
{
    struct yoke_guest *guest;

    (void)arg;
    yk_check_int(yoke_guest_open(nothing, NULL, NULL, &guest), -EBUSY);
    yk_check_caught("yoke.Guest", "a guest belongs to an outer loop, not inside a task");
    return 0;
}

GUEST_TEST(a_guest_is_not_opened_inside_a_task_or_on_a_simulated_host)
{
    struct yoke_guest *guest;
    struct yoke_host *host = yoke_host_sim_new(1);

    yk_check_int(yoke_run(open_inside, NULL, NULL), 0);
    yk_check_int(yoke_guest_open(nothing, NULL, &(struct yoke_run_opts){.host = host}, &guest),
                 -ENOSYS);
    yk_check_caught("yoke.Guest",
                    "a guest needs a host that an outer loop can watch, not the sim one");
    yoke_host_free(host);
}

static int step_it(void *arg)
{
    return yoke_guest_step(arg);
}

static void *step_in_thread(void *arg)
{
    return yoke_guest_step(arg) == 0 ? arg : NULL;
}

static void step_in_task_of_another(void)
{
    bool began;

    assert_int_equal(yoke_run(step_it, guest_of(wait_for_ever, &began), NULL), 0);
}

static struct yoke_guest *itself;

static int step_itself(void *arg)
{
    (void)arg;
    return yoke_guest_step(itself);
}

static void step_in_own_step(void)
{
    itself = guest_of(step_itself, NULL);
    assert_int_equal(yoke_guest_step(itself), 0);
}

static void step_in_another_thread(void)
{
    bool began;
    pthread_t thread;

    if (pthread_create(&thread, NULL, step_in_thread, guest_of(wait_for_ever, &began)) == 0)
        pthread_join(thread, NULL);
}

static void expect_abort(void (*misuse)(void), const char *expected)
{
    char text[2048];
    ssize_t n;
    int status;
    int fds[2];
    pid_t pid;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        dup2(fds[1], 2);
        misuse();
        _exit(0);
    }
    close(fds[1]);
    n = read(fds[0], text, sizeof text - 1);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(strstr(text, expected));
}

static void a_step_at_the_wrong_place_aborts(void **state)
{
    static const char inside[] = "yoke: misuse: yoke_guest_step inside a task or another step";

    (void)state;
    expect_abort(step_in_task_of_another, inside);
    expect_abort(step_in_own_step, inside);
    expect_abort(step_in_another_thread,
                 "yoke: misuse: yoke_guest_step by another thread than the one that opened");
}

GUEST_TEST(without_memory_or_descriptors_opening_fails_and_leaks_nothing)
{
    struct yoke_guest *guest;
    bool ran = false;
    unsigned n;

    for (n = 1; n < 50; n++) {
        bool delivered;
        int rc;

        (void)yk_memory_fail_at(n, false);
        rc = yoke_guest_open(give_seven, &ran, NULL, &guest);
        delivered = yk_memory_fail_at(0, false) == 0;
        if (rc == 0) {
            yk_check(!delivered);
            break;
        }
        yk_check_int(rc, -ENOMEM);
        yoke_clear();
    }
    yk_check(n > 3 && n < 50);
    run_loop(&guest, 1);
    yk_check_int(yoke_guest_close(guest), 7);
    for (n = 0; n < 10; n++) {
        int rc;

        yk_real_limit_descriptors((int)n);
        rc = yoke_guest_open(give_seven, &ran, NULL, &guest);
        yk_real_limit_descriptors(-1);
        if (rc == 0)
            break;
        yk_check_int(rc, -EMFILE);
        yoke_clear();
    }
    yk_check_int(n, 3);
    run_loop(&guest, 1);
    yk_check_int(yoke_guest_close(guest), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_runs_only_in_its_steps_and_gives_its_result),
        cmocka_unit_test(the_error_of_a_guest_is_in_flight_when_it_is_closed),
        cmocka_unit_test(a_sleeping_guest_wakes_its_loop_in_time_and_not_before),
        cmocka_unit_test(a_step_without_anything_to_do_does_not_wait),
        cmocka_unit_test(each_of_several_deadlines_wakes_the_loop),
        cmocka_unit_test(a_busy_guest_gives_the_loop_its_turns),
        cmocka_unit_test(two_guests_of_one_thread_play_with_each_other),
        cmocka_unit_test(between_its_steps_the_thread_is_free),
        cmocka_unit_test(threads_timers_and_processes_come_back_through_the_one_descriptor),
        cmocka_unit_test(a_guest_may_wait_until_all_its_tasks_are_blocked),
        cmocka_unit_test(the_outer_loop_cancels_with_a_cause),
        cmocka_unit_test(a_guest_cancelled_before_its_first_step_begins_cancelled),
        cmocka_unit_test(closing_an_unfinished_guest_cancels_it_and_waits),
        cmocka_unit_test(a_guest_is_not_opened_inside_a_task_or_on_a_simulated_host),
        cmocka_unit_test(a_step_at_the_wrong_place_aborts),
        cmocka_unit_test(without_memory_or_descriptors_opening_fails_and_leaks_nothing),
    };

    return cmocka_run_group_tests_name("guest", tests, NULL, NULL);
}
