/* SPDX-License-Identifier: Apache-2.0 */
/* test_contents.c: zeroed memory, realloc, and where blocks are. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "lib/scratch.h"

static struct dmem_pool *pool;

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=64M&members=16");
}

TestSuite(contents, .init = set_up, .fini = scratch_end);

static bool is_zero(const char *block, size_t bytes)
{
	return block[0] == 0 && memcmp(block, block + 1, bytes - 1) == 0;
}

static char *alloc_zeroed(size_t bytes)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;

	options.zeroed = 1;
	return dmem_alloc_ex(pool, bytes, &options);
}

Test(contents, zeroed_memory_reads_as_zeros_after_reuse)
{
	static const size_t sizes[] = {1, 16, 100, 4096, 100000, DM_MIB, 2 * DM_MIB, 5 * DM_MIB + 1};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
		for (unsigned round = 0; round < 40; round++) {
			char *block = alloc_zeroed(sizes[i]);

			cr_assert(ne(ptr, block, NULL), "%s", dmem_last_error());
			cr_assert(sizes[i] == 1 ? *block == 0 : is_zero(block, sizes[i]), "%zu bytes, round %u", sizes[i], round);
			memset(block, 0xff, dmem_usable_size(block));
			dmem_free(block);
		}
	}
}

Test(contents, zeroed_large_memory_reads_as_zeros_in_the_next_member_too)
{
	char *block = alloc_zeroed(20 * DM_MIB);

	memset(block, 0xff, 20 * DM_MIB);
	dmem_free(block);
	cr_assert(zero(int, dmem_pool_detach(pool)));
	pool = scratch_attach("p");
	block = alloc_zeroed(40 * DM_MIB);
	cr_assert(ne(ptr, block, NULL));
	cr_expect(is_zero(block, 40 * DM_MIB));
}

Test(contents, realloc_keeps_the_contents_up_and_down)
{
	size_t bytes = 1;
	char *block = dmem_alloc_ex(pool, bytes, NULL);

	memset(block, 0x5a, bytes);
	for (; bytes < 8 * DM_MIB; bytes = bytes * 5 / 3 + 1) {
		size_t next = bytes * 5 / 3 + 1;

		block = dmem_realloc(block, next);
		cr_assert(ne(ptr, block, NULL), "%s", dmem_last_error());
		cr_assert(block[0] == 0x5a && block[bytes - 1] == 0x5a, "%zu bytes", bytes);
		memset(block, 0x5a, next);
	}
	for (; bytes > 1; bytes = bytes * 2 / 7) {
		block = dmem_realloc(block, bytes);
		cr_assert(ne(ptr, block, NULL));
		cr_assert(block[0] == 0x5a && block[bytes - 1] == 0x5a, "%zu bytes", bytes);
	}
	dmem_free(block);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

Test(contents, realloc_stays_in_place_when_the_block_has_room)
{
	char *block = dmem_alloc_ex(pool, 1000, NULL);
	size_t usable = dmem_usable_size(block);

	cr_expect(eq(ptr, dmem_realloc(block, usable), block));
	cr_expect(eq(ptr, dmem_realloc(block, usable / 2), block));
	cr_expect(ne(ptr, dmem_realloc(block, usable + 1), block));
}

Test(contents, realloc_stays_in_its_pool_and_tier)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	struct dmem_pool *other = scratch_pool("o", "size=16M&members=16");
	char *block = dmem_realloc(dmem_alloc_ex(other, 100, NULL), 100000);

	cr_assert(zero(int, dmem_locate(block, &location)));
	cr_expect(eq(ptr, location.pool, other));
	cr_expect(eq(int, location.tier, DMEM_TIER_SHARED));
	options.tier = DMEM_TIER_POOL;
	block = dmem_realloc(dmem_alloc_ex(pool, 100, &options), 100000);
	cr_assert(zero(int, dmem_locate(block, &location)));
	cr_expect(eq(int, location.tier, DMEM_TIER_POOL));
	options.tier = DMEM_TIER_LOCAL;
	block = dmem_realloc(dmem_alloc_ex(pool, 100, &options), 100000);
	cr_assert(zero(int, dmem_locate(block, &location)));
	cr_expect(eq(int, location.tier, DMEM_TIER_LOCAL));
	dmem_free(block);
}

Test(contents, realloc_of_what_is_no_block_is_refused)
{
	char *block = dmem_alloc_ex(pool, 100, NULL);
	int local;

	errno = 0;
	cr_expect(zero(ptr, dmem_realloc(block + 16, 200)));
	cr_expect(eq(int, errno, EINVAL));
	errno = 0;
	cr_expect(zero(ptr, dmem_realloc(&local, 200)));
	cr_expect(eq(int, errno, EINVAL));
	dmem_free(block);
	errno = 0;
	cr_expect(zero(ptr, dmem_realloc(block, 200)));
	cr_expect(eq(int, errno, EINVAL));
}

Test(contents, locate_tells_pool_offset_device_and_owner)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	char *block = dmem_alloc_ex(pool, 3 * DM_MIB, NULL);

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	cr_assert(zero(int, dmem_locate(block + 2 * DM_MIB + 5, &location)));
	cr_expect(eq(u64, location.offset, (uint64_t)block + 2 * DM_MIB + 5 - info.base));
	cr_expect(eq(u64, location.device_offset, location.offset));
	cr_expect(eq(u32, location.owner, info.self));
	cr_expect(eq(u32, location.owner_incarnation, info.self_incarnation));
	cr_expect(zero(u32, location.device));
}

Test(contents, locate_refuses_what_nobody_knows)
{
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	int local;

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	cr_expect(eq(int, dmem_locate(&local, &location), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_locate(NULL, &location), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_locate((void *)(info.base + info.span_bytes - 1), &location), DMEM_E_FOREIGN), "no memory there yet");
	location.struct_bytes = 0;
	cr_expect(eq(int, dmem_locate(&local, &location), DMEM_E_OPTION));
	cr_expect(eq(int, dmem_locate(&local, NULL), DMEM_E_OPTION));
}
