/* SPDX-License-Identifier: Apache-2.0 */
/* test_slots.c: allocating into a slot and freeing out of one, without deaths (those are in tests/crash). */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "alloc/shared/heap.h"
#include "alloc/shared/redo.h"
#include "base/arith.h"
#include "base/crc32c.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"

static struct dmem_pool *pool;
static void **slots;

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=64M&members=16");
	slots = dmem_alloc_ex(pool, 64 * sizeof(void *), NULL);
	cr_assert(ne(ptr, slots, NULL), "%s", dmem_last_error());
	memset(slots, 0, 64 * sizeof(void *));
}

TestSuite(slots, .init = set_up, .fini = scratch_end);

static uint64_t bad_frees(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	return info.bad_frees;
}

Test(slots, a_block_of_any_size_is_stored_in_its_slot_and_freed_from_it)
{
	static const size_t sizes[] = {0, 1, 16, 100, 5000, 300000, 1000000, 3000000, 9000000};

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
			cr_assert(zero(int, dmem_alloc_shared_to(&slots[i], sizes[i])), "%zu: %s", sizes[i], dmem_last_error());
			cr_expect(ge(ulong, dmem_usable_size(slots[i]), sizes[i]));
			memset(slots[i], 1, sizes[i]);
		}
		for (unsigned i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
			void *block = slots[i];

			cr_expect(zero(int, dmem_free_from(&slots[i])), "%zu: %s", sizes[i], dmem_last_error());
			cr_expect(eq(ptr, slots[i], NULL));
			cr_expect(zero(ulong, dmem_usable_size(block)));
		}
	}
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
	cr_expect(zero(ulong, bad_frees()));
}

Test(slots, an_empty_slot_is_freed_without_effect)
{
	cr_expect(zero(int, dmem_free_from(&slots[0])));
	cr_expect(zero(ulong, bad_frees()));
}

Test(slots, a_slot_outside_a_pool_or_at_an_odd_address_is_refused)
{
	void *outside = NULL;

	cr_expect(eq(int, dmem_alloc_shared_to(&outside, 16), -EINVAL));
	cr_expect(eq(int, dmem_alloc_shared_to(NULL, 16), -EINVAL));
	cr_expect(eq(int, dmem_free_from(&outside), -EINVAL));
	cr_expect(eq(int, dmem_alloc_shared_to((void **)(void *)((char *)slots + 4), 16), -EINVAL));
	cr_expect(eq(ptr, outside, NULL));
}

Test(slots, what_does_not_fit_leaves_the_slot_as_it_was)
{
	slots[0] = slots;
	cr_expect(eq(int, dmem_alloc_shared_to(&slots[0], 1 << 30), -ENOMEM));
	cr_expect(eq(int, dmem_alloc_shared_to(&slots[0], SIZE_MAX), -ENOMEM));
	cr_expect(eq(ptr, slots[0], slots));
	cr_expect(zero(int, dmem_alloc_shared_to(&slots[0], 100)));
}

