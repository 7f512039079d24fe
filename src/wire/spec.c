/* SPDX-License-Identifier: MIT */
/*
 * Payload specs. A spec is a set of types, with the spec of the items if an array is among them and
 * those of the keys if a map is: one array and one map at most, so that a value that does not fit
 * has one place where it is wrong. Texts may come from peers: nesting is bounded, and nothing is
 * allocated that is not in proportion to the text.
 */
#include "wire/spec.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "wire/value.h"

enum { ANY = ~0u, EXPECTED_MAX = 80, PATH_MAX_ = 128 };

struct entry {
    const char *key;
    bool optional;
    const struct yk_spec *spec;
    struct entry *next;
};

struct yk_spec {
    unsigned types; /* bits, by enum yoke_value_type */
    const struct yk_spec *items;
    struct entry *entries;
    const struct yk_spec *others; /* of keys that no entry names; NULL: there may be none */
    const char *text;             /* as it was written */
    size_t text_n;
};

struct parser {
    struct yk_arena *arena;
    const char *begin, *at, *end;
    unsigned depth;
    char *fault;
};

static unsigned bit(enum yoke_value_type type)
{
    return 1u << type;
}

static void skip_space(struct parser *parser)
{
    while (parser->at < parser->end && isspace((unsigned char)*parser->at))
        parser->at++;
}

static size_t name_here(struct parser *parser)
{
    size_t n = 0;

    skip_space(parser);
    while (parser->at + n < parser->end &&
           (isalnum((unsigned char)parser->at[n]) || strchr("_-.", parser->at[n]) != NULL) &&
           parser->at[n] != '\0')
        n++;
    return n;
}

static const struct yk_spec *fail(struct parser *parser, const char *expected)
{
    size_t n = name_here(parser);
    int where = (int)(parser->at - parser->begin) + 1;

    if (n == 0 && parser->at < parser->end)
        n = 1;
    if (n == 0)
        snprintf(parser->fault, YK_SPEC_FAULT_SIZE, "at %d: expected %s, found the end", where,
                 expected);
    else
        snprintf(parser->fault, YK_SPEC_FAULT_SIZE, "at %d: expected %s, found \"%.*s\"", where,
                 expected, n > 40 ? 40 : (int)n, parser->at);
    return NULL;
}

static bool take(struct parser *parser, char c)
{
    skip_space(parser);
    if (parser->at == parser->end || *parser->at != c)
        return false;
    parser->at++;
    return true;
}

static bool take_word(struct parser *parser, const char *word)
{
    size_t n = name_here(parser);

    if (n != strlen(word) || memcmp(parser->at, word, n) != 0)
        return false;
    parser->at += n;
    return true;
}

static void *allocate(struct parser *parser, size_t size)
{
    void *memory = yk_arena_alloc(parser->arena, size);

    if (memory == NULL)
        snprintf(parser->fault, YK_SPEC_FAULT_SIZE, "no memory for the spec");
    return memory;
}

static const struct yk_spec *parse(struct parser *parser);

/* A key, copied; NULL: there is none here. */
static const char *parse_key(struct parser *parser)
{
    size_t n = name_here(parser);
    const char *quote;
    const char *key;

    if (take(parser, '\'')) {
        quote = memchr(parser->at, '\'', (size_t)(parser->end - parser->at));
        if (quote == NULL)
            return NULL;
        n = (size_t)(quote - parser->at);
        if (memchr(parser->at, ';', n) != NULL)
            return NULL; /* it parts the specs of an endpoint */
        key = yk_arena_strndup(parser->arena, parser->at, n);
        parser->at += n + 1;
        return key;
    }
    if (n == 0)
        return NULL;
    key = yk_arena_strndup(parser->arena, parser->at, n);
    parser->at += n;
    return key;
}

