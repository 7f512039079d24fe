/* SPDX-License-Identifier: MIT */
/* Every limit of the library in one place, each with its reason. */
#ifndef YK_BASE_LIMITS_H
#define YK_BASE_LIMITS_H

/* errors and causes */
#define YK_BACKTRACE_MAX          32 /* frames kept at a raise: each raise copies them */
#define YK_PENDING_FRAMES         11 /* of a Cancelled that nobody looks at: they are in the task */
#define YK_ERROR_MESSAGE_MAX      1024 /* bytes of a message; longer ones are cut with "..." */
#define YK_ERROR_NOTES_MAX        32   /* notes of one error: a loop must not add for ever */
#define YK_ERROR_SUPPRESSED_MAX   64   /* kept whole; later ones are settled and counted */
#define YK_CAUSE_HOPS_MAX         16   /* hops of a chain kept, the first and the last ones */
#define YK_SCOPE_LATER_CAUSES_MAX 4    /* later requests kept beside a scope's first cause */
#define YK_ERROR_TREE_DEPTH_MAX   16   /* nesting of errors on the wire and in print */
#define YK_ERROR_TREE_NODES_MAX   256  /* errors and hops of one tree: peers may send any shape */
#define YK_ERROR_TYPE_MAX         128  /* bytes of a type name, NUL included */
#define YK_TRACEBACK_MAX          (16u << 10) /* bytes of a traceback from a peer that are kept */
#define YK_INNER_CAUSES_MAX       32          /* cancelled scopes told by one Cancelled */

/* the wire */
#define YK_FRAME_MAX       (64u << 20) /* bytes of a frame: bounds what a peer makes us allocate */
#define YK_VALUE_DEPTH_MAX 64          /* nesting of a received value: decoding recurses */
#define YK_RELAY_MAX       32          /* actors in a relay path; more is a loop */

/* tasks */
#define YK_STACK_SIZE        (64u << 10) /* bytes of a task's stack, guard page included */
#define YK_TASK_NAME_MAX     64          /* bytes of a task's name, NUL included */
#define YK_WAIT_TEXT_MAX     96          /* bytes of what a task waits for, as a select tells it */
#define YK_CHECKPOINT_BUDGET 64    /* blocking calls that complete at once before others run */
#define YK_SWITCHES_PER_TURN 512   /* task switches between looks at timers and descriptors */
#define YK_DUMP_TASKS_MAX    10000 /* tasks told in a dump: nobody reads more */
#define YK_DUMP_SCOPES_MAX   40000 /* open scopes of those */
#define YK_DUMP_DEADLOCK_TASKS                                                                     \
    200 /* told in a deadlock report: looking up symbols for more takes seconds */
#define YK_DUMP_DEPTH_MAX 64 /* nesting that a dump shows as text: it recurses */

/* sockets */
#define YK_LOOKUPS_MAX 16 /* names looked up at once, so that a dead server leaves workers free */
#define YK_SOCKET_RETRY_NS                                                                         \
    INT64_C(1000000) /* first pause where the kernel tells of no readiness (Unix sockets), ... */
#define YK_SOCKET_RETRY_MAX_NS INT64_C(32000000) /* ... and the longest: it doubles */
#define YK_ACCEPT_RETRY_NS                                                                         \
    INT64_C(100000000) /* a server out of descriptors accepts again, as in trio */
#define YK_CONNECT_DELAY_NS                                                                        \
    INT64_C(250000000)         /* until the next address is tried beside; RFC 8305, section 5 */
#define YK_LISTEN_BACKLOG 4096 /* asked for; net.core.somaxconn lowers it */

/* files */
#define YK_FILE_LOAD_MAX (1u << 30) /* bytes loaded by default: a device must not fill memory */

/* actors */
#define YK_LINK_FLUSH_NS                                                                           \
    1000000000 /* ns to get last messages out when a link ends: a peer that does not               \
                  read must not hold up its own end */
#define YK_START_NS                                                                                \
    INT64_C(10000000000) /* until a new actor is up: exec and dynamic linking on a loaded machine  \
                          */
#define YK_CANCEL_NS                                                                               \
    INT64_C(3000000000) /* from an actor's cancel request to SIGTERM, as in tractor */
