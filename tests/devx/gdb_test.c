/* SPDX-License-Identifier: MIT */
/*
 * The gdb commands show the tasks of a process that is stuck, and of its core; and the library has
 * the probes it says. What runs gdb or readelf is skipped where there is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yoke.h>
#include <yoke/testing.h>

#define COMMANDS                                                                                   \
    " -ex 'source " YK_SOURCE_DIR "/tools/yoke-gdb.py' -ex 'yoke tasks' -ex 'yoke bt waiter'"      \
    " -ex 'yoke scopes waiter' -ex 'yoke why waiter' -ex 'yoke why block' -ex 'yoke bt nobody'"

static char output[1 << 17];

/* What a command writes. */
static void run(const char *command)
{
    FILE *from = popen(command, "r");
    size_t n;

    assert_non_null(from);
    n = fread(output, 1, sizeof output - 1, from);
    output[n] = '\0';
    pclose(from);
}

static void need(const char *tool)
{
    char command[64];

    snprintf(command, sizeof command, "command -v %s", tool);
    run(command);
    if (output[0] == '\0')
        skip();
}

static void assert_says(const char *part)
{
    if (strstr(output, part) == NULL)
        fail_msg("no \"%s\" in:\n%s", part, output);
}

static int waiter(void *arg)
{
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){.name = "stubborn", .shield = true});

    if (rc == 0)
        rc = yoke_event_wait(arg);
    return yoke_scope_close(&scope, rc);
}

static int block(void *arg)
{
    struct yoke_nursery nursery;
    struct yoke_event event;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "jobs"});

    yoke_event_init(&event);
    if (rc == 0)
        rc = yoke_spawn(&nursery, waiter, &event);
    if (rc == 0)
        rc = yoke_wait_all_tasks_blocked();
    yoke_scope_cancel(yoke_nursery_scope(&nursery), "enough");
    rc = yoke_checkpoint();
    (void)!write(*(int *)arg, "", 1);
    for (;;) /* cancelled, and does not go: gdb finds it running */
        pause();
    return yoke_nursery_close(&nursery, rc);
}

/* A process that is stuck, with leave to write a core into its folder. */
static pid_t start(const char *folder)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    int ends[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
        for (int number = 1; number < 32; number++)
            signal(number, SIG_DFL);
        setrlimit(RLIMIT_CORE, &all);
        if (chdir(folder) == 0 && yoke_run(block, &ends[1], NULL) < 0)
            yoke_report(stderr);
        _exit(1);
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    close(ends[0]);
    return pid;
}

static void assert_shows_all(void)
{
    assert_says("task tree of root@");
    assert_says(": 2 tasks\n");
    assert_says("\n    task waiter (");
    assert_says(") waits for event since ");
    assert_says(") runs, spawned at ");
    assert_says("nursery \"jobs\" (");
    assert_says("scope \"stubborn\" (");
    assert_says(", shield\n");
    assert_says(" in waiter at ");
    assert_says(" is not being cancelled\n"); /* the waiter, behind its shield */
    assert_says(", cancelled\n  because scope: enough, by task block (");
    assert_says("no task nobody; see: yoke tasks");
}

static void gdb_shows_the_tasks_of_a_live_process(void **state)
{
    char command[2048];
    pid_t pid;

    (void)state;
    need("gdb");
    pid = start("/");
    snprintf(command, sizeof command, "gdb -batch -nx -p %d" COMMANDS " 2>&1", (int)pid);
    run(command);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    if (strstr(output, "Operation not permitted") != NULL)
        skip(); /* a container that forbids ptrace */
    assert_shows_all();
}

/* The core in a folder; false if the kernel was told to put it elsewhere. */
static bool find_core(const char *folder, char *path, size_t size)
{
    DIR *directory = opendir(folder);
    struct dirent *entry;
    bool found = false;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL)
        if (strncmp(entry->d_name, "core", 4) == 0) {
            snprintf(path, size, "%s/%s", folder, entry->d_name);
            found = true;
        }
    closedir(directory);
    return found;
}

static void gdb_shows_the_tasks_of_a_core(void **state)
{
    char folder[] = "/tmp/yoke-core-XXXXXX";
    char path[512], command[4096];
    bool found;
    pid_t pid;

    (void)state;
    need("gdb");
    assert_non_null(mkdtemp(folder));
    pid = start(folder);
    kill(pid, SIGABRT);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    found = find_core(folder, path, sizeof path);
    if (found) {
        snprintf(command, sizeof command, "gdb -batch -nx /proc/%d/exe %s" COMMANDS " 2>&1",
                 (int)getpid(), path);
        run(command);
        unlink(path);
    }
    assert_int_equal(rmdir(folder), 0);
    if (!found)
        skip();
    assert_shows_all();
}

static void the_probes_are_in_the_program(void **state)
{
#ifdef YK_HAVE_SDT
    static const char *const names[] = {"task_spawned",   "task_parked",      "task_woken",
                                        "task_exited",    "cancel_requested", "cancel_delivered",
                                        "before_io_wait", "after_io_wait"};
    char command[64], line[64];

    (void)state;
    need("readelf");
    snprintf(command, sizeof command, "readelf -n /proc/%d/exe", (int)getpid());
    run(command);
    assert_says("Provider: yoke");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(line, sizeof line, "Name: %s\n", names[i]);
        assert_says(line);
    }
#else
    (void)state;
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gdb_shows_the_tasks_of_a_live_process),
        cmocka_unit_test(gdb_shows_the_tasks_of_a_core),
        cmocka_unit_test(the_probes_are_in_the_program),
    };

    return cmocka_run_group_tests_name("gdb", tests, NULL, NULL);
}
