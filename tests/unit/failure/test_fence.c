/* SPDX-License-Identifier: Apache-2.0 */
/* test_fence.c: members that are stopped: when they are fenced, that they can't do harm any more, and how they come back. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/stop.h"
#include "inspect.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"
#include "transport/file/file_device.h"

struct talk {
	struct gate ready;
	struct gate go;
	volatile uint32_t slot;
	volatile uint32_t incarnation;
	volatile int rc; /* what the child's calls gave when it went on */
	volatile int hits;
	_Atomic uint64_t rounds;  /* of the child's loop: it runs */
	uint64_t *volatile block; /* in the pool */
	const char *host;
	bool stops_as_recoverer;
};

static struct talk *talk;
static struct dmem_pool *pool;

static void set_up(void)
{
	scratch_begin();
	scratch_create("p", "size=16M&members=16&beat=20&lease=400");
	talk = child_shared(sizeof(*talk));
	gate_make(&talk->ready);
	gate_make(&talk->go);
}

TestSuite(fence, .init = set_up, .fini = scratch_end);

static struct dmem_pool *join_and_tell(void)
{
	struct dmem_pool *own;

	if (talk->host != NULL)
		setenv("DMEM_HOST_ID", talk->host, 1);
	own = scratch_attach("p");
	talk->slot = own->members->slot;
	talk->incarnation = own->members->incarnation;
	return own;
}

/* Store and publish for ever, in two threads; the second one only stores.  Ends when the pool refuses. */
static void *store_on(void *block)
{
	for (;;) {
		((volatile uint64_t *)block)[8]++;
		atomic_fetch_add(&talk->rounds, 1);
		pthread_testcancel();
	}
	return NULL;
}

static int store_until_fenced(void *unused)
{
	struct dmem_pool *own = join_and_tell();
	uint64_t *block = dmem_alloc_ex(own, 128, NULL);
	pthread_t second;
	int rc;

	(void)unused;
	if (block == NULL)
		return 1;
	talk->block = block;
	memset(block, 0, 128);
	if (dmem_publish(block, 128) != 0 || pthread_create(&second, NULL, store_on, block) != 0)
		return 2;
	gate_step(&talk->ready);
	do {
		((volatile uint64_t *)block)[0]++;
		rc = dmem_publish(block, 64);
	} while (rc == 0);
	talk->rc = rc;
	atomic_store(&talk->rounds, 0);
	while (atomic_load(&talk->rounds) < 1000000) /* both threads go on storing */
		((volatile uint64_t *)block)[0]++;
	pthread_cancel(second);
	pthread_join(second, NULL);
	gate_step(&talk->ready);
	if (!gate_wait(&talk->go))
		return 3;
	if (dmem_pool_detach(own) != 0)
		return 4;
	own = join_and_tell(); /* as a new member */
	return dmem_alloc_ex(own, 64, NULL) == NULL || dmem_pool_detach(own) != 0 ? 5 : 0;
}

static bool lost_rights(void *unused)
{
	(void)unused;
	return dm_members_rights(pool->members, talk->slot, talk->incarnation) == 0;
}

static enum dm_member_state state_of(uint32_t slot)
{
	uint64_t word = 0;

	(void)dm_word_load(pool->window, &pool->members->table[slot].state.word, &word);
	return dm_member_word_state(word);
}

static void read_block(uint64_t values[16])
{
	cr_assert(zero(int, dmem_refresh(talk->block, 128)), "%s", dmem_last_error());
	memcpy(values, talk->block, 128);
}

