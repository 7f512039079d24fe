/* SPDX-License-Identifier: MIT */
/* Counting errors, for yoke_error_stats: both ends of each object's life. */
#ifndef YK_ERROR_STATS_H
#define YK_ERROR_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum yk_count { YK_COUNT_RAISED, YK_COUNT_SETTLED, YK_COUNT_LOST, YK_COUNTS };

/* One more; on any thread, never fails. */
void yk_count(enum yk_count what);

#endif
