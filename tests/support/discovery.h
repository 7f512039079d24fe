/* SPDX-License-Identifier: MIT */
/* For tests of discovery: a registrar, who is registered there, and waiting until that is so. */
#ifndef YK_TESTS_SUPPORT_DISCOVERY_H
#define YK_TESTS_SUPPORT_DISCOVERY_H

#include <yoke/registry.h>

#include "../tests/support/actors.h"

/* A test with an actor nursery, in an actor that is the registrar. */
#define YK_REGISTRY_TEST(law)                                                                      \
    static void law##_in(struct yoke_actor_nursery *nursery);                                      \
    YK_ACTORS_TEST(law)                                                                            \
    {                                                                                              \
        return yk_with_registrar(law##_in);                                                        \
    }                                                                                              \
    static void law##_in(struct yoke_actor_nursery *nursery)

int yk_with_registrar(void (*body)(struct yoke_actor_nursery *nursery));

/* Starts an actor that listens, over what the test runs over, and exposes everything. */
struct yoke_portal *yk_start_listening(struct yoke_actor_nursery *nursery, const char *name);

/* Who matches, as "name name ", in the order of registration. Static text, until the next call. */
const char *yk_registered(const char *pattern);

/* Waits until exactly those are registered: what ends elsewhere is told here in its time. */
void yk_await_registered(const char *pattern, const char *expected);

/* An address as on the wire, in two values of the caller's. */
struct yoke_value yk_pair_of(const char *address, struct yoke_value *pair);

#endif
