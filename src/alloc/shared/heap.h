/* SPDX-License-Identifier: Apache-2.0 */
/* heap.h: the calling thread's share of a pool. */
#ifndef DM_ALLOC_SHARED_HEAP_H
#define DM_ALLOC_SHARED_HEAP_H

#include "alloc/shared/shared.h"

#define DM_HEAP_POOLS_MAX 64u /* pools that one process can attach at a time */

/* This thread's heaps by pool; NULL until it allocates.  One pointer in the static TLS block: the library must load with
 * dlopen() too, where room there is scarce. */
extern _Thread_local struct dm_heap **dm_heap_of_thread __attribute__((tls_model("initial-exec")));

/* The calling thread's heap of this pool, if it has one.  A pointer that was left by a detach may lead to a heap that is used
 * again: by another attach, or by another thread of this one. */
static inline struct dm_heap *dm_heap_mine(struct dm_shared *shared)
{
	struct dm_heap **heaps = dm_heap_of_thread;
	struct dm_heap *heap = heaps == NULL ? NULL : heaps[shared->tls_index];

	return heap != NULL && heap->attach_id == shared->attach_id && heap->owner_thread == heaps ? heap : NULL;
}

/* The same, made when it is missing; NULL with errno when no heap number is left in the pool. */
static inline struct dm_heap *dm_heap_get(struct dm_shared *shared)
{
	struct dm_heap *heap = dm_heap_mine(shared);

	return __builtin_expect(heap != NULL, 1) ? heap : dm_heap_get_slow(shared);
}

/* The record of a heap number, which is below heaps_max. */
struct dm_heap_pm *dm_heap_record(struct dm_shared *shared, uint32_t number);

/* The version of this heap's next change of a tagged word. */
uint64_t dm_heap_next_version(struct dm_heap *heap);

#endif
