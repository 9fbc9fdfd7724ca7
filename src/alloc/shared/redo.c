/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redo.c: allocating into a slot and freeing out of one, so that a death in between leaks nothing.
 *
 * The thread's redo record (heap_layout.h) announces the operation before its first change and is cleared after its last
 * one.  The slot tells how far a dead thread came: it stores to the slot after the block is taken, and before the block
 * is freed.
 *
 *   allocating: record, take the block, store it in the slot, clear the record.  Repair: the slot holds the block: done.
 *               It holds what it held before: the block is freed.
 *   freeing:    record, clear the slot, set the freed bit, clear the record.  Repair: the slot holds the block: nothing
 *               happened.  Else the bit is set, if that was not done.  Whether it was, the tag tells, or the note (tag.c):
 *               the owner may have collected the bit and handed the block out again.
 *
 * Repair changes tagged words by CAS and never the slot, so it may die, and be done again, anywhere.  A run is taken as
 * PRIVATE, which its owner's death frees, and made shared under the record.  Until the record is cleared, the memory that it
 * names is not used again: a slab block that was freed comes back when this thread collects, a run when it does so below.
 *
 * Source: docs/design/0009-crash-safe-handover.md, and 0001 for the rules of tags and notes.
 */
#include "alloc/shared/redo.h"

#include <errno.h>
#include <string.h>

#include "alloc/shared/heap.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/fault.h"

enum { OP_NONE = 0, OP_ALLOC = 1, OP_FREE = 2 };

static_assert(offsetof(struct dm_heap_redo_pm, op) == 0, "the word that is stored last");
#define RECORD_WORDS (sizeof(struct dm_heap_redo_pm) / sizeof(uint64_t))

static uint32_t record_crc(const struct dm_heap_redo_pm *record)
{
	return dm_crc32c(record, offsetof(struct dm_heap_redo_pm, crc));
}

/* Others read the record while we write it: word by word, and the crc tells them whether they saw a whole one.  The operation
 * comes last: stored first, it would complete the previous record, whose crc is still there, and a death just then would
 * have that one repaired again. */
static int write_record(struct dm_shared *shared, const struct dm_heap *heap, struct dm_heap_redo_pm *record)
{
	struct dm_heap_redo_pm *to = &dm_heap_record(shared, heap->id)->redo;
	uint64_t words[RECORD_WORDS];

	record->crc = record_crc(record);
	memcpy(words, record, sizeof(words));
	for (unsigned i = RECORD_WORDS; i-- > 0;)
		__atomic_store_n((uint64_t *)(void *)to + i, words[i], __ATOMIC_RELEASE);
	return dm_window_publish(shared->window, to, sizeof(*to));
}

static int clear_record(struct dm_shared *shared, uint32_t heap)
{
	struct dm_heap_redo_pm *to = &dm_heap_record(shared, heap)->redo;

	__atomic_store_n(&to->op, OP_NONE, __ATOMIC_RELEASE);
	return dm_window_publish(shared->window, to, sizeof(*to));
}

/* True when the heap announces something.  Lines that a thread of this process writes are not refreshed: that would drop its
 * stores. */
static bool read_record(struct dm_shared *shared, uint32_t heap, struct dm_heap_redo_pm *record)
{
	const struct dm_heap_redo_pm *from = &dm_heap_record(shared, heap)->redo;
	uint64_t ours = (uint64_t)(shared->members->slot + 1) | (uint64_t)shared->members->incarnation << 32;
	uint64_t words[RECORD_WORDS];
	uint64_t owner;

	if (dm_word_load(shared->window, &shared->heap_owners[heap].word, &owner) != 0 ||
	    (owner != ours && dm_window_refresh(shared->window, from, sizeof(*from)) != 0))
		return false;
	for (unsigned i = 0; i < RECORD_WORDS; i++)
		words[i] = __atomic_load_n((const uint64_t *)(const void *)from + i, __ATOMIC_ACQUIRE);
	memcpy(record, words, sizeof(*record));
	return record->op != OP_NONE && record->crc == record_crc(record);
}

