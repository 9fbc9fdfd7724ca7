/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap_layout.h: what the shared allocator keeps in the pool.  All numbers little-endian.
 *
 * The pool's data is cut in chunks (1 to 32 extents, leased by one member), extents (2 MiB: a slab extent, part of a
 * run, or free) and units (64 KiB: part of a slab, or free).  User memory holds nothing of ours.
 *
 * Per segment, at metadata_off, six arrays, each from a page boundary:
 *
 *   | chunk atomics | chunk locals | extent locals | extent atomics | slab locals | slab atomics |
 *     64 B a chunk    64 B a chunk   64 B an extent  64 B an extent   32 an extent  32 an extent
 *
 *   slab local of a unit:   | header 64 B | free bits: 1 bit a granule of the unit |
 *   slab atomics of a unit: | freed words: one tagged word for 32 blocks |
 *
 * "Local" lines have one writer, the member that leases the chunk.  "Atomic" lines are changed by atomic operations of
 * anybody.  That is all that must be coherent, or delegated, between hosts: about 1.6 % of the pool with 16-byte
 * granules, 0.4 % with 64-byte granules.
 *
 * Truth is told by single 8-byte stores: what an extent is says its descriptor, what a unit is says its slab's
 * descriptor, what a block is says its free bit together with its freed bit.  All counts and lists are local memory and
 * are made again from these by whoever takes a chunk over.
 */
#ifndef DM_ALLOC_SHARED_HEAP_LAYOUT_H
#define DM_ALLOC_SHARED_HEAP_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define DM_UNIT_SHIFT        16u
#define DM_UNIT_BYTES        (1u << DM_UNIT_SHIFT)
#define DM_UNITS_PER_EXTENT  32u
#define DM_CHUNK_EXTENTS_MAX 32u
#define DM_FREED_BITS        32u /* blocks per tagged word */
#define DM_HEAPS_MAX         16384u

/*
 * Tagged word: | bits 32 | heap 14 | version 18 |, bits in the low half.
 * Members set bits to say "this is freed"; the owner clears them when it has taken note.  The tag names the heap that
 * changed the word last, and the low bits of that heap's version of the change, so that a recoverer can tell whether a
 * change that a dead member had announced in its redo record took place (struct dm_heap_redo_pm).
 */
#define DM_TAG_HEAP_SHIFT    32u
#define DM_TAG_VERSION_SHIFT 46u

/*
 * Chunk atomics.  owner: | state 8 | slot + 1: 16 | version 40 |, state in the low bits.  Commit: one CAS.
 *   FREE -> LEASED(slot)            by the member that takes it
 *   LEASED(slot) -> FREE            by that member, when everything in it is free
 *   LEASED(slot) -> ORPHAN          by that member when it leaves, or by its recoverer, when blocks are alive in it
 *   ORPHAN -> LEASED(slot)          by the member that adopts it
 *   any -> QUARANTINED              by whoever finds it damaged
 * freed: tagged word, one bit an extent: set by a member that is not the owner, at the head of a run, to free that run.
 */
struct dm_chunk_atomic_pm {
	uint64_t owner;
	uint64_t freed;
	uint64_t reserved[6];
};
enum dm_chunk_state { DM_CHUNK_FREE = 0, DM_CHUNK_LEASED = 1, DM_CHUNK_ORPHAN = 2, DM_CHUNK_QUARANTINED = 3 };

/* Chunk local.  space: | reserved 32 | dirty 32 |, one bit an extent: its space is taken from the file system; its memory
 * may hold something else than zeros.  Written by the owner; bits are set before an extent is used, and `reserved` is cleared
 * before space is given back. */
struct dm_chunk_local_pm {
	uint64_t space;
	uint64_t reserved[7];
};

/*
 * Extent local.  desc: | kind 4 | check 8 | argument 52 |, kind in the low bits; check is made of the rest and the
 * extent's number (desc.h); all zero is a whole FREE.  Commit: the store of desc.
 *   FREE           nothing, or inside a run
 *   SLABS          argument 0: units are described by their slab headers
 *   RUN            argument: number of extents of the run that starts here; one shared block
 *   PRIVATE        the same, private to the owner of the chunk, free as soon as that one is dead
 *   CONTINUED      first extent of a later chunk of a run: argument is | back 26 | rest 26 |: extents from the run's head
 *                  to here, and from here to its end.  Counts only while that head is a run which reaches here.
 * A run is committed by the store of its head's desc, after its CONTINUED marks, and freed by the store of FREE there.
 */
struct dm_extent_pm {
	uint64_t desc;
	uint64_t reserved[7];
};
enum dm_extent_kind {
	DM_EXTENT_FREE = 0,
	DM_EXTENT_SLABS = 1,
	DM_EXTENT_RUN = 2,
	DM_EXTENT_PRIVATE = 3,
	DM_EXTENT_CONTINUED = 4,
	DM_EXTENT_QUARANTINED = 5,
};