/* One entry of a map, put at `*place`, which is moved on. */
static bool parse_entry(struct parser *parser, struct yk_spec *spec, struct entry ***place)
{
    bool others = take(parser, '*');
    const char *key = others ? NULL : parse_key(parser);
    bool optional = !others && key != NULL && take(parser, '?');
    struct entry *entry;
    const struct yk_spec *value;

    if (!others && key == NULL)
        return fail(parser, "a key or *") != NULL;
    for (entry = spec->entries; entry != NULL; entry = entry->next)
        if (key != NULL && strcmp(entry->key, key) == 0) {
            snprintf(parser->fault, YK_SPEC_FAULT_SIZE, "at %d: the key \"%s\" is there twice",
                     (int)(parser->at - parser->begin) + 1, key);
            return false;
        }
    if (!take(parser, ':'))
        return fail(parser, "\":\"") != NULL;
    value = parse(parser);
    if (value == NULL)
        return false;
    if (others) {
        spec->others = value;
        return true;
    }
    entry = allocate(parser, sizeof *entry);
    if (entry == NULL)
        return false;
    *entry = (struct entry){.key = key, .optional = optional, .spec = value};
    **place = entry;
    *place = &entry->next;
    return true;
}

static bool parse_map(struct parser *parser, struct yk_spec *spec)
{
    struct entry **place = &spec->entries;

    if ((spec->types & bit(YOKE_MAP_VALUE)) != 0)
        return fail(parser, "one map at most") != NULL;
    spec->types |= bit(YOKE_MAP_VALUE);
    if (take(parser, '}'))
        return true;
    do {
        if (!parse_entry(parser, spec, &place))
            return false;
    } while (take(parser, ','));
    return take(parser, '}') || fail(parser, "\",\" or \"}\"") != NULL;
}

static bool parse_array(struct parser *parser, struct yk_spec *spec)
{
    if ((spec->types & bit(YOKE_ARRAY_VALUE)) != 0)
        return fail(parser, "one array at most") != NULL;
    spec->types |= bit(YOKE_ARRAY_VALUE);
    spec->items = parse(parser);
    if (spec->items == NULL)
        return false;
    return take(parser, ']') || fail(parser, "\"]\"") != NULL;
}

