/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wait.c: wait and wake.
 *
 * On one machine whose memory is coherent, the word itself is a futex.  In all other pools a waker can't reach a
 * sleeper of
 * another member, so there are *bells*, words in the pool: a sleeper sets the bell's bit and remembers its number; who
 * wakes and finds the bit set makes the number the next one and clears the bit; each process looks at the bells of
 * its own
 * sleepers (poller.c).  A word's bell is found by its address, and others may share it: they wake for nothing.  Nobody
 * has to know who waits, and a member that dies leaves at most a bit that costs one step.
 *
 *	sleeper                                 waker
 *	set the bit, note the number            change the word
 *	full fence (A)                          full fence (B)
 *	look at the word: changed? go           look at the bell: bit set? next number
 *	sleep until the number changes
 *
 * Either the sleeper sees the word changed or the waker sees the bit (A pairs with B, Dekker's pattern).
 * A pool that gets a second host while somebody sleeps on a futex: sleepers look again after a beat, and then use bells.
 *
 * Sources: futex(2); U. Drepper, "Futexes Are Tricky" (2011).
 */
#include "sync/wait.h"

#include <errno.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/futex.h"
#include "sync/poller.h"

#define BELL_BIT  UINT64_C(1) /* somebody sleeps */
#define BELL_NEXT UINT64_C(2)

bool dm_wait_between_hosts(struct dm_sync *sync)
{
	return !sync->window->coherent || __atomic_load_n(&sync->members->admin->hosts, __ATOMIC_ACQUIRE) != 0;
}

uint64_t dm_deadline(int64_t timeout_ns)
{
	uint64_t now = timeout_ns < 0 ? 0 : dm_clock_now_ns();

	return timeout_ns < 0 || (uint64_t)timeout_ns > UINT64_MAX / 2 - now ? UINT64_MAX : now + (uint64_t)timeout_ns;
}

int64_t dm_time_left(uint64_t deadline_ns)
{
	uint64_t now = deadline_ns == UINT64_MAX ? 0 : dm_clock_now_ns();

	if (deadline_ns == UINT64_MAX)
		return -1;
	return now < deadline_ns ? (int64_t)(deadline_ns - now) : 0;
}

/* The mailbox lines of the member table together are the bells. */
static uint64_t *bell_of(const struct dm_sync *sync, const uint32_t *word)
{
	uint64_t hash = (dm_window_offset(sync->window, word) / 8) * UINT64_C(0x9e3779b97f4a7c15);

	return &sync->members->table[(hash >> 32) % sync->members->slots_max].mailbox.word;
}

/* Set the bell's bit; what it says then. */
static int set_bell(struct dm_sync *sync, uint64_t *bell, uint64_t *seen)
{
	uint64_t old;
	int rc = dm_word_load(sync->window, bell, &old);

	while (rc == 0 && (old & BELL_BIT) == 0) {
		rc = dm_word_cas(sync->window, bell, old, old | BELL_BIT, seen);
		if (rc == 0 && *seen == old)
			old |= BELL_BIT;
		else
			old = *seen;
	}
	*seen = old;
	return rc;
}

static int ring_bell(struct dm_sync *sync, uint64_t *bell)
{
	uint64_t old;
	uint64_t seen;
	int rc;

	dm_fence_full(); /* (B) */
	rc = dm_word_load(sync->window, bell, &old);
	for (; rc == 0 && (old & BELL_BIT) != 0; old = seen) {
		rc = dm_word_cas(sync->window, bell, old, (old & ~BELL_BIT) + BELL_NEXT, &seen);
		if (rc == 0 && seen == old)
			break;
	}
	return rc;
}

static int load_waited(struct dm_sync *sync, const uint32_t *word, unsigned flags, uint32_t *value)
{
	uint64_t wide;
	int rc = 0;

	if (sync->window->coherent) {
		*value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		return 0;
	}
	rc = dm_word_slow_load(sync->window, word, (flags & DM_WAIT_WIDE) ? 8 : 4, &wide);
	if (rc == 0)
		*value = (uint32_t)wide;
	return rc;
}

/* What the caller learns when a sleep has ended: 1 for "sleep on". */
static int after_sleep(struct dm_sync *sync, int failed, uint64_t deadline_ns, unsigned flags, uint32_t deaths)
{
	int rc;

	if ((flags & DM_WAIT_DEATHS) && dm_wait_deaths(sync) != deaths)
		return -EINTR;
	if (failed == 0 || failed == -EAGAIN)
		return 0;
	rc = dm_members_self(sync->members);
	if (rc)
		return rc == DMEM_E_FENCED ? dm_fail(rc, "the wait ended: this member was fenced; attach the pool again") : rc;
	if (failed == -EFAULT)
		return dm_fail(DMEM_E_LOST, "%s: the memory of a word that is waited for is gone",
		               sync->window->devices[0]->name);
	return dm_time_left(deadline_ns) == 0 ? -ETIMEDOUT : 1;
}

static int64_t slice(const struct dm_sync *sync, uint64_t deadline_ns)
{
	int64_t left = dm_time_left(deadline_ns);

	return left < 0 || left > (int64_t)sync->look_ns ? (int64_t)sync->look_ns : left;
}

/* One sleep on the word itself. */
static int sleep_here(struct dm_sync *sync, const uint32_t *word, uint32_t expected, uint64_t deadline_ns,
                      unsigned flags, uint32_t deaths)
{
	struct dm_futex words[2] = {{word, expected}, {dm_members_deaths_word(sync->members), deaths}};
	unsigned count = (flags & DM_WAIT_DEATHS) ? 2 : 1;

	return dm_futex_wait_any(words, count, slice(sync, deadline_ns), (int64_t)sync->look_ns);
}

/* One sleep that others end by the bell, and where the word is a futex, by that too. */
static int sleep_between(struct dm_sync *sync, const uint32_t *word, uint32_t expected, uint64_t deadline_ns,
                         unsigned flags, uint32_t deaths)
{
	struct dm_waiter waiter = {.word = word, .bell = bell_of(sync, word), .since_ns = dm_clock_now_ns()};
	struct dm_futex words[DM_FUTEX_WORDS] = {{&waiter.woken, 0}};
	unsigned count = 1;
	uint32_t value;
	int rc = set_bell(sync, waiter.bell, &waiter.seen);

	DM_CRASH_POINT(WAIT_BELL_SET);
	dm_fence_full(); /* (A) */
	if (rc == 0)
		rc = load_waited(sync, word, flags, &value);
	if (rc)
		return rc;
	if (value != expected)
		return -EAGAIN;
	if (flags & DM_WAIT_DEATHS)
		words[count++] = (struct dm_futex){dm_members_deaths_word(sync->members), deaths};
	if (sync->window->coherent)
		words[count++] = (struct dm_futex){word, expected};
	rc = dm_poller_enlist(sync, &waiter);
	if (rc)
		return rc;
	rc = dm_futex_wait_any(words, count, slice(sync, deadline_ns), (int64_t)DM_NS_PER_MS);
	dm_poller_delist(sync, &waiter);
	return rc;
}

int dm_wait(struct dm_sync *sync, uint32_t *word, uint32_t expected, int64_t timeout_ns, unsigned flags,
            uint32_t deaths)
{
	uint64_t deadline_ns = dm_deadline(timeout_ns);
	int rc = 1;

	while (rc == 1) {
		rc = dm_wait_between_hosts(sync) ? sleep_between(sync, word, expected, deadline_ns, flags, deaths)
		                                 : sleep_here(sync, word, expected, deadline_ns, flags, deaths);
		if (rc != 0 && rc != -EAGAIN && rc != -ETIMEDOUT && rc != -EINTR && rc != -EFAULT)
			return rc;
		rc = after_sleep(sync, rc, deadline_ns, flags, deaths);
	}
	return rc;
}

int dm_wake(struct dm_sync *sync, uint32_t *word, int count)
{
	int woken = 0;
	int rc;

	if (sync->window->coherent)
		woken = dm_futex_wake(word, count);
	if (!dm_wait_between_hosts(sync))
		return woken;
	if (woken < count)
		woken += dm_poller_wake_own(sync, word, count - woken);
	rc = ring_bell(sync, bell_of(sync, word));
	return rc ? rc : woken;
}
