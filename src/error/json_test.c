/* SPDX-License-Identifier: MIT */
/* Errors and causes as JSON, parsed back: each key, and valid JSON whatever the texts hold. */
#include "error/test_support.h"

#include <json-c/json.h>

static const struct yoke_site app_site = {"../app.c", "app", 31};

static struct json_object *parsed(char *text)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *object;

    assert_non_null(text);
    assert_null(strchr(text, '\n')); /* one line, for logs */
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    object = json_tokener_parse_ex(tokener, text, (int)strlen(text) + 1);
    assert_int_equal(json_tokener_get_error(tokener), json_tokener_success);
    json_tokener_free(tokener);
    free(text);
    return object;
}

/* The value at a path of keys and indices: "members.1.type". */
static struct json_object *at(struct json_object *object, const char *path)
{
    char key[64];

    while (*path != '\0') {
        size_t n = strcspn(path, ".");

        assert_true(n < sizeof key);
        memcpy(key, path, n);
        key[n] = '\0';
        if (json_object_is_type(object, json_type_array))
            object = json_object_array_get_idx(object, (size_t)atoi(key));
        else
            object = json_object_object_get(object, key);
        if (object == NULL)
            return NULL;
        path += path[n] == '.' ? n + 1 : n;
    }
    return object;
}

static void assert_text(struct json_object *object, const char *path, const char *expected)
{
    assert_true(json_object_is_type(at(object, path), json_type_string));
    assert_string_equal(json_object_get_string(at(object, path)), expected);
}

static void assert_number(struct json_object *object, const char *path, int64_t expected)
{
    assert_true(json_object_is_type(at(object, path), json_type_int));
    assert_int_equal(json_object_get_int64(at(object, path)), expected);
}

static void assert_keys(struct json_object *object, const char *const *keys, size_t n)
{
    assert_int_equal(json_object_object_length(object), n);
    for (size_t i = 0; i < n; i++)
        assert_true(json_object_object_get_ex(object, keys[i], NULL));
}

static void a_plain_error_has_these_keys_and_no_others(void **state)
{
    static const char *const keys[] = {"type", "code",    "errno",     "code_name", "message",
                                       "site", "task_id", "task_name", "actor",     "source"};
    struct test_locus root;
    struct json_object *json;

    (void)state;
    enter_locus(&root, "root", "9d03b7", 4700, "app");
    yoke_raise_at(&app_site, NULL, "app.BadJob", EIO, "job %d", 3);
    json = parsed(yoke_error_json(yoke_in_flight(), 0));
    assert_keys(json, keys, sizeof keys / sizeof *keys);
    assert_text(json, "type", "app.BadJob");
    assert_number(json, "code", -EIO);
    assert_number(json, "errno", -EIO);
    assert_text(json, "code_name", "EIO");
    assert_text(json, "message", "job 3");
    assert_text(json, "site.file", "../app.c");
    assert_text(json, "site.function", "app");
    assert_number(json, "site.line", 31);
    assert_number(json, "task_id", 7);
    assert_text(json, "task_name", "app");
    assert_text(json, "actor.name", "root");
    assert_text(json, "actor.uuid", "9d03b7");
    assert_text(json, "actor.host", "here");
    assert_number(json, "actor.pid", 4700);
    assert_text(json, "source.name", "root");
    json_object_put(json);
    yoke_clear();
    leave_locus();
}

static void what_an_error_carries_is_nested_in_it(void **state)
{
    struct yoke_error *members[] = {make("a.1"), make("a.2")};
    struct yoke_error *group = yk_error_make_group(&app_site, members, 2, "both");
    struct yoke_actor_id middle = {.name = "middle", .pid = 3};
    struct json_object *json;

    (void)state;
    group->because = make("a.Because");
    yk_error_set_context(group, make("a.Context"));
    yk_error_suppress(group, make("a.Suppressed"));
    group->suppressed_left_out = 4;
    assert_true(yk_error_add_note(group, "a note"));
    assert_int_equal(yk_error_add_relay(group, &middle), 0);
    group->remote->traceback = strdup("at job.c:1, in job\n");
    json = parsed(yoke_error_json(group, 0));
    assert_number(json, "code", YOKE_EREMOTE);
    assert_number(json, "errno", YOKE_EGROUP);
    assert_text(json, "code_name", "YOKE_EGROUP");
    assert_int_equal(json_object_array_length(at(json, "members")), 2);
    assert_text(json, "members.1.type", "a.2");
    assert_text(json, "because.type", "a.Because");
    assert_text(json, "context.type", "a.Context");
    assert_text(json, "suppressed.0.type", "a.Suppressed");
    assert_number(json, "left_out", 4);
    assert_text(json, "notes.0", "a note");
    assert_text(json, "relay.1.name", "middle");
    assert_text(json, "traceback", "at job.c:1, in job\n");
    json_object_put(json);
    yk_error_absorb(group);
}

