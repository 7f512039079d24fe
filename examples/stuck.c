/* SPDX-License-Identifier: MIT */
/*
 * stuck: a program that does not get on, and says why when asked: kill -USR1 its process. A
 * producer waits for room in a channel, since the consumer waits for an event that nobody sets.
 * With "hog" a task also keeps the thread for itself; YOKE_HOG_MS=500 in the environment has that
 * reported.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <yoke.h>
#include <yoke/testing.h>

struct shop {
    struct yoke_channel *shelf;
    struct yoke_event open;
    bool hog;
};

static int producer(void *arg)
{
    struct shop *shop = arg;
    int rc = 0;

    for (int loaf = 1; rc == 0; loaf++)
        rc = yoke_channel_send(shop->shelf, &loaf);
    return rc;
}

static int consumer(void *arg)
{
    struct shop *shop = arg;
    struct yoke_scope patience;
    int loaf, rc;

    rc = yoke_scope_open(&patience,
                         &(struct yoke_scope_opts){.name = "patience", .timeout_ns = YOKE_S(3600)});
    if (rc == 0)
        rc = yoke_event_wait(&shop->open);
    while (rc == 0 && (rc = yoke_channel_receive(shop->shelf, &loaf)) > 0)
        rc = 0;
    return yoke_scope_close(&patience, rc);
}

static void count_for_ever(void)
{
    for (volatile unsigned long n = 0;; n++)
        continue;
}

static int hog(void *arg)
{
    (void)arg;
    count_for_ever();
    return 0;
}

static int app(void *arg)
{
    struct shop *shop = arg;
    struct yoke_nursery staff;
    int rc = yoke_nursery_open(&staff, &(struct yoke_nursery_opts){.name = "staff"});

    yoke_event_init(&shop->open);
    shop->shelf = yoke_channel_new(sizeof(int), 3);
    if (rc == 0 && shop->shelf == NULL)
        rc = yoke_error_code(yoke_in_flight());
    if (rc == 0)
        rc = yoke_spawn(&staff, producer, shop);
    if (rc == 0)
        rc = yoke_spawn(&staff, consumer, shop);
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    if (rc == 0 && shop->hog)
        rc = yoke_spawn(&staff, hog, NULL);
    fputs("stuck\n", stderr);
    rc = yoke_nursery_close(&staff, rc);
    yoke_channel_unref(shop->shelf);
    return rc;
}

int main(int argc, char **argv)
{
    struct shop shop = {.hog = argc > 1 && strcmp(argv[1], "hog") == 0};

    struct yoke_watch_opts watch = {.dump_signal = SIGUSR1};

    return yoke_main(
        app, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = &shop, .watch = &watch});
}
