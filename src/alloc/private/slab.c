/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab.c: blocks of up to 1 MiB.
 *
 * A slab belongs to one class while it has a live block; an empty one goes back to its extent, and an extent whose slabs
 * are all free is kept or given back.  A class keeps its last slab, so that one block that comes and goes costs no more
 * than a bit.  Four classes a doubling waste 12.5 % of the memory at most on average (as in jemalloc and mimalloc).
 */
#include <errno.h>
#include <string.h>

#include "alloc/private/heap.h"
#include "base/error.h"

static const struct {
	uint32_t bytes; /* of a slab */
	uint32_t block_bytes_max;
} kinds[DM_PRIVATE_KINDS] = {
	{64u << 10, 8u << 10},
	{256u << 10, 32u << 10},
	{2u << 20, 1u << 20},
};

size_t dm_private_class_bytes(uint32_t class_index)
{
	if (class_index < 8)
		return (size_t)(class_index + 1) * 16;
	return (size_t)(5 + (class_index - 8) % 4) << (5 + (class_index - 8) / 4);
}

static uint32_t smallest_class(size_t bytes)
{
	uint32_t doubling;

	if (bytes <= 128)
		return bytes == 0 ? 0 : (uint32_t)(bytes - 1) / 16;
	doubling = 63 - (uint32_t)__builtin_clzll(bytes - 1);
	return 8 + (doubling - 7) * 4 + (uint32_t)((bytes - 1) >> (doubling - 2)) - 4;
}

uint32_t dm_private_class_of(size_t bytes, size_t alignment)
{
	const size_t wanted = bytes < alignment ? alignment : bytes;

	if (wanted > DM_PRIVATE_CLASS_BYTES_MAX)
		return DM_PRIVATE_NO_CLASS;
	/* A slab starts at a multiple of its size: a block is aligned when its class's size is.  Ends at a power of two. */
	for (uint32_t i = smallest_class(wanted); i < DM_PRIVATE_CLASSES; i++)
		if (dm_is_aligned(dm_private_class_bytes(i), alignment))
			return i;
	return DM_PRIVATE_NO_CLASS;
}

static uint32_t kind_of(uint32_t class_index)
{
	uint32_t kind = 0;

	while (dm_private_class_bytes(class_index) > kinds[kind].block_bytes_max)
		kind++;
	return kind;
}

void dm_private_slabs_init(struct dm_private *heap)
{
	for (uint32_t i = 0; i < DM_PRIVATE_CLASSES; i++)
		pthread_mutex_init(&heap->classes[i].lock, NULL);
}

static void owner_link(struct dm_private *heap, struct dm_slab_extent *owner)
{
	struct dm_slab_extent **list = &heap->with_slabs[owner->kind];

	owner->previous = NULL;
	owner->next = *list;
	if (*list)
		(*list)->previous = owner;
	*list = owner;
}

static void owner_unlink(struct dm_private *heap, struct dm_slab_extent *owner)
{
	if (owner->previous)
		owner->previous->next = owner->next;
	else
		heap->with_slabs[owner->kind] = owner->next;
	if (owner->next)
		owner->next->previous = owner->previous;
}

/* heap->lock is held; the extent at `index` is mapped and the caller's. */
static struct dm_slab_extent *cut_into_slabs(struct dm_private *heap, uint64_t index, uint32_t kind)
{
	struct dm_slab_extent *owner = dm_private_slab_extent_new(heap);
	uint32_t slabs;

	if (!owner)
		return NULL;
	slabs = (uint32_t)(DM_PRIVATE_EXTENT_BYTES / kinds[kind].bytes);
	owner->kind = kind;
	owner->slabs = slabs;
	owner->free_mask = slabs == 32 ? UINT32_MAX : (UINT32_C(1) << slabs) - 1;
	for (uint32_t i = 0; i < DM_PRIVATE_SLABS_MAX; i++)
		atomic_store_explicit(&owner->slab[i].class_index, DM_PRIVATE_NO_CLASS, memory_order_relaxed);
	atomic_store_explicit(&owner->base, (uintptr_t)dm_private_address(heap, index), memory_order_relaxed);
	atomic_store_explicit(&heap->table[index].slabs, owner, memory_order_release);
	atomic_store_explicit(&heap->table[index].used_before, true, memory_order_relaxed);
	atomic_store_explicit(&heap->table[index].use, DM_USE_SLABS, memory_order_release);
	owner_link(heap, owner);
	return owner;
}

