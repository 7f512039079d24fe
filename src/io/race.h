/* SPDX-License-Identifier: MIT */
/* Happy eyeballs without sockets, so that it can be tested in simulated worlds. */
#ifndef YK_IO_RACE_H
#define YK_IO_RACE_H

#include <yoke/net.h>

enum { YK_RACE_MAX = 32 }; /* addresses tried: a name with more is served by the first ones */

struct yk_race {
    const char *what; /* for messages */
    size_t n;         /* > 0, at most YK_RACE_MAX */
    int64_t delay_ns;
    /* 0 and a prize that is not NULL; YOKE_CANCELLED; a failure, raised. */
    int (*attempt)(size_t i, void *arg, void **ret_prize);
    void (*drop)(void *prize);
    void *arg;
};

/* 0 and the prize of the winner; YOKE_CANCELLED; the failures of all. */
int yk_race(const struct yk_race *of, void **ret_prize);

/* Makes families take turns, beginning with the first one's; within a family the order stays. */
void yk_race_order(struct yoke_address *addresses, size_t n);

#endif
