/* SPDX-License-Identifier: Apache-2.0 */
/*
 * extents.c: which addresses of a private heap are taken, and what is mapped there.
 *
 * An address is claimed under heap->lock; what follows (asking the pool, mapping) happens without it, on extents that are
 * DM_USE_BUSY and so belong to the calling thread alone.
 */
#include <errno.h>
#include <sys/mman.h>

#include "alloc/private/heap.h"
#include "base/error.h"

/* A run may be made of pieces, each a 16th of it at least: smaller ones would drain a pool in vain. */
#define SMALLEST_PIECE 16u

static bool is_claimed(const struct dm_private *heap, uint64_t index)
{
	return heap->claimed[index / 64] >> (index % 64) & 1;
}

/* The first claimed extent of [from, to); `to` when there is none. */
static uint64_t next_claimed(const struct dm_private *heap, uint64_t from, uint64_t to)
{
	while (from < to) {
		const uint64_t word = heap->claimed[from / 64] >> (from % 64);

		if (word) {
			from += (uint64_t)__builtin_ctzll(word);
			return from < to ? from : to;
		}
		from = (from / 64 + 1) * 64;
	}
	return to;
}

static void set_claimed(struct dm_private *heap, uint64_t index, uint64_t count, bool claimed)
{
	for (uint64_t i = index; i < index + count; i++) {
		const uint64_t bit = UINT64_C(1) << (i % 64);

		if (claimed)
			heap->claimed[i / 64] |= bit;
		else
			heap->claimed[i / 64] &= ~bit;
	}
}

/* First fit.  False: no such run of addresses is left. */
static bool claim(struct dm_private *heap, uint64_t count, uint64_t alignment, uint64_t *index)
{
	uint64_t at, found;
	bool fits = false;

	dm_private_lock(&heap->lock);
	for (at = dm_divide_up(heap->claim_hint, alignment) * alignment; dm_range_inside(at, count, heap->extents);
	     at = dm_divide_up(found + 1, alignment) * alignment) {
		found = next_claimed(heap, at, at + count);
		fits = found == at + count;
		if (fits)
			break;
	}
	if (fits) {
		set_claimed(heap, at, count, true);
		for (uint64_t i = at; i < at + count; i++)
			atomic_store_explicit(&heap->table[i].use, DM_USE_BUSY, memory_order_relaxed);
		while (heap->claim_hint < heap->extents && is_claimed(heap, heap->claim_hint))
			heap->claim_hint++;
		if (at + count > heap->claim_end)
			heap->claim_end = at + count;
		*index = at;
	}
	dm_private_unlock(&heap->lock);
	return fits;
}

void dm_private_unclaim(struct dm_private *heap, uint64_t index, uint64_t count)
{
	for (uint64_t i = index; i < index + count; i++)
		atomic_store_explicit(&heap->table[i].use, DM_USE_NONE, memory_order_relaxed);
	set_claimed(heap, index, count, false);
	if (index < heap->claim_hint)
		heap->claim_hint = index;
}

void dm_private_reserve_again(struct dm_private *heap, uint64_t index, uint64_t count)
{
	char *address = dm_private_address(heap, index);
	const uint64_t bytes = count * DM_PRIVATE_EXTENT_BYTES;

	/* Replacing a mapping may need one more of them than the system allows: then at least nobody gets at the memory. */
	if (mmap(address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		(void)mprotect(address, bytes, PROT_NONE);
}

/* Take one run from the pool and map it. */
static int map_piece(struct dm_private *heap, uint64_t index, uint64_t count)
{
	char *address = dm_private_address(heap, index);
	uint64_t first;
	int code = heap->source.take(heap->source.context, count, 1, &first);

	if (code)
		return code;
	code = heap->source.map(heap->source.context, first, count, address);
	if (code)
		goto err_give;
	/* A child that came to be without the fork handlers must not write to its parent's memory. */
	if (madvise(address, count * DM_PRIVATE_EXTENT_BYTES, MADV_DONTFORK)) {
		code = -errno;
		goto err_unmap;
	}
	for (uint64_t i = 0; i < count; i++) {
		heap->table[index + i].window_extent = first + i;
		heap->table[index + i].piece = i == 0 ? (uint32_t)count : 0;
	}
	atomic_fetch_add_explicit(&heap->mapped_extents, count, memory_order_relaxed);
	return 0;
err_unmap:
	dm_private_reserve_again(heap, index, count);
err_give:
	heap->source.give(heap->source.context, first, count);
	return code;
}

/* Unmap whole pieces and give them back; the addresses stay claimed. */
static void unmap_pieces(struct dm_private *heap, uint64_t index, uint64_t count)
{
	dm_private_reserve_again(heap, index, count);
	if (heap->inherited)
		return;
	for (uint64_t i = index; i < index + count; i += heap->table[i].piece)
		heap->source.give(heap->source.context, heap->table[i].window_extent, heap->table[i].piece);
	atomic_fetch_sub_explicit(&heap->mapped_extents, count, memory_order_relaxed);
}

int dm_private_extents_get(struct dm_private *heap, uint64_t count, uint64_t alignment, uint64_t *index)
{
	const uint64_t smallest = count < SMALLEST_PIECE ? 1 : count / SMALLEST_PIECE;
	uint64_t piece = count, done = 0, at;
	int code;

	if (!claim(heap, count, alignment, &at))
		return dm_fail_quietly(-ENOMEM, "no run of %llu extents is free among the addresses for private memory",
		                       (unsigned long long)count);
	while (done < count) {
		if (piece > count - done)
			piece = count - done;
		code = map_piece(heap, at + done, piece);
		if (code == -ENOMEM && piece / 2 >= smallest) {
			piece /= 2;
			continue;
		}
		if (code)
			goto err_put;
		done += piece;
	}
	*index = at;
	return 0;
err_put:
	if (done)
		unmap_pieces(heap, at, done);
	dm_private_lock(&heap->lock);
	dm_private_unclaim(heap, at, count);
	dm_private_unlock(&heap->lock);
	return code;
}

void dm_private_extents_put(struct dm_private *heap, uint64_t index, uint64_t count)
{
	unmap_pieces(heap, index, count);
	dm_private_lock(&heap->lock);
	dm_private_unclaim(heap, index, count);
	dm_private_unlock(&heap->lock);
}
