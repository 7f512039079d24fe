/* SPDX-License-Identifier: MIT */
/*
 * philosophers [--greedy]: five of them at a round table with five forks, each needs the two beside
 * his plate. A limiter lets at most four sit down, so that one of them can always eat. Greedy ones
 * all sit down, each takes the fork on his left, and none ever gets the other; the runtime notices
 * that nothing can happen any more, says who waits for what, and unwinds them.
 */
#include <stdio.h>
#include <string.h>
#include <yoke.h>

enum { PHILOSOPHERS = 5, MEALS = 3 };

struct table {
    struct yoke_mutex forks[PHILOSOPHERS];
    struct yoke_limiter seats;
};

struct philosopher {
    const char *name;
    struct table *table;
    int place;
    int meals;
};

/* With both forks in hand. */
static int eat(struct philosopher *philosopher)
{
    int rc = yoke_sleep(YOKE_MS(1));

    if (rc == 0)
        philosopher->meals++;
    return rc;
}

static int take_forks_and_eat(struct philosopher *philosopher)
{
    struct yoke_mutex *left = &philosopher->table->forks[philosopher->place];
    struct yoke_mutex *right = &philosopher->table->forks[(philosopher->place + 1) % PHILOSOPHERS];
    int rc = yoke_mutex_lock(left);

    if (rc < 0)
        return rc;
    rc = yoke_checkpoint(); /* takes his time, so that the others take theirs */
    if (rc == 0)
        rc = yoke_mutex_lock(right);
    if (rc == 0) {
        rc = eat(philosopher);
        yoke_mutex_unlock(right);
    }
    yoke_mutex_unlock(left);
    return rc;
}

static int dine(void *arg)
{
    struct philosopher *philosopher = arg;
    struct yoke_token seat;
    int rc = 0;

    while (rc == 0 && philosopher->meals < MEALS) {
        rc = yoke_limiter_acquire(&philosopher->table->seats, &seat, NULL);
        if (rc < 0)
            break;
        rc = take_forks_and_eat(philosopher);
        yoke_limiter_release(&seat);
        if (rc == 0)
            rc = yoke_sleep(YOKE_MS(1)); /* thinks */
    }
    return rc;
}

static int app(void *arg)
{
    static const char *const names[PHILOSOPHERS] = {"Aristotle", "Hypatia", "Leibniz", "Spinoza",
                                                    "Weil"};
    struct philosopher philosophers[PHILOSOPHERS];
    struct table table;
    struct yoke_nursery nursery;
    int rc;

    yoke_limiter_init(&table.seats, *(size_t *)arg);
    for (int i = 0; i < PHILOSOPHERS; i++)
        yoke_mutex_init(&table.forks[i]);
    rc = yoke_nursery_open(&nursery, NULL);
    for (int i = 0; rc == 0 && i < PHILOSOPHERS; i++) {
        philosophers[i] = (struct philosopher){.name = names[i], .table = &table, .place = i};
        rc = yoke_spawn_with(&nursery, dine, &philosophers[i],
                             &(struct yoke_task_opts){.name = names[i]});
    }
    rc = yoke_nursery_close(&nursery, rc);
    for (int i = 0; rc == 0 && i < PHILOSOPHERS; i++)
        printf("%s ate %d times\n", philosophers[i].name, philosophers[i].meals);
    for (int i = 0; i < PHILOSOPHERS; i++)
        yoke_mutex_fini(&table.forks[i]); /* would abort if anybody had kept his fork */
    yoke_limiter_fini(&table.seats);
    return rc;
}

int main(int argc, char **argv)
{
    size_t seats = PHILOSOPHERS - 1;
    int rc;

    if (argc == 2 && strcmp(argv[1], "--greedy") == 0) {
        seats = PHILOSOPHERS;
    } else if (argc > 1) {
        fprintf(stderr, "usage: philosophers [--greedy]\n");
        return 2;
    }
    rc = yoke_run(app, &seats, NULL);
    return rc < 0 ? yoke_report(stderr) : 0;
}
