/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slab.c: slabs in units of 64 KiB: making, emptying, handing over.
 *
 * Making: free bits, freed words (left clear by the last user, cleared here all the same), CONTINUED marks, owner; the
 * descriptor last.  A death before that leaves a unit that says FREE.  Giving up: the descriptor first.
 *
 * Collecting what others freed: the free bit is set first and the freed bit cleared after it, so a death in between leaves
 * both set, and the next collection does it again.  A block whose freed bit is set is not handed out: its free bit is set by
 * the collector, who does not hand out before it is done.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/shared/heap.h"
#include "alloc/shared/shared.h"
#include "base/error.h"
#include "base/fault.h"

void dm_list_push(struct dm_slab **head, struct dm_slab *slab, enum dm_slab_list list)
{
	slab->list = (uint8_t)list;
	slab->previous = NULL;
	slab->next = *head;
	if (slab->next != NULL)
		slab->next->previous = slab;
	*head = slab;
}

void dm_list_remove(struct dm_slab **head, struct dm_slab *slab)
{
	if (slab->previous != NULL)
		slab->previous->next = slab->next;
	else
		*head = slab->next;
	if (slab->next != NULL)
		slab->next->previous = slab->previous;
	slab->next = slab->previous = NULL;
	slab->list = DM_LIST_NONE;
}

void dm_full_push(struct dm_bin *bin, struct dm_slab *slab)
{
	slab->list = DM_LIST_FULL;
	slab->next = NULL;
	slab->previous = bin->full_last;
	if (bin->full_last != NULL)
		bin->full_last->next = slab;
	else
		bin->full = slab;
	bin->full_last = slab;
}

void dm_full_remove(struct dm_bin *bin, struct dm_slab *slab)
{
	if (bin->full_last == slab)
		bin->full_last = slab->previous;
	dm_list_remove(&bin->full, slab);
}

/* Local structure for the slab that starts at `unit`; the caller fills in free_count. */
struct dm_slab *dm_slab_structure(struct dm_shared *shared, struct dm_extent *extent, uint32_t unit,
                                  uint32_t class_index)
{
	const struct dm_segment *segment = extent->chunk->segment;
	const struct dm_class *class = &shared->classes.classes[class_index];
	uint64_t in_segment = extent->index - segment->data_first;
	struct dm_slab *slab = shared->unused_slabs;

	if (slab != NULL)
		shared->unused_slabs = slab->next;
	else
		slab = aligned_alloc(_Alignof(struct dm_slab), sizeof(*slab));
	if (slab == NULL)
		return NULL;
	atomic_store_explicit(&slab->heap, NULL, memory_order_relaxed);
	atomic_store_explicit(&slab->thread, NULL, memory_order_relaxed);
	slab->header = dm_geometry_slab(shared->window, &shared->geometry, segment, in_segment, unit);
	slab->bits = dm_slab_bits(slab->header);
	slab->freed = dm_geometry_freed(shared->window, &shared->geometry, segment, in_segment, unit);
	slab->pending = &dm_geometry_extent_atomic(shared->window, &shared->geometry, segment, in_segment)->pending;
	slab->offset = (extent->index << DM_EXTENT_SHIFT) + (uint64_t)unit * DM_UNIT_BYTES;
	slab->address = dm_window_at(shared->window, slab->offset);
	slab->number = extent->index * DM_UNITS_PER_EXTENT + unit;
	slab->class = class;
	slab->reciprocal = class->reciprocal;
	slab->block_bytes = class->block_bytes;
	slab->blocks = class->blocks;
	slab->bit_words = class->bit_words;
	slab->class_index = class_index;
	slab->unit = (uint8_t)unit;
	slab->free_count = 0;
	slab->cursor = 0;
	slab->list = DM_LIST_NONE;
	slab->next = slab->previous = NULL;
	slab->extent = extent;
	for (uint32_t i = 0; i < class->units; i++) /* pairs with the acquire in dm_slab_at() */
		atomic_store_explicit(dm_extent_slab(shared, extent, unit + i), slab, memory_order_release);
	extent->units_used |= (class->units == 32 ? UINT32_MAX : (UINT32_C(1) << class->units) - 1) << unit;
	return slab;
}

static void drop_structure(struct dm_shared *shared, struct dm_slab *slab)
{
	struct dm_extent *extent = slab->extent;
	uint32_t units = slab->class->units;

	for (uint32_t i = 0; i < units; i++)
		atomic_store_explicit(dm_extent_slab(shared, extent, slab->unit + i), NULL, memory_order_release);
	extent->units_used &= ~((units == 32 ? UINT32_MAX : (UINT32_C(1) << units) - 1) << slab->unit);
	slab->next = shared->unused_slabs;
	shared->unused_slabs = slab;
}

static void set_header(struct dm_shared *shared, struct dm_slab_pm *header, uint64_t number, enum dm_slab_kind kind,
                       uint64_t argument)
{
	dm_fence_crash_order();
	__atomic_store_n(&header->desc, dm_desc_make(kind, argument, number), __ATOMIC_RELEASE);
	if (dm_window_publish(shared->window, header, sizeof(*header)) != 0)
		dm_log(DMEM_LOG_ERROR, "the descriptor of slab %llu could not be published", (unsigned long long)number);
}

