/* SPDX-License-Identifier: Apache-2.0 */
/* test_threads.c: ends of threads, frees from other processes, and fork. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

static struct dmem_pool *pool;

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=64M&members=16&beat=20&lease=3000");
}

TestSuite(threads, .init = set_up, .fini = scratch_end);

static struct dmem_pool_info info_now(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	cr_assert(zero(int, dmem_pool_info(pool, &info)), "%s", dmem_last_error());
	return info;
}

/* Allocate many, free most, end. */
static void *short_life(void *kept)
{
	void *blocks[50];

	for (unsigned i = 0; i < 50; i++)
		blocks[i] = dmem_alloc_ex(pool, 16 + i * 20, NULL);
	*(void **)kept = blocks[0];
	for (unsigned i = 1; i < 50; i++)
		dmem_free(blocks[i]);
	return blocks[49] == NULL ? pool : NULL;
}

static void run_thread(void **kept)
{
	pthread_t thread;
	void *failed;

	cr_assert(zero(int, pthread_create(&thread, NULL, short_life, kept)));
	cr_assert(zero(int, pthread_join(thread, &failed)));
	cr_assert(zero(ptr, failed), "%s", dmem_last_error());
}

Test(threads, a_thousand_short_threads_leave_no_more_than_one)
{
	uint64_t after_ten = 0;
	void *kept;

	for (unsigned i = 0; i < 1000; i++) {
		run_thread(&kept);
		dmem_free(kept);
		if (i == 9)
			after_ten = info_now().leased_bytes;
	}
	cr_expect(eq(u64, info_now().leased_bytes, after_ten));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(threads, slabs_of_ended_threads_are_taken_over)
{
	static void *kept[1000];
	uint64_t after_hundred = 0;

	for (unsigned i = 0; i < 1000; i++) {
		run_thread(&kept[i]);
		if (i == 99)
			after_hundred = info_now().leased_bytes;
	}
	/* 900 blocks of 16 bytes fit the slabs there are */
	cr_expect(eq(u64, info_now().leased_bytes, after_hundred));
	for (unsigned i = 0; i < 1000; i++)
		dmem_free(kept[i]);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

struct handed {
	struct gate ready;
	size_t bytes;
	unsigned wanted;
	unsigned count;
	void *blocks[20000];
};

static int free_handed(void *argument)
{
	struct handed *handed = argument;
	struct dmem_pool *own = scratch_attach("p");

	if (!gate_wait(&handed->ready))
		return 1;
	for (unsigned i = 0; i < handed->count; i++)
		dmem_free(handed->blocks[i]);
	return dmem_pool_detach(own) != 0;
}

/* Takes all there is; true when it is enough. */
static bool take_all(void *argument)
{
	struct handed *handed = argument;
	void *block;

	while (handed->count < 20000 && (block = dmem_alloc_ex(pool, handed->bytes, NULL)) != NULL)
		handed->blocks[handed->count++] = block;
	return handed->count >= handed->wanted;
}

static void free_by_another_process(size_t bytes, unsigned rounds)
{
	struct handed *handed = child_shared(sizeof(*handed));

	handed->bytes = bytes;
	gate_make(&handed->ready);
	for (unsigned round = 0; round < rounds; round++) {
		pid_t pid;

		handed->count = 0;
		/* runs are collected by the agent, on its beat */
		cr_assert(wait_until(take_all, handed, 2000), "of %u blocks that the other process freed, %u came back",
		          handed->wanted, handed->count);
		cr_assert(round == 0 || handed->count == handed->wanted, "%u blocks came of %u", handed->count, handed->wanted);
		handed->wanted = handed->count;
		pid = child_start(free_handed, handed);
		gate_step(&handed->ready);
		cr_assert(zero(int, child_wait(pid)));
	}
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(threads, small_blocks_freed_by_another_process_come_back)
{
	free_by_another_process(5000, 4);
}

Test(threads, blocks_of_a_mebibyte_freed_by_another_process_come_back)
{
	free_by_another_process(DM_MIB, 4);
}

Test(threads, runs_freed_by_another_process_come_back)
{
	free_by_another_process(3 * DM_MIB, 4);
}

static int use_as_child(void *block)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	char *own = dmem_alloc_ex(pool, 100, NULL);

	if (own == NULL || dmem_pool_info(pool, &info) != 0)
		return 1;
	memset(own, 1, 100);
	dmem_free(own);
	dmem_free(block);
	if (dmem_usable_size(block) != 0)
		return 2;
	if (info.members != 2)
		return 3;
	return dmem_pool_detach(pool) != 0 ? 4 : 0;
}

Test(threads, a_child_of_fork_joins_with_its_first_call_and_the_parent_goes_on)
{
	char *given = dmem_alloc_ex(pool, 100, NULL);
	char *kept = dmem_alloc_ex(pool, 100, NULL);
	struct dmem_pool_info before = info_now();

	strcpy(kept, "the parent's");
	cr_expect(zero(int, child_run(use_as_child, given)));
	cr_expect(eq(str, kept, "the parent's"));
	cr_expect(ne(ptr, dmem_alloc_ex(pool, 100, NULL), kept));
	cr_expect(zero(sz, dmem_usable_size(given)));
	cr_expect(eq(u32, info_now().self, before.self));
	cr_expect(eq(u32, info_now().members, 1));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

static int only_look(void *block)
{
	return *(char *)block != 42;
}

Test(threads, a_child_that_never_calls_leaves_no_trace)
{
	char *block = dmem_alloc_ex(pool, 100, NULL);
	static uint8_t before[64 * 1024];
	static uint8_t after[64 * 1024];

	*block = 42;
	cr_assert(zero(int, dmem_pool_detach(pool)));
	pool = scratch_attach("p");
	scratch_read("p", 0, before, 32 * 1024 + 64);
	cr_expect(zero(int, child_run(only_look, block)));
	scratch_read("p", 0, after, 32 * 1024 + 64);
	cr_expect(zero(int, memcmp(before, after, 32 * 1024 + 64)), "superblocks or the lock changed");
	cr_expect(eq(u32, info_now().members, 1));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

static int fork_again(void *block)
{
	int ended = child_run(use_as_child, block);

	if (ended != 3 && ended != 0)
		return 10 + ended;
	return dmem_alloc_ex(pool, 100, NULL) == NULL;
}

Test(threads, a_child_of_a_child_joins_too)
{
	char *block = dmem_alloc_ex(pool, 100, NULL);

	cr_expect(zero(int, child_run(fork_again, block)));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

#ifndef __SANITIZE_ADDRESS__ /* gcc 12's runtime does not hold its own locks over fork(), and such a child waits for ever */

static void *churn(void *stop)
{
	while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED))
		dmem_free(dmem_alloc_ex(pool, 500, NULL));
	return NULL;
}

Test(threads, forks_while_other_threads_allocate_give_working_children)
{
	bool stop = false;
	pthread_t threads[2];

	for (unsigned i = 0; i < 2; i++)
		cr_assert(zero(int, pthread_create(&threads[i], NULL, churn, &stop)));
	for (unsigned i = 0; i < 50; i++) {
		int ended = child_run(use_as_child, NULL);

		cr_assert(zero(int, ended), "fork %u", i);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

#endif

/* A thread that has allocated, and stays until it is told to go. */
struct stayer {
	struct gate allocated;
	struct gate go;
	void *block;
};

static void *allocate_and_stay(void *argument)
{
	struct stayer *stayer = argument;

	stayer->block = dmem_alloc_ex(pool, 64, NULL);
	gate_step(&stayer->allocated);
	return gate_wait(&stayer->go) ? NULL : stayer;
}

/* The heap that this thread had at the first attach is the first that anybody gets at the second one.  It must not be taken
 * for this thread's again: two threads in one heap hand out blocks twice.  A slab has one thread, and fits a unit. */
Test(threads, a_thread_that_outlives_a_detach_does_not_meet_another_in_its_old_heap)
{
	struct stayer stayer = {.block = NULL};
	pthread_t thread;
	void *failed;
	void *mine;

	gate_make(&stayer.allocated);
	gate_make(&stayer.go);
	cr_assert(ne(ptr, dmem_alloc_ex(pool, 64, NULL), NULL));
	cr_assert(zero(int, dmem_pool_detach(pool)));
	pool = scratch_attach("p");
	cr_assert(zero(int, pthread_create(&thread, NULL, allocate_and_stay, &stayer)));
	cr_assert(gate_wait(&stayer.allocated));
	mine = dmem_alloc_ex(pool, 64, NULL);
	gate_step(&stayer.go);
	pthread_join(thread, &failed);
	cr_expect(zero(ptr, failed));
	cr_assert(ne(ptr, mine, NULL));
	cr_assert(ne(ptr, stayer.block, NULL));
	cr_expect(ne(u64, (uint64_t)(uintptr_t)mine >> 16, (uint64_t)(uintptr_t)stayer.block >> 16));
}
