/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fork.c: a child of fork() gets a copy of its own of all private pool memory, at the same addresses.
 *
 *   prepare (runs last)  every lock is taken; private mappings are write-protected; their live parts are copied
 *   fork                 the child inherits the copies, and the mappings too, read-only
 *   parent, first        the mappings can be written again, the copies go
 *   child, first         the copies are moved over the mappings: from now on local memory
 *
 * The copies are made before the fork and not by the child, so that nobody waits for another process, which may die.
 *
 * A fault in between is a store by
 *   - another thread of the parent: it waits in the fault handler, and no longer than WAIT_ROUNDS_MAX after the copies are
 *     made: it may hold a lock that another fork handler waits for;
 *   - the forking thread (a fork handler that runs after ours): it may go on, and the child makes a copy of its own;
 *   - the child before its handler runs (glibc resets the locks of its FILEs): the copies are moved there and then.
 *
 * A process made without the handlers (a raw clone) has none of the mappings (MADV_DONTFORK), so it can't harm its
 * parent; its first touch makes a copy, which is as consistent as nobody's stores meanwhile let it be.
 *
 * Locks, in this order: registry_lock, the locks of each heap, the locks of local.c.
 */
#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "alloc/private/heap.h"
#include "alloc/private/local.h"
#include "base/error.h"
#include "base/memfault.h"

#define HEAPS_MAX       64u
#define WAIT_ROUND_NS   100000000
#define WAIT_ROUNDS_MAX 20u

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct dm_private *) heaps[HEAPS_MAX];
static _Atomic uint32_t heaps_end;  /* no heap at or above it */
static _Atomic uintptr_t forker;    /* pthread_self() of the thread that forks, in parent and child; 0: none */
static _Atomic uint32_t generation; /* odd: a fork is under way; a futex */
static _Atomic bool copied;         /* and the copies are made */

/* The thread's latest fault that was found to be over already, so that the same fault is not retried for ever. */
static _Thread_local __attribute__((tls_model("initial-exec"))) uintptr_t retried_address;
static _Thread_local __attribute__((tls_model("initial-exec"))) uint32_t retried_generation;

bool dm_private_is_forker(void)
{
	const uintptr_t self = (uintptr_t)pthread_self();

	return atomic_load_explicit(&forker, memory_order_relaxed) == self;
}

struct dm_private *dm_private_find(const void *address)
{
	const uint32_t end = atomic_load_explicit(&heaps_end, memory_order_acquire);

	for (uint32_t i = 0; i < end; i++) {
		struct dm_private *heap = atomic_load_explicit(&heaps[i], memory_order_acquire);

		if (heap && dm_private_contains(heap, address))
			return heap;
	}
	return NULL;
}

/* Mapped, and not in the hands of a thread that is about to change that. */
static bool is_settled(const struct dm_private *heap, uint64_t index)
{
	const uint32_t use = atomic_load_explicit(&heap->table[index].use, memory_order_acquire);

	return use != DM_USE_NONE && use != DM_USE_BUSY;
}

/* Copy what is live of one extent. */
static void copy_extent(const struct dm_private *heap, uint64_t index, char *to)
{
	const struct dm_private_extent *entry = &heap->table[index];
	const char *from = dm_private_address(heap, index);
	const struct dm_slab_extent *owner;
	size_t bytes;

	if (atomic_load_explicit(&entry->use, memory_order_relaxed) == DM_USE_KEPT)
		return;
	owner = atomic_load_explicit(&entry->slabs, memory_order_relaxed);
	if (!owner) {
		memcpy(to, from, DM_PRIVATE_EXTENT_BYTES);
		return;
	}
	bytes = DM_PRIVATE_EXTENT_BYTES / owner->slabs;
	for (uint32_t i = 0; i < owner->slabs; i++)
		if (!(owner->free_mask >> i & 1))
			memcpy(to + i * bytes, from + i * bytes, bytes);
}

static uint64_t find_stretches(const struct dm_private *heap, struct dm_private_copy *copies)
{
	uint64_t found = 0, i = 0;

	while (i < heap->claim_end) {
		uint64_t first = i;

		while (i < heap->claim_end && is_settled(heap, i))
			i++;
		if (i == first) {
			i++;
			continue;
		}
		if (copies)
			copies[found] = (struct dm_private_copy){.first = first, .count = i - first};
		found++;
	}
	return found;
}

