/* SPDX-License-Identifier: MIT */
/*
 * A process as a function call. One task feeds its input, one each reads its outputs, the caller
 * waits for its end. While the process may still run, the readers are behind a shield: a process
 * that is being ended goes on to be read, so that what it says at its end is not lost, and it is
 * not held up by a full pipe. Once it has ended the shields fall: a descendant that keeps a pipe
 * open holds up only a call that is not cancelled.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/io.h>

#include "base/check.h"
#include "base/memory.h"
#include "io/subprocess.h"

/* Reads one of its outputs. */
struct reader {
    const struct yoke_stdio *stream;
    const char *program;
    const char *name;
    int fd;
    bool shield;              /* for when its task begins */
    struct yoke_scope *scope; /* while its task runs */
    char *data;               /* captured */
    size_t size;
    size_t capacity;
    char tail[YK_PROCESS_TAIL + 1];
    size_t tail_size;
};

struct feeder {
    const struct yoke_stdio *stream;
    struct yoke_process *process;
    struct yoke_scope *scope; /* while its task runs */
};

struct run {
    struct yoke_process process;
    struct feeder feeder;
    struct reader readers[2];
};

static bool is_read(const struct yoke_stdio *stream)
{
    return stream->kind == YOKE_STDIO_CAPTURE || stream->kind == YOKE_STDIO_SINK;
}

static int feed(void *arg)
{
    struct feeder *feeder = arg;
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, NULL);

    feeder->scope = &scope;
    if (rc == 0)
        rc = yoke_write_all(yoke_process_input(feeder->process), feeder->stream->data,
                            feeder->stream->size, NULL);
    if (rc == -EPIPE) {
        yoke_clear(); /* what it does not read it does not need */
        rc = 0;
    }
    yoke_process_close_input(feeder->process);
    feeder->scope = NULL;
    return yoke_scope_close(&scope, rc);
}

static void keep_tail(struct reader *reader, const char *data, size_t size)
{
    size_t keep = reader->tail_size;

    if (size > YK_PROCESS_TAIL) {
        data += size - YK_PROCESS_TAIL;
        size = YK_PROCESS_TAIL;
    }
    if (keep > YK_PROCESS_TAIL - size)
        keep = YK_PROCESS_TAIL - size;
    memmove(reader->tail, reader->tail + reader->tail_size - keep, keep);
    memcpy(reader->tail + keep, data, size);
    reader->tail_size = keep + size;
    reader->tail[reader->tail_size] = '\0';
}

static int capture(struct reader *reader, const char *data, size_t size)
{
    size_t max = reader->stream->max != 0 ? reader->stream->max : YK_CAPTURE_MAX;

    if (size > max - reader->size)
        return yoke_raise("yoke.Process", EMSGSIZE, "%s wrote more than %zu bytes to its %s",
                          reader->program, max, reader->name);
    if (reader->size + size + 1 > reader->capacity) {
        size_t capacity = (reader->size + size + 1) * 2;
        char *grown = yk_realloc(reader->data, capacity);

        if (grown == NULL)
            return yoke_raise("yoke.Process", ENOMEM, "no memory for the %s of %s", reader->name,
                              reader->program);
        reader->data = grown;
        reader->capacity = capacity;
    }
    memcpy(reader->data + reader->size, data, size);
    reader->size += size;
    reader->data[reader->size] = '\0';
    return 0;
}

static int read_all(struct reader *reader)
{
    char piece[8192];
    ssize_t n;
    int rc = reader->stream->kind == YOKE_STDIO_CAPTURE ? capture(reader, "", 0) : 0;

    while (rc >= 0 && (n = yoke_read(reader->fd, piece, sizeof piece)) != 0) {
        if (n < 0)
            return (int)n;
        keep_tail(reader, piece, (size_t)n);
        if (reader->stream->kind == YOKE_STDIO_CAPTURE)
            rc = capture(reader, piece, (size_t)n);
        else
            rc = reader->stream->sink(reader->stream->sink_arg, piece, (size_t)n);
    }
    return rc < 0 ? rc : 0;
}

static int read_output(void *arg)
{
    struct reader *reader = arg;
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.shield = reader->shield});

    reader->scope = &scope;
    if (rc == 0)
        rc = read_all(reader);
    reader->scope = NULL;
    return yoke_scope_close(&scope, rc);
}

/* The options of open for the same process. */
static struct yoke_process_opts opened_as(const struct yoke_process_opts *opts)
{
    struct yoke_process_opts open = *opts;

    if (open.input.kind == YOKE_STDIO_BYTES)
        open.input.kind = YOKE_STDIO_PIPE;
    if (is_read(&open.output))
        open.output.kind = YOKE_STDIO_PIPE;
    if (is_read(&open.errors))
        open.errors.kind = YOKE_STDIO_PIPE;
    return open;
}

