/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.c: the administration lock of a pool: for growth and the root directory, not for anything fast.
 *
 * Word: | slot + 1: 16 | tag 16 | number 32 |; 0 is free.  A member writes its slot and incarnation.  Somebody who has no
 * slot yet writes 0xffff, a hash of its host and its pid.  Who waits looks now and then whether the holder is still there; a
 * dead holder's lock is taken by CAS from exactly its word, so two waiters can't both have it.  What is changed under the
 * lock is made so that it may stop anywhere; whoever takes a dead holder's lock makes the superblock's copies equal again.
 */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "addr/superblock.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/fault.h"
#include "failure/members.h"

#define OUTSIDER        0xffffu
#define LOCK_TIMEOUT_NS (5 * DM_NS_PER_S)
#define LOOK_PERIOD_NS  (2 * DM_NS_PER_MS)

static uint32_t host_tag(const struct dm_members *members)
{
	uint32_t hash = dm_crc32c(members->host.id, sizeof(members->host.id)) ^ (uint32_t)members->host.pid_namespace;

	return (hash ^ hash >> 16) & 0xffff;
}

static uint64_t own_word(const struct dm_members *members)
{
	if (members->slot == DM_NO_SLOT)
		return OUTSIDER | (uint64_t)host_tag(members) << 16 | (uint64_t)(uint32_t)getpid() << 32;
	return (uint64_t)(members->slot + 1) | (uint64_t)members->incarnation << 32;
}

static bool holder_is_gone(struct dm_members *members, uint64_t word)
{
	uint32_t slot = (uint32_t)(word & 0xffff) - 1;
	uint32_t number = (uint32_t)(word >> 32);
	struct dm_member_view view;
	int rc;

	if ((word & 0xffff) == OUTSIDER)
		return (word >> 16 & 0xffff) == host_tag(members) && dm_host_process_alive((pid_t)number, 0) == 0;
	if (slot >= members->slots_max)
		return true; /* no such member: the word is damaged */
	rc = dm_members_view(members, slot, &view);
	if (rc == -ENOENT)
		return true;
	if (rc)
		return false;
	return view.incarnation != number || !dm_member_word_has_rights(view.word) || dm_members_alive(&view) == 0;
}

/* The dead holder may have been anywhere in an update of the superblock: bring all copies to the newest. */
static int settle_superblock(struct dm_members *members)
{
	struct dm_window *window = members->window;
	uint64_t sequence;
	int rc = dm_window_reload(window, &sequence);

	if (rc)
		return rc;
	pthread_mutex_lock(&window->lock);
	for (uint32_t i = 0; rc == 0 && i < window->device_count; i++)
		rc = dm_superblock_write(window->devices[i], i, &window->superblock);
	pthread_mutex_unlock(&window->lock);
	return rc ? rc : dm_word_store(window, &members->admin->sequence, sequence);
}

/* A change starts from the superblock in force, not from the one that our agent saw last. */
static int follow_superblock(struct dm_members *members)
{
	struct dm_window *window = members->window;
	uint64_t sequence;
	int rc = dm_word_load(window, &members->admin->sequence, &sequence);

	return rc == 0 && sequence > dm_window_sequence(window) ? dm_window_reload(window, &sequence) : rc;
}

static int acquire_word(struct dm_members *members, uint64_t ours, bool *taken_over)
{
	uint64_t *word = &members->admin->lock;
	uint64_t deadline = dm_clock_now_ns() + LOCK_TIMEOUT_NS;
	uint64_t look_at = dm_clock_now_ns() + LOOK_PERIOD_NS;

	for (;;) {
		uint64_t seen;
		int rc = dm_word_cas(members->window, word, 0, ours, &seen);

		if (rc || seen == 0)
			return rc;
		if (dm_clock_now_ns() >= look_at) {
			if (holder_is_gone(members, seen)) {
				uint64_t holder = seen;

				rc = dm_word_cas(members->window, word, holder, ours, &seen);
				*taken_over = seen == holder;
				if (rc || *taken_over)
					return rc;
			}
			look_at = dm_clock_now_ns() + LOOK_PERIOD_NS;
		}
		if (dm_clock_now_ns() >= deadline)
			return dm_fail(-ETIMEDOUT,
			               "%s: the administration lock is held by member %" PRIu64 " for more than %" PRIu64
			               " s: see what that process is doing ('dmemctl members'), or end it",
			               members->window->devices[0]->name, (seen & 0xffff) - 1, LOCK_TIMEOUT_NS / DM_NS_PER_S);
		dm_clock_sleep_ns(50000);
	}
}

int dm_admin_lock(struct dm_members *members)
{
	bool taken_over = false;
	int rc;

	pthread_mutex_lock(&members->admin_mutex);
	rc = acquire_word(members, own_word(members), &taken_over);
	if (rc)
		goto err_unlock;
	DM_CRASH_POINT(ADMIN_LOCKED);
	if (taken_over || members->window->repair_wanted)
		rc = settle_superblock(members);
	else
		rc = follow_superblock(members);
	if (rc)
		goto err_release;
	members->window->repair_wanted = false;
	return 0;
err_release:
	if (dm_word_store(members->window, &members->admin->lock, 0) != 0)
		dm_log(DMEM_LOG_ERROR, "the administration lock could not be released");
err_unlock:
	pthread_mutex_unlock(&members->admin_mutex);
	return rc;
}

void dm_admin_unlock(struct dm_members *members)
{
	uint64_t ours = own_word(members);
	uint64_t seen;

	/* by CAS, so that a holder that was away and taken for dead does not release its successor's lock */
	if (dm_word_cas(members->window, &members->admin->lock, ours, 0, &seen) != 0 || seen != ours)
		dm_log(DMEM_LOG_WARNING, "the administration lock was not ours any more when we released it");
	pthread_mutex_unlock(&members->admin_mutex);
}
