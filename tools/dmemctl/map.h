/* SPDX-License-Identifier: Apache-2.0 */
/* map.h: what fills a pool, gathered into as many cells as fit the terminal. */
#ifndef DMEMCTL_MAP_H
#define DMEMCTL_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "inspect.h"

#define CTL_KINDS (DM_KIND_QUARANTINED + 1)
#define CTL_MAP_ROWS 24u

/* How many extents of each kind a cell stands for; the rest of it is free. */
struct ctl_cell {
	uint64_t extents[CTL_KINDS];
};

struct ctl_totals {
	uint64_t extents;
	uint64_t runs;          /* heads of runs: RUN, PRIVATE */
	uint64_t blocks_live;   /* SLABS */
	uint64_t bytes_live;    /* SLABS */
	uint64_t bytes_waiting; /* SLABS */
};

struct ctl_map {
	struct ctl_cell *cells;
	size_t cell_count;         /* columns x CTL_MAP_ROWS */
	uint32_t columns;
	uint64_t extents_per_cell; /* a power of two */
	uint64_t extents;          /* of the window that are drawn: the pool's capacity, more when it has gaps */
	uint64_t extent_bytes;
	uint64_t moved;            /* extents whose memory lies elsewhere than identity says */
	struct ctl_totals totals[CTL_KINDS];
};

extern const char *const ctl_kind_names[CTL_KINDS];

/* An empty map of `extents` extents in cells of at most `columns` columns; false: out of memory. */
bool ctl_map_init(struct ctl_map *map, uint64_t extents, uint64_t extent_bytes, uint32_t columns);
void ctl_map_add(struct ctl_map *map, const struct dm_inspect_extent *extent);
/* Draw the cells, rows first, then what the marks mean with the totals of each kind. */
void ctl_map_draw(const struct ctl_map *map, uint32_t width);
void ctl_map_fini(struct ctl_map *map);

/* Columns for cells on a terminal that is `width` wide. */
uint32_t ctl_map_columns(uint32_t width);

#endif
