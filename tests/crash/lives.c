/* SPDX-License-Identifier: Apache-2.0 */
/* lives.c: what the victims do (crash.h).  Together they pass every fault point, but for those of a pool's creation. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "crash/crash.h"

#define SMALL  64u
#define MEDIUM 3000u
#define LARGE  200000u
#define HUGE   900000u
#define RUN    3000000u /* 2 extents: inside one chunk */
#define ROW    9000000u /* 5 extents: over 3 chunks */

static void detach(void)
{
	(void)dmem_pool_detach(crash_pool);
}

static void alloc_some(struct crash *c, size_t bytes, unsigned count, uint32_t *indexes)
{
	for (unsigned i = 0; i < count; i++)
		indexes[i] = crash_alloc(c, bytes);
}

static void free_some(struct crash *c, uint32_t *indexes, unsigned from, unsigned count, unsigned step)
{
	for (unsigned i = from; i < count; i += step)
		crash_free(c, indexes[i]);
}

/* --- blocks in slabs --- */

static void live_with_slabs(struct crash *c)
{
	uint32_t small[8], medium[64], large[24], huge[6];

	crash_attach(c);
	alloc_some(c, SMALL, 8, small);
	alloc_some(c, MEDIUM, 64, medium);
	alloc_some(c, LARGE, 24, large);
	alloc_some(c, HUGE, 6, huge);
	free_some(c, huge, 0, 6, 1);
	free_some(c, large, 0, 23, 1);
	free_some(c, medium, 0, 63, 1);
	free_some(c, small, 0, 8, 2);
	alloc_some(c, HUGE, 3, huge);
	free_some(c, huge, 0, 2, 1);
	detach();
}

/* --- runs --- */

static void live_with_runs(struct crash *c)
{
	uint32_t runs[4], rows[4];

	crash_attach(c);
	alloc_some(c, RUN, 4, runs);
	alloc_some(c, ROW, 2, rows);
	free_some(c, runs, 0, 3, 1);
	crash_free(c, rows[0]);
	rows[2] = crash_alloc(c, ROW + RUN);
	rows[3] = crash_alloc_as(c, crash_self, RUN, 8 * DM_MIB);
	crash_free(c, rows[2]);
	crash_free(c, rows[1]);
	detach();
}

/* --- private memory --- */

static void live_privately(struct crash *c)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	void *blocks[6];

	options.tier = DMEM_TIER_POOL;
	crash_attach(c);
	(void)crash_alloc(c, SMALL);
	for (unsigned i = 0; i < DM_ARRAY_LENGTH(blocks); i++) {
		blocks[i] = dmem_alloc_ex(crash_pool, i % 3 == 0 ? 100 : i % 3 == 1 ? RUN : ROW, &options);
		if (blocks[i] == NULL)
			crash_fail(c, "private memory: %s", dmem_last_error());
		else
			memset(blocks[i], 0x5a, 100);
	}
	for (unsigned i = 0; i < 3; i++)
		dmem_free(blocks[i]);
	(void)crash_alloc(c, RUN);
	detach();
}

/* --- other members' blocks --- */

/* An earlier member: leaves blocks and runs behind, in chunks without an owner. */
static void leave_blocks(struct crash *c)
{
	uint32_t indexes[32];

	crash_attach(c);
	alloc_some(c, SMALL, 8, indexes);
	alloc_some(c, MEDIUM, 16, indexes + 8);
	alloc_some(c, LARGE, 4, indexes + 24);
	alloc_some(c, RUN, 2, indexes + 28);
	alloc_some(c, ROW, 2, indexes + 30);
	detach();
}

/* The blocks of leave_blocks() are the account's first. */
static void live_with_foreign_blocks(struct crash *c)
{
	uint32_t own[32], theirs[8];

	crash_attach(c);
	for (uint32_t i = 0; i < 32; i += 2)
		crash_free(c, i);
	alloc_some(c, SMALL, 8, own);
	alloc_some(c, MEDIUM, 8, own + 8);
	for (uint32_t i = 1; i < 30; i += 4)
		crash_free(c, i);
	alloc_some(c, LARGE, 4, own + 16);
	alloc_some(c, RUN, 4, own + 20);
	alloc_some(c, ROW, 2, own + 24);
	if (c->partner.pid != 0) {
		for (unsigned i = 0; i < 8; i++)
			theirs[i] = (uint32_t)crash_ask(c, CRASH_REQUEST_ALLOC, i < 3 ? MEDIUM : i < 6 ? RUN : ROW);
		free_some(c, theirs, 0, 8, 1);
		for (unsigned i = 0; i < 26; i += 3)
			(void)crash_ask(c, CRASH_REQUEST_FREE, own[i]);
		(void)crash_ask(c, CRASH_REQUEST_FREE, own[24]);
		dm_clock_sleep_ns(30 * DM_NS_PER_MS); /* beats: the agent collects runs */
		alloc_some(c, MEDIUM, 30, own);
		alloc_some(c, RUN, 1, own + 30);
	}
	detach();
}

