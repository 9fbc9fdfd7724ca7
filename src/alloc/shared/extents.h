/* SPDX-License-Identifier: Apache-2.0 */
/* extents.h: whole extents of the pool for the layers that make something of them. */
#ifndef DM_ALLOC_SHARED_EXTENTS_H
#define DM_ALLOC_SHARED_EXTENTS_H

#include <stdint.h>

struct dm_shared;

/*
 * Lease `count` adjoining extents that stay private to this member: their space is reserved, and they go back to the pool
 * when the member gives them back, detaches or dies.  `first` gets the window extent index, a multiple of `alignment`
 * extents (a power of two).  Safe from any thread.  -ENOMEM: no such run is free, or the file system is full; then
 * nothing has changed.  Recorded in the pool before it returns; a death at any moment gives the extents back.
 */
int dm_extents_take_private(struct dm_shared *shared, uint64_t count, uint64_t alignment, uint64_t *first);

/* Give back a run that take_private gave.  Safe from any thread. */
void dm_extents_give_private(struct dm_shared *shared, uint64_t first, uint64_t count);

/*
 * Map `count` extents of the window, from `first`, a second time at `address` (a multiple of 2 MiB, over a reservation):
 * the same memory at an address of this process alone.  0, -ENOMEM, or DMEM_E_UNSUPPORTED where the device has no second
 * mapping.
 */
int dm_extents_map_private(struct dm_shared *shared, uint64_t first, uint64_t count, void *address);

#endif
