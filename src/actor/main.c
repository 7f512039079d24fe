/* SPDX-License-Identifier: MIT */
/*
 * The program's ends: yoke_main for a root, yoke_serve_if_spawned for a process that was started
 * as an actor. Both watch SIGINT and SIGTERM; the actor also watches its parent.
 *
 * No orphans: an actor learns of its parent's death by the end of its link and by a death signal of
 * the kernel. It then cancels itself in order; but the signal handler has armed a kernel timer
 * before, which kills the process if it has not ended within YK_ORPHAN_NS, even if it is stuck in
 * code that never returns to the runtime.
 *
 * A SIGINT that the kernel sends for Ctrl-C reaches the whole foreground process group. It is meant
 * for the program, that is, its root: actors leave it to their root, whose cancellation reaches
 * them in order and with its chain. A SIGINT that a process sends to one actor is for that actor.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include <yoke/dump.h>
#include <yoke/io.h>

#include "actor/plain.h"
#include "actor/spawned.h"
#include "base/check.h"
#include "base/limits.h"
#include "base/text.h"
#include "io/signal.h"
#include "io/zygote.h"

/* Set once before any task runs, and read by the signal handler. */
static int32_t expected_parent;
static timer_t orphan_timer;
static timer_t look_again_timer;

/* Of the signal handler. */
static volatile sig_atomic_t orphan_timer_armed;
static volatile sig_atomic_t looks;

static bool is_orphan(void)
{
    return expected_parent != 0 && getppid() != expected_parent;
}

/*
 * In a signal handler. While a parent with several threads is being killed, the death signal comes
 * when the first of them ends, and the parent is still there: it is looked after some times more.
 */
static void check_parent(int number, const siginfo_t *info)
{
    static const struct itimerspec bound = {.it_value = {.tv_sec = YK_ORPHAN_NS / 1000000000}};
    static const long after_ms[] = {5, 50, 500};

    if (is_orphan()) {
        if (!orphan_timer_armed)
            timer_settime(orphan_timer, 0, &bound, NULL);
        orphan_timer_armed = 1;
    } else if (expected_parent != 0 && number == YK_DEATH_SIGNAL) {
        if (info->si_code != SI_TIMER)
            looks = 0;
        if (looks < 3) {
            struct itimerspec wait = {.it_value = {.tv_nsec = after_ms[looks++] * 1000000}};

            timer_settime(look_again_timer, 0, &wait, NULL);
        }
    }
}

static void cancel_program(struct yoke_runtime *runtime, enum yoke_cause_kind kind,
                           const struct yoke_signal_info *signal)
{
    struct yk_cause_spec spec = {.layer = YOKE_LAYER_OS, .kind = kind, .signal = signal};
    static const struct yoke_actor_id no_actor;
    struct yk_locus nobody = {.actor = &no_actor, .task_name = ""}; /* of the tree asked */
    struct yoke_cause *cause;

    if (kind == YOKE_CAUSE_PARENT_LOST)
        ((struct yk_actor *)runtime->slots[YK_SLOT_ACTOR].data)->orphaned = true;
    if (runtime->main == NULL)
        return;
    cause = yk_cause_new_as(&nobody, &spec);
    yk_scope_cancel_cause(&runtime->main->scope, cause);
    yoke_cause_unref(cause);
}

static int own_stderr = -1; /* of a process that is not known to its parent yet */

void yk_spawned_known(void)
{
    if (own_stderr < 0)
        return;
    dup2(own_stderr, STDERR_FILENO);
    close(own_stderr);
    own_stderr = -1;
}

static bool watched; /* by a thread, which then is to do what its options say */

/* SIGUSR1 shows the task tree, unless the program has a use of its own for it. */
static bool may_dump(void)
{
    struct sigaction action;

    return !watched && sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
}

static void signal_came(struct yoke_runtime *runtime, const struct yoke_signal_info *info)
{
    bool root = expected_parent == 0;

    if (is_orphan())
        cancel_program(runtime, YOKE_CAUSE_PARENT_LOST, NULL);
    else if (info->number == SIGUSR1 && yk_signal_receivers(SIGUSR1) == 1)
        (void)yoke_dump(stderr, 0); /* a stream that is gone is no reason to end */
    else if (info->number == SIGTERM || (info->number == SIGINT && (root || info->pid != 0)))
        cancel_program(runtime, YOKE_CAUSE_SIGNAL, info);
}

