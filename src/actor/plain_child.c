/* SPDX-License-Identifier: MIT */
/*
 * A plain child, such as a Python program that runs tractor: its process is told on its command
 * line where its parent listens, and connects to it. Each has a listener of its own, which is
 * closed once the child is there: a Unix socket in this user's private directory, or a TCP port if
 * the child is to listen at one, since tractor's actors speak one transport only.
 *
 * The link's task accepts, the supervisor waits: for the child to be up, or for its process to end
 * before. It then closes the listener, which ends the accepting. Its stderr is ours from the start:
 * it would not know to change over.
 */
#include "actor/plain.h"
#include "actor/registry.h"
#include "actor/spawner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/net.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/memory.h"
#include "io/conn.h"

enum { MODULES_MAX = 64, ARGUMENTS_MAX = 64, REGISTRARS_MAX = 4 };

static size_t arguments_of(const struct yoke_actor_opts *opts)
{
    size_t n = 0;

    while (opts->arguments != NULL && opts->arguments[n] != NULL)
        n++;
    return n;
}

int yk_plain_check(const char *name, const struct yoke_actor_opts *opts)
{
    if (!opts->plain && opts->arguments != NULL)
        return yoke_raise("yoke.Misuse", EINVAL,
                          "actor %s: arguments are named, but it is not a plain actor", name);
    if (!opts->plain)
        return 0;
    if (opts->spawner != YOKE_SPAWN_EXEC)
        return yoke_raise("yoke.Misuse", EINVAL,
                          "actor %s: it is a plain actor, but it is not to be executed", name);
    if (opts->executable == NULL)
        return yoke_raise("yoke.Misuse", EINVAL, "actor %s: a plain actor needs an executable",
                          name);
    if (arguments_of(opts) > ARGUMENTS_MAX)
        return yoke_raise("yoke.Misuse", EINVAL, "actor %s: more than %d arguments", name,
                          ARGUMENTS_MAX);
    return 0;
}

bool yk_plain_copy_arguments(struct yk_actor_child *child, const struct yoke_actor_opts *opts)
{
    size_t n = arguments_of(opts);

    if (!opts->plain)
        return true;
    child->arguments = yk_calloc(n + 1, sizeof *child->arguments);
    for (size_t i = 0; child->arguments != NULL && i < n; i++) {
        child->arguments[i] = yk_strdup(opts->arguments[i]);
        if (child->arguments[i] == NULL)
            return false;
    }
    return child->arguments != NULL;
}

void yk_plain_free_arguments(struct yk_actor_child *child)
{
    for (char **argument = child->arguments; argument != NULL && *argument != NULL; argument++)
        free(*argument);
    free(child->arguments);
}

static int listen_for(struct yk_incarnation *incarnation)
{
    const struct yk_actor_child *child = incarnation->child;
    const struct yk_transport *transport =
        child->listens ? child->listen.transport : &yk_transport_unix;
    struct yk_place *place = &incarnation->dials;
    int rc = yk_place_parse(transport == &yk_transport_unix ? "unix:" : "tcp:127.0.0.1:0", place);

    return rc < 0 ? rc : transport->listen(child->id.name, place, &incarnation->listener);
}

/* The listener's address as Python writes a tuple. Our own paths have no quotes or backslashes. */
static int write_address(struct yk_incarnation *incarnation, char *text, size_t size)
{
    struct yoke_value pair, first, second;
    struct yk_arena arena;
    int rc;

    yk_arena_init(&arena);
    rc = yk_place_to_wire(&arena, &incarnation->dials, &pair);
    if (rc == 0) {
        first = pair.as.array.items[0];
        second = pair.as.array.items[1];
        if (second.type == YOKE_INT)
            snprintf(text, size, "('%.*s', %d)", (int)first.as.str.size, first.as.str.data,
                     (int)second.as.integer);
        else
            snprintf(text, size, "('%.*s', '%.*s')", (int)first.as.str.size, first.as.str.data,
                     (int)second.as.str.size, second.as.str.data);
        if (memchr(first.as.str.data, '\'', first.as.str.size) != NULL ||
            strchr(text, '\\') != NULL)
            rc = yoke_raise("yoke.Address", EINVAL, "%s can't be told to a plain actor", text);
    }
    yk_arena_fini(&arena);
    return rc;
}

