/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private.h: pool memory that belongs to one process.
 *
 * A dm_private reserves a range of addresses of its own, far from any window, and maps extents of the pool there a
 * second time.  What describes its blocks lies in local memory.  docs/design/0005-private-pool-memory.md says why.
 */
#ifndef DM_ALLOC_PRIVATE_PRIVATE_H
#define DM_ALLOC_PRIVATE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dm_private;

/* Where extents come from; alloc/shared/extents.h says what the three do.  They are called without any lock of this folder
 * held, from any thread, never in a child of fork(). */
struct dm_private_source {
	int (*take)(void *context, uint64_t count, uint64_t alignment, uint64_t *first);
	void (*give)(void *context, uint64_t first, uint64_t count);
	int (*map)(void *context, uint64_t first, uint64_t count, void *address);
	void *context;
};

/* Reserve addresses and nothing else: extents are taken when they are needed.  `source` is copied.  0 or -ENOMEM. */
int dm_private_create(const struct dm_private_source *source, struct dm_private **private_heap);

/* Give every extent back and release the addresses.  In a child of fork() nothing is given back: nothing was taken. */
void dm_private_destroy(struct dm_private *heap);

/* `alignment` is a power of two up to 1 GiB, or 0 for 16.  NULL with errno: ENOMEM, or EINVAL for the alignment. */
void *dm_private_alloc(struct dm_private *heap, size_t bytes, size_t alignment, bool zeroed);

/* 0, or the bad pointer's DMEM_E_FOREIGN, DMEM_E_INTERIOR or DMEM_E_DOUBLE_FREE: then nothing has changed. */
int dm_private_free(struct dm_private *heap, void *block);

/* 0 when `block` is not the start of a live block. */
size_t dm_private_usable(struct dm_private *heap, const void *block);

/* Does the address lie in the heap's range?  Interior pointers are fine; says nothing about blocks. */
bool dm_private_contains(const struct dm_private *heap, const void *address);

/* The extent of the window whose memory is behind the address.  DMEM_E_FOREIGN when none is: then the address is not in
 * use, or the heap was inherited and its memory is local. */
int dm_private_locate(struct dm_private *heap, const void *address, uint64_t *window_extent,
                      uint64_t *offset_in_extent);

/* True in a child of fork(), for heaps that its parent made: their blocks can be used and freed, but are local memory, and
 * dm_private_alloc() gives NULL (ENOMEM).  New pool memory wants a heap of its own. */
bool dm_private_inherited(const struct dm_private *heap);

/* The heap whose range holds the address, inherited ones too; NULL for none.  Takes no lock. */
struct dm_private *dm_private_find(const void *address);

/* Bytes of pool memory the heap has mapped now. */
uint64_t dm_private_mapped_bytes(struct dm_private *heap);

/*
 * fork(): fork.c registers these when the library is loaded, so that they run last before the fork and first after it.
 * In between no thread can change what the child's copy is made of.
 */
void dm_private_fork_prepare(void);
void dm_private_fork_parent(void);
void dm_private_fork_child(void);

#endif
