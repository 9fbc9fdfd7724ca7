/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c: what happens to a member that died.
 *
 *   LIVE -> DEAD -> RECOVERING(us) -> repairs, in their order -> FREE
 *
 * One CAS decides who recovers.  Repairs can be repeated, so a recoverer that dies is simply followed by another: whoever
 * recovers member R makes those that R was recovering DEAD again before R's slot is free.  A repair that
 * fails leaves the slot RECOVERING, and the next beat tries again.
 *
 * Locks: recover_mutex, then perhaps the administration lock, outside of everything that repairs take.  Repairs never take
 * the administration lock.
 */
#include <errno.h>

#include "base/error.h"
#include "base/fault.h"
#include "failure/members.h"

static int run_repairs(struct dm_members *members, uint32_t slot, uint32_t incarnation)
{
	for (unsigned i = 0; i < members->repair_count; i++) {
		int rc = members->repairs[i].repair(members->repairs[i].context, slot, incarnation);

		if (rc)
			return rc;
		DM_CRASH_POINT(REPAIR_DONE);
	}
	return 0;
}

static int change_state(struct dm_members *members, uint32_t slot, uint64_t from, uint64_t to)
{
	uint64_t seen;
	int rc = dm_word_cas(members->window, &members->table[slot].state.word, from, to, &seen);

	return rc ? rc : seen == from ? 0 : -EAGAIN;
}

/* Make the slot ours to repair.  -EAGAIN: somebody else is at it. */
static int claim(struct dm_members *members, uint32_t slot, uint64_t *word)
{
	uint32_t incarnation = dm_member_word_incarnation(*word);
	uint64_t dead = dm_member_word(DM_MEMBER_DEAD, DM_NO_SLOT, incarnation);
	uint64_t ours = dm_member_word(DM_MEMBER_RECOVERING, members->slot, incarnation);
	int rc = 0;

	if (*word == ours)
		return 0;
	if (dm_member_word_state(*word) == DM_MEMBER_LIVE || dm_member_word_state(*word) == DM_MEMBER_LEAVING) {
		rc = change_state(members, slot, *word, dead);
		DM_CRASH_POINT(MEMBER_DECLARED_DEAD);
		*word = dead;
	}
	/* again when it was DEAD already: who declared it dead may have died before it told anybody */
	if (rc == 0)
		rc = dm_members_announce_death(members);
	if (rc == 0)
		rc = change_state(members, slot, *word, ours);
	if (rc == 0) {
		DM_CRASH_POINT(MEMBER_RECOVERING);
		*word = ours;
	}
	return rc;
}

/* What a dead recoverer was at is DEAD again, for anybody to recover, before the recoverer's number can be anybody else's. */
static int release_its_patients(struct dm_members *members, uint32_t slot)
{
	int rc = 0;

	for (uint32_t other = dm_members_next_used(members, DM_NO_SLOT); rc == 0 && other != DM_NO_SLOT;
	     other = dm_members_next_used(members, other)) {
		struct dm_member_view view;

		if (other == slot || dm_members_view(members, other, &view) != 0 || view.state != DM_MEMBER_RECOVERING ||
		    view.recoverer != slot)
			continue;
		rc = change_state(members, other, view.word, dm_member_word(DM_MEMBER_DEAD, DM_NO_SLOT, view.incarnation));
		if (rc == -EAGAIN)
			rc = 0;
	}
	return rc;
}

static int recover_one(struct dm_members *members, uint32_t slot, uint64_t word)
{
	uint32_t incarnation = dm_member_word_incarnation(word);
	int rc = claim(members, slot, &word);

	if (rc)
		return rc == -EAGAIN ? 0 : rc;
	rc = run_repairs(members, slot, incarnation);
	if (rc) {
		dm_log(DMEM_LOG_WARNING, "the repair after the death of member %u.%u failed (%s) and is tried again", slot,
		       incarnation, dmem_strerror(rc));
		return rc;
	}
	rc = release_its_patients(members, slot);
	if (rc == 0)
		rc = change_state(members, slot, word, dm_member_word(DM_MEMBER_FREE, DM_NO_SLOT, incarnation));
	if (rc == 0) {
		DM_CRASH_POINT(MEMBER_RECOVERED);
		rc = dm_members_clear_used(members, slot);
		dm_log(DMEM_LOG_INFO, "member %u.%u died, what it had was recovered", slot, incarnation);
	}
	return rc;
}

/* Recovery by somebody without a slot (who found the table full of dead members), or of what such a one left: there is no
 * number that would say who is at it, so the administration lock does. */
static int recover_locked(struct dm_members *members, uint32_t slot, uint64_t word)
{
	uint64_t now;
	int rc = dm_admin_lock(members);

	if (rc)
		return rc;
	rc = dm_word_load(members->window, &members->table[slot].state.word, &now);
	if (rc == 0 && now == word)
		rc = recover_one(members, slot, word);
	dm_admin_unlock(members);
	return rc;
}

int dm_members_recover(struct dm_members *members, uint32_t slot, uint64_t word)
{
	bool anonymous = members->slot == DM_NO_SLOT || (dm_member_word_state(word) == DM_MEMBER_RECOVERING &&
	                                                 dm_member_word_recoverer(word) >= members->slots_max);
	uint64_t now;
	int rc;

	pthread_mutex_lock(&members->recover_mutex);
	/* while we waited, another thread of ours may have done it, and the slot may be a new member's */
	rc = dm_word_load(members->window, &members->table[slot].state.word, &now);
	if (rc == 0 && now == word)
		rc = anonymous ? recover_locked(members, slot, word) : recover_one(members, slot, word);
	pthread_mutex_unlock(&members->recover_mutex);
	return rc;
}

/* A dead member's own slot, or one whose recoverer is gone. */
static bool wants_recovery(struct dm_members *members, const struct dm_member_view *view)
{
	struct dm_member_view recoverer;

	switch (view->state) {
	case DM_MEMBER_DEAD:
		return true;
	case DM_MEMBER_LIVE:
	case DM_MEMBER_LEAVING:
		return dm_members_alive(view) == 0;
	case DM_MEMBER_RECOVERING:
		if (view->recoverer == members->slot)
			return true; /* ours: a repair failed before */
		if (view->recoverer >= members->slots_max || dm_members_view(members, view->recoverer, &recoverer) == -ENOENT)
			return true; /* not possible unless the pool was damaged; recovering again does no harm */
		return false;    /* who recovers the recoverer takes it over */
	default:
		return false;
	}
}

static int recover_pass(struct dm_members *members, unsigned *recovered)
{
	int rc = 0;

	*recovered = 0;
	for (uint32_t slot = dm_members_next_used(members, DM_NO_SLOT); rc == 0 && slot != DM_NO_SLOT;
	     slot = dm_members_next_used(members, slot)) {
		struct dm_member_view view;

		if (slot == members->slot || dm_members_view(members, slot, &view) != 0 || !wants_recovery(members, &view))
			continue;
		rc = dm_members_recover(members, slot, view.word);
		*recovered += rc == 0;
	}
	return rc;
}

int dm_members_recover_gone(struct dm_members *members, unsigned *recovered)
{
	unsigned in_pass = 1;
	int rc = 0;

	*recovered = 0;
	/* recovering a recoverer makes its patients DEAD again, perhaps in slots that this pass has left behind */
	for (uint32_t pass = 0; rc == 0 && in_pass > 0 && pass < members->slots_max; pass++) {
		rc = recover_pass(members, &in_pass);
		*recovered += in_pass;
	}
	return rc;
}
