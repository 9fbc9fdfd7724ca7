/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfault.h: the one dispatcher of SIGBUS and SIGSEGV.
 *
 * Ranges of addresses are registered with a handler.  A fault inside a range goes to its handler, in signal context: the
 * handler may use async-signal-safe calls only.  A fault that no handler takes goes on to whoever was installed before
 * us, and in the end to the default action.  Sources: signal-safety(7); sigaction(2).
 */
#ifndef DM_BASE_MEMFAULT_H
#define DM_BASE_MEMFAULT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True: the fault is dealt with and the instruction runs again.  False: not ours after all; the range that was registered
 * before it over the same address is asked next.  A handler returns: it must not jump out, and calls nothing from here. */
typedef bool (*dm_memfault_fn)(void *context, int signal_number, const siginfo_t *info, uintptr_t address);

/*
 * Register [address, address + bytes).  The first call installs the signal handlers (SA_SIGINFO | SA_ONSTACK | SA_NODEFER)
 * and keeps the previous ones for chaining.  At most 128 ranges; the most recent registration of an address wins.
 * Returns 0, -ENOSPC, or -EINVAL for a range without length, end or handler.
 */
int dm_memfault_register(uintptr_t address, size_t bytes, dm_memfault_fn handler, void *context);

/* Forget the range that was registered with exactly this start and handler.  On return no handler call of it is under way
 * in another thread. */
void dm_memfault_unregister(uintptr_t address, dm_memfault_fn handler);

#endif
