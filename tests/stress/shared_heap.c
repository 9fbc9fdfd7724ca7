/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared_heap.c: threads of one process allocate from two pools and free each other's blocks; threads end and are followed by
 * others; some blocks are handed over in slots of the pool; runs come and go; the pool grows meanwhile.  Each block keeps
 * its contents until it is freed, and in the end nothing is left in the pools.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "dmem/dmem.h"

#define POOLS   2u
#define THREADS 4u
#define LIVES   6u /* threads that follow each other in one place */
#define SLOTS   256u
#define STEPS   6000u
#define GROWTHS 4u
#define OWN     16u /* slots in the pool of each thread */

struct block {
	size_t bytes; /* of this block, at both ends of it */
};

struct place {
	void **own; /* in the pool: a few slots of each thread, for the _to calls */
	struct dmem_pool *pool;
	char path[64];
	_Atomic(struct block *) slots[SLOTS];
};

static struct place places[POOLS];
static _Atomic unsigned failures;
static _Atomic unsigned long frees;
static _Atomic bool finished;

static void fail(const char *what)
{
	if (atomic_fetch_add(&failures, 1) < 10)
		fprintf(stderr, "%s (%s)\n", what, dmem_last_error());
}

static size_t *tail_of(struct block *block)
{
	return (size_t *)(void *)((char *)block + block->bytes - sizeof(size_t));
}

static size_t choose_size(unsigned *seed)
{
	unsigned kind = (unsigned)rand_r(seed) % 1000;

	if (kind < 850)
		return 16 + (size_t)rand_r(seed) % 200 * 8;
	if (kind < 980)
		return 16 + (size_t)rand_r(seed) % 8000 * 8;
	return 16 + (size_t)rand_r(seed) % 800000 * 8;
}

static struct block *make(struct place *place, unsigned *seed)
{
	size_t bytes = choose_size(seed);
	struct block *block = dmem_alloc_ex(place->pool, bytes, NULL);

	if (block == NULL) {
		fail("the pool is full");
		return NULL;
	}
	block->bytes = bytes;
	*tail_of(block) = bytes;
	return block;
}

static void check_and_free(struct block *block)
{
	if (block == NULL)
		return;
	if (*tail_of(block) != block->bytes || dmem_usable_size(block) < block->bytes)
		fail("a block lost its contents");
	dmem_free(block);
	atomic_fetch_add(&frees, 1);
}

static void use_private_memory(struct place *place, unsigned *seed)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	void *block;

	options.tier = DMEM_TIER_POOL;
	block = dmem_alloc_ex(place->pool, choose_size(seed), &options);
	if (block == NULL)
		fail("no private memory");
	else
		memset(block, 1, 16);
	dmem_free(block);
}

/* A block goes into a slot of this thread, or leaves it: freed out of the slot, or given to all by its plain address. */
static void use_own_slots(struct place *place, unsigned thread, unsigned *seed)
{
	void **slot = &place->own[thread * OWN + (unsigned)rand_r(seed) % OWN];
	struct block *block = *slot;
	size_t bytes = choose_size(seed);

	if (block == NULL) {
		if (dmem_alloc_shared_to(slot, bytes) != 0) {
			fail("no block for a slot");
			return;
		}
		block = *slot;
		block->bytes = bytes;
		*tail_of(block) = bytes;
	} else if (rand_r(seed) % 4 == 0) {
		*slot = NULL;
		check_and_free(atomic_exchange(&place->slots[(unsigned)rand_r(seed) % SLOTS], block));
	} else {
		if (*tail_of(block) != block->bytes)
			fail("a block lost its contents");
		if (dmem_free_from(slot) != 0)
			fail("a slot can't be freed");
		atomic_fetch_add(&frees, 1);
	}
}

/* Slots in the pool also get what others allocated plainly. */
static void take_over(struct place *place, unsigned thread, unsigned *seed)
{
	void **slot = &place->own[thread * OWN + (unsigned)rand_r(seed) % OWN];

	if (*slot == NULL)
		*slot = atomic_exchange(&place->slots[(unsigned)rand_r(seed) % SLOTS], NULL);
}

