/* SPDX-License-Identifier: Apache-2.0 */
/* default.c: the pool of the malloc-shaped calls: DMEM_POOL, else "file:/dev/shm/dmem-UID", which is made when it is missing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "pool.h"

_Atomic(struct dmem_pool *) dm_default_pool;
static pthread_mutex_t default_lock = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP; /* as the list's, pool.c */

void dm_default_after_fork(void)
{
	static const pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

	default_lock = fresh;
}

static int attach_or_create(const char *uri, struct dmem_pool **pool)
{
	int rc = dmem_pool_attach(uri, NULL, pool);

	if (rc != -ENOENT)
		return rc;
	rc = dmem_pool_create(uri, NULL);
	if (rc == 0 || rc == -EEXIST) /* another process was faster */
		rc = dmem_pool_attach(uri, NULL, pool);
	return rc;
}

static int attach_default(struct dmem_pool **pool)
{
	const char *named = getenv("DMEM_POOL");
	char uri[64];

	if (named != NULL && named[0] != 0)
		return dmem_pool_attach(named, NULL, pool);
	snprintf(uri, sizeof(uri), "file:/dev/shm/dmem-%u", (unsigned)geteuid());
	return attach_or_create(uri, pool);
}

struct dmem_pool *dmem_default_pool(void)
{
	struct dmem_pool *pool = atomic_load_explicit(&dm_default_pool, memory_order_acquire);
	int rc = 0;

	if (pool != NULL && atomic_load_explicit(&pool->attached, memory_order_relaxed))
		return pool;
	rc = -pthread_mutex_lock(&default_lock);
	if (rc) {
		errno = -rc;
		return NULL;
	}
	pool = atomic_load(&dm_default_pool);
	if (pool == NULL || !atomic_load(&pool->attached)) {
		rc = attach_default(&pool);
		if (rc == 0)
			atomic_store_explicit(&dm_default_pool, pool, memory_order_release);
	}
	pthread_mutex_unlock(&default_lock);
	if (rc) {
		errno = dm_error_errno(rc);
		return NULL;
	}
	return pool;
}
