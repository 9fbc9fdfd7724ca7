/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c: runs of extents: large shared blocks, and private memory.
 *
 * Taking: the chunks are leased; CONTINUED marks are stored at the start of every later chunk; the head's descriptor is
 * stored last and commits.  A death before that leaves marks without a head, which count for nothing.
 *
 * Freeing by the owner of the head's chunk: a run inside one chunk by the store of FREE at its head.  One over several
 * chunks is given up first, by the freed bit of its head, which commits; then parts in chunks that somebody else leases by
 * now are handed over by the freed bit of their CONTINUED extent; own parts are given back; the head becomes FREE last,
 * and its freed bit is cleared.  A death in between leaves the head with its freed bit, and whoever adopts its chunk
 * starts again.  A part is given back or handed over only while its mark still belongs to this run, and handed over only
 * against the tagged word that was read before the mark was checked, so that a part which its owner has taken back and
 * used again meanwhile is not freed twice.
 *
 * Freeing by anybody else: the freed bit of the head.  One atomic, however long the run.
 */
#include <errno.h>
#include <stdlib.h>

#include "alloc/shared/shared.h"
#include "base/error.h"
#include "base/fault.h"

static uint32_t mask_of(uint32_t first, uint32_t count)
{
	return count == 32 ? UINT32_MAX : ((UINT32_C(1) << count) - 1) << first;
}

/* True when extent `index` of the window is at a multiple of `alignment` extents as an address. */
static bool is_aligned(const struct dm_shared *shared, uint64_t index, uint64_t alignment)
{
	return dm_is_aligned((shared->window->base >> DM_EXTENT_SHIFT) + index, alignment);
}

/* A free place for `count` extents inside one leased chunk; DM_NO_SLOT when there is none. */
static uint32_t find_in_chunk(const struct dm_shared *shared, const struct dm_chunk *chunk, uint32_t count,
                              uint64_t alignment)
{
	for (uint32_t first = 0; first + count <= shared->geometry.chunk_extents; first++)
		if ((chunk->extents_used & mask_of(first, count)) == 0 &&
		    is_aligned(shared, chunk->extents[first].index, alignment))
			return first;
	return DM_NO_SLOT;
}

static struct dm_extent *commit_run(struct dm_shared *shared, struct dm_extent *head, uint64_t count,
                                    enum dm_extent_kind kind)
{
	head->kind = kind;
	head->run_extents = count;
	DM_CRASH_POINT(RUN_BEFORE_HEAD);
	dm_extent_set(shared, head, kind, count);
	DM_CRASH_POINT(RUN_COMMITTED);
	return head;
}

/* True when these extents are known to hold zeros. */
static bool is_fresh(const struct dm_shared *shared, const struct dm_chunk *chunk, uint32_t mask)
{
	return (chunk->space >> 32 & mask) == 0 && (shared->window->devices[chunk->segment->device]->caps & DM_CAP_ZEROED);
}

static struct dm_extent *take_in_chunk(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t first, uint32_t count,
                                       enum dm_extent_kind kind, bool *fresh)
{
	uint32_t mask = mask_of(first, count);

	*fresh = is_fresh(shared, chunk, mask);
	if (dm_chunk_take_space(shared, chunk, mask) != 0) {
		errno = ENOMEM;
		return NULL;
	}
	dm_chunk_mark_used(shared, chunk, mask);
	return commit_run(shared, &chunk->extents[first], count, kind);
}

static struct dm_extent *take_small(struct dm_shared *shared, uint32_t count, uint64_t alignment,
                                    enum dm_extent_kind kind, bool *fresh)
{
	bool full = false; /* the file system */

	for (unsigned orphans = 0;; orphans++) {
		struct dm_chunk *chunk = shared->leased;

		for (; chunk != NULL; chunk = chunk->next) {
			uint32_t first = find_in_chunk(shared, chunk, count, alignment);
			struct dm_extent *head =
				first == DM_NO_SLOT ? NULL : take_in_chunk(shared, chunk, first, count, kind, fresh);

			if (head != NULL)
				return head;
			full = full || first != DM_NO_SLOT;
		}
		if (!full)
			chunk = dm_chunk_lease_any(shared, orphans < 4);
		if (chunk == NULL)
			chunk = dm_chunk_lease_with_space(shared);
		if (chunk == NULL) {
			errno = ENOMEM;
			return NULL;
		}
	}
}

/* --- runs over several chunks --- */

