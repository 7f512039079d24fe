/* SPDX-License-Identifier: MIT */
/* What tests of discovery share. */
#include "../tests/support/discovery.h"

#include <stdlib.h>
#include <string.h>
#include <yoke/task.h>

int yk_with_registrar(void (*body)(struct yoke_actor_nursery *nursery))
{
    struct yoke_actor_nursery nursery;
    int rc = yoke_registrar_serve(yk_via_address(), NULL);
    int opened = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_expose("*");
    if (rc == 0 && opened == 0)
        body(&nursery);
    return yoke_actor_nursery_close(&nursery, rc < 0 ? rc : opened);
}

struct yoke_portal *yk_start_listening(struct yoke_actor_nursery *nursery, const char *name)
{
    struct yoke_actor_opts opts = {.expose = "*", .listen = yk_via_address()};
    struct yoke_portal *portal = NULL;

    yk_check_int(yoke_actor_start(nursery, name, &opts, &portal), 0);
    return portal;
}

const char *yk_registered(const char *pattern)
{
    static char text[1024];
    struct yoke_registration *items = NULL;
    int n = yoke_registry_query(pattern, &items);

    text[0] = '\0';
    yk_check(n >= 0);
    for (int i = 0; i < n; i++) {
        strcat(text, items[i].name);
        strcat(text, " ");
    }
    free(items);
    return text;
}

void yk_await_registered(const char *pattern, const char *expected)
{
    unsigned failed = yk_checks_failed();

    while (strcmp(yk_registered(pattern), expected) != 0 && yk_checks_failed() == failed)
        yk_check_int(yoke_checkpoint(), 0);
}

struct yoke_value yk_pair_of(const char *address, struct yoke_value *pair)
{
    const char *slash = strrchr(address, '/');

    if (slash != NULL) {
        pair[0] = yoke_str_n(address + 5, (size_t)(slash - address - 5));
        pair[1] = yoke_str(slash + 1);
    } else {
        pair[0] = yoke_str("127.0.0.1");
        pair[1] = yoke_int(atoi(strrchr(address, ':') + 1));
    }
    return yoke_array(pair, 2);
}
