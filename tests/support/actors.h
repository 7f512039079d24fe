/* SPDX-License-Identifier: MIT */
/*
 * For tests of actors: runs a task function as the root of a tree of real processes, and checks
 * what every run leaves behind: no error lost or alive, no descriptor, no child process. A test
 * executable is its own actor executable; each actor checks the same of itself when it exits, and
 * aborts if it lost an error, so that the test that started it fails.
 *
 * Endpoints can't talk to cmocka. What they see they write to a report, a file named in their
 * arguments, which the test compares as text once they are done. Nothing here sleeps: calls and
 * streams synchronise.
 */
#ifndef YK_TESTS_SUPPORT_ACTORS_H
#define YK_TESTS_SUPPORT_ACTORS_H

#include <yoke/actor.h>
#include <yoke/context.h>
#include <yoke/peer.h>

#include "../tests/support/simrun.h"

/* What the portal to a peer runs over: the link to a child, or one by an address it listens at. */
enum yk_via { YK_VIA_PARENT, YK_VIA_UNIX, YK_VIA_TCP };

/* The `initial_state` of a test whose peer is to be reached that way; NULL: by the parent's link.
 */
extern const enum yk_via yk_via_parent, yk_via_unix, yk_via_tcp;
enum yk_via yk_via(void); /* of the test that runs */
void yk_via_set(void **state);

/* Lines of a table of tests: the same test over each. */
#define YK_OVER(law, name, via)                                                                    \
    {                                                                                              \
#law " over " name, law, NULL, NULL, (void *)(uintptr_t)(via)                              \
    }
#define YK_OVER_ALL(law)                                                                           \
    YK_OVER(law, "the parent's link", &yk_via_parent), YK_OVER(law, "unix", &yk_via_unix),         \
        YK_OVER(law, "tcp", &yk_via_tcp)
#define YK_OVER_PEERS(law) YK_OVER(law, "unix", &yk_via_unix), YK_OVER(law, "tcp", &yk_via_tcp)

/* Where an actor is told to listen for that; NULL: nowhere. */
const char *yk_via_address(void);

/* The first line of main: serves if this process was started as an actor, and then never returns.
 */
void yk_actors_begin(int argc, char **argv);

/* Runs fn(arg) as the main task of a root actor; fails the cmocka test if a check fails in it. */
#define yk_actors_run(fn, arg) yk_actors_run_at(YOKE_HERE, (fn), #fn, (arg))
void yk_actors_run_at(const struct yoke_site *site, yoke_task_fn fn, const char *fn_name,
                      void *arg);

/* A cmocka test named for what it shows; its body is a task function: int body(void *arg). */
#define YK_ACTORS_TEST(law)                                                                        \
    static int law##_task(void *arg);                                                              \
    static void law(void **state)                                                                  \
    {                                                                                              \
        yk_via_set(state);                                                                         \
        yk_actors_run(law##_task, NULL);                                                           \
    }                                                                                              \
    static int law##_task(void *arg __attribute__((unused)))

/*
 * The same with one actor "peer" that exposes everything, whose nursery must close with 0. The body
 * is void body(struct yoke_portal *peer), and takes every error it meets out of flight.
 */
#define YK_PEER_TEST(law)                                                                          \
    static void law##_body(struct yoke_portal *peer);                                              \
    YK_ACTORS_TEST(law)                                                                            \
    {                                                                                              \
        return yk_with_peer(NULL, law##_body);                                                     \
    }                                                                                              \
    static void law##_body(struct yoke_portal *peer)

/*
 * In its body: the portal to the peer as a child, and that the peer ends in order before the body
 * does. Over another link nobody tells its nursery, which then fails: that is taken out of flight.
 * Over such a link the body is shielded from its nursery.
 */
struct yoke_portal *yk_peer_child(void);
void yk_peer_ends(void);

/* What YK_PEER_TEST does; returns what closing the nursery gave. `opts` may be NULL. */
int yk_with_peer(const struct yoke_actor_opts *opts, void (*body)(struct yoke_portal *peer));

/* Starts an actor that exposes everything. A failure is a failed check; then the portal is NULL. */
struct yoke_portal *yk_start_actor(struct yoke_actor_nursery *nursery, const char *name);

/* A report: a file that endpoints append lines to, named in their arguments under "report". */
struct yk_report {
    char path[64];
};
void yk_report_open(struct yk_report *report);
#define yk_report_args(report) YOKE_MAP({"report", yoke_str((report)->path)})

/* Compares all lines with `expected` ("line\nline\n") and removes the file. */
#define yk_report_close(report, expected)                                                          \
    yk_report_close_at(__FILE__, __LINE__, (report), (expected))
void yk_report_close_at(const char *file, int line, struct yk_report *report, const char *expected);

/* In an endpoint: appends a line, if its arguments name a report. */
void yk_report_line(struct yoke_value args, const char *format, ...) YOKE_PRINTF(2, 3);

/* In an endpoint: reports the Cancelled in flight: "Cancelled: " and its chain. */
void yk_report_cancelled(struct yoke_value args);

/*
 * A cause as one line, hop by hop: LAYER, KIND by ACTOR["REASON"]{ERROR TYPE}, joined by " <- ".
 * Static text, good until the next call.
 */
const char *yk_chain(const struct yoke_cause *cause);

#define yk_check_chain(cause, expected)                                                            \
    yk_check_text_at(__FILE__, __LINE__, "the chain", yk_chain(cause), (expected))

/* Catches what is in flight; never NULL: without one it is a failed check, and any error is given.
 */
#define yk_caught() yk_caught_at(__FILE__, __LINE__)
struct yoke_error *yk_caught_at(const char *file, int line);

/* Checks the type, code and message of an error; a message of NULL may be any. */
#define yk_check_error(error, type, code, message)                                                 \
    yk_check_error_at(__FILE__, __LINE__, (error), (type), (code), (message))
void yk_check_error_at(const char *file, int line, const struct yoke_error *error, const char *type,
                       int code, const char *message);

/* Whether some error in the tree (members, context, because, suppressed) is of that type. */
const struct yoke_error *yk_find_error(const struct yoke_error *error, const char *type);

/* Text in a received value, copied to static memory; "" if it is none. */
const char *yk_text_of(struct yoke_value value);

/* How many descriptors this process has open, and whether it has a child, a zombie included. */
unsigned yk_descriptors(void);
bool yk_has_children(void);

#endif
