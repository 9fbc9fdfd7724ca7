/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adopt.c: making sense of a chunk that somebody else used: after its owner left or died, or for the first time.
 *
 * The descriptors are the truth; whatever they don't account for is free: units that say SLAB in an extent that does not say
 * SLABS, CONTINUED marks without a head that reaches them, runs that were not committed.  A descriptor whose check is wrong
 * quarantines its extent: it counts as used and is left alone.
 *
 * Everything here can stop anywhere and be done again.
 */
#include <errno.h>
#include <inttypes.h>

#include "alloc/shared/heap.h"
#include "base/error.h"
#include "base/fault.h"

static int quarantine(struct dm_shared *shared, struct dm_extent *extent, const char *what)
{
	uint64_t in_segment = extent->index - extent->chunk->segment->data_first;
	struct dm_extent_atomic_pm *atomic =
		dm_geometry_extent_atomic(shared->window, &shared->geometry, extent->chunk->segment, in_segment);
	uint64_t flags = 0;
	uint64_t seen;
	int rc = dm_word_load(shared->window, &atomic->flags, &flags);

	dm_log(DMEM_LOG_ERROR, "extent %" PRIu64 " is quarantined: %s: check the pool with 'dmemctl fsck'", extent->index,
	       what);
	if (rc == 0)
		rc = dm_word_cas(shared->window, &atomic->flags, flags, flags | DM_EXTENT_FLAG_QUARANTINED, &seen);
	extent->kind = DM_EXTENT_QUARANTINED;
	return rc;
}

/* --- slabs --- */

/* Count the free bits of a slab; bits that stand for no block are taken out of the count by the caller's bounds. */
static uint32_t count_free(const struct dm_slab *slab)
{
	uint32_t blocks = slab->class->blocks;
	uint32_t count = 0;

	for (uint32_t word = 0; word < slab->class->bit_words; word++) {
		uint32_t left = blocks - word * 64;
		uint64_t real = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;

		if (slab->bits[word] & ~real)
			slab->bits[word] &= real;
		count += (uint32_t)__builtin_popcountll(slab->bits[word]);
	}
	return count;
}

/* 1: a slab was adopted; 0: the unit is free; DMEM_E_CORRUPT. */
static int adopt_unit(struct dm_shared *shared, struct dm_extent *extent, uint32_t unit, struct dm_slab **adopted)
{
	const struct dm_segment *segment = extent->chunk->segment;
	uint64_t in_segment = extent->index - segment->data_first;
	struct dm_slab_pm *header = dm_geometry_slab(shared->window, &shared->geometry, segment, in_segment, unit);
	uint64_t argument;
	unsigned kind;

	if (!dm_desc_read(header->desc, extent->index * DM_UNITS_PER_EXTENT + unit, &kind, &argument))
		return DMEM_E_CORRUPT;
	if (kind == DM_SLAB_FREE || kind == DM_SLAB_CONTINUED)
		return 0; /* CONTINUED: behind a slab that was not committed, or is gone */
	if (kind != DM_SLAB_SLAB || (argument & 0xff) >= shared->classes.count)
		return DMEM_E_CORRUPT;
	if (unit + shared->classes.classes[argument & 0xff].units > DM_UNITS_PER_EXTENT)
		return DMEM_E_CORRUPT;
	*adopted = dm_slab_structure(shared, extent, unit, (uint32_t)(argument & 0xff));
	if (*adopted == NULL)
		return -ENOMEM;
	(*adopted)->free_count = count_free(*adopted);
	return 1;
}

/* The slabs of an extent that turns out to be damaged: nobody takes blocks from them any more. */
static void forget_adopted(struct dm_shared *shared, struct dm_extent *extent)
{
	for (uint32_t unit = 0; unit < DM_UNITS_PER_EXTENT; unit++) {
		struct dm_slab *slab = atomic_load_explicit(dm_extent_slab(shared, extent, unit), memory_order_relaxed);

		atomic_store_explicit(dm_extent_slab(shared, extent, unit), NULL, memory_order_relaxed);
		if (slab == NULL || slab->unit != unit)
			continue;
		dm_list_remove(&shared->abandoned[slab->class_index], slab);
		slab->next = shared->unused_slabs;
		shared->unused_slabs = slab;
	}
}