int dm_redo_note_author(struct dm_shared *shared, const uint64_t *word, uint64_t seen)
{
	uint32_t heap = (uint32_t)(seen >> DM_TAG_HEAP_SHIFT) & (DM_HEAPS_MAX - 1);
	struct dm_heap_redo_pm record;
	uint64_t before;
	uint64_t previous;
	uint64_t *note;
	int rc;

	if (heap == 0 || heap >= shared->heaps_max)
		return 0;
	note = &dm_heap_record(shared, heap)->noted;
	rc = dm_word_load(shared->window, note, &before); /* before the record: a late note must not cover a newer one */
	if (rc || !read_record(shared, heap, &record) || record.op != OP_FREE ||
	    record.word_off != dm_window_offset(shared->window, word) ||
	    dm_tag_make(heap, record.version) != dm_tag_of(seen) || before == record.version)
		return rc;
	return dm_word_cas(shared->window, note, before, record.version, &previous);
}

/* --- allocating --- */

/* The block that the slab's next dm_block_take() gives; 0: none. */
static uint64_t next_block(const struct dm_slab *slab)
{
	uint32_t word = slab->cursor;

	for (uint32_t tried = 0; tried <= slab->bit_words; tried++) {
		uint64_t bits = slab->bits[word];

		if (bits != 0)
			return slab->offset + ((uint64_t)word * 64 + (uint64_t)__builtin_ctzll(bits)) * slab->block_bytes;
		word = word + 1 == slab->bit_words ? 0 : word + 1;
	}
	return 0;
}

static int store_slot(struct dm_shared *shared, void **slot, void *value)
{
	__atomic_store_n(slot, value, __ATOMIC_RELEASE);
	return dm_window_publish(shared->window, slot, sizeof(*slot));
}

/* The block is taken.  What can't be finished is undone: the slot has not changed then. */
static int hand_over(struct dm_shared *shared, const struct dm_heap *heap, void **slot, void *block, uint64_t bytes)
{
	void *before = *slot;
	int rc = shared->window->coherent ? 0 : dm_window_refresh(shared->window, block, bytes);

	if (rc == 0)
		rc = store_slot(shared, slot, block);
	DM_CRASH_POINT(REDO_HANDED_OVER);
	if (rc) {
		(void)store_slot(shared, slot, before);
		(void)dm_shared_free(shared, block);
	}
	(void)clear_record(shared, heap->id);
	return rc;
}

static int alloc_small(struct dm_shared *shared, struct dm_heap *heap, void **slot, uint32_t class_index)
{
	struct dm_slab *slab = dm_block_slab(shared, heap, class_index);
	struct dm_heap_redo_pm record = {.op = OP_ALLOC, .slot_off = dm_window_offset(shared->window, slot)};
	void *block;
	int rc;

	record.block_off = slab == NULL ? 0 : next_block(slab);
	if (record.block_off == 0)
		return -ENOMEM;
	record.block_bytes = slab->block_bytes;
	record.seen = (uint64_t)(uintptr_t)*slot;
	rc = write_record(shared, heap, &record);
	if (rc)
		return rc;
	DM_CRASH_POINT(REDO_ALLOC_ANNOUNCED);
	block = dm_block_take(shared, slab);
	if (block != dm_window_at(shared->window, record.block_off)) {
		(void)clear_record(shared, heap->id);
		return dm_fail(DMEM_E_CORRUPT,
		               "the free bits of slab %llu change by themselves: check the pool with 'dmemctl fsck'",
		               (unsigned long long)slab->number);
	}
	return hand_over(shared, heap, slot, block, slab->block_bytes);
}

