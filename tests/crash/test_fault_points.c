/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fault_points.c: a death at every passage of every fault point, and what survives it (crash.h).
 *
 * Each life is run once to the end, which counts its passages; then again and again, killed at the first passages of each
 * point and at the last one.  A member that was attached before the death, or one that attaches after it, must find nothing
 * damaged and at most one block a thread lost.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/crash.h"
#include "lib/scratch.h"

/* Points of test_delegate.c. */
#define DELEGATE_POINT(point) ((point) >= DM_FAULT_DESK_WANTED && (point) <= DM_FAULT_DELEGATE_REPLIED)
/* Points of test_sync.c. */
#define SYNC_POINT(point) ((point) >= DM_FAULT_WAIT_BELL_SET && (point) <= DM_FAULT_MUTEX_POKED)
#define CREATION_POINT(point) ((point) == DM_FAULT_CREATE_REGISTERED || (point) == DM_FAULT_CREATE_FORMATTED)

/* How many of the first passages of a point are tried in each life. */
static unsigned long passages_tried(void)
{
	return getenv("DMEM_TEST_FULL") != NULL ? 1000 : 3;
}

/* One run: the life with a death at the n-th passage of a point (0: without), then the survivor's check.  Gives how the
 * victim ended. */
static int run_life(struct crash *c, const struct crash_case *life, enum dm_fault_id point, unsigned long passage)
{
	pid_t partner = 0;
	int ended;

	crash_new_pool(c);
	if (life->before != NULL)
		(void)crash_wait(crash_fork(c, CRASH_EARLIER, life->before));
	if (life->with_partner)
		partner = crash_fork_partner(c);
	if (passage == 0)
		ended = crash_wait(crash_fork(c, CRASH_VICTIM, life->life));
	else
		ended = crash_wait(crash_fork_armed(c, life->life, point, (unsigned)passage));
	if (partner != 0) {
		(void)crash_ask(c, CRASH_REQUEST_CHECK, 0);
		if (crash_wait(partner) != 0)
			crash_fail(c, "the partner failed");
	} else if (crash_wait(crash_fork(c, CRASH_HEIR, crash_check)) != 0) {
		crash_fail(c, "the heir failed");
	}
	crash_remove_pool(c);
	return ended;
}

static void kill_at_passages(struct crash *c, const struct crash_case *life, enum dm_fault_id point, unsigned long passages)
{
	unsigned long first = passages_tried();

	for (unsigned long passage = 1; passage <= passages; passage++) {
		int ended;

		if (passage > first && passage < passages)
			passage = passages;
		ended = run_life(c, life, point, passage);
		cr_expect(eq(str, c->failure, ""), "%s, killed at passage %lu of %lu of %s", life->name, passage, passages,
		          dm_fault_name(point));
		/* how often an agent passes a point depends on the clock; who the arbiter is, and whom it serves, on others */
		cr_expect(ended == -SIGKILL || ((passage > 1 || DELEGATE_POINT(point)) && ended == 0),
		          "%s ended with %d at passage %lu of %lu of %s", life->name, ended, passage, passages, dm_fault_name(point));
	}
}

ParameterizedTestParameters(crash, a_death_at_any_point_of_a_life_is_survived)
{
	static unsigned indexes[32];

	for (unsigned i = 0; i < crash_case_count; i++)
		indexes[i] = i;
	return cr_make_param_array(unsigned, indexes, crash_case_count);
}

ParameterizedTest(const unsigned *index, crash, a_death_at_any_point_of_a_life_is_survived)
{
	const struct crash_case *life = &crash_cases[*index];
	unsigned long passages[DM_FAULT_COUNT];
	struct crash *c = crash_begin();

	cr_assert(eq(int, run_life(c, life, DM_FAULT_COUNT, 0), 0), "%s: %s", life->name, c->failure);
	cr_assert(eq(str, c->failure, ""), "%s", life->name);
	memcpy(passages, c->passages, sizeof(passages));
	for (int point = 0; point < DM_FAULT_COUNT; point++)
		kill_at_passages(c, life, (enum dm_fault_id)point, passages[point]);
	crash_end(c);
}

Test(crash, every_fault_point_is_passed_by_some_life)
{
	unsigned long passages[DM_FAULT_COUNT] = {0};
	struct crash *c = crash_begin();

	for (unsigned i = 0; i < crash_case_count; i++) {
		cr_expect(eq(int, run_life(c, &crash_cases[i], DM_FAULT_COUNT, 0), 0), "%s: %s", crash_cases[i].name, c->failure);
		for (int point = 0; point < DM_FAULT_COUNT; point++)
			passages[point] += c->passages[point];
	}
	for (int point = 0; point < DM_FAULT_COUNT; point++)
		cr_expect(passages[point] > 0 || CREATION_POINT(point) || DELEGATE_POINT(point) || SYNC_POINT(point),
		          "no life passes %s", dm_fault_name((enum dm_fault_id)point));
	crash_end(c);
}

/* --- deaths of who repairs --- */

