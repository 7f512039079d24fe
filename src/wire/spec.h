/* SPDX-License-Identifier: MIT */
/*
 * Payload specs: which values may be sent, as a text that is parsed once and checked against
 * values. Pure.
 *
 *   spec  = one { "or" one }            at most one array and one map among them
 *   one   = "any" | "nil" | "bool" | "int" | "float" | "str" | "bytes" | "ext"
 *         | "[" spec "]"                an array of it
 *         | "{" [ entry { "," entry } ] "}"
 *   entry = key ":" spec                a key that must be there
 *         | key "?" ":" spec            one that may be missing
 *         | "*" ":" spec                what any other key must have; without it there is none
 *
 * A key is a name of letters, digits, "_", "-" and ".", or a text without ";" in
 * single quotes. An int does for
 * a float, as it is read by yoke_value_float.
 */
#ifndef YK_WIRE_SPEC_H
#define YK_WIRE_SPEC_H

#include <yoke/value.h>

#include "base/arena.h"

enum { YK_SPEC_FAULT_SIZE = 320, YK_SPEC_DEPTH_MAX = 32 };

struct yk_spec;

/*
 * Parses `n` bytes of text. The result lives in `arena`, with a copy of the text. NULL: `fault`
 * says why, and where: "at 5: expected a type, found \"strr\"".
 */
const struct yk_spec *yk_spec_parse(struct yk_arena *arena, const char *text, size_t n,
                                    char fault[YK_SPEC_FAULT_SIZE]);

/* Whether values of that type may be as the spec says; NULL: anything is. */
bool yk_spec_takes(const struct yk_spec *spec, enum yoke_value_type type);

/*
 * Whether a value is as the spec says; `spec` NULL: anything is. If not, `fault` names where in
 * `what`, what was expected and what was found: "args.files[3].size: expected int, found str".
 */
bool yk_spec_check(const struct yk_spec *spec, struct yoke_value value, const char *what,
                   char fault[YK_SPEC_FAULT_SIZE]);

#endif
