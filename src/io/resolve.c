/* SPDX-License-Identifier: MIT */
/*
 * Names to addresses: getaddrinfo in a worker thread. A lookup may hang for as long as the system's
 * resolver likes; a cancelled caller leaves it behind, and then it still counts against the limit
 * of the runtime until it has ended, so that no number of impatient callers can occupy all worker
 * threads.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <yoke/error.h>
#include <yoke/io.h>
#include <yoke/net.h>

#include "base/faults.h"
#include "base/limits.h"
#include "base/memory.h"
#include "io/address.h"
#include "task/task.h"

struct lookup {
    struct addrinfo hints;
    struct addrinfo *found;
    int code; /* EAI_* */
    int error;
    char host[NI_MAXHOST];
    char service[NI_MAXSERV];
};

static int lookup_run(void *arg)
{
    struct lookup *job = arg;

    job->code = yk_fault(EMFILE) ? EAI_SYSTEM
                                 : getaddrinfo(job->host, job->service, &job->hints, &job->found);
    job->error = errno;
    return 0;
}

static void lookup_free(void *arg)
{
    struct lookup *job = arg;

    if (job->found != NULL)
        freeaddrinfo(job->found);
    free(job);
}

/* What bounds the lookups of a runtime; NULL: no memory. */
static struct yoke_limiter *limiter_of(struct yoke_runtime *runtime)
{
    struct yoke_limiter *limiter = runtime->slots[YK_SLOT_LOOKUPS].data;

    if (limiter != NULL)
        return limiter;
    limiter = yk_calloc(1, sizeof *limiter);
    if (limiter == NULL)
        return NULL;
    yoke_limiter_init(limiter, YK_LOOKUPS_MAX);
    runtime->slots[YK_SLOT_LOOKUPS].data = limiter;
    runtime->slots[YK_SLOT_LOOKUPS].fini = free;
    return limiter;
}

static int failure_code(const struct lookup *job)
{
    switch (job->code) {
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return -ENOENT;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_SYSTEM:
        return job->error > 0 ? -job->error : -EIO;
    case EAI_FAMILY:
        return -EAFNOSUPPORT;
    case EAI_SERVICE:
        return -EINVAL;
    default:
        return -EIO;
    }
}

/* The addresses found, without those that yoke can't use. The count, or -ENOMEM. */
static int collect(const struct addrinfo *found, struct yoke_address **ret)
{
    struct yoke_address *addresses;
    int n = 0;

    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next)
        n++;
    addresses = yk_calloc(n == 0 ? 1 : (size_t)n, sizeof *addresses);
    if (addresses == NULL)
        return -ENOMEM;
    n = 0;
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next)
        if (info->ai_addrlen <= sizeof addresses->as.storage) {
            memcpy(&addresses[n].as.storage, info->ai_addr, info->ai_addrlen);
            addresses[n++].size = info->ai_addrlen;
        }
    *ret = addresses;
    return n;
}

static struct lookup *lookup_new(const struct yk_host_port *parts,
                                 const struct yoke_resolve_opts *opts)
{
    struct lookup *job = yk_calloc(1, sizeof *job);

    if (job == NULL)
        return NULL;
    job->hints.ai_family = opts->family;
    job->hints.ai_socktype = opts->datagram ? SOCK_DGRAM : SOCK_STREAM;
    job->hints.ai_flags = opts->listen ? AI_PASSIVE : 0;
    memcpy(job->host, parts->host, strlen(parts->host));
    strncpy(job->service, parts->service, sizeof job->service - 1);
    return job;
}

static int look_up(const char *place, const struct yk_host_port *parts,
                   const struct yoke_resolve_opts *opts, struct yoke_address **ret)
{
    struct yoke_thread_opts thread_opts = {
        .abandon = true,
        .abandoned = lookup_free,
        .limiter = limiter_of(yk_runtime_current),
    };
    struct lookup *job = thread_opts.limiter == NULL ? NULL : lookup_new(parts, opts);
    int rc;

    if (job == NULL)
        return yoke_raise("yoke.Resolve", ENOMEM, "%s: no memory to look it up", place);
    rc = yoke_thread_run(lookup_run, job, &thread_opts);
    if (rc == YOKE_CANCELLED)
        return rc; /* the job frees itself */
    if (rc == 0 && job->code != 0)
        rc = yoke_raise("yoke.Resolve", failure_code(job), "%s: %s", place,
                        job->code == EAI_SYSTEM ? strerror(job->error) : gai_strerror(job->code));
    if (rc == 0) {
        rc = collect(job->found, ret);
        if (rc == 0) {
            free(*ret);
            rc = yoke_raise("yoke.Resolve", ENOENT, "%s: it has no address", place);
        } else if (rc < 0) {
            rc = yoke_raise("yoke.Resolve", rc, "%s: no memory for its addresses", place);
        }
    }
    lookup_free(job);
    return rc;
}

/* "*": both families by one socket where there is IPv6; the second for kernels without it. */
static int any_address(const struct yk_host_port *parts, const char *place, int family,
                       struct yoke_address **ret)
{
    static const char *const texts[] = {"[::]", "0.0.0.0"};
    struct yoke_address *addresses = yk_calloc(2, sizeof *addresses);
    int n = 0;

    if (addresses == NULL)
        return yoke_raise("yoke.Resolve", ENOMEM, "%s: no memory", place);
    for (int i = 0; i < 2; i++) {
        char text[64];
        int rc;

        if (family != AF_UNSPEC && family != (i == 0 ? AF_INET6 : AF_INET))
            continue;
        snprintf(text, sizeof text, "%s:%.40s", texts[i], parts->service);
        rc = yoke_address_parse(text, &addresses[n]);
        if (rc < 0) {
            free(addresses);
            return rc;
        }
        n++;
    }
    *ret = addresses;
    return n;
}

/* One that needed no lookup. */
static int single(const char *place, const struct yoke_address *address, int family,
                  struct yoke_address **ret)
{
    int its = yoke_address_family(address);

    if (family != AF_UNSPEC && family != its && its != AF_UNIX)
        return yoke_raise("yoke.Resolve", EAFNOSUPPORT, "%s is not of the family asked for", place);
    *ret = yk_calloc(1, sizeof **ret);
    if (*ret == NULL)
        return yoke_raise("yoke.Resolve", ENOMEM, "%s: no memory", place);
    **ret = *address;
    return 1;
}

int yoke_resolve(const char *place, const struct yoke_resolve_opts *opts,
                 struct yoke_address **ret_addresses)
{
    static const struct yoke_resolve_opts defaults;
    struct yk_task *task = yk_task_self("yoke_resolve");
    struct yoke_address *found = NULL;
    struct yoke_address numeric;
    struct yk_host_port parts;
    int rc = yk_check_cancelled(task);

    if (rc < 0)
        return rc;
    if (opts == NULL)
        opts = &defaults;
    rc = yk_address_numeric(place, &parts, &numeric);
    if (rc < 0)
        return rc;
    if (rc > 0)
        rc = single(place, &numeric, opts->family, &found);
    else if (opts->listen && strcmp(parts.host, "*") == 0)
        rc = any_address(&parts, place, opts->family, &found);
    else
        rc = look_up(place, &parts, opts, &found);
    if (rc > 0)
        *ret_addresses = found;
    return rc;
}
