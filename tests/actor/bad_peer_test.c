/* SPDX-License-Identifier: MIT */
/*
 * Peers that misbehave, at raw sockets: each is told why as far as it listens, and dropped with an
 * error that says so. The victim is a process of its own. A good peer has a context open into it
 * the whole time, which must not notice.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <yoke/event.h>
#include <yoke/net.h>
#include <yoke/task.h>

#include "../tests/support/actors.h"
#include "base/limits.h"
#include "wire/message.h"

/* --- the victim ------------------------------------------------------------------------------- */

enum { DROPS_MAX = 512 };

/* Whom it has dropped, in order. */
static struct {
    char text[DROPS_MAX][512];
    unsigned n, taken;
    struct yoke_event came;
} drops;

static void dropped(const struct yoke_error *error, void *arg)
{
    (void)arg;
    if (drops.n < DROPS_MAX)
        snprintf(drops.text[drops.n++], sizeof drops.text[0], "%s: %s", yoke_error_type(error),
                 yoke_error_message(error));
    yoke_event_set(&drops.came);
}

/* Listens where it is told to; args: address, greeting_ms. */
static int listen_for_bad(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_actor_listen_opts opts = {.dropped = dropped};
    char address[YOKE_ADDRESS_MAX];
    int64_t greeting_ms = 0;
    int rc = yoke_value_text(yoke_value_get(args, "address"), "address", address, sizeof address);

    if (rc == 0)
        rc = yoke_value_int(yoke_value_get(args, "greeting_ms"), "greeting_ms", &greeting_ms);
    opts.greeting_timeout_ns = YOKE_MS(greeting_ms);
    yoke_event_init(&drops.came);
    if (rc == 0)
        rc = yoke_actor_listen(address, &opts, address);
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_str(address));
}
YOKE_ENDPOINT("bad:listen", listen_for_bad);

/* Who was dropped next. */
static int await_drop(struct yoke_context *ctx, struct yoke_value args)
{
    int rc = 0;

    (void)args;
    while (rc == 0 && drops.n == drops.taken) {
        yoke_event_init(&drops.came);
        rc = yoke_event_wait(&drops.came);
    }
    return rc < 0 ? rc : yoke_context_return(ctx, yoke_str(drops.text[drops.taken++]));
}
YOKE_ENDPOINT("bad:await_drop", await_drop);

static int echo(struct yoke_context *ctx, struct yoke_value args)
{
    struct yoke_value value;
    int rc = yoke_context_started(ctx, yoke_nil());

    (void)args;
    while (rc == 0 && (rc = yoke_stream_receive(ctx, &value)) > 0)
        rc = yoke_stream_send(ctx, value);
    return rc;
}
YOKE_ENDPOINT("bad:echo", echo);

/* --- a raw peer ------------------------------------------------------------------------------- */

struct raw {
    struct yoke_conn *conn;
    struct yk_buffer in;
    struct yk_arena arena;
};

static void raw_open(struct raw *raw, const char *address)
{
    const char *place = strncmp(address, "tcp:", 4) == 0 ? address + 4 : address;

    raw->conn = NULL;
    yk_check_int(yoke_connect(place, NULL, &raw->conn), 0);
    yk_buffer_init(&raw->in);
    yk_arena_init(&raw->arena);
}

static void raw_close(struct raw *raw)
{
    yoke_conn_unref(raw->conn);
    yk_buffer_fini(&raw->in);
    yk_arena_fini(&raw->arena);
}

static void put(struct raw *raw, const void *data, size_t size)
{
    yk_check_int(yoke_conn_write_all(raw->conn, data, size, NULL), 0);
}

static int put_message(struct raw *raw, const struct yk_message *message)
{
    struct yk_buffer frame;
    int rc;

    yk_buffer_init(&frame);
    yk_check_int(yk_message_encode(&frame, message, true), 0);
    rc = yoke_conn_write_all(raw->conn, frame.data + frame.start, yk_buffer_size(&frame), NULL);
    yk_buffer_fini(&frame);
    return rc;
}

static struct yk_message an_aid(const char *uuid)
{
    struct yk_message message = {.type = YK_AID};

