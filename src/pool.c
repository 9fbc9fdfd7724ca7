/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c: attaching and detaching.
 *
 * Attach: open the devices and map the window (addr/), join as a member (failure/), set the allocator up (alloc/), start the
 * agent.  Nothing here depends on the pool's size.  A death at any moment leaves at most a member slot, which others recover.
 *
 * Lock: list_lock, for the list of attached pools; only default_lock (default.c) is outside of it.
 */
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr/superblock.h"
#include "alloc/shared/redo.h"
#include "base/error.h"
#include "dmem/coherence.h"

_Atomic(struct dmem_pool *) dm_pools[DM_POOLS_MAX];
_Atomic unsigned dm_pools_count;
_Atomic unsigned dm_fork_generation;

/* Checks for errors: under the shim, a malloc() of the C library inside of an attach may come back to us, and must be told no. */
static pthread_mutex_t list_lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static struct dmem_pool *all_handles;

int dm_pool_list_lock(void)
{
	int rc = pthread_mutex_lock(&list_lock);

	return rc == 0 ? 0 : dm_fail_quietly(-rc, "this thread is attaching or detaching a pool already");
}

void dm_pool_list_unlock(void)
{
	pthread_mutex_unlock(&list_lock);
}

void dm_pool_list_after_fork(void)
{
	static const pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

	list_lock = fresh;
}

int dm_pool_check_slow(struct dmem_pool *pool)
{
	if (pool == NULL)
		return dm_fail(-EINVAL, "the pool is NULL: attach one with dmem_pool_attach()");
	if (!atomic_load_explicit(&pool->attached, memory_order_acquire))
		return dm_fail(DMEM_E_DETACHED, "the pool was detached: attach it again");
	if (atomic_load_explicit(&pool->window->cut, memory_order_relaxed) != DM_WINDOW_WHOLE)
		return dm_fail_quietly(DMEM_E_FENCED,
		                       "%s: this process was silent for too long, and the others went on without it: detach the pool, and "
		                       "attach it again",
		                       pool->window->devices[0]->name);
	if (atomic_load_explicit(&pool->window->lost, memory_order_relaxed))
		return dm_fail(DMEM_E_LOST,
		               "%s: memory of the pool was lost: detach it, restore its device, and attach it again",
		               pool->window->devices[0]->name);
	return dm_pool_rejoin(pool);
}

/* --- the list --- */

static int enlist(struct dmem_pool *pool)
{
	for (unsigned i = 0; i < DM_POOLS_MAX; i++) {
		if (atomic_load(&dm_pools[i]) != NULL)
			continue;
		atomic_store_explicit(&dm_pools[i], pool, memory_order_release);
		if (i >= atomic_load(&dm_pools_count))
			atomic_store_explicit(&dm_pools_count, i + 1, memory_order_release);
		return 0;
	}
	return dm_fail(-EMFILE, "this process has %u pools attached, which is the limit: detach one", DM_POOLS_MAX);
}

static void delist(struct dmem_pool *pool)
{
	unsigned count = atomic_load(&dm_pools_count);

	for (unsigned i = 0; i < count; i++)
		if (atomic_load(&dm_pools[i]) == pool)
			atomic_store_explicit(&dm_pools[i], NULL, memory_order_release);
	while (count > 0 && atomic_load(&dm_pools[count - 1]) == NULL)
		atomic_store_explicit(&dm_pools_count, --count, memory_order_release);
}

static struct dmem_pool *find_by_uuid(const uint8_t uuid[16])
{
	unsigned count = atomic_load(&dm_pools_count);

	for (unsigned i = 0; i < count; i++) {
		struct dmem_pool *pool = atomic_load(&dm_pools[i]);

		if (pool != NULL && memcmp(pool->window->superblock.pool_uuid, uuid, 16) == 0)
			return pool;
	}
	return NULL;
}

/* Is the pool of this URI attached already?  Only asked when some pool is. */
static int find_attached(const struct dm_uri *uri, struct dmem_pool **found)
{
	struct dm_superblock_pm *superblock = malloc(sizeof(*superblock));
	struct dm_device *device;
	int rc;

	*found = NULL;
	if (superblock == NULL)
		return dm_fail(-ENOMEM, "no memory to attach %s:%s", uri->scheme, uri->path);
	rc = dm_transport_open(uri, &device);
	if (rc)
		goto err_free;
	rc = dm_superblock_read(device, superblock, NULL);
	device->transport->region.close(device);
	if (rc == 0)
		*found = find_by_uuid(superblock->pool_uuid);
err_free:
	free(superblock);
	return rc;
}

