/* SPDX-License-Identifier: Apache-2.0 */
/* test_mutex.c: who holds it, who waits, and what becomes of a mutex whose holder dies, is stopped, or gives it up. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"
#include "sync/mutex.h"

#define SECOND INT64_C(1000000000)
#define HOUR   (3600 * DM_NS_PER_S)

/* In the pool: two lines of the mutex, and what it guards. */
struct account {
	struct dmem_mutex lock;
	uint64_t count;
	uint64_t last_token;
	uint64_t spare[6];
};

static struct dmem_pool *pool;
static struct account *account;
static struct talk {
	struct gate ready;
	struct gate go;
	_Atomic unsigned entered;
} * talk;

static void set_up(void)
{
	dm_stop_take_part();
	scratch_begin();
	pool = scratch_pool("p", "size=16M&members=32&beat=20&lease=3000");
	account = dmem_alloc_ex(pool, sizeof(*account), NULL);
	cr_assert(ne(ptr, account, NULL));
	account->count = 0;
	account->last_token = 0;
	cr_assert(zero(int, dmem_publish(&account->count, 64)));
	cr_assert(zero(int, dmem_mutex_init(&account->lock)));
	cr_assert(zero(int, dmem_mutex_guard(&account->lock, &account->count, 64)));
	talk = child_shared(sizeof(*talk));
	gate_make(&talk->ready);
	gate_make(&talk->go);
}

static void tear_down(void)
{
	cr_expect(zero(int, dmem_pool_detach(pool)));
	scratch_end();
}

TestSuite(mutex, .init = set_up, .fini = tear_down);

/* Sleepers look again only when they are woken: so that a lost wake-up is seen. */
static void sleep_for_ever(void)
{
	pool->sync->look_ns = HOUR;
}

static int join_in_child(void)
{
	uint64_t value;
	int rc = dmem_atomic_load_u64((uint64_t *)(void *)&account->lock, &value);

	sleep_for_ever();
	return rc;
}

/* One section: what is guarded is seen as the last holder left it. */
static int add_one(void)
{
	int rc = dmem_mutex_lock(&account->lock);
	uint64_t token = dmem_mutex_token(&account->lock);

	if (rc == DMEM_E_OWNER_DEAD)
		rc = dmem_mutex_consistent(&account->lock);
	if (rc)
		return rc;
	if (token <= account->last_token)
		return 1;
	account->last_token = token;
	account->count++;
	return dmem_mutex_unlock(&account->lock);
}

static int add_many(void *count)
{
	int rc = join_in_child();

	for (unsigned i = 0; rc == 0 && i < *(unsigned *)count; i++)
		rc = add_one();
	return rc == 0 ? 0 : rc == 1 ? 1 : 2;
}

static void *add_many_in_thread(void *count)
{
	return add_many(count) == 0 ? NULL : account;
}

Test(mutex, no_update_of_many_members_is_lost_and_tokens_grow)
{
	unsigned each = scratch_is_coherent() ? 20000 : 200;
	pid_t pids[4];

	for (unsigned i = 0; i < 4; i++)
		pids[i] = child_start(add_many, &each);
	cr_expect(zero(int, add_many(&each)));
	for (unsigned i = 0; i < 4; i++)
		cr_expect(zero(int, child_wait(pids[i])));
	cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
	cr_expect(eq(u64, account->count, 5 * each));
	cr_expect(eq(u64, dmem_mutex_token(&account->lock), 5 * each + 1));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
}

Test(mutex, more_threads_than_the_queue_has_places_all_get_their_turn)
{
	unsigned each = scratch_is_coherent() ? 2000 : 40;
	pthread_t threads[20];

	for (unsigned i = 0; i < 20; i++)
		cr_assert(zero(int, pthread_create(&threads[i], NULL, add_many_in_thread, &each)));
	for (unsigned i = 0; i < 20; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		cr_expect(eq(ptr, failed, NULL));
	}
	cr_expect(eq(u64, account->count, 20 * each));
}

/* A child that says when it waits and what it got. */
static int wait_for_lock(void *result)
{
	int rc = join_in_child();

	if (rc)
		return 1;
	gate_step(&talk->ready);
	rc = dmem_mutex_lock(&account->lock);
	*(int *)result = rc;
	if (rc == DMEM_E_OWNER_DEAD)
		rc = dmem_mutex_consistent(&account->lock);
	talk->entered++;
	return rc == 0 ? dmem_mutex_unlock(&account->lock) != 0 : 0;
}

