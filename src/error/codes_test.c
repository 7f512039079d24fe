/* SPDX-License-Identifier: MIT */
/* Names of result codes. */
#include "error/test_support.h"

#include <limits.h>

static void errno_codes_have_their_names_of_either_sign(void **state)
{
    (void)state;
    assert_string_equal(yoke_strcode(-EINVAL), "EINVAL");
    assert_string_equal(yoke_strcode(EINVAL), "EINVAL");
    assert_string_equal(yoke_strcode(-EPERM), "EPERM");
    assert_string_equal(yoke_strcode(-EHWPOISON), "EHWPOISON");
    assert_string_equal(yoke_strcode(-ECANCELED), "ECANCELED");
    assert_string_equal(yoke_strcode(0), "OK");
}

static void of_two_names_of_one_number_the_posix_one_is_given(void **state)
{
    (void)state;
    assert_string_equal(yoke_strcode(-EWOULDBLOCK), "EAGAIN");
    assert_string_equal(yoke_strcode(-EDEADLOCK), "EDEADLK");
    assert_string_equal(yoke_strcode(-ENOTSUP), "EOPNOTSUPP");
}

/* Those that a program meets; the kernel has others, for devices that are long gone. */
#ifdef __GLIBC__ /* others have no names of errors */
static void every_common_errno_is_known_to_libc_by_the_same_name(void **state)
{
    unsigned known = 0;

    (void)state;
    for (int number = 1; number <= EHWPOISON; number++) {
        const char *name = yoke_strcode(-number);
        const char *theirs = strerrorname_np(number);

        if (strcmp(name, "UNKNOWN") == 0)
            continue;
        known++;
        if (number != EOPNOTSUPP && number != EAGAIN && number != EDEADLK)
            assert_string_equal(name, theirs);
    }
    assert_true(known > 90);
}
#endif

static void our_codes_have_their_names(void **state)
{
    static const struct {
        int code;
        const char *name;
    } codes[] = {
        {YOKE_CANCELLED, "YOKE_CANCELLED"},
        {YOKE_EREMOTE, "YOKE_EREMOTE"},
        {YOKE_EGROUP, "YOKE_EGROUP"},
        {YOKE_ECLOSED, "YOKE_ECLOSED"},
        {YOKE_EPEERCANCELLED, "YOKE_EPEERCANCELLED"},
        {YOKE_EDIED, "YOKE_EDIED"},
        {YOKE_ELINK, "YOKE_ELINK"},
        {YOKE_EUNRESPONSIVE, "YOKE_EUNRESPONSIVE"},
        {YOKE_ENOTEXPOSED, "YOKE_ENOTEXPOSED"},
        {YOKE_EDEADLOCK, "YOKE_EDEADLOCK"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_string_equal(yoke_strcode(codes[i].code), codes[i].name);
        assert_true(codes[i].code < -4095); /* the kernel can return none of them */
    }
    assert_int_not_equal(YOKE_CANCELLED, -ECANCELED);
}

static void any_number_has_a_name(void **state)
{
    (void)state;
    assert_string_equal(yoke_strcode(-4095), "UNKNOWN");
    assert_string_equal(yoke_strcode(-4096), "UNKNOWN");
    assert_string_equal(yoke_strcode(YOKE_EDEADLOCK - 1), "UNKNOWN");
    assert_string_equal(yoke_strcode(INT_MAX), "UNKNOWN");
    assert_string_equal(yoke_strcode(INT_MIN), "UNKNOWN");
    assert_string_equal(yoke_strcode(-EHWPOISON - 1), "UNKNOWN");
    for (int code = -5000; code < 5000; code++)
        assert_non_null(yoke_strcode(code));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errno_codes_have_their_names_of_either_sign),
        cmocka_unit_test(of_two_names_of_one_number_the_posix_one_is_given),
#ifdef __GLIBC__
        cmocka_unit_test(every_common_errno_is_known_to_libc_by_the_same_name),
#endif
        cmocka_unit_test(our_codes_have_their_names),
        cmocka_unit_test(any_number_has_a_name),
    };

    return cmocka_run_group_tests_name("names of codes", tests, NULL, NULL);
}