static void protect(const struct dm_private *heap, const struct dm_private_copy *stretch)
{
	char *address = dm_private_address(heap, stretch->first);
	const uint64_t bytes = stretch->count * DM_PRIVATE_EXTENT_BYTES;

	/* What fails here (no memory for one more mapping) leaves a child that gets a fault, and a parent that is whole. */
	(void)mprotect(address, bytes, PROT_READ);
	(void)madvise(address, bytes, MADV_DOFORK);
}

static void unprotect(const struct dm_private *heap, const struct dm_private_copy *stretch)
{
	char *address = dm_private_address(heap, stretch->first);
	const uint64_t bytes = stretch->count * DM_PRIVATE_EXTENT_BYTES;

	(void)madvise(address, bytes, MADV_DONTFORK);
	(void)mprotect(address, bytes, PROT_READ | PROT_WRITE);
}

/* Room for a stretch's copy.  Aligned as extents are, so that huge pages may serve it: a fork with 1 GiB took about
 * 150 ms with them and 600 or more without, once the machine had touched the memory before. */
static char *room_for(const struct dm_private_copy *stretch)
{
	const uint64_t bytes = stretch->count * DM_PRIVATE_EXTENT_BYTES;
	char *at = dm_private_local_map(bytes + DM_PRIVATE_EXTENT_BYTES);
	uint64_t start;

	if (!at)
		return NULL;
	start = dm_divide_up((uintptr_t)at, DM_PRIVATE_EXTENT_BYTES) * DM_PRIVATE_EXTENT_BYTES;
	if (start > (uintptr_t)at)
		dm_private_local_unmap(at, start - (uintptr_t)at);
	dm_private_local_unmap((char *)start + bytes, (uintptr_t)at + DM_PRIVATE_EXTENT_BYTES - start);
	(void)madvise((char *)start, bytes, MADV_HUGEPAGE);
	return (char *)start;
}

static void copy_heap(struct dm_private *heap)
{
	for (uint64_t i = 0; i < heap->copies_count; i++)
		protect(heap, &heap->copies[i]);
	for (uint64_t i = 0; i < heap->copies_count; i++) {
		struct dm_private_copy *stretch = &heap->copies[i];

		stretch->copy = room_for(stretch);
		for (uint64_t j = 0; stretch->copy && j < stretch->count; j++)
			copy_extent(heap, stretch->first + j, stretch->copy + j * DM_PRIVATE_EXTENT_BYTES);
		if (!stretch->copy)
			dm_log(DMEM_LOG_ERROR, "fork: no memory to copy %llu MiB of private pool memory: the child can't use it",
			       (unsigned long long)(stretch->count * DM_PRIVATE_EXTENT_BYTES / DM_MIB));
	}
}

static void prepare_heap(struct dm_private *heap)
{
	heap->copies_count = find_stretches(heap, NULL);
	if (!heap->copies_count || heap->inherited)
		return;
	heap->copies_bytes = heap->copies_count * sizeof(struct dm_private_copy);
	heap->copies = dm_private_local_map(heap->copies_bytes);
	if (!heap->copies) {
		dm_log(DMEM_LOG_ERROR, "fork: no local memory for the list of private extents; the child can't use them");
		return;
	}
	(void)find_stretches(heap, heap->copies);
	copy_heap(heap);
	heap->copies_ready = true;
}

static void forget_copies(struct dm_private *heap)
{
	dm_private_local_unmap(heap->copies, heap->copies_bytes);
	heap->copies = NULL;
	heap->copies_count = 0;
	heap->copies_ready = false;
}

static void lock_heap(struct dm_private *heap)
{
	for (uint32_t i = 0; i < DM_PRIVATE_CLASSES; i++)
		pthread_mutex_lock(&heap->classes[i].lock);
	pthread_mutex_lock(&heap->lock);
}

static void unlock_heap(struct dm_private *heap)
{
	pthread_mutex_unlock(&heap->lock);
	for (uint32_t i = DM_PRIVATE_CLASSES; i-- > 0;)
		pthread_mutex_unlock(&heap->classes[i].lock);
}

static void each_heap(void (*act)(struct dm_private *))
{
	for (uint32_t i = 0; i < HEAPS_MAX; i++) {
		struct dm_private *heap = atomic_load_explicit(&heaps[i], memory_order_relaxed);

		if (heap)
			act(heap);
	}
}