Test(slots, a_slot_that_holds_no_start_of_a_live_block_is_refused_and_kept)
{
	char *block = dmem_alloc_ex(pool, 100, NULL);
	char *run = dmem_alloc_ex(pool, 5 * DM_MIB, NULL);
	uint64_t before = bad_frees();

	slots[0] = block + 16;
	slots[1] = run + 3 * DM_MIB;
	slots[2] = &before;
	cr_expect(eq(int, dmem_free_from(&slots[0]), DMEM_E_INTERIOR));
	cr_expect(eq(int, dmem_free_from(&slots[1]), DMEM_E_INTERIOR));
	cr_expect(eq(int, dmem_free_from(&slots[2]), DMEM_E_FOREIGN));
	dmem_free(block);
	slots[3] = block;
	cr_expect(eq(int, dmem_free_from(&slots[3]), DMEM_E_DOUBLE_FREE));
	cr_expect(eq(ptr, slots[3], block));
	cr_expect(eq(ulong, bad_frees(), before + 3));
	cr_expect(ge(ulong, dmem_usable_size(run), 5 * DM_MIB));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

static void *free_all(void *unused)
{
	for (unsigned i = 0; i < 64; i++)
		cr_expect(zero(int, dmem_free_from(&slots[i])), "%s", dmem_last_error());
	return unused;
}

Test(slots, another_thread_frees_what_one_allocated)
{
	pthread_t thread;

	for (unsigned round = 0; round < 50; round++) {
		for (unsigned i = 0; i < 64; i++)
			cr_assert(zero(int, dmem_alloc_shared_to(&slots[i], i % 8 == 0 ? 2500000 / (round % 3 + 1) : 3000)), "%s",
			          dmem_last_error());
		cr_assert(zero(int, pthread_create(&thread, NULL, free_all, NULL)));
		pthread_join(thread, NULL);
	}
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

/* The rule that decides whether a dead thread's change took place: who replaces its tag notes it first. */
Test(slots, who_replaces_the_tag_of_an_announced_change_notes_it)
{
	struct dm_shared *shared = pool->shared;
	struct dm_heap *heap = dm_heap_mine(shared);
	struct dm_heap_pm *record = dm_heap_record(shared, heap->id);
	uint64_t *word = dmem_alloc_ex(pool, 64, NULL);
	uint64_t seen = 0;

	if (!scratch_is_coherent())
		return; /* the word of this test is no word of the allocator's there */
	*word = 0;
	record->redo = (struct dm_heap_redo_pm){
		.op = 2, .version = 4711, .word_off = dm_window_offset(shared->window, word), .bits = 1};
	record->redo.crc = dm_crc32c(&record->redo, offsetof(struct dm_heap_redo_pm, crc));
	cr_assert(zero(int, dm_tag_set(shared, word, 1, heap->id, 4711)));
	cr_expect(ne(ulong, record->noted, 4711));
	cr_expect(eq(uint, dm_tag_clear(shared, word), 1));
	cr_expect(eq(ulong, record->noted, 4711));
	record->redo.version = 4712;
	record->redo.crc = 0; /* never finished: counts as none */
	*word = 1 | dm_tag_make(heap->id, 4712);
	cr_expect(zero(int, dm_tag_take(shared, word, *word, 0, &seen)));
	cr_expect(eq(ulong, record->noted, 4711));
	record->redo.op = 0;
}

/* What validate finds about redo records: an announcement of nobody, and one of what can't be. */
Test(slots, validate_finds_records_that_no_thread_can_have_written)
{
	struct dm_shared *shared = pool->shared;
	struct dm_heap_redo_pm *record;
	struct scratch_findings findings = {0};
	uint32_t number = dm_heap_mine(shared)->id;
	uint64_t owner;

	do {
		cr_assert(lt(uint, ++number, shared->heaps_max));
		cr_assert(zero(int, dm_word_load(shared->window, &shared->heap_owners[number].word, &owner)));
	} while (owner != 0);
	record = &dm_heap_record(shared, number)->redo;
	*record = (struct dm_heap_redo_pm){.op = 1,
	                                   .slot_off = dm_window_offset(shared->window, slots),
	                                   .block_off = dm_window_offset(shared->window, slots)};
	record->crc = dm_crc32c(record, offsetof(struct dm_heap_redo_pm, crc));
	cr_assert(zero(int, dm_window_publish(shared->window, record, sizeof(*record))));
	cr_expect(eq(int, dmem_pool_validate(pool, scratch_note_finding, &findings), DMEM_E_CORRUPT));
	cr_expect(eq(uint, findings.count, 1));
	cr_expect(ne(ptr, strstr(findings.last, "belongs to nobody"), NULL), "%s", findings.last);
	record->block_off = shared->window->span_bytes * 2;
	record->crc = dm_crc32c(record, offsetof(struct dm_heap_redo_pm, crc));
	cr_assert(zero(int, dm_window_publish(shared->window, record, sizeof(*record))));
	cr_expect(eq(int, dmem_pool_validate(pool, scratch_note_finding, &findings), DMEM_E_CORRUPT));
	cr_expect(ne(ptr, strstr(findings.last, "names what can't be"), NULL), "%s", findings.last);
	record->crc = 0; /* never finished: counts as none */
	cr_assert(zero(int, dm_window_publish(shared->window, record, sizeof(*record))));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}
