/* SPDX-License-Identifier: MIT */
/*
 * The example sumtree as a person runs it: real directories, real processes, signals, pipes. What
 * it lists is confirmed by sha256sum(1). This process is the reaper of what the program would leave
 * behind: after each run it must have no child.
 *
 * Nothing here waits for time to pass: a test reads output, waits for an exit, or looks again and
 * again at /proc until a worker has got so far.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define SUMTREE YK_EXAMPLES_DIR "/sumtree"

enum { DEATHS_MAX = 25 }; /* as in the example */
enum {
    FILES = 3000,
    PROMPT_MS = 10000, /* for a second's work on a loaded machine */
    PATIENT_MS = 60000 /* for what takes no time unless something hangs */
};

static char scratch[] = "/tmp/sumtree_test.XXXXXX";
static char tree[64], list[64], errors[64];

/* --- the tree ------------------------------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(tree, sizeof tree, "%s/tree", scratch);
    snprintf(list, sizeof list, "%s/list", scratch);
    snprintf(errors, sizeof errors, "%s/errors", scratch);
    assert_int_equal(mkdir(scratch, 0700), 0);
    assert_int_equal(mkdir(tree, 0700), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return nftw(scratch, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* A file in the tree whose content is its name, and some more. */
static void add_file(const char *name)
{
    char path[PATH_MAX];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", tree, name);
    file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "%s %zu", name, strlen(name));
    assert_int_equal(fclose(file), 0);
}

