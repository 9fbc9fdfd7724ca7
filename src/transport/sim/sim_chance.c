/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_chance.c: lines that move by themselves, as a cache evicts and fetches when it likes.
 *
 * Every DMEM_SIM_RATE-th data operation, on average, some dirty lines are written back and some clean ones read again, in one
 * page: that of a line which an operation was about lately, or any page of the file that has data.  The random numbers
 * are each thread's own, from DMEM_SIM_SEED and the order in which threads came here: a program of one thread does the same
 * again with the same seed, whatever its agents do meanwhile.
 *
 * The other threads of the member are stopped meanwhile, so that no store is between the look at a line and its copy.  The
 * lock is held; a stopped thread never holds it.
 *
 * Source of the generator: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"
#include "base/stop.h"
#include "transport/sim/sim_device.h"

#define SEED_DEFAULT 1
#define RATE_DEFAULT 64

static _Atomic uint64_t threads_seen;

static _Thread_local struct {
	uint64_t state;
	uint64_t seed; /* what `state` was made of */
	uint64_t left; /* operations until the next disturbance */
	bool begun;
} chance;

static uint64_t next_random(void)
{
	uint64_t mixed = chance.state += UINT64_C(0x9e3779b97f4a7c15);

	mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ mixed >> 31;
}

static int read_number(const char *name, uint64_t otherwise, uint64_t *number)
{
	const char *text = getenv(name);
	char *end;

	*number = otherwise;
	if (text == NULL || text[0] == '\0')
		return 0;
	errno = 0;
	*number = strtoull(text, &end, 0);
	if (errno != 0 || *end != '\0' || text[0] == '-')
		return dm_fail(DMEM_E_OPTION, "%s is \"%.40s\": write a number from 0 to 2^64 - 1", name, text);
	return 0;
}

int dm_sim_chance_init(struct dm_sim *sim)
{
	int rc = read_number("DMEM_SIM_SEED", SEED_DEFAULT, &sim->seed);

	return rc ? rc : read_number("DMEM_SIM_RATE", RATE_DEFAULT, &sim->rate);
}

void dm_sim_chance_note(struct dm_sim *sim, uint64_t line)
{
	sim->recent[sim->recent_next++ % DM_SIM_RECENT] = line + 1;
}

/* From 1 to 2 * rate - 1: `rate` on average. */
static uint64_t draw_distance(uint64_t rate)
{
	uint64_t width = rate < UINT32_MAX ? 2 * rate - 1 : UINT32_MAX;

	return 1 + next_random() % width;
}

static bool is_time(const struct dm_sim *sim)
{
	if (sim->rate == 0)
		return false;
	if (!chance.begun)
		dm_stop_take_part();
	if (!chance.begun || chance.seed != sim->seed) {
		chance.begun = true;
		chance.seed = sim->seed;
		chance.state = sim->seed ^ atomic_fetch_add(&threads_seen, 1) * UINT64_C(0xd1342543de82ef95);
		chance.left = draw_distance(sim->rate);
	}
	if (--chance.left > 0)
		return false;
	chance.left = draw_distance(sim->rate);
	return true;
}

/* A page with data; false when there is none. */
static bool choose_page(const struct dm_sim *sim, uint64_t *page)
{
	uint64_t recent = sim->recent[next_random() % DM_SIM_RECENT];
	uint64_t any = next_random() % (DM_SIM_BYTES_MAX / DM_SIM_PAGE_BYTES) * DM_SIM_PAGE_BYTES;
	uint64_t end;

	if (next_random() % 4 != 0 && recent != 0) {
		uint64_t start = dm_align_down(recent - 1, DM_SIM_PAGE_BYTES);

		return dm_sim_next_data(sim, start, start + DM_SIM_PAGE_BYTES, page, &end) && *page == start;
	}
	if (any >= dm_device_bytes(&sim->device))
		any %= dm_device_bytes(&sim->device);
	return dm_sim_next_data(sim, any, dm_device_bytes(&sim->device), page, &end) ||
	       dm_sim_next_data(sim, 0, dm_device_bytes(&sim->device), page, &end);
}

static bool differs(const struct dm_sim *sim, const struct dm_sim_view *view, uint64_t line)
{
	return memcmp(view->own + (line - view->offset), sim->shared + line, DM_SIM_LINE_BYTES) != 0;
}

static void disturb_line(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line)
{
	bool dirty = dm_sim_line_dirty(view, line);

	if (dm_sim_line_atomic(sim, line) || (!dirty && !differs(sim, view, line)))
		return;
	if (next_random() & 1)
		return;
	if (dirty) {
		dm_sim_line_out(sim, view, line);
		atomic_fetch_add(&dm_sim_tally.written_back, 1);
	} else {
		dm_sim_line_in(sim, view, line);
		atomic_fetch_add(&dm_sim_tally.read_again, 1);
	}
}

void dm_sim_disturb(struct dm_sim *sim)
{
	uint64_t page;

	if (!is_time(sim) || !choose_page(sim, &page))
		return;
	if (dm_stop_others() != 0) {
		atomic_fetch_add(&dm_sim_tally.stops_failed, 1);
		return;
	}
	atomic_fetch_add(&dm_sim_tally.disturbances, 1);
	for (uint32_t i = 0; i < sim->view_count; i++) {
		struct dm_sim_view *view = &sim->views[i];

		if (page - view->offset >= view->bytes)
			continue;
		for (uint64_t line = page; line < page + DM_SIM_PAGE_BYTES; line += DM_SIM_LINE_BYTES)
			disturb_line(sim, view, line);
	}
	dm_stop_release();
}
