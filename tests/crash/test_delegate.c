/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_delegate.c: delegated atomics, with a death or a stop at every point of the protocol: each operation is done exactly
 * once, and whoever is left goes on.
 *
 * Every process adds 1 to a counter and notes the value that was there before: all notes together are the numbers from 0 up,
 * each once.  What the killed one was at is in doubt for it alone: then one number is missing, or none.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define KEYS      "size=16M&members=16&beat=20&lease=100"
#define PROCESSES 3u
#define ADDS      150u

enum part { ARBITER, CANDIDATE, CLIENT };

static struct plan {
	struct {
		enum dm_fault_id point; /* DM_FAULT_COUNT: none */
		enum dm_fault_action action;
		unsigned countdown;
		bool from_the_start; /* armed before the attach */
		unsigned adds;
	} of[PROCESSES];
	_Atomic uint32_t attached;
	_Atomic uint64_t *counter;
	_Atomic uint64_t notes[PROCESSES][ADDS]; /* value before + 1 */
	struct gate go;
	struct gate finish;
} * plan;

static void begin(void)
{
	setenv("DMEM_TEST_SCHEME", "sim-delegate", 1);
	scratch_begin();
	scratch_create("p", KEYS);
	plan = child_shared(sizeof(*plan));
	for (unsigned i = 0; i < PROCESSES; i++)
		plan->of[i].point = DM_FAULT_COUNT;
	gate_make(&plan->go);
	gate_make(&plan->finish);
}

static void end(void)
{
	scratch_end();
}

static void arm(unsigned self)
{
	if (plan->of[self].point != DM_FAULT_COUNT)
		dm_fault_arm(plan->of[self].point, plan->of[self].action, plan->of[self].countdown);
}

static int make_counter(struct dmem_pool *pool)
{
	uint64_t *word = dmem_alloc_ex(pool, 64, NULL);

	if (word == NULL || dmem_atomic_store_u64(word, 0) != 0)
		return 1;
	plan->counter = (void *)word;
	return 0;
}

static int take_part(void *argument)
{
	unsigned self = (unsigned)(uintptr_t)argument;
	struct dmem_pool *pool;
	uint64_t *counter;

	if (plan->of[self].from_the_start)
		arm(self);
	pool = scratch_attach("p");
	if (self == ARBITER && make_counter(pool) != 0)
		return 2;
	atomic_fetch_add(&plan->attached, 1);
	if (!gate_wait(&plan->go))
		return 3;
	if (!plan->of[self].from_the_start)
		arm(self);
	counter = (uint64_t *)(void *)plan->counter;
	for (unsigned i = 0; i < plan->of[self].adds; i++) {
		uint64_t before;

		if (dmem_atomic_add_u64(counter, 1, &before) != 0)
			return 4;
		atomic_store(&plan->notes[self][i], before + 1);
	}
	return gate_wait(&plan->finish) && dmem_pool_detach(pool) == 0 ? 0 : 5;
}

static bool has_attached(void *count)
{
	return atomic_load(&plan->attached) == *(uint32_t *)count;
}

static void start(pid_t pids[PROCESSES], unsigned count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t wanted = i + 1;

		pids[i] = child_start(take_part, (void *)(uintptr_t)i);
		cr_assert(wait_until(has_attached, &wanted, 5000), "process %u does not attach", i);
	}
	for (unsigned i = 0; i < count; i++)
		gate_step(&plan->go);
}

static void finish(unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		gate_step(&plan->finish);
}

/* Every number once; at most `doubt` are missing. */
static void check_notes(unsigned doubt)
{
	static unsigned char seen[PROCESSES * ADDS + 1];
	unsigned highest = 0;
	unsigned noted = 0;

	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < PROCESSES; i++) {
		for (unsigned j = 0; j < ADDS; j++) {
			uint64_t note = atomic_load(&plan->notes[i][j]);

			if (note == 0)
				continue;
			cr_assert(note < sizeof(seen), "a value that nobody made: %lu", (unsigned long)note);
			cr_expect(seen[note]++ == 0, "%lu was given out twice", (unsigned long)note - 1);
			highest = note > highest ? (unsigned)note : highest;
			noted++;
		}
	}
	cr_expect(noted >= highest - doubt, "%u of %u values were given to nobody", highest - noted, highest);
}

static bool all_noted(void *self)
{
	unsigned i = *(unsigned *)self;

	return atomic_load(&plan->notes[i][plan->of[i].adds - 1]) != 0;
}

static void wait_for_notes(unsigned self)
{
	cr_expect(wait_until(all_noted, &self, 20000), "process %u does not go on", self);
}

static void arbiter_dies(enum dm_fault_id point, unsigned countdown)
{
	pid_t pids[PROCESSES];

	begin();
	plan->of[ARBITER].point = point;
	plan->of[ARBITER].countdown = countdown;
	plan->of[CANDIDATE].adds = plan->of[CLIENT].adds = ADDS;
	start(pids, 3);
	cr_expect(eq(int, child_wait(pids[ARBITER]), CHILD_SIGNAL + SIGKILL), "%s", dm_fault_name(point));
	finish(2);
	cr_expect(zero(int, child_wait(pids[CANDIDATE])), "%s at %u", dm_fault_name(point), countdown);
	cr_expect(zero(int, child_wait(pids[CLIENT])), "%s at %u", dm_fault_name(point), countdown);
	check_notes(0);
	end();
}

