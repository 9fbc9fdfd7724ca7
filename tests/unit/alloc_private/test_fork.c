/* SPDX-License-Identifier: Apache-2.0 */
/* test_fork.c: a child of fork() has a copy of private pool memory, and a parent is none the worse for its children. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "alloc/private/heap.h"
#include "dmem/error.h"
#include "lib/memfd_source.h"

static struct memfd_source source;
static struct dm_private *heap;

static void open_heap(void)
{
	heap = source_open(&source, 256);
	cr_assert(ne(ptr, heap, NULL));
}

static void close_heap(void)
{
	dm_private_destroy(heap);
	cr_expect(eq(u64, source.taken, 0));
	source_close(&source);
}

TestSuite(private_fork, .init = open_heap, .fini = close_heap, .timeout = 60);

static int exit_code_of(pid_t child)
{
	int status;

	if (child < 0 || waitpid(child, &status, 0) != child)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

Test(private_fork, child_and_parent_do_not_see_each_others_stores)
{
	char *small = dm_private_alloc(heap, 100, 0, false);
	char *large = dm_private_alloc(heap, 5 * DM_MIB, 0, false);
	int gate[2];
	pid_t child;
	char go;

	strcpy(small, "before");
	memset(large, 'b', 5 * DM_MIB);
	cr_assert(eq(int, pipe(gate), 0));
	child = fork();
	if (child == 0) {
		if (read(gate[0], &go, 1) != 1 || strcmp(small, "before") || large[5 * DM_MIB - 1] != 'b')
			_exit(1);
		strcpy(small, "child");
		memset(large, 'c', 5 * DM_MIB);
		_exit(0);
	}
	strcpy(small, "parent");
	memset(large, 'p', 5 * DM_MIB);
	cr_assert(eq(i64, write(gate[1], "g", 1), 1));
	cr_assert(eq(int, exit_code_of(child), 0));
	cr_assert(eq(int, strcmp(small, "parent"), 0));
	cr_assert(eq(chr, large[5 * DM_MIB - 1], 'p'));
	cr_assert(eq(int, dm_private_free(heap, small), 0));
	cr_assert(eq(int, dm_private_free(heap, large), 0));
}

/* What a child may do with the blocks it inherited, and what not. */
static int use_inherited(char **blocks, size_t count)
{
	uint64_t extent, offset;

	if (!dm_private_inherited(heap) || dm_private_alloc(heap, 16, 0, false))
		return 1;
	for (size_t i = 0; i < count; i++) {
		if (dm_private_usable(heap, blocks[i]) == 0 || dm_private_find(blocks[i]) != heap)
			return 2;
		if (dm_private_locate(heap, blocks[i], &extent, &offset) != DMEM_E_FOREIGN)
			return 3;
		if (dm_private_free(heap, blocks[i] + 1) != DMEM_E_INTERIOR)
			return 4;
		if (dm_private_free(heap, blocks[i]) || dm_private_free(heap, blocks[i]) != DMEM_E_DOUBLE_FREE)
			return 5;
	}
	dm_private_destroy(heap);
	return 0;
}

Test(private_fork, a_child_frees_what_it_inherited_and_the_pool_notices_nothing)
{
	char *blocks[100];
	uint64_t taken;
	pid_t child;

	for (size_t i = 0; i < 100; i++)
		blocks[i] = dm_private_alloc(heap, i * i * 300 + 2, 0, false);
	taken = source.taken;
	child = fork();
	if (child == 0) {
		int code = use_inherited(blocks, 100);

		_exit(code ? code : source.taken == taken ? 0 : 9);
	}
	cr_assert(eq(int, exit_code_of(child), 0));
	cr_assert(not(dm_private_inherited(heap)));
	for (size_t i = 0; i < 100; i++)
		cr_assert(eq(int, dm_private_free(heap, blocks[i]), 0));
}

