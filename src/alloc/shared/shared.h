/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h: the allocator whose metadata lives in the pool.
 *
 * Three levels, each with one owner at a time: a member leases chunks, gives their extents to slabs or runs, and its threads
 * own slabs.  What only owners write is plain stores; everybody else sets bits in tagged words.  Truth is in the pool
 * (heap_layout.h); the structures below are this process's memory of what it owns, made again from the pool when a chunk
 * is taken over.
 *
 * Start here: block.c (taking and giving one block), then slab.c, chunk.c, run.c, adopt.c (making sense of what somebody left).
 *
 * Lock: dm_shared.lock protects which chunks, extents and units are used for what, and the lists below it.  The blocks of a
 * slab belong to the thread that owns the slab and need no lock.  Inside the lock only window->lock may be taken (by none so
 * far); docs/architecture.md has the order of all locks.
 */
#ifndef DM_ALLOC_SHARED_SHARED_H
#define DM_ALLOC_SHARED_SHARED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr/window.h"
#include "alloc/shared/class.h"
#include "alloc/shared/desc.h"
#include "alloc/shared/extents.h"
#include "alloc/shared/geometry.h"
#include "alloc/shared/heap_layout.h"
#include "failure/members.h"

struct dm_heap;

enum dm_slab_list { DM_LIST_NONE, DM_LIST_CURRENT, DM_LIST_PARTIAL, DM_LIST_FULL, DM_LIST_ABANDONED };

/* A slab of a chunk that we lease.  These structures are never given back to malloc while the pool is attached, so that a
 * racing invalid free can't follow a pointer into nothing. */
struct dm_slab {
	/* one line, for taking and giving */
	_Atomic(struct dm_heap **)
		thread;          /* the array (heap.h) of the thread that takes blocks; NULL: nobody of this process */
	uint64_t *bits;      /* in the pool */
	uint64_t *pending;   /* in the pool: hint word of the extent */
	uint8_t *address;    /* of its first block */
	uint64_t reciprocal; /* of the class, as the next two */
	uint32_t block_bytes;
	uint32_t blocks;
	uint32_t free_count; /* set free bits; the owner's thread, or under the lock while abandoned */
	uint32_t cursor;     /* word to look at first */
	uint8_t list;        /* enum dm_slab_list */
	uint8_t unit;        /* where it starts in its extent */
	/* the rest */
	_Atomic(struct dm_heap *) heap; /* whose thread takes blocks; NULL: nobody's in this process */
	uint64_t *freed;                /* in the pool */
	uint64_t offset;                /* of its first block */
	const struct dm_class *class;
	struct dm_slab_pm *header; /* in the pool */
	uint64_t number;           /* window extent * 32 + unit: what its descriptor is checked with */
	uint32_t class_index;
	uint32_t bit_words;
	struct dm_slab *next;
	struct dm_slab *previous;
	struct dm_extent *extent;
} __attribute__((aligned(64)));

/* An extent of a chunk that we lease. */
struct dm_extent {
	struct dm_chunk *chunk;
	struct dm_extent_pm *local; /* in the pool */
	uint64_t index;             /* window extent */
	enum dm_extent_kind kind;   /* FREE also inside runs */
	uint64_t run_extents;       /* RUN, PRIVATE: of the run that starts here */
	uint32_t units_used;        /* SLABS: one bit a unit */
	struct dm_extent *next;     /* list of slab extents with as many adjoining free units */
	struct dm_extent *previous;
	uint32_t listed; /* in this list; 0: in none */
};

/* A chunk that we lease. */
struct dm_chunk {
	struct dm_chunk_atomic_pm *atomic; /* in the pool */
	struct dm_chunk_local_pm *local;   /* in the pool */
	const struct dm_segment *segment;
	uint64_t number;       /* window extent / chunk_extents */
	uint64_t owner_word;   /* what the pool's owner word holds while we lease it */
	uint64_t space;        /* what the pool's space word holds */
	uint32_t extents_used; /* one bit an extent */
	bool pinned;           /* must not be given back right now */
	uint32_t idle_beats;   /* it has been empty for so long */
	struct dm_chunk *next;
	struct dm_chunk *previous;
	struct dm_extent extents[]; /* chunk_extents */
};

