/* SPDX-License-Identifier: MIT */
/* The spawner of the Linux host: its `spawn`. */
#ifndef YK_HOST_SPAWN_H
#define YK_HOST_SPAWN_H

#include "host/host.h"

/* As of struct yk_host_ops. */
int yk_linux_spawn(struct yoke_host *host, const struct yk_spawn *spawn, struct yk_process *ret);

#endif
