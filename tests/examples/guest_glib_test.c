/* SPDX-License-Identifier: MIT */
/*
 * The example "guest_glib", whose path is the first argument: numbers go through two guests of one
 * loop in order, and both end with the loop's cause.
 */
#include "../tests/support/realrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <yoke/subprocess.h>

static const char *program;

YK_REAL_TEST(glib_and_two_guests_work_as_one_pipeline)
{
    static const char *const in_order[] = {
        "loop: the sum is 1\n",
        "loop: the sum is 5\n",
        "loop: the sum is 14\n",
        "loop: the sum is 30\n",
        "loop: the sum is 55\n",
        "loop: the sum is 91\n",
        "squares ended with YOKE_CANCELLED\n",
        ": \"the loop has had enough\"\n",
        "sums ended with YOKE_CANCELLED\n",
        " by task outer loop in sums[",
        ": \"the loop has had enough\"\n",
    };
    const char *argv[] = {program, NULL};
    struct yoke_process_result result;
    const char *rest;

    yk_check_int(
        yoke_process_run(argv, &(struct yoke_process_opts){.output = {.kind = YOKE_STDIO_CAPTURE}},
                         &result),
        0);
    rest = result.output;
    for (size_t i = 0; i < sizeof in_order / sizeof in_order[0]; i++) {
        const char *found = strstr(rest, in_order[i]);

        if (found == NULL)
            yk_check_failed(__FILE__, __LINE__, "\"%s\" is not in: %s", in_order[i], rest);
        else
            rest = found + strlen(in_order[i]);
    }
    yoke_process_result_fini(&result);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(glib_and_two_guests_work_as_one_pipeline),
    };

    program = argc > 1 ? argv[1] : "guest_glib";
    return cmocka_run_group_tests_name("guests of GLib", tests, NULL, NULL);
}
