/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.c: dmem/atomic.h: the processor's atomics where the pool is coherent or the word is in no pool; else the
 * transport's, at 4 or 8 bytes.
 */
#include <errno.h>

#include "base/error.h"
#include "dmem/atomic.h"
#include "pool.h"

/* Which way a word goes: *window is NULL for the processor's.  A negative code when it goes nowhere. */
static inline int word_way(const void *word, uintptr_t width, struct dm_window **window)
{
	struct dmem_pool *pool;
	int rc;

	*window = NULL;
	if (__builtin_expect(word == NULL || ((uintptr_t)word & (width - 1)) != 0, 0))
		return dm_fail(-EINVAL, "the atomic word at %p is not aligned to %u bytes", word, (unsigned)width);
	pool = dm_pool_of(word);
	if (pool == NULL)
		return 0;
	rc = dm_pool_check(pool);
	if (rc == 0 && !pool->window->coherent)
		*window = pool->window;
	return rc;
}

int dmem_atomic_load_u32(const uint32_t *word, uint32_t *value)
{
	struct dm_window *window;
	uint64_t wide;
	int rc = word_way(word, 4, &window);

	if (rc == 0 && window != NULL) {
		rc = dm_word_slow_load(window, word, 4, &wide);
		if (rc == 0)
			*value = (uint32_t)wide;
	} else if (rc == 0) {
		*value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	}
	return rc;
}

int dmem_atomic_store_u32(uint32_t *word, uint32_t value)
{
	struct dm_window *window;
	int rc = word_way(word, 4, &window);

	if (rc == 0 && window != NULL)
		rc = dm_word_slow_store(window, word, 4, value);
	else if (rc == 0)
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
	return rc;
}

int dmem_atomic_exchange_u32(uint32_t *word, uint32_t value, uint32_t *previous)
{
	struct dm_window *window;
	uint64_t wide = 0;
	int rc = word_way(word, 4, &window);

	if (rc == 0 && window != NULL)
		rc = dm_word_slow_exchange(window, word, 4, value, &wide);
	else if (rc == 0)
		wide = __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
	if (rc == 0 && previous != NULL)
		*previous = (uint32_t)wide;
	return rc;
}

int dmem_atomic_cas_u32(uint32_t *word, uint32_t expected, uint32_t desired, uint32_t *previous)
{
	struct dm_window *window;
	uint64_t wide;
	int rc = word_way(word, 4, &window);

	if (rc == 0 && window != NULL) {
		rc = dm_word_slow_cas(window, word, 4, expected, desired, &wide);
		if (rc == 0)
			*previous = (uint32_t)wide;
	} else if (rc == 0) {
		__atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
		*previous = expected;
	}
	return rc;
}

int dmem_atomic_add_u32(uint32_t *word, uint32_t addend, uint32_t *previous)
{
	struct dm_window *window;
	uint64_t wide = 0;
	int rc = word_way(word, 4, &window);

	if (rc == 0 && window != NULL)
		rc = dm_word_slow_add(window, word, 4, addend, &wide);
	else if (rc == 0)
		wide = __atomic_fetch_add(word, addend, __ATOMIC_ACQ_REL);
	if (rc == 0 && previous != NULL)
		*previous = (uint32_t)wide;
	return rc;
}

int dmem_atomic_load_u64(const uint64_t *word, uint64_t *value)
{
	struct dm_window *window;
	uint64_t wide;
	int rc = word_way(word, 8, &window);

	if (rc == 0 && window != NULL) {
		rc = dm_word_slow_load(window, word, 8, &wide);
		if (rc == 0)
			*value = (uint64_t)wide;
	} else if (rc == 0) {
		*value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	}
	return rc;
}

int dmem_atomic_store_u64(uint64_t *word, uint64_t value)
{
	struct dm_window *window;
	int rc = word_way(word, 8, &window);

	if (rc == 0 && window != NULL)
		rc = dm_word_slow_store(window, word, 8, value);
	else if (rc == 0)
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
	return rc;
}

int dmem_atomic_exchange_u64(uint64_t *word, uint64_t value, uint64_t *previous)
{
	struct dm_window *window;
	uint64_t wide = 0;
	int rc = word_way(word, 8, &window);

	if (rc == 0 && window != NULL)
		rc = dm_word_slow_exchange(window, word, 8, value, &wide);
	else if (rc == 0)
		wide = __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
	if (rc == 0 && previous != NULL)
		*previous = (uint64_t)wide;
	return rc;
}

int dmem_atomic_cas_u64(uint64_t *word, uint64_t expected, uint64_t desired, uint64_t *previous)
{
	struct dm_window *window;
	uint64_t wide;
	int rc = word_way(word, 8, &window);

	if (rc == 0 && window != NULL) {
		rc = dm_word_slow_cas(window, word, 8, expected, desired, &wide);
		if (rc == 0)
			*previous = (uint64_t)wide;
	} else if (rc == 0) {
		__atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
		*previous = expected;
	}
	return rc;
}

int dmem_atomic_add_u64(uint64_t *word, uint64_t addend, uint64_t *previous)
{
	struct dm_window *window;
	uint64_t wide = 0;
	int rc = word_way(word, 8, &window);

	if (rc == 0 && window != NULL)
		rc = dm_word_slow_add(window, word, 8, addend, &wide);
	else if (rc == 0)
		wide = __atomic_fetch_add(word, addend, __ATOMIC_ACQ_REL);
	if (rc == 0 && previous != NULL)
		*previous = (uint64_t)wide;
	return rc;
}
