/* SPDX-License-Identifier: MIT */
/*
 * Several contexts at once: all are opened, concurrently, or none is; and closed together.
 *
 *   struct yoke_gather_item items[] = {
 *       {.portal = left, .endpoint = "sum:part", .args = a},
 *       {.portal = right, .endpoint = "sum:part", .args = b},
 *   };
 *   struct yoke_context parts[2];
 *   int rc = yoke_gather_open(parts, items, 2);
 *   if (rc < 0)
 *       return rc;
 *   rc = talk(&parts[0], &parts[1]);
 *   return yoke_gather_close(parts, 2, rc, NULL);
 */
#ifndef YOKE_GATHER_H
#define YOKE_GATHER_H

#include <yoke/context.h>

YOKE_BEGIN

struct yoke_gather_item { /* as the arguments of yoke_context_open */
    struct yoke_portal *portal;
    const char *endpoint;
    struct yoke_value args;
    const struct yoke_context_opts *opts;
};

/*
 * Opens `n` contexts (n > 0), which nest, the first one outermost, and waits until all have
 * started. If one fails to open, the others are cancelled and closed, and nothing is left open: its
 * error, or a group if several failed. YOKE_CANCELLED; -EINVAL.
 */
#define yoke_gather_open(contexts, items, n)                                                       \
    yoke_gather_open_at(YOKE_HERE, (contexts), (items), (n))
YOKE_API YOKE_MUST_CHECK int yoke_gather_open_at(const struct yoke_site *site,
                                                 struct yoke_context *contexts,
                                                 const struct yoke_gather_item *items, size_t n);

/*
 * Closes them, as yoke_context_close does each; `rc` is the result of the body. With rc < 0, and as
 * soon as one has failed, all that still run are cancelled at once. 0, the failure, or a group.
 * `ret_outcomes` (may be NULL): n places for what each ended with, to be freed.
 */
#define yoke_gather_close(contexts, n, rc, ret_outcomes)                                           \
    yoke_gather_close_at(YOKE_HERE, (contexts), (n), (rc), (ret_outcomes))
YOKE_API YOKE_MUST_CHECK int yoke_gather_close_at(const struct yoke_site *site,
                                                  struct yoke_context *contexts, size_t n, int rc,
                                                  struct yoke_outcome **ret_outcomes);

YOKE_END
#endif
