/* SPDX-License-Identifier: MIT */
/* Files: reading and writing in threads, errors that name call and path, replacing at once. */
#include "io/test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <yoke/file.h>

YK_REAL_TEST(a_file_is_written_read_and_stays_where_it_was)
{
    struct yoke_conn *file = NULL;
    struct scratch scratch;
    struct stat status;
    char room[16] = "";

    scratch_make(&scratch);
    yk_check_int(yoke_file_open(scratch.path, O_RDWR | O_CREAT | O_EXCL, 0640, &file), 0);
    yk_check_int(yoke_conn_write_all(file, "hello world", 11, NULL), 0);
    yk_check_int(yoke_file_pread(file, room, 5, 6), 5);
    yk_check(memcmp(room, "world", 5) == 0);
    yk_check_int(yoke_file_pwrite(file, "WORLD", 5, 6, NULL), 0);
    yk_check_int(yoke_conn_read(file, room, sizeof room), 0); /* at the end */
    yk_check_int(lseek(yoke_conn_fd(file), 0, SEEK_SET), 0);
    yk_check_int(yoke_conn_read(file, room, sizeof room), 11);
    yk_check(memcmp(room, "hello WORLD", 11) == 0);
    yk_check_int(yoke_file_sync(file), 0);
    yk_check_int(yoke_conn_close_write(file), 0);
    yk_check_int(yoke_file_close(file), 0);
    yk_check_int(yoke_conn_read(file, room, sizeof room), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yk_check_int(yoke_file_pread(file, room, 1, 0), YOKE_ECLOSED);
    yk_check_caught("yoke.Closed", NULL);
    yoke_conn_unref(file);
    yk_check_int(yoke_file_stat(scratch.path, &status), 0);
    yk_check_int(status.st_size, 11);
    scratch_remove(&scratch);
    return 0;
}

YK_REAL_TEST(paths_are_renamed_and_unlinked)
{
    struct scratch scratch;
    struct stat status;
    char other[160];

    scratch_make(&scratch);
    snprintf(other, sizeof other, "%s-other", scratch.path);
    yk_check_int(yoke_file_replace(scratch.path, "x", 1, 0), 0);
    yk_check_int(yoke_file_rename(scratch.path, other), 0);
    yk_check_int(yoke_file_stat(scratch.path, &status), -ENOENT);
    yoke_clear();
    yk_check_int(yoke_file_unlink(other), 0);
    yk_check_int(yoke_file_unlink(other), -ENOENT);
    yk_check(strstr(yoke_error_message(yoke_in_flight()), "it-other: No such file") != NULL);
    yk_check_caught("yoke.File", NULL);
    scratch_remove(&scratch);
    return 0;
}

YK_REAL_TEST(errors_name_the_call_and_the_path)
{
    struct yoke_conn *file = NULL;
    char room[8], *data;
    size_t written = 99;

    yk_check_int(yoke_file_open("/no/such/file", O_RDONLY, 0, &file), -ENOENT);
    yk_check_caught("yoke.File", "open /no/such/file: No such file or directory");
    yk_check_int(yoke_file_load("/no/such/file", 0, &data, NULL), -ENOENT);
    yk_check_caught("yoke.File", "load /no/such/file: No such file or directory");
    yk_check_int(yoke_file_rename("/no/such/file", "/no/such/other"), -ENOENT);
    yk_check_caught("yoke.File", "rename /no/such/file: No such file or directory");
    yk_check_int(yoke_file_open("/tmp", O_WRONLY, 0, &file), -EISDIR);
    yk_check_caught("yoke.File", "open /tmp: Is a directory");
    yk_check_int(yoke_file_open("/tmp", O_RDONLY, 0, &file), 0);
    yk_check_int(yoke_conn_read(file, room, sizeof room), -EISDIR);
    yk_check_caught("yoke.File", "read /tmp: Is a directory");
    yoke_conn_unref(file);
    yk_check_int(yoke_file_open("/dev/full", O_WRONLY, 0, &file), 0);
    yk_check_int(yoke_conn_write_all(file, "x", 1, &written), -ENOSPC);
    yk_check_caught("yoke.File", "write /dev/full: No space left on device");
    yk_check_int(written, 0);
    yoke_conn_unref(file);
    yk_check_int(yoke_file_replace("/dev/full", "x", 1, 0), -EINVAL);
    yk_check_caught("yoke.File", NULL);
    yk_check_int(yoke_file_replace("/tmp", "x", 1, 0), -EISDIR);
    yk_check_caught("yoke.File", NULL);
    yk_check_int(yoke_file_replace("/no/such/file", "x", 1, 0), -ENOENT);
    yk_check_caught("yoke.File", NULL);
    return 0;
}

YK_REAL_TEST(a_whole_file_is_loaded_up_to_a_limit)
{
    struct scratch scratch;
    char *data = NULL;
    size_t size = 0, big = 1 << 20;
    char *text = malloc(big);

    for (size_t i = 0; i < big; i++)
        text[i] = (char)(i * 31);
    scratch_make(&scratch);
    yk_check_int(yoke_file_replace(scratch.path, text, big, 0), 0);
    yk_check_int(yoke_file_load(scratch.path, big, &data, &size), 0);
    yk_check_int(size, big);
    yk_check(memcmp(data, text, big) == 0 && data[size] == '\0');
    free(data);
    yk_check_int(yoke_file_load(scratch.path, big - 1, &data, &size), -EFBIG);
    yk_check_caught("yoke.File", NULL);
    yk_check_int(yoke_file_load("/proc/self/status", 0, &data, &size), 0); /* says its size is 0 */
    yk_check(size > 100 && strlen(data) == size);
    free(data);
    yk_check_int(yoke_file_load("/dev/zero", 100000, &data, &size), -EFBIG);
    yk_check_caught("yoke.File", NULL);
    yk_check_int(yoke_file_replace(scratch.path, "", 0, 0), 0);
    yk_check_int(yoke_file_load(scratch.path, 0, &data, &size), 0);
    yk_check_int(size, 0);
    free(data);
    free(text);
    scratch_remove(&scratch);
    return 0;
}

YK_REAL_TEST(replacing_keeps_the_mode_follows_links_and_leaves_nothing_beside)
{
    struct scratch scratch;
    struct stat status;
    char link[160], *data = NULL;
    mode_t mask = umask(027);

    scratch_make(&scratch);
    snprintf(link, sizeof link, "%s-link", scratch.path);
    yk_check_int(yoke_file_replace(scratch.path, "first", 5, 0666), 0);
    yk_check_int(yoke_file_stat(scratch.path, &status), 0);
    yk_check_int(status.st_mode & 07777, 0640);
    yk_check_int(chmod(scratch.path, 0604), 0);
    yk_check_int(symlink(scratch.path, link), 0);
    yk_check_int(yoke_file_replace(link, "second", 6, 0), 0);
    yk_check_int(lstat(link, &status), 0);
    yk_check(S_ISLNK(status.st_mode));
    yk_check_int(yoke_file_stat(scratch.path, &status), 0);
    yk_check_int(status.st_mode & 07777, 0604);
    yk_check_int(yoke_file_load(link, 0, &data, NULL), 0);
    yk_check_text(data, "second");
    free(data);
    yk_check_int(scratch_count(&scratch), 2);
    yk_check_int(yoke_file_unlink(link), 0);
    umask(mask);
    scratch_remove(&scratch);
    return 0;
}

struct filler {
    struct yoke_conn *fifo;
    const char *path;
};

static int write_to_fifo(void *arg)
{
    struct filler *filler = arg;
    struct yoke_conn *writer = NULL;
    int rc = yoke_file_open(filler->path, O_WRONLY, 0, &writer);

    if (rc == 0)
        rc = yoke_conn_write_all(writer, "x", 1, NULL);
    yoke_conn_unref(writer);
    return rc;
}

YK_REAL_TEST(opening_a_fifo_does_not_block_and_reading_it_waits)
{
    struct filler filler = {.fifo = NULL};
    struct yoke_nursery nursery;
    struct scratch scratch;
    char room[8];

    scratch_make(&scratch);
    filler.path = scratch.path;
    yk_check_int(mkfifo(scratch.path, 0600), 0);
    yk_check_int(yoke_file_open(scratch.path, O_RDWR, 0, &filler.fifo), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, write_to_fifo, &filler), 0);
    yk_check_int(yoke_conn_read(filler.fifo, room, sizeof room), 1);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check_int(yoke_file_pread(filler.fifo, room, 1, 0), -ESPIPE);
    yk_check_caught("yoke.Io", NULL);
    yoke_conn_unref(filler.fifo);
    scratch_remove(&scratch);
    return 0;
}

