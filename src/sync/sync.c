/* SPDX-License-Identifier: Apache-2.0 */
/* sync.c: what everything in this folder needs of an attached pool. */
#include "sync/sync.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "sync/poller.h"

int dm_sync_create(struct dm_window *window, struct dm_members *members, struct dm_sync **result)
{
	struct dm_sync *sync = calloc(1, sizeof(*sync));

	if (sync == NULL)
		return dm_fail(-ENOMEM, "no memory to attach %s", window->devices[0]->name);
	sync->window = window;
	sync->members = members;
	sync->look_ns = (members->beat_ms > 0 ? members->beat_ms : 1) * DM_NS_PER_MS;
	pthread_mutex_init(&sync->waiters_lock, NULL);
	pthread_cond_init(&sync->waiters_came, NULL);
	*result = sync;
	return 0;
}

void dm_sync_destroy(struct dm_sync *sync)
{
	pthread_mutex_destroy(&sync->waiters_lock);
	pthread_cond_destroy(&sync->waiters_came);
	free(sync);
}

/*
 * Futexes reach the processes of one machine only.  Whoever joins and sees a member of another host says so in the
 * pool, for
 * ever; two who join at a time are LIVE before they look, so one of them sees the other.  Who went to sleep before
 * that was said looks again within a beat (wait.c).
 */
static int tell_of_other_hosts(struct dm_sync *sync)
{
	struct dm_members *members = sync->members;

	dm_fence_full();
	for (uint32_t slot = dm_members_next_used(members, DM_NO_SLOT); slot != DM_NO_SLOT;
	     slot = dm_members_next_used(members, slot)) {
		struct dm_member_view view;

		if (slot == members->slot || dm_members_view(members, slot, &view) != 0)
			continue;
		if (view.identified && !view.same_host)
			return dm_word_store(sync->window, &members->admin->hosts, 1);
	}
	return 0;
}

int dm_sync_joined(struct dm_sync *sync)
{
	sync->owner = dm_owner(sync->members->slot, sync->members->incarnation);
	return sync->window->coherent ? tell_of_other_hosts(sync) : 0;
}

void dm_sync_stop(struct dm_sync *sync)
{
	dm_poller_stop(sync);
}

void dm_sync_forget(struct dm_sync *sync)
{
	sync->waiters = NULL;
	sync->poller_runs = false;
	pthread_mutex_init(&sync->waiters_lock, NULL);
	pthread_cond_init(&sync->waiters_came, NULL);
}

int dm_owner_rights(struct dm_sync *sync, uint32_t owner)
{
	uint32_t slot = dm_owner_slot(owner);
	uint64_t word;
	int rc;

	if (owner == 0 || slot >= sync->members->slots_max)
		return 0;
	rc = dm_word_load(sync->window, &sync->members->table[slot].state.word, &word);
	if (rc)
		return rc;
	return dm_member_word_has_rights(word) && dm_owner(slot, dm_member_word_incarnation(word)) == owner;
}