static int adopt_slabs(struct dm_shared *shared, struct dm_extent *extent)
{
	const struct dm_segment *segment = extent->chunk->segment;
	struct dm_slab *slab = NULL;
	/* all of them, also those of units inside slabs: from now on we write these lines */
	int rc = dm_window_refresh(
		shared->window,
		dm_geometry_slab(shared->window, &shared->geometry, segment, extent->index - segment->data_first, 0),
		(uint64_t)DM_UNITS_PER_EXTENT * shared->geometry.slab_local_bytes);

	if (rc)
		return rc;
	extent->units_used = 0;
	for (uint32_t unit = 0; unit < DM_UNITS_PER_EXTENT; unit++)
		atomic_store_explicit(dm_extent_slab(shared, extent, unit), NULL, memory_order_relaxed);
	for (uint32_t unit = 0; unit < DM_UNITS_PER_EXTENT; unit += slab == NULL ? 1 : slab->class->units) {
		slab = NULL;
		rc = adopt_unit(shared, extent, unit, &slab);
		if (rc == DMEM_E_CORRUPT)
			forget_adopted(shared, extent);
		if (rc == DMEM_E_CORRUPT)
			return quarantine(shared, extent, "a slab's descriptor is damaged");
		if (rc < 0)
			return rc;
		if (slab == NULL)
			continue;
		(void)dm_slab_collect(shared, slab);
		dm_slab_set_heap(shared, slab, NULL);
		dm_list_push(&shared->abandoned[slab->class_index], slab, DM_LIST_ABANDONED);
	}
	return 0;
}

/* Slabs without a live block go, once all of the chunk is known.  Nobody's thread collects what others freed in them. */
static void drop_empty_slabs(struct dm_shared *shared, struct dm_extent *extent)
{
	for (uint32_t unit = 0; unit < DM_UNITS_PER_EXTENT && extent->kind == DM_EXTENT_SLABS; unit++) {
		struct dm_slab *slab = atomic_load_explicit(dm_extent_slab(shared, extent, unit), memory_order_relaxed);

		if (slab == NULL || slab->unit != unit || slab->list != DM_LIST_ABANDONED)
			continue;
		(void)dm_slab_collect(shared, slab);
		if (slab->free_count != slab->class->blocks)
			continue;
		dm_list_remove(&shared->abandoned[slab->class_index], slab);
		dm_slab_destroy(shared, slab);
	}
	if (extent->kind == DM_EXTENT_SLABS && extent->units_used == 0) { /* its owner died before it made a slab */
		dm_extent_set(shared, extent, DM_EXTENT_FREE, 0);
		dm_extent_release(shared, extent);
	}
}

/* --- extents --- */

enum reach { REACHES, DOES_NOT_REACH, CANNOT_TELL };

/* Does the run whose head lies `back` extents before `index` reach here?  It can't be told when the head is damaged. */
static enum reach run_reaches(struct dm_shared *shared, const struct dm_segment *segment, uint64_t index, uint64_t back)
{
	struct dm_extent_pm *head;
	uint64_t argument;
	unsigned kind;

	if (back == 0 || back > index - segment->data_first)
		return DOES_NOT_REACH;
	head = dm_geometry_extent(shared->window, &shared->geometry, segment, index - back - segment->data_first);
	if (dm_window_refresh(shared->window, head, sizeof(*head)) != 0 ||
	    !dm_desc_read(__atomic_load_n(&head->desc, __ATOMIC_ACQUIRE), index - back, &kind, &argument))
		return CANNOT_TELL;
	return (kind == DM_EXTENT_RUN || kind == DM_EXTENT_PRIVATE) && argument > back ? REACHES : DOES_NOT_REACH;
}

/* What is left alone with a quarantined extent: when it may have been the head of a run, or a part of one, what says FREE behind
 * it may belong to that run. */
static uint32_t count_doubtful(const struct dm_chunk *chunk, uint32_t at, uint32_t count)
{
	const struct dm_extent *extent = &chunk->extents[at];
	uint32_t doubtful = 1;
	uint64_t argument;
	unsigned kind;

	if (dm_desc_read(extent->local->desc, extent->index, &kind, &argument) &&
	    (kind == DM_EXTENT_FREE || kind == DM_EXTENT_SLABS))
		return 1;
	while (at + doubtful < count && chunk->extents[at + doubtful].local->desc == 0)
		doubtful++;
	return doubtful;
}

