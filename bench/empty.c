/* SPDX-License-Identifier: MIT */
/*
 * The least that a dynamically linked C program can do to show that it runs: it writes one byte.
 * With an argument it then stays idle until its standard input ends, so that it can't outlive the
 * benchmark whatever becomes of that.
 */
#include <unistd.h>

int main(int argc, char **argv)
{
    char byte = 'x';

    (void)argv;
    if (write(STDOUT_FILENO, &byte, 1) != 1)
        return 1;
    if (argc > 1)
        return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
    return 0;
}
