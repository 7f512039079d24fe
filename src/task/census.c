/* SPDX-License-Identifier: MIT */
/*
 * Takes a census by walking the tree of scopes, in preorder, with the tasks of each. It works on
 * copies of the structs, never on the structs, and checks what another thread may have left in the
 * middle of a change: that each scope is an open one, that each link of a list leads back, that
 * nothing goes round in circles. The runtime's own thread finds all of that in order.
 *
 * Records are in memory straight from the kernel: malloc may be held by a thread that is stopped.
 * Address space is reserved for the most there can be, and touched as records are made.
 *
 * Decided against a copy of the process made by fork: it would cost page tables, children that the
 * program did not ask for, and what locks the stopped thread holds would be held in it for ever.
 */
#include "task/census.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/text.h"

enum { SCOPES_PER_TASK = 8, SCOPES_WALKED_MAX = 1 << 20, PAGES_MAX = 1024 };

int yk_census_init(struct yk_census *census, size_t tasks_max)
{
    memset(census, 0, sizeof *census);
    census->tasks_max = tasks_max != 0 ? tasks_max : YK_DUMP_TASKS_MAX;
    census->scopes_max = census->tasks_max * SCOPES_PER_TASK;
    if (census->scopes_max > YK_DUMP_SCOPES_MAX)
        census->scopes_max = YK_DUMP_SCOPES_MAX;
    census->memory_size = census->tasks_max * sizeof(struct yk_census_task) +
                          census->scopes_max * sizeof(struct yk_census_scope);
    census->memory = mmap(NULL, census->memory_size, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (census->memory == MAP_FAILED) {
        census->memory = NULL;
        return -ENOMEM;
    }
    census->tasks = census->memory;
    census->scopes = (struct yk_census_scope *)(void *)(census->tasks + census->tasks_max);
    return 0;
}

void yk_census_clear(struct yk_census *census)
{
    for (size_t i = 0; i < census->tasks_n; i++) {
        yoke_error_unref(census->tasks[i].in_flight);
        yoke_cause_unref(census->tasks[i].pending);
    }
    for (size_t i = 0; i < census->scopes_n; i++)
        yoke_cause_unref(census->scopes[i].cause);
    census->tasks_n = 0;
    census->scopes_n = 0;
}

void yk_census_fini(struct yk_census *census)
{
    yk_census_clear(census);
    if (census->memory != NULL)
        munmap(census->memory, census->memory_size);
    census->memory = NULL;
}

bool yk_peek(void *to, const void *from, size_t size)
{
    struct iovec local = {.iov_base = to, .iov_len = size};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)from, .iov_len = size};

    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
}

static bool fetch(const struct yk_census *census, void *to, const void *from, size_t size)
{
    if (census->outside)
        return yk_peek(to, from, size);
    memcpy(to, from, size);
    return true;
}

/* Text of unknown length: no further than to the end of its page at a time. */
static bool fetch_text(const struct yk_census *census, char *to, size_t size, const char *from)
{
    size_t used = 0;

    if (!census->outside) {
        yk_text_copy(to, size, from);
        return true;
    }
    while (used < size - 1) {
        size_t n = 64 - (uintptr_t)(from + used) % 64; /* never crosses a page */

        if (n > size - 1 - used)
            n = size - 1 - used;
        if (!yk_peek(to + used, from + used, n))
            return false;
        if (memchr(to + used, '\0', n) != NULL)
            return true;
        used += n;
    }
    to[used] = '\0';
    return true;
}

static void add_frame(struct yk_census_task *record, void *address)
{
    if (address != NULL && record->frames_n < YK_BACKTRACE_MAX)
        record->frames[record->frames_n++] = address;
}

/* As yk_backtrace_take, which reads the stack itself; the other thread's may be gone any time. */
static void walk_frames_outside(struct yk_census_task *record, const struct yk_locus *locus,
                                const void *frame)
{
    uintptr_t at = (uintptr_t)frame;
    void *pair[2];

    while (record->frames_n < YK_BACKTRACE_MAX && at >= (uintptr_t)locus->stack_low &&
           at % sizeof(void *) == 0 && at + sizeof pair <= (uintptr_t)locus->stack_high &&
           yk_peek(pair, (void *)at, sizeof pair) && pair[1] != NULL) {
        add_frame(record, pair[1]);
        if ((uintptr_t)pair[0] <= at)
            return;
        at = (uintptr_t)pair[0];
    }
}

