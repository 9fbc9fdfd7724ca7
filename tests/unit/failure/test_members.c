/* SPDX-License-Identifier: Apache-2.0 */
/* test_members.c: joining, leaving, dying: slots, incarnations, and who notices. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inspect.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"

#define OTHERS 15u

struct talk {
	struct gate ready;
	struct gate go;
	volatile uint32_t slot[32];
	volatile uint32_t incarnation[32];
	void *volatile block;
};

static struct talk *talk;
static struct dmem_pool *pool;

static void set_up(void)
{
	scratch_begin();
	scratch_create("p", "size=16M&members=16&beat=20&lease=100");
	talk = child_shared(sizeof(*talk));
	gate_make(&talk->ready);
	gate_make(&talk->go);
}

TestSuite(members, .init = set_up, .fini = scratch_end);

/* Join, tell the slot, stay until told. */
static int stay(void *index)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct dmem_pool *own = scratch_attach("p");
	unsigned i = *(unsigned *)index;

	if (dmem_pool_info(own, &info) != 0)
		return 1;
	talk->slot[i] = info.self;
	talk->incarnation[i] = info.self_incarnation;
	if (i == 0)
		talk->block = dmem_alloc_ex(own, 100, NULL);
	gate_step(&talk->ready);
	return gate_wait(&talk->go) ? dmem_pool_detach(own) != 0 : 2;
}

static pid_t start_member(unsigned index)
{
	static unsigned indexes[32];
	pid_t pid;

	indexes[index] = index;
	pid = child_start(stay, &indexes[index]);
	cr_assert(gate_wait(&talk->ready));
	return pid;
}

static uint32_t members_now(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	return info.members;
}

static bool only_me(void *unused)
{
	(void)unused;
	return members_now() == 1;
}

Test(members, the_17th_of_16_is_refused_with_the_cure_and_gets_in_when_one_leaves)
{
	pid_t pids[16];

	for (unsigned i = 0; i < 16; i++)
		pids[i] = start_member(i);
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool), DMEM_E_MEMBERS));
	cr_expect(scratch_says("16") && scratch_says("?members="), "%s", dmem_last_error());
	gate_step(&talk->go);
	for (unsigned i = 0; i < 500 && dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool) != 0; i++)
		usleep(2000);
	cr_assert(eq(u32, members_now(), 16));
	for (unsigned i = 1; i < 16; i++)
		gate_step(&talk->go);
	for (unsigned i = 0; i < 16; i++)
		cr_expect(zero(int, child_wait(pids[i])));
	cr_expect(eq(u32, members_now(), 1));
}

Test(members, every_member_has_a_slot_of_its_own)
{
	pid_t pids[OTHERS];

	for (unsigned i = 0; i < OTHERS; i++)
		pids[i] = start_member(i);
	for (unsigned i = 0; i < OTHERS; i++)
		for (unsigned k = 0; k < i; k++)
			cr_expect(ne(u32, talk->slot[i], talk->slot[k]));
	for (unsigned i = 0; i < OTHERS; i++)
		child_kill(pids[i]);
}

Test(members, the_slot_of_a_killed_member_is_used_again_with_a_higher_incarnation)
{
	child_kill(start_member(0));
	child_kill(start_member(1));
	pool = scratch_attach("p");
	cr_assert(wait_until(only_me, NULL, 3000));
	cr_assert(zero(int, dmem_pool_detach(pool)));
	pool = NULL;
	gate_step(&talk->go);
	cr_expect(zero(int, child_wait(start_member(2))));
	cr_expect(eq(u32, talk->slot[2], talk->slot[0]));
	cr_expect(gt(u32, talk->incarnation[2], talk->incarnation[0]));
}

