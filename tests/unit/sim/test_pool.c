/* SPDX-License-Identifier: Apache-2.0 */
/* test_pool.c: a pool whose members have caches that nobody keeps equal: everything a pool does, in several processes. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "transport/sim/sim.h"

#define KEYS  "size=32M&members=16&beat=20ms&lease=3s"
#define NODES 200
#define BLOCK 40
#define TURNS 12u

struct node {
	struct node *next;
	uint64_t value;
};

static void set_up(void)
{
	setenv("DMEM_TEST_SCHEME", "sim", 1);
	/* much more restless than the default, so that a run meets what a day would */
	setenv("DMEM_SIM_RATE", "4", 1);
	scratch_begin();
}

static void tear_down(void)
{
	struct dm_sim_counts counts;

	dm_sim_count(&counts);
	cr_expect(eq(u64, counts.violations, 0), "plain stores went to lines with atomic words");
	scratch_end();
}

TestSuite(sim_pool, .init = set_up, .fini = tear_down, .timeout = 280);

static struct node *make_node(struct dmem_pool *pool, struct node *next, uint64_t value)
{
	struct node *node = dmem_alloc_ex(pool, sizeof(*node), NULL);

	if (node == NULL)
		return NULL;
	*node = (struct node){.next = next, .value = value};
	return dmem_publish(node, sizeof(*node)) == 0 ? node : NULL;
}

static struct node *make_list(struct dmem_pool *pool, uint64_t count)
{
	struct node *head = NULL;

	for (uint64_t i = 0; i < count; i++) {
		head = make_node(pool, head, i);
		if (head == NULL)
			break;
	}
	return head;
}

/* How many nodes are as they should be, the newest first. */
static uint64_t walk_list(const struct node *node, uint64_t count)
{
	uint64_t good = 0;

	for (; node != NULL && good < count; node = node->next) {
		if (dmem_refresh(node, sizeof(*node)) != 0 || node->value != count - 1 - good)
			break;
		good++;
	}
	return node == NULL ? good : 0;
}

static int read_and_free(void *argument)
{
	struct dmem_pool *pool = scratch_attach("p");
	struct node *node = dmem_root_get(pool, "list");
	struct node *next;
	struct dm_sim_counts counts;

	(void)argument;
	if (walk_list(node, NODES) != NODES)
		return 1;
	for (; node != NULL; node = next) {
		next = node->next;
		dmem_free(node);
	}
	if (dmem_root_set(pool, "list", NULL) != 0)
		return 2;
	if (dmem_pool_validate(pool, NULL, NULL) != 0)
		return 3;
	dm_sim_count(&counts);
	if (counts.violations != 0)
		return 4;
	return dmem_pool_detach(pool) != 0 ? 5 : 0;
}

static void expect_valid(struct dmem_pool *pool)
{
	struct scratch_findings findings = {0};

	cr_expect(zero(int, dmem_pool_validate(pool, scratch_note_finding, &findings)), "%s", findings.last);
	cr_expect(eq(u32, findings.count, 0), "%s", findings.last);
}

Test(sim_pool, a_list_made_by_one_member_is_read_and_freed_by_another)
{
	struct dmem_pool *pool = scratch_pool("p", KEYS);

	for (unsigned round = 0; round < 5; round++) {
		struct node *list = make_list(pool, NODES);

		cr_assert(ne(ptr, list, NULL));
		cr_assert(zero(int, dmem_root_set(pool, "list", list)), "%s", dmem_last_error());
		cr_assert(zero(int, child_run(read_and_free, NULL)), "round %u", round);
		cr_expect(zero(ptr, dmem_root_get(pool, "list")));
		expect_valid(pool);
	}
	cr_expect(zero(int, dmem_pool_detach(pool)));
}

Test(sim_pool, a_pool_says_what_it_is)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct dmem_pool *pool = scratch_pool("p", KEYS "&atomics=cpu");

	cr_assert(zero(int, dmem_pool_info(pool, &info)), "%s", dmem_last_error());
	cr_expect(eq(u32, info.coherence, DMEM_COHERENCE_NONCOHERENT));
	cr_expect(eq(u32, info.atomics, DMEM_ATOMICS_CPU));
	cr_expect(eq(u32, info.granule_bytes, 64));
	cr_expect(zero(int, strncmp(info.uri, "sim:", 4)), "%s", info.uri);
}

