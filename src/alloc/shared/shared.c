/* SPDX-License-Identifier: Apache-2.0 */
/* shared.c: setting the allocator up for one attached pool, and taking it down (shared.h). */
#include "alloc/shared/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "alloc/shared/heap.h"
#include "base/error.h"
#include "base/fault.h"

static pthread_mutex_t index_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t indexes_used; /* one bit a pool of this process */
static uint64_t next_attach_id = 1;

static int take_index(struct dm_shared *shared)
{
	int rc = 0;

	pthread_mutex_lock(&index_lock);
	if (indexes_used == UINT64_MAX)
		rc = dm_fail(-EMFILE, "this process has %u pools attached, which is the limit: detach one", DM_HEAP_POOLS_MAX);
	else
		shared->tls_index = (unsigned)__builtin_ctzll(~indexes_used);
	if (rc == 0)
		indexes_used |= UINT64_C(1) << shared->tls_index;
	shared->attach_id = next_attach_id++;
	pthread_mutex_unlock(&index_lock);
	return rc;
}

/* The superblock's tables and segments are long enough for what we keep in them. */
static int check_room(struct dm_shared *shared)
{
	const struct dm_superblock_pm *sb = &shared->window->superblock;
	uint64_t owners = dm_align_down(sb->heaps_max * sizeof(struct dm_heap_owner_pm) + 4095, 4096);

	if (!dm_range_inside(sb->heap_off, owners + sb->heaps_max * sizeof(struct dm_heap_pm), sb->root_off))
		return dm_fail(DMEM_E_CORRUPT, "%s: the superblock has no room for %u heaps: look at it with 'dmemctl fsck'",
		               shared->window->devices[0]->name, sb->heaps_max);
	return 0;
}

/* A segment that came from the pool; false when its metadata does not fit in front of its data. */
bool dm_shared_segment_fits(const struct dm_shared *shared, const struct dm_segment *segment)
{
	struct dm_geometry_arrays arrays;

	dm_geometry_arrays(&shared->geometry, segment->data_extents, &arrays);
	return dm_range_inside(segment->metadata_off, arrays.bytes, segment->data_first << DM_EXTENT_SHIFT);
}

static int check_segments(struct dm_shared *shared)
{
	uint32_t count = atomic_load_explicit(&shared->window->segment_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++)
		if (!dm_shared_segment_fits(shared, &shared->window->segments[i]))
			return dm_fail(DMEM_E_CORRUPT,
			               "%s: segment %u has no room for its metadata: look at the pool with 'dmemctl fsck'",
			               shared->window->devices[0]->name, i);
	return 0;
}

/* Both tables cover the window, so that an address finds its slab with one load.  Pages that nobody writes take no memory. */
static uint64_t table_bytes(const struct dm_shared *shared)
{
	return (shared->chunk_numbers + 1) * sizeof(shared->chunks[0]) +
	       (shared->window->span_bytes >> DM_UNIT_SHIFT) * sizeof(shared->units[0]);
}

static int map_tables(struct dm_shared *shared)
{
	uint64_t bytes;
	void *table;

	shared->chunk_numbers = shared->window->span_bytes >> shared->chunk_shift;
	bytes = table_bytes(shared);
	table = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (table == MAP_FAILED)
		return dm_fail(-ENOMEM, "no memory for the tables of chunks and units of %s", shared->window->devices[0]->name);
	shared->chunks = table;
	shared->units = (_Atomic(struct dm_slab *) *)(void *)(shared->chunks + shared->chunk_numbers + 1);
	return 0;
}

