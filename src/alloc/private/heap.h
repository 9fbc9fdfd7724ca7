/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.h: the insides of a private heap, for the files of this folder.
 *
 *   range     [base, base + extents * 2 MiB), reserved, most of it PROT_NONE
 *   extent    2 MiB of it: not in use, kept (mapped, empty), a piece of a large block, or cut into slabs
 *   slab      64 KiB, 256 KiB or 2 MiB of an extent; blocks of one size class; one bit a block says "live"
 *
 * All of this lies in local memory that comes from mmap: the shim's malloc may end up here.
 *
 * Locks, in this order: a class's lock, then heap->lock.  Neither is held while the pool is asked for extents or memory
 * of the pool is touched, so that nobody who holds one waits for anything else.
 */
#ifndef DM_ALLOC_PRIVATE_HEAP_H
#define DM_ALLOC_PRIVATE_HEAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "alloc/private/private.h"
#include "base/arith.h"

#define DM_PRIVATE_EXTENT_BYTES    (2 * DM_MIB)
#define DM_PRIVATE_CLASSES         60u /* 16, 32, ... 128, then four a doubling up to 1 MiB */
#define DM_PRIVATE_CLASS_BYTES_MAX DM_MIB
#define DM_PRIVATE_ALIGNMENT_MAX   DM_GIB
#define DM_PRIVATE_SLABS_MAX       32u   /* in an extent: 2 MiB / 64 KiB */
#define DM_PRIVATE_BITS_WORDS      2048u /* an extent's blocks of 16 bytes, a bit each */
#define DM_PRIVATE_KINDS           3u    /* sizes of slabs */
#define DM_PRIVATE_KEPT_MAX        4u    /* empty extents that are kept for the next slab */
#define DM_PRIVATE_NO_CLASS        UINT32_MAX
#define DM_PRIVATE_NONE            UINT32_MAX

struct dm_slab {
	struct dm_slab *next; /* in its class's list of slabs with room */
	struct dm_slab *previous;
	char *base;        /* its first block */
	uint32_t capacity; /* blocks */
	uint32_t live;
	uint32_t hint;                /* no word of bits before this one has a clear bit */
	_Atomic uint32_t class_index; /* DM_PRIVATE_NO_CLASS: not in use; read without a lock, then checked under it */
	uint64_t *bits;
};

/* Of an extent that is cut into slabs.  Once made, such a structure is only ever used for another extent, never unmapped
 * before the heap is: a reader without a lock finds old values at worst. */
struct dm_slab_extent {
	struct dm_slab_extent *next; /* in the list of extents with a free slab, or of unused structures */
	struct dm_slab_extent *previous;
	_Atomic uintptr_t base; /* address of the extent */
	uint32_t kind;
	uint32_t slabs;     /* in this extent */
	uint32_t free_mask; /* bit i: slab i is free */
	struct dm_slab slab[DM_PRIVATE_SLABS_MAX];
	uint64_t bits[DM_PRIVATE_BITS_WORDS];
};

enum dm_extent_use {
	DM_USE_NONE, /* PROT_NONE */
	DM_USE_BUSY, /* being mapped or unmapped: belongs to the thread that does it */
	DM_USE_KEPT, /* mapped, empty */
	DM_USE_SLABS,
	DM_USE_LARGE, /* first extent of a large block */
	DM_USE_LARGE_REST,
};

struct dm_private_extent {
	_Atomic(struct dm_slab_extent *) slabs;
	uint64_t window_extent;   /* whose memory is mapped here */
	uint32_t piece;           /* extents of the run that was taken from the pool in one go, at its first; else 0 */
	_Atomic uint32_t run;     /* extents of the block, at the first extent of a large one */
	_Atomic uint32_t use;     /* enum dm_extent_use */
	uint32_t next;            /* in the list of kept extents, or of frees that wait for the end of a fork */
	_Atomic bool used_before; /* a bad pointer into it was good once */
	_Atomic bool touched;     /* written by the forking thread after the child's copy was made */
};

struct dm_private_class {
	pthread_mutex_t lock;
	struct dm_slab *with_room;
};

/* What fork() needs for one stretch of mapped extents. */
struct dm_private_copy {
	uint64_t first;
	uint64_t count;
	char *copy; /* NULL: there was no memory for it */
};

