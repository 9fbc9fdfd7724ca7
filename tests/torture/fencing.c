/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fencing.c: members on several hosts are stopped, let go on, and killed at random, while two threads of each store to the pool.
 *
 * A round starts members, does something to each, and looks:
 *
 *   - a member of our host that was stopped, fenced and let go on: its calls say DMEM_E_FENCED, and not one byte of its block has
 *     changed since it was fenced, although both its threads went on storing;
 *   - one of another host: its calls say DMEM_E_FENCED (what it stored before it saw that is printed, and can't be prevented);
 *   - one that was left alone: it is not fenced.  On other hosts it may be, when this machine gave it no time for a lease:
 *     that is printed;
 *   - who was fenced joins again as a new member;
 *   - in the end, when everybody has gone, all slots are free and the pool is valid.
 *
 * The first rounds stop every member, all of our host, until there were --tries of them.
 *
 * Usage: torture_fencing [--seconds N] [--seed S] [--members N] [--tries N]
 */
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "dmem/dmem.h"
#include "lib/torture.h"
#include "pool.h"

#define MEMBERS_MAX 400u
#define HOSTS       3u
#define BLOCK       128u
#define PATIENCE_NS (60 * DM_NS_PER_S)

enum phase { STARTING, READY, REFUSED, AGAIN };
enum deed { LEAVE_ALONE, STOP, KILL };

/* Of one member; shared with it. */
struct cell {
	_Atomic unsigned phase; /* enum phase */
	_Atomic int rc;         /* what refused its call */
	_Atomic uint64_t stores;
	unsigned char *_Atomic block;
	uint32_t slot, incarnation;
	unsigned host; /* 0: ours */
	enum deed deed;
	pid_t pid;
	unsigned char before[BLOCK];
};

static struct cell *cells;
static struct dmem_pool *pool;
static char path[64], uri[160];
static unsigned long findings, stopped, landed, landed_elsewhere, late_elsewhere, killed, again;

static void find(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void find(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	printf("FOUND: ");
	vprintf(format, arguments);
	printf("\n");
	va_end(arguments);
	findings++;
}

/* --- a member --- */

static void burst(struct cell *cell, unsigned at)
{
	volatile uint64_t *words = (volatile uint64_t *)(void *)atomic_load(&cell->block);

	for (unsigned i = 0; i < 2000; i++)
		words[at]++;
	atomic_fetch_add(&cell->stores, 2000);
	usleep(500);
}

static void *store_on(void *cell)
{
	for (;;)
		burst(cell, 8);
	return NULL;
}

static void join(struct cell *cell)
{
	if (dmem_pool_attach(uri, NULL, &pool) != 0)
		_exit(10);
	cell->slot = pool->members->slot;
	cell->incarnation = pool->members->incarnation;
}

static void be_member(struct cell *cell)
{
	char host[16];
	pthread_t second;
	int rc = 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(host, sizeof(host), "host-%u", cell->host);
	if (cell->host != 0)
		setenv("DMEM_HOST_ID", host, 1);
	(void)dmem_pool_detach(pool); /* the parent's, of which a fork has a copy */
	join(cell);
	atomic_store(&cell->block, dmem_alloc_ex(pool, BLOCK, NULL));
	if (atomic_load(&cell->block) == NULL || pthread_create(&second, NULL, store_on, cell) != 0)
		_exit(11);
	atomic_store(&cell->phase, READY);
	while ((rc = dmem_publish(atomic_load(&cell->block), BLOCK)) == 0)
		burst(cell, 0);
	atomic_store(&cell->rc, rc);
	atomic_store(&cell->stores, 0);
	while (atomic_load(&cell->stores) < 40000)
		burst(cell, 0);
	atomic_store(&cell->phase, REFUSED);
	while (atomic_load(&cell->phase) != AGAIN)
		usleep(1000);
	pthread_cancel(second);
	pthread_join(second, NULL);
	if (dmem_pool_detach(pool) != 0)
		_exit(12);
	join(cell);
	if (dmem_alloc_ex(pool, 64, NULL) == NULL || dmem_pool_detach(pool) != 0)
		_exit(13);
	_exit(0);
}

/* --- a round --- */

static bool wait_for_phase(struct cell *cell, enum phase phase)
{
	uint64_t deadline = dm_clock_now_ns() + PATIENCE_NS;

	while (atomic_load(&cell->phase) < phase && dm_clock_now_ns() < deadline)
		usleep(1000);
	return atomic_load(&cell->phase) >= phase;
}

static bool wait_until_fenced(const struct cell *cell)
{
	uint64_t deadline = dm_clock_now_ns() + PATIENCE_NS;

	while (dm_members_rights(pool->members, cell->slot, cell->incarnation) != 0 && dm_clock_now_ns() < deadline)
		usleep(1000);
	return dm_members_rights(pool->members, cell->slot, cell->incarnation) == 0;
}

static void start_members(unsigned count, bool only_stops, uint64_t *random)
{
	fflush(stdout);
	for (unsigned i = 0; i < count; i++) {
		struct cell *cell = &cells[i];
		pid_t pid;

		memset(cell, 0, sizeof(*cell));
		cell->host = only_stops ? 0 : torture_random(random, HOSTS);
		cell->deed = only_stops ? STOP : (enum deed)torture_random(random, 3);
		pid = fork(); /* the cell is the child's too, and is written by the parent only */
		if (pid == 0)
			be_member(cell);
		if (pid < 0) {
			printf("no process for member %u\n", i);
			exit(2);
		}
		cell->pid = pid;
	}
	for (unsigned i = 0; i < count; i++)
		if (!wait_for_phase(&cells[i], READY))
			find("member %u did not start", i);
}

static void do_deeds(unsigned count, uint64_t *random)
{
	for (unsigned i = 0; i < count; i++) {
		if (cells[i].deed != LEAVE_ALONE)
			kill(cells[i].pid, cells[i].deed == STOP ? SIGSTOP : SIGKILL);
		killed += cells[i].deed == KILL;
		usleep(torture_random(random, 3000));
	}
}

/* Each that was stopped is fenced; then it goes on, and is looked at when its calls were refused. */
static void look_at_stopped(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (cells[i].deed != STOP)
			continue;
		if (!wait_until_fenced(&cells[i]))
			find("member %u.%u was stopped and is not fenced", cells[i].slot, cells[i].incarnation);
		memcpy(cells[i].before, atomic_load(&cells[i].block), BLOCK);
		kill(cells[i].pid, SIGCONT);
		stopped++;
	}
	for (unsigned i = 0; i < count; i++) {
		struct cell *cell = &cells[i];

		if (cell->deed != STOP)
			continue;
		if (!wait_for_phase(cell, REFUSED) || atomic_load(&cell->rc) != DMEM_E_FENCED)
			find("member %u.%u goes on and does not see that it is fenced: %d", cell->slot, cell->incarnation,
			     atomic_load(&cell->rc));
		if (memcmp(cell->before, atomic_load(&cell->block), BLOCK) == 0)
			continue;
		landed_elsewhere += cell->host != 0;
		landed += cell->host == 0;
		if (cell->host == 0)
			find("stores of the fenced member %u.%u landed", cell->slot, cell->incarnation);
	}
}

static void end_round(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct cell *cell = &cells[i];
		bool refused = atomic_load(&cell->phase) == REFUSED;
		int status = 0;

		if (cell->deed == LEAVE_ALONE && refused && cell->host == 0)
			find("member %u.%u was left alone, and fenced", cell->slot, cell->incarnation);
		late_elsewhere += cell->deed == LEAVE_ALONE && refused && cell->host != 0;
		if (refused)
			atomic_store(&cell->phase, AGAIN);
		else if (cell->deed != KILL)
			kill(cell->pid, SIGKILL);
		while (waitpid(cell->pid, &status, 0) < 0)
			continue;
		again += refused;
		if (refused && status != 0)
			find("member %u could not join again: status %#x", i, (unsigned)status);
	}
}

