/* SPDX-License-Identifier: MIT */
/*
 * sumtree: the SHA-256 of every regular file under a directory, by worker processes; the list is in
 * the format of sha256sum(1), in the order of completion. Symbolic links are not followed.
 *
 *   walker task --paths--> slot tasks, each with a worker actor --results--> printer task
 *
 * Both channels are bounded and a slot has at most WINDOW files at its worker, so that whatever is
 * slowest holds up the rest. A slot owns each file from the channel until the worker has answered:
 * when the worker dies it starts another one and sends again what was not answered; a file at which
 * the worker died DEATHS_MAX times is given up. All ends with app(): no process, thread or
 * temporary file is left, whatever happened.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yoke.h>

enum {
    WINDOW = 16, /* files at a worker: the way there and back does not limit */
    DEATHS_MAX = 3,
    WORKERS_MAX = 256,
    CHUNK = 256 << 10,
};

/* --- a worker: its own process, and nothing in it but this ---------------------------------------
 */

struct hasher {
    EVP_MD_CTX *md;
    unsigned char *chunk;
    char digest[2 * EVP_MAX_MD_SIZE + 1];
    int64_t size;
};

/* 0; an errno, if the file is what is wrong; negative: a failure, such as YOKE_CANCELLED. */
static int hash_fd(struct hasher *hasher, int fd)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned bytes_n = 0;
    struct stat status;
    ssize_t n = 1;
    int rc = 0;

    if (fstat(fd, &status) < 0)
        return errno;
    if (!S_ISREG(status.st_mode))
        return ESTALE; /* it was one when the walker saw it */
    if (EVP_DigestInit_ex(hasher->md, EVP_sha256(), NULL) != 1)
        return yoke_raise("sumtree.Crypto", EIO, "libcrypto has no SHA-256");
    hasher->size = 0;
    while (rc == 0 && (n = read(fd, hasher->chunk, CHUNK)) > 0) {
        EVP_DigestUpdate(hasher->md, hasher->chunk, (size_t)n);
        hasher->size += n;
        rc = yoke_checkpoint(); /* a large file does not keep its worker from being cancelled */
    }
    if (rc < 0 || n < 0)
        return rc < 0 ? rc : errno;
    EVP_DigestFinal_ex(hasher->md, bytes, &bytes_n);
    for (unsigned i = 0; i < bytes_n; i++)
        snprintf(hasher->digest + 2 * (size_t)i, 3, "%02x", bytes[i]);
    return 0;
}

