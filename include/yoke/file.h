/* SPDX-License-Identifier: MIT */
/*
 * Files. An open file is a conn (<yoke/conn.h>), read and written at its position; what only files
 * can do is here. What is in the page cache is read at once; everything else runs in a worker
 * thread (yoke_thread_run), so that a slow disk holds up only the task that waits for it.
 *
 * Calls check for cancellation when they begin. Those that look only (open, stat, load) are left
 * behind by a cancelled caller, and what they made is undone. Those that change something, or fill
 * the caller's memory, can't be cut short once begun.
 *
 * Errors are of type "yoke.File" and name the call and the path.
 */
#ifndef YOKE_FILE_H
#define YOKE_FILE_H

#include <sys/stat.h>
#include <sys/types.h>
#include <yoke/common.h>
#include <yoke/conn.h>

YOKE_BEGIN

/*
 * Opens as open(2) with these flags, always close-on-exec; `mode` counts with O_CREAT. A FIFO,
 * terminal or device that can be waited for becomes a conn that is; opening one never blocks.
 * 0; YOKE_CANCELLED; -errno.
 */
YOKE_API YOKE_MUST_CHECK int yoke_file_open(const char *path, int flags, mode_t mode,
                                            struct yoke_conn **ret_file);

/*
 * At an offset, leaving the position alone. pread: up to `size` bytes, 0 at the end. pwrite: all;
 * *ret_written (may be NULL) always says how many. Several tasks may be in either at once.
 * -ESPIPE for what is no file; else as yoke_conn_read and yoke_conn_write_all.
 */
YOKE_API YOKE_MUST_CHECK ssize_t yoke_file_pread(struct yoke_conn *file, void *buffer, size_t size,
                                                 int64_t offset);
YOKE_API YOKE_MUST_CHECK int yoke_file_pwrite(struct yoke_conn *file, const void *data, size_t size,
                                              int64_t offset, size_t *ret_written);

/* Waits until what was written is on the disk. 0; -EIO, -ENOSPC: it is not, and may never be. */
YOKE_API YOKE_MUST_CHECK int yoke_file_sync(struct yoke_conn *file);

/*
 * Closes, and tells what only close tells (a network file system may report a failed write here).
 * The handle still needs its unref. 0; YOKE_CANCELLED or -errno, and it is closed all the same;
 * -EBUSY, while a task uses it, and it is not.
 */
YOKE_API YOKE_MUST_CHECK int yoke_file_close(struct yoke_conn *file);

/* As stat(2), rename(2), unlink(2). 0; YOKE_CANCELLED, without any effect; -errno. */
YOKE_API YOKE_MUST_CHECK int yoke_file_stat(const char *path, struct stat *ret_status);
YOKE_API YOKE_MUST_CHECK int yoke_file_rename(const char *from, const char *to);
YOKE_API YOKE_MUST_CHECK int yoke_file_unlink(const char *path);

/*
 * Reads a whole file of at most `limit` bytes (0: 1 GiB); -EFBIG if there are more. 0, and memory
 * to be freed by free(), which has a NUL behind the last byte; ret_size may be NULL.
 */
YOKE_API YOKE_MUST_CHECK int yoke_file_load(const char *path, size_t limit, char **ret_data,
                                            size_t *ret_size);

/*
 * Puts `data` in place of a file's contents, or makes the file: at any moment, also after a crash,
 * the path has the old contents or all of the new. Written beside it and renamed, and synced to
 * disk. `mode` is that of a new file, 0: 0644 by the umask; one that is there keeps its own. A
 * symbolic link is followed. 0; YOKE_CANCELLED, -errno: the old contents are still there.
 */
YOKE_API YOKE_MUST_CHECK int yoke_file_replace(const char *path, const void *data, size_t size,
                                               mode_t mode);

YOKE_END
#endif
