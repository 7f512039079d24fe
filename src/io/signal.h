/* SPDX-License-Identifier: MIT */
/* The one hook into signal handling: what must happen even if the runtime is stuck. */
#ifndef YK_IO_SIGNAL_H
#define YK_IO_SIGNAL_H

#include <signal.h>

/* Called first thing in the handler of every received signal; async-signal-safe. NULL: none. */
extern void (*yk_signal_early)(int number, const siginfo_t *info);

/* How many receivers of this process a signal has. */
unsigned yk_signal_receivers(int number);

#endif