static int answer(struct yoke_context *ctx, struct hasher *hasher, struct yoke_value job)
{
    char path[PATH_MAX];
    const void *data;
    size_t n;
    int fd;
    int rc = yoke_value_bin(yoke_value_get(job, "path"), "path", &data, &n);

    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%.*s", n < INT_MAX ? (int)n : 0, (const char *)data);
    /* Neither a symbolic link nor a FIFO that has taken the file's place: those may block. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    rc = n >= sizeof path ? ENAMETOOLONG : fd < 0 ? errno : hash_fd(hasher, fd);
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        return rc;
    if (rc > 0)
        return yoke_stream_send(ctx, YOKE_MAP({"error", yoke_str(strerror(rc))}));
    return yoke_stream_send(ctx, YOKE_MAP({"digest", yoke_str(hasher->digest)},
                                          {"size", yoke_int(hasher->size)}));
}

/* Receives {path}; replies, in the same order, {digest, size} or {error}. */
static int sum_files(struct yoke_context *ctx, struct yoke_value args)
{
    struct hasher hasher = {.md = EVP_MD_CTX_new(), .chunk = malloc(CHUNK)};
    struct yoke_value job;
    int rc;

    (void)args;
    if (hasher.md == NULL || hasher.chunk == NULL)
        rc = yoke_raise("sumtree.Worker", ENOMEM, "no memory to work in");
    else
        rc = yoke_context_started(ctx, yoke_nil());
    while (rc == 0 && (rc = yoke_stream_receive(ctx, &job)) > 0)
        rc = answer(ctx, &hasher, job);
    free(hasher.chunk);
    EVP_MD_CTX_free(hasher.md);
    return rc;
}
YOKE_ENDPOINT("sum:files", sum_files);

/* --- the root ------------------------------------------------------------------------------------
 */

/* A file, or a directory that is still to be listed. Belongs to one task or channel at a time. */
struct file {
    struct file *next; /* on the walker's stack */
    bool directory;
    bool failed;
    int64_t size;   /* as listed */
    int64_t hashed; /* bytes */
    char text[132]; /* the digest; if failed, why */
    char path[];
};

struct run {
    const char *directory;
    const char *out_path; /* NULL: stdout */
    FILE *out;
    unsigned workers;
    unsigned slots_left; /* the last one ends the results */
    struct yoke_channel *paths;
    struct yoke_channel *results;
    int64_t began, shown;
    int64_t files, bytes, failed;
};

static struct file *file_new(const char *directory, const char *name)
{
    size_t n = strlen(directory);
    const char *slash = n == 0 || name[0] == '\0' || directory[n - 1] == '/' ? "" : "/";
    size_t size = n + strlen(slash) + strlen(name) + 1;
    struct file *file = calloc(1, sizeof *file + size);

    if (file != NULL)
        snprintf(file->path, size, "%s%s%s", directory, slash, name);
    return file;
}

struct listing {
    const struct file *directory;
    struct file **stack;
};

/* In a worker thread. 0 or, if the directory is what is wrong, an errno. */
static int list_directory(void *arg)
{
    struct listing *listing = arg;
    DIR *stream = opendir(listing->directory->path);
    struct dirent *entry;
    int rc = stream == NULL ? errno : 0;

    while (rc == 0 && (errno = 0, entry = readdir(stream)) != NULL) {
        struct stat status = {.st_mode = S_IFREG}; /* without a status: opening will tell */
        struct file *file;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)fstatat(dirfd(stream), entry->d_name, &status, AT_SYMLINK_NOFOLLOW);
        if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode))
            continue;
        file = file_new(listing->directory->path, entry->d_name);
        if (file == NULL) {
            rc = yoke_raise("sumtree.Walk", ENOMEM, "no memory to list a directory");
            break;
        }
        file->directory = S_ISDIR(status.st_mode);
        file->size = (int64_t)status.st_size;
        file->next = *listing->stack;
        *listing->stack = file;
    }
    if (rc == 0)
        rc = errno;
    if (stream != NULL)
        closedir(stream);
    return rc;
}

/*
 * Listing blocks, on a network file system for long: hence one call in a thread per directory,
 * which costs microseconds. It is not abandoned when cancelled, since it fills our stack of files.
 */
static int walk(void *arg)
{
    struct run *run = arg;
    struct file *stack = file_new(run->directory, "");
    struct file *file;
    int rc = 0;

    if (stack == NULL)
        return yoke_raise("sumtree.Walk", ENOMEM, "no memory to list a directory");
    stack->directory = true;
    while ((file = stack) != NULL) {
        stack = file->next;
        if (rc == 0 && file->directory)
            rc = yoke_thread_run(list_directory, &(struct listing){file, &stack}, NULL);
        if (rc > 0)
            snprintf(file->text, sizeof file->text, "%s", strerror(rc));
        file->failed = rc > 0;
        if (rc >= 0 && (file->failed || !file->directory)) {
            rc = yoke_channel_send(file->failed ? run->results : run->paths, &file);
            file = rc < 0 ? file : NULL; /* the receiver's, if it was sent */
        }
        free(file);
    }
    yoke_channel_close_send(run->paths);
    return rc;
}

/* One worker after the other, and the files that the present one has not answered, in order. */
struct slot {
    struct run *run;
    struct file *window[WINDOW];
    size_t first, n;
    int deaths; /* in a row at the same file */
};

