/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h: an attached pool: what the glue files of src/ share. */
#ifndef DM_POOL_H
#define DM_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "addr/window.h"
#include "alloc/private/private.h"
#include "alloc/shared/shared.h"
#include "dmem/pool.h"
#include "failure/members.h"
#include "sync/sync.h"

#define DM_POOLS_MAX 64u

/* The handle is never freed: a stale one must say "detached" for ever. */
struct dmem_pool {
	_Atomic bool attached;
	unsigned references;              /* under the list's lock */
	_Atomic unsigned fork_generation; /* of the process that joined; another one has to join first */
	struct dm_window *window;
	struct dm_members *members;
	struct dm_sync *sync;
	struct dm_shared *shared;
	struct dm_mourners *mourners; /* under the list's lock; NULL: nobody wants to be told of deaths (members.c) */
	_Atomic(struct dm_private *) private_heap; /* made with the first private allocation */
	_Atomic uint64_t base;                     /* copies for the search by address */
	_Atomic uint64_t span_bytes;
	struct dmem_pool *next_handle; /* all handles this process ever had, so that they stay reachable */
};

/* Pools that are attached now, for the search by address. */
extern _Atomic(struct dmem_pool *) dm_pools[DM_POOLS_MAX];
extern _Atomic unsigned dm_pools_count; /* highest used index + 1 */
extern _Atomic unsigned dm_fork_generation;

/* Join again in a child of fork() (fork.c). */
int dm_pool_rejoin(struct dmem_pool *pool);
/* Register the fork handlers, once. */
int dm_fork_register(void);
/* -EDEADLK when this thread has it already. */
int dm_pool_list_lock(void);
void dm_pool_list_unlock(void);
void dm_pool_list_after_fork(void);
void dm_default_after_fork(void);
/* members, shared allocator, agent for an open window (pool.c). */
int dm_pool_join(struct dmem_pool *pool);

/* The pool of the malloc-shaped calls, when it is known already (default.c). */
extern _Atomic(struct dmem_pool *) dm_default_pool;

/* No callback of dmem_on_member_death() is called any more.  Before the agent is stopped. */
void dm_pool_stop_mourning(struct dmem_pool *pool);

/* The private heap, made when it is missing; NULL with errno. */
struct dm_private *dm_pool_private(struct dmem_pool *pool);

/* Let a pending segment be used when every member has mapped it (grow.c); true when some became active. */
bool dm_pool_finish_growth(struct dmem_pool *pool);

/* What every call on a pool asks first: 0, or why the pool can't be used. */
int dm_pool_check_slow(struct dmem_pool *pool);

static inline bool dm_pool_is_usable(struct dmem_pool *pool)
{
	return atomic_load_explicit(&pool->attached, memory_order_acquire) &&
	       atomic_load_explicit(&pool->fork_generation, memory_order_relaxed) ==
	           atomic_load_explicit(&dm_fork_generation, memory_order_relaxed) &&
	       !atomic_load_explicit(&pool->window->lost, memory_order_relaxed) &&
	       atomic_load_explicit(&pool->window->cut, memory_order_relaxed) == DM_WINDOW_WHOLE;
}

static inline int dm_pool_check(struct dmem_pool *pool)
{
	return __builtin_expect(pool != NULL && dm_pool_is_usable(pool), 1) ? 0 : dm_pool_check_slow(pool);
}

/* Does this pool's window hold an address? */
static inline bool dm_pool_holds(struct dmem_pool *pool, const void *address)
{
	return (uint64_t)(uintptr_t)address - atomic_load_explicit(&pool->base, memory_order_relaxed) <
	       atomic_load_explicit(&pool->span_bytes, memory_order_relaxed);
}

/* The attached pool whose window holds an address; NULL for none. */
static inline struct dmem_pool *dm_pool_of(const void *address)
{
	unsigned count = atomic_load_explicit(&dm_pools_count, memory_order_acquire);

	for (unsigned i = 0; i < count; i++) {
		struct dmem_pool *pool = atomic_load_explicit(&dm_pools[i], memory_order_acquire);

		if (pool != NULL && dm_pool_holds(pool, address))
			return pool;
	}
	return NULL;
}

/* What src/sync needs of the pool that an object lies in: 0, or why it can't be used (sync.c). */
int dm_pool_sync_slow(const void *object, struct dm_sync **sync);
static inline int dm_pool_sync(const void *object, struct dm_sync **sync)
{
	struct dmem_pool *pool = dm_pool_of(object);

	if (__builtin_expect(pool == NULL || dm_pool_check(pool) != 0, 0))
		return dm_pool_sync_slow(object, sync);
	*sync = pool->sync;
	return 0;
}

#endif
