/* SPDX-License-Identifier: MIT */
/*
 * guest_glib: two runtimes as guests of GLib's main loop, on the same thread, and what they share
 * with it: GLib's timer pours numbers into a socket, the tasks of the first guest square them in
 * worker threads, those of the second add them up, and GLib reads the sums. When it has had enough
 * it cancels both, and they say why.
 */
#include <glib-unix.h>
#include <glib.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yoke.h>

enum { NUMBERS = 6 };

struct loop;

/* One guest, reading numbers at one end and writing them at the other. */
struct stage {
    const char *name;
    struct yoke_guest *guest;
    int in;
    int out;
    int (*work)(void *arg);
    long sum;
    long number;
    struct loop *loop;
};

struct loop {
    GMainLoop *main_loop;
    struct stage stages[2];
    int first; /* our end of the first socket, and of the last */
    int last;
    long next;
    unsigned guests;
};

/* --- the guests ------------------------------------------------------------------------------ */

static int square(void *arg)
{
    struct stage *stage = arg;

    stage->number *= stage->number; /* in a worker thread */
    return 0;
}

static int add(void *arg)
{
    struct stage *stage = arg;

    stage->number = stage->sum += stage->number;
    return 0;
}

static int run_stage(void *arg)
{
    struct stage *stage = arg;
    ssize_t n;
    int rc = 0;

    while (rc == 0 && (n = yoke_read(stage->in, &stage->number, sizeof stage->number)) != 0) {
        if (n < 0)
            return (int)n;
        rc = yoke_thread_run(stage->work, stage, NULL);
        if (rc == 0)
            rc = yoke_sleep(YOKE_MS(1));
        if (rc == 0)
            rc = yoke_write_all(stage->out, &stage->number, sizeof stage->number, NULL);
    }
    return rc;
}

/* --- the outer loop -------------------------------------------------------------------------- */

static gboolean step(gint fd, GIOCondition condition, gpointer data)
{
    struct stage *stage = data;

    (void)fd;
    (void)condition;
    if (yoke_guest_step(stage->guest) == 1)
        return G_SOURCE_CONTINUE;
    printf("%s ended with %s\n", stage->name, yoke_strcode(yoke_guest_close(stage->guest)));
    if (yoke_in_flight() != NULL)
        yoke_error_print(yoke_in_flight(), stdout, 0);
    yoke_clear();
    if (--stage->loop->guests == 0)
        g_main_loop_quit(stage->loop->main_loop);
    return G_SOURCE_REMOVE;
}

static gboolean pour(gpointer data)
{
    struct loop *loop = data;

    loop->next++;
    printf("loop: %ld\n", loop->next);
    return write(loop->first, &loop->next, sizeof loop->next) < 0 || loop->next == NUMBERS
               ? G_SOURCE_REMOVE
               : G_SOURCE_CONTINUE;
}

static gboolean drink(gint fd, GIOCondition condition, gpointer data)
{
    struct loop *loop = data;
    static unsigned sums;
    long sum;

    (void)condition;
    if (read(fd, &sum, sizeof sum) < 0)
        return G_SOURCE_CONTINUE;
    printf("loop: the sum is %ld\n", sum);
    if (++sums < NUMBERS)
        return G_SOURCE_CONTINUE;
    for (int i = 0; i < 2; i++)
        yoke_guest_cancel(loop->stages[i].guest, "the loop has had enough");
    return G_SOURCE_REMOVE;
}

static int make_pair(int *left, int *right)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
        perror("socketpair");
        return -1;
    }
    *left = fds[0];
    *right = fds[1];
    return 0;
}

int main(void)
{
    static struct loop the_loop;
    struct loop *loop = &the_loop;
    struct stage *stages = loop->stages;

    stages[0] = (struct stage){.name = "squares", .work = square, .loop = loop};
    stages[1] = (struct stage){.name = "sums", .work = add, .loop = loop};
    if (make_pair(&loop->first, &stages[0].in) < 0 ||
        make_pair(&stages[0].out, &stages[1].in) < 0 || make_pair(&stages[1].out, &loop->last) < 0)
        return 1;
    loop->main_loop = g_main_loop_new(NULL, FALSE);
    for (int i = 0; i < 2; i++) {
        if (yoke_guest_open(run_stage, &stages[i],
                            &(struct yoke_run_opts){.actor_name = stages[i].name},
                            &stages[i].guest) < 0)
            return yoke_report(stderr);
        g_unix_fd_add(yoke_guest_fd(stages[i].guest), G_IO_IN, step, &stages[i]);
        loop->guests++;
    }
    g_timeout_add(2, pour, loop);
    g_unix_fd_add(loop->last, G_IO_IN, drink, loop);
    g_main_loop_run(loop->main_loop);
    g_main_loop_unref(loop->main_loop);
    return 0;
}