/* --- attach --- */

int dm_pool_join(struct dmem_pool *pool)
{
	int rc = dm_members_create(pool->window, &pool->members);

	if (rc)
		return rc;
	rc = dm_sync_create(pool->window, pool->members, &pool->sync);
	if (rc)
		goto err_members;
	rc = dm_shared_create(pool->window, pool->members, &pool->shared);
	if (rc)
		goto err_sync;
	rc = dm_failure_register_repair(pool->members, DM_REPAIR_REDO, dm_redo_repair, pool->shared);
	if (rc == 0)
		rc = dm_failure_register_repair(pool->members, DM_REPAIR_MEMORY, dm_shared_repair, pool->shared);
	if (rc == 0)
		rc = dm_members_on_beat(pool->members, dm_shared_on_beat, pool->shared);
	if (rc)
		goto err_shared;
	rc = dm_members_join(pool->members);
	if (rc)
		goto err_shared;
	rc = dm_sync_joined(pool->sync);
	if (rc == 0)
		rc = dm_members_start_agent(pool->members);
	if (rc)
		goto err_leave;
	atomic_store_explicit(&pool->fork_generation, atomic_load(&dm_fork_generation), memory_order_relaxed);
	return 0;
err_leave:
	dm_members_begin_leave(pool->members);
	dm_members_leave(pool->members);
err_shared:
	dm_shared_destroy(pool->shared);
err_sync:
	dm_sync_destroy(pool->sync);
err_members:
	dm_members_destroy(pool->members);
	pool->members = NULL;
	pool->sync = NULL;
	pool->shared = NULL;
	return rc;
}

static int attach_new(const struct dm_uri *uri, const struct dmem_attach_options *options, struct dmem_pool **result)
{
	const char *const *devices = options == NULL ? NULL : options->devices;
	const char *from_uri[DM_ARRAY_LENGTH(uri->devices) + 1] = {NULL};
	struct dmem_pool *pool = calloc(1, sizeof(*pool));
	int rc;

	if (pool == NULL)
		return dm_fail(-ENOMEM, "no memory to attach %s:%s", uri->scheme, uri->path);
	for (unsigned i = 0; i < uri->device_count; i++)
		from_uri[i] = uri->devices[i];
	rc = dm_window_open(uri, options == NULL ? NULL : options->require, uri->device_count > 0 ? from_uri : devices,
	                    &pool->window);
	if (rc)
		goto err_free;
	rc = dm_pool_join(pool);
	if (rc)
		goto err_window;
	atomic_store(&pool->base, pool->window->base);
	atomic_store(&pool->span_bytes, pool->window->span_bytes);
	pool->references = 1;
	rc = enlist(pool);
	if (rc)
		goto err_leave;
	pool->next_handle = all_handles;
	all_handles = pool;
	atomic_store_explicit(&pool->attached, true, memory_order_release);
	if (pool->window->repair_wanted && dm_admin_lock(pool->members) == 0)
		dm_admin_unlock(pool->members); /* taking the lock makes the copies equal */
	*result = pool;
	return 0;
err_leave:
	dm_members_begin_leave(pool->members);
	dm_members_stop_agent(pool->members);
	dm_members_leave(pool->members);
	dm_shared_destroy(pool->shared);
	dm_sync_destroy(pool->sync);
	dm_members_destroy(pool->members);
err_window:
	dm_window_close(pool->window);
err_free:
	free(pool);
	return rc;
}

int dmem_pool_attach(const char *uri_text, const struct dmem_attach_options *options, struct dmem_pool **result)
{
	struct dmem_pool *pool = NULL;
	struct dm_uri *uri;
	int rc;

	if (uri_text == NULL || result == NULL)
		return dm_fail(-EINVAL, "dmem_pool_attach() wants a URI and a place for the pool");
	if (options != NULL && (options->struct_bytes < sizeof(*options) || options->fault > DMEM_FAULT_INLINE))
		return dm_fail(DMEM_E_OPTION,
		               "the attach options have struct_bytes %zu and fault %d: start from "
		               "DMEM_ATTACH_OPTIONS_DEFAULT",
		               options->struct_bytes, (int)options->fault);
	uri = malloc(sizeof(*uri));
	if (uri == NULL)
		return dm_fail(-ENOMEM, "no memory to attach %s", uri_text);
	rc = dm_uri_parse(uri_text, uri);
	if (rc == 0)
		rc = dm_fork_register();
	if (rc == 0)
		rc = dm_pool_list_lock();
	if (rc)
		goto err_free;
	if (atomic_load(&dm_pools_count) > 0)
		rc = find_attached(uri, &pool);
	if (rc == 0 && pool != NULL)
		pool->references++;
	else if (rc == 0)
		rc = attach_new(uri, options, &pool);
	dm_pool_list_unlock();
	if (rc == 0)
		*result = pool;
err_free:
	free(uri);
	return rc;
}

