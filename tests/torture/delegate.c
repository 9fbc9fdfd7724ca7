/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegate.c: the arbiter of delegated atomics is killed again and again, under load.
 *
 *   delegate [--seconds N] [--seed S] [--kills N] [--members N]
 *
 * Members add to a counter in a pool of `sim:...?atomics=delegate` and write down, in memory that all share, which number each
 * addition was given.  The arbiter is killed at a random moment, and a new member takes its place.  At the end the counter
 * and the log must agree: no number was given twice, and one is missing for each killed member at most, of the
 * addition that it was in.  Prints how often the arbiter was killed and the longest time that a member waited for one
 * addition, which has to be at most a lease and two beats.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "dmem/dmem.h"
#include "lib/scratch.h"
#include "lib/torture.h"
#include "pool.h"

#define LEASE_MS    1000u
#define BEAT_MS     100u
#define MEMBERS_MAX 16u
#define NUMBERS_MAX (UINT32_C(1) << 24)
#define STALL_MAX   ((LEASE_MS + 2 * BEAT_MS) * DM_NS_PER_MS)

static struct log {
	_Atomic uint32_t given[NUMBERS_MAX]; /* how often each number was given */
	_Atomic uint64_t longest_ns;
	_Atomic uint64_t additions;
	_Atomic uint32_t arbiter; /* place + 1 of who says that it is the arbiter */
	_Atomic uint32_t failed;
	_Atomic bool stop;
} * shared;

static pid_t members[MEMBERS_MAX];
static uint64_t *counter;

static void note_longest(uint64_t ns)
{
	uint64_t seen = atomic_load(&shared->longest_ns);

	while (ns > seen && !atomic_compare_exchange_weak(&shared->longest_ns, &seen, ns))
		continue;
}

static void add_once(struct dmem_pool *pool, unsigned place)
{
	uint64_t began_ns = dm_clock_now_ns();
	uint64_t before;
	int rc = dmem_atomic_add_u64(counter, 1, &before);

	if (rc != 0 || before >= NUMBERS_MAX) {
		fprintf(stderr, "member %u: %d, %s\n", place, rc, dmem_last_error());
		atomic_store(&shared->failed, 1);
		_exit(1);
	}
	atomic_fetch_add(&shared->given[before], 1);
	atomic_fetch_add(&shared->additions, 1);
	note_longest(dm_clock_now_ns() - began_ns);
	if (pool->members->delegate->in_office)
		atomic_store(&shared->arbiter, place + 1);
}

static void live(unsigned place)
{
	struct dmem_pool *pool = scratch_attach("p");

	while (!atomic_load(&shared->stop))
		add_once(pool, place);
	_exit(dmem_pool_detach(pool) != 0);
}

static void start(unsigned place)
{
	fflush(NULL);
	members[place] = fork();
	if (members[place] == 0)
		live(place);
	if (members[place] < 0) {
		perror("fork");
		exit(2);
	}
}

/* False when nobody was the arbiter for ten seconds. */
static bool kill_arbiter(uint64_t *random)
{
	uint64_t deadline_ns = dm_clock_now_ns() + 10 * DM_NS_PER_S;
	uint32_t place;

	dm_clock_sleep_ns((5 + torture_random(random, 40)) * DM_NS_PER_MS);
	while ((place = atomic_load(&shared->arbiter)) == 0) {
		if (dm_clock_now_ns() > deadline_ns || atomic_load(&shared->failed))
			return false;
		dm_clock_sleep_ns(DM_NS_PER_MS / 10);
	}
	kill(members[place - 1], SIGKILL);
	waitpid(members[place - 1], NULL, 0);
	atomic_store(&shared->arbiter, 0);
	start(place - 1);
	return true;
}

static bool check_log(unsigned kills)
{
	uint64_t missing = 0;
	uint64_t twice = 0;
	uint64_t end = 0;
	int rc = dmem_atomic_load_u64(counter, &end);

	for (uint64_t i = 0; rc == 0 && i < end && i < NUMBERS_MAX; i++) {
		missing += atomic_load(&shared->given[i]) == 0;
		twice += atomic_load(&shared->given[i]) > 1;
	}
	printf("counter %" PRIu64 ", log %" PRIu64 ": %" PRIu64 " numbers given twice, %" PRIu64
	       " in doubt with their member (of %u killed)\n",
	       end, atomic_load(&shared->additions), twice, missing, kills);
	return rc == 0 && twice == 0 && missing <= kills;
}

static bool end_members(unsigned count)
{
	bool good = true;

	atomic_store(&shared->stop, true);
	for (unsigned i = 0; i < count; i++) {
		int status = 0;

		good &= waitpid(members[i], &status, 0) == members[i] && status == 0;
	}
	return good;
}

static bool run(uint64_t seconds, uint64_t seed, uint64_t kills_max, unsigned count)
{
	struct dmem_pool *pool = scratch_attach("p");
	uint64_t end_ns = dm_clock_now_ns() + seconds * DM_NS_PER_S;
	uint64_t random = seed;
	unsigned kills = 0;
	bool good = true;

	counter = dmem_alloc_ex(pool, 64, NULL);
	good = counter != NULL && dmem_atomic_store_u64(counter, 0) == 0 && dmem_root_set(pool, "counter", counter) == 0 &&
	       dmem_pool_detach(pool) == 0;
	for (unsigned i = 0; good && i < count; i++)
		start(i);
	while (good && dm_clock_now_ns() < end_ns && kills < kills_max) {
		good = kill_arbiter(&random);
		kills += good;
	}
	good &= end_members(count);
	pool = scratch_attach("p");
	good &= check_log(kills) && dmem_pool_detach(pool) == 0;
	printf("the arbiter was killed %u times; longest stall %.1f ms, at most %.1f are allowed (lease and two beats)\n",
	       kills, (double)atomic_load(&shared->longest_ns) / 1e6, (double)STALL_MAX / 1e6);
	return good && atomic_load(&shared->longest_ns) <= STALL_MAX && atomic_load(&shared->failed) == 0;
}

int main(int argc, char **argv)
{
	uint64_t seconds = torture_option(argc, argv, "--seconds", 20);
	uint64_t seed = torture_option(argc, argv, "--seed", 1);
	uint64_t kills = torture_option(argc, argv, "--kills", UINT32_MAX);
	unsigned count = (unsigned)torture_option(argc, argv, "--members", 4);
	bool good;

	setenv("DMEM_TEST_SCHEME", "sim-delegate", 1);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED || count == 0 || count > MEMBERS_MAX)
		return 2;
	scratch_begin_bare();
	scratch_create("p", "size=16M&members=64&beat=100ms&lease=1s");
	good = run(seconds, seed, kills, count);
	scratch_end();
	printf("%s (seed %" PRIu64 ")\n", good ? "ok" : "not ok", seed);
	return !good;
}
