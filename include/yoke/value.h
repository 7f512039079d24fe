/* SPDX-License-Identifier: MIT */
/*
 * Values: what endpoints take and streams carry; the data model of msgpack. A value is a small
 * struct by value whose strings, arrays and maps it borrows: those you build live in your frame,
 * those you receive live as long as the receiving call says. Sending encodes at once, so nothing
 * needs to outlive the call.
 *
 *   yoke_call(portal, "shop:order", YOKE_MAP({"item", yoke_str("tea")}, {"n", yoke_int(2)}), &r);
 */
#ifndef YOKE_VALUE_H
#define YOKE_VALUE_H

#include <string.h>
#include <yoke/common.h>
#ifdef __cplusplus
#include <initializer_list>
#endif

YOKE_BEGIN

enum yoke_value_type {
    YOKE_NIL = 0,
    YOKE_BOOL,
    YOKE_INT,  /* negative or not, fits int64_t */
    YOKE_UINT, /* only values above INT64_MAX */
    YOKE_FLOAT,
    YOKE_STR, /* UTF-8, not NUL-terminated when received */
    YOKE_BIN,
    YOKE_ARRAY_VALUE,
    YOKE_MAP_VALUE,
    YOKE_EXT,
};

struct yoke_pair;

struct yoke_value {
    enum yoke_value_type type;
    bool single;     /* float: was, or is to be, 32 bits on the wire */
    int8_t ext_type; /* ext */
    union {
        bool boolean;
        int64_t integer;
        uint64_t unsigned_integer;
        double number;
        struct {
            const char *data;
            size_t size;
        } str; /* also bin and ext */
        struct {
            const struct yoke_value *items;
            size_t n;
        } array;
        struct {
            const struct yoke_pair *pairs;
            size_t n;
        } map;
    } as;
};

/* A map entry. Keys are strings; a received map with other keys is refused as -EBADMSG. */
struct yoke_pair {
    const char *key; /* NUL-terminated, also when received */
    struct yoke_value value;
};

static inline struct yoke_value yoke_nil(void)
{
    struct yoke_value v;
    memset(&v, 0, sizeof v);
    return v;
}
static inline struct yoke_value yoke_bool(bool b)
{
    struct yoke_value v = yoke_nil();
    v.type = YOKE_BOOL;
    v.as.boolean = b;
    return v;
}
static inline struct yoke_value yoke_int(int64_t i)
{
    struct yoke_value v = yoke_nil();
    v.type = YOKE_INT;
    v.as.integer = i;
    return v;
}
static inline struct yoke_value yoke_uint(uint64_t u)
{
    struct yoke_value v = yoke_nil();
    v.type = u <= (uint64_t)INT64_MAX ? YOKE_INT : YOKE_UINT;
    v.as.unsigned_integer = u;
    return v;
}
static inline struct yoke_value yoke_float(double d)
{
    struct yoke_value v = yoke_nil();
    v.type = YOKE_FLOAT;
    v.as.number = d;
    return v;
}
static inline struct yoke_value yoke_str_n(const char *s, size_t n)
{
    struct yoke_value v = yoke_nil();
    v.type = YOKE_STR;
    v.as.str.data = s;
    v.as.str.size = n;
    return v;
}
static inline struct yoke_value yoke_str(const char *s)
{
    return s == NULL ? yoke_nil() : yoke_str_n(s, strlen(s));
}
static inline struct yoke_value yoke_bin(const void *data, size_t n)
{
    struct yoke_value v = yoke_str_n((const char *)data, n);
    v.type = YOKE_BIN;
    return v;
}
static inline struct yoke_value yoke_array(const struct yoke_value *items, size_t n)
{
    struct yoke_value v = yoke_nil();
    v.type = YOKE_ARRAY_VALUE;
    v.as.array.items = items;
    v.as.array.n = n;
    return v;
}
static inline struct yoke_value yoke_map(const struct yoke_pair *pairs, size_t n)
{
    struct yoke_value v = yoke_nil();
    v.type = YOKE_MAP_VALUE;
    v.as.map.pairs = pairs;
    v.as.map.n = n;
    return v;
}

/*
 * Arrays and maps in place; they live in the enclosing block, in C++ to the end of the expression.
 * Use yoke_nil() for an empty map.
 */
#ifdef __cplusplus
static inline struct yoke_value yoke_array_of_(std::initializer_list<struct yoke_value> items)
{
    return yoke_array(items.begin(), items.size());
}
static inline struct yoke_value yoke_map_of_(std::initializer_list<struct yoke_pair> pairs)
{
    return yoke_map(pairs.begin(), pairs.size());
}
#define YOKE_ARRAY(...) yoke_array_of_({__VA_ARGS__})
#define YOKE_MAP(...)   yoke_map_of_({__VA_ARGS__})
#else
#define YOKE_ARRAY(...)                                                                            \
    yoke_array((const struct yoke_value[]){__VA_ARGS__},                                           \
               sizeof((const struct yoke_value[]){__VA_ARGS__}) / sizeof(struct yoke_value))
#define YOKE_MAP(...)                                                                              \
    yoke_map((const struct yoke_pair[]){__VA_ARGS__},                                              \
             sizeof((const struct yoke_pair[]){__VA_ARGS__}) / sizeof(struct yoke_pair))
#endif

/* The value under `key`, or nil if there is none or `map` is not a map. Never fails. */
YOKE_API struct yoke_value yoke_value_get(struct yoke_value map, const char *key);

/*
 * Typed reading: 0, or -EBADMSG with an error raised that names `what` and both types (for the
 * sender of a bad argument to read). `what` is a name such as "path"; outputs are borrowed.
 */
YOKE_API YOKE_MUST_CHECK int yoke_value_int(struct yoke_value v, const char *what, int64_t *ret);
YOKE_API YOKE_MUST_CHECK int yoke_value_bool(struct yoke_value v, const char *what, bool *ret);
YOKE_API YOKE_MUST_CHECK int yoke_value_float(struct yoke_value v, const char *what, double *ret);
YOKE_API YOKE_MUST_CHECK int yoke_value_str(struct yoke_value v, const char *what,
                                            const char **ret_data, size_t *ret_size);
YOKE_API YOKE_MUST_CHECK int yoke_value_bin(struct yoke_value v, const char *what,
                                            const void **ret_data, size_t *ret_size);

/*
 * A string or bytes as text of C: copied into `buffer` with a NUL behind. The same results; also
 * refused is what does not fit or has a NUL in it. `buffer` is untouched then.
 */
YOKE_API YOKE_MUST_CHECK int yoke_value_text(struct yoke_value v, const char *what, char *buffer,
                                             size_t size);

/* Deep equality; maps compare in order. */
YOKE_API bool yoke_value_equal(struct yoke_value a, struct yoke_value b);

/* A deep copy in one allocation; NULL: no memory (nothing is raised). free(NULL) is fine. */
YOKE_API struct yoke_value *yoke_value_copy(struct yoke_value v);
YOKE_API void yoke_value_free(struct yoke_value *v);

YOKE_END
#endif
