/* SPDX-License-Identifier: Apache-2.0 */
/* survey.h: what is really in a pool, for tests that have an account of their own to compare it with. */
#ifndef DM_TESTS_SURVEY_H
#define DM_TESTS_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include "dmem/pool.h"

struct survey {
	uint64_t blocks;          /* shared ones that are alive: in slabs, and runs */
	uint64_t private_extents;
	uint64_t extents;         /* that hold something */
};

/* 0, or why the pool can't be walked. */
int survey_count(struct dmem_pool *pool, struct survey *survey);

/* Members of the pool, in whatever state; UINT32_MAX when they can't be listed. */
uint32_t survey_members(struct dmem_pool *pool);

/* Wait until there are at most `members` members; false when that takes longer than `seconds`. */
bool survey_wait_for_members(struct dmem_pool *pool, uint32_t members, unsigned seconds);

/* Lease every chunk that an earlier owner left, and take note of every free that waits in them.  False when one can't be had. */
bool survey_adopt_all(struct dmem_pool *pool);

#endif
