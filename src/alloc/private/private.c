/* SPDX-License-Identifier: Apache-2.0 */
/* private.c: a private heap as a whole, and its blocks above 1 MiB, which are runs of extents. */
#include "alloc/private/private.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/private/heap.h"
#include "base/error.h"
#include "dmem/alloc.h"

#if defined(__SANITIZE_THREAD__) /* which leaves little room */
#define RANGE_BYTES_MAX (16 * DM_GIB)
#else
#define RANGE_BYTES_MAX DM_TIB
#endif
#define RANGE_BYTES_MIN DM_GIB

/* Reserve addresses that start at a multiple of the largest alignment; less of them where there is a limit. */
static int reserve_range(struct dm_private *heap)
{
	for (uint64_t bytes = RANGE_BYTES_MAX; bytes >= RANGE_BYTES_MIN; bytes /= 2) {
		char *at =
			mmap(NULL, bytes + DM_PRIVATE_ALIGNMENT_MAX, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		uint64_t base, before;

		if (at == MAP_FAILED)
			continue;
		base = dm_divide_up((uintptr_t)at, DM_PRIVATE_ALIGNMENT_MAX) * DM_PRIVATE_ALIGNMENT_MAX;
		before = base - (uintptr_t)at;
		if (before)
			munmap(at, before);
		munmap((char *)base + bytes, DM_PRIVATE_ALIGNMENT_MAX - before);
		heap->base = base;
		heap->extents = bytes / DM_PRIVATE_EXTENT_BYTES;
		return 0;
	}
	return dm_fail(-ENOMEM, "no addresses for private memory: a range of %llu bytes can't be reserved (see ulimit -v)",
	               (unsigned long long)RANGE_BYTES_MIN);
}

static uint64_t table_bytes(const struct dm_private *heap)
{
	return heap->extents * sizeof(struct dm_private_extent);
}

static uint64_t claimed_bytes(const struct dm_private *heap)
{
	return dm_divide_up(heap->extents, 64) * sizeof(uint64_t);
}

static int make_tables(struct dm_private *heap)
{
	heap->table = dm_private_local_map(table_bytes(heap));
	heap->claimed = dm_private_local_map(claimed_bytes(heap));
	heap->here = dm_private_local_map(DM_KIB * 4);
	if (!heap->table || !heap->claimed || !heap->here || madvise((void *)heap->here, DM_KIB * 4, MADV_WIPEONFORK))
		return dm_fail(-ENOMEM, "no local memory for the tables of private memory");
	atomic_store_explicit(heap->here, 1, memory_order_relaxed);
	return 0;
}

/* Everything but the extents. */
static void dispose(struct dm_private *heap)
{
	dm_private_local_unmap(heap->table, table_bytes(heap));
	dm_private_local_unmap(heap->claimed, claimed_bytes(heap));
	dm_private_local_unmap((void *)heap->here, DM_KIB * 4);
	while (heap->arenas) {
		void *arena = heap->arenas;

		memcpy(&heap->arenas, arena, sizeof(heap->arenas));
		dm_private_local_unmap(arena, 4 * DM_MIB);
	}
	if (heap->base)
		munmap((void *)heap->base, heap->extents * DM_PRIVATE_EXTENT_BYTES);
	dm_private_local_unmap(heap, sizeof(*heap));
}

int dm_private_create(const struct dm_private_source *source, struct dm_private **private_heap)
{
	struct dm_private *heap = dm_private_local_map(sizeof(*heap));
	int code;

	if (!heap)
		return dm_fail(-ENOMEM, "no local memory for a private heap");
	heap->source = *source;
	heap->kept = DM_PRIVATE_NONE;
	heap->deferred = DM_PRIVATE_NONE;
	pthread_mutex_init(&heap->lock, NULL);
	dm_private_slabs_init(heap);
	code = reserve_range(heap);
	if (code)
		goto err_dispose;
	code = make_tables(heap);
	if (code)
		goto err_dispose;
	code = dm_private_register(heap);
	if (code)
		goto err_dispose;
	*private_heap = heap;
	return 0;
err_dispose:
	dispose(heap);
	return code;
}

void dm_private_destroy(struct dm_private *heap)
{
	const bool ours = dm_private_is_here(heap) && !heap->inherited;

	dm_private_unregister(heap);
	for (uint64_t i = 0; ours && i < heap->claim_end; i++) {
		const struct dm_private_extent *entry = &heap->table[i];

		if (atomic_load_explicit(&entry->use, memory_order_relaxed) == DM_USE_NONE || !entry->piece)
			continue;
		dm_private_reserve_again(heap, i, entry->piece);
		heap->source.give(heap->source.context, entry->window_extent, entry->piece);
	}
	dispose(heap);
}

static void *alloc_large(struct dm_private *heap, size_t bytes, size_t alignment)
{
	const uint64_t count = bytes ? dm_divide_up(bytes, DM_PRIVATE_EXTENT_BYTES) : 1;
	uint64_t index;
	int code;

	if (count > heap->extents) {
		dm_fail_quietly(-ENOMEM, "%zu bytes are more than the addresses for private memory hold", bytes);
		return NULL;
	}
	code = dm_private_extents_get(heap, count, dm_divide_up(alignment, DM_PRIVATE_EXTENT_BYTES), &index);
	if (code) {
		errno = dm_error_errno(code);
		return NULL;
	}
	dm_private_lock(&heap->lock);
	for (uint64_t i = index; i < index + count; i++) {
		atomic_store_explicit(&heap->table[i].run, i == index ? (uint32_t)count : 0, memory_order_relaxed);
		atomic_store_explicit(&heap->table[i].used_before, true, memory_order_relaxed);
		atomic_store_explicit(&heap->table[i].use, i == index ? DM_USE_LARGE : DM_USE_LARGE_REST, memory_order_release);
	}
	dm_private_unlock(&heap->lock);
	return dm_private_address(heap, index);
}

void *dm_private_alloc(struct dm_private *heap, size_t bytes, size_t alignment, bool zeroed)
{
	uint32_t class_index;
	void *block;

	if (alignment < 16)
		alignment = alignment == 0 || dm_is_power_of_two(alignment) ? 16 : 3;
	if (!dm_is_power_of_two(alignment) || alignment > DM_PRIVATE_ALIGNMENT_MAX) {
		dm_fail(-EINVAL, "an alignment of %zu: it has to be a power of two up to 1 GiB", alignment);
		return NULL;
	}
	/* What an inherited heap has free is local memory, and in the middle of a fork nothing may be mapped. */
	if (heap->inherited || !dm_private_is_here(heap) || dm_private_is_forker()) {
		dm_fail_quietly(-ENOMEM, "this private heap belongs to the parent process, or to a fork that is under way");
		return NULL;
	}
	class_index = dm_private_class_of(bytes, alignment);
	if (class_index == DM_PRIVATE_NO_CLASS)
		block = alloc_large(heap, bytes, alignment);
	else
		block = dm_private_slab_alloc(heap, class_index);
	if (block && zeroed)
		memset(block, 0, bytes);
	return block;
}

void dm_private_release_large(struct dm_private *heap, uint64_t index)
{
	dm_private_extents_put(heap, index, atomic_load_explicit(&heap->table[index].run, memory_order_relaxed));
}

/* Why a pointer outside of slabs is not the start of a large block. */
static int why_not_large(const struct dm_private_extent *entry, bool at_start)
{
	switch (atomic_load_explicit(&entry->use, memory_order_acquire)) {
	case DM_USE_LARGE:
		return at_start ? 0 : DMEM_E_INTERIOR;
	case DM_USE_LARGE_REST:
		return DMEM_E_INTERIOR;
	default:
		return atomic_load_explicit(&entry->used_before, memory_order_relaxed) ? DMEM_E_DOUBLE_FREE : DMEM_E_FOREIGN;
	}
}

static int free_large(struct dm_private *heap, uint64_t index, bool at_start)
{
	struct dm_private_extent *entry = &heap->table[index];
	bool put = false;
	uint32_t run;
	int code;

	dm_private_lock(&heap->lock);
	code = why_not_large(entry, at_start);
	if (code)
		goto out_unlock;
	run = atomic_load_explicit(&entry->run, memory_order_relaxed);
	for (uint64_t i = index; i < index + run; i++)
		atomic_store_explicit(&heap->table[i].use, DM_USE_BUSY, memory_order_relaxed);
	put = !dm_private_is_forker();
	if (!put) { /* the child's copy is made already: done when the fork is over */
		entry->next = heap->deferred;
		heap->deferred = (uint32_t)index;
	}
out_unlock:
	dm_private_unlock(&heap->lock);
	if (put)
		dm_private_release_large(heap, index);
	return code;
}

static int refuse(int code, const void *block)
{
	switch (code) {
	case 0:
		return 0;
	case DMEM_E_INTERIOR:
		return dm_fail(code, "free of %p: it lies inside a live block; only the block's start can be freed", block);
	case DMEM_E_DOUBLE_FREE:
		return dm_fail(code, "free of %p: that block is free already", block);
	default:
		return dm_fail(code, "free of %p: no block was ever there", block);
	}
}

int dm_private_free(struct dm_private *heap, void *block)
{
	const int errno_before = errno;
	struct dm_slab_extent *owner;
	uint64_t index;
	int code;

	if (!dm_private_contains(heap, block))
		return refuse(DMEM_E_FOREIGN, block);
	if (!dm_private_is_here(heap) && !dm_private_is_forker())
		return 0; /* a raw clone: the block is the parent's, and so is all that is known of it */
	index = dm_private_index(heap, block);
	owner = atomic_load_explicit(&heap->table[index].slabs, memory_order_acquire);
	if (owner)
		code = dm_private_slab_free(heap, owner, block);
	else
		code = free_large(heap, index, dm_is_aligned((uintptr_t)block, DM_PRIVATE_EXTENT_BYTES));
	if (code)
		return refuse(code, block);
	errno = errno_before;
	return 0;
}

size_t dm_private_usable(struct dm_private *heap, const void *block)
{
	struct dm_slab_extent *owner;
	uint64_t index;

	if (!dm_private_contains(heap, block))
		return 0;
	index = dm_private_index(heap, block);
	owner = atomic_load_explicit(&heap->table[index].slabs, memory_order_acquire);
	if (owner)
		return dm_private_slab_usable(heap, owner, block);
	if (why_not_large(&heap->table[index], dm_is_aligned((uintptr_t)block, DM_PRIVATE_EXTENT_BYTES)))
		return 0;
	return atomic_load_explicit(&heap->table[index].run, memory_order_relaxed) * (size_t)DM_PRIVATE_EXTENT_BYTES;
}

bool dm_private_contains(const struct dm_private *heap, const void *address)
{
	return (uintptr_t)address - heap->base < heap->extents * DM_PRIVATE_EXTENT_BYTES;
}

int dm_private_locate(struct dm_private *heap, const void *address, uint64_t *window_extent, uint64_t *offset_in_extent)
{
	const struct dm_private_extent *entry;
	uint32_t use;

	if (!dm_private_contains(heap, address) || heap->inherited)
		return DMEM_E_FOREIGN;
	entry = &heap->table[dm_private_index(heap, address)];
	use = atomic_load_explicit(&entry->use, memory_order_acquire);
	if (use == DM_USE_NONE || use == DM_USE_BUSY)
		return DMEM_E_FOREIGN;
	*window_extent = entry->window_extent;
	*offset_in_extent = (uintptr_t)address % DM_PRIVATE_EXTENT_BYTES;
	return 0;
}

bool dm_private_inherited(const struct dm_private *heap)
{
	return heap->inherited;
}

uint64_t dm_private_mapped_bytes(struct dm_private *heap)
{
	return atomic_load_explicit(&heap->mapped_extents, memory_order_relaxed) * DM_PRIVATE_EXTENT_BYTES;
}

int dmem_is_pool_private(const void *address)
{
	return dm_private_find(address) != NULL;
}