static void a_cancelled_has_its_cause_and_those_inside(void **state)
{
    struct yoke_signal_info signal = {.number = SIGINT, .pid = 812, .uid = 1000};
    struct yoke_scope_info scope = {.id = 3, .name = "main", .task_name = "app", .task_id = 7};
    struct yoke_cause *origin = yk_cause_new(&(struct yk_cause_spec){
        .layer = YOKE_LAYER_OS, .kind = YOKE_CAUSE_SIGNAL, .signal = &signal, .scope = &scope});
    struct yoke_cause *cause = yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_CONTEXT,
                                                                    .kind = YOKE_CAUSE_CONTEXT,
                                                                    .site = &app_site,
                                                                    .reason = "stop",
                                                                    .because = origin});
    struct yoke_error *error = yk_error_make_cancelled(NULL, NULL, cause, &origin, 1);
    struct json_object *json = parsed(yoke_error_json(error, 0));

    (void)state;
    assert_text(json, "code_name", "YOKE_CANCELLED");
    assert_text(json, "cause.layer", "context");
    assert_text(json, "cause.kind", "context cancel");
    assert_text(json, "cause.reason", "stop");
    assert_text(json, "cause.requester.file", "../app.c");
    assert_text(json, "cause.requester.function", "app");
    assert_number(json, "cause.requester.line", 31);
    assert_number(json, "cause.time", yoke_cause_time(cause));
    assert_true(json_object_get_uint64(at(json, "cause.id.0")) == cause->id.actor);
    assert_true(json_object_get_uint64(at(json, "cause.id.1")) == cause->id.serial);
    assert_text(json, "cause.because.layer", "os");
    assert_text(json, "cause.because.kind", "signal");
    assert_number(json, "cause.because.signal.number", SIGINT);
    assert_number(json, "cause.because.signal.pid", 812);
    assert_number(json, "cause.because.signal.uid", 1000);
    assert_number(json, "cause.because.scope.id", 3);
    assert_text(json, "cause.because.scope.name", "main");
    assert_text(json, "cause.because.scope.task_name", "app");
    assert_text(json, "inner_causes.0.kind", "signal");
    json_object_put(json);
    json = parsed(yoke_cause_json(cause, 0));
    assert_text(json, "reason", "stop");
    assert_text(json, "because.kind", "signal");
    json_object_put(json);
    yoke_cause_unref(origin);
    yoke_cause_unref(cause);
    yk_error_absorb(error);
}

static void a_cause_has_the_error_that_led_to_it(void **state)
{
    struct yoke_error *error = make("a.Failed");
    struct yoke_cause *cause = yk_cause_new(&(struct yk_cause_spec){.layer = YOKE_LAYER_TASK,
                                                                    .kind = YOKE_CAUSE_CHILD_FAILED,
                                                                    .error = error});
    struct json_object *json = parsed(yoke_cause_json(cause, 0));

    (void)state;
    assert_text(json, "error.type", "a.Failed");
    json_object_put(json);
    yoke_cause_unref(cause);
    yk_error_absorb(error);
}

static void a_backtrace_is_there_if_it_is_asked_for(void **state)
{
    struct yoke_error *error = make("a.Error");
    struct json_object *json = parsed(yoke_error_json(error, 0));

    (void)state;
    assert_null(at(json, "traceback"));
    json_object_put(json);
    json = parsed(yoke_error_json(error, YOKE_PRINT_BACKTRACE));
    assert_memory_equal(json_object_get_string(at(json, "traceback")), "at ", 3);
    json_object_put(json);
    yk_error_absorb(error);
}

static void any_text_gives_valid_json(void **state)
{
    struct yoke_error *error;
    struct json_object *json;
    char message[256];

    (void)state;
    for (int i = 0; i < 255; i++)
        message[i] = (char)(i + 1);
    message[255] = '\0';
    yoke_raise("app.\"Quote\\", EIO, "%s", message);
    error = yoke_catch();
    assert_true(yk_error_add_note(error, "\xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf \xe2\x82"));
    json = parsed(yoke_error_json(error, 0));
    assert_text(json, "type", "app.\"Quote\\");
    assert_text(json, "notes.0",
                "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
                "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd "
                "\xef\xbf\xbd\xef\xbf\xbd \xef\xbf\xbd\xef\xbf\xbd");
    /* ASCII as it was, each of the 128 other bytes as U+FFFD. */
    assert_memory_equal(json_object_get_string(at(json, "message")), message, 127);
    assert_int_equal(json_object_get_string_len(at(json, "message")), 127 + 128 * 3);
    json_object_put(json);
    yoke_error_unref(error);
}

/* What json-c allocates is its own business; ours fails at each place in turn. */
static void without_memory_there_is_no_json(void **state)
{
    struct yoke_cause *cause = scope_cause("x");
    struct yoke_error *error = yk_error_make_cancelled(NULL, &app_site, cause, &cause, 1);
    char *text = NULL;
    unsigned n;

    (void)state;
    yk_error_suppress(error, make("a.Other"));
    for (n = 1; text == NULL; n++) {
        yk_memory_fail_at(n, false);
        text = yoke_error_json(error, 0);
        if (text == NULL)
            assert_int_equal(yk_memory_fail_at(0, false), 0);
        yk_memory_fail_at(0, false);
    }
    assert_true(n > 2);
    json_object_put(parsed(text));
    text = NULL;
    for (n = 1; text == NULL; n++) {
        yk_memory_fail_at(n, false);
        text = yoke_cause_json(cause, 0);
        yk_memory_fail_at(0, false);
    }
    assert_true(n > 2);
    free(text);
    assert_null(yoke_in_flight());
    yoke_cause_unref(cause);
    yk_error_absorb(error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSERVING(a_plain_error_has_these_keys_and_no_others),
        CONSERVING(what_an_error_carries_is_nested_in_it),
        CONSERVING(a_cancelled_has_its_cause_and_those_inside),
        CONSERVING(a_cause_has_the_error_that_led_to_it),
        CONSERVING(a_backtrace_is_there_if_it_is_asked_for),
        CONSERVING(any_text_gives_valid_json),
        CONSERVING(without_memory_there_is_no_json),
    };

    return cmocka_run_group_tests_name("errors as JSON", tests, NULL, NULL);
}
