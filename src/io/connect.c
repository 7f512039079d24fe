/* SPDX-License-Identifier: MIT */
/*
 * Connecting: one address, or happy eyeballs over several (RFC 8305; the structure of trio's
 * open_tcp_stream). Each attempt is a child task of one nursery: attempt i waits until attempt
 * i - 1 has failed or its delay is over, starts the next one in turn, and connects. Who connects
 * first cancels the nursery. Only a socket that has won becomes a conn; any other is closed by the
 * task that made it, whatever ends it.
 *
 * A socket is registered with the poller only after connect was called: before that epoll reports a
 * hang-up, which is told once and would be remembered.
 */
#include "base/faults.h"
#include "io/race.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yoke/error.h>
#include <yoke/event.h>
#include <yoke/net.h>
#include <yoke/nursery.h>

#include "base/limits.h"
#include "base/memory.h"
#include "io/address.h"
#include "io/socket.h"

static const struct yoke_connect_opts defaults;

/* A connected conn's first wait: connect's result. */
static int await_connected(struct yoke_conn *conn, const struct yoke_address *address)
{
    int error = 0;
    socklen_t size = sizeof error;
    int rc;

    do {
        struct sockaddr_storage peer;
        socklen_t peer_size = sizeof peer;

        rc = yk_conn_wait(conn, YK_WRITABLE, "connect");
        if (rc < 0)
            return rc;
        if (YK_FALLIBLE(ENOBUFS,
                        getsockopt(conn->fd.watch.fd, SOL_SOCKET, SO_ERROR, &error, &size)) < 0)
            error = errno;
        if (error == 0 &&
            YK_FALLIBLE(ENOBUFS,
                        getpeername(conn->fd.watch.fd, (struct sockaddr *)&peer, &peer_size)) < 0)
            error = errno == ENOTCONN ? EAGAIN : errno; /* woken early */
    } while (error == EAGAIN);
    return error != 0 ? yk_net_failed("connect", address, -error) : 0;
}

/*
 * A Unix socket whose listener's backlog is full says EAGAIN, and there is nothing to wait for but
 * time (unix_stream_connect). 0; negative: raised.
 */
static int connect_unix(int number, const struct yoke_address *address)
{
    int64_t nap = YK_SOCKET_RETRY_NS;

    while (YK_FALLIBLE(ECONNREFUSED, connect(number, &address->as.sockaddr, address->size)) < 0) {
        int rc;

        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return yk_net_failed("connect", address, -errno);
        rc = yoke_sleep(nap);
        if (rc < 0)
            return rc;
        if (nap < YK_SOCKET_RETRY_MAX_NS)
            nap *= 2;
    }
    return 0;
}

static int prepare(int number, const struct yoke_address *address, int type,
                   const struct yoke_connect_opts *opts)
{
    int rc = yk_socket_options(number, yoke_address_family(address), type, &opts->socket);

    if (rc < 0)
        return yk_net_failed("connect", address, rc);
    if (opts->local != NULL &&
        YK_FALLIBLE(EADDRINUSE, bind(number, &opts->local->as.sockaddr, opts->local->size)) < 0)
        return yk_net_failed("bind", opts->local, -errno);
    return 0;
}

/* Connects a new socket. Once *ret_conn is set the descriptor is its, and gone after a failure. */
static int connect_socket(int number, const struct yoke_address *address, int type,
                          const struct yoke_connect_opts *opts, struct yoke_conn **ret_conn)
{
    bool in_progress = false;
    int rc = prepare(number, address, type, opts);

    if (rc < 0)
        return rc;
    if (yoke_address_family(address) == AF_UNIX) {
        rc = connect_unix(number, address);
    } else if (YK_FALLIBLE(ECONNREFUSED, connect(number, &address->as.sockaddr, address->size)) <
               0) {
        /* EINTR: it goes on by itself (connect(2)). */
        in_progress = errno == EINPROGRESS || errno == EINTR;
        rc = in_progress ? 0 : yk_net_failed("connect", address, -errno);
    }
    if (rc < 0)
        return rc;
    rc = yk_conn_socket(number, address, ret_conn);
    if (rc < 0)
        return yk_net_failed("connect", address, rc);
    if (in_progress) {
        rc = await_connected(*ret_conn, address);
        if (rc < 0) {
            yoke_conn_unref(*ret_conn);
            return rc;
        }
    }
    return 0;
}

