/* SPDX-License-Identifier: Apache-2.0 */
/*
 * geometry.c: arithmetic of the segment's arrays (heap_layout.h has the picture).
 *
 * Inputs come from a superblock that passed its checks, and dm_shared_create() checks once for each segment that its
 * arrays end before its data; after that, indexes inside the segment can't leave them.
 *
 * A slab of several units uses the free bits and tagged words of its first unit only: slabs that large have at most as many
 * blocks as one unit has granules.
 */
#include "alloc/shared/geometry.h"

#include "base/arith.h"

#define ARRAY_ALIGN 4096u

void dm_geometry_init(struct dm_geometry *geometry, uint32_t chunk_extents, uint32_t granule_bytes)
{
	uint32_t granules = DM_UNIT_BYTES / granule_bytes;

	geometry->chunk_extents = chunk_extents;
	geometry->granule_bytes = granule_bytes;
	geometry->slab_local_bytes = (uint32_t)sizeof(struct dm_slab_pm) + granules / 8;
	geometry->slab_atomic_bytes = granules / DM_FREED_BITS * 8;
}

static uint64_t next_array(uint64_t at, uint64_t count, uint64_t bytes)
{
	return dm_align_down(at + count * bytes + ARRAY_ALIGN - 1, ARRAY_ALIGN);
}

void dm_geometry_arrays(const struct dm_geometry *geometry, uint64_t data_extents, struct dm_geometry_arrays *arrays)
{
	uint64_t chunks = data_extents / geometry->chunk_extents;
	uint64_t units = data_extents * DM_UNITS_PER_EXTENT;

	arrays->chunk_atomics = 0;
	arrays->chunk_locals = next_array(arrays->chunk_atomics, chunks, sizeof(struct dm_chunk_atomic_pm));
	arrays->extent_locals = next_array(arrays->chunk_locals, chunks, sizeof(struct dm_chunk_local_pm));
	arrays->extent_atomics = next_array(arrays->extent_locals, data_extents, sizeof(struct dm_extent_pm));
	arrays->slab_locals = next_array(arrays->extent_atomics, data_extents, sizeof(struct dm_extent_atomic_pm));
	arrays->slab_atomics = next_array(arrays->slab_locals, units, geometry->slab_local_bytes);
	arrays->bytes = next_array(arrays->slab_atomics, units, geometry->slab_atomic_bytes);
}

bool dm_geometry_lay_out(const struct dm_geometry *geometry, uint64_t header_bytes, struct dm_segment_pm *segment)
{
	uint64_t start = segment->window_first << DM_EXTENT_SHIFT;
	uint64_t end = segment->window_first + segment->extents;
	struct dm_geometry_arrays arrays;
	uint64_t first;

	if (!dm_align_up(start + header_bytes, ARRAY_ALIGN, &segment->metadata_off))
		return false;
	/* the metadata shrinks with the data it leaves room for, so the first fit from below is the largest */
	if (!dm_align_up(dm_divide_up(segment->metadata_off, DM_EXTENT_BYTES), geometry->chunk_extents, &first))
		return false;
	if (first == segment->window_first)
		first += geometry->chunk_extents;
	for (; first + geometry->chunk_extents <= end; first += geometry->chunk_extents) {
		segment->data_first = first;
		segment->data_extents = dm_align_down(end - first, geometry->chunk_extents);
		dm_geometry_arrays(geometry, segment->data_extents, &arrays);
		if (segment->metadata_off + arrays.bytes <= first << DM_EXTENT_SHIFT)
			return true;
	}
	return false;
}

int dm_geometry_reserve_segment(struct dm_window *window, const struct dm_geometry *geometry,
                                const struct dm_segment *segment)
{
	struct dm_geometry_arrays arrays;

	dm_geometry_arrays(geometry, segment->data_extents, &arrays);
	return dm_window_reserve(window, segment->metadata_off, arrays.extent_locals);
}

