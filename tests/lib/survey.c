/* SPDX-License-Identifier: Apache-2.0 */
/* survey.c: see survey.h. */
#include "lib/survey.h"

#include "base/clock.h"
#include "inspect.h"
#include "pool.h"

static int count_class(void *context, const struct dm_inspect_class *class)
{
	((struct survey *)context)->blocks += class->blocks_live;
	return 0;
}

static int count_extent(void *context, const struct dm_inspect_extent *extent)
{
	struct survey *survey = context;

	survey->blocks += extent->kind == DM_KIND_RUN && extent->run_extents > 0;
	survey->private_extents += extent->kind == DM_KIND_PRIVATE;
	survey->extents += extent->kind == DM_KIND_RUN || extent->kind == DM_KIND_PRIVATE || extent->kind == DM_KIND_SLABS ||
	                   extent->kind == DM_KIND_QUARANTINED;
	return 0;
}

int survey_count(struct dmem_pool *pool, struct survey *survey)
{
	int rc;

	*survey = (struct survey){.blocks = 0};
	rc = dm_inspect_classes(pool, count_class, survey);
	return rc ? rc : dm_inspect_extents(pool, count_extent, survey);
}

static int count_member(void *context, const struct dm_inspect_member *member)
{
	(void)member;
	(*(uint32_t *)context)++;
	return 0;
}

uint32_t survey_members(struct dmem_pool *pool)
{
	uint32_t members = 0;

	return dm_inspect_members(pool, count_member, &members) == 0 ? members : UINT32_MAX;
}

bool survey_wait_for_members(struct dmem_pool *pool, uint32_t members, unsigned seconds)
{
	uint64_t deadline = dm_clock_now_ns() + seconds * DM_NS_PER_S;

	while (survey_members(pool) > members) {
		if (dm_clock_now_ns() >= deadline)
			return false;
		dm_clock_sleep_ns(DM_NS_PER_MS);
	}
	return true;
}

static bool adopt_in_segment(struct dm_shared *shared, const struct dm_segment *segment)
{
	uint64_t chunks = segment->data_extents / shared->geometry.chunk_extents;
	bool all = true;

	for (uint64_t at = 0; at < chunks; at++) {
		uint64_t *owner = &dm_geometry_chunk_atomic(shared->window, &shared->geometry, segment, at)->owner;
		uint64_t word;

		if (dm_word_load(shared->window, owner, &word) == 0 && dm_chunk_owner_state(word) == DM_CHUNK_ORPHAN)
			all = dm_chunk_lease(shared, segment, at) != NULL && all;
	}
	return all;
}

bool survey_adopt_all(struct dmem_pool *pool)
{
	struct dm_shared *shared = pool->shared;
	uint32_t segments = atomic_load(&shared->window->segment_count);
	bool all = true;

	pthread_mutex_lock(&shared->lock);
	for (uint32_t i = 0; i < segments; i++)
		all = adopt_in_segment(shared, &shared->window->segments[i]) && all;
	dm_run_collect_all(shared);
	pthread_mutex_unlock(&shared->lock);
	return all;
}