static int check_streams(const char *const *argv, const struct yoke_process_opts *opts)
{
    const struct yoke_stdio *streams[YK_STDIO_N] = {&opts->input, &opts->output, &opts->errors};

    for (int i = 0; i < YK_STDIO_N; i++) {
        bool fine = streams[i]->kind != YOKE_STDIO_PIPE &&
                    (i == YK_STDIN || streams[i]->kind != YOKE_STDIO_BYTES) &&
                    (i != YK_STDIN || !is_read(streams[i])) &&
                    (streams[i]->kind != YOKE_STDIO_SINK || streams[i]->sink != NULL);

        if (!fine)
            return yoke_raise("yoke.Process", EINVAL,
                              "%s: standard stream %d can't be of kind %d in yoke_process_run",
                              argv != NULL && argv[0] != NULL ? argv[0] : "(null)", i,
                              (int)streams[i]->kind);
    }
    return 0;
}

/* Begins the tasks beside the caller. */
static int begin(struct run *run, struct yoke_nursery *nursery, const char *program,
                 const struct yoke_process_opts *opts)
{
    const struct yoke_stdio *streams[2] = {&opts->output, &opts->errors};
    const int fds[2] = {yoke_process_output(&run->process), yoke_process_errors(&run->process)};
    int rc = 0;

    run->feeder.stream = &opts->input;
    run->feeder.process = &run->process;
    if (opts->input.kind == YOKE_STDIO_BYTES)
        rc = yoke_spawn(nursery, feed, &run->feeder);
    for (int i = 0; i < 2; i++) {
        struct reader *reader = &run->readers[i];

        reader->stream = streams[i];
        reader->program = program;
        reader->name = i == 0 ? "standard output" : "standard error";
        reader->fd = fds[i];
        reader->shield = true;
        if (rc == 0 && is_read(streams[i]))
            rc = yoke_spawn(nursery, read_output, reader);
    }
    return rc;
}

/* The process has ended. */
static void let_go(struct run *run)
{
    if (run->feeder.scope != NULL)
        yoke_scope_cancel(run->feeder.scope, "the process has ended");
    for (int i = 0; i < 2; i++) {
        run->readers[i].shield = false;
        if (run->readers[i].scope != NULL)
            yoke_scope_set_shield(run->readers[i].scope, false);
    }
}

static void hand_over(struct run *run, struct yoke_process_exit exit,
                      struct yoke_process_result *ret)
{
    ret->exit = exit;
    ret->output = run->readers[0].data;
    ret->output_size = run->readers[0].size;
    ret->errors = run->readers[1].data;
    ret->errors_size = run->readers[1].size;
    run->readers[0].data = NULL;
    run->readers[1].data = NULL;
}

/* The process runs. Returns the result of the call. */
static int attend(struct run *run, const char *program, const struct yoke_process_opts *opts,
                  struct yoke_process_result *ret_result)
{
    struct yoke_process_exit exit;
    struct yoke_nursery nursery;
    char *tail = run->readers[1].tail;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = program});

    if (rc == 0)
        rc = begin(run, &nursery, program, opts);
    if (rc == 0)
        rc = yoke_process_wait(&run->process, NULL);
    if (rc < 0)
        yk_subprocess_end(run->process.state);
    let_go(run);
    rc = yoke_nursery_close(&nursery, rc);
    while (run->readers[1].tail_size > 0 && tail[run->readers[1].tail_size - 1] == '\n')
        tail[--run->readers[1].tail_size] = '\0';
    rc = yk_subprocess_close(&run->process, rc, tail, &exit);
    if (rc >= 0 && ret_result != NULL)
        hand_over(run, exit, ret_result);
    return rc;
}

int yoke_process_run(const char *const *argv, const struct yoke_process_opts *opts,
                     struct yoke_process_result *ret_result)
{
    static const struct yoke_process_opts defaults;
    struct yoke_process_opts open;
    struct run *run;
    int rc;

    yk_task_self("yoke_process_run");
    if (opts == NULL)
        opts = &defaults;
    rc = check_streams(argv, opts);
    if (rc < 0)
        return rc;
    run = yk_calloc(1, sizeof *run);
    if (run == NULL)
        return yoke_raise("yoke.Process", ENOMEM, "no memory for a process");
    open = opened_as(opts);
    rc = yoke_process_open(&run->process, argv, &open);
    if (rc == 0)
        rc = attend(run, argv[0], opts, ret_result);
    free(run->readers[0].data);
    free(run->readers[1].data);
    free(run);
    return rc;
}

void yoke_process_result_fini(struct yoke_process_result *result)
{
    free(result->output);
    free(result->errors);
    memset(result, 0, sizeof *result);
}