/* An extent with a free slab of this kind; heap->lock is held on return, whatever comes of it. */
static struct dm_slab_extent *owner_with_room(struct dm_private *heap, uint32_t kind)
{
	struct dm_slab_extent *owner;
	uint64_t index;

	dm_private_lock(&heap->lock);
	if (heap->with_slabs[kind])
		return heap->with_slabs[kind];
	if (heap->kept != DM_PRIVATE_NONE) {
		index = heap->kept;
		heap->kept = heap->table[index].next;
		heap->kept_count--;
		atomic_store_explicit(&heap->table[index].use, DM_USE_BUSY, memory_order_relaxed);
	} else {
		int code;

		dm_private_unlock(&heap->lock);
		code = dm_private_extents_get(heap, 1, 1, &index);
		dm_private_lock(&heap->lock);
		if (code) {
			errno = dm_error_errno(code);
			return NULL;
		}
	}
	owner = cut_into_slabs(heap, index, kind);
	if (!owner) {
		dm_private_unlock(&heap->lock);
		dm_private_extents_put(heap, index, 1);
		dm_private_lock(&heap->lock);
		errno = ENOMEM;
	}
	return owner;
}

/* An empty slab for a class; it is in no list yet. */
static struct dm_slab *slab_get(struct dm_private *heap, uint32_t class_index)
{
	const uint32_t kind = kind_of(class_index);
	struct dm_slab_extent *owner = owner_with_room(heap, kind);
	struct dm_slab *slab = NULL;
	uint32_t at, words;

	if (!owner)
		goto out_unlock;
	at = (uint32_t)__builtin_ctz(owner->free_mask);
	owner->free_mask &= ~(UINT32_C(1) << at);
	if (!owner->free_mask)
		owner_unlink(heap, owner);
	slab = &owner->slab[at];
	slab->capacity = kinds[kind].bytes / (uint32_t)dm_private_class_bytes(class_index);
	slab->base = (char *)atomic_load_explicit(&owner->base, memory_order_relaxed) + (size_t)at * kinds[kind].bytes;
	slab->live = 0;
	slab->hint = 0;
	slab->bits = owner->bits + (size_t)at * (DM_PRIVATE_BITS_WORDS / owner->slabs);
	words = (slab->capacity + 63) / 64;
	memset(slab->bits, 0, words * sizeof(uint64_t));
	if (slab->capacity % 64) /* bits without a block are never free */
		slab->bits[words - 1] = UINT64_MAX << (slab->capacity % 64);
	atomic_store_explicit(&slab->class_index, class_index, memory_order_relaxed);
out_unlock:
	dm_private_unlock(&heap->lock);
	return slab;
}

/* The slab at `at` of `owner` is empty and in no list. */
static void slab_put(struct dm_private *heap, struct dm_slab_extent *owner, uint32_t at)
{
	const uint64_t index = dm_private_index(heap, (void *)atomic_load_explicit(&owner->base, memory_order_relaxed));
	struct dm_private_extent *entry = &heap->table[index];
	bool give = false;

	dm_private_lock(&heap->lock);
	if (!owner->free_mask)
		owner_link(heap, owner);
	owner->free_mask |= UINT32_C(1) << at;
	if ((uint32_t)__builtin_popcount(owner->free_mask) < owner->slabs)
		goto out_unlock;
	owner_unlink(heap, owner);
	atomic_store_explicit(&entry->slabs, NULL, memory_order_relaxed);
	atomic_store_explicit(&owner->base, 0, memory_order_relaxed);
	owner->next = heap->unused;
	heap->unused = owner;
	give = heap->kept_count >= DM_PRIVATE_KEPT_MAX || heap->inherited;
	atomic_store_explicit(&entry->use, give ? DM_USE_BUSY : DM_USE_KEPT, memory_order_relaxed);
	if (!give) {
		entry->next = heap->kept;
		heap->kept = (uint32_t)index;
		heap->kept_count++;
	}
out_unlock:
	dm_private_unlock(&heap->lock);
	if (give)
		dm_private_extents_put(heap, index, 1);
}

static void list_add(struct dm_private_class *of, struct dm_slab *slab)
{
	slab->previous = NULL;
	slab->next = of->with_room;
	if (of->with_room)
		of->with_room->previous = slab;
	of->with_room = slab;
}

static void list_remove(struct dm_private_class *of, struct dm_slab *slab)
{
	if (slab->previous)
		slab->previous->next = slab->next;
	else
		of->with_room = slab->next;
	if (slab->next)
		slab->next->previous = slab->previous;
}

