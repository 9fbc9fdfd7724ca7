/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork.c: what a child of fork() is to the pools of its parent: nothing, until it calls.
 *
 * The child inherits the mapping of the window, so the addresses are right, but it is not a member: the parent's slot, agent
 * and slabs stay the parent's, and the pool is not touched on the child's behalf.  Its first call on a pool joins
 * as a new member.  The handlers hold the library's locks over the fork, so that the local structures that the child copies
 * are whole.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "pool.h"
#include "sync/mutex.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int register_result;

static void each_pool(void (*action)(struct dmem_pool *))
{
	unsigned count = atomic_load(&dm_pools_count);

	for (unsigned i = 0; i < count; i++) {
		struct dmem_pool *pool = atomic_load(&dm_pools[i]);

		if (pool != NULL && pool->shared != NULL)
			action(pool);
	}
}

static void prepare_pool(struct dmem_pool *pool)
{
	pthread_mutex_lock(&pool->window->lock);
	dm_shared_fork_prepare(pool->shared);
}

static void release_pool(struct dmem_pool *pool)
{
	dm_shared_fork_parent(pool->shared);
	pthread_mutex_unlock(&pool->window->lock);
}

static void renew_pool(struct dmem_pool *pool)
{
	dm_window_after_fork(pool->window);
	pthread_mutex_init(&pool->shared->lock, NULL);
	dm_heap_fork_child(pool->shared);
	dm_sync_forget(pool->sync);
	dm_members_forget(pool->members);
}

static void before_fork(void)
{
	(void)dm_pool_list_lock(); /* can only fail for a fork() from inside an attach, which does not fork */
	dm_heap_fork_prepare();
	each_pool(prepare_pool);
}

static void after_in_parent(void)
{
	each_pool(release_pool);
	dm_heap_fork_parent();
	dm_pool_list_unlock();
}

static void after_in_child(void)
{
	atomic_fetch_add(&dm_fork_generation, 1);
	dm_thread_number = 0;
	dm_heap_fork_child(NULL);
	each_pool(renew_pool);
	dm_pool_list_after_fork();
	dm_default_after_fork();
}

static void register_handlers(void)
{
	register_result = pthread_atfork(before_fork, after_in_parent, after_in_child);
}

int dm_fork_register(void)
{
	pthread_once(&once, register_handlers);
	if (register_result)
		return dm_fail(-register_result, "the fork handlers can't be registered: %s", strerror(register_result));
	return 0;
}

int dm_pool_rejoin(struct dmem_pool *pool)
{
	struct dm_members *members;
	struct dm_shared *shared;
	struct dm_sync *sync;
	int rc = dm_pool_list_lock();

	if (rc)
		return rc;
	if (atomic_load(&pool->attached) && atomic_load(&pool->fork_generation) != atomic_load(&dm_fork_generation)) {
		members = pool->members;
		pool->mourners = NULL; /* the parent's thread is not here */
		shared = pool->shared;
		sync = pool->sync;
		rc = dm_pool_join(pool);
		if (rc == 0) {
			dm_shared_destroy(shared);
			dm_sync_destroy(sync);
			dm_members_destroy(members);
		} else {
			pool->members = members; /* the next call tries again */
			pool->shared = shared;
			pool->sync = sync;
		}
	}
	dm_pool_list_unlock();
	return rc;
}
