/* SPDX-License-Identifier: Apache-2.0 */
/* test_sizes.c: every size and alignment: enough room, no overlap, little waste; sizes that can't be had. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "alloc/shared/class.h"
#include "base/arith.h"
#include "lib/scratch.h"

static struct dmem_pool *pool;

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=256M&members=16");
}

TestSuite(sizes, .init = set_up, .fini = scratch_end);

static char *alloc(size_t bytes)
{
	char *block = dmem_alloc_ex(pool, bytes, NULL);

	cr_assert(ne(ptr, block, NULL), "%zu bytes: %s", bytes, dmem_last_error());
	return block;
}

static char *alloc_aligned(size_t bytes, size_t alignment)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;

	options.alignment_bytes = alignment;
	errno = 0;
	return dmem_alloc_ex(pool, bytes, &options);
}

static bool holds(const char *block, char byte, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (block[i] != byte)
			return false;
	return true;
}

Test(sizes, every_size_up_to_4096_has_room_and_a_pattern_of_its_own)
{
	static char *blocks[4097];

	for (size_t bytes = 0; bytes <= 4096; bytes++) {
		blocks[bytes] = alloc(bytes);
		cr_assert(ge(sz, dmem_usable_size(blocks[bytes]), bytes));
		cr_assert(zero(u64, (uintptr_t)blocks[bytes] % 16));
		memset(blocks[bytes], (int)(bytes * 31 + 7), dmem_usable_size(blocks[bytes]));
	}
	for (size_t bytes = 0; bytes <= 4096; bytes++)
		cr_assert(holds(blocks[bytes], (char)(bytes * 31 + 7), dmem_usable_size(blocks[bytes])), "size %zu", bytes);
	for (size_t bytes = 0; bytes <= 4096; bytes++)
		dmem_free(blocks[bytes]);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(sizes, sizes_around_every_class_boundary_get_the_class)
{
	static struct dm_classes classes;

	dm_classes_init(&classes, 16);
	for (uint32_t i = 0; i < classes.count; i++) {
		size_t exact = classes.classes[i].block_bytes;
		size_t next = i + 1 < classes.count ? classes.classes[i + 1].block_bytes : 2 * DM_MIB;
		char *below = alloc(exact - 1);
		char *at = alloc(exact);
		char *above = alloc(exact + 1);

		cr_expect(eq(sz, dmem_usable_size(below), exact));
		cr_expect(eq(sz, dmem_usable_size(at), exact));
		cr_expect(eq(sz, dmem_usable_size(above), next));
		memset(below, 1, exact);
		memset(at, 2, exact);
		memset(above, 3, next);
		cr_expect(holds(below, 1, exact) && holds(at, 2, exact) && holds(above, 3, next));
		dmem_free(below);
		dmem_free(at);
		dmem_free(above);
	}
}

Test(sizes, above_128_bytes_at_most_a_quarter_is_wasted)
{
	for (size_t bytes = 129; bytes < DM_MIB; bytes += 1 + bytes / 97) {
		char *block = alloc(bytes);

		cr_expect(le(sz, dmem_usable_size(block), bytes + bytes / 4), "%zu bytes", bytes);
		dmem_free(block);
	}
}

Test(sizes, large_blocks_are_rounded_to_extents)
{
	for (size_t bytes = DM_MIB + 1; bytes < 32 * DM_MIB; bytes = bytes * 3 / 2 + 1) {
		char *block = alloc(bytes);
		size_t usable = dmem_usable_size(block);

		cr_expect(ge(sz, usable, bytes));
		cr_expect(lt(sz, usable, bytes + 2 * DM_MIB));
		block[0] = 1;
		block[usable - 1] = 1;
		dmem_free(block);
	}
}

Test(sizes, every_alignment_up_to_a_gibibyte_is_met)
{
	struct dmem_pool *wide = scratch_pool("wide", "size=4G&members=16");

	pool = wide;
	for (size_t alignment = 1; alignment <= DM_GIB; alignment *= 2) {
		char *small = alloc_aligned(1, alignment);
		char *middle = alloc_aligned(100000, alignment);

		cr_assert(small != NULL && middle != NULL, "alignment %zu: %s", alignment, dmem_last_error());
		cr_expect(zero(u64, (uintptr_t)small % alignment));
		cr_expect(zero(u64, (uintptr_t)middle % alignment));
		cr_expect(ge(sz, dmem_usable_size(middle), 100000));
		memset(small, 1, 1);
		memset(middle, 2, 100000);
		cr_expect(eq(int, *small, 1));
		dmem_free(small);
		dmem_free(middle);
	}
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(sizes, alignments_that_cannot_be_are_refused_with_the_cure)
{
	static const size_t wrong[] = {3, 24, 4095, DM_GIB + 1, 2 * DM_GIB, SIZE_MAX, (size_t)1 << 63};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(wrong); i++) {
		cr_expect(zero(ptr, alloc_aligned(100, wrong[i])), "%zu", wrong[i]);
		cr_expect(eq(int, errno, EINVAL));
		cr_expect(scratch_says("power of two up to 1 GiB"), "%s", dmem_last_error());
	}
	cr_expect(ne(ptr, alloc_aligned(100, 0), NULL), "0 means the default");
}

Test(sizes, sizes_that_overflow_are_enomem_in_every_call)
{
	static const size_t huge[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 4095, SIZE_MAX / 2, (size_t)1 << 63, (size_t)1 << 47};
	static const size_t alignments[] = {16, 64 * DM_KIB, DM_GIB};
	char *block = alloc(100);

	memset(block, 5, 100);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(huge); i++) {
		for (size_t j = 0; j < DM_ARRAY_LENGTH(alignments); j++) {
			cr_expect(zero(ptr, alloc_aligned(huge[i], alignments[j])));
			cr_expect(eq(int, errno, ENOMEM), "%zx", huge[i]);
		}
		errno = 0;
		cr_expect(zero(ptr, dmem_realloc(block, huge[i])));
		cr_expect(eq(int, errno, ENOMEM));
	}
	cr_expect(holds(block, 5, 100), "a failed realloc changed the block");
	cr_expect(ge(sz, dmem_usable_size(block), 100));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

Test(sizes, sizes_that_overflow_are_enomem_in_every_tier)
{
	static const enum dmem_tier tiers[] = {DMEM_TIER_LOCAL, DMEM_TIER_POOL, DMEM_TIER_SHARED};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(tiers); i++) {
		struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;

		options.tier = tiers[i];
		options.zeroed = 1;
		errno = 0;
		cr_expect(zero(ptr, dmem_alloc_ex(pool, SIZE_MAX, &options)));
		cr_expect(eq(int, errno, ENOMEM), "tier %d", (int)tiers[i]);
		options.alignment_bytes = DM_GIB;
		errno = 0;
		cr_expect(zero(ptr, dmem_alloc_ex(pool, SIZE_MAX - 100, &options)));
		cr_expect(eq(int, errno, ENOMEM), "tier %d", (int)tiers[i]);
	}
}

Test(sizes, size_zero_gives_a_block_of_its_own)
{
	char *first = alloc(0);
	char *second = alloc(0);

	cr_expect(ne(ptr, first, second));
	cr_expect(eq(sz, dmem_usable_size(first), 16));
	first = dmem_realloc(first, 0);
	cr_assert(ne(ptr, first, NULL), "realloc to 0 does not free");
	cr_expect(eq(sz, dmem_usable_size(first), 16));
	dmem_free(first);
	dmem_free(second);
	dmem_free(NULL);
	cr_expect(zero(sz, dmem_usable_size(NULL)));
}

Test(sizes, options_that_are_not_understood_are_refused)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;

	options.tier = (enum dmem_tier)17;
	cr_expect(zero(ptr, dmem_alloc_ex(pool, 8, &options)));
	cr_expect(eq(int, errno, EINVAL));
	options = (struct dmem_alloc_options)DMEM_ALLOC_OPTIONS_DEFAULT;
	options.optional = 1;
	cr_expect(zero(ptr, dmem_alloc_ex(pool, 8, &options)));
	cr_expect(eq(int, errno, ENOTSUP));
	options = (struct dmem_alloc_options){.struct_bytes = 0};
	cr_expect(zero(ptr, dmem_alloc_ex(pool, 8, &options)));
	cr_expect(eq(int, errno, EINVAL));
}
