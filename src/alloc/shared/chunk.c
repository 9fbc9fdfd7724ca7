/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunk.c: leasing chunks and handing out their extents.
 *
 * A lease is one CAS of the chunk's owner word.  A death after it leaves a chunk that says LEASED(dead) and whose extents
 * tell what they are; the repair makes it FREE or ORPHAN.  Space is taken from the file system before an extent is used and
 * noted in the chunk's space word after that; a death in between makes the next user ask again, which is harmless.
 */
#include <errno.h>
#include <stdlib.h>

#include "alloc/shared/shared.h"
#include "base/error.h"
#include "base/fault.h"

struct dm_extent *dm_extent_ours(struct dm_shared *shared, uint64_t index)
{
	uint64_t number = index / shared->geometry.chunk_extents;
	struct dm_chunk *chunk;

	if (number >= shared->chunk_numbers)
		return NULL;
	chunk = atomic_load_explicit(&shared->chunks[number], memory_order_acquire);
	return chunk == NULL ? NULL : &chunk->extents[index % shared->geometry.chunk_extents];
}

void dm_extent_set(struct dm_shared *shared, struct dm_extent *extent, enum dm_extent_kind kind, uint64_t argument)
{
	dm_fence_crash_order();
	__atomic_store_n(&extent->local->desc, dm_desc_make(kind, argument, extent->index), __ATOMIC_RELEASE);
	if (dm_window_publish(shared->window, extent->local, sizeof(*extent->local)) != 0)
		dm_log(DMEM_LOG_ERROR, "the descriptor of extent %llu could not be published",
		       (unsigned long long)extent->index);
}

/* Length of the longest row of clear bits. */
static uint32_t longest_row(uint32_t used)
{
	uint32_t length = 0;

	for (uint32_t rows = ~used; rows != 0; rows &= rows << 1)
		length++;
	return length;
}

static void list_extent(struct dm_shared *shared, struct dm_extent *extent, uint32_t list)
{
	extent->previous = NULL;
	extent->next = shared->slab_extents[list];
	if (extent->next != NULL)
		extent->next->previous = extent;
	shared->slab_extents[list] = extent;
	shared->slab_extents_with |= UINT32_C(1) << (list - 1);
	extent->listed = list;
}

static void unlist_extent(struct dm_shared *shared, struct dm_extent *extent)
{
	if (extent->previous != NULL)
		extent->previous->next = extent->next;
	else
		shared->slab_extents[extent->listed] = extent->next;
	if (extent->next != NULL)
		extent->next->previous = extent->previous;
	if (shared->slab_extents[extent->listed] == NULL)
		shared->slab_extents_with &= ~(UINT32_C(1) << (extent->listed - 1));
	extent->listed = 0;
}

/* Keep the lists of slab extents with free units true after units_used changed. */
void dm_extent_relist(struct dm_shared *shared, struct dm_extent *extent)
{
	uint32_t wanted = extent->kind == DM_EXTENT_SLABS ? longest_row(extent->units_used) : 0;

	if (wanted == extent->listed)
		return;
	if (extent->listed != 0)
		unlist_extent(shared, extent);
	if (wanted != 0)
		list_extent(shared, extent, wanted);
}

/* --- local structures --- */

struct dm_chunk *dm_chunk_structure(struct dm_shared *shared, const struct dm_segment *segment, uint64_t in_segment)
{
	uint32_t count = shared->geometry.chunk_extents;
	struct dm_chunk *chunk = shared->unused_chunks;

	if (chunk != NULL)
		shared->unused_chunks = chunk->next;
	else
		chunk = calloc(1, sizeof(*chunk) + count * sizeof(chunk->extents[0]));
	if (chunk == NULL)
		return NULL;
	chunk->segment = segment;
	chunk->number = segment->data_first / count + in_segment;
	chunk->atomic = dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, in_segment);
	chunk->local = dm_geometry_chunk_local(shared->window, &shared->geometry, segment, in_segment);
	chunk->extents_used = 0;
	chunk->pinned = false;
	chunk->idle_beats = 0;
	chunk->space = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct dm_extent *extent = &chunk->extents[i];

		extent->chunk = chunk;
		extent->local = dm_geometry_extent(shared->window, &shared->geometry, segment, in_segment * count + i);
		extent->index = chunk->number * count + i;
		extent->kind = DM_EXTENT_FREE;
		extent->run_extents = 0;
		extent->units_used = 0;
		extent->listed = 0;
	}
	return chunk;
}

