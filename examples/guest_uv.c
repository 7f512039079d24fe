/* SPDX-License-Identifier: MIT */
/*
 * guest_uv: a runtime as a guest of libuv's loop, on the same thread. The two play: a timer of
 * libuv serves over a socket, a task returns each ball after a sleep and a worker thread of its
 * own; libuv lets its thread pool look at it and serves again. After some rounds the loop cancels
 * the guest, which says why.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include <yoke.h>

enum { ROUNDS = 5 };

struct game {
    struct yoke_guest *guest;
    uv_poll_t steps; /* the guest's descriptor */
    uv_timer_t timer;
    uv_poll_t returns; /* our end of the socket */
    uv_work_t work;
    int ours;
    int theirs;
    unsigned char ball;
    unsigned rounds;
    int result;
};

/* --- the guest ------------------------------------------------------------------------------- */

static int add_one(void *arg)
{
    ++*(unsigned char *)arg; /* in a worker thread of the guest */
    return 0;
}

static int player(void *arg)
{
    struct game *game = arg;
    unsigned char ball;
    ssize_t n;
    int rc = 0;

    while (rc == 0 && (n = yoke_read(game->theirs, &ball, 1)) != 0) {
        if (n < 0)
            return (int)n;
        printf("  task: got %d\n", ball);
        rc = yoke_sleep(YOKE_MS(2));
        if (rc == 0)
            rc = yoke_thread_run(add_one, &ball, NULL);
        if (rc == 0)
            rc = yoke_write_all(game->theirs, &ball, 1, NULL);
    }
    return rc;
}

/* --- the outer loop -------------------------------------------------------------------------- */

static void step(uv_poll_t *handle, int status, int events)
{
    struct game *game = handle->data;

    (void)status;
    (void)events;
    if (yoke_guest_step(game->guest) == 1)
        return;
    uv_close((uv_handle_t *)&game->steps, NULL);
    game->result = yoke_guest_close(game->guest);
}

static void serve(uv_timer_t *timer)
{
    struct game *game = timer->data;

    if (game->rounds++ < ROUNDS) {
        printf("loop: serves %d\n", game->ball);
        if (write(game->ours, &game->ball, 1) == 1)
            return;
    }
    yoke_guest_cancel(game->guest, "the game is over");
    uv_close((uv_handle_t *)&game->timer, NULL);
    uv_close((uv_handle_t *)&game->returns, NULL);
}

static void judge(uv_work_t *work)
{
    struct game *game = work->data;

    game->ball = (unsigned char)(game->ball * 2); /* in a thread of libuv's pool */
}

static void judged(uv_work_t *work, int status)
{
    struct game *game = work->data;

    (void)status;
    uv_timer_start(&game->timer, serve, 1, 0);
}

static void returned(uv_poll_t *handle, int status, int events)
{
    struct game *game = handle->data;

    (void)status;
    (void)events;
    if (read(game->ours, &game->ball, 1) != 1)
        return;
    printf("loop: got %d back\n", game->ball);
    uv_queue_work(handle->loop, &game->work, judge, judged);
}

int main(void)
{
    static struct game game = {.ball = 1};
    uv_loop_t *loop = uv_default_loop();
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        perror("socketpair");
        return 1;
    }
    game.ours = fds[0];
    game.theirs = fds[1];
    if (yoke_guest_open(player, &game, NULL, &game.guest) < 0)
        return yoke_report(stderr);
    game.steps.data = game.timer.data = game.returns.data = game.work.data = &game;
    uv_poll_init(loop, &game.steps, yoke_guest_fd(game.guest));
    uv_poll_start(&game.steps, UV_READABLE, step);
    uv_poll_init(loop, &game.returns, game.ours);
    uv_poll_start(&game.returns, UV_READABLE, returned);
    uv_timer_init(loop, &game.timer);
    uv_timer_start(&game.timer, serve, 1, 0);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    close(fds[0]);
    close(fds[1]);
    printf("the guest ended with %s\n", yoke_strcode(game.result));
    if (yoke_in_flight() != NULL)
        yoke_error_print(yoke_in_flight(), stdout, 0);
    yoke_clear();
    return game.result == YOKE_CANCELLED ? 0 : 1;
}