int dm_shared_create(struct dm_window *window, struct dm_members *members, struct dm_shared **result)
{
	const struct dm_superblock_pm *sb = &window->superblock;
	struct dm_shared *shared = calloc(1, sizeof(*shared));
	int rc;

	if (shared == NULL)
		return dm_fail(-ENOMEM, "no memory to attach %s", window->devices[0]->name);
	shared->window = window;
	shared->members = members;
	shared->heap_owners = dm_window_at(window, sb->heap_off);
	shared->heaps_max = sb->heaps_max;
	shared->chunk_shift = DM_EXTENT_SHIFT + (unsigned)__builtin_ctz(sb->chunk_extents);
	pthread_mutex_init(&shared->lock, NULL);
	dm_geometry_init(&shared->geometry, sb->chunk_extents, sb->granule_bytes);
	dm_classes_init(&shared->classes, sb->granule_bytes);
	rc = check_room(shared);
	if (rc == 0)
		rc = check_segments(shared);
	if (rc)
		goto err_free;
	rc = map_tables(shared);
	if (rc)
		goto err_free;
	rc = take_index(shared);
	if (rc)
		goto err_unmap;
	*result = shared;
	return 0;
err_unmap:
	munmap(shared->chunks, table_bytes(shared));
err_free:
	pthread_mutex_destroy(&shared->lock);
	free(shared);
	return rc;
}

static void free_slabs(struct dm_shared *shared, struct dm_extent *extent)
{
	uint32_t units;

	for (uint32_t unit = 0; unit < DM_UNITS_PER_EXTENT; unit += units) {
		struct dm_slab *slab = atomic_load(dm_extent_slab(shared, extent, unit));

		units = slab == NULL ? 1 : slab->class->units; /* several units may point to one slab */
		free(slab);
	}
}

static void free_chunks(struct dm_shared *shared)
{
	uint32_t count = shared->geometry.chunk_extents;
	struct dm_chunk *chunk = shared->leased;
	struct dm_chunk *next;

	for (; chunk != NULL; chunk = next) {
		next = chunk->next;
		for (uint32_t i = 0; i < count; i++)
			if (chunk->extents[i].kind == DM_EXTENT_SLABS)
				free_slabs(shared, &chunk->extents[i]);
		free(chunk);
	}
}

void dm_shared_destroy(struct dm_shared *shared)
{
	struct dm_slab *next;

	free_chunks(shared);
	for (struct dm_chunk *chunk = shared->unused_chunks; chunk != NULL;) {
		struct dm_chunk *after = chunk->next;

		free(chunk);
		chunk = after;
	}
	for (struct dm_slab *slab = shared->unused_slabs; slab != NULL; slab = next) {
		next = slab->next;
		free(slab);
	}
	munmap(shared->chunks, table_bytes(shared));
	pthread_mutex_lock(&index_lock);
	indexes_used &= ~(UINT64_C(1) << shared->tls_index);
	pthread_mutex_unlock(&index_lock);
	pthread_mutex_destroy(&shared->lock);
	free(shared);
}

/* The structures of slabs in a chunk that is about to be orphaned go back to the unused ones. */
void dm_chunk_forget_slabs(struct dm_shared *shared, struct dm_chunk *chunk)
{
	for (uint32_t i = 0; i < shared->geometry.chunk_extents; i++) {
		struct dm_extent *extent = &chunk->extents[i];

		for (uint32_t unit = 0; extent->kind == DM_EXTENT_SLABS && unit < DM_UNITS_PER_EXTENT; unit++) {
			struct dm_slab *slab = atomic_load(dm_extent_slab(shared, extent, unit));

			atomic_store_explicit(dm_extent_slab(shared, extent, unit), NULL, memory_order_release);
			if (slab == NULL || slab->unit != unit)
				continue;
			if (slab->list == DM_LIST_ABANDONED)
				dm_list_remove(&shared->abandoned[slab->class_index], slab);
			slab->next = shared->unused_slabs;
			shared->unused_slabs = slab;
		}
		extent->kind = DM_EXTENT_FREE;
	}
}

void dm_shared_leave(struct dm_shared *shared)
{
	struct dm_chunk *next;

	pthread_mutex_lock(&shared->lock);
	shared->left = true;
	pthread_mutex_unlock(&shared->lock);
	dm_heap_release_all(shared);
	pthread_mutex_lock(&shared->lock);
	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = chunk->next)
		chunk->pinned = true;
	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = chunk->next)
		dm_chunk_tidy(shared, chunk);
	for (struct dm_chunk *chunk = shared->leased; chunk != NULL; chunk = next) {
		next = chunk->next;
		chunk->pinned = false;
		dm_chunk_forget_slabs(shared, chunk);
		dm_chunk_release(shared, chunk, false);
		DM_CRASH_POINT(CHUNK_LEFT);
	}
	pthread_mutex_unlock(&shared->lock);
}