Test(sim_pool, a_pool_larger_than_64_mib_is_refused_and_none_grows_beyond)
{
	struct dmem_pool *pool;

	cr_expect(eq(int, dmem_pool_create(scratch_uri("large", "size=66M"), NULL), DMEM_E_OPTION));
	cr_expect(scratch_says("64"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_create(scratch_uri("large", NULL), NULL), DMEM_E_OPTION));
	pool = scratch_pool("p", KEYS);
	cr_expect(eq(int, dmem_pool_grow(pool, 66 * DM_MIB), DMEM_E_OPTION));
	cr_expect(scratch_says("64"), "%s", dmem_last_error());
	cr_expect(zero(int, dmem_pool_grow(pool, 64 * DM_MIB)), "%s", dmem_last_error());
}

Test(sim_pool, a_coherent_one_is_refused)
{
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", KEYS "&coherence=coherent"), NULL), DMEM_E_OPTION));
	cr_expect(scratch_says("coherent"), "%s", dmem_last_error());
}

Test(sim_pool, private_pool_memory_is_refused_with_a_reason)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	struct dmem_pool *pool = scratch_pool("p", KEYS);

	options.tier = DMEM_TIER_POOL;
	errno = 0;
	cr_expect(zero(ptr, dmem_alloc_ex(pool, 4096, &options)));
	cr_expect(ne(int, errno, 0));
	cr_expect(scratch_says("private"), "%s", dmem_last_error());
	expect_valid(pool);
}

/* --- neighbours --- */

struct writers {
	uint64_t *blocks[2][NODES]; /* memory of the processes, not of the pool */
	struct gate begin;
};

static int write_own_blocks(void *argument)
{
	struct writers *writers = argument;
	struct dmem_pool *pool = scratch_attach("p");

	for (unsigned i = 0; i < NODES; i++) {
		writers->blocks[1][i] = dmem_alloc_ex(pool, BLOCK, NULL);
		if (writers->blocks[1][i] == NULL)
			return 1;
		memset(writers->blocks[1][i], 0x22, BLOCK);
		if (dmem_publish(writers->blocks[1][i], BLOCK) != 0)
			return 2;
	}
	/* the parent's blocks, which it wrote at the same time */
	for (unsigned i = 0; i < NODES; i++) {
		unsigned char *block;

		for (unsigned ms = 0; __atomic_load_n(&writers->blocks[0][i], __ATOMIC_ACQUIRE) == NULL; ms++)
			if (ms == 10000 || dmem_publish(writers->blocks[1][0], BLOCK) != 0)
				return 3;
		block = (unsigned char *)writers->blocks[0][i];
		if (dmem_refresh(block, BLOCK) != 0)
			return 4;
		for (unsigned byte = 0; byte < BLOCK; byte++)
			if (block[byte] != 0x11)
				return 5;
	}
	return dmem_pool_detach(pool);
}

static bool is_filled(const unsigned char *block, unsigned char byte)
{
	for (unsigned i = 0; i < BLOCK; i++)
		if (block[i] != byte)
			return false;
	return true;
}

Test(sim_pool, small_blocks_of_two_members_do_not_disturb_each_other)
{
	struct dmem_pool *pool = scratch_pool("p", KEYS);
	struct writers *writers = child_shared(sizeof(*writers));
	pid_t pid = child_start(write_own_blocks, writers);

	for (unsigned i = 0; i < NODES; i++) {
		uint64_t *block = dmem_alloc_ex(pool, BLOCK, NULL);

		cr_assert(ne(ptr, block, NULL));
		memset(block, 0x11, BLOCK);
		cr_assert(zero(int, dmem_publish(block, BLOCK)));
		__atomic_store_n(&writers->blocks[0][i], block, __ATOMIC_RELEASE);
	}
	cr_assert(zero(int, child_wait(pid)));
	for (unsigned i = 0; i < NODES; i++) {
		cr_assert(zero(int, dmem_refresh(writers->blocks[0][i], BLOCK)));
		cr_assert(zero(int, dmem_refresh(writers->blocks[1][i], BLOCK)));
		cr_expect(is_filled((unsigned char *)writers->blocks[0][i], 0x11), "block %u", i);
		cr_expect(is_filled((unsigned char *)writers->blocks[1][i], 0x22), "block %u", i);
	}
	expect_valid(pool);
}

