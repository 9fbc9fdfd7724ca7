/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_sync.c: a death at each point of the calls of src/sync, while others use the same object.
 *
 * The victim and two partners play the same game with one object.  The victim is killed at the first passages of a point; the
 * partners, who sleep until they are woken and look again never, have to come to their end, and the account has to be right.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/stop.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"

#define HOUR     (3600 * DM_NS_PER_S)
#define PASSAGES 3u
#define ROUNDS   40u
#define PLAYERS  3u /* the first is the victim */

/* In the pool.  What is guarded has lines of its own. */
struct table {
	struct dmem_mutex mutex;
	uint64_t sections; /* that were begun */
	uint64_t ended;
	uint64_t spare[6];
};

/* Outside of the pool: what each player knows that it has done. */
static struct account {
	_Atomic uint64_t sections[PLAYERS];
	_Atomic bool inside[PLAYERS];
	_Atomic bool victim_ended;
} * account;

static struct dmem_pool *pool;
static struct table *table;

struct game {
	const char *name;
	int (*play)(unsigned player); /* one round; 0, or what was wrong */
	int (*check)(void);           /* after everybody has ended */
	const char *host;             /* of the partners; NULL: the victim's */
	enum dm_fault_id points[8];
	unsigned count;
};

struct victim {
	const struct game *game;
	enum dm_fault_id point;
	unsigned passage;
};

struct partner {
	const struct game *game;
	unsigned player;
};

static void new_pool(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=16M&members=32&beat=20&lease=3000");
	table = dmem_alloc_ex(pool, sizeof(*table),
	                      &(struct dmem_alloc_options){.struct_bytes = sizeof(struct dmem_alloc_options), .zeroed = 1});
	cr_assert(ne(ptr, table, NULL));
	cr_assert(zero(int, dmem_publish(&table->sections, 64)));
	cr_assert(zero(int, dmem_mutex_init(&table->mutex)));
	cr_assert(zero(int, dmem_mutex_guard(&table->mutex, &table->sections, 64)));
	account = child_shared(sizeof(*account));
}

static void remove_pool(void)
{
	cr_expect(zero(int, dmem_pool_detach(pool)));
	scratch_end();
}

/* --- games --- */

static int lock_mutex(void)
{
	int rc = dmem_mutex_lock(&table->mutex);

	if (rc != DMEM_E_OWNER_DEAD)
		return rc;
	table->ended = table->sections; /* the dead one's section is over */
	return dmem_mutex_consistent(&table->mutex);
}

static int play_mutex(unsigned player)
{
	int rc = lock_mutex();

	if (rc)
		return 1;
	if (table->ended != table->sections)
		return 2; /* somebody is inside */
	account->inside[player] = true;
	table->sections++;
	if (account->sections[player] % 8 == player)
		dm_clock_sleep_ns(300000); /* others go to sleep meanwhile */
	table->ended++;
	account->sections[player]++;
	account->inside[player] = false;
	return dmem_mutex_unlock(&table->mutex) == 0 ? 0 : 3;
}

/* Each section that was ended is counted; the victim's last one may have been ended and not noted. */
static int check_mutex(void)
{
	uint64_t noted = 0;
	int rc = lock_mutex();

	for (unsigned i = 0; i < PLAYERS; i++)
		noted += account->sections[i];
	if (rc == 0 && table->sections != noted && table->sections != noted + account->inside[0])
		rc = 1;
	return rc ? rc : dmem_mutex_unlock(&table->mutex);
}

static const struct game games[] = {
	{.name = "mutex",
     .play = play_mutex,
     .check = check_mutex,
     .points = {DM_FAULT_MUTEX_TAKEN, DM_FAULT_MUTEX_ENTERED, DM_FAULT_MUTEX_RELEASED, DM_FAULT_MUTEX_POKED},
     .count = 4},
	{.name = "mutex between hosts",
     .play = play_mutex,
     .check = check_mutex,
     .host = "another host",
     .points = {DM_FAULT_WAIT_BELL_SET, DM_FAULT_MUTEX_TAKEN, DM_FAULT_MUTEX_ENTERED, DM_FAULT_MUTEX_RELEASED,
                DM_FAULT_MUTEX_POKED},
     .count = 5},
};