static int send_file(struct yoke_context *ctx, const struct file *file)
{
    return yoke_stream_send(ctx, YOKE_MAP({"path", yoke_bin(file->path, strlen(file->path))}));
}

/* The first of the window is done; it stays there until the printer has it. */
static int pass_on(struct slot *slot)
{
    int rc = yoke_channel_send(slot->run->results, &slot->window[slot->first]);

    if (rc == 0) {
        slot->first = (slot->first + 1) % WINDOW;
        slot->n--;
        slot->deaths = 0;
    }
    return rc;
}

static int take_answer(struct slot *slot, struct yoke_value answered)
{
    struct file *file = slot->window[slot->first];
    struct yoke_value error = yoke_value_get(answered, "error");
    const char *data;
    size_t n;
    int rc;

    file->failed = error.type == YOKE_STR;
    rc = yoke_value_str(file->failed ? error : yoke_value_get(answered, "digest"), "digest", &data,
                        &n);
    if (rc < 0)
        return rc;
    file->size = yoke_value_get(answered, "size").as.integer;
    snprintf(file->text, sizeof file->text, "%.*s", n < sizeof file->text ? (int)n : 0, data);
    return pass_on(slot);
}

/* Keeps a worker busy until there are no more files. */
static int feed(struct slot *slot, struct yoke_context *ctx)
{
    struct yoke_value answered;
    struct file *file;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < slot->n; i++) /* what its predecessor left */
        rc = send_file(ctx, slot->window[(slot->first + i) % WINDOW]);
    while (rc == 0) {
        if (slot->n == 0)
            rc = yoke_channel_receive(slot->run->paths, &file);
        else if (slot->n < WINDOW)
            rc = yoke_channel_try_receive(slot->run->paths, &file);
        if (rc > 0) {
            slot->window[(slot->first + slot->n++) % WINDOW] = file;
            rc = send_file(ctx, file);
        } else if (rc == 0 && slot->n == 0) {
            return yoke_stream_close(ctx);
        } else if (rc == 0) {
            rc = yoke_stream_receive(ctx, &answered);
            rc = rc > 0 ? take_answer(slot, answered) : rc;
        }
    }
    return rc;
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
    struct slot slot = {.run = arg};
    struct yoke_error *death;
    int rc;

    while ((rc = one_worker(&slot)) < 0 && (death = yoke_catch_type("yoke.ActorDied")) != NULL) {
        fprintf(stderr, "sumtree: %s; another one takes over\n", yoke_error_message(death));
        yoke_error_unref(death);
        if (slot.n == 0 || ++slot.deaths < DEATHS_MAX)
            continue;
        slot.window[slot.first]->failed = true;
        strcpy(slot.window[slot.first]->text, "its workers died, again and again");
        rc = pass_on(&slot);
        if (rc < 0)
            break;
    }
    for (; slot.n > 0; slot.n--, slot.first = (slot.first + 1) % WINDOW)
        free(slot.window[slot.first]);
    if (--slot.run->slots_left == 0)
        yoke_channel_close_send(slot.run->results);
    return rc;
}

/* As sha256sum does: a backslash in front tells of escapes in the name. */
static void print_sum(FILE *out, const struct file *file)
{
    fprintf(out, "%s%s  ", strpbrk(file->path, "\\\n\r") != NULL ? "\\" : "", file->text);
    for (const char *c = file->path; *c != '\0'; c++) {
        const char *special = strchr("\nn\rr\\\\", *c);

        if (special != NULL && (*c == '\n' || *c == '\r' || *c == '\\'))
            fprintf(out, "\\%c", special[1]);
        else
            putc(*c, out);
    }
    putc('\n', out);
}