/* --- detach --- */

int dmem_pool_detach(struct dmem_pool *pool)
{
	struct dm_private *private_heap;
	int rc;

	if (pool == NULL)
		return dm_fail(-EINVAL, "the pool is NULL");
	if (atomic_load(&pool->attached) && !pool->window->coherent && dmem_publish_all(pool) != 0)
		dm_log(DMEM_LOG_WARNING, "not everything could be published before the detach: %s", dmem_last_error());
	rc = dm_pool_list_lock();
	if (rc)
		return rc;
	if (!atomic_load(&pool->attached)) {
		dm_pool_list_unlock();
		return dm_fail(DMEM_E_DETACHED, "the pool was detached before");
	}
	if (--pool->references > 0) {
		dm_pool_list_unlock();
		return 0;
	}
	delist(pool);
	atomic_store_explicit(&pool->attached, false, memory_order_release);
	private_heap = atomic_exchange(&pool->private_heap, NULL);
	if (private_heap != NULL)
		dm_private_destroy(private_heap);
	if (atomic_load(&pool->fork_generation) == atomic_load(&dm_fork_generation)) {
		dm_pool_stop_mourning(pool);
		dm_sync_stop(pool->sync);
		if (dm_members_self(pool->members) == 0)
			dm_members_begin_leave(pool->members);
		dm_members_stop_agent(pool->members);
		if (!atomic_load(&pool->window->lost) && dm_members_self(pool->members) == 0) {
			dm_shared_leave(pool->shared);
			dm_members_leave(pool->members);
		}
	}
	dm_shared_destroy(pool->shared);
	dm_sync_destroy(pool->sync);
	dm_members_destroy(pool->members);
	dm_window_close(pool->window);
	dm_pool_list_unlock();
	return 0;
}

/* --- which pool --- */

struct dmem_pool *dmem_pool_of(const void *address)
{
	struct dmem_pool *pool = dm_pool_of(address);

	if (pool == NULL)
		(void)dm_fail_quietly(DMEM_E_FOREIGN, "%p is in no pool that this process has attached", address);
	return pool;
}

void *dmem_pool_base(struct dmem_pool *pool)
{
	int rc = dm_pool_check(pool);

	if (rc) {
		errno = dm_error_errno(rc);
		return NULL;
	}
	return (void *)(uintptr_t)atomic_load_explicit(&pool->base, memory_order_relaxed);
}

/* --- the private heap of a pool --- */

static int take_extents(void *context, uint64_t count, uint64_t alignment, uint64_t *first)
{
	return dm_extents_take_private(context, count, alignment, first);
}

static void give_extents(void *context, uint64_t first, uint64_t count)
{
	dm_extents_give_private(context, first, count);
}

static int map_extents(void *context, uint64_t first, uint64_t count, void *address)
{
	return dm_extents_map_private(context, first, count, address);
}

struct dm_private *dm_pool_private(struct dmem_pool *pool)
{
	struct dm_private_source source = {
		.take = take_extents, .give = give_extents, .map = map_extents, .context = pool->shared};
	struct dm_private *heap = atomic_load_explicit(&pool->private_heap, memory_order_acquire);
	int rc = 0;

	if (heap != NULL && !dm_private_inherited(heap))
		return heap;
	rc = dm_pool_list_lock();
	if (rc)
		goto err_errno;
	heap = atomic_load(&pool->private_heap);
	if (heap == NULL || dm_private_inherited(heap)) { /* an inherited heap stays reachable by its addresses */
		rc = dm_private_create(&source, &heap);
		if (rc == 0)
			atomic_store_explicit(&pool->private_heap, heap, memory_order_release);
	}
	dm_pool_list_unlock();
	if (rc == 0)
		return heap;
err_errno:
	errno = dm_error_errno(rc);
	return NULL;
}
