/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.c: processes allocate, free each other's blocks, fork, are stopped and are killed; half of the blocks are handed over
 * by dmem_alloc_shared_to() and dmem_free_from().  Then everything is counted.
 *
 * The ledger is no part of the pool: a mapping of its own with one entry for each place that may hold a block.  Who works on
 * a place claims its entry, writes there what it is about to do, and clears that when it is done: so of a killed thread one
 * operation is in doubt at most.  The first places are slots in the pool, for the _to calls: there the slot tells how the
 * operation ended, and nothing may be lost.  A second table of the ledger has a word for each 16 bytes of the window: the thread
 * that has the block which starts there.  Blocks are stamped over their whole length, and looked at before they are freed.
 *
 * In every second round those that will be killed use the _to calls only: then not one block and no chunk may be lost.
 * Before all that, the checker is tried: faults are planted, and it has to find each of them.
 *
 * Usage: torture_alloc [--seconds N] [--seed S] [--processes N] [--kills N] [--stops N]
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "dmem/dmem.h"
#include "lib/survey.h"
#include "lib/torture.h"

#define PROCESSES_MAX 64u
#define POOL_BYTES    DM_GIB
#define WINDOW_WORDS  (POOL_BYTES / 16)
#define SLOTS         512u
#define PLACES        1024u /* the slots, and those that only the ledger knows */
#define STEPS         1500u
#define CHILD_STEPS   40u
#define STOP_MS_MAX   30u
#define HANG_NS       (60 * DM_NS_PER_S)
#define BLOCK_BYTES   (3 * DM_MIB) /* the largest */

enum { MAIN, SECOND, CHILD, ROLES }; /* threads of a process, and the main thread of its child */
enum intent { NOTHING, ALLOCATE, FREE };
enum fault { NO_FAULT, LEAKED, OWNED_TWICE, OVERWRITTEN, SLOT_LOST, FREED_TWICE, FAULTS };

struct entry {
	_Atomic uint32_t claim; /* number of the thread that works here; 0: none.  The dead keep theirs */
	_Atomic uint32_t intent;
	_Atomic uint32_t stamped;
	_Atomic uint64_t address;
	_Atomic uint64_t bytes;
	_Atomic uint64_t stamp;
};

/* Shared by all processes. */
struct ledger {
	struct entry entries[PLACES];
	_Atomic uint32_t owner[WINDOW_WORDS]; /* by offset / 16 */
	_Atomic uint64_t operations;
	_Atomic uint64_t forks;
	_Atomic uint64_t refused; /* allocations: the pool was full */
	_Atomic uint64_t lost;    /* blocks that killed threads were just getting, not by a _to call */
	_Atomic uint64_t doubts;  /* operations that threads were killed in */
	_Atomic uint64_t doubts_to;
	_Atomic uint64_t longest_ns; /* call of a process that was neither killed nor stopped */
	_Atomic uint64_t findings;
	bool quiet;
	enum fault fault;
	uint64_t base;
};

struct worker {
	uint32_t number;
	uint64_t random;
	uint32_t steps; /* 0: until it is killed */
	bool only_to;
	bool timed;
	bool forks;
};

static struct ledger *ledger;
static struct dmem_pool *pool;
static void **table; /* in the pool: the slots */
static char path[64], uri[80];