static int alloc_run(struct dm_shared *shared, struct dm_heap *heap, void **slot, uint64_t bytes)
{
	struct dm_heap_redo_pm record = {.op = OP_ALLOC, .slot_off = dm_window_offset(shared->window, slot)};
	struct dm_extent *head;
	bool fresh;
	int rc = -ENOMEM;

	pthread_mutex_lock(&shared->lock);
	head = dm_run_take(shared, dm_divide_up(bytes, DM_EXTENT_BYTES), 1, DM_EXTENT_PRIVATE, &fresh);
	if (head != NULL) {
		record.block_off = head->index << DM_EXTENT_SHIFT;
		record.block_bytes = head->run_extents << DM_EXTENT_SHIFT;
		record.seen = (uint64_t)(uintptr_t)*slot;
		rc = write_record(shared, heap, &record);
	}
	DM_CRASH_POINT(REDO_RUN_ANNOUNCED);
	if (rc == 0) {
		head->kind = DM_EXTENT_RUN;
		dm_extent_set(shared, head, DM_EXTENT_RUN, head->run_extents);
	} else if (head != NULL) {
		dm_run_release(shared, head);
	}
	pthread_mutex_unlock(&shared->lock);
	DM_CRASH_POINT(REDO_RUN_SHARED);
	if (rc)
		return rc;
	return hand_over(shared, heap, slot, dm_window_at(shared->window, record.block_off), record.block_bytes);
}

int dm_shared_alloc_to(struct dm_shared *shared, void **slot, uint64_t bytes)
{
	uint32_t class_index = dm_class_for(&shared->classes, bytes, 1);
	struct dm_heap *heap = dm_heap_get(shared);

	if (heap == NULL || bytes > shared->window->span_bytes)
		return -ENOMEM;
	if (class_index == DM_CLASS_NONE)
		return alloc_run(shared, heap, slot, bytes);
	return alloc_small(shared, heap, slot, class_index);
}

/* --- freeing --- */

/* Where the freed bit of a block is. */
struct target {
	struct dm_place place;
	uint64_t *word;
	uint32_t bits;
	uint64_t *pending; /* of the slab; NULL for a run */
	uint64_t bytes;
	bool free; /* its free bit is set */
};

static int find_target(struct dm_shared *shared, uint64_t offset, struct target *target)
{
	const struct dm_geometry *geometry = &shared->geometry;
	struct dm_place *place = &target->place;
	const uint64_t *bits;
	uint64_t in_chunk;
	int rc = dm_place_find(shared, offset, place);

	if (rc)
		return rc;
	*target = (struct target){.place = *place};
	if (place->kind != DM_EXTENT_SLABS) {
		in_chunk = place->extent % geometry->chunk_extents;
		target->word =
			&dm_geometry_chunk_atomic(shared->window, geometry, place->segment, place->extent / geometry->chunk_extents)
				 ->freed;
		target->bits = UINT32_C(1) << in_chunk;
		target->bytes = place->run_extents << DM_EXTENT_SHIFT;
		return 0;
	}
	bits = &dm_slab_bits(
		dm_geometry_slab(shared->window, geometry, place->segment, place->extent, place->unit))[place->block / 64];
	rc = dm_shared_refresh(shared, place->index, bits, sizeof(*bits));
	target->free = __atomic_load_n(bits, __ATOMIC_ACQUIRE) >> place->block % 64 & 1;
	target->word = &dm_geometry_freed(shared->window, geometry, place->segment, place->extent,
	                                  place->unit)[place->block / DM_FREED_BITS];
	target->bits = UINT32_C(1) << place->block % DM_FREED_BITS;
	target->pending = &dm_geometry_extent_atomic(shared->window, geometry, place->segment, place->extent)->pending;
	target->bytes = shared->classes.classes[place->class_index].block_bytes;
	return rc;
}

/* The hint for the slab's owner: before the freed bit and after it (block.c). */
static int hint(struct dm_shared *shared, const struct target *target)
{
	return target->pending == NULL ? 0 : dm_block_hint(shared, target->pending, target->place.unit);
}

