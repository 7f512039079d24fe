/* SPDX-License-Identifier: MIT */
/*
 * What an endpoint's payloads may be: the five specs of its registration, parsed before main, and
 * what of an opener's own idea of them came with its Start.
 *
 * Who sends is told at its call, and nothing is sent. Who receives checks when it takes the value,
 * as tractor does, and fails with the same error, which by the rules of contexts reaches the
 * sender: an endpoint's is its outcome; an opener's cancels the endpoint with a cause that carries
 * it. The opener's specs are those of the endpoint of that name in its own program; they travel, so
 * that a peer of another version is told by its own call, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "actor/actor.h"
#include "base/check.h"
#include "base/memory.h"
#include "wire/spec.h"

struct yk_specs {
    struct yk_arena arena;
    const struct yk_spec *of[YK_SPECS];
    const char *text; /* as it travels: without those of the arguments */
};

static const char *const names[] = {"args", "started", "stream_in", "stream_out", "result"};
_Static_assert(sizeof names / sizeof *names == YK_SPECS, "a spec without a name");

const char *yk_specs_text(const struct yk_specs *specs)
{
    return specs != NULL ? specs->text : "";
}

void yk_specs_free(struct yk_specs *specs)
{
    if (specs == NULL)
        return;
    yk_arena_fini(&specs->arena);
    free(specs);
}

static _Noreturn void bad_endpoint(const char *name, const char *spec, const char *fault)
{
    yk_misuse(NULL, NULL, NULL, "endpoint \"%s\", .%s: %s", name, spec, fault);
}

/* "started: TEXT; result: TEXT" */
static const char *join(struct yk_specs *specs, const char *const *texts)
{
    const char *joined = "";

    for (size_t i = YK_SPEC_ARGS + 1; i < YK_SPECS && joined != NULL; i++)
        if (texts[i] != NULL)
            joined = yk_arena_printf(&specs->arena, "%s%s%s: %s", joined,
                                     joined[0] != '\0' ? "; " : "", names[i], texts[i]);
    return joined;
}

struct yk_specs *yk_specs_of_endpoint(const struct yoke_endpoint *endpoint)
{
    const struct yoke_endpoint_specs *given = &endpoint->specs;
    const char *texts[] = {given->args, given->started, given->stream_in, given->stream_out,
                           given->result};
    struct yk_specs *specs;
    char fault[YK_SPEC_FAULT_SIZE];
    size_t said = 0;

    for (size_t i = 0; i < YK_SPECS; i++)
        said += texts[i] != NULL;
    if (said == 0)
        return NULL;
    specs = yk_calloc(1, sizeof *specs);
    if (specs == NULL)
        bad_endpoint(endpoint->name, names[0], "no memory");
    yk_arena_init(&specs->arena);
    for (size_t i = 0; i < YK_SPECS; i++) {
        if (texts[i] == NULL)
            continue;
        specs->of[i] = yk_spec_parse(&specs->arena, texts[i], strlen(texts[i]), fault);
        if (specs->of[i] == NULL)
            bad_endpoint(endpoint->name, names[i], fault);
    }
    if (!yk_spec_takes(specs->of[YK_SPEC_ARGS], YOKE_MAP_VALUE))
        bad_endpoint(endpoint->name, names[0], "arguments are a map");
    specs->text = join(specs, texts);
    if (specs->text == NULL)
        bad_endpoint(endpoint->name, names[0], "no memory");
    return specs;
}

/* One part of a text that travelled; those that we don't know are of a newer peer. */
static bool parse_part(struct yk_specs *specs, const char *part, size_t n, char *fault)
{
    while (n > 0 && *part == ' ') {
        part++;
        n--;
    }
    for (size_t i = YK_SPEC_ARGS + 1; i < YK_SPECS; i++) {
        size_t name_n = strlen(names[i]);

        if (n <= name_n || memcmp(part, names[i], name_n) != 0 || part[name_n] != ':')
            continue;
        specs->of[i] = yk_spec_parse(&specs->arena, part + name_n + 1, n - name_n - 1, fault);
        return specs->of[i] != NULL;
    }
    return true;
}

int yk_specs_received(const char *text, struct yk_specs **ret_specs)
{
    struct yk_specs *specs = yk_calloc(1, sizeof *specs);
    char fault[YK_SPEC_FAULT_SIZE];

    if (specs == NULL)
        return yoke_raise("yoke.Context", ENOMEM, "no memory for payload specs");
    yk_arena_init(&specs->arena);
    for (const char *part = text; *part != '\0';) {
        size_t n = strcspn(part, ";");

        if (!parse_part(specs, part, n, fault)) {
            yk_specs_free(specs);
            return yoke_raise("yoke.BadMessage", EBADMSG, "Start.pld_spec: %s", fault);
        }
        part += n + (part[n] == ';');
    }
    specs->text = "";
    *ret_specs = specs;
    return 0;
}

static const char *what_of(enum yk_spec_of which)
{
    return which == YK_SPEC_IN || which == YK_SPEC_OUT ? "value" : names[which];
}

int yk_specs_check_sent(const struct yk_dialog *dialog, enum yk_spec_of which,
                        struct yoke_value value)
{
    const struct yk_specs *sides[] = {dialog->specs, dialog->peer_specs};
    char fault[YK_SPEC_FAULT_SIZE];

    for (size_t i = 0; i < 2; i++)
        if (sides[i] != NULL && !yk_spec_check(sides[i]->of[which], value, what_of(which), fault))
            return yoke_raise("yoke.MsgTypeError", EBADMSG, "%s of %s, not sent%s: %s",
                              names[which], dialog->endpoint,
                              i == 1 ? " since the peer would refuse it" : "", fault);
    return 0;
}

int yk_specs_check_received(const struct yk_specs *specs, const char *endpoint,
                            const struct yoke_portal *portal, enum yk_spec_of which,
                            struct yoke_value value)
{
    char fault[YK_SPEC_FAULT_SIZE];

    if (specs == NULL || yk_spec_check(specs->of[which], value, what_of(which), fault))
        return 0;
    return yoke_raise("yoke.MsgTypeError", EBADMSG, "%s of %s, sent by %s: %s", names[which],
                      endpoint, portal->id.name, fault);
}