void dm_slab_set_heap(struct dm_shared *shared, struct dm_slab *slab, struct dm_heap *heap)
{
	__atomic_store_n(&slab->header->owner, heap == NULL ? 0 : heap->id, __ATOMIC_RELEASE);
	if (dm_window_publish(shared->window, slab->header, sizeof(*slab->header)) != 0)
		dm_log(DMEM_LOG_ERROR, "the owner of slab %llu could not be published", (unsigned long long)slab->number);
	atomic_store_explicit(&slab->heap, heap, memory_order_release);
	atomic_store_explicit(&slab->thread, heap == NULL ? NULL : heap->owner_thread, memory_order_release);
}

/* The first row of `count` free units; DM_UNITS_PER_EXTENT when there is none. */
static uint32_t find_units(uint32_t used, uint32_t count)
{
	uint32_t mask = count == 32 ? UINT32_MAX : (UINT32_C(1) << count) - 1;

	for (uint32_t unit = 0; unit + count <= DM_UNITS_PER_EXTENT; unit++)
		if ((used & mask << unit) == 0)
			return unit;
	return DM_UNITS_PER_EXTENT;
}

/* Units for a slab in an extent that has slabs already: where the longest free row is the least that does, so that long
 * rows are there for slabs that need them. */
static struct dm_extent *find_room(struct dm_shared *shared, uint32_t count, uint32_t *unit)
{
	uint32_t lists = shared->slab_extents_with >> (count - 1);
	struct dm_extent *extent;

	if (lists == 0)
		return NULL;
	extent = shared->slab_extents[count + (uint32_t)__builtin_ctz(lists)];
	*unit = find_units(extent->units_used, count);
	return *unit < DM_UNITS_PER_EXTENT ? extent : NULL;
}

/* A free extent becomes a slab extent.  Headers that an earlier life left there are cleared before it says so. */
static struct dm_extent *start_extent(struct dm_shared *shared)
{
	struct dm_extent *extent = dm_extent_take(shared);
	const struct dm_segment *segment;

	if (extent == NULL)
		return NULL;
	segment = extent->chunk->segment;
	if (dm_window_refresh(
			shared->window,
			dm_geometry_slab(shared->window, &shared->geometry, segment, extent->index - segment->data_first, 0),
			(uint64_t)DM_UNITS_PER_EXTENT * shared->geometry.slab_local_bytes) != 0)
		dm_log(DMEM_LOG_ERROR, "the slab headers of extent %llu could not be read", (unsigned long long)extent->index);
	for (uint32_t unit = 0; unit < DM_UNITS_PER_EXTENT; unit++) {
		struct dm_slab_pm *header =
			dm_geometry_slab(shared->window, &shared->geometry, segment, extent->index - segment->data_first, unit);

		if (header->desc != 0)
			set_header(shared, header, 0, DM_SLAB_FREE, 0);
		atomic_store_explicit(dm_extent_slab(shared, extent, unit), NULL, memory_order_relaxed);
	}
	extent->kind = DM_EXTENT_SLABS;
	extent->units_used = 0;
	DM_CRASH_POINT(SLAB_EXTENT_CLEARED);
	dm_extent_set(shared, extent, DM_EXTENT_SLABS, 0);
	DM_CRASH_POINT(SLAB_EXTENT_STARTED);
	dm_extent_relist(shared, extent);
	return extent;
}

static void fill_free_bits(struct dm_slab *slab)
{
	uint32_t blocks = slab->class->blocks;

	for (uint32_t word = 0; word < slab->class->bit_words; word++, blocks -= 64) {
		uint64_t bits = blocks >= 64 ? UINT64_MAX : (UINT64_C(1) << blocks) - 1;

		__atomic_store_n(&slab->bits[word], bits, __ATOMIC_RELAXED); /* somebody may be walking */
		if (blocks <= 64)
			break;
	}
	slab->free_count = slab->class->blocks;
	slab->cursor = 0;
}

static void commit_slab(struct dm_shared *shared, struct dm_slab *slab)
{
	uint8_t *line = (uint8_t *)slab->header;

	fill_free_bits(slab);
	for (uint32_t word = 0; word < slab->class->freed_words; word++)
		(void)dm_tag_clear(shared, &slab->freed[word]);
	if (dm_window_publish(shared->window, slab->bits, slab->class->bit_words * sizeof(uint64_t)) != 0)
		dm_log(DMEM_LOG_ERROR, "the free bits of slab %llu could not be published", (unsigned long long)slab->number);
	for (uint32_t i = 1; i < slab->class->units; i++)
		set_header(shared, (struct dm_slab_pm *)(line + (uint64_t)i * shared->geometry.slab_local_bytes),
		           slab->number + i, DM_SLAB_CONTINUED, (uint64_t)i << 16);
	DM_CRASH_POINT(SLAB_PREPARED);
	set_header(shared, slab->header, slab->number, DM_SLAB_SLAB, slab->class_index | (uint64_t)slab->class->units << 8);
	DM_CRASH_POINT(SLAB_COMMITTED);
}

