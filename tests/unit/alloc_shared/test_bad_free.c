/* SPDX-License-Identifier: Apache-2.0 */
/* test_bad_free.c: free of pointers that are not the start of a live block: reported, counted, and the heap is as it was. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define SMALL 100
#define LARGE (5 * DM_MIB)

static struct dmem_pool *pool;
static unsigned messages;
static char last[512];

static void note(void *context, enum dmem_log_level level, const char *message)
{
	(void)context;
	(void)level;
	messages++;
	snprintf(last, sizeof(last), "%s", message);
}

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=64M&members=16");
	dmem_set_log(note, NULL);
}

TestSuite(bad_free, .init = set_up, .fini = scratch_end);

static uint64_t bad_frees(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	return info.bad_frees;
}

static char *alloc(size_t bytes)
{
	char *block = dmem_alloc_ex(pool, bytes, NULL);

	cr_assert(ne(ptr, block, NULL), "%s", dmem_last_error());
	return block;
}

/* The free is refused in words that hold `word`, and changes nothing. */
static void expect_refused(void *block, const char *word)
{
	uint64_t before = bad_frees();
	unsigned said = messages;

	errno = 1234;
	dmem_free(block);
	cr_expect(eq(int, errno, 1234), "errno was not preserved");
	cr_expect(eq(u64, bad_frees(), before + 1), "%p was not counted", block);
	cr_expect(gt(u32, messages, said), "%p was not logged", block);
	cr_expect(scratch_says(word), "%s", dmem_last_error());
	cr_expect(strstr(last, word) != NULL, "%s", last);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(bad_free, an_interior_pointer_is_refused)
{
	char *small = alloc(SMALL);
	char *large = alloc(LARGE);

	expect_refused(small + 1, "start");
	expect_refused(small + 16, "start");
	expect_refused(large + 1, "start");
	expect_refused(large + 4096, "start");
	expect_refused(large + 2 * DM_MIB, "start");
	cr_expect(ge(sz, dmem_usable_size(small), SMALL));
	cr_expect(ge(sz, dmem_usable_size(large), LARGE));
}

Test(bad_free, a_second_free_is_refused)
{
	char *small = alloc(SMALL);
	char *large = alloc(LARGE);

	dmem_free(small);
	dmem_free(large);
	expect_refused(small, "free already");
	expect_refused(large, "free already");
	cr_expect(zero(sz, dmem_usable_size(small)));
	cr_expect(zero(sz, dmem_usable_size(large)));
}

Test(bad_free, a_block_freed_twice_is_handed_out_once)
{
	char *first = alloc(SMALL);
	char *second;
	char *third;

	dmem_free(first);
	dmem_free(first);
	second = alloc(SMALL);
	third = alloc(SMALL);
	cr_expect(ne(ptr, second, third));
}

Test(bad_free, the_librarys_own_memory_is_refused)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	expect_refused((void *)info.base, "free");
	expect_refused((void *)(info.base + 64 * 1024), "free");
	expect_refused((void *)(info.base + info.span_bytes - 16), "free");
	expect_refused((void *)(info.base + info.size_bytes - 2 * DM_MIB), "free");
}

Test(bad_free, pointers_of_nobody_are_reported)
{
	static char global[64];
	char local[64];

	dmem_free(local);
	cr_expect(gt(u32, messages, 0));
	cr_expect(scratch_says("free"), "%s", dmem_last_error());
	dmem_free(global);
	dmem_free((void *)1);
	dmem_free((void *)~(uintptr_t)15);
	cr_expect(ge(u32, messages, 4));
}

/* The other member: frees wrongly what the parent has; its own counter and log tell. */
static int free_of_others(void *argument)
{
	char **blocks = argument;
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	pool = scratch_attach("p");
	dmem_free(blocks[0] + 16);
	dmem_free(blocks[1] + 2 * DM_MIB);
	dmem_free(blocks[1] + 100);
	dmem_free(blocks[2]);
	dmem_free(blocks[3]);
	if (dmem_pool_info(pool, &info) != 0 || info.bad_frees != 5)
		return 1;
	dmem_free(blocks[4]);
	dmem_free(blocks[5]);
	if (dmem_usable_size(blocks[4]) != 0 || dmem_pool_info(pool, &info) != 0 || info.bad_frees != 5)
		return 2;
	dmem_free(blocks[4]);
	dmem_free(blocks[5]);
	if (dmem_pool_info(pool, &info) != 0 || info.bad_frees != 7)
		return 3;
	return dmem_pool_detach(pool) ? 4 : 0;
}

Test(bad_free, wrong_frees_of_another_members_blocks_are_refused)
{
	char *blocks[] = {alloc(SMALL), alloc(LARGE), alloc(SMALL), alloc(LARGE), alloc(SMALL), alloc(LARGE)};

	dmem_free(blocks[2]);
	dmem_free(blocks[3]);
	/* started before the pool is attached here would be cleaner, but a child of a member has to join anew anyway */
	cr_expect(zero(int, child_run(free_of_others, blocks)));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
	cr_expect(ge(sz, dmem_usable_size(blocks[0]), SMALL));
	cr_expect(ge(sz, dmem_usable_size(blocks[1]), LARGE));
	cr_expect(zero(u64, bad_frees()), "counted for the wrong member");
	expect_refused(blocks[4], "free already");
}

Test(bad_free, random_pointers_never_break_anything)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	char *keep[64];
	uint64_t seed = 7;

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	for (unsigned i = 0; i < 64; i++) {
		keep[i] = alloc(i % 8 == 0 ? 3 * DM_MIB / 2 : 40 * (i + 1));
		memset(keep[i], (int)i, 40);
	}
	for (unsigned i = 0; i < 20000; i++) {
		char *victim = (char *)info.base + scratch_random(&seed) % (i % 2 ? info.size_bytes : info.span_bytes);
		bool live = false;

		for (unsigned k = 0; k < 64; k++)
			live = live || victim == keep[k];
		if (!live)
			dmem_free(victim);
	}
	cr_expect(eq(u64, bad_frees(), 20000));
	for (unsigned i = 0; i < 64; i++) {
		cr_expect(eq(int, keep[i][39], (int)i));
		dmem_free(keep[i]);
	}
	cr_expect(eq(u64, bad_frees(), 20000));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}
