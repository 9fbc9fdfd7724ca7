/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forklock.h: a lock for short, rare writes to static tables, which survives fork().
 *
 * The lock word is the process id of its holder.  A child that forked while another thread of its parent held the lock
 * finds an id that is not its own; the holder does not exist here, so the child takes the lock over.  What the lock
 * protects must therefore be consistent after every store of a writer.  Signal handlers never take it.
 */
#ifndef DM_BASE_FORKLOCK_H
#define DM_BASE_FORKLOCK_H

#include <sched.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <unistd.h>

/* Zero is unlocked. */
struct dm_forklock {
	_Atomic pid_t holder;
};

static inline void dm_forklock_lock(struct dm_forklock *lock)
{
	pid_t self = getpid();
	pid_t seen = 0;

	/* Acquire: pairs with the release in dm_forklock_unlock(). */
	while (!atomic_compare_exchange_weak_explicit(&lock->holder, &seen, self, memory_order_acquire,
	                                              memory_order_relaxed)) {
		if (seen == self) {
			sched_yield();
			seen = 0;
		}
		/* Otherwise `seen` is 0 or a process of before a fork: the next round takes it from there. */
	}
}

static inline void dm_forklock_unlock(struct dm_forklock *lock)
{
	atomic_store_explicit(&lock->holder, 0, memory_order_release);
}

#endif
