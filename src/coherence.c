/* SPDX-License-Identifier: Apache-2.0 */
/* coherence.c: dmem/coherence.h: find the pool of a range, and ask its window. */
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "dmem/coherence.h"
#include "pool.h"

static int range_pool(const void *address, size_t bytes, struct dmem_pool **pool)
{
	*pool = dm_pool_of(address);
	if (*pool == NULL ||
	    !dm_range_inside(dm_window_offset((*pool)->window, address), bytes, (*pool)->window->span_bytes))
		return dm_fail(DMEM_E_FOREIGN,
		               "%zu bytes at %p are not inside one attached pool: attach the pool first, or leave "
		               "private memory out",
		               bytes, address);
	return dm_pool_check(*pool);
}

int dmem_publish(const void *address, size_t bytes)
{
	struct dmem_pool *pool;
	int rc = bytes == 0 ? 0 : range_pool(address, bytes, &pool);

	return bytes == 0 || rc ? rc : dm_window_publish(pool->window, address, bytes);
}

int dmem_refresh(const void *address, size_t bytes)
{
	struct dmem_pool *pool;
	int rc = bytes == 0 ? 0 : range_pool(address, bytes, &pool);

	return bytes == 0 || rc ? rc : dm_window_refresh(pool->window, address, bytes);
}

int dmem_handoff(const void *address, size_t bytes)
{
	struct dmem_pool *pool;
	int rc = bytes == 0 ? 0 : range_pool(address, bytes, &pool);

	if (bytes == 0 || rc)
		return rc;
	if (pool->window->coherent)
		return dm_window_publish(pool->window, address, bytes);
	return dm_window_lines(pool->window, DM_LINES_HANDOFF, address, bytes);
}

static int all_lines(struct dmem_pool *pool, bool publish)
{
	struct dm_window *window = pool->window;
	int rc = 0;

	if (window->coherent) {
		if (publish)
			dm_fence_publish();
		else
			dm_fence_observe();
		return 0;
	}
	if (window->words != NULL)
		window->words->hold(window->words_context, true);
	pthread_mutex_lock(&window->lock);
	for (uint32_t i = 0; rc == 0 && i < window->device_count; i++) {
		const struct dm_data_ops *data = &window->devices[i]->transport->data;

		rc = publish ? data->publish_all(window->devices[i]) : data->refresh_all(window->devices[i]);
	}
	pthread_mutex_unlock(&window->lock);
	if (window->words != NULL)
		window->words->hold(window->words_context, false);
	return rc;
}

int dmem_publish_all(struct dmem_pool *pool)
{
	int rc = dm_pool_check(pool);

	return rc ? rc : all_lines(pool, true);
}

int dmem_refresh_all(struct dmem_pool *pool)
{
	int rc = dm_pool_check(pool);

	return rc ? rc : all_lines(pool, false);
}

void dmem_fence(void)
{
	dm_fence_full();
}