/* May this block be freed?  `seen` gets its tagged word. */
static int check_target(struct dm_shared *shared, void *block, struct target *target, uint64_t *seen)
{
	uint64_t offset = dm_window_offset(shared->window, block);
	int rc = find_target(shared, offset, target);

	if ((rc == -ENOENT && dm_place_inside_run(shared, offset)) || (rc == 0 && !target->place.aligned))
		return dm_block_refuse(shared, DMEM_E_INTERIOR, block, "it points into a block, not to its start");
	if (rc == -ENOENT)
		return dm_block_refuse(shared, DMEM_E_DOUBLE_FREE, block, "the block is free already");
	if (rc)
		return dm_block_refuse(shared, rc, block, "the pool's metadata there can't be used");
	if (target->place.kind == DM_EXTENT_PRIVATE)
		return dm_block_refuse(shared, DMEM_E_FOREIGN, block, "it is private memory");
	rc = dm_word_load(shared->window, target->word, seen);
	if (rc == 0 && (target->free || ((uint32_t)*seen & target->bits)))
		return dm_block_refuse(shared, DMEM_E_DOUBLE_FREE, block, "the block is free already");
	return rc;
}

static void collect_own_run(struct dm_shared *shared, const struct target *target)
{
	struct dm_extent *ours;

	if (target->place.kind == DM_EXTENT_SLABS)
		return;
	pthread_mutex_lock(&shared->lock);
	ours = dm_extent_ours(shared, target->place.index);
	if (ours != NULL)
		dm_run_collect(shared, ours->chunk);
	pthread_mutex_unlock(&shared->lock);
}

int dm_shared_free_from(struct dm_shared *shared, void **slot)
{
	struct dm_heap *heap = dm_heap_get(shared);
	void *block = *slot;
	struct dm_heap_redo_pm record = {.op = OP_FREE, .slot_off = dm_window_offset(shared->window, slot)};
	struct target target;
	int rc;

	if (heap == NULL)
		return dm_fail(-ENOMEM, "free of %p: this thread can have no heap: end some threads", block);
	rc = check_target(shared, block, &target, &record.seen);
	if (rc)
		return rc;
	if (!shared->window->coherent)
		rc = dm_window_refresh(shared->window, block, target.bytes);
	if (rc == 0)
		rc = hint(shared, &target);
	record.block_off = dm_window_offset(shared->window, block);
	record.block_bytes = target.bytes;
	record.word_off = dm_window_offset(shared->window, target.word);
	record.bits = target.bits;
	do /* 0 is what an untouched note holds, and a version that looks like the one it replaces would say "done" as well */
		record.version = dm_heap_next_version(heap);
	while (record.version == 0 || dm_tag_make(heap->id, record.version) == dm_tag_of(record.seen));
	if (rc == 0)
		rc = write_record(shared, heap, &record);
	if (rc)
		return rc;
	DM_CRASH_POINT(REDO_FREE_ANNOUNCED);
	rc = store_slot(shared, slot, NULL);
	DM_CRASH_POINT(REDO_SLOT_CLEARED);
	if (rc == 0)
		rc = dm_tag_set(shared, target.word, target.bits, heap->id, record.version);
	DM_CRASH_POINT(REDO_FREED);
	if (rc == 0)
		rc = hint(shared, &target);
	(void)clear_record(shared, heap->id);
	if (rc == -EALREADY)
		return dm_block_refuse(shared, DMEM_E_DOUBLE_FREE, block, "the block is free already");
	collect_own_run(shared, &target);
	return rc;
}

/* --- after a death --- */

static bool holds(struct dm_shared *shared, uint64_t offset)
{
	return offset % sizeof(uint64_t) == 0 && dm_window_segment(shared->window, offset >> DM_EXTENT_SHIFT) != NULL;
}

