/* SPDX-License-Identifier: MIT */
/*
 * Files as conns, and calls on paths. Regular files are always ready for the poller, and yet block
 * on the disk. So reads are first tried with RWF_NOWAIT, which takes what is in the page cache; all
 * else goes to a worker thread.
 *
 * A job that may be left behind is in the heap and owns copies of all that it touches; `abandoned`
 * undoes what it did. Other jobs lie in the frame of the waiting call. Errors are raised by the
 * caller, so that they tell its task.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <yoke/error.h>
#include <yoke/file.h>
#include <yoke/io.h>

#include "base/check.h"
#include "base/faults.h"
#include "base/limits.h"
#include "base/memory.h"
#include "io/conn.h"
#include "io/vector.h"

struct file_conn {
    struct yoke_conn conn;
    bool no_nowait; /* its file system does not know RWF_NOWAIT */
    char path[];
};

static struct file_conn *self_of(struct yoke_conn *conn)
{
    return yk_container_of(conn, struct file_conn, conn);
}

static int failed(const char *call, const char *path, int rc)
{
    return yoke_raise("yoke.File", rc, "%s %s: %s", call, path, strerror(-rc));
}

/* --- reading and writing ---------------------------------------------------------------------- */

struct transfer {
    int number;
    bool write;
    void *data;
    size_t size;
    int64_t offset; /* -1: at the position */
    ssize_t result;
};

/* In a worker thread. */
static int transfer_run(void *arg)
{
    struct transfer *job = arg;
    ssize_t n;

    do {
        if (yk_fault(EIO))
            n = -1;
        else if (job->offset >= 0)
            n = job->write ? pwrite(job->number, job->data, job->size, job->offset)
                           : pread(job->number, job->data, job->size, job->offset);
        else
            n = job->write ? write(job->number, job->data, job->size)
                           : read(job->number, job->data, job->size);
    } while (n < 0 && errno == EINTR);
    if (n == 0 && job->write && job->size > 0)
        job->result = -EIO; /* a device that takes nothing: not for ever */
    else
        job->result = n < 0 ? -errno : n;
    return 0;
}

static ssize_t transfer_wait(struct yoke_conn *conn, struct transfer *job, const char *call)
{
    int rc = yoke_thread_run(transfer_run, job, NULL);

    if (rc < 0)
        return rc;
    if (job->result < 0)
        return failed(call, self_of(conn)->path, (int)job->result);
    return job->result;
}

static ssize_t read_at(struct yoke_conn *conn, void *buffer, size_t size, int64_t offset,
                       const char *call)
{
    struct transfer job = {.number = conn->fd.watch.fd,
                           .data = buffer,
                           .size = size,
                           .offset = offset};
    struct iovec bytes = {.iov_base = buffer, .iov_len = size};
    struct file_conn *self = self_of(conn);
    ssize_t n = -1;

    if (!self->no_nowait) {
        n = yk_preadv2(job.number, &bytes, 1, offset, RWF_NOWAIT);
        self->no_nowait = n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS);
    }
    /* Any error is met again by the thread, which tells it. */
    return n >= 0 ? n : transfer_wait(conn, &job, call);
}

static ssize_t file_read(struct yoke_conn *conn, void *buffer, size_t size)
{
    return read_at(conn, buffer, size, -1, "read");
}

static ssize_t file_write(struct yoke_conn *conn, const void *data, size_t size)
{
    struct transfer job = {.number = conn->fd.watch.fd,
                           .write = true,
                           .data = (void *)(uintptr_t)data,
                           .size = size,
                           .offset = -1};

    return transfer_wait(conn, &job, "write");
}

static int file_close_write(struct yoke_conn *conn)
{
    (void)conn;
    return 0;
}

static void file_close(struct yoke_conn *conn)
{
    close(conn->fd.watch.fd);
    conn->fd.watch.fd = -1;
}

static void file_free(struct yoke_conn *conn)
{
    free(self_of(conn));
}

static void file_name(const struct yoke_conn *conn, char *text, size_t size)
{
    const struct file_conn *self = yk_container_of(conn, const struct file_conn, conn);

    snprintf(text, size, "%s", self->path);
}

static const struct yk_conn_ops file_ops = {
    .read = file_read,
    .write = file_write,
    .close_write = file_close_write,
    .close = file_close,
    .free = file_free,
    .name = file_name,
    .waits_itself = true,
};

