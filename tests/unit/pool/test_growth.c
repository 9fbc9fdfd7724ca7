/* SPDX-License-Identifier: Apache-2.0 */
/* test_growth.c: more memory for a pool while members use it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define KEYS "size=16M&members=16&span=1G&lease=100&beat=10"

/* What parent and child tell each other. */
struct talk {
	struct gate ready;
	struct gate go;
	char *volatile address;
	volatile int result;
};

static struct talk *talk;
static struct dmem_pool *pool;

static void set_up(void)
{
	scratch_begin();
	scratch_create("p", KEYS);
	talk = child_shared(sizeof(*talk));
	gate_make(&talk->ready);
	gate_make(&talk->go);
}

TestSuite(growth, .init = set_up, .fini = scratch_end);

static uint64_t size_now(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	return dmem_pool_info(pool, &info) == 0 ? info.size_bytes : 0;
}

/* Attach, say so, wait, then use a pointer that the other process made. */
static int use_what_comes(void *unused)
{
	(void)unused;
	(void)scratch_attach("p");
	gate_step(&talk->ready);
	if (!gate_wait(&talk->go))
		return 1;
	memset(talk->address, 0x5a, 4 * DM_MIB);
	dmem_free(talk->address);
	return 0;
}

static char *fill_until_device_or_segment(uint64_t beyond)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	char *block = NULL;

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	do
		block = dmem_alloc_ex(pool, 4 * DM_MIB, NULL);
	while (block != NULL && (uint64_t)block < info.base + beyond);
	return block;
}

