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
    WINDOW_BYTES = 1 << 20, /* of them: large files go to whoever is idle, not to one queue */
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
    struct yoke_value id = yoke_value_get(job, "id");
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
        return yoke_stream_send(ctx, YOKE_MAP({"id", id}, {"error", yoke_str(strerror(rc))}));
    return yoke_stream_send(ctx, YOKE_MAP({"id", id}, {"digest", yoke_str(hasher->digest)},
                                          {"size", yoke_int(hasher->size)}));
}

/* Receives {id, path}; replies, in the same order, {id, digest, size} or {id, error}. */
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
    char temporary[PATH_MAX];
    int out;
    unsigned workers;
    struct yoke_channel *paths;
    struct yoke_channel *results;
    struct yoke_event finished;
    int64_t began;
    int64_t files, bytes, failed;
    bool terminal; /* stderr is one: show progress */
    size_t used;
    char buffer[PIPE_BUF];
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

static const char *line_start(const struct run *run)
{
    return run->terminal ? "\r\033[K" : ""; /* over the progress line */
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

/*
 * Walking blocks, on a network file system for long, so a thread does it; in batches, because a
 * turn there and back costs more than an entry. It is not abandoned when cancelled: `batch` is
 * ours.
 */
static int walk(void *arg)
{
    struct run *run = arg;
    char *roots[] = {run->directory, NULL};
    struct batch batch = {.tree =
                              fts_open(roots, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL)};
    int rc = 0;

    if (batch.tree == NULL)
        return yoke_raise("sumtree.Walk", errno, "fts_open: %s", strerror(errno));
    while (rc == 0 && !batch.last) {
        rc = yoke_thread_run(read_batch, &batch, NULL);
        for (size_t i = 0; i < batch.n; i++) {
            struct file *file = batch.files[i];

            if (rc == 0)
                rc = yoke_channel_send(file->failed ? run->results : run->paths, &file);
            if (rc < 0)
                free(file); /* not sent, so still ours */
        }
        batch.n = 0;
    }
    fts_close(batch.tree);
    yoke_channel_close_send(run->paths);
    return rc;
}

struct slot {
    struct run *run;
    int number;
    struct yoke_context ctx;
    struct file *sent[WINDOW]; /* a ring, since the worker answers in order */
    size_t first;              /* the oldest; counts on, and is the id of that file */
    size_t n;
    int64_t bytes; /* of all of them, as listed */
    int deaths;    /* of workers, since the last answer */
    bool up;       /* whether the present worker has come up */
};

static struct file **sent(struct slot *slot, size_t i)
{
    return &slot->sent[(slot->first + i) % WINDOW];
}

static int send_path(struct slot *slot, size_t i)
{
    struct yoke_value id = yoke_int((int64_t)(slot->first + i));
    const char *path = (*sent(slot, i))->path;

    return yoke_stream_send(&slot->ctx,
                            YOKE_MAP({"id", id}, {"path", yoke_bin(path, strlen(path))}));
}

/* The oldest file is done and goes to the printer; if cancelled before, it stays. */
static int settle(struct slot *slot)
{
    int64_t listed = (*sent(slot, 0))->listed;
    int rc = yoke_channel_send(slot->run->results, sent(slot, 0));

    if (rc < 0)
        return rc;
    slot->first++;
    slot->n--;
    slot->bytes -= listed;
    slot->deaths = 0;
    return 0;
}

static int take_answer(struct slot *slot)
{
    struct file *file = *sent(slot, 0);
    struct yoke_value value, text;
    const char *data;
    size_t n;
    int64_t id;
    int rc = yoke_stream_receive(&slot->ctx, &value);

    if (rc <= 0)
        return rc < 0 ? rc : yoke_raise("sumtree.Answer", EPROTO, "the worker stopped early");
    text = yoke_value_get(value, "error");
    file->failed = text.type != YOKE_NIL;
    if (!file->failed)
        text = yoke_value_get(value, "digest");
    rc = yoke_value_int(yoke_value_get(value, "id"), "id", &id);
    if (rc == 0 && id != (int64_t)slot->first)
        rc = yoke_raise("sumtree.Answer", EPROTO, "the worker answered out of order");
    if (rc == 0)
        rc = yoke_value_str(text, "digest or error", &data, &n);
    if (rc == 0 && !file->failed)
        rc = yoke_value_int(yoke_value_get(value, "size"), "size", &file->size);
    if (rc < 0)
        return rc;
    snprintf(file->text, sizeof file->text, "%.*s", n < INT_MAX ? (int)n : 0, data);
    return settle(slot);
}

/* Keeps a worker busy until all paths are given out and it has answered what it was sent. */
static int feed(struct slot *slot)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < slot->n; i++)
        rc = send_path(slot, i); /* what the worker before this one has not answered */
    while (rc == 0) {
        struct file *file;

        if (slot->n == 0 && (rc = yoke_channel_receive(slot->run->paths, &file)) == 0)
            return 0;
        if (slot->n > 0 && slot->n < WINDOW && slot->bytes < WINDOW_BYTES)
            rc = yoke_channel_try_receive(slot->run->paths, &file);
        if (rc == 0) {
            rc = take_answer(slot);
        } else if (rc > 0) {
            slot->bytes += file->listed;
            *sent(slot, slot->n) = file;
            rc = send_path(slot, slot->n++);
        }
    }
    if (rc != YOKE_ECLOSED)
        return rc;
    yoke_clear(); /* the worker is gone: closing the context says how */
    return 0;
}

