/* SPDX-License-Identifier: MIT */
/* Tasks: what every task can do. Calling any of these outside a runtime aborts, as misuse. */
#ifndef YOKE_TASK_H
#define YOKE_TASK_H

#include <yoke/common.h>

YOKE_BEGIN

/*
 * A task's function. >= 0: done; but with an error in flight it did not handle that, and fails
 * with it. < 0: failed with the error in flight; with none, an error is made from the code. It
 * returns with all its scopes, nurseries and holds closed; else the program aborts, naming them.
 */
typedef int (*yoke_task_fn)(void *arg);

/*
 * A checkpoint: lets others run, and notices cancellation. 0 or YOKE_CANCELLED. For long
 * computations; blocking calls are checkpoints already.
 */
YOKE_API YOKE_MUST_CHECK int yoke_checkpoint(void);

/* Sleeps. 0 or YOKE_CANCELLED; -ENOMEM. A duration <= 0 is a checkpoint. */
YOKE_API YOKE_MUST_CHECK int yoke_sleep(int64_t duration_ns);
YOKE_API YOKE_MUST_CHECK int yoke_sleep_until(int64_t time_ns);
YOKE_API YOKE_MUST_CHECK int yoke_sleep_forever(void); /* only ever YOKE_CANCELLED */

/* The runtime's monotonic clock, read once per turn of the loop and after each wait. */
YOKE_API int64_t yoke_now(void);

/* The calling task. Names are not unique, ids are; id 0 and "" outside a runtime. */
YOKE_API uint64_t yoke_task_id(void);
YOKE_API const char *yoke_task_name(void);

YOKE_END
#endif
