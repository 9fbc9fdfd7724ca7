/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.c: a hundred processes attach, allocate, link, free each other's blocks and detach at the same time; half of them
 * are killed at random moments.  Then everything is counted.
 *
 * The account of who owns what is no part of the pool: an anonymous mapping with one word for each 16 bytes of the pool's
 * window.  A thread writes its number there when it has a block, and takes it away before it frees it; around both it notes
 * what it is about to do.  So a word that is set means a live block, whoever dies; a block that is handed out twice
 * is found at once; and of a killed thread at most the one operation is in doubt that it had noted.
 *
 * Blocks are linked by plain pointers from a table in the pool, which root "table" names: whoever puts a block there takes
 * the one that was there, and frees it.
 *
 * Usage: torture_members [--seconds N] [--seed S] [--processes N] [--kills N]
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "dmem/dmem.h"
#include "lib/survey.h"
#include "lib/torture.h"

#define PROCESSES_MAX   400u
#define THREADS         2u /* of a process that has more than one */
#define POOL_BYTES      (2 * DM_GIB)
#define ENTRIES         (POOL_BYTES / 16)
#define TABLE_SLOTS     512u
#define STEPS           300u
#define ROUNDS_PER_POOL 6u
#define LOST_BYTES_MAX  (8 * DM_MIB)

enum operation { NOTHING, ALLOCATE, FREE };

struct note {
	_Atomic uint32_t operation;
	_Atomic uint64_t address; /* of the block that is being freed */
};

/* Shared by all processes. */
struct account {
	_Atomic uint32_t owner[ENTRIES]; /* by offset / 16: number of the thread that has the block, + 1 */
	struct note notes[PROCESSES_MAX + 1][THREADS];
	_Atomic uint64_t operations;
	_Atomic uint64_t refused; /* allocations: the pool was full */
	_Atomic uint64_t findings;
	_Atomic uint64_t lost; /* blocks of this pool that killed threads were just getting */
	_Atomic uint64_t lost_ever;
	uint64_t base;
};

/* At both ends of a block. */
struct block {
	uint64_t bytes;
	uint64_t owner;
};

struct worker {
	uint32_t process;
	uint32_t thread;
	uint64_t random;
	uint32_t steps; /* 0: until it is killed */
};

static struct account *account;
static struct dmem_pool *pool;
static uint64_t *table; /* in the pool */
static char path[64], uri[80];