static int execute(struct yk_incarnation *incarnation, char *uid, char *address)
{
    struct yk_actor_child *child = incarnation->child;
    struct yoke_host *host = incarnation->portal->actor->runtime->host;
    char *rest[] = {"-m", "tractor._child", "--uid", uid, "--parent_addr", address};
    char *argv[1 + ARGUMENTS_MAX + sizeof rest / sizeof *rest + 1];
    struct yk_spawn spawn = {
        .path = child->executable,
        .argv = argv,
        .death_signal = YK_DEATH_SIGNAL, /* it knows nothing of it, and ends at once */
    };
    size_t n = 0;
    int rc;

    argv[n++] = child->executable; /* an interpreter finds its library by it */
    for (char **argument = child->arguments; *argument != NULL; argument++)
        argv[n++] = *argument;
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        argv[n++] = rest[i];
    argv[n] = NULL;
    rc = host->ops->spawn(host, &spawn, &incarnation->process);
    if (rc < 0)
        return yoke_raise("yoke.Spawn", rc, "actor %s: %s can't be executed: %s", child->id.name,
                          child->executable, strerror(-rc));
    return 0;
}

static void stop_accepting(struct yk_incarnation *incarnation)
{
    struct yoke_listener *listener = incarnation->listener;

    incarnation->listener = NULL;
    if (listener != NULL) {
        yoke_listener_close(listener);
        yoke_listener_unref(listener);
    }
}

static int plain_start(struct yk_incarnation *incarnation, int fd)
{
    const struct yk_actor_child *child = incarnation->child;
    char uid[sizeof child->id.name + sizeof child->id.uuid + 16];
    char address[YK_PLACE_MAX + 16];
    int rc = listen_for(incarnation);

    (void)fd; /* none yet */
    if (rc < 0)
        return rc;
    snprintf(uid, sizeof uid, "('%s', '%s')", child->id.name, child->id.uuid);
    rc = write_address(incarnation, address, sizeof address);
    if (rc == 0)
        rc = execute(incarnation, uid, address);
    if (rc < 0)
        stop_accepting(incarnation);
    return rc;
}

/* Whether who has connected is the child. 1; 0; YOKE_CANCELLED. */
static int meet(struct yk_incarnation *incarnation)
{
    struct yoke_portal *portal = incarnation->portal;
    struct yoke_scope scope;
    int rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                         .name = "greeting",
                                         .timeout_ns = YK_GREETING_NS,
                                     });

    if (rc == 0)
        rc = yk_portal_greet(portal);
    if (rc == 0)
        rc = yk_portal_meet(portal);
    rc = yoke_scope_close(&scope, rc);
    if (rc < 0 && rc != YOKE_CANCELLED) {
        yoke_clear(); /* it is somebody else, who has nothing to say to us */
        rc = 0;
    }
    return rc < 0 ? rc : portal->up;
}

/* One connection. 1: it is the child, whose link is up; 0: it is not, or could not be taken. */
static int try_one(struct yk_incarnation *incarnation, struct yoke_conn *conn)
{
    struct yoke_portal *portal = incarnation->portal;
    int rc = incarnation->dials.transport->admit(conn);

    if (rc == 0)
        rc = yk_conn_take(conn);
    if (rc >= 0)
        rc = yk_link_init(&portal->link, incarnation->dials.transport->link, rc);
    yoke_conn_unref(conn);
    if (rc < 0) {
        if (rc != YOKE_CANCELLED)
            yoke_clear();
        return rc == YOKE_CANCELLED ? rc : 0;
    }
    incarnation->linked = true;
    rc = meet(incarnation);
    if (rc <= 0) {
        yk_link_fini(&portal->link);
        incarnation->linked = false;
    }
    return rc;
}

static int plain_accept(struct yk_incarnation *incarnation)
{
    struct yoke_listener *listener;
    struct yoke_conn *conn;
    int rc;

    if (incarnation->listener == NULL)
        return -EPIPE;
    listener = yoke_listener_ref(incarnation->listener);
    do {
        rc = yoke_accept(listener, &conn);
        if (rc == 0)
            rc = try_one(incarnation, conn);
    } while (rc == 0);
    yoke_listener_unref(listener);
    if (rc == YOKE_ECLOSED) {
        yoke_clear(); /* the supervisor waits no more, and tells why */
        return -EPIPE;
    }
    stop_accepting(incarnation);
    return rc < 0 ? rc : 0;
}