static bool parse_one(struct parser *parser, struct yk_spec *spec)
{
    static const struct {
        const char *word;
        unsigned types;
    } words[] = {
        {"any", ANY},
        {"nil", 1u << YOKE_NIL},
        {"bool", 1u << YOKE_BOOL},
        {"int", 1u << YOKE_INT | 1u << YOKE_UINT},
        {"float", 1u << YOKE_FLOAT | 1u << YOKE_INT | 1u << YOKE_UINT},
        {"str", 1u << YOKE_STR},
        {"bytes", 1u << YOKE_BIN},
        {"ext", 1u << YOKE_EXT},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (take_word(parser, words[i].word)) {
            spec->types |= words[i].types;
            return true;
        }
    if (take(parser, '['))
        return parse_array(parser, spec);
    if (take(parser, '{'))
        return parse_map(parser, spec);
    return fail(parser, "a type") != NULL;
}

static const struct yk_spec *parse(struct parser *parser)
{
    struct yk_spec *spec = allocate(parser, sizeof *spec);

    if (spec == NULL)
        return NULL;
    if (parser->depth == YK_SPEC_DEPTH_MAX) {
        snprintf(parser->fault, YK_SPEC_FAULT_SIZE, "nested deeper than %d", YK_SPEC_DEPTH_MAX);
        return NULL;
    }
    parser->depth++;
    skip_space(parser);
    spec->text = parser->at;
    do {
        if (!parse_one(parser, spec))
            return NULL;
        spec->text_n = (size_t)(parser->at - spec->text);
    } while (take_word(parser, "or"));
    parser->depth--;
    return spec;
}

const struct yk_spec *yk_spec_parse(struct yk_arena *arena, const char *text, size_t n,
                                    char fault[YK_SPEC_FAULT_SIZE])
{
    struct parser parser = {.arena = arena, .fault = fault};
    const struct yk_spec *spec;

    parser.begin = yk_arena_strndup(arena, text, n);
    if (parser.begin == NULL) {
        snprintf(fault, YK_SPEC_FAULT_SIZE, "no memory for the spec");
        return NULL;
    }
    parser.at = parser.begin;
    parser.end = parser.begin + n;
    spec = parse(&parser);
    if (spec == NULL)
        return NULL;
    skip_space(&parser);
    return parser.at == parser.end ? spec : fail(&parser, "\"or\" or the end");
}

bool yk_spec_takes(const struct yk_spec *spec, enum yoke_value_type type)
{
    return spec == NULL || (spec->types & bit(type)) != 0;
}

/* Where in a value the check is. */
struct path {
    char text[PATH_MAX_];
    size_t n;
    char *fault;
};

static size_t go_on(struct path *path, int n)
{
    size_t before = path->n, room = sizeof path->text - before;

    path->n = (size_t)n < room ? before + (size_t)n : sizeof path->text - 1;
    return before;
}

static size_t go_in(struct path *path, const char *separator, const char *key)
{
    return go_on(path, snprintf(path->text + path->n, sizeof path->text - path->n, "%s%s",
                                separator, key));
}

static size_t go_to_item(struct path *path, size_t index)
{
    return go_on(path, snprintf(path->text + path->n, sizeof path->text - path->n, "[%zu]", index));
}

static void go_out(struct path *path, size_t before)
{
    path->n = before;
    path->text[before] = '\0';
}

static void say_expected(const struct path *path, const struct yk_spec *spec, const char *found)
{
    bool cut = spec->text_n > EXPECTED_MAX;

    snprintf(path->fault, YK_SPEC_FAULT_SIZE, "%s: expected %.*s%s, found %s", path->text,
             cut ? EXPECTED_MAX : (int)spec->text_n, spec->text, cut ? "..." : "", found);
}

static bool check(const struct yk_spec *spec, const struct yoke_value *value, struct path *path);

static bool check_items(const struct yk_spec *spec, const struct yoke_value *value,
                        struct path *path)
{
    for (size_t i = 0; i < value->as.array.n; i++) {
        size_t before = go_to_item(path, i);

        if (!check(spec->items, &value->as.array.items[i], path))
            return false;
        go_out(path, before);
    }
    return true;
}

static const struct entry *find_entry(const struct yk_spec *spec, const char *key)
{
    for (const struct entry *entry = spec->entries; entry != NULL; entry = entry->next)
        if (strcmp(entry->key, key) == 0)
            return entry;
    return NULL;
}

static bool check_pair(const struct yk_spec *spec, const struct yoke_pair *pair, struct path *path)
{
    const struct entry *entry = find_entry(spec, pair->key);
    const struct yk_spec *of_value = entry != NULL ? entry->spec : spec->others;
    size_t before = go_in(path, ".", pair->key);

    if (of_value == NULL) {
        snprintf(path->fault, YK_SPEC_FAULT_SIZE, "%s: expected no such key, found %s", path->text,
                 yk_value_type_name(pair->value.type));
        return false;
    }
    if (!check(of_value, &pair->value, path))
        return false;
    go_out(path, before);
    return true;
}

static bool has_key(const struct yoke_value *value, const char *key)
{
    for (size_t i = 0; i < value->as.map.n; i++)
        if (strcmp(value->as.map.pairs[i].key, key) == 0)
            return true;
    return false;
}

static bool check_map(const struct yk_spec *spec, const struct yoke_value *value, struct path *path)
{
    for (size_t i = 0; i < value->as.map.n; i++)
        if (!check_pair(spec, &value->as.map.pairs[i], path))
            return false;
    for (const struct entry *entry = spec->entries; entry != NULL; entry = entry->next)
        if (!entry->optional && !has_key(value, entry->key)) {
            (void)go_in(path, ".", entry->key);
            say_expected(path, entry->spec, "nothing");
            return false;
        }
    return true;
}

static bool check(const struct yk_spec *spec, const struct yoke_value *value, struct path *path)
{
    if (spec->types == ANY)
        return true;
    /* A value that an application made may have any number for a type; it is refused elsewhere. */
    if ((unsigned)value->type > YOKE_EXT || (spec->types & bit(value->type)) == 0) {
        say_expected(path, spec, yk_value_type_name(value->type));
        return false;
    }
    if (value->type == YOKE_ARRAY_VALUE)
        return check_items(spec, value, path);
    if (value->type == YOKE_MAP_VALUE)
        return check_map(spec, value, path);
    return true;
}

bool yk_spec_check(const struct yk_spec *spec, struct yoke_value value, const char *what,
                   char fault[YK_SPEC_FAULT_SIZE])
{
    struct path path = {.fault = fault};

    if (spec == NULL)
        return true;
    (void)go_in(&path, "", what);
    return check(spec, &value, &path);
}