Test(delegate, an_operation_is_done_exactly_once_wherever_its_arbiter_dies)
{
	static const enum dm_fault_id points[] = {DM_FAULT_DELEGATE_INTENDED, DM_FAULT_DELEGATE_STORED,
	                                          DM_FAULT_DELEGATE_REPLIED};
	static const unsigned countdowns[] = {1, 2, 57};

	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 3; j++)
			arbiter_dies(points[i], countdowns[j]);
}

static void successor_dies(enum dm_fault_id point)
{
	pid_t pids[PROCESSES];

	begin();
	plan->of[ARBITER].point = DM_FAULT_DELEGATE_STORED;
	plan->of[ARBITER].countdown = 20;
	plan->of[CANDIDATE].point = point;
	plan->of[CANDIDATE].countdown = 1;
	plan->of[CLIENT].adds = ADDS;
	start(pids, 3);
	cr_expect(eq(int, child_wait(pids[ARBITER]), CHILD_SIGNAL + SIGKILL));
	cr_expect(eq(int, child_wait(pids[CANDIDATE]), CHILD_SIGNAL + SIGKILL), "%s", dm_fault_name(point));
	finish(1);
	cr_expect(zero(int, child_wait(pids[CLIENT])), "%s", dm_fault_name(point));
	check_notes(0);
	end();
}

Test(delegate, a_successor_that_dies_while_it_takes_over_is_succeeded)
{
	successor_dies(DM_FAULT_DELEGATE_CHOOSING);
	successor_dies(DM_FAULT_DELEGATE_CLAIMED);
	successor_dies(DM_FAULT_DELEGATE_IN_OFFICE);
	successor_dies(DM_FAULT_DELEGATE_REDONE);
}

Test(delegate, a_request_of_a_dead_member_is_done_once_or_not_at_all)
{
	pid_t pids[PROCESSES];

	begin();
	plan->of[CANDIDATE].point = DM_FAULT_DELEGATE_ASKED;
	plan->of[CANDIDATE].countdown = 30;
	plan->of[CANDIDATE].adds = plan->of[CLIENT].adds = ADDS;
	start(pids, 3);
	cr_expect(eq(int, child_wait(pids[CANDIDATE]), CHILD_SIGNAL + SIGKILL));
	wait_for_notes(CLIENT);
	finish(2);
	cr_expect(zero(int, child_wait(pids[ARBITER])));
	cr_expect(zero(int, child_wait(pids[CLIENT])));
	check_notes(1);
	end();
}

/* A stopped arbiter is replaced; when it goes on it asks the new one, and stores nothing of what it was at. */
static void arbiter_stops(enum dm_fault_id point)
{
	pid_t pids[PROCESSES];

	begin();
	plan->of[ARBITER].point = point;
	plan->of[ARBITER].action = DM_FAULT_STOP;
	plan->of[ARBITER].countdown = 20;
	plan->of[CLIENT].adds = plan->of[CANDIDATE].adds = ADDS;
	start(pids, 3);
	wait_for_notes(CLIENT);
	wait_for_notes(CANDIDATE);
	cr_expect(zero(int, kill(pids[ARBITER], SIGCONT)));
	finish(3);
	cr_expect(zero(int, child_wait(pids[CLIENT])));
	cr_expect(zero(int, child_wait(pids[CANDIDATE])));
	(void)child_wait(pids[ARBITER]); /* fenced, perhaps: then its detach says so */
	check_notes(0);
	end();
}

Test(delegate, an_arbiter_that_was_stopped_finds_itself_deposed_before_it_stores)
{
	arbiter_stops(DM_FAULT_DELEGATE_INTENDED);
	arbiter_stops(DM_FAULT_DELEGATE_STORED);
	arbiter_stops(DM_FAULT_DELEGATE_REPLIED);
}

Test(delegate, a_death_with_a_fresh_desk_leaves_the_desk_to_the_next)
{
	pid_t pids[PROCESSES];

	begin();
	plan->of[ARBITER].point = DM_FAULT_DESK_CLAIMED;
	plan->of[ARBITER].countdown = 1;
	plan->of[ARBITER].from_the_start = true;
	cr_expect(eq(int, child_run(take_part, (void *)(uintptr_t)ARBITER), CHILD_SIGNAL + SIGKILL));
	plan->of[ARBITER].point = DM_FAULT_COUNT;
	plan->of[ARBITER].adds = ADDS;
	start(pids, 1);
	finish(1);
	cr_expect(zero(int, child_wait(pids[ARBITER])));
	check_notes(0);
	end();
}

/* As between hosts, where no kernel can give desks out. */
Test(delegate, desks_that_are_claimed_in_time_are_never_shared)
{
	pid_t pids[PROCESSES];

	begin();
	for (unsigned i = 0; i < PROCESSES; i++) {
		plan->of[i].point = DM_FAULT_DESK_WANTED;
		plan->of[i].action = DM_FAULT_FAIL;
		plan->of[i].countdown = 1;
		plan->of[i].from_the_start = true;
		plan->of[i].adds = ADDS;
	}
	start(pids, 3);
	finish(3);
	for (unsigned i = 0; i < PROCESSES; i++)
		cr_expect(zero(int, child_wait(pids[i])));
	check_notes(0);
	end();
}