static int reserve_items(struct dm_window *window, uint64_t array_off, uint64_t first, uint64_t count, uint64_t bytes)
{
	uint64_t start = dm_align_down(array_off + first * bytes, ARRAY_ALIGN);
	uint64_t end = next_array(array_off, first + count, bytes);

	return dm_window_reserve(window, start, end - start);
}

int dm_geometry_reserve_chunk(struct dm_window *window, const struct dm_geometry *geometry,
                              const struct dm_segment *segment, uint64_t chunk)
{
	uint64_t count = geometry->chunk_extents;
	uint64_t first = chunk * count;
	uint64_t at = segment->metadata_off;
	struct dm_geometry_arrays arrays;
	int rc;

	dm_geometry_arrays(geometry, segment->data_extents, &arrays);
	rc = reserve_items(window, at + arrays.extent_locals, first, count, sizeof(struct dm_extent_pm));
	if (rc == 0)
		rc = reserve_items(window, at + arrays.extent_atomics, first, count, sizeof(struct dm_extent_atomic_pm));
	first *= DM_UNITS_PER_EXTENT;
	count *= DM_UNITS_PER_EXTENT;
	if (rc == 0)
		rc = reserve_items(window, at + arrays.slab_locals, first, count, geometry->slab_local_bytes);
	if (rc == 0)
		rc = reserve_items(window, at + arrays.slab_atomics, first, count, geometry->slab_atomic_bytes);
	return rc;
}

static void *item(struct dm_window *window, const struct dm_segment *segment, uint64_t array, uint64_t index,
                  uint64_t bytes)
{
	return dm_window_at(window, segment->metadata_off + array + index * bytes);
}

struct dm_chunk_atomic_pm *dm_geometry_chunk_atomic(struct dm_window *window, const struct dm_geometry *geometry,
                                                    const struct dm_segment *segment, uint64_t chunk)
{
	(void)geometry; /* the first array */
	return item(window, segment, 0, chunk, sizeof(struct dm_chunk_atomic_pm));
}

struct dm_chunk_local_pm *dm_geometry_chunk_local(struct dm_window *window, const struct dm_geometry *geometry,
                                                  const struct dm_segment *segment, uint64_t chunk)
{
	struct dm_geometry_arrays arrays;

	dm_geometry_arrays(geometry, segment->data_extents, &arrays);
	return item(window, segment, arrays.chunk_locals, chunk, sizeof(struct dm_chunk_local_pm));
}

struct dm_extent_pm *dm_geometry_extent(struct dm_window *window, const struct dm_geometry *geometry,
                                        const struct dm_segment *segment, uint64_t extent)
{
	struct dm_geometry_arrays arrays;

	dm_geometry_arrays(geometry, segment->data_extents, &arrays);
	return item(window, segment, arrays.extent_locals, extent, sizeof(struct dm_extent_pm));
}

struct dm_extent_atomic_pm *dm_geometry_extent_atomic(struct dm_window *window, const struct dm_geometry *geometry,
                                                      const struct dm_segment *segment, uint64_t extent)
{
	struct dm_geometry_arrays arrays;

	dm_geometry_arrays(geometry, segment->data_extents, &arrays);
	return item(window, segment, arrays.extent_atomics, extent, sizeof(struct dm_extent_atomic_pm));
}

struct dm_slab_pm *dm_geometry_slab(struct dm_window *window, const struct dm_geometry *geometry,
                                    const struct dm_segment *segment, uint64_t extent, uint32_t unit)
{
	struct dm_geometry_arrays arrays;

	dm_geometry_arrays(geometry, segment->data_extents, &arrays);
	return item(window, segment, arrays.slab_locals, extent * DM_UNITS_PER_EXTENT + unit, geometry->slab_local_bytes);
}

uint64_t *dm_geometry_freed(struct dm_window *window, const struct dm_geometry *geometry,
                            const struct dm_segment *segment, uint64_t extent, uint32_t unit)
{
	struct dm_geometry_arrays arrays;

	dm_geometry_arrays(geometry, segment->data_extents, &arrays);
	return item(window, segment, arrays.slab_atomics, extent * DM_UNITS_PER_EXTENT + unit, geometry->slab_atomic_bytes);
}
