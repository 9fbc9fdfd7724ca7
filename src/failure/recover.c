/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.c: what happens to a member that died, or was fenced.
 *
 *   LIVE -> DEAD -> RECOVERING(us) -> repairs, in their order -> FREE
 *   LIVE -> FENCED(us) -> repair of locks -> FENCED -> (its exit is seen) -> DEAD -> as above
 *
 * One CAS decides who recovers.  Repairs can be repeated, so a recoverer that dies or is fenced is simply followed by another:
 * whoever recovers or fences member R makes those that R was at anybody's again, before R's slot is free: RECOVERING(R) becomes
 * DEAD, and FENCED(R) becomes FENCED(itself).  A repair that fails leaves the slot as it is, and the next beat tries again.
 * Who is fenced itself in the middle stops before the next repair.
 *
 * What FENCED releases: the right to hold locks (waiters are woken) and to be waited for by grace periods.  What it does not:
 * memory, retire lists, redo records, the slot.  Those are in quarantine until the member is DEAD.
 *
 * Locks: recover_mutex, then perhaps the administration lock, outside of everything that repairs take.  Repairs never take
 * the administration lock.
 */
#include <errno.h>

#include "base/error.h"
#include "base/fault.h"
#include "failure/fence.h"
#include "failure/members.h"

/* `only_locks`: it may still run, its memory is not touched. */
static int run_repairs(struct dm_members *members, uint32_t slot, uint32_t incarnation, bool only_locks)
{
	for (unsigned i = 0; i < members->repair_count; i++) {
		int rc = dm_members_self(members); /* others may be at it, if they took us for dead meanwhile */

		if (only_locks && members->repairs[i].order != DM_REPAIR_LOCKS)
			continue;
		if (rc == 0)
			rc = members->repairs[i].repair(members->repairs[i].context, slot, incarnation);
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
	if (dm_member_word_has_rights(*word) || dm_member_word_state(*word) == DM_MEMBER_FENCED) {
		rc = change_state(members, slot, *word, dead);
		DM_CRASH_POINT(MEMBER_DECLARED_DEAD);
		*word = dead;
	}
	/* again when it was DEAD already: who declared it dead may have died before it told anybody */
	if (rc == 0)
		rc = dm_members_announce_death(members, slot, incarnation);
	if (rc == 0)
		rc = change_state(members, slot, *word, ours);
	if (rc == 0) {
		DM_CRASH_POINT(MEMBER_RECOVERING);
		*word = ours;
	}
	return rc;
}

/* Whom this slot's member was recovering: what its word has to become.  0: nobody. */
static uint64_t released_patient(const struct dm_member_view *view, uint32_t slot)
{
	if (view->recoverer != slot || view->slot == slot)
		return 0;
	if (view->state == DM_MEMBER_RECOVERING)
		return dm_member_word(DM_MEMBER_DEAD, DM_NO_SLOT, view->incarnation);
	if (view->state == DM_MEMBER_FENCED)
		return dm_member_word(DM_MEMBER_FENCED, view->slot, view->incarnation);
	return 0;
}

/* What a dead or fenced recoverer was at is for anybody to recover, before the recoverer's number can be anybody else's. */
static int release_its_patients(struct dm_members *members, uint32_t slot)
{
	int rc = 0;

	for (uint32_t other = dm_members_next_used(members, DM_NO_SLOT); rc == 0 && other != DM_NO_SLOT;
	     other = dm_members_next_used(members, other)) {
		struct dm_member_view view;
		uint64_t released;

		if (dm_members_view(members, other, &view) != 0 || (released = released_patient(&view, slot)) == 0)
			continue;
		rc = change_state(members, other, view.word, released);
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
	rc = run_repairs(members, slot, incarnation, false);
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

/* FENCED(us): release its locks.  Done again by whoever finds it unfinished. */
static int finish_fencing(struct dm_members *members, uint32_t slot, uint32_t incarnation)
{
	int rc = dm_members_announce_death(members, slot, incarnation);

	if (rc == 0)
		rc = release_its_patients(members, slot);
	if (rc == 0)
		rc = run_repairs(members, slot, incarnation, true);
	if (rc == 0)
		rc = change_state(members, slot, dm_member_word(DM_MEMBER_FENCED, members->slot, incarnation),
		                  dm_member_word(DM_MEMBER_FENCED, DM_NO_SLOT, incarnation));
	if (rc)
		return rc == -EAGAIN ? 0 : rc;
	DM_CRASH_POINT(MEMBER_FENCED);
	dm_log(DMEM_LOG_WARNING,
	       "member %u.%u was silent for a lease and is fenced: its locks are released, its memory waits for its end",
	       slot, incarnation);
	return 0;
}

static int fence_locked(struct dm_members *members, const struct dm_member_view *view)
{
	uint64_t ours = dm_member_word(DM_MEMBER_FENCED, members->slot, view->incarnation);
	int rc = 0;

	if (view->state != DM_MEMBER_FENCED && view->same_host) {
		rc = dm_fence_cut_off(members, view);
		DM_CRASH_POINT(MEMBER_CUT_OFF);
		if (rc == -ESRCH)
			return recover_one(members, view->slot, view->word);
		if (rc < 0)
			dm_log(DMEM_LOG_WARNING,
			       "member %u.%u can't be cut off (%s): stores of its that are late may reach the pool", view->slot,
			       view->incarnation, dmem_strerror(rc));
	}
	if (view->word != ours)
		rc = change_state(members, view->slot, view->word, ours);
	else
		rc = 0;
	if (rc)
		return rc == -EAGAIN ? 0 : rc;
	DM_CRASH_POINT(MEMBER_FENCING);
	return finish_fencing(members, view->slot, view->incarnation);
}

int dm_members_fence(struct dm_members *members, const struct dm_member_view *view)
{
	int rc;

	if (members->slot == DM_NO_SLOT || view->slot == members->slot)
		return dm_fail(-EINVAL, "a member can't fence itself, and who is no member can't fence: detach it instead");
	pthread_mutex_lock(&members->recover_mutex);
	rc = fence_locked(members, view);
	pthread_mutex_unlock(&members->recover_mutex);
	return rc;
}

int dm_members_declare_dead(struct dm_members *members, const struct dm_member_view *view)
{
	struct dm_member_view now;
	int rc = 0;

	if (dm_member_word_has_rights(view->word))
		rc = dm_members_fence(members, view);
	if (rc == 0)
		rc = dm_members_view(members, view->slot, &now);
	if (rc || now.incarnation != view->incarnation)
		return rc == -ENOENT ? 0 : rc;
	return dm_members_recover(members, view->slot, now.word);
}

/* A fenced member whose locks are not released, and nobody is at it but perhaps we. */
static bool is_unfinished(const struct dm_members *members, const struct dm_member_view *view)
{
	return view->state == DM_MEMBER_FENCED && members->slot != DM_NO_SLOT &&
	       (view->recoverer == view->slot || view->recoverer == members->slot);
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
	case DM_MEMBER_FENCED:
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

		if (slot == members->slot || dm_members_view(members, slot, &view) != 0)
			continue;
		if (wants_recovery(members, &view))
			rc = dm_members_recover(members, slot, view.word);
		else if (is_unfinished(members, &view))
			rc = dm_members_fence(members, &view);
		else
			continue;
		*recovered += rc == 0;
		dm_members_keep_beating(members);
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