static void take_frames(struct yk_census *census, struct yk_census_task *record,
                        const struct yk_task *task, const struct yk_whereabouts *here)
{
    const void *frame = task->coro.fp;

    if (task->state == YK_TASK_RUNNING) {
        frame = here != NULL ? here->frame : NULL;
        for (size_t i = 0; here != NULL && i < here->frames_n; i++)
            add_frame(record, here->frames[i]);
        if (record->frames_n > 0)
            return;
    }
    if (frame == NULL)
        return;
    if (census->outside)
        walk_frames_outside(record, &task->locus, frame);
    else
        record->frames_n += yk_backtrace_take(&task->locus, frame, record->frames,
                                              YK_BACKTRACE_MAX - record->frames_n);
}

/* Bytes of a stack in memory: the kernel says so for each page, and touches none. */
static size_t resident(const char *low, const char *high)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *from = (char *)((uintptr_t)low & ~(uintptr_t)(page - 1));
    size_t pages = ((size_t)(high - from) + page - 1) / page;
    unsigned char in_memory[PAGES_MAX];
    size_t n = 0;

    if (pages > PAGES_MAX || mincore(from, pages * page, in_memory) < 0)
        return 0;
    for (size_t i = 0; i < pages; i++)
        n += in_memory[i] & 1;
    return n * page;
}

static bool add_scope(struct yk_census *census, const struct yoke_scope *scope)
{
    struct yk_census_scope *record = &census->scopes[census->scopes_n];

    if (scope->magic != YK_SCOPE_OPEN)
        return false;
    memset(record, 0, sizeof *record);
    if (!fetch_text(census, record->name, sizeof record->name, scope->name))
        return false;
    record->id = scope->id;
    record->site = scope->site;
    record->deadline_ns = scope->timer.deadline_ns;
    record->nursery = scope->nursery;
    record->shield = scope->shield;
    record->effective = scope->effective;
    record->cause = scope->cause == NULL ? NULL : yoke_cause_ref(scope->cause);
    census->scopes_n++;
    return true;
}

/* The scopes that a task has open, outermost first; those beyond the census's room are left out. */
static bool add_scopes(struct yk_census *census, struct yk_census_task *record,
                       const struct yk_task *at, const struct yk_task *task)
{
    struct yk_census_scope *first = &census->scopes[census->scopes_n];
    const struct yoke_scope *scope_at = task->scope;
    struct yoke_scope scope;

    record->scopes = first;
    while (census->scopes_n < census->scopes_max) {
        if (!fetch(census, &scope, scope_at, sizeof scope))
            return false;
        if (scope.task != at)
            break;
        if (!add_scope(census, &scope))
            return false;
        scope_at = scope.parent;
    }
    record->scopes_n = (size_t)(&census->scopes[census->scopes_n] - first);
    for (size_t i = 0; i < record->scopes_n / 2; i++) {
        struct yk_census_scope swapped = first[i];

        first[i] = first[record->scopes_n - 1 - i];
        first[record->scopes_n - 1 - i] = swapped;
    }
    return true;
}

/* `task` is a copy of what is `at`. */
static bool add_task(struct yk_census *census, const struct yk_task *at, const struct yk_task *task,
                     const struct yk_whereabouts *here)
{
    struct yk_census_task *record = &census->tasks[census->tasks_n];

    memset(record, 0, sizeof *record);
    record->id = task->locus.task_id;
    record->site = task->site;
    record->state = task->state;
    record->since_ns = task->since_ns;
    record->stack_size = (size_t)(task->locus.stack_high - task->locus.stack_low);
    if (census->with_stacks)
        record->stack_resident = resident(task->locus.stack_low, task->locus.stack_high);
    if (task->state == YK_TASK_RUNNING)
        census->current = record->id;
    if (!fetch(census, &record->nursery_id, &task->nursery->scope.id, sizeof record->nursery_id) ||
        !fetch_text(census, record->name, sizeof record->name, task->locus.task_name) ||
        (task->state == YK_TASK_PARKED &&
         !fetch_text(census, record->waiting_for, sizeof record->waiting_for, task->waiting_for)) ||
        !add_scopes(census, record, at, task))
        return false;
    take_frames(census, record, task, here);
    if (task->locus.in_flight != NULL)
        record->in_flight = yoke_error_ref(task->locus.in_flight);
    if (task->locus.pending != NULL)
        record->pending = yoke_cause_ref(task->locus.pending);
    census->tasks_n++;
    return true;
}

