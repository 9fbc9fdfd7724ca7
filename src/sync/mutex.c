/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mutex.c: a lock whose holder may die (mutex_layout.h has the words).
 *
 * Lock.  Free: CAS to ours with the next token.  Held by one who has lost its rights: the same from exactly that
 * word, and
 * the grant says so.  Else spin for a moment, then enter one of eight waiters, set the waiters flag, and sleep on the
 * entry.
 *
 * Unlock.  CAS to free; if the waiters flag was set, then poke the waiter that came first, unless one is poked and
 * has not
 * woken yet: it looks at the word after it has taken note of the poke.  Whoever comes meanwhile may take the lock, which
 * is what makes it fast when many want it.  So that nobody is passed for ever, a waiter that was overtaken
 * DMEM_MUTEX_OVERTAKES_MAX times has the free lock reserved for it: the word names the entry, and only that thread
 *                                                                   takes it.
 * Waiters of other hosts count as having come HANDOVER_BUDGET grants later than they did: the lock stays on a host so
 *                                                                                         long.
 *
 *	waiter                                  who unlocks
 *	enter                                   CAS the word to free
 *	set the flag, by CAS, in a held word    look at the entries, when the flag was set or cleared by us
 *	sleep on the entry                      poke one, wake it
 *
 * The waiter's CAS fails when the word was set free before, and then it looks again; or it comes before the release,
 * whose CAS sees
 * the flag.  A release that found no entry clears the flag, and looks at the entries once more behind it (full fence,
 * with
 * the one between entering and the waiter's look at the word: Dekker's pattern).
 *
 * Deaths.  Of the holder: its word names it.  Of who released and did not poke: the death wakes every sleeper
 * (DM_WAIT_DEATHS).
 * Of a poked waiter, or of one that the lock is reserved for: the same, and its entry names it.  Who sleeps looks
 * again after a
 * beat in any case; a reservation that its waiter, stopped or slow, has not taken by then is taken by another.
 *
 * Sources: U. Drepper, "Futexes Are Tricky" (2011); D. Dice, V. Marathe, N. Shavit, "Lock Cohorting" (2012): the budget;
 * Go's sync.Mutex: poking one at a time, and handing over after starvation; pthread_mutex_lock(3): the semantics.
 */
#include "sync/mutex.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define SPINS           100u /* loads; of the transport only a few */
#define SPINS_TRANSPORT 4u
#define HANDOVER_BUDGET 64u
#define NO_ENTRY        DM_MUTEX_WAITERS_MAX
#define KEPT            (DM_MUTEX_WAITERS | DM_MUTEX_CROWD | DM_MUTEX_SUSPECT) /* flags that a grant keeps */

_Thread_local uint32_t dm_thread_number __attribute__((tls_model("initial-exec")));

uint32_t dm_thread_number_make(void)
{
	dm_thread_number = (uint32_t)gettid();
	return dm_thread_number;
}

/* --- words --- */