struct dm_bin {
	struct dm_slab *current;
	struct dm_slab *partial; /* lists of slabs of this heap and class */
	struct dm_slab *full;    /* a queue: those that filled up first are looked at first for frees */
	struct dm_slab *full_last;
	uint32_t spare; /* wholly free slabs among them: at most one is kept */
};

/* One thread's share.  Kept on a list of unused ones when its thread or pool is gone, never given back to malloc. */
struct dm_heap {
	struct dm_shared *shared;      /* NULL: unused */
	uint64_t attach_id;            /* of `shared`: a thread's stale pointer to this heap is found out by it */
	uint32_t id;                   /* number in the pool's heap table */
	struct dm_heap **owner_thread; /* the array of the thread that has it: two threads can't meet in one */
	uint64_t version;              /* of its next tagged word */
	uint64_t version_end;          /* versions below this are reserved in the pool for us */
	struct dm_heap *next;          /* list of shared->heaps */
	struct dm_bin bins[DM_CLASSES_MAX];
};

struct dm_shared {
	struct dm_window *window;
	struct dm_members *members;
	struct dm_heap_owner_pm *heap_owners; /* in the pool */
	uint32_t heaps_max;
	uint64_t attach_id;
	unsigned tls_index;
	struct dm_geometry geometry;
	struct dm_classes classes;
	unsigned chunk_shift;               /* log2 of the chunk size in bytes */
	uint64_t chunk_numbers;             /* length of `chunks` */
	_Atomic(struct dm_chunk *) *chunks; /* by chunk number: those that we lease */
	_Atomic(struct dm_slab *) *units;   /* by unit of the window: the slab of ours that it belongs to */
	_Atomic uint64_t bad_frees;

	pthread_mutex_t lock;
	struct dm_chunk *leased;        /* list */
	struct dm_chunk *unused_chunks; /* list of structures to use again */
	struct dm_slab *unused_slabs;
	struct dm_slab *abandoned[DM_CLASSES_MAX]; /* lists of slabs whose thread ended */
	/* slab extents, in lists by the length of their longest row of free units; bit n - 1: list n is not empty */
	struct dm_extent *slab_extents[DM_UNITS_PER_EXTENT + 1];
	uint32_t slab_extents_with;
	struct dm_heap *heaps; /* list */
	uint64_t lease_hint;   /* chunk to look at first when leasing */
	uint64_t orphan_hint;
	uint64_t empty_chunks; /* leased chunks without anything in them */
	bool left;             /* the member is leaving: nothing is leased any more */
};

/* One-time set-up for an attached pool whose member has joined or is about to. */
int dm_shared_create(struct dm_window *window, struct dm_members *members, struct dm_shared **shared);
/* Local memory only; the pool is not touched. */
void dm_shared_destroy(struct dm_shared *shared);
/* Give every chunk back, or orphan it: before the member leaves. */
void dm_shared_leave(struct dm_shared *shared);
/* fork: the parent's handlers take and release all locks, the child's make them anew. */
void dm_shared_fork_prepare(struct dm_shared *shared);
void dm_shared_fork_parent(struct dm_shared *shared);

/* Repair after the death of a member; idempotent (adopt.c). */
int dm_shared_repair(void *shared, uint32_t slot, uint32_t incarnation);
/* Take note of what others freed; called by the agent. */
void dm_shared_on_beat(void *shared);

/* Blocks.  alloc: NULL with errno; alignment is a power of two. free: 0, or a refusal that was described with dm_fail(). */
void *dm_shared_alloc(struct dm_shared *shared, uint64_t bytes, uint64_t alignment, bool zeroed);
int dm_shared_free(struct dm_shared *shared, void *block);
size_t dm_shared_usable(struct dm_shared *shared, const void *block);

