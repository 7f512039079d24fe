/* SPDX-License-Identifier: MIT */
/* The one hook into signal handling: what must happen even if the runtime is stuck. */
#ifndef YK_IO_SIGNAL_H
#define YK_IO_SIGNAL_H

/* Called first thing in the handler of every received signal; async-signal-safe. NULL: none. */
extern void (*yk_signal_early)(int number);

#endif
