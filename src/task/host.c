/* SPDX-License-Identifier: MIT */
/* The hosts as a program sees them, with errors raised; and what it may ask of the machine. */
#include <errno.h>
#include <string.h>
#include <yoke/error.h>
#include <yoke/runtime.h>
#include <yoke/testing.h>

#include "base/check.h"
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

int yoke_sim_set_autojump(struct yoke_host *host, bool autojump)
{
    if (yk_host_sim_set_autojump(host, autojump) == 0)
        return 0;
    return yoke_raise("yoke.Host", EINVAL, "not a simulated host, but \"%s\"", host->ops->name);
}

int yoke_sim_advance(struct yoke_host *host, int64_t duration_ns)
{
    if (yk_host_sim_advance(host, duration_ns) == 0)
        return 0;
    return yoke_raise("yoke.Host", EINVAL, "the clock of host \"%s\" can't be moved by %lld ns",
                      host->ops->name, (long long)duration_ns);
}

struct yoke_host *yoke_host_faulty_new(struct yoke_host *inner)
{
    struct yoke_host *host = NULL;
    int rc = yk_host_faulty_new(inner, &host);

    return or_raise(rc, host);
}

unsigned yoke_host_faulty_fail(struct yoke_host *faulty, unsigned n, int error)
{
    int left = yk_host_faulty_fail(faulty, n, error);

    if (left < 0)
        yk_misuse(NULL, NULL, NULL, "host \"%s\" is no faulty one", faulty->ops->name);
    return (unsigned)left;
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
