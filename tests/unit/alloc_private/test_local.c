/* SPDX-License-Identifier: Apache-2.0 */
/* test_local.c: local memory refuses what it did not give out. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/private/local.h"
#include "base/arith.h"
#include "dmem/error.h"

Test(local, blocks_are_aligned_usable_and_distinct)
{
	char *a = dm_local_alloc(0, 0, false), *b = dm_local_alloc(0, 0, false);
	char *c = dm_local_alloc(1000, 0, true);

	cr_assert(all(ne(ptr, a, NULL), ne(ptr, b, NULL), ne(ptr, a, b)));
	cr_assert(eq(sz, (uintptr_t)c % 16, 0));
	cr_assert(ge(sz, dm_local_usable(c), 1000));
	for (int i = 0; i < 1000; i++)
		cr_assert(eq(chr, c[i], 0));
	cr_assert(eq(int, dm_local_free(a), 0));
	cr_assert(eq(int, dm_local_free(b), 0));
	cr_assert(eq(int, dm_local_free(c), 0));
}

Test(local, alignments_are_kept_and_bad_ones_refused)
{
	for (size_t alignment = 1; alignment <= DM_GIB; alignment *= 8) {
		char *block = dm_local_alloc(100, alignment, true);

		cr_assert(ne(ptr, block, NULL));
		cr_assert(eq(sz, (uintptr_t)block % alignment, 0));
		cr_assert(all(eq(chr, block[0], 0), eq(chr, block[99], 0)));
		cr_assert(eq(int, dm_local_free(block), 0));
	}
	errno = 0;
	cr_assert(eq(ptr, dm_local_alloc(1, 24, false), NULL));
	cr_assert(eq(int, errno, EINVAL));
	cr_assert(eq(ptr, dm_local_alloc(1, 2 * DM_GIB, false), NULL));
	errno = 0;
	cr_assert(eq(ptr, dm_local_alloc(SIZE_MAX - 100, 0, false), NULL));
	cr_assert(eq(int, errno, ENOMEM));
}

Test(local, bad_frees_are_refused_and_told_apart)
{
	char *block = dm_local_alloc(100, 0, false), *foreign = malloc(10);
	int on_stack;

	cr_assert(eq(int, dm_local_free(block + 16), DMEM_E_INTERIOR));
	cr_assert(eq(int, dm_local_free(foreign), DMEM_E_FOREIGN));
	cr_assert(eq(int, dm_local_free(&on_stack), DMEM_E_FOREIGN));
	cr_assert(dm_local_contains(block + 50));
	cr_assert(eq(sz, dm_local_usable(block + 16), 0));
	errno = 77;
	cr_assert(eq(int, dm_local_free(block), 0));
	cr_assert(eq(int, errno, 77));
	cr_assert(eq(int, dm_local_free(block), DMEM_E_DOUBLE_FREE));
	cr_assert(not(dm_local_contains(block)));
	free(foreign);
}

#define BLOCKS 50000

Test(local, the_record_survives_growth_and_removal_in_any_order)
{
	static char *blocks[BLOCKS];
	unsigned seed = 1;

	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = dm_local_alloc(1 + i % 100, 0, false);
		cr_assert(ne(ptr, blocks[i], NULL));
	}
	for (size_t i = BLOCKS; i-- > 1;) {
		size_t j = (size_t)rand_r(&seed) % (i + 1);
		char *swap = blocks[i];

		blocks[i] = blocks[j];
		blocks[j] = swap;
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		cr_assert(eq(int, dm_local_free(blocks[i]), 0));
		cr_assert(eq(sz, dm_local_usable(blocks[i]), 0));
		if (i + 1 < BLOCKS)
			cr_assert(gt(sz, dm_local_usable(blocks[BLOCKS - 1]), 0));
	}
}