static bool chunk_is_free(struct dm_shared *shared, const struct dm_segment *segment, uint64_t chunk)
{
	uint64_t word;

	return dm_word_load(shared->window,
	                    &dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, chunk)->owner,
	                    &word) == 0 &&
	       dm_chunk_owner_state(word) == DM_CHUNK_FREE;
}

/* Lease `chunks` chunks from `first`; on failure those that were leased are given back.  A chunk that was free when it was looked
 * at may be an orphan by now, with somebody's blocks in it: that one is ours from then on, but no part of a row. */
static int lease_row(struct dm_shared *shared, const struct dm_segment *segment, uint64_t first, uint64_t chunks)
{
	uint64_t base = segment->data_first / shared->geometry.chunk_extents;

	for (uint64_t i = 0; i < chunks; i++) {
		struct dm_chunk *chunk = dm_chunk_lease(shared, segment, first + i);
		int rc = chunk == NULL ? -errno : chunk->extents_used != 0 ? -EAGAIN : 0;

		if (rc == 0)
			continue;
		while (i-- > 0)
			dm_chunk_release(shared, atomic_load(&shared->chunks[base + first + i]), false);
		return rc;
	}
	return 0;
}

/* The first row of free chunks, from `from`, whose start is aligned.  Gives the number of chunks when there is none. */
static uint64_t find_row(struct dm_shared *shared, const struct dm_segment *segment, uint64_t from, uint64_t chunks,
                         uint64_t alignment)
{
	uint64_t all = segment->data_extents / shared->geometry.chunk_extents;
	uint64_t start = from;
	uint64_t length = 0;

	for (uint64_t at = from; at < all; at++) {
		if (length == 0) {
			start = at;
			if (!is_aligned(shared, segment->data_first + at * shared->geometry.chunk_extents, alignment))
				continue;
		}
		length = chunk_is_free(shared, segment, at) ? length + 1 : 0;
		if (length == chunks)
			return start;
	}
	return all;
}

static int take_row_space(struct dm_shared *shared, uint64_t first_number, uint64_t count, bool *fresh)
{
	uint32_t per_chunk = shared->geometry.chunk_extents;

	*fresh = true;
	for (uint64_t done = 0; done < count; done += per_chunk) {
		struct dm_chunk *chunk = atomic_load(&shared->chunks[first_number + done / per_chunk]);
		uint64_t here = count - done < per_chunk ? count - done : per_chunk;
		uint32_t mask = mask_of(0, (uint32_t)here);
		int rc;

		*fresh = *fresh && is_fresh(shared, chunk, mask);
		rc = dm_chunk_take_space(shared, chunk, mask);
		if (rc)
			return rc;
	}
	return 0;
}

static struct dm_extent *commit_row(struct dm_shared *shared, uint64_t first_number, uint64_t count,
                                    enum dm_extent_kind kind)
{
	uint32_t per_chunk = shared->geometry.chunk_extents;

	for (uint64_t done = 0; done < count; done += per_chunk) {
		struct dm_chunk *chunk = atomic_load(&shared->chunks[first_number + done / per_chunk]);
		uint64_t here = count - done < per_chunk ? count - done : per_chunk;

		dm_chunk_mark_used(shared, chunk, mask_of(0, (uint32_t)here));
		if (done == 0)
			continue;
		chunk->extents[0].kind = DM_EXTENT_CONTINUED;
		chunk->extents[0].run_extents = count - done;
		dm_extent_set(shared, &chunk->extents[0], DM_EXTENT_CONTINUED, done << DM_CONTINUED_SHIFT | (count - done));
		DM_CRASH_POINT(RUN_CONTINUED);
	}
	return commit_run(shared, &atomic_load(&shared->chunks[first_number])->extents[0], count, kind);
}

/* Chunks that we lease and don't use are in the way of rows. */
static void release_empty_chunks(struct dm_shared *shared)
{
	struct dm_chunk *next;

	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = next) {
		next = chunk->next;
		if (chunk->extents_used == 0)
			dm_chunk_release(shared, chunk, false);
	}
}

static struct dm_extent *take_in_segment(struct dm_shared *shared, const struct dm_segment *segment, uint64_t count,
                                         uint64_t alignment, enum dm_extent_kind kind, bool *fresh)
{
	uint64_t chunks = dm_divide_up(count, shared->geometry.chunk_extents);
	uint64_t all = segment->data_extents / shared->geometry.chunk_extents;
	uint64_t base = segment->data_first / shared->geometry.chunk_extents;
	uint64_t from = 0;

	while (from < all) {
		int rc;

		from = find_row(shared, segment, from, chunks, alignment);
		if (from == all)
			break;
		rc = lease_row(shared, segment, from, chunks);
		if (rc == -EAGAIN) { /* somebody took one meanwhile: look again from here */
			from++;
			continue;
		}
		if (rc == 0)
			rc = take_row_space(shared, base + from, count, fresh);
		if (rc == 0)
			return commit_row(shared, base + from, count, kind);
		release_empty_chunks(shared);
		break;
	}
	return NULL;
}

