/* SPDX-License-Identifier: MIT */
/*
 * The error object: making, reading, counting, freeing.
 *
 * One allocation holds the object, its backtrace, its type and its message; what few errors have
 * (notes, lists, the part of remote ones) is allocated when it is added. Once raised only the
 * runtime changes an error, by adding to what it carries. Runs on any stack; making one needs about
 * 1.5 KiB of it. A raise is to cost little more than writing its message: nothing is cleared that
 * is written anyway, and no lock is taken.
 *
 * Decided against: one shared copy of the actor's identity for all its errors. An error outlives
 * its runtime, so it would have to be counted; copying 170 bytes costs less than that.
 *
 * Statistics count at both ends of an object's life, never between: an error is settled or
 * lost for good only when it is destroyed, since a caught one may be put in flight again. So
 * raised = settled + lost + live at any time.
 *
 * Without memory one of two static errors takes the place of a new one. They can't carry anything
 * and are not counted; flight.c sees to it that they never displace an error.
 */
#include "error/error.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/memory.h"
#include "base/text.h"
#include "error/stats.h"

static void in_place(void (*fn)(void *arg), void *arg)
{
    fn(arg);
}

void (*yk_on_big_stack)(void (*fn)(void *arg), void *arg) = in_place;

static struct yoke_error out_of_memory = {
    .node = {.refs = 1, .immortal = true},
    .fate = YK_FATE_SETTLED,
    .code = -ENOMEM,
    .type = "yoke.OutOfMemory",
    .message = "no memory for the error that was raised",
    .site = {"", "", 0},
};

static struct yoke_error cancelled_out_of_memory = {
    .node = {.refs = 1, .immortal = true},
    .fate = YK_FATE_SETTLED,
    .cancelled = true,
    .code = YOKE_CANCELLED,
    .type = "yoke.Cancelled",
    .message = "no memory to say why",
    .site = {"", "", 0},
};

struct yoke_error *yk_error_out_of_memory(void)
{
    return &out_of_memory;
}

/* -errno or a yoke code. Only scopes make a Cancelled, so its code can't be raised by hand. */
static int normal_code(int code)
{
    if (code == 0)
        return -EINVAL;
    if (code > 0)
        code = -code;
    return code == YOKE_CANCELLED ? -ECANCELED : code;
}

/* Copies text of bounded length behind the object; returns where the next one goes. */
static char *place(char *at, const char *text, size_t n, const char **ret)
{
    memcpy(at, text, n);
    at[n] = '\0';
    *ret = at;
    return at + n + 1;
}

/*
 * Hides a size from the compiler. For one that it knows, gcc writes "rep stos" or "rep movs" in
 * place, which at some hundred bytes are slower than the functions of libc.
 */
static size_t not_constant(size_t n)
{
    __asm__("" : "+r"(n));
    return n;
}

/* What is attached to an error later is cleared here; actor and task are the caller's to fill in.
 */
static struct yoke_error *allocate(void *const *frames, size_t frames_n, const char *type, int code,
                                   const char *message, size_t message_n)
{
    size_t type_n = strnlen(type, YK_ERROR_TYPE_MAX - 1);
    size_t frames_size = frames_n * sizeof *frames;
    struct yoke_error *error = yk_malloc(sizeof *error + frames_size + type_n + message_n + 2);
    char *at;

    if (error == NULL)
        return NULL;
    memset(error, 0, not_constant(offsetof(struct yoke_error, actor)));
    atomic_init(&error->node.refs, 1);
    error->code = code;
    error->site = (struct yoke_site){"", "", 0};
    at = (char *)(error + 1);
    if (frames_n > 0)
        memcpy(at, frames, frames_size);
    error->frames = (void *const *)(void *)at;
    error->frames_n = frames_n;
    at = place(at + frames_size, type, type_n, &error->type);
    place(at, message, message_n, &error->message);
    yk_count(YK_COUNT_RAISED);
    return error;
}

struct yoke_error *yk_error_new_at(void *const *frames, size_t frames_n, const char *type, int code,
                                   const char *message)
{
    struct yoke_error *error = allocate(frames, frames_n, type, code, message, strlen(message));

    if (error == NULL)
        return NULL;
    memset(&error->actor, 0, sizeof error->actor);
    error->task_name[0] = '\0';
    return error;
}

