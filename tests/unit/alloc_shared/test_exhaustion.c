/* SPDX-License-Identifier: Apache-2.0 */
/* test_exhaustion.c: a full pool says ENOMEM, keeps everything, and has its space back after the frees. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "lib/scratch.h"

static struct dmem_pool *pool;

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=32M&members=16");
}

TestSuite(exhaustion, .init = set_up, .fini = scratch_end);

/* Each block's first word points to the one before. */
static unsigned fill(size_t bytes, void **chain)
{
	unsigned count = 0;
	void **block;

	*chain = NULL;
	errno = 0;
	while ((block = dmem_alloc_ex(pool, bytes, NULL)) != NULL) {
		*block = *chain;
		*chain = block;
		count++;
		errno = 0;
	}
	cr_assert(eq(int, errno, ENOMEM));
	cr_assert(scratch_says("dmemctl grow"), "%s", dmem_last_error());
	return count;
}

static unsigned empty(void *chain)
{
	unsigned count = 0;

	for (void *next; chain != NULL; chain = next, count++) {
		next = *(void **)chain;
		dmem_free(chain);
	}
	return count;
}

static void expect_same_count_twice(size_t bytes, unsigned at_least)
{
	void *chain;
	unsigned first = fill(bytes, &chain);

	cr_expect(ge(u32, first, at_least), "%zu bytes", bytes);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
	cr_expect(eq(u32, empty(chain), first), "the chain of blocks was damaged");
	for (unsigned round = 0; round < 2; round++) {
		cr_expect(eq(u32, fill(bytes, &chain), first), "%zu bytes", bytes);
		cr_expect(eq(u32, empty(chain), first));
	}
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(exhaustion, small_blocks_fill_the_pool_as_often_as_they_are_freed)
{
	expect_same_count_twice(16, 24 * DM_MIB / 16);
}

Test(exhaustion, middle_blocks_fill_the_pool_as_often_as_they_are_freed)
{
	expect_same_count_twice(5000, 20 * DM_MIB / 5120);
}

Test(exhaustion, blocks_of_a_mebibyte_fill_the_pool_as_often_as_they_are_freed)
{
	expect_same_count_twice(DM_MIB, 24);
}

Test(exhaustion, runs_fill_the_pool_as_often_as_they_are_freed)
{
	expect_same_count_twice(3 * DM_MIB, 7);
}

/* The largest block that can be had, found by halving. */
static size_t largest(void)
{
	size_t had = 0;
	size_t refused = 64 * DM_MIB;

	while (refused - had > 4096) {
		size_t bytes = had + (refused - had) / 2;
		void *block = dmem_alloc_ex(pool, bytes, NULL);

		if (block == NULL)
			refused = bytes;
		else
			had = bytes;
		dmem_free(block);
	}
	return had;
}

Test(exhaustion, the_largest_block_can_be_had_again)
{
	size_t bytes = largest();
	void *block;

	cr_expect(ge(sz, bytes, 26 * DM_MIB));
	for (unsigned i = 0; i < 10; i++) {
		block = dmem_alloc_ex(pool, bytes, NULL);
		cr_assert(ne(ptr, block, NULL), "%s", dmem_last_error());
		memset(block, 1, bytes);
		cr_expect(zero(ptr, dmem_alloc_ex(pool, bytes, NULL)));
		dmem_free(block);
	}
	cr_expect(eq(sz, largest(), bytes));
}

Test(exhaustion, space_of_one_size_serves_another_after_the_frees)
{
	static const size_t sizes[] = {16, 5000, DM_MIB, 3 * DM_MIB, 100, 64};
	unsigned first[DM_ARRAY_LENGTH(sizes)];
	void *chain;

	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
			unsigned count = fill(sizes[i], &chain);

			if (round == 0)
				first[i] = count;
			/* one empty slab of each other class may be kept, of 2 MiB at most */
			cr_expect(ge(u64, count * sizes[i] + 6 * 2 * DM_MIB, first[i] * sizes[i]), "%zu bytes: %u, then %u", sizes[i],
			          first[i], count);
			empty(chain);
		}
}

Test(exhaustion, a_full_pool_still_serves_what_fits_after_one_free)
{
	void *chain;
	void *next;

	fill(DM_MIB, &chain);
	next = *(void **)chain;
	dmem_free(chain);
	cr_expect(ne(ptr, dmem_alloc_ex(pool, DM_MIB, NULL), NULL), "%s", dmem_last_error());
	empty(next);
}

Test(exhaustion, a_failed_large_allocation_keeps_nothing)
{
	struct dmem_pool_info before = {.struct_bytes = sizeof(before)};
	struct dmem_pool_info after = {.struct_bytes = sizeof(after)};
	void *block = dmem_alloc_ex(pool, 100, NULL);

	cr_assert(ne(ptr, block, NULL));
	cr_assert(zero(int, dmem_pool_info(pool, &before)));
	for (unsigned i = 0; i < 100; i++)
		cr_assert(zero(ptr, dmem_alloc_ex(pool, 31 * DM_MIB, NULL)));
	cr_assert(zero(int, dmem_pool_info(pool, &after)));
	cr_expect(eq(u64, after.leased_bytes, before.leased_bytes));
}

Test(exhaustion, random_sizes_never_overlap_and_all_come_back)
{
	static struct {
		uint64_t *block;
		size_t words;
		uint64_t mark;
	} live[512];
	uint64_t seed = 99;

	for (unsigned step = 0; step < 60000; step++) {
		unsigned i = (unsigned)(scratch_random(&seed) % 512);

		if (live[i].block != NULL) {
			for (size_t w = 0; w < live[i].words; w += live[i].words / 8 + 1)
				cr_assert(eq(u64, live[i].block[w], live[i].mark));
			dmem_free(live[i].block);
		}
		live[i].words = 2 + scratch_random(&seed) % (UINT64_C(1) << (1 + scratch_random(&seed) % 15));
		live[i].mark = scratch_random(&seed);
		live[i].block = dmem_alloc_ex(pool, live[i].words * 8, NULL);
		for (size_t w = 0; live[i].block != NULL && w < live[i].words; w += live[i].words / 8 + 1)
			live[i].block[w] = live[i].mark;
	}
	for (unsigned i = 0; i < 512; i++)
		dmem_free(live[i].block);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
	cr_assert(zero(int, dmem_pool_detach(pool)));
	pool = scratch_attach("p");
	cr_expect(ge(sz, largest(), 26 * DM_MIB), "blocks that were freed are still in the way");
}