/* --- players --- */

static int join(void)
{
	uint64_t value;
	int rc = dmem_atomic_load_u64((uint64_t *)(void *)&table->mutex, &value);

	pool->sync->look_ns = HOUR;
	return rc;
}

static int be_victim(void *argument)
{
	const struct victim *victim = argument;
	int rc;

	rc = join();
	dm_fault_arm(victim->point, DM_FAULT_KILL, victim->passage);
	for (unsigned i = 0; rc == 0 && i < 1000 * ROUNDS; i++)
		rc = victim->game->play(0);
	return rc == 0 ? 50 : rc < 0 ? 51 : rc;
}

static int be_partner(void *argument)
{
	const struct partner *partner = argument;
	int rc;

	if (partner->game->host != NULL)
		setenv("DMEM_HOST_ID", partner->game->host, 1);
	rc = join();

	for (unsigned left = ROUNDS; rc == 0 && left > 0; left -= account->victim_ended)
		rc = partner->game->play(partner->player);
	return rc < 0 ? 51 : rc;
}

/* How the victim ended; everybody else has to end well, and the pool has to be whole. */
static int run(const struct game *game, enum dm_fault_id point, unsigned passage)
{
	struct victim victim = {game, point, passage};
	struct partner partners[PLAYERS - 1];
	pid_t pids[PLAYERS];
	struct scratch_findings findings = {0};
	int ended;

	new_pool();
	for (unsigned i = 1; i < PLAYERS; i++) {
		partners[i - 1] = (struct partner){game, i};
		pids[i] = child_start(be_partner, &partners[i - 1]);
	}
	pids[0] = child_start(be_victim, &victim);
	ended = child_wait(pids[0]);
	account->victim_ended = true;
	for (unsigned i = 1; i < PLAYERS; i++)
		cr_expect(zero(int, child_wait(pids[i])), "%s: player %u, after a death at passage %u of %s", game->name, i,
		          passage, dm_fault_name(point));
	cr_expect(zero(int, game->check()), "%s, after a death at passage %u of %s", game->name, passage,
	          dm_fault_name(point));
	cr_expect(ge(int, dmem_pool_validate(pool, scratch_note_finding, &findings), 0));
	cr_expect(zero(uint, findings.count), "%s", findings.last);
	remove_pool();
	return ended;
}

ParameterizedTestParameters(crash_sync, a_death_inside_leaves_the_object_in_use)
{
	static unsigned indexes[16];

	for (unsigned i = 0; i < DM_ARRAY_LENGTH(games); i++)
		indexes[i] = i;
	return cr_make_param_array(unsigned, indexes, DM_ARRAY_LENGTH(games));
}

ParameterizedTest(const unsigned *index, crash_sync, a_death_inside_leaves_the_object_in_use)
{
	const struct game *game = &games[*index];

	dm_stop_take_part();
	for (unsigned i = 0; i < game->count; i++)
		for (unsigned passage = 1; passage <= PASSAGES; passage++)
			cr_expect(eq(int, run(game, game->points[i], passage), CHILD_SIGNAL + SIGKILL), "%s: passage %u of %s",
			          game->name, passage, dm_fault_name(game->points[i]));
}

/* So that no point is forgotten here. */
Test(crash_sync, every_point_is_in_some_game)
{
	for (int point = DM_FAULT_WAIT_BELL_SET; point <= DM_FAULT_MUTEX_POKED; point++) {
		bool found = false;

		for (unsigned i = 0; i < DM_ARRAY_LENGTH(games); i++)
			for (unsigned k = 0; k < games[i].count; k++)
				found |= games[i].points[k] == (enum dm_fault_id)point;
		cr_expect(found, "%s", dm_fault_name((enum dm_fault_id)point));
	}
}
