/* SPDX-License-Identifier: MIT */
/*
 * Backtraces and their symbols: the first line is the code that raised, the last the bottom of the
 * stack, and whatever the frame pointers hold, nothing but the stack is read.
 */
#include "error/test_support.h"

#include "error/print.h"

/* Not inlined, and the call is not the last thing they do, so that each keeps its frame. */
#define KEPT __attribute__((noinline))

static volatile int kept;

KEPT static int raise_here(void)
{
    int rc = yoke_raise("a.Error", EIO, "x");

    kept++;
    return rc;
}

KEPT static int call_raise(void)
{
    int rc = raise_here();

    kept++;
    return rc;
}

KEPT static int call_deep(int depth)
{
    int rc = depth == 0 ? raise_here() : call_deep(depth - 1);

    kept++;
    return rc;
}

static char *text_of(const struct yoke_error *error)
{
    void *const *frames;
    size_t n = yoke_error_backtrace(error, &frames);
    char *text = yk_backtrace_text(frames, n);

    assert_non_null(text);
    return text;
}

/* Whether a frame is named so. Without libdw only exported functions have names. */
static bool says_in(const char *text, const char *function)
{
#ifdef YK_HAVE_LIBDW
    char expected[128];

    snprintf(expected, sizeof expected, "in %s", function);
    return strstr(text, expected) != NULL;
#else
    return *function != '\0' && strncmp(text, "at ", 3) == 0;
#endif
}

/* Whether an address is in a function, which is a small one. */
static bool is_in(const void *address, int (*function)(void))
{
    uintptr_t start = (uintptr_t)function;

    return (uintptr_t)address > start && (uintptr_t)address < start + 1024;
}

/* How many lines `text` has. */
static size_t lines(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void take_line(char **text, char *line, size_t size)
{
    size_t n = strcspn(*text, "\n");

    assert_true(n < size);
    memcpy(line, *text, n);
    line[n] = '\0';
    *text += n + 1;
}

static void a_backtrace_begins_at_the_function_that_raised(void **state)
{
    void *const *frames;
    char line[512];
    char *text;
    char *rest;

    (void)state;
    call_raise();
    assert_true(yoke_error_backtrace(yoke_in_flight(), &frames) >= 3);
    assert_true(is_in(frames[0], raise_here));
    assert_true(is_in(frames[1], call_raise));
    text = rest = text_of(yoke_in_flight());
    take_line(&rest, line, sizeof line);
    assert_true(says_in(line, "raise_here"));
    take_line(&rest, line, sizeof line);
    assert_true(says_in(line, "call_raise"));
    take_line(&rest, line, sizeof line);
    assert_true(says_in(line, "a_backtrace_begins_at_the_function_that_raised"));
    free(text);
    yoke_clear();
}

#ifdef YK_HAVE_LIBDW
static void a_frame_has_the_file_and_line_of_the_call(void **state)
{
    char expected[256];
    char *text;

    (void)state;
    int line = __LINE__ + 1;
    (void)yoke_raise("a.Error", EIO, "x");
    text = text_of(yoke_in_flight());
    snprintf(expected, sizeof expected, "at %s:%d, in %s\n", yk_short_path(__FILE__), line,
             __func__);
    assert_memory_equal(text, expected, strlen(expected));
    free(text);
    yoke_clear();
}
#endif

static void a_group_and_a_cancelled_begin_at_their_callers_too(void **state)
{
    struct yoke_error *members[] = {make("a.1"), make("a.2")};
    char line[512];
    char *text;
    char *rest;

    (void)state;
    text = rest = text_of(members[0]);
    take_line(&rest, line, sizeof line);
    assert_true(says_in(line, __func__) || says_in(line, "make")); /* inlined or not */
    free(text);
    (void)yoke_raise_group(members, 2, "both");
    text = rest = text_of(yoke_in_flight());
    take_line(&rest, line, sizeof line);
    assert_true(says_in(line, __func__));
    free(text);
    yoke_clear();
    raise_a_cancelled("stop");
    text = rest = text_of(yoke_in_flight());
    take_line(&rest, line, sizeof line);
    assert_true(says_in(line, __func__) || says_in(line, "raise_a_cancelled"));
    free(text);
    yoke_clear();
}

static void a_backtrace_keeps_the_innermost_frames(void **state)
{
    void *const *frames;
    char *text;

    (void)state;
    call_deep(YK_BACKTRACE_MAX * 2);
    assert_int_equal(yoke_error_backtrace(yoke_in_flight(), &frames), YK_BACKTRACE_MAX);
    text = text_of(yoke_in_flight());
    assert_int_equal(lines(text), YK_BACKTRACE_MAX);
    assert_true(says_in(text, "raise_here"));
    free(text);
    yoke_clear();
}

KEPT static void *thread_main(void *arg)
{
    void *const *frames;
    size_t n;

    call_raise();
    n = yoke_error_backtrace(yoke_in_flight(), &frames);
    *(size_t *)arg = n;
    return yoke_catch();
}

static void a_threads_backtrace_is_of_its_own_stack(void **state)
{
    pthread_t thread;
    void *error = NULL;
    size_t n = 0;
    char *text;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, thread_main, &n), 0);
    assert_int_equal(pthread_join(thread, &error), 0);
    assert_true(n >= 3);
    text = text_of(error);
    assert_true(says_in(text, "raise_here"));
    assert_true(says_in(text, "thread_main"));
    assert_null(strstr(text, __func__));
    free(text);
    yoke_error_unref(error);
}