/* The slab structure of a unit of one of our extents. */
static inline _Atomic(struct dm_slab *) *dm_extent_slab(struct dm_shared *shared, const struct dm_extent *extent,
                                                        uint32_t unit)
{
	return &shared->units[extent->index * DM_UNITS_PER_EXTENT + unit];
}

/* The member that leases the chunk of a window offset; DM_NO_SLOT when none does. */
uint32_t dm_shared_owner(struct dm_shared *shared, uint64_t offset);

/* --- inside alloc/shared --- */

/* Descriptor of a block that is named by its address alone: checked copies of what the pool says (block.c). */
struct dm_place {
	const struct dm_segment *segment;
	uint64_t extent; /* in the segment's data */
	uint64_t index;  /* window extent */
	enum dm_extent_kind kind;
	uint64_t run_extents;
	uint32_t unit; /* SLABS: where the slab starts */
	uint32_t class_index;
	uint32_t block; /* number in the slab */
	bool aligned;   /* the address is the start of a block or run */
};
int dm_place_find(struct dm_shared *shared, uint64_t offset, struct dm_place *place);
/* True when the offset lies inside a run, behind its first extent. */
bool dm_place_inside_run(struct dm_shared *shared, uint64_t offset);

struct dm_heap *dm_heap_get_slow(struct dm_shared *shared);
void dm_heap_release_all(struct dm_shared *shared);
void dm_heap_fork_prepare(void);
void dm_heap_fork_parent(void);
void dm_heap_fork_child(struct dm_shared *shared);

void dm_list_push(struct dm_slab **head, struct dm_slab *slab, enum dm_slab_list list);
void dm_list_remove(struct dm_slab **head, struct dm_slab *slab);
void dm_full_push(struct dm_bin *bin, struct dm_slab *slab);
void dm_full_remove(struct dm_bin *bin, struct dm_slab *slab);

/* slab.c; with the lock held unless said otherwise */
struct dm_slab *dm_slab_create(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index);
void dm_slab_destroy(struct dm_shared *shared, struct dm_slab *slab);
struct dm_slab *dm_slab_structure(struct dm_shared *shared, struct dm_extent *extent, uint32_t unit,
                                  uint32_t class_index);
/* Clear the freed bits and set the free bits.  By the slab's owner; returns how many blocks came back. */
uint32_t dm_slab_collect(struct dm_shared *shared, struct dm_slab *slab);
/* Hand the slab to a heap, or to nobody (NULL).  Writes the owner word. */
void dm_slab_set_heap(struct dm_shared *shared, struct dm_slab *slab, struct dm_heap *heap);
/* Let go of all slabs of a heap: the empty ones are destroyed. */
void dm_slab_abandon_all(struct dm_shared *shared, struct dm_heap *heap);

/* See metadata of an extent as the pool has it (place.c).  Not with the lock held. */
int dm_shared_refresh(struct dm_shared *shared, uint64_t index, const void *address, size_t bytes);

bool dm_shared_segment_fits(const struct dm_shared *shared, const struct dm_segment *segment);

/* block.c: a slab of the calling thread with a free block, NULL with errno; the next block of it; refuse a free; the hint for the
 * owner of a slab */
struct dm_slab *dm_block_slab(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index);
void *dm_block_take(struct dm_shared *shared, struct dm_slab *slab);
int dm_block_refuse(struct dm_shared *shared, int code, const void *block, const char *what);
int dm_block_hint(struct dm_shared *shared, uint64_t *pending, uint32_t unit);

