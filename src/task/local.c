/* SPDX-License-Identifier: MIT */
/*
 * Task-locals. What a task has is a list of bindings, innermost first, immutable and shared: a task
 * that is spawned takes one reference to its spawner's list, and what either sets afterwards goes
 * in front of its own. So a spawn costs one look at a pointer that is NULL where none is used, and
 * a value lives as long as the last task that can see it; hence values are copied.
 *
 * Decided against: bindings in the caller's frame, which a task spawned into an outer nursery would
 * outlive; and a table of slots in each task, which every spawn would have to copy.
 */
#include <yoke/local.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "task/task.h"

struct yk_binding {
    size_t refs;
    struct yk_binding *outer;
    const struct yoke_local_key *key;
    const struct yk_task *task; /* that set it; while it is set there */
    const struct yoke_site *site;
    max_align_t value[];
};

/* Without recursion: a list may be long, a stack is short. */
static void unref(struct yk_binding *binding)
{
    while (binding != NULL && --binding->refs == 0) {
        struct yk_binding *outer = binding->outer;

        free(binding);
        binding = outer;
    }
}

struct yk_binding *yk_bindings_inherit(struct yk_task *task)
{
    task->bindings->refs++;
    return task->bindings;
}

void yk_bindings_end(struct yk_task *task)
{
    struct yk_binding *binding = task->bindings;

    if (binding->task == task)
        yk_misuse(task->site, "set at", binding->site,
                  "task %s ended with task-local \"%s\" still set", yk_task_name(task),
                  binding->key->name);
    task->bindings = NULL;
    unref(binding);
}

int yoke_local_set_at(const struct yoke_site *site, struct yoke_local *local,
                      const struct yoke_local_key *key, const void *value)
{
    struct yk_task *task = yk_task_self("yoke_local_set");
    struct yk_binding *binding = NULL;
    size_t bytes;

    local->binding = NULL;
    local->site = site;
    local->task = task;
    if (!__builtin_add_overflow(sizeof *binding, key->size, &bytes))
        binding = yk_malloc(bytes);
    if (binding == NULL)
        return yoke_raise_at(site, NULL, "yoke.Local", ENOMEM,
                             "no memory for the %zu bytes of task-local \"%s\"", key->size,
                             key->name);
    binding->refs = 1;
    binding->outer = task->bindings; /* its reference moves along */
    binding->key = key;
    binding->task = task;
    binding->site = site;
    memcpy(binding->value, value, key->size);
    task->bindings = binding;
    task->owes = true;
    local->binding = binding;
    return 0;
}

void yoke_local_restore_at(const struct yoke_site *site, struct yoke_local *local)
{
    struct yk_task *task = yk_task_self("yoke_local_restore");
    struct yk_binding *binding = local->binding;

    if (local->task != task)
        yk_misuse(site, "set at", local->site,
                  "task-local restored by task %s, but not set by it, or restored twice",
                  yk_task_name(task));
    local->task = NULL;
    if (binding == NULL)
        return;
    if (task->bindings != binding)
        yk_misuse(site, "still set, at", task->bindings->site,
                  "task-local \"%s\" restored before \"%s\", which was set inside it",
                  binding->key->name, task->bindings->key->name);
    local->binding = NULL;
    /* Those who inherited it keep it. They are tasks that end later: theirs is not `task`'s. */
    binding->task = NULL;
    task->bindings = binding->outer;
    if (binding->outer != NULL)
        binding->outer->refs++;
    unref(binding);
}

const void *yoke_local_get(const struct yoke_local_key *key)
{
    const struct yk_task *task = yk_task_self_or_null();
    const struct yk_binding *binding = task == NULL ? NULL : task->bindings;

    for (; binding != NULL; binding = binding->outer)
        if (binding->key == key)
            return binding->value;
    return NULL;
}