static void add_directory(const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", tree, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static const char *name_of(int i)
{
    static char name[32];

    snprintf(name, sizeof name, "%02d/%04d", i % 30, i);
    return name;
}

static void add_thousands(void)
{
    for (int i = 0; i < 30; i++) {
        char name[8];

        snprintf(name, sizeof name, "%02d", i);
        add_directory(name);
    }
    for (int i = 0; i < FILES; i++)
        add_file(name_of(i));
}

/* A file that takes hours to read and no room. */
static void add_endless(void)
{
    char path[PATH_MAX];

    add_file("endless");
    snprintf(path, sizeof path, "%s/endless", tree);
    assert_int_equal(truncate(path, INT64_C(1) << 43), 0);
}

/* --- the program ---------------------------------------------------------------------------- */

struct program {
    pid_t pid;
    int pidfd;
    FILE *out; /* its stdout, if a pipe was asked for */
};

/* Starts sumtree with stderr to `errors` and stdout to the file `out`, NULL: a pipe. */
static void start(struct program *program, const char *out, const char *const *arguments)
{
    const char *argv[8] = {SUMTREE};
    int fds[2] = {-1, -1};

    for (int i = 0; arguments[i] != NULL; i++)
        argv[i + 1] = arguments[i];
    if (out == NULL)
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    program->pid = fork();
    assert_true(program->pid >= 0);
    if (program->pid == 0) {
        int fd = out != NULL ? open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600) : fds[1];

        dup2(fd, 1);
        dup2(open(errors, O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
        execv(SUMTREE, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    program->pidfd = (int)syscall(SYS_pidfd_open, program->pid, 0);
    assert_true(program->pidfd >= 0);
    program->out = NULL;
    if (out == NULL) {
        close(fds[1]);
        program->out = fdopen(fds[0], "re");
        assert_non_null(program->out);
    }
}

#define start_with(program, out, ...)                                                              \
    start((program), (out), (const char *const[]){__VA_ARGS__, NULL})

/* Its exit status, as a shell tells it; it must end in time and leave no process. */
static int finish(struct program *program, int timeout_ms)
{
    struct pollfd ended = {.fd = program->pidfd, .events = POLLIN};
    int in_time = poll(&ended, 1, timeout_ms);
    int status;

    if (in_time != 1)
        kill(program->pid, SIGKILL);
    assert_int_equal(waitpid(program->pid, &status, 0), program->pid);
    close(program->pidfd);
    if (program->out != NULL)
        fclose(program->out);
    assert_int_equal(in_time, 1);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run_in(const char *directory)
{
    struct program program;

    start_with(&program, list, directory);
    return finish(&program, PATIENT_MS);
}

/* What a file holds; static memory, and text only up to its first NUL. */
static const char *content(const char *path)
{
    static char text[1 << 20];
    FILE *file = fopen(path, "re");
    size_t n;

    assert_non_null(file);
    n = fread(text, 1, sizeof text - 1, file);
    text[n] = '\0';
    fclose(file);
    return text;
}

#define assert_errors_tell(text) assert_non_null(strstr(content(errors), (text)))

static int count_lines(const char *text)
{
    int n = 0;

    for (const char *c = strchr(text, '\n'); c != NULL; c = strchr(c + 1, '\n'))
        n++;
    return n;
}

static void assert_confirmed(void)
{
    char command[256];

    snprintf(command, sizeof command, "sha256sum --check --strict --quiet %s", list);
    assert_int_equal(system(command), 0);
}

/* How often each of the thousands is in the list. */
static void count_files(int *counts)
{
    FILE *file = fopen(list, "re");
    char line[256];

    assert_non_null(file);
    memset(counts, 0, FILES * sizeof(*counts));
    while (fgets(line, sizeof line, file) != NULL) {
        int i = atoi(strrchr(line, '/') + 1);

        assert_in_range(i, 0, FILES - 1);
        counts[i]++;
    }
    fclose(file);
}

static void assert_each_once(void)
{
    int counts[FILES];

    count_files(counts);
    for (int i = 0; i < FILES; i++)
        assert_int_equal(counts[i], 1);
}

/* Up to n workers of a program, as many as there are now. */
static int workers_of(const struct program *program, pid_t *pids, int n)
{
    char path[64];
    FILE *children;
    int found = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)program->pid, (int)program->pid);
    children = fopen(path, "re");
    while (children != NULL && found < n && fscanf(children, "%d", &pids[found]) == 1)
        found++;
    if (children != NULL)
        fclose(children);
    return found;
}

/* How many bytes a process has read. */
static long long bytes_read(pid_t pid)
{
    char path[64];
    long long n = 0;
    FILE *io;

    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    io = fopen(path, "re");
    if (io != NULL && fscanf(io, "rchar: %lld", &n) != 1)
        n = 0;
    if (io != NULL)
        fclose(io);
    return n;
}

/* Looks until a worker that is not `but` is in the midst of a large file. */
static pid_t busy_worker(const struct program *program, pid_t but)
{
    time_t deadline = time(NULL) + PATIENT_MS / 1000;
    pid_t pid;

    while (time(NULL) < deadline) {
        if (workers_of(program, &pid, 1) == 1 && pid != but && bytes_read(pid) > 20 << 20)
            return pid;
        sched_yield();
    }
    fail_msg("no worker reads");
    return 0;
}

/* --- what it lists -------------------------------------------------------------------------- */

static void names_of_any_bytes_are_confirmed(void **state)
{
    static const char *const names[] = {
        "plain", "with space",     "-dash",     "new\nline",  "back\\slash", "carriage\rreturn",
        "\\n",   "latin \xe9\xff", "tab\there", "both\\\n\r", " ",           "odd\ndirectory/\n",
        "*?[a]",
    };

    (void)state;
    add_directory("odd\ndirectory");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        add_file(names[i]);
    assert_int_equal(run_in(tree), 0);
    assert_string_equal(content(errors), "");
    assert_int_equal(count_lines(content(list)), sizeof names / sizeof *names);
    assert_confirmed();
}

static void only_regular_files_are_listed(void **state)
{
    char path[PATH_MAX];

    (void)state;
    add_file("file");
    snprintf(path, sizeof path, "%s/dangling", tree);
    assert_int_equal(symlink("nowhere", path), 0);
    snprintf(path, sizeof path, "%s/link", tree);
    assert_int_equal(symlink("file", path), 0);
    snprintf(path, sizeof path, "%s/fifo", tree);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(run_in(tree), 0);
    assert_int_equal(count_lines(content(list)), 1);
    assert_confirmed();
}

static void an_empty_directory_gives_an_empty_list(void **state)
{
    (void)state;
    assert_int_equal(run_in(tree), 0);
    assert_string_equal(content(list), "");
    assert_string_equal(content(errors), "");
}

static void what_is_no_directory_is_an_error(void **state)
{
    char path[PATH_MAX];

    (void)state;
    add_file("file");
    snprintf(path, sizeof path, "%s/file", tree);
    assert_int_equal(run_in(path), 1);
    assert_string_equal(content(list), "");
    assert_errors_tell("/tree/file: Not a directory\n");
    snprintf(path, sizeof path, "%s/missing", tree);
    assert_int_equal(run_in(path), 1);
    assert_errors_tell("/tree/missing: No such file or directory\n");
    assert_int_equal(run_in("/dev/null"), 1);
    assert_errors_tell("/dev/null: Not a directory\n");
}

static void a_wrong_command_line_is_explained(void **state)
{
    struct program program;

    (void)state;
    start_with(&program, list, "-j", "0", tree);
    assert_int_equal(finish(&program, PATIENT_MS), 2);
    assert_errors_tell("usage: sumtree");
    start_with(&program, list, "-j", "257", tree);
    assert_int_equal(finish(&program, PATIENT_MS), 2);
    start_with(&program, list, NULL);
    assert_int_equal(finish(&program, PATIENT_MS), 2);
}

static void any_number_of_workers_lists_the_same(void **state)
{
    static const char *const numbers[] = {"1", "2", "16"};
    struct program program;

    (void)state;
    add_thousands();
    for (int i = 0; i < 3; i++) {
        start_with(&program, list, "-j", numbers[i], tree);
        assert_int_equal(finish(&program, PATIENT_MS), 0);
        assert_each_once();
        assert_confirmed();
    }
}

/* --- what goes wrong ------------------------------------------------------------------------ */

/* Nobody can read the files there that only drivers are to be bound by, not even root. */
static void an_unreadable_file_is_in_the_report_and_not_the_end(void **state)
{
    static const char directory[] = "/sys/bus/cpu";
    struct program program;

    (void)state;
    if (access("/sys/bus/cpu/drivers/processor/bind", F_OK) < 0)
        skip();
    add_file("file");
    start_with(&program, list, directory, tree);
    assert_int_equal(finish(&program, PATIENT_MS), 1);
    assert_errors_tell("sumtree: /sys/bus/cpu/drivers/processor/bind: ");
    assert_non_null(strstr(content(list), "/tree/file\n"));
    assert_null(strstr(content(list), "/bind\n"));
}

static void files_that_vanish_are_told_once_or_not_at_all(void **state)
{
    struct program program;
    char line[256], path[PATH_MAX];
    int counts[FILES];
    FILE *copy = fopen(list, "we");
    int status;

    (void)state;
    assert_non_null(copy);
    add_thousands();
    start_with(&program, NULL, tree);
    assert_non_null(fgets(line, sizeof line, program.out));
    for (int i = 0; i < FILES; i += 2) {
        snprintf(path, sizeof path, "%s/%s", tree, name_of(i));
        assert_int_equal(unlink(path), 0);
    }
    do
        fputs(line, copy);
    while (fgets(line, sizeof line, program.out) != NULL);
    fclose(copy);
    status = finish(&program, PATIENT_MS);
    count_files(counts);
    for (int i = 1; i < FILES; i += 2)
        assert_int_equal(counts[i], 1);
    for (int i = 0; i < FILES; i += 2) {
        snprintf(line, sizeof line, "/%s: No such file or directory\n", name_of(i));
        counts[i] += strstr(content(errors), line) != NULL;
        assert_in_range(counts[i], 0, 1);
    }
    assert_int_equal(status, count_lines(content(errors)) > 0);
}

/* Kills a worker after each hundred lines or so, and copies the list meanwhile. */
static int kill_now_and_then(struct program *program, unsigned seed)
{
    FILE *copy = fopen(list, "we");
    int next = 10, kills = 0;
    char line[256];

    assert_non_null(copy);
    for (int n = 1; fgets(line, sizeof line, program->out) != NULL; n++) {
        pid_t pids[8];

        fputs(line, copy);
        if (n >= next && n < FILES - 600) {
            int found = workers_of(program, pids, 8);

            if (found > 0 && kill(pids[(unsigned)rand_r(&seed) % (unsigned)found], SIGKILL) == 0)
                kills++;
            next = n + 20 + rand_r(&seed) % 200;
        }
    }
    fclose(copy);
    return kills;
}

static void killed_workers_are_replaced_and_each_file_is_listed_once(void **state)
{
    (void)state;
    add_thousands();
    for (unsigned seed = 1; seed <= 5; seed++) {
        struct program program;
        int kills;

        start_with(&program, NULL, "-j", "3", tree);
        kills = kill_now_and_then(&program, seed);
        assert_int_equal(finish(&program, PATIENT_MS), 0);
        assert_true(kills > 3);
        assert_errors_tell("killed by signal 9 (Killed)");
        assert_each_once();
        assert_confirmed();
    }
}

static void a_file_at_which_workers_die_is_given_up(void **state)
{
    struct program program;
    pid_t pid = 0;

    (void)state;
    add_endless();
    start_with(&program, list, "-j", "1", tree);
    for (int i = 0; i < DEATHS_MAX; i++) {
        pid = busy_worker(&program, pid);
        assert_int_equal(kill(pid, SIGKILL), 0);
    }
    assert_int_equal(finish(&program, PATIENT_MS), 1);
    assert_errors_tell("/tree/endless: Owner died\n");
    assert_string_equal(content(list), "");
}

static void a_full_device_is_an_error(void **state)
{
    struct program program;

    (void)state;
    add_file("file");
    start_with(&program, "/dev/full", tree);
    assert_int_equal(finish(&program, PATIENT_MS), 1);
    assert_errors_tell("write on descriptor 1: No space left on device");
}

static void a_reader_that_has_left_is_an_error(void **state)
{
    struct program program;
    char line[256];

    (void)state;
    add_thousands();
    start_with(&program, NULL, tree);
    assert_non_null(fgets(line, sizeof line, program.out));
    fclose(program.out);
    program.out = NULL;
    assert_int_equal(finish(&program, PATIENT_MS), 1);
    assert_errors_tell("Broken pipe");
}

/* --- signals -------------------------------------------------------------------------------- */

static void assert_interrupted(struct program *program, int number, const char *name)
{
    char told[64];

    assert_int_equal(kill(program->pid, number), 0);
    assert_int_equal(finish(program, PROMPT_MS), 128 + number);
    snprintf(told, sizeof told, "OS signal %s from pid %d", name, (int)getpid());
    assert_errors_tell("cancelled: task sum_tree in root");
    assert_errors_tell(told);
}

static void sigint_ends_it_amid_a_large_file(void **state)
{
    struct program program;

    (void)state;
    add_endless();
    start_with(&program, list, tree);
    busy_worker(&program, 0);
    assert_interrupted(&program, SIGINT, "SIGINT");
}

static void sigterm_ends_it_amid_a_large_file(void **state)
{
    struct program program;

    (void)state;
    add_endless();
    start_with(&program, list, tree);
    busy_worker(&program, 0);
    assert_interrupted(&program, SIGTERM, "SIGTERM");
}

/* Nobody reads on after the first line; the list is larger than a pipe. */
static void sigint_ends_it_when_stdout_is_stuck(void **state)
{
    struct program program;
    char line[256];

    (void)state;
    add_thousands();
    start_with(&program, NULL, "-j", "16", tree);
    assert_non_null(fgets(line, sizeof line, program.out));
    assert_interrupted(&program, SIGINT, "SIGINT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(names_of_any_bytes_are_confirmed),
        TEST(only_regular_files_are_listed),
        TEST(an_empty_directory_gives_an_empty_list),
        TEST(what_is_no_directory_is_an_error),
        TEST(a_wrong_command_line_is_explained),
        TEST(any_number_of_workers_lists_the_same),
        TEST(an_unreadable_file_is_in_the_report_and_not_the_end),
        TEST(files_that_vanish_are_told_once_or_not_at_all),
        TEST(killed_workers_are_replaced_and_each_file_is_listed_once),
        TEST(a_file_at_which_workers_die_is_given_up),
        TEST(a_full_device_is_an_error),
        TEST(a_reader_that_has_left_is_an_error),
        TEST(sigint_ends_it_amid_a_large_file),
        TEST(sigterm_ends_it_amid_a_large_file),
        TEST(sigint_ends_it_when_stdout_is_stuck),
    };

    if (mkdtemp(scratch) == NULL || rmdir(scratch) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return 1;
    return cmocka_run_group_tests_name("sumtree", tests, NULL, NULL);
}