static unsigned used_slots(void)
{
	unsigned count = 0;

	for (uint32_t slot = 0; slot < pool->members->slots_max; slot++) {
		struct dm_member_view view;

		count += dm_members_view(pool->members, slot, &view) == 0;
	}
	return count;
}

/* Members of other hosts whose end nobody there could see: one of theirs attaches, and sees it. */
static void look_from_other_hosts(void)
{
	char host[16];

	for (unsigned i = 1; i < HOSTS; i++) {
		snprintf(host, sizeof(host), "host-%u", i);
		setenv("DMEM_HOST_ID", host, 1);
		if (fork() == 0) {
			unsigned recovered;
			int rc = dmem_pool_detach(pool);

			rc = rc ? rc : dmem_pool_attach(uri, NULL, &pool);
			rc = rc ? rc : dm_members_recover_gone(pool->members, &recovered);
			_exit(rc != 0 || dmem_pool_detach(pool) != 0);
		}
		unsetenv("DMEM_HOST_ID");
		wait(NULL);
	}
}

static void run(uint64_t seconds, uint64_t seed, unsigned members, unsigned tries)
{
	uint64_t end = dm_clock_now_ns() + seconds * DM_NS_PER_S;
	uint64_t deadline;
	uint64_t random = seed;

	while (findings == 0 && (stopped < tries || dm_clock_now_ns() < end)) {
		bool only_stops = stopped < tries;
		unsigned count = only_stops && tries - stopped < members ? (unsigned)(tries - stopped) : members;

		start_members(count, only_stops, &random);
		do_deeds(count, &random);
		look_at_stopped(count);
		end_round(count);
		if (only_stops && stopped >= tries)
			printf("%lu members of this host were stopped, fenced and let go on; stores of %lu landed\n", stopped,
			       landed);
	}
	look_from_other_hosts();
	deadline = dm_clock_now_ns() + PATIENCE_NS;
	while (used_slots() > 1 && dm_clock_now_ns() < deadline)
		usleep(10000);
	if (used_slots() > 1)
		find("%u slots did not come back", used_slots() - 1);
	if (dmem_pool_validate(pool, NULL, NULL) != 0)
		find("the pool is damaged: %s", dmem_last_error());
}