static void find(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void find(const char *format, ...)
{
	va_list arguments;
	char sentence[400];

	va_start(arguments, format);
	vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	if (atomic_fetch_add(&ledger->findings, 1) < 50 && !ledger->quiet)
		fprintf(stderr, "finding: %s\n", sentence);
}

/* --- blocks --- */

static _Atomic uint32_t *owner_of(uint64_t address)
{
	return &ledger->owner[(address - ledger->base) / 16 % WINDOW_WORDS];
}

static void stamp_block(struct entry *entry)
{
	uint64_t *words = (uint64_t *)(uintptr_t)atomic_load(&entry->address);

	for (uint64_t i = 0; i < atomic_load(&entry->bytes) / sizeof(uint64_t); i++)
		words[i] = atomic_load(&entry->stamp) + i;
	atomic_store(&entry->stamped, 1);
}

static void check_block(struct entry *entry)
{
	const uint64_t *words = (const uint64_t *)(uintptr_t)atomic_load(&entry->address);
	uint64_t bytes = atomic_load(&entry->bytes);
	uint64_t stamp = atomic_load(&entry->stamp);

	if (dmem_usable_size(words) < bytes) {
		find("block %p of %" PRIu64 " bytes, which somebody has, is not alive", (const void *)words, bytes);
		return;
	}
	for (uint64_t i = 0; atomic_load(&entry->stamped) && i < bytes / sizeof(uint64_t); i++) {
		if (words[i] == stamp + i)
			continue;
		find("block %p of %" PRIu64 " bytes was overwritten at byte %" PRIu64, (const void *)words, bytes, i * 8);
		return;
	}
}

static size_t choose_size(uint64_t *random)
{
	uint32_t kind = torture_random(random, 1000);

	if (kind < 750)
		return 8 + torture_random(random, 128) * 8;
	if (kind < 960)
		return 8 + torture_random(random, 2500) * 8;
	if (kind < 995)
		return 8 + torture_random(random, 110000) * 8;
	return 8 + torture_random(random, (uint32_t)BLOCK_BYTES / 8 - 1) * 8;
}

/* --- what a thread does --- */

static bool is_slot(const struct entry *entry)
{
	return entry < &ledger->entries[SLOTS];
}

static void **slot_of(const struct entry *entry)
{
	return &table[entry - ledger->entries];
}

static void note_time(const struct worker *worker, uint64_t began_ns)
{
	uint64_t ns = dm_clock_now_ns() - began_ns;
	uint64_t seen = atomic_load(&ledger->longest_ns);

	while (worker->timed && ns > seen && !atomic_compare_exchange_weak(&ledger->longest_ns, &seen, ns))
		continue;
}

static void *call_alloc(const struct entry *entry, size_t bytes)
{
	int rc;

	if (!is_slot(entry))
		return dmem_alloc_ex(pool, bytes, NULL);
	if (*slot_of(entry) != NULL)
		find("slot %td holds %p, and was cleared", entry - ledger->entries, *slot_of(entry));
	rc = dmem_alloc_shared_to(slot_of(entry), bytes);
	errno = rc == -ENOMEM ? ENOMEM : 0;
	return rc == 0 ? *slot_of(entry) : NULL;
}

static void fill(struct worker *worker, struct entry *entry)
{
	size_t bytes = choose_size(&worker->random);
	uint64_t began_ns = dm_clock_now_ns();
	uint32_t before;
	void *block;

	atomic_store(&entry->bytes, bytes);
	atomic_store(&entry->stamp, worker->random ^ (uint64_t)worker->number << 48);
	atomic_store(&entry->stamped, 0);
	atomic_store(&entry->intent, ALLOCATE);
	block = call_alloc(entry, bytes);
	if (block != NULL) {
		atomic_store(&entry->address, (uint64_t)(uintptr_t)block);
		note_time(worker, began_ns);
		before = atomic_exchange(owner_of((uint64_t)(uintptr_t)block), worker->number);
		if (before != 0)
			find("block %p was given to thread %u, while thread %u has it", block, worker->number, before);
		stamp_block(entry);
	} else if (errno == ENOMEM) {
		atomic_fetch_add(&ledger->refused, 1);
	} else {
		find("allocation of %zu bytes: %s", bytes, dmem_last_error());
	}
	atomic_store(&entry->intent, NOTHING);
}

static void drop(struct worker *worker, struct entry *entry)
{
	uint64_t address = atomic_load(&entry->address);
	uint64_t began_ns;

	check_block(entry);
	atomic_store(&entry->intent, FREE);
	if (atomic_exchange(owner_of(address), 0) == 0)
		find("block 0x%" PRIx64 ", which somebody has, is nobody's", address);
	began_ns = dm_clock_now_ns();
	if (!is_slot(entry))
		dmem_free((void *)(uintptr_t)address);
	else if ((uint64_t)(uintptr_t)*slot_of(entry) != address)
		find("slot %td holds %p, not 0x%" PRIx64, entry - ledger->entries, *slot_of(entry), address);
	else if (dmem_free_from(slot_of(entry)) != 0 || *slot_of(entry) != NULL)
		find("free_from: %s", dmem_last_error());
	note_time(worker, began_ns);
	atomic_store(&entry->address, 0);
	atomic_store(&entry->intent, NOTHING);
}

static void step(struct worker *worker)
{
	struct entry *entry = &ledger->entries[torture_random(&worker->random, worker->only_to ? SLOTS : PLACES)];
	uint32_t nobody = 0;

	if (!atomic_compare_exchange_strong(&entry->claim, &nobody, worker->number))
		return;
	if (atomic_load(&entry->address) == 0)
		fill(worker, entry);
	else
		drop(worker, entry);
	atomic_store(&entry->claim, 0);
	atomic_fetch_add_explicit(&ledger->operations, 1, memory_order_relaxed);
}

/* A child of a member is a member of its own from its first call on; it ends with its parent. */
static void fork_child(struct worker *worker)
{
	struct worker child = *worker;
	pid_t parent = getpid();
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		child.number += CHILD - MAIN;
		child.timed = false; /* the first call joins */
		for (uint32_t i = 0; i < CHILD_STEPS; i++) {
			step(&child);
			child.timed = worker->timed;
		}
		_exit(torture_random(&child.random, 2) == 0 ? 0 : dmem_pool_detach(pool) != 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		find("a child of thread %u ended with status 0x%x", worker->number, (unsigned)status);
	atomic_fetch_add(&ledger->forks, 1);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	for (uint32_t i = 0; worker->steps == 0 || i < worker->steps; i++) {
		step(worker);
		if (worker->forks && torture_random(&worker->random, 400) == 0)
			fork_child(worker);
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

static void be_member(uint32_t process, uint64_t seed, bool to_be_killed, bool only_to, bool timed)
{
	struct worker main = {.number = process * ROLES + 1,
	                      .random = seed * UINT64_C(0x9e3779b97f4a7c15) + process,
	                      .steps = to_be_killed ? 0 : STEPS,
	                      .only_to = only_to && to_be_killed,
	                      .timed = timed};
	struct worker other;
	bool threads = torture_random(&main.random, 3) == 0;
	pthread_t second;

	main.forks = torture_random(&main.random, 3) == 0;
#ifdef __SANITIZE_ADDRESS__ /* gcc 12's runtime does not hold its own locks over fork(): such a child may wait for ever */
	main.forks = main.forks && !threads;
#endif
	other = main;
	other.forks = false;
	other.number += SECOND;
	other.random += 77;
	if (!attach() || (threads && pthread_create(&second, NULL, work, &other) != 0))
		_exit(1);
	work(&main);
	if (threads)
		pthread_join(second, NULL);
	if (dmem_pool_detach(pool) != 0)
		find("detach: %s", dmem_last_error());
	_exit(0);
}

/* --- what is found afterwards --- */

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

/* Its thread was killed in an operation on a slot: the slot says how that ended. */
static void settle_slot(struct entry *entry)
{
	uint64_t held = (uint64_t)(uintptr_t)*slot_of(entry);
	uint64_t address = atomic_load(&entry->address);

	if (held != 0 && address != 0 && held != address)
		find("slot %td holds 0x%" PRIx64 ", not 0x%" PRIx64 " or NULL", entry - ledger->entries, held, address);
	if (atomic_load(&entry->intent) == ALLOCATE && held == 0 && address != 0)
		find("slot %td lost the block 0x%" PRIx64 " after the call returned", entry - ledger->entries, address);
	atomic_store(&entry->address, held);
	if (held != 0)
		atomic_store(owner_of(held), 1);
}

/* Another entry has a block there: this one's was freed, and the memory was given out again. */
static bool is_given_again(const struct entry *entry, uint64_t address)
{
	for (uint32_t i = 0; i < PLACES; i++)
		if (&ledger->entries[i] != entry && atomic_load(&ledger->entries[i].address) == address)
			return true;
	return false;
}

/* The same without a slot.  Gives 1 when a block may be lost. */
static uint64_t settle_plain(struct entry *entry)
{
	uint64_t address = atomic_load(&entry->address);

	if (atomic_load(&entry->intent) == ALLOCATE) {
		if (address != 0)
			atomic_store(owner_of(address), 1);
		return address == 0;
	}
	if (address == 0)
		return 0;
	if (atomic_load(owner_of(address)) != 0 && !is_given_again(entry, address))
		return 0; /* it died before it gave the block up */
	if (atomic_load(owner_of(address)) == 0 && dmem_usable_size((void *)(uintptr_t)address) > 0)
		dmem_free((void *)(uintptr_t)address);
	atomic_store(&entry->address, 0);
	return 0;
}

static uint64_t settle_doubts(void)
{
	uint64_t may_be_lost = 0;

	for (uint32_t pass = 0; pass < 2; pass++) { /* what is alive for sure first: a free in doubt looks at it */
		for (uint32_t i = 0; i < PLACES; i++) {
			struct entry *entry = &ledger->entries[i];
			uint32_t intent = atomic_load(&entry->intent);

			if (intent == NOTHING || (pass == 0) != (is_slot(entry) || intent == ALLOCATE))
				continue;
			atomic_fetch_add(&ledger->doubts, 1);
			atomic_fetch_add(&ledger->doubts_to, is_slot(entry));
			if (is_slot(entry))
				settle_slot(entry);
			else
				may_be_lost += settle_plain(entry);
			atomic_store(&entry->intent, NOTHING);
		}
	}
	return may_be_lost;
}

static int by_address(const void *left, const void *right)
{
	const struct entry *const *a = left;
	const struct entry *const *b = right;

	return (atomic_load(&(*a)->address) > atomic_load(&(*b)->address)) -
	       (atomic_load(&(*a)->address) < atomic_load(&(*b)->address));
}

/* Blocks that the ledger has.  No two of them may overlap, and slots hold what the ledger says. */
static uint64_t check_entries(void)
{
	static struct entry *known[PLACES];
	uint64_t count = 0;
	uint64_t end = 0;

	for (uint32_t i = 0; i < PLACES; i++) {
		struct entry *entry = &ledger->entries[i];

		if (is_slot(entry) && (uint64_t)(uintptr_t)*slot_of(entry) != atomic_load(&entry->address))
			find("slot %u holds %p, the ledger says 0x%" PRIx64, i, *slot_of(entry), atomic_load(&entry->address));
		if (atomic_load(&entry->address) != 0)
			known[count++] = entry;
	}
	qsort(known, count, sizeof(known[0]), by_address);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t address = atomic_load(&known[i]->address);

		if (address < end)
			find("block 0x%" PRIx64 " lies in the block before it, which ends at 0x%" PRIx64, address, end);
		check_block(known[i]);
		end = address + dmem_usable_size((void *)(uintptr_t)address);
	}
	return count;
}

static void drop_all(void)
{
	struct worker checker = {.number = PROCESSES_MAX * ROLES + 1};

	for (uint32_t i = 0; i < PLACES; i++) {
		if (atomic_load(&ledger->entries[i].address) != 0)
			drop(&checker, &ledger->entries[i]);
		atomic_store(&ledger->entries[i].claim, 0);
	}
}

/* Nobody is there, and the table is free as well: nothing may be leased but for the blocks that were lost. */
static void check_emptied(uint64_t lost)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	if (dmem_pool_info(pool, &info) != 0) {
		find("info: %s", dmem_last_error());
		return;
	}
	if (info.leased_bytes > lost * (BLOCK_BYTES + 2 * info.chunk_bytes))
		find("%llu bytes are leased, for %" PRIu64 " lost blocks", (unsigned long long)info.leased_bytes, lost);
	if (info.members != 1 || info.quarantined != 0 || info.bad_frees != 0)
		find("%u members, %u quarantined extents, %llu bad frees", info.members, info.quarantined,
		     (unsigned long long)info.bad_frees);
}

static void check_round(void)
{
	struct survey survey = {.blocks = 0};
	uint64_t may_be_lost, known;
	uint64_t lost = 0;

	if (!attach())
		return;
	if (!survey_wait_for_members(pool, 1, 20))
		find("20 s after everybody has left, %u members are there beside the checker", survey_members(pool) - 1);
	validate("after the deaths");
	if (!survey_adopt_all(pool))
		find("an orphaned chunk can't be leased");
	validate("after the adoption");
	may_be_lost = settle_doubts();
	known = check_entries() + 1; /* the table */
	if (survey_count(pool, &survey) != 0)
		find("the pool can't be walked: %s", dmem_last_error());
	if (survey.blocks < known || survey.blocks > known + may_be_lost)
		find("%" PRIu64 " blocks are alive; %" PRIu64 " are known, %" PRIu64
		     " threads were killed in a plain allocation",
		     survey.blocks, known, may_be_lost);
	else
		lost = survey.blocks - known;
	atomic_fetch_add(&ledger->lost, lost);
	drop_all();
	if (dmem_root_set(pool, "table", NULL) != 0)
		find("root_set: %s", dmem_last_error());
	dmem_free(table);
	if (dmem_pool_detach(pool) != 0 || !attach())
		return;
	validate("of the emptied pool");
	check_emptied(lost);
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
	if (dmem_root_set(pool, "table", dmem_alloc_ex(pool, SLOTS * sizeof(void *), &options)) != 0 ||
	    dmem_pool_info(pool, &info) != 0)
		find("the table can't be made: %s", dmem_last_error());
	ledger->base = info.base;
	(void)dmem_pool_detach(pool);
}

static void new_pool(void)
{
	char text[160];

	memset(ledger->entries, 0, sizeof(ledger->entries));
	madvise(ledger->owner, sizeof(ledger->owner), MADV_REMOVE);
	snprintf(text, sizeof(text), "%s?size=1G&members=256&beat=50ms&lease=2s", uri);
	if (dmem_pool_create(text, NULL) != 0)
		find("create: %s", dmem_last_error());
	in_child(make_table);
}

static void remove_pool(void)
{
	if (dmem_pool_destroy(uri) != 0) {
		find("destroy: %s", dmem_last_error());
		(void)unlink(path);
	}
}

/* Kills the first of them, stops some others for a moment, both in between each other. */
static void disturb(const pid_t *pids, uint32_t kills, uint32_t stops, uint64_t *random)
{
	uint32_t killed = 0;
	uint32_t stopped = 0;

	while (killed < kills || stopped < stops) {
		bool stop = killed == kills || (stopped < stops && torture_random(random, 2) == 0);
		pid_t pid = stop ? pids[kills + stopped++] : pids[killed++];

		dm_clock_sleep_ns(torture_random(random, 15) * DM_NS_PER_MS);
		if (pid <= 0)
			continue;
		if (stop || torture_random(random, 4) == 0) {
			(void)kill(pid, SIGSTOP);
			dm_clock_sleep_ns((1 + torture_random(random, STOP_MS_MAX)) * DM_NS_PER_MS);
		}
		(void)kill(pid, stop ? SIGCONT : SIGKILL);
	}
}

static void wait_for(uint32_t process, pid_t pid, bool killed, uint64_t deadline_ns)
{
	int status = 0;
	pid_t got = 0;

	while (pid > 0 && (got = waitpid(pid, &status, WNOHANG)) == 0 && dm_clock_now_ns() < deadline_ns)
		dm_clock_sleep_ns(DM_NS_PER_MS);
	if (got == 0 && pid > 0) {
		find("process %u hangs", process);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, &status, 0);
	} else if (got != pid || pid < 0) {
		find("process %u could not be started or waited for", process);
	} else if (killed ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL : status != 0) {
		find("process %u ended with status 0x%x", process, (unsigned)status);
	}
}

static void run_round(uint32_t processes, uint32_t kills, uint32_t stops, bool only_to, uint64_t *random)
{
	pid_t pids[PROCESSES_MAX];
	uint64_t seed = *random;

	new_pool();
	for (uint32_t i = 0; i < processes; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			be_member(i, seed, i < kills, only_to, i >= kills + stops);
	}
	disturb(pids, kills, stops, random);
	for (uint32_t i = 0; i < processes; i++)
		wait_for(i, pids[i], i < kills, dm_clock_now_ns() + HANG_NS);
	in_child(check_round);
	remove_pool();
}

/* --- does the checker find anything? --- */

static void plant(void)
{
	struct worker worker = {.number = 1, .random = 1};
	struct entry *slot = &ledger->entries[0];
	struct entry *plain = &ledger->entries[SLOTS];

	if (!attach())
		return;
	for (uint32_t i = 0; i < PLACES; i++)
		fill(&worker, &ledger->entries[i]);
	switch (ledger->fault) {
	case LEAKED:
		(void)dmem_alloc_ex(pool, 64, NULL);
		break;
	case OWNED_TWICE:
		drop(&worker, plain + 1);
		atomic_store(&plain[1].address, atomic_load(&plain[0].address));
		atomic_store(&plain[1].bytes, atomic_load(&plain[0].bytes));
		atomic_store(&plain[1].stamp, atomic_load(&plain[0].stamp));
		break;
	case OVERWRITTEN:
		((char *)(uintptr_t)atomic_load(&plain->address))[atomic_load(&plain->bytes) / 2] ^= 1;
		break;
	case SLOT_LOST: /* as a thread that dies in free_from, without a repair */
		atomic_store(&slot->intent, FREE);
		*slot_of(slot) = NULL;
		break;
	case FREED_TWICE:
		dmem_free((void *)(uintptr_t)atomic_load(&plain->address));
		break;
	default:
		break;
	}
	(void)dmem_pool_detach(pool);
}

static void prove_checker(void)
{
	bool good = true;
	bool silent;

	for (uint32_t fault = NO_FAULT; fault < FAULTS; fault++) {
		ledger->fault = fault;
		ledger->quiet = fault != NO_FAULT;
		new_pool();
		in_child(plant);
		in_child(check_round);
		remove_pool();
		silent = atomic_exchange(&ledger->findings, 0) == 0;
		if (silent != (fault == NO_FAULT))
			fprintf(stderr, "the checker %s, with planted fault %u\n", silent ? "finds nothing" : "finds something",
			        fault);
		good = good && silent == (fault == NO_FAULT);
	}
	ledger->quiet = false;
	atomic_store(&ledger->lost, 0);
	atomic_store(&ledger->doubts, 0);
	atomic_store(&ledger->doubts_to, 0);
	if (!good)
		find("the checker can't be relied on");
}

int main(int argc, char **argv)
{
	uint64_t seconds = torture_option(argc, argv, "--seconds", 20);
	uint64_t random = torture_option(argc, argv, "--seed", 1);
	uint32_t processes = (uint32_t)torture_option(argc, argv, "--processes", 16);
	uint32_t kills = (uint32_t)torture_option(argc, argv, "--kills", processes / 2);
	uint32_t stops = (uint32_t)torture_option(argc, argv, "--stops", processes / 4);
	uint64_t deadline = dm_clock_now_ns() + seconds * DM_NS_PER_S;
	uint64_t rounds = 0;

	if (processes > PROCESSES_MAX || kills + stops > processes) {
		fprintf(stderr, "torture alloc: up to %u processes, and no more kills and stops than that\n", PROCESSES_MAX);
		return 2;
	}
	snprintf(path, sizeof(path), "/dev/shm/dmem-torture-alloc-%d", (int)getpid());
	snprintf(uri, sizeof(uri), "file:%s", path);
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ledger == MAP_FAILED)
		return 2;
	prove_checker();
	while (atomic_load(&ledger->findings) == 0 && dm_clock_now_ns() < deadline)
		run_round(processes, kills, stops, rounds++ % 2 == 0, &random);
	printf("torture alloc: %u planted faults found; longest call of a survivor %.1f ms\n", FAULTS - 1,
	       (double)ledger->longest_ns / 1e6);
	printf("torture alloc: %" PRIu64 " rounds, %" PRIu64 " kills, %" PRIu64 " threads died in an operation (%" PRIu64
	       " in a _to call), %" PRIu64 " stops, %" PRIu64 " forks, %" PRIu64 " operations, %" PRIu64
	       " blocks lost by plain allocations, %" PRIu64 " refused: %" PRIu64 " findings\n",
	       rounds, rounds * kills, ledger->doubts, ledger->doubts_to, rounds * stops, ledger->forks, ledger->operations,
	       ledger->lost, ledger->refused, ledger->findings);
	return ledger->findings != 0 || rounds == 0;
}