static void a_stopped_member_is_fenced(void)
{
	uint64_t before[16], after[16];
	pid_t pid = child_start(store_until_fenced, NULL);
	uint32_t slot, incarnation;

	cr_assert(gate_wait(&talk->ready));
	slot = talk->slot;
	incarnation = talk->incarnation;
	pool = scratch_attach("p");
	usleep(100 * 1000);
	cr_assert(zero(int, kill(pid, SIGSTOP)));
	cr_assert(wait_until(lost_rights, NULL, 10000), "not fenced");
	read_block(before);
	usleep(50 * 1000);
	cr_assert(zero(int, kill(pid, SIGCONT)));
	cr_assert(gate_wait(&talk->ready), "it does not see that it is fenced");
	cr_expect(eq(int, talk->rc, DMEM_E_FENCED));
	read_block(after);
	if (talk->host == NULL) /* another host's stores can't be kept off before it sees what happened */
		cr_expect(zero(int, memcmp(before, after, sizeof(before))), "stores of a fenced member landed");
	cr_expect(eq(int, (int)state_of(slot), DM_MEMBER_FENCED));
	gate_step(&talk->go);
	cr_expect(zero(int, child_wait(pid)));
	cr_expect(ne(u64, (uint64_t)slot << 32 | incarnation, (uint64_t)talk->slot << 32 | talk->incarnation));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
	/* it was declared dead by itself when it joined again */
	cr_expect(ne(int, (int)state_of(slot), DM_MEMBER_FENCED));
}

Test(fence, no_store_of_a_member_that_was_stopped_lands_after_it_was_fenced)
{
	a_stopped_member_is_fenced();
}

Test(fence, a_stopped_member_of_another_host_finds_itself_fenced)
{
	talk->host = "elsewhere";
	a_stopped_member_is_fenced();
}

Test(fence, the_memory_of_a_fenced_member_is_given_back_when_its_end_is_seen)
{
	pid_t pid = child_start(store_until_fenced, NULL);

	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	cr_assert(zero(int, kill(pid, SIGSTOP)));
	cr_assert(wait_until(lost_rights, NULL, 10000), "not fenced");
	usleep(200 * 1000);
	cr_expect(eq(int, (int)state_of(talk->slot), DM_MEMBER_FENCED));
	child_kill(pid);
	for (unsigned i = 0; i < 5000 && state_of(talk->slot) != DM_MEMBER_FREE; i++)
		usleep(1000);
	cr_expect(eq(int, (int)state_of(talk->slot), DM_MEMBER_FREE));
}

/* --- a recoverer that is stopped --- */

static int be_recoverer(void *unused)
{
	struct dmem_pool *own = join_and_tell();

	(void)unused;
	(void)own;
	if (talk->stops_as_recoverer)
		dm_fault_arm(DM_FAULT_MEMBER_RECOVERING, DM_FAULT_STOP, 1);
	gate_step(&talk->ready);
	return gate_wait(&talk->go) ? 0 : 2;
}

static bool all_came_back(void *slots)
{
	const uint32_t *slot = slots;

	return state_of(slot[0]) == DM_MEMBER_FREE && state_of(slot[1]) == DM_MEMBER_FENCED;
}

Test(fence, a_member_stopped_while_it_recovers_another_is_fenced_and_the_repair_is_done_by_a_third)
{
	uint32_t slots[2];
	pid_t victim, recoverer;
	int status;

	talk->stops_as_recoverer = true;
	recoverer = child_start(be_recoverer, NULL);
	cr_assert(gate_wait(&talk->ready));
	slots[1] = talk->slot;
	talk->stops_as_recoverer = false;
	victim = child_start(be_recoverer, NULL);
	cr_assert(gate_wait(&talk->ready));
	slots[0] = talk->slot;
	usleep(100 * 1000); /* the recoverer watches the victim now */
	child_kill(victim);
	cr_assert(eq(int, waitpid(recoverer, &status, WUNTRACED), recoverer));
	cr_assert(eq(int, WIFSTOPPED(status) != 0, 1));
	pool = scratch_attach("p");
	cr_expect(wait_until(all_came_back, slots, 10000), "victim %d, recoverer %d", (int)state_of(slots[0]),
	          (int)state_of(slots[1]));
	child_kill(recoverer);
}

/* --- signals --- */

static _Atomic int chained;

static void note_signal(int number)
{
	(void)number;
	atomic_fetch_add(&chained, 1);
}

static int receive_strays(void *unused)
{
	struct sigaction action = {.sa_handler = note_signal};
	union sigval value = {.sival_ptr = (void *)(uintptr_t)UINT64_C(0x100000001)};
	struct dmem_pool *own;

	(void)unused;
	sigaction(DM_FENCE_SIGNAL, &action, NULL);
	own = join_and_tell();
	raise(DM_FENCE_SIGNAL);
	sigqueue(getpid(), DM_FENCE_SIGNAL, value);
	if (atomic_load(&chained) != 2)
		return 1;
	return dmem_alloc_ex(own, 64, NULL) == NULL;
}

