/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coherent.c: see coherent.h.
 *
 * The __atomic builtins serve here instead of <stdatomic.h> types, because the words lie in memory whose type other
 * programs decide.  Source: C17 section 7.17.3; the orders are those that transport.h promises.
 */
#include "transport/coherent.h"

#include <errno.h>

#include "base/error.h"
#include "base/fence.h"

int dm_coherent_publish(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	(void)device, (void)offset, (void)address, (void)bytes;
	dm_fence_publish();
	return 0;
}

int dm_coherent_refresh(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	(void)device, (void)offset, (void)address, (void)bytes;
	dm_fence_observe();
	return 0;
}

int dm_coherent_publish_all(struct dm_device *device)
{
	(void)device;
	dm_fence_publish();
	return 0;
}

int dm_coherent_refresh_all(struct dm_device *device)
{
	(void)device;
	dm_fence_observe();
	return 0;
}

__attribute__((cold)) static int refuse_word(const void *address, unsigned width)
{
	return dm_fail(-EINVAL, "an atomic word of %u bytes at %p: it must have 4 or 8 bytes and be aligned to them", width,
	               address);
}

static inline int word_good(const void *address, unsigned width)
{
	return address != NULL && (width == 4 || width == 8) && ((uintptr_t)address & (width - 1)) == 0;
}

int dm_coherent_load(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t *value)
{
	(void)device, (void)offset;
	if (!word_good(address, width))
		return refuse_word(address, width);
	if (width == 4)
		*value = __atomic_load_n((uint32_t *)address, __ATOMIC_ACQUIRE);
	else
		*value = __atomic_load_n((uint64_t *)address, __ATOMIC_ACQUIRE);
	return 0;
}

int dm_coherent_store(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value)
{
	(void)device, (void)offset;
	if (!word_good(address, width))
		return refuse_word(address, width);
	if (width == 4)
		__atomic_store_n((uint32_t *)address, (uint32_t)value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint64_t *)address, value, __ATOMIC_RELEASE);
	return 0;
}

int dm_coherent_exchange(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value,
                         uint64_t *previous)
{
	uint64_t before;

	(void)device, (void)offset;
	if (!word_good(address, width))
		return refuse_word(address, width);
	if (width == 4)
		before = __atomic_exchange_n((uint32_t *)address, (uint32_t)value, __ATOMIC_ACQ_REL);
	else
		before = __atomic_exchange_n((uint64_t *)address, value, __ATOMIC_ACQ_REL);
	if (previous != NULL)
		*previous = before;
	return 0;
}

/* Whether it was swapped shows in `previous`: it equals `expected` then, in the bits of the width. */
int dm_coherent_cas(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t expected,
                    uint64_t desired, uint64_t *previous)
{
	uint32_t narrow = (uint32_t)expected;

	(void)device, (void)offset;
	if (!word_good(address, width))
		return refuse_word(address, width);
	if (width == 4) {
		__atomic_compare_exchange_n((uint32_t *)address, &narrow, (uint32_t)desired, 0, __ATOMIC_ACQ_REL,
		                            __ATOMIC_ACQUIRE);
		expected = narrow;
	} else {
		__atomic_compare_exchange_n((uint64_t *)address, &expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	}
	if (previous != NULL)
		*previous = expected;
	return 0;
}

int dm_coherent_add(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t addend,
                    uint64_t *previous)
{
	uint64_t before;

	(void)device, (void)offset;
	if (!word_good(address, width))
		return refuse_word(address, width);
	if (width == 4)
		before = __atomic_fetch_add((uint32_t *)address, (uint32_t)addend, __ATOMIC_ACQ_REL);
	else
		before = __atomic_fetch_add((uint64_t *)address, addend, __ATOMIC_ACQ_REL);
	if (previous != NULL)
		*previous = before;
	return 0;
}