int yk_conn_file(int number, const char *path, struct yoke_conn **ret)
{
    char text[32];
    struct file_conn *self;

    snprintf(text, sizeof text, "descriptor %d", number);
    if (path == NULL)
        path = text;
    if (YK_FALLIBLE(EPERM, fcntl(number, F_SETFD, FD_CLOEXEC)) < 0)
        return -errno;
    self = yk_calloc(1, sizeof *self + strlen(path) + 1);
    if (self == NULL)
        return -ENOMEM;
    yk_conn_init(&self->conn, &file_ops);
    self->conn.fd.watch.fd = number;
    self->conn.close_when_unused = true;
    memcpy(self->path, path, strlen(path));
    *ret = &self->conn;
    return 0;
}

/* Claims a file for a call that others may be in, too. */
static int begin_shared(struct yoke_conn *file, struct yk_task **role, const char *call)
{
    struct yk_task *task = yk_task_self(call);
    int rc = yk_check_cancelled(task);

    *role = NULL;
    if (rc == 0 && file->ops != &file_ops)
        rc = yk_conn_failed(file, call, file->closed ? YOKE_ECLOSED : -ESPIPE);
    return rc < 0 ? rc : yk_conn_begin(file, task, role, call);
}

ssize_t yoke_file_pread(struct yoke_conn *file, void *buffer, size_t size, int64_t offset)
{
    struct yk_task *role;
    ssize_t n = begin_shared(file, &role, "pread");

    if (n < 0)
        return n;
    if (offset < 0 || size == 0)
        n = failed("pread", self_of(file)->path, -EINVAL);
    else
        n = read_at(file, buffer, size, offset, "pread");
    yk_conn_end(file, &role);
    if (n >= 0)
        yk_completed_at_once(yk_task_self("yoke_file_pread"));
    return n;
}

int yoke_file_pwrite(struct yoke_conn *file, const void *data, size_t size, int64_t offset,
                     size_t *ret_written)
{
    struct yk_task *role;
    size_t written = 0;
    int rc = begin_shared(file, &role, "pwrite");

    if (ret_written != NULL)
        *ret_written = 0;
    if (rc < 0)
        return rc;
    if (offset < 0)
        rc = failed("pwrite", self_of(file)->path, -EINVAL);
    while (rc == 0 && written < size) {
        struct transfer job = {.number = file->fd.watch.fd,
                               .write = true,
                               .data = (char *)(uintptr_t)data + written,
                               .size = size - written,
                               .offset = offset + (int64_t)written};
        ssize_t n = transfer_wait(file, &job, "pwrite");

        if (n < 0)
            rc = (int)n;
        else
            written += (size_t)n;
    }
    if (ret_written != NULL)
        *ret_written = written;
    yk_conn_end(file, &role);
    return rc;
}

static int sync_run(void *arg)
{
    struct transfer *job = arg;

    job->result = YK_FALLIBLE(EIO, fsync(job->number)) < 0 ? -errno : 0;
    return 0;
}

int yoke_file_sync(struct yoke_conn *file)
{
    struct transfer job = {.number = file->fd.watch.fd};
    struct yk_task *role;
    int rc = begin_shared(file, &role, "sync");

    if (rc < 0)
        return rc;
    rc = yoke_thread_run(sync_run, &job, NULL);
    if (rc == 0 && job.result < 0)
        rc = failed("sync", self_of(file)->path, (int)job.result);
    yk_conn_end(file, &role);
    return rc;
}

static int close_run(void *arg)
{
    struct transfer *job = arg;

    job->result = close(job->number) < 0 || yk_fault(EIO) ? -errno : 0;
    return 0;
}

int yoke_file_close(struct yoke_conn *file)
{
    struct transfer job = {.number = file->fd.watch.fd};
    struct yk_task *role;
    int rc;

    yk_task_self("yoke_file_close");
    if (file->ops != &file_ops || file->closed) {
        yoke_conn_close(file);
        return 0;
    }
    if (file->users > 0)
        return failed("close", self_of(file)->path, -EBUSY);
    role = NULL;
    rc = yk_conn_begin(file, file->fd.runtime->current, &role, "close");
    yk_assert(rc == 0);
    file->closed = true;
    file->close_when_unused = false;
    file->fd.watch.fd = -1;
    rc = yoke_thread_run(close_run, &job, NULL);
    if (rc < 0)
        close_run(&job); /* cancelled, or no thread: it must be closed all the same */
    if (rc == 0 && job.result < 0)
        rc = failed("close", self_of(file)->path, (int)job.result);
    yk_conn_end(file, &role);
    return rc;
}

/* --- paths ------------------------------------------------------------------------------------ */

/* What looks only; may be left behind. */
struct look {
    void (*run)(struct look *job);
    int flags;
    mode_t mode;
    int number; /* a descriptor that is open; -1: none */
    int rc;
    size_t limit;
    size_t size;
    char *data;
    struct stat status;
    char path[];
};