/* --- frames made by hand: {caller's frame, return address} --------------------------------------
 */

static uintptr_t stack[64];

static size_t walk(size_t from, void **frames, size_t max)
{
    struct yk_locus locus = {.stack_low = (const char *)stack,
                             .stack_high = (const char *)(stack + 64)};

    return yk_backtrace_take(&locus, &stack[from], frames, max);
}

static void frame(size_t at, size_t next, uintptr_t address)
{
    stack[at] = next == 0 ? 0 : (uintptr_t)&stack[next];
    stack[at + 1] = address;
}

static void a_walk_ends_at_the_tasks_base(void **state)
{
    void *frames[8];

    (void)state;
    memset(stack, 0, sizeof stack);
    frame(10, 20, 0x1000);
    frame(20, 30, 0x2000);
    frame(30, 0, 0x3000); /* no caller */
    assert_int_equal(walk(10, frames, 8), 3);
    assert_ptr_equal(frames[0], (void *)0x1000);
    assert_ptr_equal(frames[2], (void *)0x3000);
    frame(30, 40, 0); /* no return address: the first frame of a coroutine */
    assert_int_equal(walk(10, frames, 8), 2);
    assert_int_equal(walk(10, frames, 1), 1);
    assert_int_equal(walk(10, frames, 0), 0);
}

static void a_walk_believes_no_frame_pointer(void **state)
{
    uintptr_t elsewhere[2] = {0, 0x9999};
    void *frames[80];
    struct yk_locus locus = {.stack_low = (const char *)stack,
                             .stack_high = (const char *)(stack + 64)};

    (void)state;
    memset(stack, 0x11, sizeof stack); /* what is taken for a frame by mistake shows */
    frame(10, 20, 0x1000);
    stack[20] = (uintptr_t)elsewhere; /* another stack */
    stack[21] = 0x2000;
    assert_int_equal(walk(10, frames, 80), 2);
    stack[20] = (uintptr_t)&stack[30] + 1; /* not aligned */
    assert_int_equal(walk(10, frames, 80), 2);
    frame(20, 10, 0x2000); /* downwards: a loop */
    assert_int_equal(walk(10, frames, 80), 2);
    frame(20, 20, 0x2000); /* itself */
    assert_int_equal(walk(10, frames, 80), 2);
    frame(20, 63, 0x2000); /* half of it is beyond the end */
    assert_int_equal(walk(10, frames, 80), 2);
    stack[20] = UINTPTR_MAX - 7; /* the end of the address space */
    assert_int_equal(walk(10, frames, 80), 2);
    assert_int_equal(yk_backtrace_take(&locus, elsewhere, frames, 80), 0);
    assert_int_equal(yk_backtrace_take(&locus, NULL, frames, 80), 0);
}

