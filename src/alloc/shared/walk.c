/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c: the read-only walk behind fsck, validate and dmemctl map.
 *
 * It reads the pool, never this process's own structures, so that it finds what those hide.  Members may be at work: a
 * chunk that looks wrong is looked at three times, some milliseconds apart, and told only when it looks wrong each time.
 * Every walk is bounded by the segment's counts, which were checked with the superblock.
 */
#include "alloc/shared/walk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "alloc/shared/redo.h"
#include "base/clock.h"
#include "base/error.h"

#define FINDING_BYTES 256
#define LOOKS         3
#define LOOK_PAUSE_NS (5 * DM_NS_PER_MS)
#define FINDINGS_KEPT 8u /* of one chunk; the rest is counted */

struct chunk_look {
	struct dm_shared *shared;
	const struct dm_segment *segment;
	uint64_t chunk;
	uint64_t owner_word;
	struct dm_walk *walk; /* NULL while only checking */
	uint64_t findings;
	char kept[FINDINGS_KEPT][FINDING_BYTES];
};

static void find(struct chunk_look *look, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void find(struct chunk_look *look, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (look->findings < FINDINGS_KEPT)
		vsnprintf(look->kept[look->findings], FINDING_BYTES, format, arguments);
	va_end(arguments);
	look->findings++;
}

static void tell(struct dm_walk *walk, const char *sentence)
{
	walk->findings++;
	if (walk->finding != NULL)
		walk->finding(walk->context, sentence);
}

/* --- slabs --- */

static uint32_t count_bits(struct chunk_look *look, struct dm_slab_pm *header, const uint64_t *freed,
                           const struct dm_class *class, uint64_t number, uint32_t *waiting)
{
	const uint64_t *bits = dm_slab_bits(header);
	uint32_t live = 0;

	*waiting = 0;
	for (uint32_t word = 0; word < class->bit_words; word++) {
		uint32_t left = class->blocks - word * 64;
		uint64_t real = left >= 64 ? UINT64_MAX : (UINT64_C(1) << left) - 1;
		uint64_t free_bits = __atomic_load_n(&bits[word], __ATOMIC_ACQUIRE);
		uint64_t gone = 0;

		for (uint32_t half = 0; half < 2 && word * 2 + half < class->freed_words; half++) {
			uint64_t tagged;

			if (dm_word_load(look->shared->window, &freed[word * 2 + half], &tagged) == 0)
				gone |= (uint64_t)(uint32_t)tagged << half * 32;
		}
		if (free_bits & ~real)
			find(look, "slab %" PRIu64 " has free bits behind its last block", number);
		if (gone & ~real)
			find(look, "slab %" PRIu64 " has freed bits behind its last block", number);
		*waiting += (uint32_t)__builtin_popcountll(gone & ~free_bits & real);
		live += (uint32_t)__builtin_popcountll(~free_bits & ~gone & real);
	}
	return live;
}

static void check_slab_owner(struct chunk_look *look, const struct dm_slab_pm *header, uint64_t number)
{
	struct dm_shared *shared = look->shared;
	uint64_t heap = __atomic_load_n(&header->owner, __ATOMIC_ACQUIRE);
	uint64_t word;

	if (heap == 0 || dm_chunk_owner_state(look->owner_word) != DM_CHUNK_LEASED)
		return;
	if (heap >= shared->heaps_max)
		find(look, "slab %" PRIu64 " belongs to heap %" PRIu64 ", which can't be", number, heap);
	else if (dm_word_load(shared->window, &shared->heap_owners[heap].word, &word) == 0 &&
	         (word & 0xffff) - 1 != dm_chunk_owner_slot(look->owner_word))
		find(look, "slab %" PRIu64 " belongs to heap %" PRIu64 ", which is not its chunk owner's", number, heap);
}

static void check_continued(struct chunk_look *look, uint64_t in_segment, uint64_t index, uint32_t unit, uint32_t units)
{
	struct dm_shared *shared = look->shared;

	for (uint32_t i = 1; i < units; i++) {
		const struct dm_slab_pm *header =
			dm_geometry_slab(shared->window, &shared->geometry, look->segment, in_segment, unit + i);
		uint64_t argument;
		unsigned kind;

		if (dm_shared_refresh(shared, index, header, sizeof(*header)) != 0 ||
		    !dm_desc_read(__atomic_load_n(&header->desc, __ATOMIC_ACQUIRE), index * DM_UNITS_PER_EXTENT + unit + i,
		                  &kind, &argument) ||
		    kind != DM_SLAB_CONTINUED || argument >> 16 != i)
			find(look, "unit %u of extent %" PRIu64 " does not say that it continues its slab", unit + i, index);
	}
}

/* Returns how many units to go on. */
static uint32_t look_at_unit(struct chunk_look *look, uint64_t in_segment, struct dm_walk_extent *extent, uint32_t unit)
{
	struct dm_shared *shared = look->shared;
	struct dm_slab_pm *header = dm_geometry_slab(shared->window, &shared->geometry, look->segment, in_segment, unit);
	uint64_t number = extent->index * DM_UNITS_PER_EXTENT + unit;
	const struct dm_class *class;
	struct dm_walk_slab slab;
	uint64_t argument;
	unsigned kind;

	if (dm_shared_refresh(shared, extent->index, header, shared->geometry.slab_local_bytes) != 0 ||
	    !dm_desc_read(__atomic_load_n(&header->desc, __ATOMIC_ACQUIRE), number, &kind, &argument)) {
		find(look, "the descriptor of slab %" PRIu64 " is damaged", number);
		return 1;
	}
	if (kind != DM_SLAB_SLAB)
		return 1;
	if ((argument & 0xff) >= shared->classes.count ||
	    unit + shared->classes.classes[argument & 0xff].units > DM_UNITS_PER_EXTENT) {
		find(look, "slab %" PRIu64 " has class %" PRIu64 ", which can't be", number, argument & 0xff);
		return 1;
	}
	class = &shared->classes.classes[argument & 0xff];
	slab = (struct dm_walk_slab){.class_index = (uint32_t)(argument & 0xff), .blocks = class->blocks};
	slab.blocks_live =
		count_bits(look, header, dm_geometry_freed(shared->window, &shared->geometry, look->segment, in_segment, unit),
	               class, number, &slab.blocks_waiting);
	check_slab_owner(look, header, number);
	check_continued(look, in_segment, extent->index, unit, class->units);
	extent->blocks_live += slab.blocks_live;
	extent->bytes_live += (uint64_t)slab.blocks_live * class->block_bytes;
	extent->bytes_waiting += (uint64_t)slab.blocks_waiting * class->block_bytes;
	if (look->walk != NULL && look->walk->slab != NULL)
		(void)look->walk->slab(look->walk->context, &slab);
	return class->units;
}

/* --- extents --- */

static void check_run_parts(struct chunk_look *look, uint64_t in_segment, uint64_t index, uint64_t extents)
{
	struct dm_shared *shared = look->shared;
	uint32_t per_chunk = shared->geometry.chunk_extents;

	for (uint64_t back = per_chunk - in_segment % per_chunk; back < extents; back += per_chunk) {
		const struct dm_extent_pm *local =
			dm_geometry_extent(shared->window, &shared->geometry, look->segment, in_segment + back);
		uint64_t argument;
		unsigned kind;

		if (dm_shared_refresh(shared, index + back, local, sizeof(*local)) != 0 ||
		    !dm_desc_read(__atomic_load_n(&local->desc, __ATOMIC_ACQUIRE), index + back, &kind, &argument) ||
		    kind != DM_EXTENT_CONTINUED || argument >> DM_CONTINUED_SHIFT != back ||
		    (argument & DM_CONTINUED_MASK) != extents - back)
			find(look, "extent %" PRIu64 " does not say that it continues the run of extent %" PRIu64, index + back,
			     index);
	}
}

/* A run that was given up is taken apart: from then on parts of it may be anything. */
static bool is_given_up(struct chunk_look *look, uint64_t in_segment)
{
	uint32_t per_chunk = look->shared->geometry.chunk_extents;
	uint64_t word;

	return dm_word_load(look->shared->window,
	                    &dm_geometry_chunk_atomic(look->shared->window, &look->shared->geometry, look->segment,
	                                              in_segment / per_chunk)
	                         ->freed,
	                    &word) == 0 &&
	       (word >> in_segment % per_chunk & 1);
}

/* Gives the kind of the run. */
static enum dm_extent_kind check_continues(struct chunk_look *look, uint64_t in_segment, uint64_t index,
                                           uint64_t argument)
{
	uint64_t back = argument >> DM_CONTINUED_SHIFT;
	const struct dm_extent_pm *head;
	uint64_t length = 0;
	unsigned kind = 0;

	if (back == 0 || back > in_segment) {
		find(look, "extent %" PRIu64 " continues a run that starts outside its segment", index);
		return DM_EXTENT_CONTINUED;
	}
	head = dm_geometry_extent(look->shared->window, &look->shared->geometry, look->segment, in_segment - back);
	/* a mark that was left by a death before the commit counts for nothing, and is no damage once its chunk is orphaned */
	if (dm_shared_refresh(look->shared, index - back, head, sizeof(*head)) == 0 &&
	    dm_desc_read(__atomic_load_n(&head->desc, __ATOMIC_ACQUIRE), index - back, &kind, &length) &&
	    (kind == DM_EXTENT_RUN || kind == DM_EXTENT_PRIVATE) && length > back)
		return kind;
	if (dm_chunk_owner_state(look->owner_word) == DM_CHUNK_LEASED)
		find(look, "extent %" PRIu64 " continues a run that does not reach it", index);
	return DM_EXTENT_CONTINUED;
}

/* Look at one extent.  Returns how many extents of the chunk it accounts for. */
static uint64_t look_at_extent(struct chunk_look *look, uint64_t in_segment, uint64_t room)
{
	struct dm_shared *shared = look->shared;
	struct dm_extent_pm *local = dm_geometry_extent(shared->window, &shared->geometry, look->segment, in_segment);
	bool leased = dm_chunk_owner_state(look->owner_word) == DM_CHUNK_LEASED;
	struct dm_walk_extent extent = {.index = look->segment->data_first + in_segment,
	                                .device = look->segment->device,
	                                .owner = leased ? dm_chunk_owner_slot(look->owner_word) : DM_NO_SLOT};
	uint64_t covered = 1;
	uint64_t argument;
	uint64_t flags = 0;
	unsigned kind;

	(void)dm_word_load(shared->window,
	                   &dm_geometry_extent_atomic(shared->window, &shared->geometry, look->segment, in_segment)->flags,
	                   &flags);
	if (dm_shared_refresh(shared, extent.index, local, sizeof(*local)) != 0 ||
	    !dm_desc_read(__atomic_load_n(&local->desc, __ATOMIC_ACQUIRE), extent.index, &kind, &argument) ||
	    kind > DM_EXTENT_QUARANTINED) {
		find(look, "the descriptor of extent %" PRIu64 " is damaged", extent.index);
		kind = DM_EXTENT_QUARANTINED;
	} else if (flags & DM_EXTENT_FLAG_QUARANTINED) {
		find(look, "extent %" PRIu64 " is quarantined", extent.index);
		kind = DM_EXTENT_QUARANTINED;
	}
	extent.kind = kind;
	if (kind == DM_EXTENT_SLABS)
		for (uint32_t unit = 0; unit < DM_UNITS_PER_EXTENT;)
			unit += look_at_unit(look, in_segment, &extent, unit);
	if (kind == DM_EXTENT_CONTINUED)
		extent.kind = check_continues(look, in_segment, extent.index, argument);
	if (kind == DM_EXTENT_RUN || kind == DM_EXTENT_PRIVATE) {
		if (argument == 0 || argument > look->segment->data_extents - in_segment)
			find(look, "the run of extent %" PRIu64 " is longer than its segment", extent.index);
		else if (!is_given_up(look, in_segment))
			check_run_parts(look, in_segment, extent.index, argument);
		extent.run_extents = argument;
	}
	if (kind == DM_EXTENT_RUN || kind == DM_EXTENT_PRIVATE || kind == DM_EXTENT_CONTINUED) {
		covered = kind == DM_EXTENT_CONTINUED ? argument & DM_CONTINUED_MASK : argument;
		covered = covered == 0 ? 1 : covered < room ? covered : room;
	}
	for (uint64_t i = 0; look->walk != NULL && look->walk->extent != NULL && i < covered; i++) {
		if (kind == DM_EXTENT_RUN || kind == DM_EXTENT_PRIVATE || kind == DM_EXTENT_CONTINUED)
			extent.bytes_live = DM_EXTENT_BYTES;
		look->walk->ended = look->walk->extent(look->walk->context, &extent) != 0;
		if (look->walk->ended)
			break;
		extent.index++;
		extent.run_extents = 0;
	}
	return covered;
}

static void look_at_chunk(struct chunk_look *look)
{
	uint32_t count = look->shared->geometry.chunk_extents;

	for (uint64_t at = 0; at < count && (look->walk == NULL || !look->walk->ended);)
		at += look_at_extent(look, look->chunk * count + at, count - at);
}

static void check_chunk_owner(struct chunk_look *look)
{
	uint32_t slot = dm_chunk_owner_slot(look->owner_word);
	struct dm_member_view view;

	if (dm_chunk_owner_state(look->owner_word) > DM_CHUNK_QUARANTINED)
		find(look, "chunk %" PRIu64 " of the segment at extent %" PRIu64 " has state %u, which can't be", look->chunk,
		     look->segment->window_first, (unsigned)dm_chunk_owner_state(look->owner_word));
	if (dm_chunk_owner_state(look->owner_word) != DM_CHUNK_LEASED)
		return;
	if (slot >= look->shared->members->slots_max || dm_members_view(look->shared->members, slot, &view) != 0)
		find(look,
		     "chunk %" PRIu64 " of the segment at extent %" PRIu64 " is leased to member slot %u, where nobody is",
		     look->chunk, look->segment->window_first, slot);
}

static int walk_chunk(struct chunk_look *look, struct dm_walk *walk)
{
	struct dm_chunk_atomic_pm *atomic =
		dm_geometry_chunk_atomic(look->shared->window, &look->shared->geometry, look->segment, look->chunk);

	for (unsigned tries = 0; tries < LOOKS; tries++) {
		int rc = dm_word_load(look->shared->window, &atomic->owner, &look->owner_word);

		if (rc)
			return rc;
		if (dm_chunk_owner_state(look->owner_word) == DM_CHUNK_FREE)
			return 0;
		if (tries > 0)
			dm_clock_sleep_ns(LOOK_PAUSE_NS);
		look->findings = 0;
		look->walk = NULL;
		check_chunk_owner(look);
		look_at_chunk(look);
		if (look->findings == 0)
			break;
	}
	for (uint64_t i = 0; i < look->findings && i < FINDINGS_KEPT; i++)
		tell(walk, look->kept[i]);
	if (walk->extent != NULL || walk->slab != NULL) {
		look->walk = walk;
		look_at_chunk(look);
	}
	return 0;
}

int dm_walk_pool(struct dm_shared *shared, struct dm_walk *walk)
{
	uint32_t segments = atomic_load_explicit(&shared->window->segment_count, memory_order_acquire);
	struct chunk_look look = {.shared = shared};
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < segments; i++) {
		const struct dm_segment *segment = &shared->window->segments[i];
		uint64_t chunks = segment->data_extents / shared->geometry.chunk_extents;

		if (!dm_shared_segment_fits(shared, segment)) {
			tell(walk, "a segment has no room for its metadata");
			continue;
		}
		look.segment = segment;
		for (uint64_t chunk = 0; rc == 0 && chunk < chunks && !walk->ended; chunk++) {
			look.chunk = chunk;
			rc = walk_chunk(&look, walk);
		}
	}
	return rc;
}

