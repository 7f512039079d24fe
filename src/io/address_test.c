/* SPDX-License-Identifier: MIT */
/* Addresses as text: what parses, what does not and says why, and that all comes back the same. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>
#include <yoke/net.h>

static const char *again(const char *text)
{
    static char out[YOKE_ADDRESS_TEXT];
    struct yoke_address address;

    assert_int_equal(yoke_address_parse(text, &address), 0);
    return yoke_address_format(&address, out, sizeof out);
}

static void what_parses_is_formatted_as_it_was_written(void **state)
{
    static const char *const texts[] = {
        "127.0.0.1:80",       "0.0.0.0:0",      "255.255.255.255:65535",
        "[::1]:80",           "[::]:0",         "[2001:db8::8:800:200c:417a]:443",
        "[::ffff:1.2.3.4]:1", "/run/x.sock",    "./x",
        "../x.sock",          "unix:x.sock",    "@name",
        "@a\\x00b\\x5c\\xff", "[fe80::1%lo]:7",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_string_equal(again(texts[i]), texts[i]);
    assert_string_equal(again("[0:0::0:1]:0080"), "[::1]:80");
    assert_string_equal(again("unix:/run/x"), "/run/x");
}

static void a_bad_place_is_refused_with_a_reason(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "a port is missing"},
        {"localhost", "a port is missing"},
        {"127.0.0.1", "a port is missing"},
        {"127.0.0.1:", "the port is empty"},
        {":80", "the host is empty"},
        {"::1:80", "in brackets"},
        {"[::1]", "\"]:port\" is missing"},
        {"[::1:80", "\"]:port\" is missing"},
        {"[]:80", "the host is empty"},
        {"[127.0.0.1]:80", "no IPv6 address in brackets"},
        {"[zz::]:80", "no IPv6 address in brackets"},
        {"[::1%no-such-interface]:80", "no IPv6 address in brackets"},
        {"127.0.0.1:65536", "above 65535"},
        {"127.0.0.1:99999999999999999999", "above 65535"},
        {"127.0.0.1:8o", "neither a number nor a name"},
        {"127.0.0.1:-1", "neither a numeric address"},
        {"example.org:80", "neither a numeric address"},
        {"@", "the abstract name is empty"},
        {"@a\\x4", "begins \\xNN"},
        {"@a\\n", "begins \\xNN"},
        {"unix:", "the path is empty"},
    };
    struct yoke_address address = {.size = 77};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct yoke_error *error;

        assert_int_equal(yoke_address_parse(bad[i].text, &address), -EINVAL);
        error = yoke_catch();
        assert_non_null(error);
        assert_string_equal(yoke_error_type(error), "yoke.Address");
        if (strstr(yoke_error_message(error), bad[i].why) == NULL)
            fail_msg("\"%s\" says \"%s\"", bad[i].text, yoke_error_message(error));
        yoke_error_unref(error);
        assert_int_equal(address.size, 77);
    }
}

static void a_path_has_at_most_107_bytes(void **state)
{
    char text[256];
    struct yoke_address address;

    (void)state;
    for (int abstract = 0; abstract < 2; abstract++) {
        memset(text, 'x', sizeof text);
        text[0] = abstract ? '@' : '/';
        text[108 - !abstract] = '\0';
        assert_int_equal(yoke_address_parse(text, &address), 0);
        assert_string_equal(again(text), text);
        text[108 - !abstract] = 'x';
        text[109] = '\0';
        assert_int_equal(yoke_address_parse(text, &address), -ENAMETOOLONG);
        yoke_clear();
    }
}

static void accessors_tell_family_port_and_sockaddr(void **state)
{
    struct yoke_address none = {.size = 0}, v4, v6, un, copy;
    const struct sockaddr *sockaddr;
    char text[YOKE_ADDRESS_TEXT];
    socklen_t size;

    (void)state;
    assert_int_equal(yoke_address_family(&none), AF_UNSPEC);
    assert_string_equal(yoke_address_format(&none, text, sizeof text), "none");
    assert_int_equal(yoke_address_parse("1.2.3.4:5", &v4), 0);
    assert_int_equal(yoke_address_parse("[::1]:6", &v6), 0);
    assert_int_equal(yoke_address_parse("/x", &un), 0);
    assert_int_equal(yoke_address_family(&v4), AF_INET);
    assert_int_equal(yoke_address_family(&v6), AF_INET6);
    assert_int_equal(yoke_address_family(&un), AF_UNIX);
    assert_int_equal(yoke_address_port(&v4), 5);
    assert_int_equal(yoke_address_port(&v6), 6);
    assert_int_equal(yoke_address_port(&un), 0);
    sockaddr = yoke_address_sockaddr(&v4, &size);
    assert_int_equal(size, sizeof(struct sockaddr_in));
    assert_int_equal(yoke_address_from_sockaddr(sockaddr, size, &copy), 0);
    assert_true(yoke_address_equal(&v4, &copy));
    assert_false(yoke_address_equal(&v4, &v6));
    assert_int_equal(yoke_address_from_sockaddr(sockaddr, 1, &copy), -EINVAL);
    yoke_clear();
    assert_int_equal(yoke_address_from_sockaddr(sockaddr, 1000, &copy), -EINVAL);
    yoke_clear();
}

static void text_that_does_not_fit_is_cut(void **state)
{
    struct yoke_address address;
    char text[6];

    (void)state;
    assert_int_equal(yoke_address_parse("127.0.0.1:80", &address), 0);
    assert_string_equal(yoke_address_format(&address, text, sizeof text), "127.0");
    assert_int_equal(yoke_address_parse("@abcdefghijk", &address), 0);
    assert_true(strlen(yoke_address_format(&address, text, sizeof text)) < sizeof text);
}

static void a_unix_path_is_equal_with_and_without_its_nul(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX, .sun_path = "/run/x"};
    struct yoke_address with, without;
    socklen_t bare = offsetof(struct sockaddr_un, sun_path) + 6;

    (void)state;
    assert_int_equal(yoke_address_parse("/run/x", &with), 0);
    assert_int_equal(yoke_address_from_sockaddr((struct sockaddr *)&un, bare, &without), 0);
    assert_true(yoke_address_equal(&with, &without));
    un.sun_family = AF_UNIX;
    assert_int_equal(yoke_address_from_sockaddr((struct sockaddr *)&un, sizeof(sa_family_t),
                                                &without),
                     0);
    assert_false(yoke_address_equal(&with, &without));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_parses_is_formatted_as_it_was_written),
        cmocka_unit_test(a_bad_place_is_refused_with_a_reason),
        cmocka_unit_test(a_path_has_at_most_107_bytes),
        cmocka_unit_test(accessors_tell_family_port_and_sockaddr),
        cmocka_unit_test(text_that_does_not_fit_is_cut),
        cmocka_unit_test(a_unix_path_is_equal_with_and_without_its_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
