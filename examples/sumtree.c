/* SPDX-License-Identifier: MIT */
/*
 * sumtree: the SHA-256 of every regular file under directories, by worker processes, in the format
 * of sha256sum(1) and in the order of completion.
 *
 *   listing --files--> slots, each with a worker actor --results--> printing
 *
 * Channels and windows are bounded, so that whatever is slowest holds up the rest. When a worker
 * dies, another one gets what it has not answered; a file at which DEATHS_MAX died is given up.
 */
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yoke.h>

enum { WINDOW = 16, DEATHS_MAX = 25, WORKERS_MAX = 256, DIGEST = 65, LINE = 2 * PATH_MAX + 256 };

/* In a worker. 0; an errno, if the file is what is wrong; negative: a failure, or cancelled. */
static int hash_file(const char *path, EVP_MD_CTX *md, char *text)
{
    static unsigned char chunk[256 << 10]; /* no checkpoint lies between filling and using it */
    unsigned char digest[EVP_MAX_MD_SIZE];
    struct stat status;
    ssize_t n = 0;
    /* Neither a symbolic link nor a FIFO that has taken the file's place: those may block. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    int rc = fd < 0 || fstat(fd, &status) < 0 ? errno : S_ISREG(status.st_mode) ? 0 : ESTALE;

    if (rc == 0 && (md == NULL || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1))
        rc = yoke_raise("sumtree.Crypto", EIO, "libcrypto has no SHA-256");
    while (rc == 0 && (n = read(fd, chunk, sizeof chunk)) > 0) {
        EVP_DigestUpdate(md, chunk, (size_t)n);
        rc = yoke_checkpoint(); /* a large file does not keep its worker from being cancelled */
    }
    if (rc == 0 && n < 0)
        rc = errno;
    if (fd >= 0)
        close(fd);
    if (rc == 0 && EVP_DigestFinal_ex(md, digest, NULL) == 1)
        for (size_t i = 0; i < DIGEST / 2; i++)
            snprintf(text + 2 * i, 3, "%02x", digest[i]);
    return rc;
}

/* What a worker serves: receives paths; answers each, in order, with its digest or an errno. */
static int sum_files(struct yoke_context *ctx, struct yoke_value args)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    char path[PATH_MAX], digest[DIGEST];
    struct yoke_value job;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    while (rc == 0 && (rc = yoke_stream_receive(ctx, &job)) > 0) {
        rc = yoke_value_text(job, "path", path, sizeof path);
        if (rc == 0)
            rc = hash_file(path, md, digest);
        if (rc >= 0)
            rc = yoke_stream_send(ctx, rc > 0 ? yoke_int(rc) : yoke_str(digest));
    }
    EVP_MD_CTX_free(md);
    return rc;
}
YOKE_ENDPOINT("sum:files", sum_files);

struct file {
    int error; /* why there is no digest */
    char digest[DIGEST];
    char path[PATH_MAX];
};

struct slot {
    struct run *run;
    struct file window[WINDOW]; /* what its worker has not answered */
    size_t n;
    int deaths; /* since the last answer */
};

struct run {
    char **roots;
    unsigned workers;
    struct slot slots[WORKERS_MAX];
    struct yoke_channel *files, *results;
    FTS *tree;
    struct file listed[WINDOW];
    const char *clear; /* on a terminal: erases the line of progress */
    long count[2];     /* of files summed, and failed */
};

/* One more file for the window; waits for it only if there is nothing else to do. */
static int take_file(struct slot *slot)
{
    struct file *place = &slot->window[slot->n];
    int rc = slot->n == 0       ? yoke_channel_receive(slot->run->files, place)
             : slot->n < WINDOW ? yoke_channel_try_receive(slot->run->files, place)
                                : 0;

    slot->n += rc > 0;
    return rc;
}

static int send_file(struct yoke_context *ctx, const struct file *file)
{
    return yoke_stream_send(ctx, yoke_bin(file->path, strlen(file->path)));
}

/* The oldest file is done: it leaves the window if, and only if, the printer gets it. */
static int settle(struct slot *slot, int error)
{
    int rc;

    slot->window[0].error = error;
    slot->deaths = 0;
    rc = yoke_channel_send(slot->run->results, &slot->window[0]);
    if (rc == 0)
        memmove(&slot->window[0], &slot->window[1], --slot->n * sizeof slot->window[0]);
    return rc;
}

static int take_answer(struct slot *slot, struct yoke_context *ctx)
{
    struct yoke_value answer = yoke_nil();
    int rc = yoke_stream_receive(ctx, &answer);

    if (rc > 0 && answer.type == YOKE_INT)
        return settle(slot, (int)answer.as.integer);
    if (rc >= 0)
        rc = yoke_value_text(answer, "digest", slot->window[0].digest, DIGEST);
    return rc < 0 ? rc : settle(slot, 0);
}

/* Keeps a worker busy until there are no more files. */
static int feed(struct slot *slot, struct yoke_context *ctx)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < slot->n; i++) /* what its predecessor left unanswered */
        rc = send_file(ctx, &slot->window[i]);
    while (rc == 0 && (rc = take_file(slot)) >= 0 && slot->n > 0)
        rc = rc > 0 ? send_file(ctx, &slot->window[slot->n - 1]) : take_answer(slot, ctx);
    return rc < 0 ? rc : yoke_stream_close(ctx);
}

static int one_worker(struct slot *slot)
{
    static const struct yoke_actor_opts opts = {.expose = "sum:*"};
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    struct yoke_context ctx;
    int rc = yoke_actor_nursery_open(&actors, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&actors, "worker", &opts, &portal);
    if (rc == 0)
        rc = yoke_context_open(&ctx, portal, "sum:files", yoke_nil(), NULL);
    if (rc == 0)
        rc = yoke_context_close(&ctx, feed(slot, &ctx), NULL);
    return yoke_actor_nursery_close(&actors, rc);
}