/*
 * Extent atomics.
 * pending: one bit a unit (low half): somebody has set freed bits in the slab that starts there.  A hint: it may be set for
 * nothing, and it may be missing after a crash.  A freer looks at it after it has set the freed bit; the owner clears
 * it before it collects.
 * backing: 0: identity, the segment says where the extent lies.  Else | moved 1 | device 15 | device extent 48 |, and the
 * superblock carries DM_INCOMPAT_MOVED.  Here and not beside desc, because the mover is not the chunk's owner.
 * flags: bit 0: quarantined, set by whoever found it damaged; the owner uses the extent no more.
 */
struct dm_extent_atomic_pm {
	uint64_t pending;
	uint64_t backing;
	uint64_t flags;
	uint64_t reserved[5];
};
#define DM_EXTENT_FLAG_QUARANTINED UINT64_C(1)

/*
 * Slab header of a unit.  desc: | kind 4 | check 8 | argument 52 |, argument: | class 8 | units 8 | back 8 |.
 *   FREE        the unit is free
 *   SLAB        a slab starts here: `class`, and it takes `units` units
 *   CONTINUED   the unit belongs to the slab that starts `back` units before
 * Commit: the store of desc, after the free bits and the CONTINUED marks; freed by the store of FREE here first.
 * owner: number of the heap that takes blocks from it; 0: none.  A thread is owner when it reads its own number there.
 * Free bits: bit set = free.  Only the owner changes them.  A block is in use when its free bit and its freed bit
 * are both clear.  Taking a block is committed by the store that clears its free bit.
 */
struct dm_slab_pm {
	uint64_t desc;
	uint64_t owner;
	uint64_t reserved[6];
};
enum dm_slab_kind { DM_SLAB_FREE = 0, DM_SLAB_SLAB = 1, DM_SLAB_CONTINUED = 2 };

/*
 * Heaps: one per thread of a member.  At heap_off: the owner words of all heaps (64 B aligned array), then from the next
 * page their records.  owner: | slot + 1: 16 | spare 16 | incarnation 32 |; 0 free.  Commit: one CAS.
 */
struct dm_heap_owner_pm {
	uint64_t word;
};

/*
 * Redo record: what the thread is about to do, for calls whose hand-over to the application is part of the operation.
 * Written by the heap's thread, published before the change it announces.  crc covers everything before it; a record whose
 * crc is wrong was never finished and counts as none.
 *
 * Did the announced change of a tagged word take place?  Look at the word first: it carries our tag and version, or our
 * bits: yes.  Then at the heap's note: it holds our version: yes.  Else: no.  This is exact because whoever replaces the
 * tag of another heap, setter or collector, first reads that heap's redo record, and when it announces this word
 * with this version, writes the version to the heap's note by CAS before it goes on.  (docs/design/0001: noting by
 * collectors alone gave wrong answers, 425 of 15,257.)  A change that nobody announces carries heap 0 and counts the
 * version of the word on, so that it never looks like an announced one.  Pools whose members announce carry
 * DM_INCOMPAT_REDO: a member that doesn't note must not attach.
 *
 * op 1, allocating (redo.c): block_off, slot_off, block_bytes, and in `seen` what the slot held before.  The rest is 0.
 * op 2, freeing: all fields.
 */
struct dm_heap_redo_pm {
	uint64_t op; /* 0 none, 1 allocating, 2 freeing; clearing it ends the announcement */
	uint64_t block_off;
	uint64_t slot_off;
	uint64_t block_bytes;
	uint64_t seen;    /* the tagged word before the change */
	uint64_t version; /* the heap's version for the change, whole */
	uint64_t word_off;
	uint32_t bits;
	uint32_t crc;
};

/* Numbers start at 1, so that a word nobody ever touched names no heap.  A number is given back only when no slab names it
 * as owner. */
struct dm_heap_pm {
	struct dm_heap_redo_pm redo;
	uint64_t noted; /* atomic line: see above */
	uint64_t noted_reserved[7];
	uint64_t version_reserved; /* versions below this may have been used: the next user of the number starts here */
	uint64_t counters[7];      /* single writer: for statistics */
	uint64_t reserved[8];
	uint64_t batch[96]; /* frees of blocks of other owners that were not carried out yet: window offsets */
};
static_assert(sizeof(struct dm_chunk_atomic_pm) == 64, "chunk atomics");
static_assert(sizeof(struct dm_chunk_local_pm) == 64, "chunk local");
static_assert(sizeof(struct dm_extent_pm) == 64, "extent local");
static_assert(sizeof(struct dm_extent_atomic_pm) == 64, "extent atomics");
static_assert(sizeof(struct dm_slab_pm) == 64, "slab header");
static_assert(sizeof(struct dm_heap_owner_pm) == 8, "heap owner");
static_assert(sizeof(struct dm_heap_redo_pm) == 64, "redo record");
static_assert(sizeof(struct dm_heap_pm) == 1024, "heap record");
static_assert(offsetof(struct dm_heap_redo_pm, crc) == 60, "redo record");
static_assert(offsetof(struct dm_heap_pm, noted) == 64, "heap record");
static_assert(offsetof(struct dm_heap_pm, version_reserved) == 128, "heap record");
static_assert(offsetof(struct dm_heap_pm, batch) == 256, "heap record");

#endif