struct yoke_error *yk_error_new(const char *type, int code, const char *message)
{
    return yk_error_new_at(NULL, 0, type, code, message);
}

/* A new error that says where it was raised: here. */
static struct yoke_error *make_at(void *const *frames, size_t frames_n,
                                  const struct yoke_site *site, const char *type, int code,
                                  const char *message, size_t message_n)
{
    const struct yk_locus *locus = yk_locus();
    struct yoke_error *error = allocate(frames, frames_n, type, code, message, message_n);

    if (error == NULL)
        return NULL;
    if (site != NULL)
        error->site = *site;
    memcpy(&error->actor, locus->actor, not_constant(sizeof error->actor));
    error->task_id = locus->task_id;
    YK_TEXT_COPY(error->task_name, locus->task_name);
    return error;
}

static struct yoke_error *make(const void *frame, const struct yoke_site *site, const char *type,
                               int code, const char *message, size_t message_n)
{
    void *frames[YK_BACKTRACE_MAX];
    size_t frames_n = yk_backtrace_take(yk_locus(), frame, frames, YK_BACKTRACE_MAX);

    return make_at(frames, frames_n, site, type, code, message, message_n);
}

struct yoke_error *yk_error_make_at(const void *frame, const struct yoke_site *site,
                                    const char *type, int code, const char *format,
                                    va_list arguments)
{
    char message[YK_ERROR_MESSAGE_MAX];
    size_t n = yk_format(message, sizeof message, format, arguments);
    struct yoke_error *error =
        make(frame, site, type == NULL ? "yoke.Error" : type, normal_code(code), message, n);

    return error == NULL ? &out_of_memory : error;
}

__attribute__((noinline)) struct yoke_error *yk_error_make(const struct yoke_site *site,
                                                           const char *type, int code,
                                                           const char *format, ...)
{
    struct yoke_error *error;
    va_list arguments;

    va_start(arguments, format);
    error = yk_error_make_at(__builtin_frame_address(0), site, type, code, format, arguments);
    va_end(arguments);
    return error;
}

struct yoke_error *yk_error_make_cancelled(const void *frame, const struct yoke_site *site,
                                           const struct yoke_cause *cause,
                                           struct yoke_cause *const *inner, size_t inner_n)
{
    struct yoke_error *error = make(frame, site, "yoke.Cancelled", YOKE_CANCELLED, "", 0);

    if (error == NULL)
        return &cancelled_out_of_memory;
    error->cancelled = true;
    yk_error_set_causes(error, cause, inner, inner_n);
    return error;
}

struct yoke_error *yk_error_make_cancelled_at(void *const *frames, size_t frames_n,
                                              const struct yoke_cause *cause)
{
    struct yoke_error *error =
        make_at(frames, frames_n, NULL, "yoke.Cancelled", YOKE_CANCELLED, "", 0);

    if (error == NULL)
        return &cancelled_out_of_memory;
    error->cancelled = true;
    error->cause = yoke_cause_ref(cause);
    return error;
}

void yk_error_set_causes(struct yoke_error *error, const struct yoke_cause *cause,
                         struct yoke_cause *const *inner, size_t inner_n)
{
    struct yoke_cause *old = error->cause;
    struct yoke_cause **old_inner = error->inner_causes;
    size_t old_n = error->inner_causes_n;
    struct yoke_cause **kept;

    if (inner_n > YK_INNER_CAUSES_MAX)
        inner_n = YK_INNER_CAUSES_MAX;
    /* Without memory the inner causes are left out: the target is what must be told. */
    kept = inner_n == 0 ? NULL : yk_malloc(inner_n * sizeof(*kept));
    if (kept == NULL)
        inner_n = 0;
    for (size_t i = 0; i < inner_n; i++)
        kept[i] = yoke_cause_ref(inner[i]);
    yk_node_lock();
    error->cause = yoke_cause_ref(cause);
    error->inner_causes = kept;
    error->inner_causes_n = inner_n;
    yk_node_unlock();
    /* Dropped last: the new ones may be borrowed from them. */
    for (size_t i = 0; i < old_n; i++)
        yoke_cause_unref(old_inner[i]);
    free(old_inner);
    yoke_cause_unref(old);
}

