/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.c: heaps: made with a thread's first allocation, let go with its end or the pool's detach.
 *
 * Heap structures are never given back to malloc.  A thread that outlives a detach keeps a pointer to a heap that belongs to
 * nobody or to somebody else by then; the attach id, which is never used twice, and the owning thread tell it so.
 *
 * Locks: heaps_lock (which heaps belong to which attach; taken by thread ends and detaches), then shared->lock.
 */
#include "alloc/shared/heap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fault.h"

_Thread_local struct dm_heap **dm_heap_of_thread __attribute__((tls_model("initial-exec")));

#define VERSION_BATCH 4096u

static pthread_mutex_t heaps_lock = PTHREAD_MUTEX_INITIALIZER;
static struct dm_heap *unused_heaps;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static bool have_key;

/* Called with heaps_lock.  The owner word is given up last: until then nobody can have the number. */
static void release_heap(struct dm_heap *heap)
{
	struct dm_shared *shared = heap->shared;
	struct dm_heap **at = &shared->heaps;

	pthread_mutex_lock(&shared->lock);
	dm_slab_abandon_all(shared, heap);
	pthread_mutex_unlock(&shared->lock);
	while (*at != heap)
		at = &(*at)->next;
	*at = heap->next;
	DM_CRASH_POINT(HEAP_ABANDONED);
	if (dm_word_store(shared->window, &shared->heap_owners[heap->id].word, 0) != 0)
		dm_log(DMEM_LOG_WARNING, "heap %u could not be given back", heap->id);
	heap->shared = NULL;
	heap->attach_id = 0;
	heap->next = unused_heaps;
	unused_heaps = heap;
}

static void on_thread_end(void *value)
{
	struct dm_heap **heaps = value;

	pthread_mutex_lock(&heaps_lock);
	for (unsigned i = 0; i < DM_HEAP_POOLS_MAX; i++)
		if (heaps[i] != NULL && heaps[i]->shared != NULL && heaps[i]->shared->tls_index == i &&
		    heaps[i]->owner_thread == heaps)
			release_heap(heaps[i]);
	pthread_mutex_unlock(&heaps_lock);
	dm_heap_of_thread = NULL;
	free(heaps);
}

static void make_key(void)
{
	have_key = pthread_key_create(&thread_key, on_thread_end) == 0;
}

static struct dm_heap **thread_array(void)
{
	struct dm_heap **heaps = dm_heap_of_thread;

	if (heaps != NULL)
		return heaps;
	pthread_once(&key_once, make_key);
	heaps = calloc(DM_HEAP_POOLS_MAX, sizeof(struct dm_heap *));
	if (heaps == NULL)
		return NULL;
	if (!have_key || pthread_setspecific(thread_key, heaps) != 0) {
		free(heaps);
		return NULL;
	}
	dm_heap_of_thread = heaps;
	return heaps;
}

/* Take a number of the pool's heap table.  Number 0 names nobody. */
static uint32_t claim_number(struct dm_shared *shared)
{
	uint64_t ours = (uint64_t)(shared->members->slot + 1) | (uint64_t)shared->members->incarnation << 32;
	uint32_t start = shared->members->slot * 4;

	for (uint32_t i = 0; i < shared->heaps_max; i++) {
		uint32_t number = (start + i) % shared->heaps_max;
		uint64_t *word = &shared->heap_owners[number].word;
		uint64_t seen;

		if (number == 0 || dm_word_load(shared->window, word, &seen) != 0 || seen != 0)
			continue;
		if (dm_word_cas(shared->window, word, 0, ours, &seen) == 0 && seen == 0) {
			DM_CRASH_POINT(HEAP_CLAIMED);
			return number;
		}
	}
	return 0;
}

struct dm_heap_pm *dm_heap_record(struct dm_shared *shared, uint32_t number)
{
	uint64_t owners = dm_align_down(shared->heaps_max * sizeof(struct dm_heap_owner_pm) + 4095, 4096);
	struct dm_heap_pm *records = (struct dm_heap_pm *)((uint8_t *)shared->heap_owners + owners);

	return &records[number];
}

/* Versions belong to the number, whoever has it: no two changes of tagged words carry the same number and version.  They are
 * reserved in the pool by the batch, before they are used. */
uint64_t dm_heap_next_version(struct dm_heap *heap)
{
	struct dm_heap_pm *record;

	if (heap->version < heap->version_end)
		return heap->version++;
	record = dm_heap_record(heap->shared, heap->id);
	if (dm_window_refresh(heap->shared->window, &record->version_reserved, DM_LINE_BYTES) == 0)
		heap->version = record->version_reserved;
	heap->version_end = heap->version + VERSION_BATCH;
	__atomic_store_n(&record->version_reserved, heap->version_end, __ATOMIC_RELEASE);
	if (dm_window_publish(heap->shared->window, &record->version_reserved, DM_LINE_BYTES) != 0)
		dm_log(DMEM_LOG_WARNING, "versions of heap %u could not be reserved", heap->id);
	return heap->version++;
}

struct dm_heap *dm_heap_get_slow(struct dm_shared *shared)
{
	struct dm_heap **heaps = thread_array();
	struct dm_heap *heap = NULL;
	uint32_t number = heaps == NULL ? 0 : claim_number(shared);

	if (number == 0) {
		errno = ENOMEM;
		return NULL;
	}
	pthread_mutex_lock(&heaps_lock);
	heap = unused_heaps;
	if (heap != NULL)
		unused_heaps = heap->next;
	else
		heap = malloc(sizeof(*heap));
	if (heap != NULL) {
		memset(heap, 0, sizeof(*heap));
		heap->shared = shared;
		heap->attach_id = shared->attach_id;
		heap->id = number;
		heap->owner_thread = heaps;
		heap->next = shared->heaps;
		shared->heaps = heap;
		heaps[shared->tls_index] = heap;
	}
	pthread_mutex_unlock(&heaps_lock);
	if (heap == NULL && dm_word_store(shared->window, &shared->heap_owners[number].word, 0) != 0)
		dm_log(DMEM_LOG_WARNING, "heap %u could not be given back", number);
	if (heap == NULL)
		errno = ENOMEM;
	return heap;
}

void dm_heap_release_all(struct dm_shared *shared)
{
	pthread_mutex_lock(&heaps_lock);
	while (shared->heaps != NULL)
		release_heap(shared->heaps);
	pthread_mutex_unlock(&heaps_lock);
}

void dm_heap_fork_prepare(void)
{
	pthread_mutex_lock(&heaps_lock);
}

void dm_heap_fork_parent(void)
{
	pthread_mutex_unlock(&heaps_lock);
}

/* In the child: the parent's heaps are the parent's.  The pool is not touched. */
void dm_heap_fork_child(struct dm_shared *shared)
{
	struct dm_heap *next;

	pthread_mutex_init(&heaps_lock, NULL);
	for (struct dm_heap *heap = shared == NULL ? NULL : shared->heaps; heap != NULL; heap = next) {
		next = heap->next;
		heap->shared = NULL;
		heap->attach_id = 0;
		heap->next = unused_heaps;
		unused_heaps = heap;
	}
	if (shared != NULL)
		shared->heaps = NULL;
}