static bool somebody_waits(void *unused)
{
	const struct dm_mutex_pm *pm = (const void *)&account->lock;
	uint64_t waiting = 0;

	(void)unused;
	for (unsigned i = 0; i < DM_MUTEX_WAITERS_MAX; i++) {
		uint64_t waiter;

		waiting += dmem_atomic_load_u64(&pm->waiters[i], &waiter) == 0 && waiter != 0;
	}
	return waiting > 0;
}

Test(mutex, an_unlock_wakes_who_sleeps)
{
	int *result = child_shared(sizeof(*result));
	pid_t pid;

	cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
	pid = child_start(wait_for_lock, result);
	cr_assert(gate_wait(&talk->ready));
	cr_assert(wait_until(somebody_waits, NULL, 10000));
	usleep(10000);
	cr_expect(eq(uint, talk->entered, 0));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
	cr_expect(zero(int, child_wait(pid)));
	cr_expect(zero(int, *result));
}

static int hold(void *unused)
{
	(void)unused;
	if (join_in_child() != 0 || dmem_mutex_lock(&account->lock) != 0)
		return 1;
	account->count = 77;
	gate_step(&talk->ready);
	gate_wait(&talk->go);
	return dmem_mutex_unlock(&account->lock) != 0;
}

static pid_t start_holder(void)
{
	pid_t pid = child_start(hold, NULL);

	cr_assert(gate_wait(&talk->ready));
	return pid;
}

Test(mutex, a_killed_holders_lock_is_granted_with_owner_dead_until_it_is_consistent)
{
	uint64_t token;

	child_kill(start_holder());
	cr_expect(eq(int, dmem_mutex_lock(&account->lock), DMEM_E_OWNER_DEAD));
	cr_expect(scratch_says("dmem_mutex_consistent"));
	token = dmem_mutex_token(&account->lock);
	cr_expect(eq(u64, token, 2));
	cr_expect(zero(int, dmem_mutex_consistent(&account->lock)));
	cr_expect(eq(int, dmem_mutex_consistent(&account->lock), -EINVAL), "twice");
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
	cr_expect(zero(int, dmem_mutex_lock(&account->lock)));
	cr_expect(gt(u64, dmem_mutex_token(&account->lock), token));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
}

Test(mutex, a_death_wakes_the_sleeper_who_gets_the_lock)
{
	int *result = child_shared(sizeof(*result));
	pid_t holder = start_holder();
	pid_t pid = child_start(wait_for_lock, result);

	cr_assert(gate_wait(&talk->ready));
	cr_assert(wait_until(somebody_waits, NULL, 10000));
	child_kill(holder);
	cr_expect(zero(int, child_wait(pid)));
	cr_expect(eq(int, *result, DMEM_E_OWNER_DEAD));
}

Test(mutex, a_grant_that_was_not_made_consistent_gives_the_mutex_up)
{
	int *result = child_shared(sizeof(*result));
	pid_t pid;

	child_kill(start_holder());
	cr_assert(eq(int, dmem_mutex_lock(&account->lock), DMEM_E_OWNER_DEAD));
	pid = child_start(wait_for_lock, result);
	cr_assert(gate_wait(&talk->ready));
	cr_assert(wait_until(somebody_waits, NULL, 10000));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
	cr_expect(zero(int, child_wait(pid)));
	cr_expect(eq(int, *result, DMEM_E_NOT_RECOVERABLE));
	cr_expect(eq(int, dmem_mutex_lock(&account->lock), DMEM_E_NOT_RECOVERABLE));
	cr_expect(eq(int, dmem_mutex_trylock(&account->lock), DMEM_E_NOT_RECOVERABLE));
	cr_expect(zero(int, dmem_mutex_init(&account->lock)));
	cr_expect(zero(int, dmem_mutex_lock(&account->lock)));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
}

static int die_holding_what_a_dead_one_held(void *unused)
{
	(void)unused;
	if (join_in_child() != 0 || dmem_mutex_lock(&account->lock) != DMEM_E_OWNER_DEAD)
		return 1;
	raise(SIGKILL);
	return 2;
}