Test(fence, a_signal_that_names_no_member_of_ours_goes_to_the_handler_before_and_changes_nothing)
{
	cr_expect(zero(int, child_run(receive_strays, NULL)));
}

/* --- cutting off --- */

static int store_after_cut(void *read_only)
{
	struct dmem_pool *own = join_and_tell();
	volatile uint64_t *block = dmem_alloc_ex(own, 64, NULL);

	if (block == NULL)
		return 1;
	*block = 1;
	if (dmem_publish((void *)(uintptr_t)block, 64) != 0)
		return 2;
	talk->block = (uint64_t *)(uintptr_t)block;
	if (read_only != NULL) /* as on devices that have no private mappings */
		dm_file_of(own->window->devices[0])->hugetlbfs = true;
	dm_window_cut(own->window);
	dm_window_cut(own->window);
	*block = 2;
	if (*block != 2)
		return 3;
	if (dmem_publish((void *)(uintptr_t)block, 64) != DMEM_E_FENCED || dmem_pool_detach(own) != 0)
		return 4;
	own = scratch_attach("p");
	return dmem_refresh((void *)(uintptr_t)block, 64) != 0 || *block != 1 ? 5 : 0;
}

Test(fence, after_the_cut_stores_stay_in_the_process_and_calls_say_why)
{
	cr_expect(zero(int, child_run(store_after_cut, NULL)));
}

Test(fence, the_same_where_the_device_has_no_private_mappings)
{
	if (strcmp(scratch_scheme(), "file") == 0)
		cr_expect(zero(int, child_run(store_after_cut, talk)));
}

/* --- 4096 --- */

/* In sim: each of the test's stores is a walk of its own, so there are fewer. */
static uint32_t table_slots;

static bool half_is_fenced(void *first)
{
	for (uint32_t slot = *(uint32_t *)first; slot < table_slots; slot++)
		if ((slot % 2 == 0) != (state_of(slot) == DM_MEMBER_FENCED))
			return false;
	return true;
}

/* Members of other hosts, written into the table by hand: every second one beats. */
Test(fence, in_a_table_of_4096_members_those_and_only_those_are_fenced_that_do_not_beat)
{
	struct dm_members *members;
	uint32_t first;

	table_slots = strcmp(scratch_scheme(), "file") == 0 ? 4096 : 128;
	scratch_create("many", table_slots == 4096 ? "size=32M&members=4096&beat=100&lease=1000"
	                                           : "size=32M&members=128&beat=100&lease=1000");
	pool = scratch_attach("many");
	members = pool->members;
	first = members->slot + 1;
	for (uint32_t slot = first; slot < table_slots; slot++) {
		struct dm_member_pm *entry = &members->table[slot];

		entry->beat.incarnation = 1;
		cr_assert(zero(int, dm_window_publish(pool->window, &entry->beat, sizeof(entry->beat))));
		cr_assert(
			zero(int, dm_word_store(pool->window, &entry->state.word, dm_member_word(DM_MEMBER_LIVE, DM_NO_SLOT, 1))));
		cr_assert(zero(int, dm_members_set_used(members, slot, true)));
	}
	for (unsigned i = 0; i < 600 && !half_is_fenced(&first); i++) {
		for (uint32_t slot = first; slot < table_slots; slot++) {
			struct dm_member_beat_pm *beat = &members->table[slot].beat;

			if (slot % 2 == 0)
				continue;
			__atomic_store_n(&beat->beats, beat->beats + 1, __ATOMIC_RELEASE);
			cr_assert(zero(int, dm_window_publish(pool->window, beat, sizeof(*beat))));
		}
		usleep(20 * 1000);
	}
	cr_expect(half_is_fenced(&first), "not the right ones are fenced");
}

/* --- what the program is told --- */

struct told {
	_Atomic unsigned count;
	struct dmem_member last;
};

static void note_death(void *told, const struct dmem_member *member)
{
	((struct told *)told)->last = *member;
	atomic_fetch_add(&((struct told *)told)->count, 1);
}

