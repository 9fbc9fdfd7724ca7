/* SPDX-License-Identifier: Apache-2.0 */
/* test_membership.c: deaths of joiners and growers, where others have to wait for them or go on without them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "crash/crash.h"

static void attach_and_leave(struct crash *c)
{
	crash_attach(c);
	(void)dmem_pool_detach(crash_pool);
}

static void check_destruction_after(enum dm_fault_id point)
{
	struct crash *c = crash_begin();

	crash_new_pool(c);
	cr_assert(eq(int, crash_wait(crash_fork_armed(c, attach_and_leave, point, 1)), -SIGKILL));
	cr_expect(zero(int, dmem_pool_destroy(c->uri)), "after %s: %s", dm_fault_name(point), dmem_last_error());
	crash_end(c);
}

Test(membership, a_joiner_that_died_does_not_keep_a_pool_from_being_destroyed)
{
	check_destruction_after(DM_FAULT_MEMBER_BIT_SET);
	check_destruction_after(DM_FAULT_MEMBER_JOINING);
	check_destruction_after(DM_FAULT_MEMBER_IDENTIFIED);
	check_destruction_after(DM_FAULT_MEMBER_LIVE);
	check_destruction_after(DM_FAULT_MEMBER_LEFT);
}

Test(membership, many_joiners_that_died_are_all_cleared_away)
{
	struct crash *c = crash_begin();

	crash_new_pool(c);
	for (int i = 0; i < 5; i++) {
		cr_expect(eq(int, crash_wait(crash_fork_armed(c, attach_and_leave, DM_FAULT_MEMBER_JOINING, 1)), -SIGKILL));
		cr_expect(eq(int, crash_wait(crash_fork_armed(c, attach_and_leave, DM_FAULT_MEMBER_IDENTIFIED, 1)), -SIGKILL));
	}
	cr_expect(zero(int, crash_wait(crash_fork(c, CRASH_HEIR, crash_check))), "%s", c->failure);
	crash_end(c);
}

/* --- growth --- */

#define ADDERS  2
#define DEVICES 5 /* each adds so many */

static void add_devices(struct crash *c)
{
	char uri[CRASH_PATH_BYTES + 64];

	crash_attach(c);
	sem_post(&c->victim_waits);
	while (sem_wait(&c->victim_goes) != 0)
		continue;
	for (int i = 0; i < DEVICES; i++) {
		snprintf(uri, sizeof(uri), "file:%s.%d.%d?size=32M", c->extra, (int)getpid(), i);
		if (dmem_pool_add(crash_pool, uri) != 0)
			crash_fail(c, "add: %s", dmem_last_error());
	}
	(void)dmem_pool_detach(crash_pool);
}

static void count_devices(struct crash *c)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	crash_attach(c);
	if (dmem_pool_info(crash_pool, &info) != 0 || info.devices != 1 + ADDERS * DEVICES)
		crash_fail(c, "%u devices are known, where there should be %u", info.devices, 1 + ADDERS * DEVICES);
	(void)dmem_pool_detach(crash_pool);
}

Test(membership, members_that_add_devices_at_the_same_time_lose_none)
{
	struct crash *c = crash_begin();
	pid_t pids[ADDERS];

	crash_new_pool(c);
	for (int i = 0; i < ADDERS; i++)
		pids[i] = crash_fork(c, CRASH_HEIR, add_devices);
	for (int i = 0; i < ADDERS; i++)
		sem_wait(&c->victim_waits);
	for (int i = 0; i < ADDERS; i++)
		sem_post(&c->victim_goes);
	for (int i = 0; i < ADDERS; i++)
		cr_expect(zero(int, crash_wait(pids[i])), "%s", c->failure);
	cr_expect(zero(int, crash_wait(crash_fork(c, CRASH_HEIR, count_devices))), "%s", c->failure);
	crash_end(c);
}

static void grow(struct crash *c)
{
	crash_attach(c);
	if (dmem_pool_grow(crash_pool, c->size_bytes + DM_GIB) != 0)
		crash_fail(c, "grow: %s", dmem_last_error());
}

/* Everything that can be had lies in the memory that the stopped partner has mapped. */
static void allocate_all(struct crash *c)
{
	unsigned had = 0;

	crash_attach(c);
	while (dmem_alloc_ex(crash_pool, 32 * DM_MIB, NULL) != NULL)
		had++;
	if (had > 32)
		crash_fail(c, "%u MiB were had of a pool of 1 GiB, before a live member had mapped what was added", had * 32);
}

Test(membership, memory_of_a_grower_that_died_is_used_only_when_every_member_has_mapped_it)
{
	struct crash *c = crash_begin();
	pid_t partner;

	c->lease = "60s"; /* so that the stopped partner stays a member */
	crash_new_pool_of(c, DM_GIB);
	partner = crash_fork_partner(c);
	(void)kill(partner, SIGSTOP);
	(void)waitpid(partner, NULL, WUNTRACED);
	cr_assert(eq(int, crash_wait(crash_fork_armed(c, grow, DM_FAULT_GROW_WRITTEN, 1)), -SIGKILL));
	cr_expect(zero(int, crash_wait(crash_fork(c, CRASH_HEIR, allocate_all))), "%s", c->failure);
	(void)kill(partner, SIGKILL);
	(void)crash_wait(partner);
	crash_end(c);
}
