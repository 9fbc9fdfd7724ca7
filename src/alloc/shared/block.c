/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.c: taking and giving one block.
 *
 * Taking: the thread's slab of the class, the next free bit, one store that clears it.  That store commits; a death after
 * it loses this block and nothing else.
 * Giving: by the slab's own thread one store that sets the free bit; by anybody else one CAS that sets the freed bit,
 * then the hint for the owner.
 *
 * Guarantees.
 *  A. A block is handed out to one caller at a time: only the slab's owner clears free bits, and it is one thread.
 *  B. A pointer that is not the start of a live block is refused: its extent and slab descriptors, the class's bounds, the
 *     free bit and the freed bit say so.  (Two threads that free one block in the same instant may both be let through to
 *     the CAS, which lets one pass; against the owner's own free in the same instant this is best effort.)
 *  C. Nothing read from the pool is used as an index before it is compared with local knowledge or its bounds.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "alloc/shared/fast.h"
#include "alloc/shared/heap.h"
#include "alloc/shared/shared.h"
#include "base/error.h"
#include "base/fault.h"

#define FULL_SLABS_LOOKED_AT 16u /* for pending frees, before new memory is asked for */
#define ORPHANS_TRIED        4u
#define LEASES_TRIED         4096u

/*
 * Outside coherent pools nobody keeps lines of a block over its change of hands: a dirty one would be written back over what
 * the next user stores, and a stale one would look like a store of ours.  Who gives a block drops them, and who takes one.
 */
static inline int forget_block(struct dm_shared *shared, const void *block, uint64_t bytes)
{
	return __builtin_expect(shared->window->coherent, 1) ? 0 : dm_window_refresh(shared->window, block, bytes);
}

/* --- taking --- */

/* The next free block of a slab that the calling thread owns; NULL when it has none. */
static inline void *take_block(struct dm_shared *shared, struct dm_slab *slab)
{
	uint32_t word = slab->cursor;
	uint64_t bits;
	void *block;

	if (slab->free_count == 0)
		return NULL;
	for (uint32_t tried = 0; (bits = slab->bits[word]) == 0; tried++) {
		if (tried == slab->bit_words) { /* the count was wrong: somebody wrote into our metadata */
			slab->free_count = 0;
			return NULL;
		}
		word = word + 1 == slab->bit_words ? 0 : word + 1;
	}
	slab->cursor = word;
	block = dm_slab_take_bit(slab, word, bits);
	if (block == NULL) {
		slab->free_count = 0;
		return NULL;
	}
	if (dm_window_publish(shared->window, &slab->bits[word], sizeof(bits)) != 0)
		return NULL;
	DM_CRASH_POINT(BLOCK_TAKEN);
	return block;
}

static bool has_pending(struct dm_shared *shared, const struct dm_slab *slab)
{
	uint64_t hint;

	return dm_word_load(shared->window, slab->pending, &hint) == 0 && (hint >> slab->unit & 1);
}

/* Look through the full slabs of a bin, the oldest first, for one that others freed blocks of; `all`: all of them, without
 * asking the hint.  Those without frees go to the queue's end, so that every one has its turn. */
static struct dm_slab *collect_full(struct dm_shared *shared, struct dm_bin *bin, bool all)
{
	struct dm_slab *last = bin->full_last;
	struct dm_slab *slab = NULL;

	for (unsigned looked_at = 0; slab != last && (all || looked_at < FULL_SLABS_LOOKED_AT); looked_at++) {
		slab = bin->full;
		dm_full_remove(bin, slab);
		if ((all || has_pending(shared, slab)) && dm_slab_collect(shared, slab) > 0)
			return slab;
		dm_full_push(bin, slab);
	}
	return NULL;
}

/* A slab of the class that a thread of this process left behind. */
static struct dm_slab *adopt_abandoned(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index)
{
	struct dm_slab **list = &shared->abandoned[class_index];
	unsigned looked_at = 0;
	struct dm_slab *next;

	for (struct dm_slab *slab = *list; slab != NULL && looked_at < FULL_SLABS_LOOKED_AT; slab = next, looked_at++) {
		next = slab->next;
		if (slab->free_count == 0 && has_pending(shared, slab))
			(void)dm_slab_collect(shared, slab);
		if (slab->free_count == 0)
			continue;
		dm_list_remove(list, slab);
		dm_slab_set_heap(shared, slab, heap);
		return slab;
	}
	return NULL;
}

static struct dm_slab *find_or_make_slab(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index)
{
	struct dm_bin *bin = &heap->bins[class_index];
	struct dm_slab *slab = NULL;

	pthread_mutex_lock(&shared->lock);
	for (unsigned tried = 0; slab == NULL && tried < LEASES_TRIED; tried++) {
		slab = adopt_abandoned(shared, heap, class_index);
		if (slab == NULL)
			slab = dm_slab_create(shared, heap, class_index);
		if (slab != NULL || (errno == ENOENT && dm_chunk_lease_any(shared, tried < ORPHANS_TRIED) != NULL))
			continue;
		if (dm_chunk_lease_with_space(shared) == NULL)
			break;
	}
	pthread_mutex_unlock(&shared->lock);
	if (slab == NULL)
		slab = collect_full(shared, bin, true);
	return slab;
}

/* The current slab has no free block (left): collect, or make the next one current. */
static struct dm_slab *next_slab(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index)
{
	struct dm_bin *bin = &heap->bins[class_index];
	struct dm_slab *slab = bin->current;

	if (slab != NULL && has_pending(shared, slab) && dm_slab_collect(shared, slab) > 0)
		return slab;
	if (slab != NULL)
		dm_full_push(bin, slab);
	bin->current = NULL;
	slab = bin->partial;
	if (slab != NULL) {
		bin->spare -= slab->free_count == slab->blocks;
		dm_list_remove(&bin->partial, slab);
	}
	if (slab == NULL)
		slab = collect_full(shared, bin, false);
	if (slab == NULL)
		slab = find_or_make_slab(shared, heap, class_index);
	if (slab == NULL)
		return NULL;
	slab->list = DM_LIST_CURRENT;
	bin->current = slab;
	return slab;
}

static void *alloc_slow(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index)
{
	struct dm_slab *slab = next_slab(shared, heap, class_index);

	return slab == NULL ? NULL : take_block(shared, slab);
}

struct dm_slab *dm_block_slab(struct dm_shared *shared, struct dm_heap *heap, uint32_t class_index)
{
	struct dm_slab *slab = heap->bins[class_index].current;

	return slab != NULL && slab->free_count > 0 ? slab : next_slab(shared, heap, class_index);
}

void *dm_block_take(struct dm_shared *shared, struct dm_slab *slab)
{
	return take_block(shared, slab);
}

static void *alloc_run(struct dm_shared *shared, uint64_t bytes, uint64_t alignment, bool *fresh)
{
	uint64_t count = dm_divide_up(bytes, DM_EXTENT_BYTES);
	uint64_t align_extents = alignment <= DM_EXTENT_BYTES ? 1 : alignment >> DM_EXTENT_SHIFT;
	struct dm_extent *head;

	pthread_mutex_lock(&shared->lock);
	head = dm_run_take(shared, count, align_extents, DM_EXTENT_RUN, fresh);
	pthread_mutex_unlock(&shared->lock);
	return head == NULL ? NULL : dm_window_at(shared->window, head->index << DM_EXTENT_SHIFT);
}

/* A block that was taken, as the caller gets it.  Zeros are published, so that atomic operations find them too. */
static inline void *hand_out(struct dm_shared *shared, void *block, uint64_t block_bytes, uint64_t zeroed_bytes)
{
	int rc = block == NULL ? -ENOMEM : forget_block(shared, block, block_bytes);

	if (rc == 0 && zeroed_bytes > 0) {
		memset(block, 0, zeroed_bytes);
		rc = dm_window_publish(shared->window, block, zeroed_bytes);
	}
	if (rc == 0)
		return block;
	errno = dm_error_errno(rc);
	return NULL;
}

void *dm_shared_alloc(struct dm_shared *shared, uint64_t bytes, uint64_t alignment, bool zeroed)
{
	uint32_t class_index = dm_class_for(&shared->classes, bytes, alignment);
	struct dm_heap *heap;
	struct dm_slab *slab;
	void *block = NULL;
	bool fresh = false;

	if (class_index == DM_CLASS_NONE) {
		if (bytes > shared->window->span_bytes) { /* also keeps the arithmetic below from overflowing */
			errno = ENOMEM;
			return NULL;
		}
		block = alloc_run(shared, bytes, alignment, &fresh);
		return block == NULL ? NULL : hand_out(shared, block, bytes, zeroed && !fresh ? bytes : 0);
	}
	heap = dm_heap_get(shared);
	if (heap == NULL)
		return NULL;
	slab = heap->bins[class_index].current;
	if (__builtin_expect(slab != NULL, 1))
		block = take_block(shared, slab);
	if (__builtin_expect(block == NULL, 0))
		block = alloc_slow(shared, heap, class_index);
	return hand_out(shared, block, shared->classes.classes[class_index].block_bytes, zeroed ? bytes : 0);
}

/* --- giving --- */

int dm_block_refuse(struct dm_shared *shared, int code, const void *block, const char *what)
{
	atomic_fetch_add_explicit(&shared->bad_frees, 1, memory_order_relaxed);
	return dm_fail(code, "free of %p: %s; nothing was changed: look for who frees it wrongly", block, what);
}

static int refuse_double(struct dm_shared *shared, const void *block)
{
	return dm_block_refuse(shared, DMEM_E_DOUBLE_FREE, block, "the block is free already");
}

static inline bool freed_is_set(struct dm_shared *shared, const uint64_t *freed, uint32_t block)
{
	uint64_t word;

	return dm_word_load(shared->window, &freed[block / DM_FREED_BITS], &word) == 0 &&
	       (word >> block % DM_FREED_BITS & 1);
}

/* A slab that has only free blocks goes back, but for one a class. */
static void settle_after_free(struct dm_shared *shared, struct dm_heap *heap, struct dm_slab *slab)
{
	struct dm_bin *bin = &heap->bins[slab->class_index];

	if (slab->list == DM_LIST_FULL) {
		dm_full_remove(bin, slab);
		dm_list_push(&bin->partial, slab, DM_LIST_PARTIAL);
	}
	if (slab->list != DM_LIST_PARTIAL || slab->free_count != slab->blocks)
		return;
	if (bin->spare == 0) {
		bin->spare = 1;
		return;
	}
	dm_list_remove(&bin->partial, slab);
	pthread_mutex_lock(&shared->lock);
	dm_slab_destroy(shared, slab);
	pthread_mutex_unlock(&shared->lock);
}

static int free_own(struct dm_shared *shared, struct dm_heap *heap, struct dm_slab *slab, uint32_t block,
                    const void *address)
{
	uint64_t *word = &slab->bits[block / 64];
	uint64_t bit = UINT64_C(1) << block % 64;
	uint64_t bits = *word;

	/* whoever sets a freed bit has set the hint before */
	if ((bits & bit) || (has_pending(shared, slab) && freed_is_set(shared, slab->freed, block)))
		return refuse_double(shared, address);
	if (forget_block(shared, address, slab->block_bytes) != 0)
		return dm_fail(-EIO, "the free of %p could not be carried out", address);
	__atomic_store_n(word, bits | bit, __ATOMIC_RELEASE);
	slab->free_count++;
	if (dm_window_publish(shared->window, word, sizeof(*word)) != 0)
		return dm_fail(-EIO, "the free of %p could not be published", address);
	if (slab->list == DM_LIST_FULL || slab->free_count == slab->blocks)
		settle_after_free(shared, heap, slab);
	return 0;
}

/* Tell the owner of the slab that it has something to collect.  Before the freed bit, because the owner looks at the bit only
 * then; and after it, because the owner may have cleared the hint meanwhile. */
int dm_block_hint(struct dm_shared *shared, uint64_t *pending, uint32_t unit)
{
	uint64_t bit = UINT64_C(1) << unit;
	uint64_t old;
	int rc = dm_word_load(shared->window, pending, &old);

	while (rc == 0 && !(old & bit)) {
		uint64_t seen;

		rc = dm_word_cas(shared->window, pending, old, old | bit, &seen);
		if (seen == old)
			break;
		old = seen;
	}
	return rc;
}

static int free_foreign(struct dm_shared *shared, const uint64_t *bits, uint64_t *freed, uint64_t *pending,
                        uint32_t unit, uint32_t block, const void *address, uint64_t block_bytes)
{
	uint64_t extent = dm_window_offset(shared->window, address) >> DM_EXTENT_SHIFT;
	struct dm_heap *heap = dm_heap_get(shared);
	uint64_t free_bits;
	int rc;

	if (heap == NULL)
		return dm_fail(-ENOMEM, "free of %p: this thread can have no heap: end some threads", address);
	rc = dm_shared_refresh(shared, extent, &bits[block / 64], sizeof(uint64_t));
	if (rc)
		return rc;
	free_bits = __atomic_load_n(&bits[block / 64], __ATOMIC_ACQUIRE);
	if (free_bits >> block % 64 & 1)
		return refuse_double(shared, address);
	if (!shared->window->coherent && freed_is_set(shared, freed, block)) /* then the lines are not ours to drop */
		return refuse_double(shared, address);
	rc = forget_block(shared, address, block_bytes);
	if (rc)
		return rc;
	rc = dm_block_hint(shared, pending, unit);
	if (rc)
		return rc;
	rc = dm_tag_set(shared, &freed[block / DM_FREED_BITS], UINT32_C(1) << block % DM_FREED_BITS, heap->id,
	                dm_heap_next_version(heap));
	if (rc == -EALREADY)
		return refuse_double(shared, address);
	DM_CRASH_POINT(BLOCK_FREED_FOREIGN);
	return rc ? rc : dm_block_hint(shared, pending, unit);
}

/* Was the run given up, and not yet collected? */
static bool run_is_freed(struct dm_shared *shared, const struct dm_place *place)
{
	uint32_t per_chunk = shared->geometry.chunk_extents;
	uint64_t word;

	return dm_word_load(
			   shared->window,
			   &dm_geometry_chunk_atomic(shared->window, &shared->geometry, place->segment, place->extent / per_chunk)
					->freed,
			   &word) != 0 ||
	       (word >> place->extent % per_chunk & 1);
}

static int free_run(struct dm_shared *shared, const struct dm_place *place, const void *address)
{
	struct dm_extent *ours;
	struct dm_heap *heap;
	uint64_t in_chunk = place->extent % shared->geometry.chunk_extents;
	struct dm_chunk_atomic_pm *atomic;
	int rc = 0;

	if (place->kind == DM_EXTENT_PRIVATE)
		return dm_block_refuse(shared, DMEM_E_FOREIGN, address, "it is private memory of another member");
	if (!shared->window->coherent && run_is_freed(shared, place)) /* then the lines are not ours to drop */
		return refuse_double(shared, address);
	rc = forget_block(shared, address, place->run_extents << DM_EXTENT_SHIFT);
	if (rc)
		return rc;
	pthread_mutex_lock(&shared->lock);
	ours = dm_extent_ours(shared, place->index);
	if (ours != NULL && ours->kind == DM_EXTENT_RUN)
		rc = dm_run_free(shared, ours);
	else if (ours != NULL)
		rc = -EALREADY;
	pthread_mutex_unlock(&shared->lock);
	if (ours != NULL)
		return rc == -EALREADY ? refuse_double(shared, address) : rc;
	heap = dm_heap_get(shared);
	if (heap == NULL)
		return dm_fail(-ENOMEM, "free of %p: this thread can have no heap: end some threads", address);
	atomic = dm_geometry_chunk_atomic(shared->window, &shared->geometry, place->segment,
	                                  place->extent / shared->geometry.chunk_extents);
	rc = dm_tag_set(shared, &atomic->freed, UINT32_C(1) << in_chunk, heap->id, dm_heap_next_version(heap));
	return rc == -EALREADY ? refuse_double(shared, address) : rc;
}

static int free_by_place(struct dm_shared *shared, uint64_t offset, const void *address)
{
	struct dm_slab_pm *header;
	struct dm_place place;
	int rc = dm_place_find(shared, offset, &place);

	if (rc == -ENOENT && dm_place_inside_run(shared, offset))
		return dm_block_refuse(shared, DMEM_E_INTERIOR, address, "it points into a block, not to its start");
	if (rc == -ENOENT)
		return refuse_double(shared, address);
	if (rc)
		return dm_block_refuse(shared, rc, address, "the pool's metadata there can't be used");
	if (!place.aligned)
		return dm_block_refuse(shared, DMEM_E_INTERIOR, address, "it points into a block, not to its start");
	if (place.kind != DM_EXTENT_SLABS)
		return free_run(shared, &place, address);
	header = dm_geometry_slab(shared->window, &shared->geometry, place.segment, place.extent, place.unit);
	return free_foreign(
		shared, dm_slab_bits(header),
		dm_geometry_freed(shared->window, &shared->geometry, place.segment, place.extent, place.unit),
		&dm_geometry_extent_atomic(shared->window, &shared->geometry, place.segment, place.extent)->pending, place.unit,
		place.block, address, shared->classes.classes[place.class_index].block_bytes);
}

int dm_shared_free(struct dm_shared *shared, void *address)
{
	uint64_t offset = dm_window_offset(shared->window, address);
	struct dm_slab *slab = dm_slab_at(shared, offset);
	struct dm_heap *heap;
	uint32_t block;

	if (slab == NULL)
		return free_by_place(shared, offset, address);
	if (!dm_slab_block(slab, offset - slab->offset, &block))
		return dm_block_refuse(shared, DMEM_E_INTERIOR, address, "it points into a block, not to its start");
	heap = atomic_load_explicit(&slab->heap, memory_order_acquire);
	if (heap != NULL && heap == dm_heap_mine(shared))
		return free_own(shared, heap, slab, block, address);
	return free_foreign(shared, slab->bits, slab->freed, slab->pending, slab->unit, block, address, slab->block_bytes);
}

/* Is the block in use, as far as can be told from here? */
static bool is_live(struct dm_shared *shared, uint64_t extent, const uint64_t *bits, const uint64_t *freed,
                    uint32_t block)
{
	return dm_shared_refresh(shared, extent, &bits[block / 64], sizeof(uint64_t)) == 0 &&
	       !(__atomic_load_n(&bits[block / 64], __ATOMIC_ACQUIRE) >> block % 64 & 1) &&
	       !freed_is_set(shared, freed, block);
}

static size_t usable_by_place(struct dm_shared *shared, uint64_t offset)
{
	struct dm_slab_pm *header;
	struct dm_place place;
	uint64_t *freed;

	if (dm_place_find(shared, offset, &place) != 0 || !place.aligned)
		return 0;
	if (place.kind != DM_EXTENT_SLABS)
		return run_is_freed(shared, &place) ? 0 : place.run_extents << DM_EXTENT_SHIFT;
	header = dm_geometry_slab(shared->window, &shared->geometry, place.segment, place.extent, place.unit);
	freed = dm_geometry_freed(shared->window, &shared->geometry, place.segment, place.extent, place.unit);
	if (!is_live(shared, place.index, dm_slab_bits(header), freed, place.block))
		return 0;
	return shared->classes.classes[place.class_index].block_bytes;
}

size_t dm_shared_usable(struct dm_shared *shared, const void *address)
{
	uint64_t offset = dm_window_offset(shared->window, address);
	struct dm_slab *slab = dm_slab_at(shared, offset);
	uint32_t block;

	if (slab == NULL)
		return usable_by_place(shared, offset);
	if (!dm_slab_block(slab, offset - slab->offset, &block) ||
	    !is_live(shared, offset >> DM_EXTENT_SHIFT, slab->bits, slab->freed, block))
		return 0;
	return slab->block_bytes;
}
