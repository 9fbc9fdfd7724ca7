/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c: local memory for what describes a private heap: from mmap, because malloc may be the one who asks. */
#include <sys/mman.h>

#include "alloc/private/heap.h"

#define ARENA_BYTES (4 * DM_MIB)

void *dm_private_local_map(uint64_t bytes)
{
	void *address = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return address == MAP_FAILED ? NULL : address;
}

void dm_private_local_unmap(void *address, uint64_t bytes)
{
	if (address && bytes)
		munmap(address, bytes);
}

/* heap->lock is held. */
static bool arena_grow(struct dm_private *heap)
{
	void **arena = dm_private_local_map(ARENA_BYTES);

	if (!arena)
		return false;
	arena[0] = heap->arenas;
	heap->arenas = arena;
	heap->arena = (char *)arena + DM_LINE_BYTES;
	heap->arena_left = ARENA_BYTES - DM_LINE_BYTES;
	return true;
}

/* A structure whose contents are old or zero; NULL without memory.  heap->lock is held. */
struct dm_slab_extent *dm_private_slab_extent_new(struct dm_private *heap)
{
	const uint64_t bytes = dm_divide_up(sizeof(struct dm_slab_extent), DM_LINE_BYTES) * DM_LINE_BYTES;
	struct dm_slab_extent *made = heap->unused;

	if (made) {
		heap->unused = made->next;
		return made;
	}
	if (heap->arena_left < bytes && !arena_grow(heap))
		return NULL;
	made = (struct dm_slab_extent *)heap->arena;
	heap->arena += bytes;
	heap->arena_left -= bytes;
	return made;
}