Test(members, a_full_table_of_dead_members_lets_a_new_one_in)
{
	pid_t pids[16];

	for (unsigned i = 0; i < 16; i++)
		pids[i] = start_member(i);
	for (unsigned i = 0; i < 16; i++)
		child_kill(pids[i]);
	pool = scratch_attach("p");
	cr_expect(wait_until(only_me, NULL, 3000), "%u members", members_now());
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(members, a_survivor_notices_a_death_long_before_a_lease_is_over)
{
	uint64_t started;
	pid_t pid;

	scratch_create("slow", "size=16M&members=16&beat=1s&lease=60s");
	cr_assert(zero(int, rename(scratch_path("slow"), scratch_path("p"))));
	pool = scratch_attach("p");
	pid = start_member(0);
	usleep(1100 * 1000); /* the survivor looks around once a beat for new neighbours */
	started = now_ms();
	child_kill(pid);
	cr_expect(wait_until(only_me, NULL, 5000), "the death was not noticed");
	cr_expect(lt(u64, now_ms() - started, 5000));
}

Test(members, one_survivor_recovers_a_chain_of_deaths)
{
	pid_t pids[OTHERS];

	pool = scratch_attach("p");
	for (unsigned i = 0; i < OTHERS; i++)
		pids[i] = start_member(i);
	cr_expect(eq(u32, members_now(), 16));
	for (unsigned i = OTHERS; i-- > 0;)
		child_kill(pids[i]);
	cr_expect(wait_until(only_me, NULL, 5000), "%u members are left", members_now());
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
	cr_expect(ge(sz, dmem_usable_size(talk->block), 100), "a shared block of a dead member is gone");
}

static int count_members(void *count, const struct dm_inspect_member *member)
{
	(void)member;
	++*(unsigned *)count;
	return 0;
}

Test(members, a_detached_member_leaves_no_slot)
{
	unsigned count = 0;
	pid_t other = start_member(0); /* before this process attaches: a child would inherit the attachment */

	pool = scratch_attach("p");
	cr_expect(eq(u32, members_now(), 2));
	gate_step(&talk->go);
	cr_assert(zero(int, child_wait(other)));
	cr_assert(zero(int, dm_inspect_members(pool, count_members, &count)));
	cr_expect(eq(u32, count, 1));
}

/* A member whose host nobody else has. */
static int stay_elsewhere(void *index)
{
	setenv("DMEM_HOST_ID", "another-host", 1);
	return stay(index);
}

static int note_member(void *found, const struct dm_inspect_member *member)
{
	if (strcmp(member->host_name, "another-host") == 0)
		*(struct dm_inspect_member *)found = *member;
	return 0;
}

static bool it_is_fenced(void *found)
{
	(void)dm_inspect_members(pool, note_member, found);
	return strcmp(((struct dm_inspect_member *)found)->state, "fenced") == 0;
}

Test(members, a_silent_member_of_another_host_is_fenced_and_never_declared_dead_by_its_pid)
{
	struct dm_inspect_member found = {.slot = UINT32_MAX};
	unsigned index = 0;
	unsigned recovered = 0;
	pid_t pid = child_start(stay_elsewhere, &index);

	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	child_kill(pid);
	cr_assert(wait_until(it_is_fenced, &found, 10000), "the member of the other host is %s", found.state);
	cr_assert(zero(int, dm_members_recover_gone(pool->members, &recovered)));
	cr_expect(zero(u32, recovered));
	cr_assert(it_is_fenced(&found), "the member of the other host is %s", found.state);
	cr_expect(eq(int, found.alive, -1));
	cr_expect(zero(int, found.same_host));
	cr_expect(eq(int, dmem_pool_destroy(scratch_uri("p", NULL)), DMEM_E_BUSY));
}

Test(members, beats_go_on)
{
	struct dm_member_view before;
	struct dm_member_view after;

	pool = scratch_attach("p");
	usleep(50 * 1000);
	cr_assert(zero(int, dm_members_view(pool->members, pool->members->slot, &before)));
	for (unsigned i = 0; i < 200; i++) {
		usleep(10 * 1000);
		cr_assert(zero(int, dm_members_view(pool->members, pool->members->slot, &after)));
		if (after.beat.beats >= before.beat.beats + 3)
			break;
	}
	cr_expect(ge(u64, after.beat.beats, before.beat.beats + 3));
}

static bool lost_its_rights(void *unused)
{
	(void)unused;
	return dm_members_rights(pool->members, talk->slot[0], talk->incarnation[0]) == 0;
}

static bool deaths_changed(void *before)
{
	return __atomic_load_n(dm_members_deaths_word(pool->members), __ATOMIC_ACQUIRE) != *(uint32_t *)before;
}

Test(members, a_death_takes_the_rights_and_changes_the_word_that_others_sleep_on)
{
	pid_t pid = start_member(0);
	uint32_t deaths;

	pool = scratch_attach("p");
	cr_expect(eq(int, dm_members_rights(pool->members, talk->slot[0], talk->incarnation[0]), 1));
	cr_expect(eq(int, dm_members_rights(pool->members, talk->slot[0], talk->incarnation[0] + 1), 0));
	cr_expect(eq(int, dm_members_rights(pool->members, pool->members->slots_max, 1), 0));
	deaths = __atomic_load_n(dm_members_deaths_word(pool->members), __ATOMIC_ACQUIRE);
	child_kill(pid);
	cr_assert(wait_until(lost_its_rights, NULL, 3000));
	cr_assert(wait_until(only_me, NULL, 3000));
	/* where words are delegated, the agent follows deaths on its beat */
	cr_expect(wait_until(deaths_changed, &deaths, 3000), "who sleeps on the word is not woken");
	cr_expect(zero(int, dm_members_self(pool->members)));
}

static int count_repairs(void *count, uint32_t slot, uint32_t incarnation)
{
	(void)slot;
	(void)incarnation;
	++*(_Atomic unsigned *)count;
	return 0;
}

/* Our agent and a thread that looks for dead members may both see one: who comes second finds the slot free. */
Test(members, what_another_thread_has_recovered_meanwhile_is_left_alone)
{
	_Atomic unsigned repairs = 0;
	uint64_t stale;

	pool = scratch_attach("p");
	cr_assert(zero(int, dm_failure_register_repair(pool->members, 0, count_repairs, &repairs)));
	child_kill(start_member(0));
	cr_assert(wait_until(only_me, NULL, 3000));
	cr_assert(eq(u32, repairs, 1));
	stale = dm_member_word(DM_MEMBER_RECOVERING, pool->members->slot, talk->incarnation[0]);
	cr_expect(zero(int, dm_members_recover(pool->members, talk->slot[0], stale)));
	cr_expect(eq(u32, repairs, 1));
}
