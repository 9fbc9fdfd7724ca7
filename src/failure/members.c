/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.c: joining, leaving, and looking at the member table.
 *
 * Truth about a slot is its state word; the bitmap of used slots only saves walking the table.  It is set before a slot is
 * taken and cleared after it is given back.  In between a giver may clear the bit of the next taker: so the giver looks at the
 * state again after it has cleared the bit, and the taker sets the bit again after it has taken the slot.  Whichever of the two
 * comes last puts it right; a member whose bit is missing would not be missed when it dies.
 *
 * Deaths while joining: before the CAS to JOINING nothing has happened.  After it the slot is JOINING with nobody behind it;
 * agents give it back when it has not moved for a lease (agent.c).  After LIVE it is a member like any other.
 */
#include "failure/members.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/stop.h"
#include "failure/fence.h"

int dm_members_create(struct dm_window *window, struct dm_members **result)
{
	const struct dm_superblock_pm *sb = &window->superblock;
	struct dm_members *members;
	int rc;

	if (!dm_range_inside(sb->admin_off, sizeof(struct dm_admin_pm), sb->member_off) ||
	    !dm_range_inside(sb->member_off, (uint64_t)sb->members_max * sizeof(struct dm_member_pm), sb->heap_off))
		return dm_fail(DMEM_E_CORRUPT,
		               "%s: the superblock has no room for %u member slots: look at it with 'dmemctl fsck'",
		               window->devices[0]->name, sb->members_max);
	members = calloc(1, sizeof(*members));
	if (members == NULL)
		return dm_fail(-ENOMEM, "no memory to join %s", window->devices[0]->name);
	members->window = window;
	members->admin = dm_window_at(window, sb->admin_off);
	members->table = dm_window_at(window, sb->member_off);
	members->slots_max = sb->members_max;
	members->beat_ms = sb->beat_ms;
	members->lease_ms = sb->lease_ms;
	members->slot = DM_NO_SLOT;
	members->watched_slot = DM_NO_SLOT;
	members->watched_pidfd = -1;
	members->leader = DM_NO_SLOT;
	members->watch = calloc(members->slots_max, sizeof(*members->watch));
	if (members->watch == NULL) {
		free(members);
		return dm_fail(-ENOMEM, "no memory to watch the members of %s", window->devices[0]->name);
	}
	if (dm_agent_open_pipe(members) != 0) {
		rc = dm_fail(-errno, "no pipe for the agent of %s (%s): raise the limit on open files",
		             window->devices[0]->name, strerror(errno));

		free(members->watch);
		free(members);
		return rc;
	}
	dm_host_identify(&members->host);
	rc = dm_delegate_open(window, &members->host, &members->delegate);
	if (rc) {
		dm_agent_close(members);
		free(members->watch);
		free(members);
		return rc;
	}
	pthread_mutex_init(&members->admin_mutex, NULL);
	pthread_mutex_init(&members->recover_mutex, NULL);
	*result = members;
	return 0;
}

void dm_members_destroy(struct dm_members *members)
{
	dm_delegate_close(members->delegate);
	dm_fence_leave(members);
	dm_agent_close(members);
	free(members->watch);
	pthread_mutex_destroy(&members->admin_mutex);
	pthread_mutex_destroy(&members->recover_mutex);
	free(members);
}

void dm_members_forget(struct dm_members *members)
{
	members->agent_runs = false;
	members->slot = DM_NO_SLOT;
	dm_delegate_forget(members->delegate);
	pthread_mutex_init(&members->admin_mutex, NULL);
	pthread_mutex_init(&members->recover_mutex, NULL);
}

int dm_failure_register_repair(struct dm_members *members, int order, dm_repair_fn repair, void *context)
{
	unsigned at = members->repair_count;

	if (at == DM_REPAIRS_MAX)
		return dm_fail(-ENOSPC, "more than %u repairs are registered", DM_REPAIRS_MAX);
	for (; at > 0 && members->repairs[at - 1].order > order; at--)
		members->repairs[at] = members->repairs[at - 1];
	members->repairs[at].order = order;
	members->repairs[at].repair = repair;
	members->repairs[at].context = context;
	members->repair_count++;
	return 0;
}

int dm_members_on_beat(struct dm_members *members, dm_beat_fn task, void *context)
{
	if (members->beat_task_count == DM_BEAT_TASKS_MAX)
		return dm_fail(-ENOSPC, "more than %u beat tasks are registered", DM_BEAT_TASKS_MAX);
	members->beat_tasks[members->beat_task_count].task = task;
	members->beat_tasks[members->beat_task_count].context = context;
	members->beat_task_count++;
	return 0;
}

