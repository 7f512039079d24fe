/* SPDX-License-Identifier: MIT */
/*
 * tinytree: a whole supervised tree of processes, in one file.
 *
 *   root            reads commands, and prints what becomes of its services
 *   +- store        a service: keeps counts by name
 *   +- shop         a supervisor of its own, started after the store since it needs it
 *      +- clerk-1   workers: each sells what it is told to, and has an accident now and then
 *      +- clerk-2
 *
 * Root restarts by rest-for-one: a store that died takes the shop with it, whose clerks would go on
 * with counts that are gone; a shop that died leaves the store alone. The shop restarts its clerks
 * one by one, and gives itself up when that happens too often: then root restarts the shop.
 *
 *   tinytree                 commands on its standard input, one a line:
 *
 *   sell N NAME              clerk N sells one; the store counts it
 *   count NAME               what the store has counted
 *   crash N                  clerk N crashes
 *   kill store|shop          as if by accident
 *   tree                     who is up, and how often each was restarted
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yoke.h>

enum { CLERKS = 2, NAMES_MAX = 16, NAME = 32 };

/* --- the store: a service with state, which its clients call --- */

static struct count {
    char name[NAME];
    int64_t n;
} counts[NAMES_MAX];

static struct count *count_of(const char *name)
{
    for (int i = 0; i < NAMES_MAX; i++) {
        if (counts[i].name[0] == '\0')
            snprintf(counts[i].name, NAME, "%s", name);
        if (strcmp(counts[i].name, name) == 0)
            return &counts[i];
    }
    return NULL;
}

/* Adds args.add to the count of args.name, and returns it. */
static int store_add(struct yoke_context *ctx, struct yoke_value args)
{
    char name[NAME];
    int64_t add = 0;
    struct count *count;
    int rc = yoke_value_text(yoke_value_get(args, "name"), "name", name, sizeof name);

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "add"), "add", &add);
    if (rc < 0)
        return rc;
    count = count_of(name);
    if (count == NULL)
        return yoke_raise("tinytree.Full", ENOSPC, "the store has no room for %s", name);
    count->n += add;
    return yoke_context_return(ctx, yoke_int(count->n));
}
YOKE_ENDPOINT("store:add", store_add);

/* --- a clerk: a worker --- */

static int clerk_sell(struct yoke_context *ctx, struct yoke_value args)
{
    char what[NAME];
    int rc = yoke_value_text(yoke_value_get(args, "name"), "name", what, sizeof what);

    if (rc == 0 && strcmp(what, "crash") == 0)
        abort();
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_str(yoke_actor_self()->name));
}
YOKE_ENDPOINT("clerk:sell", clerk_sell);

/* --- the shop: a supervisor that is itself supervised --- */

static struct yoke_portal *clerks[CLERKS];

/* Passes an order on to clerk args.clerk; waits while that is being restarted. */
static int shop_sell(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value *result = NULL;
    int64_t clerk = 0;
    int rc = yoke_value_int(yoke_value_get(args, "clerk"), "clerk", &clerk);

    if (rc == 0 && (clerk < 1 || clerk > CLERKS))
        return yoke_raise("tinytree.NoClerk", ENOENT, "there is no clerk %d", (int)clerk);
    if (rc == 0)
        rc = yoke_call(clerks[clerk - 1], "clerk:sell", args, &result);
    if (rc == 0)
        rc = yoke_context_return(ctx, *result);
    yoke_value_free(result);
    return rc;
}
YOKE_ENDPOINT("shop:sell", shop_sell);

/* How often each clerk was restarted. */
static int shop_tree(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value restarts[CLERKS];

    (void)args;
    for (int i = 0; i < CLERKS; i++)
        restarts[i] = yoke_int(yoke_portal_restarts(clerks[i]));
    return yoke_context_return(ctx, yoke_array(restarts, CLERKS));
}
YOKE_ENDPOINT("shop:tree", shop_tree);

/* One line for each end that a supervisor deals with. */
static void tell(void *arg, const struct yoke_actor_end *end)
{
    (void)arg;
    printf("%s %s%s%s\n", yoke_portal_actor(end->portal)->name,
           end->restarts ? "is restarted" : "has ended", end->error != NULL ? ": " : "",
           end->error != NULL ? yoke_error_type(end->error) : "");
    fflush(stdout);
}

