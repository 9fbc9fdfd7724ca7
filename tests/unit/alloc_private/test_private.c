/* SPDX-License-Identifier: Apache-2.0 */
/* test_private.c: the private heap alone, over a memfd. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/private/heap.h"
#include "dmem/error.h"
#include "lib/memfd_source.h"

static struct memfd_source source;
static struct dm_private *heap;

static void open_heap(void)
{
	heap = source_open(&source, 256);
	cr_assert(ne(ptr, heap, NULL));
}

static void close_heap(void)
{
	dm_private_destroy(heap);
	cr_expect(eq(u64, source.taken, 0));
	cr_expect(not(source.wrong_give));
	source_close(&source);
}

TestSuite(private_heap, .init = open_heap, .fini = close_heap);

Test(private_heap, a_fresh_heap_takes_nothing)
{
	cr_assert(eq(u64, source.taken, 0));
}

Test(private_heap, classes_cover_every_size_without_gaps_and_waste_at_most_a_fifth)
{
	for (size_t bytes = 0; bytes <= DM_PRIVATE_CLASS_BYTES_MAX; bytes += bytes < 4096 ? 1 : 1021) {
		uint32_t found = dm_private_class_of(bytes, 16);

		cr_assert(lt(u32, found, DM_PRIVATE_CLASSES));
		cr_assert(ge(sz, dm_private_class_bytes(found), bytes));
		cr_assert(eq(sz, dm_private_class_bytes(found) % 16, 0));
		if (found > 0)
			cr_assert(lt(sz, dm_private_class_bytes(found - 1), bytes));
	}
	for (uint32_t i = 8; i < DM_PRIVATE_CLASSES; i++)
		cr_assert(le(sz, dm_private_class_bytes(i) * 4, dm_private_class_bytes(i - 1) * 5));
	cr_assert(eq(sz, dm_private_class_bytes(DM_PRIVATE_CLASSES - 1), DM_PRIVATE_CLASS_BYTES_MAX));
	cr_assert(eq(u32, dm_private_class_of(DM_PRIVATE_CLASS_BYTES_MAX + 1, 16), DM_PRIVATE_NO_CLASS));
}

Test(private_heap, blocks_of_every_class_hold_their_bytes_apart)
{
	char *blocks[DM_PRIVATE_CLASSES][3];

	for (uint32_t i = 0; i < DM_PRIVATE_CLASSES; i++)
		for (int j = 0; j < 3; j++) {
			const size_t bytes = dm_private_class_bytes(i);

			blocks[i][j] = dm_private_alloc(heap, bytes, 0, false);
			cr_assert(ne(ptr, blocks[i][j], NULL));
			cr_assert(eq(sz, (uintptr_t)blocks[i][j] % 16, 0));
			cr_assert(eq(sz, dm_private_usable(heap, blocks[i][j]), bytes));
			memset(blocks[i][j], (int)(i * 3 + (unsigned)j), bytes);
		}
	for (uint32_t i = 0; i < DM_PRIVATE_CLASSES; i++)
		for (int j = 0; j < 3; j++) {
			const size_t bytes = dm_private_class_bytes(i);

			cr_assert(eq(chr, blocks[i][j][0], (char)(i * 3 + (unsigned)j)));
			cr_assert(eq(int, memcmp(blocks[i][j], blocks[i][j] + 1, bytes - 1), 0));
			cr_assert(eq(int, dm_private_free(heap, blocks[i][j]), 0));
		}
}

Test(private_heap, alignments_up_to_1_gib_are_kept)
{
	for (size_t alignment = 1; alignment <= DM_GIB; alignment *= 2)
		for (size_t bytes = 1; bytes <= 3 * DM_MIB; bytes *= 7) {
			void *block = dm_private_alloc(heap, bytes, alignment, false);

			cr_assert(ne(ptr, block, NULL));
			cr_assert(eq(sz, (uintptr_t)block % alignment, 0));
			cr_assert(ge(sz, dm_private_usable(heap, block), bytes));
			memset(block, 1, bytes);
			cr_assert(eq(int, dm_private_free(heap, block), 0));
		}
	errno = 0;
	cr_assert(eq(ptr, dm_private_alloc(heap, 1, 48, false), NULL));
	cr_assert(eq(int, errno, EINVAL));
	cr_assert(eq(ptr, dm_private_alloc(heap, 1, 2 * DM_GIB, false), NULL));
	cr_assert(eq(ptr, dm_private_alloc(heap, 1, 3, false), NULL));
}

Test(private_heap, zeroed_blocks_are_zero_where_others_wrote_before)
{
	static const char zeros[3000];
	char *block = dm_private_alloc(heap, 3000, 0, false);
	char *large;

	memset(block, 7, 3000);
	cr_assert(eq(int, dm_private_free(heap, block), 0));
	block = dm_private_alloc(heap, 3000, 0, true);
	cr_assert(eq(int, memcmp(block, zeros, 3000), 0));
	large = dm_private_alloc(heap, 5 * DM_MIB, 0, false);
	memset(large, 7, 5 * DM_MIB);
	cr_assert(eq(int, dm_private_free(heap, large), 0));
	large = dm_private_alloc(heap, 5 * DM_MIB, 0, true);
	cr_assert(all(eq(chr, large[0], 0), eq(int, memcmp(large, large + 1, 5 * DM_MIB - 1), 0)));
	cr_assert(eq(int, dm_private_free(heap, large), 0));
	cr_assert(eq(int, dm_private_free(heap, block), 0));
}

Test(private_heap, a_second_free_is_refused_and_changes_nothing)
{
	static const size_t sizes[] = {0, 16, 100, 9000, 100000, DM_MIB, 3 * DM_MIB};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
		char *other = dm_private_alloc(heap, sizes[i], 0, false);
		char *block = dm_private_alloc(heap, sizes[i], 0, false);

		cr_assert(eq(int, dm_private_free(heap, block), 0));
		cr_assert(eq(int, dm_private_free(heap, block), DMEM_E_DOUBLE_FREE));
		cr_assert(eq(sz, dm_private_usable(heap, block), 0));
		cr_assert(ge(sz, dm_private_usable(heap, other), sizes[i]));
		cr_assert(eq(int, dm_private_free(heap, other), 0));
		cr_assert(eq(int, dm_private_free(heap, other), DMEM_E_DOUBLE_FREE));
	}
}

Test(private_heap, an_interior_pointer_is_refused)
{
	static const size_t sizes[] = {48, 9000, 100000, DM_MIB, 5 * DM_MIB};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
		char *block = dm_private_alloc(heap, sizes[i], 0, false);

		cr_assert(eq(int, dm_private_free(heap, block + 1), DMEM_E_INTERIOR));
		cr_assert(eq(int, dm_private_free(heap, block + sizes[i] - 1), DMEM_E_INTERIOR));
		cr_assert(eq(sz, dm_private_usable(heap, block + 16), 0));
		cr_assert(eq(int, dm_private_free(heap, block), 0));
	}
}

Test(private_heap, a_foreign_pointer_is_refused)
{
	int local;
	char *block = dm_private_alloc(heap, 16, 0, false);

	cr_assert(eq(int, dm_private_free(heap, &local), DMEM_E_FOREIGN));
	cr_assert(eq(int, dm_private_free(heap, (char *)heap->base + 64 * DM_GIB), DMEM_E_FOREIGN));
	cr_assert(not(dm_private_contains(heap, &local)));
	cr_assert(dm_private_contains(heap, block + 5));
	cr_assert(eq(ptr, dm_private_find(block + 5), heap));
	cr_assert(eq(ptr, dm_private_find(&local), NULL));
	cr_assert(eq(int, dm_private_free(heap, block), 0));
}

Test(private_heap, free_keeps_errno)
{
	void *block = dm_private_alloc(heap, 5 * DM_MIB, 0, false);

	errno = 77;
	cr_assert(eq(int, dm_private_free(heap, block), 0));
	cr_assert(eq(int, errno, 77));
}

Test(private_heap, locate_names_the_extent_behind_an_address)
{
	uint64_t extent, offset, value = 0x1234567890abcdef, read_back = 0;
	char *block = dm_private_alloc(heap, 5 * DM_MIB, 0, false);
	char *inside = block + 3 * DM_MIB + 24;

	memcpy(inside, &value, sizeof(value));
	cr_assert(eq(int, dm_private_locate(heap, inside, &extent, &offset), 0));
	cr_assert(eq(i64, pread(source.fd, &read_back, 8, (off_t)(extent * SOURCE_EXTENT_BYTES + offset)), 8));
	cr_assert(eq(u64, read_back, value));
	cr_assert(eq(int, dm_private_free(heap, block), 0));
	cr_assert(eq(int, dm_private_locate(heap, inside, &extent, &offset), DMEM_E_FOREIGN));
}

Test(private_heap, exhaustion_is_enomem_and_leaves_all_intact)
{
	static char *blocks[400];
	size_t count = 0;

	cr_assert(eq(ptr, dm_private_alloc(heap, SIZE_MAX, 0, false), NULL));
	cr_assert(eq(ptr, dm_private_alloc(heap, SIZE_MAX / 2, DM_GIB, false), NULL));
	cr_assert(eq(ptr, dm_private_alloc(heap, 600 * DM_MIB, 0, false), NULL));
	cr_assert(eq(u64, source.taken, 0));
	while ((blocks[count] = dm_private_alloc(heap, 2 * DM_MIB, 0, false)) != NULL) {
		memset(blocks[count], (int)count, 2 * DM_MIB);
		count++;
	}
	cr_assert(eq(int, errno, ENOMEM));
	cr_assert(eq(sz, count, 256));
	cr_assert(eq(ptr, dm_private_alloc(heap, 16, 0, false), NULL));
	cr_assert(eq(int, errno, ENOMEM));
	for (size_t i = 0; i < count; i++) {
		cr_assert(eq(chr, blocks[i][2 * DM_MIB - 1], (char)i));
		cr_assert(eq(int, dm_private_free(heap, blocks[i]), 0));
	}
	cr_assert(eq(u64, source.taken, 0));
}

Test(private_heap, a_fragmented_pool_still_gives_one_long_block)
{
	char *block;

	source.run_max = 3;
	block = dm_private_alloc(heap, 40 * DM_MIB, 0, true);
	cr_assert(ne(ptr, block, NULL));
	memset(block, 3, 40 * DM_MIB);
	cr_assert(eq(u64, source.taken, 20));
	cr_assert(eq(int, dm_private_free(heap, block), 0));
	cr_assert(eq(u64, source.taken, 0));
	source.run_max = 0;
	cr_assert(eq(ptr, dm_private_alloc(heap, 40 * DM_MIB, 0, true), NULL));
}

Test(private_heap, a_mapping_that_fails_gives_the_extents_back)
{
	source.map_fails = true;
	cr_assert(eq(ptr, dm_private_alloc(heap, 40 * DM_MIB, 0, false), NULL));
	cr_assert(eq(ptr, dm_private_alloc(heap, 40, 0, false), NULL));
	cr_assert(eq(u64, source.taken, 0));
	source.map_fails = false;
	cr_assert(ne(ptr, dm_private_alloc(heap, 40, 0, false), NULL));
}

Test(private_heap, empty_extents_go_back_but_for_a_few)
{
	static void *blocks[40000];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < DM_ARRAY_LENGTH(blocks); i++) {
			blocks[i] = dm_private_alloc(heap, 16 + i % 1000, 0, false);
			cr_assert(ne(ptr, blocks[i], NULL));
		}
		for (size_t i = 0; i < DM_ARRAY_LENGTH(blocks); i++)
			cr_assert(eq(int, dm_private_free(heap, blocks[i]), 0));
	}
	/* One slab of each of 20 classes may stay, in one extent or more, beside the kept ones. */
	cr_assert(le(u64, source.taken, 20 + DM_PRIVATE_KEPT_MAX));
	cr_assert(eq(u64, dm_private_mapped_bytes(heap), source.taken * SOURCE_EXTENT_BYTES));
}

