/* SPDX-License-Identifier: MIT */
/*
 * Serving: a task per connection, in a nursery of the caller's. A handler's failure is taken out of
 * its task, so that it ends neither its siblings nor the server, and is told to whoever was named
 * for it; a cancellation is the server's own and goes on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yoke/error.h>
#include <yoke/event.h>
#include <yoke/net.h>
#include <yoke/nursery.h>

#include "base/limits.h"
#include "base/memory.h"
#include "error/error.h"
#include "task/task.h"

struct server {
    struct yoke_listener *listener;
    yoke_serve_fn handler;
    const char *name;
    void *arg;
    const struct yoke_serve_opts *opts;
    struct yoke_nursery nursery;
    struct yk_list waiting; /* the accepting task, at the limit */
    unsigned running;
};

struct session {
    struct server *server;
    struct yoke_conn *conn;
};

static void tell(struct server *server, struct yoke_error *error)
{
    if (server->opts->failed != NULL)
        server->opts->failed(error, server->arg);
    else
        yk_error_report(yoke_error_ref(error), stderr);
    yoke_error_unref(error);
}

static int session_run(void *arg)
{
    struct session *session = arg;
    struct server *server = session->server;
    int rc = server->handler(session->conn, server->arg);

    yoke_conn_close(session->conn);
    yoke_conn_unref(session->conn);
    free(session);
    server->running--;
    yk_wake_first(&server->waiting, 0);
    if (rc >= 0 && yoke_in_flight() != NULL)
        rc = yoke_error_code(yoke_in_flight()); /* it did not handle it: failed, as any task */
    if (rc >= 0 || rc == YOKE_CANCELLED || server->opts->fail_together)
        return rc;
    if (yoke_in_flight() == NULL)
        (void)yoke_raise("yoke.TaskFailed", rc, "%s returned %s", server->name, yoke_strcode(rc));
    tell(server, yoke_catch());
    return 0;
}

static int start_session(struct server *server, struct yoke_conn *conn)
{
    struct session *session = yk_calloc(1, sizeof *session);
    int rc;

    if (session == NULL) {
        yoke_conn_unref(conn);
        return yoke_raise("yoke.Net", ENOMEM, "no memory for a connection");
    }
    session->server = server;
    session->conn = conn;
    rc = yoke_spawn_with(&server->nursery, session_run, session,
                         &(struct yoke_task_opts){.name = server->name});
    if (rc < 0) {
        yoke_conn_unref(conn);
        free(session);
        return rc;
    }
    server->running++;
    return 0;
}

/* Takes one connection and starts its task. */
static int serve_one(struct server *server)
{
    struct yoke_conn *conn;
    int rc = 0;

    while (rc == 0 && server->opts->limit != 0 && server->running >= server->opts->limit)
        rc = yk_wait_in(&server->waiting, "fewer connections than the limit", NULL);
    if (rc == 0)
        rc = yoke_accept(server->listener, &conn);
    return rc < 0 ? rc : start_session(server, conn);
}

static bool out_of_something(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOBUFS || rc == -ENOMEM;
}

static int accept_all(struct server *server)
{
    bool short_of = false;
    int rc = 0;

    while (rc == 0) {
        rc = serve_one(server);
        if (rc == 0) {
            short_of = false;
        } else if (out_of_something(rc)) {
            struct yoke_error *error = yoke_catch();

            if (short_of)
                yoke_error_unref(error); /* told already, and nothing has got better */
            else
                tell(server, error);
            short_of = true;
            rc = yoke_sleep(YK_ACCEPT_RETRY_NS);
        }
    }
    if (rc == YOKE_ECLOSED) {
        yoke_clear(); /* the wish to stop, not a failure */
        rc = 0;
    }
    return rc;
}

int yoke_serve_at(const struct yoke_site *site, struct yoke_listener *listener,
                  yoke_serve_fn handler, const char *handler_name, void *arg,
                  const struct yoke_serve_opts *opts)
{
    static const struct yoke_serve_opts defaults;
    struct server server = {.listener = yoke_listener_ref(listener),
                            .handler = handler,
                            .name = handler_name,
                            .arg = arg,
                            .opts = opts == NULL ? &defaults : opts};
    int rc;

    yk_task_self("yoke_serve");
    if (server.opts->name != NULL)
        server.name = server.opts->name;
    yk_list_init(&server.waiting);
    rc = yoke_nursery_open_at(site, &server.nursery, &(struct yoke_nursery_opts){.name = "serve"});
    if (rc == 0)
        rc = accept_all(&server);
    rc = yoke_nursery_close_at(site, &server.nursery, rc);
    yoke_listener_unref(listener);
    return rc;
}