static struct dm_extent *take_from_segments(struct dm_shared *shared, uint64_t count, uint64_t alignment,
                                            enum dm_extent_kind kind, bool *fresh)
{
	uint32_t segments = atomic_load_explicit(&shared->window->segment_count, memory_order_acquire);

	release_empty_chunks(shared);
	for (uint32_t i = 0; i < segments && !shared->left; i++) {
		const struct dm_segment *segment = &shared->window->segments[i];
		struct dm_extent *head;

		if (atomic_load_explicit(&segment->state, memory_order_relaxed) != DM_SEGMENT_ACTIVE ||
		    count > segment->data_extents || !dm_shared_segment_fits(shared, segment))
			continue;
		head = take_in_segment(shared, segment, count, alignment, kind, fresh);
		if (head != NULL)
			return head;
	}
	errno = ENOMEM;
	return NULL;
}

/* Blocks that were freed in orphaned chunks come to light when somebody adopts those: before giving up, do. */
static struct dm_extent *take_large(struct dm_shared *shared, uint64_t count, uint64_t alignment,
                                    enum dm_extent_kind kind, bool *fresh)
{
	struct dm_extent *head = take_from_segments(shared, count, alignment, kind, fresh);

	if (head == NULL && dm_chunk_adopt_orphans(shared))
		head = take_from_segments(shared, count, alignment, kind, fresh);
	if (head == NULL)
		errno = ENOMEM;
	return head;
}

struct dm_extent *dm_run_take(struct dm_shared *shared, uint64_t count, uint64_t alignment, enum dm_extent_kind kind,
                              bool *fresh)
{
	/* an alignment above a chunk can only be met by searching rows */
	if (count <= shared->geometry.chunk_extents && alignment <= shared->geometry.chunk_extents)
		return take_small(shared, (uint32_t)count, alignment, kind, fresh);
	return take_large(shared, count, alignment, kind, fresh);
}

/* --- freeing --- */

/* Hand a part of the run to the owner of its chunk: set the freed bit of its first extent, if that still belongs to us. */
static void hand_over_part(struct dm_shared *shared, const struct dm_extent *head, uint64_t index)
{
	uint32_t per_chunk = shared->geometry.chunk_extents;
	const struct dm_segment *segment = head->chunk->segment;
	uint64_t in_segment = index - segment->data_first;
	struct dm_chunk_atomic_pm *atomic =
		dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, in_segment / per_chunk);
	struct dm_extent_pm *local = dm_geometry_extent(shared->window, &shared->geometry, segment, in_segment);

	for (;;) {
		uint64_t old;
		uint64_t seen;
		uint64_t argument;
		unsigned kind;

		if (dm_word_load(shared->window, &atomic->freed, &old) != 0 ||
		    dm_window_refresh(shared->window, local, sizeof(*local)) != 0)
			return;
		if (!dm_desc_read(__atomic_load_n(&local->desc, __ATOMIC_ACQUIRE), index, &kind, &argument) ||
		    kind != DM_EXTENT_CONTINUED || argument >> DM_CONTINUED_SHIFT != index - head->index || (old & 1))
			return;
		if (dm_word_cas(shared->window, &atomic->freed, old, old | 1, &seen) != 0 || seen == old)
			return;
	}
}

/* Give back the extents of a run that lie in one of our chunks, from `extent` to the run's end or the chunk's. */
static void release_part(struct dm_shared *shared, struct dm_extent *extent, uint64_t rest)
{
	struct dm_chunk *chunk = extent->chunk;
	uint32_t first = (uint32_t)(extent - chunk->extents);
	uint64_t room = shared->geometry.chunk_extents - first;

	dm_extent_set(shared, extent, DM_EXTENT_FREE, 0);
	DM_CRASH_POINT(RUN_PART_FREED);
	extent->kind = DM_EXTENT_FREE;
	extent->run_extents = 0;
	dm_chunk_mark_free(shared, chunk, mask_of(first, (uint32_t)(rest < room ? rest : room)));
}