/* The tasks whose innermost scope it is. `scope` is a copy of what is `at`. */
static bool walk_tasks(struct yk_census *census, const struct yoke_scope *at,
                       const struct yoke_scope *scope, const struct yk_whereabouts *here)
{
    const struct yk_list *before = &at->tasks;
    const struct yk_list *node = scope->tasks.next;

    while (node != &at->tasks && census->tasks_n < census->tasks_max) {
        const struct yk_task *task_at = yk_container_of(node, struct yk_task, in_scope);
        struct yk_task task;

        if (!fetch(census, &task, task_at, sizeof task) || task.in_scope.prev != before ||
            !add_task(census, task_at, &task, here))
            return false;
        before = node;
        node = task.in_scope.next;
    }
    return true;
}

/* The next scope in preorder, and its copy in place of that of `at`; NULL after the last. */
static const struct yoke_scope *scope_after(struct yk_census *census, const struct yoke_scope *at,
                                            struct yoke_scope *scope, bool *ok)
{
    const struct yk_list *node = scope->children.next, *before = &at->children;

    while (node == before && *ok) {
        const struct yoke_scope *parent = scope->parent;

        if (parent == NULL)
            return NULL;
        before = &at->sibling;
        node = scope->sibling.next;
        *ok = fetch(census, scope, parent, sizeof *scope);
        if (node == &parent->children) /* `at` was the last of them: go on behind its parent */
            before = node;
        at = parent;
    }
    if (!*ok)
        return NULL;
    at = yk_container_of(node, struct yoke_scope, sibling);
    *ok = fetch(census, scope, at, sizeof *scope) && scope->magic == YK_SCOPE_OPEN &&
          scope->sibling.prev == before;
    return at;
}

static bool walk(struct yk_census *census, const struct yoke_runtime *at,
                 const struct yoke_runtime *runtime, const struct yk_whereabouts *here)
{
    const struct yoke_scope *scope_at = &at->root.scope;
    struct yoke_scope scope = runtime->root.scope;
    bool ok = true;

    census->task_n = runtime->task_n;
    census->actor = runtime->actor;
    census->root_id = scope.id;
    for (size_t walked = 0; ok && walked < SCOPES_WALKED_MAX; walked++) {
        ok = walk_tasks(census, scope_at, &scope, here);
        if (ok)
            scope_at = scope_after(census, scope_at, &scope, &ok);
        if (!ok || scope_at == NULL)
            return ok;
    }
    return false;
}

void yk_census_take(struct yk_census *census, struct yoke_runtime *runtime,
                    const struct yk_whereabouts *here)
{
    bool ok;

    census->outside = false;
    census->now_ns = runtime->host->ops->now(runtime->host);
    ok = walk(census, runtime, runtime, here);
    yk_assert(ok);
}

bool yk_census_take_outside(struct yk_census *census, const struct yoke_runtime *runtime,
                            const struct yk_whereabouts *here, int64_t now_ns)
{
    struct yoke_runtime copy;

    census->outside = true;
    census->now_ns = now_ns;
    return yk_peek(&copy, runtime, sizeof copy) && walk(census, runtime, &copy, here) &&
           (census->tasks_n == copy.task_n || census->tasks_n == census->tasks_max);
}

bool yk_census_take_current_outside(struct yk_census *census, const struct yoke_runtime *runtime,
                                    const struct yk_whereabouts *here, int64_t now_ns)
{
    struct yoke_runtime copy;
    struct yk_task task;

    census->outside = true;
    census->now_ns = now_ns;
    if (!yk_peek(&copy, runtime, sizeof copy) || copy.current == NULL ||
        !yk_peek(&task, copy.current, sizeof task))
        return false;
    census->actor = copy.actor;
    census->task_n = copy.task_n;
    return add_task(census, copy.current, &task, here);
}