/* Two blocks of one member that lie beside each other, given to two members to write. */
static int write_the_second(void *argument)
{
	struct dmem_pool *pool = scratch_attach("p");
	char *block = *(char **)argument;

	for (unsigned i = 0; i <= 1000; i++) {
		memset(block, (int)(i % 100), BLOCK);
		if (dmem_publish(block, BLOCK) != 0)
			return 1;
	}
	return dmem_pool_detach(pool);
}

Test(sim_pool, neighbouring_blocks_survive_two_writers)
{
	struct dmem_pool *pool = scratch_pool("p", KEYS);
	char *first = dmem_alloc_ex(pool, BLOCK, NULL);
	char *second = dmem_alloc_ex(pool, BLOCK, NULL);
	pid_t pid;

	cr_assert(eq(u64, (uint64_t)(second - first), 64), "the blocks are no neighbours: the test would show nothing");
	pid = child_start(write_the_second, &second);
	for (unsigned i = 0; i <= 1000; i++) {
		memset(first, (int)(i % 100 + 100), BLOCK);
		cr_assert(zero(int, dmem_publish(first, BLOCK)));
		cr_assert(is_filled((unsigned char *)first, (unsigned char)(i % 100 + 100)), "round %u", i);
	}
	cr_assert(zero(int, child_wait(pid)));
	cr_assert(zero(int, dmem_refresh(first, 128)));
	cr_expect(is_filled((unsigned char *)first, 100));
	cr_expect(is_filled((unsigned char *)second, 0));
}

/* --- memory that changes hands --- */

/* Blocks wander: each round one member allocates and writes, the other frees; stale and dirty lines of earlier lives must
 * not come back. */
static int take_turns(void *argument)
{
	struct gate *gates = argument;
	struct dmem_pool *pool = scratch_attach("p");

	for (unsigned round = 0; round < TURNS; round++) {
		struct node *node;
		struct node *next;

		if (!gate_wait(&gates[0]))
			return 1;
		node = dmem_root_get(pool, "list");
		if (walk_list(node, 50) != 50)
			return 2;
		for (; node != NULL; node = next) {
			next = node->next;
			node->value = UINT64_C(0xdeaddead); /* dirty and never published */
			dmem_free(node);
		}
		node = make_list(pool, 50);
		if (node == NULL || dmem_root_set(pool, "list", node) != 0)
			return 3;
		gate_step(&gates[1]);
	}
	return dmem_pool_detach(pool);
}

Test(sim_pool, freed_memory_carries_nothing_into_its_next_life)
{
	struct dmem_pool *pool = scratch_pool("p", KEYS);
	struct gate gates[2];
	pid_t pid;

	gate_make(&gates[0]);
	gate_make(&gates[1]);
	pid = child_start(take_turns, gates);
	for (unsigned round = 0; round < TURNS; round++) {
		struct node *node = make_list(pool, 50);
		struct node *next;

		cr_assert(ne(ptr, node, NULL));
		cr_assert(zero(int, dmem_root_set(pool, "list", node)));
		gate_step(&gates[0]);
		cr_assert(gate_wait(&gates[1]), "round %u, child %d", round, child_wait(pid));
		node = dmem_root_get(pool, "list");
		cr_assert(eq(u64, walk_list(node, 50), 50), "round %u", round);
		for (; node != NULL; node = next) {
			next = node->next;
			node->value = UINT64_C(0xdeaddead);
			dmem_free(node);
		}
	}
	cr_assert(zero(int, child_wait(pid)));
	expect_valid(pool);
}

Test(sim_pool, zeroed_memory_is_zero_for_atomic_operations_too)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	struct dmem_pool *pool = scratch_pool("p", KEYS);

	options.zeroed = 1;
	for (unsigned round = 0; round < 20; round++) {
		uint64_t *word = dmem_alloc_ex(pool, 64, NULL);
		uint64_t before = 1;

		cr_assert(ne(ptr, word, NULL));
		memset(word, 0xff, 64);
		cr_assert(zero(int, dmem_publish(word, 64)));
		dmem_free(word);
		word = dmem_alloc_ex(pool, 64, &options);
		cr_assert(zero(int, dmem_atomic_add_u64(word, 5, &before)));
		cr_expect(eq(u64, before, 0));
		dmem_free(word);
	}
}

