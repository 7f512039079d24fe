/* SPDX-License-Identifier: MIT */
/*
 * Task-locals: values that go with a task, and with the tasks spawned from it, without being passed
 * as arguments: a request id, a tenant, a trace. Set for a block, by copy; a spawned task has what
 * its spawner has at that moment, and what it sets itself is seen by nobody else. As contextvars
 * in trio. Where no task-local is set, they cost nothing.
 *
 *   static const struct yoke_local_key request_id = YOKE_LOCAL_KEY("request id", uint64_t);
 *
 *   struct yoke_local local;
 *   rc = yoke_local_set(&local, &request_id, &request->id);
 *   if (rc == 0)
 *       rc = handle(request);                  // and all tasks spawned in there
 *   yoke_local_restore(&local);
 *
 *   const uint64_t *id = yoke_local_get(&request_id);   // NULL: not set
 */
#ifndef YOKE_LOCAL_H
#define YOKE_LOCAL_H

#include <yoke/common.h>

YOKE_BEGIN

struct yk_binding;

/* A key is a static object; which one it is, is told by its address. */
struct yoke_local_key {
    const char *name;
    size_t size; /* of its values, in bytes */
};
#define YOKE_LOCAL_KEY(name, type)                                                                 \
    {                                                                                              \
        (name), sizeof(type)                                                                       \
    }

struct yoke_local { /* lives in the caller's frame; every field is private */
    struct yk_binding *binding;
    const struct yoke_site *site;
    struct yk_task *task;
};

/*
 * Gives the key a value in the calling task, a copy of *value, until restored. Strictly nested
 * with other task-locals: restoring out of order, in another task, or ending a task before
 * restoring, aborts with both sites named. Never blocks. -ENOMEM with an error raised: not set;
 * restoring is fine all the same.
 */
#define yoke_local_set(local, key, value) yoke_local_set_at(YOKE_HERE, (local), (key), (value))
YOKE_API YOKE_MUST_CHECK int yoke_local_set_at(const struct yoke_site *site,
                                               struct yoke_local *local,
                                               const struct yoke_local_key *key, const void *value);

/* The key has the value that it had before. Never blocks. */
#define yoke_local_restore(local) yoke_local_restore_at(YOKE_HERE, (local))
YOKE_API void yoke_local_restore_at(const struct yoke_site *site, struct yoke_local *local);

/*
 * The value in the calling task, NULL if it is not set, or there is no task. Borrowed until the
 * block that set it is left; in a task that inherited it, until that task ends.
 */
YOKE_API const void *yoke_local_get(const struct yoke_local_key *key);

YOKE_END
#endif
