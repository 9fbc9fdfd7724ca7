/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.c: noticing that a member's heart stands still: that it is stopped, that it hangs, that its host is dead.
 *
 * One member of each host watches the hearts of all members: the leader, the first in the table that is live.  The others watch
 * the leader only.  So watching costs a line a member and beat, whichever host they are of.  Two leaders for a moment do no
 * harm: what follows is decided by CAS.
 *
 * A heart stands still when its counter has not changed for a lease, counted in beats of the observer that came on time: an
 * observer that was stalled itself counts nothing, and after a long stall starts again.  No clocks of two hosts are compared.
 * A member of this host is fenced after a lease when the kernel says that it is stopped, and after ten when it hangs, or gets
 * no time on a busy machine.  A member of another host, whom we can't look at, is fenced a lease and some beats later, so that
 * its own host's leader, which can cut it off, goes first.  When the leader itself stands still, the others follow one after
 * the other.
 *
 * The beat line says whose beats it holds, so a heart that beats costs one line, and no atomic word.
 */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "failure/fence.h"
#include "failure/members.h"

#define OTHER_HOST_BEATS 3u /* more than for our own host */
#define PATIENCE_LEASES \
	10u /* with a member of this host that is not stopped, or that leaves and does not beat any more */
#define FOLLOWERS_MAX 16u

/* Look at one heart: for how many beats it has not changed. */
static uint32_t look(struct dm_members *members, uint32_t slot)
{
	struct dm_member_beat_pm *beat = &members->table[slot].beat;
	struct dm_watch *watch = &members->watch[slot];
	uint32_t incarnation;
	uint64_t beats;

	if (dm_window_refresh(members->window, beat, sizeof(*beat)) != 0)
		return 0;
	beats = __atomic_load_n(&beat->beats, __ATOMIC_ACQUIRE);
	incarnation = (uint32_t)__atomic_load_n(&beat->incarnation, __ATOMIC_ACQUIRE);
	if (watch->beats != beats || watch->incarnation != incarnation)
		*watch = (struct dm_watch){.beats = beats, .incarnation = incarnation};
	else if (watch->unchanged < UINT32_MAX)
		watch->unchanged++;
	return watch->unchanged;
}

/* For how many beats a heart has to stand still before its member is fenced. */
static uint32_t beats_to_fence(const struct dm_members *members, const struct dm_member_view *view)
{
	uint32_t lease = dm_members_lease_beats(members);

	if (view->same_host && dm_fence_is_stopped(view))
		return lease;
	if (view->same_host || view->state == DM_MEMBER_LEAVING)
		return PATIENCE_LEASES * lease;
	return lease + OTHER_HOST_BEATS;
}

/* A member whose heart has stood still for `still` beats. */
static void examine(struct dm_members *members, uint32_t slot, uint32_t still)
{
	struct dm_member_view view;
	unsigned recovered;

	if (dm_members_view(members, slot, &view) != 0)
		return;
	switch (view.state) {
	case DM_MEMBER_LIVE:
	case DM_MEMBER_LEAVING:
		if (dm_members_alive(&view) == 0)
			(void)dm_members_recover(members, slot, view.word);
		else if (view.beat.beats == members->watch[slot].beats &&
		         view.incarnation == members->watch[slot].incarnation && still >= beats_to_fence(members, &view) &&
		         dm_members_fence(members, &view) != 0)
			dm_log(DMEM_LOG_WARNING, "member %u could not be fenced yet: %s", slot, dmem_last_error());
		break;
	case DM_MEMBER_FENCED:
	case DM_MEMBER_DEAD:
	case DM_MEMBER_RECOVERING:
		(void)dm_members_recover_gone(members, &recovered);
		break;
	default:
		break;
	}
}

/* Beats at which a heart that stands still is worth more than its line: a lease, the next ones, and then each lease. */
static bool is_time_to_examine(const struct dm_members *members, uint32_t still)
{
	uint32_t lease = dm_members_lease_beats(members);

	return still >= lease && (still <= lease + FOLLOWERS_MAX || still % lease == 0);
}

static void watch_all(struct dm_members *members)
{
	for (uint32_t slot = dm_members_next_used(members, DM_NO_SLOT); slot != DM_NO_SLOT;
	     slot = dm_members_next_used(members, slot)) {
		uint32_t still = slot == members->slot ? 0 : look(members, slot);

		if (is_time_to_examine(members, still))
			examine(members, slot, still);
	}
}

/* How many have their slots between the leader's and ours: those go first. */
static uint32_t followers_before_us(struct dm_members *members)
{
	uint32_t count = 0;

	for (uint32_t slot = dm_members_next_used(members, members->leader);
	     slot < members->slot && count < FOLLOWERS_MAX - 1; slot = dm_members_next_used(members, slot))
		count++;
	return count;
}

static void elect(struct dm_members *members)
{
	uint32_t lease = dm_members_lease_beats(members);
	uint32_t slot = dm_members_next_used(members, DM_NO_SLOT);

	for (; slot < members->slot; slot = dm_members_next_used(members, slot)) {
		struct dm_member_view view;

		if (members->watch[slot].unchanged < lease && dm_members_view(members, slot, &view) == 0 &&
		    view.state == DM_MEMBER_LIVE && view.same_host)
			break;
	}
	members->leader = slot < members->slot ? slot : members->slot;
}

void dm_members_watch(struct dm_members *members, uint64_t late_ns)
{
	uint32_t lease = dm_members_lease_beats(members);
	uint32_t still;

	if (late_ns > members->lease_ms * DM_NS_PER_MS / 2) /* the others had no time either, perhaps */
		for (uint32_t slot = 0; slot < members->slots_max; slot++)
			members->watch[slot].unchanged = 0;
	if (late_ns > members->beat_ms * DM_NS_PER_MS)
		return;
	if (members->beats_on_time++ % lease == 0 || members->leader == DM_NO_SLOT)
		elect(members);
	if (members->leader == members->slot) {
		watch_all(members);
		return;
	}
	still = look(members, members->leader);
	if (still >= lease && still >= lease + followers_before_us(members) && is_time_to_examine(members, still)) {
		examine(members, members->leader, still);
		elect(members);
	} else if (still >= 2 &&
	           dm_members_rights(members, members->leader, members->watch[members->leader].incarnation) == 0) {
		elect(members); /* it has left, or died */
	}
}