static void *live(void *seed_in)
{
	unsigned seed = (unsigned)(uintptr_t)seed_in;
	unsigned thread = seed / 100 - 1;

	for (unsigned i = 0; i < STEPS; i++) {
		struct place *place = &places[(unsigned)rand_r(&seed) % POOLS];
		struct block *block = i % 3 == 0 ? NULL : make(place, &seed);

		check_and_free(atomic_exchange(&place->slots[(unsigned)rand_r(&seed) % SLOTS], block));
		if (i % 4 == 0)
			use_own_slots(place, thread, &seed);
		if (i % 16 == 0)
			take_over(place, thread, &seed);
		if (i % 64 == 0)
			use_private_memory(place, &seed);
	}
	return NULL;
}

/* One thread after the other: the blocks of those that ended are freed by others. */
static void *live_again_and_again(void *number)
{
	for (uintptr_t i = 0; i < LIVES; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, live, (void *)((uintptr_t)number * 100 + i + 1)) != 0)
			fail("no thread");
		else
			pthread_join(thread, NULL);
	}
	return NULL;
}

/* Roots, growth and the read-only calls, beside the allocations. */
static void *look_after(void *unused)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	unsigned rounds = 0;

	while (!atomic_load(&finished)) {
		struct place *place = &places[rounds % POOLS];
		struct block *block = dmem_alloc_ex(place->pool, 64, NULL);

		if (block == NULL || dmem_root_set(place->pool, "root", block) != 0 ||
		    dmem_root_get(place->pool, "root") != block || dmem_root_set(place->pool, "root", NULL) != 0)
			fail("roots can't be used");
		dmem_free(block);
		if (dmem_pool_info(place->pool, &info) != 0 || dmem_pool_validate(place->pool, NULL, NULL) != 0)
			fail("the pool is damaged");
		if (rounds++ < GROWTHS && dmem_pool_grow(place->pool, info.size_bytes + 64 * DM_MIB) != 0)
			fail("the pool can't grow");
	}
	return unused;
}

static void attach(unsigned number)
{
	struct place *place = &places[number];
	char uri[128];

	snprintf(place->path, sizeof(place->path), "/dev/shm/dmem-stress-%d-%u", (int)getpid(), number);
	/* low in the address space and small: where ThreadSanitizer lets a program map something */
	snprintf(uri, sizeof(uri), "file:%s?size=1G&span=4G&members=64&beat=10ms&lease=1s&base=0x%llx", place->path,
	         (unsigned long long)(UINT64_C(0x7e8000000000) + number * 8 * DM_GIB));
	if (dmem_pool_create(uri, NULL) != 0 || dmem_pool_attach(uri, NULL, &place->pool) != 0) {
		fprintf(stderr, "%s\n", dmem_last_error());
		exit(1);
	}
	place->own = dmem_alloc_ex(place->pool, THREADS * OWN * sizeof(void *), NULL);
	if (place->own == NULL)
		exit(1);
	memset(place->own, 0, THREADS * OWN * sizeof(void *));
}

/* With all blocks freed and nobody attached, every chunk is free. */
static void empty(struct place *place)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	char uri[80];

	for (unsigned i = 0; i < SLOTS; i++)
		check_and_free(atomic_load(&place->slots[i]));
	for (unsigned i = 0; i < THREADS * OWN; i++)
		if (dmem_free_from(&place->own[i]) != 0)
			fail("a slot can't be freed");
	dmem_free(place->own);
	snprintf(uri, sizeof(uri), "file:%s", place->path);
	if (dmem_pool_detach(place->pool) != 0 || dmem_pool_attach(uri, NULL, &place->pool) != 0 ||
	    dmem_pool_validate(place->pool, NULL, NULL) != 0 || dmem_pool_info(place->pool, &info) != 0)
		fail("the pool can't be checked");
	if (info.leased_bytes != 0 || info.bad_frees != 0)
		fail("memory is left in the emptied pool, or a free was refused");
	if (dmem_pool_detach(place->pool) != 0 || dmem_pool_destroy(uri) != 0)
		fail("the pool can't be destroyed");
}

int main(void)
{
	pthread_t threads[THREADS];
	pthread_t keeper;

	for (unsigned i = 0; i < POOLS; i++)
		attach(i);
	if (pthread_create(&keeper, NULL, look_after, NULL) != 0)
		return 1;
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, live_again_and_again, (void *)(i + 1)) != 0)
			return 1;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&finished, true);
	pthread_join(keeper, NULL);
	for (unsigned i = 0; i < POOLS; i++)
		empty(&places[i]);
	printf("%lu blocks freed, %u failures\n", frees, failures);
	return failures != 0;
}