/* --- threads --- */

struct thread_life {
	struct crash *c;
	uint32_t *firsts; /* blocks of the first thread */
};

static void *live_as_second_thread(void *argument)
{
	struct thread_life *life = argument;
	uint32_t own[40];

	for (unsigned i = 0; i < 40; i++)
		own[i] = crash_alloc_as(life->c, CRASH_SECOND_THREAD, i % 2 ? MEDIUM : SMALL, 0);
	for (unsigned i = 0; i < 30; i++)
		crash_free_as(life->c, CRASH_SECOND_THREAD, life->firsts[i]);
	for (unsigned i = 0; i < 20; i++)
		crash_free_as(life->c, CRASH_SECOND_THREAD, own[i]);
	return NULL;
}

static void live_with_threads(struct crash *c)
{
	uint32_t firsts[63], later[90];
	struct thread_life life = {.c = c, .firsts = firsts};
	pthread_t thread;

	crash_attach(c);
	alloc_some(c, MEDIUM, 63, firsts);
	if (pthread_create(&thread, NULL, live_as_second_thread, &life) != 0) {
		crash_fail(c, "no second thread");
		return;
	}
	pthread_join(thread, NULL);
	alloc_some(c, MEDIUM, 90, later);
	free_some(c, later, 0, 90, 2);
	detach();
}

/* --- slots --- */

static void fill_slots(struct crash *c)
{
	for (uint32_t i = 0; i < 4; i++)
		crash_alloc_to(c, i, SMALL);
	for (uint32_t i = 4; i < 70; i++)
		crash_alloc_to(c, i, MEDIUM);
	crash_alloc_to(c, 70, LARGE);
	crash_alloc_to(c, 71, HUGE);
	for (uint32_t i = 72; i < 75; i++)
		crash_alloc_to(c, i, RUN);
	crash_alloc_to(c, 75, ROW);
}

static void live_with_slots(struct crash *c)
{
	crash_attach(c);
	crash_open_slots(c);
	fill_slots(c);
	for (uint32_t i = 0; i < 76; i += 3)
		crash_free_from(c, i);
	crash_free_from(c, 1);
	crash_alloc_to(c, 1, SMALL);
	crash_alloc_to(c, 80, RUN);
	detach();
}

static void leave_slots(struct crash *c)
{
	crash_attach(c);
	crash_open_slots(c);
	fill_slots(c);
	detach();
}

/* Slots and blocks of a member that has left. */
static void live_with_slots_of_others(struct crash *c)
{
	crash_attach(c);
	for (uint32_t i = 0; i < 76; i += 2)
		crash_free_from(c, i);
	for (uint32_t i = 0; i < 76; i += 4)
		crash_alloc_to(c, i, MEDIUM);
	crash_free_from(c, 75);
	detach();
}

static void die_freeing_a_slot(struct crash *c)
{
	crash_attach(c);
	crash_open_slots(c);
	fill_slots(c);
	dm_fault_arm(DM_FAULT_REDO_SLOT_CLEARED, DM_FAULT_KILL, 1);
	crash_free_from(c, 6);
}

static void die_filling_a_slot(struct crash *c)
{
	crash_attach(c);
	crash_open_slots(c);
	fill_slots(c);
	dm_fault_arm(DM_FAULT_REDO_RUN_SHARED, DM_FAULT_KILL, 1);
	crash_alloc_to(c, 90, ROW);
}

static void live_after_a_slot(struct crash *c)
{
	crash_attach(c);
	if (!crash_wait_for_members(c, 1)) /* it has repaired what the dead left */
		return;
	crash_free_from(c, 70);
	crash_alloc_to(c, 70, LARGE);
	detach();
}

/* --- names --- */

static void live_with_roots(struct crash *c)
{
	uint32_t objects[2];
	char name[16];

	crash_attach(c);
	alloc_some(c, SMALL, 2, objects);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "root %u", i);
		if (dmem_root_set(crash_pool, name, crash_address(c, objects[0])) != 0 ||
		    dmem_root_set(crash_pool, name, crash_address(c, objects[1])) != 0)
			crash_fail(c, "roots: %s", dmem_last_error());
	}
	if (dmem_root_set(crash_pool, "root 1", NULL) != 0)
		crash_fail(c, "roots: %s", dmem_last_error());
	detach();
}

/* --- growth --- */

static void live_with_growth(struct crash *c)
{
	char uri[CRASH_PATH_BYTES + 32];

	crash_attach(c);
	(void)crash_alloc(c, SMALL);
	if (dmem_pool_grow(crash_pool, c->size_bytes + 128 * DM_MIB) != 0)
		crash_fail(c, "grow: %s", dmem_last_error());
	snprintf(uri, sizeof(uri), "file:%s?size=128M", c->extra);
	if (dmem_pool_add(crash_pool, uri) != 0)
		crash_fail(c, "add: %s", dmem_last_error());
	(void)crash_alloc(c, ROW);
	detach();
}