/* One worker, from start to end. */
static int employ(struct slot *slot)
{
    struct yoke_actor_opts opts = {.expose = "sum:*"};
    struct yoke_actor_nursery actors;
    struct yoke_portal *portal;
    char name[32];
    int rc = yoke_actor_nursery_open(&actors, NULL);

    snprintf(name, sizeof name, "worker-%d", slot->number);
    slot->up = false;
    if (rc == 0)
        rc = yoke_actor_start(&actors, name, &opts, &portal);
    if (rc == 0)
        rc = yoke_context_open(&slot->ctx, portal, "sum:files", yoke_nil(), NULL);
    if (rc == 0) {
        slot->up = true;
        rc = feed(slot);
        rc = yoke_context_close(&slot->ctx, rc, NULL);
    }
    return yoke_actor_nursery_close(&actors, rc);
}

/* Its worker died: 0 to go on with another, else the failure. Takes over the error. */
static int replace(struct slot *slot, struct yoke_error *died)
{
    struct file *file = *sent(slot, 0);

    fprintf(stderr, "%ssumtree: %s\n", line_start(slot->run), yoke_error_message(died));
    if (++slot->deaths >= DEATHS_MAX && !slot->up)
        return yoke_rethrow(died); /* this is not about files: no worker even comes up */
    yoke_error_unref(died);
    if (slot->deaths < DEATHS_MAX || slot->n == 0)
        return 0;
    file->failed = true;
    snprintf(file->text, sizeof file->text, "%d workers died at it", slot->deaths);
    return settle(slot);
}

static int run_slot(void *arg)
{
    struct slot *slot = arg;
    struct yoke_error *died;
    int rc;

    do {
        rc = employ(slot);
        died =
            rc < 0 ? yoke_catch_type("yoke.ActorDied") : NULL; /* all else is not ours to handle */
        if (died != NULL)
            rc = replace(slot, died);
    } while (rc == 0 && died != NULL);
    for (size_t i = 0; i < slot->n; i++)
        free(*sent(slot, i));
    return rc;
}

/* As sha256sum does it: names with a backslash or newline have them escaped, and say so in front.
 */
static void print_file(FILE *out, const struct file *file)
{
    fprintf(out, "%s%s  ", strpbrk(file->path, "\\\n") != NULL ? "\\" : "", file->text);
    for (const char *c = file->path; *c != '\0'; c++)
        fputs(*c == '\\' ? "\\\\" : *c == '\n' ? "\\n" : (char[]){*c, '\0'}, out);
    fputc('\n', out);
}

static int print_results(void *arg)
{
    struct run *run = arg;
    struct file *file;
    int rc;

    while ((rc = yoke_channel_receive(run->results, &file)) > 0) {
        if (file->failed) {
            run->failed++;
            fprintf(stderr, "%ssumtree: %s: %s\n", line_start(run), file->path, file->text);
        } else {
            run->files++;
            run->bytes += file->size;
            /* Ready for PIPE_BUF bytes: a reader that is stuck stops this task, but not Ctrl-C. */
            rc = yoke_wait_writable(fileno(run->out));
            if (rc >= 0)
                print_file(run->out, file);
        }
        free(file);
        if (rc < 0)
            return rc;
    }
    if (rc == 0 && (fflush(run->out) != 0 || ferror(run->out)))
        rc = yoke_raise("sumtree.Output", errno, "write: %s", strerror(errno));
    yoke_event_set(&run->finished);
    return rc;
}