/* Learn what one extent is.  Gives how many extents of the chunk it accounts for. */
static int adopt_extent(struct dm_shared *shared, struct dm_extent *extent, uint32_t room, uint32_t *covered)
{
	const struct dm_segment *segment = extent->chunk->segment;
	uint64_t limit = segment->data_extents - (extent->index - segment->data_first);
	enum reach reach;
	uint64_t argument;
	unsigned kind;
	int rc = dm_window_refresh(shared->window, extent->local, sizeof(*extent->local));

	*covered = 1;
	if (rc)
		return rc;
	if (!dm_desc_read(extent->local->desc, extent->index, &kind, &argument) || kind > DM_EXTENT_QUARANTINED)
		return quarantine(shared, extent, "its descriptor is damaged");
	extent->kind = kind;
	switch (extent->kind) {
	case DM_EXTENT_SLABS:
		return adopt_slabs(shared, extent);
	case DM_EXTENT_RUN:
	case DM_EXTENT_PRIVATE:
		if (argument == 0 || argument > limit)
			return quarantine(shared, extent, "its run is longer than the segment");
		extent->run_extents = argument;
		break;
	case DM_EXTENT_CONTINUED:
		extent->run_extents = argument & DM_CONTINUED_MASK;
		reach = extent->run_extents == 0 || extent->run_extents > limit
		            ? DOES_NOT_REACH
		            : run_reaches(shared, segment, extent->index, argument >> DM_CONTINUED_SHIFT);
		if (reach == REACHES)
			break;
		extent->run_extents = 0;
		if (reach == CANNOT_TELL)
			return quarantine(shared, extent, "the head of the run that it belongs to is damaged");
		dm_extent_set(shared, extent, DM_EXTENT_FREE, 0);
		extent->kind = DM_EXTENT_FREE;
		return 0;
	default:
		return 0;
	}
	*covered = extent->run_extents < room ? (uint32_t)extent->run_extents : room;
	return 0;
}

/* A quarantine flag outlives every owner. */
static bool is_flagged(struct dm_shared *shared, const struct dm_extent *extent)
{
	uint64_t in_segment = extent->index - extent->chunk->segment->data_first;
	uint64_t flags;

	return dm_word_load(
			   shared->window,
			   &dm_geometry_extent_atomic(shared->window, &shared->geometry, extent->chunk->segment, in_segment)->flags,
			   &flags) == 0 &&
	       (flags & DM_EXTENT_FLAG_QUARANTINED);
}

/* Learn a chunk that we have just leased. */
int dm_chunk_adopt(struct dm_shared *shared, struct dm_chunk *chunk)
{
	uint32_t count = shared->geometry.chunk_extents;
	int rc = dm_window_refresh(shared->window, chunk->local, sizeof(*chunk->local));

	chunk->extents_used = 0;
	chunk->space = chunk->local->space;
	for (uint32_t at = 0, covered = 1; rc == 0 && at < count; at += covered) {
		struct dm_extent *extent = &chunk->extents[at];

		covered = 1;
		if (is_flagged(shared, extent))
			extent->kind = DM_EXTENT_QUARANTINED;
		else
			rc = adopt_extent(shared, extent, count - at, &covered);
		if (extent->kind == DM_EXTENT_QUARANTINED)
			covered = count_doubtful(chunk, at, count);
		if (extent->kind != DM_EXTENT_FREE)
			chunk->extents_used |= (covered == 32 ? UINT32_MAX : (UINT32_C(1) << covered) - 1) << at;
	}
	DM_CRASH_POINT(CHUNK_LEARNED);
	return rc;
}

/* What the chunk's last owner did not do any more: empty slabs, private memory of nobody, frees that wait.  Called when the
 * chunk is on our list. */
