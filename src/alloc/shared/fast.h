/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fast.h: what nearly every call comes to, in line: taking a block from the thread's current slab, and giving one back to a
 * slab that the thread owns.  Everything else returns "not here" and is left to block.c, which does the same and more.
 *
 * Only for coherent pools: there a store is seen by all, and its order is the program's.
 */
#ifndef DM_ALLOC_SHARED_FAST_H
#define DM_ALLOC_SHARED_FAST_H

#include "alloc/shared/heap.h"
#include "base/fault.h"

/* The slab of ours that holds an offset of the window. */
static inline struct dm_slab *dm_slab_at(const struct dm_shared *shared, uint64_t offset)
{
	/* pairs with the release in dm_slab_structure() */
	return atomic_load_explicit(&shared->units[offset >> DM_UNIT_SHIFT], memory_order_acquire);
}

/* Number of the block that starts at `delta` in a slab; false when none starts there. */
static inline bool dm_slab_block(const struct dm_slab *slab, uint64_t delta, uint32_t *block)
{
	*block = (uint32_t)(delta * slab->reciprocal >> DM_RECIPROCAL_SHIFT);
	return *block < slab->blocks && (uint64_t)*block * slab->block_bytes == delta;
}

/* Take block `bits`' lowest set bit of word `word`.  The store commits. */
static inline void *dm_slab_take_bit(struct dm_slab *slab, uint32_t word, uint64_t bits)
{
	uint32_t block = word * 64 + (uint32_t)__builtin_ctzll(bits);

	if (__builtin_expect(block >= slab->blocks, 0)) /* somebody wrote into our metadata */
		return NULL;
	__atomic_store_n(&slab->bits[word], bits & (bits - 1), __ATOMIC_RELAXED);
	slab->free_count--;
	return slab->address + (uint64_t)block * slab->block_bytes;
}

/* A block of at least `bytes`; NULL: ask dm_shared_alloc(). */
static inline void *dm_shared_take_fast(struct dm_shared *shared, uint64_t bytes)
{
	struct dm_heap *heap = dm_heap_mine(shared);
	struct dm_slab *slab;
	uint64_t bits;
	void *block;

	if (__builtin_expect(heap == NULL || bytes > shared->classes.small_bytes || !shared->window->coherent, 0))
		return NULL;
	slab = heap->bins[dm_class_small(&shared->classes, bytes)].current;
	if (__builtin_expect(slab == NULL, 0))
		return NULL;
	bits = slab->bits[slab->cursor];
	if (__builtin_expect(bits == 0, 0))
		return NULL;
	block = dm_slab_take_bit(slab, slab->cursor, bits);
	dm_fence_publish();
	DM_CRASH_POINT(BLOCK_TAKEN);
	return block;
}

/* Give a block back to a slab of the calling thread; false: ask dm_shared_free(), nothing was changed. */
static inline bool dm_shared_give_fast(struct dm_shared *shared, void *address)
{
	struct dm_slab *slab = dm_slab_at(shared, dm_window_offset(shared->window, address));
	uint64_t *word;
	uint64_t bit;
	uint32_t block;

	if (__builtin_expect(slab == NULL, 0) ||
	    __builtin_expect(atomic_load_explicit(&slab->thread, memory_order_relaxed) != dm_heap_of_thread, 0))
		return false;
	if (__builtin_expect(!dm_slab_block(slab, (uint64_t)((uint8_t *)address - slab->address), &block), 0))
		return false;
	word = &slab->bits[block / 64];
	bit = UINT64_C(1) << block % 64;
	/* freed bits are set by those who have set the hint before (block.c) */
	if (__builtin_expect((*word & bit) != 0 || (__atomic_load_n(slab->pending, __ATOMIC_ACQUIRE) >> slab->unit & 1), 0))
		return false;
	if (__builtin_expect(
			slab->list == DM_LIST_FULL || slab->free_count + 1 >= slab->blocks || !shared->window->coherent, 0))
		return false;
	__atomic_store_n(word, *word | bit, __ATOMIC_RELEASE);
	slab->free_count++;
	return true;
}

#endif
