/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.c: dmem/alloc.h: which allocator a call or a pointer belongs to.
 *
 * A pointer tells by its address: in an attached pool's window it is shared, in a private heap's range it is private pool
 * memory, else the record of local blocks knows it, or nobody does.
 */
#include <errno.h>
#include <string.h>

#include "alloc/private/local.h"
#include "alloc/shared/fast.h"
#include "alloc/shared/redo.h"
#include "base/error.h"
#include "dmem/alloc.h"
#include "pool.h"

#define ALIGNMENT_DEFAULT 16u
#define ALIGNMENT_MAX     DM_GIB

static void *no_memory(int rc)
{
	errno = dm_error_errno(rc);
	return NULL;
}

static void *alloc_shared(struct dmem_pool *pool, size_t bytes, size_t alignment, bool zeroed)
{
	int rc = dm_pool_check(pool);
	void *block;

	if (rc)
		return no_memory(rc);
	if (bytes == 0)
		bytes = 1;
	block = dm_shared_alloc(pool->shared, bytes, alignment, zeroed);
	if (__builtin_expect(block == NULL, 0) && errno == ENOMEM && dm_pool_finish_growth(pool))
		block = dm_shared_alloc(pool->shared, bytes, alignment, zeroed);
	if (block == NULL && errno == ENOMEM) {
		(void)dm_fail_quietly(-ENOMEM, "%s has no %zu bytes left: grow it with 'dmemctl grow', or free some memory",
		                      pool->window->devices[0]->name, bytes);
		errno = ENOMEM;
	}
	return block;
}

static void *alloc_private(struct dmem_pool *pool, size_t bytes, size_t alignment, bool zeroed)
{
	int rc = dm_pool_check(pool);
	struct dm_private *heap;

	if (rc)
		return no_memory(rc);
	heap = dm_pool_private(pool);
	return heap == NULL ? NULL : dm_private_alloc(heap, bytes, alignment, zeroed);
}

static __attribute__((noinline)) void *alloc_shared_default(size_t bytes)
{
	struct dmem_pool *pool = dmem_default_pool();

	return pool == NULL ? NULL : alloc_shared(pool, bytes, ALIGNMENT_DEFAULT, false);
}

void *dmem_alloc_shared(size_t bytes)
{
	struct dmem_pool *pool = atomic_load_explicit(&dm_default_pool, memory_order_acquire);
	void *block = NULL;

	if (__builtin_expect(pool != NULL && dm_pool_is_usable(pool), 1))
		block = dm_shared_take_fast(pool->shared, bytes);
	return __builtin_expect(block != NULL, 1) ? block : alloc_shared_default(bytes);
}

void *dmem_alloc_pool(size_t bytes)
{
	struct dmem_pool *pool = dmem_default_pool();

	return pool == NULL ? NULL : alloc_private(pool, bytes, ALIGNMENT_DEFAULT, false);
}

void *dmem_alloc_local(size_t bytes)
{
	return dm_local_alloc(bytes, ALIGNMENT_DEFAULT, false);
}

void *dmem_alloc(size_t bytes)
{
	return dm_local_alloc(bytes, ALIGNMENT_DEFAULT, false);
}

static int check_options(const struct dmem_alloc_options *options)
{
	if (options->struct_bytes < sizeof(*options))
		return dm_fail(-EINVAL, "the allocation options have struct_bytes %zu: start from DMEM_ALLOC_OPTIONS_DEFAULT",
		               options->struct_bytes);
	if (options->alignment_bytes != 0 &&
	    (!dm_is_power_of_two(options->alignment_bytes) || options->alignment_bytes > ALIGNMENT_MAX))
		return dm_fail(-EINVAL, "an alignment of %zu bytes can't be had: a power of two up to 1 GiB",
		               options->alignment_bytes);
	if (options->tier > DMEM_TIER_SHARED)
		return dm_fail(-EINVAL, "there is no tier %d: local, pool or shared", (int)options->tier);
	if (options->optional != 0)
		return dm_fail(-ENOTSUP, "optional memory comes with a later version of libdmem: allocate it as vital memory");
	return 0;
}

