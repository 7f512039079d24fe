/* SPDX-License-Identifier: MIT */
/* A small seeded generator (splitmix64) for ready order and simulation; nothing secret. */
#ifndef YK_BASE_RANDOM_H
#define YK_BASE_RANDOM_H

#include <stdint.h>

struct yk_random {
    uint64_t state;
};

static inline void yk_random_seed(struct yk_random *random, uint64_t seed)
{
    random->state = seed;
}

static inline uint64_t yk_random_next(struct yk_random *random)
{
    uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif
