/* SPDX-License-Identifier: Apache-2.0 */
/* memfd_source.h: a source of extents for tests: a memfd whose extents are taken first fit, and counted. */
#ifndef DM_TESTS_MEMFD_SOURCE_H
#define DM_TESTS_MEMFD_SOURCE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "alloc/private/private.h"

#define SOURCE_EXTENT_BYTES (UINT64_C(2) << 20)
#define SOURCE_EXTENTS_MAX  4096u

struct memfd_source {
	pthread_mutex_t lock;
	int fd;
	uint64_t extents;
	uint64_t taken;
	uint64_t run_max; /* longer runs are refused, as if the pool were fragmented */
	bool wrong_give;  /* something was given back that had not been taken like that */
	bool map_fails;
	uint32_t run[SOURCE_EXTENTS_MAX]; /* length at the first extent of a run */
	bool used[SOURCE_EXTENTS_MAX];
};

static inline int source_take(void *context, uint64_t count, uint64_t alignment, uint64_t *first)
{
	struct memfd_source *source = context;
	uint64_t at, i = 0;
	int code = -ENOMEM;

	pthread_mutex_lock(&source->lock);
	for (at = 0; count <= source->run_max && at + count <= source->extents; at += alignment) {
		for (i = 0; i < count && !source->used[at + i]; i++)
			;
		if (i == count)
			break;
	}
	if (i == count) {
		for (i = 0; i < count; i++)
			source->used[at + i] = true;
		source->run[at] = (uint32_t)count;
		source->taken += count;
		*first = at;
		code = 0;
	}
	pthread_mutex_unlock(&source->lock);
	return code;
}

static inline void source_give(void *context, uint64_t first, uint64_t count)
{
	struct memfd_source *source = context;

	pthread_mutex_lock(&source->lock);
	if (source->run[first] != count)
		source->wrong_give = true;
	source->run[first] = 0;
	for (uint64_t i = first; i < first + count; i++) {
		if (!source->used[i])
			source->wrong_give = true;
		source->used[i] = false;
	}
	source->taken -= count;
	pthread_mutex_unlock(&source->lock);
}

static inline int source_map(void *context, uint64_t first, uint64_t count, void *address)
{
	struct memfd_source *source = context;

	if (source->map_fails)
		return -ENOMEM;
	if (mmap(address, count * SOURCE_EXTENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, source->fd,
	         (off_t)(first * SOURCE_EXTENT_BYTES)) == MAP_FAILED)
		return -errno;
	return 0;
}

static inline struct dm_private *source_open(struct memfd_source *source, uint64_t extents)
{
	const struct dm_private_source ops = {source_take, source_give, source_map, source};
	struct dm_private *heap = NULL;

	*source = (struct memfd_source){.lock = PTHREAD_MUTEX_INITIALIZER, .extents = extents, .run_max = extents};
	source->fd = memfd_create("private", MFD_CLOEXEC);
	if (source->fd < 0 || ftruncate(source->fd, (off_t)(extents * SOURCE_EXTENT_BYTES)))
		return NULL;
	return dm_private_create(&ops, &heap) ? NULL : heap;
}

static inline void source_close(struct memfd_source *source)
{
	close(source->fd);
}

#endif