static int run_slot(void *arg)
{
    struct slot *slot = arg;
    struct yoke_error *death;
    int rc = 0;

    while (rc >= 0 && (rc = one_worker(slot)) < 0 && (death = yoke_catch_type("yoke.ActorDied"))) {
        if (++slot->deaths >= DEATHS_MAX && slot->n == 0)
            return yoke_rethrow(death); /* no file is to blame */
        rc = yoke_print(2, "sumtree: %s; another takes over\n", yoke_error_message(death));
        yoke_error_unref(death);
        if (rc == 0 && slot->deaths >= DEATHS_MAX)
            rc = settle(slot, EOWNERDEAD);
    }
    return rc;
}

/* As sha256sum does: a backslash in front of the line tells of escapes in the name. */
static size_t format(struct run *run, const struct file *file, char *line)
{
    static const char special[] = "\\\n\r", letters[] = "\\nr";
    char name[2 * PATH_MAX], *end = name;

    for (const char *c = file->path; *c != '\0'; c++) {
        const char *found = strchr(special, *c);

        if (found != NULL)
            *end++ = '\\';
        *end++ = found != NULL ? letters[found - special] : *c;
    }
    *end = '\0';
    if (file->error != 0)
        return (size_t)sprintf(line, "%ssumtree: %s: %s\n", run->clear, name,
                               strerror(file->error));
    return (size_t)sprintf(line, "%s%s  %s\n", strchr(name, '\\') ? "\\" : "", file->digest, name);
}

/* Gathers what there is into one text for stdout and one for stderr, and prints them. */
static int print_results(void *arg)
{
    static char text[2][(WINDOW + 2) * LINE];
    struct run *run = arg;
    struct file file;
    int rc = 0;

    while (rc >= 0 && (rc = yoke_channel_receive(run->results, &file)) > 0) {
        size_t n[2] = {0, 0};
        int failed;

        do {
            failed = file.error != 0;
            n[failed] += format(run, &file, text[failed] + n[failed]);
            run->count[failed]++;
        } while (n[0] + n[1] < WINDOW * LINE && yoke_channel_try_receive(run->results, &file) > 0);
        if (run->clear[0] != '\0')
            n[1] += (size_t)sprintf(text[1] + n[1], "%s%ld files ", run->clear, run->count[0]);
        rc = yoke_print(1, "%.*s", (int)n[0], text[0]);
        if (rc == 0)
            rc = yoke_print(2, "%.*s", (int)n[1], text[1]);
    }
    return rc == 0 && run->clear[0] != '\0' ? yoke_print(2, "\n") : rc;
}

/* In a thread: the next files of the tree, and what can't be listed. Their number; 0 at the end. */
static int list_some(void *arg)
{
    struct run *run = arg;
    FTSENT *entry;
    int n = 0;

    if (run->tree == NULL)
        run->tree = fts_open(run->roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    while (run->tree != NULL && n < WINDOW && (errno = 0, entry = fts_read(run->tree)) != NULL) {
        struct file *file = &run->listed[n];

        file->error = entry->fts_errno;
        if (file->error == 0 && entry->fts_level == 0 && !S_ISDIR(entry->fts_statp->st_mode))
            file->error = ENOTDIR;
        snprintf(file->path, sizeof file->path, "%s", entry->fts_path);
        n += entry->fts_info == FTS_F || file->error != 0;
    }
    if (n < WINDOW && errno != 0)
        return yoke_raise("sumtree.List", errno, "the tree can't be listed: %s", strerror(errno));
    return n;
}

static int sum_tree(void *arg)
{
    struct run *run = arg;
    struct yoke_nursery printer, slots;
    int n, rc = yoke_nursery_open(&printer, NULL);

    run->files = yoke_channel_new(sizeof(struct file), WINDOW);
    run->results = yoke_channel_new(sizeof(struct file), WINDOW);
    if (rc == 0)
        rc = run->files && run->results ? yoke_spawn(&printer, print_results, run) : -ENOMEM;
    if (rc == 0) {
        rc = yoke_nursery_open(&slots, NULL);
        for (unsigned i = 0; rc == 0 && i < run->workers; i++)
            rc = yoke_spawn(&slots, run_slot, &run->slots[i]);
        while (rc == 0 && (rc = n = yoke_thread_run(list_some, run, NULL)) > 0)
            for (struct file *file = run->listed; rc >= 0 && file < run->listed + n; file++)
                rc = yoke_channel_send(file->error == 0 ? run->files : run->results, file);
        yoke_channel_close_send(run->files);
        rc = yoke_nursery_close(&slots, rc);
        yoke_channel_close_send(run->results);
    }
    rc = yoke_nursery_close(&printer, rc);
    yoke_channel_unref(run->results);
    yoke_channel_unref(run->files);
    return rc < 0 ? rc : run->count[1] > 0;
}

int main(int argc, char **argv)
{
    static struct run run;
    int option;

    yoke_serve_if_spawned(argc, argv);
    run.workers = yoke_cpu_count();
    while ((option = getopt(argc, argv, "j:")) == 'j')
        run.workers = (unsigned)atoi(optarg);
    if (option >= 0 || optind >= argc || run.workers < 1 || run.workers > WORKERS_MAX) {
        fprintf(stderr, "usage: sumtree [-j WORKERS (1 to %d)] DIRECTORY...\n", WORKERS_MAX);
        return 2;
    }
    for (unsigned i = 0; i < run.workers; i++)
        run.slots[i].run = &run;
    run.roots = argv + optind;
    run.clear = isatty(2) ? "\r\033[K" : "";
    return yoke_main(sum_tree, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = &run});
}
