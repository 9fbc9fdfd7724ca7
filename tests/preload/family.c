/* SPDX-License-Identifier: Apache-2.0 */
/* family.c: every function of the malloc family keeps its promises, where they are kept differently in the pool too. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <unistd.h>

#include "expect.h"

static int is_zero(const char *block, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (block[i])
			return 0;
	return 1;
}

static void sizes(void)
{
	void *a = malloc(0), *b = malloc(0), *c = calloc(0, 7);

	EXPECT(a && b && c && a != b && b != c && a != c);
	for (size_t bytes = 1; bytes < (8u << 20); bytes = bytes * 3 / 2 + 1) {
		char *block = malloc(bytes);

		EXPECT(block && (uintptr_t)block % 16 == 0 && malloc_usable_size(block) >= bytes);
		expect_place(block);
		memset(block, 0x5a, malloc_usable_size(block));
		free(block);
	}
	free(a);
	free(b);
	free(c);
	EXPECT(malloc_usable_size(NULL) == 0);
	free(NULL);
}

static void overflow(void)
{
	volatile size_t huge = SIZE_MAX / 2 + 2, most = SIZE_MAX; /* the compiler shall not see it coming */
	void *block = malloc(100);

	errno = 0;
	EXPECT(!calloc(huge, 2) && errno == ENOMEM);
	errno = 0;
	EXPECT(!reallocarray(block, huge, 2) && errno == ENOMEM);
	errno = 0;
	EXPECT(!malloc(most - 64) && errno == ENOMEM);
	errno = 0;
	EXPECT(!realloc(block, most - 1) && errno == ENOMEM);
	errno = 0;
	EXPECT(!pvalloc(most - 1) && errno == ENOMEM);
	free(block);
}

static void alignments(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *block = &block, *before = block;
	volatile size_t bad = 24;

	for (size_t alignment = 8; alignment <= (64u << 20); alignment *= 2) {
		EXPECT(posix_memalign(&block, alignment, 100) == 0 && (uintptr_t)block % alignment == 0);
		memset(block, 1, 100);
		free(block);
		block = memalign(alignment, 5000);
		EXPECT(block && (uintptr_t)block % alignment == 0);
		expect_place(block);
		free(block);
		block = aligned_alloc(alignment, alignment);
		EXPECT(block && (uintptr_t)block % alignment == 0);
		free(block);
	}
	block = before;
	errno = 55;
	EXPECT(posix_memalign(&block, bad, 100) == EINVAL && block == before && errno == 55);
	EXPECT(posix_memalign(&block, 4, 100) == EINVAL && posix_memalign(&block, 0, 100) == EINVAL);
	block = memalign(bad, 100); /* rounded up, as glibc does */
	EXPECT(block && (uintptr_t)block % 32 == 0);
	free(block);
	block = valloc(1);
	EXPECT(block && (uintptr_t)block % page == 0);
	free(block);
	block = pvalloc(page + 1);
	EXPECT(block && (uintptr_t)block % page == 0 && malloc_usable_size(block) >= 2 * page);
	free(block);
}

static void zeros(void)
{
	for (int round = 0; round < 3; round++)
		for (size_t bytes = 1; bytes < (5u << 20); bytes = bytes * 5 + 3) {
			char *block = calloc(1, bytes);

			EXPECT(block && is_zero(block, bytes));
			memset(block, 0xff, bytes);
			free(block);
		}
}

static void reallocs(void)
{
	char *block = NULL;
	size_t bytes = 1, before = 0;

	for (; bytes < (20u << 20); bytes = bytes * 2 + 1) {
		block = realloc(block, bytes);
		EXPECT(block);
		for (size_t i = 0; i < before; i += 97)
			EXPECT(block[i] == (char)(i * 31));
		for (size_t i = 0; i < bytes; i++)
			block[i] = (char)(i * 31);
		before = bytes;
	}
	for (; bytes > 1; bytes /= 3) {
		block = realloc(block, bytes);
		EXPECT(block);
		for (size_t i = 0; i < bytes && i < before; i += 97)
			EXPECT(block[i] == (char)(i * 31));
	}
	EXPECT(realloc(block, 0) == NULL);
	block = reallocarray(NULL, 10, 10);
	EXPECT(block && malloc_usable_size(block) >= 100);
	errno = 33;
	free(block);
	EXPECT(errno == 33);
}

/* A block from before the limit was reached grows when there is no room, and a block of the pool shrinks to nothing. */
static void reallocs_across(char *local)
{
	char *grown;

	EXPECT(!is_in_pool(local));
	grown = realloc(local, 300000);
	EXPECT(grown && !strcmp(grown, "from before"));
	expect_place(grown);
	free(grown);
}

int main(void)
{
	char *local = malloc(100);

	strcpy(local, "from before");
	fill_local_memory();
	sizes();
	overflow();
	alignments();
	zeros();
	reallocs();
	reallocs_across(local);
	puts("the family is well");
	return 0;
}