/* False when something is wrong, which `sentence` tells. */
static bool look_at_heap(struct dm_shared *shared, uint32_t number, char sentence[FINDING_BYTES])
{
	struct dm_member_view view;
	bool possible;
	bool announces = dm_redo_announces(shared, number, &possible);
	uint64_t word;
	uint32_t slot;

	if (!possible) {
		snprintf(sentence, FINDING_BYTES, "the redo record of heap %u names what can't be", number);
		return false;
	}
	if (dm_word_load(shared->window, &shared->heap_owners[number].word, &word) != 0)
		return true;
	if (word == 0 && !announces)
		return true;
	slot = (uint32_t)(word & 0xffff) - 1;
	if (word == 0)
		snprintf(sentence, FINDING_BYTES, "heap %u announces an operation, and belongs to nobody", number);
	else if (slot < shared->members->slots_max && dm_members_view(shared->members, slot, &view) == 0 &&
	         view.incarnation == word >> 32)
		return true;
	else
		snprintf(sentence, FINDING_BYTES, "heap %u belongs to member %" PRIu32 ".%" PRIu64 ", who is not there", number,
		         slot, word >> 32);
	return false;
}

static void check_heap(struct dm_shared *shared, struct dm_walk *walk, uint32_t number)
{
	char sentence[FINDING_BYTES];

	for (unsigned tries = 0; tries < LOOKS; tries++) {
		if (look_at_heap(shared, number, sentence))
			return;
		dm_clock_sleep_ns(LOOK_PAUSE_NS);
	}
	tell(walk, sentence);
}

static void check_member(struct dm_shared *shared, struct dm_walk *walk, uint32_t slot)
{
	struct dm_member_view view;
	char sentence[FINDING_BYTES];

	for (unsigned tries = 0; tries < LOOKS; tries++) {
		int rc = dm_members_view(shared->members, slot, &view);

		if (rc == -ENOENT || (rc == 0 && (view.identified || view.state == DM_MEMBER_JOINING)))
			return;
		dm_clock_sleep_ns(LOOK_PAUSE_NS);
	}
	snprintf(sentence, sizeof(sentence), "member slot %u is in use, but does not say by whom", slot);
	tell(walk, sentence);
}

int dm_walk_tables(struct dm_shared *shared, struct dm_walk *walk)
{
	for (uint32_t slot = 0; slot < shared->members->slots_max; slot++)
		check_member(shared, walk, slot);
	for (uint32_t number = 1; number < shared->heaps_max; number++)
		check_heap(shared, walk, number);
	return 0;
}