void dm_chunk_enlist(struct dm_shared *shared, struct dm_chunk *chunk)
{
	chunk->previous = NULL;
	chunk->next = shared->leased;
	if (chunk->next != NULL)
		chunk->next->previous = chunk;
	shared->leased = chunk;
	shared->empty_chunks += chunk->extents_used == 0;
	/* pairs with the acquire in dm_extent_ours() */
	atomic_store_explicit(&shared->chunks[chunk->number], chunk, memory_order_release);
}

static void delist(struct dm_shared *shared, struct dm_chunk *chunk)
{
	atomic_store_explicit(&shared->chunks[chunk->number], NULL, memory_order_release);
	for (uint32_t i = 0; i < shared->geometry.chunk_extents; i++)
		if (chunk->extents[i].listed != 0)
			unlist_extent(shared, &chunk->extents[i]);
	shared->empty_chunks -= chunk->extents_used == 0;
	if (chunk->previous != NULL)
		chunk->previous->next = chunk->next;
	else
		shared->leased = chunk->next;
	if (chunk->next != NULL)
		chunk->next->previous = chunk->previous;
	chunk->next = shared->unused_chunks;
	shared->unused_chunks = chunk;
}

/* --- leasing --- */

static int claim_owner(struct dm_shared *shared, struct dm_chunk *chunk, uint64_t seen_word)
{
	uint64_t ours = dm_chunk_owner_word(DM_CHUNK_LEASED, shared->members->slot, dm_chunk_owner_version(seen_word) + 1);
	uint64_t seen;
	int rc = dm_word_cas(shared->window, &chunk->atomic->owner, seen_word, ours, &seen);

	if (rc == 0 && seen != seen_word)
		rc = -EAGAIN;
	if (rc == 0) {
		DM_CRASH_POINT(CHUNK_LEASED);
		chunk->owner_word = ours;
	}
	return rc;
}

/* We could not learn what is in it, for want of local memory for instance: let somebody else try. */
static void give_up_lease(struct dm_shared *shared, struct dm_chunk *chunk)
{
	uint64_t orphan = dm_chunk_owner_word(DM_CHUNK_ORPHAN, DM_NO_SLOT, dm_chunk_owner_version(chunk->owner_word) + 1);
	uint64_t seen;

	dm_chunk_forget_slabs(shared, chunk);
	if (dm_word_cas(shared->window, &chunk->atomic->owner, chunk->owner_word, orphan, &seen) != 0)
		dm_log(DMEM_LOG_ERROR, "chunk %llu can't be given back: %s", (unsigned long long)chunk->number,
		       dmem_last_error());
}

/* Lease one chunk that is free or orphaned; NULL when somebody was faster, or errno ENOMEM. */
struct dm_chunk *dm_chunk_lease(struct dm_shared *shared, const struct dm_segment *segment, uint64_t in_segment)
{
	struct dm_chunk *chunk;
	uint64_t word;
	int rc;

	chunk = dm_chunk_structure(shared, segment, in_segment);
	if (chunk == NULL) {
		errno = ENOMEM;
		return NULL;
	}
	rc = dm_word_load(shared->window, &chunk->atomic->owner, &word);
	if (rc == 0 && ((dm_chunk_owner_state(word) != DM_CHUNK_FREE && dm_chunk_owner_state(word) != DM_CHUNK_ORPHAN) ||
	                atomic_load(&shared->chunks[chunk->number]) != NULL)) /* ours, whatever a damaged word says */
		rc = -EAGAIN;
	if (rc == 0)
		rc = dm_geometry_reserve_chunk(shared->window, &shared->geometry, segment, in_segment);
	if (rc == 0)
		rc = claim_owner(shared, chunk, word);
	if (rc == 0) {
		rc = dm_chunk_adopt(shared, chunk);
		if (rc)
			give_up_lease(shared, chunk);
	}
	if (rc) {
		chunk->next = shared->unused_chunks;
		shared->unused_chunks = chunk;
		errno = rc == -EAGAIN ? EAGAIN : ENOMEM;
		return NULL;
	}
	dm_chunk_enlist(shared, chunk);
	dm_chunk_tidy(shared, chunk);
	return chunk;
}

/* Search one segment, from a hint, for a chunk in a state. */
static struct dm_chunk *lease_in_segment(struct dm_shared *shared, const struct dm_segment *segment,
                                         enum dm_chunk_state wanted, uint64_t *hint)
{
	uint64_t chunks = segment->data_extents / shared->geometry.chunk_extents;

