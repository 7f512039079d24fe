/* SPDX-License-Identifier: MIT */
/*
 * sieve [N]: the first N primes, by a chain of tasks joined by channels. The first counts; each
 * other one drops the multiples of one prime, and passes on the rest. What comes out of the last
 * is the next prime, for which the chain gets one more task. (After Hoare, and Kernighan's in Go.)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yoke.h>

enum { PRIMES_MAX = 10000 };

struct stage {
    struct yoke_channel *in; /* its own reference; NULL in the first */
    struct yoke_channel *out;
    int prime;
};

static int count(void *arg)
{
    struct stage *stage = arg;
    int rc = 0;

    for (int n = 2; rc == 0; n++)
        rc = yoke_channel_send(stage->out, &n);
    return rc; /* it is cancelled: nothing else ends it */
}

static int filter(void *arg)
{
    struct stage *stage = arg;
    int n;
    int rc;

    while ((rc = yoke_channel_receive(stage->in, &n)) > 0) {
        if (n % stage->prime != 0)
            rc = yoke_channel_send(stage->out, &n);
        if (rc < 0)
            break;
    }
    return rc;
}

/* Adds a task to the chain, which lets pass what `prime` does not divide; 0: which counts. */
static int add_stage(struct yoke_nursery *chain, struct stage *stages, int i, int prime)
{
    stages[i].prime = prime;
    stages[i].in = i == 0 ? NULL : yoke_channel_ref(stages[i - 1].out);
    stages[i].out = yoke_channel_new(sizeof(int), 0);
    if (stages[i].out == NULL)
        return yoke_error_code(yoke_in_flight());
    return yoke_spawn(chain, i == 0 ? count : filter, &stages[i]);
}

static int print_primes(struct yoke_nursery *chain, struct stage *stages, int n)
{
    int rc = add_stage(chain, stages, 0, 0);

    for (int i = 1; rc == 0 && i <= n; i++) {
        int prime;

        rc = yoke_channel_receive(stages[i - 1].out, &prime);
        if (rc < 0)
            break;
        printf("%d\n", prime);
        rc = i < n ? add_stage(chain, stages, i, prime) : 0;
    }
    if (rc == 0)
        yoke_scope_cancel(yoke_nursery_scope(chain), "enough primes");
    return rc;
}

static int app(void *arg)
{
    int n = *(int *)arg;
    struct stage *stages = calloc((size_t)n, sizeof *stages);
    struct yoke_nursery chain;
    int rc;

    if (stages == NULL)
        return yoke_raise("sieve.Memory", ENOMEM, "no memory for %d stages", n);
    rc = yoke_nursery_open(&chain, NULL);
    if (rc == 0)
        rc = print_primes(&chain, stages, n);
    rc = yoke_nursery_close(&chain, rc); /* all are done, their cancellation is absorbed */
    for (int i = 0; i < n; i++) {
        yoke_channel_unref(stages[i].in);
        yoke_channel_unref(stages[i].out);
    }
    free(stages);
    return rc;
}

int main(int argc, char **argv)
{
    int n = argc > 1 ? atoi(argv[1]) : 25;
    int rc;

    if (argc > 2 || n < 1 || n > PRIMES_MAX) {
        fprintf(stderr, "usage: sieve [N], from 1 to %d\n", PRIMES_MAX);
        return 2;
    }
    rc = yoke_run(app, &n, NULL);
    return rc < 0 ? yoke_report(stderr) : 0;
}
