/* SPDX-License-Identifier: MIT */
/* The examples are run as programs, and print what they promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

/* Runs a command line in the folder of the examples; its output and exit status. */
static int run(const char *command, char *text, size_t size)
{
    char line[512];
    FILE *stream;
    size_t n;
    int status;

    snprintf(line, sizeof line, "cd '%s' && ./%s 2>&1", YK_EXAMPLES_DIR, command);
    stream = popen(line, "re");
    assert_non_null(stream);
    n = fread(text, 1, size - 1, stream);
    text[n] = '\0';
    status = pclose(stream);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void sieve_prints_primes(void **state)
{
    char text[8192];

    (void)state;
    assert_int_equal(run("sieve 10", text, sizeof text), 0);
    assert_string_equal(text, "2\n3\n5\n7\n11\n13\n17\n19\n23\n29\n");
    assert_int_equal(run("sieve 1", text, sizeof text), 0);
    assert_string_equal(text, "2\n");
    assert_int_equal(run("sieve 500", text, sizeof text), 0);
    assert_string_equal(text + strlen(text) - strlen("\n3571\n"), "\n3571\n");
}

static void sieve_refuses_nonsense(void **state)
{
    char text[8192];

    (void)state;
    assert_int_equal(run("sieve none", text, sizeof text), 2);
    assert_string_equal(text, "usage: sieve [N], from 1 to 10000\n");
}

static void philosophers_all_eat(void **state)
{
    char text[8192];

    (void)state;
    assert_int_equal(run("philosophers", text, sizeof text), 0);
    assert_string_equal(text, "Aristotle ate 3 times\nHypatia ate 3 times\nLeibniz ate 3 times\n"
                              "Spinoza ate 3 times\nWeil ate 3 times\n");
}

static void greedy_philosophers_deadlock_and_are_told_apart(void **state)
{
    char text[8192];

    (void)state;
    assert_int_equal(run("philosophers --greedy", text, sizeof text), 1);
    assert_non_null(strstr(text, "every task is blocked for ever"));
    assert_non_null(strstr(text, "Aristotle (mutex)"));
    assert_non_null(strstr(text, "Weil (mutex)"));
    assert_null(strstr(text, "ate"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sieve_prints_primes),
        cmocka_unit_test(sieve_refuses_nonsense),
        cmocka_unit_test(philosophers_all_eat),
        cmocka_unit_test(greedy_philosophers_deadlock_and_are_told_apart),
    };

    return cmocka_run_group_tests_name("examples", tests, NULL, NULL);
}