/* --- deaths of others --- */

void crash_live_of_everything(struct crash *c)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	uint32_t indexes[48];

	options.tier = DMEM_TIER_POOL;
	crash_attach(c);
	alloc_some(c, SMALL, 8, indexes);
	alloc_some(c, MEDIUM, 30, indexes + 8);
	alloc_some(c, RUN, 2, indexes + 38);
	alloc_some(c, ROW, 2, indexes + 40);
	if (dmem_alloc_ex(crash_pool, RUN, &options) == NULL || dmem_alloc_ex(crash_pool, ROW, &options) == NULL)
		crash_fail(c, "private memory: %s", dmem_last_error());
	for (unsigned i = 0; i < 40; i += 3)
		crash_free(c, indexes[i]);
	for (unsigned i = 1; i < 42; i += 3)
		(void)crash_ask(c, CRASH_REQUEST_FREE, indexes[i]);
	sem_post(&c->victim_waits);
	while (sem_wait(&c->victim_goes) != 0)
		continue;
	raise(SIGKILL);
}

void crash_free_late(struct crash *c)
{
	crash_free(c, 2);
	crash_free(c, 11);
	crash_free(c, 38); /* a run */
	crash_free(c, 41); /* a row */
}

static void die_of_everything(struct crash *c)
{
	sem_post(&c->victim_goes);
	crash_live_of_everything(c);
}

void crash_take_over(struct crash *c)
{
	uint32_t own[24];

	if (crash_pool == NULL)
		crash_attach(c);
	if (!crash_wait_for_members(c, 1 + c->bystanders))
		return;
	alloc_some(c, MEDIUM, 16, own);
	alloc_some(c, RUN, 2, own + 16);
	crash_adopt_all(c);
	for (uint32_t i = 0; i < 40; i++)
		crash_free(c, i);
	alloc_some(c, ROW, 2, own + 18);
	alloc_some(c, MEDIUM, 4, own + 20);
}

static void live_after_a_death(struct crash *c)
{
	crash_take_over(c);
	detach();
}

/* --- others that are stopped --- */

/* A member that ends with its parent, which is the victim. */
static void be_stopped(struct crash *c)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	crash_attach(c);
	(void)crash_alloc(c, MEDIUM);
	raise(SIGSTOP);
}

static uint32_t live_members(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	return dmem_pool_info(crash_pool, &info) == 0 ? info.members : 0;
}

static void live_after_a_stop(struct crash *c)
{
	pid_t stopped = crash_fork(c, CRASH_EARLIER, be_stopped);
	uint32_t own[8];

	(void)waitpid(stopped, NULL, WUNTRACED);
	crash_attach(c);
	alloc_some(c, SMALL, 8, own);
	for (unsigned i = 0; i < 10000 && live_members() > 1; i++) /* the stopped one is live until it is fenced */
		dm_clock_sleep_ns(DM_NS_PER_MS);
	if (live_members() > 1)
		crash_fail(c, "a stopped member was not fenced");
	free_some(c, own, 0, 8, 2);
	(void)kill(stopped, SIGKILL);
	(void)crash_wait(stopped);
	(void)crash_wait_for_members(c, 1); /* what it had is taken over */
	detach();
}

const struct crash_case crash_cases[] = {
	{"slabs", NULL, live_with_slabs, false},
	{"slabs, partner", NULL, live_with_slabs, true},
	{"runs", NULL, live_with_runs, false},
	{"runs, partner", NULL, live_with_runs, true},
	{"private memory", NULL, live_privately, false},
	{"private memory, partner", NULL, live_privately, true},
	{"foreign blocks", leave_blocks, live_with_foreign_blocks, false},
	{"foreign blocks, partner", leave_blocks, live_with_foreign_blocks, true},
	{"threads", NULL, live_with_threads, false},
	{"threads, partner", NULL, live_with_threads, true},
	{"slots", NULL, live_with_slots, false},
	{"slots, partner", NULL, live_with_slots, true},
	{"slots of others", leave_slots, live_with_slots_of_others, false},
	{"slots of others, partner", leave_slots, live_with_slots_of_others, true},
	{"after a death that freed a slot", die_freeing_a_slot, live_after_a_slot, false},
	{"after a death that filled a slot", die_filling_a_slot, live_after_a_slot, false},
	{"roots", NULL, live_with_roots, false},
	{"roots, partner", NULL, live_with_roots, true},
	{"growth", NULL, live_with_growth, false},
	{"growth, partner", NULL, live_with_growth, true},
	{"after a death", die_of_everything, live_after_a_death, false},
	{"after a stop", NULL, live_after_a_stop, false},
};
const unsigned crash_case_count = DM_ARRAY_LENGTH(crash_cases);
