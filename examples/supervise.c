/* SPDX-License-Identifier: MIT */
/*
 * supervise: keeps commands running. Each is a process in a group of its own; one that ends is
 * started again, after a pause that doubles each time and is short again once it has run for long
 * enough. On SIGINT or SIGTERM they are stopped in reverse order, each wholly before the next. A
 * command that keeps ending gives the whole program up, after all others were stopped.
 *
 *   supervise [-b PAUSE_MS] [-r RESTARTS] COMMAND...
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke.h>

enum { PAUSE_MAX_S = 30, SETTLED_S = 10, SERVICES_MAX = 64 };

struct service {
    const char *command;
    int number;
    struct yoke_scope scope; /* behind its shield the service runs until it is stopped */
    struct yoke_event ended;
    bool running;
};

static int64_t first_pause_ns = YOKE_MS(500);
static long restarts_max = 10;

/* One life of the process. */
static int live(struct service *service)
{
    const char *argv[] = {"sh", "-c", service->command, NULL};
    struct yoke_process process;
    struct yoke_process_exit end;
    int rc = yoke_process_open(&process, argv,
                               &(struct yoke_process_opts){.own_group = true, .unchecked = true});

    if (rc == 0)
        printf("%d: started, pid %d\n", service->number, (int)yoke_process_pid(&process));
    memset(&end, 0, sizeof end);
    rc = yoke_process_close(&process, rc, &end);
    if (end.ended_by_us)
        printf("%d: stopped\n", service->number);
    else if (rc == 0 && WIFSIGNALED(end.status))
        printf("%d: killed by signal %d\n", service->number, WTERMSIG(end.status));
    else if (rc == 0)
        printf("%d: exited with status %d\n", service->number, WEXITSTATUS(end.status));
    return rc;
}

/* Lives again and again. Ends by being cancelled, or with an error when it gives up. */
static int keep_alive(struct service *service)
{
    int64_t pause = first_pause_ns;
    long restarts = 0;
    int rc = 0;

    while (rc == 0) {
        int64_t began = yoke_now();

        rc = live(service);
        if (rc == 0 && yoke_now() - began > YOKE_S(SETTLED_S)) {
            restarts = 0;
            pause = first_pause_ns;
        }
        if (rc == 0 && restarts++ == restarts_max)
            rc = yoke_raise("supervise.GaveUp", EAGAIN, "\"%s\" has ended %ld times in a row",
                            service->command, restarts);
        if (rc == 0)
            rc = yoke_sleep(pause);
        pause = pause * 2 > YOKE_S(PAUSE_MAX_S) ? YOKE_S(PAUSE_MAX_S) : pause * 2;
    }
    return rc;
}

static int serve(void *arg)
{
    struct service *service = arg;
    int rc = yoke_scope_open(&service->scope,
                             &(struct yoke_scope_opts){.name = service->command, .shield = true});

    service->running = true;
    rc = yoke_started(NULL);
    if (rc == 0)
        rc = keep_alive(service);
    service->running = false;
    rc = yoke_scope_close(&service->scope, rc);
    yoke_event_set(&service->ended);
    return rc;
}

/* The last one first. Behind a shield: it takes its time also when the program is cancelled. */
static void stop(struct service *services, int n)
{
    struct yoke_hold hold;
    struct yoke_scope scope;
    int rc;

    yoke_hold(&hold);
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "stop", .shield = true});
    for (int i = n - 1; i >= 0 && rc == 0; i--) {
        if (services[i].running)
            yoke_scope_cancel(&services[i].scope, "the supervisor stops");
        rc = yoke_event_wait(&services[i].ended);
    }
    rc = yoke_scope_close(&scope, rc);
    (void)yoke_release(&hold);
}

struct program {
    char **commands;
    int n;
};

static int app(void *arg)
{
    struct program *program = arg;
    struct service services[SERVICES_MAX];
    struct yoke_nursery nursery;
    int n = 0;
    int rc = yoke_nursery_open(&nursery, NULL);

    for (; rc == 0 && n < program->n; n++) {
        services[n] = (struct service){.command = program->commands[n], .number = n + 1};
        yoke_event_init(&services[n].ended);
        rc = yoke_start(&nursery, serve, &services[n], NULL);
        if (rc < 0)
            break; /* this one has not begun */
    }
    if (rc == 0)
        rc = yoke_sleep_forever(); /* until a signal, or a service that gives up */
    stop(services, n);
    return yoke_nursery_close(&nursery, rc);
}

static int usage(void)
{
    fprintf(stderr, "Usage: supervise [-b PAUSE_MS] [-r RESTARTS] COMMAND...   (at most %d)\n",
            SERVICES_MAX);
    return 2;
}

int main(int argc, char **argv)
{
    struct program program;
    int option;

    while ((option = getopt(argc, argv, "+b:r:")) != -1) {
        if (option == 'b')
            first_pause_ns = YOKE_MS(strtol(optarg, NULL, 10));
        else if (option == 'r')
            restarts_max = strtol(optarg, NULL, 10);
        else
            return usage();
    }
    program.commands = argv + optind;
    program.n = argc - optind;
    if (program.n < 1 || program.n > SERVICES_MAX)
        return usage();
    setlinebuf(stdout);
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = &program});
}