static int watch_signals(void *arg)
{
    int numbers[] = {SIGINT, SIGTERM, YK_DEATH_SIGNAL, SIGUSR1};
    struct yoke_runtime *runtime = yk_runtime_current;
    struct yoke_signals signals;
    struct yoke_signal_info info;
    int rc = yoke_signals_open(&signals, numbers, may_dump() ? 4 : 3);

    (void)arg;
    if (rc < 0)
        return rc;
    rc = yoke_started(NULL);
    while (rc == 0 && (rc = yoke_signals_wait(&signals, &info)) == 0)
        signal_came(runtime, &info);
    yoke_signals_close(&signals);
    return rc;
}

struct root {
    yoke_task_fn fn;
    void *arg;
    const struct yoke_main_opts *opts;
};

/* Not by default: it takes a thread. Only a program whose tasks hog its own needs it. */
static void watch(const struct yoke_watch_opts *opts)
{
    if (opts == NULL && getenv("YOKE_WATCH") == NULL && getenv("YOKE_HOG_MS") == NULL)
        return;
    watched = true;
    if (yoke_watch(opts) < 0)
        yoke_clear(); /* a program must not fail because it can't be watched */
}

static int run_root(void *arg)
{
    struct root *root = arg;
    int rc;

    watch(root->opts->watch);
    rc = yoke_start(yk_runtime_current->system, watch_signals, NULL, NULL);

    return rc < 0 ? rc : root->fn(root->arg);
}

int yoke_main_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name,
                 const struct yoke_main_opts *opts)
{
    struct root root = {.fn = fn, .arg = opts->arg, .opts = opts};
    struct yoke_run_opts run = {.actor_name = opts->name};
    int rc;

    yoke_serve_if_spawned(opts->argc, opts->argv);
    rc = opts->zygote ? yk_actor_zygote_start() : 0;
    if (rc < 0) {
        dprintf(2, "yoke: no zygote can be made: %s\n",
                rc == -EBUSY ? "there are threads already, or there is one" : strerror(-rc));
        return 1;
    }
    rc = yoke_run_at(site, run_root, fn_name, &root, &run);
    yk_zygote_stop();
    if (rc < 0)
        return yoke_report(stderr);
    return rc > 125 ? 125 : rc;
}

/* The link to the parent: the reader is the body. Ends with the runtime, or with the parent. */
static int parent_link(void *arg)
{
    struct yoke_portal *portal = arg;
    struct yoke_runtime *runtime = portal->actor->runtime;
    struct yoke_nursery nursery;
    int rc = yoke_nursery_open(&nursery, &(struct yoke_nursery_opts){.name = "parent link"});

    if (rc == 0)
        rc = yoke_spawn(&nursery, yk_link_writer, &portal->link);
    if (rc == 0)
        rc = yk_portal_greet(portal);
    if (rc == 0)
        rc = yoke_started(NULL);
    if (rc == 0)
        rc = yk_portal_read(portal);
    if (rc != YOKE_CANCELLED) {
        struct yoke_error *lost =
            yk_error_make(YOKE_HERE, "yoke.LinkLost", YOKE_ELINK,
                          "the link to the parent actor %s was lost", portal->id.name);

        yk_error_settle(lost); /* whoever it concerns is cancelled for it, and told */
        yk_portal_lost(portal, lost);
        cancel_program(runtime, YOKE_CAUSE_PARENT_LOST, NULL);
        check_parent(0, NULL);
        yoke_scope_cancel(&nursery.scope, "the link has ended");
    } else if (!portal->link.extensions) {
        yk_plain_linger(portal);
    }
    return yoke_nursery_close(&nursery, rc);
}

static int dial_parent(struct yk_spawned *spawned, const struct yk_link_ops **ret_ops)
{
    struct yk_place place;
    int rc = yk_plain_parse_place(spawned->plain_address, &place);

    if (rc == 0)
        rc = yk_dial(&place, &spawned->fd);
    if (rc == 0)
        *ret_ops = place.transport->link;
    return rc;
}

/* The link that it was given, or that it dials. 0, or raised. */
static int open_link(struct yk_spawned *spawned, struct yoke_portal *portal)
{
    const struct yk_link_ops *ops = &yk_link_unix;
    int rc = spawned->plain_address != NULL ? dial_parent(spawned, &ops) : 0;

    return rc < 0 ? rc : yk_link_init(&portal->link, ops, spawned->fd);
}

static int serve_main(void *arg)
{
    struct yk_spawned *spawned = arg;
    struct yoke_runtime *runtime = yk_runtime_current;
    struct yk_actor *actor = yk_actor_of(runtime);
    struct yoke_portal *portal;
    int rc;

    if (actor == NULL) {
        close(spawned->fd);
        return -ENOMEM;
    }
    if (!spawned->thread)
        watch(NULL);
    YK_TEXT_COPY(runtime->actor.uuid, spawned->id.uuid);
    actor->parent_pid = spawned->parent_pid;
    portal = yk_portal_new(actor);
    if (portal == NULL) {
        close(spawned->fd);
        return -ENOMEM;
    }
    rc = open_link(spawned, portal);
    if (rc < 0) {
        yk_portal_unref(portal);
        return rc;
    }
    actor->parent = portal;
    if (!spawned->thread) /* signals are the process's */
        rc = yoke_start(runtime->system, watch_signals, NULL, NULL);
    if (rc == 0)
        rc = yoke_start(runtime->system, parent_link, portal, NULL);
    return rc < 0 ? rc : yoke_sleep_forever();
}