struct dm_private {
	struct dm_private_source source;
	uintptr_t base;
	uint64_t extents;                /* of the range */
	struct dm_private_extent *table; /* one entry an extent */
	uint64_t *claimed;               /* one bit an extent: its address is taken */
	uint64_t claim_hint;             /* no extent before it is free */
	uint64_t claim_end;              /* no extent from it on was ever claimed */
	uint32_t kept;                   /* list of kept extents, by index */
	uint32_t kept_count;
	uint32_t deferred; /* list of large blocks whose free waits for the end of a fork */
	struct dm_slab_extent *with_slabs[DM_PRIVATE_KINDS];
	struct dm_slab_extent *unused; /* structures for later use */
	char *arena;                   /* where the next structure comes from */
	uint64_t arena_left;
	void *arenas;         /* list of all arenas, linked through their first word */
	pthread_mutex_t lock; /* everything above */
	_Atomic uint64_t mapped_extents;
	struct dm_private_class classes[DM_PRIVATE_CLASSES];
	_Atomic uint32_t *here; /* a page that reads as zeros in a child of fork(): 1 in the process that uses it */
	bool inherited;
	struct dm_private_copy *copies; /* while a fork is under way */
	uint64_t copies_count;
	uint64_t copies_bytes; /* of the array itself */
	bool copies_ready;
};

/* memory.c: local memory without malloc. */
void *dm_private_local_map(uint64_t bytes);
void dm_private_local_unmap(void *address, uint64_t bytes);
struct dm_slab_extent *dm_private_slab_extent_new(struct dm_private *heap);

/* extents.c: addresses and extents. */
static inline uint64_t dm_private_index(const struct dm_private *heap, const void *address)
{
	return ((uintptr_t)address - heap->base) / DM_PRIVATE_EXTENT_BYTES;
}

static inline char *dm_private_address(const struct dm_private *heap, uint64_t index)
{
	return (char *)(heap->base + index * DM_PRIVATE_EXTENT_BYTES);
}

/* `count` mapped extents at addresses aligned to `alignment` extents, all DM_USE_BUSY.  0 or -ENOMEM, DMEM_E_... */
int dm_private_extents_get(struct dm_private *heap, uint64_t count, uint64_t alignment, uint64_t *index);
/* Give back `count` extents that are DM_USE_BUSY. */
void dm_private_extents_put(struct dm_private *heap, uint64_t index, uint64_t count);
/* Replace the mapping of extents by the reservation. */
void dm_private_reserve_again(struct dm_private *heap, uint64_t index, uint64_t count);
/* An address that is not claimed any more; heap->lock is held. */
void dm_private_unclaim(struct dm_private *heap, uint64_t index, uint64_t count);

/* slab.c */
uint32_t dm_private_class_of(size_t bytes, size_t alignment); /* DM_PRIVATE_NO_CLASS: too large for slabs */
size_t dm_private_class_bytes(uint32_t class_index);
void dm_private_slabs_init(struct dm_private *heap);
void *dm_private_slab_alloc(struct dm_private *heap, uint32_t class_index);
int dm_private_slab_free(struct dm_private *heap, struct dm_slab_extent *owner, void *block);
size_t dm_private_slab_usable(struct dm_private *heap, struct dm_slab_extent *owner, const void *block);

/* private.c */
void dm_private_release_large(struct dm_private *heap, uint64_t index);

/* fork.c: the thread that forks holds every lock from before the fork until after it, and may still free. */
bool dm_private_is_forker(void);
int dm_private_register(struct dm_private *heap);
void dm_private_unregister(struct dm_private *heap);

static inline void dm_private_lock(pthread_mutex_t *lock)
{
	if (!dm_private_is_forker())
		pthread_mutex_lock(lock);
}

static inline void dm_private_unlock(pthread_mutex_t *lock)
{
	if (!dm_private_is_forker())
		pthread_mutex_unlock(lock);
}

/* False in a process that came into being without the fork handlers (a raw clone): it must leave the heap alone. */
static inline bool dm_private_is_here(const struct dm_private *heap)
{
	return atomic_load_explicit(heap->here, memory_order_relaxed) != 0;
}

#endif
