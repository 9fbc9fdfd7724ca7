/* SPDX-License-Identifier: Apache-2.0 */
/* geometry.h: where in a segment the structures of heap_layout.h lie. */
#ifndef DM_ALLOC_SHARED_GEOMETRY_H
#define DM_ALLOC_SHARED_GEOMETRY_H

#include <stdint.h>

#include "addr/window.h"
#include "alloc/shared/heap_layout.h"

struct dm_geometry {
	uint32_t chunk_extents;
	uint32_t granule_bytes;
	uint32_t slab_local_bytes;  /* header and free bits of one unit */
	uint32_t slab_atomic_bytes; /* tagged words of one unit */
};

/* Offsets from the segment's metadata_off; `bytes` is where they end. */
struct dm_geometry_arrays {
	uint64_t chunk_atomics;
	uint64_t chunk_locals;
	uint64_t extent_locals;
	uint64_t extent_atomics;
	uint64_t slab_locals;
	uint64_t slab_atomics;
	uint64_t bytes;
};

void dm_geometry_init(struct dm_geometry *geometry, uint32_t chunk_extents, uint32_t granule_bytes);

void dm_geometry_arrays(const struct dm_geometry *geometry, uint64_t data_extents, struct dm_geometry_arrays *arrays);

/*
 * Lay out a segment of `extents` extents of which the first `header_bytes` are taken: writes metadata_off, data_first and
 * data_extents, with as much data as fits.  False when not even one chunk fits.
 */
bool dm_geometry_lay_out(const struct dm_geometry *geometry, uint64_t header_bytes, struct dm_segment_pm *segment);

/* Take space for the parts of a new segment's metadata that are read before anybody leases a chunk: a hole of a full file
 * system must not be met by a load. */
int dm_geometry_reserve_segment(struct dm_window *window, const struct dm_geometry *geometry,
                                const struct dm_segment *segment);

/* Take space for the metadata of one chunk's extents. */
int dm_geometry_reserve_chunk(struct dm_window *window, const struct dm_geometry *geometry,
                              const struct dm_segment *segment, uint64_t chunk_in_segment);

/* Pointers.  `chunk` and `extent` count from the segment's first data extent, `unit` in the extent. */
struct dm_chunk_atomic_pm *dm_geometry_chunk_atomic(struct dm_window *window, const struct dm_geometry *geometry,
                                                    const struct dm_segment *segment, uint64_t chunk);
struct dm_chunk_local_pm *dm_geometry_chunk_local(struct dm_window *window, const struct dm_geometry *geometry,
                                                  const struct dm_segment *segment, uint64_t chunk);
struct dm_extent_pm *dm_geometry_extent(struct dm_window *window, const struct dm_geometry *geometry,
                                        const struct dm_segment *segment, uint64_t extent);
struct dm_extent_atomic_pm *dm_geometry_extent_atomic(struct dm_window *window, const struct dm_geometry *geometry,
                                                      const struct dm_segment *segment, uint64_t extent);
struct dm_slab_pm *dm_geometry_slab(struct dm_window *window, const struct dm_geometry *geometry,
                                    const struct dm_segment *segment, uint64_t extent, uint32_t unit);
uint64_t *dm_geometry_freed(struct dm_window *window, const struct dm_geometry *geometry,
                            const struct dm_segment *segment, uint64_t extent, uint32_t unit);

/* The free bits of a slab stand behind its header. */
static inline uint64_t *dm_slab_bits(struct dm_slab_pm *slab)
{
	return (uint64_t *)(slab + 1);
}

#endif