YK_REAL_TEST(a_cancelled_call_on_a_file_has_no_effect)
{
    struct yoke_conn *file = NULL;
    struct yoke_scope scope;
    struct scratch scratch;
    struct stat status;
    char room[8], *data;
    size_t written = 9;
    int rc;

    scratch_make(&scratch);
    yk_check_int(yoke_file_replace(scratch.path, "old", 3, 0), 0);
    yk_check_int(yoke_file_open(scratch.path, O_RDWR, 0, &file), 0);
    rc = yoke_scope_open(&scope, NULL);
    yoke_scope_cancel(&scope, "before all");
    yk_check_int(yoke_conn_read(file, room, sizeof room), YOKE_CANCELLED);
    yk_check_int(yoke_conn_write_all(file, "new", 3, &written), YOKE_CANCELLED);
    yk_check_int(written, 0);
    yk_check_int(yoke_file_pwrite(file, "new", 3, 0, &written), YOKE_CANCELLED);
    yk_check_int(yoke_file_replace(scratch.path, "new", 3, 0), YOKE_CANCELLED);
    yk_check_int(yoke_file_unlink(scratch.path), YOKE_CANCELLED);
    yk_check_int(yoke_file_stat(scratch.path, &status), YOKE_CANCELLED);
    rc = yoke_file_load(scratch.path, 0, &data, NULL);
    yk_check_int(rc, YOKE_CANCELLED);
    yk_check_int(yoke_file_close(file), YOKE_CANCELLED);
    yk_check_int(yoke_conn_fd(file), -1); /* closed all the same */
    yk_check_int(yoke_scope_close(&scope, rc), 0);
    yoke_conn_unref(file);
    yk_check_int(yoke_file_load(scratch.path, 0, &data, NULL), 0);
    yk_check_text(data, "old");
    free(data);
    yk_check_int(scratch_count(&scratch), 1);
    scratch_remove(&scratch);
    return 0;
}

