/* SPDX-License-Identifier: Apache-2.0 */
/* sync.c: the public calls of src/sync: find the pool of an object by its address, and go there. */
#include <errno.h>

#include "base/error.h"
#include "dmem/mutex.h"
#include "dmem/wait.h"
#include "pool.h"
#include "sync/mutex.h"
#include "sync/wait.h"

int dm_pool_sync_slow(const void *object, struct dm_sync **sync)
{
	struct dmem_pool *pool = dm_pool_of(object);
	int rc;

	if (object == NULL)
		return dm_fail(-EINVAL, "the object to synchronize with is NULL");
	if (pool == NULL)
		return dm_fail(DMEM_E_FOREIGN, "%p is in no attached pool: what members synchronize with lies in shared memory",
		               object);
	rc = dm_pool_check(pool);
	if (rc == 0)
		*sync = pool->sync;
	return rc;
}

static int sync_of_word(const uint32_t *word, struct dm_sync **sync)
{
	if (((uintptr_t)word & 3) != 0)
		return dm_fail(-EINVAL, "the word at %p is not aligned to 4 bytes", (const void *)word);
	return dm_pool_sync(word, sync);
}

int dmem_wait(uint32_t *word, uint32_t expected, int64_t timeout_ns)
{
	struct dm_sync *sync;
	int rc = sync_of_word(word, &sync);

	return rc ? rc : dm_wait(sync, word, expected, timeout_ns, 0, 0);
}

int dmem_wake(uint32_t *word, int count)
{
	struct dm_sync *sync;
	int rc = sync_of_word(word, &sync);

	if (rc == 0 && count < 1)
		rc = dm_fail(-EINVAL, "dmem_wake() of %d sleepers: ask for 1 or more", count);
	return rc ? rc : dm_wake(sync, word, count);
}

/* --- mutex --- */

static inline int sync_of_mutex(const struct dmem_mutex *mutex, struct dm_sync **sync)
{
	if (__builtin_expect(((uintptr_t)mutex & 7) != 0, 0))
		return dm_fail(-EINVAL, "the mutex at %p is not aligned to 8 bytes", (const void *)mutex);
	return dm_pool_sync(mutex, sync);
}

static inline struct dm_mutex_pm *mutex_pm(struct dmem_mutex *mutex)
{
	return (struct dm_mutex_pm *)mutex;
}

int dmem_mutex_init(struct dmem_mutex *mutex)
{
	struct dm_sync *sync;
	int rc = sync_of_mutex(mutex, &sync);

	return rc ? rc : dm_mutex_init(sync, mutex_pm(mutex));
}

int dmem_mutex_guard(struct dmem_mutex *mutex, const void *range, size_t bytes)
{
	struct dm_sync *sync;
	int rc = sync_of_mutex(mutex, &sync);

	return rc ? rc : dm_mutex_guard(sync, mutex_pm(mutex), range, bytes);
}

int dmem_mutex_lock(struct dmem_mutex *mutex)
{
	struct dm_sync *sync;
	int rc = sync_of_mutex(mutex, &sync);

	return rc ? rc : dm_mutex_lock(sync, mutex_pm(mutex), -1);
}

int dmem_mutex_timedlock(struct dmem_mutex *mutex, int64_t timeout_ns)
{
	struct dm_sync *sync;
	int rc = sync_of_mutex(mutex, &sync);

	return rc ? rc : dm_mutex_lock(sync, mutex_pm(mutex), timeout_ns);
}

int dmem_mutex_trylock(struct dmem_mutex *mutex)
{
	struct dm_sync *sync;
	int rc = sync_of_mutex(mutex, &sync);

	return rc ? rc : dm_mutex_trylock(sync, mutex_pm(mutex));
}

int dmem_mutex_unlock(struct dmem_mutex *mutex)
{
	struct dm_sync *sync;
	int rc = sync_of_mutex(mutex, &sync);

	return rc ? rc : dm_mutex_unlock(sync, mutex_pm(mutex));
}

int dmem_mutex_consistent(struct dmem_mutex *mutex)
{
	struct dm_sync *sync;
	int rc = sync_of_mutex(mutex, &sync);

	return rc ? rc : dm_mutex_consistent(sync, mutex_pm(mutex));
}

uint64_t dmem_mutex_token(const struct dmem_mutex *mutex)
{
	struct dm_sync *sync;
	uint64_t token = 0;
	int rc = sync_of_mutex(mutex, &sync);

	if (rc == 0)
		rc = dm_mutex_token(sync, (const struct dm_mutex_pm *)mutex, &token);
	return rc ? 0 : token;
}