static void show_progress(struct run *run)
{
    double seconds = (double)(yoke_now() - run->began + 1) / 1e9;

    if (yoke_now() - run->shown < YOKE_MS(100) || !isatty(2))
        return;
    run->shown = yoke_now();
    fprintf(stderr, "\r\033[K%lld files, %.1f MB, %.1f MB/s ", (long long)run->files,
            (double)run->bytes / 1e6, (double)run->bytes / 1e6 / seconds);
}

static int print_results(void *arg)
{
    struct run *run = arg;
    struct file *file;
    int rc;

    while ((rc = yoke_channel_receive(run->results, &file)) > 0) {
        if (file->failed)
            fprintf(stderr, "sumtree: %s: %s\n", file->path, file->text);
        else
            print_sum(run->out, file);
        run->failed += file->failed;
        run->files += !file->failed;
        run->bytes += file->failed ? 0 : file->size;
        free(file);
        show_progress(run);
    }
    return rc;
}

static int sum_tree(struct run *run)
{
    struct yoke_nursery tasks;
    struct file *file;
    int rc = yoke_nursery_open(&tasks, NULL);

    run->began = yoke_now();
    run->slots_left = run->workers;
    if (rc == 0)
        rc = yoke_spawn(&tasks, print_results, run);
    if (rc == 0)
        rc = yoke_spawn(&tasks, walk, run);
    for (unsigned i = 0; rc == 0 && i < run->workers; i++)
        rc = yoke_spawn(&tasks, run_slot, run);
    rc = yoke_nursery_close(&tasks, rc);
    while (rc < 0 && yoke_channel_count(run->paths) > 0) /* what nobody took */
        if (yoke_channel_try_receive(run->paths, &file) > 0)
            free(file);
    while (rc < 0 && yoke_channel_count(run->results) > 0)
        if (yoke_channel_try_receive(run->results, &file) > 0)
            free(file);
    return rc;
}

static int app(void *arg)
{
    struct run *run = arg;
    char temporary[PATH_MAX] = "";
    int rc;

    run->out = stdout;
    if (run->out_path != NULL) {
        snprintf(temporary, sizeof temporary, "%s.%d", run->out_path, (int)getpid());
        run->out = fopen(temporary, "we");
        if (run->out == NULL)
            return yoke_raise("sumtree.Output", errno, "%s: %s", temporary, strerror(errno));
    }
    run->paths = yoke_channel_new(sizeof(struct file *), WINDOW);
    run->results = yoke_channel_new(sizeof(struct file *), WINDOW);
    rc = run->paths == NULL || run->results == NULL ? -ENOMEM : sum_tree(run);
    yoke_channel_unref(run->paths);
    yoke_channel_unref(run->results);
    if (isatty(2))
        fputc('\n', stderr);
    if (fflush(run->out) != 0 && rc == 0)
        rc = yoke_raise("sumtree.Output", errno, "the list can't be written: %s", strerror(errno));
    if (run->out_path != NULL) {
        fclose(run->out);
        if (rc == 0 && rename(temporary, run->out_path) < 0)
            rc = yoke_raise("sumtree.Output", errno, "%s: %s", run->out_path, strerror(errno));
        if (rc < 0)
            unlink(temporary);
    }
    return rc < 0 ? rc : run->failed > 0;
}

int main(int argc, char **argv)
{
    struct run run = {.workers = 0};
    cpu_set_t cpus;
    int option;

    yoke_serve_if_spawned(argc, argv);
    while ((option = getopt(argc, argv, "j:o:")) == 'j' || option == 'o') {
        if (option == 'j')
            run.workers = (unsigned)atoi(optarg);
        else
            run.out_path = optarg;
    }
    if (option >= 0 || optind != argc - 1 || run.workers > WORKERS_MAX) {
        fprintf(stderr, "usage: sumtree [-j WORKERS (1 to %d)] [-o FILE] DIRECTORY\n", WORKERS_MAX);
        return 2;
    }
    run.directory = argv[optind];
    if (run.workers == 0)
        run.workers =
            sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (unsigned)CPU_COUNT(&cpus) : 1;
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = &run});
}
