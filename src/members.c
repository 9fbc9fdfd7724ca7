/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.c: dmem/members.h: listing the members of a pool, and telling the program of deaths.
 *
 * Lock: `lock` of struct dm_mourners, for the list of callbacks; no callback is called under it.
 */
#include "dmem/members.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "failure/obituary.h"
#include "pool.h"

#define CALLBACKS_MAX 16u

struct dm_mourners {
	struct dm_members *members;
	struct dm_obituary *obituary;
	pthread_mutex_t lock;
	unsigned count;
	struct {
		dmem_member_death_fn callback;
		void *context;
	} callbacks[CALLBACKS_MAX];
};

static void describe(const struct dm_members *members, const struct dm_member_view *view, struct dmem_member *member)
{
	bool self = view->slot == members->slot && view->incarnation == members->incarnation;

	*member = (struct dmem_member){.slot = view->slot,
	                               .incarnation = view->incarnation,
	                               .state = (enum dmem_member_state)view->state,
	                               .self = self,
	                               .beats = view->beat.beats,
	                               .silent_ms = self ? 0 : -1};
	/* a hint from the agent, which may be writing it */
	if (!self && members->leader == members->slot && members->watch[view->slot].incarnation == view->incarnation)
		member->silent_ms =
			(int64_t)__atomic_load_n(&members->watch[view->slot].unchanged, __ATOMIC_RELAXED) * members->beat_ms;
	if (!view->identified)
		return;
	member->pid = view->identity.pid;
	member->same_host = view->same_host;
	memcpy(member->host, view->identity.host, sizeof(member->host));
	snprintf(member->host_name, sizeof(member->host_name), "%.47s", view->names.host_name);
	snprintf(member->program, sizeof(member->program), "%.16s", view->identity.program);
}

int dmem_members(struct dmem_pool *pool, dmem_member_fn each, void *context)
{
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	if (each == NULL)
		return dm_fail(-EINVAL, "dmem_members() wants a function to call");
	for (uint32_t slot = dm_members_next_used(pool->members, DM_NO_SLOT); rc == 0 && slot != DM_NO_SLOT;
	     slot = dm_members_next_used(pool->members, slot)) {
		struct dm_member_view view;
		struct dmem_member member;

		if (dm_members_view(pool->members, slot, &view) != 0)
			continue;
		describe(pool->members, &view, &member);
		rc = each(context, &member);
	}
	return rc;
}

static void tell_all(void *context, uint32_t slot, uint32_t incarnation, bool fenced)
{
	struct dm_mourners *mourners = context;
	struct dmem_member member = {.slot = slot, .incarnation = incarnation, .silent_ms = -1};
	struct dm_member_view view;
	unsigned count;

	if (fenced && dm_members_view(mourners->members, slot, &view) == 0 && view.incarnation == incarnation)
		describe(mourners->members, &view, &member);
	member.state = fenced ? DMEM_MEMBER_FENCED : DMEM_MEMBER_GONE;
	pthread_mutex_lock(&mourners->lock);
	count = mourners->count; /* entries below it do not change */
	pthread_mutex_unlock(&mourners->lock);
	for (unsigned i = 0; i < count; i++)
		mourners->callbacks[i].callback(mourners->callbacks[i].context, &member);
}

/* Under the list's lock. */
static int start(struct dmem_pool *pool, struct dm_mourners **result)
{
	struct dm_mourners *mourners = calloc(1, sizeof(*mourners));
	int rc;

	if (mourners == NULL)
		return dm_fail(-ENOMEM, "no memory to be told of deaths");
	mourners->members = pool->members;
	pthread_mutex_init(&mourners->lock, NULL);
	rc = dm_obituary_start(pool->members, tell_all, mourners, &mourners->obituary);
	if (rc) {
		pthread_mutex_destroy(&mourners->lock);
		free(mourners);
		return rc;
	}
	*result = pool->mourners = mourners;
	return 0;
}

int dmem_on_member_death(struct dmem_pool *pool, dmem_member_death_fn callback, void *context)
{
	struct dm_mourners *mourners;
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	if (callback == NULL)
		return dm_fail(-EINVAL, "dmem_on_member_death() wants a function to call");
	rc = dm_pool_list_lock();
	if (rc)
		return rc;
	mourners = pool->mourners;
	if (!atomic_load(&pool->attached))
		rc = dm_fail(DMEM_E_DETACHED, "the pool was detached: attach it again");
	else if (mourners == NULL)
		rc = start(pool, &mourners);
	if (rc == 0) {
		pthread_mutex_lock(&mourners->lock);
		if (mourners->count == CALLBACKS_MAX) {
			rc = dm_fail(-ENOSPC, "%u functions are called at deaths already: call the others from one of them",
			             CALLBACKS_MAX);
		} else {
			mourners->callbacks[mourners->count].callback = callback;
			mourners->callbacks[mourners->count].context = context;
			mourners->count++;
		}
		pthread_mutex_unlock(&mourners->lock);
	}
	dm_pool_list_unlock();
	return rc;
}

void dm_pool_stop_mourning(struct dmem_pool *pool)
{
	struct dm_mourners *mourners = pool->mourners;

	if (mourners == NULL)
		return;
	pool->mourners = NULL;
	dm_obituary_stop(mourners->obituary);
	pthread_mutex_destroy(&mourners->lock);
	free(mourners);
}
