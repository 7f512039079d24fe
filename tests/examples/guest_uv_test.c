/* SPDX-License-Identifier: MIT */
/* The example "guest_uv", whose path is the first argument: both loops alternate to the end. */
#include "../tests/support/realrun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <yoke/subprocess.h>

static const char *program;

static const char transcript[] = "loop: serves 1\n  task: got 1\nloop: got 2 back\n"
                                 "loop: serves 4\n  task: got 4\nloop: got 5 back\n"
                                 "loop: serves 10\n  task: got 10\nloop: got 11 back\n"
                                 "loop: serves 22\n  task: got 22\nloop: got 23 back\n"
                                 "loop: serves 46\n  task: got 46\nloop: got 47 back\n"
                                 "the guest ended with YOKE_CANCELLED\n"
                                 "cancelled: task player in root[";

YK_REAL_TEST(libuv_and_its_guest_alternate_until_the_loop_cancels_it)
{
    const char *argv[] = {program, NULL};
    struct yoke_process_result result;

    yk_check_int(
        yoke_process_run(argv, &(struct yoke_process_opts){.output = {.kind = YOKE_STDIO_CAPTURE}},
                         &result),
        0);
    yk_check(strstr(result.output, " by task outer loop in root[") != NULL);
    yk_check(strstr(result.output, ": \"the game is over\"\n") != NULL);
    if (result.output_size >= sizeof transcript)
        result.output[sizeof transcript - 1] = '\0'; /* ids follow */
    yk_check_text(result.output, transcript);
    yoke_process_result_fini(&result);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libuv_and_its_guest_alternate_until_the_loop_cancels_it),
    };

    program = argc > 1 ? argv[1] : "guest_uv";
    return cmocka_run_group_tests_name("guest of libuv", tests, NULL, NULL);
}