    message.as.aid = (struct yk_aid){.name = "villain", .uuid = uuid, .yoke = 1, .host = "here"};
    return message;
}

static void greet(struct raw *raw)
{
    struct yk_message aid = an_aid("00000000-0000-4000-8000-000000000666");

    yk_check_int(put_message(raw, &aid), 0);
}

static struct yk_message a_start(const char *uuid)
{
    struct yk_message message = {.type = YK_START};

    message.as.start = (struct yk_start){.cid = "c1",
                                         .ns = "bad",
                                         .func = "nothing",
                                         .kwargs = yoke_map(NULL, 0),
                                         .uid = {"villain", uuid}};
    return message;
}

/* The next message. 1; 0: the end, in order or by a reset. */
static int next_message(struct raw *raw, struct yk_message *ret)
{
    const unsigned char *body;
    size_t size;

    while (yk_frame_next(&raw->in, &body, &size) == 0) {
        ssize_t n;

        yk_check_int(yk_buffer_reserve(&raw->in, 4096), 0);
        n = yoke_conn_read(raw->conn, raw->in.data + raw->in.end, 4096);
        if (n <= 0) {
            yoke_clear();
            return 0;
        }
        raw->in.end += (size_t)n;
    }
    yk_check_int(yk_message_decode(&raw->arena, body, size, ret), 0);
    yk_buffer_consume(&raw->in, YK_FRAME_HEADER + size);
    return 1;
}

/* The victim's own Aid comes first. */
static void hear_aid(struct raw *raw)
{
    struct yk_message message;

    if (next_message(raw, &message) != 1)
        yk_check_failed(__FILE__, __LINE__, "hung up in place of an Aid");
    else
        yk_check_int(message.type, YK_AID);
}

/* Then it says why it ends the link, and does. */
static void hear_farewell(struct raw *raw, const char *text)
{
    struct yk_message message;

    if (next_message(raw, &message) != 1) {
        yk_check_failed(__FILE__, __LINE__, "hung up without a word of \"%s\"", text);
        return;
    }
    yk_check_int(message.type, YK_ERROR);
    yk_check(message.type == YK_ERROR && message.as.error.cid == NULL);
    if (message.type == YK_ERROR && strstr(message.as.error.message, text) == NULL)
        yk_check_failed(__FILE__, __LINE__, "it says \"%s\", not \"%s\"", message.as.error.message,
                        text);
    yk_check_int(next_message(raw, &message), 0);
}

/* --- the tests -------------------------------------------------------------------------------- */

struct scene {
    struct yoke_portal *good;
    struct yoke_context ctx; /* of the good peer */
    char address[YOKE_ADDRESS_MAX];
};

static void check_unaffected(struct scene *scene)
{
    static int64_t n;
    struct yoke_value value;

    yk_check_int(yoke_stream_send(&scene->ctx, yoke_int(++n)), 0);
    yk_check_int(yoke_stream_receive(&scene->ctx, &value), 1);
    yk_check_int(value.as.integer, n);
    yk_check(yoke_portal_connected(scene->good));
}

/* Waits until the victim has dropped a peer for that. */
static void check_dropped(struct scene *scene, const char *text)
{
    struct yoke_value *value = NULL;
    const char *said;

    yk_check_int(yoke_call(scene->good, "bad:await_drop", yoke_nil(), &value), 0);
    said = value != NULL ? yk_text_of(*value) : "";
    if (strstr(said, text) == NULL)
        yk_check_failed(__FILE__, __LINE__, "dropped for \"%s\", not for \"%s\"", said, text);
    yoke_value_free(value);
}

