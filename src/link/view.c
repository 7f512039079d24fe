/* SPDX-License-Identifier: MIT */
/*
 * The view. Everything that comes from the peer is checked: a descriptor must be of memory whose
 * size is what was said and sealed, or a peer that cut it would kill this process by SIGBUS; a
 * number must be that of a segment that is ours to read, since the peer may write to the others.
 * The bytes themselves may change while they are read if the peer breaks the protocol, as those of
 * a process of the same user may in other ways: they are handed out as bin, whose content nothing
 * here looks at.
 */
#include "link/view.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yoke/error.h>

#include "base/check.h"
#include "base/memory.h"

static const void *find(struct yk_bulk_in *bulk, unsigned number, size_t size);

struct yk_view *yk_view_new(void (*changed)(void *arg), void *arg)
{
    struct yk_view *view = yk_calloc(1, sizeof *view);

    if (view == NULL)
        return NULL;
    view->bulk.find = find;
    view->refs = 1;
    view->changed = changed;
    view->arg = arg;
    return view;
}

static void unref(struct yk_view *view)
{
    if (--view->refs > 0)
        return;
    for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++)
        if (view->memory[i] != NULL)
            munmap((void *)view->memory[i], view->size[i]);
    free(view);
}

void yk_view_abandon(struct yk_view *view)
{
    if (view == NULL)
        return;
    view->changed = NULL;
    unref(view);
}

static void changed(struct yk_view *view)
{
    if (view->changed != NULL)
        view->changed(view->arg);
}

static int bad(const char *problem)
{
    return yoke_raise("yoke.BadMessage", EBADMSG, "Segment: %s", problem);
}

/* What is wrong with a descriptor as shared memory of that size; NULL: nothing. */
static const char *fault_of(int fd, int64_t size)
{
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW;
    int seals = fcntl(fd, F_GET_SEALS);
    struct stat status;

    if (seals < 0)
        return "the descriptor is not of memory that can be sealed";
    if ((seals & needed) != needed)
        return "the size of the memory is not sealed";
    if (fstat(fd, &status) < 0 || status.st_size != (off_t)size)
        return "the memory is not of the size that was said";
    return NULL;
}

static void map(struct yk_view *view, unsigned number, size_t size, int fd)
{
    uint32_t bit = UINT32_C(1) << number;
    void *memory = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);

    if (memory == MAP_FAILED) {
        view->refused |= bit;
        return;
    }
    view->memory[number] = memory;
    view->size[number] = size;
    view->released |= bit;
}

int yk_view_accept(struct yk_view *view, int64_t number, int64_t size, int fd)
{
    uint32_t bit = number >= 0 && number < YK_SEGMENTS_MAX ? UINT32_C(1) << number : 0;
    const char *fault = NULL;

    if (bit == 0)
        fault = "no such number";
    else if ((view->current | view->leased | view->released) & bit)
        fault = "the one of that number is in use";
    else if (size <= 0 || size > YK_SEGMENT_SIZE_MAX)
        fault = "no size that is allowed";
    else if (fd >= 0)
        fault = fault_of(fd, size);
    if (fault == NULL) {
        if (view->memory[number] != NULL)
            munmap((void *)view->memory[number], view->size[number]);
        view->memory[number] = NULL;
        if (fd >= 0)
            map(view, (unsigned)number, (size_t)size, fd);
        else
            view->refused |=
                bit; /* this process was out of descriptors, so that the kernel kept it */
        changed(view);
    }
    if (fd >= 0)
        close(fd);
    return fault == NULL ? 0 : bad(fault);
}

static const void *find(struct yk_bulk_in *bulk, unsigned number, size_t size)
{
    struct yk_view *view = (struct yk_view *)bulk; /* its first member */

    if (number >= YK_SEGMENTS_MAX || view->memory[number] == NULL || size > view->size[number] ||
        size == 0 || (view->leased | view->released) & UINT32_C(1) << number)
        return NULL;
    view->current |= UINT32_C(1) << number;
    return view->memory[number];
}

struct yk_lease yk_view_take(struct yk_view *view)
{
    struct yk_lease lease = {NULL, 0};

    if (view == NULL || view->current == 0)
        return lease;
    lease.view = view;
    lease.mask = view->current;
    view->leased |= view->current;
    view->current = 0;
    view->refs++;
    return lease;
}

void yk_view_message_done(struct yk_view *view)
{
    if (view == NULL || view->current == 0)
        return;
    view->released |= view->current;
    view->current = 0;
    changed(view);
}

void yk_lease_end(struct yk_lease *lease)
{
    struct yk_view *view = lease->view;

    if (view == NULL)
        return;
    yk_assert((view->leased & lease->mask) == lease->mask);
    view->leased &= ~lease->mask;
    view->released |= lease->mask;
    changed(view);
    unref(view);
    memset(lease, 0, sizeof *lease);
}
