/* SPDX-License-Identifier: Apache-2.0 */
/* mutex.h: the mutex of dmem/mutex.h, for a pool that was found; the way without waiting stands here. */
#ifndef DM_SYNC_MUTEX_H
#define DM_SYNC_MUTEX_H

#include "base/fault.h"
#include "sync/mutex_layout.h"
#include "sync/wait.h"

/* This thread, as a number that differs from all of this process that live; 0 until it is asked for. */
extern _Thread_local uint32_t dm_thread_number __attribute__((tls_model("initial-exec")));
uint32_t dm_thread_number_make(void);

/* This thread as the holder of a grant. */
static inline uint64_t dm_mutex_holder(uint64_t word)
{
	uint32_t number = dm_thread_number;

	return (word & DM_MUTEX_TOKEN) << 32 | (number != 0 ? number : dm_thread_number_make());
}

int dm_mutex_init(struct dm_sync *sync, struct dm_mutex_pm *mutex);
int dm_mutex_guard(struct dm_sync *sync, struct dm_mutex_pm *mutex, const void *range, size_t bytes);
int dm_mutex_consistent(struct dm_sync *sync, struct dm_mutex_pm *mutex);
int dm_mutex_token(struct dm_sync *sync, const struct dm_mutex_pm *mutex, uint64_t *token);

int dm_mutex_trylock(struct dm_sync *sync, struct dm_mutex_pm *mutex);
int dm_mutex_lock_slow(struct dm_sync *sync, struct dm_mutex_pm *mutex, int64_t timeout_ns);
int dm_mutex_unlock_slow(struct dm_sync *sync, struct dm_mutex_pm *mutex);

/* Coherent pools, nobody holds it, nothing special about it: one CAS in. */
static inline bool dm_mutex_lock_fast(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t word = __atomic_load_n(&mutex->word, __ATOMIC_RELAXED);
	uint64_t taken = (word + 1) | (uint64_t)sync->owner << 32;

	/* the last half of a turn, suspicion and owners go the slow way; flags of waiters stay */
	if ((word & ~(DM_MUTEX_WAITERS | DM_MUTEX_CROWD | DM_MUTEX_HALF_TURN)) >= DM_MUTEX_HALF_TURN - 1)
		return false;
	if (!__atomic_compare_exchange_n(&mutex->word, &word, taken, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	DM_CRASH_POINT(MUTEX_TAKEN);
	__atomic_store_n(&mutex->holder, dm_mutex_holder(taken), __ATOMIC_RELAXED);
	return true;
}

/* Ours, and nobody waits: one CAS out. */
static inline bool dm_mutex_unlock_fast(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t word = __atomic_load_n(&mutex->word, __ATOMIC_RELAXED);

	if ((word & (UINT64_MAX << 32 | DM_MUTEX_WAITERS | DM_MUTEX_CROWD | DM_MUTEX_SUSPECT)) != (uint64_t)sync->owner
	                                                                                              << 32 ||
	    __atomic_load_n(&mutex->holder, __ATOMIC_RELAXED) != dm_mutex_holder(word))
		return false;
	return __atomic_compare_exchange_n(&mutex->word, &word, word & DM_MUTEX_TOKEN, false, __ATOMIC_RELEASE,
	                                   __ATOMIC_RELAXED);
}

static inline int dm_mutex_lock(struct dm_sync *sync, struct dm_mutex_pm *mutex, int64_t timeout_ns)
{
	if (__builtin_expect(sync->window->coherent && dm_mutex_lock_fast(sync, mutex), 1))
		return 0;
	return dm_mutex_lock_slow(sync, mutex, timeout_ns);
}

static inline int dm_mutex_unlock(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	if (__builtin_expect(sync->window->coherent && dm_mutex_unlock_fast(sync, mutex), 1))
		return 0;
	return dm_mutex_unlock_slow(sync, mutex);
}

#endif