static void find(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void find(const char *format, ...)
{
	va_list arguments;
	char sentence[400];

	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	if (atomic_fetch_add(&account->findings, 1) < 50)
		fprintf(stderr, "finding: %s\n", sentence);
}

/* --- the account --- */

static _Atomic uint32_t *owner_of(const void *block)
{
	return &account->owner[((uint64_t)(uintptr_t)block - account->base) / 16];
}

static struct block *tail_of(struct block *block)
{
	return (struct block *)(void *)((char *)block + block->bytes - sizeof(struct block));
}

/* The block, or NULL when the pool is full. */
static struct block *allocate(struct worker *worker, size_t bytes)
{
	struct note *note = &account->notes[worker->process][worker->thread];
	uint32_t number = worker->process * THREADS + worker->thread + 1;
	struct block *block;
	uint32_t before;

	bytes &= ~(size_t)7; /* the tail is aligned, too */
	atomic_store(&note->operation, ALLOCATE);
	block = dmem_alloc_ex(pool, bytes, NULL);
	if (block != NULL) {
		before = atomic_exchange(owner_of(block), number);
		if (before != 0)
			find("block %p was given to thread %u, while thread %u has it", (void *)block, number, before);
	}
	atomic_store(&note->operation, NOTHING);
	if (block == NULL) {
		if (errno != ENOMEM)
			find("allocation of %zu bytes: %s", bytes, dmem_last_error());
		atomic_fetch_add(&account->refused, 1);
		return NULL;
	}
	*block = (struct block){.bytes = bytes, .owner = number};
	*tail_of(block) = *block;
	return block;
}

static void release(struct worker *worker, struct block *block)
{
	struct note *note = &account->notes[worker->process][worker->thread];

	if (atomic_load(owner_of(block)) == 0)
		find("block %p, which somebody linked, is nobody's", (void *)block);
	atomic_store(&note->address, (uint64_t)(uintptr_t)block);
	atomic_store(&note->operation, FREE);
	atomic_store(owner_of(block), 0);
	dmem_free(block);
	atomic_store(&note->operation, NOTHING);
}

/* A block that came out of the table: whoever made it signed it before. */
static void check_contents(struct block *block)
{
	struct block head = *block;
	size_t usable = dmem_usable_size(block);
	uint32_t owner = atomic_load(owner_of(block));

	if (head.bytes < sizeof(head) || head.bytes > usable)
		find("block %p has lost its contents: it says %llu bytes, of %zu", (void *)block,
		     (unsigned long long)head.bytes, usable);
	else if (head.owner != owner || memcmp(&head, tail_of(block), sizeof(head)) != 0)
		find("block %p of %llu bytes has lost its contents: it is thread %u's, and says %llu and %llu", (void *)block,
		     (unsigned long long)head.bytes, owner, (unsigned long long)head.owner,
		     (unsigned long long)tail_of(block)->owner);
}

/* --- what a member does --- */

static size_t choose_size(uint64_t *random)
{
	uint32_t kind = torture_random(random, 1000);

	if (kind < 700)
		return 32 + torture_random(random, 1000);
	if (kind < 930)
		return 32 + torture_random(random, 20000);
	if (kind < 990)
		return 32 + torture_random(random, 900000);
	if (kind < 998)
		return 1100000 + torture_random(random, 3000000);
	return 6000000 + torture_random(random, 1500000);
}

static void link_block(struct worker *worker)
{
	uint64_t *slot = &table[torture_random(&worker->random, TABLE_SLOTS)];
	struct block *block =
		torture_random(&worker->random, 4) == 0 ? NULL : allocate(worker, choose_size(&worker->random));
	uint64_t before = 0;

	if (dmem_atomic_exchange_u64(slot, (uint64_t)(uintptr_t)block, &before) != 0)
		find("exchange: %s", dmem_last_error());
	if (before == 0)
		return;
	check_contents((struct block *)(uintptr_t)before);
	release(worker, (struct block *)(uintptr_t)before);
}

static void use_private_memory(struct worker *worker)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	size_t bytes = choose_size(&worker->random);
	char *block;

	options.tier = DMEM_TIER_POOL;
	block = dmem_alloc_ex(pool, bytes, &options);
	if (block == NULL)
		return;
	memset(block, 0x3c, bytes < 4096 ? bytes : 4096);
	dmem_free(block);
}

static void use_roots(struct worker *worker)
{
	char name[32];

	snprintf(name, sizeof(name), "process %u", torture_random(&worker->random, 32));
	if (dmem_root_set(pool, name, table) != 0)
		find("root_set: %s", dmem_last_error());
	if (dmem_root_get(pool, "table") != table)
		find("root 'table' has gone");
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (uint32_t step = 0; worker->steps == 0 || step < worker->steps; step++) {
		uint32_t what = torture_random(&worker->random, 100);

		if (what < 93)
			link_block(worker);
		else if (what < 99)
			use_private_memory(worker);
		else
			use_roots(worker);
		atomic_fetch_add_explicit(&account->operations, 1, memory_order_relaxed);
	}
	return NULL;
}

static bool attach(void)
{
	if (dmem_pool_attach(uri, NULL, &pool) != 0) {
		find("attach: %s", dmem_last_error());
		return false;
	}
	table = dmem_root_get(pool, "table");
	return true;
}

/* Attach, work in one or two threads, detach; a member that is to be killed does so again and again. */
static void be_member(uint32_t process, uint64_t seed, bool to_be_killed)
{
	uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + process;
	bool stays = torture_random(&random, 2) == 0;
	bool threads = torture_random(&random, 4) == 0;

	do {
		struct worker workers[THREADS];
		pthread_t second;

		for (uint32_t i = 0; i < THREADS; i++)
			workers[i] = (struct worker){
				.process = process, .thread = i, .random = random + i * 77, .steps = to_be_killed && stays ? 0 : STEPS};
		if (!attach())
			_exit(1);
		if (threads && pthread_create(&second, NULL, work, &workers[1]) != 0)
			_exit(1);
		work(&workers[0]);
		if (threads)
			pthread_join(second, NULL);
		random = workers[0].random;
		if (dmem_pool_detach(pool) != 0)
			find("detach: %s", dmem_last_error());
	} while (to_be_killed);
	_exit(0);
}