static uint32_t owner_of(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static uint64_t with_owner(uint64_t word, uint32_t owner)
{
	return (word & UINT32_MAX) | (uint64_t)owner << 32;
}

static uint32_t reserved_for(uint32_t entry)
{
	return (DM_MUTEX_RESERVED + entry) << DM_OWNER_INCARNATION_BITS;
}

/* The entry that a free lock is reserved for; NO_ENTRY when it is not. */
static uint32_t reserved_entry(uint64_t word)
{
	uint32_t entry = (owner_of(word) >> DM_OWNER_INCARNATION_BITS) - DM_MUTEX_RESERVED;

	return entry < DM_MUTEX_WAITERS_MAX ? entry : NO_ENTRY;
}

static bool given_up(uint64_t word)
{
	return owner_of(word) == DM_MUTEX_GIVEN_UP << DM_OWNER_INCARNATION_BITS;
}

static int refuse_given_up(const struct dm_mutex_pm *mutex)
{
	return dm_fail(
		DMEM_E_NOT_RECOVERABLE,
		"the mutex at %p was unlocked after its owner had died, without dmem_mutex_consistent(): put right what it "
		"protects, and make it again with dmem_mutex_init()",
		(const void *)mutex);
}

/* 1: it was done; 0: the word was another; negative: could not be tried. */
static int try_cas(struct dm_sync *sync, uint64_t *word, uint64_t expected, uint64_t desired)
{
	uint64_t seen;
	int rc = dm_word_cas(sync->window, word, expected, desired, &seen);

	return rc ? rc : seen == expected;
}

/* --- the simple calls --- */

int dm_mutex_init(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t *words = &mutex->word;
	int rc = 0;

	if (((uintptr_t)mutex & (sync->window->coherent ? 7u : 63u)) != 0)
		return dm_fail(-EINVAL, "the mutex at %p is not aligned to %u bytes", (void *)mutex,
		               sync->window->coherent ? 8u : 64u);
	for (unsigned i = 0; rc == 0 && i < sizeof(*mutex) / sizeof(*words); i++)
		rc = dm_word_store(sync->window, &words[i], 0);
	return rc;
}

int dm_mutex_guard(struct dm_sync *sync, struct dm_mutex_pm *mutex, const void *range, size_t bytes)
{
	uint64_t offset = bytes == 0 ? 0 : dm_window_offset(sync->window, range);
	int rc;

	if (!dm_range_inside(offset, bytes, sync->window->span_bytes))
		return dm_fail(DMEM_E_FOREIGN, "%zu bytes at %p are not in the pool of the mutex that shall guard them", bytes,
		               range);
	rc = dm_word_store(sync->window, &mutex->guard_bytes, 0); /* so that no mixture is ever named */
	if (rc == 0)
		rc = dm_word_store(sync->window, &mutex->guard_off, offset);
	return rc ? rc : dm_word_store(sync->window, &mutex->guard_bytes, bytes);
}

/* The guarded range, where lines have to be moved; 0 bytes elsewhere. */
static int load_guard(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t *offset, uint64_t *bytes)
{
	int rc;

	*bytes = 0;
	if (sync->window->coherent)
		return 0;
	rc = dm_word_load(sync->window, &mutex->guard_bytes, bytes);
	if (rc == 0 && *bytes != 0)
		rc = dm_word_load(sync->window, &mutex->guard_off, offset);
	if (rc == 0 && *bytes != 0 && !dm_range_inside(*offset, *bytes, sync->window->span_bytes))
		rc = dm_fail(DMEM_E_CORRUPT, "the mutex at %p guards a range outside of its pool", (void *)mutex);
	return rc;
}

/* Does this thread hold it?  0 or -EPERM, DMEM_E_FENCED; *word as it was. */
static int check_holder(struct dm_sync *sync, const struct dm_mutex_pm *mutex, uint64_t *word)
{
	uint64_t holder = 0;
	int rc = dm_word_load(sync->window, &mutex->word, word);

	if (rc == 0)
		rc = dm_word_load(sync->window, &mutex->holder, &holder);
	if (rc)
		return rc;
	if (owner_of(*word) == sync->owner && holder == dm_mutex_holder(*word))
		return 0;
	rc = dm_members_self(sync->members);
	if (rc == DMEM_E_FENCED)
		return dm_fail(rc, "this member was fenced while it held the mutex at %p, which may have gone to others",
		               (const void *)mutex);
	return rc ? rc : dm_fail(-EPERM, "this thread does not hold the mutex at %p", (const void *)mutex);
}

int dm_mutex_consistent(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t word;
	int rc = check_holder(sync, mutex, &word);

	while (rc == 0) {
		if ((word & DM_MUTEX_SUSPECT) == 0)
			return dm_fail(-EINVAL, "the mutex at %p is consistent", (void *)mutex);
		rc = try_cas(sync, &mutex->word, word, word & ~DM_MUTEX_SUSPECT);
		if (rc == 0)
			rc = check_holder(sync, mutex, &word);
	}
	return rc < 0 ? rc : 0;
}

int dm_mutex_token(struct dm_sync *sync, const struct dm_mutex_pm *mutex, uint64_t *token)
{
	uint64_t turns = 0;
	uint64_t word;
	int rc = dm_word_load(sync->window, &mutex->word, &word);

	if (rc == 0)
		rc = dm_word_load(sync->window, &mutex->turns, &turns);
	if (rc == 0)
		*token = owner_of(word) == sync->owner ? turns * DM_MUTEX_HALF_TURN + word % DM_MUTEX_HALF_TURN : 0;
	return rc;
}

/* --- waking --- */

/* How many grants a waiter has seen pass. */
static uint64_t age_of(uint64_t waiter, uint64_t word)
{
	return (word - waiter) & DM_MUTEX_TOKEN;
}

static bool is_of_other_host(struct dm_sync *sync, uint32_t owner)
{
	struct dm_member_view view;

	return dm_members_view(sync->members, dm_owner_slot(owner), &view) == 0 && view.identified && !view.same_host;
}

struct queue {
	uint32_t first;  /* the entry that is to have the lock next; NO_ENTRY: nobody waits */
	uint64_t waiter; /* what it holds */
	uint64_t age;    /* of the one that waits longest */
	bool poked;      /* some waiter is about to look */
};

/* Look at the waiters.  Those who have lost their rights are cleared away when it is their turn. */
static int look_at_queue(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t word, struct queue *queue)
{
	bool hosts = dm_wait_between_hosts(sync);
	uint64_t best = 0;

	*queue = (struct queue){.first = NO_ENTRY};
	for (uint32_t i = 0; i < DM_MUTEX_WAITERS_MAX; i++) {
		uint64_t waiter;
		uint64_t rank;
		int rc = dm_word_load(sync->window, &mutex->waiters[i], &waiter);

		if (rc)
			return rc;
		if (waiter == 0)
			continue;
		rank = age_of(waiter, word) + HANDOVER_BUDGET;
		if (hosts && rank < DMEM_MUTEX_OVERTAKES_MAX && is_of_other_host(sync, owner_of(waiter)))
			rank -= HANDOVER_BUDGET;
		if (age_of(waiter, word) > queue->age)
			queue->age = age_of(waiter, word);
		queue->poked |= (waiter & DM_MUTEX_POKED) != 0 && dm_owner_rights(sync, owner_of(waiter)) != 0;
		if (queue->first == NO_ENTRY || rank > best) {
			best = rank;
			queue->first = i;
			queue->waiter = waiter;
		}
	}
	return 0;
}

static int next_in_queue(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t word, struct queue *queue)
{
	for (unsigned round = 0; round < 4 * DM_MUTEX_WAITERS_MAX; round++) {
		int rc = look_at_queue(sync, mutex, word, queue);

		if (rc || queue->first == NO_ENTRY)
			return rc;
		rc = dm_owner_rights(sync, owner_of(queue->waiter));
		if (rc != 0)
			return rc < 0 ? rc : 0;
		rc = try_cas(sync, &mutex->waiters[queue->first], queue->waiter, 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int poke(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint32_t entry)
{
	uint64_t *at = &mutex->waiters[entry];
	uint64_t waiter;
	int rc = dm_word_load(sync->window, at, &waiter);

	while (rc == 0 && waiter != 0 && (waiter & DM_MUTEX_POKED) == 0) {
		rc = try_cas(sync, at, waiter, waiter | DM_MUTEX_POKED);
		if (rc != 0)
			break;
		rc = dm_word_load(sync->window, at, &waiter);
	}
	if (rc < 0 || (rc == 0 && waiter == 0))
		return rc;
	DM_CRASH_POINT(MUTEX_POKED);
	rc = dm_wake(sync, dm_low_half(at), 1);
	return rc < 0 ? rc : 0;
}

/* The lock was set free: see to it that somebody looks at it. */
static int wake_next(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t word)
{
	struct queue queue;
	int rc;

	dm_fence_full(); /* pairs with the one in enter() */
	rc = next_in_queue(sync, mutex, word, &queue);
	if (rc || queue.first == NO_ENTRY || queue.poked)
		return rc;
	return poke(sync, mutex, queue.first);
}

/* Step `room` and wake who sleeps on it; how many are known to have slept. */
static int step_room(struct dm_sync *sync, struct dm_mutex_pm *mutex, int count)
{
	uint64_t room;
	int rc;

	do {
		rc = dm_word_load(sync->window, &mutex->room, &room);
		if (rc == 0)
			rc = try_cas(sync, &mutex->room, room, room + 1);
	} while (rc == 0);
	return rc < 0 ? rc : dm_wake(sync, dm_low_half(&mutex->room), count);
}

/* An entry is free: tell who found none.  When nobody sleeps there the flag goes, and then everybody is told, because
 *                   somebody may
 * have relied on it: who still finds no entry sets it again. */
static int wake_crowd(struct dm_sync *sync, struct dm_mutex_pm *mutex, int count)
{
	uint64_t word;
	int rc = dm_word_load(sync->window, &mutex->word, &word);

	if (rc || (word & DM_MUTEX_CROWD) == 0)
		return rc;
	rc = step_room(sync, mutex, count);
	if (rc != 0 && !(rc > 0 && dm_wait_between_hosts(sync)))
		return rc < 0 ? rc : 0;
	do {
		rc = dm_word_load(sync->window, &mutex->word, &word);
		if (rc == 0)
			rc = try_cas(sync, &mutex->word, word, word & ~DM_MUTEX_CROWD);
	} while (rc == 0);
	if (rc > 0)
		rc = step_room(sync, mutex, INT_MAX);
	return rc < 0 ? rc : 0;
}

static int wake_everybody(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < DM_MUTEX_WAITERS_MAX; i++)
		rc = poke(sync, mutex, i);
	return rc ? rc : wake_crowd(sync, mutex, INT_MAX);
}

/* --- waiting --- */

struct attempt {
	uint64_t deadline_ns;
	uint32_t deaths;
	uint32_t entry;    /* NO_ENTRY: none yet */
	uint64_t waiter;   /* what our entry held when we looked last */
	uint64_t seen;     /* the word when we looked last */
	uint64_t since_ns; /* we have seen it so since then */
	bool overslept;    /* a beat has passed, and nobody poked us */
};

enum verdict { TAKE = 1, TAKE_FROM_DEAD = 2, WAIT = 3 };

/* May the lock be taken, as it stands?  A verdict, or a negative code. */
static int judge(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t word, uint32_t entry)
{
	uint32_t reserved = reserved_entry(word);
	uint64_t other;
	int rc;

	if (owner_of(word) == 0)
		return TAKE;
	if (given_up(word))
		return refuse_given_up(mutex);
	if (reserved != NO_ENTRY) {
		if (reserved == entry)
			return TAKE;
		rc = dm_word_load(sync->window, &mutex->waiters[reserved], &other);
		if (rc == 0)
			rc = dm_owner_rights(sync, owner_of(other));
		return rc < 0 ? rc : rc == 0 ? TAKE : WAIT;
	}
	rc = dm_owner_rights(sync, owner_of(word));
	if (rc <= 0)
		return rc < 0 ? rc : TAKE_FROM_DEAD;
	if (owner_of(word) != sync->owner)
		return WAIT;
	rc = dm_word_load(sync->window, &mutex->holder, &other);
	if (rc == 0 && other == dm_mutex_holder(word))
		return dm_fail_quietly(-EDEADLK, "this thread holds the mutex at %p already", (void *)mutex);
	return rc ? rc : WAIT;
}

/* The token has begun a new half turn, or its holder may have died before it noted that. */
static int settle_turns(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t word)
{
	uint64_t turns;
	int rc = dm_word_load(sync->window, &mutex->turns, &turns);

	if (rc == 0 && turns % 2 != (word & DM_MUTEX_HALF_TURN) / DM_MUTEX_HALF_TURN)
		rc = try_cas(sync, &mutex->turns, turns, turns + 1);
	return rc < 0 ? rc : 0;
}

static int refresh_guarded(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t offset;
	uint64_t bytes;
	int rc = load_guard(sync, mutex, &offset, &bytes);

	return rc || bytes == 0 ? rc : dm_window_refresh(sync->window, dm_window_at(sync->window, offset), bytes);
}

static int publish_guarded(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t offset;
	uint64_t bytes;
	int rc = load_guard(sync, mutex, &offset, &bytes);

	return rc || bytes == 0 ? rc : dm_window_publish(sync->window, dm_window_at(sync->window, offset), bytes);
}

/* A grant that nobody can work with goes back: free, or the dead owner's as before. */
static void put_back(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint32_t dead)
{
	uint64_t word;
	int rc;

	do {
		rc = check_holder(sync, mutex, &word);
		if (rc == 0)
			rc = try_cas(sync, &mutex->word, word, with_owner(word, (word & DM_MUTEX_SUSPECT) != 0 ? dead : 0));
	} while (rc == 0);
	if (rc > 0)
		(void)wake_next(sync, mutex, word);
}

/* The grant.  0 when the word was another; 1, or DMEM_E_OWNER_DEAD, when it is ours. */
static int take(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t word, enum verdict verdict)
{
	uint64_t taken = with_owner((word & KEPT) | ((word + 1) & DM_MUTEX_TOKEN), sync->owner);
	int rc;

	if (verdict == TAKE_FROM_DEAD)
		taken |= DM_MUTEX_SUSPECT;
	rc = try_cas(sync, &mutex->word, word, taken);
	if (rc != 1)
		return rc;
	DM_CRASH_POINT(MUTEX_TAKEN);
	rc = dm_word_store(sync->window, &mutex->holder, dm_mutex_holder(taken));
	if (rc == 0 && (taken % DM_MUTEX_HALF_TURN == 0 || (taken & DM_MUTEX_SUSPECT) != 0))
		rc = settle_turns(sync, mutex, taken);
	if (rc == 0)
		rc = refresh_guarded(sync, mutex);
	if (rc) {
		put_back(sync, mutex, owner_of(word));
		return rc;
	}
	if ((taken & DM_MUTEX_SUSPECT) == 0)
		return 1;
	return dm_fail_quietly(
		DMEM_E_OWNER_DEAD,
		"the last holder of the mutex at %p died: put right what it protects, then dmem_mutex_consistent()",
		(void *)mutex);
}

int dm_mutex_trylock(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t word;
	int rc = dm_members_self(sync->members);

	while (rc == 0) {
		rc = dm_word_load(sync->window, &mutex->word, &word);
		if (rc == 0)
			rc = judge(sync, mutex, word, NO_ENTRY);
		if (rc == WAIT || rc == -EDEADLK)
			return dm_fail_quietly(-EBUSY, "the mutex at %p is held", (void *)mutex);
		if (rc > 0)
			rc = take(sync, mutex, word, rc);
	}
	return rc == 1 ? 0 : rc;
}

/* Take an entry among the waiters; the attempt has none afterwards when all are taken. */
static int enter(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt, uint64_t word)
{
	uint64_t ours = with_owner(word & DM_MUTEX_TOKEN, sync->owner);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < DM_MUTEX_WAITERS_MAX; i++) {
		uint64_t waiter;

		rc = dm_word_load(sync->window, &mutex->waiters[i], &waiter);
		if (rc == 0 && waiter != 0)
			rc = dm_owner_rights(sync, owner_of(waiter));
		if (rc < 0)
			return rc;
		if (rc == 1) { /* somebody has it */
			rc = 0;
			continue;
		}
		rc = try_cas(sync, &mutex->waiters[i], waiter, ours);
		if (rc == 1) {
			attempt->entry = i;
			attempt->waiter = ours;
			DM_CRASH_POINT(MUTEX_ENTERED);
		}
	}
	dm_fence_full(); /* pairs with the one in wake_next() */
	return rc < 0 ? rc : 0;
}

/* Give the entry up, after the lock was taken or not. */
static int leave(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt)
{
	uint64_t *at;
	uint64_t waiter;
	int rc;

	if (attempt->entry == NO_ENTRY)
		return 0;
	at = &mutex->waiters[attempt->entry];
	rc = dm_word_load(sync->window, at, &waiter);
	while (rc == 0 && owner_of(waiter) == sync->owner) {
		rc = try_cas(sync, at, waiter, 0);
		if (rc == 0)
			rc = dm_word_load(sync->window, at, &waiter);
	}
	return rc < 0 ? rc : wake_crowd(sync, mutex, 1);
}

/* Give up without the lock: what was meant for us is somebody else's. */
static int give_way(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt)
{
	uint64_t word;
	int rc = leave(sync, mutex, attempt);

	if (rc == 0)
		rc = dm_word_load(sync->window, &mutex->word, &word);
	if (rc == 0 && attempt->entry != NO_ENTRY && reserved_entry(word) == attempt->entry) {
		rc = try_cas(sync, &mutex->word, word, with_owner(word, 0));
		word = with_owner(word, 0);
	}
	if (rc >= 0 && owner_of(word) == 0)
		rc = wake_next(sync, mutex, word);
	return rc < 0 ? rc : 0;
}

/* Sleep in the queue, or before it when there is no place. */
static int sleep_in_queue(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt)
{
	uint64_t *at = &mutex->waiters[attempt->entry];
	int64_t left = dm_time_left(attempt->deadline_ns);
	int rc = dm_wait(sync, dm_low_half(at), (uint32_t)attempt->waiter,
	                 left < 0 || left > (int64_t)sync->look_ns ? (int64_t)sync->look_ns : left,
	                 DM_WAIT_DEATHS | DM_WAIT_WIDE, attempt->deaths);
	uint64_t waiter;

	if (rc != 0 && rc != -ETIMEDOUT && rc != -EINTR)
		return rc;
	attempt->overslept = rc == -ETIMEDOUT;
	rc = dm_word_load(sync->window, at, &waiter);
	while (rc == 0 && owner_of(waiter) == sync->owner && (waiter & DM_MUTEX_POKED) != 0) {
		rc =
			try_cas(sync, at, waiter, waiter & ~DM_MUTEX_POKED); /* then the word is looked at: full order by the CAS */
		waiter &= ~DM_MUTEX_POKED;
		if (rc == 0)
			rc = dm_word_load(sync->window, at, &waiter);
	}
	if (rc < 0)
		return rc;
	attempt->waiter = waiter;
	if (owner_of(waiter) != sync->owner) /* somebody took us for dead */
		attempt->entry = NO_ENTRY;
	return 0;
}

static int sleep_in_crowd(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt)
{
	int64_t left = dm_time_left(attempt->deadline_ns);
	uint64_t room;
	uint64_t word;
	int rc = dm_word_load(sync->window, &mutex->room, &room);

	if (rc == 0)
		rc = dm_word_load(sync->window, &mutex->word, &word); /* after `room`: see wake_crowd() */
	if (rc || owner_of(word) == 0)
		return rc;
	if ((word & DM_MUTEX_CROWD) == 0) {
		rc = try_cas(sync, &mutex->word, word, word | DM_MUTEX_CROWD);
		if (rc <= 0)
			return rc; /* the word has changed: look again */
	}
	rc = enter(sync, mutex, attempt, word); /* one may have become free before the flag was there */
	if (rc || attempt->entry != NO_ENTRY)
		return rc;
	rc = dm_wait(sync, dm_low_half(&mutex->room), (uint32_t)room,
	             left < 0 || left > (int64_t)sync->look_ns ? (int64_t)sync->look_ns : left,
	             DM_WAIT_DEATHS | DM_WAIT_WIDE, attempt->deaths);
	return rc == -ETIMEDOUT || rc == -EINTR ? 0 : rc;
}

/* The lock is free, and we slept for a beat without being told: who was poked has not come.  That one comes later. */
static int demote_poked(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt, uint64_t word)
{
	int rc = 0;

	attempt->overslept = false;
	for (uint32_t i = 0; rc >= 0 && i < DM_MUTEX_WAITERS_MAX; i++) {
		uint64_t waiter;

		rc = dm_word_load(sync->window, &mutex->waiters[i], &waiter);
		if (rc == 0 && i != attempt->entry && (waiter & DM_MUTEX_POKED) != 0)
			rc = try_cas(sync, &mutex->waiters[i], waiter, with_owner(word & DM_MUTEX_TOKEN, owner_of(waiter)));
	}
	return rc < 0 ? rc : TAKE;
}

/* It was reserved for another waiter, which has not taken it for a beat: that one comes later. */
static int pass_over(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt, uint64_t word)
{
	uint64_t *at;
	uint64_t waiter;
	int rc;

	if (word != attempt->seen) {
		attempt->seen = word;
		attempt->since_ns = dm_clock_now_ns();
	}
	if (reserved_entry(word) == NO_ENTRY || dm_clock_now_ns() - attempt->since_ns < sync->look_ns)
		return WAIT;
	at = &mutex->waiters[reserved_entry(word)];
	rc = dm_word_load(sync->window, at, &waiter);
	if (rc == 0 && waiter != 0)
		rc = try_cas(sync, at, waiter, (waiter & ~DM_MUTEX_TOKEN) | (word & DM_MUTEX_TOKEN));
	return rc < 0 ? rc : TAKE;
}

static int wait_once(struct dm_sync *sync, struct dm_mutex_pm *mutex, struct attempt *attempt, uint64_t word)
{
	uint64_t now;
	int rc = 0;

	if (dm_time_left(attempt->deadline_ns) == 0)
		return dm_fail_quietly(-ETIMEDOUT, "the mutex at %p was not to be had in time", (void *)mutex);
	if (attempt->entry == NO_ENTRY)
		rc = enter(sync, mutex, attempt, word);
	if (rc)
		return rc;
	if (attempt->entry == NO_ENTRY)
		return sleep_in_crowd(sync, mutex, attempt);
	if ((word & DM_MUTEX_WAITERS) == 0) {
		rc = try_cas(sync, &mutex->word, word, word | DM_MUTEX_WAITERS);
		if (rc <= 0)
			return rc;
	} else {
		rc = dm_word_load(sync->window, &mutex->word, &now);
		if (rc || now != word) /* changed since it was judged, perhaps before we had entered */
			return rc;
	}
	return sleep_in_queue(sync, mutex, attempt);
}

/* Spin for as long as a short section takes.  1, or DMEM_E_OWNER_DEAD, when it was had. */
static int spin(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t word;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < (sync->window->coherent ? SPINS : SPINS_TRANSPORT); i++) {
		rc = dm_word_load(sync->window, &mutex->word, &word);
		if (rc == 0 && owner_of(word) == 0)
			rc = take(sync, mutex, word, TAKE);
		dm_spin_pause();
	}
	return rc;
}

int dm_mutex_lock_slow(struct dm_sync *sync, struct dm_mutex_pm *mutex, int64_t timeout_ns)
{
	struct attempt attempt = {.deadline_ns = dm_deadline(timeout_ns), .entry = NO_ENTRY};
	uint64_t word;
	int rc = dm_members_self(sync->members);

	if (rc == 0)
		rc = spin(sync, mutex);
	while (rc == 0) {
		attempt.deaths = dm_wait_deaths(sync);
		rc = dm_word_load(sync->window, &mutex->word, &word);
		if (rc == 0)
			rc = judge(sync, mutex, word, attempt.entry);
		if (rc == TAKE && attempt.overslept)
			rc = demote_poked(sync, mutex, &attempt, word);
		if (rc == WAIT)
			rc = pass_over(sync, mutex, &attempt, word);
		if (rc == TAKE || rc == TAKE_FROM_DEAD)
			rc = take(sync, mutex, word, rc);
		else if (rc == WAIT)
			rc = wait_once(sync, mutex, &attempt, word);
	}
	if (rc == 1 || rc == DMEM_E_OWNER_DEAD)
		(void)leave(sync, mutex, &attempt);
	else
		(void)give_way(sync, mutex, &attempt);
	return rc == 1 ? 0 : rc;
}

/* --- unlocking --- */

/* What the word becomes, by who waits. */
static int word_after(struct dm_sync *sync, struct dm_mutex_pm *mutex, uint64_t word, uint64_t *next)
{
	struct queue queue = {.first = NO_ENTRY};
	int rc = 0;

	if (word & DM_MUTEX_SUSPECT) {
		*next = with_owner(word, DM_MUTEX_GIVEN_UP << DM_OWNER_INCARNATION_BITS);
		return 0;
	}
	if (word & DM_MUTEX_WAITERS)
		rc = next_in_queue(sync, mutex, word, &queue);
	if (queue.first == NO_ENTRY)
		*next = with_owner(word & ~DM_MUTEX_WAITERS, 0);
	else if (queue.age >= DMEM_MUTEX_OVERTAKES_MAX)
		*next = with_owner(word, reserved_for(queue.first));
	else
		*next = with_owner(word, 0);
	return rc;
}

int dm_mutex_unlock_slow(struct dm_sync *sync, struct dm_mutex_pm *mutex)
{
	uint64_t word;
	uint64_t next = 0;
	int rc = check_holder(sync, mutex, &word);

	if (rc == 0)
		rc = publish_guarded(sync, mutex);
	if (rc)
		return rc;
	do {
		rc = check_holder(sync, mutex, &word);
		if (rc == 0)
			rc = word_after(sync, mutex, word, &next);
		if (rc == 0)
			rc = try_cas(sync, &mutex->word, word, next);
	} while (rc == 0);
	if (rc < 0)
		return rc;
	DM_CRASH_POINT(MUTEX_RELEASED);
	if (given_up(next))
		rc = wake_everybody(sync, mutex);
	else if (reserved_entry(next) != NO_ENTRY)
		rc = poke(sync, mutex, reserved_entry(next));
	else
		rc = word & DM_MUTEX_WAITERS ? wake_next(sync, mutex, next) : 0;
	if (rc < 0) /* it is released all the same; sleepers look again */
		dm_log(DMEM_LOG_WARNING, "who waits for the mutex at %p could not be woken: %s", (void *)mutex,
		       dmem_strerror(rc));
	return 0;
}
