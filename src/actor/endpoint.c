/* SPDX-License-Identifier: MIT */
/*
 * Endpoints: the functions a program knows by name. The list is filled by constructors before main
 * and only read afterwards; what of it a peer may start is decided per actor, by patterns.
 */
#include <fnmatch.h>
#include <string.h>

#include "actor/actor.h"

static struct yoke_endpoint *endpoints;

void yoke_endpoint_register(struct yoke_endpoint *endpoint)
{
    endpoint->parsed = yk_specs_of_endpoint(endpoint);
    endpoint->next = endpoints;
    endpoints = endpoint;
}

const struct yoke_endpoint *yk_endpoint_find(const char *ns, const char *func)
{
    size_t n = strlen(ns);

    for (const struct yoke_endpoint *endpoint = endpoints; endpoint != NULL;
         endpoint = endpoint->next)
        if (strncmp(endpoint->name, ns, n) == 0 && endpoint->name[n] == ':' &&
            strcmp(endpoint->name + n + 1, func) == 0)
            return endpoint;
    return NULL;
}

bool yk_endpoint_exposed(const char *patterns, const char *name)
{
    while (patterns != NULL && *patterns != '\0') {
        size_t n = strcspn(patterns, " ");
        char pattern[YK_ENDPOINT_MAX];

        if (n > 0 && n < sizeof pattern) {
            memcpy(pattern, patterns, n);
            pattern[n] = '\0';
            if (fnmatch(pattern, name, 0) == 0)
                return true;
        }
        patterns += n;
        patterns += strspn(patterns, " ");
    }
    return false;
}
