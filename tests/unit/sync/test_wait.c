/* SPDX-License-Identifier: Apache-2.0 */
/* test_wait.c: wait and wake between threads, processes and hosts.  Sleepers never look again by themselves here, so that a
 * lost wake-up is a test that does not end. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"
#include "sync/wait.h"

#define ROUNDS  2000u
#define SECOND  INT64_C(1000000000)
#define FOREVER INT64_C(-1)

static struct dmem_pool *pool;
static uint32_t *word;

static void set_up(void)
{
	dm_stop_take_part();
	scratch_begin();
	pool = scratch_pool("p", "size=16M&members=16&beat=20&lease=2000");
	word = dmem_alloc_ex(pool, 64, NULL);
	cr_assert(ne(ptr, word, NULL));
	cr_assert(zero(int, dmem_atomic_store_u32(word, 0)));
	pool->sync->look_ns = UINT64_C(3600) * DM_NS_PER_S;
}

static void tear_down(void)
{
	if (pool != NULL)
		cr_expect(zero(int, dmem_pool_detach(pool)));
	scratch_end();
}

TestSuite(wait, .init = set_up, .fini = tear_down);

static uint32_t value_of(const uint32_t *at)
{
	uint32_t value = 0;

	if (dmem_atomic_load_u32(at, &value) != 0)
		abort();
	return value;
}

/* Wait until the word's parity is `parity`, then step it and wake: one side of a ball game. */
static int play(uint32_t parity)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t seen;

		while ((seen = value_of(word)) % 2 != parity)
			if (dmem_wait(word, seen, FOREVER) != 0)
				return 1;
		if (dmem_atomic_store_u32(word, seen + 1) != 0 || dmem_wake(word, 1) < 0)
			return 2;
	}
	return 0;
}

static int play_in_child(void *host)
{
	if (host != NULL)
		setenv("DMEM_HOST_ID", host, 1);
	if (value_of(word) > 2 * ROUNDS) /* joins */
		return 3;
	pool->sync->look_ns = UINT64_C(3600) * DM_NS_PER_S;
	return play(1);
}

Test(wait, a_ball_goes_to_and_fro_between_two_processes)
{
	pid_t pid = child_start(play_in_child, NULL);

	cr_expect(zero(int, play(0)));
	cr_expect(zero(int, child_wait(pid)));
	cr_expect(eq(u32, value_of(word), 2 * ROUNDS));
}

Test(wait, a_ball_goes_to_and_fro_between_two_hosts)
{
	pid_t pid = child_start(play_in_child, "another host");

	/* Who slept before the other host was there looks again once. */
	pool->sync->look_ns = 100 * DM_NS_PER_MS;
	cr_expect(zero(int, play(0)));
	cr_expect(zero(int, child_wait(pid)));
	cr_expect(eq(u32, value_of(word), 2 * ROUNDS));
	cr_expect(dm_wait_between_hosts(pool->sync));
}

static void *play_in_thread(void *unused)
{
	(void)unused;
	return play(1) == 0 ? NULL : word;
}

Test(wait, a_ball_goes_to_and_fro_between_two_threads)
{
	pthread_t thread;
	void *failed;

	cr_assert(zero(int, pthread_create(&thread, NULL, play_in_thread, NULL)));
	cr_expect(zero(int, play(0)));
	pthread_join(thread, &failed);
	cr_expect(eq(ptr, failed, NULL));
}

static int sleep_in_child(void *unused)
{
	(void)unused;
	if (value_of(word) != 0)
		return 1;
	pool->sync->look_ns = UINT64_C(3600) * DM_NS_PER_S;
	if (dmem_atomic_add_u32(word + 1, 1, NULL) != 0)
		return 2;
	while (value_of(word) == 0)
		if (dmem_wait(word, 0, FOREVER) != 0)
			return 3;
	return 0;
}

static bool all_are_there(void *count)
{
	return value_of(word + 1) == *(uint32_t *)count;
}

Test(wait, one_wake_up_of_all_reaches_every_sleeper)
{
	uint32_t count = 6;
	pid_t pids[6];

	cr_assert(zero(int, dmem_atomic_store_u32(word + 1, 0)));
	for (unsigned i = 0; i < count; i++) {
		pids[i] = child_start(sleep_in_child, NULL);
		cr_assert(wait_until(all_are_there, &(uint32_t){i + 1}, 10000));
	}
	usleep(20000);
	cr_assert(zero(int, dmem_atomic_store_u32(word, 1)));
	cr_expect(ge(int, dmem_wake(word, INT_MAX), 0));
	for (unsigned i = 0; i < count; i++)
		cr_expect(zero(int, child_wait(pids[i])));
}

Test(wait, the_time_passes)
{
	uint64_t begin = dm_clock_now_ns();

	cr_expect(eq(int, dmem_wait(word, 0, SECOND / 20), -ETIMEDOUT));
	cr_expect(ge(u64, dm_clock_now_ns() - begin, UINT64_C(50000000)));
	cr_expect(eq(int, dmem_wait(word, 0, 0), -ETIMEDOUT));
}

Test(wait, a_word_that_is_another_is_not_waited_for)
{
	cr_expect(zero(int, dmem_wait(word, 1, FOREVER)));
}

Test(wait, words_that_are_none_are_refused)
{
	static uint32_t own;

	cr_expect(eq(int, dmem_wait(&own, 0, 0), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_wake(&own, 1), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_wait((uint32_t *)(void *)((char *)word + 2), 0, 0), -EINVAL));
	cr_expect(eq(int, dmem_wait(NULL, 0, 0), -EINVAL));
	cr_expect(eq(int, dmem_wake(word, 0), -EINVAL));
}

static int die(void *unused)
{
	(void)unused;
	if (value_of(word) != 0)
		return 1;
	usleep(20000);
	_exit(0); /* without detaching */
}

Test(wait, a_death_ends_the_wait_of_who_asked_for_that)
{
	uint32_t deaths = dm_wait_deaths(pool->sync);
	pid_t pid = child_start(die, NULL);

	cr_expect(eq(int, dm_wait(pool->sync, word, 0, 20 * SECOND, DM_WAIT_DEATHS, deaths), -EINTR));
	cr_expect(zero(int, child_wait(pid)));
	cr_expect(ne(u32, dm_wait_deaths(pool->sync), deaths));
	cr_expect(eq(int, dm_wait(pool->sync, word, 0, 20 * SECOND, DM_WAIT_DEATHS, deaths), -EINTR),
	          "before it sleeps, too");
}