/* A part that was given back before a death may be part of another run by now. */
static bool is_part_of(const struct dm_extent *part, const struct dm_extent *head)
{
	uint64_t argument;
	unsigned kind;

	return part->kind == DM_EXTENT_CONTINUED && dm_desc_read(part->local->desc, part->index, &kind, &argument) &&
	       kind == DM_EXTENT_CONTINUED && argument >> DM_CONTINUED_SHIFT == part->index - head->index;
}

void dm_run_release(struct dm_shared *shared, struct dm_extent *head)
{
	uint32_t per_chunk = shared->geometry.chunk_extents;
	uint64_t end = head->index + head->run_extents;
	uint64_t next = (head->chunk->number + 1) * per_chunk;

	for (; next < end; next += per_chunk) {
		struct dm_extent *part = dm_extent_ours(shared, next);

		if (part != NULL && is_part_of(part, head))
			release_part(shared, part, end - next);
		else if (part == NULL)
			hand_over_part(shared, head, next);
	}
	release_part(shared, head, head->run_extents);
}

static int set_freed_bit(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t at)
{
	uint64_t bit = UINT64_C(1) << at;
	uint64_t word;
	uint64_t seen = 0;
	int rc;

	do {
		rc = dm_word_load(shared->window, &chunk->atomic->freed, &word);
		if (rc == 0 && (word & bit))
			rc = -EALREADY;
		if (rc == 0)
			rc = dm_tag_take(shared, &chunk->atomic->freed, word, (uint32_t)word | UINT32_C(1) << at, &seen);
	} while (rc == 0 && seen != word);
	return rc;
}

static void clear_freed_bit(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t at)
{
	uint64_t *freed = &chunk->atomic->freed;
	uint64_t word;
	uint64_t seen = 0;

	do {
		if (dm_word_load(shared->window, freed, &word) != 0 ||
		    dm_tag_take(shared, freed, word, (uint32_t)word & ~(UINT32_C(1) << at), &seen) != 0)
			return;
	} while (seen != word);
}

/*
 * Take note of the freed bits of a chunk of ours.  The memory is given up first and the bit cleared after it, so a death in
 * between leaves a bit at a free extent, which the adopter clears.  Until the bit is clear the chunk is pinned: nobody, not
 * even we, can use the extents again, because we hold the lock and the lease.
 */
void dm_run_collect(struct dm_shared *shared, struct dm_chunk *chunk)
{
	bool was_pinned = chunk->pinned;
	uint64_t word;

	if (dm_word_load(shared->window, &chunk->atomic->freed, &word) != 0 || (uint32_t)word == 0)
		return;
	chunk->pinned = true;
	for (uint32_t bits = (uint32_t)word; bits != 0; bits &= bits - 1) {
		uint32_t at = (uint32_t)__builtin_ctz(bits);
		struct dm_extent *extent = at < shared->geometry.chunk_extents ? &chunk->extents[at] : NULL;

		if (extent != NULL && extent->kind == DM_EXTENT_RUN)
			dm_run_release(shared, extent);
		else if (extent != NULL && extent->kind == DM_EXTENT_CONTINUED)
			release_part(shared, extent, extent->run_extents);
		DM_CRASH_POINT(RUN_COLLECTING);
		clear_freed_bit(shared, chunk, at);
	}
	chunk->pinned = was_pinned;
	if (chunk->extents_used == 0)
		dm_chunk_release(shared, chunk, true);
}

/* The same for all of our chunks.  A run reaches over chunks, so none of them may go while the list is walked. */
void dm_run_collect_all(struct dm_shared *shared)
{
	struct dm_chunk *next;

	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = chunk->next)
		chunk->pinned = true;
	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = chunk->next)
		dm_run_collect(shared, chunk);
	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = next) {
		next = chunk->next;
		chunk->pinned = false;
		if (chunk->extents_used == 0)
			dm_chunk_release(shared, chunk, true);
	}
}

int dm_run_free(struct dm_shared *shared, struct dm_extent *head)
{
	struct dm_chunk *chunk = head->chunk;
	uint32_t at = (uint32_t)(head - chunk->extents);
	uint64_t word;
	int rc = dm_word_load(shared->window, &chunk->atomic->freed, &word);

	if (rc || (word >> at & 1))
		return rc ? rc : -EALREADY;
	if (at + head->run_extents <= shared->geometry.chunk_extents) {
		dm_run_release(shared, head);
		return 0;
	}
	rc = set_freed_bit(shared, chunk, at);
	if (rc)
		return rc;
	DM_CRASH_POINT(RUN_GIVEN_UP);
	dm_run_collect(shared, chunk);
	return 0;
}