/* Members, in the order of their slots: the partner, who repairs and dies of it; the victim; the heir, if it is there before. */
static int run_repair(struct crash *c, bool heir_is_there, enum dm_fault_id point, unsigned long passage)
{
	pid_t partner, victim, heir = 0;
	int ended;

	crash_new_pool(c);
	partner = crash_fork_partner(c);
	victim = crash_fork(c, CRASH_VICTIM, crash_live_of_everything);
	while (sem_wait(&c->victim_waits) != 0)
		continue;
	c->bystanders = heir_is_there;
	if (heir_is_there)
		heir = crash_fork_heir_that_waits(c);
	(void)kill(victim, SIGSTOP);
	(void)waitpid(victim, NULL, WUNTRACED);
	c->partner.point = point;
	c->partner.countdown = (unsigned)passage;
	(void)crash_ask(c, CRASH_REQUEST_ARM, 0);
	(void)kill(victim, SIGKILL);
	(void)crash_wait(victim);
	ended = crash_wait(partner);
	if (heir_is_there)
		sem_post(&c->heir_goes);
	else
		heir = crash_fork(c, CRASH_HEIR, crash_check);
	if (crash_wait(heir) != 0)
		crash_fail(c, "the heir failed");
	crash_remove_pool(c);
	return ended;
}

static void die_while_repairing(bool heir_is_there)
{
	unsigned long passages[DM_FAULT_COUNT];
	unsigned long first = passages_tried();
	struct crash *c = crash_begin();

	cr_assert(eq(int, run_repair(c, heir_is_there, DM_FAULT_COUNT, 0), 0), "%s", c->failure);
	cr_assert(eq(str, c->failure, ""));
	memcpy(passages, c->passages, sizeof(passages));
	cr_expect(passages[DM_FAULT_MEMBER_RECOVERING] > 0 && passages[DM_FAULT_PRIVATE_RECLAIMED] > 0 &&
	          passages[DM_FAULT_CHUNK_LEARNED] > 0 && passages[DM_FAULT_RUN_COLLECTING] > 0);
	for (int point = 0; point < DM_FAULT_COUNT; point++) {
		for (unsigned long passage = 1; passage <= passages[point]; passage++) {
			int ended;

			if (passage > first && passage < passages[point])
				passage = passages[point];
			ended = run_repair(c, heir_is_there, (enum dm_fault_id)point, passage);
			cr_expect(eq(str, c->failure, ""), "killed at passage %lu of %s while repairing", passage,
			          dm_fault_name((enum dm_fault_id)point));
			cr_expect(ended == -SIGKILL || ((passage > 1 || DELEGATE_POINT(point)) && ended == 0),
			          "passage %lu of %s: %d", passage,
			          dm_fault_name((enum dm_fault_id)point), ended);
		}
	}
	crash_end(c);
}

Test(crash, the_next_to_attach_takes_over_from_who_died_while_repairing)
{
	die_while_repairing(false);
}

Test(crash, a_live_member_takes_over_from_who_died_while_repairing)
{
	die_while_repairing(true);
}

/* --- creation --- */

static void create(struct crash *c)
{
	char uri[CRASH_PATH_BYTES + 128];

	snprintf(uri, sizeof(uri), "%s?size=1G&members=64&beat=10ms&lease=100ms%s", c->uri, scratch_mode_keys());
	if (dmem_pool_create(uri, NULL) != 0)
		crash_fail(c, "create: %s", dmem_last_error());
}

static void check_nothing_is_there(struct crash *c, const char *point)
{
	char pattern[CRASH_PATH_BYTES + 16];
	struct dmem_pool *pool = NULL;
	glob_t files;

	cr_expect(dmem_pool_attach(c->uri, NULL, &pool) < 0, "half a pool can be attached after %s", point);
	snprintf(pattern, sizeof(pattern), "%s*", c->path);
	crash_new_pool(c);
	cr_expect(eq(str, c->failure, ""), "after %s", point);
	cr_expect(zero(int, glob(pattern, 0, NULL, &files)));
	cr_expect(eq(sz, files.gl_pathc, 1), "files are left after %s", point);
	globfree(&files);
}

Test(crash, a_creator_that_dies_leaves_no_pool_and_is_cleared_away_by_the_next)
{
	static const enum dm_fault_id points[] = {DM_FAULT_CREATE_REGISTERED, DM_FAULT_CREATE_FORMATTED,
	                                          DM_FAULT_SUPERBLOCK_FIRST_COPY};
	struct crash *c = crash_begin();

	for (unsigned i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
		const char *name = dm_fault_name(points[i]);
		int ended = crash_wait(crash_fork_armed(c, create, points[i], 1));

		cr_expect(eq(int, ended, -SIGKILL), "%s", name);
		check_nothing_is_there(c, name);
		cr_expect(eq(int, crash_wait(crash_fork(c, CRASH_HEIR, crash_check)), 0), "after %s: %s", name, c->failure);
		crash_remove_pool(c);
		cr_expect(eq(str, c->failure, ""), "after %s", name);
	}
	crash_end(c);
}
