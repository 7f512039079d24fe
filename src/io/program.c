/* SPDX-License-Identifier: MIT */
/*
 * Which file is executed, and with which environment. A name without a slash is searched for in the
 * PATH of the environment that the process gets, as a shell does; what the kernel refuses there
 * with ENOENT, ENOTDIR or EACCES is passed over. Decided against looking first and executing then:
 * the kernel's own answer can't be out of date. Only directories given by an absolute path are
 * looked into before, since that is much cheaper than a process each.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/memory.h"
#include "io/subprocess.h"

enum { PATH_BYTES_MAX = 4096 }; /* of a path that the kernel takes */

static const char default_path[] = "/usr/local/bin:/usr/bin:/bin";

extern char **environ;

static size_t count(const char *const *strings)
{
    size_t n = 0;

    while (strings != NULL && strings[n] != NULL)
        n++;
    return n;
}

/* Whether two "NAME=value" are of the same name. */
static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");

    return strncmp(a, b, n) == 0 && (b[n] == '=' || b[n] == '\0');
}

/* `base` with `variables` in it, in one block that refers to the strings of both. NULL: no memory.
 */
static const char **merge(const char *const *base, const char *const *variables)
{
    size_t base_n = count(base), variables_n = count(variables);
    const char **merged = yk_malloc((base_n + variables_n + 1) * sizeof(*merged));
    size_t n = 0;

    if (merged == NULL)
        return NULL;
    for (size_t i = 0; i < base_n; i++) {
        bool replaced = false;

        for (size_t k = 0; k < variables_n && !replaced; k++)
            replaced = same_name(variables[k], base[i]);
        if (!replaced)
            merged[n++] = base[i];
    }
    for (size_t k = 0; k < variables_n; k++)
        merged[n++] = variables[k];
    merged[n] = NULL;
    return merged;
}

static const char *search_path(char *const *environment)
{
    for (char *const *entry = environment; *entry != NULL; entry++)
        if (strncmp(*entry, "PATH=", 5) == 0)
            return *entry + 5;
    return default_path;
}

static bool passed_over(int rc)
{
    return rc == -ENOENT || rc == -ENOTDIR || rc == -EACCES;
}

/* Tries one candidate. -ENAMETOOLONG if it is none. */
static int try_in(const char *directory, size_t directory_size, const char *name,
                  struct yk_spawn *spawn, struct yk_process *ret)
{
    struct yoke_host *host = yk_runtime_current->host;
    char path[PATH_BYTES_MAX];
    int n = snprintf(path, sizeof path, "%.*s%s%s", (int)directory_size, directory,
                     directory_size > 0 ? "/" : "./", name);

    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    if (path[0] == '/' && access(path, X_OK) < 0 && passed_over(-errno)) {
        *spawn->ret_step = YK_SPAWN_EXECUTE;
        return -errno;
    }
    spawn->path = path;
    return host->ops->spawn(host, spawn, ret);
}

/* In each directory of a PATH, an empty one being the current directory. */
static int search(const char *path, const char *name, struct yk_spawn *spawn,
                  struct yk_process *ret)
{
    int result = -ENOENT;

    for (;;) {
        size_t n = strcspn(path, ":");
        int rc = try_in(path, n, name, spawn, ret);

        if (rc == 0 || !passed_over(rc) || *spawn->ret_step != YK_SPAWN_EXECUTE)
            return rc;
        if (rc == -EACCES)
            result = rc; /* it is there, at least */
        if (path[n] == '\0')
            return result;
        path += n + 1;
    }
}

static int raise_failed(int rc, const char *program, const char *directory, const char *path,
                        enum yk_spawn_step step)
{
    if (step == YK_SPAWN_DIRECTORY)
        return yoke_raise("yoke.Process", rc, "%s was not started: working directory %s: %s",
                          program, directory, strerror(-rc));
    if (step != YK_SPAWN_EXECUTE)
        return yoke_raise("yoke.Process", rc, "%s was not started: %s", program, strerror(-rc));
    if (path == NULL)
        return yoke_raise("yoke.Process", rc, "%s can't be executed: %s%s", program, strerror(-rc),
                          rc == -ENOENT ? "; if it is a script, its interpreter may be missing"
                                        : "");
    return yoke_raise("yoke.Process", rc, "%s can't be executed: %s; searched in PATH: %s", program,
                      strerror(-rc), path);
}

int yk_program_spawn(const char *const *argv, const struct yoke_process_opts *opts,
                     const struct yk_spawn_fd *fds, size_t fds_n, struct yk_process *ret)
{
    struct yoke_host *host = yk_runtime_current->host;
    const char *const *base =
        opts->environment != NULL ? opts->environment : (const char *const *)environ;
    const char *program = opts->executable != NULL ? opts->executable : argv[0];
    const char **merged = merge(base, opts->variables);
    const char *path = NULL;
    enum yk_spawn_step step = YK_SPAWN_PREPARE;
    struct yk_spawn spawn = {
        .path = program,
        .argv = (char *const *)(uintptr_t)argv, /* the kernel copies what it points to */
        .environment = (char *const *)(uintptr_t)merged,
        .directory = opts->directory,
        .fds = fds,
        .fds_n = fds_n,
        .death_signal = SIGKILL, /* it may ignore any other, and nobody would be left to insist */
        .own_group = opts->own_group,
        .ret_step = &step,
    };
    int rc;

    if (merged == NULL)
        return yoke_raise("yoke.Process", ENOMEM, "%s was not started: no memory", program);
    if (strchr(program, '/') != NULL) {
        rc = host->ops->spawn(host, &spawn, ret);
    } else {
        path = search_path(spawn.environment);
        rc = search(path, program, &spawn, ret);
    }
    if (rc < 0)
        rc = raise_failed(rc, program, opts->directory, path, step);
    free(merged);
    return rc;
}