int dm_members_set_used(struct dm_members *members, uint32_t slot, bool used)
{
	uint64_t *word = &members->admin->slots_used[slot / 64];
	uint64_t bit = UINT64_C(1) << slot % 64;
	uint64_t old;
	int rc = dm_word_load(members->window, word, &old);

	while (rc == 0 && ((old & bit) != 0) != used) {
		uint64_t seen;

		rc = dm_word_cas(members->window, word, old, used ? old | bit : old & ~bit, &seen);
		if (rc == 0 && seen == old)
			break;
		old = seen;
	}
	return rc;
}

int dm_members_clear_used(struct dm_members *members, uint32_t slot)
{
	uint64_t word;
	int rc = dm_members_set_used(members, slot, false);

	dm_fence_full(); /* pairs with the one in take_slot() */
	if (rc == 0)
		rc = dm_word_load(members->window, &members->table[slot].state.word, &word);
	if (rc == 0 && dm_member_word_state(word) != DM_MEMBER_FREE)
		rc = dm_members_set_used(members, slot, true);
	return rc;
}

uint32_t dm_members_next_used(struct dm_members *members, uint32_t after)
{
	uint32_t slot = after == DM_NO_SLOT ? 0 : after + 1;

	while (slot < members->slots_max) {
		uint64_t used;

		if (dm_word_load(members->window, &members->admin->slots_used[slot / 64], &used) != 0)
			return DM_NO_SLOT;
		used >>= slot % 64;
		if (used != 0) {
			slot += (uint32_t)__builtin_ctzll(used);
			return slot < members->slots_max ? slot : DM_NO_SLOT;
		}
		slot = (slot / 64 + 1) * 64;
	}
	return DM_NO_SLOT;
}

static bool identity_is_whole(const struct dm_member_identity_pm *identity)
{
	return identity->crc == dm_crc32c(identity, offsetof(struct dm_member_identity_pm, crc));
}

/* See a slot's lines as their writer published them.  Our own are not refreshed: that would drop a beat which the agent is just
 * writing. */
static int refresh_slot(struct dm_members *members, uint32_t slot)
{
	struct dm_member_pm *entry = &members->table[slot];
	int rc;

	if (slot == members->slot)
		return 0;
	rc = dm_window_refresh(members->window, &entry->identity, sizeof(entry->identity) + sizeof(entry->beat));
	return rc ? rc : dm_window_refresh(members->window, &entry->names, sizeof(entry->names));
}

/* The member's agent may be writing it. */
static void copy_beat(struct dm_member_beat_pm *copy, const struct dm_member_beat_pm *beat)
{
	memset(copy, 0, sizeof(*copy));
	copy->beats = __atomic_load_n(&beat->beats, __ATOMIC_ACQUIRE);
	copy->sequence_mapped = __atomic_load_n(&beat->sequence_mapped, __ATOMIC_ACQUIRE);
	copy->grace_period_seen = __atomic_load_n(&beat->grace_period_seen, __ATOMIC_ACQUIRE);
	copy->agent_tid = __atomic_load_n(&beat->agent_tid, __ATOMIC_ACQUIRE);
}

int dm_members_view(struct dm_members *members, uint32_t slot, struct dm_member_view *view)
{
	struct dm_member_pm *entry = &members->table[slot];
	uint64_t word;
	int rc = dm_word_load(members->window, &entry->state.word, &word);

	if (rc == 0 && dm_member_word_state(word) == DM_MEMBER_FREE)
		return -ENOENT;
	if (rc == 0 && dm_member_word_state(word) > DM_MEMBER_LEAVING)
		return dm_fail(DMEM_E_CORRUPT,
		               "%s: member slot %u has state %u, which can't be: look at the pool with 'dmemctl fsck'",
		               members->window->devices[0]->name, slot, (unsigned)dm_member_word_state(word));
	if (rc == 0)
		rc = refresh_slot(members, slot);
	if (rc)
		return rc;
	memset(view, 0, sizeof(*view));
	view->slot = slot;
	view->word = word;
	view->state = dm_member_word_state(word);
	view->incarnation = dm_member_word_incarnation(word);
	view->recoverer = dm_member_word_recoverer(word);
	view->identity = entry->identity;
	copy_beat(&view->beat, &entry->beat);
	view->names = entry->names;
	view->names.host_name[sizeof(view->names.host_name) - 1] = 0;
	view->identified =
		identity_is_whole(&view->identity) && view->identity.incarnation == view->incarnation && view->identity.pid > 0;
	view->same_host = view->identified && memcmp(view->identity.host, members->host.id, 16) == 0 &&
	                  view->identity.pid_namespace == members->host.pid_namespace;
	return 0;
}

int dm_members_alive(const struct dm_member_view *view)
{
	int alive = view->same_host ? dm_host_process_alive(view->identity.pid, view->identity.start_ticks) : -1;

	if (alive == 1 && view->state == DM_MEMBER_LIVE && view->beat.agent_tid != 0 &&
	    !dm_host_thread_alive(view->identity.pid, (pid_t)view->beat.agent_tid))
		return 0;
	return alive;
}