static int show_progress(void *arg)
{
    struct run *run = arg;
    int rc = 0;

    while (rc == 0 && !yoke_event_is_set(&run->finished)) {
        struct yoke_scope tick;
        double mb = (double)run->bytes / 1e6;

        fprintf(stderr, "%s%" PRId64 " files, %.1f MB, %.1f MB/s", line_start(run), run->files, mb,
                mb / ((double)(yoke_now() - run->began + 1) / 1e9));
        rc = yoke_scope_open(&tick, &(struct yoke_scope_opts){.timeout_ns = YOKE_MS(100)});
        if (rc == 0)
            rc = yoke_event_wait(&run->finished);
        rc = yoke_scope_close(&tick, rc);
    }
    fputs(line_start(run), stderr);
    return rc;
}

static int run_slots(struct run *run)
{
    struct slot *slots = calloc((size_t)run->workers, sizeof(*slots));
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "workers"});

    if (rc == 0 && slots == NULL)
        rc = yoke_raise("sumtree.Run", ENOMEM, "no memory for the workers");
    for (int i = 0; rc == 0 && i < run->workers; i++) {
        slots[i].run = run;
        slots[i].number = i + 1;
        rc = yoke_spawn(&nursery, run_slot, &slots[i]);
    }
    rc = yoke_nursery_close(&nursery, rc);
    free(slots);
    yoke_channel_close_send(run->results);
    return rc;
}

static void drain(struct yoke_channel *channel)
{
    struct file *file;

    while (channel != NULL && yoke_channel_try_receive(channel, &file) > 0)
        free(file);
    yoke_channel_unref(channel);
}

static int sum_tree(struct run *run)
{
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, NULL);

    setvbuf(run->out, NULL, _IOFBF, PIPE_BUF); /* print_results counts on it */
    run->began = yoke_now();
    yoke_event_init(&run->finished);
    run->paths = yoke_channel_new(sizeof(struct file *), BATCH);
    run->results = run->paths != NULL ? yoke_channel_new(sizeof(struct file *), BATCH) : NULL;
    if (rc == 0 && run->results == NULL)
        rc = yoke_error_code(yoke_in_flight());
    if (rc == 0)
        rc = yoke_spawn(&nursery, walk, run);
    if (rc == 0)
        rc = yoke_spawn(&nursery, print_results, run);
    if (rc == 0 && run->terminal)
        rc = yoke_spawn(&nursery, show_progress, run);
    if (rc == 0)
        rc = run_slots(run);
    rc = yoke_nursery_close(&nursery, rc);
    drain(run->paths);
    drain(run->results);
    return rc;
}

static int output_error(const char *path)
{
    return yoke_raise("sumtree.Output", errno, "%s: %s", path, strerror(errno));
}

/* FILE is written beside its place, under another name: only a whole list takes the place. */
static int sum_into_file(struct run *run)
{
    char temporary[PATH_MAX];
    mode_t mask = umask(077);
    int fd, rc;

    umask(mask);
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", run->out_path);
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return output_error(temporary);
    run->out = fchmod(fd, 0666 & ~mask) < 0 ? NULL : fdopen(fd, "w");
    rc = run->out == NULL ? output_error(temporary) : sum_tree(run);
    if (run->out == NULL)
        close(fd);
    else if (fclose(run->out) != 0 && rc == 0)
        rc = output_error(temporary);
    if (rc == 0 && rename(temporary, run->out_path) < 0)
        rc = output_error(run->out_path);
    if (rc < 0)
        unlink(temporary);
    return rc;
}

static int app(void *arg)
{
    struct run *run = arg;
    int rc = run->out_path != NULL ? sum_into_file(run) : sum_tree(run);

    if (rc == 0 && run->failed > 0)
        fprintf(stderr, "sumtree: %" PRId64 " could not be read\n", run->failed);
    return rc < 0 ? rc : run->failed > 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: sumtree [-j N] [-o FILE] DIR     N workers, 1 to %d\n", WORKERS_MAX);
    return 2;
}

int main(int argc, char **argv)
{
    struct run run = {.out = stdout, .terminal = isatty(STDERR_FILENO)};
    cpu_set_t cores;
    int option, fd;

    yoke_serve_if_spawned(argc, argv); /* the options are the root's */
    run.workers = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    while ((option = getopt(argc, argv, "j:o:")) != -1) {
        if (option == 'j')
            run.workers = atoi(optarg);
        else if (option == 'o')
            run.out_path = optarg;
        else
            return usage();
    }
    if (optind != argc - 1 || run.workers < 1 || run.workers > WORKERS_MAX)
        return usage();
    run.directory = argv[optind];
    fd = open(run.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        fprintf(stderr, "sumtree: %s: %s\n", run.directory, strerror(errno));
        return 1;
    }
    close(fd);
    return yoke_main(app, &(struct yoke_main_opts){.argc = argc, .argv = argv, .arg = &run});
}