/* --- what is found afterwards --- */

static struct survey count(void)
{
	struct survey survey;

	if (survey_count(pool, &survey) != 0)
		find("the pool can't be walked: %s", dmem_last_error());
	return survey;
}

static void tell_finding(void *context, const char *finding)
{
	find("validate %s: %s", (const char *)context, finding);
}

static void validate(const char *when)
{
	int rc = dmem_pool_validate(pool, tell_finding, (void *)(uintptr_t)when);

	if (rc != 0 && rc != DMEM_E_CORRUPT)
		find("validate %s: %s", when, dmem_last_error());
}

/* Blocks that a killed thread was freeing and that are there: freed here.  Gives how many threads were allocating. */
static uint64_t settle_doubts(void)
{
	uint64_t allocating = 0;

	for (uint32_t i = 0; i < PROCESSES_MAX; i++) {
		for (uint32_t thread = 0; thread < THREADS; thread++) {
			struct note *note = &account->notes[i][thread];
			void *block = (void *)(uintptr_t)atomic_load(&note->address);

			allocating += atomic_load(&note->operation) == ALLOCATE;
			if (atomic_load(&note->operation) == FREE && atomic_load(owner_of(block)) == 0 &&
			    dmem_usable_size(block) > 0)
				dmem_free(block);
			atomic_store(&note->operation, NOTHING);
		}
	}
	return allocating;
}

/* Frees what the account has, but for the table.  Gives how many blocks that were. */
static uint64_t free_known_blocks(void)
{
	uint64_t known = 0;

	for (uint64_t i = 0; i < ENTRIES; i++) {
		void *block = (void *)(uintptr_t)(account->base + i * 16);

		if (atomic_load_explicit(&account->owner[i], memory_order_relaxed) == 0)
			continue;
		known++;
		if (dmem_usable_size(block) == 0)
			find("block %p of thread %u is not alive", block, atomic_load(&account->owner[i]) - 1);
		else
			dmem_free(block);
		atomic_store(&account->owner[i], 0);
	}
	return known;
}

static void check_links(void)
{
	for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
		struct block *block = (struct block *)(uintptr_t)table[i];

		if (block == NULL)
			continue;
		check_contents(block);
		if (atomic_load(owner_of(block)) == 0)
			find("block %p is in the table and nobody's", (void *)block);
		table[i] = 0;
	}
}

/* Nobody is there: what is leased holds the table and the blocks that were lost, and nothing else. */
static void check_emptied(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	uint64_t lost = atomic_load(&account->lost);

	if (dmem_pool_info(pool, &info) != 0) {
		find("info: %s", dmem_last_error());
		return;
	}
	if (info.leased_bytes > info.chunk_bytes + lost * (LOST_BYTES_MAX + 2 * info.chunk_bytes))
		find("extents are lost: %llu bytes are leased, for %llu lost blocks", (unsigned long long)info.leased_bytes,
		     (unsigned long long)lost);
	if (lost == 0 && info.leased_bytes != info.chunk_bytes)
		find("extents are lost: %llu bytes are leased, though nothing is lost", (unsigned long long)info.leased_bytes);
	if (info.members != 1 || info.quarantined != 0 || info.bad_frees != 0)
		find("%u members, %u quarantined extents, %llu bad frees", info.members, info.quarantined,
		     (unsigned long long)info.bad_frees);
}

static void check_round(void)
{
	uint64_t allocating, known, lost_before = atomic_load(&account->lost), blocks;

	if (!attach())
		return;
	if (!survey_wait_for_members(pool, 1, 20))
		find("20 s after everybody has left, %u members are there beside the checker", survey_members(pool) - 1);
	validate("after the deaths");
	if (count().private_extents != 0)
		find("private memory of the dead is still there");
	if (!survey_adopt_all(pool))
		find("an orphaned chunk can't be leased");
	validate("after the adoption");
	check_links();
	allocating = settle_doubts();
	blocks = count().blocks;
	known = free_known_blocks() + 1; /* the table */
	if (blocks < known + lost_before || blocks > known + lost_before + allocating)
		find("%llu blocks are alive; %llu are known, %llu were lost before, %llu threads were killed while they "
		     "allocated",
		     (unsigned long long)blocks, (unsigned long long)known, (unsigned long long)lost_before,
		     (unsigned long long)allocating);
	atomic_store(&account->lost, blocks - known);
	atomic_fetch_add(&account->lost_ever, blocks - known - lost_before);
	(void)dmem_pool_detach(pool);
	if (!attach())
		return;
	validate("of the emptied pool");
	check_emptied();
	(void)dmem_pool_detach(pool);
}