int yoke_connect_address(const struct yoke_address *address, const struct yoke_connect_opts *opts,
                         struct yoke_conn **ret_conn)
{
    struct yk_task *task = yk_task_self("yoke_connect_address");
    struct yoke_conn *conn = NULL;
    int type, number;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    if (opts == NULL)
        opts = &defaults;
    type = opts->datagram ? SOCK_DGRAM : SOCK_STREAM;
    number = YK_FALLIBLE(EMFILE, socket(yoke_address_family(address),
                                        type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (number < 0)
        return yk_net_failed("socket for", address, -errno);
    rc = connect_socket(number, address, type, opts, &conn);
    if (rc < 0) {
        if (conn == NULL)
            close(number);
        return rc;
    }
    *ret_conn = conn;
    yk_completed_at_once(task);
    return 0;
}

/* --- the race --------------------------------------------------------------------------------- */

struct race {
    const struct yk_race *of;
    struct yoke_nursery nursery;
    struct attempt *attempts;
    void *prize;
};

struct attempt {
    struct race *race;
    size_t i;
    struct yoke_event failed; /* the next one need not wait any longer */
    struct yoke_error *error;
};

static int attempt_run(void *arg);

/* Starts the next attempt, if there is one. */
static int start_next(struct attempt *attempt)
{
    struct race *race = attempt->race;
    char name[32];

    if (attempt->i + 1 == race->of->n)
        return 0;
    snprintf(name, sizeof name, "connect %zu", attempt->i + 2);
    return yoke_spawn_with(&race->nursery, attempt_run, &race->attempts[attempt->i + 1],
                           &(struct yoke_task_opts){.name = name});
}

/* Waits until it is attempt's turn: the one before has failed, or has had its time. */
static int await_turn(struct attempt *attempt)
{
    struct yoke_scope scope;
    int rc;

    if (attempt->i == 0)
        return 0;
    rc = yoke_scope_open(&scope, &(struct yoke_scope_opts){
                                     .name = "connection attempt delay",
                                     .timeout_ns = attempt->race->of->delay_ns,
                                 });
    if (rc == 0)
        rc = yoke_event_wait(&attempt[-1].failed);
    return yoke_scope_close(&scope, rc);
}

static int attempt_run(void *arg)
{
    struct attempt *attempt = arg;
    struct race *race = attempt->race;
    void *prize = NULL;
    int rc = await_turn(attempt);

    if (rc == 0)
        rc = start_next(attempt);
    if (rc < 0)
        return rc;
    rc = race->of->attempt(attempt->i, race->of->arg, &prize);
    if (rc == YOKE_CANCELLED)
        return rc;
    if (rc < 0) {
        attempt->error = yoke_catch();
        yoke_event_set(&attempt->failed);
        return 0;
    }
    if (race->prize != NULL) { /* another one came first, at the same turn of the loop */
        race->of->drop(prize);
        return 0;
    }
    race->prize = prize;
    yoke_scope_cancel(yoke_nursery_scope(&race->nursery), "another attempt has connected");
    return 0;
}

/* Raises what all attempts met. */
static int all_failed(struct race *race)
{
    struct yoke_error *errors[YK_RACE_MAX];
    size_t n = 0;

    for (size_t i = 0; i < race->of->n; i++)
        if (race->attempts[i].error != NULL)
            errors[n++] = race->attempts[i].error;
    return yoke_raise_group(errors, n, "%s: no address could be connected to", race->of->what);
}

static void drop_errors(struct race *race)
{
    for (size_t i = 0; i < race->of->n; i++)
        yoke_error_unref(race->attempts[i].error);
}

int yk_race(const struct yk_race *of, void **ret_prize)
{
    struct race race = {.of = of};
    int rc;

    race.attempts = yk_calloc(of->n, sizeof *race.attempts);
    if (race.attempts == NULL)
        return yoke_raise("yoke.Net", ENOMEM, "%s: no memory to connect", of->what);
    for (size_t i = 0; i < of->n; i++) {
        race.attempts[i].race = &race;
        race.attempts[i].i = i;
        yoke_event_init(&race.attempts[i].failed);
    }
    rc = yoke_nursery_open(&race.nursery, &(struct yoke_nursery_opts){.name = "connect"});
    if (rc == 0)
        rc = yoke_spawn_with(&race.nursery, attempt_run, &race.attempts[0],
                             &(struct yoke_task_opts){.name = "connect 1"});
    rc = yoke_nursery_close(&race.nursery, rc);
    if (rc == 0 && race.prize == NULL) {
        rc = all_failed(&race);
    } else {
        drop_errors(&race);
        if (rc == 0)
            *ret_prize = race.prize;
        else if (race.prize != NULL)
            of->drop(race.prize);
    }
    free(race.attempts);
    return rc;
}

void yk_race_order(struct yoke_address *addresses, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        int before = yoke_address_family(&addresses[i - 1]);
        size_t k = i;
        struct yoke_address other;

        while (k < n && yoke_address_family(&addresses[k]) == before)
            k++;
        if (k == n)
            return; /* the rest is of one family */
        other = addresses[k];
        memmove(&addresses[i + 1], &addresses[i], (k - i) * sizeof *addresses);
        addresses[i] = other;
    }
}

struct connect {
    const struct yoke_address *addresses;
    const struct yoke_connect_opts *opts;
};

static int connect_attempt(size_t i, void *arg, void **ret_prize)
{
    struct connect *all = arg;
    struct yoke_conn *conn;
    int rc = yoke_connect_address(&all->addresses[i], all->opts, &conn);

    if (rc == 0)
        *ret_prize = conn;
    return rc;
}

static void drop_conn(void *prize)
{
    yoke_conn_unref(prize);
}

int yoke_connect(const char *place, const struct yoke_connect_opts *opts,
                 struct yoke_conn **ret_conn)
{
    struct yoke_address *addresses;
    struct connect all = {.opts = opts == NULL ? &defaults : opts};
    struct yk_race race = {.what = place,
                           .attempt = connect_attempt,
                           .drop = drop_conn,
                           .arg = &all};
    void *prize = NULL;
    int n = yoke_resolve(place,
                         &(struct yoke_resolve_opts){.family = all.opts->family,
                                                     .datagram = all.opts->datagram},
                         &addresses);
    int rc;

    if (n < 0)
        return n;
    yk_race_order(addresses, (size_t)n);
    all.addresses = addresses;
    race.n = n > YK_RACE_MAX ? YK_RACE_MAX : (size_t)n;
    race.delay_ns = all.opts->delay_ns == 0 ? YK_CONNECT_DELAY_NS : all.opts->delay_ns;
    if (n == 1) {
        rc = yoke_connect_address(&addresses[0], opts, ret_conn);
    } else {
        rc = yk_race(&race, &prize);
        if (rc == 0)
            *ret_conn = prize;
    }
    free(addresses);
    return rc;
}