static void expect_other_member_can_use(uint64_t beyond)
{
	pid_t other = child_start(use_what_comes, NULL);

	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	if (beyond == 16 * DM_MIB)
		cr_assert(zero(int, dmem_pool_grow(pool, 128 * DM_MIB)), "%s", dmem_last_error());
	else
		cr_assert(zero(int, dmem_pool_add(pool, scratch_uri("q", "size=128M"))), "%s", dmem_last_error());
	talk->address = fill_until_device_or_segment(16 * DM_MIB);
	cr_assert(ne(ptr, talk->address, NULL), "%s", dmem_last_error());
	gate_step(&talk->go);
	cr_expect(zero(int, child_wait(other)), "the other member could not use the new memory");
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(growth, another_member_can_use_pointers_into_grown_memory_at_once)
{
	expect_other_member_can_use(16 * DM_MIB);
	cr_expect(eq(u64, size_now(), 128 * DM_MIB));
}

Test(growth, another_member_can_use_pointers_into_an_added_device_at_once)
{
	expect_other_member_can_use(0);
	cr_expect(eq(u64, size_now(), 144 * DM_MIB));
}

Test(growth, sizes_that_are_no_growth_are_refused)
{
	pool = scratch_attach("p");
	cr_expect(eq(int, dmem_pool_grow(pool, 0), DMEM_E_OPTION));
	cr_expect(eq(int, dmem_pool_grow(pool, 8 * DM_MIB), DMEM_E_OPTION));
	cr_expect(scratch_says("16 MiB") && scratch_says("smaller"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_grow(pool, 16 * DM_MIB), DMEM_E_OPTION));
	cr_expect(eq(int, dmem_pool_grow(pool, UINT64_MAX), DMEM_E_OPTION));
	cr_expect(eq(int, dmem_pool_grow(pool, 2 * DM_GIB), DMEM_E_OPTION), "beyond the span");
	cr_expect(scratch_says("span"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_grow(pool, 18 * DM_MIB), DMEM_E_TOO_SMALL), "one extent has no room beside its metadata");
	cr_expect(eq(u64, size_now(), 16 * DM_MIB));
}

Test(growth, a_refused_growth_leaves_the_file_as_it_was)
{
	struct stat status;

	pool = scratch_attach("p");
	cr_expect(eq(int, dmem_pool_grow(pool, 2 * DM_GIB), DMEM_E_OPTION));
	cr_assert(zero(int, stat(scratch_path("p"), &status)));
	cr_expect(eq(i64, status.st_size, 16 * (int64_t)DM_MIB));
}

Test(growth, a_pool_grows_up_to_its_span)
{
	pool = scratch_attach("p");
	cr_expect(zero(int, dmem_pool_grow(pool, DM_GIB)), "%s", dmem_last_error());
	cr_expect(eq(u64, size_now(), DM_GIB));
	cr_expect(ne(ptr, dmem_alloc_ex(pool, 512 * DM_MIB, NULL), NULL), "%s", dmem_last_error());
}

Test(growth, what_was_grown_is_there_after_the_next_attach)
{
	char *block;

	pool = scratch_attach("p");
	cr_assert(zero(int, dmem_pool_grow(pool, 64 * DM_MIB)));
	cr_assert(zero(int, dmem_pool_grow(pool, 256 * DM_MIB)));
	block = dmem_alloc_ex(pool, 100 * DM_MIB, NULL);
	cr_assert(ne(ptr, block, NULL));
	block[100 * DM_MIB - 1] = 7;
	cr_assert(zero(int, dmem_pool_detach(pool)));
	pool = scratch_attach("p");
	cr_expect(eq(chr, block[100 * DM_MIB - 1], 7));
	dmem_free(block);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

Test(growth, a_pool_cannot_have_more_segments_than_its_table)
{
	int rc = 0;

	pool = scratch_attach("p");
	for (unsigned i = 1; i <= 96 && rc == 0; i++)
		rc = dmem_pool_grow(pool, (16 + 8 * i) * DM_MIB);
	cr_expect(eq(int, rc, -ENOSPC));
	cr_expect(scratch_says("96"), "%s", dmem_last_error());
	cr_expect(eq(u64, size_now(), (16 + 8 * 95) * DM_MIB));
}

static int attach_and_stop(void *unused)
{
	(void)unused;
	(void)scratch_attach("p");
	gate_step(&talk->ready);
	raise(SIGSTOP);
	return gate_wait(&talk->go) ? 0 : 1;
}

static bool more_can_be_had(void *unused)
{
	(void)unused;
	return dmem_alloc_ex(pool, 32 * DM_MIB, NULL) != NULL;
}

Test(growth, a_stopped_member_delays_the_use_and_nothing_else)
{
	pid_t other;
	int status;

	/* with a lease so long that it is not fenced meanwhile */
	scratch_create("patient", "size=16M&members=16&span=1G&lease=60s&beat=10");
	cr_assert(zero(int, rename(scratch_path("patient"), scratch_path("p"))));
	other = child_start(attach_and_stop, NULL);
	cr_assert(gate_wait(&talk->ready));
	cr_assert(eq(int, waitpid(other, &status, WUNTRACED), other));
	pool = scratch_attach("p");
	cr_expect(eq(int, dmem_pool_grow(pool, 128 * DM_MIB), DMEM_E_BUSY));
	cr_expect(scratch_says("used as soon as it does"), "%s", dmem_last_error());
	cr_expect(zero(ptr, dmem_alloc_ex(pool, 32 * DM_MIB, NULL)), "memory that a member has not mapped was given out");
	kill(other, SIGCONT);
	cr_expect(wait_until(more_can_be_had, NULL, 3000), "the new memory was never used");
	gate_step(&talk->go);
	cr_expect(zero(int, child_wait(other)));
}

Test(growth, a_dead_member_does_not_delay_it)
{
	pid_t other = child_start(attach_and_stop, NULL);

	cr_assert(gate_wait(&talk->ready));
	pool = scratch_attach("p");
	child_kill(other);
	cr_expect(zero(int, dmem_pool_grow(pool, 128 * DM_MIB)), "%s", dmem_last_error());
	cr_expect(more_can_be_had(NULL));
}