static int with_scene(int64_t greeting_ms, void (*body)(struct scene *scene))
{
    struct yoke_actor_opts opts = {.expose = "bad:*", .listen = yk_via_address()};
    struct yoke_actor_nursery nursery;
    struct yoke_portal *victim;
    struct yoke_value *address = NULL;
    struct scene scene = {.good = NULL};
    int rc = yoke_actor_nursery_open(&nursery, NULL);

    if (rc == 0)
        rc = yoke_actor_start(&nursery, "victim", &opts, &victim);
    if (rc == 0)
        rc = yoke_portal_open(yoke_portal_address(victim), NULL, &scene.good);
    if (rc == 0)
        rc = yoke_call(scene.good, "bad:listen",
                       YOKE_MAP({"address", yoke_str(yk_via_address())},
                                {"greeting_ms", yoke_int(greeting_ms)}),
                       &address);
    if (rc == 0)
        rc = yoke_context_open(&scene.ctx, scene.good, "bad:echo", yoke_nil(), NULL);
    if (rc == 0) {
        snprintf(scene.address, sizeof scene.address, "%s", yk_text_of(*address));
        check_unaffected(&scene);
        body(&scene);
        check_unaffected(&scene);
        rc = yoke_context_close(&scene.ctx, 0, NULL);
    }
    yoke_value_free(address);
    yoke_portal_close(scene.good);
    return yoke_actor_nursery_close(&nursery, rc);
}