/* chunk.c; with the lock held */
struct dm_extent *dm_extent_take(struct dm_shared *shared);
void dm_extent_release(struct dm_shared *shared, struct dm_extent *extent);
struct dm_chunk *dm_chunk_lease(struct dm_shared *shared, const struct dm_segment *segment, uint64_t chunk);
struct dm_chunk *dm_chunk_lease_any(struct dm_shared *shared, bool orphans_first);
struct dm_chunk *dm_chunk_lease_with_space(struct dm_shared *shared);
void dm_chunk_release(struct dm_shared *shared, struct dm_chunk *chunk, bool keep_one);
int dm_chunk_take_space(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t mask);
void dm_extent_set(struct dm_shared *shared, struct dm_extent *extent, enum dm_extent_kind kind, uint64_t argument);
/* Take over every orphan there is; true when there was one. */
bool dm_chunk_adopt_orphans(struct dm_shared *shared);
void dm_extent_relist(struct dm_shared *shared, struct dm_extent *extent);
void dm_chunk_mark_used(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t mask);
void dm_chunk_mark_free(struct dm_shared *shared, struct dm_chunk *chunk, uint32_t mask);
struct dm_chunk *dm_chunk_structure(struct dm_shared *shared, const struct dm_segment *segment, uint64_t chunk);
void dm_chunk_enlist(struct dm_shared *shared, struct dm_chunk *chunk);
struct dm_extent *dm_extent_ours(struct dm_shared *shared, uint64_t index);

/* run.c; with the lock held */
struct dm_extent *dm_run_take(struct dm_shared *shared, uint64_t count, uint64_t alignment, enum dm_extent_kind kind,
                              bool *fresh);
void dm_run_release(struct dm_shared *shared, struct dm_extent *head);
/* Free a shared run of ours, in one committing store; -EALREADY: it was given up already. */
int dm_run_free(struct dm_shared *shared, struct dm_extent *head);
void dm_run_collect(struct dm_shared *shared, struct dm_chunk *chunk);
void dm_run_collect_all(struct dm_shared *shared);

/* adopt.c; with the lock held */
int dm_chunk_adopt(struct dm_shared *shared, struct dm_chunk *chunk);
void dm_chunk_tidy(struct dm_shared *shared, struct dm_chunk *chunk);
/* The local structures of its slabs go back to the unused ones: the chunk is about to be given up. */
void dm_chunk_forget_slabs(struct dm_shared *shared, struct dm_chunk *chunk);

/* Set bits of a tagged word; -EALREADY when one of them is set.  Heap 0: nobody announced it. (tag.c) */
int dm_tag_set(struct dm_shared *shared, uint64_t *word, uint32_t bits, uint32_t heap, uint64_t version);
/* One attempt to leave only `left` of the bits of a tagged word that held `old`; it worked when *seen == old. */
int dm_tag_take(struct dm_shared *shared, uint64_t *word, uint64_t old, uint32_t left, uint64_t *seen);
/* Take the set bits out of a tagged word. */
uint32_t dm_tag_clear(struct dm_shared *shared, uint64_t *word);

/* The high half of a tagged word. */
static inline uint64_t dm_tag_make(uint32_t heap, uint64_t version)
{
	return (uint64_t)heap << DM_TAG_HEAP_SHIFT | version << DM_TAG_VERSION_SHIFT;
}

static inline uint64_t dm_tag_of(uint64_t word)
{
	return word & ~(uint64_t)UINT32_MAX;
}

/* A tagged word after a change that nobody announced: heap 0, and a version that differs from the word's before. */
static inline uint64_t dm_tag_anonymous(uint64_t old, uint32_t bits)
{
	return bits | ((old >> DM_TAG_VERSION_SHIFT) + 1) << DM_TAG_VERSION_SHIFT;
}

static inline uint64_t dm_chunk_owner_word(enum dm_chunk_state state, uint32_t slot, uint64_t version)
{
	return (uint64_t)state | (uint64_t)((slot + 1) & 0xffff) << 8 | version << 24;
}

static inline enum dm_chunk_state dm_chunk_owner_state(uint64_t word)
{
	return (enum dm_chunk_state)(word & 0xff);
}

static inline uint32_t dm_chunk_owner_slot(uint64_t word)
{
	return (uint32_t)(word >> 8 & 0xffff) - 1;
}

static inline uint64_t dm_chunk_owner_version(uint64_t word)
{
	return word >> 24;
}

#endif
