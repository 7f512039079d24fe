/* SPDX-License-Identifier: MIT */
/* For tests of programs that use yoke. */
#ifndef YOKE_TESTING_H
#define YOKE_TESTING_H

#include <yoke/common.h>

YOKE_BEGIN

/*
 * Waits until every other task of the runtime is blocked and nothing is ready: then what was
 * started has got as far as it can. A checkpoint. 0 or YOKE_CANCELLED.
 */
YOKE_API YOKE_MUST_CHECK int yoke_wait_all_tasks_blocked(void);

YOKE_END
#endif
