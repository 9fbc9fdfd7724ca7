/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.h: sleep until a word of the pool changes, between all members of the pool; everything in this folder sleeps here.
 *
 * The word is changed first, then dm_wake() is called; who waits looks at the word, then calls dm_wait() with what it
 * saw.
 * No wake-up is lost between the two.  A return of 0 says: look again.
 */
#ifndef DM_SYNC_WAIT_H
#define DM_SYNC_WAIT_H

#include "sync/sync.h"

enum dm_wait_flags {
	DM_WAIT_DEATHS = 1 << 0, /* come back with -EINTR when a member has lost its rights since `deaths` was read */
	DM_WAIT_WIDE = 1 << 1,   /* the word is the low half of a word of 64 bits, which is used with that width only */
};

/*
 * `timeout_ns` from now, negative for ever.  `deaths` is what dm_wait_deaths() said before the caller looked whether
 * somebody has died.
 *
 * 0: the word is not `expected`, or somebody woke us, or for nothing.  -ETIMEDOUT.  -EINTR: as DM_WAIT_DEATHS says.
 * DMEM_E_FENCED: we have lost our rights; another code: the word could not be read.
 */
int dm_wait(struct dm_sync *sync, uint32_t *word, uint32_t expected, int64_t timeout_ns, unsigned flags,
            uint32_t deaths);

/* Wake at most `count` sleepers of this machine, and any number of those elsewhere.  How many it is known to have woken;
 * negative: members elsewhere could not be told. */
int dm_wake(struct dm_sync *sync, uint32_t *word, int count);

/* Are there sleepers that only a word in the pool reaches? */
bool dm_wait_between_hosts(struct dm_sync *sync);

static inline uint32_t dm_wait_deaths(struct dm_sync *sync)
{
	return __atomic_load_n(dm_members_deaths_word(sync->members), __ATOMIC_ACQUIRE);
}

/* The low half of a word of 64 bits: all numbers in a pool are little-endian. */
static inline uint32_t *dm_low_half(uint64_t *word)
{
	return (uint32_t *)(void *)word;
}

/* A moment in the future, for waits that are made of several. */
uint64_t dm_deadline(int64_t timeout_ns); /* UINT64_MAX for ever */
int64_t dm_time_left(uint64_t deadline_ns);

#endif
