/* SPDX-License-Identifier: MIT */
/*
 * The pool. Fresh memory costs more than to send the bytes through a socket, so segments are few,
 * are populated at once when they are made, and are used again and again: the first values of a
 * link go through the socket until a peer has taken the segments that are made for them. One that
 * streams can't be told from one that does not by a single value: the first offer is made for the
 * second one.
 *
 * The descriptor is sealed against any change of its size, so that the peer can't be made to fault,
 * and against new writable mappings, so that the peer can't write. What this process writes while
 * the peer reads is its own business: the peer takes no length or structure from shared memory.
 */
#include "link/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

enum { FIRST_OFFER = 2, AFTER_FAILURE = 256 /* large values until the next offer */ };

static int place(struct yk_bulk_out *bulk, const void *data, size_t size);

void yk_pool_init(struct yk_pool *pool)
{
    memset(pool, 0, sizeof *pool);
    pool->bulk.least = YK_SHARE_LEAST;
    pool->bulk.place = place;
    pool->seldom = FIRST_OFFER;
}

static void drop(struct yk_pool *pool, struct yk_segment *segment)
{
    if (segment->state == YK_SEGMENT_NONE)
        return;
    munmap(segment->memory, segment->size);
    pool->total -= segment->size;
    memset(segment, 0, sizeof *segment);
}

void yk_pool_fini(struct yk_pool *pool)
{
    for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++)
        drop(pool, &pool->segments[i]);
}

static size_t rounded(size_t size)
{
    size_t power = YK_SHARE_LEAST;

    while (power < size)
        power *= 2;
    return power;
}

/* Segments of one size: enough that both sides have one in hand, few enough to stay in a cache. */
static unsigned most_of(size_t size)
{
    size_t n = YK_SHARE_AHEAD / size;

    return n < 2 ? 2 : n > YK_SEGMENTS_MAX / 2 ? YK_SEGMENTS_MAX / 2 : (unsigned)n;
}

static int place(struct yk_bulk_out *bulk, const void *data, size_t size)
{
    struct yk_pool *pool = (struct yk_pool *)bulk; /* its first member */
    size_t fitting = rounded(size);
    int best = -1;

    if (size > YK_SEGMENT_SIZE_MAX)
        return -1;
    for (int i = 0; i < YK_SEGMENTS_MAX; i++)
        if (pool->segments[i].state == YK_SEGMENT_FREE && pool->segments[i].size == fitting)
            best = i;
    if (best < 0) {
        pool->wanted = pool->wanted > size ? pool->wanted : size;
        return -1;
    }
    memcpy(pool->segments[best].memory, data, size);
    pool->segments[best].state = YK_SEGMENT_FULL;
    pool->placed |= UINT32_C(1) << best;
    return best;
}

void yk_pool_keep(struct yk_pool *pool)
{
    pool->placed = 0;
}

void yk_pool_undo(struct yk_pool *pool)
{
    for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++)
        if (pool->placed & UINT32_C(1) << i)
            pool->segments[i].state = YK_SEGMENT_FREE;
    pool->placed = 0;
    pool->wanted = 0;
}

static unsigned count(const struct yk_pool *pool, size_t size, enum yk_segment_state state)
{
    unsigned n = 0;

    for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++)
        n += pool->segments[i].size == size && pool->segments[i].state == state;
    return n;
}

bool yk_pool_exhausted(const struct yk_pool *pool, size_t size)
{
    size_t fitting;

    if (size < YK_SHARE_LEAST || size > YK_SEGMENT_SIZE_MAX)
        return false;
    fitting = rounded(size);
    return count(pool, fitting, YK_SEGMENT_FULL) >= most_of(fitting);
}

/* Drops a free segment of another size. False: there is none. */
static bool make_way(struct yk_pool *pool, size_t size)
{
    for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++)
        if (pool->segments[i].state == YK_SEGMENT_FREE && pool->segments[i].size != size) {
            drop(pool, &pool->segments[i]);
            return true;
        }
    return false;
}

/* A place for a new one, for which free ones of other sizes give way. NULL: all are in use. */
static struct yk_segment *vacant(struct yk_pool *pool, size_t size)
{
    while (pool->total > YK_SHARE_MAX - size)
        if (!make_way(pool, size))
            return NULL;
    do
        for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++)
            if (pool->segments[i].state == YK_SEGMENT_NONE)
                return &pool->segments[i];
    while (make_way(pool, size));
    return NULL;
}

static int seal(int fd)
{
    const int size_seals = F_SEAL_SHRINK | F_SEAL_GROW;

    if (fcntl(fd, F_ADD_SEALS, size_seals | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0)
        return 0;
    return fcntl(fd, F_ADD_SEALS, size_seals | F_SEAL_SEAL); /* before Linux 5.1 */
}

static int make(struct yk_segment *segment, size_t size)
{
    int fd = memfd_create("yoke", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -1;
    segment->memory = MAP_FAILED;
    if (ftruncate(fd, (off_t)size) == 0)
        segment->memory =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (segment->memory != MAP_FAILED && seal(fd) == 0) {
        segment->size = size;
        segment->state = YK_SEGMENT_OFFERED;
        return fd;
    }
    if (segment->memory != MAP_FAILED)
        munmap(segment->memory, size);
    memset(segment, 0, sizeof *segment);
    close(fd);
    return -1;
}

static int fail_offer(struct yk_pool *pool)
{
    pool->asked_for = 0;
    pool->seldom = AFTER_FAILURE;
    return -1;
}

int yk_pool_offer(struct yk_pool *pool, int *ret_fd)
{
    size_t size = rounded(pool->wanted);
    struct yk_segment *segment;
    unsigned have;
    int fd;

    pool->wanted = 0;
    if (++pool->asked_for < pool->seldom)
        return -1;
    have = count(pool, size, YK_SEGMENT_OFFERED) + count(pool, size, YK_SEGMENT_FULL);
    if (have >= most_of(size))
        return -1;
    segment = vacant(pool, size);
    if (segment == NULL)
        return -1;
    fd = make(segment, size);
    if (fd < 0)
        return fail_offer(pool);
    pool->total += size;
    *ret_fd = fd;
    return (int)(segment - pool->segments);
}

bool yk_pool_released(struct yk_pool *pool, uint32_t released, uint32_t refused)
{
    bool any = false;

    for (unsigned i = 0; i < YK_SEGMENTS_MAX; i++) {
        struct yk_segment *segment = &pool->segments[i];
        uint32_t bit = UINT32_C(1) << i;
        bool offered = segment->state == YK_SEGMENT_OFFERED;

        if (refused & bit && offered) {
            drop(pool, segment);
            (void)fail_offer(pool);
        } else if (released & bit && (offered || segment->state == YK_SEGMENT_FULL)) {
            segment->state = YK_SEGMENT_FREE;
            any = true;
        }
    }
    return any;
}
