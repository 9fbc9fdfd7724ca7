/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poller.c: one thread a process, which looks at the bells of those who sleep here, and only while somebody does.
 *
 * It looks more rarely the longer they have slept: after an eighth of the time that the youngest sleeper has been
 *                                                  asleep, and
 * between 20 µs and 8 ms.  So a wake-up comes at most an eighth later than it would have come at once, and
 * sleepers that nobody wakes for long cost 125 looks a second together.
 */
#include "sync/poller.h"

#include <errno.h>
#include <sys/prctl.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/futex.h"
#include "base/thread.h"

#define INTERVAL_MIN_NS UINT64_C(20000)
#define INTERVAL_MAX_NS UINT64_C(8000000)
#define SLACK_NS        2000u /* how much later than asked the kernel may end our short sleeps */

static void wake_waiter(struct dm_waiter *waiter)
{
	__atomic_store_n(&waiter->woken, 1, __ATOMIC_RELEASE);
	dm_futex_wake(&waiter->woken, 1);
}

/* Look at every bell.  A bell that can't be read wakes who sleeps at it: it will find out why. */
static void look(struct dm_sync *sync)
{
	const uint64_t *bell = NULL;
	uint64_t now = 0;
	int rc = 0;

	for (struct dm_waiter *waiter = sync->waiters; waiter != NULL; waiter = waiter->next) {
		if (__atomic_load_n(&waiter->woken, __ATOMIC_RELAXED) != 0)
			continue;
		if (waiter->bell != bell)
			rc = dm_word_load(sync->window, waiter->bell, &now);
		bell = waiter->bell;
		if (rc || now != waiter->seen)
			wake_waiter(waiter);
	}
	sync->polls++;
}

static uint64_t interval(const struct dm_sync *sync)
{
	uint64_t now = dm_clock_now_ns();
	uint64_t youngest = UINT64_MAX;

	for (const struct dm_waiter *waiter = sync->waiters; waiter != NULL; waiter = waiter->next)
		if (__atomic_load_n(&waiter->woken, __ATOMIC_RELAXED) == 0 && now - waiter->since_ns < youngest)
			youngest = now - waiter->since_ns;
	if (youngest / 8 < INTERVAL_MIN_NS)
		return INTERVAL_MIN_NS;
	return youngest / 8 < INTERVAL_MAX_NS ? youngest / 8 : INTERVAL_MAX_NS;
}

static void *poller_main(void *argument)
{
	struct dm_sync *sync = argument;

	prctl(PR_SET_TIMERSLACK, (unsigned long)SLACK_NS, 0ul, 0ul, 0ul);
	pthread_mutex_lock(&sync->waiters_lock);
	while (!sync->poller_stop) {
		uint32_t kick = __atomic_load_n(&sync->poller_kick, __ATOMIC_RELAXED);
		uint64_t sleep_ns;

		if (sync->waiters == NULL) {
			pthread_cond_wait(&sync->waiters_came, &sync->waiters_lock);
			continue;
		}
		look(sync);
		sleep_ns = interval(sync);
		pthread_mutex_unlock(&sync->waiters_lock);
		(void)dm_futex_wait(&sync->poller_kick, kick, (int64_t)sleep_ns);
		pthread_mutex_lock(&sync->waiters_lock);
	}
	pthread_mutex_unlock(&sync->waiters_lock);
	return NULL;
}

static void kick(struct dm_sync *sync)
{
	__atomic_fetch_add(&sync->poller_kick, 1, __ATOMIC_RELEASE);
	dm_futex_wake(&sync->poller_kick, 1);
}

int dm_poller_enlist(struct dm_sync *sync, struct dm_waiter *waiter)
{
	int rc = 0;

	pthread_mutex_lock(&sync->waiters_lock);
	if (!sync->poller_runs) {
		sync->poller_stop = false;
		rc = dm_thread_start(&sync->poller, "dmem-poller", poller_main, sync);
		sync->poller_runs = rc == 0;
	}
	if (rc == 0) {
		waiter->previous = NULL;
		waiter->next = sync->waiters;
		if (waiter->next != NULL)
			waiter->next->previous = waiter;
		sync->waiters = waiter;
		pthread_cond_signal(&sync->waiters_came);
		kick(sync);
	}
	pthread_mutex_unlock(&sync->waiters_lock);
	return rc;
}

void dm_poller_delist(struct dm_sync *sync, struct dm_waiter *waiter)
{
	pthread_mutex_lock(&sync->waiters_lock);
	if (waiter->previous != NULL)
		waiter->previous->next = waiter->next;
	else
		sync->waiters = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	pthread_mutex_unlock(&sync->waiters_lock);
}

int dm_poller_wake_own(struct dm_sync *sync, const uint32_t *word, int count)
{
	struct dm_waiter *oldest = NULL;
	int woken = 0;

	pthread_mutex_lock(&sync->waiters_lock);
	for (struct dm_waiter *waiter = sync->waiters; waiter != NULL; waiter = waiter->next)
		oldest = waiter;
	for (struct dm_waiter *waiter = oldest; waiter != NULL && woken < count; waiter = waiter->previous)
		if (waiter->word == word && __atomic_load_n(&waiter->woken, __ATOMIC_RELAXED) == 0) {
			wake_waiter(waiter);
			woken++;
		}
	pthread_mutex_unlock(&sync->waiters_lock);
	return woken;
}

void dm_poller_stop(struct dm_sync *sync)
{
	bool runs;

	pthread_mutex_lock(&sync->waiters_lock);
	runs = sync->poller_runs;
	sync->poller_runs = false;
	sync->poller_stop = true;
	pthread_cond_signal(&sync->waiters_came);
	kick(sync);
	pthread_mutex_unlock(&sync->waiters_lock);
	if (runs)
		pthread_join(sync->poller, NULL);
}