/* --- rounds --- */

/* This process never has a pool attached when it forks. */
static void in_child(void (*part)(void))
{
	if (!torture_in_child(part))
		find("a part of the test itself died");
}

static void make_table(void)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	options.zeroed = 1;
	if (!attach())
		return;
	if (dmem_root_set(pool, "table", dmem_alloc_ex(pool, TABLE_SLOTS * sizeof(uint64_t), &options)) != 0 ||
	    dmem_pool_info(pool, &info) != 0)
		find("the table can't be made: %s", dmem_last_error());
	account->base = info.base;
	(void)dmem_pool_detach(pool);
}

static void new_pool(void)
{
	char text[160];

	snprintf(text, sizeof(text), "%s?size=2G&members=512&beat=20ms&lease=2s", uri);
	if (dmem_pool_create(text, NULL) != 0)
		find("create: %s", dmem_last_error());
	atomic_store(&account->lost, 0);
	in_child(make_table);
}

static void remove_pool(void)
{
	if (dmem_pool_destroy(uri) != 0) {
		find("destroy: %s", dmem_last_error());
		(void)unlink(path);
	}
}

static void run_round(uint32_t processes, uint32_t kills, uint64_t *random)
{
	pid_t pids[PROCESSES_MAX];
	uint64_t seed = *random;

	for (uint32_t i = 0; i < processes; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			be_member(i, seed, i < kills);
	}
	for (uint32_t i = 0; i < kills; i++) {
		dm_clock_sleep_ns(torture_random(random, 10) * DM_NS_PER_MS);
		(void)kill(pids[i], SIGKILL);
	}
	for (uint32_t i = 0; i < processes; i++) {
		int status = 0;

		if (pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i])
			find("process %u could not be started or waited for", i);
		else if (i < kills ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL : status != 0)
			find("process %u ended with status 0x%x", i, status);
	}
	in_child(check_round);
}

int main(int argc, char **argv)
{
	uint64_t seconds = torture_option(argc, argv, "--seconds", 20);
	uint64_t random = torture_option(argc, argv, "--seed", 1);
	uint32_t processes = (uint32_t)torture_option(argc, argv, "--processes", 100);
	uint32_t kills = (uint32_t)torture_option(argc, argv, "--kills", processes / 2);
	uint64_t deadline = dm_clock_now_ns() + seconds * DM_NS_PER_S;
	uint64_t rounds = 0;

	if (processes == 0 || processes > PROCESSES_MAX || kills > processes) {
		fprintf(stderr, "torture members: up to %u processes, and no more kills than that\n", PROCESSES_MAX);
		return 2;
	}
	snprintf(path, sizeof(path), "/dev/shm/dmem-torture-%d", (int)getpid());
	snprintf(uri, sizeof(uri), "file:%s", path);
	account = mmap(NULL, sizeof(*account), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (account == MAP_FAILED)
		return 2;
	do {
		if (rounds % ROUNDS_PER_POOL == 0)
			new_pool();
		run_round(processes, kills, &random);
		if (++rounds % ROUNDS_PER_POOL == 0)
			remove_pool();
	} while (dm_clock_now_ns() < deadline && atomic_load(&account->findings) == 0);
	if (access(path, F_OK) == 0)
		remove_pool();
	printf("torture members: %llu rounds, %llu processes, %llu kills, %llu operations, %llu blocks lost to kills, "
	       "%llu allocations refused: %llu findings\n",
	       (unsigned long long)rounds, (unsigned long long)(rounds * processes), (unsigned long long)(rounds * kills),
	       (unsigned long long)account->operations, (unsigned long long)account->lost_ever,
	       (unsigned long long)account->refused, (unsigned long long)account->findings);
	return account->findings != 0;
}