#define IDLE_BEATS 10u

/* The one empty chunk that is kept for the next allocation is not kept for ever: others may want it. */
static void release_idle_chunks(struct dm_shared *shared)
{
	struct dm_chunk *next;

	for (struct dm_chunk *chunk = shared->leased; chunk != NULL && shared->empty_chunks > 0; chunk = next) {
		next = chunk->next;
		if (chunk->extents_used == 0 && ++chunk->idle_beats >= IDLE_BEATS)
			dm_chunk_release(shared, chunk, false);
	}
}

void dm_shared_on_beat(void *context)
{
	struct dm_shared *shared = context;

	if (pthread_mutex_trylock(&shared->lock) != 0)
		return; /* the next beat will do */
	dm_run_collect_all(shared);
	release_idle_chunks(shared);
	pthread_mutex_unlock(&shared->lock);
}

void dm_shared_fork_prepare(struct dm_shared *shared)
{
	pthread_mutex_lock(&shared->lock);
}

void dm_shared_fork_parent(struct dm_shared *shared)
{
	pthread_mutex_unlock(&shared->lock);
}

/* --- extents for other layers (extents.h) --- */

int dm_extents_take_private(struct dm_shared *shared, uint64_t count, uint64_t alignment, uint64_t *first)
{
	struct dm_extent *head = NULL;
	bool fresh;
	int rc = 0;

	if (count == 0 || !dm_is_power_of_two(alignment))
		return dm_fail(-EINVAL, "private memory of %llu extents aligned to %llu can't be had",
		               (unsigned long long)count, (unsigned long long)alignment);
	pthread_mutex_lock(&shared->lock);
	if (count <= shared->window->span_bytes >> DM_EXTENT_SHIFT)
		head = dm_run_take(shared, count, alignment, DM_EXTENT_PRIVATE, &fresh);
	if (head == NULL)
		rc = dm_fail_quietly(-ENOMEM,
		                     "%s has no %llu adjoining extents left: grow it with 'dmemctl grow', or free some memory",
		                     shared->window->devices[0]->name, (unsigned long long)count);
	else
		*first = head->index;
	pthread_mutex_unlock(&shared->lock);
	return rc;
}

void dm_extents_give_private(struct dm_shared *shared, uint64_t first, uint64_t count)
{
	struct dm_extent *head;

	pthread_mutex_lock(&shared->lock);
	head = dm_extent_ours(shared, first);
	if (head != NULL && head->kind == DM_EXTENT_PRIVATE && head->run_extents == count)
		dm_run_release(shared, head);
	else
		dm_log(DMEM_LOG_WARNING, "extent %llu is no private run of %llu extents", (unsigned long long)first,
		       (unsigned long long)count);
	pthread_mutex_unlock(&shared->lock);
}

int dm_extents_map_private(struct dm_shared *shared, uint64_t first, uint64_t count, void *address)
{
	struct dm_window *window = shared->window;
	uint64_t offset = first << DM_EXTENT_SHIFT;
	uint64_t device_offset;
	uint64_t run_bytes;
	uint32_t device;
	int rc = dm_window_translate(window, offset, &device, &device_offset, &run_bytes);

	if (rc)
		return rc;
	if (!(window->devices[device]->caps & DM_CAP_MAPS) || run_bytes < count << DM_EXTENT_SHIFT)
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s has no private pool memory, because its members work on copies of it: use "
		               "dmem_alloc_shared() or dmem_alloc_local()",
		               window->devices[device]->name);
	return window->devices[device]->transport->region.map(window->devices[device], device_offset,
	                                                      count << DM_EXTENT_SHIFT, address);
}
