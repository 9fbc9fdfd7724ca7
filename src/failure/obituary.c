/* SPDX-License-Identifier: Apache-2.0 */
/*
 * obituary.c: see obituary.h.
 *
 * The thread sleeps on the pool's word of deaths.  When it has changed, it compares each slot's death line with what it knew:
 * a larger incarnation there has lost its rights.  It is told when its repair is done: its slot is FREE or another's, or
 * FENCED with nobody at it.  Death lines outlive the slot's use, so a member that joined and died between two looks is told too.
 *
 * It is not the agent, because what it calls may take its time.
 */
#include "failure/obituary.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stop.h"

#define LOOK_MS 1000u /* without a wake-up */

struct dm_obituary {
	struct dm_members *members;
	dm_obituary_fn tell;
	void *context;
	pthread_t thread;
	_Atomic bool stop;
	uint64_t *told; /* a slot each: the incarnation that was told last */
};

static uint64_t last_death(struct dm_obituary *o, uint32_t slot)
{
	uint64_t incarnation;

	return dm_word_load(o->members->window, &o->members->table[slot].death.incarnation, &incarnation) == 0
	           ? incarnation
	           : o->told[slot];
}

/* False: its repair is not done. */
static bool tell_one(struct dm_obituary *o, uint32_t slot, uint64_t incarnation)
{
	uint64_t word;
	bool same;

	if (dm_word_load(o->members->window, &o->members->table[slot].state.word, &word) != 0)
		return false;
	same = dm_member_word_incarnation(word) == incarnation && dm_member_word_state(word) != DM_MEMBER_FREE;
	if (same &&
	    (dm_member_word_state(word) != DM_MEMBER_FENCED || dm_member_word_recoverer(word) < o->members->slots_max))
		return false;
	o->told[slot] = incarnation;
	o->tell(o->context, slot, (uint32_t)incarnation, same);
	return true;
}

/* False: somebody has to be told later. */
static bool look_at_all(struct dm_obituary *o)
{
	bool all_told = true;

	for (uint32_t slot = 0; slot < o->members->slots_max && !atomic_load(&o->stop); slot++) {
		uint64_t incarnation = last_death(o, slot);

		if (incarnation > o->told[slot])
			all_told = tell_one(o, slot, incarnation) && all_told;
	}
	return all_told;
}

static void *tell_of_deaths(void *argument)
{
	struct dm_obituary *o = argument;
	uint32_t *word = dm_members_deaths_word(o->members);
	bool all_told = true;

	pthread_setname_np(pthread_self(), "dmem-deaths");
	while (!atomic_load(&o->stop)) {
		uint32_t seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		uint64_t ms;
		struct timespec limit;

		/* who is fenced itself has nobody to tell of */
		if (dm_members_self(o->members) == 0)
			all_told = look_at_all(o);
		ms = all_told ? LOOK_MS : o->members->beat_ms;
		limit = (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * DM_NS_PER_MS)};
		if (!atomic_load(&o->stop))
			syscall(SYS_futex, word, FUTEX_WAIT, seen, &limit, NULL, 0);
	}
	return NULL;
}

int dm_obituary_start(struct dm_members *members, dm_obituary_fn tell, void *context, struct dm_obituary **result)
{
	struct dm_obituary *o = calloc(1, sizeof(*o));
	sigset_t all, before;
	int rc = -ENOMEM;

	if (o == NULL)
		return dm_fail(rc, "no memory to be told of deaths");
	*o = (struct dm_obituary){.members = members, .tell = tell, .context = context};
	o->told = calloc(members->slots_max, sizeof(*o->told));
	if (o->told == NULL) {
		dm_fail(rc, "no memory to be told of deaths");
		goto err_free;
	}
	for (uint32_t slot = 0; slot < members->slots_max; slot++)
		o->told[slot] = last_death(o, slot);
	sigfillset(&all); /* as the agent */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, DM_STOP_SIGNAL);
	sigdelset(&all, DM_FENCE_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&o->thread, NULL, tell_of_deaths, o);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc == 0) {
		*result = o;
		return 0;
	}
	dm_fail(rc, "no thread to tell of deaths: raise the limit on processes (ulimit -u)");
	free(o->told);
err_free:
	free(o);
	return rc;
}

void dm_obituary_stop(struct dm_obituary *o)
{
	if (o == NULL)
		return;
	atomic_store(&o->stop, true);
	/* its look at `stop` and its sleep are two steps: wake until it is gone */
	do {
		dm_members_wake_sleepers(o->members);
		dm_clock_sleep_ns(DM_NS_PER_MS);
	} while (pthread_tryjoin_np(o->thread, NULL) == EBUSY);
	free(o->told);
	free(o);
}