/* --- death --- */

static int die_with_much(void *argument)
{
	struct dmem_pool *pool = scratch_attach("p");
	struct node *list = make_list(pool, NODES);
	uint64_t *kept = dmem_alloc_ex(pool, 64, NULL);

	(void)argument;
	if (list == NULL || kept == NULL || dmem_root_set(pool, "list", list) != 0)
		return 1;
	*kept = 1;
	if (dmem_publish(kept, 8) != 0 || dmem_root_set(pool, "kept", kept) != 0)
		return 2;
	*kept = 2; /* not published; its line is not touched by anything else any more */
	raise(SIGKILL);
	return 3;
}

static bool is_alone(void *argument)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	return dmem_pool_info(argument, &info) == 0 && info.members == 1;
}

Test(sim_pool, a_killed_member_leaves_what_it_published_and_nothing_else)
{
	struct dmem_pool *pool;
	uint64_t *kept;

	setenv("DMEM_SIM_RATE", "0", 1);
	pool = scratch_pool("p", KEYS);
	for (unsigned round = 0; round < 3; round++) {
		struct node *node;
		struct node *next;

		cr_assert(eq(int, child_run(die_with_much, NULL), CHILD_SIGNAL + SIGKILL));
		cr_assert(wait_until(is_alone, pool, 5000));
		expect_valid(pool);
		node = dmem_root_get(pool, "list");
		cr_assert(eq(u64, walk_list(node, NODES), NODES));
		for (; node != NULL; node = next) {
			next = node->next;
			dmem_free(node);
		}
		kept = dmem_root_get(pool, "kept");
		cr_assert(zero(int, dmem_refresh(kept, 8)));
		cr_expect(eq(u64, *kept, 1));
		dmem_free(kept);
		expect_valid(pool);
	}
}

Test(sim_pool, deaths_are_recovered_while_lines_move_by_themselves)
{
	struct dmem_pool *pool = scratch_pool("p", KEYS);

	for (unsigned round = 0; round < 5; round++) {
		struct node *node;
		struct node *next;

		cr_assert(eq(int, child_run(die_with_much, NULL), CHILD_SIGNAL + SIGKILL));
		cr_assert(wait_until(is_alone, pool, 5000));
		node = dmem_root_get(pool, "list");
		cr_assert(eq(u64, walk_list(node, NODES), NODES));
		for (; node != NULL; node = next) {
			next = node->next;
			dmem_free(node);
		}
		expect_valid(pool);
	}
}

/* --- fork --- */

static int go_on_in_child(void *argument)
{
	struct dmem_pool *pool = argument;
	uint64_t *inherited = dmem_root_get(pool, "word");
	uint64_t *own;

	if (inherited == NULL || *inherited != 7) /* stored by the parent, not published */
		return 1;
	own = dmem_alloc_ex(pool, 64, NULL);
	if (own == NULL)
		return 2;
	*own = 9;
	if (dmem_publish_all(pool) != 0 || dmem_root_set(pool, "own", own) != 0)
		return 3;
	return dmem_pool_detach(pool);
}

Test(sim_pool, a_child_has_a_copy_of_its_own_and_never_publishes_its_parents_stores)
{
	struct dmem_pool *pool;
	uint64_t *word;
	uint64_t *own;

	setenv("DMEM_SIM_RATE", "0", 1);
	pool = scratch_pool("p", KEYS);
	word = dmem_alloc_ex(pool, 64, NULL);
	*word = 5;
	cr_assert(zero(int, dmem_publish(word, 8)));
	cr_assert(zero(int, dmem_root_set(pool, "word", word)));
	*word = 7;
	cr_assert(zero(int, child_run(go_on_in_child, pool)));
	own = dmem_root_get(pool, "own");
	cr_assert(ne(ptr, own, NULL));
	cr_assert(zero(int, dmem_refresh(own, 8)));
	cr_expect(eq(u64, *own, 9));
	cr_expect(eq(u64, *word, 7));
	cr_assert(zero(int, dmem_refresh(word, 8)));
	cr_expect(eq(u64, *word, 5), "the child published what its parent had stored");
}