#define YK_TERM_NS           INT64_C(1000000000)  /* from SIGTERM to SIGKILL */
#define YK_ZYGOTE_MS         5000                 /* a zygote forks in microseconds */
#define YK_RESTARTS_MAX      1000                 /* an actor nursery counts: one time stamp each */
#define YK_RESTARTS          3                    /* within the period, by default */
#define YK_RESTART_PERIOD_NS INT64_C(5000000000)  /* as Erlang's supervisors */
#define YK_BACKOFF_NS        INT64_C(10000000)    /* about what a start costs */
#define YK_BACKOFF_MAX_NS    INT64_C(10000000000) /* a service that comes back later is missed */
#define YK_TEARDOWN_NS                                                                             \
    INT64_C(5000000000) /* a context's close waits for a cancelled peer: longer than the ladder's  \
                  first rungs, so that the ladder speaks first */
#define YK_BUDGET_GRACE_NS                                                                         \
    INT64_C(1000000000) /* an endpoint outlives its opener's deadline by this: time for the        \
                           opener's own request, which says more, to arrive */
#define YK_ORPHAN_NS                                                                               \
    INT64_C(4000000000) /* an actor whose parent is gone must have ended by then; a kernel timer   \
                  kills it otherwise */
#define YK_PLAIN_LINGER_NS                                                                         \
    INT64_C(200000000) /* from an Error for a plain parent to the end of the link: tractor's       \
                  opener       forgets an error if it sees the end before its task has run */
#define YK_GREETING_NS                                                                             \
    INT64_C(10000000000) /* until a peer has said who it is, as in tractor: half-open connections  \
                  must end */
#define YK_GREETINGS_MAX     256 /* peers at a listener that have not said yet: more are dropped */
#define YK_CHILD_LISTENS_MAX 8   /* addresses that a parent tells a child to listen at */
#define YK_REGISTERED_MAX    16  /* addresses that one actor registers under one name */
#define YK_REGISTRAR_NS                                                                            \
    INT64_C(2000000000) /* a registrar answers by then, or is tried again later */
#define YK_REGISTRAR_RETRY_NS                                                                      \
    INT64_C(50000000) /* first pause before a lost registrar is tried again, ... */
#define YK_REGISTRAR_RETRY_MAX_NS INT64_C(2000000000) /* ... and the longest: it doubles */
#define YK_UNREGISTER_NS          INT64_C(500000000)  /* at an actor's end, as in tractor */
#define YK_LOOK_NS                INT64_C(5000000000) /* between looks at plain actors */
#define YK_PROBE_NS               INT64_C(1000000000) /* for one look, as in tractor */
#define YK_PEERS_MAX              16384 /* connections of a listener; more wait in the backlog */
#define YK_SILENCE_NS                                                                              \
    INT64_C(20000000000) /* a silent peer is lost: long enough for a process that is busy or       \
                  swapped out, short enough for a person who waits */
#define YK_BEATS 4 /* looks without a sign of life until then, as in Erlang: one may be late */
#define YK_ANSWERS_MAX                                                                             \
    (2u << 20) /* bytes of answers queued for a peer that asks and does not read */
#define YK_OVERRUN_MAX       616  /* values kept beyond that of a peer without credit; tractor's */
#define YK_STREAM_WINDOW     64   /* values in flight per direction of a context */
#define YK_STREAM_WINDOW_MAX 1024 /* of small ones, once they are consumed as they come */
#define YK_STREAM_SMALL      1024 /* bytes of a value that counts as small: 1 MiB are in flight */
#define YK_STREAM_SPARES     (512u << 10) /* bytes of items that a context keeps for use again */
#define YK_LINK_QUEUE_MAX    (256u << 10) /* bytes queued on a link before senders of values wait */
#define YK_SEGMENTS_MAX      32           /* of shared memory, each way of a link: bits of a mask */
#define YK_SHARE_LEAST       (16u << 10)  /* bytes of a bin from which on it is shared; measured */
#define YK_SEGMENT_SIZE_MAX  (16u << 20)  /* bytes: to make one holds the thread, 0.4 ms a MiB */
#define YK_SHARE_AHEAD       (4u << 20)   /* bytes of segments of one size: they stay in a cache */
#define YK_SHARE_MAX         (32u << 20)  /* bytes of all segments, each way of a link */
#define YK_THREADS_MAX       32 /* calls in worker threads at a time, without an own limiter */
#define YK_POSTS_MAX         (1u << 14) /* posts to a runtime not begun yet: each has a stack */

/* processes */
#define YK_SPAWN_FDS_MAX   64 /* given to one process: the spawner keeps them on its stack */
#define YK_CAPTURE_MAX     (16u << 20) /* bytes of output captured, unless told otherwise */
#define YK_PROCESS_TAIL    900         /* bytes of standard error in a failure: what a note holds */
#define YK_PROCESS_TERM_NS INT64_C(5000000000) /* from SIGTERM to SIGKILL, as in trio */

#endif
