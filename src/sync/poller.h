/* SPDX-License-Identifier: Apache-2.0 */
/* poller.h: the thread of a process that looks into the pool for wake-ups which no futex brings. */
#ifndef DM_SYNC_POLLER_H
#define DM_SYNC_POLLER_H

#include "sync/sync.h"

/* A thread that sleeps; on its own stack, linked while it does.  Under waiters_lock, but for `woken`. */
struct dm_waiter {
	struct dm_waiter *next;
	struct dm_waiter *previous;
	const uint32_t *word;
	uint64_t *bell; /* in the pool: changes when somebody wakes those who sleep on the word, and others */
	uint64_t seen;  /* of the bell, before the word was looked at */
	uint64_t since_ns;
	uint32_t woken; /* what it sleeps on */
};

/* Link it, and see to it that somebody looks. */
int dm_poller_enlist(struct dm_sync *sync, struct dm_waiter *waiter);
void dm_poller_delist(struct dm_sync *sync, struct dm_waiter *waiter);

/* Wake at most `count` threads of this process that sleep on the word.  How many there were. */
int dm_poller_wake_own(struct dm_sync *sync, const uint32_t *word, int count);

void dm_poller_stop(struct dm_sync *sync);

#endif