Test(private_fork, a_child_opens_a_heap_of_its_own_and_forks_in_turn)
{
	char *block = dm_private_alloc(heap, 1000, 0, false);
	pid_t child;

	strcpy(block, "first");
	child = fork();
	if (child == 0) {
		struct memfd_source own;
		struct dm_private *fresh = source_open(&own, 16);
		char *more = fresh ? dm_private_alloc(fresh, 1000, 0, false) : NULL;
		pid_t grandchild;

		if (!more)
			_exit(1);
		strcpy(more, "second");
		grandchild = fork();
		if (grandchild == 0)
			_exit(strcmp(block, "first") || strcmp(more, "second") || dm_private_free(heap, block) ||
			      dm_private_free(fresh, more));
		strcpy(block, "other");
		strcpy(more, "other");
		_exit(exit_code_of(grandchild) || dm_private_free(heap, block) || dm_private_free(fresh, more));
	}
	cr_assert(eq(int, exit_code_of(child), 0));
	cr_assert(eq(int, strcmp(block, "first"), 0));
}

/* Writers keep two words far apart equal but for the moment between two stores: a copy that was taken while stores went
 * on shows differences of more than one. */
#define WORDS_APART (40u << 20 >> 3)

static _Atomic bool stop;
static volatile uint64_t *words;

static void *write_words(void *unused)
{
	for (uint64_t i = 1; !stop; i++) {
		words[0] = i;
		words[WORDS_APART] = i;
	}
	return unused;
}

Test(private_fork, the_copy_is_of_one_moment_while_other_threads_store)
{
	pthread_t thread;

	words = dm_private_alloc(heap, (WORDS_APART + 1) * 8, 0, true);
	cr_assert(eq(int, pthread_create(&thread, NULL, write_words, NULL), 0));
	for (int i = 0; i < 30; i++) {
		uint64_t before = words[0];
		pid_t child = fork();

		if (child == 0) {
			uint64_t first = words[0], second = words[WORDS_APART];

			_exit(!(first == second || first == second + 1) || words[0] != first ? 1 : first < before ? 2 : 0);
		}
		cr_assert(eq(int, exit_code_of(child), 0));
	}
	stop = true;
	pthread_join(thread, NULL);
}

static void *churn(void *unused)
{
	while (!stop) {
		char *block = dm_private_alloc(heap, 300, 0, false);
		char *large = dm_private_alloc(heap, 3 * DM_MIB, 0, false);

		block[0] = 1;
		large[0] = 1;
		dm_private_free(heap, block);
		dm_private_free(heap, large);
	}
	return unused;
}

