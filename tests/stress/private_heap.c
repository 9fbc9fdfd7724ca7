/* SPDX-License-Identifier: Apache-2.0 */
/*
 * private_heap.c: threads allocate from one private heap and from local memory, and free each other's blocks, some of them
 * twice: each block must be freed exactly once, and keep its contents until then.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc/private/local.h"
#include "dmem/error.h"
#include "lib/memfd_source.h"

#define THREADS 4
#define SLOTS   1024
#define STEPS   60000

struct block {
	size_t bytes; /* of this block, at both ends of it */
};

static struct memfd_source source;
static struct dm_private *heap;
static _Atomic(struct block *) slots[SLOTS];
static _Atomic unsigned failures;
static _Atomic unsigned long frees, refused;

static void fail(const char *what)
{
	if (atomic_fetch_add(&failures, 1) < 10)
		fprintf(stderr, "%s\n", what);
}

static struct block *make(unsigned *seed)
{
	const size_t bytes = 2 * sizeof(size_t) + (size_t)rand_r(seed) % (rand_r(seed) % 200 ? 2000u : 3000000u);
	struct block *block = rand_r(seed) % 4 ? dm_private_alloc(heap, bytes, 0, false) : dm_local_alloc(bytes, 0, false);

	if (!block)
		return NULL;
	block->bytes = bytes;
	memcpy((char *)block + bytes - sizeof(bytes), &bytes, sizeof(bytes));
	return block;
}

static int give(struct block *block)
{
	return dm_private_contains(heap, block) ? dm_private_free(heap, block) : dm_local_free(block);
}

static void check_and_free(struct block *block)
{
	size_t bytes;

	if (!block)
		return;
	memcpy(&bytes, (char *)block + block->bytes - sizeof(bytes), sizeof(bytes));
	if (bytes != block->bytes)
		fail("a block lost its contents");
	if (give((struct block *)(void *)((char *)block + 8)) != DMEM_E_INTERIOR)
		fail("an interior pointer was not refused");
	else
		atomic_fetch_add(&refused, 1);
	if (give(block))
		fail("a live block was not freed");
	atomic_fetch_add(&frees, 1);
}

static void *run(void *seed_in)
{
	unsigned seed = (unsigned)(uintptr_t)seed_in;

	for (int i = 0; i < STEPS; i++)
		check_and_free(atomic_exchange(&slots[(unsigned)rand_r(&seed) % SLOTS], i % 3 ? make(&seed) : NULL));
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];

	heap = source_open(&source, 1024);
	if (!heap)
		return 1;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, run, (void *)(i + 1)))
			return 1;
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < SLOTS; i++)
		check_and_free(slots[i]);
	dm_private_destroy(heap);
	if (source.taken || source.wrong_give)
		fail("extents were lost, or given back wrongly");
	source_close(&source);
	printf("%lu blocks freed, %lu bad frees refused, %u failures\n", frees, refused, failures);
	return failures != 0;
}