static int count_states(void *counts, const struct dmem_member *member)
{
	((unsigned *)counts)[member->state]++;
	((unsigned *)counts)[7] += member->self != 0;
	return 0;
}

static bool was_told(void *told)
{
	return atomic_load(&((struct told *)told)->count) > 0;
}

static void the_program_is_told(int signal_number, enum dmem_member_state state)
{
	struct told told = {0};
	unsigned counts[8] = {0};
	pid_t pid = child_start(be_recoverer, NULL);

	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	cr_assert(zero(int, dmem_members(pool, count_states, counts)));
	cr_expect(eq(u32, counts[DMEM_MEMBER_LIVE], 2));
	cr_expect(eq(u32, counts[7], 1));
	cr_assert(zero(int, dmem_on_member_death(pool, note_death, &told)));
	cr_assert(zero(int, kill(pid, signal_number)));
	cr_assert(wait_until(was_told, &told, 10000), "not told");
	cr_expect(eq(u32, told.last.slot, talk->slot));
	cr_expect(eq(u32, told.last.incarnation, talk->incarnation));
	cr_expect(eq(int, (int)told.last.state, (int)state));
	memset(counts, 0, sizeof(counts));
	cr_assert(zero(int, dmem_members(pool, count_states, counts)));
	cr_expect(eq(u32, counts[DMEM_MEMBER_LIVE], 1));
	cr_expect(eq(u32, counts[DMEM_MEMBER_FENCED], state == DMEM_MEMBER_FENCED));
	child_kill(pid);
	usleep(100 * 1000);
	cr_expect(eq(u32, atomic_load(&told.count), 1));
	cr_expect(zero(int, dmem_pool_detach(pool)));
}

Test(fence, the_program_is_told_once_of_a_member_that_was_killed)
{
	the_program_is_told(SIGKILL, DMEM_MEMBER_GONE);
}

Test(fence, the_program_is_told_once_of_a_member_that_was_stopped)
{
	the_program_is_told(SIGSTOP, DMEM_MEMBER_FENCED);
}

static int leave_in_peace(void *unused)
{
	struct dmem_pool *own = join_and_tell();

	(void)unused;
	gate_step(&talk->ready);
	return gate_wait(&talk->go) ? dmem_pool_detach(own) : 2;
}

Test(fence, the_program_is_not_told_of_a_member_that_leaves)
{
	struct told told = {0};
	pid_t pid = child_start(leave_in_peace, NULL);

	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	cr_assert(zero(int, dmem_on_member_death(pool, note_death, &told)));
	cr_expect(eq(int, dmem_on_member_death(pool, NULL, NULL), -EINVAL));
	cr_expect(eq(int, dmem_members(pool, NULL, NULL), -EINVAL));
	gate_step(&talk->go);
	cr_expect(zero(int, child_wait(pid)));
	usleep(100 * 1000);
	cr_expect(zero(int, dmem_pool_detach(pool)));
	cr_expect(eq(u32, atomic_load(&told.count), 0));
}

Test(fence, an_operator_evicts_a_member_that_runs_and_can_t_say_that_it_is_dead)
{
	pid_t pid = child_start(store_until_fenced, NULL);

	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	cr_expect(eq(int, dm_inspect_evict(pool, talk->slot, true), DMEM_E_BUSY));
	cr_expect(eq(int, dm_inspect_evict(pool, 15, false), -ENOENT));
	cr_expect(zero(int, dm_inspect_evict(pool, talk->slot, false)));
	cr_assert(gate_wait(&talk->ready), "it does not see that it is fenced");
	cr_expect(eq(int, talk->rc, DMEM_E_FENCED));
	gate_step(&talk->go);
	cr_expect(zero(int, child_wait(pid)));
}

Test(fence, an_operator_says_that_a_member_of_another_host_is_dead)
{
	pid_t pid;

	talk->host = "elsewhere";
	pid = child_start(be_recoverer, NULL);
	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	child_kill(pid);
	cr_expect(zero(int, dm_inspect_evict(pool, talk->slot, true)), "%s", dmem_last_error());
	cr_expect(eq(int, (int)state_of(talk->slot), DM_MEMBER_FREE));
}
