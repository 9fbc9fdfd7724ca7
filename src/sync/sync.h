/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync.h: what everything in this folder needs of an attached pool.
 *
 * Made at attach beside the allocator's part, after which dm_sync_joined() tells it who we are.
 */
#ifndef DM_SYNC_SYNC_H
#define DM_SYNC_SYNC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr/window.h"
#include "failure/members.h"

/*
 * An owner in 32 bits: | slot + 1: 13 | incarnation 19 |, slot in the high bits; 0 is nobody.  The incarnation's low bits
 * tell members apart that had one slot after each other; a slot is used half a million times before they come again.
 */
#define DM_OWNER_INCARNATION_BITS 19u
#define DM_OWNER_INCARNATION_MASK ((UINT32_C(1) << DM_OWNER_INCARNATION_BITS) - 1)

struct dm_waiter;

struct dm_sync {
	struct dm_window *window;
	struct dm_members *members;
	uint32_t owner;   /* us */
	uint64_t look_ns; /* who sleeps looks again after this time, whatever happens: a beat */

	/* Threads of this process that others can't wake by a futex, and the thread that looks for them (poller.c). */
	pthread_mutex_t waiters_lock; /* a leaf, but for the operations on words inside */
	pthread_cond_t waiters_came;
	struct dm_waiter *waiters;
	bool poller_runs;
	bool poller_stop;
	uint32_t poller_kick; /* changes when the poller shall look at once */
	pthread_t poller;
	uint64_t polls; /* looks it took; for benchmarks and tests */
};

int dm_sync_create(struct dm_window *window, struct dm_members *members, struct dm_sync **sync);
void dm_sync_destroy(struct dm_sync *sync);

/* After joining: who we are; and whether members of another host are there is told to everybody. */
int dm_sync_joined(struct dm_sync *sync);

/* Before leaving: no thread of this process may be waiting any more. */
void dm_sync_stop(struct dm_sync *sync);

/* In a child of fork(): the parent's threads are not ours. */
void dm_sync_forget(struct dm_sync *sync);

/* 1 the owner has its rights, 0 it has lost them, negative: could not be read. */
int dm_owner_rights(struct dm_sync *sync, uint32_t owner);

static inline uint32_t dm_owner(uint32_t slot, uint32_t incarnation)
{
	return (slot + 1) << DM_OWNER_INCARNATION_BITS | (incarnation & DM_OWNER_INCARNATION_MASK);
}

static inline uint32_t dm_owner_slot(uint32_t owner)
{
	return (owner >> DM_OWNER_INCARNATION_BITS) - 1;
}

#endif