static void look_free(void *arg)
{
    struct look *job = arg;

    if (job->number >= 0)
        close(job->number);
    free(job->data);
    free(job);
}

static int look_run(void *arg)
{
    struct look *job = arg;

    job->run(job);
    return 0;
}

static struct look *look_new(const char *path, void (*run)(struct look *job))
{
    struct look *job = yk_calloc(1, sizeof *job + strlen(path) + 1);

    if (job == NULL)
        return NULL;
    job->run = run;
    job->number = -1;
    memcpy(job->path, path, strlen(path));
    return job;
}

/* Runs it. On failure, which is raised, the job is gone. */
static int look(struct look *job, const char *call, const char *path, bool abandon)
{
    struct yoke_thread_opts opts = {.abandon = abandon, .abandoned = look_free};
    int rc;

    if (job == NULL)
        return failed(call, path, -ENOMEM);
    rc = yoke_thread_run(look_run, job, &opts);
    if (rc == 0) {
        rc = job->rc < 0 ? failed(call, path, job->rc) : 0;
        if (rc == 0)
            return 0;
    } else if (rc == YOKE_CANCELLED && abandon) {
        return rc; /* the thread has it: whoever calls has checked just before */
    }
    look_free(job);
    return rc;
}

static void open_run(struct look *job)
{
    /* Non-blocking, so that a FIFO or a device does not keep the thread; files take no notice. */
    int flags = job->flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

    do
        job->number = YK_FALLIBLE(EMFILE, open(job->path, flags, job->mode));
    while (job->number < 0 && errno == EINTR);
    if (job->number < 0 || YK_FALLIBLE(EIO, fstat(job->number, &job->status)) < 0)
        job->rc = -errno;
}

int yoke_file_open(const char *path, int flags, mode_t mode, struct yoke_conn **ret_file)
{
    struct yk_task *task = yk_task_self("yoke_file_open");
    bool changes = (flags & (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))) != 0;
    struct look *job;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    job = look_new(path, open_run);
    if (job != NULL) {
        job->flags = flags;
        job->mode = mode;
    }
    rc = look(job, "open", path, !changes);
    if (rc < 0)
        return rc;
    if (S_ISREG(job->status.st_mode) || S_ISDIR(job->status.st_mode))
        rc = yk_conn_file(job->number, path, ret_file);
    else
        rc = yk_conn_pipe(job->number, path, ret_file);
    if (rc == 0)
        job->number = -1;
    look_free(job);
    return rc < 0 ? failed("open", path, rc) : 0;
}

static void stat_run(struct look *job)
{
    job->rc = YK_FALLIBLE(EIO, stat(job->path, &job->status)) < 0 ? -errno : 0;
}

int yoke_file_stat(const char *path, struct stat *ret_status)
{
    struct look *job;
    int rc = yk_check_cancelled(yk_task_self("yoke_file_stat"));

    if (rc < 0)
        return rc;
    job = look_new(path, stat_run);
    rc = look(job, "stat", path, true);
    if (rc < 0)
        return rc;
    *ret_status = job->status;
    look_free(job);
    return 0;
}

/* Room for one byte more than there are, and for a NUL: the byte tells of the end. */
static int load_grow(struct look *job, size_t *room)
{
    size_t wanted = *room == 0 ? (size_t)job->status.st_size + 1 : *room * 2;
    char *data;

    if (*room > job->size)
        return 0;
    if (*room == 0 && wanted < 4096)
        wanted = 4096; /* files of /proc say that they are empty */
    if (wanted > job->limit + 1)
        wanted = job->limit + 1;
    data = yk_realloc(job->data, wanted + 1);
    if (data == NULL)
        return -ENOMEM;
    job->data = data;
    *room = wanted;
    return 0;
}

static void load_run(struct look *job)
{
    size_t room = 0;
    ssize_t n = 1;

    open_run(job);
    while (job->rc == 0 && n > 0) {
        job->rc = load_grow(job, &room);
        if (job->rc < 0)
            break;
        n = YK_FALLIBLE(EIO, read(job->number, job->data + job->size, room - job->size));
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            job->rc = -errno;
        else
            job->size += (size_t)n;
        if (job->size > job->limit)
            job->rc = -EFBIG;
    }
}

int yoke_file_load(const char *path, size_t limit, char **ret_data, size_t *ret_size)
{
    struct look *job;
    int rc = yk_check_cancelled(yk_task_self("yoke_file_load"));

    if (rc < 0)
        return rc;
    job = look_new(path, load_run);
    if (job != NULL)
        job->limit = limit == 0 ? YK_FILE_LOAD_MAX : limit;
    rc = look(job, "load", path, true);
    if (rc < 0)
        return rc;
    job->data[job->size] = '\0';
    *ret_data = job->data;
    job->data = NULL;
    if (ret_size != NULL)
        *ret_size = job->size;
    look_free(job);
    return 0;
}