void *dmem_alloc_ex(struct dmem_pool *pool, size_t bytes, const struct dmem_alloc_options *options)
{
	static const struct dmem_alloc_options defaults = DMEM_ALLOC_OPTIONS_DEFAULT;
	size_t alignment;
	int rc;

	if (options == NULL)
		options = &defaults;
	rc = check_options(options);
	if (rc)
		return no_memory(rc);
	alignment = options->alignment_bytes > ALIGNMENT_DEFAULT ? options->alignment_bytes : ALIGNMENT_DEFAULT;
	if (options->tier == DMEM_TIER_LOCAL)
		return dm_local_alloc(bytes, alignment, options->zeroed != 0);
	if (pool == NULL)
		pool = dmem_default_pool();
	if (pool == NULL)
		return NULL;
	if (options->tier == DMEM_TIER_POOL)
		return alloc_private(pool, bytes, alignment, options->zeroed != 0);
	return alloc_shared(pool, bytes, alignment, options->zeroed != 0);
}

static __attribute__((noinline)) void free_block(void *block)
{
	struct dmem_pool *pool;
	struct dm_private *heap;
	int saved = errno;

	if (block == NULL)
		return;
	pool = dm_pool_of(block);
	if (pool != NULL) {
		if (dm_pool_check(pool) == 0)
			(void)dm_shared_free(pool->shared, block);
	} else {
		heap = dm_private_find(block);
		if (heap != NULL)
			(void)dm_private_free(heap, block);
		else
			(void)dm_local_free(block);
	}
	errno = saved;
}

/* The pool that a slot lies in. */
static int pool_of_slot(void **slot, struct dmem_pool **pool)
{
	uint64_t offset;
	int rc;

	*pool = slot == NULL ? NULL : dm_pool_of(slot);
	if (*pool == NULL || (uintptr_t)slot % sizeof(void *) != 0)
		return dm_fail(
			-EINVAL,
			"%p can't be a slot: give the address of a pointer that lies in an attached pool, aligned to 8 bytes",
			(void *)slot);
	rc = dm_pool_check(*pool);
	if (rc)
		return rc;
	offset = dm_window_offset((*pool)->window, slot);
	if (dm_window_segment((*pool)->window, offset >> DM_EXTENT_SHIFT) == NULL)
		return dm_fail(-EINVAL, "%p can't be a slot: no device of the pool backs it: allocate the memory first",
		               (void *)slot);
	return 0;
}

int dmem_alloc_shared_to(void **slot, size_t bytes)
{
	struct dmem_pool *pool;
	int rc = pool_of_slot(slot, &pool);

	if (rc)
		return rc;
	if (bytes == 0)
		bytes = 1;
	rc = dm_shared_alloc_to(pool->shared, slot, bytes);
	if (rc == -ENOMEM && dm_pool_finish_growth(pool))
		rc = dm_shared_alloc_to(pool->shared, slot, bytes);
	if (rc == -ENOMEM)
		return dm_fail_quietly(rc, "%s has no %zu bytes left: grow it with 'dmemctl grow', or free some memory",
		                       pool->window->devices[0]->name, bytes);
	return rc;
}

int dmem_free_from(void **slot)
{
	struct dmem_pool *pool;
	int rc = pool_of_slot(slot, &pool);

	if (rc || *slot == NULL)
		return rc;
	if (dm_pool_of(*slot) != pool)
		return dm_fail(DMEM_E_FOREIGN,
		               "the slot at %p holds %p, which is not in its pool: store there what was allocated there",
		               (void *)slot, *slot);
	return dm_shared_free_from(pool->shared, slot);
}

void dmem_free(void *block)
{
	struct dmem_pool *pool = atomic_load_explicit(&dm_default_pool, memory_order_acquire);

	if (__builtin_expect(pool == NULL || !dm_pool_holds(pool, block) || !dm_pool_is_usable(pool), 0) ||
	    __builtin_expect(!dm_shared_give_fast(pool->shared, block), 0))
		free_block(block);
}

size_t dmem_usable_size(const void *block)
{
	struct dmem_pool *pool;
	struct dm_private *heap;

	if (block == NULL)
		return 0;
	pool = dm_pool_of(block);
	if (pool != NULL)
		return dm_pool_check(pool) == 0 ? dm_shared_usable(pool->shared, block) : 0;
	heap = dm_private_find(block);
	return heap != NULL ? dm_private_usable(heap, block) : dm_local_usable(block);
}