#define THREADS 4
#define SLOTS   256

/* Blocks carry their own check sum of size and slot; a block that two threads had would show. */
static void *churn(void *seed_in)
{
	unsigned seed = (unsigned)(uintptr_t)seed_in;
	unsigned char *blocks[SLOTS] = {0};
	size_t sizes[SLOTS] = {0};

	for (int i = 0; i < 20000; i++) {
		unsigned slot = (unsigned)rand_r(&seed) % SLOTS;

		if (blocks[slot]) {
			if (blocks[slot][0] != (unsigned char)slot || blocks[slot][sizes[slot] - 1] != (unsigned char)slot ||
			    dm_private_free(heap, blocks[slot]))
				return (void *)1;
			blocks[slot] = NULL;
			continue;
		}
		sizes[slot] = 1 + (size_t)rand_r(&seed) % (rand_r(&seed) % 100 == 0 ? 1u << 21 : 5000u);
		blocks[slot] = dm_private_alloc(heap, sizes[slot], 0, false);
		if (!blocks[slot])
			continue;
		blocks[slot][0] = (unsigned char)slot;
		blocks[slot][sizes[slot] - 1] = (unsigned char)slot;
	}
	for (int i = 0; i < SLOTS; i++)
		if (blocks[i] && dm_private_free(heap, blocks[i]))
			return (void *)1;
	return NULL;
}

Test(private_heap, many_threads_never_share_a_block)
{
	pthread_t threads[THREADS];
	void *result;

	for (uintptr_t i = 0; i < THREADS; i++)
		cr_assert(eq(int, pthread_create(&threads[i], NULL, churn, (void *)(i + 1)), 0));
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &result);
		cr_expect(eq(ptr, result, NULL));
	}
}
