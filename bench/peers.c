/* SPDX-License-Identifier: MIT */
/*
 * Peers are programs, built by `./dev bench --peers` from bench/peers/. One run is one repetition
 * of one case; the program warms up and measures by itself, in the unit of the case, and prints one
 * number, or ends with status 3 if its library has nothing of the kind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../bench/bench.h"

enum { PATH_SIZE = 4096, NO_SUCH_CASE = 3 };

const char *const bench_peer_names[BENCH_PEERS] = {"go", "erlang", "tokio", "boost"};

int bench_peer(const char *directory, const char *peer, const char *name, double *ret)
{
    char path[PATH_SIZE], command[PATH_SIZE + 128];
    int found, status;
    FILE *output;

    snprintf(path, sizeof path, "%s/%s", directory, peer);
    if (access(path, X_OK) < 0)
        return 0;
    snprintf(command, sizeof command, "exec '%s' %s", path, name);
    output = popen(command, "re");
    if (output == NULL)
        return -errno;
    found = fscanf(output, "%lf", ret);
    status = pclose(output);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SUCH_CASE)
        return 0;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || found != 1) {
        fprintf(stderr, "yoke-bench: %s: failed with status %d\n", command, status);
        return -EPROTO;
    }
    return 1;
}
