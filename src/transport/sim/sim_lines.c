/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_lines.c: moving whole lines between a member's own copy and the shared file.
 *
 * Invariants
 *  - A line moves in eight stores of 8 bytes, so that no aligned word is ever seen torn.
 *  - `twin` gets what was moved, not what `own` holds by then: a store of another thread in between leaves the line dirty.
 *  - A line on which atomic operations were done is never written from `own`: that would put an old word over a new one.
 *    The mark goes when the line is refreshed or handed off, because its memory may then become something else.
 *
 * Source: the cache model of docs/memory-model.md; what publish and refresh stand for is CLWB and CLFLUSHOPT.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "base/fence.h"
#include "transport/sim/sim_device.h"

struct dm_sim_tally dm_sim_tally;

void dm_sim_count(struct dm_sim_counts *counts)
{
	*counts = (struct dm_sim_counts){
		.violations = atomic_load(&dm_sim_tally.violations),
		.disturbances = atomic_load(&dm_sim_tally.disturbances),
		.written_back = atomic_load(&dm_sim_tally.written_back),
		.read_again = atomic_load(&dm_sim_tally.read_again),
		.stops_failed = atomic_load(&dm_sim_tally.stops_failed),
	};
}

/* --- one line --- */

static inline uint64_t *words_of(char *start, uint64_t start_offset, uint64_t line)
{
	return (uint64_t *)(void *)(start + (line - start_offset));
}

static void move_line(uint64_t *to, const uint64_t *from, uint64_t *twin)
{
	for (unsigned i = 0; i < DM_SIM_LINE_WORDS; i++) {
		uint64_t word = __atomic_load_n(&from[i], __ATOMIC_RELAXED);

		__atomic_store_n(&to[i], word, __ATOMIC_RELAXED);
		twin[i] = word;
	}
}

void dm_sim_line_out(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line)
{
	move_line(words_of(sim->shared, 0, line), words_of(view->own, view->offset, line),
	          words_of(view->twin, view->offset, line));
}

void dm_sim_line_in(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line)
{
	move_line(words_of(view->own, view->offset, line), words_of(sim->shared, 0, line),
	          words_of(view->twin, view->offset, line));
}

bool dm_sim_line_dirty(const struct dm_sim_view *view, uint64_t line)
{
	return memcmp(view->own + (line - view->offset), view->twin + (line - view->offset), DM_SIM_LINE_BYTES) != 0;
}

bool dm_sim_line_atomic(const struct dm_sim *sim, uint64_t line)
{
	uint64_t number = line / DM_SIM_LINE_BYTES;

	return sim->atomic_lines[number / 64] >> number % 64 & 1;
}

void dm_sim_line_mark(struct dm_sim *sim, uint64_t line)
{
	uint64_t number = line / DM_SIM_LINE_BYTES;

	sim->atomic_lines[number / 64] |= UINT64_C(1) << number % 64;
}

static void unmark(struct dm_sim *sim, uint64_t line)
{
	uint64_t number = line / DM_SIM_LINE_BYTES;

	sim->atomic_lines[number / 64] &= ~(UINT64_C(1) << number % 64);
}

void dm_sim_violation(struct dm_sim *sim)
{
	atomic_fetch_add(&dm_sim_tally.violations, 1);
	sim->tell_violation = true;
}

/* --- the frame of every operation --- */

void dm_sim_enter(struct dm_sim *sim)
{
	dm_forklock_lock(&sim->lock);
	if (sim->pid != getpid())
		dm_sim_settle_child(sim);
	dm_sim_disturb(sim);
}

int dm_sim_leave(struct dm_sim *sim)
{
	bool tell = sim->tell_violation;

	sim->tell_violation = false;
	dm_forklock_unlock(&sim->lock);
	if (tell && !atomic_exchange(&sim->violation_told, true))
		dm_log(DMEM_LOG_ERROR,
		       "%s: a plain store went to a line that holds an atomic word; it is not published: keep atomic "
		       "words in lines of their own (memory model, clause A1; said once)",
		       sim->device.name);
	if (atomic_load_explicit(&sim->lost, memory_order_relaxed))
		return dm_fail(DMEM_E_LOST, "%s was truncated while in use: what lay behind is lost", sim->device.name);
	return 0;
}

struct dm_sim_view *dm_sim_find(struct dm_sim *sim, uint64_t offset, const void *address)
{
	for (uint32_t i = sim->view_count; i-- > 0;) {
		struct dm_sim_view *view = &sim->views[i];
		uint64_t delta = (uint64_t)((uintptr_t)address - (uintptr_t)view->own);

		if (delta < view->bytes && view->offset + delta == offset)
			return view;
	}
	return NULL;
}