/* Take a slot: FREE -> JOINING with the next incarnation.  -EAGAIN: somebody has it. */
static int take_slot(struct dm_members *members, uint32_t slot)
{
	uint64_t *word = &members->table[slot].state.word;
	uint64_t old;
	uint64_t seen = 0;
	uint32_t incarnation;
	int rc = dm_word_load(members->window, word, &old);

	if (rc || dm_member_word_state(old) != DM_MEMBER_FREE)
		return rc ? rc : -EAGAIN;
	incarnation = dm_member_word_incarnation(old) + 1;
	rc = dm_members_set_used(members, slot, true);
	DM_CRASH_POINT(MEMBER_BIT_SET);
	if (rc == 0)
		rc = dm_word_cas(members->window, word, old, dm_member_word(DM_MEMBER_JOINING, DM_NO_SLOT, incarnation), &seen);
	if (rc || seen != old)
		return rc ? rc : -EAGAIN;
	DM_CRASH_POINT(MEMBER_JOINING);
	members->slot = slot;
	members->incarnation = incarnation;
	dm_fence_full(); /* pairs with the one in dm_members_clear_used() */
	return dm_members_set_used(members, slot, true);
}

static int find_slot(struct dm_members *members, bool trust_bitmap)
{
	for (uint32_t slot = 0; slot < members->slots_max; slot++) {
		uint64_t used = 0;
		int rc = 0;

		if (trust_bitmap)
			rc = dm_word_load(members->window, &members->admin->slots_used[slot / 64], &used);
		if (rc == 0 && (used >> slot % 64 & 1) == 0)
			rc = take_slot(members, slot);
		else if (rc == 0)
			continue;
		if (rc != -EAGAIN)
			return rc;
	}
	return -EAGAIN;
}

static int write_identity(struct dm_members *members)
{
	struct dm_member_pm *entry = &members->table[members->slot];
	struct dm_member_identity_pm identity = {.pid = getpid(), .incarnation = members->incarnation};
	int rc;

	memcpy(identity.host, members->host.id, sizeof(identity.host));
	identity.pid_namespace = members->host.pid_namespace;
	identity.start_ticks = dm_host_start_ticks(identity.pid);
	prctl(PR_GET_NAME, identity.program);
	identity.crc = dm_crc32c(&identity, offsetof(struct dm_member_identity_pm, crc));
	/* the lines were another member's: a stale copy of them is no ground to write on */
	rc = dm_window_refresh(members->window, &entry->identity, sizeof(entry->identity) + sizeof(entry->beat));
	if (rc == 0)
		rc = dm_window_refresh(members->window, &entry->retire, sizeof(entry->retire) + sizeof(entry->names));
	if (rc)
		return rc;
	entry->identity = identity;
	entry->beat = (struct dm_member_beat_pm){.sequence_mapped = dm_window_sequence(members->window),
	                                         .incarnation = members->incarnation};
	entry->retire = (struct dm_member_retire_pm){.head = {0}};
	memcpy(entry->names.host_name, members->host.name, sizeof(entry->names.host_name));
	rc = dm_window_publish(members->window, &entry->identity, sizeof(entry->identity) + sizeof(entry->beat));
	if (rc == 0)
		rc = dm_window_publish(members->window, &entry->retire, sizeof(entry->retire) + sizeof(entry->names));
	DM_CRASH_POINT(MEMBER_IDENTIFIED);
	return rc;
}

static int go_live(struct dm_members *members)
{
	uint64_t joining = dm_member_word(DM_MEMBER_JOINING, DM_NO_SLOT, members->incarnation);
	uint64_t live = dm_member_word(DM_MEMBER_LIVE, DM_NO_SLOT, members->incarnation);
	uint64_t seen;
	int rc = dm_word_cas(members->window, &members->table[members->slot].state.word, joining, live, &seen);

	if (rc == 0 && seen != joining) /* we were away for longer than a lease, and taken for dead */
		rc = -EAGAIN;
	if (rc == 0) {
		dm_delegate_identify(members->delegate, members->slot, members->incarnation);
		DM_CRASH_POINT(MEMBER_LIVE);
	}
	return rc;
}

/* What was added to the pool between the attach's look at the superblock and the moment when others began to wait for
 * us (LIVE) is mapped here; from then on the agent answers.  The full fence pairs with the one in dm_members_all_mapped(). */