void dm_private_fork_prepare(void)
{
	const int errno_before = errno;

	pthread_mutex_lock(&registry_lock);
	each_heap(lock_heap);
	dm_local_fork_lock();
	atomic_store(&forker, (uintptr_t)pthread_self());
	atomic_fetch_add(&generation, 1);
	each_heap(prepare_heap);
	atomic_store(&copied, true);
	errno = errno_before;
}

static void leave_fork(void)
{
	atomic_store(&copied, false);
	atomic_fetch_add(&generation, 1);
	syscall(SYS_futex, &generation, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
	atomic_store(&forker, 0);
	dm_local_fork_unlock();
	each_heap(unlock_heap);
	pthread_mutex_unlock(&registry_lock);
}

static void thaw_heap(struct dm_private *heap)
{
	for (uint64_t i = 0; heap->copies_ready && i < heap->copies_count; i++) {
		const struct dm_private_copy *stretch = &heap->copies[i];

		unprotect(heap, stretch);
		dm_private_local_unmap(stretch->copy, stretch->count * DM_PRIVATE_EXTENT_BYTES);
		for (uint64_t j = stretch->first; j < stretch->first + stretch->count; j++)
			atomic_store_explicit(&heap->table[j].touched, false, memory_order_relaxed);
	}
	forget_copies(heap);
}

/* Large blocks that fork handlers freed. */
static void release_deferred(struct dm_private *heap)
{
	for (;;) {
		uint64_t index;

		pthread_mutex_lock(&heap->lock);
		index = heap->deferred;
		if (index != DM_PRIVATE_NONE)
			heap->deferred = heap->table[index].next;
		pthread_mutex_unlock(&heap->lock);
		if (index == DM_PRIVATE_NONE)
			return;
		dm_private_release_large(heap, index);
	}
}

void dm_private_fork_parent(void)
{
	const int errno_before = errno;

	each_heap(thaw_heap);
	leave_fork();
	each_heap(release_deferred);
	errno = errno_before;
}

/* In a process that has no mapping of the extent: as it is now.  map() is mmap(2) underneath, which is all that a fault
 * handler may call. */
static bool copy_again(struct dm_private *heap, uint64_t index, char *to)
{
	char *address = dm_private_address(heap, index);

	if (heap->source.map(heap->source.context, heap->table[index].window_extent, 1, address))
		return false;
	memcpy(to, address, DM_PRIVATE_EXTENT_BYTES);
	return true;
}

/* In the child, from its fork handler or from a fault before it: async-signal-safe calls only. */
static void move_copies_in(struct dm_private *heap)
{
	if (!heap->copies_ready)
		return;
	heap->copies_ready = false;
	for (uint64_t i = 0; i < heap->copies_count; i++) {
		const struct dm_private_copy *stretch = &heap->copies[i];
		const uint64_t bytes = stretch->count * DM_PRIVATE_EXTENT_BYTES;
		char *address = dm_private_address(heap, stretch->first);

		for (uint64_t j = 0; stretch->copy && j < stretch->count; j++)
			if (atomic_load_explicit(&heap->table[stretch->first + j].touched, memory_order_relaxed))
				copy_again(heap, stretch->first + j, stretch->copy + j * DM_PRIVATE_EXTENT_BYTES);
		if (!stretch->copy || mremap(stretch->copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, address) == MAP_FAILED)
			dm_private_reserve_again(heap, stretch->first, stretch->count);
	}
}

/* What other threads of the parent were about to map or unmap: those threads do not exist here. */
static void drop_unsettled(struct dm_private *heap)
{
	for (uint64_t i = 0; i < heap->claim_end; i++) {
		const uint32_t use = atomic_load_explicit(&heap->table[i].use, memory_order_relaxed);

		if (use == DM_USE_BUSY) {
			dm_private_reserve_again(heap, i, 1);
			dm_private_unclaim(heap, i, 1);
		}
	}
}

static void adopt_heap(struct dm_private *heap)
{
	const bool first_fork = !heap->inherited;

	if (first_fork && heap->copies_count && !heap->copies) /* there was no memory even for the list */
		dm_private_reserve_again(heap, 0, heap->claim_end);
	if (first_fork)
		move_copies_in(heap);
	forget_copies(heap);
	if (first_fork)
		drop_unsettled(heap);
	heap->inherited = true;
	heap->deferred = DM_PRIVATE_NONE;
	atomic_store_explicit(&heap->mapped_extents, 0, memory_order_relaxed);
	atomic_store_explicit(heap->here, 1, memory_order_relaxed);
}

void dm_private_fork_child(void)
{
	const int errno_before = errno;

	each_heap(adopt_heap);
	leave_fork();
	errno = errno_before;
}

static bool let_through(struct dm_private *heap, uint64_t index)
{
	char *address = dm_private_address(heap, index);

	atomic_store(&heap->table[index].touched, true);
	/* The child must not come by a mapping that can be written: it maps the extent for itself in move_copies_in(). */
	(void)madvise(address, DM_PRIVATE_EXTENT_BYTES, MADV_DONTFORK);
	return mprotect(address, DM_PRIVATE_EXTENT_BYTES, PROT_READ | PROT_WRITE) == 0;
}

static bool wait_for_the_fork(struct dm_private *heap, uint64_t index, uint32_t seen)
{
	const struct timespec round = {.tv_nsec = WAIT_ROUND_NS};
	uint32_t rounds = 0;

	while (atomic_load(&generation) == seen) {
		syscall(SYS_futex, &generation, FUTEX_WAIT_PRIVATE, seen, &round, NULL, 0);
		if (atomic_load(&copied) && rounds++ == WAIT_ROUNDS_MAX)
			return let_through(heap, index);
	}
	return true;
}

/* In a raw clone, at its first touch of an extent. */
static bool copy_late(struct dm_private *heap, uint64_t index)
{
	const uint64_t bytes = DM_PRIVATE_EXTENT_BYTES;
	char *copy;

	if (heap->inherited)
		return false;
	copy = dm_private_local_map(bytes);
	if (!copy)
		return false;
	if (copy_again(heap, index, copy) &&
	    mremap(copy, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, dm_private_address(heap, index)) != MAP_FAILED)
		return true;
	dm_private_local_unmap(copy, bytes);
	return false;
}

static bool on_fault(void *context, int signal_number, const siginfo_t *info, uintptr_t address)
{
	struct dm_private *heap = context;
	const uint64_t index = dm_private_index(heap, (void *)address);
	const uint32_t seen = atomic_load(&generation);

	if (signal_number != SIGSEGV || !is_settled(heap, index))
		return false;
	if (!dm_private_is_here(heap)) {
		if (!heap->copies_ready)
			return info->si_code == SEGV_MAPERR && copy_late(heap, index);
		move_copies_in(heap);
		return true;
	}
	if (seen & 1)
		return dm_private_is_forker() ? let_through(heap, index) : wait_for_the_fork(heap, index, seen);
	/* The fork may have ended between the fault and here; but a page that the program itself protected is not ours. */
	if (retried_address == address && retried_generation == seen)
		return false;
	retried_address = address;
	retried_generation = seen;
	return true;
}

int dm_private_register(struct dm_private *heap)
{
	int code = -ENOSPC;
	uint32_t i;

	dm_private_lock(&registry_lock);
	for (i = 0; i < HEAPS_MAX && atomic_load(&heaps[i]); i++)
		;
	if (i == HEAPS_MAX) {
		code = dm_fail(code, "this process has %u private heaps already", HEAPS_MAX);
		goto out_unlock;
	}
	code = dm_memfault_register(heap->base, heap->extents * DM_PRIVATE_EXTENT_BYTES, on_fault, heap);
	if (code)
		goto out_unlock;
	atomic_store_explicit(&heaps[i], heap, memory_order_release);
	if (i >= atomic_load(&heaps_end))
		atomic_store_explicit(&heaps_end, i + 1, memory_order_release);
out_unlock:
	dm_private_unlock(&registry_lock);
	return code;
}

void dm_private_unregister(struct dm_private *heap)
{
	dm_private_lock(&registry_lock);
	for (uint32_t i = 0; i < HEAPS_MAX; i++)
		if (atomic_load(&heaps[i]) == heap)
			atomic_store(&heaps[i], NULL);
	dm_private_unlock(&registry_lock);
	dm_memfault_unregister(heap->base, on_fault);
}

/* Handlers that are registered first run last before a fork and first after it. */
__attribute__((constructor)) static void register_handlers(void)
{
	(void)pthread_atfork(dm_private_fork_prepare, dm_private_fork_parent, dm_private_fork_child);
}