/* The block was taken for a slot that did not get it. */
static int undo_alloc(struct dm_shared *shared, const struct dm_heap_redo_pm *record)
{
	struct target target;
	int rc = find_target(shared, record->block_off, &target);

	if (rc == -ENOENT || (rc == 0 && (target.free || target.place.kind == DM_EXTENT_PRIVATE)))
		return 0;
	if (rc == 0)
		rc = dm_tag_set(shared, target.word, target.bits, 0, 0);
	if (rc == 0 || rc == -EALREADY)
		rc = hint(shared, &target);
	return rc;
}

/* Set the freed bit in the name of the dead, if it has not done so. */
static int finish_free(struct dm_shared *shared, uint32_t heap, const struct dm_heap_redo_pm *record)
{
	uint64_t *word = dm_window_at(shared->window, record->word_off);
	uint64_t tag = dm_tag_make(heap, record->version);

	for (;;) {
		uint64_t old;
		uint64_t noted;
		uint64_t seen;
		int rc = dm_word_load(shared->window, word, &old); /* the word first, the note second */

		if (rc == 0)
			rc = dm_word_load(shared->window, &dm_heap_record(shared, heap)->noted, &noted);
		if (rc || ((uint32_t)old & record->bits) || dm_tag_of(old) == tag || noted == record->version)
			return rc;
		rc = dm_redo_note_author(shared, word, old);
		if (rc == 0)
			rc = dm_word_cas(shared->window, word, old, (uint32_t)old | record->bits | tag, &seen);
		if (rc || seen == old)
			return rc;
	}
}

/* What the record names lies in the pool. */
static bool is_possible(struct dm_shared *shared, const struct dm_heap_redo_pm *record)
{
	return record->op <= OP_FREE && holds(shared, record->slot_off) && holds(shared, record->block_off) &&
	       (record->op != OP_FREE || holds(shared, record->word_off));
}

static int repair_record(struct dm_shared *shared, uint32_t heap)
{
	struct dm_heap_redo_pm record = {.op = OP_NONE};
	uint64_t *slot;
	uint64_t value;
	int rc;

	if (!read_record(shared, heap, &record))
		return record.op == OP_NONE ? 0 : clear_record(shared, heap);
	if (!is_possible(shared, &record)) {
		dm_log(DMEM_LOG_ERROR, "the redo record of heap %u names what can't be: it is dropped", heap);
		return clear_record(shared, heap);
	}
	slot = dm_window_at(shared->window, record.slot_off);
	rc = dm_window_refresh(shared->window, slot, sizeof(*slot));
	if (rc)
		return rc;
	value = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
	if (value != shared->window->base + record.block_off) {
		if (record.op == OP_FREE)
			rc = finish_free(shared, heap, &record);
		else if (value == record.seen)
			rc = undo_alloc(shared, &record);
		else /* somebody else stored to it: that one may have the block */
			dm_log(DMEM_LOG_WARNING, "the slot at offset 0x%llx changed while a dead thread allocated into it",
			       (unsigned long long)record.slot_off);
	}
	DM_CRASH_POINT(REDO_REPAIRED);
	return rc ? rc : clear_record(shared, heap);
}

int dm_redo_repair(void *context, uint32_t slot, uint32_t incarnation)
{
	struct dm_shared *shared = context;
	uint64_t dead = (uint64_t)(slot + 1) | (uint64_t)incarnation << 32;
	int rc = 0;

	for (uint32_t heap = 1; rc == 0 && heap < shared->heaps_max; heap++) {
		uint64_t owner;

		rc = dm_word_load(shared->window, &shared->heap_owners[heap].word, &owner);
		if (rc == 0 && owner == dead)
			rc = repair_record(shared, heap);
	}
	return rc;
}

bool dm_redo_announces(struct dm_shared *shared, uint32_t heap, bool *possible)
{
	struct dm_heap_redo_pm record;
	bool announces = read_record(shared, heap, &record);

	*possible = !announces || is_possible(shared, &record);
	return announces;
}