	for (uint64_t i = 0; i < chunks; i++) {
		uint64_t at = (*hint + i) % chunks;
		struct dm_chunk_atomic_pm *atomic = dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, at);
		struct dm_chunk *chunk;
		uint64_t word;

		if (dm_word_load(shared->window, &atomic->owner, &word) != 0)
			break;
		if (dm_chunk_owner_state(word) != wanted)
			continue;
		chunk = dm_chunk_lease(shared, segment, at);
		if (chunk == NULL && errno != EAGAIN)
			break;
		*hint = at + 1;
		if (chunk != NULL)
			return chunk;
	}
	return NULL;
}

static struct dm_chunk *lease_in_state(struct dm_shared *shared, enum dm_chunk_state wanted, uint64_t *hint)
{
	uint32_t segments = atomic_load_explicit(&shared->window->segment_count, memory_order_acquire);

	for (uint32_t i = 0; i < segments; i++) {
		const struct dm_segment *segment = &shared->window->segments[i];
		struct dm_chunk *chunk;

		if (atomic_load_explicit(&segment->state, memory_order_relaxed) != DM_SEGMENT_ACTIVE ||
		    !dm_shared_segment_fits(shared, segment))
			continue;
		chunk = lease_in_segment(shared, segment, wanted, hint);
		if (chunk != NULL)
			return chunk;
	}
	return NULL;
}

/* Take over every orphan there is; true when there was one. */
bool dm_chunk_adopt_orphans(struct dm_shared *shared)
{
	bool any = false;

	while (!shared->left && lease_in_state(shared, DM_CHUNK_ORPHAN, &shared->orphan_hint) != NULL)
		any = true;
	return any;
}

/* A chunk more.  Orphans first: what is free in them is of use to nobody else; but a row of orphans that are full must not
 * hold up one allocation for long, so `orphans_first` is false after some of them. */
struct dm_chunk *dm_chunk_lease_any(struct dm_shared *shared, bool orphans_first)
{
	struct dm_chunk *chunk = NULL;

	if (shared->left)
		return NULL;
	if (orphans_first)
		chunk = lease_in_state(shared, DM_CHUNK_ORPHAN, &shared->orphan_hint);
	if (chunk == NULL)
		chunk = lease_in_state(shared, DM_CHUNK_FREE, &shared->lease_hint);
	if (chunk == NULL && !orphans_first)
		chunk = lease_in_state(shared, DM_CHUNK_ORPHAN, &shared->orphan_hint);
	return chunk;
}

/* For when the file system is full: a free chunk some of whose extents have kept their space.  Walks the chunk table. */
struct dm_chunk *dm_chunk_lease_with_space(struct dm_shared *shared)
{
	uint32_t segments = atomic_load_explicit(&shared->window->segment_count, memory_order_acquire);

	for (uint32_t i = 0; i < segments && !shared->left; i++) {
		const struct dm_segment *segment = &shared->window->segments[i];
		uint64_t chunks = segment->data_extents / shared->geometry.chunk_extents;

		if (atomic_load_explicit(&segment->state, memory_order_relaxed) != DM_SEGMENT_ACTIVE ||
		    !dm_shared_segment_fits(shared, segment))
			continue;
		for (uint64_t at = 0; at < chunks; at++) {
			struct dm_chunk_local_pm *local = dm_geometry_chunk_local(shared->window, &shared->geometry, segment, at);
			struct dm_chunk *chunk;
			uint64_t word;

			if (dm_word_load(shared->window,
			                 &dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, at)->owner,
			                 &word) != 0 ||
			    dm_chunk_owner_state(word) != DM_CHUNK_FREE)
				continue;
			if (dm_window_refresh(shared->window, local, sizeof(*local)) != 0 || (uint32_t)local->space == 0)
				continue;
			chunk = dm_chunk_lease(shared, segment, at);
			if (chunk != NULL)
				return chunk;
		}
	}
	return NULL;
}