int dm_sim_refuse_unmapped(struct dm_sim *sim, uint64_t offset, const void *address)
{
	return dm_fail(-EINVAL, "%s: offset %llu is not mapped at %p", sim->device.name, (unsigned long long)offset,
	               address);
}

/* --- ranges --- */

static void publish_line(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line)
{
	if (dm_sim_line_atomic(sim, line))
		dm_sim_violation(sim);
	else
		dm_sim_line_out(sim, view, line);
}

static void refresh_line(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line)
{
	unmark(sim, line);
	dm_sim_line_in(sim, view, line);
}

static void handoff_line(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line)
{
	publish_line(sim, view, line);
	refresh_line(sim, view, line);
}

/* Call `each` for every line that a mapped range touches. */
static int for_each_line(struct dm_sim *sim, uint64_t offset, char *address, size_t bytes,
                         void (*each)(struct dm_sim *, struct dm_sim_view *, uint64_t line))
{
	struct dm_sim_view *view = NULL;
	uint64_t line = dm_align_down(offset, DM_SIM_LINE_BYTES);

	address -= offset - line;
	dm_sim_chance_note(sim, line);
	for (; line < offset + bytes; line += DM_SIM_LINE_BYTES, address += DM_SIM_LINE_BYTES) {
		if (view == NULL || line - view->offset >= view->bytes)
			view = dm_sim_find(sim, line, address);
		if (view == NULL)
			return -EINVAL;
		each(sim, view, line);
	}
	return 0;
}

static int on_range(struct dm_device *device, uint64_t offset, void *address, size_t bytes,
                    void (*each)(struct dm_sim *, struct dm_sim_view *, uint64_t line))
{
	struct dm_sim *sim = dm_sim_of(device);
	int rc = 0;
	int lost;

	dm_sim_enter(sim);
	if (bytes > 0)
		rc = for_each_line(sim, offset, address, bytes, each);
	lost = dm_sim_leave(sim);
	return rc ? dm_sim_refuse_unmapped(sim, offset, address) : lost;
}

int dm_sim_publish(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	int rc;

	dm_fence_publish();
	rc = on_range(device, offset, address, bytes, publish_line);
	/* pairs with the one in dm_sim_refresh(): the lines are there before the store that tells of them */
	dm_fence_publish();
	return rc;
}

int dm_sim_refresh(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	int rc;

	/* As MFENCE: what was loaded before, a flag, came before these lines.  Pairs with dm_sim_publish(). */
	dm_fence_full();
	rc = on_range(device, offset, address, bytes, refresh_line);
	dm_fence_observe();
	return rc;
}

int dm_sim_handoff(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	int rc;

	dm_fence_publish();
	rc = on_range(device, offset, address, bytes, handoff_line);
	dm_fence_publish();
	return rc;
}

/* --- everything --- */

static void publish_view(struct dm_sim *sim, struct dm_sim_view *view)
{
	for (uint64_t page = 0; page < view->bytes; page += DM_SIM_PAGE_BYTES) {
		uint64_t first = view->offset + page;

		if (memcmp(view->own + page, view->twin + page, DM_SIM_PAGE_BYTES) == 0)
			continue;
		for (uint64_t line = first; line < first + DM_SIM_PAGE_BYTES; line += DM_SIM_LINE_BYTES)
			if (dm_sim_line_dirty(view, line))
				publish_line(sim, view, line);
	}
}

int dm_sim_publish_all(struct dm_device *device)
{
	struct dm_sim *sim = dm_sim_of(device);
	int rc;

	dm_fence_publish();
	dm_sim_enter(sim);
	for (uint32_t i = 0; i < sim->view_count; i++)
		publish_view(sim, &sim->views[i]);
	rc = dm_sim_leave(sim);
	dm_fence_publish();
	return rc;
}

static void refresh_view(struct dm_sim *sim, struct dm_sim_view *view)
{
	uint64_t end = view->offset + view->bytes;
	uint64_t data;
	uint64_t data_end;

	for (uint64_t at = view->offset; at < end; at = data_end) {
		if (!dm_sim_next_data(sim, at, end, &data, &data_end))
			data = data_end = end;
		dm_sim_forget_range(sim, at, data - at);
		for (uint64_t line = data; line < data_end; line += DM_SIM_LINE_BYTES)
			refresh_line(sim, view, line);
	}
}

int dm_sim_refresh_all(struct dm_device *device)
{
	struct dm_sim *sim = dm_sim_of(device);
	int rc;

	dm_fence_full();
	dm_sim_enter(sim);
	for (uint32_t i = 0; i < sim->view_count; i++)
		refresh_view(sim, &sim->views[i]);
	rc = dm_sim_leave(sim);
	dm_fence_observe();
	return rc;
}