Test(mutex, who_repairs_may_die_too)
{
	child_kill(start_holder());
	cr_expect(eq(int, child_run(die_holding_what_a_dead_one_held, NULL), CHILD_SIGNAL + SIGKILL));
	cr_expect(eq(int, dmem_mutex_lock(&account->lock), DMEM_E_OWNER_DEAD));
	cr_expect(zero(int, dmem_mutex_consistent(&account->lock)));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
}

Test(mutex, a_time_limit_is_kept_and_leaves_the_queue)
{
	pid_t holder = start_holder();
	uint64_t begin = dm_clock_now_ns();

	sleep_for_ever();
	cr_expect(eq(int, dmem_mutex_timedlock(&account->lock, SECOND / 20), -ETIMEDOUT));
	cr_expect(ge(u64, dm_clock_now_ns() - begin, UINT64_C(50000000)));
	cr_expect(eq(int, dmem_mutex_timedlock(&account->lock, 0), -ETIMEDOUT));
	cr_expect(not(somebody_waits(NULL)));
	cr_expect(eq(int, dmem_mutex_trylock(&account->lock), -EBUSY));
	gate_step(&talk->go);
	cr_expect(zero(int, child_wait(holder)));
	cr_expect(zero(int, dmem_mutex_timedlock(&account->lock, 0)));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
}

static void *misuse(void *unused)
{
	(void)unused;
	cr_expect(eq(int, dmem_mutex_unlock(&account->lock), -EPERM));
	cr_expect(eq(int, dmem_mutex_consistent(&account->lock), -EPERM));
	cr_expect(eq(int, dmem_mutex_trylock(&account->lock), -EBUSY));
	return NULL;
}

Test(mutex, only_the_thread_that_holds_it_unlocks_and_it_does_not_lock_twice)
{
	pthread_t thread;

	cr_expect(eq(int, dmem_mutex_unlock(&account->lock), -EPERM));
	cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
	cr_expect(eq(int, dmem_mutex_lock(&account->lock), -EDEADLK));
	cr_expect(eq(int, dmem_mutex_trylock(&account->lock), -EBUSY));
	cr_assert(zero(int, pthread_create(&thread, NULL, misuse, NULL)));
	pthread_join(thread, NULL);
	cr_expect(eq(int, dmem_mutex_consistent(&account->lock), -EINVAL));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
	cr_expect(eq(int, dmem_mutex_unlock(&account->lock), -EPERM));
	cr_expect(zero(u64, dmem_mutex_token(&account->lock)));
}

Test(mutex, what_is_no_mutex_is_refused)
{
	static struct dmem_mutex own;
	struct dmem_mutex *crooked = (void *)((char *)account + 4);

	cr_expect(eq(int, dmem_mutex_init(&own), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_mutex_lock(&own), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_mutex_lock(NULL), -EINVAL));
	cr_expect(eq(int, dmem_mutex_lock(crooked), -EINVAL));
	cr_expect(eq(int, dmem_mutex_init(crooked), -EINVAL));
	cr_expect(eq(int, dmem_mutex_guard(&account->lock, &own, 8), DMEM_E_FOREIGN));
	if (!scratch_is_coherent())
		cr_expect(eq(int, dmem_mutex_init((void *)((char *)account + 8)), -EINVAL));
}

Test(mutex, the_token_goes_on_where_the_word_begins_again)
{
	struct dm_mutex_pm *pm = (void *)&account->lock;

	cr_assert(zero(int, dmem_atomic_store_u64(&pm->word, DM_MUTEX_HALF_TURN - 2)));
	for (unsigned i = 0; i < 4; i++) {
		cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
		cr_expect(eq(u64, dmem_mutex_token(&account->lock), DM_MUTEX_HALF_TURN - 1 + i));
		cr_assert(zero(int, dmem_mutex_unlock(&account->lock)));
	}
	cr_assert(zero(int, dmem_atomic_store_u64(&pm->word, 2 * DM_MUTEX_HALF_TURN - 2)));
	for (unsigned i = 0; i < 4; i++) {
		cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
		cr_expect(eq(u64, dmem_mutex_token(&account->lock), 2 * DM_MUTEX_HALF_TURN - 1 + i));
		cr_assert(zero(int, dmem_mutex_unlock(&account->lock)));
	}
}

