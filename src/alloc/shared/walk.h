/* SPDX-License-Identifier: Apache-2.0 */
/* walk.h: look at everything that the allocator keeps in the pool, as it is there, and check it. */
#ifndef DM_ALLOC_SHARED_WALK_H
#define DM_ALLOC_SHARED_WALK_H

#include <stdint.h>

#include "alloc/shared/shared.h"

struct dm_walk_extent {
	uint64_t index; /* window extent */
	uint32_t device;
	uint32_t owner;           /* slot; DM_NO_SLOT */
	enum dm_extent_kind kind; /* FREE: leased and empty; the later parts of a run have the kind of its head */
	uint64_t run_extents;     /* at the head of a run */
	uint64_t blocks_live;
	uint64_t bytes_live;
	uint64_t bytes_waiting;
};

struct dm_walk_slab {
	uint32_t class_index;
	uint32_t blocks;
	uint32_t blocks_live;
	uint32_t blocks_waiting;
};

/* Any may be NULL. `finding` gets sentences. */
struct dm_walk {
	int (*extent)(void *context, const struct dm_walk_extent *extent);
	int (*slab)(void *context, const struct dm_walk_slab *slab);
	void (*finding)(void *context, const char *sentence);
	void *context;
	uint64_t findings; /* how many there were */
	bool ended;        /* a callback wanted no more */
};

/* Extents of leased and orphaned chunks, ascending in each segment.  A value other than 0 from a callback ends the
 * walk.  Findings
 * are looked at again before they are told, because members go on meanwhile. */
int dm_walk_pool(struct dm_shared *shared, struct dm_walk *walk);

/* Members and heaps. */
int dm_walk_tables(struct dm_shared *shared, struct dm_walk *walk);

#endif
