/* SPDX-License-Identifier: MIT */
/*
 * Where Unix sockets of actors lie: by default in a directory of this user alone, which is trusted
 * only if it is a real directory (no link), owned by him. Names are tractor's, "NAME@PID.sock", so
 * that its tools find whose they are.
 *
 * A path that the caller chose may lie in any directory: its socket has mode 0600, and the kernel's
 * word on who is at the other end is asked for by both sides.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"
#include "link/transport.h"

enum {
    PATH_SIZE = sizeof((struct sockaddr_un *)0)->sun_path,
    NAMES_MAX = 16, /* sockets of one actor with chosen names */
};

/* Checked before it is touched, without following a link, and through a descriptor after that. */
static int make_private(const char *path)
{
    struct stat status;
    const char *why = NULL;
    int fd, rc = 0;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return yoke_raise("yoke.Address", errno, "%s can't be made: %s", path, strerror(errno));
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        why = errno == ELOOP || errno == ENOTDIR ? "it is not a directory" : strerror(errno);
    else if (status.st_uid != geteuid())
        why = "it belongs to another user";
    else if ((status.st_mode & 0777) != 0700 && fchmod(fd, 0700) < 0)
        why = strerror(errno);
    if (why != NULL)
        rc = yoke_raise("yoke.Address", EPERM, "%s is no safe place for sockets: %s", path, why);
    if (fd >= 0)
        close(fd);
    return rc;
}

int yk_unix_directory(char *ret_path, size_t size)
{
    const char *runtime_dir = getenv("XDG_RUNTIME_DIR");
    int n;

    if (runtime_dir != NULL && runtime_dir[0] == '/')
        n = snprintf(ret_path, size, "%s/yoke", runtime_dir);
    else
        n = snprintf(ret_path, size, "/tmp/yoke-%u", (unsigned)geteuid());
    if ((size_t)n >= size)
        return yoke_raise("yoke.Address", ENAMETOOLONG, "XDG_RUNTIME_DIR is too long: %s",
                          runtime_dir);
    return make_private(ret_path);
}

/* For names that can't be part of a path, or are too long: the same for the same name. */
static void compact(const char *name, char *text, size_t size)
{
    uint64_t hash[2] = {UINT64_C(14695981039346656037), UINT64_C(0x6c62272e07bb0142)};

    for (const char *at = name; *at != '\0'; at++)
        for (int i = 0; i < 2; i++)
            hash[i] = (hash[i] ^ (unsigned char)*at) * UINT64_C(1099511628211) + (uint64_t)i;
    snprintf(text, size, "actor.%016llx%016llx", (unsigned long long)hash[0],
             (unsigned long long)hash[1]);
}

/* The n-th name for an actor's socket in `directory`. 0, or -ENAMETOOLONG raised. */
static int choose(const char *directory, const char *name, int n, char *path)
{
    char short_name[64], tail[32];
    int size;

    if (n == 0)
        snprintf(tail, sizeof tail, "@%d.sock", (int)getpid());
    else
        snprintf(tail, sizeof tail, ".%d@%d.sock", n + 1, (int)getpid());
    size = snprintf(path, PATH_SIZE, "%s/%s%s", directory, name, tail);
    if (size < PATH_SIZE && name[0] != '\0' && strchr(name, '/') == NULL)
        return 0;
    compact(name, short_name, sizeof short_name);
    size = snprintf(path, PATH_SIZE, "%s/%s%s", directory, short_name, tail);
    if (size < PATH_SIZE)
        return 0;
    return yoke_raise("yoke.Address", ENAMETOOLONG,
                      "the directory %s leaves no room for a socket named %s%s: %d bytes, at most "
                      "%d; set XDG_RUNTIME_DIR to a shorter one",
                      directory, short_name, tail, size, PATH_SIZE - 1);
}

static int listen_at(const char *path, struct yoke_listener **ret)
{
    char place[PATH_SIZE + 8];

    snprintf(place, sizeof place, "unix:%s", path);
    return yoke_listen(place, &(struct yoke_listen_opts){.mode = 0600}, ret);
}

/* Whether nobody listens at a socket; its process, of this machine as far as we see, is gone. */
static bool is_dead(const char *directory, const char *file)
{
    const char *at = strrchr(file, '@');
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int pid = 0, end = 0;
    bool refused;
    int fd;

    if (at == NULL || sscanf(at, "@%d.sock%n", &pid, &end) != 1 || at[end] != '\0' || pid <= 0 ||
        kill(pid, 0) == 0 || errno != ESRCH ||
        snprintf(address.sun_path, PATH_SIZE, "%s/%s", directory, file) >= PATH_SIZE)
        return false;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    refused = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0 &&
              errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return refused;
}