struct change {
    int (*run)(struct change *job); /* 0 or -errno */
    const char *path;
    const char *to;
    const void *data;
    size_t size;
    mode_t mode;
    uint64_t random; /* for the name of a temporary file */
    int rc;
};

static int change_run(void *arg)
{
    struct change *job = arg;

    job->rc = job->run(job);
    return 0;
}

/* What changes something; can't be cut short. */
static int change(struct change *job, const char *call)
{
    int rc = yoke_thread_run(change_run, job, NULL);

    if (rc < 0)
        return rc;
    return job->rc < 0 ? failed(call, job->path, job->rc) : 0;
}

static int rename_run(struct change *job)
{
    return YK_FALLIBLE(EIO, rename(job->path, job->to)) < 0 ? -errno : 0;
}

int yoke_file_rename(const char *from, const char *to)
{
    struct change job = {.run = rename_run, .path = from, .to = to};

    return change(&job, "rename");
}

static int unlink_run(struct change *job)
{
    return YK_FALLIBLE(EIO, unlink(job->path)) < 0 ? -errno : 0;
}

int yoke_file_unlink(const char *path)
{
    struct change job = {.run = unlink_run, .path = path};

    return change(&job, "unlink");
}

static int write_and_sync(int number, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = YK_FALLIBLE(ENOSPC, write(number, data, size));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        size -= (size_t)n;
    }
    return YK_FALLIBLE(EIO, fsync(number)) < 0 ? -errno : 0;
}

/* After a rename: so that the new name, too, is on the disk. */
static int sync_directory(const char *directory)
{
    int number = YK_FALLIBLE(EMFILE, open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int rc = 0;

    if (number < 0)
        return -errno;
    if (YK_FALLIBLE(EIO, fsync(number)) < 0 && errno != EINVAL &&
        errno != EROFS) /* can't be synced: nothing to do */
        rc = -errno;
    close(number);
    return rc;
}

/* Writes the new contents under a temporary name and renames it. `path` has no symbolic link. */
static int replace_at(struct change *job, const char *path, const struct stat *old)
{
    char temporary[PATH_MAX], directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int before = slash == NULL ? 0 : (int)(slash - path) + 1;
    int number, rc;

    snprintf(directory, sizeof directory, "%.*s", before == 0 ? 1 : before,
             before == 0 ? "." : path);
    if (snprintf(temporary, sizeof temporary, "%.*s.yoke-%016llx", before, path,
                 (unsigned long long)job->random) >= (int)sizeof temporary)
        return -ENAMETOOLONG;
    number = YK_FALLIBLE(EMFILE, open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                                      old != NULL ? S_IRUSR | S_IWUSR : job->mode));
    if (number < 0)
        return -errno;
    rc = old != NULL && YK_FALLIBLE(EPERM, fchmod(number, old->st_mode & 07777)) < 0 ? -errno : 0;
    if (rc == 0)
        rc = write_and_sync(number, job->data, job->size);
    if ((close(number) < 0 || yk_fault(EIO)) && rc == 0)
        rc = -errno;
    if (rc == 0 && YK_FALLIBLE(EIO, rename(temporary, path)) < 0)
        rc = -errno;
    if (rc < 0) {
        (void)unlink(temporary);
        return rc;
    }
    return sync_directory(directory);
}

static int replace_run(struct change *job)
{
    char resolved[PATH_MAX];
    struct stat old;

    if (YK_FALLIBLE(EIO, lstat(job->path, &old)) < 0)
        return errno == ENOENT ? replace_at(job, job->path, NULL) : -errno;
    if (yk_fault(ENOMEM) || realpath(job->path, resolved) == NULL ||
        YK_FALLIBLE(EIO, stat(resolved, &old)) < 0)
        return -errno;
    if (S_ISDIR(old.st_mode))
        return -EISDIR;
    if (!S_ISREG(old.st_mode))
        return -EINVAL; /* a device or a socket must not become a file */
    return replace_at(job, resolved, &old);
}

int yoke_file_replace(const char *path, const void *data, size_t size, mode_t mode)
{
    struct yoke_runtime *runtime = yk_task_self("yoke_file_replace")->runtime;
    struct change job = {.run = replace_run,
                         .path = path,
                         .data = data,
                         .size = size,
                         .mode = mode == 0 ? 0644 : mode};

    runtime->host->ops->entropy(runtime->host, &job.random, sizeof job.random);
    return change(&job, "replace");
}