/* A test whose body is void body(struct scene *scene). */
#define BAD_PEER_TEST(law, greeting_ms)                                                            \
    static void law##_body(struct scene *scene);                                                   \
    YK_ACTORS_TEST(law)                                                                            \
    {                                                                                              \
        return with_scene(greeting_ms, law##_body);                                                \
    }                                                                                              \
    static void law##_body(struct scene *scene)

/* Sends these bytes, after an Aid or in place of one; it is told `text`, and dropped for it. */
static void attack(struct scene *scene, bool greeted, const void *data, size_t size,
                   const char *text)
{
    struct raw raw;

    raw_open(&raw, scene->address);
    hear_aid(&raw);
    if (greeted)
        greet(&raw);
    put(&raw, data, size);
    hear_farewell(&raw, text);
    raw_close(&raw);
    check_dropped(scene, text);
    check_unaffected(scene);
}

static void attack_both(struct scene *scene, const void *data, size_t size, const char *text)
{
    attack(scene, false, data, size, text);
    attack(scene, true, data, size, text);
}

static void attack_with(struct scene *scene, bool greeted, const struct yk_message *message,
                        const char *text)
{
    struct yk_buffer frame;

    yk_buffer_init(&frame);
    yk_check_int(yk_message_encode(&frame, message, true), 0);
    attack(scene, greeted, frame.data + frame.start, yk_buffer_size(&frame), text);
    yk_buffer_fini(&frame);
}

BAD_PEER_TEST(garbage_is_refused, 0)
{
    static const char request[] = "GET / HTTP/1.1\r\n\r\n";
    static const unsigned char no_msgpack[] = {3, 0, 0, 0, 0xc1, 0xc1, 0xc1};
    static const unsigned char no_map[] = {1, 0, 0, 0, 42};

    attack_both(scene, request, sizeof request - 1, "frame of 542393671 bytes");
    attack_both(scene, no_msgpack, sizeof no_msgpack, "message");
    attack_both(scene, no_map, sizeof no_map, "message");
}

BAD_PEER_TEST(frames_of_impossible_size_are_refused, 0)
{
    static const unsigned char huge[] = {1, 0, 0, 4}, empty[] = {0, 0, 0, 0};

    attack_both(scene, huge, sizeof huge, "frame of 67108865 bytes");
    attack_both(scene, empty, sizeof empty, "frame of 0 bytes");
}

BAD_PEER_TEST(an_unknown_message_is_refused, 0)
{
    static const char body[] = "\x81\xa8msg_type\xa4Nope";
    unsigned char frame[4 + sizeof body - 1] = {sizeof body - 1};

    memcpy(frame + 4, body, sizeof body - 1);
    attack_both(scene, frame, sizeof frame, "Nope");
}

BAD_PEER_TEST(whoever_does_not_greet_first_is_refused, 0)
{
    struct yk_message start = a_start("00000000-0000-4000-8000-000000000666");

    attack_with(scene, false, &start, "something else before its Aid");
}

BAD_PEER_TEST(a_second_greeting_is_refused, 0)
{
    struct yk_message aid = an_aid("00000000-0000-4000-8000-000000000667");

    attack_with(scene, true, &aid, "villain sent a second Aid");
}

BAD_PEER_TEST(a_greeting_without_identity_is_refused, 0)
{
    struct yk_message nobody = an_aid("");
    struct yk_message endless = an_aid("00000000-0000-4000-8000-0000000006660");

    attack_with(scene, false, &nobody, "uuid is empty or too long");
    attack_with(scene, false, &endless, "uuid is empty or too long");
}

BAD_PEER_TEST(orders_of_a_parent_are_refused, 0)
{
    struct yk_message spec = {.type = YK_SPAWN_SPEC};

    attack_with(scene, true, &spec, "is not the parent");
}

/* Not his link's fault, as far as one can tell: he gets an error, and may go on. */
BAD_PEER_TEST(a_start_in_anothers_name_is_refused, 0)
{
    struct yk_message start = a_start("00000000-0000-4000-8000-000000000777"), answer;
    struct raw raw;

    raw_open(&raw, scene->address);
    hear_aid(&raw);
    greet(&raw);
    for (int i = 0; i < 2; i++) {
        yk_check_int(put_message(&raw, &start), 0);
        yk_check_int(next_message(&raw, &answer), 1);
        yk_check(answer.type == YK_ERROR && strcmp(answer.as.error.cid, "c1") == 0);
        yk_check(strstr(answer.as.error.message,
                        i == 0 ? "not the actor of this link" : "has no endpoint") != NULL);
        start.as.start.uid.uuid = "00000000-0000-4000-8000-000000000666";
    }
    raw_close(&raw);
}

BAD_PEER_TEST(whoever_hangs_up_before_he_greets_is_dropped, 0)
{
    struct yk_message aid = an_aid("00000000-0000-4000-8000-000000000666");
    struct yk_buffer frame;

    yk_buffer_init(&frame);
    yk_check_int(yk_message_encode(&frame, &aid, true), 0);
    for (size_t cut = 0; cut < yk_buffer_size(&frame); cut += 7) {
        struct raw raw;

        raw_open(&raw, scene->address);
        put(&raw, frame.data + frame.start, cut);
        raw_close(&raw);
        check_dropped(scene, "yoke.LinkLost: the peer hung up before it said who it is");
    }
    yk_buffer_fini(&frame);
}

/* And later he takes nobody with him, in whatever place of a frame. */
BAD_PEER_TEST(whoever_hangs_up_amid_a_frame_is_forgotten, 0)
{
    struct yk_message start = a_start("00000000-0000-4000-8000-000000000666");
    struct yk_buffer frame;

    yk_buffer_init(&frame);
    yk_check_int(yk_message_encode(&frame, &start, true), 0);
    for (size_t cut = 0; cut < yk_buffer_size(&frame); cut += 7) {
        struct raw raw;

        raw_open(&raw, scene->address);
        hear_aid(&raw);
        greet(&raw);
        put(&raw, frame.data + frame.start, cut);
        raw_close(&raw);
        check_unaffected(scene);
    }
    yk_buffer_fini(&frame);
}

BAD_PEER_TEST(whoever_never_greets_is_dropped_in_time, 50)
{
    struct raw raw;

    raw_open(&raw, scene->address);
    hear_aid(&raw);
    hear_farewell(&raw, "did not say who it is within 50 ms");
    raw_close(&raw);
    check_dropped(scene, "yoke.Unresponsive: a peer did not say who it is within 50 ms");
}

/* Half of a greeting is none. */
BAD_PEER_TEST(whoever_greets_too_slowly_is_dropped_in_time, 50)
{
    static const unsigned char beginning[] = {80, 0, 0, 0, 0x86};
    struct raw raw;

    raw_open(&raw, scene->address);
    hear_aid(&raw);
    put(&raw, beginning, sizeof beginning);
    hear_farewell(&raw, "did not say who it is within 50 ms");
    raw_close(&raw);
    check_dropped(scene, "yoke.Unresponsive");
}

BAD_PEER_TEST(too_many_who_never_greet_are_turned_away, 0)
{
    static struct raw crowd[YK_GREETINGS_MAX];
    struct yoke_portal *portal = NULL;
    struct raw raw;

    for (size_t i = 0; i < YK_GREETINGS_MAX; i++) {
        raw_open(&crowd[i], scene->address);
        hear_aid(&crowd[i]);
    }
    raw_open(&raw, scene->address);
    hear_farewell(&raw, "and not said who they are");
    raw_close(&raw);
    check_dropped(scene, "yoke.Refused: 256 peers");
    yk_check_int(yoke_portal_open(scene->address, NULL, &portal), YOKE_EREMOTE);
    yk_check_caught("yoke.Refused", NULL);
    check_dropped(scene, "yoke.Refused: 256 peers");
    for (size_t i = 0; i < YK_GREETINGS_MAX; i++)
        raw_close(&crowd[i]);
    for (size_t i = 0; i < YK_GREETINGS_MAX; i++)
        check_dropped(scene, "hung up");
    yk_check_int(yoke_portal_open(scene->address, NULL, &portal), 0);
    yoke_portal_close(portal);
}

/* Asks and asks, and never reads an answer. */
BAD_PEER_TEST(whoever_asks_on_and_reads_nothing_is_dropped, 0)
{
    struct yk_message start = a_start("00000000-0000-4000-8000-000000000666");
    struct raw raw;
    int rc = 0;

    raw_open(&raw, scene->address);
    greet(&raw);
    for (int i = 0; rc == 0 && i < 1000000; i++)
        rc = put_message(&raw, &start);
    yk_check(rc == -EPIPE || rc == -ECONNRESET);
    yoke_clear();
    check_dropped(scene, "villain asks on and on, and reads no answer");
    raw_close(&raw);
}

/* In a process of its own, with nothing but system calls: connects, and reads to the end. */
_Noreturn static void connect_as_nobody(const char *path)
{
    static const char reason[] = "as actors of one machine must be";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static char text[8192];
    size_t got = 0;
    ssize_t n = 1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%.107s", path);
    if (setgid(65534) < 0 || setuid(65534) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        _exit(1);
    while (n > 0 && got < sizeof text) {
        n = read(fd, text + got, sizeof text - got);
        got += n > 0 ? (size_t)n : 0;
    }
    _exit(n == 0 && memmem(text, got, reason, sizeof reason - 1) != NULL ? 0 : 2);
}

/* With the modes of directory and socket opened wide: the kernel's word still counts. */
BAD_PEER_TEST(another_users_process_is_refused, 0)
{
    const char *path = scene->address + strlen("unix:");
    char directory[YOKE_ADDRESS_MAX];
    int status = -1;
    pid_t pid;

    if (geteuid() != 0)
        return; /* only root can be somebody else for a while */
    snprintf(directory, sizeof directory, "%s", path);
    *strrchr(directory, '/') = '\0';
    yk_check_int(chmod(directory, 0755), 0);
    yk_check_int(chmod(path, 0666), 0);
    pid = fork();
    if (pid == 0)
        connect_as_nobody(path);
    yk_check(pid > 0);
    check_dropped(scene, "of user 65534 is not of user 0");
    yk_check_int(waitpid(pid, &status, 0), pid);
    yk_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    yk_check_int(chmod(directory, 0700), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        YK_OVER_PEERS(garbage_is_refused),
        YK_OVER_PEERS(frames_of_impossible_size_are_refused),
        YK_OVER_PEERS(an_unknown_message_is_refused),
        YK_OVER_PEERS(whoever_does_not_greet_first_is_refused),
        YK_OVER_PEERS(a_second_greeting_is_refused),
        YK_OVER_PEERS(a_greeting_without_identity_is_refused),
        YK_OVER_PEERS(orders_of_a_parent_are_refused),
        YK_OVER_PEERS(a_start_in_anothers_name_is_refused),
        YK_OVER_PEERS(whoever_hangs_up_before_he_greets_is_dropped),
        YK_OVER_PEERS(whoever_hangs_up_amid_a_frame_is_forgotten),
        YK_OVER_PEERS(whoever_never_greets_is_dropped_in_time),
        YK_OVER_PEERS(whoever_greets_too_slowly_is_dropped_in_time),
        YK_OVER_PEERS(too_many_who_never_greet_are_turned_away),
        YK_OVER_PEERS(whoever_asks_on_and_reads_nothing_is_dropped),
        YK_OVER(another_users_process_is_refused, "unix", &yk_via_unix),
    };

    yk_actors_begin(argc, argv);
    return cmocka_run_group_tests_name("bad peers", tests, NULL, NULL);
}