/* Removes what killed processes left behind, under the lock that whoever binds here takes. */
static void sweep(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;

    if (dir == NULL)
        return;
    if (flock(dirfd(dir), LOCK_EX | LOCK_NB) == 0)
        while ((entry = readdir(dir)) != NULL)
            if (is_dead(directory, entry->d_name))
                (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

static int listen_chosen(const char *name, struct yk_place *address, struct yoke_listener **ret)
{
    char directory[PATH_SIZE], path[PATH_SIZE];
    int rc = yk_unix_directory(directory, sizeof directory);

    if (rc == 0)
        sweep(directory);
    for (int i = 0; rc == 0 && i < NAMES_MAX; i++) {
        rc = choose(directory, name, i, path);
        if (rc == 0)
            rc = listen_at(path, ret);
        if (rc == 0)
            YK_TEXT_COPY(address->where, path);
        if (rc != -EADDRINUSE || i + 1 == NAMES_MAX)
            return rc;
        yoke_clear(); /* it listens there already: then at another one beside it */
        rc = 0;
    }
    return rc;
}

/* The directories of a path that are missing, for this user alone. */
static int make_parents(const char *path)
{
    char part[PATH_SIZE];

    YK_TEXT_COPY(part, path);
    for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return yoke_raise("yoke.Address", errno, "%s can't be made: %s", part, strerror(errno));
        *slash = '/';
    }
    return 0;
}

static int unix_listen(const char *name, struct yk_place *address, struct yoke_listener **ret)
{
    int rc;

    if (address->where[0] == '\0')
        return listen_chosen(name, address, ret);
    rc = make_parents(address->where);
    return rc < 0 ? rc : listen_at(address->where, ret);
}

static int unix_check(struct yk_place *address)
{
    const char *path = address->where;

    if (path[0] == '\0')
        return 0;
    if (path[0] != '/')
        return yoke_raise("yoke.Address", EINVAL, "\"unix:%s\": the path must begin with /", path);
    if (path[strlen(path) - 1] == '/')
        return yoke_raise("yoke.Address", EINVAL, "\"unix:%s\" names a directory", path);
    if (strlen(path) >= PATH_SIZE)
        return yoke_raise("yoke.Address", ENAMETOOLONG,
                          "\"unix:%s\": the path of a Unix socket has at most %d bytes", path,
                          PATH_SIZE - 1);
    return 0;
}

static int unix_to_wire(struct yk_arena *arena, const struct yk_place *address,
                        struct yoke_value *ret_pair)
{
    struct yoke_value *pair = yk_arena_alloc(arena, 2 * sizeof *pair);
    const char *slash = strrchr(address->where, '/');

    if (pair == NULL)
        return yoke_raise("yoke.Address", ENOMEM, "no memory for an address");
    if (slash == NULL) { /* to be chosen by whoever gets it */
        pair[0] = pair[1] = yoke_str("");
    } else {
        pair[0] = yoke_str_n(address->where,
                             slash == address->where ? 1 : (size_t)(slash - address->where));
        pair[1] = yoke_str(slash + 1);
    }
    *ret_pair = yoke_array(pair, 2);
    return 0;
}

static int unix_from_wire(struct yoke_value first, struct yoke_value second, struct yk_place *ret)
{
    size_t n = first.type == YOKE_STR ? first.as.str.size : 0;

    if (first.type != YOKE_STR || second.type != YOKE_STR)
        return 0;
    if (n == 0 && second.as.str.size == 0)
        return 1;
    while (n > 0 && first.as.str.data[n - 1] == '/')
        n--;
    if (n + 1 + second.as.str.size >= sizeof ret->where || second.as.str.size == 0 ||
        memchr(second.as.str.data, '/', second.as.str.size) != NULL ||
        memchr(first.as.str.data, '\0', n) != NULL ||
        memchr(second.as.str.data, '\0', second.as.str.size) != NULL)
        return yoke_raise("yoke.BadMessage", EBADMSG, "a Unix address has an impossible path");
    memcpy(ret->where, first.as.str.data, n);
    ret->where[n] = '/';
    memcpy(ret->where + n + 1, second.as.str.data, second.as.str.size);
    ret->where[n + 1 + second.as.str.size] = '\0';
    return 1;
}

/* Of the same user or of root: who else connects has found a way around the directory's mode. */
static int unix_admit(struct yoke_conn *conn)
{
    struct yoke_credentials peer;
    int rc = yoke_conn_credentials(conn, &peer);

    if (rc < 0 || peer.uid == geteuid() || peer.uid == 0)
        return rc;
    return yoke_raise("yoke.Refused", EPERM,
                      "process %d of user %u is not of user %u, as actors of one machine must be",
                      (int)peer.pid, (unsigned)peer.uid, (unsigned)geteuid());
}

const struct yk_transport yk_transport_unix = {
    .scheme = "unix",
    .link = &yk_link_unix,
    .check = unix_check,
    .to_wire = unix_to_wire,
    .from_wire = unix_from_wire,
    .listen = unix_listen,
    .admit = unix_admit,
};
