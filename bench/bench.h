/* SPDX-License-Identifier: MIT */
/*
 * What the benchmarks share. A case has two samplers, the value and its floor: the cheapest way to
 * get the same effect without yoke, or with less of it, measured in the same run on the same
 * processor. Each sampler call is one repetition and warms up by itself.
 */
#ifndef YOKE_BENCH_H
#define YOKE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_REPETITIONS = 7, BENCH_PEERS = 4 };

struct bench_case {
    const char *name;
    const char *unit;
    /* One repetition, in `unit`. 0; negative: an error is in flight, or it is -errno. */
    int (*value)(double *ret);
    int (*floor)(double *ret);
    const char *floor_is; /* for the reader */
    bool more_is_better;
};

/* Ended by a case without a name. */
extern const struct bench_case bench_task_cases[];
extern const struct bench_case bench_channel_cases[];
extern const struct bench_case bench_echo_cases[];
extern const struct bench_case bench_wait_cases[];
extern const struct bench_case bench_crowd_cases[];
extern const struct bench_case bench_million_cases[];   /* seconds each */
extern const struct bench_case bench_footprint_cases[]; /* the same, and do not vary */
extern const struct bench_case bench_actor_cases[];

/* The repetitions of one sampler. */
struct bench_samples {
    double median;
    double min;
    double max;
};

struct bench_result {
    const struct bench_case *of;
    struct bench_samples value;
    struct bench_samples floor;
    double ratio; /* how many times the value is worse than the floor */
    struct bench_samples peers[BENCH_PEERS];
    bool peer_has[BENCH_PEERS]; /* the case */
};

int64_t bench_now(void); /* monotonic, ns */
int64_t bench_cpu(void); /* spent by all threads of this process and the kernel for them, ns */

/* Keeps the compiler from leaving out what makes `p` or what it points to. */
static inline void bench_keep(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

/*
 * Times operation(n) after operation(n / 8 + 1): ns of bench_cpu per one of n, since other work on
 * the machine does not count there. The first runs both as the main task of a runtime of its own,
 * the second on the thread's own stack. Negative: what it returned.
 */
int bench_in_runtime(int (*operation)(long n), long n, double *ret_ns);
int bench_plain(int (*operation)(long n), long n, double *ret_ns);

/* The median and the spread of n > 0 numbers, which get sorted. */
struct bench_samples bench_median(double *samples, size_t n);

/* The same by bench_now, for what several processes do together. */
int bench_in_runtime_wall(int (*operation)(long n), long n, double *ret_ns);
int bench_plain_wall(int (*operation)(long n), long n, double *ret_ns);

/* Floors made of bare coroutines: no scheduler, no scopes. coroutine.c */
int bench_raw_switch(double *ret_ns);      /* one switch */
int bench_raw_spawn_1(double *ret_ns);     /* init, switch, switch back, on one stack */
int bench_raw_spawn_1000(double *ret_ns);  /* the same on 1000 stacks in turn */
int bench_raw_resume_20k(double *ret_ms);  /* 20,000 parked coroutines run to their end */
int bench_raw_resume_100k(double *ret_ms); /* 100,000 */
int bench_raw_rounds_10k(double *ret_ns);  /* one of 10,000 parked coroutines resumed, and back */

/* Floors made of bare processes: system calls only. process.c */
int bench_raw_round_trip(double *ret_us); /* 64 bytes there and back on a socketpair */
int bench_raw_start(double *ret_us);      /* an empty program: spawned, first byte, reaped */
int bench_raw_kill_8(double *ret_ms);     /* 8 idle processes killed and reaped */
int bench_raw_kill_39(double *ret_ms);
int bench_raw_fork(double *ret_us);    /* until the first byte of the child */
int bench_raw_death(double *ret_us);   /* from SIGKILL until its pidfd is readable */
int bench_raw_memory(double *ret_kib); /* private memory of an idle empty program */
int bench_private_memory(int pid, double *ret_kib);
int bench_raw_stream(double *ret_per_second); /* messages of 64 bytes, one way */
int bench_raw_64k(double *ret_mib);           /* MiB a second in writes of 64 KiB, one way */
int bench_raw_1m(double *ret_mib);            /* the same of 1 MiB */
int bench_raw_ring(double *ret_mib);          /* 1 MiB at a time through shared memory */

/*
 * Programs that do the same by other libraries, DIRECTORY/NAME CASE, each run one repetition, whose
 * result they print. peers.c
 */
extern const char *const bench_peer_names[BENCH_PEERS];
/* 1 measured; 0 it has no such case, or is not there; -errno. */
int bench_peer(const char *directory, const char *peer, const char *name, double *ret);

#endif