static int catch_up(struct dm_members *members)
{
	struct dm_member_beat_pm *beat = &members->table[members->slot].beat;
	uint64_t sequence;
	int rc;

	dm_fence_full();
	rc = dm_word_load(members->window, &members->admin->sequence, &sequence);
	if (rc || sequence <= beat->sequence_mapped)
		return rc;
	rc = dm_window_reload(members->window, &sequence);
	if (rc)
		return rc;
	__atomic_store_n(&beat->sequence_mapped, sequence, __ATOMIC_RELEASE);
	return dm_window_publish(members->window, beat, sizeof(*beat));
}

/* A member that this process was before, and was fenced: it detached, so nothing of it runs, and its memory can be had. */
static void bury_earlier_selves(struct dm_members *members)
{
	pid_t pid = getpid();
	uint64_t start_ticks = dm_host_start_ticks(pid);

	for (uint32_t slot = dm_members_next_used(members, DM_NO_SLOT); slot != DM_NO_SLOT;
	     slot = dm_members_next_used(members, slot)) {
		struct dm_member_view view;

		if (slot == members->slot || dm_members_view(members, slot, &view) != 0 || !view.same_host ||
		    view.identity.pid != pid || view.identity.start_ticks != start_ticks)
			continue;
		if (view.state == DM_MEMBER_FENCED && dm_members_declare_dead(members, &view) != 0)
			dm_log(DMEM_LOG_WARNING, "what this process had as member %u could not be had back: %s", slot,
			       dmem_last_error());
	}
}

int dm_members_join(struct dm_members *members)
{
	unsigned recovered = 0;
	int rc;

	for (unsigned round = 0; round < 100; round++) {
		rc = find_slot(members, round == 0);
		if (rc == -EAGAIN && round > 0) {
			rc = dm_members_recover_gone(members, &recovered);
			if (rc == 0 && recovered == 0)
				return dm_fail(DMEM_E_MEMBERS,
				               "%s has %u member slots, and all are in use: detach some members, or create the "
				               "pool with a larger ?members=",
				               members->window->devices[0]->name, members->slots_max);
			rc = -EAGAIN;
		} else if (rc == 0) {
			rc = write_identity(members);
			if (rc == 0)
				rc = go_live(members);
		}
		if (rc != -EAGAIN)
			break;
		members->slot = DM_NO_SLOT;
	}
	if (rc == 0 && dm_fence_enter(members) != 0)
		dm_log(DMEM_LOG_WARNING, "others can't cut this process off, signal %d can't be had", DM_FENCE_SIGNAL);
	if (rc == 0)
		rc = catch_up(members);
	if (rc == 0)
		bury_earlier_selves(members);
	return rc == -EAGAIN ? dm_fail(DMEM_E_MEMBERS, "%s: no member slot could be had in 100 tries: try again",
	                               members->window->devices[0]->name)
	                     : rc;
}

/* 0 when the slot went from one state of ours to another. */
static int change_own_state(struct dm_members *members, enum dm_member_state from, enum dm_member_state to)
{
	uint64_t expected = dm_member_word(from, DM_NO_SLOT, members->incarnation);
	uint64_t seen;
	int rc = dm_word_cas(members->window, &members->table[members->slot].state.word, expected,
	                     dm_member_word(to, DM_NO_SLOT, members->incarnation), &seen);

	return rc ? rc : seen == expected ? 0 : -EAGAIN;
}

void dm_members_begin_leave(struct dm_members *members)
{
	if (change_own_state(members, DM_MEMBER_LIVE, DM_MEMBER_LEAVING) != 0)
		dm_log(DMEM_LOG_WARNING, "member %u was not live any more when it wanted to leave", members->slot);
	DM_CRASH_POINT(MEMBER_LEAVING);
}

void dm_members_leave(struct dm_members *members)
{
	/* when the slot is free, its bit is still to be cleared, by nobody in particular */
	dm_delegate_identify(members->delegate, DM_NO_SLOT, 0);
	if (change_own_state(members, DM_MEMBER_LEAVING, DM_MEMBER_FREE) == 0) {
		DM_CRASH_POINT(MEMBER_LEFT);
		if (dm_members_clear_used(members, members->slot) != 0)
			dm_log(DMEM_LOG_WARNING, "the bit of member slot %u could not be cleared", members->slot);
	}
	members->slot = DM_NO_SLOT;
}

bool dm_members_all_mapped(struct dm_members *members, uint64_t sequence, uint32_t *laggard)
{
	dm_fence_full(); /* pairs with the one in catch_up() */
	for (uint32_t slot = dm_members_next_used(members, DM_NO_SLOT); slot != DM_NO_SLOT;
	     slot = dm_members_next_used(members, slot)) {
		struct dm_member_view view;

		if (dm_members_view(members, slot, &view) != 0)
			continue;
		if ((view.state == DM_MEMBER_LIVE && view.beat.sequence_mapped < sequence) || view.state == DM_MEMBER_JOINING) {
			*laggard = slot;
			return false;
		}
	}
	return true;
}