/* Give a chunk back: FREE when nothing is in it, else ORPHAN.  With keep_one, an empty chunk is kept while it is the only one. */
void dm_chunk_release(struct dm_shared *shared, struct dm_chunk *chunk, bool keep_one)
{
	bool empty = chunk->extents_used == 0;
	uint64_t word = dm_chunk_owner_word(empty ? DM_CHUNK_FREE : DM_CHUNK_ORPHAN, DM_NO_SLOT,
	                                    dm_chunk_owner_version(chunk->owner_word) + 1);
	uint64_t seen;

	if (chunk->pinned || (keep_one && empty && shared->empty_chunks <= 1))
		return;
	delist(shared, chunk);
	if (dm_word_cas(shared->window, &chunk->atomic->owner, chunk->owner_word, word, &seen) != 0 ||
	    seen != chunk->owner_word)
		dm_log(DMEM_LOG_WARNING, "chunk %llu was not ours any more when we gave it back",
		       (unsigned long long)chunk->number);
	if (empty) /* the next lease takes it again: its pages are mapped, and its space is there */
		shared->lease_hint = chunk->number - chunk->segment->data_first / shared->geometry.chunk_extents;
	DM_CRASH_POINT(CHUNK_RELEASED);
}

/* --- extents --- */

/* Make sure that the extents of `mask` have their space, and note that they are about to hold something. */
int dm_chunk_take_space(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t mask)
{
	uint32_t missing = mask & ~(uint32_t)chunk->space;
	uint64_t space = chunk->space | mask | (uint64_t)mask << 32;

	while (missing != 0) {
		unsigned first = (unsigned)__builtin_ctz(missing);
		uint32_t shifted = ~(missing >> first);
		unsigned count = shifted == 0 ? 32 - first : (unsigned)__builtin_ctz(shifted);
		int rc = dm_window_reserve(shared->window, chunk->extents[first].index << DM_EXTENT_SHIFT,
		                           (uint64_t)count << DM_EXTENT_SHIFT);

		if (rc)
			return rc;
		missing &= count == 32 ? 0 : ~(((UINT32_C(1) << count) - 1) << first);
	}
	DM_CRASH_POINT(SPACE_TAKEN);
	if (space != chunk->space) {
		chunk->space = space;
		__atomic_store_n(&chunk->local->space, space, __ATOMIC_RELEASE);
		return dm_window_publish(shared->window, chunk->local, sizeof(*chunk->local));
	}
	return 0;
}

/* A free extent of a chunk that we lease, whose space is taken already if there is one. */
static struct dm_extent *find_free_extent(struct dm_shared *shared)
{
	uint32_t all =
		shared->geometry.chunk_extents == 32 ? UINT32_MAX : (UINT32_C(1) << shared->geometry.chunk_extents) - 1;
	struct dm_extent *fresh = NULL;

	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = chunk->next) {
		uint32_t free_bits = all & ~chunk->extents_used;
		uint32_t with_space = free_bits & (uint32_t)chunk->space;

		if (with_space != 0)
			return &chunk->extents[__builtin_ctz(with_space)];
		if (fresh == NULL && free_bits != 0)
			fresh = &chunk->extents[__builtin_ctz(free_bits)];
	}
	return fresh;
}

void dm_chunk_mark_used(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t mask)
{
	shared->empty_chunks -= chunk->extents_used == 0;
	chunk->idle_beats = 0;
	chunk->extents_used |= mask;
}

void dm_chunk_mark_free(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t mask)
{
	if (chunk->extents_used == 0)
		return;
	chunk->extents_used &= ~mask;
	shared->empty_chunks += chunk->extents_used == 0;
	if (chunk->extents_used == 0)
		dm_chunk_release(shared, chunk, true);
}

/* A free extent of the chunks that we lease, with its space taken; the caller says what it is.  NULL with errno ENOENT: lease
 * a chunk more; ENOMEM: the file system is full. */
struct dm_extent *dm_extent_take(struct dm_shared *shared)
{
	struct dm_extent *extent = find_free_extent(shared);
	uint32_t mask;

	if (extent == NULL) {
		errno = ENOENT;
		return NULL;
	}
	mask = UINT32_C(1) << (extent - extent->chunk->extents);
	if (dm_chunk_take_space(shared, extent->chunk, mask) != 0) {
		errno = ENOMEM;
		return NULL;
	}
	dm_chunk_mark_used(shared, extent->chunk, mask);
	return extent;
}

/* Its descriptor says FREE already. */
void dm_extent_release(struct dm_shared *shared, struct dm_extent *extent)
{
	struct dm_chunk *chunk = extent->chunk;

	extent->kind = DM_EXTENT_FREE;
	extent->run_extents = 0;
	dm_extent_relist(shared, extent);
	dm_chunk_mark_free(shared, chunk, UINT32_C(1) << (extent - chunk->extents));
}