/* A block of the same pool and tier as another one. */
static void *alloc_like(const void *block, size_t bytes)
{
	struct dmem_pool *pool = dm_pool_of(block);
	struct dm_private *heap = pool == NULL ? dm_private_find(block) : NULL;

	if (pool != NULL)
		return alloc_shared(pool, bytes, ALIGNMENT_DEFAULT, false);
	if (heap != NULL && !dm_private_inherited(heap))
		return dm_private_alloc(heap, bytes, ALIGNMENT_DEFAULT, false);
	return dm_local_alloc(bytes, ALIGNMENT_DEFAULT, false);
}

void *dmem_realloc(void *block, size_t bytes)
{
	size_t usable;
	void *moved;

	if (block == NULL)
		return dmem_alloc_shared(bytes);
	usable = dmem_usable_size(block);
	if (usable == 0) {
		(void)dm_fail(-EINVAL, "realloc of %p: it is not the start of a live block: look for who passes it", block);
		errno = EINVAL;
		return NULL;
	}
	if (bytes <= usable && bytes >= usable / 2)
		return block;
	moved = alloc_like(block, bytes);
	if (moved == NULL)
		return NULL;
	memcpy(moved, block, bytes < usable ? bytes : usable);
	dmem_free(block);
	return moved;
}

/* --- where an address is --- */

static int locate_in_window(struct dmem_pool *pool, uint64_t offset, struct dmem_location *location)
{
	struct dm_member_view view;
	int rc = dm_pool_check(pool);

	location->pool = pool;
	location->offset = offset;
	location->owner = DM_NO_SLOT;
	if (rc == 0)
		rc = dm_window_translate(pool->window, offset, &location->device, &location->device_offset, NULL);
	if (rc)
		return rc;
	location->node = pool->window->devices[location->device]->node;
	location->owner = dm_shared_owner(pool->shared, offset);
	if (location->owner != DM_NO_SLOT && dm_members_view(pool->members, location->owner, &view) == 0)
		location->owner_incarnation = view.incarnation;
	return 0;
}

static int locate_private(struct dm_private *heap, const void *address, struct dmem_location *location)
{
	uint64_t extent;
	uint64_t inside;
	unsigned count = atomic_load(&dm_pools_count);
	int rc;

	if (dm_private_inherited(heap)) { /* the parent's pool memory, copied: local */
		location->tier = DMEM_TIER_LOCAL;
		return 0;
	}
	rc = dm_private_locate(heap, address, &extent, &inside);
	if (rc)
		return rc;
	location->tier = DMEM_TIER_POOL;
	for (unsigned i = 0; i < count; i++) {
		struct dmem_pool *pool = atomic_load(&dm_pools[i]);

		if (pool != NULL && atomic_load(&pool->private_heap) == heap)
			return locate_in_window(pool, (extent << DM_EXTENT_SHIFT) + inside, location);
	}
	return dm_fail(DMEM_E_FOREIGN, "%p belongs to a pool that was detached", address);
}

int dmem_locate(const void *address, struct dmem_location *result)
{
	struct dmem_location location = {.node = -1, .owner = DM_NO_SLOT};
	struct dmem_pool *pool = dm_pool_of(address);
	struct dm_private *heap;
	int rc = 0;

	if (result == NULL || result->struct_bytes == 0)
		return dm_fail(DMEM_E_OPTION, "dmem_locate() wants a location whose struct_bytes is set");
	heap = pool == NULL ? dm_private_find(address) : NULL;
	if (pool != NULL) {
		location.tier = DMEM_TIER_SHARED;
		rc = locate_in_window(pool, dm_window_offset(pool->window, address), &location);
	} else if (heap != NULL) {
		rc = locate_private(heap, address, &location);
	} else if (dm_local_contains(address)) {
		location.tier = DMEM_TIER_LOCAL;
	} else {
		rc = dm_fail(DMEM_E_FOREIGN, "%p is neither in an attached pool nor in a block of this library", address);
	}
	if (rc)
		return rc;
	location.struct_bytes = result->struct_bytes;
	memcpy(result, &location, result->struct_bytes < sizeof(location) ? result->struct_bytes : sizeof(location));
	return 0;
}
