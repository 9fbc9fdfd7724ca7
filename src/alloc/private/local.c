/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local.c: see local.h.
 *
 * The record is SHARDS hash tables by address, each with a lock of its own: open addressing, linear probing, at most three
 * quarters full; removal moves later entries up (Knuth, vol. 3, 6.4, algorithm R).  Its memory comes from mmap.
 *
 * Lock order: at most one shard is locked, but for fork, which locks all in order.
 */
#include "alloc/private/local.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "alloc/private/heap.h"
#include "base/error.h"

#define SHARDS           64u
#define SLOTS_FIRST      256u
#define FREED_REMEMBERED 32u

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(SANITIZED)
/* A sanitizer's malloc takes the place of some of glibc's names and not of others. */
#include <malloc.h>
#include <stdlib.h>
#define __libc_malloc   malloc
#define __libc_calloc   calloc
#define __libc_memalign memalign
#define __libc_free     free
#else
/* glibc's allocator under the names that nobody interposes. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);
#endif

struct entry {
	uintptr_t address; /* 0: none */
	size_t bytes;
};

struct shard {
	pthread_mutex_t lock;
	struct entry *slots;
	size_t slots_count; /* a power of two, or 0 */
	size_t used;
	uintptr_t freed[FREED_REMEMBERED];
	uint32_t freed_next;
};

#define ONE_SHARD                         \
	{                                     \
		.lock = PTHREAD_MUTEX_INITIALIZER \
	}
#define FOUR_SHARDS    ONE_SHARD, ONE_SHARD, ONE_SHARD, ONE_SHARD
#define SIXTEEN_SHARDS FOUR_SHARDS, FOUR_SHARDS, FOUR_SHARDS, FOUR_SHARDS
static struct shard shards[SHARDS] = {SIXTEEN_SHARDS, SIXTEEN_SHARDS, SIXTEEN_SHARDS, SIXTEEN_SHARDS};

static uint64_t hash(uintptr_t address)
{
	return (address >> 4) * UINT64_C(0x9E3779B97F4A7C15); /* 2^64 over the golden ratio */
}

static struct shard *shard_of(uintptr_t address)
{
	return &shards[hash(address) >> 58];
}

static size_t home(const struct shard *shard, uintptr_t address)
{
	return (size_t)(hash(address) >> 20) & (shard->slots_count - 1);
}

static struct entry *find(const struct shard *shard, uintptr_t address)
{
	if (!shard->slots_count)
		return NULL;
	for (size_t i = home(shard, address);; i = (i + 1) & (shard->slots_count - 1)) {
		if (shard->slots[i].address == address)
			return &shard->slots[i];
		if (!shard->slots[i].address)
			return NULL;
	}
}

/* The table has room. */
static void insert(struct shard *shard, struct entry entry)
{
	size_t i = home(shard, entry.address);

	while (shard->slots[i].address)
		i = (i + 1) & (shard->slots_count - 1);
	shard->slots[i] = entry;
	shard->used++;
}

static bool grow(struct shard *shard)
{
	const size_t count_before = shard->slots_count;
	const size_t count = count_before ? count_before * 2 : SLOTS_FIRST;
	struct entry *before = shard->slots;
	struct entry *slots = dm_private_local_map(count * sizeof(*slots));

	if (!slots)
		return false;
	shard->slots = slots;
	shard->slots_count = count;
	shard->used = 0;
	for (size_t i = 0; i < count_before; i++)
		if (before[i].address)
			insert(shard, before[i]);
	dm_private_local_unmap(before, count_before * sizeof(*before));
	return true;
}

static void remove_entry(struct shard *shard, struct entry *entry)
{
	const size_t mask = shard->slots_count - 1;
	size_t hole = (size_t)(entry - shard->slots);

	for (size_t i = (hole + 1) & mask; shard->slots[i].address; i = (i + 1) & mask) {
		const size_t wants = home(shard, shard->slots[i].address);

		if (((i - wants) & mask) >= ((i - hole) & mask)) {
			shard->slots[hole] = shard->slots[i];
			hole = i;
		}
	}
	shard->slots[hole].address = 0;
	shard->used--;
}