/* An actor that was cancelled by a peer or its parent has done what it was asked to. */
static int exit_status(int rc)
{
    const struct yoke_error *error = yoke_in_flight();
    const struct yoke_cause *cause = error != NULL ? yoke_error_cause(error) : NULL;
    const struct yoke_signal_info *signal;
    int status;

    if (rc >= 0)
        return 0;
    if (error == NULL || !yoke_error_is_cancelled(error) || yoke_error_suppressed_count(error) > 0)
        return yoke_report(stderr);
    signal = cause != NULL ? yoke_cause_signal(cause) : NULL;
    status = signal != NULL ? 128 + signal->number : 0;
    yoke_clear();
    return status;
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

/* Of a child of a yoke actor. False: incomplete. */
static bool parse_ours(int argc, char **argv, struct yk_spawned *spawned)
{
    const char *fd = option(argc, argv, "--parent_fd");
    const char *pid = option(argc, argv, "--parent_pid");
    const char *err = option(argc, argv, "--stderr_fd");

    if (fd == NULL || pid == NULL)
        return false;
    spawned->fd = atoi(fd);
    spawned->stderr_fd = err != NULL ? atoi(err) : -1;
    spawned->parent_pid = (int32_t)atoi(pid);
    return true;
}

/* Of a child that a Python parent has started in place of an interpreter. */
static bool parse_plain(int argc, char **argv, struct yk_spawned *spawned)
{
    spawned->plain_address = option(argc, argv, "--parent_addr");
    spawned->fd = -1; /* it dials */
    spawned->stderr_fd = -1;
    spawned->parent_pid = (int32_t)getppid();
    return spawned->plain_address != NULL;
}

static bool parse(int argc, char **argv, struct yk_spawned *spawned)
{
    const char *module = option(argc, argv, "-m");
    const char *uid = option(argc, argv, "--uid");
    bool ours = module != NULL && strcmp(module, "yoke._child") == 0;
    bool plain = module != NULL && strcmp(module, "tractor._child") == 0;

    memset(spawned, 0, sizeof *spawned);
    if (!ours && !plain)
        return false;
    if (!(ours ? parse_ours : parse_plain)(argc, argv, spawned) || uid == NULL ||
        !yk_plain_parse_uid(uid, &spawned->id)) {
        dprintf(2, "yoke: the command line of an actor is incomplete\n");
        _exit(2);
    }
    return true;
}

static void watch_parent(const struct yk_spawned *spawned)
{
    struct sigevent event;

    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = SIGKILL;
    if (timer_create(CLOCK_MONOTONIC, &event, &orphan_timer) == 0)
        event.sigev_signo = YK_DEATH_SIGNAL;
    if (event.sigev_signo == SIGKILL ||
        timer_create(CLOCK_MONOTONIC, &event, &look_again_timer) < 0) {
        dprintf(2, "yoke: timer_create: %m\n");
        _exit(1);
    }
    expected_parent = spawned->parent_pid;
    yk_signal_early = check_parent;
    prctl(PR_SET_NAME, spawned->id.name);
    prctl(PR_SET_PDEATHSIG, YK_DEATH_SIGNAL);
    if (getppid() != spawned->parent_pid)
        _exit(0); /* it died before we could ask for the death signal */
}

void yk_serve_process(struct yk_spawned *spawned)
{
    struct yoke_run_opts run = {.actor_name = spawned->id.name};

    watch_parent(spawned);
    if (spawned->stderr_fd >= 0 && fcntl(spawned->stderr_fd, F_SETFD, FD_CLOEXEC) == 0)
        own_stderr = spawned->stderr_fd;
    exit(exit_status(yoke_run_at(YOKE_HERE, serve_main, spawned->id.name, spawned, &run)));
}

int yk_serve_thread(struct yk_spawned *spawned)
{
    struct yoke_run_opts run = {.actor_name = spawned->id.name};

    return exit_status(yoke_run_at(YOKE_HERE, serve_main, spawned->id.name, spawned, &run));
}

void yoke_serve_if_spawned(int argc, char **argv)
{
    struct yk_spawned spawned;

    if (parse(argc, argv, &spawned))
        yk_serve_process(&spawned);
}