/* The shop's main endpoint. That it is up is told once its clerks are. */
static int shop_main(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_nursery staff;
    int rc = yoke_actor_nursery_open(&staff, &(struct yoke_actor_nursery_opts){
                                                 .strategy = YOKE_ONE_FOR_ONE,
                                                 .max_restarts = 2,
                                                 .period_ns = YOKE_S(3600),
                                                 .on_end = tell,
                                             });

    (void)args;
    for (int i = 0; rc == 0 && i < CLERKS; i++) {
        char name[NAME];

        snprintf(name, sizeof name, "clerk-%d", i + 1);
        rc = yoke_actor_start(&staff, name, &(struct yoke_actor_opts){.expose = "clerk:*"},
                              &clerks[i]);
    }
    if (rc == 0)
        rc = yoke_context_started(ctx, yoke_nil());
    if (rc == 0)
        rc = yoke_sleep_forever();
    return yoke_actor_nursery_close(&staff, rc);
}
YOKE_ENDPOINT("shop:main", shop_main);

/* --- the root --- */

struct tree {
    struct yoke_portal *store, *shop;
};

static int add(struct tree *tree, const char *name, int n)
{
    struct yoke_value args = YOKE_MAP({"name", yoke_str(name)}, {"add", yoke_int(n)});
    struct yoke_value *result = NULL;
    int rc = yoke_call(tree->store, "store:add", args, &result);

    if (rc == 0)
        printf("%s: %lld\n", name, (long long)result->as.integer);
    yoke_value_free(result);
    return rc;
}

static int sell(struct tree *tree, int clerk, const char *name)
{
    struct yoke_value args = YOKE_MAP({"clerk", yoke_int(clerk)}, {"name", yoke_str(name)});
    int rc = yoke_call(tree->shop, "shop:sell", args, NULL);

    return rc < 0 ? rc : add(tree, name, 1);
}

static int show(struct tree *tree)
{
    struct yoke_value *restarts = NULL;
    int rc = yoke_call(tree->shop, "shop:tree", yoke_nil(), &restarts);

    if (rc == 0) {
        printf("store %u, shop %u\n", yoke_portal_restarts(tree->store),
               yoke_portal_restarts(tree->shop));
        for (size_t i = 0; i < restarts->as.array.n; i++)
            printf("  clerk-%zu %lld\n", i + 1, (long long)restarts->as.array.items[i].as.integer);
    }
    yoke_value_free(restarts);
    return rc;
}

static int obey(struct tree *tree, const char *line)
{
    char name[NAME];
    int clerk;

    if (sscanf(line, "sell %d %31s", &clerk, name) == 2)
        return sell(tree, clerk, name);
    if (sscanf(line, "crash %d", &clerk) == 1)
        return sell(tree, clerk, "crash");
    if (sscanf(line, "count %31s", name) == 1)
        return add(tree, name, 0);
    if (sscanf(line, "kill %31s", name) == 1 && strcmp(name, "store") == 0)
        return kill(yoke_portal_actor(tree->store)->pid, SIGKILL), 0;
    if (sscanf(line, "kill %31s", name) == 1 && strcmp(name, "shop") == 0)
        return kill(yoke_portal_actor(tree->shop)->pid, SIGKILL), 0;
    if (strncmp(line, "tree", 4) == 0)
        return show(tree);
    printf("? %s\n", line);
    return 0;
}

/* One line of the standard input, without its end. 1; 0 at the end. */
static int next_line(char *line, size_t size)
{
    size_t n = 0;
    int rc;

    while ((rc = yoke_wait_readable(STDIN_FILENO)) == 0 &&
           (rc = (int)read(STDIN_FILENO, &line[n], 1)) > 0 && line[n] != '\n')
        n += n < size - 2;
    line[n] = '\0';
    return rc;
}

/* A failure of one command is told, and is no reason to end; a cancellation is. */
static int run(void *arg)
{
    struct tree *tree = arg;
    char line[128];
    int rc;

    while ((rc = next_line(line, sizeof line)) > 0) {
        rc = obey(tree, line);
        if (rc < 0 && rc != YOKE_CANCELLED) {
            struct yoke_error *error = yoke_catch();

            printf("%s failed: %s\n", line, yoke_error_type(error));
            yoke_error_unref(error);
            rc = 0;
        }
        fflush(stdout);
        if (rc < 0)
            break;
    }
    return rc;
}

static int app(void *arg)
{
    struct tree tree;
    struct yoke_actor_nursery services;
    int rc = yoke_actor_nursery_open(&services, &(struct yoke_actor_nursery_opts){
                                                    .strategy = YOKE_REST_FOR_ONE,
                                                    .ordered_shutdown = true,
                                                    .max_restarts = 20,
                                                    .on_end = tell,
                                                });

    (void)arg;
    if (rc == 0)
        rc = yoke_actor_start(&services, "store", &(struct yoke_actor_opts){.expose = "store:*"},
                              &tree.store);
    if (rc == 0)
        rc = yoke_actor_start(&services, "shop",
                              &(struct yoke_actor_opts){.expose = "shop:*", .run = "shop:main"},
                              &tree.shop);
    if (rc == 0)
        rc = run(&tree);
    return yoke_actor_nursery_close(&services, rc);
}

int main(int argc, char **argv)
{
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv});
}
