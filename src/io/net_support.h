/* SPDX-License-Identifier: MIT */
/*
 * For tests of sockets on the loopback. getaddrinfo and accept4 are those of the test that includes
 * this, so that names resolve to what it says, and accepting fails as it says.
 */
#ifndef YK_IO_NET_SUPPORT_H
#define YK_IO_NET_SUPPORT_H

#include "io/test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <yoke/event.h>
#include <yoke/net.h>

/* --- the system as the tests want it ---------------------------------------------------------- */

struct names {
    const char *answers[8]; /* numeric hosts that any name has; none: it does not exist */
    int code;               /* EAI_*, if not 0 */
    sem_t *hang;            /* lookups wait for it */
    unsigned asked;
    unsigned now, most; /* lookups at once */
};
static struct names names;
static pthread_mutex_t names_mutex = PTHREAD_MUTEX_INITIALIZER;

static inline void names_clear(void)
{
    pthread_mutex_lock(&names_mutex);
    memset(&names, 0, sizeof names);
    pthread_mutex_unlock(&names_mutex);
}

static inline struct addrinfo *made_info(const char *host, const char *service)
{
    char text[128];
    struct {
        struct addrinfo info;
        struct yoke_address address;
    } *made = calloc(1, sizeof *made);

    snprintf(text, sizeof text, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, service);
    yk_check(made != NULL && yoke_address_parse(text, &made->address) == 0);
    made->info.ai_addr = &made->address.as.sockaddr;
    made->info.ai_addrlen = made->address.size;
    return &made->info;
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **ret)
{
    struct addrinfo **last = ret;
    struct names asked; /* as they were: a lookup that is left behind outlasts its test */

    (void)host;
    (void)hints;
    pthread_mutex_lock(&names_mutex);
    names.asked++;
    if (++names.now > names.most)
        names.most = names.now;
    asked = names;
    pthread_mutex_unlock(&names_mutex);
    if (asked.hang != NULL)
        sem_wait(asked.hang);
    pthread_mutex_lock(&names_mutex);
    names.now -= names.now > 0;
    pthread_mutex_unlock(&names_mutex);
    *ret = NULL;
    for (size_t i = 0; asked.code == 0 && asked.answers[i] != NULL; i++) {
        *last = made_info(asked.answers[i], service);
        last = &(*last)->ai_next;
    }
    return asked.code != 0 ? asked.code : *ret == NULL ? EAI_NONAME : 0;
}

void freeaddrinfo(struct addrinfo *info)
{
    while (info != NULL) {
        struct addrinfo *next = info->ai_next;

        free(info);
        info = next;
    }
}

static int accept_errors[4]; /* given one after another; 0: none left */

int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    int error = accept_errors[0];

    if (error == 0)
        return (int)syscall(SYS_accept4, fd, address, size, flags);
    memmove(accept_errors, accept_errors + 1, sizeof accept_errors - sizeof accept_errors[0]);
    errno = error;
    return -1;
}

/* --- what tests share --------------------------------------------------------------------------
 */

static inline const char *text_of(const struct yoke_address *address)
{
    static char text[YOKE_ADDRESS_TEXT];

    return yoke_address_format(address, text, sizeof text);
}

static inline struct yoke_listener *listen_at(const char *place)
{
    struct yoke_listener *listener = NULL;

    yk_check_int(yoke_listen(place, NULL, &listener), 0);
    return listener;
}

static inline struct yoke_conn *connect_to(const struct yoke_listener *listener)
{
    struct yoke_conn *conn = NULL;

    yk_check_int(yoke_connect_address(yoke_listener_address(listener), NULL, &conn), 0);
    return conn;
}

/* Two connected ends and nothing else. */
static inline void pair_at(const char *place, struct yoke_conn **ret_client,
                           struct yoke_conn **ret_server)
{
    struct yoke_listener *listener = listen_at(place);

    *ret_client = connect_to(listener);
    yk_check_int(yoke_accept(listener, ret_server), 0);
    yoke_listener_unref(listener);
}

static inline void reset(struct yoke_conn *conn)
{
    struct linger now = {.l_onoff = 1};

    yk_check_int(setsockopt(yoke_conn_fd(conn), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    yoke_conn_close(conn);
}

/* A port at which nobody listens. */
static inline void dead_place(char *text, size_t size)
{
    struct yoke_listener *listener = listen_at("127.0.0.1:0");

    yoke_address_format(yoke_listener_address(listener), text, size);
    yoke_listener_unref(listener);
}

/* Cancels after all others are blocked. */
static inline int cancel_when_blocked(void *arg)
{
    int rc = yoke_wait_all_tasks_blocked();

    if (rc == 0)
        yoke_scope_cancel((struct yoke_scope *)arg, "all are blocked");
    return rc;
}

/* Runs body(arg) in a nursery that is cancelled when it waits. Its result. */
static inline int cancelled_while(int (*body)(void *arg), void *arg)
{
    struct yoke_nursery nursery;
    int result = 0;
    int rc = yoke_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_spawn(&nursery, cancel_when_blocked, yoke_nursery_scope(&nursery));
    if (rc == 0)
        rc = result = body(arg);
    yk_check_int(yoke_nursery_close(&nursery, rc), 0);
    return result;
}

#endif