int main(int argc, char **argv)
{
	uint64_t seconds = torture_option(argc, argv, "--seconds", 20);
	uint64_t seed = torture_option(argc, argv, "--seed", 1);
	unsigned members = (unsigned)torture_option(argc, argv, "--members", 20);
	unsigned tries = (unsigned)torture_option(argc, argv, "--tries", 200);

	members = members < 1 ? 1 : members > MEMBERS_MAX ? MEMBERS_MAX : members;
	snprintf(path, sizeof(path), "/dev/shm/dmem-torture-fencing-%d", (int)getpid());
	snprintf(uri, sizeof(uri), "file:%s?size=2G&members=1024&beat=100ms&lease=1s", path);
	printf("seed %llu, %u members a round\n", (unsigned long long)seed, members);
	cells = mmap(NULL, sizeof(*cells) * MEMBERS_MAX, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cells == MAP_FAILED || dmem_pool_create(uri, NULL) != 0) {
		printf("no pool: %s\n", dmem_last_error());
		return 2;
	}
	snprintf(uri, sizeof(uri), "file:%s", path);
	if (dmem_pool_attach(uri, NULL, &pool) != 0) {
		printf("no pool: %s\n", dmem_last_error());
		return 2;
	}
	run(seconds, seed, members, tries);
	(void)dmem_pool_detach(pool);
	if (dmem_pool_destroy(uri) != 0)
		unlink(path);
	printf("%lu stopped, %lu killed, %lu joined again; late stores: %lu of this host, of %lu members of other hosts; "
	       "%lu of other hosts were late by themselves; findings: %lu\n",
	       stopped, killed, again, landed, landed_elsewhere, late_elsewhere, findings);
	return findings != 0;
}
