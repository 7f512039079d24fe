/* SPDX-License-Identifier: MIT */
/*
 * Several contexts of one task. Their scopes nest, so the end of any peer interrupts whatever the
 * task waits for, and closing them in reverse order puts their failures together by the rules of
 * yoke_context_close. No tasks are needed: starting a peer is a message, and only then is waited.
 */
#include <yoke/gather.h>

#include <errno.h>

#include "actor/actor.h"

int yoke_gather_open_at(const struct yoke_site *site, struct yoke_context *contexts,
                        const struct yoke_gather_item *items, size_t n)
{
    size_t begun = 0;
    int rc = 0;

    if (n == 0)
        return yoke_raise_at(site, NULL, "yoke.Misuse", EINVAL, "a gather of no contexts");
    while (rc == 0 && begun < n) {
        const struct yoke_gather_item *item = &items[begun];

        rc = yk_context_begin(site, &contexts[begun], item->portal, item->endpoint, item->args,
                              item->opts);
        begun += rc == 0;
    }
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = yk_context_wait(&contexts[i]);
        if (rc == 0 && !contexts[i].dialog->started && contexts[i].dialog->error != NULL)
            rc = yoke_checkpoint(); /* its error cancels what is inside: close tells it */
    }
    if (rc == 0)
        return 0;
    rc = yoke_gather_close_at(site, contexts, begun, rc, NULL);
    return rc == 0 ? yoke_raise_at(site, NULL, "yoke.Context", YOKE_ECLOSED,
                                   "a context was cancelled while it was opened")
                   : rc;
}

int yoke_gather_close_at(const struct yoke_site *site, struct yoke_context *contexts, size_t n,
                         int rc, struct yoke_outcome **ret_outcomes)
{
    for (size_t i = n; i > 0; i--) {
        const struct yoke_error *failure = rc < 0 ? yoke_in_flight() : NULL;

        for (size_t other = 0; failure != NULL && other < i; other++)
            yk_context_leave(&contexts[other], failure, site);
        rc = yoke_context_close_at(site, &contexts[i - 1], rc,
                                   ret_outcomes != NULL ? &ret_outcomes[i - 1] : NULL);
    }
    return rc;
}