int yk_error_rc(const struct yoke_error *error)
{
    /* These two are answers of the peer's runtime, not errors of its program. */
    if (error->code == YOKE_EPEERCANCELLED || error->code == YOKE_ENOTEXPOSED)
        return error->code;
    return error->remote != NULL ? YOKE_EREMOTE : error->code;
}

bool yk_error_add_note(struct yoke_error *error, const char *text)
{
    size_t n = strnlen(text, YK_ERROR_MESSAGE_MAX - 1);
    char *note;

    if (error->node.immortal || error->notes_n >= YK_ERROR_NOTES_MAX)
        return false;
    if (error->notes == NULL)
        error->notes = yk_malloc(YK_ERROR_NOTES_MAX * sizeof(*error->notes));
    note = error->notes == NULL ? NULL : yk_malloc(n + 1);
    if (note == NULL)
        return false;
    memcpy(note, text, n);
    note[n] = '\0';
    /* Written before it is counted: a thread that shares the error reads no further than that. */
    error->notes[error->notes_n] = note;
    error->notes_n++;
    return true;
}

static bool same_actor(const struct yoke_actor_id *a, const struct yoke_actor_id *b)
{
    if (a->uuid[0] != '\0' || b->uuid[0] != '\0')
        return strcmp(a->uuid, b->uuid) == 0;
    return strcmp(a->name, b->name) == 0 && a->pid == b->pid && strcmp(a->host, b->host) == 0;
}

static struct yk_remote *remote_new(const struct yoke_actor_id *source)
{
    struct yk_remote *remote = yk_calloc(1, sizeof *remote);

    if (remote == NULL)
        return NULL;
    remote->source = *source;
    remote->relay = yk_malloc(sizeof *remote->relay);
    if (remote->relay == NULL) {
        free(remote);
        return NULL;
    }
    remote->relay[remote->relay_n++] = *source;
    return remote;
}

bool yk_error_copy_remote(struct yoke_error *error, const struct yk_remote *remote)
{
    struct yk_remote *copy = yk_calloc(1, sizeof *copy);
    const char *traceback = remote->traceback == NULL ? "" : remote->traceback;
    size_t traceback_n = strlen(traceback) + 1;

    if (copy == NULL)
        return false;
    copy->source = remote->source;
    copy->relay_n = remote->relay_n;
    copy->relay = yk_malloc((remote->relay_n + 1) * sizeof *copy->relay);
    copy->traceback = yk_malloc(traceback_n);
    if (copy->relay == NULL || copy->traceback == NULL) {
        free(copy->relay);
        free(copy->traceback);
        free(copy);
        return false;
    }
    if (remote->relay_n > 0)
        memcpy(copy->relay, remote->relay, remote->relay_n * sizeof *copy->relay);
    memcpy(copy->traceback, traceback, traceback_n);
    error->remote = copy;
    return true;
}

int yk_error_add_relay(struct yoke_error *error, const struct yoke_actor_id *actor)
{
    struct yk_remote *remote = error->remote;
    struct yoke_actor_id *relay;

    if (error->node.immortal)
        return -ENOMEM;
    if (remote == NULL) {
        remote = error->remote = remote_new(&error->actor);
        if (remote == NULL)
            return -ENOMEM;
    }
    if (remote->relay_n > 0 && same_actor(&remote->relay[remote->relay_n - 1], actor))
        return 0;
    if (remote->relay_n >= YK_RELAY_MAX)
        return -ELOOP;
    relay = yk_realloc(remote->relay, (remote->relay_n + 1) * sizeof *relay);
    if (relay == NULL)
        return -ENOMEM;
    relay[remote->relay_n++] = *actor;
    remote->relay = relay;
    return 0;
}

/* What ordinary errors don't have. */
static void free_parts(struct yoke_error *error)
{
    size_t notes_n = error->notes_n;

    for (size_t i = 0; i < notes_n; i++)
        free(error->notes[i]);
    free(error->notes);
    free(error->suppressed.items);
    free(error->members.items);
    free(error->inner_causes);
    free(error->site_strings);
    if (error->remote != NULL) {
        free(error->remote->relay);
        free(error->remote->traceback);
        free(error->remote);
    }
}