static bool record(void *block, size_t bytes)
{
	struct shard *shard = shard_of((uintptr_t)block);
	bool room;

	dm_private_lock(&shard->lock);
	room = shard->used + 1 <= shard->slots_count / 4 * 3 || grow(shard);
	if (room)
		insert(shard, (struct entry){.address = (uintptr_t)block, .bytes = bytes});
	for (uint32_t i = 0; room && i < FREED_REMEMBERED; i++)
		if (shard->freed[i] == (uintptr_t)block)
			shard->freed[i] = 0;
	dm_private_unlock(&shard->lock);
	return room;
}

void *dm_local_alloc(size_t bytes, size_t alignment, bool zeroed)
{
	void *block;

	if ((alignment && !dm_is_power_of_two(alignment)) || alignment > DM_PRIVATE_ALIGNMENT_MAX) {
		dm_fail(-EINVAL, "an alignment of %zu: it has to be a power of two up to 1 GiB", alignment);
		return NULL;
	}
	if (bytes > PTRDIFF_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	if (bytes == 0)
		bytes = 1;
	if (alignment > 16)
		block = __libc_memalign(alignment, bytes);
	else
		block = zeroed ? __libc_calloc(1, bytes) : __libc_malloc(bytes);
	if (!block)
		return NULL;
	if (alignment > 16 && zeroed)
		memset(block, 0, bytes);
	if (!record(block, bytes)) {
		__libc_free(block);
		errno = ENOMEM;
		return NULL;
	}
	return block;
}

/* Every live block is looked at: only for pointers that are wrong, or asked about and not freed. */
static bool is_inside(uintptr_t address)
{
	bool found = false;

	for (uint32_t i = 0; i < SHARDS && !found; i++) {
		struct shard *shard = &shards[i];

		dm_private_lock(&shard->lock);
		for (size_t j = 0; j < shard->slots_count && !found; j++)
			found = shard->slots[j].address && address - shard->slots[j].address < shard->slots[j].bytes;
		dm_private_unlock(&shard->lock);
	}
	return found;
}

static int why_not_live(const void *block, bool freed_before)
{
	if (is_inside((uintptr_t)block))
		return dm_fail(DMEM_E_INTERIOR, "free of %p: it lies inside a live block; only the block's start can be freed",
		               block);
	if (freed_before)
		return dm_fail(DMEM_E_DOUBLE_FREE, "free of %p: that block is free already", block);
	return dm_fail(DMEM_E_FOREIGN, "free of %p: it is not in a live block of this library", block);
}

int dm_local_free(void *block)
{
	struct shard *shard = shard_of((uintptr_t)block);
	const int errno_before = errno;
	struct entry *entry;
	bool freed_before = false;

	dm_private_lock(&shard->lock);
	entry = find(shard, (uintptr_t)block);
	if (entry) {
		remove_entry(shard, entry);
		shard->freed[shard->freed_next++ % FREED_REMEMBERED] = (uintptr_t)block;
	}
	for (uint32_t i = 0; !entry && i < FREED_REMEMBERED; i++)
		freed_before = freed_before || shard->freed[i] == (uintptr_t)block;
	dm_private_unlock(&shard->lock);
	if (!entry)
		return why_not_live(block, freed_before);
	__libc_free(block);
	errno = errno_before;
	return 0;
}

size_t dm_local_usable(const void *block)
{
	struct shard *shard = shard_of((uintptr_t)block);
	struct entry *entry;
	size_t bytes;

	if (!block)
		return 0;
	dm_private_lock(&shard->lock);
	entry = find(shard, (uintptr_t)block);
	bytes = entry ? entry->bytes : 0;
	dm_private_unlock(&shard->lock);
	return bytes;
}

bool dm_local_contains(const void *address)
{
	return dm_local_usable(address) > 0 || is_inside((uintptr_t)address);
}

void dm_local_fork_lock(void)
{
	for (uint32_t i = 0; i < SHARDS; i++)
		pthread_mutex_lock(&shards[i].lock);
}

void dm_local_fork_unlock(void)
{
	for (uint32_t i = SHARDS; i-- > 0;)
		pthread_mutex_unlock(&shards[i].lock);
}