void *dm_private_slab_alloc(struct dm_private *heap, uint32_t class_index)
{
	struct dm_private_class *of = &heap->classes[class_index];
	const size_t bytes = dm_private_class_bytes(class_index);
	struct dm_slab *slab;
	uint32_t word, bit;
	char *base;

	dm_private_lock(&of->lock);
	slab = of->with_room;
	if (!slab) {
		dm_private_unlock(&of->lock);
		slab = slab_get(heap, class_index);
		if (!slab)
			return NULL;
		dm_private_lock(&of->lock);
		list_add(of, slab);
	}
	for (word = slab->hint; slab->bits[word] == UINT64_MAX; word++)
		;
	bit = (uint32_t)__builtin_ctzll(~slab->bits[word]);
	slab->bits[word] |= UINT64_C(1) << bit;
	slab->hint = word;
	if (++slab->live == slab->capacity)
		list_remove(of, slab);
	base = slab->base;
	dm_private_unlock(&of->lock);
	return base + (size_t)(word * 64 + bit) * bytes;
}

/* Where a pointer points, checked under the lock of its class, which is held on success. */
struct place {
	struct dm_slab *slab;
	uint32_t at; /* the slab's place in its extent */
	uint32_t class_index;
	uint32_t block;
};

static int find_and_lock(struct dm_private *heap, struct dm_slab_extent *owner, const void *block, struct place *place)
{
	const uint64_t index = dm_private_index(heap, block);
	const uintptr_t base = (uintptr_t)dm_private_address(heap, index);
	const uint32_t slab_bytes = (uint32_t)(DM_PRIVATE_EXTENT_BYTES / owner->slabs);
	uint32_t offset = (uint32_t)((uintptr_t)block - base);
	size_t bytes;
	int code = DMEM_E_DOUBLE_FREE;

	place->at = offset / slab_bytes;
	offset %= slab_bytes;
	place->slab = &owner->slab[place->at];
	place->class_index = atomic_load_explicit(&place->slab->class_index, memory_order_relaxed);
	if (place->class_index == DM_PRIVATE_NO_CLASS)
		return code;
	bytes = dm_private_class_bytes(place->class_index);
	dm_private_lock(&heap->classes[place->class_index].lock);
	/* With a live block in it a slab can't change; so whatever changed says that the pointer is stale. */
	if (atomic_load_explicit(&place->slab->class_index, memory_order_relaxed) != place->class_index ||
	    atomic_load_explicit(&owner->base, memory_order_relaxed) != base || place->at >= owner->slabs)
		goto err_unlock;
	place->block = offset / (uint32_t)bytes;
	if (place->block >= place->slab->capacity) {
		code = DMEM_E_FOREIGN;
		goto err_unlock;
	}
	if (!(place->slab->bits[place->block / 64] >> (place->block % 64) & 1))
		goto err_unlock;
	if (offset % bytes) {
		code = DMEM_E_INTERIOR;
		goto err_unlock;
	}
	return 0;
err_unlock:
	dm_private_unlock(&heap->classes[place->class_index].lock);
	return code;
}

int dm_private_slab_free(struct dm_private *heap, struct dm_slab_extent *owner, void *block)
{
	struct dm_private_class *of;
	struct dm_slab *slab;
	struct place place;
	bool release = false;
	int code = find_and_lock(heap, owner, block, &place);

	if (code)
		return code;
	of = &heap->classes[place.class_index];
	slab = place.slab;
	slab->bits[place.block / 64] &= ~(UINT64_C(1) << (place.block % 64));
	if (place.block / 64 < slab->hint)
		slab->hint = place.block / 64;
	if (slab->live-- == slab->capacity)
		list_add(of, slab);
	/* In the middle of a fork nothing may be unmapped: the child's copy was made already. */
	if (slab->live == 0 && (slab->next || slab->previous) && !dm_private_is_forker()) {
		list_remove(of, slab);
		atomic_store_explicit(&slab->class_index, DM_PRIVATE_NO_CLASS, memory_order_relaxed);
		release = true;
	}
	dm_private_unlock(&of->lock);
	if (release)
		slab_put(heap, owner, place.at);
	return 0;
}

size_t dm_private_slab_usable(struct dm_private *heap, struct dm_slab_extent *owner, const void *block)
{
	struct place place;

	if (find_and_lock(heap, owner, block, &place))
		return 0;
	dm_private_unlock(&heap->classes[place.class_index].lock);
	return dm_private_class_bytes(place.class_index);
}