/* A new slab for a heap.  NULL with errno ENOENT: lease a chunk more; ENOMEM. */
struct dm_slab *dm_slab_create(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index)
{
	uint32_t units = shared->classes.classes[class_index].units;
	uint32_t unit;
	struct dm_extent *extent = find_room(shared, units, &unit);
	struct dm_slab *slab;

	if (extent == NULL) {
		unit = 0;
		extent = start_extent(shared);
	}
	if (extent == NULL)
		return NULL;
	slab = dm_slab_structure(shared, extent, unit, class_index);
	if (slab == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	dm_slab_set_heap(shared, slab, heap);
	commit_slab(shared, slab);
	dm_extent_relist(shared, extent);
	return slab;
}

/* A slab without live blocks that is on no list. */
void dm_slab_destroy(struct dm_shared *shared, struct dm_slab *slab)
{
	struct dm_extent *extent = slab->extent;
	uint8_t *line = (uint8_t *)slab->header;

	set_header(shared, slab->header, slab->number, DM_SLAB_FREE, 0);
	DM_CRASH_POINT(SLAB_DESTROYED);
	for (uint32_t i = 1; i < slab->class->units; i++)
		set_header(shared, (struct dm_slab_pm *)(line + (uint64_t)i * shared->geometry.slab_local_bytes),
		           slab->number + i, DM_SLAB_FREE, 0);
	drop_structure(shared, slab);
	dm_extent_relist(shared, extent);
	if (extent->units_used == 0) {
		dm_extent_set(shared, extent, DM_EXTENT_FREE, 0);
		DM_CRASH_POINT(SLAB_EXTENT_ENDED);
		dm_extent_release(shared, extent);
	}
}

/* One tagged word: note its bits, then clear them; again when more came meanwhile. */
static uint32_t collect_word(struct dm_shared *shared, struct dm_slab *slab, uint32_t word)
{
	uint64_t *bits = &slab->bits[word / 2];
	uint32_t blocks = slab->class->blocks - word * DM_FREED_BITS;
	uint32_t real =
		blocks >= DM_FREED_BITS ? UINT32_MAX : (UINT32_C(1) << blocks) - 1; /* bits that stand for a block */
	uint32_t collected = 0;
	uint64_t old;

	while (dm_word_load(shared->window, &slab->freed[word], &old) == 0 && (uint32_t)old != 0) {
		uint64_t fresh = (uint64_t)((uint32_t)old & real) << (word % 2 * 32) & ~*bits;
		uint64_t seen;

		__atomic_store_n(bits, *bits | fresh, __ATOMIC_RELEASE);
		collected += (uint32_t)__builtin_popcountll(fresh);
		if (dm_window_publish(shared->window, bits, sizeof(*bits)) != 0)
			break;
		DM_CRASH_POINT(SLAB_COLLECTING);
		if (dm_tag_take(shared, &slab->freed[word], old, 0, &seen) != 0 || seen == old)
			break;
	}
	return collected;
}

uint32_t dm_slab_collect(struct dm_shared *shared, struct dm_slab *slab)
{
	uint64_t bit = UINT64_C(1) << slab->unit;
	uint32_t collected = 0;
	uint64_t old;

	/* the hint first: a freer sets the freed bit, then looks at the hint */
	while (dm_word_load(shared->window, slab->pending, &old) == 0 && (old & bit)) {
		uint64_t seen;

		if (dm_word_cas(shared->window, slab->pending, old, old & ~bit, &seen) != 0 || seen == old)
			break;
	}
	for (uint32_t word = 0; word < slab->class->freed_words; word++)
		collected += collect_word(shared, slab, word);
	slab->free_count += collected;
	return collected;
}

static void abandon(struct dm_shared *shared, struct dm_slab **list, struct dm_slab *slab)
{
	if (list != NULL)
		dm_list_remove(list, slab);
	(void)dm_slab_collect(shared, slab);
	dm_slab_set_heap(shared, slab, NULL);
	if (slab->free_count == slab->class->blocks)
		dm_slab_destroy(shared, slab);
	else
		dm_list_push(&shared->abandoned[slab->class_index], slab, DM_LIST_ABANDONED);
}

void dm_slab_abandon_all(struct dm_shared *shared, struct dm_heap *heap)
{
	for (uint32_t i = 0; i < shared->classes.count; i++) {
		struct dm_bin *bin = &heap->bins[i];

		if (bin->current != NULL)
			abandon(shared, NULL, bin->current);
		bin->current = NULL;
		while (bin->partial != NULL)
			abandon(shared, &bin->partial, bin->partial);
		while (bin->full != NULL)
			abandon(shared, &bin->full, bin->full);
		bin->full_last = NULL;
		bin->spare = 0;
	}
}
