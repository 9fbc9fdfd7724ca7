/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.c: what lies at an offset of the window, asked of the pool: for blocks of chunks that other members lease.
 *
 * Every word is copied once and checked before it is used.  The chunk must be leased or orphaned: the metadata of other
 * chunks may be a hole in a sparse file, which must not be touched.
 */
#include <errno.h>

#include "alloc/shared/shared.h"
#include "base/error.h"

static int corrupt(const struct dm_shared *shared, const char *what, uint64_t number)
{
	return dm_fail(DMEM_E_CORRUPT, "%s: the descriptor of %s %llu is damaged: check the pool with 'dmemctl fsck'",
	               shared->window->devices[0]->name, what, (unsigned long long)number);
}

/*
 * See metadata of an extent as the pool has it.  Lines of a chunk that we lease are left as they are: this process writes
 * them, and a refresh would drop what another thread has stored and is about to publish.  Under the lock, because a chunk
 * becomes ours under it.
 */
int dm_shared_refresh(struct dm_shared *shared, uint64_t index, const void *address, size_t bytes)
{
	int rc = 0;

	if (__builtin_expect(shared->window->coherent, 1))
		return dm_window_refresh(shared->window, address, bytes);
	pthread_mutex_lock(&shared->lock);
	if (dm_extent_ours(shared, index) == NULL)
		rc = dm_window_refresh(shared->window, address, bytes);
	pthread_mutex_unlock(&shared->lock);
	return rc;
}

uint32_t dm_shared_owner(struct dm_shared *shared, uint64_t offset)
{
	uint64_t extent = offset >> DM_EXTENT_SHIFT;
	const struct dm_segment *segment = dm_window_segment(shared->window, extent);
	uint64_t word;

	if (segment == NULL || extent - segment->data_first >= segment->data_extents ||
	    !dm_shared_segment_fits(shared, segment))
		return DM_NO_SLOT;
	if (dm_word_load(shared->window,
	                 &dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment,
	                                           (extent - segment->data_first) / shared->geometry.chunk_extents)
	                      ->owner,
	                 &word) != 0)
		return DM_NO_SLOT;
	return dm_chunk_owner_state(word) == DM_CHUNK_LEASED ? dm_chunk_owner_slot(word) : DM_NO_SLOT;
}

/* The slab that unit `unit` of the extent belongs to, and the block at `delta` from the unit's start. */
static int find_in_slabs(struct dm_shared *shared, struct dm_place *place, uint32_t unit, uint64_t offset)
{
	const struct dm_class *class;
	uint64_t argument;
	uint64_t delta;
	unsigned kind;

	for (unsigned hops = 0; hops < 2; hops++) {
		struct dm_slab_pm *header =
			dm_geometry_slab(shared->window, &shared->geometry, place->segment, place->extent, unit);
		uint64_t number = place->index * DM_UNITS_PER_EXTENT + unit;
		int rc = dm_shared_refresh(shared, place->index, header, sizeof(*header));

		if (rc)
			return rc;
		if (!dm_desc_read(__atomic_load_n(&header->desc, __ATOMIC_ACQUIRE), number, &kind, &argument))
			return corrupt(shared, "slab", number);
		if (kind != DM_SLAB_CONTINUED || hops == 1)
			break;
		if ((argument >> 16 & 0xff) > unit || (argument >> 16 & 0xff) == 0)
			return corrupt(shared, "slab", number);
		unit -= (uint32_t)(argument >> 16 & 0xff);
	}
	if (kind != DM_SLAB_SLAB)
		return -ENOENT;
	if ((argument & 0xff) >= shared->classes.count)
		return corrupt(shared, "slab", place->index * DM_UNITS_PER_EXTENT + unit);
	class = &shared->classes.classes[argument & 0xff];
	delta = (offset & (DM_EXTENT_BYTES - 1)) - (uint64_t)unit * DM_UNIT_BYTES;
	place->unit = unit;
	place->class_index = (uint32_t)(argument & 0xff);
	place->block = (uint32_t)(delta * class->reciprocal >> DM_RECIPROCAL_SHIFT);
	place->aligned = place->block < class->blocks && (uint64_t)place->block * class->block_bytes == delta;
	return unit + class->units <= DM_UNITS_PER_EXTENT ? 0 : corrupt(shared, "slab", place->index);
}

/* 0, -ENOENT (nothing is allocated there), DMEM_E_CORRUPT. */
int dm_place_find(struct dm_shared *shared, uint64_t offset, struct dm_place *place)
{
	struct dm_extent_pm *local;
	uint64_t argument;
	uint64_t word;
	unsigned kind;
	int rc;

	*place = (struct dm_place){.index = offset >> DM_EXTENT_SHIFT};
	place->segment = dm_window_segment(shared->window, place->index);
	if (place->segment == NULL || !dm_shared_segment_fits(shared, place->segment) ||
	    place->index < place->segment->data_first ||
	    place->index - place->segment->data_first >= place->segment->data_extents)
		return dm_fail_quietly(-ENOENT, "offset 0x%llx of the window holds no user memory", (unsigned long long)offset);
	place->extent = place->index - place->segment->data_first;
	rc = dm_word_load(shared->window,
	                  &dm_geometry_chunk_atomic(shared->window, &shared->geometry, place->segment,
	                                            place->extent / shared->geometry.chunk_extents)
	                       ->owner,
	                  &word);
	if (rc)
		return rc;
	if (dm_chunk_owner_state(word) != DM_CHUNK_LEASED && dm_chunk_owner_state(word) != DM_CHUNK_ORPHAN)
		return -ENOENT;
	local = dm_geometry_extent(shared->window, &shared->geometry, place->segment, place->extent);
	rc = dm_shared_refresh(shared, place->index, local, sizeof(*local));
	if (rc)
		return rc;
	if (!dm_desc_read(__atomic_load_n(&local->desc, __ATOMIC_ACQUIRE), place->index, &kind, &argument) ||
	    kind > DM_EXTENT_QUARANTINED)
		return corrupt(shared, "extent", place->index);
	place->kind = kind;
	if (kind == DM_EXTENT_SLABS)
		return find_in_slabs(shared, place, (uint32_t)(offset >> DM_UNIT_SHIFT & (DM_UNITS_PER_EXTENT - 1)), offset);
	if (kind != DM_EXTENT_RUN && kind != DM_EXTENT_PRIVATE)
		return -ENOENT;
	if (argument == 0 || argument > place->segment->data_extents - place->extent)
		return corrupt(shared, "extent", place->index);
	place->run_extents = argument;
	place->aligned = (offset & (DM_EXTENT_BYTES - 1)) == 0;
	return 0;
}

#define RUN_SEARCH_EXTENTS 65536u /* for a message: 128 GiB back is far enough */

bool dm_place_inside_run(struct dm_shared *shared, uint64_t offset)
{
	uint64_t index = offset >> DM_EXTENT_SHIFT;
	const struct dm_segment *segment = dm_window_segment(shared->window, index);
	uint64_t in_segment = segment == NULL ? 0 : index - segment->data_first;

	if (segment == NULL || index < segment->data_first || in_segment >= segment->data_extents)
		return false;
	for (uint64_t back = 1; back <= RUN_SEARCH_EXTENTS && back <= in_segment;
	     back++) { /* a run ends with its segment */
		struct dm_place place;

		if (dm_place_find(shared, (index - back) << DM_EXTENT_SHIFT, &place) != 0)
			continue;
		return place.kind != DM_EXTENT_SLABS && place.run_extents > back;
	}
	return false;
}
