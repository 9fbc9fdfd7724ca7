/* SPDX-License-Identifier: Apache-2.0 */
/*
 * deaths.c: who still has its rights, and waking those who sleep until somebody has lost them.
 *
 * A member has rights while its slot says JOINING, LIVE or LEAVING with its incarnation.  The CAS that ends them is followed by
 * one step of the pool's word `deaths` and a wake-up of this machine's sleepers on it.  On other hosts, and where a member
 * works on a copy of the pool, each agent looks at the word on its beat and wakes its own.  A killer that dies between the CAS
 * and the step leaves a slot that is DEAD or FENCED, which somebody recovers: who recovers takes the step again.
 *
 * Source: futex(2).
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "failure/members.h"

int dm_members_rights(struct dm_members *members, uint32_t slot, uint32_t incarnation)
{
	uint64_t word;
	int rc;

	if (slot >= members->slots_max)
		return 0;
	rc = dm_word_load(members->window, &members->table[slot].state.word, &word);
	return rc ? rc : dm_member_word_has_rights(word) && dm_member_word_incarnation(word) == incarnation;
}

int dm_members_self(struct dm_members *members)
{
	int rights;

	if (atomic_load_explicit(&members->window->cut, memory_order_relaxed) != DM_WINDOW_WHOLE)
		return DMEM_E_FENCED;
	if (members->slot == DM_NO_SLOT)
		return 0;
	rights = dm_members_rights(members, members->slot, members->incarnation);
	if (rights != 0)
		return rights < 0 ? rights : 0;
	dm_window_cut(members->window); /* before anything else, so that no thread of ours does harm */
	return DMEM_E_FENCED;
}

uint32_t *dm_members_deaths_word(struct dm_members *members)
{
	/* its low half: all numbers in a pool are little-endian */
	return members->window->coherent ? (uint32_t *)(void *)&members->admin->deaths : &members->deaths_here;
}

void dm_members_wake_sleepers(struct dm_members *members)
{
	__atomic_fetch_add(&members->deaths_here, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, dm_members_deaths_word(members), FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void dm_members_follow_deaths(struct dm_members *members)
{
	uint64_t deaths;

	if (dm_word_load(members->window, &members->admin->deaths, &deaths) != 0 || deaths == members->deaths_seen)
		return;
	members->deaths_seen = deaths;
	dm_members_wake_sleepers(members);
}

/* CAS to the larger, so that a late writer does not take a later death back. */
static int note_death(struct dm_members *members, uint32_t slot, uint32_t incarnation)
{
	uint64_t *word = &members->table[slot].death.incarnation;
	uint64_t old;
	uint64_t seen;
	int rc = dm_word_load(members->window, word, &old);

	for (; rc == 0 && old < incarnation; old = seen) {
		rc = dm_word_cas(members->window, word, old, incarnation, &seen);
		if (rc == 0 && seen == old)
			break;
	}
	return rc;
}

int dm_members_announce_death(struct dm_members *members, uint32_t slot, uint32_t incarnation)
{
	uint64_t *word = &members->admin->deaths;
	uint64_t old;
	uint64_t seen;
	int rc = note_death(members, slot, incarnation);

	if (rc == 0)
		rc = dm_word_load(members->window, word, &old);
	for (; rc == 0; old = seen) {
		rc = dm_word_cas(members->window, word, old, old + 1, &seen);
		if (rc == 0 && seen == old)
			break;
	}
	dm_members_wake_sleepers(members);
	return rc;
}