/* The holder of the first grant of a half turn died before it could note that. */
Test(mutex, the_token_goes_on_when_the_holder_died_at_the_turn)
{
	struct dm_mutex_pm *pm = (void *)&account->lock;

	cr_assert(zero(int, dmem_atomic_store_u64(&pm->word, DM_MUTEX_HALF_TURN | (uint64_t)dm_owner(30, 7) << 32)));
	cr_expect(eq(int, dmem_mutex_lock(&account->lock), DMEM_E_OWNER_DEAD));
	cr_expect(eq(u64, dmem_mutex_token(&account->lock), DM_MUTEX_HALF_TURN + 1));
	cr_expect(zero(int, dmem_mutex_consistent(&account->lock)));
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
}

Test(mutex, a_dead_waiter_is_passed_over)
{
	int *result = child_shared(sizeof(*result));
	pid_t first;
	pid_t second;

	cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
	first = child_start(wait_for_lock, result);
	cr_assert(gate_wait(&talk->ready));
	cr_assert(wait_until(somebody_waits, NULL, 10000));
	child_kill(first);
	second = child_start(wait_for_lock, result);
	cr_assert(gate_wait(&talk->ready));
	usleep(20000);
	cr_expect(zero(int, dmem_mutex_unlock(&account->lock)));
	cr_expect(zero(int, child_wait(second)));
	cr_expect(not(somebody_waits(NULL)));
}

/* The stopped one sleeps in the queue, is poked, and does not come. */
Test(mutex, a_stopped_waiter_holds_up_others_for_a_beat_only)
{
	int *result = child_shared(sizeof(*result));
	pid_t first;
	uint64_t begin;

	pool->sync->look_ns = 20 * DM_NS_PER_MS;
	cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
	first = child_start(wait_for_lock, result);
	cr_assert(gate_wait(&talk->ready));
	cr_assert(wait_until(somebody_waits, NULL, 10000));
	cr_assert(zero(int, kill(first, SIGSTOP)));
	cr_assert(eq(int, waitpid(first, NULL, WUNTRACED), first));
	cr_assert(zero(int, dmem_mutex_unlock(&account->lock)));
	begin = dm_clock_now_ns();
	for (unsigned i = 0; i < 100; i++)
		cr_assert(zero(int, add_one()));
	cr_expect(lt(u64, dm_clock_now_ns() - begin, 2 * DM_NS_PER_S));
	cr_assert(zero(int, kill(first, SIGCONT)));
	cr_expect(zero(int, child_wait(first)));
}

/* A reservation for one who is stopped: the lock says that only it may have it. */
Test(mutex, a_lock_that_is_reserved_for_one_who_does_not_come_is_taken_after_a_beat)
{
	struct dm_mutex_pm *pm = (void *)&account->lock;
	int *result = child_shared(sizeof(*result));
	pid_t first;

	pool->sync->look_ns = 20 * DM_NS_PER_MS;
	cr_assert(zero(int, dmem_mutex_lock(&account->lock)));
	first = child_start(wait_for_lock, result);
	cr_assert(gate_wait(&talk->ready));
	cr_assert(wait_until(somebody_waits, NULL, 10000));
	cr_assert(zero(int, kill(first, SIGSTOP)));
	cr_assert(eq(int, waitpid(first, NULL, WUNTRACED), first));
	/* it came longer ago than it did */
	cr_assert(zero(int, dmem_atomic_store_u64(&pm->word, ((uint64_t)pool->sync->owner << 32) | DM_MUTEX_WAITERS |
	                                                         (DMEM_MUTEX_OVERTAKES_MAX + 2))));
	cr_assert(zero(int, dmem_atomic_store_u64(&pm->holder, dm_mutex_holder(DMEM_MUTEX_OVERTAKES_MAX + 2))));
	cr_assert(zero(int, dmem_mutex_unlock(&account->lock)));
	cr_expect(eq(int, dmem_mutex_trylock(&account->lock), -EBUSY), "it is reserved");
	cr_expect(zero(int, add_one()));
	cr_assert(zero(int, kill(first, SIGCONT)));
	cr_expect(zero(int, child_wait(first)));
}
