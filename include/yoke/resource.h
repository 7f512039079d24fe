/* SPDX-License-Identifier: MIT */
/*
 * Resources that the tasks of an actor share: opened once, by the first who asks, and closed when
 * the last has released it. What opens and closes one is a single function, which runs as a task of
 * the actor and lends the resource in between; so it may have scopes, nurseries and actors of its
 * own.
 *
 *   static int database(void *arg)
 *   {
 *       struct db db;
 *       int rc = db_open(&db, arg);
 *       if (rc == 0) {
 *           rc = yoke_resource_lend(&db);      // until the last user is gone
 *           db_close(&db);
 *       }
 *       return rc;
 *   }
 *
 *   struct yoke_resource use;
 *   struct db *db;
 *   int rc = yoke_resource_acquire(&use, database, "main", path, (void **)&db);
 *   if (rc == 0) {
 *       rc = query(db);
 *       rc = yoke_resource_release(&use, rc);
 *   }
 */
#ifndef YOKE_RESOURCE_H
#define YOKE_RESOURCE_H

#include <yoke/task.h>

YOKE_BEGIN

struct yk_resource;

struct yoke_resource {          /* one use of one; in place, every field is private */
    struct yk_resource *shared; /* NULL: not acquired */
};

/*
 * The resource that `fn` lends under this key. If there is none in this actor, fn(arg) is started
 * as a task of its own; `arg` is its until it lends. Waits until it is open, or for one that is
 * just being closed, to open it anew. If it fails to open, all who wait get that error;
 * "yoke.NotLent" if fn returned 0 without lending. YOKE_CANCELLED: others who wait are not
 * disturbed; if there are none the opening is cancelled. On failure nothing is acquired.
 */
#define yoke_resource_acquire(resource, fn, key, arg, ret_object)                                  \
    yoke_resource_acquire_at(YOKE_HERE, (resource), (fn), #fn, (key), (arg), (ret_object))
YOKE_API YOKE_MUST_CHECK int yoke_resource_acquire_at(const struct yoke_site *site,
                                                      struct yoke_resource *resource,
                                                      yoke_task_fn fn, const char *fn_name,
                                                      const char *key, void *arg,
                                                      void **ret_object);

/*
 * Gives it back; `rc` is the result of what was done with it, which is returned. The last user
 * waits until it is closed, whatever is cancelled meanwhile, and gets the error of that if there is
 * one: over a failure of its own it is only suppressed.
 */
YOKE_API YOKE_MUST_CHECK int yoke_resource_release(struct yoke_resource *resource, int rc);

/*
 * In the function of a resource, once: it is open. Returns 0 when the last user has released it,
 * not before, and also if the actor is being cancelled: then its users are, too. -EINVAL elsewhere.
 */
YOKE_API YOKE_MUST_CHECK int yoke_resource_lend(void *object);

YOKE_END
#endif