Test(private_fork, forks_amid_allocations_leave_child_and_parent_working)
{
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		cr_assert(eq(int, pthread_create(&threads[i], NULL, churn, NULL), 0));
	for (int i = 0; i < 100; i++) {
		char *mine = dm_private_alloc(heap, 200, 0, false);
		pid_t child;

		memset(mine, i, 200);
		child = fork();
		if (child == 0)
			_exit(mine[199] != (char)i || dm_private_free(heap, mine));
		cr_assert(eq(int, exit_code_of(child), 0));
		cr_assert(eq(int, dm_private_free(heap, mine), 0));
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
}

static char *of_handlers[2];

/* These stand in for fork handlers that run while the heap is frozen: after ours before the fork. */
static int touch_while_frozen(void)
{
	dm_private_fork_prepare();
	if (dm_private_alloc(heap, 16, 0, false)) /* no new memory, but no hang either */
		return 1;
	strcpy(of_handlers[0], "touched");
	if (dm_private_free(heap, of_handlers[1]) || dm_private_free(heap, of_handlers[1]) != DMEM_E_DOUBLE_FREE)
		return 2;
	dm_private_fork_parent();
	return strcmp(of_handlers[0], "touched") ? 3 : 0;
}

Test(private_fork, a_handler_in_the_forking_thread_may_store_and_free)
{
	uint64_t taken = source.taken;

	of_handlers[0] = dm_private_alloc(heap, 100, 0, false);
	of_handlers[1] = dm_private_alloc(heap, 3 * DM_MIB, 0, false);
	cr_assert(eq(int, touch_while_frozen(), 0));
	cr_assert(eq(u64, source.taken, taken + 1));
	cr_assert(ne(ptr, dm_private_alloc(heap, 16, 0, false), NULL));
}

static pthread_mutex_t of_program = PTHREAD_MUTEX_INITIALIZER;

static void *store_under_lock(void *block)
{
	for (uint64_t i = 0; !stop; i++) {
		pthread_mutex_lock(&of_program);
		*(volatile uint64_t *)block = i;
		pthread_mutex_unlock(&of_program);
	}
	return NULL;
}

Test(private_fork, a_handler_that_waits_for_a_thread_that_waits_for_the_fork_gets_its_lock)
{
	const struct timespec a_while = {.tv_nsec = 200000000};
	void *block = dm_private_alloc(heap, 100, 0, false);
	pthread_t thread;

	cr_assert(eq(int, pthread_create(&thread, NULL, store_under_lock, block), 0));
	dm_private_fork_prepare();
	nanosleep(&a_while, NULL);
	cr_expect(eq(int, pthread_mutex_trylock(&of_program), EBUSY)); /* its holder is in a store, and waits for us */
	cr_expect(eq(int, pthread_mutex_lock(&of_program), 0));
	dm_private_fork_parent();
	pthread_mutex_unlock(&of_program);
	stop = true;
	pthread_join(thread, NULL);
}

Test(private_fork, what_a_handler_stored_after_the_copy_is_in_the_child)
{
	char *block = dm_private_alloc(heap, 100, 0, false);
	pid_t child;

	strcpy(block, "before");
	dm_private_fork_prepare();
	strcpy(block, "late");
	child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	if (child == 0) {
		block[10] = 'x'; /* as glibc does to its FILEs before the handlers run */
		dm_private_fork_child();
		_exit(strcmp(block, "late") || block[10] != 'x' || dm_private_free(heap, block));
	}
	dm_private_fork_parent();
	cr_assert(eq(int, exit_code_of(child), 0));
	cr_assert(all(eq(int, strcmp(block, "late"), 0), ne(chr, block[10], 'x')));
}

Test(private_fork, a_raw_clone_gets_copies_and_cannot_harm_its_parent)
{
	char *block = dm_private_alloc(heap, 100, 0, false);
	pid_t child;

	strcpy(block, "parent");
	child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0);
	if (child == 0) {
		if (strcmp(block, "parent") || dm_private_alloc(heap, 10, 0, false))
			_exit(1);
		strcpy(block, "clone");
		_exit(dm_private_free(heap, block));
	}
	cr_assert(eq(int, exit_code_of(child), 0));
	cr_assert(eq(int, strcmp(block, "parent"), 0));
	cr_assert(eq(int, dm_private_free(heap, block), 0));
}

Test(private_fork, vfork_changes_nothing)
{
	char *block = dm_private_alloc(heap, 100, 0, false);
	pid_t child = vfork();

	if (child == 0)
		_exit(0);
	cr_assert(eq(int, exit_code_of(child), 0));
	strcpy(block, "still here");
	cr_assert(eq(int, dm_private_free(heap, block), 0));
}

Test(private_fork, a_fork_that_fails_leaves_the_parent_whole)
{
	const struct rlimit none = {0, 0};
	char *block = dm_private_alloc(heap, 100, 0, false);
	pid_t child = fork();

	if (child == 0) {
		char *mine;
		struct memfd_source own;
		struct dm_private *fresh = source_open(&own, 16);

		/* As another user, who may have no process more. */
		if (!fresh || !(mine = dm_private_alloc(fresh, 100, 0, false)) || setrlimit(RLIMIT_NPROC, &none) ||
		    (geteuid() == 0 && setresuid(65534, 65534, 65534)))
			_exit(1);
		if (fork() >= 0)
			_exit(2);
		strcpy(mine, "whole");
		_exit(dm_private_free(fresh, mine));
	}
	cr_assert(eq(int, exit_code_of(child), 0));
	cr_assert(eq(int, dm_private_free(heap, block), 0));
}

Test(private_fork, a_page_that_the_program_protects_is_still_a_fault)
{
	char *block = dm_private_alloc(heap, 3 * DM_MIB, 4096, false);
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	cr_assert(eq(int, exit_code_of(child), 0));
	child = fork();
	if (child == 0) {
		const struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		mprotect(block, 4096, PROT_NONE);
		*(volatile char *)block = 1;
		_exit(0);
	}
	cr_assert(ne(int, exit_code_of(child), 0)); /* SIGSEGV, or what a sanitizer makes of it */
}