void dm_chunk_tidy(struct dm_shared *shared, struct dm_chunk *chunk)
{
	bool was_pinned = chunk->pinned;

	chunk->pinned = true;
	dm_run_collect(shared, chunk);
	for (uint32_t at = 0; at < shared->geometry.chunk_extents; at++) {
		struct dm_extent *extent = &chunk->extents[at];

		if (extent->kind == DM_EXTENT_PRIVATE)
			dm_run_release(shared, extent);
		else if (extent->kind == DM_EXTENT_SLABS)
			drop_empty_slabs(shared, extent);
		dm_extent_relist(shared, extent);
	}
	chunk->pinned = was_pinned;
}

/* --- after a death --- */

/* Private memory of the dead is free; a chunk in which nothing else is alive is free as a whole. */
static int repair_chunk(struct dm_shared *shared, const struct dm_segment *segment, uint64_t chunk, uint64_t owner)
{
	uint32_t count = shared->geometry.chunk_extents;
	struct dm_chunk_atomic_pm *atomic = dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, chunk);
	bool empty = true;
	uint64_t freed;
	uint64_t seen;
	int rc;

	for (uint32_t i = 0; i < count; i++) {
		struct dm_extent_pm *local = dm_geometry_extent(shared->window, &shared->geometry, segment, chunk * count + i);
		uint64_t index = segment->data_first + chunk * count + i;
		uint64_t argument;
		unsigned kind;

		pthread_mutex_lock(&shared->lock); /* a thread that frees refreshes the line under it */
		rc = dm_window_refresh(shared->window, local, sizeof(*local));
		if (rc == 0 && dm_desc_read(local->desc, index, &kind, &argument) && kind == DM_EXTENT_PRIVATE) {
			__atomic_store_n(&local->desc, 0, __ATOMIC_RELEASE);
			rc = dm_window_publish(shared->window, local, sizeof(*local));
			DM_CRASH_POINT(PRIVATE_RECLAIMED);
		}
		pthread_mutex_unlock(&shared->lock);
		if (rc)
			return rc;
		empty = empty && local->desc == 0;
	}
	rc = dm_word_load(shared->window, &atomic->freed, &freed);
	if (rc)
		return rc;
	if (freed << 32 != 0)
		empty = false; /* somebody has to clear them */
	return dm_word_cas(
		shared->window, &atomic->owner, owner,
		dm_chunk_owner_word(empty ? DM_CHUNK_FREE : DM_CHUNK_ORPHAN, DM_NO_SLOT, dm_chunk_owner_version(owner) + 1),
		&seen);
}

static int repair_segment(struct dm_shared *shared, const struct dm_segment *segment, uint32_t slot)
{
	uint64_t chunks = segment->data_extents / shared->geometry.chunk_extents;
	int rc = 0;

	if (!dm_shared_segment_fits(shared, segment))
		return 0;
	for (uint64_t chunk = 0; rc == 0 && chunk < chunks; chunk++) {
		uint64_t owner;

		rc = dm_word_load(shared->window,
		                  &dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, chunk)->owner, &owner);
		if (rc == 0 && dm_chunk_owner_state(owner) == DM_CHUNK_LEASED && dm_chunk_owner_slot(owner) == slot)
			rc = repair_chunk(shared, segment, chunk, owner);
		DM_CRASH_POINT(CHUNK_REPAIRED);
	}
	return rc;
}

/* Heap numbers go last: no slab of a chunk that is leased may name a number that is somebody else's.  Orphaned chunks name
 * them still; their adopter writes the owners anew before it uses them. */
static int repair_heaps(struct dm_shared *shared, uint32_t slot, uint32_t incarnation)
{
	uint64_t dead = (uint64_t)(slot + 1) | (uint64_t)incarnation << 32;
	int rc = 0;

	for (uint32_t i = 1; rc == 0 && i < shared->heaps_max; i++) {
		uint64_t word;
		uint64_t seen;

		rc = dm_word_load(shared->window, &shared->heap_owners[i].word, &word);
		if (rc == 0 && word == dead)
			rc = dm_word_cas(shared->window, &shared->heap_owners[i].word, dead, 0, &seen);
	}
	return rc;
}

int dm_shared_repair(void *context, uint32_t slot, uint32_t incarnation)
{
	struct dm_shared *shared = context;
	uint32_t segments = atomic_load_explicit(&shared->window->segment_count, memory_order_acquire);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < segments; i++)
		rc = repair_segment(shared, &shared->window->segments[i], slot);
	return rc ? rc : repair_heaps(shared, slot, incarnation);
}