/* --- symbols ------------------------------------------------------------------------------------
 */

static void an_address_without_a_module_is_shown_as_it_is(void **state)
{
    void *frames[] = {(void *)0x10, NULL};
    char *text = yk_backtrace_text(frames, 1);

    (void)state;
    assert_string_equal(text, "at 0x10\n");
    free(text);
    text = yk_backtrace_text(frames, 0);
    assert_string_equal(text, "");
    free(text);
}

static void a_function_of_another_module_is_named(void **state)
{
    void *frames[] = {(char *)(uintptr_t)&_cmocka_run_group_tests + 1};
    char *text = yk_backtrace_text(frames, 1);

    (void)state;
    assert_memory_equal(text, "at ", 3);
#ifdef __GLIBC__ /* elsewhere cmocka is part of the program, which exports nothing */
    assert_non_null(strstr(text, "in _cmocka_run_group_tests"));
#endif
    free(text);
}

static void *render_often(void *arg)
{
    const struct yoke_error *error = arg;

    for (int i = 0; i < 20; i++) {
        char *text = text_of(error);

        if (!says_in(text, "raise_here"))
            return text;
        free(text);
    }
    return NULL;
}

static void threads_may_look_symbols_up_at_once(void **state)
{
    struct yoke_error *error;
    pthread_t threads[3];

    (void)state;
    call_raise();
    error = yoke_catch();
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, render_often, error), 0);
    for (int i = 0; i < 3; i++) {
        void *wrong = NULL;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    yoke_error_unref(error);
}

static unsigned calls_on_big_stack;

static void count_and_call(void (*fn)(void *arg), void *arg)
{
    calls_on_big_stack++;
    fn(arg);
}

static void symbols_are_looked_up_where_there_is_stack(void **state)
{
    void (*before)(void (*)(void *), void *) = yk_on_big_stack;
    void *frames[] = {(void *)0x10};

    (void)state;
    yk_on_big_stack = count_and_call;
    free(yk_backtrace_text(frames, 1));
    yk_on_big_stack = before;
    assert_int_equal(calls_on_big_stack, 1);
}

static void a_path_loses_the_way_up_from_the_build_directory(void **state)
{
    (void)state;
    assert_string_equal(yk_short_path("../src/a.c"), "src/a.c");
    assert_string_equal(yk_short_path("../../a.c"), "a.c");
    assert_string_equal(yk_short_path("./a.c"), "a.c");
    assert_string_equal(yk_short_path("/abs/build/../src/a.c"), "src/a.c");
    assert_string_equal(yk_short_path("/abs/a/b/../../c/a.c"), "c/a.c");
    assert_string_equal(yk_short_path("/abs/a.c"), "/abs/a.c");
    assert_string_equal(yk_short_path("..hidden/a.c"), "..hidden/a.c");
    assert_string_equal(yk_short_path(""), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(a_backtrace_begins_at_the_function_that_raised),
#ifdef YK_HAVE_LIBDW
        CONSERVING(a_frame_has_the_file_and_line_of_the_call),
#endif
        CONSERVING(a_group_and_a_cancelled_begin_at_their_callers_too),
        CONSERVING(a_backtrace_keeps_the_innermost_frames),
        CONSERVING(a_threads_backtrace_is_of_its_own_stack),
        CONSERVING(a_walk_ends_at_the_tasks_base),
        CONSERVING(a_walk_believes_no_frame_pointer),
        CONSERVING(an_address_without_a_module_is_shown_as_it_is),
        CONSERVING(a_function_of_another_module_is_named),
        CONSERVING(threads_may_look_symbols_up_at_once),
        CONSERVING(symbols_are_looked_up_where_there_is_stack),
        CONSERVING(a_path_loses_the_way_up_from_the_build_directory),
    };

    return cmocka_run_group_tests_name("backtraces", tests, NULL, NULL);
}