static int open_and_close(void *arg)
{
    struct yoke_conn *file = NULL;
    int rc = yoke_file_open(arg, O_RDONLY, 0, &file);

    yoke_conn_unref(file);
    return rc;
}

static int cancel_it(void *arg)
{
    yoke_scope_cancel(arg, "while it opens");
    return 0;
}

/* Whenever the cancellation comes, the descriptor is either handed over or closed. */
YK_REAL_TEST(an_open_that_is_cancelled_meanwhile_leaves_no_descriptor)
{
    for (int i = 0; i < 50; i++) {
        struct yoke_nursery nursery;

        yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
        for (int k = 0; k < 8; k++)
            yk_check_int(yoke_spawn(&nursery, open_and_close, "/etc/passwd"), 0);
        yk_check_int(yoke_spawn(&nursery, cancel_it, yoke_nursery_scope(&nursery)), 0);
        yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    }
    return 0;
}

/* Between its checkpoints a task can't be kept from closing; the thread must not lose its number.
 */
static int write_much(void *arg)
{
    static char bytes[1 << 20];
    int rc = yoke_conn_write_all(arg, bytes, sizeof bytes, NULL);

    if (rc == YOKE_ECLOSED)
        yoke_clear();
    return rc == YOKE_ECLOSED ? 0 : rc;
}

YK_REAL_TEST(closing_a_file_under_a_running_write_waits_for_the_thread)
{
    struct yoke_conn *file = NULL;
    struct yoke_nursery nursery;
    struct scratch scratch;
    int before;

    scratch_make(&scratch);
    yk_check_int(yoke_file_open(scratch.path, O_WRONLY | O_CREAT, 0600, &file), 0);
    yk_check_int(yoke_nursery_open(&nursery, NULL), 0);
    yk_check_int(yoke_spawn(&nursery, write_much, file), 0);
    yk_check_int(yoke_checkpoint(), 0);
    before = yoke_conn_fd(file);
    yoke_conn_close(file);
    yk_check(before >= 0 && yoke_conn_fd(file) == -1);
    yk_check_int(yoke_nursery_close(&nursery, 0), 0);
    yk_check(fcntl(before, F_GETFD) < 0);
    yoke_conn_unref(file);
    scratch_remove(&scratch);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_written_read_and_stays_where_it_was),
        cmocka_unit_test(paths_are_renamed_and_unlinked),
        cmocka_unit_test(errors_name_the_call_and_the_path),
        cmocka_unit_test(a_whole_file_is_loaded_up_to_a_limit),
        cmocka_unit_test(replacing_keeps_the_mode_follows_links_and_leaves_nothing_beside),
        cmocka_unit_test(opening_a_fifo_does_not_block_and_reading_it_waits),
        cmocka_unit_test(a_cancelled_call_on_a_file_has_no_effect),
        cmocka_unit_test(an_open_that_is_cancelled_meanwhile_leaves_no_descriptor),
        cmocka_unit_test(closing_a_file_under_a_running_write_waits_for_the_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