/* "module" or "module=/path/of/module.py", each up to a space: what it is to import. */
static size_t modules_of(char *text, struct yoke_pair *modules)
{
    size_t n = 0;
    char *rest = NULL;

    for (char *word = strtok_r(text, " ", &rest); word != NULL && n < MODULES_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        char *path = strchr(word, '=');

        if (path != NULL)
            *path++ = '\0';
        modules[n++] = (struct yoke_pair){word, yoke_str(path != NULL ? path : "")};
    }
    return n;
}

/* What our own plain parent has told of its tree; of a tree that begins here there is less. */
static bool in_plain_tree(const struct yk_actor *actor)
{
    return actor->plain_vars != NULL &&
           yoke_value_get(*actor->plain_vars, "_enable_tpts").type == YOKE_ARRAY_VALUE;
}

static int plain_send_spec(struct yk_incarnation *incarnation)
{
    const struct yk_actor_child *child = incarnation->child;
    struct yk_actor *actor = incarnation->portal->actor;
    struct yoke_pair modules[MODULES_MAX];
    struct yoke_value none = yoke_array(NULL, 0), bind_addr, tpts, registrars[REGISTRARS_MAX];
    struct yoke_value tpt =
        yoke_str(strcmp(incarnation->dials.transport->scheme, "tcp") == 0 ? "tcp" : "uds");
    struct yk_message message = {.type = YK_SPAWN_SPEC};
    struct yk_spawn_spec *spec = &message.as.spawn_spec;
    struct yk_arena arena;
    char *text;
    int rc = 0;

    yk_arena_init(&arena);
    tpts = yoke_array(&tpt, 1);
    text = yk_arena_strndup(&arena, child->expose, strlen(child->expose));
    if (text == NULL)
        rc = yoke_raise("yoke.Actor", ENOMEM, "no memory for the modules of %s", child->id.name);
    else
        spec->enable_modules = yoke_map(modules, modules_of(text, modules));
    spec->parent_main_data = yoke_map(NULL, 0);
    if (rc == 0)
        rc = yk_registrar_addresses(actor, &arena, registrars, REGISTRARS_MAX);
    spec->reg_addrs = yoke_array(registrars, rc < 0 ? 0 : (size_t)rc);
    rc = rc < 0 ? rc : 0;
    spec->runtime_vars =
        in_plain_tree(actor)
            ? *actor->plain_vars
            : YOKE_MAP({"_is_root", yoke_bool(false)}, {"_root_mailbox", yoke_nil()},
                       {"_root_addrs", none}, {"_enable_tpts", tpts},
                       {"_registry_addrs", spec->reg_addrs}, {"_debug_mode", yoke_bool(false)},
                       {"repl_fixture", yoke_bool(false)}, {"use_greenback", yoke_bool(false)},
                       {"use_stackscope", yoke_bool(false)},
                       {"_is_infected_aio", yoke_bool(false)});
    if (rc == 0 && child->listens && child->listen.where[0] != '\0') { /* else it chooses */
        rc = yk_place_to_wire(&arena, &child->listen, &bind_addr);
        spec->bind_addrs = yoke_array(&bind_addr, 1);
    }
    if (rc == 0)
        rc = yk_portal_send(incarnation->portal, &message);
    yk_arena_fini(&arena);
    return rc;
}

static int plain_kill(struct yk_incarnation *incarnation, int signal)
{
    return yk_spawner_exec.kill(incarnation, signal);
}

static int plain_reap(struct yk_incarnation *incarnation, struct yk_exit *ret)
{
    return yk_spawner_exec.reap(incarnation, ret);
}

const struct yk_spawner yk_spawner_plain = {
    .name = "plain",
    .start = plain_start,
    .kill = plain_kill,
    .reap = plain_reap,
    .accept = plain_accept,
    .stop_accepting = stop_accepting,
    .send_spec = plain_send_spec,
};
