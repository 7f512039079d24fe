/* SPDX-License-Identifier: MIT */
/* The hosts as a program sees them, with errors raised; and what it may ask of the machine. */
#include <errno.h>
#include <string.h>
#include <yoke/error.h>
#include <yoke/runtime.h>

#include "host/host.h"

static struct yoke_host *or_raise(int rc, struct yoke_host *host)
{
    if (rc == 0)
        return host;
    yoke_raise("yoke.Host", rc, "a host can't be made: %s", strerror(-rc));
    return NULL;
}

struct yoke_host *yoke_host_linux_new(void)
{
    struct yoke_host *host = NULL;
    int rc = yk_host_linux_new(&host);

    return or_raise(rc, host);
}

struct yoke_host *yoke_host_sim_new(uint64_t seed)
{
    struct yoke_host *host = NULL;
    int rc = yk_host_sim_new(seed, &host);

    return or_raise(rc, host);
}

void yoke_host_free(struct yoke_host *host)
{
    if (host != NULL)
        host->ops->free(host);
}

unsigned yoke_cpu_count(void)
{
    return yk_cpu_count();
}