void yk_error_free(struct yoke_error *error)
{
    bool settled = atomic_load_explicit(&error->fate, memory_order_relaxed) == YK_FATE_SETTLED;

    yk_count(settled ? YK_COUNT_SETTLED : YK_COUNT_LOST);
    if (error->notes != NULL || error->suppressed.items != NULL || error->members.items != NULL ||
        error->inner_causes != NULL || error->site_strings != NULL || error->remote != NULL)
        free_parts(error);
    free(error);
}

struct yoke_error *yoke_error_ref(const struct yoke_error *error)
{
    /* A reference is a right to read and to drop; counting it changes nothing that is said. */
    struct yoke_error *mine = (struct yoke_error *)(uintptr_t)error;

    if (mine != NULL)
        yk_node_ref(&mine->node);
    return mine;
}

struct yoke_error *yoke_error_unref(struct yoke_error *error)
{
    if (error != NULL)
        yk_node_unref(&error->node);
    return NULL;
}

void yk_error_settle(struct yoke_error *error)
{
    yk_node_settle(error);
}

void yk_error_absorb(struct yoke_error *error)
{
    yk_node_settle(error);
    yoke_error_unref(error);
}

const char *yoke_error_type(const struct yoke_error *error)
{
    return error->type;
}

int yoke_error_code(const struct yoke_error *error)
{
    return yk_error_rc(error);
}

int yoke_error_errno(const struct yoke_error *error)
{
    return error->code;
}

const char *yoke_error_message(const struct yoke_error *error)
{
    return error->message;
}

const struct yoke_site *yoke_error_site(const struct yoke_error *error)
{
    return &error->site;
}

const struct yoke_error *yoke_error_context(const struct yoke_error *error)
{
    return error->context;
}

const struct yoke_error *yoke_error_because(const struct yoke_error *error)
{
    return error->because;
}

size_t yoke_error_suppressed_count(const struct yoke_error *error)
{
    return error->suppressed.n;
}

const struct yoke_error *yoke_error_suppressed(const struct yoke_error *error, size_t i)
{
    return i < error->suppressed.n ? error->suppressed.items[i] : NULL;
}

size_t yoke_error_member_count(const struct yoke_error *error)
{
    return error->members.n;
}

const struct yoke_error *yoke_error_member(const struct yoke_error *error, size_t i)
{
    return i < error->members.n ? error->members.items[i] : NULL;
}

size_t yoke_error_note_count(const struct yoke_error *error)
{
    return error->notes_n;
}

const char *yoke_error_note(const struct yoke_error *error, size_t i)
{
    return i < error->notes_n ? error->notes[i] : NULL;
}

size_t yoke_error_backtrace(const struct yoke_error *error, void *const **ret_addresses)
{
    *ret_addresses = error->frames;
    return error->frames_n;
}

bool yoke_error_is_cancelled(const struct yoke_error *error)
{
    return error->cancelled;
}

const struct yoke_cause *yoke_error_cause(const struct yoke_error *error)
{
    if (error == &cancelled_out_of_memory)
        return yk_cause_out_of_memory(YOKE_CAUSE_SCOPE);
    return error->cause;
}

size_t yoke_error_inner_cause_count(const struct yoke_error *error)
{
    return error->inner_causes_n;
}

const struct yoke_cause *yoke_error_inner_cause(const struct yoke_error *error, size_t i)
{
    return i < error->inner_causes_n ? error->inner_causes[i] : NULL;
}

const struct yoke_actor_id *yoke_error_actor(const struct yoke_error *error)
{
    return &error->actor;
}

uint64_t yoke_error_task_id(const struct yoke_error *error)
{
    return error->task_id;
}

const char *yoke_error_task_name(const struct yoke_error *error)
{
    return error->task_name;
}

const struct yoke_actor_id *yoke_error_source(const struct yoke_error *error)
{
    return error->remote == NULL ? NULL : &error->remote->source;
}

size_t yoke_error_relay_count(const struct yoke_error *error)
{
    return error->remote == NULL ? 0 : error->remote->relay_n;
}

const struct yoke_actor_id *yoke_error_relay(const struct yoke_error *error, size_t i)
{
    return i < yoke_error_relay_count(error) ? &error->remote->relay[i] : NULL;
}

const char *yoke_error_traceback(const struct yoke_error *error)
{
    return error->remote == NULL || error->remote->traceback == NULL ? ""
                                                                     : error->remote->traceback;
}
